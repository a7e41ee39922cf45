//! Properties of every primitive and of the region map, checked against naive oracles.

#![cfg(not(atomscope_loom))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "oracles are tests too")]

mod support;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use atomscope_layout::clock_samples::Samples;
use atomscope_layout::decode::{ActorList, Class, Clock, RegionReader, rfc3339};
use atomscope_layout::dto::{ActorSnapshot, ActorStatus, ActorTreeNode};
use atomscope_layout::forest::{MAX_TREE_LEVELS, tree};
use atomscope_layout::limits::{
    CUT_MARK, MAX_ACTORS, MAX_CLASSES, MAX_DEAD_LETTERS, MAX_DOCUMENT_BYTES, MAX_EVENTS, MAX_FAILURES,
    MAX_FIELDS, MAX_HISTOGRAMS, MAX_INSTANCES, MAX_INSTRUMENTS, MAX_JOURNAL_WRITES, MAX_KINDS, MAX_LANES,
    MAX_METRICS, MAX_NAMES, MAX_PANICS, MAX_RECORDS, MAX_SECTIONS, MAX_THREADS, MAX_VARIANTS, MIN_METRICS,
    NAME_BYTES,
};
use atomscope_layout::names::{CELL_WORDS, Interned, Interner, put_text, read_name};
use atomscope_layout::records::{ACTOR_DEPTH_WORD, ActorRecord, ClockSampleRecord, actor_flags};
use atomscope_layout::region::{HEADER_BYTES, header};
use atomscope_layout::ring::{Ring, RingReader, SlotRead, Written};
use atomscope_layout::seqlock::Patience;
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_layout::table::Key;
use atomscope_layout::words::prefix;
use atomscope_layout::{Capacities, RegionMap, Words, lanes, seqlock};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::{Counting, LANE, Region, hostile};
use zerocopy::FromZeros as _;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

// ---- texts

proptest! {
    #[test]
    fn a_prefix_is_the_longest_that_fits_and_splits_no_character(text: String, max in 0usize..40) {
        let longest = (0..=text.len().min(max)).rev().find_map(|end| text.get(..end)).unwrap();
        prop_assert_eq!(prefix(&text, max), longest);
    }

    #[test]
    fn a_text_is_put_whole_or_cut_with_a_mark(text: String, room in 0usize..60, max in 0usize..60) {
        let mut buffer = vec![0xaa; room];
        let (bytes, cut) = put_text(&mut buffer, max, &text);
        let fits = room.min(max);
        let wanted = if text.len() <= fits {
            text.clone()
        } else {
            let mark = prefix(CUT_MARK, fits);
            format!("{}{mark}", prefix(&text, fits.saturating_sub(CUT_MARK.len())))
        };
        prop_assert_eq!(std::str::from_utf8(&buffer[..bytes]), Ok(wanted.as_str()));
        prop_assert_eq!(cut, text.len() > fits);
        prop_assert!(buffer[bytes..].iter().all(|byte| *byte == 0xaa));
    }
}

// ---- seqlock and lanes

proptest! {
    #[test]
    fn a_cell_holds_the_last_record_written(records in vec(any::<[u64; 3]>(), 1..10)) {
        let cell = words(4);
        for record in records {
            seqlock::write(&cell, &record);
            let mut out = [0; 3];
            prop_assert_eq!(seqlock::read(Words::new(&cell), &mut out), Ok(()));
            prop_assert_eq!(out, record);
        }
    }

    #[test]
    fn a_counter_is_the_plain_sum_of_what_was_added(
        adds in vec((0u32..6, 0usize..3, any::<u64>()), 0..50),
    ) {
        // Lanes 0 to 3; a region may be asked for lanes that it does not have.
        let (section, stride) = (words(4 * 3), 3);
        let mut sums = [0u64; 3];
        for (lane, metric, n) in adds {
            lanes::Lanes::new(&section, stride).add(lane, metric, n);
            sums[metric] = sums[metric].wrapping_add(n);
        }
        let read = [0, 1, 2].map(|metric| lanes::sum(Words::new(&section), stride, metric));
        prop_assert_eq!(read, sums);
    }

    #[test]
    fn a_lane_that_is_claimed_is_the_lowest_free_one(
        steps in vec(any::<(bool, Index)>(), 0..300),
        bitmap_words in 1usize..3,
    ) {
        let bitmap = words(bitmap_words);
        let mut held = BTreeSet::new();
        for (claims, which) in steps {
            if claims || held.is_empty() {
                let free = (1..=64 * bitmap_words as u32).find(|lane| !held.contains(lane));
                prop_assert_eq!(lanes::claim(&bitmap), free);
                held.extend(free);
            } else {
                let lane = *which.get(&held.iter().copied().collect::<Vec<_>>());
                lanes::give_back(&bitmap, lane);
                held.remove(&lane);
            }
        }
    }
}

// ---- names

proptest! {
    #[test]
    fn interning_is_a_map_from_keys_to_numbers(
        texts in vec(".{0,90}", 1..12),
        cells in 1usize..16,
        steps in vec(any::<Index>(), 0..40),
    ) {
        let (keys, section) = (words(cells), words(cells * CELL_WORDS));
        let interner = Interner { keys: &keys, cells: &section };
        let mut known: HashMap<usize, u32> = HashMap::new();
        for which in steps {
            let which = which.index(texts.len());
            let text = &texts[which];
            // Some hashes with the same first index, and some with another.
            let outcome = interner.intern_hashed((which as u64 / 2) << 40 | which as u64, text);
            match known.get(&which) {
                Some(id) => prop_assert_eq!(outcome, Interned::Known(*id)),
                None if known.len() == cells => prop_assert_eq!(outcome, Interned::Full),
                None => {
                    let Interned::New { id, cut } = outcome else { panic!("{outcome:?} for a new text") };
                    prop_assert_eq!(cut, text.len() > NAME_BYTES);
                    prop_assert!(known.values().all(|other| *other != id) && id as usize <= cells);
                    known.insert(which, id);
                }
            }
        }
        for (which, id) in known {
            let mut buffer = [0; NAME_BYTES];
            let (bytes, _) = put_text(&mut buffer, NAME_BYTES, &texts[which]);
            let read = read_name(Words::new(&section), CELL_WORDS, id);
            prop_assert_eq!(read.as_deref().map(str::as_bytes), Some(&buffer[..bytes]));
        }
    }

    #[test]
    fn a_cell_of_any_words_is_a_text_or_none(cell in vec(any::<u64>(), 0..8), ready: u64, bytes in 0u64..70) {
        let cell: Vec<AtomicU64> = cell.into_iter().map(AtomicU64::new).collect();
        for first in [ready, 1 << 63 | bytes] {
            if let Some(word) = cell.first() {
                word.store(first, Ordering::Relaxed);
            }
            let _ = atomscope_layout::names::read_cell(Words::new(&cell));
        }
    }
}

// ---- the ring

#[derive(Debug, Clone, Copy)]
enum Fate {
    Writes,
    /// Takes a ticket and then does nothing.
    NeverComes,
    /// Dies with the record half written.
    DiesAtIt,
}

proptest! {
    #[test]
    fn every_ticket_of_a_ring_is_what_the_order_of_writing_made_of_it(
        slots in 1usize..6,
        fates in vec(prop_oneof![8 => Just(Fate::Writes), 1 => Just(Fate::NeverComes), 1 => Just(Fate::DiesAtIt)], 1..24),
        order in any::<u64>(),
    ) {
        let stride = 4;
        let section = words((1 + slots) * stride);
        let ring = Ring::new(&section, stride);
        let reader = RingReader::new(Words::new(&section), stride);
        let mut tickets: Vec<u64> = fates.iter().map(|_| ring.ticket()).collect();
        // The seed decides the order.
        tickets.sort_by_key(|ticket| (ticket + 1).wrapping_mul(order | 1) >> 7);

        // For each slot: its ticket, and whether its writer is still writing; and the abandoned tickets.
        let mut holders: HashMap<u64, (u64, bool)> = HashMap::new();
        let mut gave_way: Vec<u64> = Vec::new();
        for ticket in tickets {
            let slot = ticket % slots as u64;
            let free = holders.get(&slot).is_none_or(|(holder, whole)| *whole && *holder < ticket);
            match fates[ticket as usize] {
                Fate::NeverComes => {}
                Fate::Writes => {
                    let written = ring.write(ticket, &[ticket, !ticket]);
                    prop_assert_eq!(written, if free { Written::Published } else { Written::Abandoned });
                    if free { holders.insert(slot, (ticket, true)); } else { gave_way.push(ticket) }
                }
                Fate::DiesAtIt if free => {
                    section[(1 + slot as usize) * stride].store(2 * ticket + 1, Ordering::Relaxed);
                    holders.insert(slot, (ticket, false));
                }
                Fate::DiesAtIt => {}
            }
        }
        prop_assert_eq!(reader.head(), fates.len() as u64);
        for ticket in 0..reader.head() {
            let later = |other: &&u64| **other >= ticket && **other % slots as u64 == ticket % slots as u64;
            let wanted = match holders.get(&(ticket % slots as u64)) {
                Some((holder, _)) if *holder > ticket => SlotRead::Lapped,
                Some((holder, true)) if *holder == ticket => SlotRead::Record,
                Some((holder, false)) if *holder == ticket => SlotRead::Pending,
                _ if gave_way.iter().find(later).is_some() => SlotRead::Abandoned,
                _ => SlotRead::Pending,
            };
            let mut out = [0; 2];
            prop_assert_eq!(reader.read(ticket, &mut out, &mut Patience::for_a_scan()), Ok(wanted));
            prop_assert!(wanted != SlotRead::Record || out == [ticket, !ticket]);
        }
    }

    #[test]
    fn a_ring_of_one_writer_keeps_the_newest_records(slots in 1usize..6, count in 0u64..20) {
        let section = words((1 + slots) * 4);
        let ring = Ring::new(&section, 4);
        (0..count).for_each(|ticket| ring.push(&[ticket, !ticket]));
        let reader = RingReader::new(Words::new(&section), 4);
        prop_assert_eq!(reader.head(), count);
        for ticket in 0..count {
            let mut out = [0; 2];
            let kept = ticket + slots as u64 >= count;
            let wanted = if kept { SlotRead::Record } else { SlotRead::Lapped };
            prop_assert_eq!(reader.read(ticket, &mut out, &mut Patience::for_a_scan()), Ok(wanted));
            prop_assert!(!kept || out == [ticket, !ticket]);
        }
    }

    #[test]
    fn with_all_writers_at_rest_every_ticket_has_an_end(slots in 1usize..6, count in 1u64..40, order: u64) {
        let section = words((1 + slots) * 3);
        let ring = Ring::new(&section, 3);
        let mut tickets: Vec<u64> = (0..count).map(|_| ring.ticket()).collect();
        tickets.sort_by_key(|ticket| (ticket + 1).wrapping_mul(order | 1) >> 7);
        for ticket in tickets {
            let _ = ring.write(ticket, &[ticket]);
        }
        let reader = RingReader::new(Words::new(&section), 3);
        let ends = (0..count).filter(|ticket| {
            matches!(reader.read(*ticket, &mut [0], &mut Patience::for_a_scan()), Ok(SlotRead::Record | SlotRead::Lapped | SlotRead::Abandoned))
        });
        prop_assert_eq!(ends.count() as u64, count);
    }
}

// ---- the table of actors

#[derive(Debug, Clone, Copy)]
enum Step {
    Spawn(usize),
    Stop(usize),
    Update(usize),
    Settle,
}

fn steps(keys: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..keys).prop_map(Step::Spawn),
        5 => (0..keys).prop_map(Step::Stop),
        1 => (0..keys).prop_map(Step::Update),
        1 => Just(Step::Settle),
    ];
    vec(step, 0..200)
}

/// Keys with the same line of the index, with the same tag, or with nothing in common.
fn keys(alike: u8) -> Vec<Key> {
    (1..=12u64)
        .map(|n| match alike {
            0 => Key(n << 20 | 77 << 6, n << 40),
            1 => Key(n << 6, 77),
            _ => Key(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)),
        })
        .collect()
}

/// What the hooks reported for one key: the stamps of the spawns without a stop, oldest first, and the number of stops
/// without a spawn.
type Truth = (VecDeque<u64>, u64);

proptest! {
    #[test]
    fn a_region_lists_exactly_the_newest_spawns_and_its_numbers_add_up(alike in 0u8..3, steps in steps(12)) {
        let keys = keys(alike);
        let region = Region::small();
        let mut truth: HashMap<Key, Truth> = HashMap::new();
        for (step, now) in steps.into_iter().zip(1..) {
            // Keys with the same place in the index share 21 entries.
            let entries: usize = truth.values().map(|(spawns, stops)| spawns.len() + *stops as usize).sum();
            if let Step::Spawn(which) | Step::Stop(which) = step {
                if entries > 16 {
                    continue;
                }
                let (spawns, stops) = truth.entry(keys[which]).or_default();
                match step {
                    Step::Spawn(_) if *stops > 0 => *stops -= 1,
                    Step::Spawn(_) => spawns.push_back(now),
                    _ => *stops += u64::from(spawns.pop_front().is_none()),
                }
            }
            step_in(&region, &keys, 0, step, now);
            let list = region.read().actor_list();
            let listed: HashMap<Key, u64> =
                list.iter().map(|actor| (actor.key(), actor.spawn_stamp())).collect();
            let newest: HashMap<Key, u64> =
                truth.iter().filter_map(|(key, (spawns, _))| Some((*key, *spawns.back()?))).collect();
            prop_assert_eq!(listed, newest);
            prop_assert_eq!(list.waiting_stops, truth.values().map(|(_, stops)| stops).sum::<u64>());
            let held: usize = truth.values().map(|(spawns, _)| spawns.len()).sum();
            // A path that was spawned twice and not stopped since is listed once; its actors are all counted as live.
            let replaced = held - list.len();
            if list.waiting_stops <= list.len() as u64 {
                prop_assert_eq!(list.tally().drift(&region.read().actor_totals()), replaced as i64);
            }
        }
    }
}

// ---- the map

// ---- actors counted by class

/// A region with a few actors. Each `Step` changes one of them. The fields of an actor depend on its number.
fn step_in(region: &Region, keys: &[Key], type_id: u32, step: Step, now: u64) {
    match step {
        Step::Spawn(which) => {
            let mut record = ActorRecord::new_zeroed();
            (record.key, record.spawned) = (keys[which].words(), now);
            let path = format!("/{which}");
            // Some classes have a name number, some depths are known, and one class has both a number and a text.
            let type_text = if which % 2 == 0 { "" } else { ["shop::Order", "shop::Shelf"][which / 2 % 2] };
            record.type_id = if type_text.is_empty() { type_id } else { 0 };
            if which % 3 == 0 {
                record.flags = actor_flags::DEPTH;
                record.depth = now % 5;
            }
            (record.path_bytes, record.type_bytes) = (path.len() as u8, type_text.len() as u8);
            record.text[..path.len()].copy_from_slice(path.as_bytes());
            record.text[path.len()..][..type_text.len()].copy_from_slice(type_text.as_bytes());
            let _ = region.spawn(&record);
        }
        Step::Stop(which) => _ = region.stop(keys[which]),
        Step::Update(which) => {
            let depth = |slot: &[AtomicU64]| slot[ACTOR_DEPTH_WORD].store(now % 7, Ordering::Relaxed);
            assert_eq!(region.update(keys[which], depth), region.table().newest_spawn(keys[which]).is_some());
        }
        Step::Settle => {
            let settled = region.table().settle(LANE, |_| false, &Counting(region));
            assert_eq!((settled.pairs, settled.expired), (0, 0));
        }
    }
}

/// The classes of a list, counted naively.
fn classes_of(list: &ActorList) -> Vec<Class> {
    let mut names: Vec<&str> = list.iter().map(|actor| actor.class()).collect();
    names.sort_unstable();
    names.dedup();
    let class = |name: &&str| {
        let of = || list.iter().filter(|actor| actor.class() == *name);
        let depths = || of().filter_map(|actor| actor.mailbox_depth());
        Class {
            name: (*name).to_owned(),
            actors: of().count() as u64,
            waiting: depths().next().map(|_| depths().sum()),
            deepest: depths().max(),
            oldest: of().filter_map(|actor| actor.spawned()).min_by_key(|moment| moment.unix_ns),
        }
    };
    let mut classes: Vec<Class> = names.iter().map(class).collect();
    classes.sort_by_key(|class| std::cmp::Reverse((class.waiting.unwrap_or(0), class.actors)));
    classes
}

proptest! {
    #[test]
    fn a_census_says_what_a_list_says_and_both_know_when_something_has_changed(
        alike in 0u8..3,
        steps in steps(12),
    ) {
        let keys = keys(alike);
        let region = Region::small();
        let Interned::New { id, .. } = region.names().intern_static("shop::Order") else { panic!("not new") };
        let mut before = None;
        for (step, now) in steps.into_iter().zip(1..) {
            step_in(&region, &keys, id, step, now);
            let (list, counts) = (region.read().actor_list(), region.read().class_counts());
            prop_assert_eq!(&counts.classes, &classes_of(&list));
            prop_assert_eq!((counts.tally, counts.mark), (list.tally(), list.mark()));
            let listed = (serde_json::to_string(&list).unwrap(), counts.tally);
            if let Some((listed_before, mark)) = before.replace((listed.clone(), counts.mark)) {
                prop_assert!(listed_before == listed || mark != counts.mark);
            }
        }
    }
}

fn capacities() -> impl Strategy<Value = Capacities> {
    // Mostly small, sometimes up to the limit.
    let up_to = |most: usize| prop_oneof![9 => 1..=most.min(5000), 1 => 1..=most];
    (
        up_to(MAX_ACTORS),
        up_to(MAX_LANES),
        up_to(MAX_DEAD_LETTERS),
        up_to(MAX_EVENTS),
        up_to(MAX_NAMES),
        MIN_METRICS..=MAX_METRICS,
        up_to(MAX_INSTANCES),
        up_to(MAX_HISTOGRAMS),
        up_to(MAX_JOURNAL_WRITES),
        (256usize..=MAX_DOCUMENT_BYTES / 4, up_to(MAX_FAILURES), up_to(MAX_PANICS)),
        (
            up_to(MAX_INSTRUMENTS),
            up_to(MAX_CLASSES),
            up_to(MAX_VARIANTS - MAX_CLASSES),
            up_to(MAX_THREADS),
            (up_to(MAX_KINDS), up_to(MAX_FIELDS), up_to(MAX_RECORDS)),
        ),
    )
        .prop_map(
            |(
                actors,
                lanes,
                dead_letters,
                events,
                names,
                metrics,
                instances,
                histograms,
                writes,
                (bytes, failures, panics),
                (instruments, classes, further_rows, threads, (kinds, fields, records)),
            )| {
                Capacities {
                    actors,
                    lanes,
                    dead_letters,
                    events,
                    names,
                    metrics,
                    instances,
                    document_bytes: bytes,
                    histograms,
                    journal_writes: writes,
                    failures,
                    panics,
                    instruments,
                    classes,
                    variants: classes + further_rows,
                    threads,
                    kinds,
                    fields,
                    records,
                }
            },
        )
}

proptest! {
    #[test]
    fn the_sections_of_a_region_are_inside_aligned_and_apart(capacities in capacities()) {
        let map = RegionMap::for_capacities(&capacities).unwrap();
        prop_assert_eq!(map.region_bytes % 4096, 0);
        let mut end = HEADER_BYTES as u64;
        for entry in &map.directory()[..map.section_count()] {
            prop_assert!(entry.offset_bytes >= end && entry.offset_bytes % 128 == 0);
            prop_assert!(entry.record_bytes <= entry.stride_bytes && entry.count > 0);
            end = entry.offset_bytes + entry.count * entry.stride_bytes;
        }
        prop_assert!(end <= map.region_bytes as u64);
        prop_assert_eq!(map.actors.count, capacities.actors + 48 * (capacities.lanes + 1));
        prop_assert_eq!(map.instances.count, capacities.instances);
        prop_assert_eq!(map.counters.count, capacities.lanes + 1);
        prop_assert_eq!(map.dead_letters.count, capacities.dead_letters + 1);
        prop_assert_eq!(map.events.count, capacities.lanes + 1);
        prop_assert_eq!(map.cells.count, capacities.instruments);
        prop_assert_eq!(map.classes.count, capacities.classes);
        prop_assert_eq!(map.variants.count, capacities.variants);
        prop_assert_eq!(map.handled.count, capacities.lanes + 1);
        prop_assert_eq!(map.threads.count, capacities.threads);
        prop_assert_eq!(
            [map.kinds.count, map.fields.count, map.records.count],
            [capacities.kinds, capacities.fields, capacities.records]
        );
        prop_assert!(map.directory()[map.section_count()..MAX_SECTIONS].iter().all(|entry| entry.id == 0));
    }

    #[test]
    fn a_directory_reads_back_as_the_map_that_wrote_it(
        actors in 1usize..300,
        lanes in 1usize..20,
        dead_letters in 1usize..50,
        events in 1usize..50,
        names in 1usize..50,
        metrics in MIN_METRICS..200,
        instances in 1usize..50,
        document_bytes in 256usize..2000,
    ) {
        let region = Region::new(&Capacities {
            actors,
            lanes,
            dead_letters,
            events,
            names,
            metrics,
            instances,
            document_bytes,
            ..Capacities::LEAST
        });
        let (map, record) = RegionMap::read(region.memory.reader()).unwrap();
        prop_assert_eq!(map, region.map);
        prop_assert_eq!(record.region_bytes, region.map.region_bytes as u64);
    }
}

#[test]
fn the_default_region_leaves_room_below_sixteen_mebibytes() {
    let bytes = RegionMap::footprint(&Capacities::default()).unwrap();
    // 192 KiB stay for records to come.
    assert!(bytes <= (16 << 20) - (192 << 10), "{bytes}");
}

#[test]
fn capacities_outside_the_limits_are_refused() {
    let usual = Capacities::default();
    for wrong in [
        Capacities { actors: 0, ..usual },
        Capacities { actors: MAX_ACTORS + 1, ..usual },
        Capacities { lanes: MAX_LANES + 1, ..usual },
        Capacities { dead_letters: 0, ..usual },
        Capacities { events: MAX_EVENTS + 1, ..usual },
        Capacities { names: usize::MAX, ..usual },
        Capacities { metrics: MIN_METRICS - 1, ..usual },
        Capacities { instruments: MAX_INSTRUMENTS + 1, ..usual },
        Capacities { classes: 0, ..usual },
        Capacities { variants: usual.classes - 1, ..usual },
        Capacities { threads: MAX_THREADS + 1, ..usual },
        Capacities { kinds: MAX_KINDS + 1, ..usual },
        Capacities { fields: MAX_FIELDS + 1, ..usual },
        Capacities { records: 0, ..usual },
    ] {
        assert!(RegionMap::for_capacities(&wrong).is_err(), "{wrong:?}");
    }
}

// ---- hostile regions

fn populated() -> Vec<u64> {
    hostile::words_of(&hostile::filled())
}

fn read_all(region: Words<'_>) {
    if let (Ok(()), Ok(reader)) = (hostile::read_all(region), RegionReader::open(region)) {
        let list = reader.actor_list();
        assert_eq!(ActorSnapshot::from(&list.into_tree()), reader.actors().into_snapshot());
    }
}

fn hostile_word() -> impl Strategy<Value = u64> {
    let edges = select(vec![
        0,
        1,
        2,
        3,
        7,
        8,
        63,
        64,
        127,
        128,
        4096,
        1 << 31,
        1 << 32,
        1 << 62,
        1 << 63,
        !0,
        !0 - 1,
    ]);
    prop_oneof![edges, 0u64..70_000, any::<u64>()]
}

/// How one word is changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    To(u64),
    /// Some bits flipped: the value is almost valid.
    Flip(u64),
}

fn change() -> impl Strategy<Value = Change> {
    let bit = (0u32..64).prop_map(|bit| 1u64 << bit);
    prop_oneof![hostile_word().prop_map(Change::To), bit.prop_map(Change::Flip)]
}

fn changed(words: &[u64], changes: &[(usize, Change)]) -> Vec<AtomicU64> {
    let mut words = words.to_vec();
    for (at, change) in changes {
        let at = at % words.len();
        words[at] = match change {
            Change::To(value) => *value,
            Change::Flip(bits) => words[at] ^ bits,
        };
    }
    words.into_iter().map(AtomicU64::new).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_header_of_any_words_is_an_error_and_never_a_panic(
        changes in vec((header::RECORD.start..header::DIRECTORY.end, change()), 1..6),
    ) {
        let region = changed(&populated(), &changes);
        read_all(Words::new(&region));
    }

    #[test]
    fn a_directory_of_any_words_is_an_error_and_never_a_panic(
        changes in vec((0usize..11, 0usize..5, change()), 1..5),
        sections in prop_oneof![9 => Just(11u64), 1 => 0u64..40],
    ) {
        let mut changes: Vec<(usize, Change)> = changes
            .into_iter()
            .map(|(entry, field, change)| (header::DIRECTORY.start + entry * 8 + field, change))
            .collect();
        changes.push((header::RECORD.start + 2, Change::To(sections)));
        let region = changed(&populated(), &changes);
        read_all(Words::new(&region));
    }

    #[test]
    fn records_of_any_words_are_counted_and_never_a_panic(
        changes in vec((HEADER_BYTES / 8..1 << 20, change()), 1..60),
        clock in prop_oneof![1 => Just(None), 1 => any::<[u64; 16]>().prop_map(Some)],
        head in prop_oneof![3 => Just(6), 1 => hostile_word()],
    ) {
        let words = populated();
        let (map, _) = RegionMap::read(Words::new(&changed(&words, &[]))).unwrap();
        let mut changes = changes;
        changes.push((map.dead_letters.start, Change::To(head)));
        for (at, value) in clock.into_iter().flatten().enumerate() {
            changes.push((map.clock_samples.start + at, Change::To(value)));
        }
        // The counters of a lane, where sums overflow; the head of a lane.
        changes.push((map.counters.start + (head as usize) % map.counters.len(), Change::To(!0)));
        changes.push((map.events.start + map.events.stride, Change::To(head)));
        let region = changed(&words, &changes);
        read_all(Words::new(&region));
    }

    #[test]
    fn a_region_that_ends_early_is_an_error(length: Index) {
        let region: Vec<AtomicU64> = populated().into_iter().map(AtomicU64::new).collect();
        let short = &region[..length.index(region.len())];
        prop_assert!(RegionReader::open(Words::new(short)).is_err());
    }

    #[test]
    fn a_time_of_any_log_is_a_number_and_stays_as_it_is_whatever_is_added(
        all in proptest::collection::vec(any::<[u64; 5]>(), 0..5),
        stamps: [u64; 4],
    ) {
        let mut all: Vec<ClockSampleRecord> = all
            .into_iter()
            .map(|[ticks, mono_ns, boot_ns, unix_ns, rate]| {
                ClockSampleRecord { ticks, mono_ns, boot_ns, unix_ns, rate, reserved: [0; 2] }
            })
            .collect();
        all.sort_by_key(|sample| sample.ticks);
        let clock = |all: &[ClockSampleRecord]| {
            Clock::of(&Samples { all: all.to_vec(), changes: 2, until: None })
        };
        for used in 1..all.len() {
            let (before, after) = (clock(&all[..used]).unwrap(), clock(&all[..used + 1]).unwrap());
            for stamp in stamps.into_iter().filter(|stamp| *stamp < all[used].ticks) {
                prop_assert_eq!(before.moment(stamp), after.moment(stamp));
                prop_assert_eq!(before.unix_ns(stamp), before.moment(stamp).map(|at| at.unix_ns));
            }
            let _ = after.moment_of_mono(stamps[0]);
        }
    }
}

// ---- trees

/// As `atomr-telemetry` does it: for each actor a search through all actors, and another for each level.
fn naive_tree(flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
    fn node(flat: &[ActorStatus], status: &ActorStatus) -> ActorTreeNode {
        let below = flat.iter().filter(|other| other.parent.as_ref() == Some(&status.path));
        ActorTreeNode {
            path: status.path.clone(),
            name: status.path.split('/').next_back().unwrap_or_default().to_owned(),
            actor_type: status.actor_type.clone(),
            mailbox_depth: status.mailbox_depth,
            host: status.host.clone(),
            children: below.map(|child| node(flat, child)).collect(),
        }
    }
    let is_there = |path: &String| flat.iter().any(|status| status.path == *path);
    let roots = flat.iter().filter(|status| !status.parent.as_ref().is_some_and(is_there));
    roots.map(|root| node(flat, root)).collect()
}

fn count(nodes: &[ActorTreeNode]) -> usize {
    nodes.iter().map(|node| 1 + count(&node.children)).sum()
}

fn depth(nodes: &[ActorTreeNode]) -> usize {
    nodes.iter().map(|node| 1 + depth(&node.children)).max().unwrap_or(0)
}

fn status(path: String, parent: Option<String>) -> ActorStatus {
    ActorStatus {
        path,
        parent,
        actor_type: "T".into(),
        mailbox_depth: 1,
        spawned_at: String::new(),
        host: None,
    }
}

proptest! {
    #[test]
    fn a_time_is_the_text_that_the_calendar_says(unix_ns in any::<i64>(), second in 0..16_725_225_600i64) {
        for unix_ns in [i128::from(unix_ns), i128::from(second) * 1_000_000_000, i128::from(unix_ns).pow(2)] {
            let said = Timestamp::from_nanosecond(unix_ns).map(|time| format!("{time:.9}")).unwrap_or_default();
            prop_assert_eq!(rfc3339(unix_ns), said);
        }
    }

    #[test]
    fn a_tree_is_that_of_atomr_telemetry(
        // For each actor: an earlier actor as its parent, or a path that no actor has, or no parent.
        parents in vec(prop_oneof![4 => any::<Index>().prop_map(Some), 1 => Just(None)], 0..50),
        strangers in vec(any::<bool>(), 50),
        order in any::<u64>(),
    ) {
        let mut flat: Vec<ActorStatus> = Vec::new();
        for (number, parent) in parents.iter().enumerate() {
            let parent = match parent {
                Some(index) if number > 0 => Some(flat[index.index(number)].path.clone()),
                _ => strangers[number].then(|| "/user".to_owned()),
            };
            let above = parent.clone().unwrap_or_default();
            flat.push(status(format!("{above}/{number}"), parent));
        }
        prop_assume!(depth(&naive_tree(&flat)) <= MAX_TREE_LEVELS);
        flat.sort_by_key(|status| status.path.bytes().fold(order, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)));
        prop_assert_eq!(tree(&flat), naive_tree(&flat));
    }

    #[test]
    fn a_tree_of_any_parents_holds_everybody_once_and_is_not_too_deep(
        parents in vec(any::<Index>(), 0..200),
    ) {
        let flat: Vec<ActorStatus> = parents
            .iter()
            .enumerate()
            .map(|(number, parent)| status(number.to_string(), Some(parent.index(parents.len()).to_string())))
            .collect();
        let roots = tree(&flat);
        fn names<'a>(nodes: &'a [ActorTreeNode], seen: &mut HashSet<&'a str>) {
            for node in nodes {
                seen.insert(&node.path);
                names(&node.children, seen);
            }
        }
        let mut seen = HashSet::new();
        names(&roots, &mut seen);
        prop_assert_eq!((count(&roots), seen.len()), (flat.len(), flat.len()));
        prop_assert!(depth(&roots) <= MAX_TREE_LEVELS);
    }
}
