//! From writing to reading: the tests fill a region in memory with the primitives that the probe uses, and check every value
//! that a reader decodes.

#![cfg(not(atomscope_loom))]

mod support;

use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::{ActorEntry, ActorTotals, Actors, Beat, DeadLetters};
use atomscope_layout::dto::{ActorStatus, DeadLetterRecord, NodeSnapshot};
use atomscope_layout::instances::{Domain, InstanceRecord, lease, shard_region};
use atomscope_layout::lanes::{Lanes, OVERFLOW};
use atomscope_layout::limits::{ACTOR_PATH_BYTES, PATH_CUT_MARK};
use atomscope_layout::metrics::{self, Builtin, Kind, MetricValue};
use atomscope_layout::names::Interned;
use atomscope_layout::records::{
    ACTOR_DEPTH_WORD, ActorRecord, DEAD_LETTER_WORDS, actor_flags, dead_letter_flags,
};
use atomscope_layout::region::{State, header};
use atomscope_layout::ring::Written;
use atomscope_layout::sync::Ordering;
use atomscope_layout::table::{Key, Settled, Spawned, Stopped};
use atomscope_layout::{Capacities, records};
use support::{Counting, HEADER, LANE, Region};
use zerocopy::FromZeros;

/// The fields of an actor that a test sets. All others are as the hooks leave them.
#[derive(Default)]
struct Actor<'a> {
    key: u64,
    path: &'a str,
    parent: Option<Parent<'a>>,
    type_id: u32,
    type_text: &'a str,
    spawned: u64,
    spawned_text: Option<&'a str>,
    host: Option<&'a str>,
    depth: Option<u64>,
    cut: bool,
}

/// How a record holds its parent.
enum Parent<'a> {
    Prefix { key: u64, bytes: usize },
    Text { key: u64, path: &'a str },
}

/// States of a control word.
const BUSY: u64 = 1;
const ORPHAN: u64 = 3;

/// Keys that differ in all their bits.
fn key(number: u64) -> Key {
    Key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
}

fn record(actor: &Actor<'_>) -> ActorRecord {
    let mut record = ActorRecord::new_zeroed();
    record.key = key(actor.key).words();
    record.spawned = actor.spawned;
    record.type_id = actor.type_id;
    let mut used = 0;
    let mut put = |text: &str| {
        record.text[used..used + text.len()].copy_from_slice(text.as_bytes());
        used += text.len();
        text.len() as u8
    };
    record.path_bytes = put(actor.path);
    record.type_bytes = put(actor.type_text);
    if let Some(text) = actor.spawned_text {
        record.flags |= actor_flags::SPAWNED_TEXT;
        record.spawned_bytes = put(text);
    }
    if let Some(host) = actor.host {
        record.flags |= actor_flags::HOST;
        record.host_bytes = put(host);
    }
    if let Some(depth) = actor.depth {
        record.flags |= actor_flags::DEPTH;
        record.depth = depth;
    }
    match actor.parent {
        None => {}
        Some(Parent::Prefix { key: of, bytes }) => {
            record.flags |= actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
            (record.parent_key, record.parent_bytes) = (key(of).words(), bytes as u16);
        }
        Some(Parent::Text { key: of, path }) => {
            record.flags |= actor_flags::PARENT;
            (record.parent_key, record.parent_bytes) = (key(of).words(), put(path).into());
        }
    }
    if actor.cut {
        record.flags |= actor_flags::PATH_CUT;
    }
    record
}

fn put(region: &Region, actor: &Actor<'_>) -> Spawned {
    region.spawn(&record(actor))
}

/// The decoded actor of a region with only this actor.
fn read_back(actor: &Actor<'_>) -> ActorEntry {
    let region = Region::small();
    assert_eq!(put(&region, actor), Spawned::Stands);
    let Actors { mut entries, unlisted, unreadable, waiting_stops } = region.read().actors();
    assert_eq!((entries.len(), unlisted, unreadable, waiting_stops), (1, 0, 0, 0));
    entries.remove(0)
}

fn paths(actors: &Actors) -> Vec<&str> {
    actors.entries.iter().map(|entry| entry.status.path.as_str()).collect()
}

#[test]
fn an_actor_with_the_least_that_can_be_said_of_it() {
    let entry = read_back(&Actor { key: 1, path: "/user/a", type_text: "T", ..Actor::default() });
    assert_eq!(
        entry.status,
        ActorStatus {
            path: "/user/a".into(),
            parent: None,
            actor_type: "T".into(),
            mailbox_depth: 0,
            spawned_at: "2001-09-09T01:46:40.000000000Z".into(),
            host: None,
        }
    );
    assert_eq!((entry.key, entry.parent_key, entry.depth_known), (key(1), None, false));
    assert_eq!(entry.spawned_unix_ns, Some(1_000_000_000_000_000_000));
}

#[test]
fn an_actor_with_everything_that_can_be_said_of_it() {
    let entry = read_back(&Actor {
        key: 1,
        path: "/user/a/b",
        parent: Some(Parent::Text { key: 2, path: "akka://x/user/ä" }),
        type_text: "orders::Order",
        spawned: 500_000_000,
        spawned_text: Some("now"),
        host: Some("höst"),
        depth: Some(7),
        ..Actor::default()
    });
    assert_eq!(
        entry.status,
        ActorStatus {
            path: "/user/a/b".into(),
            parent: Some("akka://x/user/ä".into()),
            actor_type: "orders::Order".into(),
            mailbox_depth: 7,
            spawned_at: "now".into(),
            host: Some("höst".into()),
        }
    );
    assert_eq!((entry.parent_key, entry.depth_known), (Some(key(2)), true));
    assert_eq!(entry.spawned_unix_ns, Some(1_000_000_001_000_000_000));
}

#[test]
fn every_combination_of_what_may_be_said_reads_back() {
    for bits in 0..32u32 {
        let has = |bit: u32| bits >> bit & 1 == 1;
        let parent = match (has(0), has(1)) {
            (false, false) => None,
            (true, false) => Some(Parent::Prefix { key: 2, bytes: "/user/a".len() }),
            (_, true) => Some(Parent::Text { key: 2, path: "/elsewhere" }),
        };
        let wanted_parent = match (has(0), has(1)) {
            (false, false) => None,
            (true, false) => Some("/user/a".to_owned()),
            (_, true) => Some("/elsewhere".to_owned()),
        };
        let entry = read_back(&Actor {
            key: 1,
            path: "/user/a/b",
            parent,
            type_text: "T",
            spawned_text: has(2).then_some("now"),
            host: has(3).then_some("h"),
            depth: has(4).then_some(3),
            ..Actor::default()
        });
        let status = &entry.status;
        assert_eq!((&*status.path, &*status.actor_type), ("/user/a/b", "T"), "{bits:05b}");
        assert_eq!(status.parent, wanted_parent, "{bits:05b}");
        assert_eq!(status.spawned_at == "now", has(2), "{bits:05b}");
        assert_eq!(status.host.is_some(), has(3), "{bits:05b}");
        assert_eq!((status.mailbox_depth, entry.depth_known), (3 * u64::from(has(4)), has(4)), "{bits:05b}");
    }
}

#[test]
fn an_empty_host_is_a_host() {
    let entry = read_back(&Actor { key: 1, path: "/a", host: Some(""), ..Actor::default() });
    assert_eq!(entry.status.host.as_deref(), Some(""));
}

#[test]
fn a_type_goes_by_its_name_s_number_or_is_a_question_mark_where_there_is_no_such_name() {
    let region = Region::small();
    let Interned::New { id, cut: false } = region.names().intern_static("orders::Order") else {
        panic!("not new")
    };
    let with = |key, path, type_id| put(&region, &Actor { key, path, type_id, ..Actor::default() });
    assert_eq!([with(1, "/a", id), with(2, "/b", id % 8 + 1), with(3, "/c", u32::MAX)], [Spawned::Stands; 3]);
    let types: Vec<String> =
        region.read().actors().entries.into_iter().map(|entry| entry.status.actor_type).collect();
    assert_eq!(types, ["orders::Order", "?", "?"]);
}

/// A path that is cut: its first bytes, then the mark and the key.
fn cut_path(kept: &str, number: u64) -> String {
    format!("{kept}{PATH_CUT_MARK}{}", key(number))
}

#[test]
fn a_cut_path_keeps_a_parent_that_lies_before_the_cut() {
    let kept = format!("/user/parent/{}", "x".repeat(ACTOR_PATH_BYTES - 36 - 13));
    let path = cut_path(&kept, 1);
    assert_eq!(path.len(), ACTOR_PATH_BYTES);
    let entry = read_back(&Actor {
        key: 1,
        path: &path,
        parent: Some(Parent::Prefix { key: 2, bytes: "/user/parent".len() }),
        cut: true,
        ..Actor::default()
    });
    assert_eq!((entry.status.path, entry.status.parent.as_deref()), (path, Some("/user/parent")));
}

#[test]
fn a_parent_beyond_the_cut_of_its_childs_path_goes_by_its_own_entry() {
    let long = "y".repeat(ACTOR_PATH_BYTES - 36);
    let (parent, child) = (cut_path(&long, 2), cut_path(&long, 1));
    let region = Region::small();
    assert_eq!(
        put(&region, &Actor { key: 2, path: &parent, cut: true, ..Actor::default() }),
        Spawned::Stands
    );
    let below = Some(Parent::Prefix { key: 2, bytes: 200 });
    let placed = put(&region, &Actor { key: 1, path: &child, parent: below, cut: true, ..Actor::default() });
    assert_eq!(placed, Spawned::Stands);
    let snapshot = region.read().actors().into_snapshot();
    assert_eq!((snapshot.total, snapshot.roots.len()), (2, 1));
    assert_eq!(snapshot.roots[0].path, parent);
    assert_eq!(snapshot.roots[0].children[0].path, child);
}

#[test]
fn a_parent_beyond_the_cut_that_is_not_there_is_named_by_its_key() {
    let long = "y".repeat(ACTOR_PATH_BYTES - 36);
    let entry = read_back(&Actor {
        key: 1,
        path: &cut_path(&long, 1),
        parent: Some(Parent::Prefix { key: 2, bytes: 200 }),
        cut: true,
        ..Actor::default()
    });
    assert_eq!(entry.status.parent, Some(cut_path(&long, 2)));
}

#[test]
fn a_record_that_no_writer_writes_is_counted_and_not_shown() {
    let damages: [fn(&mut ActorRecord); 5] = [
        |record| record.path_bytes = 193,
        |record| record.path_bytes = u8::MAX,
        |record| record.text[0] = 0xff,
        |record| record.host_bytes = u8::MAX,
        |record| record.flags = actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX | actor_flags::PATH_CUT,
    ];
    for damage in damages {
        let region = Region::small();
        let mut damaged = record(&Actor { key: 1, path: "/user/a", ..Actor::default() });
        damage(&mut damaged);
        if damaged.host_bytes != 0 {
            damaged.flags |= actor_flags::HOST;
        }
        assert_eq!(region.spawn(&damaged), Spawned::Stands);
        let actors = region.read().actors();
        assert_eq!((actors.entries.len(), actors.unreadable), (0, 1));
    }
}

#[test]
fn a_mailbox_depth_is_what_was_last_stored_in_its_live_word() {
    let region = Region::small();
    let actor = Actor { key: 1, path: "/a", depth: Some(1), ..Actor::default() };
    assert_eq!(put(&region, &actor), Spawned::Stands);
    assert!(region.update(key(1), |slot| slot[ACTOR_DEPTH_WORD].store(9, Ordering::Relaxed)));
    assert_eq!(region.read().actors().entries[0].status.mailbox_depth, 9);
}

#[test]
fn an_actor_that_stopped_is_gone() {
    let region = Region::small();
    let placed = [1, 2].map(|key| put(&region, &Actor { key, path: "/a", ..Actor::default() }));
    assert_eq!(placed, [Spawned::Stands; 2]);
    assert_eq!(region.stop(key(1)), Stopped::Entry { stamp: 0 });
    let actors = region.read().actors();
    assert_eq!(actors.entries.iter().map(|entry| entry.key).collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn of_a_path_that_was_replaced_before_its_stop_the_newer_actor_is_shown() {
    let region = Region::small();
    let spawn = |spawned, host| {
        put(&region, &Actor { key: 1, path: "/a", spawned, host: Some(host), ..Actor::default() })
    };
    assert_eq!((spawn(10, "old"), spawn(20, "new")), (Spawned::Stands, Spawned::Stands));
    let hosts = || -> Vec<Option<String>> {
        region.read().actors().entries.into_iter().map(|entry| entry.status.host).collect()
    };
    assert_eq!(hosts(), [Some("new".to_owned())]);
    assert_eq!(region.stop(key(1)), Stopped::Entry { stamp: 10 });
    assert_eq!(hosts(), [Some("new".to_owned())]);
}

#[test]
fn a_stop_that_came_early_waits_and_is_not_an_actor() {
    let region = Region::small();
    assert_eq!(region.stop(key(1)), Stopped::Nothing);
    let actors = region.read().actors();
    assert_eq!((actors.entries.len(), actors.waiting_stops), (0, 1));
    let spawned = put(&region, &Actor { key: 1, path: "/a", ..Actor::default() });
    assert!(matches!(spawned, Spawned::Stopped(_)));
    assert_eq!(region.read().actors(), Actors::default());
}

#[test]
fn a_stop_that_is_left_beside_its_spawn_takes_it_away() {
    let region = Region::small();
    assert_eq!(put(&region, &Actor { key: 1, path: "/a", ..Actor::default() }), Spawned::Stands);
    region.leave_stop(key(1));
    assert_eq!(region.read().actors(), Actors::default());
}

#[test]
fn a_slot_in_a_writers_hand_is_unreadable_and_one_without_a_list_holds_nothing() {
    let region = Region::small();
    let placed = [1, 2, 3].map(|key| put(&region, &Actor { key, path: "/a", ..Actor::default() }));
    assert_eq!(placed, [Spawned::Stands; 3]);
    let slots = region.section(region.map.actors);
    for (slot, state) in [BUSY, ORPHAN].into_iter().enumerate() {
        slots[slot * region.map.actors.stride]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(word & !3 | state))
            .unwrap();
    }
    let actors = region.read().actors();
    assert_eq!((actors.entries.len(), actors.unreadable), (1, 1));
}

/// A region whose slots are all taken, and the number of its slots.
fn overfull() -> (Region, u64) {
    let region =
        Region::new(&Capacities { actors: 8, lanes: 1, dead_letters: 1, events: 16, ..Capacities::LEAST });
    let slots = region.map.actors.count as u64;
    for number in 0..slots + 4 {
        let path = format!("/user/{number:03}");
        let placed = put(&region, &Actor { key: number, path: &path, ..Actor::default() });
        assert_eq!(placed, if number < slots { Spawned::Stands } else { Spawned::Spilled });
    }
    (region, slots)
}

/// What the list holds, and whether the counters say the same.
fn told(region: &Region) -> (u64, u64, u64, i64) {
    let (tally, totals) = (region.read().actor_list().tally(), region.read().actor_totals());
    (tally.listed, tally.unlisted, tally.waiting_stops, tally.drift(&totals))
}

#[test]
fn actors_without_a_slot_are_counted_and_not_listed() {
    let (region, slots) = overfull();
    assert_eq!(told(&region), (slots, 4, 0, 0));
    assert_eq!(region.read().actors().into_snapshot().total, slots + 4);
}

#[test]
fn an_actor_without_a_slot_stops_like_any_other() {
    let (region, slots) = overfull();
    assert_eq!(region.stop(key(slots + 1)), Stopped::Spilled);
    assert_eq!(told(&region), (slots, 3, 0, 0));
    region.leave_stop(key(slots + 2));
    region.count(Builtin::Stopped, 1);
    assert_eq!(told(&region), (slots, 2, 0, 0));
    assert_eq!(region.stop(key(3)), Stopped::Entry { stamp: 0 });
    assert_eq!(told(&region), (slots - 1, 2, 0, 0));
    assert!(!paths(&region.read().actors()).contains(&"/user/003"));
    // Its slot is for the next actor, not for one that had to go without.
    assert_eq!(put(&region, &Actor { key: 999, path: "/new", ..Actor::default() }), Spawned::Stands);
    assert_eq!(told(&region), (slots, 2, 0, 0));
}

#[test]
fn whatever_the_index_refuses_the_numbers_add_up() {
    let (region, slots) = overfull();
    let mut ends = [0; 3];
    for number in slots + 4..5000 {
        match put(&region, &Actor { key: number, path: "/x", ..Actor::default() }) {
            Spawned::Spilled => ends[0] += 1,
            Spawned::Refused => ends[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(ends[0] > 0 && ends[1] > 0, "{ends:?}");
    assert_eq!(told(&region), (slots, 4 + ends[0], 0, 0));
    assert_eq!(region.read().actor_totals().untracked, ends[1]);
    for number in 0..5000 {
        let _ = region.stop(key(number));
    }
    let (listed, unlisted, _, drift) = told(&region);
    assert_eq!((listed, unlisted, drift), (0, 0, 0));
    assert_eq!(region.read().actor_totals().live, 0);
}

#[test]
fn a_stop_that_is_given_up_does_not_wait_any_more() {
    let region = Region::small();
    assert_eq!([region.stop(key(1)), region.stop(key(2))], [Stopped::Nothing; 2]);
    let settled = region.table().settle(LANE, |stop| stop.fingerprint == key(2).0 & !63, &Counting(&region));
    assert_eq!(settled, Settled { pairs: 0, expired: 1, waiting: 1 });
    region.count(Builtin::EarlyStopsDone, settled.expired);
    assert_eq!(region.read().actors().waiting_stops, 1);
}

fn letter(stamp: u64, type_id: u32, sender: Option<&str>) -> [u64; DEAD_LETTER_WORDS] {
    let mut record = records::LetterRecord::new_zeroed();
    (record.stamp, record.type_id) = (stamp, type_id);
    let mut used = 0;
    let mut put = |text: &str| {
        record.text[used..used + text.len()].copy_from_slice(text.as_bytes());
        used += text.len();
        text.len() as u16
    };
    record.recipient_bytes = put("/user/gone");
    record.sender_bytes = put(sender.unwrap_or_default());
    record.type_bytes = put(if type_id == 0 { "Ping" } else { "" });
    record.preview_bytes = put("Ping { n: 1 }");
    record.flags = if sender.is_some() { dead_letter_flags::SENDER } else { 0 };
    zerocopy::transmute!(record)
}

fn send(region: &Region, stamp: u64) {
    let ring = region.dead_letters();
    assert_eq!(ring.write(ring.ticket(), &letter(stamp, 0, None)), Written::Published);
}

#[test]
fn a_dead_letter_reads_back_whole() {
    let region = Region::small();
    let Interned::New { id, .. } = region.names().intern_hashed(5, "orders::Ping") else { panic!("not new") };
    let ring = region.dead_letters();
    let words = letter(500, id, Some("/user/sender"));
    assert_eq!(ring.write(ring.ticket(), &words), Written::Published);
    send(&region, 0);
    let first = DeadLetterRecord {
        seq: 1,
        recipient: "/user/gone".into(),
        sender: Some("/user/sender".into()),
        message_type: "orders::Ping".into(),
        message_preview: "Ping { n: 1 }".into(),
        timestamp: "2001-09-09T01:46:40.000001000Z".into(),
    };
    let second = DeadLetterRecord {
        seq: 2,
        sender: None,
        message_type: "Ping".into(),
        timestamp: "2001-09-09T01:46:40.000000000Z".into(),
        ..first.clone()
    };
    let letters = region.read().dead_letters(10);
    let unix_ns: Vec<_> = letters.at.iter().map(|at| at.map(|at| at.unix_ns)).collect();
    assert_eq!(unix_ns, [Some(1_000_000_000_000_000_000), Some(1_000_000_000_000_001_000)]);
    let DeadLetters { recent, total, lapped, abandoned, unreadable, .. } = letters;
    assert_eq!((recent, total), (vec![second, first], 2));
    assert_eq!((lapped, abandoned, unreadable), (0, 0, 0));
}

#[test]
fn the_newest_letters_are_kept_and_the_rest_is_counted() {
    let region = Region::small();
    (0..11).for_each(|stamp| send(&region, stamp));
    let letters = region.read().dead_letters(3);
    assert_eq!(letters.recent.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [11, 10, 9]);
    assert_eq!((letters.total, letters.lapped, letters.abandoned, letters.unreadable), (11, 7, 0, 0));
}

#[test]
fn letters_that_gave_way_or_never_came_are_told_apart() {
    let region = Region::small();
    let ring = region.dead_letters();
    send(&region, 0);
    let (stalled, unfinished) = (ring.ticket(), ring.ticket());
    (0..2).for_each(|stamp| send(&region, stamp));
    // A writer died while writing in the slot of the ticket after the next one.
    let slot =
        &region.section(region.map.dead_letters)[(1 + stalled as usize) * region.map.dead_letters.stride..];
    slot[0].store(2 * (stalled + 1) - 1, Ordering::Relaxed);
    let gives_way = ring.ticket();
    assert_eq!(gives_way % 4, stalled);
    assert_eq!(ring.write(gives_way, &letter(9, 0, None)), Written::Abandoned);
    let letters = region.read().dead_letters(10);
    assert_eq!(letters.recent.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [5, 4]);
    assert_eq!((letters.total, letters.lapped, letters.abandoned, letters.unreadable), (6, 2, 1, 1));
    assert_eq!(unfinished, 2);
}

#[test]
fn a_letter_with_lengths_that_no_writer_writes_is_counted_as_unreadable() {
    let region = Region::small();
    let ring = region.dead_letters();
    let mut words = letter(0, 0, None);
    words[2] = u64::MAX;
    assert_eq!(ring.write(ring.ticket(), &words), Written::Published);
    let letters = region.read().dead_letters(10);
    assert_eq!((letters.recent.len(), letters.unreadable), (0, 1));
}

#[test]
fn an_identity_reads_back_and_the_system_is_named_later() {
    let region = Region::small();
    region.header().set_system("sys");
    let identity = region.read().identity();
    let texts = (&*identity.node, identity.system.as_deref(), &*identity.program, &*identity.writer);
    assert_eq!(texts, ("node-1", Some("sys"), "/usr/bin/node", "0.10.0"));
    assert_eq!((identity.header.pid, identity.header.boot_id), (HEADER.pid, HEADER.boot_id));
    assert_eq!(identity.header.region_bytes, region.map.region_bytes as u64);
    assert_eq!(Region::small().read().identity().system, None);
}

#[test]
fn states_only_go_on_but_for_the_wait_for_a_system_and_beats_count() {
    let region = Region::small();
    assert_eq!(region.read().state(), Some(State::Starting));
    region.header().set_state(State::Running);
    region.header().await_system();
    assert_eq!(region.read().state(), Some(State::Starting));
    region.header().set_state(State::Stopping);
    region.header().set_state(State::Running);
    region.header().await_system();
    assert_eq!(region.read().state(), Some(State::Stopping));
    region.header().process_beat(70);
    region.header().process_beat(80);
    assert_eq!(region.read().process_beat(), Beat { count: 2, mono_ns: 80 });
    assert_eq!(region.read().runtime_beat(), Beat { count: 0, mono_ns: 0 });
}

fn count(region: &Region, lane: u32, metric: Builtin, n: u64) {
    Lanes::new(region.section(region.map.counters), region.map.counters.stride).add(lane, metric as usize, n);
}

#[test]
fn totals_are_sums_over_the_lanes_and_live_is_what_is_left() {
    let region = Region::small();
    count(&region, OVERFLOW, Builtin::Spawned, 1);
    count(&region, 1, Builtin::Spawned, 10);
    count(&region, 2, Builtin::Spawned, 100);
    // A lane that this region does not have.
    count(&region, 3, Builtin::Spawned, 1000);
    count(&region, 1, Builtin::Stopped, 20);
    count(&region, 1, Builtin::Foreign, 5);
    count(&region, 1, Builtin::Replaced, 3);
    count(&region, 1, Builtin::UntrackedSpawns, 4);
    count(&region, 1, Builtin::UntrackedStops, 1);
    count(&region, 1, Builtin::UntrackedMatched, 1);
    assert_eq!(
        region.read().actor_totals(),
        ActorTotals {
            spawned: 1111,
            stopped: 15,
            replaced: 3,
            live: 1093,
            foreign: 5,
            untracked: 2,
            inexact: true
        }
    );
    assert!(!Region::small().read().actor_totals().inexact);
}

#[test]
fn totals_of_a_hostile_region_are_numbers_and_not_a_panic() {
    let region = Region::small();
    count(&region, 1, Builtin::UntrackedSpawns, u64::MAX);
    count(&region, 1, Builtin::UntrackedStops, u64::MAX);
    assert!(region.read().actor_totals().inexact);
}

#[test]
fn a_metric_of_the_applications_own_stands_beside_the_builtin_ones() {
    let region = Region::small();
    let (number, stride) = (metrics::BUILTIN.len(), region.map.metrics.stride);
    let slots = region.section(region.map.metrics);
    metrics::describe(&slots[number * stride..], "queue", "jobs", Kind::Gauge, "Jobs that wait.");
    Lanes::new(region.section(region.map.counters), region.map.counters.stride).set(number, 12);
    count(&region, 1, Builtin::SamplerRounds, 4);
    let found = region.read().metrics();
    assert_eq!(found.len(), number + 1);
    assert_eq!(
        (found[number].name.as_str(), found[number].value),
        ("queue", Some(MetricValue::Unsigned(12)))
    );
    let rounds = &found[Builtin::SamplerRounds as usize];
    assert_eq!(
        (rounds.name.as_str(), rounds.kind, rounds.value),
        ("sampler.rounds", Kind::Counter, Some(MetricValue::Unsigned(4)))
    );
}

#[test]
fn a_gauge_may_be_negative_or_have_fractions_and_one_name_has_many_series() {
    let region = Region::small();
    let (number, stride) = (metrics::BUILTIN.len(), region.map.metrics.stride);
    let (slots, counters) = (region.section(region.map.metrics), region.section(region.map.counters));
    let put = |at: usize, kind, labels: &[(&str, &str)], word: u64| {
        let described = metrics::Description { name: "load", labels, unit: "1", kind, help: "" };
        described.write(&slots[(number + at) * stride..], 0);
        Lanes::new(counters, region.map.counters.stride).set(number + at, word);
    };
    put(0, Kind::SignedGauge, &[("node", "a")], -3i64 as u64);
    put(1, Kind::FloatGauge, &[("node", "b")], (-0.25f64).to_bits());
    let found = region.read().metrics();
    let read: Vec<_> =
        found[number..].iter().map(|metric| (metric.labels[0].1.as_str(), metric.value)).collect();
    let expected = [("a", Some(MetricValue::Signed(-3))), ("b", Some(MetricValue::Float(-0.25)))];
    assert_eq!(read, expected);
    assert!(found[number..].iter().all(|metric| metric.name == "load" && !metric.is_builtin));
    assert!(found[..number].iter().all(|metric| metric.is_builtin));
}

#[test]
fn a_snapshot_holds_the_tree_and_the_letters() {
    let region = Region::small();
    let below = Some(Parent::Prefix { key: 1, bytes: 7 });
    assert_eq!(put(&region, &Actor { key: 1, path: "/user/a", ..Actor::default() }), Spawned::Stands);
    let child = Actor { key: 2, path: "/user/a/b", parent: below, ..Actor::default() };
    assert_eq!(put(&region, &child), Spawned::Stands);
    send(&region, 0);
    let reader = region.read();
    let snapshot = NodeSnapshot::of(
        reader.identity().node,
        "then".into(),
        reader.actors(),
        reader.dead_letters(100),
        reader.subsystems(),
    );
    assert_eq!((snapshot.node.as_str(), snapshot.generated_at.as_str()), ("node-1", "then"));
    assert_eq!((snapshot.actors.total, snapshot.dead_letters.len()), (2, 1));
    assert_eq!(snapshot.actors.roots[0].children[0].name, "b");
}

#[test]
fn a_number_that_nothing_counts_is_unknown_until_it_is_not_zero() {
    let region = Region::small();
    let value =
        |metric: Builtin| region.read().metrics()[metric as usize].value.and_then(MetricValue::as_u64);
    assert_eq!((value(Builtin::DDataUpdates), value(Builtin::KeysUnlisted)), (None, Some(0)));
    region.header().attach(Attachment::DDataStore);
    assert_eq!((value(Builtin::DDataUpdates), value(Builtin::PersistenceEvents)), (Some(0), None));
    count(&region, 1, Builtin::PersistenceEvents, 3);
    assert_eq!(value(Builtin::PersistenceEvents), Some(3));
    region.memory.words()[header::ATTACHED].store(u64::MAX, Ordering::Relaxed);
    assert_eq!(value(Builtin::GossipSent), Some(0));
}

#[test]
fn a_number_of_an_instance_is_known_by_its_own_attachments_or_by_those_of_all() {
    let region = Region::new(&Capacities { instances: 8, ..support::SMALL });
    let instances = region.instances();
    let make = |number: u64, name| {
        let (record, _) =
            InstanceRecord::new(Key(number << 40, number), None, number, Domain::ShardRegion, name);
        instances.make(&record).unwrap()
    };
    let (one, _other) = (make(1, "one"), make(2, "other"));
    let numbers = |field: usize| {
        let list = region.read().instances();
        let of: Vec<_> = list.of(Domain::ShardRegion).map(|entry| entry.number(field)).collect();
        (of, list.sum(Domain::ShardRegion, field))
    };
    assert_eq!(numbers(shard_region::RECEIVED), (vec![None, None], None));
    region.header().attach(Attachment::ShardExtractor);
    assert_eq!(
        numbers(shard_region::RECEIVED),
        (vec![None, None], None),
        "the attachment belongs to another shard region"
    );
    instances.attach(one, Attachment::ShardExtractor);
    assert_eq!(numbers(shard_region::RECEIVED), (vec![Some(0), None], Some(0)));
    assert_eq!(numbers(shard_region::MESSAGES), (vec![None, None], None));
    instances.numbers(one)[shard_region::MESSAGES].store(3, Ordering::Relaxed);
    assert_eq!(numbers(shard_region::MESSAGES), (vec![Some(3), None], Some(3)));
    region.header().attach(Attachment::PassivationCalls);
    assert_eq!(numbers(shard_region::PASSIVATED), (vec![Some(0), Some(0)], Some(0)));
    let list = region.read().instances();
    assert_eq!((list.count(Domain::ShardRegion), list.count(Domain::Lease)), (Some(2), None));
    assert_eq!(list.sum(Domain::Lease, lease::LOST), None);
    region.header().attach(Attachment::Lease);
    let list = region.read().instances();
    assert_eq!((list.count(Domain::Lease), list.sum(Domain::Lease, lease::LOST)), (Some(0), Some(0)));
    let json = serde_json::to_value(&list.entries[1]).unwrap();
    assert_eq!((&json["received"], &json["passivated"]), (&serde_json::Value::Null, &serde_json::json!(0)));
}

#[test]
fn failures_come_with_the_newest_first_and_their_panics_refer_to_them() {
    let region =
        Region::new(&Capacities { names: 4, instances: 11, failures: 3, panics: 2, ..support::SMALL });
    support::subsystems::fill(&region, metrics::BUILTIN.len());
    let failures = region.read().failures();
    let [warning, error, panic] = failures.log.as_slice() else { panic!("{:?}", failures.log) };
    // A tick is two nanoseconds.
    let at = |stamp: u64| format!("2001-09-09T01:46:40.{:09}Z", 2 * stamp);
    assert_eq!((warning.count, error.count, panic.count), (3, 2, 1));
    assert_eq!((warning.first.as_str(), warning.last.as_str()), (at(30).as_str(), at(32).as_str()));
    assert_eq!(
        (&warning.message, &warning.actor, warning.location.as_deref()),
        (&None, &None, Some("Nother"))
    );
    assert_eq!(panic.message.as_deref(), Some("Nmessage"));
    assert_eq!(panic.actor.as_deref(), Some("akka://Nsystem/user/Nfailed"));
    assert_eq!((panic.thread.as_deref(), panic.target.as_deref()), (Some("Nthread"), Some("Ntarget")));
    assert_eq!((&error.message, error.location.as_deref()), (&None, Some("Nlocation:7:1")));
    let [newest, oldest] = failures.panics.as_slice() else { panic!("{:?}", failures.panics) };
    assert_eq!((newest.seq, newest.failure, newest.tid), (2, None, Some(7)));
    assert_eq!((oldest.seq, oldest.failure, oldest.timestamp.as_str()), (1, Some(1), at(10).as_str()));
    assert_eq!((failures.panics_total, failures.unreadable), (2, 0));
}
