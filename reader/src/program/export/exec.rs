//! `export exec`: lines of JSON on the standard input of a program, an exporter in any language.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use atomscope::export::exporter::{Exporter, Node, NodeEnd, Observed};
use atomscope::export::facts::{Selection, of_node};
use atomscope::export::family::{Families, Labels, Value};
use atomscope::export::text::joined;
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
/// Limit of bytes that wait for the program. The lines of one node at one time may be more if nothing else waits.
const WAITING_BYTES: usize = 16 << 20;

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
  resumed       missed: the program has missed at least so many lines, because it did not run or did not read. The lines \
node_started of all nodes that live follow; a node that is not among them has ended

While the program does not read, lines are dropped, and the nodes are not delayed. At a signal to stop its standard input is \
closed. It is killed if it has not ended after 5 s.

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
        lines: Vec::new(),
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
        labels: BTreeMap<Cow<'a, str>, &'a str>,
        value: Number,
    },
    Histogram {
        number: usize,
        name: &'a str,
        labels: BTreeMap<Cow<'a, str>, &'a str>,
        count: u64,
        sum: f64,
        buckets: &'a [(f64, u64)],
    },
    RoundEnded,
    NodeEnded {
        number: usize,
        how: String,
    },
    Resumed {
        missed: u64,
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
    lines: Vec<u8>,
}

impl Lines {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        write_json(&mut self.lines, line)
    }

    fn samples(&mut self, number: usize, families: &Families) -> io::Result<()> {
        let more = self.labels.clone();
        for family in families.list() {
            let name = family.sample_name();
            let name = name.as_ref();
            for sample in &family.samples {
                let labels = joined(&more, &sample.labels).collect();
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

    fn hand_over(&mut self, change: Option<Change>) {
        let lines = std::mem::take(&mut self.lines);
        if !lines.is_empty() {
            self.feed.send(lines, change);
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
        let line = self.lines.clone();
        self.hand_over(Some(Change::Started(number, line)));
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
        self.hand_over(None);
        Ok(())
    }

    fn wants_actors(&self) -> bool {
        self.selection.wants_actors()
    }

    fn snapshot(&mut self, node: &Node<'_>, observed: &Observed<'_>) -> io::Result<()> {
        let families = of_node(observed, None, &self.selection);
        self.samples(node.number, &families)?;
        self.hand_over(None);
        Ok(())
    }

    fn round_ended(&mut self) -> io::Result<()> {
        self.line(&Line::RoundEnded)?;
        self.hand_over(None);
        Ok(())
    }

    fn node_ended(&mut self, node: &Node<'_>, end: &NodeEnd<'_>) -> io::Result<()> {
        if let Some(observed) = end.last() {
            self.samples(node.number, &of_node(observed, None, &self.selection))?;
        }
        self.line(&Line::NodeEnded { number: node.number, how: end.word() })?;
        self.hand_over(Some(Change::Ended(node.number)));
        Ok(())
    }

    fn notice(&mut self, sentence: &str) {
        note(sentence);
    }

    fn stop(&mut self) -> io::Result<()> {
        self.feed.stop();
        Ok(())
    }
}

/// A node that has come, with its line `node_started`, or one that has gone.
enum Change {
    Started(usize, Vec<u8>),
    Ended(usize),
}

/// Lines on their way to the program.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    /// What `lines` tell of a node that has come or gone.
    change: Option<Change>,
    /// Lines that were dropped before these, and what they told.
    dropped: u64,
    dropped_changes: Vec<Change>,
}

/// What both threads use.
#[derive(Default)]
struct Shared {
    /// Bytes that wait for the program.
    waiting: AtomicUsize,
    child: Mutex<Option<Child>>,
    is_stopping: AtomicBool,
}

impl Shared {
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        if let Some(child) = self.child().as_mut() {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }
}

/// The thread that runs the program and writes to it. It may block there; nobody else does.
struct Feed {
    batches: Option<Sender<Batch>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Lines that were dropped since the last ones that were handed over, and what they told.
    dropped: u64,
    dropped_changes: Vec<Change>,
}

impl Feed {
    fn start(command: Vec<OsString>) -> Result<Self, Failure> {
        // The first start is awaited: a program that is not there is an error and nothing to wait for.
        let mut program = Program::new(command);
        program.start().map_err(|error| {
            let program = program.command.first().map(|program| clean_os(program)).unwrap_or_default();
            Failure::Failed(format!("cannot start {program}: {error}"))
        })?;
        let shared = program.shared.clone();
        let (batches, received) = mpsc::channel();
        let thread = std::thread::Builder::new().name("exec".to_owned());
        let thread = thread.spawn(move || program.feed(&received)).map_err(|error| failed(&error))?;
        let (batches, thread) = (Some(batches), Some(thread));
        Ok(Self { batches, thread, shared, dropped: 0, dropped_changes: Vec::new() })
    }

    fn send(&mut self, lines: Vec<u8>, change: Option<Change>) {
        let Some(batches) = &self.batches else { return };
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        if waiting > 0 && waiting + lines.len() > WAITING_BYTES {
            self.dropped += count(&lines);
            match change {
                // A node that has come and gone in between was never there.
                Some(Change::Ended(number)) => {
                    let is_it = |change: &Change| matches!(change, Change::Started(of, _) if *of == number);
                    match self.dropped_changes.iter().position(is_it) {
                        Some(at) => drop(self.dropped_changes.remove(at)),
                        None => self.dropped_changes.push(Change::Ended(number)),
                    }
                }
                change => self.dropped_changes.extend(change),
            }
            return;
        }
        self.shared.waiting.fetch_add(lines.len(), Ordering::Relaxed);
        let dropped = std::mem::take(&mut self.dropped);
        let dropped_changes = std::mem::take(&mut self.dropped_changes);
        // The thread takes all until the other end of the channel is gone.
        let _ = batches.send(Batch { lines, change, dropped, dropped_changes });
    }

    /// Closes the program's standard input, once it has what waits for it. A program that does not read or does not end is
    /// killed, or each start of the exporter would leave one more behind.
    fn stop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        self.batches = None;
        let Some(thread) = self.thread.take() else { return };
        let wait = |time: Duration| {
            let until = Instant::now() + time;
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        wait(TO_END);
        if !thread.is_finished() {
            self.shared.kill();
            wait(LEAST_PAUSE);
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The program, and what it has missed.
struct Program {
    command: Vec<OsString>,
    shared: Arc<Shared>,
    /// The standard input of the program that runs, and since when it runs.
    running: Option<(ChildStdin, Instant)>,
    pause: Duration,
    start_at: Instant,
    missed: u64,
    /// The lines `node_started` of the nodes of which lines may come.
    nodes: BTreeMap<usize, Vec<u8>>,
}

impl Program {
    fn new(command: Vec<OsString>) -> Self {
        Self {
            command,
            shared: Arc::default(),
            running: None,
            pause: LEAST_PAUSE,
            start_at: Instant::now(),
            missed: 0,
            nodes: BTreeMap::new(),
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let (program, args) = self.command.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut child = Command::new(program).args(args).stdin(Stdio::piped()).spawn()?;
        self.running = child.stdin.take().map(|stdin| (stdin, Instant::now()));
        *self.shared.child() = Some(child);
        Ok(())
    }

    /// Writes lines to the program, and starts it again when it ends.
    fn feed(mut self, received: &Receiver<Batch>) {
        while let Ok(Batch { lines, change, dropped, dropped_changes }) = received.recv() {
            self.missed = self.missed.saturating_add(dropped);
            dropped_changes.into_iter().for_each(|change| self.apply(change));
            if self.running.is_none()
                && Instant::now() >= self.start_at
                && let Err(error) = self.start()
            {
                note(&format!("the program cannot be started: {error}"));
                self.wait_longer();
            }
            if self.write(&lines) {
                self.missed = 0;
            } else {
                self.missed = self.missed.saturating_add(count(&lines));
                if let Some((stdin, since)) = self.running.take() {
                    drop(stdin);
                    let how = self.end();
                    if self.shared.is_stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    if since.elapsed() >= RAN_WELL {
                        self.pause = LEAST_PAUSE;
                    }
                    let pause = self.pause.as_secs();
                    note(&format!("the program has ended ({how}); it is started again in {pause} s"));
                    self.wait_longer();
                }
            }
            self.shared.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
            change.into_iter().for_each(|change| self.apply(change));
        }
        if self.running.take().is_some() {
            self.end();
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Started(number, line) => drop(self.nodes.insert(number, line)),
            Change::Ended(number) => drop(self.nodes.remove(&number)),
        }
    }

    fn wait_longer(&mut self) {
        self.start_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(MOST_PAUSE);
    }

    /// Writes lines, after all that the program must know to understand them.
    fn write(&mut self, lines: &[u8]) -> bool {
        let Some((stdin, _)) = &mut self.running else { return false };
        let mut told = Vec::new();
        if self.missed > 0 {
            // Writing into memory does not fail.
            let _ = write_json(&mut told, &Line::Resumed { missed: self.missed });
            self.nodes.values().for_each(|line| told.extend_from_slice(line));
        }
        stdin.write_all(&told).and_then(|()| stdin.write_all(lines)).is_ok()
    }

    /// Waits for the program's end, and kills it if it does not come. Its standard input is closed already.
    fn end(&self) -> String {
        let until = Instant::now() + TO_END;
        loop {
            let mut child = self.shared.child();
            match child.as_mut().map(Child::try_wait) {
                None => return String::new(),
                Some(Ok(None)) if Instant::now() < until => {}
                Some(Ok(None)) => break,
                Some(ended) => {
                    *child = None;
                    return ended.map_or_else(
                        |error| error.to_string(),
                        |status| status.map(|status| status.to_string()).unwrap_or_default(),
                    );
                }
            }
            drop(child);
            std::thread::sleep(Duration::from_millis(10));
        }
        self.shared.kill();
        let Some(mut child) = self.shared.child().take() else { return String::new() };
        child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}
