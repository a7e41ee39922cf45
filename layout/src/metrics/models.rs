//! Models of a slot that is given to another metric, and a mutant.
#![allow(clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

fn gauge(slot: &[AtomicU64], name: &str, uses: u32) {
    Description { name, labels: &[], unit: "", kind: Kind::Gauge, help: "" }.write(slot, uses);
}

/// A metric is removed and another one gets its slot and its value's word, while a reader reads them. The reader gets each
/// name with its own value, or nothing.
fn a_value_of_its_own(vacate: fn(&[AtomicU64])) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        // A descriptor with room for eight bytes of text, and the word of the value.
        let (slot, value): (Memory, Memory) = (memory(3), memory(1));
        gauge(&slot, "a", 0);
        value[0].store(1, Ordering::Relaxed);
        let (reading, read_value) = (slot.clone(), value.clone());
        let writer = role(move || {
            vacate(&slot);
            value[0].store(2, Ordering::Relaxed);
            gauge(&slot, "b", 1);
        });
        let reader = role(move || {
            let read = |metric: Metric| Some((metric.name, read_value[0].load(Ordering::Relaxed)));
            if let Some((name, value)) = read_between(Words::new(&reading), read) {
                assert_eq!(value, if name == "a" { 1 } else { 2 }, "mixed");
            }
        });
        play(main, vec![writer, reader]);
    })
}

#[test]
fn a_metric_is_read_with_its_own_value_or_not_at_all() {
    a_value_of_its_own(vacate).holds();
}

/// The slot is empty at first. A metric is registered and removed, and the value's word gets that of the next one.
fn a_slot_that_was_empty(
    read: fn(Words<'_>, &AtomicU64) -> Option<(String, u64)>,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let (slot, value): (Memory, Memory) = (memory(3), memory(1));
        let (reading, read_value) = (slot.clone(), value.clone());
        let writer = role(move || {
            value[0].store(1, Ordering::Relaxed);
            gauge(&slot, "a", 0);
            vacate(&slot);
            value[0].store(2, Ordering::Relaxed);
        });
        let reader = role(move || {
            if let Some((_, value)) = read(Words::new(&reading), &read_value[0]) {
                assert_eq!(value, 1, "mixed");
            }
        });
        play(main, vec![writer, reader]);
    })
}

#[test]
fn a_metric_that_came_and_went_meanwhile_is_read_with_its_own_value_or_not_at_all() {
    a_slot_that_was_empty(|slot, value| {
        read_between(slot, |metric| Some((metric.name, value.load(Ordering::Relaxed))))
    })
    .holds();
}

#[test]
fn if_an_empty_slot_is_looked_into_a_metric_is_read_with_the_next_ones_value() {
    a_slot_that_was_empty(|slot, value| {
        let before = slot.load(0);
        let found = (read_descriptor(slot)?.name, value.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        (slot.load(0) == before).then_some(found)
    })
    .breaks("mixed");
}

#[test]
fn without_the_fence_a_metric_is_read_with_the_next_ones_value() {
    a_value_of_its_own(|slot| slot[0].store(0, Ordering::Relaxed)).breaks("mixed");
}
