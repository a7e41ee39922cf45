//! The actor probe: which actors live, since when, where, and how many came and went.
//!
//! Fed by atomr's spawn and stop hooks once a [`crate::TelemetryExtension`] is installed, or by the application.

#[cfg(feature = "atomr")]
use atomr_core::actor::{ActorPath, SpawnObserver};
use atomscope_layout::Capacities;
use std::sync::Arc;

use atomscope_layout::decode::ActorTree;
use atomscope_layout::event::{EventHead, EventKind, EventRecord, event_flags};
#[cfg(feature = "atomr")]
use atomscope_layout::limits::BUCKET_SLOTS;
use atomscope_layout::limits::{ACTOR_PATH_BYTES, ACTOR_TEXT_BYTES};
use atomscope_layout::metrics::Builtin;
#[cfg(feature = "atomr")]
use atomscope_layout::records::ActorHead;
use atomscope_layout::records::{ACTOR_HEAD_WORDS, ACTOR_WORDS, ActorRecord, actor_flags, live};
use atomscope_layout::sync::{AtomicU64, Ordering, pause};
use atomscope_layout::table::{Key, Put, Sign, StopOrigin, TakeOutcome};
use atomscope_layout::words::{Words, store, store_parts};
use zerocopy::{FromZeros, IntoBytes};

use crate::bus::TelemetryBus;
use crate::dto::{ActorSnapshot, ActorStatus};
use crate::region::Region;
#[cfg(feature = "atomr")]
use crate::region::{Core, Hooks};
#[cfg(feature = "atomr")]
use crate::task;
#[cfg(feature = "atomr")]
use crate::text::is_above;
use crate::text::{PathText, Pieces, Texts};
#[cfg(feature = "atomr")]
use crate::type_names::TypeName;

/// Looks at most at a record that another thread has in hand: far longer than a change takes, unless its thread has lost
/// its processor.
const IN_HAND_TRIES: u32 = 64;

/// The live actors of a system.
#[derive(Debug)]
pub struct ActorRegistry {
    region: Region,
    bus: TelemetryBus,
    /// A registry on a bare bus has nobody else to settle its table.
    settles: bool,
}

impl ActorRegistry {
    /// A registry of its own, in private memory; the one of a node is [`crate::TelemetryExtension::actors`].
    pub fn new(bus: TelemetryBus) -> Self {
        let Capacities { actors, lanes, names, .. } = Capacities::default();
        let region = Region::bare(Capacities { actors, lanes, names, ..Capacities::LEAST });
        Self { region, bus, settles: true }
    }

    #[cfg(feature = "atomr")]
    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus, settles: false }
    }

    /// Notes a spawn. An actor of that path that is live already is replaced. No lock, no allocation of its own, no
    /// system call. (Two threads that report the same path at the same time may leave it counted twice; the hooks do
    /// not go this way.)
    pub fn record_spawn(&self, status: ActorStatus) {
        let core = &self.region.core;
        core.count(Builtin::Spawned, 1);
        let key = core.hasher.key(status.path.as_str());
        let (before, cause) = match self.take_spawn(key) {
            TakeOutcome::Entry { stamp } => (true, stamp),
            TakeOutcome::Spilled => (true, 0),
            TakeOutcome::Stop(_) | TakeOutcome::Nothing => (false, 0),
        };
        // That of the actor before, whose record was in another thread's hand.
        let stop = core.table().take(key, Sign::Minus);
        let has_stopped = before
            && (matches!(stop, TakeOutcome::Stop(whose) if whose.may_match_spawn())
                || stop == TakeOutcome::Spilled);
        core.count_end(Builtin::Replaced, u64::from(before && !has_stopped));
        if stop != TakeOutcome::Nothing {
            let mut text = PathText::new();
            core.hasher.key_and_text(status.path.as_str(), &mut text);
            core.count(Builtin::Foreign, u64::from(!has_stopped));
            core.count(Builtin::EarlyStopsDone, 1);
            self.tell_stop(&text, core.stamp(cause));
        }
        let mut record = ActorRecord::new_zeroed();
        record.key = key.0;
        record.spawned = core.stamp(cause);
        record.type_id = core.intern(&status.actor_type);
        record.live[live::MAILBOX_DEPTH] = status.mailbox_depth;
        if status.mailbox_depth > 0 {
            record.flags |= actor_flags::DEPTH;
        }
        let mut texts = Texts::new(&mut record.text);
        record.path_bytes = texts.put_path(status.path.as_str(), ACTOR_PATH_BYTES, core.hasher);
        if texts.cut {
            record.flags |= actor_flags::PATH_CUT;
        }
        if let Some(parent) = &status.parent {
            record.parent_key = core.hasher.key(parent.as_str()).0;
            record.flags |= actor_flags::PARENT;
            if status.path.starts_with(parent.as_str()) {
                record.flags |= actor_flags::PARENT_IS_PREFIX;
                record.parent_bytes = u16::try_from(parent.len()).unwrap_or(u16::MAX);
            } else {
                record.parent_bytes = texts.put_path(parent.as_str(), ACTOR_PATH_BYTES, core.hasher);
            }
        }
        if record.type_id == 0 {
            record.type_bytes = texts.put(&status.actor_type, ACTOR_TEXT_BYTES);
        }
        // The text as it was given: it need not be a time.
        record.flags |= actor_flags::SPAWNED_TEXT;
        record.spawned_bytes = texts.put(&status.spawned_at, ACTOR_TEXT_BYTES);
        if let Some(host) = &status.host {
            record.flags |= actor_flags::HOST;
            record.host_bytes = texts.put(host, ACTOR_TEXT_BYTES);
        }
        let (cut, used) = (texts.cut, texts.used());
        self.tell_spawn(&mut record, &status.actor_type, cut);
        self.put(key, &record, used);
    }

    /// Publishes a spawn. Before its record can be found in the table, so that its stop is told later.
    fn tell_spawn(&self, record: &mut ActorRecord, actor_type: &str, cut: bool) {
        let core = &self.region.core;
        if cut {
            record.flags |= actor_flags::TEXT_CUT;
            core.count(Builtin::TextsCut, 1);
        }
        let cut_path = record.flags & actor_flags::PATH_CUT != 0;
        let [path, parent, kind, spawned, host] = [
            record.path_bytes,
            record.parent_bytes,
            record.type_bytes,
            record.spawned_bytes,
            record.host_bytes,
        ];
        let mut event = EventRecord {
            stamp: record.spawned,
            type_id: record.type_id,
            flags: record.flags,
            text_bytes: [path, parent, kind, spawned, host],
            numbers: if cut_path { record.parent_key } else { [record.live[live::MAILBOX_DEPTH], 0] },
            text: record.text,
            ..EventRecord::new(EventKind::ActorSpawned)
        };
        if record.type_id != 0 && !Arc::ptr_eq(core, self.bus.core()) {
            // A bus of its own has names of its own.
            event.type_id = self.bus.core().intern(actor_type);
            if event.type_id == 0 {
                event = event.with_type_text(actor_type);
            }
        }
        self.bus.core().publish(&event);
    }

    #[inline]
    fn tell_stop(&self, path: &PathText, stamp: u64) {
        self.tell(EventKind::ActorStopped, path, 0, stamp);
    }

    /// Publishes what is told with a path, and perhaps a number.
    #[inline(always)]
    fn tell(&self, kind: EventKind, path: &PathText, number: u64, stamp: u64) {
        let flags = if path.cut { event_flags::TEXT_CUT } else { 0 };
        let text_bytes = [path.bytes as u16, 0, 0, 0, 0];
        let head = EventHead { kind, stamp, type_id: 0, flags, text_bytes, numbers: [number, 0] }.words();
        self.bus.core().publish_with(|room| store_parts(room, &head, path.words()));
    }

    fn put(&self, key: Key, record: &ActorRecord, text_bytes: usize) {
        let core = &self.region.core;
        let words: &[u64; ACTOR_WORDS] = zerocopy::transmute_ref!(record);
        let used = ACTOR_HEAD_WORDS + text_bytes.div_ceil(8);
        match core.table().put(key, Sign::Plus, words.get(..used).unwrap_or(words)) {
            Put::Slot => {}
            Put::Spilled => core.count(Builtin::Spilled, 1),
            Put::Refused => core.count(Builtin::UntrackedSpawns, 1),
        }
    }

    /// Notes on which cluster host an actor lives. Unknown paths are left alone.
    pub fn set_host(&self, path: &str, host: impl Into<String>) {
        let (host, core) = (host.into(), &self.region.core);
        let mut cut = false;
        self.update(core.hasher.key(path), |slot| {
            let mut words = [0u64; ACTOR_WORDS];
            Words::new(slot).copy_to(&mut words);
            let mut record = ActorRecord::new_zeroed();
            record.as_mut_bytes().copy_from_slice(words.as_bytes());
            let has = |flag| record.flags & flag != 0;
            // The host is the last text: what stands before it stays.
            let parent_text = if has(actor_flags::PARENT_IS_PREFIX) { 0 } else { record.parent_bytes };
            let before = [record.path_bytes, parent_text, record.type_bytes, record.spawned_bytes];
            let mut texts = Texts::new(&mut record.text);
            texts.end(before.into_iter().map(usize::from).sum(), false);
            record.host_bytes = texts.put(&host, ACTOR_TEXT_BYTES);
            cut = texts.cut;
            record.flags |= actor_flags::HOST | if cut { actor_flags::TEXT_CUT } else { 0 };
            let words: [u64; ACTOR_WORDS] = zerocopy::transmute!(record);
            store(slot, &words);
        });
        core.count(Builtin::TextsCut, u64::from(cut));
    }

    /// Notes a stop. Unknown paths are left alone.
    pub fn record_stop(&self, path: &str) {
        let core = &self.region.core;
        let mut text = PathText::new();
        let key = core.hasher.key_and_text(path, &mut text);
        match self.take_spawn(key) {
            TakeOutcome::Entry { stamp } => self.tell_stop(&text, core.stamp(stamp)),
            TakeOutcome::Spilled => self.tell_stop(&text, core.stamp(0)),
            // In the hand of a thread that has lost its processor: it waits as one that came before its spawn.
            TakeOutcome::Nothing if core.table().may_hold_spawn(key) => {
                self.early_stop(key, &text, StopOrigin::Unknown)
            }
            TakeOutcome::Stop(_) | TakeOutcome::Nothing => return,
        }
        core.count_end(Builtin::Stopped, 1);
    }

    /// Leaves a stop's mark: whoever brings it together with its spawn tells of it.
    #[cold]
    fn early_stop(&self, key: Key, path: &PathText, mut whose: StopOrigin) {
        let core = &self.region.core;
        let table = core.table();
        if whose == StopOrigin::Unknown && table.may_hold_spawn(key) {
            whose = StopOrigin::Awaited;
        }
        match table.put_stop_of(whose, key, core.stamp(0)) {
            Put::Slot => core.count(Builtin::EarlyStops, 1),
            Put::Spilled => {
                core.count(Builtin::EarlyStops, 1);
                core.count(Builtin::DoubtfulStops, u64::from(whose != StopOrigin::Awaited));
            }
            Put::Refused => {
                core.count_end(Builtin::UntrackedStops, 1);
                self.tell_stop(path, core.stamp(0));
            }
        }
    }

    /// Takes the spawn under this key, even if another thread has it in hand for a moment.
    fn take_spawn(&self, key: Key) -> TakeOutcome {
        let table = self.region.core.table();
        for attempt in 0..IN_HAND_TRIES {
            let taken = table.take(key, Sign::Plus);
            if taken != TakeOutcome::Nothing || !table.may_hold_spawn(key) {
                return taken;
            }
            pause(attempt);
        }
        TakeOutcome::Nothing
    }

    /// Rewrites the record under this key, even if another thread has it in hand for a moment.
    fn update(&self, key: Key, mut change: impl FnMut(&[AtomicU64])) {
        let core = &self.region.core;
        let table = core.table();
        for attempt in 0..IN_HAND_TRIES {
            if table.update(key, &mut change) {
                return;
            }
            if !table.may_hold_spawn(key) {
                break;
            }
            pause(attempt);
        }
        core.count(Builtin::UpdatesMissed, 1);
    }

    /// Notes how many messages wait in an actor's mailbox. Of an unknown path only the event remains.
    pub fn record_mailbox_depth(&self, path: &str, depth: u64) {
        self.set_depth(path, depth);
    }

    fn set_depth(&self, path: &(impl Pieces + ?Sized), depth: u64) {
        let core = &self.region.core;
        let mut text = PathText::new();
        let key = core.hasher.key_and_text(path, &mut text);
        self.update(key, |slot| set_depth(slot, depth));
        self.tell(EventKind::MailboxSampled, &text, depth, core.stamp(0));
    }

    /// Actors spawned since the registry was made.
    pub fn total_spawned(&self) -> u64 {
        self.totals().spawned
    }

    /// Of those, actors that have stopped.
    pub fn total_stopped(&self) -> u64 {
        self.totals().stopped
    }

    /// Actors that live now, by counting.
    pub fn live_count(&self) -> u64 {
        self.totals().live
    }

    fn totals(&self) -> atomscope_layout::decode::ActorTotals {
        self.region.core.reader().map(|reader| reader.actor_totals()).unwrap_or_default()
    }

    /// All live actors, as a list and as a tree. Allocates; costs a pass over the whole table.
    pub fn snapshot(&self) -> ActorSnapshot {
        (&self.tree()).into()
    }

    pub(crate) fn tree(&self) -> ActorTree {
        if self.settles {
            self.region.core.sight();
            self.region.core.settle(false, |event| self.bus.core().publish(event));
        }
        self.region.core.reader().map(|reader| reader.actor_list()).unwrap_or_default().into_tree()
    }
}

fn set_depth(slot: &[AtomicU64], depth: u64) {
    const DEPTH: usize = core::mem::offset_of!(ActorRecord, live) / 8 + live::MAILBOX_DEPTH;
    // Type id and flags share a word; the flags are its upper half.
    const FLAGS: usize = core::mem::offset_of!(ActorRecord, type_id) / 8;
    if let (Some(to), Some(flags)) = (slot.get(DEPTH), slot.get(FLAGS)) {
        to.store(depth, Ordering::Relaxed);
        flags.store(flags.load(Ordering::Relaxed) | u64::from(actor_flags::DEPTH) << 32, Ordering::Relaxed);
    }
}

/// The event of the stop of an actor of which this is the record.
pub(crate) fn stop_event(record: &ActorRecord, stamp: u64) -> EventRecord {
    let mut event = EventRecord { stamp, ..EventRecord::new(EventKind::ActorStopped) };
    let bytes = usize::from(record.path_bytes).min(ACTOR_PATH_BYTES);
    if let (Some(to), Some(from)) = (event.text.get_mut(..bytes), record.text.get(..bytes)) {
        to.copy_from_slice(from);
    }
    event.text_bytes[0] = bytes as u16;
    event.flags = if record.flags & actor_flags::PATH_CUT != 0 { event_flags::TEXT_CUT } else { 0 };
    event
}

#[cfg(feature = "atomr")]
/// Hot: called for every actor, under the guardian's lock for top-level ones. The two may come in any order.
/// Who hands them on from an observer of their own does so within the call: the task that a stop is told in says whether the
/// actor is older than the hooks.
impl SpawnObserver for ActorRegistry {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        let core = &*self.region.core;
        let ticks = core.ticks();
        core.count(Builtin::Spawned, 1);
        let mut text = PathText::new();
        let (key, parent_key, parent_bytes) = core.hasher.path_and_parent(path, &mut text);
        let type_id = core.intern_static(actor_type);
        let is_usual = !text.cut
            && type_id != 0
            && core::ptr::eq(core, &**self.bus.core())
            && parent.is_some_and(|parent| is_above(parent, path));
        let arrival = if is_usual { core.table().arrive(key) } else { None };
        let Some(arrival) = arrival else {
            return self.unusual_spawn(path, parent, actor_type, type_id, ticks);
        };
        let stamp = core.stamp_at(ticks, 0);
        let (path_bytes, parent_bytes) = (text.bytes as u16, parent_bytes as u16);
        let flags = actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
        // Before the record can be found in the table, so that its stop is told later.
        let text_bytes = [path_bytes, parent_bytes, 0, 0, 0];
        let kind = EventKind::ActorSpawned;
        let event = EventHead { kind, stamp, type_id, flags, text_bytes, numbers: [0; 2] }.words();
        core.publish_with(|room| store_parts(room, &event, text.words()));
        let (key, parent_key) = (key.0, parent_key.0);
        let head = ActorHead { key, parent_key, spawned: stamp, type_id, flags, path_bytes, parent_bytes };
        arrival.publish(&head.words(), ACTOR_HEAD_WORDS, text.words());
    }

    fn on_stop(&self, path: &ActorPath) {
        let core = &*self.region.core;
        let ticks = core.ticks();
        let mut whose = self.whose();
        if whose == StopOrigin::Older {
            if self.older_stop(path, ticks) {
                return;
            }
            whose = StopOrigin::Unknown;
        }
        let mut text = PathText::new();
        let key = core.hasher.key_and_text(path, &mut text);
        let taken = core.table().take(key, Sign::Plus);
        // After the spawn has been found: whoever reads this count finds that of the spawn.
        core.count_end(Builtin::Stopped, 1);
        match taken {
            TakeOutcome::Entry { stamp } => self.tell_stop(&text, core.stamp_at(ticks, stamp)),
            TakeOutcome::Spilled => self.tell_stop(&text, core.stamp_at(ticks, 0)),
            TakeOutcome::Stop(_) | TakeOutcome::Nothing => self.early_stop(key, &text, whose),
        }
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.set_depth(path, depth);
    }
}

#[cfg(feature = "atomr")]
impl ActorRegistry {
    /// A spawn of which something is out of the ordinary: another entry of its path, a long path, a bus of its own.
    #[cold]
    fn unusual_spawn(
        &self,
        path: &ActorPath,
        parent: Option<&ActorPath>,
        actor_type: &str,
        type_id: u32,
        ticks: u64,
    ) {
        let core = &self.region.core;
        let mut text = PathText::new();
        let (key, parent_key, parent_bytes) = core.hasher.path_and_parent(path, &mut text);
        let mut record = ActorRecord::new_zeroed();
        record.key = key.0;
        let mut texts = Texts::new(&mut record.text);
        record.path_bytes = texts.put_joined(&text);
        if text.cut {
            record.flags |= actor_flags::PATH_CUT;
        }
        if let Some(parent) = parent {
            record.flags |= actor_flags::PARENT;
            if is_above(parent, path) {
                record.flags |= actor_flags::PARENT_IS_PREFIX;
                record.parent_key = parent_key.0;
                record.parent_bytes = u16::try_from(parent_bytes).unwrap_or(u16::MAX);
            } else {
                record.parent_key = core.hasher.key(parent).0;
                record.parent_bytes = texts.put_path(parent, ACTOR_PATH_BYTES, core.hasher);
            }
        }
        let actor_type = TypeName::of(actor_type);
        let actor_type = actor_type.as_str();
        record.type_id = type_id;
        if record.type_id == 0 {
            record.type_bytes = texts.put(actor_type, ACTOR_TEXT_BYTES);
        }
        let table = core.table();
        let has_stopped = self.take_own_stop(key, &text);
        // A respawn is later than what it replaces, so that the stop of that one takes that one.
        record.spawned = core.stamp_at(ticks, table.newest_spawn(key).unwrap_or(0));
        let (cut, used) = (texts.cut, texts.used());
        self.tell_spawn(&mut record, actor_type, cut);
        if has_stopped {
            // Its stop was here first: the actor has come and gone.
            core.count(Builtin::EarlyStopsDone, 1);
            self.tell_stop(&text, core.stamp(record.spawned));
        } else {
            self.put(key, &record, used);
        }
    }

    /// Takes the stop of an actor that is being spawned, if it was here first; and on the way those of older actors of its
    /// path, which would else be taken for its own.
    fn take_own_stop(&self, key: Key, path: &PathText) -> bool {
        let core = &self.region.core;
        // Each further one was left by another thread; there are never more than two buckets of them.
        for _ in 0..2 * BUCKET_SLOTS {
            match core.table().take(key, Sign::Minus) {
                TakeOutcome::Nothing => return false,
                TakeOutcome::Stop(whose) if !whose.may_match_spawn() => {
                    core.count(Builtin::DoubtfulStops, u64::from(whose == StopOrigin::Older));
                    core.count(Builtin::Foreign, 1);
                    core.count(Builtin::EarlyStopsDone, 1);
                    self.tell_stop(path, core.stamp(0));
                }
                TakeOutcome::Stop(_) | TakeOutcome::Spilled | TakeOutcome::Entry { .. } => return true,
            }
        }
        false
    }

    /// Whose the stop is that is being told: an actor tells it in its own task.
    #[inline]
    fn whose(&self) -> StopOrigin {
        let first = self.region.core.hooks.first_task.load(Ordering::Relaxed);
        if first == 0 {
            return StopOrigin::Unknown;
        }
        match task::current() {
            None => StopOrigin::Unknown,
            Some(number) if number > first => StopOrigin::Awaited,
            Some(_) => StopOrigin::Older,
        }
    }

    /// Notes the stop of an actor that is older than the hooks. False if its spawn was told all the same, just as they were
    /// installed.
    #[cold]
    fn older_stop(&self, path: &ActorPath, ticks: u64) -> bool {
        let core = &self.region.core;
        let Hooks { sure_from, are_settled, last_before, last_older, .. } = &core.hooks;
        let own = task::current().unwrap_or(0);
        if own > last_before.load(Ordering::Relaxed) {
            // It was spawned while the hooks were being installed.
            core.count(Builtin::DoubtfulStops, 1);
            return false;
        }
        if last_older.swap(own, Ordering::Relaxed) == own {
            // No actor stops twice: somebody hands the stops on from a task of their own, which says nothing of theirs.
            core.hooks.first_task.store(0, Ordering::Relaxed);
            core.count(Builtin::DoubtfulStops, 1);
            return false;
        }
        let mut text = PathText::new();
        let key = core.hasher.key_and_text(path, &mut text);
        let sure_from = sure_from.load(Ordering::Relaxed);
        match core.table().oldest_spawn(key) {
            Some(spawned) if sure_from == 0 || spawned <= sure_from => {
                if are_settled.load(Ordering::Relaxed) {
                    return false;
                }
                // The actor's own, or that of its successor.
                core.count(Builtin::DoubtfulStops, 1);
            }
            None if sure_from == 0 => {
                core.count_end(Builtin::Stopped, 1);
                self.early_stop(key, &text, StopOrigin::Older);
                return true;
            }
            // Its successor.
            Some(_) | None => {}
        }
        core.count(Builtin::Foreign, 1);
        // After the other: a reader that sees this count sees that it is nobody's who was counted as spawned.
        core.count_end(Builtin::Stopped, 1);
        self.tell_stop(&text, core.stamp_at(ticks, 0));
        true
    }
}

#[cfg(feature = "atomr")]
/// Has `install` install the spawn hook. The actors whose tasks are older are none of its.
pub(crate) fn installing(core: &Core, install: impl FnOnce()) {
    let hooks = &core.hooks;
    if let Some(before) = task::newest() {
        hooks.last_before.store(before, Ordering::Relaxed);
        hooks.first_task.store(u64::MAX, Ordering::Relaxed);
    }
    install();
    hooks.first_task.store(task::newest().unwrap_or(0), Ordering::Relaxed);
    hooks.are_installed.store(true, Ordering::Relaxed);
}

#[cfg(all(test, feature = "atomr"))]
mod tests {
    use atomr_core::actor::Address;

    use super::*;
    use crate::TelemetryExtension;

    #[tokio::test]
    async fn an_actor_that_is_spawned_while_the_hooks_are_being_installed_is_not_taken_for_an_older_one() {
        let region = Region::builder("installing").private().build().unwrap();
        let telemetry = TelemetryExtension::with_region(region);
        let (actors, user) = (telemetry.actors.clone(), ActorPath::root(Address::local("s")).child("user"));
        let path = user.child("a");
        let mut task = None;
        installing(&telemetry.region().core, || {
            actors.on_spawn(&path, Some(&user), "T");
            // As the actor would, in its own task.
            task = Some(tokio::spawn(async move { actors.on_stop(&path) }));
        });
        task.unwrap().await.unwrap();
        let live = (telemetry.actors.snapshot().total, telemetry.actors.live_count());
        assert_eq!((live, telemetry.actors.totals().inexact), ((0, 0), true));
    }
}
