//! Streams, distributed data and associations: real components, read from another process, and compared with
//! `atomr-telemetry`.

use std::collections::HashSet;
use std::time::Duration;

use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomr_distributed_data::{GCounter, GSet, NoopDurableStore, ReplicatorActor, WriteConsistency};
use atomr_remote::{RemoteSettings, RemoteSystem};
use atomr_streams::{RunnableGraph, Sink, Source};
use atomscope_layout::Words;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::document::HEAD_WORDS;
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support;
use atomscope_tests::support::dumps::{dump, dump_of, metric, wait_for_dump};
use serde_json::{Value, json};
use std::sync::Arc;

fn telemetry(node: &str) -> Arc<TelemetryExtension> {
    let region = Region::builder(node).actors(100).poll_interval(Duration::from_millis(20)).build().unwrap();
    TelemetryExtension::with_region(region)
}

/// An instance without its time.
fn instance(dump: &Value, domain: &str, name: &str) -> Value {
    let all = dump["atomscope"]["instances"][domain].as_array().unwrap();
    let mut found = all.iter().find(|entry| entry["name"] == name).unwrap().clone();
    found.as_object_mut().unwrap().remove("since");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_run_end_and_fail_are_told_apart() {
    let telemetry = telemetry("streams");
    let streams = &telemetry.streams;
    assert_eq!(Sink::collect(streams.watch("finite", Source::from_iter(0..10))).await.len(), 10);
    let first_two = Source::from_iter(0..10).take(2);
    assert_eq!(Sink::collect(streams.watch("cancelled", first_two)).await.len(), 2);
    let errors = Source::from_iter([Ok(1), Err("out of stock"), Ok(2)]);
    assert_eq!(Sink::collect(streams.watch_results("erring", errors)).await.len(), 3);
    let panics = streams.watch("panicking", Source::from_iter(0..3)).map(|element| assert!(element < 1));
    tokio::spawn(Sink::collect(panics)).await.unwrap_err();
    let graph = streams.watch_graph("graph", RunnableGraph::to_seq(Source::from_iter(0..4)));
    assert_eq!(metric(&dump(&telemetry), "streams.started"), 4, "a graph starts when it runs");
    assert_eq!(graph.run().await.len(), 4);

    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let endless = tokio::spawn(Sink::collect(streams.watch("endless", Source::from_receiver(receiver))));
    (0..7).for_each(|element| sender.send(element).unwrap());
    let seen = wait_for_dump("seven elements passed", &telemetry, |seen| {
        seen["atomscope"]["instances"]["graphs"][0]["elements"] == 7
    })
    .await;
    assert_eq!(instance(&seen, "graphs", "endless"), json!({ "name": "endless", "id": 6, "elements": 7 }));
    let running = &seen["streams"];
    assert_eq!((&running["running_graphs"], &running["total_started"]), (&json!(1), &json!(6)));
    assert_eq!(running["active"][0]["name"], "endless");
    assert!(running["active"][0]["started_at"].as_str().unwrap().starts_with("20"));
    assert_eq!(metric(&seen, "streams.failed"), 2, "one stream with an error and one with a panic");
    assert_eq!(metric(&seen, "streams.elements"), 10 + 2 + 3 + 2 + 7);

    drop(sender);
    endless.await.unwrap();
    let seen = dump(&telemetry);
    assert_eq!(
        (&seen["streams"]["running_graphs"], &seen["streams"]["total_finished"]),
        (&json!(0), &json!(6))
    );
    assert_eq!(seen["streams"]["active"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distributed_data_is_seen_through_the_replicator_and_its_store() {
    let telemetry = telemetry("ddata");
    let replicator = ReplicatorActor::spawn_with(telemetry.ddata.wrap_store(Arc::new(NoopDurableStore)));
    telemetry.ddata.attach(replicator.inner());
    for amount in 1..=5 {
        let mut orders = GCounter::new();
        orders.increment("n1", amount);
        replicator.update("orders", orders, WriteConsistency::Local).await;
    }
    let mut cart = GSet::<String>::default();
    cart.add("socks".into());
    replicator.update("cart", cart.clone(), WriteConsistency::Local).await;
    replicator.update("gone", cart.clone(), WriteConsistency::Local).await;
    replicator.delete("gone").await;
    // This update bypasses the store, so only the poll sees it.
    replicator.inner().update("aside", cart);
    let _watching = [(); 2].map(|()| replicator.inner().subscribe("orders", |_| {}));
    let seen = wait_for_dump("the poller saw keys and subscribers", &telemetry, |seen| {
        seen["ddata"]["keys"] == json!(["aside", "cart", "orders"])
            && instance(seen, "keys", "orders")["subscribers"] == 2
    })
    .await;
    assert_eq!(seen["ddata"]["total_updates"], 7);
    assert_eq!(
        instance(&seen, "keys", "orders"),
        json!({ "name": "orders", "updates": 5, "subscribers": 2 })
    );
    assert_eq!(instance(&seen, "keys", "aside")["updates"], Value::Null, "these calls bypassed the wrapper");
    assert_eq!(metric(&seen, "ddata.deletes"), 1);
    assert!(metric(&seen, "poll.rounds") > 0 && metric(&seen, "poll.time") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn associations_are_seen_with_what_passed_through_them() {
    let start = async |name: &str| {
        let system = ActorSystem::create(name, Config::reference()).await.unwrap();
        let remote =
            RemoteSystem::start(system, "127.0.0.1:0".parse().unwrap(), RemoteSettings::default()).await;
        let remote = remote.unwrap();
        remote.register_bincode::<u32>();
        remote
    };
    let (here, there) = (start("here").await, start("there").await);
    let telemetry = telemetry("remote");
    telemetry.remote.attach(here.endpoint_manager().clone());
    let address = there.local_address.to_string();
    here.endpoint_manager().endpoint_for(&there.local_address).await.unwrap();
    let path = format!("{address}/user/nobody");
    let nobody = here.actor_selection::<u32>(&path).unwrap();
    (0..20).for_each(|message| nobody.tell(message));
    let seen = wait_for_dump("twenty messages went out", &telemetry, |seen| {
        let all = seen["atomscope"]["instances"]["associations"].as_array();
        all.is_some_and(|all| all.iter().any(|at| at["outbound_messages"].as_u64() >= Some(20)))
    })
    .await;
    let metrics = here.endpoint_manager().metrics().snapshot().per_address;
    let row = metrics.iter().find(|row| row.address == address).unwrap();
    let association = instance(&seen, "associations", &address);
    assert_eq!(association["outbound_messages"], row.sent_messages);
    assert_eq!((&association["state"], &association["quarantined"]), (&json!("connected"), &json!(false)));
    let listed = &seen["remote"]["associations"][0];
    assert_eq!(
        (&listed["remote_address"], &listed["outbound_bytes"]),
        (&json!(address), &json!(row.sent_bytes))
    );

    // An association that was never connected; atomr may make another one idle again at once.
    here.endpoint_manager().quarantine(&"akka.tcp://far@127.0.0.1:1".parse_address()).await;
    let seen =
        wait_for_dump("the quarantine was seen", &telemetry, |seen| metric(seen, "remote.quarantines") == 1)
            .await;
    let association = instance(&seen, "associations", "akka.tcp://far@127.0.0.1:1");
    assert_eq!((&association["state"], &association["quarantined"]), (&json!("quarantined"), &json!(true)));
    here.shutdown().await;
    there.shutdown().await;
}

#[test]
fn what_has_no_room_is_counted_and_the_rest_is_right() {
    let region = Region::builder("narrow").actors(10).instances(16).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    for round in 0..3 {
        (0..50).for_each(|key| telemetry.ddata.record_update(&format!("key-{key}")));
        let seen = dump(&telemetry);
        assert_eq!(seen["ddata"]["total_updates"], 50 * (round + 1));
        // Keys may use a quarter of the slots.
        let keys = seen["atomscope"]["instances"]["keys"].as_array().unwrap();
        assert_eq!((keys.len() as u64, metric(&seen, "ddata.unlisted")), (4, 46 * (round + 1)));
        assert!(keys.iter().all(|key| key["updates"] == round + 1), "{keys:?}");
    }
    telemetry.remote.record_association("akka.tcp://other@far:1", "connected");
    assert_eq!(dump(&telemetry)["remote"]["associations"][0]["state"], "connected");
    telemetry.ddata.record_delete("key-0");
    telemetry.ddata.record_update("late");
    assert_eq!(instance(&dump(&telemetry), "keys", "late")["updates"], 1);
}

#[test]
fn what_a_replicator_no_longer_has_is_forgotten_however_long_its_name_is() {
    let telemetry = telemetry("long");
    telemetry.ddata.record_update(&"k".repeat(1000));
    let listed = telemetry.ddata.snapshot().keys;
    assert!(listed.len() == 1 && listed[0].len() < 1000, "{listed:?}");
    telemetry.ddata.refresh_from(&atomr_distributed_data::Replicator::new());
    assert_eq!(telemetry.ddata.key_count(), 0);
}

#[tokio::test]
async fn a_stream_that_is_watched_is_ended_by_nobody_else() {
    let telemetry = telemetry("watched");
    let streams = &telemetry.streams;
    let watched = streams.watch("watched", Source::from_iter(0..3));
    let by_hand = streams.start_graph("by hand");
    for graph in streams.snapshot().active {
        streams.finish_graph(graph.id);
    }
    let running = streams.snapshot();
    assert_eq!((running.running_graphs, &*running.active[0].name), (1, "watched"));
    assert_ne!(running.active[0].id, by_hand);
    assert_eq!(Sink::collect(watched).await.len(), 3);
    assert_eq!((streams.running(), streams.snapshot().total_finished), (0, 2));
}

#[test]
fn members_that_find_no_room_are_not_told_as_new_ones_again_and_again() {
    use atomscope_probe::dto::{ClusterMemberInfo, ClusterStateInfo};
    let telemetry = telemetry("crowded");
    let member = |number| ClusterMemberInfo {
        address: format!("akka.tcp://shop@host-{number}:2552"),
        status: "Up".into(),
        roles: vec!["r".repeat(600)],
        reachable: true,
        up_number: number,
    };
    let state = ClusterStateInfo { members: (0..200).map(member).collect(), ..ClusterStateInfo::default() };
    let mut events = telemetry.bus.subscribe();
    telemetry.cluster.update(state.clone());
    events.try_recv().unwrap();
    telemetry.cluster.update(state);
    events.try_recv().unwrap_err();
    telemetry.cluster.set_leader(None);
    let seen = dump(&telemetry);
    let (listed, dropped) =
        (seen["cluster"]["members"].as_array().unwrap().len(), &seen["atomscope"]["rows_dropped"]);
    assert_eq!(dropped.as_u64().unwrap() + listed as u64, 200);
    assert_eq!(telemetry.cluster.member_count(), 200);
}

#[test]
fn a_redacted_dump_is_in_the_order_of_its_pseudonyms_and_as_honest_as_the_other() {
    use atomscope_probe::dto::{ClusterStateInfo, ShardingSnapshot};
    let telemetry = telemetry("ordered");
    for number in 10..26 {
        let name = format!("name-{number}");
        telemetry.ddata.record_update(&name);
        telemetry.remote.record_association(&name, "connected");
        telemetry.persistence.record_write("journal", &name, 1);
    }
    let unreachable = vec!["u".repeat(500); 100];
    telemetry.cluster.update(ClusterStateInfo { unreachable, ..ClusterStateInfo::default() });
    telemetry.sharding.set_snapshot(ShardingSnapshot::default());
    let folder = tempfile::tempdir().unwrap();
    let region = telemetry.region().path().unwrap().as_os_str();
    let raw = folder.path().join("raw");
    let written = [
        "dump".as_ref(),
        region,
        "--redact".as_ref(),
        "--format=raw".as_ref(),
        "-o".as_ref(),
        raw.as_os_str(),
    ];
    assert!(support::atomscope(written).status.success());
    let (plain, redacted) =
        (dump(&telemetry), support::atomscope_json(["dump".as_ref(), region, "--redact".as_ref()]));
    let is_sorted = |list: &Value, name: &str| {
        let list: Vec<_> =
            list.as_array().unwrap().iter().map(|entry| entry.get(name).unwrap_or(entry)).collect();
        assert_eq!(list.len(), 16);
        list.is_sorted_by_key(|text| text.as_str())
    };
    assert!(is_sorted(&redacted["ddata"]["keys"], ""));
    assert!(is_sorted(&redacted["remote"]["associations"], "remote_address"));
    assert!(is_sorted(&redacted["persistence"]["journals"][0]["persistence_ids"], "persistence_id"));
    assert!(is_sorted(&redacted["atomscope"]["instances"]["keys"], "name"));
    let dropped_rows = |dump: &Value| dump["atomscope"]["rows_dropped"].as_u64().unwrap();
    assert!(dropped_rows(&plain) > 0);
    assert_eq!(dropped_rows(&redacted), dropped_rows(&plain));
    assert_eq!(
        dropped_rows(&support::atomscope_json(["dump".as_ref(), raw.as_os_str()])),
        dropped_rows(&plain)
    );
    let shown = |file: &std::path::Path| {
        String::from_utf8(support::atomscope(["show".as_ref(), file.as_os_str()]).stdout).unwrap()
    };
    assert!(shown(&raw).contains("rows of the cluster's state or its shards' allocation were dropped"));

    // The hashes of the names are absent too.
    let words = |path: &std::path::Path| -> Vec<AtomicU64> {
        let bytes = std::fs::read(path).unwrap();
        bytes.as_chunks().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))).collect()
    };
    let (live, copied) = (words(region.as_ref()), words(&raw));
    let instances = RegionReader::open(Words::new(&live)).unwrap().instances().entries;
    assert!(instances.len() >= 3 * 16);
    let copied: HashSet<u64> = copied.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    assert!(instances.iter().flat_map(|instance| instance.key.words()).all(|word| !copied.contains(&word)));

    // Write something else over the document.
    let mut file = std::fs::read(&raw).unwrap();
    let (_, region) = file.split_at_mut(4096);
    let words = region.as_chunks().0.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word)));
    let words: Vec<_> = words.collect();
    let documents = RegionReader::open(Words::new(&words)).unwrap().map().documents;
    for word in &mut region.as_chunks_mut().0[documents.range()][HEAD_WORDS..documents.stride] {
        *word = [0xff; 8];
    }
    std::fs::write(&raw, file).unwrap();
    let again = folder.path().join("again.raw");
    let arguments =
        ["dump".as_ref(), raw.as_os_str(), "--redact".as_ref(), "--format=raw".as_ref(), "-o".as_ref()];
    assert!(support::atomscope(arguments.into_iter().chain([again.as_os_str()])).status.success());
    for file in [raw, again] {
        let dump = support::atomscope_json(["dump".as_ref(), file.as_os_str()]);
        assert_eq!(dump["atomscope"]["documents_unreadable"], 1, "{}", file.display());
        assert!(
            shown(&file)
                .contains("1 of the two documents (cluster state, allocation of shards) was unreadable")
        );
    }
}

#[tokio::test]
async fn a_component_that_is_polled_does_not_keep_the_region_open() {
    let telemetry = telemetry("dropped");
    let replicator = atomr_distributed_data::Replicator::new();
    telemetry.ddata.attach(&replicator);
    let path = telemetry.region().path().unwrap().to_owned();
    drop(telemetry);
    support::wait_until("the region was closed", || !path.exists());
}

/// Records something of every subsystem under the name `secret`.
fn tell_secrets(telemetry: &TelemetryExtension) {
    use atomscope_probe::dto::{
        ClusterMemberInfo, ClusterStateInfo, ReachabilityRecord, ShardRegionInfo, ShardingSnapshot,
    };
    telemetry.cluster.update(ClusterStateInfo {
        self_address: Some("secret-self".into()),
        leader: Some("secret-leader".into()),
        members: vec![ClusterMemberInfo {
            address: "secret-member".into(),
            status: "Up".into(),
            roles: vec!["secret-role".into()],
            reachable: true,
            up_number: -1,
        }],
        unreachable: vec!["secret-unreachable".into()],
        reachability_records: vec![ReachabilityRecord {
            observer: "secret-observer".into(),
            subject: "secret-subject".into(),
            status: "terminated".into(),
        }],
        gossip_version: vec![("secret-node".into(), 7)],
    });
    telemetry.sharding.set_snapshot(ShardingSnapshot {
        regions: vec![ShardRegionInfo {
            region_id: "secret-region".into(),
            shard_count: 1,
            shards: vec!["secret-shard".into()],
        }],
        allocations: vec![("secret-shard".into(), "secret-elsewhere".into())],
    });
    telemetry.sharding.record_shard_event("secret-region", "secret-shard", "started");
    telemetry.persistence.record_write("secret-journal", "secret-id", 41);
    telemetry.remote.record_association("secret-remote", "connected");
    telemetry.streams.start_graph("secret-graph");
    telemetry.ddata.record_update("secret-key");
}

#[test]
fn a_raw_dump_holds_what_the_region_held_and_a_redacted_one_no_name() {
    let telemetry = telemetry("told");
    tell_secrets(&telemetry);
    let folder = tempfile::tempdir().unwrap();
    let region = telemetry.region().path().unwrap().to_str().unwrap();
    let write = |file: &str, more: &[&str]| {
        let path = folder.path().join(file).to_str().unwrap().to_owned();
        let written = support::atomscope([&["dump", region, "-o", &path][..], more].concat());
        assert!(written.status.success(), "{written:?}");
        path
    };
    // Compare without times, because the node's clock is measured again between the dumps.
    fn timeless(mut seen: Value) -> Value {
        match &mut seen {
            Value::Object(fields) => {
                fields.retain(|name, _| !["since", "started_at", "timestamp"].contains(&name.as_str()));
                fields.values_mut().for_each(|field| *field = timeless(field.take()));
            }
            Value::Array(all) => all.iter_mut().for_each(|one| *one = timeless(one.take())),
            _ => {}
        }
        seen
    }
    let without_times = |seen: &Value| {
        let parts = ["cluster", "sharding", "persistence", "remote", "streams", "ddata"];
        let about = &seen["atomscope"];
        timeless(json!([parts.map(|part| &seen[part]), about["instances"], about["hand_offs"]]))
    };
    let raw = write("raw", &["--format", "raw"]);
    let read = |path: &str| dump_of(path);
    let live = dump(&telemetry);
    assert_eq!(without_times(&read(&raw)), without_times(&live));
    assert_eq!(
        (&live["cluster"]["members"][0]["up_number"], metric(&live, "cluster.changes")),
        (&json!(-1), 1)
    );

    for format in ["json", "ndjson", "raw"] {
        let bytes = std::fs::read(write(format, &["--redact", "--format", format])).unwrap();
        assert!(!bytes.windows(6).any(|window| window.eq_ignore_ascii_case(b"secret")), "{format}");
    }
    // Everything that is no name is still there.
    let redacted = read(&write("raw-redacted", &["--redact", "--format", "raw"]));
    assert_eq!(redacted["cluster"]["members"][0]["status"], "Up");
    assert_eq!(redacted["cluster"]["reachability_records"][0]["status"], "terminated");
    assert_eq!(redacted["cluster"]["gossip_version"][0][1], 7);
    assert_eq!(redacted["persistence"]["recent_writes"][0]["sequence_nr"], 41);
    let (shard, allocated) =
        (&redacted["sharding"]["regions"][0]["shards"][0], &redacted["sharding"]["allocations"]);
    assert_eq!(shard, &allocated[0][0], "the same name has the same pseudonym");
    assert_eq!(redacted["atomscope"]["unreadable"], 0);
}

/// A program for the public API of `atomr-telemetry`, compiled against both crates.
macro_rules! program {
    ($name:ident, $telemetry:ident) => {
        mod $name {
            use serde_json::{Value, json};
            use $telemetry::bus::{TelemetryBus, TelemetryEvent};
            use $telemetry::ddata::DDataProbe;
            use $telemetry::remote::{RemoteProbe, refresh_from_endpoint_manager};
            use $telemetry::streams::StreamsProbe;

            fn remote(probe: &RemoteProbe) -> Value {
                let mut all = probe.snapshot().associations;
                all.sort_by(|a, b| a.remote_address.cmp(&b.remote_address));
                json!([probe.association_count(), all])
            }

            fn streams(probe: &StreamsProbe) -> Value {
                let mut snapshot = probe.snapshot();
                snapshot.active.sort_by_key(|graph| graph.id);
                for graph in &mut snapshot.active {
                    assert!(graph.started_at.starts_with("20"), "{}", graph.started_at);
                    graph.started_at.clear();
                }
                json!([probe.running(), snapshot])
            }

            pub async fn run(manager: &atomr_remote::EndpointManager) -> Vec<Value> {
                let bus = TelemetryBus::new(64);
                let mut events = bus.subscribe();
                let mut seen = Vec::new();

                let probe = RemoteProbe::new(bus.clone());
                probe.record_association("akka://A@host:1", "active");
                probe.record_association("akka://B@host:2", "pending");
                probe.record_inbound_bytes("akka://A@host:1", 100);
                probe.record_outbound_bytes("akka://A@host:1", 200);
                probe.record_inbound_bytes("akka://unknown@host:9", 1);
                probe.set_state("akka://B@host:2", "active");
                probe.set_state("akka://unknown@host:9", "active");
                seen.push(remote(&probe));
                probe.record_association("akka://A@host:1", "again");
                probe.remove("akka://B@host:2");
                probe.remove("akka://unknown@host:9");
                seen.push(remote(&probe));
                refresh_from_endpoint_manager(&probe, manager);
                seen.push(remote(&probe));

                let probe = StreamsProbe::new(bus.clone());
                let first = probe.start_graph("orders");
                let second = probe.start_graph(String::from("orders"));
                let third = probe.start_graph("");
                seen.push(streams(&probe));
                probe.finish_graph(second);
                probe.finish_graph(second);
                probe.finish_graph(77);
                seen.push(json!([first, second, third]));
                seen.push(streams(&probe));

                let probe = DDataProbe::new(bus.clone());
                for key in ["counter", "set", "counter", "ü"] {
                    probe.record_update(key);
                }
                probe.record_delete("set");
                probe.record_delete("unknown");
                seen.push(json!([probe.key_count(), probe.snapshot()]));
                let replicator = atomr_distributed_data::Replicator::new();
                replicator.update("fresh", atomr_distributed_data::GSet::<String>::default());
                probe.refresh_from(&replicator);
                seen.push(json!([probe.key_count(), probe.snapshot()]));

                drop(bus);
                for _ in 0..11 {
                    let event: TelemetryEvent = events.recv().await.unwrap();
                    seen.push(json!([event.topic(), event]));
                }
                seen
            }
        }
    };
}

program!(ours, atomscope_probe);
program!(theirs, atomr_telemetry);

#[tokio::test]
async fn a_program_on_bare_probes_moves_by_changing_the_name_of_the_crate() {
    let system = ActorSystem::create("parity", Config::reference()).await.unwrap();
    let remote = RemoteSystem::start(system, "127.0.0.1:0".parse().unwrap(), RemoteSettings::default()).await;
    let remote = remote.unwrap();
    let manager = remote.endpoint_manager();
    manager.quarantine(&"akka.tcp://far@127.0.0.1:1".parse_address()).await;
    let (ours, theirs) = (ours::run(manager).await, theirs::run(manager).await);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    remote.shutdown().await;
}

trait ParseAddress {
    fn parse_address(&self) -> atomr_core::actor::Address;
}

impl ParseAddress for str {
    fn parse_address(&self) -> atomr_core::actor::Address {
        atomr_core::actor::Address::parse(self).unwrap()
    }
}
