//! The extension: one call that makes a node visible.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use atomr_core::actor::ActorSystem;
use atomscope_layout::Capacities;
use atomscope_layout::decode::rfc3339;

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
use crate::sharding::ShardingProbe;
use crate::streams::StreamsProbe;

/// Dead letters in a snapshot at most.
const SNAPSHOT_DEAD_LETTERS: usize = 100;

/// The telemetry of one node: its region, and the probes that write it.
#[derive(Debug)]
pub struct TelemetryExtension {
    /// The node's name.
    pub node: String,
    /// The bus that the probes publish on.
    pub bus: TelemetryBus,
    /// Live actors.
    pub actors: Arc<ActorRegistry>,
    /// Messages that found nobody.
    pub dead_letters: Arc<DeadLetterFeed>,
    /// The cluster as this node sees it.
    pub cluster: Arc<ClusterProbe>,
    /// Metrics of the cluster's nodes.
    #[cfg(feature = "cluster-metrics")]
    pub cluster_metrics: Arc<ClusterMetricsProbe>,
    /// Shard regions.
    pub sharding: Arc<ShardingProbe>,
    /// Journals.
    pub persistence: Arc<PersistenceProbe>,
    /// Associations with other nodes.
    pub remote: Arc<RemoteProbe>,
    /// Streams that run.
    pub streams: Arc<StreamsProbe>,
    /// Distributed data.
    pub ddata: Arc<DDataProbe>,
    /// Leases.
    #[cfg(feature = "leases")]
    pub leases: Arc<LeaseProbe>,
    region: Region,
    /// The numbers of graphs that another telemetry reported, with those that they have here.
    pub(crate) graphs: Mutex<HashMap<u64, u64>>,
    /// Whether a second installation was complained of.
    complained: AtomicBool,
    /// Whether a runtime is watched.
    watches_runtime: AtomicBool,
}

impl TelemetryExtension {
    /// Makes a node visible: its region is made and published here, and *starting* until [`Self::install`].
    ///
    /// `capacity` is the least number of recent events that are kept per thread, as far as the region stays within 16 MiB;
    /// from the ninth live region of a process on, within 2 MiB. Never fails: where the region cannot be shared it is private, and one warning says why. [`Self::with_region`] takes
    /// a region with other capacities or in another place.
    pub fn new(node: impl Into<String>, capacity: usize) -> Arc<Self> {
        let node = node.into();
        let most = region::most_events(Capacities::default(), region::DEFAULT_BYTES);
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        if capacity > most && !IS_TOLD.swap(true, Ordering::Relaxed) {
            warn(&format!(
                "node `{node}`: {most} events are kept per thread instead of {capacity}, so that the region stays \
                 within 16 MiB; `Region::builder` goes beyond"
            ));
        }
        let region = Region::builder(&node).events_that_fit(capacity).build_or_private();
        Self::over(node, region)
    }

    /// The same over a region that was made with a builder, for a node of the same name.
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

    /// Installs the hooks on `system` and names it in the region. Inside a tokio runtime its beat is started too,
    /// and its workers and tasks are watched: install it in the runtime that the actors run on. To be installed on one
    /// system only: a second is an error that is said once, and changes nothing, also after the first was dropped.
    ///
    /// atomr has one place for each observer. One that is set after this takes the place of the probe's, which then sees
    /// no more; readers and one warning say so. [`Self::install_beside`] tells both.
    pub fn install(self: Arc<Self>, system: &ActorSystem) -> Arc<Self> {
        self.install_with(system, |region, actors, letters| hooks::install(region, system, actors, letters))
    }

    /// The same, where `hook` is told what to install.
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
                "the telemetry of node `{}` is installed on a system already, and was not installed on `{}`; make one \
                 extension for each system",
                self.node,
                system.name()
            ));
            return self;
        }
        runtime::start_beat(&self.region.writer);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.watch_runtime(&runtime);
        }
        self.persistence.make_room();
        system.extensions().register(TelemetryHandle(self.clone()));
        // The hooks are reached from the system without a step through another handle.
        let actors = ActorRegistry::of(self.region.clone(), self.bus.clone());
        let letters = DeadLetterFeed::of(self.region.clone(), self.bus.clone());
        hook(&self.region, actors, letters);
        self
    }

    /// Has the workers, tasks and common queue of this runtime seen, which the poller asks for once per round. One runtime
    /// for each node: the first stays. [`Self::install`] does it where there is a current one.
    ///
    /// ```
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let runtime = tokio::runtime::Runtime::new()?;
    /// TelemetryExtension::new("shop-1", 1024).watch_runtime(runtime.handle());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn watch_runtime(&self, runtime: &tokio::runtime::Handle) {
        if !self.watches_runtime.swap(true, Ordering::Relaxed) {
            runtime::watch(&self.region.writer, runtime.clone());
        }
    }

    /// What installs a new extension on the system that it is given: the one line for a hosting builder.
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

    /// The extension that is installed on `system`.
    pub fn from_system(system: &ActorSystem) -> Option<Arc<Self>> {
        system.extensions().get::<TelemetryHandle>().map(|handle| handle.0.clone())
    }

    /// Has `exporter` told of every event from now on, on a thread of its own.
    pub fn add_exporter(&self, exporter: Arc<dyn Exporter>) {
        self.bus.attach_exporter(exporter);
    }

    /// The node's region: where it is, and counters and gauges of the application's own.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Everything that is told of the node, read in-process. Allocates.
    pub fn snapshot(&self) -> NodeSnapshot {
        let generated_at = rfc3339(i128::from(clock::unix_ns()));
        let reader = self.region.writer.reader();
        let letters = reader.map(|reader| reader.dead_letters(SNAPSHOT_DEAD_LETTERS)).unwrap_or_default();
        let subsystems = reader.map(|reader| reader.subsystems()).unwrap_or_default();
        NodeSnapshot::of(self.node.clone(), generated_at, self.actors.snapshot(), letters, subsystems)
    }
}

/// What an actor system's extensions hold of a [`TelemetryExtension`].
#[derive(Debug)]
pub struct TelemetryHandle(pub Arc<TelemetryExtension>);
