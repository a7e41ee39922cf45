//! Streams: the running graphs, and how many started, finished and failed.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::streams::StreamsProbe;
//!
//! let streams = StreamsProbe::new(TelemetryBus::new(64));
//! let id = streams.start_graph("orders");
//! assert_eq!(streams.running(), 1);
//! streams.finish_graph(id);
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "streams")]
use atomr_streams::{RunnableGraph, Source};

use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, Instance, graph};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::Key;

use crate::bus::TelemetryBus;
use crate::dto::StreamsSnapshot;
use crate::region::Region;
use crate::writer::RegionWriter;

/// The streams of a node.
#[derive(Debug)]
pub struct StreamsProbe {
    region: Region,
    bus: TelemetryBus,
    next_id: Arc<AtomicU64>,
    /// Running graphs that are not listed, since their domain was full.
    unlisted: Arc<AtomicU64>,
}

/// The way in which a graph ends. A number of one kind means nothing to the other.
#[derive(Debug, Clone, Copy)]
enum EndedBy {
    /// [`StreamsProbe::finish_graph`].
    Hand = 0,
    /// The drop of the wrapped graph, which writes to its slot until then.
    #[cfg(feature = "streams")]
    Drop = 1,
}

fn key_of(writer: &RegionWriter, id: u64, by: EndedBy) -> Key {
    writer.instance_key(Domain::Graph, Some(Key(id, by as u64)), "")
}

impl StreamsProbe {
    /// A stand-alone probe in private memory; the one of a node is [`crate::TelemetryExtension::streams`]. Allocates.
    pub fn new(bus: TelemetryBus) -> Self {
        Self::of(Region::bare(Capacities { instances: 4096, ..Capacities::LEAST }), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus, next_id: Arc::new(AtomicU64::new(1)), unlisted: Arc::default() }
    }

    /// See [`Region::not_held`].
    #[cfg(feature = "streams")]
    fn not_held(&self) -> Self {
        Self {
            region: self.region.not_held(),
            bus: self.bus.not_held(),
            next_id: self.next_id.clone(),
            unlisted: self.unlisted.clone(),
        }
    }

    /// Records the start of a graph, and returns its number. Takes a lock for some hundred nanoseconds; no system call of its
    /// own.
    pub fn start_graph(&self, name: impl Into<String>) -> u64 {
        self.region.writer.attached(Attachment::StreamCalls);
        self.start(&name.into(), EndedBy::Hand).0
    }

    fn start(&self, name: &str, by: EndedBy) -> (u64, Option<Instance>) {
        let writer = &self.region.writer;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        writer.count(Builtin::StreamsStarted, 1);
        let made = writer.make_instance(Domain::Graph, key_of(writer, id, by), None, name);
        match made {
            Some(made) => writer.instances().numbers(made)[graph::ID].store(id, Ordering::Relaxed),
            None => {
                self.unlisted.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.bus.publish_texts(EventKind::StreamsGraphStarted, [id, 0], &[name]);
        (id, made)
    }

    /// Records that a graph has ended. Does nothing for unknown graphs, and for watched graphs, which end by themselves.
    /// (Unlisted graphs are only counted, so a second call for one of them is counted as the end of another.) Takes a lock
    /// for some hundred nanoseconds.
    pub fn finish_graph(&self, id: u64) {
        self.end(id, EndedBy::Hand);
    }

    fn end(&self, id: u64, by: EndedBy) -> bool {
        let writer = &self.region.writer;
        let known = writer.remove_instance(Domain::Graph, key_of(writer, id, by), |_| {}) || {
            let started = (1..self.next_id.load(Ordering::Relaxed)).contains(&id);
            let one_less = |count: u64| count.checked_sub(1);
            started && self.unlisted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
        };
        if known {
            writer.count_end(Builtin::StreamsFinished, 1);
            self.bus.publish_texts(EventKind::StreamsGraphFinished, [id, 0], &[]);
        }
        known
    }

    /// Wraps a source: it is a graph of this name until it is dropped. A stream drops it when it has ended or needs no more
    /// elements. Each element costs two locked adds. The graph counts as failed if a panic dropped it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use atomr_streams::{Sink, Source};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("docs-streams", 64);
    /// let numbers = telemetry.streams.watch("numbers", Source::from_iter(0..10));
    /// assert_eq!(telemetry.streams.running(), 1);
    /// assert_eq!(Sink::collect(numbers).await.len(), 10);
    /// assert_eq!(telemetry.streams.running(), 0);
    /// # }
    /// ```
    #[cfg(feature = "streams")]
    pub fn watch<T: Send + 'static>(self: &Arc<Self>, name: &str, source: Source<T>) -> Source<T> {
        let graph = Graph::start(self, name, Attachment::Stream);
        atomr_streams::monitor(source, move |_| graph.element())
    }

    /// The same for a source whose elements are results. The graph counts as failed if one of them was an error.
    #[cfg(feature = "streams")]
    pub fn watch_results<T: Send + 'static, E: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        source: Source<Result<T, E>>,
    ) -> Source<Result<T, E>> {
        let mut graph = Graph::start(self, name, Attachment::Stream);
        atomr_streams::monitor(source, move |element| {
            graph.failed |= element.is_err();
            graph.element();
        })
    }

    /// Wraps a runnable graph: it runs from its start until its end, its panic, or the drop of its future.
    #[cfg(feature = "streams")]
    pub fn watch_graph<M: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        graph: RunnableGraph<M>,
    ) -> RunnableGraph<M> {
        self.region.writer.attached(Attachment::StreamGraph);
        let (probe, name) = (self.not_held(), name.to_owned());
        RunnableGraph::new(move || {
            let running = Graph::start(&probe, &name, Attachment::StreamGraph);
            async move {
                let outcome = graph.run().await;
                drop(running);
                outcome
            }
        })
    }

    /// The number of running graphs. Allocates.
    pub fn running(&self) -> u64 {
        self.snapshot().running_graphs
    }

    /// The running graphs, and the numbers of started and finished ones. Allocates.
    pub fn snapshot(&self) -> StreamsSnapshot {
        self.region.writer.reader().map(|reader| reader.streams(&reader.instances())).unwrap_or_default()
    }
}

/// A running graph. Its drop ends it.
#[cfg(feature = "streams")]
struct Graph {
    probe: StreamsProbe,
    id: u64,
    instance: Option<Instance>,
    failed: bool,
}

#[cfg(feature = "streams")]
impl Graph {
    fn start(probe: &StreamsProbe, name: &str, watched_as: Attachment) -> Self {
        // Only the drop of this value removes the instance.
        let (id, instance) = probe.start(name, EndedBy::Drop);
        probe.region.writer.attached_to(instance, watched_as);
        Self { probe: probe.not_held(), id, instance, failed: false }
    }

    fn element(&self) {
        let writer = &self.probe.region.writer;
        writer.count(Builtin::StreamElements, 1);
        if let Some(instance) = self.instance {
            writer.instances().numbers(instance)[graph::ELEMENTS].fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(feature = "streams")]
impl Drop for Graph {
    fn drop(&mut self) {
        let failed = self.failed || std::thread::panicking();
        if self.probe.end(self.id, EndedBy::Drop) && failed {
            self.probe.region.writer.count(Builtin::StreamsFailed, 1);
        }
    }
}
