//! The workers of the attached runtime: how busy each is, and for how long each has been away from its scheduler.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, TryLockError};

use atomscope_layout::instances::{Instance, Instances, worker};
use tokio::runtime::RuntimeMetrics;

use crate::rounds::LONGEST_ROUND;

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
    /// The workers of a runtime, with the instance of each. [`Self::sample`] fills these.
    pub(crate) fn new(metrics: RuntimeMetrics, instances: impl Iterator<Item = Option<Instance>>) -> Self {
        let workers = instances.map(Worker::new).collect();
        Self { metrics, seen: Mutex::new(Seen { mono_ns: None, workers }) }
    }

    /// One round. Returns at once if another thread is at it.
    pub(crate) fn sample(&self, instances: Instances<'_>, mono_ns: u64) {
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
            let numbers = instances.numbers(instance);
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
