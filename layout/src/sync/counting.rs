//! The standard library's atomics with a counter of operations. So a test can assert the number of steps of a hot path;
//! its time would differ from run to run.

use core::sync::atomic::{AtomicU64 as Inner, Ordering};
use std::cell::{Cell, RefCell};

type Other = Box<dyn FnOnce()>;

std::thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
    /// What [`with_another_before`] does, and before which step.
    static OTHER: RefCell<Option<(u64, Other)>> = const { RefCell::new(None) };
}

/// The number of loads, stores and read-modify-writes that this thread does in `work`.
pub fn steps_of(work: impl FnOnce()) -> u64 {
    let before = STEPS.get();
    work();
    STEPS.get() - before
}

/// Does `work`, and before its step with this number `other`, as if another thread did it then. False if `work` has fewer
/// steps.
pub fn with_another_before(number: u64, other: impl FnOnce() + 'static, work: impl FnOnce()) -> bool {
    OTHER.set(Some((STEPS.get() + number, Box::new(other))));
    work();
    OTHER.take().is_none()
}

fn step() {
    let is_due = OTHER.with_borrow(|other| other.as_ref().is_some_and(|(at, _)| *at == STEPS.get()));
    if is_due {
        if let Some((_, other)) = OTHER.take() {
            other();
        }
    }
    STEPS.set(STEPS.get() + 1);
}

/// A word.
#[derive(Debug)]
#[repr(transparent)]
pub struct AtomicU64(Inner);

#[allow(missing_docs, reason = "they are the standard library's")]
impl AtomicU64 {
    pub const fn new(value: u64) -> Self {
        Self(Inner::new(value))
    }

    pub fn load(&self, order: Ordering) -> u64 {
        step();
        self.0.load(order)
    }

    pub fn store(&self, value: u64, order: Ordering) {
        step();
        self.0.store(value, order);
    }

    pub fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.0.fetch_add(value, order)
    }

    pub fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.0.fetch_sub(value, order)
    }

    pub fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.0.fetch_and(value, order)
    }

    pub fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.0.fetch_or(value, order)
    }

    pub fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        step();
        self.0.fetch_max(value, order)
    }

    pub fn compare_exchange(&self, from: u64, to: u64, done: Ordering, failed: Ordering) -> Result<u64, u64> {
        step();
        self.0.compare_exchange(from, to, done, failed)
    }
}
