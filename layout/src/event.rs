//! Events: what happened in a node, in its order.
//!
//! Each publishing thread has its own ring, its *lane*; threads without a lane share lane 0. A record is one event, or one
//! part of an event with a list. The stamp of an event is later than the stamp of its cause. So all lanes merge into one
//! order, in which no actor stops before its spawn.
//!
//! ```
//! use atomscope_layout::event::{self, TelemetryEvent};
//! let event = TelemetryEvent::ActorStopped { path: "/user/cart".into() };
//! let mut decoded = None;
//! event::encode(&event, 7, |_| 0, |record| {
//!     let words = zerocopy::transmute!(*record);
//!     decoded = event::decode(&words, |_| String::new(), |_| String::new(), |_, _| None);
//! });
//! assert_eq!(decoded.unwrap().event, event);
//! ```

use core::mem::offset_of;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::dto::{
    ActorStatus, ClusterMemberInfo, ClusterMembershipDiff, DeadLetterRecord, JournalWriteInfo,
    RemoteAssociationInfo, ShardingEvent,
};
use crate::limits::{ACTOR_TEXT_BYTES, PATH_CUT_MARK};
use crate::names::{NO_NAME, put_text};
use crate::own_records::{FieldValue, OWN_NAME_BYTES, first_of_each_name};
use crate::records::actor_flags;
use crate::ring::SLOT_HEAD_WORDS;
use crate::sync::AtomicU64;
use crate::table::Key;
use crate::words::{self, halves, prefix, quarters};

/// An event of a node. The JSON is that of `atomr-telemetry`: `kind`, and the fields of the payload. Panics, long polls
/// and the application's own events are only here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "names and fields say it")]
pub enum TelemetryEvent {
    ActorSpawned(ActorStatus),
    ActorStopped { path: String },
    MailboxSampled { path: String, depth: u64 },
    DeadLetter(DeadLetterRecord),
    ClusterChanged(ClusterMembershipDiff),
    ShardingChanged(ShardingEvent),
    JournalWrite(JournalWriteInfo),
    RemoteAssociation(RemoteAssociationInfo),
    StreamsGraphStarted { id: u64, name: String },
    StreamsGraphFinished { id: u64 },
    DDataUpdated { key: String },
    Panicked(PanicInfo),
    Own(OwnEvent),
    LongPoll(LongPollInfo),
}

/// A poll of a task that held its worker for long, as an event. What is unknown is `None`. `task` is where the task was spawned,
/// in the source; it is told of tasks whose actor is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and fields say it")]
pub struct LongPollInfo {
    pub duration_ns: u64,
    pub actor: Option<String>,
    pub class: Option<String>,
    pub task: Option<String>,
    pub tid: Option<u32>,
    pub thread: Option<String>,
}

/// An event of the application's own: a text, or the values of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnEvent {
    /// The topic, a name that the application gave it.
    pub topic: String,
    /// How important it is.
    pub level: Level,
    /// What happened; empty if there are values.
    pub text: String,
    /// The kind of the record that holds the values; `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The values of the record's fields by their names. An event that is published by hand as a [`TelemetryEvent`] keeps none.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub values: Values,
}

/// The values of an [`OwnEvent`], by the names of their fields. In JSON an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(pub Vec<(String, FieldValue)>);

impl Values {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        first_of_each_name(self.0.iter().map(|(name, value)| (name.as_str(), value)), serializer)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Values;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("values by the names of their fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    values.push(pair);
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// How important an event of the application's own is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "names say it")]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
    Trace = 5,
}

impl Level {
    /// All levels, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Bytes of a topic of the application's own, at most.
pub const TOPIC_BYTES: usize = OWN_NAME_BYTES;
/// Bytes of a record in an event, at most. Beside it a topic fits that found no room among the names.
pub const EVENT_PAYLOAD_BYTES: usize = ACTOR_TEXT_BYTES - TOPIC_BYTES;
/// Fields of a record in an event, at most: they bound what a reader makes of an event.
pub const EVENT_FIELDS: usize = 32;

/// A panic, as an event. `seq` is its number in the ring of panics; what is unknown is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "names and fields say it")]
pub struct PanicInfo {
    pub seq: u64,
    pub tid: Option<u32>,
    pub thread: Option<String>,
    pub location: String,
    pub actor: Option<String>,
    pub message: Option<String>,
}

impl TelemetryEvent {
    /// The topic of the event: one of [`Self::ALL_TOPICS`], or a name that the application gave.
    pub fn topic(&self) -> &str {
        match self {
            Self::Own(own) => &own.topic,
            _ => self.kind().topic(),
        }
    }

    /// All topics but those of the application's own events.
    pub const ALL_TOPICS: &'static [&'static str] = &[
        "actors",
        "dead_letters",
        "cluster",
        "sharding",
        "persistence",
        "remote",
        "streams",
        "ddata",
        "failures",
        "runtime",
    ];

    /// The kind of the event.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::ActorSpawned(_) => EventKind::ActorSpawned,
            Self::ActorStopped { .. } => EventKind::ActorStopped,
            Self::MailboxSampled { .. } => EventKind::MailboxSampled,
            Self::DeadLetter(_) => EventKind::DeadLetter,
            Self::ClusterChanged(_) => EventKind::ClusterChanged,
            Self::ShardingChanged(_) => EventKind::ShardingChanged,
            Self::JournalWrite(_) => EventKind::JournalWrite,
            Self::RemoteAssociation(_) => EventKind::RemoteAssociation,
            Self::StreamsGraphStarted { .. } => EventKind::StreamsGraphStarted,
            Self::StreamsGraphFinished { .. } => EventKind::StreamsGraphFinished,
            Self::DDataUpdated { .. } => EventKind::DDataUpdated,
            Self::Panicked(_) => EventKind::Panicked,
            Self::Own(_) => EventKind::Own,
            Self::LongPoll(_) => EventKind::LongPoll,
        }
    }
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[allow(missing_docs, reason = "those of TelemetryEvent")]
pub enum EventKind {
    ActorSpawned = 1,
    ActorStopped = 2,
    MailboxSampled = 3,
    DeadLetter = 4,
    ClusterChanged = 5,
    ShardingChanged = 6,
    JournalWrite = 7,
    RemoteAssociation = 8,
    StreamsGraphStarted = 9,
    StreamsGraphFinished = 10,
    DDataUpdated = 11,
    Panicked = 12,
    Own = 13,
    LongPoll = 14,
}

impl EventKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::ActorSpawned,
        Self::ActorStopped,
        Self::MailboxSampled,
        Self::DeadLetter,
        Self::ClusterChanged,
        Self::ShardingChanged,
        Self::JournalWrite,
        Self::RemoteAssociation,
        Self::StreamsGraphStarted,
        Self::StreamsGraphFinished,
        Self::DDataUpdated,
        Self::Panicked,
        Self::Own,
        Self::LongPoll,
    ];

    /// The topic of events of this kind; of the application's own the word for all of their topics.
    pub fn topic(self) -> &'static str {
        match self {
            Self::ActorSpawned | Self::ActorStopped | Self::MailboxSampled => "actors",
            Self::DeadLetter => "dead_letters",
            Self::ClusterChanged => "cluster",
            Self::ShardingChanged => "sharding",
            Self::JournalWrite => "persistence",
            Self::RemoteAssociation => "remote",
            Self::StreamsGraphStarted | Self::StreamsGraphFinished => "streams",
            Self::DDataUpdated => "ddata",
            Self::Panicked => "failures",
            Self::Own => "own",
            Self::LongPoll => "runtime",
        }
    }
}

/// An event, or one part of an event. [`crate::region`] draws it and lists the texts and numbers of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventRecord {
    /// The stamp of the event.
    pub stamp: u64,
    /// The number of the interned name of the actor class, message type or own topic; 0 if the name is in the text.
    pub type_id: u32,
    /// [`actor_flags`] for a spawn, else [`event_flags`].
    pub flags: u32,
    /// Bytes of each text.
    pub text_bytes: [u16; 5],
    /// [`EventKind`].
    pub kind: u16,
    /// Which part of the event this is, from 0 on.
    pub part: u16,
    /// Number of parts of the event, at least 1. All parts of an event are in one lane, in order, with the same stamp.
    pub parts: u16,
    /// The payload's numbers.
    pub numbers: [u64; 2],
    /// The texts, one after the other.
    pub text: [u8; ACTOR_TEXT_BYTES],
}

/// Flags of an [`EventRecord`] of any kind but a spawn.
pub mod event_flags {
    /// The optional text (the sender, or a panic's message) is present.
    pub const OPTIONAL: u32 = 1;
    /// A text was too long and was cut.
    pub const TEXT_CUT: u32 = 1 << 3;
    /// The application gave the time as text.
    pub const TIME_TEXT: u32 = 1 << 4;
    /// The member is reachable.
    pub const REACHABLE: u32 = 1 << 5;
    /// From this bit on: the list of a membership change that the part belongs to. 0 none, 1 added, 2 updated, 3 removed,
    /// 4 became unreachable, 5 became reachable.
    pub const LIST_SHIFT: u32 = 8;
}

/// Words of an [`EventRecord`].
pub const EVENT_WORDS: usize = size_of::<EventRecord>() / 8;
/// Words of an event before its text.
pub const EVENT_HEAD_WORDS: usize = offset_of!(EventRecord, text) / 8;
/// Bytes of a slot of an event lane.
pub const EVENT_SLOT_BYTES: usize = (SLOT_HEAD_WORDS + EVENT_WORDS) * 8;

const _: () = {
    assert!(size_of::<EventRecord>() == 240);
    assert!(EVENT_SLOT_BYTES == 256);
    assert!(offset_of!(EventRecord, text_bytes) == 16);
    assert!(offset_of!(EventRecord, kind) == 26);
    assert!(offset_of!(EventRecord, numbers) == 32);
    assert!(offset_of!(EventRecord, text) == 48);
};

impl EventRecord {
    /// An empty record of this kind.
    pub fn new(kind: EventKind) -> Self {
        Self { kind: kind as u16, parts: 1, ..Self::new_zeroed() }
    }

    /// A record of one part with these numbers and texts, in the order of the payload's fields; and whether a text was cut.
    pub fn with_texts(kind: EventKind, stamp: u64, numbers: [u64; 2], texts: &[&str]) -> (Self, bool) {
        let mut record = Self { stamp, numbers, ..Self::new(kind) };
        let mut filling = Filling::of(&mut record);
        texts.iter().for_each(|text| filling.put(text));
        let cut = filling.cut;
        record.flags = if cut { event_flags::TEXT_CUT } else { 0 };
        (record, cut)
    }

    /// The same record with the type name in its text, for when the table of names is full.
    pub fn with_type_text(&self, name: &str) -> Self {
        let mut other = Self { type_id: 0, text_bytes: [0; 5], text: [0; ACTOR_TEXT_BYTES], ..*self };
        let mut filling = Filling::of(&mut other);
        let mut rest = self.text.as_slice();
        for (at, bytes) in self.texts().into_iter().enumerate() {
            let (text, after) = rest.split_at_checked(bytes.into()).unwrap_or_default();
            rest = after;
            match core::str::from_utf8(text) {
                _ if at == 2 => filling.put(name),
                Ok(text) => filling.put(text),
                Err(_) => filling.skip(),
            }
        }
        if self.kind == EventKind::ActorSpawned as u16 && self.flags & actor_flags::PARENT_IS_PREFIX != 0 {
            other.text_bytes[1] = self.text_bytes[1];
        }
        other
    }

    /// The words of the record, up to the end of its texts.
    pub fn words(&self) -> &[u64] {
        let text: usize = self.texts().iter().map(|bytes| usize::from(*bytes)).sum();
        let words: &[u64; EVENT_WORDS] = zerocopy::transmute_ref!(self);
        words.get(..EVENT_HEAD_WORDS + text.div_ceil(8)).unwrap_or(words)
    }

    /// The bytes of the record of an own event, which are no text.
    fn payload(&self) -> Option<&[u8]> {
        let [topic, text, bytes, ..] = self.text_bytes.map(usize::from);
        let is_record = self.kind == EventKind::Own as u16 && self.numbers[1] != 0;
        is_record.then(|| self.text.get(topic + text..)?.get(..bytes)).flatten()
    }

    /// Bytes of each text in the record. A parent that is a prefix of the path is not in the text.
    fn texts(&self) -> [u16; 5] {
        let mut bytes = self.text_bytes;
        if self.kind == EventKind::ActorSpawned as u16 && self.flags & actor_flags::PARENT_IS_PREFIX != 0 {
            bytes[1] = 0;
        }
        bytes
    }
}

/// An event without its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "those of EventRecord")]
pub struct EventHead {
    pub kind: EventKind,
    pub stamp: u64,
    pub type_id: u32,
    pub flags: u32,
    pub text_bytes: [u16; 5],
    pub numbers: [u64; 2],
}

impl EventHead {
    /// The words of an event of one part before its texts. They are built word by word: after storing narrow fields of a
    /// struct, the processor would have to wait before it could load whole words of it.
    #[inline]
    pub fn words(&self) -> [u64; EVENT_HEAD_WORDS] {
        let ([a, b, c, d, e], [first, second]) = (self.text_bytes, self.numbers);
        [
            self.stamp,
            halves(self.type_id, self.flags),
            quarters([a, b, c, d]),
            quarters([e, self.kind as u16, 0, 1]),
            first,
            second,
        ]
    }
}

/// Adds the texts of an event to a record.
struct Filling<'a> {
    record: &'a mut EventRecord,
    used: usize,
    next: usize,
    cut: bool,
}

impl<'a> Filling<'a> {
    fn of(record: &'a mut EventRecord) -> Self {
        Self { record, used: 0, next: 0, cut: false }
    }

    /// Adds the next text.
    fn put(&mut self, text: &str) {
        self.skip();
        self.append(text);
    }

    /// Adds more to the text that was added last.
    fn append(&mut self, text: &str) {
        let rest = self.record.text.get_mut(self.used..).unwrap_or_default();
        let (bytes, cut) = put_text(rest, ACTOR_TEXT_BYTES, text);
        if let Some(length) = self.next.checked_sub(1).and_then(|at| self.record.text_bytes.get_mut(at)) {
            *length += bytes as u16;
        }
        self.used += bytes;
        self.cut |= cut;
    }

    /// Makes the next text empty.
    fn skip(&mut self) {
        self.next += 1;
    }
}

/// An event of at most one text, which fits its record. It can be stored directly into a slot.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    numbers: [u64; 2],
    kind: EventKind,
    text: &'a str,
}

impl<'a> Plain<'a> {
    /// The event, if it has at most one text and that text fits. [`encode`] writes the same words, and all other events.
    #[inline]
    pub fn of(event: &'a TelemetryEvent) -> Option<Self> {
        let (kind, number, text) = match event {
            TelemetryEvent::ActorStopped { path } => (EventKind::ActorStopped, 0, path.as_str()),
            TelemetryEvent::MailboxSampled { path, depth } => {
                (EventKind::MailboxSampled, *depth, path.as_str())
            }
            TelemetryEvent::StreamsGraphStarted { id, name } => {
                (EventKind::StreamsGraphStarted, *id, name.as_str())
            }
            TelemetryEvent::StreamsGraphFinished { id } => (EventKind::StreamsGraphFinished, *id, ""),
            TelemetryEvent::DDataUpdated { key } => (EventKind::DDataUpdated, 0, key.as_str()),
            _ => return None,
        };
        (text.len() <= ACTOR_TEXT_BYTES).then_some(Self { kind, numbers: [number, 0], text })
    }

    /// Stores the words of the record, relaxed.
    #[inline]
    pub fn store(&self, stamp: u64, to: &[AtomicU64]) {
        let Self { kind, numbers, text } = *self;
        let text_bytes = [text.len() as u16, 0, 0, 0, 0];
        let head = EventHead { kind, stamp, type_id: 0, flags: 0, text_bytes, numbers };
        if let Some((head_words, text_words)) = to.split_first_chunk::<EVENT_HEAD_WORDS>() {
            words::store(head_words, &head.words());
            words::store_text(text_words, text);
        }
    }
}

/// Encodes `event` as one or more records, and calls `emit` with each. `intern` returns the number of a name, or 0 if the
/// table of names is full. Returns whether a text was cut. Does not allocate.
pub fn encode(
    event: &TelemetryEvent,
    stamp: u64,
    mut intern: impl FnMut(&str) -> u32,
    mut emit: impl FnMut(&EventRecord),
) -> bool {
    let mut record = EventRecord { stamp, ..EventRecord::new(event.kind()) };
    if let TelemetryEvent::ClusterChanged(change) = event {
        return encode_change(change, record, emit);
    }
    let (mut flags, mut numbers, mut type_id) = (0, [0; 2], 0);
    let mut texts = Filling::of(&mut record);
    match event {
        TelemetryEvent::ActorSpawned(actor) => {
            flags |= actor_flags::SPAWNED_TEXT;
            numbers[0] = actor.mailbox_depth;
            type_id = intern(&actor.actor_type);
            texts.put(&actor.path);
            match &actor.parent {
                Some(parent) if !texts.cut && actor.path.starts_with(parent.as_str()) => {
                    flags |= actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
                    texts.record.text_bytes[1] = parent.len() as u16;
                    texts.skip();
                }
                Some(parent) => {
                    flags |= actor_flags::PARENT;
                    texts.put(parent);
                }
                None => texts.skip(),
            }
            texts.put(if type_id == 0 { &actor.actor_type } else { "" });
            texts.put(&actor.spawned_at);
            if let Some(host) = &actor.host {
                flags |= actor_flags::HOST;
                texts.put(host);
            }
        }
        TelemetryEvent::ActorStopped { path } => texts.put(path),
        TelemetryEvent::MailboxSampled { path, depth } => {
            numbers[0] = *depth;
            texts.put(path);
        }
        TelemetryEvent::DeadLetter(letter) => {
            flags |= event_flags::TIME_TEXT;
            numbers[0] = letter.seq;
            type_id = intern(&letter.message_type);
            texts.put(&letter.recipient);
            if letter.sender.is_some() {
                flags |= event_flags::OPTIONAL;
            }
            texts.put(letter.sender.as_deref().unwrap_or_default());
            texts.put(if type_id == 0 { &letter.message_type } else { "" });
            // The time comes before the preview, which may be long.
            texts.put(&letter.timestamp);
            texts.put(&letter.message_preview);
        }
        TelemetryEvent::ShardingChanged(change) => {
            [&change.region_id, &change.shard_id, &change.event].into_iter().for_each(|text| texts.put(text));
        }
        TelemetryEvent::JournalWrite(write) => {
            flags |= event_flags::TIME_TEXT;
            numbers[0] = write.sequence_nr;
            [&write.journal, &write.persistence_id, &write.timestamp]
                .into_iter()
                .for_each(|text| texts.put(text));
        }
        TelemetryEvent::RemoteAssociation(association) => {
            numbers = [association.inbound_bytes, association.outbound_bytes];
            texts.put(&association.remote_address);
            texts.put(&association.state);
        }
        TelemetryEvent::StreamsGraphStarted { id, name } => {
            numbers[0] = *id;
            texts.put(name);
        }
        TelemetryEvent::StreamsGraphFinished { id } => numbers[0] = *id,
        TelemetryEvent::DDataUpdated { key } => texts.put(key),
        TelemetryEvent::Panicked(panic) => {
            numbers = [panic.seq, panic.tid.unwrap_or(0).into()];
            texts.put(&panic.location);
            texts.put(panic.thread.as_deref().unwrap_or_default());
            texts.put(panic.actor.as_deref().unwrap_or_default());
            if let Some(message) = &panic.message {
                flags |= event_flags::OPTIONAL;
                texts.put(message);
            }
        }
        TelemetryEvent::Own(own) => {
            numbers[0] = own.level as u64;
            type_id = intern(&own.topic);
            texts.put(if type_id == 0 { prefix(&own.topic, TOPIC_BYTES) } else { "" });
            texts.put(&own.text);
            // Only the application's struct has the bytes of its values.
            texts.cut |= own.record.is_some();
        }
        TelemetryEvent::LongPoll(poll) => {
            numbers = [poll.duration_ns, poll.tid.unwrap_or(0).into()];
            let class = poll.class.as_deref().unwrap_or_default();
            type_id = if class.is_empty() { 0 } else { intern(class) };
            texts.put(poll.actor.as_deref().unwrap_or_default());
            texts.put(poll.thread.as_deref().unwrap_or_default());
            texts.put(if type_id == 0 { class } else { "" });
            texts.put(poll.task.as_deref().unwrap_or_default());
        }
        TelemetryEvent::ClusterChanged(_) => {}
    }
    let cut = texts.cut;
    record.flags = flags | if cut { event_flags::TEXT_CUT } else { 0 };
    (record.numbers, record.type_id) = (numbers, type_id);
    emit(&record);
    cut
}

/// One entry of a membership change, with the number of its list.
enum Changed<'a> {
    Nothing,
    Member(u32, &'a ClusterMemberInfo),
    Address(u32, &'a str),
}

/// Emits one record for each entry of the change, at least one.
fn encode_change(
    change: &ClusterMembershipDiff,
    empty: EventRecord,
    mut emit: impl FnMut(&EventRecord),
) -> bool {
    let members = [(1, &change.added), (2, &change.updated)].into_iter();
    let members = members.flat_map(|(list, all)| all.iter().map(move |member| Changed::Member(list, member)));
    let addresses = [(3, &change.removed), (4, &change.became_unreachable), (5, &change.became_reachable)];
    let addresses = addresses.into_iter();
    let addresses =
        addresses.flat_map(|(list, all)| all.iter().map(move |text| Changed::Address(list, text)));
    let count = [&change.removed, &change.became_unreachable, &change.became_reachable];
    let count = change.added.len() + change.updated.len() + count.map(Vec::len).into_iter().sum::<usize>();
    let nothing = (count == 0).then_some(Changed::Nothing);
    // Entries beyond the greatest number of parts are dropped.
    let parts = u16::try_from(count.max(1)).unwrap_or(u16::MAX);
    let mut any_cut = count > usize::from(parts);
    for (part, changed) in (0..parts).zip(members.chain(addresses).chain(nothing)) {
        let record = EventRecord { part, parts, ..empty };
        let (record, cut) = encode_changed(&changed, record);
        any_cut |= cut;
        emit(&record);
    }
    any_cut
}

fn encode_changed(changed: &Changed<'_>, mut record: EventRecord) -> (EventRecord, bool) {
    let mut texts = Filling::of(&mut record);
    let (list, numbers, reachable) = match changed {
        Changed::Nothing => (0, [0; 2], false),
        Changed::Address(list, address) => {
            texts.put(address);
            (*list, [0; 2], false)
        }
        Changed::Member(list, member) => {
            texts.put(&member.address);
            texts.put(&member.status);
            // A record has five texts and a member any number of roles: line feeds separate the roles.
            texts.put("");
            for (at, role) in member.roles.iter().enumerate() {
                texts.append(if at > 0 { "\n" } else { "" });
                texts.append(role);
            }
            (*list, [member.up_number as u64, member.roles.len() as u64], member.reachable)
        }
    };
    let cut = texts.cut;
    record.numbers = numbers;
    record.flags |= list << event_flags::LIST_SHIFT
        | if reachable { event_flags::REACHABLE } else { 0 }
        | if cut { event_flags::TEXT_CUT } else { 0 };
    (record, cut)
}

/// One decoded record.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPart {
    /// The record's stamp.
    pub stamp: u64,
    /// Which part of its event it is.
    pub part: u16,
    /// How many parts the event has.
    pub parts: u16,
    /// The event, with the entries of this part only.
    pub event: TelemetryEvent,
}

/// Decodes a record; `None` if it holds what no writer stores. `name` returns an interned name, `time` the time of a stamp
/// as text, and `values` the name of a kind of records and what it makes of these bytes, if it is known.
pub fn decode(
    words: &[u64; EVENT_WORDS],
    mut name: impl FnMut(u32) -> String,
    mut time: impl FnMut(u64) -> String,
    mut values: impl FnMut(u64, &[u8]) -> Option<(String, Values)>,
) -> Option<EventPart> {
    let mut record = EventRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let kind = EventKind::ALL.into_iter().find(|kind| *kind as u16 == record.kind)?;
    if record.part >= record.parts {
        return None;
    }
    let has = |flag| record.flags & flag != 0;
    let mut rest = record.text.as_slice();
    let mut texts = [""; 5];
    let payload = record.payload();
    for (at, (text, bytes)) in texts.iter_mut().zip(record.texts()).enumerate() {
        let (this, after) = rest.split_at_checked(bytes as usize)?;
        rest = after;
        if at != 2 || payload.is_none() {
            *text = core::str::from_utf8(this).ok()?;
        }
    }
    let own = |at: usize| texts[at].to_owned();
    let known = |at: usize| Some(own(at)).filter(|text| !text.is_empty());
    let mut typed = |text: &str| if record.type_id == 0 { text.to_owned() } else { name(record.type_id) };
    let event = match kind {
        EventKind::ActorSpawned => {
            let path = texts[0];
            let parent_bytes = record.text_bytes[1] as usize;
            let parent = if !has(actor_flags::PARENT) {
                None
            } else if has(actor_flags::PARENT_IS_PREFIX) {
                let cut = if has(actor_flags::PATH_CUT) { PATH_CUT_MARK.len() + 32 } else { 0 };
                let kept = path.get(..path.len().checked_sub(cut)?)?;
                Some(match kept.get(..parent_bytes) {
                    Some(parent) => parent.to_owned(),
                    // The record does not hold the whole path of the parent; then the numbers are the parent's key.
                    None => format!("{kept}{PATH_CUT_MARK}{}", Key::from(record.numbers)),
                })
            } else {
                Some(own(1))
            };
            let spawned_at = if has(actor_flags::SPAWNED_TEXT) { own(3) } else { time(record.stamp) };
            let mailbox_depth = if has(actor_flags::PATH_CUT) { 0 } else { record.numbers[0] };
            TelemetryEvent::ActorSpawned(ActorStatus {
                path: path.to_owned(),
                parent,
                actor_type: typed(texts[2]),
                mailbox_depth,
                spawned_at,
                host: has(actor_flags::HOST).then(|| own(4)),
            })
        }
        EventKind::ActorStopped => TelemetryEvent::ActorStopped { path: own(0) },
        EventKind::MailboxSampled => {
            TelemetryEvent::MailboxSampled { path: own(0), depth: record.numbers[0] }
        }
        EventKind::DeadLetter => TelemetryEvent::DeadLetter(DeadLetterRecord {
            seq: record.numbers[0],
            recipient: own(0),
            sender: has(event_flags::OPTIONAL).then(|| own(1)),
            message_type: typed(texts[2]),
            message_preview: own(4),
            timestamp: if has(event_flags::TIME_TEXT) { own(3) } else { time(record.stamp) },
        }),
        EventKind::ClusterChanged => TelemetryEvent::ClusterChanged(decode_change(&record, &texts)?),
        EventKind::ShardingChanged => TelemetryEvent::ShardingChanged(ShardingEvent {
            region_id: own(0),
            shard_id: own(1),
            event: own(2),
        }),
        EventKind::JournalWrite => TelemetryEvent::JournalWrite(JournalWriteInfo {
            journal: own(0),
            persistence_id: own(1),
            sequence_nr: record.numbers[0],
            timestamp: if has(event_flags::TIME_TEXT) { own(2) } else { time(record.stamp) },
        }),
        EventKind::RemoteAssociation => TelemetryEvent::RemoteAssociation(RemoteAssociationInfo {
            remote_address: own(0),
            state: own(1),
            inbound_bytes: record.numbers[0],
            outbound_bytes: record.numbers[1],
        }),
        EventKind::StreamsGraphStarted => {
            TelemetryEvent::StreamsGraphStarted { id: record.numbers[0], name: own(0) }
        }
        EventKind::StreamsGraphFinished => TelemetryEvent::StreamsGraphFinished { id: record.numbers[0] },
        EventKind::DDataUpdated => TelemetryEvent::DDataUpdated { key: own(0) },
        EventKind::Panicked => TelemetryEvent::Panicked(PanicInfo {
            seq: record.numbers[0],
            tid: Some(record.numbers[1] as u32).filter(|tid| *tid != 0),
            thread: known(1),
            location: own(0),
            actor: known(2),
            message: has(event_flags::OPTIONAL).then(|| own(3)),
        }),
        EventKind::Own => {
            let level = Level::ALL.into_iter().find(|level| *level as u64 == record.numbers[0])?;
            let kind = record.numbers[1].checked_sub(1);
            let found = kind.zip(payload).map(|(kind, payload)| values(kind, payload));
            let unknown = || (NO_NAME.to_owned(), Values::default());
            let (kind, values) = found.map(|found| found.unwrap_or_else(unknown)).unzip();
            TelemetryEvent::Own(OwnEvent {
                topic: typed(texts[0]),
                level,
                text: own(1),
                record: kind,
                values: values.unwrap_or_default(),
            })
        }
        EventKind::LongPoll => TelemetryEvent::LongPoll(LongPollInfo {
            duration_ns: record.numbers[0],
            actor: known(0),
            class: Some(typed(texts[2])).filter(|class| !class.is_empty()),
            task: known(3),
            tid: Some(record.numbers[1] as u32).filter(|tid| *tid != 0),
            thread: known(1),
        }),
    };
    Some(EventPart { stamp: record.stamp, part: record.part, parts: record.parts, event })
}

fn decode_change(record: &EventRecord, texts: &[&str; 5]) -> Option<ClusterMembershipDiff> {
    let mut change = ClusterMembershipDiff {
        added: Vec::new(),
        updated: Vec::new(),
        removed: Vec::new(),
        became_unreachable: Vec::new(),
        became_reachable: Vec::new(),
    };
    let address = texts[0].to_owned();
    let member = || ClusterMemberInfo {
        address: texts[0].to_owned(),
        status: texts[1].to_owned(),
        roles: match record.numbers[1] {
            0 => Vec::new(),
            roles => texts[2].split('\n').take(roles.min(200) as usize).map(str::to_owned).collect(),
        },
        reachable: record.flags & event_flags::REACHABLE != 0,
        up_number: record.numbers[0] as i32,
    };
    match record.flags >> event_flags::LIST_SHIFT {
        0 => {}
        1 => change.added.push(member()),
        2 => change.updated.push(member()),
        3 => change.removed.push(address),
        4 => change.became_unreachable.push(address),
        5 => change.became_reachable.push(address),
        _ => return None,
    }
    Some(change)
}

impl EventPart {
    /// Whether `next` is the part of the same event that follows this one.
    pub fn is_continued_by(&self, next: &Self) -> bool {
        !self.is_whole() && (next.stamp, next.parts, next.part) == (self.stamp, self.parts, self.part + 1)
    }

    /// Adds the next part of the same event.
    pub fn join(&mut self, next: Self) {
        if let (TelemetryEvent::ClusterChanged(all), TelemetryEvent::ClusterChanged(more)) =
            (&mut self.event, next.event)
        {
            all.added.extend(more.added);
            all.updated.extend(more.updated);
            all.removed.extend(more.removed);
            all.became_unreachable.extend(more.became_unreachable);
            all.became_reachable.extend(more.became_reachable);
        }
        self.part = next.part;
    }

    /// Whether this is the last part, so that the event is complete.
    pub fn is_whole(&self) -> bool {
        self.part + 1 == self.parts
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn a_plain_event_is_written_as_any_other() {
        let texts = (0..=ACTOR_TEXT_BYTES + 1).map(|bytes| "é".repeat(bytes / 2) + &"x"[..bytes % 2]);
        let events = texts.flat_map(|text| {
            [
                TelemetryEvent::ActorStopped { path: text.clone() },
                TelemetryEvent::MailboxSampled { path: text.clone(), depth: 7 },
                TelemetryEvent::StreamsGraphStarted { id: 8, name: text.clone() },
                TelemetryEvent::StreamsGraphFinished { id: 9 },
                TelemetryEvent::DDataUpdated { key: text },
            ]
        });
        for event in events {
            let Some(plain) = Plain::of(&event) else {
                assert!(encode(&event, 5, |_| 0, |_| ()), "{event:?} would not have been cut");
                continue;
            };
            let words: Vec<AtomicU64> = (0..EVENT_WORDS).map(|_| AtomicU64::new(0)).collect();
            plain.store(5, &words);
            let written: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            let cut = encode(
                &event,
                5,
                |_| 0,
                |record| {
                    let words: &[u64; EVENT_WORDS] = zerocopy::transmute_ref!(record);
                    assert_eq!(written, words);
                },
            );
            assert!(!cut);
        }
    }

    #[test]
    fn a_head_has_the_words_that_a_record_begins_with() {
        let record = EventRecord {
            stamp: 1 << 60 | 7,
            type_id: 0x1234_5678,
            flags: 0x9abc_def0,
            text_bytes: [1, 2 << 8, 3, 4, 5 << 8],
            numbers: [u64::MAX, 9],
            ..EventRecord::new(EventKind::DeadLetter)
        };
        let EventRecord { stamp, type_id, flags, text_bytes, numbers, .. } = record;
        let head = EventHead { kind: EventKind::DeadLetter, stamp, type_id, flags, text_bytes, numbers };
        let words: [u64; EVENT_WORDS] = zerocopy::transmute!(record);
        assert_eq!(head.words().as_slice(), &words[..EVENT_HEAD_WORDS]);
    }
}
