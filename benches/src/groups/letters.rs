use atomr_core::actor::DeadLetterObserver;

use super::{Context, Copies, Paths, Twins, parent_at, thread_counts};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let twins = Twins::new(0)?;
    for depth in [3, 6] {
        for threads in thread_counts() {
            let paths = Paths::below(&parent_at(depth), threads);
            let letters = |observer: &dyn DeadLetterObserver, thread: usize, operations: u64| {
                for path in paths.take(thread, operations) {
                    observer.on_dead_letter(path, None, "bench::Letter");
                }
            };
            let copies = Copies::<384>::new(threads);
            let sides = [
                Side::new(|thread, operations| letters(&*twins.ours.dead_letters, thread, operations)),
                Side::new(|thread, operations| letters(&*twins.theirs.dead_letters, thread, operations)),
                Side::new(|thread, operations| copies.run(thread, operations)),
            ];
            let measured = compare(context.effort, threads, Time::Thread, &sides)?;
            let threads_text = if threads == 1 { String::new() } else { format!(", {threads} threads") };
            let mut row = Row::of(format!("dead letter, depth {depth}{threads_text}"), &measured)
                .compared_with("atomr-telemetry", 1, &measured)
                .limit("memcpy 384 B", 2, &measured)
                .at_least(12.0)
                .bound_by(
                    "the ticket, the swap of its slot and the clock, about half of it together, and the joining of the path. \
                     Tried: as for a spawn",
                );
            if depth == 3 {
                row = row.point("threads", "dead letter", threads as f64);
            }
            section.rows.push(if threads == 1 { row.main() } else { row });
        }
    }
    Ok(())
}
