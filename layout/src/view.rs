//! From memory to words: the only unsafe code of this crate.
//!
//! A [`WriterMemory`] gives words that can be stored to, a [`ReaderMemory`] gives words that can only be loaded. No
//! conversion between the two types exists.
//!
//! ```
//! use atomscope_layout::view::ReaderMemory;
//! let memory = ReaderMemory::copied(&[7, 0, 0, 0, 0, 0, 0, 0]);
//! assert_eq!(memory.words().load(0), 7);
//! ```
#![allow(unsafe_code, reason = "memory that other processes share cannot be named in safe Rust")]

use core::ops::Range;
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::any::Any;
use std::sync::Arc;

use crate::sync::{AtomicU64, Ordering};
use crate::words::{WORD, Words};

/// Asks the processor to load the line of this word into its cache. It is a hint: nothing is read. Nothing happens on other
/// processors than x86-64.
#[inline(always)]
pub fn prefetch(word: &AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY:
    // - the instruction is part of SSE, which every x86-64 processor has;
    // - it accesses no memory in the sense of the language, and so any address is allowed.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
            core::ptr::from_ref(word).cast(),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = word;
}

/// Stores the whole words of these bytes, with wider registers where the processor has them. A reader may find a word half
/// stored, so these are for records whose sequence tells it. Words that do not fit are dropped.
#[inline(always)]
pub(crate) fn store(to: &[AtomicU64], bytes: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(atomscope_loom)))]
    let stored = {
        const { assert!(size_of::<AtomicU64>() == WORD) };
        let turns = to.len().min(bytes.len() / WORD) / 4;
        if turns > 0 {
            // SAFETY:
            // - the loop reads and writes `turns * 32` bytes from the starts of `bytes` and `to`, and both have as many, since
            //   an atomic has the size of a word (asserted above);
            // - `bytes` are initialised and nobody changes them meanwhile; `to` are atomics, which any thread may store to
            //   through a shared reference;
            // - to other threads and processes it is as relaxed stores of the words' bytes: the processor may split a store. Whoever
            //   reads such a word knows by the sequence of its record that it is not whole, and drops it. Stores before the
            //   block and behind it are not passed by it, since this processor never reorders stores, and the compiler takes
            //   the block for one that may access any memory;
            // - the instructions are part of SSE2, which every x86-64 processor has, and need no alignment;
            // - no stack is used, the flags are declared as changed, and so are all registers.
            unsafe {
                core::arch::asm!(
                    "2:",
                    "movups {a}, xmmword ptr [{from} + {at}]",
                    "movups {b}, xmmword ptr [{from} + {at} + 16]",
                    "movups xmmword ptr [{to} + {at}], {a}",
                    "movups xmmword ptr [{to} + {at} + 16], {b}",
                    "add {at}, 32",
                    "cmp {at}, {end}",
                    "jb 2b",
                    from = in(reg) bytes.as_ptr(),
                    to = in(reg) to.as_ptr(),
                    end = in(reg) turns * 32,
                    at = inout(reg) 0usize => _,
                    a = out(xmm_reg) _,
                    b = out(xmm_reg) _,
                    options(nostack),
                );
            }
        }
        turns * 4
    };
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(atomscope_loom))))]
    let stored = 0;
    let rest = bytes.get(stored * WORD..).unwrap_or_default().chunks_exact(WORD);
    for (word, value) in to.iter().skip(stored).zip(rest) {
        word.store(value.first_chunk().map_or(0, |value| u64::from_le_bytes(*value)), Ordering::Relaxed);
    }
}

/// Words, and the keeper that keeps them valid.
#[derive(Clone)]
struct Memory {
    start: NonNull<AtomicU64>,
    words: usize,
    keeper: Arc<dyn Any + Send + Sync>,
}

// SAFETY: `start` points to `words` atomics that stay valid as long as `keeper`, which stays at its place. It is itself
// Send and Sync, so that its last owner may be any thread. Any thread may use atomics and drop the keeper.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives access to the atomics only, and any number of threads may use atomics at a time. It
// gives no access to `keeper`, and the keeper is itself Sync.
unsafe impl Sync for Memory {}

impl Memory {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: by the contracts of the constructors,
        // - `start` is non-null and aligned for atomics (with zero words it is dangling, which is allowed);
        // - `words` atomics are valid for reads as long as `self` lives, in one mapping or allocation, which is never
        //   longer than `isize::MAX` bytes and never wraps around;
        // - their bytes are initialised (zeroed, or a file's), and any bytes are a valid atomic;
        // - other threads and processes change them only atomically, inside the `UnsafeCell` of an atomic;
        // - the slice lives no longer than `self`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

/// A zeroed allocation, freed on drop.
struct Zeroed {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its allocation and only frees it, which may happen on any thread.
unsafe impl Send for Zeroed {}
// SAFETY: a shared reference allows nothing.
unsafe impl Sync for Zeroed {}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: the same global allocator allocated `start` with exactly this layout. It is freed once, here. Nothing
        // uses it any more, because every `Memory` that points to it owns this keeper.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

fn private(bytes: usize) -> Option<Memory> {
    let words = bytes.div_ceil(WORD).max(1);
    // Alignment of an atomic and not more: for a stricter one the allocator clears the memory itself, and so touches all
    // of it.
    let layout = Layout::from_size_align(words.checked_mul(WORD)?, align_of::<AtomicU64>()).ok()?;
    // SAFETY: the layout's size is not zero: it is at least one word.
    let start = unsafe { alloc_zeroed(layout) };
    let start = NonNull::new(start)?;
    // Zeroed bytes are valid atomics, `start` is aligned for them, and the keeper frees them only when `Memory` drops.
    Some(Memory { start: start.cast(), words, keeper: Arc::new(Zeroed { start, layout }) })
}

/// Memory of zero words.
fn nothing() -> Memory {
    Memory { start: NonNull::dangling(), words: 0, keeper: Arc::new(()) }
}

/// The writer's memory. Its clones and parts are the same memory.
#[derive(Clone)]
pub struct WriterMemory(Memory);

impl WriterMemory {
    /// Private memory of this process: zeroed, and not resident until it is written. `None` if the allocation fails.
    pub fn private(bytes: usize) -> Option<Self> {
        private(bytes).map(Self)
    }

    /// No memory: every store through it is dropped.
    pub fn none() -> Self {
        Self(nothing())
    }

    /// Memory that `keeper` keeps mapped.
    ///
    /// # Safety
    /// `start` is aligned to 8 bytes, and valid for reads and writes of `bytes` bytes until `keeper` is dropped, even
    /// after `keeper` was moved. This process accesses these bytes only as 64-bit atomics.
    pub unsafe fn mapped(start: NonNull<u8>, bytes: usize, keeper: impl Any + Send + Sync) -> Self {
        Self(Memory { start: start.cast(), words: bytes / WORD, keeper: Arc::new(keeper) })
    }

    /// The words of `range` alone. They keep the whole memory valid. `None` if the range ends beyond the last word.
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        let part = self.words().get(range)?;
        let start = NonNull::from(part).cast();
        Some(Self(Memory { start, words: part.len(), keeper: self.0.keeper.clone() }))
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

    /// Memory that `keeper` keeps mapped.
    ///
    /// # Safety
    /// `start` is aligned to 8 bytes, and valid for reads of `bytes` bytes until `keeper` is dropped, even after `keeper`
    /// was moved. This process changes these bytes only by atomic stores; other processes may change them at any time.
    pub unsafe fn mapped(start: NonNull<u8>, bytes: usize, keeper: impl Any + Send + Sync) -> Self {
        Self(Memory { start: start.cast(), words: bytes / WORD, keeper: Arc::new(keeper) })
    }

    /// The words. They can only be loaded: relaxed 64-bit atomic loads are sound on read-only mappings.
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
    fn a_part_shares_the_words_and_outlives_the_whole() {
        let memory = WriterMemory::private(100).unwrap();
        let part = memory.part(4..8).unwrap();
        part.words()[1].store(5, core::sync::atomic::Ordering::Relaxed);
        assert_eq!((part.words().len(), memory.reader().load(5)), (4, 5));
        assert!(memory.part(13..13).is_some_and(|part| part.words().is_empty()));
        assert!(memory.part(4..14).is_none());
        drop(memory);
        assert_eq!(part.reader().load(1), 5);
    }

    #[test]
    fn a_copy_drops_the_last_incomplete_word() {
        let memory = ReaderMemory::copied(&[1, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!((memory.words().len(), memory.words().load(0)), (1, 1));
        assert!(ReaderMemory::copied(&[]).words().is_empty());
    }
}
