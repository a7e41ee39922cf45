//! A node's life as another process sees it: live, stuck in several ways, closed, dead, forked, twice.
#![allow(unsafe_code, reason = "fork, and memory that a killed process leaves behind")]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::Value;

fn state(pid: u32) -> String {
    match support::listed(pid).as_slice() {
        [node] => node["state"].as_str().unwrap().to_owned(),
        [] => "none".to_owned(),
        more => format!("{} regions", more.len()),
    }
}

fn why(pid: u32) -> String {
    support::listed(pid)[0]["why"].as_str().unwrap_or_default().to_owned()
}

fn about(region: &Path) -> Value {
    support::atomscope_json(["dump".as_ref(), "--region".as_ref(), region.as_os_str()])["atomscope"].clone()
}

#[test]
fn a_running_node_is_live_and_one_that_is_asked_to_end_leaves_nothing() {
    let mut node = Node::demo(["--node", "life-orderly"]);
    wait_until("it is live", || state(node.pid()) == "live");
    node.signal("TERM");
    assert!(node.wait().success());
    assert_eq!(state(node.pid()), "none");
    assert!(!node.region().exists());
}

#[test]
fn a_node_that_runs_out_its_seconds_ends_in_good_order() {
    let mut node = Node::demo(["--node", "life-seconds", "--seconds", "1"]);
    assert!(node.wait().success());
    assert!(!node.region().exists());
}

#[test]
fn a_user_named_file_stays_after_the_end_and_reads_as_closed() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let mut node =
        Node::demo(["--node".as_ref(), "life-file".as_ref(), "--region".as_ref(), file.as_os_str()]);
    wait_until("it is live", || state(node.pid()) == "live");
    node.signal("TERM");
    assert!(node.wait().success());
    assert_eq!(about(&file)["state"], "closed");
    // A new node takes the dead one's place, a second one is refused.
    let successor =
        Node::demo(["--node".as_ref(), "life-file".as_ref(), "--region".as_ref(), file.as_os_str()]);
    wait_until("its successor is live", || state(successor.pid()) == "live");
    let refused = Command::new(support::program("demo-node"))
        .args(["--node".as_ref(), "other".as_ref(), "--region".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("InUse"), "{refused:?}");
}

#[test]
fn a_killed_node_reads_as_crashed_with_all_that_it_last_told() {
    let mut node = Node::demo(["--node", "life-killed"]);
    wait_until("letters went astray", || about(node.region())["dead_letters"]["total"].as_u64() > Some(3));
    node.kill();
    assert_eq!(state(node.pid()), "crashed");
    let dump = support::atomscope_json(["dump", "life-killed"]);
    assert_eq!(dump["node"], "life-killed");
    assert!(!dump["actors"]["flat"].as_array().unwrap().is_empty());
    assert!(!dump["dead_letters"].as_array().unwrap().is_empty());
}

#[test]
fn a_stopped_node_reads_as_wedged_because_it_is_stopped() {
    let node = Node::demo(["--node", "life-stopped"]);
    wait_until("it is live", || state(node.pid()) == "live");
    node.signal("STOP");
    wait_until("it is wedged", || state(node.pid()) == "wedged");
    assert!(why(node.pid()).contains("stopped"), "{}", why(node.pid()));
    let dump = support::atomscope_json(["dump", &node.who()]);
    assert!(!dump["actors"]["flat"].as_array().unwrap().is_empty(), "a wedged node can be read");
    node.signal("CONT");
    wait_until("it is live again", || state(node.pid()) == "live");
}

#[test]
fn a_node_whose_runtime_is_blocked_reads_as_wedged_because_of_that() {
    if support::role().is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let system = ActorSystem::create("blocked", Config::empty()).await.unwrap();
            let telemetry = TelemetryExtension::new("life-blocked", 64).install(&system);
            say_ready(telemetry.region());
            // Somebody calls something that blocks, on the only thread there is.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    }
    let name = "a_node_whose_runtime_is_blocked_reads_as_wedged_because_of_that";
    let node = Node::start(&mut support::again(name, "blocked"));
    wait_until("it is wedged", || state(node.pid()) == "wedged");
    assert!(why(node.pid()).contains("runtime"), "{}", why(node.pid()));
}

#[test]
fn a_runtime_without_timers_beats_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let telemetry = runtime.block_on(async {
        let system = ActorSystem::create("timeless", Config::empty()).await.unwrap();
        TelemetryExtension::new("life-timeless", 64).install(&system)
    });
    let path = telemetry.region().path().unwrap();
    wait_until("the runtime has beaten a few times", || {
        let bytes = std::fs::read(path).unwrap();
        let copy = atomscope_layout::view::ReaderMemory::copied(&bytes);
        atomscope_layout::decode::RegionReader::open(copy.words()).unwrap().runtime_beat().count > 3
    });
}

fn say_ready(region: &Region) {
    println!("ready region={}", region.path().expect("a shared region").display());
}

struct Idle;

#[async_trait::async_trait]
impl Actor for Idle {
    type Msg = ();
    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {}
}

#[test]
fn two_systems_in_one_process_are_two_regions_that_their_names_tell_apart() {
    if support::role().is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let first = ActorSystem::create("first", Config::empty()).await.unwrap();
            let second = ActorSystem::create("second", Config::empty()).await.unwrap();
            let one = TelemetryExtension::new("life-two", 64).install(&first);
            let two = TelemetryExtension::new("life-two", 64).install(&second);
            first.actor_of(Props::create(|| Idle), "only-in-first").unwrap();
            second.actor_of(Props::create(|| Idle), "only-in-second").unwrap();
            // A second system changes nothing for the first.
            one.clone().install(&second);
            println!("other={}", two.region().path().unwrap().display());
            say_ready(one.region());
            std::future::pending::<()>().await;
        });
    }
    let name = "two_systems_in_one_process_are_two_regions_that_their_names_tell_apart";
    let mut node = Node::start(&mut support::again(name, "two"));
    let pid = node.pid();
    assert_eq!(support::listed(pid).len(), 2);
    for (system, actor) in [("first", "only-in-first"), ("second", "only-in-second")] {
        let actors = support::atomscope_json(["actors", &format!("{pid}/{system}"), "--json"]);
        let actors = actors.as_array().unwrap();
        assert_eq!(actors.len(), 1, "{system}: {actors:?}");
        assert_eq!(actors[0]["path"], format!("akka://{system}/user/{actor}"));
    }
    // The bare pid is one of the two, and the reader says which and how to have the other.
    let either = support::atomscope(["actors", &pid.to_string()]);
    assert!(either.status.success());
    let told = String::from_utf8_lossy(&either.stderr);
    assert!(told.contains("first") && told.contains("second"), "{told}");
    node.kill();
    for dead in support::listed(pid) {
        let _ = std::fs::remove_file(dead["path"].as_str().unwrap());
    }
}

#[test]
fn of_two_processes_with_one_node_name_the_newer_is_taken_and_the_choice_is_told() {
    let older = Node::demo(["--node", "life-twins"]);
    let newer = Node::demo(["--node", "life-twins"]);
    let output = support::atomscope(["dump", "life-twins"]);
    let dump: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(dump["atomscope"]["pid"], newer.pid());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&newer.who()));
    // Live beats dead, even if it is older.
    let mut newer = newer;
    newer.kill();
    let dump = support::atomscope_json(["dump", "life-twins"]);
    assert_eq!(dump["atomscope"]["pid"], older.pid());
}

#[test]
fn a_node_starts_beside_the_dead_region_of_its_predecessor_and_old_ones_are_removed() {
    let mut dead = Vec::new();
    for _ in 0..4 {
        let mut node = Node::demo(["--node", "life-restart"]);
        node.kill();
        dead.push(node);
    }
    let node = Node::demo(["--node", "life-restart"]);
    wait_until("it is live", || state(node.pid()) == "live");
    let kept: Vec<bool> = dead.iter().map(|node| node.region().exists()).collect();
    // The one before the newest is kept too as far as there is room beside what other nodes have left.
    assert_eq!(
        (kept[..2].to_vec(), kept[3]),
        (vec![false, false], true),
        "of a node's dead regions the newest stay"
    );
    let dump = support::atomscope_json(["dump", "life-restart"]);
    assert_eq!(dump["atomscope"]["pid"], node.pid(), "live beats dead");
}

/// Nothing but `rm` removed them.
#[test]
fn what_died_before_it_was_published_is_removed_at_a_later_start() {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let leave = |pid: u32, number: u64, age: Duration| {
        let path = std::path::PathBuf::from(format!("/dev/shm/atomscope-{uid}-{pid}-{number:016x}"));
        std::fs::write(&path, [0; 8192]).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        path
    };
    // No process has such a number; this one's is taken.
    let gone = 5_000_000 + std::process::id();
    let old = Duration::from_secs(61);
    let (goes, young, taken) =
        (leave(gone, 1, old), leave(gone, 2, Duration::ZERO), leave(std::process::id(), 3, old));
    let _node = Node::demo(["--node", "life-left"]);
    let exist = [&goes, &young, &taken].map(|path| path.exists());
    for path in [goes, young, taken] {
        let _ = std::fs::remove_file(path);
    }
    assert_eq!(exist, [false, true, true]);
}

#[test]
fn a_forked_child_neither_writes_its_parents_region_nor_keeps_it_alive() {
    if support::role().is_some() {
        let region = Region::builder("life-fork").build().unwrap();
        let counter = region.counter("test.forked", "steps", "Counted by the parent only");
        counter.add(1);
        // SAFETY: between the fork and the child's end only what is safe there is called: an add to a counter, sleep
        // and _exit.
        match unsafe { libc::fork() } {
            0 => {
                counter.add(1000);
                region.stopping();
                // SAFETY: sleeping touches no memory.
                unsafe { libc::sleep(600) };
                // SAFETY: the process ends here.
                unsafe { libc::_exit(0) };
            }
            child => {
                println!("child={child}");
                say_ready(&region);
                std::thread::sleep(support::PATIENCE);
                std::process::exit(0);
            }
        }
    }
    let name = "a_forked_child_neither_writes_its_parents_region_nor_keeps_it_alive";
    let mut command = support::again(name, "fork");
    // A group of its own, so that the child can be ended with it.
    command.process_group(0);
    let mut node = Node::start(&mut command);
    let group = node.who();
    let counted = || {
        let metrics = about(node.region())["metrics"].clone();
        metrics.as_array().unwrap().iter().find(|m| m["name"] == "test.forked").unwrap()["value"].clone()
    };
    assert_eq!(counted(), 1);
    assert_eq!(about(node.region())["state"], "starting");
    node.kill();
    let state = about(node.region())["state"].clone();
    let _ = Command::new("kill").args(["-s", "KILL", "--", &format!("-{group}")]).status();
    assert_eq!(state, "crashed", "the child holds the lock");
}

/// Under full load, with the truth in a second file that only this test reads: how many actors each thread had
/// spawned and stopped when it was killed, within the one operation it was at.
mod killed_at_work {
    use std::fs::OpenOptions;
    use std::sync::atomic::{AtomicU64, Ordering};

    use atomr_core::actor::{ActorPath, Address, DeadLetterObserver, SpawnObserver};

    use super::*;

    const THREADS: usize = 3;
    /// Live at once per thread.
    const WINDOW: u64 = 40;
    /// Words per thread in the truth: operations begun, operations ended.
    const WORDS: usize = 16;

    fn rounds() -> usize {
        std::env::var("ATOMSCOPE_KILL_ROUNDS").map_or(25, |text| text.parse().unwrap())
    }

    fn truth(path: &Path) -> memmap2::MmapRaw {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len((THREADS * WORDS * 8) as u64).unwrap();
        memmap2::MmapRaw::map_raw(&file).unwrap()
    }

    fn words(map: &memmap2::MmapRaw) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, as long as asked for, lives as long as the slice, and is accessed as
        // atomics only, by both processes.
        unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), THREADS * WORDS) }
    }

    fn path(thread: usize, number: u64) -> ActorPath {
        let root = ActorPath::root(Address::local("killed")).child("user");
        root.child(format!("t{thread}")).child(format!("n{number}"))
    }

    /// Operation `2·n` spawns actor `n`, operation `2·n + 1` stops actor `n − WINDOW` and tells it a dead letter.
    fn work(truth_file: &Path) -> ! {
        let map = truth(truth_file);
        let telemetry = TelemetryExtension::new("life-kill", 64);
        say_ready(telemetry.region());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (telemetry, map) = (&telemetry, &map);
                scope.spawn(move || {
                    let [begun, ended, ..] = &words(map)[thread * WORDS..(thread + 1) * WORDS] else {
                        unreachable!()
                    };
                    for operation in 0.. {
                        begun.store(operation + 1, Ordering::SeqCst);
                        let number = operation / 2;
                        if operation % 2 == 0 {
                            let path = path(thread, number);
                            telemetry.actors.on_spawn(&path, path.parent().as_ref(), "killed::Worker");
                        } else if number >= WINDOW {
                            let path = path(thread, number - WINDOW);
                            telemetry.actors.on_stop(&path);
                            telemetry.dead_letters.on_dead_letter(&path, None, "killed::Letter");
                        }
                        ended.store(operation + 1, Ordering::SeqCst);
                    }
                });
            }
        });
        unreachable!("the threads have no end")
    }

    #[test]
    fn every_region_is_read_whole_and_every_unreadable_record_is_accounted_for() {
        let name = "killed_at_work::every_region_is_read_whole_and_every_unreadable_record_is_accounted_for";
        if let Some(file) = support::role() {
            work(file.as_ref());
        }
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let (mut unreadable, mut round) = (0, 0);
        // A run that never met a record half-written has not shown much: go on for some, within reason.
        while round < rounds() || (unreadable == 0 && round < 40 * rounds()) {
            let file = folder.path().join(format!("truth-{round}"));
            let mut node = Node::start(&mut support::again(name, file.to_str().unwrap()));
            let map = truth(&file);
            // At a different moment each time, with all threads well at work.
            let until = 2_000 + 997 * (round as u64 % 50);
            wait_until("it is at work", || {
                (0..THREADS).all(|thread| words(&map)[thread * WORDS].load(Ordering::SeqCst) > until)
            });
            node.kill();
            unreadable += check(node.region(), words(&map));
            round += 1;
            std::fs::remove_file(&file).unwrap();
        }
        assert!(unreadable > 0, "no record was met half-written in {round} kills");
        println!("{round} kills, {unreadable} records met half-written, all accounted for");
    }

    /// Gives the number of records that could not be read.
    fn check(region: &Path, truth: &[AtomicU64]) -> u64 {
        let dump = support::atomscope_json(["dump".as_ref(), "--region".as_ref(), region.as_os_str()]);
        let about = &dump["atomscope"];
        assert_eq!(about["state"], "crashed");
        let mut listed: BTreeMap<String, u64> = BTreeMap::new();
        for actor in dump["actors"]["flat"].as_array().unwrap() {
            *listed.entry(actor["path"].as_str().unwrap().to_owned()).or_default() += 1;
            assert_eq!(actor["actor_type"], "killed::Worker");
        }
        let mut sure = 0;
        let mut perhaps = 0;
        for thread in 0..THREADS {
            let [begun, ended] = [0, 1].map(|word| truth[thread * WORDS + word].load(Ordering::SeqCst));
            assert!(begun - ended <= 1);
            let live = |operations: u64, number: u64| {
                2 * number < operations && 2 * (number + WINDOW) + 1 >= operations
            };
            let first = (ended / 2).saturating_sub(WINDOW + 2);
            for number in first..begun / 2 + 2 {
                let shown = listed.remove(&path(thread, number).to_string()).unwrap_or(0);
                match (live(ended, number), live(begun, number)) {
                    (true, true) => {
                        sure += 1;
                        assert_eq!(shown, 1, "thread {thread} had spawned actor {number} and not stopped it");
                    }
                    (false, false) => assert_eq!(shown, 0, "thread {thread} had no actor {number} any more"),
                    _ => {
                        perhaps += 1;
                        assert!(shown <= 1);
                    }
                }
            }
        }
        assert!(listed.is_empty(), "actors that never lived: {listed:?}");
        assert!(sure > 0);
        // One operation per thread was under way; each can leave one actor slot and one letter half-written.
        let actors = about["unreadable"].as_u64().unwrap();
        let letters = about["dead_letters"]["unreadable"].as_u64().unwrap();
        assert!(actors <= perhaps, "{actors} unreadable actors, {perhaps} operations under way");
        assert!(letters <= THREADS as u64, "{letters} unreadable letters");
        for letter in dump["dead_letters"].as_array().unwrap() {
            assert_eq!(letter["message_type"], "killed::Letter");
            assert!(letter["recipient"].as_str().unwrap().starts_with("akka://killed/user/t"));
        }
        actors + letters
    }
}

#[test]
fn the_last_handle_to_be_dropped_closes_the_region() {
    let telemetry = TelemetryExtension::new("life-handles", 64);
    let path = telemetry.region().path().unwrap().to_owned();
    let registry = Arc::clone(&telemetry.actors);
    drop(telemetry);
    assert!(path.exists(), "the registry still holds it");
    drop(registry);
    assert!(!path.exists());
}

#[test]
fn a_region_that_is_closed_by_request_is_gone_and_recording_goes_on_unharmed() {
    let telemetry = TelemetryExtension::new("life-closed", 64);
    let path = telemetry.region().path().unwrap().to_owned();
    telemetry.region().close();
    assert!(!path.exists());
    telemetry.dead_letters.record("a".into(), None, "b".into(), "c".into());
    assert_eq!(telemetry.dead_letters.total_count(), 1);
}

#[test]
fn the_environment_turns_the_probe_off() {
    if support::role().is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let system = ActorSystem::create("off", Config::empty()).await.unwrap();
            let telemetry = TelemetryExtension::new("life-off", 64).install(&system);
            system.actor_of(Props::create(|| Idle), "idle").unwrap();
            assert!(telemetry.region().path().is_none());
            assert_eq!(telemetry.actors.total_spawned(), 0);
            assert!(TelemetryExtension::from_system(&system).is_some());
        });
        return;
    }
    let mut command = support::again("the_environment_turns_the_probe_off", "off");
    let output = command.env("ATOMSCOPE", "off").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("atomscope:"), "no warning is due: {output:?}");
}
