//! From a region to owned data: everything that is known of a node at one time, and how certain it is.
//!
//! A program takes a snapshot once per refresh and works on it without further reads of the region.

pub mod caveats;
pub mod dump;

use std::time::Duration;

use atomscope_layout::decode::subsystems::Subsystems;
use atomscope_layout::decode::{
    ActorList, ActorTotals, Beat, Class, DeadLetters, Failures, Identity, Instruments, Moment, OwnRecords,
    RegionReader, RuntimeThreads, Tally,
};
use atomscope_layout::metrics::{BUILTIN, Builtin, Metric, MetricValue};

use crate::attach::{AttachError, Region};
use crate::liveness::{Liveness, STALE, Verdict};
use crate::raw::header::DumpInfo;
use crate::vitals::Vitals;
use crate::workers::AwayWorkers;

/// Limit of dead letters in a snapshot: the same as in `atomr-telemetry`'s.
pub const DEAD_LETTERS: usize = 100;

/// A node at one time.
///
/// Taking one scans every table and ring once, and no writer of the node notices. The list of actors is most of the cost:
/// about 150 bytes and a microsecond for each.
///
/// ```no_run
/// use atomscope::find::{Search, Target};
/// use atomscope::snapshot::Snapshot;
///
/// let attached = Search::default().attach(&Target::Only)?;
/// let snapshot = Snapshot::take(&attached.region)?;
/// println!("{} actors, {} dead letters", snapshot.actors.len(), snapshot.dead_letters.total);
/// for caveat in snapshot.caveats() {
///     println!("{caveat}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken, by this machine's wall clock and the node's other clocks; of a dump, when that was taken.
    pub taken_at: Moment,
    /// The end of the life of its actors and instances: `taken_at`, or the last beat of a dead node; see [`Region::until`].
    pub until: Option<Moment>,
    /// What was known of the node when it was dumped; `None` if this is not of a raw dump.
    pub dump_info: Option<DumpInfo>,
    /// What the header says of the node.
    pub identity: Identity,
    /// The node's process id as this program sees it.
    pub pid: u64,
    /// Major and minor version of the layout.
    pub layout_version: (u32, u32),
    /// The verdict on the node.
    pub liveness: Liveness,
    /// The live actors; empty unless the snapshot lists them ([`Snapshot::take`]).
    pub actors: ActorList,
    /// The number of actors in the table, and how certain it is; `None` if the table was not scanned.
    pub tally: Option<Tally>,
    /// The classes of the live actors; empty unless the snapshot counts them ([`Snapshot::with_class_counts`]).
    pub classes: Vec<Class>,
    /// A hash of the versions of all records in the table: two snapshots with the same value have the same actors.
    pub actors_version: u64,
    /// The counters of actors, read before the table.
    pub totals: ActorTotals,
    /// Whether the counters were the same after the scan of the table. Only then [`Snapshot::drift`] has a meaning.
    pub at_rest: bool,
    /// The newest dead letters, at most [`DEAD_LETTERS`].
    pub dead_letters: DeadLetters,
    /// The failure log and the newest panics.
    pub failures: Failures,
    /// The counters, gauges and histograms.
    pub metrics: Vec<Metric>,
    /// What the instrumented actors do, by class and variant.
    pub instruments: Instruments,
    /// The threads of runtimes that are watched from their builders.
    pub runtime_threads: RuntimeThreads,
    /// The application's own records.
    pub own_records: OwnRecords,
    /// The subsystems: cluster, sharding, persistence and so on.
    pub subsystems: Subsystems,
    /// What the process uses of its machine; `None` if the process is dead or not visible here.
    pub process: Option<Vitals>,
    /// The time of the sampler's last round by the node's monotonic clock, in nanoseconds.
    pub sampled_mono_ns: u64,
    /// The state of the poller; `None` if nothing is polled.
    pub poll: Option<PollerState>,
}

/// The state of the poller, the probe thread that reads attached components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollerState {
    /// Age of the start of its round.
    pub beat_age: Duration,
    /// The time from one round to the next.
    pub interval: Duration,
    /// Whether its round does not end although the sampler beats.
    pub is_stuck: bool,
}

impl PollerState {
    /// Compares its beat with the sampler's, which is of the same clock: a dump may come from another machine.
    fn of(poll: Beat, process: Beat, interval_ns: u64, liveness: &Liveness) -> Option<Self> {
        let behind = Duration::from_nanos(process.mono_ns.saturating_sub(poll.mono_ns));
        let process_age = liveness.process_beat_age.filter(|_| poll.count > 0)?;
        let interval = Duration::from_nanos(interval_ns);
        let is_beating = liveness.verdict.is_alive() && process_age <= STALE;
        // The poller beats when a round begins. The next round waits for the interval and for the end of this one.
        let is_stuck = is_beating && behind > interval.saturating_add(STALE);
        Some(Self { beat_age: process_age.saturating_add(behind), interval, is_stuck })
    }
}

/// What a snapshot takes from the table of actors.
#[derive(Debug, Default)]
struct ActorData {
    actors: ActorList,
    tally: Option<Tally>,
    classes: Vec<Class>,
    /// See [`Snapshot::actors_version`].
    version: u64,
}

/// Whether a node with so many spawned actors and dead letters has an actor system or actors, or is about to. Without, its
/// numbers of actors say nothing.
pub fn has_actors(identity: &Identity, liveness: &Liveness, spawned: u64, dead_letters: u64) -> bool {
    let is_starting = liveness.verdict == Verdict::Starting;
    identity.system.is_some() || is_starting || spawned > 0 || dead_letters > 0
}

impl Snapshot {
    /// As [`has_actors`].
    pub fn has_actors(&self) -> bool {
        let Self { identity, liveness, totals, dead_letters, .. } = self;
        has_actors(identity, liveness, totals.spawned, dead_letters.total)
    }

    /// Takes a snapshot with a list of all actors.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        Self::with(region, |reader| {
            let actors = reader.actor_list();
            let (tally, version) = (Some(actors.tally()), actors.mark());
            ActorData { tally, version, actors, ..ActorData::default() }
        })
    }

    /// Takes a snapshot that counts the actors by class and does not list them. At a million actors this takes a tenth of
    /// the time and no memory per actor.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn with_class_counts(region: &Region) -> Result<Self, AttachError> {
        Self::with(region, |reader| {
            let counts = reader.class_counts();
            let (tally, classes, version) = (Some(counts.tally), counts.classes, counts.mark);
            ActorData { tally, classes, version, ..ActorData::default() }
        })
    }

    /// Takes a snapshot without a scan of the table of actors.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn without_actors(region: &Region) -> Result<Self, AttachError> {
        Self::with(region, |_| ActorData::default())
    }

    fn with(region: &Region, scan: impl FnOnce(&RegionReader<'_>) -> ActorData) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let ActorData { actors, tally, classes, version: actors_version } = scan(&reader);
        let dump_info = region.dump_info().copied();
        let at_rest = dump_info.is_none_or(|info| info.at_rest) && reader.actor_totals() == totals;
        let taken_at = region.now();
        let snapshot = Self {
            taken_at,
            until: region.until(&liveness, &taken_at),
            dump_info,
            identity: reader.identity(),
            pid: region.pid(),
            layout_version: reader.layout_version(),
            liveness,
            actors,
            tally,
            classes,
            actors_version,
            totals,
            at_rest,
            dead_letters: reader.dead_letters(DEAD_LETTERS),
            failures: reader.failures(),
            metrics: reader.metrics(),
            instruments: reader.instruments(),
            runtime_threads: reader.runtime_threads(),
            own_records: reader.own_records(),
            subsystems: reader.subsystems(),
            process: Vitals::of(region, &liveness),
            sampled_mono_ns: reader.process_beat().mono_ns,
            poll: PollerState::of(
                reader.poll_beat(),
                reader.process_beat(),
                reader.builtin(Builtin::PollInterval),
                &liveness,
            ),
        };
        region.check_intact()?;
        Ok(snapshot)
    }

    /// The value of a built-in metric; 0 if the node is older than the metric, or if nothing counts it.
    pub fn builtin(&self, metric: Builtin) -> u64 {
        self.builtin_if_known(metric).unwrap_or(0)
    }

    /// The value of a built-in metric; `None` if nothing counts it, 0 if the node is older than the metric.
    pub fn builtin_if_known(&self, metric: Builtin) -> Option<u64> {
        let name = BUILTIN[metric as usize].0;
        match self.metrics.iter().find(|metric| metric.is_builtin && metric.name == name) {
            Some(metric) => metric.value.and_then(MetricValue::as_u64),
            None => Some(0),
        }
    }

    /// The workers of the async runtime that are away for long; `None` if no runtime is attached.
    pub fn away_workers(&self) -> Option<AwayWorkers> {
        AwayWorkers::of(&self.subsystems.instances)
    }

    /// Live actors by the counters minus live actors in the table. It is 0 at rest and has no meaning while actors come and
    /// go. `None` if the table was not scanned.
    pub fn drift(&self) -> Option<i64> {
        self.tally.map(|tally| tally.drift(&self.totals))
    }
}
