//! A tee for a second telemetry: atomr keeps one observer of each kind, so the probe's observer also calls the other one.

use std::sync::{Arc, PoisonError};

use atomr_core::actor::{ActorPath, ActorSystem, DeadLetterObserver, SpawnObserver};

use crate::bus::TelemetryEvent;
use crate::dto::{ClusterMembershipDiff, ClusterStateInfo};
use crate::extension::TelemetryExtension;
use crate::hooks;

/// Calls two observers, the probe's first.
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
    /// As [`Self::install`], but every hook also calls another telemetry's observers, after the probe's. Install
    /// `atomr-telemetry` first, and pass its `actors` and `dead_letters`:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use atomr_core::actor::{ActorSystem, DeadLetterObserver, SpawnObserver};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// fn install_both(system: &ActorSystem, actors: Arc<dyn SpawnObserver>, dead_letters: Arc<dyn DeadLetterObserver>) {
    ///     TelemetryExtension::new("shop-1", 1024).install_tee(system, actors, dead_letters);
    /// }
    /// ```
    ///
    /// For its other events add an exporter to the other telemetry that passes each event to [`Self::record_event`].
    pub fn install_tee(
        self: Arc<Self>,
        system: &ActorSystem,
        spawns: Arc<dyn SpawnObserver>,
        dead_letters: Arc<dyn DeadLetterObserver>,
    ) -> Arc<Self> {
        // If the probe is turned off or installed already, the hooks stay the other telemetry's.
        self.install_with(system, |region, actors, letters| {
            hooks::install(region, system, Tee(actors, spawns), Tee(letters, dead_letters));
        })
    }

    /// Records an event of another telemetry. Ignores events of actors, dead letters, panics and long polls, which come through the
    /// hooks. Takes locks and allocates; not for hot paths.
    pub fn record_event(&self, event: TelemetryEvent) {
        match event {
            TelemetryEvent::ActorSpawned(_)
            | TelemetryEvent::ActorStopped { .. }
            | TelemetryEvent::MailboxSampled { .. }
            | TelemetryEvent::DeadLetter(_)
            | TelemetryEvent::Panicked(_)
            | TelemetryEvent::Own(_)
            | TelemetryEvent::LongPoll(_) => {}
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
                let own_id = self.streams.start_graph(name);
                self.graphs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, own_id);
            }
            TelemetryEvent::StreamsGraphFinished { id } => {
                let own_id = self.graphs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                own_id.into_iter().for_each(|own_id| self.streams.finish_graph(own_id));
            }
            TelemetryEvent::DDataUpdated { key } => self.ddata.record_update(&key),
        }
    }
}

/// Applies a change to a state.
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
