//! Models of an instance that is removed while others count in it, and mutants of both sides.
#![allow(clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Model, memory, play, role};
use crate::table::Shape;
use crate::table::at_rest::Memory;

/// One slot, up to its numbers.
const SHAPE: Shape = Shape { slots: 1, stride: NUMBERS_WORD + NUMBERS, lanes: 0, hot_lines: 1 };

fn record(key: Key) -> InstanceRecord {
    InstanceRecord::new(key, None, 1, Domain::Key, "").0
}

type With = fn(&Instances<'_>, Key) -> bool;
type Remove = fn(&Instances<'_>, Instance) -> bool;

/// One thread counts in the first instance while another removes it and gives the slot to a second.
fn what_is_counted_belongs_to_nobody_else(
    with: With,
    remove: Remove,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let (table, pins) = (Memory::new(SHAPE), memory(SHAPE.slots));
        let (first, second) = (Key(1 << 46 | 1 << 6, 1), Key(1 << 46 | 2 << 6, 2));
        let of = move |run: fn(&Instances<'_>, Key, Key, With, Remove) -> u64| {
            let (table, pins) = (table.clone(), pins.clone());
            move || run(&Instances::new(table.table(), &pins), first, second, with, remove)
        };
        of(|instances, first, _, _, _| u64::from(instances.make(&record(first)).is_some()))();
        let counts = role(of(|instances, first, _, with, _| u64::from(with(instances, first))));
        let removes = role(of(|instances, first, second, _, remove| {
            let instance = instances.find(first).unwrap();
            if !remove(instances, instance) {
                return 2;
            }
            instances.make(&record(second)).map_or(3, |_| 1)
        }));
        let ends = play(main, vec![counts, removes]);
        let after = of(|instances, first, second, _, _| {
            let number = |key| instances.find(key).map(|at| instances.numbers(at)[0].load(Ordering::Relaxed));
            assert_eq!(number(second).unwrap_or(0), 0, "counted for another");
            number(first).map_or(9, |count| count)
        })();
        if ends[1] == 2 {
            assert_eq!(after, ends[0], "a count was lost");
        }
    })
}

fn counted(instances: &Instances<'_>, key: Key) -> bool {
    instances.with(key, |numbers| numbers[0].fetch_add(1, Ordering::Relaxed)).is_some()
}

#[test]
fn a_count_goes_to_its_own_instance_or_nowhere() {
    what_is_counted_belongs_to_nobody_else(counted, |instances, at| instances.remove(at, |_| {}))
        .preempted_at_most(1, 2)
        .holds();
}

#[test]
fn without_a_pin_a_count_goes_to_the_next_tenant() {
    fn unpinned(instances: &Instances<'_>, key: Key) -> bool {
        let Some(at) = instances.find(key) else { return false };
        let stands = instances.table.stands(at.index, at.control);
        if stands {
            instances.numbers(at)[0].fetch_add(1, Ordering::Relaxed);
        }
        stands
    }
    what_is_counted_belongs_to_nobody_else(unpinned, |instances, at| instances.remove(at, |_| {}))
        .preempted_at_most(1, 2)
        .breaks("counted for another");
}

#[test]
fn without_the_second_look_a_count_goes_to_the_next_tenant() {
    fn unseen(instances: &Instances<'_>, key: Key) -> bool {
        let Some(at) = instances.find(key) else { return false };
        instances.pins[at.index].fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        instances.numbers(at)[0].fetch_add(1, Ordering::Relaxed);
        instances.pins[at.index].fetch_sub(1, Ordering::Release);
        true
    }
    what_is_counted_belongs_to_nobody_else(unseen, |instances, at| instances.remove(at, |_| {}))
        .preempted_at_most(1, 2)
        .breaks("counted for another");
}

#[test]
fn a_remover_that_ignores_pins_gives_a_count_to_the_next_tenant() {
    fn careless(instances: &Instances<'_>, at: Instance) -> bool {
        let [_, first, second, ..] = instances.table.slot(at.index) else { return false };
        let key = Key(first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
        instances.table.remove(NO_LANE, key, |_| true)
    }
    what_is_counted_belongs_to_nobody_else(counted, careless)
        .preempted_at_most(1, 2)
        .breaks("counted for another");
}
