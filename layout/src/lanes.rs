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
use crate::view::WriterMemory;
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

/// The lanes, or one metric of them, with the memory that they stand in. A handle keeps them, so that each addition need
/// not work out where they start.
#[derive(Debug, Clone)]
pub struct LaneMemory {
    memory: WriterMemory,
    stride: usize,
}

impl LaneMemory {
    /// The lanes that stand in the words `start` to `start + count * stride` of `memory`. If the memory ends before, there
    /// are no lanes, and what is counted is dropped.
    pub fn new(memory: &WriterMemory, start: usize, count: usize, stride: usize) -> Self {
        let memory = memory.part(start..start + count * stride).unwrap_or_else(WriterMemory::none);
        Self { memory, stride }
    }

    /// One metric of the lanes, as metric 0 of the result.
    pub fn only(&self, metric: usize) -> Self {
        // In the last lane it ends with this metric, so that a lane which the region does not have is beyond its end.
        let words = self.memory.words().len();
        let end = words.saturating_sub(self.stride) + metric + 1;
        let memory = if metric < self.stride { self.memory.part(metric..end) } else { None };
        Self { memory: memory.unwrap_or_else(WriterMemory::none), stride: self.stride }
    }

    /// Nothing: what is counted is dropped.
    pub fn none() -> Self {
        Self { memory: WriterMemory::none(), stride: 1 }
    }

    /// The lanes.
    #[inline]
    pub fn lanes(&self) -> Lanes<'_> {
        Lanes::new(self.memory.words(), self.stride)
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

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::words::WORD;

    #[test]
    fn one_metric_of_the_lanes_counts_where_the_whole_section_does() {
        let memory = WriterMemory::private(72 * WORD).unwrap();
        let whole = LaneMemory::new(&memory, 8, 3, 16);
        for metric in [0, 5, 15] {
            let only = whole.only(metric);
            for (lane, n) in [(OVERFLOW, 1), (1, 10), (2, 100)] {
                only.lanes().add(lane, 0, n);
                let word = whole.lanes().word(lane as usize, metric).unwrap();
                assert_eq!(
                    (word.load(Ordering::Relaxed), only.lanes().word(lane as usize, 0).is_some()),
                    (n, true)
                );
            }
            // A lane that the region does not have is none of the next section's words.
            assert!(only.lanes().word(3, 0).is_none() && whole.lanes().word(3, metric).is_none());
            only.lanes().add(3, 0, 1000);
            let section = whole.memory.reader();
            assert_eq!(sum(section, 16, metric), 1111);
        }
        assert!((56..72).all(|word| memory.reader().load(word) == 0));
    }

    #[test]
    fn lanes_that_are_beyond_the_memory_drop_what_is_counted() {
        let memory = WriterMemory::private(31 * WORD).unwrap();
        let none = LaneMemory::new(&memory, 0, 2, 16);
        for lanes in [&none, &none.only(3), &LaneMemory::new(&memory, 0, 1, 16).only(16), &LaneMemory::none()]
        {
            assert!(lanes.lanes().word(0, 0).is_none());
            lanes.lanes().add(1, 0, 1);
            lanes.lanes().set(0, 1);
        }
        assert!((0..31).all(|word| memory.reader().load(word) == 0));
    }
}
