//! `tail`: events in order, with an exact count of missed ones.

use atomscope_layout::dto::DeadLetterRecord;
use atomscope_layout::event::{Level, OwnEvent, TelemetryEvent, Values};
use atomscope_layout::region::State;
use serde_json::{Value, json};

use crate::fixture::{Blocked, Node, Ran, RegionDir, Running};

fn letter(seq: u64) -> TelemetryEvent {
    TelemetryEvent::DeadLetter(DeadLetterRecord {
        seq,
        recipient: "akka://S/user/gone".into(),
        sender: None,
        message_type: "Order".into(),
        message_preview: "Order(1)".into(),
        timestamp: "t".into(),
    })
}

/// The path of each line of `tail --json`, or its kind where it has no path.
fn paths_or_kinds(ran: Ran) -> Vec<String> {
    let shorten = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["path"].as_str().or(line["kind"].as_str()).unwrap().to_owned()
    };
    ran.ok().lines().map(shorten).collect()
}

#[test]
fn lanes_are_merged_into_one_order_and_the_newest_come_first() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    for at in 0..12 {
        node.stop_event(1 + at % 2, at as u64, &at.to_string());
    }
    let _lock = node.live(&dir);
    let all: Vec<_> = (0..12).map(|at: u64| at.to_string()).collect();
    let tail = |args: &[&str]| paths_or_kinds(dir.run([&["tail", "--no-follow", "--json"], args].concat()));
    assert_eq!(tail(&[]), all[2..]);
    assert_eq!(tail(&["-n", "3"]), all[9..]);
    assert_eq!(tail(&["-n", "0"]), [""; 0]);
    assert_eq!(tail(&["-n", "1000"]), all);
    assert_eq!(tail(&["--since", "2020-09-13T12:26:48Z"]), all[8..]);
    assert_eq!(tail(&["--since", "2020-09-13T12:26:48Z", "-n", "1"]), all[11..]);
    assert_eq!(tail(&["--since", "1h"]), [""; 0]);
}

#[test]
fn text_says_what_happened_when_and_to_whom() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.stop_event(1, 1, "akka://S/user/a\u{1b}[2J");
    node.event(1, 2, &letter(1));
    let _lock = node.live(&dir);
    let stdout = dir.run(["tail", "--no-follow"]).ok();
    assert_eq!(
        stdout,
        "2020-09-13T12:26:41.000000Z stopped     akka://S/user/a\\u{1b}[2J\n\
         2020-09-13T12:26:42.000000Z dead letter Order to akka://S/user/gone: Order(1)\n"
    );
}

#[test]
fn json_holds_the_fields_of_atomr_telemetry_and_where_it_comes_from() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.event(2, 7, &letter(1));
    let _lock = node.live(&dir);
    assert_eq!(
        dir.run(["tail", "--no-follow", "--json"]).json(),
        json!({
            "kind": "dead_letter", "seq": 1, "recipient": "akka://S/user/gone", "sender": null,
            "message_type": "Order", "message_preview": "Order(1)", "timestamp": "t",
            "topic": "dead_letters", "at": "2020-09-13T12:26:47.000000000Z", "stamp": 7_000_000_000_u64,
            "lane": 2, "node": "n", "pid": std::process::id(),
        })
    );
}

#[test]
fn events_of_a_node_that_died_while_it_wrote_its_clock_have_no_time() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.stop_event(1, 7, "/a");
    // The sampler died in the middle of the change, and no earlier time is complete.
    node.set(node.map.clock_samples.start, 5);
    node.dead(&dir);
    let line = dir.run(["tail", "--since", "1h", "--json", "--no-follow"]).ok();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["path"], &line["at"], &line["stamp"]),
        (&json!("/a"), &Value::Null, &json!(7_000_000_000_u64))
    );
    assert_eq!(dir.run(["tail"]).ok(), "- stopped     /a\n");
}

#[test]
fn only_topics_that_are_asked_for_are_told() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.stop_event(1, 1, "a");
    node.event(1, 2, &letter(1));
    node.event(1, 3, &TelemetryEvent::DDataUpdated { key: "k".into() });
    let _lock = node.live(&dir);
    let tail = |args: &[&str]| paths_or_kinds(dir.run([&["tail", "--no-follow", "--json"], args].concat()));
    assert_eq!(tail(&["--topic", "actors"]), ["a"]);
    assert_eq!(tail(&["--topic", "ddata", "--topic", "actors"]), ["a", "d_data_updated"]);
    assert_eq!(tail(&["--topic", "dead_letters", "-n", "1"]), ["dead_letter"]);
}

/// An application may name any other topic, also later.
#[test]
fn a_topic_that_no_node_has_named_so_far_is_noted_and_no_other() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    let order = OwnEvent {
        topic: "orders".into(),
        level: Level::Info,
        text: "order 7".into(),
        record: None,
        values: Values::default(),
    };
    node.event(1, 1, &TelemetryEvent::Own(order));
    node.names().intern_static("registered");
    let _lock = node.live(&dir);
    let _other = Node::new("m").live(&dir);
    let tail = |who: &[&str], topic| dir.run([&["tail", "--no-follow", "--topic", topic], who].concat());
    for topic in ["orders", "registered", "dead_letters"] {
        let ran = tail(&["n"], topic);
        assert!(ran.stderr.is_empty(), "{topic}: {}", ran.stderr);
    }
    let other = tail(&["n", "m"], "weather");
    assert!(other.stderr.contains("no topic weather is known so far"), "{}", other.stderr);
    assert!(other.stderr.contains("dead_letters"), "{}", other.stderr);
    assert_eq!(other.ok(), "");
    assert!(tail(&["m"], "orders").stderr.contains("no topic orders is known so far"));
    assert!(!tail(&["m", "n"], "orders").stderr.contains("orders"));
}

#[test]
fn what_is_written_while_it_follows_is_told_and_a_loss_is_told_exactly() {
    let dir = RegionDir::new();
    let (node, lock) = Node::new("n").shared(&dir);
    node.stop_event(1, 1, "before");
    let mut running = Running::new(dir.command(["tail", "--json"]));
    assert_eq!(running.json()["path"], "before");
    node.stop_event(2, 2, "while");
    assert_eq!(running.json()["path"], "while");
    // While the program is stopped, more events come than the lane keeps.
    running.signal("-STOP");
    for at in 0..50 {
        node.stop_event(1, 10 + at, &at.to_string());
    }
    running.signal("-CONT");
    // The program may have been stopped during a scan, and then shows the first few events.
    let mut next = 0;
    let mut lost = 0;
    while next < 50 {
        let line = running.json();
        if line["kind"] == "lost" {
            assert_eq!((&line["lane"], &line["node"]), (&json!(1), &json!("n")));
            assert_eq!((&line["lost"], &line["abandoned"]), (&line["lapped"], &json!(0)));
            let after = if next == 0 { 1 } else { 10 + next - 1 };
            let first_after = 10 + next + line["lost"].as_u64().unwrap();
            let time = |at: u64| {
                json!(format!("2020-09-13T12:{:02}:{:02}.000000000Z", 26 + (40 + at) / 60, (40 + at) % 60))
            };
            assert_eq!((&line["after"], &line["before"]), (&time(after), &time(first_after)));
            lost += line["lost"].as_u64().unwrap();
            next += line["lost"].as_u64().unwrap();
        } else {
            assert_eq!(line["path"], next.to_string());
            next += 1;
        }
    }
    assert!(lost >= 50 - 16 - 16, "{lost}");
    drop((node, lock));
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn a_loss_is_a_line_of_text_too() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    for at in 0..20 {
        node.stop_event(1, at, &at.to_string());
    }
    let _lock = node.live(&dir);
    let stdout = dir.run(["tail", "--no-follow", "--since", "2020-09-13T12:26:40Z"]).ok();
    let first = stdout.lines().next().unwrap();
    assert_eq!(first, "-- 4 events of lane 1 lost: 4 overwritten; before 2020-09-13T12:26:44.000000000Z");
    assert_eq!(stdout.lines().count(), 17);
    // None of the newest ten is lost.
    assert_eq!(dir.run(["tail", "--no-follow"]).ok().lines().count(), 10);
}

#[test]
fn the_end_of_the_node_is_told_after_its_last_event() {
    let dir = RegionDir::new();
    let (node, lock) = Node::new("n").shared(&dir);
    let mut running = Running::new(dir.command(["tail", "--json"]));
    node.stop_event(1, 1, "first");
    assert_eq!(running.json()["path"], "first");
    node.stop_event(1, 2, "last");
    node.header().set_state(State::Closed);
    drop(lock);
    assert_eq!(running.json()["path"], "last");
    assert_eq!(
        running.json(),
        json!({"kind": "ended", "node": "n", "pid": std::process::id(), "state": "closed", "why": "its process still runs"})
    );
    let ran = running.end();
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("has ended: closed"), "{ran:?}");
}

#[test]
fn a_dead_node_is_told_to_its_end_at_once() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.stop_event(1, 1, "a");
    node.dead(&dir);
    let ran = dir.run(["tail"]);
    assert!(ran.stderr.contains("has ended: crashed: no last words"), "{ran:?}");
    assert!(ran.ok().contains("stopped     a"));
}

#[test]
fn with_retry_it_goes_on_with_the_next_node_of_that_name() {
    let dir = RegionDir::new();
    let mut running = Running::new(dir.command(["tail", "n", "--retry", "--json"]));
    let (node, lock) = Node::new("n").shared(&dir);
    node.stop_event(1, 1, "a");
    assert_eq!(running.json()["path"], "a");
    drop((node, lock));
    assert_eq!(running.json()["kind"], "ended");
    let (other, _other_lock) = Node::new("other").shared(&dir);
    other.stop_event(1, 1, "not this");
    let (next, _lock) = Node::with("n", |record| record.created_unix_ns += 1).shared(&dir);
    // No event of the successor is missed, however late `tail` finds it.
    next.stop_event(1, 2, "b");
    assert_eq!(running.json()["path"], "b");
    running.signal("-INT");
    let ran = running.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("waiting for it") && ran.stderr.contains("waiting for its successor"),
        "{ran:?}"
    );
}

#[test]
fn several_nodes_are_told_apart() {
    let dir = RegionDir::new();
    let nodes = ["shop", "depot"].map(Node::new);
    nodes[0].stop_event(1, 1, "a");
    nodes[1].stop_event(1, 2, "b");
    nodes[0].stop_event(1, 3, "c");
    let _locks = nodes.map(|node| node.live(&dir));
    let stdout = dir.run(["tail", "shop", "depot", "--no-follow"]).ok();
    let pid = std::process::id();
    let lines: Vec<_> = stdout.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    let of = |node: &str, path: &str| format!("{node} ({pid}) stopped     {path}");
    assert_eq!(lines, [of("shop", "a"), of("depot", "b"), of("shop", "c")]);
    assert!(dir.run(["tail", "shop", "nobody"]).failed(1).contains("there is no node nobody"));
}

#[test]
fn an_interrupt_and_a_reader_that_has_seen_enough_end_it_well() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.stop_event(1, 1, "a");
    let _lock = node.live(&dir);
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::new(dir.command(["tail"]));
        assert!(running.line().ends_with("stopped     a"));
        running.signal(signal);
        let ran = running.end();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    }
    let mut running = Running::new(dir.command(["tail"]));
    running.line();
    let ran = running.hang_up();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

/// Regression: `tail` changed to an older node of the same name, which another argument followed already.
#[test]
fn with_retry_it_waits_for_a_successor_and_not_for_a_sibling() {
    let dir = RegionDir::new();
    let (first, first_lock) =
        Node::with("n", |record| (record.pid, record.created_unix_ns) = (5_000_011, 20)).shared(&dir);
    let (sibling, _sibling_lock) =
        Node::with("n", |record| (record.pid, record.created_unix_ns) = (5_000_012, 10)).shared(&dir);
    let [one, two] = [&first_lock, &_sibling_lock].map(|lock| lock.path.to_str().unwrap().to_owned());
    let mut running = Running::new(dir.command(["tail", &one, &two, "--retry", "--json"]));
    first.stop_event(1, 1, "before");
    assert_eq!(running.json()["path"], "before");
    drop(first_lock);
    assert_eq!(running.json()["kind"], "ended");
    let (next, _lock) =
        Node::with("n", |record| (record.pid, record.created_unix_ns) = (5_000_013, 30)).shared(&dir);
    next.stop_event(1, 2, "of the successor");
    assert_eq!(running.json()["path"], "of the successor");
    sibling.stop_event(1, 3, "of the sibling");
    assert_eq!(running.json()["path"], "of the sibling", "shown once, by the argument that follows it");
    sibling.stop_event(1, 4, "more");
    assert_eq!(running.json()["path"], "more", "shown once, by the argument that follows it");
    running.signal("-INT");
    assert_eq!(running.end().code, Some(0));
}

/// Whether SIGHUP is ignored here, as under `nohup`, and so in the programs that a test starts.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 != 0
}

/// Regression: only a second signal ended the program, by killing it.
#[test]
fn one_signal_ends_it_in_good_order_while_nobody_reads_what_it_writes() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.stop_event(1, 1, "a");
    let _lock = node.live(&dir);
    for signal in ["-TERM", "-INT", "-HUP"] {
        if signal == "-HUP" && ignores_hangups() {
            continue;
        }
        let blocked = Blocked::new(dir.command(["tail", "n"]), |command, pipe| _ = command.stdout(pipe));
        assert_eq!(blocked.end_by(signal).code(), Some(0), "{signal}");
    }
    // A blocked stderr does not delay the end either.
    let blocked =
        Blocked::new(dir.command(["tail", "nobody", "--retry"]), |command, pipe| _ = command.stderr(pipe));
    assert_eq!(blocked.end_by("-TERM").code(), Some(0));
}
