//! Models of the log of clock samples, and mutants of its two sides. The clock is a word that each reading increments, as
//! the counters of all processors advance together.
#![allow(clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

type Append = fn(&[AtomicU64], &Memory);
/// The ticks of the clock sample that converts a stamp; `None` if the time is unknown.
type Convert = fn(Words<'_>, u64) -> Option<u64>;

/// Words of a log of two clock samples.
const LOG_WORDS: usize = (KEPT + 1) * ROW_WORDS;

fn ticks(clock: &Memory) -> u64 {
    clock[0].fetch_add(1, Ordering::AcqRel) + 1
}

fn sample(ticks: u64) -> ClockSampleRecord {
    ClockSampleRecord { ticks, mono_ns: ticks, boot_ns: ticks, unix_ns: ticks, rate: 1, reserved: [0; 2] }
}

fn append(log: &[AtomicU64], clock: &Memory) {
    let log = Log::new(log);
    log.set_complete(ticks(clock));
    log.append(0, || sample(ticks(clock)));
}

fn convert(log: Words<'_>, stamp: u64) -> Option<u64> {
    let read = read(log, ROW_WORDS);
    let by = read.all.iter().rev().find(|sample| sample.ticks <= stamp).map_or(0, |by| by.ticks);
    read.until.is_none_or(|until| stamp <= until).then_some(by)
}

/// The sampler adds a clock sample while a thread gives a stamp. A reader that finds the record converts its stamp twice.
fn a_time_that_was_told_stays(
    append: Append,
    convert: Convert,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let (log, clock, record) = (memory(LOG_WORDS), memory(1), memory(1));
        let (reading, found) = (log.clone(), record.clone());
        let stamping = clock.clone();
        let sampler = role(move || append(&log, &clock));
        let writer = role(move || record[0].store(ticks(&stamping), Ordering::Release));
        let reader = role(move || {
            let stamp = found[0].load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if stamp > 0 {
                let times = [(); 2].map(|()| convert(Words::new(&reading), stamp));
                if let [Some(first), Some(second)] = times {
                    assert_eq!(first, second, "a time has moved");
                }
            }
        });
        play(main, vec![sampler, writer, reader]);
    })
    .preempted_at_most(1, 2)
}

#[test]
fn a_stamp_is_told_by_one_sample_or_by_none_yet() {
    a_time_that_was_told_stays(append, convert).holds();
}

#[test]
fn a_clock_that_is_read_before_readers_know_moves_a_time() {
    fn mutant(log: &[AtomicU64], clock: &Memory) {
        let sample = sample(ticks(clock));
        Log::new(log).append(0, || sample);
    }
    a_time_that_was_told_stays(mutant, convert).breaks("a time has moved");
}

#[test]
fn a_sample_that_is_added_without_a_mark_moves_a_time() {
    fn mutant(log: &[AtomicU64], clock: &Memory) {
        let log = Log::new(log);
        log.set(0, &sample(ticks(clock)));
        fence(Ordering::Release);
        log.store(USED, 1);
    }
    a_time_that_was_told_stays(mutant, convert).breaks("a time has moved");
}

#[test]
fn a_reader_that_does_not_ask_for_the_mark_moves_a_time() {
    fn mutant(log: Words<'_>, stamp: u64) -> Option<u64> {
        let all = copy(log, ROW_WORDS, KEPT);
        Some(all.iter().rev().find(|sample| sample.ticks <= stamp).map_or(0, |by| by.ticks))
    }
    a_time_that_was_told_stays(append, mutant).breaks("a time has moved");
}

/// The sampler removes the first of two clock samples, which no record needs any more, or dies in the middle. A reader
/// finds the other one.
fn the_others_stay(
    rewrite: fn(&[AtomicU64], &[ClockSampleRecord]),
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let log = memory(LOG_WORDS);
        let both = [sample(1), sample(2)];
        for (used, sample) in both.into_iter().enumerate() {
            Log::new(&log).append(used, || sample);
        }
        let reading = log.clone();
        let sampler = role(move || rewrite(&log, &both[1..]));
        let reader = role(move || {
            let read = read(Words::new(&reading), ROW_WORDS);
            if read.until.is_none() {
                let by = read.all.iter().rev().find(|sample| sample.ticks <= 2).map(|by| by.ticks);
                assert_eq!(by, Some(2), "a sample is gone");
            }
        });
        play(main, vec![sampler, reader]);
    })
    .preempted_at_most(1, 2)
}

#[test]
fn a_sample_that_is_kept_is_there_while_others_are_left_out() {
    the_others_stay(|log, kept| Log::new(log).rewrite(kept)).holds();
}

#[test]
fn a_rewriting_without_a_mark_loses_a_sample() {
    fn mutant(log: &[AtomicU64], kept: &[ClockSampleRecord]) {
        let log = Log::new(log);
        log.store(USED, 0);
        log.set(0, &kept[0]);
        log.store(USED, 1);
    }
    the_others_stay(mutant).breaks("a sample is gone");
}
