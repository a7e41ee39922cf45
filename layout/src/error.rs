//! Why a set of capacities is refused, and why a region cannot be read.
//!
//! A writer that creates a region gets [`LimitError`], a reader that opens one gets [`OpenError`]. The variants of
//! `OpenError` need different reactions: after *not ready* try again, after *incompatible* use another version of the
//! program, after *corrupt* inspect the object. A damaged single record is not an error: readers count it
//! ([`crate::seqlock::Unreadable`]).
//!
//! ```
//! use atomscope_layout::decode::RegionReader;
//! use atomscope_layout::view::ReaderMemory;
//! use atomscope_layout::{Capacities, OpenError, RegionMap};
//!
//! let error = RegionMap::for_capacities(&Capacities { actors: 0, ..Capacities::default() }).unwrap_err();
//! assert_eq!(error.to_string(), "actors = 0 is outside of its limits (1 to 4000000)");
//!
//! let zeroed = ReaderMemory::copied(&[0; 4096]);
//! assert!(matches!(RegionReader::open(zeroed.words()), Err(OpenError::NotReady)));
//! ```

/// A capacity that the layout does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{capacity} = {given} is outside of its limits ({least} to {most})")]
pub struct LimitError {
    /// Which capacity.
    pub capacity: &'static str,
    /// The value that the caller gave.
    pub given: u64,
    /// The lowest value that is allowed.
    pub least: u64,
    /// The highest value that is allowed.
    pub most: u64,
}

/// Why these bytes cannot be read as a region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The writer has not published the region yet, or died before it could.
    #[error("not ready yet: the writer has not published it")]
    NotReady,
    /// The first word is another magic: these bytes are something else.
    #[error("not an atomscope region: it starts with {found:#018x}")]
    NotARegion {
        /// The first word.
        found: u64,
    },
    /// The region has another major version of the layout.
    #[error("incompatible: found layout version {found_major}.{found_minor}, this program reads {major}.x")]
    Incompatible {
        /// The region's major version.
        found_major: u32,
        /// The region's minor version.
        found_minor: u32,
        /// The major version that this crate reads.
        major: u32,
    },
    /// There are fewer bytes than the header says, or than any region has.
    #[error("truncated: {found} bytes of {expected}")]
    Truncated {
        /// Bytes present.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// A field of the header or directory holds a value that no writer stores.
    #[error("corrupt at byte {offset}: {field} is {found}")]
    Corrupt {
        /// Offset of the field, in bytes from the start of the region.
        offset: u64,
        /// Which field.
        field: &'static str,
        /// The value that it holds.
        found: u64,
    },
}
