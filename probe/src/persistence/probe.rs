//! The persistence probe, and the removal of the least active persistence ids.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use atomscope_layout::Capacities;
use atomscope_layout::attached::Attachment;
use atomscope_layout::event::EventKind;
use atomscope_layout::instances::{Domain, journal as journal_numbers, persistence_id as id_numbers};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Key;

use crate::attach;
use crate::bus::TelemetryBus;
use crate::clock;
use crate::dto::{JournalInfo, PersistenceIdStat, PersistenceSnapshot};
use crate::region::Region;
use crate::writer::RegionWriter;

/// One round removes at most this fraction of the listed persistence ids.
const REMOVED_FRACTION: usize = 8;
/// A scan of all instances is followed by a pause of so many times its duration: large regions are scanned rarely.
const PAUSE_FACTOR: u64 = 50;

/// Queries to a journal, for [`PersistenceProbe::snapshot_async`].
#[async_trait]
pub trait JournalAdmin: Send + Sync + 'static {
    /// The name of the journal.
    fn name(&self) -> &str;

    /// All persistence ids of the journal.
    async fn list_persistence_ids(&self) -> Vec<String> {
        Vec::new()
    }

    /// The highest sequence number of a persistence id.
    async fn highest_sequence_nr_for(&self, persistence_id: &str) -> u64 {
        let _ = persistence_id;
        0
    }

    /// The number of events of a persistence id.
    async fn event_count_for(&self, persistence_id: &str) -> u64 {
        let _ = persistence_id;
        0
    }
}

/// The journals, snapshot stores and recoveries of a node.
pub struct PersistenceProbe {
    pub(super) region: Region,
    pub(super) bus: TelemetryBus,
    admins: RwLock<Vec<Arc<dyn JournalAdmin>>>,
    #[cfg(feature = "persistence")]
    pub(super) permitters: Arc<RwLock<Vec<atomr_persistence::RecoveryPermitter>>>,
    removes_inactive: AtomicBool,
}

impl std::fmt::Debug for PersistenceProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersistenceProbe").field("region", &self.region).finish_non_exhaustive()
    }
}

impl PersistenceProbe {
    /// A stand-alone probe in private memory; the one of a node is [`crate::TelemetryExtension::persistence`]. Allocates.
    pub fn new(bus: TelemetryBus) -> Self {
        let Capacities { journal_writes, histograms, .. } = Capacities::default();
        let capacities = Capacities { instances: 4096, journal_writes, histograms, ..Capacities::LEAST };
        Self::of(Region::bare(capacities), bus)
    }

    pub(crate) fn of(region: Region, bus: TelemetryBus) -> Self {
        Self {
            region,
            bus,
            admins: RwLock::default(),
            #[cfg(feature = "persistence")]
            permitters: Arc::default(),
            removes_inactive: AtomicBool::new(false),
        }
    }

    /// Registers a journal for [`Self::snapshot_async`]. Takes a lock.
    pub fn register_journal(&self, admin: Arc<dyn JournalAdmin>) {
        self.admins.write().unwrap_or_else(PoisonError::into_inner).push(admin);
    }

    /// Records that an event was written. No allocation, no system call; the first write of a journal or persistence id
    /// takes a lock for some hundred nanoseconds.
    pub fn record_write(&self, journal: &str, persistence_id: &str, sequence_nr: u64) {
        let writer = &self.region.writer;
        writer.attached(Attachment::JournalCalls);
        let journal = Named { key: writer.instance_key(Domain::Journal, None, journal), name: journal };
        let id_key = writer.instance_key(Domain::PersistenceId, Some(journal.key), persistence_id);
        record_events(
            writer,
            self.bus.writer(),
            journal,
            Named { key: id_key, name: persistence_id },
            sequence_nr,
            1,
        );
    }

    /// From the next round of the poller on, removes the least active ids if others were refused.
    pub(crate) fn remove_inactive(&self) {
        if !self.removes_inactive.swap(true, Ordering::Relaxed) {
            let mut activity = IdActivity::default();
            attach::poll(
                &self.region.writer,
                Box::new(move |writer| {
                    activity.remove_least(writer);
                    true
                }),
            );
        }
    }

    /// The number of events that were written, as far as the probe saw them. Not for hot paths.
    pub fn total_events(&self) -> u64 {
        self.region
            .writer
            .reader()
            .map(|reader| reader.builtin(Builtin::PersistenceEvents))
            .unwrap_or_default()
    }

    /// The newest writes and the number of all writes. [`Self::snapshot_async`] adds the answers of the registered
    /// journals; [`crate::TelemetryExtension::snapshot`] has what the probe itself counted. Allocates.
    pub fn snapshot(&self) -> PersistenceSnapshot {
        let Some(reader) = self.region.writer.reader() else { return PersistenceSnapshot::default() };
        PersistenceSnapshot {
            journals: Vec::new(),
            total_events: reader.builtin(Builtin::PersistenceEvents),
            recent_writes: reader.journal_writes(usize::MAX).recent,
        }
    }

    /// The same with the answers of the registered journals, which are queried one after the other. Allocates.
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

/// An instance's key and name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) key: Key,
    pub(super) name: &'a str,
}

/// Records `count` events of a persistence id, with sequence numbers from `first` on, in `writer`, and publishes them on
/// `bus`.
pub(super) fn record_events(
    writer: &RegionWriter,
    bus: &RegionWriter,
    journal: Named<'_>,
    id: Named<'_>,
    first: u64,
    count: u64,
) {
    let Some(last) = first.checked_add(count.saturating_sub(1)).filter(|_| count > 0) else { return };
    writer.count(Builtin::PersistenceEvents, count);
    let listed =
        writer.with_instance_of(Domain::PersistenceId, id.key, Some(journal.key), id.name, |numbers| {
            numbers[id_numbers::EVENTS].fetch_add(count, Ordering::Relaxed);
            numbers[id_numbers::HIGHEST].fetch_max(last, Ordering::Relaxed);
        });
    writer.with_instance_of(Domain::Journal, journal.key, None, journal.name, |numbers| {
        numbers[journal_numbers::EVENTS].fetch_add(count, Ordering::Relaxed);
        if listed.is_none() {
            numbers[journal_numbers::UNLISTED_EVENTS].fetch_add(count, Ordering::Relaxed);
        }
    });
    for sequence_nr in first..=last {
        writer.record_journal_write(journal.name, id.name, sequence_nr);
        bus.publish_texts(EventKind::JournalWrite, [sequence_nr, 0], &[journal.name, id.name]);
    }
}

/// The events of the persistence ids at their last scan.
#[derive(Debug, Default)]
struct IdActivity {
    refused: u64,
    pauses_until_ns: u64,
    events: HashMap<Key, u64>,
}

impl IdActivity {
    /// Scans the ids and removes the least active ones, but only if an id was refused since the last scan.
    fn remove_least(&mut self, writer: &RegionWriter) {
        let Some(reader) = writer.reader() else { return };
        let (refused, start) = (reader.builtin(Builtin::PersistenceIdsUnlisted), clock::mono_ns());
        if refused == self.refused || start < self.pauses_until_ns {
            return;
        }
        self.refused = refused;
        let instances = reader.instances();
        let ids = || instances.of(Domain::PersistenceId);
        // The activity of an id is known only if the last scan saw it.
        let mut known: Vec<_> = ids()
            .filter_map(|id| {
                let events = id.numbers[id_numbers::EVENTS];
                Some((events.saturating_sub(*self.events.get(&id.key)?), id.key, id.owner_key))
            })
            .collect();
        known.sort_unstable_by_key(|(done, key, _)| (*done, *key));
        self.events = ids().map(|id| (id.key, id.numbers[id_numbers::EVENTS])).collect();
        known.truncate((self.events.len() / REMOVED_FRACTION).max(1));
        for (_, key, journal) in known {
            self.events.remove(&key);
            writer.remove_instance(Domain::PersistenceId, key, |id| roll_up(writer, journal, id));
        }
        let end = clock::mono_ns();
        self.pauses_until_ns = end.saturating_add(PAUSE_FACTOR.saturating_mul(end.saturating_sub(start)));
    }
}

/// Adds the events of a removed id to the unlisted events of its journal.
fn roll_up(writer: &RegionWriter, journal: Key, id: &[AtomicU64]) {
    // The caller holds the lock of the instances, so this must not take it. Journals are never removed.
    writer.instances().with(journal, |journal| {
        let events = id[id_numbers::EVENTS].load(Ordering::Relaxed);
        journal[journal_numbers::UNLISTED_EVENTS].fetch_add(events, Ordering::Relaxed);
        journal[journal_numbers::ROLLED_UP].fetch_add(1, Ordering::Relaxed);
    });
}
