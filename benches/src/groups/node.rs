use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use atomr_core::actor::{Actor, ActorRef, ActorSystem, Context as ActorContext, Props};
use atomr_core::prelude::Config;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};

use super::Context;
use crate::Result;
use crate::harness::{Effort, Measured, Side, Time, compare};
use crate::record::{Row, Section, Unit, added_cpu};

/// An actor that stops at once. The last one of a group notifies the waiter.
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

    async fn post_stop(&mut self, _: &mut ActorContext<Self>) {
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

/// A system with one of the probes, or none.
struct Node {
    system: ActorSystem,
    clerk: ActorRef<Option<oneshot::Sender<()>>>,
    named: AtomicU64,
}

impl Node {
    fn new(runtime: &Runtime, name: &str, install: impl FnOnce(&ActorSystem)) -> Result<Arc<Self>> {
        let system = runtime.block_on(ActorSystem::create(name, Config::empty()))?;
        let _runtime = runtime.enter();
        install(&system);
        let clerk = system.actor_of(Props::create(|| Clerk), "clerk")?;
        Ok(Arc::new(Self { system, clerk, named: AtomicU64::new(0) }))
    }

    /// Spawns so many actors in portions, and waits until they have stopped. It does not spin, because that would count
    /// as processor time.
    async fn mayflies(self: Arc<Self>, count: u64) {
        const AT_A_TIME: u64 = 256;
        let alive = Arc::new(Alive::default());
        let mut left = count;
        while left > 0 {
            let now = left.min(AT_A_TIME);
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

    /// Sends so many messages and waits until the last was handled.
    async fn letters(self: Arc<Self>, count: u64) {
        (1..count).for_each(|_| self.clerk.tell(None));
        let (reply, replied) = oneshot::channel();
        self.clerk.tell(Some(reply));
        // An error means that the actor is gone, which shows as an impossibly short time.
        let _ = replied.await;
    }
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    // With a second worker, chance decides which one runs an actor, and that costs more than the measured work.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let bare = Node::new(&runtime, "bare", |_| {})?;
    let ours = Node::new(&runtime, "ours", |system| {
        atomscope_probe::TelemetryExtension::new("bench", 1024).install(system);
    })?;
    let theirs = Node::new(&runtime, "theirs", |system| {
        atomr_telemetry::TelemetryExtension::new("bench", 1024).install(system);
    })?;
    let effort = Effort {
        slice: Duration::from_millis(context.pick(10, 1)),
        budget: 4 * context.effort.budget,
        batches: 0,
        ..context.effort
    };
    let nodes = [&ours, &theirs, &bare];

    let mayflies = |node| driven(&runtime, node, Node::mayflies);
    let measured = compare(effort, 1, Time::Process, &nodes.map(mayflies))?;
    rows("spawn + stop", &measured, section);
    let letters = |node| driven(&runtime, node, Node::letters);
    let measured = compare(effort, 1, Time::Process, &nodes.map(letters))?;
    rows("tell", &measured, section);
    Ok(())
}

/// Work inside of a task of the runtime: from an outside thread, each wake-up would cross threads.
fn driven<'a, F>(runtime: &'a Runtime, node: &'a Arc<Node>, work: fn(Arc<Node>, u64) -> F) -> Side<'a>
where
    F: Future<Output = ()> + Send + 'static,
{
    Side::new(move |_, operations| {
        // A task that panicked has printed it, and counts no time.
        let _ = runtime.block_on(runtime.spawn(work(node.clone(), operations)));
    })
}

fn rows(work: &str, measured: &Measured, section: &mut Section) {
    section.rows.push(
        Row::of(format!("{work} in a node, wall"), measured)
            .compared_with("atomr-telemetry", 1, measured)
            .limit("no probe", 2, measured),
    );
    let [ours, theirs, bare] = [0, 1, 2].map(|side| measured.median(|round| round[side].cpu));
    let mut row = Row::new(format!("{work} in a node, processor time"), Unit::Ns, ours)
        .compared_with_number("atomr-telemetry", theirs);
    row.limit =
        Some(crate::record::Compared { name: "no probe", value: bare, times: ours / bare, worst: None });
    section.rows.push(row);
    if work == "spawn + stop" {
        let added = |side| measured.median(|round| added_cpu(round, side, 2));
        let row = Row::new("processor time added to spawn + stop in a node", Unit::Ns, added(0))
            .compared_with_number("atomr-telemetry", added(1));
        let bound = "lines that a node with work of its own has driven out of the cache: control words, slot, text, two \
                     events, counters. Hot, the same takes a fifth. Tried: the control words of a key in two lines, one \
                     pass over them, as many lines of a slot as its path needs";
        section.rows.push(row.at_least(8.0).bound_by(bound).main());
    }
}
