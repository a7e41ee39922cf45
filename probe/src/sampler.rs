//! The sampler: one thread of the process that beats for every open region, keeps its clock told, and settles its actor
//! table. It is woken when the last region closes, and ends.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::lane;
use crate::process::{Process, State};
use crate::region::RegionWriter;

/// From one beat to the next. Readers call a node wedged when none came for twelve times as long.
pub(crate) const BEAT: Duration = Duration::from_millis(250);

impl Process {
    /// Starts the thread if there is none; what to warn of if the system gives none.
    pub(crate) fn start_sampler(&'static self, state: &mut State) -> Option<String> {
        if state.sampler.is_some() {
            return None;
        }
        let run = move || {
            // It counts too rarely to be worth a lane.
            lane::stay_in_overflow();
            self.beat();
        };
        match thread::Builder::new().name("atomscope".into()).stack_size(256 << 10).spawn(run) {
            Ok(thread) => {
                state.sampler = Some(thread.thread().clone());
                None
            }
            Err(error) => (!std::mem::replace(&mut state.has_complained, true)).then(|| {
                format!("the node will look wedged from outside, since its beat has no thread: {error}")
            }),
        }
    }

    fn beat(&'static self) {
        let mut next = Instant::now();
        loop {
            // A process that was stopped for a while does not beat faster afterwards.
            next = (next + BEAT).max(Instant::now());
            loop {
                if self.ends_sampler() {
                    return self.warn_rest(true);
                }
                let rest = next.saturating_duration_since(Instant::now());
                if rest.is_zero() {
                    break;
                }
                thread::park_timeout(rest);
            }
            let open: Vec<Arc<RegionWriter>> = self.lock().open.iter().filter_map(Weak::upgrade).collect();
            for writer in open {
                if writer.is_closing() {
                    self.forget(&writer);
                    continue;
                }
                writer.sample();
                writer.touch_later();
            }
            self.relieve_pollers();
            self.warn_rest(false);
        }
    }

    /// Whether there is nothing left to do; the next region starts another thread then.
    fn ends_sampler(&self) -> bool {
        let mut state = self.lock();
        state.open.retain(|open| open.strong_count() > 0);
        let ends = state.open.is_empty() && state.polled.is_empty();
        if ends {
            state.sampler = None;
        }
        ends
    }
}
