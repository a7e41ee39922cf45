//! The conditions of a node whose runtime, actor system, hooks or lock are gone while the probe runs.
#![allow(unsafe_code, reason = "fork, and closing the descriptors of others, as a daemon does")]

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Waker};
use std::time::{Duration, Instant};

use atomr_core::actor::{
    Actor, ActorPath, ActorRef, ActorSystem, Context, DeadLetterObserver, Props, SpawnObserver,
};
use atomr_core::prelude::Config;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::view::ReaderMemory;
use atomscope_probe::bus::{TelemetryBus, TelemetryEvent};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support::dumps::about;
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The row of one region in `ps --json`.
fn row(region: &Path) -> Value {
    support::atomscope_json(["ps".as_ref(), "--json".as_ref(), "--region".as_ref(), region.as_os_str()])[0]
        .clone()
}

/// The output of `command` for people.
fn said(command: &str, region: &Path) -> String {
    let output = support::atomscope([command.as_ref(), "--region".as_ref(), region.as_os_str()]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that all commands report this state, reason and conditions.
#[track_caller]
fn assert_shown(region: &Path, state: &str, why: &str, conditions: &Value) {
    let shown = row(region);
    assert_eq!((&shown["state"], &shown["conditions"]), (&json!(state), conditions), "{shown}");
    assert!(shown["why"].as_str().unwrap().contains(why), "{shown}");
    let dumped = about(region);
    assert_eq!((&dumped["state"], &dumped["why"]), (&shown["state"], &shown["why"]));
    assert_eq!(dumped["conditions"], *conditions);
    for command in ["ps", "show", "doctor"] {
        let text = said(command, region);
        assert!(text.contains(why), "{command}: {text}");
    }
}

/// A message that spawns an actor, and one that blocks the thread for ever.
enum Message {
    Spawn(oneshot::Sender<ActorRef<Message>>),
    Block(std::sync::mpsc::Sender<()>),
}

struct Plain;

#[async_trait::async_trait]
impl Actor for Plain {
    type Msg = Message;

    async fn handle(&mut self, context: &mut Context<Self>, message: Message) {
        match message {
            Message::Spawn(answer) => {
                let _ = answer.send(context.spawn(Props::create(|| Plain), "child").unwrap());
            }
            Message::Block(began) => {
                began.send(()).unwrap();
                park()
            }
        }
    }
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

fn plain(system: &ActorSystem, name: &str) -> ActorRef<Message> {
    system.actor_of(Props::create(|| Plain), name).unwrap()
}

/// Spawns a parent and its child.
async fn family(system: &ActorSystem) -> [ActorRef<Message>; 2] {
    let parent = plain(system, "parent");
    let (answer, child) = oneshot::channel();
    parent.tell(Message::Spawn(answer));
    [parent, child.await.unwrap()]
}

async fn system(name: &str) -> ActorSystem {
    ActorSystem::create(name, Config::empty()).await.unwrap()
}

fn say_ready(region: &Region) {
    println!("ready region={}", region.path().unwrap().display());
}

#[test]
fn a_node_whose_runtime_was_dropped_is_stopping_and_not_blocked() {
    const NAME: &str = "a_node_whose_runtime_was_dropped_is_stopping_and_not_blocked";
    if support::role().is_some() {
        let runtime = Runtime::new().unwrap();
        let (_system, telemetry) = runtime.block_on(async {
            let system = system("dropped").await;
            let telemetry = TelemetryExtension::new("condition-runtime", 64).install(&system);
            family(&system).await;
            (system, telemetry)
        });
        drop(runtime);
        say_ready(telemetry.region());
        park();
    }
    let node = Node::start(&mut support::again(NAME, "node"));
    wait_until("its runtime heartbeat is stale", || {
        about(node.region())["runtime_beat_age_ms"].as_u64() > Some(3000)
    });
    assert_shown(node.region(), "stopping", "its async runtime was dropped", &json!(["runtime_dropped"]));
}

#[test]
fn a_process_that_hangs_in_the_drop_of_its_runtime_is_stopping_with_the_actors_that_are_there() {
    const NAME: &str =
        "a_process_that_hangs_in_the_drop_of_its_runtime_is_stopping_with_the_actors_that_are_there";
    if let Some(workers) = support::role() {
        let workers = workers.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build().unwrap();
        let (_system, telemetry, parent) = runtime.block_on(async {
            let system = system("hangs").await;
            let telemetry = TelemetryExtension::new("condition-hangs", 64).install(&system);
            let [parent, _] = family(&system).await;
            (system, telemetry, parent)
        });
        let (sender, began) = std::sync::mpsc::channel();
        parent.tell(Message::Block(sender));
        began.recv().unwrap();
        say_ready(telemetry.region());
        drop(runtime);
        unreachable!("an actor keeps its thread");
    }
    // With one worker, all workers are blocked, so that the runtime has dropped none of its tasks yet.
    let mut nodes = ["2", "1"].map(|workers| Node::start(&mut support::again(NAME, workers)));
    for node in &mut nodes {
        wait_until("its runtime heartbeat is stale", || {
            about(node.region())["runtime_beat_age_ms"].as_u64() > Some(3000)
        });
        wait_until("it counts as stopping", || row(node.region())["state"] == "stopping");
        assert_shown(node.region(), "stopping", "its async runtime was dropped", &json!(["runtime_dropped"]));
        assert_eq!(about(node.region())["totals"]["live"], 2);
    }
}

/// Regression: the probe watched a runtime that only served the start, instead of the one that the actors run on.
#[test]
fn a_node_that_runs_on_another_runtime_than_the_one_of_its_installation_is_live() {
    let first = Runtime::new().unwrap();
    let region = Region::builder("condition-moved").poll_interval(Duration::from_millis(10)).build().unwrap();
    let (system, telemetry) = first.block_on(async {
        let system = system("moved").await;
        let telemetry = TelemetryExtension::with_region(region).install(&system);
        (system, telemetry)
    });
    drop(first);
    let path = telemetry.region().path().unwrap();
    assert_eq!(row(path)["conditions"], json!(["runtime_dropped"]));
    let second = Runtime::new().unwrap();
    let number = AtomicU64::new(0);
    wait_until("its actors are listed", || {
        let name = format!("a{}", number.fetch_add(1, Ordering::Relaxed));
        let _within = second.enter();
        plain(&system, &name);
        row(path)["conditions"] == json!([])
    });
    let shown = row(path);
    assert_eq!((&shown["state"], &shown["why"]), (&json!("live"), &Value::Null));
    assert_eq!(about(path)["runtime_beat_age_ms"], Value::Null);
}

#[test]
fn a_system_that_was_dropped_is_told_and_its_successor_in_the_process_is_not_confused_with_it() {
    let runtime = Runtime::new().unwrap();
    let _within = runtime.enter();
    let make = || {
        let system = runtime.block_on(system("restarted"));
        let telemetry = TelemetryExtension::new("condition-system", 64).install(&system);
        runtime.block_on(family(&system));
        (system, telemetry)
    };
    let (system, telemetry) = make();
    let path = telemetry.region().path().unwrap().to_owned();
    assert_eq!((&row(&path)["state"], &row(&path)["conditions"]), (&json!("live"), &json!([])));
    drop(system);
    assert_shown(&path, "live", "its actor system was dropped", &json!(["system_dropped"]));
    // A supervisor starts the system again, with a new extension as it should.
    let (system, successor) = make();
    let new = successor.region().path().unwrap().to_owned();
    assert_eq!((&row(&new)["state"], &row(&new)["conditions"]), (&json!("live"), &json!([])));
    assert_eq!(row(&path)["conditions"], json!(["system_dropped"]));
    // The old extension refuses the new system, and both stay unchanged.
    telemetry.clone().install(&system);
    assert_eq!(row(&path)["conditions"], json!(["system_dropped"]));
    assert_eq!(row(&new)["conditions"], json!([]));
    drop(telemetry);
    assert_eq!(row(&path)["state"], "closed");
    // The end of the extension does not affect the system, which keeps the region open.
    drop(successor);
    assert_eq!((&row(&new)["state"], &row(&new)["conditions"]), (&json!("live"), &json!([])));
    drop(system);
    wait_until("it is closed", || row(&new)["state"] == "closed");
}

#[test]
fn a_terminated_system_is_live_without_actors_until_one_is_spawned() {
    let runtime = Runtime::new().unwrap();
    let _within = runtime.enter();
    let system = runtime.block_on(system("terminated"));
    let telemetry = TelemetryExtension::new("condition-terminated", 64).install(&system);
    let path = telemetry.region().path().unwrap();
    assert_eq!(row(path)["conditions"], json!([]), "before any actor there is none to miss");
    runtime.block_on(family(&system));
    assert_eq!(row(path)["conditions"], json!([]));
    runtime.block_on(system.terminate());
    wait_until("its actors have stopped", || telemetry.actors.live_count() == 0);
    assert_shown(path, "live", "no top-level actor is left", &json!(["no_actor_left"]));
    plain(&system, "another");
    assert_eq!(row(path)["conditions"], json!([]));
}

/// The number of remaining actors that are older than the probe is unknown.
#[test]
fn a_system_whose_older_actors_stop_is_not_said_to_have_none_left() {
    let runtime = Runtime::new().unwrap();
    let _within = runtime.enter();
    let system = runtime.block_on(system("older"));
    let (older, _stays) = (plain(&system, "older"), plain(&system, "stays"));
    let telemetry = TelemetryExtension::new("condition-older", 64).install(&system);
    plain(&system, "newer");
    older.stop();
    wait_until("the older one's stop is counted", || telemetry.actors.live_count() == 0);
    assert_eq!(row(telemetry.region().path().unwrap())["conditions"], json!([]));
}

struct Other(AtomicU64);

impl SpawnObserver for Other {
    fn on_spawn(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_stop(&self, _: &ActorPath) {}
}

impl DeadLetterObserver for Other {
    fn on_dead_letter(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {}
}

#[test]
fn an_observer_that_is_set_after_ours_is_told_and_one_beside_it_is_not() {
    let runtime = Runtime::new().unwrap();
    let _within = runtime.enter();
    let other = || Arc::new(Other(AtomicU64::new(0)));
    let system = runtime.block_on(system("replaced"));
    let other_telemetry = other();
    let telemetry = TelemetryExtension::new("condition-hooks", 64).install_tee(
        &system,
        other_telemetry.clone(),
        other_telemetry.clone(),
    );
    let path = telemetry.region().path().unwrap();
    let _actor = plain(&system, "seen");
    assert_eq!((other_telemetry.0.load(Ordering::Relaxed), telemetry.actors.live_count()), (1, 1));
    assert_eq!(row(path)["conditions"], json!([]));

    system.set_dead_letter_observer(other());
    let letters = json!(["dead_letter_hook_replaced"]);
    assert_shown(path, "live", "another dead-letter observer replaced the probe's", &letters);
    system.set_spawn_observer(other());
    let both = json!(["spawn_hook_replaced", "dead_letter_hook_replaced"]);
    assert_shown(path, "live", "another spawn observer replaced the probe's", &both);
    drop(system);
    wait_until("the end of the system shows without a hook", || {
        row(path)["conditions"]
            == json!(["system_dropped", "spawn_hook_replaced", "dead_letter_hook_replaced"])
    });
}

#[test]
fn of_two_extensions_on_one_system_the_first_says_that_it_sees_no_more_with_one_warning() {
    const NAME: &str = "of_two_extensions_on_one_system_the_first_says_that_it_sees_no_more_with_one_warning";
    if support::role().is_none() {
        let output = support::again(NAME, "node").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(shown.matches("another observer was set on actor system `twice`").count(), 1, "{shown}");
        assert!(shown.contains("spawns, stops and dead letters"), "{shown}");
        return;
    }
    let runtime = Runtime::new().unwrap();
    let _within = runtime.enter();
    let system = runtime.block_on(system("twice"));
    let [first, second] = ["condition-first", "condition-second"].map(|name| {
        let region = Region::builder(name).poll_interval(Duration::from_millis(10)).build().unwrap();
        TelemetryExtension::with_region(region).install(&system)
    });
    plain(&system, "seen-by-the-second");
    let [blind, sees] = [&first, &second].map(|telemetry| telemetry.region().path().unwrap());
    let both = json!(["spawn_hook_replaced", "dead_letter_hook_replaced"]);
    assert_eq!((&row(blind)["actors"], &row(blind)["conditions"]), (&json!(0), &both));
    assert_eq!((&row(sees)["actors"], &row(sees)["conditions"]), (&json!(1), &json!([])));
    let rounds = || {
        let bytes = std::fs::read(blind).unwrap();
        RegionReader::open(ReaderMemory::copied(&bytes).words()).unwrap().builtin(Builtin::PollRounds)
    };
    let so_far = rounds();
    wait_until("it was polled several times", || rounds() > so_far + 3);
}

/// Older probes lost the lock with the descriptor; now the mapping keeps it.
fn unlock(region: &Path) {
    let is_it = |fd: &i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path == region);
    let fd = (3..1024).find(is_it).unwrap();
    // SAFETY: flock is a struct of integers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_len) = (libc::F_UNLCK as libc::c_short, 1);
    // SAFETY: the command takes a pointer to a flock, which `lock` is, and keeps none.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &lock) }, 0);
}

#[test]
fn a_daemon_that_closes_all_descriptors_is_live_with_its_lock_lost_and_is_not_pruned() {
    const NAME: &str = "a_daemon_that_closes_all_descriptors_is_live_with_its_lock_lost_and_is_not_pruned";
    if support::role().is_some() {
        let region = Region::builder("condition-daemon").build().unwrap();
        region.running("daemon");
        unlock(region.path().unwrap());
        for fd in 3..1024 {
            // SAFETY: this breaks the owner of the descriptor, which is the point of the test. The process opens no
            // descriptor after this, so the owner cannot use another file by mistake.
            unsafe { libc::close(fd) };
        }
        say_ready(&region);
        park();
    }
    let mut node = Node::start(&mut support::again(NAME, "daemon"));
    let path = node.region().to_owned();
    assert_shown(&path, "live", "lock lost", &json!(["lock_lost"]));
    assert_eq!(row(&path)["pid"], node.pid());
    let rounds = || {
        let metrics = about(&path)["metrics"].clone();
        let all = metrics.as_array().unwrap();
        all.iter().find(|metric| metric["name"] == "sampler.rounds").unwrap()["value"].as_u64().unwrap()
    };
    let so_far = rounds();
    wait_until("the new region is read", || rounds() > so_far);
    let prune = || support::atomscope_json(["prune", "--node", "condition-daemon", "--json"]);
    assert_eq!((prune(), path.exists()), (json!([]), true));
    node.kill();
    let dead = row(&path);
    assert_eq!((&dead["state"], &dead["conditions"]), (&json!("crashed"), &json!([])));
    assert_eq!((prune().as_array().unwrap().len(), path.exists()), (1, false));
}

/// Regression: only the parent has the thread that wakes receivers; a forked child had none.
#[test]
fn in_a_forked_child_a_receiver_of_its_own_bus_is_woken() {
    const NAME: &str = "in_a_forked_child_a_receiver_of_its_own_bus_is_woken";
    fn wait_for_one() {
        let bus = TelemetryBus::new(64);
        let mut receiver = bus.subscribe();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut event = pin!(receiver.recv());
        runtime.block_on(async {
            let waits = event.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending();
            assert!(waits, "nothing has been published");
            bus.publish(TelemetryEvent::DDataUpdated { key: "cart".into() });
            event.await.unwrap();
        });
    }
    if support::role().is_none() {
        let output = support::again(NAME, "node").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    wait_for_one();
    // SAFETY: the child is one of a process whose other threads wait; what it calls takes no lock that they could hold.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = std::panic::catch_unwind(wait_for_one).is_ok();
        // SAFETY: the process ends here.
        unsafe { libc::_exit(i32::from(!done)) };
    }
    let (mut status, began) = (-1, Instant::now());
    // SAFETY: the child is ours and was not waited for yet; `status` is a valid place for one.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if began.elapsed() > Duration::from_secs(20) {
            // SAFETY: the child is ours.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the receiver was never woken");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(status, 0, "the child failed");
}
