//! What instrumented actors do reads back, and is never another actor's.

#![cfg(not(atomscope_loom))]
#![allow(clippy::unwrap_used, reason = "they are tests")]

mod support;

use std::collections::BTreeMap;

use atomscope_layout::Capacities;
use atomscope_layout::cells::{self, CELL_WORDS, Mode as CellMode, word};
use atomscope_layout::classes::number;
use atomscope_layout::decode::{ActorList, ActorStats, CellsUsage, ClassStats, Mode, VariantStats};
use atomscope_layout::records::ActorRecord;
use atomscope_layout::sync::Ordering;
use atomscope_layout::table::Spawned;
use proptest::prelude::*;
use support::Region;
use support::instruments::{Instruments, fill};
use zerocopy::FromZeros as _;

const CAPACITIES: Capacities =
    Capacities { names: 16, instruments: 4, classes: 4, variants: 8, ..support::SMALL };

/// Spawns an actor at `/a{number}` with a cell.
fn spawn(region: &Region, number: u64, cell: u64) {
    let key = [number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number];
    let mut record = ActorRecord { key, spawned: number, cell, path_bytes: 3, ..ActorRecord::new_zeroed() };
    record.text[..3].copy_from_slice(format!("/a{number}").as_bytes());
    assert_eq!(region.spawn(&record), Spawned::Stands);
}

/// The stats of the only actor.
fn stats_of(list: &ActorList) -> Option<ActorStats<'_>> {
    list.iter().next().unwrap().stats()
}

#[test]
fn a_node_without_instrumented_actors_has_cells_and_nothing_else() {
    let region = Region::new(&CAPACITIES);
    let found = region.read().instruments();
    assert_eq!((found.classes, found.unreadable), (Vec::new(), 0));
    assert_eq!(found.cells, CellsUsage { capacity: 4, used: 0 });
    spawn(&region, 1, 0);
    let list = region.read().actor_list();
    assert_eq!(list.iter().map(|actor| actor.stats()).collect::<Vec<_>>(), [None]);
    assert_eq!(list.unnamed().count(), 0);
}

#[test]
fn what_actors_of_a_class_did_reads_back() {
    let region = Region::new(&CAPACITIES);
    fill(&region);
    let found = region.read().instruments();
    assert_eq!((found.cells.used, found.unreadable), (3, 0));
    let [class] = found.classes.as_slice() else { panic!("{found:?}") };
    let ClassStats { handle_time, depth, variants, .. } = class;
    assert_eq!(class.class.as_deref(), Some("orders::Order"));
    assert_eq!((class.spawned, class.stopped, class.live), (3, 0, 3));
    assert_eq!((class.handled, class.busy_ns, class.failures, class.restarts), (7, 1000, 1, 1));
    assert_eq!((handle_time.count, handle_time.sum, handle_time.greatest), (16, 1000, 180));
    assert_eq!((handle_time.quantile(0.99), depth.count, depth.greatest), (180, 1, 3));
    let variant = |variant: Option<&str>, handled, busy_ns| VariantStats {
        variant: variant.map(str::to_owned),
        handled,
        busy_ns,
    };
    assert_eq!(*variants, [variant(None, 2, 100), variant(Some("Bread"), 5, 900)]);
}

#[test]
fn the_values_of_a_cell_are_those_of_the_actor_that_names_it() {
    let region = Region::new(&CAPACITIES);
    let [busy, idle, _] = fill(&region);
    [busy, idle].iter().zip(1..).for_each(|(cell, number)| spawn(&region, number, cell.word()));
    spawn(&region, 3, 0);
    let mut list = region.read().actor_list();
    list.sort_by_path();
    let stats: Vec<_> = list.iter().map(|actor| actor.stats()).collect();
    let [Some(busy), Some(idle), None] = stats.as_slice() else { panic!("{stats:?}") };
    assert_eq!((busy.handled, busy.busy_ns, busy.variant), (5, 900, Some("Bread")));
    let flight = busy.in_flight.unwrap();
    // A tick is two nanoseconds; the low bits of the stamp are no time.
    assert_eq!((flight.stamp, flight.mode), (1 << 12, Some(Mode::Awaits)));
    assert_eq!(flight.since.unwrap().unix_ns, 1_000_000_000_000_000_000 + (2 << 12));
    assert_eq!((idle.failures, idle.restarts, idle.in_flight, idle.variant), (1, 1, None, None));
    assert_eq!((busy.polls, idle.polls, idle.task), (Some(2), None, None));
    assert_eq!(list.iter().map(|actor| actor.depth_peak()).collect::<Vec<_>>(), [None; 3]);
    let unnamed: Vec<_> = list.unnamed().collect();
    assert_eq!((unnamed.len(), unnamed[0].0), (1, Some("orders::Order")));
    assert_ne!(busy.cell, unnamed[0].1.cell);
}

#[test]
fn the_stamp_of_a_handler_in_flight_is_one_that_a_reader_shows() {
    let region = Region::new(&CAPACITIES);
    fill(&region);
    let mut stamps = Vec::new();
    region.read().each_stamp(|stamp| stamps.push(stamp));
    assert!(stamps.contains(&(1 << 12)), "{stamps:?}");
}

#[test]
fn an_actor_is_not_shown_with_the_cell_of_a_later_tenant_or_a_freed_one() {
    let region = Region::new(&CAPACITIES);
    let all = Instruments::of(&region);
    all.register(1, "orders::Order");
    let first = all.claim(1);
    spawn(&region, 1, first.word());
    let stats = |list: &ActorList| list.iter().filter(|actor| actor.stats().is_some()).count();
    assert_eq!(stats(&region.read().actor_list()), 1);
    all.cells().free(first.index());
    assert_eq!(stats(&region.read().actor_list()), 0);
    let second = all.claim(1);
    assert_eq!(second.index(), first.index());
    let list = region.read().actor_list();
    assert_eq!((stats(&list), list.unnamed().count()), (0, 1));
}

#[test]
fn words_that_no_writer_stores_are_unknown() {
    let region = Region::new(&CAPACITIES);
    let [busy, ..] = fill(&region);
    spawn(&region, 1, busy.word());
    let words = &region.section(region.map.cells)[busy.index() * CELL_WORDS..][..CELL_WORDS];
    let running = |value: u64| {
        words[word::RUNNING].store(value, Ordering::Relaxed);
        let list = region.read().actor_list();
        let stats = stats_of(&list).unwrap();
        (stats.variant.map(str::to_owned), stats.in_flight.unwrap().mode)
    };
    let last = region.map.variants.count as u64 - 1;
    assert_eq!(running((CellMode::Runs as u64) << 32 | last), (Some("Bread".into()), Some(Mode::Runs)));
    // A row that there is not, the own row of the class, a mode that there is not, and a row of another class.
    assert_eq!(running(1 << 32 | u64::from(u32::MAX)), (None, Some(Mode::Runs)));
    assert_eq!(running(1), (None, None));
    assert_eq!(running(3 << 32 | last), (Some("Bread".into()), None));
    let all = Instruments::of(&region);
    all.register_row(3, 2, "of another class");
    assert_eq!(running(2 << 32 | 3), (None, Some(Mode::Awaits)));
    // Rows of a class that there is not are counted.
    all.register_row(4, 200, "of no class");
    assert_eq!(region.read().instruments().unreadable, 2);
    // A state that there is not.
    let identity = words[word::IDENTITY].load(Ordering::Relaxed);
    for state in [0, 2, 0xffff] {
        words[word::IDENTITY].store(identity & !0xffff | state, Ordering::Relaxed);
        assert_eq!(stats_of(&region.read().actor_list()), None);
    }
}

#[test]
fn the_rest_of_all_classes_is_listed_last_and_only_if_there_is_one() {
    let region = Region::new(&CAPACITIES);
    let all = Instruments::of(&region);
    all.register_row(0, 0, "");
    fill(&region);
    assert!(region.read().instruments().classes.iter().all(|class| class.class.is_some()));
    all.handled(1, 0, 3, 30);
    let classes = region.read().instruments().classes;
    assert_eq!(classes.len(), 2);
    assert_eq!((classes[1].class.clone(), classes[1].handled, classes[1].busy_ns), (None, 3, 30));
}

#[test]
fn a_list_that_is_renamed_has_no_old_name_of_a_variant_or_class() {
    let region = Region::new(&CAPACITIES);
    let [busy, ..] = fill(&region);
    spawn(&region, 1, busy.word());
    let mut list = region.read().actor_list();
    list.rewrite(|_| {}, |name| format!("x{}", name.len()));
    assert_eq!(stats_of(&list).unwrap().variant, Some("x5"));
    assert!(list.unnamed().all(|(class, _)| class == Some("x13")));
}

/// What a random history of actors of two classes counts, one number for each class and row.
#[derive(Debug, Default, PartialEq)]
struct Truth {
    handled: [u64; 2],
    busy_ns: [u64; 2],
    live: [u64; 2],
    rows: BTreeMap<(usize, bool), u64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn after_any_history_classes_rows_and_cells_hold_what_was_done(
        acts in proptest::collection::vec((0usize..6, 0usize..4, any::<bool>(), 0u64..1000, 0u32..3), 1..200),
    ) {
        let region = Region::new(&CAPACITIES);
        let all = Instruments::of(&region);
        (0..2u16).for_each(|class| {
            all.register(class + 1, ["orders::Order", "orders::Shelf"][usize::from(class)]);
            all.register_row(4 + u32::from(class), class + 1, "Bread");
        });
        let mut truth = Truth::default();
        // The tenants of up to four cells: class, messages, and whether one is in flight.
        let mut tenants: BTreeMap<usize, (usize, u64, bool)> = BTreeMap::new();
        for (act, which, has_variant, ns, lane) in acts {
            let class = which % 2;
            let place = tenants.keys().copied().nth(which % tenants.len().max(1));
            match (act, place) {
                (0, _) => {
                    let Some(name) = all.cells().claim(class as u16 + 1, class as u32 + 1) else { continue };
                    all.class(class as u16 + 1).count(number::SPAWNED, 1);
                    truth.live[class] += 1;
                    tenants.insert(name.index(), (class, 0, false));
                }
                (1, Some(place)) => {
                    let (class, ..) = tenants.remove(&place).unwrap();
                    all.cells().free(place);
                    all.class(class as u16 + 1).count(number::STOPPED, 1);
                    truth.live[class] -= 1;
                }
                (2 | 3, Some(place)) => {
                    let cell = all.cells().cell(place).unwrap();
                    let (class, _, in_flight) = tenants.get_mut(&place).unwrap();
                    cell.begin(cells::coarse(1 << 20, ns), has_variant);
                    cell.run(if has_variant { 4 } else { 1 } + *class as u32, CellMode::Runs);
                    *in_flight = true;
                }
                (_, Some(place)) => {
                    let cell = all.cells().cell(place).unwrap();
                    let (class, messages, in_flight) = tenants.get_mut(&place).unwrap();
                    if !std::mem::take(in_flight) {
                        continue;
                    }
                    let ended = cell.end();
                    *messages += 1;
                    all.handled(lane, ended.row, 1, ns);
                    truth.handled[*class] += 1;
                    truth.busy_ns[*class] += ns;
                    *truth.rows.entry((*class, ended.row >= 4)).or_default() += 1;
                }
                (_, None) => {}
            }
        }
        let found = region.read().instruments();
        let list = region.read().actor_list();
        let mut read = Truth::default();
        for class in &found.classes {
            let at = usize::from(class.class.as_deref() == Some("orders::Shelf"));
            (read.handled[at], read.busy_ns[at], read.live[at]) = (class.handled, class.busy_ns, class.live);
            for row in class.variants.iter().filter(|row| row.handled > 0) {
                read.rows.insert((at, row.variant.is_some()), row.handled);
            }
        }
        prop_assert_eq!(read, truth);
        prop_assert_eq!((found.cells.used, found.unreadable), (tenants.len() as u64, 0));
        let cells = list.unnamed().map(|(class, stats)| {
            (usize::from(class == Some("orders::Shelf")), stats.handled, stats.in_flight.is_some())
        });
        prop_assert_eq!(cells.collect::<Vec<_>>(), tenants.into_values().collect::<Vec<_>>());
    }
}
