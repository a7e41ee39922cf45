//! Bytes that are packed into words.

use crate::sync::{AtomicU64, Ordering};
use crate::words::{WORD, short};

/// From so many bytes on, they are stored with the widest registers.
#[cfg(not(atomscope_loom))]
const LONG: usize = 128;

/// Bytes that become words: each word is stored once, and in these the bytes between what is put are zero. See [`pack`].
///
/// ```
/// use atomscope_layout::sync::{AtomicU64, Ordering};
/// use atomscope_layout::packing::pack;
/// let memory = [const { AtomicU64::new(u64::MAX) }; 2];
/// pack(&memory, |bytes| {
///     bytes.put(0, &[1, 2]);
///     bytes.put(4, &[3, 0, 0, 0, 4]);
/// });
/// assert_eq!(memory.map(|word| word.load(Ordering::Relaxed)), [0x3_0000_0201, 4]);
/// ```
#[derive(Debug)]
pub struct Packing<'a> {
    to: &'a [AtomicU64],
    /// The number of the next word to store.
    word: usize,
    /// Its first bytes, and how many these are: fewer than a word has.
    begun: u64,
    bytes: usize,
}

/// Packs bytes from the start of these words on. A reader may find a word half stored, so the record's sequence must tell it that
/// the record is not whole.
#[inline(always)]
pub fn pack(to: &[AtomicU64], pack: impl FnOnce(&mut Packing<'_>)) {
    let mut packing = Packing { to, word: 0, begun: 0, bytes: 0 };
    pack(&mut packing);
    packing.store_begun();
}

impl Packing<'_> {
    /// Puts bytes at an offset, which is not below the end of those before. What does not fit is dropped.
    #[inline(always)]
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        if offset / WORD != self.word {
            self.store_begun();
            self.word = offset / WORD;
        }
        let mut bytes = bytes;
        let at = offset % WORD;
        if at != 0 {
            let (head, rest) = bytes.split_at_checked(WORD - at).unwrap_or((bytes, &[]));
            self.begun |= short(head) << (8 * at);
            self.bytes = at + head.len();
            if self.bytes < WORD {
                return;
            }
            self.store_begun();
            self.word += 1;
            bytes = rest;
        }
        store_bytes(self.to.get(self.word..).unwrap_or_default(), bytes);
        self.word += bytes.len() / WORD;
        let rest = bytes.chunks_exact(WORD).remainder();
        (self.begun, self.bytes) = (short(rest), rest.len());
    }

    #[inline(always)]
    fn store_begun(&mut self) {
        if let (1.., Some(word)) = (self.bytes, self.to.get(self.word)) {
            word.store(self.begun, Ordering::Relaxed);
        }
        (self.begun, self.bytes) = (0, 0);
    }
}

/// Stores the whole words of these bytes. Words that do not fit are dropped.
#[inline(always)]
fn store_bytes(to: &[AtomicU64], bytes: &[u8]) {
    #[cfg(not(atomscope_loom))]
    if bytes.len() >= LONG {
        return crate::view::store(to, bytes);
    }
    for (word, value) in to.iter().zip(bytes.chunks_exact(WORD)) {
        word.store(value.first_chunk().map_or(0, |value| u64::from_le_bytes(*value)), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_packed_at_their_offsets_with_zeros_between_and_behind() {
        let bytes: Vec<u8> = (1..=200).collect();
        for (first, gap, second) in (1..19).flat_map(|first| {
            (0..9).flat_map(move |gap| [1, 7, 8, 9, 127, 128, 135, 168].map(|second| (first, gap, second)))
        }) {
            let memory = [const { AtomicU64::new(u64::MAX) }; 26];
            let mut expected = vec![0; first + gap + second];
            expected[..first].copy_from_slice(&bytes[..first]);
            expected[first + gap..].copy_from_slice(&bytes[..second]);
            pack(&memory, |to| {
                to.put(0, &bytes[..first]);
                to.put(first + gap, &bytes[..second]);
            });
            let stored: Vec<u8> =
                memory.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
            // A word of which no byte is put is not stored. No struct has one, since its padding is shorter.
            let jumped = first.next_multiple_of(WORD)..(first + gap) / WORD * WORD;
            let kept = |at: &usize| !jumped.contains(at);
            let all = (0..expected.len()).filter(kept).all(|at| stored[at] == expected[at]);
            assert!(all, "{first} {gap} {second}: {stored:?}");
            let end = expected.len();
            assert!(
                stored[end.next_multiple_of(WORD)..].iter().all(|byte| *byte == 0xff),
                "{first} {gap} {second}"
            );
        }
    }

    #[test]
    fn bytes_that_do_not_fit_are_not_stored() {
        for (count, bytes) in (0..40).flat_map(|count| [0, 8, 129, 256, 320].map(|bytes| (count, bytes))) {
            let memory: Vec<AtomicU64> = (0..count + 1).map(|_| AtomicU64::new(0)).collect();
            pack(&memory[..count], |to| to.put(0, &vec![7; bytes]));
            let stored = memory.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count();
            assert_eq!(stored, count.min(bytes.div_ceil(WORD)));
            assert_eq!(memory[count].load(Ordering::Relaxed), 0);
        }
    }
}
