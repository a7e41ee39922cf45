//! The cluster as this node sees it: members, reachability, the leader, and every change of them.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::cluster::ClusterProbe;
//!
//! let cluster = ClusterProbe::new(TelemetryBus::new(64));
//! cluster.set_self_address("akka://shop@10.0.0.1:2552");
//! assert_eq!(cluster.member_count(), 0);
//! ```

#[cfg(feature = "cluster")]
mod attach;
mod probe;
#[cfg(feature = "quorum")]
mod quorum;

#[cfg(feature = "cluster")]
pub use attach::{ProbedDowning, from_cluster_state, from_gossip};
pub use probe::ClusterProbe;
