//! The extension: one call makes a node visible.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use atomr_core::actor::ActorSystem;
use atomscope_layout::Capacities;
use atomscope_layout::decode::rfc3339;
use atomscope_layout::decode::subsystems::Subsystems;
use atomscope_layout::json::{JsonWriter, NodeFields};

use crate::actor_registry::ActorRegistry;
use crate::bus::TelemetryBus;
use crate::clock;
use crate::cluster::ClusterProbe;
#[cfg(feature = "cluster-metrics")]
use crate::cluster_metrics::ClusterMetricsProbe;
use crate::ddata::DDataProbe;
use crate::dead_letters::DeadLetterFeed;
use crate::dto::NodeSnapshot;
use crate::environment::{turned_off, warn};
use crate::exporters::Exporter;
use crate::hooks;
#[cfg(feature = "leases")]
use crate::leases::LeaseProbe;
use crate::persistence::PersistenceProbe;
use crate::region::{self, Region};
use crate::remote::RemoteProbe;
use crate::runtime;
use crate::runtime_threads::RuntimeToWatch;
#[cfg(doc)]
use crate::runtime_threads::ThreadHooks;
use crate::sharding::ShardingProbe;
use crate::streams::StreamsProbe;

/// The most dead letters in a snapshot.
const SNAPSHOT_DEAD_LETTERS: usize = 100;

/// The telemetry of one node: its region, and the probes that write to it.
#[derive(Debug)]
pub struct TelemetryExtension {
    /// The node's name.
    pub node: String,
    /// The bus on which the probes publish events.
    pub bus: TelemetryBus,
    /// Live actors.
    pub actors: Arc<ActorRegistry>,
    /// Messages that no actor received.
    pub dead_letters: Arc<DeadLetterFeed>,
    /// The cluster as this node sees it.
    pub cluster: Arc<ClusterProbe>,
    /// Metrics of the cluster's nodes.
    #[cfg(feature = "cluster-metrics")]
    pub cluster_metrics: Arc<ClusterMetricsProbe>,
    /// Shard regions.
    pub sharding: Arc<ShardingProbe>,
    /// Journals, snapshot stores and recoveries.
    pub persistence: Arc<PersistenceProbe>,
    /// Associations with other nodes.
    pub remote: Arc<RemoteProbe>,
    /// Streams.
    pub streams: Arc<StreamsProbe>,
    /// Distributed data.
    pub ddata: Arc<DDataProbe>,
    /// Leases.
    #[cfg(feature = "leases")]
    pub leases: Arc<LeaseProbe>,
    region: Region,
    /// The numbers of graphs that another telemetry reported, with those that they have here.
    pub(crate) graphs: Mutex<HashMap<u64, u64>>,
    /// Whether the warning of a second installation was given.
    complained: AtomicBool,
    /// Whether a runtime is attached.
    watches_runtime: AtomicBool,
}

impl TelemetryExtension {
    /// Makes a region for the node and publishes it. Its state is *starting* until [`Self::install`]. Takes milliseconds.
    ///
    /// `capacity` is the least number of recent events that the region keeps per thread, as far as the region stays within
    /// 16 MiB; from the ninth live region of a process on, within 1.25 MiB. The call never fails: a region that cannot be
    /// shared is private, and one warning says why. For other capacities or another file use [`Self::with_region`].
    pub fn new(node: impl Into<String>, capacity: usize) -> Arc<Self> {
        let node = node.into();
        let most = region::most_events(Capacities::default(), region::DEFAULT_BYTES);
        static IS_WARNED: AtomicBool = AtomicBool::new(false);
        if capacity > most && !IS_WARNED.swap(true, Ordering::Relaxed) {
            warn(&format!(
                "node `{node}`: the region keeps {most} events per thread instead of {capacity}, so that it stays within \
                 16 MiB; for more, pass a region from `Region::builder` to `TelemetryExtension::with_region`"
            ));
        }
        let region = Region::builder(&node).events_that_fit(capacity).build_or_private();
        Self::over(node, region)
    }

    /// The same with a region that was made with a builder; the node has the region's name.
    ///
    /// ```
    /// use atomscope_probe::{Region, TelemetryExtension};
    ///
    /// let region = Region::builder("shop-1").actors(1_000).private().build()?;
    /// let telemetry = TelemetryExtension::with_region(region);
    /// assert_eq!(telemetry.node, "shop-1");
    /// # Ok::<(), atomscope_probe::CreateError>(())
    /// ```
    pub fn with_region(region: Region) -> Arc<Self> {
        let node = region.writer.reader().map(|reader| reader.identity().node).unwrap_or_default();
        Self::over(node, region)
    }

    fn over(node: String, region: Region) -> Arc<Self> {
        region.awaits_system();
        let bus = TelemetryBus::of(region.clone());
        Arc::new(Self {
            node,
            actors: Arc::new(ActorRegistry::of(region.clone(), bus.clone())),
            dead_letters: Arc::new(DeadLetterFeed::of(region.clone(), bus.clone())),
            cluster: Arc::new(ClusterProbe::of(region.clone(), bus.clone())),
            #[cfg(feature = "cluster-metrics")]
            cluster_metrics: Arc::new(ClusterMetricsProbe::of(region.clone())),
            sharding: Arc::new(ShardingProbe::of(region.clone(), bus.clone())),
            persistence: Arc::new(PersistenceProbe::of(region.clone(), bus.clone())),
            remote: Arc::new(RemoteProbe::of(region.clone(), bus.clone())),
            streams: Arc::new(StreamsProbe::of(region.clone(), bus.clone())),
            ddata: Arc::new(DDataProbe::of(region.clone(), bus.clone())),
            #[cfg(feature = "leases")]
            leases: Arc::new(LeaseProbe::of(region.clone())),
            bus,
            region,
            graphs: Mutex::default(),
            complained: AtomicBool::new(false),
            watches_runtime: AtomicBool::new(false),
        })
    }

    /// Installs the hooks on `system` and puts its name into the region. Within a tokio runtime it also starts the runtime's
    /// heartbeat and attaches the runtime, so call it in the runtime of the actors. An extension serves one system only: a
    /// second installation changes nothing and is warned of once, even after the first system was dropped.
    ///
    /// atomr keeps one observer of each kind. An observer that is set later replaces the probe's, which then records nothing
    /// more; readers and one warning say so. [`Self::install_tee`] serves both.
    pub fn install(self: Arc<Self>, system: &ActorSystem) -> Arc<Self> {
        self.install_with(system, |region, actors, letters| hooks::install(region, system, actors, letters))
    }

    /// The same; `hook` installs the observers.
    pub(crate) fn install_with(
        self: Arc<Self>,
        system: &ActorSystem,
        hook: impl FnOnce(&Region, ActorRegistry, DeadLetterFeed),
    ) -> Arc<Self> {
        if turned_off() {
            system.extensions().register(TelemetryHandle(self.clone()));
            return self;
        }
        if !self.region.running(system.name()) {
            if self.complained.swap(true, Ordering::Relaxed) {
                return self;
            }
            warn(&format!(
                "the telemetry of node `{}` was not installed on actor system `{}`, since it is installed on another one; \
                 make one extension for each system",
                self.node,
                system.name()
            ));
            return self;
        }
        runtime::start_beat(&self.region.writer);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.watch_runtime(&runtime);
        }
        self.persistence.remove_inactive();
        system.extensions().register(TelemetryHandle(self.clone()));
        // Own registry and feed, so that the hooks need no further pointer to reach the region.
        let actors = ActorRegistry::of(self.region.clone(), self.bus.clone());
        let letters = DeadLetterFeed::of(self.region.clone(), self.bus.clone());
        hook(&self.region, actors, letters);
        self
    }

    /// Watches a runtime. Given its handle, the poller reads its workers, tasks and injection queue: of one runtime for a node, the
    /// first that is attached so. [`Self::install`] attaches the current one.
    ///
    /// Given its builder, readers also see which threads are its workers, and since when each sleeps or runs. This sets the
    /// builder's four hooks for threads. If the application has hooks of its own, give them with [`ThreadHooks`]. A worker that
    /// goes to sleep or wakes up then reads the clock and stores two words.
    ///
    /// With `--cfg tokio_unstable` this also sets the builder's two hooks for polls. Each poll then reads the clock twice and counts, in
    /// the cell of an instrumented actor too: no lock, no system call, and no allocation but for a thread's first poll.
    ///
    /// ```
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let mut builder = tokio::runtime::Builder::new_multi_thread();
    /// telemetry.watch_runtime(&mut builder);
    /// let runtime = builder.build()?;
    /// telemetry.watch_runtime(runtime.handle());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch_runtime(&self, runtime: impl RuntimeToWatch) {
        runtime.watch(&self.region, &self.watches_runtime);
    }

    /// A closure that installs a new extension on the system that it is called with, for a hosting builder.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atomr_hosting::ActorSystemBuilder;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let hosted =
    ///     ActorSystemBuilder::new("shop").on_start(TelemetryExtension::on_start("shop-1", 1024)).build().await?;
    /// let telemetry = TelemetryExtension::from_system(&hosted.system).ok_or("it is installed")?;
    /// assert_eq!(telemetry.node, "shop-1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_start(node: impl Into<String>, capacity: usize) -> impl FnOnce(&ActorSystem) + Send + 'static {
        let node = node.into();
        move |system| drop(Self::new(node, capacity).install(system))
    }

    /// As [`Self::on_start`], for an extension that is made before the system: its region can have other capacities, its builder's
    /// runtime can be watched, and its handle spawns instrumented actors.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use atomr_core::actor::{Actor, Context, Props};
    /// # struct Cart;
    /// # #[async_trait::async_trait]
    /// # impl Actor for Cart {
    /// #     type Msg = u32;
    /// #     async fn handle(&mut self, _: &mut Context<Self>, _: u32) {}
    /// # }
    /// use atomr_hosting::ActorSystemBuilder;
    /// use atomscope_probe::{Region, TelemetryExtension};
    ///
    /// let telemetry = TelemetryExtension::with_region(Region::builder("shop-1").actors(1024).build()?);
    /// let hosted = ActorSystemBuilder::new("shop").on_start(telemetry.clone().install_on_start()).build().await?;
    /// telemetry.actors.spawn(&hosted.system, Props::create(|| Cart), "cart")?;
    /// assert_eq!(telemetry.snapshot().actors.flat.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn install_on_start(self: Arc<Self>) -> impl FnOnce(&ActorSystem) + Send + 'static {
        move |system| drop(self.install(system))
    }

    /// The extension that is installed on `system`. Takes a lock.
    pub fn from_system(system: &ActorSystem) -> Option<Arc<Self>> {
        system.extensions().get::<TelemetryHandle>().map(|handle| handle.0.clone())
    }

    /// Calls `exporter` with every event from now on, on a thread of its own.
    pub fn add_exporter(&self, exporter: Arc<dyn Exporter>) {
        self.bus.attach_exporter(exporter);
    }

    /// The node's region: for its path, and for the application's own metrics.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// A snapshot of the whole node, read in-process. Allocates; scans the whole region.
    pub fn snapshot(&self) -> NodeSnapshot {
        let generated_at = rfc3339(i128::from(clock::unix_ns()));
        let reader = self.region.writer.reader();
        let letters = reader.map(|reader| reader.dead_letters(SNAPSHOT_DEAD_LETTERS)).unwrap_or_default();
        let subsystems = reader.map(|reader| reader.subsystems()).unwrap_or_default();
        NodeSnapshot::of(self.node.clone(), generated_at, self.actors.snapshot(), letters, subsystems)
    }

    /// Writes the JSON of [`Self::snapshot`] without building the snapshot: the same bytes as `serde_json::to_writer`, in
    /// pieces of 64 KiB.
    ///
    /// Scans the whole region and sorts the actors by path before it writes the first byte; the writing is the smaller part,
    /// about 70 ns per actor. Its memory is that of the list of actors, a few hundred bytes for each, and never the document.
    ///
    /// # Errors
    /// Those of `to`; a part of the JSON may be written then.
    ///
    /// ```
    /// use atomscope_probe::{Region, TelemetryExtension};
    ///
    /// let telemetry = TelemetryExtension::with_region(Region::builder("shop-1").private().build()?);
    /// let mut json = Vec::new();
    /// telemetry.write_snapshot_json(&mut json)?;
    /// assert!(json.starts_with(br#"{"node":"shop-1","generated_at":"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_snapshot_json(&self, to: &mut impl io::Write) -> io::Result<()> {
        let generated_at = rfc3339(i128::from(clock::unix_ns()));
        let reader = self.region.writer.reader();
        let letters = reader.map(|reader| reader.dead_letters(SNAPSHOT_DEAD_LETTERS)).unwrap_or_default();
        let subsystems = reader.map(|reader| reader.subsystems()).unwrap_or_default();
        let Subsystems { cluster, sharding, persistence, remote, streams, ddata, .. } = &subsystems;
        let mut json = JsonWriter::new(to);
        json.value(&NodeFields {
            node: &self.node,
            generated_at: &generated_at,
            actors: &self.actors.tree(),
            dead_letters: &letters.recent,
            cluster,
            sharding,
            persistence,
            remote,
            streams,
            ddata,
        })?;
        json.finish()
    }
}

/// The entry of a [`TelemetryExtension`] among an actor system's extensions.
#[derive(Debug)]
pub struct TelemetryHandle(pub Arc<TelemetryExtension>);

impl TelemetryHandle {
    /// As [`TelemetryExtension::write_snapshot_json`].
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_snapshot_json(&self, to: &mut impl io::Write) -> io::Result<()> {
        self.0.write_snapshot_json(to)
    }
}
