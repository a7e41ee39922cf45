//! The one shim through which every primitive takes its atomics, so that the algorithms that ship are the ones that
//! the loom models run.

#[cfg(atomscope_loom)]
pub mod crossing;

#[cfg(all(test, not(atomscope_loom)))]
pub mod counting;

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

/// A short pause between two tries of a bounded retry; `attempt` counts from 0 and lengthens it.
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
