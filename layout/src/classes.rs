//! What is counted for each class of instrumented actors, and for each variant of its messages.
//!
//! ```text
//!   class: │ name │ spawned │ stopped │ failures │ restarts │ untracked │ overwritten │ long polls │ handle times │ depths │
//!   row:   │ class + 1 │ name of the variant │                     row number c is class number c without a variant
//!   lane:  │ row 0: handled │ busy_ns │ row 1: … │ … │ class 0: polls │ class 1: … │ …  as in crate::lanes
//! ```
//! # Who may touch which word, when
//! | word | whoever registers the class or row | any thread of the probe | reader |
//! |---|---|---|---|
//! | name of a class, both words of a row | stores once | loads | loads |
//! | the other numbers of a class | – | locked adds | loads |
//! | buckets of handle times; their greatest | – | a locked add; a fetch-max if it is greater | loads |
//! | depths | – | [`crate::histogram::record`] | loads |
//! | a lane of rows | – | as a lane of counters: [`crate::lanes`] | loads |
//!
//! Every message counts in exactly one row of its class. So the sum over the rows of a class is what its actors handled.
//!
//! ```
//! use atomscope_layout::classes::{CLASS_WORDS, Class, number};
//! use atomscope_layout::histogram;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let memory: Vec<AtomicU64> = (0..CLASS_WORDS).map(|_| AtomicU64::new(0)).collect();
//! let class = Class::new(&memory);
//! class.count(number::SPAWNED, 1);
//! class.handle_time(1_000, 16);
//! let times = histogram::read_of_buckets(Words::new(class.handle_times()));
//! assert_eq!((times.count, times.greatest), (16, 1_000));
//! ```

use core::mem::offset_of;
use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::histogram::{self, HISTOGRAM_WORDS};
use crate::sync::{AtomicU64, Ordering};
use crate::words::WORD;

/// The numbers of a class. Two histograms follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClassRecord {
    /// The number of the interned name of the class; 0: the record is unused. Record 0 has no name: it counts all classes
    /// that found no record.
    pub name: u64,
    /// Instrumented actors that began to run.
    pub spawned: u64,
    /// Those of them that have ended.
    pub stopped: u64,
    /// Handlers that panicked.
    pub failures: u64,
    /// Actors that were made again after a panic.
    pub restarts: u64,
    /// Instrumented actors that found no free cell.
    pub untracked: u64,
    /// Starts of actors whose interceptor was replaced by another one, so that nothing counts their messages.
    pub overwritten: u64,
    /// Polls of its actors that held their worker for long, on runtimes that are watched from their builders; 0 too if its polls are
    /// not watched.
    pub long_polls: u64,
}

/// Word indices of a [`ClassRecord`].
pub mod number {
    use super::{ClassRecord, WORD, offset_of};

    /// [`ClassRecord::name`].
    pub const NAME: usize = 0;
    /// [`ClassRecord::spawned`].
    pub const SPAWNED: usize = offset_of!(ClassRecord, spawned) / WORD;
    /// [`ClassRecord::stopped`].
    pub const STOPPED: usize = offset_of!(ClassRecord, stopped) / WORD;
    /// [`ClassRecord::failures`].
    pub const FAILURES: usize = offset_of!(ClassRecord, failures) / WORD;
    /// [`ClassRecord::restarts`].
    pub const RESTARTS: usize = offset_of!(ClassRecord, restarts) / WORD;
    /// [`ClassRecord::untracked`].
    pub const UNTRACKED: usize = offset_of!(ClassRecord, untracked) / WORD;
    /// [`ClassRecord::overwritten`].
    pub const OVERWRITTEN: usize = offset_of!(ClassRecord, overwritten) / WORD;
    /// [`ClassRecord::long_polls`].
    pub const LONG_POLLS: usize = offset_of!(ClassRecord, long_polls) / WORD;
}

/// Words of the numbers of a class.
pub const CLASS_HEAD_WORDS: usize = size_of::<ClassRecord>() / WORD;
/// The words of a class with the histogram of handle times in nanoseconds. Its count and its sum stay 0.
pub const HANDLE_TIMES: Range<usize> = CLASS_HEAD_WORDS..CLASS_HEAD_WORDS + HISTOGRAM_WORDS;
/// The words of a class with the histogram of mailbox depths.
pub const DEPTHS: Range<usize> = HANDLE_TIMES.end..HANDLE_TIMES.end + HISTOGRAM_WORDS;
/// Words of a class.
pub const CLASS_WORDS: usize = DEPTHS.end;

/// A row: a class, or a variant of its messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VariantRecord {
    /// The number of the class, plus 1; 0: the row is unused.
    pub class: u64,
    /// The number of the interned name of the variant; 0: messages whose variant is not known.
    pub name: u64,
}

/// Words of a row.
pub const VARIANT_WORDS: usize = size_of::<VariantRecord>() / WORD;
/// Words of a row in a lane: handled, and time in handlers in nanoseconds.
pub const HANDLED_WORDS: usize = 2;

/// Words of a lane with so many rows and classes: behind the rows it has the polls of each class.
pub const fn lane_words(rows: usize, classes: usize) -> usize {
    polls_word(rows, classes)
}

/// The word of a lane with so many rows that counts the polls of the actors of `class`.
#[inline]
pub const fn polls_word(rows: usize, class: usize) -> usize {
    HANDLED_WORDS * rows + class
}

const _: () = {
    assert!(size_of::<ClassRecord>() == 64 && CLASS_WORDS * WORD == 3136);
    assert!(number::SPAWNED == 1 && number::STOPPED == 2 && number::FAILURES == 3 && number::RESTARTS == 4);
    assert!(number::UNTRACKED == 5 && number::OVERWRITTEN == 6 && number::LONG_POLLS == 7);
    assert!(size_of::<VariantRecord>() == 16);
};

/// A class, for writers.
#[derive(Clone, Copy)]
pub struct Class<'a>(&'a [AtomicU64]);

impl<'a> Class<'a> {
    /// The class in these words.
    #[inline]
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Gives the class its name. Call it once.
    pub fn register(&self, name: u32) {
        if let Some(word) = self.0.first() {
            word.store(name.into(), Ordering::Release);
        }
    }

    /// The number of its name; 0: it has none.
    pub fn name(&self) -> u32 {
        self.0.first().map_or(0, |word| word.load(Ordering::Relaxed) as u32)
    }

    /// Adds `n` to a [`number`]. One locked add.
    pub fn count(&self, number: usize, n: u64) {
        if let Some(word) = self.0.get(number) {
            word.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts a handler that took so long, for `weight` messages. One locked add, and a fetch-max if none took longer.
    #[inline]
    pub fn handle_time(&self, ns: u64, weight: u64) {
        histogram::record_in_bucket(self.handle_times(), ns, weight);
    }

    /// Counts the depth of a mailbox.
    pub fn depth(&self, depth: u64) {
        histogram::record(self.0.get(DEPTHS).unwrap_or_default(), depth);
    }

    /// The histogram of handle times.
    #[inline]
    pub fn handle_times(&self) -> &'a [AtomicU64] {
        self.0.get(HANDLE_TIMES).unwrap_or_default()
    }
}

impl core::fmt::Debug for Class<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Class")
    }
}

/// Gives `row`, the words of a [`VariantRecord`], to a variant of `class`; 0 for the row of the class itself. Call it once.
pub fn register_row(row: &[AtomicU64], class: u16, variant: u32) {
    if let [owner, name, ..] = row {
        name.store(variant.into(), Ordering::Relaxed);
        owner.store(u64::from(class) + 1, Ordering::Release);
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::words::Words;

    fn memory(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn each_number_stands_in_its_own_word() {
        let words = memory(CLASS_WORDS);
        let class = Class::new(&words);
        class.register(9);
        for (at, number) in (number::SPAWNED..=number::LONG_POLLS).enumerate() {
            class.count(number, at as u64 + 1);
        }
        let mut head = [0; CLASS_HEAD_WORDS];
        Words::new(&words).copy_to(&mut head);
        let record: ClassRecord = zerocopy::transmute!(head);
        let expected = ClassRecord {
            name: 9,
            spawned: 1,
            stopped: 2,
            failures: 3,
            restarts: 4,
            untracked: 5,
            overwritten: 6,
            long_polls: 7,
        };
        assert_eq!(record, expected);
    }

    #[test]
    fn times_are_weighted_and_depths_are_not() {
        let words = memory(CLASS_WORDS);
        let class = Class::new(&words);
        class.handle_time(1_000, 16);
        class.handle_time(500, 1);
        class.depth(7);
        let times = histogram::read_of_buckets(Words::new(class.handle_times()));
        assert_eq!((times.count, times.greatest), (17, 1_000));
        let depths = histogram::read(Words::new(&words[DEPTHS]));
        assert_eq!((depths.count, depths.sum), (1, 7));
        let others = words.iter().take(CLASS_HEAD_WORDS).chain(&words[HANDLE_TIMES.start..][..2]);
        assert!(others.into_iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_row_knows_its_class_and_its_variant() {
        let words = memory(VARIANT_WORDS);
        register_row(&words, 5, 8);
        let mut row = [0; VARIANT_WORDS];
        Words::new(&words).copy_to(&mut row);
        let row: VariantRecord = zerocopy::transmute!(row);
        assert_eq!(row, VariantRecord { class: 6, name: 8 });
    }
}
