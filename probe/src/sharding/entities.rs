//! The set of entities that a shard has passed messages to. It only grows, up to a fixed capacity.

use std::sync::atomic::{AtomicU64, Ordering};

/// Slots of a set; 32 KiB.
const SLOTS: usize = 4096;
/// Slots that are examined for one entity.
const MAX_PROBES: usize = 32;

/// The result of [`Entities::insert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// The entity is new.
    New,
    /// The entity was in the set.
    Known,
    /// The entity's slots are full, so whether it is new is unknown.
    Full,
}

/// A set of hashes of entities. It needs no lock, since a used slot never changes. Of two threads that insert the same new
/// entity at the same time, exactly one gets [`Inserted::New`].
#[derive(Debug)]
pub(super) struct Entities(Box<[AtomicU64]>);

impl Entities {
    pub(super) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn insert(&self, hash: u64) -> Inserted {
        // 0 marks a free slot.
        let hash = hash.max(1);
        for probe in 0..MAX_PROBES {
            let Some(slot) = self.0.get((hash as usize).wrapping_add(probe) % SLOTS) else { break };
            let mut present = slot.load(Ordering::Relaxed);
            if present == 0 {
                match slot.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return Inserted::New,
                    Err(other) => present = other,
                }
            }
            if present == hash {
                return Inserted::Known;
            }
        }
        Inserted::Full
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
                        let inserted = set.insert(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        new.fetch_add(u64::from(inserted == Inserted::New), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(new.into_inner(), 1000);
    }

    #[test]
    fn what_finds_no_room_is_never_taken_for_known() {
        let set = Entities::new();
        let all: Vec<_> = (0..2 * MAX_PROBES as u64).map(|n| 1 + n * SLOTS as u64).collect();
        let of = |expected| move |hash: &&u64| set.insert(**hash) == expected;
        assert_eq!(all.iter().filter(of(Inserted::New)).count(), MAX_PROBES);
    }
}
