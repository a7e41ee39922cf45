//! Seqlock cell: one owner writes a few words, any number of readers get all of them from one write or none.
//!
//! ```text
//!   word 0: sequence      even: at rest, odd: being written
//!   word 1…: the record
//! ```
//! The writer makes the sequence odd, then a release fence, the words (relaxed), and an even sequence (release). A
//! reader that saw any word of a write sees, after its acquire fence, that write's odd sequence or a later one, so
//! that its second look at the sequence differs from its first. A sequence left odd by a dead writer stays odd.

use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::words::{self, Words};

/// How often a reader tries before it says *unreadable*. (Two show a loom model everything that more would.)
pub const READ_TRIES: u32 = if cfg!(atomscope_loom) { 2 } else { 16 };

/// What a reader spends on waiting for writers in one pass over many records, however many of them are in a writer's
/// hand. There are never more records in hand than threads that write, but for those that dead threads have left; a
/// damaged or hostile region may show them all so, and then most get a single look.
#[derive(Debug)]
pub struct Patience(u32);

impl Patience {
    /// Enough for 64 records that stay in hand throughout: 2 or 3 ms.
    pub fn for_a_pass() -> Self {
        Self(64 * READ_TRIES)
    }

    /// Waits before another try, if there may be one after number `attempt`, counted from 0.
    pub fn again(&mut self, attempt: u32) -> bool {
        if attempt + 1 >= READ_TRIES || self.0 == 0 {
            return false;
        }
        self.0 -= 1;
        pause(attempt);
        true
    }
}

/// Why a reader could not have the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The writer was at work at each try, or died while it was.
    #[error("the record was being written at each try")]
    Busy,
    /// The record holds what its writer never writes.
    #[error("the record holds what no writer writes")]
    Corrupt,
}

/// Writes `record`. Only the cell's one owner may call this. Wait-free.
pub fn write(cell: &[AtomicU64], record: &[u64]) {
    let Some((sequence, words)) = cell.split_first() else { return };
    let at_rest = sequence.load(Ordering::Relaxed) & !1;
    sequence.store(at_rest.wrapping_add(1), Ordering::Relaxed);
    fence(Ordering::Release);
    words::store(words, record);
    sequence.store(at_rest.wrapping_add(2), Ordering::Release);
}

/// Copies the record into `out`. Bounded: [`READ_TRIES`] tries.
pub fn read(cell: Words<'_>, out: &mut [u64]) -> Result<(), Unreadable> {
    for attempt in 0..READ_TRIES {
        match read_once(cell, out) {
            Err(Unreadable::Busy) => pause(attempt),
            read => return read,
        }
    }
    Err(Unreadable::Busy)
}

/// The same in a single try.
pub fn read_once(cell: Words<'_>, out: &mut [u64]) -> Result<(), Unreadable> {
    let Some(words) = cell.slice(1..cell.len()) else { return Err(Unreadable::Corrupt) };
    let before = cell.load(0);
    fence(Ordering::Acquire);
    if before & 1 == 0 {
        words.copy_to(out);
        fence(Ordering::Acquire);
        if cell.load(0) == before {
            return Ok(());
        }
    }
    Err(Unreadable::Busy)
}

#[cfg(all(test, atomscope_loom))]
mod models;
