//! Loom's atomics, with a way to make its search complete.
//!
//! Loom runs threads one at a time, and tries another order of two operations only where they touch the same word and
//! nothing stands between them. Of each word it remembers the last access alone: once a second thread has loaded the
//! word, a first thread's load is forgotten, and no order is tried in which the second thread's later swap comes before
//! that load. Real faults hide there. With *crossings* every operation first stores to one word that all threads have in
//! common, so that loom tries every order of any two operations. A store reads nothing, and so orders nothing for the
//! algorithm under test. That is many more executions: such a search wants a bound on preemptions.

use std::cell::Cell;

use loom::sync::atomic::{AtomicU64 as Inner, Ordering};

std::thread_local! {
    static CROSSINGS: Cell<bool> = const { Cell::new(false) };
}

loom::lazy_static! {
    static ref COMMON: Inner = Inner::new(0);
}

/// From now on, on this thread, models run with crossings or without.
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
