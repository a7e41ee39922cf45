//! A region in private memory, for tests that read one.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "only tests use this")]

pub mod hostile;
pub mod subsystems;

use atomscope_layout::decode::RegionReader;
use atomscope_layout::names::Interner;
use atomscope_layout::records::ClockRecord;
use atomscope_layout::region::{HeaderRecord, HeaderWriter, Section};
use atomscope_layout::ring::Ring;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Table;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::{Capacities, RegionMap};

/// A region and the private words of its writer.
pub struct Region {
    pub memory: WriterMemory,
    pub map: RegionMap,
    name_keys: Vec<AtomicU64>,
    spill_used: AtomicU64,
}

/// Stamp 0 is 2001-09-09T01:46:40Z, and a tick is two nanoseconds.
pub const CLOCK: ClockRecord = ClockRecord {
    first_ticks: 0,
    first_mono_ns: 5_000,
    last_ticks: 1_000_000,
    last_mono_ns: 2_005_000,
    unix_minus_mono_ns: 1_000_000_000_000_000_000 - 5_000,
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

impl Region {
    pub fn new(capacities: &Capacities) -> Self {
        let map = RegionMap::for_capacities(capacities).unwrap();
        let memory = WriterMemory::private(map.region_bytes).unwrap();
        let header = HeaderWriter::new(memory.words());
        header.prepare(&map, HEADER, CLOCK, ["node-1", "/usr/bin/node", "0.10.0"]);
        header.publish();
        let name_keys = (0..map.names.count).map(|_| AtomicU64::new(0)).collect();
        Self { memory, map, name_keys, spill_used: AtomicU64::new(0) }
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

    pub fn table(&self) -> Table<'_> {
        Table::new(
            self.section(self.map.actor_control),
            self.section(self.map.actor_slots),
            self.map.actor_slots.stride,
            self.section(self.map.actor_spill),
            &self.spill_used,
        )
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
