//! The heartbeats in the header of a region.

use core::ops::Range;

use crate::region::header;
use crate::sync::{Ordering, fence};
use crate::words::Words;

/// The heartbeat of a thread: the number of beats and the time of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Number of beats so far; 0 if the heartbeat was never started.
    pub count: u64,
    /// Time of the last beat in monotonic nanoseconds.
    pub mono_ns: u64,
}

impl Beat {
    /// The heartbeat of the sampler, from the header of a region.
    pub fn of_process(region: Words<'_>) -> Self {
        Self::read(region, header::PROCESS_BEAT)
    }

    /// Reads a heartbeat at these words of the header.
    pub(crate) fn read(region: Words<'_>, at: Range<usize>) -> Self {
        let count = region.load(at.start);
        // The time is that of this beat or of a later one.
        fence(Ordering::Acquire);
        Self { count, mono_ns: region.load(at.start + 1) }
    }
}
