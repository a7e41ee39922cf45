//! The poller: a thread of the process that asks components which tell nothing by themselves. It starts with the first of
//! them, and is no part of the beats: a component that does not answer holds up the other polls of its own region, and the
//! poll beat says so.
//!
//! Other regions' polls go on: where one is held up, the sampler starts another poller, up to [`MOST_POLLERS`]. Each takes
//! the region whose round is due first, and one of two that have nothing to do ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use atomscope_layout::metrics::Builtin;

use crate::clock;
use crate::lane;
use crate::process::{self, Process, State};
use crate::region::{RegionWriter, turned_off, warn};
use crate::sampler::BEAT;

/// From one round to the next, unless told otherwise.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest interval: below it the poller would be a load of its own.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// Threads at most. So many components that do not answer stop the polls of all regions.
const MOST_POLLERS: usize = 4;

/// Asks a component; false if it is gone.
pub(crate) type Poll = Box<dyn FnMut(&RegionWriter) -> bool + Send>;

/// What is polled of a region.
pub(crate) struct Poller {
    interval: Duration,
    polls: Mutex<Vec<Poll>>,
    is_listed: AtomicBool,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// A region that is polled. Keeps it in memory, not open.
pub(crate) struct Polled {
    writer: Arc<RegionWriter>,
    /// When its next round is due; none if never.
    next: Option<Instant>,
    is_being_polled: bool,
}

impl Poller {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval: interval.max(LEAST_INTERVAL),
            polls: Mutex::default(),
            is_listed: AtomicBool::new(false),
        }
    }

    fn polls(&self) -> MutexGuard<'_, Vec<Poll>> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next round is due. Also after one that took longer than the interval there is a rest.
    fn after(&self, due: Instant) -> Option<Instant> {
        Some(due.checked_add(self.interval)?.max(Instant::now() + LEAST_INTERVAL))
    }

    /// A round; what is polled is taken out meanwhile, since a poll may attach another.
    fn round(&self, writer: &RegionWriter) {
        let start = clock::mono_ns();
        writer.header().poll_beat(start);
        let mut polls = std::mem::take(&mut *self.polls());
        polls.retain_mut(|poll| ask(writer, poll));
        self.polls().append(&mut polls);
        writer.count(Builtin::PollRounds, 1);
        writer.count(Builtin::PollTime, clock::mono_ns().wrapping_sub(start));
    }

    /// Drops what is polled, which may do anything.
    fn give_up(&self) {
        for poll in std::mem::take(&mut *self.polls()) {
            // The panic hook has said what there is to say.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(poll)));
        }
    }
}

/// Polls `poll` from now on, first at once. The poll may hold the component, but neither the actor system nor a region
/// open. Where the environment turns the probe off nothing is polled.
pub(crate) fn poll(writer: &Arc<RegionWriter>, mut poll: Poll) {
    if turned_off() || !writer.is_of_this_process() {
        return;
    }
    // The first look is made here, so that what is attached is there at once.
    if !ask(writer, &mut poll) {
        return;
    }
    writer.poller.polls().push(poll);
    if !writer.poller.is_listed.swap(true, Ordering::Relaxed) {
        writer.header().poll_beat(clock::mono_ns());
        let interval_ns = writer.poller.interval.as_nanos().try_into().unwrap_or(u64::MAX);
        writer.lanes().set(Builtin::PollInterval as usize, interval_ns);
        process::this().poll(writer);
    }
}

/// Polls once. A poll that panics is given up.
fn ask(writer: &RegionWriter, poll: &mut Poll) -> bool {
    catch_unwind(AssertUnwindSafe(|| poll(writer))).unwrap_or_else(|_| {
        writer.count(Builtin::PollsGivenUp, 1);
        false
    })
}

impl Process {
    fn poll(&'static self, writer: &Arc<RegionWriter>) {
        let next = writer.poller.after(Instant::now());
        let mut state = self.lock();
        state.polled.push(Polled { writer: writer.clone(), next, is_being_polled: false });
        let no_poller = if state.pollers == 0 { self.start_poller(&mut state) } else { None };
        let no_sampler = self.start_sampler(&mut state);
        drop(state);
        self.polls_changed.notify_all();
        no_poller.into_iter().chain(no_sampler).for_each(|complaint| warn(&complaint));
    }

    /// What to warn of if the system gives no thread.
    fn start_poller(&'static self, state: &mut State) -> Option<String> {
        let run = move || {
            lane::stay_in_overflow();
            self.run_polls();
        };
        match thread::Builder::new().name("atomscope-poll".into()).stack_size(512 << 10).spawn(run) {
            Ok(_) => {
                state.pollers += 1;
                None
            }
            Err(error) => (!std::mem::replace(&mut state.has_complained, true)).then(|| {
                format!("what has to be asked for its state is not shown any further for now: {error}")
            }),
        }
    }

    /// Starts another poller if a round is due for a while and all pollers are at others, or if there is none.
    pub(crate) fn relieve_pollers(&'static self) {
        let mut state = self.lock();
        let now = Instant::now();
        let waits = |polled: &Polled| {
            let is_late = |next: Instant| now.saturating_duration_since(next) > BEAT;
            !polled.is_being_polled && (polled.writer.is_closing() || polled.next.is_some_and(is_late))
        };
        let needs_one = state.resting_pollers == 0 && state.polled.iter().any(waits);
        let complaint = match needs_one && state.pollers < MOST_POLLERS {
            true => self.start_poller(&mut state),
            false => None,
        };
        drop(state);
        complaint.into_iter().for_each(|complaint| warn(&complaint));
    }

    fn run_polls(&self) {
        let mut state = self.lock();
        loop {
            let is_over = |polled: &Polled| !polled.is_being_polled && polled.writer.is_closing();
            if let Some(over) = state.polled.iter().position(is_over) {
                let over = state.polled.swap_remove(over);
                drop(state);
                over.writer.poller.give_up();
                drop(over);
                state = self.lock();
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
                    writer.poller.round(&writer);
                    state = self.lock();
                    let same = |polled: &&mut Polled| Arc::ptr_eq(&polled.writer, &writer);
                    if let Some(polled) = state.polled.iter_mut().find(same) {
                        polled.is_being_polled = false;
                        polled.next = writer.poller.after(due);
                    }
                }
                _ if state.polled.is_empty() || state.resting_pollers > 0 => {
                    state.pollers -= 1;
                    // Whoever rests may have something to do earlier now, and the sampler nothing at all.
                    self.polls_changed.notify_all();
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
                            let woken = self.polls_changed.wait_timeout(state, rest);
                            woken.unwrap_or_else(PoisonError::into_inner).0
                        }
                        None => self.polls_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                    };
                    state.resting_pollers -= 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    use super::*;
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
            assert!(rounds.load(Ordering::Relaxed) <= closed_at + 2, "it goes on");
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

    #[test]
    fn an_interval_that_never_ends_stops_no_other_poll() {
        let (never, often) = (region(Duration::MAX), region(LEAST_INTERVAL));
        let (once, rounds) = (counted(&never), counted(&often));
        wait_until(|| rounds() > 5);
        assert_eq!(once(), 1, "the first look");
    }
}
