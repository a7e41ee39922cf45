//! Counter lanes: a thread counts in its own lane, without a locked instruction.
//!
//! ```text
//!              metric 0   metric 1   …           each lane starts on its own 128 bytes
//!   lane 0   [ overflow ][ overflow ]            any thread: fetch_add
//!   lane 1   [          ][          ]            the one thread that holds lane 1: load + store
//!   …
//! ```
//! The value of a counter is its sum over all lanes. Lane numbers are process-wide (one bitmap), so that one thread-local
//! serves every region; a region with fewer lanes uses the overflow lane for higher numbers. A lane that is given back
//! keeps its values, and the next holder adds to them, so sums never decrease. A gauge uses only the overflow lane.
//!
//! ```
//! use atomscope_layout::lanes::{self, Lanes, OVERFLOW};
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let section = [const { AtomicU64::new(0) }; 32]; // two lanes of 16 metrics
//! let lanes = Lanes::new(&section, 16);
//! lanes.add(OVERFLOW, 5, 1);
//! lanes.add(1, 5, 2); // only the thread that holds lane 1 may do this
//! assert_eq!(lanes::sum(Words::new(&section), 16, 5), 3);
//! ```

use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::Words;

/// The lane that all threads share.
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

    /// Adds `n` to `metric`. `lane` must be [`OVERFLOW`] or held by the calling thread; a lane that this region does not
    /// have counts as [`OVERFLOW`]. Wait-free: a load and a store in an own lane, a locked add in the shared one.
    #[inline]
    pub fn add(&self, lane: u32, metric: usize, n: u64) {
        match self.word(lane as usize, metric) {
            Some(word) if lane != OVERFLOW => add_to_own(word, n),
            _ => self.add_to_overflow(metric, n),
        }
    }

    #[cold]
    fn add_to_overflow(&self, metric: usize, n: u64) {
        if let Some(word) = self.words.get(metric) {
            word.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Sets a gauge. Wait-free.
    #[inline]
    pub fn set(&self, metric: usize, value: u64) {
        if let Some(word) = self.words.get(metric) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The word of `metric` in a lane, for [`add_to_own`] by the thread that holds the lane. `None` if this region does not
    /// have the lane: `metric` must be one of the lane's, so one comparison shows it.
    #[inline]
    pub fn word(&self, lane: usize, metric: usize) -> Option<&'a AtomicU64> {
        debug_assert!(metric < self.stride);
        self.words.get(lane * self.stride + metric)
    }
}

impl core::fmt::Debug for Lanes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Lanes({} lanes)", self.words.len() / self.stride.max(1))
    }
}

/// Adds `n` to a word of the lane that the calling thread holds. Wait-free: a load and a store.
#[inline]
pub fn add_to_own(word: &AtomicU64, n: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

/// A release fence, for a writer: call it before counting what readers subtract from another counter, as they subtract
/// stops from spawns. A reader that reads the subtracted counter first, then calls [`after_ends`], then reads the other
/// counter, never gets a difference that is too small. On x86-64 it is no instruction.
#[inline]
pub fn before_end() {
    fence(Ordering::Release);
}

/// An acquire fence, for a reader: call it after reading the subtracted counters and before reading the counters that
/// these are subtracted from. The other half of [`before_end`].
pub fn after_ends() {
    fence(Ordering::Acquire);
}

/// The value of counter `metric`: its sum over all lanes.
pub fn sum(section: Words<'_>, stride: usize, metric: usize) -> u64 {
    (0..section.len() / stride.max(1))
        .fold(0u64, |sum, lane| sum.wrapping_add(section.load(lane * stride + metric)))
}

/// Claims a free lane: a number from 1 on, or `None` if all are held. It is an acquire operation: the new holder must see
/// the last stores of the former holder, else counts are lost.
pub fn claim(bitmap: &[AtomicU64]) -> Option<u32> {
    for (index, word) in bitmap.iter().enumerate() {
        let mut held = word.load(Ordering::Relaxed);
        // Each failure means that another thread claimed or gave back a lane of this word.
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

/// Gives a lane back. It is a release operation, the other half of [`claim`].
pub fn give_back(bitmap: &[AtomicU64], lane: u32) {
    let Some(bit) = lane.checked_sub(1) else { return };
    if let Some(word) = bitmap.get(bit as usize / 64) {
        word.fetch_and(!(1 << (bit % 64)), Ordering::Release);
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
