//! Depths of mailboxes, as another process sees them.
#![cfg(feature = "instruments")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, RegionBuilder, TelemetryExtension};
use atomscope_tests::support::dumps::{all_events, dump};
use atomscope_tests::support::{self, atomscope_json, wait_until};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

/// An actor that handles a message for each permit.
struct Waits(Arc<Semaphore>);

#[async_trait]
impl Actor for Waits {
    type Msg = u64;

    async fn handle(&mut self, _: &mut Context<Self>, _: u64) {
        self.0.acquire().await.expect("a permit").forget();
    }
}

struct Node {
    runtime: Runtime,
    system: ActorSystem,
    telemetry: Arc<TelemetryExtension>,
    permits: Arc<Semaphore>,
}

impl Node {
    fn new(name: &str, change: impl FnOnce(RegionBuilder) -> RegionBuilder) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let region = change(Region::builder(name)).build().expect("a shared region");
        let (system, telemetry) = runtime.block_on(async {
            let system = ActorSystem::create(name, Config::empty()).await.expect("a system");
            let telemetry = TelemetryExtension::with_region(region).install(&system);
            (system, telemetry)
        });
        Self { runtime, system, telemetry, permits: Arc::new(Semaphore::new(0)) }
    }

    fn spawn(&self, name: &str) -> ActorRef<u64> {
        let permits = self.permits.clone();
        let props = Props::create(move || Waits(permits.clone()));
        let _runtime = self.runtime.enter();
        self.telemetry.actors.spawn(&self.system, props, name).expect("an actor")
    }

    /// The depths of all actors, by path.
    fn depths(&self) -> Vec<Value> {
        let region = self.telemetry.region().path().expect("a shared region").as_os_str();
        let list = atomscope_json(["actors".as_ref(), "--region".as_ref(), region, "--json".as_ref()]);
        let actors = list["actors"].as_array().or(list.as_array()).expect("a list").iter();
        actors.map(|actor| actor["mailbox_depth"].clone()).collect()
    }

    #[track_caller]
    fn wait_for_depths(&self, expected: &[Value]) {
        let mut seen = Vec::new();
        wait_until(&format!("the depths are {expected:?}"), || {
            seen = self.depths();
            seen == expected
        });
    }
}

#[test]
fn the_depth_of_each_mailbox_is_seen_from_outside() {
    let node = Node::new("depths", |builder| builder.depth(true).depth_events(Duration::from_millis(250)));
    let actors: Vec<_> = ["a", "b", "c"].map(|name| node.spawn(name)).into();
    for (actor, count) in actors.iter().zip([1, 6, 1_001]) {
        (0..count).for_each(|number| actor.tell(number));
    }
    // Each has one in hand.
    node.wait_for_depths(&[json!(0), json!(5), json!(1_000)]);
    let region = node.telemetry.region().path().expect("a shared region").to_owned();
    wait_until("the events tell the depths", || {
        let events = all_events(&region);
        let told = |path: &str, depth: u64| {
            events.iter().any(|event| {
                event["kind"] == "mailbox_sampled" && event["path"] == path && event["depth"] == depth
            })
        };
        told("akka://depths/user/b", 5) && told("akka://depths/user/c", 1_000)
    });
    node.permits.add_permits(1_008);
    node.wait_for_depths(&[json!(0), json!(0), json!(0)]);
    let dump = dump(&node.telemetry);
    let peaks = dump["atomscope"]["instruments"]["actors"].as_array().expect("a list").iter();
    let peaks: Vec<_> = peaks.map(|actor| actor["depth_peak"].clone()).collect();
    assert!(peaks[1].as_u64() >= Some(5) && peaks[2].as_u64() >= Some(1_000), "{peaks:?}");
    let class = &dump["atomscope"]["instruments"]["classes"][0];
    assert!(class["depth"]["greatest"].as_u64() >= Some(1_000), "{class}");
}

#[test]
fn without_being_asked_for_depths_are_unknown() {
    let node = Node::new("no-depths", |builder| builder);
    node.spawn("a").tell(1);
    node.wait_for_depths(&[Value::Null]);
}

/// From here on, a call of `process_vm_readv` by any thread kills the process.
fn forbid_reading() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let filter = SeccompFilter::new(
        [(libc::SYS_process_vm_readv, vec![])].into(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().expect("a known processor"),
    );
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    seccompiler::apply_filter_all_threads(&program).expect("the filter");
}

#[test]
fn a_process_with_a_filter_of_system_calls_is_not_killed_and_depths_are_unknown() {
    const NAME: &str = "a_process_with_a_filter_of_system_calls_is_not_killed_and_depths_are_unknown";
    if support::role().is_none() {
        let status = support::again(NAME, "filtered").status().expect("another process");
        assert!(status.success(), "{status}");
        return;
    }
    let node = Node::new("filtered", |builder| builder.depth(true));
    let actor = node.spawn("a");
    (0..3).for_each(|number| actor.tell(number));
    node.wait_for_depths(&[json!(2)]);
    forbid_reading();
    // What is not read any more is unknown, and not the last value.
    node.wait_for_depths(&[Value::Null]);
    node.spawn("b").tell(1);
    let rounds = || {
        dump(&node.telemetry)["atomscope"]["metrics"].as_array().map(|metrics| {
            metrics
                .iter()
                .find(|metric| metric["name"] == "sampler.rounds")
                .map(|metric| metric["value"].clone())
        })
    };
    let before = rounds();
    wait_until("the sampler has had another round", || rounds() != before);
    node.wait_for_depths(&[Value::Null, Value::Null]);
}
