//! The sharding probe, and the document that holds its state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::subsystems::sharding_rows;
use atomscope_layout::event::EventKind;
use atomscope_layout::region::SHARDING_DOCUMENT;

#[cfg(feature = "sharding")]
use super::components::Attached;
use crate::bus::TelemetryBus;
use crate::dto::ShardingSnapshot;
use crate::region::Region;

/// The shard regions of a node, and the allocation of shards.
#[derive(Debug)]
pub struct ShardingProbe {
    pub(super) region: Region,
    bus: TelemetryBus,
    /// The latest state. The region may be too small for all of it.
    state: Arc<Mutex<State>>,
    #[cfg(feature = "sharding")]
    pub(super) attached: Arc<Attached>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) snapshot: ShardingSnapshot,
    pub(super) hand_offs: Vec<HandOff>,
}

/// The hand-off of a shard to another region.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HandOff {
    pub(super) shard: String,
    pub(super) from: String,
    /// Empty until the coordinator knows it.
    pub(super) to: String,
    pub(super) state: &'static str,
}

impl ShardingProbe {
    /// A stand-alone probe in private memory; the one of a node is [`crate::TelemetryExtension::sharding`]. Allocates.
    pub fn new(bus: TelemetryBus) -> Self {
        let document_bytes = Capacities::default().document_bytes;
        Self::of(
            Region::bare(Capacities { document_bytes, instances: 1024, names: 64, ..Capacities::LEAST }),
            bus,
        )
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self {
            region,
            bus,
            state: Arc::default(),
            #[cfg(feature = "sharding")]
            attached: Arc::default(),
        }
    }

    /// See [`Region::not_held`].
    #[cfg(feature = "sharding")]
    pub(super) fn not_held(&self) -> Self {
        Self {
            region: self.region.not_held(),
            bus: self.bus.not_held(),
            state: self.state.clone(),
            attached: self.attached.clone(),
        }
    }

    /// Replaces the published regions and allocations. Rows that do not fit the document are dropped and counted. The next
    /// poll of attached components replaces this state again. Takes a lock; not for hot paths.
    pub fn set_snapshot(&self, snap: ShardingSnapshot) {
        let mut state = self.state();
        state.snapshot = snap;
        self.write(&state);
        self.region.writer.attached(Attachment::ShardingCalls);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller holds the lock of the state, so that the document has the latest state.
    pub(super) fn write(&self, state: &State) {
        let State { snapshot: ShardingSnapshot { regions, allocations }, hand_offs } = state;
        self.region.writer.write_document(SHARDING_DOCUMENT, |rows| {
            for region in regions {
                rows.push(sharding_rows::REGION, region.shard_count as u64, [region.region_id.as_str()]);
                for shard in &region.shards {
                    rows.push(sharding_rows::SHARD, 0, [shard.as_str()]);
                }
            }
            for (shard, region) in allocations {
                rows.push(sharding_rows::ALLOCATION, 0, [shard.as_str(), region.as_str()]);
            }
            for HandOff { shard, from, to, state } in hand_offs {
                rows.push(sharding_rows::HAND_OFF, 0, [shard.as_str(), from, to, state]);
            }
        });
    }

    /// The latest state, even if the document is too small for it. Allocates.
    pub fn snapshot(&self) -> ShardingSnapshot {
        self.state().snapshot.clone()
    }

    /// Publishes an event of a shard. No lock, no allocation, no system call.
    pub fn record_shard_event(&self, region_id: &str, shard_id: &str, event: &str) {
        self.bus.publish_texts(EventKind::ShardingChanged, [0; 2], &[region_id, shard_id, event]);
    }
}
