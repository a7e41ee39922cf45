//! `show`: the overview of a node.

use atomscope_layout::metrics::Builtin;
use serde_json::json;

use crate::fixture::nodes::shop;
use crate::fixture::{RegionDir, SECOND};

#[test]
fn a_living_node_is_shown_with_all_that_matters() {
    let dir = RegionDir::new();
    let node = shop();
    node.stop_event(1, 5, "akka://Shop/user/gone");
    let lock = node.live(&dir);
    let stdout = dir.run(["show"]).ok();
    let pid = std::process::id();
    for line in [
        "● shop - live".to_owned(),
        format!("      Process: {pid} (/opt/shop/bin/shopd), actor system Shop, user "),
        format!("       Region: {} (", lock.path.display()),
        "since 2020-09-13T12:26:40.000000000Z".into(),
        "       Actors: 3 live (3 spawned, 0 stopped)".into(),
        "                    1 shop::Audit, 9 messages waiting".into(),
        "                    1 shop::Payer".into(),
        " Dead letters: 1, the newest:".into(),
        " shop::Order to akka://Shop/user/gone".into(),
        "       Events: 1, 0 of them through the shared lane; the newest 16 of each lane are kept".into(),
        "     Capacity: 3 of 64 actors, 1 of 2 lanes, ".into(),
        "      Dropped: nothing".into(),
    ] {
        assert!(stdout.contains(&line), "{line}\n{stdout}");
    }
    assert!(!stdout.contains('\u{1b}'), "{stdout:?}");
}

#[test]
fn a_wedged_and_a_dead_node_are_shown_with_the_reason() {
    let dir = RegionDir::new();
    let node = shop();
    node.beat(9 * SECOND);
    let lock = node.live(&dir);
    let stdout = dir.run(["show"]).ok();
    assert!(
        stdout.starts_with("● shop - wedged: no heartbeat from the probe's sampler thread\n"),
        "{stdout}"
    );
    drop(lock);
    let stdout = dir.run(["show"]).ok();
    let first = "● shop - crashed: no last words: killed by a signal, out of memory, or `_exit`\n";
    assert!(stdout.starts_with(first), "{stdout}");
}

#[test]
fn json_has_the_same_and_what_was_left_out() {
    let dir = RegionDir::new();
    let node = shop();
    node.count(Builtin::TextsCut, 4);
    let _lock = node.live(&dir);
    let shown = dir.run(["show", "--json"]).json();
    assert_eq!((&shown["node"], &shown["state"]), (&json!("shop"), &json!("live")));
    assert_eq!(shown["actors"]["live"], 3);
    let ages = [&shown, &dir.run(["ps", "--json"]).json()[0]].map(|row| row["beat_age_s"].as_f64().unwrap());
    assert!(shown["process_beat_age_s"].as_f64() >= Some(ages[0]) && ages[0] < ages[1] + 60.0, "{ages:?}");
    assert_eq!(
        shown["classes"][0],
        json!({"class": "shop::Audit", "actors": 1, "waiting": 9, "p99_ns": null})
    );
    assert_eq!(shown["newest_dead_letters"][0]["recipient"], "akka://Shop/user/gone");
    assert_eq!(shown["usage"]["actors"], json!({"used": 3, "capacity": 64}));
    assert_eq!(shown["usage"]["drops"]["texts_cut"], 4);
    assert!(dir.run(["show"]).ok().contains("      Dropped: 4 texts cut\n"));
}
