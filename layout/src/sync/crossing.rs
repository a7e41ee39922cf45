//! Loom's atomics, with an option that makes loom's search complete.
//!
//! Loom tries another order of two operations only if they touch the same word, and it remembers only the last access
//! of each word. After a second thread has loaded a word, loom forgets the first thread's load, and never tries the
//! second thread's later swap before that load. Real faults hide in such orders.
//!
//! With *crossings* every operation first stores to one word that all threads share, so loom tries every order of any
//! two operations. A store reads nothing, so it adds no ordering to the algorithm under test. The search has many more
//! executions: bound its preemptions.

use std::cell::Cell;

use loom::sync::atomic::{AtomicU64 as Inner, Ordering};

std::thread_local! {
    static CROSSINGS: Cell<bool> = const { Cell::new(false) };
}

loom::lazy_static! {
    static ref COMMON: Inner = Inner::new(0);
}

/// Turns crossings on or off for the models that this thread runs from now on.
pub fn set_crossings(on: bool) {
    CROSSINGS.set(on);
}

fn cross() {
    if CROSSINGS.get() {
        COMMON.store(0, Ordering::Relaxed);
    }
}

/// A word.
#[derive(Debug)]
pub struct AtomicU64(Inner);

#[allow(missing_docs, reason = "they are the standard library's")]
impl AtomicU64 {
    pub fn new(value: u64) -> Self {
        Self(Inner::new(value))
    }

    pub fn load(&self, order: Ordering) -> u64 {
        cross();
        self.0.load(order)
    }

    pub fn store(&self, value: u64, order: Ordering) {
        cross();
        self.0.store(value, order);
    }

    pub fn compare_exchange(
        &self,
        from: u64,
        to: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        cross();
        self.0.compare_exchange(from, to, success, failure)
    }

    pub fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        cross();
        self.0.fetch_add(value, order)
    }

    pub fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        cross();
        self.0.fetch_sub(value, order)
    }

    pub fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        cross();
        self.0.fetch_max(value, order)
    }

    pub fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        cross();
        self.0.fetch_and(value, order)
    }

    pub fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
        cross();
        self.0.fetch_or(value, order)
    }
}
