//! Journals, snapshot stores and recoveries: the written events, and the highest sequence number of each persistence id.
//!
//! ```text
//!   actor ──► ProbedJournal ──► journal           poller ──► RecoveryPermitter: how many actors recover
//!                 │ when the call has ended               └────► removes the least active ids, if others were refused
//!                 ▼
//!   counters of the journal and of the id, newest writes, latency
//! ```
//! Persistence ids take at most half of the slots for instances. If others were refused, each round of the poller removes
//! the eighth of the listed ids that wrote least since the round before. The events of a removed id are added to its
//! journal's `unlisted_events`, so that these and the events of the listed ids always add up to the journal's events.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::persistence::PersistenceProbe;
//!
//! let persistence = PersistenceProbe::new(TelemetryBus::new(64));
//! persistence.record_write("orders", "order-42", 1);
//! assert_eq!(persistence.total_events(), 1);
//! ```

mod probe;
#[cfg(feature = "persistence")]
mod wrappers;

pub use probe::{JournalAdmin, PersistenceProbe};
#[cfg(feature = "persistence")]
pub use wrappers::{InMemoryJournalAdmin, ProbedJournal, ProbedSnapshotStore};
