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
use core::ops::Range;
use std::hash::DefaultHasher;

use jiff::Timestamp;
use serde::Serialize;
use zerocopy::{FromZeros, IntoBytes};

use crate::dto::{ActorSnapshot, DeadLetterRecord, NodeSnapshot};
use crate::error::OpenError;
use crate::metrics::{Builtin, Kind, Metric, read_descriptor};
use crate::names::{read_cell, read_name};
use crate::records::{ClockRecord, DEAD_LETTER_WORDS, dead_letter_flags};
use crate::region::{HeaderRecord, RegionMap, Section, State, header};
use crate::ring::{Found, RingReader};
use crate::seqlock::{self, Patience};
use crate::words::{WORD, Words};
use crate::{event, lanes, records};

pub use actors::{Actor, ActorEntry, ActorList, ActorTree, Actors, Census, Class, SpawnedAt, Tally};
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
        }
    }
}

/// Turns stamps into times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock(ClockRecord);

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
    /// Whether such have ever occurred: the list of live actors may then miss some for good.
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
        State::from_word(self.words.load(header::STATE))
    }

    /// The beat of the probe's own thread.
    pub fn process_beat(&self) -> Beat {
        self.beat(header::PROCESS_BEAT.start)
    }

    /// The beat of a task of the async runtime.
    pub fn runtime_beat(&self) -> Beat {
        self.beat(header::RUNTIME_BEAT.start)
    }

    fn beat(&self, word: usize) -> Beat {
        Beat { count: self.words.load(word), mono_ns: self.words.load(word + 1) }
    }

    /// The node's clock.
    pub fn clock(&self) -> Option<Clock> {
        let mut words = [0u64; size_of::<ClockRecord>() / WORD];
        seqlock::read(self.words.slice(header::CLOCK)?, &mut words).ok()?;
        Some(Clock(zerocopy::transmute!(words)))
    }

    /// The beat of the thread that polls.
    pub fn poll_beat(&self) -> Beat {
        self.beat(header::POLL_BEAT.start)
    }

    /// The value of a built-in metric; 0 in a region that is older than the metric.
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
        (0..self.map.metrics.count)
            .filter_map(|number| {
                let mut metric = read_descriptor(section.slice(number * stride..(number + 1) * stride)?)?;
                metric.value = match metric.kind {
                    Kind::Counter => lanes::sum(counters, self.map.counters.stride, number),
                    Kind::Gauge => counters.load(number),
                    Kind::Histogram => {
                        let histogram = self.histogram(counters.load(number))?;
                        let count = histogram.count;
                        metric.histogram = Some(histogram);
                        count
                    }
                };
                Some(metric)
            })
            .collect()
    }

    /// The totals of the actor probe. `stopped` is read before `spawned`, so that `live` is never below the truth.
    pub fn actor_totals(&self) -> ActorTotals {
        let of = |metric| self.builtin(metric);
        let (stopped, replaced) = (of(Builtin::Stopped), of(Builtin::Replaced));
        let foreign = of(Builtin::Foreign);
        let (matched, untracked_stops) = (of(Builtin::UntrackedMatched), of(Builtin::UntrackedStops));
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
            inexact: untracked_spawns > 0 || untracked_stops > 0,
        }
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
        let clock = self.clock();
        let total = ring.head();
        let kept = total.min(ring.capacity());
        let mut letters = DeadLetters { total, lapped: total - kept, ..DeadLetters::default() };
        let mut words = [0u64; DEAD_LETTER_WORDS];
        let mut patience = Patience::for_a_pass();
        for ticket in (total - kept..total).rev() {
            let is_wanted = letters.recent.len() < limit;
            let out = if is_wanted { words.as_mut_slice() } else { &mut [] };
            match ring.read(ticket, out, &mut patience) {
                Ok(Found::Record) if !is_wanted => {}
                Ok(Found::Record) => {
                    match decode_dead_letter(ticket, &words, self, &mut names, clock.as_ref()) {
                        Some(letter) => letters.recent.push(letter),
                        None => letters.unreadable += 1,
                    }
                }
                Ok(Found::Lapped) => letters.lapped += 1,
                Ok(Found::Abandoned) => letters.abandoned += 1,
                Ok(Found::Pending) | Err(_) => letters.unreadable += 1,
            }
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

    /// What reads the records of events, with the clock as it is now.
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
    /// Reads a record; `None` if it holds what no writer writes.
    pub fn decode(&mut self, words: &[u64; event::EVENT_WORDS]) -> Option<event::Part> {
        event::decode(
            words,
            |id| self.names.learn(&self.reader, id).to_owned(),
            |stamp| self.clock.map(|clock| rfc3339(clock.unix_ns(stamp))).unwrap_or_default(),
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
    clock: Option<&Clock>,
) -> Option<DeadLetterRecord> {
    let mut record = records::DeadLetterRecord::new_zeroed();
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
    Some(DeadLetterRecord {
        seq: ticket.wrapping_add(1),
        recipient: recipient.to_owned(),
        sender: (record.flags & dead_letter_flags::SENDER != 0).then(|| sender.to_owned()),
        message_type: message_type.to_owned(),
        message_preview: preview.to_owned(),
        timestamp: clock.map(|clock| rfc3339(clock.unix_ns(record.stamp))).unwrap_or_default(),
    })
}

impl Clock {
    /// The clock of this record.
    pub fn new(record: ClockRecord) -> Self {
        Self(record)
    }

    /// UTC nanoseconds since 1970 of a stamp.
    pub fn unix_ns(&self, stamp: u64) -> i128 {
        let c = &self.0;
        let ticks = i128::from(c.last_ticks) - i128::from(c.first_ticks);
        let ns = i128::from(c.last_mono_ns) - i128::from(c.first_mono_ns);
        let since = i128::from(stamp) - i128::from(c.first_ticks);
        // Before the second sighting a tick counts as a nanosecond.
        let elapsed = if ticks > 0 && ns > 0 { since.saturating_mul(ns) / ticks } else { since };
        elapsed
            .saturating_add(i128::from(c.first_mono_ns))
            .saturating_add(i128::from(c.unix_minus_mono_ns as i64))
    }

    /// UTC nanoseconds since 1970 of a time of the node's monotonic clock, such as that of a beat.
    pub fn unix_ns_of_mono(&self, mono_ns: u64) -> i128 {
        i128::from(mono_ns) + i128::from(self.0.unix_minus_mono_ns as i64)
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
