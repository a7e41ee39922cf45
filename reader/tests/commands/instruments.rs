//! Instrumented actors in lists, on the page of a node, in dumps, and what they handled when their node died.

use serde_json::{Value, json};

use crate::fixture::instrumented::bakery;
use crate::fixture::instruments::Instruments;
use crate::fixture::nodes::{shop, words};
use crate::fixture::{Ran, RegionDir, strict};

const BERT: &str = "akka://Shop/user/desk/bert";

#[test]
fn a_list_has_columns_for_them_only_if_there_are_some() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let stdout = dir.run(["actors"]).ok();
    let lines = words(&stdout);
    let of_them = ["HANDLED(msgs)", "BUSY(%)", "FAILURES", "RESTARTS", "RUNNING(s)", "VARIANT", "MODE"];
    let titles = [&["PATH", "CLASS", "DEPTH(msgs)"], of_them.as_slice(), &["AGE(s)", "HOST"]].concat();
    assert_eq!(lines[0], titles);
    assert_eq!(
        lines[1][..10],
        ["akka://Shop/user/clerk", "shop::Clerk", "-", "-", "-", "-", "-", "-", "-", "-"]
    );
    assert_eq!(
        lines[2][..10],
        ["akka://Shop/user/desk/anna", "shop::Baker", "3", "30", "3.0", "0", "0", "-", "-", "-"]
    );
    assert_eq!(lines[3][..4], [BERT, "shop::Baker", "150", "4"]);
    assert_eq!(lines[3][5..7], ["2", "2"]);
    assert_eq!(lines[3][8..10], ["Bread", "awaits"]);
    let other = RegionDir::new();
    shop().dead(&other);
    assert_eq!(words(&other.run(["actors"]).ok())[0], ["PATH", "CLASS", "DEPTH(msgs)", "AGE(s)", "HOST"]);
}

#[test]
fn polls_have_a_column_where_a_runtime_is_watched_and_a_dash_where_it_is_not() {
    let dir = RegionDir::new();
    let (node, [anna, ..]) = bakery();
    let all = Instruments::of(&node);
    (0..3).for_each(|_| all.cells().cell(anna.index()).unwrap().count_poll());
    (0..2).for_each(|lane| all.polls(lane, 1, 5));
    node.dead(&dir);
    let stdout = dir.run(["actors", "--sort", "polls"]).ok();
    let lines = words(&stdout);
    let at = lines[0].iter().position(|title| *title == "POLLS").unwrap();
    assert_eq!((lines[1][at], lines[2][at], lines[2][0]), ("3", "-", "akka://Shop/user/clerk"));
    let found = dir.run(["actors", "--json", "--filter", "polls = 3"]).json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["polls"]), (1, &json!(3)));
    let classes = dir.run(["actors", "--by", "class", "--json"]).json();
    let polls: Vec<_> = classes.as_array().unwrap().iter().map(|class| &class["polls"]).collect();
    assert_eq!(polls, [&json!(10), &Value::Null, &Value::Null]);
    assert!(dir.run(["actors", "--by", "class"]).ok().lines().next().unwrap().contains(" POLLS "));
    let dump = dir.run(["dump"]).json();
    let of = &dump["atomscope"]["instruments"];
    assert_eq!((&of["classes"][0]["polls"], &of["actors"][0]["polls"]), (&json!(10), &json!(3)));
    let text = dir.run(["dump", "--format", "prom"]).ok();
    let samples: Vec<_> = text.lines().filter(|line| line.starts_with("atomscope_class_polls")).collect();
    assert!(matches!(samples.as_slice(), [sample] if sample.ends_with(" 10")), "{samples:?}");
}

#[test]
fn they_are_sorted_and_filtered_by_what_they_do() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let names = |args: &[&str]| -> Vec<String> {
        let rows = dir.run([&["actors", "--json"], args].concat()).json();
        let path = |row: &Value| row["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(path).collect()
    };
    assert_eq!(names(&["--sort", "handled"]), ["anna", "bert", "clerk"]);
    assert_eq!(names(&["--sort", "failures"]), ["bert", "anna", "clerk"]);
    assert_eq!(names(&["--sort", "busy"]), ["bert", "anna", "clerk"]);
    assert_eq!(names(&["--sort", "busy", "--reverse"]), ["anna", "bert", "clerk"]);
    assert_eq!(names(&["--sort", "running"]), ["bert", "clerk", "anna"]);
    assert_eq!(names(&["--filter", "depth > 100 and mode = awaits"]), ["bert"]);
    assert_eq!(names(&["--filter", "variant ~ Bread and running_s > 5 and running > 5"]), ["bert"]);
    assert_eq!(names(&["--filter", "handled = -"]), ["clerk"]);
    let row = dir.run(["actors", "--json", "--filter", "bert"]).json()[0].clone();
    assert_eq!(
        (&row["handled"], &row["depth_peak"], &row["mailbox_depth"]),
        (&json!(4), &json!(150), &json!(150))
    );
    // The node has died with the handler in flight. Its last beat ends it.
    let running_s = row["running_s"].as_f64().unwrap();
    assert!((7.0..60.0).contains(&running_s), "{running_s}");
}

#[test]
fn the_page_of_a_node_names_the_worst_of_each() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let page = dir.run(["show"]).ok();
    let line = page
        .lines()
        .find(|line| line.trim_start().starts_with("Worst: "))
        .unwrap_or_else(|| panic!("{page}"));
    for part in [
        format!("busiest {BERT} ("),
        format!("; deepest {BERT} (150 msgs); most failures {BERT} (2); longest handler {BERT} ("),
        "; slowest class shop::Baker (99 % within ".to_owned(),
    ] {
        assert!(line.contains(&part), "{part}: {line}");
    }
    let about = dir.run(["show", "--json"]).json();
    assert_eq!(about["worst"]["failing"], json!({"path": BERT, "class": "shop::Baker", "failures": 2}));
    let class = |name: &str| {
        about["classes"].as_array().unwrap().iter().find(|row| row["class"] == name).unwrap()["p99_ns"]
            .clone()
    };
    assert!(class("shop::Baker").as_u64().unwrap() >= 100_000_000 && class("shop::Clerk").is_null());
    let other = RegionDir::new();
    shop().dead(&other);
    assert!(!other.run(["show"]).ok().contains("Worst:"));
    assert_eq!(other.run(["show", "--json"]).json()["worst"]["failing"], Value::Null);
}

/// A command that has failed with this code after it has written something.
#[track_caller]
fn said(ran: Ran, code: i32) -> String {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    ran.stdout
}

#[test]
fn of_a_dead_node_stuck_says_what_was_being_handled() {
    let dir = RegionDir::new();
    let file = bakery().0.dead(&dir);
    let text = said(dir.run(["stuck"]), 1);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(" ended, 1 handler was in flight"), "{text}");
    assert!(lines[1].starts_with(&format!("  {BERT} (shop::Baker) awaited for ")), "{text}");
    assert!(lines[1].ends_with(" with message Bread"), "{text}");
    let report = strict(&said(dir.run(["stuck", "--json"]), 1));
    assert_eq!((&report["is_stuck"], &report["outcome"]), (&json!(false), &json!("unknown")));
    let handler = &report["handlers"][0];
    assert_eq!(
        (&handler["path"], &handler["mode"], &handler["variant"]),
        (&json!(BERT), &json!("awaits"), &json!("Bread"))
    );
    let raw = dir.join("copy");
    let raw = raw.to_str().unwrap();
    dir.run(["dump", "--format", "raw", "-o", raw, file.to_str().unwrap()]).ok();
    let text = said(dir.run(["stuck", raw]), 1);
    assert!(text.contains(" was dumped, 1 handler was in flight"), "{text}");
    // Of a node without instruments nothing is known.
    let other = RegionDir::new();
    shop().dead(&other);
    assert_eq!(said(other.run(["stuck"]), 1), "");
}

#[test]
fn a_dump_has_the_same_as_the_region_and_a_redacted_one_no_name() {
    let dir = RegionDir::new();
    let file = bakery().0.dead(&dir);
    let file = file.to_str().unwrap();
    let about = |args: &[&str]| dir.run([&["dump"], args].concat()).json()["atomscope"]["instruments"].take();
    let live = about(&[file]);
    assert_eq!((&live["cells"], &live["unreadable"]), (&json!({"capacity": 8, "used": 3}), &json!(0)));
    assert_eq!(live["unnamed"].as_array().unwrap().len(), 1);
    assert_eq!(live["unnamed"][0]["class"], "shop::Oven");
    let classes: Vec<&Value> =
        live["classes"].as_array().unwrap().iter().map(|class| &class["class"]).collect();
    assert_eq!(classes, ["shop::Baker", "shop::Oven"]);
    assert_eq!(live["classes"][1]["handle_time_ns"], Value::Null);
    let [raw, redacted] = ["raw", "redacted"].map(|name| dir.join(name).to_str().unwrap().to_owned());
    dir.run(["dump", "--format", "raw", "-o", &raw, file]).ok();
    assert_eq!(about(&[&raw]), live);
    dir.run(["dump", "--format", "raw", "--redact", "-o", &redacted, file]).ok();
    for args in
        [vec![redacted.as_str()], vec!["--redact", file], vec!["--format", "ndjson", "--redact", file]]
    {
        let text = dir.run([vec!["dump"], args].concat()).ok();
        assert!(!["Baker", "Oven", "Bread", "bert", "desk"].iter().any(|name| text.contains(name)), "{text}");
    }
    // The numbers stay, and a name has the same pseudonym wherever it is.
    let hidden = about(&[&redacted]);
    let numbers = |of: &Value| {
        let actors = of["actors"].as_array().unwrap().iter();
        let mut handled: Vec<u64> = actors.map(|actor| actor["handled"].as_u64().unwrap()).collect();
        handled.sort_unstable();
        (handled, of["classes"][0]["busy_ns"].clone(), of["classes"][0]["variants"].as_array().unwrap().len())
    };
    assert_eq!(numbers(&hidden), numbers(&live));
    let variant = |row: &Value| row["variant"].clone();
    let in_flight =
        hidden["actors"].as_array().unwrap().iter().find(|actor| !actor["in_flight"].is_null()).unwrap();
    let named = hidden["classes"][0]["variants"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| !row["variant"].is_null())
        .unwrap();
    assert_eq!(variant(in_flight), variant(named));
}
