//! `actors`: the live actors as a list and as a tree, sorted, filtered and limited.

use atomscope_layout::metrics::Builtin;
use serde_json::Value;

use crate::fixture::RegionDir;
use crate::fixture::nodes::{shop, words};

#[test]
fn actors_come_by_path_and_an_unknown_depth_is_a_dash() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let ran = dir.run(["actors"]);
    assert_eq!(ran.stderr, "");
    let lines = words(&ran.stdout);
    assert_eq!(lines[0], ["PATH", "CLASS", "DEPTH(msgs)", "AGE(s)", "HOST"]);
    assert_eq!(lines[1][..3], ["akka://Shop/user/audit", "shop::Audit", "9"]);
    assert_eq!(lines[2][..3], ["akka://Shop/user/checkout", "shop::Checkout", "3"]);
    assert_eq!(lines[3][..3], ["akka://Shop/user/checkout/payer", "shop::Payer", "-"]);
    assert_eq!(lines[3][4], "node-a");
}

#[test]
fn a_tree_puts_children_below_their_parents() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let stdout = dir.run(["actors", "--tree"]).ok();
    let lines = words(&stdout);
    assert_eq!(lines[1][0], "akka://Shop/user/audit");
    assert_eq!(lines[2][0], "akka://Shop/user/checkout");
    assert_eq!(lines[3][..3], ["└─", "payer", "shop::Payer"]);
    let tree = dir.run(["actors", "--tree", "--json"]).json();
    assert_eq!(tree[1]["children"][0]["path"], "akka://Shop/user/checkout/payer");
    assert_eq!(tree[1]["children"][0]["mailbox_depth"], Value::Null);
}

#[track_caller]
fn types(dir: &RegionDir, args: &[&str]) -> Vec<String> {
    let rows = dir.run([&["actors", "--json"], args].concat()).json();
    rows.as_array().unwrap().iter().map(|row| row["class"].as_str().unwrap()[6..].to_owned()).collect()
}

#[test]
fn sorting_puts_the_deepest_and_the_oldest_first_and_the_unknown_last() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    assert_eq!(types(&dir, &["--sort", "depth"]), ["Audit", "Checkout", "Payer"]);
    assert_eq!(types(&dir, &["--sort", "depth", "--reverse"]), ["Checkout", "Audit", "Payer"]);
    assert_eq!(types(&dir, &["--sort", "age"]), ["Checkout", "Audit", "Payer"]);
    assert_eq!(types(&dir, &["--sort", "type", "--reverse"]), ["Payer", "Checkout", "Audit"]);
    assert_eq!(types(&dir, &["--reverse"]), ["Payer", "Checkout", "Audit"]);
}

#[test]
fn a_filter_looks_at_path_and_type_and_a_tree_keeps_those_above() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    assert_eq!(types(&dir, &["--filter", "Payer"]), ["Payer"]);
    assert_eq!(types(&dir, &["--filter", "checkout"]), ["Checkout", "Payer"]);
    assert_eq!(types(&dir, &["--filter", "nobody"]), [""; 0]);
    assert_eq!(types(&dir, &["--tree", "--filter", "Payer"]), ["Checkout"]);
    assert_eq!(types(&dir, &["--tree", "--filter", "class ~ Payer"]), ["Checkout"]);
}

#[test]
fn a_filter_asks_as_the_screens_does() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    assert_eq!(types(&dir, &["--filter", "!checkout"]), ["Audit"]);
    assert_eq!(types(&dir, &["--filter", "PAYER"]), [""; 0]);
    assert_eq!(types(&dir, &["--filter", "class ~ ::(Pay|Aud)"]), ["Audit", "Payer"]);
    assert_eq!(types(&dir, &["--filter", "depth = -"]), ["Payer"]);
    assert_eq!(types(&dir, &["--filter", "parent ~ checkout or name ~ audit"]), ["Audit", "Payer"]);
    for wrong in ["size > 3", "depth > many", "(", "depth > 1 and"] {
        let stderr = dir.run(["actors", "--filter", wrong]).failed(2);
        assert!(stderr.contains("--filter: "), "{wrong}: {stderr}");
    }
    for command in ["actors", "leases"] {
        let stderr = dir.run([command, "--filter", "[\u{1b}]0;x\u{7}\u{1b}[2J"]).failed(2);
        assert!(!stderr.contains(['\u{1b}', '\u{7}']), "{stderr}");
    }
}

#[test]
fn a_limit_says_how_many_it_left_out() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    for (limit, shown, said) in
        [("0", 0, "3 more actors;"), ("2", 2, "1 more actor;"), ("18446744073709551615", 3, "")]
    {
        for shape in [None, Some("--tree")] {
            let ran = dir.run(["actors", "--limit", limit].into_iter().chain(shape));
            assert!(ran.stderr.contains(said), "{ran:?}");
            assert_eq!(ran.ok().lines().count(), 1 + shown);
        }
    }
}

#[test]
fn what_is_not_whole_is_said() {
    let dir = RegionDir::new();
    let node = shop();
    node.count(Builtin::UntrackedSpawns, 2);
    node.count(Builtin::Spawned, 7);
    let _lock = node.live(&dir);
    let stderr = dir.run(["actors"]).stderr;
    assert!(stderr.contains("2 live actors are untracked"), "{stderr}");
    assert!(stderr.contains("may permanently miss some actors"), "{stderr}");
    assert!(stderr.contains("the counts and the list of live actors differ by +5"), "{stderr}");
}
