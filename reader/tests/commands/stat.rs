//! `stat`: rates at an interval.

use atomscope_layout::Capacities;
use atomscope_layout::instances::{Domain, association};
use atomscope_layout::metrics::{BUILTIN, Builtin};
use serde_json::Value;

use crate::fixture::nodes::{shop, words};
use crate::fixture::{Actor, Blocked, Node, RegionDir, Running, small};

#[test]
fn the_first_line_holds_averages_since_the_start_and_says_so() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let stdout = dir.run(["stat", "1s", "1"]).ok();
    let lines = words(&stdout);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0][..3], ["ACTORS", "SPAWN(/s)", "STOP(/s)"]);
    let state = lines[0].iter().position(|title| *title == "STATE").unwrap();
    assert_eq!((lines[1][0], lines[1][state]), ("3", "live"));
    assert!(stdout.contains("(averages since the start of the node)"), "{stdout}");
}

#[test]
fn a_program_without_actors_has_no_columns_of_actors_until_it_has_some() {
    let dir = RegionDir::new();
    let (node, lock) = Node::new("n").shared(&dir);
    let titles = || words(&dir.run(["stat", "1s", "1"]).ok())[0].join(" ");
    assert_eq!(titles(), "EVENTS(/s) LOST BEAT(s) CPU(%) STATE");
    let row = dir.run(["stat", "1s", "1", "--json"]).json();
    for key in ["actors", "spawned_per_s", "stopped_per_s", "dead_letters_per_s", "unreadable"] {
        assert_eq!(row[key], Value::Null, "{row}");
    }
    assert!(row["events_per_s"].is_number(), "{row}");
    let csv = dir.run(["stat", "1s", "1", "--csv"]).ok();
    assert!(csv.lines().nth(1).unwrap().contains(",true,,,,,0,0,,"), "{csv}");
    node.header().set_system("S");
    assert!(titles().starts_with("ACTORS SPAWN(/s) STOP(/s) LETTERS(/s) EVENTS(/s)"));
    drop(lock);
}

#[test]
fn each_further_line_holds_what_came_since_the_one_before() {
    let dir = RegionDir::new();
    let (node, lock) = Node::new("n").shared(&dir);
    node.header().set_system("S");
    let mut running = Running::new(dir.command(["stat", "n", "10ms", "--json"]));
    let first = running.json();
    assert_eq!((&first["since_start"], &first["spawned_per_s"]), (&Value::Bool(true), &Value::from(0.0)));
    node.count(Builtin::Spawned, 10);
    node.count(Builtin::EventsAbandoned, 3);
    node.stop_event(1, 1, "a");
    let busy = loop {
        let row = running.json();
        assert_eq!(row["since_start"], false);
        if row["spawned_per_s"].as_f64().unwrap() > 0.0 {
            break row;
        }
    };
    let spawned = busy["spawned_per_s"].as_f64().unwrap() * busy["interval_s"].as_f64().unwrap();
    // The interval is in milliseconds.
    assert!((5.0..20.0).contains(&spawned), "{busy}");
    assert_eq!(busy["actors"], 10);
    drop((node, lock));
    let ran = running.end();
    assert!(ran.stderr.contains("the node has ended: crashed"), "{ran:?}");
    let rows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ran.code, &rows[rows.len() - 1]["state"]), (Some(0), &Value::from("crashed")));
}

#[test]
fn records_that_are_too_many_to_look_at_for_each_line_are_not_said_to_be_readable() {
    let dir = RegionDir::new();
    let large = Capacities { actors: 70_000, ..small() };
    let _locks = [("small", small()), ("large", large)].map(|(name, capacities)| {
        let node = Node::sized(name, capacities, |_| {});
        node.actor(Actor { path: "/a", ..Actor::default() });
        node.live(&dir)
    });
    for (name, cell, value) in [("small", "0", Value::from(0)), ("large", "-", Value::Null)] {
        let stdout = dir.run(["stat", name, "1s", "1"]).ok();
        assert_eq!(words(&stdout)[1][6], cell, "{stdout}");
        let row = dir.run(["stat", name, "1s", "1", "--json"]).json();
        assert_eq!(row["unreadable"], value, "{row}");
    }
}

#[test]
fn a_count_ends_it_and_csv_has_one_header() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let stdout = dir.run(["stat", "shop", "1ms", "30", "--csv"]).ok();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 31);
    assert!(lines[0].starts_with("at,interval_s,since_start,actors,"), "{stdout}");
    assert!(lines.iter().all(|line| line.split(',').count() == lines[0].split(',').count()), "{stdout}");
}

#[test]
fn an_interrupt_and_a_reader_that_has_seen_enough_end_it_well() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::new(dir.command(["stat", "5m"]));
        assert!(!running.line().is_empty() && !running.line().is_empty());
        running.signal(signal);
        assert_eq!(running.end().code, Some(0));
    }
    let mut running = Running::new(dir.command(["stat", "5m"]));
    running.line();
    let ran = running.hang_up();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_number_behind_a_node_is_an_interval_of_seconds_and_one_alone_is_a_pid() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let pid = std::process::id().to_string();
    let mut running = Running::new(dir.command(["stat", "shop", "86400", "--json"]));
    assert_eq!(running.json()["actors"], 3);
    running.signal("-INT");
    assert_eq!(running.end().code, Some(0));
    assert_eq!(dir.run(["stat", &pid, "1", "1", "--json"]).json()["actors"], 3);
    let stderr = dir.run(["stat", "4999999"]).failed(1);
    assert!(stderr.contains("there is no process 4999999"), "{stderr}");
}

#[test]
fn what_a_node_uses_is_shown_and_what_it_does_not_is_no_column_of_zeros() {
    let dir = RegionDir::new();
    let (node, lock) = Node::roomy("n").shared(&dir);
    node.header().set_system("S");
    let titles = |stdout: &str| words(stdout)[0].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let idle = dir.run(["stat", "n", "1ms", "2"]).ok();
    let known =
        ["ACTORS", "SPAWN(/s)", "STOP(/s)", "LETTERS(/s)", "EVENTS(/s)", "LOST", "UNREADABLE", "BEAT(s)"];
    assert_eq!(titles(&idle), [&known[..], &["CPU(%)", "STATE"]].concat());
    let row = dir.run(["stat", "n", "1ms", "1", "--json"]).json();
    let keys =
        ["journal_events_per_s", "shard_messages_per_s", "inbound_bytes_per_s", "outbound_bytes_per_s"];
    assert!(keys.iter().all(|key| row.get(*key) == Some(&Value::Null)), "{row}");
    // The node starts to use a subsystem while `stat` runs.
    let mut running = Running::new(dir.command(["stat", "n", "1ms"]));
    assert!(!running.line().contains("JOURNAL"));
    node.count(Builtin::PersistenceEvents, 5);
    let mut lines = std::iter::from_fn(|| Some(running.line()));
    let title = lines.find(|line| line.contains("ACTORS")).unwrap();
    assert!(title.contains("JOURNAL(/s)") && !title.contains("SHARDS"), "{title}");
    running.signal("-INT");
    assert_eq!(running.end().code, Some(0));
    node.count(Builtin::ShardMessages, 7);
    node.instance(
        Domain::Association,
        "a",
        &[(association::BYTES_IN, 1 << 30), (association::BYTES_OUT, 2 << 30)],
    );
    let busy = titles(&dir.run(["stat", "n", "1ms", "1"]).ok());
    let used = ["CPU(%)", "JOURNAL(/s)", "SHARDS(/s)", "IN(KiB/s)", "OUT(KiB/s)", "STATE"];
    assert_eq!(busy, [&known[..], &used].concat());
    let row = dir.run(["stat", "n", "1ms", "1", "--json"]).json();
    assert!(row["outbound_bytes_per_s"].as_f64() > row["inbound_bytes_per_s"].as_f64(), "{row}");
    let csv = dir.run(["stat", "n", "1ms", "1", "--csv"]).ok();
    assert!(csv.lines().next().unwrap().ends_with(&keys.join(",")), "{csv}");
    // A dead node uses no processor.
    drop((node, lock));
    assert!(!dir.run(["stat", "n"]).ok().contains("CPU(%)"));
}

#[test]
fn what_is_no_interval_is_a_usage_error() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    for args in [
        &["stat", "shop", "1h"][..],
        &["stat", "shop", "0s"],
        &["stat", "shop", "1s", "0"],
        &["stat", "1s", "x"],
    ] {
        dir.run(args).failed(2);
    }
    let stderr = dir.run(["stat", "shop", "0"]).failed(2);
    assert!(stderr.contains("0 is not a valid interval; it must be longer than 0"), "{stderr}");
    assert!(stderr.contains("see `atomscope stat --help`"), "{stderr}");
}

/// Regression: only a second signal ended the program, by killing it.
#[test]
fn one_signal_ends_it_in_good_order_while_nobody_reads_what_it_writes() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let blocked =
        Blocked::new(dir.command(["stat", "shop", "1ms"]), |command, pipe| _ = command.stdout(pipe));
    assert_eq!(blocked.end_by("-TERM").code(), Some(0));
}

#[test]
fn a_metric_that_is_asked_for_twice_is_told_once() {
    let dir = RegionDir::new();
    let node = shop();
    node.metric(BUILTIN.len(), "orders", "orders", "Orders.");
    let _lock = node.live(&dir);
    let twice = ["stat", "1s", "1", "--metric", "orders", "--metric", "orders"];
    let row = dir.run([&twice[..], &["--json"]].concat()).json();
    assert_eq!(row["metrics"].as_object().unwrap().len(), 1, "{row}");
    let csv = dir.run([&twice[..], &["--csv"]].concat()).ok();
    assert_eq!(csv.lines().next().unwrap().matches("orders").count(), 1, "{csv}");
}
