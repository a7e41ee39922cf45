//! The main counters of a node, and their rates over an interval.

use std::time::Duration;

use atomscope_layout::decode::{ActorTotals, RegionReader};
use atomscope_layout::metrics::Builtin;

/// The main counters of a node since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Actors spawned.
    pub spawned: u64,
    /// Actors stopped.
    pub stopped: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Events published.
    pub events: u64,
    /// Dead letters and events that their writers abandoned, and stops without an event.
    pub lost: u64,
}

impl Counters {
    /// Reads the counters; those of actors come from `totals`, which the caller has read already. A read costs a load for
    /// each lane of the node and metric, and allocates nothing.
    pub fn read(reader: &RegionReader<'_>, totals: &ActorTotals) -> Self {
        let events = (0..reader.event_lanes()).map(|lane| reader.event_lane(lane).head());
        let lost = [Builtin::DeadLettersAbandoned, Builtin::EventsAbandoned, Builtin::StopsUnpublished];
        Self {
            spawned: totals.spawned,
            stopped: totals.stopped,
            dead_letters: reader.dead_letter_total(),
            events: events.fold(0, u64::saturating_add),
            lost: lost.map(|metric| reader.builtin(metric)).iter().fold(0, |a, b| a.saturating_add(*b)),
        }
    }

    /// The average rates over an interval that began with `before`; `None` if its length is unknown.
    pub fn per_second(&self, before: &Self, interval: Option<Duration>) -> Option<CounterRates> {
        let seconds = interval?.as_secs_f64().max(1e-9);
        let rate = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before)) as f64 / seconds;
        Some(CounterRates {
            spawned: rate(|counts| counts.spawned),
            stopped: rate(|counts| counts.stopped),
            dead_letters: rate(|counts| counts.dead_letters),
            events: rate(|counts| counts.events),
        })
    }
}

/// How much the counters grow in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CounterRates {
    /// Actors spawned per second.
    pub spawned: f64,
    /// Actors stopped per second.
    pub stopped: f64,
    /// Dead letters per second.
    pub dead_letters: f64,
    /// Events published per second.
    pub events: f64,
}
