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
    /// Stops that were noted until their spawn would come.
    EarlyStops = "actors.early_stops", "stops", Counter;
    /// Noted stops that met their spawn, or were given up as foreign.
    EarlyStopsDone = "actors.early_stops_done", "stops", Counter;
    /// Spawns that are counted but cannot be listed, since the table was full around them.
    Spilled = "actors.spilled", "actors", Counter;
    /// Spawns for which there was no room at all.
    UntrackedSpawns = "actors.untracked_spawns", "actors", Counter;
    /// Stops that found nothing and for which there was no room.
    UntrackedStops = "actors.untracked_stops", "stops", Counter;
    /// Noted stops that were written off against untracked spawns.
    UntrackedMatched = "actors.untracked_matched", "stops", Counter;
    /// Texts that were longer than what a record keeps.
    TextsCut = "texts.cut", "texts", Counter;
    /// Names that found no room among the interned ones; they stand in their records instead.
    NamesFull = "names.full", "texts", Counter;
    /// Dead letters that gave way to a writer at work in the same slot.
    DeadLettersAbandoned = "dead_letters.abandoned", "letters", Counter;
    /// Rounds of the probe's sampler.
    SamplerRounds = "sampler.rounds", "rounds", Counter;
    /// Time that the sampler spent in them.
    SamplerTime = "sampler.time", "nanoseconds", Counter;
    /// Events of the shared lane that gave way to a writer at work in the same slot.
    EventsAbandoned = "events.abandoned", "events", Counter;
    /// Stops that nobody could tell as events, since the table had kept no path of theirs.
    StopsUnpublished = "events.untold", "events", Counter;
    /// Updates of a record that found it gone or in another thread's hands.
    UpdatesMissed = "actors.updates_missed", "updates", Counter;
    /// Rounds of the probe's poller, which asks the components that tell nothing by themselves.
    PollRounds = "poll.rounds", "rounds", Counter;
    /// Time that the poller spent in them.
    PollTime = "poll.time", "nanoseconds", Counter;
    /// Polls that panicked, and are polled no more.
    PollsGivenUp = "poll.given_up", "polls", Counter;
    /// What was noted of associations for which there was no room.
    AssociationsUnlisted = "remote.unlisted", "notes", Counter;
    /// What was noted of streams for which there was no room.
    GraphsUnlisted = "streams.unlisted", "notes", Counter;
    /// What was noted of journals for which there was no room.
    JournalsUnlisted = "persistence.unlisted_journals", "notes", Counter;
    /// What was noted of persistence ids for which there was no room; their journal counts their events.
    PersistenceIdsUnlisted = "persistence.unlisted_ids", "notes", Counter;
    /// What was noted of shard regions for which there was no room.
    ShardRegionsUnlisted = "sharding.unlisted_regions", "notes", Counter;
    /// What was noted of shards for which there was no room; their region counts their messages.
    ShardsUnlisted = "sharding.unlisted_shards", "notes", Counter;
    /// What was noted of keys for which there was no room.
    KeysUnlisted = "ddata.unlisted", "notes", Counter;
    /// What was noted of leases for which there was no room.
    LeasesUnlisted = "leases.unlisted", "notes", Counter;
    /// What was noted of workers for which there was no room.
    WorkersUnlisted = "runtime.unlisted", "notes", Counter;
    /// What was noted of the cluster nodes' metrics for which there was no room.
    NodeMetricsUnlisted = "cluster.unlisted_metrics", "notes", Counter;
    /// Rows of documents for which there was no room, each time one was written.
    DocumentRowsDropped = "documents.left_out", "rows", Counter;
    /// Changes of the cluster's state that were told.
    ClusterChanges = "cluster.changes", "changes", Counter;
    /// Gossip sent to other members.
    GossipSent = "cluster.gossip_sent", "messages", Counter;
    /// Gossip that came from other members.
    GossipReceived = "cluster.gossip_received", "messages", Counter;
    /// Times the downing strategy was asked.
    DowningAsked = "cluster.downing_asked", "times", Counter;
    /// Times the downing strategy did not decide that all should stay.
    DowningDecisions = "cluster.downing_decisions", "decisions", Counter;
    /// Times the quorum was lost.
    QuorumLost = "cluster.quorum_lost", "times", Counter;
    /// Times the quorum was regained.
    QuorumRegained = "cluster.quorum_regained", "times", Counter;
    /// Times the allocation strategy chose a region for a shard.
    ShardAllocations = "sharding.allocations", "shards", Counter;
    /// Times the allocation strategy wanted shards moved.
    Rebalances = "sharding.rebalances", "rebalances", Counter;
    /// Shards that it wanted moved, each time it was asked.
    ShardsRebalanced = "sharding.rebalanced_shards", "shards", Counter;
    /// Hand-offs of shards that were seen to begin; two between two polls may be seen as one.
    HandOffsStarted = "sharding.hand_offs_started", "hand-offs", Counter;
    /// Hand-offs of shards that were seen completed, likewise.
    HandOffsDone = "sharding.hand_offs_done", "hand-offs", Counter;
    /// Messages that entities of shard regions were given.
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
    /// Journal writes that gave way to a writer at work in the same slot.
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
    /// Streams that ended, well or not.
    StreamsFinished = "streams.finished", "streams", Counter;
    /// Of those, streams that failed.
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
    /// Tasks of the async runtime that are alive.
    RuntimeTasks = "runtime.tasks", "tasks", Gauge;
    /// Tasks that wait in the async runtime's common queue.
    RuntimeQueue = "runtime.queue", "tasks", Gauge;
    /// Samples of the cluster nodes' metrics.
    NodeMetricSamples = "cluster.metric_samples", "samples", Counter;
    /// Time from one round of the probe's poller to the next; 0 while nothing is polled.
    PollInterval = "poll.interval", "nanoseconds", Gauge;
    /// Stops that may have been those of actors that are listed, or not; unless it is 0, the list may be wrong by as many.
    DoubtfulStops = "actors.doubtful_stops", "stops", Counter;
    /// Rounds of the probe's sampler in which the clock was off and its log had no room to say so.
    ClockUnlisted = "clock.unlisted", "rounds", Counter;
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
