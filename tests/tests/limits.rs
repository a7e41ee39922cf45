//! Lack of memory, descriptors or permissions: the host gets one warning and continues, and the numbers exist
//! in-process.

use std::process::{Command, Output};
use std::sync::Arc;

use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{CreateError, Region, TelemetryExtension};
use atomscope_tests::support::dumps::dump_of;
use atomscope_tests::support::{self, Node};

struct Idle;

#[async_trait::async_trait]
impl Actor for Idle {
    type Msg = ();
    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {}
}

/// Each child is an ordinary node. It must start and count, whatever the machine denies.
fn host() {
    host_with(TelemetryExtension::new("limits", 64));
}

fn host_with(telemetry: Arc<TelemetryExtension>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let system = ActorSystem::create("limits", Config::empty()).await.unwrap();
        let telemetry = telemetry.install(&system);
        for number in 0..100 {
            system.actor_of(Props::create(|| Idle), &format!("idle-{number}")).unwrap();
        }
        telemetry.dead_letters.record("nobody".into(), None, "Letter".into(), String::new());
        let snapshot = telemetry.snapshot();
        assert_eq!((snapshot.actors.total, telemetry.actors.live_count()), (100, 100));
        assert_eq!(snapshot.dead_letters.len(), 1);
        println!("region={:?}", telemetry.region().path());
    });
}

/// Runs the test `name` again under `wrapper`, a shell command that runs its arguments at the end.
fn host_under(name: &str, wrapper: &str) -> Output {
    let child = support::again(name, "host");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", wrapper, "sh"]).arg(child.get_program()).args(child.get_args());
    command.env("ATOMSCOPE_TEST_CHILD", "host").output().expect("unshare can be run")
}

fn assert_runs_on(output: &Output, warning: &str) {
    let (stderr, stdout) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "the host failed ({}): {stderr}\n{stdout}", output.status);
    assert!(stdout.contains("region=None"), "{stdout}");
    assert!(stderr.contains(warning), "no warning that says `{warning}`: {stderr}");
    assert_eq!(stderr.matches("atomscope:").count(), 1, "one warning: {stderr}");
}

/// Whether mount namespaces can be created here; prints a message if not.
fn may_unshare() -> bool {
    let may = Command::new("unshare")
        .args(["--mount", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: this kernel or user may not make mount namespaces");
    }
    may
}

#[test]
fn a_host_with_too_little_shared_memory_runs_on() {
    if support::role().is_some() {
        return host();
    }
    if may_unshare() {
        let wrapper = r#"mount -t tmpfs -o size=4M tmpfs /dev/shm && exec "$@""#;
        let output = host_under("a_host_with_too_little_shared_memory_runs_on", wrapper);
        assert_runs_on(&output, "/dev/shm has ");
    }
}

/// A killed node leaves its region behind.
fn leave_dead(name: &str, more: &[&str]) -> Node {
    let mut node = Node::demo([&["--node", name], more].concat());
    node.kill();
    node
}

#[test]
fn a_host_that_finds_no_room_is_told_what_takes_it_and_what_to_do() {
    let name = "a_host_that_finds_no_room_is_told_what_takes_it_and_what_to_do";
    if support::role().is_some() {
        let _living = Node::demo(["--node", "limits-living"]);
        let _dead = leave_dead("limits-dead", &[]);
        std::fs::write("/dev/shm/other", vec![1; 3 << 20]).unwrap();
        return host();
    }
    if may_unshare() {
        let output = host_under(name, r#"mount -t tmpfs -o size=40M tmpfs /dev/shm && exec "$@""#);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let warned = stderr.lines().find(|line| line.contains("the region needs")).unwrap_or_default();
        for said in
            ["1 dead region of this user takes 1", "1 live region 1", "other files 3.", "`atomscope prune`"]
        {
            assert!(warned.contains(said), "no `{said}` in {warned}; {stderr}");
        }
    }
}

#[test]
fn of_dead_regions_however_their_nodes_are_called_the_newest_stays_and_a_quarter_of_the_room_is_taken() {
    let name =
        "of_dead_regions_however_their_nodes_are_called_the_newest_stays_and_a_quarter_of_the_room_is_taken";
    if support::role().is_some() {
        let dead: Vec<Node> = ["a", "b", "c"].map(|name| leave_dead(name, &[])).into();
        let _next = Node::demo(["--node", "d"]);
        let there: Vec<bool> = dead.iter().map(|node| node.region().exists()).collect();
        println!("there={there:?}");
        return;
    }
    if may_unshare() {
        let output = host_under(name, r#"mount -t tmpfs -o size=80M tmpfs /dev/shm && exec "$@""#);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("there=[false, false, true]"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_the_system_says_is_told_in_words() {
    if support::role().is_some() {
        return host();
    }
    if may_unshare() {
        let wrapper = r#"mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@""#;
        let output = host_under("what_the_system_says_is_told_in_words", wrapper);
        assert_runs_on(&output, "Read-only file system");
    }
}

#[test]
fn the_folder_of_a_file_is_made_for_its_user_alone_and_only_if_it_is_used() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let made = folder.path().join("shop");
    let region = Region::builder("limits").file(made.join("node.region")).build().unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&made).unwrap());
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(region.path(), Some(made.join("node.region").as_path()));

    let on_disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let unused = on_disk.path().join("shop");
    match Region::builder("limits").file(unused.join("node.region")).build() {
        Err(CreateError::Disk { .. }) => assert!(!unused.exists()),
        // The project itself may lie on a tmpfs.
        other => drop(other.unwrap()),
    }
}

#[test]
fn a_host_without_shared_memory_runs_on() {
    if support::role().is_some() {
        return host();
    }
    if may_unshare() {
        let wrapper = r#"mount -t tmpfs tmpfs /dev -o mode=755 && exec "$@""#;
        let output = host_under("a_host_without_shared_memory_runs_on", wrapper);
        assert_runs_on(&output, "/dev/shm");
    }
}

#[test]
fn a_host_that_may_not_write_large_files_runs_on() {
    if support::role().is_some() {
        return host();
    }
    let child = support::again("a_host_that_may_not_write_large_files_runs_on", "host");
    // The unit is 512 bytes in some shells and 1024 in others: 1 or 2 MiB.
    let wrapper = r#"ulimit -f 2048 && exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", wrapper, "sh"]).arg(child.get_program()).args(child.get_args());
    let output = command.env("ATOMSCOPE_TEST_CHILD", "host").output().unwrap();
    assert_runs_on(&output, "RLIMIT_FSIZE");
}

#[test]
fn a_host_in_a_small_control_group_runs_on() {
    if support::role().is_some() {
        // The region needs more than the group has; the host itself needs less.
        let region = Region::builder("limits").actors(200_000).build_or_private();
        return host_with(TelemetryExtension::with_region(region));
    }
    let Some(group) = support::small_control_group() else {
        eprintln!("skipped: this user may not make memory control groups");
        return;
    };
    let wrapper = format!(r#"echo $$ > {}/cgroup.procs && exec "$@""#, group.display());
    let child = support::again("a_host_in_a_small_control_group_runs_on", "host");
    let mut command = Command::new("sh");
    command.args(["-c", &wrapper, "sh"]).arg(child.get_program()).args(child.get_args());
    let output = command.env("ATOMSCOPE_TEST_CHILD", "host").output().unwrap();
    let _ = std::fs::remove_dir(&group);
    assert_runs_on(&output, "control group");
}

#[test]
fn zero_and_absurd_capacities_are_refused_by_the_builder_with_what_is_allowed() {
    for absurd in [0, usize::MAX] {
        let builders = [
            Region::builder("limits").actors(absurd),
            Region::builder("limits").lanes(absurd),
            Region::builder("limits").dead_letters(absurd),
            Region::builder("limits").names(absurd),
            Region::builder("limits").metrics(absurd),
        ];
        for builder in builders {
            let refused = builder.build().unwrap_err();
            assert!(matches!(refused, CreateError::Limit(_)), "{refused}");
            assert!(refused.to_string().contains(&absurd.to_string()), "{refused}");
        }
    }
}

#[test]
fn the_extension_takes_zero_and_absurd_capacities_without_failing() {
    for capacity in [0, usize::MAX] {
        let telemetry = TelemetryExtension::new("limits-absurd", capacity);
        telemetry.dead_letters.record("nobody".into(), None, "Letter".into(), String::new());
        assert_eq!(telemetry.snapshot().dead_letters.len(), 1);
    }
}

#[test]
fn a_file_on_a_disk_is_refused_unless_it_is_allowed() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let file = folder.path().join("node.region");
    match Region::builder("limits").file(&file).build() {
        Err(CreateError::Disk { .. }) => assert!(!file.exists()),
        // The project itself may lie on a tmpfs.
        other => drop(other.unwrap()),
    }
    let _ = std::fs::remove_file(&file);
    drop(Region::builder("limits").file_even_on_disk(&file).build().unwrap());
    assert!(file.exists(), "a user-named file stays");
}

#[test]
fn a_file_that_is_not_a_region_is_left_alone() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("precious");
    std::fs::write(&file, "do not touch").unwrap();
    let refused = Region::builder("limits").file(&file).build().unwrap_err();
    assert!(matches!(refused, CreateError::NotARegion { .. }), "{refused}");
    let missing = Region::builder("limits").file(folder.path().join("no/such/folder")).build().unwrap_err();
    assert!(matches!(missing, CreateError::NoDirectory { .. }), "{missing}");
    for said in ["no/such", "No such file or directory", "RuntimeDirectory="] {
        assert!(missing.to_string().contains(said), "{missing}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "do not touch");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-made is left behind");
}

#[test]
fn a_full_table_counts_what_it_cannot_list() {
    use atomr_core::actor::{ActorPath, Address, SpawnObserver};
    let region = Region::builder("limits-full").actors(16).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let user = ActorPath::root(Address::local("full")).child("user");
    // More than the entries of the probe's index, of which there are a few for each slot.
    const ACTORS: u64 = 10_000;
    let paths: Vec<ActorPath> = (0..ACTORS).map(|number| user.child(format!("a{number}"))).collect();
    for path in &paths {
        telemetry.actors.on_spawn(path, Some(&user), "Full");
    }
    let region = telemetry.region().path().unwrap().as_os_str();
    let dump = dump_of(region);
    let about = &dump["atomscope"];
    assert_eq!(about["totals"]["live"], ACTORS);
    assert_eq!(about["totals"]["inexact"], true);
    let [listed, unlisted, untracked] = [
        dump["actors"]["flat"].as_array().unwrap().len() as u64,
        about["unlisted"].as_u64().unwrap(),
        about["totals"]["untracked"].as_u64().unwrap(),
    ];
    assert!(listed >= 16 && unlisted > 0 && untracked > 0, "{listed} {unlisted} {untracked}");
    assert_eq!(listed + unlisted + untracked, ACTORS);
    assert_eq!(about["drift"], 0);
    for path in &paths {
        telemetry.actors.on_stop(path);
    }
    assert_eq!(telemetry.actors.live_count(), 0);
    support::wait_until("the waiting stops are given up", || {
        let dump = dump_of(region);
        dump["atomscope"]["drift"] == 0 && dump["atomscope"]["waiting_stops"] == 0
    });
    assert_eq!((telemetry.actors.live_count(), telemetry.actors.snapshot().total), (0, 0));
}
