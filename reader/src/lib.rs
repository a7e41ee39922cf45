//! See inside a running actor node from outside it.
//!
//! A *node* is a process that runs an actor system with the probe `atomscope-probe`. The probe publishes into a *region*, a
//! shared memory object of fixed layout. This library finds regions, reads them and judges their nodes. It maps regions
//! read-only, takes no lock on them, and depends on neither the actor runtime nor the probe: a node cannot notice a reader.
//!
//! # From a node to its data
//! A [`Search`](find::Search) finds regions in `/dev/shm` and among the mappings of processes. It attaches to one that a
//! [`Target`](find::Target) names:
//! ```no_run
//! use atomscope::find::{Search, Target};
//!
//! let attached = Search::default().attach(&Target::Node("orders".into()))?;
//! println!("the node is {}", attached.liveness);
//! # Ok::<(), atomscope::find::FindError>(())
//! ```
//! A [`Region`](attach::Region) is an attached region: a mapping, or a copy if its node is dead. It reads single values
//! without a list of anything:
//! ```no_run
//! # use std::path::Path;
//! use atomscope::attach::{MAX_BYTES, Region};
//!
//! let region = Region::open(Path::new("orders.raw"), None, MAX_BYTES)?;
//! println!("{} live actors", region.reader()?.actor_totals().live);
//! # Ok::<(), atomscope::attach::AttachError>(())
//! ```
//! A [`Snapshot`](snapshot::Snapshot) is an owned, decoded copy of everything at one time. [`report`] turns it into rows,
//! rates and findings for people:
//! ```no_run
//! # use atomscope::find::{Search, Target};
//! use atomscope::report::findings;
//! use atomscope::report::usage::Usage;
//! use atomscope::snapshot::Snapshot;
//!
//! # let region = Search::default().attach(&Target::Only)?.region;
//! let snapshot = Snapshot::take(&region)?;
//! let usage = Usage::take(&region, &snapshot)?;
//! for finding in findings::of_snapshot(&region, &snapshot, &usage) {
//!     println!("{}", finding.finding);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! A [`NodeFollower`](follow::NodeFollower) reads events as they are published, and counts those that it missed:
//! ```no_run
//! # use atomscope::find::{Search, Target};
//! use atomscope::follow::NodeFollower;
//!
//! # let region = Search::default().attach(&Target::Only)?.region;
//! let mut follower = NodeFollower::new(region, None)?;
//! println!("{} events and losses", follower.poll(0).len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! A [`Query`](query::Query) filters rows of any kind by their texts and fields:
//! ```
//! use atomscope::query::{Field, FieldType, FieldValue, Query, Row, Unit};
//!
//! struct Mailbox(u64);
//!
//! impl Row for Mailbox {
//!     fn field_value(&self, _field: usize) -> FieldValue<'_> {
//!         FieldValue::Number(self.0 as f64)
//!     }
//!     fn any_text(&self, _is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
//!         false
//!     }
//! }
//!
//! let fields = [Field::new("depth", FieldType::Number { unit: Unit::Plain, shown: 1.0 })];
//! let query = Query::parse("depth > 100", &fields)?;
//! assert!(query.matches(&Mailbox(500)) && !query.matches(&Mailbox(5)));
//! # Ok::<(), atomscope::query::QueryError>(())
//! ```
//!
//! # What else is here
//! - [`liveness`] judges whether a node lives and works; [`vitals`] says what its process uses of the machine.
//! - [`threads`] reads what the kernel counts of a node's threads. With the feature `stacks`, the module of that name reads their
//!   stacks, and `stuck` finds calls that do not come back.
//! - [`in_flight`] lists the handlers of instrumented actors that have not ended, also those of a node that died.
//! - [`export`] gives the data of all nodes to exporters, and has the families of Prometheus and OpenMetrics.
//! - [`raw`] copies a region into a file that every command reads; [`redact`] replaces the names in a snapshot or a copy.
//! - [`text`] makes text and JSON safe to print. Names in a region come from the application, so print none without it.
//! - [`process`] and [`hidden`] read `/proc`, and [`system`] makes the system calls. A program should call
//!   [`system::guard_mappings`] first: without it, a region file that somebody cuts short ends the process.
//! - [`layout`] is the crate `atomscope-layout`, which defines the types in snapshots: actors and instances in
//!   [`layout::decode`], metrics in [`layout::metrics`], events in [`layout::event`].
//!
//! # Features
//! `program` (default) adds the dependencies of the program `atomscope`, such as clap and ratatui, and `export` (default) those of
//! its HTTP server. The library is the same without them: an embedder sets `default-features = false`. `stacks`, which `program` enables, adds the module of that name,
//! `stuck`, and the crates that unwind and name stacks.
//!
//! # Limits
//! The library runs on Linux only. It reads regions of one major version of the layout ([`layout::region::VERSION_MAJOR`])
//! and of all its minor versions.

#[cfg(not(target_os = "linux"))]
compile_error!("atomscope reads /dev/shm and /proc, so it builds on Linux only");

pub use atomscope_layout as layout;

pub mod attach;
mod cgroup;
pub mod ending;
pub mod export;
pub mod find;
pub mod follow;
pub mod hidden;
pub mod in_flight;
pub mod liveness;
pub mod process;
pub mod query;
pub mod raw;
pub mod redact;
pub mod report;
pub mod snapshot;
#[cfg(feature = "stacks")]
pub mod stacks;
#[cfg(feature = "stacks")]
pub mod stuck;
pub mod system;
pub mod text;
pub mod threads;
mod time;
pub mod vitals;
pub mod workers;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
