//! Attaching a component to the poller.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use atomscope_layout::metrics::Builtin;

use crate::environment::{turned_off, warn};
use crate::process::PolledRegion;
use crate::writer::{Poll, RegionWriter};
use crate::{clock, poller, process, sampler};

/// Attaches a component: polls it at once, and later in each round of the poller until the region is closed. The poll may hold
/// the component, but neither the actor system nor an open region. Does nothing if the environment turns the probe off.
pub(crate) fn poll(writer: &Arc<RegionWriter>, mut poll: Poll) {
    if turned_off() || !writer.is_of_this_process() {
        return;
    }
    // The first poll runs here, so that the component is visible when the call returns.
    if !poller::poll_once(writer, &mut poll) {
        return;
    }
    writer.polls.lock().push(poll);
    if writer.is_closing() {
        // The poller may have dropped the polls of this region already, and would not see this one.
        return poller::drop_polls(writer);
    }
    if writer.polls.is_known.swap(true, Ordering::Relaxed) {
        return;
    }
    writer.header().poll_beat(clock::mono_ns());
    let interval_ns = poller::interval(writer).as_nanos().try_into().unwrap_or(u64::MAX);
    writer.lanes().set(Builtin::PollInterval as usize, interval_ns);
    let process = process::this();
    let next = poller::after(writer, Instant::now());
    let mut state = process.lock();
    state.polled.push(PolledRegion { writer: writer.clone(), next, is_being_polled: false });
    let no_poller = if state.pollers == 0 { poller::start(process, &mut state) } else { None };
    let no_sampler = sampler::start(process, &mut state);
    drop(state);
    process.polls_changed.notify_all();
    no_poller.into_iter().chain(no_sampler).for_each(|complaint| warn(&complaint));
}
