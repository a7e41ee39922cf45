//! Threads of watched async runtimes: whether each sleeps or runs, and since when.
//!
//! ```text
//!   slot: │ identity │ runtime │ parks │ since │ name (16 bytes) │ 0 │ 0 │        64 bytes, one line
//!   state: 0 free ──► 3 being claimed ──► 1 in use ──► 2 ended ──► 3 …
//! ```
//! Whoever has changed the state to 3 owns the slot; from then on only the thread itself writes it. A reader copies a slot
//! between two loads of `identity`: [`read`]. A thread that goes to sleep or wakes up stores twice, the stamp first. So the
//! stamp that belongs to a count is never older than the change, and a thread is never said to have slept or run for longer
//! than it has.
//!
//! ```
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::threads::{self, THREAD_WORDS, Threads};
//! use atomscope_layout::words::Words;
//! let memory = [const { AtomicU64::new(0) }; THREAD_WORDS];
//! let threads = Threads::new(&memory);
//! let number = threads.claim(4711, 0, *b"tokio-rt-worker\0", 10).ok_or("all slots are taken")?;
//! let thread = threads.thread(number).ok_or("no such slot")?;
//! thread.parks(20);
//! let record = threads::read(Words::new(&memory))?;
//! assert_eq!((record.tid(), record.is_parked(), record.since), (4711, true, 20));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::mem::offset_of;
use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::seqlock::{Patience, Unreadable};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{WORD, Words, halves};

/// A thread of a watched runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ThreadRecord {
    /// `state << 32 | thread id`.
    pub identity: u64,
    /// The number of its runtime, in the order in which runtimes were watched.
    pub runtime: u64,
    /// How often it went to sleep or woke up as a worker. Odd: it sleeps. 0: it never slept, as a thread for blocking calls.
    pub parks: u64,
    /// The stamp of the last change: that of its start if there was none.
    pub since: u64,
    /// Its name as the kernel knows it; the rest is 0.
    pub name: [u8; 16],
    /// Zero.
    pub reserved: [u64; 2],
}

/// Words of a slot.
pub const THREAD_WORDS: usize = size_of::<ThreadRecord>() / WORD;

const IDENTITY: usize = 0;
const RUNTIME: usize = offset_of!(ThreadRecord, runtime) / WORD;
const PARKS: usize = offset_of!(ThreadRecord, parks) / WORD;
const SINCE: usize = offset_of!(ThreadRecord, since) / WORD;
/// The words of a slot with the thread's name.
pub const NAME: Range<usize> =
    offset_of!(ThreadRecord, name) / WORD..offset_of!(ThreadRecord, reserved) / WORD;

const _: () = {
    assert!(size_of::<ThreadRecord>() == 64);
    assert!(RUNTIME == 1 && PARKS == 2 && SINCE == 3 && NAME.start == 4 && NAME.end == 6);
};

const IN_USE: u32 = 1;
const ENDED: u32 = 2;
const CLAIMED: u32 = 3;

fn state(identity: u64) -> u32 {
    (identity >> 32) as u32
}

/// An identity of no thread. In a copy of a region it marks a slot that could not be copied whole.
pub const CLAIMING: u64 = (CLAIMED as u64) << 32;

/// Whether a slot with this identity is being written.
pub fn is_being_claimed(identity: u64) -> bool {
    state(identity) == CLAIMED
}

impl ThreadRecord {
    /// The id of the thread, in the pid namespace of its process.
    pub fn tid(&self) -> u32 {
        self.identity as u32
    }

    /// Whether there is or was a thread.
    pub fn is_used(&self) -> bool {
        [IN_USE, ENDED].contains(&state(self.identity))
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        state(self.identity) == ENDED
    }

    /// Whether it sleeps, as a worker without work.
    pub fn is_parked(&self) -> bool {
        self.parks % 2 == 1
    }
}

/// The slots of a region, for writers.
#[derive(Clone, Copy)]
pub struct Threads<'a>(&'a [AtomicU64]);

impl<'a> Threads<'a> {
    /// The slots in these words.
    #[inline]
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Takes a slot for the calling thread; its number, or `None` if all are in use. One pass over the slots.
    pub fn claim(&self, tid: u32, runtime: u64, name: [u8; 16], stamp: u64) -> Option<usize> {
        let number = (0..self.0.len() / THREAD_WORDS).find(|number| {
            let Some(Thread(slot)) = self.thread(*number) else { return false };
            let held = slot[IDENTITY].load(Ordering::Relaxed);
            let claimed = halves(tid, CLAIMED);
            let is_free = ![IN_USE, CLAIMED].contains(&state(held));
            is_free
                && slot[IDENTITY]
                    .compare_exchange(held, claimed, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        })?;
        let Thread(slot) = self.thread(number)?;
        // A reader that sees a word of this thread sees the claim, too.
        fence(Ordering::Release);
        let name: [u64; 2] = zerocopy::transmute!(name);
        let words = [runtime, 0, stamp, name[0], name[1]];
        slot.iter().skip(RUNTIME).zip(words).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        slot[IDENTITY].store(halves(tid, IN_USE), Ordering::Release);
        Some(number)
    }

    /// The slot with this number, which the calling thread has claimed.
    #[inline]
    pub fn thread(&self, number: usize) -> Option<Thread<'a>> {
        self.0.get(number.checked_mul(THREAD_WORDS)?..)?.first_chunk().map(Thread)
    }
}

impl core::fmt::Debug for Threads<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Threads({} slots)", self.0.len() / THREAD_WORDS)
    }
}

/// The slot of the calling thread.
#[derive(Clone, Copy)]
pub struct Thread<'a>(&'a [AtomicU64; THREAD_WORDS]);

impl Thread<'_> {
    /// It goes to sleep. Wait-free: a load and two stores.
    #[inline]
    pub fn parks(&self, stamp: u64) {
        let parks = self.0[PARKS].load(Ordering::Relaxed);
        if parks % 2 == 0 {
            self.change(parks, stamp);
        }
    }

    /// It has woken up. Wait-free: a load and two stores.
    #[inline]
    pub fn unparks(&self, stamp: u64) {
        let parks = self.0[PARKS].load(Ordering::Relaxed);
        if parks % 2 == 1 {
            self.change(parks, stamp);
        }
    }

    #[inline]
    fn change(&self, parks: u64, stamp: u64) {
        self.0[SINCE].store(stamp, Ordering::Relaxed);
        self.0[PARKS].store(parks.wrapping_add(1), Ordering::Release);
    }

    /// It ends. The slot stays until another thread needs it.
    pub fn ends(&self, stamp: u64) {
        let tid = self.0[IDENTITY].load(Ordering::Relaxed) as u32;
        self.0[SINCE].store(stamp, Ordering::Relaxed);
        self.0[IDENTITY].store(halves(tid, ENDED), Ordering::Release);
    }
}

impl core::fmt::Debug for Thread<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Thread")
    }
}

/// Copies a slot. Bounded: [`READ_TRIES`](crate::seqlock::READ_TRIES) tries.
///
/// # Errors
/// [`Unreadable::Busy`] if another thread took the slot at each try, [`Unreadable::Corrupt`] if `slot` has too few words.
pub fn read(slot: Words<'_>) -> Result<ThreadRecord, Unreadable> {
    read_patiently(slot, &mut Patience::for_a_scan())
}

/// As [`read`], in a scan over many slots: its retries are limited together.
///
/// # Errors
/// As [`read`].
pub fn read_patiently(slot: Words<'_>, patience: &mut Patience) -> Result<ThreadRecord, Unreadable> {
    if slot.len() < THREAD_WORDS {
        return Err(Unreadable::Corrupt);
    }
    for attempt in 0.. {
        let before = slot.load(IDENTITY);
        fence(Ordering::Acquire);
        let mut words = [0u64; THREAD_WORDS];
        // The count before its stamp, which is then that of this change or a later one.
        let parks = slot.load(PARKS);
        fence(Ordering::Acquire);
        slot.copy_to(&mut words);
        fence(Ordering::Acquire);
        if slot.load(IDENTITY) == before && !is_being_claimed(before) {
            (words[IDENTITY], words[PARKS]) = (before, parks);
            return Ok(zerocopy::transmute!(words));
        }
        if !patience.again(attempt) {
            break;
        }
    }
    Err(Unreadable::Busy)
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    const NAMES: [[u8; 16]; 2] = [*b"worker-one\0\0\0\0\0\0", *b"worker-number-16"];

    fn memory(slots: usize) -> Vec<AtomicU64> {
        (0..slots * THREAD_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn record(memory: &[AtomicU64], number: usize) -> ThreadRecord {
        read(Words::new(&memory[number * THREAD_WORDS..][..THREAD_WORDS])).unwrap_or_default()
    }

    #[test]
    fn a_thread_sleeps_and_wakes_and_a_call_too_many_changes_nothing() {
        let memory = memory(1);
        let threads = Threads::new(&memory);
        assert!(!record(&memory, 0).is_used());
        let thread = threads.thread(threads.claim(7, 2, NAMES[0], 5).unwrap()).unwrap();
        let first = record(&memory, 0);
        assert_eq!((first.tid(), first.runtime, first.parks, first.since), (7, 2, 0, 5));
        assert!(first.is_used() && !first.is_parked() && first.name == NAMES[0]);
        thread.unparks(9);
        assert_eq!(record(&memory, 0), first);
        for (stamp, parks) in [(10, 1), (30, 3)] {
            thread.parks(stamp);
            thread.parks(stamp + 1);
            assert_eq!((record(&memory, 0).parks, record(&memory, 0).since), (parks, stamp));
            assert!(record(&memory, 0).is_parked());
            thread.unparks(stamp + 5);
            assert_eq!((record(&memory, 0).parks, record(&memory, 0).since), (parks + 1, stamp + 5));
        }
        thread.ends(50);
        let ended = record(&memory, 0);
        assert!(ended.has_ended() && ended.is_used() && ended.tid() == 7 && ended.since == 50);
    }

    #[test]
    fn a_slot_is_taken_again_when_its_thread_has_ended_and_not_before() {
        let memory = memory(2);
        let threads = Threads::new(&memory);
        let numbers = [1, 2, 3].map(|tid| threads.claim(tid, 0, NAMES[0], 1));
        assert_eq!(numbers, [Some(0), Some(1), None]);
        let first = threads.thread(0).unwrap();
        first.parks(2);
        first.ends(3);
        assert_eq!(threads.claim(3, 1, NAMES[1], 4), Some(0));
        let expected = ThreadRecord {
            identity: halves(3, IN_USE),
            runtime: 1,
            since: 4,
            name: NAMES[1],
            ..ThreadRecord::default()
        };
        assert_eq!(record(&memory, 0), expected);
    }

    #[test]
    fn a_slot_whose_writer_died_in_a_claim_cannot_be_read() {
        let memory = memory(1);
        memory[0].store(halves(9, CLAIMED), Ordering::Relaxed);
        assert_eq!(read(Words::new(&memory)), Err(Unreadable::Busy));
        assert_eq!(read(Words::new(&memory[1..])), Err(Unreadable::Corrupt));
        assert_eq!(Threads::new(&memory).claim(1, 0, NAMES[0], 1), None);
    }
}
