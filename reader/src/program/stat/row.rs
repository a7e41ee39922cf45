//! What `stat` reads of a node at one time, and the rates of a line.

use std::time::{Duration, Instant};

use atomscope::attach::{AttachError, Region};
use atomscope::liveness::Liveness;
use atomscope::report::human::seconds;
use atomscope::report::rates::{CounterRates, Counters};
use atomscope::snapshot::has_actors;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{Moment, RegionReader, rfc3339};
use atomscope_layout::instances::{Domain, association};
use atomscope_layout::metrics::Builtin;
use serde::Serialize;

use crate::program::stat::metrics::MetricRates;

/// Tables up to this many slots are scanned for unreadable records for every line, which takes a few milliseconds at most.
const SCANNED_SLOTS: usize = 1 << 16;

/// The numbers of a node at one time.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub taken_at: Moment,
    pub at: Instant,
    pub liveness: Liveness,
    /// See [`has_actors`]. Without actors, the numbers of actors are no facts.
    pub has_actors: bool,
    pub live: u64,
    /// `None` if the table was not scanned.
    pub unreadable: Option<u64>,
    pub counters: Counters,
    /// Counters of subsystems: journal events, messages to shards, bytes from and to other nodes. 0 without that subsystem.
    pub used: [u64; USED],
    pub process: Option<Vitals>,
}

/// The number of [`Sample::used`].
pub const USED: usize = 4;

/// Reads [`Sample::used`].
fn used(reader: &RegionReader<'_>) -> [u64; USED] {
    let (mut inbound, mut outbound) = (0u64, 0u64);
    for association in reader.instances().of(Domain::Association) {
        inbound = inbound.saturating_add(association.numbers[association::BYTES_IN]);
        outbound = outbound.saturating_add(association.numbers[association::BYTES_OUT]);
    }
    let [events, messages] =
        [Builtin::PersistenceEvents, Builtin::ShardMessages].map(|metric| reader.builtin(metric));
    [events, messages, inbound, outbound]
}

impl Sample {
    pub fn read(region: &Region) -> Result<Self, AttachError> {
        // The verdict is read before the counters: those of a node that was dead by then are final.
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let counters = Counters::read(&reader, &totals);
        let sample = Self {
            taken_at: region.now(),
            at: Instant::now(),
            liveness,
            has_actors: has_actors(&reader.identity(), &liveness, counters.spawned, counters.dead_letters),
            live: totals.live,
            unreadable: (reader.map().actors.count <= SCANNED_SLOTS)
                .then(|| reader.class_counts().tally.unreadable),
            counters,
            used: used(&reader),
            process: Vitals::of(region, &liveness),
        };
        region.check_intact()?;
        Ok(sample)
    }
}

/// One line of output; `--json` writes this object.
#[derive(Debug, Serialize)]
pub struct Row {
    pub at: String,
    /// The time that the rates are averages over. It and the rates are `None` if the start of the node is unknown.
    pub interval_s: Option<f64>,
    /// Whether the interval begins at the start of the node.
    pub since_start: bool,
    /// This and the next three are `None` in a program without actors.
    pub actors: Option<u64>,
    pub spawned_per_s: Option<f64>,
    pub stopped_per_s: Option<f64>,
    pub dead_letters_per_s: Option<f64>,
    pub events_per_s: Option<f64>,
    /// Letters and events that were lost in the interval.
    pub lost: u64,
    /// `None` if the table is too large to scan for every line, and in a program without actors.
    pub unreadable: Option<u64>,
    pub beat_age_s: Option<f64>,
    pub state: &'static str,
    pub why: Option<String>,
    /// In percent of one processor, over the interval.
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub threads: Option<u64>,
    pub open_files: Option<u64>,
    /// The rates of a subsystem are `None` while the node does not use it.
    pub journal_events_per_s: Option<f64>,
    pub shard_messages_per_s: Option<f64>,
    pub inbound_bytes_per_s: Option<f64>,
    pub outbound_bytes_per_s: Option<f64>,
    /// The metrics of `--metric`.
    #[serde(flatten)]
    pub metrics: MetricRates,
}

impl Row {
    /// `before` is the sample at the start of the interval; without one, the interval begins at the start of the node.
    pub fn new(
        sample: &Sample,
        before: Option<&Sample>,
        interval: Option<Duration>,
        metrics: MetricRates,
    ) -> Self {
        let since_start = before.is_none();
        let cpu_before = before.map_or(Some(0.0), |before| before.process.map(|process| process.cpu_s()));
        let used_before = before.map_or([0; USED], |before| before.used);
        let before = before.map_or(Counters::default(), |before| before.counters);
        let rates = sample.counters.per_second(&before, interval);
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        let rate = |of: fn(&CounterRates) -> f64| rates.as_ref().map(of).map(tenths);
        let of_actors = |of: fn(&CounterRates) -> f64| rate(of).filter(|_| sample.has_actors);
        let used = |at: usize| {
            let growth = sample.used[at].saturating_sub(used_before[at]) as f64;
            let seconds = interval.filter(|_| sample.used[at] > 0)?.as_secs_f64();
            Some(tenths(growth / seconds.max(1e-9)))
        };
        Self {
            at: rfc3339(sample.taken_at.unix_ns),
            interval_s: interval.map(seconds),
            since_start,
            actors: sample.has_actors.then_some(sample.live),
            spawned_per_s: of_actors(|rates| rates.spawned),
            stopped_per_s: of_actors(|rates| rates.stopped),
            dead_letters_per_s: of_actors(|rates| rates.dead_letters),
            events_per_s: rate(|rates| rates.events),
            lost: sample.counters.lost.saturating_sub(before.lost),
            unreadable: sample.unreadable.filter(|_| sample.has_actors),
            beat_age_s: sample.liveness.newest_beat_age().map(seconds),
            state: sample.liveness.verdict.word(),
            why: sample.liveness.why(),
            cpu_percent: sample
                .process
                .zip(cpu_before)
                .zip(interval)
                .map(|((process, before), interval)| tenths(process.cpu_percent(before, interval))),
            memory_bytes: sample.process.map(|process| process.memory_bytes),
            threads: sample.process.map(|process| process.threads),
            open_files: sample.process.and_then(|process| process.open_files),
            journal_events_per_s: used(0),
            shard_messages_per_s: used(1),
            inbound_bytes_per_s: used(2),
            outbound_bytes_per_s: used(3),
            metrics,
        }
    }
}
