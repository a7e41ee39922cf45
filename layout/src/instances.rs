//! Instances: one record for each association, journal, shard and so on.
//!
//! They are in a table like that of the actors ([`crate::table`]), under a hash of their domain, owner and name. Each has
//! sixteen numbers that any thread may change at any time; its [`Domain`] says what they mean.
//!
//! One thread at a time makes and removes instances (neither is hot, so the writer uses a private lock). Any thread may
//! find them. A thread that changes numbers of an instance found by key pins the slot, so that the slot cannot get
//! another tenant before the change is done:
//!
//! ```text
//!   change:  find, pin, fence, check again, change, unpin          remove:  LIVE → BUSY, fence, wait for no pins, FREE
//! ```
//! Pins are private words of the writer. A thread with an [`Instance`] that no other thread removes needs no pin.
//!
//! ```
//! use atomscope_layout::table::{Key, Shape, Table};
//! use atomscope_layout::instances::{Domain, InstanceRecord, Instances, journal};
//! use atomscope_layout::sync::{AtomicU64, Ordering};
//! use atomscope_layout::view::WriterMemory;
//! use atomscope_layout::{Capacities, RegionMap};
//!
//! let map = RegionMap::for_capacities(&Capacities::LEAST)?;
//! let memory = WriterMemory::private(map.region_bytes).ok_or("not enough memory")?;
//!
//! // No thread takes slots through a lane: instances are made rarely.
//! let shape = Shape { slots: map.instances.count, stride: map.instances.stride, lanes: 0, hot_lines: 16 };
//! let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
//! let (private, pins, used) = (words(shape.private_words()), words(shape.slots), AtomicU64::new(0));
//! let table = Table::new(shape, &memory.words()[map.instances.range()], &used, &private);
//! let instances = Instances::new(table, &pins);
//!
//! let key = Key(1, 2); // a hash of domain, owner and name
//! let (record, _cut) = InstanceRecord::new(key, None, 0, Domain::Journal, "orders");
//! instances.make(&record).ok_or("the table is full")?;
//! instances.with(key, |numbers| numbers[journal::EVENTS].fetch_add(3, Ordering::Relaxed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::mem::offset_of;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::attached::Attachment;
use crate::names::put_text;
use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::table::{Key, Spawned, Table, Unwatched};
use crate::words;

pub use crate::domains::{
    Domain, Field, FieldKind, NUMBERS, association, graph, journal, key, lease, node_metric, persistence_id,
    shard, shard_region, worker,
};

/// The name of the metrics that are the histograms of write latency of journals, one for each of them.
pub const JOURNAL_LATENCY_METRIC: &str = "persistence.write_latency";

/// Bytes of an instance's name that are kept.
pub const INSTANCE_TEXT_BYTES: usize = 192;
/// The lane of a thread that takes no slots through one.
const NO_LANE: usize = 0;
/// How often a removal checks the pins of a slot before it gives up.
const PIN_TRIES: u32 = if cfg!(atomscope_loom) { 1 } else { 64 };

/// An instance.
///
/// ```text
///  byte 0         8     24      32       34           36     40          56           64        192    384
///       │ control │ key │ since │ domain │ name bytes │ zero │ owner key │ counted by │ numbers │ name │
///       │ 8       │ 16  │ 8     │ 2      │ 2          │ 4    │ 16        │ 8          │ 16 × 8  │ 192  │
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InstanceRecord {
    /// The control word of its slot.
    pub control: u64,
    /// Hash of domain, owner and name.
    pub key: [u64; 2],
    /// Stamp of when it was made.
    pub since: u64,
    /// [`Domain`].
    pub domain: u16,
    /// Bytes of the name.
    pub name_bytes: u16,
    /// Zero.
    pub reserved: u32,
    /// Key of the instance that it belongs to, or 0.
    pub owner: [u64; 2],
    /// Bits of the attachments that were made for this instance alone; see [`crate::attached`]. They come before the
    /// numbers, so that a reader that loads the words in order never takes a number as counted too early.
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
    assert!(offset_of!(InstanceRecord, domain) == 32);
    assert!(offset_of!(InstanceRecord, owner) == 40);
    assert!(offset_of!(InstanceRecord, counted_by) == 56);
    assert!(offset_of!(InstanceRecord, numbers) == 64);
    assert!(offset_of!(InstanceRecord, name) == 192);
};

impl InstanceRecord {
    /// A record with all numbers 0, and whether the name was too long and so was cut.
    pub fn new(key: Key, owner: Option<Key>, since: u64, domain: Domain, name: &str) -> (Self, bool) {
        let mut record = Self::new_zeroed();
        record.key = key.words();
        record.owner = owner.map_or([0; 2], Key::words);
        record.since = since;
        record.domain = domain as u16;
        let (bytes, cut) = put_text(&mut record.name, INSTANCE_TEXT_BYTES, name);
        record.name_bytes = bytes as u16;
        (record, cut)
    }
}

/// The slot of an instance: valid until the instance is removed.
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
        self.table.find(key).map(|(index, control)| Instance { index, control })
    }

    /// Makes an instance; `None` if the table is full. Only one thread at a time may call this, and only with a key that
    /// has no instance.
    pub fn make(&self, record: &InstanceRecord) -> Option<Instance> {
        let [_, words @ ..]: &[u64; INSTANCE_WORDS] = zerocopy::transmute_ref!(record);
        let key = Key::from(record.key);
        let write = |slot: &[AtomicU64]| {
            if let Some((_control, slot)) = slot.split_first() {
                words::store(slot, words);
            }
        };
        match self.table.spawn(NO_LANE, key, write, &Unwatched) {
            Spawned::Stands => return self.find(key),
            Spawned::Spilled => {
                // An instance without a record is of no use.
                let _ = self.table.stop(NO_LANE, key, |_| (), &Unwatched);
            }
            Spawned::Stopped(_) | Spawned::Refused => {}
        }
        None
    }

    /// The numbers of an instance that no other thread removes at the same time.
    pub fn numbers(&self, instance: Instance) -> &'a [AtomicU64] {
        self.table.slot(instance.index).get(NUMBERS_WORD..NUMBERS_WORD + NUMBERS).unwrap_or_default()
    }

    /// Records that `attachment` was made for an instance that no other thread removes at the same time. Wait-free.
    pub fn attach(&self, instance: Instance, attachment: Attachment) {
        if let Some(word) = self.table.slot(instance.index).get(COUNTED_BY_WORD) {
            word.fetch_or(attachment.bit(), Ordering::Release);
        }
    }

    /// Calls `work` with the numbers of the instance of this key; `None` if there is none. Wait-free except for `work`.
    pub fn with<T>(&self, key: Key, work: impl FnOnce(&[AtomicU64]) -> T) -> Option<T> {
        let instance = self.find(key)?;
        let pin = self.pins.get(instance.index)?;
        pin.fetch_add(1, Ordering::Relaxed);
        // Either the remover sees this pin, or this thread sees that the slot is BUSY.
        fence(Ordering::SeqCst);
        let stands = self.table.stands(instance.index, instance.control);
        let done = stands.then(|| work(self.numbers(instance)));
        pin.fetch_sub(1, Ordering::Release);
        done
    }

    /// Removes an instance. `last` is called with the final numbers, which no thread changes any more. Only one thread at
    /// a time may call this. Returns false if the instance is gone, or if another thread kept it pinned all the time; a
    /// pinned instance stays as it was.
    pub fn remove(&self, instance: Instance, last: impl FnOnce(&[AtomicU64])) -> bool {
        let Instance { index, control } = instance;
        let (Some(pin), [_, first, second, ..]) = (self.pins.get(index), self.table.slot(index)) else {
            return false;
        };
        let key = Key(first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
        self.table.stands(index, control)
            && self.table.remove(NO_LANE, key, |_| {
                // The slot is BUSY by now.
                fence(Ordering::SeqCst);
                let is_unpinned = Self::waits_for_no_pins(pin);
                if is_unpinned {
                    last(self.numbers(instance));
                }
                is_unpinned
            })
    }

    fn waits_for_no_pins(pin: &AtomicU64) -> bool {
        for attempt in 0..PIN_TRIES {
            if pin.load(Ordering::Acquire) == 0 {
                return true;
            }
            pause(attempt);
        }
        false
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::table::Shape;
    use crate::table::at_rest::Memory;

    #[test]
    fn as_many_instances_as_there_are_slots_are_made_and_each_slot_is_used_again() {
        const SLOTS: usize = 40;
        let memory = Memory::new(Shape { slots: SLOTS, stride: INSTANCE_WORDS, lanes: 0, hot_lines: 16 });
        let pins: Vec<_> = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let instances = Instances::new(memory.table(), &pins);
        let record = |number: usize| {
            let key = Key((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), 1);
            InstanceRecord::new(key, None, 1, Domain::Key, "").0
        };
        for round in 0..3 {
            for number in 0..2 * SLOTS {
                let made = instances.make(&record(number));
                assert_eq!(made.is_some(), number < SLOTS, "number {number}");
                assert_eq!(instances.find(Key::from(record(number).key)), made);
            }
            memory.table().assert_whole();
            for number in 0..SLOTS {
                let key = Key::from(record(number).key);
                let add = |numbers: &[AtomicU64]| numbers[3].fetch_add(7, Ordering::Relaxed);
                assert_eq!(instances.with(key, add), Some(0), "numbers of round {round} are new");
                let instance = instances.find(key).unwrap();
                pins[instance.index].store(1, Ordering::Relaxed);
                assert!(!instances.remove(instance, |_| panic!("it is pinned")));
                pins[instance.index].store(0, Ordering::Relaxed);
                assert_eq!(instances.find(key), Some(instance), "a pinned instance stays as it was");
                let mut last = 0;
                assert!(instances.remove(instance, |numbers| last = numbers[3].load(Ordering::Relaxed)));
                assert_eq!((last, instances.find(key)), (7, None));
                assert!(!instances.remove(instance, |_| panic!("it is gone")));
            }
            memory.table().assert_whole();
        }
    }
}
