//! A snapshot as JSON: in one object, or in one object a line.

mod histogram;
mod instruments;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use atomscope_layout::decode::subsystems::{InstanceEntry, Subsystems};
use atomscope_layout::decode::{
    ActorTotals, ActorTree, Failure, Failures, OwnRecords, Panic, RecordJson, RecordKind, RuntimeThread,
    ValuesJson, rfc3339,
};
use atomscope_layout::dto::{
    ClusterStateInfo, DDataSnapshot, DeadLetterRecord, JournalWriteInfo, PersistenceSnapshot, RemoteSnapshot,
    ShardingSnapshot, StreamsSnapshot,
};
use atomscope_layout::json::{JsonWriter, NodeFields};
use atomscope_layout::metrics::{Metric, MetricValue};
use serde::Serialize;

pub use self::histogram::HistogramDump;
pub use self::instruments::{
    ActorDump, CellsDump, ClassDump, CountedHistogram, InFlightDump, InstrumentsDump, StatsDump, UnnamedDump,
    VariantDump,
};
use super::Snapshot;
use crate::ending::{Before, End};
use crate::liveness::{Evidence, Notes};
use crate::text::{is_unsafe, write_json, write_json_value};
use crate::vitals::Vitals;

/// The format of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// One JSON object a line, each with its `kind`.
    Ndjson,
}

impl Snapshot {
    /// The JSON of a snapshot that lists the actors ([`Snapshot::take`]). `redacted` says that names were replaced.
    pub fn into_dump(self, redacted: bool) -> Dump {
        let drift = self.actors.tally().drift(&self.totals);
        let generated_at = rfc3339(self.taken_at.unix_ns);
        let Self {
            identity,
            liveness,
            actors,
            totals,
            at_rest,
            dead_letters,
            failures,
            metrics,
            instruments,
            runtime_threads,
            own_records,
            dump_info,
            process,
            ..
        } = self;
        let mut subsystems = self.subsystems;
        let instances = std::mem::take(&mut subsystems.instances);
        let Failures { log, unreadable: failures_unreadable, panics, .. } = failures;
        let mut by_domain = BTreeMap::new();
        for entry in instances.entries {
            by_domain.entry(entry.domain.name()).or_insert_with(Vec::new).push(entry);
        }
        let ms = |age: Option<Duration>| age.map(|age| age.as_millis() as u64);
        let atomscope = DumpMeta {
            state: liveness.verdict.word(),
            why: liveness.why(),
            conditions: liveness.notes,
            liveness: liveness.evidence,
            end: liveness.last_words.end,
            crashes_before: liveness.last_words.before,
            pid: self.pid,
            uid: identity.header.uid,
            system: identity.system,
            program: identity.program,
            writer_version: identity.writer,
            layout_version: format!("{}.{}", self.layout_version.0, self.layout_version.1),
            created_at: rfc3339(i128::from(identity.header.created_unix_ns)),
            process_beat_age_ms: ms(liveness.process_beat_age),
            runtime_beat_age_ms: ms(liveness.runtime_beat_age),
            process,
            poll_beat_age_ms: ms(self.poll.map(|poll| poll.beat_age)),
            poll_stuck: self.poll.is_some_and(|poll| poll.is_stuck),
            totals,
            drift,
            at_rest,
            unreadable: actors.unreadable,
            unlisted: actors.unlisted,
            waiting_stops: actors.waiting_stops,
            dead_letters: RingTotals {
                total: dead_letters.total,
                lapped: dead_letters.lapped,
                abandoned: dead_letters.abandoned,
                unreadable: dead_letters.unreadable,
            },
            failures: log,
            failures_unreadable,
            panics,
            panic_totals: RingTotals {
                total: failures.panics_total,
                lapped: failures.panics_lapped,
                abandoned: failures.panics_abandoned,
                unreadable: failures.panics_unreadable,
            },
            metrics: metrics.into_iter().map(MetricDump::from).collect(),
            instruments: InstrumentsDump::of(instruments, &actors),
            runtime_threads: runtime_threads.list,
            runtime_threads_unreadable: runtime_threads.unreadable,
            records: own_records,
            instances: by_domain,
            hand_offs: std::mem::take(&mut subsystems.hand_offs),
            instances_unreadable: instances.unreadable,
            rows_dropped: subsystems.rows_dropped,
            documents_unreadable: subsystems.documents_unreadable,
            dumped_at: dump_info.map(|_| generated_at.clone()),
            redacted: redacted || dump_info.is_some_and(|info| info.redacted),
        };
        let Subsystems { cluster, sharding, persistence, remote, streams, ddata, .. } = subsystems;
        Dump {
            node: identity.node,
            generated_at,
            actors: actors.into_tree(),
            dead_letters: dead_letters.recent,
            cluster,
            sharding,
            persistence,
            remote,
            streams,
            ddata,
            atomscope,
        }
    }
}

impl Dump {
    /// Writes the dump in this format. Names are escaped, so the result is safe to print.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(mut self, format: Format, mut out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut json = JsonWriter::escaping(&mut out, is_unsafe);
        let out = &mut json;
        match format {
            Format::Json => {
                out.raw("{")?;
                out.node_fields(&self.node_fields())?;
                out.raw(",\"atomscope\":")?;
                write_json_value(out, &self.atomscope)?;
                out.raw("}\n")?;
            }
            Format::Ndjson => {
                let metrics = std::mem::take(&mut self.atomscope.metrics);
                let failures = std::mem::take(&mut self.atomscope.failures);
                let panics = std::mem::take(&mut self.atomscope.panics);
                let records = std::mem::take(&mut self.atomscope.records);
                self.atomscope.records.unreadable = records.unreadable;
                let classes = std::mem::take(&mut self.atomscope.instruments.classes);
                let instrumented = std::mem::take(&mut self.atomscope.instruments.actors);
                let instances = std::mem::take(&mut self.atomscope.instances);
                let hand_offs = std::mem::take(&mut self.atomscope.hand_offs);
                let Dump { node, generated_at, actors, dead_letters, atomscope, .. } = &self;
                let Dump { cluster, sharding, persistence, .. } = &self;
                write_json(out, &Line::Node { node, generated_at, actors: actors.total(), atomscope })?;
                out.actor_lines(actors.actors(), "{\"kind\":\"actor\",")?;
                classes.iter().try_for_each(|class| write_json(out, &Line::InstrumentedClass(class)))?;
                instrumented.iter().try_for_each(|actor| write_json(out, &Line::InstrumentedActor(actor)))?;
                dead_letters.iter().try_for_each(|letter| write_json(out, &Line::DeadLetter(letter)))?;
                failures.iter().try_for_each(|failure| write_json(out, &Line::Failure(failure)))?;
                panics.iter().try_for_each(|panic| write_json(out, &Line::Panic(panic)))?;
                for MetricDump { name, labels, unit, kind: metric_kind, help, value, histogram } in &metrics {
                    let (value, histogram) = (*value, histogram.as_ref());
                    let line = Line::Metric { name, labels, unit, metric_kind, help, value, histogram };
                    write_json(out, &line)?;
                }
                records.kinds.iter().try_for_each(|kind| write_json(out, &Line::RecordKind(kind)))?;
                for RecordJson { kind: record_kind, name, published, lost, at, values } in records.json() {
                    write_json(out, &Line::Record { record_kind, name, published, lost, at, values })?;
                }
                if *cluster != ClusterStateInfo::default() {
                    write_json(out, &Line::Cluster(cluster))?;
                }
                if *sharding != ShardingSnapshot::default() || !hand_offs.is_empty() {
                    write_json(out, &Line::Sharding { sharding, hand_offs: &hand_offs })?;
                }
                for (domain, entries) in &instances {
                    for instance in entries {
                        write_json(out, &Line::Instance { domain, instance })?;
                    }
                }
                persistence
                    .recent_writes
                    .iter()
                    .try_for_each(|write| write_json(out, &Line::JournalWrite(write)))?;
            }
        }
        json.finish()
    }

    /// All fields but `atomscope`.
    fn node_fields(&self) -> NodeFields<'_> {
        NodeFields {
            node: &self.node,
            generated_at: &self.generated_at,
            actors: &self.actors,
            dead_letters: &self.dead_letters,
            cluster: &self.cluster,
            sharding: &self.sharding,
            persistence: &self.persistence,
            remote: &self.remote,
            streams: &self.streams,
            ddata: &self.ddata,
        }
    }
}

/// The JSON of `dump --format json`: field for field that of a [`NodeSnapshot`], and the object `atomscope` with everything
/// else.
///
/// [`NodeSnapshot`]: atomscope_layout::dto::NodeSnapshot
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of NodeSnapshot document them")]
pub struct Dump {
    pub node: String,
    pub generated_at: String,
    pub actors: ActorTree,
    pub dead_letters: Vec<DeadLetterRecord>,
    pub cluster: ClusterStateInfo,
    pub sharding: ShardingSnapshot,
    pub persistence: PersistenceSnapshot,
    pub remote: RemoteSnapshot,
    pub streams: StreamsSnapshot,
    pub ddata: DDataSnapshot,
    /// Everything that a [`NodeSnapshot`](atomscope_layout::dto::NodeSnapshot) has no field for.
    pub atomscope: DumpMeta,
}

/// Everything in a dump that `atomr-telemetry`'s snapshot has no field for.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of Snapshot document them")]
pub struct DumpMeta {
    pub state: &'static str,
    pub why: Option<String>,
    /// Conditions and other notes on the state.
    pub conditions: Notes,
    /// The evidence for `state`.
    pub liveness: Evidence,
    /// How a dead node ended; `None` if it lives or could note nothing.
    pub end: Option<End>,
    /// The crashes of earlier nodes of the name since one ended in good order.
    pub crashes_before: Before,
    pub pid: u64,
    pub uid: u64,
    pub system: Option<String>,
    pub program: String,
    pub writer_version: String,
    pub layout_version: String,
    /// RFC 3339.
    pub created_at: String,
    pub process_beat_age_ms: Option<u64>,
    pub runtime_beat_age_ms: Option<u64>,
    /// `None` unless the process lives on this machine.
    pub process: Option<Vitals>,
    pub poll_beat_age_ms: Option<u64>,
    /// Whether a round of the poller does not end.
    pub poll_stuck: bool,
    pub totals: ActorTotals,
    pub drift: i64,
    /// Whether no actor came or went during the scan of the table.
    pub at_rest: bool,
    pub unreadable: u64,
    pub unlisted: u64,
    pub waiting_stops: u64,
    pub dead_letters: RingTotals,
    /// The distinct failures, that with the newest occurrence first.
    pub failures: Vec<Failure>,
    pub failures_unreadable: u64,
    /// The newest panics, newest first.
    pub panics: Vec<Panic>,
    pub panic_totals: RingTotals,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricDump>,
    pub instruments: InstrumentsDump,
    /// The threads of runtimes that are watched from their builders.
    pub runtime_threads: Vec<RuntimeThread>,
    pub runtime_threads_unreadable: u64,
    /// The application's own records.
    pub records: OwnRecords,
    /// The instances of subsystems by domain.
    pub instances: BTreeMap<&'static str, Vec<InstanceEntry>>,
    /// Hand-offs of shards, each as shard, from, to and state.
    pub hand_offs: Vec<[String; 4]>,
    pub instances_unreadable: u64,
    pub rows_dropped: u64,
    pub documents_unreadable: u64,
    /// RFC 3339; only of a raw dump, whose `state` and ages are those of that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dumped_at: Option<String>,
    pub redacted: bool,
}

/// The numbers of dead letters, or of panics.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of DeadLetters document them")]
pub struct RingTotals {
    pub total: u64,
    pub lapped: u64,
    pub abandoned: u64,
    pub unreadable: u64,
}

/// A counter, gauge or histogram.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of Metric document them")]
pub struct MetricDump {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub unit: String,
    pub kind: &'static str,
    pub help: String,
    /// `null` if nothing counts it.
    pub value: Option<MetricValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<HistogramDump>,
}

impl From<Metric> for MetricDump {
    fn from(metric: Metric) -> Self {
        let histogram = metric.histogram.map(HistogramDump::from);
        let kind = metric.kind.name();
        let Metric { name, labels, unit, help, value, .. } = metric;
        Self { name, labels: labels.into_iter().collect(), unit, kind, help, value, histogram }
    }
}

/// One line of `dump --format ndjson` that is not an actor.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Node {
        node: &'a str,
        generated_at: &'a str,
        actors: u64,
        atomscope: &'a DumpMeta,
    },
    InstrumentedClass(&'a ClassDump),
    InstrumentedActor(&'a ActorDump),
    DeadLetter(&'a DeadLetterRecord),
    Failure(&'a Failure),
    Panic(&'a Panic),
    Metric {
        name: &'a str,
        labels: &'a BTreeMap<String, String>,
        unit: &'a str,
        metric_kind: &'a str,
        help: &'a str,
        value: Option<MetricValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        histogram: Option<&'a HistogramDump>,
    },
    RecordKind(&'a RecordKind),
    Record {
        record_kind: &'a str,
        name: &'a str,
        published: u64,
        lost: u64,
        at: Option<&'a str>,
        values: ValuesJson<'a>,
    },
    Cluster(&'a ClusterStateInfo),
    Sharding {
        #[serde(flatten)]
        sharding: &'a ShardingSnapshot,
        hand_offs: &'a [[String; 4]],
    },
    Instance {
        domain: &'a str,
        #[serde(flatten)]
        instance: &'a InstanceEntry,
    },
    JournalWrite(&'a JournalWriteInfo),
}
