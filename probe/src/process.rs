//! State that all regions of a process share: the list of open regions and the state of the threads that serve them.
//!
//! ```text
//!   sampler, `atomscope`        writes a heartbeat for every open region; starts another poller if one hangs
//!   poller,  `atomscope-poll`   runs the polls that are due, region by region
//! ```
//! The threads start with the first region that needs them and end with the last; they keep no region open. A forked child
//! has none of the threads and knows no region.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::ending::Cause;
#[cfg(target_os = "linux")]
use crate::ending::{ExitCode, Waiting};
use crate::environment::warn;
use crate::error::CreateError;
use crate::per_process::PerProcess;
#[cfg(target_os = "linux")]
use crate::region_file;
use crate::writer::RegionWriter;

/// How many closed regions of a process wait for the exit code.
#[cfg(target_os = "linux")]
const MOST_WAITING: usize = 4;

/// The longest that a thread waits until another thread has closed a region. Closing takes some microseconds, unless its
/// thread has no processor.
pub(crate) const CLOSING_PATIENCE: Duration = Duration::from_secs(1);

/// The shared state of one process. A forked child has its own.
#[derive(Default)]
pub(crate) struct Process {
    state: Mutex<State>,
    /// Regions that readers may find already and that are not in the list of open regions yet.
    naming: AtomicUsize,
    /// Threads in [`each_open`].
    noting: AtomicUsize,
    /// Failures of which nothing was noted.
    missed: AtomicU64,
    /// Notified when a poller may have something to do earlier than it expects.
    pub(crate) polls_changed: Condvar,
}

/// Its lock is held for moments only. No foreign code is called and no foreign value is dropped meanwhile.
#[derive(Default)]
pub(crate) struct State {
    /// The process ends: a region that opens now is closed at once.
    pub(crate) is_ending: bool,
    pub(crate) open: Vec<Weak<RegionWriter>>,
    /// Regions that a thread has used in [`each_open`], until the sampler's next round.
    noted: Vec<Arc<RegionWriter>>,
    /// What had the last reference to a region on a thread that must not drop it, until the sampler does.
    last: Vec<RegionWriter>,
    /// Regions that the drop of the last handle has closed, the oldest first.
    #[cfg(target_os = "linux")]
    waiting: Vec<Waiting>,
    /// The exit handler has settled those.
    #[cfg(target_os = "linux")]
    exits_with: Option<ExitCode>,
    pub(crate) sampler: Option<Thread>,
    /// A poller removes an entry after its region was closed.
    pub(crate) polled: Vec<PolledRegion>,
    pub(crate) pollers: usize,
    /// Pollers that wait for the next poll that is due.
    pub(crate) resting_pollers: usize,
    /// Whether the lack of a thread was warned of.
    pub(crate) has_complained: bool,
    private: PrivateRegions,
}

/// The address of an open region, and the region unless it is just being dropped.
type Open = (usize, Option<Arc<RegionWriter>>);

/// A region that is polled. It stays in memory, but it is not kept open.
pub(crate) struct PolledRegion {
    pub(crate) writer: Arc<RegionWriter>,
    /// The time of the next round; none if there is none.
    pub(crate) next: Option<Instant>,
    pub(crate) is_being_polled: bool,
}

/// Warnings of regions that could not be shared.
#[derive(Default)]
struct PrivateRegions {
    /// Whether the first one was warned of.
    is_known: bool,
    /// Those that no warning has counted yet.
    pending: usize,
    pending_at_last_beat: usize,
    latest: String,
}

static PROCESS: PerProcess<Process> = PerProcess::new();

/// The state of this process.
pub(crate) fn this() -> &'static Process {
    PROCESS.get_or_init(Process::default)
}

/// Closes a region; it is closed when the call returns, unless another thread closes it and takes longer than
/// [`CLOSING_PATIENCE`].
pub(crate) fn close(writer: &RegionWriter, cause: Cause) {
    begin_to_close(writer, cause);
    writer.await_close(Instant::now() + CLOSING_PATIENCE);
}

/// Closes a region unless another thread does.
fn begin_to_close(writer: &RegionWriter, cause: Cause) {
    #[cfg(target_os = "linux")]
    let begun = writer.begin_to_close(cause, |waiting| this().wait_for_exit(waiting));
    #[cfg(not(target_os = "linux"))]
    let begun = writer.begin_to_close(cause);
    if begun {
        // After the region is closed, since both may call foreign code and wait for other threads.
        this().forget(writer);
        writer.wake_runtime();
        if !matches!(cause, Cause::Exit(_)) {
            writer.forget_mailboxes();
        }
    }
}

impl Process {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, for a caller that may have interrupted the thread that holds it, or that runs so late in the process's
    /// exit that no other thread does.
    fn lock_or_give_up(&self) -> Option<MutexGuard<'_, State>> {
        for _ in 0..1000 {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(state)) => return Some(state.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }

    /// While the result lives, the process's exit waits for a region that is about to get a name. `None` if the process is
    /// ending: the regions that the exit closes may be closed already.
    pub(crate) fn naming(&'static self) -> Option<Naming> {
        self.naming.fetch_add(1, Ordering::Relaxed);
        let naming = Naming(self);
        // The count is raised before the flag is read: either this thread sees the exit, or the exit sees the count.
        (!self.lock().is_ending).then_some(naming)
    }

    /// The open region with the least address beyond this one. `Err` if the lock cannot be had.
    fn next_open(&self, beyond: usize) -> Result<Option<Open>, ()> {
        let mut state = self.lock_or_give_up().ok_or(())?;
        let open = state.open.iter().filter(|open| open.as_ptr().addr() > beyond);
        let Some(next) = open.min_by_key(|open| open.as_ptr().addr()) else { return Ok(None) };
        let (at, writer) = (next.as_ptr().addr(), next.upgrade());
        if let Some(writer) = &writer {
            let noted = &mut state.noted;
            // There is room: `open` made it.
            if noted.len() < noted.capacity() && !noted.iter().any(|noted| Arc::ptr_eq(noted, writer)) {
                noted.push(writer.clone());
            }
        }
        Ok(Some((at, writer)))
    }

    /// As the function of this name.
    fn each_open(&self, mut see: impl FnMut(&RegionWriter)) -> bool {
        self.noting.fetch_add(1, Ordering::SeqCst);
        let mut beyond = 0;
        let is_complete = loop {
            match self.next_open(beyond) {
                Ok(Some((at, writer))) => {
                    beyond = at;
                    writer.into_iter().for_each(|writer| see(&writer));
                }
                Ok(None) => break true,
                Err(()) => break false,
            }
        };
        self.noting.fetch_sub(1, Ordering::SeqCst);
        is_complete
    }

    /// Lists a region as open.
    pub(crate) fn add_open(state: &mut State, writer: &Arc<RegionWriter>) {
        state.open.push(Arc::downgrade(writer));
        state.noted.reserve(state.open.len());
    }

    /// Drops what [`each_open`] has kept, unless it runs now, and what [`drop_elsewhere`] was given.
    pub(crate) fn drop_noted(&self) {
        let mut state = self.lock();
        let last = std::mem::take(&mut state.last);
        let mut noted = Vec::new();
        if !state.noted.is_empty() && self.noting.load(Ordering::SeqCst) == 0 {
            noted.reserve(state.noted.capacity());
            std::mem::swap(&mut noted, &mut state.noted);
        }
        drop(state);
        drop((noted, last));
    }

    /// The sampler drops it, if there is a sampler and the lock can be had.
    #[cfg(feature = "atomr")]
    fn drop_later(&self, last: RegionWriter) {
        if let Some(mut state) = self.lock_or_give_up().filter(|state| state.sampler.is_some()) {
            state.last.push(last);
            state.sampler.iter().for_each(Thread::unpark);
        }
    }

    /// The failures of which nothing was noted since the last call.
    pub(crate) fn take_missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }

    /// Keeps a closed region until the process exits. The oldest gives way to a fifth one.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait_for_exit(&self, waiting: Waiting) {
        let Some(mut state) = self.lock_or_give_up() else { return waiting.give_up() };
        if let Some(code) = state.exits_with {
            drop(state);
            return waiting.settle(code);
        }
        state.waiting.push(waiting);
        if state.waiting.len() <= MOST_WAITING {
            return;
        }
        // A file stays in any case, and should get its code.
        let is_evidence = |waiting: &Waiting| waiting.panicked.is_some() || !waiting.traces.is_named;
        let oldest = state.waiting.iter().position(|waiting| !is_evidence(waiting)).unwrap_or(0);
        let oldest = state.waiting.remove(oldest);
        drop(state);
        oldest.give_up();
    }

    /// Removes closed regions that wait for the exit code: those of this node, to which a new one succeeds, or all, whose
    /// space is needed. False if there are none.
    #[cfg(target_os = "linux")]
    pub(crate) fn release_waiting(&self, node: Option<&str>) -> bool {
        let is_released = |waiting: &Waiting| {
            waiting.panicked.is_none() && node.is_none_or(|node| waiting.traces.node == node)
        };
        let mut state = self.lock();
        let (released, kept): (Vec<_>, _) =
            std::mem::take(&mut state.waiting).into_iter().partition(is_released);
        state.waiting = kept;
        drop(state);
        released.iter().for_each(|waiting| waiting.traces.remove());
        !released.is_empty()
    }

    /// Removes a closed region from the list. If the lock cannot be had, the threads notice by themselves.
    pub(crate) fn forget(&self, writer: &RegionWriter) {
        let Some(mut state) = self.lock_or_give_up() else { return };
        state.open.retain(|open| !std::ptr::eq(open.as_ptr(), writer) && open.strong_count() > 0);
        if let (true, Some(sampler)) = (state.open.is_empty(), &state.sampler) {
            sampler.unpark();
        }
        drop(state);
        self.polls_changed.notify_all();
    }

    /// Warns that a region is private although it should be shared: of the first one at once, of the others in one sentence
    /// when no more follow.
    pub(crate) fn warn_private(&self, node: &str, why: &CreateError) {
        let mut state = self.lock();
        let is_first = !std::mem::replace(&mut state.private.is_known, true);
        if !is_first {
            state.private.pending += 1;
            state.private.latest = format!("node `{node}`: {why}");
        }
        drop(state);
        if is_first {
            warn(&format!(
                "node `{node}`: its telemetry cannot be seen from outside the process, only in-process: {why}"
            ));
        }
    }

    /// The pending part of those warnings, if none has come since the last call or if this is the last call.
    pub(crate) fn warn_pending(&self, is_last: bool) {
        let mut state = self.lock();
        let private = &mut state.private;
        let is_over = private.pending > 0 && (is_last || private.pending == private.pending_at_last_beat);
        private.pending_at_last_beat = private.pending;
        if !is_over {
            return;
        }
        let (count, latest) = (std::mem::take(&mut private.pending), std::mem::take(&mut private.latest));
        private.pending_at_last_beat = 0;
        drop(state);
        let more = if count == 1 { "1 more node".into() } else { format!("{count} more nodes") };
        warn(&format!("the telemetry of {more} of this process cannot be seen from outside it; {latest}"));
    }
}

/// Wakes the sampler, which has to do something earlier than it expects.
pub(crate) fn wake_sampler() {
    if let Some(sampler) = &this().lock().sampler {
        sampler.unpark();
    }
}

/// Calls `see` with each open region. It allocates nothing, and gives up rather than wait: a panic may be noted anywhere. False
/// if it gave up. It never drops the last reference to a region, whose drop frees memory and calls foreign code: the
/// sampler keeps one until its next round.
pub(crate) fn each_open(see: impl FnMut(&RegionWriter)) -> bool {
    PROCESS.get().is_none_or(|process| process.each_open(see))
}

/// Drops a reference to a closed region from a hook of a worker. If it is the last one, the sampler does it, since that gives memory
/// back. No system call unless it is the last one.
#[cfg(feature = "atomr")]
pub(crate) fn drop_elsewhere(writer: Arc<RegionWriter>) {
    let Some(last) = Arc::into_inner(writer) else { return };
    if let Some(process) = PROCESS.get() {
        process.drop_later(last);
    }
}

/// A failure was not noted, because [`each_open`] gave up.
pub(crate) fn count_missed() {
    if let Some(process) = PROCESS.get() {
        process.missed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A region that is about to get a name.
pub(crate) struct Naming(&'static Process);

impl Drop for Naming {
    fn drop(&mut self) {
        self.0.naming.fetch_sub(1, Ordering::Release);
    }
}

/// Registers the handler that closes all open regions when the process exits in good order.
pub(crate) fn close_at_exit() {
    static IS_REGISTERED: AtomicBool = AtomicBool::new(false);
    if !IS_REGISTERED.swap(true, Ordering::Relaxed) {
        #[cfg(target_os = "linux")]
        region_file::at_exit(exits);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
extern "C" fn exits(status: libc::c_int, _: *mut libc::c_void) {
    // A parent process sees the lowest eight bits.
    close_all(Some(status as u8));
}

#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
extern "C" fn exits() {
    close_all(None);
}

#[cfg(target_os = "linux")]
fn close_all(code: ExitCode) {
    // A panic here would abort a process that is exiting in good order.
    let _ = std::panic::catch_unwind(|| {
        // A forked child may have no region.
        let Some(process) = PROCESS.get() else { return };
        let Some(mut state) = process.lock_or_give_up() else { return };
        state.is_ending = true;
        drop(state);
        let until = Instant::now() + CLOSING_PATIENCE;
        while process.naming.load(Ordering::Acquire) > 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        let Some(state) = process.lock_or_give_up() else { return };
        // A thread that drops the last handle right now keeps its writer until the region is closed.
        let open: Vec<Arc<RegionWriter>> = state.open.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        // First the regions that no thread closes yet, then those that another thread is closing.
        open.iter().for_each(|writer| begin_to_close(writer, Cause::Exit(code)));
        open.iter().for_each(|writer| writer.await_close(until));
        let Some(mut state) = process.lock_or_give_up() else { return };
        state.exits_with = Some(code);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(|waiting| waiting.settle(code));
        // Unmapping them would only delay the exit.
        std::mem::forget(waiting);
    });
}

#[cfg(test)]
mod tests {
    use atomscope_layout::view::WriterMemory;
    use atomscope_layout::{Capacities, RegionMap};

    use super::*;
    use crate::tables::private_memory;
    use crate::writer::Settings;

    fn writer() -> Arc<RegionWriter> {
        let map = RegionMap::for_capacities(&Capacities::LEAST).unwrap();
        let memory = WriterMemory::private(map.region_bytes).unwrap();
        let settings = Settings {
            node: "open",
            actor_capacity: 1,
            overrides: 0,
            previews: false,
            panics: true,
            poll_interval: Duration::from_secs(1),
            #[cfg(feature = "atomr")]
            depth: false,
            #[cfg(feature = "atomr")]
            depth_events: None,
            #[cfg(feature = "atomr")]
            time_every: 1,
            #[cfg(feature = "atomr")]
            long_poll: Duration::from_secs(1),
        };
        Arc::new(RegionWriter::new(memory, private_memory(&map).unwrap(), map, &settings))
    }

    #[test]
    fn what_finds_the_list_locked_for_too_long_gives_up_and_says_so() {
        let (process, writer) = (Process::default(), writer());
        Process::add_open(&mut process.lock(), &writer);
        let state = process.lock();
        assert!(!process.each_open(|_| panic!("nobody has the lock")));
        drop(state);
        let mut seen = 0;
        assert!(process.each_open(|_| seen += 1));
        assert_eq!(seen, 1);
    }

    #[test]
    #[cfg(feature = "atomr")]
    fn the_sampler_drops_what_a_hook_has_last() {
        let process = Process::default();
        let last = |process: &Process| process.lock().last.len();
        process.drop_later(Arc::into_inner(writer()).unwrap());
        assert_eq!(last(&process), 0, "there is no sampler");
        process.lock().sampler = Some(std::thread::current());
        process.drop_later(Arc::into_inner(writer()).unwrap());
        assert_eq!(last(&process), 1);
        process.drop_noted();
        assert_eq!(last(&process), 0);
    }

    #[test]
    fn the_sampler_drops_a_region_whose_last_handle_is_dropped_while_a_panic_is_noted() {
        let process = Process::default();
        let mut writers: Vec<_> = (0..20).map(|_| Some(writer())).collect();
        let open: Vec<_> = writers.iter().flatten().map(Arc::downgrade).collect();
        writers.iter().flatten().for_each(|writer| Process::add_open(&mut process.lock(), writer));
        let mut seen = 0;
        process.each_open(|_| {
            writers.iter_mut().for_each(|writer| drop(writer.take()));
            process.drop_noted();
            seen += 1;
        });
        // The others were dropped by whoever had them, before the list came to them.
        assert_eq!((seen, open.iter().filter(|writer| writer.strong_count() > 0).count()), (1, 1));
        process.drop_noted();
        assert_eq!(open.iter().filter(|writer| writer.strong_count() > 0).count(), 0);
    }
}
