//! Numbers of tasks, which show which of two tasks is older.
//!
//! tokio numbers the tasks of a process in the order of their creation, but does not document that. If it changes,
//! [`newest`] returns `None`, and a test in `atomr_facts.rs` fails.

use std::hash::{Hash, Hasher};

use tokio::task::{Id, LocalSet, try_id};

/// A hasher that returns the number inside an [`Id`], which has no other access.
#[derive(Default)]
struct Number(u64);

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The number of a task.
pub(crate) fn number(id: Id) -> u64 {
    let mut number = Number::default();
    id.hash(&mut number);
    number.finish()
}

/// The number of the task that runs on this thread, if there is one. One load of a thread-local variable.
#[inline]
pub(crate) fn current() -> Option<u64> {
    try_id().map(number)
}

#[cfg(tokio_unstable)]
thread_local! {
    /// The clock at the beginning of the watched poll that runs on this thread; 0: none runs.
    pub(crate) static POLL_BEGAN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Whether a poll runs on this thread that the hooks of a watched runtime see.
#[cfg(tokio_unstable)]
pub(crate) fn is_poll_watched() -> bool {
    POLL_BEGAN.get() != 0
}

/// Without the hooks of tokio, none does.
#[cfg(not(tokio_unstable))]
pub(crate) fn is_poll_watched() -> bool {
    false
}

/// The number of a task that is made now and never runs. Allocates. `None` if the numbers are not in order.
pub(crate) fn newest() -> Option<u64> {
    let tasks = LocalSet::new();
    let [first, second, third] = [(); 3].map(|()| number(tasks.spawn_local(async {}).id()));
    (first < second && second < third).then_some(third)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_is_made_later_has_a_greater_number() {
        let own = || async { current() };
        assert_eq!(current(), None, "no task runs here");
        let older = tokio::spawn(own()).await.unwrap();
        let between = newest();
        let newer = tokio::spawn(own()).await.unwrap();
        assert!(older.is_some() && older < between && between < newer, "{older:?} {between:?} {newer:?}");
    }

    #[test]
    fn no_runtime_is_needed_to_know_the_newest_number() {
        assert!(newest() < std::thread::spawn(newest).join().unwrap());
    }
}
