//! What a thread of an async runtime is in: a method of an actor, or another task.

use crate::stacks::{Frame, ThreadStack};

/// The function that polls a task. The runtime calls it by a pointer, so it is never put into its caller.
const TASK_POLL: &str = "tokio::runtime::task::raw::poll";
/// The loops of tokio's workers, which run tasks or park.
const WORKER_LOOPS: [&str; 2] =
    ["tokio::runtime::scheduler::multi_thread::worker::", "tokio::runtime::scheduler::current_thread::"];
/// The function of atomr that lets an actor handle messages, up to 128 of them in one poll of its task.
const ACTOR_LOOP: &str = "atomr_core::actor::actor_cell::run_cell";
/// Paths of source files that are not the application's.
const FOREIGN: [&str; 3] = ["/rustc/", "/.cargo/registry/", "/.cargo/git/"];

/// A call that keeps its thread until it returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The method of an actor, or the function of the task, for people; not safe to print.
    pub name: String,
    /// Whether it is a method of an actor.
    pub is_of_actor: bool,
    /// Whether its thread is a worker of an async runtime.
    pub is_on_worker: bool,
    /// The frames that belong to it, from the innermost one on.
    pub frames: usize,
    /// Where it returns to; `None` if that does not show its end.
    pub returns_to: Option<u64>,
}

impl Call {
    /// `None` if the thread is in no such call, or if its functions have no names.
    pub fn of(stack: &ThreadStack) -> Option<Self> {
        let frames = stack.frames.as_slice();
        let worker_loop = frames.iter().position(|frame| is(frame, &WORKER_LOOPS));
        // A thread for blocking work has a task too, and no loop. A worker runs on such a thread, so its own task is the
        // inner one. Between its tasks a worker is in its loop, or parks from there.
        let poll = frames.iter().position(|frame| is(frame, &[TASK_POLL]));
        let is_on_worker = worker_loop.is_some();
        let last = |handler| frames.iter().rposition(|frame| frame.handler.as_ref() == Some(handler));
        if let Some((handler, last)) =
            stack.handler.as_ref().and_then(|handler| Some((handler, last(handler)?)))
        {
            let name = format!("{}::{}", handler.class, handler.method);
            // The method may contain closures that are called again and again; the outermost frame is the method.
            return Some(Self {
                name,
                is_of_actor: true,
                is_on_worker,
                frames: last + 1,
                returns_to: returns_to(frames, last),
            });
        }
        let poll = poll.filter(|poll| worker_loop.is_some_and(|worker_loop| *poll < worker_loop))?;
        let inner = frames.get(..poll)?;
        // One poll of an actor handles many messages: its length says nothing.
        let is_of_actor = inner.iter().any(|frame| is(frame, &[ACTOR_LOOP]));
        let own = inner.iter().rposition(|frame| is_own(frame)).or_else(|| inner.len().checked_sub(1))?;
        Some(Self {
            name: inner.get(own)?.function.clone()?,
            is_of_actor,
            is_on_worker,
            frames: own + 1,
            returns_to: if is_of_actor { None } else { returns_to(frames, poll) },
        })
    }

    /// Whether two looks at a thread may have seen one call.
    pub fn may_be(&self, other: &Self) -> bool {
        (&self.name, self.is_of_actor, self.returns_to) == (&other.name, other.is_of_actor, other.returns_to)
    }

    /// The innermost frame of the application's own code in the call.
    pub fn place<'s>(&self, stack: &'s ThreadStack) -> Option<&'s Frame> {
        let frames = stack.frames.get(..self.frames)?;
        let of_actor = frames.iter().find(|frame| frame.handler.is_some());
        of_actor.or_else(|| frames.iter().find(|frame| is_own(frame))).filter(|frame| frame.file.is_some())
    }
}

/// Whether the functions of a stack have names.
pub(super) fn has_names(stack: &ThreadStack) -> bool {
    // Libraries of C have names even if their program has none.
    stack.frames.iter().any(|frame| frame.function.as_ref().is_some_and(|name| name.contains("::")))
}

/// Whether a frame's function is one of these, or of these modules.
fn is(frame: &Frame, names: &[&str]) -> bool {
    let Some(function) = &frame.function else { return false };
    let function = function.strip_prefix('<').unwrap_or(function);
    names.iter().any(|name| {
        let rest = function.strip_prefix(name);
        rest.is_some_and(|rest| name.ends_with("::") || rest.is_empty() || rest.starts_with("::"))
    })
}

fn is_own(frame: &Frame) -> bool {
    let is_foreign = |file: &String| FOREIGN.iter().any(|part| file.contains(part));
    frame.function.is_some() && frame.file.as_ref().is_some_and(|file| !is_foreign(file))
}

/// Where the function of this frame returns to; `None` if it is a part of its caller.
fn returns_to(frames: &[Frame], at: usize) -> Option<u64> {
    let frame = frames.get(at).filter(|frame| !frame.is_inlined)?;
    frames.get(at + 1).map(|caller| caller.address).filter(|address| *address != frame.address)
}
