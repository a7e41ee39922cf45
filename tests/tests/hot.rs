//! Real nodes with instrumented actors, as `atomscope hot` and `atomscope actors --by` see them.
#![cfg(feature = "instruments")]

use std::time::{Duration, Instant};

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::Value;

/// Actors of the node.
const ACTORS: usize = 16_000;
/// Messages of a round, of which the actor that was spawned last gets a tenth.
const MESSAGES: usize = 100;

/// Computes for a while with each message.
struct Clerk;

#[async_trait]
impl Actor for Clerk {
    type Msg = ();

    async fn handle(&mut self, _: &mut Context<Self>, (): ()) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(20) {}
    }
}

/// A node whose actors all have work, the last one a tenth of it, until it is killed.
fn work() -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let system = ActorSystem::create("office", Config::empty()).await.unwrap();
        // With all messages timed, nothing is estimated.
        let builder = Region::builder("office").actors(20_000).instruments(ACTORS).time_every(1);
        let region = builder.build().unwrap();
        let telemetry = TelemetryExtension::with_region(region).install(&system);
        let clerks: Vec<ActorRef<()>> = (0..ACTORS)
            .map(|number| {
                telemetry.actors.spawn(&system, Props::create(|| Clerk), &format!("clerk-{number}"))
            })
            .map(Result::unwrap)
            .collect();
        println!("ready region={}", telemetry.region().path().unwrap().display());
        let (last, others) = clerks.split_last().unwrap();
        let mut turn = others.iter().cycle();
        let mut rounds = tokio::time::interval(Duration::from_millis(10));
        loop {
            rounds.tick().await;
            (0..MESSAGES / 10).for_each(|_| last.tell(()));
            turn.by_ref().take(MESSAGES - MESSAGES / 10).for_each(|clerk| clerk.tell(()));
        }
    })
}

fn rows(node: &Node, arguments: &[&str]) -> Vec<Value> {
    let (command, more) = arguments.split_first().unwrap();
    let json = support::atomscope_json([&[*command, node.who().as_str()], more, &["--json"]].concat());
    json.as_array().unwrap().clone()
}

#[test]
fn of_16_000_instrumented_actors_the_one_that_does_a_tenth_of_the_work_leads_at_once() {
    if support::role().is_some() {
        work();
    }
    let name = "of_16_000_instrumented_actors_the_one_that_does_a_tenth_of_the_work_leads_at_once";
    let node = Node::start(&mut support::again(name, "work"));
    let last = format!("akka://office/user/clerk-{}", ACTORS - 1);
    let hot = |sort| rows(&node, &["hot", "2s", "--sort", sort, "-n", "3"]);
    let found = hot("handled");
    assert_eq!((found.len(), &found[0]["path"]), (3, &last.as_str().into()), "{found:#?}");
    assert!(found[0]["class"].as_str().unwrap().ends_with("hot::Clerk"), "{found:#?}");
    let [first, second] = [0, 1].map(|at| found[at]["handled_per_s"].as_f64().unwrap());
    assert!(first > 5.0 * second, "{found:#?}");
    assert_eq!((&found[0]["failures"], &found[0]["mailbox_depth"]), (&0.into(), &Value::Null), "{found:#?}");
    // A handler that the kernel has interrupted for long was busy for as long.
    wait_until("it leads by busy time too", || hot("busy")[0]["path"] == last.as_str());
    // What is known of the class by its actors and by its records is one row.
    let class = || {
        let rows = rows(&node, &["actors", "--by", "class"]);
        let [class] = rows.as_slice() else { panic!("{rows:#?}") };
        class.clone()
    };
    wait_until("a message was timed", || class()["p99_ns"].as_u64() > Some(0));
    let class = class();
    assert_eq!((&class["live"], &class["failures"]), (&ACTORS.into(), &0.into()), "{class:#}");
    assert!(class["handled"].as_u64() > Some(MESSAGES as u64), "{class:#}");
    let subtrees = rows(&node, &["actors", "--by", "subtree"]);
    assert_eq!((subtrees.len(), &subtrees[0]["instrumented"]), (1, &ACTORS.into()), "{subtrees:#?}");
}
