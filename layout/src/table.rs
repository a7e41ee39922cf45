//! The actor table: a bag of signed entries whose per-key sum is the truth.
//!
//! The hooks that feed it come out of order: a stop may come before its spawn, and the spawn of a respawned path
//! before the stop of its predecessor. One entry per path cannot be kept under that without locks. So a spawn is +1
//! and a stop is −1, each takes an entry of the other sign if there is one and else leaves one of its own; a path is
//! live when its entries add up to one. In the usual order only +1 entries exist.
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
//! *Later* marks a PLUS that was put while another of its key stood or may have: only there can a stop that saw one entry
//! have overlooked an older one, and only there it looks again. *Changing* marks a BUSY that stands all the while and is
//! PLUS again in a moment: a stop that meets it cannot tell whether that is its own actor, and leaves its mark.
//!
//! A stop that waits says whose it may be ([`StopOrigin`]): that of an actor older than the hooks meets no spawn, and an actor
//! that is spawned under its path must not be taken for it.
//!
//! A key has two buckets of eight slots. An entry that finds both full is *spilled*: only a hash word with a sign
//! stays of it. One that finds no room there either is the caller's to count.
//!
//! | state | who may touch the slot's record |
//! |---|---|
//! | FREE | nobody |
//! | BUSY | whoever swapped it in |
//! | PLUS, MINUS | nobody writes it; readers copy it between two looks at the control word. The live words are stored to by their owners at any time |

use core::ops::Range;

use crate::limits::BUCKET_SLOTS;
use crate::seqlock::{Patience, READ_TRIES, Unreadable};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, Words};

/// Word of the record that holds the stamp by which entries of one key are told older from newer.
pub const STAMP_WORD: usize = 4;
/// Word of a MINUS that says whose stop it is; the next one says in which round it was seen first. A PLUS has its
/// parent's key there.
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
    /// The bits by which a spilled entry is known, in place: all but two of the first word.
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

/// Both buckets follow from the fingerprint alone, so that a spilled stop can find a spawn in the table.
#[inline]
fn fingerprint_buckets(fingerprint: u64, count: usize) -> [usize; 2] {
    let first = scale(fingerprint >> 32, count);
    let second = scale(fingerprint & 0xffff_ffff, count);
    [first, if second == first { (first + 1) % count.max(1) } else { second }]
}

/// Spreads 32 random bits over 0..count.
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

/// StopOrigin stop it is that found no spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOrigin {
    /// That of an actor whose spawn is told, perhaps only in a moment.
    Awaited,
    /// Nobody knows: that of such an actor, or of one that is older than the hooks.
    Unknown,
    /// That of an actor whose spawn would have been told by now: of one that is older than the hooks.
    Outlived,
    /// That of an actor older than the hooks, unless its spawn was told just as they were installed.
    Older,
}

impl StopOrigin {
    const ALL: [Self; 4] = [Self::Awaited, Self::Unknown, Self::Outlived, Self::Older];

    /// Whether the stop may be that of a spawn which it meets.
    pub fn may_match_spawn(self) -> bool {
        matches!(self, Self::Awaited | Self::Unknown)
    }

    /// Damage reads as unknown.
    fn from_word(word: u64) -> Self {
        usize::try_from(word).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Unknown)
    }
}

/// A stop that has met no spawn of its own, as [`Table::settle_with`] shows it.
#[derive(Debug)]
pub struct WaitingStop {
    /// Of its key.
    pub fingerprint: u64,
    /// StopOrigin it is. What is set here stays with the stop, unless it is spilled: of such one nothing is kept.
    pub origin: StopOrigin,
    /// The round in which it was seen first, or 0. Stays with the stop as well.
    pub first_round: u64,
    /// Whether only a hash word is kept of it.
    pub is_spilled: bool,
    /// Whether a spawn of its key stands that is another actor's. Then the stop is given up in any case.
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

    /// The same with another state, and with marks where that holds any.
    fn with_state(self, state: u64) -> Self {
        Self(self.0 & !LOW_MASK | state)
    }

    /// The same without a tenant. Its tag goes too, so that a look for the next one does not stop here.
    fn freed(self) -> Self {
        Self(self.0 & !(TAG_MASK << 4 | LOW_MASK))
    }

    fn next_generation(self, tag: u64, state: u64) -> Self {
        Self((self.0 >> 24).wrapping_add(1) << 24 | tag << 4 | state)
    }
}

/// A control word of the same state and generation whose tag is that of another key, or none.
pub fn retagged(control: u64, key: Option<Key>) -> u64 {
    control & !(TAG_MASK << 4) | key.map_or(0, Key::tag) << 4
}

/// A spill word of the same sign for another key.
pub fn respilled(held: u64, key: impl FnOnce(u64) -> u64) -> u64 {
    if held == 0 { 0 } else { key(held & !SIGN_BITS) & !SIGN_BITS | held & SIGN_BITS }
}

/// The states of a bucket's words, two bits each, the first word's highest; `None` if one is of this key's tag.
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

/// A bit for each word of a bucket that is not free, the lower of the two for its state.
#[inline]
fn used(states: u32) -> u32 {
    (states | states >> 1) & 0x5555_5555
}

/// Whether fewer words of the other bucket are taken: both counted at once, each in a half of one word.
#[inline]
fn is_emptier(other: u32, than: u32) -> bool {
    let bits = used(than) | used(other) << 16;
    let in_four = (bits & 0x3333_3333) + (bits >> 2 & 0x3333_3333);
    let in_eight = (in_four + (in_four >> 4)) & 0x0f0f_0f0f;
    let counts = in_eight + (in_eight >> 8);
    (counts >> 16 & 0xff) < (counts & 0xff)
}

const _: () = assert!(2 * BUCKET_SLOTS <= 16);

/// The number of the first free word of a bucket.
#[inline]
fn first_free(states: u32) -> Option<usize> {
    const ALL: u32 = ((1u64 << (2 * BUCKET_SLOTS)) - 1) as u32 & 0x5555_5555;
    let free = !used(states) & ALL;
    // Of all 32 bits; the first word's are the highest of those in use.
    let before = free.leading_zeros().checked_sub(32 - 2 * BUCKET_SLOTS as u32)?;
    (free != 0).then_some(before as usize / 2)
}

/// A slot that [`Table::arrive`] has taken in hand.
#[derive(Debug)]
#[must_use = "the slot is in hand until its record is published"]
pub struct Arrival<'a> {
    word: &'a AtomicU64,
    busy: Control,
    slot: &'a [AtomicU64],
}

impl Arrival<'_> {
    /// Writes the record's first words and those from word `text_at` on, and publishes it. All others keep what they had.
    #[inline]
    pub fn publish<const HEAD_WORDS: usize>(self, head: &[u64; HEAD_WORDS], text_at: usize, text: &[u64]) {
        if let (Some(first), Some(rest)) = (self.slot.first_chunk::<HEAD_WORDS>(), self.slot.get(text_at..)) {
            words::store(first, head);
            words::store(rest, text);
        }
        self.word.store(self.busy.with_state(PLUS).0, Ordering::Release);
    }
}

/// What a stop that is being settled met.
enum SettleMatch {
    /// A spawn that may be its own; that is gone now.
    Spawn,
    /// A spawn that is another actor's; that stands.
    OtherSpawn,
    /// A record that is being changed.
    Changing,
    /// Nothing.
    Nothing,
}

/// The oldest spawn of a key.
enum Oldest {
    /// None stands.
    None,
    /// One is being changed, which may be it.
    Changing,
    /// This one, with its stamp. Whoever acts on it must swap the control word that comes with it.
    At(usize, Control, u64),
}

/// Whether nothing stands in the slot of this control word.
pub(crate) fn is_free(control: u64) -> bool {
    Control(control).state() == FREE
}

fn state_of(sign: Sign) -> u64 {
    match sign {
        Sign::Plus => PLUS,
        Sign::Minus => MINUS,
    }
}

/// What a [`Table::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TakeOutcome {
    /// An entry of the table, with its stamp; it is gone now.
    Entry {
        /// When the entry was made.
        stamp: u64,
    },
    /// A waiting stop of the table; it is gone now. If it is not [of a spawn](StopOrigin::may_match_spawn), look again.
    Stop(StopOrigin),
    /// A spilled entry; it is gone now.
    Spilled,
    /// There was none that could be had.
    Nothing,
}

/// Where a [`Table::put`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Into a slot.
    Slot,
    /// Only its hash is kept.
    Spilled,
    /// Nowhere: no room.
    Refused,
}

/// What [`Table::settle`] did with the stops that it found waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Pairs of a spawn and a stop of one key that were removed together.
    pub pairs: u64,
    /// Stops that were given up.
    pub expired: u64,
    /// Stops that still wait.
    pub waiting: u64,
}

/// The table of one region, for its writers. Everything but [`Table::settle`] is wait-free: one pass over two buckets
/// and one spill group.
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
    /// The table over these sections; `stride` is the words from one slot to the next. `spill_used` is a word of the
    /// writer's own, 0 until the first entry is spilled: while it is 0 nobody looks at the spill words. (Whoever sees
    /// it late misses an entry there, which only leaves a pair to settle.)
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

    /// The usual spawn: where nothing of its key is in the table, in one pass, a slot for it. `None` where there is
    /// something, or no slot could be had at once: then [`Self::take`] and [`Self::put`] find out more. Until it is
    /// published the slot is in hand.
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

    /// The entry of this key and state with the least or greatest stamp, and whether one of its tag is being changed. What
    /// it says held at some time during the look; whoever acts on it must swap the control word that comes with it.
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

    /// The oldest spawn of this key. A look that took long may have passed by the slot of an actor before that actor came,
    /// and then have met its successor, which is marked for that: another look sees the older one too.
    fn oldest(&self, key: Key) -> Oldest {
        let mut seen = None;
        // Each further look is another thread's doing; there are never more than two buckets of entries.
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

    /// The stamp of the newest spawn under this key, if one stands: a later spawn must be stamped after it.
    pub fn newest_spawn(&self, key: Key) -> Option<u64> {
        self.find(key, PLUS, true).0.map(|(_, _, stamp)| stamp)
    }

    /// The stamp of the oldest spawn under this key, if one stands.
    pub fn oldest_spawn(&self, key: Key) -> Option<u64> {
        self.find(key, PLUS, false).0.map(|(_, _, stamp)| stamp)
    }

    /// Takes the oldest entry of this key and sign out of the bag. A stop is not taken while an earlier spawn of its key
    /// may stand: it is that one's, and the two are left to [`Table::settle`]. (A spawn that took it would leave the
    /// earlier one's record to stand for its own.) A spawn is not taken while one of its key is being changed.
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

    /// The usual stop: takes the first spawn of this key that was put when no other stood; gives its stamp. (No other is
    /// known to be older. Of two that came at the same time either will do.)
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
        // Each failure means that another thread had that entry; there are never more than two buckets of them.
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

    /// Whether a spawn of this key stands, or may: in one look at each slot, since what stands may be taken in hand, and
    /// what is in hand may stand again.
    pub fn may_hold_spawn(&self, key: Key) -> bool {
        self.buckets(key).into_iter().flat_map(|bucket| self.bucket(bucket)).any(|(index, word)| {
            let control = Control(word.load(Ordering::Acquire));
            control.tag() == key.tag()
                && match control.state() {
                    PLUS => self.key(index) == Some(key),
                    // StopOrigin it is cannot be told; at worst there is more to settle.
                    state => state == BUSY,
                }
        })
    }

    /// The key in a slot.
    fn key(&self, index: usize) -> Option<Key> {
        let [first, second, ..] = self.slot(index) else { return None };
        Some(Key([first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)]))
    }

    /// StopOrigin the stop in a slot is.
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

    /// Puts an entry into the bag. `record` holds the record's words from the first; words of the slot beyond it keep
    /// what they had.
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

    /// Puts the mark of a stop whose spawn has not come yet.
    pub fn put_stop(&self, key: Key, stamp: u64) -> Put {
        self.put_stop_of(StopOrigin::Awaited, key, stamp)
    }

    /// Puts the mark of a stop that found no spawn. Of a spilled one nobody knows later whose it is.
    pub fn put_stop_of(&self, origin: StopOrigin, key: Key, stamp: u64) -> Put {
        let mut record = [0u64; MINUS_WORDS];
        (record[0], record[1]) = (key.0[0], key.0[1]);
        (record[ORIGIN_WORD], record[STAMP_WORD]) = (origin as u64, stamp);
        self.put(key, Sign::Minus, &record)
    }

    /// Moves a free slot of the key's emptier bucket to BUSY.
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

    /// Lets `change` rewrite the newest spawn of this key in place. False if there is none or another thread has it.
    /// A stop that comes meanwhile leaves its mark, and is settled later.
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

    /// Removes each waiting stop together with its spawn. `expire` is asked for each stop that has no spawn, with its
    /// key's fingerprint, and says whether to give it up. One pass over the control words; threads that settle at the
    /// same time leave each other's entries alone.
    pub fn settle(&self, mut expire: impl FnMut(u64) -> bool) -> Settled {
        self.settle_with(|stop| expire(stop.fingerprint), |_| {})
    }

    /// The same: `expire` sees all that is known of a stop, and `stopped` the record of each spawn that is removed. (Of a
    /// spilled one there is none.)
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
            // The stop first: while it is in hand a spawn that comes leaves an entry of its own, and the sum stays.
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
                // As above, and it keeps its place: another entry may be waiting for one.
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

    /// Takes the oldest spawn of the key of a stop that is in hand, if that may be its own, and shows its record.
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

    /// Asks `expire` about a stop that is in hand, and writes down what that has changed.
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

    /// The slot of the newest spawn under this key, and its control word.
    pub(crate) fn standing(&self, key: Key) -> Option<(usize, u64)> {
        self.find(key, PLUS, true).0.map(|(index, control, _)| (index, control.0))
    }

    /// Whether a slot still has this control word.
    pub(crate) fn stands(&self, index: usize, control: u64) -> bool {
        self.control.get(index).is_some_and(|word| word.load(Ordering::Acquire) == control)
    }

    /// Takes an entry in hand, so that nobody else finds it; false if it is gone.
    pub(crate) fn make_busy(&self, index: usize, control: u64) -> bool {
        self.swap(index, Control(control), Control(control).with_state(BUSY))
    }

    /// Lets go of what [`Self::make_busy`] took: freed, or as it was.
    pub(crate) fn end_busy(&self, index: usize, control: u64, free: bool) {
        if let Some(word) = self.control.get(index) {
            let control = if free { Control(control).freed().0 } else { control };
            word.store(control, Ordering::Release);
        }
    }

    /// Ends the life of an entry that is in hand.
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

/// What stands in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Free,
    /// An entry of this sign; the caller's buffer holds its record, all of one generation.
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

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// Copies the record in slot `index` into `out`. Bounded; a whole pass by its `patience`.
    pub fn read(&self, index: usize, out: &mut [u64], patience: &mut Patience) -> Result<Entry, Unreadable> {
        self.read_used(index, out, out.len(), |_| 0, patience)
    }

    /// Copies the first `head` words of the record in slot `index`, and then those up to `used` of them. A torn head,
    /// which `used` may be shown, is only copied again.
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
                // Marks that nobody makes.
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

    /// What slot `index` holds, as a number: another one whenever it holds something else.
    pub fn version(&self, index: usize) -> u64 {
        self.control.load(index)
    }

    /// Has the processor fetch what stands in some slots, all at once: they lie too far apart for it to see which come next,
    /// and a pass that met them one by one would wait for each.
    pub fn fetch(&self, slots: Range<usize>) {
        let held = slots.filter(|index| Control(self.control.load(*index)).state() != FREE);
        let words = held.filter_map(|index| {
            let at = index * self.stride;
            self.slots.slice(at..at + 1).map(|slot| slot.load(0))
        });
        core::hint::black_box(words.fold(0, |all, word| all ^ word));
    }

    /// The fingerprints of those keys of which there may be several entries here: those of stops, and of spawns that were
    /// put beside another entry. One whose entries come or go meanwhile may be missing, or be none.
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

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::sync::counting::steps_of;

    const STRIDE: usize = 12;
    /// Control words that one look at a key's two buckets loads.
    const LOOK: u64 = 2 * BUCKET_SLOTS as u64;

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

        /// Spawns an actor the usual way, or the other; gives the steps, and whether it was the usual way.
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
                // Whether anything is spilled; the look; the free word again, its swap, the record, its publication.
                assert!(usual && steps <= 1 + LOOK + 2 + 12 + 1, "{steps} steps among {actors}");
                let (steps, taken) = held.stop(number);
                // The look, up to the spawn; key and stamp; the swap.
                assert!(
                    taken != TakeOutcome::Nothing && steps <= LOOK + 3 + 1,
                    "{steps} steps among {actors}"
                );
            }
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_bounded_too() {
        let held = Held::new(256);
        let path = key(1);
        // More entries of one path than there is room for, then as many stops, and some that find nothing.
        for _ in 0..3 * LOOK {
            let (steps, _) = held.spawn(path);
            assert!(steps <= 16 * LOOK, "{steps} steps to spawn");
        }
        for _ in 0..4 * LOOK {
            let (steps, _) = held.stop(path);
            assert!(steps <= 16 * LOOK, "{steps} steps to stop");
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
