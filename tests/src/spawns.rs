//! How the actors of a workload are spawned: plainly, or by the probe, which then sees into them.

use std::sync::Arc;

use atomr_core::actor::{Actor, ActorRef, ActorSystem, ActorSystemError, Context, Props};
use atomscope_probe::TelemetryExtension;

/// Spawns actors. The default spawns them without the probe.
#[derive(Debug, Clone, Default)]
pub struct Spawns(Option<Arc<TelemetryExtension>>);

impl Spawns {
    /// Instrumented actors, if there is a probe.
    pub fn instrumented(telemetry: Option<&Arc<TelemetryExtension>>) -> Self {
        Self(telemetry.cloned())
    }

    /// Spawns a top-level actor.
    ///
    /// # Errors
    /// As [`ActorSystem::actor_of`].
    pub fn top_level<A: Actor>(
        &self,
        system: &ActorSystem,
        props: Props<A>,
        name: &str,
    ) -> Result<ActorRef<A::Msg>, ActorSystemError> {
        match &self.0 {
            Some(telemetry) => telemetry.actors.spawn(system, props, name),
            None => system.actor_of(props, name),
        }
    }

    /// Spawns a child; `None` if the name is taken or the system is gone. (The type of that error has no name here.)
    pub fn child<P: Actor, A: Actor>(
        &self,
        parent: &mut Context<P>,
        props: Props<A>,
        name: &str,
    ) -> Option<ActorRef<A::Msg>> {
        match &self.0 {
            Some(telemetry) => telemetry.actors.spawn_child(parent, props, name).ok(),
            None => parent.spawn(props, name).ok(),
        }
    }
}
