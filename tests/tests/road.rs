//! Events and raw dumps of real nodes: followed until after their death, copied under load, read later.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use atomscope_tests::support::{self, Node};
use serde_json::Value;

/// `atomscope tail`, killed when this is dropped.
struct Tail(Child, BufReader<std::process::ChildStdout>);

impl Tail {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(support::program("atomscope"));
        command.arg("tail").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }

    /// The next line for which `wanted` returns true.
    fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "tail ended too early");
            let value: Value = serde_json::from_str(&line).unwrap();
            if wanted(&value) {
                return value;
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn tail_follows_a_node_past_its_death_to_its_successor() {
    let mut node = Node::demo(["--node", "road-retry", "--rate", "400"]);
    let mut tail = Tail::start(&["road-retry", "--json", "--retry"]);
    let of = |pid: u32, kind: &'static str| move |line: &Value| line["pid"] == pid && line["kind"] == kind;
    tail.line(of(node.pid(), "actor_spawned"));
    tail.line(of(node.pid(), "dead_letter"));
    node.kill();
    let ended = tail.line(of(node.pid(), "ended"));
    assert_eq!(ended["state"], "crashed");
    let successor = Node::demo(["--node", "road-retry", "--rate", "400"]);
    tail.line(of(successor.pid(), "actor_spawned"));
}

#[test]
fn tail_without_retry_ends_with_the_node_and_that_is_no_failure() {
    let mut node = Node::demo(["--node", "road-end", "--rate", "400"]);
    let mut tail = Tail::start(&[&node.who(), "--json", "--topic", "actors"]);
    tail.line(|line| line["kind"] == "actor_stopped");
    node.signal("TERM");
    node.wait();
    tail.line(|line| line["kind"] == "ended" && line["state"] == "closed");
    assert!(tail.0.wait().unwrap().success());
}

#[test]
fn a_raw_dump_taken_under_load_reads_the_same_ever_after() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.raw");
    let copy = file.to_str().unwrap();
    let mut node = Node::demo(["--node", "road-raw", "--rate", "0"]);
    let total = |dump: &Value| dump["atomscope"]["totals"]["stopped"].as_u64().unwrap();
    support::wait_until("it works at full speed", || {
        total(&support::atomscope_json(["dump", &node.who()])) > 2_000
    });
    let output = support::atomscope(["dump", &node.who(), "--format", "raw", "-o", copy]);
    assert!(output.status.success(), "{output:?}");
    let read = || {
        let mut dump = support::atomscope_json(["dump", copy]);
        // The time of writing the JSON, not of taking the dump.
        dump["generated_at"].take();
        let more = [
            vec!["actors", copy, "--json"],
            vec!["show", copy, "--json"],
            vec!["tail", copy, "--no-follow", "--json", "-n", "100000"],
            vec!["stat", copy, "--json", "10ms", "1"],
        ];
        let more = more.map(|arguments| {
            let output = support::atomscope(&arguments);
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            assert!(!output.stdout.is_empty(), "{arguments:?} printed nothing");
            String::from_utf8(output.stdout).unwrap()
        });
        (dump, more)
    };
    let first = read();
    assert_eq!(first.0["node"], "road-raw");
    assert!(total(&first.0) > 2_000 && !first.0["actors"]["flat"].as_array().unwrap().is_empty());
    // Later: the node and its region are gone.
    node.kill();
    drop(node);
    assert_eq!(read(), first);
}

#[test]
fn a_redacted_dump_of_a_node_leaks_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::demo(["--node", "road-redacted", "--rate", "500"]);
    let letters = || support::atomscope_json(["dump", &node.who()])["dead_letters"].as_array().unwrap().len();
    support::wait_until("there are dead letters", || letters() > 3);
    for format in ["json", "ndjson", "raw"] {
        let file = folder.path().join(format!("redacted.{format}"));
        let arguments = ["dump", &node.who(), "--redact", "--format", format, "-o", file.to_str().unwrap()];
        let written = support::atomscope(arguments);
        assert!(written.status.success(), "{format}: {written:?}");
        let bytes = std::fs::read(&file).unwrap();
        for name in [
            "road-redacted",
            "shop",
            "order",
            "payments",
            "Warehouse",
            "reservation",
            "workload",
            "demo-node",
        ] {
            let leaked = bytes.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name.as_bytes()));
            assert!(!leaked, "{format}: `{name}` is in the redacted dump");
        }
    }
    let raw = folder.path().join("redacted.raw");
    let dump = support::atomscope_json(["dump".as_ref(), raw.as_os_str()]);
    assert!(dump["actors"]["flat"].as_array().unwrap().len() > 5);
    assert!(!dump["dead_letters"].as_array().unwrap().is_empty());
}

/// Counters that are zero in a healthy node with enough capacity.
const WELL: [&str; 29] = [
    "actors.doubtful_stops",
    "actors.early_stops",
    "actors.early_stops_done",
    "actors.foreign",
    "actors.replaced",
    "actors.spilled",
    "actors.spilled_stopped",
    "actors.untracked_matched",
    "actors.untracked_spawns",
    "actors.untracked_stops",
    "actors.updates_missed",
    "clock.unlisted",
    "dead_letters.abandoned",
    "documents.rows_dropped",
    "events.abandoned",
    "events.stops_unpublished",
    "failures.errors",
    "failures.panics",
    "failures.missed",
    "failures.panics_abandoned",
    "failures.warnings",
    "names.full",
    "persistence.snapshot_failures",
    "persistence.writes_abandoned",
    "poll.panicked",
    "runtime.long_polls",
    "runtime.polls",
    "runtime.queue",
    "texts.cut",
];

#[test]
fn the_demo_node_has_every_number_that_can_be_other_than_zero() {
    let node = Node::demo(["--node", "road-everything"]);
    let (mut seen, mut domains) = (BTreeSet::new(), BTreeSet::new());
    let (mut members, mut hand_offs) = (0, 0);
    let mut last = Vec::new();
    // A number may differ from zero for a moment.
    support::wait_until("every number differed from zero", || {
        let dump = support::atomscope_json(["dump", &node.who()]);
        let about = &dump["atomscope"];
        let zero = |metric: &&Value| {
            let name = metric["name"].as_str().unwrap();
            let expected = WELL.contains(&name) || name.contains("unlisted");
            if metric["value"].as_u64() > Some(0) {
                seen.insert(name.to_owned());
            }
            !expected && !seen.contains(name)
        };
        last = about["metrics"].as_array().unwrap().iter().filter(zero).map(|m| m["name"].clone()).collect();
        domains.extend(about["instances"].as_object().unwrap().keys().cloned());
        members = members.max(dump["cluster"]["members"].as_array().unwrap().len());
        hand_offs = hand_offs.max(about["hand_offs"].as_array().unwrap().len());
        last.is_empty() && domains.len() == 10 && members == 3 && hand_offs > 0
    });
    assert!(last.is_empty(), "{last:?}");
}
