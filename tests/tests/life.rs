//! The states of a node, read from another process: live, wedged in several ways, closed, dead, forked, and two nodes
//! at once.
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
use atomscope_tests::support::dumps::{about, dump_of};
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
    // A new node replaces the file of the dead one; a second live node gets an error.
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

fn demo_in(file: &Path, name: &str) -> Node {
    Node::demo(["--node".as_ref(), name.as_ref(), "--region".as_ref(), file.as_os_str()])
}

/// Starts a node with its region in this file, and kills it. The region stays.
fn leave_dead(file: &Path, name: &str) {
    let mut node = demo_in(file, name);
    node.kill();
    // The drop of `Node` would remove the file.
    std::mem::forget(node);
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn said_by_doctor(who: &str) -> Vec<(String, String)> {
    let findings = support::atomscope_json(["doctor", who, "--json"]);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings.as_array().unwrap().iter().map(|it| (text(it, "severity"), text(it, "finding"))).collect()
}

#[test]
fn a_user_named_region_is_listed_by_its_name_and_once_that_is_gone_as_one_that_leaves_nothing() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    // The second node of that name replaces the region that the first one left.
    leave_dead(&file, "life-name");
    let node = demo_in(&file, "life-name");
    wait_until("it is live", || state(node.pid()) == "live");
    let row = || support::listed(node.pid()).remove(0);
    assert_eq!((&row()["path"], &row()["unlinked_from"]), (&file.to_str().unwrap().into(), &Value::Null));
    let has = |level: &str, text: &str| {
        let said = said_by_doctor(&node.who());
        assert!(said.iter().any(|(is, finding)| is == level && finding.contains(text)), "{said:?}");
    };
    has("note", "only its path leads to the region");

    std::fs::remove_file(&file).unwrap();
    assert_eq!(row()["unlinked_from"], file.to_str().unwrap());
    assert_eq!(row()["state"], "live");
    let dump = dump_of(row()["path"].as_str().unwrap());
    assert_eq!(dump["atomscope"]["pid"], node.pid());
    let listing = String::from_utf8(support::atomscope(["ps"]).stdout).unwrap();
    assert!(listing.contains(&format!("{} (deleted)", file.display())), "{listing}");
    has("warning", "its file was deleted");
    std::fs::write(&file, "something else").unwrap();
    has("warning", "another file has its name");
}

#[test]
fn a_node_that_is_killed_while_it_makes_its_file_leaves_nothing_beside_it() {
    if let Some(file) = support::role() {
        let region = Region::builder("life-making").actors(300_000).file(file).build().unwrap();
        say_ready(&region);
        return std::thread::sleep(support::PATIENCE);
    }
    let name = "a_node_that_is_killed_while_it_makes_its_file_leaves_nothing_beside_it";
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let mut early = 0;
    for _ in 0..20 {
        let mut child =
            support::again(name, file.to_str().unwrap()).stdout(std::process::Stdio::null()).spawn().unwrap();
        let maps = format!("/proc/{}/maps", child.id());
        wait_until("it has mapped its file", || {
            std::fs::read_to_string(&maps).unwrap().contains(folder.path().to_str().unwrap())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        match names_in(folder.path()).as_slice() {
            [] => early += 1,
            [one] if one == "node.region" => std::fs::remove_file(&file).unwrap(),
            more => panic!("{more:?}"),
        }
        if early > 2 {
            return;
        }
    }
    panic!("the node was always ready before it was killed");
}

/// Makes `O_TMPFILE` fail, as on some file systems.
fn refuse_files_without_names() {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    let flag = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u64;
    let asks_for_it =
        SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag).unwrap();
    let filter = SeccompFilter::new(
        [(libc::SYS_openat, vec![SeccompRule::new(vec![asks_for_it]).unwrap()])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EOPNOTSUPP as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

#[test]
fn where_files_cannot_be_without_names_a_region_gets_its_name_all_the_same() {
    if let Some(file) = support::role() {
        refuse_files_without_names();
        assert!(tempfile_without_name(Path::new(&file).parent().unwrap()).is_err());
        let region = Region::builder("life-renamed").file(file).build().unwrap();
        say_ready(&region);
        return std::thread::sleep(support::PATIENCE);
    }
    let name = "where_files_cannot_be_without_names_a_region_gets_its_name_all_the_same";
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    assert!(tempfile_without_name(folder.path()).is_ok());
    // Only the temporary file of this region whose process is gone was removed. The others belong to other files or to
    // a live process.
    let gone = 5_000_000 + std::process::id();
    let leave = |name: String, age_s: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, [0; 8192]).unwrap();
        let left = std::fs::File::options().write(true).open(&path).unwrap();
        left.set_modified(std::time::SystemTime::now() - Duration::from_secs(age_s)).unwrap();
    };
    leave(format!("node.region.{gone}-{:016x}", 1), 61);
    leave(format!("node.region.{:016x}", 2), 61);
    leave(format!("node.region.{gone}-{:016x}", 3), 0);
    leave(format!("node.region.{}-{:016x}", std::process::id(), 4), 61);
    leave(format!("other.region.{gone}-{:016x}", 5), 61);
    for _ in 0..2 {
        let mut node = Node::start(&mut support::again(name, file.to_str().unwrap()));
        assert_eq!(support::listed(node.pid())[0]["path"], file.to_str().unwrap());
        node.kill();
        std::mem::forget(node);
    }
    let mut left = names_in(folder.path());
    left.sort();
    let pid = std::process::id();
    let mut expected = vec![
        "node.region".to_owned(),
        format!("node.region.{gone}-{:016x}", 3),
        format!("node.region.{pid}-{:016x}", 4),
        format!("other.region.{gone}-{:016x}", 5),
    ];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(about(&file)["state"], "crashed");
}

fn tempfile_without_name(folder: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).open(folder)
}

#[test]
fn of_those_that_want_a_dead_regions_place_at_one_time_one_gets_it_and_keeps_it() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let (file, dead) = (folder.path().join("node.region"), folder.path().join("dead"));
    leave_dead(&file, "life-race");
    std::fs::rename(&file, &dead).unwrap();
    for _ in 0..30 {
        let _ = std::fs::remove_file(&file);
        std::fs::copy(&dead, &file).unwrap();
        let build = || Region::builder("life-race").actors(16).events(16).file(&file).build();
        let made: Vec<Region> = std::thread::scope(|scope| {
            let builds: Vec<_> = (0..4).map(|_| scope.spawn(build)).collect();
            builds.into_iter().filter_map(|build| build.join().unwrap().ok()).collect()
        });
        assert_eq!(made.len(), 1);
        made[0].running("the-one");
        assert_eq!(about(&file)["system"], "the-one");
        assert_eq!(names_in(folder.path()).len(), 2, "{:?}", names_in(folder.path()));
    }
}

#[test]
fn what_a_living_process_has_lost_the_lock_of_is_neither_removed_nor_replaced() {
    if let Some(file) = support::role() {
        let named = Region::builder("life-unlocked").build().unwrap();
        let chosen = Region::builder("life-unlocked").file(file).build().unwrap();
        // As daemons do.
        for descriptor in 3..256 {
            // SAFETY: the owner finds its descriptor closed, which is the point of the test.
            unsafe { libc::close(descriptor) };
        }
        say_ready(&named);
        std::thread::sleep(support::PATIENCE);
        drop((named, chosen));
        return;
    }
    let name = "what_a_living_process_has_lost_the_lock_of_is_neither_removed_nor_replaced";
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let mut node = Node::start(&mut support::again(name, file.to_str().unwrap()));
    let mut dead: Vec<Node> = Vec::new();
    for _ in 0..3 {
        let mut newer = Node::demo(["--node", "life-unlocked"]);
        newer.kill();
        dead.push(newer);
    }
    let _last = Node::demo(["--node", "life-unlocked"]);
    assert!(!dead[1].region().exists(), "of the dead ones only the first and the newest stay");
    assert!(node.region().exists());
    let refused = Region::builder("life-unlocked").file(&file).build().unwrap_err();
    assert!(matches!(refused, atomscope_probe::CreateError::InUse { .. }), "{refused}");
    node.kill();
    drop(Region::builder("life-unlocked").file(&file).build().unwrap());
}

#[test]
fn a_killed_node_reads_as_crashed_with_all_that_it_last_told() {
    let mut node = Node::demo(["--node", "life-killed"]);
    wait_until("there are dead letters", || about(node.region())["dead_letters"]["total"].as_u64() > Some(3));
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
            // A task blocks the only worker thread.
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
    wait_until("there were a few runtime heartbeats", || {
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
            // A second system does not affect the first.
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
    // For the bare pid the reader chooses one of the two, and says which one and how to name the other.
    let either = support::atomscope(["actors", &pid.to_string()]);
    assert!(either.status.success());
    let stderr = String::from_utf8_lossy(&either.stderr);
    assert!(stderr.contains("first") && stderr.contains("second"), "{stderr}");
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
    // A live node is chosen before a dead one, even if it is older.
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
    // The first crash also stays, if the regions of other dead nodes leave enough space.
    assert_eq!(
        (kept[1..3].to_vec(), kept[3]),
        (vec![false, false], true),
        "of a node's dead regions the newest stays"
    );
    let dump = support::atomscope_json(["dump", "life-restart"]);
    assert_eq!(dump["atomscope"]["pid"], node.pid(), "live beats dead");
}

/// Regression: no start of a node removed these files.
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
    // A pid that no process has, and the pid of this process.
    let gone = 5_000_000 + std::process::id();
    let old = Duration::from_secs(61);
    let (goes, young, used) =
        (leave(gone, 1, old), leave(gone, 2, Duration::ZERO), leave(std::process::id(), 3, old));
    let _node = Node::demo(["--node", "life-left"]);
    let exist = [&goes, &young, &used].map(|path| path.exists());
    for path in [goes, young, used] {
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
    // A process group of its own, so that the child can be killed together with it.
    command.process_group(0);
    let mut node = Node::start(&mut command);
    let group = node.who();
    let counted = || {
        let metrics = about(node.region())["metrics"].clone();
        metrics.as_array().unwrap().iter().find(|m| m["name"] == "test.forked").unwrap()["value"].clone()
    };
    assert_eq!(counted(), 1);
    assert_eq!(about(node.region())["state"], "live");
    node.kill();
    let state = about(node.region())["state"].clone();
    let _ = Command::new("kill").args(["-s", "KILL", "--", &format!("-{group}")]).status();
    assert_eq!(state, "crashed", "the child holds the lock");
}

/// Forks in a loop while regions are made and dropped, and counts what the children hold of them.
mod forked_meanwhile {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// Shared mappings that process `pid` may write, and descriptors through which it holds a lock.
    fn held(pid: libc::pid_t) -> Vec<String> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mut held: Vec<_> =
            maps.lines().filter(|line| line.contains(" rw-s ")).map(str::to_owned).collect();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
            let info = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            held.extend(info.lines().filter(|line| line.starts_with("lock:")).map(str::to_owned));
        }
        held
    }

    /// Forks children until `rounds` regions were made and dropped. Returns the number of children and what they held.
    fn fork_while(rounds: &AtomicUsize) -> (usize, Vec<String>) {
        const ENOUGH: usize = 200;
        let (mut children, mut found) = (0, Vec::new());
        while rounds.load(Ordering::SeqCst) < ENOUGH {
            // SAFETY: the child calls `raise` and `_exit` alone, which may be called there.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: the signal is valid. When it has come, what is done in a child at its beginning is done.
                unsafe { libc::raise(libc::SIGSTOP) };
                // SAFETY: the process ends here.
                unsafe { libc::_exit(0) };
            }
            assert!(child > 0, "{}", std::io::Error::last_os_error());
            let mut status = 0;
            // SAFETY: `status` is a valid place for a number.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, libc::WUNTRACED) }, child);
            assert!(libc::WIFSTOPPED(status));
            found.extend(held(child));
            children += 1;
            // SAFETY: the child is ours and not yet waited for to its end.
            unsafe { libc::kill(child, libc::SIGKILL) };
            // SAFETY: a null pointer asks_for_it for no status.
            assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
        }
        (children, found)
    }

    #[test]
    fn no_child_keeps_a_lock_or_a_mapping_of_a_region_that_is_being_made_or_dropped() {
        if let Some(folder) = support::role() {
            let file = Path::new(&folder).join("node.region");
            let (rounds, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
            let (children, found) = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        drop(Region::builder("life-forks").build().unwrap());
                        // The sampler may hold the region for a moment longer.
                        drop(Region::builder("life-forks").file(&file).build());
                        rounds.fetch_add(1, Ordering::SeqCst);
                    }
                });
                let forked = fork_while(&rounds);
                stop.store(true, Ordering::SeqCst);
                forked
            });
            println!("children={children} held={found:?}");
            assert!(children > 0 && found.is_empty());
            return;
        }
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let name =
            "forked_meanwhile::no_child_keeps_a_lock_or_a_mapping_of_a_region_that_is_being_made_or_dropped";
        let output = support::again(name, folder.path().to_str().unwrap()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("held=[]"), "{said}");
    }
}

/// A node under full load, with the truth in a second file: how many actors each thread had spawned and stopped at the
/// kill, give or take the operation that it was doing.
mod killed_at_work {
    use std::fs::OpenOptions;
    use std::sync::atomic::{AtomicU64, Ordering};

    use atomr_core::actor::{ActorPath, Address, DeadLetterObserver, SpawnObserver};

    use super::*;

    const THREADS: usize = 3;
    /// Live actors per thread.
    const WINDOW: u64 = 40;
    /// Words per thread in the truth: started and finished operations.
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

    /// Operation `2·n` spawns actor `n`; operation `2·n + 1` stops actor `n − WINDOW` and records a dead letter to it.
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
        // A run without a half-written record proves little, so run some more rounds.
        while round < rounds() || (unreadable == 0 && round < 40 * rounds()) {
            let file = folder.path().join(format!("truth-{round}"));
            let mut node = Node::start(&mut support::again(name, file.to_str().unwrap()));
            let map = truth(&file);
            // Kill at a different moment each time, while all threads work.
            let until = 2_000 + 997 * (round as u64 % 50);
            wait_until("it works", || {
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

    /// Returns the number of unreadable records.
    fn check(region: &Path, truth: &[AtomicU64]) -> u64 {
        let dump = dump_of(region);
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
        // Each thread was in one operation, which can leave one actor slot and one letter half-written.
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
fn a_node_with_an_extension_is_starting_until_it_is_installed() {
    let region = Region::builder("life-starting").actors(16).build().unwrap();
    let path = region.path().unwrap().to_owned();
    assert_eq!(about(&path)["state"], "live", "it needs no actor system");
    let telemetry = TelemetryExtension::with_region(region.clone());
    assert_eq!(about(&path)["state"], "starting");
    let doctor = support::atomscope(["doctor".as_ref(), path.as_os_str()]);
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(text.contains("no actor system is installed in it yet"), "{text}");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let system = ActorSystem::create("life-starting", Config::empty()).await.unwrap();
        let telemetry = telemetry.install(&system);
        assert_eq!(about(&path)["state"], "live");
        region.stopping();
        let _again = TelemetryExtension::with_region(telemetry.region().clone());
        assert_eq!(about(&path)["state"], "stopping", "there is no way back");
    });
    region.close();
}

#[test]
fn the_last_handle_to_be_dropped_closes_the_region_which_is_gone_when_the_process_has_ended_with_0() {
    let name =
        "the_last_handle_to_be_dropped_closes_the_region_which_is_gone_when_the_process_has_ended_with_0";
    if support::role().is_some() {
        let telemetry = TelemetryExtension::new("life-handles", 64);
        let path = telemetry.region().path().unwrap().to_owned();
        say_ready(telemetry.region());
        let registry = Arc::clone(&telemetry.actors);
        drop(telemetry);
        assert_eq!(about(&path)["state"], "starting", "the registry still holds it");
        drop(registry);
        assert_eq!(about(&path)["state"], "closed");
        return;
    }
    let mut node = Node::start(&mut support::again(name, "handles"));
    assert!(node.wait().success());
    assert!(!node.region().exists());
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
