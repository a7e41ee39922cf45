//! Many regions in one process, and the time at which each is closed.
#![allow(unsafe_code, reason = "fork, and the end of a process while its threads run")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use atomr_core::actor::{ActorSystem, Address};
use atomr_core::prelude::Config;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::region::State;
use atomscope_layout::view::ReaderMemory;
use atomscope_probe::{Region, RegionBuilder, TelemetryExtension};
use atomscope_tests::support::dumps::dump_of;
use atomscope_tests::support::{self, wait_until};

/// The names of the probe's threads in this process.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("atomscope")).collect()
}

/// The number of descriptors of this process that refer to regions.
fn descriptors() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("/dev/shm/atomscope-")).count()
}

/// The number of regions of this user in `/dev/shm`, and their bytes.
fn segments(of: u32) -> (usize, u64) {
    let mark = format!("-{of}-");
    let all = std::fs::read_dir("/dev/shm").unwrap().flatten();
    let ours = all.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("atomscope-") && name.contains(&mark)
    });
    ours.filter_map(|entry| entry.metadata().ok())
        .fold((0, 0), |(count, bytes), meta| (count + 1, bytes + meta.len()))
}

/// Runs the test `name` again with its own `/dev/shm` of this size; `None` where that is not allowed.
fn with_shm(name: &str, size: &str) -> Option<Output> {
    let child = support::again(name, "many");
    let wrapper = format!(r#"mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@""#);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &wrapper, "sh"]).arg(child.get_program()).args(child.get_args());
    let may = Command::new("unshare").args(["--mount", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this kernel or user may not make mount namespaces");
        return None;
    }
    Some(command.env("ATOMSCOPE_TEST_CHILD", "many").output().unwrap())
}

fn assert_success(output: &Output) {
    let (stderr, stdout) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}: {stderr}\n{stdout}", output.status);
}

#[test]
fn three_hundred_systems_share_their_threads_are_all_seen_and_leave_nothing() {
    const SYSTEMS: usize = 300;
    let name = "three_hundred_systems_share_their_threads_are_all_seen_and_leave_nothing";
    if support::role().is_none() {
        support::program("atomscope");
        return with_shm(name, "1g").iter().for_each(assert_success);
    }
    let pid = std::process::id();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut installed = Vec::new();
        for number in 0..SYSTEMS {
            let system = ActorSystem::create(&format!("s{number}"), Config::empty()).await.unwrap();
            installed.push((TelemetryExtension::new(format!("n{number}"), 1024).install(&system), system));
        }
        let threads_now = threads();
        assert!(threads_now.len() <= 8, "{threads_now:?}");
        assert_eq!(threads_now.iter().filter(|name| *name == "atomscope").count(), 1, "{threads_now:?}");
        assert_eq!(descriptors(), SYSTEMS);
        let (count, bytes) = segments(pid);
        assert_eq!(count, SYSTEMS);
        assert!(bytes <= 750 << 20, "{bytes}");
        let listed = support::listed(pid);
        let live = listed.iter().filter(|node| node["state"] == "live").count();
        assert_eq!((listed.len(), live), (SYSTEMS, SYSTEMS));
        for (telemetry, system) in installed {
            telemetry.region().close();
            drop(system);
        }
    });
    assert_eq!((segments(pid).0, descriptors()), (0, 0));
    wait_until("the threads have ended", || threads().is_empty());
    // A later region starts the threads again.
    let region = Region::builder("later").actors(1).build().unwrap();
    let beats = || beats_of(&region);
    wait_until("there are heartbeats", || beats() > 2);
}

fn beats_of(region: &Region) -> u64 {
    let bytes = std::fs::read(region.path().unwrap()).unwrap();
    let copy = atomscope_layout::view::ReaderMemory::copied(&bytes);
    atomscope_layout::decode::RegionReader::open(copy.words()).unwrap().process_beat().count
}

#[test]
fn in_little_shared_memory_further_regions_are_small_and_seen() {
    let name = "in_little_shared_memory_further_regions_are_small_and_seen";
    if support::role().is_none() {
        return with_shm(name, "64m").iter().for_each(assert_success);
    }
    let telemetry: Vec<_> =
        (0..12).map(|number| TelemetryExtension::new(format!("n{number}"), 1024)).collect();
    let bytes: Vec<_> = telemetry.iter().map(|telemetry| telemetry.region().bytes()).collect();
    assert!(telemetry.iter().all(|telemetry| telemetry.region().path().is_some()), "{bytes:?}");
    assert!(bytes[0] > 8 << 20 && bytes[1..].iter().all(|bytes| *bytes <= 2 << 20), "{bytes:?}");
    // An explicit request for more succeeds, or returns the reason.
    let asked = Region::builder("asked").actors(16_384).build().unwrap();
    assert!(asked.bytes() > 8 << 20);
}

#[test]
fn regions_that_cannot_be_shared_are_told_in_two_sentences_however_many_they_are() {
    let name = "regions_that_cannot_be_shared_are_told_in_two_sentences_however_many_they_are";
    if support::role().is_some() {
        let telemetry: Vec<_> =
            (0..20).map(|number| TelemetryExtension::new(format!("n{number}"), 64)).collect();
        assert!(telemetry.iter().all(|telemetry| telemetry.region().path().is_none()));
        // A new thread may not have its name yet.
        wait_until("the sampler runs", || !threads().is_empty());
        drop(telemetry);
        return wait_until("the threads have ended", || threads().is_empty());
    }
    let Some(output) = with_shm(name, "4m") else { return };
    assert_success(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches("atomscope:").count(), 2, "{stderr}");
    assert!(
        stderr.contains("node `n0`") && stderr.contains("19 more nodes") && stderr.contains("/dev/shm"),
        "{stderr}"
    );
}

#[test]
fn a_region_in_a_file_takes_one_descriptor_and_one_mapping_both_of_its_name() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let _region = smallest("one").file(&file).build().unwrap();
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = all.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    // An unnamed file is shown below its folder too.
    let open: Vec<_> = links.filter(|link| link.starts_with(folder.path())).collect();
    assert_eq!(open, [file.as_path()]);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mapped: Vec<_> = maps.lines().filter(|line| line.contains(folder.path().to_str().unwrap())).collect();
    assert!(mapped.len() == 1 && mapped[0].ends_with(file.to_str().unwrap()), "{mapped:?}");
}

#[test]
fn half_of_the_descriptors_stay_the_applications() {
    if support::role().is_some() {
        let regions: Vec<_> = (0..80)
            .map(|number| Region::builder(format!("n{number}")).actors(1).build_or_private())
            .collect();
        let shared = regions.iter().filter(|region| region.path().is_some()).count();
        assert_eq!((shared, descriptors()), (32, 32));
        let opened: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        drop(regions);
        drop(opened);
        // A closed region releases its descriptor.
        let region = Region::builder("later").actors(1).build().unwrap();
        assert!(region.path().is_some());
        return;
    }
    let child = support::again("half_of_the_descriptors_stay_the_applications", "many");
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"ulimit -n 64 && exec "$@""#, "sh"])
        .arg(child.get_program())
        .args(child.get_args());
    let output = command.env("ATOMSCOPE_TEST_CHILD", "many").output().unwrap();
    assert_success(&output);
    assert!(String::from_utf8_lossy(&output.stderr).contains("RLIMIT_NOFILE"), "{output:?}");
}

/// Regression: the sampler held the lock until it woke up.
#[test]
fn a_file_is_free_for_the_next_region_as_soon_as_the_last_handle_is_dropped() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for round in 0..300 {
        let region = Region::builder("again").actors(10).poll_interval(Duration::from_millis(10)).file(&file);
        let region = region.build().unwrap_or_else(|why| panic!("round {round}: {why}"));
        let counter = region.counter("kept", "items", "");
        let telemetry = TelemetryExtension::with_region(region);
        let replicator = atomr_distributed_data::Replicator::new();
        telemetry.ddata.attach(&replicator);
        let receiver = telemetry.bus.subscribe();
        if round % 2 == 0 {
            // Close it explicitly, because a counter or an actor system keeps it open.
            runtime.block_on(async {
                let system = ActorSystem::create("again", Config::empty()).await.unwrap();
                telemetry.install(&system).region().close();
            });
        } else {
            drop(counter);
            drop(telemetry);
        }
        drop(receiver);
    }
}

#[test]
fn a_component_that_is_being_asked_does_not_keep_the_region_open() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let build = || {
        Region::builder("asked")
            .actors(10)
            .poll_interval(Duration::from_millis(10))
            .file(&file)
            .build()
            .unwrap()
    };
    let telemetry = TelemetryExtension::with_region(build());
    let (asking, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel::<()>();
    let mut is_first = true;
    telemetry.cluster.attach_with(&Address::local("asked"), move || {
        if !std::mem::replace(&mut is_first, false) {
            let _ = asking.send(());
            let _ = answered.recv();
        }
        Some(atomr_cluster::DaemonSnapshot::default())
    });
    asked.recv().unwrap();
    drop(telemetry);
    drop(build());
    drop(answer);
}

/// The least capacities, because the test makes many regions.
fn smallest(node: &str) -> RegionBuilder {
    let builder = Region::builder(node).actors(1).lanes(1).dead_letters(1).events(1).names(1);
    builder.instances(1).histograms(1).journal_writes(1).document_bytes(4096)
}

fn small(node: &str) -> Region {
    smallest(node).build().unwrap()
}

#[test]
fn whoever_closes_a_region_finds_it_closed_when_that_returns() {
    for _ in 0..500 {
        let region = small("twice");
        let path = region.path().unwrap().to_owned();
        let ready = AtomicUsize::new(0);
        let close = || {
            ready.fetch_add(1, Ordering::Relaxed);
            while ready.load(Ordering::Relaxed) < 2 {
                std::hint::spin_loop();
            }
            region.close();
            assert!(!path.exists());
        };
        std::thread::scope(|scope| {
            scope.spawn(close);
            close();
        });
    }
}

const THREADS: usize = 8;
const REGIONS: usize = 12;

#[test]
fn a_process_that_exits_while_threads_drop_its_regions_has_not_crashed() {
    if let Some(dropped_before) = support::role() {
        let dropped_before: usize = dropped_before.parse().unwrap();
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        for thread in 0..THREADS {
            let regions: Vec<_> =
                (0..REGIONS).map(|number| small(&format!("exits-{thread}-{number}"))).collect();
            std::thread::spawn(move || {
                while DROPPED.load(Ordering::Relaxed) == 0 {
                    std::hint::spin_loop();
                }
                for region in regions {
                    drop(region);
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        DROPPED.store(1, Ordering::Relaxed);
        while DROPPED.load(Ordering::Relaxed) < dropped_before {
            std::hint::spin_loop();
        }
        // Exit as `main` does at its end, but without the output of the test harness.
        std::process::exit(0);
    }
    let name = "a_process_that_exits_while_threads_drop_its_regions_has_not_crashed";
    for round in 0..100 {
        let mut child = support::again(name, &(1 + round % (THREADS * REGIONS / 2)).to_string());
        let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
        let pid = child.id();
        assert!(child.wait().unwrap().success());
        assert_eq!(segments(pid).0, 0, "round {round}: a region is left, and looks crashed");
    }
}

/// Every file that has its name at the exit must have been closed.
#[test]
fn a_process_that_exits_while_threads_give_files_their_names_has_not_crashed() {
    const NAME: &str = "a_process_that_exits_while_threads_give_files_their_names_has_not_crashed";
    if let Some(folder) = support::role() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        for thread in 0..THREADS {
            let folder = PathBuf::from(&folder);
            std::thread::spawn(move || {
                for number in 0.. {
                    let region = smallest("names").file(folder.join(format!("{thread}-{number}"))).build();
                    std::mem::forget(region.unwrap());
                    MADE.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while MADE.load(Ordering::Relaxed) < THREADS {
            std::hint::spin_loop();
        }
        std::process::exit(0);
    }
    for round in 0..30 {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut child = support::again(NAME, folder.path().to_str().unwrap());
        assert_success(&child.output().unwrap());
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let memory = ReaderMemory::copied(&std::fs::read(entry.unwrap().path()).unwrap());
            let state = RegionReader::open(memory.words()).unwrap().state();
            assert_eq!(state, Some(State::Closed), "round {round}: it looks crashed");
        }
    }
}

#[test]
fn a_forked_child_beats_and_polls_for_regions_of_its_own() {
    if support::role().is_some() {
        let region = |node: &str| {
            Region::builder(node).actors(10).poll_interval(Duration::from_millis(10)).build().unwrap()
        };
        let replicator = atomr_distributed_data::Replicator::new();
        let parents = TelemetryExtension::with_region(region("parent"));
        parents.ddata.attach(&replicator);
        // SAFETY: the child goes on with what it has: no thread of its parent held a lock of the allocator at the fork,
        // which glibc sees to.
        if unsafe { libc::fork() } == 0 {
            let own = TelemetryExtension::with_region(region("child"));
            own.ddata.attach(&replicator);
            println!("child={}", own.region().path().unwrap().display());
            println!("ready region={}", own.region().path().unwrap().display());
            std::thread::sleep(support::PATIENCE);
            std::process::exit(0);
        }
        std::thread::sleep(support::PATIENCE);
        std::process::exit(0);
    }
    // Build the program before the time limit of the child starts.
    support::program("atomscope");
    let mut command = support::again("a_forked_child_beats_and_polls_for_regions_of_its_own", "fork");
    // A process group of its own, so that the child can be killed together with it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let node = support::Node::start(&mut command);
    let path: PathBuf = node.region().to_owned();
    wait_until("the child has a heartbeat and polls", || {
        let dump = dump_of(&path);
        let metrics = dump["atomscope"]["metrics"].as_array().unwrap().clone();
        let value =
            |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap()["value"].as_u64();
        value("sampler.rounds") > Some(2) && value("poll.rounds") > Some(5)
    });
    let _ = Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", node.pid())]).status();
}

#[test]
fn a_daemon_that_closes_descriptors_it_does_not_know_is_alive_and_keeps_those_that_it_opens_later() {
    let name =
        "a_daemon_that_closes_descriptors_it_does_not_know_is_alive_and_keeps_those_that_it_opens_later";
    let program = support::program("atomscope");
    if support::role().is_none() {
        return assert_success(&support::again(name, "daemon").output().unwrap());
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let in_file = smallest("daemon-file").file(&file).build().unwrap();
    let region = small("daemon");
    let path = region.path().unwrap().to_owned();
    // SAFETY: nothing that this test uses after it has a descriptor beyond the standard ones, but the probe.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    let later: Vec<_> = (0..16).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let listed = Command::new(program).args(["ps", "--json"]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    for path in [&path, &file] {
        let own =
            listed.as_array().unwrap().iter().find(|node| node["path"] == path.to_str().unwrap()).unwrap();
        assert_eq!((&own["state"], &own["conditions"]), (&"live".into(), &serde_json::json!([])));
    }
    drop(in_file);
    region.close();
    assert!(!path.exists());
    assert!(later.iter().all(|file| file.metadata().is_ok()), "a descriptor of another file was closed");
}
