//! From a region to owned data: every value of a region is decoded here and nowhere else.
//!
//! The same code serves the node itself (a snapshot in its own process) and every other program. It trusts nothing:
//! what cannot be read is counted, not shown.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use zerocopy::{FromZeros, IntoBytes};

use crate::dto::{ActorSnapshot, ActorStatus, DeadLetterRecord, NodeSnapshot, tree};
use crate::error::OpenError;
use crate::limits::PATH_CUT_MARK;
use crate::metrics::{Builtin, Kind, Metric, read_descriptor};
use crate::names::{read_cell, read_name};
use crate::records::{
    ACTOR_WORDS, ActorRecord, ClockRecord, DEAD_LETTER_WORDS, actor_flags, dead_letter_flags, live,
};
use crate::region::{HeaderRecord, RegionMap, Section, State, header};
use crate::ring::{Found, RingReader};
use crate::seqlock;
use crate::sync::{Ordering, fence, pause};
use crate::table::{Entry, Key, Sign, TableReader};
use crate::words::{WORD, Words};
use crate::{event, lanes, records};

pub mod subsystems;
use subsystems::Subsystems;

/// Passes over the actor table at most, where it is being settled at the time.
const SCAN_TRIES: u32 = 8;

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

/// A live actor, with what does not fit its [`ActorStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorEntry {
    /// What is told of it.
    pub status: ActorStatus,
    /// Hash of its path.
    pub key: Key,
    /// Hash of its parent's path.
    pub parent_key: Option<Key>,
    /// Whether the mailbox depth is known; if not it is 0.
    pub depth_known: bool,
    /// UTC nanoseconds of its spawn, by the node's clock.
    pub spawned_unix_ns: Option<i128>,
    stamp: u64,
    parent_cut: bool,
}

/// All live actors, and how sure that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actors {
    /// Those that can be listed, by path.
    pub entries: Vec<ActorEntry>,
    /// Live actors that cannot be listed, since the table was full around them.
    pub unlisted: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Stops that wait for their spawn.
    pub waiting_stops: u64,
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
    /// Whether such have ever occurred: the list of live actors may then miss some for good.
    pub inexact: bool,
}

impl<'a> RegionReader<'a> {
    /// Opens a region: checks the header and the directory.
    pub fn open(words: Words<'a>) -> Result<Self, OpenError> {
        let (map, header) = RegionMap::read(words)?;
        Ok(Self { words, map, header })
    }

    /// Where everything lies.
    pub fn map(&self) -> &RegionMap {
        &self.map
    }

    fn section(&self, section: Section) -> Words<'a> {
        // RegionMap::read has checked that every section lies inside the region.
        self.words.slice(section.range()).unwrap_or(Words::new(&[]))
    }

    /// Who made it.
    pub fn identity(&self) -> Identity {
        Identity::of(self.words, self.header)
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

    /// All live actors. One pass over the table, or a few where the table is being settled meanwhile; an actor that
    /// comes or goes during it may or may not be there.
    pub fn actors(&self) -> Actors {
        let clock = self.clock();
        let mut names = Names::new(self.section(self.map.names), self.map.names.stride);
        for attempt in 0..SCAN_TRIES {
            let before = self.words.load(header::SETTLING);
            fence(Ordering::Acquire);
            if before & 1 == 0 || attempt + 1 == SCAN_TRIES {
                let bag = self.scan(&mut names, clock.as_ref());
                fence(Ordering::Acquire);
                if self.words.load(header::SETTLING) == before || attempt + 1 == SCAN_TRIES {
                    return bag.add_up();
                }
            }
            (0..seqlock::READ_TRIES).for_each(pause);
        }
        Actors::default()
    }

    fn scan(&self, names: &mut Names<'_>, clock: Option<&Clock>) -> Bag {
        let map = &self.map;
        let table = TableReader::new(
            self.section(map.actor_control),
            self.section(map.actor_slots),
            map.actor_slots.stride,
            self.section(map.actor_spill),
        );
        let mut bag = Bag::default();
        let mut words = [0u64; ACTOR_WORDS];
        for slot in 0..table.len() {
            match table.read(slot, &mut words) {
                Ok(Entry::Free) => {}
                Ok(Entry::Held(Sign::Minus)) => bag.stops.push(Key([words[0], words[1]])),
                Ok(Entry::Held(Sign::Plus)) => match decode_actor(&words, names, clock) {
                    Some(entry) => bag.add(entry),
                    None => bag.unreadable += 1,
                },
                Err(_) => bag.unreadable += 1,
            }
        }
        for (fingerprint, sign) in table.spilled() {
            *bag.spilled.entry(fingerprint).or_default() += if sign == Sign::Plus { 1 } else { -1 };
        }
        bag
    }

    /// How many dead letters there ever were.
    pub fn dead_letter_total(&self) -> u64 {
        self.dead_letter_ring().head()
    }

    fn dead_letter_ring(&self) -> RingReader<'a> {
        RingReader::new(self.section(self.map.dead_letters), self.map.dead_letters.stride)
    }

    /// The newest dead letters, at most `limit` of them.
    pub fn dead_letters(&self, limit: usize) -> DeadLetters {
        let ring = self.dead_letter_ring();
        let mut names = Names::new(self.section(self.map.names), self.map.names.stride);
        let clock = self.clock();
        let total = ring.head();
        let kept = total.min(ring.capacity());
        let mut letters = DeadLetters { total, lapped: total - kept, ..DeadLetters::default() };
        let mut words = [0u64; DEAD_LETTER_WORDS];
        for ticket in (total - kept..total).rev() {
            match ring.read(ticket, &mut words) {
                Ok(Found::Record) if letters.recent.len() >= limit => {}
                Ok(Found::Record) => match decode_dead_letter(ticket, &words, &mut names, clock.as_ref()) {
                    Some(letter) => letters.recent.push(letter),
                    None => letters.unreadable += 1,
                },
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

    /// Reads an event's record.
    pub fn decode_event(&self, words: &[u64; event::EVENT_WORDS]) -> Option<event::Part> {
        let names = self.section(self.map.names);
        event::decode(
            words,
            |id| read_name(names, self.map.names.stride, id).unwrap_or_else(|| "?".to_owned()),
            |stamp| self.clock().map(|clock| rfc3339(clock.unix_ns(stamp))).unwrap_or_default(),
        )
    }
}

impl NodeSnapshot {
    /// Everything that is told of a node, from parts that were read before.
    pub fn of(
        node: String,
        generated_at: String,
        actors: Actors,
        letters: DeadLetters,
        subsystems: Subsystems,
    ) -> Self {
        let Subsystems { cluster, sharding, persistence, remote, streams, ddata, .. } = subsystems;
        Self {
            node,
            generated_at,
            actors: actors.into_snapshot(),
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

impl Actors {
    /// The list and the tree.
    pub fn into_snapshot(self) -> ActorSnapshot {
        let flat: Vec<ActorStatus> = self.entries.into_iter().map(|entry| entry.status).collect();
        ActorSnapshot { total: flat.len() as u64 + self.unlisted, roots: tree(&flat), flat }
    }
}

/// The entries of the table while they are added up.
#[derive(Default)]
struct Bag {
    entries: Vec<ActorEntry>,
    /// Of each key: its newest entry, and how many spawns are not yet matched by a stop.
    keys: HashMap<Key, (usize, i64)>,
    stops: Vec<Key>,
    spilled: HashMap<u64, i64>,
    unreadable: u64,
}

impl Bag {
    fn add(&mut self, entry: ActorEntry) {
        let at = self.entries.len();
        let (newest, sum) = self.keys.entry(entry.key).or_insert((at, 0));
        *sum += 1;
        if self.entries.get(*newest).is_some_and(|held| held.stamp < entry.stamp) {
            *newest = at;
        }
        self.entries.push(entry);
    }

    fn add_up(mut self) -> Actors {
        let mut waiting_stops = 0;
        for key in core::mem::take(&mut self.stops) {
            let in_table = self.keys.get_mut(&key).map(|(_, sum)| sum).filter(|sum| **sum > 0);
            let spilled = self.spilled.get_mut(&key.fingerprint()).filter(|sum| **sum > 0);
            match in_table.or(spilled) {
                Some(sum) => *sum -= 1,
                None => waiting_stops += 1,
            }
        }
        let mut unlisted = 0;
        if !self.spilled.is_empty() {
            let prints: HashMap<u64, Key> = self.keys.keys().map(|key| (key.fingerprint(), *key)).collect();
            for (fingerprint, mut sum) in core::mem::take(&mut self.spilled) {
                let in_table = prints.get(&fingerprint).and_then(|key| self.keys.get_mut(key));
                if let (true, Some((_, held))) = (sum < 0, in_table) {
                    let matched = (-sum).min(*held);
                    *held -= matched;
                    sum += matched;
                }
                unlisted += sum.max(0) as u64;
                waiting_stops += (-sum).max(0) as u64;
            }
        }
        self.name_parents();
        let shown = |at: usize, entry: &ActorEntry| {
            // One entry a key: a predecessor whose stop has not come yet is not shown beside its successor.
            self.keys.get(&entry.key).is_some_and(|(newest, sum)| *newest == at && *sum > 0)
        };
        let mut entries: Vec<ActorEntry> = self
            .entries
            .into_iter()
            .enumerate()
            .filter(|(at, entry)| shown(*at, entry))
            .map(|(_, e)| e)
            .collect();
        entries.sort_unstable_by(|a, b| a.status.path.cmp(&b.status.path));
        Actors { entries, unlisted, unreadable: self.unreadable, waiting_stops }
    }

    /// A parent of which the child's cut path holds too little goes by the path in its own entry.
    fn name_parents(&mut self) {
        for at in 0..self.entries.len() {
            let parent = self.entries[at].parent_key.filter(|_| self.entries[at].parent_cut);
            let Some(&(newest, _)) = parent.and_then(|key| self.keys.get(&key)) else { continue };
            self.entries[at].status.parent = Some(self.entries[newest].status.path.clone());
        }
    }
}

/// Names that were looked up before.
struct Names<'a> {
    section: Words<'a>,
    stride: usize,
    known: HashMap<u32, Option<String>>,
}

impl<'a> Names<'a> {
    fn new(section: Words<'a>, stride: usize) -> Self {
        Self { section, stride, known: HashMap::new() }
    }

    /// The name, or `?` where the region holds none of that number.
    fn get(&mut self, id: u32) -> &str {
        let name = self.known.entry(id).or_insert_with(|| read_name(self.section, self.stride, id));
        name.as_deref().unwrap_or("?")
    }
}

/// Takes one text after the other off the front of a record's text.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    fn take(&mut self, bytes: u16) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(bytes as usize)?;
        self.0 = rest;
        core::str::from_utf8(text).ok()
    }
}

fn decode_actor(
    words: &[u64; ACTOR_WORDS],
    names: &mut Names<'_>,
    clock: Option<&Clock>,
) -> Option<ActorEntry> {
    let mut record = ActorRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let has = |flag| record.flags & flag != 0;
    let mut texts = Texts(&record.text);
    let path = texts.take(record.path_bytes)?;
    let parent_key = has(actor_flags::PARENT).then_some(Key(record.parent_key));
    let mut parent_cut = false;
    let parent = if !has(actor_flags::PARENT) {
        None
    } else if has(actor_flags::PARENT_IS_PREFIX) {
        let kept = if has(actor_flags::PATH_CUT) {
            path.len().checked_sub(PATH_CUT_MARK.len() + 32)?
        } else {
            path.len()
        };
        parent_cut = record.parent_bytes as usize > kept;
        Some(match path.get(..record.parent_bytes as usize) {
            Some(text) if !parent_cut => text.to_owned(),
            _ => format!("{}{PATH_CUT_MARK}{}", path.get(..kept)?, Key(record.parent_key)),
        })
    } else {
        Some(texts.take(record.parent_bytes)?.to_owned())
    };
    let type_text = texts.take(record.type_bytes)?;
    let actor_type = if record.type_id == 0 { type_text } else { names.get(record.type_id) };
    let spawned_text = texts.take(record.spawned_bytes)?;
    let host = has(actor_flags::HOST).then_some(texts.take(record.host_bytes)?);
    let spawned_unix_ns = clock.map(|clock| clock.unix_ns(record.spawned));
    let spawned_at = if has(actor_flags::SPAWNED_TEXT) {
        spawned_text.to_owned()
    } else {
        spawned_unix_ns.map(rfc3339).unwrap_or_default()
    };
    Some(ActorEntry {
        status: ActorStatus {
            path: path.to_owned(),
            parent,
            actor_type: actor_type.to_owned(),
            mailbox_depth: if has(actor_flags::DEPTH) { record.live[live::MAILBOX_DEPTH] } else { 0 },
            spawned_at,
            host: host.map(str::to_owned),
        },
        key: Key(record.key),
        parent_key,
        depth_known: has(actor_flags::DEPTH),
        spawned_unix_ns,
        stamp: record.spawned,
        parent_cut,
    })
}

fn decode_dead_letter(
    ticket: u64,
    words: &[u64; DEAD_LETTER_WORDS],
    names: &mut Names<'_>,
    clock: Option<&Clock>,
) -> Option<DeadLetterRecord> {
    let mut record = records::DeadLetterRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut texts = Texts(&record.text);
    let recipient = texts.take(record.recipient_bytes)?;
    let sender = texts.take(record.sender_bytes)?;
    let type_text = texts.take(record.type_bytes)?;
    let preview = texts.take(record.preview_bytes)?;
    let message_type = if record.type_id == 0 { type_text } else { names.get(record.type_id) };
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
}

/// RFC 3339 in UTC with nanoseconds; a time that no calendar has is the empty text.
pub fn rfc3339(unix_ns: i128) -> String {
    Timestamp::from_nanosecond(unix_ns).map(|time| format!("{time:.9}")).unwrap_or_default()
}
