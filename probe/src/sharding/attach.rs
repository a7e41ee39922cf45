//! Attaching shard regions, coordinators and trackers, and polling them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use atomr_cluster_sharding::{
    HandoffCoordinator, HandoffState, MessageExtractor, PassivationTracker, ShardCoordinator, ShardRegion,
};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, shard};
use atomscope_layout::metrics::Builtin;

use super::components::{
    Components, Coordinator, HandOffStates, RegionGauge, coordinator_allocations, region_info,
};
use super::hand_offs::{Stage, progress, row, stage};
use super::probe::{ShardingProbe, State};
use super::wrappers::{HandlerFactory, ProbedExtractor, RegionRow};
use crate::attach;
use crate::dto::{ShardRegionInfo, ShardingSnapshot};
use crate::writer::RegionWriter;

impl ShardingProbe {
    /// Replaces the published regions and allocations by those of atomr's components. Allocates.
    pub fn refresh_from<E: MessageExtractor>(
        &self,
        regions: &[&ShardRegion<E>],
        coordinator: &ShardCoordinator,
    ) {
        self.set_snapshot(ShardingSnapshot {
            regions: regions.iter().map(|region| region_info(*region)).collect(),
            allocations: coordinator_allocations(coordinator),
        });
    }

    /// Makes a shard region with wrapped extractor and handlers and attaches it; replaces `ShardRegion::new`. Wrap its
    /// forwarder with [`Self::wrap_forwarder`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use atomr_cluster_sharding::{MessageExtractor, ShardCoordinator};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// struct ByCustomer;
    ///
    /// impl MessageExtractor for ByCustomer {
    ///     type Message = u64;
    ///
    ///     fn entity_id(&self, customer: &u64) -> String {
    ///         customer.to_string()
    ///     }
    ///
    ///     fn shard_id(&self, customer: &u64) -> String {
    ///         (customer % 8).to_string()
    ///     }
    /// }
    ///
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let coordinator = Arc::new(ShardCoordinator::new());
    /// telemetry.sharding.attach_coordinator(&coordinator);
    /// let handlers = Arc::new(|| Box::new(|_: &str, _: u64| {}) as _);
    /// let carts = telemetry.sharding.region("carts", Arc::new(ByCustomer), coordinator, handlers);
    /// carts.deliver(42);
    /// ```
    pub fn region<E: MessageExtractor>(
        self: &Arc<Self>,
        region_id: &str,
        extractor: Arc<E>,
        coordinator: Arc<ShardCoordinator>,
        handlers: HandlerFactory<E::Message>,
    ) -> Arc<ShardRegion<ProbedExtractor<E>>> {
        let extractor = Arc::new(self.wrap_extractor(region_id, extractor));
        let handlers = self.wrap_handlers(region_id, handlers);
        let region = ShardRegion::new(region_id, extractor, coordinator, handlers);
        self.attach_region(&region);
        region
    }

    /// Attaches a region: the poller reads its shards, until the region is dropped. The first poll runs within this call,
    /// so do not call it from a handler factory, which runs under the region's lock.
    pub fn attach_region<E: MessageExtractor>(self: &Arc<Self>, region: &Arc<ShardRegion<E>>) {
        let id: Arc<str> = region.region_id().into();
        let region = Arc::downgrade(region);
        self.attach(move |list| list.regions.push((id, region)));
    }

    /// Attaches a coordinator: the poller reads its allocations and publishes changes as events. The first poll runs within
    /// this call, as for each of the other components.
    pub fn attach_coordinator<C: Coordinator>(self: &Arc<Self>, coordinator: &Arc<C>) {
        let coordinator = Arc::downgrade(coordinator);
        self.attach(move |list| {
            let serial = list.serial();
            list.coordinators.push((serial, coordinator));
        });
    }

    /// Attaches a coordinator of hand-offs: the poller reads their states and publishes changes as events. States that come
    /// and go between two polls are missed; a hand-off that does is counted only if its final state is still there.
    pub fn attach_hand_offs(self: &Arc<Self>, hand_offs: &Arc<HandoffCoordinator>) {
        let hand_offs = Arc::downgrade(hand_offs);
        self.attach(move |list| {
            let serial = list.serial();
            list.hand_offs.push((serial, hand_offs));
        });
    }

    /// Attaches a region's tracker: the poller reads the number of its active entities. atomr has no hook for passivations;
    /// count them with [`Self::record_passivation`].
    pub fn attach_passivation(self: &Arc<Self>, region_id: &str, tracker: &Arc<PassivationTracker>) {
        let (id, tracker) = (region_id.into(), Arc::downgrade(tracker));
        self.attach(move |list| list.passivation.push((id, tracker)));
    }

    fn attach(self: &Arc<Self>, add: impl FnOnce(&mut Components)) {
        let was_polled = {
            let mut components = self.attached.components.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut components);
            std::mem::replace(&mut components.is_polled, true)
        };
        if was_polled {
            self.poll_all();
            return;
        }
        let (held, probe) = (Arc::downgrade(self), self.not_held());
        let poll = move |_: &RegionWriter| {
            if held.strong_count() == 0 {
                return false;
            }
            probe.poll_all();
            probe.forget_dropped()
        };
        attach::poll(&self.region.writer, Box::new(poll));
    }

    /// Polls all attached components, one after the other, and publishes one state.
    fn poll_all(&self) {
        let mut last = self.attached.polled.lock().unwrap_or_else(PoisonError::into_inner);
        let attached = self.attached.components.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut next = State::default();
        let mut gauges = BTreeMap::new();
        for (id, region) in attached.regions {
            let shards = region.upgrade().map(|region| region.shards());
            *gauges.entry((id.clone(), RegionGauge::Shards)).or_insert(0) += shards.iter().flatten().count();
            next.snapshot.regions.extend(shards.map(|shards| ShardRegionInfo {
                region_id: id.as_ref().into(),
                shard_count: shards.len(),
                shards,
            }));
        }
        for (id, tracker) in attached.passivation {
            let active = tracker.upgrade().map_or(0, |tracker| tracker.entity_count());
            *gauges.entry((id, RegionGauge::ActiveEntities)).or_insert(0) += active;
        }
        let writer = &self.region.writer;
        for ((id, gauge), value) in gauges {
            let region = RegionRow::new(writer, &id);
            if let Some(number) = region.number(gauge.field()) {
                number.store(value as u64, Ordering::Relaxed);
            }
            region.attached(gauge.attachment());
        }
        let has_coordinators = !attached.coordinators.is_empty();
        let has_hand_offs = !attached.hand_offs.is_empty();
        let mut allocations = BTreeMap::new();
        for (serial, coordinator) in attached.coordinators {
            let Some(coordinator) = coordinator.upgrade() else { continue };
            let of_it = coordinator.shard_allocations().into_iter();
            allocations.extend(of_it.map(|(shard, region)| ((serial, shard), region)));
        }
        for (shard, region) in &allocations {
            if last.allocations.get(shard) != Some(region) {
                self.record_shard_event(region, &shard.1, "allocated");
            }
        }
        let listed = allocations.iter().map(|((_, shard), region)| (shard.clone(), region.clone()));
        next.snapshot.allocations = listed.collect();
        next.snapshot.allocations.sort();
        last.allocations = allocations;
        let mut hand_offs = BTreeMap::new();
        for (serial, coordinator) in attached.hand_offs {
            let Some(coordinator) = coordinator.upgrade() else { continue };
            let under_way =
                coordinator.snapshot().into_iter().filter(|(_, state)| *state != HandoffState::Idle);
            hand_offs.extend(under_way.map(|(shard, state)| ((serial, shard), state)));
        }
        self.publish_hand_offs(&last.hand_offs, &hand_offs);
        next.hand_offs = hand_offs.iter().filter_map(|((_, shard), state)| row(shard, state)).collect();
        last.hand_offs = hand_offs;
        let mut state = self.state();
        if *state != next {
            *state = next;
            self.write(&state);
        }
        if has_coordinators {
            writer.attached(Attachment::ShardCoordinator);
        }
        if has_hand_offs {
            writer.attached(Attachment::HandOffs);
        }
    }

    /// Forgets components that were dropped; false if none is left.
    fn forget_dropped(&self) -> bool {
        let mut components = self.attached.components.lock().unwrap_or_else(PoisonError::into_inner);
        let Components { is_polled, regions, coordinators, hand_offs, passivation, .. } = &mut *components;
        regions.retain(|(_, region)| region.strong_count() > 0);
        coordinators.retain(|(_, coordinator)| coordinator.strong_count() > 0);
        hand_offs.retain(|(_, hand_offs)| hand_offs.strong_count() > 0);
        passivation.retain(|(_, tracker)| tracker.strong_count() > 0);
        *is_polled = !(regions.is_empty()
            && coordinators.is_empty()
            && hand_offs.is_empty()
            && passivation.is_empty());
        *is_polled
    }

    /// Counts and publishes the changes of hand-offs, and stores their states in the records of their shards.
    fn publish_hand_offs(&self, before: &HandOffStates, now: &HandOffStates) {
        let writer = &self.region.writer;
        let store = |source: &str, shard: &str, state: u64, remaining: usize| {
            let region = writer.instance_key(Domain::ShardRegion, None, source);
            writer.with_known(writer.instance_key(Domain::Shard, Some(region), shard), |numbers| {
                numbers[shard::HAND_OFF].store(state, Ordering::Relaxed);
                numbers[shard::REMAINING].store(remaining as u64, Ordering::Relaxed);
            });
        };
        for ((_, shard), state) in before.iter().filter(|(shard, _)| !now.contains_key(shard)) {
            if let Some(Stage { source, .. }) = stage(state) {
                store(source, shard, 0, 0);
            }
        }
        for (shard, state) in now {
            let Some(Stage { source, target, word, remaining, .. }) = stage(state) else { continue };
            store(source, &shard.1, writer.intern(word).into(), remaining);
            let previous = before.get(shard);
            if previous == Some(state) {
                continue;
            }
            let (started, done) = progress(previous.and_then(stage), state);
            writer.count(Builtin::HandOffsStarted, started);
            writer.count(Builtin::HandOffsDone, done);
            // A different number of remaining entities is no event.
            if started > 0 || previous.and_then(stage).is_none_or(|previous| previous.word != word) {
                self.record_shard_event(target.unwrap_or(source), &shard.1, word);
            }
        }
    }
}
