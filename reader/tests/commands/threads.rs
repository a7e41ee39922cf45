//! `threads`, `stacks` and `stuck`: names, and command lines. `tests/tests/{threads,stuck}.rs` in the workspace have real nodes.

use crate::fixture::nodes::shop;
use crate::fixture::{Node, RegionDir};

#[test]
fn a_process_with_two_systems_is_listed_once_under_both_nodes() {
    let dir = RegionDir::new();
    let _locks = ["one", "two"].map(|name| Node::new(name).live(&dir));
    let rows = dir.run(["threads", "10ms", "--json"]).json();
    let rows = rows.as_array().unwrap();
    let own = rows.iter().filter(|row| row["tid"] == std::process::id()).collect::<Vec<_>>();
    assert_eq!(own.len(), 1, "{rows:#?}");
    let nodes: Vec<_> = own[0]["node"].as_str().unwrap().split(", ").collect();
    assert!(nodes.len() == 2 && nodes.contains(&"one") && nodes.contains(&"two"), "{nodes:?}");
}

#[test]
fn names_of_nodes_and_threads_are_safe_to_print() {
    let dir = RegionDir::new();
    let _lock = Node::new("no\u{1b}[31mde").live(&dir);
    let (end, until) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name("a\u{1b}]0;b".to_owned());
    let thread = thread.spawn(move || until.recv()).unwrap();
    for arguments in
        [&["threads", "10ms"][..], &["threads", "10ms", "--json"], &["stacks"], &["stacks", "--json"]]
    {
        let stdout = dir.run(arguments).ok();
        assert!(!stdout.contains('\u{1b}'), "{stdout:?}");
        assert!(stdout.contains("]0;b"), "{stdout}");
    }
    // A program without an async runtime.
    let ran = dir.run(["stuck", "--over", "20ms"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("not known whether no") && !ran.stdout.contains('\u{1b}'), "{ran:?}");
    drop(end);
    assert!(thread.join().unwrap().is_err());
}

#[test]
fn what_is_no_interval_or_no_live_node_is_said() {
    let dir = RegionDir::new();
    let dead = shop().dead(&dir);
    for command in ["threads", "stacks", "stuck"] {
        let stderr = dir.run([command, dead.to_str().unwrap()]).failed(1);
        assert!(stderr.contains("shop has crashed") && stderr.contains("no threads any more"), "{stderr}");
    }
    assert_eq!(dir.run(["threads", "--json"]).json(), serde_json::json!([]));
    let stderr = dir.run(["threads", "shop", "1h"]).failed(2);
    assert!(
        stderr.contains("1h is not a valid interval") && stderr.contains("atomscope threads --help"),
        "{stderr}"
    );
    dir.run(["stacks", "--thread", "x"]).failed(2);
    dir.run(["stuck", "--over", "0"]).failed(2);
}
