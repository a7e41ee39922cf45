//! The domains of instances, and the numbers of each domain.

use crate::metrics::Builtin;

/// How many numbers an instance has. A domain uses the first of them.
pub const NUMBERS: usize = 16;

/// The kind of a number of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A counter: it only grows.
    Counter,
    /// A gauge: it rises and falls.
    Gauge,
    /// The number of an interned name; 0 = none.
    Name,
    /// The bits of a 64-bit floating-point number.
    Float,
    /// A flag: 0 = unknown, 1 = no, 2 = yes.
    Flag,
}

/// One number of a domain's instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its unit, in words; empty for names and flags.
    pub unit: &'static str,
    /// How the number is read.
    pub kind: FieldKind,
}

macro_rules! domains {
    ($($(#[doc = $help:literal])+ $domain:ident = $number:literal, $name:literal, $module:ident, $unlisted:ident
        { $($(#[doc = $field_help:literal])+ $field:ident = $at:literal, $field_name:literal, $unit:literal, $kind:ident;)* })+) => {
        /// The domain of an instance: what it is one of, such as a journal or a shard.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Domain { $($(#[doc = $help])+ $domain = $number,)+ }

        impl Domain {
            /// All domains.
            pub const ALL: &[Self] = &[$(Self::$domain,)+];

            /// The name of the domain, as in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$domain => $name,)+ }
            }

            /// The numbers of its instances, by index. Numbers beyond these are always 0.
            pub fn fields(self) -> &'static [Field] {
                match self {
                    $(Self::$domain => &[$(Field { name: $field_name, unit: $unit, kind: FieldKind::$kind },)*],)+
                }
            }

            /// The metric that counts operations on instances of this domain that are not listed, because it was full.
            pub fn unlisted(self) -> Builtin {
                match self { $(Self::$domain => Builtin::$unlisted,)+ }
            }
        }

        $(
            #[doc = concat!("Indices of the numbers of a [`Domain::", stringify!($domain), "`].")]
            pub mod $module {
                $($(#[doc = $field_help])+ pub const $field: usize = $at;)*
            }
        )+

        const _: () = {
            $(
                let mut next = 0;
                $(assert!($at == next && $at < NUMBERS); next += 1;)*
                let _ = next;
            )+
        };
    };
}

domains! {
    /// A connection to another node; its name is the remote address.
    Association = 1, "associations", association, AssociationsUnlisted {
        /// The state of the connection.
        STATE = 0, "state", "", Name;
        /// Bytes received.
        BYTES_IN = 1, "inbound_bytes", "bytes", Counter;
        /// Bytes sent.
        BYTES_OUT = 2, "outbound_bytes", "bytes", Counter;
        /// Messages received.
        MESSAGES_IN = 3, "inbound_messages", "messages", Counter;
        /// Messages sent.
        MESSAGES_OUT = 4, "outbound_messages", "messages", Counter;
        /// Failures of the transport.
        ERRORS = 5, "errors", "errors", Counter;
        /// Whether the failure detector considers the other side available.
        AVAILABLE = 6, "available", "", Flag;
        /// Whether the other side is quarantined.
        QUARANTINED = 7, "quarantined", "", Flag;
        /// Attempts to connect since the last successful connection.
        ATTEMPTS = 8, "attempts", "attempts", Gauge;
    }
    /// A running stream.
    Graph = 2, "graphs", graph, GraphsUnlisted {
        /// The number of the stream.
        ID = 0, "id", "", Gauge;
        /// Elements that passed through the stream.
        ELEMENTS = 1, "elements", "elements", Counter;
    }
    /// A journal.
    Journal = 3, "journals", journal, JournalsUnlisted {
        /// Events written.
        EVENTS = 0, "events", "events", Counter;
        /// Writes that ended, successfully or not.
        WRITES = 1, "writes", "writes", Counter;
        /// Writes that failed. How many of their events the journal wrote is unknown, and none of these events is counted.
        FAILURES = 2, "failures", "writes", Counter;
        /// Replays that ended, successfully or not.
        REPLAYS = 3, "replays", "replays", Counter;
        /// Events replayed.
        REPLAYED = 4, "replayed_events", "events", Counter;
        /// Replays that failed.
        REPLAY_FAILURES = 5, "replay_failures", "replays", Counter;
        /// Deletions.
        DELETES = 6, "deletes", "deletions", Counter;
        /// Events of persistence ids that have no instance of their own.
        UNLISTED_EVENTS = 7, "unlisted_events", "events", Counter;
        /// Persistence ids whose instance was removed in favour of more active ones.
        ROLLED_UP = 8, "rolled_up_ids", "ids", Counter;
        /// 1 + the number of the histogram of write latency, 0 = none.
        LATENCY = 9, "latency_histogram", "", Gauge;
        /// Writes and replays that did not end, because their caller went away or they panicked.
        CANCELLED = 10, "cancelled", "calls", Counter;
    }
    /// A persistence id; its owner is its journal.
    PersistenceId = 4, "persistence_ids", persistence_id, PersistenceIdsUnlisted {
        /// The highest sequence number written or replayed.
        HIGHEST = 0, "highest_sequence_nr", "", Gauge;
        /// Events written since the instance was made.
        EVENTS = 1, "event_count", "events", Counter;
    }
    /// A shard region.
    ShardRegion = 5, "shard_regions", shard_region, ShardRegionsUnlisted {
        /// Messages delivered to its entities.
        MESSAGES = 0, "messages", "messages", Counter;
        /// Shards of this shard region.
        SHARDS = 1, "shards", "shards", Gauge;
        /// Different entities that received messages here.
        ENTITIES_STARTED = 2, "entities_started", "entities", Counter;
        /// Messages forwarded to another region.
        FORWARDED = 3, "forwarded", "messages", Counter;
        /// Entities passivated.
        PASSIVATED = 4, "passivated", "entities", Counter;
        /// Messages that came to the shard region, for any shard. Messages neither delivered nor forwarded were dropped.
        RECEIVED = 5, "received", "messages", Counter;
        /// Entities that its passivation trackers follow.
        ACTIVE = 6, "active_entities", "entities", Gauge;
        /// Messages of entities beyond the capacity of counted entities. If it is not 0, there are more entities.
        UNCOUNTED = 7, "uncounted_messages", "messages", Counter;
    }
    /// A shard. Its owner is a shard region that saw it; the shard may now be in another shard region.
    Shard = 6, "shards", shard, ShardsUnlisted {
        /// Messages delivered to its entities here.
        MESSAGES = 0, "messages", "messages", Counter;
        /// Different entities that received messages here.
        ENTITIES = 1, "entities", "entities", Gauge;
        /// State of its hand-off; none if no hand-off runs.
        HAND_OFF = 2, "hand_off", "", Name;
        /// Messages for this shard that came to the shard region.
        RECEIVED = 3, "received", "messages", Counter;
        /// Messages of entities beyond the capacity of counted entities. If it is not 0, there are more entities.
        UNCOUNTED = 4, "uncounted_messages", "messages", Counter;
        /// Entities for which its hand-off waits.
        REMAINING = 5, "remaining_entities", "entities", Gauge;
    }
    /// A key of distributed data.
    Key = 7, "keys", key, KeysUnlisted {
        /// Updates.
        UPDATES = 0, "updates", "updates", Counter;
        /// Subscribers.
        SUBSCRIBERS = 1, "subscribers", "subscribers", Gauge;
    }
    /// A lease.
    Lease = 8, "leases", lease, LeasesUnlisted {
        /// The holder, as far as this node knows.
        HOLDER = 0, "holder", "", Name;
        /// Times it was acquired here.
        ACQUIRED = 1, "acquired", "times", Counter;
        /// Times it was denied here.
        DENIED = 2, "denied", "times", Counter;
        /// Times it was lost here.
        LOST = 3, "lost", "times", Counter;
        /// Times it was released here.
        RELEASED = 4, "released", "times", Counter;
        /// Whether it is held here.
        HELD = 5, "held", "", Flag;
        /// Times the current holder acquired it again here.
        RENEWED = 6, "renewed", "times", Counter;
    }
    /// A worker thread of the async runtime.
    Worker = 9, "workers", worker, WorkersUnlisted {
        /// Time spent running tasks, with the task that it runs now: up to the sampler's last round.
        BUSY_NS = 0, "busy_ns", "nanoseconds", Counter;
        /// Times the thread went to sleep.
        PARKS = 1, "parks", "times", Counter;
        /// Whether it sleeps now.
        PARKED = 2, "parked", "", Flag;
        /// The time at the sampler's last round since the worker last slept or published its numbers, which it does every 61
        /// polls; 0 while it sleeps. Time in which the process stood still does not count.
        AWAY_NS = 3, "away_ns", "nanoseconds", Gauge;
    }
    /// A metric of a cluster node; its name is `address metric`.
    NodeMetric = 10, "node_metrics", node_metric, NodeMetricsUnlisted {
        /// The last value.
        VALUE = 0, "value", "", Float;
        /// Samples so far.
        SAMPLES = 1, "samples", "samples", Counter;
        /// The timestamp that the node gave its last sample, in the node's own unit.
        TIMESTAMP = 2, "timestamp", "", Gauge;
    }
}

impl Domain {
    /// The domain with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|domain| *domain as u16 == number)
    }
}
