//! The measurements, one group per file, and what several groups share.

mod attach;
#[cfg(tokio_unstable)]
pub mod console;
mod counter;
mod crowd;
mod events;
pub mod instructions;
mod letters;
mod lifecycle;

pub mod memory;
pub mod messages;
mod node;
mod parts;
mod ps;
pub mod readers;
mod records;
mod scan;
mod scrape;
mod snapshot;
mod startup;
mod top;

use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use atomr_core::actor::{ActorPath, Address, SpawnObserver};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::support;

use crate::Result;
use crate::harness::Effort;
use crate::record::{Section, cores};

/// How a group must measure.
pub struct Context {
    /// The durations.
    pub effort: Effort,
    /// Whether this is only a check that everything runs.
    pub is_quick: bool,
}

impl Context {
    /// One number for a real measurement, another for the quick mode.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.is_quick { quick } else { full }
    }
}

/// Measurements that belong together.
pub struct Group {
    /// The name that selects it.
    pub name: &'static str,
    /// What it measures.
    pub title: &'static str,
    /// Measures and adds the rows.
    pub measure: fn(&Context, &mut Section) -> Result<()>,
}

const fn group(
    name: &'static str,
    title: &'static str,
    measure: fn(&Context, &mut Section) -> Result<()>,
) -> Group {
    Group { name, title, measure }
}

/// All groups.
pub const GROUPS: &[Group] = &[
    group("counter", "A counter", counter::measure),
    group("lifecycle", "An actor's spawn and stop, with record and both events", lifecycle::measure),
    group("parts", "The parts of a spawn and a stop, each alone, at depth 3", parts::measure),
    group("events", "An event published", events::measure),
    group("rate", "An event published at a given rate, with one reader", events::at_rates),
    group("records", "A record of the application's own", records::measure),
    group("letters", "A dead letter", letters::measure),
    group("messages", "What an instrumented actor adds to a message", messages::measure),
    #[cfg(tokio_unstable)]
    group("console", "The same beside the subscriber of tokio-console", console::measure),
    group("snapshot", "A snapshot of all actors", snapshot::measure),
    group("scan", "A reader's pass over the actor table", scan::measure),
    group("scrape", "The text for Prometheus, read from outside the node", scrape::measure),
    group("readers", "A writer slowed by an attached reader, in processor time", readers::measure),
    group("node", "A real node, all sides in one actor system", node::measure),
    group("attach", "Attaching to a node", attach::measure),
    group("ps", "The whole program `atomscope ps`, from start to end", ps::measure),
    group("top", "The screen of `atomscope top`, on a terminal", top::measure),
    group(
        "crowd",
        "The program on a node of a million actors, the region's own pages not counted",
        crowd::measure,
    ),
    group("memory", "Memory per live actor", memory::measure),
    group("startup", "Installing the probe", startup::measure),
    group("instructions", "Instructions per operation, counted by callgrind", instructions::measure),
];

/// A node's telemetry, ours and that of `atomr-telemetry`, which receive the same calls.
pub struct Twins {
    pub ours: Arc<TelemetryExtension>,
    pub theirs: Arc<atomr_telemetry::TelemetryExtension>,
}

impl Twins {
    /// Telemetry with a capacity of so many live actors.
    pub fn new(actors: usize) -> Result<Self> {
        let region = Region::builder("bench").actors(actors.max(16_384)).build()?;
        Ok(Self {
            ours: TelemetryExtension::with_region(region),
            theirs: atomr_telemetry::TelemetryExtension::new("bench", 1024),
        })
    }

    /// Registers so many actors in both, which stay.
    pub fn populate(&self, actors: usize) {
        populate(&*self.ours.actors, actors);
        populate(&*self.theirs.actors, actors);
    }
}

/// Waits until all these processes have mapped the region.
pub fn wait_until_mapped(readers: &[&Child], region: &Path) {
    let has_mapped = |reader: &&Child| {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", reader.id()));
        maps.is_ok_and(|maps| region.to_str().is_some_and(|path| maps.contains(path)))
    };
    support::wait_until("the readers are attached", || readers.iter().all(has_mapped));
}

/// A tree of actors as in a real node: a hundred children for each parent.
pub fn populate(observer: &dyn SpawnObserver, actors: usize) {
    const CHILDREN: usize = 99;
    let user = user();
    let mut left = actors;
    for desk in 0.. {
        if left == 0 {
            return;
        }
        let parent = user.child(format!("desk-{desk}"));
        observer.on_spawn(&parent, Some(&user), "bench::Desk");
        left -= 1;
        for number in 0..CHILDREN.min(left) {
            observer.on_spawn(&parent.child(format!("live-{number}")), Some(&parent), "bench::Live");
        }
        left -= CHILDREN.min(left);
    }
}

/// The parent of all actors of an application.
pub fn user() -> ActorPath {
    ActorPath::root(Address::local("bench")).child("user")
}

/// A path whose children have so many elements in their paths.
pub fn parent_at(depth: usize) -> ActorPath {
    (3..depth).fold(user(), |parent, level| parent.child(format!("level-{level}"))).child("orders")
}

/// Different paths for each thread, which takes them in turn.
pub struct Paths(Vec<ThreadPaths>);

/// Apart from those of other threads, so that no two share a cache line.
#[repr(align(128))]
struct ThreadPaths {
    paths: Vec<ActorPath>,
    next: AtomicUsize,
}

impl Paths {
    /// Paths that one thread takes before the first one comes again.
    pub const EACH: usize = 1024;

    /// Paths below `parent` for so many threads.
    pub fn below(parent: &ActorPath, threads: usize) -> Self {
        let of = |thread| {
            let paths =
                (0..Self::EACH).map(|number| parent.child(format!("order-{thread}-{number}"))).collect();
            ThreadPaths { paths, next: AtomicUsize::new(0) }
        };
        Self((0..threads).map(of).collect())
    }

    /// The thread's next paths.
    pub fn take(&self, thread: usize, count: u64) -> impl Iterator<Item = &ActorPath> {
        let ThreadPaths { paths, next } = &self.0[thread];
        let start = next.fetch_add(count as usize, Ordering::Relaxed);
        (start..start + count as usize).map(|at| &paths[at % Self::EACH])
    }
}

/// Reports the spawn and the stop of each of these paths, one after another.
pub fn pairs<'a>(
    observer: &dyn SpawnObserver,
    parent: &ActorPath,
    paths: impl Iterator<Item = &'a ActorPath>,
) {
    for path in paths {
        observer.on_spawn(path, Some(parent), "bench::Order");
        observer.on_stop(path);
    }
}

/// Numbers of threads, up to the number that can run at the same time, but at least two.
pub fn thread_counts() -> impl Iterator<Item = usize> {
    let most = cores().clamp(2, 8);
    std::iter::successors(Some(1), |threads| Some(threads * 2)).take_while(move |threads| *threads <= most)
}

/// The limit of recording: a plain copy of the same bytes into a ring of the same size.
pub struct Copies<const BYTES: usize> {
    rings: Vec<Mutex<Vec<[u8; BYTES]>>>,
}

impl<const BYTES: usize> Copies<BYTES> {
    /// Rings for so many threads.
    pub fn new(threads: usize) -> Self {
        Self { rings: (0..threads).map(|_| Mutex::new(vec![[1; BYTES]; 1024])).collect() }
    }

    /// Copies the record so many times.
    pub fn run(&self, thread: usize, operations: u64) {
        let mut ring = self.rings[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let places = ring.len();
        let record = [7; BYTES];
        for number in 0..operations as usize {
            ring[number % places].copy_from_slice(std::hint::black_box(&record));
        }
        std::hint::black_box(&*ring);
    }
}
