//! Records of fixed layout: the words of a slot or cell as structs.
//!
//! Each is a `#[repr(C)]` struct of whole words. zerocopy converts it to words and back, so the writer fills a struct and
//! the reader gets one. Sizes and offsets are asserted literally. [`crate::region`] draws each record.
//!
//! ```
//! use atomscope_layout::records::{DEAD_LETTER_WORDS, LetterRecord};
//! use zerocopy::FromZeros as _;
//! let record = LetterRecord { stamp: 7, recipient_bytes: 5, ..LetterRecord::new_zeroed() };
//! let words: [u64; DEAD_LETTER_WORDS] = zerocopy::transmute!(record);
//! assert_eq!(words[0], 7);
//! ```

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::{ACTOR_TEXT_BYTES, DEAD_LETTER_TEXT_BYTES, JOURNAL_WRITE_TEXT_BYTES, METRIC_TEXT_BYTES};
use crate::words::{halves, quarters};

/// A clock sample: it converts stamps to times, from `ticks` on until the next sample. See [`crate::clock_samples`].
///
/// A *stamp* is a tick count of the writer's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ClockSampleRecord {
    /// The first stamp that the sample is for.
    pub ticks: u64,
    /// Monotonic nanoseconds of that stamp.
    pub mono_ns: u64,
    /// Nanoseconds of that stamp since the machine booted, suspended time included.
    pub boot_ns: u64,
    /// UTC nanoseconds since 1970 of that stamp; signed, in two's complement.
    pub unix_ns: u64,
    /// Nanoseconds per tick, times 2⁴⁰; 0 means that there is no sample.
    pub rate: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

impl ClockSampleRecord {
    /// The divisor of [`ClockSampleRecord::rate`].
    pub const RATE_ONE: u64 = 1 << 40;
}

/// The clocks of a node. The header holds it; the writer stores it before it publishes the region, and never after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TimeRecord {
    /// Inode of the node's time namespace; 0 if it or its offsets are unknown.
    pub time_namespace: u64,
    /// The node's monotonic clock minus the machine's; signed, in two's complement.
    pub mono_offset_ns: u64,
    /// The node's clock since boot minus the machine's; signed, in two's complement.
    pub boot_offset_ns: u64,
    /// When the region was made, by the node's monotonic clock; 0: unknown.
    pub created_mono_ns: u64,
    /// When the region was made, by the node's clock since boot; 0: unknown.
    pub created_boot_ns: u64,
}

impl TimeRecord {
    /// The offsets of a time namespace in nanoseconds, of the monotonic clock and of the clock since boot. `text` is the
    /// content of `/proc/PID/timens_offsets`.
    pub fn offsets(text: &str) -> Option<[i64; 2]> {
        let of = |clock: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(clock))?;
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
            let (seconds, ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
            seconds.checked_mul(1_000_000_000)?.checked_add(ns)
        };
        Some([of("monotonic")?, of("boottime")?])
    }
}

/// How the process of a node ended: a seqlock cell of the header. See [`crate::decode::Ending`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EndRecord {
    /// [`EndKind`]; 0: nothing is known.
    pub kind: u64,
    /// The exit code or the signal.
    pub code: u64,
    /// When it was noted: UTC nanoseconds since 1970.
    pub unix_ns: u64,
    /// When it was noted: monotonic nanoseconds.
    pub mono_ns: u64,
    /// Number of the thread that a signal or a panic met; 0: unknown.
    pub tid: u64,
    /// Name of that thread, filled up with zeros.
    pub thread: [u8; 16],
    /// The process that sent the signal; 0: none, itself, or unknown.
    pub sender: u64,
    /// The address whose access caused the signal.
    pub address: u64,
    /// [`end_flags`].
    pub flags: u64,
}

/// What an [`EndRecord`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum EndKind {
    /// The process exited with a code.
    Exit = 1,
    /// The process got a signal that ends it.
    Signal = 2,
    /// The process ends, or a panic closed the region; the exit code is not known.
    Unknown = 3,
}

/// The bits of [`EndRecord::flags`].
pub mod end_flags {
    /// The region was closed by a thread that panicked.
    pub const PANICKED: u32 = 1 << 0;
    /// `address` is known.
    pub const HAS_ADDRESS: u32 = 1 << 1;
}

/// The crashes of earlier nodes of the same name since the last one that ended in good order. The header holds it; the
/// writer stores it before it publishes the region, and never after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HistoryRecord {
    /// Number of crashes.
    pub crashes: u64,
    /// When the first one ended: UTC nanoseconds since 1970.
    pub first_unix_ns: u64,
    /// When the newest one ended.
    pub newest_unix_ns: u64,
}

/// A live actor: a slot of the section of actors. Each text but the parent's path has fewer than 256 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ActorRecord {
    /// The control word of the slot: generation, link and state.
    pub control: u64,
    /// Hash of the whole path, as `Display` formats it.
    pub key: [u64; 2],
    /// The stamp of the spawn, later than that of any earlier actor of this path.
    pub spawned: u64,
    /// The number of the interned name of its class; 0 if the name is in the text.
    pub type_id: u32,
    /// See [`actor_flags`].
    pub flags: u32,
    /// Bytes of the path in the text.
    pub path_bytes: u8,
    /// Bytes of the class name in the text.
    pub type_bytes: u8,
    /// Bytes of the spawn time in the text, if the application gave it as text.
    pub spawned_bytes: u8,
    /// Bytes of the host in the text.
    pub host_bytes: u8,
    /// With [`actor_flags::PARENT_IS_PREFIX`]: how many bytes of the *whole* path are the parent's path. Else: bytes of the
    /// parent's path in the text.
    pub parent_bytes: u16,
    /// Zero.
    pub zero: u16,
    /// The cell of an instrumented actor: `generation << 32 | index + 1`; 0: it is not instrumented.
    pub cell: u64,
    /// The [`Depth`] of the mailbox at its last sample, with [`actor_flags::DEPTH`]. It changes while the record is published.
    /// Without the flag it means nothing; it may be left over from an earlier actor.
    pub depth: u64,
    /// Hash of the parent's path; meaningless without [`actor_flags::PARENT`].
    pub parent_key: [u64; 2],
    /// The texts, one after the other, in the order of their lengths.
    pub text: [u8; ACTOR_TEXT_BYTES],
    /// Zero.
    pub reserved: [u64; 6],
}

impl ActorRecord {
    /// The depth of the mailbox, if it is known.
    pub fn known_depth(&self) -> Option<Depth> {
        (self.flags & actor_flags::DEPTH != 0).then(|| Depth::of(self.depth))
    }
}

/// The number of messages in a mailbox, and the greatest one that was seen. Both stay at their maximum.
///
/// ```text
///   word: │ messages, 32 │ greatest, 32 │
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages in the mailbox.
    pub messages: u32,
    /// The most messages that were seen in it.
    pub greatest: u32,
}

impl Depth {
    /// The depth in this word.
    pub fn of(word: u64) -> Self {
        Self { messages: word as u32, greatest: (word as u32).max((word >> 32) as u32) }
    }

    /// Its word.
    pub fn word(self) -> u64 {
        halves(self.messages, self.greatest)
    }

    /// The depth after this one, with so many messages in the mailbox.
    pub fn followed_by(self, messages: u64) -> Self {
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        Self { messages, greatest: self.greatest.max(messages) }
    }
}

/// The usual actor's record without its text: its class has a name number, and the parent's path is a prefix of its path.
/// All other fields are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "those of ActorRecord")]
pub struct ActorHead {
    pub key: [u64; 2],
    pub spawned: u64,
    pub type_id: u32,
    pub flags: u32,
    pub path_bytes: u8,
    pub parent_bytes: u16,
    pub cell: u64,
    pub parent_key: [u64; 2],
}

impl ActorHead {
    /// The words of the record from [`ACTOR_KEY_WORD`] on, and those from [`ACTOR_PARENT_WORD`] on, built word by word as in
    /// [`crate::event::EventHead::words`]. The word between them need not be stored.
    #[inline]
    pub fn words(&self) -> ([u64; 6], [u64; 2]) {
        let [k0, k1] = self.key;
        let kind = halves(self.type_id, self.flags);
        let lengths = quarters([self.path_bytes.into(), 0, self.parent_bytes, 0]);
        ([k0, k1, self.spawned, kind, lengths, self.cell], self.parent_key)
    }
}

/// Flags of an [`ActorRecord`].
pub mod actor_flags {
    /// It has a parent.
    pub const PARENT: u32 = 1;
    /// The parent's path is the first `parent_bytes` bytes of this path.
    pub const PARENT_IS_PREFIX: u32 = 1 << 1;
    /// The path was too long and was cut.
    pub const PATH_CUT: u32 = 1 << 2;
    /// Another text was too long and was cut.
    pub const TEXT_CUT: u32 = 1 << 3;
    /// The application gave the spawn time as text.
    pub const SPAWNED_TEXT: u32 = 1 << 4;
    /// The actor has a host.
    pub const HOST: u32 = 1 << 5;
    /// The mailbox depth is known.
    pub const DEPTH: u32 = 1 << 6;
}

/// A dead letter: a message without a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LetterRecord {
    /// The stamp of the dead letter.
    pub stamp: u64,
    /// The number of the interned name of the message type; 0 if the name is in the text.
    pub type_id: u32,
    /// See [`dead_letter_flags`].
    pub flags: u32,
    /// Bytes of the recipient's path in the text.
    pub recipient_bytes: u16,
    /// Bytes of the sender's path in the text.
    pub sender_bytes: u16,
    /// Bytes of the message type in the text.
    pub type_bytes: u16,
    /// Bytes of the preview in the text.
    pub preview_bytes: u16,
    /// The texts, one after the other, in the order of their lengths.
    pub text: [u8; DEAD_LETTER_TEXT_BYTES],
}

/// The usual dead letter without its text: the message type has a name number, and only the recipient is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "those of LetterRecord")]
pub struct DeadLetterHead {
    pub stamp: u64,
    pub type_id: u32,
    pub recipient_bytes: u16,
}

impl DeadLetterHead {
    /// The words of the record before its text, built word by word as in [`crate::event::EventHead::words`].
    #[inline]
    pub fn words(&self) -> [u64; DEAD_LETTER_HEAD_WORDS] {
        [self.stamp, halves(self.type_id, 0), quarters([self.recipient_bytes, 0, 0, 0])]
    }
}

/// Flags of a [`LetterRecord`].
pub mod dead_letter_flags {
    /// The sender is known.
    pub const SENDER: u32 = 1;
    /// A text was too long and was cut.
    pub const TEXT_CUT: u32 = 1 << 1;
}

/// A journal write: events that a journal wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct JournalWriteRecord {
    /// The stamp of the write.
    pub stamp: u64,
    /// The sequence number.
    pub sequence_nr: u64,
    /// Bytes of the journal's name in the text.
    pub journal_bytes: u16,
    /// Bytes of the persistence id in the text.
    pub persistence_id_bytes: u16,
    /// Zero.
    pub reserved: u32,
    /// The texts, one after the other.
    pub text: [u8; JOURNAL_WRITE_TEXT_BYTES],
}

/// The description of a metric: name, labels, unit, kind and help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MetricRecord {
    /// 0 while the slot has no metric, else `1 << 63 | number of metrics before << 8 | kind`; see [`crate::metrics::Kind`].
    pub ready: u64,
    /// Bytes of the name in the text.
    pub name_bytes: u16,
    /// Bytes of the labels in the text: key, zero byte, value, zero byte, in the order of the keys.
    pub label_bytes: u16,
    /// Bytes of the unit in the text.
    pub unit_bytes: u16,
    /// Bytes of the help in the text.
    pub help_bytes: u16,
    /// The texts, one after the other, in the order of their lengths.
    pub text: [u8; METRIC_TEXT_BYTES],
}

/// Words of an [`ActorRecord`].
pub const ACTOR_WORDS: usize = size_of::<ActorRecord>() / 8;
/// Words of a [`LetterRecord`].
pub const DEAD_LETTER_WORDS: usize = size_of::<LetterRecord>() / 8;
/// Words of a [`JournalWriteRecord`].
pub const JOURNAL_WRITE_WORDS: usize = size_of::<JournalWriteRecord>() / 8;
/// Words of a journal write before its text.
pub const JOURNAL_WRITE_HEAD_WORDS: usize = offset_of!(JournalWriteRecord, text) / 8;
/// Words of a [`MetricRecord`].
pub const METRIC_WORDS: usize = size_of::<MetricRecord>() / 8;
/// The word of an actor record with which its key begins.
pub const ACTOR_KEY_WORD: usize = offset_of!(ActorRecord, key) / 8;
/// The word of an actor record with the stamp of its spawn.
pub const ACTOR_STAMP_WORD: usize = offset_of!(ActorRecord, spawned) / 8;
/// The word of an actor record with its cell.
pub const ACTOR_CELL_WORD: usize = offset_of!(ActorRecord, cell) / 8;
/// The word of an actor record with the depth of its mailbox.
pub const ACTOR_DEPTH_WORD: usize = offset_of!(ActorRecord, depth) / 8;
/// The word of an actor record with which its parent's key begins.
pub const ACTOR_PARENT_WORD: usize = offset_of!(ActorRecord, parent_key) / 8;
/// Words of an actor record before its text.
pub const ACTOR_HEAD_WORDS: usize = offset_of!(ActorRecord, text) / 8;
/// Words of a dead letter before its text.
pub const DEAD_LETTER_HEAD_WORDS: usize = offset_of!(LetterRecord, text) / 8;

const _: () = {
    assert!(size_of::<ClockSampleRecord>() == 56);
    assert!(offset_of!(ClockSampleRecord, rate) == 32);
    assert!(size_of::<TimeRecord>() == 40);
    assert!(size_of::<EndRecord>() == 80);
    assert!(offset_of!(EndRecord, thread) == 40);
    assert!(size_of::<HistoryRecord>() == 24);
    assert!(size_of::<ActorRecord>() == 320);
    assert!(offset_of!(ActorRecord, key) == 8);
    assert!(offset_of!(ActorRecord, spawned) == 24);
    assert!(offset_of!(ActorRecord, type_id) == 32);
    assert!(offset_of!(ActorRecord, flags) == 36);
    assert!(offset_of!(ActorRecord, path_bytes) == 40);
    assert!(offset_of!(ActorRecord, parent_bytes) == 44);
    assert!(offset_of!(ActorRecord, cell) == 48);
    assert!(offset_of!(ActorRecord, depth) == 56);
    assert!(offset_of!(ActorRecord, parent_key) == 64);
    assert!(offset_of!(ActorRecord, text) == 80);
    assert!(offset_of!(ActorRecord, reserved) == 272);
    assert!(size_of::<LetterRecord>() == 368);
    assert!(offset_of!(LetterRecord, type_id) == 8);
    assert!(offset_of!(LetterRecord, recipient_bytes) == 16);
    assert!(offset_of!(LetterRecord, text) == 24);
    assert!(size_of::<JournalWriteRecord>() == 240);
    assert!(offset_of!(JournalWriteRecord, journal_bytes) == 16);
    assert!(offset_of!(JournalWriteRecord, text) == 24);
    assert!(size_of::<MetricRecord>() == 384);
    assert!(offset_of!(MetricRecord, name_bytes) == 8);
    assert!(offset_of!(MetricRecord, text) == 16);
};

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn the_greatest_depth_is_never_less_than_the_depth_and_both_stay_at_their_maximum() {
        let mut depth = Depth::default();
        for (messages, greatest) in [(0, 0), (3, 3), (9, 9), (4, 9), (u64::MAX, u32::MAX), (0, u32::MAX)] {
            depth = depth.followed_by(messages);
            let messages = u32::try_from(messages).unwrap_or(u32::MAX);
            assert_eq!(depth, Depth { messages, greatest });
            assert_eq!(depth.word(), u64::from(greatest) << 32 | u64::from(messages));
            assert_eq!(Depth::of(depth.word()), depth);
        }
        // An application's own number, without an upper half.
        assert_eq!(Depth::of(7), Depth { messages: 7, greatest: 7 });
    }

    #[test]
    fn the_offsets_of_a_time_namespace_are_read_as_the_kernel_writes_them() {
        let text = "monotonic           -5   500000000\nboottime          1000           0\n";
        assert_eq!(TimeRecord::offsets(text), Some([-4_500_000_000, 1_000_000_000_000]));
        assert_eq!(TimeRecord::offsets("monotonic 0 0\n"), None);
        assert_eq!(TimeRecord::offsets("monotonic x 0\nboottime 0 0\n"), None);
        assert_eq!(TimeRecord::offsets(&format!("monotonic {} 0\nboottime 0 0\n", i64::MAX)), None);
    }

    #[test]
    fn a_head_has_the_words_that_a_record_has_before_its_text() {
        let head = ActorHead {
            key: [1, 2],
            spawned: 3,
            type_id: 4,
            flags: 5,
            path_bytes: 6,
            parent_bytes: 7,
            cell: 10,
            parent_key: [8, 9],
        };
        let ActorHead { key, spawned, type_id, flags, path_bytes, parent_bytes, cell, parent_key } = head;
        let empty = ActorRecord::new_zeroed();
        let record =
            ActorRecord { key, spawned, type_id, flags, path_bytes, parent_bytes, cell, parent_key, ..empty };
        let words: [u64; ACTOR_WORDS] = zerocopy::transmute!(record);
        let (first, parent) = head.words();
        assert_eq!(first.as_slice(), &words[ACTOR_KEY_WORD..][..first.len()]);
        assert_eq!(parent.as_slice(), &words[ACTOR_PARENT_WORD..ACTOR_HEAD_WORDS]);
        assert_eq!(words[ACTOR_KEY_WORD + first.len()..ACTOR_PARENT_WORD], [0; 1]);
    }

    #[test]
    fn a_dead_letters_head_has_the_words_that_its_record_begins_with() {
        let head = DeadLetterHead { stamp: 1, type_id: 2, recipient_bytes: 3 };
        let DeadLetterHead { stamp, type_id, recipient_bytes } = head;
        let record = LetterRecord { stamp, type_id, recipient_bytes, ..LetterRecord::new_zeroed() };
        let words: [u64; DEAD_LETTER_WORDS] = zerocopy::transmute!(record);
        assert_eq!(head.words().as_slice(), &words[..DEAD_LETTER_HEAD_WORDS]);
    }
}
