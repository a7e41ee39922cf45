//! Cells: one line of counters for each instrumented actor, and the maps by which a writer finds an actor's cell.
//!
//! ```text
//!   cell: │ identity │ handled │ busy_ns │ since │ running │ failures │ polls │ task │        64 bytes, one line
//! ```
//! # Who may touch which word, when
//! | word | claimer, before `identity` is in use | the actor's task, until the cell is freed | reader |
//! |---|---|---|---|
//! | identity | stores (the last step of a claim, the first step of a free) | – | loads |
//! | handled, busy_ns, since, failures, polls, task | stores 0 | loads, stores | loads |
//! | running | stores the row of the class | loads, stores | loads |
//!
//! A cell belongs to whoever has set its bit in a private bitmap. Its owner may free it only once the actor's task writes
//! no more. So each word has one writer at a time, and an addition is a load and a store. The thread that is
//! about to poll the task counts the poll; no other thread may poll it then.
//!
//! A reader copies a cell between two loads of `identity`: [`read`]. If both are equal, all words are those of one tenant.
//! They are not of one instant.
//!
//! ```
//! use atomscope_layout::cells::{self, CELL_WORDS, Cells};
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let (memory, taken) = ([const { AtomicU64::new(0) }; 2 * CELL_WORDS], [const { AtomicU64::new(0) }; 2]);
//! let cells = Cells::new(&memory, &taken);
//! let name = cells.claim(3, 3).ok_or("all cells are taken")?;
//! let cell = cells.cell(name.index()).ok_or("no such cell")?;
//! cell.begin(cells::coarse(1 << 20, 0), false);
//! assert!(!cell.end().begun.is_timed());
//! let record = cells::read(Words::new(&memory[..CELL_WORDS]))?;
//! assert_eq!((record.handled, record.class(), record.is_used()), (1, 3, true));
//! cells.free(name.index());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::limits::MAX_INSTRUMENTS;
use crate::seqlock::Unreadable;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{WORD, Words, halves};

/// The cell of an instrumented actor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CellRecord {
    /// `generation << 32 | class << 16 | state`. State 0: free, 1: in use.
    pub identity: u64,
    /// Messages whose handler has ended: it returned, panicked or was dropped.
    pub handled: u64,
    /// Estimated time in handlers, in nanoseconds.
    pub busy_ns: u64,
    /// The coarse stamp at which the handler in flight began; 0: none is in flight.
    pub since: u64,
    /// `mode << 32 | row`: the row of the newest message, and a [`Mode`].
    pub running: u64,
    /// `restarts << 32 | failures`; both stay at their maximum.
    pub failures: u64,
    /// Polls of the actor's task on a runtime whose polls are watched; 0: unknown, because its first poll was not watched.
    pub polls: u64,
    /// The number of the actor's task; 0 before it runs.
    pub task: u64,
}

/// Words of a cell.
pub const CELL_WORDS: usize = size_of::<CellRecord>() / WORD;

/// Word indices of a [`CellRecord`].
pub mod word {
    use super::{CellRecord, WORD, offset_of};

    /// [`CellRecord::identity`].
    pub const IDENTITY: usize = 0;
    /// [`CellRecord::handled`].
    pub const HANDLED: usize = offset_of!(CellRecord, handled) / WORD;
    /// [`CellRecord::busy_ns`].
    pub const BUSY_NS: usize = offset_of!(CellRecord, busy_ns) / WORD;
    /// [`CellRecord::since`].
    pub const SINCE: usize = offset_of!(CellRecord, since) / WORD;
    /// [`CellRecord::running`].
    pub const RUNNING: usize = offset_of!(CellRecord, running) / WORD;
    /// [`CellRecord::failures`].
    pub const FAILURES: usize = offset_of!(CellRecord, failures) / WORD;
    /// [`CellRecord::polls`].
    pub const POLLS: usize = offset_of!(CellRecord, polls) / WORD;
    /// [`CellRecord::task`].
    pub const TASK: usize = offset_of!(CellRecord, task) / WORD;
}

const _: () = {
    assert!(size_of::<CellRecord>() == 64);
    assert!(word::HANDLED == 1 && word::BUSY_NS == 2 && word::SINCE == 3 && word::RUNNING == 4);
    assert!(word::FAILURES == 5 && word::POLLS == 6 && word::TASK == 7);
    // An index + 1 has 22 bits in a target of the map.
    assert!(MAX_INSTRUMENTS < 1 << 22);
};

/// The lowest bit of the identity of a cell in use.
const IN_USE: u64 = 1;

/// Whether a handler in flight uses its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Mode {
    /// Unknown.
    Unknown = 0,
    /// Inside a poll: it runs, or blocks its worker.
    Runs = 1,
    /// It awaits something.
    Awaits = 2,
}

impl CellRecord {
    /// The generation of the cell's tenant.
    pub fn generation(&self) -> u32 {
        (self.identity >> 32) as u32
    }

    /// The class of the tenant.
    pub fn class(&self) -> u16 {
        (self.identity >> 16) as u16
    }

    /// Whether the cell has a tenant.
    pub fn is_used(&self) -> bool {
        self.identity & 0xffff == IN_USE
    }

    /// The row of the newest message.
    pub fn row(&self) -> u32 {
        self.running as u32
    }

    /// What the handler in flight does; `None` for a value that no writer stores.
    pub fn mode(&self) -> Option<Mode> {
        [Mode::Unknown, Mode::Runs, Mode::Awaits].into_iter().find(|mode| *mode as u64 == self.running >> 32)
    }
}

/// A cell and its tenant, as an actor's record has them: `generation << 32 | index + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellName(u64);

impl CellName {
    /// The name in a word of an actor's record; `None` for 0, an actor that is not instrumented.
    pub fn from_word(word: u64) -> Option<Self> {
        (word as u32 != 0).then_some(Self(word))
    }

    /// The word for an actor's record. Never 0.
    pub fn word(self) -> u64 {
        self.0
    }

    /// The index of the cell.
    pub fn index(self) -> usize {
        (self.0 as u32 as usize).wrapping_sub(1)
    }

    /// The generation of its tenant.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The low bits of a coarse stamp that are no time: a [`TIMED`] mark, and below it the number of the tick.
const COARSE_LOW: u64 = 0xff;
/// In a cell's `since`: the message is timed by the precise clock.
const TIMED: u64 = 0x80;
/// The bits of a difference of two coarse stamps which show that two ticks or more lie between them.
const TWO_TICKS: u64 = 0x7e;

/// A stamp of the coarse clock at `ticks`: the low eight bits are the number of the tick instead, so that two stamps show
/// how many ticks lie between them, however late the ticks were.
pub fn coarse(ticks: u64, number: u64) -> u64 {
    ticks & !COARSE_LOW | number & (TIMED - 1) | if ticks <= COARSE_LOW { COARSE_LOW + 1 } else { 0 }
}

/// The ticks of a cell's `since`, whose low bits are no time.
#[inline]
pub fn stamp(since: u64) -> u64 {
    since & !COARSE_LOW
}

/// The identity of the same generation without a tenant. In a copy of a region it marks a cell that could not be copied whole.
pub fn freed(identity: u64) -> u64 {
    identity & !0xffff
}

/// The stamp of the coarse clock's next tick, at `ticks`, after `last`.
pub fn next_coarse(last: u64, ticks: u64) -> u64 {
    coarse(ticks.max(last), last.wrapping_add(1))
}

/// The cells of a region, for writers.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    words: &'a [AtomicU64],
    /// One bit for each cell that is taken, in private memory. A last word tells where the search begins.
    taken: &'a [AtomicU64],
}

/// Words of the private bitmap of `cells` cells.
pub const fn bitmap_words(cells: usize) -> usize {
    cells.div_ceil(64) + 1
}

impl<'a> Cells<'a> {
    /// The cells in `words`; `taken` has [`bitmap_words`].
    #[inline]
    pub fn new(words: &'a [AtomicU64], taken: &'a [AtomicU64]) -> Self {
        Self { words, taken }
    }

    /// The cell with this index.
    #[inline]
    pub fn cell(&self, index: usize) -> Option<Cell<'a>> {
        let start = index.checked_mul(CELL_WORDS)?;
        self.words.get(start..)?.first_chunk().map(Cell)
    }

    /// Takes a free cell for an actor of `class`, whose messages count in `row` until another one is known. `None` if all
    /// are taken. Lock-free: one pass over the bitmap, and at most 64 tries for each of its words.
    pub fn claim(&self, class: u16, row: u32) -> Option<CellName> {
        let index = self.take()?;
        let Some(cell) = self.cell(index) else {
            // Beyond the last cell: the bit stays set, so that it is not tried again.
            return None;
        };
        let generation = ((cell.identity().load(Ordering::Relaxed) >> 32) as u32).wrapping_add(1).max(1);
        // The tenant before was freed before the bit was cleared, and the bit was read with Acquire. A reader that sees a
        // word of the new tenant therefore sees a later identity than that of the old one.
        fence(Ordering::Release);
        for word in cell.0.iter().skip(1) {
            word.store(0, Ordering::Relaxed);
        }
        cell.running().store(u64::from(row), Ordering::Relaxed);
        let identity = halves(u32::from(class) << 16 | IN_USE as u32, generation);
        cell.identity().store(identity, Ordering::Release);
        Some(CellName(halves(index as u32 + 1, generation)))
    }

    /// Frees a cell that the caller owns. Its actor's task must write no more. Wait-free.
    pub fn free(&self, index: usize) {
        let (Some(cell), Some((hint, bits))) = (self.cell(index), self.taken.split_last()) else { return };
        let identity = cell.identity();
        identity.store(freed(identity.load(Ordering::Relaxed)), Ordering::Release);
        if let Some(word) = bits.get(index / 64) {
            word.fetch_and(!(1 << (index % 64)), Ordering::Release);
            hint.store(index as u64 / 64, Ordering::Relaxed);
        }
    }

    /// Sets the bit of a free cell and returns its index.
    fn take(&self) -> Option<usize> {
        let (hint, bits) = self.taken.split_last()?;
        let first = (hint.load(Ordering::Relaxed) as usize).min(bits.len());
        for at in (first..bits.len()).chain(0..first) {
            let word = bits.get(at)?;
            let mut taken = word.load(Ordering::Relaxed);
            // Each failure means that another thread took or freed a cell of this word.
            for _ in 0..64 {
                let free = (!taken).trailing_zeros() as usize;
                if free == 64 || (at * 64 + free) * CELL_WORDS >= self.words.len() {
                    break;
                }
                match word.compare_exchange(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => {
                        if at != first {
                            hint.store(at as u64, Ordering::Relaxed);
                        }
                        return Some(at * 64 + free);
                    }
                    Err(now) => taken = now,
                }
            }
        }
        None
    }
}

impl core::fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Cells({} cells)", self.words.len() / CELL_WORDS)
    }
}

/// A cell that the caller owns. Its methods are wait-free: loads and stores.
#[derive(Clone, Copy)]
pub struct Cell<'a>(&'a [AtomicU64; CELL_WORDS]);

/// A handler that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The row of the message.
    pub row: u32,
    /// Its beginning.
    pub begun: Begun,
}

/// When a handler began, and how it is timed: a cell's `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun(u64);

impl Begun {
    /// Whether it is timed by the precise clock.
    #[inline(always)]
    pub fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// The stamp of the coarse clock.
    pub fn stamp(self) -> u64 {
        stamp(self.0)
    }

    /// Whether at least two ticks of the coarse clock lie between the beginning and `now`. The number of a tick repeats after
    /// 128 ticks, so the time decides from `second` on: what the precise clock counts in about a second.
    #[inline(always)]
    pub fn is_long(self, now: u64, second: u64) -> bool {
        let passed = now.wrapping_sub(self.0 & !TIMED);
        // Mostly no tick lies between them.
        passed != 0 && self.0 != 0 && (passed & TWO_TICKS != 0 || (second..1 << 63).contains(&passed))
    }
}

macro_rules! words_of_a_cell {
    ($($method:ident = $word:ident),+ $(,)?) => {
        $(
            #[doc = concat!("The word [`CellRecord::", stringify!($method), "`].")]
            #[inline(always)]
            pub fn $method(&self) -> &'a AtomicU64 {
                &self.0[word::$word]
            }
        )+
    };
}

impl<'a> Cell<'a> {
    words_of_a_cell! {
        identity = IDENTITY, handled = HANDLED, busy_ns = BUSY_NS, since = SINCE, running = RUNNING,
        failures = FAILURES, polls = POLLS, task = TASK,
    }

    /// A handler begins at this stamp of the coarse clock. Its message counts in the row of the actor's class, until
    /// [`Self::run`] sets another one.
    #[inline(always)]
    pub fn begin(&self, coarse: u64, is_timed: bool) {
        let class = self.identity().load(Ordering::Relaxed) >> 16 & 0xffff;
        self.running().store(class, Ordering::Relaxed);
        let since = coarse & !TIMED | if is_timed { TIMED } else { 0 };
        // A reader that sees the beginning sees the row, too.
        self.since().store(since, Ordering::Release);
    }

    /// The handler has ended.
    #[inline(always)]
    pub fn end(&self) -> Ended {
        let handled = self.handled().load(Ordering::Relaxed).wrapping_add(1);
        let since = self.since().load(Ordering::Relaxed);
        let row = self.running().load(Ordering::Relaxed) as u32;
        self.handled().store(handled, Ordering::Relaxed);
        self.since().store(0, Ordering::Relaxed);
        Ended { row, begun: Begun(since) }
    }

    /// The time in handlers grows.
    #[inline]
    pub fn add_busy(&self, ns: u64) {
        let busy = self.busy_ns();
        busy.store(busy.load(Ordering::Relaxed).wrapping_add(ns), Ordering::Relaxed);
    }

    /// A poll of the actor's task begins on this thread.
    #[inline(always)]
    pub fn count_poll(&self) {
        let polls = self.polls();
        polls.store(polls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The message in flight counts in `row`; its handler's mode is `mode`.
    #[inline(always)]
    pub fn run(&self, row: u32, mode: Mode) {
        self.running().store(halves(row, mode as u32), Ordering::Relaxed);
    }

    /// The message in flight counts in `row`.
    #[inline(always)]
    pub fn set_row(&self, row: u32) {
        let mode = self.running().load(Ordering::Relaxed) >> 32;
        self.running().store(halves(row, mode as u32), Ordering::Relaxed);
    }

    /// The mode of the handler in flight changes.
    #[inline(always)]
    pub fn set_mode(&self, mode: Mode) {
        let row = self.running().load(Ordering::Relaxed) as u32;
        self.run(row, mode);
    }

    /// A handler has panicked.
    pub fn count_failure(&self) {
        self.count_in_halves(|failures, restarts| (failures.saturating_add(1), restarts));
    }

    /// The actor was made again.
    pub fn count_restart(&self) {
        self.count_in_halves(|failures, restarts| (failures, restarts.saturating_add(1)));
    }

    fn count_in_halves(&self, change: impl FnOnce(u32, u32) -> (u32, u32)) {
        let word = self.failures();
        let held = word.load(Ordering::Relaxed);
        let (failures, restarts) = change(held as u32, (held >> 32) as u32);
        word.store(halves(failures, restarts), Ordering::Relaxed);
    }
}

impl core::fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cell")
    }
}

/// Copies a cell. One try: a cell changes its tenant rarely.
///
/// # Errors
/// [`Unreadable::Busy`] if the cell changed its tenant meanwhile, [`Unreadable::Corrupt`] if `cell` has too few words.
pub fn read(cell: Words<'_>) -> Result<CellRecord, Unreadable> {
    if cell.len() < CELL_WORDS {
        return Err(Unreadable::Corrupt);
    }
    let mut words = [0u64; CELL_WORDS];
    let before = cell.load(word::IDENTITY);
    fence(Ordering::Acquire);
    cell.copy_to(&mut words);
    fence(Ordering::Acquire);
    if cell.load(word::IDENTITY) != before {
        return Err(Unreadable::Busy);
    }
    if let Some(identity) = words.first_mut() {
        *identity = before;
    }
    Ok(zerocopy::transmute!(words))
}

/// Where the cell of a task is: the number of its region's instruments, and the index of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Below [`Target::REGIONS`].
    pub region: u32,
    /// Below [`MAX_INSTRUMENTS`].
    pub cell: u32,
}

impl Target {
    /// Numbers of regions.
    pub const REGIONS: u32 = 1 << 10;

    fn word(self, task: u64) -> u64 {
        halves(self.region << 22 | (self.cell + 1), task as u32)
    }

    fn of(word: u64) -> Self {
        let target = word as u32;
        Self { region: target >> 22, cell: (target & ((1 << 22) - 1)).wrapping_sub(1) }
    }
}

/// A map from the number of a task to the cell of its actor, in private memory.
///
/// ```text
///   word: │ low half of the task's number, 32 │ region, 10 │ cell + 1, 22 │      0: free
/// ```
/// Each task has two buckets of eight words, a line each; in the first one it begins with the word of its own number, so that
/// tasks with numbers in a row do not meet. A word holds half of the task's number only, so whoever finds it
/// compares the whole number with the one in the cell. A task inserts its own entry and looks it up itself; whoever owns
/// the cell removes it. So relaxed order suffices: a task always sees its own entry, and never takes another one's.
#[derive(Clone, Copy)]
pub struct TaskMap<'a>(&'a [AtomicU64]);

/// Words of a bucket of a [`TaskMap`]. Loom models have smaller ones.
pub const BUCKET_WORDS: usize = if cfg!(atomscope_loom) { 1 } else { 8 };

impl<'a> TaskMap<'a> {
    /// A map in `words`, whose number of buckets is a power of two.
    #[inline]
    pub fn new(words: &'a [AtomicU64]) -> Self {
        debug_assert!((words.len() / BUCKET_WORDS).is_power_of_two());
        Self(words)
    }

    /// The words in which the entry of `task` may be, in the order of the search.
    #[inline]
    fn words(&self, task: u64) -> impl Iterator<Item = &'a AtomicU64> + use<'a> {
        let (words, last) = (self.0, (self.0.len() / BUCKET_WORDS).saturating_sub(1));
        let (bucket, home) = ((task as usize / BUCKET_WORDS) & last, task as usize % BUCKET_WORDS);
        // Fibonacci hashing: the upper bits are well mixed.
        let other = (task.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & last;
        let other = if bucket == other { other ^ (last & 1) } else { other };
        let places = (0..2 * BUCKET_WORDS).map(move |step| {
            let bucket = if step < BUCKET_WORDS { bucket } else { other };
            bucket * BUCKET_WORDS + (home + step) % BUCKET_WORDS
        });
        places.filter_map(move |place| words.get(place))
    }

    /// Inserts the entry of `task`, which has none. False if both buckets are full. Wait-free.
    #[must_use]
    pub fn insert(&self, task: u64, target: Target) -> bool {
        let entry = target.word(task);
        self.words(task).any(|word| {
            word.load(Ordering::Relaxed) == 0
                && word.compare_exchange(0, entry, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// Removes the entry of `task`. Of several threads that remove it, one gets true. Wait-free.
    pub fn remove(&self, task: u64, target: Target) -> bool {
        let entry = target.word(task);
        self.words(task).any(|word| {
            word.load(Ordering::Relaxed) == entry
                && word.compare_exchange(entry, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// The first target of `task` for which `is_it` holds: it compares the number in the cell. Wait-free.
    #[inline]
    pub fn find<T>(&self, task: u64, mut is_it: impl FnMut(Target) -> Option<T>) -> Option<T> {
        let tag = task as u32;
        self.words(task).find_map(|word| {
            let entry = word.load(Ordering::Relaxed);
            if (entry >> 32) as u32 == tag && entry as u32 != 0 { is_it(Target::of(entry)) } else { None }
        })
    }
}

impl core::fmt::Debug for TaskMap<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TaskMap({} words)", self.0.len())
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    fn memory(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn every_cell_is_given_once_and_again_after_it_was_freed() {
        let (words, taken) = (memory(70 * CELL_WORDS), memory(bitmap_words(70)));
        let cells = Cells::new(&words, &taken);
        let names: Vec<CellName> = std::iter::from_fn(|| cells.claim(1, 1)).collect();
        let mut indices: Vec<usize> = names.iter().map(|name| name.index()).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..70).collect::<Vec<_>>());
        for index in [3, 69, 64] {
            cells.free(index);
            let again = cells.claim(2, 2).unwrap();
            assert_eq!((again.index(), again.generation()), (index, 2));
            assert_eq!(cells.claim(2, 2), None);
        }
    }

    #[test]
    fn a_new_tenant_has_nothing_of_the_one_before() {
        let (words, taken) = (memory(CELL_WORDS), memory(bitmap_words(1)));
        let cells = Cells::new(&words, &taken);
        let first = cells.claim(7, 9).unwrap();
        for word in words.iter().skip(1) {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        cells.free(first.index());
        assert!(!read(Words::new(&words)).unwrap().is_used());
        let second = cells.claim(8, 5).unwrap();
        let record = read(Words::new(&words)).unwrap();
        let expected = CellRecord { identity: 2 << 32 | 8 << 16 | 1, running: 5, ..CellRecord::default() };
        assert_eq!((record, second.word()), (expected, 2 << 32 | 1));
        assert_eq!((record.generation(), record.class(), record.row()), (2, 8, 5));
        assert_eq!(CellName::from_word(second.word()), Some(second));
        assert_eq!(CellName::from_word(7 << 32), None);
    }

    #[test]
    fn a_generation_is_never_zero() {
        let (words, taken) = (memory(CELL_WORDS), memory(bitmap_words(1)));
        words[0].store(u64::from(u32::MAX) << 32, Ordering::Relaxed);
        assert_eq!(Cells::new(&words, &taken).claim(0, 0).unwrap().generation(), 1);
    }

    #[test]
    fn a_handler_is_in_flight_from_its_beginning_to_its_end() {
        let words = memory(CELL_WORDS);
        let cell = Cell(words.first_chunk().unwrap());
        cell.begin(coarse(1 << 20, 3), true);
        assert_eq!(read(Words::new(&words)).unwrap().since, (1 << 20) | 0x83);
        cell.run(17, Mode::Awaits);
        let record = read(Words::new(&words)).unwrap();
        assert_eq!((record.row(), record.mode()), (17, Some(Mode::Awaits)));
        cell.set_mode(Mode::Runs);
        assert_eq!(read(Words::new(&words)).unwrap().running, 1 << 32 | 17);
        let Ended { row, begun } = cell.end();
        assert_eq!((row, begun.is_timed(), begun.stamp()), (17, true, 1 << 20));
        assert_eq!(read(Words::new(&words)).unwrap().since, 0);
        cell.count_poll();
        cell.count_poll();
        cell.add_busy(5);
        cell.add_busy(6);
        cell.count_failure();
        cell.count_failure();
        cell.count_restart();
        let record = read(Words::new(&words)).unwrap();
        assert_eq!((record.handled, record.busy_ns, record.failures), (1, 11, 1 << 32 | 2));
        assert_eq!(record.polls, 2);
        words[word::RUNNING].store(3 << 32, Ordering::Relaxed);
        assert_eq!(read(Words::new(&words)).unwrap().mode(), None);
    }

    #[test]
    fn a_handler_is_long_from_the_second_tick_on_however_late_the_ticks_were() {
        const SECOND: u64 = 1_000_000_000;
        // Number 0 is behind number 127.
        for first in 0..=TIMED {
            let mut stamp = coarse(1 << 20, first);
            let ended = Begun(stamp | if first % 2 == 0 { TIMED } else { 0 });
            assert!(!ended.is_long(stamp, SECOND));
            for tick in 1..100 {
                stamp = next_coarse(stamp, (1 << 20) + tick * 1000);
                assert_eq!(ended.is_long(stamp, SECOND), tick >= 2, "{first} {tick}");
            }
            assert!(ended.is_long(coarse((1 << 20) + (1 << 33), first), SECOND));
            // A clock that stands behind the beginning.
            assert!(!ended.is_long(coarse(1 << 19, first), SECOND));
        }
        assert!(!Begun(0).is_long(coarse(1 << 20, 9), SECOND), "it has no beginning");
    }

    #[test]
    fn a_handler_that_outlasts_the_numbers_of_ticks_is_long_with_a_slow_clock_and_a_fast_one() {
        for second in [25_000_000, 1_000_000_000, 3_000_000_000] {
            let begin = coarse(40 * second, 7);
            let mut now = begin;
            for tick in 1..=600 {
                now = next_coarse(now, 40 * second + tick * second / 40);
                assert_eq!(Begun(begin).is_long(now, second), tick >= 2, "{second} {tick}");
            }
        }
    }

    #[test]
    fn a_coarse_stamp_is_never_zero_nor_earlier_than_the_last() {
        assert_ne!(coarse(0, 0), 0);
        let later = next_coarse(coarse(5000, 1), 4000);
        assert!(later & !COARSE_LOW >= 4864 && later & COARSE_LOW == 2, "{later}");
        assert_eq!(later & TIMED, 0);
    }

    #[test]
    fn a_task_finds_its_own_entry_and_no_other() {
        let words = memory(64 * BUCKET_WORDS);
        let map = TaskMap::new(&words);
        let target = |cell| Target { region: Target::REGIONS - 1, cell };
        let tasks = || (0..256u64).map(|number| (number << 31 | number, number as u32));
        let kept: Vec<(u64, u32)> = tasks().filter(|(task, cell)| map.insert(*task, target(*cell))).collect();
        assert!(kept.len() > 250, "{}", kept.len());
        let find = |task: u64, cell: u32| map.find(task, |found| (found == target(cell)).then_some(found));
        for (task, cell) in &kept {
            assert_eq!(find(*task, *cell), Some(target(*cell)));
        }
        for (task, cell) in &kept {
            assert!(map.remove(*task, target(*cell)) && !map.remove(*task, target(*cell)));
            assert_eq!(find(*task, *cell), None);
        }
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_full_pair_of_buckets_says_so() {
        let words = memory(2 * BUCKET_WORDS);
        let map = TaskMap::new(&words);
        let inserted = (1..100).filter(|task| map.insert(*task, Target { region: 0, cell: 0 })).count();
        assert_eq!(inserted, 2 * BUCKET_WORDS);
    }
}

#[cfg(all(test, atomscope_loom))]
mod models;
