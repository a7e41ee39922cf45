//! `cluster`, `sharding` and so on: what is told of one subsystem of a node, as lists that are all of one form.
use crate::snapshot::Snapshot;
use crate::text::clean;
use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::Moment;
use atomscope_layout::decode::subsystems::{InstanceEntry, flag};
use atomscope_layout::histogram::Histogram;
use atomscope_layout::instances::{Domain, FieldKind, association, journal, key, lease, shard_region};
use atomscope_layout::metrics::{BUILTIN, Builtin, Kind, Metric};
use serde::Serialize;
use serde::ser::Serializer;

use super::human::{bytes, count, seconds};
use super::list::{self, Column, List, Value, number, text};

/// Journal writes that are shown to people, unless they ask for more or fewer.
const WRITES: usize = 5;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Cluster,
    Sharding,
    Persistence,
    Remote,
    Streams,
    DData,
    Leases,
    Runtime,
    Metrics,
}

/// The heading of an instance's name.
fn heading(domain: Domain) -> &'static str {
    match domain {
        Domain::Association => "ASSOCIATION",
        Domain::Graph => "STREAM",
        Domain::Journal => "JOURNAL",
        Domain::PersistenceId => "PERSISTENCE_ID",
        Domain::ShardRegion => "REGION",
        Domain::Shard => "SHARD",
        Domain::Key => "KEY",
        Domain::Lease => "LEASE",
        Domain::Worker => "WORKER",
        Domain::NodeMetric => "NODE_METRIC",
    }
}

/// What the instances of a domain belong to.
fn owner(domain: Domain) -> Option<Domain> {
    match domain {
        Domain::PersistenceId => Some(Domain::Journal),
        Domain::Shard => Some(Domain::ShardRegion),
        _ => None,
    }
}

/// A list of a domain's instances, with all their numbers.
fn instances(domain: Domain, entries: &[&InstanceEntry], until: Option<Moment>) -> List {
    // Of a histogram the number says nothing to anybody; what is in it stands there instead.
    let is_latency = |at: usize| domain == Domain::Journal && at == journal::LATENCY;
    let owned = owner(domain).is_some();
    let mut columns = vec![text("name")];
    columns.extend(owned.then_some(text("owner")));
    let fields = domain.fields().iter().enumerate().filter(|(at, _)| !is_latency(*at));
    columns.extend(fields.map(|(_, field)| match field.kind {
        FieldKind::Name => text(field.name),
        FieldKind::Flag => list::flag(field.name),
        FieldKind::Counter | FieldKind::Gauge | FieldKind::Float => number(field.name, field.unit),
    }));
    let latencies = ["write_p50_ns", "write_p99_ns", "write_greatest_ns"];
    if domain == Domain::Journal {
        columns.extend(latencies.map(|name| number(name, "nanoseconds")));
    }
    columns.push(number("age_s", "s"));
    columns.push(Column { is_shown: false, ..text("since") });
    let row = |entry: &&InstanceEntry| {
        let mut row = vec![Value::text(&entry.name)];
        row.extend(owned.then(|| Value::of(entry.owner.clone(), Value::Text)));
        let fields = domain.fields().iter().enumerate().filter(|(at, _)| !is_latency(*at));
        row.extend(fields.map(|(at, field)| {
            let number = entry.numbers[at];
            match field.kind {
                _ if !entry.is_known(at) => Value::Unknown,
                FieldKind::Counter => Value::Total(number),
                FieldKind::Gauge => Value::Number(number),
                FieldKind::Name => Value::text(entry.text(at)),
                FieldKind::Float => Value::Float(f64::from_bits(number)),
                FieldKind::Flag => Value::of(flag(number), Value::Flag),
            }
        }));
        if domain == Domain::Journal {
            let latency = entry.latency.as_ref().filter(|latency| latency.count > 0);
            let of = |take: fn(&Histogram) -> u64| Value::of(latency, |latency| Value::Number(take(latency)));
            row.extend([of(|all| all.quantile(0.5)), of(|all| all.quantile(0.99)), of(|all| all.greatest)]);
        }
        let age = until.zip(entry.made).and_then(|(until, made)| until.since(&made));
        row.push(Value::of(age, |age| Value::Float(seconds(age))));
        row.push(Value::text(&entry.since));
        row
    };
    List::new(domain.name(), heading(domain), columns, entries.iter().map(row))
}

/// Some metrics.
fn metrics<'a>(metrics: impl IntoIterator<Item = &'a Metric>) -> List {
    let columns = [text("name"), number("value", ""), text("unit")];
    let rows = metrics.into_iter().map(|metric| {
        let value = Value::of(metric.value, |value| match metric.kind {
            Kind::Counter => Value::Total(value),
            Kind::Gauge => Value::Number(value),
            Kind::Histogram => Value::Count(value),
        });
        vec![Value::text(&metric.name), value, Value::text(&metric.unit)]
    });
    List::new("metrics", "METRIC", columns, rows)
}

/// All metrics, with all that is told of them.
fn all_metrics(snapshot: Option<&Snapshot>) -> List {
    let mut list = metrics(snapshot.iter().flat_map(|snapshot| &snapshot.metrics));
    let quantiles = ["p50", "p99", "greatest"].map(|name| number(name, ""));
    list.columns.push(text("kind"));
    list.columns.extend(quantiles);
    list.columns.push(text("help"));
    for (row, metric) in list.rows.iter_mut().zip(snapshot.iter().flat_map(|snapshot| &snapshot.metrics)) {
        let of = |take: fn(&Histogram) -> u64| {
            let some = metric.histogram.as_ref().filter(|histogram| histogram.count > 0);
            Value::of(some, |histogram| Value::Number(take(histogram)))
        };
        row.push(Value::text(metric.kind.name()));
        row.extend([of(|all| all.quantile(0.5)), of(|all| all.quantile(0.99)), of(|all| all.greatest)]);
        row.push(Value::text(&metric.help));
    }
    list
}

impl Part {
    /// As its command and its metrics are called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Sharding => "sharding",
            Self::Persistence => "persistence",
            Self::Remote => "remote",
            Self::Streams => "streams",
            Self::DData => "ddata",
            Self::Leases => "leases",
            Self::Runtime => "runtime",
            Self::Metrics => "metrics",
        }
    }

    /// What a node has that uses it, in words.
    pub fn thing(self) -> &'static str {
        match self {
            Self::Cluster => "a cluster",
            Self::Sharding => "shards",
            Self::Persistence => "journals or snapshots",
            Self::Remote => "associations with other nodes",
            Self::Streams => "streams",
            Self::DData => "distributed data",
            Self::Leases => "leases",
            Self::Runtime => "its async runtime's threads and tasks",
            Self::Metrics => "metrics",
        }
    }

    fn domains(self) -> &'static [Domain] {
        match self {
            Self::Cluster => &[Domain::NodeMetric],
            Self::Sharding => &[Domain::ShardRegion, Domain::Shard],
            Self::Persistence => &[Domain::Journal, Domain::PersistenceId],
            Self::Remote => &[Domain::Association],
            Self::Streams => &[Domain::Graph],
            Self::DData => &[Domain::Key],
            Self::Leases => &[Domain::Lease],
            Self::Runtime => &[Domain::Worker],
            Self::Metrics => &[],
        }
    }

    /// Names of the columns that its lists can be sorted by.
    pub fn sorts(self) -> Vec<&'static str> {
        let mut names = vec!["name", "age"];
        for list in self.lists(None).iter().filter(|list| !list.is_fixed) {
            for column in list.columns.iter().filter(|column| column.is_shown && column.name != "age_s") {
                if !names.contains(&column.name) {
                    names.push(column.name);
                }
            }
        }
        if self == Self::Metrics {
            names.retain(|name| !["age", "help"].contains(name));
        }
        names
    }

    /// Its built-in metrics.
    fn metrics(self, snapshot: Option<&Snapshot>) -> impl Iterator<Item = &Metric> {
        let is_ours = move |name: &str| {
            let rest = name.strip_prefix(self.name()).is_some_and(|rest| rest.starts_with('.'));
            rest && BUILTIN.iter().any(|(builtin, ..)| *builtin == name)
        };
        let all = snapshot.map_or(&[][..], |snapshot| &snapshot.metrics);
        all.iter().filter(move |metric| is_ours(&metric.name))
    }

    /// Whether anything is told of it.
    pub fn is_in_use(self, snapshot: &Snapshot) -> bool {
        self == Self::Metrics
            || self.metrics(Some(snapshot)).any(|metric| metric.value > Some(0))
            || self.lists(Some(snapshot)).iter().any(|list| !list.is_fixed && !list.rows.is_empty())
    }

    /// Everything that is told of it; of no snapshot the same without rows.
    pub fn lists(self, snapshot: Option<&Snapshot>) -> Vec<List> {
        if self == Self::Metrics {
            return vec![all_metrics(snapshot)];
        }
        let until = snapshot.and_then(|snapshot| snapshot.until);
        let told = snapshot.map(|snapshot| &snapshot.subsystems);
        let entries = |domain| told.iter().flat_map(|told| told.instances.of(domain)).collect::<Vec<_>>();
        let of_domains = self.domains().iter().map(|domain| instances(*domain, &entries(*domain), until));
        let mut lists = Vec::new();
        match self {
            Self::Cluster => {
                let cluster = told.map(|told| &told.cluster);
                let members = cluster.iter().flat_map(|cluster| &cluster.members).map(|member| {
                    let is =
                        |address: Option<&String>, what| (address == Some(&member.address)).then_some(what);
                    let leader = is(cluster.and_then(|cluster| cluster.leader.as_ref()), "leader");
                    let own = is(cluster.and_then(|cluster| cluster.self_address.as_ref()), "self");
                    vec![
                        Value::text(&member.address),
                        Value::text(&member.status),
                        Value::Flag(member.reachable),
                        Value::Signed(member.up_number),
                        Value::Texts(member.roles.clone()),
                        Value::Texts(own.into_iter().chain(leader).map(str::to_owned).collect()),
                    ]
                });
                let columns = [
                    text("address"),
                    text("status"),
                    list::flag("reachable"),
                    number("up_number", ""),
                    text("roles"),
                    text("is"),
                ];
                lists.push(List::new("members", "MEMBER", columns, members));
                let unreachable = cluster.iter().flat_map(|cluster| &cluster.unreachable);
                let rows = unreachable.map(|address| vec![Value::text(address)]);
                lists.push(List::new("unreachable", "UNREACHABLE", [text("address")], rows));
                let records = cluster.iter().flat_map(|cluster| &cluster.reachability_records);
                let rows = records.map(|record| {
                    [&record.observer, &record.subject, &record.status].map(|t| Value::text(t))
                });
                let columns = [text("observer"), text("subject"), text("status")];
                let rows = rows.map(Vec::from);
                lists.push(List::new("reachability_records", "OBSERVER", columns, rows));
                let versions = cluster.iter().flat_map(|cluster| &cluster.gossip_version);
                let rows = versions.map(|(node, version)| vec![Value::text(node), Value::Number(*version)]);
                let columns = [text("node"), number("version", "")];
                lists.push(List::new("gossip_version", "GOSSIP_OF", columns, rows));
                lists.extend(of_domains);
            }
            Self::Sharding => {
                lists.extend(of_domains);
                let sharding = told.map(|told| &told.sharding);
                let regions = sharding.iter().flat_map(|sharding| &sharding.regions).map(|region| {
                    vec![
                        Value::text(&region.region_id),
                        Value::Number(region.shard_count as u64),
                        Value::Texts(region.shards.clone()),
                    ]
                });
                let columns = [text("region_id"), number("shard_count", "shards"), text("shards")];
                lists.push(List::new("regions", "REGION_OF_SHARDS", columns, regions));
                let allocations = sharding.iter().flat_map(|sharding| &sharding.allocations);
                let rows = allocations.map(|(shard, region)| vec![Value::text(shard), Value::text(region)]);
                lists.push(List::new("allocations", "ALLOCATED", [text("shard"), text("region")], rows));
                let hand_offs = told.iter().flat_map(|told| &told.hand_offs);
                let rows = hand_offs.map(|texts| texts.iter().map(|text| Value::text(text)).collect());
                let columns = [text("shard"), text("from"), text("to"), text("state")];
                lists.push(List::new("hand_offs", "HANDED_OFF", columns, rows));
            }
            Self::Persistence => {
                lists.extend(of_domains);
                let writes = told.iter().flat_map(|told| told.persistence.recent_writes.iter().rev());
                let rows = writes.map(|write| {
                    vec![
                        Value::text(&write.timestamp),
                        Value::text(&write.journal),
                        Value::text(&write.persistence_id),
                        Value::Number(write.sequence_nr),
                    ]
                });
                let columns =
                    [text("timestamp"), text("journal"), text("persistence_id"), number("sequence_nr", "")];
                let writes = List::new("recent_writes", "NEWEST_WRITES", columns, rows);
                lists.push(List { few: WRITES, ..writes });
            }
            _ => lists.extend(of_domains),
        }
        lists.push(List { is_fixed: true, ..metrics(self.metrics(snapshot)) });
        lists
    }
}

/// A subsystem in one line, and as fields.
#[derive(Debug)]
pub struct Summary {
    pub part: Part,
    /// What stands before the line.
    pub title: &'static str,
    /// For people; safe to print.
    pub line: String,
    facts: Vec<(&'static str, Value)>,
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.facts.iter().map(|(name, value)| (name, value)))
    }
}

/// The subsystems that are in use, each in a line.
pub fn summaries(snapshot: &Snapshot) -> Vec<Summary> {
    let all = [
        Part::Cluster,
        Part::Sharding,
        Part::Persistence,
        Part::Remote,
        Part::Streams,
        Part::DData,
        Part::Leases,
        Part::Runtime,
    ];
    all.into_iter().filter(|part| part.is_in_use(snapshot)).map(|part| summary(part, snapshot)).collect()
}

pub fn summary(part: Part, snapshot: &Snapshot) -> Summary {
    let told = &snapshot.subsystems;
    let metric = |metric| snapshot.builtin_if_known(metric);
    let entries = |domain| told.instances.of(domain);
    let sum = |domain, at: usize| told.instances.sum(domain, at);
    let number = |name, number: Option<u64>| (name, Value::of(number, Value::Number));
    let length = |domain| told.instances.count(domain);
    // Of what stands in a document: none of it is none only if something tells of it.
    let rows = |number: usize, by: &[Attachment]| {
        (number > 0 || told.instances.attached.has_any(by)).then_some(number as u64)
    };
    let (title, line, facts) = match part {
        Part::Cluster => {
            let cluster = &told.cluster;
            let members = rows(cluster.members.len(), &[Attachment::ClusterState]);
            let up = cluster.members.iter().filter(|member| member.status.eq_ignore_ascii_case("up"));
            let up = members.map(|_| up.count() as u64);
            let unreachable = rows(cluster.unreachable.len(), &[Attachment::ClusterState]);
            let leader = match cluster.leader.as_deref() {
                Some(leader) => {
                    let own = cluster.self_address.as_deref() == Some(leader);
                    format!("leader {}{}", clean(leader), if own { " (this node)" } else { "" })
                }
                None if members.is_some() => "no leader".to_owned(),
                None => "leader -".to_owned(),
            };
            let line = format!(
                "{}, {} up, {} unreachable, {leader}",
                counted(members, "member", "members"),
                or_dash(up),
                or_dash(unreachable)
            );
            let address = |address: &Option<String>| Value::of(address.clone(), Value::Text);
            let facts = vec![
                number("members", members),
                number("up", up),
                number("unreachable", unreachable),
                ("leader", address(&cluster.leader)),
                ("self_address", address(&cluster.self_address)),
            ];
            ("Cluster", line, facts)
        }
        Part::Sharding => {
            let sharding = &told.sharding;
            let by_calls = rows(sharding.regions.len(), &[Attachment::ShardingCalls]);
            let regions = length(Domain::ShardRegion).max(by_calls);
            let told_shards = sharding.regions.iter().map(|region| region.shard_count as u64);
            let told_shards = by_calls.map(|_| told_shards.fold(0, u64::saturating_add));
            let shards = sum(Domain::ShardRegion, shard_region::SHARDS).max(told_shards);
            let coordinators = [Attachment::ShardCoordinator, Attachment::ShardingCalls];
            let allocations = rows(sharding.allocations.len(), &coordinators);
            let hand_offs = rows(told.hand_offs.len(), &[Attachment::HandOffs]);
            let messages = metric(Builtin::ShardMessages);
            let line = format!(
                "{}, {}, {}, {}, {}",
                counted(regions, "region", "regions"),
                counted(shards, "shard", "shards"),
                counted(allocations, "allocation", "allocations"),
                counted(hand_offs, "hand-off", "hand-offs"),
                counted(messages, "message", "messages")
            );
            let facts = vec![
                number("regions", regions),
                number("shards", shards),
                number("allocations", allocations),
                number("hand_offs", hand_offs),
                number("messages", messages),
            ];
            ("Sharding", line, facts)
        }
        Part::Persistence => {
            let journals = length(Domain::Journal);
            let (events, failures) =
                (metric(Builtin::PersistenceEvents), metric(Builtin::PersistenceFailures));
            let latencies = entries(Domain::Journal).filter_map(|journal| journal.latency.as_ref());
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
                number("persistence_ids", length(Domain::PersistenceId)),
                number("events", events),
                number("failures", failures),
                ("write_p99_ns", Value::of(p99, Value::Number)),
            ];
            ("Persistence", line, facts)
        }
        Part::Remote => {
            let associations = length(Domain::Association);
            let mut states: Vec<(&str, u64)> = Vec::new();
            for entry in entries(Domain::Association) {
                let state = Some(entry.text(association::STATE)).filter(|state| !state.is_empty());
                let state = state.unwrap_or("in no known state");
                match states.iter_mut().find(|(known, _)| *known == state) {
                    Some((_, number)) => *number += 1,
                    None => states.push((state, 1)),
                }
            }
            states.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
            let states: Vec<_> = states
                .iter()
                .take(STATES)
                .map(|(state, number)| format!("{number} {}", clean(state)))
                .collect();
            let (inbound, outbound) = (
                sum(Domain::Association, association::BYTES_IN),
                sum(Domain::Association, association::BYTES_OUT),
            );
            let errors = metric(Builtin::RemoteErrors);
            let states = if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
            let line = format!(
                "{}{states}, {} in, {} out, {}",
                counted(associations, "association", "associations"),
                inbound.map_or("-".to_owned(), bytes),
                outbound.map_or("-".to_owned(), bytes),
                counted(errors, "error", "errors")
            );
            let facts = vec![
                number("associations", associations),
                number("inbound_bytes", inbound),
                number("outbound_bytes", outbound),
                number("errors", errors),
            ];
            ("Remote", line, facts)
        }
        Part::Streams => {
            let (failed, elements) = (metric(Builtin::StreamsFailed), metric(Builtin::StreamElements));
            let started = metric(Builtin::StreamsStarted).map(|_| told.streams.total_started);
            let running = started.map(|_| told.streams.running_graphs);
            let line = format!(
                "{} running, {} started so far, {} failed, {}",
                or_dash(running),
                or_dash(started),
                or_dash(failed),
                counted(elements, "element", "elements")
            );
            let facts = vec![
                number("running", running),
                number("started", started),
                number("failed", failed),
                number("elements", elements),
            ];
            ("Streams", line, facts)
        }
        Part::DData => {
            let (keys, updates) = (length(Domain::Key), metric(Builtin::DDataUpdates));
            let subscribers = sum(Domain::Key, key::SUBSCRIBERS);
            let line = format!(
                "{}, {}, {}",
                counted(keys, "key", "keys"),
                counted(updates, "update", "updates"),
                counted(subscribers, "subscriber", "subscribers")
            );
            let facts =
                vec![number("keys", keys), number("updates", updates), number("subscribers", subscribers)];
            ("Shared data", line, facts)
        }
        Part::Leases => {
            let held = entries(Domain::Lease).filter(|entry| flag(entry.numbers[lease::HELD]) == Some(true));
            let all = length(Domain::Lease);
            let held = all.map(|_| held.count() as u64);
            let (denied, lost) = (metric(Builtin::LeasesDenied), metric(Builtin::LeasesLost));
            let line = format!(
                "{} of {} held here, {} times denied, {} times lost",
                or_dash(held),
                or_dash(all),
                or_dash(denied),
                or_dash(lost)
            );
            let facts = vec![
                number("leases", all),
                number("held", held),
                number("denied", denied),
                number("lost", lost),
            ];
            ("Leases", line, facts)
        }
        Part::Runtime => {
            let workers = metric(Builtin::RuntimeWorkers).max(length(Domain::Worker));
            let (tasks, queue) = (metric(Builtin::RuntimeTasks), metric(Builtin::RuntimeQueue));
            let line = format!(
                "{}, {}, {} in the common queue",
                counted(workers, "worker", "workers"),
                counted(tasks, "task", "tasks"),
                or_dash(queue)
            );
            let facts = vec![number("workers", workers), number("tasks", tasks), number("queue", queue)];
            ("Runtime", line, facts)
        }
        Part::Metrics => {
            let all = snapshot.metrics.len() as u64;
            ("Metrics", count(all, "metric", "metrics"), vec![number("metrics", Some(all))])
        }
    };
    Summary { part, title, line, facts }
}

/// A number of things, or a dash for it where nothing counts them.
fn counted(number: Option<u64>, one: &str, many: &str) -> String {
    number.map_or_else(|| format!("- {many}"), |number| count(number, one, many))
}

fn or_dash(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// States of associations that a line names.
const STATES: usize = 4;

/// Names that a sentence has at most.
const NAMED: usize = 3;

/// What of a node's subsystems wants a look, in sentences: how they are, and what has failed since the look before.
/// Names are as they are, not safe to print.
pub fn worries(snapshot: &Snapshot, before: Option<&Snapshot>) -> Vec<String> {
    let mut worries = Vec::new();
    let cluster = &snapshot.subsystems.cluster;
    if !cluster.unreachable.is_empty() {
        let (one, many) = ("cluster member is unreachable", "cluster members are unreachable");
        let number = count(cluster.unreachable.len() as u64, one, many);
        worries.push(format!("{number}: {}", some_of(cluster.unreachable.iter().map(String::as_str))));
    }
    if cluster.leader.is_none() && !cluster.members.is_empty() {
        worries.push("the cluster has no leader".to_owned());
    }
    let quarantined: Vec<&str> = snapshot
        .subsystems
        .instances
        .of(Domain::Association)
        .filter(|entry| flag(entry.numbers[association::QUARANTINED]) == Some(true))
        .map(|entry| entry.name.as_str())
        .collect();
    if !quarantined.is_empty() {
        let (one, many) = ("association is quarantined", "associations are quarantined");
        let number = count(quarantined.len() as u64, one, many);
        worries.push(format!("{number}: {}", some_of(quarantined.into_iter())));
    }
    for (metric, one, many) in [
        (Builtin::PersistenceFailures, "journal write failed", "journal writes failed"),
        (Builtin::SnapshotFailures, "snapshot failed", "snapshots failed"),
        (Builtin::StreamsFailed, "stream failed", "streams failed"),
        (Builtin::RemoteErrors, "error between nodes", "errors between nodes"),
        (Builtin::LeasesLost, "lease was lost", "leases were lost"),
    ] {
        let new = before.map_or(0, |before| snapshot.builtin(metric).saturating_sub(before.builtin(metric)));
        if new > 0 {
            worries.push(format!("{} since the look before", count(new, one, many)));
        }
    }
    worries
}

/// The first few of these names.
fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let names = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

/// What was left out of what is told, and what cannot be read, in sentences.
pub fn gaps(part: Part, snapshot: &Snapshot) -> Vec<String> {
    let told = &snapshot.subsystems;
    let mut gaps = Vec::new();
    let mut gap = |number: u64, what: &str| {
        if number > 0 {
            gaps.push(format!("{number} {what}"));
        }
    };
    for domain in part.domains() {
        let what = format!(
            "times there was no room for more {}: a region with more `instances` lists them",
            domain.name().replace('_', " ")
        );
        gap(snapshot.builtin(domain.unlisted()), &what);
    }
    if part == Part::Persistence {
        let sum = |at: usize| {
            told.instances
                .of(Domain::Journal)
                .fold(0u64, |sum, journal| sum.saturating_add(journal.numbers[at]))
        };
        gap(
            sum(journal::ROLLED_UP),
            "persistence ids are not listed any more: they gave way to more active ones",
        );
        gap(sum(journal::UNLISTED_EVENTS), "events are of persistence ids that are not listed");
    }
    if [Part::Cluster, Part::Sharding].contains(&part) {
        gap(
            told.rows_dropped,
            "rows of the cluster's state or of the shards' allocation found no room: a region with a larger \
             `document_bytes` holds them",
        );
        gap(told.documents_unreadable, "of the cluster's state and the shards' allocation cannot be read");
    }
    if part != Part::Metrics {
        gap(told.instances.unreadable, "records of subsystems cannot be read");
    }
    gaps
}
