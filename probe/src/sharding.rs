//! The sharding probe: shard regions, their shards, and where each shard is allocated.

use atomscope_layout::Capacities;
use atomscope_layout::decode::subsystems::sharding_rows;
use atomscope_layout::event::EventKind;
use atomscope_layout::region::SHARDING_DOCUMENT;

use crate::bus::TelemetryBus;
use crate::dto::ShardingSnapshot;
use crate::region::Region;

/// What is known of a node's shard regions.
#[derive(Debug)]
pub struct ShardingProbe {
    region: Region,
    bus: TelemetryBus,
}

impl ShardingProbe {
    /// A probe of its own, in private memory; the one of a node is [`crate::TelemetryExtension::sharding`].
    pub fn new(bus: TelemetryBus) -> Self {
        let document_bytes = Capacities::default().document_bytes;
        Self::of(
            Region::bare(Capacities { document_bytes, instances: 1024, names: 64, ..Capacities::LEAST }),
            bus,
        )
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus }
    }

    /// Replaces what is told of regions and allocations. What finds no room is left out and counted.
    pub fn set_snapshot(&self, snap: ShardingSnapshot) {
        self.region.core.write_document(SHARDING_DOCUMENT, |rows| {
            for region in &snap.regions {
                rows.push(sharding_rows::REGION, region.shard_count as u64, [region.region_id.as_str()]);
                for shard in &region.shards {
                    rows.push(sharding_rows::SHARD, 0, [shard.as_str()]);
                }
            }
            for (shard, region) in &snap.allocations {
                rows.push(sharding_rows::ALLOCATION, 0, [shard.as_str(), region.as_str()]);
            }
        });
    }

    /// What was told last. Allocates.
    pub fn snapshot(&self) -> ShardingSnapshot {
        self.region.core.reader().map(|reader| reader.sharding()).unwrap_or_default()
    }

    /// Publishes what happened to a shard.
    pub fn record_shard_event(&self, region_id: &str, shard_id: &str, event: &str) {
        self.bus.tell(EventKind::ShardingChanged, [0; 2], &[region_id, shard_id, event]);
    }
}
