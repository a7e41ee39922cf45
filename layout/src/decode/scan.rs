//! One scan of the actor table: it reads each record once, for a list of the actors ([`super::actors`]) or for their numbers
//! ([`super::classes`]).

use core::hash::{Hash as _, Hasher as _};
use std::collections::HashMap;
use std::hash::DefaultHasher;

use zerocopy::{FromBytes as _, IntoBytes as _};

use super::reader::RegionReader;
use crate::limits::PATH_CUT_MARK;
use crate::records::{ACTOR_HEAD_WORDS, ACTOR_WORDS, ActorRecord, actor_flags, live};
use crate::region::header;
use crate::seqlock;
use crate::sync::{Ordering, fence, pause};
use crate::table::{Entry, Key, Sign, TableReader};
use crate::words::WORD;

/// Maximum number of scans of the actor table while it is being settled.
const SCAN_TRIES: u32 = 8;
/// Slots that are prefetched into the processor's cache together.
const FETCHED_SLOTS: usize = 32;

/// The actor table of a region.
pub(super) fn actor_table<'a>(reader: &RegionReader<'a>) -> TableReader<'a> {
    let map = &reader.map;
    TableReader::new(
        reader.section(map.actor_control),
        reader.section(map.actor_slots),
        map.actor_slots.stride,
        reader.section(map.actor_spill),
    )
}

/// The sum of the spilled entries of each fingerprint.
pub(super) fn spilled(table: &TableReader<'_>) -> HashMap<u64, i64> {
    let mut spilled = HashMap::new();
    for (fingerprint, sign) in table.spilled() {
        *spilled.entry(fingerprint).or_default() += if sign == Sign::Plus { 1 } else { -1 };
    }
    spilled
}

/// Scans the table, and scans it again if it was being settled during the scan.
pub(super) fn steadily<T>(reader: &RegionReader<'_>, mut scan: impl FnMut() -> T) -> T {
    for _ in 1..SCAN_TRIES {
        let before = reader.words.load(header::SETTLING);
        fence(Ordering::Acquire);
        if before & 1 == 0 {
            let scanned = scan();
            fence(Ordering::Acquire);
            if reader.words.load(header::SETTLING) == before {
                return scanned;
            }
        }
        (0..seqlock::READ_TRIES).for_each(pause);
    }
    scan()
}

/// The result of a scan, without the records of actors.
pub(super) struct Scan {
    /// The keys of the waiting stops.
    pub(super) stops: Vec<Key>,
    /// The sum of the spilled entries of each fingerprint.
    pub(super) spilled: HashMap<u64, i64>,
    pub(super) unreadable: u64,
    /// The hash of everything that the table held.
    pub(super) mark: DefaultHasher,
}

impl Scan {
    /// Calls `each` with the record of every actor; `each` returns `None` for a record that it cannot read. The record has
    /// its first `head` words, and further ones up to `wanted`.
    pub(super) fn over(
        table: &TableReader<'_>,
        spilled: HashMap<u64, i64>,
        head: usize,
        wanted: impl Fn(&ActorRecord) -> usize,
        mut each: impl FnMut(&ActorRecord) -> Option<()>,
    ) -> Self {
        let (mut stops, mut unreadable, mut mark) = (Vec::new(), 0, DefaultHasher::new());
        let mut words = [0u64; ACTOR_WORDS];
        let mut patience = seqlock::Patience::for_a_scan();
        let wanted = |words: &[u64]| ActorRecord::ref_from_bytes(words.as_bytes()).map_or(0, &wanted);
        for slot in 0..table.len() {
            if slot % FETCHED_SLOTS == 0 {
                table.fetch(slot..table.len().min(slot + FETCHED_SLOTS));
            }
            // Loaded before the record: if the record changes now, its version and so the mark change too.
            let version = table.version(slot);
            let found = table.read_used(slot, &mut words, head, wanted, &mut patience);
            if let Ok(Entry::Free) = found {
                continue;
            }
            mark.write_usize(slot);
            mark.write_u64(version);
            let is_read = match found {
                Ok(Entry::Held(Sign::Plus)) => {
                    let record: &ActorRecord = zerocopy::transmute_ref!(&words);
                    if record.flags & actor_flags::DEPTH != 0 {
                        mark.write_u64(record.live[live::MAILBOX_DEPTH]);
                    }
                    each(record).is_some()
                }
                Ok(Entry::Held(Sign::Minus)) => {
                    stops.push(Key([words[0], words[1]]));
                    true
                }
                Ok(Entry::Free) | Err(_) => false,
            };
            unreadable += u64::from(!is_read);
        }
        table.spilled().for_each(|(fingerprint, sign)| (fingerprint, sign as u64).hash(&mut mark));
        Self { stops, spilled, unreadable, mark }
    }
}

/// Bytes of each text of a record: path, parent that is no prefix of it, class, spawn time, host.
pub(super) fn text_bytes(record: &ActorRecord) -> [u16; 5] {
    let in_text = record.flags & (actor_flags::PARENT | actor_flags::PARENT_IS_PREFIX) == actor_flags::PARENT;
    let parent_bytes = if in_text { record.parent_bytes } else { 0 };
    [record.path_bytes, parent_bytes, record.type_bytes, record.spawned_bytes, record.host_bytes]
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
