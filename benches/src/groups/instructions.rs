use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;

use atomr_core::actor::{ActorPath, DeadLetterObserver};
use atomscope_probe::{Region, TelemetryExtension};
use prometheus::IntCounter;

use super::{Context, Paths, pairs, parent_at};
use crate::Result;
use crate::record::{Row, Section, Unit};

/// Does the operation `count` times on one side, while another program counts the instructions.
pub fn operate(name: &str, side: &str, count: u64) -> Result<()> {
    let parent = parent_at(if name.ends_with('6') { 6 } else { 3 });
    let paths = Paths::below(&parent, 1);
    let paths = || paths.take(0, count);
    let region = || Region::builder("bench").build();
    let ours = || -> Result<Arc<TelemetryExtension>> { Ok(TelemetryExtension::with_region(region()?)) };
    let theirs = || atomr_telemetry::TelemetryExtension::new("bench", 1024);
    match (name, side) {
        ("counter", "ours") => {
            let counter = region()?.counter("bench.operations", "operations", "What this benchmark did");
            (0..count).for_each(|_| counter.add(black_box(1)));
        }
        ("counter", _) => {
            let counter = IntCounter::new("operations", "What this benchmark did")?;
            (0..count).for_each(|_| counter.inc_by(black_box(1)));
        }
        ("spawn-stop-3" | "spawn-stop-6", "ours") => pairs(&*ours()?.actors, &parent, paths()),
        ("spawn-stop-3" | "spawn-stop-6", _) => pairs(&*theirs().actors, &parent, paths()),
        ("event", "ours") => {
            let bus = &ours()?.bus;
            let event = |id| atomscope_probe::bus::TelemetryEvent::StreamsGraphFinished { id };
            (0..count).for_each(|id| bus.publish(event(id)));
        }
        ("event", _) => {
            let bus = &theirs().bus;
            let event = |id| atomr_telemetry::bus::TelemetryEvent::StreamsGraphFinished { id };
            (0..count).for_each(|id| bus.publish(event(id)));
        }
        ("dead-letter", "ours") => letters(&*ours()?.dead_letters, paths()),
        ("dead-letter", _) => letters(&*theirs().dead_letters, paths()),
        _ => return Err(format!("there is no operation {name}").into()),
    }
    Ok(())
}

fn letters<'a>(observer: &dyn DeadLetterObserver, paths: impl Iterator<Item = &'a ActorPath>) {
    paths.for_each(|path| observer.on_dead_letter(path, None, "bench::Letter"));
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        section.notes.push("Left out: valgrind is not installed.".into());
        return Ok(());
    }
    let count = context.pick(10_000, 1_000);
    for (name, text, theirs) in [
        ("counter", "counter add", "prometheus"),
        ("spawn-stop-3", "spawn + stop, depth 3", "atomr-telemetry"),
        ("spawn-stop-6", "spawn + stop, depth 6", "atomr-telemetry"),
        ("event", "event", "atomr-telemetry"),
        ("dead-letter", "dead letter", "atomr-telemetry"),
    ]
    .into_iter()
    .take(context.pick(5, 1))
    {
        // The instructions besides the operations are the same in both runs, and cancel out.
        let each = |side| -> Result<f64> {
            Ok((instructions(name, side, 2 * count)? - instructions(name, side, count)?) / count as f64)
        };
        let row = Row::new(format!("{text}, instructions"), Unit::Instructions, each("ours")?);
        section.rows.push(row.compared_with_number(theirs, each("theirs")?));
    }
    Ok(())
}

/// All instructions of a run. With `ATOMSCOPE=off` direct calls of the hooks do the same work, and no sampler runs,
/// whose work depends on the clock.
fn instructions(name: &str, side: &str, count: u64) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(std::env::current_exe()?).args(["operations", name, side, &count.to_string()]);
    let run = valgrind.env("ATOMSCOPE", "off").stdin(Stdio::null()).output()?;
    let text = std::fs::read_to_string(&out).unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let said = || format!("callgrind of {name} failed: {}", String::from_utf8_lossy(&run.stderr));
    Ok(total.ok_or_else(said)?.trim().parse()?)
}
