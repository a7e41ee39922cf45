//! Models of the counter lanes, and mutants of their hand-over.

use super::*;
use crate::models::{Model, memory, play, role};

type Claim = fn(&[AtomicU64]) -> Option<u32>;
type GiveBack = fn(&[AtomicU64], u32);
type Add = fn(&Lanes<'_>, u32);

fn add_one(lanes: &Lanes<'_>, lane: u32) {
    lanes.add(lane, 0, 1);
}

/// Two threads each claim the only free lane (or use the overflow lane), add one twice and give it back, while a third
/// reads the sum twice.
fn every_count_arrives(
    claim: Claim,
    add: Add,
    give_back: GiveBack,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let bitmap = memory(1);
        bitmap[0].store(!1, Ordering::Relaxed);
        let counters = memory(2);
        let counting = || {
            let (bitmap, counters) = (bitmap.clone(), counters.clone());
            role(move || {
                let lanes = Lanes::new(&counters, 1);
                let lane = claim(&bitmap).unwrap_or(OVERFLOW);
                add(&lanes, lane);
                add(&lanes, lane);
                if lane != OVERFLOW {
                    give_back(&bitmap, lane);
                }
            })
        };
        let reading = counters.clone();
        let reader = role(move || {
            let first = sum(Words::new(&reading), 1, 0);
            let second = sum(Words::new(&reading), 1, 0);
            assert!(first <= second && second <= 4, "a sum went back");
        });
        play(main, vec![counting(), counting(), reader]);
        assert_eq!(sum(Words::new(&counters), 1, 0), 4, "counts were lost");
        assert_eq!(bitmap[0].load(Ordering::Relaxed), !1, "the lane was not given back");
    })
    .preempted_at_most(2, 3)
}

#[test]
fn no_count_is_lost_when_a_lane_changes_hands() {
    every_count_arrives(claim, add_one, give_back).holds();
}

#[test]
fn a_relaxed_claim_loses_counts() {
    fn mutant(bitmap: &[AtomicU64]) -> Option<u32> {
        bitmap[0].compare_exchange(!1, !0, Ordering::Relaxed, Ordering::Relaxed).ok().map(|_| 1)
    }
    every_count_arrives(mutant, add_one, give_back).breaks("counts were lost");
}

#[test]
fn a_relaxed_return_loses_counts() {
    fn mutant(bitmap: &[AtomicU64], lane: u32) {
        bitmap[0].fetch_and(!(1 << (lane - 1)), Ordering::Relaxed);
    }
    every_count_arrives(claim, add_one, mutant).breaks("counts were lost");
}

#[test]
fn a_claim_in_two_steps_gives_one_lane_to_two_threads() {
    fn mutant(bitmap: &[AtomicU64]) -> Option<u32> {
        let free = bitmap[0].load(Ordering::Acquire) == !1;
        bitmap[0].store(!0, Ordering::Relaxed);
        free.then_some(1)
    }
    every_count_arrives(mutant, add_one, give_back).breaks("counts were lost");
}

#[test]
fn an_overflow_lane_without_a_locked_instruction_loses_counts() {
    fn mutant(lanes: &Lanes<'_>, lane: u32) {
        if let Some(word) = lanes.word(lane as usize, 0) {
            word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
    fn none(_: &[AtomicU64]) -> Option<u32> {
        None
    }
    every_count_arrives(none, mutant, give_back).breaks("counts were lost");
}

/// Three threads claim two lanes.
fn one_holder_a_lane(claim: Claim) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let bitmap = memory(1);
        bitmap[0].store(!3, Ordering::Relaxed);
        let claiming = || {
            let bitmap = bitmap.clone();
            role(move || claim(&bitmap))
        };
        let mut got = play(main, vec![claiming(), claiming(), claiming()]);
        got.sort_unstable();
        assert_eq!(got, [None, Some(1), Some(2)], "a lane has two holders");
    })
}

#[test]
fn a_lane_has_one_holder() {
    one_holder_a_lane(claim).holds();
}

#[test]
fn a_claim_that_does_not_look_again_leaves_a_lane_to_two_holders() {
    fn mutant(bitmap: &[AtomicU64]) -> Option<u32> {
        let held = bitmap[0].load(Ordering::Relaxed);
        let free = (!held).trailing_zeros();
        bitmap[0].fetch_or((1u64).checked_shl(free)?, Ordering::Acquire);
        Some(free + 1)
    }
    one_holder_a_lane(mutant).breaks("a lane has two holders");
}

const SPAWNED: usize = 0;
const STOPPED: usize = 1;

type Order = fn();

/// A thread that counts a spawn, one that sees it and counts its stop, and a reader of both: never more stops than
/// spawns.
fn a_difference_is_not_below_the_truth(
    before_end: Order,
    after_ends: Order,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let (counters, actor) = (memory(6), memory(1));
        let (spawning, stopping, reading) = (counters.clone(), counters.clone(), counters);
        let found = actor.clone();
        let spawner = role(move || {
            Lanes::new(&spawning, 2).add(1, SPAWNED, 1);
            actor[0].store(1, Ordering::Release);
        });
        let stopper = role(move || {
            if found[0].load(Ordering::Acquire) == 1 {
                before_end();
                Lanes::new(&stopping, 2).add(2, STOPPED, 1);
            }
        });
        let reader = role(move || {
            let stopped = sum(Words::new(&reading), 2, STOPPED);
            after_ends();
            let spawned = sum(Words::new(&reading), 2, SPAWNED);
            assert!(stopped <= spawned, "a stop without its spawn");
        });
        play(main, vec![spawner, stopper, reader]);
    })
    .preempted_at_most(1, 2)
}

#[test]
fn no_stop_is_read_without_its_spawn() {
    a_difference_is_not_below_the_truth(before_end, after_ends).holds();
}

#[test]
fn without_the_writers_fence_a_stop_is_read_without_its_spawn() {
    a_difference_is_not_below_the_truth(|| {}, after_ends).breaks("a stop without its spawn");
}

#[test]
fn without_the_readers_fence_a_stop_is_read_without_its_spawn() {
    a_difference_is_not_below_the_truth(before_end, || {}).breaks("a stop without its spawn");
}
