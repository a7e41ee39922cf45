//! The workers of a node's async runtime that do not come back from the task that they run.
//!
//! The sampler states for each worker how long it has been *away*: it has neither slept nor published its numbers. tokio's
//! workers publish them when they go to sleep and after every 61 tasks, so a long time away is one long poll or a row of up
//! to 61 of them. The time is that of the sampler's last round. It does not grow while the node is stopped or dead.

use std::time::Duration;

use atomscope_layout::decode::subsystems::InstanceList;
use atomscope_layout::instances::{Domain, worker};
use serde::Serialize;

use crate::liveness::{Liveness, Verdict, Wedge};
use crate::report::human::{duration, seconds};
use crate::text::clean;

/// A worker that is away for less is not worth a word.
pub const LONG: Duration = Duration::from_secs(1);
/// A worker that is away for so long has not come back. Full load with handlers of 50 ms stays below: 61 polls, each with
/// the three that may follow it from the same queue place, take 12.2 s.
pub const TOO_LONG: Duration = Duration::from_secs(13);

/// A worker that is away.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AwayWorker {
    /// Its name in `atomscope runtime`.
    pub worker: String,
    /// How long it has been away, in seconds.
    pub away_s: f64,
    #[serde(skip)]
    away: Duration,
}

/// The workers that are away for [`LONG`] or longer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AwayWorkers {
    /// The workers, by name.
    pub list: Vec<AwayWorker>,
    /// The number of all workers.
    pub of: usize,
}

impl AwayWorkers {
    /// Those of a list of instances; `None` if no runtime is attached.
    pub fn of(instances: &InstanceList) -> Option<Self> {
        let all = || instances.of(Domain::Worker);
        let of = instances.count(Domain::Worker)?;
        let list = all().filter_map(|entry| {
            let away = Duration::from_nanos(entry.number(worker::AWAY_NS)?);
            (away >= LONG).then(|| AwayWorker { worker: entry.name.clone(), away_s: seconds(away), away })
        });
        Some(Self { list: list.collect(), of: of as usize })
    }

    /// What is wrong, as a sentence without a full stop; `None` if nothing is. Safe to print.
    ///
    /// A blocked runtime is explained by every worker that is away, and any other node has only those that are away
    /// [`TOO_LONG`]: a worker under full load is away for seconds.
    pub fn alarm(&self, liveness: &Liveness) -> Option<String> {
        let (at_least, is_over) = match liveness.verdict {
            Verdict::NotReady { .. } | Verdict::Closed => return None,
            Verdict::Wedged(Wedge::RuntimeBlocked) => (LONG, false),
            Verdict::Starting | Verdict::Live | Verdict::Stopping => (TOO_LONG, false),
            Verdict::Crashed | Verdict::Wedged(Wedge::Stopped | Wedge::Frozen | Wedge::ProcessStale) => {
                (TOO_LONG, true)
            }
        };
        self.text(at_least, is_over)
    }

    /// Which workers are away for `at_least` so long; `is_over` says it in the past, of the node's last heartbeat.
    pub fn text(&self, at_least: Duration, is_over: bool) -> Option<String> {
        let away: Vec<_> = self.list.iter().filter(|worker| worker.away >= at_least).collect();
        let shortest = away.iter().map(|worker| worker.away).min()?;
        let names: Vec<_> = away.iter().map(|worker| clean(&worker.worker)).collect();
        let (has, have) = if is_over { ("had", "had") } else { ("has", "have") };
        let who = match (names.as_slice(), self.of) {
            ([_], 1) => format!("the only worker of its async runtime {has}"),
            ([name], of) => format!("worker {name} of {of} of its async runtime {has}"),
            (all, of) if all.len() == of => format!("all {of} workers of its async runtime {have}"),
            (several, of) => {
                format!("workers {} of {of} of its async runtime {have}", several.join(", "))
            }
        };
        let when = if is_over { "at its last heartbeat " } else { "" };
        let more = if away.iter().any(|worker| worker.away >= shortest + LONG) { " or longer" } else { "" };
        Some(format!("{when}{who} not come back for {}{more}", duration(shortest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::{Evidence, Notes};

    fn away(seconds: &[u64], of: usize) -> AwayWorkers {
        let list = seconds.iter().enumerate().map(|(number, s)| AwayWorker {
            worker: number.to_string(),
            away_s: *s as f64,
            away: Duration::from_secs(*s),
        });
        AwayWorkers { list: list.collect(), of }
    }

    fn alarm(away: &AwayWorkers, verdict: Verdict) -> Option<String> {
        let evidence = Evidence::Lock;
        let (process_beat_age, runtime_beat_age) = (None, None);
        away.alarm(&Liveness { verdict, notes: Notes::NONE, evidence, process_beat_age, runtime_beat_age })
    }

    #[test]
    fn the_sentence_names_the_workers_and_the_time() {
        let said = |seconds: &[u64], of| away(seconds, of).text(LONG, false).unwrap_or_default();
        assert_eq!(said(&[14], 2), "worker 0 of 2 of its async runtime has not come back for 14.0 s");
        assert_eq!(said(&[14], 1), "the only worker of its async runtime has not come back for 14.0 s");
        assert_eq!(
            said(&[70, 9], 2),
            "all 2 workers of its async runtime have not come back for 9.0 s or longer"
        );
        assert_eq!(said(&[9, 9], 3), "workers 0, 1 of 3 of its async runtime have not come back for 9.0 s");
        assert_eq!(said(&[], 3), "");
    }

    #[test]
    fn full_load_is_no_alarm_and_a_blocked_runtime_names_every_worker_that_is_away() {
        let loaded = away(&[12, 3], 2);
        assert_eq!(alarm(&loaded, Verdict::Live), None);
        let said = alarm(&loaded, Verdict::Wedged(Wedge::RuntimeBlocked));
        assert!(said.is_some_and(|said| said.starts_with("all 2 workers")));
        assert!(alarm(&away(&[13], 2), Verdict::Live).is_some_and(|said| said.starts_with("worker 0 of 2")));
    }

    #[test]
    fn of_a_node_that_ended_or_stands_still_it_is_told_as_it_was() {
        for verdict in [Verdict::Crashed, Verdict::Wedged(Wedge::Stopped)] {
            let said = alarm(&away(&[60], 2), verdict).unwrap_or_default();
            assert_eq!(
                said,
                "at its last heartbeat worker 0 of 2 of its async runtime had not come back for 1 min 0 s"
            );
        }
        assert_eq!(alarm(&away(&[60], 2), Verdict::Closed), None);
    }
}
