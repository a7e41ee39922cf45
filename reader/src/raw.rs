//! Raw dumps: a region as it was, with what was known of its node, in one file that is read on any machine on any day.
//!
//! What the file holds stands in `layout/LAYOUT.md`, under *Raw dumps*.
//!
//! # How a region is copied while its node writes to it
//! What one word guards (an actor's record, a letter's, an event's, the clock, the log of its sightings) is copied between two equal looks at that
//! word, a few times if need be, and then marked as unreadable. Heads of rings come before their slots, ready words
//! before their texts, and the actor table is copied again if it was being settled. So a copy holds no torn record, and
//! a dead region's copy is that region bit for bit. As nothing stands still, an event of the last microseconds may be
//! there without another lane's event that caused it.

use std::io::{self, Write};
use std::time::Duration;

use atomscope_layout::OpenError;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::event::EVENT_SLOT_BYTES;
use atomscope_layout::region::{RegionMap, Section, header};
use atomscope_layout::ring::SLOT_HEAD_WORDS;
use atomscope_layout::seqlock::{Patience, READ_TRIES};
use atomscope_layout::sync::{AtomicU64, Ordering, fence, pause};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, Words};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::attach::{AttachError, Region};
use crate::liveness::{Evidence, Liveness, Notes, Verdict, Wedge};
use crate::redact::Redactor;
use crate::snapshot::now_unix_ns;

/// The first word of a raw dump: `ATOMSRAW` in ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOMSRAW");
/// Bytes before the region: one page.
pub const HEADER_BYTES: u64 = 4096;
const VERSION_MAJOR: u32 = 1;
const VERSION_MINOR: u32 = 1;
/// A beat that never was.
const NEVER: u64 = u64::MAX;
/// A control word in a state that no writer knows: whoever reads it counts the slot as unreadable.
pub(crate) const UNREADABLE: u64 = u64::MAX;
/// Passes over an actor table that is being settled.
const SETTLING_TRIES: u32 = 8;

const AT_REST: u64 = 1;
const REDACTED: u64 = 1 << 1;

const VERDICTS: [(u64, Verdict); 9] = [
    (1, Verdict::Starting),
    (2, Verdict::Live),
    (3, Verdict::Wedged(Wedge::Stopped)),
    (4, Verdict::Wedged(Wedge::ProcessStale)),
    (5, Verdict::Wedged(Wedge::RuntimeBlocked)),
    (6, Verdict::Stopping),
    (7, Verdict::Closed),
    (8, Verdict::Crashed),
    (16, Verdict::Wedged(Wedge::Frozen)),
];
const EVIDENCES: [(u64, Evidence); 3] =
    [(1, Evidence::Lock), (2, Evidence::Process), (3, Evidence::Heartbeat)];

/// The header as it stands in the file, but for its padding.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct DumpHeader {
    magic: u64,
    version: u64,
    header_bytes: u64,
    region_bytes: u64,
    taken_unix_ns: u64,
    pid: u64,
    verdict: u64,
    evidence: u64,
    process_beat_age_ns: u64,
    runtime_beat_age_ns: u64,
    flags: u64,
    notes: u64,
}

const _: () = assert!(size_of::<DumpHeader>() == 96);
const _: () = assert!(std::mem::offset_of!(DumpHeader, verdict) == 48);

/// What was known of a node when its region was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpInfo {
    /// When: nanoseconds since 1970, UTC.
    pub unix_ns: i128,
    /// The node's process.
    pub pid: u64,
    /// How the node was.
    pub liveness: Liveness,
    /// Whether no actor came or went while it was copied.
    pub at_rest: bool,
    /// Whether names were replaced by pseudonyms.
    pub redacted: bool,
}

/// Reads the header of a raw dump from the first bytes of a file of `file_bytes`; `None` if it is none.
pub fn read_header(start: &[u8], file_bytes: u64) -> Option<Result<DumpInfo, OpenError>> {
    let magic = start.get(..WORD)?;
    (magic == MAGIC.to_le_bytes()).then(|| {
        let truncated = OpenError::Truncated { found: file_bytes, expected: HEADER_BYTES };
        let (record, _) = DumpHeader::read_from_prefix(start).map_err(|_| truncated)?;
        record.check(file_bytes)
    })
}

impl DumpHeader {
    fn check(&self, file_bytes: u64) -> Result<DumpInfo, OpenError> {
        let (found_major, found_minor) = ((self.version >> 32) as u32, self.version as u32);
        if found_major != VERSION_MAJOR {
            return Err(OpenError::Incompatible { found_major, found_minor, major: VERSION_MAJOR });
        }
        if self.header_bytes != HEADER_BYTES {
            let what = "length of the dump's header";
            return Err(OpenError::Corrupt { offset: 16, field: what, found: self.header_bytes });
        }
        let expected = self.region_bytes.saturating_add(HEADER_BYTES);
        if file_bytes < expected {
            return Err(OpenError::Truncated { found: file_bytes, expected });
        }
        let find = |offset, what, found| OpenError::Corrupt { offset, field: what, found };
        let verdict = VERDICTS.iter().find(|(number, _)| *number == self.verdict);
        let evidence = EVIDENCES.iter().find(|(number, _)| *number == self.evidence);
        let (_, verdict) = *verdict.ok_or(find(48, "the dump's verdict", self.verdict))?;
        let (_, evidence) = *evidence.ok_or(find(56, "the dump's evidence", self.evidence))?;
        let age = |ns: u64| (ns != NEVER).then(|| Duration::from_nanos(ns));
        Ok(DumpInfo {
            unix_ns: i128::from(self.taken_unix_ns),
            pid: self.pid,
            liveness: Liveness {
                verdict,
                notes: Notes::from_bits(self.notes),
                evidence,
                process_beat_age: age(self.process_beat_age_ns),
                runtime_beat_age: age(self.runtime_beat_age_ns),
            },
            at_rest: self.flags & AT_REST != 0,
            redacted: self.flags & REDACTED != 0,
        })
    }
}

/// A copy of a region.
#[derive(Debug)]
pub struct RawDump {
    taken: DumpInfo,
    words: WriterMemory,
}

impl RawDump {
    /// Copies a region. A dump's copy stays the dump that it is, of the same time.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let unix_ns = now_unix_ns();
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let words = copy(region.words(), reader.map());
        let at_rest = reader.actor_totals() == totals;
        region.still_whole()?;
        let taken = DumpInfo { unix_ns, pid: region.pid(), liveness, at_rest, redacted: false };
        Ok(Self { taken: region.dumped().copied().unwrap_or(taken), words })
    }

    /// The same with names replaced and whatever is no record left out.
    pub fn redacted(self, redactor: &Redactor) -> Result<Self, OpenError> {
        let reader = RegionReader::open(self.words.reader())?;
        let words = redactor.region(self.words.reader(), reader.map());
        Ok(Self { taken: DumpInfo { redacted: true, ..self.taken }, words })
    }

    /// Writes the file.
    pub fn write(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let DumpInfo { unix_ns, pid, liveness, at_rest, redacted } = self.taken;
        let number = |verdict| VERDICTS.iter().find(|(_, v)| *v == verdict).map_or(0, |(number, _)| *number);
        let age = |age: Option<Duration>| age.map_or(NEVER, |age| age.as_nanos() as u64);
        let record = DumpHeader {
            magic: MAGIC,
            version: u64::from(VERSION_MAJOR) << 32 | u64::from(VERSION_MINOR),
            header_bytes: HEADER_BYTES,
            region_bytes: (self.words.words().len() * WORD) as u64,
            taken_unix_ns: u64::try_from(unix_ns).unwrap_or(0),
            pid,
            verdict: number(liveness.verdict),
            evidence: EVIDENCES.iter().find(|(_, e)| *e == liveness.evidence).map_or(0, |(n, _)| *n),
            process_beat_age_ns: age(liveness.process_beat_age),
            runtime_beat_age_ns: age(liveness.runtime_beat_age),
            flags: if at_rest { AT_REST } else { 0 } | if redacted { REDACTED } else { 0 },
            notes: liveness.notes.bits(),
        };
        let mut page = [0u8; HEADER_BYTES as usize];
        let _ = record.write_to_prefix(&mut page);
        out.write_all(&page)?;
        self.words
            .words()
            .iter()
            .try_for_each(|word| out.write_all(&word.load(Ordering::Relaxed).to_le_bytes()))
    }
}

/// A region being copied, word for word into the same places.
struct Copying<'a> {
    from: Words<'a>,
    to: &'a [AtomicU64],
}

fn copy(from: Words<'_>, map: &RegionMap) -> WriterMemory {
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
    copying.guarded(clock.start, clock.start + 1..clock.end, being_written, &mut Patience::for_a_scan());
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
        let mut patience = Patience::for_a_scan();
        for (guard, slot) in control.range().zip(records(slots)) {
            self.guarded(guard, slot, |_| UNREADABLE, &mut patience);
        }
    }

    /// A document that is replaced all the time is left out, as if there were none.
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

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::liveness::Note;

    /// Whether some table of the layout's document starts a row with these cells.
    fn is_documented(cells: &[&str]) -> bool {
        let row = format!("\n| {} |", cells.join(" | "));
        include_str!("../../layout/LAYOUT.md").contains(&row)
    }

    #[test]
    fn the_file_is_documented_as_it_is() {
        macro_rules! fields {
            ($($field:ident)+) => {{
                let DumpHeader { $($field),+ } = DumpHeader::new_zeroed();
                [$((stringify!($field), std::mem::offset_of!(DumpHeader, $field), size_of_val(&$field))),+]
            }};
        }
        let fields = fields!(magic version header_bytes region_bytes taken_unix_ns pid verdict evidence
            process_beat_age_ns runtime_beat_age_ns flags notes);
        for (name, offset, bytes) in fields {
            let cells = [format!("`{name}`"), offset.to_string(), bytes.to_string()];
            assert!(is_documented(&cells.each_ref().map(String::as_str)), "{name} at {offset}");
        }
        for (number, verdict) in VERDICTS {
            let name = match verdict {
                Verdict::Wedged(Wedge::Stopped) => "Wedged, stopped".to_owned(),
                Verdict::Wedged(Wedge::Frozen) => "Wedged, frozen".to_owned(),
                Verdict::Wedged(Wedge::ProcessStale) => "Wedged, no beat".to_owned(),
                Verdict::Wedged(Wedge::RuntimeBlocked) => "Wedged, runtime".to_owned(),
                other => format!("{other:?}"),
            };
            let why = verdict.why().map_or(" ".to_owned(), |why| format!(" {why} "));
            let row = format!("\n| {name} | {number} | {} |{why}|", verdict.word());
            assert!(include_str!("../../layout/LAYOUT.md").contains(&row), "{row}");
        }
        for note in Note::ALL {
            let bit = (note as u64).to_string();
            let cells = [&format!("{note:?}"), &bit, note.name(), note.text()];
            assert!(is_documented(&cells), "{note:?}");
        }
        for (number, evidence) in EVIDENCES {
            let name = format!("{evidence:?}");
            assert!(is_documented(&[&name, &number.to_string(), &name.to_lowercase()]), "{name}");
        }
        assert_eq!((AT_REST, REDACTED, HEADER_BYTES), (1, 2, 4096));
        assert_eq!(crate::liveness::STALE, Duration::from_secs(3));
    }
}
