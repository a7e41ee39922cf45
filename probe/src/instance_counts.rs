//! How many instances of each domain a region has, and the lock under which instances are made and removed.

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use atomscope_layout::instances::Domain;

/// The counts of a region's instances. They change under the lock only; a full domain is recognised without it.
#[derive(Debug, Default)]
pub(crate) struct InstanceCounts {
    changing: Mutex<()>,
    counts: [AtomicUsize; Domain::ALL.len()],
}

/// The lock of [`InstanceCounts`], held.
pub(crate) type Changing<'a> = MutexGuard<'a, ()>;

impl InstanceCounts {
    pub(crate) fn change(&self) -> Changing<'_> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, domain: Domain) -> &AtomicUsize {
        &self.counts[domain as usize - 1]
    }
}

/// The most instances of a domain that a region with this capacity lists. Domains that applications fill without end leave
/// slots for the others.
pub(crate) fn share(domain: Domain, capacity: usize) -> usize {
    match domain {
        Domain::PersistenceId => capacity / 2,
        Domain::Key | Domain::Graph | Domain::Shard => capacity / 4,
        _ => capacity,
    }
    .max(1)
}
