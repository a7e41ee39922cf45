use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use atomscope_probe::Region;
use metrics::Recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
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
    let (recorder, theirs) = (region.recorder(), PrometheusBuilder::new().build_recorder());
    let kept = |recorder: &dyn Recorder| {
        metrics::with_local_recorder(recorder, || metrics::counter!("bench.kept", "kind" => "order"))
    };
    let (kept, their_kept) = (kept(&recorder), kept(&theirs));
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
        let asked = [asking(&recorder), asking(&theirs)];
        let asked = compare(context.effort, threads, Time::Thread, &asked)?;
        let of_handle = |counter| {
            Side::new(move |_, operations| {
                let counter: &metrics::Counter = counter;
                (0..operations).for_each(|_| counter.increment(black_box(1)));
            })
        };
        let handles = [of_handle(&kept), of_handle(&their_kept), ours()];
        let handles = compare(context.effort, threads, Time::Thread, &handles)?;
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
        section.rows.push(
            Row::of(of("`counter!` of the facade `metrics`, known key"), &asked).compared_with(
                "exporter-prometheus",
                1,
                &asked,
            ),
        );
        section.rows.push(
            Row::of(of("counter of the facade, kept"), &handles)
                .compared_with("exporter-prometheus", 1, &handles)
                .limit("counter add", 2, &handles),
        );
    }
    Ok(())
}

/// Asks this recorder for a counter each time, as the macro does. It is the thread's recorder, which costs as much as the
/// process's, so that both sides can be in one process.
fn asking<'a>(recorder: &'a (dyn Recorder + Sync)) -> Side<'a> {
    Side::new(move |_, operations| {
        metrics::with_local_recorder(recorder, || {
            for _ in 0..operations {
                metrics::counter!("bench.asked", "kind" => "order").increment(black_box(1));
            }
        });
    })
}
