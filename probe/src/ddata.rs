//! The distributed-data probe: which keys there are, and how often they were updated.

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

/// Keys of the distributed data, and their updates.
#[derive(Debug)]
pub struct DDataProbe {
    region: Region,
    bus: TelemetryBus,
}

impl DDataProbe {
    /// A probe of its own, in private memory; the one of a node is [`crate::TelemetryExtension::ddata`].
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

    /// Notes an update. No allocation, no system call; a key that was not known takes a lock for a moment.
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

    /// Notes a deletion, which counts whether or not the key is listed.
    pub fn record_delete(&self, key: &str) {
        self.region.writer.attached(Attachment::DeleteCalls);
        self.deleted(key);
    }

    fn deleted(&self, key: &str) {
        let writer = &self.region.writer;
        // The key may have found no room, or a poll may have seen before this that it is gone.
        writer.remove_instance(Domain::Key, writer.instance_key(Domain::Key, None, key), |_| {});
        writer.count(Builtin::DDataDeletes, 1);
    }

    /// Brings the keys up to what a replicator has: those that it has not are forgotten.
    #[cfg(feature = "ddata")]
    pub fn refresh_from(&self, replicator: &Replicator) {
        let writer = &self.region.writer;
        // What is listed is looked at first: a key that comes after that is not taken for one that is gone.
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

    /// Follows a replicator, as long as it is there: each round of the poller asks for its keys and their subscribers. Updates it tells nobody in
    /// general; those that go through a [`ReplicatorActor`](atomr_distributed_data::ReplicatorActor) are seen by
    /// [`Self::wrap_store`].
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

    /// A durable store that notes every update and deletion on its way to `inner`; for
    /// [`ReplicatorActor::spawn_with`](atomr_distributed_data::ReplicatorActor::spawn_with). With nothing to store,
    /// `inner` is a [`NoopDurableStore`](atomr_distributed_data::NoopDurableStore).
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

    /// How many keys are listed.
    pub fn key_count(&self) -> usize {
        self.region.writer.instance_count(Domain::Key)
    }

    /// All keys that are listed, in order, and how many updates there were. Allocates.
    pub fn snapshot(&self) -> DDataSnapshot {
        self.region.writer.reader().map(|reader| reader.ddata(&reader.instances())).unwrap_or_default()
    }
}

#[cfg(feature = "ddata")]
struct WatchedStore {
    inner: Arc<dyn DurableStore>,
    probe: DDataProbe,
}

/// What the store refuses is in the replicator all the same: it is noted whatever becomes of it.
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
