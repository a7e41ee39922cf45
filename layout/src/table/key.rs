//! The key of an entry.

/// 128-bit hash of a path, or of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u64; 2]);

impl core::fmt::Display for Key {
    /// 32 hex digits.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}
