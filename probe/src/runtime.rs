//! The async runtime that the node runs on: its beat, and its end; its workers, tasks and common queue, asked at each round
//! of the poller.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, Instance, worker};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::Condition;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::writer::RegionWriter;
use crate::{attach, clock};

/// A runtime that has not beaten for so long is asked whether it is being dropped: before readers call it blocked.
const LATE_NS: u64 = 2_000_000_000;

/// Starts the runtime's beat on the current async runtime, if there is one. The sampler wakes its task, which needs no
/// timer of the runtime for that.
pub(crate) fn start_beat(writer: &Arc<RegionWriter>) {
    let Ok(runtime) = Handle::try_current() else { return };
    if writer.is_private() {
        return;
    }
    writer.header().runtime_beat(clock::mono_ns());
    let (wake, beat) = (writer.wake_runtime.clone(), Beat(Arc::downgrade(writer)));
    runtime.spawn(async move {
        loop {
            wake.notified().await;
            let Some(writer) = beat.writer() else { return };
            writer.header().runtime_beat(clock::mono_ns());
        }
    });
    let mut end = End { runtime, asked: None, spawned: None };
    attach::poll(writer, Box::new(move |writer| end.look(writer)));
}

/// What the task of the beat holds. A runtime drops its tasks when it is dropped.
struct Beat(Weak<RegionWriter>);

impl Beat {
    /// None once the region is closed, at which the task ends by itself.
    fn writer(&self) -> Option<Arc<RegionWriter>> {
        self.0.upgrade().filter(|writer| !writer.is_closing())
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if let Some(writer) = self.writer() {
            writer.header().raise(Condition::RuntimeDropped);
        }
    }
}

/// What is looked for at each round of the poller.
struct End {
    runtime: Handle,
    /// Work that the runtime was given, and whether it was done.
    asked: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
    /// Actors that had been spawned when the runtime was gone.
    spawned: Option<u64>,
}

impl End {
    fn look(&mut self, writer: &RegionWriter) -> bool {
        let Some(reader) = writer.reader() else { return false };
        if !reader.conditions().has(Condition::RuntimeDropped) {
            let is_late = clock::mono_ns().saturating_sub(reader.runtime_beat().mono_ns) > LATE_NS;
            if is_late && self.is_shutting_down() {
                writer.header().raise(Condition::RuntimeDropped);
            }
            return true;
        }
        let spawned = reader.builtin(Builtin::Spawned);
        if self.runtime.metrics().num_alive_tasks() > 0 || *self.spawned.get_or_insert(spawned) == spawned {
            return true;
        }
        // None of its tasks is left, and yet actors are spawned: the node runs on another runtime, of which nothing is known.
        writer.header().no_runtime_beat();
        writer.header().withdraw(Condition::RuntimeDropped);
        false
    }

    /// Whether the runtime is being dropped, and waits for workers that are all busy, so that it has dropped no task yet: it
    /// then refuses blocking work at once.
    fn is_shutting_down(&mut self) -> bool {
        let runtime = &self.runtime;
        let (work, is_done) = self.asked.get_or_insert_with(|| {
            let is_done = Arc::new(AtomicBool::new(false));
            let done = is_done.clone();
            (runtime.spawn_blocking(move || done.store(true, Ordering::Release)), is_done)
        });
        if !work.is_finished() {
            return false;
        }
        let is_refused = !is_done.load(Ordering::Acquire);
        self.asked = None;
        is_refused
    }
}

/// Polls this runtime from now on. Nothing is asked of it where nobody could see the answer.
pub(crate) fn watch(writer: &Arc<RegionWriter>, runtime: Handle) {
    if writer.is_private() {
        return;
    }
    let mut workers: Vec<Option<Instance>> = Vec::new();
    let poll = move |writer: &RegionWriter| {
        let metrics = runtime.metrics();
        let count = metrics.num_workers();
        writer.set(Builtin::RuntimeWorkers, count as u64);
        writer.set(Builtin::RuntimeTasks, metrics.num_alive_tasks() as u64);
        writer.set(Builtin::RuntimeQueue, metrics.global_queue_depth() as u64);
        if workers.len() != count {
            workers = (0..count).map(|number| make(writer, number, count)).collect();
        }
        for (number, instance) in workers.iter().enumerate() {
            let Some(instance) = instance else { continue };
            let numbers = writer.instances().numbers(*instance);
            let busy_ns = metrics.worker_total_busy_duration(number).as_nanos() as u64;
            numbers[worker::BUSY_NS].store(busy_ns, Ordering::Relaxed);
            numbers[worker::PARKS].store(metrics.worker_park_count(number), Ordering::Relaxed);
        }
        writer.attached(Attachment::Runtime);
        true
    };
    attach::poll(writer, Box::new(poll));
}

/// A worker is named by its number, as wide as the last one's, so that the names' order is that of the numbers.
fn make(writer: &RegionWriter, number: usize, count: usize) -> Option<Instance> {
    let width = count.saturating_sub(1).to_string().len();
    let name = format!("{number:0width$}");
    writer.make_instance(Domain::Worker, writer.instance_key(Domain::Worker, None, &name), None, &name)
}
