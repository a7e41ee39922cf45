//! How a region is copied while its node writes to it.
//!
//! A record that one word guards (of an actor, a dead letter or an event, the clock, the log of clock samples) is copied
//! between two equal reads of that word. After a few failures the copy marks the record as unreadable. Heads of rings are
//! copied before their slots and ready words before their texts, and the actor table is copied again if the sampler was
//! settling it.
//!
//! So a copy holds no torn record, and the copy of a dead node's region equals the region. The node writes during the copy,
//! so an event of the last microseconds may be there without its cause in another lane.

use atomscope_layout::event::EVENT_SLOT_BYTES;
use atomscope_layout::region::{RegionMap, Section, header};
use atomscope_layout::ring::SLOT_HEAD_WORDS;
use atomscope_layout::seqlock::{Patience, READ_TRIES};
use atomscope_layout::sync::{AtomicU64, Ordering, fence, pause};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, Words};

/// A control word in a state that no writer uses: readers count its slot as unreadable.
pub(crate) const UNREADABLE: u64 = u64::MAX;

/// Limit of passes over an actor table that is being settled.
const SETTLING_TRIES: u32 = 8;

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
    copying.range(0..memory.words().len());
    fence(Ordering::Acquire);
    // The texts again: those whose ready words were copied above are complete only from here on.
    for cell in [header::NODE, header::SYSTEM, header::PROGRAM, header::WRITER] {
        copying.range(cell.start + 1..cell.end);
    }
    for section in [map.names, map.metrics] {
        for start in section.range().step_by(section.stride) {
            copying.range(start + 1..start + section.stride);
        }
    }
    let clock = header::CLOCK;
    copying.guarded(clock.start, clock.start + 1..clock.end, being_written, &mut Patience::for_a_scan());
    copying.actors(map);
    copying.table(map.instance_control, map.instance_slots);
    copying.documents(map);
    copying.rings(map);
    // After all records and the header's clock, so that no stamp in the copy lacks its clock sample.
    copying.log(map.sightings);
    memory
}

/// The sequence of a cell or slot that its writer is changing.
fn being_written(sequence: u64) -> u64 {
    sequence.saturating_sub(1) | 1
}

impl Copying<'_> {
    fn range(&self, range: std::ops::Range<usize>) {
        for at in range {
            self.set(at, self.from.load(at));
        }
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.to.get(at) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Copies `range` between two equal reads of the word `guard`. If they never are equal, `torn` gives the value of the
    /// guard in the copy.
    fn guarded(
        &self,
        guard: usize,
        range: std::ops::Range<usize>,
        torn: impl Fn(u64) -> u64,
        patience: &mut Patience,
    ) {
        for attempt in 0..READ_TRIES {
            let before = self.from.load(guard);
            fence(Ordering::Acquire);
            self.range(range.clone());
            fence(Ordering::Acquire);
            if self.from.load(guard) == before {
                return self.set(guard, before);
            }
            if !patience.again(attempt) {
                break;
            }
        }
        self.set(guard, torn(self.from.load(guard)));
    }

    fn table(&self, control: Section, slots: Section) {
        let mut patience = Patience::for_a_scan();
        for (guard, slot) in control.range().zip(records(slots)) {
            self.guarded(guard, slot, |_| UNREADABLE, &mut patience);
        }
    }

    /// A document that is replaced during every attempt is copied as an empty one.
    fn documents(&self, map: &RegionMap) {
        let mut patience = Patience::for_a_scan();
        for document in records(map.documents) {
            self.guarded(document.start, document.start + 1..document.end, |_| 0, &mut patience);
        }
    }

    fn actors(&self, map: &RegionMap) {
        for attempt in 0..SETTLING_TRIES {
            let before = self.from.load(header::SETTLING);
            fence(Ordering::Acquire);
            self.table(map.actor_control, map.actor_slots);
            self.range(map.actor_spill.range());
            fence(Ordering::Acquire);
            self.set(header::SETTLING, before);
            if before & 1 == 0 && self.from.load(header::SETTLING) == before {
                return;
            }
            (0..READ_TRIES).for_each(|_| pause(attempt));
        }
    }

    fn log(&self, section: Section) {
        let Section { start, .. } = section;
        if !section.is_empty() {
            let rows = start + 1..section.range().end;
            self.guarded(start, rows, being_written, &mut Patience::for_a_scan());
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
                self.guarded(slot.start, slot.start + 1..slot.end, being_written, &mut patience);
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
    letters.into_iter().chain(writes).chain(lanes).collect()
}

/// The word ranges of the records of a section.
pub(crate) fn records(section: Section) -> impl Iterator<Item = std::ops::Range<usize>> {
    section.range().step_by(section.stride.max(1)).map(move |start| start..start + section.stride)
}
