//! A copy of a region while its node writes to it.
//!
//! What one word guards (an actor's record, a letter's, an event's, the clock, the log of its sightings) is copied between two equal looks at that
//! word, a few times if need be, and then marked as unreadable. Heads of rings come before their slots, ready words
//! before their texts, and the actor table is copied again if it was being settled. So a copy holds no torn record, and
//! a dead region's copy is that region bit for bit. As nothing stands still, an event of the last microseconds may be
//! there without another lane's event that caused it.

use atomscope_layout::event::EVENT_SLOT_BYTES;
use atomscope_layout::region::{RegionMap, Section, header};
use atomscope_layout::ring::SLOT_HEAD_WORDS;
use atomscope_layout::seqlock::{Patience, READ_TRIES};
use atomscope_layout::sync::{AtomicU64, Ordering, fence, pause};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, Words};

/// A control word in a state that no writer knows: whoever reads it counts the slot as unreadable.
pub(crate) const UNREADABLE: u64 = u64::MAX;

/// Passes over an actor table that is being settled.
const SETTLING_TRIES: u32 = 8;

/// A region being copied, word for word into the same places.
struct Copying<'a> {
    from: Words<'a>,
    to: &'a [AtomicU64],
}

pub(crate) fn copy(from: Words<'_>, map: &RegionMap) -> WriterMemory {
    let memory = WriterMemory::private(map.region_bytes)
        .unwrap_or_else(|| std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>()));
    let copying = Copying { from, to: memory.words() };
    copying.range(0..memory.words().len());
    fence(Ordering::Acquire);
    // Ready words are there; what they promise is complete only from here on.
    for cell in [header::NODE, header::SYSTEM, header::PROGRAM, header::WRITER] {
        copying.range(cell.start + 1..cell.end);
    }
    for section in [map.names, map.metrics] {
        for start in section.range().step_by(section.stride) {
            copying.range(start + 1..start + section.stride);
        }
    }
    let clock = header::CLOCK;
    copying.guarded(clock.start, clock.start + 1..clock.end, being_written, &mut Patience::for_a_pass());
    copying.actors(map);
    copying.table(map.instance_control, map.instance_slots);
    copying.documents(map);
    copying.rings(map);
    // After all records, and after the header's clock: no stamp of them is of a sighting that is not there.
    copying.log(map.sightings);
    memory
}

/// The sequence of a cell or slot whose writer is at work.
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

    /// Copies `range` as it was while the word `guard` stood still; if it never does, `torn` says what stands for it.
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
        let mut patience = Patience::for_a_pass();
        for (guard, slot) in control.range().zip(records(slots)) {
            self.guarded(guard, slot, |_| UNREADABLE, &mut patience);
        }
    }

    /// A document that is replaced all the time is left out, as if there were none.
    fn documents(&self, map: &RegionMap) {
        let mut patience = Patience::for_a_pass();
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
            self.guarded(start, rows, being_written, &mut Patience::for_a_pass());
        }
    }

    fn rings(&self, map: &RegionMap) {
        let rings = rings(map);
        for ring in &rings {
            self.set(ring.head, self.from.load(ring.head));
        }
        fence(Ordering::Acquire);
        let mut patience = Patience::for_a_pass();
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
    /// What its records are.
    pub(crate) of: RingOf,
    /// The word of its head.
    pub(crate) head: usize,
    /// Its slots.
    pub(crate) slots: Section,
}

/// What the records of a ring are.
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

/// The words of each record of a section.
pub(crate) fn records(section: Section) -> impl Iterator<Item = std::ops::Range<usize>> {
    section.range().step_by(section.stride.max(1)).map(move |start| start..start + section.stride)
}
