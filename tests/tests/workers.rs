//! Workers of the async runtime that do not come back, and workers that only work hard, seen by the program.

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomscope_probe::TelemetryExtension;
use atomscope_tests::hang::{self, Hang, hang};
use atomscope_tests::spawns::Spawns;
use atomscope_tests::support::dumps::metric;
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::Value;

/// An actor that always has a message, and computes for 50 ms with each.
struct Busy {
    /// Whether it lets other tasks run between two messages.
    takes_turns: bool,
}

#[async_trait]
impl Actor for Busy {
    type Msg = ();

    async fn handle(&mut self, ctx: &mut Context<Self>, (): ()) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        ctx.self_ref().tell(());
        if self.takes_turns {
            tokio::task::yield_now().await;
        }
    }
}

fn run(workers: usize, start: impl FnOnce(&ActorSystem)) -> ! {
    hang::run("workers", workers, start)
}

/// Starts actors of this kind.
fn busy(system: &ActorSystem, actors: usize, takes_turns: bool) {
    for number in 0..actors {
        let actor = system.actor_of(Props::create(move || Busy { takes_turns }), &format!("busy-{number}"));
        actor.unwrap().tell(());
    }
}

/// The test of this name in another process, where it is a node.
fn node(name: &str) -> Node {
    Node::start(&mut support::again(name, "node"))
}

fn json(command: &str, region: &Path) -> Value {
    support::atomscope_json([command.as_ref(), "--json".as_ref(), "--region".as_ref(), region.as_os_str()])
}

/// Everything that a command writes for people.
fn said(command: &str, region: &Path) -> String {
    let output = support::atomscope([command.as_ref(), "--region".as_ref(), region.as_os_str()]);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    stdout + &stderr
}

fn row(region: &Path) -> Value {
    json("ps", region)[0].clone()
}

fn why(region: &Path) -> String {
    row(region)["why"].as_str().unwrap_or_default().to_owned()
}

/// The workers that are away, by name.
fn away(region: &Path) -> Vec<String> {
    let row = row(region);
    let away = row["away_workers"].as_array().unwrap_or_else(|| panic!("it is unknown: {row}"));
    away.iter().map(|worker| worker["worker"].as_str().unwrap().to_owned()).collect()
}

fn workers(region: &Path) -> Vec<Value> {
    json("runtime", region)["workers"].as_array().unwrap().clone()
}

/// One of two workers hangs: every command says so, and the other one and the node are well.
fn one_of_two_hangs(name: &str, how: Hang) {
    if support::role().is_some() {
        run(2, |system| hang(system, &Spawns::default(), "hanging", how).unwrap());
    }
    let node = node(name);
    let region = node.region();
    wait_until("the worker is worth a note", || why(region).contains("has not paused for"));
    assert_eq!((row(region)["state"].as_str(), away(region).len()), (Some("live"), 1));
    let hanging = away(region)[0].clone();
    let text = format!("worker {hanging} of 2 has not paused for ");
    for command in ["ps", "show", "doctor", "runtime"] {
        assert!(said(command, region).contains(&text), "{command}: {}", said(command, region));
    }
    assert_eq!(json("show", region)["away_workers"][0]["worker"], hanging.as_str());
    for worker in workers(region) {
        let (away_ns, busy_ns) = (worker["away_ns"].as_u64().unwrap(), worker["busy_ns"].as_u64().unwrap());
        if worker["name"] == hanging.as_str() {
            // A task that has not ended counts as busy.
            assert!(busy_ns >= away_ns && away_ns > 4_000_000_000, "{worker}");
            assert_eq!(worker["parked"], false);
        } else {
            assert!(away_ns < 1_000_000_000 && busy_ns < away_ns + 4_000_000_000, "{worker}");
        }
    }
}

#[test]
fn a_worker_that_sleeps_in_a_handler_is_named_with_its_time() {
    one_of_two_hangs("a_worker_that_sleeps_in_a_handler_is_named_with_its_time", Hang::Sleep);
}

#[test]
fn a_worker_that_spins_in_a_handler_is_named_with_its_time() {
    one_of_two_hangs("a_worker_that_spins_in_a_handler_is_named_with_its_time", Hang::Spin);
}

#[test]
fn a_worker_that_waits_for_a_lock_in_a_handler_is_named_with_its_time() {
    one_of_two_hangs("a_worker_that_waits_for_a_lock_in_a_handler_is_named_with_its_time", Hang::Lock);
}

#[test]
fn a_handler_that_awaits_what_never_comes_keeps_no_worker() {
    if support::role().is_some() {
        run(1, |system| hang(system, &Spawns::default(), "hanging", Hang::Await).unwrap());
    }
    let node = node("a_handler_that_awaits_what_never_comes_keeps_no_worker");
    wait_until("the worker sleeps", || workers(node.region())[0]["parked"] == true);
    assert_eq!((away(node.region()), why(node.region())), (vec![], String::new()));
}

#[test]
fn a_node_whose_workers_all_hang_is_wedged_and_the_reason_names_them() {
    const NAME: &str = "a_node_whose_workers_all_hang_is_wedged_and_the_reason_names_them";
    if support::role().is_some() {
        run(2, |system| {
            ["one", "two"]
                .into_iter()
                .for_each(|name| hang(system, &Spawns::default(), name, Hang::Sleep).unwrap())
        });
    }
    let mut node = node(NAME);
    let region = node.region().to_owned();
    wait_until("it is wedged", || row(&region)["state"] == "wedged");
    let text = "its async runtime is blocked; none of its 2 workers has paused for ";
    assert!(why(&region).starts_with(text), "{}", why(&region));
    assert!(said("doctor", &region).contains("none of its 2 workers has paused for"));
    // A stopped node is not away for longer and longer, and a dead one is told as it was.
    wait_until("they are away for long", || workers(&region)[0]["away_ns"].as_u64() > Some(5_500_000_000));
    node.signal("STOP");
    wait_until("it is stopped", || why(&region).contains("is stopped"));
    let away_ns = || workers(&region).iter().map(|worker| worker["away_ns"].as_u64()).collect::<Vec<_>>();
    let before = away_ns();
    assert!(why(&region).contains("; at its last heartbeat none of its 2 workers had paused for "));
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(away_ns(), before);
    node.kill();
    assert!(said("show", &region).contains("at its last heartbeat none of its 2 workers had paused for "));
}

#[test]
fn a_blocked_current_thread_runtime_names_its_only_worker() {
    if support::role().is_some() {
        run(0, |system| hang(system, &Spawns::default(), "hanging", Hang::Sleep).unwrap());
    }
    let node = node("a_blocked_current_thread_runtime_names_its_only_worker");
    wait_until("it is wedged", || row(node.region())["state"] == "wedged");
    let text = "its async runtime is blocked; its only worker has not paused for ";
    assert!(why(node.region()).starts_with(text), "{}", why(node.region()));
}

/// Looks at a node for ten seconds and returns the most workers of which `ps` said at one time that they are away.
fn watched(region: &Path) -> usize {
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < Duration::from_secs(10) {
        let doctor = said("doctor", region);
        assert!(!doctor.contains("has not come back") && !doctor.contains("has come back"), "{doctor}");
        assert_eq!(row(region)["state"], "live", "{}", row(region));
        most = most.max(away(region).len());
        std::thread::sleep(Duration::from_millis(250));
    }
    most
}

#[test]
fn full_load_with_long_handlers_that_take_turns_is_worth_no_word() {
    if support::role().is_some() {
        run(2, |system| busy(system, 8, true));
    }
    let node = node("full_load_with_long_handlers_that_take_turns_is_worth_no_word");
    watched(node.region());
    assert_eq!(why(node.region()), "");
    // That the load was full is a fact of the same numbers.
    let all = workers(node.region());
    assert!(all.iter().all(|worker| worker["busy_ns"].as_u64() > Some(5_000_000_000)), "{all:?}");
}

#[test]
fn an_actor_that_always_has_messages_is_no_alarm_but_a_note() {
    if support::role().is_some() {
        run(2, |system| busy(system, 1, false));
    }
    let node = node("an_actor_that_always_has_messages_is_no_alarm_but_a_note");
    assert_eq!(watched(node.region()), 1);
    assert!(why(node.region()).contains("of 2 has not paused for"), "{}", why(node.region()));
}

#[test]
fn a_runtime_that_was_dropped_has_no_worker_that_is_away() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let telemetry = TelemetryExtension::new("workers-dropped", 64);
    telemetry.watch_runtime(runtime.handle());
    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
    drop(runtime);
    let region = telemetry.region().path().unwrap();
    let rounds = || metric(&support::atomscope_json(["dump".as_ref(), region.as_os_str()]), "sampler.rounds");
    let before = rounds();
    wait_until("the sampler has looked some times", || rounds() >= before + 8);
    assert_eq!((away(region), workers(region).len()), (vec![], 2));
}
