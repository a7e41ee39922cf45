//! The atomscope probe: publishes what an atomr node does into shared memory, where it can be seen from outside the
//! process while the node runs, when it is stuck, and after it has died.
//!
//! ```
//! # #[cfg(feature = "atomr")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use atomr_core::prelude::*;
//! use atomscope_probe::TelemetryExtension;
//!
//! let system = ActorSystem::create("shop", Config::empty()).await?;
//! let telemetry = TelemetryExtension::new("shop-1", 1024).install(&system);
//! // From now on `atomscope ps` in a shell shows the node, and so does the process itself:
//! assert_eq!(telemetry.actors.live_count(), 0);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "atomr"))]
//! # fn main() {}
//! ```
//!
//! # What it costs the node
//! Recording makes no allocation, takes no lock, makes no system call and never waits, after a thread's first touch.
//! Reading back in-process ([`TelemetryExtension::snapshot`] and its like) allocates. A thread beats four times a
//! second. A region that cannot be shared is kept privately, with one warning; nothing here fails the node.
//!
//! # What must not be done
//! - **Record in a signal handler.** It interrupts a thread that may be in the middle of a record, in a lane that only this
//!   thread writes: both records are lost or mixed. Let the handler set a flag, and record elsewhere.
//! - **Close all descriptors after a region was made**, as some daemons do at their start: the region's is one of them.
//!   Close them first, or only one's own. The mapping keeps the node's lock, so readers see that the node lives; but a file
//!   of the user's choice is then free for another region only when the last handle is gone, not from `close` on.
//! - **Use a parent's region in a forked child.** What a child records there is lost; it makes a region of its own.
//!
//! # Turning it off
//! `ATOMSCOPE=off` in the environment: nothing is shared and no hook is installed.

pub mod actor_registry;
#[allow(dead_code, reason = "what is polled depends on the features")]
mod attach;
mod backing;
pub mod bus;
mod clock;
mod clock_samples;
#[cfg(feature = "atomr")]
pub mod cluster;
#[cfg(feature = "cluster-metrics")]
pub mod cluster_metrics;
#[cfg(feature = "atomr")]
pub mod ddata;
pub mod dead_letters;
mod environment;
mod error;
#[cfg(feature = "atomr")]
pub mod exporters;
#[cfg(feature = "atomr")]
mod extension;
mod hash;
#[cfg(feature = "atomr")]
mod hook_state;
#[cfg(feature = "atomr")]
mod hooks;
mod identity;
#[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "only what observes atomr has instances yet"))]
mod instance_counts;
#[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "only what observes atomr has instances yet"))]
mod instances;
mod lane;
#[cfg(feature = "leases")]
pub mod leases;
mod per_process;
#[cfg(feature = "atomr")]
pub mod persistence;
#[allow(dead_code, reason = "what is polled depends on the features")]
mod poller;
mod process;
mod region;
#[cfg(target_os = "linux")]
mod region_file;
#[cfg(feature = "atomr")]
pub mod remote;
mod rounds;
#[cfg(feature = "atomr")]
mod runtime;
mod sampler;
mod sampling;
#[cfg(feature = "atomr")]
pub mod sharding;
mod stop_event;
#[cfg(feature = "atomr")]
pub mod streams;
#[cfg(feature = "atomr")]
mod task;
#[cfg(feature = "atomr")]
mod tee;
mod text;
#[cfg(feature = "atomr")]
mod type_names;
#[cfg(feature = "atomr")]
mod wake;
#[cfg(any(feature = "leases", feature = "persistence"))]
mod watched;
mod writer;

pub use atomscope_layout::{Capacities, LimitError, dto};

pub use crate::error::{CreateError, RoomTaken};
#[cfg(feature = "atomr")]
pub use crate::extension::{TelemetryExtension, TelemetryHandle};
pub use crate::region::{Counter, Gauge, Histogram, Region, RegionBuilder};
