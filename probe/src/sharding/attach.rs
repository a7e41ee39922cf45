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
    /// Replaces what is told of regions and allocations by what these say.
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

    /// Makes a shard region that is watched from the start: in place of `ShardRegion::new`. Its extractor and handlers
    /// are wrapped, and the region is attached. Set its forwarder through [`Self::wrap_forwarder`].
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

    /// Has a region asked for its shards at each round of the poller, until nobody else holds it. Asked at once too, so
    /// not to be called from within a handler factory, which runs under the region's lock.
    pub fn attach_region<E: MessageExtractor>(self: &Arc<Self>, region: &Arc<ShardRegion<E>>) {
        let id: Arc<str> = region.region_id().into();
        let region = Arc::downgrade(region);
        self.attach(move |list| list.regions.push((id, region)));
    }

    /// Has a coordinator asked for its allocations, likewise. Every change that is seen is published.
    pub fn attach_coordinator<C: Coordinator>(self: &Arc<Self>, coordinator: &Arc<C>) {
        let coordinator = Arc::downgrade(coordinator);
        self.attach(move |list| {
            let serial = list.serial();
            list.coordinators.push((serial, coordinator));
        });
    }

    /// Has a coordinator of hand-offs asked for their states, likewise. Every change that is seen is published. A state
    /// that comes and goes between two rounds is not seen, and a hand-off that does is counted only by what it leaves.
    pub fn attach_hand_offs(self: &Arc<Self>, hand_offs: &Arc<HandoffCoordinator>) {
        let hand_offs = Arc::downgrade(hand_offs);
        self.attach(move |list| {
            let serial = list.serial();
            list.hand_offs.push((serial, hand_offs));
        });
    }

    /// Has a region's tracker asked how many entities it follows, likewise. It tells nobody of those that it drops: see
    /// [`Self::record_passivation`].
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
            probe.is_anything_left()
        };
        attach::poll(&self.region.writer, Box::new(poll));
    }

    /// Asks all that is attached, one after the other, and tells it as one.
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

    /// Forgets what is gone; false if nothing is left to be polled.
    fn is_anything_left(&self) -> bool {
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

    /// Publishes and counts how hand-offs went on, and notes their states with the shards that they move.
    fn publish_hand_offs(&self, before: &HandOffStates, now: &HandOffStates) {
        let writer = &self.region.writer;
        let note = |source: &str, shard: &str, state: u64, remaining: usize| {
            let region = writer.instance_key(Domain::ShardRegion, None, source);
            writer.with_known(writer.instance_key(Domain::Shard, Some(region), shard), |numbers| {
                numbers[shard::HAND_OFF].store(state, Ordering::Relaxed);
                numbers[shard::REMAINING].store(remaining as u64, Ordering::Relaxed);
            });
        };
        for ((_, shard), state) in before.iter().filter(|(shard, _)| !now.contains_key(shard)) {
            if let Some(Stage { source, .. }) = stage(state) {
                note(source, shard, 0, 0);
            }
        }
        for (shard, state) in now {
            let Some(Stage { source, target, word, remaining, .. }) = stage(state) else { continue };
            note(source, &shard.1, writer.intern(word).into(), remaining);
            let previous = before.get(shard);
            if previous == Some(state) {
                continue;
            }
            let (started, done) = progress(previous.and_then(stage), state);
            writer.count(Builtin::HandOffsStarted, started);
            writer.count(Builtin::HandOffsDone, done);
            // That one entity more has stopped is no news.
            if started > 0 || previous.and_then(stage).is_none_or(|previous| previous.word != word) {
                self.record_shard_event(target.unwrap_or(source), &shard.1, word);
            }
        }
    }
}
