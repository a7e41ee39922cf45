//! The atomics that every primitive uses: the processor's, or loom's in a loom model. So the loom models run the
//! algorithms that ship.
//!
//! ```
//! use atomscope_layout::sync::{AtomicU64, Ordering};
//! let word = AtomicU64::new(1);
//! word.store(2, Ordering::Relaxed);
//! assert_eq!(word.load(Ordering::Relaxed), 2);
//! ```

#[cfg(atomscope_loom)]
pub mod crossing;

#[cfg(all(test, not(atomscope_loom)))]
pub mod counting;

pub(crate) mod mutant;

#[cfg(not(any(test, atomscope_loom)))]
pub use core::sync::atomic::AtomicU64;
#[cfg(not(atomscope_loom))]
pub use core::sync::atomic::{Ordering, fence};
#[cfg(all(test, not(atomscope_loom)))]
pub use counting::AtomicU64;
#[cfg(atomscope_loom)]
pub use crossing::AtomicU64;
#[cfg(atomscope_loom)]
pub use loom::sync::atomic::{Ordering, fence};

/// Between a `SeqCst` store or read-modify-write and the `SeqCst` loads after it: the thread has put something where other
/// threads look, and now looks for what they have put. The orders of the accesses suffice in the language's memory model,
/// and so this is nothing. Loom treats `SeqCst` accesses as acquire and release, so that its models need the fence.
#[inline(always)]
pub(crate) fn then_look() {
    #[cfg(atomscope_loom)]
    if !mutant::is(mutant::Mutant::NoFence) {
        fence(Ordering::SeqCst);
    }
}

/// A short pause between two tries of a bounded retry. It doubles with each `attempt` (counted from 0), up to 256 spins.
pub fn pause(attempt: u32) {
    #[cfg(not(atomscope_loom))]
    for _ in 0..(1u32 << attempt.min(8)) {
        core::hint::spin_loop();
    }
    #[cfg(atomscope_loom)]
    {
        let _ = attempt;
        loom::thread::yield_now();
    }
}
