//! One scan of the section of actors: it reads each record once, for a list of the actors ([`super::actors`]) or for their
//! numbers ([`super::classes`]).

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::reader::RegionReader;
use crate::limits::PATH_CUT_MARK;
use crate::records::{ACTOR_HEAD_WORDS, ACTOR_WORDS, ActorRecord, actor_flags};
use crate::region::header;
use crate::seqlock;
use crate::table::SlotReader;
use crate::words::WORD;

/// Bits of a [`Repeats`] for each key: then about one key in sixteen is taken for another one's repetition.
const BITS_FOR_KEY: usize = 8;

/// The slots of the actors of a region.
pub(super) fn actor_slots<'a>(reader: &RegionReader<'a>) -> SlotReader<'a> {
    reader.slots(reader.map.actors, header::ACTORS_USED)
}

/// A hash of everything that a scan found. It is no defence against a region that is made to confuse it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    pub(super) fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

/// The result of a scan, without the records of actors.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) unreadable: u64,
    pub(super) mark: Mark,
}

impl Scan {
    /// Calls `each` with the record of every actor; `each` returns `None` for a record that it cannot read. The record has
    /// its first `head` words, and further ones up to `wanted`.
    pub(super) fn over(
        slots: &SlotReader<'_>,
        head: usize,
        wanted: impl Fn(&ActorRecord) -> usize,
        mut each: impl FnMut(&ActorRecord) -> Option<()>,
    ) -> Self {
        let mut scan = Self::default();
        let mut words = [0u64; ACTOR_WORDS];
        let mut patience = seqlock::Patience::for_a_scan();
        let wanted = |words: &[u64]| ActorRecord::ref_from_bytes(words.as_bytes()).map_or(0, &wanted);
        for slot in 0..slots.len() {
            let found = slots.read_used(slot, &mut words, head, wanted, &mut patience);
            if let Ok(false) = found {
                continue;
            }
            scan.mark.add(slot as u64);
            let is_read = found.is_ok() && {
                let record: &ActorRecord = zerocopy::transmute_ref!(&words);
                scan.mark.add(record.control);
                if record.flags & actor_flags::DEPTH != 0 {
                    scan.mark.add(record.depth);
                }
                each(record).is_some()
            };
            scan.unreadable += u64::from(!is_read);
        }
        scan
    }
}

/// The keys that may occur more than once, by some bits of their first words.
pub(super) struct Repeats {
    once: Vec<u64>,
    again: Vec<u64>,
}

impl Repeats {
    /// Of at most `count` keys.
    pub(super) fn of(count: usize, keys: impl Iterator<Item = u64>) -> Self {
        let words = (BITS_FOR_KEY * count).next_power_of_two().div_ceil(u64::BITS as usize);
        let mut repeats = Self { once: vec![0; words], again: vec![0; words] };
        for key in keys {
            let (word, bit) = repeats.place(key);
            repeats.again[word] |= repeats.once[word] & bit;
            repeats.once[word] |= bit;
        }
        repeats
    }

    /// Whether the key may have been given more than once.
    pub(super) fn may_have(&self, key: u64) -> bool {
        let (word, bit) = self.place(key);
        self.again[word] & bit != 0
    }

    fn place(&self, key: u64) -> (usize, u64) {
        // The number of words is a power of two.
        ((key >> 6) as usize & (self.once.len() - 1), 1 << (key & 63))
    }
}

/// Bytes of each text of a record: path, class, spawn time, host, and the parent's path if it is no prefix.
pub(super) fn text_bytes(record: &ActorRecord) -> [u16; 5] {
    let in_text = record.flags & (actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX) == actor_flags::PARENT;
    let parent_bytes = if in_text { record.parent_bytes } else { 0 };
    let ActorRecord { path_bytes, type_bytes, spawned_bytes, host_bytes, .. } = *record;
    [path_bytes.into(), type_bytes.into(), spawned_bytes.into(), host_bytes.into(), parent_bytes]
}

/// Words of a record up to the end of its texts.
pub(super) fn used_words(record: &ActorRecord) -> usize {
    let bytes: usize = text_bytes(record).into_iter().map(usize::from).sum();
    ACTOR_HEAD_WORDS + bytes.div_ceil(WORD)
}

/// Bytes of the path that the record keeps: the path without mark and key.
pub(super) fn kept_bytes(record: &ActorRecord) -> Option<usize> {
    let is_cut = record.flags & actor_flags::PATH_CUT != 0;
    usize::from(record.path_bytes).checked_sub(if is_cut { PATH_CUT_MARK.len() + 32 } else { 0 })
}
