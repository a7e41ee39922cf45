//! The atomscope probe: publishes the telemetry of an atomr node in shared memory, where other processes can read it while
//! the node runs, when it hangs, and after its death.
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
//! // From now on `atomscope ps` in a shell shows the node, and the process can read its own telemetry:
//! assert_eq!(telemetry.actors.live_count(), 0);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "atomr"))]
//! # fn main() {}
//! ```
//!
//! A program without atomr makes a [`Region`] and registers its own metrics:
//!
//! ```
//! use atomscope_probe::Region;
//!
//! let region = Region::builder("importer").actors(100).private().build()?;
//! region.counter("rows", "rows", "Rows that were imported").add(1);
//! # Ok::<(), atomscope_probe::CreateError>(())
//! ```
//!
//! A record is the newest state of something of the application, a struct that other processes see by its fields: see
//! [`record!`]. An event of the application's own has a topic that the application names: see [`Region::events`].
//!
//! # Cost
//! On hot paths (spawns, stops, dead letters, events, metrics) the probe makes no allocation, takes no lock, makes no
//! system call and never waits, except at a thread's first record. In-process snapshots such as
//! [`TelemetryExtension::snapshot`] allocate. One thread writes a heartbeat four times a second; another one polls attached
//! components once a second by default. If a region cannot be shared, it is private and one warning says so. The probe
//! never makes the node fail.
//!
//! # Restrictions
//! - **Do not record in a signal handler.** It may interrupt its thread in the middle of a record, in a lane that only this
//!   thread writes: both records are lost or mixed. Let the handler set a flag, and record elsewhere.
//! - **Do not close all descriptors after a region was made**, as some daemons do at their start: one of them is the
//!   region's. Close them before, or close only your own. The mapping keeps the node's lock, so readers still see that the
//!   node lives. But another region can use a user's file only after the last handle was dropped, not after `close`.
//! - **Do not use a parent's region in a forked child.** The child's records are lost; make another region there.
//!
//! # Turning it off
//! With `ATOMSCOPE=off` in the environment no region is shared and no hook is installed.
//!
//! # Features
//! All but `macros`, `metrics` and `tracing-layer` are on by default. Without any the crate has regions, metrics, the bus, the registry and the dead-letter feed.
//!
//! | feature | adds |
//! |---|---|
//! | `atomr` | `TelemetryExtension` and the hooks of an actor system; the probes that the application feeds itself |
//! | `cluster` | attaching atomr's cluster daemon, and wrappers for gossip and downing |
//! | `instruments` | counting what actors handle, by an interceptor, which atomr has since 0.10; leave it out with atomr 0.9 |
//! | `quorum` | the observer of a cluster's quorum, which atomr has since 0.10; leave it out with atomr 0.9 |
//! | `cluster-metrics` | metrics of the cluster's nodes |
//! | `sharding` | attaching shard regions and coordinators, and wrappers around the parts of a shard region |
//! | `ddata` | attaching a replicator of distributed data, and a wrapper for its store |
//! | `persistence` | wrappers for journals and snapshot stores, and attaching a recovery permitter |
//! | `remote` | attaching an endpoint manager |
//! | `streams` | wrappers for sources and graphs |
//! | `leases` | a wrapper for leases |
//! | `macros` | `#[derive(Variants)]` and `#[observed]` for the actors of an application: see [`observe`] |
//! | `metrics` | `Region::recorder`: what the program counts through the crate `metrics` is in the region |
//! | `tracing-layer` | `FailureLayer`, which notes errors and warnings that are logged through `tracing`; `TracingLayer`, which counts spans and events |
//! | `shm` | named segments through the crate `shared_memory`; without it the probe makes the same segments itself |

pub mod actor_registry;
#[allow(dead_code, reason = "used by components, which depend on the features")]
mod attach;
mod backing;
pub mod bus;
mod clock;
mod clock_samples;
#[cfg(feature = "atomr")]
pub mod cluster;
#[cfg(feature = "cluster-metrics")]
pub mod cluster_metrics;
mod coarse;
#[cfg(feature = "atomr")]
pub mod ddata;
pub mod dead_letters;
#[cfg(feature = "atomr")]
#[cfg_attr(not(feature = "instruments"), allow(dead_code, reason = "nothing is instrumented without it"))]
mod depths;
mod ending;
mod environment;
mod error;
pub mod events;
#[cfg(feature = "atomr")]
pub mod exporters;
#[cfg(feature = "atomr")]
mod extension;
#[cfg(feature = "tracing-layer")]
mod failure_layer;
mod failures;
mod hash;
#[cfg(feature = "atomr")]
mod hook_state;
#[cfg(feature = "atomr")]
mod hooks;
mod identity;
#[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "only probes of atomr have instances yet"))]
mod instance_counts;
#[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "only probes of atomr have instances yet"))]
mod instances;
#[cfg(feature = "atomr")]
#[cfg_attr(not(feature = "instruments"), allow(dead_code, reason = "nothing is instrumented without it"))]
mod instruments;
mod lane;
#[cfg(feature = "leases")]
pub mod leases;
#[cfg(all(feature = "atomr", tokio_unstable))]
mod long_polls;
#[cfg(feature = "atomr")]
#[cfg_attr(not(feature = "instruments"), allow(dead_code, reason = "nothing is instrumented without it"))]
mod mailbox;
mod names;
#[cfg(feature = "atomr")]
pub mod observe;
mod pairs;
mod panics;
mod per_process;
#[cfg(feature = "atomr")]
pub mod persistence;
#[allow(dead_code, reason = "used by components, which depend on the features")]
mod poller;
mod process;
#[cfg(feature = "metrics")]
mod recorder;
pub mod records;
mod region;
#[cfg(target_os = "linux")]
mod region_file;
#[cfg(feature = "atomr")]
pub mod remote;
mod rounds;
#[cfg(feature = "atomr")]
mod runtime;
#[cfg(feature = "atomr")]
mod runtime_threads;
mod sampler;
mod sampling;
mod series;
#[cfg(feature = "atomr")]
pub mod sharding;
mod signals;
#[cfg(feature = "atomr")]
pub mod streams;
mod tables;
#[cfg(feature = "atomr")]
mod task;
#[cfg(feature = "atomr")]
mod tee;
mod text;
#[cfg(feature = "tracing-layer")]
mod tracing_layer;
#[cfg(feature = "atomr")]
mod type_names;
#[cfg(feature = "atomr")]
mod wake;
#[cfg(any(feature = "leases", feature = "persistence"))]
mod watched;
#[cfg(feature = "atomr")]
mod workers;
mod writer;

pub use atomscope_layout::{Capacities, LimitError, dto};

pub use crate::error::{CreateError, SpaceUse};
pub use crate::events::{Events, EventsError, Level, RecordEvents};
#[cfg(feature = "atomr")]
pub use crate::extension::{TelemetryExtension, TelemetryHandle};
#[cfg(feature = "tracing-layer")]
pub use crate::failure_layer::FailureLayer;
#[cfg(feature = "metrics")]
pub use crate::recorder::MetricsRecorder;
pub use crate::records::{RecordError, RecordHandle, SharedRecord, Text};
pub use crate::region::{Counter, Family, FloatGauge, Gauge, Histogram, Region, RegionBuilder, Timer};
#[cfg(feature = "atomr")]
pub use crate::runtime_threads::{RuntimeToWatch, ThreadHooks};
#[cfg(feature = "tracing-layer")]
pub use crate::tracing_layer::TracingLayer;
