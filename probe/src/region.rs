//! A region as a program holds it: built, published, written to, closed.
//!
//! A [`Region`] is a handle. All handles together keep the region open; the drop of the last one closes it. The
//! [`crate::writer::RegionWriter`] behind them keeps the memory mapped, but not the region open.
//!
//! ```text
//!   RegionBuilder ──► RegionWriter (memory, map, clock, names) ◄── sampler, poller, runtime heartbeat: until it is closed
//!                      ▲
//!                   Closer ◄── Region, Region, … (registry, feed, extension)
//! ```
//! Closing means: the state becomes *closed*, a segment's name is removed, the lock is released. One thread does it. Other
//! threads that close at the same time (a second `close`, the last drop, the process's exit) wait for it, at most
//! [`crate::process::CLOSING_PATIENCE`].

mod builder;
mod handle;
mod metrics;

pub use builder::RegionBuilder;
#[cfg(feature = "atomr")]
pub(crate) use builder::{DEFAULT_BYTES, most_events};
pub use handle::Region;
pub use metrics::{Counter, Family, FloatGauge, Gauge, Histogram, Timer};
