//! Why a set of capacities is refused, and why a region cannot be read.
//!
//! [`LimitError`] is for the one who makes a region, [`OpenError`] for the one who opens it. An `OpenError` is a
//! ladder: *not ready yet* may be tried again, *incompatible* wants another program, *corrupt* wants a look at the
//! object. What goes wrong with a single record is no error but a count ([`crate::seqlock::Unreadable`]).

/// A capacity that the layout does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{capacity} = {given} is outside what a region can hold ({least} to {most})")]
pub struct LimitError {
    /// Which capacity.
    pub capacity: &'static str,
    /// What was asked for.
    pub given: u64,
    /// The least that is allowed.
    pub least: u64,
    /// The most that is allowed.
    pub most: u64,
}

/// Why these bytes cannot be read as a region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The writer has not published it yet; or it died before it did.
    #[error("not ready yet: the writer has not published it")]
    NotReady,
    /// Not one of ours.
    #[error("not an atomscope region: it starts with {found:#018x}")]
    NotARegion {
        /// The first word.
        found: u64,
    },
    /// Of a layout that this reader does not know.
    #[error("incompatible: found layout version {found_major}.{found_minor}, this program reads {major}.x")]
    Incompatible {
        /// The region's major version.
        found_major: u32,
        /// The region's minor version.
        found_minor: u32,
        /// The major version that is read here.
        major: u32,
    },
    /// Shorter than it says or than a region can be.
    #[error("truncated: {found} bytes of {expected}")]
    Truncated {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// A field holds what no writer writes.
    #[error("corrupt at byte {offset}: {field} is {found}")]
    Corrupt {
        /// Where, in bytes from the start of the region.
        offset: u64,
        /// Which field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
}
