//! The Python reader says the same as `atomscope dump` and as the decoder of the tests, which is independent of both.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use atomscope_probe::{Level, Region};
use atomscope_tests::support::dumps::{
    Damage, all_events, decoded, dump_of, golden_regions, json_lines, same,
};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../layout/python");

fn python<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut python = Command::new("python3");
    // Warnings are errors: of a file that was not closed, too. The sources get no compiled files beside them.
    python.env("PYTHONPATH", FOLDER).args(["-B", "-W", "error"]).args(arguments).stdin(Stdio::null());
    python
}

/// The JSON lines that the module prints.
fn lines<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Vec<Value> {
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    let module = ["-m".into(), "atomscope".into()].into_iter();
    let output = python(module.chain(arguments)).output().expect("python3 can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json_lines(&output.stdout)
}

fn snapshot(who: impl AsRef<OsStr>) -> Value {
    lines(["snapshot".as_ref(), who.as_ref()]).remove(0)
}

/// Times that are unknown are empty in a dump, because `atomr-telemetry` has no other word for that.
fn unknown_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_time = ["timestamp", "first", "last", "since", "spawned_at"].contains(&name.as_str());
                if is_time && *value == "" {
                    value.take();
                }
                unknown_times(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(unknown_times),
        _ => {}
    }
}

/// A dump in the shape of a snapshot of Python.
fn of_dump(mut dump: Value) -> Value {
    unknown_times(&mut dump);
    let mut about = dump["atomscope"].take();
    let mut stats = about["instruments"]["actors"].take();
    let mut actors = dump["actors"]["flat"].take();
    for actor in actors.as_array_mut().expect("a list") {
        let stats = stats.as_array_mut().expect("a list");
        let stats = stats.iter_mut().find(|stats| stats["path"] == actor["path"]).map(Value::take);
        actor["stats"] = stats.unwrap_or_default();
        if let Some(stats) = actor["stats"].as_object_mut() {
            stats.remove("path");
            actor["depth_peak"] = stats.remove("depth_peak").unwrap_or_default();
        }
        actor["host"] = actor["host"].take();
    }
    for metric in about["metrics"].as_array_mut().expect("a list") {
        metric["histogram"] = metric["histogram"].take();
    }
    let mut snapshot = json!({
        "node": dump["node"],
        "generated_at": dump["generated_at"],
        "actors": actors,
        "cluster": dump["cluster"],
        "sharding": dump["sharding"],
        "journal_writes": dump["persistence"]["recent_writes"],
        "actors_unreadable": about["unreadable"],
        "dead_letters": dump["dead_letters"],
        "dead_letter_totals": about["dead_letters"],
        "classes": about["instruments"]["classes"],
        "kinds": about["records"]["kinds"],
        "records": about["records"]["list"],
        "records_unreadable": about["records"]["unreadable"],
    });
    for name in SAME {
        snapshot[name] = about[name].take();
    }
    snapshot
}

/// What has one name in both.
const SAME: [&str; 29] = [
    "state",
    "why",
    "conditions",
    "liveness",
    "end",
    "pid",
    "uid",
    "system",
    "program",
    "writer_version",
    "layout_version",
    "created_at",
    "process_beat_age_ms",
    "runtime_beat_age_ms",
    "totals",
    "unlisted",
    "waiting_stops",
    "failures",
    "failures_unreadable",
    "panics",
    "panic_totals",
    "metrics",
    "runtime_threads",
    "runtime_threads_unreadable",
    "instances",
    "instances_unreadable",
    "hand_offs",
    "rows_dropped",
    "documents_unreadable",
];

/// A snapshot of Python without what a dump does not tell or tells otherwise.
fn of_python(mut snapshot: Value) -> Value {
    for actor in snapshot["actors"].as_array_mut().expect("a list") {
        // A dump has 0 for an unknown depth, as `atomr-telemetry` has.
        if actor["mailbox_depth"].is_null() {
            actor["mailbox_depth"] = 0.into();
        }
        // A dump has it only of instrumented actors.
        if actor["stats"].is_null() {
            actor.as_object_mut().expect("an object").remove("depth_peak");
        }
    }
    for metric in snapshot["metrics"].as_array_mut().expect("a list") {
        metric.as_object_mut().expect("an object").remove("builtin");
        // A dump has it as the metric's value.
        if let Some(count) =
            metric["histogram"].as_object_mut().and_then(|histogram| histogram.remove("count"))
        {
            assert_eq!(metric["value"], count);
        }
    }
    let letters = snapshot["dead_letters"].as_array_mut().expect("a list");
    letters.truncate(100);
    snapshot
}

fn without_times(mut snapshot: Value) -> Value {
    for time in ["generated_at", "process_beat_age_ms", "runtime_beat_age_ms"] {
        snapshot[time].take();
    }
    snapshot
}

/// All three read the same of a region at rest.
#[track_caller]
fn same_at_rest(region: &Path) -> Value {
    let theirs = without_times(of_python(snapshot(region)));
    let ours = without_times(of_dump(dump_of(region)));
    same("snapshot", &ours, &theirs);
    let decoder = decoded(["dump".as_ref(), region.as_os_str()]).remove(0);
    same("snapshot", &without_times(of_dump(decoder)), &theirs);
    ours
}

/// The events, too. Returns how many lines there are.
#[track_caller]
fn same_events(region: &Path) -> usize {
    let mut ours = all_events(region);
    // The module's last line is the last event.
    ours.retain(|line| line["kind"] != "ended");
    for line in &mut ours {
        let line = line.as_object_mut().expect("an object");
        line.remove("node");
        line.remove("pid");
    }
    ours.iter_mut().for_each(unknown_times);
    let mut theirs = lines(["events".as_ref(), "--first".as_ref(), region.as_os_str()]);
    same("events", &Value::from(ours), &Value::from(theirs.clone()));
    theirs.retain(|line| line["kind"] != "lost");
    theirs.len()
}

#[test]
fn the_module_has_the_version_of_the_crates() {
    let module = std::fs::read_to_string(Path::new(FOLDER).join("atomscope.py")).expect("the module");
    assert!(module.contains(&format!("\n__version__ = \"{}\"\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
#[ignore = "needs python3"]
fn the_golden_regions_say_the_same_to_python() {
    let regions = golden_regions();
    assert!(!regions.is_empty());
    for file in regions {
        same("snapshot", &of_dump(dump_of(&file)), &of_python(snapshot(&file)));
        assert!(same_events(&file) > 0);
    }
}

#[test]
#[ignore = "needs python3"]
fn a_stopped_node_and_then_a_killed_one_say_the_same_to_python() {
    let mut node = Node::demo(["--node", "python", "--rate", "400"]);
    let region = node.region().to_owned();
    let letters = || dump_of(&region)["atomscope"]["dead_letters"]["total"].as_u64();
    wait_until("there are dead letters", || letters() > Some(0));
    node.signal("STOP");
    wait_until("it has stopped", || dump_of(&region)["atomscope"]["state"] == "wedged");
    let stopped = same_at_rest(&region);
    assert_eq!(stopped["why"], "its process is stopped (SIGSTOP or a debugger)");
    assert!(stopped["actors"].as_array().is_some_and(|actors| !actors.is_empty()));
    // By its process id it is the same node.
    same("snapshot", &stopped, &without_times(of_python(snapshot(node.who()))));
    let listed = lines(["nodes"]);
    assert!(listed.iter().any(|line| line["pid"] == node.pid() && line["state"] == "wedged"), "{listed:?}");
    node.kill();
    assert_eq!(same_at_rest(&region)["state"], "crashed");
    assert!(same_events(&region) > 100);
}

#[test]
#[ignore = "needs python3"]
fn a_node_whose_region_has_a_name_of_the_users_is_found_by_its_process() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let file = folder.path().join("shop");
    let node =
        Node::demo(["--node", "named", "--rate", "1", "--region", file.to_str().expect("a plain path")]);
    let found = snapshot(node.who());
    assert_eq!((&found["node"], &found["state"]), (&"named".into(), &"live".into()));
    assert_eq!(found["pid"], node.pid());
}

atomscope_probe::record_enum! {
    /// What a market does.
    enum Phase: u16 { Closed, Auction }
}

atomscope_probe::record! {
    /// One order book.
    struct OrderBook {
        /// The best price.
        best_bid: f64 "USD",
        change: f32 "%",
        drift: i16,
        open: bool,
        phase: Phase,
        levels: [f64; 3] "USD",
        symbol: Text<16>,
    }
}

fn book_now() -> OrderBook {
    OrderBook {
        best_bid: 1.25,
        change: 0.1,
        drift: -3,
        open: true,
        phase: Phase::Auction,
        levels: [1.0, f64::NAN, 2.5],
        symbol: "EUR\u{7}".into(),
    }
}

#[test]
#[ignore = "needs python3"]
fn what_an_application_publishes_itself_says_the_same_to_python() {
    let name = "what_an_application_publishes_itself_says_the_same_to_python";
    if let Some(place) = support::role() {
        let region =
            Region::builder("market").actors(8).file(&place).build().expect("the region can be made");
        let mut book = region.record::<OrderBook>("EURUSD").expect("there is room");
        let _never = region.record::<OrderBook>("never").expect("there is room");
        book.publish(&book_now());
        region.counter("orders.placed", "orders", "Orders of all shops.").add(7);
        region.counter_with("docs.seen", "documents", "", &[("shard", "0"), ("host", "a b")]).add(3);
        region.gauge("orders.open", "orders", "Orders that wait.").set(-3);
        region.float_gauge("oven.temperature", "Cel", "").set(182.5);
        let spread = region.histogram("spread", "USD", "Spreads.");
        (0..50).for_each(|value| spread.record(value * value));
        let orders = region.events("orders").expect("there is room");
        orders.publish(Level::Warn, "late\u{7}");
        let books = region.events_of::<OrderBook>("books").expect("there is room");
        books.publish(Level::Info, &book_now());
        let panicking = std::thread::Builder::new().name("baker".to_owned());
        panicking.spawn(|| panic!("oven 1")).expect("a thread").join().expect_err("it panics");
        println!("ready region={}", region.path().expect("it is shared").display());
        std::process::abort();
    }
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let region = folder.path().join("market");
    let mut command = support::again(name, region.to_str().expect("a plain path"));
    let mut node = Node::start(command.arg("--ignored").stderr(Stdio::null()));
    node.wait();
    let found = same_at_rest(&region);
    assert_eq!(found["records"][0]["values"]["levels"], json!([1.0, null, 2.5]));
    assert_eq!(found["records"][0]["values"]["phase"], "Auction");
    assert_eq!(found["records"][1]["at"], Value::Null);
    assert_eq!(found["failures"].as_array().map(Vec::len), Some(1));
    let metrics = found["metrics"].as_array().expect("a list");
    let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).expect("it is there");
    assert_eq!(metric("docs.seen")["labels"], json!({ "host": "a b", "shard": "0" }));
    assert_eq!(
        (&metric("orders.open")["value"], &metric("oven.temperature")["value"]),
        (&json!(-3), &json!(182.5))
    );
    assert_eq!(same_events(&region), 3);
    let events = lines(["events".as_ref(), region.as_os_str()]);
    assert_eq!(
        (&events[0]["topic"], &events[0]["level"], &events[0]["text"]),
        (&json!("orders"), &json!("warn"), &json!("late\u{7}"))
    );
    assert_eq!(events[1]["values"]["drift"], -3);
}

#[test]
#[ignore = "needs python3"]
fn python_follows_a_node_to_its_end_and_sees_no_stop_before_its_spawn() {
    let mut node = Node::demo(["--node", "python-follow", "--rate", "50", "--shop-alone"]);
    let mut follower = python(["-m", "atomscope", "events", "--follow"]);
    let follower = follower.arg(node.who()).stdout(Stdio::piped()).spawn().expect("python3 can be run");
    let stops = || {
        let totals = &dump_of(node.region())["atomscope"]["totals"];
        totals["stopped"].as_u64() > Some(100)
    };
    wait_until("actors have stopped", stops);
    node.kill();
    let output = follower.wait_with_output().expect("it ends with the node");
    assert!(output.status.success());
    let mut live = std::collections::HashMap::<String, u64>::new();
    let mut stopped = 0;
    for line in json_lines(&output.stdout) {
        let path = line["path"].as_str().unwrap_or_default().to_owned();
        match line["kind"].as_str() {
            // The node keeps the events of about ten seconds.
            Some("lost") => panic!("{line}"),
            Some("actor_spawned") => *live.entry(path).or_default() += 1,
            Some("actor_stopped") => {
                *live.get_mut(&path).filter(|count| **count > 0).unwrap_or_else(|| panic!("{line}")) -= 1;
                stopped += 1;
            }
            _ => {}
        }
    }
    assert!(stopped > 100, "{stopped}");
}

/// Reads each file, and lets nothing but a refusal pass.
const READ_ALL: &str = "
import atomscope, json, sys
read = 0
for file in sys.argv[1:]:
    try:
        with atomscope.open(file) as node:
            json.dumps(node.snapshot().to_dict(), allow_nan=False)
            json.dumps([event.to_dict() for event in node.events(from_first=True)], allow_nan=False)
            read += 1
    except atomscope.Refused:
        pass
print(json.dumps({'read': read}))
";

#[test]
#[ignore = "needs python3"]
fn python_reads_damaged_regions_or_refuses_them() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let mut damage = Damage::default();
    let mut files = Vec::new();
    for golden in golden_regions() {
        let sound = std::fs::read(&golden).expect("a golden region");
        for round in 0..12 {
            let damaged = damage.of(&sound, round);
            let file = folder.path().join(files.len().to_string());
            std::fs::write(&file, &damaged).expect("a file in memory");
            files.push(file);
            let cut = folder.path().join(format!("cut-{}", files.len()));
            let end = damage.below(sound.len() as u64) as usize;
            std::fs::write(&cut, &sound[..end]).expect("a file in memory");
            files.push(cut);
        }
    }
    let output = python(["-c", READ_ALL]).args(&files).output().expect("python3 can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = json_lines(&output.stdout)[0]["read"].as_u64();
    assert!(read > Some(10), "{read:?} files were read");
}

/// Lists the nodes, and opens by the process id of a pipe.
const LIST: &str = "
import atomscope, json
listed = atomscope.nodes()
print(json.dumps([node.name for node in listed]))
for node in listed:
    node.close()
try:
    atomscope.open(77)
except atomscope.Refused:
    print(json.dumps('refused'))
";

#[test]
#[ignore = "needs python3"]
fn python_lists_the_nodes_beside_a_pipe_and_takes_no_memory_for_the_size_of_a_dump() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let name = |pid: u32| folder.path().join(format!("atomscope-0-{pid}-0123456789abcdef"));
    let made = Command::new("mkfifo").arg(name(77)).status().expect("mkfifo can be run");
    assert!(made.success());
    let golden = golden_regions().remove(0);
    std::fs::copy(&golden, name(78)).expect("a copy");
    // Sound dumps that claim more bytes, of which the file system keeps none.
    for (pid, bytes) in [(79, 32_u64 << 40), (80, 2 << 30)] {
        let mut dump = std::fs::read(&golden).expect("a golden region");
        dump[24..32].copy_from_slice(&bytes.to_le_bytes());
        std::fs::write(name(pid), &dump).expect("a file in memory");
        let file = std::fs::File::options().write(true).open(name(pid)).expect("the file");
        file.set_len(bytes + 4096).expect("a sparse file");
    }
    let mut listing = Command::new("timeout");
    // 512 MiB of memory of its own.
    listing.args(["60", "prlimit", "--data=536870912", "python3", "-B", "-W", "error", "-c", LIST]);
    listing.env("PYTHONPATH", FOLDER).env("ATOMSCOPE_DIR", folder.path()).stdin(Stdio::null());
    let output = listing.output().expect("timeout can be run");
    assert!(output.status.success(), "{output:?}");
    let found = json_lines(&output.stdout);
    let node = &dump_of(&golden)["node"];
    assert_eq!(found, [json!([node, node]), "refused".into()]);
}

/// Makes all slots of actors, and all events, unfinished, and counts how often the reader waits for their writers.
const UNFINISHED: &str = "
import atomscope, json, struct, sys
waits = 0
def wait(seconds):
    global waits
    waits += 1
atomscope.time.sleep = wait
with atomscope.open(sys.argv[1]) as node:
    sections = node._region.sections
with open(sys.argv[1], 'r+b') as file:
    def store(offset, word):
        file.seek(offset)
        file.write(struct.pack('<Q', word))
    actors, events = sections['actors'], sections['events']
    for offset in actors.records():
        store(offset, 1 << 63 | 1)
    store(1920, actors.count)
    slots = events.stride // atomscope._EVENT_SLOT_BYTES - 1
    for lane in events.records():
        store(lane, slots)
        for ticket in range(slots):
            store(lane + (1 + ticket) * atomscope._EVENT_SLOT_BYTES, 2 * ticket + 1)
with atomscope.open(sys.argv[1]) as node:
    waits = 0
    unreadable = node.snapshot().actors_unreadable
    of_snapshot, waits = waits, 0
    lost = sum(event.lost for event in node.events(follow=False))
    print(json.dumps([unreadable, lost, of_snapshot, waits]))
";

#[test]
#[ignore = "needs python3"]
fn python_does_not_wait_for_each_of_many_unfinished_records() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let file = folder.path().join("unfinished");
    let region = Region::builder("unfinished").actors(1_000).build().expect("the region can be made");
    std::fs::copy(region.path().expect("it is shared"), &file).expect("a copy");
    let output = python(["-c", UNFINISHED]).arg(&file).output().expect("python3 can be run");
    assert!(output.status.success(), "{output:?}");
    let found = json_lines(&output.stdout).remove(0);
    let [unreadable, lost, of_snapshot, of_events] =
        [0, 1, 2, 3].map(|at| found[at].as_u64().expect("a number"));
    assert!(unreadable >= 1_000 && lost >= 1_000, "{found}");
    // As often as for 100 records.
    assert!((1..=1600).contains(&of_snapshot) && (1..=1600).contains(&of_events), "{found}");
}
