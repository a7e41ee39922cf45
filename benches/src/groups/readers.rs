use std::ffi::OsStr;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use atomr_core::actor::SpawnObserver;
use atomscope::attach::Region;
use atomscope::snapshot::Snapshot;
use atomscope_tests::support::exporter::{Exporter, get};
use atomscope_tests::support::{self, Running};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::broadcast::error::RecvError;

use super::records::Of256;
use super::{Context, Paths, Twins, pairs, parent_at, wait_until_mapped};
use crate::Result;
use crate::harness::{Effort, Measured, Side, Time, compare};
use crate::record::{Row, Section, Unit};

const LIVE: usize = 1_000;

/// How much an attached reader may slow a writer.
const MOST: f64 = 1.1;

/// Takes so many snapshots of the region per second, until the region is gone or this process is killed.
pub fn read(region: &Path, rate: u64) -> Result<()> {
    let region = Region::open(region, None, u64::MAX)?;
    let interval = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / rate as u32 };
    let mut next = Instant::now();
    loop {
        let snapshot = Snapshot::take(&region)?;
        if !snapshot.liveness.verdict.is_alive() {
            return Ok(());
        }
        black_box(snapshot);
        next = (next + interval).max(Instant::now() - interval);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Asks an exporter for its metrics so many times per second, until it does not answer or this process is killed.
pub fn scrape(exporter: SocketAddr, rate: u64) -> Result<()> {
    let interval = Duration::from_secs(1) / rate as u32;
    let mut next = Instant::now();
    loop {
        black_box(get(exporter, "/metrics")?);
        next = (next + interval).max(Instant::now() - interval);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Starts this program again, as a reader that can be stopped and continued.
fn start(role: &str, what: impl AsRef<OsStr>, rate: u64) -> Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).arg(what).arg(rate.to_string()).stdin(Stdio::null());
    Ok(Running(command.spawn()?))
}

fn signal_to(reader: &Running, signal: Signal) {
    // If the reader has ended, the comparison shows no difference, and its own message gives the reason.
    if let Some(pid) = Pid::from_raw(reader.0.id() as i32) {
        let _ = kill_process(pid, signal);
    }
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let twins = Twins::new(0)?;
    twins.populate(LIVE);
    let parent = parent_at(3);
    let paths = Paths::below(&parent, 1);
    let pairs =
        |observer: &dyn SpawnObserver, operations| pairs(observer, &parent, paths.take(0, operations));
    let slices = |ms| Effort {
        slice: Duration::from_millis(context.pick(ms, 1)),
        budget: 3 * context.effort.budget,
        blocks: 0,
        ..context.effort
    };

    let theirs = {
        let tasks = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
        let task = Mutex::new(None);
        let subscribed = |is_wanted: bool| {
            let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_wanted {
                task.take().inspect(tokio::task::JoinHandle::abort);
            } else if task.is_none() {
                let mut events = twins.theirs.bus.subscribe();
                *task =
                    Some(tasks.spawn(async move {
                        while !matches!(events.recv().await, Err(RecvError::Closed)) {}
                    }));
            }
            drop(task);
            support::wait_until("the subscriber is attached or has ended", || {
                (twins.theirs.bus.receiver_count() > 0) == is_wanted
            });
        };
        let side = |is_wanted| {
            let subscribed = &subscribed;
            let (pairs, theirs) = (&pairs, &*twins.theirs.actors);
            Side::new(move |_, operations| {
                subscribed(is_wanted);
                pairs(theirs, operations);
            })
        };
        let effort = slices(10);
        slowed(&compare(effort, 1, Time::Thread, &[side(false), side(true)])?)
    };

    let path = twins.ours.region().path().ok_or("the region is private")?;
    for (rate, text, slice_ms) in [(10, "at 10 Hz", 100), (1000, "at 1 kHz", 20), (0, "in a busy loop", 20)] {
        let reader = start("reader", path, rate)?;
        wait_until_mapped(&[&reader.0], path);
        let beside = Mutex::new(Duration::ZERO);
        let side = |signal| {
            let (pairs, reader, ours, beside) = (&pairs, &reader, &*twins.ours.actors, &beside);
            Side::new(move |_, operations| {
                signal_to(reader, signal);
                let start = Instant::now();
                pairs(ours, operations);
                if signal == Signal::CONT {
                    *beside.lock().unwrap_or_else(PoisonError::into_inner) += start.elapsed();
                }
            })
        };
        let measured = compare(slices(slice_ms), 1, Time::Thread, &[side(Signal::STOP), side(Signal::CONT)])?;
        let mut row = Row::new(format!("spawn + stop, read {text}"), Unit::Times, slowed(&measured))
            .compared_with_number("one subscriber", theirs)
            .main();
        row.spread = Some(measured.spread());
        if rate == 0 {
            // On a busy machine the reader gets no processor, and slows nobody.
            let read = support::processor_time(reader.0.id())?.as_secs_f64();
            let beside = beside.into_inner().unwrap_or_else(PoisonError::into_inner).as_secs_f64();
            row.together = (read / beside).min(1.0);
        }
        let slowed = row.ours;
        section.rows.push(row.goal(format!("≤ {MOST}"), slowed <= MOST));
    }

    const SCRAPES: u64 = 20;
    let exporter = Exporter::start(&[path.to_str().ok_or("the path is no text")?]);
    support::wait_until("the node is exported", || exporter.metrics().contains("\natomr_actors_live{"));
    let client = start("scraper", exporter.address.to_string(), SCRAPES)?;
    let work = |operations| pairs(&*twins.ours.actors, operations);
    let text = format!("spawn + stop, scraped at {SCRAPES} Hz");
    let row = beside(&[&client, &exporter.running], text, slices(100), work)?;
    section.rows.push(row.compared_with_number("one subscriber", theirs).main());
    drop((client, exporter));

    let reader = start("reader", path, 1000)?;
    wait_until_mapped(&[&reader.0], path);
    let (record, state) = (Mutex::new(twins.ours.region().record("read")?), Of256 { words: [7; 32] });
    let work = |operations| {
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        (0..operations).for_each(|_| record.publish(black_box(&state)));
    };
    section.rows.push(beside(&[&reader], "record of 256 B published, read at 1 kHz", slices(20), work)?);
    Ok(())
}

/// How much longer this work takes while these processes run.
fn beside(
    processes: &[&Running],
    text: impl Into<String>,
    effort: Effort,
    work: impl Fn(u64) + Sync,
) -> Result<Row> {
    let side = |signal| {
        let work = &work;
        Side::new(move |_, operations| {
            processes.iter().for_each(|process| signal_to(process, signal));
            work(operations);
        })
    };
    let measured = compare(effort, 1, Time::Thread, &[side(Signal::STOP), side(Signal::CONT)])?;
    let slowed = slowed(&measured);
    let mut row = Row::new(text, Unit::Times, slowed);
    row.spread = Some(measured.spread());
    Ok(row.goal(format!("≤ {MOST}"), slowed <= MOST))
}

fn slowed(measured: &Measured) -> f64 {
    measured.median(|round| round[1].cpu / round[0].cpu)
}
