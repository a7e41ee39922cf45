use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use atomscope::attach::Region;
use atomscope_layout::dense::SlotReader;
use atomscope_layout::records::ACTOR_WORDS;
use atomscope_layout::region::header;
use atomscope_layout::seqlock::Patience;

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
        let words = attached.words().slice(map.actors.range()).ok_or("a section lies outside the region")?;
        let used = attached.words().load(header::ACTORS_USED);
        let slots = SlotReader::new(words, map.actors.stride, used);
        let scan = || {
            let (mut record, mut patience) = ([0u64; ACTOR_WORDS], Patience::for_a_scan());
            for slot in 0..slots.len() {
                black_box(slots.read(slot, &mut record, &mut patience).is_ok());
                black_box(&record);
            }
        };
        // Reads the same bytes from ordinary memory: each slot separately.
        let memory = Mutex::new(vec![1u64; slots.len() * ACTOR_WORDS]);
        let sides = [
            Side::new(|_, operations| {
                (0..operations).for_each(|_| scan());
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
            Row::of(format!("scan of {} k actors, {} k slots", actors / 1000, slots.len() / 1000), &measured)
                .limit("memcpy", 1, &measured)
                .at_most(2.2)
                .bound_by("the copy word by word between two loads of each slot's control word"),
        );
    }
    Ok(())
}
