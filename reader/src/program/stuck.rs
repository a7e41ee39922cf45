//! `stuck`: which handler or task of a node does not end, and what it waits for.

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use atomscope::stuck::{StuckOptions, StuckReport, StuckThread};
use atomscope::system::{stop_on_signals, wait};
use atomscope::text::{clean, write_json};
use atomscope::threads::{NodeProcess, ThreadRates};
use clap::Args;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::stacks::write_frames;
use crate::program::table::{BAD, GOOD, ODD, STRONG, Screen};
use crate::program::target::{SearchArgs, search, target};
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

A thread is shown with its worker of `atomscope runtime`, if there is only one that it can be, and with the time that the \
call has lasted at least. A handler that waits in an `.await` keeps no thread: it is seen only of an instrumented actor.

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
    /// How long a call must last: a whole number of seconds, or one with ms, s or m; at most a day.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub over: Duration,
    /// Stop threads that run, each for some tens of microseconds, and look at them too.
    #[arg(long)]
    pub stop: bool,
    /// Write a JSON object.
    #[arg(long)]
    pub json: bool,
}

pub fn stuck(search_args: &SearchArgs, args: StuckArgs) -> Result<(), Failure> {
    stop_on_signals();
    let selected = search(search_args).select(&target(search_args, args.who)?)?;
    if let Some(text) = &selected.note {
        note(text);
    }
    let process = NodeProcess::of_summary(&selected.summary).ok_or_else(|| no_process(&selected.summary))?;
    let options = StuckOptions { over: args.over, stop: args.stop };
    let report = StuckReport::take(&selected.summary, &process, options, search_args.max_size, &wait);
    let report = match report {
        Ok(report) => report,
        // Not the exit code 0, which says that nothing is stuck.
        Err(error) => return Err(Failure::Failed(error.to_string())),
    };
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
    if report.has_passed_over {
        note("`--stop` looks at threads that run, too");
    }
    match &report.refusal {
        _ if report.is_stuck => Err(Failure::Found),
        Some(why) if !report.has_looked() => Err(Failure::Failed(why.clone())),
        _ => Ok(()),
    }
}

fn write_report(out: &mut (impl Write + ?Sized), report: &StuckReport, screen: Screen) -> io::Result<()> {
    let style = |style| if screen.colours { style } else { Style::new() };
    let colour = style(match (report.is_stuck, report.has_looked() && report.candidates.is_empty()) {
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
    report.limit().map_or(Ok(()), |limit| writeln!(out, "  {limit}"))
}

fn write_thread(
    out: &mut (impl Write + ?Sized),
    report: &StuckReport,
    thread: &StuckThread,
    screen: Screen,
) -> io::Result<()> {
    let strong = if screen.colours { STRONG } else { Style::new() };
    let stack = &thread.stack;
    let worker = match (&thread.worker, report.workers) {
        (Some(worker), Some(of)) => format!(", worker {} of {of}", clean(worker)),
        _ => String::new(),
    };
    let name = clean(&stack.name);
    let lasts = thread.lasts().map(|lasts| format!(", {lasts}")).unwrap_or_default();
    writeln!(out, "{strong}{} {name}{strong:#}{worker}: {}{lasts}", stack.tid, thread.activity())?;
    writeln!(out, "  in {}", thread.place())?;
    let channel = stack.wait_channel.as_ref().map(|channel| format!(", in the kernel's {}", clean(channel)));
    writeln!(out, "  {}{}", thread.evidence.text(), channel.unwrap_or_default())?;
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
