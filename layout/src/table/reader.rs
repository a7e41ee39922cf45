//! Slots, for a reader.

use super::slots::{Control, State};
use crate::seqlock::{Patience, READ_TRIES, Unreadable};
use crate::sync::{Ordering, fence};
use crate::words::Words;

/// The slots of one section, for a reader. A slot is copied with its control word, which is the first word of a record.
///
/// ```
/// use atomscope_layout::table::SlotReader;
/// use atomscope_layout::seqlock::Patience;
/// use atomscope_layout::sync::AtomicU64;
/// use atomscope_layout::words::Words;
///
/// // Two slots of four words. The first one is live: its generation is 1, its state 2.
/// let slots: Vec<_> = [1 << 24 | 2, 7, 8, 9, 0, 0, 0, 0].into_iter().map(AtomicU64::new).collect();
/// let reader = SlotReader::new(Words::new(&slots), 4, 2);
/// let (mut record, mut patience) = ([0; 4], Patience::for_a_scan());
/// assert_eq!(reader.read(0, &mut record, &mut patience), Ok(true));
/// assert_eq!(record[1..], [7, 8, 9]);
/// assert_eq!(reader.read(1, &mut record, &mut patience), Ok(false));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SlotReader<'a> {
    slots: Words<'a>,
    stride: usize,
    used: usize,
}

impl<'a> SlotReader<'a> {
    /// The slots of this section; `stride` is the words from one slot to the next, and `used` what the header says about the
    /// slots that were ever taken. Slots beyond them are free.
    pub fn new(slots: Words<'a>, stride: usize, used: u64) -> Self {
        let count = slots.len() / stride.max(1);
        Self { slots, stride, used: usize::try_from(used).unwrap_or(count).min(count) }
    }

    /// Number of slots that were ever taken.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no slot was ever taken.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Copies the record in slot `index` into `out`, all words of one generation. False if the slot is free; then `out` means
    /// nothing. Bounded; `patience` bounds a whole scan.
    ///
    /// # Errors
    /// [`Unreadable::Busy`] if the record was being written at each try, [`Unreadable::Corrupt`] if there is no such slot.
    pub fn read(&self, index: usize, out: &mut [u64], patience: &mut Patience) -> Result<bool, Unreadable> {
        self.read_used(index, out, out.len(), |_| 0, patience)
    }

    /// As [`Self::read`], but copies only the first `head` words of the record, and further words up to `used` of `out` with
    /// these words. `used` may be called with a torn head; then the record is copied again.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[inline]
    pub fn read_used(
        &self,
        index: usize,
        out: &mut [u64],
        head: usize,
        used: impl Fn(&[u64]) -> usize,
        patience: &mut Patience,
    ) -> Result<bool, Unreadable> {
        let slot = index.checked_mul(self.stride).and_then(|at| self.slots.slice(at..at + self.stride));
        let slot = slot.filter(|slot| !slot.is_empty()).ok_or(Unreadable::Corrupt)?;
        let head = head.min(out.len());
        for attempt in 0..READ_TRIES {
            let before = slot.load(0);
            fence(Ordering::Acquire);
            match Control(before).state() {
                State::Free | State::Orphan => return Ok(false),
                State::Busy => {}
                State::Live => {
                    slot.copy_to(out.get_mut(..head).ok_or(Unreadable::Corrupt)?);
                    let end = used(out).min(slot.len()).max(head);
                    if let (Some(words), Some(rest)) = (slot.slice(head..end), out.get_mut(head..)) {
                        words.copy_to(rest);
                    }
                    fence(Ordering::Acquire);
                    if slot.load(0) == before {
                        return Ok(true);
                    }
                }
            }
            if !patience.again(attempt) {
                break;
            }
        }
        Err(Unreadable::Busy)
    }

    /// The version of slot `index`: another number whenever the slot holds another record.
    #[inline]
    pub fn version(&self, index: usize) -> u64 {
        self.slots.load(index * self.stride)
    }

    /// One word of slot `index`, unless the slot is free. Nothing guards it: it may be of a record that is being written.
    #[inline]
    pub fn held_word(&self, index: usize, word: usize) -> Option<u64> {
        let is_held = matches!(Control(self.version(index)).state(), State::Busy | State::Live);
        is_held.then(|| self.slots.load(index * self.stride + word))
    }
}

/// Whether a slot with this control word is being written.
pub fn is_busy(control: u64) -> bool {
    Control(control).state() == State::Busy
}

/// The same generation in the state BUSY. In a copy of a region it marks a record that could not be copied whole.
pub fn busy(control: u64) -> u64 {
    Control(control).in_state(State::Busy).0
}

/// The same generation and state, without a link.
pub fn unlinked(control: u64) -> u64 {
    Control(control).in_state(Control(control).state()).0
}
