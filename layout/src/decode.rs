//! From a region to owned data: every value of a region is decoded here and nowhere else.
//!
//! The same code serves the node itself (a snapshot in its own process) and every other program. It trusts nothing:
//! what cannot be read is counted, not shown.
//!
//! # Bounds
//! Whatever a region holds, reading looks at each of its records a fixed number of times, waits for writers no longer than
//! one [`Patience`] allows for each pass, and holds no more memory at a time than thirty times the region's size: no text
//! is longer than its record, or than a name may be.

mod actors;
pub mod subsystems;

use core::hash::{Hash as _, Hasher as _};
use core::mem::offset_of;
use core::ops::Range;
use core::time::Duration;
use std::hash::DefaultHasher;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use zerocopy::{FromZeros, IntoBytes};

use crate::attached::Attached;
use crate::dto::{ActorSnapshot, DeadLetterRecord, NodeSnapshot};
use crate::error::OpenError;
use crate::instances::InstanceRecord;
use crate::metrics::{Builtin, Kind, Metric, read_descriptor};
use crate::names::{read_cell, read_name};
use crate::records::{
    ActorRecord, ClockRecord, DEAD_LETTER_WORDS, SightingRecord, TimeRecord, dead_letter_flags,
};
use crate::region::{Condition, HeaderRecord, RegionMap, Section, State, header};
use crate::ring::{RingReader, SlotRead};
use crate::seqlock::{self, Patience};
use crate::sync::{Ordering, fence};
use crate::words::{WORD, Words};
use crate::{event, lanes, records, sightings, table};

pub use actors::{Actor, ActorEntry, ActorList, ActorTree, Actors, Class, ClassCounts, SpawnedAt, Tally};
use subsystems::Subsystems;

/// A region that was opened for reading.
#[derive(Debug, Clone, Copy)]
pub struct RegionReader<'a> {
    words: Words<'a>,
    map: RegionMap,
    header: HeaderRecord,
}

/// A beat: how often, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Beats so far; 0 = none was ever started.
    pub count: u64,
    /// Monotonic nanoseconds of the last one.
    pub mono_ns: u64,
}

/// The conditions that hold. Bits that are not known are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions(u64);

impl Conditions {
    /// Whether `condition` holds.
    pub fn has(self, condition: Condition) -> bool {
        self.0 & condition.bit() != 0
    }
}

impl FromIterator<Condition> for Conditions {
    fn from_iter<I: IntoIterator<Item = Condition>>(conditions: I) -> Self {
        Self(conditions.into_iter().fold(0, |bits, condition| bits | condition.bit()))
    }
}

impl Beat {
    /// That of the probe's thread, read from a region's header.
    pub fn of_process(region: Words<'_>) -> Self {
        Self::read(region, header::PROCESS_BEAT)
    }

    /// Reads one of a region's header.
    pub(crate) fn read(region: Words<'_>, at: Range<usize>) -> Self {
        let count = region.load(at.start);
        // The time is of this beat, or of a later one.
        fence(Ordering::Acquire);
        Self { count, mono_ns: region.load(at.start + 1) }
    }
}

/// How far a node says in its region's header that it has come; `None` if it holds no such number.
pub fn state(region: Words<'_>) -> Option<State> {
    State::from_word(region.load(header::STATE))
}

/// Who made a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// The actor system's name, once one is installed.
    pub system: Option<String>,
    /// Path of the program.
    pub program: String,
    /// Version of the probe that wrote it.
    pub writer: String,
    /// The fixed part.
    pub header: HeaderRecord,
    /// In which clocks the node's times are; zeros where it does not say.
    pub time: TimeRecord,
}

impl Identity {
    /// Reads who made a region from its header, of which no more than [`crate::region::HEADER_BYTES`] need be there.
    pub fn read(region: Words<'_>) -> Result<Self, OpenError> {
        HeaderRecord::read(region).map(|header| Self::of(region, header))
    }

    fn of(region: Words<'_>, header: HeaderRecord) -> Self {
        let text = |range| region.slice(range).and_then(read_cell);
        Self {
            node: text(header::NODE).unwrap_or_default(),
            system: text(header::SYSTEM),
            program: text(header::PROGRAM).unwrap_or_default(),
            writer: text(header::WRITER).unwrap_or_default(),
            header,
            time: TimeRecord::of(region),
        }
    }

    /// When the region was made, by the node's clocks.
    pub fn created(&self) -> Moment {
        let known = |ns: u64| (ns != 0).then_some(i128::from(ns));
        Moment {
            unix_ns: i128::from(self.header.created_unix_ns),
            mono_ns: known(self.time.created_mono_ns),
            boot_ns: known(self.time.created_boot_ns),
        }
    }

    /// The same, to be compared with that of other regions.
    pub fn birth(&self) -> Birth {
        let boot_id = (self.header.boot_id != [0, 0]).then_some(self.header.boot_id);
        // Of the machine, whatever the node's time namespace shows.
        let offset = i128::from(self.time.mono_offset_ns as i64);
        let mono_ns = self.created().mono_ns.map(|ns| ns - offset).filter(|_| boot_id.is_some());
        Birth { boot_id, mono_ns, unix_ns: self.header.created_unix_ns }
    }
}

/// When a region was made, for comparing it with others: by the machine's monotonic clock where both were made since the
/// same boot, else by the wall clock, which may have been set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Which boot, where that is known.
    boot_id: Option<[u64; 2]>,
    /// Where the boot is known.
    mono_ns: Option<i128>,
    unix_ns: u64,
}

/// The place of a region among others: more of what was made later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    is_of_this_boot: bool,
    boot_unix_ns: u64,
    boot_id: Option<[u64; 2]>,
    ns: i128,
}

impl Birth {
    /// Whether it was later than `other`.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self.mono_ns, other.mono_ns) {
            (Some(ns), Some(earlier)) if self.boot_id == other.boot_id => ns > earlier,
            _ => self.unix_ns > other.unix_ns,
        }
    }

    /// The rank of each of these. Regions of one boot stand together, those of `this_boot` last; other boots come by their
    /// newest region.
    pub fn ranks(all: &[Self], this_boot: Option<[u64; 2]>) -> Vec<Rank> {
        let rank = |birth: &Self| {
            let with = |other: &&Self| birth.boot_id.is_some() && other.boot_id == birth.boot_id;
            let is_told = birth.mono_ns.is_some() && all.iter().filter(with).all(|of| of.mono_ns.is_some());
            Rank {
                is_of_this_boot: birth.boot_id.is_some() && birth.boot_id == this_boot,
                boot_unix_ns: all.iter().filter(with).map(|of| of.unix_ns).max().unwrap_or(birth.unix_ns),
                boot_id: birth.boot_id,
                ns: birth.mono_ns.filter(|_| is_told).unwrap_or(i128::from(birth.unix_ns)),
            }
        };
        all.iter().map(rank).collect()
    }
}

impl TimeRecord {
    /// Reads it from a region's header; zeros, which say nothing, in one that is older.
    pub fn of(region: Words<'_>) -> Self {
        let mut words = [0u64; size_of::<Self>() / WORD];
        if let Some(from) = region.slice(header::TIME) {
            from.copy_to(&mut words);
        }
        zerocopy::transmute!(words)
    }
}

/// A time, as the clocks of a node told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// UTC nanoseconds since 1970: what people are shown. The clock may have been set since.
    pub unix_ns: i128,
    /// By the node's monotonic clock, where that is known.
    pub mono_ns: Option<i128>,
    /// By the node's clock since boot, where that is known; it also goes on while the machine is suspended.
    pub boot_ns: Option<i128>,
}

impl Moment {
    /// Whether it was later than `other`, by a clock that nobody sets where they have one in common.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self.steady_since(other), self.unix_ns > other.unix_ns) {
            (Some(ns), _) => ns > 0,
            (None, is_after) => is_after,
        }
    }

    /// By a clock that nobody sets.
    fn steady_since(&self, earlier: &Self) -> Option<i128> {
        let difference = |one: Option<i128>, other: Option<i128>| Some(one?.saturating_sub(other?));
        difference(self.boot_ns, earlier.boot_ns).or(difference(self.mono_ns, earlier.mono_ns))
    }

    /// How long after `earlier` it was: by a clock that nobody sets, and by the wall clock where there is none in
    /// common. `None` where that says that it was before, as its being set makes it.
    pub fn since(&self, earlier: &Self) -> Option<Duration> {
        let ns = match self.steady_since(earlier) {
            // Clocks of two processors may differ by a little.
            Some(ns) => ns.max(0),
            None => self.unix_ns.saturating_sub(earlier.unix_ns),
        };
        (ns >= 0).then(|| Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }
}

/// Turns stamps into times. One that has been told never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// At least one, by their ticks.
    sightings: Arc<[Sighting]>,
    /// The last stamp whose time is known, where that is not all of them.
    until: Option<u64>,
    /// *Changes* of the log that it is from.
    changes: u64,
}

/// From `ticks` on a tick lasts `ns / per` nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sighting {
    ticks: u64,
    unix_ns: i128,
    mono_ns: u64,
    boot_ns: Option<u64>,
    ns: u64,
    per: u64,
}

/// The newest dead letters, and how sure that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Newest first.
    pub recent: Vec<DeadLetterRecord>,
    /// How many there ever were.
    pub total: u64,
    /// How many of those are no longer kept.
    pub lapped: u64,
    /// How many of those kept were given up by their writers.
    pub abandoned: u64,
    /// How many of those kept could not be read: unfinished or damaged.
    pub unreadable: u64,
}

/// The totals of the actor probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ActorTotals {
    /// Spawned since the probe was installed.
    pub spawned: u64,
    /// Of those, stopped.
    pub stopped: u64,
    /// Reported again while live.
    pub replaced: u64,
    /// Live now, by counting.
    pub live: u64,
    /// Stops of actors that were there before the probe.
    pub foreign: u64,
    /// Live actors for which the table had no room at all.
    pub untracked: u64,
    /// Whether such have ever occurred, or stops of which nobody knows whose they were: the list of live actors may then
    /// be wrong for good.
    pub inexact: bool,
}

impl<'a> RegionReader<'a> {
    /// Opens a region: checks the header and the directory.
    pub fn open(words: Words<'a>) -> Result<Self, OpenError> {
        let (map, header) = RegionMap::read(words)?;
        Ok(Self { words, map, header })
    }

    /// Opens what is there of a region of `bytes` bytes: at least its header. A section that is not all there reads as
    /// empty.
    pub fn open_part(words: Words<'a>, bytes: u64) -> Result<Self, OpenError> {
        let (map, header) = RegionMap::read_part(words, bytes)?;
        Ok(Self { words, map, header })
    }

    /// Where everything lies.
    pub fn map(&self) -> &RegionMap {
        &self.map
    }

    fn section(&self, section: Section) -> Words<'a> {
        // RegionMap::read has checked that every section lies inside the region; of a part it may still be missing.
        self.words.slice(section.range()).unwrap_or(Words::new(&[]))
    }

    /// Who made it.
    pub fn identity(&self) -> Identity {
        Identity::of(self.words, self.header)
    }

    /// Major and minor version of its layout.
    pub fn layout_version(&self) -> (u32, u32) {
        let version = self.words.load(header::VERSION);
        ((version >> 32) as u32, version as u32)
    }

    /// How far the node says it has come; `None` if it holds no such number.
    pub fn state(&self) -> Option<State> {
        state(self.words)
    }

    /// What became of what the probe was installed on.
    pub fn conditions(&self) -> Conditions {
        Conditions(self.words.load(header::CONDITIONS))
    }

    /// The beat of the probe's own thread.
    pub fn process_beat(&self) -> Beat {
        Beat::of_process(self.words)
    }

    /// The beat of a task of the async runtime.
    pub fn runtime_beat(&self) -> Beat {
        Beat::read(self.words, header::RUNTIME_BEAT)
    }

    /// The node's clock, for stamps of records that were read before.
    pub fn clock(&self) -> Option<Clock> {
        let mut words = [0u64; size_of::<ClockRecord>() / WORD];
        // Before the log: no sighting that comes later begins before these ticks.
        let cell = self.words.slice(header::CLOCK)?;
        let record = seqlock::read(cell, &mut words).ok().map(|()| zerocopy::transmute!(words));
        let log = sightings::read(self.section(self.map.sightings), self.map.sightings.stride);
        Clock::of(&log, record)
    }

    /// Whether the log of sightings was changed since `clock` was read from it. For a stamp of a record that was read
    /// before.
    fn has_newer(&self, clock: &Clock) -> bool {
        sightings::changes(self.section(self.map.sightings)) != clock.changes
    }

    /// Gives `see` every stamp that somebody may be told the time of. One pass over all tables and rings.
    pub fn each_stamp(&self, mut see: impl FnMut(u64)) {
        let map = &self.map;
        let tables = [
            (map.actor_control, map.actor_slots, offset_of!(ActorRecord, spawned) / WORD),
            (map.instance_control, map.instance_slots, offset_of!(InstanceRecord, since) / WORD),
        ];
        for (control, slots, stamp) in tables {
            let (control, slots, stride) = (self.section(control), self.section(slots), slots.stride);
            let held = (0..control.len()).filter(|slot| !table::is_free(control.load(*slot)));
            held.for_each(|slot| see(slots.load(slot * stride + stamp)));
        }
        let lanes = (0..self.event_lanes()).map(|lane| self.event_lane(lane));
        let writes = self.section(map.journal_writes);
        let rings = [self.dead_letter_ring(), RingReader::new(writes, map.journal_writes.stride)];
        // Of all rings' records the stamp is the first word.
        lanes.chain(rings).for_each(|ring| ring.each_first_word(&mut see));
    }

    /// The beat of the thread that polls.
    pub fn poll_beat(&self) -> Beat {
        Beat::read(self.words, header::POLL_BEAT)
    }

    /// Which attachments were made. Read before any number: what was counted by then is there.
    pub fn attached(&self) -> Attached {
        let attached = Attached::of(self.words.load(header::ATTACHED));
        fence(Ordering::Acquire);
        attached
    }

    /// The value of a built-in metric; 0 in a region that is older than the metric, and where nothing counts it.
    pub fn builtin(&self, metric: Builtin) -> u64 {
        if metric as u64 >= self.header.builtins() {
            return 0;
        }
        lanes::sum(self.section(self.map.counters), self.map.counters.stride, metric as usize)
    }

    /// All metrics that have a descriptor.
    pub fn metrics(&self) -> Vec<Metric> {
        let (section, counters) = (self.section(self.map.metrics), self.section(self.map.counters));
        let stride = self.map.metrics.stride;
        let attached = self.attached();
        let is_counted =
            |number: usize| number as u64 >= self.header.builtins() || attached.counts_number(number);
        (0..self.map.metrics.count)
            .filter_map(|number| {
                let mut metric = read_descriptor(section.slice(number * stride..(number + 1) * stride)?)?;
                let value = match metric.kind {
                    Kind::Counter => lanes::sum(counters, self.map.counters.stride, number),
                    Kind::Gauge => counters.load(number),
                    Kind::Histogram => {
                        let histogram = self.histogram(counters.load(number))?;
                        let count = histogram.count;
                        metric.histogram = Some(histogram);
                        count
                    }
                };
                metric.value = (value > 0 || is_counted(number)).then_some(value);
                Some(metric)
            })
            .collect()
    }

    /// The totals of the actor probe. What is subtracted is read before `spawned`, so that `live` is never below the truth.
    pub fn actor_totals(&self) -> ActorTotals {
        let of = |metric| self.builtin(metric);
        let (stopped, replaced) = (of(Builtin::Stopped), of(Builtin::Replaced));
        let (matched, untracked_stops) = (of(Builtin::UntrackedMatched), of(Builtin::UntrackedStops));
        lanes::after_ends();
        let foreign = of(Builtin::Foreign);
        let untracked_spawns = of(Builtin::UntrackedSpawns);
        let spawned = of(Builtin::Spawned);
        let stopped = stopped.saturating_sub(foreign);
        ActorTotals {
            spawned,
            stopped,
            replaced,
            live: spawned.saturating_sub(stopped).saturating_sub(replaced),
            foreign,
            untracked: untracked_spawns.saturating_sub(untracked_stops).saturating_sub(matched),
            inexact: untracked_spawns > 0 || untracked_stops > 0 || of(Builtin::DoubtfulStops) > 0,
        }
    }

    /// Whether actors were spawned and all of them have stopped. False where that is not certain: while a stop waits for
    /// its spawn, and once stops of actors have come that are older than the probe, since others of those may live.
    pub fn no_actor_is_left(&self) -> bool {
        let ActorTotals { spawned, live, foreign, inexact, .. } = self.actor_totals();
        // A stop is counted before it is known to be early.
        let waits = self.builtin(Builtin::EarlyStops) != self.builtin(Builtin::EarlyStopsDone);
        spawned > 0 && live == 0 && foreign == 0 && !inexact && !waits
    }

    /// How many dead letters there ever were.
    pub fn dead_letter_total(&self) -> u64 {
        self.dead_letter_ring().head()
    }

    fn dead_letter_ring(&self) -> RingReader<'a> {
        RingReader::new(self.section(self.map.dead_letters), self.map.dead_letters.stride)
    }

    /// The newest dead letters, at most `limit` of them. One pass over the ring; of those beyond the limit only what
    /// became of them is looked at.
    pub fn dead_letters(&self, limit: usize) -> DeadLetters {
        let ring = self.dead_letter_ring();
        let mut names = Names::default();
        let total = ring.head();
        let kept = total.min(ring.capacity());
        let mut stamps = Vec::new();
        let mut letters = DeadLetters { total, lapped: total - kept, ..DeadLetters::default() };
        let mut words = [0u64; DEAD_LETTER_WORDS];
        let mut patience = Patience::for_a_pass();
        for ticket in (total - kept..total).rev() {
            let is_wanted = letters.recent.len() < limit;
            let out = if is_wanted { words.as_mut_slice() } else { &mut [] };
            match ring.read(ticket, out, &mut patience) {
                Ok(SlotRead::Record) if !is_wanted => {}
                Ok(SlotRead::Record) => match decode_dead_letter(ticket, &words, self, &mut names) {
                    Some((letter, stamp)) => {
                        letters.recent.push(letter);
                        stamps.push(stamp);
                    }
                    None => letters.unreadable += 1,
                },
                Ok(SlotRead::Lapped) => letters.lapped += 1,
                Ok(SlotRead::Abandoned) => letters.abandoned += 1,
                Ok(SlotRead::Pending) | Err(_) => letters.unreadable += 1,
            }
        }
        let clock = self.clock();
        for (letter, stamp) in letters.recent.iter_mut().zip(stamps) {
            letter.timestamp = time_text(clock.as_ref(), stamp);
        }
        letters
    }

    /// Lanes of events.
    pub fn event_lanes(&self) -> usize {
        self.map.events.count
    }

    /// The ring of an event lane.
    pub fn event_lane(&self, lane: usize) -> RingReader<'a> {
        let Section { start, count, stride } = self.map.events;
        let lane = start + lane.min(count - 1) * stride;
        RingReader::new(
            self.words.slice(lane..lane + stride).unwrap_or(Words::new(&[])),
            event::EVENT_SLOT_BYTES / WORD,
        )
    }

    /// What reads the records of events.
    pub fn event_decoder(&self) -> EventDecoder<'a> {
        EventDecoder { reader: *self, names: Names::default(), clock: self.clock() }
    }
}

impl NodeSnapshot {
    /// Everything that is told of a node, from parts that were read before.
    pub fn of(
        node: String,
        generated_at: String,
        actors: impl Into<ActorSnapshot>,
        letters: DeadLetters,
        subsystems: Subsystems,
    ) -> Self {
        let Subsystems { cluster, sharding, persistence, remote, streams, ddata, .. } = subsystems;
        Self {
            node,
            generated_at,
            actors: actors.into(),
            dead_letters: letters.recent,
            cluster,
            sharding,
            persistence,
            remote,
            streams,
            ddata,
        }
    }
}

/// Names that were looked up before, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names(Vec<Option<String>>);

/// What stands for a name that the region does not hold.
const NO_NAME: &str = "?";

impl Names {
    /// The name, looked up unless it was before.
    fn learn(&mut self, reader: &RegionReader<'_>, id: u32) -> &str {
        let (at, names) = (id as usize, reader.map.names);
        if at <= names.count && self.0.get(at).is_none_or(Option::is_none) {
            self.0.resize(self.0.len().max(at + 1), None);
            self.0[at] = read_name(reader.section(names), names.stride, id);
        }
        self.get(id)
    }

    /// A mark to which is added what names were found.
    fn marked(&self, mut mark: DefaultHasher) -> u64 {
        self.0.hash(&mut mark);
        mark.finish()
    }

    /// The name, or `?` where the region held none of that number.
    fn get(&self, id: u32) -> &str {
        self.0.get(id as usize).and_then(Option::as_deref).unwrap_or(NO_NAME)
    }
}

/// Reads events' records; for one pass over them.
pub struct EventDecoder<'a> {
    reader: RegionReader<'a>,
    names: Names,
    clock: Option<Clock>,
}

impl core::fmt::Debug for EventDecoder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("EventDecoder")
    }
}

impl EventDecoder<'_> {
    /// Reads a record that was copied before; `None` if it holds what no writer writes.
    pub fn decode(&mut self, words: &[u64; event::EVENT_WORDS]) -> Option<event::EventPart> {
        if self.clock.as_ref().is_some_and(|clock| self.reader.has_newer(clock)) {
            self.clock = self.reader.clock().or(self.clock.take());
        }
        event::decode(
            words,
            |id| self.names.learn(&self.reader, id).to_owned(),
            |stamp| time_text(self.clock.as_ref(), stamp),
        )
    }
}

/// Takes one text after the other off the front of a record's text.
#[derive(Debug)]
pub struct Texts<'a>(pub &'a [u8]);

impl<'a> Texts<'a> {
    /// The next one, if there are as many bytes and they are one.
    pub fn take(&mut self, bytes: u16) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(bytes as usize)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }
}

fn decode_dead_letter(
    ticket: u64,
    words: &[u64; DEAD_LETTER_WORDS],
    reader: &RegionReader<'_>,
    names: &mut Names,
) -> Option<(DeadLetterRecord, u64)> {
    let mut record = records::LetterRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut texts = Texts(&record.text);
    let recipient = texts.take(record.recipient_bytes)?;
    let sender = texts.take(record.sender_bytes)?;
    let type_text = texts.take(record.type_bytes)?;
    let preview = texts.take(record.preview_bytes)?;
    let message_type = match record.type_id {
        0 => type_text,
        id => names.learn(reader, id),
    };
    let letter = DeadLetterRecord {
        seq: ticket.wrapping_add(1),
        recipient: recipient.to_owned(),
        sender: (record.flags & dead_letter_flags::SENDER != 0).then(|| sender.to_owned()),
        message_type: message_type.to_owned(),
        message_preview: preview.to_owned(),
        timestamp: String::new(),
    };
    Some((letter, record.stamp))
}

/// The time of a stamp as text; empty where it is not known.
fn time_text(clock: Option<&Clock>, stamp: u64) -> String {
    clock.and_then(|clock| clock.unix_ns(stamp)).map(rfc3339).unwrap_or_default()
}

impl Clock {
    /// The clock of this record alone, as minor versions before 2 tell it.
    pub fn new(record: ClockRecord) -> Self {
        let ticks = record.last_ticks.saturating_sub(record.first_ticks);
        let ns = record.last_mono_ns.saturating_sub(record.first_mono_ns);
        // Before the second sighting a tick counts as a nanosecond.
        let (ns, per) = if ticks > 0 && ns > 0 { (ns, ticks) } else { (1, 1) };
        let sighting = Sighting {
            ticks: record.first_ticks,
            unix_ns: i128::from(record.first_mono_ns) + i128::from(record.unix_minus_mono_ns as i64),
            mono_ns: record.first_mono_ns,
            boot_ns: None,
            ns,
            per,
        };
        Self { sightings: [sighting].into(), until: None, changes: 0 }
    }

    /// The clock of a log of sightings, or without any that of `record`, which was read before.
    pub fn of(log: &sightings::Sightings, record: Option<ClockRecord>) -> Option<Self> {
        let Some(last) = log.all.last() else {
            return Some(Self { changes: log.changes, ..Self::new(record?) });
        };
        let until = log.is_open.then(|| record.map_or(last.ticks, |record| record.last_ticks));
        let sightings = log.all.iter().map(Sighting::of).collect();
        Some(Self { sightings, until, changes: log.changes })
    }

    /// UTC nanoseconds since 1970 of a stamp. `None` where the log was being changed, and only the next look can say.
    pub fn unix_ns(&self, stamp: u64) -> Option<i128> {
        let sighting = self.sighting_of(stamp)?;
        Some(sighting.unix_ns.saturating_add(sighting.elapsed_ns(stamp)))
    }

    /// When a stamp was given.
    pub fn moment(&self, stamp: u64) -> Option<Moment> {
        let sighting = self.sighting_of(stamp)?;
        Some(sighting.moment(sighting.elapsed_ns(stamp)))
    }

    /// When the node's monotonic clock showed this, as at a beat.
    pub fn moment_of_mono(&self, mono_ns: u64) -> Moment {
        let at = self.sightings.iter().rposition(|sighting| sighting.mono_ns <= mono_ns).unwrap_or(0);
        let sighting = &self.sightings[at];
        sighting.moment(i128::from(mono_ns) - i128::from(sighting.mono_ns))
    }

    fn sighting_of(&self, stamp: u64) -> Option<&Sighting> {
        if self.until.is_some_and(|until| stamp > until) {
            return None;
        }
        let after = self.sightings.partition_point(|sighting| sighting.ticks <= stamp);
        self.sightings.get(after.saturating_sub(1))
    }
}

impl Sighting {
    fn of(record: &SightingRecord) -> Self {
        Self {
            ticks: record.ticks,
            unix_ns: i128::from(record.unix_ns as i64),
            mono_ns: record.mono_ns,
            boot_ns: Some(record.boot_ns),
            ns: record.rate,
            per: SightingRecord::RATE_ONE,
        }
    }

    /// From its ticks to a stamp.
    fn elapsed_ns(&self, stamp: u64) -> i128 {
        let ticks = i128::from(stamp) - i128::from(self.ticks);
        ticks.saturating_mul(i128::from(self.ns)) / i128::from(self.per)
    }

    /// So long after it.
    fn moment(&self, elapsed_ns: i128) -> Moment {
        let after = |ns: u64| i128::from(ns).saturating_add(elapsed_ns);
        Moment {
            unix_ns: self.unix_ns.saturating_add(elapsed_ns),
            mono_ns: Some(after(self.mono_ns)),
            boot_ns: self.boot_ns.map(after),
        }
    }
}

/// RFC 3339 in UTC with nanoseconds; a time that no calendar has is the empty text.
pub fn rfc3339(unix_ns: i128) -> String {
    with_rfc3339(unix_ns, str::to_owned)
}

/// Hands the same to `take`, without an allocation where the time is one of the usual ones.
fn with_rfc3339<T>(unix_ns: i128, take: impl FnOnce(&str) -> T) -> T {
    match u64::try_from(unix_ns).map(usual_rfc3339) {
        Ok(text) => take(core::str::from_utf8(&text).unwrap_or_default()),
        Err(_) => {
            take(&Timestamp::from_nanosecond(unix_ns).map(|time| format!("{time:.9}")).unwrap_or_default())
        }
    }
}

/// From 1970 to 2554, where a calendar is a few divisions: a snapshot of a million actors has a million of these.
fn usual_rfc3339(unix_ns: u64) -> [u8; 30] {
    let (second, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    // Years begin in March here, so that the leap day is the last of its year; an era has 400 of them.
    let days = second / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |digits: Range<usize>, mut value: u64| {
        for digit in text[digits].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0..4, year);
    put(5..7, month);
    put(8..10, day);
    put(11..13, second / 3_600 % 24);
    put(14..16, second / 60 % 60);
    put(17..19, second % 60);
    put(20..29, ns);
    text
}
