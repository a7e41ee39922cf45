//! What a thread of an async runtime is in: a method of an actor, or another task.

use crate::stacks::{Frame, ThreadStack};

/// The function that polls a task. The runtime calls it by a pointer, so it is never put into its caller.
const TASK_POLL: &str = "tokio::runtime::task::raw::poll";
/// The loops of tokio's workers, which run tasks or park.
const WORKER_LOOPS: [&str; 2] = ["tokio::runtime::scheduler::multi_thread::worker::", CURRENT_THREAD];
/// The one that also polls the future that the thread was given, which is no task.
const CURRENT_THREAD: &str = "tokio::runtime::scheduler::current_thread::";
/// The function of atomr that lets an actor handle messages, up to 128 of them in one poll of its task.
const ACTOR_LOOP: &str = "atomr_core::actor::actor_cell::run_cell";
/// Paths of source files that are not the application's.
const FOREIGN_FILES: [&str; 3] = ["/rustc/", "/registry/src/", "/git/checkouts/"];
/// Crates that are not the application's, also where their files are unknown or were copied into its folder.
const FOREIGN_CRATES: [&str; 14] = [
    "tokio::",
    "core::",
    "std::",
    "alloc::",
    "futures_util::",
    "futures_core::",
    "tracing::",
    "mio::",
    "parking_lot::",
    "parking_lot_core::",
    "hyper::",
    "h2::",
    "bytes::",
    "libc::",
];
/// Modules in which a thread of a runtime waits for something to do.
const PARKED: [&str; 4] = [
    "tokio::runtime::driver::",
    "tokio::runtime::io::driver::",
    "tokio::runtime::time::Driver",
    "tokio::runtime::park::",
];

/// A call that keeps its thread until it returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The method of an actor, or the function of the task, for people; not safe to print.
    pub name: String,
    /// Whether it is of an actor.
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
        let is_on_worker = is_worker(stack);
        let last = |handler| frames.iter().rposition(|frame| frame.handler.as_ref() == Some(handler));
        // A thread that a method has started runs a closure with the name of the method, but keeps no actor. Of a stack that
        // was not read whole the worker may be missing.
        let handler = stack.handler.as_ref().filter(|_| is_on_worker || !stack.is_whole);
        let of_actor = handler.and_then(|handler| Some((handler, last(handler)?)));
        if let Some((handler, last)) = of_actor {
            // The method may contain closures that are called again and again; the outermost frame is the method.
            return Some(Self {
                name: format!("{}::{}", handler.class, handler.method),
                is_of_actor: true,
                is_on_worker,
                frames: last + 1,
                returns_to: returns_to(frames, last),
            });
        }
        let worker_loop = frames.iter().position(|frame| is(frame, &WORKER_LOOPS))?;
        // A worker runs on a thread for blocking work, which has a task too. Its own task is the inner one.
        let poll = frames.iter().position(|frame| is(frame, &[TASK_POLL])).filter(|poll| *poll < worker_loop);
        let end = match poll {
            Some(poll) => poll,
            // Between its tasks a worker is in its loop, or parks from there.
            None => {
                frames.get(worker_loop).filter(|frame| is(frame, &[CURRENT_THREAD])).map(|_| worker_loop)?
            }
        };
        let inner = frames.get(..end)?;
        if poll.is_none() && inner.iter().any(|frame| is(frame, &PARKED)) {
            return None;
        }
        let own = inner.iter().rposition(is_own)?;
        // One poll of an actor handles many messages: its length says nothing.
        let is_of_actor = inner.iter().any(|frame| is(frame, &[ACTOR_LOOP]));
        Some(Self {
            name: inner.get(own)?.function.clone()?,
            is_of_actor,
            is_on_worker,
            frames: own + 1,
            returns_to: match poll {
                _ if is_of_actor => None,
                Some(poll) => returns_to(frames, poll),
                None => returns_to(frames, own),
            },
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

/// Whether a thread is a worker of an async runtime, as far as its functions have names.
pub(super) fn is_worker(stack: &ThreadStack) -> bool {
    stack.frames.iter().any(|frame| is(frame, &WORKER_LOOPS))
}

/// Whether the functions of a stack have names.
pub(super) fn has_names(stack: &ThreadStack) -> bool {
    // Libraries of C have names even if their program has none.
    stack.frames.iter().any(|frame| frame.function.as_ref().is_some_and(|name| name.contains("::")))
}

/// Whether a frame's function is one of these, or of these modules.
fn is(frame: &Frame, names: &[&str]) -> bool {
    let function = path(frame);
    names.iter().any(|name| {
        let rest = function.strip_prefix(name);
        rest.is_some_and(|rest| name.ends_with("::") || rest.is_empty() || rest.starts_with("::"))
    })
}

/// The path of a frame's function, of a method that of its type.
fn path(frame: &Frame) -> &str {
    frame.function.as_deref().unwrap_or_default().trim_start_matches(['<', '&'])
}

/// Whether a frame is of the application's own code.
fn is_own(frame: &Frame) -> bool {
    match &frame.file {
        _ if !path(frame).contains("::") => false,
        Some(file) if FOREIGN_FILES.iter().any(|part| file.contains(part)) => false,
        _ => !FOREIGN_CRATES.iter().any(|name| path(frame).starts_with(name)) && !is(frame, &[ACTOR_LOOP]),
    }
}

/// Where the function of this frame returns to; `None` if it is a part of its caller.
fn returns_to(frames: &[Frame], at: usize) -> Option<u64> {
    let frame = frames.get(at).filter(|frame| !frame.is_inlined)?;
    frames.get(at + 1).map(|caller| caller.address).filter(|address| *address != frame.address)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stacks::Handler;

    pub const HANDLE: &str = "<shop::Till as atomr_core::actor::traits::Actor>::handle::{{closure}}";
    const POLL: &str = "tokio::runtime::task::raw::poll";
    pub const LOOP: &str = "tokio::runtime::scheduler::multi_thread::worker::Context::run";
    const CURRENT: &str = "tokio::runtime::scheduler::current_thread::CoreGuard::block_on";
    /// What a worker's thread runs, itself a task of a thread for blocking work.
    const BELOW: [&str; 3] = [LOOP, POLL, "tokio::runtime::blocking::pool::Inner::run"];

    /// A stack of these functions, innermost first, whose addresses are 10, 20, 30 and so on. A `+` marks one that is a part
    /// of the next.
    pub fn stack(functions: &[&str]) -> ThreadStack {
        let mut frames: Vec<Frame> = Vec::new();
        for function in functions {
            let inlined = function.strip_prefix('+');
            let function = inlined.unwrap_or(function);
            let before = frames.last().map(|frame| (frame.address, frame.is_inlined));
            let address = match before {
                Some((address, true)) => address,
                before => before.map_or(0, |(address, _)| address) + 10,
            };
            frames.push(Frame {
                address,
                module: None,
                module_address: None,
                build_id: None,
                file: function.starts_with("shop::").then(|| "src/main.rs".to_owned()),
                line: None,
                is_inlined: inlined.is_some(),
                is_guessed: false,
                handler: Handler::of(function),
                function: Some(function.to_owned()),
            });
        }
        ThreadStack {
            tid: 1,
            name: String::new(),
            state: "sleeping",
            wait_channel: None,
            waits_for: None,
            handler: frames.iter().find_map(|frame| frame.handler.clone()),
            why: None,
            is_whole: true,
            stopped_us: None,
            frames,
            switches: None,
        }
    }

    /// The name of the call that a worker of these functions is in, its frames, and where it returns to.
    fn call(functions: &[&str], below: &[&str]) -> Option<(String, usize, Option<u64>)> {
        let call = Call::of(&stack(&[functions, below].concat()))?;
        Some((call.name, call.frames, call.returns_to))
    }

    #[test]
    fn a_handler_returns_to_its_caller_also_from_closures_in_it() {
        let inner = format!("{HANDLE}::{{{{closure}}}}");
        let found = call(&["sleep", &inner, "core::iter::for_each", HANDLE, "core::poll", POLL], &BELOW);
        assert_eq!(found, Some(("shop::Till::handle".to_owned(), 4, Some(50))));
    }

    #[test]
    fn what_the_compiler_has_put_into_its_caller_has_no_return() {
        let inlined = format!("+{HANDLE}");
        let found = call(&["sleep", &inlined, "atomr_core::actor::actor_cell::run_cell", POLL], &BELOW);
        assert_eq!(found, Some(("shop::Till::handle".to_owned(), 2, None)));
    }

    #[test]
    fn a_task_is_named_by_its_own_function_and_one_poll_of_an_actor_shows_no_end() {
        let found = call(&["sleep", "shop::import", "shop::main::{{closure}}", "core::poll", POLL], &BELOW);
        assert_eq!(found, Some(("shop::main::{{closure}}".to_owned(), 3, Some(60))));
        let actor = "atomr_core::actor::actor_cell::run_cell::{{closure}}";
        let found = call(&["sleep", "shop::drop_it", actor, POLL], &BELOW);
        assert_eq!(found, Some(("shop::drop_it".to_owned(), 2, None)));
    }

    #[test]
    fn a_worker_between_its_tasks_and_a_thread_without_a_worker_are_in_no_call() {
        let parks = ["syscall", "tokio::runtime::park::Inner::park"];
        assert_eq!(call(&parks, &BELOW), None);
        assert_eq!(call(&["sleep", "shop::blocks", POLL], &BELOW[1..]), None, "a thread for blocking work");
        assert_eq!(call(&["syscall", "tokio::runtime::driver::Driver::park"], &[CURRENT]), None);
        let polls = ["mio::poll::Poll::poll", "tokio::runtime::io::driver::Driver::turn"];
        assert_eq!(call(&polls, &[CURRENT]), None);
        let consumer = format!("{HANDLE}::{{{{closure}}}}");
        assert_eq!(
            call(&["sleep", &consumer, "std::thread::main"], &[]),
            None,
            "a thread that a method started"
        );
        assert_eq!(call(&["0x1", "0x2"], &[]), None);
        assert!(!has_names(&stack(&["syscall"])) && has_names(&stack(&["syscall", "std::main"])));
    }

    #[test]
    fn the_future_of_a_current_thread_runtime_is_a_call_too() {
        let found = call(&["sleep", "shop::main::{{closure}}"], &[CURRENT, "shop::main"]);
        assert_eq!(found, Some(("shop::main::{{closure}}".to_owned(), 2, Some(30))));
    }
}
