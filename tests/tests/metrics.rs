//! Metrics of a real process, as the commands of `atomscope` see them: while it works, and after SIGKILL.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use atomscope_layout::metrics::BUILTIN;
use atomscope_layout::{Capacities, RegionMap};
use atomscope_probe::Region;
use atomscope_tests::support::dumps::{decoded, dump_of};
use atomscope_tests::support::{self, Node, atomscope_json};
use serde_json::json;

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

/// A node with metrics of all kinds.
fn start() -> Node {
    let name = "the_commands_show_metrics_with_their_labels_while_the_node_lives_and_after_its_death";
    Node::start(&mut support::again(name, "work"))
}

#[test]
fn the_commands_show_metrics_with_their_labels_while_the_node_lives_and_after_its_death() {
    if support::role().is_some() {
        work();
    }
    let mut node = start();
    let who = node.who();
    let check = || {
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
    };
    check();
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
    check();
    let redacted = text(&["dump", &who, "--redact"]);
    for name in ["docs.seen", "\"shard\"", "\"zone\"", "1 \\\"x"] {
        assert!(!redacted.contains(name), "{name}");
    }
}

#[test]
#[ignore = "needs python3"]
fn a_decoder_that_was_written_from_the_page_alone_reads_the_same_metrics() {
    // A test that is ignored does not run as another process.
    let mut node = start();
    node.kill();
    let (ours, theirs) = (dump_of(node.region()), decoded(["dump".as_ref(), node.region().as_os_str()]));
    assert_eq!(ours["atomscope"]["metrics"], theirs[0]["atomscope"]["metrics"]);
    assert!(ours["atomscope"]["metrics"].as_array().unwrap().len() > BUILTIN.len());
}

/// A folder in which nothing can be made, until its drop.
struct Locked<'a>(&'a Path);

impl<'a> Locked<'a> {
    fn new(folder: &'a Path) -> Self {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555)).unwrap();
        Self(folder)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = std::fs::set_permissions(self.0, std::fs::Permissions::from_mode(0o755));
    }
}

#[test]
fn an_operator_changes_capacities_and_the_directory_by_the_environment() {
    if support::role().is_some() {
        let region = Region::builder("enlarged").actors(64).build().unwrap();
        println!("ready region={}", region.path().unwrap().display());
        loop {
            std::thread::park();
        }
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
    let _locked = Locked::new(dir.path());
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
