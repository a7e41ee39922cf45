use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{
    Actor, ActorPath, ActorRef, ActorSystem, Context as ActorContext, Props, SpawnObserver,
};
use atomr_core::prelude::Config;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, oneshot};

use super::{Context, Twins};
use crate::Result;
use crate::harness::{Effort, Side, Time, compare, median};
use crate::record::{Row, Section, Unit, added_cpu, number};

/// An actor that stops at once. The last one of a portion notifies the waiter.
struct Mayfly(Arc<Alive>);

/// The number of actors that still live, and the waiter for the last one.
#[derive(Default)]
struct Alive {
    count: AtomicU64,
    none_left: Notify,
}

#[async_trait]
impl Actor for Mayfly {
    type Msg = ();

    async fn pre_start(&mut self, ctx: &mut ActorContext<Self>) {
        ctx.stop_self();
    }

    async fn handle(&mut self, _: &mut ActorContext<Self>, (): ()) {}
}

impl Drop for Mayfly {
    /// Comes after the actor's stop was reported, so that no stop is reported in another side's turn.
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_one();
        }
    }
}

/// An actor that handles messages, and answers the last one.
struct Clerk;

#[async_trait]
impl Actor for Clerk {
    type Msg = Option<oneshot::Sender<()>>;

    async fn handle(&mut self, _: &mut ActorContext<Self>, letter: Self::Msg) {
        if let Some(reply) = letter {
            // The receiver waits for this answer only, so it is there.
            let _ = reply.send(());
        }
    }
}

/// A system, and the next actor's number.
struct Node {
    system: ActorSystem,
    named: AtomicU64,
}

impl Node {
    fn new(runtime: &Runtime, name: &str, install: impl FnOnce(&ActorSystem)) -> Result<Arc<Self>> {
        let system = runtime.block_on(ActorSystem::create(name, Config::empty()))?;
        let _runtime = runtime.enter();
        install(&system);
        Ok(Arc::new(Self { system, named: AtomicU64::new(0) }))
    }

    /// Spawns so many actors in portions of `in_flight`, and waits until they have stopped. It does not spin, because
    /// that would count as processor time.
    async fn mayflies(self: Arc<Self>, count: u64, in_flight: u64) {
        let alive = Arc::new(Alive::default());
        let mut left = count;
        while left > 0 {
            let now = left.min(in_flight);
            left -= now;
            let first = self.named.fetch_add(now, Ordering::Relaxed);
            // One more than there are actors, so that none is the last before all are spawned.
            alive.count.store(now + 1, Ordering::Release);
            for number in first..first + now {
                let of_them = alive.clone();
                let props = Props::create(move || Mayfly(of_them.clone()));
                if self.system.actor_of(props, &format!("mayfly-{number}")).is_err() {
                    alive.count.fetch_sub(1, Ordering::AcqRel);
                }
            }
            if alive.count.fetch_sub(1, Ordering::AcqRel) != 1 {
                alive.none_left.notified().await;
            }
        }
    }
}

/// Sends so many messages and waits until the last was handled.
async fn letters(clerk: ActorRef<Option<oneshot::Sender<()>>>, count: u64) {
    (1..count).for_each(|_| clerk.tell(None));
    let (reply, replied) = oneshot::channel();
    clerk.tell(Some(reply));
    // An error means that the actor is gone, which shows as an impossibly short time.
    let _ = replied.await;
}

/// The sides of a comparison in one system.
const OURS: usize = 0;
const THEIRS: usize = 1;
const BARE: usize = 2;

/// The observer of the system: it passes each call on to the registry whose turn it is, or to none. Two systems would
/// differ by more than the probe costs, only because their memory lies differently.
///
/// It calls from within its own call, since the calling task shows the probe whether an actor is older than its hooks.
struct Switch {
    twins: Twins,
    side: AtomicUsize,
}

impl SpawnObserver for Switch {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        match self.side.load(Ordering::Relaxed) {
            OURS => self.twins.ours.actors.on_spawn(path, parent, actor_type),
            THEIRS => self.twins.theirs.actors.on_spawn(path, parent, actor_type),
            _ => {}
        }
    }

    fn on_stop(&self, path: &ActorPath) {
        match self.side.load(Ordering::Relaxed) {
            OURS => self.twins.ours.actors.on_stop(path),
            THEIRS => self.twins.theirs.actors.on_stop(path),
            _ => {}
        }
    }

    fn on_mailbox_depth(&self, _: &ActorPath, _: u64) {}
}

/// A load of a node.
struct Load {
    /// Workers of the runtime; none means the current-thread runtime.
    workers: usize,
    /// Actors that live all the time.
    live: usize,
    /// Actors that are spawned before the first of them stops.
    in_flight: u64,
    /// How many times less than `atomr-telemetry` the probe is to add.
    goal: Option<f64>,
}

const fn load(workers: usize, live: usize, in_flight: u64, goal: Option<f64>) -> Load {
    Load { workers, live, in_flight, goal }
}

const LOADS: [Load; 8] = [
    load(1, 0, 256, Some(8.0)),
    load(1, 100, 256, Some(8.0)),
    load(1, 10_000, 256, Some(8.0)),
    load(1, 100_000, 256, Some(8.0)),
    load(1, 10_000, 4096, Some(3.5)),
    load(2, 0, 256, Some(6.0)),
    load(2, 10_000, 256, Some(6.0)),
    load(0, 10_000, 256, None),
];

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let mut bare = Vec::new();
    for load in &LOADS {
        bare.push(spawns_and_stops(context, load, section)?);
    }
    section
        .notes
        .push(format!("Processor time of spawn + stop in a node without a probe: {}.", bare.join("; ")));
    messages(context, section)
}

fn runtime(workers: usize) -> Result<Runtime> {
    let runtime = match workers {
        0 => Builder::new_current_thread().enable_all().build(),
        workers => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    };
    Ok(runtime?)
}

/// Runs `work` inside of a task of the runtime: from an outside thread, each wake-up would cross threads.
fn run(runtime: &Runtime, work: impl Future<Output = ()> + Send + 'static) {
    // A task that panicked has printed it, and counts no time.
    let _ = runtime.block_on(runtime.spawn(work));
}

/// The processor time that each side adds to a spawn and stop, in one system that both observe in turn. Returns what they
/// take without a probe.
fn spawns_and_stops(context: &Context, load: &Load, section: &mut Section) -> Result<String> {
    let Load { workers, in_flight, goal, .. } = *load;
    let live = context.pick(load.live, load.live / 100);
    let runtime = runtime(workers)?;
    let twins = Twins::new(2 * live)?;
    twins.populate(live);
    // The probe learns at its installation which tasks are younger than its hooks. It is installed on another system, where
    // no other observer replaces its own.
    let _installed = Node::new(&runtime, "installed", |system| drop(twins.ours.clone().install(system)))?;
    let switch = Arc::new(Switch { twins, side: AtomicUsize::new(BARE) });
    let node = Node::new(&runtime, "shared", |system| system.set_spawn_observer(switch.clone()))?;

    let side = |side| {
        let (runtime, node, switch) = (&runtime, &node, &switch);
        Side::new(move |_, operations| {
            switch.side.store(side, Ordering::Relaxed);
            run(runtime, node.clone().mayflies(operations, in_flight));
        })
    };
    // Short turns and many rounds, since the differences are small. The warm-up is half a turn, so at least one portion.
    let portions = context.pick((1024 / in_flight).max(2), 1);
    let effort = Effort {
        rounds: context.pick(2, 1) * context.effort.rounds,
        operations: Some(portions * in_flight),
        budget: context.pick(6, 1) * context.effort.budget,
        blocks: 0,
        ..context.effort
    };
    let measured = compare(effort, 1, Time::Process, &[OURS, THEIRS, BARE].map(side))?;
    let counted = [switch.twins.ours.actors.live_count(), switch.twins.theirs.actors.live_count()];
    if counted != [live as u64; 2] {
        return Err(format!("{live} actors live, but the two sides count {counted:?}").into());
    }

    let added = |side| measured.median(|round| added_cpu(round, side, BARE));
    let actors = if live < 1000 { live.to_string() } else { format!("{} k", live / 1000) };
    let on = match workers {
        0 => ", current-thread runtime".into(),
        1 => String::new(),
        workers => format!(", {workers} workers"),
    };
    let at = format!("{actors} live, {in_flight} in flight{on}");
    let text = format!("processor time added to spawn + stop in a node, {at}");
    let mut row =
        Row::new(text, Unit::Ns, added(OURS)).compared_with_number("atomr-telemetry", added(THEIRS)).main();
    let between_turns = measured.twice.iter().map(|[first, second]| second.cpu - first.cpu).collect();
    row.spread = Some((median(between_turns) / row.ours).abs());
    if workers > 1 {
        // On a busy machine the other workers get no processor, and the first one does all alone.
        let busy = measured.median(|round| round[OURS].cpu / round[OURS].wall);
        row.together = ((busy - 1.0) / (workers as f64 - 1.0)).clamp(0.0, 1.0);
    }
    row = row.bound_by(
        "the parts of a spawn and a stop, whose data and code the node's own work has driven out of the caches",
    );
    if (workers, in_flight) == (1, 256) && live > 0 {
        row = row.point("node", "", live as f64);
    }
    section.rows.push(match goal {
        Some(goal) => row.at_least(goal),
        None => row,
    });
    let bare = measured.median(|round| round[BARE].cpu);
    Ok(format!("{} with {at}", number(bare, Unit::Ns)))
}

/// No hook sees a message, so its cost is compared in three systems.
fn messages(context: &Context, section: &mut Section) -> Result<()> {
    let runtime = runtime(1)?;
    let node = |name, install: fn(&ActorSystem)| -> Result<_> {
        let node = Node::new(&runtime, name, install)?;
        let _runtime = runtime.enter();
        let clerk = node.system.actor_of(Props::create(|| Clerk), "clerk")?;
        Ok((node, clerk))
    };
    let nodes = [
        node("ours", |system| drop(atomscope_probe::TelemetryExtension::new("bench", 1024).install(system)))?,
        node("theirs", |system| {
            drop(atomr_telemetry::TelemetryExtension::new("bench", 1024).install(system))
        })?,
        node("bare", |_| {})?,
    ];
    let sides = nodes.each_ref().map(|(_, clerk)| {
        let runtime = &runtime;
        Side::new(move |_, operations| run(runtime, letters(clerk.clone(), operations)))
    });
    let effort = Effort { slice: Duration::from_millis(context.pick(10, 1)), blocks: 0, ..context.effort };
    let measured = compare(effort, 1, Time::Process, &sides)?;
    section.rows.push(
        Row::of("tell in a node, wall", &measured)
            .compared_with("atomr-telemetry", THEIRS, &measured)
            .limit("no probe", BARE, &measured),
    );
    Ok(())
}
