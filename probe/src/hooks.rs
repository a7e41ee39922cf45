//! The observers that the probe installs in an actor system, and the detection of their replacement.
//!
//! atomr keeps one observer of each kind: a later one replaces an earlier one. Neither the replacement nor the end of the
//! system has a hook. The probe detects both by drops: of its observer, and of a token that the system keeps until its end.
//!
//! ```text
//!   ActorSystem ──► extensions ──► SystemToken ◄─ weak ─ ─┐
//!        ├────────► spawn observer ──────► Hook ──► HookWatch ◄── a poll, once a round
//!        └────────► dead-letter observer ─► Hook ──►
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use atomr_core::actor::{ActorPath, ActorSystem, DeadLetterObserver, SpawnObserver};
use atomscope_layout::region::Condition;

use crate::actor_registry::installing;
use crate::attach;
use crate::environment::warn;
use crate::per_process::PerProcess;
use crate::region::Region;
use crate::writer::RegionWriter;

/// Lives as long as the actor system, whose extensions have the only strong reference.
struct SystemToken(Arc<()>);

/// A weak reference to the token of `system`.
fn token(system: &ActorSystem) -> Weak<()> {
    // Without the lock two first installations would replace each other's token.
    static ONE_AT_A_TIME: PerProcess<Mutex<()>> = PerProcess::new();
    let one_at_a_time = ONE_AT_A_TIME.get_or_init(Mutex::default);
    let _one_at_a_time = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
    if system.extensions().get::<SystemToken>().is_none() {
        system.extensions().register(SystemToken(Arc::default()));
    }
    system.extensions().get::<SystemToken>().map(|token| Arc::downgrade(&token.0)).unwrap_or_default()
}

/// The state of two hooks that were installed together.
struct HookWatch {
    system: Weak<()>,
    /// Conditions of hooks that were dropped.
    dropped: AtomicU64,
}

impl HookWatch {
    /// Raises the conditions that hold now; false once the system is gone, after which nothing changes.
    fn raise_conditions(&self, writer: &RegionWriter) -> bool {
        let is_there = self.system.strong_count() > 0;
        if is_there {
            let dropped = self.dropped.load(Ordering::Relaxed);
            let hooks = [Condition::SpawnHookReplaced, Condition::DeadLetterHookReplaced];
            let of_dropped = hooks.into_iter().filter(|hook| dropped & hook.bit() != 0);
            of_dropped.for_each(|hook| writer.header().raise(hook));
        } else {
            writer.header().raise(Condition::SystemDropped);
        }
        is_there
    }

    /// Warns of dropped hooks; false if there are none.
    fn complain(&self, system: &str) -> bool {
        let dropped = |hook: Condition| self.dropped.load(Ordering::Relaxed) & hook.bit() != 0;
        let unseen = match [Condition::SpawnHookReplaced, Condition::DeadLetterHookReplaced].map(dropped) {
            [true, true] => "spawns, stops and dead letters",
            [true, false] => "spawns and stops",
            [false, true] => "dead letters",
            [false, false] => return false,
        };
        warn(&format!(
            "another observer was set on actor system `{system}` after the probe's: {unseen} are not recorded any more; \
             install the other telemetry first and the probe with `install_tee`, which serves both"
        ));
        true
    }
}

/// An observer that reports its own drop.
struct Hook<A> {
    inner: A,
    region: Region,
    watch: Arc<HookWatch>,
    on_drop: Condition,
}

impl<A> Drop for Hook<A> {
    /// The thread that sets another observer holds the system's lock now, so this neither calls the system nor warns.
    fn drop(&mut self) {
        self.watch.dropped.fetch_or(self.on_drop.bit(), Ordering::Relaxed);
        self.watch.raise_conditions(&self.region.writer);
    }
}

/// Installs `spawns` and `letters` in `system`, and watches whether they are replaced.
pub(crate) fn install(
    region: &Region,
    system: &ActorSystem,
    spawns: impl SpawnObserver,
    letters: impl DeadLetterObserver,
) {
    let watch = Arc::new(HookWatch { system: token(system), dropped: AtomicU64::new(0) });
    let (of_spawns, on_drop) = (watch.clone(), Condition::SpawnHookReplaced);
    let region_of = || region.clone();
    let spawns = Hook { inner: spawns, region: region_of(), watch: of_spawns, on_drop };
    installing(&region.writer, || system.set_spawn_observer(Arc::new(spawns)));
    let (of_letters, on_drop) = (watch.clone(), Condition::DeadLetterHookReplaced);
    let letters = Hook { inner: letters, region: region_of(), watch: of_letters, on_drop };
    system.set_dead_letter_observer(Arc::new(letters));
    let (name, mut complained) = (system.name().to_owned(), false);
    attach::poll(
        &region.writer,
        Box::new(move |writer| {
            let is_there = watch.raise_conditions(writer);
            complained = complained || is_there && watch.complain(&name);
            is_there
        }),
    );
}

impl<A: SpawnObserver> SpawnObserver for Hook<A> {
    #[inline]
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        self.inner.on_spawn(path, parent, actor_type);
    }

    #[inline]
    fn on_stop(&self, path: &ActorPath) {
        self.inner.on_stop(path);
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.inner.on_mailbox_depth(path, depth);
    }
}

impl<A: DeadLetterObserver> DeadLetterObserver for Hook<A> {
    #[inline]
    fn on_dead_letter(&self, recipient: &ActorPath, sender: Option<&ActorPath>, message_type: &'static str) {
        self.inner.on_dead_letter(recipient, sender, message_type);
    }
}
