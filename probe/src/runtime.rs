//! The async runtime of the node: its heartbeat, the detection of its end, its tasks and injection queue, which the
//! poller reads, and its workers, which the sampler reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};

use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, Instance, worker};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::Condition;
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::task::JoinHandle;

use crate::rounds::LONGEST_ROUND;
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
        writer.workers.get_or_init(|| Workers::new(writer, metrics));
        writer.attached(Attachment::Runtime);
        true
    };
    attach::poll(writer, Box::new(poll));
}

/// The workers of the attached runtime.
///
/// The sampler reads them. That costs three loads per worker and round, and no component that the poller waits for can delay
/// it: a component may wait for the very worker that does not come back.
#[derive(Debug)]
pub(crate) struct Workers {
    metrics: RuntimeMetrics,
    seen: Mutex<Seen>,
}

/// What the last round saw.
#[derive(Debug, Default)]
struct Seen {
    mono_ns: Option<u64>,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    /// None if the region has no room for it.
    instance: Option<Instance>,
    park_unparks: u64,
    /// The busy time that the worker has published itself.
    credited_ns: u64,
    busy_ns: u64,
    away_ns: u64,
}

impl Workers {
    fn new(writer: &RegionWriter, metrics: RuntimeMetrics) -> Self {
        let count = metrics.num_workers();
        let workers = (0..count).map(|number| Worker::new(make_worker(writer, number, count))).collect();
        let workers = Self { metrics, seen: Mutex::new(Seen { mono_ns: None, workers }) };
        workers.sample(writer, clock::mono_ns());
        workers
    }

    /// One round. Returns at once if another thread is at it.
    pub(crate) fn sample(&self, writer: &RegionWriter, mono_ns: u64) {
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let lasted_ns = seen.mono_ns.map_or(0, |before| mono_ns.saturating_sub(before));
        // In a longer round the process stood still, and its workers with it.
        let lasted_ns = lasted_ns.min(LONGEST_ROUND.as_nanos() as u64);
        seen.mono_ns = Some(mono_ns);
        // A worker that does not come back has a task. Without tasks the runtime was dropped, or nobody drives it.
        let has_tasks = self.metrics.num_alive_tasks() > 0;
        for (number, worker) in seen.workers.iter_mut().enumerate() {
            let park_unparks = self.metrics.worker_park_unpark_count(number);
            let credited_ns = self.metrics.worker_total_busy_duration(number).as_nanos() as u64;
            worker.see(park_unparks, credited_ns, if has_tasks { lasted_ns } else { 0 });
            let Some(instance) = worker.instance else { continue };
            let numbers = writer.instances().numbers(instance);
            for (at, value) in worker.numbers() {
                numbers[at].store(value, Ordering::Relaxed);
            }
        }
    }
}

impl Worker {
    fn new(instance: Option<Instance>) -> Self {
        Self { instance, park_unparks: 0, credited_ns: 0, busy_ns: 0, away_ns: 0 }
    }

    /// The count is odd while the worker sleeps.
    fn is_parked(&self) -> bool {
        self.park_unparks % 2 == 1
    }

    /// Takes what the worker has published, `lasted_ns` after the last round; 0 if there is nothing that it could do.
    fn see(&mut self, park_unparks: u64, credited_ns: u64, lasted_ns: u64) {
        let has_moved = (park_unparks, credited_ns) != (self.park_unparks, self.credited_ns);
        (self.park_unparks, self.credited_ns) = (park_unparks, credited_ns);
        self.away_ns =
            if has_moved || self.is_parked() || lasted_ns == 0 { 0 } else { self.away_ns + lasted_ns };
        // The worker credits a stretch only at its end. A counter never falls.
        self.busy_ns = self.busy_ns.max(credited_ns.saturating_add(self.away_ns));
    }

    fn numbers(&self) -> [(usize, u64); 4] {
        [
            (worker::BUSY_NS, self.busy_ns),
            (worker::PARKS, self.park_unparks.div_ceil(2)),
            (worker::PARKED, if self.is_parked() { 2 } else { 1 }),
            (worker::AWAY_NS, self.away_ns),
        ]
    }
}

/// A worker's name is its number with leading zeros, so that names and numbers have the same order.
fn make_worker(writer: &RegionWriter, number: usize, count: usize) -> Option<Instance> {
    let width = count.saturating_sub(1).to_string().len();
    let name = format!("{number:0width$}");
    writer.make_instance(Domain::Worker, writer.instance_key(Domain::Worker, None, &name), None, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(worker: &mut Worker, park_unparks: u64, credited_ns: u64) -> u64 {
        worker.see(park_unparks, credited_ns, 100);
        worker.away_ns
    }

    #[test]
    fn a_worker_is_away_while_it_neither_sleeps_nor_publishes() {
        let worker = &mut Worker::new(None);
        assert_eq!(away(worker, 2, 5), 0, "it has moved");
        assert_eq!([away(worker, 2, 5), away(worker, 2, 5)], [100, 200]);
        assert_eq!(away(worker, 2, 900), 0, "it has published");
        assert_eq!([away(worker, 3, 900), away(worker, 3, 900)], [0, 0], "it sleeps");
        assert_eq!([away(worker, 4, 900), away(worker, 4, 900)], [0, 100]);
        worker.see(4, 900, 0);
        assert_eq!(worker.away_ns, 0, "there is no task");
    }

    #[test]
    fn a_stretch_counts_as_busy_before_its_end_and_only_once() {
        let worker = &mut Worker::new(None);
        let mut busy = |park_unparks, credited_ns| {
            worker.see(park_unparks, credited_ns, 100);
            worker.busy_ns
        };
        assert_eq!([busy(2, 7), busy(2, 7), busy(2, 7)], [7, 107, 207]);
        assert_eq!(busy(3, 260), 260);
        assert_eq!(busy(5, 250), 260, "it never falls");
    }
}
