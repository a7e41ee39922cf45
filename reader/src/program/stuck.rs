//! `stuck`: which handler or task of a node does not end, and what it waits for.

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use atomscope::attach::{Region, RegionSummary};
use atomscope::in_flight::{Handler, HandlersInFlight};
use atomscope::report::human::{count, duration};
use atomscope::stuck::{StuckOptions, StuckReport, StuckThread};
use atomscope::system::{stop_on_signals, wait};
use atomscope::text::{clean, write_json};
use atomscope::threads::{NodeProcess, ThreadRates};
use atomscope::workers::AwayWorker;
use atomscope_layout::metrics::Builtin;
use clap::Args;
use serde::Serialize;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::stacks::write_frames;
use crate::program::table::{BAD, GOOD, ODD, STRONG, Screen};
use crate::program::target::{SearchArgs, search, target, who};
use crate::program::threads::no_process;
use crate::program::values::parse_duration;

/// Say which handler or task of a node does not come back, and where it is.
#[derive(Debug, Args)]
#[command(after_help = format!("\
The first line is the answer. Below it is each thread that is stuck, with the actor class and the line that it is at, what \
it waits for, and its stack as far as it belongs to the handler. It also works on a node that is wedged or stopped.

A handler or another task is stuck if one call of it lasts for --over or longer. Proof is that its thread has not run the whole \
time, or that the call has not returned; the processor itself watches for that, which costs the thread one exception at most. Handlers that are called again \
and again are not stuck, however busy they keep the node. Where this program may not watch for the return (see \
kernel.perf_event_paranoid), a thread that runs in the same handler at each look is shown without counting as stuck.

Threads that sleep are not stopped. A thread that runs is looked at only with --stop, which stops it three times for some \
tens of microseconds: give it if a worker spins. Several handlers that wait for locks are called a possible deadlock.

A thread is shown with its worker of `atomscope runtime`, if there is only one that it can be, and with the time for which that \
has not paused; the call may have begun within it. The call lasts at least as long as it was watched.

A handler that waits in an `.await` keeps no thread and is seen only if its actor is instrumented (`telemetry.actors.spawn`); \
so is the path of an actor. Handlers of these are listed if two looks at the node see the same message: they await, or run, or \
block their worker if a thread is proved to be stuck in one of their class. That a handler awaits for long may be what it is \
for, so it counts as stuck only if --over is given. Of a dead node, or of a dump, what was being handled at that time is shown.

It needs the same user as the node, or ptrace rights; see `atomscope stacks --help`. Without them, or if the program was \
stripped, threads that may be the reason are listed as candidates.

Exit code: 0 nothing is stuck; 3 something is; 1 that is not known: the node or a thread that may be the reason cannot be \
looked at, or is only with --stop. --json says it in `outcome`: nothing, stuck or unknown.

Examples:
  atomscope stuck shop
  atomscope stuck shop --stop --over 5s
  atomscope stuck 4711 --json | jq -r '.threads[] | [.call, .waits_for] | @tsv'

{WHO_HELP}"))]
pub struct StuckArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// How long a call must last, 1s if left out: a whole number of seconds, or one with ms, s or m; at most a day. If it is given,
    /// handlers that last longer are stuck too, whether they await or run.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub over: Option<Duration>,
    /// Stop threads that run, each for some tens of microseconds, and look at them too.
    #[arg(long)]
    pub stop: bool,
    /// Write a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// How long a call lasts at least that is stuck, unless somebody says so.
const OVER: Duration = Duration::from_secs(1);
/// The number of handlers that people are shown; JSON has all.
const MOST_HANDLERS: usize = 20;

pub fn stuck(search_args: &SearchArgs, args: StuckArgs) -> Result<(), Failure> {
    stop_on_signals();
    let selected = search(search_args).select(&target(search_args, args.who)?)?;
    if let Some(text) = &selected.note {
        note(text);
    }
    let Some(process) = NodeProcess::of_summary(&selected.summary) else {
        tell_of_past(&selected.summary, search_args.max_size, args.json)?;
        if !selected.summary.liveness.verdict.is_alive() || selected.summary.dump_info.is_some() {
            note(&hint(&selected.summary));
        }
        return Err(no_process(&selected.summary));
    };
    let look = || {
        let region = selected.summary.open(search_args.max_size).ok()?;
        HandlersInFlight::look(&region).ok()
    };
    let before = look();
    let options = StuckOptions { over: args.over.unwrap_or(OVER), stop: args.stop };
    let report = StuckReport::take(&selected.summary, &process, options, search_args.max_size, &wait);
    let mut report = match report {
        Ok(report) => report,
        // Not the exit code 0, which says that nothing is stuck.
        Err(error) => return Err(Failure::Failed(error.to_string())),
    };
    if let Some((before, now)) = before.zip(look()) {
        report.add_handlers(now.lasting_since(&before, options.over), args.over.is_some());
    }
    let written = if args.json {
        to_stdout(|out| write_json(out, &report))
    } else {
        let screen = Screen::stdout();
        to_people(|out| write_report(out, &report, screen))
    };
    // Whoever reads only the first line still gets the exit code.
    written
        .or_else(|failure| if matches!(failure, Failure::OutputClosed) { Ok(()) } else { Err(failure) })?;
    report.notes.iter().for_each(|text| note(text));
    let long_polls = selected.summary.open(search_args.max_size).ok().and_then(|region| long_polls(&region));
    if let Some(polls) = long_polls.filter(|polls| *polls > 0 && !report.is_stuck) {
        let polls = count(polls, "poll of a task has", "polls of tasks have");
        let pid = report.pid;
        note(&format!(
            "{polls} held a worker for long: `atomscope tail {pid} --topic runtime` tells the newest"
        ));
    }
    // A refusal for these threads has it already.
    let is_said = |advice: &String| report.refusal.as_ref().is_some_and(|why| why.contains(advice));
    if let Some(advice) = report.advice().filter(|advice| !is_said(advice)) {
        note(&advice);
    }
    match &report.refusal {
        _ if report.is_stuck => Err(Failure::Found),
        Some(why) if !report.has_looked() => Err(Failure::Failed(why.clone())),
        _ => Ok(()),
    }
}

/// Polls that held a worker for long since the node's start; `None` if nothing counts them.
fn long_polls(region: &Region) -> Option<u64> {
    let reader = region.reader().ok()?;
    let is_known = reader.attached().counts(Builtin::LongPolls);
    let polls = reader.builtin(Builtin::LongPolls);
    (is_known && region.check_intact().is_ok()).then_some(polls)
}

fn write_report(out: &mut (impl Write + ?Sized), report: &StuckReport, screen: Screen) -> io::Result<()> {
    let style = |style| if screen.colours { style } else { Style::new() };
    let colour = style(match (report.is_stuck, report.is_good()) {
        (true, _) => BAD,
        (false, true) => GOOD,
        (false, false) => ODD,
    });
    writeln!(out, "{colour}●{colour:#} {}", report.headline())?;
    for thread in &report.threads {
        writeln!(out)?;
        write_thread(out, report, thread, screen)?;
    }
    // Where the answer is not known, stderr says why.
    let why = report.refusal.as_deref().filter(|_| report.has_looked());
    if !report.candidates.is_empty() {
        let why = why.or_else(|| report.refusal.is_none().then_some("no stack shows which it is"));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let strong = style(STRONG);
        writeln!(out, "\n{strong}Candidates{strong:#}{why}")?;
        report.candidates.iter().try_for_each(|row| write_candidate(out, row))?;
    } else if let Some(why) = why {
        writeln!(out, "  {why}")?;
    }
    report.limit().map_or(Ok(()), |limit| writeln!(out, "  {limit}"))?;
    if !report.handlers.is_empty() {
        let strong = style(STRONG);
        let over = duration(Duration::from_secs_f64(report.over_s));
        writeln!(out, "\n{strong}Handlers that last for {over} or longer{strong:#}")?;
        write_handlers(out, &report.handlers, Handler::text)?;
    }
    Ok(())
}

/// A line for each of the first handlers.
fn write_handlers(
    out: &mut (impl Write + ?Sized),
    handlers: &[Handler],
    text: fn(&Handler) -> String,
) -> io::Result<()> {
    for handler in handlers.iter().take(MOST_HANDLERS) {
        writeln!(out, "  {} {}", handler.actor(), text(handler))?;
    }
    match handlers.len().checked_sub(MOST_HANDLERS) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  and {}", count(more as u64, "more handler", "more handlers")),
    }
}

/// What a dead node, or one that was dumped, was handling. It has the keys of a [`StuckReport`]; of threads nothing is known.
#[derive(Debug, Serialize)]
struct Past {
    node: String,
    pid: u64,
    state: &'static str,
    why: Option<String>,
    is_stuck: bool,
    outcome: &'static str,
    over_s: Option<f64>,
    watched_s: Option<f64>,
    workers: Option<usize>,
    away_workers: Option<Vec<AwayWorker>>,
    threads: Vec<StuckThread>,
    possible_deadlock: Vec<u32>,
    candidates: Vec<ThreadRates>,
    refusal: Option<String>,
    handlers: Vec<Handler>,
}

/// Tells what a node without a process was handling: when it died, or when it was dumped. Nothing of a node that lives, or that
/// has no instrumented actors.
fn tell_of_past(summary: &RegionSummary, max_bytes: u64, as_json: bool) -> Result<(), Failure> {
    let (is_dump, is_alive) = (summary.dump_info.is_some(), summary.liveness.verdict.is_alive());
    if is_alive && !is_dump {
        return Ok(());
    }
    let HandlersInFlight { handlers, has_instruments } = HandlersInFlight::look(&summary.open(max_bytes)?)?;
    if !has_instruments && !as_json {
        return Ok(());
    }
    let past = Past {
        node: summary.identity.node.clone(),
        pid: summary.pid(),
        state: summary.liveness.verdict.word(),
        why: summary.liveness.why(),
        is_stuck: false,
        outcome: "unknown",
        over_s: None,
        watched_s: None,
        workers: None,
        away_workers: None,
        threads: Vec::new(),
        possible_deadlock: Vec::new(),
        candidates: Vec::new(),
        refusal: Some(no_process(summary).to_string()),
        handlers,
    };
    if as_json {
        return to_stdout(|out| write_json(out, &past));
    }
    let when = if is_dump { "was dumped" } else { "ended" };
    let number = match past.handlers.len() {
        0 => "no handler of an instrumented actor was in flight".to_owned(),
        number => count(number as u64, "handler was in flight", "handlers were in flight"),
    };
    to_people(|out| {
        writeln!(out, "When {} ({}) {when}, {number}", clean(&past.node), past.pid)?;
        write_handlers(out, &past.handlers, Handler::text_of_past)
    })
}

/// Which commands say more of a node that has no process.
fn hint(summary: &RegionSummary) -> String {
    let who = who(summary.dump_info.is_some(), &summary.path, summary.pid());
    format!("`atomscope failures {who}` has what failed in it, and `atomscope show {who}` how it ended")
}

fn write_thread(
    out: &mut (impl Write + ?Sized),
    report: &StuckReport,
    thread: &StuckThread,
    screen: Screen,
) -> io::Result<()> {
    let strong = if screen.colours { STRONG } else { Style::new() };
    let stack = &thread.stack;
    let worker = report.workers.and_then(|of| thread.worker_text(of)).map(|worker| format!(", {worker}"));
    let (name, worker) = (clean(&stack.name), worker.unwrap_or_default());
    writeln!(out, "{strong}{} {name}{strong:#}{worker}: {}", stack.tid, thread.activity())?;
    writeln!(out, "  in {}", thread.place())?;
    let channel = stack.wait_channel.as_ref().map(|channel| format!(", in the kernel's {}", clean(channel)));
    writeln!(out, "  {}{}", thread.proof(), channel.unwrap_or_default())?;
    if report.possible_deadlock.contains(&stack.tid) {
        let others = report.possible_deadlock.iter().filter(|tid| **tid != stack.tid);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        writeln!(out, "  possible deadlock with {}: each waits for a lock", others.join(", "))?;
    }
    let frames = &stack.frames;
    let shown = frames.get(..thread.call_frames).unwrap_or(frames);
    write_frames(out, shown)?;
    let more = frames.len() - shown.len();
    if more > 0 {
        let (pid, tid) = (report.pid, stack.tid);
        let stop = if stack.stopped_us.is_some() { " --stop" } else { "" };
        writeln!(out, "     ({more} frames of the runtime: `atomscope stacks {pid} --thread {tid}{stop}`)")?;
    }
    Ok(())
}

fn write_candidate(out: &mut (impl Write + ?Sized), row: &ThreadRates) -> io::Result<()> {
    write!(out, "  {} {}: {}", row.tid, clean(&row.name), row.state)?;
    if let Some(percent) = row.cpu_percent.filter(|percent| *percent > 0.0) {
        write!(out, ", {percent} % of a processor")?;
    }
    match &row.wait_channel {
        Some(channel) => writeln!(out, ", in {}", clean(channel)),
        None => writeln!(out),
    }
}
