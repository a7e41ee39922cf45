//! `failures`, and what `show`, `doctor` and `dump` say of failures.

use std::path::Path;
use std::time::Duration;

use atomscope::system::{boottime_ns, monotonic_ns};
use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::failures::{FAILURE_WORDS, Report, Severity};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::records::ClockSampleRecord;
use serde_json::{Value, json};

use crate::fixture::instrumented;
use crate::fixture::instruments::Instruments;
use crate::fixture::nodes::words;
use crate::fixture::{EPOCH_NS, Node, RegionDir, small};

/// Now, in seconds by the clock of the nodes' stamps.
const NOW_S: u64 = 100_000;

fn node(name: &str) -> Node {
    let node = Node::sized(name, Capacities { failures: 16, panics: 8, ..small() }, |_| {});
    node.sampled(&[ClockSampleRecord {
        ticks: NOW_S * 1_000_000_000,
        mono_ns: monotonic_ns(),
        boot_ns: boottime_ns(),
        unix_ns: EPOCH_NS + NOW_S * 1_000_000_000,
        rate: ClockSampleRecord::RATE_ONE,
        reserved: [0; 2],
    }]);
    node.beat(Duration::ZERO);
    node
}

/// The time of this many seconds ago.
fn at(ago: u64) -> u64 {
    NOW_S - ago
}

const COLD: Report<'_> = Report {
    message: Some("oven 7 is cold"),
    location: "src/oven.rs:7:9",
    thread: "shop-worker",
    actor: "akka://Shop/user/baker",
    target: "",
    class: 0,
};
const LATE: Report<'_> =
    Report { message: Some("too late"), location: "src/clock.rs:1:1", target: "shop::clock", ..COLD };

/// A bakery with three panics that are one failure, an error, and two warnings that are one failure.
fn bakery() -> Node {
    let node = node("bakery");
    (0..3).for_each(|n| node.panic(at(40 - n), &COLD));
    node.failure(Severity::Error, at(20), &LATE);
    let warning = Report { actor: "", ..LATE };
    (0..2).for_each(|n| _ = node.failure(Severity::Warning, at(4000 + n), &warning));
    node
}

#[test]
fn each_different_failure_is_one_row_and_the_newest_is_first() {
    let dir = RegionDir::new();
    let _lock = bakery().live(&dir);
    let stdout = dir.run(["failures", "bakery"]).ok();
    let mut lines = stdout.lines();
    let summary = lines.next().unwrap();
    assert!(summary.starts_with("3 panics, 1 error, 2 warnings; newest: error 2"), "{stdout}");
    assert!(
        summary.ends_with(" ago at src/clock.rs:1:1: too late"),
        "the actor of the newest time is not known: {stdout}"
    );
    let listing = dir.run(["failures", "bakery", "--json"]).json();
    let rows: Vec<_> = listing["failures"].as_array().unwrap().iter().collect();
    let keyed: Vec<_> = rows.iter().map(|row| (&row["severity"], &row["count"], &row["message"])).collect();
    let (panic, late) = (json!("panic"), json!("too late"));
    let expected = [
        (&json!("error"), &json!(1), &late),
        (&panic, &json!(3), &json!("oven 7 is cold")),
        (&json!("warning"), &json!(2), &late),
    ];
    assert_eq!(keyed, expected);
    assert_eq!(rows[2]["actor"], Value::Null, "an unknown path is no empty one");
    assert_eq!((&rows[0]["target"], &rows[1]["target"]), (&json!("shop::clock"), &Value::Null));
    assert!(rows[1]["last_s"].as_f64() < rows[1]["first_s"].as_f64(), "{listing}");
    let panics = listing["panics"].as_array().unwrap();
    let numbers = panics.iter().map(|row| json!([row["seq"], row["failure"], row["tid"]]));
    let number = &rows[1]["number"];
    assert_eq!(numbers.collect::<Vec<_>>(), [3, 2, 1].map(|seq| json!([seq, number, 4712])));
    let title = stdout.lines().find(|line| line.starts_with("FAILURE")).unwrap();
    assert!(title.contains("THREAD"), "{stdout}");
    assert_eq!(listing["summary"]["panics"], 3);
    assert_eq!(listing["summary"]["newest_message"], "too late");
    let dump = dir.run(["dump"]).json();
    for list in ["failures", "panics"] {
        let dumped = dump["atomscope"][list].as_array().unwrap();
        assert_eq!(dumped.len(), listing[list].as_array().unwrap().len());
        for (listed, dumped) in listing[list].as_array().unwrap().iter().zip(dumped) {
            dumped
                .as_object()
                .unwrap()
                .iter()
                .for_each(|(key, value)| assert_eq!(listed[key], *value, "{key}"));
        }
    }
}

#[test]
fn people_see_the_newest_panics_and_others_by_limit_filter_and_order() {
    let dir = RegionDir::new();
    let node = node("n");
    (0..7).for_each(|n| node.panic(at(100 - n), &COLD));
    node.failure(Severity::Error, at(9000), &LATE);
    let _lock = node.live(&dir);
    let ran = dir.run(["failures"]);
    assert!(ran.stderr.contains("2 more rows of panics; show them with a larger --limit"), "{ran:?}");
    let stdout = ran.ok();
    let first: Vec<_> = words(&stdout).iter().filter_map(|row| row.first()?.parse::<u64>().ok()).collect();
    assert_eq!(first[first.len() - 5..], [7, 6, 5, 4, 3], "{stdout}");
    let of = |args: &[&str]| dir.run([&["failures", "--json"], args].concat()).json();
    let messages = |listing: &Value| -> Vec<Value> {
        listing["failures"].as_array().unwrap().iter().map(|row| row["message"].clone()).collect()
    };
    for filter in ["severity = error", "last > 1h", "message ~ late", "location ~ clock", "late", "count < 7"]
    {
        let listing = of(&["--filter", filter]);
        assert_eq!(messages(&listing), ["too late"], "{filter}");
    }
    assert_eq!(of(&["--filter", "count > 1"])["failures"][0]["count"], 7);
    assert_eq!(messages(&of(&["--sort", "count", "--reverse"])), ["too late", "oven 7 is cold"]);
    assert_eq!(messages(&of(&["--limit", "1"])).len(), 1);
    dir.run(["failures", "--filter", "no_such > 1"]).failed(2);
}

#[test]
fn none_that_is_known_is_not_the_same_as_nothing_known() {
    let dir = RegionDir::new();
    let quiet = node("quiet");
    let lock = quiet.live(&dir);
    assert!(dir.run(["failures"]).ok().starts_with("0 panics, 0 errors, 0 warnings\n"));
    assert!(dir.run(["show"]).ok().contains("Failures: 0 panics, 0 errors, 0 warnings\n"));
    assert!(dir.run(["doctor"]).ok().contains("good  no panic\n"));
    drop(lock);
    let dir = RegionDir::new();
    quiet.attached(&[Attachment::PanicHook]);
    let lock = quiet.live(&dir);
    assert!(dir.run(["failures"]).ok().starts_with("0 panics, - errors, - warnings\n"));
    let summary = dir.run(["failures", "--json"]).json()["summary"].clone();
    assert_eq!((&summary["panics"], &summary["errors"]), (&json!(0), &Value::Null));
    drop(lock);
    let dir = RegionDir::new();
    quiet.attached(&[]);
    let _lock = quiet.live(&dir);
    assert_eq!(dir.run(["failures"]).ok(), "node quiet reports nothing about failures\n");
    assert!(!dir.run(["show"]).ok().contains("Failures:"));
    let doctor = dir.run(["doctor"]).ok();
    assert!(!doctor.contains("panic"), "{doctor}");
}

#[test]
fn a_sentence_about_the_newest_panic_has_its_own_message_and_actor() {
    let dir = RegionDir::new();
    let node = node("n");
    node.panic(at(40), &COLD);
    let other = Report { message: Some("oven 8 is cold"), actor: "akka://Shop/user/butcher", ..COLD };
    node.panic(at(20), &other);
    let _lock = node.live(&dir);
    let shown = dir.run(["show"]).ok();
    assert!(
        shown.contains(
            " in akka://Shop/user/butcher on thread shop-worker: oven 8 is cold; `atomscope failures "
        ),
        "{shown}"
    );
    let listing = dir.run(["failures", "--json"]).json();
    assert_eq!(listing["failures"][0]["message"], "oven 7 is cold", "the first time");
    assert_eq!(listing["failures"][0]["count"], 2);
    assert_eq!(listing["summary"]["newest_message"], "oven 8 is cold");
}

#[test]
fn show_has_the_failures_of_each_class_of_instrumented_actors_with_the_newest() {
    let dir = RegionDir::new();
    let (node, _) = instrumented::bakery();
    let class = Instruments::of(&node).name("shop::Baker");
    let _lock = node.live(&dir);
    let shown = dir.run(["show"]).ok();
    assert!(!shown.contains("shop::Baker: 2 failures"), "none is kept one by one: {shown}");
    let json = dir.run(["show", "--json"]).json();
    let unknown = json!({"class": "shop::Baker", "failures": 2, "newest_s": null, "newest_message": null});
    assert_eq!(json["failures_by_class"], json!([unknown]));
    let listing = dir.run(["failures", "--json"]).json();
    assert_eq!(listing["failures_by_class"], json["failures_by_class"]);
    assert!(shown.contains("handlers failed 2 times: shop::Baker 2"), "{shown}");
    let findings = dir.run(["doctor"]).stdout;
    assert!(findings.contains("handlers failed 2 times") && !findings.contains("no panic"), "{findings}");

    let dir = RegionDir::new();
    node.panic(at(20), &Report { message: Some("the oven is cold"), class, ..COLD });
    node.panic(at(5), &Report { message: Some("another class"), ..COLD });
    let _lock = node.live(&dir);
    let shown = dir.run(["show"]).ok();
    let line = shown.lines().find(|line| line.contains("shop::Baker: 2 failures, newest panic ")).unwrap();
    assert!(line.ends_with(" ago: the oven is cold"), "{shown}");
}

#[test]
fn a_node_that_keeps_no_texts_still_has_the_place_and_the_number() {
    let dir = RegionDir::new();
    let node = node("discreet");
    node.panic(at(10), &Report { message: None, ..COLD });
    let _lock = node.live(&dir);
    let stdout = dir.run(["failures"]).ok();
    let summary = stdout.lines().next().unwrap();
    assert!(
        summary.ends_with("at src/oven.rs:7:9 in akka://Shop/user/baker on thread shop-worker"),
        "{stdout}"
    );
    let listing = dir.run(["failures", "--json"]).json();
    assert_eq!(listing["failures"][0]["message"], Value::Null);
    // A node that knows the message knows that it is empty.
    let dir = RegionDir::new();
    let node = self::node("empty");
    node.panic(at(10), &Report { message: Some(""), ..COLD });
    let _lock = node.live(&dir);
    assert_eq!(dir.run(["failures", "--json"]).json()["panics"][0]["message"], "");
}

#[test]
fn a_panic_is_a_warning_of_the_doctor_until_it_is_old() {
    let doctor = |ago: u64| {
        let dir = RegionDir::new();
        let node = node("n");
        node.panic(at(ago), &COLD);
        node.failure(Severity::Warning, at(ago / 2), &LATE);
        let _lock = node.live(&dir);
        dir.run(["doctor"]).ok()
    };
    let recent = doctor(30);
    assert!(recent.contains("warning  1 panic; the newest: panic 3"), "{recent}");
    assert!(recent.contains(" on thread shop-worker: "), "{recent}");
    assert!(recent.contains("oven 7 is cold\n           `atomscope failures`"), "{recent}");
    assert!(recent.contains("note  1 warning logged; the newest: warning 1"), "{recent}");
    let old = doctor(4000);
    assert!(old.contains("note  1 panic; the newest: panic 1 h 6 min ago"), "{old}");
}

#[test]
fn show_says_how_many_failed_and_what_failed_last() {
    let dir = RegionDir::new();
    let _lock = bakery().live(&dir);
    let stdout = dir.run(["show"]).ok();
    let line = stdout.lines().find(|line| line.starts_with("     Failures: 3 panics, 1 error")).unwrap();
    assert!(line.contains(": too late; `atomscope failures "), "{stdout}");
    let json = dir.run(["show", "--json"]).json();
    assert_eq!(json["subsystems"]["failures"]["panics"], 3);
    assert_eq!(json["usage"]["failures"], json!({"used": 3, "capacity": 16}));
}

#[test]
fn a_dead_node_and_a_dump_tell_their_failures_as_of_their_end() {
    let dir = RegionDir::new();
    let path = bakery().dead(&dir);
    let raw = dir.join("bakery.raw");
    let dump = ["dump".as_ref(), "--format".as_ref(), "raw".as_ref(), "-o".as_ref(), raw.as_os_str()];
    dir.run(dump).ok();
    let of = |path: &Path| dir.run(["failures".as_ref(), path.as_os_str(), "--json".as_ref()]).json();
    let (dead, dumped) = (of(&path), of(&raw));
    assert_eq!(dead["state"], "crashed");
    assert_eq!((&dead["failures"], &dead["panics"]), (&dumped["failures"], &dumped["panics"]));
    assert_eq!(dead["failures"].as_array().unwrap().len(), 3);
}

#[test]
fn a_redacted_dump_has_no_text_of_a_failure() {
    let dir = RegionDir::new();
    let _lock = bakery().live(&dir);
    let text = dir.run(["dump", "--redact"]).ok();
    for secret in ["oven", "too late", "user/baker", "shop-worker", "shop::clock"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let dump = crate::fixture::strict(&text);
    let panic = &dump["atomscope"]["failures"][1];
    assert_eq!((&panic["count"], &panic["severity"]), (&json!(3), &json!("panic")));
    assert_eq!(panic["message"], Value::Null);
    let raw = dir.join("redacted.raw");
    dir.run(["dump", "--format", "raw", "--redact", "-o", raw.to_str().unwrap()]).ok();
    let bytes = std::fs::read(&raw).unwrap();
    for secret in ["oven 7", "too late", "user/baker", "shop-worker", "clock.rs"] {
        let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_there, "{secret}");
    }
}

#[test]
fn hostile_texts_of_failures_do_nothing_to_a_terminal() {
    const HOSTILE: &str = "\u{1b}]0;t\u{7}\u{202e}\u{9b}2J\nend";
    let dir = RegionDir::new();
    let node = node("n");
    let report = Report {
        message: Some(HOSTILE),
        location: HOSTILE,
        thread: HOSTILE,
        actor: HOSTILE,
        target: HOSTILE,
        class: 0,
    };
    node.panic(at(10), &report);
    node.failure(Severity::Error, at(9), &report);
    let _lock = node.live(&dir);
    let commands: [&[&str]; 6] =
        [&["failures"], &["failures", "--json"], &["show"], &["show", "--json"], &["doctor"], &["dump"]];
    for args in commands {
        let ran = dir.run(args);
        let is_harmless = |text: &str| !text.chars().any(|c| c != '\n' && atomscope::text::is_unsafe(c));
        assert!(is_harmless(&ran.stderr) && is_harmless(&ran.stdout), "{ran:?}");
        assert!(ran.stdout.contains("202e"), "{ran:?}");
    }
    let lines = dir.run(["failures"]).ok();
    assert!(
        !lines.lines().any(|line| line.trim_start().starts_with("end")),
        "a text stays in its row: {lines}"
    );
}

#[test]
fn what_is_unlisted_and_what_is_unreadable_is_said() {
    let dir = RegionDir::new();
    let node = bakery();
    node.count(Builtin::FailuresUnlisted, 4);
    // A thread claimed this slot and was killed before it stored the record.
    let stride = node.map.failures.stride;
    let free = (0..node.map.failures.count)
        .map(|number| node.map.failures.start + number * stride)
        .find(|start| node.memory.words()[start + 1].load(std::sync::atomic::Ordering::Relaxed) == 0);
    node.set(free.unwrap() + 1, 77);
    assert!(stride >= FAILURE_WORDS);
    let _lock = node.live(&dir);
    let ran = dir.run(["failures"]);
    for text in [
        "4 times no slot was free for another failure: a region with more `failures` lists them",
        "1 records of the failure log are unreadable",
    ] {
        assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    }
    let doctor = dir.run(["doctor"]).ok();
    for text in [
        "warning  4 times no slot was free for another failure\n           build the region with more `failures`",
        "warning  1 records of the failure log cannot be read",
    ] {
        assert!(doctor.contains(text), "{text}\n{doctor}");
    }
    let show = dir.run(["show"]).ok();
    assert!(show.contains("4 panics, errors and warnings missing in the failure log (log full)"), "{show}");
    assert!(show.contains("1 record of the failure log was unreadable"), "{show}");
}
