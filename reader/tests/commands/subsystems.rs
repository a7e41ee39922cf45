//! `cluster`, `sharding` and the other commands that list one subsystem.

use std::path::Path;

use atomscope_layout::instances::{Domain, InstanceRecord, association, key};
use atomscope_layout::metrics::Builtin;
use serde_json::{Value, json};

use crate::fixture::nodes::words;
use crate::fixture::{Node, RegionDir, SECOND};

const PARTS: [&str; 8] =
    ["cluster", "sharding", "persistence", "remote", "streams", "ddata", "leases", "runtime"];

fn full() -> Node {
    let node = Node::roomy("shop");
    node.fill();
    node
}

/// Whether some line of `stdout` consists of these words.
#[track_caller]
fn has_row(stdout: &str, row: &str) {
    let row: Vec<_> = row.split_whitespace().collect();
    assert!(words(stdout).contains(&row), "{row:?}\n{stdout}");
}

#[test]
fn every_subsystem_is_listed_with_units_and_dashes() {
    let dir = RegionDir::new();
    let node = full();
    node.count(Builtin::PersistenceEvents, 3);
    let _lock = node.live(&dir);
    let expected: [(&str, &[&str]); 8] = [
        (
            "cluster",
            &["2 members, 1 up, 1 unreachable, leader b", "b Down no -1 leader", "UNREACHABLE", "a 3"],
        ),
        ("sharding", &["ALLOCATED REGION", "s r q done", "r 2 s"]),
        ("persistence", &["JOURNAL PERSISTENCE_ID SEQUENCE_NR", "persistence.events 3 events"]),
        ("remote", &["remote.errors 0 errors"]),
        ("streams", &["STREAM ID ELEMENTS AGE(s)"]),
        ("ddata", &["KEY UPDATES SUBSCRIBERS AGE(s)"]),
        ("leases", &["0 of 1 held here, 0 times denied, 0 times lost"]),
        ("runtime", &["1 worker, 0 tasks, 0 in the common queue"]),
    ];
    for (part, rows) in expected {
        let stdout = dir.run([part]).ok();
        for row in rows {
            let is_there = words(&stdout).iter().any(|line| line.join(" ").contains(row));
            assert!(is_there, "{part}: {row}\n{stdout}");
        }
        assert!(!stdout.contains('\u{1b}'), "{stdout:?}");
    }
    let remote = dir.run(["remote"]).ok();
    for text in ["INBOUND(KiB)", "OUTBOUND(messages)", "akka.tcp://there@höst:1", "up", "yes", "no"] {
        assert!(remote.contains(text), "{text}\n{remote}");
    }
    assert!(dir.run(["persistence"]).ok().contains("WRITE_P99(ms)"));
}

#[test]
fn what_nothing_counts_is_a_dash_and_null() {
    let dir = RegionDir::new();
    let node = Node::roomy("shop");
    node.instance(Domain::Key, "k", &[(key::SUBSCRIBERS, 2)]);
    node.instance(Domain::Association, "a", &[(association::BYTES_IN, 1024)]);
    node.attached(&[]);
    let _lock = node.live(&dir);
    let ddata = dir.run(["ddata"]).ok();
    assert!(ddata.starts_with("1 key, - updates, 2 subscribers\n"), "{ddata}");
    has_row(&ddata, "ddata.updates - updates");
    assert!(words(&ddata).iter().any(|row| row.starts_with(&["k", "-", "2"])), "{ddata}");
    let remote = dir.run(["remote"]).ok();
    assert!(
        remote.starts_with("1 association (1 in no known state), 1.0 KiB in, - out, - errors\n"),
        "{remote}"
    );
    let listing = dir.run(["ddata", "--json"]).json();
    assert_eq!(listing["summary"], json!({"keys": 1, "updates": null, "subscribers": 2}));
    assert_eq!(
        (&listing["keys"][0]["updates"], &listing["keys"][0]["subscribers"]),
        (&Value::Null, &json!(2))
    );
    // An unknown value is no number: no condition matches it, and a sort puts it last.
    assert_eq!(dir.run(["ddata", "--json", "--filter", "updates >= 0"]).json()["keys"], json!([]));
    let dump = dir.run(["dump"]).json();
    assert_eq!(dump["ddata"]["total_updates"], 0);
    assert_eq!(dump["remote"]["associations"][0]["outbound_bytes"], 0);
    for dump in [dir.run(["dump", "--redact"]).json(), dump] {
        let metrics = dump["atomscope"]["metrics"].as_array().unwrap();
        let value = |metric: Builtin| &metrics[metric as usize]["value"];
        assert_eq!((value(Builtin::DDataUpdates), value(Builtin::KeysUnlisted)), (&Value::Null, &json!(0)));
        assert_eq!(dump["atomscope"]["instances"]["associations"][0]["outbound_bytes"], Value::Null);
    }
    let ndjson = dir.run(["dump", "--format", "ndjson"]).ok();
    let lines = ndjson.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let updates: Vec<_> = lines.filter(|line| line["name"] == "ddata.updates").collect();
    assert_eq!((updates.len(), &updates[0]["value"]), (1, &Value::Null));
    let raw = dir.join("shop.raw");
    dir.run(["dump", "--format", "raw", "--redact", "-o", raw.to_str().unwrap()]).ok();
    assert!(dir.run(["ddata", raw.to_str().unwrap()]).ok().starts_with("1 key, - updates"));
}

#[test]
fn json_has_the_fields_of_the_dump() {
    let dir = RegionDir::new();
    let _lock = full().live(&dir);
    let dump = dir.run(["dump"]).json();
    for part in PARTS {
        let listing = dir.run([part, "--json"]).json();
        assert_eq!(listing["node"], "shop");
        assert!(listing["summary"].is_object(), "{listing}");
        for (domain, entries) in dump["atomscope"]["instances"].as_object().unwrap() {
            let Some(listed) = listing.get(domain) else { continue };
            for (entry, listed) in entries.as_array().unwrap().iter().zip(listed.as_array().unwrap()) {
                for (field, value) in entry.as_object().unwrap() {
                    assert!(
                        field == "latency_histogram" || listed[field] == *value,
                        "{part} {domain} {field}: {listed}"
                    );
                }
            }
        }
    }
    let cluster = dir.run(["cluster", "--json"]).json();
    assert_eq!(cluster["members"][0]["address"], dump["cluster"]["members"][0]["address"]);
    assert_eq!(cluster["members"][0]["is"], json!(["self"]));
    assert_eq!(cluster["rows_dropped"], 2);
    let sharding = dir.run(["sharding", "--json"]).json();
    assert_eq!(sharding["hand_offs"], json!([{"shard": "s", "from": "r", "to": "q", "state": "done"}]));
    let persistence = dir.run(["persistence", "--json"]).json();
    assert_eq!(persistence["recent_writes"].as_array().unwrap().len(), 3);
    assert_eq!(persistence["journals"][0]["write_greatest_ns"], u64::MAX);
}

#[test]
fn a_list_is_sorted_filtered_and_cut_as_actors_are() {
    let dir = RegionDir::new();
    let node = Node::roomy("n");
    for (name, updates) in [("a", 2), ("cart-1", 9), ("cart-2", 4)] {
        node.instance(Domain::Key, name, &[(key::UPDATES, updates)]);
    }
    let _lock = node.live(&dir);
    let names = |args: &[&str]| -> Vec<String> {
        let listing = dir.run([&["ddata", "--json"], args].concat()).json();
        let keys = listing["keys"].as_array().unwrap();
        keys.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["a", "cart-1", "cart-2"]);
    assert_eq!(names(&["--sort", "updates"]), ["cart-1", "cart-2", "a"]);
    assert_eq!(names(&["--sort", "updates", "--reverse", "--limit", "1"]), ["a"]);
    assert_eq!(names(&["--sort", "name", "--reverse"]), ["cart-2", "cart-1", "a"]);
    assert_eq!(names(&["--filter", "cart"]), ["cart-1", "cart-2"]);
    assert_eq!(names(&["--filter", "!cart"]), ["a"]);
    assert_eq!(names(&["--filter", "updates >= 1 and name ~ ^cart"]), ["cart-1", "cart-2"]);
    // Each of these filters fits one of several lists, but no list has the fields of both `shards` and `to`.
    for fits in ["shards ~ x", "shards >= 0", "entities > 100", "to = b"] {
        dir.run(["sharding", "--filter", fits]).ok();
    }
    let stderr = dir.run(["sharding", "--filter", "shards >= 0 and to = b"]).failed(2);
    assert!(stderr.contains("there is no field to"), "{stderr}");
    let stderr = dir.run(["ddata", "--filter", "bytes > 1"]).failed(2);
    assert!(stderr.contains("--filter: ") && stderr.contains("updates"), "{stderr}");
    let ran = dir.run(["ddata", "--limit", "1"]);
    assert!(ran.stderr.contains("2 more rows of keys; show them with a larger --limit"), "{ran:?}");
    assert!(dir.run(["ddata", "--sort", "bytes"]).failed(2).contains("possible values: name, age, updates"));
}

#[test]
fn rows_that_are_all_alike_are_an_array_in_json() {
    let dir = RegionDir::new();
    let _lock = full().live(&dir);
    for command in ["ps", "actors", "metrics", "prune", "doctor"] {
        let rows = dir.run([command, "--json"]).json();
        assert!(rows.is_array(), "{command}: {rows}");
    }
    let rows = dir.run(["metrics", "--all", "--json", "--filter", "name = runtime.queue"]).json();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["kind"]), (1, &json!("gauge")));
    for part in PARTS {
        assert!(dir.run([part, "--json"]).json().is_object(), "{part}");
    }
}

#[test]
fn what_is_no_filter_is_refused_with_the_help_that_says_what_is() {
    let dir = RegionDir::new();
    let _lock = full().live(&dir);
    for part in PARTS.into_iter().chain(["actors", "metrics"]) {
        let stderr = dir.run([part, "--filter", "no_such > 1"]).failed(2);
        let help = format!("`atomscope {part} --help`");
        assert!(stderr.contains(&help), "{part}: {stderr}");
        assert!(dir.run([part, "--help"]).ok().contains("Filters:\n"), "{part}");
    }
}

#[test]
fn what_was_left_out_and_what_is_unreadable_is_said_below() {
    let dir = RegionDir::new();
    let node = full();
    node.count(Builtin::ShardsUnlisted, 5);
    let (slot, domain) = (node.map.instances, std::mem::offset_of!(InstanceRecord, domain) / 8);
    (0..slot.count).for_each(|at| node.set(slot.start + at * slot.stride + domain, 0xffff));
    let _lock = node.live(&dir);
    let ran = dir.run(["sharding"]);
    for text in [
        "5 times no slot was free for more shards: a region with more `instances` lists them",
        "2 rows of the cluster's state or of the shards' allocation were dropped",
        "11 records of subsystems are unreadable",
    ] {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
    let told = dir.run(["sharding", "--json"]).json();
    assert_eq!((&told["instances_unreadable"], &told["shards"]), (&json!(11), &json!([])));
    let shown = dir.run(["show"]).ok();
    assert!(shown.contains("Dropped: 5 records of journals, shards and the like"), "{shown}");
}

#[test]
fn a_node_without_a_subsystem_says_so_in_a_line() {
    let dir = RegionDir::new();
    let _lock = Node::new("n").live(&dir);
    for part in PARTS {
        let ran = dir.run([part]);
        let stdout = ran.ok();
        assert!(
            stdout.starts_with("node n reports nothing about ") && stdout.lines().count() == 1,
            "{stdout}"
        );
        let listing = dir.run([part, "--json"]).json();
        assert_eq!(listing["summary"], Value::Null);
    }
    let shown = dir.run(["show"]).ok();
    assert!(!shown.contains("Cluster:") && !shown.contains("Runtime:"), "{shown}");
    let shown = dir.run(["show", "--json"]).json();
    // That there was no failure is known, and worth saying.
    assert_eq!(shown["subsystems"].as_object().unwrap().keys().collect::<Vec<_>>(), ["failures"]);
}

#[test]
fn recorded_regions_dead_ones_and_dumps_are_listed_too() {
    let dir = RegionDir::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for part in PARTS {
        let stdout = dir.run([part.as_ref(), golden.join("2.0/typical.raw").as_os_str()]).ok();
        assert!(stdout.contains("AGE(s)"), "{part}: {stdout}");
    }
    let path = full().dead(&dir);
    let raw = dir.join("n.raw");
    let dump = ["dump".as_ref(), "--format".as_ref(), "raw".as_ref(), "-o".as_ref(), raw.as_os_str()];
    dir.run(dump).ok();
    for part in PARTS {
        let of = |path: &Path| {
            let ran = dir.run([part.as_ref(), path.as_os_str()]);
            (ran.stderr.contains("dead") || ran.stderr.contains("crashed"), ran.ok())
        };
        let ((dead, listed), (dumped, of_dump)) = (of(&path), of(&raw));
        assert!(dead && dumped, "{part}");
        // The ages differ, because a dump keeps them as they were.
        let first = |text: &str| {
            words(text).iter().map(|row| row.first().map(|&word| word.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(first(&listed), first(&of_dump), "{part}");
    }
}

#[test]
fn hostile_names_are_written_out() {
    const HOSTILE: &str = "\u{1b}]0;t\u{7}\u{202e}\u{9b}2J\nend";
    let dir = RegionDir::new();
    let node = Node::roomy("n");
    for domain in Domain::ALL {
        node.instance(*domain, HOSTILE, &[(association::STATE, u64::MAX)]);
    }
    let _lock = node.live(&dir);
    for part in PARTS {
        for args in [&[part][..], &[part, "--json"]] {
            let ran = dir.run(args);
            let is_harmless = |text: &str| !text.chars().any(|c| c != '\n' && atomscope::text::is_unsafe(c));
            assert!(is_harmless(&ran.stderr) && is_harmless(&ran.stdout), "{ran:?}");
            let stdout = ran.ok();
            assert!(part == "cluster" || stdout.contains("202e"), "{part}: {stdout}");
        }
    }
}

#[test]
fn show_has_a_line_of_each_that_is_in_use() {
    let dir = RegionDir::new();
    let node = full();
    node.count(Builtin::StreamsStarted, 2);
    node.count(Builtin::StreamsFailed, 1);
    let _lock = node.live(&dir);
    let shown = dir.run(["show"]).ok();
    for line in [
        "      Cluster: 2 members, 1 up, 1 unreachable, leader b\n",
        "     Sharding: 1 region, 2 shards, 1 allocated shard, 1 hand-off, 0 messages\n",
        "      Streams: 2 running, 2 started so far, 1 failed, 0 elements\n",
        "       Leases: 0 of 1 held here, 0 times denied, 0 times lost\n",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let json = dir.run(["show", "--json"]).json();
    assert_eq!(json["subsystems"]["cluster"]["leader"], "b");
    assert_eq!(json["subsystems"]["streams"]["failed"], 1);
}

/// Regression: seven values were shown as 7 ms, because the unit is that of the measured values.
#[test]
fn how_many_values_a_histogram_has_is_not_told_in_their_unit() {
    let dir = RegionDir::new();
    let _lock = full().live(&dir);
    let shown = dir.run(["metrics", "--filter", "j.latency"]).ok();
    assert!(shown.contains("j.latency  7 values  "), "{shown}");
    let row = &dir.run(["metrics", "--filter", "j.latency", "--json"]).json()[0];
    assert_eq!(row["value"], json!(7));
}

#[test]
fn ndjson_has_a_line_of_each_instance_and_write_and_the_numbers_of_histograms() {
    let dir = RegionDir::new();
    let _lock = full().live(&dir);
    let stdout = dir.run(["dump", "--format", "ndjson"]).ok();
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("instance").len(), of("journal_write").len()), (11, 3));
    assert_eq!((of("cluster").len(), of("sharding").len()), (1, 1));
    assert_eq!(of("sharding")[0]["hand_offs"][0][3], "done");
    let journal = of("instance").into_iter().find(|line| line["domain"] == "journals").unwrap();
    assert_eq!((&journal["name"], &journal["events"]), (&json!("j"), &json!(3)));
    let histogram = of("metric").into_iter().find(|line| line["name"] == "j.latency").unwrap();
    assert_eq!((&histogram["value"], &histogram["histogram"]["greatest"]), (&json!(7), &json!(u64::MAX)));
    assert!(of("metric").iter().filter(|line| line.get("histogram").is_some()).count() == 1);
}

#[test]
fn stat_tells_metrics_by_name_and_what_a_domain_adds_up_to() {
    let dir = RegionDir::new();
    let node = Node::roomy("n");
    node.count(Builtin::PersistenceEvents, 7);
    node.count(Builtin::RuntimeQueue, 4);
    for name in ["a", "b"] {
        node.instance(Domain::Association, name, &[(association::BYTES_IN, 4096)]);
    }
    let lock = node.live(&dir);
    let metrics = [
        "--metric",
        "persistence.events",
        "--metric",
        "runtime.queue",
        "--metric",
        "associations.inbound_bytes",
    ];
    let row = dir.run([&["stat", "n", "1ms", "1", "--json"], &metrics[..]].concat()).json();
    assert_eq!(row["metrics"]["runtime.queue"], 4.0);
    assert!(row["metrics"]["persistence.events_per_s"].is_number(), "{row}");
    let table = dir.run([&["stat", "n", "1ms", "1"], &metrics[..]].concat()).ok();
    assert!(table.contains("associations.inbound_bytes(KiB/s)  STATE"), "{table}");
    let csv = dir.run([&["stat", "n", "1ms", "2", "--csv"], &metrics[..]].concat()).ok();
    let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [23, 23, 23], "{csv}");
    let failed = dir.run(["stat", "--metric", "no.such"]).failed(1);
    assert!(failed.contains("`atomscope metrics` lists its metrics"), "{failed}");
    drop(lock);
    let metrics = dir.run(["metrics", "--all", "--filter", "runtime.queue"]).ok();
    has_row(&metrics, "METRIC VALUE UNIT KIND P50 P99 GREATEST HELP");
}

#[test]
fn a_poll_that_does_not_end_is_a_finding_and_a_caveat_and_no_wedge() {
    let dir = RegionDir::new();
    let node = full();
    node.beat(SECOND / 10);
    node.poll_beat(20 * SECOND);
    let lock = node.live(&dir);
    let shown = dir.run(["show"]).ok();
    assert!(shown.starts_with("● shop - live\n"), "{shown}");
    assert!(shown.contains("s old: a component does not answer"), "{shown}");
    let doctor = dir.run(["doctor"]).ok();
    assert!(
        doctor.contains("warning  the poller's round began 20") && doctor.contains("atomscope-poll"),
        "{doctor}"
    );
    assert_eq!(dir.run(["dump"]).json()["atomscope"]["poll_stuck"], true);
    drop(lock);
    // No finding if rounds are that far apart, if the whole process is stopped, or if nothing is polled.
    for (interval_s, process, polls) in
        [(30u64, SECOND / 10, true), (0, 20 * SECOND, true), (0, SECOND / 10, false)]
    {
        let dir = RegionDir::new();
        let node = Node::new("n");
        node.count(Builtin::PollInterval, interval_s * 1_000_000_000);
        node.beat(process);
        if polls {
            node.poll_beat(20 * SECOND);
        }
        let _lock = node.live(&dir);
        let about = dir.run(["dump"]).json();
        assert_eq!(about["atomscope"]["poll_stuck"], false, "{interval_s} {process:?} {polls}");
    }
}

#[test]
fn doctor_says_which_capacity_was_too_small() {
    let dir = RegionDir::new();
    let node = full();
    node.count(Builtin::PersistenceIdsUnlisted, 6);
    node.count(Builtin::PollsPanicked, 1);
    let _lock = node.live(&dir);
    let doctor = dir.run(["doctor"]).ok();
    for text in [
        "warning  6 times no slot was free for more persistence ids\n           build the region with more `instances`",
        "warning  2 rows of the cluster's state or the shards' allocation were dropped",
        "warning  all 1 histograms are used",
        "warning  1 poll was removed: it panicked",
        "good  11 of 16 instances of subsystems are listed",
    ] {
        assert!(doctor.contains(text), "{text}\n{doctor}");
    }
}
