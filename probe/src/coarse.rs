//! The coarse clock of a process: a word that the sampler's thread stores, every [`TICK`] once an actor is instrumented.
//!
//! A handler's beginning and end read this word instead of the processor's counter, which takes as long as all the rest of
//! counting a message. All regions of a process have the same clock, so one word serves them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atomscope_layout::cells::{coarse, next_coarse};
use atomscope_layout::sync::AtomicU64;
use crossbeam_utils::CachePadded;

/// The time between two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(25);

static NOW: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));
static IS_USED: AtomicBool = AtomicBool::new(false);

/// The stamp of the last tick. One load.
#[inline(always)]
pub(crate) fn now() -> u64 {
    NOW.load(Ordering::Relaxed)
}

/// Whether the clock ticks.
pub(crate) fn is_used() -> bool {
    IS_USED.load(Ordering::Relaxed)
}

/// The clock ticks from now on. True for the first call, after which the sampler must be woken.
pub(crate) fn start(ticks: u64) -> bool {
    if is_used() {
        return false;
    }
    NOW.store(coarse(ticks, 0), Ordering::Relaxed);
    !IS_USED.swap(true, Ordering::Relaxed)
}

/// A tick. Only the sampler calls this.
pub(crate) fn tick(ticks: u64) {
    NOW.store(next_coarse(now(), ticks), Ordering::Relaxed);
}
