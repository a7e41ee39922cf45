//! Sharding: another process reads what real regions, coordinators and hand-offs do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atomr_cluster_sharding::{
    HandoffCoordinator, MessageExtractor, PassivationTracker, ShardAllocationStrategy, ShardCoordinator,
    ShardRegion,
};
use atomscope_layout::event::TelemetryEvent;
use atomscope_probe::dto::{ShardRegionInfo, ShardingSnapshot};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::sharding_workload::{self, ByCustomer, Carts, REGIONS, SHARDS, ToCart};
use atomscope_tests::support::dumps::{
    dump, instances, known_metric, metric, number, polled_often, wait_for_dump,
};
use atomscope_tests::support::{self, wait_until};
use serde_json::{Value, json};

/// The JSON that a dump of these regions and this coordinator must have.
fn expected_json(carts: &Carts) -> Value {
    let regions = carts.regions.each_ref().map(|region| {
        let mut shards = region.shard_ids();
        shards.sort();
        json!({ "region_id": region.region_id(), "shard_count": region.shard_count(), "shards": shards })
    });
    let allocations: BTreeMap<_, _> = carts.coordinator.allocations().into_iter().collect();
    let allocations: Vec<_> = allocations.into_iter().collect();
    json!({ "regions": regions, "allocations": allocations })
}

fn until_dumped(telemetry: &TelemetryExtension, carts: &Carts) -> Value {
    let expected = expected_json(carts);
    let deadline = Instant::now() + support::PATIENCE;
    loop {
        let last = dump(telemetry);
        if last["sharding"] == expected {
            return last;
        }
        assert!(Instant::now() < deadline, "{:#}\nis not\n{expected:#}", last["sharding"]);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Checks that all counts of messages and entities equal those of the handlers.
fn assert_counted(dump: &Value, carts: &Carts) {
    let mut all = 0;
    for (id, done) in REGIONS.iter().zip(carts.done()) {
        let region = instances(dump, "shard_regions").iter().find(|region| region["name"] == *id).unwrap();
        let messages: u64 = done.messages.values().sum();
        let entities: usize = done.entities.values().map(BTreeSet::len).sum();
        assert_eq!(number(region, "messages"), messages);
        assert_eq!(number(region, "entities_started"), entities as u64);
        assert_eq!(number(region, "forwarded"), done.forwarded);
        assert_eq!(number(region, "received"), messages + done.forwarded, "nothing was dropped");
        let shards = instances(dump, "shards").iter().filter(|shard| shard["owner"] == *id);
        let shards: BTreeMap<_, _> =
            shards.map(|shard| (shard["name"].as_str().unwrap().to_owned(), shard)).collect();
        let by_shard = |field| {
            // The numbers of a shard without a handler here are unknown.
            let counted = shards.iter().filter(|(_, shard)| !shard[field].is_null());
            counted.map(|(name, shard)| (name.clone(), number(shard, field))).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(by_shard("messages"), done.messages);
        let entities = done.entities.iter().map(|(shard, entities)| (shard.clone(), entities.len() as u64));
        assert_eq!(by_shard("entities"), entities.collect());
        all += messages;
    }
    assert_eq!(metric(dump, "sharding.messages"), all);
}

#[test]
fn messages_hand_offs_and_allocations_of_two_regions_are_dumped_as_they_are() {
    let telemetry = polled_often("sharding-life");
    let mut events = telemetry.bus.subscribe();
    let carts = Carts::open(&telemetry);
    until_dumped(&telemetry, &carts);

    // One shard to the second region, all others to the first.
    carts.deliver(1, [SHARDS - 1]);
    carts.deliver(0, 0..200);
    let first = until_dumped(&telemetry, &carts);
    assert_eq!(first["sharding"]["regions"][0]["shard_count"], SHARDS - 1);
    assert_counted(&first, &carts);
    assert_eq!(first["atomscope"]["hand_offs"], json!([]));

    // Two shards move, a state at a time.
    assert!(carts.rebalance_step());
    let expect = |carts: &Carts, to: &str, state: &str, remaining: u64| {
        let expected = json!([["shard-0", REGIONS[0], to, state], ["shard-1", REGIONS[0], to, state]]);
        wait_until("the hand-offs are published", || dump(&telemetry)["atomscope"]["hand_offs"] == expected);
        let dump = until_dumped(&telemetry, carts);
        for name in ["shard-0", "shard-1"] {
            let mut shards = instances(&dump, "shards").iter();
            let shard = shards.find(|shard| shard["owner"] == REGIONS[0] && shard["name"] == name).unwrap();
            assert_eq!((&shard["hand_off"], number(shard, "remaining_entities")), (&json!(state), remaining));
        }
        dump
    };
    expect(&carts, "", "beginning", 0);
    carts.drain_step();
    expect(&carts, "", "handing_off", 2);
    carts.drain_step();
    wait_until("an entity stopped", || {
        let dump = dump(&telemetry);
        instances(&dump, "shards").iter().any(|shard| number(shard, "remaining_entities") == 1)
    });
    carts.drain_step();
    expect(&carts, "", "stopped", 0);
    assert!(carts.rebalance_step());
    let moved = expect(&carts, REGIONS[1], "started", 0);
    assert_eq!(metric(&moved, "sharding.hand_offs_started"), 2);
    assert_eq!(metric(&moved, "sharding.hand_offs_done"), 2);
    assert_eq!(metric(&moved, "sharding.allocations"), 2);
    let times = metric(&moved, "sharding.rebalances");
    assert!(times >= 1 && metric(&moved, "sharding.rebalanced_shards") <= 2 * times);

    // Messages for a moved shard are forwarded, whichever region gets them first.
    std::thread::scope(|scope| {
        for region in [0, 1] {
            let carts = &carts;
            scope.spawn(move || carts.deliver(region, (0..1000).map(|n| n % 300)));
        }
    });
    carts.passivate(7);
    carts.passivate(8);
    let last = until_dumped(&telemetry, &carts);
    let [one, other] = carts.done();
    assert!(one.forwarded > 0 && other.forwarded > 0);
    assert!(other.messages.contains_key("shard-0") && other.messages.contains_key("shard-1"));
    assert_counted(&last, &carts);
    let of_first = |dump: &Value, field| {
        let mut regions = instances(dump, "shard_regions").iter();
        number(regions.find(|region| region["name"] == REGIONS[0]).unwrap(), field)
    };
    assert_eq!(of_first(&last, "passivated"), 2);
    let active = carts.tracker.entity_count() as u64;
    wait_until("the tracker was polled", || of_first(&dump(&telemetry), "active_entities") == active);
    assert_eq!(of_first(&last, "shards"), SHARDS - 1);

    // Every allocation and every state of a hand-off was published once.
    let mut happened = BTreeMap::<_, Vec<_>>::new();
    while let Ok(event) = events.try_recv() {
        if let TelemetryEvent::ShardingChanged(change) = event {
            happened.entry(change.shard_id).or_default().push((change.region_id, change.event));
        }
    }
    let [first, second] = REGIONS;
    let of = |changes: &[(&str, &str)]| -> Vec<_> {
        changes.iter().map(|(region, event)| ((*region).to_owned(), (*event).to_owned())).collect()
    };
    assert_eq!(happened["shard-2"], of(&[(first, "allocated")]));
    assert_eq!(happened["shard-7"], of(&[(second, "allocated")]));
    let (all, last_two) = (&happened["shard-1"][..4], &happened["shard-1"][4..]);
    assert_eq!(
        all,
        of(&[(first, "allocated"), (first, "beginning"), (first, "handing_off"), (first, "stopped"),])
    );
    assert_eq!(
        last_two.iter().cloned().collect::<BTreeSet<_>>(),
        of(&[(second, "allocated"), (second, "started")]).into_iter().collect()
    );

    // A finished hand-off that the coordinator dropped is published no more.
    carts.hand_offs.forget("shard-0");
    wait_until("it is no longer listed", || {
        let dump = dump(&telemetry);
        let mut shards = instances(&dump, "shards").iter();
        dump["atomscope"]["hand_offs"].as_array().unwrap().len() == 1
            && shards.any(|shard| shard["name"] == "shard-0" && shard["hand_off"] == "")
    });
}

#[test]
fn what_is_gone_is_told_no_more_and_what_comes_again_is() {
    let telemetry = polled_often("sharding-again");
    for round in 1..=3 {
        let carts = Carts::open(&telemetry);
        carts.deliver(0, 0..10);
        let dump = until_dumped(&telemetry, &carts);
        assert_eq!(metric(&dump, "sharding.messages"), 10 * round);
        let weak = Arc::downgrade(&carts.regions[0]);
        drop(carts);
        wait_until("nothing is published", || telemetry.sharding.snapshot() == ShardingSnapshot::default());
        assert!(weak.upgrade().is_none(), "telemetry keeps no region");
    }
    let given = ShardingSnapshot {
        regions: vec![ShardRegionInfo { region_id: "r".into(), shard_count: 1, shards: vec!["s".into()] }],
        allocations: vec![],
    };
    telemetry.sharding.set_snapshot(given.clone());
    let rounds = || metric(&dump(&telemetry), "poll.rounds");
    let before = rounds();
    wait_until("two rounds have passed", || rounds() >= before + 2);
    assert_eq!(telemetry.sharding.snapshot(), given, "no attached component overwrites it");
}

/// Puts everything into one shard.
struct OneShard;

impl MessageExtractor for OneShard {
    type Message = u64;

    fn entity_id(&self, entity: &u64) -> String {
        entity.to_string()
    }

    fn shard_id(&self, _: &u64) -> String {
        "the-one".into()
    }
}

#[test]
fn entities_beyond_those_that_can_be_told_apart_are_said_to_be_there() {
    const ENTITIES: u64 = 20_000;
    let telemetry = polled_often("sharding-entities");
    let nothing = Arc::new(|| Box::new(|_: &str, _: u64| {}) as _);
    let region =
        telemetry.sharding.region("r", Arc::new(OneShard), Arc::new(ShardCoordinator::new()), nothing);
    // Each entity twice: the second message is not counted as a new entity.
    (0..ENTITIES).for_each(|entity| region.deliver(entity));
    let once = dump(&telemetry);
    (0..ENTITIES).for_each(|entity| region.deliver(entity));
    let twice = dump(&telemetry);
    for (dump, times) in [(&once, 1), (&twice, 2)] {
        let [shard] = instances(dump, "shards") else { panic!("one shard") };
        let [region] = instances(dump, "shard_regions") else { panic!("one region") };
        let (entities, uncounted) = (number(shard, "entities"), number(shard, "uncounted_messages"));
        assert!(entities > 3_000 && entities < ENTITIES);
        assert_eq!(times * entities + uncounted, times * ENTITIES);
        assert_eq!(number(region, "entities_started"), entities);
        assert_eq!(number(region, "uncounted_messages"), uncounted);
        assert_eq!(number(shard, "messages"), times * ENTITIES);
    }
    assert_eq!(instances(&once, "shards")[0]["entities"], instances(&twice, "shards")[0]["entities"]);
}

/// A shard for each entity.
struct OwnShard;

impl MessageExtractor for OwnShard {
    type Message = u64;

    fn entity_id(&self, entity: &u64) -> String {
        entity.to_string()
    }

    fn shard_id(&self, entity: &u64) -> String {
        format!("shard-{entity}")
    }
}

#[test]
fn shards_without_room_are_counted_with_their_region() {
    let region = Region::builder("sharding-full").instances(64).document_bytes(4096).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let coordinator = Arc::new(ShardCoordinator::new());
    let nothing = Arc::new(|| Box::new(|_: &str, _: u64| {}) as _);
    let region = telemetry.sharding.region("r", Arc::new(OwnShard), coordinator.clone(), nothing);
    (0..3).for_each(|_| (0..500).for_each(|entity| region.deliver(entity)));
    telemetry.sharding.attach_coordinator(&coordinator);
    let dump = dump(&telemetry);
    let shards = instances(&dump, "shards");
    assert!(!shards.is_empty() && shards.len() < 500);
    assert!(shards.iter().all(|shard| (number(shard, "received"), number(shard, "messages")) == (3, 3)));
    assert_eq!(metric(&dump, "sharding.unlisted_shards"), 3 * (500 - shards.len() as u64));
    let [region] = instances(&dump, "shard_regions") else { panic!("one region") };
    assert_eq!((number(region, "received"), number(region, "messages")), (1500, 1500));
    assert_eq!((number(region, "entities_started"), number(region, "shards")), (500, 500));
    // The document cannot hold all rows either.
    let listed = dump["sharding"]["regions"][0]["shards"].as_array().unwrap().len()
        + dump["sharding"]["allocations"].as_array().unwrap().len();
    assert_eq!(dump["sharding"]["regions"][0]["shard_count"], 500);
    assert_eq!(dump["atomscope"]["rows_dropped"], 1000 - listed);
    assert_eq!(telemetry.sharding.snapshot().allocations.len(), 500, "in-process nothing is missing");
}

#[test]
fn messages_that_a_region_drops_are_received_but_given_to_nobody() {
    let telemetry = polled_often("sharding-dropped");
    let coordinator = Arc::new(ShardCoordinator::new());
    coordinator.allocate("the-one", "elsewhere");
    let given = Arc::new(AtomicU64::new(0));
    let handler = given.clone();
    let handlers = Arc::new(move || {
        let given = handler.clone();
        Box::new(move |_: &str, _: u64| drop(given.fetch_add(1, Ordering::Relaxed).to_string())) as _
    });
    let region = telemetry.sharding.region("r", Arc::new(OneShard), coordinator, handlers);
    (0..5).for_each(|entity| region.deliver(entity));
    let dump = dump(&telemetry);
    let [region] = instances(&dump, "shard_regions") else { panic!("one region") };
    assert_eq!((number(region, "received"), number(region, "messages")), (5, 0));
    assert_eq!(region["forwarded"], Value::Null, "no forwarder of it is wrapped");
    assert_eq!(given.load(Ordering::Relaxed), 0);
}

#[test]
fn what_an_extractor_or_a_factory_delivers_on_its_own_is_counted_where_it_goes() {
    struct Nosy(Arc<ShardRegion<atomscope_probe::sharding::ProbedExtractor<OneShard>>>);
    impl MessageExtractor for Nosy {
        type Message = ToCart;
        fn entity_id(&self, message: &ToCart) -> String {
            self.0.deliver(message.0);
            message.entity()
        }
        fn shard_id(&self, message: &ToCart) -> String {
            ByCustomer.shard_id(message)
        }
    }
    let telemetry = polled_often("sharding-nosy");
    let coordinator = Arc::new(ShardCoordinator::new());
    let nothing = Arc::new(|| Box::new(|_: &str, _: u64| {}) as _);
    let inner = telemetry.sharding.region("inner", Arc::new(OneShard), coordinator.clone(), nothing);
    let also_inner = inner.clone();
    let handlers = Arc::new(move || {
        also_inner.deliver(0);
        Box::new(|_: &str, _: ToCart| {}) as _
    });
    let outer = telemetry.sharding.region("outer", Arc::new(Nosy(inner)), coordinator, handlers);
    (0..16).for_each(|customer| outer.deliver(ToCart(customer)));
    let dump = dump(&telemetry);
    for shard in instances(&dump, "shards") {
        let expected = if shard["owner"] == "inner" { (16 + SHARDS, 16) } else { (2, 2) };
        assert_eq!((number(shard, "messages"), number(shard, "entities")), expected, "{shard}");
    }
    assert_eq!(instances(&dump, "shards").len(), 9);
}

#[test]
fn a_strategy_that_says_nothing_counts_nothing() {
    let telemetry = polled_often("sharding-strategy");
    let strategy =
        telemetry.sharding.wrap_strategy(atomr_cluster_sharding::LeastShardAllocationStrategy::default());
    assert_eq!(strategy.allocate_shard("s", &Default::default()), None);
    assert!(strategy.rebalance(&Default::default(), &Default::default()).is_empty());
    let dump = dump(&telemetry);
    assert_eq!((metric(&dump, "sharding.allocations"), metric(&dump, "sharding.rebalances")), (0, 0));
}

#[test]
fn what_is_attached_is_told_at_once_as_one() {
    // At this interval only the first round of each attachment comes in time.
    let region = Region::builder("sharding-once").poll_interval(Duration::from_secs(3600)).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let sharding = &telemetry.sharding;
    let coordinator = Arc::new(ShardCoordinator::new());
    coordinator.allocate("s", "r");
    let hand_offs = Arc::new(HandoffCoordinator::new());
    hand_offs.begin("s", "r").unwrap();
    let tracker = Arc::new(PassivationTracker::new());
    tracker.record_activity("e");
    sharding.attach_hand_offs(&hand_offs);
    sharding.attach_coordinator(&coordinator);
    sharding.attach_passivation("r", &tracker);
    let dump = dump(&telemetry);
    assert_eq!(dump["sharding"]["allocations"], json!([["s", "r"]]));
    assert_eq!(dump["atomscope"]["hand_offs"], json!([["s", "r", "", "beginning"]]));
    assert_eq!(number(&instances(&dump, "shard_regions")[0], "active_entities"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carts_are_filled_and_shards_move_in_a_node_until_it_stops() {
    let telemetry = polled_often("sharding-run");
    let counted = wait_for_dump("messages and a hand-off are counted", &telemetry, |dump| {
        known_metric(dump, "sharding.messages") >= Some(10_000)
            && known_metric(dump, "sharding.hand_offs_done") >= Some(1)
    });
    let run = sharding_workload::run(&telemetry, Duration::from_millis(1), async { drop(counted.await) });
    tokio::time::timeout(support::PATIENCE, run).await.unwrap();
}
