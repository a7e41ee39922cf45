//! Which node a command works on: by name, by pid, by path, or the only one that there is.

use std::ffi::OsStr;
use std::fs;

use crate::fixture::nodes::{shop, words};
use crate::fixture::{Locked, Node, Ran, RegionDir, program, write};

#[track_caller]
fn node_of(ran: Ran) -> String {
    ran.json()["node"].as_str().unwrap().to_owned()
}

#[test]
fn the_only_node_needs_no_name() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    assert_eq!(node_of(dir.run(["dump"])), "shop");
}

#[test]
fn several_living_nodes_are_a_question() {
    let dir = RegionDir::new();
    let _locks = [shop().live(&dir), Node::new("depot").live(&dir)];
    let stderr = dir.run(["dump"]).failed(1);
    assert!(stderr.contains("there are 2 nodes; name one of them"), "{stderr}");
    assert!(stderr.contains("depot") && stderr.contains("shop"), "{stderr}");
    assert_eq!(node_of(dir.run(["dump", "depot"])), "depot");
}

#[test]
fn live_beats_dead_and_stderr_says_which_was_taken() {
    let dir = RegionDir::new();
    Node::with("shop", |record| (record.pid, record.created_unix_ns) = (1, u64::MAX / 2)).dead(&dir);
    let lock = shop().live(&dir);
    for who in [&["dump"][..], &["dump", "shop"]] {
        let ran = dir.run(who);
        let note = format!("using shop {}/Shop (live), not shop 1 (crashed)", std::process::id());
        assert!(ran.stderr.contains(&note), "{ran:?}");
        assert_eq!(ran.json()["atomscope"]["pid"], std::process::id());
    }
    drop(lock);
}

#[test]
fn newer_beats_older() {
    let dir = RegionDir::new();
    for (pid, created) in [(11, 5), (12, 7), (13, 6)] {
        Node::with("shop", |record| (record.pid, record.created_unix_ns) = (pid, created)).dead(&dir);
    }
    assert_eq!(dir.run(["dump"]).json()["atomscope"]["pid"], 12);
    assert_eq!(dir.run(["dump", "shop"]).json()["atomscope"]["pid"], 12);
}

#[test]
fn a_pid_with_several_systems_is_asked_for_by_system() {
    let dir = RegionDir::new();
    let systems = ["Orders", "Depot"].map(|system| {
        let node = Node::new(&system.to_lowercase());
        node.header().set_system(system);
        node.live(&dir)
    });
    let pid = std::process::id();
    assert_eq!(node_of(dir.run(["dump", &format!("{pid}/Depot")])), "depot");
    assert_eq!(node_of(dir.run(["dump", &format!("{pid}/Orders")])), "orders");
    let stderr = dir.run(["dump", &format!("{pid}/None")]).failed(1);
    assert!(stderr.contains("has no actor system None; it has "), "{stderr}");
    assert!(dir.run(["dump", &pid.to_string()]).stderr.contains("using "));
    drop(systems);
}

#[test]
fn a_file_is_named_by_its_path_or_its_ending_or_the_option() {
    let dir = RegionDir::new();
    let raw = dir.join("node.raw");
    write(&raw, &shop().bytes());
    assert_eq!(node_of(dir.run([OsStr::new("dump"), raw.as_os_str()])), "shop");
    assert_eq!(node_of(dir.run([OsStr::new("--region"), raw.as_os_str(), OsStr::new("dump")])), "shop");
    let mut command = dir.command(["dump", "node.raw"]);
    command.current_dir(dir.path());
    assert_eq!(node_of(Ran::of(command)), "shop");
}

#[test]
fn who_and_region_together_are_a_usage_error() {
    let stderr = RegionDir::new().run(["--region", "/x", "dump", "shop"]).failed(2);
    assert!(stderr.contains("give only one"), "{stderr}");
}

#[test]
fn names_that_are_odd_are_found_all_the_same() {
    let long = "ñ".repeat(5000);
    for name in ["", "Größe 漢字", "\u{202e}evil\u{1b}[31m", &long] {
        let dir = RegionDir::new();
        let _lock = Node::new(name).live(&dir);
        let _other = Node::new("other").live(&dir);
        let node = node_of(dir.run(["dump", name]));
        assert!(node == name || name == long && node.ends_with("ñ…"), "{node}");
    }
}

#[test]
fn a_name_that_nobody_has_is_said_with_what_to_try() {
    let stderr = RegionDir::new().run(["dump", "nobody"]).failed(1);
    assert_eq!(
        stderr,
        "atomscope: there is no node nobody; `atomscope ps` lists all nodes; a dead node's region \
         outside /dev/shm is found only by the path of its file\n"
    );
    let stderr = RegionDir::new().run(["dump"]).failed(1);
    assert!(stderr.contains("no node was found"), "{stderr}");
}

#[test]
fn a_process_is_found_by_what_it_has_mapped_wherever_that_is() {
    let dir = RegionDir::new();
    let path = dir.join("my region.shop");
    write(&path, &shop().bytes());
    let lock = Locked::new(path.clone());
    let _map = lock.map();
    let pid = std::process::id().to_string();
    let by_pid = || Ran::of(program(["dump", &format!("{pid}/Shop")]));
    assert_eq!(by_pid().json()["atomscope"]["pid"], std::process::id());
    fs::remove_file(&path).unwrap();
    assert_eq!(node_of(by_pid()), "shop");
    let listed = Ran::of(program(["ps"])).ok();
    assert!(words(&listed).iter().any(|line| line.first() == Some(&pid.as_str())), "{listed}");
}
