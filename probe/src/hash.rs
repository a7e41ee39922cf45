//! The hash that identifies a path: 128 bits, with keys that no other process knows.
//!
//! A text is hashed in *segments*, which stand between its slashes. A segment is a sequence of blocks of two words x, y. All
//! but the last are whole: sixteen bytes of its text. The last one has the other bytes and says how many they are:
//! ```text
//!   0 to 7 bytes:    x = the bytes and zeros    y = eight slashes + the number of bytes
//!   8 to 15 bytes:   x = the first 8 bytes      y = the other bytes, a slash, and zeros
//!
//!   lanes a, b ← keys 0, 1
//!   for each block:   a ← fold(a ⊕ x, key 2 ⊕ y)   b ← fold(b ⊕ y, key 3 ⊕ x)
//!   at the end:       fold(a ⊕ key 1, b ⊕ key 3), fold(b ⊕ key 0, a ⊕ key 2)
//!
//!   fold(p, q): the two halves of the 128-bit product p · q, xored
//! ```
//! So a path is hashed element by element, without joining its text, and the lanes before the last element are those of
//! its parent.
//!
//! A fold needs one multiplication; SipHash needs some sixty instructions for sixteen bytes. The attacker is a peer that
//! chooses actor names and never sees a hash. The text of a segment contains no slash, so a whole block has none, a last
//! one of the second kind has one, and one of the first kind has seven or eight in y. Different texts therefore have
//! different blocks, or one has further blocks after those of the other. Without the keys the attacker
//! cannot make a factor zero or equal to another, nor choose a block after which a lane is as it was before. So two texts
//! collide in one lane with a probability of about 2⁻⁶⁴. A collision in both lanes would show two actors as one.

use atomscope_layout::table::Key;

/// A hasher with its own keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathHasher {
    keys: [u64; 4],
    /// The lanes after `akka://`, with which the path of every local actor begins.
    #[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "paths come from atomr"))]
    of_local: Lanes,
}

/// Eight slashes.
pub(crate) const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);

/// The state of a hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lanes {
    a: u64,
    b: u64,
}

#[inline]
fn fold(p: u64, q: u64) -> u64 {
    let product = u128::from(p) * u128::from(q);
    product as u64 ^ (product >> 64) as u64
}

impl PathHasher {
    /// A hasher with new random keys.
    pub(crate) fn new() -> Self {
        // The standard library's own source of per-map keys.
        let keys = [(); 4].map(|()| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
        let of_local = Lanes { a: keys[0], b: keys[1] };
        let hasher = Self { keys, of_local };
        let of_protocol = hasher.short_end(hasher.start(), u64::from_le_bytes(*b"akka:\0\0\0"), 5);
        Self { of_local: hasher.short_end(of_protocol, 0, 0), ..hasher }
    }

    #[inline]
    pub(crate) fn start(self) -> Lanes {
        Lanes { a: self.keys[0], b: self.keys[1] }
    }

    /// The lanes after the two segments of `akka://`.
    #[cfg(feature = "atomr")]
    #[inline]
    pub(crate) fn start_of_local(self) -> Lanes {
        self.of_local
    }

    #[inline(always)]
    pub(crate) fn block(self, lanes: Lanes, x: u64, y: u64) -> Lanes {
        let [.., third, fourth] = self.keys;
        Lanes { a: fold(lanes.a ^ x, third ^ y), b: fold(lanes.b ^ y, fourth ^ x) }
    }

    /// Adds the end of a segment: at most 7 bytes, in a word that is padded with zeros.
    #[inline(always)]
    pub(crate) fn short_end(self, lanes: Lanes, word: u64, bytes: usize) -> Lanes {
        self.block(lanes, word, SLASHES + bytes as u64)
    }

    /// Adds the end of a segment: 8 to 15 bytes, of which these are the first and the last eight.
    #[inline(always)]
    pub(crate) fn end(self, lanes: Lanes, first: u64, last: u64, bytes: usize) -> Lanes {
        let over = 8 * (bytes - 8);
        // In two steps, because a shift by 64 is not allowed.
        self.block(lanes, first, last >> 8 >> (56 - over) | u64::from(b'/') << over)
    }

    /// The key of the text whose blocks were added.
    #[inline]
    pub(crate) fn finish(self, lanes: Lanes) -> Key {
        let (Lanes { a, b }, k) = (lanes, self.keys);
        Key(fold(a ^ k[1], b ^ k[3]), fold(b ^ k[0], a ^ k[2]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(hasher: PathHasher, text: &str) -> Key {
        hasher.key(text)
    }

    #[test]
    fn texts_that_differ_a_little_differ_in_each_half_and_in_the_tag() {
        let hasher = PathHasher::new();
        let texts: Vec<String> = (0..100_000).map(|n| format!("akka://shop/user/orders/{n}")).collect();
        let keys: Vec<Key> = texts.iter().map(|text| key(hasher, text)).collect();
        for half in 0..2 {
            assert_eq!(keys.iter().map(|key| key.words()[half]).collect::<HashSet<_>>().len(), texts.len());
            // Of 100,000 random 20-bit numbers some 95,000 are different.
            let tags: HashSet<u64> = keys.iter().map(|key| key.words()[half] & 0xf_ffff).collect();
            assert!((94_000..97_000).contains(&tags.len()), "{}", tags.len());
            for bit in 0..64 {
                let ones = keys.iter().filter(|key| key.words()[half] >> bit & 1 == 1).count();
                assert!((49_000..51_000).contains(&ones), "bit {bit} of half {half}: {ones} ones");
            }
        }
    }

    #[test]
    fn each_bit_of_a_text_changes_about_half_of_the_hash() {
        let hasher = PathHasher::new();
        for words in 1..8usize {
            let of = |text: &[u64]| {
                let pairs = text.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or(0)));
                let lanes = pairs.fold(hasher.start(), |lanes, (x, y)| hasher.block(lanes, x, y));
                hasher.finish(lanes)
            };
            let text: Vec<u64> = (0..words as u64).map(|at| at * 0x2f72_6564_726f).collect();
            let mut flips = 0;
            for bit in 0..words * 64 {
                let mut other = text.clone();
                other[bit / 64] ^= 1 << (bit % 64);
                let (one, two) = (of(&text), of(&other));
                flips += (one.0 ^ two.0).count_ones() + (one.1 ^ two.1).count_ones();
            }
            let mean = f64::from(flips) / (words * 64) as f64;
            assert!((58.0..70.0).contains(&mean), "{words} words: {mean} of 128 bits");
        }
    }

    #[test]
    fn a_text_and_the_same_with_zeros_after_it_are_two() {
        let hasher = PathHasher::new();
        assert_ne!(key(hasher, "a"), key(hasher, "a\0"));
        assert_ne!(key(hasher, ""), key(hasher, "\0"));
        assert_ne!(key(hasher, "a"), key(PathHasher::new(), "a"), "another hasher has other keys");
    }
}
