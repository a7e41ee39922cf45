//! From memory to words: the only unsafe code of this crate.
//!
//! A [`WriterMemory`] gives words that can be stored to, a [`ReaderMemory`] words that can only be loaded. They are
//! different types, and neither turns into the other.
#![allow(unsafe_code, reason = "memory that other processes share cannot be named in safe Rust")]

use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::any::Any;

use crate::sync::AtomicU64;
use crate::words::{WORD, Words};

/// Words, and what keeps them in place.
struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
    _keeper: Box<dyn Any + Send + Sync>,
}

// SAFETY: `start` points to `words` atomics that stay valid as long as `_keeper`, which moves along and is itself Send;
// atomics may be used and let go of on any thread.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives access to the atomics only, which any number of threads may use at a time; nobody gets
// at `_keeper` through it, which is itself Sync.
unsafe impl Sync for Memory {}

impl Memory {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: by the constructors' contracts `start` is non-null and aligned for atomics (where there are none, it is
        // dangling, which is as good), and for as long as `self` lives valid for reads of `words` atomics that lie in one
        // mapping or allocation, which cannot be longer than `isize::MAX` bytes or wrap around. Their bytes are
        // initialised (zeroed, or a file's), and any bytes are a valid atomic. Whatever changes them meanwhile lies in
        // the `UnsafeCell` of an atomic, and does so atomically. The slice's lifetime is that of `self`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

/// A zeroed allocation that is given back when dropped.
struct Zeroed {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its allocation and does nothing with it but free it, which may happen on any thread.
unsafe impl Send for Zeroed {}
// SAFETY: a shared reference allows nothing.
unsafe impl Sync for Zeroed {}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: `start` was allocated by the same global allocator with exactly this layout, and is freed once, here;
        // nothing uses it any more, as this is the keeper of the only `Memory` that has it.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

fn private(bytes: usize) -> Option<Memory> {
    let words = bytes.div_ceil(WORD).max(1);
    // No stricter alignment than an atomic's: the allocator would clear memory itself for that, and so touch it all.
    let layout = Layout::from_size_align(words.checked_mul(WORD)?, align_of::<AtomicU64>()).ok()?;
    // SAFETY: the layout's size is not zero: it is that of one word at least.
    let start = unsafe { alloc_zeroed(layout) };
    let start = NonNull::new(start)?;
    // Zeroed bytes are valid atomics; the start is aligned for them; the keeper frees it no sooner than `Memory` is gone.
    Some(Memory { start: start.cast(), words, _keeper: Box::new(Zeroed { start, layout }) })
}

/// No words at all.
fn nothing() -> Memory {
    Memory { start: NonNull::dangling(), words: 0, _keeper: Box::new(()) }
}

/// The writer's memory.
pub struct WriterMemory(Memory);

impl WriterMemory {
    /// Private memory: zeroed, and touched by nobody until it is written. `None` if there is not so much.
    pub fn private(bytes: usize) -> Option<Self> {
        private(bytes).map(Self)
    }

    /// No memory: whatever is recorded there is lost.
    pub fn none() -> Self {
        Self(nothing())
    }

    /// Memory that `keeper` keeps mapped.
    ///
    /// # Safety
    /// `start` is aligned to 8 bytes and valid for reads and writes of `bytes` bytes until `keeper` is dropped, even if
    /// it is moved; nothing in this process accesses them other than as 64-bit atomics.
    pub unsafe fn mapped(start: NonNull<u8>, bytes: usize, keeper: impl Any + Send + Sync) -> Self {
        Self(Memory { start: start.cast(), words: bytes / WORD, _keeper: Box::new(keeper) })
    }

    /// The words, for the writer.
    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        self.0.words()
    }

    /// The words, for a reader in the same process.
    pub fn reader(&self) -> Words<'_> {
        Words::new(self.0.words())
    }
}

/// A reader's memory: a read-only mapping, or a copy.
pub struct ReaderMemory(Memory);

impl ReaderMemory {
    /// A copy of `bytes`; a last incomplete word is dropped.
    pub fn copied(bytes: &[u8]) -> Self {
        let Some(memory) = private(bytes.len() / WORD * WORD) else {
            handle_alloc_error(Layout::for_value(bytes));
        };
        for (word, from) in memory.words().iter().zip(bytes.chunks_exact(WORD)) {
            let mut value = [0; WORD];
            value.copy_from_slice(from);
            word.store(u64::from_le_bytes(value), core::sync::atomic::Ordering::Relaxed);
        }
        Self(Memory { words: bytes.len() / WORD, ..memory })
    }

    /// A mapping that `keeper` keeps in place.
    ///
    /// # Safety
    /// `start` is aligned to 8 bytes and valid for reads of `bytes` bytes until `keeper` is dropped, even if it is
    /// moved; whoever else changes them does so with atomic stores or from another process.
    pub unsafe fn mapped(start: NonNull<u8>, bytes: usize, keeper: impl Any + Send + Sync) -> Self {
        Self(Memory { start: start.cast(), words: bytes / WORD, _keeper: Box::new(keeper) })
    }

    /// The words. (Loads only: relaxed 64-bit atomic loads are fine on memory that may not be written.)
    pub fn words(&self) -> Words<'_> {
        Words::new(self.0.words())
    }
}

impl core::fmt::Debug for WriterMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "WriterMemory({} words)", self.0.words)
    }
}

impl core::fmt::Debug for ReaderMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ReaderMemory({} words)", self.0.words)
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn private_memory_starts_as_zero_and_holds_what_is_stored() {
        let memory = WriterMemory::private(100).unwrap();
        assert_eq!(memory.words().len(), 13);
        assert!((0..13).all(|i| memory.reader().load(i) == 0));
        memory.words()[12].store(5, core::sync::atomic::Ordering::Relaxed);
        assert_eq!(memory.reader().load(12), 5);
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn private_memory_takes_only_what_is_touched() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let memory = WriterMemory::private(1 << 30).unwrap();
        memory.words()[0].store(1, core::sync::atomic::Ordering::Relaxed);
        assert!(resident() < before + (1 << 28));
    }

    #[test]
    fn a_copy_drops_the_last_incomplete_word() {
        let memory = ReaderMemory::copied(&[1, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!((memory.words().len(), memory.words().load(0)), (1, 1));
        assert!(ReaderMemory::copied(&[]).words().is_empty());
    }
}
