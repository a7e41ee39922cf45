//! Which variant of its message an actor handles, and whether the handler runs or awaits.
//!
//! ```
//! # #[cfg(feature = "macros")] {
//! use atomr_core::prelude::*;
//! use atomscope_probe::observe::{Variants, observed};
//!
//! #[derive(Variants)]
//! enum Order {
//!     Place { cakes: u32 },
//!     Cancel,
//! }
//!
//! struct Bakery(u32);
//!
//! #[observed]
//! #[async_trait::async_trait]
//! impl Actor for Bakery {
//!     type Msg = Order;
//!
//!     async fn handle(&mut self, _: &mut Context<Self>, order: Order) {
//!         match order {
//!             Order::Place { cakes } => self.0 += cakes,
//!             Order::Cancel => self.0 = 0,
//!         }
//!     }
//! }
//!
//! assert_eq!(Order::NAMES[Order::Cancel.variant()], "Cancel");
//! # }
//! ```
//! Actors that the probe did not spawn are not observed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use atomr_core::actor::{self, Actor};
use atomscope_layout::cells::Mode;
#[cfg(feature = "macros")]
pub use atomscope_macros::{Variants, observed};
use pin_project_lite::pin_project;

use crate::actor_registry::ActorRegistry;
use crate::instruments::current::current;

/// A message that knows which one of its variants it is. `#[derive(Variants)]` implements it for an enum or a struct.
pub trait Variants {
    /// The names of the variants.
    const NAMES: &'static [&'static str];

    /// The number of this value's variant: its place in [`Self::NAMES`].
    fn variant(&self) -> usize;
}

/// Notes that the calling actor handles `message`. It counts for the message that the actor is handling. Call it only in a
/// handler: elsewhere in an instrumented actor's task, the row that readers see as the newest message's changes. A few
/// nanoseconds; it allocates and takes a lock, without waiting for it, only for the first message of a class and of each variant.
#[inline]
pub fn enter<M: Variants>(message: &M) {
    if let Some(at) = current() {
        at.run(message.variant(), M::NAMES);
    }
}

impl ActorRegistry {
    /// As [`enter`], for a handler without `#[observed]`: to be called at its beginning. A message that is not entered counts for
    /// its class only. It costs as much as [`enter`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use atomr_core::prelude::*;
    /// use atomscope_probe::TelemetryExtension;
    /// # use atomscope_probe::observe::Variants;
    /// # enum Order { Place }
    /// # impl Variants for Order {
    /// #     const NAMES: &'static [&'static str] = &["Place"];
    /// #     fn variant(&self) -> usize { 0 }
    /// # }
    /// struct Bakery(Arc<TelemetryExtension>);
    ///
    /// #[async_trait::async_trait]
    /// impl Actor for Bakery {
    ///     type Msg = Order;
    ///
    ///     async fn handle(&mut self, ctx: &mut Context<Self>, order: Order) {
    ///         self.0.actors.enter(ctx, &order);
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn enter<A: Actor<Msg: Variants>>(&self, _: &actor::Context<A>, message: &A::Msg) {
        enter(message);
    }
}

/// A message of which `#[observed]` does not know whether it has variants.
#[doc(hidden)]
#[derive(Debug)]
pub struct Message<'a, M>(pub &'a M);

impl<M: Variants> Message<'_, M> {
    /// It has.
    #[inline]
    pub fn enter(&self) {
        enter(self.0);
    }
}

/// The method of [`Message`] if the message has no variants: a method of the type itself goes before one of a trait.
#[doc(hidden)]
pub trait Unnamed {
    /// Notes nothing.
    #[inline]
    fn enter(&self) {}
}

impl<M> Unnamed for Message<'_, M> {}

pin_project! {
    /// The future of a handler, which notes at each poll whether it runs or awaits. `#[observed]` puts it around the handler's
    /// own future.
    #[derive(Debug)]
    pub struct Observed<F> {
        #[pin]
        handler: F,
    }
}

impl<F> Observed<F> {
    /// Wraps the future of a handler.
    #[inline]
    pub fn new(handler: F) -> Self {
        Self { handler }
    }
}

/// The handler of the current task runs or awaits.
#[inline]
fn set_mode(mode: Mode) {
    if let Some(at) = current() {
        at.cell.set_mode(mode);
    }
}

impl<F: Future> Future for Observed<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        set_mode(Mode::Runs);
        let polled = self.project().handler.poll(context);
        if polled.is_pending() {
            set_mode(Mode::Awaits);
        }
        polled
    }
}
