use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use atomscope_probe::Region;
use prometheus::{IntCounter, IntCounterVec, Opts};

use super::{Context, thread_counts};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

/// One word for each thread, each on its own cache line.
#[repr(align(128))]
#[derive(Default)]
struct Word(AtomicU64);

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let region = Region::builder("bench").build()?;
    let counter = region.counter("bench.operations", "operations", "What this benchmark did");
    let prometheus = IntCounter::new("operations", "What this benchmark did")?;
    let labelled = IntCounterVec::new(Opts::new("labelled", "What this benchmark did"), &["kind"])?;
    let mut alone = f64::NAN;
    for threads in thread_counts() {
        let words: Vec<Word> = (0..threads).map(|_| Word::default()).collect();
        let ours = || Side::new(|_, operations| (0..operations).for_each(|_| counter.add(black_box(1))));
        let sides = [
            ours(),
            Side::new(|_, operations| (0..operations).for_each(|_| prometheus.inc_by(black_box(1)))),
            Side::new(|thread, operations| {
                let word = black_box(&words[thread].0);
                for _ in 0..operations {
                    word.store(word.load(Ordering::Relaxed).wrapping_add(black_box(1)), Ordering::Relaxed);
                }
            }),
            Side::new(|_, operations| {
                (0..operations)
                    .for_each(|_| labelled.with_label_values(&[black_box("order")]).inc_by(black_box(1)));
            }),
        ];
        let measured = compare(context.effort, threads, Time::Thread, &sides)?;
        let of = |text: &str| match threads {
            1 => text.to_owned(),
            _ => format!("{text}, {threads} threads"),
        };
        let mut row = Row::of(of("counter add"), &measured)
            .compared_with("prometheus", 1, &measured)
            .limit("plain store", 2, &measured)
            .bound_by(
                "the forwarding of the word that the previous addition stored to the load of the next one",
            )
            .point("threads", "counter", threads as f64)
            .main();
        if threads == 1 {
            alone = row.ours;
            row = row.at_least(6.0).at_most(2.0);
        } else {
            row = row.at_least(6.0).goal("≤ 1.2 × one thread", measured.cost(0) <= 1.2 * alone);
        }
        section.rows.push(row);
        section.rows.push(Row::of(of("counter add, beside one with a label"), &measured).compared_with(
            "prometheus vec",
            3,
            &measured,
        ));
    }
    Ok(())
}
