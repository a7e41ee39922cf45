//! A `Props` that counts: its factory, its interceptor and its supervisor strategy.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use atomr_core::actor::{Actor, ActorPath, MessageInterceptor, Metadata, Props, SpanGuard};
use atomr_core::supervision::{Directive, StrategyKind, SupervisorStrategy};
use atomscope_layout::classes::number;

use super::current::{current, set};
use super::joining::has_stopped;
use super::memory::{At, Found, Instruments, Owner, find};
use crate::actor_registry::ActorRegistry;
use crate::task;

/// The record of the actor is made.
const JOINED: u8 = 1;
/// The actor ended without reporting its stop.
const ENDED: u8 = 2;

/// What the parts of one instrumented `Props` share.
pub(super) struct Plan {
    instruments: &'static Instruments,
    class: u16,
    owner: Owner,
    /// The cell of a `Props` for one actor.
    at: Option<At>,
    has_started: AtomicBool,
    /// What the actors of a `Props` for several have.
    several: Mutex<Several>,
    /// [`JOINED`] and [`ENDED`].
    life: AtomicU8,
    path: OnceLock<ActorPath>,
    /// Where the record of an actor with a path is.
    actors: Option<Arc<ActorRegistry>>,
}

/// What the actors of one `Props` for several have, as far as its end must know.
#[derive(Default)]
struct Several {
    /// The first cell, and how many were claimed.
    first: Option<At>,
    claimed: u64,
    /// The tasks of actors without a cell. Those that have reported their stop are removed when the list would grow.
    class_only: Vec<u64>,
}

impl Several {
    fn add_class_only(&mut self, task: u64) {
        if self.class_only.len() == self.class_only.capacity() {
            self.class_only.retain(|task| matches!(find(*task), Some(Found::Class(..))));
        }
        self.class_only.push(task);
    }
}

impl Plan {
    pub(super) fn new(
        instruments: &'static Instruments,
        class: u16,
        owner: Owner,
        at: Option<At>,
        actors: Option<Arc<ActorRegistry>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            instruments,
            class,
            owner,
            at,
            has_started: AtomicBool::new(false),
            several: Mutex::default(),
            life: AtomicU8::new(0),
            path: OnceLock::new(),
            actors,
        })
    }

    fn count(&self, number: usize) {
        self.instruments.class(self.class).count(number, 1);
    }

    /// The hook has made the actor's record. The actor may have ended already.
    pub(super) fn join(&self, path: &ActorPath) {
        let path = self.path.get_or_init(|| path.clone());
        if self.life.fetch_or(JOINED, Ordering::AcqRel) & ENDED != 0 {
            self.record_stop(path);
        }
    }

    /// Records the stop of an actor that ended without reporting it.
    fn record_stop(&self, path: &ActorPath) {
        if let Some(actors) = &self.actors {
            actors.record_missing_stop(path);
        }
    }

    /// The factory runs, in the actor's own task. True if it makes the actor again.
    fn begins(&self, interceptor: &Weak<Interceptor>) -> bool {
        if interceptor.strong_count() == 0 {
            self.count(number::OVERWRITTEN);
            return false;
        }
        if self.owner.owns_several() { self.begins_one_of_several() } else { self.begins_alone() }
    }

    fn begins_alone(&self) -> bool {
        if self.has_started.swap(true, Ordering::Relaxed) {
            return true;
        }
        self.count(number::SPAWNED);
        let is_tracked = self.at.zip(task::current()).is_some_and(|(at, task)| at.register(task));
        if !is_tracked {
            // The cell would seem to be that of an actor without messages. It is given back with the plan, as any other.
            self.at.into_iter().for_each(At::hide);
            self.count_untracked();
        }
        false
    }

    /// The current task is that of an actor without a cell. If it is instrumented twice, the other plan finds it taken.
    fn count_untracked(&self) {
        self.count(number::UNTRACKED);
        let task = task::current().filter(|task| self.instruments.register_class_only(*task, self.class));
        task.into_iter().for_each(|task| self.several().add_class_only(task));
    }

    fn begins_one_of_several(&self) -> bool {
        let Some(task) = task::current() else { return false };
        match find(task) {
            Some(Found::Cell(at)) => return at.owner() == Some(self.owner),
            // The actor may be another plan's, too.
            Some(Found::Class(..)) => return self.several().class_only.contains(&task),
            None => {}
        }
        self.count(number::SPAWNED);
        let claimed = self.instruments.claim(self.class, self.owner).map(|(_, at)| at);
        match claimed.filter(|at| at.register(task)) {
            Some(at) => {
                let mut several = self.several();
                several.first.get_or_insert(at);
                several.claimed += 1;
            }
            None => {
                claimed.into_iter().for_each(|at| _ = at.free(self.owner));
                self.count_untracked();
            }
        }
        false
    }

    /// Only at the beginning of an actor, and at the end of the plan.
    fn several(&self) -> MutexGuard<'_, Several> {
        self.several.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of the actor that runs, if it is one of this plan. `Err`: the actor belongs to another plan.
    #[inline]
    fn own(&self) -> Result<Option<At>, ()> {
        match self.at {
            Some(at) => Ok(Some(at)),
            None if self.owner.owns_several() => match current() {
                Some(at) if at.owner() != Some(self.owner) => Err(()),
                own => Ok(own),
            },
            None => Ok(None),
        }
    }

    fn count_failure(&self) {
        match self.own() {
            Ok(Some(at)) => at.count_failure(),
            Ok(None) if Chained::is_in() => {}
            Ok(None) => self.count(number::FAILURES),
            Err(()) => {}
        }
    }

    fn count_restart(&self) {
        match self.own() {
            Ok(Some(at)) => at.count_restart(),
            Ok(None) => self.count(number::RESTARTS),
            Err(()) => {}
        }
    }

    /// Nothing counts with this plan any more.
    fn end(&self) {
        if self.owner.owns_several() {
            return self.end_several();
        }
        let has_stopped = has_stopped(self.at);
        self.at.into_iter().for_each(|at| _ = at.free(self.owner));
        let class_only = std::mem::take(&mut self.several().class_only);
        // Without a cell, the stop hook has counted the stop.
        let is_counted = class_only.iter().any(|task| !self.forget_class_only(*task));
        if self.has_started.load(Ordering::Relaxed) && !is_counted {
            self.count(number::STOPPED);
        }
        if !has_stopped && self.life.fetch_or(ENDED, Ordering::AcqRel) & JOINED != 0 {
            self.path.get().into_iter().for_each(|path| self.record_stop(path));
        }
    }
}

impl Plan {
    /// Frees what those have that never reported their stop.
    fn end_several(&self) {
        let Several { first, claimed, class_only } = std::mem::take(&mut *self.several());
        let free = |at: At| {
            if at.free(self.owner) {
                self.count(number::STOPPED);
            }
        };
        if claimed > 1 {
            self.instruments.each_of(self.owner, free);
        } else {
            first.into_iter().for_each(free);
        }
        for task in class_only {
            if self.forget_class_only(task) {
                self.count(number::STOPPED);
            }
        }
    }

    fn forget_class_only(&self, task: u64) -> bool {
        self.instruments.forget_class_only(task, self.class)
    }
}

/// The interceptor of an instrumented `Props`. Its drop is the end of what counts with it.
struct Interceptor {
    /// Copy of `plan.at`: saves one load per message.
    at: Option<At>,
    plan: Arc<Plan>,
    chained: Option<Arc<dyn MessageInterceptor>>,
}

impl Interceptor {
    /// A handler begins. True if its end is to be counted.
    #[inline(always)]
    fn begin(&self) -> bool {
        if let Some(at) = self.at {
            let task = at.cell.task().load(Ordering::Relaxed);
            // 0: the map of tasks had no room.
            if task != 0 {
                set(task, at);
                at.begin();
                return true;
            }
        }
        self.begin_elsewhere()
    }

    #[inline(never)]
    fn begin_elsewhere(&self) -> bool {
        match self.plan.own() {
            Ok(Some(at)) if self.at.is_none() => {
                at.begin();
                true
            }
            Ok(_) if !Chained::is_in() => {
                self.plan.instruments.count_untimed(self.plan.class);
                false
            }
            _ => false,
        }
    }

    #[cold]
    fn before_chained(&self, chained: &dyn MessageInterceptor, metadata: &Metadata) -> SpanGuard {
        let theirs = Chained::call(|| chained.before_handle(metadata));
        // Dropped in this order: the other guard's drop is no part of the handler.
        SpanGuard::holding((self.begin().then_some(Handling), theirs))
    }
}

impl MessageInterceptor for Interceptor {
    fn before_handle(&self, metadata: &Metadata) -> SpanGuard {
        match &self.chained {
            None if self.begin() => SpanGuard::holding(Handling),
            None => SpanGuard::none(),
            Some(chained) => self.before_chained(&**chained, metadata),
        }
    }

    fn outgoing(&self, parent: &Metadata) -> Metadata {
        match &self.chained {
            None => parent.clone(),
            Some(chained) => chained.outgoing(parent),
        }
    }
}

impl Drop for Interceptor {
    fn drop(&mut self) {
        self.plan.end();
    }
}

/// On this thread an interceptor or a strategy of the probe calls the one before it, which may be the probe's too if a `Props` was
/// instrumented twice. Of an actor without a cell only the last one counts.
struct Chained {
    before: bool,
}

thread_local! {
    static IS_CHAINED: Cell<bool> = const { Cell::new(false) };
}

impl Chained {
    fn call<T>(call: impl FnOnce() -> T) -> T {
        let _chained = Self { before: IS_CHAINED.replace(true) };
        call()
    }

    fn is_in() -> bool {
        IS_CHAINED.get()
    }
}

impl Drop for Chained {
    fn drop(&mut self) {
        IS_CHAINED.set(self.before);
    }
}

/// A handler in flight. It has no size, so that a box of it is no allocation. Its drop finds the cell by the task.
struct Handling;

impl Drop for Handling {
    #[inline]
    fn drop(&mut self) {
        if let Some(at) = current() {
            at.end();
        }
    }
}

/// The `props` with the factory, the interceptor and the strategy of `plan`, which keep those that were there.
pub(super) fn counting<A: Actor>(mut props: Props<A>, plan: &Arc<Plan>) -> Props<A> {
    let interceptor =
        Arc::new(Interceptor { at: plan.at, plan: plan.clone(), chained: props.interceptor.take() });
    let deciding = plan.clone();
    let strategy = match props.supervisor_strategy.take() {
        Some(SupervisorStrategy { kind, max_retries, within, decider: decide }) => {
            let decider = Arc::new(move |error: &str| {
                deciding.count_failure();
                Chained::call(|| decide(error))
            });
            SupervisorStrategy { kind, max_retries, within, decider }
        }
        // Without a strategy, atomr makes an actor again without limit.
        None => {
            let decider = Arc::new(move |_: &str| {
                deciding.count_failure();
                Directive::Restart
            });
            SupervisorStrategy { kind: StrategyKind::OneForOne, max_retries: None, within: None, decider }
        }
    };
    let (dispatcher, mailbox, deploy) =
        (props.dispatcher.clone(), props.mailbox.clone(), props.deploy.clone());
    let (beginning, alive) = (plan.clone(), Arc::downgrade(&interceptor));
    let factory = move || {
        let is_restart = beginning.begins(&alive);
        let actor = props.new_actor();
        if is_restart {
            beginning.count_restart();
        }
        actor
    };
    let mut counting = Props::create(factory);
    counting.dispatcher = dispatcher;
    counting.mailbox = mailbox;
    counting.deploy = deploy;
    counting.supervisor_strategy = Some(strategy);
    counting.interceptor = Some(interceptor);
    counting
}
