//! What threads did between two looks at them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::task::{ThreadSample, ThreadSamples, state_word};

/// A thread over an interval. What is unknown is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ThreadRates {
    /// Thread id.
    pub tid: u32,
    /// Its id in the pid namespace of its process.
    pub node_tid: u32,
    /// Its name; not safe to print.
    pub name: String,
    /// Its state at the end, in one word.
    pub state: &'static str,
    /// Processor time in percent of one processor.
    pub cpu_percent: Option<f64>,
    /// The share of the interval, in percent, in which it was ready to run and waited for a processor.
    pub queued_percent: Option<f64>,
    /// The function of the kernel that it sleeps in.
    pub wait_channel: Option<String>,
    /// How often per second it gave its processor away, mostly to wait.
    pub voluntary_switches_per_s: Option<f64>,
    /// How often per second the kernel gave its processor to another thread.
    pub involuntary_switches_per_s: Option<f64>,
    /// The processor that it ran on last.
    pub processor: Option<u64>,
    /// Processor time since its start, in seconds.
    pub cpu_s: Option<f64>,
    /// What it is to its async runtime: `worker`. `None` if that is unknown: a thread that has never waited for work may be a
    /// worker in its first task, or none.
    pub role: Option<&'static str>,
    /// For how long this worker has slept for lack of work, in seconds; `None` while it does not.
    pub parked_s: Option<f64>,
    /// For how long this worker has not slept for lack of work, in seconds; `None` while it does.
    pub awake_s: Option<f64>,
}

impl ThreadRates {
    /// Without an interval the rates are unknown.
    fn new(before: Option<&ThreadSample>, now: &ThreadSample, interval: Option<Duration>) -> Self {
        // A thread that was not there before has begun in the interval, with all its numbers at 0.
        let growth = |of: fn(&ThreadSample) -> Option<u64>| {
            let before = before.map_or(Some(0), of)?;
            Some(of(now)?.saturating_sub(before) as f64 / interval?.as_secs_f64().max(1e-9))
        };
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        let percent = |of| growth(of).map(|ns| tenths(ns / 1e7));
        let per_s = |of| growth(of).map(tenths);
        Self {
            tid: now.tid,
            node_tid: now.node_tid,
            name: now.name.clone(),
            state: state_word(now.state),
            cpu_percent: percent(|thread| thread.cpu_ns),
            queued_percent: percent(|thread| thread.queued_ns),
            wait_channel: now.wait_channel.clone(),
            voluntary_switches_per_s: per_s(|thread| thread.voluntary_switches),
            involuntary_switches_per_s: per_s(|thread| thread.involuntary_switches),
            processor: now.processor,
            cpu_s: now.cpu_ns.map(|ns| (ns as f64 / 1e6).round() / 1e3),
            ..Self::default()
        }
    }
}

/// The threads of a process between two samples of it, those with the most processor time first. A thread that ended in
/// between is left out. Without a sample before, all rates are unknown.
pub fn rates(before: Option<&ThreadSamples>, now: &ThreadSamples) -> Vec<ThreadRates> {
    let interval = before.map(|before| now.at.saturating_duration_since(before.at));
    let key = |thread: &ThreadSample| (thread.tid, thread.start_ticks);
    let threads = before.iter().flat_map(|before| &before.threads);
    let known: HashMap<_, _> = threads.map(|thread| (key(thread), thread)).collect();
    let new = |thread: &ThreadSample| ThreadRates::new(known.get(&key(thread)).copied(), thread, interval);
    let mut rows: Vec<_> = now.threads.iter().map(new).collect();
    rows.sort_by(|a, b| {
        let cpu = |row: &ThreadRates| row.cpu_percent.unwrap_or(0.0);
        cpu(b).total_cmp(&cpu(a)).then(a.tid.cmp(&b.tid))
    });
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn thread(tid: u32, start_ticks: u64, cpu_ns: u64) -> ThreadSample {
        ThreadSample {
            tid,
            node_tid: tid,
            name: format!("thread-{tid}"),
            state: b'S',
            start_ticks,
            cpu_ns: Some(cpu_ns),
            queued_ns: None,
            wait_channel: None,
            voluntary_switches: Some(cpu_ns / 1_000_000),
            involuntary_switches: None,
            processor: Some(1),
        }
    }

    #[test]
    fn rates_are_what_came_in_the_interval_and_the_busiest_is_first() {
        let at = Instant::now();
        let before = ThreadSamples {
            at,
            threads: vec![thread(1, 5, 1_000_000_000), thread(2, 5, 0), thread(3, 5, 9), thread(4, 5, 7)],
            is_cut: false,
        };
        let later = ThreadSamples {
            at: at + Duration::from_secs(2),
            // The first has used half a processor, the second nothing; the third has ended, and its number and that of
            // the fourth are those of new threads.
            threads: vec![
                thread(2, 5, 0),
                thread(1, 5, 2_000_000_000),
                thread(4, 9, 200_000_000),
                thread(5, 9, 4_000_000),
            ],
            is_cut: false,
        };
        let rows = rates(Some(&before), &later);
        let shown: Vec<_> = rows.iter().map(|row| (row.tid, row.cpu_percent)).collect();
        assert_eq!(shown, [(1, Some(50.0)), (4, Some(10.0)), (5, Some(0.2)), (2, Some(0.0))]);
        assert_eq!(rows[0].voluntary_switches_per_s, Some(500.0));
        assert_eq!((rows[0].queued_percent, rows[0].involuntary_switches_per_s), (None, None));
        let first = &rates(None, &later)[0];
        assert_eq!((first.tid, first.cpu_percent, first.voluntary_switches_per_s), (1, None, None));
        assert_eq!(first.cpu_s, Some(2.0), "what is no rate needs no sample before");
    }
}
