//! The persistence probe: what journals write, and up to where each persistence id has come.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use atomscope_layout::Capacities;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, journal as journal_numbers, persistence_id as id_numbers};
use atomscope_layout::metrics::Builtin;

use crate::bus::TelemetryBus;
use crate::dto::{JournalInfo, PersistenceIdStat, PersistenceSnapshot};
use crate::region::Region;

/// What a journal can be asked for.
#[async_trait]
pub trait JournalAdmin: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &str;

    /// Its persistence ids.
    async fn list_persistence_ids(&self) -> Vec<String> {
        Vec::new()
    }

    /// The highest sequence number of a persistence id.
    async fn highest_sequence_nr_for(&self, persistence_id: &str) -> u64 {
        let _ = persistence_id;
        0
    }

    /// How many events a persistence id has.
    async fn event_count_for(&self, persistence_id: &str) -> u64 {
        let _ = persistence_id;
        0
    }
}

/// What is known of a node's journals.
pub struct PersistenceProbe {
    region: Region,
    bus: TelemetryBus,
    admins: RwLock<Vec<Arc<dyn JournalAdmin>>>,
}

impl std::fmt::Debug for PersistenceProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersistenceProbe").field("region", &self.region).finish_non_exhaustive()
    }
}

impl PersistenceProbe {
    /// A probe of its own, in private memory; the one of a node is [`crate::TelemetryExtension::persistence`].
    pub fn new(bus: TelemetryBus) -> Self {
        let Capacities { journal_writes, histograms, .. } = Capacities::default();
        let capacities = Capacities { instances: 4096, journal_writes, histograms, ..Capacities::LEAST };
        Self::of(Region::bare(capacities), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus, admins: RwLock::default() }
    }

    /// Has [`Self::snapshot_async`] ask this journal.
    pub fn register_journal(&self, admin: Arc<dyn JournalAdmin>) {
        self.admins.write().unwrap_or_else(PoisonError::into_inner).push(admin);
    }

    /// Notes that an event was written. No allocation, no system call; a journal or persistence id that was not known
    /// takes a lock for a moment.
    pub fn record_write(&self, journal: &str, persistence_id: &str, sequence_nr: u64) {
        let core = &self.region.core;
        core.count(Builtin::PersistenceEvents, 1);
        let owner = core.instance_key(Domain::Journal, None, journal);
        let listed = core.with_instance(Domain::PersistenceId, Some(owner), persistence_id, |numbers| {
            numbers[id_numbers::EVENTS].fetch_add(1, Ordering::Relaxed);
            numbers[id_numbers::HIGHEST].fetch_max(sequence_nr, Ordering::Relaxed);
        });
        core.with_instance(Domain::Journal, None, journal, |numbers| {
            numbers[journal_numbers::EVENTS].fetch_add(1, Ordering::Relaxed);
            if listed.is_none() {
                numbers[journal_numbers::UNLISTED_EVENTS].fetch_add(1, Ordering::Relaxed);
            }
        });
        core.note_write(journal, persistence_id, sequence_nr);
        self.bus.tell(EventKind::JournalWrite, [sequence_nr, 0], &[journal, persistence_id]);
    }

    /// Events written.
    pub fn total_events(&self) -> u64 {
        self.region.core.reader().map(|reader| reader.builtin(Builtin::PersistenceEvents)).unwrap_or_default()
    }

    /// The newest writes, and how many there were. What the journals themselves say is in [`Self::snapshot_async`], what
    /// was seen of them in [`crate::TelemetryExtension::snapshot`]. Allocates.
    pub fn snapshot(&self) -> PersistenceSnapshot {
        let Some(reader) = self.region.core.reader() else { return PersistenceSnapshot::default() };
        PersistenceSnapshot {
            journals: Vec::new(),
            total_events: reader.builtin(Builtin::PersistenceEvents),
            recent_writes: reader.journal_writes(usize::MAX).recent,
        }
    }

    /// The same, with what the registered journals answer, asked one after the other.
    pub async fn snapshot_async(&self) -> PersistenceSnapshot {
        let admins = self.admins.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut journals = Vec::with_capacity(admins.len());
        for admin in admins {
            let mut persistence_ids = Vec::new();
            for persistence_id in admin.list_persistence_ids().await {
                let highest_sequence_nr = admin.highest_sequence_nr_for(&persistence_id).await;
                let event_count = admin.event_count_for(&persistence_id).await;
                persistence_ids.push(PersistenceIdStat { persistence_id, highest_sequence_nr, event_count });
            }
            journals.push(JournalInfo { name: admin.name().to_owned(), persistence_ids });
        }
        PersistenceSnapshot { journals, ..self.snapshot() }
    }
}
