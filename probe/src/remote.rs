//! The remote probe: associations with other nodes, their state, and the bytes that passed.

use std::sync::atomic::Ordering;

use atomscope_layout::Capacities;
use atomscope_layout::decode::subsystems::remote;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, association};
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Key;

use crate::bus::TelemetryBus;
use crate::dto::RemoteSnapshot;
use crate::region::Region;

/// A node's associations.
#[derive(Debug)]
pub struct RemoteProbe {
    region: Region,
    bus: TelemetryBus,
}

impl RemoteProbe {
    /// A probe of its own, in private memory; the one of a node is [`crate::TelemetryExtension::remote`].
    pub fn new(bus: TelemetryBus) -> Self {
        Self::of(Region::bare(Capacities { instances: 1024, names: 64, ..Capacities::LEAST }), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus }
    }

    fn key(&self, remote_address: &str) -> Key {
        self.region.core.instance_key(Domain::Association, None, remote_address)
    }

    fn with_known(&self, remote_address: &str, work: impl FnMut(&[AtomicU64])) {
        self.region.core.with_known(self.key(remote_address), work);
    }

    /// Notes an association, which starts with no bytes. The state's text is interned: there are few of them.
    pub fn record_association(&self, remote_address: &str, state: &str) {
        let core = &self.region.core;
        let name = core.intern(state).into();
        core.with_instance(Domain::Association, None, remote_address, |numbers| {
            numbers.iter().for_each(|number| number.store(0, Ordering::Relaxed));
            numbers[association::STATE].store(name, Ordering::Relaxed);
        });
        self.bus.tell(EventKind::RemoteAssociation, [0; 2], &[remote_address, state]);
    }

    /// Notes in which state an association is. Unknown ones are left alone.
    pub fn set_state(&self, remote_address: &str, state: &str) {
        let name = self.region.core.intern(state).into();
        self.with_known(remote_address, |numbers| numbers[association::STATE].store(name, Ordering::Relaxed));
    }

    /// Notes bytes that came in. Of unknown associations nothing is kept. No lock, no allocation, no system call.
    pub fn record_inbound_bytes(&self, remote_address: &str, bytes: u64) {
        self.with_known(remote_address, |numbers| {
            numbers[association::BYTES_IN].fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Notes bytes that went out; as [`Self::record_inbound_bytes`].
    pub fn record_outbound_bytes(&self, remote_address: &str, bytes: u64) {
        self.with_known(remote_address, |numbers| {
            numbers[association::BYTES_OUT].fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Forgets an association.
    pub fn remove(&self, remote_address: &str) {
        self.region.core.remove_instance(Domain::Association, self.key(remote_address), |_| {});
    }

    /// How many associations are listed.
    pub fn association_count(&self) -> usize {
        self.region.core.instance_count(Domain::Association)
    }

    /// All associations that are listed. Allocates.
    pub fn snapshot(&self) -> RemoteSnapshot {
        self.region.core.reader().map(|reader| remote(&reader.instances())).unwrap_or_default()
    }
}
