use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use atomscope_tests::support;
use tokio::runtime::Runtime;
use tokio::sync::broadcast::error::RecvError;

use super::{Context, Twins, thread_counts, wait_until_mapped};
use crate::Result;
use crate::harness::{Side, Time, compare, median};
use crate::record::{Row, Section, Unit};

/// Processes and tasks that read the published events. Drop ends them.
struct Readers {
    processes: Vec<Child>,
    /// The runtime of the subscribers.
    _tasks: Runtime,
}

impl Readers {
    /// Starts so many `atomscope tail`, and as many subscribers of `atomr-telemetry`.
    fn start(twins: &Twins, count: usize) -> Result<Self> {
        let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        for _ in 0..count {
            let mut events = twins.theirs.bus.subscribe();
            tasks.spawn(async move {
                loop {
                    match events.recv().await {
                        Ok(event) => drop(black_box(event)),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
            });
        }
        let path = twins.ours.region().path().ok_or("the region is private")?;
        let mut readers = Self { processes: Vec::new(), _tasks: tasks };
        for _ in 0..count {
            let mut tail = Command::new(support::program("atomscope"));
            tail.args(["tail", "--json", "--region"]).arg(path);
            readers
                .processes
                .push(tail.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        wait_until_mapped(&readers.processes.iter().collect::<Vec<_>>(), path);
        Ok(readers)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // The process may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn ours(id: u64) -> atomscope_probe::bus::TelemetryEvent {
    atomscope_probe::bus::TelemetryEvent::StreamsGraphFinished { id }
}

fn their_event(id: u64) -> atomr_telemetry::bus::TelemetryEvent {
    atomr_telemetry::bus::TelemetryEvent::StreamsGraphFinished { id }
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    // Reads what the probe reads where the kernel keeps time by the processor's counter.
    let clock = quanta::Clock::new();
    for count in [0, 1, 5] {
        let twins = Twins::new(0)?;
        let readers = Readers::start(&twins, count)?;
        let mut alone = f64::NAN;
        for threads in thread_counts() {
            let sides = [
                Side::new(|_, operations| (0..operations).for_each(|id| twins.ours.bus.publish(ours(id)))),
                Side::new(|_, operations| {
                    (0..operations).for_each(|id| twins.theirs.bus.publish(their_event(id)))
                }),
                Side::new(|_, operations| {
                    for _ in 0..operations {
                        black_box(clock.raw());
                    }
                }),
            ];
            let measured = compare(context.effort, threads, Time::Thread, &sides)?;
            let threads_text = if threads == 1 { String::new() } else { format!(", {threads} threads") };
            let readers_text = match count {
                0 => "nobody reads".into(),
                1 => "1 reader".into(),
                _ => format!("{count} readers"),
            };
            let mut row = Row::of(format!("event, {readers_text}{threads_text}"), &measured)
                .compared_with("atomr-telemetry", 1, &measured)
                .limit("a clock reading", 2, &measured)
                .bound_by("the reading of the clock, then the push into the ring and the stamp");
            row = if count == 0 { row.at_most(1.15) } else { row.at_least(15.0) };
            if threads == 1 {
                alone = row.ours;
                row = row.point("readers", "", count as f64).main();
            } else {
                row = row.goal("≤ 1.2 × one thread", measured.cost(0) <= 1.2 * alone);
            }
            if count == 0 {
                row = row.point("threads", "event", threads as f64);
            }
            section.rows.push(row);
        }
        drop(readers);
    }
    with_text(context, section)
}

/// The creation of the event, which both sides need, counts too.
fn with_text(context: &Context, section: &mut Section) -> Result<()> {
    let twins = Twins::new(0)?;
    let key = "cart-".repeat(12);
    let sides = [
        Side::new(|_, operations| {
            for _ in 0..operations {
                let key = key.clone();
                twins.ours.bus.publish(atomscope_probe::bus::TelemetryEvent::DDataUpdated { key });
            }
        }),
        Side::new(|_, operations| {
            for _ in 0..operations {
                let key = key.clone();
                twins.theirs.bus.publish(atomr_telemetry::bus::TelemetryEvent::DDataUpdated { key });
            }
        }),
        Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(key.clone())))),
    ];
    let measured = compare(context.effort, 1, Time::Thread, &sides)?;
    let row = Row::of("event with 60 B of text, its making included", &measured)
        .compared_with("atomr-telemetry", 1, &measured)
        .limit("its making", 2, &measured);
    section.rows.push(row);
    Ok(())
}

/// The thread publishes so many events on one side, sleeps until the next tick, and continues with the next side. Only
/// the publishing counts. The readers are idle between the events, as in most real nodes.
pub fn at_rates(context: &Context, section: &mut Section) -> Result<()> {
    const TICK: Duration = Duration::from_millis(10);
    const TICKS_A_SECOND: u64 = 100;
    let twins = Twins::new(0)?;
    let readers = Readers::start(&twins, 1)?;
    for rate in [1_000, 10_000, 100_000, 1_000_000] {
        let events: u64 = rate / TICKS_A_SECOND;
        let timed = |publish: &dyn Fn(u64)| {
            let begun = Instant::now();
            (0..events).for_each(publish);
            begun.elapsed().as_nanos() as f64 / events as f64
        };
        let publish_ours = |id| twins.ours.bus.publish(ours(id));
        let publish_theirs = |id| twins.theirs.bus.publish(their_event(id));
        let mut times = [const { Vec::new() }; 3];
        let start = Instant::now();
        for tick in 0..context.pick(150, 6) {
            let turn = tick % 3;
            times[turn].push(timed(if turn == 1 { &publish_theirs } else { &publish_ours }));
            std::thread::sleep((start + TICK * (tick as u32 + 1)).saturating_duration_since(Instant::now()));
        }
        let [first, theirs, second] = times.map(median);
        let mut row = Row::new(format!("event, {rate} a second"), Unit::Ns, (first + second) / 2.0)
            .compared_with_number("atomr-telemetry", theirs)
            .point("rate", "", rate as f64);
        row.spread = Some((second / first - 1.0).abs());
        section.rows.push(row);
    }
    drop(readers);
    Ok(())
}
