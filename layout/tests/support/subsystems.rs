//! Records of every subsystem, for tests that read a region.

use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::subsystems::{cluster_rows, sharding_rows};
use atomscope_layout::document;
use atomscope_layout::failures::{FailureLog, FailureRecord, PANIC_WORDS, PanicRecord, Report, Severity};
use atomscope_layout::histogram;
use atomscope_layout::instances::{
    Domain, InstanceRecord, association, graph, journal, key, lease, node_metric, persistence_id, shard,
    shard_region, worker,
};
use atomscope_layout::metrics::{self, Kind};
use atomscope_layout::names::Interned;
use atomscope_layout::records::{JOURNAL_WRITE_WORDS, JournalWriteRecord};
use atomscope_layout::region::{CLUSTER_DOCUMENT, SHARDING_DOCUMENT};
use atomscope_layout::ring::{Ring, Written};
use atomscope_layout::sync::Ordering;
use atomscope_layout::table::Key;
use zerocopy::FromZeros as _;

use super::Region;

/// An instance: domain, number of the owner, name, and numbers by index.
type Told<'a> = (Domain, Option<u64>, &'static str, &'a [(usize, u64)]);

/// Keys that differ in all their bits.
fn key_of(number: u64) -> Key {
    Key(number.wrapping_mul(0xc2b2_ae3d_27d4_eb4f), number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Writes instances of every domain, both documents, a histogram and journal writes into a region with the capacity for
/// eleven instances and 256 bytes per document. The histogram is metric `number`.
pub fn fill(region: &Region, number: usize) {
    let (map, instances) = (&region.map, region.instances());
    let up = match region.names().intern_static("up") {
        Interned::Known(id) | Interned::New { id, .. } => u64::from(id),
        Interned::Full => u64::MAX,
    };
    let all: [Told<'_>; 11] = [
        (
            Domain::Association,
            None,
            "akka.tcp://there@höst:1",
            &[
                (association::STATE, up),
                (association::BYTES_IN, 1),
                (association::BYTES_OUT, u64::MAX),
                (association::AVAILABLE, 2),
                (association::QUARANTINED, 1),
            ],
        ),
        (Domain::Graph, None, "", &[(graph::ID, 7), (graph::ELEMENTS, 8)]),
        (Domain::Journal, None, "j", &[(journal::EVENTS, 3), (journal::LATENCY, 1)]),
        (Domain::PersistenceId, Some(3), "p", &[(persistence_id::HIGHEST, 9), (persistence_id::EVENTS, 2)]),
        (Domain::PersistenceId, Some(99), "of no journal", &[]),
        (Domain::ShardRegion, None, "r", &[(shard_region::MESSAGES, 5)]),
        (Domain::Shard, Some(6), "s", &[(shard::MESSAGES, 4)]),
        (Domain::Key, None, "k", &[(key::UPDATES, 6)]),
        (Domain::Lease, None, "l", &[(lease::HOLDER, up), (lease::HELD, 0)]),
        (Domain::Worker, None, "0", &[(worker::BUSY_NS, 1_000)]),
        (Domain::NodeMetric, None, "a cpu", &[(node_metric::VALUE, 0.5f64.to_bits())]),
    ];
    for (at, (domain, owner, name, numbers)) in (1..).zip(all) {
        let (record, _) = InstanceRecord::new(key_of(at), owner.map(key_of), at, domain, name);
        let made = instances.make(&record).unwrap();
        for (place, value) in numbers {
            instances.numbers(made)[*place].store(*value, Ordering::Relaxed);
        }
        // For every second instance.
        if at % 2 == 1 {
            Attachment::ALL.iter().for_each(|attachment| instances.attach(made, *attachment));
        }
    }

    let words = |number: usize| {
        &region.section(map.documents)[number * map.documents.stride..][..map.documents.stride]
    };
    document::write(words(CLUSTER_DOCUMENT), 1, |_| {});
    let left_out = document::write(words(CLUSTER_DOCUMENT), 2, |rows| {
        rows.push(cluster_rows::SELF, 0, ["a"]);
        rows.push(cluster_rows::LEADER, 0, ["b"]);
        rows.push(cluster_rows::MEMBER, 1 << 32 | 7, ["a", "Up", "role", ""]);
        rows.push(cluster_rows::MEMBER, u64::from(u32::MAX), ["b", "Down"]);
        rows.push(cluster_rows::UNREACHABLE, 0, ["b"]);
        rows.push(cluster_rows::VERSION, 3, ["a"]);
        rows.push(cluster_rows::REACHABILITY, 0, ["a", "b", "terminated"]);
        rows.push(cluster_rows::VERSION, 4, ["a row that is too long"]);
    });
    assert_eq!(left_out, 2);
    document::write(words(SHARDING_DOCUMENT), 3, |rows| {
        rows.push(sharding_rows::REGION, 2, ["r"]);
        rows.push(sharding_rows::SHARD, 0, ["s"]);
        rows.push(sharding_rows::ALLOCATION, 0, ["s", "r"]);
        rows.push(sharding_rows::HAND_OFF, 0, ["s", "r", "q", "done"]);
        rows.push(77, 0, ["of a later version"]);
    });

    let stride = map.metrics.stride;
    let descriptor = &region.section(map.metrics)[number * stride..][..stride];
    metrics::describe(descriptor, "j.latency", "nanoseconds", Kind::Histogram, "Time that writes took.");
    region.section(map.counters)[number].store(1, Ordering::Relaxed);
    for value in [0, 1, 3, 4, 1_000, 1_000, u64::MAX] {
        histogram::record(region.section(map.histograms), value);
    }

    let ring = Ring::new(region.section(map.journal_writes), map.journal_writes.stride);
    for sequence_nr in 1..=3 {
        let mut write =
            JournalWriteRecord { stamp: 10 * sequence_nr, sequence_nr, ..JournalWriteRecord::new_zeroed() };
        (write.journal_bytes, write.persistence_id_bytes) = (1, 1);
        write.text[..2].copy_from_slice(b"jp");
        let words: [u64; JOURNAL_WRITE_WORDS] = zerocopy::transmute!(write);
        assert_eq!(ring.write(ring.ticket(), &words), Written::Published);
    }
    fill_failures(region, u32::try_from(up).unwrap_or(0));
}

/// Writes three distinct failures, as many as there is room for, and two panics.
/// The class of their actor has the number of a name, which depends on the address of its text.
fn fill_failures(region: &Region, class: u32) {
    let map = &region.map;
    let log = FailureLog::new(region.section(map.failures), map.failures.stride);
    let panics = Ring::new(region.section(map.panics), map.panics.stride);
    let report = Report {
        message: Some("Nmessage"),
        location: "Nlocation:7:1",
        thread: "Nthread",
        actor: "akka://Nsystem/user/Nfailed",
        target: "Ntarget",
        class,
    };
    let reports = [
        (Severity::Panic, report),
        (Severity::Error, Report { message: None, ..report }),
        (Severity::Warning, Report { location: "Nother", ..Report::default() }),
    ];
    for (key, (severity, report)) in (1..).zip(reports) {
        for stamp in 0..key {
            log.note(key << 32, severity, 10 * key + stamp, || FailureRecord::of(&report).0);
        }
    }
    for (stamp, failure) in [(10, 1), (20, 0)] {
        let record = PanicRecord { stamp, failure, tid: 7, ..PanicRecord::of(&report).0 };
        let words: [u64; PANIC_WORDS] = zerocopy::transmute!(record);
        assert_eq!(panics.write(panics.ticket(), &words), Written::Published);
    }
}
