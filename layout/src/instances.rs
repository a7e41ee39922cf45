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
//!   change:  find, pin, fence, check again, change, unpin          remove:  PLUS → BUSY, fence, wait for no pins, FREE
//! ```
//! Pins are private words of the writer. A thread with an [`Instance`] that no other thread removes needs no pin.
//!
//! ```
//! use atomscope_layout::instances::{Domain, InstanceRecord, Instances, journal};
//! use atomscope_layout::sync::{AtomicU64, Ordering};
//! use atomscope_layout::table::{Key, Table};
//! use atomscope_layout::view::WriterMemory;
//! use atomscope_layout::{Capacities, RegionMap};
//!
//! let map = RegionMap::for_capacities(&Capacities::LEAST)?;
//! let memory = WriterMemory::private(map.region_bytes).ok_or("not enough memory")?;
//! let (words, spill_used) = (memory.words(), AtomicU64::new(0));
//! let (control, slots) = (&words[map.instance_control.range()], &words[map.instance_slots.range()]);
//! let pins: Vec<AtomicU64> = control.iter().map(|_| AtomicU64::new(0)).collect();
//! let table = Table::new(control, slots, map.instance_slots.stride, &[], &spill_used);
//! let instances = Instances::new(table, &pins);
//!
//! let key = Key([1, 2]); // a hash of domain, owner and name
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
use crate::table::{Key, Put, Sign, Table};

pub use crate::domains::{
    Domain, Field, FieldKind, NUMBERS, association, graph, journal, key, lease, node_metric, persistence_id,
    shard, shard_region, worker,
};

/// Bytes of an instance's name that are kept.
pub const INSTANCE_TEXT_BYTES: usize = 192;
/// How often a removal checks the pins of a slot before it gives up.
const PIN_TRIES: u32 = if cfg!(atomscope_loom) { 1 } else { 64 };

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
    assert!(offset_of!(InstanceRecord, domain) == 40);
    assert!(offset_of!(InstanceRecord, counted_by) == 56);
    assert!(offset_of!(InstanceRecord, numbers) == 64);
    assert!(offset_of!(InstanceRecord, name) == 192);
};

impl InstanceRecord {
    /// A record with all numbers 0, and whether the name was too long and so was cut.
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
        self.table.standing(key).map(|(index, control)| Instance { index, control })
    }

    /// Makes an instance; `None` if the table is full. Only one thread at a time may call this, and only with a key that
    /// has no instance.
    pub fn make(&self, record: &InstanceRecord) -> Option<Instance> {
        let words: &[u64; INSTANCE_WORDS] = zerocopy::transmute_ref!(record);
        match self.table.put(Key(record.key), Sign::Plus, words) {
            Put::Slot => self.find(Key(record.key)),
            Put::Spilled | Put::Refused => None,
        }
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
        let Some(pin) = self.pins.get(index) else { return false };
        if !self.table.make_busy(index, control) {
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
        self.table.end_busy(index, control, unpinned);
        unpinned
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
