//! Models of the seqlock cell, and mutants of its two sides.
#![allow(clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

type Write = fn(&[AtomicU64], &[u64]);
type Read = fn(Words<'_>, &mut [u64]) -> Result<(), Unreadable>;

/// An owner that makes these writes, and a reader that looks several times. A look gets what the one before returned, at first 0.
fn owner_and_reader(
    writes: impl Fn(&[AtomicU64]) + Copy + Send + Sync + 'static,
    reads: usize,
    look: impl Fn(Words<'_>, u64) -> u64 + Copy + Send + Sync + 'static,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let cell: Memory = memory(3);
        let reading = cell.clone();
        let owner = role(move || writes(&cell));
        let reader = role(move || {
            (0..reads).fold(0, |last, _| look(Words::new(&reading), last));
        });
        play(main, vec![owner, reader]);
    })
}

/// An owner that writes twice, and a reader that reads several times. Each reading is one whole write, never older than the
/// reading before.
fn one_write_or_none(
    write: Write,
    read: Read,
    reads: usize,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    let writes = move |cell: &[AtomicU64]| [1, 2].into_iter().for_each(|value| write(cell, &[value, value]));
    owner_and_reader(writes, reads, move |cell, last| {
        let mut out = [0; 2];
        if read(cell, &mut out).is_err() {
            return last;
        }
        assert_eq!(out[0], out[1], "torn");
        assert!(out[0] >= last, "went back");
        out[0]
    })
}

#[test]
fn a_reader_gets_one_write_whole_or_none() {
    one_write_or_none(write, read, 1).holds();
}

#[test]
fn a_reader_never_gets_an_older_write_than_before() {
    one_write_or_none(write, read, 2).preempted_at_most(2, 3).holds();
}

type Sequenced = fn(Words<'_>, &mut [u64]) -> Result<u64, Unreadable>;

/// An owner that writes all words of a cell and then only the first one, as an own record is claimed and published. The
/// reader's sequence says which of the writes it has.
fn the_sequence_says_which_write(
    read: Sequenced,
    reads: usize,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    let writes = |cell: &[AtomicU64]| {
        write(cell, &[1, 1]);
        write(&cell[..2], &[2]);
    };
    owner_and_reader(writes, reads, move |cell, last| {
        let mut out = [0; 2];
        if let Ok(sequence) = read(cell, &mut out) {
            let expected = [[0, 0], [1, 1], [2, 1]];
            assert_eq!(expected.get(sequence as usize / 2), Some(&out), "of another write");
        }
        last
    })
}

#[test]
fn a_shorter_write_leaves_the_rest_of_the_one_before_and_the_sequence_counts_both() {
    the_sequence_says_which_write(read_with_sequence, 1).holds();
    the_sequence_says_which_write(read_with_sequence, 2).preempted_at_most(2, 3).holds();
}

#[test]
fn a_sequence_that_is_loaded_after_the_words_may_be_that_of_another_write() {
    fn mutant(cell: Words<'_>, out: &mut [u64]) -> Result<u64, Unreadable> {
        read(cell, out)?;
        Ok(cell.load(0))
    }
    the_sequence_says_which_write(mutant, 1).breaks("of another write");
}

type WriteShared = fn(&[AtomicU64], &[u64]) -> bool;

/// Two threads that each write once, and a reader. A reading is one whole write.
fn one_of_two_writes(write: WriteShared) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let cell: Memory = memory(3);
        let writer = |value: u64| {
            let cell = cell.clone();
            role(move || {
                let _ = write(&cell, &[value, value]);
            })
        };
        let reading = cell.clone();
        let reader = role(move || {
            let mut out = [0; 2];
            if read(Words::new(&reading), &mut out).is_ok() {
                assert_eq!(out[0], out[1], "torn");
            }
        });
        play(main, vec![writer(1), writer(2), reader]);
    })
}

#[test]
fn of_two_shared_writes_a_reader_gets_one_whole_or_none() {
    one_of_two_writes(write_shared).preempted_at_most(2, 3).holds();
}

#[test]
fn without_a_claim_two_shared_writes_tear_a_record() {
    fn mutant(cell: &[AtomicU64], record: &[u64]) -> bool {
        write(cell, record);
        true
    }
    one_of_two_writes(mutant).preempted_at_most(2, 3).breaks("torn");
}

#[test]
fn without_its_release_fence_a_shared_write_is_torn() {
    fn mutant(cell: &[AtomicU64], record: &[u64]) -> bool {
        let at_rest = cell[0].load(Ordering::Relaxed);
        let claimed = at_rest & 1 == 0
            && cell[0].compare_exchange(at_rest, at_rest + 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if claimed {
            words::store(&cell[1..], record);
            cell[0].store(at_rest + 2, Ordering::Release);
        }
        claimed
    }
    one_of_two_writes(mutant).preempted_at_most(2, 3).breaks("torn");
}

#[test]
fn without_the_release_fence_a_record_is_torn() {
    fn mutant(cell: &[AtomicU64], record: &[u64]) {
        let at_rest = cell[0].load(Ordering::Relaxed) & !1;
        cell[0].store(at_rest + 1, Ordering::Relaxed);
        words::store(&cell[1..], record);
        cell[0].store(at_rest + 2, Ordering::Release);
    }
    one_write_or_none(mutant, read, 1).breaks("torn");
}

#[test]
fn without_the_odd_sequence_a_record_is_torn() {
    fn mutant(cell: &[AtomicU64], record: &[u64]) {
        let at_rest = cell[0].load(Ordering::Relaxed) & !1;
        fence(Ordering::Release);
        words::store(&cell[1..], record);
        cell[0].store(at_rest + 2, Ordering::Release);
    }
    one_write_or_none(mutant, read, 1).breaks("torn");
}

#[test]
fn with_a_relaxed_end_a_record_is_torn() {
    fn mutant(cell: &[AtomicU64], record: &[u64]) {
        let at_rest = cell[0].load(Ordering::Relaxed) & !1;
        cell[0].store(at_rest + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        words::store(&cell[1..], record);
        cell[0].store(at_rest + 2, Ordering::Relaxed);
    }
    one_write_or_none(mutant, read, 1).breaks("torn");
}

/// A single try of a reader, with the given fences and second load.
fn try_once(
    cell: Words<'_>,
    out: &mut [u64],
    fences: [bool; 2],
    second_look: bool,
) -> Result<(), Unreadable> {
    let before = cell.load(0);
    if fences[0] {
        fence(Ordering::Acquire);
    }
    cell.slice(1..cell.len()).unwrap().copy_to(out);
    if fences[1] {
        fence(Ordering::Acquire);
    }
    let same = !second_look || cell.load(0) == before;
    if before & 1 == 0 && same { Ok(()) } else { Err(Unreadable::Busy) }
}

#[test]
fn a_single_try_with_both_fences_and_the_second_look_is_enough() {
    one_write_or_none(write, |cell, out| try_once(cell, out, [true, true], true), 1).holds();
}

#[test]
fn without_the_readers_first_fence_a_record_is_torn() {
    one_write_or_none(write, |cell, out| try_once(cell, out, [false, true], true), 1).breaks("torn");
}

#[test]
fn without_the_readers_second_fence_a_record_is_torn() {
    one_write_or_none(write, |cell, out| try_once(cell, out, [true, false], true), 1).breaks("torn");
}

#[test]
fn without_the_readers_second_look_a_record_is_torn() {
    one_write_or_none(write, |cell, out| try_once(cell, out, [true, true], false), 1).breaks("torn");
}
