//! Which threads of a node are in a handler or another task that does not end, found from outside and without the node's help.
//!
//! Two looks at the stacks, some time apart, show the same method on a thread of an actor that hangs, and also on that of an
//! actor that always has messages: atomr lets it handle up to 128 of them without a pause. There are two proofs that it is
//! one call and not many ([`Evidence`]):
//! - The thread has not run in between: the kernel counts each time that it gives up or gets a processor.
//! - The thread has not executed the instruction to which the call returns. The processor itself watches for that.
//!
//! The first proof is for threads that wait, the second for all. Without a proof nothing is called stuck.

mod call;

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::call::{Call, has_names, is_worker};
use crate::attach::RegionSummary;
use crate::in_flight::{Handler, mark_blocking};
use crate::liveness::{Verdict, Wedge};
use crate::report::human::{count, duration, seconds};
use crate::stacks::{Analysis, LOCK, Mappings, Modules, Seen, StacksError, ThreadStack, analysed, look};
use crate::system::Passage;
use crate::text::clean;
use crate::threads::{NodeProcess, ThreadRates, ThreadSamples, add_roles, rates, threads_of_away, tids};
use crate::workers::AwayWorker;

/// The names of the probe's threads begin with this.
const PROBE: &str = "atomscope";
/// Limit of the calls whose return is watched: each takes a descriptor of this program.
const MOST_CALLS: usize = 256;
/// How long a process that is being stopped is waited for.
const MOST_STOPPING: Duration = Duration::from_secs(1);
/// Limit of the candidates that are listed.
const MOST_CANDIDATES: usize = 64;

/// What is called stuck, and how it is looked for.
#[derive(Debug, Clone, Copy)]
pub struct StuckOptions {
    /// A call is stuck if it lasts so long.
    pub over: Duration,
    /// Stop threads that run, each for some tens of microseconds at each look, and look at them too.
    pub stop: bool,
}

/// Why a thread counts as stuck, or is only suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The thread has not run the whole time.
    Asleep,
    /// The call has not returned the whole time.
    NoReturn,
    /// The process is stopped or frozen, with the thread in this call.
    Stopped,
    /// No proof: each look has seen the same method, but these may have been several calls.
    EveryLook,
}

impl Evidence {
    /// Whether it proves that one call lasts.
    pub fn is_proof(self) -> bool {
        matches!(self, Self::Asleep | Self::NoReturn)
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Asleep => "it has not run the whole time",
            Self::NoReturn => "the call has not returned the whole time",
            Self::Stopped => "its process stands still",
            Self::EveryLook => "it was in this method at each look, in one call or in several",
        }
    }
}

/// A thread that is in a call that lasts. What is unknown is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct StuckThread {
    /// The method of an actor with its class, or the function of another task; not safe to print.
    pub call: String,
    /// Whether `call` is a method of an actor.
    pub is_of_actor: bool,
    /// The file of the source of the line that the call is at; not safe to print.
    pub file: Option<String>,
    /// That line.
    pub line: Option<u32>,
    /// Why it counts as stuck.
    pub evidence: Evidence,
    /// The worker of the async runtime in `atomscope runtime`; `None` unless there is only one that it can be.
    pub worker: Option<String>,
    /// How long its worker has not paused, in seconds, or longer; `None` if that is unknown. The call may be shorter.
    pub away_s: Option<f64>,
    /// The call has lasted at least so long, in seconds: while it was watched. `None` without a proof.
    pub lasts_s: Option<f64>,
    /// How many frames from the innermost one on belong to the call; the others are the runtime's.
    pub call_frames: usize,
    /// The thread with its stack.
    #[serde(flatten)]
    pub stack: ThreadStack,
    #[serde(skip)]
    is_on_worker: bool,
}

impl StuckThread {
    /// The call with its line. Safe to print.
    pub fn place(&self) -> String {
        let call = clean(&self.call);
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{call} at {}:{line}", clean(file)),
            _ => call.into_owned(),
        }
    }

    /// What its thread does, as the end of a sentence. Safe to print.
    pub fn activity(&self) -> String {
        match self.stack.waits_for {
            Some("runs") => "runs".to_owned(),
            Some("sleep") => "sleeps".to_owned(),
            Some("stopped") => "is stopped".to_owned(),
            Some("the kernel") => "waits in the kernel".to_owned(),
            Some(word) => format!("waits for a {word}"),
            None => format!("is {}", self.stack.state),
        }
    }

    /// Why it counts as stuck, and for how long that was watched. Safe to print.
    pub fn proof(&self) -> String {
        let watched = self.lasts_s.map(|s| format!(", {}", duration(Duration::from_secs_f64(s))));
        self.evidence.text().to_owned() + &watched.unwrap_or_default()
    }

    /// Which of so many workers it is, and for how long that has not paused. Safe to print.
    pub fn worker_text(&self, workers: usize) -> Option<String> {
        let away = self.away_s.map(|s| duration(Duration::from_secs_f64(s)));
        match (&self.worker, away) {
            (Some(worker), Some(away)) => {
                Some(format!("worker {} of {workers}, which has not paused for {away}", clean(worker)))
            }
            (Some(worker), None) => Some(format!("worker {} of {workers}", clean(worker))),
            (None, Some(away)) => Some(format!("a worker that has not paused for {away} or longer")),
            (None, None) => None,
        }
    }
}

/// What is stuck in a node. What is unknown is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct StuckReport {
    /// The node's name; not safe to print.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// The verdict on the node, in one word.
    pub state: &'static str,
    /// What that word leaves open.
    pub why: Option<String>,
    /// Whether it is proved that something does not go on.
    pub is_stuck: bool,
    /// `stuck`, `nothing`, or `unknown`.
    pub outcome: &'static str,
    /// How long a call must last to be called stuck, in seconds.
    pub over_s: f64,
    /// How long threads were watched, in seconds.
    pub watched_s: f64,
    /// The workers of the async runtime; `None` if no runtime is attached.
    pub workers: Option<usize>,
    /// Those that have neither slept nor published their numbers for a second or longer.
    pub away_workers: Option<Vec<AwayWorker>>,
    /// The threads, those with a proof first.
    pub threads: Vec<StuckThread>,
    /// The threads that wait for locks in handlers, if there are several: each may have what another one waits for.
    pub possible_deadlock: Vec<u32>,
    /// If workers are away, and no thread is known to be the reason: those that may be, with what they did meanwhile.
    pub candidates: Vec<ThreadRates>,
    /// Why the stacks of the threads, or of those that may be the reason, could not be looked at.
    pub refusal: Option<String>,
    /// The handlers of instrumented actors that last longer than [`StuckOptions::over`], the longest first.
    pub handlers: Vec<Handler>,
    /// Whether these count as stuck, whatever they do.
    #[serde(skip)]
    handlers_count: bool,
    /// The threads that have run all the time, and were not looked at because [`StuckOptions::stop`] was not set.
    #[serde(skip)]
    passed_over: Vec<u32>,
    /// Sentences on what is missing, safe to print.
    #[serde(skip)]
    pub notes: Vec<String>,
    #[serde(skip)]
    verdict: Verdict,
    /// Which workers are away.
    #[serde(skip)]
    away_text: Option<String>,
    /// Whether nothing but load keeps the workers.
    #[serde(skip)]
    is_busy: bool,
    /// Whether the runtime is blocked because no thread runs its worker.
    #[serde(skip)]
    is_undriven: bool,
}

/// What was seen of the threads.
#[derive(Debug, Default)]
struct Watched {
    threads: Vec<StuckThread>,
    /// Threads that certainly are in no call that lasts.
    cleared: Vec<u32>,
    /// Threads that would have to be stopped to be looked at.
    unseen: Vec<u32>,
    /// Whether a call has come back meanwhile.
    has_come_back: bool,
    /// Whether a thread runs a worker.
    has_worker: bool,
    /// Whether no thread runs a worker, as far as that was seen.
    is_undriven: bool,
    time: Duration,
    notes: Vec<String>,
}

impl StuckReport {
    /// Watches the threads of the node `summary` for [`StuckOptions::over`]. It costs what a few [`Stacks::take`] cost, and an
    /// exception of the processor for each thread that is in a handler. `wait` waits for a time, and returns whether to go on.
    ///
    /// [`Stacks::take`]: crate::stacks::Stacks::take
    ///
    /// # Errors
    /// The process has ended, or `wait` returned false. Threads that cannot be looked at are no error.
    pub fn take(
        summary: &RegionSummary,
        process: &NodeProcess,
        options: StuckOptions,
        max_bytes: u64,
        wait: &(dyn Fn(Duration) -> bool + Sync),
    ) -> Result<Self, StacksError> {
        let failed = |error| StacksError::of(process, error);
        let before = ThreadSamples::take(process).map_err(failed)?;
        let stands_still =
            matches!(summary.liveness.verdict, Verdict::Wedged(Wedge::Stopped | Wedge::Frozen));
        let (watched, refusal) = match watch(process, options, stands_still, wait) {
            Ok(watched) => (watched, None),
            Err(error @ (StacksError::Ended { .. } | StacksError::Stopped)) => return Err(error),
            Err(error) => {
                if !stands_still && !wait(options.over.saturating_sub(before.at.elapsed())) {
                    return Err(StacksError::Stopped);
                }
                (Watched { time: before.at.elapsed(), ..Watched::default() }, Some(error.to_string()))
            }
        };
        let now = ThreadSamples::take(process).map_err(failed)?;
        // The region as it is after the looks; a node that has just ended is told as it was.
        let read = RegionSummary::read(&summary.path, summary.process, max_bytes).ok();
        let read = read.filter(|read| read.is_of_same_node(summary));
        let mut rates = rates(Some(&before), &now);
        let summary = read.as_ref().unwrap_or(summary);
        let told = told(summary, &mut rates, max_bytes);
        Ok(Self::new(summary, process.pid(), options, watched, refusal, rates, told.as_deref()))
    }

    fn new(
        summary: &RegionSummary,
        pid: u32,
        options: StuckOptions,
        watched: Watched,
        refusal: Option<String>,
        rates: Vec<ThreadRates>,
        told: Option<&[u32]>,
    ) -> Self {
        let Watched { mut threads, cleared, unseen, has_come_back, has_worker, is_undriven, time, notes } =
            watched;
        let verdict = summary.liveness.verdict;
        let away = summary.away_workers.as_ref();
        let is_blocked = verdict == Verdict::Wedged(Wedge::RuntimeBlocked);
        let is_away = |away: &&AwayWorker| away.away_s >= seconds(options.over);
        let away_now: Vec<&AwayWorker> = away.iter().flat_map(|away| &away.list).filter(is_away).collect();
        let may_be_away = is_blocked || !away_now.is_empty() || away.is_none_or(|away| away.of == 0);
        // Each look sees a handler that is usual. Only with a worker that is away it is worth a word.
        threads.retain(|thread| thread.evidence != Evidence::EveryLook || may_be_away);
        threads.sort_by_key(|thread| !thread.evidence.is_proof());
        let has_paused = |row: &ThreadRates| row.voluntary_switches_per_s.is_some_and(|number| number > 0.0);
        let ran_unseen =
            |row: &ThreadRates| unseen.contains(&row.tid) && !has_paused(row) && !row.name.starts_with(PROBE);
        let passed_over: Vec<u32> = rates.iter().filter(|row| ran_unseen(row)).map(|row| row.tid).collect();
        let runs_unseen = !passed_over.is_empty();
        // A worker that is away and whose thread was not seen in a call may be any of those that are away.
        set_workers(&mut threads, if has_come_back || runs_unseen { &[] } else { &away_now }, time);
        let row_of = |tid| rates.iter().find(|row| row.tid == tid);
        let is_told = |row: &ThreadRates| told.is_some_and(|told| told.contains(&row.node_tid));
        for thread in threads.iter_mut().filter(|thread| thread.evidence.is_proof()) {
            let Some(row) = row_of(thread.stack.tid) else { continue };
            thread.away_s = row.awake_s.or(thread.away_s);
            if let ([only], true, Some([_])) = (away_now.as_slice(), is_told(row), told) {
                thread.worker = Some(only.worker.clone());
            }
        }
        let waits_for_lock = |thread: &&StuckThread| {
            thread.evidence.is_proof() && thread.is_of_actor && thread.stack.waits_for == Some(LOCK)
        };
        let mut possible_deadlock: Vec<u32> =
            threads.iter().filter(waits_for_lock).map(|thread| thread.stack.tid).collect();
        if possible_deadlock.len() < 2 {
            possible_deadlock.clear();
        }
        let stands_still = matches!(verdict, Verdict::Wedged(Wedge::Stopped | Wedge::Frozen));
        let are_explained = stands_still || threads.len() >= away_now.len().max(usize::from(is_blocked));
        let is_candidate = |row: &ThreadRates| {
            let is_known = threads.iter().any(|thread| thread.stack.tid == row.tid);
            let is_probe = row.name.starts_with(PROBE);
            let is_other = told.is_some() && !is_told(row);
            !(is_known || has_paused(row) || is_probe || is_other || cleared.contains(&row.tid))
        };
        let mut candidates = Vec::new();
        if !are_explained && (is_blocked || !away_now.is_empty()) {
            candidates.extend(rates.iter().filter(|row| is_candidate(row)).take(MOST_CANDIDATES).cloned());
        }
        // Workers that are away although every call comes back are only busy, and so is a runtime that they block.
        let is_busy = has_come_back
            && (is_blocked || !away_now.is_empty())
            && threads.is_empty()
            && candidates.is_empty();
        let notice = away.and_then(|away| away.notice(&summary.liveness));
        // What is certain by the node's own numbers may still be shorter than what is asked for.
        let is_long = !is_busy && !away_now.is_empty();
        let is_certain = is_long && notice.as_ref().is_some_and(|notice| notice.is_certain);
        let is_wedged = matches!(verdict, Verdict::Wedged(_)) && !(is_blocked && is_busy);
        let away_text = match verdict {
            Verdict::Wedged(Wedge::RuntimeBlocked)
            | Verdict::Live
            | Verdict::Starting
            | Verdict::Stopping => away.and_then(|away| away.text(options.over)),
            _ => notice.map(|notice| notice.text),
        };
        let is_stuck = is_wedged || is_certain || threads.iter().any(|thread| thread.evidence.is_proof());
        let mut report = Self {
            node: summary.identity.node.clone(),
            pid,
            state: verdict.word(),
            why: summary.liveness.why(),
            is_stuck,
            outcome: "unknown",
            over_s: seconds(options.over),
            watched_s: seconds(time),
            workers: away.map(|away| away.of),
            away_workers: away.map(|away| away.list.clone()),
            threads,
            possible_deadlock,
            candidates,
            refusal,
            handlers: Vec::new(),
            handlers_count: false,
            passed_over: if options.stop { Vec::new() } else { passed_over },
            notes,
            verdict,
            away_text,
            is_busy,
            is_undriven: is_blocked && is_undriven,
        };
        let runs = report.candidates.iter().any(|row| unseen.contains(&row.tid));
        if runs && !options.stop && !report.is_stuck {
            let advice = report.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
            let why = format!("threads that run were not looked at{advice}");
            report.refusal = report.refusal.or(Some(why));
        }
        let has_runtime = report.workers.is_some_and(|of| of > 0) || has_worker;
        if !has_runtime && !report.is_stuck {
            let why = "no worker of an async runtime was seen, whose handlers and tasks could be stuck";
            report.refusal = report.refusal.or(Some(why.to_owned()));
        }
        report.outcome = match report.is_stuck {
            true => "stuck",
            false if report.has_looked() => "nothing",
            false => "unknown",
        };
        report
    }

    /// Adds the handlers that last. A handler on a thread that is stuck is said to block its worker. All others count as stuck
    /// only if `all_count`: to await for long, or to be polled again and again, may be what a handler is for.
    pub fn add_handlers(&mut self, mut handlers: Vec<Handler>, all_count: bool) {
        let proved = self.threads.iter().filter(|thread| thread.evidence.is_proof());
        let classes: Vec<&str> =
            proved.filter_map(|thread| Some(&*thread.stack.handler.as_ref()?.class)).collect();
        mark_blocking(&mut handlers, &classes);
        if all_count && !handlers.is_empty() {
            (self.is_stuck, self.handlers_count, self.outcome) = (true, true, "stuck");
        }
        self.handlers = handlers;
    }

    /// Whether it could be found out that nothing is stuck, or that something is.
    pub fn has_looked(&self) -> bool {
        // Without stacks the node's own numbers decide, if it has any and none is in doubt.
        self.refusal.is_none()
            || self.is_stuck
            || self.workers.is_some_and(|of| of > 0) && self.candidates.is_empty()
    }

    /// Whether nothing is stuck, and nothing may be.
    pub fn is_good(&self) -> bool {
        !self.is_stuck && self.has_looked() && self.candidates.is_empty() && self.handlers.is_empty()
    }

    /// The answer in one line. Safe to print.
    pub fn headline(&self) -> String {
        let who = format!("{} ({})", clean(&self.node), self.pid);
        let mut parts: Vec<String> = Vec::new();
        let is_wedged = matches!(self.verdict, Verdict::Wedged(_));
        parts.extend(self.verdict.why().filter(|_| is_wedged).map(str::to_owned));
        parts.extend(self.away_text.clone());
        parts.extend(self.calls());
        if self.is_undriven {
            parts.push("no thread runs its tasks".to_owned());
        }
        // Of handlers that do not count there is something to say only where the answer is open.
        let handlers = said(self.handlers.iter());
        let blocking = said(self.handlers.iter().filter(|handler| handler.blocks_worker));
        let running = said(self.handlers.iter().filter(|handler| !handler.awaits()));
        match &handlers {
            Some(handlers) if self.handlers_count => {
                let over = duration(Duration::from_secs_f64(self.over_s));
                let number = count(self.handlers.len() as u64, "handler lasts", "handlers last");
                parts.push(format!("{number} for {over} or longer: {handlers}"));
            }
            _ if self.is_stuck || !self.has_looked() => {
                let blocked = blocking.map(|blocking| format!("the actor is {blocking}"));
                parts.extend(blocked.or(running.map(|running| format!("handlers in flight: {running}"))));
            }
            _ => {}
        }
        match self.is_stuck {
            true => format!("{who} is {}: {}", if is_wedged { "wedged" } else { "stuck" }, parts.join("; ")),
            false if !self.has_looked() => {
                let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ")) };
                format!("it is not known whether {who} is stuck{parts}")
            }
            false if self.is_busy => {
                format!(
                    "nothing is stuck in {who}, but it is busy: {}; each call came back in time",
                    parts.join("; ")
                )
            }
            false if parts.is_empty() && handlers.is_some() => {
                let awaits = self.handlers.iter().all(Handler::awaits);
                let number = match (self.handlers.len() as u64, awaits) {
                    (number, true) => count(number, "handler awaits", "handlers await"),
                    (number, false) => count(number, "handler lasts", "handlers last"),
                };
                format!("no thread of {who} is stuck; {number}: {}", handlers.unwrap_or_default())
            }
            false if parts.is_empty() && self.refusal.is_some() => {
                let workers = count(self.workers.unwrap_or(0) as u64, "worker has", "workers have");
                format!("nothing is stuck in {who} by its own numbers: its {workers} paused within a second")
            }
            false if parts.is_empty() => {
                let over = duration(Duration::from_secs_f64(self.watched_s));
                format!("nothing is stuck in {who}: no handler or other task was in one call for {over}")
            }
            false => format!("nothing is proved to be stuck in {who}: {}", parts.join("; ")),
        }
    }

    /// What the answer cannot cover, or how it would be another; `None` if it says what is stuck, or is not known. Safe to print.
    pub fn limit(&self) -> Option<String> {
        let limit = "a handler that waits in an `.await` keeps no thread and is seen only if its actor is instrumented";
        let longest = self.handlers.iter().filter_map(|handler| handler.for_s).reduce(f64::max);
        let over = longest.map_or(1, |longest| if longest >= 5.0 { 5 } else { 1 });
        let over =
            format!("`atomscope stuck {} --over {over}s` counts handlers that await as stuck", self.pid);
        let text = if self.handlers.is_empty() { limit.to_owned() } else { over };
        (!self.is_stuck && self.has_looked()).then_some(text)
    }

    /// The command that looks at the threads that were passed over. Safe to print.
    pub fn advice(&self) -> Option<String> {
        let threads = match self.passed_over.as_slice() {
            [] => return None,
            [one] => format!("thread {one}"),
            [one, two] => format!("threads {one} and {two}"),
            several => format!("the {} threads that run", several.len()),
        };
        Some(format!("`atomscope stuck {} --stop` looks at {threads}", self.pid))
    }

    /// Which calls last.
    fn calls(&self) -> Option<String> {
        let is_in_deadlock = |thread: &&StuckThread| self.possible_deadlock.contains(&thread.stack.tid);
        let proved: Vec<&StuckThread> =
            self.threads.iter().filter(|thread| thread.evidence.is_proof()).collect();
        let deadlocked: Vec<String> =
            proved.iter().copied().filter(is_in_deadlock).map(StuckThread::place).collect();
        let others: Vec<&StuckThread> =
            proved.iter().copied().filter(|thread| !is_in_deadlock(thread)).collect();
        let lasted = format!("for {} or longer", duration(Duration::from_secs_f64(self.watched_s)));
        // The time of the worker says more.
        let lasted = if self.away_text.is_some() { String::new() } else { format!(", {lasted}") };
        let mut parts = Vec::new();
        if !deadlocked.is_empty() {
            parts.push(format!("possible deadlock of {}{lasted}", listed(&deadlocked)));
        }
        match others.as_slice() {
            [] => {}
            [one] => parts.push(format!("{} {}{lasted}", one.place(), one.activity())),
            several => {
                let places: Vec<String> = several.iter().map(|thread| thread.place()).collect();
                let number = several.len();
                parts.push(format!("{number} calls do not come back: {}{lasted}", listed(&places)));
            }
        }
        let places = |evidence| {
            let of = self.threads.iter().filter(move |thread| thread.evidence == evidence);
            of.map(StuckThread::place).collect::<Vec<_>>()
        };
        let stopped = places(Evidence::Stopped);
        if !stopped.is_empty() {
            parts.push(format!("it stopped in {}", listed(&stopped)));
        }
        let seen = places(Evidence::EveryLook);
        if !seen.is_empty() {
            parts.push(format!("{} was seen at each look, in one call or in several", listed(&seen)));
        }
        match self.candidates.as_slice() {
            [] => {}
            [one] => parts.push(format!("thread {} ({}) may be the reason", one.tid, clean(&one.name))),
            several => parts.push(format!("one of {} threads may be the reason", several.len())),
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// What the node tells of its threads is added to `rates`. Returns the threads of the workers that are away, by their ids in the
/// node's namespace; `None` if the node does not tell them.
fn told(summary: &RegionSummary, rates: &mut [ThreadRates], max_bytes: u64) -> Option<Vec<u32>> {
    let region = summary.open(max_bytes).ok()?;
    let (told, at) = (region.reader().ok()?.runtime_threads(), region.now());
    add_roles(rates, &told, &at);
    let away = threads_of_away(summary.away_workers.as_ref()?, &told, &at)?;
    Some(away.into_iter().map(|(thread, _)| thread.tid).collect())
}

/// The first handlers with the paths of their actors, and how many more there are; `None` if there are none.
fn said<'a>(handlers: impl Iterator<Item = &'a Handler>) -> Option<String> {
    const MOST: usize = 2;
    let mut all: Vec<String> = handlers.map(Handler::brief).collect();
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    all.extend((more > 0).then(|| format!("{more} more")));
    (!all.is_empty()).then(|| all.join(" and "))
}

/// The first texts of a list, equal ones once with their number, and how many more there are.
fn listed(texts: &[String]) -> String {
    const MOST: usize = 3;
    let mut different: Vec<(&String, usize)> = Vec::new();
    for text in texts {
        match different.iter_mut().find(|(known, _)| *known == text) {
            Some((_, number)) => *number += 1,
            None => different.push((text, 1)),
        }
    }
    let said = |(text, number): &(&String, usize)| match number {
        1 => (*text).clone(),
        number => format!("{number} × {text}"),
    };
    let first: Vec<String> = different.iter().take(MOST).map(said).collect();
    let more: usize = different.iter().skip(MOST).map(|(_, number)| number).sum();
    match (first.as_slice(), more) {
        ([one], _) => one.clone(),
        ([before @ .., last], 0) => format!("{} and {last}", before.join(", ")),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// States of which worker each call is that is proved. If every worker that is away is in one of these calls, each of them is of
/// one that has not paused for as long as the one that is away for the shortest time; two workers are not told apart.
fn set_workers(threads: &mut [StuckThread], away: &[&AwayWorker], watched: Duration) {
    let is_matched = |thread: &StuckThread| thread.evidence.is_proof() && thread.is_on_worker;
    let all_are_matched = threads.iter().filter(|thread| is_matched(thread)).count() == away.len();
    let shortest = away.iter().map(|worker| worker.away_s).reduce(f64::min).filter(|_| all_are_matched);
    let only = if let [only] = away { Some(only).filter(|_| all_are_matched) } else { None };
    for thread in threads.iter_mut().filter(|thread| thread.evidence.is_proof()) {
        thread.lasts_s = Some(seconds(watched));
        thread.away_s = shortest.filter(|_| thread.is_on_worker);
        thread.worker = only.filter(|_| thread.is_on_worker).map(|away| away.worker.clone());
    }
}

/// Looks at the threads, watches the calls that they are in, and looks again.
fn watch(
    process: &NodeProcess,
    options: StuckOptions,
    stands_still: bool,
    wait: &(dyn Fn(Duration) -> bool + Sync),
) -> Result<Watched, StacksError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(StacksError::Unsupported);
    }
    let failed = |error: io::Error| StacksError::of(process, error);
    let may_go_on = || wait(Duration::ZERO);
    let maps = Mappings::of(process.pid()).map_err(failed)?;
    let all = tids(process).map_err(failed)?;
    let again = |tids: &[u32]| look(process, &maps, tids, options.stop, &may_go_on);
    let mut first: Vec<Seen> = again(&all)?;
    // A thread that has to stop still runs until it has got a processor once more.
    let begun = Instant::now();
    while stands_still && first.iter().any(|(_, seen)| seen.is_err()) && begun.elapsed() < MOST_STOPPING {
        if !wait(Duration::from_millis(20)) {
            return Err(StacksError::Stopped);
        }
        let (seen, unseen): (Vec<Seen>, Vec<Seen>) = first.into_iter().partition(|(_, seen)| seen.is_ok());
        let unseen: Vec<u32> = unseen.into_iter().map(|(sample, _)| sample.tid).collect();
        first = seen;
        first.extend(again(&unseen)?);
    }
    analysed(process, || {
        let modules = Modules::of(process.pid(), &maps);
        let mut analysis = Analysis::new(process.pid(), &maps, &modules);
        let mut watched = Watched::default();
        let mut calls = Vec::new();
        let first = analysis.threads(first, &may_go_on)?;
        watched.has_worker = first.iter().any(is_worker);
        watched.is_undriven = first.iter().all(has_names) && !watched.has_worker;
        for stack in first {
            match Call::of(&stack) {
                Some(call) => calls.push((call, stack)),
                None if stack.frames.is_empty() => watched.unseen.push(stack.tid),
                None if has_names(&stack) => watched.cleared.push(stack.tid),
                None => {}
            }
        }
        if stands_still {
            let stopped = calls.into_iter().map(|(call, stack)| stuck(call, stack, Evidence::Stopped));
            watched.threads = stopped.collect();
            watched.notes = analysis.notes;
            return Ok(watched);
        }
        let mut passages = HashMap::new();
        for (call, stack) in calls.iter().take(MOST_CALLS) {
            let passage = call.returns_to.and_then(|address| Passage::watch(stack.tid, address).ok());
            passages.extend(passage.map(|passage| (stack.tid, passage)));
        }
        // Only a call that is seen after the watch began is watched as a whole.
        let tids: Vec<u32> = calls.iter().map(|(_, stack)| stack.tid).collect();
        let mut later = again(&tids)?;
        let number = later.len();
        let begun = Instant::now();
        if !wait(options.over) {
            return Err(StacksError::Stopped);
        }
        watched.time = begun.elapsed();
        later.extend(again(&tids)?);
        let has_passed: HashMap<u32, Option<bool>> =
            passages.iter().map(|(tid, passage)| (*tid, passage.has_passed())).collect();
        drop(passages);
        // Both at once: to open the program's debug information takes longer than to read it.
        let mut second = analysis.threads(later, &may_go_on)?;
        let third = second.split_off(number);
        let mut second: HashMap<u32, ThreadStack> =
            second.into_iter().map(|stack| (stack.tid, stack)).collect();
        let mut third: HashMap<u32, ThreadStack> =
            third.into_iter().map(|stack| (stack.tid, stack)).collect();
        for (first, stack) in calls {
            let tid = stack.tid;
            let (Some(second), Some(third)) = (second.remove(&tid), third.remove(&tid)) else { continue };
            match outcome(&first, &second, &third, has_passed.get(&tid).copied().flatten()) {
                Outcome::Unseen => watched.unseen.push(tid),
                Outcome::CameBack => {
                    watched.has_come_back = true;
                    watched.cleared.push(tid);
                }
                Outcome::Lasts(call, evidence) => watched.threads.push(stuck(call, third, evidence)),
            }
        }
        watched.notes = analysis.notes;
        Ok(watched)
    })
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The thread was not looked at again.
    Unseen,
    CameBack,
    /// It lasts, as far as that is known; the call as it was seen last.
    Lasts(Call, Evidence),
}

/// What became of the call that a thread was in, by two looks at its stack and by what is known of its return in between.
fn outcome(first: &Call, second: &ThreadStack, third: &ThreadStack, has_passed: Option<bool>) -> Outcome {
    if second.frames.is_empty() || third.frames.is_empty() {
        return Outcome::Unseen;
    }
    let (Some(before), Some(after)) = (Call::of(second), Call::of(third)) else { return Outcome::CameBack };
    if !(first.may_be(&before) && before.may_be(&after)) {
        return Outcome::CameBack;
    }
    // A thread that runs without a pause keeps its numbers too.
    let are_asleep = second.stopped_us.is_none() && third.stopped_us.is_none();
    let has_slept = are_asleep && second.switches.is_some() && second.switches == third.switches;
    match has_passed {
        _ if has_slept => Outcome::Lasts(after, Evidence::Asleep),
        Some(true) => Outcome::CameBack,
        Some(false) => Outcome::Lasts(after, Evidence::NoReturn),
        None => Outcome::Lasts(after, Evidence::EveryLook),
    }
}

fn stuck(call: Call, stack: ThreadStack, evidence: Evidence) -> StuckThread {
    let place = call.place(&stack);
    let (file, line) = place.map_or((None, None), |frame| (frame.file.clone(), frame.line));
    StuckThread {
        is_of_actor: call.is_of_actor,
        is_on_worker: call.is_on_worker,
        call_frames: call.frames,
        call: call.name,
        file,
        line,
        evidence,
        worker: None,
        away_s: None,
        lasts_s: None,
        stack,
    }
}

#[cfg(test)]
mod tests {
    use super::call::tests::{HANDLE, LOOP, stack};
    use super::*;
    use crate::workers::AwayWorkers;

    /// A look at a thread in a handler that has so many switches.
    fn look(switches: u64) -> ThreadStack {
        ThreadStack { switches: Some([switches, 0]), ..stack(&["sleep", HANDLE, "core::poll", LOOP]) }
    }

    /// The evidence that the handler lasts; an error if it has come back or was not seen.
    fn evidence(
        second: &ThreadStack,
        third: &ThreadStack,
        has_passed: Option<bool>,
    ) -> Result<Evidence, Outcome> {
        let first = Call::of(&look(0)).unwrap();
        match outcome(&first, second, third, has_passed) {
            Outcome::Lasts(_, evidence) => Ok(evidence),
            other => Err(other),
        }
    }

    #[test]
    fn only_a_thread_that_has_not_run_or_a_call_that_has_not_returned_is_proof() {
        for has_passed in [None, Some(false), Some(true)] {
            assert_eq!(evidence(&look(5), &look(5), has_passed), Ok(Evidence::Asleep));
        }
        assert_eq!(evidence(&look(5), &look(6), Some(false)), Ok(Evidence::NoReturn));
        assert_eq!(evidence(&look(5), &look(6), Some(true)), Err(Outcome::CameBack));
        assert_eq!(evidence(&look(5), &look(6), None), Ok(Evidence::EveryLook));
        assert!(!Evidence::EveryLook.is_proof() && Evidence::NoReturn.is_proof());
    }

    #[test]
    fn a_thread_that_runs_without_a_pause_is_not_asleep() {
        let runs = ThreadStack { stopped_us: Some(13.0), ..look(5) };
        for (second, third) in [(&runs, &runs), (&look(5), &runs), (&runs, &look(5))] {
            assert_eq!(evidence(second, third, None), Ok(Evidence::EveryLook));
        }
        let unknown = ThreadStack { switches: None, ..look(5) };
        assert_eq!(evidence(&unknown, &unknown, None), Ok(Evidence::EveryLook));
    }

    #[test]
    fn a_thread_in_another_call_has_come_back_and_one_without_a_stack_was_not_seen() {
        let other =
            stack(&["sleep", "<shop::Cart as atomr_core::actor::traits::Actor>::handle", "core::poll", LOOP]);
        assert_eq!(evidence(&look(5), &other, Some(false)), Err(Outcome::CameBack));
        assert_eq!(evidence(&look(5), &stack(&["syscall"]), Some(false)), Err(Outcome::CameBack));
        assert_eq!(evidence(&look(5), &stack(&[]), Some(false)), Err(Outcome::Unseen));
    }

    #[test]
    fn long_lists_are_cut_and_equal_texts_are_counted() {
        let said = |texts: &str| listed(&texts.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            ["1", "1 2", "1 2 3", "1 2 3 4 5", "1 1", "1 2 1", "1 2 3 4 1 4"].map(said),
            [
                "1",
                "1 and 2",
                "1, 2 and 3",
                "1, 2, 3 and 2 more",
                "2 × 1",
                "2 × 1 and 2",
                "2 × 1, 2, 3 and 2 more"
            ]
        );
    }

    #[test]
    fn a_worker_that_is_certainly_stuck_is_so_only_after_the_time_that_was_asked_for() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/2.0/typical.raw");
        let mut summary = RegionSummary::read(path.as_ref(), None, u64::MAX).unwrap();
        summary.dump_info = None;
        summary.liveness.verdict = Verdict::Live;
        summary.away_workers = Some(AwayWorkers { list: vec![AwayWorker::new(0, 450.0)], of: 2 });
        let outcome = |over| {
            let options = StuckOptions { over: Duration::from_secs(over), stop: true };
            StuckReport::new(&summary, 1, options, Watched::default(), None, Vec::new(), None).outcome
        };
        assert_eq!([1, 449, 451].map(outcome), ["stuck", "stuck", "nothing"]);
    }

    /// What is said of the workers of so many calls, if workers are away so long, in seconds.
    fn workers(calls: usize, away: &[f64]) -> Vec<Option<String>> {
        let call = || Call::of(&look(0)).unwrap();
        let mut threads: Vec<_> =
            (0..calls).map(|_| super::stuck(call(), look(0), Evidence::Asleep)).collect();
        threads.push(super::stuck(call(), look(0), Evidence::EveryLook));
        let away: Vec<_> = away.iter().zip(0..).map(|(s, number)| AwayWorker::new(number, *s)).collect();
        set_workers(&mut threads, &away.iter().collect::<Vec<_>>(), Duration::from_secs(1));
        let lasts = threads.iter().map(|thread| thread.lasts_s);
        assert!(
            lasts.eq((0..calls).map(|_| Some(1.0)).chain([None])),
            "a worker may be away for longer than its call"
        );
        threads.iter().map(|thread| thread.worker_text(2)).collect()
    }

    #[test]
    fn a_call_has_the_time_of_its_worker_and_no_worker_is_guessed() {
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(workers(1, &[14.0]), [said("worker 0 of 2, which has not paused for 14.0 s"), None]);
        let either = said("a worker that has not paused for 9.0 s or longer");
        assert_eq!(workers(2, &[14.0, 9.0]), [either.clone(), either, None]);
        assert_eq!(workers(1, &[14.0, 9.0]), [None, None]);
        assert_eq!(workers(2, &[14.0]), [None, None, None]);
    }
}
