//! `threads`: the threads of nodes, as the kernel shows them.

use std::ffi::OsString;
use std::time::Duration;

use atomscope::attach::RegionSummary;
use atomscope::liveness::Liveness;
use atomscope::process::is_ours;
use atomscope::report::list::Side;
use atomscope::report::nodes::nodes;
use atomscope::system::{stop_on_signals, wait};
use atomscope::text::write_json;
use atomscope::threads::{MOST_THREADS, NodeProcess, ThreadRates, ThreadSamples, add_roles, rates};
use atomscope_layout::decode::Identity;
use clap::Args;
use serde::Serialize;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{Cell, GOOD, ODD, Screen, Table};
use crate::program::target::{SearchArgs, search, target};
use crate::program::values::{is_number, parse_interval};

/// What [`WHO_HELP`] says of a WHO that is left out, and what is true here.
const ONLY: &str = "(left out)      the only node";
const ALL: &str = "(left out)      all nodes";

/// List the threads of nodes, with what they did in an interval.
#[derive(Debug, Args)]
#[command(after_help = format!("\
All of it is from /proc, so it is also there for a node that hangs. Without WHO these are the threads of all nodes.

Columns:
  STATE           running, sleeping, blocked (not interruptible), stopped, traced, idle, ended
  CPU(%)          processor time, in percent of one processor
  QUEUED(%)       the share of the time in which it was ready to run and waited for a processor
  VOLUNTARY(/s)   how often it gave its processor away, mostly to wait
  FORCED(/s)      how often the kernel gave its processor to another thread
  PROCESSOR       the number of the processor that it ran on last
  ROLE            worker: it runs tasks of an async runtime; - for a thread that never waited for work
  PARKED(s)       for how long a worker has waited for work
  AWAKE(s)        for how long it has not
  WAITS IN        the kernel's function that it sleeps in: `futex` for a lock, `epoll` for I/O

Values are over the INTERVAL, from the start of the command; the thread with the most processor time comes first. `-` is \
unknown: the kernel does not tell it, or not to this user. A thread that ends meanwhile is left out. ROLE, PARKED and AWAKE are the only \
ones that the node tells; it does so if it gives the builder of its runtime to `watch_runtime`, else these are left out. A narrow terminal \
drops columns in this order: PROCESSOR, NODE, PID, FORCED(/s), VOLUNTARY(/s), QUEUED(%), PARKED(s), AWAKE(s), ROLE, WAITS IN.

INTERVAL is a number of seconds, or a number with ms, s or m. WHO can be left out before an INTERVAL with a unit.

Exit code: 0; 1 if the node cannot be found, or if its process has ended.

Examples:
  atomscope threads
  atomscope threads shop 5s
  atomscope threads 4711 500ms --json | jq '.[] | select(.cpu_percent > 50)'

{}", WHO_HELP.replace(ONLY, ALL)))]
pub struct ThreadsArgs {
    /// The node: a pid, a file or a name; all nodes if left out.
    pub who: Option<OsString>,
    /// The time over which rates are measured, such as 5 (seconds), 500ms, 1s or 5m; 1s if left out.
    pub interval: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

/// A row; `--json` writes this object.
#[derive(Debug, Serialize)]
struct Row {
    pid: u32,
    node: String,
    #[serde(flatten)]
    thread: ThreadRates,
}

/// A process to look at.
struct Looked {
    /// The names of its nodes.
    node: String,
    process: NodeProcess,
    /// Their regions.
    regions: Vec<RegionSummary>,
}

pub fn threads(search_args: &SearchArgs, args: ThreadsArgs) -> Result<(), Failure> {
    let (who, interval) = shifted(args.who, args.interval);
    let interval = interval.map_or(Ok(Duration::from_secs(1)), |text| {
        parse_interval(&text.to_string_lossy()).map_err(|why| Failure::usage_of("threads", why))
    })?;
    stop_on_signals();
    let processes = processes(search_args, who)?;
    let before: Vec<_> = processes.iter().map(|looked| ThreadSamples::take(&looked.process)).collect();
    if !before.is_empty() && !wait(interval) {
        return Ok(());
    }
    let mut rows = Vec::new();
    for (Looked { node, process, regions }, before) in processes.iter().zip(before) {
        let pid = process.pid();
        let (Ok(before), Ok(now)) = (before, ThreadSamples::take(process)) else {
            note(&format!("process {pid} has ended meanwhile"));
            continue;
        };
        notes(process, &now).iter().for_each(|text| note(text));
        let mut of_process = rates(Some(&before), &now);
        for region in regions.iter().filter_map(|region| region.open(search_args.max_size).ok()) {
            if let Ok(reader) = region.reader() {
                add_roles(&mut of_process, &reader.runtime_threads(), &region.now());
            }
        }
        rows.extend(of_process.into_iter().map(|thread| Row { pid, node: node.clone(), thread }));
    }
    if rows.is_empty() && !processes.is_empty() {
        return Err(Failure::Failed("there is no thread left to show: the process has ended".to_owned()));
    }
    // Stable: the threads of a process stay in their order.
    rows.sort_by(|a, b| {
        let cpu = |row: &Row| row.thread.cpu_percent.unwrap_or(0.0);
        cpu(b).total_cmp(&cpu(a))
    });
    if args.json { to_stdout(|out| write_json(out, &rows)) } else { show(&rows) }
}

/// A first argument that is an interval with a unit is no node.
fn shifted(who: Option<OsString>, interval: Option<OsString>) -> (Option<OsString>, Option<OsString>) {
    let has_unit =
        |text: &OsString| text.to_str().is_some_and(|text| !is_number(text) && parse_interval(text).is_ok());
    if interval.is_none() && who.as_ref().is_some_and(has_unit) { (None, who) } else { (who, interval) }
}

/// The processes to look at, each once, with the names of their nodes.
fn processes(search_args: &SearchArgs, who: Option<OsString>) -> Result<Vec<Looked>, Failure> {
    if who.is_some() || search_args.region.is_some() {
        let selected = search(search_args).select(&target(search_args, who)?)?;
        if let Some(text) = &selected.note {
            note(text);
        }
        let process =
            NodeProcess::of_summary(&selected.summary).ok_or_else(|| no_process(&selected.summary))?;
        let node = selected.summary.identity.node.clone();
        return Ok(vec![Looked { node, process, regions: vec![selected.summary] }]);
    }
    let (rows, notes) = nodes(&search(search_args), None)?;
    notes.iter().for_each(|text| note(text));
    let mut processes: Vec<Looked> = Vec::new();
    for summary in rows.into_iter().filter_map(|row| row.summary) {
        let Some(process) = NodeProcess::of_summary(&summary) else { continue };
        // A process with several actor systems has several regions.
        match processes.iter_mut().find(|known| known.process.pid() == process.pid()) {
            Some(known) => {
                if !known.node.split(", ").any(|node| node == summary.identity.node) {
                    known.node = format!("{}, {}", known.node, summary.identity.node);
                }
                known.regions.push(summary);
            }
            None => {
                let node = summary.identity.node.clone();
                processes.push(Looked { node, process, regions: vec![summary] });
            }
        }
    }
    if processes.is_empty() {
        note("there is no live node; `atomscope doctor` says why one may not be visible");
    }
    Ok(processes)
}

/// What of the threads of a process is not known.
pub fn notes(process: &NodeProcess, threads: &ThreadSamples) -> Vec<String> {
    let pid = process.pid();
    let cut = threads
        .is_cut
        .then(|| format!("process {pid} has more than {MOST_THREADS} threads; the others are not shown"));
    let refused = process.refusal().map(|hidden| {
        let (why, advice) = (&hidden.why, &hidden.advice);
        format!("where the threads of process {pid} wait is not known: {why}; {advice}")
    });
    cut.into_iter().chain(refused).collect()
}

/// Why a region has no process to look at.
pub fn no_process(summary: &RegionSummary) -> Failure {
    let (is_dump, was_visible) = (summary.dump_info.is_some(), summary.process.is_some());
    Failure::Failed(why_no_process(&summary.identity, &summary.liveness, is_dump, was_visible))
}

/// As [`no_process`], in words.
pub fn why_no_process(identity: &Identity, liveness: &Liveness, is_dump: bool, was_visible: bool) -> String {
    let node = atomscope::text::clean(&identity.node);
    let is_alive = liveness.verdict.is_alive();
    match is_dump {
        true => format!("{node} is a dump, which has no process; name a live node"),
        // A process that is not visible may still run only in another namespace.
        false if is_alive && (was_visible || is_ours(identity.header.pid_namespace)) => {
            format!("the process of {node} has ended meanwhile")
        }
        false if is_alive => format!(
            "the process of {node} is not visible here: it runs in another pid namespace; run on its host, as root"
        ),
        false => format!("{node} {}, so its process has no threads any more", liveness.said()),
    }
}

fn show(rows: &[Row]) -> Result<(), Failure> {
    let (left, right) = (Side::Left, Side::Right);
    // Most nodes do not tell these.
    let is_told = |title: &str| match title {
        "ROLE" => rows.iter().any(|row| row.thread.role.is_some()),
        "PARKED(s)" => rows.iter().any(|row| row.thread.parked_s.is_some()),
        "AWAKE(s)" => rows.iter().any(|row| row.thread.awake_s.is_some()),
        _ => true,
    };
    let columns = [
        ("THREAD", left),
        ("TID", right),
        ("PID", right),
        ("NODE", left),
        ("ROLE", left),
        ("STATE", left),
        ("CPU(%)", right),
        ("QUEUED(%)", right),
        ("VOLUNTARY(/s)", right),
        ("FORCED(/s)", right),
        ("PROCESSOR", right),
        ("PARKED(s)", right),
        ("AWAKE(s)", right),
        ("WAITS IN", left),
    ];
    let is_shown = columns.map(|(title, _)| is_told(title));
    let shown = columns.into_iter().zip(is_shown).filter_map(|(column, is_shown)| is_shown.then_some(column));
    let mut table = Table::new(shown).drop_titles([
        "PROCESSOR",
        "NODE",
        "PID",
        "FORCED(/s)",
        "VOLUNTARY(/s)",
        "QUEUED(%)",
        "PARKED(s)",
        "AWAKE(s)",
        "ROLE",
        "WAITS IN",
    ]);
    for row in rows {
        let shown =
            cells(row).into_iter().zip(is_shown).filter_map(|(cell, is_shown)| is_shown.then_some(cell));
        table.row(shown.collect::<Vec<_>>());
    }
    to_people(|out| table.write(out, Screen::stdout()))
}

fn cells(row: &Row) -> [Cell; 14] {
    let tenths = |number: Option<f64>| Cell::known(number.map(|number| format!("{number:.1}")));
    let thread = &row.thread;
    let state = Cell::text(thread.state);
    [
        Cell::text(&thread.name),
        Cell::known(Some(thread.tid)),
        Cell::known(Some(row.pid)),
        Cell::text(&row.node),
        Cell::known(thread.role),
        match thread.state {
            "running" => state.style(GOOD),
            "sleeping" | "idle" => state,
            _ => state.style(ODD),
        },
        tenths(thread.cpu_percent),
        tenths(thread.queued_percent),
        tenths(thread.voluntary_switches_per_s),
        tenths(thread.involuntary_switches_per_s),
        Cell::known(thread.processor),
        tenths(thread.parked_s),
        tenths(thread.awake_s),
        Cell::known(thread.wait_channel.as_deref()),
    ]
}

#[cfg(test)]
mod tests {
    use atomscope::liveness::Verdict;

    use super::*;

    #[test]
    fn an_interval_with_a_unit_may_stand_alone_and_a_number_alone_is_a_pid() {
        let parse = |who: &str, interval: Option<&str>| shifted(Some(who.into()), interval.map(Into::into));
        assert_eq!(parse("5s", None), (None, Some("5s".into())));
        assert_eq!(parse("5", None), (Some("5".into()), None));
        assert_eq!(parse("5s", Some("1s")), (Some("5s".into()), Some("1s".into())));
        assert_eq!(parse("shop", Some("1")), (Some("shop".into()), Some("1".into())));
        assert_eq!(shifted(None, None), (None, None));
    }

    #[test]
    fn a_process_that_ended_while_it_was_looked_up_is_not_said_to_be_elsewhere() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/2.0/typical.raw");
        let mut summary = RegionSummary::read(path.as_ref(), None, u64::MAX).unwrap();
        summary.dump_info = None;
        summary.liveness.verdict = Verdict::Live;
        let mut said = |process, namespace| {
            summary.process = process;
            summary.identity.header.pid_namespace = namespace;
            no_process(&summary).to_string()
        };
        let own = atomscope::process::pid_namespace().unwrap();
        assert!(said(None, own).contains("has ended meanwhile"));
        assert!(said(Some(7), own + 1).contains("has ended meanwhile"), "it was visible a moment ago");
        assert!(said(None, own + 1).contains("runs in another pid namespace"));
    }
}
