//! `export exec`: lines of JSON on the standard input of a program, an exporter in any language.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use atomscope::export::exporter::{Exporter, Node, NodeEnd, Observed};
use atomscope::export::facts::{Selection, of_node};
use atomscope::export::family::{Families, Labels, Value};
use atomscope::follow::{Item, ItemKind};
use atomscope::layout::decode::rfc3339;
use atomscope::layout::event::TelemetryEvent;
use atomscope::system::stopped;
use atomscope::text::{clean_os, write_json};
use clap::Args;
use serde::Serialize;

use crate::program::export::what::{WhatArgs, failed, nodes};
use crate::program::output::{Failure, note};
use crate::program::target::SearchArgs;
use crate::program::values::parse_interval;

/// The first time from an end of the program to its next start. It doubles up to [`MOST_PAUSE`].
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(60);
/// A program that ran so long is started again after [`LEAST_PAUSE`].
const RAN_WELL: Duration = Duration::from_secs(60);
/// How long a program may take to end, once its standard input is closed.
const TO_END: Duration = Duration::from_secs(5);
/// Limit of rounds that wait for the program.
const WAITING: usize = 64;

/// Run a program, and write events and samples to its standard input as lines of JSON.
///
/// So an exporter can be written in any language. The program is started again when it ends, after 1 s, 2 s and so on up to 60 s.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is an object with `kind` and `number`, which is the same in all lines of a node:
  node_started  node, system, pid, program
  event         at, and `event`: an object as in `atomscope tail --json`
  lost          lost: how many events could not be read
  sample        name, labels, value: as in `atomscope dump --format prom`, at each interval. A histogram has count, sum and \
buckets instead of value: pairs of bound and cumulative count
  round_ended   all samples of this interval were written
  node_ended    how
  restarted     dropped: how many lines the program has missed, because it did not run or did not read

While the program does not read, lines are dropped, and the nodes are not delayed. At a signal to stop its standard input is \
closed, and it has 5 s to end.

Exit code: 0 after SIGINT or SIGTERM, 1 if the program cannot be started.

Examples:
  atomscope export exec -- cat
  atomscope export exec shop --interval 10s -- python3 to_influx.py --bucket shop")]
pub struct ExecArgs {
    /// The nodes: pids, files or names; all nodes if left out.
    pub who: Vec<OsString>,
    /// The time from one round of samples to the next.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Write no events.
    #[arg(long)]
    pub no_events: bool,
    #[command(flatten)]
    pub what: WhatArgs,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

pub fn exec(search_args: &SearchArgs, args: ExecArgs) -> Result<(), Failure> {
    let mut nodes = nodes(search_args, &args.who)?;
    let feed = Feed::start(args.program)?;
    let mut exporter = Lines {
        feed,
        selection: args.what.selection(),
        labels: args.what.labels(),
        with_events: !args.no_events,
        round: Vec::new(),
    };
    nodes.run(&mut exporter, args.interval, &mut stopped).map_err(|error| failed(&error))
}

/// A line.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    NodeStarted {
        number: usize,
        node: &'a str,
        system: Option<&'a str>,
        pid: u64,
        program: &'a str,
    },
    Event {
        number: usize,
        at: Option<String>,
        event: &'a TelemetryEvent,
    },
    Lost {
        number: usize,
        lost: u64,
    },
    Sample {
        number: usize,
        name: &'a str,
        labels: BTreeMap<&'a str, &'a str>,
        value: Number,
    },
    Histogram {
        number: usize,
        name: &'a str,
        labels: BTreeMap<&'a str, &'a str>,
        count: u64,
        sum: f64,
        buckets: &'a [(f64, u64)],
    },
    RoundEnded,
    NodeEnded {
        number: usize,
        how: String,
    },
    Restarted {
        dropped: u64,
    },
}

/// A number of any kind; `null` if JSON cannot express it.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Whole(u64),
    Signed(i64),
    Float(f64),
}

/// The exporter that makes the lines.
struct Lines {
    feed: Feed,
    selection: Selection,
    labels: Labels,
    with_events: bool,
    /// Lines that were not handed over yet.
    round: Vec<u8>,
}

impl Lines {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        write_json(&mut self.round, line)
    }

    fn samples(&mut self, number: usize, families: &Families) -> io::Result<()> {
        let more = self.labels.clone();
        for family in families.list() {
            let name = family.sample_name();
            let name = name.as_ref();
            for sample in &family.samples {
                let labels = more.iter().chain(&sample.labels);
                let labels = labels.map(|(name, value)| (name.as_ref(), value.as_str())).collect();
                let value = match &sample.value {
                    Value::Whole(value) => Number::Whole(*value),
                    Value::Signed(value) => Number::Signed(*value),
                    Value::Float(value) => Number::Float(*value),
                    Value::Distribution(of) => {
                        let (count, sum, buckets) = (of.count, of.sum, of.buckets.as_slice());
                        self.line(&Line::Histogram { number, name, labels, count, sum, buckets })?;
                        continue;
                    }
                };
                self.line(&Line::Sample { number, name, labels, value })?;
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        let lines = std::mem::take(&mut self.round);
        if !lines.is_empty() {
            self.feed.send(lines);
        }
    }
}

impl Exporter for Lines {
    fn node_started(&mut self, node: &Node<'_>) -> io::Result<()> {
        let identity = node.region.identity();
        let (number, system, pid) = (node.number, identity.system.as_deref(), node.pid());
        self.line(&Line::NodeStarted {
            number,
            node: &identity.node,
            system,
            pid,
            program: &identity.program,
        })?;
        self.hand_over();
        Ok(())
    }

    fn wants_events(&self, _node: &Node<'_>) -> bool {
        self.with_events
    }

    fn events(&mut self, node: &Node<'_>, items: &[Item]) -> io::Result<()> {
        let number = node.number;
        for item in items {
            match &item.kind {
                ItemKind::Event(event) => {
                    let at = item.at_unix_ns.map(rfc3339);
                    self.line(&Line::Event { number, at, event: &event.event })?;
                }
                ItemKind::Loss(loss) => self.line(&Line::Lost { number, lost: loss.loss.all() })?,
            }
        }
        self.hand_over();
        Ok(())
    }

    fn wants_actors(&self) -> bool {
        self.selection.top > 0
    }

    fn snapshot(&mut self, node: &Node<'_>, observed: &Observed<'_>) -> io::Result<()> {
        let families = of_node(observed, None, &self.selection);
        self.samples(node.number, &families)
    }

    fn round_ended(&mut self) -> io::Result<()> {
        self.line(&Line::RoundEnded)?;
        self.hand_over();
        Ok(())
    }

    fn node_ended(
        &mut self,
        node: &Node<'_>,
        end: &NodeEnd<'_>,
        last: Option<&Observed<'_>>,
    ) -> io::Result<()> {
        if let Some(observed) = last {
            self.samples(node.number, &of_node(observed, None, &self.selection))?;
        }
        self.line(&Line::NodeEnded { number: node.number, how: end.word() })?;
        self.hand_over();
        Ok(())
    }

    fn stop(&mut self) -> io::Result<()> {
        self.feed.stop();
        Ok(())
    }
}

/// The thread that runs the program and writes to it. It may block there; nobody else does.
struct Feed {
    lines: Option<SyncSender<(Vec<u8>, u64)>>,
    thread: Option<JoinHandle<()>>,
    /// Lines that were dropped since the last ones that were handed over.
    dropped: u64,
}

impl Feed {
    fn start(command: Vec<OsString>) -> Result<Self, Failure> {
        // The first start is awaited: a program that is not there is an error and nothing to wait for.
        let child = spawn(&command).map_err(|error| {
            let program = command.first().map(|program| clean_os(program)).unwrap_or_default();
            Failure::Failed(format!("cannot start {program}: {error}"))
        })?;
        let (lines, received) = mpsc::sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("exec".to_owned());
        let thread =
            thread.spawn(move || feed(&command, child, &received)).map_err(|error| failed(&error))?;
        Ok(Self { lines: Some(lines), thread: Some(thread), dropped: 0 })
    }

    fn send(&mut self, lines: Vec<u8>) {
        let Some(sender) = &self.lines else { return };
        if let Err(TrySendError::Full((lines, _)) | TrySendError::Disconnected((lines, _))) =
            sender.try_send((lines, self.dropped))
        {
            self.dropped += count(&lines);
        } else {
            self.dropped = 0;
        }
    }

    fn stop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A program that does not read would keep the thread; it ends with this process.
            let until = Instant::now() + TO_END + LEAST_PAUSE;
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn spawn(command: &[OsString]) -> io::Result<Child> {
    let (program, args) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
    Command::new(program).args(args).stdin(Stdio::piped()).spawn()
}

/// Writes lines to the program, and starts it again when it ends.
fn feed(command: &[OsString], child: Child, received: &Receiver<(Vec<u8>, u64)>) {
    let mut running = Some((child, Instant::now()));
    let mut pause = LEAST_PAUSE;
    let mut start_at = Instant::now();
    let mut missed = 0u64;
    while let Ok((lines, dropped)) = received.recv() {
        missed = missed.saturating_add(dropped);
        if running.is_none() && Instant::now() >= start_at {
            match spawn(command) {
                Ok(child) => running = Some((child, Instant::now())),
                Err(error) => note(&format!("the program cannot be started: {error}")),
            }
        }
        let written = running.as_mut().and_then(|(child, _)| {
            let stdin = child.stdin.as_mut()?;
            let told = if missed > 0 { restarted(missed) } else { Vec::new() };
            stdin.write_all(&told).and_then(|()| stdin.write_all(&lines)).ok()
        });
        if written.is_some() {
            missed = 0;
            continue;
        }
        missed = missed.saturating_add(count(&lines));
        if let Some((child, since)) = running.take() {
            let how = end(child);
            pause = if since.elapsed() >= RAN_WELL { LEAST_PAUSE } else { pause };
            note(&format!("the program has ended ({how}); it is started again in {} s", pause.as_secs()));
            start_at = Instant::now() + pause;
            pause = (pause * 2).min(MOST_PAUSE);
        } else if Instant::now() >= start_at {
            start_at = Instant::now() + pause;
            pause = (pause * 2).min(MOST_PAUSE);
        }
    }
    if let Some((child, _)) = running {
        end(child);
    }
}

fn restarted(dropped: u64) -> Vec<u8> {
    let mut line = Vec::new();
    // Writing into memory does not fail.
    let _ = write_json(&mut line, &Line::Restarted { dropped });
    line
}

/// Closes the program's standard input, waits for its end, and kills it if it does not come.
fn end(mut child: Child) -> String {
    drop(child.stdin.take());
    let until = Instant::now() + TO_END;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Err(error) => return error.to_string(),
            Ok(None) if Instant::now() >= until => break,
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}
