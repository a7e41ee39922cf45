//! The components that are attached to a sharding probe, and what the last poll of them returned.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use atomr_cluster_sharding::{
    DDataShardCoordinator, HandoffCoordinator, HandoffState, MessageExtractor, PassivationTracker,
    ShardCoordinator, ShardRegion,
};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::shard_region;

use crate::dto::ShardRegionInfo;

/// A component that knows the region of each shard: atomr's coordinators.
///
/// ```
/// use std::sync::Arc;
///
/// use atomscope_probe::TelemetryExtension;
/// use atomscope_probe::sharding::Coordinator;
///
/// struct OneRegion;
///
/// impl Coordinator for OneRegion {
///     fn shard_allocations(&self) -> Vec<(String, String)> {
///         vec![("shard-7".into(), "carts".into())]
///     }
/// }
///
/// let telemetry = TelemetryExtension::new("shop-1", 1024);
/// telemetry.sharding.attach_coordinator(&Arc::new(OneRegion));
/// ```
pub trait Coordinator: Send + Sync + 'static {
    /// Each shard, with its region.
    fn shard_allocations(&self) -> Vec<(String, String)>;
}

impl Coordinator for ShardCoordinator {
    fn shard_allocations(&self) -> Vec<(String, String)> {
        self.allocations()
    }
}

impl Coordinator for DDataShardCoordinator {
    fn shard_allocations(&self) -> Vec<(String, String)> {
        self.allocations()
    }
}

/// A shard region with any type of extractor.
pub(super) trait ShardList: Send + Sync {
    fn shards(&self) -> Vec<String>;
}

impl<E: MessageExtractor> ShardList for ShardRegion<E> {
    fn shards(&self) -> Vec<String> {
        region_info(self).shards
    }
}

/// The attached components, and what their last poll returned.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) components: Mutex<Components>,
    /// Held during a round of polls, so that there is one round at a time. No call of a component may take it.
    pub(super) polled: Mutex<Polled>,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

/// The attached components. All are held weakly: the handlers of a region may hold the actor system.
#[derive(Default, Clone)]
pub(super) struct Components {
    pub(super) is_polled: bool,
    /// The number of coordinators so far. Each one gets its number, so that two of them may have shards of the same name.
    coordinators_so_far: usize,
    pub(super) regions: Vec<(Arc<str>, Weak<dyn ShardList>)>,
    pub(super) coordinators: Vec<(usize, Weak<dyn Coordinator>)>,
    pub(super) hand_offs: Vec<(usize, Weak<HandoffCoordinator>)>,
    pub(super) passivation: Vec<(Arc<str>, Weak<PassivationTracker>)>,
}

impl Components {
    /// The number of the next coordinator.
    pub(super) fn serial(&mut self) -> usize {
        self.coordinators_so_far += 1;
        self.coordinators_so_far
    }
}

/// A gauge of a region, and the attachment that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RegionGauge {
    Shards,
    ActiveEntities,
}

impl RegionGauge {
    pub(super) fn field(self) -> usize {
        match self {
            Self::Shards => shard_region::SHARDS,
            Self::ActiveEntities => shard_region::ACTIVE,
        }
    }

    pub(super) fn attachment(self) -> Attachment {
        match self {
            Self::Shards => Attachment::ShardRegion,
            Self::ActiveEntities => Attachment::Passivation,
        }
    }
}

/// What the last round of polls returned.
#[derive(Default)]
pub(super) struct Polled {
    pub(super) allocations: BTreeMap<(usize, String), String>,
    pub(super) hand_offs: HandOffStates,
}

/// By coordinator and shard.
pub(super) type HandOffStates = BTreeMap<(usize, String), HandoffState>;

/// The state of a region; its shards in order. Allocates.
pub fn region_info<E: MessageExtractor>(region: &ShardRegion<E>) -> ShardRegionInfo {
    let mut shards = region.shard_ids();
    shards.sort();
    ShardRegionInfo { region_id: region.region_id().to_owned(), shard_count: shards.len(), shards }
}

/// The region of each shard according to a coordinator, in the order of the shards. Allocates.
pub fn coordinator_allocations(coord: &ShardCoordinator) -> Vec<(String, String)> {
    let mut allocations = coord.allocations();
    allocations.sort();
    allocations
}
