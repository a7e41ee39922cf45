use std::time::Duration;

use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::crowd;

use super::Context;
use crate::Result;
use crate::harness::median;
use crate::record::{Row, Section, Unit};

/// The default of `top --history`.
const HISTORY_BYTES: f64 = (128u64 << 20) as f64;
/// Bytes per actor of a list of the actors, by path and as a tree.
const SNAPSHOT_BYTES_EACH: f64 = 160.0;

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let actors = context.pick(1_000_000, 30_000);
    let telemetry = TelemetryExtension::with_region(Region::builder("crowd").actors(actors).build()?);
    crowd::populate(&telemetry, actors);
    let region = telemetry.region().path().ok_or("the region is private")?;
    let text = if context.is_quick { format!("{} k", actors / 1000) } else { "1 M".to_owned() };

    let tick = crowd::stat_tick(region, context.pick(100, 5)).as_nanos() as f64;
    let row = Row::new(format!("stat tick, {text} actors"), Unit::Ns, tick);
    section.rows.push(row.goal("≤ 5 ms of processor time", tick <= 5e6).main());

    let times = (0..context.pick(9, 1)).map(|_| crowd::show(region).as_nanos() as f64).collect();
    let show = median(times);
    let row = Row::new(format!("show, {text} actors"), Unit::Ns, show);
    section.rows.push(row.goal("≤ 0.3 s of processor time", show <= 0.3e9).main());

    for (view, mark) in [("overview", "seen"), ("actors", "member-1 ")] {
        let looks = Duration::from_secs(context.pick(20, 1));
        let held = crowd::top_memory(region, view, mark, looks) as f64;
        let most = HISTORY_BYTES + 2.0 * SNAPSHOT_BYTES_EACH * actors as f64;
        let row = Row::new(format!("top resident, {text} actors, {view}"), Unit::Bytes, held);
        section.rows.push(row.goal("≤ --history and two snapshots", held <= most).main());
    }
    Ok(())
}
