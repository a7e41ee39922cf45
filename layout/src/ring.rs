//! Ticketed ring: it keeps the newest records of many writers and numbers them without gaps.
//!
//! ```text
//!   head slot (one record's stride): │ head │ 0 … │        head: tickets handed out so far
//!   slot of ticket t, at 1 + t mod n: │ sequence │ mark │ record … │
//!                                        │          └ 1 + the highest ticket that was abandoned in this slot
//!                                        └ 2·(t+1) − 1 while t is written, 2·(t+1) when it is published; 0 at first
//! ```
//! A writer overwrites only an older record that is published. If another writer is writing in the slot, or the slot holds
//! a newer record, the ticket is *abandoned*: no writer waits. For a reader each ticket is exactly one of read, lapped,
//! abandoned or (while its writer has not finished) pending. So with all writers at rest
//! `read + lapped + abandoned = head`, unless a writer died in the middle.
//!
//! ```
//! use atomscope_layout::ring::{Ring, RingReader, SlotRead};
//! use atomscope_layout::seqlock::Patience;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let words = [const { AtomicU64::new(0) }; 3 * 8]; // the head and two slots of 8 words
//! let ring = Ring::new(&words, 8);
//! for number in 0..3 {
//!     let _ = ring.write(ring.ticket(), &[number]);
//! }
//! let (reader, mut record) = (RingReader::new(Words::new(&words), 8), [0]);
//! let mut patience = Patience::for_a_scan();
//! assert_eq!(reader.read(0, &mut record, &mut patience)?, SlotRead::Lapped);
//! assert_eq!(reader.read(2, &mut record, &mut patience)?, SlotRead::Record);
//! assert_eq!(record, [2]);
//! # Ok::<(), atomscope_layout::seqlock::Unreadable>(())
//! ```

use crate::records::{DEAD_LETTER_WORDS, JOURNAL_WRITE_WORDS};
use crate::seqlock::{Patience, READ_TRIES, Unreadable};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, WORD, Words};

/// Words of a slot before its record.
pub const SLOT_HEAD_WORDS: usize = 2;
/// Bytes of a slot of the dead-letter ring.
pub const DEAD_LETTER_SLOT_BYTES: usize = (SLOT_HEAD_WORDS + DEAD_LETTER_WORDS) * WORD;

/// Bytes of a slot of the ring of journal writes.
pub const JOURNAL_WRITE_SLOT_BYTES: usize = (SLOT_HEAD_WORDS + JOURNAL_WRITE_WORDS) * WORD;

const _: () = assert!(DEAD_LETTER_SLOT_BYTES == 384 && JOURNAL_WRITE_SLOT_BYTES == 256);

/// The ring of one section, for its writers.
#[derive(Clone, Copy)]
pub struct Ring<'a> {
    words: &'a [AtomicU64],
    stride: usize,
    slots: u64,
}

impl core::fmt::Debug for Ring<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ring({} slots)", self.slots)
    }
}

/// The result of writing a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The record is published.
    Published,
    /// The record was abandoned; its ticket is used up.
    Abandoned,
}

impl<'a> Ring<'a> {
    /// The ring over this section; `stride` is the words from one slot to the next.
    #[inline]
    pub fn new(words: &'a [AtomicU64], stride: usize) -> Self {
        let slots = (words.len() / stride.max(1)).saturating_sub(1).max(1) as u64;
        Self { words, stride, slots }
    }

    #[inline]
    fn slot_of(&self, ticket: u64) -> &'a [AtomicU64] {
        // A division costs as much as the rest of a push; a power of two needs none.
        let rest = self.slots - 1;
        let slot = if self.slots & rest == 0 { ticket & rest } else { ticket % self.slots };
        let start = (1 + slot as usize) * self.stride;
        self.words.get(start..start + self.stride).unwrap_or_default()
    }

    /// Takes the next ticket: 0, 1, 2, … Wait-free.
    #[inline]
    pub fn ticket(&self) -> u64 {
        self.words.first().map_or(0, |head| head.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes the record of `ticket`, which the calling thread took. Wait-free.
    pub fn write(&self, ticket: u64, record: &[u64]) -> Written {
        self.write_with(ticket, |to| words::store(to, record))
    }

    /// As [`Self::write`]; `write` stores the words of the record, in any order and relaxed.
    #[inline]
    pub fn write_with(&self, ticket: u64, write: impl FnOnce(&[AtomicU64])) -> Written {
        let [sequence, mark, to @ ..] = self.slot_of(ticket) else { return Written::Abandoned };
        let published = ticket.wrapping_add(1).wrapping_mul(2);
        let found = sequence.load(Ordering::Relaxed);
        let claimed = found % 2 == 0
            && found < published
            && sequence
                .compare_exchange(found, published.wrapping_sub(1), Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !claimed {
            mark.fetch_max(ticket.wrapping_add(1), Ordering::Relaxed);
            return Written::Abandoned;
        }
        fence(Ordering::Release);
        write(to);
        sequence.store(published, Ordering::Release);
        Written::Published
    }

    /// Writes the next record of a ring that only this thread writes at the time, without a locked instruction. A thread
    /// that gives the ring to another does so with Release, and the other takes it over with Acquire. Wait-free.
    pub fn push(&self, record: &[u64]) {
        self.push_with(|to| words::store(to, record));
    }

    /// As [`Self::push`]; `write` stores the words of the record, in any order and relaxed.
    #[inline]
    pub fn push_with(&self, write: impl FnOnce(&[AtomicU64])) {
        let Some(head) = self.words.first() else { return };
        let ticket = head.load(Ordering::Relaxed);
        let [sequence, _, to @ ..] = self.slot_of(ticket) else { return };
        let published = ticket.wrapping_add(1).wrapping_mul(2);
        sequence.store(published.wrapping_sub(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write(to);
        sequence.store(published, Ordering::Release);
        head.store(ticket.wrapping_add(1), Ordering::Release);
    }
}

/// The ring of one section, for a reader.
#[derive(Debug, Clone, Copy)]
pub struct RingReader<'a> {
    words: Words<'a>,
    stride: usize,
}

/// The state of a ticket, as a reader finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotRead {
    /// Read: the whole record is in the caller's buffer.
    Record,
    /// A newer record has overwritten it.
    Lapped,
    /// Its writer has given it up.
    Abandoned,
    /// Its writer has not finished; a dead writer never will.
    Pending,
}

impl<'a> RingReader<'a> {
    /// The ring over this section; `stride` is the words from one slot to the next.
    pub fn new(words: Words<'a>, stride: usize) -> Self {
        Self { words, stride }
    }

    /// Number of slots, at least 1.
    pub fn capacity(&self) -> u64 {
        (self.words.len() / self.stride.max(1)).saturating_sub(1).max(1) as u64
    }

    /// Number of tickets taken so far.
    pub fn head(&self) -> u64 {
        self.words.load(0)
    }

    /// Calls `see` with the first word of each record that is published or being written.
    pub(crate) fn each_first_word(&self, see: &mut impl FnMut(u64)) {
        let slots = (1..=self.capacity() as usize).map(|slot| slot * self.stride);
        let used = slots.take_while(|start| start + SLOT_HEAD_WORDS < self.words.len());
        used.filter(|start| self.words.load(*start) != 0)
            .for_each(|start| see(self.words.load(start + SLOT_HEAD_WORDS)));
    }

    /// Copies the record of `ticket` into `out`, or says what became of it. `ticket` must be below a head that was read
    /// before. Bounded; `patience` bounds a whole scan.
    ///
    /// # Errors
    /// [`Unreadable::Corrupt`] if the section is too small for a ring.
    pub fn read(
        &self,
        ticket: u64,
        out: &mut [u64],
        patience: &mut Patience,
    ) -> Result<SlotRead, Unreadable> {
        let start = (1 + (ticket % self.capacity()) as usize) * self.stride;
        let Some(slot) = self.words.slice(start..start + self.stride) else {
            return Err(Unreadable::Corrupt);
        };
        let Some(record) = slot.slice(SLOT_HEAD_WORDS..self.stride) else { return Err(Unreadable::Corrupt) };
        let wanted = ticket.wrapping_add(1).wrapping_mul(2);
        for attempt in 0..READ_TRIES {
            let before = slot.load(0);
            fence(Ordering::Acquire);
            if before > wanted {
                return Ok(SlotRead::Lapped);
            }
            if before == wanted {
                record.copy_to(out);
                fence(Ordering::Acquire);
                // Only a newer ticket overwrites a published record.
                return Ok(if slot.load(0) == before { SlotRead::Record } else { SlotRead::Lapped });
            }
            if before != wanted.wrapping_sub(1) && slot.load(1) > ticket {
                // This ticket or a later one was abandoned here. If it was a later one, the writer of this ticket is a
                // whole round late; its record may still appear.
                return Ok(SlotRead::Abandoned);
            }
            if !patience.again(attempt) {
                break;
            }
        }
        Ok(SlotRead::Pending)
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::sync::counting::steps_of;

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes there")]
    fn a_push_takes_as_many_steps_in_a_long_ring_as_in_a_short_one() {
        for slots in [1, 2, 3, 64, 100, 1024] {
            let words: Vec<AtomicU64> = (0..(slots + 1) * 8).map(|_| AtomicU64::new(0)).collect();
            let ring = Ring::new(&words, 8);
            for _ in 0..2 * slots + 1 {
                // The head; the sequence twice, and the record; the head again.
                assert_eq!(steps_of(|| ring.push(&[1, 2, 3])), 1 + 2 + 3 + 1);
            }
        }
    }
}
