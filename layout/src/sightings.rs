//! The log of sightings: what the writer's ticks are in time, so that a time once told never changes.
//!
//! ```text
//!   row 0: changes │ used │ zero …      changes is odd while the log is being changed
//!   row 1: sequence │ SightingRecord    a seqlock cell
//!   row 2: …                            `used` of them, by their ticks
//! ```
//! A sighting holds for the stamps from its ticks on, until those of the next one; it says what these are in time, and
//! never changes. Only the sampler's thread changes the log.
//!
//! # Why a time never changes
//! Ticks of a new sighting are counted once *changes* is odd, and every core's ticks go on together. So whoever gave a
//! stamp that the new sighting holds for gave it after that, and a reader that has met the stamp, and reads the log
//! then, finds it odd or has the sighting. Where the log stays odd, the writer having died or lost its processor at
//! work, the reader knows the times of all stamps up to a count of ticks that was published before (the header's
//! ClockRecord); later ones have no time. So: **records first, then the log.**
//!
//! A sighting that no record has a stamp of may be left out ([`Log::rewrite`]); all others keep their place.

use crate::records::SightingRecord;
use crate::seqlock::{self, READ_TRIES};
use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::words::{WORD, Words};

/// Bytes of a row: sequence and record.
pub const ROW_BYTES: usize = WORD + size_of::<SightingRecord>();
/// Sightings that a writer of this version has room for. The clock's rate is corrected a dozen times in the first hours
/// and then rarely; the rest is for jumps.
pub const KEPT: usize = if cfg!(atomscope_loom) { 2 } else { 127 };

const ROW_WORDS: usize = ROW_BYTES / WORD;
const RECORD_WORDS: usize = size_of::<SightingRecord>() / WORD;
const CHANGES: usize = 0;
const USED: usize = 1;

/// The log's writing side, for its one owner. It is told how many sightings there are, and never asks the region.
#[derive(Clone, Copy)]
pub struct Log<'a>(&'a [AtomicU64]);

impl core::fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Log({} sightings)", self.capacity())
    }
}

impl<'a> Log<'a> {
    /// `words` is the section, as [`crate::RegionMap::for_capacities`] lays it out.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// How many sightings there is room for.
    pub fn capacity(&self) -> usize {
        (self.0.len() / ROW_WORDS).saturating_sub(1)
    }

    /// Appends the sighting that `sight` takes to `used` others, if there is room. Its ticks are counted by `sight`, and
    /// are no fewer than those of the others.
    pub fn append(&self, used: usize, sight: impl FnOnce() -> SightingRecord) -> Option<SightingRecord> {
        if used >= self.capacity() {
            return None;
        }
        Some(self.changing(|| {
            let sighting = sight();
            self.set(used, &sighting);
            self.store(USED, used as u64 + 1);
            sighting
        }))
    }

    /// Makes `kept` all that there is: some of those that there were, by their ticks.
    pub fn rewrite(&self, kept: &[SightingRecord]) {
        // Each is at its place or behind it: a writer that dies at work leaves all of them.
        self.changing(|| {
            kept.iter().enumerate().for_each(|(at, sighting)| self.set(at, sighting));
            self.store(USED, kept.len() as u64);
        });
    }

    fn changing<T>(&self, change: impl FnOnce() -> T) -> T {
        let at = self.0.first().map_or(0, |word| word.load(Ordering::Relaxed)) & !1;
        self.store(CHANGES, at.wrapping_add(1));
        // Seen by everybody before the clock is read, which a release fence would not see to.
        fence(Ordering::SeqCst);
        let changed = change();
        fence(Ordering::Release);
        self.store(CHANGES, at.wrapping_add(2));
        changed
    }

    fn set(&self, at: usize, sighting: &SightingRecord) {
        let words: [u64; RECORD_WORDS] = zerocopy::transmute!(*sighting);
        let row = (at + 1) * ROW_WORDS;
        seqlock::write(self.0.get(row..row + ROW_WORDS).unwrap_or_default(), &words);
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.0.get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// A log as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sightings {
    /// In their order.
    pub all: Vec<SightingRecord>,
    /// The log's *changes* when it was read.
    pub changes: u64,
    /// Whether there may be one that could not be read, since the log was being changed at each try.
    pub is_open: bool,
}

/// How often the log was changed so far; odd: it is being changed. The record whose stamp is asked about was read before.
pub fn changes(log: Words<'_>) -> u64 {
    fence(Ordering::Acquire);
    log.load(CHANGES)
}

/// Reads the log. Bounded: [`READ_TRIES`] tries.
pub fn read(log: Words<'_>, stride: usize) -> Sightings {
    let rows = (log.len() / stride.max(1)).saturating_sub(1);
    for attempt in 0..READ_TRIES {
        let before = changes(log);
        if before & 1 == 0 {
            let all = copy(log, stride, rows);
            fence(Ordering::Acquire);
            if log.load(CHANGES) == before {
                return Sightings { all, changes: before, is_open: false };
            }
        }
        pause(attempt);
    }
    let changes = changes(log);
    Sightings { all: copy(log, stride, rows), changes, is_open: true }
}

/// The rows that can be read.
fn copy(log: Words<'_>, stride: usize, rows: usize) -> Vec<SightingRecord> {
    fence(Ordering::Acquire);
    let used = usize::try_from(log.load(USED)).unwrap_or(rows).min(rows);
    let mut all = Vec::with_capacity(used);
    for row in 1..=used {
        let mut words = [0u64; RECORD_WORDS];
        let cell = log.slice(row * stride..row * stride + ROW_WORDS);
        if cell.is_some_and(|cell| seqlock::read_once(cell, &mut words).is_ok()) {
            let sighting: SightingRecord = zerocopy::transmute!(words);
            all.extend((sighting.rate != 0).then_some(sighting));
        }
    }
    all.sort_by_key(|sighting: &SightingRecord| sighting.ticks);
    all
}

#[cfg(all(test, atomscope_loom))]
mod models;
