//! From a region to owned data: every value of a region is decoded here and nowhere else.
//!
//! The same code serves the node itself (a snapshot in its own process) and every other program. It trusts nothing:
//! what cannot be read is counted, not shown.
//!
//! # Bounds
//! Whatever a region holds, reading looks at each of its records a fixed number of times, waits for writers no longer than
//! one [`Patience`](crate::seqlock::Patience) allows for each pass, and holds no more memory at a time than thirty times the region's size: no text
//! is longer than its record, or than a name may be.

mod actors;
mod census;
mod clock;
mod events;
mod identity;
mod letters;
mod names;
mod node;
mod reader;
pub mod subsystems;

pub use actors::{Actor, ActorEntry, ActorList, ActorTree, Actors, SpawnedAt, Tally};
pub use census::{Class, ClassCounts};
pub use clock::{Clock, Moment, rfc3339};
pub use events::EventDecoder;
pub use identity::{Birth, Identity, Rank};
pub use letters::DeadLetters;
pub use names::Texts;
pub use reader::{ActorTotals, Beat, Conditions, RegionReader, state};
