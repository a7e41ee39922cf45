//! Threads and stacks of real nodes, as `atomscope threads` and `atomscope stacks` read them from outside.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::Value;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A user id that need not exist.
const USER: u32 = 12_345;

/// What an actor tells the main thread when it is where it stays.
type Began = mpsc::Sender<()>;

/// Sleeps in its handler.
struct Sleeper;

#[async_trait::async_trait]
impl Actor for Sleeper {
    type Msg = Began;

    async fn handle(&mut self, _: &mut Context<Self>, began: Began) {
        began.send(()).unwrap();
        std::thread::sleep(FOR_EVER);
    }
}

/// Runs in its handler.
struct Spinner;

#[async_trait::async_trait]
impl Actor for Spinner {
    type Msg = Began;

    async fn handle(&mut self, _: &mut Context<Self>, began: Began) {
        began.send(()).unwrap();
        loop {
            std::hint::spin_loop();
        }
    }
}

/// Sleeps before its first message.
struct Starter(Began);

#[async_trait::async_trait]
impl Actor for Starter {
    type Msg = ();

    async fn pre_start(&mut self, _: &mut Context<Self>) {
        self.0.send(()).unwrap();
        std::thread::sleep(FOR_EVER);
    }

    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {}
}

/// Sleeps after its end.
struct Stopper(Began);

#[async_trait::async_trait]
impl Actor for Stopper {
    type Msg = ();

    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {}

    async fn post_stop(&mut self, _: &mut Context<Self>) {
        self.0.send(()).unwrap();
        std::thread::sleep(FOR_EVER);
    }
}

/// Two locks, and the meeting of those who have one each and want the other one.
#[derive(Default)]
struct Forks([Mutex<()>; 2]);

fn take(forks: &Forks, first: usize, met: &Barrier, began: &Began) {
    let _first = forks.0[first].lock().unwrap();
    met.wait();
    began.send(()).unwrap();
    let _second = forks.0[1 - first].lock().unwrap();
}

struct Left(Arc<Forks>, Arc<Barrier>);
struct Right(Arc<Forks>, Arc<Barrier>);

#[async_trait::async_trait]
impl Actor for Left {
    type Msg = Began;

    async fn handle(&mut self, _: &mut Context<Self>, began: Began) {
        take(&self.0, 0, &self.1, &began);
    }
}

#[async_trait::async_trait]
impl Actor for Right {
    type Msg = Began;

    async fn handle(&mut self, _: &mut Context<Self>, began: Began) {
        take(&self.0, 1, &self.1, &began);
    }
}

/// Counts its messages.
struct Counter(Arc<AtomicU64>);

#[async_trait::async_trait]
impl Actor for Counter {
    type Msg = u64;

    async fn handle(&mut self, _: &mut Context<Self>, number: u64) {
        // Each message is one more than the one before.
        assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), number);
    }
}

fn runtime(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
}

fn say_ready(region: &Region) {
    println!("ready region={}", region.path().unwrap().display());
}

/// This process is a node from now on, until it is killed.
fn be(role: &str) {
    match role {
        "office" => office(),
        "crowd" => crowd(),
        "churn" => churn(),
        "load" => load(),
        _ => panic!("no such role: {role}"),
    }
}

/// A node with an actor for each way to block a thread.
fn office() {
    let runtime = runtime(8);
    runtime.block_on(async {
        let system = ActorSystem::create("office", Config::empty()).await.unwrap();
        let telemetry = TelemetryExtension::new("stacks-office", 64).install(&system);
        let (began, all) = mpsc::channel();
        let (forks, met) = (Arc::new(Forks::default()), Arc::new(Barrier::new(2)));
        let [left, right] = [(forks.clone(), met.clone()), (forks, met)];
        let left =
            system.actor_of(Props::create(move || Left(left.0.clone(), left.1.clone())), "left").unwrap();
        let right =
            system.actor_of(Props::create(move || Right(right.0.clone(), right.1.clone())), "right").unwrap();
        let sleeper = system.actor_of(Props::create(|| Sleeper), "sleeper").unwrap();
        let spinner = system.actor_of(Props::create(|| Spinner), "spinner").unwrap();
        let told = began.clone();
        let _starter = system.actor_of(Props::create(move || Starter(told.clone())), "starter").unwrap();
        let told = began.clone();
        let stopper = system.actor_of(Props::create(move || Stopper(told.clone())), "stopper").unwrap();
        stopper.stop();
        for actor in [left, right] {
            actor.tell(began.clone());
        }
        sleeper.tell(began.clone());
        spinner.tell(began);
        for _ in 0..6 {
            all.recv().unwrap();
        }
        say_ready(telemetry.region());
        std::thread::sleep(FOR_EVER);
    });
}

#[inline(never)]
fn waits_with_the_others(began: &Began) {
    began.send(()).unwrap();
    std::thread::sleep(FOR_EVER);
}

/// A node of 500 threads that sleep.
fn crowd() {
    let region = Region::builder("stacks-crowd").build().unwrap();
    let (began, all) = mpsc::channel();
    for number in 0..500 {
        let began: Began = began.clone();
        let thread = std::thread::Builder::new().name(format!("crowd-{number}")).stack_size(64 << 10);
        thread.spawn(move || waits_with_the_others(&began)).unwrap();
    }
    for _ in 0..500 {
        all.recv().unwrap();
    }
    say_ready(&region);
    std::thread::sleep(FOR_EVER);
}

/// A node whose threads live for a millisecond.
fn churn() {
    let region = Region::builder("stacks-churn").build().unwrap();
    say_ready(&region);
    loop {
        let short = || std::thread::spawn(|| std::thread::sleep(Duration::from_millis(1)));
        let threads: Vec<_> = std::iter::repeat_with(short).take(8).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// A node that sends messages for some seconds, and says whether all have come and how long nothing went on.
fn load() {
    let runtime = runtime(4);
    runtime.block_on(async {
        let system = ActorSystem::create("load", Config::empty()).await.unwrap();
        let telemetry = TelemetryExtension::new("stacks-load", 64).install(&system);
        let handled: [Arc<AtomicU64>; 2] = Default::default();
        let counters: Vec<ActorRef<u64>> = handled
            .iter()
            .enumerate()
            .map(|(nth, handled)| {
                let handled = handled.clone();
                let props = Props::create(move || Counter(handled.clone()));
                system.actor_of(props, &format!("counter-{nth}")).unwrap()
            })
            .collect();
        say_ready(telemetry.region());
        let clock = tokio::task::spawn_blocking(|| {
            let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
            while begun.elapsed() < Duration::from_secs(6) {
                let now = Instant::now();
                longest = longest.max(now - last);
                last = now;
            }
            longest
        });
        let mut sent = 0;
        while !clock.is_finished() {
            for _ in 0..50 {
                counters.iter().for_each(|counter| counter.tell(sent));
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let longest = clock.await.unwrap();
        let are_there = || handled.iter().all(|handled| handled.load(Ordering::Relaxed) == sent);
        wait_until("all messages are handled", are_there);
        println!("handled {sent} longest {} us", longest.as_micros());
        std::thread::sleep(FOR_EVER);
    });
}

/// The stacks of a node, as JSON.
fn stacks<A: AsRef<OsStr>>(node: &Node, more: impl IntoIterator<Item = A>) -> Vec<Value> {
    let more = more.into_iter().map(|argument| argument.as_ref().to_owned());
    let arguments = ["stacks".into(), node.who().into(), "--json".into()].into_iter().chain(more);
    rows(support::atomscope_json(arguments))
}

fn rows(json: Value) -> Vec<Value> {
    json.as_array().unwrap().clone()
}

fn none() -> [&'static str; 0] {
    []
}

/// The thread whose actor's class has this name.
#[track_caller]
fn of_class<'a>(threads: &'a [Value], class: &str) -> &'a Value {
    let ends = |thread: &&Value| thread["class"].as_str().is_some_and(|found| found.ends_with(class));
    let mut found = threads.iter().filter(ends);
    let one = found.next().unwrap_or_else(|| panic!("no {class} in {threads:#?}"));
    assert!(found.next().is_none(), "two of {class}");
    one
}

fn frames(thread: &Value) -> &[Value] {
    thread["frames"].as_array().unwrap()
}

/// Whether a frame's function contains this text.
fn has_function(thread: &Value, text: &str) -> bool {
    frames(thread).iter().any(|frame| frame["function"].as_str().is_some_and(|name| name.contains(text)))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// A command that runs a copy of this test program as a node.
fn copy_as(copy: &Path, name: &str, role: &str) -> Command {
    let mut command = Command::new(copy);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("ATOMSCOPE_TEST_CHILD", role);
    command
}

/// A folder that every user may enter, with a copy of this program in it.
fn folder_with_copy() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("node");
    support::copy_program(&std::env::current_exe().unwrap(), &copy);
    (folder, copy)
}

/// Whether a program can be run here; prints a message if not.
fn has(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: there is no program `{program}` here");
    }
    has
}

#[test]
fn threads_that_sleep_name_the_actor_and_the_line_and_none_is_stopped() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "threads_that_sleep_name_the_actor_and_the_line_and_none_is_stopped";
    let node = Node::start(&mut support::again(name, "office"));
    let threads = stacks(&node, none());
    assert!(threads.iter().all(|thread| thread["stopped_us"].is_null()), "{threads:#?}");
    for (class, method) in [("Sleeper", "handle"), ("Starter", "pre_start"), ("Stopper", "post_stop")] {
        let thread = of_class(&threads, class);
        assert_eq!(
            (&thread["class"], &thread["method"]),
            (&format!("threads::{class}").into(), &method.into())
        );
        assert_eq!(
            (&thread["state"], &thread["is_whole"], &thread["why"]),
            (&"sleeping".into(), &true.into(), &Value::Null)
        );
        assert!(has_function(thread, "sleep"), "{thread:#}");
        let handler = format!("<threads::{class} as atomr_core::actor::traits::Actor>::{method}");
        let is_handler =
            |frame: &&Value| frame["function"].as_str().is_some_and(|name| name.starts_with(&handler));
        let frame = frames(thread).iter().find(is_handler).unwrap_or_else(|| panic!("{thread:#}"));
        assert!(frame["file"].as_str().unwrap().ends_with("tests/threads.rs"), "{frame}");
        let source = include_str!("threads.rs");
        let line = source.lines().nth(frame["line"].as_u64().unwrap() as usize - 1).unwrap();
        assert_eq!(line.trim(), "std::thread::sleep(FOR_EVER);");
    }
    // The standard library reaches the function in which this thread waits by a jump, and not by a call.
    let poller = threads.iter().find(|thread| thread["name"] == "atomscope-poll").unwrap();
    assert!(has_function(poller, "atomscope_probe::poller") && poller["is_whole"] == true, "{poller:#}");
    let text = support::atomscope(["stacks", &node.who()]).stdout;
    let text = String::from_utf8(text).unwrap();
    let head = text.lines().find(|line| line.contains("threads::Sleeper::handle"));
    assert!(head.is_some_and(|head| head.contains("sleeping in ") && !head.starts_with(' ')), "{text}");
}

#[test]
fn a_deadlock_is_two_actors_that_wait_for_a_lock() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_deadlock_is_two_actors_that_wait_for_a_lock";
    let node = Node::start(&mut support::again(name, "office"));
    let threads = stacks(&node, none());
    for class in ["Left", "Right"] {
        let thread = of_class(&threads, class);
        assert_eq!((&thread["method"], &thread["is_whole"]), (&"handle".into(), &true.into()), "{thread:#}");
        assert!(
            has_function(thread, "lock_contended") && has_function(thread, "threads::take"),
            "{thread:#}"
        );
        // The innermost function of the standard library keeps a frame pointer, which is unknown of a sleeping thread.
        let guessed = frames(thread).iter().filter(|frame| frame["is_guessed"] == true).count();
        assert!(guessed < frames(thread).len(), "{thread:#}");
    }
}

#[test]
fn a_thread_that_runs_is_looked_at_only_if_it_may_be_stopped() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_thread_that_runs_is_looked_at_only_if_it_may_be_stopped";
    let node = Node::start(&mut support::again(name, "office"));
    let is_spinner = |thread: &&Value| thread["class"] == "threads::Spinner";
    let threads = stacks(&node, none());
    assert!(threads.iter().find(is_spinner).is_none());
    let runs = threads.iter().find(|thread| thread["why"].as_str().is_some_and(|why| why.contains("--stop")));
    let runs = runs.unwrap_or_else(|| panic!("{threads:#?}"));
    assert!(frames(runs).is_empty(), "{runs}");

    let threads = stacks(&node, ["--stop"]);
    let spinner = of_class(&threads, "Spinner");
    assert_eq!((&spinner["tid"], &spinner["is_whole"]), (&runs["tid"], &true.into()), "{spinner:#}");
    assert!(spinner["stopped_us"].as_f64().is_some());
    assert!(frames(spinner).iter().all(|frame| frame["is_guessed"] == false), "its registers are known");
    assert!(of_class(&threads, "Sleeper")["stopped_us"].is_null(), "who sleeps is not stopped");

    let tid = spinner["tid"].to_string();
    let one = stacks(&node, ["--stop", "--thread", &tid]);
    assert_eq!((one.len(), &one[0]["class"]), (1, &"threads::Spinner".into()));
    let other = support::atomscope(["stacks", &node.who(), "--thread", "1"]);
    assert!(said(&other).contains(&format!("process {} has no thread 1", node.who())), "{other:?}");
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn the_busiest_thread_comes_first_and_each_has_the_kernels_numbers() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "the_busiest_thread_comes_first_and_each_has_the_kernels_numbers";
    let node = Node::start(&mut support::again(name, "office"));
    let threads = rows(support::atomscope_json(["threads", &node.who(), "300ms", "--json"]));
    let first = &threads[0];
    assert_eq!(
        (&first["state"], &first["node"], &first["pid"]),
        (&"running".into(), &"stacks-office".into(), &node.pid().into())
    );
    assert!(first["cpu_percent"].as_f64() > Some(0.0) && first["cpu_s"].as_f64() > Some(0.0), "{first}");
    let names: Vec<_> = threads.iter().map(|thread| thread["name"].as_str().unwrap()).collect();
    assert!(
        names.iter().filter(|name| name.contains("tokio")).count() >= 8 && names.contains(&"atomscope"),
        "{names:?}"
    );
    for thread in &threads {
        let keys = ["queued_percent", "voluntary_switches_per_s", "involuntary_switches_per_s", "processor"];
        assert!(keys.iter().all(|key| thread[key].is_number()), "{thread}");
        if thread["state"] == "sleeping" {
            assert!(thread["wait_channel"].is_string(), "{thread}");
        }
    }
    // All nodes are shown where none is named.
    let text = String::from_utf8(support::atomscope(["threads", "10ms"]).stdout).unwrap();
    assert!(text.lines().next().unwrap().starts_with("THREAD"), "{text}");
    assert!(text.contains("stacks-office") && text.contains("WAITS IN"), "{text}");
}

#[test]
fn a_stripped_program_gives_addresses_with_its_build_id_or_names_without_lines() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_stripped_program_gives_addresses_with_its_build_id_or_names_without_lines";
    if !has("strip") {
        return;
    }
    for (how, has_names) in [("--strip-debug", true), ("--strip-all", false)] {
        let (_folder, copy) = folder_with_copy();
        assert!(Command::new("strip").arg(how).arg(&copy).status().unwrap().success());
        let node = Node::start(&mut copy_as(&copy, name, "office"));
        let threads = stacks(&node, none());
        let own = |frame: &&Value| frame["module"] == copy.to_str().unwrap();
        let own: Vec<&Value> = threads.iter().flat_map(frames).filter(own).collect();
        assert!(own.len() > 20, "{threads:#?}");
        for frame in own {
            assert_eq!(frame["function"].is_string(), has_names, "{how}: {frame}");
            assert!(
                frame["line"].is_null() && frame["module_address"].as_str().unwrap().starts_with("0x"),
                "{frame}"
            );
            assert!(frame["build_id"].as_str().is_some_and(|id| id.len() >= 16), "{frame}");
        }
        if has_names {
            assert_eq!(of_class(&threads, "Sleeper")["method"], "handle");
        }
        // The stacks themselves are whole: unwind data is not stripped.
        let whole = threads.iter().filter(|thread| thread["is_whole"] == true).count();
        assert!(whole >= 5, "{threads:#?}");
    }
}

#[test]
fn a_program_that_was_replaced_while_it_runs_keeps_its_own_names() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_program_that_was_replaced_while_it_runs_keeps_its_own_names";
    let (folder, copy) = folder_with_copy();
    let node = Node::start(&mut copy_as(&copy, name, "office"));
    let other = folder.path().join("other");
    support::copy_program(&support::program("atomscope"), &other);
    std::fs::rename(&other, &copy).unwrap();
    let threads = stacks(&node, none());
    assert_eq!(of_class(&threads, "Sleeper")["method"], "handle");
    let is_of_the_other = threads.iter().any(|thread| has_function(thread, "atomscope::program"));
    assert!(!is_of_the_other, "{threads:#?}");
}

/// A library that starts a thread when it is loaded, which sleeps in a function of this name.
fn library(folder: &Path, file: &str, function: &str) -> bool {
    let source = folder.join("library.c");
    let text = format!(
        "#include <pthread.h>\n#include <unistd.h>\n\
         __attribute__((noinline)) void *{function}(void *unused) {{ for (;;) sleep(1000); return unused; }}\n\
         __attribute__((constructor)) static void begin(void) {{ pthread_t t; pthread_create(&t, 0, {function}, 0); }}\n"
    );
    std::fs::write(&source, text).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-pthread", "-g", "-O1", "-Wl,--build-id"])
        .arg(&source)
        .arg("-o")
        .arg(folder.join(file));
    let is_made = cc.output().is_ok_and(|output| output.status.success());
    if !is_made {
        eprintln!("skipped: there is no C compiler that makes shared libraries here");
    }
    is_made
}

/// The reader without the right to open files by the kernel's links to mapped files.
fn without_links(arguments: &[&str]) -> Command {
    let mut command = Command::new(if is_root() { "setpriv" } else { "env" });
    if is_root() {
        command.args(["--bounding-set", "-sys_admin,-checkpoint_restore"]);
    }
    command.arg(support::program("atomscope")).args(arguments);
    command
}

#[test]
fn names_are_those_of_the_mapped_library_or_there_are_none() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "names_are_those_of_the_mapped_library_or_there_are_none";
    let folder = tempfile::tempdir().unwrap();
    if !library(folder.path(), "new.so", "not_in_this_process")
        || !library(folder.path(), "used.so", "sleeps_in_a_library")
    {
        return;
    }
    let used = folder.path().join("used.so");
    let mut command = support::again(name, "office");
    let node = Node::start(command.env("LD_PRELOAD", &used));
    let look = || {
        let output = without_links(&["stacks", &node.who(), "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (rows(serde_json::from_slice(&output.stdout).unwrap()), said(&output))
    };
    let (threads, _) = look();
    let is_in = |thread: &&Value| has_function(thread, "sleeps_in_a_library");
    let thread = threads.iter().find(is_in).unwrap_or_else(|| panic!("{threads:#?}"));
    assert!(frames(thread).iter().any(|frame| frame["line"] == 3), "{thread:#}");
    let tid = thread["tid"].clone();

    std::fs::rename(folder.path().join("new.so"), &used).unwrap();
    let (threads, said) = look();
    let thread = threads.iter().find(|thread| thread["tid"] == tid).unwrap();
    assert!(!has_function(thread, "sleeps_in") && !has_function(thread, "not_in_this_process"), "{thread:#}");
    let is_of_library =
        |frame: &&Value| frame["module"].as_str().is_some_and(|module| module.contains("used.so"));
    let frame = frames(thread).iter().find(is_of_library).unwrap_or_else(|| panic!("{thread:#}"));
    assert!(frame["build_id"].is_string() && frame["line"].is_null(), "{frame}");
    assert!(said.contains("used.so") && said.contains("it was replaced"), "{said}");
    assert_eq!(thread["is_whole"], true, "its unwind data is in memory: {thread:#}");
}

#[test]
fn a_node_in_another_mount_namespace_has_its_names() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_node_in_another_mount_namespace_has_its_names";
    let mut flags = vec!["--mount"];
    if !is_root() {
        flags.extend(["--user", "--map-root-user"]);
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(&flags);
        command
    };
    if !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: this kernel or user may not `unshare --mount`");
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("inside");
    std::fs::create_dir(&place).unwrap();
    let has_library = library(folder.path(), "there.so", "sleeps_in_a_library");
    let script = "mount -t tmpfs tmpfs \"$1\" && cp \"$2\" \"$1/node\" && { cp \"$3\" \"$1/there.so\" || true; } && \
                  export LD_PRELOAD=\"$1/there.so\" && program=\"$1/node\" && shift 3 && exec \"$program\" \"$@\"";
    let mut command = unshare();
    command.args(["sh", "-c", script, "sh"]).arg(&place).arg(std::env::current_exe().unwrap());
    command.arg(folder.path().join("there.so")).args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let node = Node::start(command.env("ATOMSCOPE_TEST_CHILD", "office"));
    assert!(!place.join("node").exists(), "its file is not in this namespace");
    let output = without_links(&["stacks", &node.who(), "--json"]).output().unwrap();
    let threads = rows(serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(of_class(&threads, "Sleeper")["method"], "handle");
    if has_library {
        assert!(threads.iter().any(|thread| has_function(thread, "sleeps_in_a_library")), "{threads:#?}");
    }
}

#[test]
fn threads_that_end_meanwhile_are_no_error() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "threads_that_end_meanwhile_are_no_error";
    let node = Node::start(&mut support::again(name, "churn"));
    for _ in 0..15 {
        let threads = rows(support::atomscope_json(["threads", &node.who(), "5ms", "--json"]));
        assert!(threads.iter().any(|thread| thread["name"] == "atomscope"), "{threads:#?}");
        assert!(!stacks(&node, ["--stop"]).is_empty());
    }
}

#[test]
fn a_node_that_is_killed_meanwhile_is_told_and_never_ends_the_reader_otherwise() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_node_that_is_killed_meanwhile_is_told_and_never_ends_the_reader_otherwise";
    for delay_ms in [0, 3, 10, 20, 50, 100, 200, 400] {
        for command in [&["threads", "20ms"][..], &["stacks", "--stop"]] {
            let mut node = Node::start(&mut support::again(name, "churn"));
            let (first, more) = command.split_first().unwrap();
            let reader = Command::new(support::program("atomscope"))
                .args([first, node.who().as_str()])
                .args(more)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(delay_ms));
            node.kill();
            let output = reader.wait_with_output().unwrap();
            let said = said(&output);
            match output.status.code() {
                Some(0) => {}
                Some(1) => assert!(
                    said.starts_with("atomscope: ")
                        && (said.contains("ended") || said.contains("has crashed")),
                    "{said}"
                ),
                _ => panic!("{delay_ms} ms: {output:?}"),
            }
        }
    }
}

#[test]
fn five_hundred_threads_are_all_there() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "five_hundred_threads_are_all_there";
    let node = Node::start(&mut support::again(name, "crowd"));
    let is_one = |thread: &&Value| thread["name"].as_str().unwrap().starts_with("crowd-");
    let threads = rows(support::atomscope_json(["threads", &node.who(), "10ms", "--json"]));
    assert_eq!(threads.iter().filter(is_one).count(), 500);
    let threads = stacks(&node, none());
    let crowd: Vec<_> = threads.iter().filter(is_one).collect();
    assert_eq!(crowd.len(), 500);
    for thread in crowd {
        assert!(has_function(thread, "waits_with_the_others"), "{thread:#}");
        assert_eq!(thread["is_whole"], true, "{thread:#}");
    }
}

/// The letters of the states of a process's threads, and who traces them.
fn states(pid: u32) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let field = |status: &str, name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    statuses.map(|status| (field(&status, "State:"), field(&status, "TracerPid:"))).collect()
}

#[track_caller]
fn goes_on(pid: u32) {
    wait_until("no thread is traced or stopped", || {
        states(pid).iter().all(|(state, tracer)| tracer == "0" && !state.starts_with(['t', 'T']))
    });
}

#[test]
fn under_load_no_message_is_lost_while_threads_are_stopped_again_and_again() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "under_load_no_message_is_lost_while_threads_are_stopped_again_and_again";
    // Without debug information to read, there is time for many more looks.
    let (_folder, copy) = folder_with_copy();
    if has("strip") {
        assert!(Command::new("strip").arg("--strip-debug").arg(&copy).status().unwrap().success());
    }
    let mut node = Node::start(&mut copy_as(&copy, name, "load"));
    let who = node.who();
    let is_over = Arc::new(AtomicU64::new(0));
    let over = is_over.clone();
    let reader = std::thread::spawn(move || {
        let (mut looks, mut pauses) = (0, Vec::new());
        while over.load(Ordering::Relaxed) == 0 {
            let threads = rows(support::atomscope_json(["stacks", &who, "--stop", "--json"]));
            pauses.extend(threads.iter().filter_map(|thread| thread["stopped_us"].as_f64()));
            // It also watches for the return of each handler that it sees.
            let stuck = support::atomscope(["stuck", &who, "--stop", "--over", "20ms"]);
            assert_eq!(stuck.status.code(), Some(0), "{stuck:?}");
            looks += 1;
        }
        (looks, pauses)
    });
    let end = node.line_with("handled ");
    is_over.store(1, Ordering::Relaxed);
    let (looks, mut pauses) = reader.join().unwrap();
    pauses.sort_by(f64::total_cmp);
    let median = pauses.get(pauses.len() / 2);
    eprintln!(
        "messages {end}; {looks} looks, {} stops, median {median:?} us, longest {:?} us",
        pauses.len(),
        pauses.last()
    );
    assert!(looks > 0 && !pauses.is_empty(), "a thread that runs was stopped");
    goes_on(node.pid());
}

fn start_reader(who: &str) -> Child {
    Command::new(support::program("atomscope"))
        .args(["stacks", who, "--stop"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_reader_that_is_killed_or_interrupted_leaves_no_thread_stopped() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "a_reader_that_is_killed_or_interrupted_leaves_no_thread_stopped";
    let mut node = Node::start(&mut support::again(name, "load"));
    let who = node.who();
    for round in 0..40u64 {
        let mut reader = start_reader(&who);
        std::thread::sleep(Duration::from_micros(round * 500));
        let signal = if round % 2 == 0 { libc::SIGKILL } else { libc::SIGINT };
        let sent =
            Command::new("kill").args([format!("-{signal}"), reader.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = reader.wait().unwrap();
        // A signal before its handler is there ends the program.
        assert!(status.signal() == Some(signal) || status.code() == Some(0), "{status:?}");
        goes_on(node.pid());
    }
    node.line_with("handled ");
}

#[test]
fn what_has_no_process_is_said() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "what_has_no_process_is_said";
    let mut node = Node::start(&mut support::again(name, "crowd"));
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("node.raw");
    let dumped = support::atomscope(["dump", &node.who(), "--format", "raw", "-o", raw.to_str().unwrap()]);
    assert!(dumped.status.success(), "{dumped:?}");
    node.kill();
    for command in ["threads", "stacks"] {
        for (region, why) in
            [(&raw, "is a dump, which has no process"), (&node.region().to_owned(), "crashed")]
        {
            let output = support::atomscope([command, region.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(1));
            assert!(said(&output).contains(why), "{output:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn what_permissions_withhold_is_a_dash_and_said_once() {
    if let Some(role) = support::role() {
        return be(&role);
    }
    let name = "what_permissions_withhold_is_a_dash_and_said_once";
    let (folder, copy) = folder_with_copy();
    let atomscope = folder.path().join("atomscope");
    support::copy_program(&support::program("atomscope"), &atomscope);
    let as_user = |more: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).args(more);
        command
    };
    // A node with a capability that its user's reader lacks: nobody of that user may look into it.
    let mut command = as_user(&["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]);
    command.arg(&copy).args(["--exact", name, "--nocapture", "--test-threads=1", "--ignored"]);
    let node = Node::start(command.env("ATOMSCOPE_TEST_CHILD", "office"));
    let look = |arguments: &[&str]| as_user(&[]).arg(&atomscope).args(arguments).output().unwrap();

    let output = look(&["threads", &node.who(), "20ms", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let threads = rows(serde_json::from_slice(&output.stdout).unwrap());
    assert!(
        threads.len() > 8 && threads.iter().all(|thread| thread["wait_channel"].is_null()),
        "{threads:#?}"
    );
    assert!(threads.iter().all(|thread| thread["cpu_percent"].is_number()), "{threads:#?}");
    let why = said(&output);
    assert_eq!(why.matches("where the threads of process").count(), 1, "{why}");
    assert!(why.contains("CAP_NET_RAW") && why.contains("run as root"), "{why}");

    let output = look(&["stacks", &node.who()]);
    assert_eq!(output.status.code(), Some(1));
    let why = said(&output);
    assert!(why.contains("cannot read the stacks of process") && why.contains("CAP_NET_RAW"), "{why}");
    assert_eq!(of_class(&stacks(&node, none()), "Sleeper")["method"], "handle", "root may");
}
