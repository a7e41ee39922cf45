//! Attaching to a region: from the path of a file to the data that its node publishes.
//!
//! [`Region`] is an attached region: a read-only mapping of the region of a node that may live, or a copy of the region of
//! a dead node or of a raw dump. [`RegionSummary`] reads only the header and a few counters and keeps nothing open, so
//! that listing many regions is cheap. Both check a file before they believe a byte of it; `attach/check.rs` states what
//! is checked and why.

mod check;
pub(crate) mod error;
mod node;
mod region;
mod summary;

pub use self::error::{AttachError, AttachErrorKind};
pub use self::node::Inode;
pub use self::region::Region;
pub use self::summary::RegionSummary;

/// Default limit on the size of a region, in bytes. [`Search::max_bytes`](crate::find::Search::max_bytes) changes it.
pub const MAX_BYTES: u64 = 4 << 30;
