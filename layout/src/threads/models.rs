//! Models of a thread's slot, and mutants of its writers and its reader.
#![allow(clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

/// The stamps of a thread by its count: its claim, its first sleep, and its wake.
const STAMPS: [u64; 3] = [20, 30, 40];

type Claim = fn(&Threads<'_>, u32, u64, [u8; 16], u64) -> Option<usize>;
type Change = fn(&Thread<'_>, u64, u64);
type Read = fn(Words<'_>) -> Result<ThreadRecord, Unreadable>;

/// Thread 2 takes the slot of thread 1, which has ended: before the reading if it then changes its state so often, else at the same
/// time. A reading is of one thread, and its stamp is never older than its count.
fn one_thread_whole(
    claim: Claim,
    change: Change,
    read: Read,
    changes: u64,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    let model = Model::new(2, move |main| {
        let slot: Memory = memory(THREAD_WORDS);
        let threads = Threads::new(&slot);
        let first = threads.thread(threads.claim(1, 1, [1; 16], 10).unwrap()).unwrap();
        first.ends(15);
        let claims = move |threads: &Threads<'_>| claim(threads, 2, 2, [2; 16], STAMPS[0]).unwrap();
        let early = (changes > 0).then(|| claims(&threads));
        let reading = slot.clone();
        let owner = role(move || {
            let threads = Threads::new(&slot);
            let thread = threads.thread(early.unwrap_or_else(|| claims(&threads))).unwrap();
            (0..changes).for_each(|parks| change(&thread, parks, STAMPS[parks as usize + 1]));
        });
        let reader = role(move || {
            let Ok(record) = read(Words::new(&reading)) else { return };
            let of = record.tid();
            assert!(record.runtime == of.into() && record.name == [of as u8; 16], "torn");
            let least = if of == 1 { 15 } else { STAMPS[record.parks as usize] };
            assert!(record.since >= least, "the stamp is older than the count");
        });
        play(main, vec![owner, reader]);
    });
    model.preempted_at_most(2, 2)
}

fn usual_claim(threads: &Threads<'_>, tid: u32, runtime: u64, name: [u8; 16], stamp: u64) -> Option<usize> {
    threads.claim(tid, runtime, name, stamp)
}

fn usual_change(thread: &Thread<'_>, parks: u64, stamp: u64) {
    thread.change(parks, stamp);
}

#[test]
fn a_reader_gets_one_thread_whole_or_none() {
    one_thread_whole(usual_claim, usual_change, read, 0).holds();
}

#[test]
fn a_thread_has_never_slept_or_run_for_longer_than_it_has() {
    one_thread_whole(usual_claim, usual_change, read, 2).holds();
}

/// A claim whose parts are told.
fn claim_with(
    threads: &Threads<'_>,
    tid: u32,
    name: [u8; 16],
    stamp: u64,
    marks: bool,
    fences: bool,
) -> Option<usize> {
    let Thread(slot) = threads.thread(0)?;
    if marks {
        slot[IDENTITY].store(halves(tid, CLAIMED), Ordering::Relaxed);
    }
    if fences {
        fence(Ordering::Release);
    }
    let name: [u64; 2] = zerocopy::transmute!(name);
    let words = [tid.into(), 0, stamp, name[0], name[1]];
    slot.iter().skip(RUNTIME).zip(words).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    slot[IDENTITY].store(halves(tid, IN_USE), Ordering::Release);
    Some(0)
}

#[test]
fn a_slot_that_is_not_marked_while_it_is_claimed_is_torn() {
    fn mutant(threads: &Threads<'_>, tid: u32, _: u64, name: [u8; 16], stamp: u64) -> Option<usize> {
        claim_with(threads, tid, name, stamp, false, true)
    }
    one_thread_whole(mutant, usual_change, read, 0).breaks("torn");
}

#[test]
fn without_its_release_fence_a_claim_is_torn() {
    fn mutant(threads: &Threads<'_>, tid: u32, _: u64, name: [u8; 16], stamp: u64) -> Option<usize> {
        claim_with(threads, tid, name, stamp, true, false)
    }
    one_thread_whole(mutant, usual_change, read, 0).breaks("torn");
}

#[test]
fn a_count_that_is_stored_before_its_stamp_makes_a_thread_sleep_too_long() {
    fn mutant(thread: &Thread<'_>, parks: u64, stamp: u64) {
        thread.0[PARKS].store(parks + 1, Ordering::Release);
        thread.0[SINCE].store(stamp, Ordering::Relaxed);
    }
    one_thread_whole(usual_claim, mutant, read, 1).breaks("older than the count");
}

#[test]
fn a_count_that_is_stored_with_relaxed_order_may_come_before_its_stamp() {
    fn mutant(thread: &Thread<'_>, parks: u64, stamp: u64) {
        thread.0[SINCE].store(stamp, Ordering::Relaxed);
        thread.0[PARKS].store(parks + 1, Ordering::Relaxed);
    }
    one_thread_whole(usual_claim, mutant, read, 1).breaks("older than the count");
}

#[test]
fn a_count_that_is_read_after_its_stamp_makes_a_thread_sleep_too_long() {
    fn mutant(slot: Words<'_>) -> Result<ThreadRecord, Unreadable> {
        let record = read(slot)?;
        Ok(ThreadRecord { parks: slot.load(PARKS), ..record })
    }
    one_thread_whole(usual_claim, usual_change, mutant, 1).breaks("older than the count");
}
