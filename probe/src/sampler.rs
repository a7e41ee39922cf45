//! The sampler: one thread per shared region that beats, keeps the clock told, and settles the actor table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::lane;
use crate::region::{Core, warn};

/// From one beat to the next. Readers call a node wedged when none came for twelve times as long.
pub(crate) const BEAT: Duration = Duration::from_millis(250);

/// A running sampler.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Sampler {
    /// Starts the thread. Where the system gives none the region stays without beats, and a warning says so.
    pub(crate) fn start(core: Arc<Core>) -> Option<Self> {
        core.sample();
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let run = move || {
            // It counts too rarely to be worth a lane.
            lane::stay_in_overflow();
            let mut next = Instant::now();
            while !told.load(Ordering::Relaxed) {
                next += BEAT;
                // A process that was stopped for a while does not beat faster afterwards.
                next = next.max(Instant::now());
                while let Some(rest) =
                    next.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
                {
                    thread::park_timeout(rest);
                    if told.load(Ordering::Relaxed) {
                        return;
                    }
                }
                core.sample();
            }
        };
        match thread::Builder::new().name("atomscope".into()).stack_size(256 << 10).spawn(run) {
            Ok(thread) => Some(Self { stop, thread: thread.thread().clone() }),
            Err(error) => {
                warn(&format!(
                    "the node will look wedged from outside, since its beat has no thread: {error}"
                ));
                None
            }
        }
    }

    /// Has the thread end. Does not wait for it: this may be that very thread.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}
