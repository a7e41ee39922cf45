//! The program on files that no node and no dump wrote. Each command ends with 0 or 1 within limits of time and memory,
//! writes nothing that a terminal would interpret, and names the file and the damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test panics, and so do its helpers")]

#[allow(dead_code, reason = "each test file uses only some of it")]
mod fixture;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use atomscope::attach::{MAX_BYTES, Region};
use atomscope::raw::{self, RawDump};
use atomscope::redact::Redactor;
use atomscope::report::usage::Usage;
use atomscope::snapshot::Snapshot;
use atomscope::text::{is_unsafe, write_json};
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::instances::Domain;
use atomscope_layout::region::{SECTION_WORDS, Section, State, header};
use atomscope_layout::{Capacities, RegionMap, metrics};

use crate::fixture::{Actor, BUSY, FREE, LIVE, Locked, Node, ORPHAN, Ran, RegionDir, save};

/// Characters that a terminal would interpret: escape sequences, line ends, NUL, C1, bidirectional, zero width, a tag.
const HOSTILE: &str = "\u{1b}]0;t\u{7}\u{9b}2J\n\r\0\t\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\u{85}é";

/// A node in which every text is hostile.
fn node() -> Node {
    let capacities = Capacities {
        actors: 8,
        lanes: 2,
        dead_letters: 4,
        events: 4,
        names: 4,
        instances: 32,
        ..Capacities::LEAST
    };
    let node = Node::sized(HOSTILE, capacities, |_| {});
    node.header().set_system(HOSTILE);
    let top = format!("akka://{HOSTILE}/user");
    let below = format!("{top}/a");
    let actor = Actor { path: &top, actor_type: HOSTILE, ..Actor::default() };
    node.actor(actor);
    node.actor(Actor { path: &below, parent: Some(&top), host: Some(HOSTILE), ..actor });
    node.actor(Actor {
        path: "/c",
        parent: Some("/c"),
        spawned_text: Some(HOSTILE),
        depth: Some(1),
        ..actor
    });
    (0..3).for_each(|_| node.letter(&top, Some(HOSTILE), HOSTILE, HOSTILE));
    node.fill();
    Domain::ALL.iter().for_each(|domain| node.instance(*domain, HOSTILE, &[(0, u64::MAX)]));
    node.metric(metrics::BUILTIN.len() + 1, HOSTILE, HOSTILE, HOSTILE);
    for (at_s, lane) in [(1, 0), (2, 1), (3, 2)] {
        node.stop_event(lane, at_s, &top);
        node.event(lane, at_s, &TelemetryEvent::DDataUpdated { key: HOSTILE.into() });
    }
    node
}

type Damage = Box<dyn Fn(&mut Vec<u64>) + Sync>;

/// Copies the first record of a section into all of its slots.
fn repeated(slots: Section, used: usize) -> Damage {
    Box::new(move |words| {
        words[used] = slots.count as u64;
        let first = slots.start..slots.start + slots.stride;
        slots.range().step_by(slots.stride).for_each(|slot| words.copy_within(first.clone(), slot));
    })
}

/// Makes all slots of a section live, with records of this one value.
fn filled(slots: Section, used: usize, value: u64) -> Damage {
    Box::new(move |words| {
        words[used] = slots.count as u64;
        words[slots.range()].fill(value);
        slots.range().step_by(slots.stride).for_each(|slot| words[slot] = LIVE);
    })
}

/// A damage to a region's words, and whether the region must still be readable.
fn damages(map: &RegionMap) -> Vec<(String, bool, Damage)> {
    let set = |what: &str, readable, word: usize, value: u64| -> (String, bool, Damage) {
        (format!("{what} = {value:#x}"), readable, Box::new(move |words| words[word] = value))
    };
    let entry = |section: usize, field: usize| header::DIRECTORY.start + section * SECTION_WORDS + field;
    let range = |what: &str, range: std::ops::Range<usize>, value: u64| -> (String, bool, Damage) {
        (
            format!("{what} filled with {value:#x}"),
            true,
            Box::new(move |words| words[range.clone()].fill(value)),
        )
    };
    // All slots count as taken, each with this control word.
    let controls = |what: &str, slots: Section, used: usize, control: u64| -> (String, bool, Damage) {
        let damage = move |words: &mut Vec<u64>| {
            words[used] = u64::MAX;
            slots.range().step_by(slots.stride).for_each(|slot| words[slot] = control);
        };
        (format!("control words of {what} = {control:#x}"), true, Box::new(damage))
    };
    let cut = |what: &str, words: usize| -> (String, bool, Damage) {
        (format!("cut {what}"), false, Box::new(move |all| all.truncate(words)))
    };
    let lane = map.events.start + map.events.stride;
    let mut damages: Vec<(String, bool, Damage)> = vec![
        ("nothing".into(), true, Box::new(|_| {})),
        set("magic", false, header::MAGIC, 1),
        set("major version", false, header::VERSION, 7 << 32),
        set("major version", false, header::VERSION, 1 << 32 | 2),
        set("minor version", true, header::VERSION, 2 << 32 | 9),
        set("region length", false, header::RECORD.start, !7),
        set("region length", false, header::RECORD.start, 0),
        set("header length", false, header::RECORD.start + 1, 0),
        set("section count", false, header::RECORD.start + 2, 33),
        set("pid", true, header::RECORD.start + 3, u64::MAX),
        set("created", true, header::RECORD.start + 9, u64::MAX),
        set("actor capacity", true, header::RECORD.start + 10, u64::MAX),
        set("state", true, header::STATE, u64::MAX),
        set("beat", true, header::PROCESS_BEAT.start + 1, u64::MAX),
        set("actors used", true, header::ACTORS_USED, 0),
        set("actors used", true, header::ACTORS_USED, u64::MAX),
        set("instances used", true, header::INSTANCES_USED, u64::MAX),
        set("changes of the clock samples", true, map.clock_samples.start, 1),
        set("clock samples used", true, map.clock_samples.start + 1, u64::MAX),
        set("clock samples complete", true, map.clock_samples.start + 2, u64::MAX),
        set(
            "ticks of a clock sample",
            true,
            map.clock_samples.start + map.clock_samples.stride + 1,
            u64::MAX,
        ),
        set("node's name", true, header::NODE.start, u64::MAX),
        set("section offset", false, entry(3, 1), 0),
        set("section offset", false, entry(3, 1), 4096),
        set("section count", false, entry(4, 2), u64::MAX),
        set("section stride", false, entry(5, 3), 1 << 63),
        set("section id", false, entry(7, 0), 1),
        set("letters' head", true, map.dead_letters.start, u64::MAX),
        set("lane's head", true, lane, u64::MAX),
        set("lane's head", true, lane, 1 << 40),
        range("counters", map.counters.range(), u64::MAX),
        range("metrics", map.metrics.range(), u64::MAX),
        range("names", map.names.range(), u64::MAX),
        controls("actors", map.actors, header::ACTORS_USED, FREE),
        controls("actors", map.actors, header::ACTORS_USED, BUSY),
        controls("actors", map.actors, header::ACTORS_USED, LIVE),
        controls("actors", map.actors, header::ACTORS_USED, ORPHAN),
        controls("actors", map.actors, header::ACTORS_USED, u64::MAX << 2 | LIVE),
        controls("actors", map.actors, header::ACTORS_USED, u64::MAX << 2 | FREE),
        set("lengths of an actor's texts", true, map.actors.start + 5, u64::MAX),
        set("lengths of an actor's texts", true, map.actors.start + 5, 0xc0_c0c0_c0c0),
        set("flags of an actor", true, map.actors.start + 4, u64::MAX),
        range("actors", map.actors.range(), u64::MAX),
        ("live actors filled with ones".into(), true, filled(map.actors, header::ACTORS_USED, u64::MAX)),
        ("live actors filled with zeros".into(), true, filled(map.actors, header::ACTORS_USED, 0)),
        ("one actor in every slot".into(), true, repeated(map.actors, header::ACTORS_USED)),
        range("letters", map.dead_letters.range(), 9),
        range("events", map.events.range(), 9),
        controls("instances", map.instances, header::INSTANCES_USED, FREE),
        controls("instances", map.instances, header::INSTANCES_USED, BUSY),
        controls("instances", map.instances, header::INSTANCES_USED, LIVE),
        controls("instances", map.instances, header::INSTANCES_USED, ORPHAN),
        range("instances", map.instances.range(), u64::MAX),
        (
            "live instances filled with ones".into(),
            true,
            filled(map.instances, header::INSTANCES_USED, u64::MAX),
        ),
        ("one instance in every slot".into(), true, repeated(map.instances, header::INSTANCES_USED)),
        range("documents", map.documents.range(), u64::MAX),
        range("documents", map.documents.range(), 1),
        range("histograms", map.histograms.range(), u64::MAX),
        range("journal writes", map.journal_writes.range(), u64::MAX),
        range("failures", map.failures.range(), u64::MAX),
        range("failures", map.failures.range(), 1),
        set("ready word of a failure", true, map.failures.start, 1 << 63 | 1),
        set("lengths of a failure's texts", true, map.failures.start + 6, u64::MAX),
        set("panics' head", true, map.panics.start, u64::MAX),
        range("panics", map.panics.range(), u64::MAX),
        cut("to nothing", 0),
        cut("in the header", 100),
        cut("in the directory", header::DIRECTORY.start + 9),
        cut("after the header", 512),
        cut("before its end", map.region_bytes / 8 - 1),
    ];
    damages.push((
        "random words from here on".into(),
        true,
        Box::new(|words| {
            let mut random = 1u64;
            for word in &mut words[512..] {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                *word = random;
            }
        }),
    ));
    damages
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Runs the program with limits of processor time and memory.
fn run(dir: &RegionDir, args: &[OsString]) -> Ran {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -t 20; ulimit -v 1000000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_atomscope")])
        .args(args)
        .env("ATOMSCOPE_DIR", dir.path())
        .stdin(Stdio::null());
    Ran::of(command)
}

/// Runs every command on `path` and checks each result. `readable` says whether the commands must succeed.
fn run_all(dir: &RegionDir, path: &Path, readable: Option<bool>, what: &str) {
    let out = path.with_extension("out");
    let who = path.as_os_str();
    let commands: [&[&str]; 25] = [
        &["show"],
        &["show", "--json"],
        &["actors"],
        &["actors", "--tree"],
        &["actors", "--json"],
        &["actors", "--by", "class"],
        &["actors", "--by", "subtree", "--json"],
        &["actors", "--by", "variant"],
        &["hot", "WHO", "10ms"],
        &["letters"],
        &["stat", "WHO", "10ms", "2"],
        &["stat", "WHO", "10ms", "2", "--json"],
        &["stat", "WHO", "10ms", "2", "--csv"],
        &["tail", "--no-follow", "--since", "100d"],
        &["tail", "--no-follow", "--since", "100d", "--json"],
        &["dump"],
        &["dump", "--redact"],
        &["dump", "--format", "ndjson"],
        &["dump", "--format", "raw", "-o", "OUT"],
        &["dump", "--format", "raw", "--redact", "-o", "OUT"],
        &["cluster", "--sort", "age"],
        &["persistence", "--json"],
        &["metrics", "--sort", "p99"],
        &["doctor"],
        &["doctor", "--json"],
    ];
    for command in commands {
        let mut args: Vec<OsString> = command
            .iter()
            .map(|arg| match *arg {
                "WHO" => who.to_owned(),
                "OUT" => out.as_os_str().to_owned(),
                arg => arg.into(),
            })
            .collect();
        if !command.contains(&"WHO") {
            args.push(who.to_owned());
        }
        let ran = run(dir, &args);
        let context = format!("{what}: {command:?}: {ran:?}");
        assert_harmless(&ran, &context);
        // The exit code of `doctor` says whether there are problems; stdout lists them.
        let is_doctor = command[0] == "doctor";
        match ran.code {
            Some(0) => assert!(is_doctor || readable != Some(false), "{context}"),
            Some(1) => {
                assert!(is_doctor || readable != Some(true), "{context}");
                let output = if is_doctor { &ran.stdout } else { &ran.stderr };
                assert!(output.contains(who.to_str().unwrap()) && output.lines().count() < 50, "{context}");
            }
            _ => panic!("{context}"),
        }
        if ran.code == Some(0) && command.contains(&"OUT") {
            for reading in [["show"], ["actors"]] {
                let ran = run(dir, &[reading[0].into(), out.as_os_str().to_owned()]);
                assert_eq!(ran.code, Some(0), "{context} then {ran:?}");
                assert_harmless(&ran, &context);
            }
            fs::remove_file(&out).unwrap();
        }
    }
}

fn assert_harmless(ran: &Ran, context: &str) {
    for text in [&ran.stdout, &ran.stderr] {
        let unsafe_chars: Vec<char> = text.chars().filter(|c| *c != '\n' && is_unsafe(*c)).collect();
        assert!(unsafe_chars.is_empty(), "{unsafe_chars:?}: {context}");
    }
}

/// Calls `check` with each number below `count`, each on its own thread.
fn each(count: usize, check: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < count => check(number),
                        _ => break,
                    }
                }
            });
        }
    });
}

#[test]
fn every_command_on_every_damaged_region_ends_and_is_harmless() {
    let node = node();
    node.header().set_state(State::Running);
    let (words, map) = (words_of(&node.bytes()), node.map);
    let damages = damages(&map);
    let dir = RegionDir::new();
    each(damages.len(), |number| {
        let (what, readable, damage) = &damages[number];
        let mut words = words.clone();
        damage(&mut words);
        let path = save(&dir, 1, &bytes_of(&words));
        // The region of a live node is mapped; that of a dead node is copied.
        let lock = (number % 2 == 0 && !words.is_empty()).then(|| Locked::new(path.clone()));
        run_all(&dir, &path, Some(*readable), what);
        drop(lock);
    });
    for args in [vec!["ps".into()], vec!["ps".into(), "--json".into()], vec!["doctor".into()]] {
        let ran = run(&dir, &args);
        assert!(args[0] == "doctor" || ran.code == Some(0), "{ran:?}");
        assert_harmless(&ran, "ps");
    }
    let table = run(&dir, &["ps".into()]).stdout;
    for word in ["corrupt", "incompatible"] {
        assert!(table.contains(word), "{table}");
    }
}

#[test]
fn every_command_on_every_damaged_dump_ends_and_is_harmless() {
    let dir = RegionDir::new();
    let region = node().dead(&dir);
    let dump = dir.join("good.raw");
    Ran::of(dir.command(["dump", "--format", "raw", "-o", dump.to_str().unwrap(), region.to_str().unwrap()]))
        .ok();
    let bytes = fs::read(&dump).unwrap();
    let set = |at: usize, value: u64| {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let first = raw::header::HEADER_BYTES as usize;
    let files: Vec<(&str, bool, Vec<u8>)> = vec![
        ("as it is", true, bytes.clone()),
        ("no magic", false, set(0, 0)),
        ("other major version", false, set(8, 2 << 32)),
        ("newer minor version", true, set(8, 1 << 32 | 3)),
        ("header length 0", false, set(16, 0)),
        ("region length huge", false, set(24, u64::MAX)),
        ("taken late", true, set(32, u64::MAX)),
        ("pid huge", true, set(40, u64::MAX)),
        ("verdict 0", false, set(48, 0)),
        ("verdict huge", false, set(48, u64::MAX)),
        ("evidence 9", false, set(56, 9)),
        ("ages huge", true, set(64, u64::MAX - 1)),
        ("flags", true, set(80, u64::MAX)),
        ("no region", false, bytes[..first].to_vec()),
        ("half a header", false, bytes[..200].to_vec()),
        ("eight bytes", false, bytes[..8].to_vec()),
        ("seven bytes", false, bytes[..7].to_vec()),
        ("cut", false, bytes[..bytes.len() - 1].to_vec()),
        ("a region of other magic", false, set(first, 3)),
        ("a region not published", false, set(first, 0)),
        ("a region too long", false, set(first + header::RECORD.start * 8, !7)),
        ("a dump of a dump", false, [&bytes[..first], &bytes].concat()),
    ];
    each(files.len(), |number| {
        let (what, readable, bytes) = &files[number];
        let path = save(&dir, 2, bytes);
        run_all(&dir, &path, Some(*readable), what);
    });
}

/// Reads everything that the library can read of a file.
fn read_file(path: &Path) {
    let region = match Region::open(path, None, MAX_BYTES) {
        Ok(region) => region,
        Err(error) => {
            assert!(error.to_string().contains(path.to_str().unwrap()));
            return;
        }
    };
    let snapshot = Snapshot::take(&region).unwrap();
    let usage = Usage::take(&region, &snapshot).unwrap();
    write_json(&mut Vec::new(), &usage).unwrap();
    let (_, _, dump) = (snapshot.caveats(), snapshot.drift(), RawDump::take(&region).unwrap());
    let mut json = Vec::new();
    write_json(&mut json, &snapshot.into_dump(false)).unwrap();
    serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    dump.redacted(&Redactor::with_key(b"key")).unwrap().write(&mut Vec::new()).unwrap();
}

#[test]
fn the_library_reads_any_word_of_any_region() {
    let node = node();
    let (words, map) = (words_of(&node.bytes()), node.map);
    // The whole header and directory, and the first records of each section.
    let sections = [map.counters, map.metrics, map.names, map.dead_letters, map.clock_samples];
    let mut words_to_damage: Vec<usize> = (0..map.counters.start).collect();
    words_to_damage.extend(sections.iter().flat_map(|section| section.range().take(section.stride.min(32))));
    words_to_damage.extend(map.events.range().step_by(32));
    words_to_damage.extend(map.events.range().step_by(32).map(|slot| slot + 6));
    // Control words, kinds and lengths of the actors.
    for slot in map.actors.range().step_by(map.actors.stride).take(4) {
        words_to_damage.extend([slot, slot + 1, slot + 4, slot + 5]);
    }
    words_to_damage.extend(map.instances.range().step_by(map.instances.stride).take(4));
    let dir = RegionDir::new();
    each(4, |thread| {
        let path = dir.join(format!("any-{thread}"));
        let mut words = words.clone();
        for at in words_to_damage.iter().skip(thread).step_by(4) {
            let held = words[*at];
            let edges = [u64::MAX, 1, 0, held.wrapping_add(1), held ^ 1 << 63];
            // Fewer values are tried where the word is 0.
            for value in edges.into_iter().take(if held == 0 { 2 } else { 5 }) {
                words[*at] = value;
                fixture::write(&path, &bytes_of(&words));
                read_file(&path);
            }
            words[*at] = held;
        }
    });
}

/// The same as in `layout/tests/hostile.rs`, for the fuzz target of this crate.
#[test]
fn the_kept_headers_of_dumps_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    if std::env::var_os("ATOMSCOPE_WRITE_CORPUS").is_some() {
        fs::create_dir_all(&corpus).unwrap();
        let dir = RegionDir::new();
        let mut dump = Vec::new();
        let region = Region::open(&node().dead(&dir), None, MAX_BYTES).unwrap();
        RawDump::take(&region).unwrap().write(&mut dump).unwrap();
        let seed = [&(dump.len() as u64).to_le_bytes(), &dump[..96]].concat();
        fs::write(corpus.join("seed-00"), seed).unwrap();
    }
    let mut kept = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let input = fs::read(entry.unwrap().path()).unwrap();
        let Some((length, start)) = input.split_first_chunk() else { continue };
        if let Some(Err(error)) = raw::header::read_header(start, u64::from_le_bytes(*length)) {
            assert!(!error.to_string().is_empty());
        }
        kept += 1;
    }
    assert!(kept > 0);
}
