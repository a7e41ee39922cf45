//! The async runtime of the node: its heartbeat, the detection of its end, and its tasks and injection queue, which the poller
//! reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, Instance};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::Condition;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::workers::Workers;
use crate::writer::RegionWriter;
use crate::{attach, clock};

/// After so long without a heartbeat the poller checks whether the runtime is being dropped. Readers call a runtime blocked
/// later than that.
const LATE_NS: u64 = 2_000_000_000;

/// Starts the heartbeat of the current async runtime, if there is one. The sampler wakes its task, so that it needs no timer
/// of the runtime.
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
    let mut end = RuntimeEnd { runtime, test_work: None, spawned: None };
    attach::poll(writer, Box::new(move |writer| end.check(writer)));
}

/// Held by the heartbeat's task, which a runtime drops when it is dropped itself.
struct Beat(Weak<RegionWriter>);

impl Beat {
    /// None once the region is closed, when the task ends.
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

/// Detects the end of the runtime.
struct RuntimeEnd {
    runtime: Handle,
    /// Work that tests whether the runtime accepts any, and whether it has run.
    test_work: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
    /// The number of spawned actors when the runtime was dropped.
    spawned: Option<u64>,
}

impl RuntimeEnd {
    fn check(&mut self, writer: &RegionWriter) -> bool {
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
        // No task is left, but actors are spawned: the node runs on another runtime, which is unknown.
        writer.header().no_runtime_beat();
        writer.header().withdraw(Condition::RuntimeDropped);
        false
    }

    /// Whether the runtime is being dropped but waits for busy workers, so that it has dropped no task yet. It then refuses
    /// blocking work at once.
    fn is_shutting_down(&mut self) -> bool {
        let runtime = &self.runtime;
        let (work, is_done) = self.test_work.get_or_insert_with(|| {
            let is_done = Arc::new(AtomicBool::new(false));
            let done = is_done.clone();
            (runtime.spawn_blocking(move || done.store(true, Ordering::Release)), is_done)
        });
        if !work.is_finished() {
            return false;
        }
        let is_refused = !is_done.load(Ordering::Acquire);
        self.test_work = None;
        is_refused
    }
}

/// Attaches a runtime, unless the region is private and no reader could see the result. The poller reads its tasks and its
/// queue, the sampler its workers.
pub(crate) fn watch(writer: &Arc<RegionWriter>, runtime: Handle) {
    if writer.is_private() {
        return;
    }
    let poll = move |writer: &RegionWriter| {
        let metrics = runtime.metrics();
        writer.set(Builtin::RuntimeWorkers, metrics.num_workers() as u64);
        writer.set(Builtin::RuntimeTasks, metrics.num_alive_tasks() as u64);
        writer.set(Builtin::RuntimeQueue, metrics.global_queue_depth() as u64);
        writer.workers.get_or_init(|| {
            let count = metrics.num_workers();
            let instances = (0..count).map(|number| make_worker(writer, number, count));
            let workers = Workers::new(metrics.clone(), instances);
            workers.sample(writer.instances(), clock::mono_ns());
            workers
        });
        writer.attached(Attachment::Runtime);
        true
    };
    attach::poll(writer, Box::new(poll));
}

/// A worker's name is its number with leading zeros, so that names and numbers have the same order.
fn make_worker(writer: &RegionWriter, number: usize, count: usize) -> Option<Instance> {
    let width = count.saturating_sub(1).to_string().len();
    let name = format!("{number:0width$}");
    writer.make_instance(Domain::Worker, writer.instance_key(Domain::Worker, None, &name), None, &name)
}
