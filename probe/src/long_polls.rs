//! Polls of tasks, counted with their actors, on runtimes that are watched from their builders; and those that hold their worker for
//! long.
//!
//! tokio calls hooks before and after each poll only if it is built with `--cfg tokio_unstable`. A poll then costs two readings of
//! the clock, and it is counted: that of an instrumented actor in the actor's cell and for its class.
//!
//! The hook before a poll counts. While it runs, no other thread may poll the task, so it may write the words of the actor's task.
//! The hook after a poll may run while another thread polls the task already. So a long poll is not in the cell.

use std::sync::{Arc, Weak};

use atomscope_layout::attached::Attachment;
use atomscope_layout::classes::number;
use atomscope_layout::event::{EventKind, EventRecord};
use atomscope_layout::lanes::OVERFLOW;
use atomscope_layout::limits::ACTOR_PATH_BYTES;
use atomscope_layout::metrics::Builtin;
use tokio::runtime::TaskMeta;

use crate::clock::{Clock, ns_of, ticks_of};
use crate::failures::{Text, location, thread_name};
use crate::instruments::current::count_poll;
use crate::instruments::memory::{Found, Instruments, find};
use crate::panics::thread_id;
use crate::process;
use crate::task::{self, POLL_BEGAN};
use crate::writer::RegionWriter;

/// Watches the polls of one runtime.
#[derive(Clone)]
pub(crate) struct LongPolls {
    /// The runtime may outlive the region.
    writer: Weak<RegionWriter>,
    /// They outlive the region too, and a poll is counted without a reference to it. `None`: there was no memory for them.
    instruments: Option<&'static Instruments>,
    clock: Clock,
    least_ticks: u64,
}

impl LongPolls {
    pub(crate) fn of(writer: &Arc<RegionWriter>) -> Self {
        let instruments = writer.instruments();
        if instruments.is_some() {
            writer.attached(Attachment::Polls);
        }
        let least_ticks = ticks_of(writer.long_poll, writer.tick_length);
        Self { writer: Arc::downgrade(writer), instruments, clock: writer.clock, least_ticks }
    }

    /// A poll of this task begins on this thread.
    #[inline]
    pub(crate) fn begins(&self, task: &TaskMeta<'_>) {
        if let Some(instruments) = self.instruments {
            instruments.count_any_poll();
        }
        count_poll(task::number(task.id()));
        // To count is no part of the poll.
        POLL_BEGAN.set(self.clock.ticks());
    }

    /// The poll of this task has ended on this thread.
    #[inline]
    pub(crate) fn ends(&self, task: &TaskMeta<'_>) {
        let began = POLL_BEGAN.replace(0);
        let ticks = self.clock.ticks().saturating_sub(began);
        if ticks >= self.least_ticks && began != 0 {
            self.note(task, ticks);
        }
    }

    #[cold]
    fn note(&self, task: &TaskMeta<'_>, ticks: u64) {
        let Some(writer) = self.writer.upgrade() else { return };
        if !writer.is_closing() {
            note_in(&writer, task, ticks);
        }
        process::drop_elsewhere(writer);
    }
}

/// Allocates nothing and waits for nobody. The name of the thread is asked of the kernel.
fn note_in(writer: &RegionWriter, task: &TaskMeta<'_>, ticks: u64) {
    writer.lanes().add(OVERFLOW, Builtin::LongPolls as usize, 1);
    let (mut actor, mut class) = (Text::<ACTOR_PATH_BYTES>::new(), 0);
    // A task that has ended in this poll has no cell any more.
    let found = find(task::number(task.id()));
    match found {
        Some(Found::Cell(at)) => {
            at.instruments.class(at.class()).count(number::LONG_POLLS, 1);
            if writer.has_instruments(at.instruments) {
                writer.path_of(at, &mut actor);
                class = at.class_name();
            }
        }
        Some(Found::Class(instruments, number_of_class)) => {
            instruments.class(number_of_class).count(number::LONG_POLLS, 1);
            if writer.has_instruments(instruments) {
                class = instruments.class(number_of_class).name();
            }
        }
        None => {}
    }
    let spawned = task.spawned_at();
    let spawned = location(spawned.file(), spawned.line(), Some(spawned.column()));
    // Every actor is spawned by the same line of atomr.
    let spawned = if found.is_none() { spawned.as_str() } else { "" };
    let numbers = [ns_of(ticks, writer.tick_length), thread_id().into()];
    let thread = thread_name();
    let texts = [actor.as_str(), thread.as_str(), "", spawned];
    let (mut event, cut) = EventRecord::with_texts(EventKind::LongPoll, writer.stamp(0), numbers, &texts);
    event.type_id = class;
    writer.publish_lean(&event);
    if cut {
        writer.lanes().add(OVERFLOW, Builtin::TextsCut as usize, 1);
    }
}
