//! The streams probe: which graphs run, and how many came and went.

use std::sync::atomic::{AtomicU64, Ordering};

use atomscope_layout::Capacities;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, graph};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::Key;

use crate::bus::TelemetryBus;
use crate::dto::StreamsSnapshot;
use crate::region::{Core, Region};

/// The streams that run in a node.
#[derive(Debug)]
pub struct StreamsProbe {
    region: Region,
    bus: TelemetryBus,
    next_id: AtomicU64,
    /// Running ones that found no room to be listed.
    unlisted: AtomicU64,
}

fn key_of(core: &Core, id: u64) -> Key {
    core.instance_key(Domain::Graph, Some(Key([id, 0])), "")
}

impl StreamsProbe {
    /// A probe of its own, in private memory; the one of a node is [`crate::TelemetryExtension::streams`].
    pub fn new(bus: TelemetryBus) -> Self {
        Self::of(Region::bare(Capacities { instances: 4096, ..Capacities::LEAST }), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus, next_id: AtomicU64::new(1), unlisted: AtomicU64::new(0) }
    }

    /// Notes the start of a graph, and gives its number. Takes a lock for a moment; no system call of its own.
    pub fn start_graph(&self, name: impl Into<String>) -> u64 {
        let (name, core) = (name.into(), &self.region.core);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        core.count(Builtin::StreamsStarted, 1);
        match core.make_instance(Domain::Graph, key_of(core, id), None, &name) {
            Some(made) => core.instances().numbers(made)[graph::ID].store(id, Ordering::Relaxed),
            None => {
                self.unlisted.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.bus.tell(EventKind::StreamsGraphStarted, [id, 0], &[&name]);
        id
    }

    /// Notes that a graph has ended. Unknown ones are left alone. (Of graphs that found no room to be listed only their
    /// number is known, so that one of them may be told to have ended twice.)
    pub fn finish_graph(&self, id: u64) {
        self.end(id);
    }

    fn end(&self, id: u64) -> bool {
        let core = &self.region.core;
        let known = core.remove_instance(Domain::Graph, key_of(core, id), |_| {}) || {
            let started = (1..self.next_id.load(Ordering::Relaxed)).contains(&id);
            let one_less = |count: u64| count.checked_sub(1);
            started && self.unlisted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
        };
        if known {
            core.count(Builtin::StreamsFinished, 1);
            self.bus.tell(EventKind::StreamsGraphFinished, [id, 0], &[]);
        }
        known
    }

    /// How many run.
    pub fn running(&self) -> u64 {
        self.snapshot().running_graphs
    }

    /// The graphs that run, and how many came and went. Allocates.
    pub fn snapshot(&self) -> StreamsSnapshot {
        self.region.core.reader().map(|reader| reader.streams(&reader.instances())).unwrap_or_default()
    }
}
