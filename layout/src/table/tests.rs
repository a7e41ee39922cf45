#![allow(clippy::unwrap_used, reason = "they are tests")]

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64 as Count, Ordering::Relaxed};

use proptest::prelude::*;

use super::at_rest::Memory;
use super::slots::CHAIN;
use super::*;
use crate::sync::counting::steps_of;
use crate::words;

const STRIDE: usize = 8;

fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
    mixed ^ mixed >> 33
}

fn key(number: u64) -> Key {
    Key(mixed(number), mixed(number ^ 0xabcd_ef12_3456))
}

fn record(key: Key, stamp: u64) -> [u64; STRIDE] {
    [0, key.0, key.1, stamp, key.0 ^ stamp, 0, 0, 0]
}

fn write(key: Key, stamp: u64) -> impl Fn(&[AtomicU64]) {
    move |slot| words::store(&slot[1..], &record(key, stamp)[1..])
}

/// Asserts that a record is whole, and returns its key and stamp.
fn whole(slot: &[AtomicU64]) -> (Key, u64) {
    let [_, first, second, stamp, check] = core::array::from_fn(|at| slot[at].load(Relaxed));
    assert_eq!(check, first ^ stamp, "the record is torn");
    (Key(first, second), stamp)
}

/// Counts what it is told.
#[derive(Default)]
struct Told {
    pairs: Mutex<Vec<Option<(Key, u64)>>>,
    superseded: Count,
    lost: Mutex<Vec<(Key, u64)>>,
}

impl Witness for Told {
    fn paired(&self, record: Option<&[AtomicU64]>) {
        self.pairs.lock().unwrap().push(record.map(whole));
    }

    fn superseded(&self, origin: StopOrigin) {
        assert!(!origin.may_match_spawn());
        self.superseded.fetch_add(1, Relaxed);
    }

    fn lost(&self, record: &[AtomicU64]) {
        self.lost.lock().unwrap().push(whole(record));
    }
}

fn shape(slots: usize, lanes: usize, hot_lines: usize) -> Shape {
    Shape { slots, stride: STRIDE, lanes, hot_lines }
}

fn spawn(memory: &Memory, lane: usize, key: Key, stamp: u64) -> Spawned {
    memory.table().spawn(lane, key, write(key, stamp), &Unwatched)
}

fn stop(memory: &Memory, lane: usize, key: Key) -> Stopped {
    memory.table().stop(lane, key, |slot| assert_eq!(whole(slot).0, key), &Unwatched)
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn a_usual_spawn_and_stop_take_as_many_steps_among_many_actors_as_among_few() {
    let memory = Memory::new(shape(8192, 1, 64));
    let mut live = 0;
    for actors in [1, 64, 1024, 4096] {
        for number in live..actors {
            assert_eq!(spawn(&memory, 1, key(number), 1), Spawned::Stands);
        }
        live = actors;
        for number in 0..64 {
            let key = key(1 << 32 | number);
            // The first one may have to move another entry out of its line.
            for is_first in [true, false, false] {
                let steps = steps_of(|| assert_eq!(spawn(&memory, 1, key, 1), Spawned::Stands));
                // Head and filter; a line; lane and link; control word, record, control word; the swap; the head.
                let usual = 2 + ENTRIES + 3 + 2 + (STRIDE - 1) + 1 + 1 + 1;
                assert!(is_first || steps <= usual as u64, "{steps} steps to spawn among {actors}");
                assert!(steps <= 200, "{steps} steps to spawn among {actors}");
                let steps = steps_of(|| assert_eq!(stop(&memory, 1, key), Stopped::Entry { stamp: 1 }));
                // A line, and its entry again; the key; head, filter and a large line; the stamp; the swap; the key; the record
                // in the test; lane and control word, twice.
                let usual = ENTRIES + 1 + 2 + 2 + (ENTRIES + 1) + 1 + 1 + 2 + 5 + 4;
                assert!(steps <= usual as u64, "{steps} steps to stop among {actors}");
            }
        }
    }
    memory.table().assert_whole();
}

#[test]
fn what_is_out_of_the_ordinary_is_bounded_too() {
    let memory = Memory::new(shape(256, 1, 1));
    let mut most = 0;
    for number in 0..300 {
        most = most.max(steps_of(|| {
            let _ = spawn(&memory, 1, key(number % 3), number);
        }));
    }
    for number in 0..320 {
        most = most.max(steps_of(|| {
            if stop(&memory, 1, key(number % 3)) == Stopped::Nothing {
                let _ = memory.table().leave_stop(1, key(number % 3), StopOrigin::Awaited, &Unwatched);
            }
        }));
    }
    assert!(most <= 2000, "{most} steps");
    memory.table().assert_whole();
}

#[test]
fn with_no_memory_nothing_is_taken_in() {
    let used = AtomicU64::new(0);
    let table = Table::new(shape(64, 2, 16), &[], &used, &[]);
    for lane in [0, 1, usize::MAX] {
        assert_eq!(table.spawn(lane, key(1), |_| (), &Unwatched), Spawned::Refused);
        assert_eq!(table.stop(lane, key(1), |_| (), &Unwatched), Stopped::Nothing);
        assert!(!table.leave_stop(lane, key(1), StopOrigin::Awaited, &Unwatched));
        assert_eq!(table.update(lane, key(1), |_| (), &Unwatched), Updated::Nothing);
        assert!(!table.remove(lane, key(1), |_| true));
        assert_eq!(table.settle(lane, |_| true, &Unwatched), Settled::default());
    }
    assert_eq!((table.take_stop(key(1)), table.find(key(1)), table.slot(0).len()), (None, None, 0));
}

#[test]
fn each_line_of_the_large_level_is_a_key_s_home() {
    let memory = Memory::new(shape(1000, 1, 16));
    let index = memory.table().index;
    let homes: std::collections::HashSet<_> = (0..20_000).map(|number| index.home(key(number).0)).collect();
    assert_eq!(homes.len(), memory.shape.large_lines());
    assert!(homes.iter().all(|home| *home < memory.shape.large_lines()));
}

#[test]
fn the_newest_free_slot_is_the_next_one() {
    let memory = Memory::new(shape(64, 1, 16));
    for number in 0..10 {
        assert_eq!(spawn(&memory, 1, key(number), 1), Spawned::Stands);
    }
    let (slot, _) = memory.table().find(key(4)).unwrap();
    assert_eq!(stop(&memory, 1, key(4)), Stopped::Entry { stamp: 1 });
    assert_eq!(spawn(&memory, 1, key(99), 1), Spawned::Stands);
    assert_eq!(memory.table().find(key(99)).map(|(slot, _)| slot), Some(slot));
}

#[test]
fn a_lane_holds_three_chains_at_most_and_gives_the_rest_to_others() {
    let lanes = 4;
    let capacity = 200;
    let memory = Memory::new(shape(capacity + 3 * CHAIN as usize * lanes, lanes, 16));
    // One lane takes and frees everything again and again, then each other one finds what it was promised.
    for lane in 1..=lanes {
        for _ in 0..3 {
            for number in 0..capacity as u64 {
                assert_eq!(spawn(&memory, lane, key(number), 1), Spawned::Stands, "lane {lane}");
            }
            memory.table().assert_whole();
            for number in 0..capacity as u64 {
                assert_eq!(stop(&memory, lane, key(number)), Stopped::Entry { stamp: 1 });
            }
            memory.table().assert_whole();
        }
    }
    for number in 0..capacity as u64 {
        assert_eq!(spawn(&memory, 0, key(number), 1), Spawned::Stands, "without a lane");
    }
    memory.table().assert_whole();
}

#[test]
fn orphans_are_free_for_readers_and_come_back() {
    let memory = Memory::new(shape(64, 1, 16));
    let table = memory.table();
    for number in 0..4 {
        assert_eq!(spawn(&memory, 0, key(number), 1), Spawned::Stands);
    }
    for number in 0..3 {
        let (slot, _) = table.find(key(number)).unwrap();
        assert!(matches!(table.stop(1, key(number), |_| (), &Unwatched), Stopped::Entry { .. }));
        assert_eq!(table.slots.pop(1).map(|popped| popped.index), Some(slot));
        table.slots.orphan(table.slots.slot(slot).unwrap());
    }
    table.assert_whole();
    assert_eq!((table.live().len(), table.orphans()), (1, 3));
    assert_eq!(table.settle(1, |_| false, &Unwatched), Settled::default());
    assert_eq!(table.orphans(), 0);
    table.assert_whole();
    assert_eq!(table.slots.free_at_rest().len(), 3);
}

#[test]
fn the_filter_and_the_heads_count_what_was_moved() {
    // One line, so that nearly everything is moved; in the end more of a group than its counter can count.
    let memory = Memory::new(shape(512, 1, 1));
    let table = memory.table();
    let of_a_group = |number: u64| Key((3 + 128 * number) << 46 | number << 6, number);
    for number in 0..10 {
        assert_eq!(spawn(&memory, 1, of_a_group(number), 1), Spawned::Stands);
        assert_eq!(spawn(&memory, 1, key(number), 1), Spawned::Stands);
        table.assert_whole();
    }
    for number in 0..10 {
        assert_eq!(stop(&memory, 1, of_a_group(number)), Stopped::Entry { stamp: 1 });
        assert_eq!(stop(&memory, 1, key(number)), Stopped::Entry { stamp: 1 });
        table.assert_whole();
    }
    assert!(table.index.filter.iter().all(|word| word.load(Relaxed) == 0), "something stays counted");
    for number in 0..30 {
        assert_eq!(spawn(&memory, 1, of_a_group(number), number), Spawned::Stands, "{number}");
    }
    table.assert_whole();
    for number in 0..30 {
        assert_eq!(stop(&memory, 1, of_a_group(number)), Stopped::Entry { stamp: number });
    }
    table.assert_whole();
    assert!(table.index.filter.iter().any(|word| word.load(Relaxed) != 0), "a full counter stays full");
}

#[test]
fn a_stop_of_an_older_actor_is_superseded_and_never_takes_a_spawn() {
    let memory = Memory::new(shape(64, 1, 1));
    let (table, told) = (memory.table(), Told::default());
    for origin in [StopOrigin::Outlived, StopOrigin::Older] {
        assert!(table.leave_stop(1, key(1), origin, &told));
        assert_eq!(table.spawn(1, key(1), write(key(1), 1), &told), Spawned::Stands);
        assert_eq!((told.superseded.swap(0, Relaxed), table.stops_of(key(1))), (1, 0));
        // One that comes while the spawn stands is given up by the sampler.
        assert!(table.leave_stop(1, key(1), origin, &told));
        let mut asked = 0;
        let settled = table.settle(
            1,
            |stop| {
                assert!(stop.has_other_spawn && stop.origin == origin);
                asked += 1;
                false
            },
            &told,
        );
        assert_eq!((settled, asked), (Settled { expired: 1, ..Settled::default() }, 1));
        assert_eq!(stop(&memory, 1, key(1)), Stopped::Entry { stamp: 1 });
    }
    assert!(told.pairs.lock().unwrap().is_empty());
    table.assert_whole();
}

#[test]
fn a_waiting_stop_keeps_the_origin_that_the_sampler_gives_it() {
    let memory = Memory::new(shape(64, 1, 1));
    let table = memory.table();
    assert!(table.leave_stop(1, key(1), StopOrigin::Unknown, &Unwatched));
    let settled = table.settle(
        1,
        |stop| {
            assert_eq!((stop.fingerprint, stop.origin), (key(1).0 >> 6 << 6, StopOrigin::Unknown));
            stop.origin = StopOrigin::Outlived;
            false
        },
        &Unwatched,
    );
    assert_eq!(settled, Settled { waiting: 1, ..Settled::default() });
    assert_eq!((table.take_stop(key(1)), table.take_stop(key(1))), (Some(StopOrigin::Outlived), None));
}

#[test]
fn a_spawn_without_a_slot_is_stopped_like_any_other() {
    let memory = Memory::new(shape(2, 1, 1));
    let (table, told) = (memory.table(), Told::default());
    for number in 0..2 {
        assert_eq!(spawn(&memory, 1, key(number), 1), Spawned::Stands);
    }
    assert_eq!(spawn(&memory, 1, key(7), 1), Spawned::Spilled);
    assert!(table.may_hold_spawn(key(7)) && table.newest_spawn(key(7)).is_none());
    // No wait helps here.
    assert_eq!(table.update(1, key(7), |_| (), &told), Updated::Nothing);
    assert_eq!(stop(&memory, 1, key(7)), Stopped::Spilled);
    // With an older one that has a slot, the older one stops first.
    assert_eq!(spawn(&memory, 1, key(1), 2), Spawned::Spilled);
    assert_eq!(
        (stop(&memory, 1, key(1)), stop(&memory, 1, key(1))),
        (Stopped::Entry { stamp: 1 }, Stopped::Spilled)
    );
    // Together with its stop.
    assert_eq!(spawn(&memory, 1, key(8), 1), Spawned::Stands);
    assert_eq!(spawn(&memory, 1, key(9), 1), Spawned::Spilled);
    assert!(table.leave_stop(1, key(9), StopOrigin::Awaited, &told));
    assert_eq!(*told.pairs.lock().unwrap(), [None]);
    table.assert_whole();
}

/// Two threads are needed for this: one has taken an entry in error, the other one fills the index meanwhile.
#[test]
fn a_spawn_for_whose_entry_there_is_no_place_any_more_is_reported() {
    let memory = Memory::new(shape(4, 1, 1));
    let (table, told) = (memory.table(), Told::default());
    assert_eq!(spawn(&memory, 1, key(1), 5), Spawned::Stands);
    let mut entries = table.index.places().map(|(place, _)| (place, Entry(place.word.load(Relaxed))));
    let (place, held) = entries.find(|(_, held)| held.kind() == Kind::Plus).unwrap();
    assert!(place.swap(held, Entry::NONE));
    while spawn(&memory, 1, key(2), 1) != Spawned::Refused {}
    table.put_back(1, place, held, table.slots.slot(held.slot()).unwrap(), &told);
    assert_eq!(*told.lost.lock().unwrap(), [(key(1), 5)]);
    assert!(table.live().iter().all(|(live, _)| *live == key(2)));
    table.assert_whole();
}

#[test]
fn an_update_changes_the_newest_record_and_its_version() {
    let memory = Memory::new(shape(64, 1, 1));
    let table = memory.table();
    for stamp in [1, 2] {
        assert_eq!(spawn(&memory, 1, key(1), stamp), Spawned::Stands);
    }
    let (slot, control) = table.find(key(1)).unwrap();
    assert!(table.stands(slot, control) && table.slot(slot)[STAMP_WORD].load(Relaxed) == 2);
    assert_eq!(table.update(1, key(1), |slot| slot[7].store(5, Relaxed), &Unwatched), Updated::Done);
    assert!(!table.stands(slot, control) && table.slot(slot)[7].load(Relaxed) == 5);
    let unchanged = |_: &[AtomicU64]| panic!("there is no such spawn");
    assert_eq!(table.update(1, key(2), unchanged, &Unwatched), Updated::Nothing);
    assert_eq!((table.oldest_spawn(key(1)), table.newest_spawn(key(1))), (Some(1), Some(2)));
    table.assert_whole();
}

#[test]
fn what_may_not_be_removed_stays_as_it_was() {
    let memory = Memory::new(shape(64, 1, 1));
    let table = memory.table();
    assert_eq!(spawn(&memory, 1, key(1), 1), Spawned::Stands);
    let found = table.find(key(1));
    let is_busy = |slot: &[AtomicU64]| Control(slot[0].load(Relaxed)).state() == State::Busy;
    assert!(!table.remove(1, key(1), |slot| !is_busy(slot)));
    assert_eq!(table.find(key(1)), found);
    assert!(table.remove(1, key(1), is_busy) && table.find(key(1)).is_none());
    assert!(!table.remove(1, key(1), |_| true));
    table.assert_whole();
}

/// The same, kept in the simplest way.
#[derive(Default)]
struct Bag {
    /// Stamps of spawns, the oldest first.
    spawns: HashMap<u64, Vec<u64>>,
    /// Waiting stops: those that may match a spawn, and those that cannot.
    stops: HashMap<u64, [usize; 2]>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Spawn,
    Stop,
    Leave(StopOrigin),
    TakeStop,
    Update,
    Settle,
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Spawn),
        8 => Just(Step::Stop),
        2 => Just(Step::Leave(StopOrigin::Awaited)),
        1 => Just(Step::Leave(StopOrigin::Outlived)),
        1 => Just(Step::TakeStop),
        1 => Just(Step::Update),
        1 => Just(Step::Settle),
        1 => Just(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_the_table_holds_what_a_bag_holds(
        keys in 1..40u64,
        hot_lines in prop_oneof![Just(1usize), Just(4), Just(16)],
        steps in prop::collection::vec((step(), any::<u16>(), 0..4usize), 1..300),
    ) {
        let memory = Memory::new(shape(320, 3, hot_lines));
        let (table, mut bag) = (memory.table(), Bag::default());
        for (at, (step, number, lane)) in steps.into_iter().enumerate() {
            let (number, stamp, told) = (u64::from(number) % keys, at as u64 + 1, Told::default());
            let key = key(number);
            let spawns = bag.spawns.entry(number).or_default();
            let stops = bag.stops.entry(number).or_default();
            let mut pairs = vec![];
            match step {
                Step::Spawn => {
                    let spawned = table.spawn(lane, key, write(key, stamp), &told);
                    let superseded = core::mem::take(&mut stops[1]);
                    prop_assert_eq!(told.superseded.load(Relaxed), superseded as u64);
                    if stops[0] > 0 {
                        stops[0] -= 1;
                        prop_assert!(matches!(spawned, Spawned::Stopped(_)));
                    } else {
                        spawns.push(stamp);
                        prop_assert_eq!(spawned, Spawned::Stands);
                    }
                }
                Step::Stop => {
                    let mut of = None;
                    let outcome = table.stop(lane, key, |slot| of = Some(whole(slot)), &told);
                    match spawns.is_empty() {
                        true => prop_assert_eq!((outcome, of), (Stopped::Nothing, None)),
                        false => {
                            let stamp = spawns.remove(0);
                            prop_assert_eq!((outcome, of), (Stopped::Entry { stamp }, Some((key, stamp))));
                        }
                    }
                }
                Step::Leave(origin) => {
                    prop_assert!(table.leave_stop(lane, key, origin, &told));
                    if !origin.may_match_spawn() {
                        stops[1] += 1;
                    } else if spawns.is_empty() {
                        stops[0] += 1;
                    } else {
                        pairs.push(Some((key, spawns.remove(0))));
                    }
                }
                Step::TakeStop => {
                    let taken = table.take_stop(key);
                    prop_assert_eq!(taken.is_some(), spawns.is_empty() && stops.iter().sum::<usize>() > 0);
                    if let Some(origin) = taken {
                        stops[usize::from(!origin.may_match_spawn())] -= 1;
                    }
                }
                Step::Update => {
                    let changed = table.update(lane, key, |slot| {
                        slot[7].store(whole(slot).1, Relaxed);
                    }, &told);
                    let expected = if spawns.is_empty() { Updated::Nothing } else { Updated::Done };
                    prop_assert_eq!(changed, expected);
                }
                Step::Settle => {
                    let settled = table.settle(lane, |_| false, &told);
                    let others: usize = bag.stops.iter().map(|(number, stops)| {
                        if bag.spawns.get(number).is_none_or(Vec::is_empty) { 0 } else { stops[1] }
                    }).sum();
                    let all: usize = bag.stops.values().flatten().sum();
                    let expected =
                        Settled { pairs: 0, expired: others as u64, waiting: (all - others) as u64 };
                    prop_assert_eq!(settled, expected);
                    for (number, stops) in &mut bag.stops {
                        if !bag.spawns.get(number).is_none_or(Vec::is_empty) {
                            stops[1] = 0;
                        }
                    }
                }
                Step::Remove => {
                    prop_assert_eq!(table.remove(lane, key, |_| true), spawns.pop().is_some());
                }
            }
            prop_assert_eq!(told.pairs.into_inner().unwrap(), pairs);
            table.assert_whole();
            let (spawns, stops) = (&bag.spawns, &bag.stops);
            let of = spawns.get(&number).map_or(&[][..], |spawns| spawns);
            prop_assert_eq!(table.may_hold_spawn(key), !of.is_empty());
            prop_assert_eq!(table.oldest_spawn(key), of.first().copied());
            prop_assert_eq!(table.newest_spawn(key), of.last().copied());
            prop_assert_eq!(table.stops_of(key), stops.get(&number).map_or(0, |stops| stops.iter().sum()));
        }
        let mut all: Vec<_> =
            bag.spawns.iter().flat_map(|(number, stamps)| stamps.iter().map(|stamp| (key(*number), *stamp))).collect();
        all.sort_unstable();
        prop_assert_eq!(table.live(), all);
    }
}

/// A thread's part of a storm, and what it was told.
#[derive(Default)]
struct Ends {
    /// Refused spawns minus refused stops, by key.
    refused: HashMap<u64, i64>,
    stops: u64,
    early: u64,
    done: u64,
}

/// Spawns and stops of few keys in random orders on several threads. At rest, without a sampler, the sum of each key is
/// right, and no stop stands beside a spawn of its key.
#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn after_a_storm_everything_is_exact_without_a_sampler() {
    let rounds = std::env::var("ATOMSCOPE_TABLE_STORMS").map_or(12, |text| text.parse().unwrap());
    for round in 0..rounds {
        storm(round);
    }
}

fn storm(round: u64) {
    const THREADS: u64 = 4;
    const LANES: usize = 3;
    let (hot_lines, slots, keys) =
        [(1, 4000, 8), (2, 4000, 24), (8, 4000, 200), (64, 4000, 2000), (2, 60, 200), (1, 300, 100)]
            [round as usize % 6];
    let memory = Memory::new(shape(slots, LANES, hot_lines));
    let seed = mixed(round + 77);
    let mut steps = vec![vec![]; THREADS as usize];
    let mut net = HashMap::<u64, i64>::new();
    for at in 0..2000 * THREADS {
        let random = mixed(seed ^ at);
        let number = random % keys;
        steps[(random >> 20 & 3) as usize].push((number, Some(at + 1)));
        let net = net.entry(number).or_default();
        *net += 1;
        // Few stay.
        if *net > 1 || random >> 40 & 7 != 0 {
            steps[(random >> 30 & 3) as usize].push((number, None));
            *net -= 1;
        }
    }
    let told = Told::default();
    let barrier = std::sync::Barrier::new(THREADS as usize);
    let ends: Vec<Ends> = std::thread::scope(|scope| {
        let threads: Vec<_> = steps
            .into_iter()
            .enumerate()
            .map(|(thread, steps)| {
                let (memory, told, barrier) = (&memory, &told, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    play(memory, if thread < LANES { thread + 1 } else { 0 }, &steps, told)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let table = memory.table();
    table.assert_whole();
    let live = table.live();
    for number in 0..keys {
        let key = key(number);
        let standing = live.iter().filter(|(of, _)| *of == key).count() + table.spilled_of(key);
        let waiting = table.stops_of(key);
        assert!(standing == 0 || waiting == 0, "round {round}: a stop waits beside a spawn");
        let refused: i64 = ends.iter().filter_map(|end| end.refused.get(&number)).sum();
        let sum = standing as i64 - waiting as i64 + refused;
        assert_eq!(sum, net.get(&number).copied().unwrap_or(0), "round {round}: the sum of a key is wrong");
    }
    let early: u64 = ends.iter().map(|end| end.early).sum();
    let done = ends.iter().map(|end| end.done).sum::<u64>() + told.pairs.lock().unwrap().len() as u64;
    let waiting: usize = (0..keys).map(|number| table.stops_of(key(number))).sum();
    assert_eq!(early - done, waiting as u64, "the waiting stops are counted wrongly");
    let stops: u64 = ends.iter().map(|end| end.stops).sum();
    assert!(stops > 0 && told.superseded.load(Relaxed) == 0 && told.lost.lock().unwrap().is_empty());
}

fn play(memory: &Memory, lane: usize, steps: &[(u64, Option<u64>)], told: &Told) -> Ends {
    let (table, mut ends) = (memory.table(), Ends::default());
    for (number, stamp) in steps {
        let key = key(*number);
        if let Some(stamp) = stamp {
            match table.spawn(lane, key, write(key, *stamp), told) {
                Spawned::Stands | Spawned::Spilled => {}
                Spawned::Stopped(_) => ends.done += 1,
                Spawned::Refused => *ends.refused.entry(*number).or_default() += 1,
            }
            continue;
        }
        ends.stops += 1;
        match number % 13 {
            3 => {
                let _ = table.update(lane, key, |slot| slot[7].store(whole(slot).1, Relaxed), told);
            }
            5 if ends.stops % 16 == 0 => {
                let _ = table.settle(lane, |_| false, told);
            }
            _ => {}
        }
        if table.stop(lane, key, |slot| assert_eq!(whole(slot).0, key), told) != Stopped::Nothing {
            continue;
        }
        match table.leave_stop(lane, key, StopOrigin::Awaited, told) {
            true => ends.early += 1,
            false => *ends.refused.entry(*number).or_default() -= 1,
        }
    }
    ends
}
