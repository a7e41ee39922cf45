//! Distributed data: its keys, and how often each was updated.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::ddata::DDataProbe;
//!
//! let ddata = DDataProbe::new(TelemetryBus::new(64));
//! ddata.record_update("cart");
//! assert_eq!(ddata.key_count(), 1);
//! ```

use std::sync::atomic::Ordering;
#[cfg(feature = "ddata")]
use std::{io, sync::Arc};

#[cfg(feature = "ddata")]
use atomr_distributed_data::{DurableStore, Replicator};

use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, key};
use atomscope_layout::metrics::Builtin;

use crate::bus::TelemetryBus;
use crate::dto::DDataSnapshot;
use crate::region::Region;
#[cfg(feature = "ddata")]
use crate::writer::RegionWriter;

/// The keys of the distributed data, and their updates.
#[derive(Debug)]
pub struct DDataProbe {
    region: Region,
    bus: TelemetryBus,
}

impl DDataProbe {
    /// A stand-alone probe in private memory; the one of a node is [`crate::TelemetryExtension::ddata`]. Allocates.
    pub fn new(bus: TelemetryBus) -> Self {
        Self::of(Region::bare(Capacities { instances: 4096, ..Capacities::LEAST }), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus }
    }

    /// See [`Region::not_held`].
    #[cfg(feature = "ddata")]
    fn not_held(&self) -> Self {
        Self::of(self.region.not_held(), self.bus.not_held())
    }

    /// Records an update. No allocation, no system call; the first update of a key takes a lock for some hundred
    /// nanoseconds.
    pub fn record_update(&self, key: &str) {
        self.region.writer.attached(Attachment::UpdateCalls);
        self.updated(key);
    }

    fn updated(&self, key: &str) {
        let writer = &self.region.writer;
        writer.count(Builtin::DDataUpdates, 1);
        writer.with_instance(Domain::Key, None, key, |numbers| {
            numbers[key::UPDATES].fetch_add(1, Ordering::Relaxed);
        });
        self.bus.publish_texts(EventKind::DDataUpdated, [0; 2], &[key]);
    }

    /// Records a deletion, whether or not the key is listed. Takes a lock for some hundred nanoseconds.
    pub fn record_delete(&self, key: &str) {
        self.region.writer.attached(Attachment::DeleteCalls);
        self.deleted(key);
    }

    fn deleted(&self, key: &str) {
        let writer = &self.region.writer;
        // The key may be unlisted, or a poll may have removed it already.
        writer.remove_instance(Domain::Key, writer.instance_key(Domain::Key, None, key), |_| {});
        writer.count(Builtin::DDataDeletes, 1);
    }

    /// Sets the keys to those of a replicator, and removes all others. Allocates; not for hot paths.
    #[cfg(feature = "ddata")]
    pub fn refresh_from(&self, replicator: &Replicator) {
        let writer = &self.region.writer;
        // The listed keys are read first, so that a key that is added meanwhile is not removed.
        let mut gone = writer.instance_keys(Domain::Key);
        let fresh = replicator.keys();
        for key in &fresh {
            gone.remove(&writer.instance_key(Domain::Key, None, key));
        }
        for key in gone {
            writer.remove_instance(Domain::Key, key, |_| {});
        }
        for key in &fresh {
            writer.with_instance(Domain::Key, None, key, |_| {});
        }
    }

    /// Attaches a replicator: the poller reads its keys and their subscribers, until the replicator is dropped. A replicator
    /// has no hook for updates; [`Self::wrap_store`] counts those of a
    /// [`ReplicatorActor`](atomr_distributed_data::ReplicatorActor).
    ///
    /// ```
    /// use atomr_distributed_data::Replicator;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("docs-ddata", 64);
    /// let replicator = Replicator::new();
    /// telemetry.ddata.attach(&replicator);
    /// ```
    #[cfg(feature = "ddata")]
    pub fn attach(self: &Arc<Self>, replicator: &Arc<Replicator>) {
        let (held, probe, replicator) = (Arc::downgrade(self), self.not_held(), Arc::downgrade(replicator));
        let poll = move |writer: &RegionWriter| {
            let Some(replicator) = replicator.upgrade().filter(|_| held.strong_count() > 0) else {
                return false;
            };
            probe.refresh_from(&replicator);
            for key in replicator.keys() {
                let subscribers = replicator.subscriber_count(&key) as u64;
                writer.with_known(writer.instance_key(Domain::Key, None, &key), |numbers| {
                    numbers[key::SUBSCRIBERS].store(subscribers, Ordering::Relaxed);
                });
            }
            writer.attached(Attachment::Replicator);
            true
        };
        crate::attach::poll(&self.region.writer, Box::new(poll));
    }

    /// Wraps a durable store: it counts every update and deletion on its way to `inner`. For
    /// [`ReplicatorActor::spawn_with`](atomr_distributed_data::ReplicatorActor::spawn_with). An application that stores
    /// nothing passes a [`NoopDurableStore`](atomr_distributed_data::NoopDurableStore).
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use atomr_distributed_data::NoopDurableStore;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("docs-ddata", 64);
    /// let store = telemetry.ddata.wrap_store(Arc::new(NoopDurableStore));
    /// // let replicator = ReplicatorActor::spawn_with(store);
    /// # drop(store);
    /// ```
    #[cfg(feature = "ddata")]
    pub fn wrap_store(self: &Arc<Self>, inner: Arc<dyn DurableStore>) -> Arc<dyn DurableStore> {
        self.region.writer.attached(Attachment::DDataStore);
        Arc::new(WatchedStore { inner, probe: self.not_held() })
    }

    /// The number of listed keys. One load.
    pub fn key_count(&self) -> usize {
        self.region.writer.instance_count(Domain::Key)
    }

    /// All listed keys, in order, and the number of updates. Allocates.
    pub fn snapshot(&self) -> DDataSnapshot {
        self.region.writer.reader().map(|reader| reader.ddata(&reader.instances())).unwrap_or_default()
    }
}

#[cfg(feature = "ddata")]
struct WatchedStore {
    inner: Arc<dyn DurableStore>,
    probe: DDataProbe,
}

/// The replicator keeps an update even if the store refuses it, so it is counted in any case.
#[cfg(feature = "ddata")]
impl DurableStore for WatchedStore {
    fn persist(&self, key: &str, blob: &[u8]) -> io::Result<()> {
        self.probe.updated(key);
        self.inner.persist(key, blob)
    }

    fn persist_marker(&self, key: &str) -> io::Result<()> {
        self.probe.updated(key);
        self.inner.persist_marker(key)
    }

    fn delete_marker(&self, key: &str) -> io::Result<()> {
        self.probe.deleted(key);
        self.inner.delete_marker(key)
    }

    fn load(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.load(key)
    }

    fn keys(&self) -> io::Result<Vec<String>> {
        self.inner.keys()
    }
}
