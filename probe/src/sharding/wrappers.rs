//! Wrappers around the parts of a shard region: extractor, handlers, forwarder, allocation strategy.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atomr_cluster_sharding::{MessageExtractor, ShardAllocationStrategy};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, Instance, shard, shard_region};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::Key;

use super::entities::{Entities, Inserted};
use super::probe::ShardingProbe;
use crate::writer::RegionWriter;

/// Receives the messages of one shard with the entity's id, as in atomr.
pub type EntityHandler<M> = Box<dyn Fn(&str, M) + Send + Sync>;
/// Makes the handler of a shard, as in atomr.
pub type HandlerFactory<M> = Arc<dyn Fn() -> EntityHandler<M> + Send + Sync>;
/// Receives the messages for shards of other regions with the region's name, as in atomr.
pub type Forwarder<M> = Arc<dyn Fn(&str, M) + Send + Sync>;

thread_local! {
    /// The keys of the region and the shard of the message that this thread is delivering.
    static DELIVERING: Cell<Option<(Key, Key)>> = const { Cell::new(None) };
}

impl ShardingProbe {
    /// Wraps an extractor: it counts the messages of a region by shard, each time it computes the shard of a message. Costs
    /// one lookup of the shard's record; no allocation of its own.
    pub fn wrap_extractor<E: MessageExtractor>(&self, region_id: &str, inner: Arc<E>) -> ProbedExtractor<E> {
        let region = RegionRow::new(&self.region.writer, region_id);
        region.attached(Attachment::ShardExtractor);
        ProbedExtractor { inner, region }
    }

    /// Wraps a handler factory: its handlers count messages and different entities, by shard if the region's extractor is
    /// wrapped too. They distinguish some 4,000 entities per shard; the messages of further ones are counted as
    /// `uncounted_messages`. No allocation and no lock per message; 32 KiB per shard.
    pub fn wrap_handlers<M: Send + 'static>(
        &self,
        region_id: &str,
        inner: HandlerFactory<M>,
    ) -> HandlerFactory<M> {
        let region = RegionRow::new(&self.region.writer, region_id);
        region.attached(Attachment::ShardHandlers);
        Arc::new(move || {
            // Read first, since the factory may deliver messages of its own.
            let shard = region.delivering();
            // Without a record at this time the messages are counted for the region only.
            region.writer.attached_to(shard, Attachment::ShardHandlers);
            let shard = ShardRow { shard, region: region.clone(), entities: Entities::new() };
            let handler = inner();
            Box::new(move |entity_id: &str, message: M| {
                shard.count_message(entity_id);
                handler(entity_id, message);
            })
        })
    }

    /// Wraps a forwarder for `ShardRegion::set_remote_forwarder`: it counts the messages that a region forwards. Costs one
    /// locked add per message.
    pub fn wrap_forwarder<M: Send + 'static>(&self, region_id: &str, inner: Forwarder<M>) -> Forwarder<M> {
        let region = RegionRow::new(&self.region.writer, region_id);
        region.attached(Attachment::ShardForwarder);
        Arc::new(move |owner: &str, message: M| {
            region.add(shard_region::FORWARDED);
            inner(owner, message);
        })
    }

    /// Wraps an allocation strategy: it counts allocations and rebalances. Costs at most two counters per call.
    pub fn wrap_strategy<S: ShardAllocationStrategy>(&self, inner: S) -> ProbedStrategy<S> {
        self.region.writer.attached(Attachment::ShardStrategy);
        ProbedStrategy { inner, writer: self.region.writer.clone() }
    }

    /// Records that an entity was passivated: to be called with each call of `PassivationTracker::drop_entity`. No
    /// allocation, no system call; the first call for a region takes a lock for some hundred nanoseconds.
    pub fn record_passivation(&self, region_id: &str) {
        self.region.writer.attached(Attachment::PassivationCalls);
        self.region.writer.with_instance(Domain::ShardRegion, None, region_id, |numbers| {
            numbers[shard_region::PASSIVATED].fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// The record of a region, which is never removed.
#[derive(Debug, Clone)]
pub(super) struct RegionRow {
    writer: Arc<RegionWriter>,
    key: Key,
    /// `None` if the domain was full.
    instance: Option<Instance>,
}

impl RegionRow {
    pub(super) fn new(writer: &Arc<RegionWriter>, id: &str) -> Self {
        let key = writer.instance_key(Domain::ShardRegion, None, id);
        Self {
            instance: writer.make_instance(Domain::ShardRegion, key, None, id),
            writer: writer.clone(),
            key,
        }
    }

    fn add(&self, field: usize) {
        add(&self.writer, self.instance, field);
    }

    pub(super) fn number(&self, field: usize) -> Option<&AtomicU64> {
        number(&self.writer, self.instance, field)
    }

    pub(super) fn attached(&self, attachment: Attachment) {
        self.writer.attached_to(self.instance, attachment);
    }

    /// The record of the shard whose message this thread is delivering, if the shard belongs to this region.
    fn delivering(&self) -> Option<Instance> {
        let (region, shard) = DELIVERING.get()?;
        if region == self.key { self.writer.instances().find(shard) } else { None }
    }
}

fn number(writer: &RegionWriter, instance: Option<Instance>, field: usize) -> Option<&AtomicU64> {
    writer.instances().numbers(instance?).get(field)
}

fn add(writer: &RegionWriter, instance: Option<Instance>, field: usize) {
    if let Some(number) = number(writer, instance, field) {
        number.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of a shard's handler. The shard's record is never removed either.
struct ShardRow {
    region: RegionRow,
    shard: Option<Instance>,
    entities: Entities,
}

impl ShardRow {
    fn count_message(&self, entity_id: &str) {
        let writer = &*self.region.writer;
        writer.count(Builtin::ShardMessages, 1);
        self.region.add(shard_region::MESSAGES);
        add(writer, self.shard, shard::MESSAGES);
        match self.entities.insert(writer.hasher.hash(entity_id)) {
            Inserted::New => {
                self.region.add(shard_region::ENTITIES_STARTED);
                add(writer, self.shard, shard::ENTITIES);
            }
            Inserted::Known => {}
            Inserted::Full => {
                self.region.add(shard_region::UNCOUNTED);
                add(writer, self.shard, shard::UNCOUNTED);
            }
        }
    }
}

/// An extractor that counts messages by shard; made by [`ShardingProbe::wrap_extractor`].
#[derive(Debug)]
pub struct ProbedExtractor<E> {
    inner: Arc<E>,
    region: RegionRow,
}

impl<E: MessageExtractor> MessageExtractor for ProbedExtractor<E> {
    type Message = E::Message;

    fn entity_id(&self, message: &E::Message) -> String {
        // The inner extractor may deliver messages of its own.
        let delivering = DELIVERING.get();
        let id = self.inner.entity_id(message);
        DELIVERING.set(delivering);
        id
    }

    fn shard_id(&self, message: &E::Message) -> String {
        let id = self.inner.shard_id(message);
        let RegionRow { writer, key: region, .. } = &self.region;
        let key = writer.instance_key(Domain::Shard, Some(*region), &id);
        let count = |numbers: &[AtomicU64]| numbers[shard::RECEIVED].fetch_add(1, Ordering::Relaxed);
        if writer.instances().with(key, count).is_none() {
            writer.with_instance(Domain::Shard, Some(*region), &id, count);
        }
        self.region.add(shard_region::RECEIVED);
        DELIVERING.set(Some((*region, key)));
        id
    }
}

/// An allocation strategy that counts its decisions; made by [`ShardingProbe::wrap_strategy`].
#[derive(Debug)]
pub struct ProbedStrategy<S> {
    inner: S,
    writer: Arc<RegionWriter>,
}

impl<S: ShardAllocationStrategy> ShardAllocationStrategy for ProbedStrategy<S> {
    fn allocate_shard(&self, shard_id: &str, regions: &HashMap<String, usize>) -> Option<String> {
        let chosen = self.inner.allocate_shard(shard_id, regions);
        self.writer.count(Builtin::ShardAllocations, u64::from(chosen.is_some()));
        chosen
    }

    fn rebalance(
        &self,
        current_allocations: &HashMap<String, String>,
        regions: &HashMap<String, usize>,
    ) -> Vec<String> {
        let shards = self.inner.rebalance(current_allocations, regions);
        self.writer.count(Builtin::Rebalances, u64::from(!shards.is_empty()));
        self.writer.count(Builtin::ShardsRebalanced, shards.len() as u64);
        shards
    }
}
