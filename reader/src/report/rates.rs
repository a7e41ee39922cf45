//! What a node counts, and how fast that grows.

use std::time::Duration;

use atomscope_layout::decode::{ActorTotals, RegionReader};
use atomscope_layout::metrics::Builtin;

/// What only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub spawned: u64,
    pub stopped: u64,
    pub dead_letters: u64,
    pub events: u64,
    /// Letters and events that were given up by their writers, and stops that no event tells of.
    pub lost: u64,
}

impl Counts {
    /// As they are, but for those of the actors, which `totals` holds.
    pub fn read(reader: &RegionReader<'_>, totals: &ActorTotals) -> Self {
        let events = (0..reader.event_lanes()).map(|lane| reader.event_lane(lane).head());
        let lost = [Builtin::DeadLettersAbandoned, Builtin::EventsAbandoned, Builtin::EventsUntold];
        Self {
            spawned: totals.spawned,
            stopped: totals.stopped,
            dead_letters: reader.dead_letter_total(),
            events: events.fold(0, u64::saturating_add),
            lost: lost.map(|metric| reader.builtin(metric)).iter().fold(0, |a, b| a.saturating_add(*b)),
        }
    }
}

impl Counts {
    /// On average over an interval, at whose start they were `before`; `None` where its length is not known.
    pub fn per_second(&self, before: &Self, interval: Option<Duration>) -> Option<PerSecond> {
        let seconds = interval?.as_secs_f64().max(1e-9);
        let rate = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before)) as f64 / seconds;
        Some(PerSecond {
            spawned: rate(|counts| counts.spawned),
            stopped: rate(|counts| counts.stopped),
            dead_letters: rate(|counts| counts.dead_letters),
            events: rate(|counts| counts.events),
        })
    }
}

/// What some counts grow by in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PerSecond {
    pub spawned: f64,
    pub stopped: f64,
    pub dead_letters: f64,
    pub events: f64,
}
