//! Words: how a region is accessed.
//!
//! A region is a slice of 64-bit words. The writer holds them as `&[AtomicU64]`; a reader holds them as [`Words`],
//! which can only load. All loads and stores of records are relaxed: the sequence word of the cell, slot or ring that
//! contains the record orders them.
//!
//! ```
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::{self, Words};
//! let memory = [AtomicU64::new(0), AtomicU64::new(0)];
//! words::store(&memory, &[1, 2, 3]); // the third word does not fit and is dropped
//! assert_eq!(Words::new(&memory).load(1), 2);
//! assert_eq!(Words::new(&memory).load(9), 0); // beyond the end
//! ```

use core::ops::Range;

use crate::sync::{AtomicU64, Ordering};

/// Bytes in a word.
pub const WORD: usize = 8;

/// A reader's view of some words of a region: relaxed loads, bounds-checked, no stores.
#[derive(Clone, Copy)]
pub struct Words<'a>(&'a [AtomicU64]);

impl<'a> Words<'a> {
    /// A read-only view of `words`.
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

    /// The word at `index`, or 0 beyond the end. Callers check the length once, in [`Self::slice`].
    pub fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The words of `range`, or `None` if the range ends beyond the last word.
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

/// Stores `record` into the first words of `to`, relaxed. Words that do not fit are dropped.
#[inline]
pub fn store(to: &[AtomicU64], record: &[u64]) {
    // Two words per turn: the loop around a store costs as much as the store.
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

/// As [`store`], for a record in two parts that follow each other.
#[inline]
pub fn store_parts<const HEAD_WORDS: usize>(to: &[AtomicU64], head: &[u64; HEAD_WORDS], rest: &[u64]) {
    if let Some((first, after)) = to.split_first_chunk::<HEAD_WORDS>() {
        store(first, head);
        store(after, rest);
    }
}

/// Stores a text into the first words of `to`, padded with zeros to a whole word. Bytes that do not fit are dropped.
#[inline]
pub fn store_text(to: &[AtomicU64], text: &str) {
    let mut chunks = text.as_bytes().chunks_exact(WORD);
    let mut words = to.iter();
    for (chunk, word) in chunks.by_ref().zip(words.by_ref()) {
        if let Some(chunk) = chunk.first_chunk() {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
    }
    if let (false, Some(word)) = (chunks.remainder().is_empty(), words.next()) {
        word.store(short(chunks.remainder()), Ordering::Relaxed);
    }
}

/// Fewer than eight bytes as a word.
#[inline]
pub fn short(bytes: &[u8]) -> u64 {
    let at = |index: usize| bytes.get(index).map_or(0, |byte| u64::from(*byte) << (8 * index));
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The two halves may overlap; overlapping bytes are equal.
        (Some(first), Some(last)) => {
            let last = u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4));
            u64::from(u32::from_le_bytes(*first)) | last
        }
        _ => at(0) | at(1) | at(2),
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

/// The longest prefix of `text` of at most `max` bytes that splits no character.
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
        for (count, record) in (0..6).flat_map(|count| (0..6).map(move |record| (count, record))) {
            let words: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
            let values: Vec<u64> = (1..=record).collect();
            store(&words, &values);
            let stored: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
            assert_eq!(
                stored,
                (1..=count as u64).map(|at| if at <= record { at } else { 0 }).collect::<Vec<_>>()
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
