//! Raw dumps: every command reads them, they hold no torn record, and a redacted one holds no name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use atomscope::attach::{MAX_BYTES, Region};
use atomscope::raw::RawDump;
use atomscope::raw::header::HEADER_BYTES;
use atomscope::redact::Redactor;
use atomscope::snapshot::Snapshot;
use atomscope_layout::dto::{
    ActorStatus, ClusterMemberInfo, ClusterMembershipDiff, DeadLetterRecord, JournalWriteInfo,
    RemoteAssociationInfo, ShardingEvent,
};
use atomscope_layout::event::{PanicInfo, TelemetryEvent};
use atomscope_layout::metrics::BUILTIN;
use atomscope_layout::region::Condition;
use serde_json::{Value, json};

use crate::fixture::nodes::{many, shop};
use crate::fixture::{Actor, BUSY, FREE, LIVE, Node, ORPHAN, RegionDir, SECOND, control, random, write};

/// Dumps the only node of `dir`.
fn dump(dir: &RegionDir, args: &[&str]) -> PathBuf {
    let out = dir.join("node.raw");
    dir.run([&["dump", "--format", "raw", "-o", out.to_str().unwrap()], args].concat()).ok();
    out
}

#[test]
fn every_command_reads_a_dump_and_says_what_it_is() {
    let dir = RegionDir::new();
    let node = shop();
    node.stop_event(1, 5, "akka://Shop/user/gone");
    let lock = node.live(&dir);
    let live = dir.run(["dump"]).json();
    let raw = dump(&dir, &[]);
    fs::remove_file(&lock.path).unwrap();
    drop(lock);
    let raw = raw.to_str().unwrap();

    let ran = dir.run(["actors", raw]);
    assert!(ran.stderr.contains("this is a dump of a live node, taken at 2"), "{ran:?}");
    assert_eq!(ran.ok().lines().count(), 4);
    let dumped = dir.run(["dump", raw]).json();
    assert_eq!(dumped["actors"], live["actors"]);
    assert_eq!(dumped["dead_letters"], live["dead_letters"]);
    assert_eq!(dumped["atomscope"]["state"], "live");
    assert_eq!(dumped["atomscope"]["pid"], std::process::id());
    assert_eq!(dumped["atomscope"]["dumped_at"], dumped["generated_at"]);
    assert_eq!(live["atomscope"]["dumped_at"], Value::Null);
    let rows = dir.run(["--region", raw, "ps", "--json"]).json();
    assert_eq!(rows[0]["state"], "live");
    assert!(rows[0]["why"].as_str().unwrap().starts_with("this is a dump, taken at "), "{rows}");
    assert!(dir.run(["show", raw]).ok().contains("dump of a live node taken at "));
    assert!(dir.run(["stat", raw]).ok().contains("averages since the start of the node"));
    let ran = dir.run(["tail", raw]);
    assert!(ran.stderr.contains("this is a dump of a live node"), "{ran:?}");
    assert!(ran.ok().contains("stopped     akka://Shop/user/gone"));
    assert!(dir.run(["doctor", raw]).ok().contains("it is a dump"));
}

#[test]
fn a_dump_keeps_the_verdict_and_the_ages_of_its_time() {
    let dir = RegionDir::new();
    let node = shop();
    node.beat(9 * SECOND);
    let lock = node.live(&dir);
    let raw = dump(&dir, &[]);
    drop(lock);
    let about = dir.run(["dump", raw.to_str().unwrap()]).json()["atomscope"].clone();
    assert_eq!((&about["state"], &about["liveness"]), (&json!("wedged"), &json!("lock")));
    let age = about["process_beat_age_ms"].as_u64().unwrap();
    assert_eq!(about, dir.run(["dump", raw.to_str().unwrap()]).json()["atomscope"]);
    assert!(age >= 9000, "{age}");
}

#[test]
fn a_dump_of_a_dead_region_is_that_region_and_a_dump_of_a_dump_is_that_dump() {
    let dir = RegionDir::new();
    let node = many();
    let region = node.dead(&dir);
    let raw = dump(&dir, &[]);
    let bytes = fs::read(&raw).unwrap();
    assert!(bytes[HEADER_BYTES as usize..] == fs::read(&region).unwrap());
    assert_eq!(fs::metadata(&raw).unwrap().permissions().mode() & 0o777, 0o600);
    let again = dir.join("again.raw");
    dir.run(["dump", raw.to_str().unwrap(), "--format", "raw", "-o", again.to_str().unwrap()]).ok();
    assert!(fs::read(&again).unwrap() == bytes);
}

#[test]
fn a_dump_may_be_anybodys_file_and_behind_a_link() {
    let dir = RegionDir::new();
    Node::with("n", |record| record.uid = u64::from(atomscope::system::user())).dead(&dir);
    let raw = dump(&dir, &[]);
    fs::set_permissions(&raw, fs::Permissions::from_mode(0o666)).unwrap();
    let link = dir.join("link.raw");
    symlink(&raw, &link).unwrap();
    assert_eq!(dir.run(["dump", link.to_str().unwrap()]).json()["node"], "n");
}

#[test]
fn a_damaged_dump_is_refused_with_the_reason() {
    let dir = RegionDir::new();
    shop().dead(&dir);
    let bytes = fs::read(dump(&dir, &[])).unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        bytes
    };
    for (damaged, why) in [
        (bytes[..bytes.len() - 8].to_vec(), "truncated"),
        (bytes[..100].to_vec(), "truncated"),
        (bytes[..20].to_vec(), "truncated"),
        (with(12, 9), "incompatible: found layout version 9.1"),
        (with(48, 99), "corrupt at byte 48: the dump's verdict is 99"),
        (with(56, 0), "corrupt at byte 56: the dump's evidence is 0"),
        (with(16, 1), "corrupt at byte 16: length of the dump's header"),
        (with(HEADER_BYTES as usize, 0), "not an atomscope region"),
    ] {
        let path = dir.join("bad.raw");
        fs::write(&path, damaged).unwrap();
        let stderr = dir.run(["show", path.to_str().unwrap()]).failed(1);
        assert!(stderr.contains(why), "{why}: {stderr}");
    }
}

#[test]
fn a_dump_of_a_node_at_work_holds_no_torn_record() {
    let dir = RegionDir::new();
    let (node, lock) = Node::new("busy").shared(&dir);
    let region = Region::open(&lock.path, None, MAX_BYTES).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                // A record that was mixed from two writes would be inconsistent.
                let path = format!("{number:09}/").repeat(12);
                node.event(1, number, &TelemetryEvent::MailboxSampled { path, depth: number });
            }
        });
        let mut read = 0;
        while read < 1000 {
            let raw = dir.join("busy.raw");
            let mut file = Vec::new();
            RawDump::take(&region).unwrap().write(&mut file).unwrap();
            fs::write(&raw, file).unwrap();
            let copy = Region::open(&raw, None, MAX_BYTES).unwrap();
            let reader = copy.reader().unwrap();
            let look = atomscope_layout::follow::Follower::from_oldest(&reader).last_batch(&reader);
            for event in look.events {
                let TelemetryEvent::MailboxSampled { path, depth } = event.event else {
                    panic!("another event")
                };
                assert_eq!(path, format!("{depth:09}/").repeat(12));
                assert_eq!(event.stamp, depth * 1_000_000_000);
                read += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_dump_of_a_node_at_work_holds_no_slot_of_two_actors() {
    const WORDS: usize = 40;
    let dir = RegionDir::new();
    let node = Node::new("busy");
    let slots: Vec<usize> =
        (0..8).map(|_| node.actor(Actor { path: "/a", actor_type: "T", ..Actor::default() })).collect();
    let (node, lock) = node.shared(&dir);
    let region = Region::open(&lock.path, None, MAX_BYTES).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 1;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                // As a writer takes a slot, with all words of the record alike.
                let slot = slots[number as usize % slots.len()];
                node.set(node.actor_word(slot, 0), control(number, BUSY));
                fence(Ordering::Release);
                (1..WORDS).for_each(|word| node.set(node.actor_word(slot, word), number));
                fence(Ordering::Release);
                node.set(node.actor_word(slot, 0), control(number, LIVE));
            }
        });
        let (mut live, mut numbers) = (0, BTreeSet::new());
        while live < 1000 || numbers.len() < 10 {
            let mut file = Vec::new();
            RawDump::take(&region).unwrap().write(&mut file).unwrap();
            let word = |at: usize| {
                u64::from_le_bytes(file[HEADER_BYTES as usize + 8 * at..][..8].try_into().unwrap())
            };
            for slot in &slots {
                let record: Vec<u64> = (0..WORDS).map(|at| word(node.actor_word(*slot, at))).collect();
                if record[0] & 3 == LIVE && record[0] != control(1, LIVE) {
                    assert_eq!(record[1..], vec![record[0] >> 24; WORDS - 1]);
                    numbers.insert(record[1]);
                    live += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A node with every text that an application can supply, each under a unique name; and these names.
fn with_every_text() -> (Node, Vec<String>) {
    let node = Node::new("Nnode");
    node.header().set_system("Nsystem");
    let deep = format!("akka://Nsystem/{}", "Nd/".repeat(18));
    let parent = format!("akka://Nsystem/{}", "Nd/".repeat(15));
    for (path, parent) in [("akka://Nsystem/Nroot", "Nparent"), (&deep, &parent)] {
        node.actor(Actor {
            path,
            parent: Some(parent),
            actor_type: "Ntype",
            host: Some("Nhost"),
            ..Actor::default()
        });
    }
    node.actor(Actor { path: "Nspawned", actor_type: "T", spawned_text: Some("Ntime"), ..Actor::default() });
    node.letter("akka://Nsystem/Nrecipient", Some("akka://Nsystem/Nsender"), "Nmessage", "Npreview");
    node.metric(33, "Nmetric", "Nunit", "Nhelp");
    let member = |address: &str| ClusterMemberInfo {
        address: address.into(),
        status: "Nstatus".into(),
        roles: vec!["Nrole".into(), "Nlore".into()],
        ..ClusterMemberInfo::default()
    };
    let text = str::to_owned;
    for event in [
        TelemetryEvent::ActorSpawned(ActorStatus {
            path: text("akka://Nborn/Nchild"),
            parent: Some(text("akka://Nborn")),
            actor_type: text("Nkind"),
            mailbox_depth: 1,
            spawned_at: text("Nwhen"),
            host: Some(text("Nwhere")),
        }),
        TelemetryEvent::ActorStopped { path: text("Nstopped") },
        TelemetryEvent::MailboxSampled { path: text("Nbox"), depth: 7 },
        TelemetryEvent::DeadLetter(DeadLetterRecord {
            seq: 1,
            recipient: text("Nto"),
            sender: Some(text("Nfrom")),
            message_type: text("Nletter"),
            message_preview: text("Ninside"),
            timestamp: text("Nclock"),
        }),
        TelemetryEvent::ClusterChanged(ClusterMembershipDiff {
            added: vec![member("Nadded")],
            updated: vec![member("Nupdated")],
            removed: vec![text("Nremoved")],
            became_unreachable: vec![text("Nunreach")],
            became_reachable: vec![text("Nreach")],
        }),
        TelemetryEvent::ShardingChanged(ShardingEvent {
            region_id: text("Nregion"),
            shard_id: text("Nshard"),
            event: text("Nevent"),
        }),
        TelemetryEvent::JournalWrite(JournalWriteInfo {
            journal: text("Njournal"),
            persistence_id: text("Npersist"),
            sequence_nr: 1,
            timestamp: text("Ndate"),
        }),
        TelemetryEvent::RemoteAssociation(RemoteAssociationInfo {
            remote_address: text("Nremote"),
            state: text("Nstate"),
            inbound_bytes: 1,
            outbound_bytes: 2,
        }),
        TelemetryEvent::StreamsGraphStarted { id: 1, name: text("Ngraph") },
        TelemetryEvent::DDataUpdated { key: text("Nkey") },
        TelemetryEvent::Panicked(PanicInfo {
            seq: 1,
            tid: Some(2),
            thread: Some(text("Nworker")),
            location: text("Nplace"),
            actor: Some(text("akka://Nsystem/user/Nguilty")),
            message: Some(text("Nwords")),
        }),
    ] {
        node.event(1, 1, &event);
    }
    // A text directly follows another one, and the next may be a path.
    let text: String = node.bytes().into_iter().map(char::from).collect();
    let mut names: Vec<_> = text
        .split('N')
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap())
        .map(|name| format!("N{}", name.strip_suffix("akka").unwrap_or(name)))
        .filter(|name| name.len() > 3 && !BUILTIN.iter().any(|(_, _, _, help)| help.contains(name.as_str())))
        .collect();
    names.sort();
    names.dedup();
    (node, names)
}

#[test]
fn a_redacted_dump_holds_no_name_in_any_byte() {
    let dir = RegionDir::new();
    let (node, mut names) = with_every_text();
    assert!(names.len() > 40, "{names:?}");
    names.push("shopd".into());
    // What stopped actors left in their slots: a control word with a link, a key and texts.
    for (control, text) in
        [(*b"plink012", *b"Nfreed00"), (*b"slink345", *b"Norphan0"), (*b"q\0\0\0\0\0\0\0", *b"Nbusy000")]
    {
        let slot = node.actor(Actor { path: "Ngone", actor_type: "T", ..Actor::default() });
        for (word, bytes) in [(0, control), (1, *b"Nlinked0"), (12, text)] {
            node.set(node.actor_word(slot, word), u64::from_le_bytes(bytes));
        }
        names.push(String::from_utf8(text.to_vec()).unwrap());
    }
    assert_eq!([b'p', b's', b'q'].map(|byte| u64::from(byte) & 3), [FREE, ORPHAN, BUSY]);
    names.extend(["Ngone", "Nlinked0", "plink012", "slink345"].map(str::to_owned));
    let _lock = node.live(&dir);
    let finds = |bytes: &[u8], name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    let plain = fs::read(dump(&dir, &[])).unwrap();
    let redacted = fs::read(dump(&dir, &["--redact"])).unwrap();
    assert_eq!(plain.len(), redacted.len());
    for name in &names {
        assert!(finds(&plain, name), "{name} is not even in the plain dump");
        assert!(!finds(&redacted, name), "{name}");
    }
}

#[test]
fn a_redacted_dump_tells_everything_but_names() {
    let dir = RegionDir::new();
    let (node, _) = with_every_text();
    let _lock = node.live(&dir);
    let raw = dump(&dir, &["--redact", "--redact-key", "k"]);
    let raw = raw.to_str().unwrap();
    let from_raw = dir.run(["dump", raw]).json();
    let from_node = dir.run(["dump", "--redact", "--redact-key", "k"]).json();
    assert_eq!(from_raw["atomscope"]["redacted"], true);
    assert_eq!(from_raw["node"], from_node["node"]);
    assert_eq!(from_raw["dead_letters"], from_node["dead_letters"]);
    assert_eq!(from_raw["atomscope"]["metrics"], from_node["atomscope"]["metrics"]);
    assert_eq!(from_raw["atomscope"]["totals"], from_node["atomscope"]["totals"]);
    // A pseudonym that is too long for its record is cut, so leave that actor out.
    let actors = |dump: &Value| -> Vec<Value> {
        let mut flat = dump["actors"]["flat"].as_array().unwrap().clone();
        flat.retain(|actor| actor["path"].as_str().unwrap().len() < 140);
        flat
    };
    assert_eq!(actors(&from_raw).len(), 2);
    assert_eq!(actors(&from_raw), actors(&from_node));
    let flat = from_raw["actors"]["flat"].as_array().unwrap();
    assert!(flat.iter().any(|actor| actor["path"].as_str().unwrap().contains("…#")), "{flat:?}");
    let events = dir.run(["tail", raw, "--json", "-n", "100"]).ok();
    let kinds: Vec<Value> =
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
    assert_eq!(kinds.len(), 11, "{events}");
    let change = events.lines().find(|line| line.contains("cluster_changed")).unwrap();
    let change: Value = serde_json::from_str(change).unwrap();
    assert_eq!(change["added"][0]["roles"].as_array().unwrap().len(), 2);
    assert_ne!(change["added"][0]["address"], change["updated"][0]["address"]);
    assert_eq!(change["added"][0]["status"], change["updated"][0]["status"]);
}

#[test]
fn a_damaged_region_is_dumped_and_redacted_as_far_as_it_goes() {
    let dir = RegionDir::new();
    let (node, _) = with_every_text();
    let bytes = node.bytes();
    let redactor = Redactor::with_key(b"k");
    let path = dir.join("damaged.raw");
    let mut next = random();
    let mut dumped = 0;
    for _ in 0..200 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + next() % 8 {
            let at = next() as usize % (damaged.len() / 8) * 8;
            let at = if next().is_multiple_of(2) { at } else { at % 4096 };
            let value = [next(), 0, u64::MAX, next() >> 40][next() as usize % 4];
            damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        write(&path, &damaged);
        let Ok(region) = Region::open(&path, None, MAX_BYTES) else { continue };
        let dump = RawDump::take(&region).unwrap().redacted(&redactor).unwrap();
        let mut file = Vec::new();
        dump.write(&mut file).unwrap();
        write(&path, &file);
        Snapshot::take(&Region::open(&path, None, MAX_BYTES).unwrap()).unwrap();
        dumped += 1;
    }
    assert!(dumped > 20, "{dumped}");
}

#[test]
fn a_dump_keeps_what_was_told_beside_the_verdict() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.header().raise(Condition::SpawnHookReplaced);
    let lock = node.live(&dir);
    let (plain, redacted) = (dir.join("plain.raw"), dir.join("redacted.raw"));
    let dump = |args: &[&str], file: &Path| {
        dir.run([&["dump", "n", "--format", "raw", "-o", file.to_str().unwrap()], args].concat()).ok();
    };
    dump(&[], &plain);
    dump(&["--redact"], &redacted);
    drop(lock);
    for file in [plain, redacted] {
        let about = dir.run(["dump".as_ref(), file.as_os_str()]).json()["atomscope"].clone();
        assert_eq!(
            (&about["state"], &about["conditions"]),
            (&json!("live"), &json!(["spawn_hook_replaced"]))
        );
        let shown = dir.run(["show".as_ref(), file.as_os_str()]).ok();
        assert!(shown.contains("when it was dumped: another spawn observer replaced the probe's"), "{shown}");
    }
}
