use std::hint::black_box;

use atomscope::attach::Region;
use atomscope::snapshot::Snapshot;

use super::{Context, Twins, populate};
use crate::Result;
use crate::harness::{Side, Time, compare};
use crate::record::{Row, Section};

pub fn measure(context: &Context, section: &mut Section) -> Result<()> {
    for actors in context.pick([1_000, 16_000], [100, 1_000]) {
        let twins = Twins::new(actors)?;
        populate(&*twins.ours.actors, actors);
        let path = twins.ours.region().path().ok_or("the region is private")?;
        let attached = Region::open(path, None, u64::MAX)?;
        let sides = [
            Side::new(|_, operations| {
                for _ in 0..operations {
                    drop(black_box(Region::open(path, None, u64::MAX).map(|region| Snapshot::take(&region))));
                }
            }),
            Side::new(|_, operations| {
                (0..operations).for_each(|_| drop(black_box(Snapshot::take(&attached))))
            }),
        ];
        let measured = compare(context.effort, 1, Time::Thread, &sides)?;
        section.rows.push(
            Row::of(format!("open, check and first snapshot, {:.1} k live", actors as f64 / 1e3), &measured)
                .limit("the snapshot alone", 1, &measured),
        );
    }
    Ok(())
}
