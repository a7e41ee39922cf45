//! The cluster probe, and the difference between two states of a cluster.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::subsystems::cluster_rows;
use atomscope_layout::document::Rows;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::CLUSTER_DOCUMENT;

use crate::bus::{TelemetryBus, TelemetryEvent};
use crate::dto::{ClusterMemberInfo, ClusterMembershipDiff, ClusterStateInfo};
use crate::region::Region;

/// The cluster as this node sees it.
#[derive(Debug)]
pub struct ClusterProbe {
    pub(super) region: Region,
    bus: TelemetryBus,
    /// The latest state. The document may be too small for all of it, and changes are found by comparing whole states.
    state: Arc<Mutex<ClusterStateInfo>>,
}

impl ClusterProbe {
    /// A stand-alone probe in private memory; the one of a node is [`crate::TelemetryExtension::cluster`]. Allocates.
    pub fn new(bus: TelemetryBus) -> Self {
        let Capacities { document_bytes, names, .. } = Capacities::default();
        Self::of(Region::bare(Capacities { document_bytes, names, instances: 64, ..Capacities::LEAST }), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus, state: Arc::default() }
    }

    /// See [`Region::not_held`].
    #[cfg(feature = "cluster")]
    pub(super) fn not_held(&self) -> Self {
        Self { region: self.region.not_held(), bus: self.bus.not_held(), state: self.state.clone() }
    }

    /// Sets this node's address. Takes a lock; not for hot paths.
    pub fn set_self_address(&self, addr: impl Into<String>) {
        let mut state = self.state();
        state.self_address = Some(addr.into());
        self.write(&state);
    }

    /// Sets the leader's address. Takes a lock; not for hot paths.
    pub fn set_leader(&self, leader: Option<String>) {
        let mut state = self.state();
        state.leader = leader;
        self.write(&state);
    }

    /// Replaces the whole state, including the node's own address and the leader, and publishes an event if members have
    /// changed. Takes a lock and allocates; not for hot paths.
    pub fn update(&self, next: ClusterStateInfo) {
        let mut state = self.state();
        if *state == next {
            self.region.writer.attached(Attachment::ClusterState);
            return;
        }
        let before = std::mem::replace(&mut *state, next);
        self.write(&state);
        self.region.writer.attached(Attachment::ClusterState);
        if let Some(diff) = difference(&before, &state) {
            self.region.writer.count(Builtin::ClusterChanges, 1);
            self.bus.publish(TelemetryEvent::ClusterChanged(diff));
        }
    }

    fn state(&self) -> MutexGuard<'_, ClusterStateInfo> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller holds the lock of the state, so that the document has the latest state.
    fn write(&self, state: &ClusterStateInfo) {
        self.region.writer.write_document(CLUSTER_DOCUMENT, |rows| write(state, rows));
    }

    /// The latest state, even if the document is too small for it. Allocates.
    pub fn snapshot(&self) -> ClusterStateInfo {
        self.state().clone()
    }

    /// The number of members. Takes a lock.
    pub fn member_count(&self) -> usize {
        self.state().members.len()
    }

    /// The number of unreachable members. Takes a lock.
    pub fn unreachable_count(&self) -> usize {
        self.state().unreachable.len()
    }
}

/// The rows of a state. The node's own address and the leader come first, so that a document that is too small for all
/// members has them still.
fn write(state: &ClusterStateInfo, rows: &mut Rows<'_>) {
    if let Some(address) = &state.self_address {
        rows.push(cluster_rows::SELF, 0, [address.as_str()]);
    }
    if let Some(leader) = &state.leader {
        rows.push(cluster_rows::LEADER, 0, [leader.as_str()]);
    }
    for member in &state.members {
        let reachable = if member.reachable { cluster_rows::REACHABLE_BIT } else { 0 };
        let texts = [member.address.as_str(), member.status.as_str()];
        let texts = texts.into_iter().chain(member.roles.iter().map(String::as_str));
        rows.push(cluster_rows::MEMBER, reachable | u64::from(member.up_number as u32), texts);
    }
    for address in &state.unreachable {
        rows.push(cluster_rows::UNREACHABLE, 0, [address.as_str()]);
    }
    for record in &state.reachability_records {
        let texts = [&record.observer, &record.subject, &record.status].map(String::as_str);
        rows.push(cluster_rows::REACHABILITY, 0, texts);
    }
    for (node, version) in &state.gossip_version {
        rows.push(cluster_rows::VERSION, *version, [node.as_str()]);
    }
}

/// How the members of two states differ; `None` if they do not.
fn difference(before: &ClusterStateInfo, next: &ClusterStateInfo) -> Option<ClusterMembershipDiff> {
    fn by_address(state: &ClusterStateInfo) -> HashMap<&str, &ClusterMemberInfo> {
        state.members.iter().map(|member| (member.address.as_str(), member)).collect()
    }
    fn only_in<'a>(these: &'a ClusterStateInfo, those: &ClusterStateInfo) -> Vec<String> {
        let those: HashSet<&str> = those.unreachable.iter().map(String::as_str).collect();
        let mut seen = HashSet::new();
        let new = |address: &&'a String| !those.contains(address.as_str()) && seen.insert(address.as_str());
        these.unreachable.iter().filter(new).cloned().collect()
    }
    let (old, new) = (by_address(before), by_address(next));
    let mut diff = ClusterMembershipDiff {
        added: Vec::new(),
        updated: Vec::new(),
        removed: Vec::new(),
        became_unreachable: only_in(next, before),
        became_reachable: only_in(before, next),
    };
    for member in &next.members {
        match old.get(member.address.as_str()) {
            None => diff.added.push(member.clone()),
            Some(known) if known.status != member.status || known.reachable != member.reachable => {
                diff.updated.push(member.clone());
            }
            Some(_) => {}
        }
    }
    let gone = before.members.iter().filter(|member| !new.contains_key(member.address.as_str()));
    diff.removed = gone.map(|member| member.address.clone()).collect();
    let ClusterMembershipDiff { added, updated, removed, became_unreachable, became_reachable } = &diff;
    let same = added.is_empty()
        && updated.is_empty()
        && [removed, became_unreachable, became_reachable].iter().all(|list| list.is_empty());
    (!same).then_some(diff)
}
