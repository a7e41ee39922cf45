//! The distributed-data probe: which keys there are, and how often they were updated.

use std::sync::atomic::Ordering;
#[cfg(feature = "ddata")]
use std::{collections::HashSet, sync::Arc};

use atomscope_layout::Capacities;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, key};
use atomscope_layout::metrics::Builtin;

use crate::bus::TelemetryBus;
use crate::dto::DDataSnapshot;
#[cfg(feature = "ddata")]
use crate::region::Core;
use crate::region::Region;

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

    /// Notes an update. No allocation, no system call; a key that was not known takes a lock for a moment.
    pub fn record_update(&self, key: &str) {
        let core = &self.region.core;
        core.count(Builtin::DDataUpdates, 1);
        core.with_instance(Domain::Key, None, key, |numbers| {
            numbers[key::UPDATES].fetch_add(1, Ordering::Relaxed);
        });
        self.bus.tell(EventKind::DDataUpdated, [0; 2], &[key]);
    }

    /// Notes a deletion. Unknown keys are left alone.
    pub fn record_delete(&self, key: &str) {
        let core = &self.region.core;
        if core.remove_instance(Domain::Key, core.instance_key(Domain::Key, None, key), |_| {}) {
            core.count(Builtin::DDataDeletes, 1);
        }
    }

    /// Brings the keys up to what a replicator has: those that it has not are forgotten.
    #[cfg(feature = "ddata")]
    pub fn refresh_from(&self, replicator: &atomr_distributed_data::Replicator) {
        let core = &self.region.core;
        let fresh = replicator.keys();
        let listed: HashSet<&str> = fresh.iter().map(String::as_str).collect();
        for key in self.snapshot().keys.iter().filter(|key| !listed.contains(key.as_str())) {
            core.remove_instance(Domain::Key, core.instance_key(Domain::Key, None, key), |_| {});
        }
        for key in &fresh {
            core.with_instance(Domain::Key, None, key, |_| {});
        }
    }

    /// Follows a replicator: its keys and their subscribers are asked for at each round of the poller. (Updates it tells
    /// nobody in general: wrap its durable store, or note them with [`Self::record_update`].)
    #[cfg(feature = "ddata")]
    pub fn attach(self: &Arc<Self>, replicator: Arc<atomr_distributed_data::Replicator>) {
        let probe = Arc::downgrade(self);
        let poll = move |core: &Core| {
            // A poll that held on to the region would keep it open for ever.
            let Some(probe) = probe.upgrade() else { return false };
            probe.refresh_from(&replicator);
            for key in replicator.keys() {
                let subscribers = replicator.subscriber_count(&key) as u64;
                core.with_known(core.instance_key(Domain::Key, None, &key), |numbers| {
                    numbers[key::SUBSCRIBERS].store(subscribers, Ordering::Relaxed);
                });
            }
            true
        };
        crate::poller::poll(&self.region.core, Box::new(poll));
    }

    /// How many keys are listed.
    pub fn key_count(&self) -> usize {
        self.region.core.instance_count(Domain::Key)
    }

    /// All keys that are listed, in order, and how many updates there were. Allocates.
    pub fn snapshot(&self) -> DDataSnapshot {
        self.region.core.reader().map(|reader| reader.ddata(&reader.instances())).unwrap_or_default()
    }
}
