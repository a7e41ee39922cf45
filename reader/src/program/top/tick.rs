//! What the collector hands to the screen and the screen asks of the collector; a node at one time.
use atomscope::attach::RegionSummary;
use atomscope::report::events::{count_loss, describe};
use atomscope::report::findings::Finding;
use atomscope::report::nodes::NodeRow;
use atomscope::report::rates::{Counts, PerSecond};
use atomscope::report::subsystems::Summary;
use atomscope::report::usage::Usage;
use atomscope::snapshot::Snapshot;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{ActorTree, Class, Clock, Moment, RegionReader, Tally};
use atomscope_layout::dto::Forest;
use atomscope_layout::follow::Look;
use crossterm::event::Event as Input;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many live actors are listed at each look, whatever is shown, so that the past has them. More are listed while a list
/// is shown and else only counted: a list takes some 150 bytes and a microsecond for each.
pub const LISTED_ALWAYS: u64 = 20_000;

/// What the collector is told.
#[derive(Debug)]
pub enum Order {
    /// Look at this node from now on, or at none. The number is that of what is told of it.
    Watch(u64, Option<Box<RegionSummary>>),
    /// Look that often.
    Every(Duration),
    /// Look at once.
    Now,
    /// Whether to list the nodes of this machine with each look.
    Nodes(bool),
    /// Whether to list the actors with each look, however many there are.
    Actors(bool),
    /// Write what is there now, or what was at that tick, to a file.
    Save(PathBuf, Option<Arc<Tick>>),
}

/// What the screen is told.
#[derive(Debug)]
pub enum News {
    /// Something of the terminal.
    Input(Input),
    /// Nothing more can come of the terminal.
    NoInput,
    /// A look at the node of this number, and what has happened since the one before.
    Tick(u64, Box<Tick>, Vec<EventRow>),
    /// The node of this number cannot be looked at any more, or not at all.
    Lost(u64, String),
    /// The nodes of this machine, and what is said of those that are not listed; or why they are not known.
    Nodes(Result<(Vec<NodeRow>, Vec<String>), String>),
    /// A node of the same name that was made later than the one of this number, which has ended.
    Successor(u64, Box<RegionSummary>),
    /// What was written, or why not.
    Saved(Result<String, String>),
}

/// A node at one time, with what is made of it once.
#[derive(Debug)]
pub struct Tick {
    /// When, by a clock that never jumps.
    pub at: Instant,
    pub path: PathBuf,
    pub bytes: u64,
    /// Without a list of its actors.
    pub snapshot: Arc<Snapshot>,
    /// The look before, and the seconds since then.
    pub before: Option<(Arc<Snapshot>, f64)>,
    /// Its actors, unless they were only counted. The same as at the look before while nothing changes.
    pub listed: Option<Arc<ActorListing>>,
    /// How many there are in the table, and how sure that is.
    pub tally: Tally,
    pub classes: Arc<Vec<Class>>,
    /// Those of the look before.
    pub classes_before: Option<Arc<Vec<Class>>>,
    /// The subsystems in use, each in a line.
    pub summaries: Vec<Summary>,
    pub usage: Usage,
    pub caveats: Vec<String>,
    pub findings: Vec<Finding>,
    /// What of its subsystems wants a look.
    pub worries: Vec<String>,
    /// `None` where that is not known.
    pub uptime: Option<Duration>,
    pub point: Point,
    /// What this program takes.
    pub own: Option<Vitals>,
    /// How long it took to look.
    pub took: Duration,
    /// Bytes of memory that it takes beside its actors, nearly.
    pub beside_bytes: usize,
}

impl Tick {
    /// Whether there will be no other of this node.
    pub fn is_last(&self) -> bool {
        self.point.is_last
    }

    /// Bytes of memory that its actors take.
    pub fn actors_bytes(&self) -> usize {
        self.listed.as_ref().map_or(0, |listed| listed.bytes())
    }
}

/// All actors at one time.
#[derive(Debug)]
pub struct ActorListing {
    pub tree: ActorTree,
    /// Of each actor, how many are below it.
    pub below: Vec<u32>,
    /// By which it is known whether anything of it has changed.
    pub mark: u64,
}

impl ActorListing {
    pub fn take(reader: &RegionReader<'_>) -> Self {
        let list = reader.actor_list();
        let mark = list.mark();
        let tree = list.into_tree();
        let below = below(tree.forest(), tree.actors().len());
        Self { tree, below, mark }
    }

    fn bytes(&self) -> usize {
        self.tree.bytes() + self.below.capacity() * size_of::<u32>()
    }
}

/// The numbers of a tick of which lines are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub counts: Counts,
    pub live: u64,
    /// `None` where they would be averages since a start that is not known.
    pub rates: Option<PerSecond>,
    /// Of all workers' time, how much they spent on tasks.
    pub busy_percent: Option<f64>,
    /// Of one processor.
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// Whether the rates are averages since the node's start.
    pub is_average: bool,
    /// Whether there will be no more: the node has ended, or it is a dump.
    pub is_last: bool,
}

impl Point {
    /// What comes in a second by now; of what goes on no longer nothing does.
    pub fn rates(&self) -> Option<&PerSecond> {
        self.rates.as_ref().filter(|_| !self.is_average && !self.is_last)
    }
}

/// Something that happened, or was missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Where the node's clock can be read.
    pub at: Option<Moment>,
    /// Empty of what was missed.
    pub topic: &'static str,
    pub word: &'static str,
    pub text: String,
    /// How many were missed.
    pub lost: u64,
}

impl EventRow {
    /// What a look brought, in order.
    pub fn of(look: Look, clock: Option<Clock>) -> Vec<Self> {
        let time = |stamp| clock.as_ref().and_then(|clock| clock.moment(stamp));
        let losses = look.losses.into_iter().map(|loss| {
            let (stamp, at) = (loss.before.unwrap_or(u64::MAX), loss.before.and_then(time));
            let (text, lost) = (count_loss(&loss), loss.all());
            ((stamp, 0), Self { at, topic: "", word: "lost", text, lost })
        });
        let events = look.events.into_iter().map(|event| {
            let (word, _, text) = describe(&event.event);
            let (topic, at) = (event.event.topic(), time(event.stamp));
            ((event.stamp, 1), Self { at, topic, word, text, lost: 0 })
        });
        let mut rows: Vec<_> = losses.chain(events).collect();
        rows.sort_by_key(|(order, _)| *order);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// How many are below each actor of a forest.
fn below(forest: &Forest, actors: usize) -> Vec<u32> {
    let mut below = vec![0u32; actors];
    // Those below before the ones above them.
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
