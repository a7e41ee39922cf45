//! The actor table: a multiset of signed entries. The sum of the entries of a key says whether its actor is live.
//!
//! The hooks come out of order: a stop may come before its spawn, and the spawn of a respawned path before the stop of its
//! predecessor. A single entry per path would then need locks. So a spawn is +1 and a stop is −1. Each removes an entry of
//! the other sign if there is one, and else adds an entry of its own. A path is live if the sum of its entries is one. In
//! the usual order only +1 entries exist.
//!
//! ```
//! use atomscope_layout::seqlock::Patience;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::table::{Entry, Key, Put, Sign, Table, TableReader, TakeOutcome};
//! use atomscope_layout::words::Words;
//!
//! const STRIDE: usize = 8; // words per slot
//! let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
//! let (control, slots, spill, spill_used) = (words(16), words(16 * STRIDE), words(8), AtomicU64::new(0));
//! let table = Table::new(&control, &slots, STRIDE, &spill, &spill_used);
//!
//! let key = Key([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]);
//! let stamp = 7;
//! assert_eq!(table.put(key, Sign::Plus, &[key.0[0], key.0[1], 0, 0, stamp]), Put::Slot);
//!
//! let reader = TableReader::new(Words::new(&control), Words::new(&slots), STRIDE, Words::new(&spill));
//! let (mut record, mut patience) = ([0; STRIDE], Patience::for_a_scan());
//! let live = (0..reader.len()).filter(|slot| {
//!     reader.read(*slot, &mut record, &mut patience) == Ok(Entry::Held(Sign::Plus))
//! });
//! assert_eq!(live.count(), 1);
//! assert_eq!(table.take(key, Sign::Plus), TakeOutcome::Entry { stamp });
//! ```
//!
//! ```text
//!   control word:  generation (40) │ tag (20) │ changing (1) │ later (1) │ state (2)
//!
//!              ┌──────────────── put: compare-and-swap, generation + 1 ─────────────┐
//!              │                                                                    ▼
//!           ┌──────┐                                                           ┌──────┐
//!           │ FREE │ ◄──────────── take: compare-and-swap ──── PLUS, MINUS ◄── │ BUSY │
//!           └──────┘                                              │            └──────┘
//!                                                                 │ update         ▲
//!                                                                 └────────────────┘ generation + 1
//! ```
//! *Later* marks a PLUS that was put while another PLUS of its key existed, or may have. Only then can a stop that found
//! one entry have missed an older one, and only then it searches again. *Changing* marks a BUSY that will be the same PLUS
//! again. A stop that finds it cannot know whether it is its own actor, and so adds a MINUS.
//!
//! A waiting stop records which actor it may belong to ([`StopOrigin`]). The stop of an actor older than the hooks has no
//! spawn in the table, and must not remove an actor that is spawned later under the same path.
//!
//! A key has two buckets of eight slots. If both are full, the entry is *spilled*: only a hash word with a sign is kept. If
//! the spill group is full too, the entry is refused, and the caller counts it.
//!
//! | state | access to the record in the slot |
//! |---|---|
//! | FREE | none |
//! | BUSY | only by the thread that stored BUSY |
//! | PLUS, MINUS | no thread writes it; readers copy it between two equal loads of the control word. Owners may store to the live words at any time |

use core::ops::Range;

use crate::limits::BUCKET_SLOTS;
use crate::seqlock::{Patience, READ_TRIES, Unreadable};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, Words};

/// Word of the record that holds the stamp, which orders the entries of one key.
pub const STAMP_WORD: usize = 4;
/// Word of a MINUS that holds its origin; the next word holds the round in which the stop was first seen. In a PLUS both
/// hold the parent's key.
const ORIGIN_WORD: usize = 2;
/// Words of the record that a MINUS needs: key, origin, first round, stamp.
const MINUS_WORDS: usize = STAMP_WORD + 1;

/// 128-bit hash of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub [u64; 2]);

impl core::fmt::Display for Key {
    /// 32 hex digits.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

impl Key {
    /// The bits that identify a spilled entry, in their position: all but two of the first word.
    #[inline]
    pub fn fingerprint(self) -> u64 {
        self.0[0] & !SIGN_BITS
    }

    fn tag(self) -> u64 {
        self.0[1] & TAG_MASK
    }

    #[inline]
    fn buckets(self, count: usize) -> [usize; 2] {
        fingerprint_buckets(self.fingerprint(), count)
    }

    fn spill_group(self, count: usize) -> usize {
        scale(self.0[1] >> 32, count)
    }
}

/// Both buckets depend only on the fingerprint, so that a spilled stop can find its spawn in the table.
#[inline]
fn fingerprint_buckets(fingerprint: u64, count: usize) -> [usize; 2] {
    let first = scale(fingerprint >> 32, count);
    let second = scale(fingerprint & 0xffff_ffff, count);
    [first, if second == first { (first + 1) % count.max(1) } else { second }]
}

/// Maps 32 random bits to 0..count.
#[inline]
fn scale(bits: u64, count: usize) -> usize {
    ((bits * count as u64) >> 32) as usize
}

/// The sign of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A spawn.
    Plus,
    /// A stop that came before its spawn.
    Minus,
}

/// The origin of a stop that found no spawn: which actor it may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOrigin {
    /// An actor whose spawn was reported, or will be in a moment.
    Awaited,
    /// Unknown: an actor as for [`Self::Awaited`], or one that is older than the hooks.
    Unknown,
    /// An actor older than the hooks: its spawn would have been reported by now.
    Outlived,
    /// An actor older than the hooks, unless its spawn was reported while the hooks were being installed.
    Older,
}

impl StopOrigin {
    const ALL: [Self; 4] = [Self::Awaited, Self::Unknown, Self::Outlived, Self::Older];

    /// Whether the stop may belong to a spawn in the table.
    pub fn may_match_spawn(self) -> bool {
        matches!(self, Self::Awaited | Self::Unknown)
    }

    /// A damaged word is read as unknown.
    fn from_word(word: u64) -> Self {
        usize::try_from(word).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Unknown)
    }
}

/// A stop that has found no spawn, as [`Table::settle_with`] passes it.
#[derive(Debug)]
pub struct WaitingStop {
    /// The fingerprint of its key.
    pub fingerprint: u64,
    /// Its origin. A new value stays with the stop, except for a spilled stop, which keeps no fields.
    pub origin: StopOrigin,
    /// The round in which it was first seen, or 0. A new value stays with the stop, as for `origin`.
    pub first_round: u64,
    /// Whether it is spilled: only a hash word of it is kept.
    pub is_spilled: bool,
    /// Whether the table has a spawn of its key that belongs to another actor. Then the stop is given up in any case.
    pub has_other_spawn: bool,
}

const STATE_MASK: u64 = 3;
const LATER: u64 = 1 << 2;
const CHANGING: u64 = 1 << 3;
/// State and marks.
const LOW_MASK: u64 = 0xf;
const TAG_MASK: u64 = (1 << 20) - 1;
const SIGN_BITS: u64 = 3;

const FREE: u64 = 0;
const BUSY: u64 = 1;
const PLUS: u64 = 2;
const MINUS: u64 = 3;

/// A control word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Control(u64);

impl Control {
    fn state(self) -> u64 {
        self.0 & STATE_MASK
    }

    fn tag(self) -> u64 {
        self.0 >> 4 & TAG_MASK
    }

    fn is_later(self) -> bool {
        self.0 & LATER != 0
    }

    fn is_changing(self) -> bool {
        self.0 & CHANGING != 0
    }

    /// The same generation and tag with another state, and with the marks in `state`.
    fn with_state(self, state: u64) -> Self {
        Self(self.0 & !LOW_MASK | state)
    }

    /// The same generation, free. The tag is cleared too, so that later searches for this key skip the slot.
    fn freed(self) -> Self {
        Self(self.0 & !(TAG_MASK << 4 | LOW_MASK))
    }

    fn next_generation(self, tag: u64, state: u64) -> Self {
        Self((self.0 >> 24).wrapping_add(1) << 24 | tag << 4 | state)
    }
}

/// The control word with the tag of another key, or without a tag; for redacted dumps.
pub fn retagged(control: u64, key: Option<Key>) -> u64 {
    control & !(TAG_MASK << 4) | key.map_or(0, Key::tag) << 4
}

/// The spill word with the fingerprint of another key; for redacted dumps.
pub fn respilled(held: u64, key: impl FnOnce(u64) -> u64) -> u64 {
    if held == 0 { 0 } else { key(held & !SIGN_BITS) & !SIGN_BITS | held & SIGN_BITS }
}

/// The states of a bucket's words, two bits each, the first word's in the highest bits. `None` if a used word has the tag
/// of this key.
#[inline]
fn states_without(key: Key, words: &[AtomicU64; BUCKET_SLOTS]) -> Option<u32> {
    let mut states = 0;
    for word in words {
        let control = Control(word.load(Ordering::Acquire));
        if control.tag() == key.tag() && control.state() != FREE {
            return None;
        }
        states = states << 2 | control.state() as u32;
    }
    Some(states)
}

/// One bit for each used word of a bucket: the lower of the two bits of its state.
#[inline]
fn used(states: u32) -> u32 {
    (states | states >> 1) & 0x5555_5555
}

/// Whether the other bucket has fewer used words. Both are counted at once, each in one half of a word.
#[inline]
fn is_emptier(other: u32, than: u32) -> bool {
    let bits = used(than) | used(other) << 16;
    let in_four = (bits & 0x3333_3333) + (bits >> 2 & 0x3333_3333);
    let in_eight = (in_four + (in_four >> 4)) & 0x0f0f_0f0f;
    let counts = in_eight + (in_eight >> 8);
    (counts >> 16 & 0xff) < (counts & 0xff)
}

const _: () = assert!(2 * BUCKET_SLOTS <= 16);

/// The index of the first free word of a bucket.
#[inline]
fn first_free(states: u32) -> Option<usize> {
    const ALL: u32 = ((1u64 << (2 * BUCKET_SLOTS)) - 1) as u32 & 0x5555_5555;
    let free = !used(states) & ALL;
    // The first word's bits are the highest bits in use.
    let before = free.leading_zeros().checked_sub(32 - 2 * BUCKET_SLOTS as u32)?;
    (free != 0).then_some(before as usize / 2)
}

/// A slot that [`Table::arrive`] has claimed.
#[derive(Debug)]
#[must_use = "the slot is BUSY until its record is published"]
pub struct Arrival<'a> {
    word: &'a AtomicU64,
    busy: Control,
    slot: &'a [AtomicU64],
}

impl Arrival<'_> {
    /// Stores `head` into the first words of the record and `text` from word `text_at` on, and publishes the record. All
    /// other words keep their value.
    #[inline]
    pub fn publish<const HEAD_WORDS: usize>(self, head: &[u64; HEAD_WORDS], text_at: usize, text: &[u64]) {
        if let (Some(first), Some(rest)) = (self.slot.first_chunk::<HEAD_WORDS>(), self.slot.get(text_at..)) {
            words::store(first, head);
            words::store(rest, text);
        }
        self.word.store(self.busy.with_state(PLUS).0, Ordering::Release);
    }
}

/// What settling found for a stop.
enum SettleMatch {
    /// A spawn that may be its own; the spawn is removed now.
    Spawn,
    /// A spawn of another actor; the spawn stays.
    OtherSpawn,
    /// A record that is being changed.
    Changing,
    /// No spawn.
    Nothing,
}

/// The oldest spawn of a key.
enum Oldest {
    /// There is none.
    None,
    /// A record is being changed, and it may be the oldest.
    Changing,
    /// The slot, its control word and its stamp. To act on it, swap this control word.
    At(usize, Control, u64),
}

fn state_of(sign: Sign) -> u64 {
    match sign {
        Sign::Plus => PLUS,
        Sign::Minus => MINUS,
    }
}

/// The result of [`Table::take`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TakeOutcome {
    /// An entry of the table was removed.
    Entry {
        /// The stamp of the entry.
        stamp: u64,
    },
    /// A waiting stop was removed. If it [cannot match a spawn](StopOrigin::may_match_spawn), take again.
    Stop(StopOrigin),
    /// A spilled entry was removed.
    Spilled,
    /// No entry was removed: there is none, or another thread has it.
    Nothing,
}

/// The result of [`Table::put`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// The entry is in a slot.
    Slot,
    /// The entry is spilled: only its hash word is kept.
    Spilled,
    /// The entry was refused: buckets and spill group are full.
    Refused,
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

/// The table of one region, for its writers. Every operation except [`Table::settle`] is wait-free: a bounded number of
/// passes over two buckets and one spill group.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    control: &'a [AtomicU64],
    slots: &'a [AtomicU64],
    stride: usize,
    spill: &'a [AtomicU64],
    spill_used: &'a AtomicU64,
}

impl core::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Table({} slots)", self.control.len())
    }
}

impl<'a> Table<'a> {
    /// The table over these sections; `stride` is the words from one slot to the next. `spill_used` is a private word of
    /// the writer, 0 until the first entry is spilled; while it is 0, no operation loads the spill words. A thread that
    /// sees it late misses an entry there, which only leaves a pair to settle.
    #[inline]
    pub fn new(
        control: &'a [AtomicU64],
        slots: &'a [AtomicU64],
        stride: usize,
        spill: &'a [AtomicU64],
        spill_used: &'a AtomicU64,
    ) -> Self {
        Self { control, slots, stride, spill, spill_used }
    }

    #[inline]
    pub(crate) fn slot(&self, index: usize) -> &'a [AtomicU64] {
        self.slots.get(index * self.stride..(index + 1) * self.stride).unwrap_or_default()
    }

    #[inline]
    fn buckets(&self, key: Key) -> [usize; 2] {
        key.buckets(self.control.len() / BUCKET_SLOTS)
    }

    fn bucket(&self, bucket: usize) -> impl Iterator<Item = (usize, &'a AtomicU64)> + use<'a> {
        let start = bucket * BUCKET_SLOTS;
        let words = self.control.get(start..start + BUCKET_SLOTS).unwrap_or_default();
        words.iter().enumerate().map(move |(at, word)| (start + at, word))
    }

    /// The control words of a bucket.
    #[inline]
    fn words(&self, bucket: usize) -> Option<&'a [AtomicU64; BUCKET_SLOTS]> {
        self.control.get(bucket * BUCKET_SLOTS..)?.first_chunk()
    }

    /// The usual spawn: claims a slot in one pass, if the table has no entry of its key. `None` if there may be one, or if
    /// the claim failed: then use [`Self::take`] and [`Self::put`]. The slot is BUSY until the record is published.
    #[inline]
    pub fn arrive(&self, key: Key) -> Option<Arrival<'a>> {
        if self.spill_used.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let [first, second] = self.buckets(key);
        let (one, other) = (self.words(first)?, self.words(second)?);
        let (used, used_in_other) = (states_without(key, one)?, states_without(key, other)?);
        let (bucket, words, used) =
            if is_emptier(used_in_other, used) { (second, other, used_in_other) } else { (first, one, used) };
        let at = first_free(used)?;
        let (word, index) = (words.get(at)?, bucket * BUCKET_SLOTS + at);
        let control = Control(word.load(Ordering::Relaxed));
        let busy = control.next_generation(key.tag(), BUSY);
        let claimed = control.state() == FREE
            && word.compare_exchange(control.0, busy.0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        fence(Ordering::Release);
        claimed.then(|| Arrival { word, busy, slot: self.slot(index) })
    }

    /// The entry of this key and state with the least or greatest stamp, and whether an entry of its tag is being changed.
    /// Each fact was true at some time during the search. To act on the entry, swap the returned control word.
    fn find(&self, key: Key, state: u64, newest: bool) -> (Option<(usize, Control, u64)>, bool) {
        let mut best: Option<(usize, Control, u64)> = None;
        let mut changing = false;
        for bucket in self.buckets(key) {
            for (index, word) in self.bucket(bucket) {
                let control = Control(word.load(Ordering::Acquire));
                if control.tag() != key.tag() {
                    continue;
                }
                changing |= control.is_changing();
                if control.state() != state || self.key(index) != Some(key) {
                    continue;
                }
                let Some(stamp) = self.slot(index).get(STAMP_WORD) else { continue };
                let stamp = stamp.load(Ordering::Relaxed);
                if best.is_none_or(|(_, _, seen)| if newest { stamp > seen } else { stamp < seen }) {
                    best = Some((index, control, stamp));
                }
            }
        }
        (best, changing)
    }

    /// The oldest spawn of this key. A slow search may pass the slot of an actor before that actor is put there, and then
    /// find only its successor. The successor is marked *later*, so this searches again and finds the older one too.
    fn oldest(&self, key: Key) -> Oldest {
        let mut seen = None;
        // Each further search is caused by another thread, and there are at most two buckets of entries.
        for _ in 0..2 * BUCKET_SLOTS {
            match self.find(key, PLUS, false) {
                (_, true) => return Oldest::Changing,
                (None, _) => return Oldest::None,
                (Some((index, control, stamp)), _)
                    if !control.is_later() || seen == Some((index, control)) =>
                {
                    return Oldest::At(index, control, stamp);
                }
                (Some((index, control, _)), _) => seen = Some((index, control)),
            }
        }
        Oldest::Changing
    }

    /// The stamp of the newest spawn of this key, if any: a later spawn needs a later stamp.
    pub fn newest_spawn(&self, key: Key) -> Option<u64> {
        self.find(key, PLUS, true).0.map(|(_, _, stamp)| stamp)
    }

    /// The stamp of the oldest spawn of this key, if any.
    pub fn oldest_spawn(&self, key: Key) -> Option<u64> {
        self.find(key, PLUS, false).0.map(|(_, _, stamp)| stamp)
    }

    /// Removes the oldest entry of this key and sign. It removes no stop while there may be an earlier spawn of its key: the
    /// stop belongs to that spawn, and [`Table::settle`] removes both. (If a new spawn removed the stop, the earlier record
    /// would stay in its place.) It removes no spawn while a record of its key is being changed.
    #[inline]
    pub fn take(&self, key: Key, sign: Sign) -> TakeOutcome {
        match sign {
            Sign::Plus => match self.take_only(key) {
                Some(stamp) => TakeOutcome::Entry { stamp },
                None => self.take_plus(key),
            },
            Sign::Minus => self.take_minus(key),
        }
    }

    /// The usual stop: removes the first spawn of this key that is not marked *later*, and returns its stamp. No other spawn
    /// of the key is older. Of two that were put at the same time, either may be removed.
    #[inline(always)]
    fn take_only(&self, key: Key) -> Option<u64> {
        for bucket in self.buckets(key) {
            for (at, word) in self.words(bucket)?.iter().enumerate() {
                let control = Control(word.load(Ordering::Acquire));
                if (control.0 ^ (key.tag() << 4 | PLUS)) & (TAG_MASK << 4 | LOW_MASK) != 0 {
                    continue;
                }
                let slot = self.slot(bucket * BUCKET_SLOTS + at);
                let [first, second, _, _, stamp] = slot.first_chunk::<MINUS_WORDS>()?;
                let held = Key([first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)]);
                let stamp = stamp.load(Ordering::Relaxed);
                if held == key
                    && word
                        .compare_exchange(control.0, control.freed().0, Ordering::AcqRel, Ordering::Relaxed)
                        .is_ok()
                {
                    return Some(stamp);
                }
            }
        }
        None
    }

    #[cold]
    fn take_plus(&self, key: Key) -> TakeOutcome {
        // Each failure means that another thread removed the entry, and there are at most two buckets of entries.
        for _ in 0..2 * BUCKET_SLOTS {
            match self.oldest(key) {
                Oldest::At(index, control, stamp) => {
                    if self.swap(index, control, control.freed()) {
                        return TakeOutcome::Entry { stamp };
                    }
                }
                Oldest::Changing => return TakeOutcome::Nothing,
                Oldest::None => break,
            }
        }
        let spilled = self.take_spilled(self.spill_group(key), key.fingerprint(), Sign::Plus);
        if spilled { TakeOutcome::Spilled } else { TakeOutcome::Nothing }
    }

    #[cold]
    fn take_minus(&self, key: Key) -> TakeOutcome {
        for _ in 0..2 * BUCKET_SLOTS {
            let (Some((index, control, _)), _) = self.find(key, MINUS, false) else { break };
            if self.may_hold_spawn(key) {
                return TakeOutcome::Nothing;
            }
            let origin = self.origin(index);
            if self.swap(index, control, control.freed()) {
                return TakeOutcome::Stop(origin);
            }
        }
        if self.spill_used.load(Ordering::Relaxed) != 0
            && !self.may_hold_spawn(key)
            && self.take_spilled(self.spill_group(key), key.fingerprint(), Sign::Minus)
        {
            return TakeOutcome::Spilled;
        }
        TakeOutcome::Nothing
    }

    /// Whether there is a spawn of this key, or may be one. It loads each control word once, because a PLUS may become BUSY
    /// and a BUSY may become PLUS during the search.
    pub fn may_hold_spawn(&self, key: Key) -> bool {
        self.buckets(key).into_iter().flat_map(|bucket| self.bucket(bucket)).any(|(index, word)| {
            let control = Control(word.load(Ordering::Acquire));
            control.tag() == key.tag()
                && match control.state() {
                    PLUS => self.key(index) == Some(key),
                    // The key of a BUSY slot is unknown; at worst there is one more pair to settle.
                    state => state == BUSY,
                }
        })
    }

    /// The key in a slot.
    fn key(&self, index: usize) -> Option<Key> {
        let [first, second, ..] = self.slot(index) else { return None };
        Some(Key([first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)]))
    }

    /// The origin of the stop in a slot.
    fn origin(&self, index: usize) -> StopOrigin {
        let word = self.slot(index).get(ORIGIN_WORD);
        StopOrigin::from_word(word.map_or(0, |word| word.load(Ordering::Relaxed)))
    }

    #[inline]
    fn swap(&self, index: usize, from: Control, to: Control) -> bool {
        self.control.get(index).is_some_and(|word| {
            word.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    fn spill_group(&self, key: Key) -> usize {
        key.spill_group(self.spill.len() / BUCKET_SLOTS)
    }

    fn spill_words(&self, group: usize) -> &'a [AtomicU64] {
        self.spill.get(group * BUCKET_SLOTS..(group + 1) * BUCKET_SLOTS).unwrap_or_default()
    }

    fn is_spilled(&self, group: usize, fingerprint: u64, sign: Sign) -> bool {
        let wanted = fingerprint | state_of(sign);
        self.spill_words(group).iter().any(|word| word.load(Ordering::Relaxed) == wanted)
    }

    fn take_spilled(&self, group: usize, fingerprint: u64, sign: Sign) -> bool {
        let wanted = fingerprint | state_of(sign);
        self.spill_used.load(Ordering::Relaxed) != 0
            && self.spill_words(group).iter().any(|word| {
                word.load(Ordering::Relaxed) == wanted
                    && word.compare_exchange(wanted, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            })
    }

    /// Adds an entry. `record` is stored into the first words of the slot; the other words keep their value.
    pub fn put(&self, key: Key, sign: Sign, record: &[u64]) -> Put {
        let mark = if sign == Sign::Plus && self.may_hold_spawn(key) { LATER } else { 0 };
        if let Some((index, busy)) = self.claim(key) {
            let slot = self.slot(index);
            fence(Ordering::Release);
            words::store(slot, record);
            if let Some(word) = self.control.get(index) {
                word.store(busy.with_state(state_of(sign) | mark).0, Ordering::Release);
            }
            return Put::Slot;
        }
        self.spill_used.store(1, Ordering::Relaxed);
        let wanted = key.fingerprint() | state_of(sign);
        for word in self.spill_words(self.spill_group(key)) {
            if word.load(Ordering::Relaxed) == 0
                && word.compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                return Put::Spilled;
            }
        }
        Put::Refused
    }

    /// Adds a stop whose spawn has not come yet.
    pub fn put_stop(&self, key: Key, stamp: u64) -> Put {
        self.put_stop_of(StopOrigin::Awaited, key, stamp)
    }

    /// Adds a stop that found no spawn. A spilled stop loses its origin.
    pub fn put_stop_of(&self, origin: StopOrigin, key: Key, stamp: u64) -> Put {
        let mut record = [0u64; MINUS_WORDS];
        (record[0], record[1]) = (key.0[0], key.0[1]);
        (record[ORIGIN_WORD], record[STAMP_WORD]) = (origin as u64, stamp);
        self.put(key, Sign::Minus, &record)
    }

    /// Claims a free slot in the emptier bucket of the key: from FREE to BUSY.
    fn claim(&self, key: Key) -> Option<(usize, Control)> {
        let free = |bucket| {
            self.bucket(bucket).filter(|(_, w)| Control(w.load(Ordering::Relaxed)).state() == FREE).count()
        };
        let [first, second] = self.buckets(key);
        let order = if free(second) > free(first) { [second, first] } else { [first, second] };
        for bucket in order {
            for (index, word) in self.bucket(bucket) {
                let control = Control(word.load(Ordering::Relaxed));
                let busy = control.next_generation(key.tag(), BUSY);
                if control.state() == FREE && self.swap(index, control, busy) {
                    return Some((index, busy));
                }
            }
        }
        None
    }

    /// Changes the newest spawn of this key in place by `change`. False if there is none, or another thread changes it. A
    /// stop that comes at the same time adds a MINUS, which is settled later.
    pub fn update(&self, key: Key, change: impl FnOnce(&[AtomicU64])) -> bool {
        let (Some((index, control, _)), _) = self.find(key, PLUS, true) else { return false };
        let later = control.0 & LATER;
        let busy = control.next_generation(control.tag(), BUSY | CHANGING | later);
        if !self.swap(index, control, busy) {
            return false;
        }
        fence(Ordering::Release);
        change(self.slot(index));
        if let Some(word) = self.control.get(index) {
            word.store(busy.with_state(PLUS | later).0, Ordering::Release);
        }
        true
    }

    /// Removes each waiting stop together with its spawn. For each stop without a spawn, `expire` gets the fingerprint of
    /// its key and returns whether to give the stop up. One scan of the control words. Several threads may settle at the
    /// same time.
    pub fn settle(&self, mut expire: impl FnMut(u64) -> bool) -> Settled {
        self.settle_with(|stop| expire(stop.fingerprint), |_| {})
    }

    /// As [`Self::settle`], but `expire` gets all fields of the stop, and `stopped` gets the record of each spawn that is
    /// removed. A spilled spawn has no record.
    pub fn settle_with(
        &self,
        mut expire: impl FnMut(&mut WaitingStop) -> bool,
        mut stopped: impl FnMut(&[AtomicU64]),
    ) -> Settled {
        let mut settled = Settled::default();
        for (index, word) in self.control.iter().enumerate() {
            let control = Control(word.load(Ordering::Acquire));
            if control.state() != MINUS {
                continue;
            }
            // Claim the stop first: a spawn that comes now adds its own entry, and the sum stays correct.
            if !self.swap(index, control, control.with_state(BUSY)) {
                continue;
            }
            let Some(key) = self.key(index) else { continue };
            let freed = match self.settle_stop(index, key, &mut stopped) {
                SettleMatch::Spawn => {
                    settled.pairs += 1;
                    true
                }
                SettleMatch::Changing => false,
                SettleMatch::OtherSpawn => {
                    self.expires(index, key, true, &mut expire);
                    settled.expired += 1;
                    true
                }
                SettleMatch::Nothing => {
                    let expires = self.expires(index, key, false, &mut expire);
                    settled.expired += u64::from(expires);
                    expires
                }
            };
            settled.waiting += u64::from(!freed);
            let left = if freed { control.freed() } else { control };
            word.store(left.0, Ordering::Release);
        }
        for group in 0..self.spill.len() / BUCKET_SLOTS {
            for word in self.spill_words(group) {
                let held = word.load(Ordering::Relaxed);
                let fingerprint = held & !SIGN_BITS;
                // As above. The word is not freed meanwhile: another entry could take it, and the stop would have no word.
                if held & SIGN_BITS != MINUS
                    || word
                        .compare_exchange(held, fingerprint | BUSY, Ordering::AcqRel, Ordering::Relaxed)
                        .is_err()
                {
                    continue;
                }
                let left = if self.take_spilled(group, fingerprint, Sign::Plus)
                    || self.take_by_fingerprint(fingerprint, &mut stopped)
                {
                    settled.pairs += 1;
                    0
                } else if expire(&mut WaitingStop {
                    fingerprint,
                    origin: StopOrigin::Awaited,
                    first_round: 0,
                    is_spilled: true,
                    has_other_spawn: false,
                }) {
                    settled.expired += 1;
                    0
                } else {
                    settled.waiting += 1;
                    held
                };
                word.store(left, Ordering::Release);
            }
        }
        settled
    }

    /// Removes the oldest spawn of the key of a claimed stop, if the stop may belong to it, and passes its record to `show`.
    fn settle_stop(&self, index: usize, key: Key, show: impl FnOnce(&[AtomicU64])) -> SettleMatch {
        let may_match_spawn = self.origin(index).may_match_spawn();
        for _ in 0..2 * BUCKET_SLOTS {
            match self.oldest(key) {
                Oldest::At(..) if !may_match_spawn => return SettleMatch::OtherSpawn,
                Oldest::At(index, control, _) => {
                    if self.swap(index, control, control.with_state(BUSY)) {
                        self.show_and_free(index, control, show);
                        return SettleMatch::Spawn;
                    }
                }
                Oldest::Changing => return SettleMatch::Changing,
                Oldest::None => break,
            }
        }
        let (group, fingerprint) = (self.spill_group(key), key.fingerprint());
        match may_match_spawn {
            true if self.take_spilled(group, fingerprint, Sign::Plus) => SettleMatch::Spawn,
            false if self.is_spilled(group, fingerprint, Sign::Plus) => SettleMatch::OtherSpawn,
            _ => SettleMatch::Nothing,
        }
    }

    /// Calls `expire` for a claimed stop, and stores the fields that it changed.
    fn expires(
        &self,
        index: usize,
        key: Key,
        has_other_spawn: bool,
        mut expire: impl FnMut(&mut WaitingStop) -> bool,
    ) -> bool {
        let slot = self.slot(index);
        let Some([_, _, origin, first_round]) = slot.first_chunk::<STAMP_WORD>() else { return false };
        let mut stop = WaitingStop {
            fingerprint: key.fingerprint(),
            origin: StopOrigin::from_word(origin.load(Ordering::Relaxed)),
            first_round: first_round.load(Ordering::Relaxed),
            is_spilled: false,
            has_other_spawn,
        };
        let expires = expire(&mut stop);
        origin.store(stop.origin as u64, Ordering::Relaxed);
        first_round.store(stop.first_round, Ordering::Relaxed);
        expires
    }

    fn take_by_fingerprint(&self, fingerprint: u64, show: impl FnOnce(&[AtomicU64])) -> bool {
        let buckets = fingerprint_buckets(fingerprint, self.control.len() / BUCKET_SLOTS);
        let found = buckets.into_iter().flat_map(|bucket| self.bucket(bucket)).find_map(|(index, word)| {
            let control = Control(word.load(Ordering::Acquire));
            let first = self.slot(index).first()?.load(Ordering::Relaxed);
            let is_claimed = control.state() == PLUS
                && first & !SIGN_BITS == fingerprint
                && self.swap(index, control, control.with_state(BUSY));
            is_claimed.then_some((index, control))
        });
        let Some((index, control)) = found else { return false };
        self.show_and_free(index, control, show);
        true
    }

    /// Passes the record of a BUSY entry to `show`, and frees the slot.
    fn show_and_free(&self, index: usize, control: Control, show: impl FnOnce(&[AtomicU64])) {
        show(self.slot(index));
        if let Some(word) = self.control.get(index) {
            word.store(control.freed().0, Ordering::Release);
        }
    }
}

/// The table of one region, for a reader.
#[derive(Debug, Clone, Copy)]
pub struct TableReader<'a> {
    control: Words<'a>,
    slots: Words<'a>,
    stride: usize,
    spill: Words<'a>,
}

/// The content of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// No entry.
    Free,
    /// An entry of this sign. The caller's buffer holds its record, all words of one generation.
    Held(Sign),
}

impl<'a> TableReader<'a> {
    /// The table over these sections; `stride` is the words from one slot to the next.
    pub fn new(control: Words<'a>, slots: Words<'a>, stride: usize, spill: Words<'a>) -> Self {
        Self { control, slots, stride, spill }
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.control.len()
    }

    /// Whether the table has no slots.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// Copies the record in slot `index` into `out`. Bounded; `patience` bounds a whole scan.
    ///
    /// # Errors
    /// [`Unreadable::Busy`] if the record was being written at each try, [`Unreadable::Corrupt`] if the control word has a
    /// value that no writer stores, or there is no such slot.
    pub fn read(&self, index: usize, out: &mut [u64], patience: &mut Patience) -> Result<Entry, Unreadable> {
        self.read_used(index, out, out.len(), |_| 0, patience)
    }

    /// As [`Self::read`], but copies only the first `head` words of the record, and further words up to `used` of these
    /// words. `used` may be called with a torn head; then the record is copied again.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_used(
        &self,
        index: usize,
        out: &mut [u64],
        head: usize,
        used: impl Fn(&[u64]) -> usize,
        patience: &mut Patience,
    ) -> Result<Entry, Unreadable> {
        let head = head.min(out.len());
        for attempt in 0..READ_TRIES {
            let before = self.control.load(index);
            fence(Ordering::Acquire);
            let control = Control(before);
            let sign = match control.state() {
                // Marks that no writer stores in these states.
                FREE | MINUS if control.is_later() || control.is_changing() => {
                    return Err(Unreadable::Corrupt);
                }
                PLUS if control.is_changing() => return Err(Unreadable::Corrupt),
                FREE => return Ok(Entry::Free),
                PLUS => Some(Sign::Plus),
                MINUS => Some(Sign::Minus),
                _ => None,
            };
            if let Some(sign) = sign {
                let start = index * self.stride;
                let Some(slot) = self.slots.slice(start..start + self.stride) else {
                    return Err(Unreadable::Corrupt);
                };
                slot.copy_to(&mut out[..head]);
                let end = used(out).min(out.len()).min(slot.len());
                if let Some(rest) = slot.slice(head..end) {
                    rest.copy_to(&mut out[head..]);
                }
                fence(Ordering::Acquire);
                if self.control.load(index) == before {
                    return Ok(Entry::Held(sign));
                }
            }
            if !patience.again(attempt) {
                break;
            }
        }
        Err(Unreadable::Busy)
    }

    /// The version of slot `index`: another number whenever the slot holds another record.
    pub fn version(&self, index: usize) -> u64 {
        self.control.load(index)
    }

    /// Prefetches the records of some slots into the processor's cache, all at once. Slots are too far apart for the
    /// hardware prefetcher, so a scan would wait for each of them.
    pub fn fetch(&self, slots: Range<usize>) {
        let held = slots.filter(|index| Control(self.control.load(*index)).state() != FREE);
        let words = held.filter_map(|index| {
            let at = index * self.stride;
            self.slots.slice(at..at + 1).map(|slot| slot.load(0))
        });
        core::hint::black_box(words.fold(0, |all, word| all ^ word));
    }

    /// The fingerprints of keys that may have several entries in the table: those of stops, and of spawns marked *later*. A
    /// key whose entries change during the scan may be missing, or may have only one entry.
    pub fn repeated_fingerprints(&self) -> impl Iterator<Item = u64> + use<'a> {
        let Self { control, slots, stride, .. } = *self;
        (0..control.len()).filter_map(move |index| {
            let held = Control(control.load(index));
            let is_beside = held.state() == MINUS || held.state() == PLUS && held.is_later();
            let first = is_beside.then(|| slots.slice(index * stride..(index + 1) * stride))?;
            Some(Key([first?.load(0), 0]).fingerprint())
        })
    }

    /// The spilled entries: fingerprint and sign.
    pub fn spilled(&self) -> impl Iterator<Item = (u64, Sign)> + use<'a> {
        let spill = self.spill;
        (0..spill.len()).filter_map(move |at| {
            let held = spill.load(at);
            match held & SIGN_BITS {
                PLUS => Some((held & !SIGN_BITS, Sign::Plus)),
                MINUS => Some((held & !SIGN_BITS, Sign::Minus)),
                _ => None,
            }
        })
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::sync::counting::steps_of;

    const STRIDE: usize = 12;
    /// Control words in the two buckets of a key.
    const KEY_SLOTS: u64 = 2 * BUCKET_SLOTS as u64;

    struct Held {
        control: Vec<AtomicU64>,
        slots: Vec<AtomicU64>,
        spill: Vec<AtomicU64>,
        spill_used: AtomicU64,
    }

    impl Held {
        fn new(buckets: usize) -> Self {
            let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
            Self {
                control: words(buckets * BUCKET_SLOTS),
                slots: words(buckets * BUCKET_SLOTS * STRIDE),
                spill: words(BUCKET_SLOTS),
                spill_used: AtomicU64::new(0),
            }
        }

        fn table(&self) -> Table<'_> {
            Table::new(&self.control, &self.slots, STRIDE, &self.spill, &self.spill_used)
        }

        /// Spawns an actor, by `arrive` if possible. Returns the number of steps, and whether `arrive` was possible.
        fn spawn(&self, key: Key) -> (u64, bool) {
            let (table, record, mut usual) = (self.table(), [key.0[0], key.0[1], 0, 0, 1, 0, 0, 0], false);
            let steps = steps_of(|| match table.arrive(key) {
                Some(arrival) => {
                    usual = true;
                    arrival.publish(&record, 8, &[7; 4]);
                }
                None => {
                    let _ = table.take(key, Sign::Minus);
                    let _ = table.put(key, Sign::Plus, &record);
                }
            });
            (steps, usual)
        }

        fn stop(&self, key: Key) -> (u64, TakeOutcome) {
            let mut taken = TakeOutcome::Nothing;
            let steps = steps_of(|| taken = self.table().take(key, Sign::Plus));
            (steps, taken)
        }
    }

    fn key(number: u64) -> Key {
        let mixed = |seed: u64| {
            (number + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(seed | 1)
        };
        Key([mixed(0xd6e8_feb8_6659_fd93), mixed(0xa076_1d64_78bd_642f)])
    }

    #[test]
    fn the_emptier_bucket_is_the_one_with_fewer_taken_words() {
        let states = |bits: u32, state: u32| {
            (0..BUCKET_SLOTS as u32)
                .filter(|at| bits >> at & 1 == 1)
                .fold(0, |all, at| all | state << (2 * at))
        };
        for (one, other) in (0..256u32).flat_map(|one| (0..256u32).map(move |other| (one, other))) {
            let state = 1 + (one + other) % 3;
            let is = is_emptier(states(other, state), states(one, PLUS as u32));
            assert_eq!(is, other.count_ones() < one.count_ones(), "{one:b} and {other:b}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes there")]
    fn a_usual_spawn_and_stop_take_as_many_steps_among_many_actors_as_among_few() {
        let held = Held::new(256);
        let mut live = 0;
        for actors in [1, 16, 128, 256, 512, 1024] {
            for number in live..actors {
                let _ = held.spawn(key(number));
            }
            live = actors;
            for number in (0..64).map(|number| key(1 << 32 | number)) {
                let (steps, usual) = held.spawn(number);
                // Whether any entry is spilled; both buckets; the free word again, its swap, the record, its publication.
                assert!(usual && steps <= 1 + KEY_SLOTS + 2 + 12 + 1, "{steps} steps among {actors}");
                let (steps, taken) = held.stop(number);
                // The buckets up to the spawn; key and stamp; the swap.
                assert!(
                    taken != TakeOutcome::Nothing && steps <= KEY_SLOTS + 3 + 1,
                    "{steps} steps among {actors}"
                );
            }
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_bounded_too() {
        let held = Held::new(256);
        let path = key(1);
        // More entries of one path than the buckets can hold, then as many stops, and some that find nothing.
        for _ in 0..3 * KEY_SLOTS {
            let (steps, _) = held.spawn(path);
            assert!(steps <= 16 * KEY_SLOTS, "{steps} steps to spawn");
        }
        for _ in 0..4 * KEY_SLOTS {
            let (steps, _) = held.stop(path);
            assert!(steps <= 16 * KEY_SLOTS, "{steps} steps to stop");
        }
    }

    #[test]
    fn a_slot_whose_tenant_has_gone_does_not_look_like_a_path_s_own() {
        let held = Held::new(4);
        for _ in 0..100 {
            assert!(held.spawn(key(1)).1, "a path that comes again and again is a usual spawn each time");
            assert!(matches!(held.stop(key(1)).1, TakeOutcome::Entry { stamp: 1 }));
        }
    }
}
