//! Events: every published event is read exactly once and in order, in this process and in another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atomr_core::actor::{ActorPath, Address, SpawnObserver};
use atomscope_layout::decode::RegionReader;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::follow::{Follower, Loss};
use atomscope_layout::view::ReaderMemory;
use atomscope_probe::bus::{OwnEvent, TelemetryBus, Values};
use atomscope_probe::exporters::Exporter;
use atomscope_probe::{Level, Region, TelemetryExtension};
use atomscope_tests::support::dumps::{dump, metric};
use atomscope_tests::support::{self, Node, wait_until};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

const WRITERS: usize = 8;

fn key(writer: usize, number: u64) -> TelemetryEvent {
    TelemetryEvent::DDataUpdated { key: format!("{writer}:{number}") }
}

/// The events of the writers that one reader found.
#[derive(Default)]
struct Tally {
    read: u64,
    lost: u64,
    /// The last number of each writer.
    last: HashMap<usize, u64>,
}

impl Tally {
    fn event(&mut self, event: &TelemetryEvent) {
        let TelemetryEvent::DDataUpdated { key } = event else { return };
        let (writer, number) = key.split_once(':').unwrap();
        let (writer, number) = (writer.parse().unwrap(), number.parse().unwrap());
        let last = self.last.insert(writer, number);
        assert!(last < Some(number) || last.is_none(), "writer {writer}: {number} after {last:?}");
        self.read += 1;
    }

    fn losses(&mut self, losses: &[Loss]) {
        self.lost += losses.iter().map(|loss| loss.lapped + loss.abandoned + loss.unreadable).sum::<u64>();
    }
}

/// Runs in another process: maps the region, follows it in this manner, and prints what it found.
fn reader(manner: &str, region: &str) {
    let file = std::fs::File::open(region).unwrap();
    let map = memmap2::MmapOptions::new().map_raw_read_only(&file).unwrap();
    let memory = support::mapped(map);
    let region = RegionReader::open(memory.words()).unwrap();
    let mut follower = Follower::from_first(&region);
    let mut tally = Tally::default();
    println!("ready region=none");
    let ended = || region.state() == Some(atomscope_layout::region::State::Stopping);
    loop {
        let last = ended();
        let look = if last { follower.last_batch(&region) } else { follower.next_batch(&region) };
        look.events.iter().for_each(|event| tally.event(&event.event));
        tally.losses(&look.losses);
        for account in follower.accounts() {
            assert_eq!(account.read + account.lapped + account.abandoned + account.pending, account.next);
        }
        if last {
            break;
        }
        match manner {
            "fast" => {}
            "slow" => std::thread::sleep(Duration::from_millis(1)),
            _ => wait_until("the writers have ended", ended),
        }
    }
    println!("found={} {}", tally.read, tally.lost);
}

#[test]
fn readers_of_another_process_read_exactly_what_was_published_minus_the_loss_they_report() {
    const NAME: &str =
        "readers_of_another_process_read_exactly_what_was_published_minus_the_loss_they_report";
    if let Some(role) = support::role() {
        let (manner, region) = role.split_once('@').unwrap();
        return reader(manner, region);
    }
    // Fewer lanes than writers, so some writers share one.
    let region = Region::builder("events-readers").lanes(6).events(256).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let path = telemetry.region().path().unwrap().to_str().unwrap();
    let mut readers: Vec<Node> = ["fast", "slow", "paused"]
        .map(|manner| Node::start(&mut support::again(NAME, &format!("{manner}@{path}"))))
        .into();
    let mut inside = telemetry.bus.subscribe();
    let published = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (bus, published) = (&telemetry.bus, &published);
            scope.spawn(move || {
                for number in 0..40_000 {
                    bus.publish(key(writer, number));
                    if number % 1000 == 0 {
                        std::thread::yield_now();
                    }
                }
                published.fetch_add(40_000, Ordering::Relaxed);
            });
        }
    });
    telemetry.region().stopping();
    let published = published.into_inner();
    for (reader, manner) in readers.iter_mut().zip(["fast", "slow", "paused"]) {
        let found = reader.line_with("found=");
        assert!(reader.wait().success());
        let (read, lost) = found.split_once(' ').unwrap();
        let (read, lost): (u64, u64) = (read.parse().unwrap(), lost.parse().unwrap());
        assert_eq!(read + lost, published, "{manner}: {read} read, {lost} lost");
        assert!(read > 0, "{manner} read nothing");
        assert!(manner != "paused" || lost > 0, "a paused reader must be lapped here");
    }
    let mut tally = Tally::default();
    loop {
        match inside.try_recv() {
            Ok(event) => tally.event(&event),
            Err(TryRecvError::Lagged(missed)) => tally.lost += missed,
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Closed) => unreachable!("the bus is there"),
        }
    }
    assert_eq!(tally.read + tally.lost, published);
}

/// Follows a region of this process.
fn all_events(region: &Region) -> Vec<TelemetryEvent> {
    let bytes = std::fs::read(region.path().unwrap()).unwrap();
    let memory = ReaderMemory::copied(&bytes);
    let reader = RegionReader::open(memory.words()).unwrap();
    let mut follower = Follower::from_first(&reader);
    let look = follower.last_batch(&reader);
    assert_eq!(look.losses, [], "the rings are large enough for all");
    look.events.into_iter().map(|event| event.event).collect()
}

#[test]
fn replaying_all_events_gives_the_live_set_and_no_stop_comes_before_its_spawn() {
    let storms = atomscope_tests::storms::all();
    for storm in storms {
        let mut kept = None;
        let outcome = atomscope_tests::storms::run(storm, 4, 3_000, "replay", |system| {
            let region = Region::builder("events-replay").actors(20_000).events(200_000).build().unwrap();
            let telemetry = TelemetryExtension::with_region(region).install(system);
            let registry = telemetry.actors.clone();
            kept = Some(telemetry);
            registry
        });
        let telemetry = kept.unwrap();
        // When no early stop waits any more, the sampler has published all of them.
        let are_published = || {
            let dump = dump(&telemetry);
            dump["atomscope"]["waiting_stops"] == 0
                && metric(&dump, "actors.early_stops") == metric(&dump, "actors.early_stops_done")
        };
        wait_until("all early stops are published", are_published);
        let mut live: BTreeMap<String, i64> = BTreeMap::new();
        for event in all_events(telemetry.region()) {
            match event {
                TelemetryEvent::ActorSpawned(actor) => *live.entry(actor.path).or_default() += 1,
                TelemetryEvent::ActorStopped { path } => {
                    let sum = live.entry(path.clone()).or_default();
                    *sum -= 1;
                    assert!(*sum >= 0, "{}: {path} stopped before it was spawned", storm.name);
                }
                _ => {}
            }
        }
        let live: BTreeSet<String> =
            live.into_iter().filter(|(_, sum)| *sum > 0).map(|(path, _)| path).collect();
        assert_eq!(live, outcome.truth.live, "{}", storm.name);
    }
}

#[tokio::test]
async fn a_receiver_gets_what_was_published_since_it_subscribed_and_learns_that_the_bus_is_gone() {
    let bus = TelemetryBus::new(64);
    bus.publish(key(0, 0));
    let mut receiver = bus.subscribe();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    bus.publish(key(0, 1));
    assert_eq!(receiver.recv().await, Ok(key(0, 1)));
    let publisher = bus.clone();
    let waiting = tokio::spawn(async move { (receiver.recv().await, receiver.recv().await) });
    tokio::task::yield_now().await;
    publisher.publish(key(0, 2));
    drop((bus, publisher));
    assert_eq!(waiting.await.unwrap(), (Ok(key(0, 2)), Err(RecvError::Closed)));
}

#[tokio::test]
async fn a_receiver_that_is_too_slow_learns_how_many_it_missed_and_goes_on() {
    let bus = TelemetryBus::new(16);
    let mut receiver = bus.subscribe();
    let capacity = 16;
    for number in 0..100 {
        bus.publish(key(0, number));
    }
    let mut read = 0;
    let mut missed = 0;
    loop {
        match receiver.try_recv() {
            Ok(_) => read += 1,
            Err(TryRecvError::Lagged(some)) => missed += some,
            Err(_) => break,
        }
    }
    // This thread may have moved from the shared lane to its own in between.
    assert!((capacity..=2 * capacity).contains(&read), "{read}");
    assert_eq!(read + missed, 100);
}

#[tokio::test]
async fn a_topics_receiver_gets_that_topic_alone() {
    let bus = TelemetryBus::new(64);
    let mut receiver = bus.subscribe_topic("ddata");
    bus.publish(TelemetryEvent::ActorStopped { path: "/x".into() });
    bus.publish(key(1, 1));
    bus.publish(key(1, 2));
    assert_eq!(receiver.recv().await, Some(key(1, 1)));
    assert_eq!(receiver.recv().await, Some(key(1, 2)));
    drop(bus);
    assert_eq!(receiver.recv().await, None);
}

#[tokio::test]
async fn events_of_the_application_reach_the_receivers_of_their_topic() {
    let region = Region::builder("own-events").actors(64).private().build().unwrap();
    let telemetry = TelemetryExtension::with_region(region.clone());
    let mut orders = telemetry.bus.subscribe_topic("orders");
    region.events("payments").unwrap().publish(Level::Info, "7 is paid");
    region.events("orders").unwrap().publish(Level::Error, "7 is lost");
    let (record, values) = (None, Values::default());
    let (topic, text) = ("orders".to_owned(), "7 is lost".to_owned());
    let by_hand = OwnEvent { topic, level: Level::Error, text, record, values };
    let by_hand = TelemetryEvent::Own(by_hand);
    assert_eq!(orders.recv().await, Some(by_hand.clone()));
    telemetry.bus.publish(by_hand.clone());
    assert_eq!(orders.recv().await, Some(by_hand));
}

#[test]
fn receivers_are_counted() {
    let bus = TelemetryBus::new(16);
    assert_eq!(bus.receiver_count(), 0);
    let (first, second) = (bus.subscribe(), bus.clone().subscribe());
    assert_eq!(bus.receiver_count(), 2);
    drop(first);
    let third = second.resubscribe();
    assert_eq!(bus.receiver_count(), 2);
    drop((second, third));
    assert_eq!(bus.receiver_count(), 0);
}

#[test]
fn every_kind_of_event_comes_back_as_it_was_published() {
    use atomscope_probe::dto::{
        ActorStatus, ClusterMemberInfo, ClusterMembershipDiff, DeadLetterRecord, JournalWriteInfo,
        RemoteAssociationInfo, ShardingEvent,
    };
    let member = |number: u32| ClusterMemberInfo {
        address: format!("akka.tcp://s@h:{number}"),
        status: "Up".into(),
        roles: (0..number).map(|role| format!("role-{role}")).collect(),
        reachable: number.is_multiple_of(2),
        up_number: number as i32 - 1,
    };
    let text = |text: &str| text.to_owned();
    let empty = ClusterMembershipDiff {
        added: vec![],
        updated: vec![],
        removed: vec![],
        became_unreachable: vec![],
        became_reachable: vec![],
    };
    let events = [
        TelemetryEvent::ActorSpawned(ActorStatus {
            path: text("/user/ä"),
            parent: Some(text("/user")),
            actor_type: text("T"),
            mailbox_depth: 3,
            spawned_at: text("now"),
            host: Some(text("h")),
        }),
        TelemetryEvent::ActorSpawned(ActorStatus {
            path: text("x"),
            parent: Some(text("elsewhere")),
            actor_type: text("T2"),
            mailbox_depth: 0,
            spawned_at: text(""),
            host: None,
        }),
        TelemetryEvent::ActorStopped { path: text("/user/ä") },
        TelemetryEvent::MailboxSampled { path: text("/m"), depth: u64::MAX },
        TelemetryEvent::DeadLetter(DeadLetterRecord {
            seq: 7,
            recipient: text("/r"),
            sender: None,
            message_type: text("M"),
            message_preview: text("p"),
            timestamp: text("then"),
        }),
        TelemetryEvent::ClusterChanged(ClusterMembershipDiff {
            added: (0..5).map(member).collect(),
            updated: vec![member(9)],
            removed: vec![text("a"), text("b")],
            became_unreachable: vec![text("c")],
            became_reachable: vec![],
        }),
        TelemetryEvent::ClusterChanged(empty),
        TelemetryEvent::ShardingChanged(ShardingEvent {
            region_id: text("r"),
            shard_id: text("s"),
            event: text("e"),
        }),
        TelemetryEvent::JournalWrite(JournalWriteInfo {
            journal: text("j"),
            persistence_id: text("p"),
            sequence_nr: 4,
            timestamp: text("t"),
        }),
        TelemetryEvent::RemoteAssociation(RemoteAssociationInfo {
            remote_address: text("a"),
            state: text("s"),
            inbound_bytes: 1,
            outbound_bytes: 2,
        }),
        TelemetryEvent::StreamsGraphStarted { id: 5, name: text("g") },
        TelemetryEvent::StreamsGraphFinished { id: 5 },
        TelemetryEvent::DDataUpdated { key: text("k") },
    ];
    let bus = TelemetryBus::new(64);
    let mut receiver = bus.subscribe();
    for event in &events {
        bus.publish(event.clone());
        assert_eq!(receiver.try_recv().as_ref(), Ok(event));
        let json = serde_json::to_value(event).unwrap();
        let theirs: atomr_telemetry::bus::TelemetryEvent = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&theirs).unwrap(), json);
        assert_eq!(theirs.topic(), event.topic());
    }
    let theirs = atomr_telemetry::bus::TelemetryEvent::ALL_TOPICS;
    assert_eq!(TelemetryEvent::ALL_TOPICS.strip_prefix(theirs), Some(["failures", "runtime"].as_slice()));
}

struct Recording(Mutex<Vec<TelemetryEvent>>);

impl Exporter for Recording {
    fn on_event(&self, event: &TelemetryEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[test]
fn an_event_of_many_parts_is_whole_whenever_its_thread_gets_a_lane() {
    use atomscope_probe::dto::ClusterMembershipDiff;

    let bus = TelemetryBus::new(4096);
    let mut receiver = bus.subscribe();
    let address = |at: usize| format!("akka://S@10.0.0.{at}:2552");
    let change = TelemetryEvent::ClusterChanged(ClusterMembershipDiff {
        added: Vec::new(),
        updated: Vec::new(),
        removed: (0..7).map(address).collect(),
        became_unreachable: Vec::new(),
        became_reachable: Vec::new(),
    });
    // A thread that has published little shares a lane with others, and later gets its own.
    let publishing = bus.clone();
    let published = change.clone();
    std::thread::spawn(move || (0..40).for_each(|_| publishing.publish(published.clone()))).join().unwrap();
    for number in 0..40 {
        assert_eq!(receiver.try_recv(), Ok(change.clone()), "event {number}");
    }
}

#[test]
fn exporters_that_block_or_panic_harm_neither_the_node_nor_each_other() {
    struct Panicking(AtomicU64);
    impl Exporter for Panicking {
        fn on_event(&self, _: &TelemetryEvent) {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::panic::resume_unwind(Box::new("an exporter's panic"));
        }
    }
    struct Blocking(AtomicBool);
    impl Exporter for Blocking {
        fn on_event(&self, _: &TelemetryEvent) {
            self.0.store(true, Ordering::Relaxed);
            loop {
                std::thread::park();
            }
        }
    }
    let telemetry = TelemetryExtension::new("events-exporters", 64);
    let recording = Arc::new(Recording(Mutex::default()));
    let panicking = Arc::new(Panicking(AtomicU64::new(0)));
    let blocking = Arc::new(Blocking(AtomicBool::new(false)));
    telemetry.add_exporter(blocking.clone());
    telemetry.add_exporter(panicking.clone());
    telemetry.add_exporter(recording.clone());
    let user = ActorPath::root(Address::local("exported")).child("user");
    for number in 0..500 {
        telemetry.actors.on_spawn(&user.child(format!("a{number}")), Some(&user), "Exported");
    }
    wait_until("all is exported", || recording.0.lock().unwrap().len() == 500);
    wait_until("the others have received it", || {
        panicking.0.load(Ordering::Relaxed) == 500 && blocking.0.load(Ordering::Relaxed)
    });
    let exported = recording.0.lock().unwrap();
    assert!(matches!(&exported[0], TelemetryEvent::ActorSpawned(actor) if actor.path.ends_with("/user/a0")));
}

#[test]
fn texts_that_are_too_long_are_cut_visibly_and_counted() {
    let telemetry = TelemetryExtension::new("events-cut", 64);
    let mut receiver = telemetry.bus.subscribe();
    telemetry.bus.publish(TelemetryEvent::DDataUpdated { key: "k".repeat(10_000) });
    let Ok(TelemetryEvent::DDataUpdated { key }) = receiver.try_recv() else { panic!("no such event") };
    assert!(key.ends_with("k…") && key.len() <= 192, "{key}");
    telemetry.dead_letters.record("r".repeat(500), None, "T".into(), "p".repeat(10_000));
    let Ok(TelemetryEvent::DeadLetter(letter)) = receiver.try_recv() else { panic!("no such event") };
    assert!(letter.recipient.contains("r…#") && letter.message_preview.ends_with('…'), "{letter:?}");
    assert!(metric(&dump(&telemetry), "texts.cut") >= 2);
}

#[test]
fn an_event_capacity_beyond_16_mib_is_clamped_with_a_warning() {
    if support::role().is_some() {
        let telemetry = TelemetryExtension::new("events-clamp", usize::MAX);
        assert!(telemetry.region().bytes() <= 16 << 20);
        return;
    }
    let mut command: Command =
        support::again("an_event_capacity_beyond_16_mib_is_clamped_with_a_warning", "clamp");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("16 MiB"), "{output:?}");
}
