//! Regions of every version of the layout still read as they did when they were written. See `tests/golden/README.md`.

#[path = "../../layout/tests/support/mod.rs"]
mod region;

use std::path::{Path, PathBuf};

use atomscope_layout::Capacities;
use atomscope_layout::dto::{
    ActorStatus, ClusterMemberInfo, ClusterMembershipDiff, DeadLetterRecord as DeadLetter, JournalWriteInfo,
    RemoteAssociationInfo, ShardingEvent,
};
use atomscope_layout::event::{
    EVENT_SLOT_BYTES, EventKind, EventRecord, Level, LongPollInfo, OwnEvent, PanicInfo, TelemetryEvent,
    Values, encode,
};
use atomscope_layout::lanes::Lanes;
use atomscope_layout::limits::{ACTOR_PATH_BYTES, CUT_MARK, PATH_CUT_MARK};
use atomscope_layout::metrics::{self, Builtin, Kind};
use atomscope_layout::names::Interned;
use atomscope_layout::records::{
    ACTOR_WORDS, ActorRecord, DEAD_LETTER_WORDS, LetterRecord, actor_flags, dead_letter_flags,
};
use atomscope_layout::region::{Section, State, VERSION_MAJOR, VERSION_MINOR, header};
use atomscope_layout::ring::{Ring, Written};
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_layout::table::Key;
use atomscope_tests::support::dumps::{GOLDEN, all_events, dump_of, golden_regions, json_lines};
use region::Region;
use serde_json::Value;
use zerocopy::FromZeros as _;

/// The results of `dump` and `tail` for a region.
fn read(file: &Path) -> (Value, Vec<Value>) {
    (dump_of(file), all_events(file))
}

/// Fails with the first value of `wanted` that `found` lacks or has otherwise. A later reader may add fields.
fn holds(path: &str, wanted: &Value, found: &Value) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().for_each(|(name, value)| {
            let path = format!("{path}.{name}");
            holds(&path, value, found.get(name).unwrap_or_else(|| panic!("{path} is gone")));
        }),
        (Value::Array(wanted), Value::Array(found)) => {
            assert_eq!(wanted.len(), found.len(), "the length of {path}");
            let pairs = wanted.iter().zip(found).enumerate();
            pairs.for_each(|(at, (wanted, found))| holds(&format!("{path}[{at}]"), wanted, found));
        }
        _ => assert_eq!(wanted, found, "{path}"),
    }
}

#[test]
fn every_region_ever_made_reads_as_it_did_then() {
    let current = Path::new(GOLDEN).join(format!("{VERSION_MAJOR}.{VERSION_MINOR}"));
    if std::env::var_os("ATOMSCOPE_BLESS").is_some() {
        bless(&current);
    }
    assert!(current.is_dir(), "this version has no golden regions yet: see {GOLDEN}/README.md");
    let major = format!("{VERSION_MAJOR}.");
    let folder = |file: &PathBuf| {
        file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
    };
    let regions = golden_regions().into_iter();
    let regions: Vec<_> =
        regions.filter(|file| folder(file).is_some_and(|name| name.starts_with(&major))).collect();
    assert!(regions.len() >= 3, "{regions:?}");
    for file in regions {
        let (dump, events) = read(&file);
        let text = |extension| {
            std::fs::read_to_string(file.with_extension(extension)).expect("the expected results")
        };
        let name = file.display().to_string();
        holds(&name, &serde_json::from_str(&text("json")).expect("JSON"), &dump);
        holds(&name, &Value::from(json_lines(text("ndjson").as_bytes())), &Value::from(events));
    }
}

/// Writes the regions of the current version, with the results of reading them.
fn bless(folder: &Path) {
    assert!(!folder.join("released").exists(), "{} was released: it stays as it is", folder.display());
    std::fs::create_dir_all(folder).expect("a folder");
    for (name, region, verdict) in
        [("typical", typical(), 2), ("crowded", crowded(), 3), ("killed", killed(), 8)]
    {
        let file = folder.join(name).with_extension("raw");
        std::fs::write(&file, raw_dump(&region, verdict)).expect("it can be written");
        let (dump, events) = read(&file);
        let dump = serde_json::to_string_pretty(&dump).expect("JSON") + "\n";
        std::fs::write(file.with_extension("json"), dump).expect("it can be written");
        let events: String = events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(file.with_extension("ndjson"), events).expect("it can be written");
    }
}

/// A raw dump that was taken three seconds after the region was created.
fn raw_dump(region: &Region, verdict: u64) -> Vec<u8> {
    let words = region.memory.words();
    let header = [
        u64::from_le_bytes(*b"ATOMSRAW"),
        1 << 32 | 1,
        4096,
        words.len() as u64 * 8,
        region::HEADER.created_unix_ns + 3_000_000_000,
        4711,
        verdict,
        1,
        120_000_000,
        u64::MAX,
        1,
    ];
    let header = header.into_iter().chain(std::iter::repeat(0)).take(512);
    let words = words.iter().map(|word| word.load(Ordering::Relaxed));
    header.chain(words).flat_map(u64::to_le_bytes).collect()
}

const TINY: Capacities = Capacities { lanes: 2, dead_letters: 4, events: 14, names: 4, ..Capacities::LEAST };

/// States of a slot of an actor, and the control word of a slot.
const FREE: u64 = 0;
const BUSY: u64 = 1;
const LIVE: u64 = 2;
const ORPHAN: u64 = 3;

const fn control(generation: u64, link: u64, state: u64) -> u64 {
    generation << 24 | link << 2 | state
}

/// Keys that differ in all their words.
fn key(number: u64) -> Key {
    Key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number.wrapping_mul(0xc2b2_ae3d_27d4_eb4f))
}

fn new(capacities: &Capacities) -> Region {
    let region = Region::new(capacities);
    region.header().set_system("shop");
    region.header().set_state(State::Running);
    region.header().process_beat(1_000_000);
    region
}

fn counters(region: &Region) -> Lanes<'_> {
    Lanes::new(region.section(region.map.counters), region.map.counters.stride)
}

/// Adds to a counter, in a lane that depends on `n`.
fn count(region: &Region, metric: Builtin, n: u64) {
    counters(region).add(n as u32 % 3, metric as usize, n);
}

fn intern(region: &Region, text: &'static str) -> u32 {
    match region.names().intern_hashed(text.bytes().map(u64::from).sum(), text) {
        Interned::New { id, .. } | Interned::Known(id) => id,
        Interned::Full => 0,
    }
}

fn lane(region: &Region, lane: usize) -> Ring<'_> {
    let Section { start, stride, .. } = region.map.events;
    let start = start + lane * stride;
    Ring::new(&region.memory.words()[start..start + stride], EVENT_SLOT_BYTES / 8)
}

/// Publishes an event, as the application does.
fn publish(region: &Region, at: usize, stamp: u64, event: &TelemetryEvent) {
    let ring = lane(region, at);
    encode(event, stamp, |_| 0, |record| ring.push(record.words()));
}

/// An actor of a golden region.
#[derive(Clone, Copy, Default)]
struct Actor<'a> {
    key: u64,
    path: &'a str,
    /// Key of the parent, and bytes of its path.
    prefix: Option<(u64, u16)>,
    /// Key of the parent, and its path.
    parent: Option<(u64, &'a str)>,
    type_id: u32,
    type_text: &'a str,
    spawned: u64,
    spawned_text: Option<&'a str>,
    host: Option<&'a str>,
    depth: Option<u64>,
}

impl Actor<'_> {
    fn record(&self) -> ActorRecord {
        let mut record = ActorRecord::new_zeroed();
        record.key = key(self.key).words();
        (record.spawned, record.type_id) = (self.spawned, self.type_id);
        let mut used = 0;
        let mut put = |text: &str| {
            record.text[used..used + text.len()].copy_from_slice(text.as_bytes());
            used += text.len();
            text.len() as u16
        };
        record.path_bytes = put(self.path) as u8;
        record.type_bytes = put(self.type_text) as u8;
        if let Some(text) = self.spawned_text {
            record.flags |= actor_flags::SPAWNED_TEXT;
            record.spawned_bytes = put(text) as u8;
        }
        if let Some(host) = self.host {
            record.flags |= actor_flags::HOST;
            record.host_bytes = put(host) as u8;
        }
        if self.path.contains(PATH_CUT_MARK) {
            record.flags |= actor_flags::PATH_CUT | actor_flags::TEXT_CUT;
        }
        if let Some((parent, bytes)) = self.prefix {
            record.flags |= actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX;
            (record.parent_key, record.parent_bytes) = (key(parent).words(), bytes);
        }
        if let Some((parent, path)) = self.parent {
            record.flags |= actor_flags::PARENT;
            (record.parent_key, record.parent_bytes) = (key(parent).words(), put(path));
        }
        if let Some(depth) = self.depth {
            record.flags |= actor_flags::DEPTH;
            record.depth = depth;
        }
        record
    }

    /// Spawns the actor into the next slot that was never taken. Returns the words of the slot.
    fn put<'r>(&self, region: &'r Region) -> &'r [AtomicU64] {
        count(region, Builtin::Spawned, 1);
        let (actors, words) = (region.map.actors, region.memory.words());
        let index = words[header::ACTORS_USED].fetch_add(1, Ordering::Relaxed) as usize;
        let slot = &region.section(actors)[index * actors.stride..][..actors.stride];
        let record = ActorRecord { control: control(1, 0, LIVE), ..self.record() };
        let words: [u64; ACTOR_WORDS] = zerocopy::transmute!(record);
        slot.iter().zip(words).for_each(|(to, word)| to.store(word, Ordering::Relaxed));
        slot
    }

    /// Publishes its spawn in event lane `at`, as the probe does.
    fn publish_spawn(&self, region: &Region, at: usize) {
        let record = self.record();
        // The event has the parent's path before the class.
        let texts = [self.path, self.parent.map_or("", |(_, path)| path), self.type_text];
        let texts =
            [&texts[..], &[self.spawned_text.unwrap_or(""), self.host.unwrap_or("")]].concat().concat();
        let mut text = ActorRecord::new_zeroed().text;
        text[..texts.len()].copy_from_slice(texts.as_bytes());
        let is_cut = record.flags & actor_flags::PATH_CUT != 0;
        let event = EventRecord {
            stamp: record.spawned,
            type_id: record.type_id,
            flags: record.flags,
            text_bytes: [
                record.path_bytes.into(),
                record.parent_bytes,
                record.type_bytes.into(),
                record.spawned_bytes.into(),
                record.host_bytes.into(),
            ],
            numbers: if is_cut { record.parent_key } else { [record.depth, 0] },
            text,
            ..EventRecord::new(EventKind::ActorSpawned)
        };
        lane(region, at).push(event.words());
    }
}

/// The words of a dead letter.
fn letter(stamp: u64, type_id: u32, texts: [&str; 4], flags: u32) -> [u64; DEAD_LETTER_WORDS] {
    let mut record = LetterRecord { stamp, type_id, flags, ..LetterRecord::new_zeroed() };
    let all = texts.concat();
    record.text[..all.len()].copy_from_slice(all.as_bytes());
    [record.recipient_bytes, record.sender_bytes, record.type_bytes, record.preview_bytes] =
        texts.map(|text| text.len() as u16);
    zerocopy::transmute!(record)
}

fn stopped(path: &str) -> TelemetryEvent {
    TelemetryEvent::ActorStopped { path: path.into() }
}

fn member(number: i32, roles: &[&str], reachable: bool) -> ClusterMemberInfo {
    ClusterMemberInfo {
        address: format!("akka://shop@10.0.0.{number}:2552"),
        status: "Up".into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        reachable,
        up_number: -number,
    }
}

/// A typical node.
fn typical() -> Region {
    let region = new(&Capacities { actors: 8, names: 8, instances: 11, failures: 4, panics: 4, ..TINY });
    let order = intern(&region, "shop::Order");
    let [desk, below] = [(1, "akka://shop/user/orders"), (2, "akka://shop/user/orders/order-1")];
    let parent_bytes = desk.1.len() as u16;
    let actors = [
        Actor {
            key: desk.0,
            path: desk.1,
            prefix: Some((9, 16)),
            type_text: "shop::Desk",
            ..Actor::default()
        },
        Actor {
            key: below.0,
            path: below.1,
            prefix: Some((1, parent_bytes)),
            type_id: order,
            ..Actor::default()
        },
        Actor {
            key: 3,
            path: "akka://shop/user/zoë",
            parent: Some((4, "akka://other/user/ä")),
            type_text: "T",
            spawned_text: Some("long ago"),
            host: Some("höst"),
            depth: Some(17),
            ..Actor::default()
        },
        Actor { key: 5, path: "", host: Some(""), type_id: 9, ..Actor::default() },
    ];
    for (number, actor) in (1..).zip(actors) {
        let actor = Actor { spawned: 1_000 * number + 1, ..actor };
        actor.publish_spawn(&region, 1 + number as usize % 2);
        actor.put(&region);
    }
    let gone = Actor { key: 6, path: "akka://shop/user/gone", type_text: "shop::Brief", ..Actor::default() };
    gone.put(&region)[0].store(control(1, 3, FREE), Ordering::Relaxed);
    count(&region, Builtin::Stopped, 1);

    let ring = region.dead_letters();
    let letters = [
        letter(9_000, order, ["akka://shop/user/gone", "", "", ""], 0),
        letter(
            9_001,
            0,
            ["/r", "/s", "shop::Msg", "Msg { text: \"\u{1b}[2J\u{202e}\" }"],
            dead_letter_flags::SENDER,
        ),
        letter(
            9_002,
            0,
            ["/r", "", "shop::Msg", "cut…"],
            dead_letter_flags::SENDER | dead_letter_flags::TEXT_CUT,
        ),
    ];
    for words in letters {
        assert_eq!(ring.write(ring.ticket(), &words), Written::Published);
    }

    let metrics = region.section(region.map.metrics);
    for (number, name, kind) in [(90, "shop.orders", Kind::Counter), (91, "shop.open", Kind::Gauge)] {
        let stride = region.map.metrics.stride;
        metrics::describe(&metrics[number * stride..][..stride], name, "orders", kind, "Orders.");
        (0..3).for_each(|lane| counters(&region).add(lane, number, 1 << (20 * lane)));
    }

    region::subsystems::fill(&region, 92);

    let diff = ClusterMembershipDiff {
        added: vec![member(1, &["a", "b"], true), member(2, &[], false)],
        updated: vec![member(3, &[""], true)],
        removed: vec!["akka://x".into()],
        became_unreachable: vec!["akka://y".into()],
        became_reachable: vec!["akka://z".into()],
    };
    let nothing = ClusterMembershipDiff {
        added: Vec::new(),
        updated: Vec::new(),
        removed: Vec::new(),
        became_unreachable: Vec::new(),
        became_reachable: Vec::new(),
    };
    let letter = DeadLetter {
        seq: 2,
        recipient: "/r".into(),
        sender: Some("/s".into()),
        message_type: "shop::Msg".into(),
        message_preview: "x".repeat(300),
        timestamp: "2001-09-09T01:46:40Z".into(),
    };
    let spawned = ActorStatus {
        path: "/user/a/b".into(),
        parent: Some("/user/a".into()),
        actor_type: "T".into(),
        mailbox_depth: 3,
        spawned_at: "now".into(),
        host: Some("h".into()),
    };
    let (id, name) = (u64::MAX, "flow".to_owned());
    let events = [
        TelemetryEvent::ActorSpawned(spawned),
        stopped("akka://shop/user/gone"),
        TelemetryEvent::MailboxSampled { path: "/user/a".into(), depth: 5 },
        TelemetryEvent::DeadLetter(DeadLetter {
            sender: None,
            message_preview: String::new(),
            ..letter.clone()
        }),
        TelemetryEvent::DeadLetter(letter),
        TelemetryEvent::ClusterChanged(nothing),
        TelemetryEvent::ClusterChanged(diff),
        TelemetryEvent::ShardingChanged(ShardingEvent {
            region_id: "r".into(),
            shard_id: "s".into(),
            event: "allocated".into(),
        }),
        TelemetryEvent::JournalWrite(JournalWriteInfo {
            journal: "j".into(),
            persistence_id: "p".into(),
            sequence_nr: 4,
            timestamp: "then".into(),
        }),
        TelemetryEvent::RemoteAssociation(RemoteAssociationInfo {
            remote_address: "akka://y".into(),
            state: "Active".into(),
            inbound_bytes: 1,
            outbound_bytes: 2,
        }),
        TelemetryEvent::StreamsGraphStarted { id, name },
        TelemetryEvent::StreamsGraphFinished { id },
        TelemetryEvent::DDataUpdated { key: "k".into() },
        TelemetryEvent::Panicked(PanicInfo {
            seq: 1,
            tid: Some(7),
            thread: Some("t".into()),
            location: "a.rs:1:2".into(),
            actor: None,
            message: Some(String::new()),
        }),
        TelemetryEvent::LongPoll(LongPollInfo {
            duration_ns: 120_000_000,
            actor: Some("/a".into()),
            class: Some("c".into()),
            task: Some("a.rs:3:4".into()),
            tid: None,
            thread: None,
        }),
        TelemetryEvent::Own(OwnEvent {
            topic: "orders".into(),
            level: Level::Warn,
            text: "late".into(),
            record: None,
            values: Values::default(),
        }),
    ];
    // The event of the cluster has its own lane, because all of its parts must fit.
    for (number, event) in (0..).zip(&events) {
        let at = if matches!(event, TelemetryEvent::ClusterChanged(_)) { 0 } else { 1 + number as usize % 2 };
        publish(&region, at, 10_000 - number, event);
    }
    // A dead letter whose time is its stamp.
    let late =
        EventRecord { stamp: 20_000, text_bytes: [1, 0, 1, 0, 0], ..EventRecord::new(EventKind::DeadLetter) };
    let mut late = EventRecord { numbers: [3, 0], ..late };
    late.text[..2].copy_from_slice(b"rT");
    lane(&region, 1).push(late.words());
    region
}

/// A cut path: the kept start, the mark, and the key.
fn cut_path(kept: char, number: u64) -> String {
    let kept = String::from(kept).repeat(ACTOR_PATH_BYTES - PATH_CUT_MARK.len() - 32);
    format!("{kept}{PATH_CUT_MARK}{}", key(number))
}

/// An actor with the least data.
fn plain(key: u64, path: &str, spawned: u64) -> Actor<'_> {
    Actor { key, path, spawned, type_text: "U", ..Actor::default() }
}

/// A node whose region is too small, and whose hooks come out of order.
fn crowded() -> Region {
    let region = new(&TINY);
    for name in ["a::A", "b::B", "c::C", "d::D"] {
        assert_ne!(intern(&region, name), 0);
    }
    assert_eq!(intern(&region, "e::E"), 0);
    count(&region, Builtin::NamesFull, 1);

    // Two actors with cut paths, one with a listed parent and one without. The parent's path is a prefix of theirs.
    let [parent, child, orphan] = [cut_path('p', 101), cut_path('p', 102), cut_path('q', 103)];
    let with =
        |key, path, prefix| Actor { key, path, prefix: Some(prefix), type_text: "T", ..Actor::default() };
    let cut = [with(101, &parent, (100, 9)), with(102, &child, (101, 300)), with(103, &orphan, (104, 300))];
    for (number, actor) in (1..).zip(cut) {
        let actor = Actor { spawned: number, ..actor };
        actor.put(&region);
        actor.publish_spawn(&region, 1);
    }
    let cuts = cut.len() as u64;
    count(&region, Builtin::TextsCut, cuts);

    // An actor that was respawned before its stop came: two records have its key, and the newer one is listed.
    for actor in [plain(111, "/once", 51), plain(112, "/twice", 53), plain(112, "/twice", 52)] {
        actor.put(&region);
    }
    count(&region, Builtin::Replaced, 1);
    // Free slots of each kind, after the slots' records were written. Paths and spawns are in different orders.
    for number in 0..24 {
        let path = format!("/full/{}", 50 - number);
        let slot = plain(200 + number, &path, 100 + number).put(&region);
        let state = match number % 8 {
            3 => control(1, 0, FREE),
            5 => control(9, (1 << 22) - 1, FREE),
            7 => control(1, 0, ORPHAN),
            _ => continue,
        };
        slot[0].store(state, Ordering::Relaxed);
        count(&region, Builtin::Stopped, 1);
    }
    // Eight actors found no slot, of which two have stopped; the next ones found no entry of the index either.
    for (metric, number) in [
        (Builtin::Spawned, 8 + 3),
        (Builtin::Spilled, 8),
        (Builtin::UntrackedSpawns, 3),
        (Builtin::SpilledStopped, 2),
        (Builtin::Stopped, 2),
    ] {
        count(&region, metric, number);
    }
    // Three early stops, of which two met their spawns; a stop that found no entry of the index; one that was given up.
    for (metric, number) in [
        (Builtin::Spawned, 2),
        (Builtin::Stopped, 3 + 1 + 1),
        (Builtin::EarlyStops, 3 + 1),
        (Builtin::EarlyStopsDone, 2 + 1),
        (Builtin::UntrackedStops, 1),
        (Builtin::Foreign, 1),
    ] {
        count(&region, metric, number);
    }

    // Eleven dead letters for four slots. One is abandoned, because an older one is still being written into its slot.
    let (ring, section) = (region.dead_letters(), region.map.dead_letters);
    for number in 0..11u64 {
        let ticket = ring.ticket();
        let words = letter(300 + number, 1, ["/gone", "", "", ""], 0);
        let sequence = &region.section(section)[(1 + ticket as usize % 4) * section.stride];
        let gives_way = number == 9;
        let older = sequence.fetch_sub(u64::from(gives_way), Ordering::Relaxed);
        let written = ring.write(ticket, &words);
        assert_eq!(written, if gives_way { Written::Abandoned } else { Written::Published });
        if gives_way {
            sequence.store(older, Ordering::Relaxed);
        }
    }
    count(&region, Builtin::DeadLettersAbandoned, 1);

    // A lane that was lapped more than once. It still holds an event whose first parts are overwritten.
    let diff = |number| ClusterMembershipDiff {
        added: (0..number).map(|at| member(at, &["role"], at % 2 == 0)).collect(),
        updated: Vec::new(),
        removed: vec![format!("akka://{}", "long".repeat(60))],
        became_unreachable: vec!["akka://y".into()],
        became_reachable: Vec::new(),
    };
    for number in 0..9 {
        publish(&region, 2, 400 + number, &stopped(&format!("/before/{number}")));
    }
    publish(&region, 2, 410, &TelemetryEvent::ClusterChanged(diff(8)));
    publish(&region, 2, 411, &TelemetryEvent::ClusterChanged(diff(5)));
    publish(&region, 2, 412, &stopped(&format!("/{}{CUT_MARK}", "s".repeat(80))));
    // The shared lane: two consecutive abandoned tickets, and another one later.
    let (ring, events) = (lane(&region, 0), region.map.events);
    for number in 0..20u64 {
        let ticket = ring.ticket();
        let slot = events.start + (1 + ticket as usize % 14) * EVENT_SLOT_BYTES / 8;
        let sequence = &region.memory.words()[slot];
        let gives_way = [15, 16, 18].contains(&number);
        let older = sequence.fetch_sub(u64::from(gives_way), Ordering::Relaxed);
        encode(
            &stopped(&format!("/shared/{number}")),
            380 + 4 * number,
            |_| 0,
            |record| {
                let written = ring.write(ticket, record.words());
                assert_eq!(written, if gives_way { Written::Abandoned } else { Written::Published });
            },
        );
        if gives_way {
            sequence.store(older, Ordering::Relaxed);
        }
    }
    count(&region, Builtin::EventsAbandoned, 3);
    region
}

/// A node that was killed during several writes.
fn killed() -> Region {
    let region = new(&TINY);
    let words = region.memory.words();
    let set = |word: &AtomicU64, change: fn(u64) -> u64| {
        word.store(change(word.load(Ordering::Relaxed)), Ordering::Relaxed);
    };
    let is_odd = |word: &AtomicU64| set(word, |sequence| sequence - 1);
    let id = intern(&region, "a::A");
    let unready = intern(&region, "never::Ready");
    let cells = region.map.names;
    set(&words[cells.start + (unready as usize - 1) * cells.stride], |_| 0);
    for (number, path) in (1..).zip(["/whole", "/in-hand", "/unnamed", "/damaged", "/orphan"]) {
        let type_id = if path == "/unnamed" { unready } else { id };
        let actor = Actor { key: number, path, type_id, spawned: 10 * number, ..Actor::default() };
        actor.publish_spawn(&region, 1);
        let slot = actor.put(&region);
        match path {
            "/in-hand" => set(&slot[0], |_| control(1, 0, BUSY)),
            // The text begins inside of a character.
            "/damaged" => set(&slot[10], |text| text & !0xff | 0x80),
            "/orphan" => set(&slot[0], |_| control(1, 0, ORPHAN)),
            _ => {}
        }
    }
    // A slot that was taken, and never got a record.
    set(&words[header::ACTORS_USED], |used| used + 1);
    // A metric whose descriptor is incomplete.
    let metrics = region.section(region.map.metrics);
    let stride = region.map.metrics.stride;
    metrics::describe(&metrics[90 * stride..91 * stride], "half.done", "", Kind::Counter, "");
    set(&metrics[90 * stride], |_| 0);
    // Rings: a half-written record between an older and a newer one, and a ticket without a record.
    let (ring, section) = (region.dead_letters(), region.map.dead_letters);
    for number in 0..3 {
        let written = ring.write(ring.ticket(), &letter(100 + number, id, ["/gone", "", "", "preview"], 0));
        assert_eq!(written, Written::Published);
    }
    is_odd(&region.section(section)[2 * section.stride]);
    assert_eq!(ring.ticket(), 3);
    let ring = lane(&region, 0);
    for number in 0..4 {
        encode(
            &stopped("/shared"),
            60 + number,
            |_| 0,
            |record| {
                assert_eq!(ring.write(ring.ticket(), record.words()), Written::Published);
            },
        );
    }
    let shared = region.map.events.start;
    is_odd(&words[shared + 3 * EVENT_SLOT_BYTES / 8]);
    assert_eq!(ring.ticket(), 4);
    // A thread's own lane stores the head last: the record that is being written is beyond it, over an old record.
    for number in 0..16 {
        publish(&region, 2, 200 + number, &stopped("/own"));
    }
    let own = shared + 2 * region.map.events.stride;
    set(&words[own + (1 + 16 % 14) * EVENT_SLOT_BYTES / 8], |_| 2 * 17 - 1);
    // An event without its last part.
    let lost = ClusterMembershipDiff {
        added: vec![member(1, &[], true)],
        updated: Vec::new(),
        removed: vec!["akka://x".into()],
        became_unreachable: Vec::new(),
        became_reachable: Vec::new(),
    };
    publish(&region, 1, 300, &TelemetryEvent::ClusterChanged(lost));
    set(&words[shared + region.map.events.stride], |head| head - 1);
    region
}
