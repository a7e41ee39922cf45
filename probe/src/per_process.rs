//! A static value that a forked child makes anew: the parent's threads do not run there, and locks that they held at the
//! fork stay held.

use std::sync::OnceLock;

use crossbeam_utils::atomic::AtomicCell;

/// One value per process. A child never uses the parent's value, so it never waits for the parent's threads.
pub(crate) struct PerProcess<T: 'static>(AtomicCell<Latest<T>>);

/// The entry of the process that used the value last. A forked child replaces its parent's entry, which stays allocated.
struct Latest<T: 'static>(Option<&'static Entry<T>>);

struct Entry<T> {
    pid: u32,
    value: OnceLock<T>,
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Latest<T> {}

impl<T> PartialEq for Latest<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.map(std::ptr::from_ref) == other.0.map(std::ptr::from_ref)
    }
}

impl<T> Eq for Latest<T> {}

// A lock that another thread held at the fork would stay held in the child.
const _: () = assert!(AtomicCell::<Latest<u8>>::is_lock_free());

impl<T> std::fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PerProcess")
    }
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicCell::new(Latest(None)))
    }

    /// The value of this process, made if there is none. Reads the process id, a system call; not for hot paths.
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &'static T {
        self.entry(std::process::id()).value.get_or_init(make)
    }

    /// The value of this process, if there is one. Reads the process id, and allocates nothing.
    pub(crate) fn get(&self) -> Option<&'static T> {
        let own = std::process::id();
        self.0.load().0.filter(|entry| entry.pid == own)?.value.get()
    }

    fn entry(&self, own: u32) -> &'static Entry<T> {
        loop {
            let latest = self.0.load();
            if let Some(entry) = latest.0.filter(|entry| entry.pid == own) {
                return entry;
            }
            let new = Box::leak(Box::new(Entry { pid: own, value: OnceLock::new() }));
            // If another thread was faster, the next iteration finds its entry.
            let _ = self.0.compare_exchange(latest, Latest(Some(new)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_its_process_and_a_child_has_another() {
        static VALUE: PerProcess<u32> = PerProcess::new();
        assert_eq!(VALUE.get(), None);
        // The entry that a parent would have left.
        let parent = VALUE.entry(std::process::id() + 1);
        assert_eq!(parent.value.get_or_init(|| 1), &1);
        assert_eq!(VALUE.get(), None);
        assert_eq!((VALUE.get_or_init(|| 3), VALUE.get()), (&3, Some(&3)));
        assert_eq!(VALUE.get_or_init(|| 4), &3);
        assert_eq!(parent.value.get(), Some(&1), "the parent's is left alone");
    }

    #[test]
    fn a_child_does_not_wait_for_a_thread_of_its_parent_that_makes_the_value() {
        static VALUE: PerProcess<u32> = PerProcess::new();
        let (begun, begins) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        // As the parent's thread is for a child: it never ends.
        let parent = std::thread::spawn(move || {
            let made = || {
                begun.send(()).unwrap();
                ends.recv().unwrap();
                1
            };
            *VALUE.entry(std::process::id() + 1).value.get_or_init(made)
        });
        begins.recv().unwrap();
        assert_eq!((VALUE.get(), VALUE.get_or_init(|| 2)), (None, &2));
        end.send(()).unwrap();
        assert_eq!((parent.join().unwrap(), VALUE.get()), (1, Some(&2)));
    }
}
