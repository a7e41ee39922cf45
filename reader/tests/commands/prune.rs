//! `prune`: removes the regions of dead nodes, and nothing else.

use std::fs;

use atomscope_layout::region::header;
use serde_json::json;

use crate::fixture::nodes::shop;
use crate::fixture::{Node, RegionDir, write};

#[test]
fn dead_regions_go_and_living_ones_files_and_dumps_stay() {
    let dir = RegionDir::new();
    let lock = shop().live(&dir);
    let dead = Node::new("attic").dead(&dir);
    let file = dir.join("mine");
    write(&file, &Node::new("mine").bytes());
    let raw = dir.join("atomscope-kept.raw");
    dir.run(["dump", "attic", "--format", "raw", "-o", raw.to_str().unwrap()]).ok();

    let ran = dir.run(["prune", "--dry-run"]);
    assert!(ran.stderr.contains("would remove 1 dead region"), "{ran:?}");
    assert!(ran.stdout.starts_with(&format!("would remove {} (node attic, ", dead.display())), "{ran:?}");
    assert!(dead.exists());

    let ran = dir.run(["prune"]);
    assert!(ran.stderr.contains("removed 1 dead region") && ran.stderr.contains("evidence"), "{ran:?}");
    assert!(!dead.exists() && lock.path.exists() && file.exists() && raw.exists());
    let ran = dir.run(["gc"]);
    assert!(ran.stderr.contains("no dead regions to remove"), "{ran:?}");
    assert_eq!(ran.ok(), "");
}

#[test]
fn only_nodes_of_the_name_that_is_given() {
    let dir = RegionDir::new();
    let (shop, attic) = (Node::new("shop").dead(&dir), Node::new("attic").dead(&dir));
    let rows = dir.run(["prune", "--node", "attic", "--json"]).json();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!((&rows[0]["node"], &rows[0]["removed"]), (&json!("attic"), &json!(true)));
    assert_eq!(rows[0]["path"], attic.to_str().unwrap());
    assert!(shop.exists() && !attic.exists());
    assert_eq!(dir.run(["prune", "--node", "nobody", "--json"]).ok(), "[]\n");
}

#[test]
fn what_cannot_be_judged_is_left_alone() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    node.set(header::VERSION, 9 << 32);
    let newer = node.dead(&dir);
    node.set(header::MAGIC, 0);
    let unready = node.dead(&dir);
    let ran = dir.run(["prune"]);
    assert!(
        ran.stderr.contains("2 regions were kept, because it is unknown whether the node is dead"),
        "{ran:?}"
    );
    assert!(newer.exists() && unready.exists());
}

#[test]
fn a_file_that_is_named_is_not_pruned() {
    let dir = RegionDir::new();
    let dead = Node::new("n").dead(&dir);
    let stderr = dir.run(["prune", "--region", dead.to_str().unwrap()]).failed(2);
    assert!(stderr.contains("never a file that --region names"), "{stderr}");
    assert!(fs::exists(dead).unwrap());
}

/// Regression: a file was pruned because its name only began like the name of a segment.
#[test]
fn a_file_that_is_named_much_like_a_segment_is_not_pruned() {
    let dir = RegionDir::new();
    let named = dir.join("atomscope-of-my-own");
    write(&named, &Node::new("mine").bytes());
    dir.run(["prune"]).ok();
    assert!(named.exists());
}
