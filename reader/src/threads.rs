//! The threads of a node's process, as `/proc` shows them to everybody: names, states, processor time, waits, switches.
//!
//! The node gives no help and notices nothing. Rates are the difference of two [`ThreadSamples`].

mod node_process;
mod rates;
mod runtime;
mod task;

pub use self::node_process::NodeProcess;
pub use self::rates::{ThreadRates, rates};
pub use self::runtime::{add_roles, threads_of_away};
#[cfg(feature = "stacks")]
pub(crate) use self::task::tids;
pub use self::task::{MOST_THREADS, ThreadSample, ThreadSamples, state_word};
