//! Metrics: the description of each counter, gauge and histogram, written into the region itself.
//!
//! The first metrics of every region are the built-in ones ([`Builtin`]); the application registers further ones. The
//! number of a metric is the index of its word in every counter lane.
//!
//! ```
//! use atomscope_layout::metrics::{Kind, describe, read_descriptor};
//! use atomscope_layout::records::METRIC_WORDS;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let slot = [const { AtomicU64::new(0) }; METRIC_WORDS];
//! describe(&slot, "orders.placed", "orders", Kind::Counter, "Orders that customers placed.");
//! assert_eq!(read_descriptor(Words::new(&slot)).unwrap().name, "orders.placed");
//! ```

use zerocopy::{FromZeros, IntoBytes};

use crate::histogram::Histogram;
use crate::limits::{METRIC_TEXT_BYTES, MIN_METRICS};
use crate::names::put_text;
use crate::records::{METRIC_WORDS, MetricRecord};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, Words};

/// The kind of a metric: how its words give its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// The sum of its words over all lanes; only grows.
    Counter = 1,
    /// Its word in lane 0; rises and falls.
    Gauge = 2,
    /// Its word in lane 0 is 1 + the number of its slot in the section of histograms.
    Histogram = 3,
}

impl Kind {
    /// The kind as text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Dotted name.
    pub name: String,
    /// Unit, in words.
    pub unit: String,
    /// What it counts, in one sentence.
    pub help: String,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Its value at the time of reading; for a histogram its number of values. `None`: unknown, as nothing counts it.
    pub value: Option<u64>,
    /// The histogram, if the metric is one.
    pub histogram: Option<Histogram>,
}

macro_rules! builtin {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal, $unit:literal, $kind:ident;)+) => {
        /// The built-in metrics, which every region has, by number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Builtin { $($(#[doc = $help])+ $variant,)+ }

        /// Name, unit, kind and help of each, in the order of their numbers.
        pub const BUILTIN: &[(&str, &str, Kind, &str)] =
            &[$(($name, $unit, Kind::$kind, concat!($($help),+).trim_ascii()),)+];
    };
}

builtin! {
    /// Actors spawned, as the spawn hook or the application reported them.
    Spawned = "actors.spawned", "actors", Counter;
    /// Actors stopped, as the stop hook or the application reported them.
    Stopped = "actors.stopped", "actors", Counter;
    /// Spawns that the application reported for a path that was live already.
    Replaced = "actors.replaced", "actors", Counter;
    /// Stops of actors whose spawn the probe never saw, because it was installed later.
    Foreign = "actors.foreign", "actors", Counter;
    /// Stops that came before their spawn and had to wait for it.
    EarlyStops = "actors.early_stops", "stops", Counter;
    /// Waiting stops that were matched with their spawn or given up.
    EarlyStopsDone = "actors.early_stops_done", "stops", Counter;
    /// Spawns that are counted but not listed, because all slots for actors were taken.
    Spilled = "actors.spilled", "actors", Counter;
    /// Unlisted actors that have stopped.
    SpilledStopped = "actors.spilled_stopped", "actors", Counter;
    /// Spawns that are not listed and not found by their stops, because the probe's index had no free entry for them.
    UntrackedSpawns = "actors.untracked_spawns", "actors", Counter;
    /// Stops that found no spawn and do not wait for one, because the probe's index had no free entry for them.
    UntrackedStops = "actors.untracked_stops", "stops", Counter;
    /// Waiting stops that were given up as stops of untracked spawns.
    UntrackedMatched = "actors.untracked_matched", "stops", Counter;
    /// Texts that were cut, because their record was too short for them.
    TextsCut = "texts.cut", "texts", Counter;
    /// Names that are in their own records, because the table of names was full.
    NamesFull = "names.full", "texts", Counter;
    /// Dead letters that were abandoned, because another thread was writing to the same slot.
    DeadLettersAbandoned = "dead_letters.abandoned", "letters", Counter;
    /// Rounds of the probe's sampler.
    SamplerRounds = "sampler.rounds", "rounds", Counter;
    /// Time that the sampler spent in its rounds.
    SamplerTime = "sampler.time", "nanoseconds", Counter;
    /// Events of the shared lane that were abandoned, because another thread was writing to the same slot.
    EventsAbandoned = "events.abandoned", "events", Counter;
    /// Stops that were not published as events, because no slot had their path.
    StopsUnpublished = "events.stops_unpublished", "events", Counter;
    /// Updates that were dropped, because the actor's record was gone or was being changed.
    UpdatesMissed = "actors.updates_missed", "updates", Counter;
    /// Rounds of the probe's poller, which reads attached components.
    PollRounds = "poll.rounds", "rounds", Counter;
    /// Time that the poller spent in its rounds.
    PollTime = "poll.time", "nanoseconds", Counter;
    /// Polls that panicked; they are not repeated.
    PollsPanicked = "poll.panicked", "polls", Counter;
    /// Operations on associations that are not listed, because the slots for them were full.
    AssociationsUnlisted = "remote.unlisted", "operations", Counter;
    /// Operations on streams that are not listed, because the slots for them were full.
    GraphsUnlisted = "streams.unlisted", "operations", Counter;
    /// Operations on journals that are not listed, because the slots for them were full.
    JournalsUnlisted = "persistence.unlisted_journals", "operations", Counter;
    /// Operations on persistence ids that are not listed, because the slots for them were full; their journal counts their events.
    PersistenceIdsUnlisted = "persistence.unlisted_ids", "operations", Counter;
    /// Operations on shard regions that are not listed, because the slots for them were full.
    ShardRegionsUnlisted = "sharding.unlisted_regions", "operations", Counter;
    /// Operations on shards that are not listed, because the slots for them were full; their region counts their messages.
    ShardsUnlisted = "sharding.unlisted_shards", "operations", Counter;
    /// Operations on keys that are not listed, because the slots for them were full.
    KeysUnlisted = "ddata.unlisted", "operations", Counter;
    /// Operations on leases that are not listed, because the slots for them were full.
    LeasesUnlisted = "leases.unlisted", "operations", Counter;
    /// Operations on workers that are not listed, because the slots for them were full.
    WorkersUnlisted = "runtime.unlisted", "operations", Counter;
    /// Operations on metrics of cluster nodes that are not listed, because the slots for them were full.
    NodeMetricsUnlisted = "cluster.unlisted_metrics", "operations", Counter;
    /// Rows that did not fit their document, counted at each write of the document.
    DocumentRowsDropped = "documents.rows_dropped", "rows", Counter;
    /// Changes of the cluster's state that were published as events.
    ClusterChanges = "cluster.changes", "changes", Counter;
    /// Gossip sent to other members.
    GossipSent = "cluster.gossip_sent", "messages", Counter;
    /// Gossip received from other members.
    GossipReceived = "cluster.gossip_received", "messages", Counter;
    /// Calls of the downing strategy.
    DowningCalls = "cluster.downing_calls", "calls", Counter;
    /// Decisions of the downing strategy that not all members should stay.
    DowningDecisions = "cluster.downing_decisions", "decisions", Counter;
    /// Times the quorum was lost.
    QuorumLost = "cluster.quorum_lost", "times", Counter;
    /// Times the quorum was regained.
    QuorumRegained = "cluster.quorum_regained", "times", Counter;
    /// Shards for which the allocation strategy chose a region.
    ShardAllocations = "sharding.allocations", "shards", Counter;
    /// Times the allocation strategy decided to move shards.
    Rebalances = "sharding.rebalances", "rebalances", Counter;
    /// Shards that the allocation strategy decided to move.
    ShardsRebalanced = "sharding.rebalanced_shards", "shards", Counter;
    /// Hand-offs of shards that a poll saw begin; two of them between two polls may count as one.
    HandOffsStarted = "sharding.hand_offs_started", "hand-offs", Counter;
    /// Hand-offs of shards that a poll saw completed; two of them between two polls may count as one.
    HandOffsDone = "sharding.hand_offs_done", "hand-offs", Counter;
    /// Messages that were delivered to entities of shard regions.
    ShardMessages = "sharding.messages", "messages", Counter;
    /// Events written to journals.
    PersistenceEvents = "persistence.events", "events", Counter;
    /// Writes to journals that failed.
    PersistenceFailures = "persistence.failures", "writes", Counter;
    /// Snapshots saved.
    SnapshotsSaved = "persistence.snapshots_saved", "snapshots", Counter;
    /// Snapshots loaded.
    SnapshotsLoaded = "persistence.snapshots_loaded", "snapshots", Counter;
    /// Snapshots that could not be saved or loaded.
    SnapshotFailures = "persistence.snapshot_failures", "snapshots", Counter;
    /// Journal writes that were abandoned, because another thread was writing to the same slot.
    JournalWritesAbandoned = "persistence.writes_abandoned", "writes", Counter;
    /// Recoveries that may run at the same time.
    RecoveryPermits = "persistence.recovery_permits", "permits", Gauge;
    /// Recoveries that run now.
    RecoveriesRunning = "persistence.recoveries_running", "recoveries", Gauge;
    /// Failures of the remote transport.
    RemoteErrors = "remote.errors", "errors", Counter;
    /// Remote systems that were quarantined.
    Quarantines = "remote.quarantines", "systems", Counter;
    /// Streams started.
    StreamsStarted = "streams.started", "streams", Counter;
    /// Streams that ended, successfully or not.
    StreamsFinished = "streams.finished", "streams", Counter;
    /// Streams that failed; they count as finished too.
    StreamsFailed = "streams.failed", "streams", Counter;
    /// Elements that passed through watched streams.
    StreamElements = "streams.elements", "elements", Counter;
    /// Updates of distributed data.
    DDataUpdates = "ddata.updates", "updates", Counter;
    /// Deletions of distributed data.
    DDataDeletes = "ddata.deletes", "deletions", Counter;
    /// Leases acquired.
    LeasesAcquired = "leases.acquired", "times", Counter;
    /// Leases denied.
    LeasesDenied = "leases.denied", "times", Counter;
    /// Leases lost.
    LeasesLost = "leases.lost", "times", Counter;
    /// Worker threads of the async runtime.
    RuntimeWorkers = "runtime.workers", "threads", Gauge;
    /// Live tasks of the async runtime.
    RuntimeTasks = "runtime.tasks", "tasks", Gauge;
    /// Tasks that wait in the async runtime's injection queue.
    RuntimeQueue = "runtime.queue", "tasks", Gauge;
    /// Samples of the metrics of cluster nodes.
    NodeMetricSamples = "cluster.metric_samples", "samples", Counter;
    /// Time between two rounds of the probe's poller; 0 while nothing is polled.
    PollInterval = "poll.interval", "nanoseconds", Gauge;
    /// Stops that may or may not belong to listed actors; the list may be wrong by as many.
    DoubtfulStops = "actors.doubtful_stops", "stops", Counter;
    /// Rounds of the sampler in which the clock was off but its log was full.
    ClockUnlisted = "clock.unlisted", "rounds", Counter;
    /// Panics of all threads, those that were caught included.
    Panics = "failures.panics", "panics", Counter;
    /// Errors that were logged through the probe's layer.
    Errors = "failures.errors", "errors", Counter;
    /// Warnings that were logged through the probe's layer.
    Warnings = "failures.warnings", "warnings", Counter;
    /// Panics, errors and warnings that are not in the failure log, because the slots for them were full.
    FailuresUnlisted = "failures.unlisted", "failures", Counter;
    /// Panics that were not kept one by one, because another thread was writing to the same slot.
    PanicsAbandoned = "failures.panics_abandoned", "panics", Counter;
    /// Panics, errors and warnings of which the process noted nothing, because its list of regions was locked.
    FailuresMissed = "failures.missed", "failures", Counter;
    /// Polls of tasks that held their worker for long: 100 ms, unless the builder says otherwise.
    LongPolls = "runtime.long_polls", "polls", Counter;
}

const _: () = assert!(BUILTIN.len() <= MIN_METRICS);

/// Writes a descriptor that no other thread writes: first the texts, cut if they are too long, then the ready word.
pub fn describe(slot: &[AtomicU64], name: &str, unit: &str, kind: Kind, help: &str) {
    let mut record = MetricRecord::new_zeroed();
    let mut used = 0;
    let mut put = |text: &str, max: usize| {
        let rest = record.text.get_mut(used..).unwrap_or_default();
        let (bytes, _) = put_text(rest, max, text);
        used += bytes;
        bytes as u16
    };
    // Name and unit come first: they identify the metric, so the help text is the one to be cut.
    let (name, unit, help) = (put(name, 80), put(unit, 24), put(help, METRIC_TEXT_BYTES));
    (record.name_bytes, record.unit_bytes, record.help_bytes) = (name, unit, help);
    let words: [u64; METRIC_WORDS] = zerocopy::transmute!(record);
    words::store(slot.get(1..).unwrap_or_default(), &words[1..]);
    if let Some(ready) = slot.first() {
        ready.store(1 << 63 | kind as u64, Ordering::Release);
    }
}

/// Reads a descriptor without its value. `None` if it is not ready, or holds what no writer stores.
pub fn read_descriptor(slot: Words<'_>) -> Option<Metric> {
    let ready = slot.load(0);
    fence(Ordering::Acquire);
    let kinds = [Kind::Counter, Kind::Gauge, Kind::Histogram];
    let kind = kinds.into_iter().find(|kind| ready == 1 << 63 | *kind as u64)?;
    let mut record = MetricRecord::new_zeroed();
    let mut words = [0u64; METRIC_WORDS];
    slot.copy_to(&mut words);
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut rest = record.text.as_slice();
    let mut take = |bytes: u16| {
        let (text, after) = rest.split_at_checked(bytes as usize)?;
        rest = after;
        core::str::from_utf8(text).ok().map(str::to_owned)
    };
    let (name, unit, help) = (take(record.name_bytes)?, take(record.unit_bytes)?, take(record.help_bytes)?);
    Some(Metric { name, unit, help, kind, value: None, histogram: None })
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_reads_back_and_is_cut_where_it_is_too_long() {
        let slot: Vec<_> = (0..METRIC_WORDS).map(|_| AtomicU64::new(0)).collect();
        assert_eq!(read_descriptor(Words::new(&slot)), None);
        describe(&slot, "orders.placed", "orders", Kind::Counter, &"x".repeat(500));
        let metric = read_descriptor(Words::new(&slot)).unwrap();
        assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("orders.placed", "orders"));
        assert!(metric.help.ends_with("x…"));
    }

    #[test]
    fn every_builtin_metric_fits_its_descriptor_whole() {
        for (name, unit, _, help) in BUILTIN {
            assert!(name.len() <= 80 && unit.len() <= 24, "{name}");
            assert!(name.len() + unit.len() + help.len() <= METRIC_TEXT_BYTES, "{name}");
        }
    }
}
