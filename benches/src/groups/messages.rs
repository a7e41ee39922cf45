use std::sync::Arc;

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
use crate::harness::{Effort, Measured, Side, Time, compare, median};
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
const COUNTED: usize = 5;
const SIDES: usize = 6;

/// A node whose actors are spawned in six ways.
struct Node {
    system: ActorSystem,
    sampled: Arc<TelemetryExtension>,
    timed: Arc<TelemetryExtension>,
    counted: Arc<TelemetryExtension>,
}

impl Node {
    fn new(runtime: &Runtime) -> Result<Self> {
        let system = runtime.block_on(ActorSystem::create("messages", Config::empty()))?;
        let _runtime = runtime.enter();
        let sampled = TelemetryExtension::with_region(Region::builder("bench").build()?);
        sampled.clone().install(&system);
        // They only count messages, and so need no hooks.
        let [timed, counted] = [1, u32::MAX].map(|every| Region::builder("bench").time_every(every).build());
        let (timed, counted) =
            (TelemetryExtension::with_region(timed?), TelemetryExtension::with_region(counted?));
        Ok(Self { system, sampled, timed, counted })
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
            let Self { system, sampled, timed, counted } = self;
            sides[SAMPLED].push(sampled.actors.spawn(system, Props::create(plain), &name("sampled"))?);
            sides[TIMED].push(timed.actors.spawn(system, Props::create(plain), &name("timed"))?);
            sides[COUNTED].push(counted.actors.spawn(system, Props::create(plain), &name("counted"))?);
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

/// Where a cell, a mailbox and a task happen to lie changes the time of a message by more than the probe adds, and stays as long as
/// they live. So everything is made anew so many times.
const PLACEMENTS: usize = 9;

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut works = Vec::new();
    for actors in [1, 64, context.pick(2000, 200)] {
        works.push(Work { actors, awaits: false, measured: Vec::new() });
        works.push(Work { actors, awaits: true, measured: Vec::new() });
    }
    for _ in 0..context.pick(PLACEMENTS, 1) {
        let node = Node::new(&runtime)?;
        for work in &mut works {
            work.measured.push(work.compare(context, &runtime, &node)?);
        }
        runtime.block_on(node.system.terminate());
    }
    let plain: Vec<_> = works.iter().map(|work| work.add_rows(section)).collect();
    section.notes.push(format!(
        "Processor time of a message without a probe, sent and handled: {}. Medians of {} nodes, one after the other; the spread is \
         what a node's result mostly differs from their median.",
        plain.join("; "),
        context.pick(PLACEMENTS, 1),
    ));
    Ok(())
}

/// What the actors of all sides do.
struct Work {
    actors: usize,
    awaits: bool,
    /// The comparison in each node.
    measured: Vec<Measured>,
}

impl Work {
    fn compare(&self, context: &Context, runtime: &Runtime, node: &Node) -> Result<Measured> {
        let _runtime = runtime.enter();
        let sides = match self.awaits {
            false => node.actors("clerk", self.actors, || Clerk, || ObservedClerk)?,
            true => node.actors("waiter", self.actors, || Waiter, || ObservedWaiter)?,
        };
        let side = |actors: &Letters| {
            let actors = actors.clone();
            Side::new(move |_, operations| {
                // A task that panicked has printed it, and counts no time.
                let _ = runtime.block_on(runtime.spawn(send(actors.clone(), operations)));
            })
        };
        // The same number of messages on each side, many for each actor: the last ones are not counted.
        let effort = Effort {
            operations: Some(context.pick(32_000, 2_000)),
            budget: context.effort.budget / 3,
            blocks: 0,
            ..context.effort
        };
        compare(effort, 1, Time::Process, &sides.each_ref().map(side))
    }

    /// A row for what each side adds to a message. Returns what a message takes without a probe.
    fn add_rows(&self, section: &mut Section) -> String {
        let (actors, goal) = (self.actors, if self.awaits { GOAL_AWAITING_NS } else { GOAL_NS });
        let at = match (actors, self.awaits) {
            (1, false) => "1 actor".to_owned(),
            (1, true) => "1 actor, handler awaits".to_owned(),
            (_, false) => format!("{actors} actors"),
            (_, true) => format!("{actors} actors, handler awaits"),
        };
        let in_nodes = |of: &dyn Fn(&Measured) -> f64| self.measured.iter().map(of).collect::<Vec<_>>();
        for (side, how) in [
            (SAMPLED, "counted and sampled"),
            (COUNTED, "counted"),
            (TIMED, "all timed"),
            (OBSERVED, "with variants"),
            (INTERCEPTED, "by an interceptor that does nothing"),
        ] {
            let added = in_nodes(&|measured| measured.median(|round| added_cpu(round, side, PLAIN)));
            let ours = median(added.clone());
            let differences = added.iter().map(|added| (added - ours).abs()).collect();
            let work = format!("processor time added to a message, {how}, {at}");
            let mut row = Row::new(work, Unit::Ns, ours);
            row.spread = Some((median(differences) / ours).abs());
            if side == SAMPLED {
                row = row.goal(format!("≤ {goal} ns"), ours <= goal).main().bound_by(
                    "the cell's line, which the node's own work has driven out of the caches, the number of the task at the end of \
                     the handler, and two readings of the clock for one message in sixteen",
                );
            }
            section.rows.push(row);
        }
        let plain = median(in_nodes(&|measured| measured.median(|round| round[PLAIN].cpu)));
        format!("{} with {at}", number(plain, Unit::Ns))
    }
}
