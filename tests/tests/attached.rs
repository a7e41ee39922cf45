//! Each attachment alone: a real component of atomr is attached in one way, works, and is listed. The numbers that this
//! attachment counts are right, and all others of the subsystem are unknown, never 0.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use Expected::{Is, Known, Positive};
use async_trait::async_trait;
use atomr_cluster::{
    ClusterEventBus, DaemonConfig, DowningStrategy, GossipPdu, InProcessClusterTransport, InProcessRegistry,
    Member, StaticQuorumStrategy, VectorClock, spawn_daemon,
};
use atomr_cluster_metrics::{ClusterMetrics, MetricsPdu, MetricsTransport, NodeMetrics};
use atomr_cluster_sharding::{
    HandoffCoordinator, MessageExtractor, PassivationTracker, PinnedAllocationStrategy,
    ShardAllocationStrategy, ShardCoordinator, ShardRegion,
};
use atomr_coordination::{InMemoryLease, Lease};
use atomr_core::actor::{Actor, ActorSystem, Address, Context, Props};
use atomr_core::prelude::Config;
use atomr_distributed_data::{GCounter, NoopDurableStore, Replicator, ReplicatorActor, WriteConsistency};
use atomr_persistence::{
    InMemoryJournal, InMemorySnapshotStore, Journal, PersistentRepr, RecoveryPermitter, SnapshotMetadata,
    SnapshotStore,
};
use atomr_remote::{RemoteSettings, RemoteSystem};
use atomr_streams::{RunnableGraph, Sink, Source};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::Domain;
use atomscope_layout::metrics::{BUILTIN, Builtin};
use atomscope_layout::region::header;
use atomscope_probe::dto::ShardingSnapshot;
use atomscope_probe::persistence::ProbedJournal;
use atomscope_probe::remote::refresh_from_endpoint_manager;
use atomscope_probe::sharding::HandlerFactory;
use atomscope_probe::{FailureLayer, Region, TelemetryExtension};
use atomscope_tests::support::{self, PATIENCE};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;

/// The expected value of a number.
#[derive(Debug)]
enum Expected {
    /// Exactly this value.
    Is(Value),
    /// More than 0.
    Positive,
    /// Any known value, also 0.
    Known,
}

impl Expected {
    fn holds(&self, found: Option<&Value>) -> bool {
        match self {
            Is(value) => found == Some(value),
            Positive => found.and_then(Value::as_f64).is_some_and(|number| number > 0.0),
            Known => found.is_some_and(|found| !found.is_null()),
        }
    }
}

fn is(value: impl Into<Value>) -> Expected {
    Is(value.into())
}

/// Metrics of a subsystem that count the probe's own capacity.
fn is_own(name: &str) -> bool {
    let unlisted = Domain::ALL.iter().map(|domain| domain.unlisted());
    let mut own = unlisted.chain([Builtin::JournalWritesAbandoned]);
    own.any(|metric| BUILTIN[metric as usize].0 == name)
}

fn run(command: &[&str], telemetry: &TelemetryExtension) -> Value {
    let region = telemetry.region().path().unwrap().as_os_str();
    support::atomscope_json(command.iter().map(AsRef::as_ref).chain(["--region".as_ref(), region]))
}

/// Every number in the listing of a subsystem, by `metric`, `domain/name/field` or `summary/field`.
fn numbers(part: &str, telemetry: &TelemetryExtension) -> BTreeMap<String, Value> {
    let listing = run(&[part, "--json"], telemetry);
    let mut all = BTreeMap::new();
    for metric in listing["metrics"].as_array().unwrap() {
        let (name, value) = (metric["name"].as_str().unwrap(), metric["value"].clone());
        if is_own(name) {
            assert_eq!(value, 0, "{name}");
        } else {
            all.insert(name.to_owned(), value);
        }
    }
    for domain in Domain::ALL.iter().map(|domain| domain.name()) {
        for entry in listing[domain].as_array().into_iter().flatten() {
            let name = entry["name"].as_str().unwrap();
            let fields = entry.as_object().unwrap().iter();
            let fields =
                fields.filter(|(field, _)| !["name", "owner", "age_s", "since"].contains(&field.as_str()));
            all.extend(fields.map(|(field, value)| (format!("{domain}/{name}/{field}"), value.clone())));
        }
    }
    let summary = listing["summary"].as_object().into_iter().flatten();
    all.extend(summary.map(|(field, value)| (format!("summary/{field}"), value.clone())));
    all
}

/// The bits of the attachments in the header.
fn bits(telemetry: &TelemetryExtension) -> u64 {
    let bytes = std::fs::read(telemetry.region().path().unwrap()).unwrap();
    u64::from_le_bytes(bytes[header::ATTACHED * 8..][..8].try_into().unwrap()) & !(1 << 63)
}

/// Runs `work`, and checks that exactly `attachments` are made and exactly the expected numbers are known. The result
/// of `work` lives until then.
async fn alone<T>(
    part: &str,
    attachments: &[Attachment],
    work: impl AsyncFnOnce(&Arc<TelemetryExtension>) -> T,
    expected: &[(&str, Expected)],
) -> u64 {
    let region = Region::builder("alone")
        .actors(100)
        .poll_interval(Duration::from_millis(10))
        .panics(false)
        .build()
        .unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let kept = work(&telemetry).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let found = loop {
        let found = numbers(part, &telemetry);
        let holds = expected.iter().all(|(name, expected)| expected.holds(found.get(*name)));
        if holds {
            break found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{attachments:?}: {expected:?}\nbut {found:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    for (name, value) in &found {
        let is_expected = expected.iter().any(|(expected, _)| expected == name);
        assert!(is_expected || value.is_null(), "{attachments:?}: {name} is {value}, and nothing counts it");
    }
    let bits = bits(&telemetry);
    let wanted = attachments.iter().fold(0, |bits, attachment| bits | attachment.bit());
    assert_eq!(bits, wanted, "{attachments:?}");
    // The same in a dump. Its part for users of `atomr-telemetry` cannot show unknown values.
    let dump = run(&["dump"], &telemetry);
    for metric in dump["atomscope"]["metrics"].as_array().unwrap() {
        if let Some(listed) = found.get(metric["name"].as_str().unwrap()) {
            assert_eq!(listed.is_null(), metric["value"].is_null(), "{attachments:?}: {metric}");
        }
    }
    assert!(dump["ddata"]["total_updates"].is_u64() && dump["streams"]["running_graphs"].is_u64());
    assert!(dump["persistence"]["total_events"].is_u64());
    drop(kept);
    bits
}

fn cluster_daemon(name: &str) -> (Address, Arc<InProcessClusterTransport>) {
    let own = Address::local(name);
    (own.clone(), Arc::new(InProcessClusterTransport::new(own, InProcessRegistry::new())))
}

fn sample() -> NodeMetrics {
    NodeMetrics { address: "akka://a".into(), timestamp: 7, cpu_load: 0.0, memory_used: 0, memory_max: 9 }
}

/// The expected values after one sample.
fn sampled() -> [(&'static str, Expected); 10] {
    [
        ("node_metrics/akka://a cpu_load/value", is(0.0)),
        ("node_metrics/akka://a cpu_load/samples", is(1)),
        ("node_metrics/akka://a cpu_load/timestamp", is(7)),
        ("node_metrics/akka://a memory_used/value", is(0.0)),
        ("node_metrics/akka://a memory_used/samples", is(1)),
        ("node_metrics/akka://a memory_used/timestamp", is(7)),
        ("node_metrics/akka://a memory_max/value", is(9.0)),
        ("node_metrics/akka://a memory_max/samples", is(1)),
        ("node_metrics/akka://a memory_max/timestamp", is(7)),
        ("cluster.metric_samples", is(1)),
    ]
}

async fn cluster() -> u64 {
    let daemon = async |telemetry: &Arc<TelemetryExtension>| {
        let (own, transport) = cluster_daemon("a");
        let config = DaemonConfig { gossip_interval: Duration::from_secs(3600) };
        let daemon = Arc::new(spawn_daemon(own.clone(), transport, ClusterEventBus::new(), config));
        daemon.join(Member::new(own, vec![]));
        // The member joins before the tick that makes it the leader.
        while daemon.snapshot().leader.is_none() {
            daemon.tick();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        telemetry.cluster.attach(&daemon);
        daemon
    };
    let state = [
        ("cluster.changes", Positive),
        ("summary/members", is(1)),
        ("summary/up", is(1)),
        ("summary/unreachable", is(0)),
        ("summary/self_address", is("akka://a")),
        ("summary/leader", is("akka://a")),
    ];
    let mut bits = alone("cluster", &[Attachment::ClusterState], daemon, &state).await;
    let pdu = || GossipPdu::Status { from: String::new(), version: VectorClock::new() };
    let sends = async |telemetry: &Arc<TelemetryExtension>| {
        let (own, transport) = cluster_daemon("a");
        telemetry.cluster.wrap_transport(transport).send(&own, pdu());
    };
    bits |= alone("cluster", &[Attachment::Gossip], sends, &[("cluster.gossip_sent", is(1))]).await;
    let receives = async |telemetry: &Arc<TelemetryExtension>| {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        telemetry.cluster.wrap_gossip_inbox(sender).send(pdu()).unwrap();
        receiver
    };
    bits |=
        alone("cluster", &[Attachment::GossipInbox], receives, &[("cluster.gossip_received", is(1))]).await;
    let downs = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.cluster.wrap_downing(StaticQuorumStrategy { quorum_size: 0 }).decide(&[], &[]);
    };
    let expected = [("cluster.downing_calls", is(1)), ("cluster.downing_decisions", Known)];
    bits |= alone("cluster", &[Attachment::Downing], downs, &expected).await;
    let loses = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.cluster.quorum_observer(None).on_quorum_lost();
    };
    let lost = [("cluster.quorum_lost", is(1)), ("cluster.quorum_regained", is(0))];
    bits |= alone("cluster", &[Attachment::Quorum], loses, &lost).await;

    let node_metrics = [Attachment::NodeMetrics];
    let gathers = async |telemetry: &Arc<TelemetryExtension>| {
        let metrics = Arc::new(ClusterMetrics::new());
        metrics.publish(sample());
        telemetry.cluster_metrics.attach(&metrics);
        metrics
    };
    bits |= alone("cluster", &node_metrics, gathers, &sampled()).await;
    struct Nowhere;
    impl MetricsTransport for Nowhere {
        fn send(&self, _: &str, _: MetricsPdu) {}
    }
    let pushes = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.cluster_metrics.wrap_transport(Nowhere).send("b", MetricsPdu::Push(sample()));
    };
    bits |= alone("cluster", &node_metrics, pushes, &sampled()).await;
    let records = async |telemetry: &Arc<TelemetryExtension>| telemetry.cluster_metrics.record(&sample());
    bits | alone("cluster", &node_metrics, records, &sampled()).await
}

/// Five messages for each of four shards, each for another entity.
struct ByFour;

impl MessageExtractor for ByFour {
    type Message = u64;

    fn entity_id(&self, message: &u64) -> String {
        message.to_string()
    }

    fn shard_id(&self, message: &u64) -> String {
        format!("s{}", message % 4)
    }
}

fn handlers() -> HandlerFactory<u64> {
    Arc::new(|| Box::new(|_: &str, _: u64| {}))
}

/// Sends twenty messages to region `r`. Shard `s3` belongs to another region.
fn work<E: MessageExtractor<Message = u64>>(
    telemetry: &Arc<TelemetryExtension>,
    extractor: Arc<E>,
    handlers: HandlerFactory<u64>,
    forwards: bool,
) -> Arc<ShardRegion<E>> {
    let coordinator = Arc::new(ShardCoordinator::new());
    coordinator.allocate("s3", "elsewhere");
    let region = ShardRegion::new("r", extractor, coordinator, handlers);
    if forwards {
        region.set_remote_forwarder(telemetry.sharding.wrap_forwarder("r", Arc::new(|_: &str, _: u64| {})));
    }
    (0..20).for_each(|message| region.deliver(message));
    region
}

async fn sharding() -> u64 {
    let one_region = || ("summary/regions", is(1));
    let attaches = async |telemetry: &Arc<TelemetryExtension>| {
        let region = work(telemetry, Arc::new(ByFour), handlers(), false);
        telemetry.sharding.attach_region(&region);
        region
    };
    let shards = [one_region(), ("shard_regions/r/shards", is(3)), ("summary/shards", is(3))];
    let mut bits = alone("sharding", &[Attachment::ShardRegion], attaches, &shards).await;

    let extracts = async |telemetry: &Arc<TelemetryExtension>| {
        let extractor = telemetry.sharding.wrap_extractor("r", Arc::new(ByFour));
        work(telemetry, Arc::new(extractor), handlers(), false);
    };
    let received = || {
        [
            one_region(),
            ("shard_regions/r/received", is(20)),
            ("shards/s0/received", is(5)),
            ("shards/s1/received", is(5)),
            ("shards/s2/received", is(5)),
            ("shards/s3/received", is(5)),
        ]
    };
    bits |= alone("sharding", &[Attachment::ShardExtractor], extracts, &received()).await;

    let handles = async |telemetry: &Arc<TelemetryExtension>| {
        let handlers = telemetry.sharding.wrap_handlers("r", handlers());
        work(telemetry, Arc::new(ByFour), handlers, false);
    };
    let handled = || {
        [
            ("sharding.messages", is(15)),
            ("summary/messages", is(15)),
            ("shard_regions/r/messages", is(15)),
            ("shard_regions/r/entities_started", is(15)),
            ("shard_regions/r/uncounted_messages", is(0)),
        ]
    };
    let alone_handled: Vec<_> = [one_region()].into_iter().chain(handled()).collect();
    bits |= alone("sharding", &[Attachment::ShardHandlers], handles, &alone_handled).await;

    // With both attachments, the local shards have the counts of their handlers.
    let both = async |telemetry: &Arc<TelemetryExtension>| {
        let extractor = telemetry.sharding.wrap_extractor("r", Arc::new(ByFour));
        let handlers = telemetry.sharding.wrap_handlers("r", handlers());
        work(telemetry, Arc::new(extractor), handlers, false);
    };
    let of_shards = ["s0", "s1", "s2"].map(|shard| {
        let field = |field: &str| format!("shards/{shard}/{field}");
        [(field("messages"), is(5)), (field("entities"), is(5)), (field("uncounted_messages"), is(0))]
    });
    let of_shards: Vec<_> = of_shards.into_iter().flatten().collect();
    let of_shards = of_shards.iter().map(|(name, expected)| match expected {
        Is(value) => (name.as_str(), Is(value.clone())),
        _ => (name.as_str(), Known),
    });
    let all: Vec<_> = received().into_iter().chain(handled()).chain(of_shards).collect();
    alone("sharding", &[Attachment::ShardExtractor, Attachment::ShardHandlers], both, &all).await;

    // An attachment of one region makes no number of another region known.
    let two = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.sharding.wrap_extractor("idle", Arc::new(ByFour));
        let handlers = telemetry.sharding.wrap_handlers("r", handlers());
        work(telemetry, Arc::new(ByFour), handlers, false);
    };
    let of_both: Vec<_> = [("summary/regions", is(2)), ("shard_regions/idle/received", is(0))]
        .into_iter()
        .chain(handled())
        .collect();
    alone("sharding", &[Attachment::ShardExtractor, Attachment::ShardHandlers], two, &of_both).await;

    let forwards = async |telemetry: &Arc<TelemetryExtension>| {
        work(telemetry, Arc::new(ByFour), handlers(), true);
    };
    let forwarded = [one_region(), ("shard_regions/r/forwarded", is(5))];
    bits |= alone("sharding", &[Attachment::ShardForwarder], forwards, &forwarded).await;

    let allocates = async |telemetry: &Arc<TelemetryExtension>| {
        let strategy = telemetry.sharding.wrap_strategy(PinnedAllocationStrategy { region: "r".into() });
        strategy.allocate_shard("s0", &HashMap::new()).unwrap();
    };
    let allocated = [
        ("sharding.allocations", is(1)),
        ("sharding.rebalances", is(0)),
        ("sharding.rebalanced_shards", is(0)),
    ];
    bits |= alone("sharding", &[Attachment::ShardStrategy], allocates, &allocated).await;

    let coordinates = async |telemetry: &Arc<TelemetryExtension>| {
        let coordinator = Arc::new(ShardCoordinator::new());
        coordinator.allocate("s0", "r");
        telemetry.sharding.attach_coordinator(&coordinator);
        coordinator
    };
    let one_allocation = [("summary/allocations", is(1))];
    bits |= alone("sharding", &[Attachment::ShardCoordinator], coordinates, &one_allocation).await;

    let hands_off = async |telemetry: &Arc<TelemetryExtension>| {
        let hand_offs = Arc::new(HandoffCoordinator::new());
        hand_offs.begin("s0", "r").unwrap();
        telemetry.sharding.attach_hand_offs(&hand_offs);
        hand_offs
    };
    let under_way = || {
        [
            ("summary/hand_offs", is(1)),
            ("sharding.hand_offs_started", is(1)),
            ("sharding.hand_offs_done", is(0)),
        ]
    };
    bits |= alone("sharding", &[Attachment::HandOffs], hands_off, &under_way()).await;
    let hands_off_shards = async |telemetry: &Arc<TelemetryExtension>| {
        let extractor = telemetry.sharding.wrap_extractor("r", Arc::new(OneShard));
        work(telemetry, Arc::new(extractor), handlers(), false);
        hands_off(telemetry).await
    };
    let of_shard = [
        one_region(),
        ("shard_regions/r/received", is(20)),
        ("shards/s0/received", is(20)),
        ("shards/s0/hand_off", is("beginning")),
        ("shards/s0/remaining_entities", is(0)),
    ];
    let of_shard: Vec<_> = of_shard.into_iter().chain(under_way()).collect();
    alone("sharding", &[Attachment::ShardExtractor, Attachment::HandOffs], hands_off_shards, &of_shard).await;

    let tracks = async |telemetry: &Arc<TelemetryExtension>| {
        let tracker = Arc::new(PassivationTracker::new());
        tracker.record_activity("e");
        telemetry.sharding.attach_passivation("r", &tracker);
        tracker
    };
    let active = [one_region(), ("shard_regions/r/active_entities", is(1))];
    bits |= alone("sharding", &[Attachment::Passivation], tracks, &active).await;
    let passivates = async |telemetry: &Arc<TelemetryExtension>| telemetry.sharding.record_passivation("r");
    let passivated = [one_region(), ("shard_regions/r/passivated", is(1))];
    bits |= alone("sharding", &[Attachment::PassivationCalls], passivates, &passivated).await;

    let sets = async |telemetry: &Arc<TelemetryExtension>| {
        let coordinator = ShardCoordinator::new();
        coordinator.allocate("s0", "r");
        let region = work(telemetry, Arc::new(ByFour), handlers(), false);
        telemetry.sharding.refresh_from(&[&region], &coordinator);
    };
    let set = [one_region(), ("summary/shards", is(3)), ("summary/allocations", is(1))];
    bits |= alone("sharding", &[Attachment::ShardingCalls], sets, &set).await;
    let sets_nothing = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.sharding.set_snapshot(ShardingSnapshot::default());
        telemetry.sharding.record_passivation("r");
    };
    let nothing = [
        one_region(),
        ("shard_regions/r/passivated", is(1)),
        ("summary/shards", is(0)),
        ("summary/allocations", is(0)),
    ];
    let calls = [Attachment::ShardingCalls, Attachment::PassivationCalls];
    bits | alone("sharding", &calls, sets_nothing, &nothing).await
}

/// Puts everything into one shard.
struct OneShard;

impl MessageExtractor for OneShard {
    type Message = u64;

    fn entity_id(&self, message: &u64) -> String {
        message.to_string()
    }

    fn shard_id(&self, _: &u64) -> String {
        "s0".into()
    }
}

async fn write(journal: &impl Journal) {
    let event =
        |sequence_nr| PersistentRepr { persistence_id: "p".into(), sequence_nr, ..PersistentRepr::default() };
    journal.write_messages((1..=3).map(event).collect()).await.unwrap();
    assert_eq!(journal.replay_messages("p", 1, 3, 10).await.unwrap().len(), 3);
}

async fn persistence() -> u64 {
    let by_wrapper = || {
        [
            ("journals/j/events", is(3)),
            ("journals/j/writes", is(1)),
            ("journals/j/failures", is(0)),
            ("journals/j/replays", is(1)),
            ("journals/j/replayed_events", is(3)),
            ("journals/j/replay_failures", is(0)),
            ("journals/j/deletes", is(0)),
            ("journals/j/unlisted_events", is(0)),
            ("journals/j/rolled_up_ids", is(0)),
            ("journals/j/cancelled", is(0)),
            ("journals/j/write_p50_ns", Known),
            ("journals/j/write_p99_ns", Known),
            ("journals/j/write_greatest_ns", Known),
            ("persistence_ids/p/highest_sequence_nr", is(3)),
            ("persistence_ids/p/event_count", is(3)),
            ("persistence.failures", is(0)),
            ("summary/failures", is(0)),
            ("summary/write_p99_ns", Known),
        ]
    };
    let totals = |journals: u64, ids: u64, events: u64| {
        [
            ("summary/journals", is(journals)),
            ("summary/persistence_ids", is(ids)),
            ("summary/events", is(events)),
            ("persistence.events", is(events)),
        ]
    };
    let writes = async |telemetry: &Arc<TelemetryExtension>| {
        write(&*telemetry.persistence.wrap_journal("j", InMemoryJournal::new())).await;
    };
    let expected: Vec<_> = by_wrapper().into_iter().chain(totals(1, 1, 3)).collect();
    let mut bits = alone("persistence", &[Attachment::Journal], writes, &expected).await;

    let by_hand = || {
        [
            ("journals/h/events", is(2)),
            ("journals/h/unlisted_events", is(0)),
            ("journals/h/rolled_up_ids", is(0)),
            ("persistence_ids/q/highest_sequence_nr", is(2)),
            ("persistence_ids/q/event_count", is(2)),
        ]
    };
    let records = |telemetry: &Arc<TelemetryExtension>| {
        (1..=2).for_each(|sequence_nr| telemetry.persistence.record_write("h", "q", sequence_nr));
    };
    let expected: Vec<_> = by_hand().into_iter().chain(totals(1, 1, 2)).collect();
    let recorded = async |telemetry: &Arc<TelemetryExtension>| records(telemetry);
    bits |= alone("persistence", &[Attachment::JournalCalls], recorded, &expected).await;
    // The writes of a journal that is recorded by hand stay unknown, also where another journal is wrapped.
    let both = async |telemetry: &Arc<TelemetryExtension>| {
        writes(telemetry).await;
        records(telemetry);
    };
    let expected: Vec<_> = by_wrapper().into_iter().chain(by_hand()).chain(totals(2, 2, 5)).collect();
    alone("persistence", &[Attachment::Journal, Attachment::JournalCalls], both, &expected).await;

    let saves = async |telemetry: &Arc<TelemetryExtension>| {
        let store = telemetry.persistence.wrap_snapshot_store(InMemorySnapshotStore::new());
        let meta = SnapshotMetadata { persistence_id: "p".into(), sequence_nr: 1, timestamp: 1 };
        store.save(meta, vec![1]).await;
        store.load("p").await.unwrap();
    };
    let saved = [
        ("persistence.snapshots_saved", is(1)),
        ("persistence.snapshots_loaded", is(1)),
        ("persistence.snapshot_failures", is(0)),
    ];
    bits |= alone("persistence", &[Attachment::SnapshotStore], saves, &saved).await;
    let recovers = async |telemetry: &Arc<TelemetryExtension>| {
        let permitter = RecoveryPermitter::new(5);
        telemetry.persistence.watch_recovery(&permitter);
    };
    let recovering = [("persistence.recovery_permits", is(5)), ("persistence.recoveries_running", is(0))];
    bits | alone("persistence", &[Attachment::Recovery], recovers, &recovering).await
}

async fn start(name: &str) -> RemoteSystem {
    let system = ActorSystem::create(name, Config::reference()).await.unwrap();
    let remote = RemoteSystem::start(system, "127.0.0.1:0".parse().unwrap(), RemoteSettings::default());
    let remote = remote.await.unwrap();
    remote.register_bincode::<u32>();
    remote
}

async fn remote() -> u64 {
    let (here, there) = (start("here").await, start("there").await);
    let address = there.local_address.to_string();
    here.endpoint_manager().endpoint_for(&there.local_address).await.unwrap();
    let nobody = here.actor_selection::<u32>(&format!("{address}/user/nobody")).unwrap();
    (0..20).for_each(|message| nobody.tell(message));
    let sent = || {
        let rows = here.endpoint_manager().metrics().snapshot().per_address;
        rows.into_iter().find(|row| row.address == address).map_or(0, |row| row.sent_messages)
    };
    while sent() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let field = |field: &str| format!("associations/{address}/{field}");
    let attaches = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.remote.attach(here.endpoint_manager().clone());
    };
    let [state, outbound, messages] = ["state", "outbound_bytes", "outbound_messages"].map(field);
    let [inbound, inbound_messages, errors] = ["inbound_bytes", "inbound_messages", "errors"].map(field);
    let [available, quarantined, attempts] = ["available", "quarantined", "attempts"].map(field);
    let sums = || {
        [
            ("summary/associations", is(1)),
            ("summary/inbound_bytes", Known),
            ("summary/outbound_bytes", Positive),
        ]
    };
    let bytes =
        || [(state.as_str(), is("connected")), (inbound.as_str(), Known), (outbound.as_str(), Positive)];
    let more = [
        (messages.as_str(), is(20)),
        (inbound_messages.as_str(), Known),
        (errors.as_str(), is(0)),
        (available.as_str(), is(true)),
        (quarantined.as_str(), is(false)),
        // Counted since its last connection.
        (attempts.as_str(), is(0)),
        ("remote.errors", is(0)),
        ("remote.quarantines", is(0)),
        ("summary/errors", is(0)),
    ];
    let expected: Vec<_> = sums().into_iter().chain(bytes()).chain(more).collect();
    let mut bits = alone("remote", &[Attachment::Endpoints], attaches, &expected).await;
    // The other end counts the incoming messages.
    let other_end = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.remote.attach(there.endpoint_manager().clone());
        let listed = || run(&["remote", "--json"], telemetry)["associations"].clone();
        support::wait_until("the message has arrived", || {
            let associations = listed();
            let associations = associations.as_array().unwrap();
            associations.iter().any(|at| at["inbound_messages"].as_u64() >= Some(20))
        });
    };
    let from = here.local_address.to_string();
    let fields = [
        "state",
        "inbound_bytes",
        "outbound_bytes",
        "inbound_messages",
        "outbound_messages",
        "errors",
        "available",
        "quarantined",
        "attempts",
    ];
    let fields = fields.map(|field| format!("associations/{from}/{field}"));
    let known = [
        "remote.errors",
        "remote.quarantines",
        "summary/associations",
        "summary/inbound_bytes",
        "summary/outbound_bytes",
        "summary/errors",
    ];
    let known: Vec<_> = fields.iter().map(String::as_str).chain(known).map(|name| (name, Known)).collect();
    alone("remote", &[Attachment::Endpoints], other_end, &known).await;

    let refreshes = async |telemetry: &Arc<TelemetryExtension>| {
        refresh_from_endpoint_manager(&telemetry.remote, here.endpoint_manager());
    };
    let expected: Vec<_> = sums().into_iter().chain(bytes()).collect();
    bits |= alone("remote", &[Attachment::EndpointCalls], refreshes, &expected).await;
    here.shutdown().await;
    there.shutdown().await;

    let associates = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.remote.record_association("a", "connected");
        telemetry.remote.record_association("b", "connected");
    };
    let named = || {
        [
            ("associations/a/state", is("connected")),
            ("associations/b/state", is("connected")),
            ("summary/associations", is(2)),
        ]
    };
    let calls = Attachment::AssociationCalls;
    bits |= alone("remote", &[calls], associates, &named()).await;
    let receives = async |telemetry: &Arc<TelemetryExtension>| {
        associates(telemetry).await;
        telemetry.remote.record_inbound_bytes("a", 7);
    };
    let received = [
        ("associations/a/inbound_bytes", is(7)),
        ("associations/b/inbound_bytes", is(0)),
        ("summary/inbound_bytes", is(7)),
    ];
    let expected: Vec<_> = named().into_iter().chain(received).collect();
    bits |= alone("remote", &[calls, Attachment::InboundCalls], receives, &expected).await;
    let sends = async |telemetry: &Arc<TelemetryExtension>| {
        associates(telemetry).await;
        telemetry.remote.record_outbound_bytes("a", 7);
    };
    let sent = [
        ("associations/a/outbound_bytes", is(7)),
        ("associations/b/outbound_bytes", is(0)),
        ("summary/outbound_bytes", is(7)),
    ];
    let expected: Vec<_> = named().into_iter().chain(sent).collect();
    bits | alone("remote", &[calls, Attachment::OutboundCalls], sends, &expected).await
}

async fn streams() -> u64 {
    let of = |started: u64, finished: u64| {
        [
            ("streams.started", is(started)),
            ("streams.finished", is(finished)),
            ("summary/started", is(started)),
            ("summary/running", is(started - finished)),
        ]
    };
    let elements = || [("streams.elements", is(5)), ("summary/elements", is(5))];
    let failed = |number: u64| [("streams.failed", is(number)), ("summary/failed", is(number))];
    let watches = async |telemetry: &Arc<TelemetryExtension>| {
        Sink::collect(telemetry.streams.watch("w", Source::from_iter(0..5))).await;
    };
    let expected: Vec<_> = of(1, 1).into_iter().chain(elements()).chain(failed(0)).collect();
    let mut bits = alone("streams", &[Attachment::Stream], watches, &expected).await;
    let watches_results = async |telemetry: &Arc<TelemetryExtension>| {
        let source =
            Source::from_iter((0..5).map(|number| if number < 4 { Ok(number) } else { Err(number) }));
        Sink::collect(telemetry.streams.watch_results("w", source)).await;
    };
    let expected: Vec<_> = of(1, 1).into_iter().chain(elements()).chain(failed(1)).collect();
    bits |= alone("streams", &[Attachment::Stream], watches_results, &expected).await;

    let runs = async |telemetry: &Arc<TelemetryExtension>| {
        let graph = RunnableGraph::to_seq(Source::from_iter(0..5));
        assert_eq!(telemetry.streams.watch_graph("g", graph).run().await.len(), 5);
    };
    let expected: Vec<_> = of(1, 1).into_iter().chain(failed(0)).collect();
    bits |= alone("streams", &[Attachment::StreamGraph], runs, &expected).await;

    let starts = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.streams.start_graph("h");
    };
    let running = ("graphs/h/id", is(1));
    let expected: Vec<_> = [running].into_iter().chain(of(1, 0)).collect();
    bits |= alone("streams", &[Attachment::StreamCalls], starts, &expected).await;
    // The elements of one stream are counted, those of the other are not.
    let both = async |telemetry: &Arc<TelemetryExtension>| {
        telemetry.streams.start_graph("h");
        telemetry.streams.watch("idle", Source::from_iter(0..5))
    };
    let of_each = [
        ("graphs/h/id", is(1)),
        ("graphs/idle/id", is(2)),
        ("graphs/idle/elements", is(0)),
        ("streams.elements", is(0)),
        ("summary/elements", is(0)),
    ];
    let expected: Vec<_> = of_each.into_iter().chain(of(2, 0)).chain(failed(0)).collect();
    bits | alone("streams", &[Attachment::Stream, Attachment::StreamCalls], both, &expected).await
}

async fn ddata() -> u64 {
    let counter = || {
        let mut counter = GCounter::new();
        counter.increment("n", 1);
        counter
    };
    let replicator = || {
        let replicator = Replicator::new();
        (0..1000).for_each(|_| replicator.update("k", counter()));
        replicator
    };
    let keys = |number: u64| ("summary/keys", is(number));
    let subscribed = || [("keys/k/subscribers", is(1)), ("summary/subscribers", is(1))];
    let update = async |telemetry: &Arc<TelemetryExtension>| {
        let replicator = replicator();
        let subscription = replicator.subscribe("k", |_| {});
        telemetry.ddata.attach(&replicator);
        (subscription, replicator)
    };
    let expected: Vec<_> = [keys(1)].into_iter().chain(subscribed()).collect();
    let mut bits = alone("ddata", &[Attachment::Replicator], update, &expected).await;

    let stores = async |telemetry: &Arc<TelemetryExtension>| {
        let store = telemetry.ddata.wrap_store(Arc::new(NoopDurableStore));
        let replicator = ReplicatorActor::spawn_with(store);
        for key in ["k", "k", "gone"] {
            replicator.update(key, counter(), WriteConsistency::Local).await;
        }
        replicator.delete("gone").await;
        replicator
    };
    let stored = || {
        [
            ("keys/k/updates", is(2)),
            ("summary/updates", is(3)),
            ("ddata.updates", is(3)),
            ("ddata.deletes", is(1)),
        ]
    };
    let expected: Vec<_> = [keys(1)].into_iter().chain(stored()).collect();
    bits |= alone("ddata", &[Attachment::DDataStore], stores, &expected).await;
    // With both attachments, and one update that bypasses the store: the updates of that key are unknown.
    let both = async |telemetry: &Arc<TelemetryExtension>| {
        let replicator = stores(telemetry).await;
        replicator.inner().update("aside", counter());
        let subscription = replicator.inner().subscribe("k", |_| {});
        telemetry.ddata.attach(replicator.inner());
        (subscription, replicator)
    };
    let aside = ("keys/aside/subscribers", is(0));
    let expected: Vec<_> = [keys(2), aside].into_iter().chain(stored()).chain(subscribed()).collect();
    alone("ddata", &[Attachment::DDataStore, Attachment::Replicator], both, &expected).await;

    let records = async |telemetry: &Arc<TelemetryExtension>| telemetry.ddata.record_update("k");
    let updated = [("keys/k/updates", is(1)), ("summary/updates", is(1)), ("ddata.updates", is(1)), keys(1)];
    bits |= alone("ddata", &[Attachment::UpdateCalls], records, &updated).await;
    let deletes = async |telemetry: &Arc<TelemetryExtension>| telemetry.ddata.record_delete("k");
    bits | alone("ddata", &[Attachment::DeleteCalls], deletes, &[("ddata.deletes", is(1))]).await
}

async fn leases() -> u64 {
    let acquires = async |telemetry: &Arc<TelemetryExtension>| {
        let lease = telemetry.leases.wrap("l", InMemoryLease::new());
        assert!(lease.acquire("me").await.unwrap());
        lease
    };
    let expected = [
        ("leases/l/holder", is("me")),
        ("leases/l/acquired", is(1)),
        ("leases/l/denied", is(0)),
        ("leases/l/lost", is(0)),
        ("leases/l/released", is(0)),
        ("leases/l/held", is(true)),
        ("leases/l/renewed", is(0)),
        ("leases.acquired", is(1)),
        ("leases.denied", is(0)),
        ("leases.lost", is(0)),
        ("summary/leases", is(1)),
        ("summary/held", is(1)),
        ("summary/denied", is(0)),
        ("summary/lost", is(0)),
    ];
    alone("leases", &[Attachment::Lease], acquires, &expected).await
}

async fn runtime() -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let watches = async |telemetry: &Arc<TelemetryExtension>| telemetry.watch_runtime(runtime.handle());
    let expected = [
        ("workers/0/busy_ns", Known),
        ("workers/0/parks", Known),
        ("workers/0/parked", Known),
        ("workers/0/away_ns", Known),
        ("runtime.workers", is(1)),
        ("runtime.tasks", is(0)),
        ("runtime.queue", is(0)),
        ("summary/workers", is(1)),
        ("summary/tasks", is(0)),
        ("summary/queue", is(0)),
    ];
    let bits = alone("runtime", &[Attachment::Runtime], watches, &expected).await;
    runtime.shutdown_background();
    bits
}

/// Attachments of the process: the panic hook, and the layer of `tracing`. To be called last, since every region that is made
/// after it has the layer.
fn failures() -> u64 {
    let region = |panics| Region::builder("alone").actors(100).panics(panics).build().unwrap();
    let known = |region: &Region| {
        let telemetry = TelemetryExtension::with_region(region.clone());
        let dump = run(&["dump"], &telemetry);
        let known = ["failures.panics", "failures.errors", "failures.warnings"].map(|name| {
            let metric =
                dump["atomscope"]["metrics"].as_array().unwrap().iter().find(|metric| metric["name"] == name);
            !metric.unwrap()["value"].is_null()
        });
        (known, bits(&telemetry))
    };
    let (hook, layer) = (region(true), region(false));
    let (counted, hook) = known(&hook);
    assert_eq!((counted, hook), ([true, false, false], Attachment::PanicHook.bit()));
    assert_eq!(known(&layer), ([false; 3], 0));
    let subscriber = tracing_subscriber::registry().with(FailureLayer::new());
    tracing::subscriber::with_default(subscriber, || {});
    let (counted, layer) = known(&layer);
    assert_eq!((counted, layer), ([false, true, true], Attachment::FailureLayer.bit()));
    hook | layer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_component_alone_fills_its_own_numbers_and_leaves_all_others_unknown() {
    let parts = ["cluster", "sharding", "persistence", "remote", "streams", "ddata", "leases", "runtime"];
    for part in parts {
        alone(part, &[], async |_| {}, &[]).await;
    }
    let mut bits = cluster().await | sharding().await | persistence().await | remote().await;
    bits |= streams().await | ddata().await | leases().await | runtime().await | failures();
    // Polls are seen only where tokio has hooks for them: `runtime.rs`.
    for attachment in Attachment::ALL.iter().filter(|attachment| **attachment != Attachment::Polls) {
        assert_ne!(bits & attachment.bit(), 0, "{attachment:?} was never made alone");
    }
}

#[test]
fn what_nothing_counts_has_no_rate_and_is_a_dash_in_every_table() {
    let telemetry = TelemetryExtension::new("dashes", 64);
    let replicator = Replicator::new();
    replicator.update("k", GCounter::new());
    telemetry.ddata.attach(&replicator);
    let region = telemetry.region().path().unwrap().to_str().unwrap().to_owned();
    let output = |arguments: &[&str]| {
        let output = support::atomscope(arguments.iter().copied().chain(["--region", &region]));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let arguments =
        ["stat", "--metric", "ddata.updates", "--metric", "keys.updates", "--metric", "keys.subscribers"];
    let in_json = output(&[&arguments[..], &["--json", "50ms", "2"]].concat());
    for line in in_json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let metrics =
            json!({ "ddata.updates_per_s": null, "keys.updates_per_s": null, "keys.subscribers": 0.0 });
        assert_eq!(line["metrics"], metrics);
    }
    let shown = output(&[&arguments[..], &["50ms", "1"]].concat());
    let cells: Vec<_> = shown.lines().last().unwrap().split_whitespace().collect();
    assert!(cells.windows(3).any(|cells| cells == ["-", "-", "0"]), "{shown}");
    let listed = output(&["ddata"]);
    assert!(listed.starts_with("1 key, - updates, 0 subscribers\n"), "{listed}");
    let row = |first: &str| -> Vec<String> {
        let row = listed.lines().find(|line| line.split_whitespace().next() == Some(first)).unwrap();
        row.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(
        (row("k")[1..3].to_vec(), row("ddata.updates")[1].as_str()),
        (vec!["-".into(), "0".into()], "-")
    );
    assert!(output(&["show"]).contains("1 key, - updates, 0 subscribers"));
}

/// An actor that is generic over a journal, like the event-sourced actors of `atomr`.
struct Cart<J> {
    _journal: Arc<J>,
}

#[async_trait]
impl<J: Send + Sync + 'static> Actor for Cart<J> {
    type Msg = Option<Arc<J>>;
    async fn handle(&mut self, _: &mut Context<Self>, _: Option<Arc<J>>) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_over_a_wrapped_journal_has_the_type_that_it_has_without() {
    let system = ActorSystem::create("types", Config::empty()).await.unwrap();
    let telemetry = TelemetryExtension::new("types", 64).install(&system);
    let journal = InMemoryJournal::new();
    let wrapped = telemetry.persistence.wrap_journal("j", journal.clone());
    let plain = system.actor_of(Props::create(move || Cart { _journal: journal.clone() }), "plain").unwrap();
    let same = wrapped.clone();
    let over = system.actor_of(Props::create(move || Cart { _journal: same.clone() }), "over").unwrap();
    let raw = std::any::type_name::<Cart<ProbedJournal<InMemoryJournal>>>();
    assert!(raw.contains("ProbedJournal"), "{raw}");
    let expected = std::any::type_name::<Cart<InMemoryJournal>>();
    let dump = run(&["dump"], &telemetry);
    for name in ["plain", "over"] {
        let actors = dump["actors"]["flat"].as_array().unwrap();
        let path = format!("akka://types/user/{name}");
        let actor =
            actors.iter().find(|actor| actor["path"] == *path).unwrap_or_else(|| panic!("{actors:?}"));
        assert_eq!(actor["actor_type"], expected, "{name}");
    }
    // A dead letter with a message of such a type.
    over.stop();
    support::wait_until("the actor has stopped", || telemetry.actors.live_count() == 1);
    over.tell(Some(wrapped));
    support::wait_until("the dead letter is recorded", || telemetry.dead_letters.total_count() == 1);
    let message = std::any::type_name::<Option<Arc<InMemoryJournal>>>();
    assert_eq!(telemetry.dead_letters.recent(1)[0].message_type, message);
    let region = telemetry.region().path().unwrap().as_os_str();
    let events = support::atomscope([
        "tail".as_ref(),
        "--json".as_ref(),
        "--no-follow".as_ref(),
        "--region".as_ref(),
        region,
    ]);
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(events.contains("dead_letter") && !events.contains("ProbedJournal"), "{events}");
    drop(plain);
}
