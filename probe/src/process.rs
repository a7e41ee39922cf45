//! What the regions of a process share: the list of those that are open, and the threads that work for all of them.
//!
//! ```text
//!   sampler, `atomscope`        beats for every open region; starts another poller where one is held up
//!   poller,  `atomscope-poll`   runs the polls that are due, region by region
//! ```
//! The threads start with the first region that needs them, end with the last, and hold none open. A forked child has none
//! of them and knows of no region: it starts anew.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread::Thread;
#[cfg(target_os = "linux")]
use std::time::Instant;

use crate::error::CreateError;
use crate::per_process::PerProcess;
use crate::poller::Polled;
#[cfg(target_os = "linux")]
use crate::region::CLOSING_TAKES;
use crate::region::{RegionWriter, warn};
#[cfg(target_os = "linux")]
use crate::region_file;

/// What one process has; a forked child has another.
#[derive(Default)]
pub(crate) struct Process {
    state: Mutex<State>,
    /// Regions that may be found and are not yet on the list of those that are open.
    naming: AtomicUsize,
    /// Told when a poller may have something else to do than what it waits for.
    pub(crate) polls_changed: Condvar,
}

/// Held for moments only, during which nothing foreign is called or dropped.
#[derive(Default)]
pub(crate) struct State {
    /// The process ends: what opens now is closed at once.
    is_ending: bool,
    pub(crate) open: Vec<Weak<RegionWriter>>,
    pub(crate) sampler: Option<Thread>,
    /// An entry goes when its region is closed, and a poller does that.
    pub(crate) polled: Vec<Polled>,
    pub(crate) pollers: usize,
    /// Pollers that wait for the next poll that is due.
    pub(crate) resting_pollers: usize,
    /// Whether it was said that there is no thread.
    pub(crate) has_complained: bool,
    private: Private,
}

/// Regions that could not be shared.
#[derive(Default)]
struct Private {
    was_told: bool,
    untold: usize,
    untold_at_last_beat: usize,
    latest: String,
}

static PROCESS: PerProcess<Process> = PerProcess::new();

/// What this process has.
pub(crate) fn this() -> &'static Process {
    PROCESS.get_or_init(Process::default)
}

impl Process {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for who may have interrupted the thread that holds it, or comes so late that nothing else runs.
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

    /// Has a region beaten for, and closed at the process's exit. To be called before it is published.
    pub(crate) fn open(&'static self, writer: &Arc<RegionWriter>) {
        close_at_exit();
        let mut state = self.lock();
        state.open.push(Arc::downgrade(writer));
        let (is_ending, complaint) = (state.is_ending, self.start_sampler(&mut state));
        drop(state);
        complaint.into_iter().for_each(|complaint| warn(&complaint));
        if is_ending {
            writer.close();
        }
    }

    /// While it lives, the process's exit waits for a region that is about to get a name. `None` where the process ends: what
    /// would close the region may have been done.
    pub(crate) fn naming(&'static self) -> Option<Naming> {
        self.naming.fetch_add(1, Ordering::Relaxed);
        let naming = Naming(self);
        // Counted before, so that of this thread and the one that ends the process one sees the other.
        (!self.lock().is_ending).then_some(naming)
    }

    /// Takes a region that is closed off the lists. Where the lock cannot be had the threads find out by themselves.
    pub(crate) fn forget(&self, writer: &RegionWriter) {
        let Some(mut state) = self.lock_or_give_up() else { return };
        state.open.retain(|open| !std::ptr::eq(open.as_ptr(), writer) && open.strong_count() > 0);
        if let (true, Some(sampler)) = (state.open.is_empty(), &state.sampler) {
            sampler.unpark();
        }
        drop(state);
        self.polls_changed.notify_all();
    }

    /// Warns of a region that is private though it was not to be: of the first at once, of more in one sentence when no
    /// more come.
    pub(crate) fn warn_private(&self, node: &str, why: &CreateError) {
        let mut state = self.lock();
        let is_first = !std::mem::replace(&mut state.private.was_told, true);
        if !is_first {
            state.private.untold += 1;
            state.private.latest = format!("node `{node}`: {why}");
        }
        drop(state);
        if is_first {
            warn(&format!(
                "node `{node}`: its telemetry cannot be seen from outside the process, only in-process: {why}"
            ));
        }
    }

    /// The rest of those warnings, when no more have come since the last call, or there is none to follow.
    pub(crate) fn warn_rest(&self, is_last: bool) {
        let mut state = self.lock();
        let private = &mut state.private;
        let is_over = private.untold > 0 && (is_last || private.untold == private.untold_at_last_beat);
        private.untold_at_last_beat = private.untold;
        if !is_over {
            return;
        }
        let (count, latest) = (std::mem::take(&mut private.untold), std::mem::take(&mut private.latest));
        private.untold_at_last_beat = 0;
        drop(state);
        let more = if count == 1 { "1 more node".into() } else { format!("{count} more nodes") };
        warn(&format!("the telemetry of {more} of this process cannot be seen from outside it; {latest}"));
    }
}

/// A region that is about to get a name.
pub(crate) struct Naming(&'static Process);

impl Drop for Naming {
    fn drop(&mut self) {
        self.0.naming.fetch_sub(1, Ordering::Release);
    }
}

/// Has what is open closed when the process ends in good order.
fn close_at_exit() {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    if !IS_TOLD.swap(true, Ordering::Relaxed) {
        #[cfg(target_os = "linux")]
        region_file::at_exit(close_all);
    }
}

#[cfg(target_os = "linux")]
extern "C" fn close_all() {
    // A panic here would abort a process that is ending in good order.
    let _ = std::panic::catch_unwind(|| {
        // A forked child may have made none.
        let Some(process) = PROCESS.get() else { return };
        let Some(mut state) = process.lock_or_give_up() else { return };
        state.is_ending = true;
        drop(state);
        let until = Instant::now() + CLOSING_TAKES;
        while process.naming.load(Ordering::Acquire) > 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        let Some(state) = process.lock_or_give_up() else { return };
        // Whoever drops the last handle right now has its writer until the region is closed.
        let open: Vec<Arc<RegionWriter>> = state.open.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        // First all that nobody closes yet, then those that another thread is at.
        open.iter().for_each(|writer| writer.begin_to_close());
        open.iter().for_each(|writer| writer.await_close(until));
    });
}
