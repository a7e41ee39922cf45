//! Counter lanes: a counter that a thread adds to without a locked instruction.
//!
//! ```text
//!              metric 0   metric 1   …           each lane starts on its own 128 bytes
//!   lane 0   [ overflow ][ overflow ]            any thread: fetch_add
//!   lane 1   [          ][          ]            the one thread that holds lane 1: load + store
//!   …
//! ```
//! A counter's value is the sum over the lanes. A lane number is process-wide (one bitmap), so that one thread-local
//! serves every region; a region with fewer lanes sends higher numbers to overflow. A lane that is given back keeps
//! its value, and its next holder goes on from there: sums never go backwards. A gauge is the overflow word alone.

use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::Words;

/// The lane that every thread may use.
pub const OVERFLOW: u32 = 0;

/// The lanes of one region, for its writers.
#[derive(Clone, Copy)]
pub struct Lanes<'a> {
    words: &'a [AtomicU64],
    stride: usize,
}

impl<'a> Lanes<'a> {
    /// `words` is the counter section, `stride` the words from one lane to the next.
    #[inline]
    pub fn new(words: &'a [AtomicU64], stride: usize) -> Self {
        Self { words, stride }
    }

    /// Adds `n` to `metric`. `lane` must be [`OVERFLOW`] or held by the calling thread. Wait-free; a lane that this
    /// region does not have is overflow.
    #[inline]
    pub fn add(&self, lane: u32, metric: usize, n: u64) {
        match self.word(lane, metric) {
            Some(word) if lane != OVERFLOW => add_to_own(word, n),
            _ => self.add_to_overflow(metric, n),
        }
    }

    #[cold]
    fn add_to_overflow(&self, metric: usize, n: u64) {
        if let Some(word) = self.word(OVERFLOW, metric) {
            word.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Sets a gauge. Wait-free.
    #[inline]
    pub fn set(&self, metric: usize, value: u64) {
        if let Some(word) = self.word(OVERFLOW, metric) {
            word.store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn word(&self, lane: u32, metric: usize) -> Option<&'a AtomicU64> {
        debug_assert!(metric < self.stride);
        self.words.get(lane as usize * self.stride + metric)
    }
}

impl core::fmt::Debug for Lanes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Lanes({} lanes)", self.words.len() / self.stride.max(1))
    }
}

/// Adds `n` to a word of the lane that the calling thread holds. Wait-free.
#[inline]
pub fn add_to_own(word: &AtomicU64, n: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// Comes before something is counted that is subtracted from another counter, as stops are from spawns: whoever reads it
/// and then asks [`after_ends`] finds in the other counter whatever this thread knows of. On x86-64 no instruction.
#[inline]
pub fn before_end() {
    fence(Ordering::Release);
}

/// Comes between reading what is subtracted, and reading what that is subtracted from: a difference of counters is never
/// below the truth.
pub fn after_ends() {
    fence(Ordering::Acquire);
}

/// The value of counter `metric`: the sum over the lanes.
pub fn sum(section: Words<'_>, stride: usize, metric: usize) -> u64 {
    (0..section.len() / stride.max(1))
        .fold(0u64, |sum, lane| sum.wrapping_add(section.load(lane * stride + metric)))
}

/// Claims a free lane: a number from 1 on, or `None` if all are held. Acquire, so that the new holder sees the last
/// store of the lane's former holder; with less, counts are lost.
pub fn claim(bitmap: &[AtomicU64]) -> Option<u32> {
    for (index, word) in bitmap.iter().enumerate() {
        let mut held = word.load(Ordering::Relaxed);
        // At most one failure per other claimant or releaser of this word, and never more than its bits.
        for _ in 0..64 {
            let free = (!held).trailing_zeros();
            if free == 64 {
                break;
            }
            match word.compare_exchange(held, held | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(index as u32 * 64 + free + 1),
                Err(now) => held = now,
            }
        }
    }
    None
}

/// Gives a lane back. Release, the other half of [`claim`]'s acquire.
pub fn give_back(bitmap: &[AtomicU64], lane: u32) {
    let Some(bit) = lane.checked_sub(1) else { return };
    if let Some(word) = bitmap.get(bit as usize / 64) {
        word.fetch_and(!(1 << (bit % 64)), Ordering::Release);
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
