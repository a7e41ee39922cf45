//! The snapshot of a node as owned, serializable types: field for field the JSON of `atomr_telemetry::dto`.
//!
//! The probe and the reader both use these types. Only [`crate::decode`] makes them from a region.
//!
//! ```
//! use atomscope_layout::dto::NodeSnapshot;
//! let json = serde_json::to_value(NodeSnapshot { node: "shop".into(), ..NodeSnapshot::default() })?;
//! assert_eq!(json["node"], "shop");
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

/// A live actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ActorStatus {
    pub path: String,
    pub parent: Option<String>,
    pub actor_type: String,
    /// Messages in the mailbox; 0 if unknown.
    pub mailbox_depth: u64,
    /// RFC 3339, or the text that the application gave.
    pub spawned_at: String,
    /// The cluster host that the application gave for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// An actor and the actors below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ActorTreeNode {
    pub path: String,
    pub name: String,
    pub actor_type: String,
    pub mailbox_depth: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub children: Vec<ActorTreeNode>,
}

/// All live actors, as a list and as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ActorSnapshot {
    pub total: u64,
    pub roots: Vec<ActorTreeNode>,
    pub flat: Vec<ActorStatus>,
}

/// A dead letter: a message without a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct DeadLetterRecord {
    /// The number of the dead letter, from 1 on, without gaps.
    pub seq: u64,
    pub recipient: String,
    pub sender: Option<String>,
    pub message_type: String,
    pub message_preview: String,
    /// RFC 3339.
    pub timestamp: String,
}

/// A cluster member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ClusterMemberInfo {
    pub address: String,
    pub status: String,
    pub roles: Vec<String>,
    pub reachable: bool,
    pub up_number: i32,
}

/// The state of the cluster, as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ClusterStateInfo {
    pub self_address: Option<String>,
    pub leader: Option<String>,
    pub members: Vec<ClusterMemberInfo>,
    pub unreachable: Vec<String>,
    pub reachability_records: Vec<ReachabilityRecord>,
    pub gossip_version: Vec<(String, u64)>,
}

/// What one member observed of the reachability of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ReachabilityRecord {
    pub observer: String,
    pub subject: String,
    pub status: String,
}

/// The difference between two states of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ClusterMembershipDiff {
    pub added: Vec<ClusterMemberInfo>,
    pub updated: Vec<ClusterMemberInfo>,
    pub removed: Vec<String>,
    pub became_unreachable: Vec<String>,
    pub became_reachable: Vec<String>,
}

/// A shard region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ShardRegionInfo {
    pub region_id: String,
    pub shard_count: usize,
    pub shards: Vec<String>,
}

/// All shard regions, and the shard region of each shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ShardingSnapshot {
    pub regions: Vec<ShardRegionInfo>,
    /// Pairs of shard and shard region.
    pub allocations: Vec<(String, String)>,
}

/// A change of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ShardingEvent {
    pub region_id: String,
    pub shard_id: String,
    pub event: String,
}

/// Journals and the newest writes to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct PersistenceSnapshot {
    pub journals: Vec<JournalInfo>,
    pub total_events: u64,
    pub recent_writes: Vec<JournalWriteInfo>,
}

/// A journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct JournalInfo {
    pub name: String,
    pub persistence_ids: Vec<PersistenceIdStat>,
}

/// A persistence id of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct PersistenceIdStat {
    pub persistence_id: String,
    pub highest_sequence_nr: u64,
    pub event_count: u64,
}

/// One write to a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct JournalWriteInfo {
    pub journal: String,
    pub persistence_id: String,
    pub sequence_nr: u64,
    pub timestamp: String,
}

/// All associations with remote systems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct RemoteSnapshot {
    pub associations: Vec<RemoteAssociationInfo>,
}

/// An association with a remote system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct RemoteAssociationInfo {
    pub remote_address: String,
    pub state: String,
    pub inbound_bytes: u64,
    pub outbound_bytes: u64,
}

/// Stream graphs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct StreamsSnapshot {
    pub running_graphs: u64,
    pub total_started: u64,
    pub total_finished: u64,
    pub active: Vec<StreamGraphInfo>,
}

/// A running stream graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct StreamGraphInfo {
    pub id: u64,
    pub name: String,
    pub started_at: String,
}

/// Distributed data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct DDataSnapshot {
    pub keys: Vec<String>,
    pub total_updates: u64,
}

/// The snapshot of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct NodeSnapshot {
    pub node: String,
    /// RFC 3339.
    pub generated_at: String,
    pub actors: ActorSnapshot,
    /// Newest first, at most 100.
    pub dead_letters: Vec<DeadLetterRecord>,
    pub cluster: ClusterStateInfo,
    pub sharding: ShardingSnapshot,
    pub persistence: PersistenceSnapshot,
    pub remote: RemoteSnapshot,
    pub streams: StreamsSnapshot,
    pub ddata: DDataSnapshot,
}

/// The main counts of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct OverviewSnapshot {
    pub node: String,
    pub generated_at: String,
    pub actor_count: u64,
    pub dead_letter_count: u64,
    pub cluster_member_count: usize,
    pub cluster_unreachable_count: usize,
    pub remote_association_count: usize,
    pub running_graphs: u64,
    pub persistence_event_count: u64,
    pub ddata_key_count: usize,
}
