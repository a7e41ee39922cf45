//! Dense slots with a private index: a multiset of spawns, and of stops that came before their spawns.
//!
//! The hooks come out of order: a stop may come before its spawn, and the spawn of a respawned path before the stop of its
//! predecessor. A single entry per path would then need locks. So a spawn and a stop are entries of opposite sign in an
//! index, and whoever finds both of one key removes them together. In the usual order only spawns have entries.
//!
//! ```
//! use atomscope_layout::seqlock::Patience;
//! use atomscope_layout::sync::{AtomicU64, Ordering};
//! use atomscope_layout::table::{Key, Shape, SlotReader, Spawned, Stopped, Table, Unwatched};
//! use atomscope_layout::words::Words;
//!
//! let shape = Shape { slots: 64, stride: 8, lanes: 4, hot_lines: 16 };
//! let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
//! let (slots, used) = (words(shape.slots * shape.stride), AtomicU64::new(0));
//! let private = words(shape.private_words());
//! let table = Table::new(shape, &slots, &used, &private);
//!
//! let key = Key(0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321);
//! let (lane, stamp) = (1, 7); // this thread holds lane 1
//! let write = |slot: &[AtomicU64]| {
//!     for (word, value) in slot.iter().skip(1).zip([key.0, key.1, stamp]) {
//!         word.store(value, Ordering::Relaxed);
//!     }
//! };
//! assert_eq!(table.spawn(lane, key, write, &Unwatched), Spawned::Stands);
//!
//! let reader = SlotReader::new(Words::new(&slots), shape.stride, used.load(Ordering::Acquire));
//! let (mut record, mut patience) = ([0; 8], Patience::for_a_scan());
//! let live = (0..reader.len()).filter(|slot| reader.read(*slot, &mut record, &mut patience) == Ok(true));
//! assert_eq!(live.count(), 1);
//! assert_eq!(table.stop(lane, key, |_| (), &Unwatched), Stopped::Entry { stamp });
//! ```
//!
//! Slots are in the region, for readers: they scan. The index is private memory of the writer. It has two levels:
//! the *hot* level is small and holds the newest entries, the *large* level holds the rest. The newest free slot of a lane is
//! the next one that it takes. So the usual spawn and the usual stop touch memory that the processor's cache still has.
//!
//! ```text
//!  spawn:  0 → PLUS, then look for a MINUS          stop:   PLUS → 0; the stopper has the slot: event, FREE, free list
//!  early:  0 → MINUS, epoch + 1, then look          move:   PLUS → HELD, count, copy into large, newcomer in its place, look
//!  update: PLUS → HELD, BUSY … LIVE, back, look     pair:   MINUS → HELD, oldest PLUS → 0, MINUS → 0
//!                                                           (if the PLUS was lost: MINUS back, look again)
//! ```
//! One rule carries everything: a thread that inserts, moves or lets go looks again afterwards for the other sign. So a spawn
//! and a stop of one key never stay beside each other.
//!
//! | word | writer |
//! |---|---|
//! | control word, record | the thread that has the slot in hand: it popped the slot, took its entry, or holds the entry |
//! | entry | any thread, by compare-and-swap; while it is HELD only the holder |
//! | head of a line, filter, depot | any thread, by read-modify-write |
//! | lane | the thread that holds its number |
//!
//! *Later* marks a spawn that came while another one of its key stood. Only then can a stop that found one entry have missed
//! an older one, and only then it looks a second time.
//!
//! A waiting stop records which actor it may belong to ([`StopOrigin`]). The stop of an actor older than the hooks has no
//! spawn in the table, and must not remove an actor that is spawned later under the same path.

pub use key::Key;
pub use origin::StopOrigin;
pub use reader::{SlotReader, busy, is_busy, unlinked};
pub use slots::STAMP_WORD;

use index::{ENTRIES, Entry, Head, Index, Kind, Level, Place};
use slots::{Control, LANE_WORDS, Slot, Slots, State};

use crate::limits::SEPARATION_BYTES;
use crate::sync::mutant::{Mutant, is};
use crate::sync::{AtomicU64, Ordering, fence, then_look};
use crate::words::WORD;

#[cfg(test)]
pub(crate) mod at_rest;
mod index;
mod key;
mod origin;
mod reader;
mod slots;

/// Attempts to act on an entry that other threads change at the same time.
const TRIES: usize = if cfg!(atomscope_loom) { 3 } else { 16 };

/// The size of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of slots.
    pub slots: usize,
    /// Words from one slot to the next.
    pub stride: usize,
    /// Number of lanes that threads may hold; they are numbered from 1.
    pub lanes: usize,
    /// Lines of the hot level: a power of two.
    pub hot_lines: usize,
}

impl Shape {
    /// Words of private memory, which should be aligned to 128 bytes. What follows it is aligned like it.
    pub fn private_words(&self) -> usize {
        self.words_with(self.large_lines()).next_multiple_of(SEPARATION_BYTES / WORD)
    }

    /// Two and a half times as many entries as slots: with twice as many, four of a million actors found no place.
    fn large_lines(&self) -> usize {
        self.slots.saturating_mul(5).div_ceil(2 * ENTRIES).max(2)
    }

    fn words_with(&self, large_lines: usize) -> usize {
        (self.lanes + 1) * LANE_WORDS + Index::words(self.hot_lines, large_lines)
    }
}

/// What becomes of spawns and stops that a call removes beside its own.
pub trait Witness {
    /// A spawn and its stop were removed together. `record` is the spawn's slot, which nobody else uses during the call;
    /// `None` for a spawn without a slot.
    fn paired(&self, record: Option<&[AtomicU64]>);

    /// A spawn removed a waiting stop of an older actor of its path: a stop that [cannot match a
    /// spawn](StopOrigin::may_match_spawn).
    fn superseded(&self, origin: StopOrigin);

    /// A spawn that stood is in the table no more, because the index had no place for its entry. As after
    /// [`Spawned::Refused`], its stop finds nothing. `record` as for [`Self::paired`].
    fn lost(&self, record: &[AtomicU64]);
}

/// A witness that does nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Witness for Unwatched {
    fn paired(&self, _: Option<&[AtomicU64]>) {}
    fn superseded(&self, _: StopOrigin) {}
    fn lost(&self, _: &[AtomicU64]) {}
}

/// What became of a spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Spawned {
    /// It stands, with a slot.
    Stands,
    /// It stands, but there was no slot for its record.
    Spilled,
    /// Its stop was here first. Both are gone.
    Stopped(StopOrigin),
    /// The index had no place for it.
    Refused,
}

/// What a stop removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Stopped {
    /// A spawn with a slot.
    Entry {
        /// The stamp of the spawn.
        stamp: u64,
    },
    /// A spawn without a slot.
    Spilled,
    /// Nothing: there is no spawn, or another thread has it in hand. The caller may leave the stop.
    Nothing,
}

/// What became of a change in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Updated {
    /// The record was changed.
    Done,
    /// Another thread has the spawn in hand, or had it a moment ago: another try may succeed.
    InHand,
    /// There is no spawn with a slot.
    Nothing,
}

/// A stop that has found no spawn, as [`Table::settle`] passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingStop {
    /// The first word of its key, without the lowest 6 bits.
    pub fingerprint: u64,
    /// Its origin. A new value stays with the stop.
    pub origin: StopOrigin,
    /// Whether the table has a spawn of its key that belongs to another actor. Then the stop is given up in any case.
    pub has_other_spawn: bool,
}

/// What [`Table::settle`] did with the waiting stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Pairs of a spawn and a stop of one key, removed together.
    pub pairs: u64,
    /// Stops given up.
    pub expired: u64,
    /// Stops that still wait.
    pub waiting: u64,
}

/// Whose entries a search is for.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Key(Key),
    /// All that a waiting stop knows.
    Fingerprint(u64),
}

impl Whose {
    fn fingerprint(self) -> u64 {
        match self {
            Self::Key(key) => key.0,
            Self::Fingerprint(fingerprint) => fingerprint,
        }
    }
}

/// The oldest spawn of a key.
enum Oldest<'a> {
    None,
    /// A thread has one of the key's spawns in hand; which one is the oldest is unknown.
    InHand,
    /// Its place, its entry and its stamp.
    At(Place<'a>, Entry, u64),
}

/// The table of one region, for its writers. No operation locks or allocates. Each but [`Table::settle`] ends after a bounded
/// number of steps, whatever other threads do.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    index: Index<'a>,
    slots: Slots<'a>,
}

impl core::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Table({} slots used)", self.slots.used())
    }
}

impl<'a> Table<'a> {
    /// The table with these slots, which are as many as `shape` says. `used` is the header's word for the slots that were ever
    /// taken, and `private` holds [`Shape::private_words`]; both are 0 at first. With less memory than that, the table takes
    /// less in. A few instructions: a hook need not keep the table.
    #[inline(always)]
    pub fn new(shape: Shape, slots: &'a [AtomicU64], used: &'a AtomicU64, private: &'a [AtomicU64]) -> Self {
        let (lanes, index) = private.split_at_checked((shape.lanes + 1) * LANE_WORDS).unwrap_or_default();
        Self {
            index: Index::new(shape.hot_lines, index),
            slots: Slots::new(slots, shape.stride, used, lanes),
        }
    }

    // Spawns.

    /// Adds a spawn. `lane` is a number that the calling thread holds, or 0. `write` stores the record into the slot's words
    /// from 1 on; word 0 is the table's. Publish the spawn's event before: the stop's event may come at once.
    #[inline(always)]
    pub fn spawn(
        &self,
        lane: usize,
        key: Key,
        write: impl Fn(&[AtomicU64]),
        witness: &impl Witness,
    ) -> Spawned {
        let fingerprint = key.0;
        let Some([head, entries @ ..]) = self.index.hot(fingerprint) else { return Spawned::Refused };
        let before = Head(head.load(Ordering::Acquire));
        // An older spawn of the key may be in the large level. The stop must know, the spawn need not: so it only prefetches.
        if self.index.may_be_out(before, fingerprint, Ordering::Relaxed) {
            self.index.fetch(fingerprint);
        }
        // A bit for each word of the line, without a branch.
        let (mut same, mut free) = (0u32, 0u32);
        for word in entries.iter().rev() {
            let held = Entry(word.load(Ordering::Acquire));
            same = 2 * same + u32::from(held.may_have_tag(fingerprint));
            free = 2 * free + u32::from(held == Entry::NONE);
        }
        let is_usual = before.minus_out() == 0 && same == 0;
        let (true, Some(word)) = (is_usual, entries.get(free.trailing_zeros() as usize)) else {
            return self.unusual_spawn(lane, key, None, &write, witness);
        };
        let Some(slot) = self.slots.pop(lane) else {
            return self.unusual_spawn(lane, key, None, &write, witness);
        };
        let put = Self::publish(key, slot, &write);
        if !(Place { word, level: Level::Hot }.swap(Entry::NONE, put)) {
            return self.unusual_spawn(lane, key, Some((slot, put)), &write, witness);
        }
        if !is(Mutant::SpawnLooksNot) {
            then_look();
            if Head(head.load(Ordering::SeqCst)).stops_differ(before) {
                self.pair(lane, Whose::Key(key), witness);
            }
        }
        Spawned::Stands
    }

    /// Publishes the record of a slot in hand: from FREE over BUSY to LIVE. Returns its entry.
    #[inline(always)]
    fn publish(key: Key, slot: Slot<'a>, write: impl FnOnce(&[AtomicU64])) -> Entry {
        let control = slot.control();
        if !is(Mutant::NoBusy) {
            slot.control.store(control.next(State::Busy).0, Ordering::Relaxed);
            fence(Ordering::Release);
        }
        write(slot.words);
        let live = control.next(State::Live);
        slot.control.store(live.0, Ordering::Release);
        Entry::plus(key, slot.index, live.generation())
    }

    /// A spawn whose hot line is full, or may hold other entries of its key. `made` is its slot, if it has one by now.
    #[cold]
    #[inline(never)]
    fn unusual_spawn(
        &self,
        lane: usize,
        key: Key,
        made: Option<(Slot<'a>, Entry)>,
        write: &dyn Fn(&[AtomicU64]),
        witness: &dyn Witness,
    ) -> Spawned {
        let fingerprint = key.0;
        let mut has_other = false;
        for _ in 0..TRIES {
            let mut stop = None;
            has_other = false;
            self.index.each(fingerprint, true, &mut |place, held| match held.kind() {
                Kind::Minus if !held.is_held() && held.has_fingerprint(fingerprint) => {
                    // Those of older actors first: the spawn removes all of them.
                    if stop.is_none() || !held.origin().may_match_spawn() {
                        stop = Some((place, held));
                    }
                }
                Kind::Minus => {}
                _ => has_other |= self.is_of(held, Whose::Key(key)),
            });
            let Some((place, held)) = stop else { break };
            let origin = held.origin();
            // The stop of another spawn that stands: of the two records the older one has to go.
            if has_other && origin.may_match_spawn() && !is(Mutant::StopOfAnotherTaken) {
                break;
            }
            if !place.swap(held, Entry::NONE) {
                continue;
            }
            self.index.left(place, fingerprint, Kind::Minus);
            if !origin.may_match_spawn() {
                witness.superseded(origin);
                continue;
            }
            if let Some((slot, _)) = made {
                self.slots.free(lane, slot);
            }
            return Spawned::Stopped(origin);
        }
        let made = made.or_else(|| {
            let slot = self.slots.pop(lane)?;
            Some((slot, Self::publish(key, slot, write)))
        });
        let put = made.map_or(Entry::spill(fingerprint), |(_, put)| put);
        if !self.insert(lane, fingerprint, put.later_if(has_other && !is(Mutant::NoLater)), witness) {
            if let Some((slot, _)) = made {
                self.slots.free(lane, slot);
            }
            return Spawned::Refused;
        }
        self.look_again(lane, Whose::Key(key), witness);
        if made.is_some() { Spawned::Stands } else { Spawned::Spilled }
    }

    /// Puts an entry into its hot line, where another one makes room if need be; else into the large level. The caller looks
    /// again afterwards.
    fn insert(&self, lane: usize, fingerprint: u64, put: Entry, witness: &dyn Witness) -> bool {
        self.index.insert_hot(fingerprint, put)
            || put.kind() != Kind::Minus && self.evict(lane, fingerprint, put, witness)
            || self.insert_large(fingerprint, put)
    }

    fn insert_large(&self, fingerprint: u64, put: Entry) -> bool {
        let is_inserted = self.index.insert_large(fingerprint, put);
        if is_inserted {
            self.index.count_late(fingerprint, put.kind());
        }
        is_inserted
    }

    /// Moves an entry of a full hot line to the large level, and puts `put` in its place.
    #[cold]
    fn evict(&self, lane: usize, fingerprint: u64, put: Entry, witness: &dyn Witness) -> bool {
        let Some([_, entries @ ..]) = self.index.hot(fingerprint) else { return false };
        let first = (put.generation() as usize).wrapping_add(put.slot()) % ENTRIES;
        let (before, after) = entries.split_at_checked(first).unwrap_or_default();
        for word in after.iter().chain(before) {
            let place = Place { word, level: Level::Hot };
            let held = Entry(word.load(Ordering::Acquire));
            if held == Entry::NONE {
                if place.swap(held, put) {
                    return true;
                }
                continue;
            }
            if held.is_held() || held.kind() == Kind::Minus {
                continue;
            }
            // In hand: no other thread takes it now, and a thread that comes for it sees that it may stand.
            if !is(Mutant::MoveHoldsNot) && !place.swap(held, held.held()) {
                continue;
            }
            if is(Mutant::MoveRemovesFirst) {
                place.let_go(put);
            }
            let whose = held.known_fingerprint(fingerprint);
            let is_moved = self.index.insert_large(whose, held);
            let left = if is_moved { put } else { held };
            if is(Mutant::MoveHoldsNot) {
                if is_moved && !place.swap(held, put) {
                    continue;
                }
            } else if !is(Mutant::MoveRemovesFirst) {
                place.let_go(left);
            }
            if is_moved {
                self.index.count_late(whose, held.kind());
            }
            if !is(Mutant::MoverLooksNot) {
                then_look();
                self.pair_moved(lane, whose, held, witness);
            }
            if is_moved {
                return true;
            }
        }
        false
    }

    /// Pairs the stops that came for an entry while it was in a mover's hand. Another thread may have taken the entry since,
    /// and then has looked for its stops.
    fn pair_moved(&self, lane: usize, whose: u64, moved: Entry, witness: &dyn Witness) {
        let mut has_stop = false;
        self.index.each(whose, true, &mut |_, held| has_stop |= held.kind() == Kind::Minus);
        if !has_stop {
            return;
        }
        let whose = match moved.kind() {
            Kind::Plus => match self.slots.slot(moved.slot()) {
                Some(slot) => Whose::Key(slot.key()),
                None => return,
            },
            _ => Whose::Fingerprint(moved.fingerprint()),
        };
        self.pair(lane, whose, witness);
    }

    // Searches.

    /// Whether an entry is a spawn of this key.
    #[inline(always)]
    fn is_of(&self, held: Entry, whose: Whose) -> bool {
        match (held.kind(), whose) {
            (Kind::Plus, whose) => self.slots.slot(held.slot()).is_some_and(|slot| match whose {
                Whose::Key(key) => slot.key() == key,
                Whose::Fingerprint(fingerprint) => Entry::spill(slot.key().0).has_fingerprint(fingerprint),
            }),
            (Kind::Spill, whose) => held.has_fingerprint(whose.fingerprint()),
            _ => false,
        }
    }

    /// The stamp of a spawn's record. A spawn without a slot has none: it counts as the oldest one of its key, or as the
    /// newest one if others stood when it came.
    fn stamp(&self, held: Entry) -> u64 {
        match held.kind() {
            Kind::Plus => self.slots.slot(held.slot()).map_or(0, |slot| slot.stamp()),
            _ if held.is_later() => u64::MAX,
            _ => 0,
        }
    }

    /// The oldest spawn of a key. An entry that is being moved stands twice for a moment, but then it is in hand.
    fn oldest(&self, whose: Whose) -> Oldest<'a> {
        let mut seen = Entry::NONE;
        for _ in 0..TRIES {
            let (mut best, mut in_hand): (Option<(Place<'a>, Entry, u64)>, bool) = (None, false);
            self.index.each(whose.fingerprint(), false, &mut |place, held| {
                if !self.is_of(held, whose) {
                    return;
                }
                in_hand |= held.is_held();
                let stamp = self.stamp(held);
                if best.is_none_or(|(_, _, least)| stamp < least) {
                    best = Some((place, held, stamp));
                }
            });
            match best {
                _ if in_hand => return Oldest::InHand,
                None => return Oldest::None,
                // Others stood when it came. A slow search may have passed their places before they came.
                Some((_, held, _)) if held.is_later() && held != seen && !is(Mutant::NoSecondLook) => {
                    seen = held;
                }
                Some((place, held, stamp)) => return Oldest::At(place, held, stamp),
            }
        }
        Oldest::InHand
    }

    /// The newest spawn of a key that has a slot: its place, entry, slot and stamp.
    fn newest(&self, key: Key) -> Option<(Place<'a>, Entry, Slot<'a>, u64)> {
        let mut best: Option<(Place<'a>, Entry, Slot<'a>, u64)> = None;
        self.index.each(key.0, false, &mut |place, held| {
            if held.kind() != Kind::Plus || !self.is_of(held, Whose::Key(key)) {
                return;
            }
            let Some(slot) = self.slots.slot(held.slot()) else { return };
            let stamp = slot.stamp();
            if best.as_ref().is_none_or(|(.., most)| stamp > *most) {
                best = Some((place, held, slot, stamp));
            }
        });
        best
    }

    /// The stamp of the newest spawn of this key, if any: a later spawn needs a later stamp.
    pub fn newest_spawn(&self, key: Key) -> Option<u64> {
        self.newest(key).map(|(.., stamp)| stamp)
    }

    /// The stamp of the oldest spawn of this key, if any.
    pub fn oldest_spawn(&self, key: Key) -> Option<u64> {
        let mut oldest = None;
        self.index.each(key.0, false, &mut |_, held| {
            if held.kind() == Kind::Plus && self.is_of(held, Whose::Key(key)) {
                let stamp = self.stamp(held);
                oldest = Some(oldest.map_or(stamp, |least: u64| least.min(stamp)));
            }
        });
        oldest
    }

    /// Whether there is a spawn of this key.
    pub fn may_hold_spawn(&self, key: Key) -> bool {
        self.has_spawn(Whose::Key(key))
    }

    fn has_spawn(&self, whose: Whose) -> bool {
        let mut has = false;
        self.index.each(whose.fingerprint(), false, &mut |_, held| has |= self.is_of(held, whose));
        has
    }

    // Stops.

    /// Removes the oldest spawn of this key. `stopped` gets its slot, which nobody else uses during the call: publish the
    /// stop's event there. `lane` as for [`Self::spawn`].
    #[inline(always)]
    pub fn stop(
        &self,
        lane: usize,
        key: Key,
        stopped: impl FnOnce(&[AtomicU64]),
        witness: &impl Witness,
    ) -> Stopped {
        let Some((word, held, slot)) = self.only_spawn(key) else {
            return self.unusual_stop(lane, key, stopped, witness);
        };
        let stamp = slot.stamp();
        let place = Place { word, level: Level::Hot };
        if !place.swap(held, Entry::NONE) {
            return self.unusual_stop(lane, key, stopped, witness);
        }
        // The slot is in hand now. Its entry may be that of another key, in whose generation the lower bits are the same.
        if slot.key() != key && !is(Mutant::KeyReadOnce) {
            self.put_back(lane, place, held, slot, witness);
            return self.unusual_stop(lane, key, stopped, witness);
        }
        stopped(slot.words);
        self.slots.free(lane, slot);
        Stopped::Entry { stamp }
    }

    /// The spawn of this key, if it is the only entry of its tag, and in the hot level.
    #[inline(always)]
    fn only_spawn(&self, key: Key) -> Option<(&'a AtomicU64, Entry, Slot<'a>)> {
        let fingerprint = key.0;
        let [head, entries @ ..] = self.index.hot(fingerprint)?;
        // A bit for each word of the line, without a branch.
        let mut same = 0u32;
        for word in entries.iter().rev() {
            same = 2 * same + u32::from(Entry(word.load(Ordering::Acquire)).may_have_tag(fingerprint));
        }
        let word = entries.get(same.trailing_zeros() as usize)?;
        let held = Entry(word.load(Ordering::Acquire));
        let slot = self.slots.slot(held.slot())?;
        // The head is loaded after the entries: an older spawn of the key that has left them is counted by now.
        let is_only = same & same.wrapping_sub(1) == 0
            && held.is_plain_plus()
            && slot.key() == key
            && (is(Mutant::LargeUnseen)
                || !self.index.may_be_out(
                    Head(head.load(Ordering::Acquire)),
                    fingerprint,
                    Ordering::Acquire,
                )
                || !self.index.is_tag_out(fingerprint));
        is_only.then_some((word, held, slot))
    }

    #[cold]
    #[inline(never)]
    fn unusual_stop(
        &self,
        lane: usize,
        key: Key,
        stopped: impl FnOnce(&[AtomicU64]),
        witness: &dyn Witness,
    ) -> Stopped {
        for _ in 0..TRIES {
            let Oldest::At(place, held, stamp) = self.oldest(Whose::Key(key)) else { break };
            match self.take(lane, place, held, Whose::Key(key), witness) {
                Some(Some(slot)) => {
                    stopped(slot.words);
                    self.slots.free(lane, slot);
                    return Stopped::Entry { stamp };
                }
                Some(None) => return Stopped::Spilled,
                None => {}
            }
        }
        Stopped::Nothing
    }

    /// Takes a spawn: its slot, if it has one, is in hand then. `None` if another thread was faster.
    fn take(
        &self,
        lane: usize,
        place: Place<'a>,
        held: Entry,
        whose: Whose,
        witness: &dyn Witness,
    ) -> Option<Option<Slot<'a>>> {
        if !place.swap(held, Entry::NONE) {
            return None;
        }
        let slot = if held.kind() == Kind::Plus { Some(self.slots.slot(held.slot())?) } else { None };
        if let Some(slot) = slot {
            if !self.is_of(held, whose) && !is(Mutant::KeyReadOnce) {
                self.put_back(lane, place, held, slot, witness);
                return None;
            }
        }
        self.index.left(place, whose.fingerprint(), Kind::Plus);
        Some(slot)
    }

    /// Puts the entry of another key back that was taken in error: only the lower bits of a generation are in an entry.
    #[cold]
    #[inline(never)]
    fn put_back(&self, lane: usize, place: Place<'a>, held: Entry, slot: Slot<'a>, witness: &dyn Witness) {
        let key = slot.key();
        if !place.swap(Entry::NONE, held) {
            self.index.left(place, key.0, Kind::Plus);
            if !self.insert(lane, key.0, held, witness) {
                witness.lost(slot.words);
                self.slots.free(lane, slot);
                return;
            }
        }
        if !is(Mutant::PutBackLooksNot) {
            self.look_again(lane, Whose::Key(key), witness);
        }
    }

    /// Leaves a stop that found no spawn. A spawn that comes later finds it, and one that came at the same time is paired
    /// with it now, unless its origin says that it cannot match a spawn. False if the index has no place for it.
    #[cold]
    #[inline(never)]
    pub fn leave_stop(&self, lane: usize, key: Key, origin: StopOrigin, witness: &dyn Witness) -> bool {
        let fingerprint = key.0;
        let Some([head, ..]) = self.index.hot(fingerprint) else { return false };
        // Inserted first, then made known: a spawn that knows of it must find it.
        let make_known = || head.fetch_add(Head::EPOCH, Ordering::SeqCst);
        if is(Mutant::EpochFirst) {
            make_known();
        }
        if !self.insert(lane, fingerprint, Entry::minus(fingerprint, origin), witness) {
            return false;
        }
        if !is(Mutant::EpochFirst) {
            make_known();
        }
        if !is(Mutant::StopLooksNot) {
            self.look_again(lane, Whose::Key(key), witness);
        }
        true
    }

    /// Removes a waiting stop of this key, unless a spawn of the key stands: the stop belongs to that spawn.
    pub fn take_stop(&self, key: Key) -> Option<StopOrigin> {
        let fingerprint = key.0;
        for _ in 0..TRIES {
            let (mut stop, mut has_spawn) = (None, false);
            self.index.each(fingerprint, true, &mut |place, held| match held.kind() {
                Kind::Minus if !held.is_held() && held.has_fingerprint(fingerprint) => {
                    stop = Some((place, held));
                }
                Kind::Minus => {}
                _ => has_spawn |= self.is_of(held, Whose::Key(key)),
            });
            let (place, held) = stop.filter(|_| !has_spawn)?;
            if place.swap(held, Entry::NONE) {
                self.index.left(place, fingerprint, Kind::Minus);
                return Some(held.origin());
            }
        }
        None
    }

    // Both signs.

    /// What a thread does after it has inserted, moved or let go of an entry.
    fn look_again(&self, lane: usize, whose: Whose, witness: &dyn Witness) -> u64 {
        then_look();
        self.pair(lane, whose, witness)
    }

    /// Removes stops of a key together with its oldest spawns. The stop is in hand meanwhile: a spawn that comes now inserts
    /// its entry, and the holder looks again after it has let the stop go.
    #[cold]
    #[inline(never)]
    fn pair(&self, lane: usize, whose: Whose, witness: &dyn Witness) -> u64 {
        let fingerprint = whose.fingerprint();
        let mut pairs = 0;
        for _ in 0..2 * TRIES {
            let mut stop = None;
            self.index.each(fingerprint, true, &mut |place, held| {
                if stop.is_none()
                    && held.kind() == Kind::Minus
                    && !held.is_held()
                    && held.has_fingerprint(fingerprint)
                    && (held.origin().may_match_spawn() || is(Mutant::OriginIgnored))
                {
                    stop = Some((place, held));
                }
            });
            let Some((stop_at, stop)) = stop else { break };
            let Oldest::At(place, held, _) = self.oldest(whose) else { break };
            let taken = if is(Mutant::SpawnTakenFirst) {
                let Some(taken) = self.take(lane, place, held, whose, witness) else { continue };
                if !stop_at.swap(stop, Entry::NONE) {
                    self.insert(lane, fingerprint, held, witness);
                    continue;
                }
                Some(taken)
            } else {
                let in_hand = if is(Mutant::StopHeldNot) { stop } else { stop.held() };
                if !stop_at.swap(stop, in_hand) {
                    continue;
                }
                let taken = self.take(lane, place, held, whose, witness);
                stop_at.let_go(if taken.is_some() { Entry::NONE } else { stop });
                taken
            };
            if let Some(slot) = taken {
                self.index.left(stop_at, fingerprint, Kind::Minus);
                witness.paired(slot.map(|slot| slot.words));
                if let Some(slot) = slot {
                    self.slots.free(lane, slot);
                }
                pairs += 1;
            } else if is(Mutant::RestoreLooksNot) {
                break;
            }
            then_look();
        }
        pairs
    }

    /// For the sampler: pairs what is left over, and calls `expire` for each waiting stop, which returns whether to give it
    /// up. Collects slots that no free list has. One pass over the index. Several threads may settle at the same time.
    pub fn settle(
        &self,
        lane: usize,
        mut expire: impl FnMut(&mut WaitingStop) -> bool,
        witness: &impl Witness,
    ) -> Settled {
        self.slots.collect_orphans(lane);
        let mut settled = Settled::default();
        for (place, number) in self.index.places() {
            let held = Entry(place.word.load(Ordering::Acquire));
            if held.kind() != Kind::Minus {
                continue;
            }
            let fingerprint = held.fingerprint();
            let whose = Whose::Fingerprint(fingerprint);
            let may_match = held.origin().may_match_spawn();
            if may_match {
                settled.pairs += self.pair(lane, whose, witness);
            }
            // In hand while `expire` decides: a spawn that comes meanwhile inserts its entry.
            if held.is_held() || !place.swap(held, held.held()) {
                let is_held = Entry(place.word.load(Ordering::Relaxed)).kind() == Kind::Minus;
                settled.waiting += u64::from(is_held);
                continue;
            }
            let has_other_spawn = !may_match && self.has_spawn(whose);
            let mut stop = WaitingStop { fingerprint, origin: held.origin(), has_other_spawn };
            if expire(&mut stop) || has_other_spawn {
                place.let_go(Entry::NONE);
                self.index.left(self.index.leveled(place, number, fingerprint), fingerprint, Kind::Minus);
                settled.expired += 1;
            } else {
                place.let_go(Entry::minus(fingerprint, stop.origin));
                let pairs =
                    if is(Mutant::RestoreLooksNot) { 0 } else { self.look_again(lane, whose, witness) };
                settled.pairs += pairs;
                settled.waiting += u64::from(pairs == 0);
            }
        }
        settled
    }

    /// How many slots no free list has: [`Self::settle`] collects them.
    pub fn orphans(&self) -> u64 {
        self.slots.orphans()
    }

    // Changes in place.

    /// Rewrites the record of the newest spawn of this key; its key and stamp must stay. A stop that comes meanwhile is
    /// paired afterwards.
    pub fn update(
        &self,
        lane: usize,
        key: Key,
        mut change: impl FnMut(&[AtomicU64]),
        witness: &impl Witness,
    ) -> Updated {
        let Some((place, held, slot, _)) = self.newest(key) else { return Updated::Nothing };
        if held.is_held() || !place.swap(held, held.held()) {
            return Updated::InHand;
        }
        // As for a stop: the entry may be that of another key by now.
        let held_key = slot.key();
        let is_own = held_key == key || is(Mutant::KeyReadOnce);
        if is_own {
            Self::publish(key, slot, |words| change(words));
        }
        place.let_go(held);
        if !is(Mutant::UpdaterLooksNot) {
            self.look_again(lane, Whose::Key(held_key), witness);
        }
        if is_own { Updated::Done } else { Updated::InHand }
    }

    /// The slot of the newest spawn of this key, and its control word.
    pub fn find(&self, key: Key) -> Option<(usize, u64)> {
        let (_, _, slot, _) = self.newest(key)?;
        let control = Control(slot.control.load(Ordering::Acquire));
        // The key is read after the control word: while this one stays, it is the key's.
        (control.state() == State::Live && slot.key() == key).then_some((slot.index, control.0))
    }

    /// The words of a slot; empty if there is no such slot.
    #[inline]
    pub fn slot(&self, index: usize) -> &'a [AtomicU64] {
        self.slots.slot(index).map_or(&[], |slot| slot.words)
    }

    /// Whether a slot still has this control word.
    #[inline]
    pub fn stands(&self, index: usize, control: u64) -> bool {
        self.slots.slot(index).is_some_and(|slot| slot.control.load(Ordering::Acquire) == control)
    }

    /// Removes the newest spawn of this key if `may` allows it. `may` gets its slot, whose control word is BUSY meanwhile.
    /// False if it does not allow it, if there is no spawn, or if another thread has it in hand. Only for a key that nobody
    /// leaves stops of: this does not look for any.
    pub fn remove(&self, lane: usize, key: Key, may: impl FnOnce(&[AtomicU64]) -> bool) -> bool {
        let Some((place, held, slot, _)) = self.newest(key) else { return false };
        if held.is_held() || !place.swap(held, held.held()) {
            return false;
        }
        let control = slot.control();
        slot.control.store(control.in_state(State::Busy).0, Ordering::Release);
        let removed = slot.key() == key && may(slot.words);
        if removed {
            place.let_go(Entry::NONE);
            self.index.left(place, key.0, Kind::Plus);
            self.slots.free(lane, slot);
        } else {
            slot.control.store(control.0, Ordering::Release);
            place.let_go(held);
        }
        removed
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests;
