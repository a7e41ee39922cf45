//! Real nodes with a handler that does not come back, and nodes that only work hard, as `atomscope stuck` sees them.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::hang::{self, Hang, hang};
use atomscope_tests::spawns::Spawns;
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::Value;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// A user id that need not exist.
const USER: u32 = 12_345;
/// The exit codes of `stuck`.
const NOTHING: i32 = 0;
const UNKNOWN: i32 = 1;
const STUCK: i32 = 3;

/// An actor that always has a message, and spends 50 ms with each.
struct Busy {
    /// Whether it lets other tasks run between two messages.
    takes_turns: bool,
    /// Whether it waits instead of computing.
    waits: bool,
}

#[async_trait::async_trait]
impl Actor for Busy {
    type Msg = ();

    async fn handle(&mut self, ctx: &mut Context<Self>, (): ()) {
        let start = Instant::now();
        match self.waits {
            true => std::thread::sleep(Duration::from_millis(50)),
            false => while start.elapsed() < Duration::from_millis(50) {},
        }
        ctx.self_ref().tell(());
        if self.takes_turns {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes its fork and then that of the other one.
struct Philosopher {
    own: Arc<Mutex<()>>,
    other: Arc<Mutex<()>>,
    met: Arc<Barrier>,
}

#[async_trait::async_trait]
impl Actor for Philosopher {
    type Msg = ();

    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {
        let _own = self.own.lock().unwrap();
        self.met.wait();
        let _other = self.other.lock().unwrap();
    }
}

/// Blocks in a closure that its handler calls for each of some numbers.
struct Caller;

#[async_trait::async_trait]
impl Actor for Caller {
    type Msg = ();

    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {
        loop {
            (0..1000u32).for_each(|number| {
                std::hint::black_box(number);
                std::thread::sleep(Duration::from_millis(1));
            });
        }
    }
}

const NODE: &str = "stuck-node";

fn run(workers: usize, start: impl FnOnce(&ActorSystem)) -> ! {
    hang::run(NODE, workers, start)
}

/// A program without an async runtime.
fn run_without_a_runtime() -> ! {
    let region = Region::builder(NODE).build().unwrap();
    region.running("importer");
    println!("ready region={}", region.path().unwrap().display());
    a_task_that_sleeps();
    unreachable!("it sleeps for ever");
}

/// A node that tells its threads, whose workers are blocked one some seconds after the other.
fn run_told() -> ! {
    let telemetry = TelemetryExtension::new(NODE, 64);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    telemetry.watch_runtime(builder.worker_threads(2).enable_all());
    let runtime = builder.build().unwrap();
    runtime.block_on(async {
        let system = ActorSystem::create("stuck", Config::empty()).await.unwrap();
        let telemetry = telemetry.install(&system);
        // Only who has slept is known as a worker.
        tokio::time::sleep(Duration::from_millis(300)).await;
        hang(&system, &Spawns::default(), "one", Hang::Sleep).unwrap();
        // Timers are driven by the workers, of which one may be blocked in the wait for them.
        std::thread::sleep(Duration::from_secs(3));
        hang(&system, &Spawns::default(), "two", Hang::Sleep).unwrap();
        println!("ready region={}", telemetry.region().path().unwrap().display());
        std::future::pending::<()>().await;
    });
    unreachable!("it waits for ever");
}

fn sleep_beside_a_thread_that_spins(system: &ActorSystem) {
    hang(system, &Spawns::default(), "hanging", Hang::Sleep).unwrap();
    std::thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
}

fn busy(system: &ActorSystem, actors: usize, takes_turns: bool, waits: bool) {
    for number in 0..actors {
        let props = Props::create(move || Busy { takes_turns, waits });
        system.actor_of(props, &format!("busy-{number}")).unwrap().tell(());
    }
}

fn dine(system: &ActorSystem) {
    let forks = [Arc::new(Mutex::new(())), Arc::new(Mutex::new(()))];
    let met = Arc::new(Barrier::new(2));
    for seat in 0..2 {
        let (own, other, met) = (forks[seat].clone(), forks[1 - seat].clone(), met.clone());
        let new = move || Philosopher { own: own.clone(), other: other.clone(), met: met.clone() };
        system.actor_of(Props::create(new), &format!("philosopher-{seat}")).unwrap().tell(());
    }
}

/// This process is a node from now on, until it is killed.
fn be(role: &str) -> ! {
    let one = |how| move |system: &ActorSystem| hang(system, &Spawns::default(), "hanging", how).unwrap();
    match role {
        "sleep" => run(2, one(Hang::Sleep)),
        "spin" => run(2, one(Hang::Spin)),
        "lock" => run(2, one(Hang::Lock)),
        "await" => run(1, one(Hang::Await)),
        "current-thread" => run(0, one(Hang::Sleep)),
        "all" => run(2, |system| {
            ["one", "two"]
                .into_iter()
                .for_each(|name| hang(system, &Spawns::default(), name, Hang::Sleep).unwrap())
        }),
        "deadlock" => run(3, dine),
        "closure" => run(2, |system| system.actor_of(Props::create(|| Caller), "caller").unwrap().tell(())),
        "told" => run_told(),
        "no-runtime" => run_without_a_runtime(),
        "sleep-beside-spin" => run(2, sleep_beside_a_thread_that_spins),
        "future" => run(0, |_| a_task_that_sleeps()),
        "task" => run(2, |_| drop(tokio::spawn(async { a_task_that_sleeps() }))),
        "turns" => run(2, |system| busy(system, 8, true, false)),
        "alone" => run(2, |system| busy(system, 1, false, false)),
        "alone-waits" => run(2, |system| busy(system, 1, false, true)),
        "all-busy" => run(2, |system| busy(system, 2, false, false)),
        _ => panic!("no such role: {role}"),
    }
}

fn a_task_that_sleeps() {
    std::thread::sleep(FOR_EVER);
}

fn stuck<A: AsRef<OsStr>>(node: &Node, more: impl IntoIterator<Item = A>) -> Output {
    let more = more.into_iter().map(|argument| argument.as_ref().to_owned());
    support::atomscope(["stuck".into(), node.who().into()].into_iter().chain(more))
}

/// What `stuck` finds, which must have this exit code.
#[track_caller]
fn report<A: AsRef<OsStr>>(node: &Node, code: i32, more: impl IntoIterator<Item = A>) -> Value {
    let more = more.into_iter().map(|argument| argument.as_ref().to_owned());
    let output = stuck(node, more.chain(["--json".into()]));
    let report = json(&output);
    assert_eq!(output.status.code(), Some(code), "{report:#}{}", said(&output));
    assert_eq!(report["is_stuck"], code == STUCK);
    report
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn none() -> [&'static str; 0] {
    []
}

fn threads(report: &Value) -> &[Value] {
    report["threads"].as_array().unwrap()
}

/// The first line of what `stuck` says.
fn answer<A: AsRef<OsStr>>(node: &Node, more: impl IntoIterator<Item = A>) -> String {
    let text = String::from_utf8(stuck(node, more).stdout).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The text of the line of the source that a thread is at.
fn source(thread: &Value, file: &str, text: &'static str) -> &'static str {
    assert!(thread["file"].as_str().is_some_and(|found| found.ends_with(file)), "{thread:#}");
    text.lines().nth(thread["line"].as_u64().unwrap() as usize - 1).unwrap().trim()
}

/// A node in this role, as soon as its handler keeps a worker.
fn hanging(name: &str, role: &str) -> Node {
    let node = Node::start(&mut support::again(name, role));
    let is_away =
        || support::listed(node.pid())[0]["away_workers"].as_array().is_some_and(|away| !away.is_empty());
    wait_until("a worker is away", is_away);
    node
}

const HANG: &str = "atomscope_tests::hang::Hanging::handle";

#[test]
fn a_handler_that_sleeps_is_named_with_its_worker_and_line_and_what_it_waits_for() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_handler_that_sleeps_is_named_with_its_worker_and_line_and_what_it_waits_for";
    let node = hanging(name, "sleep");
    let report = report(&node, STUCK, none());
    let [thread] = threads(&report) else { panic!("{report:#}") };
    assert_eq!(
        (&thread["call"], &thread["waits_for"], &thread["evidence"]),
        (&HANG.into(), &"sleep".into(), &"asleep".into())
    );
    assert_eq!(source(thread, "hang.rs", include_str!("../src/hang.rs")), "Hang::Sleep => drop(sleeps()),");
    assert!(thread["stopped_us"].is_null() && report["candidates"] == Value::Array(vec![]), "{report:#}");
    wait_until("the worker is known", || {
        let report = json(&stuck(&node, ["--json"]));
        let away = report["away_workers"][0]["worker"].clone();
        away.is_string() && report["threads"][0]["worker"] == away
    });
    let answer = answer(&node, none());
    let who = format!("● stuck-node ({}) is stuck: worker ", node.who());
    assert!(answer.starts_with(&who) && answer.contains(" of 2 has not paused for "), "{answer}");
    assert!(answer.contains(&format!("{HANG} at ")) && answer.ends_with(" sleeps"), "{answer}");
}

#[test]
fn a_handler_that_waits_for_a_lock_is_told_and_one_alone_is_no_deadlock() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_handler_that_waits_for_a_lock_is_told_and_one_alone_is_no_deadlock";
    let node = hanging(name, "lock");
    let report = report(&node, STUCK, none());
    let [thread] = threads(&report) else { panic!("{report:#}") };
    assert_eq!((&thread["call"], &thread["waits_for"]), (&HANG.into(), &"mutex or condition".into()));
    assert_eq!(report["possible_deadlock"], Value::Array(vec![]));
    assert!(answer(&node, none()).ends_with(" waits for a mutex or condition"));
}

#[test]
fn a_handler_that_spins_is_found_by_stop_and_else_its_thread_is_a_candidate() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_handler_that_spins_is_found_by_stop_and_else_its_thread_is_a_candidate";
    let node = hanging(name, "spin");
    let found = report(&node, STUCK, ["--stop"]);
    let [thread] = threads(&found) else { panic!("{found:#}") };
    assert_eq!(
        (&thread["call"], &thread["waits_for"], &thread["evidence"]),
        (&HANG.into(), &"runs".into(), &"no_return".into())
    );
    let found = report(&node, UNKNOWN, none());
    assert!(threads(&found).is_empty() && found["outcome"] == "unknown", "{found:#}");
    let candidates = found["candidates"].as_array().unwrap();
    assert!(candidates.iter().any(|row| row["tid"] == thread["tid"]), "{found:#}");
    let output = stuck(&node, none());
    assert!(said(&output).contains(" --stop`"), "{output:?}");
    assert!(answer(&node, none()).starts_with("● it is not known whether "));
}

#[test]
fn two_handlers_that_wait_for_each_others_locks_are_a_possible_deadlock() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "two_handlers_that_wait_for_each_others_locks_are_a_possible_deadlock";
    let node = Node::start(&mut support::again(name, "deadlock"));
    wait_until("both wait", || threads(&json(&stuck(&node, ["--json"]))).len() == 2);
    let report = report(&node, STUCK, none());
    let tids: Vec<&Value> = threads(&report).iter().map(|thread| &thread["tid"]).collect();
    let pair: Vec<&Value> = report["possible_deadlock"].as_array().unwrap().iter().collect();
    assert_eq!((tids.len(), &tids), (2, &pair));
    for thread in threads(&report) {
        let line = source(thread, "stuck.rs", include_str!("stuck.rs"));
        assert_eq!(line, "let _other = self.other.lock().unwrap();");
    }
    let answer = answer(&node, none());
    assert!(answer.contains("possible deadlock of 2 × stuck::Philosopher::handle at "), "{answer}");
}

#[test]
fn a_node_whose_workers_are_all_blocked_is_wedged_and_all_are_named() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_node_whose_workers_are_all_blocked_is_wedged_and_all_are_named";
    let node = Node::start(&mut support::again(name, "all"));
    wait_until("it is wedged", || support::listed(node.pid())[0]["state"] == "wedged");
    let report = report(&node, STUCK, none());
    assert_eq!((threads(&report).len(), &report["state"]), (2, &"wedged".into()));
    assert_eq!(report["candidates"], Value::Array(vec![]));
    let away: Vec<f64> = report["away_workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|away| away["away_s"].as_f64().unwrap())
        .collect();
    let shortest = away.into_iter().reduce(f64::min).unwrap();
    assert!(shortest > 1.0, "{report:#}");
    for thread in threads(&report) {
        assert_eq!(thread["away_s"], shortest, "{report:#}");
        assert!(thread["lasts_s"].as_f64() >= Some(1.0), "{report:#}");
        assert!(thread["worker"].is_null(), "either of the two may be its worker: {report:#}");
    }
    let text = String::from_utf8(stuck(&node, none()).stdout).unwrap();
    let (answer, more) = text.split_once('\n').unwrap();
    assert!(
        answer.contains(" is wedged: its async runtime is blocked; none of its 2 workers has paused"),
        "{answer}"
    );
    assert!(answer.contains(&format!("2 calls do not come back: 2 × {HANG} at ")), "{answer}");
    assert_eq!(more.matches(", a worker that has not paused for ").count(), 2, "{more}");
}

#[test]
fn a_node_that_tells_its_threads_gives_each_the_time_of_its_own_worker() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_node_that_tells_its_threads_gives_each_the_time_of_its_own_worker";
    let node = Node::start(&mut support::again(name, "told"));
    wait_until("both are away", || {
        support::listed(node.pid())[0]["away_workers"].as_array().is_some_and(|away| away.len() == 2)
    });
    let report = report(&node, STUCK, none());
    let [one, two] = threads(&report) else { panic!("{report:#}") };
    let [one, two] = [one, two].map(|thread| thread["away_s"].as_f64().unwrap());
    assert!((one - two).abs() > 2.0, "{report:#}");
}

#[test]
fn of_a_program_without_an_async_runtime_it_is_not_known_and_said_once() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "of_a_program_without_an_async_runtime_it_is_not_known_and_said_once";
    let node = Node::start(&mut support::again(name, "no-runtime"));
    let found = report(&node, UNKNOWN, ["--stop"]);
    assert_eq!((&found["outcome"], threads(&found)), (&"unknown".into(), &[][..]));
    let output = stuck(&node, none());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, format!("● it is not known whether {NODE} ({}) is stuck\n", node.who()));
    assert_eq!(said(&output).matches("no worker of an async runtime").count(), 1, "{output:?}");
}

#[test]
fn a_thread_that_runs_unseen_beside_one_that_is_stuck_is_worth_a_hint() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_thread_that_runs_unseen_beside_one_that_is_stuck_is_worth_a_hint";
    let node = hanging(name, "sleep-beside-spin");
    let hint = |more: &[&str]| said(&stuck(&node, more)).contains(" --stop`");
    assert_eq!((hint(&[]), hint(&["--stop"])), (true, false));
}

#[test]
fn the_worker_of_a_current_thread_runtime_and_a_task_that_is_no_actor_are_found_too() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "the_worker_of_a_current_thread_runtime_and_a_task_that_is_no_actor_are_found_too";
    let node = Node::start(&mut support::again(name, "current-thread"));
    let found = report(&node, STUCK, none());
    assert_eq!(threads(&found)[0]["call"], HANG);
    let node = Node::start(&mut support::again(name, "future"));
    let found = report(&node, STUCK, none());
    assert_eq!(
        source(&threads(&found)[0], "stuck.rs", include_str!("stuck.rs")),
        "std::thread::sleep(FOR_EVER);"
    );
    let node = Node::start(&mut support::again(name, "task"));
    let found = report(&node, STUCK, none());
    let [thread] = threads(&found) else { panic!("{found:#}") };
    assert!(thread["call"].as_str().unwrap().starts_with("stuck::be::"), "{thread:#}");
    assert_eq!((&thread["is_of_actor"], &thread["class"]), (&false.into(), &Value::Null));
    assert_eq!(source(thread, "stuck.rs", include_str!("stuck.rs")), "std::thread::sleep(FOR_EVER);");
}

#[test]
fn a_handler_that_wakes_up_again_and_again_is_stuck_if_it_does_not_return() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_handler_that_wakes_up_again_and_again_is_stuck_if_it_does_not_return";
    let node = hanging(name, "closure");
    let report = report(&node, STUCK, ["--stop"]);
    let [thread] = threads(&report) else { panic!("{report:#}") };
    assert_eq!(
        (&thread["call"], &thread["evidence"]),
        (&"stuck::Caller::handle".into(), &"no_return".into())
    );
}

#[test]
fn a_handler_that_awaits_keeps_no_thread_and_nothing_is_stuck() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_handler_that_awaits_keeps_no_thread_and_nothing_is_stuck";
    let node = Node::start(&mut support::again(name, "await"));
    let report = report(&node, NOTHING, ["--stop"]);
    assert_eq!((threads(&report), &report["candidates"]), (&[][..], &Value::Array(vec![])));
    let text = String::from_utf8(stuck(&node, none()).stdout).unwrap();
    let (answer, more) = text.split_once('\n').unwrap();
    assert!(answer.starts_with("● nothing is stuck in stuck-node ("), "{answer}");
    assert!(more.contains("`.await`") && more.contains("instrumented"), "{more}");
}

/// Looks at a node for some seconds; nothing may be called stuck. Without `--stop` it may be unknown, because a thread that
/// runs is not looked at.
#[track_caller]
fn is_never_stuck(node: &Node) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        for more in [&["--stop"][..], &["--stop", "--over", "300ms"]] {
            let report = report(node, NOTHING, more);
            assert!(threads(&report).is_empty(), "{report:#}");
        }
        let report = json(&stuck(node, ["--json"]));
        assert!(report["outcome"] != "stuck" && threads(&report).is_empty(), "{report:#}");
        assert_eq!(report["outcome"] == "unknown", report["refusal"].is_string(), "{report:#}");
    }
}

#[test]
fn full_load_with_long_handlers_that_take_turns_is_no_alarm() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "full_load_with_long_handlers_that_take_turns_is_no_alarm";
    is_never_stuck(&Node::start(&mut support::again(name, "turns")));
}

#[test]
fn an_actor_that_always_has_messages_is_no_alarm() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "an_actor_that_always_has_messages_is_no_alarm";
    is_never_stuck(&Node::start(&mut support::again(name, "alone")));
    is_never_stuck(&Node::start(&mut support::again(name, "alone-waits")));
}

#[test]
fn workers_that_are_all_busy_may_block_the_runtime_and_are_no_alarm() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "workers_that_are_all_busy_may_block_the_runtime_and_are_no_alarm";
    let node = Node::start(&mut support::again(name, "all-busy"));
    wait_until("its runtime is blocked", || support::listed(node.pid())[0]["state"] == "wedged");
    let answer = answer(&node, ["--stop"]);
    let busy = ["nothing is stuck in stuck-node (", "but it is busy", "each call came back in time"];
    assert!(busy.iter().all(|words| answer.contains(words)), "{answer}");
    report(&node, NOTHING, ["--stop"]);
}

#[test]
fn a_stopped_node_is_told_with_the_calls_that_it_stopped_in() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_stopped_node_is_told_with_the_calls_that_it_stopped_in";
    for (role, calls) in [("spin", 1), ("await", 0)] {
        let node = Node::start(&mut support::again(name, role));
        let away = || support::listed(node.pid())[0]["away_workers"].as_array().map_or(0, Vec::len);
        wait_until("the handler hangs", || away() == calls);
        node.signal("STOP");
        wait_until("it is stopped", || support::listed(node.pid())[0]["state"] == "wedged");
        let report = report(&node, STUCK, none());
        assert_eq!(threads(&report).len(), calls, "{report:#}");
        assert!(threads(&report).iter().all(|thread| thread["evidence"] == "stopped"));
        let answer = answer(&node, none());
        assert!(answer.contains(" is wedged: its process is stopped"), "{answer}");
    }
}

/// Runs `atomscope` where this system call fails with EACCES, as in many containers.
fn refused(call: i64, arguments: &[&str]) -> Output {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let filter = SeccompFilter::new(
        [(call, vec![])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EACCES as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let filter: BpfProgram = filter.unwrap().try_into().unwrap();
    let program = support::program("atomscope");
    // The filter stays on the thread that sets it, and on its children.
    let filtered = || {
        seccompiler::apply_filter(&filter).unwrap();
        Command::new(&program).args(arguments).stdin(Stdio::null()).output().unwrap()
    };
    std::thread::scope(|scope| scope.spawn(filtered).join().unwrap())
}

#[test]
fn where_the_return_cannot_be_watched_a_handler_that_runs_is_only_suspect() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "where_the_return_cannot_be_watched_a_handler_that_runs_is_only_suspect";
    let look = |node: &Node| refused(libc::SYS_perf_event_open, &["stuck", &node.who(), "--stop", "--json"]);
    let node = hanging(name, "spin");
    wait_until("the worker is away", || json(&look(&node))["away_workers"][0].is_object());
    let output = look(&node);
    let report = json(&output);
    assert_eq!((output.status.code(), &report["is_stuck"]), (Some(NOTHING), &false.into()), "{report:#}");
    assert_eq!((threads(&report).len(), &report["threads"][0]["evidence"]), (1, &"every_look".into()));
    // Who sleeps is proved to sleep.
    let node = hanging(name, "sleep");
    let output = look(&node);
    assert_eq!(output.status.code(), Some(STUCK), "{output:?}");
}

#[test]
fn where_stacks_cannot_be_read_the_nodes_numbers_decide_and_threads_are_candidates() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "where_stacks_cannot_be_read_the_nodes_numbers_decide_and_threads_are_candidates";
    let look = |node: &Node| refused(libc::SYS_process_vm_readv, &["stuck", &node.who(), "--json"]);
    let node = Node::start(&mut support::again(name, "sleep"));
    wait_until("the worker is away", || json(&look(&node))["away_workers"][0].is_object());
    let output = look(&node);
    let report = json(&output);
    assert_eq!((output.status.code(), &report["is_stuck"]), (Some(UNKNOWN), &false.into()), "{report:#}");
    let names: Vec<&str> =
        report["candidates"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"tokio-rt-worker"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("atomscope")), "{names:?}");
    let output = refused(libc::SYS_process_vm_readv, &["stuck", &node.who()]);
    let said_for_people = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(said_for_people.matches("cannot read the stacks").count(), 1, "{output:?}");

    let node = Node::start(&mut support::again(name, "await"));
    let output = look(&node);
    assert_eq!(output.status.code(), Some(NOTHING), "{output:?}");
}

#[test]
fn a_stripped_program_has_candidates_and_no_false_names() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_stripped_program_has_candidates_and_no_false_names";
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("node");
    support::copy_program(&std::env::current_exe().unwrap(), &copy);
    if !Command::new("strip").arg("--strip-all").arg(&copy).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: there is no program `strip` here");
    }
    let mut command = Command::new(&copy);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("ATOMSCOPE_TEST_CHILD", "sleep");
    let node = Node::start(&mut command);
    wait_until("the worker is away", || json(&stuck(&node, ["--json"]))["away_workers"][0].is_object());
    let report = report(&node, NOTHING, none());
    assert!(threads(&report).is_empty(), "{report:#}");
    assert_ne!(report["candidates"], Value::Array(vec![]));
}

#[test]
fn a_reader_that_is_interrupted_does_not_say_that_nothing_is_stuck() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_reader_that_is_interrupted_does_not_say_that_nothing_is_stuck";
    let node = Node::start(&mut support::again(name, "await"));
    let reader = Command::new(support::program("atomscope"))
        .args(["stuck", &node.who(), "--over", "1m"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Only then it handles the signal.
    let handles = format!("/proc/{}/status", reader.id());
    let is_ready = || {
        let status = std::fs::read_to_string(&handles).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&caught, 16).unwrap() >> (libc::SIGINT - 1) & 1 == 1
    };
    wait_until("the reader waits for signals", is_ready);
    let sent = Command::new("kill").args(["-s", "INT", &reader.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = reader.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(UNKNOWN), &b""[..]), "{output:?}");
    assert!(said(&output).contains("a signal asked to stop"), "{output:?}");
}

#[test]
fn a_node_that_ends_while_it_is_watched_is_told() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_node_that_ends_while_it_is_watched_is_told";
    let mut node = Node::start(&mut support::again(name, "sleep"));
    let reader = Command::new(support::program("atomscope"))
        .args(["stuck", &node.who(), "--over", "2s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    node.kill();
    let output = reader.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(UNKNOWN), "{output:?}");
    assert!(said(&output).contains("ended"), "{output:?}");
}

/// What `show` and `doctor` say for people.
fn words(command: &str, node: &Node) -> String {
    String::from_utf8(support::atomscope([command, &node.who()]).stdout).unwrap()
}

#[test]
fn show_and_doctor_name_the_command_when_it_has_something_to_say() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "show_and_doctor_name_the_command_when_it_has_something_to_say";
    for (role, is_named) in [("all", true), ("await", false)] {
        let node = Node::start(&mut support::again(name, role));
        let state = if is_named { "wedged" } else { "live" };
        wait_until("its state is as expected", || support::listed(node.pid())[0]["state"] == state);
        let command = format!("`atomscope stuck {}`", node.who());
        for page in ["show", "doctor"] {
            assert_eq!(words(page, &node).contains(&command), is_named, "{}", words(page, &node));
        }
    }
}

/// From here on, a `prctl` that allows other processes to trace this one kills the process.
fn forbid_to_allow_tracers() {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };
    let allows = u64::try_from(libc::PR_SET_PTRACER).unwrap();
    let allows = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, allows).unwrap();
    let filter = SeccompFilter::new(
        [(libc::SYS_prctl, vec![SeccompRule::new(vec![allows]).unwrap()])].into(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

#[test]
fn only_a_region_that_allows_stacks_asks_the_kernel_for_it() {
    if let Some(role) = support::role() {
        forbid_to_allow_tracers();
        let region = Region::builder("stuck-allows").allow_stacks(role == "allow").build().unwrap();
        return drop(region);
    }
    let name = "only_a_region_that_allows_stacks_asks_the_kernel_for_it";
    let signal = |role| support::again(name, role).output().unwrap().status.signal();
    assert_eq!((signal("do-not"), signal("allow")), (None, Some(libc::SIGSYS)));
}

#[test]
#[ignore = "needs root"]
fn another_user_is_told_why_and_what_helps() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "another_user_is_told_why_and_what_helps";
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let [copy, atomscope] = ["node", "atomscope"].map(|file| folder.path().join(file));
    support::copy_program(&std::env::current_exe().unwrap(), &copy);
    support::copy_program(&support::program("atomscope"), &atomscope);
    let as_user = |more: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).args(more);
        command
    };
    // A node with a capability that its user's reader lacks.
    let mut command = as_user(&["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]);
    command.arg(&copy).args(["--exact", name, "--nocapture", "--test-threads=1", "--ignored"]);
    let node = Node::start(command.env("ATOMSCOPE_TEST_CHILD", "sleep"));
    let look = || as_user(&[]).arg(&atomscope).args(["stuck", &node.who()]).output().unwrap();
    wait_until("the worker is away", || look().status.code() == Some(UNKNOWN));
    let output = look();
    let (text, why) = (String::from_utf8_lossy(&output.stdout).into_owned(), said(&output));
    assert!(why.contains("CAP_NET_RAW") && why.contains("run as root"), "{why}");
    assert!(text.contains("it is not known whether stuck-node ("), "{text}");
    assert!(text.contains("Candidates") && text.contains("tokio-rt-worker"), "{text}");
    assert_eq!(stuck(&node, none()).status.code(), Some(STUCK), "root may");
}
