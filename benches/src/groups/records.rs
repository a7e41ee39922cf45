//! The publishing of a record of the application's own, beside what a program would use within itself.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use atomscope_probe::{RecordHandle, Region};

use super::{Context, Copies};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

atomscope_probe::record! {
    struct Of64 { words: [u64; 8] }
    pub struct Of256 { words: [u64; 32] }
    struct Of512 { words: [u64; 64] }
}

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    let region = Region::builder("bench").build()?;
    of_size::<Of64, 64>(context, section, region.record("64")?, |word| Of64 { words: [word; 8] })?;
    of_size::<Of256, 256>(context, section, region.record("256")?, |word| Of256 { words: [word; 32] })?;
    of_size::<Of512, 512>(context, section, region.record("512")?, |word| Of512 { words: [word; 64] })
}

fn of_size<R: atomscope_probe::records::Record + Copy + Send + Sync, const BYTES: usize>(
    context: &Context,
    section: &mut Section,
    record: RecordHandle<R>,
    of: fn(u64) -> R,
) -> Result<()> {
    // A state that is there already, as for the copy: to make one is the application's work.
    let (record, copies, state) = (Mutex::new(record), Copies::<BYTES>::new(1), of(7));
    let (locked, swapped) = (Mutex::new(state), ArcSwap::from_pointee(state));
    let sides = [
        Side::new(|_, operations| {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            (0..operations).for_each(|_| record.publish(black_box(&state)));
        }),
        Side::new(|thread, operations| copies.run(thread, operations)),
        Side::new(|_, operations| {
            for _ in 0..operations {
                *locked.lock().unwrap_or_else(PoisonError::into_inner) = *black_box(&state);
            }
        }),
        Side::new(|_, operations| (0..operations).for_each(|_| swapped.store(Arc::new(*black_box(&state))))),
    ];
    let measured = compare(context.effort, 1, Time::Thread, &sides)?;
    let beside = |row: Row, name: &'static str, side| row.compared_with(name, side, &measured);
    let row = Row::of(format!("record of {BYTES} B published"), &measured).limit("memcpy", 1, &measured);
    let row = beside(row, "Mutex<T>", 2).goal("≤ 1.5 × memcpy", measured.cost(0) <= 1.5 * measured.cost(1));
    section.rows.push(row);
    let row = Row::of(format!("record of {BYTES} B published, beside arc-swap"), &measured);
    section.rows.push(beside(row, "arc-swap", 3));
    Ok(())
}
