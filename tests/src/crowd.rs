//! A node with very many idle actors, and what the program needs to read one.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use atomr_core::actor::{ActorPath, Address, SpawnObserver};
use atomscope_probe::TelemetryExtension;

use crate::support::{Running, own_memory, processor_time, program, wait_until};
use crate::terminal::Terminal;

/// Registers so many actors, each parent with a thousand children.
pub fn populate(telemetry: &TelemetryExtension, actors: usize) {
    let user = ActorPath::root(Address::local("crowd")).child("user");
    let types = ["shop::orders::Order", "shop::orders::Payment", "shop::stock::Shelf"];
    let spawned = |path: &ActorPath, number: usize| {
        telemetry.actors.on_spawn(path, path.parent().as_ref(), types[number % types.len()]);
    };
    for team in 0..actors.div_ceil(1000) {
        let parent = user.child(format!("team-{team}"));
        spawned(&parent, team);
        for member in 1..1000.min(actors - team * 1000) {
            spawned(&parent.child(format!("member-{member}")), member);
        }
    }
}

/// The program on a region.
fn start(command: &str, region: &Path, rest: &[&str]) -> Running {
    let mut atomscope = Command::new(program("atomscope"));
    atomscope.arg(command).arg(region).args(rest).stdin(Stdio::null()).stdout(Stdio::piped());
    Running(atomscope.spawn().expect("atomscope can be run"))
}

fn time_of(running: &Running) -> Duration {
    processor_time(running.0.id()).expect("the process has not been waited for")
}

/// Mean processor time of a line of `atomscope stat`, after the first few lines.
pub fn stat_tick(region: &Path, ticks: u32) -> Duration {
    let mut running = start("stat", region, &["10ms", "--csv"]);
    let mut lines = BufReader::new(running.0.stdout.take().expect("its output is piped")).lines();
    let mut after = |count: usize| {
        let read = lines.by_ref().take(count).filter_map(Result::ok).count();
        assert_eq!(read, count, "stat ended by itself");
    };
    after(5);
    let before = time_of(&running);
    after(ticks as usize);
    (time_of(&running) - before) / ticks
}

/// Processor time of one run of `atomscope show`.
pub fn show(region: &Path) -> Duration {
    let mut running = start("show", region, &[]);
    let mut shown = String::new();
    let mut output = running.0.stdout.take().expect("its output is piped");
    output.read_to_string(&mut shown).expect("its output can be read");
    assert!(shown.contains(" live ("), "{shown}");
    let stat = format!("/proc/{}/stat", running.0.id());
    wait_until("it has ended", || {
        std::fs::read_to_string(&stat)
            .is_ok_and(|stat| stat.rsplit(") ").next().unwrap_or("").starts_with('Z'))
    });
    time_of(&running)
}

/// The greatest private memory of `atomscope top` in a view, over so many snapshots after the first. The region's pages
/// do not count: they belong to the node.
pub fn top_memory(region: &Path, view: &str, mark: &str, looks: Duration) -> u64 {
    let arguments = ["top".into(), region.as_os_str().to_owned(), "--view".into(), view.into()];
    let top = Terminal::start(&program("atomscope"), arguments, &[], [120, 40]);
    top.wait_for(mark);
    let end = std::time::Instant::now() + looks;
    let mut most = 0;
    while std::time::Instant::now() < end {
        most = most.max(own_memory(top.pid()).expect("top continues"));
        std::thread::sleep(Duration::from_millis(5));
    }
    most
}
