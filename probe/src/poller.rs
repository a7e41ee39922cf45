//! The poller: a thread of the process that polls components which have no hook. It starts with the first attached
//! component.
//!
//! The heartbeats do not depend on it. A component that does not answer delays the other polls of its own region only, and
//! the poller's heartbeat shows that. For the other regions the sampler starts another poller, up to [`MOST_POLLERS`]. Each
//! poller serves the region whose round is due first; of two that have nothing to do one ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use atomscope_layout::metrics::Builtin;

use crate::clock;
use crate::environment::warn;
use crate::lane;
use crate::process::{PolledRegion, Process, State};
use crate::rounds::BEAT;
use crate::writer::{Poll, RegionWriter};

/// The shortest time between two rounds. With a shorter one the poller would be a load of its own.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// Threads at most. As many components that do not answer stop the polls of all regions.
const MOST_POLLERS: usize = 4;

/// The time between two rounds of a region.
pub(crate) fn interval(writer: &RegionWriter) -> Duration {
    writer.polls.interval.max(LEAST_INTERVAL)
}

/// The time of the round after the one that was due at `due`. There is a rest even after a round that took longer than the
/// interval.
pub(crate) fn after(writer: &RegionWriter, due: Instant) -> Option<Instant> {
    Some(due.checked_add(interval(writer))?.max(Instant::now() + LEAST_INTERVAL))
}

/// Polls one component. A poll that panics is given up.
pub(crate) fn poll_once(writer: &RegionWriter, poll: &mut Poll) -> bool {
    catch_unwind(AssertUnwindSafe(|| poll(writer))).unwrap_or_else(|_| {
        writer.count(Builtin::PollsPanicked, 1);
        false
    })
}

/// One round of a region. The list is empty meanwhile, since a poll may attach another component.
fn run_round(writer: &RegionWriter) {
    let start = clock::mono_ns();
    writer.header().poll_beat(start);
    let mut polls = std::mem::take(&mut *writer.polls.lock());
    // The drop of a poll that has ended may panic too. The others of this round then wait for the next one.
    if catch_unwind(AssertUnwindSafe(|| polls.retain_mut(|poll| poll_once(writer, poll)))).is_err() {
        writer.count(Builtin::PollsPanicked, 1);
    }
    writer.polls.lock().append(&mut polls);
    writer.count(Builtin::PollRounds, 1);
    writer.count(Builtin::PollTime, clock::mono_ns().wrapping_sub(start));
}

/// Drops the polls of a closed region. Their drop runs foreign code, which may attach further components, so no lock is held.
pub(crate) fn drop_polls(writer: &RegionWriter) {
    let polls = std::mem::take(&mut *writer.polls.lock());
    for poll in polls {
        // The panic hook has reported a panic already.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(poll)));
    }
}

/// Starts a poller; returns the warning if the system gives no thread.
pub(crate) fn start(process: &'static Process, state: &mut State) -> Option<String> {
    let run = move || {
        lane::stay_in_overflow();
        run_polls(process);
    };
    match thread::Builder::new().name("atomscope-poll".into()).stack_size(512 << 10).spawn(run) {
        Ok(_) => {
            state.pollers += 1;
            None
        }
        Err(error) => (!std::mem::replace(&mut state.has_complained, true)).then(|| {
            format!(
                "attached components are not polled for now, since the system gives no thread: {error}; raise the limit \
                 of threads"
            )
        }),
    }
}

/// Starts another poller if a round is overdue and all pollers are busy with others, or if there is none.
pub(crate) fn relieve(process: &'static Process) {
    let mut state = process.lock();
    let now = Instant::now();
    let waits = |polled: &PolledRegion| {
        let is_late = |next: Instant| now.saturating_duration_since(next) > BEAT;
        !polled.is_being_polled && (polled.writer.is_closing() || polled.next.is_some_and(is_late))
    };
    let needs_one = state.resting_pollers == 0 && state.polled.iter().any(waits);
    let complaint = match needs_one && state.pollers < MOST_POLLERS {
        true => start(process, &mut state),
        false => None,
    };
    drop(state);
    complaint.into_iter().for_each(|complaint| warn(&complaint));
}

fn run_polls(process: &Process) {
    let mut state = process.lock();
    loop {
        let is_over = |polled: &PolledRegion| !polled.is_being_polled && polled.writer.is_closing();
        if let Some(over) = state.polled.iter().position(is_over) {
            let over = state.polled.swap_remove(over);
            drop(state);
            drop_polls(&over.writer);
            drop(over);
            state = process.lock();
            continue;
        }
        let waiting = state.polled.iter().enumerate().filter(|(_, polled)| !polled.is_being_polled);
        let first = waiting.filter_map(|(at, polled)| polled.next.map(|next| (next, at))).min();
        let now = Instant::now();
        match first {
            Some((due, at)) if due <= now => {
                let polled = &mut state.polled[at];
                polled.is_being_polled = true;
                let writer = polled.writer.clone();
                drop(state);
                run_round(&writer);
                state = process.lock();
                let same = |polled: &&mut PolledRegion| Arc::ptr_eq(&polled.writer, &writer);
                if let Some(polled) = state.polled.iter_mut().find(same) {
                    polled.is_being_polled = false;
                    polled.next = after(&writer, due);
                }
            }
            _ if state.polled.is_empty() || state.resting_pollers > 0 => {
                state.pollers -= 1;
                // A resting poller may have something to do earlier now, and the sampler nothing at all.
                process.polls_changed.notify_all();
                if let (true, Some(sampler)) = (state.polled.is_empty(), &state.sampler) {
                    sampler.unpark();
                }
                return;
            }
            first => {
                state.resting_pollers += 1;
                state = match first {
                    Some((due, _)) => {
                        let rest = due.saturating_duration_since(now);
                        let woken = process.polls_changed.wait_timeout(state, rest);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => process.polls_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
                state.resting_pollers -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::attach::poll;
    use crate::ending::Cause;
    use crate::process;
    use crate::region::Region;

    fn region(interval: Duration) -> Region {
        Region::builder("polled").actors(1).private().poll_interval(interval).build().unwrap()
    }

    /// How often it is polled.
    fn counted(region: &Region) -> impl Fn() -> u64 + use<> {
        let rounds = Arc::new(AtomicU64::new(0));
        let counting = rounds.clone();
        let counts = move |_: &RegionWriter| {
            counting.fetch_add(1, Ordering::Relaxed);
            true
        };
        poll(&region.writer, Box::new(counts));
        move || rounds.load(Ordering::Relaxed)
    }

    fn wait_until(holds: impl Fn() -> bool) {
        while !holds() {
            thread::yield_now();
        }
    }

    #[test]
    fn polls_end_with_the_region_and_are_dropped_also_where_a_round_takes_longer_than_its_interval() {
        let region = region(LEAST_INTERVAL);
        let rounds = Arc::new(AtomicU64::new(0));
        let counting = rounds.clone();
        let slow = move |_: &RegionWriter| {
            counting.fetch_add(1, Ordering::Relaxed);
            thread::sleep(2 * LEAST_INTERVAL);
            true
        };
        poll(&region.writer, Box::new(slow));
        wait_until(|| rounds.load(Ordering::Relaxed) >= 3);
        region.close();
        let closed_at = rounds.load(Ordering::Relaxed);
        wait_until(|| {
            assert!(rounds.load(Ordering::Relaxed) <= closed_at + 2, "polls continue after the close");
            Arc::strong_count(&rounds) == 1
        });
    }

    #[test]
    fn a_component_that_does_not_answer_holds_up_neither_other_regions_polls_nor_any_beat() {
        let (stuck, other) = (region(LEAST_INTERVAL), region(LEAST_INTERVAL));
        let (release, blocked) = mpsc::channel::<()>();
        let (blocks, is_blocked) = mpsc::channel();
        let mut is_first = true;
        let block = move |_: &RegionWriter| {
            if !std::mem::replace(&mut is_first, false) {
                blocks.send(()).unwrap();
                let _ = blocked.recv();
            }
            true
        };
        poll(&stuck.writer, Box::new(block));
        is_blocked.recv().unwrap();
        let rounds = counted(&other);
        let beats = || [&stuck, &other].map(|region| region.writer.reader().unwrap().process_beat().count);
        let before = beats();
        wait_until(|| rounds() > 5 && beats().iter().zip(before).all(|(beat, before)| *beat > before + 2));
        // The round that hangs holds nothing open, and its region closes at once.
        drop((stuck, other));
        drop(release);
    }

    /// Attaches another poll when it is dropped, as the drop of a component may do.
    struct AttachesOnDrop(Arc<RegionWriter>, Option<mpsc::Sender<()>>);

    impl Drop for AttachesOnDrop {
        fn drop(&mut self) {
            let held = self.1.take();
            poll(&self.0, Box::new(move |_| held.is_some()));
        }
    }

    #[track_caller]
    fn await_drop(dropped: &mpsc::Receiver<()>) {
        let end = dropped.recv_timeout(Duration::from_secs(60));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "the poll was not dropped");
    }

    #[test]
    fn a_component_whose_drop_panics_stops_no_other_poll() {
        struct PanicsOnDrop;

        impl Drop for PanicsOnDrop {
            #[allow(clippy::panic, reason = "the poller must survive it")]
            fn drop(&mut self) {
                panic!("in the drop of a component");
            }
        }

        let region = region(LEAST_INTERVAL);
        let (component, mut is_first) = (PanicsOnDrop, true);
        let ends = move |_: &RegionWriter| {
            let _held = &component;
            std::mem::replace(&mut is_first, false)
        };
        poll(&region.writer, Box::new(ends));
        let rounds = counted(&region);
        wait_until(|| rounds() > 5);
        assert_eq!(region.writer.reader().unwrap().builtin(Builtin::PollsPanicked), 1);
    }

    #[test]
    fn a_poll_that_the_drop_of_another_one_attaches_is_dropped_with_the_closed_region() {
        let region = region(LEAST_INTERVAL);
        let (held, dropped) = mpsc::channel();
        let attaches = AttachesOnDrop(region.writer.clone(), Some(held));
        poll(&region.writer, Box::new(move |_| attaches.1.is_some()));
        region.close();
        await_drop(&dropped);
    }

    #[test]
    fn a_poll_that_is_attached_while_its_region_closes_is_dropped() {
        let region = region(LEAST_INTERVAL);
        let (first, first_dropped) = mpsc::channel::<()>();
        let counts = move |_: &RegionWriter| {
            let _held = &first;
            true
        };
        poll(&region.writer, Box::new(counts));
        let (late, late_dropped) = mpsc::channel::<()>();
        let closes = move |writer: &RegionWriter| {
            let _held = &late;
            process::close(writer, Cause::Request);
            // The poller has taken the list of the closed region by then, and this poll is not in it.
            await_drop(&first_dropped);
            true
        };
        poll(&region.writer, Box::new(closes));
        await_drop(&late_dropped);
    }

    #[test]
    fn an_interval_that_never_ends_stops_no_other_poll() {
        let (never, often) = (region(Duration::MAX), region(LEAST_INTERVAL));
        let (once, rounds) = (counted(&never), counted(&often));
        wait_until(|| rounds() > 5);
        assert_eq!(once(), 1, "the first poll");
    }
}
