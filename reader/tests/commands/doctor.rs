//! `doctor`: findings and advice.

use atomscope_layout::metrics::Builtin;
use serde_json::Value;

use crate::fixture::nodes::shop;
use crate::fixture::{Node, RegionDir, SECOND};

/// The texts of the findings of this severity.
fn findings(dir: &RegionDir, severity: &str) -> Vec<String> {
    let rows = dir.run(["doctor", "--json"]).json();
    let at_severity = |row: &&Value| row["severity"] == severity;
    rows.as_array()
        .unwrap()
        .iter()
        .filter(at_severity)
        .map(|row| row["finding"].as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn one_of(findings: &[String], text: &str) {
    assert!(findings.iter().any(|finding| finding.contains(text)), "{text}: {findings:?}");
}

#[test]
fn a_node_that_is_well_has_nothing_but_good_findings() {
    let dir = RegionDir::new();
    let node = shop();
    node.count(Builtin::SamplerRounds, 100);
    node.count(Builtin::SamplerTime, 5_000_000);
    node.header().runtime_beat(u64::MAX);
    let _lock = node.live(&dir);
    let good = findings(&dir, "good");
    for text in [
        "layout 2.0, written by 0.10.0-test",
        "its file system supports the lock of a node",
        "the node is live",
        "3 live actors; the capacity is 64",
        "nothing was dropped",
        "for 100 rounds: 0.000 % of a processor",
    ] {
        one_of(&good, text);
    }
    assert_eq!(findings(&dir, "problem"), [""; 0]);
    let stdout = dir.run(["doctor"]).ok();
    assert!(stdout.starts_with("this machine\n"), "{stdout}");
    assert!(stdout.contains(&format!("node shop ({}), ", std::process::id())), "{stdout}");
}

#[test]
fn what_is_wrong_comes_with_what_to_do() {
    let dir = RegionDir::new();
    let node = shop();
    node.beat(9 * SECOND);
    node.count(Builtin::Spilled, 2);
    node.count(Builtin::NamesFull, 7);
    node.count(Builtin::TextsCut, 5);
    (0..20).for_each(|at| node.stop_event(0, at, "a"));
    let _lock = node.live(&dir);
    one_of(&findings(&dir, "problem"), "the node is wedged: no heartbeat from the probe's sampler thread");
    one_of(&findings(&dir, "warning"), "2 unlisted, 0 untracked so far");
    one_of(&findings(&dir, "warning"), "7 times no slot was free");
    one_of(&findings(&dir, "note"), "5 texts cut");
    one_of(&findings(&dir, "good"), "of 20 events 20 went through the shared lane");
    let stdout = dir.run(["doctor", "shop"]).ok();
    assert!(stdout.contains("build the region with more `actors`"), "{stdout}");
}

#[test]
fn what_is_not_found_is_a_failure_and_what_cannot_be_attached_to_a_finding() {
    let dir = RegionDir::new();
    assert!(dir.run(["doctor", "nobody"]).failed(1).contains("there is no node nobody"));
    one_of(&findings(&dir, "note"), "there is no region");
    Node::with("far", |record| (record.pid, record.pid_namespace) = (1, 7)).dead(&dir);
    one_of(&findings(&dir, "note"), "another pid namespace, where its id is 1; here it is not visible");
}

#[test]
fn dead_regions_are_counted_with_their_size_and_read_only_if_named() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let mut dead = vec![Node::new("late").dead(&dir)];
    let user = atomscope::system::user();
    one_of(&findings(&dir, "note"), &format!("1 dead region of user {user} takes "));
    dead.extend((0..2).map(|_| Node::new("late").dead(&dir)));
    let notes = findings(&dir, "note");
    one_of(&notes, &format!("3 dead regions of user {user} take "));
    // Two dead regions of a node name stay.
    one_of(&notes, "; the next node of that user removes 1 of them, ");
    assert_eq!(notes.iter().filter(|note| *note == "its contents were not read").count(), 3, "{notes:?}");
    assert!(findings(&dir, "good").iter().any(|good| good == "3 live actors; the capacity is 64"));
    assert!(dir.run(["doctor"]).ok().contains("`atomscope prune` frees that"));
    let path = dead[0].to_str().unwrap();
    let stdout = dir.run(["doctor", path]).ok();
    assert!(!stdout.contains("was not read") && stdout.contains("names used"), "{stdout}");
}

#[test]
fn a_place_that_cannot_be_looked_at_is_a_failure() {
    assert!(RegionDir::new().run(["--dir", "/no/such", "doctor"]).failed(1).contains("/no/such"));
}
