use std::hint::black_box;
use std::io::{self, Write};

use atomscope::attach::Region;
use atomscope::snapshot::Snapshot;
use atomscope::snapshot::dump::Format;
use atomscope_layout::decode::ActorTree;
use atomscope_layout::json::JsonWriter;

use super::{Context, Twins, populate};
use crate::Result;
use crate::harness::{self, Side, Time, compare};
use crate::record::{Row, Section};

/// The snapshot of `atomr-telemetry` takes quadratic time: the greatest number of actors for repeated snapshots,
const THEIR_MOST: usize = 10_000;
/// and the greatest number for a single one.
const THEIR_ONCE: usize = 100_000;

fn ours(twins: &Twins) {
    drop(black_box(twins.ours.snapshot()));
}

fn theirs(twins: &Twins) {
    drop(black_box(twins.theirs.snapshot()));
}

fn ours_as_json(twins: &Twins) {
    let mut out = Vec::new();
    drop(black_box(twins.ours.write_snapshot_json(&mut out)));
    drop(black_box(out));
}

fn theirs_as_json(twins: &Twins) {
    drop(black_box(serde_json::to_vec(&twins.theirs.snapshot())));
}

/// Streamed, as ours is; a buffer of the size of ours.
fn theirs_as_json_streamed(twins: &Twins) {
    let to = io::BufWriter::with_capacity(1 << 16, Nowhere);
    drop(black_box(serde_json::to_writer(to, &twins.theirs.snapshot())));
}

/// Takes what is written and does nothing with it.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The JSON of actors that were read before, in pieces of 64 KiB that go nowhere.
fn json(context: &Context, actors: usize, tree: &ActorTree) -> Result<Row> {
    const LEAST_GB_PER_S: f64 = 4.0;
    let by_hand = || {
        let mut to = Nowhere;
        let mut json = JsonWriter::new(&mut to);
        json.value(tree)?;
        json.finish()
    };
    let by_serde = || serde_json::to_writer(io::BufWriter::with_capacity(1 << 16, Nowhere), tree);
    let copied = serde_json::to_vec(tree)?;
    let sides = [
        Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(by_hand())))),
        Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(by_serde())))),
        Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(copied.clone())))),
    ];
    let measured = compare(context.effort, 1, Time::Thread, &sides)?;
    let row = Row::of(format!("JSON of {} k actors", actors as f64 / 1e3), &measured)
        .compared_with("serde_json", 1, &measured)
        .limit("memcpy of the JSON", 2, &measured);
    let gb_per_s = copied.len() as f64 / row.ours;
    Ok(if actors == 100_000 { row.goal("≥ 4 GB/s", gb_per_s >= LEAST_GB_PER_S) } else { row })
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let mut ten_thousands = f64::NAN;
    for &actors in context.pick(&[1_000, 10_000, 100_000, 1_000_000][..], &[500, 1_000][..]) {
        let twins = Twins::new(actors)?;
        populate(&*twins.ours.actors, actors);
        if actors <= THEIR_ONCE {
            populate(&*twins.theirs.actors, actors);
        }
        let has_theirs = actors <= THEIR_MOST;
        let is_asked_once = !has_theirs && actors <= THEIR_ONCE;
        let once = is_asked_once.then(|| harness::once(|| theirs_as_json(&twins)));
        let side = |work: fn(&Twins)| {
            let twins = &twins;
            Side::new(move |_, operations| (0..operations).for_each(|_| work(twins)))
        };
        let row = |work: &str, first: Side<'_>, theirs: Side<'_>, limit: Option<Side<'_>>| {
            let has_limit = limit.is_some();
            let sides: Vec<_> =
                [first].into_iter().chain(limit).chain(has_theirs.then_some(theirs)).collect();
            let measured = compare(context.effort, 1, Time::Thread, &sides)?;
            let mut row = Row::of(format!("{work} of {} k actors", actors as f64 / 1e3), &measured);
            if has_theirs {
                row = row.compared_with("atomr-telemetry", sides.len() - 1, &measured);
            }
            if has_limit {
                row = row.limit("memcpy of the JSON", 1, &measured);
            }
            Result::Ok(row)
        };
        let with_once = |row: Row| match once {
            Some(once) => row.compared_with_number("atomr-telemetry, once", once),
            None => row,
        };
        section.rows.push(row("in-process snapshot", side(ours), side(theirs), None)?);
        let in_process = row("in-process snapshot + JSON", side(ours_as_json), side(theirs_as_json), None)?;
        section.rows.push(with_once(in_process));

        let path = twins.ours.region().path().ok_or("the region is private")?;
        let attached = Region::open(path, None, u64::MAX)?;
        let dump = |to: &mut dyn Write| -> Result<()> {
            Ok(Snapshot::take(&attached)?.into_dump(false).write(Format::Json, to)?)
        };
        section.rows.push(json(context, actors, &attached.reader()?.actor_list().into_tree())?);
        let mut json = Vec::new();
        dump(&mut json)?;
        let reader =
            Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(dump(&mut Nowhere)))));
        let copy = Side::new(|_, operations| (0..operations).for_each(|_| drop(black_box(json.clone()))));
        let row =
            row("a reader's snapshot + streamed JSON", reader, side(theirs_as_json_streamed), Some(copy))?;
        let row = with_once(row)
            .point("actors", "", actors as f64)
            .main()
            .bound_by("the list and its order by path, in memory that the kernel gives page by page; JSON is less than a third");
        let row_ns = row.ours;
        let each = row_ns / actors as f64;
        section.rows.push(match actors {
            10_000 => {
                ten_thousands = each;
                row.at_least(25.0)
            }
            100_000 => row.goal("≤ 15 ms", row_ns <= 15e6),
            1_000_000 => row.goal("linear: ≤ 2 × as much per actor as of 10 k", each <= 2.0 * ten_thousands),
            _ => row,
        });
    }
    Ok(())
}
