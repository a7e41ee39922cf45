//! What the spawn and stop hooks need to know about their own installation.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// How far the probe can be sure that the installed hooks see every spawn.
///
/// The hook may still report the spawn of an actor that is older than the hooks, microseconds after they were installed.
/// So the probe is sure only after one whole round of the sampler.
#[derive(Debug, Default)]
pub(crate) struct HookState {
    /// Whether hooks are installed.
    pub(crate) are_installed: AtomicBool,
    /// The number of a task that was made just after the installation. 0 if unknown, `u64::MAX` during the installation.
    pub(crate) first_task: AtomicU64,
    /// Ticks after which no spawn of an older actor is reported; 0 before that is known.
    pub(crate) sure_from: AtomicU64,
    /// Whether a whole round has passed since `sure_from`.
    pub(crate) are_settled: AtomicBool,
    /// The number of a task that was made just before the installation.
    pub(crate) last_before: AtomicU64,
    /// The number of the task of the older actor that stopped last.
    pub(crate) last_older: AtomicU64,
}
