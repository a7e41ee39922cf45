//! The observers that an actor system is given, and what becomes of them.
//!
//! atomr has one place for each observer, and whatever is set last has it. The system's end has no hook either. Both are
//! seen by a drop: the system holds an observer and a token of ours, and drops the token only with itself.
//!
//! ```text
//!   ActorSystem ──► extensions ──► Here ◄─ ─ ─ weak ─ ─ ─┐
//!        ├────────► spawn observer ──────► Hook ──► Watch ◄── a poll, once a round
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

/// What a system's extensions hold of us, and nobody else: all extensions that are installed on the system share it.
struct Here(Arc<()>);

/// Whether `system` is there, without holding it.
fn presence(system: &ActorSystem) -> Weak<()> {
    // Two first installations at once would take each other's token away.
    static ONE_AT_A_TIME: PerProcess<Mutex<()>> = PerProcess::new();
    let one_at_a_time = ONE_AT_A_TIME.get_or_init(Mutex::default);
    let _one_at_a_time = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
    if system.extensions().get::<Here>().is_none() {
        system.extensions().register(Here(Arc::default()));
    }
    system.extensions().get::<Here>().map(|here| Arc::downgrade(&here.0)).unwrap_or_default()
}

/// What has become of the hooks that were installed together.
struct Watch {
    system: Weak<()>,
    /// Conditions of hooks that were dropped.
    dropped: AtomicU64,
}

impl Watch {
    /// Says in the region what is known now; false once the system is gone, after which nothing changes any more.
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

    /// Warns of what was dropped while the system lives; true if there was something to warn of.
    fn complain(&self, system: &str) -> bool {
        let dropped = |hook: Condition| self.dropped.load(Ordering::Relaxed) & hook.bit() != 0;
        let unseen = match [Condition::SpawnHookReplaced, Condition::DeadLetterHookReplaced].map(dropped) {
            [true, true] => "actors that come and go, and dead letters,",
            [true, false] => "actors that come and go",
            [false, true] => "dead letters",
            [false, false] => return false,
        };
        warn(&format!(
            "another observer was set on actor system `{system}` after the probe's, as a second telemetry sets one: {unseen} \
             are not seen any more, unless it tells the probe; `install_beside` tells both"
        ));
        true
    }
}

/// An observer that says so when it is dropped.
struct Hook<A> {
    told: A,
    region: Region,
    watch: Arc<Watch>,
    on_drop: Condition,
}

impl<A> Drop for Hook<A> {
    /// Whoever sets another observer has the system's lock now: nothing is asked of the system, nor is anybody warned here.
    fn drop(&mut self) {
        self.watch.dropped.fetch_or(self.on_drop.bit(), Ordering::Relaxed);
        self.watch.raise_conditions(&self.region.writer);
    }
}

/// Hands `spawns` and `letters` to `system`, and watches what becomes of them there.
pub(crate) fn install(
    region: &Region,
    system: &ActorSystem,
    spawns: impl SpawnObserver,
    letters: impl DeadLetterObserver,
) {
    let watch = Arc::new(Watch { system: presence(system), dropped: AtomicU64::new(0) });
    let (of_spawns, on_drop) = (watch.clone(), Condition::SpawnHookReplaced);
    let region_of = || region.clone();
    let spawns = Hook { told: spawns, region: region_of(), watch: of_spawns, on_drop };
    installing(&region.writer, || system.set_spawn_observer(Arc::new(spawns)));
    let (of_letters, on_drop) = (watch.clone(), Condition::DeadLetterHookReplaced);
    let letters = Hook { told: letters, region: region_of(), watch: of_letters, on_drop };
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
        self.told.on_spawn(path, parent, actor_type);
    }

    #[inline]
    fn on_stop(&self, path: &ActorPath) {
        self.told.on_stop(path);
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.told.on_mailbox_depth(path, depth);
    }
}

impl<A: DeadLetterObserver> DeadLetterObserver for Hook<A> {
    #[inline]
    fn on_dead_letter(&self, recipient: &ActorPath, sender: Option<&ActorPath>, message_type: &'static str) {
        self.told.on_dead_letter(recipient, sender, message_type);
    }
}
