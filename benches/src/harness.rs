//! The interleaving harness: what is compared takes turns.
//!
//! ```text
//! round 1   ours │ theirs │ limit │ ours         each some milliseconds, after a warm-up of half as long
//! round 2          theirs │ limit │ ours │ ours   the order moves on by one
//! ```
//!
//! A machine that slows down slows every side of a round, so a ratio is the median of the rounds' ratios. The first side
//! has two turns a round: what they differ by is the spread, under which no difference means anything. Nothing is left
//! out: every slice counts towards the medians, every batch towards the worst in a thousand.

use std::cell::RefCell;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Rounds that there are always, however long they take.
const LEAST_ROUNDS: usize = 3;

/// Longer than another program has the processor in one go, on a machine that is not busy beyond measure.
const INTERRUPTION_NS: f64 = 100e6;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds at most.
    pub rounds: usize,
    /// How long a turn is to take.
    pub slice: Duration,
    /// How long all rounds may take, and then the batches; on a busy machine there are fewer.
    pub budget: Duration,
    /// Batches of each side of which the worst in a thousand is taken.
    pub batches: usize,
}

/// Runs an operation so many times in the thread of this number, and says how long that took.
type Work<'a> = Box<dyn Fn(usize, u64) -> Duration + Send + Sync + 'a>;

/// One of those that are compared.
pub struct Side<'a>(Work<'a>);

impl<'a> Side<'a> {
    /// Does `operations` of them, when called with a thread's number and `operations`.
    pub fn new(work: impl Fn(usize, u64) + Send + Sync + 'a) -> Self {
        Self::timed(move |thread, operations| {
            let start = Instant::now();
            work(thread, operations);
            start.elapsed()
        })
    }

    /// The same, but says itself what of it counts.
    pub fn timed(work: impl Fn(usize, u64) -> Duration + Send + Sync + 'a) -> Self {
        Self(Box::new(work))
    }
}

/// Nanoseconds per operation, in one slice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// By the clock on the wall.
    pub wall: f64,
    /// Of processor time: the thread's, or the process's where the work is its other threads'.
    pub cpu: f64,
}

/// What came of a comparison.
#[derive(Debug)]
pub struct Measured {
    time: Time,
    /// Per round, per side: the first side's are the means of its two turns.
    pub rounds: Vec<Vec<Sample>>,
    /// The first side's second turn against its first one.
    pub spread: f64,
    /// Of several threads: the part of their turns in which all were at it, as a fraction. Far below 1 the machine was
    /// busy, and the threads took turns where they should have met.
    pub together: f64,
    /// Per side: nanoseconds per operation in the worst batch of a thousand, where there were so many.
    pub worst: Vec<Option<f64>>,
}

impl Measured {
    /// The median of what `of` makes of each round.
    pub fn median(&self, of: impl Fn(&[Sample]) -> f64) -> f64 {
        median(self.rounds.iter().map(|round| of(round)).collect())
    }

    /// A side's median, in nanoseconds.
    pub fn cost(&self, side: usize) -> f64 {
        self.median(|round| self.time.of(&round[side]))
    }

    /// How many times the cost of side `of` is that of side `to`.
    pub fn ratio(&self, of: usize, to: usize) -> f64 {
        self.median(|round| self.time.of(&round[of]) / self.time.of(&round[to]))
    }
}

/// The middle one; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Which time a comparison goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The clock on the wall, for work that waits or is only in part the side's.
    Wall,
    /// The processor time of the thread that does the work: what else runs on the machine does not count, a line of
    /// cache that another thread holds does.
    Thread,
    /// The clock on the wall, and beside it the processor time of all threads of the process.
    Process,
}

impl Time {
    fn cpu_now(self) -> f64 {
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

/// The processor time of work that is done only once, in nanoseconds.
pub fn once(work: impl FnOnce()) -> f64 {
    let before = Time::Thread.cpu_now();
    work();
    Time::Thread.cpu_now() - before
}

/// What a worker is to do next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    side: usize,
    operations: u64,
    batches: usize,
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
            let taken = results.collect::<Result<Vec<Taken>, _>>()?;
            together.borrow_mut().push(together_part(&taken));
            Ok(taken.into_iter().flat_map(|taken| taken.samples).collect())
        };
        let measured = rounds(effort, time, sides.len(), run)?;
        Ok(Measured { together: median(together.take()), ..measured })
    })
}

/// What a worker did.
struct Taken {
    samples: Vec<Sample>,
    start: Instant,
    end: Instant,
}

fn together_part(taken: &[Taken]) -> f64 {
    let starts = || taken.iter().map(|taken| taken.start);
    let ends = || taken.iter().map(|taken| taken.end);
    let (Some(first), Some(start)) = (starts().min(), starts().max()) else { return 1.0 };
    let (Some(end), Some(last)) = (ends().min(), ends().max()) else { return 1.0 };
    end.saturating_duration_since(start).as_secs_f64() / (last - first).as_secs_f64().max(1e-9)
}

/// Threads that begin at different times would not be at it together. The wait is short, as all have been told.
fn start_together(arrived: &AtomicUsize, expected: usize) {
    arrived.fetch_add(1, Ordering::AcqRel);
    let mut looks = 0u32;
    while arrived.load(Ordering::Acquire) < expected {
        looks += 1;
        if looks < 1000 { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

fn take(side: &Side<'_>, thread: usize, turn: Turn, time: Time, start_together: impl FnOnce()) -> Taken {
    let operations = turn.operations as f64;
    let wall = || side.0(thread, turn.operations).as_nanos() as f64 / operations;
    // The caches are still the other side's; else who follows itself would win. A single long operation warms itself up.
    let warm_up = if turn.batches > 1 { 4 * turn.operations } else { turn.operations / 2 };
    if warm_up > 0 {
        side.0(thread, warm_up);
    }
    start_together();
    let start = Instant::now();
    let samples = if turn.batches > 1 {
        (0..turn.batches).map(|_| Sample { wall: wall(), cpu: 0.0 }).collect()
    } else {
        let before = time.cpu_now();
        let wall = wall();
        vec![Sample { wall, cpu: (time.cpu_now() - before) / operations }]
    };
    Taken { samples, start, end: Instant::now() }
}

fn rounds(
    effort: Effort,
    time: Time,
    sides: usize,
    run: impl Fn(Turn) -> Result<Vec<Sample>, Box<dyn Error>>,
) -> Result<Measured, Box<dyn Error>> {
    let one_turn =
        |side, operations| run(Turn { side, operations, batches: 1 }).map(|samples| mean(&samples));
    // What a side takes for one operation says how many make a slice; it also warms it up.
    let mut operations = Vec::new();
    let mut estimates = Vec::new();
    for side in 0..sides {
        let (mut count, slice) = (1, effort.slice.as_nanos() as f64);
        let each = loop {
            let mut each = one_turn(side, count)?.wall.max(0.1);
            let is_enough = |each: f64| each * count as f64 * 4.0 >= slice;
            // It may only have been interrupted, and would have too few operations for all that follows.
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
    let (mut all, mut again) = (Vec::new(), Vec::new());
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
        again.push(time.of(&second) / time.of(&samples[0]));
        samples[0] = mean(&[samples[0], second]);
        all.push(samples);
    }
    let worst = worst(effort, &estimates, run)?;
    Ok(Measured { time, rounds: all, spread: (median(again) - 1.0).abs(), worst, together: 1.0 })
}

/// The worst batch in a thousand of each side. A batch is long beside the clock that times it and short beside a slice.
fn worst(
    effort: Effort,
    estimates: &[f64],
    run: impl Fn(Turn) -> Result<Vec<Sample>, Box<dyn Error>>,
) -> Result<Vec<Option<f64>>, Box<dyn Error>> {
    const BATCH_NS: f64 = 10_000.0;
    const BATCHES_A_TURN: usize = 50;
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); estimates.len()];
    let start = Instant::now();
    for _ in 0..effort.batches.div_ceil(BATCHES_A_TURN) {
        if start.elapsed() > effort.budget {
            break;
        }
        for (side, each) in estimates.iter().enumerate().filter(|(_, each)| **each < BATCH_NS) {
            let operations = ((BATCH_NS / each) as u64).max(1);
            let batches = run(Turn { side, operations, batches: BATCHES_A_TURN })?;
            times[side].extend(batches.iter().map(|sample| sample.wall));
        }
    }
    let worst = times.into_iter().map(|mut times| {
        times.sort_by(f64::total_cmp);
        (times.len() >= 1000).then(|| times[times.len() - 1 - times.len() / 1000])
    });
    Ok(worst.collect())
}

fn mean(samples: &[Sample]) -> Sample {
    let of = |part: fn(&Sample) -> f64| samples.iter().map(part).sum::<f64>() / samples.len() as f64;
    Sample { wall: of(|sample| sample.wall), cpu: of(|sample| sample.cpu) }
}
