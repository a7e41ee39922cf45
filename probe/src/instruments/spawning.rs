//! The calls that spawn instrumented actors.

use std::error::Error;

use atomr_core::actor::{Actor, ActorRef, ActorSystem, ActorSystemError, Context, Props};

#[cfg(feature = "instruments")]
use super::joining::Waiting;
#[cfg(feature = "instruments")]
use super::memory::{Instruments, Owner};
#[cfg(feature = "instruments")]
use super::props::{Plan, counting};
use crate::actor_registry::ActorRegistry;
#[cfg(feature = "instruments")]
use crate::{coarse, process};

impl ActorRegistry {
    /// Spawns a top-level actor as `system.actor_of(props, name)` does, and counts what it handles: messages, time, panics
    /// and restarts, for the actor, for its class, and for each variant of its messages.
    ///
    /// Call it on [`crate::TelemetryExtension::actors`] of the extension that is installed on `system`. It costs some 600 ns
    /// more than the plain call, and each message about 10 ns, or 20 if its handler awaits, and 30 to 50 where
    /// thousands of actors take turns, because their memory is not in the caches; without an allocation. An interceptor and a supervisor strategy
    /// of `props` are kept; an interceptor costs one allocation for each message. With `ATOMSCOPE=off`, and without the feature
    /// `instruments`, it is the plain call.
    ///
    /// # Errors
    /// Those of `actor_of`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atomr_core::actor::{Actor, ActorSystem, Context, Props};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// struct Cart;
    /// #[async_trait::async_trait]
    /// impl Actor for Cart {
    ///     type Msg = u32;
    ///     async fn handle(&mut self, _: &mut Context<Self>, _: u32) {}
    /// }
    ///
    /// let system = ActorSystem::create("shop", Default::default()).await?;
    /// let telemetry = TelemetryExtension::new("shop-1", 1024).install(&system);
    /// let cart = telemetry.actors.spawn(&system, Props::create(|| Cart), "cart")?;
    /// cart.tell(3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn<A: Actor>(
        &self,
        system: &ActorSystem,
        props: Props<A>,
        name: &str,
    ) -> Result<ActorRef<A::Msg>, ActorSystemError> {
        #[cfg(feature = "instruments")]
        if let Some(instruments) = self.instruments() {
            return self.spawn_with(instruments, props, |props| system.actor_of(props, name));
        }
        system.actor_of(props, name)
    }

    /// As [`Self::spawn`], for a child: it stands for `ctx.spawn(props, name)`.
    ///
    /// # Errors
    /// That of `ctx.spawn`, whose type has no name outside of atomr.
    pub fn spawn_child<P: Actor, A: Actor>(
        &self,
        ctx: &mut Context<P>,
        props: Props<A>,
        name: &str,
    ) -> Result<ActorRef<A::Msg>, impl Error + Send + Sync + 'static + use<P, A>> {
        #[cfg(feature = "instruments")]
        if let Some(instruments) = self.instruments() {
            return self.spawn_with(instruments, props, |props| ctx.spawn(props, name));
        }
        ctx.spawn(props, name)
    }

    /// A `Props` whose actors are counted as those of [`Self::spawn`], but without their paths: for code that spawns them
    /// itself, such as a router. It may be cloned to any number of actors. An actor and a message cost as much as with
    /// [`Self::spawn`].
    ///
    /// Set an interceptor and a strategy before the call. An interceptor that is set later replaces the probe's, and its actors
    /// count nothing. Readers say so of the class, unless another clone of the `Props` still has the probe's when the actor
    /// starts. A strategy that is set later keeps panics from being counted.
    ///
    /// An actor that ends without its stop hook, as one that panics in `pre_start`, keeps its cell until the last clone of the
    /// `Props` is dropped. If such actors are many, keep no `Props` for long, or use [`Self::spawn`].
    pub fn instrument<A: Actor>(&self, props: Props<A>) -> Props<A> {
        #[cfg(feature = "instruments")]
        if let Some(instruments) = self.instruments() {
            let class = instruments.class_of(std::any::type_name::<A>());
            let plan = Plan::new(instruments, class, Owner::new(true), None, None);
            Waiting::for_stop_hooks();
            return counting(props, &plan);
        }
        props
    }

    #[cfg(feature = "instruments")]
    /// The instruments of the region; none if the probe is off, or for a stand-alone registry.
    fn instruments(&self) -> Option<&'static Instruments> {
        let instruments = self.node_writer()?.instruments()?;
        if coarse::start(instruments.ticks(), instruments.coarse_tick) {
            process::wake_sampler();
        }
        Some(instruments)
    }

    #[cfg(feature = "instruments")]
    fn spawn_with<A: Actor, E>(
        &self,
        instruments: &'static Instruments,
        props: Props<A>,
        spawn: impl FnOnce(Props<A>) -> Result<ActorRef<A::Msg>, E>,
    ) -> Result<ActorRef<A::Msg>, E> {
        let (class, owner) = (instruments.class_of(std::any::type_name::<A>()), Owner::new(false));
        let (name, at) = instruments.claim(class, owner).unzip();
        let plan = Plan::new(instruments, class, owner, at, Some(self.not_held()));
        let props = counting(props, &plan);
        let waiting = Waiting::for_hook(self.writer(), name.map_or(0, |name| name.word()), at);
        let spawned = spawn(props);
        if let (Ok(actor), true) = (&spawned, waiting.is_joined()) {
            plan.join(actor.path());
            self.writer().watch_mailbox(actor, name.map_or(0, |name| name.word()), class);
        }
        spawned
    }
}
