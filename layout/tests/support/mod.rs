//! A region in private memory, for tests that read one.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "only tests use this")]

pub mod hostile;
pub mod instruments;
pub mod own_records;
pub mod subsystems;
pub mod tables;

use atomscope_layout::decode::RegionReader;
use atomscope_layout::instances::Instances;
use atomscope_layout::lanes::{Lanes, OVERFLOW};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::names::Interner;
use atomscope_layout::records::{ACTOR_KEY_WORD, ACTOR_WORDS, ActorRecord, ClockSampleRecord};
use atomscope_layout::region::{HeaderRecord, HeaderWriter, Section, header};
use atomscope_layout::ring::Ring;
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_layout::table::{Key, Shape, Spawned, StopOrigin, Stopped, Table, Updated, Witness};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::{Capacities, RegionMap, words};

/// The state of a slot with a record.
pub const LIVE: u64 = 2;

/// The lane that the only thread of a test holds.
pub const LANE: usize = 1;

/// A region and the private words of its writer.
pub struct Region {
    pub memory: WriterMemory,
    pub map: RegionMap,
    name_keys: Vec<AtomicU64>,
    private: Private,
    instance_private: Private,
    pins: Vec<AtomicU64>,
}

/// Zeroed words, aligned to a cache line.
pub struct Private(Vec<AtomicU64>);

impl Private {
    pub fn new(words: usize) -> Self {
        Self((0..words + 7).map(|_| AtomicU64::new(0)).collect())
    }

    pub fn words(&self) -> &[AtomicU64] {
        let start = self.0.as_ptr().align_offset(64) % 8;
        &self.0[start..self.0.len() - 7 + start]
    }
}

/// Stamp 0 is 2001-09-09T01:46:40Z, and a tick is two nanoseconds.
pub const FIRST_SAMPLE: ClockSampleRecord = ClockSampleRecord {
    ticks: 0,
    mono_ns: 5_000,
    boot_ns: 6_000,
    unix_ns: 1_000_000_000_000_000_000,
    rate: 2 * ClockSampleRecord::RATE_ONE,
    reserved: [0; 2],
};

pub const HEADER: HeaderRecord = HeaderRecord {
    region_bytes: 0,
    header_bytes: 0,
    sections: 0,
    pid: 4711,
    uid: 1000,
    process_start_ticks: 12_345,
    boot_id: [1, 2],
    pid_namespace: 3,
    created_unix_ns: 1_000_000_000_000_000_000,
    actor_capacity: 8,
    flags: 1,
    builtins: 0,
    reserved: 0,
};

/// Capacities for 8 actors and little else.
pub const SMALL: Capacities =
    Capacities { actors: 8, lanes: 2, dead_letters: 4, events: 16, names: 8, ..Capacities::LEAST };

/// A witness of pairs that counts them as the probe does.
pub struct Counting<'a>(pub &'a Region);

impl Witness for Counting<'_> {
    fn paired(&self, record: Option<&[AtomicU64]>) {
        self.0.count(Builtin::EarlyStopsDone, 1);
        self.0.count(Builtin::SpilledStopped, u64::from(record.is_none()));
    }

    fn superseded(&self, _: StopOrigin) {
        self.0.count(Builtin::EarlyStopsDone, 1);
    }

    fn lost(&self, _: &[AtomicU64]) {
        self.0.count(Builtin::UntrackedSpawns, 1);
    }
}

impl Region {
    pub fn new(capacities: &Capacities) -> Self {
        let map = RegionMap::for_capacities(capacities).unwrap();
        let memory = WriterMemory::private(map.region_bytes).unwrap();
        let header = HeaderWriter::new(memory.words());
        header.prepare(&map, HEADER, FIRST_SAMPLE, ["node-1", "/usr/bin/node", "0.10.0"]);
        header.publish();
        let name_keys = (0..map.names.count).map(|_| AtomicU64::new(0)).collect();
        let [private, instance_private] =
            [actor_shape(&map), instance_shape(&map)].map(|shape| Private::new(shape.private_words()));
        let pins = (0..map.instances.count).map(|_| AtomicU64::new(0)).collect();
        Self { memory, map, name_keys, private, instance_private, pins }
    }

    pub fn small() -> Self {
        Self::new(&SMALL)
    }

    pub fn header(&self) -> HeaderWriter<'_> {
        HeaderWriter::new(self.memory.words())
    }

    pub fn section(&self, section: Section) -> &[AtomicU64] {
        &self.memory.words()[section.range()]
    }

    /// The table of the actors.
    pub fn table(&self) -> Table<'_> {
        let used = &self.memory.words()[header::ACTORS_USED];
        Table::new(actor_shape(&self.map), self.section(self.map.actors), used, self.private.words())
    }

    /// The instances.
    pub fn instances(&self) -> Instances<'_> {
        let used = &self.memory.words()[header::INSTANCES_USED];
        let (section, private) = (self.section(self.map.instances), self.instance_private.words());
        Instances::new(Table::new(instance_shape(&self.map), section, used, private), &self.pins)
    }

    /// Puts a record into the next slot of a section, whatever other slots hold.
    pub fn put(&self, section: Section, used: usize, record: &[u64]) {
        let slot = self.memory.words()[used].fetch_add(1, Ordering::Relaxed) as usize;
        let words = &self.section(section)[slot * section.stride..][..section.stride];
        words::store(&words[1..], &record[1..]);
        words[0].store(1 << 24 | LIVE, Ordering::Release);
    }

    /// Spawns an actor with this record, and counts that.
    pub fn spawn(&self, record: &ActorRecord) -> Spawned {
        let words: [u64; ACTOR_WORDS] = zerocopy::transmute!(*record);
        let write = |slot: &[AtomicU64]| words::store(&slot[ACTOR_KEY_WORD..], &words[ACTOR_KEY_WORD..]);
        let spawned = self.table().spawn(LANE, Key::from(record.key), write, &Counting(self));
        self.count(Builtin::Spawned, 1);
        match spawned {
            Spawned::Stands => {}
            Spawned::Spilled => self.count(Builtin::Spilled, 1),
            Spawned::Stopped(_) => self.count(Builtin::EarlyStopsDone, 1),
            Spawned::Refused => self.count(Builtin::UntrackedSpawns, 1),
        }
        spawned
    }

    /// Stops the oldest actor of this key, or leaves the stop, and counts that.
    pub fn stop(&self, key: Key) -> Stopped {
        let stopped = self.table().stop(LANE, key, |_| {}, &Counting(self));
        self.count(Builtin::Stopped, 1);
        match stopped {
            Stopped::Entry { .. } => {}
            Stopped::Spilled => self.count(Builtin::SpilledStopped, 1),
            Stopped::Nothing => self.leave_stop(key),
        }
        stopped
    }

    /// Leaves a stop of this key, whether it has a spawn or not.
    pub fn leave_stop(&self, key: Key) {
        self.count(Builtin::EarlyStops, 1);
        if !self.table().leave_stop(LANE, key, StopOrigin::Awaited, &Counting(self)) {
            self.count(Builtin::EarlyStopsDone, 1);
            self.count(Builtin::UntrackedStops, 1);
        }
    }

    /// Changes the record of an actor. Its words begin with the control word.
    pub fn update(&self, key: Key, change: impl FnMut(&[AtomicU64])) -> bool {
        self.table().update(LANE, key, change, &Counting(self)) == Updated::Done
    }

    pub fn count(&self, metric: Builtin, n: u64) {
        Lanes::new(self.section(self.map.counters), self.map.counters.stride).add(
            OVERFLOW,
            metric as usize,
            n,
        );
    }

    pub fn dead_letters(&self) -> Ring<'_> {
        Ring::new(self.section(self.map.dead_letters), self.map.dead_letters.stride)
    }

    pub fn names(&self) -> Interner<'_> {
        Interner { keys: &self.name_keys, cells: self.section(self.map.names) }
    }

    pub fn read(&self) -> RegionReader<'_> {
        RegionReader::open(self.memory.reader()).unwrap()
    }
}

fn actor_shape(map: &RegionMap) -> Shape {
    let Section { count, stride, .. } = map.actors;
    // As the probe does for many actors; few lines for few actors, so that entries are moved.
    let hot_lines = if count < 2_000 { 16 } else { 512 };
    Shape { slots: count, stride, lanes: map.counters.count - 1, hot_lines }
}

fn instance_shape(map: &RegionMap) -> Shape {
    Shape { slots: map.instances.count, stride: map.instances.stride, lanes: 0, hot_lines: 16 }
}
