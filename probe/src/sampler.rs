//! The sampler: the thread of a process that writes the heartbeat of every open region, samples its clock, and settles its
//! table of actors. It ends when the last region is closed.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use atomscope_layout::metrics::Builtin;

use crate::clock::Clock;
use crate::coarse;
use crate::ending::Cause;
use crate::environment::warn;
use crate::lane;
use crate::poller;
use crate::process::{self, Process, State};
use crate::rounds::BEAT;
use crate::writer::RegionWriter;

/// Lists a region as open: it has a heartbeat from now on, and is closed at the process's exit. To be called before the
/// region is published.
pub(crate) fn open(writer: &Arc<RegionWriter>) {
    process::close_at_exit();
    let process = process::this();
    let mut state = process.lock();
    Process::add_open(&mut state, writer);
    if coarse::is_used() {
        // No sampler ticks while no region is open.
        coarse::tick(writer.clock.ticks());
    }
    let (is_ending, complaint) = (state.is_ending, start(process, &mut state));
    drop(state);
    complaint.into_iter().for_each(|complaint| warn(&complaint));
    if is_ending {
        // As the exit closes the others, so that its code decides what stays.
        process::close(writer, Cause::Drop { panics: false });
    }
}

/// Starts the thread if there is none; returns the warning if the system gives none.
pub(crate) fn start(process: &'static Process, state: &mut State) -> Option<String> {
    if state.sampler.is_some() {
        return None;
    }
    let run = move || {
        // The sampler counts too rarely to need a lane.
        lane::stay_in_overflow();
        beat(process);
    };
    match thread::Builder::new().name("atomscope".into()).stack_size(256 << 10).spawn(run) {
        Ok(thread) => {
            state.sampler = Some(thread.thread().clone());
            None
        }
        Err(error) => (!std::mem::replace(&mut state.has_complained, true)).then(|| {
            format!(
                "readers will call the node wedged, since the system gives no thread for its heartbeat: {error}; \
                 raise the limit of threads"
            )
        }),
    }
}

fn beat(process: &'static Process) {
    let mut next = Instant::now();
    let mut clock: Option<Clock> = clock_of(&opened(process));
    loop {
        // A process that was stopped for a while does not beat faster afterwards.
        next = (next + BEAT).max(Instant::now());
        loop {
            if ends(process) {
                process.drop_noted();
                return process.warn_pending(true);
            }
            let ticks = clock.filter(|_| coarse::is_used());
            ticks.into_iter().for_each(|clock| coarse::tick(clock.ticks()));
            let rest = next.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            thread::park_timeout(if ticks.is_some() { rest.min(coarse::TICK) } else { rest });
        }
        let open = opened(process);
        clock = clock_of(&open).or(clock);
        let missed = process.take_missed();
        for writer in open {
            if writer.is_closing() {
                process.forget(&writer);
                continue;
            }
            writer.count(Builtin::FailuresMissed, missed);
            writer.sample();
            writer.sample_depths();
            writer.touch_pages_later();
        }
        process.drop_noted();
        poller::relieve(process);
        process.warn_pending(false);
    }
}

/// The open regions.
fn opened(process: &Process) -> Vec<Arc<RegionWriter>> {
    process.lock().open.iter().filter_map(Weak::upgrade).collect()
}

/// The clock, which all regions of a process share.
fn clock_of(open: &[Arc<RegionWriter>]) -> Option<Clock> {
    open.first().map(|writer| writer.clock)
}

/// Whether nothing is left to do. The next region then starts another thread.
fn ends(process: &Process) -> bool {
    let mut state = process.lock();
    state.open.retain(|open| open.strong_count() > 0);
    let ends = state.open.is_empty() && state.polled.is_empty();
    if ends {
        state.sampler = None;
    }
    ends
}
