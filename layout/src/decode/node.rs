//! The snapshot of a node, built from its parts.

use super::letters::DeadLetters;
use super::subsystems::Subsystems;
use crate::dto::{ActorSnapshot, NodeSnapshot};

impl NodeSnapshot {
    /// The snapshot of a node, from parts that were read before.
    pub fn of(
        node: String,
        generated_at: String,
        actors: impl Into<ActorSnapshot>,
        letters: DeadLetters,
        subsystems: Subsystems,
    ) -> Self {
        let Subsystems { cluster, sharding, persistence, remote, streams, ddata, .. } = subsystems;
        Self {
            node,
            generated_at,
            actors: actors.into(),
            dead_letters: letters.recent,
            cluster,
            sharding,
            persistence,
            remote,
            streams,
            ddata,
        }
    }
}
