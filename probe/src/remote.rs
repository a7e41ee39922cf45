//! The remote probe: associations with other nodes, their state, and the bytes that passed.

use std::sync::atomic::Ordering;
#[cfg(feature = "remote")]
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

#[cfg(feature = "remote")]
use atomr_core::actor::Address;
#[cfg(feature = "remote")]
use atomr_remote::{EndpointManager, RemoteMetricsRow};

use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::subsystems::remote;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, association};
#[cfg(feature = "remote")]
use atomscope_layout::metrics::Builtin;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Key;

use crate::bus::TelemetryBus;
use crate::dto::RemoteSnapshot;
use crate::region::Region;
#[cfg(feature = "remote")]
use crate::writer::RegionWriter;

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

    /// See [`Region::not_held`].
    #[cfg(feature = "remote")]
    fn not_held(&self) -> Self {
        Self::of(self.region.not_held(), self.bus.not_held())
    }

    fn key(&self, remote_address: &str) -> Key {
        self.region.writer.instance_key(Domain::Association, None, remote_address)
    }

    fn with_known(&self, remote_address: &str, work: impl FnMut(&[AtomicU64])) {
        self.region.writer.with_known(self.key(remote_address), work);
    }

    /// Notes an association, which starts with no bytes. The state's text is interned: there are few of them.
    pub fn record_association(&self, remote_address: &str, state: &str) {
        let writer = &self.region.writer;
        writer.attached(Attachment::AssociationCalls);
        let name = writer.intern(state).into();
        writer.with_instance(Domain::Association, None, remote_address, |numbers| {
            numbers.iter().for_each(|number| number.store(0, Ordering::Relaxed));
            numbers[association::STATE].store(name, Ordering::Relaxed);
        });
        self.bus.publish_texts(EventKind::RemoteAssociation, [0; 2], &[remote_address, state]);
    }

    /// Notes in which state an association is. Unknown ones are left alone.
    pub fn set_state(&self, remote_address: &str, state: &str) {
        self.region.writer.attached(Attachment::AssociationCalls);
        let name = self.region.writer.intern(state).into();
        self.with_known(remote_address, |numbers| numbers[association::STATE].store(name, Ordering::Relaxed));
    }

    /// Notes bytes that came in. Of unknown associations nothing is kept. No lock, no allocation, no system call.
    pub fn record_inbound_bytes(&self, remote_address: &str, bytes: u64) {
        self.region.writer.attached(Attachment::InboundCalls);
        self.with_known(remote_address, |numbers| {
            numbers[association::BYTES_IN].fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Notes bytes that went out; as [`Self::record_inbound_bytes`].
    pub fn record_outbound_bytes(&self, remote_address: &str, bytes: u64) {
        self.region.writer.attached(Attachment::OutboundCalls);
        self.with_known(remote_address, |numbers| {
            numbers[association::BYTES_OUT].fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Forgets an association.
    pub fn remove(&self, remote_address: &str) {
        self.region.writer.remove_instance(Domain::Association, self.key(remote_address), |_| {});
    }

    /// Follows the associations of an endpoint manager: each round of the poller asks for their states, bytes, messages
    /// and errors, and for what the failure detector thinks of them. A new state is published as an event. What is there
    /// for less than a round may be missed: atomr may take a peer that was quarantined for idle again at once.
    #[cfg(feature = "remote")]
    pub fn attach(self: &Arc<Self>, manager: EndpointManager) {
        let (held, probe) = (Arc::downgrade(self), self.not_held());
        let mut before = HashMap::new();
        let poll = move |writer: &RegionWriter| {
            if held.strong_count() == 0 {
                return false;
            }
            refresh(&probe, &manager);
            probe.publish_changes(&manager, &mut before);
            writer.attached(Attachment::Endpoints);
            true
        };
        crate::attach::poll(&self.region.writer, Box::new(poll));
    }

    /// What [`refresh_from_endpoint_manager`] leaves out: `atomr-telemetry` knows nothing of it.
    #[cfg(feature = "remote")]
    fn publish_changes(&self, manager: &EndpointManager, before: &mut HashMap<String, (&'static str, u64)>) {
        let writer = &self.region.writer;
        let rows = manager.metrics().snapshot().per_address;
        let rows: HashMap<&str, &RemoteMetricsRow> =
            rows.iter().map(|row| (row.address.as_str(), row)).collect();
        let detectors = manager.failure_detectors();
        let watched: HashSet<String> = detectors.addresses().into_iter().collect();
        let states = manager.peer_states();
        for (address, state, attempts) in &states {
            let available = match Address::parse(address) {
                Some(parsed) if watched.contains(address) => 1 + u64::from(detectors.is_available(&parsed)),
                _ => 0,
            };
            let quarantined = *state == "quarantined";
            let row = rows.get(address.as_str());
            self.with_known(address, |numbers| {
                let set = |at: usize, value: u64| numbers[at].store(value, Ordering::Relaxed);
                set(association::AVAILABLE, available);
                set(association::QUARANTINED, 1 + u64::from(quarantined));
                set(association::ATTEMPTS, (*attempts).into());
                if let Some(row) = row {
                    set(association::MESSAGES_IN, row.received_messages);
                    set(association::MESSAGES_OUT, row.sent_messages);
                    set(association::ERRORS, row.errors);
                }
            });
            let errors = row.map_or(0, |row| row.errors);
            let (last_state, last_errors) =
                before.insert(address.clone(), (state, errors)).unwrap_or_default();
            writer.count(Builtin::RemoteErrors, errors.saturating_sub(last_errors));
            if *state != last_state {
                writer.count(Builtin::Quarantines, u64::from(quarantined));
                let bytes = row.map_or([0; 2], |row| [row.received_bytes, row.sent_bytes]);
                self.bus.publish_texts(EventKind::RemoteAssociation, bytes, &[address, state]);
            }
        }
        before.retain(|known, _| states.iter().any(|(address, ..)| address == known));
    }

    /// How many associations are listed.
    pub fn association_count(&self) -> usize {
        self.region.writer.instance_count(Domain::Association)
    }

    /// All associations that are listed. Allocates.
    pub fn snapshot(&self) -> RemoteSnapshot {
        self.region.writer.reader().map(|reader| remote(&reader.instances())).unwrap_or_default()
    }
}

/// Brings the associations up to what an endpoint manager says: states, and bytes where any passed. Associations that it
/// does not know are forgotten.
#[cfg(feature = "remote")]
pub fn refresh_from_endpoint_manager(probe: &RemoteProbe, manager: &EndpointManager) {
    refresh(probe, manager);
    probe.region.writer.attached(Attachment::EndpointCalls);
}

#[cfg(feature = "remote")]
fn refresh(probe: &RemoteProbe, manager: &EndpointManager) {
    let writer = &probe.region.writer;
    // What is listed is looked at first: an association that comes after that is not taken for one that is gone.
    let mut gone = writer.instance_keys(Domain::Association);
    let states = manager.peer_states();
    for (address, ..) in &states {
        gone.remove(&probe.key(address));
    }
    for key in gone {
        writer.remove_instance(Domain::Association, key, |_| {});
    }
    for (address, state, _) in &states {
        let name = writer.intern_static(state).into();
        writer.with_instance(Domain::Association, None, address, |numbers| {
            numbers[association::STATE].store(name, Ordering::Relaxed);
        });
    }
    for row in manager.metrics().snapshot().per_address {
        probe.with_known(&row.address, |numbers| {
            numbers[association::BYTES_IN].store(row.received_bytes, Ordering::Relaxed);
            numbers[association::BYTES_OUT].store(row.sent_bytes, Ordering::Relaxed);
        });
    }
}
