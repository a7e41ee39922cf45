//! `ps`: the nodes and the verdict of each.

use std::fs;
use std::process::Command;

use atomscope::process::Stat;
use atomscope_layout::region::{State, header};
use serde_json::json;

use crate::fixture::nodes::{shop, state, words};
use crate::fixture::{Locked, Node, RegionDir, SECOND};

#[test]
fn ps_lists_the_living_before_the_dead_with_units_in_the_header() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    Node::new("attic").dead(&dir);
    let stdout = dir.run(["ps"]).ok();
    let lines = words(&stdout);
    let titles =
        ["PID", "NODE", "SYSTEM", "STATE", "AGE(s)", "BEAT(s)", "ACTORS", "SIZE(MiB)", "FILE", "NOTE"];
    assert_eq!(lines[0], titles);
    let pid = std::process::id().to_string();
    assert_eq!(lines[1][..4], [pid.as_str(), "shop", "Shop", "live"]);
    assert_eq!(lines[1][6], "3");
    assert_eq!(lines[2][..4], [pid.as_str(), "attic", "-", "crashed"]);
}

#[test]
fn ps_as_json_has_pid_node_and_state() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let rows = dir.run(["ps", "--json"]).json();
    assert_eq!(rows[0]["pid"], std::process::id());
    assert_eq!((&rows[0]["node"], &rows[0]["state"]), (&json!("shop"), &json!("live")));
    assert_eq!(rows[0]["program"], "/opt/shop/bin/shopd");
}

#[test]
fn ps_of_nothing_is_an_empty_list() {
    assert_eq!(RegionDir::new().run(["ps", "--json"]).ok(), "[]\n");
}

#[test]
fn no_colours_without_a_terminal() {
    let dir = RegionDir::new();
    shop().dead(&dir);
    assert!(!dir.run(["ps"]).ok().contains('\u{1b}'));
}

#[test]
fn a_node_that_beats_and_holds_its_lock_is_live() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.header().runtime_beat(u64::MAX);
    let _lock = node.live(&dir);
    assert_eq!(state(&dir), ("live".into(), String::new()));
}

#[test]
fn starting_and_stopping_are_what_the_node_says() {
    for (word, expected) in [(State::Starting, "starting"), (State::Stopping, "stopping")] {
        let dir = RegionDir::new();
        let node = Node::new("n");
        node.set(header::STATE, word as u64);
        let _lock = node.live(&dir);
        assert_eq!(state(&dir).0, expected);
    }
}

#[test]
fn a_node_without_its_lock_is_closed_or_crashed() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    let path = node.dead(&dir);
    assert_eq!(state(&dir).0, "crashed");
    fs::remove_file(path).unwrap();
    node.header().set_state(State::Closed);
    node.dead(&dir);
    assert_eq!(state(&dir).0, "closed");
}

#[test]
fn a_stale_beat_of_the_probe_is_a_wedge_and_so_is_one_of_the_runtime() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.runtime_beat(9 * SECOND);
    let lock = node.live(&dir);
    assert_eq!(state(&dir), ("wedged".into(), "its async runtime is blocked".into()));
    fs::remove_file(&lock.path).unwrap();
    node.beat(9 * SECOND);
    let _lock = node.live(&dir);
    assert_eq!(state(&dir), ("wedged".into(), "no heartbeat from the probe's sampler thread".into()));
}

#[test]
fn a_stopped_process_is_a_wedge_at_once() {
    let dir = RegionDir::new();
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id();
    assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    let stat = loop {
        match Stat::of(pid).unwrap() {
            stat if stat.is_stopped() => break stat,
            _ => std::thread::yield_now(),
        }
    };
    let node = Node::with("n", |record| {
        (record.pid, record.process_start_ticks) = (u64::from(pid), stat.start_ticks);
    });
    let _lock = node.live(&dir);
    let found = state(&dir);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found, ("wedged".into(), "its process is stopped (SIGSTOP or a debugger)".into()));
}

#[test]
fn a_region_of_another_boot_is_dead_unless_its_lock_is_held() {
    let dir = RegionDir::new();
    let node = Node::with("n", |record| record.boot_id = [1, 2]);
    node.dead(&dir);
    assert_eq!(state(&dir).0, "crashed");
    // A container may show another boot id, but only the kernel grants the lock.
    let dir = RegionDir::new();
    let node = Node::with("n", |record| record.boot_id = [1, 2]);
    node.header().set_state(atomscope_layout::region::State::Running);
    let _lock = node.live(&dir);
    assert_ne!(state(&dir).0, "crashed");
}

#[test]
fn one_region_that_is_asked_for_and_cannot_be_read_is_a_failure_of_ps_too() {
    let dir = RegionDir::new();
    let missing = dir.join("missing");
    let ran = dir.run(["ps".as_ref(), "--region".as_ref(), missing.as_os_str()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("refused") && ran.stderr.contains("no such file"), "{ran:?}");
}

#[test]
fn a_region_that_is_not_published_tells_starting_up_from_dead() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.set(header::MAGIC, 0);
    let path = node.dead(&dir);
    let (word, why) = state(&dir);
    assert_eq!(word, "not ready");
    assert!(why.contains("ended before it was ready"), "{why}");
    let _lock = Locked::new(path);
    let (word, why) = state(&dir);
    assert_eq!(word, "not ready");
    assert!(why.contains("it is starting up; try again"), "{why}");
}

#[test]
fn every_command_works_on_a_wedged_and_on_a_dead_node_and_says_so() {
    let dir = RegionDir::new();
    let node = shop();
    node.beat(9 * SECOND);
    let mut lock = Some(node.live(&dir));
    for (verb, expected) in [("is", "wedged"), ("has", "crashed")] {
        let ran = dir.run(["actors"]);
        assert!(ran.stderr.contains(&format!("the node {verb} {expected}")), "{ran:?}");
        assert!(ran.stderr.contains("its last beat was "), "{ran:?}");
        assert_eq!(ran.ok().lines().count(), 4);
        assert_eq!(dir.run(["dump"]).json()["atomscope"]["state"], expected);
        lock = None;
    }
    drop(lock);
}
