//! Slots and their free lists.
//!
//! ```text
//!  control word:  generation (40) │ link (22) │ state (2)      FREE 0, BUSY 1, LIVE 2, ORPHAN 3
//!
//!  lane (its thread alone)        depot (any thread)                used (any thread)
//!  loaded ─► slot ─► slot         tag │ ─► chain ─► chain ─► …      slots that were never taken
//!  spare  ─► a full chain                  slot    slot
//!  fresh: up to 16 slots, in order         slot
//! ```
//! A slot is in exactly one place: a lane's two chains, its fresh range, a chain of the depot, the index, a thread's hand, or
//! beyond the slots that were ever taken. The slots of a chain are linked by their control words. The first slot of a chain
//! in the depot holds the next chain in word 1 and the length of its own in word 2.
//!
//! A free slot's words may be stored while a reader still copies the record of the slot's last tenant. Its control word is
//! freed before, so that this reader then sees that the control word has changed.
//!
//! A lane's number keeps its lists when its thread exits. The next thread with this number inherits them through the bitmap
//! of the lanes ([`crate::lanes::claim`]).

use super::key::Key;
use crate::limits::SEPARATION_BYTES;
use crate::sync::mutant::{Mutant, is};
use crate::sync::{AtomicU64, Ordering, fence};

/// Slots that a lane takes from the depot, or gives to it, at a time.
pub(super) const CHAIN: u64 = if cfg!(atomscope_loom) { 2 } else { 16 };
/// Attempts to change a word that other threads change too.
const TRIES: usize = if cfg!(atomscope_loom) { 4 } else { 64 };
/// Words from one lane to the next. The first lane's place holds the words that all threads share.
pub(super) const LANE_WORDS: usize = if cfg!(atomscope_loom) { 3 } else { SEPARATION_BYTES / 8 };

/// Words of a record that the table reads: its key and its stamp.
pub(super) const KEY_WORDS: [usize; 2] = [1, 2];
/// Word of a record that holds its stamp, which orders the spawns of one key.
pub const STAMP_WORD: usize = 3;

const LINK_SHIFT: u32 = 2;
const LINK_MASK: u64 = (1 << 22) - 1;
const GENERATION_SHIFT: u32 = 24;

/// The state of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its record means nothing.
    Free,
    /// Its record is being written.
    Busy,
    /// Its record is that of a live actor, or of an instance.
    Live,
    /// As `Free`, but no free list has it.
    Orphan,
}

/// A control word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Control(pub(super) u64);

impl Control {
    #[inline(always)]
    pub(super) fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Free,
            1 => State::Busy,
            2 => State::Live,
            _ => State::Orphan,
        }
    }

    #[inline(always)]
    pub(super) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// The next slot of the chain, plus 1.
    #[inline(always)]
    pub(super) fn link(self) -> u64 {
        self.0 >> LINK_SHIFT & LINK_MASK
    }

    /// The same generation with another link and state.
    #[inline(always)]
    fn with(self, link: u64, state: State) -> Self {
        Self(self.generation() << GENERATION_SHIFT | (link & LINK_MASK) << LINK_SHIFT | state as u64)
    }

    /// The same generation in another state.
    #[inline(always)]
    pub(super) fn in_state(self, state: State) -> Self {
        self.with(0, state)
    }

    /// The next generation in this state.
    #[inline(always)]
    pub(super) fn next(self, state: State) -> Self {
        Self(self.generation().wrapping_add(1) << GENERATION_SHIFT | state as u64)
    }
}

/// A slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) index: usize,
    pub(super) control: &'a AtomicU64,
    /// All its words, the control word first.
    pub(super) words: &'a [AtomicU64],
}

impl Slot<'_> {
    #[inline(always)]
    pub(super) fn key(&self) -> Key {
        let [first, second] =
            KEY_WORDS.map(|at| self.words.get(at).map_or(0, |word| word.load(Ordering::Relaxed)));
        Key(first, second)
    }

    #[inline(always)]
    pub(super) fn stamp(&self) -> u64 {
        self.words.get(STAMP_WORD).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(super) fn control(&self) -> Control {
        Control(self.control.load(Ordering::Relaxed))
    }
}

/// Linked free slots: their number (32) │ the first one plus 1 (32). 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain(pub(super) u64);

impl Chain {
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) fn of(length: u64, first: u64) -> Self {
        Self(length << 32 | first)
    }

    #[inline(always)]
    pub(super) fn length(self) -> u64 {
        self.0 >> 32
    }

    /// The first slot plus 1.
    #[inline(always)]
    fn first(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}

/// All slots of a section, with their free lists.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) words: &'a [AtomicU64],
    pub(super) stride: usize,
    used: &'a AtomicU64,
    pub(super) lanes: &'a [AtomicU64],
}

impl<'a> Slots<'a> {
    /// `lanes` holds [`LANE_WORDS`] for what all threads share, and for each lane.
    #[inline(always)]
    pub(super) fn new(
        words: &'a [AtomicU64],
        stride: usize,
        used: &'a AtomicU64,
        lanes: &'a [AtomicU64],
    ) -> Self {
        Self { words, stride, used, lanes }
    }

    #[inline(always)]
    pub(super) fn slot(&self, index: usize) -> Option<Slot<'a>> {
        let words = self.words.get(index.checked_mul(self.stride)?..)?.get(..self.stride)?;
        Some(Slot { index, control: words.first()?, words })
    }

    /// How many slots were ever taken.
    pub(super) fn used(&self) -> usize {
        (self.used.load(Ordering::Acquire) as usize).min(self.words.len() / self.stride.max(1))
    }

    /// The words of a lane: loaded, spare, fresh. `None` for number 0, which all other threads share, and beyond the lanes.
    #[inline(always)]
    pub(super) fn lane(&self, lane: usize) -> Option<&'a [AtomicU64; 3]> {
        if lane == 0 {
            return None;
        }
        self.lanes.get(lane.checked_mul(LANE_WORDS)?..)?.first_chunk()
    }

    /// The top of the depot, and the number of orphans.
    pub(super) fn shared(&self) -> Option<&'a [AtomicU64; 2]> {
        self.lanes.first_chunk()
    }

    /// Takes a free slot; `None` if there is none. `lane` is a number that the calling thread holds, or 0.
    #[inline(always)]
    pub(super) fn pop(&self, lane: usize) -> Option<Slot<'a>> {
        let Some([loaded, ..]) = self.lane(lane) else { return self.pop_shared() };
        let chain = Chain(loaded.load(Ordering::Relaxed));
        match self.first_of(chain) {
            Some((slot, rest)) => {
                loaded.store(rest.0, Ordering::Relaxed);
                Some(slot)
            }
            None => self.refill(lane),
        }
    }

    /// The first slot of a chain, and the other ones.
    #[inline(always)]
    pub(super) fn first_of(&self, chain: Chain) -> Option<(Slot<'a>, Chain)> {
        let slot = self.slot(chain.first().wrapping_sub(1) as usize)?;
        let link = slot.control().link();
        let rest = if link == 0 { Chain::NONE } else { Chain::of(chain.length().saturating_sub(1), link) };
        Some((slot, rest))
    }

    /// Frees a slot that the calling thread has in hand.
    #[inline(always)]
    pub(super) fn free(&self, lane: usize, slot: Slot<'a>) {
        let Some([loaded, ..]) = self.lane(lane) else { return self.free_shared(slot) };
        let chain = Chain(loaded.load(Ordering::Relaxed));
        if chain.length() >= CHAIN {
            return self.unload(lane, slot);
        }
        Self::free_before(loaded, chain, slot);
    }

    /// Frees a slot, which becomes the first of a lane's chain.
    #[inline(always)]
    fn free_before(loaded: &AtomicU64, chain: Chain, slot: Slot<'a>) {
        slot.control.store(slot.control().with(chain.first(), State::Free).0, Ordering::Release);
        loaded.store(Chain::of(chain.length() + 1, slot.index as u64 + 1).0, Ordering::Relaxed);
    }

    /// Takes a slot for a lane whose loaded chain is empty.
    #[cold]
    #[inline(never)]
    fn refill(&self, lane: usize) -> Option<Slot<'a>> {
        let [loaded, spare, fresh] = self.lane(lane)?;
        let held = Chain(spare.load(Ordering::Relaxed));
        if held != Chain::NONE {
            spare.store(Chain::NONE.0, Ordering::Relaxed);
        }
        let chain = if held == Chain::NONE { self.pop_chain() } else { Some(held) };
        if let Some((slot, rest)) = chain.and_then(|chain| self.first_of(chain)) {
            loaded.store(rest.0, Ordering::Relaxed);
            return Some(slot);
        }
        // The slots of the range: the end (32) │ the next one (32).
        let range = fresh.load(Ordering::Relaxed);
        let (mut next, mut end) = (range & 0xffff_ffff, range >> 32);
        if next >= end {
            (next, end) = self.take_fresh(CHAIN)?;
        }
        fresh.store(end << 32 | (next + 1), Ordering::Relaxed);
        self.slot(next as usize)
    }

    /// Frees a slot in a lane whose loaded chain is full.
    #[cold]
    #[inline(never)]
    fn unload(&self, lane: usize, slot: Slot<'a>) {
        let Some([loaded, spare, _]) = self.lane(lane) else { return self.free_shared(slot) };
        let (mut chain, full) = (Chain(loaded.load(Ordering::Relaxed)), Chain(spare.load(Ordering::Relaxed)));
        // If other threads were always faster, the loaded chain grows, and the next free slot comes here again.
        if full == Chain::NONE || self.push_chain(full) {
            spare.store(chain.0, Ordering::Relaxed);
            chain = Chain::NONE;
        }
        Self::free_before(loaded, chain, slot);
    }

    /// Takes a slot for a thread without a lane.
    #[cold]
    #[inline(never)]
    fn pop_shared(&self) -> Option<Slot<'a>> {
        let Some((slot, mut rest)) = self.pop_chain().and_then(|chain| self.first_of(chain)) else {
            let (next, _) = self.take_fresh(1)?;
            return self.slot(next as usize);
        };
        if rest != Chain::NONE && !self.push_chain(rest) {
            for _ in 0..rest.length() {
                let Some((slot, others)) = self.first_of(rest) else { break };
                self.orphan(slot);
                rest = others;
            }
        }
        Some(slot)
    }

    #[cold]
    #[inline(never)]
    fn free_shared(&self, slot: Slot<'a>) {
        let freed = slot.control().in_state(State::Free).0;
        if !is(Mutant::FreedAfterPush) {
            slot.control.store(freed, Ordering::Release);
        }
        if !self.push_chain(Chain::of(1, slot.index as u64 + 1)) {
            self.orphan(slot);
        }
        if is(Mutant::FreedAfterPush) {
            slot.control.store(freed, Ordering::Release);
        }
    }

    pub(super) fn orphan(&self, slot: Slot<'a>) {
        let Some([_, orphans]) = self.shared() else { return };
        slot.control.store(slot.control().in_state(State::Orphan).0, Ordering::Release);
        orphans.fetch_add(1, Ordering::Relaxed);
    }

    /// How many slots no free list has.
    pub(super) fn orphans(&self) -> u64 {
        self.shared().map_or(0, |[_, orphans]| orphans.load(Ordering::Relaxed))
    }

    /// Brings the orphans back to the free lists. One scan of the slots if there are any.
    pub(super) fn collect_orphans(&self, lane: usize) {
        let Some([_, orphans]) = self.shared() else { return };
        if orphans.load(Ordering::Relaxed) == 0 {
            return;
        }
        for slot in (0..self.used()).filter_map(|index| self.slot(index)) {
            let control = slot.control();
            if control.state() != State::Orphan {
                continue;
            }
            // Another thread may collect too.
            let busy = control.in_state(State::Free).0;
            let taken = if is(Mutant::OrphanUnswapped) {
                slot.control.store(busy, Ordering::Relaxed);
                true
            } else {
                slot.control.compare_exchange(control.0, busy, Ordering::Acquire, Ordering::Relaxed).is_ok()
            };
            if taken {
                orphans.fetch_sub(1, Ordering::Relaxed);
                self.free(lane, slot);
            }
        }
    }

    /// Takes up to `wanted` slots that were never taken: the first one, and the end.
    fn take_fresh(&self, wanted: u64) -> Option<(u64, u64)> {
        let count = (self.words.len() / self.stride.max(1)) as u64;
        let mut next = self.used.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            let end = next.saturating_add(wanted).min(count);
            if end <= next {
                return None;
            }
            match self.used.compare_exchange(next, end, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Some((next, end)),
                Err(now) => next = now,
            }
        }
        None
    }

    /// Pushes a chain onto the depot. False if other threads were always faster.
    fn push_chain(&self, chain: Chain) -> bool {
        let (Some([depot, _]), Some(slot)) =
            (self.shared(), self.slot(chain.first().wrapping_sub(1) as usize))
        else {
            return false;
        };
        let Some([_, next, length, ..]) = slot.words.first_chunk::<3>() else { return false };
        if !is(Mutant::LinkUnfenced) {
            fence(Ordering::Release);
        }
        length.store(chain.length(), Ordering::Relaxed);
        let order = if is(Mutant::ChainRelaxed) { Ordering::Relaxed } else { Ordering::Release };
        let mut top = depot.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            next.store(top & 0xffff_ffff, Ordering::Relaxed);
            match depot.compare_exchange(top, Self::retagged(top, chain.first()), order, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => top = now,
            }
        }
        false
    }

    /// Takes the top chain of the depot. `None` if there is none, or if other threads were always faster.
    fn pop_chain(&self) -> Option<Chain> {
        let [depot, _] = self.shared()?;
        let mut top = depot.load(Ordering::Acquire);
        for _ in 0..TRIES {
            let first = top & 0xffff_ffff;
            // No slot for 0.
            let slot = self.slot(first.wrapping_sub(1) as usize)?;
            let [_, next, length, ..] = slot.words.first_chunk::<3>()?;
            // Another thread may have this chain by now, so that the word is anything. Then the swap fails.
            let next = next.load(Ordering::Relaxed) & 0xffff_ffff;
            match depot.compare_exchange(top, Self::retagged(top, next), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(Chain::of(length.load(Ordering::Relaxed), first)),
                Err(now) => top = now,
            }
        }
        None
    }

    /// Another top of the depot. The tag changes, so that a top which comes back does not look like the one before.
    fn retagged(top: u64, first: u64) -> u64 {
        let tag = if is(Mutant::Untagged) { 0 } else { (top >> 32).wrapping_add(1) };
        tag << 32 | first
    }
}
