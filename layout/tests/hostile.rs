//! Regions that no writer produces: the tests change every word of a filled region in turn, and whole sections, lengths and
//! versions. In every case reading ends, needs no more memory than a small multiple of the region, and reports what is
//! wrong.

// Miri would take hours, and the only unsafe code here is that of the allocator.
#![cfg(not(any(atomscope_loom, miri)))]
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "they are tests")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;

use atomscope_layout::decode::{Actors, RegionReader};
use atomscope_layout::event::{EVENT_SLOT_BYTES, EventKind, EventRecord, TelemetryEvent};
use atomscope_layout::follow::Follower;
use atomscope_layout::instances::{Domain, INSTANCE_WORDS, InstanceRecord};
use atomscope_layout::limits::{MAX_SECTIONS, NAME_BYTES};
use atomscope_layout::names::Interned;
use atomscope_layout::records::{ACTOR_WORDS, ActorRecord, actor_flags};
use atomscope_layout::region::{HEADER_BYTES, SECTION_WORDS, Section, VERSION_MAJOR, header};
use atomscope_layout::ring::{Ring, RingReader, SlotRead};
use atomscope_layout::seqlock::Patience;
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_layout::table::Key;
use atomscope_layout::{Capacities, OpenError, Words};
use proptest::prelude::*;
use support::Region;
use support::hostile::{TARGETS, atomic, filled, read_all, words_of};
use zerocopy::FromZeros as _;

/// Sections of this version.
const SECTIONS: usize = 21;

/// Puts a record into the next slot, whether another slot has its key or not.
fn put(region: &Region, record: &ActorRecord) {
    let words: [u64; ACTOR_WORDS] = zerocopy::transmute!(*record);
    region.put(region.map.actors, header::ACTORS_USED, &words);
}

/// Counts the bytes that this thread holds, and their maximum.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn note(bytes: isize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call goes unchanged to the system's allocator, and its result is returned. The counting neither allocates
// nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller keeps `dealloc`'s contract, and `start` came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

/// The maximum number of bytes that `run` held, in addition to those held before.
fn most_held<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = run();
    (result, (HELD.get().1 - before) as usize)
}

/// The bytes that [`read_all`] may hold for a region of this size, as `decode` and `follow` document it.
fn allowed(bytes: usize) -> usize {
    30 * bytes + 65_536
}

#[track_caller]
fn read_bounded(words: &[AtomicU64]) -> Result<(), OpenError> {
    let (result, held) = most_held(|| read_all(Words::new(words)));
    assert!(held <= allowed(words.len() * 8), "{held} bytes held for a region of {}", words.len() * 8);
    result
}

/// Boundary values for a word with the value `held`, in a region of this size.
fn edges(held: u64, bytes: u64) -> HashSet<u64> {
    let around = |value: u64| [value.wrapping_sub(1), value, value.wrapping_add(1)];
    let mut values =
        HashSet::from([2, 3, 1 << 31, 1 << 32, 1 << 40, 1 << 62, 1 << 63 | 1, held / 2, held ^ 1 << 63]);
    values.extend([0, held, held.wrapping_mul(2), bytes, u64::MAX, 1 << 63].map(around).as_flattened());
    values
}

#[test]
fn every_word_of_a_region_may_hold_anything() {
    let words = atomic(&words_of(&filled()));
    let bytes = words.len() as u64 * 8;
    for (at, word) in words.iter().enumerate() {
        let held = word.load(Ordering::Relaxed);
        // All boundary values for lengths, counts and indices; a few for text and padding.
        let is_sparse = held == 0 && at > header::DIRECTORY.end && at % 4 != 0;
        let values = if is_sparse { HashSet::from([1, u64::MAX]) } else { edges(held, bytes) };
        for value in values {
            word.store(value, Ordering::Relaxed);
            let _ = read_bounded(&words);
        }
        word.store(held, Ordering::Relaxed);
    }
}

#[test]
fn every_pair_of_fields_of_a_section_may_hold_anything() {
    let words = atomic(&words_of(&filled()));
    let bytes = words.len() as u64 * 8;
    for entry in 0..SECTIONS {
        let fields = &words[header::DIRECTORY.start + entry * SECTION_WORDS..][..4];
        let held: Vec<u64> = fields.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        for (one, other) in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)] {
            for value in edges(held[one], bytes) {
                fields[one].store(value, Ordering::Relaxed);
                for value in edges(held[other], bytes) {
                    fields[other].store(value, Ordering::Relaxed);
                    let _ = read_bounded(&words);
                }
            }
            fields.iter().zip(&held).for_each(|(word, held)| word.store(*held, Ordering::Relaxed));
        }
    }
}

#[test]
fn a_section_that_lies_where_another_does_is_refused_by_its_offset() {
    let words = atomic(&words_of(&filled()));
    let offset_of = |entry: usize| header::DIRECTORY.start + entry * SECTION_WORDS + 1;
    for (entry, other) in (0..SECTIONS).flat_map(|entry| (0..SECTIONS).map(move |other| (entry, other))) {
        if entry == other {
            continue;
        }
        let held = words[offset_of(entry)].load(Ordering::Relaxed);
        words[offset_of(entry)].store(words[offset_of(other)].load(Ordering::Relaxed), Ordering::Relaxed);
        let error = read_bounded(&words).unwrap_err();
        let OpenError::Corrupt { offset, field: what, .. } = error else { panic!("{error}") };
        let word = offset as usize / 8;
        assert!([offset_of(entry), offset_of(other)].contains(&word), "{error}");
        assert!(what.starts_with("section offset"), "{error}");
        words[offset_of(entry)].store(held, Ordering::Relaxed);
    }
}

#[test]
fn a_section_that_is_not_there_is_named() {
    for entry in 0..SECTIONS {
        let words = atomic(&words_of(&filled()));
        words[header::DIRECTORY.start + entry * SECTION_WORDS].store(4711, Ordering::Relaxed);
        let error = read_bounded(&words).unwrap_err();
        let OpenError::Corrupt { offset, field: what, found } = error else { panic!("{error}") };
        assert_eq!(found, SECTIONS as u64);
        assert_eq!(offset as usize, (header::RECORD.start + 2) * 8);
        assert!(what.starts_with("number of sections (the ") && what.ends_with(" are missing)"), "{error}");
    }
}

#[test]
fn a_region_of_any_length_short_of_its_own_is_truncated() {
    let words = atomic(&words_of(&filled()));
    for length in 0..words.len() {
        match read_bounded(&words[..length]).unwrap_err() {
            OpenError::NotReady => assert_eq!(length, 0),
            OpenError::Truncated { found, expected } => {
                let least = if length * 8 < HEADER_BYTES { HEADER_BYTES } else { words.len() * 8 };
                assert_eq!((found, expected), (length as u64 * 8, least as u64));
            }
            other => panic!("{other}"),
        }
    }
    // A file may be longer than the region in it.
    let longer: Vec<_> = words.iter().map(|word| word.load(Ordering::Relaxed)).chain([7; 100]).collect();
    assert_eq!(read_bounded(&atomic(&longer)), Ok(()));
}

#[test]
fn other_magic_and_other_versions_are_refused_by_name() {
    let with = |word: usize, value: u64| {
        let words = atomic(&words_of(&filled()));
        words[word].store(value, Ordering::Relaxed);
        read_bounded(&words)
    };
    assert_eq!(with(header::MAGIC, 0), Err(OpenError::NotReady));
    for magic in [1, u64::MAX, u64::from_le_bytes(*b"ATOMSRAW")] {
        assert_eq!(with(header::MAGIC, magic), Err(OpenError::NotARegion { found: magic }));
    }
    for (found_major, found_minor) in [(0, 0), (0, u32::MAX), (1, 0), (1, 2), (3, 0), (u32::MAX, u32::MAX)] {
        let error = OpenError::Incompatible { found_major, found_minor, major: VERSION_MAJOR };
        assert_eq!(
            with(header::VERSION, u64::from(found_major) << 32 | u64::from(found_minor)),
            Err(error.clone())
        );
        assert_eq!(
            error.to_string(),
            format!("incompatible: found layout version {found_major}.{found_minor}, this program reads 2.x")
        );
    }
}

/// The same region as a newer minor version might lay it out: greater strides, with unknown fields after the known ones,
/// more sections, and the known sections in another order.
fn newer(words: &[u64], spare_words: usize) -> Vec<u64> {
    let directory = header::DIRECTORY.start;
    let mut entries: Vec<[u64; SECTION_WORDS]> = (0..SECTIONS)
        .map(|entry| words[directory + entry * SECTION_WORDS..][..SECTION_WORDS].try_into().unwrap())
        .collect();
    entries.reverse();
    let mut new = words[..HEADER_BYTES / 8].to_vec();
    new[header::VERSION] = u64::from(VERSION_MAJOR) << 32 | 7;
    for (at, [id, offset, count, stride, ..]) in entries.iter().copied().enumerate() {
        // Metrics, names, actors, dead letters, instances, cells, classes, variants, threads, kinds, fields, own records. The
        // others are read as one slice.
        let spare = if [2, 3, 4, 5, 7, 14, 15, 16, 18, 19, 20, 21].contains(&id) { spare_words } else { 0 };
        new.resize(new.len().next_multiple_of(16), 0);
        let start = new.len() as u64 * 8;
        for record in 0..count {
            let from = ((offset + record * stride) / 8) as usize;
            new.extend_from_slice(&words[from..from + stride as usize / 8]);
            new.extend(std::iter::repeat_n(u64::MAX, spare));
        }
        let entry = [id, start, count, stride + spare as u64 * 8, stride, u64::MAX, u64::MAX, u64::MAX];
        new[directory + at * SECTION_WORDS..][..SECTION_WORDS].copy_from_slice(&entry);
    }
    new.resize(new.len().next_multiple_of(16), 0);
    let unknown = [99, new.len() as u64 * 8, 3, 1024, 1000, 0, 0, 0];
    new.extend([u64::MAX; 3 * 128]);
    new[directory + SECTIONS * SECTION_WORDS..][..SECTION_WORDS].copy_from_slice(&unknown);
    new[header::RECORD.start] = new.len() as u64 * 8;
    new[header::RECORD.start + 2] = SECTIONS as u64 + 1;
    new
}

#[test]
fn a_newer_minor_version_is_read_as_far_as_it_is_known() {
    let old = atomic(&words_of(&filled()));
    let old = RegionReader::open(Words::new(&old)).unwrap();
    let decoded = |reader: &RegionReader<'_>| {
        let mut follower = Follower::from_first(reader);
        let (batch, accounts) = (follower.last_batch(reader), follower.accounts().collect::<Vec<_>>());
        (
            (reader.identity().node, reader.identity().system, reader.state(), reader.process_beat()),
            (reader.actors(), reader.actor_totals(), reader.dead_letters(100), reader.metrics()),
            (batch, accounts),
            (
                reader.instruments(),
                reader.runtime_threads(),
                format!("{:?}", reader.own_records()),
                reader.actor_list().iter().map(|actor| format!("{:?}", actor.stats())).collect::<Vec<_>>(),
            ),
        )
    };
    for spare_words in [0, 1, 16, 200] {
        let new = atomic(&newer(&words_of(&filled()), spare_words));
        assert_eq!(read_bounded(&new), Ok(()));
        let new = RegionReader::open(Words::new(&new)).unwrap();
        assert_eq!(decoded(&new), decoded(&old), "{spare_words}");
    }
}

#[test]
fn every_slot_of_actors_instances_and_rings_may_be_in_a_writer_s_hand() {
    let capacities = Capacities {
        actors: 20_000,
        dead_letters: 20_000,
        lanes: 4,
        events: 5_000,
        names: 4,
        ..Capacities::LEAST
    };
    let region = Region::new(&capacities);
    let set = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed);
    let controls = |section: Section| region.section(section).iter().step_by(section.stride);
    [region.map.actors, region.map.instances].into_iter().flat_map(controls).for_each(|word| set(word, 1));
    let words = region.memory.words();
    [header::ACTORS_USED, header::INSTANCES_USED].into_iter().for_each(|used| set(&words[used], u64::MAX));
    // Every ticket was taken, and no record was finished.
    let head = |ring: &[AtomicU64], stride: usize| {
        let slots = (ring.len() / stride - 1) as u64;
        set(&ring[0], slots);
        (0..slots).for_each(|ticket| set(&ring[(1 + ticket as usize) * stride], 2 * ticket + 1));
        slots
    };
    let letters = head(region.section(region.map.dead_letters), region.map.dead_letters.stride);
    let lanes = region.section(region.map.events).chunks(region.map.events.stride);
    let events: u64 = lanes.map(|lane| head(lane, EVENT_SLOT_BYTES / 8)).sum();
    // Odd sequences that will never become even.
    region.section(region.map.clock_samples).iter().for_each(|word| set(word, 1));
    let reader = region.read();
    assert_eq!(reader.clock(), None);
    let unreadable = region.map.actors.count as u64;
    assert_eq!(reader.actors(), Actors { unreadable, ..Actors::default() });
    assert_eq!(reader.class_counts().tally.unreadable, unreadable);
    assert_eq!(reader.instances().unreadable, region.map.instances.count as u64);
    assert_eq!(reader.dead_letters(100).unreadable, letters);
    let mut follower = Follower::from_first(&reader);
    for _ in 0..3 {
        assert_eq!(follower.next_batch(&reader).events, []);
        assert_eq!(follower.accounts().map(|account| account.pending).sum::<u64>(), events);
    }
    let losses = follower.last_batch(&reader).losses;
    assert_eq!(losses.iter().map(|loss| loss.abandoned).sum::<u64>(), events);
}

#[test]
fn a_pass_waits_so_often_and_then_gives_each_record_one_look() {
    let ring = atomic(&vec![1; (1 + 1000) * 4]);
    let reader = RingReader::new(Words::new(&ring), 4);
    let mut patience = Patience::for_a_scan();
    for ticket in 0..1000 {
        // The odd sequence of this ticket.
        ring[(1 + ticket as usize) * 4].store(2 * ticket + 1, Ordering::Relaxed);
        assert_eq!(reader.read(ticket, &mut [0; 2], &mut patience), Ok(SlotRead::Pending));
    }
    assert!(!patience.again(0));
    let mut fresh = Patience::for_a_scan();
    let waits = (0..).take_while(|_| fresh.again(0)).count();
    assert_eq!(waits, 1024);
}

#[test]
fn a_head_that_runs_ahead_is_an_account_and_not_a_loop() {
    for head in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 40] {
        let region = filled();
        let reader = region.read();
        let mut follower = Follower::from_first(&reader);
        let lane = &region.section(region.map.events)[region.map.events.stride..];
        let was = lane[0].load(Ordering::Relaxed);
        follower.next_batch(&reader);
        lane[0].store(head, Ordering::Relaxed);
        let slots = reader.event_lane(1).capacity();
        let batch = follower.next_batch(&reader);
        let account = follower.accounts().nth(1).unwrap();
        assert_eq!((batch.events.len(), account.next), (0, head));
        assert_eq!((account.read, account.lapped + account.pending), (was, head - was));
        assert!(account.pending <= slots);
        // A head that moves back is ignored.
        lane[0].store(0, Ordering::Relaxed);
        follower.next_batch(&reader);
        assert_eq!(follower.accounts().nth(1).unwrap().next, head);
    }
}

#[test]
fn a_name_that_all_share_is_no_longer_than_a_name_may_be() {
    // Cells a megabyte apart, and one name that fills its cell.
    let (actors, name_words) = (64, 1 << 17);
    let region = Region::new(&Capacities {
        actors,
        lanes: 1,
        dead_letters: 1,
        events: 1,
        names: 1,
        ..Capacities::LEAST
    });
    for number in 0..actors as u64 {
        let key = [number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number];
        let mut record = ActorRecord { key, type_id: 1, path_bytes: 1, ..ActorRecord::new_zeroed() };
        record.text[0] = b'a';
        put(&region, &record);
    }
    let mut words = newer(&words_of(&region), 0);
    let entry =
        words[header::DIRECTORY.start..].chunks(SECTION_WORDS).position(|entry| entry[0] == 3).unwrap();
    let fields = header::DIRECTORY.start + entry * SECTION_WORDS;
    words.resize(words.len().next_multiple_of(16), 0);
    (words[fields + 1], words[fields + 3]) = (words.len() as u64 * 8, name_words as u64 * 8);
    words.push((1 << 63) + (name_words as u64 - 1) * 8);
    words.extend(vec![0x6161_6161_6161_6161; name_words - 1]);
    words[header::RECORD.start] = words.len() as u64 * 8;
    let words = atomic(&words);
    assert_eq!(read_bounded(&words), Ok(()));
    let reader = RegionReader::open(Words::new(&words)).unwrap();
    let (entries, held) = most_held(|| reader.actors().entries);
    assert_eq!(entries.len(), actors);
    assert!(entries.iter().all(|entry| entry.status.actor_type.len() <= NAME_BYTES));
    assert!(held < 10 * actors * 400, "{held}");
}

/// A part of a membership change with only roles of one letter.
fn roles(stamp: u64, part: u16, parts: u16) -> EventRecord {
    let mut record = EventRecord { stamp, part, parts, ..EventRecord::new(EventKind::ClusterChanged) };
    (record.flags, record.numbers, record.text_bytes[2]) = (1 << 8, [0, u64::MAX], 192);
    record.text = [b"a\n".as_slice(); 96].concat().try_into().unwrap();
    record
}

#[test]
fn parts_that_are_never_completed_are_given_up_and_hold_no_more_than_the_rings() {
    let region = filled();
    let lane = region.map.events.start + region.map.events.stride;
    let ring = Ring::new(&region.memory.words()[lane..lane + region.map.events.stride], EVENT_SLOT_BYTES / 8);
    let reader = region.read();
    let mut follower = Follower::from_now(&reader);
    let bytes = words_of(&region).len() * 8;
    let rounds = 5000;
    let ((), held) = most_held(|| {
        for round in 0..rounds {
            // An event with the maximum number of parts, one more part for each batch; sometimes the first part of another.
            ring.push(roles(7, round, u16::MAX).words());
            if round % 100 == 0 {
                ring.push(roles(8 + u64::from(round), 0, 2).words());
            }
            assert_eq!(follower.next_batch(&reader).events, []);
        }
    });
    assert!(held <= 30 * bytes, "{held}");
    // Other events are still returned.
    ring.push(EventRecord { stamp: 1 << 40, ..EventRecord::new(EventKind::StreamsGraphFinished) }.words());
    let events = follower.next_batch(&reader).events;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event, TelemetryEvent::StreamsGraphFinished { id: 0 });
}

#[test]
fn an_event_of_several_parts_is_told_when_it_is_whole() {
    let region = filled();
    let lane = region.map.events.start + region.map.events.stride;
    let ring = Ring::new(&region.memory.words()[lane..lane + region.map.events.stride], EVENT_SLOT_BYTES / 8);
    let reader = region.read();
    let mut follower = Follower::from_now(&reader);
    for part in 0..3 {
        ring.push(roles(100, part, 3).words());
        let events = follower.next_batch(&reader).events;
        assert_eq!(events.len(), usize::from(part == 2));
    }
}

#[test]
fn many_actors_of_one_path_one_parent_or_in_a_ring_are_all_there() {
    let actors = 3000;
    type Parent = fn(u64, u64) -> u64;
    let parents: [(&str, Parent); 4] = [
        ("all below one", |_, _| 0),
        ("each its own", |number, _| number),
        ("in a ring", |number, all| (number + 1) % all),
        ("below nobody", |number, all| number + all),
    ];
    for (how, parent) in parents {
        let region = Region::new(&Capacities {
            actors,
            lanes: 1,
            dead_letters: 1,
            events: 1,
            names: 1,
            ..Capacities::LEAST
        });
        for number in 0..actors as u64 {
            let mut record = ActorRecord {
                key: [number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number],
                spawned: number,
                flags: actor_flags::PARENT,
                path_bytes: 8,
                parent_bytes: 8,
                ..ActorRecord::new_zeroed()
            };
            let parent = parent(number, actors as u64);
            record.text[..16].copy_from_slice(format!("{number:08}{parent:08}").as_bytes());
            put(&region, &record);
        }
        assert_eq!(read_bounded(region.memory.words()), Ok(()), "{how}");
        assert_eq!(region.read().actors().into_snapshot().total, actors as u64, "{how}");
    }
}

#[test]
fn of_many_records_of_one_key_the_newest_is_listed() {
    let actors = 3000;
    let region = Region::new(&Capacities { actors, names: 1, ..Capacities::LEAST });
    for number in 0..actors as u64 {
        // Two keys, whose bits in the bitmap are the same.
        let mut record =
            ActorRecord { key: [7, number % 2], spawned: number ^ 2048, ..ActorRecord::new_zeroed() };
        record.path_bytes = 8;
        record.text[..8].copy_from_slice(format!("{number:08}").as_bytes());
        put(&region, &record);
    }
    assert_eq!(read_bounded(region.memory.words()), Ok(()));
    let entries = region.read().actors().entries;
    let paths: Vec<&str> = entries.iter().map(|entry| entry.status.path.as_str()).collect();
    assert_eq!(paths, ["00002046", "00002047"]);
    assert_eq!(region.read().class_counts().tally.listed, 2);
}

#[test]
fn journals_of_one_key_do_not_each_list_what_belongs_to_all() {
    let (journals, ids) = (1000, 1000);
    let region = Region::new(&Capacities { instances: 4 * (journals + ids), ..Capacities::LEAST });
    let key = |number: usize| {
        let number = number as u64 + 1;
        Key(number.wrapping_mul(0xc2b2_ae3d_27d4_eb4f), number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    for number in 0..journals + ids {
        let is_journal = number < journals;
        let (domain, owner) =
            if is_journal { (Domain::Journal, None) } else { (Domain::PersistenceId, Some(key(0))) };
        let of = if is_journal { key(0) } else { key(number) };
        let (record, _) = InstanceRecord::new(of, owner, 0, domain, "same");
        let words: &[u64; INSTANCE_WORDS] = zerocopy::transmute_ref!(&record);
        region.put(region.map.instances, header::INSTANCES_USED, words);
    }
    assert_eq!(read_bounded(region.memory.words()), Ok(()));
    let listed = region.read().subsystems().persistence.journals;
    assert_eq!(listed.len(), journals);
    assert_eq!(listed.iter().map(|journal| journal.persistence_ids.len()).sum::<usize>(), ids);
}

#[test]
fn names_that_a_terminal_would_act_on_are_only_text() {
    let texts = [
        "\u{1b}[2J",
        "\u{202e}dekcah",
        "a\u{200b}b\u{feff}",
        "a\nb\r\tc",
        "a\0b",
        "\u{e0041}",
        "\u{85}",
        "\u{9b}31m",
    ];
    let region = Region::new(&Capacities {
        actors: 8,
        lanes: 1,
        dead_letters: 8,
        events: 8,
        names: 8,
        ..Capacities::LEAST
    });
    for (number, text) in texts.iter().enumerate() {
        let Interned::New { id, .. } = region.names().intern_hashed(number as u64 + 1, text) else {
            panic!("full")
        };
        let key = [(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15), number as u64];
        let path_bytes = text.len() as u8;
        let mut record = ActorRecord { key, type_id: id, path_bytes, ..ActorRecord::new_zeroed() };
        record.text[..text.len()].copy_from_slice(text.as_bytes());
        put(&region, &record);
    }
    let entries = region.read().actors().entries;
    let paths: HashSet<&str> = entries.iter().map(|entry| entry.status.path.as_str()).collect();
    assert_eq!(paths, HashSet::from(texts));
    assert!(entries.iter().all(|entry| entry.status.path == entry.status.actor_type));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_section_may_hold_random_bytes(entry in 0..SECTIONS, seed: u64, share in 1u64..=64) {
        let words = atomic(&words_of(&filled()));
        let field = |field: usize| {
            words[header::DIRECTORY.start + entry * SECTION_WORDS + field].load(Ordering::Relaxed) as usize
        };
        let (start, count, stride) = (field(1) / 8, field(2), field(3) / 8);
        let mut random = seed | 1;
        for word in &words[start..start + count * stride] {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            // Only some words, so that heads, ready words and lengths are sometimes still valid.
            if random >> 58 < share {
                word.store(random.rotate_left(20), Ordering::Relaxed);
            }
        }
        prop_assert_eq!(read_bounded(&words), Ok(()));
    }

    #[test]
    fn a_header_may_hold_random_bytes(words in proptest::collection::vec(any::<u64>(), HEADER_BYTES / 8 - 2), keep in 0usize..3) {
        let mut region = words_of(&filled());
        let known = region.clone();
        region[2..HEADER_BYTES / 8].copy_from_slice(&words);
        if keep > 0 {
            region[header::RECORD].copy_from_slice(&known[header::RECORD]);
        }
        if keep > 1 {
            region[header::DIRECTORY].copy_from_slice(&known[header::DIRECTORY]);
        }
        prop_assert!(keep != 2 || read_bounded(&atomic(&region)).is_ok());
        let _ = read_bounded(&atomic(&region));
    }
}

#[test]
fn a_directory_may_have_any_number_of_sections() {
    for sections in
        [0, 1, 8, 20, 21, 22, MAX_SECTIONS as u64 - 1, MAX_SECTIONS as u64, MAX_SECTIONS as u64 + 1, u64::MAX]
    {
        let words = atomic(&words_of(&filled()));
        words[header::RECORD.start + 2].store(sections, Ordering::Relaxed);
        assert_eq!(read_bounded(&words).is_ok(), sections == SECTIONS as u64, "{sections}");
    }
}

/// Runs the corpus of the fuzz targets, and the inputs that they found, on any toolchain. `ATOMSCOPE_WRITE_CORPUS=1` writes
/// the corpus.
#[test]
fn the_kept_inputs_of_the_fuzz_targets_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (target, run, seeds) in TARGETS {
        let place = corpus.join(target);
        if std::env::var_os("ATOMSCOPE_WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(&place).unwrap();
            for (number, seed) in seeds().iter().enumerate() {
                std::fs::write(place.join(format!("seed-{number:02}")), seed).unwrap();
            }
        }
        seeds().iter().for_each(|seed| run(seed));
        for entry in std::fs::read_dir(place).unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
