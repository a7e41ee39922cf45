//! What the instrumented actors do, as JSON.

use atomscope_layout::decode::{
    Actor, ActorList, ActorStats, CellsUsage, ClassStats, InFlight, Instruments, VariantStats, rfc3339,
};
use atomscope_layout::histogram::Histogram;
use serde::Serialize;

use super::histogram::HistogramDump;

/// Classes, variants, and the actors with a cell.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs, reason = "the fields of Instruments document them")]
pub struct InstrumentsDump {
    pub classes: Vec<ClassDump>,
    pub cells: CellsDump,
    /// Variants that could not be read.
    pub unreadable: u64,
    /// The actors with a cell, by path.
    pub actors: Vec<ActorDump>,
    /// The instrumented actors whose path is unknown.
    pub unnamed: Vec<UnnamedDump>,
}

/// The cells.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "the fields of CellsUsage document them")]
pub struct CellsDump {
    pub capacity: u64,
    pub used: u64,
}

/// A class.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of ClassStats document them")]
pub struct ClassDump {
    pub class: Option<String>,
    pub spawned: u64,
    pub stopped: u64,
    pub live: u64,
    pub handled: u64,
    pub busy_ns: u64,
    pub failures: u64,
    pub restarts: u64,
    pub untracked: u64,
    pub overwritten: u64,
    pub long_polls: Option<u64>,
    pub polls: Option<u64>,
    /// `null` without a timed message.
    pub handle_time_ns: Option<CountedHistogram>,
    /// `null` if no depth was read.
    pub depth: Option<CountedHistogram>,
    pub variants: Vec<VariantDump>,
}

/// A histogram with its number of values.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of Histogram document them")]
pub struct CountedHistogram {
    pub count: u64,
    #[serde(flatten)]
    pub values: HistogramDump,
}

/// A variant.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of VariantStats document them")]
pub struct VariantDump {
    pub variant: Option<String>,
    pub handled: u64,
    pub busy_ns: u64,
}

/// An actor with a cell.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of Actor document them")]
pub struct ActorDump {
    pub path: String,
    #[serde(flatten)]
    pub stats: StatsDump,
    pub depth_peak: Option<u64>,
}

/// An actor with a cell whose path is unknown.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of ActorDump document them")]
pub struct UnnamedDump {
    pub class: Option<String>,
    #[serde(flatten)]
    pub stats: StatsDump,
}

/// The values of a cell.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of ActorStats document them")]
pub struct StatsDump {
    pub handled: u64,
    pub busy_ns: u64,
    pub failures: u32,
    pub restarts: u32,
    pub in_flight: Option<InFlightDump>,
    pub variant: Option<String>,
    pub polls: Option<u64>,
    pub task: Option<u64>,
}

/// A handler in flight.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of InFlight document them")]
pub struct InFlightDump {
    /// RFC 3339.
    pub since: Option<String>,
    pub mode: Option<&'static str>,
}

impl InstrumentsDump {
    pub(super) fn of(instruments: Instruments, actors: &ActorList) -> Self {
        let Instruments { classes, cells: CellsUsage { capacity, used }, unreadable } = instruments;
        let of_actor = |actor: Actor<'_>| {
            let (path, stats) = (actor.path().to_owned(), actor.stats()?.into());
            Some(ActorDump { path, stats, depth_peak: actor.depth_peak() })
        };
        let mut named: Vec<ActorDump> = actors.iter().filter_map(of_actor).collect();
        named.sort_by(|a, b| a.path.cmp(&b.path));
        let unnamed = actors.unnamed();
        Self {
            classes: classes.into_iter().map(ClassDump::from).collect(),
            cells: CellsDump { capacity, used },
            unreadable,
            actors: named,
            unnamed: unnamed
                .map(|(class, stats)| UnnamedDump { class: class.map(str::to_owned), stats: stats.into() })
                .collect(),
        }
    }
}

impl From<ClassStats> for ClassDump {
    fn from(class: ClassStats) -> Self {
        let counted = |histogram: Histogram| {
            let count = histogram.count;
            (count > 0).then(|| CountedHistogram { count, values: HistogramDump::from(histogram) })
        };
        let variant = |VariantStats { variant, handled, busy_ns }| VariantDump { variant, handled, busy_ns };
        Self {
            class: class.class,
            spawned: class.spawned,
            stopped: class.stopped,
            live: class.live,
            handled: class.handled,
            busy_ns: class.busy_ns,
            failures: class.failures,
            restarts: class.restarts,
            untracked: class.untracked,
            overwritten: class.overwritten,
            long_polls: class.long_polls,
            polls: class.polls,
            handle_time_ns: counted(class.handle_time),
            depth: counted(class.depth),
            variants: class.variants.into_iter().map(variant).collect(),
        }
    }
}

impl From<ActorStats<'_>> for StatsDump {
    fn from(stats: ActorStats<'_>) -> Self {
        let ActorStats { handled, busy_ns, failures, restarts, in_flight, variant, polls, task, .. } = stats;
        Self {
            handled,
            busy_ns,
            failures,
            restarts,
            in_flight: in_flight.map(|InFlight { since, mode, .. }| InFlightDump {
                since: since.map(|since| rfc3339(since.unix_ns)),
                mode: mode.map(|mode| mode.word()),
            }),
            variant: variant.map(str::to_owned),
            polls,
            task,
        }
    }
}
