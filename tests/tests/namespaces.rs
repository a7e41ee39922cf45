//! Nodes and readers in separate namespaces, as in containers. A test that the kernel does not allow here is skipped
//! with a message.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use atomscope_tests::support::exporter::{Exporter, Samples, Series, check_metrics};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::Value;

/// Two user ids that need not exist.
const USER: u32 = 12_345;
const OTHER: u32 = 12_346;

/// A process in its own pid and mount namespace.
const APART: &[&str] = &["--pid", "--fork", "--kill-child", "--mount-proc", "--mount"];

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// `unshare` with these flags. A user other than root also needs a user namespace.
fn unshare(flags: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(flags);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// Whether such namespaces can be created here; prints a message if not.
fn may_unshare(flags: &[&str]) -> bool {
    let may = unshare(flags).arg("true").output().is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: this kernel or user may not `unshare {}`", flags.join(" "));
    }
    may
}

/// A shell that runs `script` and then executes the program and arguments that the caller adds.
fn after(command: &mut Command, script: &str) {
    command.args(["sh", "-c", &format!("{script} && exec \"$@\""), "sh"]);
}

/// The pid, in this namespace, of the process that `unshare` started.
fn child_of(node: &Node) -> u32 {
    let pid = node.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().expect("unshare has a child").parse().unwrap()
}

fn json(command: &mut Command) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn state(pid: u32) -> String {
    let rows = support::listed(pid);
    rows.first().map_or("none".into(), |row| row["state"].as_str().unwrap().to_owned())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Copies of the workspace's programs that any user may run.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["atomscope", "demo-node"] {
            support::copy_program(&support::program(name), &folder.path().join(name));
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The reader as another user, with a `/proc` that shows all processes, whatever the machine's own `/proc` shows.
    fn atomscope_as(&self, user: u32, arguments: &[&str]) -> Command {
        self.atomscope_with_proc("hidepid=0", user, arguments)
    }

    /// The same with a `/proc` with these options. It is a separate mount, because a remount would change the
    /// machine's.
    fn atomscope_with_proc(&self, options: &str, user: u32, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.arg("--mount");
        after(&mut command, &format!("mount -t proc -o {options} proc /proc"));
        command.arg("setpriv").args(rights_of(user)).arg(self.path("atomscope")).args(arguments);
        command
    }
}

fn as_user(user: u32) -> Command {
    let mut command = Command::new("setpriv");
    command.args(rights_of(user));
    command
}

/// The arguments of `setpriv` that change to this user.
fn rights_of(user: u32) -> [String; 3] {
    [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]
}

/// Whether each mount of `/proc` has its own options, as since Linux 5.8. Before, all mounts shared them.
fn proc_mounts_are_apart() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(8))
}

fn removed(pruned: &Value) -> Vec<&str> {
    pruned.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect()
}

/// Regression: the region was refused, because the node is user 0 inside and another user outside.
#[test]
fn a_node_in_a_user_namespace_is_seen_by_its_user() {
    if !Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: this kernel or user may not make user namespaces");
    }
    let node = Node::start(Command::new("unshare").arg("-Ur").arg(support::program("demo-node")));
    wait_until("it is live", || state(node.pid()) == "live");
    let dump = support::atomscope_json(["dump", &node.who()]);
    assert_eq!(dump["atomscope"]["pid"], node.pid());
}

#[test]
#[ignore = "needs root"]
fn a_node_in_another_users_namespace_is_seen_by_root_and_once_dead_by_that_user() {
    let programs = Programs::new();
    let mut command = as_user(USER);
    command.args(["unshare", "-Ur"]).arg(programs.path("demo-node")).args(["--node", "ns-user"]);
    if !as_user(USER).args(["unshare", "-Ur", "true"]).status().unwrap().success() {
        return eprintln!("skipped: this kernel lets users make no user namespaces");
    }
    let mut node = Node::start(&mut command);
    wait_until("root sees it live", || state(node.pid()) == "live");
    assert_eq!(support::listed(node.pid())[0]["uid"], USER);
    let of_user = |arguments: &[&str]| json(&mut programs.atomscope_as(USER, arguments));
    assert_eq!(of_user(&["dump", "ns-user"])["atomscope"]["pid"], node.pid());
    // Another user learns as which user to run.
    let refused = programs.atomscope_as(OTHER, &["dump", &node.who()]).output().unwrap();
    assert!(said(&refused).contains("ptrace rights: run as user 12345 or as root"), "{refused:?}");

    node.kill();
    let region = node.region().to_str().unwrap().to_owned();
    let refused = support::atomscope(["dump", "--region", &region]);
    assert!(said(&refused).contains("unless it is read as user 12345"), "{refused:?}");
    let pruned = support::atomscope_json(["prune", "--node", "ns-user", "--json"]);
    assert!(removed(&pruned).is_empty(), "{pruned}");
    assert_eq!(of_user(&["dump", "ns-user"])["atomscope"]["state"], "crashed");
    let pruned = of_user(&["prune", "--node", "ns-user", "--json"]);
    assert_eq!(removed(&pruned), [region]);
    assert!(!node.region().exists());
}

/// Regression: the node was in no list, and the advice was to run as the present user.
#[test]
#[ignore = "needs root"]
fn a_node_that_may_not_be_looked_into_is_told_with_the_reason_and_what_helps() {
    let programs = Programs::new();
    // The region is no named segment, so only its process leads to it.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    std::os::unix::fs::chown(folder.path(), Some(USER), Some(USER)).unwrap();
    let region = folder.path().join("region");
    let may = ["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    let start = |more: &[&str]| {
        let mut command = as_user(USER);
        command.args(more).arg(programs.path("demo-node"));
        command.args(["--node", "ns-hidden", "--shop-alone", "--region", region.to_str().unwrap()]);
        Node::start(&mut command)
    };
    let without = |capabilities: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", capabilities]).arg(programs.path("atomscope")).args(arguments);
        command
    };
    // On newer kernels CAP_PERFMON (and CAP_SYS_ADMIN) allow reading `maps`, so the reader finds the file by its name.
    let without_ptrace = |arguments: &[&str]| without("-sys_ptrace", arguments);
    let without_any = |arguments: &[&str]| without("-sys_ptrace,-perfmon,-sys_admin", arguments);
    let as_its_user = |arguments: &[&str]| programs.atomscope_as(USER, arguments);
    type Reader<'a> = &'a dyn Fn(&[&str]) -> Command;
    let readers: [(Reader<'_>, &[&str], &str, &str); 3] = [
        (&as_its_user, &may, "it has capabilities that this program lacks: CAP_NET_RAW", "run as root"),
        (
            &|arguments| programs.atomscope_as(OTHER, arguments),
            &[],
            "it runs as user 12345",
            "run as user 12345",
        ),
        (&without_any, &[], "root needs the capability CAP_SYS_PTRACE", "--cap-add SYS_PTRACE"),
    ];
    for (reader, more, why, advice) in readers {
        let node = start(more);
        let pid = node.pid();
        let named = format!("process {pid} (demo-node)");
        for arguments in [&["ps"][..], &["show", "ns-hidden"], &["show", &node.who()]] {
            let said = said(&reader(arguments).output().unwrap());
            assert!(
                said.contains(&named) && said.contains(why) && said.contains(advice),
                "{arguments:?}: {said}"
            );
            // Where the node has capabilities, its own user cannot read it either, so the advice must not name that
            // user.
            assert!(more.is_empty() || !said.contains("run as user 12345"), "{said}");
        }
        let found = json(&mut reader(&["doctor", "--json"]));
        let found = found.as_array().unwrap();
        let finding = found.iter().find(|row| row["finding"].as_str().unwrap().contains(&named));
        let finding = finding.unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(finding["severity"], "problem");
        assert!(finding["advice"].as_str().unwrap().contains(advice), "{finding}");
        // Root has the rights and sees it.
        assert_eq!(state(pid), "live");
    }
    let node = start(&[]);
    let output = without_ptrace(&["ps", "--json"]).output().unwrap();
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_seen =
        rows.as_array().unwrap().iter().any(|row| row["pid"] == node.pid() && row["state"] == "live");
    assert!(is_seen || said(&output).contains("root needs the capability CAP_SYS_PTRACE"), "{output:?}");
}

/// Regression: the message was that there is no such process.
#[test]
#[ignore = "needs root"]
fn a_process_that_proc_does_not_show_is_not_said_to_be_none() {
    if !proc_mounts_are_apart() {
        return eprintln!("skipped: on this kernel the options would be those of the machine's /proc too");
    }
    let programs = Programs::new();
    let node = Node::demo(["--node", "ns-narrow", "--shop-alone"]);
    let pid = node.who();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let reader =
        |arguments: &[&str]| programs.atomscope_with_proc("hidepid=2", USER, arguments).output().unwrap();
    let said = said(&reader(&["show", &pid]));
    if said.contains("mount:") {
        return eprintln!("skipped: /proc cannot be mounted that way here: {said}");
    }
    assert!(said.contains("hidepid") && said.contains("run as the user of the process or as root"), "{said}");
    let found = String::from_utf8(reader(&["doctor"]).stdout).unwrap();
    assert!(found.contains("/proc does not show all processes"), "{found}");
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(after, before, "the machine's own mounts are as they were");
}

#[test]
fn a_node_in_namespaces_of_its_own_is_attached_to_by_its_pid_out_here() {
    if !may_unshare(APART) {
        return;
    }
    let mut command = unshare(&[APART, &["--user", "--map-root-user"]].concat());
    if is_root() {
        command = Command::new("unshare");
        command.args(APART).args(["--user", "--map-root-user"]);
    }
    after(&mut command, "mount -t tmpfs tmpfs /dev/shm");
    command.arg(support::program("demo-node")).args(["--node", "ns-apart"]);
    let node = Node::start(&mut command);
    let pid = child_of(&node);
    assert!(!node.region().exists(), "its /dev/shm is its own");
    wait_until("it is live", || state(pid) == "live");
    let row = &support::listed(pid)[0];
    assert!(row["path"].as_str().unwrap().starts_with(&format!("/proc/{pid}/")), "{row}");
    let dump = support::atomscope_json(["dump", &pid.to_string()]);
    assert_eq!((&dump["node"], &dump["atomscope"]["pid"]), (&"ns-apart".into(), &pid.into()));
    assert_eq!(support::atomscope_json(["dump", "ns-apart"])["atomscope"]["pid"], pid);
    // A reader with the node's file system, but without its processes.
    if is_root() {
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &pid.to_string(), "--mount"]).arg(support::program("atomscope"));
        let rows = json(inside.args(["ps", "--json"]));
        assert_eq!((&rows[0]["node"], &rows[0]["state"]), (&"ns-apart".into(), &"live".into()), "{rows}");
    }
}

/// Regression: the other region was opened. Its file has the same name and, on an equally new file system, the same
/// inode number.
#[test]
fn files_of_one_name_in_two_file_systems_are_told_apart() {
    let flags = &["--mount"];
    if !is_root() || !may_unshare(flags) {
        return eprintln!("skipped: only root may enter another process's mount namespace");
    }
    let (demo, file) = (support::program("demo-node"), "/dev/shm/same.region");
    // The second node replaces the file of the first one, which has ended, and is mapped under its name.
    let first = format!("{} --region {file} --seconds 0 >/dev/null", demo.display());
    let start = |name: &str| {
        let mut command = unshare(flags);
        after(&mut command, &format!("mount -t tmpfs tmpfs /dev/shm && {first}"));
        Node::start(command.arg(&demo).args(["--node", name, "--region", file]))
    };
    let (one, other) = (start("ns-one"), start("ns-other"));
    let mut beside_one = Command::new("nsenter");
    beside_one.args(["--target", &one.who(), "--mount"]).arg(support::program("atomscope"));
    assert_eq!(json(beside_one.args(["dump", &other.who()]))["node"], "ns-other");
}

#[test]
fn two_nodes_of_one_number_in_two_namespaces_are_told_apart_and_neither_is_pruned() {
    if !may_unshare(APART) {
        return;
    }
    let start = || {
        let mut command = unshare(APART);
        Node::start(command.arg(support::program("demo-node")).args(["--node", "ns-twins"]))
    };
    let mut nodes = [start(), start()];
    let pids = [child_of(&nodes[0]), child_of(&nodes[1])];
    let regions = [0, 1].map(|at: usize| nodes[at].region().to_str().unwrap().to_owned());
    for (pid, region) in pids.iter().zip(&regions) {
        wait_until("it is live", || state(*pid) == "live");
        assert_eq!(&support::listed(*pid)[0]["path"], region);
        assert_eq!(support::atomscope_json(["dump", &pid.to_string()])["atomscope"]["pid"], *pid);
    }
    // Where neither process is visible, both have pid 1, count as live by their locks only, and differ by their files.
    let third = |arguments: &[&str]| {
        let mut command = unshare(APART);
        command.arg(support::program("atomscope")).args(arguments).output().unwrap()
    };
    let rows: Value = serde_json::from_slice(&third(&["ps", "--json"]).stdout).unwrap();
    for region in &regions {
        let row = rows.as_array().unwrap().iter().find(|row| &row["path"] == region);
        let row = row.unwrap_or_else(|| panic!("{region} is not in {rows}"));
        assert_eq!((&row["state"], &row["pid"]), (&"live".into(), &1.into()));
    }
    let text = said(&third(&["show", "ns-twins"]));
    assert!(regions.iter().all(|region| text.contains(region)), "{text}");
    let prune = ["prune", "--node", "ns-twins", "--json"];
    for output in [third(&prune), support::atomscope(prune)] {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[]\n", "{}", said(&output));
    }
    nodes[0].kill();
    wait_until("the first has crashed", || {
        support::atomscope_json(["ps", "--json", "--region", &regions[0]])[0]["state"] == "crashed"
    });
    assert_eq!(removed(&support::atomscope_json(prune)), [regions[0].as_str()]);
    assert_eq!(state(pids[1]), "live");
}

/// In a container each node has the pid of its predecessor.
#[test]
fn what_a_predecessor_of_the_same_number_left_unpublished_is_removed() {
    if !may_unshare(APART) {
        return;
    }
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    // The node replaces the wrapper's shell, so it has pid 1.
    let left = PathBuf::from(format!("/dev/shm/atomscope-{user}-1-{:016x}", std::process::id()));
    std::fs::write(&left, [0; 8192]).unwrap();
    let file = std::fs::File::options().write(true).open(&left).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(61)).unwrap();
    let mut command = unshare(APART);
    let _node = Node::start(command.arg(support::program("demo-node")).args(["--node", "ns-predecessor"]));
    let is_there = left.exists();
    let _ = std::fs::remove_file(&left);
    assert!(!is_there);
}

#[test]
fn a_sidecar_that_shares_a_volume_alone_sees_the_node_by_its_lock() {
    if !may_unshare(APART) {
        return;
    }
    let volume = tempfile::tempdir_in("/dev/shm").unwrap();
    let script = format!("mount --bind {} /mnt && mount -t tmpfs tmpfs /dev/shm", volume.path().display());
    let container = |program: &Path, arguments: &[&str]| {
        let mut command = unshare(APART);
        after(&mut command, &script);
        command.arg(program).args(arguments.iter().map(OsStr::new));
        command
    };
    let region = "/mnt/node.region";
    let mut node = Node::start(&mut container(
        &support::program("demo-node"),
        &["--node", "ns-volume", "--region", region],
    ));
    let sidecar = |arguments: &[&str]| json(&mut container(&support::program("atomscope"), arguments));
    let about = || sidecar(&["dump", region])["atomscope"].clone();
    wait_until("it is live", || about()["state"] == "live");
    assert_eq!(about()["liveness"], "lock");
    assert_eq!(sidecar(&["ps", "--json", "--region", region])[0]["node"], "ns-volume");
    node.kill();
    wait_until("it has crashed", || about()["state"] == "crashed");
}

/// The series that one label tells from those of the other node, without the last counts of ended nodes.
fn live_series(samples: &Samples, label: &str, value: &str) -> Samples {
    let is_live = |((_, labels), _): &(&Series, &f64)| {
        labels.get(label).is_some_and(|of| of == value) && !labels.contains_key("ended")
    };
    samples.iter().filter(is_live).map(|(series, value)| (series.clone(), *value)).collect()
}

/// Waits until a label with these two values tells the series of two nodes apart, and no series are left out or there twice.
#[track_caller]
fn both_are_exported(exporter: &Exporter, label: &str, values: &[String; 2]) {
    let names = |samples: &Samples| samples.keys().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    wait_until("both nodes have the same series", || {
        let samples = exporter.samples();
        let [one, other] = values.each_ref().map(|value| live_series(&samples, label, value));
        let of_nodes = samples.keys().filter(|(_, labels)| labels.contains_key("node")).count();
        one.len() > 100 && of_nodes == one.len() + other.len() && names(&one) == names(&other)
    });
    check_metrics(&exporter.metrics());
}

/// Waits until the first of the two nodes has ended, and its series with it, and until the other one counts on.
#[track_caller]
fn the_second_goes_on_alone(exporter: &Exporter, label: &str, values: &[String; 2]) {
    let state = |samples: &Samples, value: &str, name: &str| {
        let of_name = live_series(samples, label, value).into_iter().filter(|((of, _), _)| of == name);
        of_name.map(|(_, value)| value).sum::<f64>()
    };
    let [ended, lives] = values;
    wait_until("only its end is left of the first", || {
        let samples = exporter.samples();
        let left = live_series(&samples, label, ended);
        left.keys().map(|(name, _)| name.as_str()).eq(["atomscope_node_ended"])
    });
    let spawned = || state(&exporter.samples(), lives, "atomr_actors_spawned_total");
    let before = spawned();
    assert!(before > 0.0);
    wait_until("the second spawns more", || spawned() > before);
    check_metrics(&exporter.metrics());
}

/// Containers that share a directory for their regions, or in which the region has the same path, and exporters that see their
/// processes or do not.
#[test]
#[ignore = "needs root and promtool"]
fn nodes_of_one_name_in_two_containers_are_exported_side_by_side() {
    let flags = &[APART, &["--ipc"]].concat();
    let volumes = [0; 3].map(|_| tempfile::tempdir_in("/dev/shm").unwrap());
    let [shared, one, other] = volumes.each_ref().map(|volume| volume.path().display());
    let container = |mounts: &str, program: &str| {
        let mut command = unshare(flags);
        after(&mut command, mounts);
        command.arg(support::program(program));
        command
    };
    let node = |mounts: &str, name: &str, arguments: &[&str]| {
        Node::start(container(mounts, "demo-node").args(["--node", name]).args(arguments))
    };

    let mount = format!("mount --bind {shared} /dev/shm");
    let mut nodes = [0; 2].map(|_| node(&mount, "ns-shared", &[]));
    let pids = nodes.each_ref().map(|node| child_of(node).to_string());
    let regions = nodes.each_ref().map(|node| node.region().display().to_string());
    let outside = Exporter::start(&["ns-shared"]);
    let of_directory = Exporter::start(&["ns-shared", "--dir", &shared.to_string()]);
    let sidecar = Exporter::start_with(container(&mount, "atomscope"), &["ns-shared"]);
    let views =
        [(&outside, "pid", &pids), (&of_directory, "pid", &pids), (&sidecar, "region_file", &regions)];
    for (exporter, label, values) in views {
        both_are_exported(exporter, label, values);
    }
    nodes[0].kill();
    for (exporter, label, values) in views {
        the_second_goes_on_alone(exporter, label, values);
    }

    let region = ["--region", "/mnt/node.region"];
    let mut nodes = [&one, &other].map(|volume| {
        node(&format!("mount --bind {volume} /mnt && mount -t tmpfs tmpfs /dev/shm"), "ns-volumes", &region)
    });
    let regions = [format!("{one}/node.region"), format!("{other}/node.region")];
    let sidecar = Exporter::start_with(container("true", "atomscope"), &[&regions[0], &regions[1]]);
    both_are_exported(&sidecar, "region_file", &regions);
    nodes[0].kill();
    the_second_goes_on_alone(&sidecar, "region_file", &regions);
}

/// The clocks of a node whose monotonic clock is a thousand seconds ahead of, or behind, those outside.
fn in_time_namespace(offset_s: i64) -> Vec<String> {
    let offset = |clock: &str| [format!("--{clock}"), offset_s.to_string()];
    let mut flags = vec!["--time".to_owned(), "--fork".to_owned(), "--kill-child".to_owned()];
    flags.extend(offset("monotonic"));
    flags.extend(offset("boottime"));
    flags
}

/// Regression: the last heartbeat was shown as sixteen minutes ago, or a stopped node as live with a heartbeat 0.0 s
/// ago.
#[test]
#[ignore = "needs root"]
fn a_node_in_a_time_namespace_is_judged_by_its_own_clock() {
    for offset_s in [1_000, -30] {
        let flags = in_time_namespace(offset_s);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        if !may_unshare(&flags) {
            return;
        }
        let name = format!("ns-time{offset_s}");
        let mut command = unshare(&flags);
        let node = Node::start(command.arg(support::program("demo-node")).args(["--node", &name]));
        let pid = child_of(&node);
        let row = || {
            support::atomscope_json(["ps", "--json", "--region", node.region().to_str().unwrap()])[0].clone()
        };
        wait_until("it is live", || row()["state"] == "live");
        let beat = |row: &Value| row["beat_age_s"].as_f64().unwrap();
        assert!(beat(&row()) < 3.0, "{}", row());
        let age = row()["age_s"].as_f64().unwrap();
        assert!(age < 60.0, "{age}");
        // The process is found, although it started at another time by its own clock.
        assert_eq!(row()["pid"], pid);
        assert!(support::atomscope_json(["show", &name, "--json"])["process"].is_object());
        let stat = support::atomscope_json(["stat", "--json", &name, "1s", "1"]);
        assert!(stat["interval_s"].as_f64().unwrap() < 60.0, "{stat}");

        Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
        wait_until("its last heartbeat is old", || beat(&row()) > 3.5);
        assert_eq!((&row()["state"], beat(&row()) < 60.0), (&"wedged".into(), true), "{}", row());
        Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
        wait_until("it is live again", || row()["state"] == "live");

        // A reader in such a namespace sees this node and a node outside correctly.
        let outside = Node::demo(["--node", "ns-no-time"]);
        let inside = |region: &Path| {
            let mut command = unshare(&flags);
            command.arg(support::program("atomscope")).args(["ps", "--json", "--region"]).arg(region);
            json(&mut command)[0].clone()
        };
        for region in [outside.region(), node.region()] {
            wait_until("it is live from inside", || inside(region)["state"] == "live");
            assert!(beat(&inside(region)) < 3.0, "{}", inside(region));
            assert!(inside(region)["age_s"].as_f64().unwrap() < 60.0, "{}", inside(region));
        }
        // After its death, its age by its own clock is right.
        Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        wait_until("it has crashed", || row()["state"] == "crashed");
        assert!(beat(&row()) < 60.0 && row()["age_s"].as_f64().unwrap() < 60.0, "{}", row());
    }
}
