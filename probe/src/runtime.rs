//! The async runtime that the node runs on: its workers, tasks and common queue, asked at each round of the poller.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, Instance, worker};
use atomscope_layout::metrics::Builtin;
use tokio::runtime::Handle;

use crate::poller;
use crate::region::Core;

/// Polls this runtime from now on. Nothing is asked of it where nobody could see the answer.
pub(crate) fn watch(core: &Arc<Core>, runtime: Handle) {
    if core.is_private() {
        return;
    }
    let mut workers: Vec<Option<Instance>> = Vec::new();
    let poll = move |core: &Core| {
        let metrics = runtime.metrics();
        let count = metrics.num_workers();
        core.set(Builtin::RuntimeWorkers, count as u64);
        core.set(Builtin::RuntimeTasks, metrics.num_alive_tasks() as u64);
        core.set(Builtin::RuntimeQueue, metrics.global_queue_depth() as u64);
        if workers.len() != count {
            workers = (0..count).map(|number| make(core, number, count)).collect();
        }
        for (number, instance) in workers.iter().enumerate() {
            let Some(instance) = instance else { continue };
            let numbers = core.instances().numbers(*instance);
            let busy_ns = metrics.worker_total_busy_duration(number).as_nanos() as u64;
            numbers[worker::BUSY_NS].store(busy_ns, Ordering::Relaxed);
            numbers[worker::PARKS].store(metrics.worker_park_count(number), Ordering::Relaxed);
        }
        core.attached(Attachment::Runtime);
        true
    };
    poller::poll(core, Box::new(poll));
}

/// A worker is named by its number, as wide as the last one's, so that the names' order is that of the numbers.
fn make(core: &Core, number: usize, count: usize) -> Option<Instance> {
    let width = count.saturating_sub(1).to_string().len();
    let name = format!("{number:0width$}");
    core.make_instance(Domain::Worker, core.instance_key(Domain::Worker, None, &name), None, &name)
}
