//! The live actors of a node, and the numbers of spawned and stopped ones.
//!
//! atomr's hooks feed the registry once a [`crate::TelemetryExtension`] is installed. An application may feed it too:
//!
//! ```
//! use atomscope_probe::actor_registry::ActorRegistry;
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::dto::ActorStatus;
//!
//! let actors = ActorRegistry::new(TelemetryBus::new(64));
//! actors.record_spawn(ActorStatus {
//!     path: "akka://shop/user/cart".into(),
//!     parent: Some("akka://shop/user".into()),
//!     actor_type: "shop::Cart".into(),
//!     mailbox_depth: 0,
//!     spawned_at: "2026-01-01T00:00:00Z".into(),
//!     host: None,
//! });
//! assert_eq!(actors.live_count(), 1);
//! actors.record_stop("akka://shop/user/cart");
//! assert_eq!((actors.live_count(), actors.total_stopped()), (0, 1));
//! ```

#[cfg(feature = "atomr")]
use atomr_core::actor::{ActorPath, SpawnObserver};
use atomscope_layout::Capacities;
use std::sync::Arc;
#[cfg(feature = "instruments")]
use std::sync::OnceLock;

use atomscope_layout::decode::ActorTree;
#[cfg(feature = "atomr")]
use atomscope_layout::event::EventHead;
use atomscope_layout::event::{EventKind, EventRecord};
use atomscope_layout::limits::{ACTOR_PATH_BYTES, ACTOR_TEXT_BYTES};
use atomscope_layout::metrics::Builtin;
#[cfg(feature = "atomr")]
use atomscope_layout::records::ActorHead;
use atomscope_layout::records::{ACTOR_HEAD_WORDS, ACTOR_WORDS, ActorRecord, Depth, actor_flags};
#[cfg(feature = "atomr")]
use atomscope_layout::records::{ACTOR_KEY_WORD, ACTOR_PARENT_WORD};
#[cfg(feature = "atomr")]
use atomscope_layout::sync::Ordering;
use atomscope_layout::sync::{AtomicU64, pause};
use atomscope_layout::table::{Key, Spawned, StopOrigin, Stopped, Updated};
#[cfg(feature = "atomr")]
use atomscope_layout::words::store_parts;
use atomscope_layout::words::{Words, store};
use zerocopy::FromZeros;

use crate::bus::TelemetryBus;
#[cfg(feature = "atomr")]
use crate::clock::Clock;
use crate::dto::{ActorSnapshot, ActorStatus};
use crate::hash::PathHasher;
#[cfg(feature = "atomr")]
use crate::hook_state::HookState;
#[cfg(feature = "atomr")]
use crate::instruments::joining;
#[cfg(feature = "atomr")]
use crate::instruments::memory::stops_one_of_several;
use crate::lane;
use crate::pairs::{Pairs, set_depth};
use crate::region::Region;
#[cfg(feature = "atomr")]
use crate::task;
#[cfg(feature = "atomr")]
use crate::text::is_above;
use crate::text::{PathText, Pieces, Texts};
#[cfg(feature = "atomr")]
use crate::type_names::TypeName;
#[cfg(feature = "atomr")]
use crate::writer::RegionWriter;

/// Attempts to get a record that another thread is changing. They take far longer than a change, unless the other thread
/// has lost its processor.
const BUSY_TRIES: u32 = 64;

/// The live actors of a system.
#[derive(Debug)]
pub struct ActorRegistry {
    region: Region,
    bus: TelemetryBus,
    /// Whether this registry settles the table itself. A stand-alone registry has no sampler.
    settles: bool,
    /// A handle that does not keep the region open, for its instrumented actors.
    #[cfg(feature = "instruments")]
    not_held: OnceLock<Arc<ActorRegistry>>,
}

impl ActorRegistry {
    /// A stand-alone registry in private memory; the one of a node is [`crate::TelemetryExtension::actors`]. Allocates.
    pub fn new(bus: TelemetryBus) -> Self {
        let Capacities { actors, lanes, names, .. } = Capacities::default();
        let region = Region::bare(Capacities { actors, lanes, names, ..Capacities::LEAST });
        Self {
            region,
            bus,
            settles: true,
            #[cfg(feature = "instruments")]
            not_held: OnceLock::new(),
        }
    }

    /// The registry of a region, for actors of another runtime than atomr's; that of an atomr node is
    /// [`crate::TelemetryExtension::actors`]. A region has one registry. No cost.
    ///
    /// ```
    /// use atomscope_probe::Region;
    /// use atomscope_probe::actor_registry::ActorRegistry;
    /// use atomscope_probe::bus::TelemetryBus;
    /// use atomscope_probe::dto::ActorStatus;
    ///
    /// let region = Region::builder("workers").actors(100).private().build()?;
    /// let actors = ActorRegistry::of(region.clone(), TelemetryBus::of(region));
    /// actors.record_spawn(ActorStatus {
    ///     path: "/user/worker-1".into(),
    ///     parent: Some("/user".into()),
    ///     actor_type: "Worker".into(),
    ///     mailbox_depth: 0,
    ///     spawned_at: "2026-01-01T00:00:00Z".into(),
    ///     host: None,
    /// });
    /// assert_eq!(actors.live_count(), 1);
    /// # Ok::<(), atomscope_probe::CreateError>(())
    /// ```
    pub fn of(region: Region, bus: TelemetryBus) -> Self {
        Self {
            region,
            bus,
            settles: false,
            #[cfg(feature = "instruments")]
            not_held: OnceLock::new(),
        }
    }

    /// The same registry; it does not keep the region open.
    #[cfg(feature = "instruments")]
    pub(crate) fn not_held(&self) -> Arc<Self> {
        let not_held = || Arc::new(Self::of(self.region.not_held(), self.bus.not_held()));
        self.not_held.get_or_init(not_held).clone()
    }

    #[cfg(feature = "instruments")]
    pub(crate) fn writer(&self) -> &RegionWriter {
        &self.region.writer
    }

    /// The writer of a node's region; none for a stand-alone registry.
    #[cfg(feature = "instruments")]
    pub(crate) fn node_writer(&self) -> Option<&RegionWriter> {
        (!self.settles).then_some(&*self.region.writer)
    }

    /// Records a spawn; replaces a live actor with the same path. No lock, no allocation of its own, no system call. Two
    /// concurrent calls with the same path may count it twice; atomr's hooks do not use this function.
    pub fn record_spawn(&self, status: ActorStatus) {
        let writer = &self.region.writer;
        writer.count(Builtin::Spawned, 1);
        let key = writer.hasher.key(status.path.as_str());
        // The spawn's event replaces the actor for whoever follows the events.
        let (before, cause) = match self.take_spawn(key, |_| ()) {
            Stopped::Entry { stamp } => (true, stamp),
            Stopped::Spilled => (true, 0),
            Stopped::Nothing => (false, 0),
        };
        // The stop of the replaced actor, if another thread was changing its record.
        let stop = writer.table().take_stop(key);
        let has_stopped = before && stop.is_some_and(StopOrigin::may_match_spawn);
        writer.count_end(Builtin::Replaced, u64::from(before && !has_stopped));
        if stop.is_some() {
            writer.count(Builtin::Foreign, u64::from(!has_stopped));
            writer.count_end(Builtin::EarlyStopsDone, 1);
            self.publish_stop(status.path.as_str(), writer.stamp(cause));
        }
        let mut record = ActorRecord::new_zeroed();
        record.key = key.words();
        record.spawned = writer.stamp(cause);
        record.type_id = writer.intern(&status.actor_type);
        record.depth = Depth::default().followed_by(status.mailbox_depth).word();
        if status.mailbox_depth > 0 {
            record.flags |= actor_flags::DEPTH;
        }
        let mut texts = Texts::new(&mut record.text);
        record.path_bytes = texts.put_path(status.path.as_str(), ACTOR_PATH_BYTES, writer.hasher) as u8;
        let (path_cut, path_bytes) = (texts.cut, texts.used());
        if path_cut {
            record.flags |= actor_flags::PATH_CUT;
        }
        let mut parent_text = ParentText::default();
        if let Some(parent) = &status.parent {
            record.parent_key = writer.hasher.key(parent.as_str()).words();
            record.flags |= actor_flags::PARENT;
            if status.path.starts_with(parent.as_str()) {
                record.flags |= actor_flags::PARENT_IS_PREFIX;
                record.parent_bytes = u16::try_from(parent.len()).unwrap_or(u16::MAX);
            } else {
                record.parent_bytes = parent_text.put(parent.as_str(), path_bytes, writer.hasher);
            }
        }
        let mut texts = parent_text.texts_before(&mut record.text, path_bytes, path_cut);
        if record.type_id == 0 {
            record.type_bytes = texts.put(&status.actor_type, ACTOR_TEXT_BYTES) as u8;
        }
        // The text is kept unchanged, since it need not be a time.
        record.flags |= actor_flags::SPAWNED_TEXT;
        record.spawned_bytes = texts.put(&status.spawned_at, ACTOR_TEXT_BYTES) as u8;
        if let Some(host) = &status.host {
            record.flags |= actor_flags::HOST;
            record.host_bytes = texts.put(host, ACTOR_TEXT_BYTES) as u8;
        }
        let (cut, used) = (texts.cut || parent_text.cut, texts.used());
        let used = parent_text.append_to(&mut record.text, used);
        self.publish_spawn(&mut record, &status.actor_type, cut);
        let spawned = self.add_spawn(key, &record, used, |_| ());
        self.end_spawn(spawned, status.path.as_str(), record.spawned);
    }

    /// Publishes a spawn. To be called before the record is in the table, so that the stop is published later.
    fn publish_spawn(&self, record: &mut ActorRecord, actor_type: &str, cut: bool) {
        let writer = &self.region.writer;
        if cut {
            record.flags |= actor_flags::TEXT_CUT;
            writer.count(Builtin::TextsCut, 1);
        }
        let cut_path = record.flags & actor_flags::PATH_CUT != 0;
        let [path, class, spawned, host] =
            [record.path_bytes, record.type_bytes, record.spawned_bytes, record.host_bytes].map(u16::from);
        // The parent's path is the last text of a record, and the second one of an event.
        let (mut text, parent) = (record.text, parent_in_text(record));
        let after_path = usize::from(path)..usize::from(path + class + spawned + host) + parent;
        if let Some(after_path) = text.get_mut(after_path).filter(|texts| texts.len() >= parent) {
            after_path.rotate_right(parent);
        }
        let mut event = EventRecord {
            stamp: record.spawned,
            type_id: record.type_id,
            flags: record.flags,
            text_bytes: [path, record.parent_bytes, class, spawned, host],
            numbers: if cut_path { record.parent_key } else { [Depth::of(record.depth).messages.into(), 0] },
            text,
            ..EventRecord::new(EventKind::ActorSpawned)
        };
        if record.type_id != 0 && !Arc::ptr_eq(writer, self.bus.writer()) {
            // A stand-alone bus has its own names.
            event.type_id = self.bus.writer().intern(actor_type);
            if event.type_id == 0 {
                event = event.with_type_text(actor_type);
            }
        }
        self.bus.writer().publish(&event);
    }

    /// The witness of the table's operations.
    #[inline(always)]
    fn pairs(&self) -> Pairs<'_> {
        Pairs { writer: &self.region.writer, bus: self.bus.writer() }
    }

    /// Publishes a stop whose actor has no slot.
    #[cold]
    fn publish_stop(&self, path: &(impl Pieces + ?Sized), stamp: u64) {
        let mut text = PathText::new();
        self.region.writer.hasher.text(path, &mut text);
        self.bus.writer().publish_path(EventKind::ActorStopped, &text, 0, stamp);
    }

    /// Adds a spawn, whose event is published already.
    fn add_spawn(
        &self,
        key: Key,
        record: &ActorRecord,
        text_bytes: usize,
        in_slot: impl Fn(&[AtomicU64]),
    ) -> Spawned {
        let [_, words @ ..]: &[u64; ACTOR_WORDS] = zerocopy::transmute_ref!(record);
        let used = ACTOR_HEAD_WORDS - 1 + text_bytes.div_ceil(8);
        let words = words.get(..used).unwrap_or(words);
        let write = |slot: &[AtomicU64]| {
            in_slot(slot);
            store(slot.get(1..).unwrap_or_default(), words);
        };
        self.region.writer.table().spawn(lane::held_or_beyond(), key, write, &self.pairs())
    }

    /// Counts what became of a spawn, unless it stands with a slot.
    #[cold]
    fn end_spawn(&self, spawned: Spawned, path: &(impl Pieces + ?Sized), stamp: u64) {
        let writer = &self.region.writer;
        match spawned {
            Spawned::Stands => {}
            Spawned::Spilled => writer.count(Builtin::Spilled, 1),
            Spawned::Refused => writer.count(Builtin::UntrackedSpawns, 1),
            // The actor is gone already.
            Spawned::Stopped(_) => {
                self.publish_stop(path, writer.stamp(stamp));
                writer.count_end(Builtin::EarlyStopsDone, 1);
            }
        }
    }

    /// Sets the cluster host of an actor; does nothing if its path is unknown. No lock, no system call.
    pub fn set_host(&self, path: &str, host: impl Into<String>) {
        let (host, writer) = (host.into(), &self.region.writer);
        let mut cut = false;
        self.update(writer.hasher.key(path), |slot| {
            let mut words = [0u64; ACTOR_WORDS];
            Words::new(slot).copy_to(&mut words);
            let mut record: ActorRecord = zerocopy::transmute!(words);
            // The texts before the host stay, and the parent's path moves behind the new host.
            let before = [record.path_bytes, record.type_bytes, record.spawned_bytes].map(usize::from);
            let before = before.into_iter().sum::<usize>();
            let parent_at = before + usize::from(record.host_bytes);
            let parent_text = ParentText::of(&record.text, parent_at, parent_in_text(&record));
            let mut texts = parent_text.texts_before(&mut record.text, before, false);
            record.host_bytes = texts.put(&host, ACTOR_TEXT_BYTES) as u8;
            let used = texts.used();
            cut = texts.cut;
            parent_text.append_to(&mut record.text, used);
            record.flags |= actor_flags::HOST | if cut { actor_flags::TEXT_CUT } else { 0 };
            let [_, words @ ..]: [u64; ACTOR_WORDS] = zerocopy::transmute!(record);
            store(slot.get(1..).unwrap_or_default(), &words);
        });
        writer.count(Builtin::TextsCut, u64::from(cut));
    }

    /// Records a stop; does nothing if the path is unknown. No lock, no allocation, no system call.
    pub fn record_stop(&self, path: &str) {
        let writer = &self.region.writer;
        let (key, ticks) = (writer.hasher.key(path), writer.ticks());
        match self.take_spawn(key, |slot| self.pairs().publish_stop(slot, ticks)) {
            Stopped::Entry { .. } => writer.count_end(Builtin::Stopped, 1),
            Stopped::Spilled => {
                self.publish_stop(path, writer.stamp(0));
                writer.count_end(Builtin::Stopped, 1);
            }
            // Another thread is changing the record and has lost its processor: this stop waits like an early one.
            Stopped::Nothing if writer.table().may_hold_spawn(key) => {
                self.early_stop(key, path, StopOrigin::Unknown);
            }
            Stopped::Nothing => {}
        }
    }

    /// Counts a stop that found no spawn, and leaves it. The thread that pairs it with its spawn publishes the stop.
    #[cold]
    fn early_stop(&self, key: Key, path: &(impl Pieces + ?Sized), mut origin: StopOrigin) {
        let writer = &self.region.writer;
        let table = writer.table();
        if origin == StopOrigin::Unknown && table.may_hold_spawn(key) {
            origin = StopOrigin::Awaited;
        }
        // Counted before it is left, so that it is not counted as done before. And before it counts as a stop: a reader that
        // sees that then knows that a stop waits.
        writer.count(Builtin::EarlyStops, 1);
        writer.count_end(Builtin::Stopped, 1);
        if !table.leave_stop(lane::held_or_beyond(), key, origin, &self.pairs()) {
            writer.count_end(Builtin::UntrackedStops, 1);
            writer.count_end(Builtin::EarlyStopsDone, 1);
            self.publish_stop(path, writer.stamp(0));
        }
    }

    /// Takes the spawn with this key, even if another thread is changing its record for a moment. `stopped` gets its slot.
    fn take_spawn(&self, key: Key, mut stopped: impl FnMut(&[AtomicU64])) -> Stopped {
        let writer = &self.region.writer;
        let table = writer.table();
        for attempt in 0..BUSY_TRIES {
            let outcome = table.stop(lane::held_or_beyond(), key, &mut stopped, &self.pairs());
            if outcome == Stopped::Spilled {
                writer.count_end(Builtin::SpilledStopped, 1);
            }
            if outcome != Stopped::Nothing || !table.may_hold_spawn(key) {
                return outcome;
            }
            pause(attempt);
        }
        Stopped::Nothing
    }

    /// Changes the record with this key, even if another thread is changing it for a moment.
    fn update(&self, key: Key, mut change: impl FnMut(&[AtomicU64])) {
        let writer = &self.region.writer;
        let table = writer.table();
        for attempt in 0..BUSY_TRIES {
            match table.update(lane::held_or_beyond(), key, &mut change, &self.pairs()) {
                Updated::Done => return,
                Updated::InHand => pause(attempt),
                Updated::Nothing => break,
            }
        }
        writer.count(Builtin::UpdatesMissed, 1);
    }

    /// Sets the number of messages in an actor's mailbox and publishes an event, the latter even if the path is unknown. No
    /// lock, no allocation, no system call.
    pub fn record_mailbox_depth(&self, path: &str, depth: u64) {
        self.set_depth(path, depth);
    }

    fn set_depth(&self, path: &(impl Pieces + ?Sized), depth: u64) {
        let writer = &self.region.writer;
        let mut text = PathText::new();
        let key = writer.hasher.key_and_text(path, &mut text);
        self.update(key, |slot| set_depth(slot, Some(depth)));
        self.bus.writer().publish_path(EventKind::MailboxSampled, &text, depth, writer.stamp(0));
    }

    /// The number of spawned actors so far. Not for hot paths.
    pub fn total_spawned(&self) -> u64 {
        self.totals().spawned
    }

    /// The number of spawned actors that have stopped. Not for hot paths.
    pub fn total_stopped(&self) -> u64 {
        self.totals().stopped
    }

    /// The number of live actors: spawned minus stopped. Not for hot paths.
    pub fn live_count(&self) -> u64 {
        self.totals().live
    }

    fn totals(&self) -> atomscope_layout::decode::ActorTotals {
        self.region.writer.reader().map(|reader| reader.actor_totals()).unwrap_or_default()
    }

    /// All live actors, as a list and as a tree. Allocates; scans the whole table.
    pub fn snapshot(&self) -> ActorSnapshot {
        (&self.tree()).into()
    }

    pub(crate) fn tree(&self) -> ActorTree {
        if self.settles {
            self.region.writer.sample_clock();
            self.region.writer.settle(false, self.bus.writer());
        }
        self.region.writer.reader().map(|reader| reader.actor_list()).unwrap_or_default().into_tree()
    }
}

/// Hot: called for every actor, for top-level ones under the guardian's lock. Spawn and stop may come in any order.
///
/// An observer that passes these calls on must do so within its own call: the task that reports a stop shows whether the
/// actor is older than the hooks.
#[cfg(feature = "atomr")]
impl SpawnObserver for ActorRegistry {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        let writer = &*self.region.writer;
        let ticks = writer.ticks();
        writer.count(Builtin::Spawned, 1);
        let joining = joining::take(writer);
        let mut text = PathText::new();
        let type_id = writer.intern_static(actor_type);
        let is_usual = type_id != 0
            && core::ptr::eq(writer, &**self.bus.writer())
            && parent.is_some_and(|parent| is_above(parent, path));
        let keys = if is_usual { writer.hasher.usual_path_and_parent(path, &mut text) } else { None };
        let Some((key, parent_key, parent_bytes)) = keys else {
            return self.unusual_spawn(path, parent, (actor_type, type_id), ticks, joining);
        };
        let table = writer.table();
        // A respawn is later than the actor that it replaces, so that the stop of that actor takes the older spawn. The
        // processor's counter has counted on since that actor's spawn; a coarse clock may have stood still.
        let cause = if writer.clock == Clock::Coarse { table.newest_spawn(key).unwrap_or(0) } else { 0 };
        let stamp = writer.stamp_at(ticks, cause);
        let (path_bytes, parent_bytes) = (text.bytes as u16, parent_bytes as u16);
        let flags = actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
        // Published before the spawn is in the table, so that the stop is published later.
        let text_bytes = [path_bytes, parent_bytes, 0, 0, 0];
        let kind = EventKind::ActorSpawned;
        let event = EventHead { kind, stamp, type_id, flags, text_bytes, numbers: [0; 2] }.words();
        writer.publish_with(|slot| store_parts(slot, &event, text.words()));
        let (record_key, parent_key, path_bytes) = (key.words(), parent_key.words(), path_bytes as u8);
        let head = ActorHead {
            key: record_key,
            cell: joining.map_or(0, |joining| joining.word),
            spawned: stamp,
            type_id,
            flags,
            path_bytes,
            parent_bytes,
            parent_key,
        };
        let (first, parent_words) = head.words();
        let write = |slot: &[AtomicU64]| {
            writer.join(joining, slot);
            if let (Some(head), Some(rest)) =
                (slot.get(ACTOR_KEY_WORD..ACTOR_KEY_WORD + first.len()), slot.get(ACTOR_PARENT_WORD..))
            {
                store(head, &first);
                store_parts(rest, &parent_words, text.words());
            }
        };
        let spawned = table.spawn(lane::held_or_beyond(), key, write, &self.pairs());
        if spawned != Spawned::Stands {
            self.end_spawn(spawned, path, stamp);
        }
    }

    fn on_stop(&self, path: &ActorPath) {
        let writer = &*self.region.writer;
        let ticks = writer.ticks();
        if joining::stops() {
            stops_one_of_several();
        }
        let mut origin = self.classify_stop();
        if origin == StopOrigin::Older {
            if self.older_stop(path, ticks) {
                return;
            }
            origin = StopOrigin::Unknown;
        }
        match writer.hasher.usual_key(path) {
            Some(key) => self.stop(key, path, ticks, origin),
            None => self.unusual_stop(path, ticks, origin),
        }
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.set_depth(path, depth);
    }
}

/// A parent's path that is no prefix of its child's path. It is the last text of a record, but its space comes before that of
/// all texts but the child's path.
struct ParentText {
    text: [u8; ACTOR_PATH_BYTES],
    bytes: usize,
    cut: bool,
}

impl Default for ParentText {
    fn default() -> Self {
        Self { text: [0; ACTOR_PATH_BYTES], bytes: 0, cut: false }
    }
}

impl ParentText {
    /// The parent's path in the text of a record.
    fn of(text: &[u8], at: usize, bytes: usize) -> Self {
        let mut parent = Self::default();
        if let (Some(to), Some(from)) = (parent.text.get_mut(..bytes), text.get(at..at + bytes)) {
            to.copy_from_slice(from);
            parent.bytes = bytes;
        }
        parent
    }

    /// Keeps as much of the path as fits behind `used` bytes of text; returns its bytes.
    fn put(&mut self, path: &(impl Pieces + ?Sized), used: usize, hasher: PathHasher) -> u16 {
        let mut texts = Texts::new(&mut self.text);
        let bytes = texts.put_path(path, ACTOR_TEXT_BYTES.saturating_sub(used), hasher);
        (self.bytes, self.cut) = (texts.used(), texts.cut);
        bytes
    }

    /// A writer of further texts behind `used` bytes, which leaves space for the parent's path.
    fn texts_before<'a>(&self, text: &'a mut [u8], used: usize, cut: bool) -> Texts<'a> {
        let end = text.len().saturating_sub(self.bytes);
        let mut texts = Texts::new(text.get_mut(..end).unwrap_or_default());
        texts.end(used, cut);
        texts
    }

    /// Writes the parent's path behind `used` bytes; returns the bytes of all texts.
    fn append_to(&self, text: &mut [u8], used: usize) -> usize {
        let end = used + self.bytes;
        if let (Some(to), Some(from)) = (text.get_mut(used..end), self.text.get(..self.bytes)) {
            to.copy_from_slice(from);
        }
        end
    }
}

/// Bytes of the parent's path in the text of a record.
fn parent_in_text(record: &ActorRecord) -> usize {
    match record.flags & (actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX) {
        actor_flags::PARENT => record.parent_bytes.into(),
        _ => 0,
    }
}

#[cfg(feature = "atomr")]
impl ActorRegistry {
    /// An unusual spawn: its path is long, its class has no name number, its parent is elsewhere, or the bus is a stand-alone
    /// one.
    #[cold]
    fn unusual_spawn(
        &self,
        path: &ActorPath,
        parent: Option<&ActorPath>,
        (actor_type, type_id): (&str, u32),
        ticks: u64,
        joining: Option<joining::Joining>,
    ) {
        let writer = &self.region.writer;
        let mut text = PathText::new();
        let (key, parent_key, parent_bytes) = writer.hasher.path_and_parent(path, &mut text);
        let mut record = ActorRecord::new_zeroed();
        record.key = key.words();
        let mut texts = Texts::new(&mut record.text);
        record.path_bytes = texts.put_joined(&text) as u8;
        let (path_cut, path_bytes) = (texts.cut, texts.used());
        if text.cut {
            record.flags |= actor_flags::PATH_CUT;
        }
        let mut parent_text = ParentText::default();
        if let Some(parent) = parent {
            record.flags |= actor_flags::PARENT;
            if is_above(parent, path) {
                record.flags |= actor_flags::PARENT_IS_PREFIX;
                record.parent_key = parent_key.words();
                record.parent_bytes = u16::try_from(parent_bytes).unwrap_or(u16::MAX);
            } else {
                record.parent_key = writer.hasher.key(parent).words();
                record.parent_bytes = parent_text.put(parent, path_bytes, writer.hasher);
            }
        }
        let actor_type = TypeName::of(actor_type);
        let actor_type = actor_type.as_str();
        record.type_id = type_id;
        record.cell = joining.map_or(0, |joining| joining.word);
        let mut texts = parent_text.texts_before(&mut record.text, path_bytes, path_cut);
        if record.type_id == 0 {
            record.type_bytes = texts.put(actor_type, ACTOR_TEXT_BYTES) as u8;
        }
        // Later than the actor that it replaces.
        record.spawned = writer.stamp_at(ticks, writer.table().newest_spawn(key).unwrap_or(0));
        let (cut, used) = (texts.cut || parent_text.cut, texts.used());
        let used = parent_text.append_to(&mut record.text, used);
        self.publish_spawn(&mut record, actor_type, cut);
        let spawned = self.add_spawn(key, &record, used, |slot| writer.join(joining, slot));
        self.end_spawn(spawned, path, record.spawned);
    }

    /// Records the stop of an actor that is not known to be older than the hooks.
    #[inline(always)]
    fn stop(&self, key: Key, path: &ActorPath, ticks: u64, origin: StopOrigin) {
        let (writer, pairs) = (&*self.region.writer, self.pairs());
        let stopped = |slot: &[AtomicU64]| pairs.publish_stop(slot, ticks);
        match writer.table().stop(lane::held_or_beyond(), key, stopped, &pairs) {
            // Counted after the spawn was found: a reader that sees this count also sees the spawn's.
            Stopped::Entry { .. } => writer.count_end(Builtin::Stopped, 1),
            Stopped::Spilled => self.spilled_stop(path, ticks),
            Stopped::Nothing => self.early_stop(key, path, origin),
        }
    }

    /// Records the stop of an actor whose spawn the hook has recorded, and whose stop it never will.
    #[cfg(feature = "instruments")]
    #[cold]
    pub(crate) fn record_missing_stop(&self, path: &ActorPath) {
        self.unusual_stop(path, self.region.writer.ticks(), StopOrigin::Awaited);
    }

    #[cold]
    #[inline(never)]
    fn unusual_stop(&self, path: &ActorPath, ticks: u64, origin: StopOrigin) {
        self.stop(self.region.writer.hasher.key(path), path, ticks, origin);
    }

    /// The stop of an actor without a slot.
    #[cold]
    fn spilled_stop(&self, path: &ActorPath, ticks: u64) {
        let writer = &self.region.writer;
        self.publish_stop(path, writer.stamp_at(ticks, 0));
        writer.count_end(Builtin::SpilledStopped, 1);
        writer.count_end(Builtin::Stopped, 1);
    }

    /// Whether the actor that is stopping is older than the hooks. An actor reports its stop in its own task.
    #[inline]
    fn classify_stop(&self) -> StopOrigin {
        let first = self.region.writer.hooks.first_task.load(Ordering::Relaxed);
        if first == 0 {
            return StopOrigin::Unknown;
        }
        match task::current() {
            None => StopOrigin::Unknown,
            Some(number) if number > first => StopOrigin::Awaited,
            Some(_) => StopOrigin::Older,
        }
    }

    /// Records the stop of an actor that is older than the hooks. False if the hooks reported its spawn all the same, during
    /// their installation.
    #[cold]
    fn older_stop(&self, path: &ActorPath, ticks: u64) -> bool {
        let writer = &self.region.writer;
        let HookState { sure_from, are_settled, last_before, last_older, .. } = &writer.hooks;
        let own = task::current().unwrap_or(0);
        if own > last_before.load(Ordering::Relaxed) {
            // It was spawned during the installation.
            writer.count(Builtin::DoubtfulStops, 1);
            return false;
        }
        if last_older.swap(own, Ordering::Relaxed) == own {
            // No actor stops twice: an observer passes stops on from its own task, which shows nothing about the actors.
            writer.hooks.first_task.store(0, Ordering::Relaxed);
            writer.count(Builtin::DoubtfulStops, 1);
            return false;
        }
        let key = writer.hasher.key(path);
        let sure_from = sure_from.load(Ordering::Relaxed);
        match writer.table().oldest_spawn(key) {
            Some(spawned) if sure_from == 0 || spawned <= sure_from => {
                if are_settled.load(Ordering::Relaxed) {
                    return false;
                }
                // The spawn may be the actor's own or its successor's.
                writer.count(Builtin::DoubtfulStops, 1);
            }
            None if sure_from == 0 => {
                self.early_stop(key, path, StopOrigin::Older);
                return true;
            }
            // The spawn is its successor's.
            Some(_) | None => {}
        }
        writer.count(Builtin::Foreign, 1);
        // Counted after `Foreign`: a reader that sees this count knows that no counted spawn belongs to it.
        writer.count_end(Builtin::Stopped, 1);
        self.publish_stop(path, writer.stamp_at(ticks, 0));
        true
    }
}

/// Runs `install`, which installs the spawn hook, and remembers which tasks are older.
#[cfg(feature = "atomr")]
pub(crate) fn installing(writer: &RegionWriter, install: impl FnOnce()) {
    let hooks = &writer.hooks;
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
    #![allow(clippy::unwrap_used, reason = "they are tests")]

    use atomr_core::actor::Address;
    use atomscope_layout::table::Witness as _;

    use super::*;
    use crate::TelemetryExtension;

    const PARENT: &str = "akka://s/user";

    fn user() -> ActorPath {
        ActorPath::root(Address::local("s")).child("user")
    }

    /// A registry with its own region of this capacity.
    fn registry(actors: usize, lanes: usize) -> ActorRegistry {
        let region = Region::builder("registry").actors(actors).lanes(lanes).private().build().unwrap();
        let bus = TelemetryBus::of(region.clone());
        ActorRegistry { settles: true, ..ActorRegistry::of(region, bus) }
    }

    fn status(path: &str) -> ActorStatus {
        ActorStatus {
            path: path.into(),
            parent: Some(PARENT.into()),
            actor_type: "T".into(),
            mailbox_depth: 0,
            spawned_at: String::new(),
            host: None,
        }
    }

    impl ActorRegistry {
        /// Listed actors, unlisted ones, waiting stops, and the drift.
        fn state(&self) -> (u64, u64, u64, i64) {
            let reader = self.region.writer.reader().unwrap();
            let tally = reader.actor_list().tally();
            assert_eq!(tally.unreadable, 0);
            (tally.listed, tally.unlisted, tally.waiting_stops, tally.drift(&reader.actor_totals()))
        }

        fn spawn_at(&self, path: &ActorPath) {
            self.on_spawn(path, path.parent().as_ref(), "T");
        }

        fn paths(&self) -> Vec<String> {
            let mut paths: Vec<String> = self.snapshot().flat.into_iter().map(|actor| actor.path).collect();
            paths.sort_unstable();
            paths
        }
    }

    #[test]
    fn an_actor_is_the_same_however_its_path_comes() {
        let actors = registry(100, 2);
        let odd = ["a", "a/b", "", "/", "ünï", "0123456789abcdef", "0123456789abcdef/x", "12345678"];
        let remote = ActorPath::root(Address::remote("akka.tcp", "s", "h", 2552)).child("user");
        let paths = odd.iter().flat_map(|name| [user().child(*name), remote.child(*name)]);
        let paths: Vec<ActorPath> =
            paths.chain([ActorPath::root(Address::local("s")), user().child("x".repeat(500))]).collect();
        for path in &paths {
            actors.spawn_at(path);
            assert_eq!(actors.state(), (1, 0, 0, 0), "{path}");
            actors.record_stop(&path.to_string());
            assert_eq!(actors.state(), (0, 0, 0, 0), "{path}");
            actors.record_spawn(status(&path.to_string()));
            actors.on_stop(path);
            assert_eq!(actors.state(), (0, 0, 0, 0), "{path}");
        }
        assert_eq!(actors.totals().spawned, 2 * paths.len() as u64);
    }

    #[test]
    fn a_stop_may_come_before_its_spawn_and_takes_the_oldest_of_its_path() {
        let (actors, path) = (registry(100, 2), user().child("a"));
        actors.on_stop(&path);
        assert_eq!(actors.state().2, 1);
        actors.spawn_at(&path);
        assert_eq!(actors.state(), (0, 0, 0, 0));
        // The respawn comes before its predecessor's stop.
        for class in ["Old", "New"] {
            actors.on_spawn(&path, Some(&user()), class);
        }
        actors.on_stop(&path);
        let listed = actors.snapshot().flat;
        assert_eq!((listed.len(), listed[0].actor_type.as_str()), (1, "New"));
        actors.on_stop(&path);
        assert_eq!((actors.state(), actors.totals().spawned), ((0, 0, 0, 0), 3));
    }

    #[test]
    fn actors_without_a_slot_are_counted_until_they_stop() {
        let actors = registry(1, 1);
        let slots = actors.region.writer.map().actors.count;
        let paths: Vec<ActorPath> = (0..slots + 20).map(|number| user().child(number.to_string())).collect();
        paths.iter().for_each(|path| actors.spawn_at(path));
        assert_eq!(actors.state(), (slots as u64, 20, 0, 0));
        // First those without a slot.
        for (gone, path) in paths.iter().rev().enumerate().map(|(at, path)| (at as u64 + 1, path)) {
            actors.on_stop(path);
            let (slots, unlisted) = (slots as u64, 20u64.saturating_sub(gone));
            assert_eq!(actors.state(), ((slots + 20 - gone).min(slots), unlisted, 0, 0));
        }
    }

    #[test]
    fn an_actor_that_the_index_loses_is_counted_as_an_untracked_one() {
        let (actors, path) = (registry(100, 2), user().child("a"));
        actors.spawn_at(&path);
        let (table, pairs) = (actors.region.writer.table(), actors.pairs());
        let key = actors.region.writer.hasher.key(&path);
        // As the table does it.
        let stopped = table.stop(lane::held_or_beyond(), key, |slot| pairs.lost(slot), &pairs);
        assert!(matches!(stopped, Stopped::Entry { .. }));
        let totals = actors.totals();
        assert_eq!((totals.live, totals.untracked, totals.inexact), (1, 1, true));
        assert_eq!(actors.state(), (0, 0, 0, 0));
        actors.on_stop(&path);
        assert_eq!(actors.state(), (0, 0, 1, 0));
    }

    #[test]
    fn a_change_in_place_stays_with_its_actor() {
        let (actors, path) = (registry(100, 2), user().child("a"));
        actors.spawn_at(&path);
        let text = path.to_string();
        actors.set_host(&text, "h1:2552");
        actors.record_mailbox_depth(&text, 7);
        actors.on_mailbox_depth(&path, 8);
        let listed = actors.snapshot().flat;
        assert_eq!((listed[0].host.as_deref(), listed[0].mailbox_depth), (Some("h1:2552"), 8));
        actors.record_spawn(status(&text));
        let listed = actors.snapshot().flat;
        assert_eq!((listed.len(), listed[0].host.as_deref(), listed[0].mailbox_depth), (1, None, 0));
        assert_eq!(actors.state(), (1, 0, 0, 0));
    }

    #[test]
    fn threads_that_end_lose_no_slot() {
        const CAPACITY: usize = 64;
        const EACH: usize = 40;
        let actors = registry(CAPACITY, 4);
        let path = |thread: usize, number: usize| user().child(format!("{thread}-{number}"));
        for thread in 0..200 {
            // Each thread has a lane by then, and stops actors that the thread before has spawned.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    (0..EACH).for_each(|number| actors.spawn_at(&path(thread, number)));
                    (0..EACH / 2).for_each(|number| actors.on_stop(&path(thread, number)));
                    if thread > 0 {
                        (EACH / 2..EACH).for_each(|number| actors.on_stop(&path(thread - 1, number)));
                    }
                });
            });
        }
        (EACH / 2..EACH).for_each(|number| actors.on_stop(&path(199, number)));
        assert_eq!(actors.state(), (0, 0, 0, 0));
        let paths: Vec<ActorPath> = (0..CAPACITY).map(|number| path(200, number)).collect();
        paths.iter().for_each(|path| actors.spawn_at(path));
        assert_eq!(actors.state(), (CAPACITY as u64, 0, 0, 0), "each live actor has a slot");
        let mut expected: Vec<String> = paths.iter().map(ActorPath::to_string).collect();
        expected.sort_unstable();
        assert_eq!(actors.paths(), expected);
    }

    #[tokio::test]
    async fn an_actor_that_is_spawned_while_the_hooks_are_being_installed_is_not_taken_for_an_older_one() {
        let region = Region::builder("installing").private().build().unwrap();
        let telemetry = TelemetryExtension::with_region(region);
        let (actors, user) = (telemetry.actors.clone(), ActorPath::root(Address::local("s")).child("user"));
        let path = user.child("a");
        let mut task = None;
        installing(&telemetry.region().writer, || {
            actors.on_spawn(&path, Some(&user), "T");
            // An actor stops in its own task.
            task = Some(tokio::spawn(async move { actors.on_stop(&path) }));
        });
        task.unwrap().await.unwrap();
        let live = (telemetry.actors.snapshot().total, telemetry.actors.live_count());
        assert_eq!((live, telemetry.actors.totals().inexact), ((0, 0), true));
    }
}
