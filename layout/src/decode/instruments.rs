//! What the instrumented actors do: totals of each class and variant, and the values of each actor that has a cell.
//!
//! An actor's record and its cell are joined by the number of the cell and its generation, so the values of a cell are never
//! those of another actor. What a region does not know is `None`, or a histogram without values.

use super::clock::{Clock, Moment};
use super::names::Names;
use super::reader::RegionReader;
use super::scan::Mark;
use crate::cells::{self, CELL_WORDS, CellName, CellRecord, word};
use crate::classes::{DEPTHS, HANDLE_TIMES, HANDLED_WORDS, number, polls_word};
use crate::histogram::{self, Histogram};
use crate::lanes;
use crate::seqlock::READ_TRIES;
use crate::words::{Words, halves};

/// What the instrumented actors of a node do, by class and variant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instruments {
    /// The classes with instrumented actors, in the order in which they came; the rest of all classes is the last.
    pub classes: Vec<ClassStats>,
    /// The cells.
    pub cells: CellsUsage,
    /// Variants that could not be read: they belong to no class.
    pub unreadable: u64,
}

/// How many cells there are, and how many are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CellsUsage {
    /// Number of cells.
    pub capacity: u64,
    /// Cells of live actors.
    pub used: u64,
}

/// What the instrumented actors of a class do, and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// The name of the class: the Rust type of its actors. `None`: all classes that found no room in the region.
    pub class: Option<String>,
    /// Actors spawned.
    pub spawned: u64,
    /// Actors stopped.
    pub stopped: u64,
    /// Actors that live.
    pub live: u64,
    /// Messages whose handler has ended.
    pub handled: u64,
    /// Time in handlers, in nanoseconds; an estimate, unless every message is timed.
    pub busy_ns: u64,
    /// Failures of actors that supervision decided about: panics of handlers.
    pub failures: u64,
    /// Restarts.
    pub restarts: u64,
    /// Of the actors spawned: those that found no free cell, so that only their class counts what they do.
    pub untracked: u64,
    /// Actors whose interceptor was replaced by another one, so that what they do is not seen.
    pub overwritten: u64,
    /// Those of `polls` that held their worker for long. `None`: none was watched.
    pub long_polls: Option<u64>,
    /// Polls of its actors' tasks on runtimes whose polls are watched, with those of stopped actors. `None`: none was watched. Of a
    /// class with actors on several runtimes, only the polls on watched ones count.
    pub polls: Option<u64>,
    /// How long handlers took, in nanoseconds. Its sum is `busy_ns`.
    pub handle_time: Histogram,
    /// Messages in the mailboxes, each time that the probe looked.
    pub depth: Histogram,
    /// The variants of the messages.
    pub variants: Vec<VariantStats>,
}

/// What the actors of a class do with the messages of a variant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariantStats {
    /// The name of the variant. `None`: messages whose variant is unknown.
    pub variant: Option<String>,
    /// Messages whose handler has ended.
    pub handled: u64,
    /// Time in handlers, in nanoseconds.
    pub busy_ns: u64,
}

/// What an actor does, and did since its spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActorStats<'a> {
    /// The number of its cell and of the cell's generation: no other actor of the region ever has it.
    pub cell: u64,
    /// Messages whose handler has ended.
    pub handled: u64,
    /// Time in handlers, in nanoseconds; an estimate, unless every message is timed. The handler in flight is not in it.
    pub busy_ns: u64,
    /// Failures: panics of its handler.
    pub failures: u32,
    /// Restarts.
    pub restarts: u32,
    /// The handler in flight; `None` if there is none.
    pub in_flight: Option<InFlight>,
    /// The variant of its newest message, which is that in flight if there is one.
    pub variant: Option<&'a str>,
    /// Polls of its task; `None`: its runtime is not watched, or tokio was built without hooks for polls.
    pub polls: Option<u64>,
    /// The number of its task in the async runtime.
    pub task: Option<u64>,
}

/// A handler that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// The stamp of its begin. It may be earlier by the length of a round of the node's coarse clock, 25 ms.
    pub stamp: u64,
    /// The time of that stamp; `None` if unknown.
    pub since: Option<Moment>,
    /// What it does; `None` if nothing observes it.
    pub mode: Option<Mode>,
}

/// What a handler in flight does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is inside a poll: it runs, or it blocks its worker thread.
    Runs,
    /// It awaits.
    Awaits,
}

impl Mode {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Awaits => "awaits",
        }
    }

    fn of(cell: &CellRecord) -> Option<Self> {
        match cell.mode()? {
            cells::Mode::Unknown => None,
            cells::Mode::Runs => Some(Self::Runs),
            cells::Mode::Awaits => Some(Self::Awaits),
        }
    }
}

impl RegionReader<'_> {
    /// What the instrumented actors do, by class and variant. Costs a pass over the classes and over the lanes of the variants;
    /// no actor is read.
    pub fn instruments(&self) -> Instruments {
        let mut names = Names::default();
        let rows = Rows::read(self);
        // The parts are read before the whole: a class never has fewer spawns than stops.
        let handled = self.handled(rows.rows.len());
        let mut all: Vec<Option<ClassStats>> =
            (0..self.map.classes.count).map(|index| self.class(index, &rows, &mut names)).collect();
        let mut unreadable = 0;
        for (row, [handled, busy_ns]) in rows.rows.iter().zip(handled) {
            let Some(class) = row.class else { continue };
            let Some(Some(stats)) = all.get_mut(usize::from(class)) else {
                unreadable += 1;
                continue;
            };
            stats.handled = stats.handled.wrapping_add(handled);
            stats.busy_ns = stats.busy_ns.wrapping_add(busy_ns);
            let variant = (row.name != 0).then(|| names.look_up(self, row.name).to_owned());
            if handled > 0 || busy_ns > 0 || variant.is_some() {
                stats.variants.push(VariantStats { variant, handled, busy_ns });
            }
        }
        // The rest is the first record, and the last of the list: most nodes have none.
        if let Some(first) = all.first_mut() {
            let rest = first.take();
            all.push(rest.filter(ClassStats::has_any));
        }
        let mut classes: Vec<ClassStats> = all.into_iter().flatten().collect();
        classes.iter_mut().for_each(|class| class.handle_time.sum = class.busy_ns);
        Instruments { classes, cells: self.cells_usage(), unreadable }
    }

    fn class(&self, index: usize, rows: &Rows, names: &mut Names) -> Option<ClassStats> {
        let name = *rows.classes.get(index)?;
        if name == 0 && index > 0 {
            return None;
        }
        let stride = self.map.classes.stride;
        let words = self.section(self.map.classes).slice(index * stride..(index + 1) * stride)?;
        let (polls, long_polls) = (self.polls(index), words.load(number::LONG_POLLS));
        let stopped = words.load(number::STOPPED);
        lanes::after_ends();
        let spawned = words.load(number::SPAWNED);
        Some(ClassStats {
            class: (name != 0).then(|| names.look_up(self, name).to_owned()),
            spawned,
            stopped,
            live: spawned.saturating_sub(stopped),
            failures: words.load(number::FAILURES),
            restarts: words.load(number::RESTARTS),
            untracked: words.load(number::UNTRACKED),
            overwritten: words.load(number::OVERWRITTEN),
            long_polls: Some(long_polls).filter(|long| *long > 0 || polls.is_some()),
            polls,
            handle_time: words.slice(HANDLE_TIMES).map(histogram::read_of_buckets).unwrap_or_default(),
            depth: words.slice(DEPTHS).map(histogram::read).unwrap_or_default(),
            ..ClassStats::default()
        })
    }

    /// The messages handled and the time of each row: its sums over all lanes.
    fn handled(&self, rows: usize) -> Vec<[u64; 2]> {
        let (section, stride) = (self.section(self.map.handled), self.map.handled.stride);
        let mut sums = vec![[0u64; 2]; rows];
        for lane in 0..self.map.handled.count {
            let Some(lane) = section.slice(lane * stride..(lane + 1) * stride) else { break };
            for (row, [handled, busy_ns]) in sums.iter_mut().enumerate() {
                *handled = handled.wrapping_add(lane.load(HANDLED_WORDS * row));
                *busy_ns = busy_ns.wrapping_add(lane.load(HANDLED_WORDS * row + 1));
            }
        }
        sums
    }

    /// The polls of the actors of a class: a sum over all lanes.
    fn polls(&self, class: usize) -> Option<u64> {
        let (section, lanes) = (self.section(self.map.handled), self.map.handled);
        let at = polls_word(self.map.variants.count, class);
        let polls =
            (0..lanes.count).fold(0u64, |sum, lane| sum.wrapping_add(section.load(lane * lanes.stride + at)));
        Some(polls).filter(|polls| *polls > 0)
    }

    fn cells_usage(&self) -> CellsUsage {
        let capacity = self.map.cells.count;
        let used = (0..capacity).filter(|index| self.cell(*index).is_some_and(|cell| cell.is_used()));
        CellsUsage { capacity: capacity as u64, used: used.count() as u64 }
    }

    /// The cell with this index; `None` if there is none, if it changed its tenant meanwhile, or if it is free.
    fn cell(&self, index: usize) -> Option<CellRecord> {
        let stride = self.map.cells.stride;
        let start = index.checked_mul(stride)?;
        read_cell(self.section(self.map.cells).slice(start..start.checked_add(stride)?)?)
    }

    /// A hash of all cells in use: while it is the same, no instrumented actor has begun or ended anything.
    pub fn cells_mark(&self) -> u64 {
        let mut mark = Mark::default();
        for cell in (0..self.map.cells.count).filter_map(|index| self.cell(index)) {
            let words: [u64; CELL_WORDS] = zerocopy::transmute!(cell);
            words.into_iter().for_each(|word| mark.add(word));
        }
        mark.value()
    }

    /// The stamp of the begin of each handler in flight.
    pub(super) fn each_begin(&self, see: impl FnMut(u64)) {
        (0..self.map.cells.count).filter_map(|index| begin(&self.cell(index)?)).for_each(see);
    }
}

/// Copies a cell in use. Its handler in flight is one handler: the words that tell of it are read again until none has changed.
/// If they change at each try, no handler lasts, and the cell is returned as one without.
fn read_cell(cell: Words<'_>) -> Option<CellRecord> {
    let mut found = cells::read(cell).ok()?;
    for attempt in 1.. {
        if !found.is_used() {
            return None;
        }
        if (cell.load(word::HANDLED), cell.load(word::SINCE)) == (found.handled, found.since) {
            break;
        }
        if attempt == READ_TRIES {
            found.since = 0;
            break;
        }
        found = cells::read(cell).ok()?;
    }
    Some(found)
}

/// The stamp of the begin of the handler in flight.
fn begin(cell: &CellRecord) -> Option<u64> {
    (cell.since != 0).then(|| cells::stamp(cell.since))
}

impl Instruments {
    /// The class of this name; `None` if it has no record.
    pub fn class(&self, name: &str) -> Option<&ClassStats> {
        self.classes.iter().find(|class| class.class.as_deref() == Some(name))
    }
}

impl ClassStats {
    /// 99 % of its handlers took at most so many nanoseconds; `None` if none was timed.
    pub fn p99_ns(&self) -> Option<u64> {
        (self.handle_time.count > 0).then(|| self.handle_time.quantile(0.99))
    }

    /// Whether anything was counted.
    fn has_any(&self) -> bool {
        let Self {
            spawned,
            stopped,
            handled,
            failures,
            restarts,
            untracked,
            overwritten,
            long_polls,
            polls,
            ..
        } = self;
        let polls = &long_polls.unwrap_or(0).max(polls.unwrap_or(0));
        let all = [spawned, stopped, handled, failures, restarts, untracked, overwritten, polls];
        all.into_iter().any(|n| *n > 0)
    }
}

/// The names of classes, and the classes and names of variants, as their numbers.
#[derive(Debug, Clone, Default)]
struct Rows {
    /// For each class the number of its name; 0: it is not in use, or it is the rest of all classes.
    classes: Vec<u32>,
    rows: Vec<RowOf>,
}

#[derive(Debug, Clone, Copy)]
struct RowOf {
    /// `None`: the row is not in use.
    class: Option<u16>,
    /// The number of the variant's name; 0: unknown.
    name: u32,
}

impl Rows {
    fn read(reader: &RegionReader<'_>) -> Self {
        let map = &reader.map;
        let number = |word: u64| u32::try_from(word).unwrap_or(u32::MAX);
        let (section, stride) = (reader.section(map.variants), map.variants.stride);
        let rows = (0..map.variants.count)
            .map(|row| {
                let class = section.load(row * stride);
                // The class of a row is stored last.
                lanes::after_ends();
                let class = class.checked_sub(1).map(|class| u16::try_from(class).unwrap_or(u16::MAX));
                RowOf { class, name: number(section.load(row * stride + 1)) }
            })
            .collect();
        let (section, stride) = (reader.section(map.classes), map.classes.stride);
        let classes =
            (0..map.classes.count).map(|class| number(section.load(class * stride + number::NAME))).collect();
        Self { classes, rows }
    }
}

/// The cells of a list of actors.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells {
    /// Each with its number.
    cells: Vec<(CellRecord, u32)>,
    /// From here on they are cells that no record names.
    unnamed: usize,
    rows: Rows,
    /// A bit for each cell that a record names.
    named: Vec<u64>,
}

impl Cells {
    /// Forgets all cells, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.named.clear();
        self.unnamed = 0;
    }

    /// Copies the cell that a record names in its word `cell`. Returns one more than its number in this list; 0 if the record
    /// names none, or one that is no longer its actor's.
    pub(super) fn join(&mut self, reader: &RegionReader<'_>, name: u64) -> u32 {
        let Some(name) = CellName::from_word(name) else { return 0 };
        let cell = reader.cell(name.index()).filter(|cell| cell.generation() == name.generation());
        let Some(cell) = cell else { return 0 };
        let (word, bit) = (name.index() / 64, name.index() % 64);
        self.named.resize(self.named.len().max(word + 1), 0);
        self.named[word] |= 1 << bit;
        self.cells.push((cell, name.index() as u32));
        self.cells.len() as u32
    }

    /// Adds the cells in use that no record names, and the names that cells refer to.
    pub(super) fn end(&mut self, reader: &RegionReader<'_>, names: &mut Names) {
        self.unnamed = self.cells.len();
        let is_named =
            |index: &usize| self.named.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
        let others = (0..reader.map.cells.count).filter(|index| !is_named(index));
        self.cells.extend(others.filter_map(|index| Some((reader.cell(index)?, index as u32))));
        if self.cells.is_empty() {
            return;
        }
        self.rows = Rows::read(reader);
        let rows = self.rows.rows.iter().filter(|row| row.class.is_some()).map(|row| row.name);
        for name in self.rows.classes.iter().copied().chain(rows).filter(|name| *name != 0) {
            names.look_up(reader, name);
        }
    }

    /// The values of a cell, by the number that [`Self::join`] returned.
    pub(super) fn stats<'a>(
        &self,
        number: u32,
        names: &'a Names,
        clock: Option<&Clock>,
    ) -> Option<ActorStats<'a>> {
        let cell = self.cells.get((number as usize).checked_sub(1)?)?;
        Some(self.stats_of(cell, names, clock))
    }

    /// Class and values of each cell that no record names.
    pub(super) fn unnamed<'a>(
        &'a self,
        names: &'a Names,
        clock: Option<&'a Clock>,
    ) -> impl Iterator<Item = (Option<&'a str>, ActorStats<'a>)> {
        self.cells.iter().skip(self.unnamed).map(move |cell| {
            let name = self.rows.classes.get(usize::from(cell.0.class())).filter(|name| **name != 0);
            (name.map(|name| names.get(*name)), self.stats_of(cell, names, clock))
        })
    }

    fn stats_of<'a>(
        &self,
        (cell, index): &(CellRecord, u32),
        names: &'a Names,
        clock: Option<&Clock>,
    ) -> ActorStats<'a> {
        let row = self.rows.rows.get(cell.row() as usize);
        // A row of another class is damage, and no variant is better than a false one.
        let row = row.filter(|row| row.class == Some(cell.class()) && row.name != 0);
        ActorStats {
            cell: halves(index.wrapping_add(1), cell.generation()),
            handled: cell.handled,
            busy_ns: cell.busy_ns,
            failures: cell.failures as u32,
            restarts: (cell.failures >> 32) as u32,
            in_flight: begin(cell).map(|stamp| InFlight {
                stamp,
                since: clock.and_then(|clock| clock.moment(stamp)),
                mode: Mode::of(cell),
            }),
            variant: row.map(|row| names.get(row.name)),
            polls: Some(cell.polls).filter(|polls| *polls > 0),
            task: Some(cell.task).filter(|task| *task != 0),
        }
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<(CellRecord, u32)>()
    }
}

#[cfg(all(test, not(atomscope_loom)))]
#[allow(clippy::unwrap_used, reason = "they are tests")]
mod tests {
    use super::*;
    use crate::cells::{CELL_WORDS, Cells as Writer, bitmap_words, coarse};
    use crate::records::{ActorRecord, ClockSampleRecord};
    use crate::region::{Capacities, HeaderRecord, HeaderWriter, RegionMap, header};
    use crate::sync::counting::with_another_before;
    use crate::sync::{AtomicU64, Ordering};
    use crate::view::WriterMemory;
    use crate::words;
    use zerocopy::FromZeros as _;

    /// A region with one actor, whose cell is the only one.
    fn region(map: &RegionMap, taken: &[AtomicU64]) -> WriterMemory {
        let memory = WriterMemory::private(map.region_bytes).unwrap();
        let header = HeaderWriter::new(memory.words());
        header.prepare(map, HeaderRecord::default(), ClockSampleRecord::default(), ["", "", ""]);
        header.publish();
        let name = Writer::new(&memory.words()[map.cells.range()], taken).claim(0, 0).unwrap();
        let record = ActorRecord { control: 1 << 24 | 2, cell: name.word(), ..ActorRecord::new_zeroed() };
        let record: [u64; crate::records::ACTOR_WORDS] = zerocopy::transmute!(record);
        words::store(&memory.words()[map.actors.range()], &record);
        memory.words()[header::ACTORS_USED].store(1, Ordering::Relaxed);
        memory
    }

    /// Does `change` before each step of reading the actors, and passes what was read of the actor to `check`.
    fn before_each_step(
        change: impl Fn(&[AtomicU64], &[AtomicU64]) + Clone + 'static,
        check: impl Fn(ActorStats<'_>),
    ) {
        let map = RegionMap::for_capacities(&Capacities::LEAST).unwrap();
        for number in 0.. {
            let taken: std::rc::Rc<[AtomicU64]> = (0..bitmap_words(1)).map(|_| AtomicU64::new(0)).collect();
            let memory = region(&map, &taken);
            let cell = &memory.words()[map.cells.range()];
            cell[word::BUSY_NS].store(1, Ordering::Relaxed);
            let (node, change) = (memory.clone(), change.clone());
            let change = move || change(&node.words()[map.cells.range()], &taken);
            let reader = RegionReader::open(memory.reader()).unwrap();
            let came = with_another_before(number, change, || {
                let list = reader.actor_list();
                list.iter().filter_map(|actor| actor.stats()).for_each(&check);
            });
            if !came {
                assert!(number > CELL_WORDS as u64, "{number}");
                return;
            }
        }
    }

    #[test]
    fn an_actor_has_its_own_values_or_none_whenever_its_cell_gets_another_tenant() {
        let change = |cell: &[AtomicU64], taken: &[AtomicU64]| {
            let cells = Writer::new(cell, taken);
            cells.free(0);
            assert!(cells.claim(0, 0).is_some());
            cell[word::BUSY_NS].store(2, Ordering::Relaxed);
        };
        before_each_step(change, |stats| assert_eq!(stats.busy_ns, 1));
    }

    #[test]
    fn a_handler_in_flight_has_the_row_of_its_own_message_whenever_the_next_one_begins() {
        let begin = |cell: &[AtomicU64], row: u64| {
            // Both begin in one tick of the coarse clock.
            cell[word::SINCE].store(coarse(1 << 20, 1), Ordering::Relaxed);
            cell[word::RUNNING].store(row, Ordering::Relaxed);
            cell[word::BUSY_NS].store(row, Ordering::Relaxed);
        };
        let change = move |cell: &[AtomicU64], _: &[AtomicU64]| {
            begin(cell, 1);
            cell[word::HANDLED].store(1, Ordering::Relaxed);
            cell[word::SINCE].store(0, Ordering::Relaxed);
            begin(cell, 2);
        };
        before_each_step(change, |stats| {
            let is_first = stats.in_flight.is_none() && stats.handled == 0;
            assert!(is_first || (stats.handled, stats.busy_ns) == (1, 2), "{stats:?}");
        });
    }
}
