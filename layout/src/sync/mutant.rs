//! Mutants: what a loom model does wrong on purpose, to show that it finds the failure that follows. Outside of loom there
//! are none, and the compiler removes every question for one.

/// A step that is left out or comes too early or too late, or a memory order that is too weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each is named where the step is")]
pub(crate) enum Mutant {
    /// No fence between an insertion and the look after it.
    NoFence,
    /// A usual spawn does not look for a stop that came at the same time.
    SpawnLooksNot,
    /// A stop that is left does not look for a spawn that came at the same time.
    StopLooksNot,
    /// A stop is made known before it is inserted.
    EpochFirst,
    /// A spawn over another one of its key is not marked.
    NoLater,
    /// A stop that finds a marked spawn does not look a second time.
    NoSecondLook,
    /// A spawn takes a waiting stop although another spawn of its key stands.
    StopOfAnotherTaken,
    /// A stop does not look into the large level.
    LargeUnseen,
    /// A search looks into the large level before the hot level.
    LargeFirst,
    /// A moved entry is removed from its old place before it stands in the new one.
    MoveRemovesFirst,
    /// A moved entry is not in hand meanwhile.
    MoveHoldsNot,
    /// A mover does not look for a stop of what it moved.
    MoverLooksNot,
    /// An entry is counted in its line's head only after it stands in the large level.
    HeadCountedLate,
    /// An entry is counted in the filter only after it stands in the large level.
    FilterCountedLate,
    /// An entry that leaves the large level stays counted in the filter.
    FilterKept,
    /// A counter of the filter that is full starts again.
    FilterWraps,
    /// A full counter of the filter is counted down.
    FilterLeavesFull,
    /// A pair's stop is not in hand while its spawn is removed.
    StopHeldNot,
    /// A pair's spawn is removed before its stop is in hand.
    SpawnTakenFirst,
    /// A stop that was let go again is not followed by another look.
    RestoreLooksNot,
    /// A change that lets its entry go does not look for a stop.
    UpdaterLooksNot,
    /// A stop that cannot match a spawn is paired with one.
    OriginIgnored,
    /// A record is published without BUSY before it.
    NoBusy,
    /// A slot is pushed before its control word is freed.
    FreedAfterPush,
    /// Entries have no generation.
    NoGeneration,
    /// The key is not read again after an entry has been taken.
    KeyReadOnce,
    /// An entry of another key is put back without a look for its stop.
    PutBackLooksNot,
    /// The depot's word has no tag.
    Untagged,
    /// A chain is pushed with relaxed order.
    ChainRelaxed,
    /// Words of a free slot are stored without a fence after its control word.
    LinkUnfenced,
    /// An orphan is taken without a compare-and-swap.
    OrphanUnswapped,
    /// A lane changes hands with relaxed orders.
    LaneRelaxed,
}

/// Whether the running model has this mutant.
#[cfg(not(atomscope_loom))]
#[inline(always)]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

#[cfg(atomscope_loom)]
pub(crate) use of_models::{is, with_mutants};

#[cfg(atomscope_loom)]
mod of_models {
    use super::Mutant;

    std::thread_local! {
        static LEFT_OUT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    /// Runs `work`, whose models have these mutants.
    pub(crate) fn with_mutants(mutants: &[Mutant], work: impl FnOnce()) {
        struct Restored;
        impl Drop for Restored {
            fn drop(&mut self) {
                LEFT_OUT.set(0);
            }
        }
        let _restored = Restored;
        LEFT_OUT.set(mutants.iter().fold(0, |all, mutant| all | 1 << *mutant as u64));
        work();
    }

    pub(crate) fn is(mutant: Mutant) -> bool {
        LEFT_OUT.get() >> mutant as u64 & 1 == 1
    }
}
