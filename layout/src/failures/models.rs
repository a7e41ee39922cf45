//! Models of the failure log, and mutants of its two sides.
#![allow(clippy::panic, clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

/// The four words that guard and count, and two of the record: the first stamp and the class.
const STRIDE: usize = 6;
/// Two keys with the same home.
const KEYS: [u64; 2] = [1, 2];

type Note = fn(&FailureLog<'_>, u64, u64) -> Option<u32>;
type Read = fn(Words<'_>, &mut FailureRecord) -> SlotRead;

/// A record that tells which call has stored it.
fn record_of(key: u64, stamp: u64) -> FailureRecord {
    FailureRecord { class: (10 * key + stamp) as u32, ..FailureRecord::new_zeroed() }
}

fn ship_note(log: &FailureLog<'_>, key: u64, stamp: u64) -> Option<u32> {
    log.note(key, Severity::Panic, stamp, || record_of(key, stamp))
}

/// Reads a slot. A record that is found must be whole.
fn found(words: &Memory, slot: usize, read: Read) -> Option<FailureRecord> {
    let mut record = FailureRecord::new_zeroed();
    let slot = Words::new(words).slice(slot * STRIDE..(slot + 1) * STRIDE).unwrap();
    if read(slot, &mut record) != SlotRead::Record(Severity::Panic) {
        return None;
    }
    let stored = record_of(record.key, record.first);
    assert_eq!(record.class, stored.class, "a record was read before it was whole");
    assert!(record.count > 0, "a failure was read that never happened");
    assert!(record.last >= record.first, "a failure was read that ended before it began");
    Some(record)
}

/// Three threads note two failures, one of them twice, in a log of two slots.
fn one_slot_a_failure(note: Note) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let words = memory(2 * STRIDE);
        let noting = |key: u64, stamp: u64| {
            let words = words.clone();
            role(move || note(&FailureLog::new(&words, STRIDE), key, stamp))
        };
        let [one, other] = KEYS;
        let ends = play(main, vec![noting(one, 1), noting(one, 2), noting(other, 3)]);
        let slots: Vec<usize> =
            ends.iter().map(|slot| slot.expect("there is a slot for each") as usize).collect();
        assert_eq!(slots[0], slots[1], "one failure has two slots");
        assert_ne!(slots[0], slots[2], "two failures have one slot");
        for (slot, key, count, last) in [(slots[0], one, 2, 2), (slots[2], other, 1, 3)] {
            let record = found(&words, slot, read).expect("all threads are done");
            assert_eq!((record.key, record.count, record.last), (key, count, last), "an occurrence is lost");
        }
    })
    .preempted_at_most(2, 3)
}

#[test]
fn a_failure_gets_one_slot_whoever_notes_it_first() {
    one_slot_a_failure(ship_note).holds();
}

/// As [`FailureLog::note`], with these steps.
fn note_with(
    slots: &[usize],
    log: &FailureLog<'_>,
    key: u64,
    stamp: u64,
    claim: impl Fn(&AtomicU64) -> Result<u64, u64>,
) -> Option<u32> {
    for number in slots {
        let slot = log.slot(*number);
        match claim(&slot[KEY_WORD]) {
            Ok(_) => store(slot, Severity::Panic, stamp, &record_of(key, stamp)),
            Err(held) if held == key => occurred(slot, stamp),
            Err(_) => continue,
        }
        return Some(*number as u32);
    }
    None
}

fn swapped(key: u64) -> impl Fn(&AtomicU64) -> Result<u64, u64> {
    move |held| held.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed)
}

#[test]
fn a_key_that_is_stored_without_a_swap_gives_two_failures_one_slot() {
    fn mutant(log: &FailureLog<'_>, key: u64, stamp: u64) -> Option<u32> {
        note_with(&[0, 1], log, key, stamp, |held| match held.load(Ordering::Relaxed) {
            0 => {
                held.store(key, Ordering::Relaxed);
                Ok(0)
            }
            found => Err(found),
        })
    }
    one_slot_a_failure(mutant).breaks_in_a_way(&["two failures have one slot", "an occurrence is lost"]);
}

#[test]
fn a_lost_swap_without_a_look_at_the_key_gives_one_failure_two_slots() {
    fn mutant(log: &FailureLog<'_>, key: u64, stamp: u64) -> Option<u32> {
        note_with(&[0, 1], log, key, stamp, |held| match held.load(Ordering::Relaxed) {
            0 => swapped(key)(held).map_err(|_| 0),
            found => Err(found),
        })
    }
    one_slot_a_failure(mutant).breaks_in_a_way(&["one failure has two slots", "there is a slot for each"]);
}

#[test]
fn searches_of_one_key_that_begin_at_different_slots_give_it_two() {
    fn mutant(log: &FailureLog<'_>, key: u64, stamp: u64) -> Option<u32> {
        let slots = if stamp == 1 { [0, 1] } else { [1, 0] };
        note_with(&slots, log, key, stamp, swapped(key))
    }
    one_slot_a_failure(mutant).breaks_in_a_way(&["one failure has two slots", "there is a slot for each"]);
}

/// Two threads note one failure while another thread reads it twice.
fn whole_or_absent(note: Note, read: Read) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let words = memory(STRIDE);
        let noting = |stamp: u64| {
            let words = words.clone();
            role(move || {
                note(&FailureLog::new(&words, STRIDE), KEYS[0], stamp);
            })
        };
        let (first, second) = (noting(1), noting(2));
        let reading = words.clone();
        let reader = role(move || {
            let readings = [found(&reading, 0, read), found(&reading, 0, read)];
            assert!(readings[0].is_none() || readings[1].is_some(), "a failure disappeared");
            if let [Some(before), Some(after)] = readings {
                assert!(before.count <= after.count && before.last <= after.last, "a count fell");
                assert_eq!((before.first, before.class), (after.first, after.class), "a record changed");
            }
        });
        play(main, vec![first, second, reader]);
    })
    .preempted_at_most(1, 2)
}

#[test]
fn a_failure_is_never_read_before_it_is_whole() {
    whole_or_absent(ship_note, read).holds();
}

/// As [`store`], with this order of its steps: 'c' counts, 'r' stores the record, 'd' the ready word.
fn store_in(steps: &str, order: Ordering, log: &FailureLog<'_>, key: u64, stamp: u64) -> Option<u32> {
    let slot = log.slot(0);
    if swapped(key)(&slot[KEY_WORD]).is_err() {
        occurred(slot, stamp);
        return Some(0);
    }
    let record: [u64; FAILURE_WORDS] =
        zerocopy::transmute!(FailureRecord { first: stamp, ..record_of(key, stamp) });
    for step in steps.chars() {
        match step {
            'c' => occurred(slot, stamp),
            'r' => words::store(&slot[FIRST_WORD..], &record[FIRST_WORD..]),
            _ => slot[READY_WORD].store(Severity::Panic.ready(), order),
        }
    }
    Some(0)
}

#[test]
fn a_failure_that_is_ready_before_its_record_is_read_half_written() {
    whole_or_absent(|log, key, stamp| store_in("cdr", Ordering::Release, log, key, stamp), read)
        .breaks_in_a_way(&["before it was whole", "a record changed"]);
}

#[test]
fn a_failure_that_is_ready_before_it_is_counted_never_happened() {
    whole_or_absent(|log, key, stamp| store_in("rdc", Ordering::Release, log, key, stamp), read)
        .breaks_in_a_way(&["never happened", "ended before it began"]);
}

#[test]
fn a_ready_word_without_release_is_read_half_written() {
    whole_or_absent(|log, key, stamp| store_in("crd", Ordering::Relaxed, log, key, stamp), read)
        .breaks_in_a_way(&[
            "before it was whole",
            "never happened",
            "ended before it began",
            "a record changed",
        ]);
}

#[test]
fn without_the_readers_fence_a_failure_is_read_half_written() {
    fn mutant(slot: Words<'_>, record: &mut FailureRecord) -> SlotRead {
        let mut words = [0u64; FAILURE_WORDS];
        slot.copy_to(&mut words);
        *record = zerocopy::transmute!(words);
        match Severity::of_ready(record.ready) {
            Some(severity) => SlotRead::Record(severity),
            None => SlotRead::Pending,
        }
    }
    whole_or_absent(ship_note, mutant).breaks_in_a_way(&[
        "before it was whole",
        "never happened",
        "ended before it began",
        "a record changed",
    ]);
}
