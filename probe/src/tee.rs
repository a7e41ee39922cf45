//! Beside another telemetry: atomr has one place for each hook, so ours tells the other what it is told.

use std::sync::{Arc, PoisonError};

use atomr_core::actor::{ActorPath, ActorSystem, DeadLetterObserver, SpawnObserver};

use crate::bus::TelemetryEvent;
use crate::dto::{ClusterMembershipDiff, ClusterStateInfo};
use crate::extension::TelemetryExtension;
use crate::hooks;

/// Tells two observers, ours first.
struct Tee<A, B: ?Sized>(A, Arc<B>);

impl<A: SpawnObserver> SpawnObserver for Tee<A, dyn SpawnObserver> {
    fn on_spawn(&self, path: &ActorPath, parent: Option<&ActorPath>, actor_type: &'static str) {
        self.0.on_spawn(path, parent, actor_type);
        self.1.on_spawn(path, parent, actor_type);
    }

    fn on_stop(&self, path: &ActorPath) {
        self.0.on_stop(path);
        self.1.on_stop(path);
    }

    fn on_mailbox_depth(&self, path: &ActorPath, depth: u64) {
        self.0.on_mailbox_depth(path, depth);
        self.1.on_mailbox_depth(path, depth);
    }
}

impl<A: DeadLetterObserver> DeadLetterObserver for Tee<A, dyn DeadLetterObserver> {
    fn on_dead_letter(&self, recipient: &ActorPath, sender: Option<&ActorPath>, message_type: &'static str) {
        self.0.on_dead_letter(recipient, sender, message_type);
        self.1.on_dead_letter(recipient, sender, message_type);
    }
}

impl TelemetryExtension {
    /// As [`Self::install`], where the hooks belong to somebody else already: who is told of everything after this is. With
    /// `atomr-telemetry`, install that first, and give its `actors` and `dead_letters` here:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use atomr_core::actor::{ActorSystem, DeadLetterObserver, SpawnObserver};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// fn both(system: &ActorSystem, actors: Arc<dyn SpawnObserver>, dead_letters: Arc<dyn DeadLetterObserver>) {
    ///     TelemetryExtension::new("shop-1", 1024).install_beside(system, actors, dead_letters);
    /// }
    /// ```
    ///
    /// What its other probes are fed comes by an exporter of its own that hands each event to [`Self::take_over`].
    pub fn install_beside(
        self: Arc<Self>,
        system: &ActorSystem,
        spawns: Arc<dyn SpawnObserver>,
        dead_letters: Arc<dyn DeadLetterObserver>,
    ) -> Arc<Self> {
        // Where ours is not installed the hooks stay the other's.
        self.install_with(system, |region, actors, letters| {
            hooks::install(region, system, Tee(actors, spawns), Tee(letters, dead_letters));
        })
    }

    /// Notes what an event of another telemetry tells of. What the hooks tell (actors, dead letters) is left alone. Not for
    /// hot paths.
    pub fn take_over(&self, event: TelemetryEvent) {
        match event {
            TelemetryEvent::ActorSpawned(_)
            | TelemetryEvent::ActorStopped { .. }
            | TelemetryEvent::MailboxSampled { .. }
            | TelemetryEvent::DeadLetter(_) => {}
            TelemetryEvent::ClusterChanged(change) => {
                let mut state = self.cluster.snapshot();
                apply(&mut state, change);
                self.cluster.update(state);
            }
            TelemetryEvent::ShardingChanged(change) => {
                self.sharding.record_shard_event(&change.region_id, &change.shard_id, &change.event);
            }
            TelemetryEvent::JournalWrite(write) => {
                self.persistence.record_write(&write.journal, &write.persistence_id, write.sequence_nr);
            }
            TelemetryEvent::RemoteAssociation(association) => {
                self.remote.record_association(&association.remote_address, &association.state);
            }
            TelemetryEvent::StreamsGraphStarted { id, name } => {
                let ours = self.streams.start_graph(name);
                self.graphs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, ours);
            }
            TelemetryEvent::StreamsGraphFinished { id } => {
                let ours = self.graphs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                ours.into_iter().for_each(|ours| self.streams.finish_graph(ours));
            }
            TelemetryEvent::DDataUpdated { key } => self.ddata.record_update(&key),
        }
    }
}

/// Brings a state up to a change of it.
fn apply(state: &mut ClusterStateInfo, change: ClusterMembershipDiff) {
    let ClusterMembershipDiff { added, updated, removed, became_unreachable, became_reachable } = change;
    state.members.retain(|member| !removed.contains(&member.address));
    for new in added.into_iter().chain(updated) {
        match state.members.iter_mut().find(|member| member.address == new.address) {
            Some(known) => *known = new,
            None => state.members.push(new),
        }
    }
    state.unreachable.retain(|address| !became_reachable.contains(address));
    state.unreachable.extend(became_unreachable);
}
