//! Which numbers are known: the attachments that the application made, and the numbers that each of them counts.
//!
//! A number that no attachment counts is unknown, not 0. The header has a bit for each kind of attachment that was made
//! ([`Attached`]). An instance has a bit for each attachment that was made for this instance alone
//! ([`InstanceRecord::counted_by`]). A number is known if the bit of one of its attachments is set, or if it is not 0.
//! No attachment counts the probe's own metrics, and these are always known.
//!
//! ```
//! use atomscope_layout::attached::{Attached, Attachment};
//! use atomscope_layout::metrics::Builtin;
//! let attached = Attached::of(Attachment::Journal.bit());
//! assert!(attached.counts(Builtin::PersistenceEvents));
//! assert!(!attached.counts(Builtin::SnapshotsSaved)); // no snapshot store is attached
//! assert!(attached.counts(Builtin::Spawned)); // the probe's own
//! ```
//!
//! [`InstanceRecord::counted_by`]: crate::instances::InstanceRecord::counted_by

use crate::domains::{
    Domain, NUMBERS, association, graph, journal, key, lease, node_metric, persistence_id, shard,
    shard_region, worker,
};
use crate::metrics::{BUILTIN, Builtin};

/// The instances of a domain for which an attachment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All listed instances: the bit is in the header.
    All,
    /// Only the instances that have the bit themselves.
    Each,
}

/// Numbers of a domain's instances that an attachment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The domain.
    pub domain: Domain,
    /// The instances for which they are counted.
    pub reach: Reach,
    /// Indices of the numbers, as in [`Domain::fields`].
    pub fields: &'static [usize],
}

macro_rules! attachments {
    ($($(#[doc = $help:literal])+ $attachment:ident = $bit:literal, $name:literal, [$($metric:ident),*]
        $(, $domain:ident $reach:ident $module:ident [$($field:ident),+])*;)+) => {
        /// A kind of attachment: a component that the application attaches, or calls by which it records by itself. The
        /// number of the variant is the number of its bit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Attachment { $($(#[doc = $help])+ $attachment = $bit,)+ }

        impl Attachment {
            /// All kinds of attachments, in the order of their bits.
            pub const ALL: &[Self] = &[$(Self::$attachment,)+];

            /// The calls that make the attachment, separated by commas.
            pub fn name(self) -> &'static str {
                match self { $(Self::$attachment => $name,)+ }
            }

            /// The built-in metrics that the attachment counts.
            pub const fn metrics(self) -> &'static [Builtin] {
                match self { $(Self::$attachment => &[$(Builtin::$metric),*],)+ }
            }

            /// The numbers of instances that the attachment counts.
            pub const fn counts(self) -> &'static [Counts] {
                match self {
                    $(Self::$attachment => &[$(Counts {
                        domain: Domain::$domain,
                        reach: Reach::$reach,
                        fields: &[$($module::$field),+],
                    }),*],)+
                }
            }
        }
    };
}

attachments! {
    /// The state of the cluster: the probe polls a daemon, or the application calls `update`.
    ClusterState = 0, "cluster.attach, attach_with, update", [ClusterChanges];
    /// A transport of the gossip protocol.
    Gossip = 1, "cluster.wrap_transport", [GossipSent];
    /// An inbox of the gossip protocol.
    GossipInbox = 2, "cluster.wrap_gossip_inbox", [GossipReceived];
    /// A downing strategy.
    Downing = 3, "cluster.wrap_downing", [DowningCalls, DowningDecisions];
    /// An observer of the quorum.
    Quorum = 4, "cluster.quorum_observer", [QuorumLost, QuorumRegained];
    /// Metrics of the nodes of the cluster.
    NodeMetrics = 5, "cluster_metrics.attach, wrap_transport, record", [NodeMetricSamples],
        NodeMetric All node_metric [VALUE, SAMPLES, TIMESTAMP];
    /// A shard region, polled by the probe.
    ShardRegion = 6, "sharding.attach_region", [], ShardRegion Each shard_region [SHARDS];
    /// The message extractor of a shard region.
    ShardExtractor = 7, "sharding.wrap_extractor", [],
        ShardRegion Each shard_region [RECEIVED], Shard Each shard [RECEIVED];
    /// The handler factory of a shard region.
    ShardHandlers = 8, "sharding.wrap_handlers", [ShardMessages],
        ShardRegion Each shard_region [MESSAGES, ENTITIES_STARTED, UNCOUNTED],
        Shard Each shard [MESSAGES, ENTITIES, UNCOUNTED];
    /// The forwarder of a shard region.
    ShardForwarder = 9, "sharding.wrap_forwarder", [], ShardRegion Each shard_region [FORWARDED];
    /// An allocation strategy.
    ShardStrategy = 10, "sharding.wrap_strategy", [ShardAllocations, Rebalances, ShardsRebalanced];
    /// A shard coordinator, polled by the probe.
    ShardCoordinator = 11, "sharding.attach_coordinator", [];
    /// A hand-off coordinator, polled by the probe.
    HandOffs = 12, "sharding.attach_hand_offs", [HandOffsStarted, HandOffsDone],
        Shard All shard [HAND_OFF, REMAINING];
    /// A passivation tracker, polled by the probe.
    Passivation = 13, "sharding.attach_passivation", [], ShardRegion Each shard_region [ACTIVE];
    /// Passivations that the application records.
    PassivationCalls = 14, "sharding.record_passivation", [], ShardRegion All shard_region [PASSIVATED];
    /// Shard regions and allocations that the application records.
    ShardingCalls = 15, "sharding.set_snapshot, refresh_from", [];
    /// A journal.
    Journal = 16, "persistence.wrap_journal", [PersistenceEvents, PersistenceFailures],
        Journal Each journal [EVENTS, WRITES, FAILURES, REPLAYS, REPLAYED, REPLAY_FAILURES, DELETES, UNLISTED_EVENTS,
            ROLLED_UP, LATENCY, CANCELLED],
        PersistenceId All persistence_id [HIGHEST, EVENTS];
    /// Journal writes that the application records.
    JournalCalls = 17, "persistence.record_write", [PersistenceEvents],
        Journal All journal [EVENTS, UNLISTED_EVENTS, ROLLED_UP],
        PersistenceId All persistence_id [HIGHEST, EVENTS];
    /// A snapshot store.
    SnapshotStore = 18, "persistence.wrap_snapshot_store", [SnapshotsSaved, SnapshotsLoaded, SnapshotFailures];
    /// A recovery permitter, polled by the probe.
    Recovery = 19, "persistence.watch_recovery", [RecoveryPermits, RecoveriesRunning];
    /// An endpoint manager, polled by the probe.
    Endpoints = 20, "remote.attach", [RemoteErrors, Quarantines],
        Association All association [STATE, BYTES_IN, BYTES_OUT, MESSAGES_IN, MESSAGES_OUT, ERRORS, AVAILABLE,
            QUARANTINED, ATTEMPTS];
    /// An endpoint manager that the application refreshes from.
    EndpointCalls = 21, "remote::refresh_from_endpoint_manager", [],
        Association All association [STATE, BYTES_IN, BYTES_OUT];
    /// Associations that the application records.
    AssociationCalls = 22, "remote.record_association, set_state", [], Association All association [STATE];
    /// Received bytes that the application records.
    InboundCalls = 23, "remote.record_inbound_bytes", [], Association All association [BYTES_IN];
    /// Sent bytes that the application records.
    OutboundCalls = 24, "remote.record_outbound_bytes", [], Association All association [BYTES_OUT];
    /// A stream whose elements the probe sees.
    Stream = 25, "streams.watch, watch_results",
        [StreamsStarted, StreamsFinished, StreamsFailed, StreamElements],
        Graph All graph [ID], Graph Each graph [ELEMENTS];
    /// A graph whose elements the probe does not see.
    StreamGraph = 26, "streams.watch_graph", [StreamsStarted, StreamsFinished, StreamsFailed],
        Graph All graph [ID];
    /// Graphs that the application records.
    StreamCalls = 27, "streams.start_graph", [StreamsStarted, StreamsFinished], Graph All graph [ID];
    /// A replicator, polled by the probe.
    Replicator = 28, "ddata.attach", [], Key All key [SUBSCRIBERS];
    /// A durable store. The updates of a key that the store never saw went another way, so they are unknown.
    DDataStore = 29, "ddata.wrap_store", [DDataUpdates, DDataDeletes], Key Each key [UPDATES];
    /// Updates that the application records. The updates of any other key are unknown.
    UpdateCalls = 30, "ddata.record_update", [DDataUpdates], Key Each key [UPDATES];
    /// Deletions that the application records.
    DeleteCalls = 31, "ddata.record_delete", [DDataDeletes];
    /// A lease.
    Lease = 32, "leases.wrap", [LeasesAcquired, LeasesDenied, LeasesLost],
        Lease All lease [HOLDER, ACQUIRED, DENIED, LOST, RELEASED, HELD, RENEWED];
    /// An async runtime, polled by the probe.
    Runtime = 33, "install, watch_runtime", [RuntimeWorkers, RuntimeTasks, RuntimeQueue],
        Worker All worker [BUSY_NS, PARKS, PARKED, AWAY_NS];
    /// The panic hook of the process.
    PanicHook = 34, "panics", [Panics];
    /// A layer of `tracing`.
    FailureLayer = 35, "FailureLayer", [Errors, Warnings];
    /// The polls of a runtime's tasks.
    Polls = 36, "watch_runtime of a builder, with tokio_unstable", [LongPolls, Polls];
}

impl Attachment {
    /// The bit of this kind of attachment.
    pub const fn bit(self) -> u64 {
        1 << self as u32
    }
}

/// The attachments that count a number: those that count it for [`Reach::All`], and those for [`Reach::Each`].
type By = [u64; 2];

/// The bits of the attachments that count each built-in metric; 0 for the probe's own metrics.
const METRICS: [u64; BUILTIN.len()] = {
    let mut by = [0; BUILTIN.len()];
    let mut at = 0;
    while at < Attachment::ALL.len() {
        let attachment = Attachment::ALL[at];
        assert!(attachment as usize == at && at < 63);
        let metrics = attachment.metrics();
        let mut number = 0;
        while number < metrics.len() {
            by[metrics[number] as usize] |= attachment.bit();
            number += 1;
        }
        at += 1;
    }
    by
};

/// The bits of the attachments that count each number of each domain, by the number of the domain.
const FIELDS: [[By; NUMBERS]; Domain::ALL.len() + 1] = {
    let mut by = [[[0; 2]; NUMBERS]; Domain::ALL.len() + 1];
    let mut at = 0;
    while at < Attachment::ALL.len() {
        let attachment = Attachment::ALL[at];
        let counts = attachment.counts();
        let mut number = 0;
        while number < counts.len() {
            let Counts { domain, reach, fields } = counts[number];
            let mut field = 0;
            while field < fields.len() {
                by[domain as usize][fields[field]][reach as usize] |= attachment.bit();
                field += 1;
            }
            number += 1;
        }
        at += 1;
    }
    by
};

/// The attachments that were made in a region: the word `attached` of the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attached(u64);

impl Attached {
    /// From the word of the header.
    pub const fn of(word: u64) -> Self {
        Self(word)
    }

    /// Whether one of these attachments was made.
    pub fn has_any(self, attachments: &[Attachment]) -> bool {
        attachments.iter().any(|attachment| self.0 & attachment.bit() != 0)
    }

    /// Whether an attachment counts this built-in metric, or the probe itself does.
    pub fn counts(self, metric: Builtin) -> bool {
        self.counts_number(metric as usize)
    }

    /// As [`Self::counts`], by the number of the metric. Metrics of a later version are taken as counted.
    pub fn counts_number(self, metric: usize) -> bool {
        let by = METRICS.get(metric).copied().unwrap_or_default();
        by == 0 || self.0 & by != 0
    }

    /// Whether an attachment counts the number with the index `field` of an instance with this `counted_by`.
    pub fn counts_of(self, domain: Domain, field: usize, counted_by: u64) -> bool {
        let [all, each] = FIELDS[domain as usize].get(field).copied().unwrap_or_default();
        self.0 & all != 0 || counted_by & each != 0
    }

    /// Whether the number with the index `field` is counted for some instance that exists or may come.
    pub fn counts_some(self, domain: Domain, field: usize) -> bool {
        self.counts_of(domain, field, self.0)
    }

    /// Whether an attachment lists instances of this domain, if there are any.
    pub fn lists(self, domain: Domain) -> bool {
        (0..NUMBERS).any(|field| self.counts_some(domain, field))
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_every_instance_is_counted_by_some_attachment() {
        for domain in Domain::ALL {
            for (at, field) in domain.fields().iter().enumerate() {
                assert_ne!(FIELDS[*domain as usize][at], [0, 0], "{}.{}", domain.name(), field.name);
            }
            let beyond = &FIELDS[*domain as usize][domain.fields().len()..];
            assert!(beyond.iter().all(|by| *by == [0, 0]), "{}", domain.name());
        }
    }

    #[test]
    fn every_metric_of_a_subsystem_is_counted_by_some_attachment_unless_it_is_of_the_probes_own_room() {
        let subsystems = [
            "cluster",
            "sharding",
            "persistence",
            "remote",
            "streams",
            "ddata",
            "leases",
            "runtime",
            "failures",
        ];
        let unlisted: Vec<_> =
            Domain::ALL.iter().map(|domain| BUILTIN[domain.unlisted() as usize].0).collect();
        for ((name, ..), by) in BUILTIN.iter().zip(METRICS) {
            let is_of_a_subsystem = subsystems.contains(&name.split('.').next().unwrap_or_default());
            let own = [
                Builtin::JournalWritesAbandoned,
                Builtin::PanicsAbandoned,
                Builtin::FailuresUnlisted,
                Builtin::FailuresMissed,
            ];
            let is_own =
                unlisted.contains(name) || own.iter().any(|metric| *name == BUILTIN[*metric as usize].0);
            assert_eq!(by != 0, is_of_a_subsystem && !is_own, "{name}");
        }
    }

    #[test]
    fn a_number_is_counted_by_its_own_attachments_and_by_no_others() {
        let none = Attached::default();
        let with = |attachment: Attachment| Attached::of(attachment.bit());
        assert!(!none.counts(Builtin::DDataUpdates) && none.counts(Builtin::KeysUnlisted));
        assert!(with(Attachment::DDataStore).counts(Builtin::DDataUpdates));
        assert!(!with(Attachment::Replicator).counts(Builtin::DDataUpdates));
        let handlers = Attachment::ShardHandlers.bit();
        let region = Domain::ShardRegion;
        assert!(none.counts_of(region, shard_region::MESSAGES, handlers));
        assert!(!with(Attachment::ShardHandlers).counts_of(region, shard_region::MESSAGES, 0));
        assert!(!none.counts_of(region, shard_region::RECEIVED, handlers));
        assert!(with(Attachment::Replicator).lists(Domain::Key) && !none.lists(Domain::Key));
        assert!(!none.counts_of(Domain::Key, NUMBERS, u64::MAX), "there is no such number");
    }
}
