//! `actors --by`: sums over groups of actors.

use serde_json::{Value, json};

use crate::fixture::RegionDir;
use crate::fixture::instrumented::bakery;
use crate::fixture::nodes::{shop, words};

fn rows(dir: &RegionDir, args: &[&str]) -> Vec<Value> {
    let rows = dir.run([&["actors", "--json"], args].concat()).json();
    rows.as_array().unwrap().clone()
}

/// The columns of these names, of each row.
fn columns(rows: &[Value], names: &[&str]) -> Vec<Vec<Value>> {
    rows.iter().map(|row| names.iter().map(|name| row[name].clone()).collect()).collect()
}

#[test]
fn classes_have_what_their_actors_did_and_those_without_instruments_only_live() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let found = rows(&dir, &["--by", "class"]);
    let names = ["class", "live", "handled", "busy_ns", "failures", "restarts", "waiting"];
    let none = Value::Null;
    let expected = [
        [json!("shop::Baker"), json!(2), json!(34), json!(4_000_000_000u64), json!(2), json!(2), json!(153)],
        [json!("shop::Oven"), json!(1), json!(0), json!(0), json!(0), json!(0), none.clone()],
        [
            json!("shop::Clerk"),
            json!(1),
            none.clone(),
            none.clone(),
            none.clone(),
            none.clone(),
            none.clone(),
        ],
    ];
    assert_eq!(columns(&found, &names), expected);
    for quantile in ["p50_ns", "p99_ns"] {
        let ns = found[0][quantile].as_u64().unwrap();
        assert!((100_000_000..=125_000_000).contains(&ns), "{ns}");
        assert_eq!(found[1][quantile], Value::Null, "no message was timed");
    }
    let stdout = dir.run(["actors", "--by", "class"]).ok();
    let titles = [
        "CLASS",
        "LIVE",
        "HANDLED(msgs)",
        "BUSY(ms)",
        "P50(ms)",
        "P99(ms)",
        "LONGEST(s)",
        "FAILURES",
        "RESTARTS",
    ];
    // Without LONG_POLLS: nothing watches the polls of this node.
    assert_eq!(words(&stdout)[0], [titles.as_slice(), &["WAITING(msgs)"]].concat());
    let longest = found[0]["longest_s"].as_f64().unwrap();
    assert!((7.0..60.0).contains(&longest) && found[1]["longest_s"].is_null(), "{found:?}");
}

#[test]
fn variants_add_up_to_their_class() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let found = rows(&dir, &["--by", "variant"]);
    assert_eq!(
        columns(&found, &["class", "variant", "handled", "busy_ns", "mean_ns"]),
        [
            [json!("shop::Baker"), json!("Bread"), json!(30), json!(3_000_000_000u64), json!(100_000_000)],
            [json!("shop::Baker"), Value::Null, json!(4), json!(1_000_000_000), json!(250_000_000)],
        ]
    );
    let by_mean = rows(&dir, &["--by", "variant", "--sort", "mean"]);
    assert_eq!(by_mean[0]["variant"], Value::Null);
}

#[test]
fn subtrees_are_those_of_a_parent_or_of_a_level_and_actors_without_a_path_are_apart() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let names = ["subtree", "live", "instrumented", "handled", "failures", "deepest"];
    let found = rows(&dir, &["--by", "subtree"]);
    let unnamed = [Value::Null, Value::Null, json!(1), json!(0), json!(0), Value::Null];
    assert_eq!(
        columns(&found, &names),
        [
            [json!("akka://Shop/user/desk"), json!(2), json!(2), json!(34), json!(2), json!(150)],
            unnamed.clone(),
            [json!("akka://Shop/user"), json!(1), json!(0), Value::Null, Value::Null, Value::Null],
        ]
    );
    let found = rows(&dir, &["--by", "subtree", "--level", "1"]);
    let all = [json!("akka://Shop/user"), json!(3), json!(2), json!(34), json!(2), json!(150)];
    assert_eq!(columns(&found, &names), [all, unnamed]);
    // The handler in flight is in the busy time, and its actor is as deep as the subtree.
    assert!(found[0]["busy_ns"].as_u64() > Some(9_000_000_000), "{found:?}");
    assert!(found[0]["longest_s"].as_f64() > Some(7.0), "{found:?}");
    let deep = rows(&dir, &["--by", "subtree", "--filter", "depth > 100"]);
    assert_eq!(columns(&deep, &["subtree"]), [[json!("akka://Shop/user/desk")]]);
}

#[test]
fn groups_are_filtered_and_sorted_by_their_own_columns() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let classes =
        |args: &[&str]| columns(&rows(&dir, &[&["--by", "class"], args].concat()), &["class"]).concat();
    assert_eq!(classes(&["--filter", "failures > 0"]), ["shop::Baker"]);
    assert_eq!(classes(&["--filter", "p99 > 50ms"]), ["shop::Baker"]);
    assert_eq!(classes(&["--sort", "class", "--limit", "2"]), ["shop::Baker", "shop::Clerk"]);
    assert!(
        dir.run(["actors", "--by", "class", "--sort", "age"]).failed(2).contains("these have class, live")
    );
    assert!(dir.run(["actors", "--sort", "p99"]).failed(2).contains("give --by"));
    assert!(dir.run(["actors", "--by", "class", "--filter", "age > 1"]).failed(2).contains("--filter"));
    assert!(dir.run(["actors", "--by", "class", "--tree"]).failed(2).contains("--tree"));
    assert!(dir.run(["actors", "--by", "subtree", "--level", "0"]).failed(2).contains("at least 1"));
    let none = dir.run(["actors", "--by", "class", "--filter", "Butcher"]);
    assert!(none.stderr.contains("none of 3 groups matches"), "{none:?}");
}

#[test]
fn conditions_on_what_instrumented_actors_do_filter_the_list() {
    let dir = RegionDir::new();
    bakery().0.dead(&dir);
    let paths = |query| columns(&rows(&dir, &["--filter", query]), &["path"]).concat();
    assert_eq!(paths("depth > 100"), ["akka://Shop/user/desk/bert"]);
    assert_eq!(paths("handled >= 30"), ["akka://Shop/user/desk/anna"]);
    assert_eq!(paths("handled = -"), ["akka://Shop/user/clerk"]);
}

#[test]
fn without_instrumented_actors_classes_are_counted_and_the_call_is_named() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let ran = dir.run(["actors", "--by", "class", "--json"]);
    assert!(ran.stderr.contains("`telemetry.actors.spawn(&system, props, name)`"), "{ran:?}");
    assert_eq!(ran.json().as_array().unwrap().len(), 3);
    assert_eq!(rows(&dir, &["--by", "variant"]), Vec::<Value>::new());
}
