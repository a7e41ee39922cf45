//! Models of a document that is replaced while it is read, and mutants of both sides.
#![allow(clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

/// Words of a copy of one row of two words.
const WORDS: usize = HEAD_WORDS + 2 * 6;

type Write = fn(&[AtomicU64], u64);
type Read = fn(Words<'_>) -> Option<[u64; 2]>;

fn written(document: &[AtomicU64], value: u64) {
    write(document, value, |rows| rows.push(1, value, []));
}

fn read_once(document: Words<'_>) -> Option<[u64; 2]> {
    let read = read(document).ok()??;
    Some([read.stamp, read.rows.first()?.number])
}

/// A document that was written once is replaced twice, so that the second copy overwrites the first.
fn whole_or_not_at_all(write: Write, read: Read) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let document: Memory = memory(WORDS);
        written(&document, 1);
        let reading = document.clone();
        let writer = role(move || {
            write(&document, 2);
            write(&document, 3);
        });
        let reader = role(move || {
            if let Some([stamp, number]) = read(Words::new(&reading)) {
                assert_eq!(stamp, number, "torn");
            }
        });
        play(main, vec![writer, reader]);
    })
}

#[test]
fn a_document_is_read_whole_or_not_at_all() {
    whole_or_not_at_all(written, read_once).preempted_at_most(1, 2).holds();
}

fn write_with(document: &[AtomicU64], value: u64, fenced: bool, order: Ordering) {
    let next = document[0].load(Ordering::Relaxed) + 1;
    if fenced {
        fence(Ordering::Release);
    }
    let copy = &document[copy_of(document.len(), next)];
    words::store(copy, &[6, 0, value, 0, 1 | 2 << 32, value]);
    document[0].store(next, order);
}

#[test]
fn without_the_writers_fence_a_document_is_torn() {
    whole_or_not_at_all(|document, value| write_with(document, value, false, Ordering::Release), read_once)
        .preempted_at_most(1, 3)
        .breaks("torn");
}

#[test]
fn with_a_relaxed_flip_a_document_is_torn() {
    whole_or_not_at_all(|document, value| write_with(document, value, true, Ordering::Relaxed), read_once)
        .preempted_at_most(1, 3)
        .breaks("torn");
}

/// A single try, with the given fences and second load.
fn try_once(document: Words<'_>, fences: [bool; 2], second_look: bool) -> Option<[u64; 2]> {
    let flips = document.load(0);
    if fences[0] {
        fence(Ordering::Acquire);
    }
    let copy = document.slice(copy_of(document.len(), flips)).unwrap();
    let (stamp, number) = (copy.load(2), copy.load(5));
    if fences[1] {
        fence(Ordering::Acquire);
    }
    (!second_look || document.load(0) == flips).then_some([stamp, number])
}

#[test]
fn both_fences_and_the_second_look_are_enough() {
    whole_or_not_at_all(written, |words| try_once(words, [true, true], true)).preempted_at_most(1, 3).holds();
}

#[test]
fn without_the_readers_first_fence_a_document_is_torn() {
    whole_or_not_at_all(written, |words| try_once(words, [false, true], true))
        .preempted_at_most(2, 3)
        .breaks("torn");
}

#[test]
fn without_the_readers_second_fence_a_document_is_torn() {
    whole_or_not_at_all(written, |words| try_once(words, [true, false], true))
        .preempted_at_most(2, 3)
        .breaks("torn");
}

#[test]
fn without_the_second_look_a_document_is_torn() {
    whole_or_not_at_all(written, |words| try_once(words, [true, true], false))
        .preempted_at_most(2, 3)
        .breaks("torn");
}
