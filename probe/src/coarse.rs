//! The coarse clock of a process: a word that the sampler's thread stores, every [`TICK`] once an actor is instrumented or a
//! record is made.
//!
//! A handler's beginning and end, and the publishing of a record, read this word instead of the processor's counter, which
//! takes as long as all the rest. All regions of a process have the same clock, so one word serves them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atomscope_layout::cells::{coarse, next_coarse, stamp};
use atomscope_layout::sync::AtomicU64;
use crossbeam_utils::CachePadded;

/// The time between two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(25);

static CLOCK: CoarseClock = CoarseClock::new();

/// The word, and whether anybody reads it.
struct CoarseClock {
    now: CachePadded<AtomicU64>,
    is_used: AtomicBool,
}

/// The stamp of the last tick. One load.
#[inline(always)]
pub(crate) fn now() -> u64 {
    CLOCK.now.load(Ordering::Relaxed)
}

/// The time of the last tick, in ticks of the region's clock. One load.
#[inline(always)]
pub(crate) fn time() -> u64 {
    stamp(now())
}

/// Whether the clock ticks.
pub(crate) fn is_used() -> bool {
    CLOCK.is_used.load(Ordering::Acquire)
}

/// The clock ticks from now on. True for the first call, after which the sampler must be woken. A later call sets a clock that
/// is late by `most` or more, as it is if the sampler gets no processor; that is no tick, so no handler seems long by it.
pub(crate) fn start(ticks: u64, most: u64) -> bool {
    CLOCK.start(ticks, most)
}

/// A tick, by the sampler, or by a region that opens when no sampler may have run for long.
pub(crate) fn tick(ticks: u64) {
    CLOCK.tick(ticks);
}

impl CoarseClock {
    const fn new() -> Self {
        Self { now: CachePadded::new(AtomicU64::new(0)), is_used: AtomicBool::new(false) }
    }

    fn start(&self, ticks: u64, most: u64) -> bool {
        let last = self.now.load(Ordering::Relaxed);
        if last == 0 || ticks.saturating_sub(last) >= most {
            self.advance(last, coarse(ticks.max(last), last));
        }
        // A thread that sees the flag sees a time too. Each instrumented spawn comes here, so it is set only once.
        !self.is_used.load(Ordering::Acquire) && !self.is_used.swap(true, Ordering::AcqRel)
    }

    fn tick(&self, ticks: u64) {
        let last = self.now.load(Ordering::Relaxed);
        self.advance(last, next_coarse(last, ticks));
    }

    /// If another thread was faster, the clock is right.
    fn advance(&self, last: u64, next: u64) {
        let _ = self.now.compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_clock_is_set_by_a_spawn_without_a_tick_and_by_a_tick() {
        const SECOND: u64 = 1_000_000_000;
        let clock = CoarseClock::new();
        let now = || clock.now.load(Ordering::Relaxed);
        assert!(clock.start(SECOND, SECOND / 40));
        let first = now();
        assert!(!clock.start(SECOND + SECOND / 50, SECOND / 40));
        assert_eq!(now(), first, "it is not late");
        assert!(!clock.start(100 * SECOND, SECOND / 40));
        assert_eq!(now(), coarse(100 * SECOND, first));
        clock.tick(101 * SECOND);
        assert_eq!(now(), coarse(101 * SECOND, first + 1));
    }
}
