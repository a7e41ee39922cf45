//! Instances: one record for each thing of which a node has several: an association, a journal, a shard.
//!
//! They stand in a table like that of the actors ([`crate::table`]), known by a hash of their domain, owner and name.
//! Each has sixteen numbers that any thread may change at any time; what they are says its [`Domain`].
//!
//! Instances are made and removed by one thread at a time (a private lock of the writer's: neither is hot), and found
//! by any. Who changes numbers by name pins the slot meanwhile, so that what goes there belongs to nobody else:
//!
//! ```text
//!   changes:  find, pin, fence, look again, change, unpin          removes:  PLUS → BUSY, fence, wait for no pins, FREE
//! ```
//! Pins are the writer's private words. Who holds an [`Instance`] that nobody else removes needs no pin.

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::attached::Attachment;
use crate::metrics::Builtin;
use crate::names::put_text;
use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::table::{Key, Put, Sign, Table};

/// Numbers of an instance.
pub const NUMBERS: usize = 16;
/// Bytes of an instance's name that are kept.
pub const INSTANCE_TEXT_BYTES: usize = 192;
/// Looks at the pins of a slot that is to be freed, before that is put off.
const PIN_TRIES: u32 = if cfg!(atomscope_loom) { 1 } else { 64 };

/// What a number of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A counter: it only grows.
    Counter,
    /// A gauge: it rises and falls.
    Gauge,
    /// It is the number of an interned name; 0 = none.
    Name,
    /// It is the bits of a floating-point number.
    Float,
    /// 0 = unknown, 1 = no, 2 = yes.
    Flag,
}

/// One number of a domain's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its unit, in words; empty for names and flags.
    pub unit: &'static str,
    /// What it is.
    pub what: FieldKind,
}

macro_rules! domains {
    ($($(#[doc = $help:literal])+ $domain:ident = $number:literal, $name:literal, $module:ident, $unlisted:ident
        { $($(#[doc = $field_help:literal])+ $field:ident = $at:literal, $field_name:literal, $unit:literal, $what:ident;)* })+) => {
        /// What an instance is one of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Domain { $($(#[doc = $help])+ $domain = $number,)+ }

        impl Domain {
            /// All domains.
            pub const ALL: &[Self] = &[$(Self::$domain,)+];

            /// Its name, as it stands in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$domain => $name,)+ }
            }

            /// What each number of its instances is, by place; places that are not there are zero.
            pub fn fields(self) -> &'static [Field] {
                match self {
                    $(Self::$domain => &[$(Field { name: $field_name, unit: $unit, what: FieldKind::$what },)*],)+
                }
            }

            /// The metric that counts what found no room among its instances.
            pub fn unlisted(self) -> Builtin {
                match self { $(Self::$domain => Builtin::$unlisted,)+ }
            }
        }

        $(
            #[doc = concat!("Places of the numbers of a [`Domain::", stringify!($domain), "`].")]
            pub mod $module {
                $($(#[doc = $field_help])+ pub const $field: usize = $at;)*
            }
        )+

        const _: () = {
            $(
                let mut next = 0;
                $(assert!($at == next && $at < NUMBERS); next += 1;)*
                let _ = next;
            )+
        };
    };
}

domains! {
    /// A connection to another node; its name is the remote address.
    Association = 1, "associations", association, AssociationsUnlisted {
        /// How it is.
        STATE = 0, "state", "", Name;
        /// Bytes received.
        BYTES_IN = 1, "inbound_bytes", "bytes", Counter;
        /// Bytes sent.
        BYTES_OUT = 2, "outbound_bytes", "bytes", Counter;
        /// Messages received.
        MESSAGES_IN = 3, "inbound_messages", "messages", Counter;
        /// Messages sent.
        MESSAGES_OUT = 4, "outbound_messages", "messages", Counter;
        /// Failures of the transport.
        ERRORS = 5, "errors", "errors", Counter;
        /// Whether the failure detector takes the other side for available.
        AVAILABLE = 6, "available", "", Flag;
        /// Whether the other side is quarantined.
        QUARANTINED = 7, "quarantined", "", Flag;
        /// Attempts at the connection since it was connected last.
        ATTEMPTS = 8, "attempts", "attempts", Gauge;
    }
    /// A running stream.
    Graph = 2, "graphs", graph, GraphsUnlisted {
        /// Its number.
        ID = 0, "id", "", Gauge;
        /// Elements that passed.
        ELEMENTS = 1, "elements", "elements", Counter;
    }
    /// A journal.
    Journal = 3, "journals", journal, JournalsUnlisted {
        /// Events written.
        EVENTS = 0, "events", "events", Counter;
        /// Writes that ended, well or not.
        WRITES = 1, "writes", "writes", Counter;
        /// Of those, writes that failed. What the journal wrote of them nobody knows, and none of it is counted.
        FAILURES = 2, "failures", "writes", Counter;
        /// Replays that ended, well or not.
        REPLAYS = 3, "replays", "replays", Counter;
        /// Events replayed.
        REPLAYED = 4, "replayed_events", "events", Counter;
        /// Of those, replays that failed.
        REPLAY_FAILURES = 5, "replay_failures", "replays", Counter;
        /// Deletions.
        DELETES = 6, "deletes", "deletions", Counter;
        /// Events of persistence ids that have no record of their own.
        UNLISTED_EVENTS = 7, "unlisted_events", "events", Counter;
        /// Persistence ids whose record gave way to more active ones.
        ROLLED_UP = 8, "rolled_up_ids", "ids", Counter;
        /// 1 + the number of the histogram of the time that its writes took, 0 = none.
        LATENCY = 9, "latency_histogram", "", Gauge;
        /// Writes and replays whose caller went away, or that panicked, before they ended.
        GIVEN_UP = 10, "given_up", "calls", Counter;
    }
    /// A persistence id; its owner is its journal.
    PersistenceId = 4, "persistence_ids", persistence_id, PersistenceIdsUnlisted {
        /// The highest sequence number written or replayed.
        HIGHEST = 0, "highest_sequence_nr", "", Gauge;
        /// Events written since it is listed.
        EVENTS = 1, "event_count", "events", Counter;
    }
    /// A shard region.
    ShardRegion = 5, "shard_regions", shard_region, ShardRegionsUnlisted {
        /// Messages that its entities were given.
        MESSAGES = 0, "messages", "messages", Counter;
        /// Shards here.
        SHARDS = 1, "shards", "shards", Gauge;
        /// Different entities that were given messages here.
        ENTITIES_STARTED = 2, "entities_started", "entities", Counter;
        /// Messages forwarded to another region.
        FORWARDED = 3, "forwarded", "messages", Counter;
        /// Entities passivated.
        PASSIVATED = 4, "passivated", "entities", Counter;
        /// Messages that came to it, whosever they were. What was neither given to an entity nor forwarded was dropped.
        RECEIVED = 5, "received", "messages", Counter;
        /// Entities that its passivation trackers follow.
        ACTIVE = 6, "active_entities", "entities", Gauge;
        /// Messages of entities for which there was no room among the counted ones. Unless 0, there are more entities.
        UNCOUNTED = 7, "uncounted_messages", "messages", Counter;
    }
    /// A shard; its owner is its region, which need not be the one that has it.
    Shard = 6, "shards", shard, ShardsUnlisted {
        /// Messages that its entities were given here.
        MESSAGES = 0, "messages", "messages", Counter;
        /// Different entities that were given messages here.
        ENTITIES = 1, "entities", "entities", Gauge;
        /// State of its hand-off, if there is one.
        HAND_OFF = 2, "hand_off", "", Name;
        /// Messages for it that came to the region.
        RECEIVED = 3, "received", "messages", Counter;
        /// Messages of entities for which there was no room among the counted ones. Unless 0, there are more entities.
        UNCOUNTED = 4, "uncounted_messages", "messages", Counter;
        /// Entities for which its hand-off waits.
        REMAINING = 5, "remaining_entities", "entities", Gauge;
    }
    /// A key of the distributed data.
    Key = 7, "keys", key, KeysUnlisted {
        /// Updates.
        UPDATES = 0, "updates", "updates", Counter;
        /// Subscribers.
        SUBSCRIBERS = 1, "subscribers", "subscribers", Gauge;
    }
    /// A lease.
    Lease = 8, "leases", lease, LeasesUnlisted {
        /// Who holds it, as far as this node knows.
        HOLDER = 0, "holder", "", Name;
        /// Times it was acquired here.
        ACQUIRED = 1, "acquired", "times", Counter;
        /// Times it was denied here.
        DENIED = 2, "denied", "times", Counter;
        /// Times it was lost here.
        LOST = 3, "lost", "times", Counter;
        /// Times it was released here.
        RELEASED = 4, "released", "times", Counter;
        /// Whether it is held here.
        HELD = 5, "held", "", Flag;
        /// Times it was acquired here by who held it already.
        RENEWED = 6, "renewed", "times", Counter;
    }
    /// A worker thread of the async runtime.
    Worker = 9, "workers", worker, WorkersUnlisted {
        /// Time spent on tasks.
        BUSY_NS = 0, "busy_ns", "nanoseconds", Counter;
        /// Times it went to sleep.
        PARKS = 1, "parks", "times", Counter;
    }
    /// A metric of a cluster node, `address metric`.
    NodeMetric = 10, "node_metrics", node_metric, NodeMetricsUnlisted {
        /// The last value.
        VALUE = 0, "value", "", Float;
        /// Samples so far.
        SAMPLES = 1, "samples", "samples", Counter;
        /// The time that the node gave its last sample, in a unit of its own.
        TIMESTAMP = 2, "timestamp", "", Gauge;
    }
}

impl Domain {
    /// The domain with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|domain| *domain as u16 == number)
    }
}

/// An instance.
///
/// ```text
///  byte 0      16          32      40       42           44     56           64        192        384
///       │ key  │ owner key │ since │ domain │ name bytes │ zero │ counted by │ numbers │ name     │
///       │ 16   │ 16        │ 8     │ 2      │ 2          │ 12   │ 8          │ 16 × 8  │ 192      │
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InstanceRecord {
    /// Hash of domain, owner and name.
    pub key: [u64; 2],
    /// Key of the instance that it belongs to, or 0.
    pub owner: [u64; 2],
    /// Stamp of when it was made.
    pub since: u64,
    /// [`Domain`].
    pub domain: u16,
    /// Bytes of the name.
    pub name_bytes: u16,
    /// Zero.
    pub reserved: [u32; 3],
    /// Bits of the attachments that were made for it alone; see [`crate::attached`]. Before the numbers, so that who reads
    /// the words in order never takes a number for counted that was not yet.
    pub counted_by: u64,
    /// The numbers; see [`Domain::fields`].
    pub numbers: [u64; NUMBERS],
    /// The name.
    pub name: [u8; INSTANCE_TEXT_BYTES],
}

/// Words of an [`InstanceRecord`].
pub const INSTANCE_WORDS: usize = size_of::<InstanceRecord>() / 8;
const COUNTED_BY_WORD: usize = offset_of!(InstanceRecord, counted_by) / 8;
const NUMBERS_WORD: usize = offset_of!(InstanceRecord, numbers) / 8;

const _: () = {
    assert!(size_of::<InstanceRecord>() == 384);
    assert!(offset_of!(InstanceRecord, since) == 8 * crate::table::STAMP_WORD);
    assert!(offset_of!(InstanceRecord, domain) == 40);
    assert!(offset_of!(InstanceRecord, counted_by) == 56);
    assert!(offset_of!(InstanceRecord, numbers) == 64);
    assert!(offset_of!(InstanceRecord, name) == 192);
};

impl InstanceRecord {
    /// A record with all numbers 0; the name is cut where it is too long, and the answer says whether it was.
    pub fn new(key: Key, owner: Option<Key>, since: u64, domain: Domain, name: &str) -> (Self, bool) {
        let mut record = Self::new_zeroed();
        record.key = key.0;
        record.owner = owner.map_or([0; 2], |owner| owner.0);
        record.since = since;
        record.domain = domain as u16;
        let (bytes, cut) = put_text(&mut record.name, INSTANCE_TEXT_BYTES, name);
        record.name_bytes = bytes as u16;
        (record, cut)
    }
}

/// A slot with its tenant: valid until that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    index: usize,
    control: u64,
}

/// The instances of one region, for its writers.
#[derive(Debug, Clone, Copy)]
pub struct Instances<'a> {
    table: Table<'a>,
    pins: &'a [AtomicU64],
}

impl<'a> Instances<'a> {
    /// The instances of this table; `pins` holds a private word for each slot.
    pub fn new(table: Table<'a>, pins: &'a [AtomicU64]) -> Self {
        Self { table, pins }
    }

    /// The instance of this key. Wait-free.
    pub fn find(&self, key: Key) -> Option<Instance> {
        self.table.standing(key).map(|(index, control)| Instance { index, control })
    }

    /// Makes an instance. Only one thread at a time, and only of a key of which there is none. `None` without room.
    pub fn make(&self, record: &InstanceRecord) -> Option<Instance> {
        let words: &[u64; INSTANCE_WORDS] = zerocopy::transmute_ref!(record);
        match self.table.put(Key(record.key), Sign::Plus, words) {
            Put::Slot => self.find(Key(record.key)),
            Put::Spilled | Put::Refused => None,
        }
    }

    /// The numbers of an instance that nobody else removes meanwhile.
    pub fn numbers(&self, instance: Instance) -> &'a [AtomicU64] {
        self.table.slot(instance.index).get(NUMBERS_WORD..NUMBERS_WORD + NUMBERS).unwrap_or_default()
    }

    /// Notes that `attachment` was made for an instance that nobody else removes meanwhile. Wait-free.
    pub fn attach(&self, instance: Instance, attachment: Attachment) {
        if let Some(word) = self.table.slot(instance.index).get(COUNTED_BY_WORD) {
            word.fetch_or(attachment.bit(), Ordering::Release);
        }
    }

    /// Has `work` change the numbers of the instance of this key; `None` if there is none. Wait-free but for `work`.
    pub fn with<T>(&self, key: Key, work: impl FnOnce(&[AtomicU64]) -> T) -> Option<T> {
        let instance = self.find(key)?;
        let pin = self.pins.get(instance.index)?;
        pin.fetch_add(1, Ordering::Relaxed);
        // Either the remover sees the pin, or this sees that it removes.
        fence(Ordering::SeqCst);
        let stands = self.table.stands(instance.index, instance.control);
        let done = stands.then(|| work(self.numbers(instance)));
        pin.fetch_sub(1, Ordering::Release);
        done
    }

    /// Removes an instance, after `last` has seen its numbers, which nobody else changes any more. Only one thread at a
    /// time. False if it could not be done, since it is gone or somebody has kept it pinned all the time; then it stands
    /// as before.
    pub fn remove(&self, instance: Instance, last: impl FnOnce(&[AtomicU64])) -> bool {
        let Instance { index, control } = instance;
        let Some(pin) = self.pins.get(index) else { return false };
        if !self.table.take_in_hand(index, control) {
            return false;
        }
        fence(Ordering::SeqCst);
        let mut unpinned = false;
        for attempt in 0..PIN_TRIES {
            unpinned = pin.load(Ordering::Acquire) == 0;
            if unpinned {
                break;
            }
            pause(attempt);
        }
        if unpinned {
            last(self.numbers(instance));
        }
        self.table.let_go(index, control, unpinned);
        unpinned
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
