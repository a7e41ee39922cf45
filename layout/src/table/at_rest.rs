//! What holds of a table while no thread uses it; for tests and models.
#![allow(clippy::panic, reason = "only tests use it")]

use super::index::{Entry, FILTER_WORDS, FULL, Head, Kind, LINE_WORDS, Level};
use super::slots::State;
use super::{Key, Table};
use crate::seqlock::Patience;
use crate::sync::{AtomicU64, Ordering};
use crate::words::Words;

/// An entry of the index, at rest.
pub(crate) struct Found {
    pub(super) entry: Entry,
    /// The number of its large line, if it is in one.
    large: Option<usize>,
    /// Its key's first word; its upper bits for an entry without a slot.
    fingerprint: u64,
}

impl Table<'_> {
    pub(crate) fn found(&self) -> Vec<Found> {
        let entries = self.index.places().map(|(place, number)| {
            let entry = Entry(place.word.load(Ordering::Relaxed));
            let fingerprint = match entry.kind() {
                Kind::Plus => self.slots.slot(entry.slot()).unwrap().key().0,
                _ => entry.fingerprint(),
            };
            Found { entry, large: (place.level != Level::Hot).then_some(number), fingerprint }
        });
        entries.filter(|found| found.entry != Entry::NONE).collect()
    }

    /// The waiting stops, by key.
    pub(crate) fn stops_of(&self, key: Key) -> usize {
        self.count(key, Kind::Minus)
    }

    /// The spawns without a slot, by key.
    pub(crate) fn spilled_of(&self, key: Key) -> usize {
        self.count(key, Kind::Spill)
    }

    fn count(&self, key: Key, kind: Kind) -> usize {
        let is_counted = |found: &&Found| {
            found.entry.kind() == kind && Entry::spill(found.fingerprint).has_fingerprint(key.0)
        };
        self.found().iter().filter(is_counted).count()
    }

    /// The live records, as a reader sees them: key and stamp.
    pub(crate) fn live(&self) -> Vec<(Key, u64)> {
        let reader = self.slots.reader();
        let (mut patience, mut out) = (Patience::for_a_scan(), vec![0; self.slots.stride()]);
        let mut live: Vec<_> = (0..reader.len())
            .filter_map(|slot| {
                let is_live = reader.read(slot, &mut out, &mut patience);
                assert!(is_live.is_ok(), "a slot is never at rest");
                (is_live == Ok(true)).then(|| (Key(out[1], out[2]), out[super::STAMP_WORD]))
            })
            .collect();
        live.sort_unstable();
        live
    }

    /// Asserts that each slot is in exactly one place, that what the index has lives and nothing else does, and that heads and
    /// filter count what is in the large level.
    pub(crate) fn assert_whole(&self) {
        let mut places = vec![0; self.slots.used()];
        for slot in self.slots.free_at_rest() {
            places[slot] += 1;
            let state = self.slots.slot(slot).unwrap().control().state();
            assert_eq!(state, State::Free, "a free slot that is not free");
        }
        let mut orphans = 0;
        for (index, place) in places.iter_mut().enumerate() {
            if self.slots.slot(index).unwrap().control().state() == State::Orphan {
                *place += 1;
                orphans += 1;
            }
        }
        assert_eq!(orphans, self.orphans(), "orphans are not counted");
        let found = self.found();
        for Found { entry, .. } in &found {
            assert!(!entry.is_held(), "an entry is left in hand");
            if entry.kind() == Kind::Plus {
                places[entry.slot()] += 1;
                let state = self.slots.slot(entry.slot()).unwrap().control().state();
                assert_eq!(state, State::Live, "an entry whose slot does not live");
            }
        }
        assert!(places.iter().all(|count| *count == 1), "a slot is in no place, or in two: {places:?}");
        self.assert_counted(&found);
    }

    fn assert_counted(&self, found: &[Found]) {
        let Self { index, .. } = self;
        let hot_lines = index.hot.len() / LINE_WORDS;
        let mut heads = vec![(0, 0); hot_lines];
        let mut groups = vec![0; hot_lines * FILTER_WORDS * 16];
        let mut beyond = vec![0; index.large.len() / LINE_WORDS];
        for Found { entry, large, fingerprint } in found {
            let Some(number) = large else { continue };
            let hot = index.hot_number(*fingerprint);
            let home = index.home(*fingerprint);
            if *number != home {
                assert_eq!(*number, index.next(home), "an entry is in a line where nobody looks");
                beyond[home] += 1;
            }
            if entry.kind() == Kind::Minus {
                heads[hot].1 += 1;
            } else {
                heads[hot].0 += 1;
                groups[hot * FILTER_WORDS * 16 + Entry(*fingerprint).group()] += 1;
            }
        }
        let word = |of: &[AtomicU64], at: usize| of[at].load(Ordering::Relaxed);
        let counted = (0..hot_lines).map(|line| Head(word(index.hot, line * LINE_WORDS)));
        let counted: Vec<_> = counted.map(|head| (head.plus_out(), head.minus_out())).collect();
        assert_eq!(counted, heads, "the heads do not count what is in the large level");
        let counted: Vec<_> = (0..beyond.len()).map(|line| word(index.large, line * LINE_WORDS)).collect();
        assert_eq!(counted, beyond, "the large heads do not count what is beyond them");
        for (group, count) in groups.into_iter().enumerate() {
            let counted = word(index.filter, group / 16) >> (group % 16 * 4) & 15;
            // A full counter stays full.
            assert!(counted == FULL || counted == count, "the filter counts {counted} of {count}");
        }
    }
}

impl Entry {
    /// The number of its group in its line's filter.
    fn group(self) -> usize {
        ((self.0 >> 46) % (FILTER_WORDS as u64 * 16)) as usize
    }
}

/// The words of a table.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(super) shape: super::Shape,
    pub(super) slots: std::sync::Arc<[AtomicU64]>,
    pub(super) used: std::sync::Arc<AtomicU64>,
    pub(super) private: std::sync::Arc<[AtomicU64]>,
}

impl Memory {
    pub(crate) fn new(shape: super::Shape) -> Self {
        Self::with_large_lines(shape, shape.large_lines())
    }

    pub(super) fn with_large_lines(shape: super::Shape, large_lines: usize) -> Self {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let (slots, private) = (words(shape.slots * shape.stride), words(shape.words_with(large_lines)));
        Self { shape, slots, used: std::sync::Arc::new(AtomicU64::new(0)), private }
    }

    pub(crate) fn table(&self) -> Table<'_> {
        Table::new(self.shape, &self.slots, &self.used, &self.private)
    }
}

impl<'a> super::slots::Slots<'a> {
    pub(super) fn reader(&self) -> super::SlotReader<'a> {
        super::SlotReader::new(Words::new(self.words), self.stride, self.used() as u64)
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Every slot of a free list.
    pub(super) fn free_at_rest(&self) -> Vec<usize> {
        use super::slots::{Chain, LANE_WORDS};
        let mut free = Vec::new();
        let mut walk = |chain: Chain| {
            let mut rest = chain;
            while let Some((slot, others)) = self.first_of(rest) {
                assert_eq!(
                    rest.length() == 1,
                    others == Chain::NONE,
                    "a chain has another length than it says"
                );
                free.push(slot.index);
                rest = others;
            }
            assert_eq!(rest, Chain::NONE, "a chain ends in no slot");
        };
        let mut ranges = Vec::new();
        for lane in 1..self.lanes.len() / LANE_WORDS {
            let [loaded, spare, fresh] = self.lane(lane).unwrap();
            walk(Chain(loaded.load(Ordering::Relaxed)));
            walk(Chain(spare.load(Ordering::Relaxed)));
            let range = fresh.load(Ordering::Relaxed);
            ranges.extend((range & 0xffff_ffff) as usize..(range >> 32) as usize);
        }
        let mut top = self.shared().unwrap()[0].load(Ordering::Relaxed) & 0xffff_ffff;
        for _ in 0..=self.used() {
            if top == 0 {
                break;
            }
            let words = self.slot(top as usize - 1).unwrap().words;
            walk(Chain::of(words[2].load(Ordering::Relaxed), top));
            top = words[1].load(Ordering::Relaxed);
        }
        assert_eq!(top, 0, "the depot has more chains than there are slots");
        free.extend(ranges);
        free
    }
}
