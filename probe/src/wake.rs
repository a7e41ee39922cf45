//! Wakes those who wait for events: one thread for the whole process, that looks at what they wait for every two
//! milliseconds while there are any, and sleeps while there are none. It needs no timer of an async runtime, and a
//! publisher never knows of it.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::per_process::PerProcess;

/// From one look to the next.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// One who waits, again and again.
#[derive(Debug)]
pub(crate) struct Waiter(Arc<Waiting>);

struct Waiting {
    notify: Notify,
    /// What was seen, and how to see it again; none while nobody waits.
    state: Mutex<Option<(u64, Watch)>>,
}

type Watch = Box<dyn Fn() -> Option<u64> + Send + Sync>;

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

#[derive(Default)]
struct Room {
    waiting: Mutex<Vec<Weak<Waiting>>>,
    someone: Condvar,
}

/// The room of this process, and its thread: a forked child has none of its parent's.
fn room() -> &'static Arc<Room> {
    static ROOM: PerProcess<Arc<Room>> = PerProcess::new();
    ROOM.get_or_init(open_room)
}

fn open_room() -> Arc<Room> {
    let room = Arc::new(Room::default());
    let watched = room.clone();
    let watch = move || {
        loop {
            watched.look();
            std::thread::sleep(LOOK);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("atomscope-wake".into()).spawn(watch) {
        crate::environment::warn(&format!(
            "subscribers will not be woken, since there is no thread for it: {error}"
        ));
    }
    room
}

impl Waiter {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Waiting { notify: Notify::new(), state: Mutex::new(None) }))
    }

    /// Waits until `watch` gives something other than `seen`.
    pub(crate) async fn wait(&self, seen: u64, watch: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        let before = lock(&self.0.state).replace((seen, Box::new(watch)));
        // One that gave up waiting is still in the room.
        if before.is_none() {
            let room = room();
            lock(&room.waiting).push(Arc::downgrade(&self.0));
            room.someone.notify_one();
        }
        self.0.notify.notified().await;
    }
}

impl Room {
    /// Wakes those for whom something has changed; waits for someone if there is nobody.
    fn look(&self) {
        let mut waiting = lock(&self.waiting);
        while waiting.is_empty() {
            waiting = self.someone.wait(waiting).unwrap_or_else(PoisonError::into_inner);
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
        let places =
            lock(&room().waiting).iter().filter(|one| one.as_ptr() == Arc::as_ptr(&waiter.0)).count();
        assert_eq!(places, 1);
    }
}
