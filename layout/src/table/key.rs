//! The key of an entry.

/// 128-bit hash of a path, or of an instance. Two numbers and no array, so that it travels in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64, pub u64);

impl Key {
    /// Both words, as records hold them.
    #[inline]
    pub fn words(self) -> [u64; 2] {
        [self.0, self.1]
    }
}

impl From<[u64; 2]> for Key {
    #[inline]
    fn from([first, second]: [u64; 2]) -> Self {
        Self(first, second)
    }
}

impl core::fmt::Display for Key {
    /// 32 hex digits.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}
