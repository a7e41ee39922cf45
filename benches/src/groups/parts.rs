//! What a spawn and a stop consist of, so that the next bound of the whole is measured. The probe has no switches for
//! its parts. Here each part is done alone, with the operations of the layout that the probe calls. Out of order, the
//! processor does some of them at once, so the parts may add up to more than the whole.

use std::hint::black_box;

use atomscope_layout::event::{EVENT_SLOT_BYTES, EventHead, EventKind};
use atomscope_layout::records::{ACTOR_KEY_WORD, ACTOR_PARENT_WORD, ActorHead, actor_flags};
use atomscope_layout::region::header;
use atomscope_layout::ring::Ring;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::{Key, Shape, Stopped, Table, Unwatched};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, store, store_parts};
use atomscope_layout::{Capacities, RegionMap};
use atomscope_probe::Region;

use super::{Context, Paths, Twins, pairs, parent_at};
use crate::Result;
use crate::harness::{Effort, Sample, Side, Time, compare};
use crate::record::{Row, Section, Unit};

const DEPTH: usize = 3;
/// The measuring thread is the only one that uses these tables.
const LANE: usize = 1;

/// Memory with the sections of a region, and an actor's path in words.
struct Parts {
    memory: WriterMemory,
    private: WriterMemory,
    map: RegionMap,
    shape: Shape,
    path: Vec<u64>,
    path_bytes: u16,
    parent_bytes: u16,
}

impl Parts {
    /// With room for so many live actors, and half as many that live.
    fn new(capacity: usize, path: &str, parent: &str) -> Result<Self> {
        let capacities = Capacities { actors: capacity, ..Capacities::default() };
        let map = RegionMap::for_capacities(&capacities)?;
        let memory = WriterMemory::private(map.region_bytes).ok_or("there is not enough memory")?;
        let shape = Shape {
            slots: map.actors.count,
            stride: map.actors.stride,
            lanes: capacities.lanes,
            hot_lines: 512,
        };
        let private =
            WriterMemory::private(shape.private_words() * WORD).ok_or("there is not enough memory")?;
        let words = path.as_bytes().chunks(WORD).map(|chunk| {
            let mut word = [0; WORD];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let parts = Self {
            memory,
            private,
            map,
            shape,
            path: words.collect(),
            path_bytes: path.len() as u16,
            parent_bytes: parent.len() as u16,
        };
        for number in 0..capacity / 2 {
            parts.spawn(key(Paths::EACH + number));
        }
        Ok(parts)
    }

    fn table(&self) -> Table<'_> {
        let words = self.memory.words();
        let (slots, used) = (&words[self.map.actors.range()], &words[header::ACTORS_USED]);
        Table::new(self.shape, slots, used, self.private.words())
    }

    /// Puts a record of a usual spawn into the table.
    fn spawn(&self, key: Key) {
        let head = ActorHead {
            key: key.words(),
            parent_key: key.words(),
            spawned: black_box(1),
            type_id: 1,
            flags: actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX,
            path_bytes: self.path_bytes as u8,
            parent_bytes: self.parent_bytes,
            cell: 0,
        };
        let (first, parent) = head.words();
        let write = |slot: &[AtomicU64]| {
            store(&slot[ACTOR_KEY_WORD..ACTOR_KEY_WORD + first.len()], &first);
            store_parts(&slot[ACTOR_PARENT_WORD..], &parent, black_box(&self.path));
        };
        let _ = black_box(self.table().spawn(LANE, key, write, &Unwatched));
    }

    fn stop(&self, key: Key) -> Stopped {
        self.table().stop(LANE, key, |_| (), &Unwatched)
    }

    /// Pushes the event of a spawn or of a stop into the first lane.
    fn push(&self, kind: EventKind) {
        let events = self.map.events;
        let ring = Ring::new(
            &self.memory.words()[events.start..events.start + events.stride],
            EVENT_SLOT_BYTES / WORD,
        );
        let text_bytes = [self.path_bytes, self.parent_bytes, 0, 0, 0];
        let head = EventHead { kind, stamp: black_box(1), type_id: 1, flags: 0, text_bytes, numbers: [0; 2] };
        ring.push_with(|slot| store_parts(slot, &head.words(), black_box(&self.path)));
    }
}

/// The key of an actor with this number: as evenly spread as a hash.
fn key(number: usize) -> Key {
    // SplitMix64, https://prng.di.unimi.it/splitmix64.c
    let mix = |seed: u64| {
        let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    let seed = 2 * number as u64;
    Key(mix(seed + 1), mix(seed + 2))
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let clock = quanta::Clock::new();
    let region = Region::builder("bench").build()?;
    let [spawned, stopped] =
        ["bench.spawned", "bench.stopped"].map(|name| region.counter(name, "actors", "As the hooks count"));
    let parent = parent_at(DEPTH);
    let paths = Paths::below(&parent, 1);
    let path = parent.child("order-0-512").to_string();
    let keys: Vec<Key> = (0..Paths::EACH).map(key).collect();
    for live in context.pick([1_000, 100_000], [500, 1_000]) {
        let twins = Twins::new(2 * live)?;
        twins.populate(live);
        let parts = Parts::new(2 * live, &path, &parent.to_string())?;
        parts.spawn(keys[0]);
        if !matches!(parts.stop(keys[0]), Stopped::Entry { .. }) {
            return Err("the table takes no actor".into());
        }
        let in_turn = |operations: u64| (0..operations as usize).map(|at| keys[at % Paths::EACH]);
        let sides = [
            Side::new(|_, operations| pairs(&*twins.ours.actors, &parent, paths.take(0, operations))),
            Side::new(|_, operations| {
                for key in in_turn(operations) {
                    parts.spawn(key);
                    let _ = black_box(parts.stop(key));
                }
            }),
            Side::new(|_, operations| {
                for _ in 0..operations {
                    parts.push(EventKind::ActorSpawned);
                    parts.push(EventKind::ActorStopped);
                }
            }),
            Side::new(|_, operations| {
                for _ in 0..operations {
                    black_box([clock.raw(), clock.raw()]);
                }
            }),
            Side::new(|_, operations| {
                for _ in 0..operations {
                    spawned.add(black_box(1));
                    stopped.add(black_box(1));
                }
            }),
        ];
        let effort = Effort { blocks: 0, ..context.effort };
        let measured = compare(effort, 1, Time::Thread, &sides)?;
        let whole = measured.cost(0);
        let live = live as f64 / 1e3;
        let mut row = |part: &str, cost| {
            let row = Row::new(format!("{part}, {live} k live"), Unit::Ns, cost);
            section.rows.push(row.compared_with_number("the whole spawn + stop", whole));
        };
        row("the table alone: put and take", measured.cost(1));
        row("the ring alone: both events pushed", measured.cost(2));
        row("the clock alone: two readings", measured.cost(3));
        row("the counters alone: two additions", measured.cost(4));
        let rest = |round: &[Sample]| (1..=4).fold(round[0].cpu, |rest, part| rest - round[part].cpu);
        row("the whole less these four: paths joined and hashed", measured.median(rest));
    }
    Ok(())
}
