//! The JSON that is written by hand is that of serde, byte for byte.

#![cfg(not(atomscope_loom))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "they are tests")]

mod support;

use std::io;

use atomscope_layout::Capacities;
use atomscope_layout::clock_samples::Log;
use atomscope_layout::decode::{ActorEntry, ActorList, ActorTree};
use atomscope_layout::dto::{
    ClusterMemberInfo, ClusterStateInfo, DDataSnapshot, DeadLetterRecord, JournalInfo, JournalWriteInfo,
    NodeSnapshot, PersistenceIdStat, PersistenceSnapshot, ReachabilityRecord, RemoteAssociationInfo,
    RemoteSnapshot, ShardRegionInfo, ShardingSnapshot, StreamGraphInfo, StreamsSnapshot,
};
use atomscope_layout::json::{JsonWriter, NodeFields, PIECE_BYTES, ToJson};
use atomscope_layout::names::Interned;
use atomscope_layout::records::{ActorRecord, ClockSampleRecord, actor_flags};
use atomscope_layout::sync::Ordering;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Serialize;
use support::Region;
use zerocopy::FromZeros as _;

/// The JSON of `value`, and the sizes of the pieces in which it was written.
fn written(value: &(impl ToJson + ?Sized)) -> (String, Vec<usize>) {
    #[derive(Default)]
    struct Pieces(Vec<u8>, Vec<usize>);
    impl io::Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            self.1.push(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut pieces = Pieces::default();
    let mut json = JsonWriter::new(&mut pieces);
    json.value(value).unwrap();
    json.finish().unwrap();
    (String::from_utf8(pieces.0).unwrap(), pieces.1)
}

#[track_caller]
fn assert_same(value: &(impl ToJson + Serialize)) {
    assert_eq!(written(value).0, serde_json::to_string(value).unwrap());
}

/// Any text, with more of those characters that a writer of JSON must treat with care.
fn text() -> impl Strategy<Value = String> {
    let odd = "\"\\/\u{0}\u{1}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{1f} !#[]~\u{7f}\u{80}\u{9f}\u{a0}\u{2028}\u{2029}\u{ffff}🦀";
    let odd = select(odd.chars().collect::<Vec<_>>());
    let plain = proptest::char::range(' ', '~');
    let c = prop_oneof![20 => plain, 1 => odd, 1 => any::<char>()];
    prop_oneof![
        4 => vec(proptest::char::range('a', 'z'), 0..40).prop_map(String::from_iter),
        4 => vec(c, 0..40).prop_map(String::from_iter),
        1 => any::<String>().prop_map(|text| text.chars().take(30).collect()),
    ]
}

/// An actor, with its texts as far as they fit into a record.
#[derive(Debug, Clone)]
struct Drawn {
    /// Path, parent that is no prefix of it, class, spawn time, host.
    texts: [String; 5],
    /// The number of an actor above, and the element below it.
    above: Option<(usize, String)>,
    flags: u32,
    type_id: u32,
    stamp: u64,
    depth: u64,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let numbers = || prop_oneof![3 => 0..200u64, 2 => any::<u64>()];
    let above = proptest::option::weighted(0.8, (0..200usize, text()));
    let type_id = prop_oneof![8 => 0..10u32, 1 => 3_000..5_000u32, 1 => any::<u32>()];
    let texts = [text(), text(), text(), text(), text()];
    (texts, above, any::<u32>(), type_id, numbers(), numbers()).prop_map(
        |(texts, above, flags, type_id, stamp, depth)| Drawn { texts, above, flags, type_id, stamp, depth },
    )
}

/// A region with these actors, whose clock knows no time after tick 100.
fn region_of(actors: &[Drawn], classes: &[String], unix_ns: u64) -> Region {
    let region = Region::new(&Capacities { actors: 256, names: 8, ..Capacities::LEAST });
    for (class, hash) in classes.iter().zip(1..) {
        assert!(!matches!(region.names().intern_hashed(hash, class), Interned::Full));
    }
    let log = region.section(region.map.clock_samples);
    let first = ClockSampleRecord {
        ticks: 5,
        unix_ns,
        rate: ClockSampleRecord::RATE_ONE * 7,
        ..ClockSampleRecord::new_zeroed()
    };
    Log::new(log).rewrite(&[first]);
    if unix_ns % 2 == 0 {
        log[0].fetch_add(1, Ordering::Relaxed);
    }
    let mut paths: Vec<String> = Vec::new();
    for (actor, number) in actors.iter().zip(1..) {
        let Drawn { texts: [path, parent, class, spawned, host], above, flags, type_id, stamp, depth } =
            actor;
        let above = above.as_ref().filter(|_| !paths.is_empty());
        let above = above.map(|(which, element)| (&paths[which % paths.len()], element));
        let mut record = ActorRecord::new_zeroed();
        record.key = [number, number];
        (record.spawned, record.type_id, record.depth) = (*stamp, *type_id, *depth);
        let known = actor_flags::DEPTH | actor_flags::HOST | actor_flags::SPAWNED_TEXT | actor_flags::PARENT;
        record.flags = flags & known;
        let path = match above {
            Some((above, element)) => {
                record.flags |= actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
                record.parent_bytes = above.len() as u16;
                format!("{above}/{element}")
            }
            None => path.clone(),
        };
        let parent = if above.is_none() && record.flags & actor_flags::PARENT != 0 { parent } else { "" };
        let mut at = 0;
        for text in [&path, class, spawned, host, parent] {
            let Some(to) = record.text.get_mut(at..at + text.len()) else { break };
            to.copy_from_slice(text.as_bytes());
            at += text.len();
        }
        if path.len() + parent.len() + class.len() + spawned.len() + host.len() > record.text.len() {
            continue;
        }
        record.path_bytes = path.len() as u8;
        (record.type_bytes, record.spawned_bytes) = (class.len() as u8, spawned.len() as u8);
        record.host_bytes = host.len() as u8;
        if above.is_none() {
            record.parent_bytes = parent.len() as u16;
        }
        let _ = region.spawn(&record);
        paths.push(path);
    }
    region
}

/// The lines of a list, each through serde.
fn lines(list: &ActorList) -> String {
    list.iter()
        .map(|actor| {
            let json = serde_json::to_string(&actor).unwrap();
            format!("{{\"kind\":\"actor\",{}\n", &json[1..])
        })
        .collect()
}

fn assert_all_same(tree: &ActorTree) {
    assert_same(tree);
    assert_same(tree.actors());
    let mut out = Vec::new();
    let mut json = JsonWriter::new(&mut out);
    json.actor_lines(tree.actors(), "{\"kind\":\"actor\",").unwrap();
    json.finish().unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), lines(tree.actors()));
}

proptest! {
    #[test]
    fn actors_are_written_as_serde_writes_them(
        actors in vec(drawn(), 0..60),
        classes in vec(text(), 0..4),
        unix_ns: u64,
    ) {
        let region = region_of(&actors, &classes, unix_ns);
        assert_all_same(&region.read().actor_list().into_tree());
    }

    #[test]
    fn texts_that_no_region_has_are_written_as_serde_writes_them(
        actors in vec(drawn(), 1..20),
        texts in vec((text(), proptest::option::of(text()), text(), proptest::option::of(text())), 20),
    ) {
        let region = region_of(&actors, &[], 1);
        let mut list = region.read().actor_list();
        let mut texts = texts.into_iter();
        let rewritten = |entry: &mut ActorEntry| {
            let (path, parent, class, host) = texts.next().unwrap();
            entry.status.path = path.repeat(40);
            (entry.status.parent, entry.status.actor_type, entry.status.host) = (parent, class, host);
        };
        list.rewrite(rewritten, str::to_owned);
        assert_all_same(&list.into_tree());
    }

    #[test]
    fn any_text_and_any_number_is_written_as_serde_writes_it(text in text(), number: u64, signed: i32) {
        assert_eq!(written(text.as_str()).0, serde_json::to_string(&text).unwrap());
        assert_eq!(written(&number).0, number.to_string());
        assert_eq!(written(&signed).0, signed.to_string());
        let short = number >> (number % 64);
        assert_eq!(written(&short).0, short.to_string());
    }

    #[test]
    fn characters_that_the_caller_names_are_escaped_too(text in text()) {
        let mut out = Vec::new();
        let mut json = JsonWriter::escaping(&mut out, |c| !c.is_ascii_graphic() && c != ' ');
        json.value(text.as_str()).unwrap();
        json.finish().unwrap();
        prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn a_node_is_written_as_serde_writes_it(
        node in text(),
        texts in vec(text(), 8),
        actors in vec(drawn(), 0..5),
        numbers: [u64; 4],
        is_there: bool,
        signed: i32,
    ) {
        let text = |number: usize| texts[number % texts.len()].clone();
        let some = |number: usize| is_there.then(|| text(number));
        let few = |number: usize| texts[..number % texts.len()].to_vec();
        let tree = region_of(&actors, &[], 1).read().actor_list().into_tree();
        let members =
            few(3).into_iter().map(|address| ClusterMemberInfo {
                address,
                status: text(1),
                roles: few(2),
                reachable: is_there,
                up_number: signed,
            });
        let letters = few(4).into_iter().zip(1..).map(|(recipient, seq)| DeadLetterRecord {
            seq,
            recipient,
            sender: some(2),
            message_type: text(3),
            message_preview: text(4),
            timestamp: text(5),
        });
        let record = || ReachabilityRecord { observer: text(3), subject: text(4), status: text(5) };
        let shards = || ShardRegionInfo { region_id: text(0), shard_count: numbers[0] as usize, shards: few(4) };
        let stat = || PersistenceIdStat {
            persistence_id: text(2),
            highest_sequence_nr: numbers[1],
            event_count: numbers[2],
        };
        let write = || JournalWriteInfo {
            journal: text(1),
            persistence_id: text(2),
            sequence_nr: numbers[3],
            timestamp: text(3),
        };
        let association = || RemoteAssociationInfo {
            remote_address: text(1),
            state: text(2),
            inbound_bytes: numbers[0],
            outbound_bytes: numbers[1],
        };
        let snapshot = NodeSnapshot {
            node,
            generated_at: text(0),
            actors: (&tree).into(),
            dead_letters: letters.collect(),
            cluster: ClusterStateInfo {
                self_address: some(1),
                leader: some(2),
                members: members.collect(),
                unreachable: few(5),
                reachability_records: vec![record(); signed as usize % 3],
                gossip_version: few(6).into_iter().zip(numbers).collect(),
            },
            sharding: ShardingSnapshot {
                regions: vec![shards(); numbers[0] as usize % 3],
                allocations: few(3).into_iter().map(|shard| (shard, text(7))).collect(),
            },
            persistence: PersistenceSnapshot {
                journals: vec![JournalInfo { name: text(0), persistence_ids: vec![stat(); 2] }],
                total_events: numbers[1],
                recent_writes: vec![write(); numbers[2] as usize % 3],
            },
            remote: RemoteSnapshot { associations: vec![association(); numbers[3] as usize % 3] },
            streams: StreamsSnapshot {
                running_graphs: numbers[0],
                total_started: numbers[1],
                total_finished: numbers[2],
                active: vec![StreamGraphInfo { id: numbers[3], name: text(1), started_at: text(2) }],
            },
            ddata: DDataSnapshot { keys: few(7), total_updates: numbers[3] },
        };
        let NodeSnapshot { node, generated_at, actors: _, dead_letters, cluster, .. } = &snapshot;
        let NodeSnapshot { sharding, persistence, remote, streams, ddata, .. } = &snapshot;
        let fields = NodeFields {
            node,
            generated_at,
            actors: &tree,
            dead_letters,
            cluster,
            sharding,
            persistence,
            remote,
            streams,
            ddata,
        };
        prop_assert_eq!(written(&fields).0, serde_json::to_string(&snapshot).unwrap());
    }
}

#[test]
fn times_of_all_seconds_and_days_are_written_as_serde_writes_them() {
    const SECOND: u64 = 1_000_000_000;
    let stamps =
        [0, 1, 999_999_999, SECOND, 59 * SECOND, 3_599 * SECOND + 1, 86_399 * SECOND, 86_400 * SECOND];
    let days = [0, 59, 60, 365, 366, 11_016, 19_782, 213_502];
    let stamps =
        days.iter().flat_map(|day| stamps.map(|stamp| day * 86_400 * SECOND + stamp)).chain([u64::MAX]);
    let mut actors: Vec<Drawn> = stamps
        .zip(0..)
        .map(|(stamp, number)| Drawn {
            texts: [format!("/{number:03}"), String::new(), "T".into(), String::new(), String::new()],
            above: None,
            flags: 0,
            type_id: 0,
            stamp,
            depth: 0,
        })
        .collect();
    for _ in 0..2 {
        let region = region_of(&actors, &[], 1);
        let log = Log::new(region.section(region.map.clock_samples));
        for unix_ns in [0, 5 * SECOND, 0_u64.wrapping_sub(1 << 62)] {
            let rate = ClockSampleRecord::RATE_ONE;
            log.rewrite(&[ClockSampleRecord { unix_ns, rate, ..ClockSampleRecord::new_zeroed() }]);
            assert_all_same(&region.read().actor_list().into_tree());
        }
        actors.reverse();
    }
}

#[test]
fn every_character_is_written_as_serde_writes_it() {
    let all: Vec<char> = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
    // At every position of the eight bytes of a check, and alone.
    for c in all.iter().copied().take(0x100).chain(['\u{2028}', '🦀']) {
        for before in 0..10 {
            for after in 0..10 {
                let text = format!("{}{c}{}", "x".repeat(before), "y".repeat(after));
                assert_eq!(written(text.as_str()).0, serde_json::to_string(&text).unwrap());
            }
        }
    }
    let text = String::from_iter(all);
    let (json, pieces) = written(text.as_str());
    assert!(json == serde_json::to_string(&text).unwrap());
    let (last, full) = pieces.split_last().unwrap();
    assert!(*last <= PIECE_BYTES && full.iter().all(|bytes| *bytes == PIECE_BYTES), "{pieces:?}");
}

#[test]
fn a_failing_output_ends_the_writing() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut full = Full;
    let mut json = JsonWriter::new(&mut full);
    let long = "x".repeat(PIECE_BYTES);
    assert_eq!(json.value(long.as_str()).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let mut full = Full;
    let mut json = JsonWriter::new(&mut full);
    json.value("short").unwrap();
    assert_eq!(json.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
}
