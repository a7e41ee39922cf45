//! Instrumented actors: what they do is counted exactly, whatever they do and however they end.
#![cfg(feature = "instruments")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use atomr_core::actor::{
    Actor, ActorRef, ActorSystem, Context, MessageInterceptor, Metadata, Props, SpanGuard,
};
use atomr_core::prelude::Config;
use atomr_core::supervision::{Directive, OneForOneStrategy};
use atomscope_layout::decode::{ActorStats, ClassStats, Instruments, RegionReader};
use atomscope_layout::view::ReaderMemory;
use atomscope_probe::{Region, RegionBuilder, TelemetryExtension};
use atomscope_tests::support::{self, Node, wait_until};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// What an actor is told to do.
enum Order {
    Nothing,
    /// Awaits so often.
    Await(u32),
    Spin(Duration),
    Panic,
    Spawn(Arc<TelemetryExtension>, String, oneshot::Sender<bool>),
    WaitFor(oneshot::Sender<()>, oneshot::Receiver<()>),
    Stop,
}

/// The time that handlers took by their own clocks.
#[derive(Default)]
struct Clock(AtomicU64, Mutex<Vec<u64>>);

#[derive(Default)]
struct Baker(Arc<Clock>);

/// The same as another class.
#[derive(Default)]
struct Waiter(Arc<Clock>);

/// Fails before it handles anything.
struct Invalid;

async fn follow<A: Actor<Msg = Order>>(clock: &Clock, ctx: &mut Context<A>, order: Order) {
    match order {
        Order::Nothing => {}
        Order::Await(times) => {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        }
        Order::Spin(time) => {
            let start = Instant::now();
            while start.elapsed() < time {
                std::hint::spin_loop();
            }
            let ns = start.elapsed().as_nanos() as u64;
            clock.0.fetch_add(ns, Ordering::Relaxed);
            clock.1.lock().unwrap().push(ns);
        }
        Order::Panic => panic!("burnt"),
        Order::Spawn(telemetry, name, spawned) => {
            let child = telemetry.actors.spawn_child(ctx, Props::create(Waiter::default), &name);
            let _ = spawned.send(child.is_ok());
        }
        Order::WaitFor(begun, end) => {
            let _ = begun.send(());
            let _ = end.await;
        }
        Order::Stop => ctx.stop_self(),
    }
}

#[async_trait]
impl Actor for Baker {
    type Msg = Order;

    async fn handle(&mut self, ctx: &mut Context<Self>, order: Order) {
        follow(&self.0, ctx, order).await;
    }
}

#[async_trait]
impl Actor for Waiter {
    type Msg = Order;

    async fn handle(&mut self, ctx: &mut Context<Self>, order: Order) {
        follow(&self.0, ctx, order).await;
    }
}

#[async_trait]
impl Actor for Invalid {
    type Msg = Order;

    async fn pre_start(&mut self, _: &mut Context<Self>) {
        panic!("no flour");
    }

    async fn handle(&mut self, _: &mut Context<Self>, _: Order) {}
}

/// A node with instruments.
struct Shop {
    runtime: Runtime,
    system: ActorSystem,
    telemetry: Arc<TelemetryExtension>,
}

impl Shop {
    fn open(name: &str, workers: usize, sized: impl FnOnce(RegionBuilder) -> RegionBuilder) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        let system = runtime.block_on(ActorSystem::create(name, Config::empty())).unwrap();
        let builder = Region::builder(name).actors(4_000).events(16).dead_letters(16).panics(false);
        let region = sized(builder).build().unwrap();
        let _guard = runtime.enter();
        let telemetry = TelemetryExtension::with_region(region).install(&system);
        drop(_guard);
        Self { runtime, system, telemetry }
    }

    fn usual(name: &str) -> Self {
        Self::open(name, 2, |builder| builder)
    }

    fn spawn<A: Actor>(&self, props: Props<A>, name: &str) -> ActorRef<A::Msg> {
        let _guard = self.runtime.enter();
        self.telemetry.actors.spawn(&self.system, props, name).unwrap()
    }

    fn baker(&self, name: &str) -> ActorRef<Order> {
        self.spawn(Props::create(Baker::default), name)
    }

    /// A copy of the region.
    fn copy(&self) -> ReaderMemory {
        ReaderMemory::copied(&std::fs::read(self.telemetry.region().path().unwrap()).unwrap())
    }

    fn instruments(&self) -> Instruments {
        RegionReader::open(self.copy().words()).unwrap().instruments()
    }

    /// The values of this class.
    fn class(&self, name: &str) -> ClassStats {
        let mut classes = self.instruments().classes.into_iter();
        let is_it = |class: &ClassStats| class.class.as_ref().is_some_and(|class| class.ends_with(name));
        classes.find(is_it).unwrap_or_default()
    }

    /// Waits until the class is as wanted, and returns it.
    fn class_when(&self, name: &str, is_so: impl Fn(&ClassStats) -> bool) -> ClassStats {
        let mut found = ClassStats::default();
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the class is as wanted", || {
                found = self.class(name);
                is_so(&found)
            });
        }));
        assert!(waited.is_ok(), "{found:?}");
        found
    }

    /// What `see` makes of the values of this actor.
    fn actor<T>(&self, path: &str, see: impl FnOnce(ActorStats<'_>) -> T) -> Option<T> {
        let copy = self.copy();
        let list = RegionReader::open(copy.words()).unwrap().actor_list();
        let found = list.iter().find(|actor| actor.path() == path).and_then(|actor| actor.stats());
        found.map(see)
    }
}

#[test]
fn a_message_counts_for_its_actor_and_its_class() {
    let shop = Shop::usual("one-message");
    let baker = shop.baker("baker");
    (0..100).for_each(|_| baker.tell(Order::Nothing));
    let class = shop.class_when("::Baker", |class| class.handled == 100);
    assert_eq!((class.spawned, class.live, class.failures, class.restarts), (1, 1, 0, 0));
    let path = "akka://one-message/user/baker";
    let (handled, is_idle) = shop.actor(path, |stats| (stats.handled, stats.in_flight.is_none())).unwrap();
    assert_eq!((handled, is_idle), (100, true));
    let cells = shop.instruments().cells;
    assert_eq!((cells.used, cells.capacity), (1, 4_000));
}

/// A random number below `below`, from this state.
fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % below
}

/// Panics that the tests want are not printed.
fn silent() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() != Some("tokio-rt-worker") {
                usual(panic);
            }
        }));
    });
}

fn a_storm_is_counted_exactly(workers: usize) {
    const ACTORS: u64 = 3_000;
    const MESSAGES: u64 = 60_000;
    silent();
    let name = format!("storm-{workers}");
    let shop = Shop::open(&name, workers, |builder| builder);
    let bakers: Vec<_> = (0..ACTORS).map(|number| shop.baker(&format!("b{number}"))).collect();
    let (mut state, mut sent, mut panics) =
        (0x5eed, vec![0u64; ACTORS as usize], vec![0u32; ACTORS as usize]);
    for _ in 0..MESSAGES {
        let to = random(&mut state, ACTORS) as usize;
        sent[to] += 1;
        let order = match random(&mut state, 150) {
            0 => {
                panics[to] += 1;
                Order::Panic
            }
            1..75 => Order::Await(random(&mut state, 20) as u32),
            _ => Order::Nothing,
        };
        bakers[to].tell(order);
    }
    let all_panics: u64 = panics.iter().map(|panics| u64::from(*panics)).sum();
    shop.class_when("::Baker", |class| class.handled == MESSAGES);
    let class =
        shop.class_when("::Baker", |class| class.restarts == all_panics || class.restarts < class.failures);
    assert!(all_panics > 200, "{all_panics}");
    assert_eq!((class.handled, class.failures, class.restarts), (MESSAGES, all_panics, all_panics));
    assert_eq!((class.spawned, class.live, class.untracked, class.overwritten), (ACTORS, ACTORS, 0, 0));
    let handled: u64 = class.variants.iter().map(|variant| variant.handled).sum();
    assert_eq!(handled, MESSAGES);
    let copy = shop.copy();
    let list = RegionReader::open(copy.words()).unwrap().actor_list();
    let mut seen = 0;
    for actor in list.iter() {
        let number: usize = actor.path().rsplit_once("/b").unwrap().1.parse().unwrap();
        let stats = actor.stats().unwrap();
        assert_eq!(
            (stats.handled, stats.failures, stats.restarts),
            (sent[number], panics[number], panics[number])
        );
        assert_eq!((stats.in_flight, stats.task.is_some()), (None, true), "{number}");
        seen += 1;
    }
    assert_eq!((seen, list.unnamed().count()), (ACTORS, 0));
}

#[test]
fn a_storm_on_two_workers_is_counted_exactly() {
    a_storm_is_counted_exactly(2);
}

#[test]
fn a_storm_on_four_workers_is_counted_exactly() {
    a_storm_is_counted_exactly(4);
}

#[test]
fn with_every_message_timed_the_time_is_that_of_the_handlers() {
    let shop = Shop::open("all-timed", 2, |builder| builder.time_every(1));
    // A thread that loses its processor beside a handler takes longer than the handler, so this may need another round.
    let is_near = (0..20).any(|round| {
        let (clock, path) = (Arc::new(Clock::default()), format!("b{round}"));
        let own = clock.clone();
        let baker = shop.spawn(Props::create(move || Baker(own.clone())), &path);
        (0..40).for_each(|_| baker.tell(Order::Spin(Duration::from_millis(1))));
        let path = format!("akka://all-timed/user/{path}");
        let busy = || shop.actor(&path, |stats| (stats.handled == 40).then_some(stats.busy_ns)).flatten();
        wait_until("all are handled", || busy().is_some());
        let (busy, own) = (busy().unwrap() as f64, clock.0.load(Ordering::Relaxed) as f64);
        // The probe sees all that the handler sees; the clocks differ by a part in ten thousand at most.
        assert!(busy > own * 0.999, "{busy} {own}");
        busy < own * 1.01
    });
    assert!(is_near);
    let class = shop.class("::Baker");
    assert_eq!((class.handle_time.count, class.handle_time.sum), (class.handled, class.busy_ns));
    assert!(class.handle_time.quantile(0.5) >= 1_000_000);
}

#[test]
fn with_one_message_in_sixteen_timed_the_time_is_near_that_of_the_handlers() {
    const MESSAGES: u64 = 3_000;
    const LONG: u64 = 3;
    let shop = Shop::usual("sampled");
    let (clock, mut state) = (Arc::new(Clock::default()), 77);
    let own = clock.clone();
    let baker = shop.spawn(Props::create(move || Baker(own.clone())), "baker");
    for _ in 0..MESSAGES {
        baker.tell(Order::Spin(Duration::from_micros(5 + random(&mut state, 200))));
    }
    (0..LONG).for_each(|_| baker.tell(Order::Spin(Duration::from_millis(120))));
    let class = shop.class_when("::Baker", |class| class.handled == MESSAGES + LONG);
    let (busy, own) = (class.busy_ns as f64, clock.0.load(Ordering::Relaxed) as f64);
    // A message counts sixteen times with probability 1/16. A long one counts once, to half a tick of 25 ms. The processor
    // may be away in any message, so it is the true times that count.
    let times = clock.1.lock().unwrap();
    let (long, short): (Vec<f64>, Vec<f64>) = times.iter().map(|ns| *ns as f64).partition(|ns| *ns > 50e6);
    let error = (15.0 * short.iter().map(|ns| ns * ns).sum::<f64>()).sqrt();
    assert!((busy - own).abs() < 4.0 * error + long.len() as f64 * 13e6, "{busy} {own} {error}");
    // In the actor's own time the newest messages are missing, until one is timed.
    let actor = shop.actor("akka://sampled/user/baker", |stats| stats.busy_ns).unwrap() as f64;
    let newest = short.iter().rev().take(200).sum::<f64>();
    assert!((actor - own).abs() < 4.0 * error + newest + long.len() as f64 * 13e6, "{actor} {own} {error}");
    assert!(class.handle_time.count > MESSAGES / 2 && class.handle_time.count < MESSAGES * 2);
    assert!(class.handle_time.quantile(1.0) >= 90_000_000, "{:?}", class.handle_time);
}

#[test]
fn a_respawned_actor_begins_at_zero_and_its_class_does_not() {
    let shop = Shop::usual("respawn");
    for round in 1..=5 {
        let baker = shop.baker("baker");
        (0..10).for_each(|_| baker.tell(Order::Nothing));
        shop.class_when("::Baker", |class| class.handled == round * 10 + round - 1);
        let handled = shop.actor("akka://respawn/user/baker", |stats| stats.handled);
        assert_eq!(handled, Some(10));
        baker.tell(Order::Stop);
        shop.class_when("::Baker", |class| class.stopped == round);
    }
    let class = shop.class("::Baker");
    assert_eq!((class.spawned, class.live, class.handled, shop.instruments().cells.used), (5, 0, 55, 0));
}

#[test]
fn a_name_that_is_taken_takes_no_cell() {
    let shop = Shop::usual("taken");
    let baker = shop.baker("baker");
    let again = shop.telemetry.actors.spawn(&shop.system, Props::create(Baker::default), "baker");
    assert!(again.is_err());
    baker.tell(Order::Nothing);
    let class = shop.class_when("::Baker", |class| class.handled == 1);
    assert_eq!((class.spawned, class.live, shop.instruments().cells.used), (1, 1, 1));
}

#[test]
fn a_child_has_its_path_and_its_class() {
    let shop = Shop::usual("child");
    let baker = shop.baker("baker");
    let spawn = |name: &str| {
        let (spawned, is_spawned) = oneshot::channel();
        baker.tell(Order::Spawn(shop.telemetry.clone(), name.to_owned(), spawned));
        is_spawned.blocking_recv().unwrap()
    };
    assert_eq!((spawn("w"), spawn("w"), spawn("x")), (true, false, true));
    let class = shop.class_when("::Waiter", |class| class.spawned == 2);
    assert_eq!((class.live, shop.instruments().cells.used), (2, 3));
    assert_eq!(shop.actor("akka://child/user/baker/w", |stats| stats.handled), Some(0));
    baker.tell(Order::Stop);
    shop.class_when("::Waiter", |class| class.live == 0);
}

#[test]
fn the_actors_of_one_props_are_counted_each_for_itself_and_without_a_path() {
    silent();
    let shop = Shop::usual("cloned");
    let props = shop.telemetry.actors.instrument(Props::create(Baker::default));
    let _guard = shop.runtime.enter();
    let bakers: Vec<_> =
        (0..3).map(|number| shop.system.actor_of(props.clone(), &format!("b{number}")).unwrap()).collect();
    for (number, baker) in bakers.iter().enumerate() {
        (0..=number).for_each(|_| baker.tell(Order::Await(3)));
        baker.tell(Order::Panic);
        (0..=number).for_each(|_| baker.tell(Order::Nothing));
    }
    let class = shop.class_when("::Baker", |class| class.handled == 15);
    let class = shop.class_when("::Baker", |now| now.restarts == 3 || now.failures > class.restarts + 3);
    assert_eq!((class.spawned, class.failures, class.restarts, class.live), (3, 3, 3, 3));
    let unnamed = || {
        let copy = shop.copy();
        let list = RegionReader::open(copy.words()).unwrap().actor_list();
        let mut handled: Vec<u64> = list.unnamed().map(|(_, stats)| stats.handled).collect();
        handled.sort_unstable();
        handled
    };
    assert_eq!(unnamed(), [3, 5, 7]);
    bakers[1].tell(Order::Stop);
    shop.class_when("::Baker", |class| class.stopped == 1);
    assert_eq!((unnamed(), shop.instruments().cells.used), (vec![3, 7], 2));
    // What is still there when the runtime ends.
    drop(props);
    drop(_guard);
    let Shop { runtime, system, telemetry } = shop;
    drop((runtime, system));
    let copy = ReaderMemory::copied(&std::fs::read(telemetry.region().path().unwrap()).unwrap());
    let instruments = RegionReader::open(copy.words()).unwrap().instruments();
    assert_eq!((instruments.classes[0].live, instruments.cells.used), (0, 0));
}

/// Counts its calls.
#[derive(Default)]
struct Span {
    begun: AtomicU64,
    ended: Arc<AtomicU64>,
}

impl MessageInterceptor for Span {
    fn before_handle(&self, _: &Metadata) -> SpanGuard {
        struct Ends(Arc<AtomicU64>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        SpanGuard::holding(Ends(self.ended.clone()))
    }

    fn outgoing(&self, _: &Metadata) -> Metadata {
        Metadata::with_trace("trace", "span")
    }
}

#[test]
fn an_interceptor_that_is_there_is_called_as_before() {
    let shop = Shop::usual("chained");
    let span = Arc::new(Span::default());
    let props = Props::create(Baker::default).with_interceptor(span.clone());
    let baker = shop.spawn(props, "baker");
    (0..10).for_each(|_| baker.tell(Order::Await(2)));
    let class = shop.class_when("::Baker", |class| class.handled == 10);
    wait_until("its spans have ended", || span.ended.load(Ordering::Relaxed) == 10);
    assert_eq!((span.begun.load(Ordering::Relaxed), class.overwritten), (10, 0));
    let props = shop.telemetry.actors.instrument(Props::create(Baker::default).with_interceptor(span));
    let outgoing = props.interceptor.unwrap().outgoing(&Metadata::new());
    assert_eq!(outgoing, Metadata::with_trace("trace", "span"));
}

#[test]
fn an_interceptor_that_replaces_the_probes_is_told() {
    let shop = Shop::usual("overwritten");
    let props = shop.telemetry.actors.instrument(Props::create(Baker::default));
    let props = props.with_interceptor(Arc::new(Span::default()));
    let _guard = shop.runtime.enter();
    let baker = shop.system.actor_of(props, "baker").unwrap();
    baker.tell(Order::Nothing);
    let class = shop.class_when("::Baker", |class| class.overwritten == 1);
    assert_eq!((class.handled, class.spawned, class.live, shop.instruments().cells.used), (0, 0, 0, 0));
}

#[test]
fn instrumented_props_that_are_spawned_with_their_path_count_once() {
    silent();
    let shop = Shop::usual("twice");
    let props = shop.telemetry.actors.instrument(Props::create(Baker::default));
    let baker = shop.spawn(props, "baker");
    (0..10).for_each(|_| baker.tell(Order::Nothing));
    baker.tell(Order::Panic);
    let class = shop.class_when("::Baker", |class| class.restarts == 1);
    assert_eq!((class.handled, class.failures, class.spawned, class.live), (11, 1, 1, 1));
    baker.tell(Order::Stop);
    let class = shop.class_when("::Baker", |class| class.stopped > 0);
    assert_eq!((class.stopped, shop.instruments().cells.used), (1, 0));
}

#[test]
fn actors_without_a_cell_are_counted_by_their_class_exactly() {
    silent();
    let shop = Shop::open("few-cells", 2, |builder| builder.instruments(2));
    let mut bakers: Vec<_> = (0..5).map(|number| shop.baker(&format!("b{number}"))).collect();
    let props = shop.telemetry.actors.instrument(Props::create(Baker::default));
    {
        let _guard = shop.runtime.enter();
        bakers
            .extend((5..8).map(|number| shop.system.actor_of(props.clone(), &format!("b{number}")).unwrap()));
    }
    for baker in &bakers {
        (0..100).for_each(|number| baker.tell(Order::Await(number % 3)));
        baker.tell(Order::Panic);
        baker.tell(Order::Nothing);
    }
    let class = shop.class_when("::Baker", |class| class.handled == 8 * 102 && class.restarts == 8);
    assert_eq!((class.spawned, class.live, class.untracked, class.failures), (8, 8, 6, 8));
    assert_eq!(shop.instruments().cells.used, 2);
    bakers.iter().for_each(|baker| baker.tell(Order::Stop));
    let class = shop.class_when("::Baker", |class| class.live == 0);
    assert_eq!((class.stopped, class.handled, shop.instruments().cells.used), (8, 8 * 103, 0));
    // Their cells serve the next ones.
    let baker = shop.baker("next");
    baker.tell(Order::Nothing);
    shop.class_when("::Baker", |class| class.handled == 8 * 103 + 1);
    assert_eq!(shop.actor("akka://few-cells/user/next", |stats| stats.handled), Some(1));
}

#[test]
fn an_actor_that_is_instrumented_twice_without_a_cell_counts_once() {
    silent();
    let shop = Shop::open("twice-without", 2, |builder| builder.instruments(1));
    let _first = shop.baker("first");
    let actors = &shop.telemetry.actors;
    let twice = actors.instrument(actors.instrument(Props::create(Waiter::default)));
    let with_a_path = shop.spawn(actors.instrument(Props::create(Waiter::default)), "with-a-path");
    let without = {
        let _guard = shop.runtime.enter();
        shop.system.actor_of(twice, "without").unwrap()
    };
    for waiter in [&with_a_path, &without] {
        (0..10).for_each(|number| waiter.tell(Order::Await(number % 2)));
        waiter.tell(Order::Panic);
        waiter.tell(Order::Stop);
    }
    let class = shop.class_when("::Waiter", |class| class.live == 0 && class.spawned == 2);
    assert_eq!((class.spawned, class.untracked, class.stopped), (2, 2, 2));
    assert_eq!((class.handled, class.failures, class.restarts), (24, 2, 2));
    assert_eq!(shop.instruments().cells.used, 1, "that of the first one");
}

#[test]
fn however_many_actors_have_no_cell_the_stop_of_each_is_counted() {
    // More than the first map of tasks has entries.
    const ACTORS: u64 = 40_000;
    let shop = Shop::open("no-cells", 2, |builder| builder.instruments(1));
    let _first = shop.baker("first");
    let props = shop.telemetry.actors.instrument(Props::create(Waiter::default));
    let _guard = shop.runtime.enter();
    let spawn = |number| shop.system.actor_of(props.clone(), &format!("w{number}")).unwrap();
    let waiters: Vec<_> = (0..ACTORS).map(spawn).collect();
    shop.class_when("::Waiter", |class| class.spawned == ACTORS);
    waiters.iter().for_each(|waiter| waiter.tell(Order::Stop));
    let class = shop.class_when("::Waiter", |class| class.handled == ACTORS && class.live == 0);
    assert_eq!((class.untracked, class.stopped), (ACTORS, ACTORS));
}

#[test]
fn a_stop_that_meets_the_end_of_its_props_is_counted_once() {
    const ROUNDS: u64 = 500;
    let shop = Shop::usual("two-ends");
    let _guard = shop.runtime.enter();
    for round in 0..ROUNDS {
        let props = shop.telemetry.actors.instrument(Props::create(Baker::default));
        let with_ours = shop.system.actor_of(props.clone(), &format!("ours{round}")).unwrap();
        // Its start finds the probe's interceptor alive, but its end does not drop it.
        let replaced = props.with_interceptor(Arc::new(Span::default()));
        let with_theirs = shop.system.actor_of(replaced, &format!("theirs{round}")).unwrap();
        shop.class_when("::Baker", |class| class.spawned == 2 * (round + 1));
        with_ours.tell(Order::Stop);
        with_theirs.tell(Order::Stop);
    }
    let class = shop.class_when("::Baker", |class| class.stopped >= class.spawned);
    assert_eq!((class.stopped, class.spawned), (2 * ROUNDS, 2 * ROUNDS));
    assert_eq!(shop.instruments().cells.used, 0);
    // Every cell has one tenant again.
    let bakers: Vec<_> = (0..8).map(|number| shop.baker(&format!("b{number}"))).collect();
    bakers.iter().for_each(|baker| baker.tell(Order::Nothing));
    shop.class_when("::Baker", |class| class.spawned == 2 * ROUNDS + 8);
    assert_eq!(shop.instruments().cells.used, 8);
}

#[test]
fn actors_of_one_props_that_fail_to_start_are_stopped_when_it_is_dropped() {
    silent();
    let shop = Shop::open("invalid-cloned", 2, |builder| builder.instruments(2));
    let props = shop.telemetry.actors.instrument(Props::create(|| Invalid));
    let _guard = shop.runtime.enter();
    let spawn = |number: u32| shop.system.actor_of(props.clone(), &format!("i{number}")).unwrap();
    let actors: Vec<_> = (0..10).map(spawn).collect();
    wait_until("all have ended", || actors.iter().all(ActorRef::is_terminated));
    let class = shop.class("::Invalid");
    assert_eq!((class.spawned, class.untracked), (10, 8));
    drop(props);
    let class = shop.class_when("::Invalid", |class| class.stopped >= 10);
    assert_eq!((class.stopped, shop.instruments().cells.used), (10, 0));
}

#[test]
fn a_class_beyond_the_capacity_counts_with_all_other_classes() {
    let shop = Shop::open("few-classes", 2, |builder| builder.classes(2).variants(2));
    shop.baker("baker").tell(Order::Nothing);
    shop.spawn(Props::create(Waiter::default), "waiter").tell(Order::Nothing);
    let mut classes = Vec::new();
    wait_until("both are handled", || {
        classes = shop.instruments().classes;
        classes.iter().map(|class| class.handled).sum::<u64>() == 2
    });
    let names: Vec<_> = classes.iter().map(|class| class.class.as_deref()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].is_some_and(|name| name.ends_with("::Baker")) && names[1].is_none(), "{names:?}");
}

#[test]
fn a_strategy_decides_as_without_the_probe() {
    silent();
    let shop = Shop::usual("strategy");
    let spawn = |name: &str, strategy: OneForOneStrategy| {
        shop.spawn(Props::create(Baker::default).with_supervisor_strategy(strategy.into()), name)
    };
    let resumed = spawn("resumed", OneForOneStrategy::new().with_decider(|_| Directive::Resume));
    (0..3).for_each(|_| resumed.tell(Order::Panic));
    let class = shop.class_when("::Baker", |class| class.failures == 3);
    assert_eq!((class.restarts, class.live), (0, 1));
    spawn("stopped", OneForOneStrategy::new().with_decider(|_| Directive::Stop)).tell(Order::Panic);
    let class = shop.class_when("::Baker", |class| class.stopped == 1);
    assert_eq!((class.restarts, class.failures), (0, 4));
    let limited = spawn("limited", OneForOneStrategy::new().with_max_retries(2));
    (0..3).for_each(|_| limited.tell(Order::Panic));
    let class = shop.class_when("::Baker", |class| class.stopped == 2);
    assert_eq!((class.restarts, class.failures, class.live), (2, 7, 1));
}

#[test]
fn an_actor_that_fails_to_start_is_stopped_and_not_listed() {
    silent();
    let shop = Shop::usual("invalid");
    (0..50).for_each(|number| drop(shop.spawn(Props::create(|| Invalid), &format!("i{number}"))));
    let class = shop.class_when("::Invalid", |class| class.stopped == 50);
    assert_eq!((class.spawned, class.live, shop.instruments().cells.used), (50, 0, 0));
    wait_until("none is listed", || {
        let copy = shop.copy();
        let reader = RegionReader::open(copy.words()).unwrap();
        reader.actor_list().iter().count() == 0 && reader.actor_totals().live == 0
    });
    let copy = shop.copy();
    let totals = RegionReader::open(copy.words()).unwrap().actor_totals();
    assert_eq!((totals.spawned, totals.stopped, totals.inexact), (50, 50, false));
}

/// The number of live actors, by counting and by listing, and of instrumented ones.
fn live(region: &std::path::Path) -> (u64, usize, u64, u64) {
    let copy = ReaderMemory::copied(&std::fs::read(region).unwrap());
    let reader = RegionReader::open(copy.words()).unwrap();
    let instruments = reader.instruments();
    let of_classes = instruments.classes.iter().map(|class| class.live).sum();
    (reader.actor_totals().live, reader.actor_list().iter().count(), of_classes, instruments.cells.used)
}

#[test]
fn an_actor_that_outlives_its_system_is_stopped_once_it_ends() {
    let shop = Shop::usual("systemless");
    let bakers: Vec<_> = (0..10).map(|number| shop.baker(&format!("b{number}"))).collect();
    let Shop { runtime, system, telemetry } = shop;
    drop(system);
    let region = telemetry.region().path().unwrap().to_owned();
    bakers.iter().for_each(|baker| baker.tell(Order::Stop));
    wait_until("they have ended", || live(&region) == (0, 0, 0, 0));
    drop(runtime);
}

#[test]
fn a_handler_that_the_end_of_the_runtime_drops_has_been_handled() {
    let shop = Shop::usual("runtimeless");
    let bakers: Vec<_> = (0..10).map(|number| shop.baker(&format!("b{number}"))).collect();
    let mut ends = Vec::new();
    for baker in &bakers {
        let ((begun, has_begun), (end, is_end)) = (oneshot::channel(), oneshot::channel());
        baker.tell(Order::WaitFor(begun, is_end));
        has_begun.blocking_recv().unwrap();
        ends.push(end);
    }
    let stats = |stats: ActorStats<'_>| (stats.handled, stats.in_flight.is_some());
    assert_eq!(shop.actor("akka://runtimeless/user/b3", stats), Some((0, true)));
    let region = shop.telemetry.region().path().unwrap().to_owned();
    assert_eq!(live(&region), (10, 10, 10, 10));
    let Shop { runtime, system, telemetry } = shop;
    drop(runtime);
    assert_eq!(live(&region), (0, 0, 0, 0));
    let copy = ReaderMemory::copied(&std::fs::read(&region).unwrap());
    assert_eq!(RegionReader::open(copy.words()).unwrap().instruments().classes[0].handled, 10);
    drop((system, telemetry, ends));
}

#[test]
fn a_stand_alone_registry_spawns_and_counts_nothing() {
    let shop = Shop::usual("stand-alone");
    let registry = atomscope_probe::actor_registry::ActorRegistry::new(shop.telemetry.bus.clone());
    let _guard = shop.runtime.enter();
    let baker = registry.spawn(&shop.system, Props::create(Baker::default), "baker").unwrap();
    let (begun, has_begun) = oneshot::channel();
    baker.tell(Order::WaitFor(begun, oneshot::channel().1));
    has_begun.blocking_recv().unwrap();
    assert!(registry.instrument(Props::create(Baker::default)).interceptor.is_none());
    assert_eq!(shop.instruments().classes, []);
}

#[test]
fn a_panic_names_its_actor_and_its_class() {
    silent();
    let shop = Shop::open("panics", 2, |builder| builder.panics(true));
    let other = Shop::open("panics-other", 2, |builder| builder.panics(true));
    let long = format!("b{}", "x".repeat(300));
    for name in ["baker", &long] {
        let baker = shop.baker(name);
        baker.tell(Order::Await(5));
        baker.tell(Order::Panic);
    }
    wait_until("they are noted", || {
        RegionReader::open(shop.copy().words()).unwrap().failures().panics.len() == 2
    });
    let failures = RegionReader::open(shop.copy().words()).unwrap().failures();
    assert_eq!(failures.log.len(), 1);
    for panic in &failures.panics {
        let (actor, class) = (panic.actor.as_deref().unwrap(), panic.class.as_deref().unwrap());
        assert!(actor.starts_with("akka://panics/user/b") && class.ends_with("::Baker"), "{panic:?}");
    }
    let log = failures.log.first().unwrap();
    assert!(log.class.as_deref().is_some_and(|class| class.ends_with("::Baker")), "{log:?}");
    // It happened in one node of the process.
    assert_eq!(RegionReader::open(other.copy().words()).unwrap().failures().panics, []);
}

#[test]
fn a_handler_in_flight_is_seen_after_its_node_was_killed() {
    let name = "a_handler_in_flight_is_seen_after_its_node_was_killed";
    if support::role().is_some() {
        let shop = Shop::usual("killed-in-flight");
        let baker = shop.baker("baker");
        let ((begun, has_begun), (_end, is_end)) = (oneshot::channel(), oneshot::channel());
        (0..7).for_each(|_| baker.tell(Order::Nothing));
        baker.tell(Order::WaitFor(begun, is_end));
        has_begun.blocking_recv().unwrap();
        println!("\nready region={}", shop.telemetry.region().path().unwrap().display());
        loop {
            std::thread::park();
        }
    }
    let mut node = Node::start(&mut support::again(name, "node"));
    node.kill();
    let copy = ReaderMemory::copied(&std::fs::read(node.region()).unwrap());
    let list = RegionReader::open(copy.words()).unwrap().actor_list();
    let baker = list.iter().find(|actor| actor.path().ends_with("/baker")).unwrap();
    let stats = baker.stats().unwrap();
    assert_eq!((stats.handled, stats.in_flight.is_some_and(|since| since.since.is_some())), (7, true));
}

#[test]
fn a_handler_in_a_region_that_was_opened_again_did_not_begin_before_its_actor() {
    let name = "a_handler_in_a_region_that_was_opened_again_did_not_begin_before_its_actor";
    if support::role().is_none() {
        // The sampler ends with the last region of a process, so no other test may have one.
        let output = support::again(name, "alone").output().unwrap();
        return assert!(output.status.success(), "{output:?}");
    }
    let first = Shop::usual("reopened-1");
    first.baker("baker").tell(Order::Nothing);
    first.class_when("::Baker", |class| class.handled == 1);
    first.telemetry.region().close();
    let has_sampler = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let mut names = threads.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.any(|name| name.trim() == "atomscope")
    };
    wait_until("the sampler has ended", || !has_sampler());
    std::thread::sleep(Duration::from_millis(300));
    let opening = std::time::SystemTime::now();
    let shop = Shop::usual("reopened-2");
    let baker = shop.baker("baker");
    let (begun, has_begun) = oneshot::channel();
    let (_end, is_end) = oneshot::channel();
    baker.tell(Order::WaitFor(begun, is_end));
    has_begun.blocking_recv().unwrap();
    let since = || {
        let in_flight = shop.actor("akka://reopened-2/user/baker", |stats| stats.in_flight);
        in_flight.flatten().and_then(|in_flight| in_flight.since)
    };
    wait_until("its beginning is known", || since().is_some());
    let (since, opening) = (since().unwrap().unix_ns, opening.duration_since(std::time::UNIX_EPOCH).unwrap());
    assert!(since >= opening.as_nanos() as i128, "{since} {opening:?}");
}

#[test]
fn nothing_of_a_closed_region_stays_but_addresses() {
    let region = {
        let shop = Shop::usual("vacated");
        let baker = shop.baker("baker");
        baker.tell(Order::Nothing);
        shop.class_when("::Baker", |class| class.handled == 1);
        let region = shop.telemetry.region().path().unwrap().to_owned();
        shop.telemetry.region().close();
        // An actor of a closed region goes on.
        let (begun, has_begun) = oneshot::channel();
        baker.tell(Order::WaitFor(begun, oneshot::channel().1));
        has_begun.blocking_recv().unwrap();
        region
    };
    let name = region.file_name().unwrap().to_str().unwrap();
    let of_process = |what: &str| std::fs::read_to_string(format!("/proc/self/{what}")).unwrap();
    wait_until("its mapping is gone", || !of_process("maps").contains(name));
    for descriptor in std::fs::read_dir("/proc/self/fd").unwrap() {
        let target = std::fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
        assert!(!target.to_string_lossy().contains(name), "{target:?}");
    }
    assert!(!region.exists());
}

#[test]
fn an_actor_with_one_message_never_seems_to_do_the_work_of_sixteen() {
    const ACTORS: u64 = 300;
    let shop = Shop::usual("single-messages");
    let clock = Arc::new(Clock::default());
    for number in 0..ACTORS {
        let own = clock.clone();
        let baker = shop.spawn(Props::create(move || Baker(own.clone())), &format!("b{number}"));
        baker.tell(Order::Spin(Duration::from_micros(200)));
    }
    let class = shop.class_when("::Baker", |class| class.handled == ACTORS);
    let copy = shop.copy();
    let list = RegionReader::open(copy.words()).unwrap().actor_list();
    let busy: Vec<u64> =
        list.iter().map(|actor| actor.stats().unwrap().busy_ns).filter(|ns| *ns > 0).collect();
    let longest = clock.1.lock().unwrap().iter().copied().max().unwrap();
    // A thread that loses its processor beside the handler takes a little longer than the handler.
    assert!(busy.iter().all(|ns| *ns < 2 * longest + 20_000_000), "{busy:?} {longest}");
    assert!(
        class.busy_ns >= 16 * busy.iter().filter(|ns| **ns < 25_000_000).sum::<u64>(),
        "{class:?} {busy:?}"
    );
}

#[test]
fn with_the_probe_turned_off_the_calls_are_the_plain_ones() {
    let name = "with_the_probe_turned_off_the_calls_are_the_plain_ones";
    if support::role().is_some() {
        let shop = Shop::usual("turned-off");
        let (begun, has_begun) = oneshot::channel();
        shop.baker("baker").tell(Order::WaitFor(begun, oneshot::channel().1));
        has_begun.blocking_recv().unwrap();
        let props = shop.telemetry.actors.instrument(Props::create(Baker::default));
        assert!(props.interceptor.is_none() && props.supervisor_strategy.is_none());
        return;
    }
    let output = support::again(name, "off").env("ATOMSCOPE", "off").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}
