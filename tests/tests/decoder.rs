//! LAYOUT.md is complete: a decoder that was written from it alone reads every field as `atomscope` does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use atomscope_probe::Region;
use atomscope_tests::support::dumps::{all_events, decoded, dump_of, golden_regions, same};
use atomscope_tests::support::{self, Node};
use serde_json::Value;

fn decoded_dump(file: &Path) -> Value {
    decoded(["dump".as_ref(), file.as_os_str()]).remove(0)
}

fn same_events(file: &Path) -> usize {
    let theirs = decoded(["tail".as_ref(), "--first".as_ref(), file.as_os_str()]);
    let ours = all_events(file);
    same("tail", &Value::from(ours.clone()), &Value::from(theirs));
    ours.len()
}

/// Removes the times from a dump, which differ between two dumps of the same region, and returns them.
fn take_times(dump: &mut Value) -> [Value; 4] {
    let generated_at = dump["generated_at"].take();
    let about = &mut dump["atomscope"];
    // This comes from the kernel, not from the region.
    about["process"].take();
    let [process, runtime, poll] =
        ["process", "runtime", "poll"].map(|of| about[format!("{of}_beat_age_ms")].take());
    [generated_at, process, runtime, poll]
}

/// The decoder agrees with `atomscope` on a region at rest.
fn same_at_rest(region: &Path) -> Value {
    let (mut before, mut theirs, mut after) = (dump_of(region), decoded_dump(region), dump_of(region));
    let times = [take_times(&mut before), take_times(&mut theirs), take_times(&mut after)];
    // Time passes between the dumps: the decoder's times lie between those of `atomscope`.
    for (at, time) in times[1].iter().enumerate() {
        let (first, last) = (&times[0][at], &times[2][at]);
        let is_between = match time {
            Value::String(time) => first.as_str() <= Some(time) && Some(time.as_str()) <= last.as_str(),
            Value::Number(age) => first.as_u64() <= age.as_u64() && age.as_u64() <= last.as_u64(),
            time => time.is_null() && first.is_null() && last.is_null(),
        };
        assert!(is_between, "{time} is not between {first} and {last}");
    }
    same("dump", &before, &theirs);
    same("dump", &before, &after);
    before
}

/// A node with a region in a file, which no start of another node removes.
fn node(folder: &Path, name: &str, rate: &str) -> (Node, PathBuf) {
    let region = folder.join(name);
    let place = region.to_str().expect("a plain path");
    // An almost idle node has no components besides the shop.
    let alone = (rate == "1").then_some("--shop-alone");
    let node = Node::demo(["--node", name, "--rate", rate, "--region", place].into_iter().chain(alone));
    (node, region)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder in memory")
}

fn letters(region: &Path) -> u64 {
    dump_of(region)["atomscope"]["dead_letters"]["total"].as_u64().expect("a number")
}

#[test]
#[ignore = "needs python3"]
fn a_raw_dump_of_a_busy_node_says_the_same_to_both() {
    let folder = folder();
    let (_node, region) = node(folder.path(), "decoder-raw", "0");
    support::wait_until("there are more dead letters than are kept", || letters(&region) > 1_100);
    let file = folder.path().join("copy.raw");
    let arguments = ["dump".as_ref(), region.as_os_str(), "--format".as_ref(), "raw".as_ref(), "-o".as_ref()];
    assert!(support::atomscope(arguments.into_iter().chain([file.as_os_str()])).status.success());
    let ours = dump_of(&file);
    same("dump", &ours, &decoded_dump(&file));
    assert_eq!(ours["atomscope"]["state"], "live");
    assert!(!ours["actors"]["flat"].as_array().expect("a list").is_empty());
    // How many is a question of time: the node publishes while it is copied.
    assert!(same_events(&file) > 0);
}

#[test]
#[ignore = "needs python3"]
fn the_region_of_a_killed_node_says_the_same_to_both() {
    let folder = folder();
    let (mut node, region) = node(folder.path(), "decoder-killed", "0");
    support::wait_until("there are dead letters", || letters(&region) > 100);
    node.kill();
    assert_eq!(same_at_rest(&region)["atomscope"]["state"], "crashed");
    assert!(same_events(&region) > 1_000);
}

#[test]
#[ignore = "needs python3"]
fn the_region_of_a_stopped_node_says_the_same_to_both() {
    let folder = folder();
    let (node, region) = node(folder.path(), "decoder-stopped", "400");
    support::wait_until("there are dead letters", || letters(&region) > 0);
    node.signal("STOP");
    support::wait_until("it has stopped", || dump_of(&region)["atomscope"]["state"] == "wedged");
    let why = same_at_rest(&region)["atomscope"]["why"].clone();
    assert_eq!(why, "its process is stopped (SIGSTOP or a debugger)");
    assert!(same_events(&region) > 100);
}

/// Removes from a dump what changes also in an idle node: the work of sampler and poller, among it the looks at mailboxes,
/// and the pauses of worker threads.
fn take_changes(dump: &mut Value) {
    take_times(dump);
    for thread in dump["atomscope"]["runtime_threads"].as_array_mut().expect("a list") {
        for of in ["parks", "parked", "since"] {
            thread[of].take();
        }
    }
    for class in dump["atomscope"]["instruments"]["classes"].as_array_mut().expect("a list") {
        class["depth"].take();
    }
    for metric in dump["atomscope"]["metrics"].as_array_mut().expect("a list") {
        if metric["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("sampler.") || name.starts_with("poll."))
        {
            metric["value"].take();
        }
    }
}

#[test]
#[ignore = "needs python3"]
fn the_region_of_a_running_node_says_the_same_to_both() {
    let folder = folder();
    let (_node, region) = node(folder.path(), "decoder-live", "1");
    let mut looks_at_rest = 0;
    support::wait_until("three dumps in a row are equal", || {
        let mut looks = [dump_of(&region), decoded_dump(&region), dump_of(&region)];
        looks.iter_mut().for_each(take_changes);
        if looks[0] != looks[2] || looks[0]["atomscope"]["state"] != "live" {
            return false;
        }
        // A value may change and change back between the first dump and the last, but not every time.
        looks_at_rest += 1;
        if looks[0] != looks[1] && looks_at_rest < 10 {
            return false;
        }
        same("dump", &looks[0], &looks[1]);
        true
    });
}

#[test]
#[ignore = "needs python3"]
fn the_region_of_a_busy_node_shows_the_decoder_no_torn_record() {
    let folder = folder();
    let (_node, region) = node(folder.path(), "decoder-busy", "0");
    support::wait_until("there are dead letters", || letters(&region) > 100);
    let staff = [
        ("orders", "OrderDesk"),
        ("order-", "Order"),
        ("fraud-check", "FraudCheck"),
        ("invoice", "Invoice"),
        ("payments", "PaymentGateway"),
        ("charge-", "Charge"),
        ("inventory", "Warehouse"),
        ("shelf-", "Shelf"),
        ("reservation-", "Reservation"),
        ("account-", "Account"),
    ];
    for _ in 0..5 {
        let theirs = decoded_dump(&region);
        let actors = theirs["actors"]["flat"].as_array().expect("a list");
        assert!(!actors.is_empty());
        for actor in actors {
            let text = |field: &str| actor[field].as_str().unwrap_or_else(|| panic!("{field} of {actor}"));
            let (parent, name) = text("path").rsplit_once('/').expect("a path");
            let (_, job) =
                staff.iter().find(|(mark, _)| name.starts_with(mark)).unwrap_or_else(|| panic!("{actor}"));
            // The name of the type, without its path and its generic arguments.
            let class = text("actor_type").split('<').next().and_then(|class| class.rsplit("::").next());
            assert_eq!((text("parent"), class), (parent, Some(*job)), "{actor}");
        }
    }
}

/// Follows a new node from its first event on, checks that no stop comes before its spawn, and returns the number of
/// stops; 0 if the node was too fast for the decoder.
fn stops_followed(rate: &str) -> u64 {
    let folder = folder();
    let (_node, region) = node(folder.path(), "decoder-follow", rate);
    let lines = decoded(["follow", "-n", "300", region.to_str().expect("a plain path")]);
    for line in lines.iter().filter(|line| line["kind"] == "account") {
        let count = |name: &str| line[name].as_u64().expect("a number");
        let found = ["read", "lapped", "abandoned", "unreadable", "waiting"].map(count).iter().sum::<u64>();
        assert_eq!(found, count("next"), "{line}");
    }
    if lines.iter().any(|line| line["kind"] == "lost") {
        return 0;
    }
    let (mut live, mut stops) = (HashMap::new(), 0);
    for line in lines {
        let path = line["path"].as_str().unwrap_or_default().to_owned();
        if line["kind"] == "actor_spawned" {
            *live.entry(path).or_insert(0) += 1;
        } else if line["kind"] == "actor_stopped" {
            *live.get_mut(&path).filter(|count| **count > 0).unwrap_or_else(|| panic!("{line}")) -= 1;
            stops += 1;
        }
    }
    stops
}

#[test]
#[ignore = "needs python3"]
fn the_decoder_follows_a_node_and_is_told_no_stop_before_its_spawn() {
    support::wait_until("the decoder kept up with a node with some stops", || stops_followed("500") > 100);
}

#[test]
#[ignore = "needs python3"]
fn the_golden_regions_say_the_same_to_both() {
    let regions = golden_regions();
    assert!(!regions.is_empty());
    for file in regions {
        same(&file.display().to_string(), &dump_of(&file), &decoded_dump(&file));
        same_events(&file);
    }
}

#[test]
#[ignore = "needs python3"]
fn the_failures_of_a_dead_node_say_the_same_to_both() {
    let name = "the_failures_of_a_dead_node_say_the_same_to_both";
    if let Some(place) = support::role() {
        let builder = Region::builder("decoder-failures").actors(8).failures(2).kept_panics(3).file(&place);
        let region = builder.build().expect("the region can be made");
        println!("ready region={}", region.path().expect("it is shared").display());
        for word in ["one", "two", "two", "three", "four\u{7}"] {
            let thread = std::thread::Builder::new().name(format!("baker-{word}"));
            thread.spawn(move || panic!("oven {word}")).expect("a thread").join().expect_err("it panics");
        }
        std::process::abort();
    }
    let folder = folder();
    let region = folder.path().join("failures");
    let mut command = support::again(name, region.to_str().expect("a plain path"));
    command.args(["--ignored"]).stderr(std::process::Stdio::null());
    let mut node = Node::start(&mut command);
    node.wait();
    let dump = same_at_rest(&region);
    assert_eq!(dump["atomscope"]["failures"].as_array().map(Vec::len), Some(2));
    assert_eq!(dump["atomscope"]["panic_totals"]["lapped"], 2);
    assert!(same_events(&region) >= 5);
}
