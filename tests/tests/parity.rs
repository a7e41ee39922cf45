//! The same public API as `atomr-telemetry`: a program moves by changing the crate's name, and its JSON stays the same.

mod beside;

use std::process::Command;
use std::sync::Arc;

use atomr_cluster::{Gossip, Member, MemberStatus};
use atomr_cluster_sharding::{ShardCoordinator, ShardRegion};
use atomr_core::actor::Address;
use atomscope_tests::support::dumps::dump_of;
use atomscope_tests::support::{self, Node};
use serde_json::{Value, json};

/// A program for the public API of `atomr-telemetry`, compiled against both crates.
macro_rules! program {
    ($name:ident, $telemetry:ident) => {
        mod $name {
            use std::sync::Arc;
            use std::time::Duration;

            use atomr_core::actor::{Actor, ActorSystem, Context, Props};
            use atomr_core::prelude::Config;
            use serde_json::{Value, json};
            use $telemetry::actor_registry::ActorRegistry;
            use $telemetry::bus::TelemetryBus;
            use $telemetry::dead_letters::DeadLetterFeed;
            use $telemetry::dto::{ActorSnapshot, ActorStatus, ActorTreeNode, DeadLetterRecord, NodeSnapshot};
            use $telemetry::{TelemetryExtension, TelemetryHandle};

            struct Idle;

            #[async_trait::async_trait]
            impl Actor for Idle {
                type Msg = String;
                async fn handle(&mut self, ctx: &mut Context<Self>, child: String) {
                    ctx.spawn(Props::create(|| Idle), &child).unwrap();
                }
            }

            fn status(path: &str, parent: Option<&str>) -> ActorStatus {
                ActorStatus {
                    path: path.into(),
                    parent: parent.map(Into::into),
                    actor_type: "Test".into(),
                    mailbox_depth: 0,
                    spawned_at: "now".into(),
                    host: None,
                }
            }

            fn sorted(snapshot: ActorSnapshot) -> Value {
                fn sort(nodes: &mut [ActorTreeNode]) {
                    nodes.sort_by(|a, b| a.path.cmp(&b.path));
                    nodes.iter_mut().for_each(|node| sort(&mut node.children));
                }
                let ActorSnapshot { total, mut roots, mut flat } = snapshot;
                sort(&mut roots);
                flat.sort_by(|a, b| a.path.cmp(&b.path));
                json!({ "total": total, "roots": roots, "flat": flat })
            }

            fn timeless(letters: Vec<DeadLetterRecord>) -> Value {
                let timeless = letters.into_iter().map(|letter| {
                    assert!(letter.timestamp.starts_with("20"), "{}", letter.timestamp);
                    DeadLetterRecord { timestamp: String::new(), ..letter }
                });
                json!(timeless.collect::<Vec<_>>())
            }

            /// Everything that the program observes.
            pub async fn run() -> Vec<Value> {
                let mut seen = Vec::new();

                // Probes on a bus without an extension.
                let bus = TelemetryBus::new(8);
                let registry = ActorRegistry::new(bus.clone());
                let mut see = |registry: &ActorRegistry| {
                    let totals = (registry.live_count(), registry.total_spawned(), registry.total_stopped());
                    seen.push(json!({ "totals": totals, "actors": sorted(registry.snapshot()) }));
                };
                see(&registry);
                registry.record_spawn(status("/user/a", Some("/user")));
                registry.record_spawn(status("/user/a/b", Some("/user/a")));
                registry.record_spawn(status("/user/a/b/c", Some("/user/a/b")));
                registry.record_spawn(status("/user/z", Some("/elsewhere/than/above")));
                registry.record_spawn(status("nameless", None));
                registry.record_spawn(status("", None));
                registry.record_spawn(status("/user/ünï/🦀", Some("/user/ünï")));
                see(&registry);
                registry.record_spawn(ActorStatus { mailbox_depth: 7, ..status("/user/a/b", Some("/user/a")) });
                registry.record_mailbox_depth("/user/a", 42);
                registry.record_mailbox_depth("/user/unknown", 43);
                registry.set_host("/user/a", "host-1");
                registry.set_host("/user/a", "another-host-2");
                registry.set_host("/user/z", String::from("host-3"));
                registry.set_host("/user/unknown", "host-4");
                see(&registry);
                registry.record_stop("/user/a/b");
                registry.record_stop("/user/a/b");
                registry.record_stop("/user/unknown");
                see(&registry);

                let feed = DeadLetterFeed::new(bus, 3);
                for number in 0..5u32 {
                    let sender = number.is_multiple_of(2).then(|| format!("/user/s{number}"));
                    feed.record(format!("/user/{number}"), sender, "String".into(), format!("hi {number}"));
                }
                seen.push(json!([feed.total_count(), feed.buffered()]));
                seen.push(timeless(feed.recent(10)));
                seen.push(timeless(feed.recent(2)));
                seen.push(timeless(feed.recent(0)));

                // A node.
                let system = ActorSystem::create("parity", Config::empty()).await.unwrap();
                assert!(TelemetryExtension::from_system(&system).is_none());
                let telemetry: Arc<TelemetryExtension> = TelemetryExtension::new("parity-1", 64).install(&system);
                let handle: Arc<TelemetryHandle> = system.extensions().get::<TelemetryHandle>().unwrap();
                assert!(Arc::ptr_eq(&handle.0, &TelemetryExtension::from_system(&system).unwrap()));
                seen.push(json!(telemetry.node));
                let parent = system.actor_of(Props::create(|| Idle), "parent").unwrap();
                let gone = system.actor_of(Props::create(|| Idle), "gone").unwrap();
                parent.tell("child".into());
                until(|| telemetry.actors.live_count() == 3).await;
                gone.stop();
                until(|| telemetry.actors.live_count() == 2 && gone.is_terminated()).await;
                gone.tell("anybody there?".into());
                until(|| telemetry.dead_letters.total_count() == 1).await;
                let NodeSnapshot { node, generated_at, mut actors, dead_letters, cluster, .. } = telemetry.snapshot();
                assert!(generated_at.starts_with("20"));
                for actor in &mut actors.flat {
                    assert!(actor.spawned_at.starts_with("20"), "{}", actor.spawned_at);
                    actor.spawned_at.clear();
                    // The path of the type differs between the two modules.
                    actor.actor_type = actor.actor_type.replace(stringify!($name), "");
                }
                fn types(nodes: &mut [ActorTreeNode]) {
                    for node in nodes {
                        node.actor_type = node.actor_type.replace(stringify!($name), "");
                        types(&mut node.children);
                    }
                }
                types(&mut actors.roots);
                seen.push(json!([node, sorted(actors), timeless(dead_letters), cluster.members]));
                system.terminate().await;
                seen
            }

            async fn until(condition: impl Fn() -> bool) {
                let waited = tokio::time::timeout(Duration::from_secs(60), async {
                    while !condition() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                });
                waited.await.unwrap();
            }
        }
    };
}

program!(theirs, atomr_telemetry);
program!(ours, atomscope_probe);

#[tokio::test]
async fn a_program_moves_by_changing_the_name_of_the_crate() {
    for (ours, theirs) in ours::run().await.into_iter().zip(theirs::run().await) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_dump_is_the_snapshot_of_atomr_telemetry_and_one_object_more() {
    let mut node = Node::demo(["--node", "parity-dump", "--rate", "500"]);
    let letters =
        || support::atomscope_json(["dump", &node.who()])["atomscope"]["dead_letters"]["total"].as_u64();
    support::wait_until("there are dead letters", || letters() > Some(5));
    node.kill();
    let mut dump = support::atomscope_json(["dump", "parity-dump"]);
    let snapshot: atomr_telemetry::dto::NodeSnapshot = serde_json::from_value(dump.clone()).unwrap();
    assert!(snapshot.actors.flat.len() > 5 && snapshot.actors.total == snapshot.actors.flat.len() as u64);
    // Only the object `atomscope` is extra, compared with the type of `atomr-telemetry`.
    assert!(dump.as_object_mut().unwrap().remove("atomscope").is_some());
    assert_eq!(serde_json::to_value(&snapshot).unwrap(), dump);
    for time in snapshot.actors.flat.iter().map(|actor| &actor.spawned_at).chain([&snapshot.generated_at]) {
        assert_eq!((time.len(), time.as_bytes()[10]), (30, b'T'), "{time}");
    }
}

#[test]
fn the_json_of_a_snapshot_that_is_not_built_is_that_of_the_built_one() {
    use atomscope_probe::dto::ActorStatus;
    use atomscope_probe::{Region, TelemetryExtension, TelemetryHandle};

    let region = Region::builder("not-built").private().build().unwrap();
    let handle = TelemetryHandle(TelemetryExtension::with_region(region));
    let telemetry = &handle.0;
    for number in 0..300 {
        telemetry.actors.record_spawn(ActorStatus {
            path: format!("akka://not-built/user/a{number}/\"{number}\\\u{7f}\u{2028}ü"),
            parent: (number % 3 != 0)
                .then(|| format!("akka://not-built/user/a{0}/\"{0}\\\u{7f}\u{2028}ü", number / 2)),
            actor_type: format!("not_built::Type<{:?}>", number % 4),
            mailbox_depth: number % 5 * 33,
            spawned_at: if number % 2 == 0 { String::new() } else { "2026-01-02T03:04:05+00:00".into() },
            host: (number % 7 == 0).then(|| format!("host-{number}\n")),
        });
        telemetry.dead_letters.record(
            format!("akka://not-built/user/d{number}"),
            (number % 2 == 0).then(|| format!("akka://not-built/user/s{number}")),
            "Letter".into(),
            format!("preview {number} \"quoted\" \n two lines"),
        );
    }
    telemetry.cluster.set_self_address("akka://own");
    telemetry.cluster.set_leader(Some("akka://leader".into()));
    telemetry.remote.record_association("akka://other", "Active");
    telemetry.remote.record_inbound_bytes("akka://other", 12);
    let mut written = Vec::new();
    handle.write_snapshot_json(&mut written).unwrap();
    let mut built = telemetry.snapshot();
    let generated_at = serde_json::from_slice::<Value>(&written).unwrap()["generated_at"].take();
    built.generated_at = generated_at.as_str().unwrap().to_owned();
    assert!(built.actors.flat.len() == 300 && built.dead_letters.len() == 100);
    assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&built).unwrap());
}

/// One process writes the observations of both crates, another reads the region: all three agree.
#[test]
fn the_dump_of_another_process_is_what_atomr_telemetry_would_have_said() {
    const NAME: &str = "the_dump_of_another_process_is_what_atomr_telemetry_would_have_said";
    macro_rules! feed {
        ($actors:expr, $letters:expr, $dto:ident) => {{
            for number in 0..50 {
                $actors.record_spawn($dto::dto::ActorStatus {
                    path: format!("akka://golden/user/a{number}"),
                    parent: (number % 3 != 0).then(|| format!("akka://golden/user/a{}", number / 2)),
                    actor_type: format!("golden::Type{}", number % 4),
                    mailbox_depth: number % 5,
                    spawned_at: format!("2026-01-02T03:04:{number:02}+00:00"),
                    host: (number % 7 == 0).then(|| format!("host-{number}")),
                });
                $letters.record(
                    format!("akka://golden/user/d{number}"),
                    (number % 2 == 0).then(|| format!("akka://golden/user/s{number}")),
                    format!("golden::Letter{}", number % 3),
                    format!("preview {number} \"quoted\" \n two lines"),
                );
            }
            (0..50)
                .step_by(9)
                .for_each(|number| $actors.record_stop(&format!("akka://golden/user/a{number}")));
        }};
    }
    if support::role().is_some() {
        let telemetry = atomscope_probe::TelemetryExtension::new("golden", 64);
        feed!(telemetry.actors, telemetry.dead_letters, atomscope_probe);
        println!("ready region={}", telemetry.region().path().unwrap().display());
        std::thread::sleep(support::PATIENCE);
        return;
    }
    let node = Node::start(&mut support::again(NAME, "golden"));
    let dump = dump_of(node.region());

    let theirs = atomr_telemetry::TelemetryExtension::new("golden", 64);
    feed!(theirs.actors, theirs.dead_letters, atomr_telemetry);
    let mut expected = serde_json::to_value(theirs.snapshot()).unwrap();

    let mut found = dump.clone();
    found.as_object_mut().unwrap().remove("atomscope");
    for value in [&mut found, &mut expected] {
        value["generated_at"].take();
        value["dead_letters"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|letter| drop(letter["timestamp"].take()));
        sort_by_path(&mut value["actors"]["flat"]);
        sort_by_path(&mut value["actors"]["roots"]);
    }
    assert_eq!(found, expected);
}

fn sort_by_path(nodes: &mut Value) {
    let Some(nodes) = nodes.as_array_mut() else { return };
    nodes.sort_by_key(|node| node["path"].as_str().unwrap().to_owned());
    nodes
        .iter_mut()
        .filter(|node| node.get("children").is_some())
        .for_each(|n| sort_by_path(&mut n["children"]));
}

/// Makes the same calls to a cluster probe and a sharding probe of either crate, and returns their results and events.
macro_rules! clustered {
    ($telemetry:ident) => {{
        use $telemetry::bus::TelemetryBus;
        use $telemetry::cluster::{ClusterProbe, from_cluster_state, from_gossip};
        use $telemetry::dto::{ShardRegionInfo, ShardingSnapshot};
        use $telemetry::sharding::{ShardingProbe, coordinator_allocations, region_info};

        let mut seen = Vec::new();
        let bus = TelemetryBus::new(256);
        let mut events = bus.subscribe();
        let cluster = ClusterProbe::new(bus.clone());
        let mut see = |cluster: &ClusterProbe| {
            seen.push(json!([cluster.snapshot(), cluster.member_count(), cluster.unreachable_count()]));
        };
        see(&cluster);
        cluster.set_self_address("akka://own");
        cluster.set_leader(Some("akka://leader".into()));
        see(&cluster);
        let mut gossip = Gossip::new();
        gossip.tick("b");
        gossip.tick("a");
        for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
            let mut member = Member::new(Address::local(name), vec![format!("role-{name}"), "all".into()]);
            member.up_number = number as i32 - 1;
            gossip.state.add_or_update(member);
        }
        cluster.update_from_gossip(&gossip);
        see(&cluster);
        cluster.update_from_gossip(&gossip);
        gossip.state.reachability.unreachable(Address::local("a"), Address::local("b"));
        gossip.state.members[0].status = MemberStatus::Leaving;
        gossip.state.members.remove(2);
        cluster.update_from_state(&gossip.state);
        see(&cluster);
        cluster.set_leader(None);
        gossip.state.reachability.terminated(Address::local("a"), Address::local("b"));
        cluster.update_from_state(&gossip.state);
        gossip.state.reachability.records.clear();
        gossip.state.reachability.reachable(Address::local("a"), Address::local("b"));
        cluster.update_from_state(&gossip.state);
        see(&cluster);
        seen.push(json!([from_gossip(&gossip), from_cluster_state(&gossip.state)]));

        let sharding = ShardingProbe::new(bus);
        let coordinator = Arc::new(ShardCoordinator::new());
        let region = ShardRegion::new(
            "r1",
            Arc::new(OneShard),
            coordinator.clone(),
            Arc::new(|| Box::new(|_: &str, _: ()| {})),
        );
        seen.push(json!([sharding.snapshot(), region_info(&region), coordinator_allocations(&coordinator)]));
        region.deliver(());
        seen.push(json!([region_info(&region), coordinator_allocations(&coordinator)]));
        sharding.refresh_from(&[&region], &coordinator);
        seen.push(json!(sharding.snapshot()));
        sharding.set_snapshot(ShardingSnapshot {
            regions: vec![ShardRegionInfo {
                region_id: "r".into(),
                shard_count: 9,
                shards: vec!["z".into(), "a".into()],
            }],
            allocations: vec![("z".into(), "r".into()), ("a".into(), "q".into())],
        });
        seen.push(json!(sharding.snapshot()));
        sharding.record_shard_event("r", "s", "anything");
        while let Ok(event) = events.try_recv() {
            seen.push(json!(event));
        }
        seen
    }};
}

struct OneShard;

impl atomr_cluster_sharding::MessageExtractor for OneShard {
    type Message = ();
    fn entity_id(&self, (): &()) -> String {
        "e".into()
    }
    fn shard_id(&self, (): &()) -> String {
        "s".into()
    }
}

#[test]
fn cluster_and_sharding_probes_say_and_publish_what_those_of_atomr_telemetry_do() {
    let (ours, theirs) = (clustered!(atomscope_probe), clustered!(atomr_telemetry));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn a_node_without_the_probe_runs_and_is_not_found() {
    let node = Node::demo(["--no-probe"]);
    assert!(support::listed(node.pid()).is_empty());
    let output = Command::new(support::program("atomscope")).args(["dump", &node.who()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&node.who()), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_atomr_telemetry_both_say_the_same() {
    use atomr_core::actor::ActorSystem;
    use atomr_core::prelude::Config;
    let system = ActorSystem::create("shop", Config::empty()).await.unwrap();
    let theirs = atomr_telemetry::TelemetryExtension::new("beside", 1024).install(&system);
    let ours = atomscope_probe::TelemetryExtension::new("beside", 1024).install_tee(
        &system,
        theirs.actors.clone(),
        theirs.dead_letters.clone(),
    );
    theirs.add_exporter(Arc::new(beside::Feed(Arc::downgrade(&ours))));

    beside::report(&theirs);
    theirs.remote.record_association("akka.tcp://far@h:1", "connected");
    let receiver = theirs.clone();
    atomscope_tests::workload::run(&system, &Default::default(), 2_000, async {
        while receiver.actors.total_spawned() < 1_000 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    let by_path = |mut snapshot: Value| {
        for list in ["actors", "dead_letters", "persistence", "streams"] {
            timeless(&mut snapshot[list]);
        }
        snapshot["actors"]["flat"].as_array_mut().unwrap().sort_by_key(|actor| actor["path"].to_string());
        snapshot["actors"]["roots"] = Value::Null;
        // Neither crate publishes the answers of a journal, and only ours keeps what it has seen of a journal.
        snapshot["persistence"]["journals"] = Value::Null;
        snapshot["generated_at"] = Value::Null;
        snapshot
    };
    let snapshots = || {
        let (ours, theirs) = (ours.snapshot(), theirs.snapshot());
        [serde_json::to_value(ours).unwrap(), serde_json::to_value(theirs).unwrap()].map(by_path)
    };
    // `atomr-telemetry` miscounts where hooks overtake each other, so only the state at rest is compared.
    support::wait_until("both have the same", || {
        let [mut ours, mut theirs] = snapshots();
        (ours["actors"], theirs["actors"]) = (Value::Null, Value::Null);
        ours == theirs
    });
    assert!(ours.dead_letters.total_count() > 0);
    assert_eq!(ours.actors.total_spawned(), theirs.actors.total_spawned());
    assert_eq!(ours.snapshot().cluster.members.len(), 2);
}

/// Removes the times, which differ between the two.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for time in ["spawned_at", "timestamp", "started_at"] {
                fields.remove(time);
            }
            fields.values_mut().for_each(timeless);
        }
        Value::Array(values) => values.iter_mut().for_each(timeless),
        _ => {}
    }
}
