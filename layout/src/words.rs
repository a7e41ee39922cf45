//! Words: the only way to look at a region.
//!
//! A region is a slice of 64-bit words. The writer holds them as `&[AtomicU64]`; a reader holds them as [`Words`],
//! which can load and nothing else. All loads and stores of records are relaxed: what orders them is the sequence
//! word of the cell, slot or ring that they belong to.

use core::ops::Range;

use crate::sync::{AtomicU64, Ordering};

/// Bytes in a word.
pub const WORD: usize = 8;

/// A reader's view of some words of a region: relaxed loads, bounds-checked, no stores.
#[derive(Clone, Copy)]
pub struct Words<'a>(&'a [AtomicU64]);

impl<'a> Words<'a> {
    /// Looks at `words` without the right to write them.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The word at `index`, or 0 beyond the end. Callers check lengths when they cut their slice, once.
    pub fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The words `range`, or `None` if they are not all there.
    pub fn slice(&self, range: Range<usize>) -> Option<Words<'a>> {
        self.0.get(range).map(Words)
    }

    /// Copies as many words as both sides have, from the start.
    pub fn copy_to(&self, out: &mut [u64]) {
        for (to, from) in out.iter_mut().zip(self.0) {
            *to = from.load(Ordering::Relaxed);
        }
    }
}

impl core::fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Words({} words)", self.len())
    }
}

/// Stores `record` into the first words of `to`, relaxed; what does not fit is not written.
pub fn store(to: &[AtomicU64], record: &[u64]) {
    for (word, value) in to.iter().zip(record) {
        word.store(*value, Ordering::Relaxed);
    }
}

/// The longest prefix of `text` that has at most `max` bytes and ends between two characters.
pub fn prefix(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_load_beyond_the_end_is_zero_and_not_a_panic() {
        let words = [AtomicU64::new(7)];
        assert_eq!((Words::new(&words).load(0), Words::new(&words).load(1)), (7, 0));
    }

    #[test]
    fn a_slice_that_is_not_all_there_is_none() {
        let words = [AtomicU64::new(7), AtomicU64::new(8)];
        assert!(Words::new(&words).slice(1..3).is_none());
        assert_eq!(Words::new(&words).slice(1..2).map(|w| w.load(0)), Some(8));
    }

    #[test]
    fn a_prefix_never_splits_a_character() {
        assert_eq!(prefix("aé", 2), "a");
        assert_eq!(prefix("aé", 3), "aé");
        assert_eq!(prefix("", 3), "");
    }
}
