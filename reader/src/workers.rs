//! The workers of a node's async runtime that do not come back from the task that they run.
//!
//! The sampler states for each worker how long it has been *away*: it has neither slept nor published its numbers. A
//! worker of tokio publishes them when it goes to sleep and after every 61 polls. So a long time away is one poll that does
//! not end or a row of long ones, and only the length of the time tells which. The time is that of the sampler's last round. It does not grow while the node is stopped or dead.

use std::time::Duration;

use atomscope_layout::decode::subsystems::InstanceList;
use atomscope_layout::instances::{Domain, worker};
use serde::Serialize;

use crate::liveness::{Liveness, Verdict, Wedge};
use crate::report::human::{duration, seconds};
use crate::text::clean;

/// A worker that is away for less is not listed.
const LISTED: Duration = Duration::from_secs(1);
/// A worker that is away for so long is worth a note: its polls take longer than 80 ms. Under full load with polls of 50 ms a
/// worker is away for 3 s.
pub const LONG: Duration = Duration::from_secs(5);
/// A worker that is away for so long does not come back. One actor whose mailbox never runs empty has 128 messages handled in
/// each poll, so with handlers of 50 ms its worker is away for 61 times 128 times 50 ms, which is 390 s.
pub const TOO_LONG: Duration = Duration::from_secs(400);

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

#[cfg(test)]
impl AwayWorker {
    pub(crate) fn new(number: usize, away_s: f64) -> Self {
        Self { worker: number.to_string(), away_s, away: Duration::from_secs_f64(away_s) }
    }
}

/// A sentence about workers that are away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The sentence, without a full stop. Safe to print.
    pub text: String,
    /// Whether nothing but a poll that does not end explains it, with handlers of up to 50 ms. Else an actor whose mailbox
    /// never runs empty explains it too.
    pub is_certain: bool,
}

/// The workers that are away for a second or longer.
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
            (away >= LISTED).then(|| AwayWorker { worker: entry.name.clone(), away_s: seconds(away), away })
        });
        Some(Self { list: list.collect(), of: of as usize })
    }

    /// What there is to say about them; `None` if nothing is.
    pub fn notice(&self, liveness: &Liveness) -> Option<Notice> {
        let (at_least, is_over) = match liveness.verdict {
            Verdict::NotReady { .. } | Verdict::Closed | Verdict::Failed => return None,
            // Every worker that is away is a part of the reason.
            Verdict::Wedged(Wedge::RuntimeBlocked) => (LISTED, false),
            Verdict::Starting | Verdict::Live | Verdict::Stopping => (LONG, false),
            Verdict::Crashed | Verdict::Wedged(Wedge::Stopped | Wedge::Frozen | Wedge::ProcessStale) => {
                (LONG, true)
            }
        };
        let certain = self.sentence(TOO_LONG, is_over).map(|text| Notice { text, is_certain: true });
        certain.or_else(|| self.sentence(at_least, is_over).map(|text| Notice { text, is_certain: false }))
    }

    /// Which workers are away for `at_least` so long, and for how long; `None` if none is. Safe to print.
    pub fn text(&self, at_least: Duration) -> Option<String> {
        self.sentence(at_least, false)
    }

    /// Which workers are away for `at_least` so long; `is_over` says it in the past, of the node's last heartbeat.
    fn sentence(&self, at_least: Duration, is_over: bool) -> Option<String> {
        let away: Vec<_> = self.list.iter().filter(|worker| worker.away >= at_least).collect();
        let shortest = away.iter().map(|worker| worker.away).min()?;
        let names: Vec<_> = away.iter().map(|worker| clean(&worker.worker)).collect();
        let (has, have) = if is_over { ("had", "had") } else { ("has", "have") };
        let verb = if at_least >= TOO_LONG { "come back" } else { "paused" };
        let what = match (names.as_slice(), self.of) {
            ([_], 1) => format!("its only worker {has} not {verb}"),
            ([name], of) => format!("worker {name} of {of} {has} not {verb}"),
            (all, of) if all.len() == of => format!("none of its {of} workers {has} {verb}"),
            (several, of) => format!("workers {} of {of} {have} not {verb}", several.join(", ")),
        };
        let when = if is_over { "at its last heartbeat " } else { "" };
        let more = if away.iter().any(|worker| worker.away >= shortest + LISTED) { " or longer" } else { "" };
        Some(format!("{when}{what} for {}{more}", duration(shortest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::LastWords;
    use crate::liveness::{Evidence, Notes};

    fn away(seconds: &[u64], of: usize) -> AwayWorkers {
        let list = seconds.iter().enumerate().map(|(number, s)| AwayWorker {
            worker: number.to_string(),
            away_s: *s as f64,
            away: Duration::from_secs(*s),
        });
        AwayWorkers { list: list.collect(), of }
    }

    fn notice(away: &AwayWorkers, verdict: Verdict) -> Option<(String, bool)> {
        let evidence = Evidence::Lock;
        let (process_beat_age, runtime_beat_age) = (None, None);
        let last_words = LastWords::NONE;
        let liveness = Liveness {
            verdict,
            notes: Notes::NONE,
            evidence,
            process_beat_age,
            runtime_beat_age,
            last_words,
        };
        away.notice(&liveness).map(|notice| (notice.text, notice.is_certain))
    }

    #[test]
    fn the_sentence_names_the_workers_and_the_time() {
        let said = |seconds: &[u64], of| away(seconds, of).sentence(LISTED, false).unwrap_or_default();
        assert_eq!(said(&[14], 2), "worker 0 of 2 has not paused for 14.0 s");
        assert_eq!(said(&[14], 1), "its only worker has not paused for 14.0 s");
        assert_eq!(said(&[70, 9], 2), "none of its 2 workers has paused for 9.0 s or longer");
        assert_eq!(said(&[9, 9], 3), "workers 0, 1 of 3 have not paused for 9.0 s");
        assert_eq!(said(&[], 3), "");
    }

    #[test]
    fn a_worker_with_long_polls_is_no_alarm_until_only_a_poll_that_does_not_end_explains_it() {
        let live = |seconds| notice(&away(&[seconds], 2), Verdict::Live);
        assert_eq!(live(4), None);
        assert_eq!(live(399), Some(("worker 0 of 2 has not paused for 6 min 39 s".to_owned(), false)));
        assert_eq!(live(400), Some(("worker 0 of 2 has not come back for 6 min 40 s".to_owned(), true)));
    }

    #[test]
    fn a_blocked_runtime_names_every_worker_that_is_away() {
        let said = notice(&away(&[2, 3], 2), Verdict::Wedged(Wedge::RuntimeBlocked)).unwrap_or_default().0;
        assert_eq!(said, "none of its 2 workers has paused for 2.0 s or longer");
    }

    #[test]
    fn of_a_node_that_ended_or_stands_still_it_is_told_as_it_was() {
        for verdict in [Verdict::Crashed, Verdict::Wedged(Wedge::Stopped)] {
            let said = notice(&away(&[60], 2), verdict).unwrap_or_default().0;
            assert_eq!(said, "at its last heartbeat worker 0 of 2 had not paused for 1 min 0 s");
        }
        assert_eq!(notice(&away(&[60], 2), Verdict::Closed), None);
    }
}
