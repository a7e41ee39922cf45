//! The lines of the index, and their entries.
//!
//! ```text
//!  entry:  0                                                                              nothing
//!          tag (18) │ slot (22) │ generation (20)            │ LATER │ HELD │ PLUS        a spawn and its slot
//!          fingerprint (58)            │ origin of a stop (2) │ LATER │ HELD │ MINUS, SPILL   a stop before its spawn; a spawn without a slot
//!  line:   head │ entries
//!  head of a hot line:    epoch (24) │ stops in the large level (20) │ spawns there (20)
//!  head of a large line:  how many entries of this line are in the next one
//! ```
//! The fingerprint is the key's first word without its lowest 6 bits, and the tag is its upper 18 bits. Hot line, large line
//! and tag follow from the fingerprint, and the large line even from hot line and tag alone: a thread that moves an entry
//! need not read the entry's slot.
//!
//! Each hot line has a filter: for each group of tags, how many spawns of it are in the large level. A full counter stays
//! full. So 0 means that there is none, and a stop or spawn need not look.

use super::key::Key;
use super::origin::StopOrigin;
use crate::sync::mutant::{Mutant, is};
use crate::sync::{AtomicU64, Ordering};

/// Entries of a line.
pub(super) const ENTRIES: usize = if cfg!(atomscope_loom) { 2 } else { 7 };
/// Words of a line: 64 bytes.
pub(super) const LINE_WORDS: usize = ENTRIES + 1;
/// Words of a line's filter.
pub(super) const FILTER_WORDS: usize = if cfg!(atomscope_loom) { 1 } else { 8 };
const FILTER_GROUPS: u64 = FILTER_WORDS as u64 * 16;
/// The bits of a counter.
const COUNTER_MASK: u64 = 15;
/// What a full counter holds.
pub(super) const FULL: u64 = if cfg!(atomscope_loom) { 3 } else { COUNTER_MASK };
/// Attempts to change a word of the filter.
const FILTER_TRIES: usize = if cfg!(atomscope_loom) { 3 } else { 16 };

const TAG_SHIFT: u32 = 46;
const TAG_BITS: u32 = 18;
const SLOT_SHIFT: u32 = 24;
const SLOT_MASK: u64 = (1 << 22) - 1;
const GENERATION_SHIFT: u32 = 4;
const GENERATION_MASK: u64 = (1 << 20) - 1;
const ORIGIN_SHIFT: u32 = 4;
/// The bits below the fingerprint.
pub(super) const LOW_BITS: u32 = 6;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;

const KIND_MASK: u64 = 3;
const SPILL: u64 = 1;
const PLUS: u64 = 2;
const MINUS: u64 = 3;
const HELD: u64 = 4;
const LATER: u64 = 8;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    /// A spawn without a slot.
    Spill,
    /// A spawn.
    Plus,
    /// A stop.
    Minus,
}

/// An entry of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u64);

impl Entry {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) fn plus(key: Key, slot: usize, generation: u64) -> Self {
        let generation = if is(Mutant::NoGeneration) { 0 } else { generation & GENERATION_MASK };
        let tag = key.0 >> TAG_SHIFT << TAG_SHIFT;
        Self(tag | (slot as u64 & SLOT_MASK) << SLOT_SHIFT | generation << GENERATION_SHIFT | PLUS)
    }

    pub(super) fn spill(fingerprint: u64) -> Self {
        Self(fingerprint & !LOW_MASK | SPILL)
    }

    pub(super) fn minus(fingerprint: u64, origin: StopOrigin) -> Self {
        Self(fingerprint & !LOW_MASK | (origin as u64) << ORIGIN_SHIFT | MINUS)
    }

    #[inline(always)]
    pub(super) fn kind(self) -> Kind {
        match self.0 & KIND_MASK {
            SPILL => Kind::Spill,
            PLUS => Kind::Plus,
            MINUS => Kind::Minus,
            _ => Kind::None,
        }
    }

    /// Whether it is a spawn with a slot, without a mark.
    #[inline(always)]
    pub(super) fn is_plain_plus(self) -> bool {
        self.0 & (KIND_MASK | HELD | LATER) == PLUS
    }

    #[inline(always)]
    pub(super) fn is_held(self) -> bool {
        self.0 & HELD != 0
    }

    pub(super) fn held(self) -> Self {
        Self(self.0 | HELD)
    }

    pub(super) fn is_later(self) -> bool {
        self.0 & LATER != 0
    }

    pub(super) fn later_if(self, later: bool) -> Self {
        Self(self.0 | if later { LATER } else { 0 })
    }

    #[inline(always)]
    pub(super) fn slot(self) -> usize {
        (self.0 >> SLOT_SHIFT & SLOT_MASK) as usize
    }

    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT & GENERATION_MASK
    }

    pub(super) fn origin(self) -> StopOrigin {
        let [awaited, ..] = StopOrigin::ALL;
        StopOrigin::ALL.get((self.0 >> ORIGIN_SHIFT) as usize & 3).copied().unwrap_or(awaited)
    }

    /// Of a stop, or of a spawn without a slot.
    pub(super) fn fingerprint(self) -> u64 {
        self.0 & !LOW_MASK
    }

    /// All that the entry itself tells of its fingerprint; the hot line tells as much as its place needs.
    pub(super) fn known_fingerprint(self, same_line: u64) -> u64 {
        match self.kind() {
            Kind::Plus => self.0 >> TAG_SHIFT << TAG_SHIFT | same_line & ((1 << TAG_SHIFT) - 1),
            _ => self.fingerprint(),
        }
    }

    #[inline(always)]
    pub(super) fn has_tag(self, fingerprint: u64) -> bool {
        self.0 != 0 && (self.0 ^ fingerprint) >> TAG_SHIFT == 0
    }

    /// As [`Self::has_tag`] in one comparison, which takes no entry for one of the tag 0.
    #[inline(always)]
    pub(super) fn may_have_tag(self, fingerprint: u64) -> bool {
        self.0 ^ fingerprint < 1 << TAG_SHIFT
    }

    pub(super) fn has_fingerprint(self, fingerprint: u64) -> bool {
        (self.0 ^ fingerprint) >> LOW_BITS == 0
    }
}

/// The head of a hot line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head(pub(super) u64);

impl Head {
    const OUT_MASK: u64 = (1 << 20) - 1;
    const PLUS_OUT: u64 = 1;
    const MINUS_OUT: u64 = 1 << 20;
    /// In the highest bits, so that it never carries into another field.
    pub(super) const EPOCH: u64 = 1 << 40;

    #[inline(always)]
    pub(super) fn plus_out(self) -> u64 {
        self.0 & Self::OUT_MASK
    }

    #[inline(always)]
    pub(super) fn minus_out(self) -> u64 {
        self.0 >> 20 & Self::OUT_MASK
    }

    /// Whether a stop has come since: one was inserted, or moved to or from the large level.
    #[inline(always)]
    pub(super) fn stops_differ(self, other: Self) -> bool {
        (self.0 ^ other.0) >> 20 != 0
    }

    /// One entry of this kind in the large level.
    fn one(kind: Kind) -> u64 {
        if kind == Kind::Minus { Self::MINUS_OUT } else { Self::PLUS_OUT }
    }
}

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Hot,
    /// In the large line of its own.
    Home,
    /// In the large line after it.
    Next,
}

/// A word of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) word: &'a AtomicU64,
    pub(super) level: Level,
}

impl Place<'_> {
    #[inline(always)]
    pub(super) fn swap(&self, from: Entry, to: Entry) -> bool {
        self.word.compare_exchange(from.0, to.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// For the thread that holds the entry.
    pub(super) fn let_go(&self, entry: Entry) {
        self.word.store(entry.0, Ordering::SeqCst);
    }
}

pub(super) type Line<'a> = &'a [AtomicU64; LINE_WORDS];

/// Both levels, and the filter.
#[derive(Clone, Copy)]
pub(super) struct Index<'a> {
    pub(super) hot: &'a [AtomicU64],
    pub(super) large: &'a [AtomicU64],
    pub(super) filter: &'a [AtomicU64],
}

impl<'a> Index<'a> {
    /// Words of an index with so many lines.
    pub(super) fn words(hot_lines: usize, large_lines: usize) -> usize {
        hot_lines * (LINE_WORDS + FILTER_WORDS) + large_lines * LINE_WORDS
    }

    /// The index in these words. The number of large lines follows from theirs.
    #[inline(always)]
    pub(super) fn new(hot_lines: usize, words: &'a [AtomicU64]) -> Self {
        let (hot, rest) = words.split_at_checked(hot_lines * LINE_WORDS).unwrap_or_default();
        let (filter, large) = rest.split_at_checked(hot_lines * FILTER_WORDS).unwrap_or_default();
        Self { hot, large, filter }
    }

    #[inline(always)]
    pub(super) fn hot_number(&self, fingerprint: u64) -> usize {
        // The number of lines is a power of two, or there is none.
        (fingerprint >> LOW_BITS) as usize & (self.hot.len() / LINE_WORDS).wrapping_sub(1)
    }

    #[inline(always)]
    pub(super) fn hot(&self, fingerprint: u64) -> Option<Line<'a>> {
        self.hot.get(self.hot_number(fingerprint).wrapping_mul(LINE_WORDS)..)?.first_chunk()
    }

    #[inline(always)]
    fn large(&self, number: usize) -> Option<Line<'a>> {
        self.large.get(number.wrapping_mul(LINE_WORDS)..)?.first_chunk()
    }

    fn large_lines(&self) -> usize {
        self.large.len() / LINE_WORDS
    }

    /// The large line of a key. The hot line's number comes first: what of the tag does not choose the line still tells its
    /// entries apart.
    #[inline(always)]
    pub(super) fn home(&self, fingerprint: u64) -> usize {
        let hot_lines = self.hot.len() / LINE_WORDS;
        let at = (self.hot_number(fingerprint) as u64) << TAG_BITS | fingerprint >> TAG_SHIFT;
        ((at * self.large_lines() as u64) >> (TAG_BITS + hot_lines.trailing_zeros().min(40))) as usize
    }

    pub(super) fn next(&self, home: usize) -> usize {
        if home + 1 < self.large_lines() { home + 1 } else { 0 }
    }

    /// The word and the shift of the filter's counter for this key.
    #[inline(always)]
    fn counter(&self, fingerprint: u64) -> Option<(&'a AtomicU64, u32)> {
        let group = (fingerprint >> TAG_SHIFT) % FILTER_GROUPS;
        let word = self.hot_number(fingerprint).wrapping_mul(FILTER_WORDS).wrapping_add(group as usize / 16);
        Some((self.filter.get(word)?, group as u32 % 16 * 4))
    }

    /// Whether the large level may hold a spawn of this tag in this line. Load the line's head before, with the order that
    /// the caller needs.
    #[inline(always)]
    pub(super) fn may_be_out(&self, head: Head, fingerprint: u64, order: Ordering) -> bool {
        head.plus_out() != 0
            && self
                .counter(fingerprint)
                .is_some_and(|(word, shift)| word.load(order) >> shift & COUNTER_MASK != 0)
    }

    /// Prefetches the large line of this key.
    #[inline(always)]
    pub(super) fn fetch(&self, fingerprint: u64) {
        #[cfg(not(atomscope_loom))]
        if let Some([head, ..]) = self.large(self.home(fingerprint)) {
            crate::view::prefetch(head);
        }
        #[cfg(atomscope_loom)]
        let _ = fingerprint;
    }

    /// Whether the large lines of this key hold an entry of its tag, or one may be beyond its home.
    #[inline(always)]
    pub(super) fn is_tag_out(&self, fingerprint: u64) -> bool {
        let Some([beyond, entries @ ..]) = self.large(self.home(fingerprint)) else { return false };
        let mut same = beyond.load(Ordering::Acquire) != 0;
        for word in entries {
            same |= Entry(word.load(Ordering::Acquire)).has_tag(fingerprint);
        }
        same
    }

    /// Every entry with the tag of this key: first those of the hot line, then those of the large level, because entries move
    /// in that direction only. `stops`: also if the large level has only stops.
    pub(super) fn each(&self, fingerprint: u64, stops: bool, see: &mut dyn FnMut(Place<'a>, Entry)) {
        let Some([head, entries @ ..]) = self.hot(fingerprint) else { return };
        if is(Mutant::LargeFirst) {
            self.each_large(head, fingerprint, stops, see);
        }
        Self::look(entries, Level::Hot, fingerprint, see);
        if !is(Mutant::LargeFirst) && !is(Mutant::LargeUnseen) {
            self.each_large(head, fingerprint, stops, see);
        }
    }

    fn look(
        entries: &'a [AtomicU64; ENTRIES],
        level: Level,
        fingerprint: u64,
        see: &mut dyn FnMut(Place<'a>, Entry),
    ) {
        for word in entries {
            let entry = Entry(word.load(Ordering::SeqCst));
            if entry.has_tag(fingerprint) {
                see(Place { word, level }, entry);
            }
        }
    }

    fn each_large(
        &self,
        head: &AtomicU64,
        fingerprint: u64,
        stops: bool,
        see: &mut dyn FnMut(Place<'a>, Entry),
    ) {
        // Loaded after the hot entries: an entry that has left them is counted by now.
        let head = Head(head.load(Ordering::SeqCst));
        let may_hold_stop = stops && head.minus_out() != 0;
        if !may_hold_stop && !self.may_be_out(head, fingerprint, Ordering::SeqCst) {
            return;
        }
        let home = self.home(fingerprint);
        let Some([beyond, entries @ ..]) = self.large(home) else { return };
        Self::look(entries, Level::Home, fingerprint, see);
        let next = self.next(home);
        if beyond.load(Ordering::SeqCst) != 0 && next != home {
            if let Some([_, entries @ ..]) = self.large(next) {
                Self::look(entries, Level::Next, fingerprint, see);
            }
        }
    }

    /// Puts an entry into a free word of its hot line.
    pub(super) fn insert_hot(&self, fingerprint: u64, put: Entry) -> bool {
        let Some([_, entries @ ..]) = self.hot(fingerprint) else { return false };
        entries.iter().any(|word| {
            word.load(Ordering::Relaxed) == 0 && Place { word, level: Level::Hot }.swap(Entry::NONE, put)
        })
    }

    /// Puts an entry into its large line, or into the next one.
    pub(super) fn insert_large(&self, fingerprint: u64, put: Entry) -> bool {
        let kind = put.kind();
        self.count(fingerprint, kind);
        let home = self.home(fingerprint);
        let done = self.insert_into(home, put, Level::Home) || {
            let next = self.next(home);
            next != home
                && self.large(home).is_some_and(|[beyond, ..]| {
                    beyond.fetch_add(1, Ordering::SeqCst);
                    let done = self.insert_into(next, put, Level::Next);
                    if !done {
                        beyond.fetch_sub(1, Ordering::SeqCst);
                    }
                    done
                })
        };
        if !done {
            self.uncount(fingerprint, kind);
        }
        done
    }

    fn insert_into(&self, number: usize, put: Entry, level: Level) -> bool {
        let Some([_, entries @ ..]) = self.large(number) else { return false };
        entries
            .iter()
            .any(|word| word.load(Ordering::Relaxed) == 0 && Place { word, level }.swap(Entry::NONE, put))
    }

    /// Counts an entry that comes to the large level, before it does and before it leaves its hot line: a search that does not
    /// find it there then sees that it must look in the large level.
    fn count(&self, fingerprint: u64, kind: Kind) {
        self.count_if(fingerprint, kind, |late| !is(late));
    }

    /// As [`Self::count`], where mutants count.
    pub(super) fn count_late(&self, fingerprint: u64, kind: Kind) {
        self.count_if(fingerprint, kind, is);
    }

    #[inline(always)]
    fn count_if(&self, fingerprint: u64, kind: Kind, now: impl Fn(Mutant) -> bool) {
        if kind != Kind::Minus && now(Mutant::FilterCountedLate) {
            self.count_in_filter(fingerprint);
        }
        if now(Mutant::HeadCountedLate) {
            if let Some([head, ..]) = self.hot(fingerprint) {
                head.fetch_add(Head::one(kind), Ordering::SeqCst);
            }
        }
    }

    fn count_in_filter(&self, fingerprint: u64) {
        let Some((word, shift)) = self.counter(fingerprint) else { return };
        let mut held = word.load(Ordering::Relaxed);
        for _ in 0..FILTER_TRIES {
            let counted = held >> shift & COUNTER_MASK;
            if counted == FULL && !is(Mutant::FilterWraps) {
                return;
            }
            let more = if counted == FULL { held - (FULL << shift) } else { held + (1 << shift) };
            match word.compare_exchange(held, more, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => held = now,
            }
        }
        // Other threads were always faster. A full counter stays full, and so is never too low.
        word.fetch_or(FULL << shift, Ordering::SeqCst);
    }

    fn uncount(&self, fingerprint: u64, kind: Kind) {
        if let Some([head, ..]) = self.hot(fingerprint) {
            head.fetch_sub(Head::one(kind), Ordering::SeqCst);
        }
        let Some((word, shift)) = self.counter(fingerprint) else { return };
        if kind == Kind::Minus || is(Mutant::FilterKept) {
            return;
        }
        let mut held = word.load(Ordering::Relaxed);
        for _ in 0..FILTER_TRIES {
            let counted = held >> shift & COUNTER_MASK;
            if counted == 0 || counted == FULL && !is(Mutant::FilterLeavesFull) {
                return;
            }
            match word.compare_exchange(held, held - (1 << shift), Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => held = now,
            }
        }
    }

    /// What follows after an entry was removed from `place`.
    pub(super) fn left(&self, place: Place<'a>, fingerprint: u64, kind: Kind) {
        if place.level == Level::Hot {
            return;
        }
        if place.level == Level::Next {
            if let Some([beyond, ..]) = self.large(self.home(fingerprint)) {
                beyond.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.uncount(fingerprint, kind);
    }

    /// Every word of every line, those of the hot lines first, each with the number of its large line.
    pub(super) fn places(&self) -> impl Iterator<Item = (Place<'a>, usize)> + use<'a> {
        fn entries<'a>(
            words: &'a [AtomicU64],
            level: Level,
        ) -> impl Iterator<Item = (Place<'a>, usize)> + use<'a> {
            let lines = words.chunks_exact(LINE_WORDS).enumerate();
            lines.flat_map(move |(number, line)| {
                line.iter().skip(1).map(move |word| (Place { word, level }, number))
            })
        }
        entries(self.hot, Level::Hot).chain(entries(self.large, Level::Home))
    }

    /// The place of an entry with this fingerprint, which stands in the large line with this number if it is not in a hot one.
    pub(super) fn leveled(&self, place: Place<'a>, number: usize, fingerprint: u64) -> Place<'a> {
        let is_next = place.level != Level::Hot && number != self.home(fingerprint);
        Place { level: if is_next { Level::Next } else { place.level }, ..place }
    }
}
