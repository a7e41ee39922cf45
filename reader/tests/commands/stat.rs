//! `stat`: rates at an interval.

use atomscope_layout::Capacities;
use atomscope_layout::metrics::Builtin;
use serde_json::Value;

use crate::fixture::{Actor, Node, Place, Running, small};
use crate::{shop, words};

#[test]
fn the_first_line_holds_averages_since_the_start_and_says_so() {
    let place = Place::new();
    let _lock = shop().live(&place);
    let stdout = place.run(["stat", "1s", "1"]).ok();
    let lines = words(&stdout);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0][..3], ["ACTORS", "SPAWN(/s)", "STOP(/s)"]);
    assert_eq!((lines[1][0], lines[1][8]), ("3", "live"));
    assert!(stdout.contains("(averages since the node's start)"), "{stdout}");
}

#[test]
fn each_further_line_holds_what_came_since_the_one_before() {
    let place = Place::new();
    let (node, lock) = Node::new("n").shared(&place);
    let mut running = Running::new(place.command(["stat", "n", "10ms", "--json"]));
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
    // The interval is told in milliseconds.
    assert!((5.0..20.0).contains(&spawned), "{busy}");
    assert_eq!(busy["actors"], 10);
    drop(lock);
    let ran = running.end();
    assert!(ran.stderr.contains("the node has ended: crashed"), "{ran:?}");
    let rows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ran.code, &rows[rows.len() - 1]["state"]), (Some(0), &Value::from("crashed")));
}

#[test]
fn records_that_are_too_many_to_look_at_for_each_line_are_not_said_to_be_readable() {
    let place = Place::new();
    let large = Capacities { actors: 40_000, ..small() };
    let _locks = [("small", small()), ("large", large)].map(|(name, capacities)| {
        let node = Node::sized(name, capacities, |_| {});
        node.actor(Actor { path: "/a", ..Actor::default() });
        node.live(&place)
    });
    for (name, cell, value) in [("small", "0", Value::from(0)), ("large", "-", Value::Null)] {
        let stdout = place.run(["stat", name, "1s", "1"]).ok();
        assert_eq!(words(&stdout)[1][6], cell, "{stdout}");
        let row = place.run(["stat", name, "1s", "1", "--json"]).json();
        assert_eq!(row["unreadable"], value, "{row}");
    }
}

#[test]
fn a_count_ends_it_and_csv_has_one_header() {
    let place = Place::new();
    let _lock = shop().live(&place);
    let stdout = place.run(["stat", "shop", "1ms", "30", "--csv"]).ok();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 31);
    assert!(lines[0].starts_with("at,interval_s,since_start,actors,"), "{stdout}");
    assert!(lines.iter().all(|line| line.split(',').count() == lines[0].split(',').count()), "{stdout}");
}

#[test]
fn an_interrupt_and_a_reader_that_has_seen_enough_end_it_well() {
    let place = Place::new();
    let _lock = shop().live(&place);
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::new(place.command(["stat", "5m"]));
        assert!(!running.line().is_empty() && !running.line().is_empty());
        running.signal(signal);
        assert_eq!(running.end().code, Some(0));
    }
    let mut running = Running::new(place.command(["stat", "5m"]));
    running.line();
    let ran = running.hang_up();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn what_is_no_interval_is_a_usage_error() {
    let place = Place::new();
    let _lock = shop().live(&place);
    for args in [
        &["stat", "shop", "1h"][..],
        &["stat", "shop", "0s"],
        &["stat", "shop", "1s", "0"],
        &["stat", "1s", "x"],
    ] {
        place.run(args).failed(2);
    }
}
