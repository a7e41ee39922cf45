//! The interleaving harness: the compared sides take turns.
//!
//! ```text
//! round 1   ours │ theirs │ limit │ ours         each some milliseconds, after a warm-up of half as long
//! round 2          theirs │ limit │ ours │ ours   the order moves on by one
//! ```
//!
//! A machine that slows down slows every side of a round, so a ratio is the median of the rounds' ratios. The first
//! side has two turns a round: their difference is the spread, and a smaller difference means nothing.
//!
//! A median hides what is rare. So short operations are timed once more in blocks of [`BLOCK`], each block by itself and
//! less the cost of reading the clock, for the percentiles.

use std::cell::RefCell;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Operations that are timed together for the percentiles: few, so that one slow operation shows, and enough that the
/// clock's resolution does not.
pub const BLOCK: u64 = 16;

/// An operation that takes longer gets no percentiles.
const LONGEST_IN_BLOCKS_NS: f64 = 10_000.0;

/// The least number of rounds, however long they take.
const LEAST_ROUNDS: usize = 3;

/// Longer than another program keeps the processor at a time, unless the machine is overloaded.
const INTERRUPTION_NS: f64 = 100e6;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// The greatest number of rounds.
    pub rounds: usize,
    /// The wanted duration of a turn.
    pub slice: Duration,
    /// So many operations in each turn, however long they take.
    pub operations: Option<u64>,
    /// The limit for all rounds together, and again for the blocks; a busy machine does fewer.
    pub budget: Duration,
    /// Blocks of each side for the percentiles.
    pub blocks: usize,
}

/// Runs an operation so many times in the thread with this number, and returns the time.
type Work<'a> = Box<dyn Fn(usize, u64) -> Duration + Send + Sync + 'a>;

/// One of the compared sides.
pub struct Side<'a>(Work<'a>);

impl<'a> Side<'a> {
    /// A side whose closure gets the thread's number and the number of operations to do.
    pub fn new(work: impl Fn(usize, u64) + Send + Sync + 'a) -> Self {
        Self::timed(move |thread, operations| {
            let start = Instant::now();
            work(thread, operations);
            start.elapsed()
        })
    }

    /// A side whose closure returns the time that counts.
    pub fn timed(work: impl Fn(usize, u64) -> Duration + Send + Sync + 'a) -> Self {
        Self(Box::new(work))
    }
}

/// Nanoseconds per operation, in one slice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Wall-clock time.
    pub wall: f64,
    /// Processor time of the thread, or of the process where other threads do the work.
    pub cpu: f64,
}

/// Nanoseconds per operation, of blocks of [`BLOCK`] operations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
}

impl Percentiles {
    /// Of at least a thousand blocks; fewer have no 99.9th percentile.
    fn of(mut blocks: Vec<f64>) -> Option<Self> {
        blocks.sort_by(f64::total_cmp);
        let above = |part: usize| blocks[blocks.len() - 1 - blocks.len() / part];
        (blocks.len() >= 1000).then(|| Self { p50: above(2), p99: above(100), p999: above(1000) })
    }
}

/// The result of a comparison.
#[derive(Debug)]
pub struct Measured {
    time: Time,
    /// Slices per round and side; those of the first side are the means of its two turns.
    pub rounds: Vec<Vec<Sample>>,
    /// The two turns of the first side in each round.
    pub twice: Vec<[Sample; 2]>,
    /// With several threads: the fraction of their turns in which all of them ran. Far below 1, the machine was busy
    /// and the threads did not really compete.
    pub together: f64,
    /// Per side, where there were enough blocks.
    pub percentiles: Vec<Option<Percentiles>>,
}

impl Measured {
    /// The median of `of` over all rounds.
    pub fn median(&self, of: impl Fn(&[Sample]) -> f64) -> f64 {
        median(self.rounds.iter().map(|round| of(round)).collect())
    }

    /// A side's median, in nanoseconds.
    pub fn cost(&self, side: usize) -> f64 {
        self.median(|round| self.time.of(&round[side]))
    }

    /// The difference between the two turns of the first side, as a fraction.
    pub fn spread(&self) -> f64 {
        let ratio = |[first, second]: &[Sample; 2]| self.time.of(second) / self.time.of(first);
        (median(self.twice.iter().map(ratio).collect()) - 1.0).abs()
    }

    /// The ratio of the costs of side `of` and side `to`.
    pub fn ratio(&self, of: usize, to: usize) -> f64 {
        self.median(|round| self.time.of(&round[of]) / self.time.of(&round[to]))
    }
}

/// The median; NaN for an empty list.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time that a comparison uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Wall-clock time, for work that waits or is shared with other threads.
    Wall,
    /// Processor time of the working thread: other load does not count, contended cache lines do.
    Thread,
    /// Wall-clock time, and also the processor time of all threads of the process.
    Process,
}

impl Time {
    /// The processor time that was taken so far, in nanoseconds.
    pub fn cpu_now(self) -> f64 {
        let clock = match self {
            Self::Wall | Self::Thread => ClockId::ThreadCPUTime,
            Self::Process => ClockId::ProcessCPUTime,
        };
        let time = clock_gettime(clock);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    }

    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Thread => sample.cpu,
            Self::Wall | Self::Process => sample.wall,
        }
    }
}

/// The processor time in nanoseconds of work that is done once.
pub fn once(work: impl FnOnce()) -> f64 {
    let before = Time::Thread.cpu_now();
    work();
    Time::Thread.cpu_now() - before
}

/// The next task of a worker.
#[derive(Debug, Clone, Copy)]
struct Turn {
    side: usize,
    operations: u64,
    blocks: usize,
}

/// Compares `sides`, each run by `threads` threads at once.
pub fn compare(
    effort: Effort,
    threads: usize,
    time: Time,
    sides: &[Side<'_>],
) -> Result<Measured, Box<dyn Error>> {
    let arrived = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (turn, turns) = mpsc::channel::<Turn>();
                let (result, results) = mpsc::channel();
                let arrived = &arrived;
                scope.spawn(move || {
                    for (done, turn) in turns.iter().enumerate() {
                        let together = || start_together(arrived, (done + 1) * threads);
                        if result.send(take(&sides[turn.side], thread, turn, time, together)).is_err() {
                            return;
                        }
                    }
                });
                (turn, results)
            })
            .collect();
        let together = RefCell::new(Vec::new());
        let run = |turn: Turn| -> Result<Vec<Sample>, Box<dyn Error>> {
            for (turns, _) in &workers {
                turns.send(turn)?;
            }
            let results = workers.iter().map(|(_, results)| results.recv());
            let results = results.collect::<Result<Vec<WorkerResult>, _>>()?;
            together.borrow_mut().push(together_part(&results));
            Ok(results.into_iter().flat_map(|result| result.samples).collect())
        };
        let measured = rounds(effort, time, sides.len(), run)?;
        Ok(Measured { together: median(together.take()), ..measured })
    })
}

/// The result of a worker.
struct WorkerResult {
    samples: Vec<Sample>,
    start: Instant,
    end: Instant,
}

fn together_part(results: &[WorkerResult]) -> f64 {
    let starts = || results.iter().map(|result| result.start);
    let ends = || results.iter().map(|result| result.end);
    let (Some(first), Some(start)) = (starts().min(), starts().max()) else { return 1.0 };
    let (Some(end), Some(last)) = (ends().min(), ends().max()) else { return 1.0 };
    end.saturating_duration_since(start).as_secs_f64() / (last - first).as_secs_f64().max(1e-9)
}

/// Wait until all threads have started, so that they compete. The wait is short, because all have their task.
fn start_together(arrived: &AtomicUsize, expected: usize) {
    arrived.fetch_add(1, Ordering::AcqRel);
    let mut looks = 0u32;
    while arrived.load(Ordering::Acquire) < expected {
        looks += 1;
        if looks < 1000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

fn take(
    side: &Side<'_>,
    thread: usize,
    turn: Turn,
    time: Time,
    start_together: impl FnOnce(),
) -> WorkerResult {
    let operations = turn.operations as f64;
    let wall = || side.0(thread, turn.operations).as_nanos() as f64 / operations;
    // Warm up, because the caches hold the data of the other side. A single long operation warms itself up.
    let warm_up = turn.operations * turn.blocks as u64 / 2;
    if warm_up > 0 {
        side.0(thread, warm_up);
    }
    start_together();
    let start = Instant::now();
    let samples = if turn.blocks > 1 {
        (0..turn.blocks).map(|_| Sample { wall: wall(), cpu: 0.0 }).collect()
    } else {
        let before = time.cpu_now();
        let wall = wall();
        vec![Sample { wall, cpu: (time.cpu_now() - before) / operations }]
    };
    WorkerResult { samples, start, end: Instant::now() }
}

fn rounds(
    effort: Effort,
    time: Time,
    sides: usize,
    run: impl Fn(Turn) -> Result<Vec<Sample>, Box<dyn Error>>,
) -> Result<Measured, Box<dyn Error>> {
    let one_turn = |side, operations| run(Turn { side, operations, blocks: 1 }).map(|samples| mean(&samples));
    // Measure one operation of each side to size the slices; this also warms it up.
    let mut operations = Vec::new();
    let mut estimates = Vec::new();
    for side in 0..sides {
        if let Some(count) = effort.operations {
            operations.push(count);
            estimates.push(one_turn(side, count)?.wall);
            continue;
        }
        let (mut count, slice) = (1, effort.slice.as_nanos() as f64);
        let each = loop {
            let mut each = one_turn(side, count)?.wall.max(0.1);
            let is_enough = |each: f64| each * count as f64 * 4.0 >= slice;
            // An interruption would make the estimate too large, and all slices too small.
            for _ in 0..2 {
                if is_enough(each) && each * (count as f64) < INTERRUPTION_NS {
                    each = each.min(one_turn(side, count)?.wall.max(0.1));
                }
            }
            if is_enough(each) {
                break each;
            }
            count = ((slice / each) as u64).clamp(count + 1, count * 16);
        };
        operations.push(((slice / each) as u64).max(1));
        estimates.push(each);
    }
    let (mut all, mut twice) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while all.len() < effort.rounds && (all.len() < LEAST_ROUNDS || start.elapsed() < effort.budget) {
        let round = all.len();
        let mut samples = vec![Sample::default(); sides];
        let mut second = Sample::default();
        for turn in 0..=sides {
            let turn = (turn + round) % (sides + 1);
            let side = if turn == sides { 0 } else { turn };
            let sample = one_turn(side, operations[side])?;
            if turn == sides { second = sample } else { samples[side] = sample }
        }
        twice.push([samples[0], second]);
        samples[0] = mean(&[samples[0], second]);
        all.push(samples);
    }
    let percentiles = percentiles(effort, &estimates, run)?;
    Ok(Measured { time, rounds: all, twice, percentiles, together: 1.0 })
}

/// The percentiles of each side, in turns of many blocks.
fn percentiles(
    effort: Effort,
    estimates: &[f64],
    run: impl Fn(Turn) -> Result<Vec<Sample>, Box<dyn Error>>,
) -> Result<Vec<Option<Percentiles>>, Box<dyn Error>> {
    const BLOCKS_A_TURN: usize = 200;
    let clock = reading_ns() / BLOCK as f64;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); estimates.len()];
    let start = Instant::now();
    for _ in 0..effort.blocks.div_ceil(BLOCKS_A_TURN) {
        if start.elapsed() > effort.budget {
            break;
        }
        for (side, _) in estimates.iter().enumerate().filter(|(_, each)| **each < LONGEST_IN_BLOCKS_NS) {
            let blocks = run(Turn { side, operations: BLOCK, blocks: BLOCKS_A_TURN })?;
            times[side].extend(blocks.iter().map(|block| (block.wall - clock).max(0.0)));
        }
    }
    Ok(times.into_iter().map(Percentiles::of).collect())
}

/// The time that a block seems to take when it does nothing.
fn reading_ns() -> f64 {
    median((0..1001).map(|_| Instant::now().elapsed().as_nanos() as f64).collect())
}

fn mean(samples: &[Sample]) -> Sample {
    let of = |part: fn(&Sample) -> f64| samples.iter().map(part).sum::<f64>() / samples.len() as f64;
    Sample { wall: of(|sample| sample.wall), cpu: of(|sample| sample.cpu) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentiles_are_those_of_the_slowest_blocks_and_need_a_thousand() {
        let slow_ones = |count: usize, of: usize| {
            (0..of).map(|number| if number < count { 9.0 } else { 1.0 }).collect::<Vec<_>>()
        };
        let percentiles = |p50, p99, p999| Some(Percentiles { p50, p99, p999 });
        assert_eq!(Percentiles::of(slow_ones(1, 1000)), percentiles(1.0, 1.0, 1.0));
        assert_eq!(Percentiles::of(slow_ones(2, 1000)), percentiles(1.0, 1.0, 9.0));
        assert_eq!(Percentiles::of(slow_ones(11, 1000)), percentiles(1.0, 9.0, 9.0));
        assert_eq!(Percentiles::of(slow_ones(999, 999)), None);
    }
}
