//! Metrics: the description of each counter, gauge and histogram, written into the region itself.
//!
//! The first metrics of every region are the built-in ones ([`Builtin`]); the application registers further ones. The
//! number of a metric is the index of its word in every counter lane. Metrics of the same name differ in their labels: each
//! set of labels is a metric of its own, a *series*.
//!
//! A metric that the application no longer needs gives its slot back ([`vacate`]), and the slot's next metric has another
//! ready word. So a reader keeps what it read between two equal loads of that word, as of a seqlock cell.
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

use serde::Serialize;
use zerocopy::{FromZeros, IntoBytes};

use crate::histogram::Histogram;
use crate::limits::{METRIC_NAME_BYTES, METRIC_TEXT_BYTES, METRIC_UNIT_BYTES, MIN_METRICS};
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
    /// Its word in lane 0, in two's complement; rises and falls, also below 0.
    SignedGauge = 4,
    /// Its word in lane 0, the bits of a number of double precision.
    FloatGauge = 5,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Counter, Self::Gauge, Self::Histogram, Self::SignedGauge, Self::FloatGauge];

    /// The kind as text. All gauges are `gauge`: their values show what numbers they have.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::SignedGauge | Self::FloatGauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// Whether it rises and falls, whatever numbers it has.
    pub fn is_gauge(self) -> bool {
        matches!(self, Self::Gauge | Self::SignedGauge | Self::FloatGauge)
    }

    /// The value that a metric of this kind has in this word.
    pub fn value(self, word: u64) -> MetricValue {
        match self {
            Self::Counter | Self::Gauge | Self::Histogram => MetricValue::Unsigned(word),
            Self::SignedGauge => MetricValue::Signed(word as i64),
            Self::FloatGauge => MetricValue::Float(f64::from_bits(word)),
        }
    }
}

/// The value of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// Of a counter, a histogram or a gauge of the probe.
    Unsigned(u64),
    /// Of a gauge that may fall below 0.
    Signed(i64),
    /// Of a gauge with fractions. In JSON infinite values and NaN are `null`.
    Float(f64),
}

impl MetricValue {
    /// The value as a number of double precision, exact up to 2⁵³.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The value, if it is a whole number that is not negative by its kind.
    pub fn as_u64(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(_) | Self::Float(_) => None,
        }
    }

    /// Whether it is 0.
    pub fn is_zero(self) -> bool {
        self.as_f64() == 0.0
    }
}

/// All digits, without a unit.
impl core::fmt::Display for MetricValue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unsigned(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

/// A metric that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Dotted name.
    pub name: String,
    /// Its labels, in the order of their keys, each with its value. The probe's own metrics have none.
    pub labels: Vec<(String, String)>,
    /// Unit, in words.
    pub unit: String,
    /// What it counts, in one sentence.
    pub help: String,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Whether the probe itself counts it.
    pub is_builtin: bool,
    /// Its value at the time of reading; for a histogram its number of values. `None`: unknown, as nothing counts it.
    pub value: Option<MetricValue>,
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
    /// Times the application asked for a metric and got none, because the slots were full, or because of its name, labels, kind or unit.
    MetricsUnlisted = "metrics.unlisted", "times", Counter;
    /// Polls of tasks that held their worker for long: 100 ms, unless the builder says otherwise.
    LongPolls = "runtime.long_polls", "polls", Counter;
    /// Times the application asked for a record and got none, because the slots of records, kinds or fields were full.
    RecordsUnlisted = "records.unlisted", "times", Counter;
    /// Polls of tasks on the runtimes that are watched from their builders.
    Polls = "runtime.polls", "polls", Counter;
}

const _: () = assert!(BUILTIN.len() <= MIN_METRICS);

/// What is written of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// Its name: [`METRIC_NAME_BYTES`] at most.
    pub name: &'a str,
    /// Its labels, in the strict order of their keys. Name and labels are the identity of the metric.
    pub labels: &'a [(&'a str, &'a str)],
    /// Its unit.
    pub unit: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// What it counts.
    pub help: &'a str,
}

impl Description<'_> {
    /// Bytes of the labels in the text: each key and each value ends with a zero byte.
    fn label_bytes(&self) -> usize {
        self.labels.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
    }

    /// Whether name, labels and unit fit into a descriptor.
    pub fn fits(&self) -> bool {
        let unit = self.unit.len().min(METRIC_UNIT_BYTES);
        self.name.len() <= METRIC_NAME_BYTES
            && self.name.len() + self.label_bytes() + unit <= METRIC_TEXT_BYTES
    }

    /// Writes the descriptor into a slot that no other thread writes and that was never in use, or was [vacated](vacate): first
    /// the texts, then the ready word. Unit and help are cut if they are too long; a name or labels that do not
    /// [fit](Self::fits) are cut or left out. `uses` is how many metrics had the slot before.
    pub fn write(&self, slot: &[AtomicU64], uses: u32) {
        let mut record = MetricRecord::new_zeroed();
        let mut used = 0;
        let mut put = |text: &str, max: usize| {
            let rest = record.text.get_mut(used..).unwrap_or_default();
            let (bytes, _) = put_text(rest, max, text);
            used += bytes;
            bytes as u16
        };
        // Name and labels come first: they identify the metric, so the help text is the one to be cut.
        let name = put(self.name, METRIC_NAME_BYTES);
        let mut labels = 0;
        for text in self.labels.iter().flat_map(|(key, value)| [key, "\0", value, "\0"]) {
            labels += put(text, METRIC_TEXT_BYTES);
        }
        let (unit, help) = (put(self.unit, METRIC_UNIT_BYTES), put(self.help, METRIC_TEXT_BYTES));
        (record.name_bytes, record.label_bytes) = (name, labels);
        (record.unit_bytes, record.help_bytes) = (unit, help);
        let words: [u64; METRIC_WORDS] = zerocopy::transmute!(record);
        // A reader that sees one of these words sees also that the slot was vacated.
        fence(Ordering::Release);
        words::store(slot.get(1..).unwrap_or_default(), &words[1..]);
        if let Some(ready) = slot.first() {
            ready.store(READY | u64::from(uses) << KIND_BITS | self.kind as u64, Ordering::Release);
        }
    }
}

/// Marks a descriptor whose texts are stored.
const READY: u64 = 1 << 63;
/// Bits of the kind in a ready word. The bits between are the number of metrics that had the slot before.
const KIND_BITS: u32 = 8;

/// Writes the descriptor of a metric without labels into a slot that was never in use.
pub fn describe(slot: &[AtomicU64], name: &str, unit: &str, kind: Kind, help: &str) {
    Description { name, labels: &[], unit, kind, help }.write(slot, 0);
}

/// Takes a metric's descriptor away. After it the caller may change the metric's values and use the slot again: a reader
/// that sees any of that sees also that the ready word has changed.
pub fn vacate(slot: &[AtomicU64]) {
    if let Some(ready) = slot.first() {
        ready.store(0, Ordering::Relaxed);
    }
    fence(Ordering::Release);
}

/// What `read` finds of the metric in this slot: its descriptor, without a value, and what the caller reads of its values.
/// `None` if the descriptor is not ready, holds what no writer stores, or changed meanwhile.
pub fn read_between<T>(slot: Words<'_>, read: impl FnOnce(Metric) -> Option<T>) -> Option<T> {
    let before = slot.load(0);
    // An empty slot is the one state that comes again: a metric may be registered and removed before the second look.
    if before & READY == 0 {
        return None;
    }
    let found = read(read_descriptor(slot)?)?;
    fence(Ordering::Acquire);
    (slot.load(0) == before).then_some(found)
}

/// Reads a descriptor without its value. `None` if it is not ready, or holds what no writer stores. In a live region it may
/// change meanwhile: see [`read_between`].
pub fn read_descriptor(slot: Words<'_>) -> Option<Metric> {
    let ready = slot.load(0);
    fence(Ordering::Acquire);
    let kind = Kind::ALL.into_iter().find(|kind| ready & ((1 << KIND_BITS) - 1) == *kind as u64)?;
    if ready & READY == 0 {
        return None;
    }
    let mut record = MetricRecord::new_zeroed();
    let mut words = [0u64; METRIC_WORDS];
    slot.copy_to(&mut words);
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut rest = record.text.as_slice();
    let mut take = |bytes: u16| {
        let (text, after) = rest.split_at_checked(bytes as usize)?;
        rest = after;
        core::str::from_utf8(text).ok()
    };
    let (name, labels) = (take(record.name_bytes)?.to_owned(), read_labels(take(record.label_bytes)?)?);
    let (unit, help) = (take(record.unit_bytes)?.to_owned(), take(record.help_bytes)?.to_owned());
    Some(Metric { name, labels, unit, help, kind, is_builtin: false, value: None, histogram: None })
}

/// `None` unless each key has a value and is greater than the key before: no object in JSON may have a key twice.
fn read_labels(text: &str) -> Option<Vec<(String, String)>> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('\0')?;
        let (value, after) = after.split_once('\0')?;
        if labels.last().is_some_and(|(last, _)| last.as_str() >= key) {
            return None;
        }
        labels.push((key.to_owned(), value.to_owned()));
        rest = after;
    }
    Some(labels)
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

    fn slot() -> Vec<AtomicU64> {
        (0..METRIC_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn labels_stay_apart_from_the_name_and_whatever_no_writer_stores_is_unreadable() {
        let slot = slot();
        let labels = [("node", "a"), ("shard", "")];
        let described = Description {
            name: "docs.seen",
            labels: &labels,
            unit: "documents",
            kind: Kind::SignedGauge,
            help: "",
        };
        described.write(&slot, 7);
        let metric = read_descriptor(Words::new(&slot)).unwrap();
        let read: Vec<_> = metric.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            (metric.name.as_str(), &read[..], metric.unit.as_str()),
            ("docs.seen", &labels[..], "documents")
        );
        for text in ["a\0b", "a", "b\0\0a\0\0", "a\0\0a\0\0"] {
            assert_eq!(read_labels(text), None, "{text:?}");
        }
        for ready in [0, 7 << KIND_BITS | 4, READY, READY | 6, READY | 7 << KIND_BITS] {
            slot[0].store(ready, Ordering::Relaxed);
            assert_eq!(read_descriptor(Words::new(&slot)), None, "{ready:#x}");
        }
    }

    #[test]
    fn a_metric_that_goes_away_while_it_is_read_is_not_told() {
        let slot = slot();
        describe(&slot, "old", "", Kind::Gauge, "");
        let words = Words::new(&slot);
        assert_eq!(read_between(words, |metric| Some(metric.name)).as_deref(), Some("old"));
        let renewed = read_between(words, |metric| {
            vacate(&slot);
            Description { name: "old", labels: &[], unit: "", kind: Kind::Gauge, help: "" }.write(&slot, 1);
            Some(metric.name)
        });
        assert_eq!(renewed, None);
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let (name, value) = ("n".repeat(METRIC_NAME_BYTES), "v".repeat(METRIC_TEXT_BYTES));
        let rest = METRIC_TEXT_BYTES - METRIC_NAME_BYTES - METRIC_UNIT_BYTES - "k".len() - 2;
        let unit = "u".repeat(METRIC_UNIT_BYTES);
        let of = |bytes: usize| -> (bool, Option<Metric>) {
            let (labels, slot) = ([("k", &value[..bytes])], slot());
            let all = Description { name: &name, labels: &labels, unit: &unit, kind: Kind::Gauge, help: "h" };
            all.write(&slot, 0);
            (all.fits(), read_descriptor(Words::new(&slot)))
        };
        let (fits, metric) = of(rest);
        let metric = metric.unwrap();
        assert!(fits && metric.name == name && metric.unit == unit && metric.labels[0].1.len() == rest);
        assert!(!of(rest + 1).0);
    }

    #[test]
    fn every_builtin_metric_fits_its_descriptor_whole() {
        for (name, unit, _, help) in BUILTIN {
            assert!(unit.len() <= METRIC_UNIT_BYTES, "{name}");
            assert!(name.len() + unit.len() + help.len() <= METRIC_TEXT_BYTES, "{name}");
        }
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
