use atomr_core::actor::SpawnObserver;

use super::{Context, Copies, Paths, Twins, pairs, parent_at, thread_counts};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

/// The most that a spawn and a stop write: a record and two events.
const WRITTEN_BYTES: usize = 3 * 192;

/// The reason in the record where a goal is missed.
const BOUND: &str = "its parts, which the next table lists";

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    for live in context.pick([1_000, 100_000], [1_000, 2_000]) {
        let twins = Twins::new(2 * live)?;
        twins.populate(live);
        for depth in [3, 6] {
            for threads in thread_counts() {
                let parent = parent_at(depth);
                let paths = Paths::below(&parent, threads);
                let pairs = |observer: &dyn SpawnObserver, thread: usize, operations: u64| {
                    pairs(observer, &parent, paths.take(thread, operations));
                };
                let copies = Copies::<WRITTEN_BYTES>::new(threads);
                let sides = [
                    Side::new(|thread, operations| pairs(&*twins.ours.actors, thread, operations)),
                    Side::new(|thread, operations| pairs(&*twins.theirs.actors, thread, operations)),
                    Side::new(|thread, operations| copies.run(thread, operations)),
                ];
                let measured = compare(context.effort, threads, Time::Thread, &sides)?;
                let threads_text = if threads == 1 { String::new() } else { format!(", {threads} threads") };
                let text = format!("spawn + stop, depth {depth}, {} k live{threads_text}", live / 1000);
                let mut row = Row::of(text, &measured)
                    .compared_with("atomr-telemetry", 1, &measured)
                    .limit("memcpy 576 B", 2, &measured)
                    .at_least(12.0)
                    .bound_by(BOUND);
                if live == 1_000 && depth == 3 {
                    row = row.point("threads", "spawn + stop", threads as f64);
                }
                section.rows.push(if threads == 1 { row.main() } else { row });
            }
        }
    }
    Ok(())
}
