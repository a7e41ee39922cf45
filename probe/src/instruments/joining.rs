//! What the spawn and stop hooks and an instrumented spawn tell each other, on one thread.
//!
//! atomr calls the spawn hook within the call that spawns, so a thread-local joins the actor's record and its cell. It calls
//! the stop hook in the poll in which the actor's task ends, just before the task drops what it holds.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use super::current::current;
use super::memory::At;
use crate::task;

/// A spawn that waits for its hook.
#[derive(Clone, Copy)]
pub(crate) struct Joining {
    /// The address of the region's writer, so that no other region's hook takes it.
    writer: usize,
    /// The word for the actor's record; 0: no cell.
    pub(crate) word: u64,
    pub(crate) at: Option<At>,
}

thread_local! {
    static JOINING: Cell<Option<Joining>> = const { Cell::new(None) };
    /// The last task without a cell that reported its stop; 0: none.
    static STOPPED: Cell<u64> = const { Cell::new(0) };
}

/// Whether an actor of this process was ever instrumented.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// Waits for the hook until it is dropped.
pub(crate) struct Waiting;

impl Waiting {
    pub(crate) fn for_hook<W>(writer: &W, word: u64, at: Option<At>) -> Self {
        IS_USED.store(true, Ordering::Relaxed);
        JOINING.set(Some(Joining { writer: std::ptr::from_ref(writer).addr(), word, at }));
        Self
    }

    /// Stops are told from now on.
    pub(crate) fn for_stop_hooks() {
        IS_USED.store(true, Ordering::Relaxed);
    }

    /// Whether the hook of the region took it.
    pub(crate) fn is_joined(&self) -> bool {
        JOINING.get().is_none()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        JOINING.set(None);
    }
}

/// What the hook of the region with this writer has to join, if anything. A load of a thread-local variable.
#[inline]
pub(crate) fn take<W>(writer: &W) -> Option<Joining> {
    let joining = JOINING.get()?;
    let is_it = joining.writer == std::ptr::from_ref(writer).addr();
    is_it.then(|| {
        JOINING.set(None);
        joining
    })
}

/// The stop hook was called in the current task. True if actors are instrumented.
#[inline]
pub(crate) fn stops() -> bool {
    let is_used = IS_USED.load(Ordering::Relaxed);
    if is_used {
        match current() {
            Some(at) => at.set_stopped(),
            None => STOPPED.set(task::current().unwrap_or(0)),
        }
    }
    is_used
}

/// Whether the actor with this cell has reported its stop. Without a cell, only the task that did so can tell, in the same poll:
/// the last to drop the interceptor may be the thread that spawned the actor.
pub(crate) fn has_stopped(at: Option<At>) -> bool {
    at.is_some_and(At::has_stopped) || task::current().is_some_and(|task| STOPPED.get() == task)
}
