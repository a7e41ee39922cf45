//! How full a region is, and what was left out of it for want of room.

use atomscope_layout::instances::Domain;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::names::read_cell;
use atomscope_layout::region::Section;
use serde::Serialize;

use crate::attach::{AttachError, Region};
use crate::snapshot::Snapshot;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Level {
    /// In use.
    pub used: u64,
    /// Room, used or not.
    pub room: u64,
}

impl Level {
    /// How full, in percent, rounded down.
    pub fn percent(self) -> u64 {
        self.used.saturating_mul(100) / self.room.max(1)
    }
}

/// How full a region is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Live actors that the table was sized for.
    pub actor_capacity: u64,
    /// Slots of the actor table; there are at least twice as many as actors it was sized for.
    pub actor_slots: Level,
    /// Interned names.
    pub names: Level,
    /// Metrics that have a descriptor.
    pub metrics: Level,
    /// Associations, journals, shards and the like that are listed.
    pub instances: Level,
    /// Histograms.
    pub histograms: Level,
    /// Dead letters that are kept.
    pub dead_letters: Level,
    /// Lanes that some thread has counted or published in, beside the shared one.
    pub lanes: Level,
    /// Events that each lane keeps at most.
    pub events_kept_per_lane: u64,
    /// Events published so far.
    pub events: u64,
    /// Of those, in the lane that threads share which have none of their own.
    pub events_shared_lane: u64,
    /// Events published so far in each lane; the first is the shared one.
    pub lane_events: Vec<u64>,
    /// What did not fit.
    pub drops: Drops,
}

/// What did not fit, since the node's start. What each is stands in [`Builtin`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "those of Builtin say it")]
pub struct Drops {
    pub actors_spilled: u64,
    pub actors_untracked: u64,
    pub texts_cut: u64,
    pub names_full: u64,
    pub dead_letters_abandoned: u64,
    pub events_abandoned: u64,
    pub events_untold: u64,
    pub updates_missed: u64,
    /// Of instances of every kind.
    pub instances_unlisted: u64,
    /// Of the documents as they are now.
    pub rows_left_out: u64,
    pub journal_writes_abandoned: u64,
    pub polls_given_up: u64,
}

impl Drops {
    /// Each with a word on it.
    pub fn list(&self) -> [(u64, &'static str); 12] {
        [
            (self.actors_spilled, "actors counted but not listed (table full around them)"),
            (self.actors_untracked, "actors not kept at all (table full)"),
            (self.texts_cut, "texts cut"),
            (self.names_full, "names without a number (names full)"),
            (self.dead_letters_abandoned, "dead letters given up by their writers"),
            (self.events_abandoned, "events of the shared lane given up by their writers"),
            (self.events_untold, "stops that no event tells of"),
            (self.updates_missed, "updates of actors that came too late"),
            (self.instances_unlisted, "notes of journals, shards and the like that are not listed (no room)"),
            (self.rows_left_out, "rows of the cluster's state and the shards' allocation (no room)"),
            (self.journal_writes_abandoned, "journal writes given up by their writers"),
            (self.polls_given_up, "components not polled any more: their polls panicked"),
        ]
    }
}

impl Usage {
    /// Looks how full `region` is, of which `snapshot` was taken. One look at each name, metric and lane.
    pub fn take(region: &Region, snapshot: &Snapshot) -> Result<Self, AttachError> {
        let reader = region.reader()?;
        let map = reader.map();
        let words = region.words();
        let cells = |section: Section| {
            let used = section
                .range()
                .step_by(section.stride)
                .filter(|start| words.slice(*start..start + section.stride).and_then(read_cell).is_some());
            Level { used: used.count() as u64, room: section.count as u64 }
        };
        let lane_events: Vec<u64> =
            (0..reader.event_lanes()).map(|lane| reader.event_lane(lane).head()).collect();
        let counts = |lane: usize| {
            let start = map.counters.start + lane * map.counters.stride;
            (start..start + map.counters.stride).any(|at| words.load(at) != 0)
        };
        let used = (1..map.counters.count)
            .filter(|lane| counts(*lane) || lane_events.get(*lane).is_some_and(|events| *events > 0));
        let tally = snapshot.tally.unwrap_or_else(|| reader.class_counts().tally);
        let held = tally.listed.saturating_add(tally.unreadable).saturating_add(tally.waiting_stops);
        let instances = &snapshot.subsystems.instances;
        let letters = map.dead_letters.count.saturating_sub(1) as u64;
        let of = |metric| reader.builtin(metric);
        let usage = Self {
            actor_capacity: snapshot.identity.header.actor_capacity,
            actor_slots: Level { used: held, room: map.actor_slots() as u64 },
            names: cells(map.names),
            metrics: Level { used: snapshot.metrics.len() as u64, room: map.metrics.count as u64 },
            instances: Level {
                used: instances.entries.len() as u64 + instances.unreadable,
                // There are at least twice as many slots as instances for which room is promised.
                room: map.instance_slots.count as u64 / 2,
            },
            histograms: Level {
                used: snapshot.metrics.iter().filter(|metric| metric.histogram.is_some()).count() as u64,
                room: map.histograms.count as u64,
            },
            dead_letters: Level { used: snapshot.dead_letters.total.min(letters), room: letters },
            lanes: Level { used: used.count() as u64, room: map.counters.count.saturating_sub(1) as u64 },
            events_kept_per_lane: reader.event_lane(0).capacity(),
            events: lane_events.iter().fold(0, |sum, events| sum.saturating_add(*events)),
            events_shared_lane: lane_events.first().copied().unwrap_or_default(),
            lane_events,
            drops: Drops {
                actors_spilled: of(Builtin::Spilled),
                actors_untracked: of(Builtin::UntrackedSpawns),
                texts_cut: of(Builtin::TextsCut),
                names_full: of(Builtin::NamesFull),
                dead_letters_abandoned: of(Builtin::DeadLettersAbandoned),
                events_abandoned: of(Builtin::EventsAbandoned),
                events_untold: of(Builtin::StopsUnpublished),
                updates_missed: of(Builtin::UpdatesMissed),
                instances_unlisted: Domain::ALL
                    .iter()
                    .fold(0, |sum, domain| sum.saturating_add(of(domain.unlisted()))),
                rows_left_out: snapshot.subsystems.rows_dropped,
                journal_writes_abandoned: of(Builtin::JournalWritesAbandoned),
                polls_given_up: of(Builtin::PollsGivenUp),
            },
        };
        region.still_whole()?;
        Ok(usage)
    }
}
