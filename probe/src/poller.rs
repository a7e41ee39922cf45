//! The poller: one thread that asks components which tell nothing by themselves. It starts with the first of them, and is
//! no part of the beats: a component that does not answer holds up nothing but the other polls, and the poll beat says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use atomscope_layout::metrics::Builtin;

use crate::clock;
use crate::lane;
use crate::region::{Core, turned_off, warn};

/// From one round to the next, unless told otherwise.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest interval: below it the poller would be a load of its own.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// Asks a component; false if it is gone.
pub(crate) type Poll = Box<dyn FnMut(&Core) -> bool + Send>;

/// What is polled, and by which thread.
pub(crate) struct Poller {
    interval: Duration,
    polls: Mutex<Vec<Poll>>,
    thread: Mutex<Option<Thread>>,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Poller {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval: interval.max(LEAST_INTERVAL),
            polls: Mutex::default(),
            thread: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Has the thread end. Does not wait for it: this may be that very thread.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            thread.unpark();
        }
    }
}

/// Polls `poll` from now on, first at once. The poll may hold the component, but not the actor system. Where the
/// environment turns the probe off nothing is polled.
pub(crate) fn poll(core: &Arc<Core>, mut poll: Poll) {
    if turned_off() {
        return;
    }
    // The first look is made here, so that what is attached is there at once.
    if !round(core, &mut poll) {
        return;
    }
    core.poller.polls.lock().unwrap_or_else(PoisonError::into_inner).push(poll);
    let mut running = core.poller.thread.lock().unwrap_or_else(PoisonError::into_inner);
    if running.is_some() || core.poller.stopped.load(Ordering::Relaxed) {
        return;
    }
    core.header().poll_beat(clock::mono_ns());
    let interval_ns = core.poller.interval.as_nanos().try_into().unwrap_or(u64::MAX);
    core.lanes().set(Builtin::PollInterval as usize, interval_ns);
    let (weak, interval) = (Arc::downgrade(core), core.poller.interval);
    let run = move || {
        lane::stay_in_overflow();
        run(&weak, interval);
    };
    match thread::Builder::new().name("atomscope-poll".into()).stack_size(512 << 10).spawn(run) {
        Ok(thread) => *running = Some(thread.thread().clone()),
        Err(error) => warn(&format!("what has to be asked for its state is not shown any further: {error}")),
    }
}

/// Polls once. A poll that panics is given up.
fn round(core: &Core, poll: &mut Poll) -> bool {
    catch_unwind(AssertUnwindSafe(|| poll(core))).unwrap_or_else(|_| {
        core.count(Builtin::PollsGivenUp, 1);
        false
    })
}

fn run(core: &Weak<Core>, interval: Duration) {
    let mut next = Instant::now();
    loop {
        // Also after a round that took longer than the interval it rests, and sees whether it is to end.
        next = (next + interval).max(Instant::now() + LEAST_INTERVAL);
        while let Some(rest) = next.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            thread::park_timeout(rest);
            if core.upgrade().is_none_or(|core| core.poller.stopped.load(Ordering::Relaxed)) {
                return;
            }
        }
        let Some(core) = core.upgrade() else { return };
        let start = clock::mono_ns();
        core.header().poll_beat(start);
        // What is polled is taken out meanwhile: a poll may attach another.
        let mut polls =
            std::mem::take(&mut *core.poller.polls.lock().unwrap_or_else(PoisonError::into_inner));
        polls.retain_mut(|poll| round(&core, poll));
        core.poller.polls.lock().unwrap_or_else(PoisonError::into_inner).append(&mut polls);
        core.count(Builtin::PollRounds, 1);
        core.count(Builtin::PollTime, clock::mono_ns().wrapping_sub(start));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::region::Region;

    #[test]
    fn the_poller_ends_with_the_region_also_where_a_round_takes_longer_than_its_interval() {
        let region = Region::builder("slow").private().poll_interval(LEAST_INTERVAL).build().unwrap();
        let rounds = Arc::new(AtomicU64::new(0));
        let (seen, counting) = (|| rounds.load(Ordering::Relaxed), rounds.clone());
        let slow = move |_: &Core| {
            counting.fetch_add(1, Ordering::Relaxed);
            thread::sleep(2 * LEAST_INTERVAL);
            true
        };
        // The thread has a weak handle until it ends.
        let handles = Arc::weak_count(&region.core);
        poll(&region.core, Box::new(slow));
        while seen() < 3 {
            thread::yield_now();
        }
        region.close();
        let closed_at = seen();
        while Arc::weak_count(&region.core) > handles {
            assert!(seen() <= closed_at + 2, "it goes on");
            thread::yield_now();
        }
    }
}
