//! See inside a running actor node from outside it.
//!
//! This is the library behind the program `atomscope`: find a node's region ([`find`]), attach to it read-only
//! ([`attach`]), say how the node is ([`liveness`]) and how full its region ([`usage`]), take owned [`snapshot`]s of it,
//! and hand them on without the names in them ([`redact`]) and without harm to a terminal ([`text`]), or copy it whole
//! ([`raw`]). It depends on neither the actor runtime nor the probe, and never writes a byte of a region nor takes a
//! lock on it.
//!
//! ```no_run
//! use atomscope::find::{Search, Who};
//! use atomscope::snapshot::Snapshot;
//!
//! let chosen = Search::default().one(&Who::Node("orders".into()))?;
//! let snapshot = Snapshot::take(&chosen.region)?;
//! println!("{}: {} actors", chosen.liveness.verdict, snapshot.actors.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!(
    "atomscope reads /dev/shm and /proc, so it runs on Linux; a node elsewhere keeps its data to itself"
);

pub mod attach;
pub mod cgroup;
pub mod find;
pub mod follow;
pub mod hidden;
pub mod liveness;
pub mod process;
pub mod query;
pub mod raw;
pub mod redact;
pub mod report;
pub mod snapshot;
pub mod system;
pub mod text;
mod time;
pub mod vitals;
