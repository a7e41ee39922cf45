//! Which counter lane the calling thread has, and its logical clock.
//!
//! One lane number serves a thread in every region of the process. A thread counts in the overflow lane until it has
//! shown that it counts often: idle threads of a blocking pool then take no lane from those that need one.

use std::cell::Cell;

use atomscope_layout::lanes;
use atomscope_layout::sync::AtomicU64;
use crossbeam_utils::CachePadded;

/// Lanes of a process; a region may have fewer, and none ever needs more.
const LANES: usize = 256;
/// Operations after which a thread asks for a lane, and again after as many if there was none.
const ASK_EVERY: u32 = 64;
/// Marks a lane number among the counts of operations.
const HELD: u32 = 1 << 31;
/// The thread has given its lane back, and counts in the overflow lane from now on.
const GONE: u32 = HELD - 1;

static BITMAP: CachePadded<[AtomicU64; LANES / 64]> =
    CachePadded::new([const { AtomicU64::new(0) }; LANES / 64]);

thread_local! {
    /// `HELD | lane`, or how many operations the thread has done without. No destructor: reading it is one load.
    static LANE: Cell<u32> = const { Cell::new(0) };
    /// The latest stamp that this thread has given.
    static LAST_STAMP: Cell<u64> = const { Cell::new(0) };
    /// Touched only by threads that hold a lane.
    static GUARD: Guard = const { Guard(Cell::new(0)) };
}

/// Gives the lane back at the thread's end.
struct Guard(Cell<u32>);

impl Drop for Guard {
    fn drop(&mut self) {
        // First the thread itself stops using the lane: destructors that run after this one may still count.
        LANE.set(GONE);
        lanes::give_back(&*BITMAP, self.0.get());
    }
}

/// The lane that the calling thread holds, if it holds one.
#[inline]
pub(crate) fn held() -> Option<u32> {
    let state = LANE.get();
    (state & HELD != 0).then_some(state & !HELD)
}

/// The same, or a number beyond any lane's.
#[inline]
pub(crate) fn held_or_beyond() -> usize {
    (LANE.get() ^ HELD) as usize
}

/// The lane that the calling thread may count in.
#[inline]
pub(crate) fn current() -> u32 {
    held().unwrap_or_else(|| ask(LANE.get()))
}

#[cold]
fn ask(state: u32) -> u32 {
    if state == GONE {
        return lanes::OVERFLOW;
    }
    if state < ASK_EVERY {
        LANE.set(state + 1);
        return lanes::OVERFLOW;
    }
    LANE.set(0);
    let Some(lane) = lanes::claim(&*BITMAP) else { return lanes::OVERFLOW };
    // The guard before the lane: a thread without a guard would never give it back.
    if GUARD.try_with(|guard| guard.0.set(lane)).is_err() {
        lanes::give_back(&*BITMAP, lane);
        LANE.set(GONE);
        return lanes::OVERFLOW;
    }
    LANE.set(HELD | lane);
    lane
}

/// The calling thread never asks for a lane.
pub(crate) fn stay_in_overflow() {
    LANE.set(GONE);
}

/// A stamp later than any that this thread gave before and later than `cause`, and never before `ticks`.
#[inline]
pub(crate) fn stamp(ticks: u64, cause: u64) -> u64 {
    let stamp = ticks.max(LAST_STAMP.get().saturating_add(1)).max(cause.saturating_add(1));
    LAST_STAMP.set(stamp);
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_a_lane_only_after_it_has_counted_a_while_and_gives_it_back() {
        let lane = std::thread::spawn(|| {
            for _ in 0..ASK_EVERY {
                assert_eq!(current(), lanes::OVERFLOW);
            }
            let lane = current();
            assert_ne!(lane, lanes::OVERFLOW);
            assert_eq!(current(), lane);
            lane
        })
        .join()
        .unwrap();
        assert!(lane as usize <= LANES);
        // Were lanes not given back, the threads of this loop would exhaust them.
        for _ in 0..2 * LANES {
            let lane = std::thread::spawn(|| (0..=ASK_EVERY).map(|_| current()).fold(0, |_, lane| lane));
            assert_ne!(lane.join().unwrap(), lanes::OVERFLOW);
        }
    }

    #[test]
    fn stamps_follow_their_causes_whatever_the_clock_says() {
        let first = stamp(100, 0);
        assert!(stamp(50, 0) > first);
        assert!(stamp(50, 10_000) > 10_000);
        assert_eq!(stamp(1_000_000, 0), 1_000_000);
    }
}
