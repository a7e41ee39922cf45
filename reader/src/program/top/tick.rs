//! A tick: the state of a node at one time, as the collector hands it to the screen.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope::report::events::{describe, loss_text};
use atomscope::report::findings::Finding;
use atomscope::report::instruments::{ActorRates, Rates};
use atomscope::report::rates::{CounterRates, Counters};
use atomscope::report::records::Growth;
use atomscope::report::subsystems::Summary;
use atomscope::report::usage::Usage;
use atomscope::snapshot::Snapshot;
use atomscope::snapshot::caveats::Caveat;
use atomscope::threads::ThreadRates;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{Actor, ActorTree, Class, Clock, Moment, RegionReader, Tally};
use atomscope_layout::follow::Batch;
use atomscope_layout::forest::Forest;

/// Up to this many live actors are listed in every tick, so that the past has them. More are listed only while a list of
/// actors is shown, and counted otherwise: a list needs about 150 bytes and a microsecond for each actor.
pub const LISTED_ALWAYS: u64 = 20_000;

/// What a tick has only while it is shown, because reading it takes time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A list of the actors however many there are, and not only up to [`LISTED_ALWAYS`].
    pub actors: bool,
    pub threads: bool,
}

impl Wanted {
    /// Whether it asks for something that `before` did not.
    pub fn has_more_than(self, before: Self) -> bool {
        self.actors && !before.actors || self.threads && !before.threads
    }
}

/// The state of a node at one time, and what is computed from it once.
#[derive(Debug)]
pub struct Tick {
    /// The time of the tick by the monotonic clock of this program.
    pub at: Instant,
    pub path: PathBuf,
    pub bytes: u64,
    /// A snapshot without a list of actors.
    pub snapshot: Arc<Snapshot>,
    /// The snapshot of the tick before, and the seconds since then.
    pub before: Option<(Arc<Snapshot>, f64)>,
    /// The list of actors, or `None` if they were only counted. Ticks share it while no actor changes.
    pub listed: Option<Arc<ActorListing>>,
    /// How many actors are listed, and how many are not and why.
    pub tally: Tally,
    pub classes: Arc<Vec<Class>>,
    /// The classes of the tick before.
    pub classes_before: Option<Arc<Vec<Class>>>,
    /// The threads of the node's process, or why they cannot be read; `None` if they were not wanted.
    pub threads: Option<Result<ThreadListing, String>>,
    /// A line for each subsystem in use.
    pub summaries: Vec<Summary>,
    pub usage: Usage,
    pub caveats: Vec<Caveat>,
    pub findings: Vec<Finding>,
    /// Warnings about subsystems.
    pub warnings: Vec<String>,
    /// `None` if it is unknown.
    pub uptime: Option<Duration>,
    pub point: Point,
    /// What the instrumented actors did since the tick before.
    pub rates: Rates,
    /// Which fields of the application's records only grow, as far as they were seen.
    pub growth: Growth,
    /// CPU time and memory of this program.
    pub own: Option<Vitals>,
    /// How long this tick took to read.
    pub took: Duration,
    /// Approximate memory of the tick without its actors, in bytes.
    pub snapshot_bytes: usize,
}

impl Tick {
    /// Whether the node has ended or is a dump, so that this is its last tick.
    pub fn is_last(&self) -> bool {
        self.point.is_last
    }

    /// What an actor did since the tick before.
    pub fn rates_of(&self, actor: &Actor<'_>) -> Option<ActorRates> {
        self.rates.of(&actor.stats()?)
    }

    /// Memory of the list of actors, in bytes.
    pub fn actors_bytes(&self) -> usize {
        self.listed.as_ref().map_or(0, |listed| listed.bytes())
    }
}

/// The list of all actors at one time.
#[derive(Debug)]
pub struct ActorListing {
    pub tree: ActorTree,
    /// For each actor, the number of its descendants.
    pub below: Vec<u32>,
    /// Equal marks mean that no actor has come or gone in between.
    pub mark: u64,
    /// Equal marks mean that no instrumented actor has done anything in between.
    pub cells_mark: u64,
}

impl ActorListing {
    pub fn take(reader: &RegionReader<'_>) -> Self {
        let cells_mark = reader.cells_mark();
        let list = reader.actor_list();
        let mark = list.mark();
        let tree = list.into_tree();
        let below = below(tree.forest(), tree.actors().len());
        Self { tree, below, mark, cells_mark }
    }

    fn bytes(&self) -> usize {
        self.tree.bytes() + self.below.capacity() * size_of::<u32>()
    }
}

/// The threads of a process over the time since the tick before.
#[derive(Debug)]
pub struct ThreadListing {
    pub rows: Vec<ThreadRates>,
    /// What is not known of them.
    pub notes: Vec<String>,
}

/// The numbers of a tick that sparklines are drawn from.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub counts: Counters,
    pub live: u64,
    /// Rates since the tick before; in the first tick, averages since the start of the node. `None` if that is unknown.
    pub rates: Option<CounterRates>,
    /// The share of the time of all worker threads that was spent on tasks.
    pub busy_percent: Option<f64>,
    /// CPU time, in percent of one processor.
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// Whether the rates are averages since the start of the node.
    pub is_average: bool,
    /// Whether the node has ended or is a dump.
    pub is_last: bool,
}

impl Point {
    /// Current rates; `None` for averages and for a node that has ended.
    pub fn rates(&self) -> Option<&CounterRates> {
        self.rates.as_ref().filter(|_| !self.is_average && !self.is_last)
    }
}

/// An event, or a gap of lost events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// `None` if the clock of the node cannot be read.
    pub at: Option<Moment>,
    /// Empty for a gap.
    pub topic: Box<str>,
    pub word: Box<str>,
    pub text: String,
    /// Events lost in a gap; 0 for an event.
    pub lost: u64,
}

impl EventRow {
    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.word.len() + self.text.len()
    }

    /// The events and gaps of one batch, in order.
    pub fn of(batch: Batch, clock: Option<Clock>) -> Vec<Self> {
        let time = |stamp| clock.as_ref().and_then(|clock| clock.moment(stamp));
        let losses = batch.losses.into_iter().map(|loss| {
            let (stamp, at) = (loss.before.unwrap_or(u64::MAX), loss.before.and_then(time));
            let (text, lost) = (loss_text(&loss), loss.all());
            ((stamp, 0), Self { at, topic: "".into(), word: "lost".into(), text, lost })
        });
        let events = batch.events.into_iter().map(|event| {
            let (word, _, text) = describe(&event.event);
            let at = time(event.stamp);
            let (topic, word) = (event.event.topic().into(), word.into());
            ((event.stamp, 1), Self { at, topic, word, text, lost: 0 })
        });
        let mut rows: Vec<_> = losses.chain(events).collect();
        rows.sort_by_key(|(order, _)| *order);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// The number of descendants of each actor.
fn below(forest: &Forest, actors: usize) -> Vec<u32> {
    let mut below = vec![0u32; actors];
    // Parents come before their children here, so the reverse order adds up children first.
    let mut order: Vec<u32> = forest.below(None).collect();
    let mut at = 0;
    while let Some(number) = order.get(at).copied() {
        order.extend(forest.below(Some(number)));
        at += 1;
    }
    for number in order.into_iter().rev() {
        if let Some(above) = forest.above(number) {
            below[above as usize] += below[number as usize] + 1;
        }
    }
    below
}
