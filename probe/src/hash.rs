//! The hash that identifies a path: 128 bits, with keys that no other process knows.
//!
//! ```text
//!   lanes a, b ← keys 0, 1
//!   for each two words x, y of the text, zero-padded:   a ← fold(a ⊕ x, key 2 ⊕ y)   b ← fold(b ⊕ y, key 3 ⊕ x)
//!   at the end, with the text's length:                 fold(a ⊕ key 1, b ⊕ length ⊕ key 3), fold(b ⊕ key 0, a ⊕ length ⊕ key 2)
//!
//!   fold(p, q): the two halves of the 128-bit product p · q, xored
//! ```
//! It needs two multiplications for sixteen bytes; SipHash needs some sixty instructions. The attacker is a peer that chooses
//! actor names and never sees a hash. Without the keys it cannot make a factor zero or equal to another, so two texts
//! collide in one lane with a probability of about 2⁻⁶⁴. A collision in both lanes would show two actors as one.

use atomscope_layout::table::Key;

/// A hasher with its own keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathHasher([u64; 4]);

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
        Self([(); 4].map(|()| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0)))
    }

    #[inline]
    pub(crate) fn start(self) -> Lanes {
        Lanes { a: self.0[0], b: self.0[1] }
    }

    /// Adds the next two words.
    #[inline]
    pub(crate) fn block(self, lanes: Lanes, x: u64, y: u64) -> Lanes {
        Lanes { a: fold(lanes.a ^ x, self.0[2] ^ y), b: fold(lanes.b ^ y, self.0[3] ^ x) }
    }

    /// The key of a text of `bytes` bytes.
    #[inline]
    pub(crate) fn end(self, lanes: Lanes, bytes: usize) -> Key {
        let (Lanes { a, b }, bytes, k) = (lanes, bytes as u64, self.0);
        Key([fold(a ^ k[1], b ^ bytes ^ k[3]), fold(b ^ k[0], a ^ bytes ^ k[2])])
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
            assert_eq!(keys.iter().map(|key| key.0[half]).collect::<HashSet<_>>().len(), texts.len());
            // Of 100,000 random 20-bit numbers some 95,000 are different.
            let tags: HashSet<u64> = keys.iter().map(|key| key.0[half] & 0xf_ffff).collect();
            assert!((94_000..97_000).contains(&tags.len()), "{}", tags.len());
            for bit in 0..64 {
                let ones = keys.iter().filter(|key| key.0[half] >> bit & 1 == 1).count();
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
                hasher.end(lanes, text.len() * 8)
            };
            let text: Vec<u64> = (0..words as u64).map(|at| at * 0x2f72_6564_726f).collect();
            let mut flips = 0;
            for bit in 0..words * 64 {
                let mut other = text.clone();
                other[bit / 64] ^= 1 << (bit % 64);
                let (one, two) = (of(&text), of(&other));
                flips += (one.0[0] ^ two.0[0]).count_ones() + (one.0[1] ^ two.0[1]).count_ones();
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
