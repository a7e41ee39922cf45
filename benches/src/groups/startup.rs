use std::time::{Duration, Instant};

use atomr_core::actor::ActorSystem;
use atomr_core::prelude::Config;
use atomscope_probe::Region;
use tokio::runtime::Runtime;

use super::Context;
use crate::Result;
use crate::harness::{Effort, Side, Time, compare};
use crate::record::{Row, Section};

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Each install gets a new system. Creating and stopping the system does not count.
    let installed = |install: fn(&ActorSystem) -> Box<dyn std::any::Any>| {
        let runtime = &runtime;
        Side::timed(move |_, operations| (0..operations).map(|_| time_on_a_system(runtime, install)).sum())
    };
    let sides = [
        installed(|system| Box::new(atomscope_probe::TelemetryExtension::new("bench", 1024).install(system))),
        installed(|system| Box::new(atomr_telemetry::TelemetryExtension::new("bench", 1024).install(system))),
    ];
    let measured = compare(Effort { blocks: 0, ..context.effort }, 1, Time::Wall, &sides)?;
    let row = Row::of("install, default size", &measured).compared_with("atomr-telemetry", 1, &measured);
    let goal = measured.cost(0) <= 4e6;
    section.rows.push(row.goal("≤ 4 ms", goal).main());

    let actors = context.pick(1_000_000, 10_000);
    let builder = Region::builder("bench").actors(actors);
    let bytes = builder.clone().build()?.bytes();
    let sides = [
        Side::timed(move |_, operations| {
            let one = |_| {
                let start = Instant::now();
                let region = builder.clone().build();
                let elapsed = start.elapsed();
                drop(region);
                elapsed
            };
            (0..operations).map(one).sum()
        }),
        Side::new(move |_, operations| {
            (0..operations).for_each(|_| drop(std::hint::black_box(vec![1u8; bytes])))
        }),
    ];
    let measured = compare(Effort { blocks: 0, ..context.effort }, 1, Time::Wall, &sides)?;
    let text = format!("a region for {} k actors, {} MiB, all pages touched", actors / 1000, bytes >> 20);
    section.rows.push(Row::of(text, &measured).limit("filling as much heap", 1, &measured));
    Ok(())
}

fn time_on_a_system(runtime: &Runtime, install: fn(&ActorSystem) -> Box<dyn std::any::Any>) -> Duration {
    let Ok(system) = runtime.block_on(ActorSystem::create("bench", Config::empty())) else {
        return Duration::ZERO;
    };
    let _runtime = runtime.enter();
    let start = Instant::now();
    let installed = install(&system);
    let elapsed = start.elapsed();
    drop((installed, system));
    elapsed
}
