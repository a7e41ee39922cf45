//! Reads an attached node: from its region to ticks and events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope::attach::{AttachError, Region, RegionSummary};
use atomscope::follow::LastMoment;
use atomscope::liveness::{Liveness, Verdict, Wedge};
use atomscope::report::findings;
use atomscope::report::instruments::Activity;
use atomscope::report::rates::Counters;
use atomscope::report::records::Growth;
use atomscope::report::subsystems::{summaries, warnings};
use atomscope::report::usage::Usage;
use atomscope::snapshot::Snapshot;
use atomscope::threads::{NodeProcess, ThreadSamples, add_roles, rates};
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{Class, Failure, Failures, FieldValue, Panic};
use atomscope_layout::follow::Follower;
use atomscope_layout::instances::{Domain, worker};

use crate::program::threads::{notes, why_no_process};
use crate::program::top::history::{MAX_EVENT_BYTES, MAX_EVENTS};
use crate::program::top::tick::{ActorListing, EventRow, LISTED_ALWAYS, Point, ThreadListing, Tick, Wanted};

/// A lane whose ring is at least this full is read ahead.
const READ_AHEAD_FROM: f64 = 0.25;

/// An attached node, and what was read of it so far.
#[derive(Debug)]
pub struct WatchedNode {
    region: Region,
    follower: Follower,
    before: Option<PreviousTick>,
    last_moment: LastMoment,
    has_ended: bool,
    /// Events since the last tick that were read ahead of the next one.
    events: Vec<EventRow>,
    /// The threads at the last tick; `None` if that did not read them.
    threads_before: Option<ThreadSamples>,
    /// Which fields of the application's records only grow, by all ticks so far.
    growth: Growth,
}

/// The parts of a tick that the next one is compared with.
#[derive(Debug)]
struct PreviousTick {
    at: Instant,
    snapshot: Arc<Snapshot>,
    listed: Option<Arc<ActorListing>>,
    /// What the instrumented actors had done.
    activity: Option<Activity>,
    classes: Arc<Vec<Class>>,
    counts: Counters,
    busy_percent: Option<f64>,
}

impl WatchedNode {
    /// Attaches to the region of `summary`.
    pub fn attach(summary: &RegionSummary, max_bytes: u64) -> Result<Self, AttachError> {
        Self::new(summary.open(max_bytes)?)
    }

    pub fn new(region: Region) -> Result<Self, AttachError> {
        let follower = Follower::from_oldest(&region.reader()?);
        Ok(Self {
            region,
            follower,
            before: None,
            last_moment: LastMoment::default(),
            has_ended: false,
            events: Vec::new(),
            threads_before: None,
            growth: Growth::default(),
        })
    }

    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Whether no more ticks can be read: the node has ended, it is a dump, or its region is broken.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Stops reading a broken region. It is not attached again, so that the screen keeps its last state.
    pub fn give_up(&mut self) {
        self.has_ended = true;
    }

    /// Continues with another region of the same node.
    #[cfg(test)]
    pub fn continue_in(&mut self, region: Region) {
        self.region = region;
    }

    /// Reads events between two ticks if the ring could overwrite them before the next tick.
    pub fn read_ahead(&mut self) {
        let Ok(reader) = self.region.reader() else { return };
        let bytes = || self.events.iter().map(|event| event.text.len()).sum::<usize>();
        let has_space = || self.events.len() < MAX_EVENTS && bytes() < MAX_EVENT_BYTES;
        if self.follower.fill(&reader) > READ_AHEAD_FROM && has_space() {
            let batch = self.follower.next_batch(&reader);
            self.events.extend(EventRow::of(batch, reader.clock()));
        }
    }

    /// Reads a tick and the events since the last one.
    pub fn read(&mut self, wanted: Wanted) -> Result<(Tick, Vec<EventRow>), AttachError> {
        let at = Instant::now();
        let snapshot = Snapshot::with_class_counts(&self.region)?;
        self.tick(snapshot, at, wanted)
    }

    /// Makes a tick from a snapshot that was taken at the time `at` and has no list of actors.
    pub fn tick(
        &mut self,
        mut snapshot: Snapshot,
        at: Instant,
        wanted: Wanted,
    ) -> Result<(Tick, Vec<EventRow>), AttachError> {
        let region = &self.region;
        // The verdict was read before the events: a node that was dead by then publishes nothing more.
        let is_last = snapshot.dump_info.is_some() || self.last_moment.is_over(&snapshot.liveness);
        let reader = region.reader()?;
        let mut batch =
            if is_last { self.follower.last_batch(&reader) } else { self.follower.next_batch(&reader) };
        if self.before.is_none() {
            // While the first batch is read, the writer may overwrite old events that nobody was waiting for: not a loss.
            batch.losses.iter_mut().for_each(|loss| loss.lapped = 0);
            batch.losses.retain(|loss| loss.all() > 0);
        }
        let mut events = std::mem::take(&mut self.events);
        events.extend(EventRow::of(batch, reader.clock()));
        let counts = Counters::read(&reader, &snapshot.totals);
        let usage = Usage::take(region, &snapshot)?;
        let caveats = snapshot.caveats();
        let findings = findings::of_snapshot(region, &snapshot, &usage);
        let uptime = region.uptime(&snapshot.liveness, &snapshot.taken_at);
        let summaries = summaries(&snapshot);
        let warnings = warnings(&snapshot, self.before.as_ref().map(|before| &*before.snapshot));
        let tally = snapshot.tally.unwrap_or_default();
        let listed = (wanted.actors || tally.listed <= LISTED_ALWAYS).then(|| {
            // An unchanged list is shared with the tick before.
            let last = self.before.as_ref().and_then(|before| before.listed.as_ref());
            let is_same = |last: &&Arc<ActorListing>| {
                last.mark == snapshot.actors_version && last.cells_mark == reader.cells_mark()
            };
            let last = last.filter(is_same);
            last.map_or_else(|| Arc::new(ActorListing::take(&reader)), Arc::clone)
        });
        let activity = listed.as_ref().map(|listed| Activity::of(listed.tree.actors(), snapshot.until));
        let activity_before = self.before.as_ref().and_then(|before| before.activity.as_ref());
        let rates = activity.as_ref().zip(activity_before).map(|(now, before)| now.since(before));
        if let Some(before) = &self.before {
            self.growth.add(&before.snapshot.own_records, &snapshot.own_records);
        }
        let classes = std::mem::take(&mut snapshot.classes);
        let last = self.before.as_ref().filter(|before| *before.classes == classes);
        let classes = last.map_or_else(|| Arc::new(classes), |before| Arc::clone(&before.classes));
        let threads = wanted.threads.then(|| threads(region, &snapshot.liveness, &mut self.threads_before));
        if threads.is_none() {
            self.threads_before = None;
        }
        region.check_intact()?;
        let point = point(&snapshot, counts, self.before.as_ref(), at, uptime, is_last);
        let snapshot_bytes = approximate_bytes(&snapshot) + classes.len() * ROW_BYTES;
        let thread_rows = threads
            .as_ref()
            .and_then(|threads| threads.as_ref().ok())
            .map_or(0, |threads| threads.rows.len());
        let snapshot_bytes = snapshot_bytes + thread_rows * ROW_BYTES + self.growth.bytes();
        let snapshot = Arc::new(snapshot);
        let before = self.before.replace(PreviousTick {
            at,
            snapshot: Arc::clone(&snapshot),
            listed: listed.clone(),
            activity,
            classes: Arc::clone(&classes),
            counts,
            busy_percent: point.busy_percent,
        });
        self.has_ended = is_last;
        let tick = Tick {
            at,
            path: region.shown_path(),
            bytes: region.bytes(),
            classes_before: before.as_ref().map(|before| Arc::clone(&before.classes)),
            before: before.map(|before| (before.snapshot, (at - before.at).as_secs_f64())),
            snapshot,
            listed,
            tally,
            classes,
            threads,
            summaries,
            usage,
            caveats,
            findings,
            warnings,
            uptime,
            point,
            rates: rates.unwrap_or_default(),
            growth: self.growth.clone(),
            own: Vitals::own(),
            took: at.elapsed(),
            snapshot_bytes,
        };
        Ok((tick, events))
    }
}

/// The threads of the node's process over the time since `before`, which becomes what they are now.
fn threads(
    region: &Region,
    liveness: &Liveness,
    before: &mut Option<ThreadSamples>,
) -> Result<ThreadListing, String> {
    let then = before.take();
    let process = NodeProcess::of(region, liveness).ok_or_else(|| {
        why_no_process(region.identity(), liveness, region.dump_info().is_some(), then.is_some())
    })?;
    let now = ThreadSamples::take(&process)
        .map_err(|_| format!("process {} has ended meanwhile", process.pid()))?;
    let mut rows = rates(then.as_ref(), &now);
    if let Ok(reader) = region.reader() {
        add_roles(&mut rows, &reader.runtime_threads(), &region.now());
    }
    let listing = ThreadListing { rows, notes: notes(&process, &now) };
    *before = Some(now);
    Ok(listing)
}

/// Approximate memory of a row without its texts, and of a tick without its rows.
const ROW_BYTES: usize = 256;
const TICK_BYTES: usize = 16 << 10;

/// Approximate memory of a snapshot without its actors, in bytes. Every text is counted: a region may contain long ones.
fn approximate_bytes(snapshot: &Snapshot) -> usize {
    let subsystems = &snapshot.subsystems;
    let (cluster, sharding) = (&subsystems.cluster, &subsystems.sharding);
    let (mut rows, mut bytes, mut values) = (0usize, TICK_BYTES, 0usize);
    let mut add = |texts: &[&str]| {
        rows += 1;
        bytes += texts.iter().map(|text| text.len()).sum::<usize>();
    };
    cluster.members.iter().for_each(|member| {
        add(&[&member.address, &member.status]);
        member.roles.iter().for_each(|role| add(&[role]));
    });
    cluster.unreachable.iter().for_each(|address| add(&[address]));
    cluster.reachability_records.iter().for_each(|of| add(&[&of.observer, &of.subject, &of.status]));
    cluster.gossip_version.iter().for_each(|(node, _)| add(&[node]));
    sharding.regions.iter().for_each(|region| {
        add(&[&region.region_id]);
        region.shards.iter().for_each(|shard| add(&[shard]));
    });
    sharding.allocations.iter().for_each(|(shard, region)| add(&[shard, region]));
    subsystems.hand_offs.iter().for_each(|of| add(&of.each_ref().map(String::as_str)));
    // The name is stored twice: in the instance, and in the row of `atomr-telemetry`'s JSON.
    subsystems.instances.entries.iter().for_each(|entry| {
        add(&[&entry.name, &entry.name]);
        add(&[entry.owner.as_deref().unwrap_or_default()]);
    });
    subsystems
        .persistence
        .recent_writes
        .iter()
        .for_each(|write| add(&[&write.journal, &write.persistence_id]));
    let records = &snapshot.own_records;
    for kind in &records.kinds {
        add(&[&kind.name, &kind.help]);
        for field in &kind.fields {
            let values = field.values.iter().map(String::as_str);
            let texts = [field.name.as_str(), &field.unit, &field.help];
            add(&texts.into_iter().chain(values).collect::<Vec<_>>());
        }
    }
    for record in &records.list {
        add(&[&record.name]);
        values += record.values.iter().map(value_bytes).sum::<usize>();
    }
    snapshot.metrics.iter().for_each(|metric| {
        add(&[&metric.name, &metric.help]);
        metric.labels.iter().for_each(|(key, value)| add(&[key, value]));
    });
    snapshot.dead_letters.recent.iter().for_each(|letter| {
        add(&[&letter.recipient, &letter.message_type, &letter.message_preview]);
    });
    let mut add_all = |texts: &[&Option<String>]| {
        let texts = texts.iter().filter_map(|text| text.as_deref());
        add(&texts.collect::<Vec<_>>());
    };
    let Failures { log, panics, .. } = &snapshot.failures;
    log.iter().for_each(|failure| {
        let Failure { message, location, target, thread, actor, class, .. } = failure;
        add_all(&[message, location, target, thread, actor, class]);
    });
    panics.iter().for_each(|panic| {
        let Panic { message, location, thread, actor, class, .. } = panic;
        add_all(&[message, location, thread, actor, class]);
    });
    bytes + values + rows * ROW_BYTES
}

/// Memory of the value of a field.
fn value_bytes(value: &FieldValue) -> usize {
    let inside = match value {
        FieldValue::Text(text) | FieldValue::Name(text) => text.len(),
        FieldValue::List(elements) => elements.iter().map(value_bytes).sum(),
        _ => 0,
    };
    size_of::<FieldValue>() + inside
}

fn point(
    snapshot: &Snapshot,
    counts: Counters,
    before: Option<&PreviousTick>,
    at: Instant,
    uptime: Option<Duration>,
    is_last: bool,
) -> Point {
    let then = before.map_or(Counters::default(), |before| before.counts);
    let interval = before.map_or(uptime, |before| Some(at - before.at));
    let cpu_before =
        before.map_or(Some(0.0), |before| before.snapshot.process.map(|process| process.cpu_s()));
    Point {
        counts,
        live: snapshot.totals.live,
        rates: counts.per_second(&then, interval),
        busy_percent: busy(snapshot, before, uptime),
        cpu_percent: snapshot
            .process
            .zip(cpu_before)
            .zip(interval)
            .map(|((now, before), interval)| now.cpu_percent(before, interval)),
        memory_bytes: snapshot.process.map(|process| process.memory_bytes),
        is_average: before.is_none(),
        is_last,
    }
}

/// The share of the time of all worker threads that was spent on tasks, in percent. The sampler updates these numbers,
/// so the share is over the time between two of its rounds. Without a round since the tick before, it is that tick's share.
fn busy(snapshot: &Snapshot, before: Option<&PreviousTick>, uptime: Option<Duration>) -> Option<f64> {
    fn workers(snapshot: &Snapshot) -> impl Iterator<Item = (&str, u64)> {
        let all = snapshot.subsystems.instances.of(Domain::Worker);
        all.filter_map(|entry| Some((entry.name.as_str(), entry.number(worker::BUSY_NS)?)))
    }
    let verdict = snapshot.liveness.verdict;
    let is_running = verdict.is_alive()
        && !matches!(verdict, Verdict::Wedged(Wedge::Stopped | Wedge::Frozen | Wedge::ProcessStale));
    if !is_running {
        return None;
    }
    let seconds = match before {
        None => uptime?.as_secs_f64(),
        Some(before) => {
            let since = snapshot.sampled_mono_ns.saturating_sub(before.snapshot.sampled_mono_ns);
            if since == 0 {
                return before.busy_percent;
            }
            Duration::from_nanos(since).as_secs_f64()
        }
    };
    let then: HashMap<&str, u64> = before.into_iter().flat_map(|before| workers(&before.snapshot)).collect();
    let (mut count, mut busy_ns) = (0u32, 0u64);
    for (name, ns) in workers(snapshot) {
        let since = if before.is_some() { *then.get(name)? } else { 0 };
        (count, busy_ns) = (count + 1, busy_ns.saturating_add(ns.saturating_sub(since)));
    }
    let share = busy_ns as f64 / 1e9 / seconds.max(1e-9) / f64::from(count);
    (count > 0).then(|| (share * 100.0).min(100.0))
}
