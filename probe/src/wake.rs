//! Wakes tasks that wait for events: one thread of the process polls their conditions every two milliseconds while a task
//! waits, and sleeps otherwise. It needs no timer of an async runtime, and it costs publishers nothing.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::per_process::PerProcess;

/// The time between two polls of the conditions.
pub(crate) const INTERVAL: Duration = Duration::from_millis(2);

/// Waits for one task, again and again.
#[derive(Debug)]
pub(crate) struct Waiter(Arc<Waiting>);

struct Waiting {
    notify: Notify,
    /// The value that was seen, and the way to read it again; none while the task does not wait.
    state: Mutex<Option<(u64, Watch)>>,
}

type Watch = Box<dyn Fn() -> Option<u64> + Send + Sync>;

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

#[derive(Default)]
struct Waiters {
    list: Mutex<Vec<Weak<Waiting>>>,
    added: Condvar,
}

/// The waiters of this process, and their thread. A forked child starts its own.
fn waiters() -> &'static Arc<Waiters> {
    static WAITERS: PerProcess<Arc<Waiters>> = PerProcess::new();
    WAITERS.get_or_init(start)
}

fn start() -> Arc<Waiters> {
    let waiters = Arc::new(Waiters::default());
    let watched = waiters.clone();
    let watch = move || {
        loop {
            watched.wake_changed();
            std::thread::sleep(INTERVAL);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("atomscope-wake".into()).spawn(watch) {
        crate::environment::warn(&format!(
            "subscribers will not be woken, since the system gives no thread for it: {error}; raise the limit of threads"
        ));
    }
    waiters
}

impl Waiter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Waiting { notify: Notify::new(), state: Mutex::new(None) }))
    }

    /// Waits until `watch` returns another value than `seen`.
    pub(crate) async fn wait(&self, seen: u64, watch: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        let before = lock(&self.0.state).replace((seen, Box::new(watch)));
        // A task that gave up waiting is still in the list.
        if before.is_none() {
            let waiters = waiters();
            lock(&waiters.list).push(Arc::downgrade(&self.0));
            waiters.added.notify_one();
        }
        self.0.notify.notified().await;
    }
}

impl Waiters {
    /// Wakes the tasks whose value has changed. Sleeps first while no task waits.
    fn wake_changed(&self) {
        let mut waiting = lock(&self.list);
        while waiting.is_empty() {
            waiting = self.added.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.retain(|one| {
            let Some(one) = one.upgrade() else { return false };
            let mut state = lock(&one.state);
            let Some((seen, watch)) = &*state else { return false };
            if watch() == Some(*seen) {
                return true;
            }
            *state = None;
            one.notify.notify_one();
            false
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_who_gives_up_waiting_again_and_again_takes_one_place() {
        let waiter = Waiter::new();
        for _ in 0..1000 {
            tokio::select! {
                biased;
                () = waiter.wait(7, || Some(7)) => unreachable!("nothing has changed"),
                () = std::future::ready(()) => {}
            }
        }
        let entries =
            lock(&waiters().list).iter().filter(|one| one.as_ptr() == Arc::as_ptr(&waiter.0)).count();
        assert_eq!(entries, 1);
    }
}
