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
#[inline]
pub fn store(to: &[AtomicU64], record: &[u64]) {
    // Two at a time: the loop around a store costs as much as it does.
    for (words, values) in to.chunks_exact(2).zip(record.chunks_exact(2)) {
        if let ([one, other], [value, next]) = (words, values) {
            one.store(*value, Ordering::Relaxed);
            other.store(*next, Ordering::Relaxed);
        }
    }
    let last = to.len().min(record.len());
    if let (true, Some(at)) = (last % 2 == 1, last.checked_sub(1)) {
        if let (Some(word), Some(value)) = (to.get(at), record.get(at)) {
            word.store(*value, Ordering::Relaxed);
        }
    }
}

/// The same for a record that comes in two parts, one after the other.
#[inline]
pub fn store_parts<const HEAD_WORDS: usize>(to: &[AtomicU64], head: &[u64; HEAD_WORDS], rest: &[u64]) {
    if let Some((room, after)) = to.split_first_chunk::<HEAD_WORDS>() {
        store(room, head);
        store(after, rest);
    }
}

/// Four 16-bit numbers as a word, the first lowest.
#[inline]
pub const fn quarters(numbers: [u16; 4]) -> u64 {
    let [a, b, c, d] = numbers;
    a as u64 | (b as u64) << 16 | (c as u64) << 32 | (d as u64) << 48
}

/// Two 32-bit numbers as a word, the first lower.
#[inline]
pub const fn halves(lower: u32, upper: u32) -> u64 {
    lower as u64 | (upper as u64) << 32
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
    fn what_does_not_fit_is_not_stored() {
        for (room, record) in (0..6).flat_map(|room| (0..6).map(move |record| (room, record))) {
            let words: Vec<AtomicU64> = (0..room).map(|_| AtomicU64::new(0)).collect();
            let values: Vec<u64> = (1..=record).collect();
            store(&words, &values);
            let stored: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            assert_eq!(
                stored,
                (1..=room as u64).map(|at| if at <= record { at } else { 0 }).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_prefix_never_splits_a_character() {
        assert_eq!(prefix("aé", 2), "a");
        assert_eq!(prefix("aé", 3), "aé");
        assert_eq!(prefix("", 3), "");
    }
}
