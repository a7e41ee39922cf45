//! What atomr's sharding is asked for, and what is put around its parts.
//!
//! ```text
//!   deliver(message) ─► extractor: shard, entity ─► coordinator: whose is it? ─┬─► here: handler(entity, message)
//!                       counts `received`                                     └─► elsewhere: forwarder, or dropped
//!                                                                                  counts `forwarded`
//!                     handler counts `messages` and `entities`
//! ```
//! A region makes one handler per shard, within the delivery of the shard's first message and on its thread; the
//! extractor leaves there which shard that is.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use atomr_cluster_sharding::{
    DDataShardCoordinator, HandoffCoordinator, HandoffState, MessageExtractor, PassivationTracker,
    ShardAllocationStrategy, ShardCoordinator, ShardRegion,
};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, Instance, shard, shard_region};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::Key;

use super::entities::{Entities, Noted};
use super::{HandOff, ShardingProbe, Told};
use crate::dto::{ShardRegionInfo, ShardingSnapshot};
use crate::writer::RegionWriter;

/// What a region gives the messages of one shard to, as in atomr.
pub type EntityHandler<M> = Box<dyn Fn(&str, M) + Send + Sync>;
/// Makes the handler of a shard, as in atomr.
pub type HandlerFactory<M> = Arc<dyn Fn() -> EntityHandler<M> + Send + Sync>;
/// What a region gives the messages of other regions' shards to, with the region's name, as in atomr.
pub type Forwarder<M> = Arc<dyn Fn(&str, M) + Send + Sync>;

thread_local! {
    /// The keys of the region and the shard of the message that this thread is delivering.
    static DELIVERING: Cell<Option<(Key, Key)>> = const { Cell::new(None) };
}

/// What can be asked where each shard is: atomr's coordinators.
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

trait Asked: Send + Sync {
    fn shards(&self) -> Vec<String>;
}

impl<E: MessageExtractor> Asked for ShardRegion<E> {
    fn shards(&self) -> Vec<String> {
        region_info(self).shards
    }
}

/// What is asked at each round of the poller.
#[derive(Default)]
pub(super) struct Attached {
    list: Mutex<List>,
    /// What the last round found. One round at a time; not to be held by what a component may call.
    found: Mutex<Found>,
}

/// All are held weakly: a region's handlers may hold the actor system.
#[derive(Default, Clone)]
struct List {
    is_polled: bool,
    /// Coordinators so far, which tells the shards of one from those of another.
    coordinators_so_far: usize,
    regions: Vec<(Arc<str>, Weak<dyn Asked>)>,
    coordinators: Vec<(usize, Weak<dyn Coordinator>)>,
    hand_offs: Vec<(usize, Weak<HandoffCoordinator>)>,
    passivation: Vec<(Arc<str>, Weak<PassivationTracker>)>,
}

impl List {
    fn serial(&mut self) -> usize {
        self.coordinators_so_far += 1;
        self.coordinators_so_far
    }
}

/// What is asked of a region, and what asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Shards,
    Active,
}

impl Level {
    fn place(self) -> usize {
        match self {
            Self::Shards => shard_region::SHARDS,
            Self::Active => shard_region::ACTIVE,
        }
    }

    fn asked_by(self) -> Attachment {
        match self {
            Self::Shards => Attachment::ShardRegion,
            Self::Active => Attachment::Passivation,
        }
    }
}

#[derive(Default)]
struct Found {
    allocations: BTreeMap<(usize, String), String>,
    hand_offs: HandOffStates,
}

/// By coordinator and shard.
type HandOffStates = BTreeMap<(usize, String), HandoffState>;

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

/// What a region says of itself; its shards in order.
pub fn region_info<E: MessageExtractor>(region: &ShardRegion<E>) -> ShardRegionInfo {
    let mut shards = region.shard_ids();
    shards.sort();
    ShardRegionInfo { region_id: region.region_id().to_owned(), shard_count: shards.len(), shards }
}

/// Where a coordinator says that each shard is, in the order of the shards.
pub fn coordinator_allocations(coord: &ShardCoordinator) -> Vec<(String, String)> {
    let mut allocations = coord.allocations();
    allocations.sort();
    allocations
}

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

    fn attach(self: &Arc<Self>, add: impl FnOnce(&mut List)) {
        let was_polled = {
            let mut list = self.attached.list.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut list);
            std::mem::replace(&mut list.is_polled, true)
        };
        if was_polled {
            self.ask_all();
            return;
        }
        let (held, probe) = (Arc::downgrade(self), self.not_held());
        let poll = move |_: &RegionWriter| {
            if held.strong_count() == 0 {
                return false;
            }
            probe.ask_all();
            probe.is_anything_left()
        };
        crate::attach::poll(&self.region.writer, Box::new(poll));
    }

    /// Asks all that is attached, one after the other, and tells it as one.
    fn ask_all(&self) {
        let mut found = self.attached.found.lock().unwrap_or_else(PoisonError::into_inner);
        let list = self.attached.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut next = Told::default();
        let mut levels = BTreeMap::new();
        for (id, region) in list.regions {
            let shards = region.upgrade().map(|region| region.shards());
            *levels.entry((id.clone(), Level::Shards)).or_insert(0) += shards.iter().flatten().count();
            next.snapshot.regions.extend(shards.map(|shards| ShardRegionInfo {
                region_id: id.as_ref().into(),
                shard_count: shards.len(),
                shards,
            }));
        }
        for (id, tracker) in list.passivation {
            let active = tracker.upgrade().map_or(0, |tracker| tracker.entity_count());
            *levels.entry((id, Level::Active)).or_insert(0) += active;
        }
        let writer = &self.region.writer;
        for ((id, level), value) in levels {
            let region = RegionRow::new(writer, &id);
            if let Some(number) = region.number(level.place()) {
                number.store(value as u64, Ordering::Relaxed);
            }
            region.attached(level.asked_by());
        }
        let asks_of_allocations = !list.coordinators.is_empty();
        let asks_of_hand_offs = !list.hand_offs.is_empty();
        let mut allocations = BTreeMap::new();
        for (serial, coordinator) in list.coordinators {
            let Some(coordinator) = coordinator.upgrade() else { continue };
            let of_it = coordinator.shard_allocations().into_iter();
            allocations.extend(of_it.map(|(shard, region)| ((serial, shard), region)));
        }
        for (shard, region) in &allocations {
            if found.allocations.get(shard) != Some(region) {
                self.record_shard_event(region, &shard.1, "allocated");
            }
        }
        let told = allocations.iter().map(|((_, shard), region)| (shard.clone(), region.clone()));
        next.snapshot.allocations = told.collect();
        next.snapshot.allocations.sort();
        found.allocations = allocations;
        let mut hand_offs = BTreeMap::new();
        for (serial, coordinator) in list.hand_offs {
            let Some(coordinator) = coordinator.upgrade() else { continue };
            let under_way =
                coordinator.snapshot().into_iter().filter(|(_, state)| *state != HandoffState::Idle);
            hand_offs.extend(under_way.map(|(shard, state)| ((serial, shard), state)));
        }
        self.publish_hand_offs(&found.hand_offs, &hand_offs);
        next.hand_offs = hand_offs.iter().filter_map(|((_, shard), state)| row(shard, state)).collect();
        found.hand_offs = hand_offs;
        let mut told = self.told();
        if *told != next {
            *told = next;
            self.write(&told);
        }
        if asks_of_allocations {
            writer.attached(Attachment::ShardCoordinator);
        }
        if asks_of_hand_offs {
            writer.attached(Attachment::HandOffs);
        }
    }

    /// Forgets what is gone; false if nothing is left to be polled.
    fn is_anything_left(&self) -> bool {
        let mut list = self.attached.list.lock().unwrap_or_else(PoisonError::into_inner);
        let List { is_polled, regions, coordinators, hand_offs, passivation, .. } = &mut *list;
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

    /// An extractor that counts which messages come to a region, by shard: each time that it is asked for a message's
    /// shard. Costs about what finding the shard's record does; no allocation of its own.
    pub fn wrap_extractor<E: MessageExtractor>(&self, region_id: &str, inner: Arc<E>) -> ProbedExtractor<E> {
        let region = RegionRow::new(&self.region.writer, region_id);
        region.attached(Attachment::ShardExtractor);
        ProbedExtractor { inner, region }
    }

    /// A handler factory whose handlers count the messages and the different entities that they are given, by shard if
    /// the region's extractor is wrapped too. Up to some 4,000 entities of a shard are told apart; further ones are
    /// `uncounted_messages`. No allocation and no lock per message.
    pub fn wrap_handlers<M: Send + 'static>(
        &self,
        region_id: &str,
        inner: HandlerFactory<M>,
    ) -> HandlerFactory<M> {
        let region = RegionRow::new(&self.region.writer, region_id);
        region.attached(Attachment::ShardHandlers);
        Arc::new(move || {
            // First of all: the factory may deliver messages of its own.
            let shard = region.delivering();
            // Of a shard that has no handler here, or had no record when it got one, nothing is counted.
            region.writer.attached_to(shard, Attachment::ShardHandlers);
            let shard = ShardRow { shard, region: region.clone(), entities: Entities::new() };
            let handler = inner();
            Box::new(move |entity_id: &str, message: M| {
                shard.give(entity_id);
                handler(entity_id, message);
            })
        })
    }

    /// A forwarder that counts what a region gives to others, for `ShardRegion::set_remote_forwarder`.
    pub fn wrap_forwarder<M: Send + 'static>(&self, region_id: &str, inner: Forwarder<M>) -> Forwarder<M> {
        let region = RegionRow::new(&self.region.writer, region_id);
        region.attached(Attachment::ShardForwarder);
        Arc::new(move |owner: &str, message: M| {
            region.add(shard_region::FORWARDED);
            inner(owner, message);
        })
    }

    /// An allocation strategy that counts what it decides.
    pub fn wrap_strategy<S: ShardAllocationStrategy>(&self, inner: S) -> ProbedStrategy<S> {
        self.region.writer.attached(Attachment::ShardStrategy);
        ProbedStrategy { inner, writer: self.region.writer.clone() }
    }

    /// Notes that an entity was passivated: to be called beside `PassivationTracker::drop_entity`. No allocation, no
    /// system call; a region that was not known takes a lock for a moment.
    pub fn record_passivation(&self, region_id: &str) {
        self.region.writer.attached(Attachment::PassivationCalls);
        self.region.writer.with_instance(Domain::ShardRegion, None, region_id, |numbers| {
            numbers[shard_region::PASSIVATED].fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// How far a hand-off is.
struct Stage<'a> {
    source: &'a str,
    target: Option<&'a str>,
    number: u8,
    word: &'static str,
    remaining: usize,
}

fn stage(state: &HandoffState) -> Option<Stage<'_>> {
    let (source, target, number, word, remaining) = match state {
        HandoffState::Beginning { source_region } => (source_region, None, 1, "beginning", 0),
        HandoffState::HandingOff { source_region, remaining_entities } => {
            (source_region, None, 2, "handing_off", *remaining_entities)
        }
        HandoffState::Stopped { source_region } => (source_region, None, 3, "stopped", 0),
        HandoffState::Started { source_region, target_region } => {
            (source_region, Some(target_region.as_str()), 4, "started", 0)
        }
        _ => return None,
    };
    Some(Stage { source, target, number, word, remaining })
}

fn row(shard: &str, state: &HandoffState) -> Option<HandOff> {
    stage(state).map(|Stage { source, target, word, .. }| HandOff {
        shard: shard.into(),
        from: source.into(),
        to: target.unwrap_or_default().into(),
        state: word,
    })
}

/// How many hand-offs of a shard must have begun, and how many been completed, for this state to come after that one.
fn progress(before: Option<Stage<'_>>, now: &HandoffState) -> (u64, u64) {
    let Some(now) = stage(now) else { return (0, 0) };
    let was_it = |before: Stage<'_>| before.source == now.source && before.number <= now.number;
    let goes_on = before.is_some_and(|before| before.target.is_none() && was_it(before));
    (u64::from(!goes_on), u64::from(now.target.is_some()))
}

/// The record of a region, which is never removed.
#[derive(Debug, Clone)]
struct RegionRow {
    writer: Arc<RegionWriter>,
    key: Key,
    /// `None` where there was no room.
    instance: Option<Instance>,
}

impl RegionRow {
    fn new(writer: &Arc<RegionWriter>, id: &str) -> Self {
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

    fn number(&self, field: usize) -> Option<&AtomicU64> {
        number(&self.writer, self.instance, field)
    }

    fn attached(&self, attachment: Attachment) {
        self.writer.attached_to(self.instance, attachment);
    }

    /// The record of the shard whose message is being delivered on this thread, if it is one of this region's.
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

/// What the handler of a shard counts; the shard's record is never removed either.
struct ShardRow {
    region: RegionRow,
    shard: Option<Instance>,
    entities: Entities,
}

impl ShardRow {
    fn give(&self, entity_id: &str) {
        let writer = &*self.region.writer;
        writer.count(Builtin::ShardMessages, 1);
        self.region.add(shard_region::MESSAGES);
        add(writer, self.shard, shard::MESSAGES);
        match self.entities.note(writer.hasher.hash(entity_id)) {
            Noted::New => {
                self.region.add(shard_region::ENTITIES_STARTED);
                add(writer, self.shard, shard::ENTITIES);
            }
            Noted::Known => {}
            Noted::NoRoom => {
                self.region.add(shard_region::UNCOUNTED);
                add(writer, self.shard, shard::UNCOUNTED);
            }
        }
    }
}

/// What [`ShardingProbe::wrap_extractor`] makes.
#[derive(Debug)]
pub struct ProbedExtractor<E> {
    inner: Arc<E>,
    region: RegionRow,
}

impl<E: MessageExtractor> MessageExtractor for ProbedExtractor<E> {
    type Message = E::Message;

    fn entity_id(&self, message: &E::Message) -> String {
        // The inner one may deliver messages of its own.
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

/// What [`ShardingProbe::wrap_strategy`] makes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hand_off_that_a_state_shows_is_counted_once() {
        let source_region = || "r1".to_owned();
        let beginning = HandoffState::Beginning { source_region: source_region() };
        let stopped = HandoffState::Stopped { source_region: source_region() };
        let there = HandoffState::Started { source_region: source_region(), target_region: "r2".into() };
        let back = HandoffState::Started { source_region: "r2".into(), target_region: "r1".into() };
        let of = |before: Option<&HandoffState>, now| progress(before.and_then(stage), now);
        assert_eq!(of(None, &beginning), (1, 0));
        assert_eq!(of(Some(&beginning), &stopped), (0, 0));
        assert_eq!(of(Some(&stopped), &there), (0, 1));
        assert_eq!(of(None, &there), (1, 1));
        assert_eq!(of(Some(&there), &back), (1, 1));
        assert_eq!(of(Some(&there), &beginning), (1, 0));
        assert_eq!(of(Some(&stopped), &beginning), (1, 0), "it was forgotten, and began again");
        assert_eq!(of(Some(&HandoffState::Idle), &stopped), (1, 0));
        assert_eq!(of(Some(&there), &HandoffState::Idle), (0, 0));
    }
}
