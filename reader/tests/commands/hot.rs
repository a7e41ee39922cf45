//! `hot`: the instrumented actors that did most.

use std::mem::offset_of;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atomscope::attach::{MAX_BYTES, Region};
use atomscope::report::hot::Look;
use atomscope_layout::Capacities;
use atomscope_layout::cells::Cells;
use atomscope_layout::records::ActorRecord;
use serde_json::{Value, json};

use crate::fixture::instrumented::{NOW_S, bakery};
use crate::fixture::instruments::Instruments;
use crate::fixture::nodes::{shop, words};
use crate::fixture::{Actor, Node, RegionDir, small};

const ANNA: &str = "akka://Shop/user/desk/anna";
const BERT: &str = "akka://Shop/user/desk/bert";

fn column(rows: &Value, name: &str) -> Vec<Value> {
    rows.as_array().unwrap().iter().map(|row| row[name].clone()).collect()
}

#[test]
fn of_a_dead_node_each_actor_is_shown_with_what_it_did_in_its_life() {
    let dir = RegionDir::new();
    let (node, _) = bakery();
    node.dead(&dir);
    let ran = dir.run(["hot", "--json"]);
    assert!(
        ran.stderr.contains("rates are averages over the life of each actor, because the node has ended"),
        "{ran:?}"
    );
    let rows = ran.json();
    // The oven has no path, so nobody knows how long it has lived.
    assert_eq!(column(&rows, "path"), [json!(BERT), json!(ANNA), Value::Null]);
    let bert = &rows[0];
    assert!((7.0..12.0).contains(&bert["running_s"].as_f64().unwrap()), "{bert}");
    let busy = bert["busy_percent"].as_f64().unwrap();
    assert!((7.0..12.0).contains(&busy), "the handler in flight counts: {bert}");
    assert_eq!(
        (&bert["variant"], &bert["mode"], &bert["failures"], &bert["mailbox_depth"]),
        (&json!("Bread"), &json!("awaits"), &json!(2), &json!(150))
    );
    assert!((2.5..3.1).contains(&rows[1]["busy_percent"].as_f64().unwrap()), "{rows}");
    assert_eq!(rows[1]["running_s"], Value::Null);
    let oven = &rows[2];
    assert_eq!(
        (&oven["class"], &oven["busy_percent"], &oven["mailbox_depth"]),
        (&json!("shop::Oven"), &Value::Null, &Value::Null)
    );
}

#[test]
fn rates_are_what_was_done_between_two_looks_and_an_actor_that_came_had_done_nothing() {
    let dir = RegionDir::new();
    let (node, names) = bakery();
    let look = |node: &Node| {
        let lock = node.live(&dir);
        let region = Region::open(&lock.path, Some(std::process::id()), MAX_BYTES).unwrap();
        Look::take(&region).unwrap()
    };
    let before = look(&node);
    std::thread::sleep(Duration::from_millis(300));
    // The bits of the cells that are taken.
    let private = [AtomicU64::new(0b111), AtomicU64::new(0)];
    let cells = Cells::new(node.section(node.map.cells), &private);
    let anna = cells.cell(names[0].index()).unwrap();
    for _ in 0..1000 {
        anna.begin(1 << 20, false);
        anna.end();
    }
    cells.cell(names[2].index()).unwrap().count_failure();
    let name = cells.claim(1, 1).unwrap();
    let new = Actor { path: "akka://Shop/user/new", spawned_s: NOW_S + 1, ..Actor::default() };
    let slot = node.actor(new);
    node.set(node.actor_word(slot, offset_of!(ActorRecord, cell) / 8), name.word());
    cells.cell(name.index()).unwrap().end();
    let list = look(&node).since(Some(&before));
    let json = serde_json::to_value(&list).unwrap();
    // A handler that is in flight the whole time keeps its actor busy the whole time.
    assert_eq!((&json[0]["path"], &json[0]["busy_percent"]), (&json!(BERT), &json!(100.0)), "{json:#}");
    let anna = &json[1];
    assert_eq!((&anna["path"], &anna["busy_percent"]), (&json!(ANNA), &json!(0.0)));
    assert!((100.0..=3400.0).contains(&anna["handled_per_s"].as_f64().unwrap()), "{anna}");
    assert_eq!((&anna["failures"], &anna["growth_per_s"]), (&json!(0), &json!(0.0)));
    assert_eq!(json[2]["path"], "akka://Shop/user/new");
    assert!(json[2]["handled_per_s"].as_f64() > Some(0.0), "{json:#}");
    assert_eq!((&json[3]["class"], &json[3]["failures"]), (&json!("shop::Oven"), &json!(1)));
}

#[test]
fn the_first_rows_are_the_greatest_of_what_was_asked_for_and_a_condition_filters() {
    let dir = RegionDir::new();
    let (node, _) = bakery();
    node.dead(&dir);
    let first = |more: &[&str]| {
        let rows = dir.run([&["hot", "--json"], more].concat()).json();
        rows[0]["path"].as_str().map(str::to_owned)
    };
    assert_eq!(first(&["--sort", "handled"]).as_deref(), Some(ANNA));
    assert_eq!(first(&["--sort", "depth", "-n", "1"]).as_deref(), Some(BERT));
    assert_eq!(first(&["--sort", "failures"]).as_deref(), Some(BERT));
    assert_eq!(first(&["--filter", "depth < 100 and class ~ Baker"]).as_deref(), Some(ANNA));
    let rows = dir.run(["hot", "--json", "--filter", "depth > 100 and mailbox_depth > 100"]).json();
    assert_eq!(column(&rows, "path"), [BERT]);
    assert_eq!(dir.run(["hot", "--json", "-n", "2"]).json().as_array().unwrap().len(), 2);
    assert!(dir.run(["hot", "--filter", "nothing > 1"]).failed(2).contains("--filter"));
    let stdout = dir.run(["hot", "--sort", "depth"]).ok();
    assert_eq!(
        words(&stdout)[0],
        [
            "PATH",
            "CLASS",
            "BUSY(%)",
            "HANDLED(/s)",
            "RUNNING(s)",
            "VARIANT",
            "MODE",
            "DEPTH(msgs)",
            "GROWTH(/s)",
            "FAILURES",
            "RESTARTS"
        ]
    );
    assert_eq!(words(&stdout)[1][..2], [BERT, "shop::Baker"]);
}

#[test]
fn a_live_node_is_looked_at_as_often_as_it_was_asked_for() {
    let dir = RegionDir::new();
    let (node, _) = bakery();
    let _lock = node.live(&dir);
    let ran = dir.run(["hot", "10ms", "3"]);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout.matches("PATH").count(), 3, "{ran:?}");
}

#[test]
fn a_node_whose_instrumented_actors_have_stopped_is_told_where_their_numbers_are() {
    let dir = RegionDir::new();
    let node = Node::sized("n", Capacities { instruments: 2, classes: 4, variants: 4, ..small() }, |_| {});
    Instruments::of(&node).register(1, "shop::Baker");
    let _lock = node.live(&dir);
    let stderr = dir.run(["hot", "10ms"]).stderr;
    let hint = format!("`atomscope actors {} --by class`", std::process::id());
    assert!(stderr.contains(&hint) && !stderr.contains("telemetry.actors"), "{stderr}");
}

#[test]
fn what_leaves_nothing_is_said() {
    let dir = RegionDir::new();
    let (node, _) = bakery();
    node.dead(&dir);
    let stderr = |args: &[&str]| dir.run([&["hot"], args].concat()).stderr;
    assert!(stderr(&["--filter", "Butcher"]).contains("none of 3 actors matches"));
    // The state of the node is said as in the other lists.
    assert!(stderr(&[]).contains("the node has crashed"), "{}", stderr(&[]));
    let dir = RegionDir::new();
    let _lock = shop_without_depths().live(&dir);
    let stderr = dir.run(["actors", "--sort", "depth"]).stderr;
    assert!(stderr.contains("depth is unknown for all actors") && stderr.contains("depth(true)"), "{stderr}");
}

fn shop_without_depths() -> Node {
    let node = Node::sized("n", small(), |_| {});
    node.actor(Actor { path: "akka://n/user/a", ..Actor::default() });
    node
}

#[test]
fn a_node_without_instrumented_actors_is_told_which_call_makes_them() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let ran = dir.run(["hot", "10ms"]);
    assert!(ran.stderr.contains("`telemetry.actors.spawn(&system, props, name)`"), "{ran:?}");
    assert_eq!(dir.run(["hot", "10ms", "--json"]).json(), json!([]));
}
