//! Instrumented actors, for tests that read a region.
#![allow(clippy::panic, clippy::expect_used, reason = "only tests use this")]

use atomscope_layout::cells::{self, CellName, Cells, Mode};
use atomscope_layout::classes::{Class, HANDLED_WORDS, number, polls_word, register_row};
use atomscope_layout::lanes::Lanes;
use atomscope_layout::names::Interned;
use atomscope_layout::sync::AtomicU64;

use super::Region;

/// The writers of the four sections of a region, with the private words of its cells.
pub struct Instruments<'a> {
    region: &'a Region,
    taken: Vec<AtomicU64>,
}

impl<'a> Instruments<'a> {
    pub fn of(region: &'a Region) -> Self {
        let words = cells::bitmap_words(region.map.cells.count);
        Self { region, taken: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    pub fn cells(&self) -> Cells<'_> {
        Cells::new(self.region.section(self.region.map.cells), &self.taken)
    }

    /// The number of an interned name.
    pub fn name(&self, name: &'static str) -> u32 {
        match self.region.names().intern_static(name) {
            Interned::Known(id) | Interned::New { id, .. } => id,
            Interned::Full => panic!("no room for {name}"),
        }
    }

    pub fn class(&self, class: u16) -> Class<'_> {
        let section = self.region.map.classes;
        Class::new(&self.region.section(section)[usize::from(class) * section.stride..][..section.stride])
    }

    /// Registers a class; its own row has the same number.
    pub fn register(&self, class: u16, name: &'static str) {
        self.class(class).register(self.name(name));
        self.register_row(class.into(), class, "");
    }

    /// Registers a row; without `variant` it is a class's own.
    pub fn register_row(&self, row: u32, class: u16, variant: &'static str) {
        let section = self.region.map.variants;
        let words = &self.region.section(section)[row as usize * section.stride..];
        register_row(words, class, if variant.is_empty() { 0 } else { self.name(variant) });
    }

    /// Counts messages of a row in a lane.
    pub fn handled(&self, lane: u32, row: u32, messages: u64, busy_ns: u64) {
        let section = self.region.map.handled;
        let lanes = Lanes::new(self.region.section(section), section.stride);
        lanes.add(lane, HANDLED_WORDS * row as usize, messages);
        lanes.add(lane, HANDLED_WORDS * row as usize + 1, busy_ns);
    }

    /// Counts polls of the actors of a class in a lane.
    pub fn polls(&self, lane: u32, class: u16, polls: u64) {
        let section = self.region.map.handled;
        let at = polls_word(self.region.map.variants.count, class.into());
        Lanes::new(self.region.section(section), section.stride).add(lane, at, polls);
    }

    /// A cell of an actor of `class`, which counts as spawned.
    pub fn claim(&self, class: u16) -> CellName {
        self.class(class).count(number::SPAWNED, 1);
        self.cells().claim(class, class.into()).expect("a free cell")
    }
}

/// A class with two variants and a class that has ended, with cells of which one is unnamed; one message of all is in flight.
/// Returns the cells, in this order: in flight, idle, unnamed.
pub fn fill(region: &Region) -> [CellName; 3] {
    let all = Instruments::of(region);
    all.register(1, "orders::Order");
    let last = region.map.variants.count as u32 - 1;
    all.register_row(last, 1, "Bread");
    let names = [1, 1, 1].map(|class| all.claim(class));
    let cell = |at: usize| all.cells().cell(names[at].index()).expect("it is claimed");
    for _ in 0..5 {
        cell(0).begin(cells::coarse(1 << 10, 0), false);
        cell(0).run(last, Mode::Runs);
        cell(0).end();
    }
    cell(0).add_busy(900);
    (0..2).for_each(|_| cell(0).count_poll());
    (0..2).for_each(|lane| all.polls(lane, 1, 3));
    cell(0).begin(cells::coarse(1 << 12, 1), true);
    cell(0).run(last, Mode::Awaits);
    cell(1).count_failure();
    cell(1).count_restart();
    all.handled(0, 1, 2, 100);
    all.handled(1, last, 5, 900);
    all.class(1).handle_time(180, 16);
    all.class(1).depth(3);
    all.class(1).count(number::FAILURES, 1);
    all.class(1).count(number::RESTARTS, 1);
    names
}
