//! Decoding a region to owned data. Every value of a region is decoded here and nowhere else.
//!
//! The node itself uses this code for snapshots in its own process, and so does every reader. The code trusts no byte:
//! records that cannot be read are counted and not shown. [`crate`] has an example.
//!
//! # Bounds
//! Whatever a region holds, each record is read a fixed number of times, and a scan waits for writers no longer than one
//! [`Patience`](crate::seqlock::Patience) allows. Decoded data never needs more than thirty times the memory of the region,
//! because no text is longer than its record or than [`NAME_BYTES`](crate::limits::NAME_BYTES).

mod actors;
mod classes;
mod clock;
mod events;
mod identity;
mod letters;
mod names;
mod node;
mod reader;
pub mod subsystems;

pub use actors::{Actor, ActorEntry, ActorList, ActorTree, Actors, SpawnedAt, Tally};
pub use classes::{Class, ClassCounts};
pub use clock::{Clock, Moment, rfc3339};
pub use events::EventDecoder;
pub use identity::{Birth, Identity, Rank};
pub use letters::DeadLetters;
pub use names::Texts;
pub use reader::{ActorTotals, Beat, Conditions, RegionReader, state};
