//! Persistence.

use atomscope_layout::decode::subsystems::InstanceEntry;
use atomscope_layout::histogram::Histogram;
use atomscope_layout::instances::{Domain, journal};
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{Fact, Subsystem, ViewText, counted, no_warnings, number};
use crate::report::list::{self, List, Value, text};
use crate::snapshot::Snapshot;

/// Journals, persistence ids, writes and snapshots.
pub const PERSISTENCE: Subsystem = Subsystem {
    name: "persistence",
    title: "Persistence",
    content: "journals or snapshots",
    about: "List the journals of a node, its persistence ids and newest writes",
    notes: "Half of a journal's writes took at most WRITE_P50(ms), 99 % took at most WRITE_P99(ms); both may be up to a quarter too \
            great. The OWNER of a persistence id is its journal. Without --limit the newest five writes are shown.",
    examples: &[
        "atomscope persistence shop --sort event_count --limit 20",
        "atomscope persistence --json | jq '.journals[].write_p99_ns'",
    ],
    view: ViewText {
        name: "persistence",
        title: "Persistence",
        key: '7',
        help: "journals, persistence ids, writes",
    },
    instances: &[
        Instances::of(Domain::Journal, "JOURNAL").instead_of(
            journal::LATENCY,
            &[
                (list::number("write_p50_ns", "nanoseconds"), |entry| {
                    latency(entry, |all| all.quantile(0.5))
                }),
                (list::number("write_p99_ns", "nanoseconds"), |entry| {
                    latency(entry, |all| all.quantile(0.99))
                }),
                (list::number("write_greatest_ns", "nanoseconds"), |entry| {
                    latency(entry, |all| all.greatest)
                }),
            ],
        ),
        Instances::of(Domain::PersistenceId, "PERSISTENCE_ID").with_owner(),
    ],
    shown_with: &[],
    is_one_list: false,
    lists,
    summary,
    gaps,
    warnings: no_warnings,
    failures: &[
        (Builtin::PersistenceFailures, "journal write failed", "journal writes failed"),
        (Builtin::SnapshotFailures, "snapshot failed", "snapshots failed"),
    ],
};

/// Journal writes that people see without `--limit`.
const WRITES: usize = 5;

fn latency(entry: &InstanceEntry, of: fn(&Histogram) -> u64) -> Value {
    let some = entry.latency.as_ref().filter(|latency| latency.count > 0);
    Value::of(some, |latency| Value::Number(of(latency)))
}

fn lists(own: &Subsystem, snapshot: Option<&Snapshot>) -> Vec<List> {
    let rows =
        snapshot.iter().flat_map(|snapshot| snapshot.subsystems.persistence.recent_writes.iter().rev());
    let rows = rows.map(|write| {
        vec![
            Value::text(&write.timestamp),
            Value::text(&write.journal),
            Value::text(&write.persistence_id),
            Value::Number(write.sequence_nr),
        ]
    });
    let columns =
        [text("timestamp"), text("journal"), text("persistence_id"), list::number("sequence_nr", "")];
    let writes = List::new("recent_writes", "NEWEST_WRITES", columns, rows);
    let mut lists = own.instance_lists(snapshot);
    lists.push(List { few: WRITES, ..writes });
    lists
}

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let instances = &snapshot.subsystems.instances;
    let journals = instances.count(Domain::Journal);
    let events = snapshot.builtin_if_known(Builtin::PersistenceEvents);
    let failures = snapshot.builtin_if_known(Builtin::PersistenceFailures);
    let latencies = instances.of(Domain::Journal).filter_map(|journal| journal.latency.as_ref());
    let p99 = latencies.filter(|all| all.count > 0).map(|all| all.quantile(0.99)).max();
    let slowest = p99.map(|ns| format!(", 99 % of writes within {:.3} ms", ns as f64 / 1e6));
    let line = format!(
        "{}, {}, {}{}",
        counted(journals, "journal", "journals"),
        counted(events, "event", "events"),
        counted(failures, "failed write", "failed writes"),
        slowest.unwrap_or_default()
    );
    let facts = vec![
        number("journals", journals),
        number("persistence_ids", instances.count(Domain::PersistenceId)),
        number("events", events),
        number("failures", failures),
        ("write_p99_ns", Value::of(p99, Value::Number)),
    ];
    (line, facts)
}

fn gaps(snapshot: &Snapshot) -> Vec<(u64, &'static str)> {
    let journals = || snapshot.subsystems.instances.of(Domain::Journal);
    let sum = |at: usize| journals().fold(0u64, |sum, journal| sum.saturating_add(journal.numbers[at]));
    vec![
        (sum(journal::ROLLED_UP), "persistence ids are not listed any more: more active ones replaced them"),
        (sum(journal::UNLISTED_EVENTS), "events belong to persistence ids that are not listed"),
    ]
}
