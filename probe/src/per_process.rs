//! What a process has one of, made anew in a forked child: there its parent's threads do not run, and locks that they
//! held at the fork stay held.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A value of each process. A child never touches what its parent has left, so that it waits for none of its threads.
pub(crate) struct PerProcess<T: 'static> {
    /// Whose the value is; 0 until it is wanted.
    pid: AtomicU32,
    value: OnceLock<T>,
    /// That of a forked child. In the process of this value it is never set.
    next: OnceLock<&'static Self>,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { pid: AtomicU32::new(0), value: OnceLock::new(), next: OnceLock::new() }
    }

    /// The value of this process, which is made if there is none yet. Asks for the process id, so it is not for hot paths.
    pub(crate) fn get_or_init(&'static self, make: impl FnOnce() -> T) -> &'static T {
        let own = std::process::id();
        let mut at = self;
        while let Err(pid) = at.pid.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed) {
            if pid == own {
                break;
            }
            at = at.next.get_or_init(|| Box::leak(Box::new(Self::new())));
        }
        at.value.get_or_init(make)
    }

    /// The value of this process, if there is one.
    pub(crate) fn get(&'static self) -> Option<&'static T> {
        let own = std::process::id();
        let mut at = Some(self);
        while let Some(one) = at {
            if one.pid.load(Ordering::Relaxed) == own {
                return one.value.get();
            }
            at = one.next.get().copied();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_its_process_and_a_child_has_another() {
        static VALUE: PerProcess<u32> = PerProcess::new();
        assert_eq!(VALUE.get(), None);
        assert_eq!(VALUE.get_or_init(|| 1), &1);
        assert_eq!((VALUE.get_or_init(|| 2), VALUE.get()), (&1, Some(&1)));
        // As in a child of a process of another number.
        VALUE.pid.store(std::process::id() + 1, Ordering::Relaxed);
        assert_eq!(VALUE.get(), None);
        assert_eq!((VALUE.get_or_init(|| 3), VALUE.get()), (&3, Some(&3)));
        assert_eq!(VALUE.value.get(), Some(&1), "the parent's is left alone");
    }
}
