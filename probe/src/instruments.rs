//! Instrumented actors: what they handle is counted, each actor for itself and by class and variant.
//!
//! ```text
//!   spawn ──► Props with our factory, interceptor and decider                             (props)
//!   the actor's task:   factory ──► registers task ─► cell          interceptor's drop ──► frees the cell
//!                       before a handler ──► begin   ┐
//!                       after it         ──► end     ├─ cell of the task (current) ──► region, lanes, class    (memory)
//!                       in it: a variant, a poll     ┘
//! ```
//! A handler may await, thousands at a time, and go on on another thread. So what finds an actor's cell is the number of the
//! task that runs; a thread keeps the last one it found.

pub(crate) mod current;
pub(crate) mod joining;
pub(crate) mod memory;
#[cfg(feature = "instruments")]
mod props;
mod spawning;
