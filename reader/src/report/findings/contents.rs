//! Findings about a node by its whole region: capacity, subsystems, and what the probe costs the node.

use std::time::Duration;

use atomscope_layout::decode::Failure;
use atomscope_layout::failures;
use atomscope_layout::instances::{Domain, journal};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::Override;

use super::finding::{Findings, Severity};
use crate::attach::Region;
use crate::liveness::Verdict;
use crate::report::human::{count, duration};
use crate::report::subsystems::failures::{describe, failed_handlers, last_age};
use crate::report::usage::{Drops, Usage};
use crate::snapshot::Snapshot;
#[cfg(feature = "stacks")]
use crate::stacks::StacksError;
#[cfg(feature = "stacks")]
use crate::threads::NodeProcess;
use crate::workers::Notice;

/// The share of the capacity for actors above which it counts as full.
const FULL_PERCENT: u64 = 90;

/// The share of events in the shared lane above which threads without a lane of their own are worth a warning.
const SHARED_PERCENT: u64 = 10;

/// The age above which a panic is not worth a warning any more.
const RECENT: Duration = Duration::from_secs(600);

/// The share of a processor above which the sampler is worth a warning.
const SAMPLER_PERCENT: f64 = 1.0;

/// Adds all findings of this file.
pub(super) fn add(findings: &mut Findings, region: &Region, snapshot: &Snapshot, usage: &Usage) {
    capacity(findings, snapshot, usage);
    workers(findings, snapshot);
    long_polls(findings, snapshot);
    panics_and_errors(findings, snapshot, usage);
    #[cfg(feature = "stacks")]
    stacks(findings, region, snapshot);
    subsystems(findings, snapshot, usage);
    cost(findings, region, snapshot);
}

/// `1 time`, `2 times`.
fn times(number: u64) -> String {
    count(number, "time", "times")
}

/// How full the region is, and what was dropped.
fn capacity(findings: &mut Findings, snapshot: &Snapshot, usage: &Usage) {
    let live = snapshot.totals.live;
    let text = format!("{live} live actors; the capacity is {}", usage.actors.capacity);
    let is_full = live.saturating_mul(100) > usage.actors.capacity.saturating_mul(FULL_PERCENT);
    let drops = &usage.drops;
    if drops.actors_spilled > 0 || drops.actors_untracked > 0 || is_full {
        let text =
            format!("{text}; {} unlisted, {} untracked so far", drops.actors_spilled, drops.actors_untracked);
        findings.add(
            Severity::Warning,
            text,
            Some("build the region with more `actors`, or start the node with a larger ATOMSCOPE_ACTORS"),
        );
    } else if snapshot.has_actors() {
        findings.good(text);
    }
    let text = format!("{} of {} names used", usage.names.used, usage.names.capacity);
    if drops.names_full > 0 {
        let text = format!("{text}; {} no slot was free", times(drops.names_full));
        findings.add(Severity::Warning, text, Some("build the region with more `names`"));
    } else {
        findings.good(text);
    }
    let text = format!(
        "{} of {} lanes used; of {} events {} went through the shared lane",
        usage.lanes.used, usage.lanes.capacity, usage.events, usage.events_shared_lane
    );
    let shares = usage.events_shared_lane.saturating_mul(100) > usage.events.saturating_mul(SHARED_PERCENT);
    if usage.lanes.used >= usage.lanes.capacity && shares {
        let advice = "more threads than lanes count and publish, which slows them down: build the region with more `lanes`, or start the node \
                      with a larger ATOMSCOPE_LANES";
        findings.add(Severity::Warning, text, Some(advice));
    } else {
        findings.good(text);
    }
    if usage.metrics.used >= usage.metrics.capacity {
        let text = format!("all {} metrics are used: further ones are not recorded", usage.metrics.capacity);
        let advice =
            "build the region with more `metrics`, or start the node with a larger ATOMSCOPE_METRICS";
        findings.add(Severity::Warning, text, Some(advice));
    }
    if usage.histograms.used >= usage.histograms.capacity {
        let text = format!("all {} histograms are used", usage.histograms.capacity);
        findings.add(Severity::Note, text, Some("build the region with more `histograms`"));
    }
    if drops.metrics_unlisted > 0 {
        let text = format!("{} a metric was refused and counts nothing", times(drops.metrics_unlisted));
        let advice = "the node's warnings name it and the reason: no room, or its name, labels, kind or unit";
        findings.add(Severity::Warning, text, Some(advice));
    }
    if drops.records_unlisted > 0 {
        let text = format!("{} no slot was free for a record of its own", times(drops.records_unlisted));
        let advice = "build the region with more `records`, `record_kinds` or `record_fields`: the error that the node got says which";
        findings.add(Severity::Warning, text, Some(advice));
    }
    let chosen = Override::ALL.into_iter().filter(|of| snapshot.identity.header.flags & of.bit() != 0);
    let chosen: Vec<_> = chosen
        .map(|of| {
            let number = match of {
                Override::Actors => usage.actors.capacity,
                Override::Events => usage.events_kept_per_lane,
                Override::Lanes => usage.lanes.capacity,
                Override::Metrics => usage.metrics.capacity,
                Override::Dir => return of.variable().to_owned(),
            };
            format!("{}={number}", of.variable())
        })
        .collect();
    if !chosen.is_empty() {
        findings.good(format!("the node's environment chose {}", chosen.join(", ")));
    }
    if *drops == Drops::default() {
        findings.good("nothing was dropped for lack of space");
    }
    // The others have findings of their own.
    let rest = Drops {
        actors_spilled: 0,
        actors_untracked: 0,
        names_full: 0,
        instances_unlisted: 0,
        rows_dropped: 0,
        failures_unlisted: 0,
        failures_missed: 0,
        polls_panicked: 0,
        metrics_unlisted: 0,
        records_unlisted: 0,
        ..*drops
    };
    for (number, what) in rest.list().into_iter().filter(|(number, _)| *number > 0) {
        findings.add(Severity::Note, format!("{number} {what}"), None);
    }
    for (number, what) in [
        (snapshot.tally.map_or(0, |tally| tally.unreadable), "records of actors cannot be read"),
        (snapshot.dead_letters.unreadable, "dead letters cannot be read"),
        (snapshot.failures.unreadable, "records of the failure log cannot be read"),
        (snapshot.failures.panics_unreadable, "panics cannot be read"),
        (snapshot.subsystems.instances.unreadable, "records of subsystems cannot be read"),
        (snapshot.own_records.unreadable, "of the application's own records cannot be read"),
        (
            snapshot.subsystems.documents_unreadable,
            "of the two documents (cluster state, allocation of shards) cannot be read",
        ),
    ] {
        if number > 0 {
            let advice = "a node that died left them half written; for a live one try again";
            findings.add(Severity::Warning, format!("{number} {what}"), Some(advice));
        }
    }
    if let Some(drift) = snapshot.drift().filter(|drift| snapshot.at_rest && *drift != 0) {
        let text = format!("the counts and the list of live actors differ by {drift:+}");
        findings.add(Severity::Warning, text, None);
    }
}

/// Workers of the async runtime that are away.
fn workers(findings: &mut Findings, snapshot: &Snapshot) {
    let Some(away) = snapshot.away_workers() else { return };
    let command = format!("; `atomscope stuck {}` says which and where", snapshot.pid);
    // A dead node has no threads, and neither has a dump.
    let is_there = snapshot.dump_info.is_none() && snapshot.liveness.verdict.is_alive();
    let command = if is_there { command.as_str() } else { "" };
    match away.notice(&snapshot.liveness) {
        Some(Notice { text, is_certain: true }) => {
            let advice = format!(
                "a handler or task waits or loops without an await, and what is queued behind it waits too: give such work \
                 to spawn_blocking{command}"
            );
            findings.add(Severity::Warning, text, Some(&advice));
        }
        Some(Notice { text, is_certain: false }) => {
            let advice = format!(
                "a handler hangs, or an actor always has messages: give work that blocks to spawn_blocking{command}"
            );
            findings.add(Severity::Note, text, Some(&advice));
        }
        None if snapshot.liveness.verdict == Verdict::Live && away.of > 0 => {
            let workers = count(away.of as u64, "worker", "workers");
            findings.good(format!("{workers} of its async runtime, and none is away from it for long"));
        }
        None => {}
    }
}

/// Polls of tasks that held their workers, where polls are watched.
fn long_polls(findings: &mut Findings, snapshot: &Snapshot) {
    match snapshot.builtin_if_known(Builtin::LongPolls) {
        Some(0) => findings.good("no task held a worker for long"),
        Some(polls) => {
            let text = count(
                polls,
                "poll of a task held a worker for long",
                "polls of tasks held a worker for long",
            );
            let advice = "what waits for the worker is delayed as long: `atomscope tail --topic runtime` names the actors, and \
                          spawn_blocking is for work that blocks";
            findings.add(Severity::Note, text, Some(advice));
        }
        None => {}
    }
}

/// Panics, and errors and warnings that were logged.
fn panics_and_errors(findings: &mut Findings, snapshot: &Snapshot, usage: &Usage) {
    const ADVICE: &str = "`atomscope failures` lists the different ones";
    let log = &snapshot.failures.log;
    let newest =
        |is_wanted: fn(failures::Severity) -> bool| log.iter().find(|failure| is_wanted(failure.severity));
    let with_newest = |text: String, newest: Option<&Failure>| match newest {
        Some(newest) => format!("{text}; the newest: {}", describe(snapshot, newest)),
        None => text,
    };
    let panics = snapshot.builtin_if_known(Builtin::Panics);
    let (failed, failed_text) = failed_handlers(snapshot);
    if failed > panics.unwrap_or(0) {
        findings.add(Severity::Warning, failed_text, Some("`atomscope actors --by class` has their classes"));
    }
    match panics {
        Some(0) if failed == 0 => findings.good("no panic"),
        Some(0) => {}
        Some(panics) => {
            let newest = newest(|severity| severity == failures::Severity::Panic);
            let age = newest.and_then(|newest| last_age(snapshot, newest));
            let is_old = age.is_some_and(|age| age > RECENT);
            let level = if is_old { Severity::Note } else { Severity::Warning };
            findings.add(level, with_newest(count(panics, "panic", "panics"), newest), Some(ADVICE));
        }
        None => {}
    }
    let logged = [(Builtin::Errors, "error", "errors"), (Builtin::Warnings, "warning", "warnings")]
        .map(|(metric, one, many)| (snapshot.builtin(metric), one, many))
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(number, one, many));
    let logged = logged.collect::<Vec<_>>().join(" and ");
    if !logged.is_empty() {
        let newest = newest(|severity| severity != failures::Severity::Panic);
        findings.add(Severity::Note, with_newest(format!("{logged} logged"), newest), Some(ADVICE));
    }
    if usage.drops.failures_unlisted > 0 {
        let text = format!("{} no slot was free for another failure", times(usage.drops.failures_unlisted));
        findings.add(Severity::Warning, text, Some("build the region with more `failures`"));
    }
}

/// Whether this program may read the stacks of the node's threads.
#[cfg(feature = "stacks")]
fn stacks(findings: &mut Findings, region: &Region, snapshot: &Snapshot) {
    let Some(process) = NodeProcess::of(region, &snapshot.liveness) else { return };
    if let Some((why, advice)) = StacksError::refusal(&process) {
        let text = format!("`atomscope stuck` and `stacks` cannot read its stacks: {why}");
        findings.add(Severity::Note, text, Some(&advice));
    }
}

/// What is polled, and what was dropped of the subsystems.
fn subsystems(findings: &mut Findings, snapshot: &Snapshot, usage: &Usage) {
    let drops = &usage.drops;
    if let Some(poll) = snapshot.poll {
        let beat = format!("the poller's round began {} ago", duration(poll.beat_age));
        if poll.is_stuck {
            let advice = format!(
                "a component that the probe polls does not answer, so the data of cluster, sharding and other polled \
                 subsystems is old; the node itself runs. `atomscope stacks {}` shows what thread `atomscope-poll` waits for",
                snapshot.pid
            );
            let text = format!("{beat} and does not end; a round is due every {}", duration(poll.interval));
            findings.add(Severity::Warning, text, Some(&advice));
        } else {
            findings.good(beat);
        }
    }
    if drops.polls_panicked > 0 {
        let text =
            count(drops.polls_panicked, "poll was removed: it panicked", "polls were removed: they panicked");
        let advice = "their data is as it was then; the node's stderr has the panic";
        findings.add(Severity::Warning, text, Some(advice));
    }
    let Usage { instances, histograms, .. } = usage;
    if instances.used > 0 || drops.instances_unlisted > 0 {
        let text = format!("{} of {} instances of subsystems are listed", instances.used, instances.capacity);
        findings.good(text);
    }
    for domain in Domain::ALL {
        let number = snapshot.builtin(domain.unlisted());
        if number > 0 {
            let text =
                format!("{} no slot was free for more {}", times(number), domain.name().replace('_', " "));
            findings.add(Severity::Warning, text, Some("build the region with more `instances`"));
        }
    }
    let rolled_up = snapshot.subsystems.instances.of(Domain::Journal);
    let rolled_up =
        rolled_up.fold(0u64, |sum, journal| sum.saturating_add(journal.numbers[journal::ROLLED_UP]));
    if rolled_up > 0 {
        let text =
            format!("{} a more active persistence id replaced another one in the list", times(rolled_up));
        findings.add(
            Severity::Note,
            text,
            Some("a region with more `instances` lists more of them; the totals count all"),
        );
    }
    if drops.rows_dropped > 0 {
        let number = drops.rows_dropped;
        let were = if number == 1 { "was" } else { "were" };
        let rows = count(number, "row", "rows");
        let text = format!("{rows} of the cluster's state or the shards' allocation {were} dropped");
        findings.add(Severity::Warning, text, Some("build the region with a larger `document_bytes`"));
    }
    if histograms.capacity > 0 && histograms.used >= histograms.capacity {
        let text = format!("all {} histograms are used: further ones count nothing", histograms.capacity);
        findings.add(Severity::Warning, text, Some("build the region with more `histograms`"));
    }
}

/// A time that is usually far below a second.
fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// What the probe costs the node.
fn cost(findings: &mut Findings, region: &Region, snapshot: &Snapshot) {
    let Ok(reader) = region.reader() else { return };
    let (rounds, time_ns) = (reader.builtin(Builtin::SamplerRounds), reader.builtin(Builtin::SamplerTime));
    if rounds == 0 {
        return findings.add(Severity::Note, "the sampler has made no round yet", None);
    }
    let time = Duration::from_nanos(time_ns);
    let life = region.uptime(&snapshot.liveness, &snapshot.taken_at).filter(|life| !life.is_zero());
    let percent = life.map(|life| time.as_secs_f64() / life.as_secs_f64() * 100.0);
    let text = format!(
        "the sampler used {} for {}{}",
        milliseconds(time),
        count(rounds, "round", "rounds"),
        percent.map(|percent| format!(": {percent:.3} % of a processor")).unwrap_or_default()
    );
    if percent.is_some_and(|percent| percent > SAMPLER_PERCENT) {
        findings.add(Severity::Warning, text, Some("please report this: it should be far less"));
    } else {
        findings.good(text);
    }
    let rounds = reader.builtin(Builtin::PollRounds);
    if rounds > 0 {
        let time = Duration::from_nanos(reader.builtin(Builtin::PollTime));
        let text = format!("the poller took {} for {}", milliseconds(time), count(rounds, "round", "rounds"));
        // No warning: this is wall time, in which the poller may only have waited for a component.
        findings.good(text);
    }
}
