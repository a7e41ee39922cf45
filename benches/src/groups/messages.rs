use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{
    Actor, ActorRef, ActorSystem, Context as ActorContext, MessageInterceptor, Metadata, Props, SpanGuard,
};
use atomr_core::prelude::Config;
use atomscope_probe::observe::{Variants, observed};
use atomscope_probe::{Region, TelemetryExtension};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::Context;
use crate::Result;
use crate::harness::{Effort, Side, Time, compare, median};
use crate::record::{Row, Section, Unit, added_cpu, number};

/// The message of all actors here. The last one of a turn is answered.
#[derive(Variants)]
pub(super) enum Letter {
    Order,
    Last(oneshot::Sender<()>),
}

impl Letter {
    fn answer(self) {
        if let Self::Last(reply) = self {
            // The receiver waits for this answer only, so it is there.
            let _ = reply.send(());
        }
    }
}

/// An actor whose handler returns at once.
struct Clerk;

#[async_trait]
impl Actor for Clerk {
    type Msg = Letter;

    async fn handle(&mut self, _: &mut ActorContext<Self>, letter: Letter) {
        letter.answer();
    }
}

/// The same with the variant of each message and the state of its handler.
struct ObservedClerk;

#[observed]
#[async_trait]
impl Actor for ObservedClerk {
    type Msg = Letter;

    async fn handle(&mut self, _: &mut ActorContext<Self>, letter: Letter) {
        letter.answer();
    }
}

/// An actor whose handler awaits once.
pub(super) struct Waiter;

#[async_trait]
impl Actor for Waiter {
    type Msg = Letter;

    async fn handle(&mut self, _: &mut ActorContext<Self>, letter: Letter) {
        tokio::task::yield_now().await;
        letter.answer();
    }
}

/// The same with the variant of each message and the state of its handler.
struct ObservedWaiter;

#[observed]
#[async_trait]
impl Actor for ObservedWaiter {
    type Msg = Letter;

    async fn handle(&mut self, _: &mut ActorContext<Self>, letter: Letter) {
        tokio::task::yield_now().await;
        letter.answer();
    }
}

/// What atomr takes for telling somebody of the beginning and the end of each handler.
struct Nothing;

impl MessageInterceptor for Nothing {
    fn before_handle(&self, _: &Metadata) -> SpanGuard {
        SpanGuard::holding(End)
    }
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        std::hint::black_box(self);
    }
}

/// The actors of a side.
pub(super) type Letters = Arc<Vec<ActorRef<Letter>>>;

/// Sends so many messages to the actors in turn, and waits until all of them have handled their last one.
pub(super) async fn send(actors: Letters, count: u64) {
    let actors = &*actors;
    for (_, actor) in (0..count).zip(actors.iter().cycle()) {
        actor.tell(Letter::Order);
    }
    let mut replies = Vec::with_capacity(actors.len());
    for actor in actors {
        let (reply, replied) = oneshot::channel();
        actor.tell(Letter::Last(reply));
        replies.push(replied);
    }
    for replied in replies {
        // An error means that the actor is gone, which shows as an impossibly short time.
        let _ = replied.await;
    }
}

/// The sides of a comparison. The first one is the default.
const SAMPLED: usize = 0;
const TIMED: usize = 1;
const OBSERVED: usize = 2;
const PLAIN: usize = 3;
const INTERCEPTED: usize = 4;
const SIDES: usize = 5;

/// A node whose actors are spawned in five ways.
struct Node {
    system: ActorSystem,
    sampled: Arc<TelemetryExtension>,
    timed: Arc<TelemetryExtension>,
}

impl Node {
    fn new(runtime: &Runtime) -> Result<Self> {
        let system = runtime.block_on(ActorSystem::create("messages", Config::empty()))?;
        let _runtime = runtime.enter();
        let sampled = TelemetryExtension::with_region(Region::builder("bench").build()?);
        sampled.clone().install(&system);
        // It only counts messages, and so needs no hooks.
        let timed = TelemetryExtension::with_region(Region::builder("bench-timed").time_every(1).build()?);
        Ok(Self { system, sampled, timed })
    }

    /// So many actors for each side.
    fn actors<A: Actor<Msg = Letter>, O: Actor<Msg = Letter>>(
        &self,
        name: &str,
        actors: usize,
        plain: fn() -> A,
        observed: fn() -> O,
    ) -> Result<[Letters; SIDES]> {
        let mut sides: [Vec<ActorRef<Letter>>; SIDES] = Default::default();
        for number in 0..actors {
            let name = |side: &str| format!("{name}-{actors}-{side}-{number}");
            let Self { system, sampled, timed } = self;
            sides[SAMPLED].push(sampled.actors.spawn(system, Props::create(plain), &name("sampled"))?);
            sides[TIMED].push(timed.actors.spawn(system, Props::create(plain), &name("timed"))?);
            sides[OBSERVED].push(sampled.actors.spawn(system, Props::create(observed), &name("observed"))?);
            sides[PLAIN].push(system.actor_of(Props::create(plain), &name("plain"))?);
            let intercepted = Props::create(plain).with_interceptor(Arc::new(Nothing));
            sides[INTERCEPTED].push(system.actor_of(intercepted, &name("intercepted"))?);
        }
        Ok(sides.map(Arc::new))
    }
}

/// The goal of what is added to a message whose handler returns at once.
const GOAL_NS: f64 = 10.0;
/// The same for a handler that awaits.
const GOAL_AWAITING_NS: f64 = 15.0;

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let node = Node::new(&runtime)?;
    let _runtime = runtime.enter();
    let mut plain = Vec::new();
    for actors in [1, 64, context.pick(2000, 200)] {
        let kinds = [
            ("", GOAL_NS, node.actors("clerk", actors, || Clerk, || ObservedClerk)?),
            (
                ", handler awaits",
                GOAL_AWAITING_NS,
                node.actors("waiter", actors, || Waiter, || ObservedWaiter)?,
            ),
        ];
        for (kind, goal, sides) in kinds {
            let at = format!("{actors} actor{}{kind}", if actors == 1 { "" } else { "s" });
            plain.push(messages(context, section, &runtime, &sides, &at, goal)?);
        }
    }
    section.notes.push(format!(
        "Processor time of a message without a probe, sent and handled: {}.",
        plain.join("; ")
    ));
    Ok(())
}

/// What each side adds to a message. Returns what a message takes without a probe.
fn messages(
    context: &Context,
    section: &mut Section,
    runtime: &Runtime,
    sides: &[Letters; SIDES],
    at: &str,
    goal: f64,
) -> Result<String> {
    let side = |actors: &Letters| {
        let actors = actors.clone();
        Side::new(move |_, operations| {
            // A task that panicked has printed it, and counts no time.
            let _ = runtime.block_on(runtime.spawn(send(actors.clone(), operations)));
        })
    };
    // The same number of messages on each side, many for each actor: the last ones are not counted.
    let effort = Effort {
        rounds: context.pick(4, 1) * context.effort.rounds,
        operations: Some(context.pick(64_000, 2_000)),
        slice: Duration::from_millis(context.pick(10, 1)),
        budget: context.pick(2, 1) * context.effort.budget,
        blocks: 0,
    };
    let measured = compare(effort, 1, Time::Process, &sides.each_ref().map(side))?;
    let added = |side| measured.median(|round| added_cpu(round, side, PLAIN));
    for (side, how) in [(SAMPLED, "counted and sampled"), (TIMED, "all timed"), (OBSERVED, "with variants")] {
        let mut row =
            Row::new(format!("processor time added to a message, {how}, {at}"), Unit::Ns, added(side));
        if side == SAMPLED {
            let between_turns = measured.twice.iter().map(|[first, second]| second.cpu - first.cpu).collect();
            row.spread = Some((median(between_turns) / row.ours).abs());
            let reached = row.ours <= goal;
            let least = added(INTERCEPTED);
            row = row.limit_number("an interceptor that does nothing", least);
            row = row.goal(format!("≤ {goal} ns"), reached).main().bound_by(
                "the cell's line, which the node's own work has driven out of the caches, the number of the task at the end of \
                 the handler, and two readings of the clock for one message in sixteen",
            );
        }
        section.rows.push(row);
    }
    Ok(format!("{} with {at}", number(measured.median(|round| round[PLAIN].cpu), Unit::Ns)))
}
