//! Models of the heartbeats in the header, and mutants of their two sides.

use super::*;
use crate::decode::Beat;
use crate::models::{Model, memory, play, role};

type Write = fn(&[AtomicU64], u64);
type Read = fn(Words<'_>) -> Beat;

const AT: core::ops::Range<usize> = 0..2;

fn beat(words: &[AtomicU64], mono_ns: u64) {
    HeaderWriter::new(words).beat(AT, mono_ns);
}

fn read(words: Words<'_>) -> Beat {
    Beat::read(words, AT)
}

/// A thread that beats twice, at 10 and at 20, and a reader. No beat may be seen without its time.
fn a_beat_has_its_time(write: Write, read: Read) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let words = memory(2);
        let reading = words.clone();
        let beating = role(move || {
            write(&words, 10);
            write(&words, 20);
        });
        let reader = role(move || {
            let Beat { count, mono_ns } = read(Words::new(&reading));
            assert!(mono_ns >= 10 * count, "a beat without its time");
        });
        play(main, vec![beating, reader]);
    })
}

#[test]
fn a_beat_that_is_seen_has_its_time_or_a_later_one() {
    a_beat_has_its_time(beat, read).holds();
}

#[test]
fn without_the_writers_fence_a_first_beat_has_the_time_0() {
    fn mutant(words: &[AtomicU64], mono_ns: u64) {
        words[1].store(mono_ns, Ordering::Relaxed);
        words[0].store(words[0].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    a_beat_has_its_time(mutant, read).breaks("a beat without its time");
}

#[test]
fn a_count_before_its_time_is_seen_without_it() {
    fn mutant(words: &[AtomicU64], mono_ns: u64) {
        words[0].store(words[0].load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        words[1].store(mono_ns, Ordering::Relaxed);
    }
    a_beat_has_its_time(mutant, read).breaks("a beat without its time");
}

#[test]
fn without_the_readers_fence_a_first_beat_has_the_time_0() {
    fn mutant(words: Words<'_>) -> Beat {
        Beat { count: words.load(0), mono_ns: words.load(1) }
    }
    a_beat_has_its_time(beat, mutant).breaks("a beat without its time");
}

#[test]
fn a_reader_that_takes_the_time_first_sees_a_beat_without_it() {
    fn mutant(words: Words<'_>) -> Beat {
        let mono_ns = words.load(1);
        fence(Ordering::Acquire);
        Beat { count: words.load(0), mono_ns }
    }
    a_beat_has_its_time(beat, mutant).breaks("a beat without its time");
}
