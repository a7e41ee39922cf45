//! Threads of watched async runtimes.

use serde::Serialize;

use super::clock::{Moment, rfc3339};
use super::reader::RegionReader;
use crate::seqlock::Patience;
use crate::threads::{self, ThreadRecord};

/// A thread of a watched runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeThread {
    /// Its id, in the node's pid namespace.
    pub tid: u32,
    /// The number of its runtime, in the order in which runtimes were watched.
    pub runtime: u64,
    /// Its name as the kernel knows it, 15 bytes at most.
    pub name: Option<String>,
    /// How often it went to sleep as a worker. 0: it never did, as a thread for blocking calls.
    pub parks: u64,
    /// What it does.
    pub state: ThreadState,
    /// Since when: RFC 3339, UTC; `None` if unknown.
    pub since: Option<String>,
    /// `since` by the node's clocks.
    #[serde(skip)]
    pub since_at: Option<Moment>,
}

/// What a thread of a runtime does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreadState {
    /// It sleeps, as a worker without work.
    Parked,
    /// It runs, or waits for something else than work.
    Runs,
    /// It has ended.
    Ended,
}

impl RuntimeThread {
    /// Whether it is a worker: it has slept for lack of work. A thread for blocking calls never does, nor does a worker whose
    /// first task does not end.
    pub fn is_worker(&self) -> bool {
        self.parks > 0
    }
}

/// The threads of the runtimes that are watched from their builders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeThreads {
    /// The threads, in the order of their slots.
    pub list: Vec<RuntimeThread>,
    /// Unreadable slots.
    pub unreadable: u64,
}

impl RegionReader<'_> {
    /// The threads of the runtimes that are watched from their builders. A pass over their slots.
    pub fn runtime_threads(&self) -> RuntimeThreads {
        let (mut found, clock) = (RuntimeThreads::default(), self.clock());
        for record in self.thread_records() {
            let Some(record) = record else {
                found.unreadable += 1;
                continue;
            };
            if record.is_used() {
                let since_at = clock.as_ref().and_then(|clock| clock.moment(record.since));
                found.list.push(RuntimeThread {
                    tid: record.tid(),
                    runtime: record.runtime,
                    name: name(&record),
                    parks: record.parks.div_ceil(2),
                    state: match record.is_parked() {
                        _ if record.has_ended() => ThreadState::Ended,
                        true => ThreadState::Parked,
                        false => ThreadState::Runs,
                    },
                    since: clock.as_ref().and_then(|clock| clock.unix_ns(record.since)).map(rfc3339),
                    since_at,
                });
            }
        }
        found
    }

    /// The stamp of each thread's last change.
    pub(super) fn each_thread_stamp(&self, see: impl FnMut(u64)) {
        let records = self.thread_records().flatten().filter(ThreadRecord::is_used);
        records.map(|record| record.since).for_each(see);
    }

    /// Each slot; `None` for one that cannot be read.
    fn thread_records(&self) -> impl Iterator<Item = Option<ThreadRecord>> {
        let (section, stride) = (self.section(self.map.threads), self.map.threads.stride);
        let mut patience = Patience::for_a_scan();
        (0..self.map.threads.count).map(move |number| {
            let slot = section.slice(number * stride..(number + 1) * stride)?;
            threads::read_patiently(slot, &mut patience).ok()
        })
    }
}

fn name(record: &ThreadRecord) -> Option<String> {
    let bytes = record.name.split(|byte| *byte == 0).next().unwrap_or_default();
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}
