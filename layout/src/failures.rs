//! The failure log: each distinct failure once, with how often and when it happened; and the newest panics.
//!
//! A failure's *key* is a hash of its severity, its location and its message, in which each run of digits counts as one `#`. The
//! caller makes the key; [`Digitless`] takes the digits out.
//!
//! ```text
//!   slot: │ ready │ key │ count │ last │ first │ … │ texts of the first occurrence │
//!            │       └ 0: free. Claimed by compare-and-swap, and never changed after
//!            └ 0 until the record is stored, then 1 << 63 | severity, stored with Release
//! ```
//! A search begins at the key's home slot and goes from slot to slot, at most 64 of them. A slot that a search has
//! passed holds another key for ever. So a key never gets a second slot: the search that claims a later one has passed the
//! earlier one, and no search of this key can claim that any more.
//!
//! A thread that finds its key counts, whether or not the record is ready. A reader that sees *ready* sees the whole record,
//! a count of at least 1, and a last stamp that is not before the first.
//!
//! ```
//! use atomscope_layout::failures::{FAILURE_WORDS, FailureLog, FailureRecord, Severity, Report};
//! use atomscope_layout::sync::AtomicU64;
//! let words = [const { AtomicU64::new(0) }; 2 * FAILURE_WORDS];
//! let log = FailureLog::new(&words, FAILURE_WORDS);
//! let report = Report { message: Some("no route to 10.0.0.7"), location: "net.rs:7:1", ..Report::default() };
//! let (record, _) = FailureRecord::of(&report);
//! for stamp in [5, 6] {
//!     assert_eq!(log.note(99, Severity::Panic, stamp, || record), Some(log.slot_of(99).unwrap()));
//! }
//! ```

use core::mem::offset_of;

use serde::Serialize;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::limits::{
    FAILURE_ACTOR_BYTES, FAILURE_LOCATION_BYTES, FAILURE_TARGET_BYTES, FAILURE_TEXT_BYTES,
    FAILURE_THREAD_BYTES, PANIC_TEXT_BYTES,
};
use crate::names::put_text;
use crate::ring::SLOT_HEAD_WORDS;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, WORD, Words};

/// Maximum number of slots that one search looks at.
const PROBES: usize = 64;
const READY: u64 = 1 << 63;

/// How bad a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[repr(u64)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A panic, caught or not.
    Panic = 1,
    /// An error that was logged.
    Error = 2,
    /// A warning that was logged.
    Warning = 3,
}

impl Severity {
    /// All severities, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Panic, Self::Error, Self::Warning];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }

    fn ready(self) -> u64 {
        READY | self as u64
    }

    /// The severity in a ready word; `None` if the record is not ready, or the severity unknown.
    fn of_ready(word: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.ready() == word)
    }
}

/// A distinct failure: a slot of the failure log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FailureRecord {
    /// 0 until the rest is stored, then `1 << 63 | severity`; see [`Severity`].
    pub ready: u64,
    /// The failure's key; 0: the slot is free.
    pub key: u64,
    /// How often it happened.
    pub count: u64,
    /// The stamp of the newest occurrence.
    pub last: u64,
    /// The stamp of the first occurrence.
    pub first: u64,
    /// The number of the interned name of the actor's class; 0: unknown.
    pub class: u32,
    /// See [`failure_flags`].
    pub flags: u32,
    /// Bytes of the location in the text.
    pub location_bytes: u16,
    /// Bytes of the thread's name in the text.
    pub thread_bytes: u16,
    /// Bytes of the actor's path in the text.
    pub actor_bytes: u16,
    /// Bytes of the target in the text.
    pub target_bytes: u16,
    /// Bytes of the message in the text.
    pub message_bytes: u16,
    /// Zero.
    pub zero: [u16; 3],
    /// The texts of the first occurrence, one after the other, in the order of their lengths.
    pub text: [u8; FAILURE_TEXT_BYTES],
    /// Zero.
    pub reserved: [u64; 8],
}

/// A panic: a record of the ring of panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PanicRecord {
    /// The stamp of the panic.
    pub stamp: u64,
    /// 1 + the number of its slot in the failure log; 0: it is not listed there.
    pub failure: u32,
    /// The id of its thread, in the node's pid namespace; 0: unknown.
    pub tid: u32,
    /// The number of the interned name of the actor's class; 0: unknown.
    pub class: u32,
    /// See [`failure_flags`].
    pub flags: u32,
    /// Bytes of the location in the text.
    pub location_bytes: u16,
    /// Bytes of the thread's name in the text.
    pub thread_bytes: u16,
    /// Bytes of the actor's path in the text.
    pub actor_bytes: u16,
    /// Bytes of the message in the text.
    pub message_bytes: u16,
    /// The texts, one after the other, in the order of their lengths.
    pub text: [u8; PANIC_TEXT_BYTES],
}

/// Flags of a [`FailureRecord`] and of a [`PanicRecord`].
pub mod failure_flags {
    /// The message is known: the region keeps the texts of messages.
    pub const MESSAGE: u32 = 1;
    /// A text was too long and was cut.
    pub const TEXT_CUT: u32 = 1 << 1;
}

/// Words of a [`FailureRecord`].
pub const FAILURE_WORDS: usize = size_of::<FailureRecord>() / WORD;
/// Words of a [`PanicRecord`].
pub const PANIC_WORDS: usize = size_of::<PanicRecord>() / WORD;
/// Bytes of a slot of the ring of panics.
pub const PANIC_SLOT_BYTES: usize = (SLOT_HEAD_WORDS + PANIC_WORDS) * WORD;

const READY_WORD: usize = offset_of!(FailureRecord, ready) / WORD;
const KEY_WORD: usize = offset_of!(FailureRecord, key) / WORD;
const COUNT_WORD: usize = offset_of!(FailureRecord, count) / WORD;
const LAST_WORD: usize = offset_of!(FailureRecord, last) / WORD;
/// From this word on nothing changes any more once the record is ready.
const FIRST_WORD: usize = offset_of!(FailureRecord, first) / WORD;

const _: () = {
    assert!(size_of::<FailureRecord>() == 768);
    assert!(offset_of!(FailureRecord, key) == 8);
    assert!(offset_of!(FailureRecord, first) == 32);
    assert!(offset_of!(FailureRecord, class) == 40);
    assert!(offset_of!(FailureRecord, location_bytes) == 48);
    assert!(offset_of!(FailureRecord, text) == 64);
    assert!(offset_of!(FailureRecord, reserved) == 704);
    assert!(size_of::<PanicRecord>() == 496);
    assert!(offset_of!(PanicRecord, failure) == 8);
    assert!(offset_of!(PanicRecord, class) == 16);
    assert!(offset_of!(PanicRecord, location_bytes) == 24);
    assert!(offset_of!(PanicRecord, text) == 32);
    assert!(PANIC_SLOT_BYTES == 512);
};

/// What is known of an occurrence. A text that is unknown is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report<'a> {
    /// The message; `None` if the region does not keep the texts of messages.
    pub message: Option<&'a str>,
    /// File, line and column, separated by colons.
    pub location: &'a str,
    /// The name of the thread.
    pub thread: &'a str,
    /// The path of the actor.
    pub actor: &'a str,
    /// Of an error or warning: the target under which it was logged.
    pub target: &'a str,
    /// The number of the interned name of the actor's class; 0: unknown.
    pub class: u32,
}

impl FailureRecord {
    /// The record of a first occurrence, without the words that [`FailureLog::note`] stores; and whether a text was cut.
    pub fn of(report: &Report<'_>) -> (Self, bool) {
        let mut record = Self::new_zeroed();
        let Filled { lengths, flags, cut } = fill(&mut record.text, report, report.target);
        let [location_bytes, thread_bytes, actor_bytes, target_bytes, message_bytes] = lengths;
        let record = Self {
            class: report.class,
            flags,
            location_bytes,
            thread_bytes,
            actor_bytes,
            target_bytes,
            message_bytes,
            ..record
        };
        (record, cut)
    }
}

impl PanicRecord {
    /// The record of a panic without its stamp, thread id and failure; and whether a text was cut.
    pub fn of(report: &Report<'_>) -> (Self, bool) {
        let mut record = Self::new_zeroed();
        let Filled { lengths, flags, cut } = fill(&mut record.text, report, "");
        let [location_bytes, thread_bytes, actor_bytes, _, message_bytes] = lengths;
        let class = report.class;
        (Self { class, flags, location_bytes, thread_bytes, actor_bytes, message_bytes, ..record }, cut)
    }
}

/// The texts of a report in a record.
struct Filled {
    /// Their bytes, in their order: location, thread, actor, target, message.
    lengths: [u16; 5],
    flags: u32,
    cut: bool,
}

/// Writes the texts of a report one after the other, with this target.
fn fill(text: &mut [u8], report: &Report<'_>, target: &str) -> Filled {
    let most = text.len();
    let mut texts = Filling { text, used: 0, cut: false };
    let lengths = [
        (FAILURE_LOCATION_BYTES, report.location),
        (FAILURE_THREAD_BYTES, report.thread),
        (FAILURE_ACTOR_BYTES, report.actor),
        (FAILURE_TARGET_BYTES, target),
        (most, report.message.unwrap_or_default()),
    ]
    .map(|(most, text)| texts.put(most, text));
    let message = if report.message.is_some() { failure_flags::MESSAGE } else { 0 };
    let cut = texts.cut;
    Filled { lengths, flags: message | if cut { failure_flags::TEXT_CUT } else { 0 }, cut }
}

/// Adds the texts of a record one after the other.
struct Filling<'a> {
    text: &'a mut [u8],
    used: usize,
    cut: bool,
}

impl Filling<'_> {
    /// Adds at most `most` bytes of a text; returns how many.
    fn put(&mut self, most: usize, text: &str) -> u16 {
        let rest = self.text.get_mut(self.used..).unwrap_or_default();
        let (bytes, cut) = put_text(rest, most, text);
        self.used += bytes;
        self.cut |= cut;
        bytes as u16
    }
}

/// The characters of a message for its key: each run of ASCII digits becomes one `#`.
#[derive(Debug, Clone)]
pub struct Digitless<'a> {
    characters: core::str::Chars<'a>,
    in_digits: bool,
}

impl<'a> Digitless<'a> {
    /// Of this message.
    pub fn new(message: &'a str) -> Self {
        Self { characters: message.chars(), in_digits: false }
    }
}

impl Iterator for Digitless<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            let character = self.characters.next()?;
            let was_in_digits = core::mem::replace(&mut self.in_digits, character.is_ascii_digit());
            match (self.in_digits, was_in_digits) {
                (false, _) => return Some(character),
                (true, false) => return Some('#'),
                (true, true) => {}
            }
        }
    }
}

/// The failure log, for its writers.
#[derive(Clone, Copy)]
pub struct FailureLog<'a> {
    words: &'a [AtomicU64],
    stride: usize,
}

impl core::fmt::Debug for FailureLog<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FailureLog({} slots)", self.count())
    }
}

impl<'a> FailureLog<'a> {
    /// The log over this section; `stride` is the words from one slot to the next.
    pub fn new(words: &'a [AtomicU64], stride: usize) -> Self {
        Self { words, stride: stride.max(1) }
    }

    fn count(&self) -> usize {
        self.words.len() / self.stride
    }

    fn slot(&self, number: usize) -> &'a [AtomicU64] {
        let start = number * self.stride;
        self.words.get(start..start + self.stride).unwrap_or_default()
    }

    /// The slots that a search for `key` looks at, in its order.
    fn search(&self, key: u64) -> impl Iterator<Item = (u32, &'a [AtomicU64])> + use<'a> {
        let (log, count) = (*self, self.count());
        // The high half of a good hash, as a share of the slots.
        let home = (((key >> 32) * count as u64) >> 32) as usize;
        (0..PROBES.min(count)).map(move |step| {
            let number = if home + step < count { home + step } else { home + step - count };
            (number as u32, log.slot(number))
        })
    }

    /// Counts an occurrence of the failure with this key, a good 64-bit hash, and lists it if it is the first: `record` gives
    /// its record. Returns the number of its slot, or `None` if there is no free slot near its home. Wait-free.
    pub fn note(
        &self,
        key: u64,
        severity: Severity,
        stamp: u64,
        record: impl FnOnce() -> FailureRecord,
    ) -> Option<u32> {
        let key = key.max(1);
        for (number, slot) in self.search(key) {
            let held = slot.get(KEY_WORD)?;
            let found = match held.load(Ordering::Relaxed) {
                0 => held
                    .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed)
                    .unwrap_or_else(|now| now),
                found => found,
            };
            if found == 0 {
                store(slot, severity, stamp, &record());
                return Some(number);
            }
            if found == key {
                occurred(slot, stamp);
                return Some(number);
            }
        }
        None
    }

    /// The number of the slot of this key, if it has one.
    pub fn slot_of(&self, key: u64) -> Option<u32> {
        let has_key = |slot: &[AtomicU64]| {
            slot.get(KEY_WORD).is_some_and(|held| held.load(Ordering::Relaxed) == key.max(1))
        };
        self.search(key.max(1)).find_map(|(number, slot)| has_key(slot).then_some(number))
    }
}

/// Counts an occurrence.
fn occurred(slot: &[AtomicU64], stamp: u64) {
    if let (Some(count), Some(last)) = (slot.get(COUNT_WORD), slot.get(LAST_WORD)) {
        count.fetch_add(1, Ordering::Relaxed);
        last.fetch_max(stamp, Ordering::Relaxed);
    }
}

/// Stores the record of a slot that the calling thread has claimed.
fn store(slot: &[AtomicU64], severity: Severity, stamp: u64, record: &FailureRecord) {
    let record = FailureRecord { first: stamp, ..*record };
    let record: [u64; FAILURE_WORDS] = zerocopy::transmute!(record);
    occurred(slot, stamp);
    words::store(slot.get(FIRST_WORD..).unwrap_or_default(), &record[FIRST_WORD..]);
    if let Some(ready) = slot.get(READY_WORD) {
        ready.store(severity.ready(), Ordering::Release);
    }
}

/// A slot of the failure log, as a reader finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotRead {
    /// No failure has this slot.
    Free,
    /// A thread has claimed the slot and has not stored the record; it never will if the node is dead.
    Pending,
    /// The record, of this severity.
    Record(Severity),
}

/// Reads a slot of the failure log into `record`. A slot with an unknown severity is pending, too.
pub fn read(slot: Words<'_>, record: &mut FailureRecord) -> SlotRead {
    let ready = slot.load(READY_WORD);
    fence(Ordering::Acquire);
    let mut words = [0u64; FAILURE_WORDS];
    slot.copy_to(&mut words);
    let found: FailureRecord = zerocopy::transmute!(words);
    *record = FailureRecord { ready, ..found };
    match (Severity::of_ready(ready), ready | found.key) {
        (Some(severity), _) => SlotRead::Record(severity),
        (None, 0) => SlotRead::Free,
        (None, _) => SlotRead::Pending,
    }
}

/// Calls `see` with the first and the last stamp of each record of the log.
pub(crate) fn each_stamp(log: Words<'_>, stride: usize, see: &mut impl FnMut(u64)) {
    let slots = (0..log.len() / stride.max(1)).map(|slot| slot * stride);
    for slot in slots.filter(|slot| log.load(slot + READY_WORD) & READY != 0) {
        see(log.load(slot + FIRST_WORD));
        see(log.load(slot + LAST_WORD));
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    fn log_of(slots: usize) -> Vec<AtomicU64> {
        (0..slots * FAILURE_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn record(message: &str) -> FailureRecord {
        FailureRecord::of(&Report { message: Some(message), location: "a.rs:1:1", ..Report::default() }).0
    }

    #[test]
    fn digits_do_not_distinguish_messages_and_everything_else_does() {
        let of = |text| Digitless::new(text).collect::<String>();
        assert_eq!(of("order 4711 of 12"), "order # of #");
        assert_eq!(of("7"), of("123456"));
        assert_ne!(of("order 1 2"), of("order 12"));
        assert_eq!(of(""), "");
    }

    #[test]
    fn a_failure_has_one_slot_however_often_it_happens_and_a_full_log_says_so() {
        let words = log_of(3);
        let log = FailureLog::new(&words, FAILURE_WORDS);
        let slots: Vec<_> = (1..=3).map(|key| log.note(key, Severity::Error, key, || record("a"))).collect();
        assert!(slots.iter().all(Option::is_some));
        for key in 1..=3 {
            assert_eq!(
                log.note(key, Severity::Error, 10 + key, || panic!("not the first")),
                slots[key as usize - 1]
            );
        }
        assert_eq!(log.note(4, Severity::Error, 20, || record("b")), None);
        let mut read = record("");
        for (slot, key) in slots.iter().flatten().zip(1..) {
            let slot = Words::new(&words[*slot as usize * FAILURE_WORDS..][..FAILURE_WORDS]);
            assert_eq!(super::read(slot, &mut read), SlotRead::Record(Severity::Error));
            assert_eq!((read.key, read.count, read.first, read.last), (key, 2, key, 10 + key));
        }
    }

    #[test]
    fn a_slot_without_its_record_is_pending_and_an_untouched_one_free() {
        let words = log_of(1);
        let mut read = record("");
        assert_eq!(super::read(Words::new(&words), &mut read), SlotRead::Free);
        words[KEY_WORD].store(7, Ordering::Relaxed);
        assert_eq!(super::read(Words::new(&words), &mut read), SlotRead::Pending);
        words[READY_WORD].store(READY | 77, Ordering::Relaxed);
        assert_eq!(super::read(Words::new(&words), &mut read), SlotRead::Pending);
    }

    #[test]
    fn the_longest_texts_leave_a_message_its_least_bytes() {
        let long = "x".repeat(1000);
        let report = Report {
            message: Some(&long),
            location: &long,
            thread: &long,
            actor: &long,
            target: &long,
            class: 0,
        };
        let (failure, cut) = FailureRecord::of(&report);
        assert!(cut && failure.message_bytes >= 256, "{}", failure.message_bytes);
        let (panic, cut) = PanicRecord::of(&report);
        assert!(cut && panic.message_bytes >= 144, "{}", panic.message_bytes);
        assert_eq!(failure.flags, failure_flags::MESSAGE | failure_flags::TEXT_CUT);
    }
}
