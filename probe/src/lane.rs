//! The calling thread's lane, and its logical clock.
//!
//! A thread has the same lane number in every region of the process. It uses the overflow lane until it has counted often:
//! so idle threads of a blocking pool take no lane from threads that need one.

use std::cell::Cell;

use atomscope_layout::lane_memory::LaneMemory;
use atomscope_layout::lanes;
use atomscope_layout::sync::AtomicU64;
use crossbeam_utils::CachePadded;

/// Lanes of a process. A region may have fewer, and never needs more.
const LANES: usize = 256;
/// Operations after which a thread claims a lane; after as many it tries again if no lane was free.
const CLAIM_EVERY: u32 = 64;
/// Marks a state that is a lane number and not a count of operations.
const HELD: u32 = 1 << 31;
/// The state of a thread that has returned its lane: it uses the overflow lane until its end.
const GONE: u32 = HELD - 1;

static BITMAP: CachePadded<[AtomicU64; LANES / 64]> =
    CachePadded::new([const { AtomicU64::new(0) }; LANES / 64]);

thread_local! {
    /// `HELD | lane`, or the number of operations without a lane. It has no destructor, so a read is one load.
    static LANE: Cell<u32> = const { Cell::new(0) };
    /// The latest stamp of this thread.
    static LAST_STAMP: Cell<u64> = const { Cell::new(0) };
    /// Used only by threads that hold a lane.
    static GUARD: Guard = const { Guard(Cell::new(0)) };
}

/// Returns the lane at the thread's end.
struct Guard(Cell<u32>);

impl Drop for Guard {
    fn drop(&mut self) {
        // First the thread stops using the lane, since destructors that run after this one may still count.
        LANE.set(GONE);
        lanes::give_back(&*BITMAP, self.0.get());
    }
}

/// The lane of the calling thread, if it has one.
#[inline]
pub(crate) fn held() -> Option<u32> {
    let state = LANE.get();
    (state & HELD != 0).then_some(state & !HELD)
}

/// The same, or a number beyond all lanes.
#[inline]
pub(crate) fn held_or_beyond() -> usize {
    (LANE.get() ^ HELD) as usize
}

/// The lane that the calling thread may write to.
#[inline]
pub(crate) fn current() -> u32 {
    held().unwrap_or_else(|| claim(LANE.get()))
}

#[cold]
fn claim(state: u32) -> u32 {
    if state == GONE {
        return lanes::OVERFLOW;
    }
    if state < CLAIM_EVERY {
        LANE.set(state + 1);
        return lanes::OVERFLOW;
    }
    LANE.set(0);
    let Some(lane) = lanes::claim(&*BITMAP) else { return lanes::OVERFLOW };
    // The guard comes first, since a thread without a guard would never return the lane.
    if GUARD.try_with(|guard| guard.0.set(lane)).is_err() {
        lanes::give_back(&*BITMAP, lane);
        LANE.set(GONE);
        return lanes::OVERFLOW;
    }
    LANE.set(HELD | lane);
    lane
}

/// Adds `n` to `metric`, in the calling thread's lane if it has one. With a plain `inline` some builds call it from a hook.
#[inline(always)]
pub(crate) fn add(memory: &LaneMemory, metric: usize, n: u64) {
    // A thread without a lane gets a number beyond all lanes. No thread holds the shared overflow lane.
    match memory.lanes().word(held_or_beyond(), metric) {
        Some(word) => lanes::add_to_own(word, n),
        None => add_without_lane(memory, metric, n),
    }
}

/// The rare rest of [`add`], out of line so that the caller keeps its registers.
#[cold]
#[inline(never)]
fn add_without_lane(memory: &LaneMemory, metric: usize, n: u64) {
    memory.lanes().add(current(), metric, n);
}

/// The calling thread never claims a lane.
pub(crate) fn stay_in_overflow() {
    LANE.set(GONE);
}

/// A stamp that is later than all earlier stamps of this thread, later than `cause`, and no earlier than `ticks`.
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
            for _ in 0..CLAIM_EVERY {
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
        // The threads of this loop would exhaust the lanes if these were not returned.
        for _ in 0..2 * LANES {
            let lane = std::thread::spawn(|| (0..=CLAIM_EVERY).map(|_| current()).fold(0, |_, lane| lane));
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
