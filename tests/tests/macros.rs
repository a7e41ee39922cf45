//! The macros of the probe: names of variants, handlers that stay what they are, and what readers see of them.
#![cfg(feature = "instruments")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::TelemetryExtension;
use atomscope_probe::observe::{Variants, observed};
use atomscope_tests::support;
use atomscope_tests::support::dumps::{dump, wait_for_dump};
use serde_json::{Value, json};
use tokio::sync::oneshot;

fn variant<V: Variants>(value: &V) -> &'static str {
    V::NAMES[value.variant()]
}

#[derive(Variants)]
#[allow(dead_code)]
enum Order {
    Place {
        cakes: u32,
    },
    Cancel(u32, &'static str),
    r#Move,
    #[cfg(any())]
    Never,
    #[deprecated]
    Old,
}

#[derive(Variants)]
enum Nothing {}

#[derive(Variants)]
struct Tick;

#[derive(Variants)]
#[allow(dead_code)]
struct Pair<'a, T: ?Sized, const N: usize>([&'a T; N])
where
    T: Sync;

#[derive(Variants)]
#[allow(dead_code)]
enum Either<'a, L, R: Clone = u8> {
    Left(&'a L),
    Right(R),
}

#[test]
fn variants_have_the_names_that_they_have_in_the_code() {
    assert_eq!(Order::NAMES, ["Place", "Cancel", "Move", "Old"]);
    assert_eq!(variant(&Order::Place { cakes: 1 }), "Place");
    assert_eq!(variant(&Order::Cancel(1, "late")), "Cancel");
    assert_eq!(variant(&Order::r#Move), "Move");
    assert!(Nothing::NAMES.is_empty());
    assert_eq!([variant(&Tick), variant(&Pair(["a", "b"]))], ["Tick", "Pair"]);
    // What the parameters are has no say: these have no traits.
    assert_eq!(variant(&Either::<Tick>::Left(&Tick)), "Left");
    assert_eq!(variant(&Either::<Tick>::Right(1)), "Right");
}

type Reply = oneshot::Sender<u32>;

#[derive(Variants)]
enum Ask {
    Add {
        n: u32,
        reply: Reply,
    },
    Fail,
    Total(Reply),
    /// Bytes of the future that a handler is, which is what its box takes.
    Size(Reply),
}

/// Two actors that differ only in the order of the attributes.
macro_rules! counters {
    ($($name:ident: $($attribute:ident)*;)*) => { $(
        #[derive(Default)]
        struct $name {
            total: u32,
            size: u32,
            // Neither can be shared between threads, and so the future must not borrow the actor as shared.
            _not_sync: std::cell::Cell<u32>,
        }

        $(#[$attribute])*
        impl Actor for $name {
            type Msg = Ask;

            async fn pre_start(&mut self, ctx: &mut Context<Self>) {
                let handler = self.handle(ctx, Ask::Fail);
                let size = size_of_val(&*handler) as u32;
                drop(handler);
                self.size = size;
            }

            async fn handle(&mut self, ctx: &mut Context<Self>, ask: Ask) {
                let name = ctx.path().to_string();
                tokio::task::yield_now().await;
                let (n, reply) = match ask {
                    Ask::Add { n: 0, .. } => return,
                    Ask::Add { n, reply } => (n, reply),
                    Ask::Fail => panic!("{name} fails"),
                    Ask::Total(reply) => (0, reply),
                    Ask::Size(reply) => {
                        let _ = reply.send(self.size);
                        return;
                    }
                };
                self.total += n;
                let _ = reply.send(self.total);
            }
        }
    )* };
}

counters! {
    Above: observed async_trait;
    Below: async_trait observed;
    Plain: async_trait;
}

async fn ask(actor: &ActorRef<Ask>, of: impl FnOnce(Reply) -> Ask) -> u32 {
    actor.ask_with(of, Duration::from_secs(20)).await.expect("an answer")
}

/// Returns the size of its handler's future.
async fn works_as_written<A: Actor<Msg = Ask> + Default>(system: &ActorSystem, name: &str) -> u32 {
    let actor = system.actor_of(Props::create(A::default), name).expect("an actor");
    let size = ask(&actor, Ask::Size).await;
    assert_eq!(ask(&actor, |reply| Ask::Add { n: 2, reply }).await, 2);
    assert_eq!(ask(&actor, |reply| Ask::Add { n: 3, reply }).await, 5);
    let (reply, refused) = oneshot::channel();
    actor.tell(Ask::Add { n: 0, reply });
    assert!(refused.await.is_err(), "the handler returns early and drops the message");
    assert_eq!(ask(&actor, Ask::Total).await, 5);
    actor.tell(Ask::Fail);
    assert_eq!(ask(&actor, Ask::Total).await, 0, "a panic restarts the actor");
    size
}

#[tokio::test]
async fn an_observed_actor_works_as_it_is_written_wherever_the_attribute_stands() {
    let system = ActorSystem::create("macros", Config::empty()).await.expect("a system");
    let plain = works_as_written::<Plain>(&system, "plain").await;
    let observed = [
        works_as_written::<Above>(&system, "above").await,
        works_as_written::<Below>(&system, "below").await,
    ];
    assert!(plain > 0);
    assert_eq!(observed, [plain, plain], "the handler's box keeps the same future, and no second box");
}

/// Messages of all kinds: patterns instead of names, types without variants, generic ones.
mod kinds {
    use super::*;

    pub(super) struct Pattern(pub(super) Arc<AtomicUsize>);

    #[derive(Variants)]
    pub(super) struct Parcel {
        pub(super) weight: usize,
        pub(super) reply: Reply,
    }

    #[observed]
    #[async_trait]
    impl Actor for Pattern {
        type Msg = Parcel;

        async fn handle(&mut self, _: &mut Context<Self>, Parcel { mut weight, reply }: Parcel) {
            weight *= 2;
            self.0.fetch_add(weight, Ordering::Relaxed);
            let _ = reply.send(0);
        }
    }

    pub(super) struct Ignores(pub(super) Arc<AtomicUsize>);

    #[async_trait]
    #[observed]
    impl Actor for Ignores {
        type Msg = Arc<Mutex<String>>;

        async fn handle(&mut self, _ctx: &mut Context<Self>, _: Self::Msg) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) struct Generic<'a, T, const N: usize>(pub(super) Vec<T>, pub(super) &'a [u8; N]);

    #[observed]
    #[async_trait::async_trait]
    impl<T, const N: usize> Actor for Generic<'static, T, N>
    where
        T: Send + 'static,
    {
        type Msg = T;

        async fn pre_start(&mut self, _: &mut Context<Self>) {
            self.0.reserve(N + self.1.len());
        }

        async fn handle(&mut self, _: &mut Context<Self>, mut message: T) {
            if let Some(last) = self.0.last_mut() {
                std::mem::swap(last, &mut message);
            }
            self.0.push(message);
        }
    }

    /// The trait has this name here, and the attribute is found whatever it is called.
    pub(super) mod renamed {
        use async_trait as tasks;
        use atomr_core::actor::{Actor as Anyone, Context};
        use atomscope_probe::observe::observed as seen;

        pub(crate) struct Renamed(pub(crate) usize);

        #[seen]
        #[tasks::async_trait]
        impl Anyone for Renamed {
            type Msg = usize;

            async fn handle(&mut self, _: &mut Context<Self>, message: usize) {
                self.0 += message;
            }
        }
    }
}

#[tokio::test]
async fn messages_of_all_kinds_can_be_observed() {
    let system = ActorSystem::create("kinds", Config::empty()).await.expect("a system");
    let count = Arc::<AtomicUsize>::default();
    let of = count.clone();
    let pattern =
        system.actor_of(Props::create(move || kinds::Pattern(of.clone())), "pattern").expect("an actor");
    let (reply, answer) = oneshot::channel();
    pattern.tell(kinds::Parcel { weight: 4, reply });
    answer.await.expect("an answer");
    assert_eq!(count.load(Ordering::Relaxed), 8);
    let of = count.clone();
    let ignores =
        system.actor_of(Props::create(move || kinds::Ignores(of.clone())), "ignores").expect("an actor");
    let message = Arc::<Mutex<String>>::default();
    ignores.tell(message.clone());
    while Arc::strong_count(&message) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count.load(Ordering::Relaxed), 9);
    let generic =
        system.actor_of(Props::create(|| kinds::Generic(vec![Tick], &[7])), "generic").expect("an actor");
    generic.tell(Tick);
    let renamed = system.actor_of(Props::create(|| kinds::renamed::Renamed(1)), "renamed").expect("an actor");
    renamed.tell(1);
}

/// What a dump says of the instruments.
fn instruments(telemetry: &TelemetryExtension) -> Value {
    dump(telemetry)["atomscope"]["instruments"].take()
}

/// The handled messages of each variant of the class whose name ends so.
fn handled(instruments: &Value, class: &str) -> Vec<(Option<String>, u64)> {
    let is_it = |name: &Value| name.as_str().is_some_and(|name| name.ends_with(class));
    let classes = instruments["classes"].as_array().expect("a list of classes");
    let of = classes.iter().find(|of| is_it(&of["class"])).expect("the class");
    let variants = of["variants"].as_array().expect("a list of variants").iter();
    let mut handled: Vec<_> = variants
        .map(|variant| {
            (variant["variant"].as_str().map(str::to_owned), variant["handled"].as_u64().expect("a number"))
        })
        .collect();
    handled.retain(|(_, handled)| *handled > 0);
    handled.sort();
    handled
}

async fn node(name: &str) -> (ActorSystem, Arc<TelemetryExtension>) {
    let system = ActorSystem::create(name, Config::empty()).await.expect("a system");
    let telemetry = TelemetryExtension::new(name, 64).install(&system);
    (system, telemetry)
}

/// An actor that says of some messages what they are, by hand.
struct ByHand(Arc<TelemetryExtension>);

#[async_trait]
impl Actor for ByHand {
    type Msg = Ask;

    async fn handle(&mut self, ctx: &mut Context<Self>, ask: Ask) {
        if !matches!(ask, Ask::Size(_)) {
            self.0.actors.enter(ctx, &ask);
        }
        match ask {
            Ask::Total(reply) | Ask::Size(reply) => reply.send(1).expect("it waits"),
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_is_counted_as_its_variant() {
    let (system, telemetry) = node("variants").await;
    let above = telemetry.actors.spawn(&system, Props::create(Above::default), "above").expect("an actor");
    let below = telemetry.actors.spawn(&system, Props::create(Below::default), "below").expect("an actor");
    let plain = telemetry.actors.spawn(&system, Props::create(Plain::default), "plain").expect("an actor");
    for actor in [above, below, plain] {
        for n in 1..=5 {
            ask(&actor, |reply| Ask::Add { n, reply }).await;
        }
        (0..3).for_each(|_| actor.tell(Ask::Fail));
        ask(&actor, Ask::Total).await;
        ask(&actor, Ask::Size).await;
    }
    let of = telemetry.clone();
    let by_hand = Props::create(move || ByHand(of.clone()));
    let by_hand = telemetry.actors.spawn(&system, by_hand, "by-hand").expect("an actor");
    ask(&by_hand, Ask::Total).await;
    ask(&by_hand, Ask::Size).await;
    ask(&by_hand, Ask::Total).await;
    // The answer is sent before the handler has ended.
    let dump = wait_for_dump("all handlers have ended", &telemetry, |dump| {
        let actors = dump["atomscope"]["instruments"]["actors"].as_array().expect("a list");
        actors.len() == 4 && actors.iter().all(|actor| actor["in_flight"].is_null())
    });
    let instruments = &dump.await["atomscope"]["instruments"];
    let named = |name: &str, handled| (Some(name.to_owned()), handled);
    let each = [named("Add", 5), named("Fail", 3), named("Size", 1), named("Total", 1)];
    assert_eq!(handled(instruments, "Above"), each);
    assert_eq!(handled(instruments, "Below"), each);
    assert_eq!(handled(instruments, "Plain"), [(None, 10)]);
    assert_eq!(handled(instruments, "ByHand"), [(None, 1), named("Total", 2)]);
}

#[derive(Variants)]
enum Hang {
    Await,
    Block(std::sync::mpsc::Receiver<()>),
}

struct Hangs;

#[observed]
#[async_trait]
impl Actor for Hangs {
    type Msg = Hang;

    async fn handle(&mut self, _: &mut Context<Self>, hang: Hang) {
        tokio::task::yield_now().await;
        match hang {
            Hang::Await => std::future::pending().await,
            Hang::Block(end) => {
                let _ = end.recv();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_awaits_and_one_that_blocks_its_worker_are_told_apart() {
    let (system, telemetry) = node("modes").await;
    let spawn = |name| telemetry.actors.spawn(&system, Props::create(|| Hangs), name).expect("an actor");
    let (awaits, blocks) = (spawn("awaits"), spawn("blocks"));
    let (end, ends) = std::sync::mpsc::channel();
    awaits.tell(Hang::Await);
    blocks.tell(Hang::Block(ends));
    let telemetry_of = telemetry.clone();
    let told = tokio::task::spawn_blocking(move || {
        let mut told = Value::Null;
        support::wait_until("the handlers say what they do", || {
            let actors = instruments(&telemetry_of)["actors"].take();
            told = json!([
                actors[0]["in_flight"]["mode"],
                actors[0]["variant"],
                actors[1]["in_flight"]["mode"],
                actors[1]["variant"]
            ]);
            told == json!(["awaits", "Await", "runs", "Block"])
        });
    });
    told.await.expect("the modes");
    drop(end);
}
