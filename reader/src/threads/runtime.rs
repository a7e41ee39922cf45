//! What a node tells of its own threads: which are workers of an async runtime, and since when each sleeps or not.

use std::time::Duration;

use atomscope_layout::decode::{Moment, RuntimeThread, RuntimeThreads, ThreadState};

use super::rates::ThreadRates;
use crate::report::human::seconds;
use crate::workers::AwayWorkers;

/// A worker that is away for so long may have been awake for this much less: the two are measured by different clocks.
const SLACK_S: f64 = 0.5;

/// Adds to the threads of a process what its node tells of them at this time.
pub fn add_roles(rows: &mut [ThreadRates], told: &RuntimeThreads, at: &Moment) {
    for row in rows {
        let is_it =
            |thread: &&RuntimeThread| thread.tid == row.node_tid && thread.state != ThreadState::Ended;
        let Some(thread) = told.list.iter().find(is_it) else { continue };
        let is_worker = is_worker(thread);
        row.role = is_worker.then_some("worker");
        let lasts_s = lasts(thread, at).filter(|_| is_worker).map(seconds);
        (row.parked_s, row.awake_s) = match thread.state {
            ThreadState::Parked => (lasts_s, None),
            _ => (None, lasts_s),
        };
    }
}

/// The threads of the workers that are away, each with the time for which it has been awake; `None` if the node does not tell all
/// its workers, or if others have been awake for as long. Their ids are those in the node's pid namespace.
pub fn threads_of_away<'a>(
    away: &AwayWorkers,
    told: &'a RuntimeThreads,
    at: &Moment,
) -> Option<Vec<(&'a RuntimeThread, Duration)>> {
    let shortest_s = away.list.iter().map(|worker| worker.away_s).reduce(f64::min)?;
    let is_worker = |thread: &&RuntimeThread| is_worker(thread) && thread.state != ThreadState::Ended;
    let workers: Vec<_> = told.list.iter().filter(is_worker).collect();
    // Which of several runtimes it is, is not known.
    let is_whole = workers.len() == away.of && told.list.iter().all(|thread| thread.runtime == 0);
    let runs = workers.into_iter().filter(|thread| is_whole && thread.state == ThreadState::Runs);
    let awake = runs.map(|thread| Some((thread, lasts(thread, at)?))).collect::<Option<Vec<_>>>()?;
    let is_long = |(_, awake): &(_, Duration)| awake.as_secs_f64() + SLACK_S >= shortest_s;
    let awake: Vec<_> = awake.into_iter().filter(is_long).collect();
    (awake.len() == away.list.len()).then_some(awake)
}

/// Only workers sleep for lack of work. One whose first task has not ended yet is not known.
fn is_worker(thread: &RuntimeThread) -> bool {
    thread.parks > 0
}

fn lasts(thread: &RuntimeThread, at: &Moment) -> Option<Duration> {
    at.since(&thread.since_at?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::AwayWorker;

    fn moment(s: i128) -> Moment {
        let ns = s * 1_000_000_000;
        Moment { unix_ns: ns, mono_ns: Some(ns), boot_ns: Some(ns) }
    }

    fn thread(tid: u32, parks: u64, state: ThreadState, since_s: i128) -> RuntimeThread {
        let since_at = Some(moment(since_s));
        RuntimeThread { tid, runtime: 0, name: None, parks, state, since: None, since_at }
    }

    fn told(list: Vec<RuntimeThread>) -> RuntimeThreads {
        RuntimeThreads { list, unreadable: 0 }
    }

    fn found(seconds: &[f64], of: usize, told: &RuntimeThreads) -> Option<Vec<(u32, u64)>> {
        let list =
            seconds.iter().enumerate().map(|(number, away_s)| AwayWorker::new(number, *away_s)).collect();
        let found = threads_of_away(&AwayWorkers { list, of }, told, &moment(100))?;
        Some(found.into_iter().map(|(thread, awake)| (thread.tid, awake.as_secs())).collect())
    }

    #[test]
    fn the_threads_of_workers_that_are_away_are_those_that_have_been_awake_for_so_long() {
        use ThreadState::{Ended, Parked, Runs};
        let mut told = told(vec![
            thread(1, 5, Runs, 80),
            thread(2, 9, Parked, 50),
            thread(3, 9, Runs, 99),
            thread(4, 0, Runs, 10),
            thread(5, 7, Ended, 10),
        ]);
        assert_eq!(found(&[18.0], 3, &told), Some(vec![(1, 20)]));
        assert_eq!(found(&[20.4], 3, &told), Some(vec![(1, 20)]), "clocks differ");
        assert_eq!(found(&[18.0, 19.0], 3, &told), None, "one of them is not told");
        assert_eq!(found(&[0.9], 3, &told), None, "two have been awake for as long");
        assert_eq!(found(&[18.0], 4, &told), None, "a worker is not told");
        assert_eq!(found(&[], 3, &told), None);
        told.list[3].runtime = 1;
        assert_eq!(found(&[18.0], 3, &told), None, "of which runtime it is, is not known");
    }

    #[test]
    fn a_thread_has_the_role_that_the_node_tells_of_it_in_its_own_namespace() {
        use ThreadState::{Ended, Parked, Runs};
        let told = told(vec![
            thread(1, 5, Ended, 1),
            thread(1, 5, Parked, 90),
            thread(2, 1, Runs, 97),
            thread(3, 0, Runs, 97),
        ]);
        let mut rows =
            [11, 12, 13, 14].map(|tid| ThreadRates { tid, node_tid: tid - 10, ..ThreadRates::default() });
        add_roles(&mut rows, &told, &moment(100));
        let roles = rows.map(|row| (row.role, row.parked_s, row.awake_s));
        let expected = [
            (Some("worker"), Some(10.0), None),
            (Some("worker"), None, Some(3.0)),
            (None, None, None),
            (None, None, None),
        ];
        assert_eq!(roles, expected);
    }
}
