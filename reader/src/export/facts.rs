//! From a snapshot to metric families: the only place that names what is exported.
//!
//! Names that begin with `atomr_` are those of `atomr-telemetry`'s exporter, with the same labels and meaning. All others begin
//! with `atomscope_`, except the application's own metrics and records. What is unknown has no sample; it is never 0.

use std::collections::BTreeMap;

use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::subsystems::flag;
use atomscope_layout::decode::{ClassStats, FieldValue};
use atomscope_layout::dto::ClusterMembershipDiff;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::instances::{Domain, FieldKind, JOURNAL_LATENCY_METRIC, association, journal, key};
use atomscope_layout::metrics::{Builtin, Kind as MetricKind, Metric, MetricValue};

use super::exporter::Observed;
use super::family::{Buckets, Families, Kind, Labels, Value, base_unit, in_base_unit, name_of};
use crate::follow::{Item, ItemKind};
use crate::liveness::Verdict;
use crate::report::usage::Drops;
use crate::snapshot::Snapshot;
use crate::workers::LONG;

/// What is exported of a node.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The beginning of the names that `atomr-telemetry`'s exporter has too.
    pub namespace: String,
    /// Limit of rows of one kind: classes, records, series of the application and so on. Those beyond it are left out.
    pub limit: usize,
    /// How many actors are exported one by one: the busiest, then those with the fullest mailboxes. 0 needs no list of actors.
    pub top: usize,
    /// Domains whose instances are exported although there may be any number of them.
    pub detail: Vec<Domain>,
    /// The buckets of histograms.
    pub buckets: Buckets,
}

impl Selection {
    /// Whether this needs snapshots that list the actors one by one.
    pub fn wants_actors(&self) -> bool {
        self.top > 0
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            namespace: "atomr".to_owned(),
            limit: 100,
            top: 0,
            detail: Vec::new(),
            buckets: Buckets::Octave,
        }
    }
}

/// Domains with so few instances that they are exported unless there are more than the limit.
pub const BOUNDED: [Domain; 4] = [Domain::Journal, Domain::ShardRegion, Domain::Lease, Domain::Worker];

/// What the region does not count and only events tell: changes by their kind. Counted since the node was found.
#[derive(Debug, Clone, Default)]
pub struct EventCounts {
    members: [u64; 5],
    sharding: BTreeMap<(String, String), u64>,
    associations: BTreeMap<String, u64>,
    /// Events that were lost before they could be read.
    pub lost: u64,
}

/// Limit of different kinds that are counted.
const MOST_KINDS: usize = 1000;

impl EventCounts {
    /// Whether a node has events that are counted. The others need not be read.
    pub fn are_wanted(snapshot: &Snapshot) -> bool {
        let wanted = [
            Attachment::ClusterState,
            Attachment::ShardRegion,
            Attachment::ShardCoordinator,
            Attachment::ShardingCalls,
            Attachment::Endpoints,
            Attachment::EndpointCalls,
            Attachment::AssociationCalls,
        ];
        snapshot.subsystems.instances.attached.has_any(&wanted)
    }

    /// Counts these.
    pub fn add(&mut self, items: &[Item]) {
        let add = |counts: &mut u64, more: usize| *counts = counts.saturating_add(more as u64);
        for item in items {
            match &item.kind {
                ItemKind::Loss(loss) => self.lost = self.lost.saturating_add(loss.loss.all()),
                ItemKind::Event(event) => match &event.event {
                    TelemetryEvent::ClusterChanged(diff) => {
                        let ClusterMembershipDiff {
                            added,
                            updated,
                            removed,
                            became_unreachable,
                            became_reachable,
                        } = diff;
                        let more = [
                            added.len(),
                            updated.len(),
                            removed.len(),
                            became_unreachable.len(),
                            became_reachable.len(),
                        ];
                        self.members.iter_mut().zip(more).for_each(|(count, more)| add(count, more));
                    }
                    TelemetryEvent::ShardingChanged(event) => {
                        let kind = (event.region_id.clone(), event.event.clone());
                        if self.sharding.len() < MOST_KINDS || self.sharding.contains_key(&kind) {
                            add(self.sharding.entry(kind).or_default(), 1);
                        }
                    }
                    TelemetryEvent::RemoteAssociation(association) => {
                        let state = &association.state;
                        if self.associations.len() < MOST_KINDS || self.associations.contains_key(state) {
                            add(self.associations.entry(state.clone()).or_default(), 1);
                        }
                    }
                    _ => {}
                },
            }
        }
    }
}

/// The families of a node.
pub fn of_node(observed: &Observed<'_>, events: Option<&EventCounts>, selection: &Selection) -> Families {
    let mut families = Families::default();
    let out = &mut families;
    shared(out, observed.snapshot, events, selection);
    node(out, observed.snapshot);
    process(out, observed, selection);
    room(out, observed);
    classes(out, observed.snapshot, selection);
    instances(out, observed.snapshot, selection);
    builtin(out, observed.snapshot, selection);
    application(out, observed.snapshot, selection);
    records(out, observed.snapshot, selection);
    if selection.wants_actors() {
        actors(out, observed.snapshot, selection);
    }
    for (what, count) in std::mem::take(&mut out.left_out) {
        let help = "Samples that were left out, by what they are or by what is wrong with them.";
        out.add("atomscope_export_left_out", help, Kind::Gauge, label("what", what), Value::Whole(count));
    }
    families
}

fn label(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name.into(), value.into())]
}

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.map(|(name, value)| (name.into(), value.to_owned())).into()
}

/// The metrics of `atomr-telemetry`'s exporter.
fn shared(out: &mut Families, snapshot: &Snapshot, events: Option<&EventCounts>, selection: &Selection) {
    let name = |name: &str| format!("{}_{name}", selection.namespace);
    let whole = |count: usize| Value::Whole(count as u64);
    let subsystems = &snapshot.subsystems;
    let attached = subsystems.instances.attached;
    let totals = snapshot.totals;
    if snapshot.has_actors() {
        out.counter(&name("actors_spawned"), "Total number of actors spawned", totals.spawned);
        out.counter(&name("actors_stopped"), "Total number of actors stopped", totals.stopped);
        out.gauge(&name("actors_live"), "Currently-live actor count", Value::Whole(totals.live));
        out.counter(&name("dead_letters"), "Total dead-lettered messages", snapshot.dead_letters.total);
    }
    if attached.has_any(&[Attachment::ClusterState]) {
        let cluster = &subsystems.cluster;
        // Members that are missing in the document, or could not be read, are not known to be absent.
        let is_whole = subsystems.documents_unreadable == 0 && subsystems.rows_dropped == 0;
        let is_known = is_whole && !cluster.members.is_empty();
        let up = cluster.members.iter().filter(|member| member.status.eq_ignore_ascii_case("up")).count();
        if is_whole {
            out.gauge(&name("cluster_members_up"), "Cluster members currently Up", whole(up));
            let help = "Cluster members currently unreachable";
            out.gauge(&name("cluster_unreachable"), help, whole(cluster.unreachable.len()));
        }
        if is_known {
            let help = "Whether this node knows a leader of the cluster.";
            let has_leader = Value::Whole(cluster.leader.is_some().into());
            out.gauge("atomscope_cluster_has_leader", help, has_leader);
        }
    }
    if let Some(events) = events {
        let kinds = ["added", "updated", "removed", "unreachable", "reachable"];
        if attached.has_any(&[Attachment::ClusterState]) {
            for (kind, count) in kinds.into_iter().zip(events.members) {
                let help = "Cluster membership events";
                let value = Value::Whole(count);
                out.add(&name("cluster_member_events"), help, Kind::Counter, label("kind", kind), value);
            }
        }
        let rows = out.limited("sharding_events", selection.limit, events.sharding.iter().collect());
        for ((region, event), count) in rows {
            let labels = labels([("region", region), ("event", event)]);
            let value = Value::Whole(*count);
            out.add(&name("sharding_events"), "Sharding events", Kind::Counter, labels, value);
        }
        let rows = out.limited("association_events", selection.limit, events.associations.iter().collect());
        for (state, count) in rows {
            let (help, value) = ("Remote association state changes", Value::Whole(*count));
            let labels = label("state", state);
            out.add(&name("remote_association_events"), help, Kind::Counter, labels, value);
        }
        let help = "Events that were lost before this exporter read them.";
        out.counter("atomscope_export_events_lost", help, events.lost);
    }
    let regions = subsystems.sharding.regions.iter().collect();
    for region in out.limited("sharding_allocations", selection.limit, regions) {
        let (help, value) = ("Allocated shards per region", whole(region.shard_count));
        out.add(&name("sharding_allocations"), help, Kind::Gauge, label("region", &region.region_id), value);
    }
    let journals = subsystems.persistence.journals.iter().collect();
    for journal in out.limited("journals_of_persistence_ids", selection.limit, journals) {
        let Some(highest) = journal.persistence_ids.iter().map(|id| id.highest_sequence_nr).max() else {
            continue;
        };
        let labels = label("journal", &journal.name);
        let help = "Highest observed sequence_nr per journal";
        let value = Value::Whole(highest);
        out.add(&name("persistence_last_sequence_nr"), help, Kind::Gauge, labels, value);
    }
    let journals = subsystems.instances.of(Domain::Journal).collect();
    for entry in out.limited("journals_of_events", selection.limit, journals) {
        let Some(events) = entry.number(journal::EVENTS) else { continue };
        let (labels, value) = (label("journal", &entry.name), Value::Whole(events));
        let help = "Events written to the journal";
        out.add(&name("persistence_events_written"), help, Kind::Counter, labels, value);
    }
    if let Some(count) = subsystems.instances.count(Domain::Association) {
        out.gauge(&name("remote_endpoints"), "Active remote endpoint associations", Value::Whole(count));
    }
    if selection.detail.contains(&Domain::Association) {
        let rows = subsystems.instances.of(Domain::Association).collect();
        for entry in out.limited("remote_bytes", selection.limit, rows) {
            for (direction, field) in
                [("inbound", association::BYTES_IN), ("outbound", association::BYTES_OUT)]
            {
                let Some(bytes) = entry.number(field) else { continue };
                let labels = labels([("remote", &entry.name), ("direction", direction)]);
                let help = "Bytes per remote association direction";
                out.add(&name("remote_bytes"), help, Kind::Gauge, labels, Value::Whole(bytes));
            }
        }
    }
    if attached.lists(Domain::Graph) || subsystems.streams.total_started > 0 {
        let streams = &subsystems.streams;
        out.counter(&name("streams_started"), "Stream graphs started", streams.total_started);
        out.counter(&name("streams_finished"), "Stream graphs finished", streams.total_finished);
        let help = "Currently-running stream graphs";
        out.gauge(&name("streams_running"), help, Value::Whole(streams.running_graphs));
    }
    if selection.detail.contains(&Domain::Key) {
        let rows = subsystems.instances.of(Domain::Key).collect();
        for entry in out.limited("ddata_updates", selection.limit, rows) {
            let Some(updates) = entry.number(key::UPDATES) else { continue };
            let (labels, value) = (label("key", &entry.name), Value::Whole(updates));
            out.add(&name("ddata_updates"), "Distributed-data updates", Kind::Counter, labels, value);
        }
    }
}

/// The node itself: its state and its heartbeats.
fn node(out: &mut Families, snapshot: &Snapshot) {
    let liveness = &snapshot.liveness;
    for word in Verdict::WORDS {
        let value = Value::Whole((word == liveness.verdict.word()).into());
        let (help, labels) = ("Whether the node is in this state.", label("state", word.replace(' ', "_")));
        out.add("atomscope_node_state", help, Kind::Gauge, labels, value);
    }
    for note in liveness.notes.iter() {
        let help = "Conditions that hold for the node.";
        let labels = label("condition", note.name());
        out.add("atomscope_node_condition", help, Kind::Gauge, labels, Value::Whole(1));
    }
    let layout = format!("{}.{}", snapshot.layout_version.0, snapshot.layout_version.1);
    let identity = &snapshot.identity;
    let info = labels([
        ("program", identity.program.as_str()),
        ("writer", identity.writer.as_str()),
        ("layout", layout.as_str()),
    ]);
    out.add("atomscope_node_info", "The node's program.", Kind::Gauge, info, Value::Whole(1));
    let help = "When the node was started, in seconds since 1970.";
    let started = Value::Float(identity.header.created_unix_ns as f64 / 1e9);
    out.gauge("atomscope_node_start_time_seconds", help, started);
    let beats = [
        ("process", liveness.process_beat_age),
        ("runtime", liveness.runtime_beat_age),
        ("poll", snapshot.poll.map(|poll| poll.beat_age)),
    ];
    for (beat, age) in beats {
        let Some(age) = age else { continue };
        let (help, value) = ("Age of the newest heartbeat.", Value::Float(age.as_secs_f64()));
        out.add("atomscope_node_beat_age_seconds", help, Kind::Gauge, label("beat", beat), value);
    }
    let help = "Crashes of earlier nodes of this name since one ended in good order.";
    out.gauge("atomscope_node_crashes_before", help, Value::Whole(liveness.last_words.before.crashes()));
    if let Some(workers) = snapshot.away_workers() {
        let stuck = workers.list.iter().filter(|worker| worker.away_s >= LONG.as_secs_f64()).count();
        let help = "Workers of the async runtime that have not paused for 5 s or longer.";
        out.gauge("atomscope_workers_stuck", help, Value::Whole(stuck as u64));
    }
}

/// The node's process, as the kernel counts it.
fn process(out: &mut Families, observed: &Observed<'_>, selection: &Selection) {
    if let Some(vitals) = &observed.snapshot.process {
        for (mode, seconds) in [("user", vitals.cpu_user_s), ("system", vitals.cpu_system_s)] {
            let help = "Processor time of the node's process.";
            let (name, labels) = ("atomscope_process_cpu_seconds", label("mode", mode));
            out.add(name, help, Kind::Counter, labels, Value::Float(seconds));
        }
        let memory = Value::Whole(vitals.memory_bytes);
        let help = "Resident memory of the node's process.";
        out.gauge("atomscope_process_resident_memory_bytes", help, memory);
        let help = "Threads of the node's process.";
        out.gauge("atomscope_process_threads", help, Value::Whole(vitals.threads));
        if let Some(files) = vitals.open_files {
            let help = "Open files of the node's process.";
            out.gauge("atomscope_process_open_fds", help, Value::Whole(files));
        }
        if let Some(files) = vitals.open_files_limit {
            let help = "Limit of open files of the node's process.";
            out.gauge("atomscope_process_max_fds", help, Value::Whole(files));
        }
    }
    let Some(threads) = observed.threads else { return };
    let mut rows: Vec<_> =
        threads.threads.iter().filter_map(|thread| Some((thread, thread.cpu_ns?))).collect();
    rows.sort_by_key(|(_, cpu_ns)| std::cmp::Reverse(*cpu_ns));
    for (thread, cpu_ns) in out.limited("threads", selection.limit, rows) {
        let tid = thread.tid.to_string();
        let labels = labels([("thread", &thread.name), ("tid", &tid)]);
        let help = "Processor time of each thread.";
        let value = base_unit("nanoseconds").value(cpu_ns);
        out.add("atomscope_thread_cpu_seconds", help, Kind::Counter, labels, value);
    }
}

/// How full the region is, and what was lost.
fn room(out: &mut Families, observed: &Observed<'_>) {
    let usage = observed.usage;
    let fills = [
        ("actors", usage.actors),
        ("names", usage.names),
        ("metrics", usage.metrics),
        ("instances", usage.instances),
        ("histograms", usage.histograms),
        ("failures", usage.failures),
        ("lanes", usage.lanes),
    ];
    for (what, fill) in fills {
        let (help, used) = ("Slots of the region in use.", Value::Whole(fill.used));
        out.add("atomscope_room_used", help, Kind::Gauge, label("what", what), used);
        let (help, capacity) = ("Slots of the region.", Value::Whole(fill.capacity));
        out.add("atomscope_room_capacity", help, Kind::Gauge, label("what", what), capacity);
    }
    // The document's own number is of its newest copy, and falls; the probe's counter is of all copies.
    let rows_dropped = observed.snapshot.builtin(Builtin::DocumentRowsDropped);
    for (count, what) in (Drops { rows_dropped, ..usage.drops }).list() {
        let help = "What the probe dropped, cut or abandoned.";
        out.add("atomscope_drops", help, Kind::Counter, label("what", what), Value::Whole(count));
    }
    out.counter("atomscope_events_published", "Events that the node published.", usage.events);
    let help = "Failures in the failure log, each counted once however often it happened.";
    out.gauge("atomscope_failures_distinct", help, Value::Whole(observed.snapshot.failures.log.len() as u64));
}

/// The classes of actors; of instrumented ones also what they do.
fn classes(out: &mut Families, snapshot: &Snapshot, selection: &Selection) {
    let mut live: Vec<(String, u64)> = match snapshot.classes.is_empty() {
        false => snapshot.classes.iter().map(|class| (class.name.clone(), class.actors)).collect(),
        true => {
            let mut counts = BTreeMap::<&str, u64>::new();
            snapshot.actors.iter().for_each(|actor| *counts.entry(actor.class()).or_default() += 1);
            counts.into_iter().map(|(class, count)| (class.to_owned(), count)).collect()
        }
    };
    live.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (class, count) in out.limited("classes", selection.limit, live) {
        let help = "Live actors of each class.";
        out.add("atomscope_class_actors", help, Kind::Gauge, label("class", class), Value::Whole(count));
    }
    let mut stats: Vec<&ClassStats> = snapshot.instruments.classes.iter().collect();
    stats.sort_by_key(|class| std::cmp::Reverse(class.handled));
    for class in out.limited("instrumented_classes", selection.limit, stats) {
        // The rest of all classes has no name.
        let of = || label("class", class.class.as_deref().unwrap_or("(others)"));
        let counters = [
            ("handled", "Messages whose handler has ended.", class.handled),
            ("failures", "Panics of handlers.", class.failures),
            ("restarts", "Restarts of actors.", class.restarts),
        ];
        for (name, help, count) in counters {
            let name = format!("atomscope_class_{name}");
            out.add(&name, help, Kind::Counter, of(), Value::Whole(count));
        }
        if let Some(polls) = class.polls {
            let help = "Polls of the tasks of actors, on runtimes whose polls are watched.";
            out.add("atomscope_class_polls", help, Kind::Counter, of(), Value::Whole(polls));
        }
        let times = base_unit("nanoseconds").distribution(&class.handle_time, selection.buckets, u32::MAX);
        let help = "How long handlers took; one message of sixteen is measured.";
        out.add("atomscope_class_handle_seconds", help, Kind::Histogram, of(), times);
        let depths = base_unit("messages").distribution(&class.depth, selection.buckets, 20);
        let help = "Messages in mailboxes, each time that the probe looked.";
        out.add("atomscope_class_depth_messages", help, Kind::Histogram, of(), depths);
    }
}

/// The instances of subsystems: journals, shard regions, workers and so on.
fn instances(out: &mut Families, snapshot: &Snapshot, selection: &Selection) {
    let all = &snapshot.subsystems.instances;
    for domain in Domain::ALL.iter().copied() {
        if let Some(count) = all.count(domain) {
            let (help, value) = ("Listed instances of each domain.", Value::Whole(count));
            out.add("atomscope_instances", help, Kind::Gauge, label("domain", domain.name()), value);
        }
        let is_wanted = BOUNDED.contains(&domain) || selection.detail.contains(&domain);
        let rows: Vec<_> = if is_wanted { all.of(domain).collect() } else { Vec::new() };
        // In the singular: `leases` begins the names of built-in metrics.
        let one = domain.name().trim_end_matches('s');
        for entry in out.limited(domain.name(), selection.limit, rows) {
            let mut of = label("name", &entry.name);
            of.extend(entry.owner.as_ref().map(|owner| ("owner".into(), owner.clone())));
            for (at, field) in domain.fields().iter().enumerate() {
                let Some(number) = entry.number(at) else { continue };
                let unit = base_unit(field.unit);
                let (kind, value) = match field.kind {
                    FieldKind::Counter => (Kind::Counter, unit.value(number)),
                    // The number of a histogram in its section says nothing outside of the region.
                    FieldKind::Gauge if (domain, at) == (Domain::Journal, journal::LATENCY) => continue,
                    FieldKind::Gauge => (Kind::Gauge, unit.value(number)),
                    FieldKind::Float => (Kind::Gauge, unit.float(f64::from_bits(number))),
                    FieldKind::Flag => match flag(number) {
                        Some(is_set) => (Kind::Gauge, Value::Whole(is_set.into())),
                        None => continue,
                    },
                    FieldKind::Name => continue,
                };
                let field_name = field.name.trim_end_matches("_ns");
                let name = in_base_unit(&format!("atomscope_{one}_{}", field.name), field.unit);
                let help = format!(
                    "{} of each of the {}.",
                    field_name.replace('_', " "),
                    domain.name().replace('_', " ")
                );
                out.add(&name, &help, kind, of.clone(), value);
            }
            if let Some(latency) = &entry.latency {
                let value = base_unit("nanoseconds").distribution(latency, selection.buckets, u32::MAX);
                let name = format!("atomscope_{one}_write_seconds");
                out.add(&name, "How long writes took.", Kind::Histogram, of, value);
            }
        }
    }
}

/// The built-in metrics of the region.
fn builtin(out: &mut Families, snapshot: &Snapshot, selection: &Selection) {
    let is_known = |name: &str| {
        snapshot.has_actors() || !["actors.", "dead_letters."].iter().any(|of| name.starts_with(of))
    };
    for metric in snapshot.metrics.iter().filter(|metric| metric.is_builtin && is_known(&metric.name)) {
        let name = in_base_unit(&format!("atomscope_{}", name_of(&metric.name)), &metric.unit);
        described(out, metric, &name, selection);
    }
}

/// Series of the application, unless the limit is greater.
const OWN_SERIES: usize = 1024;

/// The application's own metrics, by their own names.
fn application(out: &mut Families, snapshot: &Snapshot, selection: &Selection) {
    // The histogram of a journal is a part of its instance.
    let is_of_journal =
        |metric: &Metric| metric.kind == MetricKind::Histogram && metric.name == JOURNAL_LATENCY_METRIC;
    let own = snapshot.metrics.iter().filter(|metric| !metric.is_builtin && !is_of_journal(metric)).collect();
    for metric in out.limited("metrics", selection.limit.max(OWN_SERIES), own) {
        described(out, metric, &own_name(&metric.name, &metric.unit, selection), selection);
    }
}

/// The name of what the application has named. One that could be ours is told apart. It is empty if nothing of it is left.
fn own_name(name: &str, unit: &str, selection: &Selection) -> String {
    let name = in_base_unit(name_of(name).trim_end_matches("_total"), unit);
    let ours = [selection.namespace.as_str(), "atomscope"];
    let is_ours = ours.iter().any(|ours| name.strip_prefix(ours).is_some_and(|rest| rest.starts_with('_')));
    if is_ours { format!("app_{name}") } else { name }
}

/// A metric that describes itself. A value that nothing counts is unknown.
fn described(out: &mut Families, metric: &Metric, name: &str, selection: &Selection) {
    let unit = base_unit(&metric.unit);
    let (kind, value) = match (metric.kind, &metric.histogram, metric.value) {
        (MetricKind::Histogram, Some(histogram), _) => {
            (Kind::Histogram, unit.distribution(histogram, selection.buckets, u32::MAX))
        }
        (MetricKind::Histogram, None, _) | (_, _, None) => return,
        (kind, _, Some(value)) => {
            let value = match value {
                MetricValue::Unsigned(value) => unit.value(value),
                MetricValue::Signed(value) => unit.signed(value),
                MetricValue::Float(value) => unit.float(value),
            };
            (if kind == MetricKind::Counter { Kind::Counter } else { Kind::Gauge }, value)
        }
    };
    out.add(name, &metric.help, kind, own_labels(&metric.labels), value);
}

/// Labels of the application. Prometheus keeps the name `le` and names that begin with two underscores for itself.
fn own_labels(labels: &[(String, String)]) -> Labels {
    let mut own = Labels::new();
    for (name, value) in labels {
        let mut name = name_of(name);
        if name.is_empty() || name == "le" || name.starts_with("__") {
            name = format!("exported_{name}");
        }
        if own.iter().all(|(other, _)| *other != name) {
            own.push((name.into(), value.clone()));
        }
    }
    own
}

/// The numbers of the application's own records.
fn records(out: &mut Families, snapshot: &Snapshot, selection: &Selection) {
    let records = &snapshot.own_records;
    for record in out.limited("records", selection.limit, records.list.iter().collect()) {
        let Some(kind) = records.kind_of(record) else { continue };
        let help = "How often a record was published.";
        let of_record = labels([("kind", &kind.name), ("record", &record.name)]);
        let published = Value::Whole(record.published);
        out.add("atomscope_record_published", help, Kind::Counter, of_record, published);
        for (field, value) in kind.fields.iter().zip(&record.values) {
            let unit = base_unit(&field.unit);
            let value = match value {
                FieldValue::Unsigned(number) => unit.value(*number),
                FieldValue::Signed(number) => unit.signed(*number),
                FieldValue::Single(number) => unit.float(f64::from(*number)),
                FieldValue::Float(number) => unit.float(*number),
                FieldValue::Flag(is_set) => Value::Whole((*is_set).into()),
                _ => continue,
            };
            let name = own_name(&format!("{}_{}", kind.name, field.name), &field.unit, selection);
            out.add(&name, &field.help, Kind::Gauge, label("record", &record.name), value);
        }
    }
}

/// The busiest actors, and the mailboxes with most messages.
fn actors(out: &mut Families, snapshot: &Snapshot, selection: &Selection) {
    let mut rows: Vec<_> = snapshot
        .actors
        .iter()
        .map(|actor| (actor.stats().map(|stats| stats.busy_ns), actor.mailbox_depth(), actor))
        .collect();
    rows.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then_with(|| a.2.path().cmp(b.2.path())));
    for (_, depth, actor) in out.limited("actors", selection.top, rows) {
        let of = || label("actor_path", actor.path());
        if let Some(depth) = depth {
            let name = format!("{}_mailbox_depth", selection.namespace);
            let help = "Last-sampled mailbox depth per actor";
            out.add(&name, help, Kind::Gauge, of(), Value::Whole(depth));
        }
        if let Some(stats) = actor.stats() {
            let help = "Messages of an actor whose handler has ended.";
            out.add("atomscope_actor_handled", help, Kind::Counter, of(), Value::Whole(stats.handled));
            let busy = base_unit("nanoseconds").value(stats.busy_ns);
            let help = "Time of an actor in its handlers.";
            out.add("atomscope_actor_busy_seconds", help, Kind::Counter, of(), busy);
        }
    }
}
