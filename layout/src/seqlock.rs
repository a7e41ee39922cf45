//! Seqlock cell: one owner rewrites a few words; a reader gets all words of one write, or none.
//!
//! ```text
//!   word 0: sequence      even: at rest, odd: being written
//!   word 1…: the record
//! ```
//! The writer stores an odd sequence, a release fence, the words (relaxed), and an even sequence (release). A reader
//! that saw any word of a write sees, after its acquire fence, the odd sequence of that write or a later one. Its second
//! load of the sequence then differs from the first. If the writer dies in the middle, the sequence stays odd.
//!
//! ```
//! use atomscope_layout::seqlock;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let cell = [const { AtomicU64::new(0) }; 3];
//! seqlock::write(&cell, &[4, 5]);
//! let mut record = [0; 2];
//! seqlock::read(Words::new(&cell), &mut record)?;
//! assert_eq!(record, [4, 5]);
//! # Ok::<(), seqlock::Unreadable>(())
//! ```

use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::words::{self, Words};

/// How often a reader tries before it reports *unreadable*. In a loom model two tries show everything that more would.
pub const READ_TRIES: u32 = if cfg!(atomscope_loom) { 2 } else { 16 };

/// The retries that a reader may spend in one scan over many records. A healthy region never has more unfinished records
/// than it has writing threads, plus those that dead threads left. In a damaged or hostile region every record may look
/// unfinished; after the retries are spent, each further record gets a single try.
#[derive(Debug)]
pub struct Patience(u32);

impl Patience {
    /// Enough for 64 records that stay unfinished during the whole scan: 2 or 3 ms.
    pub fn for_a_scan() -> Self {
        Self(64 * READ_TRIES)
    }

    /// Pauses and returns true if another try is allowed after try number `attempt`, counted from 0.
    pub fn again(&mut self, attempt: u32) -> bool {
        if attempt + 1 >= READ_TRIES || self.0 == 0 {
            return false;
        }
        self.0 -= 1;
        pause(attempt);
        true
    }
}

/// Why a record could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The record was being written at each try; perhaps its writer died.
    #[error("the record was being written at each try")]
    Busy,
    /// The record holds values that no writer stores.
    #[error("the record holds what no writer writes")]
    Corrupt,
}

/// Writes `record`. Only the owner of the cell may call this. Wait-free.
pub fn write(cell: &[AtomicU64], record: &[u64]) {
    write_with(cell, |words| words::store(words, record));
}

/// As [`write()`]; `store` stores the words of the record, in any order and relaxed.
#[inline(always)]
pub fn write_with(cell: &[AtomicU64], store: impl FnOnce(&[AtomicU64])) {
    let Some((sequence, words)) = cell.split_first() else { return };
    let at_rest = sequence.load(Ordering::Relaxed) & !1;
    sequence.store(at_rest.wrapping_add(1), Ordering::Relaxed);
    fence(Ordering::Release);
    store(words);
    sequence.store(at_rest.wrapping_add(2), Ordering::Release);
}

/// As [`write()`], for a cell that any thread may write. False, and nothing is written, while another thread writes.
/// Wait-free.
#[must_use]
pub fn write_shared(cell: &[AtomicU64], record: &[u64]) -> bool {
    write_shared_if(cell, |_| true, |words| words::store(words, record))
}

/// As [`write_shared`], if the record in the cell is the one to replace: `is_it` gets its words, which nobody else changes
/// meanwhile. False, and nothing is written, if it is not. `store` stores the words of the record, in any order and relaxed.
#[inline(always)]
#[must_use]
pub fn write_shared_if(
    cell: &[AtomicU64],
    is_it: impl FnOnce(&[AtomicU64]) -> bool,
    store: impl FnOnce(&[AtomicU64]),
) -> bool {
    let Some((sequence, words)) = cell.split_first() else { return false };
    let at_rest = sequence.load(Ordering::Relaxed);
    let claimed = at_rest & 1 == 0
        // Acquire: the words of the writer before this one are older than those of this one.
        && sequence
            .compare_exchange(at_rest, at_rest.wrapping_add(1), Ordering::Acquire, Ordering::Relaxed)
            .is_ok();
    if !claimed {
        return false;
    }
    if !is_it(words) {
        sequence.store(at_rest, Ordering::Release);
        return false;
    }
    fence(Ordering::Release);
    store(words);
    sequence.store(at_rest.wrapping_add(2), Ordering::Release);
    true
}

/// Copies the record into `out`. Bounded: [`READ_TRIES`] tries.
///
/// # Errors
/// [`Unreadable::Busy`] if the record was being written at each try, [`Unreadable::Corrupt`] if `cell` has no words.
pub fn read(cell: Words<'_>, out: &mut [u64]) -> Result<(), Unreadable> {
    read_with_sequence(cell, out).map(|_| ())
}

/// As [`read`], and returns the sequence of the write whose words these are: twice the number of writes to the cell so far.
///
/// # Errors
/// As [`read`].
pub fn read_with_sequence(cell: Words<'_>, out: &mut [u64]) -> Result<u64, Unreadable> {
    for attempt in 0..READ_TRIES {
        match read_once(cell, out) {
            Err(Unreadable::Busy) => pause(attempt),
            read => return read,
        }
    }
    Err(Unreadable::Busy)
}

/// As [`read_with_sequence`], with a single try.
///
/// # Errors
/// As [`read`].
pub fn read_once(cell: Words<'_>, out: &mut [u64]) -> Result<u64, Unreadable> {
    let Some(words) = cell.slice(1..cell.len()) else { return Err(Unreadable::Corrupt) };
    let before = cell.load(0);
    fence(Ordering::Acquire);
    if before & 1 == 0 {
        words.copy_to(out);
        fence(Ordering::Acquire);
        if cell.load(0) == before {
            return Ok(before);
        }
    }
    Err(Unreadable::Busy)
}

#[cfg(all(test, atomscope_loom))]
mod models;
