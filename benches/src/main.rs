//! What recording costs, beside the incumbent and beside the limit, on the same work in the same run.
//!
//! `cargo run --release -p atomscope-benches` prints a table of medians and of their ratios. The two sides of a row
//! take turns, so that a machine that slows down slows both; `spread` is the same side against itself.

use std::hint::black_box;
use std::time::Instant;

use atomr_core::actor::{ActorPath, Address, DeadLetterObserver, SpawnObserver};
use atomscope_probe::{Region, TelemetryExtension};

/// Turns that each side gets.
const TURNS: usize = 31;

/// Nanoseconds per operation of `work`, which does `operations` of them.
fn time(operations: u32, work: &mut dyn FnMut(u32)) -> f64 {
    let start = Instant::now();
    (0..operations).for_each(work);
    start.elapsed().as_nanos() as f64 / f64::from(operations)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints one row: `ours` beside `other`.
fn compare(name: &str, operations: u32, ours: &mut dyn FnMut(u32), label: &str, other: &mut dyn FnMut(u32)) {
    time(operations, ours);
    time(operations, other);
    let (mut first, mut second, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        first.push(time(operations, ours));
        others.push(time(operations, other));
        second.push(time(operations, ours));
    }
    let (first, second, other) = (median(first), median(second), median(others));
    let ours = first.min(second);
    println!(
        "{name:<32} {ours:>9.1} ns   {label:<12} {other:>9.1} ns   ratio {:>6.2}   spread {:>4.1} %",
        other / ours,
        (first / second - 1.0).abs() * 100.0
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let region = Region::builder("bench").build()?;
    let counter = region.counter("bench.operations", "operations", "What this benchmark did");
    let mut place = 0u64;
    compare("counter add", 100_000, &mut |_| counter.add(black_box(1)), "plain store", &mut |_| {
        place = black_box(black_box(place).wrapping_add(1));
    });

    let ours = TelemetryExtension::with_region(region);
    let incumbent = atomr_telemetry::TelemetryExtension::new("bench", 1024);
    let user = ActorPath::root(Address::local("bench")).child("user");
    for (depth, parent) in
        [(3, user.child("orders")), (6, user.child("a").child("b").child("c").child("orders"))]
    {
        let paths: Vec<ActorPath> = (0..1024).map(|number| parent.child(format!("order-{number}"))).collect();
        let of = |number: u32| &paths[number as usize % paths.len()];
        let pair = |observer: &dyn SpawnObserver, number: u32| {
            observer.on_spawn(of(number), Some(&parent), "bench::Order");
            observer.on_stop(of(number));
        };
        compare(
            &format!("actor spawn + stop, depth {depth}"),
            10_000,
            &mut |number| pair(&*ours.actors, number),
            "incumbent",
            &mut |number| pair(&*incumbent.actors, number),
        );
        compare(
            &format!("dead letter, depth {depth}"),
            10_000,
            &mut |number| ours.dead_letters.on_dead_letter(of(number), None, "bench::Letter"),
            "incumbent",
            &mut |number| incumbent.dead_letters.on_dead_letter(of(number), None, "bench::Letter"),
        );
    }

    let (ours_event, incumbents_event) = (
        |id| atomscope_probe::bus::TelemetryEvent::StreamsGraphFinished { id },
        |id| atomr_telemetry::bus::TelemetryEvent::StreamsGraphFinished { id },
    );
    compare(
        "event publish, nobody listens",
        100_000,
        &mut |number| ours.bus.publish(ours_event(u64::from(number))),
        "incumbent",
        &mut |number| incumbent.bus.publish(incumbents_event(u64::from(number))),
    );
    let (_ours, _incumbents) = (ours.bus.subscribe(), incumbent.bus.subscribe());
    compare(
        "event publish, one subscriber",
        100_000,
        &mut |number| ours.bus.publish(ours_event(u64::from(number))),
        "incumbent",
        &mut |number| incumbent.bus.publish(incumbents_event(u64::from(number))),
    );

    let live: Vec<ActorPath> = (0..10_000).map(|number| user.child(format!("live-{number}"))).collect();
    for path in &live {
        ours.actors.on_spawn(path, Some(&user), "bench::Live");
        incumbent.actors.on_spawn(path, Some(&user), "bench::Live");
    }
    compare(
        "snapshot of 10 k actors",
        1,
        &mut |_| drop(black_box(ours.snapshot())),
        "incumbent",
        &mut |_| drop(black_box(incumbent.snapshot())),
    );
    Ok(())
}
