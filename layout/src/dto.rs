//! What is told of a node, owned and serializable: field for field the JSON of `atomr_telemetry::dto`.
//!
//! Every front end, in the node's own process or out of it, speaks these types; they are made from a region in
//! [`crate::decode`] and nowhere else.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::decode::{ActorList, SpawnedAt};

/// A live actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ActorStatus {
    pub path: String,
    pub parent: Option<String>,
    pub actor_type: String,
    /// Messages; 0 where it is not known.
    pub mailbox_depth: u64,
    /// RFC 3339, or the text that was given for it.
    pub spawned_at: String,
    /// The cluster host that the application says it lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// The same, borrowed.
#[derive(Serialize)]
pub(crate) struct ActorStatusRef<'a> {
    pub path: &'a str,
    pub parent: Option<&'a str>,
    pub actor_type: &'a str,
    pub mailbox_depth: u64,
    pub spawned_at: SpawnedAt<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
}

/// An actor with those below it.
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

/// The same, borrowed.
#[derive(Serialize)]
pub(crate) struct ActorTreeNodeRef<'a, T> {
    pub path: &'a str,
    pub name: &'a str,
    pub actor_type: &'a str,
    pub mailbox_depth: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'a str>,
    pub children: T,
}

/// All live actors, as a list and as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ActorSnapshot {
    pub total: u64,
    pub roots: Vec<ActorTreeNode>,
    pub flat: Vec<ActorStatus>,
}

/// The same, borrowed.
#[derive(Serialize)]
pub(crate) struct ActorSnapshotRef<'a, T> {
    pub total: u64,
    pub roots: T,
    pub flat: &'a ActorList,
}

/// A message that found nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct DeadLetterRecord {
    /// From 1 on, without gaps.
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

/// The cluster as this node sees it.
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

/// Who finds whom unreachable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ReachabilityRecord {
    pub observer: String,
    pub subject: String,
    pub status: String,
}

/// What changed between two states of the cluster.
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

/// All shard regions and where their shards are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ShardingSnapshot {
    pub regions: Vec<ShardRegionInfo>,
    /// Shard, region.
    pub allocations: Vec<(String, String)>,
}

/// Something that happened to a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ShardingEvent {
    pub region_id: String,
    pub shard_id: String,
    pub event: String,
}

/// Journals and what was written to them.
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

/// A persistent entity of a journal.
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

/// Everything that is told of a node.
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

/// The counts of a node.
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

/// Levels of a tree at most. Deeper actors start a tree of their own: a JSON reader that allows 128 nested values, as
/// the usual ones do, can then still read a snapshot.
pub const MAX_TREE_LEVELS: usize = 60;

/// Joins actors to trees by their paths, in linear time. An actor whose parent is not among them is a root; so is one
/// below [`MAX_TREE_LEVELS`], and one of each cycle (which only a hostile region can hold). Order is kept.
pub fn tree(flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
    let index: HashMap<&str, u32> =
        flat.iter().zip(0..).map(|(status, at)| (status.path.as_str(), at)).collect();
    let parent = |status: &ActorStatus| status.parent.as_deref().and_then(|path| index.get(path).copied());
    Forest::new(flat.iter().map(|status| parent(status).unwrap_or(NOBODY)).collect()).branches(flat)
}

/// Stands for the parent of a root, and for whoever comes after the last.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Who stands below whom, in numbers: as many trees as there are roots, 12 bytes an actor.
#[derive(Debug, Clone)]
pub struct Forest {
    parents: Vec<u32>,
    /// Of each actor, and at the end of nobody: the first below it.
    first: Vec<u32>,
    /// Of each actor: the next below the same parent.
    next: Vec<u32>,
}

impl Forest {
    /// Joins actors to those that `parents` says of each. Whoever is below [`MAX_TREE_LEVELS`] or would close a cycle
    /// becomes a root.
    pub(crate) fn new(mut parents: Vec<u32>) -> Self {
        // Levels, found by walking up until a known one; the walk marks its way, so that a cycle is met and cut.
        const UNKNOWN: u8 = u8::MAX;
        const ON_THE_WAY: u8 = u8::MAX - 1;
        const { assert!(MAX_TREE_LEVELS < ON_THE_WAY as usize) };
        let mut levels = vec![UNKNOWN; parents.len()];
        let mut way = Vec::new();
        for start in 0..parents.len() {
            let mut at = start;
            while levels[at] == UNKNOWN {
                levels[at] = ON_THE_WAY;
                way.push(at);
                match levels.get(parents[at] as usize) {
                    Some(&ON_THE_WAY) => parents[at] = NOBODY,
                    Some(_) => at = parents[at] as usize,
                    None => {}
                }
            }
            while let Some(at) = way.pop() {
                levels[at] = match levels.get(parents[at] as usize) {
                    Some(level) if usize::from(*level) + 1 < MAX_TREE_LEVELS => level + 1,
                    _ => {
                        parents[at] = NOBODY;
                        0
                    }
                };
            }
        }
        let mut forest = Self { first: Vec::new(), next: Vec::new(), parents };
        forest.order((0..forest.parents.len() as u32).rev());
        forest
    }

    /// Puts those below each actor, and the roots, into another order; `last_first` is that order from its end.
    pub(crate) fn order(&mut self, last_first: impl Iterator<Item = u32>) {
        let Self { parents, first, next } = self;
        let count = parents.len();
        first.clear();
        next.clear();
        first.resize(count + 1, NOBODY);
        next.resize(count, NOBODY);
        for at in last_first {
            let above = (parents[at as usize] as usize).min(count);
            next[at as usize] = core::mem::replace(&mut first[above], at);
        }
    }

    /// Those directly below an actor, or with `None` the roots.
    pub fn below(&self, of: Option<u32>) -> impl Iterator<Item = u32> {
        let above = of.map_or(self.parents.len(), |of| of as usize);
        let known = |at: u32| (at != NOBODY).then_some(at);
        core::iter::successors(self.first.get(above).copied().and_then(known), move |at| {
            known(self.next[*at as usize])
        })
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        (self.parents.capacity() + self.first.capacity() + self.next.capacity()) * size_of::<u32>()
    }

    /// Whom an actor stands below.
    pub fn above(&self, of: u32) -> Option<u32> {
        self.parents.get(of as usize).copied().filter(|above| *above != NOBODY)
    }

    /// The trees of these actors.
    pub(crate) fn branches(&self, flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
        fn below(forest: &Forest, of: Option<u32>, flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
            let node = |at: u32| {
                let ActorStatus { path, actor_type, mailbox_depth, host, .. } = &flat[at as usize];
                ActorTreeNode {
                    path: path.clone(),
                    name: last_element(path).to_owned(),
                    actor_type: actor_type.clone(),
                    mailbox_depth: *mailbox_depth,
                    host: host.clone(),
                    children: below(forest, Some(at), flat),
                }
            };
            forest.below(of).map(node).collect()
        }
        below(self, None, flat)
    }
}

/// The last element of a path.
pub(crate) fn last_element(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, last)| last)
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    fn status(path: &str, parent: Option<&str>) -> ActorStatus {
        ActorStatus {
            path: path.into(),
            parent: parent.map(Into::into),
            actor_type: "T".into(),
            mailbox_depth: 0,
            spawned_at: "now".into(),
            host: None,
        }
    }

    fn count(nodes: &[ActorTreeNode]) -> usize {
        nodes.iter().map(|n| 1 + count(&n.children)).sum()
    }

    #[test]
    fn children_stand_below_their_parents_in_the_given_order() {
        let flat = [
            status("/user/a/x", Some("/user/a")),
            status("/user/a", Some("/user")),
            status("/user/b", Some("/user")),
            status("/user/a/y", Some("/user/a")),
        ];
        let roots = tree(&flat);
        assert_eq!(roots.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(roots[0].children.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn a_cycle_and_a_bottomless_chain_lose_nobody_and_do_not_hang() {
        let mut flat = vec![status("a", Some("b")), status("b", Some("a")), status("c", Some("c"))];
        for i in 0..if cfg!(miri) { 200 } else { 10_000 } {
            flat.push(status(&format!("n{i}"), Some(&format!("n{}", i + 1))));
        }
        let roots = tree(&flat);
        assert_eq!(count(&roots), flat.len());
        fn depth(node: &ActorTreeNode) -> usize {
            1 + node.children.iter().map(depth).max().unwrap_or(0)
        }
        assert!(roots.iter().map(depth).max() <= Some(MAX_TREE_LEVELS));
    }
}
