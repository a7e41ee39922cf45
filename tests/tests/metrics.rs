//! Metrics of a real process, as the commands of `atomscope` see them: while it works, and after SIGKILL.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use atomscope_layout::metrics::BUILTIN;
use atomscope_layout::{Capacities, RegionMap};
use atomscope_probe::Region;
use atomscope_tests::support::dumps::{dump_of, json_lines};
use atomscope_tests::support::{self, Node, atomscope_json};
use serde_json::{Value, json};

/// Registers metrics of all kinds, and waits until it is killed.
fn work() -> ! {
    let region = Region::builder("crawler").build().unwrap();
    for (shard, documents) in [("0", 5), ("1 \"x\"", 7)] {
        region
            .counter_with("docs.seen", "By", "Documents", &[("zone", "eu"), ("shard", shard)])
            .add(documents << 10);
    }
    region.gauge("queue.drift", "1", "Drift").set(-3);
    region.float_gauge("load", "%", "Load").set(0.25);
    region.float_gauge("nothing", "", "No number").set(f64::NAN);
    let times = region.histogram_with("fetch", "ns", "Times", &[("host", "a")]);
    [1_000_000, 3_000_000].into_iter().for_each(|time| times.record(time));
    region.counter("gone", "", "").removed_on_drop().inc();
    region.counter("bad\nname", "", "").inc();
    println!("ready region={}", region.path().unwrap().display());
    loop {
        std::thread::park();
    }
}

fn text(arguments: &[&str]) -> String {
    let output = support::atomscope(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn decoded(file: &Path) -> Value {
    let decoder = concat!(env!("CARGO_MANIFEST_DIR"), "/decoder/atomscope_decode.py");
    let output = Command::new("python3").args([decoder, "dump"]).arg(file).output().unwrap();
    json_lines(&output.stdout).remove(0)
}

#[test]
fn the_commands_show_metrics_with_their_labels_while_the_node_lives_and_after_its_death() {
    if support::role().is_some() {
        work();
    }
    let name = "the_commands_show_metrics_with_their_labels_while_the_node_lives_and_after_its_death";
    let mut node = Node::start(&mut support::again(name, "work"));
    let who = node.who();
    let check = |node: &Node| {
        let rows = atomscope_json(["metrics", &who, "--json"]);
        let rows = rows.as_array().unwrap();
        let told: Vec<_> = rows.iter().map(|row| json!([row["name"], row["labels"], row["value"]])).collect();
        let expected = [
            json!(["docs.seen", {"shard": "0", "zone": "eu"}, 5120]),
            json!(["docs.seen", {"shard": "1 \"x\"", "zone": "eu"}, 7168]),
            json!(["queue.drift", {}, -3]),
            json!(["load", {}, 0.25]),
            json!(["nothing", {}, null]),
            json!(["fetch", {"host": "a"}, 2]),
        ];
        assert_eq!(told, expected);
        assert_eq!(
            (&rows[5]["sum"], &rows[5]["unit"], &rows[0]["kind"]),
            (&json!(4_000_000), &json!("ns"), &json!("counter"))
        );
        let table = text(&["metrics", &who, "--filter", "labels ~ eu"]);
        for part in ["LABELS", r#"shard="1 \"x\"",zone="eu""#, "7.0", "KiB"] {
            assert!(table.contains(part), "{part}: {table}");
        }
        assert!(
            !table.contains("actors.spawned") && text(&["metrics", &who, "--all"]).contains("actors.spawned")
        );
        let show = text(&["show", &who]);
        assert!(show.contains(r#"6 metrics: docs.seen{shard="0",zone="eu"} 5.0 KiB, "#), "{show}");
        let (ours, theirs) = (dump_of(node.region()), decoded(node.region()));
        // The probe's own go on between the two.
        let own = |dump: &Value| dump["atomscope"]["metrics"].as_array().unwrap()[BUILTIN.len()..].to_vec();
        assert_eq!(own(&ours), own(&theirs));
    };
    check(&node);
    let one = r#"docs.seen{shard="0"}"#;
    let stat = [
        "stat",
        &who,
        "1ms",
        "1",
        "--json",
        "--metric",
        one,
        "--metric",
        "queue.drift",
        "--metric",
        "docs.seen",
    ];
    let row = atomscope_json(stat);
    let metrics = &row["metrics"];
    assert_eq!(metrics["queue.drift"], -3.0);
    assert!(metrics[format!("{one}_per_s")].is_number() && metrics["docs.seen_per_s"].is_number(), "{row}");
    assert_eq!(
        support::atomscope(["stat", &who, "--metric", r#"docs.seen{shard="2"}"#]).status.code(),
        Some(1)
    );
    let doctor = String::from_utf8(support::atomscope(["doctor", &who]).stdout).unwrap();
    assert!(doctor.contains("1 time a metric was refused"), "{doctor}");
    node.kill();
    check(&node);
    let redacted = text(&["dump", &who, "--redact"]);
    for name in ["docs.seen", "\"shard\"", "\"zone\"", "1 \\\"x"] {
        assert!(!redacted.contains(name), "{name}");
    }
}

#[test]
fn an_operator_changes_capacities_and_the_directory_by_the_environment() {
    if support::role().is_some() {
        let region = Region::builder("enlarged").actors(64).build().unwrap();
        println!("ready region={}", region.path().unwrap().display());
        std::thread::park();
    }
    let name = "an_operator_changes_capacities_and_the_directory_by_the_environment";
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = support::again(name, "work");
    let chosen = [("ACTORS", "100"), ("METRICS", "2000"), ("LANES", "many"), ("EVENTS", "99999999999")];
    for (variable, value) in chosen {
        command.env(format!("ATOMSCOPE_{variable}"), value);
    }
    let mut node = Node::start(command.env("ATOMSCOPE_DIR", dir.path()));
    assert_eq!(node.region().parent(), Some(dir.path()));
    // The instruments go with the actors.
    let capacities = Capacities { actors: 100, instruments: 100, metrics: 2000, ..Capacities::default() };
    let bytes = RegionMap::for_capacities(&capacities).unwrap().region_bytes as u64;
    assert_eq!(std::fs::metadata(node.region()).unwrap().len(), bytes);
    let of = |command: &[&str]| {
        let mut arguments = vec!["--dir", dir.path().to_str().unwrap()];
        arguments.extend(command);
        String::from_utf8(support::atomscope(arguments).stdout).unwrap()
    };
    assert!(of(&["ps"]).contains("enlarged"));
    let doctor = of(&["doctor", "enlarged"]);
    let told = "the node's environment chose ATOMSCOPE_ACTORS=100, ATOMSCOPE_METRICS=2000, ATOMSCOPE_DIR\n";
    assert!(doctor.contains(told), "{doctor}");
    // A successor finds the dead region there, as it would in /dev/shm.
    node.kill();
    let next = Node::start(support::again(name, "work").env("ATOMSCOPE_DIR", dir.path()));
    assert!(next.region().parent() == Some(dir.path()) && node.region().exists());
    assert!(of(&["show", &next.who()]).contains("1 crash"), "{}", of(&["show", &next.who()]));
    // Where the node may make no file it is visible at the usual place.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = support::again(name, "work");
    if std::fs::metadata(dir.path()).unwrap().uid() == 0 {
        command = without_the_right_to_write_everywhere(&command);
    }
    let mut node = Node::start(command.env("ATOMSCOPE_DIR", dir.path()));
    assert_eq!(node.region().parent(), Some(Path::new("/dev/shm")));
    node.kill();
    std::fs::remove_file(node.region()).unwrap();
}

/// The same command as root without `CAP_DAC_OVERRIDE`.
fn without_the_right_to_write_everywhere(command: &Command) -> Command {
    let mut without = Command::new("setpriv");
    without.args(["--inh-caps=-dac_override", "--bounding-set=-dac_override"]);
    without.arg(command.get_program()).args(command.get_args());
    without.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    without
}
