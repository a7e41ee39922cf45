//! Recording makes no allocation and no system call after a thread's first use of the probe.
#![allow(
    unsafe_code,
    reason = "a counting allocator, and an exit of the process that makes no other system call"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Waker};

#[cfg(feature = "quorum")]
use atomr_cluster::QuorumObserver;
use atomr_cluster::{DowningStrategy, GossipPdu, GossipTransport, NoSbr, VectorClock};
use atomr_cluster_sharding::MessageExtractor;
use atomr_coordination::Lease;
use atomr_core::actor::{ActorPath, Address, DeadLetterObserver, SpawnObserver};
use atomr_persistence::{Journal, PersistentRepr, SnapshotMetadata, SnapshotStore};
use atomscope_probe::bus::TelemetryEvent;
use atomscope_probe::cluster::ProbedDowning;
use atomscope_probe::exporters::Exporter;
use atomscope_probe::sharding::{EntityHandler, Forwarder, ProbedExtractor};
use atomscope_probe::{
    Counter, Events, Gauge, Level, RecordEvents, Region, SharedRecord, TelemetryExtension, ThreadHooks,
    TracingLayer,
};
use atomscope_tests::support;
use atomscope_tests::support::dumps::dump_of;
use atomscope_tests::support::stubs::Stub;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// Counts the allocations of threads that turned the count on.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The tests that count share one counter, so they take turns.
static COUNTING: Mutex<()> = Mutex::new(());

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it came, and its answer is passed back; what is done
// beside that neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: the caller keeps `realloc`'s contract, and `start` came from the system's allocator.
        unsafe { System.realloc(start, layout, bytes) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `start` came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

const THREADS: usize = 4;
/// The number of spawns and stops, of dead letters, and of counter additions, over all threads.
const OPERATIONS: usize = 1 << 20;

atomscope_probe::record! {
    /// A state of this test.
    struct State { round: u64 "rounds", at: [f64; 20], open: bool, path: Text<12> }

    /// The values of an event.
    struct Round { round: u64 "rounds", path: Text<12> }
}

impl State {
    fn of(round: usize) -> Self {
        Self {
            round: round as u64,
            at: [round as f64; 20],
            open: round.is_multiple_of(2),
            path: "/user/parent".into(),
        }
    }
}

/// Everything that a node does on its hot paths. The arguments are made in advance.
struct Work {
    telemetry: Arc<TelemetryExtension>,
    parent: ActorPath,
    paths: Vec<ActorPath>,
    counter: Counter,
    gauge: Gauge,
    shared: SharedRecord<State>,
    events: Events,
    rounds: RecordEvents<Round>,
    sharded: Sharded,
}

/// The wrapped parts of shard regions and of a cluster.
struct Sharded {
    extractor: ProbedExtractor<Mute>,
    /// Extracts messages of a shard that has no slot.
    unlisted: ProbedExtractor<Mute>,
    handler: EntityHandler<usize>,
    forwarder: Forwarder<usize>,
    downing: ProbedDowning<NoSbr>,
    gossip: Arc<dyn GossipTransport>,
    #[cfg(feature = "quorum")]
    quorum: Arc<dyn QuorumObserver>,
    other: Address,
}

/// Its ids are empty, so it allocates nothing itself.
struct Mute;

impl MessageExtractor for Mute {
    type Message = usize;

    fn entity_id(&self, _: &usize) -> String {
        String::new()
    }

    fn shard_id(&self, _: &usize) -> String {
        String::new()
    }
}

struct Nowhere;

impl GossipTransport for Nowhere {
    fn send(&self, _: &Address, _: GossipPdu) {}
}

impl Sharded {
    fn new(telemetry: &TelemetryExtension) -> Self {
        let TelemetryExtension { sharding, cluster, .. } = telemetry;
        let handlers = sharding.wrap_handlers("r", Arc::new(|| Box::new(|_: &str, _: usize| {}) as _));
        let extractor = sharding.wrap_extractor("r", Arc::new(Mute));
        // The handler belongs to the shard of this message.
        extractor.shard_id(&0);
        let handler = handlers();
        for region in 0..200 {
            sharding.wrap_extractor(&region.to_string(), Arc::new(Mute)).shard_id(&0);
        }
        let unlisted = sharding.wrap_extractor("one too many", Arc::new(Mute));
        Self {
            handler,
            unlisted,
            forwarder: sharding.wrap_forwarder("r", Arc::new(|_: &str, _: usize| {})),
            downing: cluster.wrap_downing(NoSbr),
            gossip: cluster.wrap_transport(Arc::new(Nowhere)),
            #[cfg(feature = "quorum")]
            quorum: cluster.quorum_observer(None),
            other: Address::local("other"),
            extractor,
        }
    }

    fn once(&self, round: usize, entity: &str) {
        self.extractor.shard_id(&round);
        self.extractor.entity_id(&round);
        self.unlisted.shard_id(&round);
        (self.handler)(entity, round);
        (self.forwarder)("q", round);
        self.downing.decide(&[], &[]);
        self.gossip.send(&self.other, GossipPdu::Status { from: String::new(), version: VectorClock::new() });
        #[cfg(feature = "quorum")]
        self.quorum.on_quorum_lost();
    }
}

impl Work {
    /// `actors` is the region's capacity: with a small one, some actors find no slot.
    fn new(node: &str, actors: usize) -> Self {
        let region = Region::builder(node).actors(actors).lanes(2).dead_letters(64).build().unwrap();
        let counter = region.counter("test.operations", "operations", "What this test did");
        let gauge = region.gauge("test.level", "levels", "Where this test is");
        let shared = region.shared_record("all").unwrap();
        let (events, rounds) = (region.events("orders").unwrap(), region.events_of("rounds").unwrap());
        let parent = ActorPath::root(Address::local("cost")).child("user").child("parent");
        let deep = parent.child("with").child("some").child("depth");
        let long = parent.child("x".repeat(500));
        let paths = (0..64).flat_map(|i| {
            [parent.child(format!("a-{i}")), deep.child(format!("b-{i}")), long.child(format!("c-{i}"))]
        });
        let telemetry = TelemetryExtension::with_region(region);
        Self {
            sharded: Sharded::new(&telemetry),
            telemetry,
            paths: paths.collect(),
            parent,
            counter,
            gauge,
            shared,
            events,
            rounds,
        }
    }

    fn once(&self, round: usize) {
        let path = &self.paths[round % self.paths.len()];
        let actors = &*self.telemetry.actors;
        // Sometimes hooks come in the wrong order, and twice.
        match round % 16 {
            0 => {
                actors.on_stop(path);
                actors.on_spawn(path, Some(&self.parent), "cost::Early");
            }
            1 => {
                actors.on_spawn(path, None, "cost::Twice");
                actors.on_spawn(path, None, "cost::Twice");
                actors.on_stop(path);
                actors.on_stop(path);
            }
            _ => {
                actors.on_spawn(path, Some(&self.parent), "cost::Worker");
                actors.on_mailbox_depth(path, round as u64);
                actors.on_stop(path);
            }
        }
        self.telemetry.dead_letters.on_dead_letter(path, Some(&self.parent), "cost::Letter");
        self.telemetry.bus.publish(TelemetryEvent::StreamsGraphFinished { id: round as u64 });
        self.sharded.once(round, path.name());
        self.counter.add(1);
        self.gauge.set(round as i64);
        self.shared.publish(&State::of(round));
        self.events.publish(Level::Info, path.name());
        self.rounds.publish(Level::Info, &Round { round: round as u64, path: path.name().into() });
    }

    /// Makes all first uses: the lane, the thread-locals, every name.
    fn warm_up(&self) {
        (0..256).for_each(|round| self.once(round));
    }

    fn run(&self) {
        (0..OPERATIONS / THREADS).for_each(|round| self.once(round));
    }
}

/// Starts so many other processes that follow the region. They must not affect the threads that record.
fn follow(region: &Path, readers: usize) -> Vec<Child> {
    let tail = || {
        let mut tail = Command::new(support::program("atomscope"));
        tail.args(["tail", "--json", "--region"]).arg(region);
        tail.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    (0..readers).map(|_| tail()).collect()
}

fn ended(readers: Vec<Child>) {
    for mut reader in readers {
        assert!(reader.wait().unwrap().success(), "tail does not end with the node");
    }
}

struct Ignoring;

impl Exporter for Ignoring {
    fn on_event(&self, event: &TelemetryEvent) {
        std::hint::black_box(event);
    }
}

#[test]
fn recording_allocates_nothing() {
    let _alone = COUNTING.lock().unwrap();
    for (actors, readers) in [(16_384, 0), (16_384, 1), (16_384, 5), (16, 5)] {
        let work = Work::new("cost-allocations", actors);
        let readers = follow(work.telemetry.region().path().unwrap(), readers);
        // A subscriber allocates on its own thread; publishers do not notice it.
        work.telemetry.add_exporter(Arc::new(Ignoring));
        let ready = Barrier::new(THREADS);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    work.warm_up();
                    ready.wait();
                    WATCHED.set(true);
                    work.run();
                    WATCHED.set(false);
                });
            }
        });
        assert_eq!(
            ALLOCATIONS.load(Ordering::Relaxed) - before,
            0,
            "allocations with room for {actors} actors"
        );
        assert!(work.telemetry.actors.total_spawned() >= OPERATIONS as u64);
        assert!(work.telemetry.dead_letters.total_count() >= OPERATIONS as u64);
        work.telemetry.region().close();
        ended(readers);
    }
}

#[test]
fn a_known_metric_of_the_facade_is_counted_without_an_allocation() {
    let _alone = COUNTING.lock().unwrap();
    let region = Region::builder("cost-facade").private().build().unwrap();
    let recorder = region.recorder();
    let seen = region.counter_family("docs.kept", "docs", "", ["shard"]);
    let kept = seen.with(["0"]);
    let count = || {
        for _ in 0..1000 {
            metrics::counter!("docs.seen", "shard" => "0").increment(1);
            metrics::gauge!("docs.open").increment(1.0);
            metrics::histogram!("docs.time", "unit" => "s").record(0.5);
            seen.with(["0"]).inc();
        }
    };
    metrics::with_local_recorder(&recorder, || {
        count();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        WATCHED.set(true);
        count();
        WATCHED.set(false);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    });
    drop(kept);
}

#[test]
fn counting_spans_and_events_of_tracing_allocates_nothing() {
    let _alone = COUNTING.lock().unwrap();
    let region = Region::builder("cost-tracing").private().build().unwrap();
    let layer = TracingLayer::new(&region).with_filter(LevelFilter::INFO);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let once = |round: usize| {
            let _span = tracing::info_span!(target: "cost", "round").entered();
            tracing::info!(target: "cost", round, "an event");
            tracing::debug!(target: "cost", round, "a level that is filtered out");
        };
        (0..64).for_each(once);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        WATCHED.set(true);
        (0..1000).for_each(once);
        WATCHED.set(false);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    });
}

#[test]
fn the_allocation_counter_counts() {
    let _alone = COUNTING.lock().unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    WATCHED.set(true);
    drop(std::hint::black_box(Box::new(5)));
    WATCHED.set(false);
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before);
}

/// Ends the process with the only system call that its threads may make.
fn end_process() -> ! {
    // SAFETY: no memory is touched; the process ends.
    unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    unreachable!("exit_group does not return")
}

/// From here on, every system call of this thread except `exit_group` and these kills the process.
fn forbid_system_calls_but(allowed: &[i64]) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let filter = SeccompFilter::new(
        [libc::SYS_exit_group].iter().chain(allowed).map(|call| (*call, vec![])).collect(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

fn without_system_calls(first: impl Fn() + Sync, then: impl Fn() + Sync) -> ! {
    let done = AtomicUsize::new(0);
    let ready = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                first();
                ready.wait();
                forbid_system_calls_but(&[]);
                then();
                // A thread that returns makes system calls, so the threads wait and the last one ends the process.
                if done.fetch_add(1, Ordering::AcqRel) + 1 == THREADS {
                    end_process();
                }
                loop {
                    std::hint::spin_loop();
                }
            });
        }
    });
    unreachable!("the last thread ended the process")
}

#[test]
fn recording_makes_no_system_call() {
    if let Some(go) = support::role() {
        let work = Work::new("cost-system-calls", 16_384);
        work.telemetry.add_exporter(Arc::new(Ignoring));
        println!("ready region={}", work.telemetry.region().path().unwrap().display());
        support::wait_until("the readers are there", || Path::new(&go).exists());
        without_system_calls(|| work.warm_up(), || work.run());
    }
    [0, 1, 5].into_iter().for_each(recording_beside_readers_makes_no_system_call);
}

fn recording_beside_readers_makes_no_system_call(readers: usize) {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let go_text = go.to_str().unwrap();
    let mut child = support::Node::start(&mut support::again("recording_makes_no_system_call", go_text));
    let readers = follow(child.region(), readers);
    std::fs::write(&go, "").unwrap();
    let status = child.wait();
    ended(readers);
    assert!(status.success(), "a system call on a hot path killed the process: {status}");
    // The process did not close its region, so the counts of the threads are still there.
    let dump = dump_of(child.region());
    let metric = |name: &str| {
        let metrics = dump["atomscope"]["metrics"].as_array().unwrap();
        metrics.iter().find(|metric| metric["name"] == name).unwrap()["value"].as_u64().unwrap()
    };
    let rounds = (THREADS * (OPERATIONS / THREADS + 256)) as u64;
    assert_eq!(metric("test.operations"), rounds);
    assert_eq!(dump["atomscope"]["dead_letters"]["total"], rounds);
    assert!(metric("actors.spawned") > rounds);
    assert_eq!(metric("sharding.messages"), rounds);
    assert!(metric("sharding.unlisted_shards") > rounds);
}

#[test]
fn the_system_call_filter_kills() {
    if support::role().is_some() {
        without_system_calls(|| {}, || drop(std::fs::metadata("/")));
    }
    let ended = support::again("the_system_call_filter_kills", "work").output().unwrap();
    assert!(!ended.status.success());
}

#[test]
fn a_worker_that_waits_for_work_makes_no_system_call_for_the_probe() {
    const PARKS: usize = 1000;
    if support::role().is_some() {
        let telemetry = TelemetryExtension::new("cost-parks", 64);
        println!("ready region={}", telemetry.region().path().unwrap().display());
        let parks = Arc::new(AtomicUsize::new(0));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let counted = parks.clone();
        telemetry.watch_runtime(ThreadHooks::of(&mut builder).on_thread_park(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let mut polls = 0;
        builder.build().unwrap().block_on(std::future::poll_fn(|context| {
            polls += 1;
            match polls {
                1 => {
                    let waker = context.waker().clone();
                    std::thread::spawn(move || {
                        loop {
                            waker.wake_by_ref();
                            std::thread::sleep(std::time::Duration::from_micros(50));
                        }
                    });
                }
                // tokio itself waits with a futex.
                10 => forbid_system_calls_but(&[libc::SYS_futex]),
                _ if parks.load(Ordering::Relaxed) >= PARKS => end_process(),
                _ => {}
            }
            std::task::Poll::<()>::Pending
        }));
    }
    let name = "a_worker_that_waits_for_work_makes_no_system_call_for_the_probe";
    let mut child = support::Node::start(&mut support::again(name, "park"));
    let status = child.wait();
    assert!(status.success(), "a system call in a hook killed the process: {status}");
    let threads = dump_of(child.region())["atomscope"]["runtime_threads"].take();
    assert!(threads[0]["parks"].as_u64() >= Some(PARKS as u64 - 1), "{threads}");
}

/// Writes of persistence ids. Half of the ids have no slot.
struct Written {
    telemetry: Arc<TelemetryExtension>,
    ids: Vec<String>,
}

impl Written {
    fn new(node: &str) -> Self {
        let region = Region::builder(node).actors(16).lanes(2).instances(64).build().unwrap();
        Self {
            telemetry: TelemetryExtension::with_region(region),
            ids: (0..64).map(|id| format!("account-{id}")).collect(),
        }
    }

    fn run(&self, rounds: usize) {
        for round in 0..rounds {
            self.telemetry.persistence.record_write("cost", &self.ids[round % self.ids.len()], round as u64);
        }
    }
}

#[test]
fn recording_journal_writes_allocates_nothing() {
    let _alone = COUNTING.lock().unwrap();
    let work = Written::new("cost-journal-allocations");
    let ready = Barrier::new(THREADS);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                work.run(256);
                ready.wait();
                WATCHED.set(true);
                work.run(OPERATIONS / THREADS / 4);
                WATCHED.set(false);
            });
        }
    });
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert_eq!(work.telemetry.persistence.total_events() as usize, OPERATIONS / 4 + THREADS * 256);
}

#[test]
fn recording_journal_writes_makes_no_system_call() {
    if support::role().is_some() {
        let work = Written::new("cost-journal-system-calls");
        println!("ready region={}", work.telemetry.region().path().unwrap().display());
        without_system_calls(|| work.run(256), || work.run(OPERATIONS / THREADS / 4));
    }
    let mut child =
        support::Node::start(&mut support::again("recording_journal_writes_makes_no_system_call", "go"));
    let status = child.wait();
    assert!(status.success(), "a system call killed the process: {status}");
    let dump = dump_of(child.region());
    let journal = &dump["atomscope"]["instances"]["journals"][0];
    assert_eq!(journal["events"], OPERATIONS / 4 + THREADS * 256);
    let ids = dump["persistence"]["journals"][0]["persistence_ids"].as_array().unwrap();
    assert_eq!(ids.len(), 32);
    let listed: u64 = ids.iter().map(|id| id["event_count"].as_u64().unwrap()).sum();
    assert_eq!(json!(listed + journal["unlisted_events"].as_u64().unwrap()), journal["events"]);
}

/// The allocations of panics that are caught. Their texts and sizes differ, so that most are new failures.
fn allocations_of_panics(count: usize) -> u64 {
    let texts: Vec<String> = (0..count).map(|number| "é".repeat(number)).collect();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    WATCHED.set(true);
    for text in &texts {
        let _ = std::panic::catch_unwind(|| std::panic::panic_any(text.clone()));
    }
    WATCHED.set(false);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn noting_a_panic_allocates_nothing() {
    if support::role().is_some() {
        // The usual hook allocates to print.
        std::panic::set_hook(Box::new(|_| {}));
        allocations_of_panics(2);
        let without = allocations_of_panics(200);
        let region = |number| Region::builder(format!("cost-panics-{number}")).actors(16).build().unwrap();
        let regions: Vec<Region> = (0..3).map(region).collect();
        assert_eq!(allocations_of_panics(200), without);
        println!("ready region={}", regions[0].path().unwrap().display());
        loop {
            std::thread::park();
        }
    }
    let node = support::Node::start(&mut support::again("noting_a_panic_allocates_nothing", "go"));
    let dump = dump_of(node.region());
    assert_eq!(dump["atomscope"]["panic_totals"]["total"], 200);
    assert_eq!(dump["atomscope"]["failures"].as_array().unwrap().len(), 64);
}

/// Counts the allocations of making a future and polling it once; it must be ready then.
fn allocations<T>(call: impl AsyncFnOnce() -> T) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut context = Context::from_waker(Waker::noop());
    WATCHED.set(true);
    let done = pin!(call()).poll(&mut context).is_ready();
    WATCHED.set(false);
    assert!(done);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_wrapper_adds_one_allocation_to_a_call_whose_end_it_sees_and_none_to_others() {
    let _alone = COUNTING.lock().unwrap();
    let telemetry = TelemetryExtension::new("cost-wrappers", 64);
    let journal = telemetry.persistence.wrap_journal("cost", Arc::new(Stub::Idle));
    let store = telemetry.persistence.wrap_snapshot_store(Arc::new(Stub::Idle));
    let lease = telemetry.leases.wrap("cost", Arc::new(Stub::Idle));
    let events = |ids: &[&str]| -> Vec<_> {
        let event = |id: &&str| PersistentRepr { persistence_id: (*id).into(), ..PersistentRepr::default() };
        ids.iter()
            .map(event)
            .enumerate()
            .map(|(at, event)| PersistentRepr { sequence_nr: at as u64, ..event })
            .collect()
    };
    let meta = SnapshotMetadata { persistence_id: "a".into(), sequence_nr: 1, timestamp: 0 };
    // In the second round all names are known.
    for time in 0..2 {
        let one = events(&["a"; 9]);
        let many = events(&["a", "b", "c"]);
        let meta = meta.clone();
        let counted = [
            allocations(async || journal.write_messages(one).await.unwrap()),
            allocations(async || journal.replay_messages("a", 0, 1, 2).await.unwrap()),
            allocations(async || journal.delete_messages_to("a", 0).await.unwrap()),
            allocations(async || journal.highest_sequence_nr("a", 0).await.unwrap()),
            allocations(async || store.save(meta, Vec::new()).await),
            allocations(async || store.load("a").await),
            allocations(async || store.delete("a", 0).await),
            allocations(async || lease.acquire("a").await.unwrap()),
            allocations(async || lease.check_lease().await),
            allocations(async || journal.write_messages(many).await.unwrap()),
        ];
        // One allocation of each call belongs to the component.
        if time > 0 {
            assert_eq!(counted, [2, 2, 2, 1, 2, 2, 1, 2, 2, 3]);
        }
    }
}

/// What counting a message costs. atomr has interceptors since 0.10.
#[cfg(feature = "instruments")]
mod messages {
    use async_trait::async_trait;
    use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context as ActorContext, Metadata, Props};
    use atomr_core::prelude::Config;
    use atomscope_layout::decode::RegionReader;
    use atomscope_layout::view::ReaderMemory;
    use tokio::runtime::Runtime;
    use tokio::sync::oneshot;

    use super::*;

    /// An actor that does nothing, or awaits once.
    struct Idle;

    enum Request {
        Nothing,
        Await,
        Answer(oneshot::Sender<()>),
    }

    #[async_trait]
    impl Actor for Idle {
        type Msg = Request;

        async fn handle(&mut self, _: &mut ActorContext<Self>, request: Request) {
            match request {
                Request::Nothing => {}
                Request::Await => tokio::task::yield_now().await,
                Request::Answer(answer) => drop(answer.send(())),
            }
        }
    }

    fn single_threaded() -> Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    /// The allocations of so many messages, from sending them to the end of the last one.
    fn allocations_of_messages(runtime: &Runtime, actor: &ActorRef<Request>, count: usize) -> u64 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        WATCHED.set(true);
        runtime.block_on(async {
            for number in 0..count {
                actor.tell(if number % 3 == 0 { Request::Await } else { Request::Nothing });
            }
            let (answer, is_done) = oneshot::channel();
            actor.tell(Request::Answer(answer));
            is_done.await.unwrap();
        });
        WATCHED.set(false);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    }

    #[test]
    fn a_counted_message_allocates_as_often_as_a_plain_one() {
        const MESSAGES: usize = 10_000;
        let _alone = COUNTING.lock().unwrap();
        let runtime = single_threaded();
        let system = runtime.block_on(ActorSystem::create("cost-messages", Config::empty())).unwrap();
        let region = Region::builder("cost-messages").actors(64).private().build().unwrap();
        let _guard = runtime.enter();
        let telemetry = TelemetryExtension::with_region(region).install(&system);
        let plain = system.actor_of(Props::create(|| Idle), "plain").unwrap();
        let counted = telemetry.actors.spawn(&system, Props::create(|| Idle), "counted").unwrap();
        let instrumented = telemetry.actors.instrument(Props::create(|| Idle));
        let instrumented = system.actor_of(instrumented, "instrumented").unwrap();
        let sides = [&plain, &counted, &instrumented];
        for actor in sides {
            allocations_of_messages(&runtime, actor, MESSAGES);
        }
        let [plain, others @ ..] = sides.map(|actor| allocations_of_messages(&runtime, actor, MESSAGES));
        // The queue allocates a block for many messages, and may have kept one.
        for other in others {
            assert!(plain >= MESSAGES as u64 && other <= plain + 2, "{plain} {other}");
        }
    }

    /// In the task of an instrumented actor: begins and ends so many handlers, as atomr does.
    fn handle(props: &Props<Idle>, count: usize) {
        let (interceptor, metadata) = (props.interceptor.as_ref().unwrap(), Metadata::new());
        (0..count).for_each(|_| drop(interceptor.before_handle(&metadata)));
    }

    #[test]
    fn counting_a_message_makes_no_system_call() {
        if support::role().is_some() {
            let region = Region::builder("cost-message-calls").actors(64).build().unwrap();
            println!("ready region={}", region.path().unwrap().display());
            let telemetry = TelemetryExtension::with_region(region);
            thread_local! {
                static RUNTIME: Runtime = single_threaded();
            }
            let in_a_task = |forbidden: bool| {
                let props = telemetry.actors.instrument(Props::create(|| Idle));
                RUNTIME.with(|runtime| {
                    let handled = runtime.block_on(runtime.spawn(async move {
                        props.new_actor();
                        handle(&props, 1024);
                        if forbidden {
                            forbid_system_calls_but(&[]);
                            handle(&props, OPERATIONS / THREADS);
                            // The task never ends: its runtime makes system calls.
                            ENDED.fetch_add(1, Ordering::AcqRel);
                            while ENDED.load(Ordering::Acquire) < THREADS {
                                std::hint::spin_loop();
                            }
                            end_process();
                        }
                    }));
                    handled.unwrap();
                });
            };
            static ENDED: AtomicUsize = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                (0..THREADS).for_each(|_| {
                    scope.spawn(|| in_a_task(true));
                });
            });
            unreachable!("the last thread ended the process");
        }
        let mut child = support::Node::start(&mut support::again(
            "messages::counting_a_message_makes_no_system_call",
            "go",
        ));
        let status = child.wait();
        assert!(status.success(), "a system call killed the process: {status}");
        let copy = ReaderMemory::copied(&std::fs::read(child.region()).unwrap());
        let instruments = RegionReader::open(copy.words()).unwrap().instruments();
        assert_eq!(instruments.classes[0].handled as usize, OPERATIONS + THREADS * 1024);
        assert!(instruments.classes[0].handle_time.count > 0);
    }
}
