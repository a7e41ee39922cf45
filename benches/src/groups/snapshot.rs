use std::hint::black_box;
use std::time::Instant;

use atomscope::attach::Region;
use atomscope::snapshot::Snapshot;
use atomscope::text::write_json;

use super::{Context, Twins, populate};
use crate::Result;
use crate::harness::{Cpu, Side, compare};
use crate::record::{Row, Section};

/// The incumbent's snapshot takes the square of the actors: as many as it is asked for again and again,
const INCUMBENTS_MOST: usize = 10_000;
/// and as many as it is asked for once.
const INCUMBENTS_ONCE: usize = 100_000;

const INCUMBENT: &str = "atomr-telemetry";

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let mut per_actor = f64::NAN;
    for &actors in context.pick(&[1_000, 10_000, 100_000, 1_000_000][..], &[500, 1_000][..]) {
        let twins = Twins::new(actors)?;
        populate(&*twins.ours.actors, actors);
        if actors <= INCUMBENTS_ONCE {
            populate(&*twins.incumbent.actors, actors);
        }
        let path = twins.ours.region().path().ok_or("the region is private")?;
        let attached = Region::open(path, None, u64::MAX)?;
        let dump = || -> Result<Vec<u8>> {
            let mut out = Vec::new();
            write_json(&mut out, &Snapshot::take(&attached)?.into_dump(false))?;
            Ok(out)
        };
        let json = dump()?;
        let repeated = |work: &'static (dyn Fn(&Twins) + Sync)| {
            let twins = &twins;
            Side::new(move |_, operations| (0..operations).for_each(|_| work(twins)))
        };
        let has_incumbent = actors <= INCUMBENTS_MOST;
        let beside = |mut sides: Vec<_>, incumbent: &'static (dyn Fn(&Twins) + Sync)| {
            if has_incumbent {
                sides.push(repeated(incumbent));
            }
            compare(context.effort, 1, Cpu::Thread, &sides)
        };
        let row = |text: &str, measured: &_| {
            let row = Row::of(format!("{text} of {} k actors", actors as f64 / 1e3), measured);
            if has_incumbent { row.beside(INCUMBENT, 1, measured) } else { row }
        };

        let measured = beside(
            vec![repeated(&|twins| drop(black_box(twins.ours.snapshot())))],
            &|twins| drop(black_box(twins.incumbent.snapshot())),
        )?;
        section.rows.push(row("in-process snapshot", &measured));

        let theirs = |twins: &Twins| drop(black_box(serde_json::to_vec(&twins.incumbent.snapshot())));
        let once = (!has_incumbent && actors <= INCUMBENTS_ONCE).then(|| {
            let start = Instant::now();
            theirs(&twins);
            start.elapsed().as_nanos() as f64
        });
        let measured = beside(
            vec![repeated(&|twins| drop(black_box(serde_json::to_vec(&twins.ours.snapshot()))))],
            &|twins| drop(black_box(serde_json::to_vec(&twins.incumbent.snapshot()))),
        )?;
        let with_once = |row: Row| match once {
            Some(once) => row.beside_number("atomr-telemetry, once", once),
            None => row,
        };
        section.rows.push(with_once(row("in-process snapshot + JSON", &measured)));

        // What the reader writes, copied: no JSON can be made faster.
        let sides = vec![
            Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(dump())))),
            Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(json.clone())))),
        ];
        let measured = if has_incumbent {
            let mut sides = sides;
            sides.insert(1, repeated(&|twins| drop(black_box(serde_json::to_vec(&twins.incumbent.snapshot())))));
            compare(context.effort, 1, Cpu::Thread, &sides)?
        } else {
            compare(context.effort, 1, Cpu::Thread, &sides)?
        };
        let mut row = with_once(row("a reader's snapshot + JSON", &measured))
            .limit("memcpy of the JSON", if has_incumbent { 2 } else { 1 }, &measured)
            .point("actors", "", actors as f64)
            .main();
        row = match actors {
            10_000 => row.at_least(25.0),
            100_000 => row.at_least(1000.0),
            _ => row,
        };
        let each = row.ours / actors as f64;
        if actors == 10_000 {
            per_actor = each;
        }
        if actors == 1_000_000 {
            row = row.goal("linear: ≤ 2 × as much per actor as of 10 k", each <= 2.0 * per_actor);
        }
        section.rows.push(row);
    }
    Ok(())
}
