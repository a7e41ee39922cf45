//! Associations with other nodes: their states, and the bytes that passed.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::remote::RemoteProbe;
//!
//! let remote = RemoteProbe::new(TelemetryBus::new(64));
//! remote.record_association("akka://shop@10.0.0.2:2552", "associated");
//! remote.record_inbound_bytes("akka://shop@10.0.0.2:2552", 512);
//! assert_eq!(remote.association_count(), 1);
//! ```

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

/// The associations of a node.
#[derive(Debug)]
pub struct RemoteProbe {
    region: Region,
    bus: TelemetryBus,
}

impl RemoteProbe {
    /// A stand-alone probe in private memory; the one of a node is [`crate::TelemetryExtension::remote`]. Allocates.
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

    /// Records an association, whose bytes start at 0, and publishes an event. A new association or state takes a lock for
    /// some hundred nanoseconds.
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

    /// Sets the state of an association; does nothing if it is unknown. No allocation, no system call.
    pub fn set_state(&self, remote_address: &str, state: &str) {
        self.region.writer.attached(Attachment::AssociationCalls);
        let name = self.region.writer.intern(state).into();
        self.with_known(remote_address, |numbers| numbers[association::STATE].store(name, Ordering::Relaxed));
    }

    /// Adds received bytes to an association; does nothing if it is unknown. No allocation, no system call; a lock only if
    /// the association is unknown.
    pub fn record_inbound_bytes(&self, remote_address: &str, bytes: u64) {
        self.region.writer.attached(Attachment::InboundCalls);
        self.with_known(remote_address, |numbers| {
            numbers[association::BYTES_IN].fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Adds sent bytes to an association; otherwise as [`Self::record_inbound_bytes`].
    pub fn record_outbound_bytes(&self, remote_address: &str, bytes: u64) {
        self.region.writer.attached(Attachment::OutboundCalls);
        self.with_known(remote_address, |numbers| {
            numbers[association::BYTES_OUT].fetch_add(bytes, Ordering::Relaxed);
        });
    }

    /// Removes an association. Takes a lock for some hundred nanoseconds.
    pub fn remove(&self, remote_address: &str) {
        self.region.writer.remove_instance(Domain::Association, self.key(remote_address), |_| {});
    }

    /// Attaches an endpoint manager: the poller reads the state, bytes, messages and errors of each association, and the
    /// verdict of the failure detector. It publishes a new state as an event. States that last less than a round may be
    /// missed: atomr may turn a quarantined peer into an idle one at once.
    ///
    /// ```
    /// use atomr_remote::EndpointManager;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// fn follow(telemetry: &TelemetryExtension, manager: EndpointManager) {
    ///     telemetry.remote.attach(manager);
    /// }
    /// ```
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

    /// The fields that [`refresh_from_endpoint_manager`] does not know, since `atomr-telemetry` has none of them.
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

    /// The number of listed associations. One load.
    pub fn association_count(&self) -> usize {
        self.region.writer.instance_count(Domain::Association)
    }

    /// All listed associations. Allocates.
    pub fn snapshot(&self) -> RemoteSnapshot {
        self.region.writer.reader().map(|reader| remote(&reader.instances())).unwrap_or_default()
    }
}

/// Sets the associations to those of an endpoint manager: their states, and bytes where any passed. Removes associations
/// that the manager does not know. Allocates; not for hot paths.
#[cfg(feature = "remote")]
pub fn refresh_from_endpoint_manager(probe: &RemoteProbe, manager: &EndpointManager) {
    refresh(probe, manager);
    probe.region.writer.attached(Attachment::EndpointCalls);
}

#[cfg(feature = "remote")]
fn refresh(probe: &RemoteProbe, manager: &EndpointManager) {
    let writer = &probe.region.writer;
    // The listed associations are read first, so that one that is added meanwhile is not removed.
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
