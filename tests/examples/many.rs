//! The cost of many systems in one process.
//!
//! `cargo run --release -p atomscope-tests --example many -- SYSTEMS` installs the probe on that many systems at once;
//! `… -- each ROUNDS` compares a small test of a system of its own with and without an install, in turns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use atomr_core::actor::{Actor, ActorSystem, Context, Props};
use atomr_core::prelude::Config;
use atomscope_probe::TelemetryExtension;
use atomscope_tests::support;
use tokio::sync::oneshot;

struct Echo;

#[async_trait::async_trait]
impl Actor for Echo {
    type Msg = (u64, oneshot::Sender<u64>);

    async fn handle(&mut self, _: &mut Context<Self>, (number, answer): Self::Msg) {
        let _ = answer.send(number);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().ok_or("how many systems?")?;
    if first == "each" {
        return each(arguments.next().ok_or("how many rounds?")?.parse()?);
    }
    at_once(first.parse()?)
}

fn threads() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        *found.entry(name.trim().to_owned()).or_default() += 1;
    }
    found
}

fn at_once(count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut systems = Vec::new();
        for number in 0..count {
            systems.push(ActorSystem::create(&format!("s{number}"), Config::empty()).await?);
        }
        let start = Instant::now();
        let installed: Vec<_> = systems
            .iter()
            .enumerate()
            .map(|(number, system)| TelemetryExtension::new(format!("n{number}"), 1024).install(system))
            .collect();
        println!("{count} installs took {:?}", start.elapsed());
        println!("threads: {:?}", threads());
        println!("descriptors: {}", std::fs::read_dir("/proc/self/fd")?.count());
        let bytes: u64 = installed
            .iter()
            .filter_map(|telemetry| telemetry.region().path())
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|meta| meta.len())
            .sum();
        println!("shared memory: {} MiB", bytes >> 20);
        let start = Instant::now();
        let listed = support::listed(std::process::id());
        let live = listed.iter().filter(|node| node["state"] == "live").count();
        println!("`ps` lists {}, of which {live} live, in {:?}", listed.len(), start.elapsed());
        let start = Instant::now();
        drop(installed);
        drop(systems);
        println!("dropping took {:?}", start.elapsed());
        Ok(())
    })
}

/// A small test, such as a suite has hundreds of.
fn one(install: bool) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let system = ActorSystem::create("each", Config::empty()).await?;
        let telemetry = install.then(|| TelemetryExtension::new("each", 64).install(&system));
        let echo = system.actor_of(Props::create(|| Echo), "echo")?;
        for number in 0..10 {
            let (answer, asked) = oneshot::channel();
            echo.tell((number, answer));
            asked.await?;
        }
        system.terminate().await;
        drop(telemetry);
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    drop(runtime);
    Ok(start.elapsed())
}

fn each(rounds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..2 * rounds {
        let install = round % 2 == 0;
        let took = one(install)?;
        if install { with.push(took) } else { without.push(took) }
    }
    for (name, times) in [("with", &mut with), ("without", &mut without)] {
        times.sort();
        let sum: Duration = times.iter().sum();
        println!("{name} install: median {:?}, all {sum:?}", times[times.len() / 2]);
    }
    Ok(())
}
