//! Instrumented actors of real nodes as the reader shows them: what they did, and the handler in flight, live and after the
//! node's death.
#![cfg(feature = "instruments")]

use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::TelemetryExtension;
use atomscope_probe::observe::{Variants, observed};
use atomscope_tests::support::dumps::{decoded, dump_of};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::{Value, json};
use tokio::runtime::Builder;

/// The exit codes of `stuck`.
const NOTHING: i32 = 0;
const UNKNOWN: i32 = 1;
const STUCK: i32 = 3;

/// What a baker is told to do.
#[derive(Clone, Copy, Variants)]
enum Order {
    Bread,
    Burn,
    Sleep,
    Await,
}

struct Baker;

#[observed]
#[async_trait]
impl Actor for Baker {
    type Msg = Order;

    async fn handle(&mut self, _: &mut Context<Self>, order: Order) {
        match order {
            Order::Bread => {}
            Order::Burn => panic!("burnt"),
            Order::Sleep => std::thread::sleep(Duration::from_secs(3600)),
            Order::Await => std::future::pending().await,
        }
    }
}

/// What a philosopher is told to do.
#[derive(Variants)]
enum Course {
    Dine,
}

/// Takes its fork and then that of the other one.
struct Philosopher {
    own: Arc<Mutex<()>>,
    other: Arc<Mutex<()>>,
    met: Arc<Barrier>,
}

#[observed]
#[async_trait]
impl Actor for Philosopher {
    type Msg = Course;

    async fn handle(&mut self, _: &mut Context<Self>, Course::Dine: Course) {
        let _own = self.own.lock().unwrap();
        self.met.wait();
        let _other = self.other.lock().unwrap();
    }
}

/// Two philosophers that wait for each other for ever.
fn dine(telemetry: &TelemetryExtension, system: &ActorSystem) {
    let (forks, met) = (<[Arc<Mutex<()>>; 2]>::default(), Arc::new(Barrier::new(2)));
    for (name, own, other) in [("left", 0, 1), ("right", 1, 0)] {
        let (forks, met) = (forks.clone(), met.clone());
        let new =
            move || Philosopher { own: forks[own].clone(), other: forks[other].clone(), met: met.clone() };
        telemetry.actors.spawn(system, Props::create(new), name).unwrap().tell(Course::Dine);
    }
}

const NODE: &str = "bakery";

/// This process is a node from now on, until it is killed. A baker gets ten orders for bread and one that it burns, and another
/// one the last orders.
fn be(role: &str) -> ! {
    let last: &[(&str, Order)] = match role {
        "idle" => &[],
        "sleeps" => &[("hanging", Order::Sleep)],
        "awaits" => &[("hanging", Order::Await)],
        "deadlock" => &[],
        _ => panic!("no such role: {role}"),
    };
    // Two of them may be blocked.
    let runtime = Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    runtime.block_on(async {
        let system = ActorSystem::create(NODE, Config::empty()).await.unwrap();
        let telemetry = TelemetryExtension::new(NODE, 64).install(&system);
        let spawn = |name: &str| telemetry.actors.spawn(&system, Props::create(|| Baker), name).unwrap();
        let baker = spawn("baker");
        for order in [Order::Bread; 10].into_iter().chain([Order::Burn]) {
            baker.tell(order);
        }
        system.actor_of(Props::create(|| Baker), "plain").unwrap().tell(Order::Bread);
        last.iter().for_each(|(name, order)| spawn(name).tell(*order));
        if role == "deadlock" {
            dine(&telemetry, &system);
        }
        println!("ready region={}", telemetry.region().path().unwrap().display());
        std::future::pending::<()>().await;
    });
    unreachable!("it waits for ever");
}

/// A node in this role, as soon as it has handled all orders but the last.
fn bakery(test: &str, role: &str) -> Node {
    let node = Node::start(&mut support::again(test, role));
    wait_until("the orders are handled", || {
        let about = instruments(node.region());
        let class = &about["classes"][0];
        let in_flight =
            about["actors"].as_array().unwrap().iter().filter(|actor| !actor["in_flight"].is_null());
        class["handled"] == 11 && in_flight.count() == usize::from(role != "idle")
    });
    node
}

fn instruments(region: &Path) -> Value {
    dump_of(region)["atomscope"]["instruments"].take()
}

/// What `stuck` finds, which must have this exit code.
#[track_caller]
fn stuck(who: &str, code: i32, more: &[&str]) -> Value {
    let output = support::atomscope([&["stuck", who, "--json"], more].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn the_handler<'a>(report: &'a Value, variant: &str, mode: &str) -> &'a Value {
    let [handler] = report["handlers"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!(handler["path"], "akka://bakery/user/hanging");
    assert!(handler["class"].as_str().unwrap().ends_with("::Baker"), "{handler}");
    assert!(handler["since"].as_str().unwrap().ends_with('Z'), "{handler}");
    assert_eq!((&handler["variant"], &handler["mode"]), (&json!(variant), &json!(mode)));
    handler
}

#[test]
fn what_an_actor_did_is_shown_with_its_path() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let node = bakery("what_an_actor_did_is_shown_with_its_path", "idle");
    let about = instruments(node.region());
    let [baker] = about["actors"].as_array().unwrap().as_slice() else { panic!("{about:#}") };
    assert_eq!(baker["path"], "akka://bakery/user/baker");
    assert_eq!(
        (&baker["handled"], &baker["failures"], &baker["restarts"]),
        (&json!(11), &json!(1), &json!(1))
    );
    assert!(baker["in_flight"].is_null() && baker["task"].is_u64(), "{baker}");
    let [class] = about["classes"].as_array().unwrap().as_slice() else { panic!("{about:#}") };
    assert_eq!((&class["spawned"], &class["live"], &class["failures"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(about["cells"]["used"], 1);
    let variants = [("Bread", 10), ("Burn", 1)].map(|(variant, handled)| (json!(variant), json!(handled)));
    let found = class["variants"].as_array().unwrap().iter();
    assert_eq!(
        found.map(|row| (row["variant"].clone(), row["handled"].clone())).collect::<Vec<_>>(),
        variants
    );
    let rows = support::atomscope_json(["actors", &node.who(), "--json"]);
    let row = |path: &str| {
        let path = format!("akka://bakery/user/{path}");
        rows.as_array().unwrap().iter().find(|row| row["path"] == path).cloned().unwrap()
    };
    assert_eq!((&row("baker")["handled"], &row("plain")["handled"]), (&json!(11), &Value::Null));
    assert!(row("baker")["busy_percent"].is_number(), "{rows:#}");
    assert!(row("baker")["running_s"].is_null() && row("baker")["mode"].is_null(), "{rows:#}");
    let failing = support::atomscope_json(["actors", &node.who(), "--json", "--filter", "failures > 0"]);
    assert_eq!(failing.as_array().unwrap().len(), 1);
}

#[test]
fn a_handler_that_awaits_is_named_and_stuck_only_if_somebody_says_for_how_long() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "a_handler_that_awaits_is_named_and_stuck_only_if_somebody_says_for_how_long";
    let mut node = bakery(name, "awaits");
    wait_until("it lasts for a second", || {
        let report = stuck(&node.who(), NOTHING, &[]);
        !report["handlers"].as_array().unwrap().is_empty()
    });
    let text = String::from_utf8(support::atomscope(["stuck", &node.who()]).stdout).unwrap();
    let first = text.lines().next().unwrap();
    assert!(first.contains("is stuck; 1 handler awaits: akka://bakery/user/hanging, for "), "{text}");
    assert!(text.contains(&format!("`atomscope stuck {} --over ", node.pid())), "{text}");
    let report = stuck(&node.who(), STUCK, &["--over", "1s"]);
    let handler = the_handler(&report, "Await", "awaits");
    assert!(handler["for_s"].as_f64().unwrap() >= 1.0 && handler["blocks_worker"] == false, "{handler}");
    node.kill();
    let report = stuck(node.region().to_str().unwrap(), UNKNOWN, &[]);
    assert_eq!((&report["state"], &report["is_stuck"]), (&json!("crashed"), &json!(false)));
    the_handler(&report, "Await", "awaits");
    let told = support::atomscope(["stuck".as_ref(), node.region().as_os_str()]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("ended, 1 handler was in flight"), "{text}");
    assert!(text.contains("akka://bakery/user/hanging"), "{text}");
    assert_eq!(told.status.code(), Some(UNKNOWN));
}

#[test]
fn a_handler_that_keeps_its_worker_is_named_with_the_path_of_its_actor() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let node = bakery("a_handler_that_keeps_its_worker_is_named_with_the_path_of_its_actor", "sleeps");
    wait_until("it is known to block its worker", || {
        let report = stuck(&node.who(), STUCK, &[]);
        report["handlers"][0]["blocks_worker"] == true
    });
    let report = stuck(&node.who(), STUCK, &[]);
    the_handler(&report, "Sleep", "runs");
    let text = support::atomscope(["stuck", &node.who()]).stdout;
    let text = String::from_utf8_lossy(&text);
    assert!(text.lines().next().unwrap().contains("akka://bakery/user/hanging, for "), "{text}");
    let line = text
        .lines()
        .find(|line| line.starts_with("  akka://bakery/user/hanging"))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.starts_with("  akka://bakery/user/hanging (in_flight::Baker) blocks its worker for "),
        "{line}"
    );
    assert!(line.ends_with(" with message Sleep"), "{line}");
    let rows = support::atomscope_json(["actors", &node.who(), "--json", "--filter", "variant = Sleep"]);
    let [row] = rows.as_array().unwrap().as_slice() else { panic!("{rows:#}") };
    assert_eq!((&row["path"], &row["mode"]), (&json!("akka://bakery/user/hanging"), &json!("runs")));
}

#[test]
fn two_actors_that_wait_for_each_others_locks_are_named_live_and_after_a_kill() {
    if let Some(role) = support::role() {
        be(&role);
    }
    let name = "two_actors_that_wait_for_each_others_locks_are_named_live_and_after_a_kill";
    let mut node = Node::start(&mut support::again(name, "deadlock"));
    let blocking = |report: &Value| {
        let handlers = report["handlers"].as_array().unwrap();
        handlers.iter().filter(|handler| handler["blocks_worker"] == true).count()
    };
    wait_until("both are known to block their workers", || {
        let output = support::atomscope(["stuck", &node.who(), "--json"]);
        serde_json::from_slice(&output.stdout).is_ok_and(|report: Value| blocking(&report) == 2)
    });
    let about = |report: &Value| {
        let handlers = report["handlers"].as_array().unwrap().iter();
        let mut paths: Vec<String> = handlers
            .map(|handler| {
                assert!(handler["class"].as_str().unwrap().ends_with("::Philosopher"), "{handler}");
                assert_eq!((&handler["variant"], &handler["mode"]), (&json!("Dine"), &json!("runs")));
                handler["path"].as_str().unwrap().to_owned()
            })
            .collect();
        paths.sort_unstable();
        paths
    };
    let report = stuck(&node.who(), STUCK, &[]);
    let both = ["akka://bakery/user/left", "akka://bakery/user/right"];
    assert_eq!(
        (about(&report), report["possible_deadlock"].as_array().unwrap().len()),
        (both.map(str::to_owned).to_vec(), 2)
    );
    node.kill();
    let report = stuck(node.region().to_str().unwrap(), UNKNOWN, &[]);
    assert_eq!((about(&report), &report["state"]), (both.map(str::to_owned).to_vec(), &json!("crashed")));
}

#[test]
#[ignore = "needs python3"]
fn a_decoder_reads_the_same_of_instrumented_actors() {
    // The node is the other test, which is not ignored.
    let mut node = bakery("what_an_actor_did_is_shown_with_its_path", "awaits");
    node.kill();
    let theirs = decoded(["dump".as_ref(), node.region().as_os_str()]).remove(0);
    let ours = instruments(node.region());
    assert_eq!(ours, theirs["atomscope"]["instruments"]);
    assert_eq!(
        (ours["actors"].as_array().unwrap().len(), ours["classes"][0]["handled"].clone()),
        (2, json!(11))
    );
}
