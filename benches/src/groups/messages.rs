use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::Command;
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
const COUNTED: usize = 5;
const SIDES: usize = 6;

/// A node whose actors are spawned in six ways.
struct Node {
    system: ActorSystem,
    sampled: Arc<TelemetryExtension>,
    timed: Arc<TelemetryExtension>,
    counted: Arc<TelemetryExtension>,
    /// What lies between the actors.
    between: Vec<Vec<u8>>,
}

/// Another number at each call.
fn random() -> usize {
    RandomState::new().build_hasher().finish() as usize
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
        Ok(Self { system, sampled, timed, counted, between: Vec::new() })
    }

    /// So many actors for each side, which are spawned in any order.
    fn actors<A: Actor<Msg = Letter>, O: Actor<Msg = Letter>>(
        &mut self,
        name: &str,
        actors: usize,
        plain: fn() -> A,
        observed: fn() -> O,
    ) -> Result<[Letters; SIDES]> {
        let mut sides: [Vec<ActorRef<Letter>>; SIDES] = Default::default();
        let Self { system, sampled, timed, counted, between } = self;
        for number in 0..actors {
            let first = random();
            for turn in 0..SIDES {
                let side = first.wrapping_add(turn) % SIDES;
                let (name, plain) = (format!("{name}-{actors}-{side}-{number}"), Props::create(plain));
                between.push(Vec::with_capacity(random() % 4096));
                sides[side].push(match side {
                    SAMPLED => sampled.actors.spawn(system, plain, &name)?,
                    TIMED => timed.actors.spawn(system, plain, &name)?,
                    COUNTED => counted.actors.spawn(system, plain, &name)?,
                    OBSERVED => sampled.actors.spawn(system, Props::create(observed), &name)?,
                    INTERCEPTED => system.actor_of(plain.with_interceptor(Arc::new(Nothing)), &name)?,
                    _ => system.actor_of(plain, &name)?,
                });
            }
        }
        Ok(sides.map(Arc::new))
    }
}

/// The goal of what is added to a message whose handler returns at once.
const GOAL_NS: f64 = 10.0;
/// The same for a handler that awaits.
const GOAL_AWAITING_NS: f64 = 15.0;

/// Where a cell, a mailbox and a task happen to lie changes the time of a message by more than the probe adds, and stays as long as
/// they live. So there are so many nodes, one after the other, in a process in which nothing was measured before.
const NODES: usize = 9;

/// What the actors of all sides do.
struct Work {
    actors: usize,
    awaits: bool,
}

fn works(context: &Context) -> impl Iterator<Item = Work> + use<> {
    let actors = [1, 64, context.pick(2000, 200)];
    actors.into_iter().flat_map(|actors| [false, true].map(|awaits| Work { actors, awaits }))
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("messages").args(context.is_quick.then_some("--quick"));
    let output = command.output()?;
    let nodes: Vec<Vec<[f64; SIDES]>> = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("no results: {}", String::from_utf8_lossy(&output.stderr)))?;
    let mut plain = Vec::new();
    for (at, work) in works(context).enumerate() {
        let sides: Vec<_> = nodes.iter().filter_map(|works| works.get(at)).collect();
        work.add_rows(section, &sides);
        let cost = median(sides.iter().map(|sides| sides[PLAIN]).collect());
        plain.push(format!("{} with {work}", number(cost, Unit::Ns)));
    }
    section.notes.push(format!(
        "Processor time of a message without a probe, sent and handled: {}. Each number is the median of {} nodes, and \
         the spread is the median of their differences from it.",
        plain.join("; "),
        nodes.len(),
    ));
    Ok(())
}

/// Prints for each node and each work what each side adds to a message, and at the place of the plain side what that takes.
pub fn in_nodes(context: &Context) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let nodes = (0..context.pick(NODES, 1)).map(|_| {
        let mut node = Node::new(&runtime)?;
        let measured = works(context).map(|work| work.measure(context, &runtime, &mut node));
        let measured = measured.collect::<Result<Vec<_>>>();
        runtime.block_on(node.system.terminate());
        measured
    });
    println!("{}", serde_json::to_string(&nodes.collect::<Result<Vec<_>>>()?)?);
    Ok(())
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = if self.actors == 1 { "" } else { "s" };
        let awaits = if self.awaits { ", handler awaits" } else { "" };
        write!(f, "{} actor{several}{awaits}", self.actors)
    }
}

impl Work {
    fn measure(&self, context: &Context, runtime: &Runtime, node: &mut Node) -> Result<[f64; SIDES]> {
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
        let measured = compare(effort, 1, Time::Process, &sides.each_ref().map(side))?;
        Ok(std::array::from_fn(|side| match side {
            PLAIN => measured.median(|round| round[PLAIN].cpu),
            side => measured.median(|round| added_cpu(round, side, PLAIN)),
        }))
    }

    /// A row for what each side adds to a message.
    fn add_rows(&self, section: &mut Section, nodes: &[&[f64; SIDES]]) {
        let goal = if self.awaits { GOAL_AWAITING_NS } else { GOAL_NS };
        for (side, how) in [
            (SAMPLED, "counted and sampled"),
            (COUNTED, "counted"),
            (TIMED, "all timed"),
            (OBSERVED, "with variants"),
            (INTERCEPTED, "by an interceptor that does nothing"),
        ] {
            let ours = median(nodes.iter().map(|sides| sides[side]).collect());
            let differences = nodes.iter().map(|sides| (sides[side] - ours).abs()).collect();
            let work = format!("processor time added to a message, {how}, {self}");
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
    }
}
