//! How a region is copied while its node writes to it.
//!
//! A record that one word guards (of an actor, a cell, an instance, a thread, a dead letter, a panic or an event, one of the
//! application's own, the log of clock samples) is copied between two equal reads of that word. After a few failures the copy marks the record as unreadable. Heads of rings are
//! copied before their slots and ready words before their texts. Of the slots of actors and instances only those are copied
//! that were ever taken.
//!
//! So a copy holds no torn record, and the copy of a dead node's region equals the region. The node writes during the copy,
//! so an event of the last microseconds may be there without its cause in another lane.

use std::ops::Range;

use atomscope_layout::cells;
use atomscope_layout::event::EVENT_SLOT_BYTES;
use atomscope_layout::region::{RegionMap, Section, header};
use atomscope_layout::ring::SLOT_HEAD_WORDS;
use atomscope_layout::seqlock::{Patience, READ_TRIES};
use atomscope_layout::sync::{AtomicU64, Ordering, fence};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, Words};
use atomscope_layout::{table, threads};

/// The kind of a word that guards a record.
struct Guard {
    /// Whether a writer changes the record while the guard has this value.
    is_being_written: fn(u64) -> bool,
    /// The value in the copy if the record could not be copied whole.
    torn: fn(u64) -> u64,
}

/// The sequence of a cell or of a slot of a ring.
const SEQUENCE: Guard =
    Guard { is_being_written: |sequence| sequence & 1 != 0, torn: |sequence| sequence.saturating_sub(1) | 1 };
/// The control word of a slot.
const CONTROL: Guard = Guard { is_being_written: table::is_busy, torn: table::busy };
/// The flips of a document. A document that is replaced during every attempt is copied as an empty one.
const FLIPS: Guard = Guard { is_being_written: |_| false, torn: |_| 0 };

/// The identity of a cell. A cell that is given to another actor meanwhile is copied as a free one.
const IDENTITY: Guard = Guard { is_being_written: |_| false, torn: cells::freed };

/// The identity of a thread's slot. One that is given to another thread meanwhile is copied as one that is being claimed.
const THREAD: Guard = Guard { is_being_written: threads::is_being_claimed, torn: |_| threads::CLAIMING };

/// A copy in progress: each word goes to the same index.
struct Copying<'a> {
    from: Words<'a>,
    to: &'a [AtomicU64],
}

/// Copies the region `from`, which has this map.
pub(crate) fn copy(from: Words<'_>, map: &RegionMap) -> WriterMemory {
    let memory = WriterMemory::private(map.region_bytes)
        .unwrap_or_else(|| std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>()));
    let copying = Copying { from, to: memory.words() };
    let metrics = || map.metrics.range().step_by(map.metrics.stride);
    let described: Vec<u64> = metrics().map(|slot| from.load(slot)).collect();
    fence(Ordering::Acquire);
    outside_of_slots(map).into_iter().for_each(|range| copying.range(range));
    fence(Ordering::Acquire);
    // The texts again: those whose ready words were copied above are complete only from here on. So are the counts and stamps
    // of failures, which may grow.
    for cell in [header::NODE, header::SYSTEM, header::PROGRAM, header::WRITER] {
        copying.range(cell.start + 1..cell.end);
    }
    for section in [map.names, map.metrics, map.failures, map.variants, map.kinds, map.fields] {
        for start in section.range().step_by(section.stride) {
            copying.range(start + 1..start + section.stride);
        }
    }
    // A metric whose slot was given to another one meanwhile may have values of both.
    fence(Ordering::Acquire);
    for (slot, before) in metrics().zip(described) {
        copying.set(slot, if from.load(slot) == before { before } else { 0 });
    }
    copying.guarded(header::END, &SEQUENCE, &mut Patience::for_a_scan());
    copying.slots(map.actors, header::ACTORS_USED);
    copying.slots(map.instances, header::INSTANCES_USED);
    copying.all_guarded(map.cells, &IDENTITY);
    copying.all_guarded(map.threads, &THREAD);
    copying.all_guarded(map.documents, &FLIPS);
    copying.all_guarded(map.records, &SEQUENCE);
    copying.rings(map);
    // After all records, so that no stamp in the copy lacks its clock sample.
    copying.log(map.clock_samples);
    memory
}

/// The words that are in no slot of an actor or instance. Sections may be in any order.
fn outside_of_slots(map: &RegionMap) -> [Range<usize>; 3] {
    let mut slots = [map.actors.range(), map.instances.range()];
    slots.sort_by_key(|range| range.start);
    let [first, second] = slots;
    [0..first.start, first.end..second.start, second.end..map.region_bytes / WORD]
}

impl Copying<'_> {
    fn range(&self, range: Range<usize>) {
        for at in range {
            self.set(at, self.from.load(at));
        }
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.to.get(at) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Copies a record, whose first word is its guard, between two equal reads of the guard.
    fn guarded(&self, record: Range<usize>, guard: &Guard, patience: &mut Patience) {
        let Range { start, end } = record;
        for attempt in 0..READ_TRIES {
            let before = self.from.load(start);
            fence(Ordering::Acquire);
            self.range(start + 1..end);
            fence(Ordering::Acquire);
            if self.from.load(start) == before && !(guard.is_being_written)(before) {
                return self.set(start, before);
            }
            if !patience.again(attempt) {
                break;
            }
        }
        self.set(start, (guard.torn)(self.from.load(start)));
    }

    /// `used` is the word of the header with the number of slots that were ever taken.
    fn slots(&self, section: Section, used: usize) {
        let number = self.from.load(used);
        self.set(used, number);
        let mut patience = Patience::for_a_scan();
        for slot in records(taken(section, number)) {
            self.guarded(slot, &CONTROL, &mut patience);
        }
    }

    fn all_guarded(&self, section: Section, guard: &Guard) {
        let mut patience = Patience::for_a_scan();
        for record in records(section) {
            self.guarded(record, guard, &mut patience);
        }
    }

    fn log(&self, section: Section) {
        if !section.is_empty() {
            self.guarded(section.range(), &SEQUENCE, &mut Patience::for_a_scan());
        }
    }

    fn rings(&self, map: &RegionMap) {
        let rings = rings(map);
        for ring in &rings {
            self.set(ring.head, self.from.load(ring.head));
        }
        fence(Ordering::Acquire);
        let mut patience = Patience::for_a_scan();
        for ring in rings {
            for slot in records(ring.slots) {
                debug_assert!(slot.start > ring.head);
                self.guarded(slot, &SEQUENCE, &mut patience);
            }
        }
    }
}

/// A ring of a region.
pub(crate) struct RingAt {
    /// The kind of its records.
    pub(crate) of: RingOf,
    /// The index of its head word.
    pub(crate) head: usize,
    /// Its slots.
    pub(crate) slots: Section,
}

/// The kinds of records in rings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RingOf {
    DeadLetters,
    Events,
    JournalWrites,
    Panics,
}

/// All rings of a region.
pub(crate) fn rings(map: &RegionMap) -> Vec<RingAt> {
    let ring = |of, start: usize, slots: usize, stride: usize| {
        debug_assert!(stride == 0 || stride > SLOT_HEAD_WORDS);
        let slots = Section { start: start + stride, count: slots.saturating_sub(1), stride };
        RingAt { of, head: start, slots }
    };
    let of_section = |of, section: Section| {
        (!section.is_empty()).then(|| ring(of, section.start, section.count, section.stride))
    };
    let slot_words = EVENT_SLOT_BYTES / WORD;
    let lanes = (0..map.events.count).map(|lane| {
        let start = map.events.start + lane * map.events.stride;
        ring(RingOf::Events, start, map.events.stride / slot_words, slot_words)
    });
    let letters = of_section(RingOf::DeadLetters, map.dead_letters);
    let writes = of_section(RingOf::JournalWrites, map.journal_writes);
    let panics = of_section(RingOf::Panics, map.panics);
    letters.into_iter().chain(writes).chain(panics).chain(lanes).collect()
}

/// The slots of a section that were ever taken, of which the header says that they are `used`.
pub(crate) fn taken(section: Section, used: u64) -> Section {
    Section { count: usize::try_from(used).unwrap_or(usize::MAX).min(section.count), ..section }
}

/// The word ranges of the records of a section.
pub(crate) fn records(section: Section) -> impl Iterator<Item = Range<usize>> {
    section.range().step_by(section.stride.max(1)).map(move |start| start..start + section.stride)
}
