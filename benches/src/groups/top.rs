use std::path::Path;
use std::time::{Duration, Instant};

use atomscope_tests::support;
use atomscope_tests::terminal::Terminal;

use super::{Context, Twins};
use crate::Result;
use crate::harness::median;
use crate::record::{Row, Section, Unit};

/// The size of a usual terminal.
const SIZE: [u16; 2] = [120, 40];

/// The keys that are typed, and the text that the screen shows afterwards.
type Action = (&'static str, &'static [(&'static str, &'static str)]);

const ACTIONS: [Action; 3] = [
    ("the next row", &[("j", " 2/"), ("k", " 1/")]),
    ("another order", &[(">", "PATH▲"), (">", "CLASS▲"), ("<", "PATH▲"), ("<", "PATH  ")]),
    ("a letter of a filter", &[("9", "Filter: 9"), ("9", "Filter: 99"), ("\x7f\x7f", "Filter:  ")]),
];

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let actors = context.pick(10_000, 1_000);
    let twins = Twins::new(actors)?;
    super::populate(&*twins.ours.actors, actors);
    let region = twins.ours.region().path().ok_or("the region is private")?.to_owned();
    for view in ["overview", "actors"] {
        let terminal = open(&region, view);
        terminal.wait_for("seen");
        // The start does not count.
        std::thread::sleep(Duration::from_millis(context.pick(3000, 100)));
        let (cpu, start) = (support::processor_time(terminal.pid())?, Instant::now());
        std::thread::sleep(Duration::from_secs(context.pick(10, 1)));
        let used = support::processor_time(terminal.pid())? - cpu;
        let share = used.as_nanos() as f64 / start.elapsed().as_secs_f64();
        let work = format!("processor time a second at 1 Hz, {view} of {} k idle actors", actors / 1000);
        section
            .rows
            .push(Row::new(work, Unit::Ns, share).goal("≤ 10 ms, 1 % of a core", share <= 10e6).main());
    }

    let actors = context.pick(100_000, 1_000);
    let twins = Twins::new(actors)?;
    super::populate(&*twins.ours.actors, actors);
    let region = twins.ours.region().path().ok_or("the region is private")?.to_owned();
    let terminal = open(&region, "actors");
    terminal.wait_for("PATH");
    for (what, keys) in ACTIONS {
        if what.contains("filter") {
            terminal.press("t/");
            terminal.wait_for("Filter:");
        }
        let mut times = Vec::new();
        for _ in 0..context.pick(25, 2) {
            for (key, answer) in keys {
                let start = Instant::now();
                terminal.press(key);
                terminal.wait_for(answer);
                times.push(start.elapsed().as_nanos() as f64);
            }
        }
        let time = median(times);
        let work = format!("from key to screen, {what}, {} k actors", actors / 1000);
        section.rows.push(Row::new(work, Unit::Ns, time).goal("≤ 50 ms", time <= 50e6).main());
    }
    Ok(())
}

fn open(region: &Path, view: &str) -> Terminal {
    let region = region.as_os_str().to_owned();
    let arguments = ["top".into(), region, "--view".into(), view.into()];
    Terminal::start(&support::program("atomscope"), arguments, &[], SIZE)
}
