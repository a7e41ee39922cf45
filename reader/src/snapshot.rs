//! From a region to owned data: everything that is told of a node at one time, with how sure it is.
//!
//! Taken once per tick; whoever shows it never goes back to the region.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomscope_layout::decode::subsystems::{InstanceEntry, Subsystems};
use atomscope_layout::decode::{
    ActorList, ActorTotals, ActorTree, Beat, Class, DeadLetters, Identity, Moment, RegionReader, Tally,
    rfc3339,
};
use atomscope_layout::dto::{
    ClusterStateInfo, DDataSnapshot, DeadLetterRecord, PersistenceSnapshot, RemoteSnapshot, ShardingSnapshot,
    StreamsSnapshot,
};
use atomscope_layout::histogram::Histogram;
use atomscope_layout::metrics::{BUILTIN, Builtin, Metric};
use serde::Serialize;

use crate::attach::{AttachError, Region};
use crate::liveness::{Evidence, Liveness, Note, Notes, STALE, Verdict};
use crate::raw::DumpInfo;
use crate::vitals::Vitals;

/// Dead letters that a snapshot holds at most: as many as `atomr-telemetry`'s.
pub const DEAD_LETTERS: usize = 100;

/// A node at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken, by this machine's wall clock and the node's other clocks; of a dump, by those of the machine that
    /// dumped it, when it did.
    pub taken: Moment,
    /// Until when its actors and instances have lived: as `taken`, or the last beat of a dead node; see [`Region::until`].
    pub until: Option<Moment>,
    /// Whether it was taken of a dump.
    pub dumped: Option<DumpInfo>,
    /// Who made the region.
    pub identity: Identity,
    /// The node's process as this program sees it.
    pub pid: u64,
    /// Major and minor version of the layout.
    pub layout_version: (u32, u32),
    /// How the node is.
    pub liveness: Liveness,
    /// Its live actors; empty unless they were listed ([`Snapshot::take`]).
    pub actors: ActorList,
    /// How many there are in the table, and how sure that is; `None` where the table was not looked at.
    pub tally: Option<Tally>,
    /// Their types; empty unless they were counted ([`Snapshot::count`]).
    pub classes: Vec<Class>,
    /// What the table of actors held: where it is the same, the same is told of the same actors.
    pub actors_mark: u64,
    /// What was counted of them, before the table was looked at.
    pub totals: ActorTotals,
    /// Whether the counts were the same after that: only then does [`Snapshot::drift`] mean anything.
    pub at_rest: bool,
    /// Its newest dead letters.
    pub dead_letters: DeadLetters,
    /// Its counters, gauges and histograms.
    pub metrics: Vec<Metric>,
    /// What is told of its subsystems.
    pub subsystems: Subsystems,
    /// What the kernel says of its process, if that is to be seen from here.
    pub process: Option<Vitals>,
    /// How the thread is that polls components; `None` if nothing is polled.
    pub poll: Option<Poll>,
}

/// How the node's poller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// When its round began.
    pub beat_age: Duration,
    /// The same by the node's monotonic clock, in nanoseconds.
    pub beat_mono_ns: u64,
    /// From one round to the next.
    pub interval: Duration,
    /// Whether its round does not end, though the probe's thread goes on.
    pub is_stuck: bool,
}

impl Poll {
    /// By the beat of the probe's thread, which is of the same clock: that of a dump may be another machine's.
    fn of(poll: Beat, process: Beat, interval_ns: u64, liveness: &Liveness) -> Option<Self> {
        let behind = Duration::from_nanos(process.mono_ns.saturating_sub(poll.mono_ns));
        let process_age = liveness.process_beat_age.filter(|_| poll.count > 0)?;
        let interval = Duration::from_nanos(interval_ns);
        let is_beating = liveness.verdict.is_alive() && process_age <= STALE;
        // It beats when a round begins; the next one waits for the interval, and the end of this one.
        let is_stuck = is_beating && behind > interval.saturating_add(STALE);
        let beat_mono_ns = poll.mono_ns;
        Some(Self { beat_age: process_age.saturating_add(behind), beat_mono_ns, interval, is_stuck })
    }
}

/// Nanoseconds since 1970, UTC.
pub fn now_unix_ns() -> i128 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

/// What a snapshot holds of the table of actors.
#[derive(Debug, Default)]
struct Told {
    actors: ActorList,
    tally: Option<Tally>,
    classes: Vec<Class>,
    mark: u64,
}

impl Snapshot {
    /// Takes one with a list of all actors. One pass over each table; no writer notices.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        Self::with(region, |reader| {
            let actors = reader.actor_list();
            Told { tally: Some(actors.tally()), mark: actors.mark(), actors, ..Told::default() }
        })
    }

    /// Takes one in which the actors are counted by their types, and not listed: at a million actors a tenth of the time,
    /// and no memory for one.
    pub fn count(region: &Region) -> Result<Self, AttachError> {
        Self::with(region, |reader| {
            let census = reader.class_counts();
            let (tally, classes, mark) = (Some(census.tally), census.classes, census.mark);
            Told { tally, classes, mark, ..Told::default() }
        })
    }

    /// Takes one without a look at the table of actors.
    pub fn beside_actors(region: &Region) -> Result<Self, AttachError> {
        Self::with(region, |_| Told::default())
    }

    fn with(region: &Region, look: impl FnOnce(&RegionReader<'_>) -> Told) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let Told { actors, tally, classes, mark: actors_mark } = look(&reader);
        let dumped = region.dumped().copied();
        let at_rest = dumped.is_none_or(|taken| taken.at_rest) && reader.actor_totals() == totals;
        let taken = region.now();
        let snapshot = Self {
            taken,
            until: region.until(&liveness, &taken),
            dumped,
            identity: reader.identity(),
            pid: region.pid(),
            layout_version: reader.layout_version(),
            liveness,
            actors,
            tally,
            classes,
            actors_mark,
            totals,
            at_rest,
            dead_letters: reader.dead_letters(DEAD_LETTERS),
            metrics: reader.metrics(),
            subsystems: reader.subsystems(),
            process: Vitals::of(region, &liveness),
            poll: Poll::of(
                reader.poll_beat(),
                reader.process_beat(),
                reader.builtin(Builtin::PollInterval),
                &liveness,
            ),
        };
        region.still_whole()?;
        Ok(snapshot)
    }

    /// The value of a built-in metric; 0 of a node that is older than the metric, and where nothing counts it.
    pub fn builtin(&self, metric: Builtin) -> u64 {
        self.counted(metric).unwrap_or(0)
    }

    /// The value of a built-in metric, if anything counts it.
    pub fn counted(&self, metric: Builtin) -> Option<u64> {
        let name = BUILTIN[metric as usize].0;
        match self.metrics.iter().find(|metric| metric.name == name) {
            Some(metric) => metric.value,
            // The node is older than the metric.
            None => Some(0),
        }
    }

    /// Live actors by counting minus live actors in the table: 0 at rest, and of no meaning while actors come and go.
    /// `None` where the table was not looked at.
    pub fn drift(&self) -> Option<i64> {
        self.tally.map(|tally| tally.drift(&self.totals))
    }

    /// What a reader should know before trusting the data, in sentences; nothing if all is well.
    pub fn caveats(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let Liveness { verdict, evidence, notes: of_liveness, .. } = self.liveness;
        let age = self.liveness.newest_beat_age();
        if self.dumped.is_some() {
            let taken = rfc3339(self.taken.unix_ns);
            notes.push(format!("this is a dump of a {} node, taken at {taken}", verdict.word()));
            notes.extend(self.liveness.why().map(|why| format!("when it was dumped: {why}")));
        } else if !self.liveness.is_well() {
            let age = age.filter(|_| verdict != Verdict::Live);
            let since = age.map(|age| format!("; its last beat was {:.1} s ago", age.as_secs_f64()));
            notes.push(format!("the node is {}{}", self.liveness, since.unwrap_or_default()));
        }
        match evidence {
            Evidence::Lock => {}
            // The notes have said that there is a lock, and that it tells nothing.
            _ if of_liveness.has(Note::LockLost) || of_liveness.has(Note::LockFree) => {}
            Evidence::Process => notes.push("no lock to go by: judged by its process and the boot id".into()),
            Evidence::Heartbeat => notes.push("no lock and no process to go by: judged by its beats".into()),
        }
        if let Some(poll) = self.poll.filter(|poll| poll.is_stuck) {
            notes.push(format!(
                "what is polled of cluster, sharding and the like is {:.1} s old: a component does not answer",
                poll.beat_age.as_secs_f64()
            ));
        }
        let mut count = |number: u64, one: &str, many: &str| match number {
            0 => {}
            1 => notes.push(format!("1 {one}")),
            _ => notes.push(format!("{number} {many}")),
        };
        let Tally { unlisted, unreadable, .. } = self.tally.unwrap_or_default();
        count(unreadable, "actor record was unreadable", "actor records were unreadable");
        count(
            unlisted,
            "live actor is counted but not listed: the table was full around it",
            "live actors are counted but not listed: the table was full around them",
        );
        count(
            self.totals.untracked,
            "live actor was neither listed nor kept: the table was full",
            "live actors were neither listed nor kept: the table was full",
        );
        let letters = &self.dead_letters;
        count(letters.unreadable, "dead letter was unreadable", "dead letters were unreadable");
        let Subsystems { instances, rows_dropped: rows_left_out, documents_unreadable, .. } =
            &self.subsystems;
        count(
            instances.unreadable,
            "record of a subsystem was unreadable",
            "records of subsystems were unreadable",
        );
        count(
            *documents_unreadable,
            "of the cluster's state and its shards' allocation was unreadable",
            "of the cluster's state and its shards' allocation were unreadable",
        );
        count(
            *rows_left_out,
            "row of the cluster's state or its shards' allocation found no room",
            "rows of the cluster's state or its shards' allocation found no room",
        );
        if self.builtin(Builtin::UntrackedSpawns) > 0 || self.builtin(Builtin::UntrackedStops) > 0 {
            notes.push("the list may miss some actors for good: the table has been full".into());
        }
        match self.builtin(Builtin::DoubtfulStops) {
            0 => {}
            doubtful => notes.push(format!(
                "the list may be wrong by {doubtful} for good: whether stops were those of listed actors is not known"
            )),
        }
        if let Some(drift) = self.drift().filter(|drift| self.at_rest && *drift != 0) {
            notes.push(format!("the counts and the list of live actors differ by {drift:+}"));
        }
        notes
    }

    /// The JSON of a dump, of a snapshot in which the actors are listed.
    pub fn into_dump(self, redacted: bool) -> Dump {
        let drift = self.actors.tally().drift(&self.totals);
        let generated_at = rfc3339(self.taken.unix_ns);
        let Self {
            identity, liveness, actors, totals, at_rest, dead_letters, metrics, dumped, process, ..
        } = self;
        let mut subsystems = self.subsystems;
        let instances = std::mem::take(&mut subsystems.instances);
        let mut by_domain = BTreeMap::new();
        for entry in instances.entries {
            by_domain.entry(entry.domain.name()).or_insert_with(Vec::new).push(entry);
        }
        let ms = |age: Option<Duration>| age.map(|age| age.as_millis() as u64);
        let atomscope = About {
            state: liveness.verdict.word(),
            why: liveness.why(),
            conditions: liveness.notes,
            liveness: liveness.evidence,
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
            dead_letters: DeadLetterTotals {
                total: dead_letters.total,
                lapped: dead_letters.lapped,
                abandoned: dead_letters.abandoned,
                unreadable: dead_letters.unreadable,
            },
            metrics: metrics.into_iter().map(MetricDump::from).collect(),
            instances: by_domain,
            hand_offs: std::mem::take(&mut subsystems.hand_offs),
            instances_unreadable: instances.unreadable,
            rows_left_out: subsystems.rows_dropped,
            documents_unreadable: subsystems.documents_unreadable,
            dumped_at: dumped.map(|_| generated_at.clone()),
            redacted: redacted || dumped.is_some_and(|taken| taken.redacted),
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

/// What `dump --format json` writes: field for field the JSON of a [`NodeSnapshot`], which is never built, and one object
/// beside them.
///
/// [`NodeSnapshot`]: atomscope_layout::dto::NodeSnapshot
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "those of NodeSnapshot say it")]
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
    /// What it does not have.
    pub atomscope: About,
}

/// What is told of a node beside `atomr-telemetry`'s snapshot.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields say it; those of Snapshot say more")]
pub struct About {
    pub state: &'static str,
    pub why: Option<String>,
    /// What is to be known beside that.
    pub conditions: Notes,
    /// What `state` rests on.
    pub liveness: Evidence,
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
    /// Only of a live process of this machine.
    pub process: Option<Vitals>,
    pub poll_beat_age_ms: Option<u64>,
    /// Whether the poller's round does not end.
    pub poll_stuck: bool,
    pub totals: ActorTotals,
    pub drift: i64,
    /// Whether no actor came or went while they were listed.
    pub at_rest: bool,
    pub unreadable: u64,
    pub unlisted: u64,
    pub waiting_stops: u64,
    pub dead_letters: DeadLetterTotals,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricDump>,
    /// Associations, journals, shards and so on, by what they are.
    pub instances: BTreeMap<&'static str, Vec<InstanceEntry>>,
    /// Hand-offs of shards: shard, from, to, state.
    pub hand_offs: Vec<[String; 4]>,
    pub instances_unreadable: u64,
    pub rows_left_out: u64,
    pub documents_unreadable: u64,
    /// RFC 3339; only of a dump, whose `state` and ages are those of that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dumped_at: Option<String>,
    pub redacted: bool,
}

/// What became of all dead letters.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "those of DeadLetters say it")]
pub struct DeadLetterTotals {
    pub total: u64,
    pub lapped: u64,
    pub abandoned: u64,
    pub unreadable: u64,
}

/// A counter, gauge or histogram.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "those of Metric say it")]
pub struct MetricDump {
    pub name: String,
    pub unit: String,
    pub kind: &'static str,
    pub help: String,
    /// Null: nothing counts it.
    pub value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<HistogramDump>,
}

/// What a histogram comes to.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "those of Histogram say it")]
pub struct HistogramDump {
    pub sum: u64,
    pub greatest: u64,
    /// Not exceeded by half of the values; at most a quarter too great, as the others.
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    /// The least value of each bucket that holds something, and how many it holds.
    pub buckets: Vec<(u64, u64)>,
}

impl From<Histogram> for HistogramDump {
    fn from(histogram: Histogram) -> Self {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| histogram.quantile(share));
        let Histogram { sum, greatest, buckets, .. } = histogram;
        Self { sum, greatest, p50, p90, p99, buckets }
    }
}

impl From<Metric> for MetricDump {
    fn from(metric: Metric) -> Self {
        let histogram = metric.histogram.map(HistogramDump::from);
        let kind = metric.kind.name();
        Self { name: metric.name, unit: metric.unit, kind, help: metric.help, value: metric.value, histogram }
    }
}
