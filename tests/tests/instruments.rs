//! Instrumented actors: what they do is counted exactly, whatever they do and however they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use atomscope_tests::support::wait_until;
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
struct Clock(AtomicU64);

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
            clock.0.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
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
        let classes = self.instruments().classes.into_iter();
        let is_it = |class: &ClassStats| class.class.as_ref().is_some_and(|class| class.ends_with(name));
        classes.filter(is_it).next().unwrap_or_default()
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
    (0..100).for_each(|_| drop(baker.tell(Order::Nothing)));
    let class = shop.class_when("::Baker", |class| class.handled == 100);
    assert_eq!((class.spawned, class.live, class.failures, class.restarts), (1, 1, 0, 0));
    let path = "akka://one-message/user/baker";
    let (handled, is_idle) = shop.actor(path, |stats| (stats.handled, stats.in_flight.is_none())).unwrap();
    assert_eq!((handled, is_idle), (100, true));
    let cells = shop.instruments().cells;
    assert_eq!((cells.used, cells.capacity), (1, 4_000));
}
