//! The region map: every offset, and the header's writer. This is the only code that states offsets. The document that
//! follows is `LAYOUT.md`; the test `layout/tests/document.rs` fails if the two differ.
//!
//! ```
//! use atomscope_layout::{Capacities, RegionMap};
//! let map = RegionMap::for_capacities(&Capacities { actors: 1000, ..Capacities::default() })?;
//! assert!(map.actors.count >= 1000);
//! assert_eq!(map.region_bytes % 4096, 0);
//! # Ok::<(), atomscope_layout::LimitError>(())
//! ```
//!
#![doc = include_str!("../LAYOUT.md")]

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::attached::Attachment;
use crate::cells::CellRecord;
use crate::classes::{CLASS_WORDS, VariantRecord, lane_words};
use crate::error::{LimitError, OpenError};
use crate::event::EVENT_SLOT_BYTES;
use crate::failures::{FailureRecord, PANIC_SLOT_BYTES};
use crate::histogram::HISTOGRAM_WORDS;
use crate::instances::InstanceRecord;
use crate::limits::{
    LANE_SLOTS, MAX_ACTOR_SLOTS, MAX_ACTORS, MAX_CLASSES, MAX_CLOCK_SAMPLES, MAX_DEAD_LETTERS,
    MAX_DOCUMENT_BYTES, MAX_EVENTS, MAX_FAILURES, MAX_FIELDS, MAX_HISTOGRAMS, MAX_INSTANCES, MAX_INSTRUMENTS,
    MAX_JOURNAL_WRITES, MAX_KINDS, MAX_LANES, MAX_METRICS, MAX_NAMES, MAX_PANICS, MAX_RECORDS, MAX_SECTIONS,
    MAX_THREADS, MAX_VARIANTS, MIN_METRICS, SEPARATION_BYTES, SLOT_LINE_BYTES,
};
use crate::own_records::{FieldRecord, KindRecord, OwnRecord};
use crate::records::{ActorRecord, ClockSampleRecord, EndRecord, HistoryRecord, MetricRecord, TimeRecord};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::threads::ThreadRecord;
use crate::words::{self, WORD, Words};
use crate::{clock_samples, document, metrics, names, ring, seqlock};

/// The first word of a published region: `ATOMSCPE` in ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOMSCPE");
/// The major version. A reader refuses every other one.
pub const VERSION_MAJOR: u32 = 2;
/// The minor version. A reader reads a newer one and ignores what it does not know.
pub const VERSION_MINOR: u32 = 0;

/// Identity and shape of a region. The writer stores it before it publishes the region, and never after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HeaderRecord {
    /// Bytes of the whole region.
    pub region_bytes: u64,
    /// Bytes of the header and the directory.
    pub header_bytes: u64,
    /// Used entries of the directory.
    pub sections: u64,
    /// The node's process id, in its own pid namespace.
    pub pid: u64,
    /// The node's effective user id.
    pub uid: u64,
    /// When the process started: clock ticks since boot, as in `/proc/PID/stat`; 0: unknown.
    pub process_start_ticks: u64,
    /// The kernel's boot id (a UUID's 16 bytes), or 0.
    pub boot_id: [u64; 2],
    /// Inode of the node's pid namespace, or 0.
    pub pid_namespace: u64,
    /// When the region was made: nanoseconds since 1970, UTC.
    pub created_unix_ns: u64,
    /// How many live actors the section of actors was sized for.
    pub actor_capacity: u64,
    /// Bit 0: previews of messages are recorded. Then a bit for each [`Override`]. All other bits are zero.
    pub flags: u64,
    /// Number of built-in metrics.
    pub builtins: u64,
    /// Zero.
    pub reserved: u64,
}

impl HeaderRecord {
    /// Reads and checks the header of a region. `region` needs only the first [`HEADER_BYTES`].
    ///
    /// # Errors
    /// [`OpenError::NotReady`] before the region is published, [`OpenError::NotARegion`] and [`OpenError::Incompatible`]
    /// for another magic or major version, [`OpenError::Truncated`] without a whole header, and [`OpenError::Corrupt`] for
    /// values that no writer stores.
    pub fn read(region: Words<'_>) -> Result<Self, OpenError> {
        if region.len() * WORD < HEADER_BYTES {
            return Err(if region.load(header::MAGIC) == 0 {
                OpenError::NotReady
            } else {
                OpenError::Truncated { found: (region.len() * WORD) as u64, expected: HEADER_BYTES as u64 }
            });
        }
        match region.load(header::MAGIC) {
            0 => return Err(OpenError::NotReady),
            MAGIC => {}
            found => return Err(OpenError::NotARegion { found }),
        }
        fence(Ordering::Acquire);
        let version = region.load(header::VERSION);
        let (found_major, found_minor) = ((version >> 32) as u32, version as u32);
        if found_major != VERSION_MAJOR {
            return Err(OpenError::Incompatible { found_major, found_minor, major: VERSION_MAJOR });
        }
        let mut words = [0u64; size_of::<HeaderRecord>() / WORD];
        if let Some(from) = region.slice(header::RECORD) {
            from.copy_to(&mut words);
        }
        let record: HeaderRecord = zerocopy::transmute!(words);
        let at = |word: usize, field, found| {
            let offset = ((header::RECORD.start + word) * WORD) as u64;
            Err(OpenError::Corrupt { offset, field, found })
        };
        if record.region_bytes < HEADER_BYTES as u64 || record.region_bytes % WORD as u64 != 0 {
            return at(0, "region length", record.region_bytes);
        }
        if record.header_bytes != HEADER_BYTES as u64 {
            return at(1, "header length", record.header_bytes);
        }
        if record.sections > MAX_SECTIONS as u64 {
            return at(2, "section count", record.sections);
        }
        Ok(record)
    }
}

/// One entry of the section directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SectionRecord {
    /// The id of the section; 0: unused entry.
    pub id: u64,
    /// Offset of the section, in bytes from the start of the region.
    pub offset_bytes: u64,
    /// Number of records.
    pub count: u64,
    /// Bytes from one record to the next.
    pub stride_bytes: u64,
    /// Bytes of a record that are used; the rest of the stride is padding.
    pub record_bytes: u64,
    /// Zero.
    pub reserved: [u64; 3],
}

/// The state of a node. The header stores its number, which only grows, with one exception: a node that is to be installed on
/// an actor system goes from *running* back to *starting*, once and early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub enum State {
    /// The probe is to be installed on an actor system, and is not yet; or the region is not yet published.
    Starting = 1,
    /// The probe is installed on an actor system, or used without one.
    Running = 2,
    /// The application announced that it stops.
    Stopping = 3,
    /// The region was closed in an orderly way.
    Closed = 4,
}

impl State {
    /// The state with this number.
    pub fn from_word(word: u64) -> Option<Self> {
        [Self::Starting, Self::Running, Self::Stopping, Self::Closed].into_iter().find(|s| *s as u64 == word)
    }
}

/// A setting of the region that the node's environment chose, not its program. The header's flags have a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Override {
    /// The capacity for actors.
    Actors = 1,
    /// The events that are kept per lane.
    Events = 2,
    /// The number of lanes.
    Lanes = 3,
    /// The capacity for metrics.
    Metrics = 4,
    /// The directory of the region.
    Dir = 5,
}

impl Override {
    /// All of them, in the order of their bits.
    pub const ALL: [Self; 5] = [Self::Actors, Self::Events, Self::Lanes, Self::Metrics, Self::Dir];

    /// The environment variable.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Actors => "ATOMSCOPE_ACTORS",
            Self::Events => "ATOMSCOPE_EVENTS",
            Self::Lanes => "ATOMSCOPE_LANES",
            Self::Metrics => "ATOMSCOPE_METRICS",
            Self::Dir => "ATOMSCOPE_DIR",
        }
    }

    /// Its bit in [`HeaderRecord::flags`].
    pub fn bit(self) -> u64 {
        1 << self as u64
    }
}

/// A condition of the actor system or runtime on which the probe is installed. The header has a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Condition {
    /// The async runtime of the node was dropped, or is being dropped.
    RuntimeDropped = 0,
    /// The actor system was dropped.
    SystemDropped = 1,
    /// The spawn observer of the live actor system is not the probe's.
    SpawnHookReplaced = 2,
    /// The dead-letter observer of the live actor system is not the probe's.
    DeadLetterHookReplaced = 3,
}

impl Condition {
    /// All conditions, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::RuntimeDropped, Self::SystemDropped, Self::SpawnHookReplaced, Self::DeadLetterHookReplaced];

    /// The bit of the condition in the header.
    pub fn bit(self) -> u64 {
        1 << self as u64
    }
}

/// Word indices of the header's fields.
pub mod header {
    use core::ops::Range;

    use super::{HEADER_BYTES, WORD};

    /// [`super::MAGIC`], stored last.
    pub const MAGIC: usize = 0;
    /// Major and minor version.
    pub const VERSION: usize = 1;
    /// [`super::HeaderRecord`].
    pub const RECORD: Range<usize> = 2..16;
    /// [`super::State`].
    pub const STATE: usize = 16;
    /// A bit for each [`super::Condition`] that holds.
    pub const CONDITIONS: usize = 17;
    /// Bits of the attachments that were made; see [`crate::attached`].
    pub const ATTACHED: usize = 18;
    /// [`super::TimeRecord`].
    pub const TIME: Range<usize> = 19..24;
    /// [`super::HistoryRecord`].
    pub const HISTORY: Range<usize> = 24..27;
    /// Not 0 once a later node of this name has ended in good order. That node stores it, after this one is dead.
    pub const SERIES_ENDED: usize = 27;
    /// Heartbeat of the sampler: number of beats, and the monotonic time of the last in nanoseconds.
    pub const PROCESS_BEAT: Range<usize> = 32..34;
    /// Heartbeat of a task of the async runtime; count 0: never started.
    pub const RUNTIME_BEAT: Range<usize> = 48..50;
    /// Seqlock cell of a [`super::EndRecord`].
    pub const END: Range<usize> = 64..75;
    /// The thread's name in [`END`].
    pub const END_THREAD: Range<usize> = 70..72;
    /// Heartbeat of the poller; count 0: nothing is polled.
    pub const POLL_BEAT: Range<usize> = 224..226;
    /// Text cell: the node's name.
    pub const NODE: Range<usize> = 80..112;
    /// Text cell: the actor system's name.
    pub const SYSTEM: Range<usize> = 112..144;
    /// Text cell: the program's path.
    pub const PROGRAM: Range<usize> = 144..208;
    /// Text cell: name and version of the probe.
    pub const WRITER: Range<usize> = 208..224;
    /// Number of slots of the section of actors that were ever taken, from its start.
    pub const ACTORS_USED: usize = 240;
    /// Number of slots of the section of instances that were ever taken, from its start.
    pub const INSTANCES_USED: usize = 241;
    /// [`super::SectionRecord`]s.
    pub const DIRECTORY: Range<usize> = 256..512;

    const _: () = assert!(DIRECTORY.end * WORD == HEADER_BYTES);
}

/// Bytes of the header with the directory: one page.
pub const HEADER_BYTES: usize = 4096;
/// Words of a [`SectionRecord`].
pub const SECTION_WORDS: usize = size_of::<SectionRecord>() / WORD;

const _: () = {
    assert!(size_of::<HeaderRecord>() == 112);
    assert!((header::RECORD.end - header::RECORD.start) * WORD == size_of::<HeaderRecord>());
    assert!(core::mem::offset_of!(HeaderRecord, pid) == 24);
    assert!(core::mem::offset_of!(HeaderRecord, boot_id) == 48);
    assert!(core::mem::offset_of!(HeaderRecord, created_unix_ns) == 72);
    assert!(size_of::<SectionRecord>() == 64);
    assert!((header::DIRECTORY.end - header::DIRECTORY.start) == MAX_SECTIONS * SECTION_WORDS);
    assert!((header::TIME.end - header::TIME.start) * WORD == size_of::<TimeRecord>());
    assert!((header::HISTORY.end - header::HISTORY.start) * WORD == size_of::<HistoryRecord>());
    assert!((header::END.end - header::END.start) * WORD == WORD + size_of::<EndRecord>());
    assert!(
        header::END_THREAD.start * WORD == (header::END.start + 1) * WORD + offset_of!(EndRecord, thread)
    );
    // Words that different threads write are SEPARATION_BYTES apart.
    assert!(header::STATE * WORD % SEPARATION_BYTES == 0);
    assert!(header::PROCESS_BEAT.start * WORD % SEPARATION_BYTES == 0);
    assert!(header::RUNTIME_BEAT.start * WORD % SEPARATION_BYTES == 0);
    assert!(header::END.start * WORD % SEPARATION_BYTES == 0);
    assert!(header::POLL_BEAT.start * WORD == 1792);
    assert!(header::ACTORS_USED * WORD % SEPARATION_BYTES == 0);
    // The first line of a slot holds what every reader needs.
    assert!(size_of::<ActorRecord>() % SLOT_LINE_BYTES == 0);
    assert!(size_of::<InstanceRecord>() % SLOT_LINE_BYTES == 0);
};

/// The capacities of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacities {
    /// Live actors.
    pub actors: usize,
    /// Threads that count without a locked instruction; further threads share lane 0.
    pub lanes: usize,
    /// Newest dead letters kept.
    pub dead_letters: usize,
    /// Newest events kept per lane.
    pub events: usize,
    /// Different class names and other interned texts.
    pub names: usize,
    /// Counters, gauges and histograms, including the built-in ones.
    pub metrics: usize,
    /// Instances: associations, journals, persistence ids, shards and so on.
    pub instances: usize,
    /// Bytes of each copy of a document: the cluster's and the sharding document.
    pub document_bytes: usize,
    /// Histograms.
    pub histograms: usize,
    /// Newest journal writes kept.
    pub journal_writes: usize,
    /// Different failures listed.
    pub failures: usize,
    /// Newest panics kept.
    pub panics: usize,
    /// Instrumented actors with numbers of their own.
    pub instruments: usize,
    /// Classes of instrumented actors, including the one of all that found no room.
    pub classes: usize,
    /// Rows of handled messages: one for each class, and those of the variants.
    pub variants: usize,
    /// Threads of watched runtimes.
    pub threads: usize,
    /// Kinds of the application's own records.
    pub kinds: usize,
    /// Fields of these kinds.
    pub fields: usize,
    /// The application's own records.
    pub records: usize,
}

impl Capacities {
    /// The minimum of every capacity.
    pub const LEAST: Self = Self {
        actors: 1,
        lanes: 1,
        dead_letters: 1,
        events: 1,
        names: 1,
        metrics: MIN_METRICS,
        instances: 1,
        document_bytes: LEAST_DOCUMENT_BYTES,
        histograms: 1,
        journal_writes: 1,
        failures: 1,
        panics: 1,
        instruments: 1,
        classes: 1,
        variants: 1,
        threads: 1,
        kinds: 1,
        fields: 1,
        records: 1,
    };
}

impl Default for Capacities {
    /// 24,576 live actors, 16,384 of them instrumented, 16 lanes, 1024 dead letters, 1024 events per lane: less than 15.9 MiB.
    fn default() -> Self {
        Self {
            actors: 24_576,
            lanes: 16,
            dead_letters: 1024,
            events: 1024,
            names: 1024,
            metrics: 1152,
            instances: 512,
            document_bytes: 32 << 10,
            histograms: 64,
            journal_writes: 128,
            failures: 64,
            panics: 128,
            instruments: 16_384,
            classes: 128,
            variants: 1024,
            threads: 256,
            kinds: 64,
            fields: 512,
            records: 256,
        }
    }
}

/// The position of a section, in words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Section {
    /// First word.
    pub start: usize,
    /// Number of records.
    pub count: usize,
    /// Words from one record to the next.
    pub stride: usize,
}

impl Section {
    /// Number of words.
    #[inline]
    pub fn len(&self) -> usize {
        self.count * self.stride
    }

    /// Whether the section has no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The words of the section in the region.
    #[inline]
    pub fn range(&self) -> core::ops::Range<usize> {
        self.start..self.start + self.len()
    }
}

/// The position of every section of a region. The writer computes it from its capacities, the reader from the directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the section of that name in the module's map")]
pub struct RegionMap {
    pub region_bytes: usize,
    pub counters: Section,
    pub metrics: Section,
    pub names: Section,
    pub actors: Section,
    pub dead_letters: Section,
    pub events: Section,
    pub instances: Section,
    pub documents: Section,
    pub histograms: Section,
    pub journal_writes: Section,
    pub clock_samples: Section,
    pub failures: Section,
    pub panics: Section,
    pub cells: Section,
    pub classes: Section,
    pub variants: Section,
    pub handled: Section,
    pub threads: Section,
    pub kinds: Section,
    pub fields: Section,
    pub records: Section,
}

/// What the layout requires of a section: id, error text if it is missing, bytes of a record, bounds of its count.
struct Rule {
    id: u64,
    missing: &'static str,
    record_bytes: usize,
    least: usize,
    most: usize,
}

const fn rule(id: u64, missing: &'static str, record_bytes: usize, least: usize, most: usize) -> Rule {
    Rule { id, missing, record_bytes, least, most }
}

/// Number of documents.
pub const DOCUMENTS: usize = 2;
/// The index of the cluster's document.
pub const CLUSTER_DOCUMENT: usize = 0;
/// The index of the sharding document.
pub const SHARDING_DOCUMENT: usize = 1;
const LEAST_DOCUMENT_BYTES: usize = 256;

const RULES: [Rule; 21] = [
    rule(1, "number of sections (the counters are missing)", WORD * MIN_METRICS, 1, MAX_LANES + 1),
    rule(
        2,
        "number of sections (the metrics are missing)",
        size_of::<MetricRecord>(),
        MIN_METRICS,
        MAX_METRICS,
    ),
    rule(3, "number of sections (the names are missing)", 256, 1, MAX_NAMES),
    rule(4, "number of sections (the actors are missing)", size_of::<ActorRecord>(), 1, MAX_ACTOR_SLOTS),
    rule(
        5,
        "number of sections (the dead letters are missing)",
        ring::DEAD_LETTER_SLOT_BYTES,
        2,
        MAX_DEAD_LETTERS + 1,
    ),
    rule(6, "number of sections (the events are missing)", 2 * EVENT_SLOT_BYTES, 1, MAX_LANES + 1),
    rule(7, "number of sections (the instances are missing)", size_of::<InstanceRecord>(), 1, MAX_INSTANCES),
    rule(
        8,
        "number of sections (the documents are missing)",
        document::HEAD_WORDS * WORD + 2 * LEAST_DOCUMENT_BYTES,
        DOCUMENTS,
        DOCUMENTS,
    ),
    rule(9, "number of sections (the histograms are missing)", HISTOGRAM_WORDS * WORD, 1, MAX_HISTOGRAMS),
    rule(
        10,
        "number of sections (the journal writes are missing)",
        ring::JOURNAL_WRITE_SLOT_BYTES,
        2,
        MAX_JOURNAL_WRITES + 1,
    ),
    rule(
        11,
        "number of sections (the clock samples are missing)",
        clock_samples::ROW_BYTES,
        2,
        MAX_CLOCK_SAMPLES + 1,
    ),
    rule(12, "number of sections (the failures are missing)", size_of::<FailureRecord>(), 1, MAX_FAILURES),
    rule(13, "number of sections (the panics are missing)", PANIC_SLOT_BYTES, 2, MAX_PANICS + 1),
    rule(14, "number of sections (the cells are missing)", size_of::<CellRecord>(), 1, MAX_INSTRUMENTS),
    rule(15, "number of sections (the classes are missing)", CLASS_WORDS * WORD, 1, MAX_CLASSES),
    rule(16, "number of sections (the variants are missing)", size_of::<VariantRecord>(), 1, MAX_VARIANTS),
    rule(17, "number of sections (the handled messages are missing)", SEPARATION_BYTES, 1, MAX_LANES + 1),
    rule(18, "number of sections (the threads are missing)", size_of::<ThreadRecord>(), 1, MAX_THREADS),
    rule(19, "number of sections (the kinds are missing)", size_of::<KindRecord>(), 1, MAX_KINDS),
    rule(20, "number of sections (the fields are missing)", size_of::<FieldRecord>(), 1, MAX_FIELDS),
    rule(
        21,
        "number of sections (the application's records are missing)",
        size_of::<OwnRecord>(),
        1,
        MAX_RECORDS,
    ),
];

impl RegionMap {
    /// Lays out a region of these capacities. Its size is `region_bytes`, a multiple of 4096.
    ///
    /// # Errors
    /// [`LimitError`] if a capacity is outside of its limits.
    pub fn for_capacities(capacities: &Capacities) -> Result<Self, LimitError> {
        let Capacities { actors, lanes, dead_letters, events, names, metrics, .. } = *capacities;
        let Capacities { instances, document_bytes, histograms, journal_writes, failures, panics, .. } =
            *capacities;
        let Capacities { instruments, classes, variants, threads, kinds, fields, records, .. } = *capacities;
        check("actors", actors, 1, MAX_ACTORS)?;
        check("lanes", lanes, 1, MAX_LANES)?;
        check("dead_letters", dead_letters, 1, MAX_DEAD_LETTERS)?;
        check("events", events, 1, MAX_EVENTS)?;
        check("names", names, 1, MAX_NAMES)?;
        check("metrics", metrics, MIN_METRICS, MAX_METRICS)?;
        check("instances", instances, 1, MAX_INSTANCES)?;
        check("document_bytes", document_bytes, LEAST_DOCUMENT_BYTES, MAX_DOCUMENT_BYTES / 4)?;
        check("histograms", histograms, 1, MAX_HISTOGRAMS)?;
        check("journal_writes", journal_writes, 1, MAX_JOURNAL_WRITES)?;
        check("failures", failures, 1, MAX_FAILURES)?;
        check("panics", panics, 1, MAX_PANICS)?;
        check("instruments", instruments, 1, MAX_INSTRUMENTS)?;
        check("classes", classes, 1, MAX_CLASSES)?;
        // Each class has a row.
        check("variants", variants, classes, MAX_VARIANTS)?;
        check("threads", threads, 1, MAX_THREADS)?;
        check("kinds", kinds, 1, MAX_KINDS)?;
        check("fields", fields, 1, MAX_FIELDS)?;
        check("records", records, 1, MAX_RECORDS)?;
        // Each lane may hold some free slots that the others cannot take.
        let actor_slots = actors + LANE_SLOTS * (lanes + 1);
        let document_bytes =
            document::HEAD_WORDS * WORD + 2 * document_bytes.next_multiple_of(SEPARATION_BYTES);
        let handled_bytes = (lane_words(variants, classes) * WORD).next_multiple_of(SEPARATION_BYTES);
        let lane_bytes = (metrics * WORD).next_multiple_of(SEPARATION_BYTES);
        let shapes = [
            (lanes + 1, lane_bytes),
            (metrics, size_of::<MetricRecord>()),
            (names, 256),
            (actor_slots, size_of::<ActorRecord>()),
            (dead_letters + 1, ring::DEAD_LETTER_SLOT_BYTES),
            (lanes + 1, (events + 1) * EVENT_SLOT_BYTES),
            (instances, size_of::<InstanceRecord>()),
            (DOCUMENTS, document_bytes),
            (histograms, HISTOGRAM_WORDS * WORD),
            (journal_writes + 1, ring::JOURNAL_WRITE_SLOT_BYTES),
            (clock_samples::KEPT + 1, clock_samples::ROW_BYTES),
            (failures, size_of::<FailureRecord>()),
            (panics + 1, PANIC_SLOT_BYTES),
            (instruments, size_of::<CellRecord>()),
            (classes, CLASS_WORDS * WORD),
            (variants, size_of::<VariantRecord>()),
            (lanes + 1, handled_bytes),
            (threads, size_of::<ThreadRecord>()),
            (kinds, size_of::<KindRecord>()),
            (fields, size_of::<FieldRecord>()),
            (records, size_of::<OwnRecord>()),
        ];
        let mut end = HEADER_BYTES;
        let sections = shapes.map(|(count, stride_bytes)| {
            let start = end.next_multiple_of(SEPARATION_BYTES);
            end = start + count * stride_bytes;
            Section { start: start / WORD, count, stride: stride_bytes / WORD }
        });
        Ok(Self::of(end.next_multiple_of(4096), sections))
    }

    /// Size in bytes of a region of these capacities.
    ///
    /// # Errors
    /// As [`Self::for_capacities`].
    ///
    /// ```
    /// use atomscope_layout::{Capacities, RegionMap};
    /// assert!(RegionMap::footprint(&Capacities::default())? <= 16 << 20);
    /// # Ok::<(), atomscope_layout::LimitError>(())
    /// ```
    pub fn footprint(capacities: &Capacities) -> Result<usize, LimitError> {
        Self::for_capacities(capacities).map(|map| map.region_bytes)
    }

    /// Reads and checks the header and the directory of a region. Every section of the returned map is inside `region`.
    ///
    /// # Errors
    /// As [`HeaderRecord::read`]; also [`OpenError::Truncated`] if the header gives a greater size than `region` has, and
    /// [`OpenError::Corrupt`] if the directory breaks a rule of the layout.
    pub fn read(region: Words<'_>) -> Result<(Self, HeaderRecord), OpenError> {
        Self::read_part(region, (region.len() * WORD) as u64)
    }

    /// As [`Self::read`], for a region of `found` bytes. `region` needs only the first [`HEADER_BYTES`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_part(region: Words<'_>, found: u64) -> Result<(Self, HeaderRecord), OpenError> {
        let record = HeaderRecord::read(region)?;
        if record.region_bytes > found {
            return Err(OpenError::Truncated { found, expected: record.region_bytes });
        }
        let map = Self::read_directory(region, &record)?;
        Ok((map, record))
    }

    fn read_directory(region: Words<'_>, record: &HeaderRecord) -> Result<Self, OpenError> {
        // Each section with the word of its directory entry.
        let mut found: [Option<(Section, usize)>; RULES.len()] = [None; RULES.len()];
        let mut ranges: Vec<(u64, u64, usize)> = Vec::with_capacity(MAX_SECTIONS);
        for index in 0..record.sections as usize {
            let word = header::DIRECTORY.start + index * SECTION_WORDS;
            let at = |at: usize, field, found| {
                Err(OpenError::Corrupt { offset: ((word + at) * WORD) as u64, field, found })
            };
            let mut words = [0u64; SECTION_WORDS];
            if let Some(from) = region.slice(word..word + SECTION_WORDS) {
                from.copy_to(&mut words);
            }
            let section: SectionRecord = zerocopy::transmute!(words);
            let Some(bytes) = section.count.checked_mul(section.stride_bytes) else {
                return at(2, "section record count", section.count);
            };
            let end = section.offset_bytes.checked_add(bytes);
            let Some(end) = end.filter(|end| *end <= record.region_bytes) else {
                return at(1, "section offset", section.offset_bytes);
            };
            if section.offset_bytes < HEADER_BYTES as u64
                || section.offset_bytes % SEPARATION_BYTES as u64 != 0
            {
                return at(1, "section offset", section.offset_bytes);
            }
            if section.stride_bytes == 0 || section.stride_bytes % WORD as u64 != 0 {
                return at(3, "section stride", section.stride_bytes);
            }
            ranges.push((section.offset_bytes, end, word));
            // Sections of newer minor versions have no further rules here.
            let Some(position) = RULES.iter().position(|rule| rule.id == section.id) else { continue };
            let rule = &RULES[position];
            if found[position].is_some() {
                return at(0, "section id (a second time)", section.id);
            }
            if section.stride_bytes < rule.record_bytes as u64 {
                return at(3, "section stride", section.stride_bytes);
            }
            if section.count < rule.least as u64 || section.count > rule.most as u64 {
                return at(2, "section record count", section.count);
            }
            let lies = Section {
                start: section.offset_bytes as usize / WORD,
                count: section.count as usize,
                stride: section.stride_bytes as usize / WORD,
            };
            found[position] = Some((lies, word));
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if pair[0].1 > pair[1].0 {
                return Err(OpenError::Corrupt {
                    offset: ((pair[1].2 + 1) * WORD) as u64,
                    field: "section offset (inside another section)",
                    found: pair[1].0,
                });
            }
        }
        let mut sections = [Section { start: 0, count: 0, stride: 0 }; RULES.len()];
        // An error about a section that is missing is reported at the first entry.
        let mut entries = [header::DIRECTORY.start; RULES.len()];
        for (((to, entry), from), rule) in sections.iter_mut().zip(&mut entries).zip(found).zip(&RULES) {
            (*to, *entry) = match from {
                Some(found) => found,
                None => {
                    let offset = ((header::RECORD.start + 2) * WORD) as u64;
                    return Err(OpenError::Corrupt { offset, field: rule.missing, found: record.sections });
                }
            };
        }
        let map = Self::of(record.region_bytes as usize, sections);
        let [counters, _, _, _, _, events, .., handled, _, _, _, _] = entries;
        let at = |entry: usize, word: usize, field, found: usize| {
            Err(OpenError::Corrupt { offset: ((entry + word) * WORD) as u64, field, found: found as u64 })
        };
        if map.events.stride % (EVENT_SLOT_BYTES / WORD) != 0 {
            return at(events, 3, "stride of an event lane", map.events.stride * WORD);
        }
        if map.handled.stride < lane_words(map.variants.count, map.classes.count) {
            return at(handled, 3, "stride of a lane of handled messages", map.handled.stride * WORD);
        }
        if map.counters.stride < map.metrics.count {
            return at(counters, 3, "stride of a counter lane", map.counters.stride * WORD);
        }
        Ok(map)
    }

    /// The directory that describes this map, in order; unused entries are zero.
    pub fn directory(&self) -> [SectionRecord; MAX_SECTIONS] {
        let mut directory = [SectionRecord {
            id: 0,
            offset_bytes: 0,
            count: 0,
            stride_bytes: 0,
            record_bytes: 0,
            reserved: [0; 3],
        }; MAX_SECTIONS];
        for ((entry, section), rule) in directory.iter_mut().zip(self.sections()).zip(&RULES) {
            entry.id = rule.id;
            entry.offset_bytes = (section.start * WORD) as u64;
            entry.count = section.count as u64;
            entry.stride_bytes = (section.stride * WORD) as u64;
            entry.record_bytes = match rule.id {
                1 => self.metrics.count * WORD,
                17 => lane_words(self.variants.count, self.classes.count) * WORD,
                _ => rule.record_bytes,
            } as u64;
        }
        directory
    }

    /// Number of sections in this version.
    pub fn section_count(&self) -> usize {
        RULES.len()
    }

    fn of(region_bytes: usize, sections: [Section; RULES.len()]) -> Self {
        let [counters, metrics, names, actors, dead_letters, events, rest @ ..] = sections;
        let [instances, documents, histograms, journal_writes, clock_samples, failures, panics, rest @ ..] =
            rest;
        let [cells, classes, variants, handled, threads, kinds, fields, records] = rest;
        Self {
            region_bytes,
            counters,
            metrics,
            names,
            actors,
            dead_letters,
            events,
            instances,
            documents,
            histograms,
            journal_writes,
            clock_samples,
            failures,
            panics,
            cells,
            classes,
            variants,
            handled,
            threads,
            kinds,
            fields,
            records,
        }
    }

    fn sections(&self) -> [Section; RULES.len()] {
        [
            self.counters,
            self.metrics,
            self.names,
            self.actors,
            self.dead_letters,
            self.events,
            self.instances,
            self.documents,
            self.histograms,
            self.journal_writes,
            self.clock_samples,
            self.failures,
            self.panics,
            self.cells,
            self.classes,
            self.variants,
            self.handled,
            self.threads,
            self.kinds,
            self.fields,
            self.records,
        ]
    }
}

fn check(capacity: &'static str, given: usize, least: usize, most: usize) -> Result<(), LimitError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(LimitError { capacity, given: given as u64, least: least as u64, most: most as u64 })
}

/// The header, for its writers: only the stores that the table *Who writes what* allows.
#[derive(Clone, Copy)]
pub struct HeaderWriter<'a>(&'a [AtomicU64]);

impl core::fmt::Debug for HeaderWriter<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HeaderWriter")
    }
}

impl<'a> HeaderWriter<'a> {
    /// The header of the region that starts with these words.
    pub fn new(region: &'a [AtomicU64]) -> Self {
        Self(region)
    }

    fn words(&self, range: core::ops::Range<usize>) -> &'a [AtomicU64] {
        self.0.get(range).unwrap_or_default()
    }

    fn store(&self, word: usize, value: u64, order: Ordering) {
        if let Some(to) = self.0.get(word) {
            to.store(value, order);
        }
    }

    /// Writes everything that must be stored before the magic: identity, directory, texts, descriptors of the built-in
    /// metrics and the first clock sample. Lengths and counts in `record` are replaced by those of `map`. `texts` are the
    /// node's name, the program's path and the probe's name and version.
    pub fn prepare(&self, map: &RegionMap, record: HeaderRecord, first: ClockSampleRecord, texts: [&str; 3]) {
        let record = HeaderRecord {
            region_bytes: map.region_bytes as u64,
            header_bytes: HEADER_BYTES as u64,
            sections: map.section_count() as u64,
            builtins: metrics::BUILTIN.len() as u64,
            ..record
        };
        let record: [u64; size_of::<HeaderRecord>() / WORD] = zerocopy::transmute!(record);
        words::store(self.words(header::RECORD), &record);
        let directory: [[u64; SECTION_WORDS]; MAX_SECTIONS] = zerocopy::transmute!(map.directory());
        words::store(self.words(header::DIRECTORY), directory.as_flattened());
        for (cell, text) in [header::NODE, header::PROGRAM, header::WRITER].into_iter().zip(texts) {
            names::write_cell(self.words(cell), text);
        }
        let descriptors = self.words(map.metrics.range());
        for (slot, (name, unit, kind, help)) in descriptors.chunks(map.metrics.stride).zip(metrics::BUILTIN) {
            metrics::describe(slot, name, unit, *kind, help);
        }
        clock_samples::Log::new(self.words(map.clock_samples.range())).append(0, || first);
        self.set_state(State::Starting);
    }

    /// Stores the clocks of the node. Call it before [`Self::publish`].
    pub fn set_time(&self, time: TimeRecord) {
        let words: [u64; size_of::<TimeRecord>() / WORD] = zerocopy::transmute!(time);
        words::store(self.words(header::TIME), &words);
    }

    /// Stores the crashes before this node. Call it before [`Self::publish`].
    pub fn set_history(&self, history: HistoryRecord) {
        let words: [u64; size_of::<HistoryRecord>() / WORD] = zerocopy::transmute!(history);
        words::store(self.words(header::HISTORY), &words);
    }

    /// Notes how the process ends. A later note replaces an earlier one. False, and nothing is stored, while another thread
    /// notes something, or this thread did when a signal interrupted it. Allowed in a signal handler.
    pub fn note_end(&self, record: EndRecord) -> bool {
        let words: [u64; size_of::<EndRecord>() / WORD] = zerocopy::transmute!(record);
        seqlock::write_shared(self.words(header::END), &words)
    }

    /// Takes a note back, unless it was replaced by another one. Allowed in a signal handler.
    pub fn withdraw_end(&self, record: EndRecord) {
        const WORDS: usize = size_of::<EndRecord>() / WORD;
        let (none, note): ([u64; WORDS], [u64; WORDS]) =
            (zerocopy::transmute!(EndRecord::default()), zerocopy::transmute!(record));
        let is_it = |held: &[AtomicU64]| {
            held.iter().zip(note).all(|(word, noted)| word.load(Ordering::Relaxed) == noted)
        };
        // If it is not replaced, another thread has just replaced it, or is doing so.
        let _ = seqlock::write_shared_if(self.words(header::END), is_it, |end| words::store(end, &none));
    }

    /// Whether the region is closed.
    pub fn is_closed(&self) -> bool {
        self.0.get(header::STATE).is_some_and(|word| word.load(Ordering::Acquire) == State::Closed as u64)
    }

    /// Publishes the region: stores the version, then the magic.
    pub fn publish(&self) {
        self.store(
            header::VERSION,
            u64::from(VERSION_MAJOR) << 32 | u64::from(VERSION_MINOR),
            Ordering::Relaxed,
        );
        self.store(header::MAGIC, MAGIC, Ordering::Release);
    }

    /// Moves to `state`, if it is later than the current one.
    pub fn set_state(&self, state: State) {
        if let Some(word) = self.0.get(header::STATE) {
            word.fetch_max(state as u64, Ordering::Release);
        }
    }

    /// Moves from *running* back to *starting*: an actor system is to be installed. Changes nothing in another state, so that a
    /// node that stops or is closed stays so.
    pub fn await_system(&self) {
        let (from, to) = (State::Running as u64, State::Starting as u64);
        if let Some(word) = self.0.get(header::STATE) {
            let _ = word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Sets the bit of `condition`.
    pub fn raise(&self, condition: Condition) {
        if let Some(word) = self.0.get(header::CONDITIONS) {
            word.fetch_or(condition.bit(), Ordering::Release);
        }
    }

    /// Clears the bit of `condition`.
    pub fn withdraw(&self, condition: Condition) {
        if let Some(word) = self.0.get(header::CONDITIONS) {
            word.fetch_and(!condition.bit(), Ordering::Release);
        }
    }

    /// Records that `attachment` was made. Call it before the attachment counts anything; for a polled component, after its
    /// first poll, so that no number is known too early. Costs one load if it is recorded already.
    pub fn attach(&self, attachment: Attachment) {
        if let Some(word) = self.0.get(header::ATTACHED) {
            if word.load(Ordering::Relaxed) & attachment.bit() == 0 {
                word.fetch_or(attachment.bit(), Ordering::Release);
            }
        }
    }

    /// Stores the name of the actor system. Call it at most once.
    pub fn set_system(&self, name: &str) {
        names::write_cell(self.words(header::SYSTEM), name);
    }

    /// A beat of the sampler.
    pub fn process_beat(&self, mono_ns: u64) {
        self.beat(header::PROCESS_BEAT, mono_ns);
    }

    /// A beat of the task of the async runtime.
    pub fn runtime_beat(&self, mono_ns: u64) {
        self.beat(header::RUNTIME_BEAT, mono_ns);
    }

    /// Resets the heartbeat of the runtime, as if it was never started.
    pub fn no_runtime_beat(&self) {
        self.store(header::RUNTIME_BEAT.start, 0, Ordering::Relaxed);
    }

    /// A beat of the poller.
    pub fn poll_beat(&self, mono_ns: u64) {
        self.beat(header::POLL_BEAT, mono_ns);
    }

    fn beat(&self, at: core::ops::Range<usize>, mono_ns: u64) {
        if let [count, time] = self.words(at) {
            time.store(mono_ns, Ordering::Relaxed);
            // A reader that sees the count also sees this time or a later one. So a first beat never has the time 0.
            fence(Ordering::Release);
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
