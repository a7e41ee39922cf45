//! What instrumented actors did between two looks: rates.

use std::collections::HashMap;
use std::time::Duration;

use atomscope_layout::decode::{ActorList, ActorStats, ClassStats, Moment};

/// What each instrumented actor of a list had done at one time, to compare it with a later one.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    at: Option<Moment>,
    by_cell: HashMap<u64, Done>,
}

/// What an actor had done.
#[derive(Debug, Clone, Copy)]
struct Done {
    handled: u64,
    busy_ns: u64,
    failures: u32,
    restarts: u32,
    depth: Option<u64>,
    spawned: Option<Moment>,
}

/// What an actor did between two looks, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActorRates {
    /// Messages handled, per second.
    pub handled_per_s: f64,
    /// The share of the time in which a handler was in flight, in percent.
    pub busy_percent: f64,
    /// Failures, per second.
    pub failures_per_s: f64,
    /// Failures in the whole time.
    pub failures: u64,
    /// Restarts in the whole time.
    pub restarts: u64,
    /// By how much its mailbox has grown, in messages per second; negative if it has shrunk. `None` if its depth is unknown.
    pub growth_per_s: Option<f64>,
}

/// The rates of the instrumented actors.
#[derive(Debug, Clone, Default)]
pub struct Rates(HashMap<u64, ActorRates>);

impl Rates {
    /// The rates of an actor; `None` if it was not seen twice.
    pub fn of(&self, stats: &ActorStats<'_>) -> Option<ActorRates> {
        self.0.get(&stats.cell).copied()
    }
}

impl Activity {
    /// What the actors of `list`, which was read at the time `at`, had done.
    pub fn of(list: &ActorList, at: Option<Moment>) -> Self {
        let done = |stats: ActorStats<'_>, depth, spawned| {
            let ActorStats { handled, failures, restarts, .. } = stats;
            (stats.cell, Done { handled, busy_ns: busy_ns(&stats, at), failures, restarts, depth, spawned })
        };
        let named = list
            .iter()
            .filter_map(|actor| Some(done(actor.stats()?, actor.mailbox_depth(), actor.spawned())));
        let unnamed = list.unnamed().map(|(_, stats)| done(stats, None, None));
        Self { at, by_cell: named.chain(unnamed).collect() }
    }

    /// What the actors have done since `earlier`. An actor that was spawned in between had done nothing at that time. One that
    /// was there and was not seen, and one that came and whose spawn is unknown, are left out.
    pub fn since(&self, earlier: &Self) -> Rates {
        let time = self.at.zip(earlier.at).and_then(|(at, earlier)| at.since(&earlier));
        let Some(time) = time.filter(|time| !time.is_zero()) else { return Rates::default() };
        let of = |(cell, now): (&u64, &Done)| {
            let came = || {
                let is_new = now.spawned?.is_after(&earlier.at?);
                let depth = now.depth.map(|_| 0);
                is_new.then_some(Done {
                    handled: 0,
                    busy_ns: 0,
                    failures: 0,
                    restarts: 0,
                    depth,
                    spawned: now.spawned,
                })
            };
            let then = earlier.by_cell.get(cell).copied().or_else(came)?;
            let growth = |now: u64, then: u64| tenths((now as f64 - then as f64) / time.as_secs_f64());
            let grown = |now: u64, then: u64| now.saturating_sub(then) as f64 / time.as_secs_f64();
            let rates = ActorRates {
                handled_per_s: tenths(grown(now.handled, then.handled)),
                busy_percent: percent(grown(now.busy_ns, then.busy_ns) / 1e9),
                failures_per_s: grown(now.failures.into(), then.failures.into()),
                failures: now.failures.saturating_sub(then.failures).into(),
                restarts: now.restarts.saturating_sub(then.restarts).into(),
                growth_per_s: now.depth.zip(then.depth).map(|(now, then)| growth(now, then)),
            };
            Some((*cell, rates))
        };
        Rates(self.by_cell.iter().filter_map(of).collect())
    }
}

/// Time in handlers, with that in flight, in nanoseconds.
pub(super) fn busy_ns(stats: &ActorStats<'_>, at: Option<Moment>) -> u64 {
    let flight = in_flight(stats, at).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    stats.busy_ns.saturating_add(flight)
}

/// How long the handler in flight has lasted so far; `None` without one, or if its begin is unknown.
pub fn in_flight(stats: &ActorStats<'_>, at: Option<Moment>) -> Option<Duration> {
    at?.since(&stats.in_flight?.since?)
}

/// The weight of a message that is timed, unless every message is: the region does not tell it.
const TIMED_EVERY: u64 = 16;
/// So many messages at least must have been timed for their slowest hundredth to tell something.
const TELLING: u64 = 100;

/// As [`ClassStats::p99_ns`]; `None` if too few messages were timed for it to tell something.
pub fn telling_p99_ns(class: &ClassStats) -> Option<u64> {
    class.p99_ns().filter(|_| class.handle_time.count >= TELLING * TIMED_EVERY)
}

/// The share of an actor's life in which a handler was in flight, in percent.
pub fn busy_percent(stats: &ActorStats<'_>, spawned: Option<Moment>, at: Option<Moment>) -> Option<f64> {
    let life = at?.since(&spawned?).filter(|life| !life.is_zero())?;
    Some(percent(busy_ns(stats, at) as f64 / 1e9 / life.as_secs_f64()))
}

/// A share in percent with one decimal. Busy times are estimates, and an actor handles one message at a time.
fn percent(share: f64) -> f64 {
    tenths(share.clamp(0.0, 1.0) * 100.0)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
