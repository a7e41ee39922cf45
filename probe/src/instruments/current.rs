//! The cell of the task that runs on this thread.

use std::cell::Cell;
use std::sync::atomic::Ordering;

#[cfg(tokio_unstable)]
use super::memory::has_any;
use super::memory::{At, Found, find};
use crate::task;

/// Tasks that a thread remembers: a handler that awaits comes back after those of many other actors. They are in the memory that
/// each thread has from its start, which must stay small.
const REMEMBERED: usize = 256;

thread_local! {
    /// By a hash of their numbers: the last tasks of this thread that had a cell, and their cells. It has no destructor, so a read
    /// is a load.
    static LAST: [Last; REMEMBERED] =
        const { [const { Last { task: Cell::new(0), at: Cell::new(None) } }; REMEMBERED] };
}

/// The place of a task. Its number alone would not do: tasks that are spawned in turns with others would share few places.
#[inline(always)]
fn place(task: u64) -> usize {
    (task.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - REMEMBERED.ilog2())) as usize % REMEMBERED
}

struct Last {
    task: Cell<u64>,
    at: Cell<Option<At>>,
}

/// The cell of the current task. A few loads if this thread remembers it; else a look into the map. No lock, no allocation,
/// no system call.
#[inline]
pub(crate) fn current() -> Option<At> {
    let task = task::current()?;
    remembered(task).or_else(|| look_up(task))
}

/// The cell of a task, if this thread remembers it.
#[inline]
fn remembered(task: u64) -> Option<At> {
    LAST.with(|last| {
        let last = &last[place(task)];
        // A cell that was freed meanwhile may have another tenant.
        let is_its = |at: &At| last.task.get() == task && at.cell.task().load(Ordering::Relaxed) == task;
        last.at.get().filter(is_its)
    })
}

/// A poll of the task with this number begins on this thread. One branch if nothing is instrumented. Else a few loads if this thread
/// remembers the task's cell, or a look into the map; and for an instrumented actor two additions. No lock, no system
/// call, and no allocation but once per thread, when it takes a lane.
#[cfg(tokio_unstable)]
#[inline]
pub(crate) fn count_poll(task: u64) {
    if !has_any() {
        return;
    }
    match remembered(task).map(Found::Cell).or_else(|| find(task)) {
        Some(Found::Cell(at)) => {
            set(task, at);
            at.count_poll();
        }
        Some(Found::Class(instruments, class)) => instruments.count_poll(class),
        None => {}
    }
}

#[cold]
#[inline(never)]
fn look_up(task: u64) -> Option<At> {
    let Some(Found::Cell(at)) = find(task) else { return None };
    set(task, at);
    Some(at)
}

/// The task with this number runs on this thread and has this cell. Task numbers never repeat, so what stays here when a task
/// has ended is never found again.
#[inline(always)]
pub(crate) fn set(task: u64, at: At) {
    LAST.with(|last| {
        let last = &last[place(task)];
        if last.task.get() != task {
            last.task.set(task);
            last.at.set(Some(at));
        }
    });
}
