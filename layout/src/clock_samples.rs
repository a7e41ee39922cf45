//! The log of clock samples. It converts ticks of the writer's clock to times, so that the time of a stamp never changes
//! after it was shown once.
//!
//! ```text
//!   row 0: changes │ used │ complete │ zero …   changes is odd while the log is being changed
//!   row 1: sequence │ ClockSampleRecord         a seqlock cell
//!   row 2: …                                    `used` of them, in the order of their ticks
//! ```
//! A sample is valid for the stamps from its own ticks up to the ticks of the next sample, and it never changes. Only the
//! sampler thread changes the log.
//!
//! # Why the time of a stamp never changes
//! The writer reads the ticks of a new sample after it made *changes* odd, and all cores count ticks together. So a stamp
//! that belongs to the new sample was given after that. A reader that has read such a stamp, and then reads the log, either
//! finds *changes* odd or finds the sample.
//!
//! *Changes* stays odd if the writer died or lost its processor in the middle. Then the reader knows the times of all
//! stamps up to the ticks in *complete*, which the writer stored while the log was at rest; later stamps have no time yet.
//! So: **read the records first, then the log.**
//!
//! The writer may remove a sample that no record needs ([`Log::rewrite`]); all others keep their order.
//!
//! ```
//! use atomscope_layout::clock_samples::{self, Log, ROW_BYTES};
//! use atomscope_layout::records::ClockSampleRecord;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let section = [const { AtomicU64::new(0) }; 3 * ROW_BYTES / 8];
//! let log = Log::new(&section);
//! let rate = ClockSampleRecord::RATE_ONE;
//! log.append(0, || ClockSampleRecord { ticks: 100, rate, ..ClockSampleRecord::default() });
//! assert_eq!(clock_samples::read(Words::new(&section), ROW_BYTES / 8).all[0].ticks, 100);
//! ```

use crate::records::ClockSampleRecord;
use crate::seqlock::{self, READ_TRIES};
use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::words::{WORD, Words};

/// Bytes of a row: sequence and record.
pub const ROW_BYTES: usize = WORD + size_of::<ClockSampleRecord>();
/// Clock samples that a writer of this version can keep. The sampler corrects the rate about a dozen times in the first
/// hours and then rarely; the other rows are for jumps of the clock.
pub const KEPT: usize = if cfg!(atomscope_loom) { 2 } else { 127 };

const ROW_WORDS: usize = ROW_BYTES / WORD;
const RECORD_WORDS: usize = size_of::<ClockSampleRecord>() / WORD;
const CHANGES: usize = 0;
const USED: usize = 1;
const COMPLETE: usize = 2;

/// The log, for its only writer. The writer passes in the number of samples; it never reads that from the region.
#[derive(Clone, Copy)]
pub struct Log<'a>(&'a [AtomicU64]);

impl core::fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Log({} samples)", self.capacity())
    }
}

impl<'a> Log<'a> {
    /// The log in this section, as [`crate::RegionMap::for_capacities`] lays it out.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// How many samples the section can hold.
    pub fn capacity(&self) -> usize {
        (self.0.len() / ROW_WORDS).saturating_sub(1)
    }

    /// Appends a sample after the `used` ones; `None` if the log is full. `take` reads the clock, and its ticks must not be
    /// lower than those of the others.
    pub fn append(&self, used: usize, take: impl FnOnce() -> ClockSampleRecord) -> Option<ClockSampleRecord> {
        if used >= self.capacity() {
            return None;
        }
        Some(self.changing(|| {
            let sample = take();
            self.set(used, &sample);
            self.store(USED, used as u64 + 1);
            sample
        }))
    }

    /// Removes all samples except `kept`: samples of the log, in the order of their ticks.
    pub fn rewrite(&self, kept: &[ClockSampleRecord]) {
        // A sample only moves to a lower row, and lower rows are written first. So a writer that dies here leaves all kept
        // samples readable.
        self.changing(|| {
            kept.iter().enumerate().for_each(|(at, sample)| self.set(at, sample));
            self.store(USED, kept.len() as u64);
        });
    }

    /// Records that no later sample begins before these ticks. Call it while the log is at rest, with ticks that were read
    /// after the last change.
    pub fn set_complete(&self, ticks: u64) {
        // A reader that sees these ticks also sees the samples before them.
        fence(Ordering::Release);
        self.store(COMPLETE, ticks);
    }

    fn changing<T>(&self, change: impl FnOnce() -> T) -> T {
        let at = self.0.first().map_or(0, |word| word.load(Ordering::Relaxed)) & !1;
        self.store(CHANGES, at.wrapping_add(1));
        // All cores must see the odd number before the clock is read; a release fence would not ensure that.
        fence(Ordering::SeqCst);
        let changed = change();
        fence(Ordering::Release);
        self.store(CHANGES, at.wrapping_add(2));
        changed
    }

    fn set(&self, at: usize, sample: &ClockSampleRecord) {
        let words: [u64; RECORD_WORDS] = zerocopy::transmute!(*sample);
        let row = (at + 1) * ROW_WORDS;
        seqlock::write(self.0.get(row..row + ROW_WORDS).unwrap_or_default(), &words);
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.0.get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// A log that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// The samples, in the order of their ticks.
    pub all: Vec<ClockSampleRecord>,
    /// *Changes* of the log when it was read.
    pub changes: u64,
    /// If a newer sample may be missing, because the log was being changed at each try: the ticks up to which none is.
    pub until: Option<u64>,
}

/// *Changes* of the log: it grows with each change and is odd during one. Read the record whose stamp is to be converted
/// before this.
pub fn changes(log: Words<'_>) -> u64 {
    fence(Ordering::Acquire);
    log.load(CHANGES)
}

/// Reads the log; `stride` is the words from one row to the next. Bounded: [`READ_TRIES`] tries.
pub fn read(log: Words<'_>, stride: usize) -> Samples {
    let rows = (log.len() / stride.max(1)).saturating_sub(1);
    // Loaded before the samples: no sample that is added later begins before these ticks.
    let complete = log.load(COMPLETE);
    for attempt in 0..READ_TRIES {
        let before = changes(log);
        if before & 1 == 0 {
            let all = copy(log, stride, rows);
            fence(Ordering::Acquire);
            if log.load(CHANGES) == before {
                return Samples { all, changes: before, until: None };
            }
        }
        pause(attempt);
    }
    let changes = changes(log);
    Samples { all: copy(log, stride, rows), changes, until: Some(complete) }
}

/// The samples in rows that can be read.
fn copy(log: Words<'_>, stride: usize, rows: usize) -> Vec<ClockSampleRecord> {
    fence(Ordering::Acquire);
    let used = usize::try_from(log.load(USED)).unwrap_or(rows).min(rows);
    let mut all = Vec::with_capacity(used);
    for row in 1..=used {
        let mut words = [0u64; RECORD_WORDS];
        let cell = log.slice(row * stride..row * stride + ROW_WORDS);
        if cell.is_some_and(|cell| seqlock::read_once(cell, &mut words).is_ok()) {
            let sample: ClockSampleRecord = zerocopy::transmute!(words);
            all.extend((sample.rate != 0).then_some(sample));
        }
    }
    all.sort_by_key(|sample: &ClockSampleRecord| sample.ticks);
    all
}

#[cfg(all(test, atomscope_loom))]
mod models;
