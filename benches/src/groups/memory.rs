use std::hint::black_box;
use std::process::Command;

use atomscope::attach::Region as Attached;
use atomscope::snapshot::Snapshot;
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support;

use super::{Context, populate};
use crate::Result;
use crate::record::{Row, Section, Unit};

/// How much of the region an actor may take.
const MOST_BYTES: f64 = 320.0;

/// Prints the bytes that a node needs for each of so many actors, and the bytes that a snapshot of each needs in a
/// reader.
pub fn weigh(side: &str, actors: usize) -> Result<()> {
    let per_actor = |bytes: u64| bytes as f64 / actors as f64;
    let (node, reader) = if side == "ours" {
        // The region has its full size from the start, so subtract the memory of a region with one actor.
        let rest = Region::builder("bench").actors(1).build()?.bytes();
        let telemetry = TelemetryExtension::with_region(Region::builder("bench").actors(actors).build()?);
        populate(&*telemetry.actors, actors);
        let region = telemetry.region();
        let attached = Attached::open(region.path().ok_or("the region is private")?, None, u64::MAX)?;
        let before = heap()?;
        let snapshot = black_box(Snapshot::take(&attached)?);
        let reader = heap()?.saturating_sub(before);
        drop(snapshot);
        ((region.bytes() - rest) as u64, reader)
    } else {
        let before = heap()?;
        let telemetry = atomr_telemetry::TelemetryExtension::new("bench", 1024);
        populate(&*telemetry.actors, actors);
        let node = heap()?.saturating_sub(before);
        let before = heap()?;
        let snapshot = black_box(telemetry.snapshot());
        let reader = heap()?.saturating_sub(before);
        drop(snapshot);
        (node, reader)
    };
    println!("{} {}", per_actor(node), per_actor(reader));
    Ok(())
}

/// Private memory of this process in bytes.
fn heap() -> Result<u64> {
    Ok(support::own_memory(std::process::id())?)
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    // With more actors, the snapshot of `atomr-telemetry` takes too long.
    let actors = context.pick(10_000, 1_000);
    let weighed = |side: &str| -> Result<[f64; 2]> {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.args(["weigh", side, &actors.to_string()]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let numbers =
            text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
        <[f64; 2]>::try_from(numbers).map_err(|_| {
            format!("could not weigh {side}: {}", String::from_utf8_lossy(&output.stderr)).into()
        })
    };
    let ([node, reader], [their_node, their_reader]) = (weighed("ours")?, weighed("theirs")?);
    let row = |text: &str, ours, theirs| {
        let row = Row::new(format!("memory per actor, {text}"), Unit::Bytes, ours);
        row.compared_with_number("atomr-telemetry", theirs)
    };
    let of_node = row("in the region", node, their_node);
    section.rows.push(of_node.goal("≤ 320 B", node <= MOST_BYTES).main());
    section.rows.push(row("the reader's snapshot", reader, their_reader));
    Ok(())
}
