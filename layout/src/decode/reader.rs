//! A region opened for reading: its header, its metrics and its rings.

use core::mem::offset_of;

use serde::Serialize;

use super::beat::Beat;
use super::clock::Clock;
use super::end::{Ending, History};
use super::identity::Identity;
use crate::attached::Attached;
use crate::error::OpenError;
use crate::histogram::{self, HISTOGRAM_WORDS, Histogram};
use crate::instances::InstanceRecord;
use crate::metrics::{self, Builtin, Kind, Metric};
use crate::records::ACTOR_STAMP_WORD;
use crate::region::{Condition, HeaderRecord, RegionMap, Section, State, header};
use crate::ring::RingReader;
use crate::sync::{Ordering, fence};
use crate::table::SlotReader;
use crate::words::{WORD, Words};
use crate::{clock_samples, event, failures, lanes, own_records};

/// A region opened for reading.
#[derive(Debug, Clone, Copy)]
pub struct RegionReader<'a> {
    pub(super) words: Words<'a>,
    pub(super) map: RegionMap,
    pub(super) header: HeaderRecord,
}

/// The conditions that hold. Unknown bits are ignored.
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

/// The state in the header of a region; `None` if the number is unknown.
pub fn state(region: Words<'_>) -> Option<State> {
    State::from_word(region.load(header::STATE))
}

/// The totals of actors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ActorTotals {
    /// Actors spawned since the probe was installed.
    pub spawned: u64,
    /// Actors stopped of those spawned.
    pub stopped: u64,
    /// Spawns of a path that was live already.
    pub replaced: u64,
    /// Live actors, by counting.
    pub live: u64,
    /// Stops of actors that are older than the probe.
    pub foreign: u64,
    /// Live actors that neither have a slot nor an entry in the node's index, because both were full.
    pub untracked: u64,
    /// Whether there were ever untracked actors or doubtful stops: then the list of live actors may be wrong permanently.
    pub inexact: bool,
}

impl<'a> RegionReader<'a> {
    /// Opens a region: checks the header and the directory. Costs a few microseconds and one small allocation.
    ///
    /// # Errors
    /// As [`RegionMap::read`].
    pub fn open(words: Words<'a>) -> Result<Self, OpenError> {
        let (map, header) = RegionMap::read(words)?;
        Ok(Self { words, map, header })
    }

    /// Opens the beginning of a region of `bytes` bytes. `words` has at least its header. A section that `words` does not
    /// contain completely is read as empty.
    ///
    /// # Errors
    /// As [`RegionMap::read_part`].
    pub fn open_part(words: Words<'a>, bytes: u64) -> Result<Self, OpenError> {
        let (map, header) = RegionMap::read_part(words, bytes)?;
        Ok(Self { words, map, header })
    }

    /// The sections of the region.
    pub fn map(&self) -> &RegionMap {
        &self.map
    }

    pub(super) fn section(&self, section: Section) -> Words<'a> {
        // RegionMap::read has checked that each section is inside the region. A partial region may still not contain it.
        self.words.slice(section.range()).unwrap_or(Words::new(&[]))
    }

    /// The node that made the region.
    pub fn identity(&self) -> Identity {
        Identity::of(self.words, self.header)
    }

    /// Major and minor version of the region's layout.
    pub fn layout_version(&self) -> (u32, u32) {
        let version = self.words.load(header::VERSION);
        ((version >> 32) as u32, version as u32)
    }

    /// The state of the node; `None` if the number is unknown.
    pub fn state(&self) -> Option<State> {
        state(self.words)
    }

    /// The conditions that hold.
    pub fn conditions(&self) -> Conditions {
        Conditions(self.words.load(header::CONDITIONS))
    }

    /// What the node has noted of its end; `None` if nothing, or if it was killed while it noted that.
    pub fn ending(&self) -> Option<Ending> {
        Ending::read(self.words)
    }

    /// The crashes of earlier nodes of this name.
    pub fn history(&self) -> History {
        History::read(self.words)
    }

    /// The heartbeat of the sampler.
    pub fn process_beat(&self) -> Beat {
        Beat::of_process(self.words)
    }

    /// The heartbeat of a task of the async runtime.
    pub fn runtime_beat(&self) -> Beat {
        Beat::read(self.words, header::RUNTIME_BEAT)
    }

    /// The node's clock, for stamps of records that were read before this call.
    pub fn clock(&self) -> Option<Clock> {
        Clock::of(&clock_samples::read(self.section(self.map.clock_samples), self.map.clock_samples.stride))
    }

    /// Whether the log of clock samples was changed since `clock` was read from it. Read the record with the stamp before
    /// this call.
    pub(super) fn has_newer(&self, clock: &Clock) -> bool {
        clock_samples::changes(self.section(self.map.clock_samples)) != clock.changes
    }

    /// The slots of this section; `used` is the word of the header with the number of its slots that were ever taken.
    pub(super) fn slots(&self, section: Section, used: usize) -> SlotReader<'a> {
        SlotReader::new(self.section(section), section.stride, self.words.load(used))
    }

    /// Calls `see` with each stamp whose time a reader may show. One scan of all slots and rings.
    pub fn each_stamp(&self, mut see: impl FnMut(u64)) {
        let map = &self.map;
        let sections = [
            (map.actors, header::ACTORS_USED, ACTOR_STAMP_WORD),
            (map.instances, header::INSTANCES_USED, offset_of!(InstanceRecord, since) / WORD),
        ];
        for (section, used, stamp) in sections {
            let slots = self.slots(section, used);
            (0..slots.len()).filter_map(|slot| slots.held_word(slot, stamp)).for_each(&mut see);
        }
        let lanes = (0..self.event_lanes()).map(|lane| self.event_lane(lane));
        let writes = self.section(map.journal_writes);
        let writes = RingReader::new(writes, map.journal_writes.stride);
        let rings = [self.dead_letter_ring(), writes, self.panic_ring()];
        // The stamp is the first word of the records of all rings.
        lanes.chain(rings).for_each(|ring| ring.each_first_word(&mut see));
        failures::each_stamp(self.section(map.failures), map.failures.stride, &mut see);
        self.each_begin(&mut see);
        self.each_thread_stamp(&mut see);
        own_records::each_stamp(self.section(map.records), map.records.stride, &mut see);
    }

    /// The heartbeat of the poller.
    pub fn poll_beat(&self) -> Beat {
        Beat::read(self.words, header::POLL_BEAT)
    }

    /// The attachments that were made. Call this before reading numbers: what these attachments had counted by then is
    /// visible.
    pub fn attached(&self) -> Attached {
        let attached = Attached::of(self.words.load(header::ATTACHED));
        fence(Ordering::Acquire);
        attached
    }

    /// The value of a built-in metric; 0 if nothing counts it.
    pub fn builtin(&self, metric: Builtin) -> u64 {
        lanes::sum(self.section(self.map.counters), self.map.counters.stride, metric as usize)
    }

    /// All metrics with a descriptor, in the order of their numbers.
    pub fn metrics(&self) -> Vec<Metric> {
        let (section, counters) = (self.section(self.map.metrics), self.section(self.map.counters));
        let stride = self.map.metrics.stride;
        let attached = self.attached();
        let is_counted =
            |number: usize| number as u64 >= self.header.builtins || attached.counts_number(number);
        (0..self.map.metrics.count)
            .filter_map(|number| {
                let slot = section.slice(number * stride..(number + 1) * stride)?;
                metrics::read_between(slot, |mut metric| {
                    let word = match metric.kind {
                        Kind::Counter => lanes::sum(counters, self.map.counters.stride, number),
                        Kind::Gauge | Kind::SignedGauge | Kind::FloatGauge => counters.load(number),
                        Kind::Histogram => {
                            let histogram = self.histogram(counters.load(number))?;
                            let count = histogram.count;
                            metric.histogram = Some(histogram);
                            count
                        }
                    };
                    metric.is_builtin = (number as u64) < self.header.builtins;
                    metric.value = (word > 0 || is_counted(number)).then(|| metric.kind.value(word));
                    Some(metric)
                })
            })
            .collect()
    }

    /// The histogram in slot `slot − 1`; `None` if there is no such slot.
    pub(super) fn histogram(&self, slot: u64) -> Option<Histogram> {
        let (section, stride) = (self.section(self.map.histograms), self.map.histograms.stride);
        let slot = usize::try_from(slot.checked_sub(1)?).ok()?;
        if slot >= self.map.histograms.count {
            return None;
        }
        section.slice(slot * stride..slot * stride + HISTOGRAM_WORDS).map(histogram::read)
    }

    /// The totals of actors. The subtracted counters are read before `spawned`, so that `live` is never too low, except by the
    /// stops that wait for their spawns.
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

    /// Live actors that are not listed, because all slots were taken when they were spawned. Exact at rest: such an actor may
    /// stop before its spawn is counted as one without a slot.
    pub fn unlisted_actors(&self) -> u64 {
        self.difference(Builtin::Spilled, Builtin::SpilledStopped)
    }

    /// Stops that came before their spawn and still wait for it. Never too low.
    pub fn waiting_stops(&self) -> u64 {
        self.difference(Builtin::EarlyStops, Builtin::EarlyStopsDone)
    }

    /// A counter minus one that counts ends of what it counts.
    fn difference(&self, all: Builtin, ended: Builtin) -> u64 {
        let ended = self.builtin(ended);
        lanes::after_ends();
        self.builtin(all).saturating_sub(ended)
    }

    /// Whether actors were spawned and all of them have stopped. False if that is not certain: while a stop waits for its
    /// spawn, and after a stop of an actor older than the probe, because other such actors may still live.
    pub fn no_actor_is_left(&self) -> bool {
        // A stop is counted as early before it is counted as stopped, and its end is counted after its spawn. So the ends are
        // read before the totals, which then have the spawns of all stops that have ended, and the early stops after them.
        let ended = self.builtin(Builtin::EarlyStopsDone);
        lanes::after_ends();
        let ActorTotals { spawned, live, foreign, inexact, .. } = self.actor_totals();
        let waits = self.builtin(Builtin::EarlyStops) != ended;
        spawned > 0 && live == 0 && foreign == 0 && !inexact && !waits
    }

    /// The number of all dead letters so far.
    pub fn dead_letter_total(&self) -> u64 {
        self.dead_letter_ring().head()
    }

    pub(super) fn dead_letter_ring(&self) -> RingReader<'a> {
        RingReader::new(self.section(self.map.dead_letters), self.map.dead_letters.stride)
    }

    pub(super) fn panic_ring(&self) -> RingReader<'a> {
        RingReader::new(self.section(self.map.panics), self.map.panics.stride)
    }

    /// The number of event lanes.
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
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::lanes::{Lanes, OVERFLOW};
    use crate::records::ClockSampleRecord;
    use crate::region::{Capacities, HeaderWriter};
    use crate::sync::counting::with_another_before;
    use crate::view::WriterMemory;

    fn count(map: &RegionMap, memory: &WriterMemory, metrics: &[Builtin]) {
        let lanes = Lanes::new(&memory.words()[map.counters.range()], map.counters.stride);
        metrics.iter().for_each(|metric| lanes.add(OVERFLOW, *metric as usize, 1));
    }

    #[test]
    fn while_an_actor_lives_it_is_left_whatever_is_counted_meanwhile() {
        use Builtin::{EarlyStops, EarlyStopsDone, Spawned, Stopped};
        let map = RegionMap::for_capacities(&Capacities::LEAST).unwrap();
        for number in 0.. {
            let memory = WriterMemory::private(map.region_bytes).unwrap();
            let header = HeaderWriter::new(memory.words());
            header.prepare(&map, HeaderRecord::default(), ClockSampleRecord::default(), ["", "", ""]);
            header.publish();
            // One actor lives. The stop of another one waits for its spawn.
            count(&map, &memory, &[Spawned, EarlyStops, Stopped]);
            let (reader, node) = (RegionReader::open(memory.reader()).unwrap(), memory.clone());
            let spawn_comes = move || count(&map, &node, &[Spawned, EarlyStopsDone]);
            let came = with_another_before(number, spawn_comes, || {
                assert!(!reader.no_actor_is_left(), "the spawn came before step {number}");
            });
            if !came {
                assert!(number > 0);
                return;
            }
            assert!(!reader.no_actor_is_left());
            count(&map, &memory, &[Stopped]);
            assert!(reader.no_actor_is_left());
        }
    }
}
