use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use atomscope::attach::Region;
use atomscope_layout::records::ACTOR_WORDS;
use atomscope_layout::region::header;
use atomscope_layout::seqlock::Patience;
use atomscope_layout::table::SlotReader;

use super::{Context, Twins, populate};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    for actors in context.pick([10_000, 100_000], [1_000, 2_000]) {
        let twins = Twins::new(actors)?;
        populate(&*twins.ours.actors, actors);
        let attached =
            Region::open(twins.ours.region().path().ok_or("the region is private")?, None, u64::MAX)?;
        let reader = attached.reader()?;
        let map = reader.map();
        let words = |section: atomscope_layout::region::Section| {
            attached.words().slice(section.range()).ok_or("a section lies outside the region")
        };
        let used = attached.words().load(header::ACTORS_USED);
        let table = SlotReader::new(words(map.actors)?, map.actors.stride, used);
        let scan = || {
            let (mut record, mut held) = ([0u64; ACTOR_WORDS], 0);
            let mut patience = Patience::for_a_scan();
            for slot in 0..table.len() {
                held += usize::from(table.read(slot, &mut record, &mut patience) == Ok(true));
                black_box(&record);
            }
            held
        };
        let held = scan();
        // Reads the same bytes from ordinary memory, each record separately.
        let memory = Mutex::new(vec![1u64; held * ACTOR_WORDS]);
        let sides = [
            Side::new(|_, operations| {
                (0..operations).for_each(|_| {
                    black_box(scan());
                })
            }),
            Side::new(|_, operations| {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                for _ in 0..operations {
                    let mut record = [0u64; ACTOR_WORDS];
                    for chunk in memory.chunks_exact(ACTOR_WORDS) {
                        record.copy_from_slice(chunk);
                        black_box(&record);
                    }
                }
            }),
        ];
        let measured = compare(context.effort, 1, Time::Thread, &sides)?;
        section.rows.push(
            Row::of(format!("scan of {} k actors, {} k slots", actors / 1000, table.len() / 1000), &measured)
                .limit("memcpy of the used slots", 1, &measured)
                .at_most(2.2)
                .bound_by(
                    "the two looks at each slot's control word; a table of this size stays in the cache, so that the \
                     copy beside it waits for no memory",
                ),
        );
    }
    Ok(())
}
