//! How full a region is, and what was dropped for lack of space.

use atomscope_layout::instances::Domain;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::names::read_cell;
use atomscope_layout::region::Section;
use serde::Serialize;

use crate::attach::{AttachError, Region};
use crate::snapshot::Snapshot;

/// How much of a capacity is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fill {
    /// In use.
    pub used: u64,
    /// The capacity, used or free.
    pub capacity: u64,
}

impl Fill {
    /// The used share in percent, rounded down.
    pub fn percent(self) -> u64 {
        self.used.saturating_mul(100) / self.capacity.max(1)
    }
}

/// How full a region is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Actors that have a slot. There are a few more slots than the capacity, because each lane may hold free ones.
    pub actors: Fill,
    /// Interned names.
    pub names: Fill,
    /// Metrics that have a descriptor.
    pub metrics: Fill,
    /// Instances of subsystems: associations, journals, shards and so on.
    pub instances: Fill,
    /// Histograms.
    pub histograms: Fill,
    /// Dead letters in the ring.
    pub dead_letters: Fill,
    /// Slots of the failure log.
    pub failures: Fill,
    /// Lanes in which some thread has counted or published, without the shared lane.
    pub lanes: Fill,
    /// Capacity of each lane in events.
    pub events_kept_per_lane: u64,
    /// Events published so far.
    pub events: u64,
    /// Events of the shared lane, which is for threads without a lane of their own.
    pub events_shared_lane: u64,
    /// Events published so far in each lane; the first is the shared lane.
    pub lane_events: Vec<u64>,
    /// What was dropped.
    pub drops: Drops,
}

/// What was dropped, cut or abandoned since the node's start; [`Builtin`] documents each counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "those of Builtin apply")]
pub struct Drops {
    pub actors_spilled: u64,
    pub actors_untracked: u64,
    pub texts_cut: u64,
    pub names_full: u64,
    pub dead_letters_abandoned: u64,
    pub events_abandoned: u64,
    /// Stops that were counted but are no event.
    pub stops_unpublished: u64,
    pub updates_missed: u64,
    /// The sum over the domains of instances.
    pub instances_unlisted: u64,
    /// Rows that the documents dropped, as they are now.
    pub rows_dropped: u64,
    pub journal_writes_abandoned: u64,
    pub failures_unlisted: u64,
    pub failures_missed: u64,
    pub panics_abandoned: u64,
    pub polls_panicked: u64,
    pub metrics_unlisted: u64,
    pub records_unlisted: u64,
}

impl Drops {
    /// Each number with the words for it.
    pub fn list(&self) -> [(u64, &'static str); 17] {
        [
            (self.actors_spilled, "actors counted but not listed (table full)"),
            (self.actors_untracked, "actors not tracked (table and index full)"),
            (self.texts_cut, "texts cut"),
            (self.names_full, "names without a number (names full)"),
            (self.dead_letters_abandoned, "dead letters abandoned by their writers"),
            (self.events_abandoned, "events of the shared lane abandoned by their writers"),
            (self.stops_unpublished, "stops without an event"),
            (self.updates_missed, "updates of actors that came too late"),
            (self.instances_unlisted, "records of journals, shards and the like dropped (no free slot)"),
            (
                self.rows_dropped,
                "rows of the cluster's state and the shards' allocation dropped (document full)",
            ),
            (self.journal_writes_abandoned, "journal writes abandoned by their writers"),
            (self.failures_unlisted, "panics, errors and warnings missing in the failure log (log full)"),
            (
                self.failures_missed,
                "panics, errors and warnings of which nothing was noted (the probe's list was locked)",
            ),
            (self.panics_abandoned, "panics counted but not kept one by one"),
            (self.polls_panicked, "components no longer polled: their polls panicked"),
            (
                self.metrics_unlisted,
                "times a metric was refused (no room, or its name, labels, kind or unit)",
            ),
            (self.records_unlisted, "times no slot was free for a record of the application's own"),
        ]
    }
}

impl Usage {
    /// Reads how full `region` is; the caller must just have taken `snapshot` of it. It scans the names and the lanes once,
    /// and the actors if the snapshot is one [without actors](Snapshot::without_actors).
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn take(region: &Region, snapshot: &Snapshot) -> Result<Self, AttachError> {
        let reader = region.reader()?;
        let map = reader.map();
        let words = region.words();
        let cells = |section: Section| {
            let used = section
                .range()
                .step_by(section.stride)
                .filter(|start| words.slice(*start..start + section.stride).and_then(read_cell).is_some());
            Fill { used: used.count() as u64, capacity: section.count as u64 }
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
        let instances = &snapshot.subsystems.instances;
        let letters = map.dead_letters.count.saturating_sub(1) as u64;
        let of = |metric| reader.builtin(metric);
        let usage = Self {
            actors: Fill {
                used: tally.listed.saturating_add(tally.unreadable),
                capacity: snapshot.identity.header.actor_capacity,
            },
            names: cells(map.names),
            metrics: Fill { used: snapshot.metrics.len() as u64, capacity: map.metrics.count as u64 },
            instances: Fill {
                used: instances.entries.len() as u64 + instances.unreadable,
                capacity: map.instances.count as u64,
            },
            histograms: Fill {
                used: snapshot.metrics.iter().filter(|metric| metric.histogram.is_some()).count() as u64,
                capacity: map.histograms.count as u64,
            },
            dead_letters: Fill { used: snapshot.dead_letters.total.min(letters), capacity: letters },
            failures: Fill {
                used: snapshot.failures.log.len() as u64 + snapshot.failures.unreadable,
                capacity: map.failures.count as u64,
            },
            lanes: Fill { used: used.count() as u64, capacity: map.counters.count.saturating_sub(1) as u64 },
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
                stops_unpublished: of(Builtin::StopsUnpublished),
                updates_missed: of(Builtin::UpdatesMissed),
                instances_unlisted: Domain::ALL
                    .iter()
                    .fold(0, |sum, domain| sum.saturating_add(of(domain.unlisted()))),
                rows_dropped: snapshot.subsystems.rows_dropped,
                journal_writes_abandoned: of(Builtin::JournalWritesAbandoned),
                failures_unlisted: of(Builtin::FailuresUnlisted),
                failures_missed: of(Builtin::FailuresMissed),
                panics_abandoned: of(Builtin::PanicsAbandoned),
                polls_panicked: of(Builtin::PollsPanicked),
                metrics_unlisted: of(Builtin::MetricsUnlisted),
                records_unlisted: of(Builtin::RecordsUnlisted),
            },
        };
        region.check_intact()?;
        Ok(usage)
    }
}
