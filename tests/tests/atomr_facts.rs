//! The behaviour of atomr that the probe relies on. A test that fails here after an upgrade of atomr names the fact
//! that changed. (The storms show that hooks come out of order, and fail if that never happens.)

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atomr_coordination::{InMemoryLease, Lease, LeaseError};
use atomr_core::actor::{
    Actor, ActorPath, ActorRef, ActorSystem, Address, Context, DeadLetterObserver, Props, SpawnObserver,
};
use atomr_core::prelude::Config;
use atomr_persistence::{
    InMemoryJournal, InMemorySnapshotStore, Journal, JournalError, PersistentRepr, RecoveryPermitter,
    SnapshotMetadata, SnapshotStore,
};
use tokio::sync::oneshot;

/// Records every hook.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, line: &str) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !self.lines().iter().any(|noted| noted == line) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("`{line}` never came: {:?}", self.lines()));
    }
}

impl SpawnObserver for Log {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        assert_eq!((path.uid, parent.map_or(0, |parent| parent.uid)), (0, 0), "uids are never set");
        assert_eq!(parent.map(ToString::to_string), path.parent().map(|parent| parent.to_string()));
        let short = actor_type.rsplit("::").next().unwrap();
        self.note(format!("spawn {path} {short}"));
    }

    fn on_stop(&self, path: &ActorPath) {
        self.note(format!("stop {path}"));
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.note(format!("depth {path} {depth}"));
    }
}

impl DeadLetterObserver for Log {
    fn on_dead_letter(&self, recipient: &ActorPath, sender: Option<&ActorPath>, message_type: &'static str) {
        self.note(format!("letter {recipient} {} {message_type}", sender.is_some()));
    }
}

enum Message {
    Nothing,
    Spawn(&'static str, oneshot::Sender<ActorRef<Message>>),
    Panic,
    Wait(oneshot::Receiver<()>),
}

#[derive(Default)]
struct Plain {
    fails_to_start: bool,
}

#[async_trait]
impl Actor for Plain {
    type Msg = Message;

    async fn pre_start(&mut self, _: &mut Context<Self>) {
        if self.fails_to_start {
            std::panic::resume_unwind(Box::new("cannot start"));
        }
    }

    async fn handle(&mut self, ctx: &mut Context<Self>, message: Message) {
        match message {
            Message::Nothing => {}
            Message::Spawn(name, answer) => {
                let child = ctx.spawn(Props::create(Plain::default), name).unwrap();
                let _ = answer.send(child);
            }
            Message::Panic => std::panic::resume_unwind(Box::new("on request")),
            Message::Wait(until) => drop(until.await),
        }
    }
}

async fn system() -> (ActorSystem, Arc<Log>) {
    let system = ActorSystem::create("facts", Config::empty()).await.unwrap();
    let log = Arc::new(Log::default());
    system.set_spawn_observer(log.clone());
    system.set_dead_letter_observer(log.clone());
    (system, log)
}

fn plain(system: &ActorSystem, name: &str) -> ActorRef<Message> {
    system.actor_of(Props::create(Plain::default), name).unwrap()
}

#[tokio::test]
async fn hooks_give_the_whole_path_the_parents_path_and_the_types_name() {
    let (system, log) = system().await;
    let parent = plain(&system, "p");
    let (answer, child) = oneshot::channel();
    parent.tell(Message::Spawn("c", answer));
    child.await.unwrap().stop();
    log.until("stop akka://facts/user/p/c").await;
    let lines = log.lines();
    assert!(lines.contains(&"spawn akka://facts/user/p Plain".to_owned()), "{lines:?}");
    assert!(lines.contains(&"spawn akka://facts/user/p/c Plain".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_system_has_one_spawn_observer_and_the_last_one_set_is_it() {
    let (system, first) = system().await;
    let second = Arc::new(Log::default());
    system.set_spawn_observer(second.clone());
    plain(&system, "a");
    assert!(first.lines().is_empty());
    assert_eq!(second.lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_level_spawn_hook_holds_up_every_other_top_level_spawn() {
    struct Slow(AtomicBool, AtomicBool);
    impl SpawnObserver for Slow {
        fn on_spawn(&self, path: &ActorPath, _: Option<&ActorPath>, _: &'static str) {
            if path.name() == "slow" {
                self.0.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(100));
                assert!(!self.1.load(Ordering::SeqCst), "another spawn got past");
            } else {
                self.1.store(true, Ordering::SeqCst);
            }
        }
        fn on_stop(&self, _: &ActorPath) {}
    }
    let (system, _) = system().await;
    let slow = Arc::new(Slow(AtomicBool::new(false), AtomicBool::new(false)));
    system.set_spawn_observer(slow.clone());
    let other = system.clone();
    let first = tokio::task::spawn_blocking(move || {
        // Within the runtime, because an actor's task is started here.
        plain(&other, "slow");
    });
    while !slow.0.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let other = system.clone();
    tokio::task::spawn_blocking(move || drop(plain(&other, "quick"))).await.unwrap();
    first.await.unwrap();
    assert!(slow.1.load(Ordering::SeqCst));
}

#[tokio::test]
async fn no_stop_is_told_of_an_actor_that_panics_before_it_has_started() {
    let (system, log) = system().await;
    let failing = system.actor_of(Props::create(|| Plain { fails_to_start: true }), "failing").unwrap();
    while !failing.is_terminated() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let after = plain(&system, "after");
    after.stop();
    log.until("stop akka://facts/user/after").await;
    assert!(!log.lines().contains(&"stop akka://facts/user/failing".to_owned()));
}

#[tokio::test]
async fn an_actor_that_panics_in_a_handler_is_restarted_without_a_hook() {
    let (system, log) = system().await;
    let actor = plain(&system, "restarted");
    actor.tell(Message::Panic);
    let (answer, child) = oneshot::channel();
    actor.tell(Message::Spawn("after", answer));
    child.await.unwrap();
    let of_it = |line: &&String| line.contains("/restarted ") || line.ends_with("/restarted");
    assert_eq!(log.lines().iter().filter(of_it).count(), 1, "{:?}", log.lines());
}

#[tokio::test]
async fn a_dead_letter_is_told_for_a_stopped_actor_without_its_sender() {
    let (system, log) = system().await;
    let gone = plain(&system, "gone");
    gone.stop();
    while !gone.is_terminated() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gone.tell(Message::Nothing);
    let lines = log.lines();
    let letters: Vec<_> = lines.iter().filter(|line| line.starts_with("letter")).collect();
    assert_eq!(letters.len(), 1, "{lines:?}");
    assert!(letters[0].starts_with("letter akka://facts/user/gone false atomr_facts::"), "{letters:?}");
}

#[tokio::test]
async fn messages_that_wait_when_an_actor_stops_are_lost_without_a_word() {
    let (system, log) = system().await;
    let actor = plain(&system, "busy");
    let (go, wait) = oneshot::channel();
    actor.tell(Message::Wait(wait));
    for _ in 0..10 {
        actor.tell(Message::Nothing);
    }
    actor.stop();
    go.send(()).unwrap();
    log.until("stop akka://facts/user/busy").await;
    assert!(!log.lines().iter().any(|line| line.starts_with("letter")), "{:?}", log.lines());
}

#[tokio::test]
async fn nobody_calls_the_mailbox_depth_hook() {
    let (system, log) = system().await;
    let actor = plain(&system, "deep");
    let (go, wait) = oneshot::channel();
    actor.tell(Message::Wait(wait));
    (0..1000).for_each(|_| actor.tell(Message::Nothing));
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    actor.stop();
    log.until("stop akka://facts/user/deep").await;
    assert!(!log.lines().iter().any(|line| line.starts_with("depth")));
}

#[tokio::test]
async fn actors_do_not_keep_their_system_alive_so_that_its_observers_end_with_it() {
    static DROPPED: AtomicU64 = AtomicU64::new(0);
    struct Dropped;
    impl SpawnObserver for Dropped {
        fn on_spawn(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {}
        fn on_stop(&self, _: &ActorPath) {}
    }
    impl Drop for Dropped {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (system, _) = system().await;
    system.set_spawn_observer(Arc::new(Dropped));
    let actor = plain(&system, "outlives");
    drop(system);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 1);
    drop(actor);
}

/// Counts its drop, and records whether the system's extensions still had their token then.
struct Leaving {
    token: std::sync::Weak<()>,
    left: Arc<Mutex<Vec<(&'static str, bool)>>>,
    name: &'static str,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.left.lock().unwrap().push((self.name, self.token.strong_count() > 0));
    }
}

impl SpawnObserver for Leaving {
    fn on_spawn(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {}
    fn on_stop(&self, _: &ActorPath) {}
}

impl DeadLetterObserver for Leaving {
    fn on_dead_letter(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {}
}

#[tokio::test]
async fn an_observer_is_dropped_when_another_is_set_and_with_its_system_after_the_extensions() {
    struct Token(#[expect(dead_code, reason = "held")] Arc<()>);
    let system = ActorSystem::create("facts", Config::empty()).await.unwrap();
    let (token, left) = (Arc::new(()), Arc::new(Mutex::new(Vec::new())));
    let leaving = |name| Arc::new(Leaving { token: Arc::downgrade(&token), left: left.clone(), name });
    system.set_spawn_observer(leaving("first"));
    system.set_spawn_observer(leaving("spawn"));
    system.set_dead_letter_observer(leaving("letter"));
    assert_eq!(*left.lock().unwrap(), [("first", true)], "at once, while the system lives");
    system.extensions().register(Token(token));
    drop(system);
    assert_eq!(left.lock().unwrap()[1..], [("spawn", false), ("letter", false)]);
}

#[tokio::test]
async fn an_extension_takes_the_place_of_one_of_its_type_only() {
    struct One(u32);
    struct Two;
    let system = ActorSystem::create("facts", Config::empty()).await.unwrap();
    system.extensions().register(One(1));
    system.extensions().register(Two);
    assert_eq!(system.extensions().get::<One>().unwrap().0, 1);
    system.extensions().register(One(2));
    assert_eq!(system.extensions().get::<One>().unwrap().0, 2);
}

#[tokio::test]
async fn terminate_stops_all_actors_tells_each_stop_and_leaves_the_system_as_it_is() {
    let (system, log) = system().await;
    let parent = plain(&system, "p");
    let (answer, child) = oneshot::channel();
    parent.tell(Message::Spawn("c", answer));
    child.await.unwrap();
    system.terminate().await;
    log.until("stop akka://facts/user/p").await;
    log.until("stop akka://facts/user/p/c").await;
    assert_eq!(Arc::strong_count(&log), 3, "both observers stay set");
    plain(&system, "p").stop();
    log.until("spawn akka://facts/user/p Plain").await;
}

#[test]
fn of_actors_whose_runtime_is_dropped_no_stop_is_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (system, log) = runtime.block_on(async {
        let (system, log) = system().await;
        plain(&system, "unheard");
        (system, log)
    });
    drop(runtime);
    assert_eq!(log.lines(), ["spawn akka://facts/user/unheard Plain"]);
    drop(system);
}

#[tokio::test]
async fn a_stopped_childs_name_is_taken_for_its_parents_life() {
    struct Parent;
    #[async_trait]
    impl Actor for Parent {
        type Msg = oneshot::Sender<bool>;
        async fn handle(&mut self, ctx: &mut Context<Self>, answer: oneshot::Sender<bool>) {
            let _ = answer.send(ctx.spawn(Props::create(Plain::default), "c").is_ok_and(|child| {
                child.stop();
                true
            }));
        }
    }
    let (system, log) = system().await;
    let parent = system.actor_of(Props::create(|| Parent), "p").unwrap();
    let spawned = || async {
        let (answer, spawned) = oneshot::channel();
        parent.tell(answer);
        spawned.await.unwrap()
    };
    assert!(spawned().await);
    log.until("stop akka://facts/user/p/c").await;
    assert!(!spawned().await);
}

fn journal_event(sequence_nr: u64) -> PersistentRepr {
    PersistentRepr { persistence_id: "a".into(), sequence_nr, ..PersistentRepr::default() }
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_the_events_before_it_in_the_journal() {
    let journal = InMemoryJournal::new();
    let failed = journal.write_messages([1, 2, 7].map(journal_event).to_vec()).await;
    assert!(matches!(failed, Err(JournalError::SequenceOutOfOrder { expected: 3, got: 7 })));
    assert_eq!(journal.event_count("a"), 2);
}

#[tokio::test]
async fn a_snapshot_store_has_no_way_to_say_that_it_failed() {
    let store = InMemorySnapshotStore::new();
    let meta = SnapshotMetadata { persistence_id: "a".into(), sequence_nr: 1, timestamp: 0 };
    let () = store.save(meta, vec![1]).await;
    assert!(store.load("a").await.is_some());
    assert!(store.load("b").await.is_none(), "none is what there is none of, and no failure");
}

#[test]
fn a_permitter_says_how_many_recoveries_may_run_and_how_many_do() {
    let permitter = RecoveryPermitter::new(3);
    let same = permitter.clone();
    let _running = permitter.try_acquire().unwrap();
    assert_eq!((same.capacity(), same.in_flight()), (3, 1), "clones are one permitter");
}

#[tokio::test]
async fn a_lease_is_granted_again_to_its_holder_and_tells_others_who_that_is() {
    let lease = InMemoryLease::new();
    assert!(lease.acquire("a").await.unwrap());
    assert!(lease.acquire("a").await.unwrap());
    assert!(matches!(lease.acquire("b").await, Err(LeaseError::AlreadyHeld(holder)) if holder == "a"));
    assert!(matches!(lease.release("b").await, Err(LeaseError::NotHeld)));
    assert_eq!(lease.check_lease().await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_cluster_daemon_takes_no_news_of_reachability_and_so_never_asks_its_downing_strategy() {
    use atomr_cluster::{
        DaemonConfig, DowningDecision, DowningStrategy, GossipPdu, InProcessClusterTransport,
        InProcessRegistry, Member, MembershipState, SbrRuntime, VectorClock, spawn_daemon_with_sbr,
    };
    struct Recording(Arc<AtomicBool>);
    impl DowningStrategy for Recording {
        fn decide(&self, _: &[&Member], _: &[&Member]) -> DowningDecision {
            self.0.store(true, Ordering::SeqCst);
            DowningDecision::Stay
        }
    }
    let (own, other) = (Address::local("own"), Address::local("other"));
    let log_text = Arc::new(Mutex::new(Vec::new()));
    let bus = atomr_cluster::ClusterEventBus::new();
    let log = log_text.clone();
    let _listening = bus.subscribe(move |event| log.lock().unwrap().push(format!("{event:?}")));
    let was_asked = Arc::new(AtomicBool::new(false));
    let daemon = spawn_daemon_with_sbr(
        own.clone(),
        Arc::new(InProcessClusterTransport::new(own.clone(), InProcessRegistry::new())),
        bus,
        DaemonConfig { gossip_interval: Duration::from_secs(3600) },
        Some(SbrRuntime::new(Recording(was_asked.clone()), Duration::ZERO)),
    );
    let mut state = MembershipState::new();
    let mut up = Member::new(other.clone(), vec![]);
    up.status = atomr_cluster::MemberStatus::Up;
    state.add_or_update(up);
    state.reachability.unreachable(own.clone(), other.clone());
    let mut version = VectorClock::new();
    version.tick("other");
    daemon.apply_gossip(GossipPdu::Envelope { from: other.to_string(), version, state });
    (0..5).for_each(|_| daemon.tick());
    while daemon.snapshot().version.versions.get(&own.to_string()).is_none_or(|ticks| *ticks < 6) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let state = daemon.snapshot().state;
    assert_eq!((state.member_count(), state.reachability.records.len()), (1, 0));
    assert!(!was_asked.load(Ordering::SeqCst));
    // The event bus does not report a member either.
    let log_text = log_text.lock().unwrap().join("\n");
    assert!(!log_text.contains("Member"), "{log_text}");
}

#[test]
fn a_shard_region_has_each_shards_handler_made_once_within_its_first_delivery() {
    use atomr_cluster_sharding::{MessageExtractor, ShardCoordinator, ShardRegion};
    type Steps = Arc<Mutex<Vec<(&'static str, std::thread::ThreadId)>>>;
    fn step(steps: &Steps, what: &'static str) {
        steps.lock().unwrap().push((what, std::thread::current().id()));
    }
    struct Noting(Steps);
    impl MessageExtractor for Noting {
        type Message = u64;
        fn entity_id(&self, _: &u64) -> String {
            step(&self.0, "entity");
            "e".into()
        }
        fn shard_id(&self, shard: &u64) -> String {
            step(&self.0, "shard");
            shard.to_string()
        }
    }
    let steps = Steps::default();
    let noted = steps.clone();
    let handlers = Arc::new(move || {
        step(&noted, "factory");
        let noted = noted.clone();
        Box::new(move |_: &str, _: u64| step(&noted, "handler")) as _
    });
    let coordinator = Arc::new(ShardCoordinator::new());
    let region = ShardRegion::new("r", Arc::new(Noting(steps.clone())), coordinator.clone(), handlers);
    region.deliver(1);
    region.deliver(1);
    coordinator.allocate("2", "elsewhere");
    region.deliver(2);
    let steps = steps.lock().unwrap();
    let names: Vec<_> = steps.iter().map(|(what, _)| *what).collect();
    // The third message is dropped: there is no forwarder.
    let first = ["shard", "entity", "factory", "handler"];
    assert_eq!(names, [&first[..], &["shard", "entity", "handler"], &["shard", "entity"]].concat());
    assert!(steps.iter().all(|(_, thread)| *thread == std::thread::current().id()));
    // A shard that has moved stays in the list of its old region for ever.
    coordinator.rebalance("1", "elsewhere");
    assert_eq!(region.shard_ids(), ["1"]);
}

/// Records the id of the task in which `on_stop` is called.
#[derive(Default)]
struct Tasks(Mutex<Vec<(String, Option<u64>)>>);

impl SpawnObserver for Tasks {
    fn on_spawn(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {}

    fn on_stop(&self, path: &ActorPath) {
        self.0.lock().unwrap().push((path.name().to_owned(), number(tokio::task::try_id())));
    }
}

fn number(id: Option<tokio::task::Id>) -> Option<u64> {
    id.map(|id| id.to_string().parse().unwrap())
}

/// With task ids the probe distinguishes stops of actors that are older than itself from stops of newer ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_tells_its_stop_in_its_own_task_and_younger_tasks_have_greater_numbers() {
    let system = ActorSystem::create("facts", Config::empty()).await.unwrap();
    let tasks = Arc::new(Tasks::default());
    system.set_spawn_observer(tasks.clone());
    let between = || number(Some(tokio::spawn(async {}).id()));
    let first = between();
    let parent = plain(&system, "parent");
    let (answer, child) = oneshot::channel();
    parent.tell(Message::Spawn("child", answer));
    let child = child.await.unwrap();
    let second = between();
    let younger = plain(&system, "younger");
    let third = between();
    child.stop();
    younger.stop();
    parent.stop();
    let count = || tasks.0.lock().unwrap().len();
    while count() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let noted = tasks.0.lock().unwrap();
    let of = |name: &str| noted.iter().find(|(noted, _)| noted == name).unwrap().1;
    assert!(first.is_some() && first < of("parent") && of("parent") < of("child"), "{first:?} {noted:?}");
    assert!(of("child") < second && second < of("younger") && of("younger") < third, "{second:?} {noted:?}");
}

/// The count that tells whether the only worker of a runtime sleeps, while a task of it runs and after the task's end.
fn park_counts(mut builder: tokio::runtime::Builder) -> (u64, u64) {
    let (sender, metrics) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let runtime = std::thread::spawn(move || {
        let runtime = builder.worker_threads(1).build().unwrap();
        let metrics = runtime.metrics();
        runtime.block_on(async move {
            // A task of its own: only its worker runs it, whatever the runtime.
            let blocks = async move {
                sender.send(metrics).unwrap();
                let _ = ended.recv();
            };
            tokio::spawn(blocks).await.unwrap();
            std::future::pending::<()>().await;
        });
    });
    let metrics = metrics.recv_timeout(Duration::from_secs(60)).unwrap();
    let within = metrics.worker_park_unpark_count(0);
    end.send(()).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while metrics.worker_park_unpark_count(0) == within && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(!runtime.is_finished());
    (within, metrics.worker_park_unpark_count(0))
}

#[test]
fn a_workers_count_of_parks_and_unparks_is_even_while_it_works_and_odd_while_it_sleeps() {
    for builder in
        [tokio::runtime::Builder::new_multi_thread(), tokio::runtime::Builder::new_current_thread()]
    {
        let (working, sleeping) = park_counts(builder);
        assert_eq!((working % 2, sleeping % 2), (0, 1), "{working}, {sleeping}");
    }
}

/// The busy time that a worker that never sleeps has published after so many polls that each take a millisecond.
fn busy_after(mut builder: tokio::runtime::Builder, polls: u32) -> Duration {
    const POLL: Duration = Duration::from_millis(1);
    let runtime = builder.worker_threads(1).build().unwrap();
    let metrics = runtime.metrics();
    let work = async move {
        // The first poll after a sleep.
        tokio::task::yield_now().await;
        let before = metrics.worker_total_busy_duration(0);
        for _ in 0..polls {
            std::thread::sleep(POLL);
            tokio::task::yield_now().await;
        }
        metrics.worker_total_busy_duration(0) - before
    };
    runtime.block_on(async move { tokio::spawn(work).await.unwrap() })
}

#[test]
fn a_worker_that_never_sleeps_publishes_its_busy_time_every_61_polls() {
    let busy = busy_after(tokio::runtime::Builder::new_multi_thread(), 2 * 61);
    assert!(busy >= Duration::from_millis(61), "{busy:?}");
}

/// The interceptor of a `Props`, which atomr has since 0.10, and what goes with it.
#[cfg(feature = "instruments")]
mod interceptors {
    use atomr_core::actor::{MessageInterceptor, Metadata, SpanGuard};
    use atomr_core::supervision::{Directive, OneForOneStrategy};

    use super::*;

    /// Notes the task in which it is called.
    fn in_task(log: &Log, what: &str) {
        let task = tokio::task::try_id().map_or_else(|| "none".to_owned(), |id| id.to_string());
        log.note(format!("{what} in {task}"));
    }

    /// An interceptor that notes beginning and end of each handler, and its own end.
    struct Notes(Arc<Log>, &'static str);

    struct End(Arc<Log>, &'static str);

    impl Drop for End {
        fn drop(&mut self) {
            in_task(&self.0, &format!("{} handled", self.1));
        }
    }

    impl MessageInterceptor for Notes {
        fn before_handle(&self, _: &Metadata) -> SpanGuard {
            SpanGuard::holding(End(self.0.clone(), self.1))
        }
    }

    impl Drop for Notes {
        fn drop(&mut self) {
            in_task(&self.0, &format!("{} dropped", self.1));
        }
    }

    /// Props whose factory and interceptor note their calls.
    fn noting(log: &Arc<Log>) -> Props<Plain> {
        let made = log.clone();
        let factory = move || {
            in_task(&made, "made");
            Plain::default()
        };
        Props::create(factory).with_interceptor(Arc::new(Notes(log.clone(), "one")))
    }

    /// The lines that begin so, without their tasks; and the tasks.
    fn told(log: &Log, begin: &[&str]) -> (Vec<String>, Vec<String>) {
        let lines = log.lines().into_iter().filter(|line| begin.iter().any(|begin| line.starts_with(begin)));
        lines.map(|line| line.rsplit_once(" in ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap()).unzip()
    }

    async fn count(log: &Log, begin: &str, wanted: usize) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while told(log, &[begin]).0.len() < wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("`{begin}` never came: {:?}", log.lines()));
    }

    #[tokio::test]
    async fn a_factory_runs_in_the_task_of_its_actor_first_of_all_and_again_at_each_restart() {
        let (system, log) = system().await;
        let actor = system.actor_of(noting(&log), "a").unwrap();
        actor.tell(Message::Panic);
        actor.tell(Message::Nothing);
        count(&log, "one handled", 2).await;
        let (lines, tasks) = told(&log, &["made", "one handled"]);
        assert_eq!(lines, ["made", "one handled", "made", "one handled"]);
        assert!(tasks.iter().all(|task| *task == tasks[0] && task != "none"), "{tasks:?}");
    }

    #[tokio::test]
    async fn the_guard_of_a_handler_is_dropped_before_supervision_decides() {
        let (system, log) = system().await;
        let deciding = log.clone();
        let strategy = OneForOneStrategy::new().with_decider(move |_| {
            in_task(&deciding, "decided");
            Directive::Resume
        });
        let actor = system.actor_of(noting(&log).with_supervisor_strategy(strategy.into()), "a").unwrap();
        (0..2).for_each(|_| actor.tell(Message::Panic));
        count(&log, "decided", 2).await;
        let (lines, tasks) = told(&log, &["made", "one handled", "decided"]);
        assert_eq!(lines, ["made", "one handled", "decided", "one handled", "decided"]);
        assert!(tasks.iter().all(|task| *task == tasks[0]), "{tasks:?}");
    }

    #[tokio::test]
    async fn without_a_strategy_an_actor_is_restarted_without_limit() {
        let (system, log) = system().await;
        let actor = system.actor_of(noting(&log), "a").unwrap();
        (0..100).for_each(|_| actor.tell(Message::Panic));
        count(&log, "made", 101).await;
        assert!(!actor.is_terminated());
    }

    #[tokio::test]
    async fn props_have_one_interceptor_and_a_later_one_replaces_it_at_once() {
        let (system, log) = system().await;
        let props = noting(&log).with_interceptor(Arc::new(Notes(log.clone(), "two")));
        assert_eq!(told(&log, &["one dropped"]).0.len(), 1);
        system.actor_of(props, "a").unwrap().tell(Message::Nothing);
        count(&log, "two handled", 1).await;
        assert_eq!(told(&log, &["one handled"]).0.len(), 0);
    }

    #[tokio::test]
    async fn clones_of_one_props_share_their_interceptor() {
        let (system, log) = system().await;
        let props = noting(&log);
        for name in ["a", "b"] {
            system.actor_of(props.clone(), name).unwrap().tell(Message::Nothing);
        }
        count(&log, "one handled", 2).await;
        drop(props);
        system.terminate().await;
        count(&log, "one dropped", 1).await;
        let tasks = told(&log, &["one handled"]).1;
        assert_ne!(tasks[0], tasks[1]);
    }

    #[tokio::test]
    async fn a_task_reports_its_stop_and_then_drops_its_props_in_the_same_poll() {
        struct Stops(Arc<Log>);
        impl SpawnObserver for Stops {
            fn on_spawn(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {}
            fn on_stop(&self, _: &ActorPath) {
                in_task(&self.0, &format!("stopped on {:?}", std::thread::current().id()));
            }
        }
        let (system, log) = system().await;
        system.set_spawn_observer(Arc::new(Stops(log.clone())));
        let actor = system.actor_of(noting(&log), "a").unwrap();
        actor.stop();
        count(&log, "one dropped", 1).await;
        let (lines, tasks) = told(&log, &["made", "stopped", "one dropped"]);
        assert!(lines[1].starts_with("stopped") && lines[2] == "one dropped", "{lines:?}");
        assert!(tasks.iter().all(|task| *task == tasks[0]), "{tasks:?}");
    }

    #[tokio::test]
    async fn a_spawn_that_is_refused_drops_its_props_and_calls_no_hook() {
        let (system, log) = system().await;
        plain(&system, "a");
        assert!(system.actor_of(noting(&log), "a").is_err());
        assert_eq!(told(&log, &["one dropped", "made"]).0, ["one dropped"]);
        assert_eq!(log.lines().iter().filter(|line| line.starts_with("spawn")).count(), 1);
    }

    #[tokio::test]
    async fn the_spawn_hook_is_called_on_the_spawning_thread_within_the_call() {
        struct Threads(Mutex<Vec<std::thread::ThreadId>>);
        impl SpawnObserver for Threads {
            fn on_spawn(&self, _: &ActorPath, _: Option<&ActorPath>, _: &'static str) {
                self.0.lock().unwrap().push(std::thread::current().id());
            }
            fn on_stop(&self, _: &ActorPath) {}
        }
        let (system, _) = system().await;
        let threads = Arc::new(Threads(Mutex::default()));
        system.set_spawn_observer(threads.clone());
        let parent = plain(&system, "a");
        assert_eq!(*threads.0.lock().unwrap(), [std::thread::current().id()]);
        let (answer, child) = oneshot::channel();
        parent.tell(Message::Spawn("c", answer));
        child.await.unwrap();
        assert_eq!(threads.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_handler_that_the_end_of_its_runtime_drops_still_has_its_task() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let log = runtime.block_on(async {
            let (system, log) = system().await;
            let actor = system.actor_of(noting(&log), "a").unwrap();
            let (_go, wait) = oneshot::channel();
            actor.tell(Message::Wait(wait));
            count(&log, "made", 1).await;
            // It awaits.
            tokio::time::sleep(Duration::from_millis(20)).await;
            std::mem::forget(_go);
            log
        });
        drop(runtime);
        let (lines, tasks) = told(&log, &["made", "one handled", "one dropped"]);
        assert_eq!(lines, ["made", "one handled", "one dropped"]);
        assert!(tasks.iter().all(|task| *task == tasks[0] && task != "none"), "{tasks:?}");
    }
}
