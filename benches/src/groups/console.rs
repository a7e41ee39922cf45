//! The same messages beside the subscriber of tokio-console, which sees each poll as the probe does on a watched runtime. Both need
//! what tokio has with `--cfg tokio_unstable` only:
//!
//! ```text
//! RUSTFLAGS='--cfg tokio_unstable' cargo run --release -p atomscope-benches --target-dir target/unstable -- record console
//! ```
//!
//! A subscriber belongs to a whole process, and makes tokio do more for every task in it. So each side is a process of its own, which
//! works when it is asked to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atomr_core::actor::{ActorSystem, Props};
use atomr_core::prelude::Config;
use atomscope_probe::{Region, TelemetryExtension};
use console_subscriber::ConsoleLayer;
use tokio::runtime::Builder;

use super::Context;
use super::messages::{Waiter, send};
use crate::Result;
use crate::harness::{Effort, Side, Time, compare};
use crate::record::{Row, Section, Unit, number};

/// The actors of a side. Each handler awaits once.
const ACTORS: usize = 64;

/// The sides of the comparison, as the program is told them. The first one is the default.
const SIDES: [&str; 4] = ["polls", "messages", "console", "plain"];
const POLLS: usize = 0;
const MESSAGES: usize = 1;
const CONSOLE: usize = 2;
const PLAIN: usize = 3;

/// Works on messages as one of [`SIDES`]: for each number on the standard input it prints the processor time of the process, in
/// nanoseconds, that so many messages took.
pub fn work(side: &str) -> Result<()> {
    if side == SIDES[CONSOLE] {
        // Before there is a task. Port 0: any free one.
        ConsoleLayer::builder().server_addr(([127, 0, 0, 1], 0)).init();
    }
    let region = Region::builder("bench-console").build()?;
    let telemetry = TelemetryExtension::with_region(region);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    if side == SIDES[POLLS] {
        telemetry.watch_runtime(&mut builder);
    }
    let runtime = builder.build()?;
    let system = runtime.block_on(ActorSystem::create("console", Config::empty()))?;
    let _runtime = runtime.enter();
    let is_instrumented = side == SIDES[POLLS] || side == SIDES[MESSAGES];
    if is_instrumented {
        telemetry.clone().install(&system);
    }
    let mut actors = Vec::with_capacity(ACTORS);
    for name in (0..ACTORS).map(|number| format!("waiter-{number}")) {
        let props = Props::create(|| Waiter);
        actors.push(if is_instrumented {
            telemetry.actors.spawn(&system, props, &name)?
        } else {
            system.actor_of(props, &name)?
        });
    }
    let actors = Arc::new(actors);
    for line in std::io::stdin().lines() {
        let messages = line?.trim().parse()?;
        let before = Time::Process.cpu_now();
        // A task that panicked has printed it, and counts no time.
        let _ = runtime.block_on(runtime.spawn(send(actors.clone(), messages)));
        println!("{}", Time::Process.cpu_now() - before);
    }
    Ok(())
}

/// A process that works as one side. Drop kills it.
struct Process {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(side: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child =
            command.args(["console", side]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = child.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, ask, answers })
    }

    /// The processor time that so many messages take.
    fn messages(&mut self, count: u64) -> Result<Duration> {
        writeln!(self.ask, "{count}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let ns: f64 = answer.trim().parse().map_err(|_| "a side has ended")?;
        Ok(Duration::from_nanos(ns as u64))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let processes = SIDES.iter().map(|side| Ok(Mutex::new(Process::start(side)?)));
    let processes = processes.collect::<Result<Vec<_>>>()?;
    let failure = Mutex::new(None);
    let sides: Vec<_> = processes
        .iter()
        .map(|process| {
            Side::timed(|_, messages| {
                let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
                process.messages(messages).unwrap_or_else(|error| {
                    let text = error.to_string();
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
                    Duration::ZERO
                })
            })
        })
        .collect();
    let effort = Effort {
        operations: Some(context.pick(64_000, 2_000)),
        budget: context.pick(4, 1) * context.effort.budget,
        blocks: 0,
        ..context.effort
    };
    let measured = compare(effort, 1, Time::Wall, &sides)?;
    drop(sides);
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure.into());
    }
    // What a side returns as its time is the processor time of its process.
    let added = |side: usize| measured.median(|round| round[side].wall - round[PLAIN].wall);
    let theirs = added(CONSOLE);
    for (side, how) in [(POLLS, "messages and polls counted"), (MESSAGES, "messages counted")] {
        let work = format!(
            "processor time added to a message, {how}, {ACTORS} actors, handler awaits, tokio_unstable"
        );
        let row = Row::new(work, Unit::Ns, added(side)).compared_with_number("console-subscriber", theirs);
        section.rows.push(row);
    }
    section.notes.push(format!(
        "Processor time of a message without a probe, sent and handled: {}.",
        number(measured.median(|round| round[PLAIN].wall), Unit::Ns)
    ));
    Ok(())
}
