//! The views, in their order.

use clap::ValueEnum;

use super::tick::Tick;
use atomscope::report::subsystems::Part;

/// What the screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum View {
    Overview,
    Actors,
    #[value(name = "dead-letters")]
    DeadLetters,
    Events,
    Cluster,
    Sharding,
    Persistence,
    Remote,
    Streams,
    Data,
    Leases,
    Runtime,
    Metrics,
    #[value(name = "self")]
    Own,
    Nodes,
}

impl View {
    pub const ALL: [Self; 15] = [
        Self::Overview,
        Self::Actors,
        Self::DeadLetters,
        Self::Events,
        Self::Cluster,
        Self::Sharding,
        Self::Persistence,
        Self::Remote,
        Self::Streams,
        Self::Data,
        Self::Leases,
        Self::Runtime,
        Self::Metrics,
        Self::Own,
        Self::Nodes,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Actors => "Actors",
            Self::DeadLetters => "Letters",
            Self::Events => "Events",
            Self::Cluster => "Cluster",
            Self::Sharding => "Sharding",
            Self::Persistence => "Persistence",
            Self::Remote => "Remote",
            Self::Streams => "Streams",
            Self::Data => "Data",
            Self::Leases => "Leases",
            Self::Runtime => "Runtime",
            Self::Metrics => "Metrics",
            Self::Own => "Self",
            Self::Nodes => "Nodes",
        }
    }

    /// The key that goes there.
    pub fn key(self) -> char {
        match self {
            Self::Overview => '1',
            Self::Actors => '2',
            Self::DeadLetters => '3',
            Self::Events => '4',
            Self::Cluster => '5',
            Self::Sharding => '6',
            Self::Persistence => '7',
            Self::Remote => '8',
            Self::Streams => '9',
            Self::Data => '0',
            Self::Leases => 'L',
            Self::Runtime => 'R',
            Self::Metrics => 'M',
            Self::Own => 'S',
            Self::Nodes => 'N',
        }
    }

    /// What of the help is said of it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Overview => "how the node is, at a glance",
            Self::Actors => "live actors, as a tree, a list, or by class",
            Self::DeadLetters => "the newest dead letters",
            Self::Events => "what happens, as it happens",
            Self::Cluster => "the cluster as the node sees it",
            Self::Sharding => "shard regions, shards, allocations",
            Self::Persistence => "journals, persistence ids, writes",
            Self::Remote => "associations with other nodes",
            Self::Streams => "streams that run",
            Self::Data => "keys of the distributed data",
            Self::Leases => "leases, and who holds them",
            Self::Runtime => "workers of the async runtime",
            Self::Metrics => "all counters, gauges and histograms",
            Self::Own => "room, drops, what cannot be read, what watching costs",
            Self::Nodes => "the nodes of this machine",
        }
    }

    /// The subsystem that it lists.
    pub fn part(self) -> Option<Part> {
        match self {
            Self::Cluster => Some(Part::Cluster),
            Self::Sharding => Some(Part::Sharding),
            Self::Persistence => Some(Part::Persistence),
            Self::Remote => Some(Part::Remote),
            Self::Streams => Some(Part::Streams),
            Self::Data => Some(Part::DData),
            Self::Leases => Some(Part::Leases),
            Self::Runtime => Some(Part::Runtime),
            Self::Metrics => Some(Part::Metrics),
            Self::Overview | Self::Actors | Self::DeadLetters | Self::Events | Self::Own | Self::Nodes => {
                None
            }
        }
    }

    /// Whether the node has something to show there.
    pub fn is_in_use(self, tick: &Tick) -> bool {
        match (self, self.part()) {
            (Self::DeadLetters, _) => tick.snapshot.dead_letters.total > 0,
            (Self::Metrics, _) | (_, None) => true,
            (_, Some(part)) => tick.summaries.iter().any(|summary| summary.part == part),
        }
    }
}
