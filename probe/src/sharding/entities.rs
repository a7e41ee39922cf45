//! Which entities a shard has given messages to: a set that only grows, of bounded size.

use std::sync::atomic::{AtomicU64, Ordering};

/// Places of a set; 32 KiB.
const PLACES: usize = 4096;
/// Places that are looked at for one entity.
const LOOKS: usize = 32;

/// What came of noting an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It was not known.
    New,
    /// It was.
    Known,
    /// There was no room to tell.
    NoRoom,
}

/// A set of entities, by their hashes. A place that was taken stays so, hence one look is enough, without a lock; of two
/// threads that note a new entity at the same time one finds it known.
#[derive(Debug)]
pub(super) struct Entities(Box<[AtomicU64]>);

impl Entities {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn note(&self, hash: u64) -> Noted {
        // 0 is a free place.
        let hash = hash.max(1);
        for look in 0..LOOKS {
            let Some(place) = self.0.get((hash as usize).wrapping_add(look) % PLACES) else { break };
            let mut found = place.load(Ordering::Relaxed);
            if found == 0 {
                match place.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Noted::New,
                    Err(other) => found = other,
                }
            }
            if found == hash {
                return Noted::Known;
            }
        }
        Noted::NoRoom
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_new_once_whatever_threads_note_it() {
        let set = Entities::new();
        let new = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for hash in 1..=1000u64 {
                        let noted = set.note(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        new.fetch_add(u64::from(noted == Noted::New), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(new.into_inner(), 1000);
    }

    #[test]
    fn what_finds_no_room_is_never_taken_for_known() {
        let set = Entities::new();
        let all: Vec<_> = (0..2 * LOOKS as u64).map(|n| 1 + n * PLACES as u64).collect();
        let of = |noted| move |hash: &&u64| set.note(**hash) == noted;
        assert_eq!(all.iter().filter(of(Noted::New)).count(), LOOKS);
    }
}
