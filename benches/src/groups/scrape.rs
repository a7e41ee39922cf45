use std::hint::black_box;

use atomr_telemetry::exporters::prometheus::PrometheusExporter;
use atomscope::attach::Region;
use atomscope::export::exporter::{Node, Observed};
use atomscope::export::facts::Selection;
use atomscope::export::family::Labels;
use atomscope::export::prometheus::Exposition;
use atomscope::export::text::Format;
use atomscope::report::usage::Usage;
use atomscope::snapshot::Snapshot;

use super::{Context, Twins};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

/// The text for one scrape, read from the region by another process's library.
fn ours(region: &Region) -> Result<String> {
    let snapshot = Snapshot::with_class_counts(region)?;
    let usage = Usage::take(region, &snapshot)?;
    let observed = Observed { snapshot: &snapshot, usage: &usage, threads: None };
    let node = Node { number: 0, region };
    let exposition = Exposition::of_snapshot(&node, &observed, Selection::default(), Labels::new());
    Ok(exposition.to_text(Format::Text))
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    for actors in context.pick([1_000, 10_000], [500, 1_000]) {
        let twins = Twins::new(actors)?;
        twins.populate(actors);
        let region =
            Region::open(twins.ours.region().path().ok_or("the region is private")?, None, u64::MAX)?;
        let exporter = PrometheusExporter::with_namespace("bench", None)?;
        ours(&region)?;
        let sides = [
            Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(ours(&region))))),
            Side::new(|_, operations| {
                for _ in 0..operations {
                    exporter.seed_from_snapshot(&twins.theirs.snapshot());
                    drop(black_box(exporter.render()));
                }
            }),
        ];
        let measured = compare(context.effort, 1, Time::Thread, &sides)?;
        section.rows.push(
            Row::of(format!("scrape of {} k actors", actors as f64 / 1e3), &measured).compared_with(
                "atomr-telemetry, inside the node",
                1,
                &measured,
            ),
        );
    }
    Ok(())
}
