//! `letters`: dead letters as storms.

use atomscope_layout::dto::ActorStatus;
use atomscope_layout::event::TelemetryEvent;
use serde_json::{Value, json};

use crate::fixture::instrumented::{NOW_S, bakery};
use crate::fixture::nodes::words;
use crate::fixture::{Node, RegionDir};

const ANNA: &str = "akka://Shop/user/desk/anna";
const TEMP: &str = "akka://Shop/user/temp";

/// A bakery with letters to an actor that lives, to two that have stopped, and to one of which nothing is known.
fn stormy() -> Node {
    let (node, _) = bakery();
    for (number, stopped_s) in [(1, NOW_S - 10), (2, NOW_S - 5)] {
        let path = format!("{TEMP}-{number}");
        let status = ActorStatus {
            path: path.clone(),
            parent: None,
            actor_type: "shop::Temp".into(),
            mailbox_depth: 0,
            spawned_at: String::new(),
            host: None,
        };
        node.event(1, NOW_S - 20, &TelemetryEvent::ActorSpawned(status));
        node.stop_event(1, stopped_s, &path);
    }
    for recipient in ["temp-1", "temp-1", "temp-2"] {
        node.letter(&format!("akka://Shop/user/{recipient}"), None, "shop::Order", "Order");
    }
    node.letter(ANNA, Some("akka://Shop/user/clerk"), "shop::Order", "Order");
    node.letter("akka://Shop/user/nobody", None, "shop::Order", "Order");
    node.letter("akka://Shop/user/temp-2", None, "shop::Cancel", "Cancel");
    node
}

#[test]
fn letters_of_one_type_to_one_class_are_one_row_with_the_last_known_state_of_the_newest_recipient() {
    let dir = RegionDir::new();
    let _lock = stormy().live(&dir);
    let rows = dir.run(["letters", "--json"]).json();
    let columns = ["message", "class", "count", "recipients", "recipient", "state", "sender"];
    let all: Vec<Vec<Value>> =
        rows.as_array().unwrap().iter().map(|row| columns.map(|name| row[name].clone()).to_vec()).collect();
    let row = |message: &str,
               class: Option<&str>,
               count: u64,
               recipients: u64,
               recipient: &str,
               state: Option<&str>| {
        vec![
            json!(message),
            json!(class),
            json!(count),
            json!(recipients),
            json!(recipient),
            json!(state),
            Value::Null,
        ]
    };
    assert_eq!(all.len(), 4, "{rows}");
    assert_eq!(all[0], row("shop::Order", Some("shop::Temp"), 3, 2, &format!("{TEMP}-2"), Some("stopped")));
    let stopped = rows[0]["stopped_s"].as_f64().unwrap();
    assert!((4.0..9.0).contains(&stopped), "{rows}");
    let mut anna = row("shop::Order", Some("shop::Baker"), 1, 1, ANNA, Some("live"));
    anna[6] = json!("akka://Shop/user/clerk");
    assert!(all.contains(&anna), "{rows}");
    assert!(all.contains(&row("shop::Order", None, 1, 1, "akka://Shop/user/nobody", None)), "{rows}");
    assert!(all.contains(&row(
        "shop::Cancel",
        Some("shop::Temp"),
        1,
        1,
        &format!("{TEMP}-2"),
        Some("stopped")
    )));
}

/// Letters of one type to an actor of a known class, and to one of which nothing is known.
#[test]
fn a_recipient_of_unknown_class_is_not_counted_to_the_only_class_that_is_known() {
    let dir = RegionDir::new();
    let (node, _) = bakery();
    node.letter(ANNA, None, "shop::Order", "");
    node.letter("akka://Shop/user/nobody", None, "shop::Order", "");
    let _lock = node.live(&dir);
    let rows = dir.run(["letters", "--json", "--sort", "class"]).json();
    let of = |at: usize| (&rows[at]["class"], &rows[at]["count"], &rows[at]["recipient"]);
    assert_eq!(of(0), (&json!("shop::Baker"), &json!(1), &json!(ANNA)));
    assert_eq!(of(1), (&Value::Null, &json!(1), &json!("akka://Shop/user/nobody")));
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
}

#[test]
fn letters_that_are_kept_no_more_are_counted_and_rows_are_sorted_and_filtered() {
    let dir = RegionDir::new();
    let node = stormy();
    (0..100).for_each(|_| node.letter(ANNA, None, "shop::Late", ""));
    let _lock = node.live(&dir);
    let ran = dir.run(["letters", "--json"]);
    assert!(ran.stderr.contains("98 older dead letters are not kept any more"), "{ran:?}");
    assert_eq!(ran.json()[0]["count"], 8);

    let dir = RegionDir::new();
    let _lock = stormy().live(&dir);
    let classes = |args: &[&str]| -> Vec<Value> {
        let rows = dir.run([&["letters", "--json"], args].concat()).json();
        rows.as_array().unwrap().iter().map(|row| row["class"].clone()).collect()
    };
    assert_eq!(
        classes(&["--sort", "class"]),
        [json!("shop::Baker"), json!("shop::Temp"), json!("shop::Temp"), Value::Null]
    );
    assert_eq!(classes(&["--filter", "count > 1"]), ["shop::Temp"]);
    assert_eq!(classes(&["--filter", "state = live"]), ["shop::Baker"]);
    assert!(dir.run(["letters", "--filter", "depth > 1"]).failed(2).contains("--filter"));
    let stdout = dir.run(["letters"]).ok();
    assert_eq!(
        words(&stdout)[0],
        [
            "MESSAGE",
            "CLASS",
            "COUNT",
            "RECIPIENTS",
            "FIRST(s)",
            "LAST(s)",
            "RECIPIENT",
            "STATE",
            "STOPPED(s)",
            "SENDER"
        ]
    );
}

#[test]
fn a_node_without_dead_letters_says_so() {
    let dir = RegionDir::new();
    let _lock = bakery().0.live(&dir);
    assert_eq!(dir.run(["letters"]).ok(), "no message was undeliverable\n");
    assert_eq!(dir.run(["letters", "--json"]).json(), json!([]));
}
