//! Wrappers around atomr's journals and snapshot stores, and its recovery permitter.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use atomr_persistence::{
    InMemoryJournal, Journal, JournalError, PersistentRepr, RecoveryPermitter, SnapshotMetadata,
    SnapshotStore,
};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{
    Domain, INSTANCE_TEXT_BYTES, JOURNAL_LATENCY_METRIC, journal as journal_numbers,
    persistence_id as id_numbers,
};
use atomscope_layout::metrics::{Builtin, Kind};
use atomscope_layout::names::put_text;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Key;

use super::probe::{JournalAdmin, Named, PersistenceProbe, record_events};
use crate::attach;
use crate::watched::{Boxed, Watched};
use crate::writer::RegionWriter;

impl PersistenceProbe {
    /// Wraps a journal: the wrapper counts writes, replays and deletions under this name. Takes a lock; not for hot paths.
    /// [`ProbedJournal`] says what its calls cost.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atomr_persistence::{InMemoryJournal, Journal, PersistentRepr};
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let journal = telemetry.persistence.wrap_journal("orders", InMemoryJournal::new());
    /// // It is a journal: hand it to `Eventsourced::handle_command` and `Eventsourced::recover`.
    /// let placed = PersistentRepr { persistence_id: "order-42".into(), sequence_nr: 1, ..PersistentRepr::default() };
    /// journal.write_messages(vec![placed]).await?;
    /// assert_eq!(telemetry.persistence.total_events(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wrap_journal<J: Journal + ?Sized>(&self, name: &str, journal: Arc<J>) -> Arc<ProbedJournal<J>> {
        let writer = self.region.writer.clone();
        let key = writer.instance_key(Domain::Journal, None, name);
        let latency = writer.register(
            JOURNAL_LATENCY_METRIC,
            &[("journal", name)],
            "nanoseconds",
            Kind::Histogram,
            "Duration of its writes",
        );
        // The journal writes to it by its number, and readers find it by that.
        let latency = writer.keep_histogram(latency);
        let made = writer.make_instance(Domain::Journal, key, None, name);
        if let Some(made) = made {
            writer.instances().numbers(made)[journal_numbers::LATENCY].store(latency, Ordering::Relaxed);
        }
        writer.attached_to(made, Attachment::Journal);
        self.remove_inactive();
        Arc::new(ProbedJournal {
            inner: journal,
            name: name.to_owned(),
            key,
            latency,
            bus: self.bus.writer().clone(),
            writer,
        })
    }

    /// Wraps a snapshot store: the wrapper counts saves and loads. [`ProbedSnapshotStore`] says what its calls cost.
    ///
    /// ```
    /// use atomr_persistence::InMemorySnapshotStore;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let snapshots = telemetry.persistence.wrap_snapshot_store(InMemorySnapshotStore::new());
    /// ```
    pub fn wrap_snapshot_store<S: SnapshotStore + ?Sized>(
        &self,
        store: Arc<S>,
    ) -> Arc<ProbedSnapshotStore<S>> {
        self.region.writer.attached(Attachment::SnapshotStore);
        Arc::new(ProbedSnapshotStore { inner: store, writer: self.region.writer.clone() })
    }

    /// Attaches a permitter: the poller reads how many recoveries may run and how many are running. The numbers of several
    /// permitters are added.
    ///
    /// ```
    /// use atomr_persistence::RecoveryPermitter;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let permitter = RecoveryPermitter::new(16);
    /// telemetry.persistence.watch_recovery(&permitter);
    /// ```
    pub fn watch_recovery(self: &Arc<Self>, permitter: &RecoveryPermitter) {
        let mut permitters = self.permitters.write().unwrap_or_else(PoisonError::into_inner);
        permitters.push(permitter.clone());
        if permitters.len() > 1 {
            return;
        }
        drop(permitters);
        let (held, permitters) = (Arc::downgrade(self), self.permitters.clone());
        let poll = move |writer: &RegionWriter| {
            if held.strong_count() == 0 {
                return false;
            }
            let permitters = permitters.read().unwrap_or_else(PoisonError::into_inner);
            writer.set(Builtin::RecoveryPermits, permitters.iter().map(|at| at.capacity() as u64).sum());
            writer.set(Builtin::RecoveriesRunning, permitters.iter().map(|at| at.in_flight() as u64).sum());
            writer.attached(Attachment::Recovery);
            true
        };
        attach::poll(&self.region.writer, Box::new(poll));
    }
}

/// A journal whose calls are counted; made by [`PersistenceProbe::wrap_journal`].
///
/// A write costs one allocation for the future that observes its end, and per event about as much as
/// [`PersistenceProbe::record_write`]. A write with events of several persistence ids costs one allocation more. Replays and
/// deletions cost one allocation. `highest_sequence_nr`, `events_by_tag` and `all_persistence_ids` are passed on unchanged.
/// No system call; the first event of a persistence id takes a lock for some hundred nanoseconds.
///
/// The latency of a write is the time from the call to the end of its future, in nanoseconds. Its resolution is that of
/// the processor's counter, or some milliseconds where the counter cannot be used.
pub struct ProbedJournal<J: ?Sized> {
    name: String,
    key: Key,
    latency: u64,
    writer: Arc<RegionWriter>,
    bus: Arc<RegionWriter>,
    inner: Arc<J>,
}

impl<J: ?Sized> fmt::Debug for ProbedJournal<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedJournal").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<J: ?Sized> ProbedJournal<J> {
    /// The wrapped journal.
    pub fn inner(&self) -> &Arc<J> {
        &self.inner
    }

    fn count(&self, work: impl FnMut(&[AtomicU64])) {
        self.writer.with_instance_of(Domain::Journal, self.key, None, &self.name, work);
    }

    fn add(&self, number: usize) {
        self.count(|numbers| {
            numbers[number].fetch_add(1, Ordering::Relaxed);
        });
    }

    fn record_write_end(&self, runs: &Runs, since: u64, outcome: Option<&Result<(), JournalError>>) {
        let Some(outcome) = outcome else { return self.count_given_up() };
        let took_ns = self.writer.elapsed_ns(since);
        if outcome.is_ok() {
            let journal = Named { key: self.key, name: &self.name };
            for run in runs.iter() {
                let id = Named { key: run.id, name: run.name() };
                record_events(&self.writer, &self.bus, journal, id, run.first, run.count);
            }
        } else {
            self.writer.count(Builtin::PersistenceFailures, 1);
        }
        self.count(|numbers| {
            numbers[journal_numbers::WRITES].fetch_add(1, Ordering::Relaxed);
            numbers[journal_numbers::FAILURES].fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        });
        self.writer.record_histogram(self.latency, took_ns);
    }

    fn record_replay_end(
        &self,
        persistence_id: &str,
        outcome: Option<&Result<Vec<PersistentRepr>, JournalError>>,
    ) {
        let Some(outcome) = outcome else { return self.count_given_up() };
        let events = outcome.as_deref().unwrap_or_default();
        if let Some(highest) = events.last().map(|event| event.sequence_nr) {
            let key = self.writer.instance_key(Domain::PersistenceId, Some(self.key), persistence_id);
            self.writer.with_instance_of(
                Domain::PersistenceId,
                key,
                Some(self.key),
                persistence_id,
                |numbers| {
                    numbers[id_numbers::HIGHEST].fetch_max(highest, Ordering::Relaxed);
                },
            );
        }
        self.count(|numbers| {
            numbers[journal_numbers::REPLAYS].fetch_add(1, Ordering::Relaxed);
            numbers[journal_numbers::REPLAYED].fetch_add(events.len() as u64, Ordering::Relaxed);
            numbers[journal_numbers::REPLAY_FAILURES]
                .fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        });
    }

    fn count_given_up(&self) {
        self.add(journal_numbers::CANCELLED);
    }
}

// Written without `#[async_trait]`, which would box each future that is only passed on.
impl<J: Journal + ?Sized> Journal for ProbedJournal<J> {
    fn write_messages<'life0, 'async_trait>(
        &'life0 self,
        messages: Vec<PersistentRepr>,
    ) -> Boxed<'async_trait, Result<(), JournalError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let runs = Runs::of(&self.writer, self.key, &messages);
        let since = self.writer.ticks();
        let write = self.inner.write_messages(messages);
        Watched::boxed(write, move |outcome| self.record_write_end(&runs, since, outcome))
    }

    fn delete_messages_to<'life0, 'life1, 'async_trait>(
        &'life0 self,
        persistence_id: &'life1 str,
        to_sequence_nr: u64,
    ) -> Boxed<'async_trait, Result<(), JournalError>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let deleted = self.inner.delete_messages_to(persistence_id, to_sequence_nr);
        Watched::boxed(deleted, |outcome| {
            if let Some(Ok(())) = outcome {
                self.add(journal_numbers::DELETES);
            }
        })
    }

    fn replay_messages<'life0, 'life1, 'async_trait>(
        &'life0 self,
        persistence_id: &'life1 str,
        from_sequence_nr: u64,
        to_sequence_nr: u64,
        max: u64,
    ) -> Boxed<'async_trait, Result<Vec<PersistentRepr>, JournalError>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let replayed = self.inner.replay_messages(persistence_id, from_sequence_nr, to_sequence_nr, max);
        Watched::boxed(replayed, move |outcome| self.record_replay_end(persistence_id, outcome))
    }

    fn highest_sequence_nr<'life0, 'life1, 'async_trait>(
        &'life0 self,
        persistence_id: &'life1 str,
        from_sequence_nr: u64,
    ) -> Boxed<'async_trait, Result<u64, JournalError>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.highest_sequence_nr(persistence_id, from_sequence_nr)
    }

    fn events_by_tag<'life0, 'life1, 'async_trait>(
        &'life0 self,
        tag: &'life1 str,
        from_offset: u64,
        max: u64,
    ) -> Boxed<'async_trait, Result<Vec<PersistentRepr>, JournalError>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.events_by_tag(tag, from_offset, max)
    }

    fn all_persistence_ids<'life0, 'async_trait>(
        &'life0 self,
    ) -> Boxed<'async_trait, Result<Vec<String>, JournalError>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.all_persistence_ids()
    }
}

/// Events of one persistence id with consecutive sequence numbers. It outlives the messages, which the journal consumes.
struct Run {
    id: Key,
    first: u64,
    count: u64,
    name: [u8; INSTANCE_TEXT_BYTES],
    name_bytes: usize,
}

impl Run {
    fn name(&self) -> &str {
        self.name.get(..self.name_bytes).and_then(|name| core::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

/// The runs of a write. Most writes have one run, which needs no allocation.
struct Runs {
    first: Option<Run>,
    more: Vec<Run>,
}

impl Runs {
    fn of(writer: &RegionWriter, journal: Key, messages: &[PersistentRepr]) -> Self {
        let follows = |one: &PersistentRepr, next: &PersistentRepr| {
            one.sequence_nr.checked_add(1) == Some(next.sequence_nr)
                && one.persistence_id == next.persistence_id
        };
        let mut runs = messages.chunk_by(follows).filter_map(|run| {
            let first = run.first()?;
            let mut name = [0; INSTANCE_TEXT_BYTES];
            let (name_bytes, cut) = put_text(&mut name, INSTANCE_TEXT_BYTES, &first.persistence_id);
            writer.count(Builtin::TextsCut, u64::from(cut));
            let id = writer.instance_key(Domain::PersistenceId, Some(journal), &first.persistence_id);
            Some(Run { id, first: first.sequence_nr, count: run.len() as u64, name, name_bytes })
        });
        Self { first: runs.next(), more: runs.collect() }
    }

    fn iter(&self) -> impl Iterator<Item = &Run> {
        self.first.iter().chain(&self.more)
    }
}

/// A snapshot store whose calls are counted; made by [`PersistenceProbe::wrap_snapshot_store`].
///
/// A save or load costs one small allocation, for the future that observes its end; no system call. A store of atomr's
/// cannot report a failure. So a call counts as failed if it panics, or if its caller drops it before the end.
pub struct ProbedSnapshotStore<S: ?Sized> {
    writer: Arc<RegionWriter>,
    inner: Arc<S>,
}

impl<S: ?Sized> fmt::Debug for ProbedSnapshotStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedSnapshotStore").finish_non_exhaustive()
    }
}

impl<S: ?Sized> ProbedSnapshotStore<S> {
    /// The wrapped store.
    pub fn inner(&self) -> &Arc<S> {
        &self.inner
    }
}

impl<S: SnapshotStore + ?Sized> SnapshotStore for ProbedSnapshotStore<S> {
    fn save<'life0, 'async_trait>(
        &'life0 self,
        meta: SnapshotMetadata,
        payload: Vec<u8>,
    ) -> Boxed<'async_trait, ()>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Watched::boxed(self.inner.save(meta, payload), |outcome| {
            let metric = outcome.map_or(Builtin::SnapshotFailures, |()| Builtin::SnapshotsSaved);
            self.writer.count(metric, 1);
        })
    }

    fn load<'life0, 'life1, 'async_trait>(
        &'life0 self,
        persistence_id: &'life1 str,
    ) -> Boxed<'async_trait, Option<(SnapshotMetadata, Vec<u8>)>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Watched::boxed(self.inner.load(persistence_id), |outcome| match outcome {
            Some(Some(_)) => self.writer.count(Builtin::SnapshotsLoaded, 1),
            Some(None) => {}
            None => self.writer.count(Builtin::SnapshotFailures, 1),
        })
    }

    fn delete<'life0, 'life1, 'async_trait>(
        &'life0 self,
        persistence_id: &'life1 str,
        to_sequence_nr: u64,
    ) -> Boxed<'async_trait, ()>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.delete(persistence_id, to_sequence_nr)
    }
}

/// Queries to an [`InMemoryJournal`].
///
/// ```
/// use std::sync::Arc;
///
/// use atomr_persistence::InMemoryJournal;
/// use atomscope_probe::TelemetryExtension;
/// use atomscope_probe::persistence::InMemoryJournalAdmin;
///
/// let telemetry = TelemetryExtension::new("shop-1", 1024);
/// let journal = InMemoryJournal::new();
/// telemetry.persistence.register_journal(Arc::new(InMemoryJournalAdmin::new("orders", journal)));
/// ```
pub struct InMemoryJournalAdmin {
    name: String,
    inner: Arc<InMemoryJournal>,
}

impl fmt::Debug for InMemoryJournalAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryJournalAdmin").field("name", &self.name).finish_non_exhaustive()
    }
}

impl InMemoryJournalAdmin {
    /// Queries to `journal`, which gets this name in snapshots.
    pub fn new(name: impl Into<String>, journal: Arc<InMemoryJournal>) -> Self {
        Self { name: name.into(), inner: journal }
    }
}

#[async_trait]
impl JournalAdmin for InMemoryJournalAdmin {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list_persistence_ids(&self) -> Vec<String> {
        self.inner.list_persistence_ids()
    }

    async fn highest_sequence_nr_for(&self, persistence_id: &str) -> u64 {
        self.inner.highest_sequence_nr(persistence_id, 0).await.unwrap_or(0)
    }

    async fn event_count_for(&self, persistence_id: &str) -> u64 {
        self.inner.event_count(persistence_id)
    }
}
