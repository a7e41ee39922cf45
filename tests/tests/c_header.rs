//! A reader in C, with `layout/include/atomscope.h`, says the same as `atomscope`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use atomscope_probe::Region;
use atomscope_tests::support::dumps::{Damage, dump_of, golden_regions};
use atomscope_tests::support::{Node, wait_until};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../layout/include");

/// Compiles the example into this folder; warnings are errors. With `checked`, an access outside of the memory ends it.
fn compiled(folder: &Path, checked: bool) -> PathBuf {
    let program = folder.join("example");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I", FOLDER]);
    if checked {
        cc.args(["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    }
    let output =
        cc.arg(format!("{FOLDER}/example.c")).arg("-o").arg(&program).output().expect("cc can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn run(program: &Path, file: &Path) -> Output {
    Command::new(program).arg(file).output().expect("the example can be run")
}

/// The lines that begin with this word, without it, sorted.
fn lines(output: &Output, word: &str) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let mut lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The metrics of a dump, as the example prints them.
fn metrics_of(dump: &Value) -> Vec<String> {
    let metrics = dump["atomscope"]["metrics"].as_array().expect("a list").iter();
    let mut lines: Vec<String> = metrics
        .map(|metric| {
            let labels = metric["labels"].as_object().expect("an object").iter();
            let labels: String = labels.map(|(key, value)| format!(" {key}={}", text(value))).collect();
            let name = format!("{}{labels}", text(&metric["name"]));
            match &metric["histogram"] {
                // A number that nothing counts is 0 in the region.
                Value::Null if metric["value"].is_null() => format!("{name} = 0"),
                Value::Null => format!("{name} = {}", metric["value"]),
                histogram => {
                    let [sum, greatest] = ["sum", "greatest"].map(|of| &histogram[of]);
                    format!("{name} = {} values, sum {sum}, greatest {greatest}", metric["value"])
                }
            }
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_program_in_c_reads_a_node_that_lives_and_one_that_is_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = compiled(folder.path(), false);
    let mut node = Node::demo(["--node", "c-reader", "--rate", "400"]);
    let region = node.region().to_owned();
    let letters = || dump_of(&region)["atomscope"]["dead_letters"]["total"].as_u64();
    wait_until("there are dead letters", || letters() > Some(0));
    // It reads while the node works: no record is torn.
    for actor in lines(&run(&program, &region), "actor") {
        let (path, class) = actor.split_once(' ').expect("a path and a class");
        assert!(path.contains('/'), "{actor}");
        assert!(class.contains("::"), "{actor}");
    }
    node.signal("STOP");
    wait_until("it has stopped", || dump_of(&region)["atomscope"]["state"] == "wedged");
    same(&program, &region);
    node.kill();
    same(&program, &region);
}

/// The example and a dump say the same of a region at rest.
#[track_caller]
fn same(program: &Path, region: &Path) {
    let (dump, output) = (dump_of(region), run(program, region));
    assert_eq!(lines(&output, "node"), [text(&dump["node"])]);
    let flat = dump["actors"]["flat"].as_array().expect("a list").iter();
    let mut actors: Vec<_> =
        flat.map(|actor| format!("{} {}", text(&actor["path"]), text(&actor["actor_type"]))).collect();
    actors.sort();
    let theirs = lines(&output, "actor").into_iter();
    let theirs: Vec<_> = theirs
        .map(|line| line.split_once(" spawned ").map_or(line.clone(), |(line, _)| line.to_owned()))
        .collect();
    assert_eq!(theirs, actors);
    assert!(!actors.is_empty());
    assert_eq!(lines(&output, "metric"), metrics_of(&dump));
}

atomscope_probe::record! {
    /// One order book.
    struct OrderBook { best_bid: f64 "USD", drift: i16, depth: u32, open: bool, symbol: Text<16> }
}

#[test]
fn a_program_in_c_reads_records_and_metrics_of_the_application() {
    let region = Region::builder("c-market").actors(8).build().expect("the region can be made");
    let mut book = region.record::<OrderBook>("EURUSD").expect("there is room");
    book.publish(&OrderBook {
        best_bid: 1.25,
        drift: -3,
        depth: 7,
        open: true,
        symbol: "EÜ\u{7}\u{9b}".into(),
    });
    let _never = region.record::<OrderBook>("never").expect("there is room");
    region.counter("orders.placed", "orders", "Orders of all shops.").add(7);
    region.counter_with("docs.seen", "documents", "", &[("shard", "0"), ("host", "ä")]).add(3);
    region.gauge("orders.open", "orders", "Orders that wait.").set(-3);
    region.float_gauge("oven.temperature", "Cel", "").set(182.5);
    let spread = region.histogram("spread", "USD", "Spreads.");
    [1, 2, 90].into_iter().for_each(|value| spread.record(value));
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(&compiled(folder.path(), false), region.path().expect("it is shared"));
    let records = ["OrderBook/EURUSD best_bid=1.25 depth=7 drift=-3 open=1 symbol=EÜ??", "OrderBook/never"]
        .map(str::to_owned);
    let mut theirs = lines(&output, "record");
    // The macro chooses the order of fields in memory.
    for line in &mut theirs {
        let mut words: Vec<&str> = line.split(' ').collect();
        words[1..].sort_unstable();
        *line = words.join(" ");
    }
    assert_eq!(theirs, records);
    let metrics = lines(&output, "metric");
    for line in [
        "orders.placed = 7",
        "docs.seen host=ä shard=0 = 3",
        "orders.open = -3",
        "oven.temperature = 182.5",
        "spread = 3 values, sum 93, greatest 90",
    ] {
        assert!(metrics.iter().any(|metric| metric == line), "no {line} in {metrics:#?}");
    }
}

#[test]
fn a_program_in_c_takes_no_number_of_a_field_that_has_not_the_size_of_its_type() {
    let region = Region::builder("c-field").actors(8).build().expect("the region can be made");
    let mut book = region.record::<OrderBook>("EURUSD").expect("there is room");
    book.publish(&OrderBook { best_bid: 1.25, drift: -3, depth: 7, open: true, symbol: "EUR".into() });
    let mut damaged = std::fs::read(region.path().expect("it is shared")).expect("the region");
    let found =
        damaged.windows(16).enumerate().find(|(at, found)| at % 8 == 0 && found.starts_with(b"best_bid"));
    let slot = found.expect("the field").0 - 16;
    // The type stays. The size is 0, and the field begins at the end of the values.
    damaged[slot..slot + 4].copy_from_slice(&1024u32.to_le_bytes());
    damaged[slot + 5..slot + 7].copy_from_slice(&[0, 0]);
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let file = folder.path().join("damaged");
    std::fs::write(&file, damaged).expect("a file in memory");
    let output = run(&compiled(folder.path(), false), &file);
    let records = lines(&output, "record");
    assert!(records[0].contains(" best_bid=? ") && records[0].contains(" depth=7"), "{records:?}");
}

#[test]
fn a_program_in_c_does_not_wait_at_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, pipe) = (compiled(folder.path(), false), folder.path().join("pipe"));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo can be run");
    assert!(made.success());
    let output =
        Command::new("timeout").arg("60").args([&program, &pipe]).output().expect("timeout can be run");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_program_in_c_reads_damaged_regions_or_refuses_them() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let program = compiled(folder.path(), true);
    let mut damage = Damage::default();
    let mut read = 0;
    for golden in golden_regions() {
        let sound = std::fs::read(&golden).expect("a golden region");
        for round in 0..10 {
            let mut damaged = damage.of(&sound, round);
            if round == 0 {
                damaged.truncate(damage.below(sound.len() as u64) as usize);
            }
            let file = folder.path().join("damaged");
            std::fs::write(&file, &damaged).expect("a file in memory");
            let output = run(&program, &file);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0..=2)) && !error.contains("Sanitizer"), "{error}");
            assert!(!error.contains("runtime error"), "{error}");
            read += usize::from(output.status.success());
        }
    }
    assert!(read >= 3, "{read} files were read");
}
