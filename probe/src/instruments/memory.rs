//! The memory of a region's instruments: cells, classes, rows, and what no reader sees of them.
//!
//! [`Instruments`] are never freed. A thread keeps a reference to the cell that it used last, and a task may end on another
//! thread, so nobody could tell when the last reference is gone without a locked instruction for each message. Of a closed region
//! [`crate::writer::RegionWriter`] gives the pages back. What stays, with the default capacities: addresses, 8 KiB of names,
//! 4 KiB of classes by name, 5 KiB of rows, 2 KiB of bitmap, and 32 private bytes for each cell that was ever taken, 512 KiB at
//! most.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use atomscope_layout::RegionMap;
use atomscope_layout::cells::{
    BUCKET_WORDS, Begun, CELL_WORDS, Cell, CellName, CellRecord, Cells, Target, TaskMap, bitmap_words, freed,
};
use atomscope_layout::classes::{Class, HANDLED_WORDS, number, polls_word, register_row};
use atomscope_layout::lane_memory::LaneMemory;
#[cfg(tokio_unstable)]
use atomscope_layout::metrics::Builtin;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, halves};
use crossbeam_utils::atomic::AtomicCell;

use crate::clock::{Clock, ns_of, ticks_of};
use crate::coarse;
use crate::lane;
use crate::names::Names;
use crate::per_process::PerProcess;
use crate::task;
use crate::type_names::TypeName;

/// The class of all that found no room in the section of classes.
const OTHER_CLASSES: u16 = 0;
/// A target's cell from this number on is no cell but a class: an actor without a cell.
const CLASS_ONLY: u32 = 1 << 21;
/// The least number of entries of the map of tasks.
const LEAST_TASKS: usize = 1 << 15;

/// What a region's instruments are made of.
pub(crate) struct Parts<'a> {
    pub(crate) memory: &'a WriterMemory,
    pub(crate) map: &'a RegionMap,
    pub(crate) names: &'a Names,
    pub(crate) clock: Clock,
    pub(crate) tick_length: u64,
    pub(crate) time_every: u64,
}

/// The instruments of a region.
#[derive(Debug)]
pub(crate) struct Instruments {
    /// The number among all instruments of the process; `None` for the 1,025th and later regions, whose actors get no cells.
    number: Option<u32>,
    cells: WriterMemory,
    classes: WriterMemory,
    class_stride: usize,
    variants: WriterMemory,
    variant_stride: usize,
    handled: LaneMemory,
    /// The counter of the polls of all tasks.
    #[cfg(tokio_unstable)]
    all_polls: LaneMemory,
    rows: usize,
    /// The bitmap of the cells that are taken.
    taken: WriterMemory,
    /// [`PRIVATE_WORDS`] for each cell.
    private: WriterMemory,
    names: Names,
    clock: Clock,
    tick_length: u64,
    /// Ticks of the clock in about a second.
    second: u64,
    /// Ticks of the clock from one tick of the coarse clock to the next.
    pub(crate) coarse_tick: u64,
    time_every: u64,
    /// See [`is_sampled`].
    time_mask: u64,
    /// The class of each name number, plus 1; 0: not known yet.
    class_of_name: Box<[AtomicU32]>,
    rows_of_class: Box<[AtomicCell<Option<&'static Rows>>]>,
    /// The names of the classes in use.
    registered: Mutex<Vec<&'static str>>,
    /// The first row that is no one's.
    free_row: AtomicUsize,
}

/// What no reader sees of a cell.
const PRIVATE_WORDS: usize = 4;
/// The precise clock at the beginning of the handler in flight, if it is timed.
const STARTED: usize = 0;
/// The number of the owner, and whether it owns several cells: [`Owner`].
const OWNER: usize = 1;
/// The index of the actor's record plus 1; 0: unknown. Also [`HAS_STOPPED`].
const RECORD: usize = 2;
/// In [`RECORD`]: the actor has reported its stop.
const HAS_STOPPED: u64 = 1 << 63;
/// How many of the messages handled are in the time of the actor.
const MEASURED: usize = 3;

/// Who frees a cell: a number, never 0, whose lowest bit says that one owner may have several cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    /// An owner of this process that there was not before.
    pub(crate) fn new(owns_several: bool) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed) << 1 | u64::from(owns_several))
    }

    pub(crate) fn owns_several(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The rows of the variants of one class. Never freed, as the instruments.
#[derive(Debug)]
struct Rows {
    names: &'static [&'static str],
    /// The row of each variant; 0: not known yet.
    rows: Box<[AtomicU32]>,
}

const _: () = assert!(AtomicCell::<Option<&Rows>>::is_lock_free());

/// Whether they are the same rows.
impl PartialEq for Rows {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Rows {}

impl Rows {
    /// Whether the variants have these names. A constant may stand at several addresses.
    #[inline]
    fn are_of(&self, names: &'static [&'static str]) -> bool {
        std::ptr::eq(self.names, names) || self.names == names
    }
}

static ALL: [OnceLock<&'static Instruments>; Target::REGIONS as usize] =
    [const { OnceLock::new() }; Target::REGIONS as usize];

/// The maps of all tasks of instrumented actors of the process, as [`task_maps`] finds them: without a system call. There is one,
/// until a task finds it full. Each further one has four times as many entries as the one before.
static TASKS: [AtomicCell<Option<&'static WriterMemory>>; TASK_MAPS] =
    [const { AtomicCell::new(None) }; TASK_MAPS];
/// Enough for ten million actors.
const TASK_MAPS: usize = 5;
const _: () = assert!(AtomicCell::<Option<&WriterMemory>>::is_lock_free());

impl Instruments {
    /// The instruments of a region, for ever. `None` if there is no memory.
    pub(crate) fn leaked(parts: &Parts<'_>) -> Option<&'static Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let Parts { memory, map, names, clock, tick_length, time_every } = *parts;
        let section = |section: atomscope_layout::region::Section| {
            memory.part(section.range()).unwrap_or_else(WriterMemory::none)
        };
        let cells = map.cells.count;
        open_task_map(0, (2 * cells).max(LEAST_TASKS));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = (number < ALL.len()).then_some(number as u32);
        let instruments = Box::leak(Box::new(Self {
            number,
            cells: section(map.cells),
            classes: section(map.classes),
            class_stride: map.classes.stride,
            variants: section(map.variants),
            variant_stride: map.variants.stride,
            handled: LaneMemory::new(memory, map.handled.start, map.handled.count, map.handled.stride),
            #[cfg(tokio_unstable)]
            all_polls: LaneMemory::new(memory, map.counters.start, map.counters.count, map.counters.stride)
                .only(Builtin::Polls as usize),
            rows: map.variants.count,
            taken: WriterMemory::private(bitmap_words(cells) * WORD)?,
            private: WriterMemory::private(cells * PRIVATE_WORDS * WORD)?,
            names: names.clone(),
            clock,
            tick_length,
            second: ticks_of(Duration::from_secs(1), tick_length),
            coarse_tick: ticks_of(coarse::TICK, tick_length),
            time_every,
            time_mask: sample_mask(time_every),
            class_of_name: std::iter::repeat_with(|| AtomicU32::new(0)).take(map.names.count + 1).collect(),
            rows_of_class: std::iter::repeat_with(AtomicCell::default).take(map.classes.count).collect(),
            registered: Mutex::new(vec![""]),
            free_row: AtomicUsize::new(map.classes.count),
        }));
        instruments.register_own_row(OTHER_CLASSES);
        if let Some(place) = number.and_then(|number| ALL.get(number as usize)) {
            let _ = place.set(instruments);
        }
        Some(instruments)
    }

    fn cells(&self) -> Cells<'_> {
        Cells::new(self.cells.words(), self.taken.words())
    }

    /// The class with this number.
    pub(crate) fn class(&self, class: u16) -> Class<'_> {
        let start = usize::from(class) * self.class_stride;
        Class::new(self.classes.words().get(start..start + self.class_stride).unwrap_or_default())
    }

    /// The number of the class with this name. A load or two, unless the class is new. Takes a lock then.
    pub(crate) fn class_of(&self, name: &'static str) -> u16 {
        let id = self.names.intern_static(name);
        match self.class_of_name.get(id as usize).map(|class| class.load(Ordering::Relaxed)) {
            Some(class) if class != 0 => (class - 1) as u16,
            _ => self.register_class(id, name),
        }
    }

    #[cold]
    fn register_class(&self, id: u32, name: &'static str) -> u16 {
        if id == 0 {
            return OTHER_CLASSES;
        }
        let Some(mut registered) = self.lock_registered() else { return OTHER_CLASSES };
        // A name may stand at two addresses of the program, and in two forms without the probe's wrappers.
        let is_it = |other: &&str| TypeName::of(other).as_str() == TypeName::of(name).as_str();
        let known = registered.iter().skip(1).position(is_it).map(|at| at + 1);
        let class = match known {
            Some(class) => class as u16,
            None if registered.len() < self.rows_of_class.len() => {
                let class = registered.len() as u16;
                registered.push(name);
                self.register_own_row(class);
                self.class(class).register(id);
                class
            }
            None => OTHER_CLASSES,
        };
        if let Some(place) = self.class_of_name.get(id as usize) {
            place.store(u32::from(class) + 1, Ordering::Relaxed);
        }
        class
    }

    /// The lock is held for moments. In a child that was forked meanwhile it is held for ever.
    fn lock_registered(&self) -> Option<MutexGuard<'_, Vec<&'static str>>> {
        for _ in 0..10_000 {
            match self.registered.try_lock() {
                Ok(registered) => return Some(registered),
                Err(TryLockError::Poisoned(registered)) => return Some(registered.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }

    fn register_own_row(&self, class: u16) {
        self.register_row(usize::from(class), class, 0);
    }

    fn register_row(&self, row: usize, class: u16, variant: u32) {
        let start = row * self.variant_stride;
        register_row(self.variants.words().get(start..).unwrap_or_default(), class, variant);
    }

    /// The row of a variant of `class`, whose variants have these `names`. The row of the class itself if there is no room. Two
    /// loads once the row is known; allocates for the first message of a class. Takes no lock.
    #[inline]
    fn row_of(&self, class: u16, variant: usize, names: &'static [&'static str]) -> u32 {
        let rows = self.rows_of_class.get(usize::from(class)).and_then(AtomicCell::load);
        let known = rows.filter(|rows| rows.are_of(names)).and_then(|rows| rows.rows.get(variant));
        match known.map(|row| row.load(Ordering::Relaxed)) {
            Some(row) if row != 0 => row,
            _ => self.register_variant(class, variant, names),
        }
    }

    #[cold]
    fn register_variant(&self, class: u16, variant: usize, names: &'static [&'static str]) -> u32 {
        let own = u32::from(class);
        if class == OTHER_CLASSES {
            return own;
        }
        let rows = self.rows_of(class, names).filter(|rows| rows.are_of(names));
        let known = rows.and_then(|rows| rows.rows.get(variant));
        let (Some(known), Some(name)) = (known, names.get(variant)) else { return own };
        let name = self.names.intern_static(name);
        let claimed = if name == 0 { None } else { self.claim_row() };
        let row = claimed.map_or(own, |claimed| claimed as u32);
        // Another thread may handle the first message of this variant too.
        match known.compare_exchange(0, row, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                // Until then, readers do not see what other threads count in this row.
                claimed.into_iter().for_each(|claimed| self.register_row(claimed, class, name));
                row
            }
            Err(first) => {
                claimed.into_iter().for_each(|claimed| self.give_back_row(claimed));
                first
            }
        }
    }

    /// The rows of `class`, made for these `names` if there are none.
    fn rows_of(&self, class: u16, names: &'static [&'static str]) -> Option<&'static Rows> {
        let place = self.rows_of_class.get(usize::from(class))?;
        place.load().or_else(|| {
            let rows = std::iter::repeat_with(|| AtomicU32::new(0)).take(names.len()).collect();
            let new: &'static Rows = Box::leak(Box::new(Rows { names, rows }));
            // Another thread may have been faster. The rows that this one made then stay allocated, unused.
            place.compare_exchange(None, Some(new)).map_or_else(|first| first, |_| Some(new))
        })
    }

    fn claim_row(&self) -> Option<usize> {
        let next = |free| (free < self.rows).then_some(free + 1);
        self.free_row.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
    }

    /// A row that was claimed in vain is the next one again, unless a further one was claimed meanwhile; it stays empty then.
    fn give_back_row(&self, row: usize) {
        let _ = self.free_row.compare_exchange(row + 1, row, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A cell for an actor of `class`; its name, and where it is. `None` if all are taken.
    pub(crate) fn claim(&'static self, class: u16, owner: Owner) -> Option<(CellName, At)> {
        self.number?;
        let name = self.cells().claim(class, class.into())?;
        let at = At { instruments: self, cell: self.cells().cell(name.index())? };
        at.private(RECORD)?.store(0, Ordering::Relaxed);
        at.private(MEASURED)?.store(0, Ordering::Relaxed);
        // Whoever sees the owner sees that the cell is no longer that of the task before.
        at.private(OWNER)?.store(owner.0, Ordering::Release);
        Some((name, at))
    }

    /// The cells that this owner still has.
    pub(crate) fn each_of(&'static self, owner: Owner, mut see: impl FnMut(At)) {
        for index in 0..self.private.words().len() / PRIVATE_WORDS {
            let cell = self.cells().cell(index);
            let at = cell.map(|cell| At { instruments: self, cell });
            at.filter(|at| at.owner() == Some(owner)).into_iter().for_each(&mut see);
        }
    }

    /// A message of an actor of `class` without a cell.
    pub(crate) fn count_untimed(&self, class: u16) {
        lane::add(&self.handled, HANDLED_WORDS * usize::from(class), 1);
    }

    /// A poll of the task of an actor of `class` begins.
    pub(crate) fn count_poll(&self, class: u16) {
        lane::add(&self.handled, polls_word(self.rows, class.into()), 1);
    }

    /// A poll of any task begins on a runtime that this region watches.
    #[cfg(tokio_unstable)]
    pub(crate) fn count_any_poll(&self) {
        lane::add(&self.all_polls, 0, 1);
    }

    /// An actor of `class` without a cell: `task` finds its class only. False if there is no room for it.
    pub(crate) fn register_class_only(&self, task: u64, class: u16) -> bool {
        let target = self.target(CLASS_ONLY + u32::from(class));
        let is_registered = target.is_some_and(|target| insert_task(task, target));
        // The hook before this poll did not find the class yet.
        if is_registered && task::is_poll_watched() {
            self.count_poll(class);
        }
        is_registered
    }

    /// The task no longer finds its class. Of several threads that make it forget, one gets true.
    pub(crate) fn forget_class_only(&self, task: u64, class: u16) -> bool {
        let target = self.target(CLASS_ONLY + u32::from(class));
        target.is_some_and(|target| remove_task(task, target))
    }

    fn target(&self, cell: u32) -> Option<Target> {
        Some(Target { region: self.number?, cell })
    }

    fn ns(&self, ticks: u64) -> u64 {
        ns_of(ticks, self.tick_length)
    }

    /// Ticks now.
    pub(crate) fn ticks(&self) -> u64 {
        self.clock.ticks()
    }
}

/// Whether a number is in the sample: the product of its square and a factor, in turns of 2⁶⁴, must lie at the beginning of a turn.
/// Without the square, some steps from number to number would come near a whole turn, and of messages that come with such a step
/// too many would be timed, or none. The factor was found by a search: with it the square of no step below 1,500 comes near a whole
/// turn.
#[inline(always)]
fn is_sampled(number: u64, mask: u64) -> bool {
    number.wrapping_mul(number).wrapping_mul(0x92a7_3f9d_16ca_be33) & mask == 0
}

/// The mask with which one number in `every`, a power of two, is in the sample.
fn sample_mask(every: u64) -> u64 {
    // The upper bits of a product are the best mixed ones.
    (every - 1).checked_shl(every.leading_zeros() + 1).unwrap_or(0)
}

fn task_map(entries: usize) -> WriterMemory {
    const LINE: usize = BUCKET_WORDS * WORD;
    let words = entries.next_power_of_two();
    let aligned = WriterMemory::private(words * WORD + LINE).and_then(|memory| {
        let start = (LINE - memory.words().as_ptr().addr() % LINE) / WORD;
        memory.part(start..start + words)
    });
    aligned.unwrap_or_else(WriterMemory::none)
}

/// Makes the map with this number and so many entries. A forked child makes its first one anew.
#[cold]
fn open_task_map(number: usize, entries: usize) {
    static MAPS: [PerProcess<WriterMemory>; TASK_MAPS] = [const { PerProcess::new() }; TASK_MAPS];
    if let (Some(place), Some(map)) = (TASKS.get(number), MAPS.get(number)) {
        place.store(Some(map.get_or_init(|| task_map(entries))));
    }
}

/// The maps that there are, from this number on.
fn task_maps(from: usize) -> impl Iterator<Item = TaskMap<'static>> {
    let made = TASKS.iter().skip(from).map_while(AtomicCell::load).map(WriterMemory::words);
    made.filter(|words| !words.is_empty()).map(TaskMap::new)
}

/// False if all maps are full, and no further one can be made. Allocates if all that are made are full.
fn insert_task(task: u64, target: Target) -> bool {
    #[cfg(tokio_unstable)]
    HAS_ANY.store(true, Ordering::Relaxed);
    let mut next_entries = LEAST_TASKS;
    TASKS.iter().enumerate().any(|(number, map)| {
        if map.load().is_none() {
            open_task_map(number, next_entries);
        }
        let words = map.load().map(WriterMemory::words).filter(|words| !words.is_empty());
        words.is_some_and(|words| {
            next_entries = 4 * words.len();
            TaskMap::new(words).insert(task, target)
        })
    })
}

/// True for one of several threads that remove it.
fn remove_task(task: u64, target: Target) -> bool {
    task_maps(0).any(|map| map.remove(task, target))
}

/// What a task has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    /// A cell.
    Cell(At),
    /// No cell; its class.
    Class(&'static Instruments, u16),
}

/// Whether the map has had any task: whether an actor of the process was instrumented and has begun.
#[cfg(tokio_unstable)]
static HAS_ANY: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whether any actor of the process was instrumented and has begun.
#[cfg(tokio_unstable)]
#[inline]
pub(crate) fn has_any() -> bool {
    HAS_ANY.load(Ordering::Relaxed)
}

/// What the task with this number has. A line or two of the map, and the cell's line.
pub(crate) fn find(task: u64) -> Option<Found> {
    // The first map without a loop: this is on the way of each message whose handler awaits.
    let first = TASKS.first()?.load()?.words();
    let in_first =
        if first.is_empty() { None } else { TaskMap::new(first).find(task, |target| found(task, target)) };
    in_first.or_else(|| find_further(task))
}

#[cold]
fn find_further(task: u64) -> Option<Found> {
    task_maps(1).find_map(|map| map.find(task, |target| found(task, target)))
}

/// What an entry of the map leads to. `None` if its cell is another task's by now.
#[inline]
fn found(task: u64, target: Target) -> Option<Found> {
    let instruments: &'static Instruments = ALL.get(target.region as usize)?.get()?;
    if let Some(class) = target.cell.checked_sub(CLASS_ONLY) {
        return Some(Found::Class(instruments, class as u16));
    }
    let cell = instruments.cells().cell(target.cell as usize)?;
    let is_it = cell.task().load(Ordering::Relaxed) == task;
    is_it.then_some(Found::Cell(At { instruments, cell }))
}

/// An actor of a plan for several has reported its stop, in its own task.
#[cold]
pub(crate) fn stops_one_of_several() {
    let Some(task) = task::current() else { return };
    match find(task) {
        Some(Found::Cell(at)) => {
            let (class, owner) = (at.instruments.class(at.class()), at.owner());
            // The end of the plan may have freed the cell, and it may be another actor's by now.
            let is_its = at.cell.task().load(Ordering::Relaxed) == task;
            let owner = owner.filter(|owner| is_its && owner.owns_several());
            if owner.is_some_and(|owner| at.free(owner)) {
                class.count(number::STOPPED, 1);
            }
        }
        Some(Found::Class(instruments, class)) if instruments.forget_class_only(task, class) => {
            instruments.class(class).count(number::STOPPED, 1);
        }
        _ => {}
    }
}

/// A cell, and what belongs to it: two pointers, which fit into registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) instruments: &'static Instruments,
    pub(crate) cell: Cell<'static>,
}

impl At {
    /// The index of the cell.
    fn index(self) -> usize {
        let start = self.instruments.cells.words().as_ptr().addr();
        std::ptr::from_ref(self.cell.identity()).addr().saturating_sub(start) / (CELL_WORDS * WORD)
    }

    fn private(self, word: usize) -> Option<&'static AtomicU64> {
        self.instruments.private.words().get(self.index() * PRIVATE_WORDS + word)
    }

    pub(crate) fn owner(self) -> Option<Owner> {
        self.private(OWNER).map(|owner| Owner(owner.load(Ordering::Acquire)))
    }

    /// The class of the actor.
    pub(crate) fn class(self) -> u16 {
        let identity = self.cell.identity().load(Ordering::Relaxed);
        CellRecord { identity, ..CellRecord::default() }.class()
    }

    /// The number of the interned name of that class; 0: it is one of all other classes.
    pub(crate) fn class_name(self) -> u32 {
        self.instruments.class(self.class()).name()
    }

    /// The word by which the actor's record names the cell.
    pub(crate) fn name(self) -> u64 {
        let identity = self.cell.identity().load(Ordering::Relaxed);
        halves(self.index() as u32 + 1, (identity >> 32) as u32)
    }

    /// The actor's record stands in this slot of the table.
    pub(crate) fn set_record(self, slot: usize) {
        if let Some(record) = self.private(RECORD) {
            // The actor may be reporting its stop just now.
            record.fetch_or(slot as u64 + 1, Ordering::Relaxed);
        }
    }

    /// The actor has reported its stop.
    pub(crate) fn set_stopped(self) {
        if let Some(record) = self.private(RECORD) {
            record.fetch_or(HAS_STOPPED, Ordering::Relaxed);
        }
    }

    /// Whether the actor has reported its stop.
    pub(crate) fn has_stopped(self) -> bool {
        self.private(RECORD).is_some_and(|record| record.load(Ordering::Relaxed) & HAS_STOPPED != 0)
    }

    /// The slot of the actor's record, if it is known.
    pub(crate) fn record(self) -> Option<usize> {
        let record = self.private(RECORD)?.load(Ordering::Relaxed) & !HAS_STOPPED;
        (record as usize).checked_sub(1)
    }

    /// Makes the actor's task find the cell. False if there is no room for it.
    pub(crate) fn register(self, task: u64) -> bool {
        let target = self.instruments.target(self.index() as u32);
        let is_registered = target.is_some_and(|target| insert_task(task, target));
        if is_registered {
            self.cell.task().store(task, Ordering::Relaxed);
            // The hook before this poll did not find the cell yet.
            if task::is_poll_watched() {
                self.count_poll();
            }
        }
        is_registered
    }

    /// No reader sees the cell from now on. It stays taken.
    pub(crate) fn hide(self) {
        let identity = self.cell.identity();
        identity.store(freed(identity.load(Ordering::Relaxed)), Ordering::Release);
    }

    /// Frees the cell, if it is still this owner's. Its actor's task must count no more. Of several threads that free it, one gets
    /// true: the stop of an actor may meet the end of its plan.
    pub(crate) fn free(self, owner: Owner) -> bool {
        let is_its = self.private(OWNER).is_some_and(|held| {
            held.compare_exchange(owner.0, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        if is_its {
            let task = self.cell.task().load(Ordering::Relaxed);
            if let Some(target) = self.instruments.target(self.index() as u32).filter(|_| task != 0) {
                remove_task(task, target);
            }
            // What the actor still does in its task no longer finds the cell.
            self.cell.task().store(0, Ordering::Relaxed);
            self.instruments.cells().free(self.index());
        }
        is_its
    }

    /// A poll of the actor's task begins on this thread.
    pub(crate) fn count_poll(self) {
        self.cell.count_poll();
        self.instruments.count_poll(self.class());
    }

    /// A handler begins.
    #[inline(always)]
    pub(crate) fn begin(self) {
        let number = self.cell.handled().load(Ordering::Relaxed);
        let is_timed = self.is_timed(number);
        self.cell.begin(coarse::now(), is_timed);
        if is_timed {
            self.start();
        }
    }

    /// Whether the message with this number is timed.
    #[inline(always)]
    fn is_timed(self, number: u64) -> bool {
        let salt = std::ptr::from_ref(self.cell.identity()).addr() as u64;
        is_sampled(number.wrapping_add(salt), self.instruments.time_mask)
    }

    #[cold]
    #[inline(never)]
    fn start(self) {
        if let Some(started) = self.private(STARTED) {
            started.store(self.instruments.ticks(), Ordering::Relaxed);
        }
    }

    /// The handler has ended.
    #[inline(always)]
    pub(crate) fn end(self) {
        let ended = self.cell.end();
        lane::add(&self.instruments.handled, HANDLED_WORDS * ended.row as usize, 1);
        let now = coarse::now();
        if ended.begun.is_timed() || ended.begun.is_long(now, self.instruments.second) {
            self.measure(ended.row, ended.begun, now);
        }
    }

    // By value, so that the caller keeps all of it in registers.
    #[cold]
    #[inline(never)]
    fn measure(self, row: u32, begun: Begun, now: u64) {
        let instruments = self.instruments;
        let passed = |since: u64| instruments.ns(instruments.ticks().saturating_sub(since));
        let ns = if begun.is_timed() {
            passed(self.private(STARTED).map_or(0, |started| started.load(Ordering::Relaxed)))
        } else {
            // The handler began half a tick after its coarse stamp, on average.
            passed(begun.stamp()).saturating_sub(coarse::TICK.as_nanos() as u64 / 2)
        };
        // Every long handler is measured, so that it counts for itself only.
        let is_long = begun.is_long(now, instruments.second);
        let weight = if is_long { 1 } else { instruments.time_every };
        let busy = ns.saturating_mul(weight);
        lane::add(&instruments.handled, HANDLED_WORDS * row as usize + 1, busy);
        instruments.class(self.class()).handle_time(ns, weight);
        // Of one actor, a message stands for those since the last one that was measured. If it stood for sixteen, then among
        // many actors with a message each those that happen to be timed would seem to do the most.
        let Some(measured) = self.private(MEASURED) else { return };
        let before = measured.load(Ordering::Relaxed);
        let handled = self.cell.handled().load(Ordering::Relaxed);
        let weight = if is_long { 1 } else { handled.saturating_sub(before) };
        measured.store(before.saturating_add(weight), Ordering::Relaxed);
        self.cell.add_busy(ns.saturating_mul(weight));
    }

    /// The message in flight is this variant of those with these `names`.
    #[inline]
    pub(crate) fn run(self, variant: usize, names: &'static [&'static str]) {
        self.cell.set_row(self.instruments.row_of(self.class(), variant, names));
    }

    /// A handler has panicked.
    pub(crate) fn count_failure(self) {
        self.cell.count_failure();
        self.instruments.class(self.class()).count(number::FAILURES, 1);
    }

    /// The actor was made again.
    pub(crate) fn count_restart(self) {
        self.cell.count_restart();
        self.instruments.class(self.class()).count(number::RESTARTS, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Region;

    #[test]
    fn no_rhythm_of_the_messages_is_sampled_more_often_than_another() {
        const MESSAGES: u64 = 20_000;
        for (salt, every) in [(0x7f3a_1c00_5240, 16), (0x55d0_9be1_0a80, 16), (0x7ffe_0000_1fc0, 256)] {
            let mask = sample_mask(every);
            // Each `rhythm`-th message, and all of them.
            for rhythm in (1..100).chain([128, 144, 233, 256, 1000, 1024]) {
                let numbers = (salt..salt + MESSAGES).step_by(rhythm);
                let expected = numbers.clone().count() as f64 / every as f64;
                let sampled = numbers.filter(|number| is_sampled(*number, mask)).count() as f64;
                let errors = (sampled - expected) / expected.sqrt();
                assert!(errors.abs() < 6.0, "{sampled} instead of {expected} of each {rhythm}th, of {every}");
            }
        }
        assert!(is_sampled(7, sample_mask(1)), "all are timed");
    }

    #[test]
    fn each_variant_has_one_row_also_if_threads_handle_its_first_messages_at_once() {
        const THREADS: usize = 4;
        const CLASSES: u16 = 60;
        const NAMES: &[&str] = &["Bread", "Cake"];
        let region = Region::builder("rows").private().build().unwrap();
        let instruments = region.writer.instruments().unwrap();
        let name = |class: u16| -> &'static str { Box::leak(format!("Oven{class}").into()) };
        let classes: Vec<_> = (0..CLASSES).map(|class| instruments.class_of(name(class))).collect();
        // A thread that registers a class is in nobody's way.
        let _registers = instruments.registered.lock().unwrap();
        // In each round all threads want the rows of a class that has none.
        let round = std::sync::Barrier::new(THREADS);
        let take_rows = || {
            let rows = |&class: &u16| {
                round.wait();
                [0, 1].map(|variant| instruments.row_of(class, variant, NAMES))
            };
            classes.iter().map(rows).collect::<Vec<_>>()
        };
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(take_rows)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(all.iter().all(|rows| *rows == all[0]), "the threads disagree");
        let rows: std::collections::BTreeSet<_> = all[0].iter().flatten().collect();
        assert_eq!(rows.len(), 2 * usize::from(CLASSES));
        assert!(classes.iter().all(|class| !rows.contains(&u32::from(*class))), "a row of a class");
    }

    #[test]
    fn variants_are_those_of_a_row_by_their_names_wherever_these_stand() {
        static NAMES: &[&str] = &["Bread", "Cake"];
        let copied = |names: &[&'static str]| -> &'static [&'static str] { Box::leak(names.into()) };
        let elsewhere = copied(NAMES);
        assert!(!std::ptr::eq(NAMES, elsewhere));
        let rows = Rows { names: NAMES, rows: Box::default() };
        assert!(rows.are_of(NAMES) && rows.are_of(elsewhere));
        for others in [&["Bread"][..], &["Cake", "Bread"], &["Bread", "Cake", "Tea"], &[]] {
            assert!(!rows.are_of(copied(others)), "{others:?}");
        }
    }
}
