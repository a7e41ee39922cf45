//! Regions that no writer produces, and the whole reading side run on them. The property tests, the corpus of the fuzz
//! targets (`tests/fuzz`) and the targets themselves all use this.
#![allow(clippy::panic, reason = "only tests use this")]

use atomscope_layout::cells::CELL_WORDS;
use atomscope_layout::classes::{CLASS_WORDS, VARIANT_WORDS};
use atomscope_layout::clock_samples::Log;
use atomscope_layout::decode::{
    Birth, Failure, Failures, FieldValue, Panic, RecordField, RegionReader, crashed_unix_ns,
};
use atomscope_layout::dto::{ActorTreeNode, ClusterMemberInfo, ClusterMembershipDiff};
use atomscope_layout::event::{
    EVENT_FIELDS, EVENT_SLOT_BYTES, EVENT_WORDS, EventKind, TelemetryEvent, encode,
};
use atomscope_layout::failures::{FAILURE_WORDS, PANIC_WORDS};
use atomscope_layout::follow::Follower;
use atomscope_layout::forest::MAX_TREE_LEVELS;
use atomscope_layout::limits::{
    ACTOR_TEXT_BYTES, DEAD_LETTER_TEXT_BYTES, FAILURE_TEXT_BYTES, METRIC_TEXT_BYTES, NAME_BYTES,
    PANIC_TEXT_BYTES, PATH_CUT_MARK,
};
use atomscope_layout::metrics::{self, Builtin, Description, Kind, read_descriptor};
use atomscope_layout::names::Interned;
use atomscope_layout::own_records::{KIND_TEXT_BYTES, PAYLOAD_BYTES, RECORD_NAME_BYTES};
use atomscope_layout::records::{
    ACTOR_WORDS, ActorRecord, ClockSampleRecord, DEAD_LETTER_WORDS, EndKind, EndRecord, METRIC_WORDS,
    actor_flags, end_flags,
};
use atomscope_layout::region::{HEADER_BYTES, header};
use atomscope_layout::ring::Ring;
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_layout::table::Key;
use atomscope_layout::threads::Threads;
use atomscope_layout::{Capacities, OpenError, RegionMap, Words};

use zerocopy::FromZeros as _;

use super::{LIVE, Region};

/// A small region with records of every kind, a respawn in progress, a free slot, a waiting stop and an unlisted actor.
pub fn filled() -> Region {
    let capacities = Capacities {
        actors: 8,
        lanes: 2,
        dead_letters: 4,
        events: 6,
        names: 8,
        instances: 12,
        failures: 5,
        panics: 3,
        instruments: 4,
        classes: 2,
        variants: 4,
        threads: 3,
        kinds: 3,
        fields: 8,
        records: 3,
        ..Capacities::LEAST
    };
    let region = Region::new(&capacities);
    region.header().set_system("sys");
    assert!(region.header().note_end(EndRecord {
        kind: EndKind::Signal as u64,
        code: 11,
        tid: 7,
        thread: *b"shop-worker\0\0\0\0\0",
        flags: u64::from(end_flags::HAS_ADDRESS),
        ..EndRecord::default()
    }));
    let sample =
        |ticks| ClockSampleRecord { ticks, mono_ns: 1, boot_ns: 2, unix_ns: 3, rate: 4, reserved: [0; 2] };
    Log::new(region.section(region.map.clock_samples)).rewrite(&[sample(0), sample(3), sample(5)]);
    let Interned::New { id, .. } = region.names().intern_static("orders::Order") else { panic!("not new") };
    let cells = super::instruments::fill(&region);
    let threads = Threads::new(region.section(region.map.threads));
    for (tid, runtime) in [(7, 0), (8, 1)] {
        let number =
            threads.claim(tid, runtime, *b"tokio-rt-worker\0", 2).unwrap_or_else(|| panic!("no slot"));
        threads.thread(number).into_iter().for_each(|thread| thread.parks(3));
    }
    super::own_records::fill(&region);
    for number in 1..=18u64 {
        // A path of seven bytes; five of them are the parent's path.
        let mut record = ActorRecord {
            key: key_of(number.min(17)).words(),
            spawned: number,
            parent_key: key_of(number / 2).words(),
            type_id: id,
            flags: actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX,
            path_bytes: 7,
            parent_bytes: 5,
            // Two actors with a cell, and one whose cell has another tenant.
            cell: match number {
                1 | 2 => cells[number as usize - 1].word(),
                3 => cells[0].word() + (1 << 32),
                _ => 0,
            },
            ..ActorRecord::new_zeroed()
        };
        record.text[..7].copy_from_slice(b"/user/a");
        let _ = region.spawn(&record);
    }
    let _ = (region.stop(key_of(9)), region.stop(Key(99, 99)));
    region.count(Builtin::Spilled, 1);
    for stamp in 0..6 {
        let ring = region.dead_letters();
        let mut record = [0u64; DEAD_LETTER_WORDS];
        (record[0], record[1], record[2]) = (stamp, u64::from(id), 5);
        record[3] = u64::from_le_bytes(*b"/gone\0\0\0");
        let _ = ring.write(ring.ticket(), &record);
    }
    let number = metrics::BUILTIN.len();
    let slots = region.section(region.map.metrics);
    metrics::describe(
        &slots[number * region.map.metrics.stride..],
        "queue",
        "jobs",
        Kind::Gauge,
        "Jobs that wait.",
    );
    let labels = [("shard", "0"), ("zone", "eu")];
    let described =
        Description { name: "queue", labels: &labels, unit: "jobs", kind: Kind::FloatGauge, help: "" };
    described.write(&slots[(number + 2) * region.map.metrics.stride..], 3);
    super::subsystems::fill(&region, number + 1);
    // Its thread died before it had stored the record.
    region.section(region.map.failures)[4 * FAILURE_WORDS + 1].store(7, Ordering::Relaxed);
    for lane in 0..region.map.events.count {
        (0..3 * lane as u64)
            .for_each(|stamp| publish(region.memory.words(), &region.map, lane, stamp, stamp));
    }
    region
}

fn key_of(number: u64) -> Key {
    Key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number)
}

/// The words of a region.
pub fn words_of(region: &Region) -> Vec<u64> {
    let words = region.memory.reader();
    (0..words.len()).map(|at| words.load(at)).collect()
}

/// Words that can be read as a region.
pub fn atomic(words: &[u64]) -> Vec<AtomicU64> {
    words.iter().copied().map(AtomicU64::new).collect()
}

/// Publishes an event, of one of several kinds, in a lane of a region with this `map`.
pub fn publish(words: &[AtomicU64], map: &RegionMap, lane: usize, stamp: u64, which: u64) {
    let start = map.events.start + lane % map.events.count * map.events.stride;
    let ring = Ring::new(&words[start..start + map.events.stride], EVENT_SLOT_BYTES / 8);
    let member = |number: u64| ClusterMemberInfo {
        address: format!("akka://shop@10.0.0.{number}:25520"),
        status: "up".into(),
        roles: vec!["seed".into(), "orders".into()],
        reachable: true,
        up_number: number as i32,
    };
    let event = match which % 4 {
        0 => TelemetryEvent::ActorStopped { path: "/user/a".into() },
        1 => TelemetryEvent::MailboxSampled { path: "/user/a".into(), depth: stamp },
        2 => TelemetryEvent::ClusterChanged(ClusterMembershipDiff {
            added: vec![member(1), member(2)],
            updated: Vec::new(),
            removed: vec!["akka://shop@10.0.0.3:25520".into()],
            became_unreachable: Vec::new(),
            became_reachable: Vec::new(),
        }),
        _ => TelemetryEvent::StreamsGraphStarted { id: stamp, name: "orders".into() },
    };
    encode(&event, stamp, |_| 0, |record| ring.push(record.words()));
}

/// Reads everything in a region, and checks what must hold for any bytes: nothing panics, no list is longer than its section,
/// no text is longer than its record allows, no tree is deeper than the limit, and every ticket below the head of a ring is
/// counted.
pub fn read_all(region: Words<'_>) -> Result<(), OpenError> {
    let reader = RegionReader::open(region).inspect_err(|error| check_error(region, error))?;
    let identity = reader.identity();
    assert!(identity.node.len() <= 248 && identity.program.len() <= 504 && identity.writer.len() <= 120);
    let (state, beat) = (reader.state(), reader.process_beat());
    let ending = reader.ending();
    assert!(ending.and_then(|ending| ending.thread()).is_none_or(|thread| thread.len() <= 3 * 16));
    let _ = reader.history().of_next(crashed_unix_ns(&identity, state, beat, ending));
    let _ = (ending.map(|ending| ending.counts(beat)), reader.runtime_beat());
    if let Some(clock) = reader.clock() {
        let now = clock.moment_of_mono(u64::MAX);
        for stamp in [0, 1, u64::MAX] {
            assert_eq!(clock.unix_ns(stamp), clock.moment(stamp).map(|moment| moment.unix_ns));
            let _ = clock.moment(stamp).and_then(|then| now.since(&then)).or(now.since(&identity.created()));
        }
    }
    let mut stamps = 0;
    reader.each_stamp(|_| stamps += 1);
    assert!(stamps <= region.len());
    let _ = Birth::ranks(&[identity.birth(); 2], None);
    assert!(reader.metrics().len() <= reader.map().metrics.count);
    let _ = reader.actor_totals();
    read_actors(&reader);
    read_letters(&reader);
    let _ = reader.subsystems();
    read_failures(&reader);
    read_instruments(&reader);
    read_threads(&reader);
    read_own_records(&reader);
    for begin in [Follower::from_first, Follower::from_oldest, Follower::from_now] {
        let mut follower = begin(&reader);
        check_batch(&mut follower, &reader, false);
        check_batch(&mut follower, &reader, true);
    }
    Ok(())
}

fn read_actors(reader: &RegionReader<'_>) {
    let actors = reader.actors();
    let slots = reader.map().actors.count as u64;
    assert!(actors.entries.len() as u64 + actors.unreadable <= slots);
    for entry in &actors.entries {
        let status = &entry.status;
        assert!(status.path.len() <= ACTOR_TEXT_BYTES && status.actor_type.len() <= NAME_BYTES);
        let parent_bytes = status.parent.as_ref().map_or(0, String::len);
        assert!(parent_bytes <= ACTOR_TEXT_BYTES + PATH_CUT_MARK.len() + 32);
    }
    let counts = reader.class_counts();
    assert!(counts.tally.listed + counts.tally.unreadable <= slots);
    assert_eq!(counts.classes.iter().map(|class| class.actors).sum::<u64>(), counts.tally.listed);
    assert!(counts.classes.iter().all(|class| class.name.len() <= NAME_BYTES));
    let listed = actors.entries.len();
    assert_eq!(count(&actors.into_snapshot().roots, 1), listed);
}

fn read_letters(reader: &RegionReader<'_>) {
    let kept = reader.map().dead_letters.count as u64 - 1;
    for limit in [0, 1, usize::MAX] {
        let letters = reader.dead_letters(limit);
        assert!(letters.recent.len() as u64 <= kept.min(limit as u64));
        for letter in &letters.recent {
            assert!(letter.recipient.len() + letter.message_preview.len() <= DEAD_LETTER_TEXT_BYTES);
            assert!(letter.message_type.len() <= DEAD_LETTER_TEXT_BYTES);
        }
        let unread = letters.lapped.checked_add(letters.abandoned + letters.unreadable).unwrap();
        assert!(unread <= letters.total);
        assert!(limit < usize::MAX || unread + letters.recent.len() as u64 == letters.total);
    }
}

fn read_failures(reader: &RegionReader<'_>) {
    let failures = reader.failures();
    let map = reader.map();
    assert!(failures.log.len() as u64 + failures.unreadable <= map.failures.count as u64);
    assert!(failures.panics.len() < map.panics.count);
    let Failures { panics_lapped, panics_abandoned, panics_unreadable, .. } = failures;
    let unread = panics_lapped.checked_add(panics_abandoned + panics_unreadable).unwrap();
    assert_eq!(unread + failures.panics.len() as u64, failures.panics_total);
    let bytes =
        |texts: &[&Option<String>]| -> usize { texts.iter().copied().flatten().map(String::len).sum() };
    for Failure { location, thread, actor, target, message, class, .. } in &failures.log {
        assert!(bytes(&[location, thread, actor, target, message]) <= FAILURE_TEXT_BYTES);
        assert!(bytes(&[class]) <= NAME_BYTES);
    }
    for Panic { location, thread, actor, message, class, .. } in &failures.panics {
        assert!(bytes(&[location, thread, actor, message]) <= PANIC_TEXT_BYTES);
        assert!(bytes(&[class]) <= NAME_BYTES);
    }
}

fn read_instruments(reader: &RegionReader<'_>) {
    let found = reader.instruments();
    let map = reader.map();
    assert!(found.cells.used <= found.cells.capacity && found.cells.capacity == map.cells.count as u64);
    assert!(found.classes.len() <= map.classes.count);
    let rows = found.classes.iter().map(|class| class.variants.len()).sum::<usize>() as u64;
    assert!(rows.checked_add(found.unreadable).unwrap() <= map.variants.count as u64);
    let is_short = |name: &Option<String>| name.as_ref().is_none_or(|name| name.len() <= NAME_BYTES);
    for class in &found.classes {
        assert!(is_short(&class.class) && class.variants.iter().all(|row| is_short(&row.variant)));
        // The rows that are left out have neither a name nor a number.
        let handled = class.variants.iter().fold(0u64, |sum, row| sum.wrapping_add(row.handled));
        assert_eq!(handled, class.handled);
        assert!(class.live <= class.spawned);
        let _ = [0.0, 0.5, 1.0].map(|share| (class.handle_time.quantile(share), class.depth.quantile(share)));
    }
    let list = reader.actor_list();
    let unnamed = list.unnamed().map(|(class, stats)| {
        assert!(class.is_none_or(|class| class.len() <= NAME_BYTES));
        stats
    });
    assert!(list.unnamed().count() <= map.cells.count);
    for stats in list.iter().filter_map(|actor| actor.stats()).chain(unnamed) {
        assert!(stats.variant.is_none_or(|variant| variant.len() <= NAME_BYTES));
        assert!(stats.in_flight.is_none_or(|flight| flight.stamp & 0xff == 0));
    }
}

fn read_threads(reader: &RegionReader<'_>) {
    let found = reader.runtime_threads();
    assert!(found.list.len() as u64 + found.unreadable <= reader.map().threads.count as u64);
    // A byte that is no UTF-8 becomes a character of three bytes.
    assert!(found.list.iter().all(|thread| thread.name.as_ref().is_none_or(|name| name.len() <= 48)));
}

fn read_own_records(reader: &RegionReader<'_>) {
    let found = reader.own_records();
    let map = reader.map();
    assert!(found.list.len() + found.kinds.len() <= map.records.count + map.kinds.count);
    assert!(found.unreadable as usize <= map.records.count + map.kinds.count);
    assert!(found.kinds.iter().map(|kind| kind.fields.len()).sum::<usize>() <= map.fields.count);
    for kind in &found.kinds {
        let known: usize = kind.fields.iter().filter(|field| field.of.is_some()).map(bytes_of).sum();
        assert!(known <= kind.bytes && kind.bytes <= PAYLOAD_BYTES);
        assert!(kind.name.len() + kind.help.len() <= KIND_TEXT_BYTES);
    }
    for record in &found.list {
        let kind = found.kind_of(record).unwrap();
        assert_eq!(record.values.len(), kind.fields.len());
        assert!(record.name.len() <= RECORD_NAME_BYTES);
        let is_unknown = |value: &FieldValue| *value == FieldValue::Unknown;
        assert!(record.published > 0 || record.values.iter().all(is_unknown));
        for (field, value) in kind.fields.iter().zip(&record.values) {
            let elements = if let FieldValue::List(elements) = value { elements.len() } else { 0 };
            assert!(field.of.is_some() || is_unknown(value));
            assert!(elements == 0 || elements == field.length);
        }
    }
    assert_eq!(found.json().count(), found.list.len());
}

fn bytes_of(field: &RecordField) -> usize {
    field.element_bytes * field.length.max(1)
}

/// Reads a batch, and checks its counts.
pub fn check_batch(follower: &mut Follower, reader: &RegionReader<'_>, last: bool) {
    let slots = reader.event_lanes() as u64 * reader.event_lane(0).capacity();
    let most = slots + follower.accounts().map(|account| account.pending).sum::<u64>();
    let held = u64::from(follower.holds_back()) * slots;
    let batch = if last { follower.last_batch(reader) } else { follower.next_batch(reader) };
    assert!(batch.events.len() as u64 <= most + held);
    assert!(batch.losses.len() as u64 <= most + follower.accounts().count() as u64);
    assert!(batch.events.is_sorted_by_key(|event| event.stamp));
    for account in follower.accounts() {
        let parts = [account.read, account.lapped, account.abandoned, account.pending];
        assert_eq!(parts.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)), Some(account.next));
    }
}

/// Checks that the error about a damaged field has its offset and value.
fn check_error(region: Words<'_>, error: &OpenError) {
    assert!(!error.to_string().is_empty());
    if let OpenError::Corrupt { offset, field: what, found } = error {
        assert!(*offset < HEADER_BYTES as u64 && offset % 8 == 0, "{error}");
        assert_eq!(region.load(*offset as usize / 8), *found, "{error}");
        assert!(what.len() > 8, "{error}");
    }
}

fn count(nodes: &[ActorTreeNode], level: usize) -> usize {
    assert!(level <= MAX_TREE_LEVELS + 1);
    nodes.iter().map(|node| 1 + count(&node.children, level + 1)).sum()
}

/// Changes of single words, ten bytes each: the number of the word and its value. Numbers beyond the words of the region go
/// to `other`.
fn changes(input: &[u8], words: &[AtomicU64], mut other: impl FnMut(u16, u64)) {
    for change in input.chunks_exact(10) {
        let at = u16::from_le_bytes([change[0], change[1]]);
        let mut value = [0; 8];
        value.copy_from_slice(&change[2..]);
        let value = u64::from_le_bytes(value);
        match words.get(usize::from(at)) {
            Some(word) => word.store(value, Ordering::Relaxed),
            None => other(at, value),
        }
    }
}

/// A change in the encoding that [`changes`] reads.
pub fn change(at: u16, value: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&at.to_le_bytes());
    bytes[2..].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// From this number on, a change means something else than a word.
pub const LENGTH: u16 = u16::MAX;

/// A filled region with some words changed, and perhaps truncated.
pub fn region(input: &[u8]) {
    let words = atomic(base());
    let mut length = words.len();
    changes(input, &words, |at, value| {
        if at == LENGTH {
            length = value as usize % (words.len() + 1);
        }
    });
    let _ = read_all(Words::new(&words[..length]));
}

/// What [`follower`] does for changes that mean something else than a word.
pub const NEXT_BATCH: u16 = u16::MAX;
pub const LAST_BATCH: u16 = u16::MAX - 1;
pub const PUBLISH: u16 = u16::MAX - 2;
pub const BEGIN: u16 = u16::MAX - 3;

/// A region that is followed while a correct writer and a hostile one change it.
pub fn follower(input: &[u8]) {
    let words = atomic(base());
    let Ok((map, _)) = RegionMap::read(Words::new(&words)) else { return };
    let Ok(reader) = RegionReader::open(Words::new(&words)) else { return };
    let mut follower = Follower::from_oldest(&reader);
    changes(input, &words, |at, value| {
        // As in a program that checks the directory again each time.
        let Ok(reader) = RegionReader::open(Words::new(&words)) else { return };
        match at {
            NEXT_BATCH => check_batch(&mut follower, &reader, false),
            LAST_BATCH => check_batch(&mut follower, &reader, true),
            PUBLISH => publish(&words, &map, value as usize & 3, value >> 8, value >> 2),
            BEGIN => {
                let begins = [Follower::from_first, Follower::from_oldest, Follower::from_now];
                follower = begins[value as usize % 3](&reader);
            }
            _ => {}
        }
    });
    let Ok(reader) = RegionReader::open(Words::new(&words)) else { return };
    check_batch(&mut follower, &reader, true);
}

/// The record of an actor.
pub fn actor(input: &[u8]) {
    let words = atomic(base());
    let Ok((map, _)) = RegionMap::read(Words::new(&words)) else { return };
    store(&words[map.actors.start..], &padded::<ACTOR_WORDS>(input));
    // The slot has a record, whatever it had before.
    words[map.actors.start].store(LIVE, Ordering::Relaxed);
    RegionReader::open(Words::new(&words)).iter().for_each(read_actors);
}

/// The record of a dead letter.
pub fn dead_letter(input: &[u8]) {
    let words = atomic(base());
    let Ok((map, _)) = RegionMap::read(Words::new(&words)) else { return };
    let ring = Ring::new(&words[map.dead_letters.range()], map.dead_letters.stride);
    let _ = ring.write(ring.ticket(), &padded::<DEAD_LETTER_WORDS>(input));
    RegionReader::open(Words::new(&words)).iter().for_each(read_letters);
}

/// The record of a failure, and that of a panic.
pub fn failure(input: &[u8]) {
    let words = atomic(base());
    let Ok((map, _)) = RegionMap::read(Words::new(&words)) else { return };
    store(&words[map.failures.start..], &padded::<FAILURE_WORDS>(input));
    let ring = Ring::new(&words[map.panics.range()], map.panics.stride);
    let _ = ring.write(ring.ticket(), &padded::<PANIC_WORDS>(input));
    RegionReader::open(Words::new(&words)).iter().for_each(read_failures);
}

/// A cell, the class of its actor, and a row.
pub fn instruments(input: &[u8]) {
    let words = atomic(base());
    let Ok((map, _)) = RegionMap::read(Words::new(&words)) else { return };
    let record = padded::<{ CELL_WORDS + CLASS_WORDS + VARIANT_WORDS }>(input);
    let (cell, rest) = record.split_at(CELL_WORDS);
    let (class, row) = rest.split_at(CLASS_WORDS);
    store(&words[map.cells.start..], cell);
    store(&words[map.classes.start + map.classes.stride..], class);
    store(&words[map.variants.start..], row);
    RegionReader::open(Words::new(&words)).iter().for_each(read_instruments);
}

/// The record of an event.
pub fn event(input: &[u8]) {
    let words = atomic(base());
    let Ok(reader) = RegionReader::open(Words::new(&words)) else { return };
    let Some(part) = reader.event_decoder().decode(&padded::<EVENT_WORDS>(input)) else { return };
    assert!(part.part < part.parts);
    match &part.event {
        TelemetryEvent::Own(own) => {
            assert!(own.values.0.len() <= EVENT_FIELDS && own.topic.len() <= NAME_BYTES)
        }
        event => assert!(TelemetryEvent::ALL_TOPICS.contains(&event.topic())),
    }
    let mut joined = part.clone();
    let next = atomscope_layout::event::EventPart { part: part.part.saturating_add(1), ..part };
    if joined.is_continued_by(&next) {
        joined.join(next);
        assert!(joined.part < joined.parts);
    }
}

/// The descriptor of a metric.
pub fn metric(input: &[u8]) {
    let words = atomic(&padded::<METRIC_WORDS>(input));
    let Some(metric) = read_descriptor(Words::new(&words)) else { return };
    assert!(metric.name.len() + metric.unit.len() + metric.help.len() <= METRIC_TEXT_BYTES);
    assert!(metric.labels.is_sorted_by(|(a, _), (b, _)| a < b));
}

/// The words of a filled region, made once.
fn base() -> &'static [u64] {
    static BASE: std::sync::OnceLock<Vec<u64>> = std::sync::OnceLock::new();
    BASE.get_or_init(|| words_of(&filled()))
}

fn store(to: &[AtomicU64], record: &[u64]) {
    to.iter().zip(record).for_each(|(word, value)| word.store(*value, Ordering::Relaxed));
}

fn padded<const N: usize>(input: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(input.chunks(8)) {
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(value);
    }
    words
}

/// A fuzz target and its initial inputs: what writers store, and some inputs that caused failures once.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The fuzz targets of this crate.
pub const TARGETS: [Target; 8] = [
    ("region", region, region_seeds),
    ("follower", follower, follower_seeds),
    ("actor", actor, actor_seeds),
    ("dead_letter", dead_letter, dead_letter_seeds),
    ("failure", failure, failure_seeds),
    ("instruments", instruments, instruments_seeds),
    ("event", event, event_seeds),
    ("metric", metric, metric_seeds),
];

fn region_seeds() -> Vec<Vec<u8>> {
    let map = filled().map;
    let slot = |number: usize| (map.actors.start + number * map.actors.stride) as u16;
    let heads = [map.dead_letters.start as u16, map.events.start as u16];
    let log = map.clock_samples.start as u16;
    let directory = header::DIRECTORY.start as u16;
    vec![
        Vec::new(),
        [change(slot(0), 1), change(slot(1), 3), change(slot(2), u64::MAX), change(slot(3), u64::MAX << 2)]
            .concat(),
        [change(header::ACTORS_USED as u16, u64::MAX), change(header::INSTANCES_USED as u16, 1 << 40)]
            .concat(),
        // The key of another slot.
        [change(slot(0) + 1, key_of(5).0), change(slot(0) + 2, key_of(5).1)].concat(),
        heads.map(|head| change(head, u64::MAX)).concat(),
        (0..8).flat_map(|entry| change(directory + 8 * entry + 1, 4096)).collect(),
        [change(directory + 17, 1 << 20), change(directory + 19, 1 << 40)].concat(),
        change(LENGTH, HEADER_BYTES as u64 / 8).to_vec(),
        [change(log, 1), change(log + 2, 4)].concat(),
        change(header::VERSION as u16, 2 << 32 | 9).to_vec(),
        change(header::VERSION as u16, 1 << 32 | 2).to_vec(),
        [change(log, 1), change(log + 1, u64::MAX), change(log + 8, 3), change(log + 17, u64::MAX)].concat(),
    ]
}

fn follower_seeds() -> Vec<Vec<u8>> {
    let map = filled().map;
    let heads = [0, 1].map(|lane| (map.events.start + lane * map.events.stride) as u16);
    let tell = |which: u64, lane: u64, stamp: u64| change(PUBLISH, stamp << 8 | which << 2 | lane);
    vec![
        [change(NEXT_BATCH, 0), tell(2, 1, 20), change(NEXT_BATCH, 0), tell(0, 0, 21), change(LAST_BATCH, 0)]
            .concat(),
        [change(heads[0], u64::MAX), change(NEXT_BATCH, 0), change(heads[0], 3), change(NEXT_BATCH, 0)]
            .concat(),
        [change(heads[1], 1 << 40), change(NEXT_BATCH, 0), change(NEXT_BATCH, 0), tell(1, 1, 1)].concat(),
        [change(BEGIN, 0), change(NEXT_BATCH, 0), change(BEGIN, 2), tell(2, 2, 9), change(NEXT_BATCH, 0)]
            .concat(),
    ]
}

fn actor_seeds() -> Vec<Vec<u8>> {
    let map = filled().map;
    let slot = &words_of(&filled())[map.actors.start..][..ACTOR_WORDS];
    let record = |flags: u32, lengths: [u8; 4], parent_bytes: u16, text: &str| -> Vec<u8> {
        let mut record = ActorRecord::new_zeroed();
        (record.flags, record.parent_bytes) = (flags, parent_bytes);
        [record.path_bytes, record.type_bytes, record.spawned_bytes, record.host_bytes] = lengths;
        record.text[..text.len()].copy_from_slice(text.as_bytes());
        zerocopy::IntoBytes::as_bytes(&record).to_vec()
    };
    vec![
        slot.iter().flat_map(|word| word.to_le_bytes()).collect(),
        record(0b111_0001, [7, 1, 3, 1], 5, "/user/aTnowh/user"),
        record(0b111, [40, 0, 0, 0], 200, "/us…#0123456789abcdef0123456789abcdef"),
        record(0, [12, 0, 0, 0], 0, "\u{1b}[2J\u{202e}\u{200b}\n\0"),
    ]
}

fn dead_letter_seeds() -> Vec<Vec<u8>> {
    let map = filled().map;
    let start = map.dead_letters.start + map.dead_letters.stride + 2;
    let slot = &words_of(&filled())[start..][..DEAD_LETTER_WORDS];
    vec![slot.iter().flat_map(|word| word.to_le_bytes()).collect()]
}

fn failure_seeds() -> Vec<Vec<u8>> {
    let (map, words) = (filled().map, words_of(&filled()));
    let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let slots = words[map.failures.range()].chunks(map.failures.stride).map(bytes);
    let panic = map.panics.start + map.panics.stride + 2;
    slots.chain([bytes(&words[panic..][..PANIC_WORDS])]).collect()
}

fn instruments_seeds() -> Vec<Vec<u8>> {
    let (map, words) = (filled().map, words_of(&filled()));
    let (class, row) = (map.classes.start + map.classes.stride, map.variants.start + map.variants.stride);
    let record = |cell: [u64; CELL_WORDS]| -> Vec<u8> {
        let parts = [&cell, &words[class..][..CLASS_WORDS], &words[row..][..VARIANT_WORDS]];
        parts.concat().iter().flat_map(|word| word.to_le_bytes()).collect()
    };
    let cell = |number: usize| {
        let start = map.cells.start + number * map.cells.stride;
        core::array::from_fn(|word| words[start + word])
    };
    // A class and a row that there are not.
    let strange = [1 << 32 | 0xffff << 16 | 1, 1, 2, u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX];
    vec![record(cell(0)), record(cell(1)), record(strange)]
}

fn event_seeds() -> Vec<Vec<u8>> {
    // One event of each kind, with five texts of one letter each.
    let kinds = 1..=EventKind::ALL.len() as u16;
    let text = |kind: u16| -> Vec<u8> {
        let head = [kind, 0, 1].map(u16::to_le_bytes).concat();
        [[9; 8].as_slice(), &[0; 8], &[1, 0].repeat(5), &head, &[1; 16], b"abcde"].concat()
    };
    let changes = (0..6u8).map(|list| {
        let mut member = text(EventKind::ClusterChanged as u16);
        member[13] = list;
        member
    });
    // An own event of each level with a text, and with records whose kinds there are, and are not.
    let own = [(0, 0), (1, 0), (5, 0), (3, 1), (3, 2), (3, 99)].into_iter().map(|(level, kind): (u8, u8)| {
        let mut own = text(EventKind::Own as u16);
        own[32..48].fill(0);
        (own[32], own[40]) = (level, kind);
        own
    });
    kinds.map(text).chain(changes).chain(own).collect()
}

fn metric_seeds() -> Vec<Vec<u8>> {
    let map = filled().map;
    let words = words_of(&filled());
    [0, metrics::BUILTIN.len()]
        .map(|number| {
            let slot = &words[map.metrics.start + number * map.metrics.stride..][..METRIC_WORDS];
            slot.iter().flat_map(|word| word.to_le_bytes()).collect()
        })
        .to_vec()
}
