//! What the bytes of an atomscope region mean, and the lock-free primitives over them.
//!
//! A *region* is one shared-memory object that a node's probe writes and any number of readers map read-only.
//! This crate does no I/O and starts no thread: it is given words, and reads or writes them. [`region`] holds the
//! whole map; every other module is one primitive or one kind of record.
//!
//! # Progress guarantees
//! - **Wait-free**: the operation ends after a number of its own steps that is fixed in advance, whatever other
//!   threads do. Every *writing* operation here is wait-free; where another writer is in the way it gives up and
//!   counts that it did.
//! - **Bounded**: the operation retries a fixed number of times, then says *unreadable*. Every *reading* operation
//!   here is bounded, and so is a pass over many records as a whole, in time and in memory, whatever bytes stand there;
//!   none spins, none writes.
//!
//! # What this crate does not do
//! It never stores a pointer in a region, never follows an offset without checking it, never panics on what a
//! region holds, and never reads racing bytes other than as relaxed 64-bit atomics.

#[cfg(target_endian = "big")]
compile_error!("an atomscope region is 64-bit little-endian; big-endian targets are not supported");

pub mod attached;
pub mod decode;
pub mod document;
mod domains;
pub mod dto;
pub mod error;
pub mod event;
pub mod follow;
pub mod forest;
pub mod histogram;
pub mod instances;
pub mod lanes;
pub mod limits;
pub mod metrics;
#[cfg(all(test, atomscope_loom))]
mod models;
pub mod names;
pub mod records;
pub mod region;
pub mod retention;
pub mod ring;
pub mod seqlock;
pub mod sightings;
pub mod sync;
pub mod table;
#[cfg(not(atomscope_loom))]
pub mod view;
pub mod words;

pub use error::{LimitError, OpenError};
pub use region::{Capacities, RegionMap};
pub use words::Words;
