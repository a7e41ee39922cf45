//! What instances there are: the domains, and the numbers that each counts.

use crate::metrics::Builtin;

/// Numbers of an instance.
pub const NUMBERS: usize = 16;
/// What a number of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A counter: it only grows.
    Counter,
    /// A gauge: it rises and falls.
    Gauge,
    /// It is the number of an interned name; 0 = none.
    Name,
    /// It is the bits of a floating-point number.
    Float,
    /// 0 = unknown, 1 = no, 2 = yes.
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
        /// What an instance is one of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Domain { $($(#[doc = $help])+ $domain = $number,)+ }

        impl Domain {
            /// All domains.
            pub const ALL: &[Self] = &[$(Self::$domain,)+];

            /// Its name, as it stands in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$domain => $name,)+ }
            }

            /// What each number of its instances is, by place; places that are not there are zero.
            pub fn fields(self) -> &'static [Field] {
                match self {
                    $(Self::$domain => &[$(Field { name: $field_name, unit: $unit, kind: FieldKind::$kind },)*],)+
                }
            }

            /// The metric that counts what found no room among its instances.
            pub fn unlisted(self) -> Builtin {
                match self { $(Self::$domain => Builtin::$unlisted,)+ }
            }
        }

        $(
            #[doc = concat!("Places of the numbers of a [`Domain::", stringify!($domain), "`].")]
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
        /// How it is.
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
        /// Whether the failure detector takes the other side for available.
        AVAILABLE = 6, "available", "", Flag;
        /// Whether the other side is quarantined.
        QUARANTINED = 7, "quarantined", "", Flag;
        /// Attempts at the connection since it was connected last.
        ATTEMPTS = 8, "attempts", "attempts", Gauge;
    }
    /// A running stream.
    Graph = 2, "graphs", graph, GraphsUnlisted {
        /// Its number.
        ID = 0, "id", "", Gauge;
        /// Elements that passed.
        ELEMENTS = 1, "elements", "elements", Counter;
    }
    /// A journal.
    Journal = 3, "journals", journal, JournalsUnlisted {
        /// Events written.
        EVENTS = 0, "events", "events", Counter;
        /// Writes that ended, well or not.
        WRITES = 1, "writes", "writes", Counter;
        /// Of those, writes that failed. What the journal wrote of them nobody knows, and none of it is counted.
        FAILURES = 2, "failures", "writes", Counter;
        /// Replays that ended, well or not.
        REPLAYS = 3, "replays", "replays", Counter;
        /// Events replayed.
        REPLAYED = 4, "replayed_events", "events", Counter;
        /// Of those, replays that failed.
        REPLAY_FAILURES = 5, "replay_failures", "replays", Counter;
        /// Deletions.
        DELETES = 6, "deletes", "deletions", Counter;
        /// Events of persistence ids that have no record of their own.
        UNLISTED_EVENTS = 7, "unlisted_events", "events", Counter;
        /// Persistence ids whose record gave way to more active ones.
        ROLLED_UP = 8, "rolled_up_ids", "ids", Counter;
        /// 1 + the number of the histogram of the time that its writes took, 0 = none.
        LATENCY = 9, "latency_histogram", "", Gauge;
        /// Writes and replays whose caller went away, or that panicked, before they ended.
        GIVEN_UP = 10, "given_up", "calls", Counter;
    }
    /// A persistence id; its owner is its journal.
    PersistenceId = 4, "persistence_ids", persistence_id, PersistenceIdsUnlisted {
        /// The highest sequence number written or replayed.
        HIGHEST = 0, "highest_sequence_nr", "", Gauge;
        /// Events written since it is listed.
        EVENTS = 1, "event_count", "events", Counter;
    }
    /// A shard region.
    ShardRegion = 5, "shard_regions", shard_region, ShardRegionsUnlisted {
        /// Messages that its entities were given.
        MESSAGES = 0, "messages", "messages", Counter;
        /// Shards here.
        SHARDS = 1, "shards", "shards", Gauge;
        /// Different entities that were given messages here.
        ENTITIES_STARTED = 2, "entities_started", "entities", Counter;
        /// Messages forwarded to another region.
        FORWARDED = 3, "forwarded", "messages", Counter;
        /// Entities passivated.
        PASSIVATED = 4, "passivated", "entities", Counter;
        /// Messages that came to it, whosever they were. What was neither given to an entity nor forwarded was dropped.
        RECEIVED = 5, "received", "messages", Counter;
        /// Entities that its passivation trackers follow.
        ACTIVE = 6, "active_entities", "entities", Gauge;
        /// Messages of entities for which there was no room among the counted ones. Unless 0, there are more entities.
        UNCOUNTED = 7, "uncounted_messages", "messages", Counter;
    }
    /// A shard; its owner is its region, which need not be the one that has it.
    Shard = 6, "shards", shard, ShardsUnlisted {
        /// Messages that its entities were given here.
        MESSAGES = 0, "messages", "messages", Counter;
        /// Different entities that were given messages here.
        ENTITIES = 1, "entities", "entities", Gauge;
        /// State of its hand-off, if there is one.
        HAND_OFF = 2, "hand_off", "", Name;
        /// Messages for it that came to the region.
        RECEIVED = 3, "received", "messages", Counter;
        /// Messages of entities for which there was no room among the counted ones. Unless 0, there are more entities.
        UNCOUNTED = 4, "uncounted_messages", "messages", Counter;
        /// Entities for which its hand-off waits.
        REMAINING = 5, "remaining_entities", "entities", Gauge;
    }
    /// A key of the distributed data.
    Key = 7, "keys", key, KeysUnlisted {
        /// Updates.
        UPDATES = 0, "updates", "updates", Counter;
        /// Subscribers.
        SUBSCRIBERS = 1, "subscribers", "subscribers", Gauge;
    }
    /// A lease.
    Lease = 8, "leases", lease, LeasesUnlisted {
        /// Who holds it, as far as this node knows.
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
        /// Times it was acquired here by who held it already.
        RENEWED = 6, "renewed", "times", Counter;
    }
    /// A worker thread of the async runtime.
    Worker = 9, "workers", worker, WorkersUnlisted {
        /// Time spent on tasks.
        BUSY_NS = 0, "busy_ns", "nanoseconds", Counter;
        /// Times it went to sleep.
        PARKS = 1, "parks", "times", Counter;
    }
    /// A metric of a cluster node, `address metric`.
    NodeMetric = 10, "node_metrics", node_metric, NodeMetricsUnlisted {
        /// The last value.
        VALUE = 0, "value", "", Float;
        /// Samples so far.
        SAMPLES = 1, "samples", "samples", Counter;
        /// The time that the node gave its last sample, in a unit of its own.
        TIMESTAMP = 2, "timestamp", "", Gauge;
    }
}

impl Domain {
    /// The domain with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|domain| *domain as u16 == number)
    }
}
