//! Two shard regions in one process, `carts-1` and `carts-2`, that forward to each other, with a coordinator, hand-offs
//! and rebalancing. The handlers count everything, so that a test knows the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use atomr_cluster_sharding::{
    HandoffCoordinator, HandoffState, LeastShardAllocationStrategy, MessageExtractor, PassivationTracker,
    RebalanceAction, RebalanceRunner, ShardCoordinator, ShardRegion,
};
use atomscope_probe::TelemetryExtension;
use atomscope_probe::sharding::{EntityHandler, ProbedExtractor, ProbedStrategy};

/// The regions.
pub const REGIONS: [&str; 2] = ["carts-1", "carts-2"];
/// Shards.
pub const SHARDS: u64 = 8;

/// The number of customers in [`run`]. A region keeps an entry for each customer that it has ever served.
const CUSTOMERS: u64 = 2_000;

/// A message that puts an item into a customer's cart.
#[derive(Debug, Clone, Copy)]
pub struct ToCart(pub u64);

impl ToCart {
    /// The shard of the customer's cart.
    pub fn shard(self) -> String {
        format!("shard-{}", self.0 % SHARDS)
    }

    /// The customer's cart.
    pub fn entity(self) -> String {
        format!("cart-{}", self.0)
    }
}

/// Shards by customer.
#[derive(Debug)]
pub struct ByCustomer;

impl MessageExtractor for ByCustomer {
    type Message = ToCart;

    fn entity_id(&self, message: &ToCart) -> String {
        message.entity()
    }

    fn shard_id(&self, message: &ToCart) -> String {
        message.shard()
    }
}

type Region = ShardRegion<ProbedExtractor<ByCustomer>>;

/// The work of one region, counted by its handlers and its forwarder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Messages by shard.
    pub messages: BTreeMap<String, u64>,
    /// Entities by shard.
    pub entities: BTreeMap<String, BTreeSet<String>>,
    /// Messages that went to the other region.
    pub forwarded: u64,
}

/// Two regions with their coordinator, hand-offs and passivation tracker.
pub struct Carts {
    /// The regions, in the order of [`REGIONS`].
    pub regions: [Arc<Region>; 2],
    /// The coordinator, which knows the region of each shard.
    pub coordinator: Arc<ShardCoordinator>,
    /// The hand-offs.
    pub hand_offs: Arc<HandoffCoordinator>,
    /// The passivation tracker of the first region.
    pub tracker: Arc<PassivationTracker>,
    strategy: ProbedStrategy<LeastShardAllocationStrategy>,
    done: [Arc<Mutex<Done>>; 2],
    telemetry: Arc<TelemetryExtension>,
}

fn change(done: &Mutex<Done>, change: impl FnOnce(&mut Done)) {
    change(&mut done.lock().unwrap_or_else(PoisonError::into_inner));
}

impl Carts {
    /// Opens both regions, attached to this telemetry.
    pub fn open(telemetry: &Arc<TelemetryExtension>) -> Self {
        let sharding = &telemetry.sharding;
        let coordinator = Arc::new(ShardCoordinator::new());
        let hand_offs = Arc::new(HandoffCoordinator::new());
        let tracker = Arc::new(PassivationTracker::new());
        sharding.attach_coordinator(&coordinator);
        sharding.attach_hand_offs(&hand_offs);
        sharding.attach_passivation(REGIONS[0], &tracker);
        let done = [Arc::new(Mutex::new(Done::default())), Arc::new(Mutex::new(Done::default()))];
        let regions = [0, 1].map(|at| {
            let done: Arc<Mutex<Done>> = done[at].clone();
            let handlers = move || -> EntityHandler<ToCart> {
                let done = done.clone();
                Box::new(move |entity, message| {
                    change(&done, |done| {
                        *done.messages.entry(message.shard()).or_default() += 1;
                        done.entities.entry(message.shard()).or_default().insert(entity.to_owned());
                    });
                })
            };
            sharding.region(REGIONS[at], Arc::new(ByCustomer), coordinator.clone(), Arc::new(handlers))
        });
        for at in [0, 1] {
            let other: Weak<Region> = Arc::downgrade(&regions[1 - at]);
            let done = done[at].clone();
            let forward = move |_: &str, message: ToCart| {
                change(&done, |done| done.forwarded += 1);
                if let Some(other) = other.upgrade() {
                    other.deliver(message);
                }
            };
            regions[at].set_remote_forwarder(sharding.wrap_forwarder(REGIONS[at], Arc::new(forward)));
        }
        let strategy = LeastShardAllocationStrategy { max_simultaneous_rebalance: 2, rebalance_threshold: 2 };
        Self {
            regions,
            coordinator,
            hand_offs,
            tracker,
            strategy: sharding.wrap_strategy(strategy),
            done,
            telemetry: telemetry.clone(),
        }
    }

    /// The counts of each region.
    pub fn done(&self) -> [Done; 2] {
        [0, 1].map(|at| self.done[at].lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Sends an item for each of these customers through one region.
    pub fn deliver(&self, region: usize, customers: impl IntoIterator<Item = u64>) {
        for customer in customers {
            if region == 0 {
                self.tracker.record_activity(ToCart(customer).entity());
            }
            self.regions[region].deliver(ToCart(customer));
        }
    }

    /// Passivates a cart of the first region.
    pub fn passivate(&self, customer: u64) {
        self.tracker.drop_entity(&ToCart(customer).entity());
        self.telemetry.sharding.record_passivation(REGIONS[0]);
    }

    /// One step of rebalancing: does what the runner asks for. Returns false if it asks for nothing.
    pub fn rebalance_step(&self) -> bool {
        let actions = RebalanceRunner::new(&self.coordinator, &self.hand_offs, &self.strategy).step();
        let is_done = actions.is_empty();
        for action in actions {
            match action {
                RebalanceAction::BeginHandoff { shard_id, source_region } => {
                    let _ = self.hand_offs.begin(&shard_id, &source_region);
                }
                RebalanceAction::Allocate { shard_id, target_region } => {
                    self.coordinator.rebalance(&shard_id, target_region.as_str());
                    let _ = self.hand_offs.start_elsewhere(&shard_id, &target_region);
                }
                _ => {}
            }
        }
        !is_done
    }

    /// Advances the hand-offs by one step: acknowledge, then stop an entity.
    pub fn drain_step(&self) {
        for (shard, state) in self.hand_offs.snapshot() {
            let _ = match state {
                HandoffState::Beginning { .. } => self.hand_offs.ack_begin(&shard, 2),
                HandoffState::HandingOff { .. } => self.hand_offs.entity_stopped(&shard),
                _ => Ok(()),
            };
        }
    }
}

impl std::fmt::Debug for Carts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carts").field("done", &self.done()).finish_non_exhaustive()
    }
}

/// Serves some hundred customers per `pause` until `stop`, and moves shards now and then.
pub async fn run(telemetry: &Arc<TelemetryExtension>, pause: Duration, stop: impl Future<Output = ()>) {
    let trade = async {
        let carts = Carts::open(telemetry);
        carts.deliver(1, [SHARDS - 1]);
        for round in 0u64.. {
            let first = round % CUSTOMERS;
            carts.deliver((round % 2) as usize, (first..first + 100).map(|customer| customer % CUSTOMERS));
            carts.passivate(first);
            if round % 4 == 0 {
                carts.rebalance_step();
            } else {
                carts.drain_step();
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        biased;
        () = stop => {}
        () = trade => {}
    }
}
