//! A region and its life: made, published, beaten, settled, closed.
//!
//! [`Region`] is the handle that a program holds; all handles together keep the region open, and the last one's drop
//! closes it. [`Core`] is what the hot paths, the threads of [`crate::process`] and the beats work on: it keeps the memory,
//! not the region open.
//!
//! ```text
//!   RegionBuilder ──► Core (memory, map, clock, names) ◄── sampler, pollers, runtime beat: until it is closed
//!                      ▲
//!                   Closer ◄── Region, Region, … (registry, feed, extension)
//! ```
//! Closing is: state *closed*, name taken away, lock let go of. One thread does it; whoever else closes (another `close`,
//! the last drop, the process's exit) waits until that is done, [`CLOSING_TAKES`] at most.

use std::collections::HashMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::event::{EVENT_SLOT_BYTES, EventKind, EventRecord};
use atomscope_layout::instances::Instances;
use atomscope_layout::lanes::{self, Lanes, OVERFLOW};
use atomscope_layout::metrics::{self, BUILTIN, Builtin, Kind};
#[cfg(feature = "atomr")]
use atomscope_layout::names::write_cell;
use atomscope_layout::names::{Interned, Interner};
use atomscope_layout::records::{ACTOR_WORDS, ActorRecord, ClockRecord, SightingRecord};
use atomscope_layout::region::{HeaderRecord, HeaderWriter, Section, State};
use atomscope_layout::ring::{DEAD_LETTER_SLOT_BYTES, Ring, Written};
use atomscope_layout::sightings::Log;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::{StopOrigin, Table, WaitingStop};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, Words, store};
use atomscope_layout::{Capacities, RegionMap};

use crate::actor_registry::stop_event;
use crate::clock::{self, Clock};
use crate::error::CreateError;
use crate::hash::PathHasher;
use crate::instances::Census;
use crate::lane;
use crate::poller::{POLL_INTERVAL, Poller};
use crate::process;
#[cfg(target_os = "linux")]
use crate::region_file::{self, open_regions, room};
use crate::sampler::BEAT;
use crate::sightings::Sightings;
#[cfg(feature = "atomr")]
use crate::type_names::TypeName;

/// Sampler rounds for which a stop waits for its spawn before it is given up: ten seconds. A spawn hook is late by
/// microseconds; counted in rounds, a process that was stopped meanwhile loses nothing.
const STOP_WAITS_ROUNDS: u64 = 40;
/// A round that is shorter is a part of the next one.
const LEAST_ROUND: Duration = Duration::from_millis(BEAT.as_millis() as u64 / 2);
/// In a round of the sampler's that takes longer the process, or the sampler alone, stood still.
const LONGEST_ROUND: Duration = Duration::from_millis(BEAT.as_millis() as u64 * 3 / 2);

/// The longest that a region's closing by another thread is waited for; it takes some microseconds, unless that thread
/// has no processor.
pub(crate) const CLOSING_TAKES: Duration = Duration::from_secs(1);

/// Live regions of a process from which on one that was not asked to be larger is a [`CROWDED`] one.
const CROWD: usize = 8;
/// Of the room that is left for named segments, the part that one of several regions of a process takes at most, unless it
/// was asked to be that large.
const SHARE_OF_ROOM: u64 = 4;
/// The longest interval of polls: one that any clock can be set forward by.
const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

/// A region of this process, and the way to count in it.
///
/// Cloning is cheap; the last clone's drop closes the region.
///
/// Nothing may be recorded in a signal handler, and a program that closes all its descriptors does so before it makes a
/// region; the crate's documentation says why.
#[derive(Debug, Clone)]
pub struct Region {
    pub(crate) core: Arc<Core>,
    /// None in what the probe's own threads and wrappers have, which hold nothing open.
    #[expect(dead_code, reason = "kept for its drop")]
    closer: Option<Arc<Closer>>,
}

/// How a region is to be made. Every knob there is; [`RegionBuilder::build`] says what is wrong with them.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let orders = region.counter("orders.placed", "orders", "Orders that customers placed");
/// orders.add(3);
/// assert!(region.path().is_none(), "a private region can be read in-process only");
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is made before `build`"]
pub struct RegionBuilder {
    node: String,
    capacities: Capacities,
    /// Whether the capacities are the user's.
    is_sized: bool,
    place: Option<Place>,
    previews: bool,
    poll_interval: Duration,
}

/// Where a region that can be seen from outside is made.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "no platform but Linux has such regions yet")
)]
pub(crate) enum Place {
    /// A named segment.
    Named,
    /// A file of the user's choice.
    File {
        /// The file.
        path: PathBuf,
        /// Whether it may be on a disk.
        allow_disk: bool,
    },
}

impl RegionBuilder {
    /// Live actors for which room is promised; 16,384 unless told. About 670 bytes each.
    pub fn actors(mut self, capacity: usize) -> Self {
        self.sized().actors = capacity;
        self
    }

    /// Threads that count without a locked instruction; 16 unless told. Further ones share a lane.
    pub fn lanes(mut self, capacity: usize) -> Self {
        self.sized().lanes = capacity;
        self
    }

    /// Dead letters kept; 1,024 unless told. 384 bytes each.
    pub fn dead_letters(mut self, capacity: usize) -> Self {
        self.sized().dead_letters = capacity;
        self
    }

    /// Events kept per lane; 1,024 unless told. 256 bytes each, in every lane and in the one that the other threads share.
    pub fn events(mut self, capacity: usize) -> Self {
        self.sized().events = capacity;
        self
    }

    /// Different type names kept; 1,024 unless told. 256 bytes each.
    pub fn names(mut self, capacity: usize) -> Self {
        self.sized().names = capacity;
        self
    }

    /// Counters, gauges and histograms, those of the probe included; 192 unless told, of which about 120 are the
    /// application's.
    /// 256 bytes each, and 8 in every lane.
    pub fn metrics(mut self, capacity: usize) -> Self {
        self.sized().metrics = capacity;
        self
    }

    /// Associations, journals, persistence ids, shards and other things for which room is promised; 512 unless told. About
    /// 780 bytes each. Persistence ids take at most half of them; keys, streams and shards a quarter each.
    pub fn instances(mut self, capacity: usize) -> Self {
        self.sized().instances = capacity;
        self
    }

    /// Bytes for the cluster's state, and as many for the shards' allocation; 32 KiB unless told, each kept twice. A
    /// member takes about 80.
    pub fn document_bytes(mut self, bytes: usize) -> Self {
        self.sized().document_bytes = bytes;
        self
    }

    /// Histograms, one for each journal included; 16 unless told. 1,536 bytes each.
    pub fn histograms(mut self, capacity: usize) -> Self {
        self.sized().histograms = capacity;
        self
    }

    /// Journal writes kept; 128 unless told. 256 bytes each.
    pub fn journal_writes(mut self, capacity: usize) -> Self {
        self.sized().journal_writes = capacity;
        self
    }

    /// From one poll of the components that tell nothing by themselves to the next; a second unless told, 10 ms at least,
    /// and a year at most.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.min(LONGEST_POLL_INTERVAL);
        self
    }

    /// Puts the region into this file instead of a named segment: for containers that share a volume. It must be on a
    /// tmpfs. The file stays after the node's end, when it is found by its path alone: `atomscope show PATH`.
    ///
    /// Its directory is made, for this user alone, if just that one is missing. One that systemd makes
    /// (`RuntimeDirectory=`) goes with the service, and what a crash has left in it, unless
    /// `RuntimeDirectoryPreserve=yes` says otherwise.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::File { path: path.into(), allow_disk: false });
        self
    }

    /// As [`Self::file`], but the file may be on a disk, whose write-back stalls the node now and then.
    pub fn file_even_on_disk(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::File { path: path.into(), allow_disk: true });
        self
    }

    /// Keeps the region in private memory: nobody outside can read it.
    pub fn private(mut self) -> Self {
        self.place = None;
        self
    }

    /// Whether message previews that the application gives are kept; they are unless told.
    pub fn previews(mut self, keep: bool) -> Self {
        self.previews = keep;
        self
    }

    fn with(mut self, capacities: Capacities) -> Self {
        *self.sized() = capacities;
        self
    }

    fn sized(&mut self) -> &mut Capacities {
        self.is_sized = true;
        &mut self.capacities
    }

    /// Events per lane, as far as the region stays within its default size.
    #[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "for the extension"))]
    pub(crate) fn events_that_fit(mut self, wanted: usize) -> Self {
        let Capacities { events, .. } = Capacities::default();
        self.capacities.events = wanted.clamp(events, most_events(Capacities::default(), DEFAULT_BYTES));
        self
    }

    /// What a shared region gets: less than is usual where it is one of many and nobody asked for more.
    fn shared_capacities(&self) -> Capacities {
        let open = open_regions();
        if self.is_sized || open == 0 {
            return self.capacities;
        }
        let bytes = RegionMap::footprint(&self.capacities).map_or(u64::MAX, |bytes| bytes as u64);
        let fits = |room: u64| bytes <= room / SHARE_OF_ROOM;
        if open < CROWD && room().is_none_or(fits) {
            return self.capacities;
        }
        tracing::info!(node = self.node, "atomscope: a small region, since the process has {open} others");
        let events = self.capacities.events.clamp(CROWDED.events, most_events(CROWDED, CROWDED_BYTES));
        Capacities { events, ..CROWDED }
    }

    /// Makes the region and publishes it, or says why not. Nothing is left behind then.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn build(mut self) -> Result<Region, CreateError> {
        let place = self.place.clone().filter(|_| !turned_off());
        if place.is_some() {
            self.capacities = self.shared_capacities();
        }
        let map = RegionMap::for_capacities(&self.capacities)?;
        let mut core = match place {
            Some(place) => Core::shared(&self, map, &place)?,
            None => {
                Core::private(&self, map).ok_or(CreateError::NoMemory { needed: map.region_bytes as u64 })?
            }
        };
        // A file that has a name is found, and so must be closed at exit: which waits until it is on the list of what is.
        let naming = process::this().naming();
        if naming.is_some() {
            core.give_name()?;
        }
        Ok(Region::start(core))
    }

    /// Makes the region; where that is not possible warns once and goes on with a private one.
    pub fn build_or_private(self) -> Region {
        let mut fallback = self.clone().private();
        self.build().unwrap_or_else(|why| {
            process::this().tell_private(&fallback.node, &why);
            // Private memory counts against the same limit, as far as it is touched.
            let most = match why {
                CreateError::MemoryLimit { available, .. } => available / 2,
                _ => u64::MAX,
            };
            let wanted = [fallback.capacities, Capacities::default(), SMALL]
                .into_iter()
                .find(|capacities| RegionMap::footprint(capacities).is_ok_and(|bytes| bytes as u64 <= most));
            fallback.capacities = wanted.unwrap_or(SMALL);
            Region::start(Core::private_or_less(fallback))
        })
    }
}

/// What a process has room for that has room for next to nothing.
const SMALL: Capacities = Capacities {
    actors: 256,
    lanes: 4,
    dead_letters: 32,
    events: 32,
    names: 128,
    metrics: 128,
    instances: 64,
    document_bytes: 4096,
    histograms: 4,
    journal_writes: 32,
};

/// Bytes of a region that was not asked to be larger.
pub(crate) const DEFAULT_BYTES: usize = 16 << 20;

/// What a region gets that is one of many in its process and was not asked to be larger: less than [`CROWDED_BYTES`].
const CROWDED: Capacities = Capacities {
    actors: 1024,
    lanes: 8,
    dead_letters: 128,
    events: 128,
    names: 256,
    metrics: 192,
    instances: 128,
    document_bytes: 8 << 10,
    histograms: 8,
    journal_writes: 64,
};
const CROWDED_BYTES: usize = 3 << 19;

/// Events per lane at most with which a region of these other capacities takes no more than that.
pub(crate) fn most_events(capacities: Capacities, bytes: usize) -> usize {
    let free = RegionMap::footprint(&capacities).map_or(0, |taken| bytes.saturating_sub(taken));
    capacities.events + free / ((capacities.lanes + 1) * EVENT_SLOT_BYTES)
}

/// Whether it is time to look for dead regions. A process that makes many looks once a second: none of its own dies
/// meanwhile.
#[cfg(target_os = "linux")]
fn looks_for_dead() -> bool {
    const REST_NS: u64 = 1_000_000_000;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let (last, now) = (LAST.load(Ordering::Relaxed), clock::mono_ns());
    let is_time = last == 0 || now.saturating_sub(last) >= REST_NS;
    is_time && LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Whether the environment turns the probe off.
pub(crate) fn turned_off() -> bool {
    std::env::var_os("ATOMSCOPE").is_some_and(|value| value.eq_ignore_ascii_case("off"))
}

/// Says something to the operator: through `tracing` where the program listens to it, else on stderr.
pub(crate) fn warn(what: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("atomscope: {what}");
    } else {
        // Where nobody reads it there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "atomscope: {what}");
    }
}

impl Region {
    /// A region for the node of this name.
    pub fn builder(node: impl Into<String>) -> RegionBuilder {
        RegionBuilder {
            node: node.into(),
            capacities: Capacities::default(),
            is_sized: false,
            place: Some(Place::Named),
            previews: true,
            poll_interval: POLL_INTERVAL,
        }
    }

    /// A region of its own for what is made on a bare bus: private, touched only where it is used, without beats.
    pub(crate) fn bare(capacities: Capacities) -> Self {
        let builder = Self::builder("").private().with(capacities);
        Self::of(Arc::new(Core::private_or_less(builder)))
    }

    fn of(core: Arc<Core>) -> Self {
        Self { closer: Some(Arc::new(Closer(core.clone()))), core }
    }

    fn start(core: Core) -> Self {
        let region = Self::of(Arc::new(core));
        let core = &region.core;
        if !turned_off() {
            process::this().open(core);
        }
        core.header().publish();
        if !turned_off() {
            core.sample();
        }
        region
    }

    /// The same region for something that must not hold it open: what a thread of the probe works with, or a wrapper that
    /// a component keeps.
    #[allow(dead_code, reason = "what is attached depends on the features")]
    pub(crate) fn not_held(&self) -> Self {
        Self { core: self.core.clone(), closer: None }
    }

    /// Where the region can be found, or `None` if it is private.
    pub fn path(&self) -> Option<&Path> {
        self.core.file()
    }

    /// Bytes that the region takes.
    pub fn bytes(&self) -> usize {
        self.core.map.region_bytes
    }

    /// Names the system that runs in the node, and goes on from *starting*; false if that was done before, and changes
    /// nothing then. [`crate::TelemetryExtension`] does it when it is installed.
    pub fn running(&self, system: &str) -> bool {
        let first = self.core.system_named.set(()).is_ok();
        if first {
            self.core.header().set_system(system);
            self.core.header().set_state(State::Running);
        }
        first
    }

    /// Says that the node is about to stop.
    pub fn stopping(&self) {
        self.core.header().set_state(State::Stopping);
    }

    /// Closes the region in good order: it is marked as closed, a named segment's name is taken away, and the lock is let
    /// go of, so that the next region may have the same file. All this is done when the call returns, also where another
    /// thread has begun it, which is waited for (a second at most). What is recorded after that is lost. Happens by itself
    /// when the last handle is dropped and at the process's exit.
    pub fn close(&self) {
        self.core.close();
    }

    /// Registers a counter, or finds the one of that name. Takes a lock; not for hot paths. Where there is no room
    /// for another metric, or the name is taken otherwise, the counter counts nothing, and a warning says so.
    pub fn counter(&self, name: &str, unit: &str, help: &str) -> Counter {
        Counter { metric: self.core.register(name, unit, Kind::Counter, help), region: self.clone() }
    }

    /// Registers a histogram, or finds the one of that name; as [`Region::counter`].
    ///
    /// ```
    /// use atomscope_probe::Region;
    ///
    /// let region = Region::builder("docs").actors(100).private().build()?;
    /// let sizes = region.histogram("orders.size", "items", "Items in an order");
    /// sizes.record(3);
    /// # Ok::<(), atomscope_probe::CreateError>(())
    /// ```
    pub fn histogram(&self, name: &str, unit: &str, help: &str) -> Histogram {
        Histogram { slot: self.core.register_histogram(name, unit, help), region: self.clone() }
    }

    /// Registers a gauge, or finds the one of that name; as [`Region::counter`].
    pub fn gauge(&self, name: &str, unit: &str, help: &str) -> Gauge {
        Gauge { metric: self.core.register(name, unit, Kind::Gauge, help), region: self.clone() }
    }
}

/// A number that only grows. Holds the region open.
#[derive(Debug, Clone)]
pub struct Counter {
    region: Region,
    metric: Option<usize>,
}

impl Counter {
    /// Adds `n`: a load and a store on a thread that counts often, a locked add on others; no lock, no allocation, no
    /// system call. `cargo run --release -p atomscope-benches` measures it.
    #[inline]
    pub fn add(&self, n: u64) {
        if let Some(metric) = self.metric {
            self.region.core.add(metric, n);
        }
    }
}

/// A number that goes both ways. Holds the region open.
#[derive(Debug, Clone)]
pub struct Gauge {
    region: Region,
    metric: Option<usize>,
}

impl Gauge {
    /// Sets it. One store.
    #[inline]
    pub fn set(&self, value: u64) {
        if let Some(metric) = self.metric {
            self.region.core.lanes().set(metric, value);
        }
    }
}

/// How often a number was how big: buckets at most a quarter apart. Holds the region open.
#[derive(Debug, Clone)]
pub struct Histogram {
    region: Region,
    slot: u64,
}

impl Histogram {
    /// Counts `value`: four locked adds; no lock, no allocation, no system call.
    #[inline]
    pub fn record(&self, value: u64) {
        self.region.core.record_histogram(self.slot, value);
    }
}

/// What is behind a region's handles.
#[derive(Debug)]
pub(crate) struct Core {
    memory: WriterMemory,
    map: RegionMap,
    /// The words of the map's counters: they are asked for most.
    counters: Range<usize>,
    #[cfg(target_os = "linux")]
    object: Option<region_file::Object>,
    clock: Clock,
    first_sighting: ClockRecord,
    sightings: Mutex<Sightings>,
    pub(crate) hasher: PathHasher,
    pub(crate) previews: bool,
    name_keys: Vec<AtomicU64>,
    spill_used: AtomicU64,
    /// Of the table of instances, which spills nothing.
    no_spill: AtomicU64,
    pins: Vec<AtomicU64>,
    pub(crate) census: Census,
    pub(crate) documents: Mutex<()>,
    histograms: AtomicUsize,
    pub(crate) poller: Poller,
    metrics: Mutex<Vec<(String, Kind)>>,
    settler: Mutex<Settler>,
    #[cfg(feature = "atomr")]
    pub(crate) hooks: Hooks,
    system_named: OnceLock<()>,
    /// Beats until now, as far as [`Core::touch_later`] needs to know.
    young: AtomicUsize,
    pid: u32,
    /// The thread that closes the region; 0 before.
    closer: AtomicUsize,
    /// Whether it is done.
    is_closed: AtomicBool,
    #[cfg(feature = "atomr")]
    pub(crate) wake_runtime: Arc<tokio::sync::Notify>,
}

/// Where the sampler is in its rounds.
#[derive(Debug, Default)]
struct Settler {
    round: u64,
    began_mono_ns: u64,
    /// Since which round each spilled stop waits; the others say it themselves.
    spilled_since: HashMap<u64, u64>,
    /// The first whole round of the hooks, or of what they wait for next; 0 before they are installed.
    #[cfg(feature = "atomr")]
    hooks_since: u64,
}

/// What a call of [`Core::settle`] is in the course of the rounds.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// The number of the round that goes on from here.
    round: u64,
    /// The first round of which something that is seen now can see beginning and end.
    next_whole: u64,
    /// The round that ends here, if nothing stood still in it.
    ended: Option<u64>,
}

impl Turn {
    /// Whether what was there since the beginning of round `first` has lived through a whole one.
    fn outlives(self, first: u64) -> bool {
        self.ended.is_some_and(|ended| first <= ended)
    }
}

impl Settler {
    /// Who calls without a rhythm has no round that is too long.
    fn turn(&mut self, mono_ns: u64, in_rhythm: bool) -> Turn {
        let lasted = Duration::from_nanos(mono_ns.saturating_sub(self.began_mono_ns));
        let (ended, ends) = (self.round, lasted >= LEAST_ROUND);
        if ends {
            (self.round, self.began_mono_ns) = (ended + 1, mono_ns);
        }
        let is_whole = ends && (!in_rhythm || lasted <= LONGEST_ROUND);
        Turn {
            round: self.round,
            next_whole: self.round + u64::from(!ends),
            ended: is_whole.then_some(ended),
        }
    }
}

/// How sure it is which spawns the installed hooks were told of. A spawn of an actor that is older than the hooks may be
/// told just as they are installed, and is late by microseconds; so it is sure after a whole round of the sampler.
#[cfg(feature = "atomr")]
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// Whether there are any.
    pub(crate) are_installed: AtomicBool,
    /// The number of a task that was made just after they were installed; 0 where that is not known, and the greatest one
    /// while they are being installed.
    pub(crate) first_task: AtomicU64,
    /// Ticks after which no spawn of an older actor is told; 0 before that.
    pub(crate) sure_from: AtomicU64,
    /// Whether that is a whole round ago.
    pub(crate) are_settled: AtomicBool,
    /// The number of a task that was made just before they were installed.
    pub(crate) last_before: AtomicU64,
    /// The number of the task of the older actor that stopped last.
    pub(crate) last_older: AtomicU64,
}

impl Core {
    fn private(builder: &RegionBuilder, map: RegionMap) -> Option<Self> {
        let core = Self::over(WriterMemory::private(map.region_bytes)?, builder, map);
        core.header().publish();
        Some(core)
    }

    /// A private region of these capacities; where there is no memory for that a small one, and where there is none at
    /// all one that forgets everything.
    fn private_or_less(mut builder: RegionBuilder) -> Self {
        let map = RegionMap::for_capacities(&builder.capacities).ok();
        if let Some(core) = map.and_then(|map| Self::private(&builder, map)) {
            return core;
        }
        builder.capacities = SMALL;
        let map = RegionMap::for_capacities(&SMALL).unwrap_or_default();
        Self::private(&builder, map).unwrap_or_else(|| Self::over(WriterMemory::none(), &builder, map))
    }

    /// A shared region that nobody takes for one before its header is published.
    #[cfg(target_os = "linux")]
    fn shared(builder: &RegionBuilder, map: RegionMap, place: &Place) -> Result<Self, CreateError> {
        if looks_for_dead() {
            region_file::remove_old_dead(&builder.node);
        }
        let (memory, object) = region_file::create(place, map.region_bytes)?;
        let mut core = Self::over(memory, builder, map);
        core.object = Some(object);
        Ok(core)
    }

    /// Gives a user's file its name, complete: whoever is killed before that leaves nothing.
    #[cfg(target_os = "linux")]
    fn give_name(&mut self) -> Result<(), CreateError> {
        let Some(mut object) = self.object.take() else { return Ok(()) };
        if !object.named {
            self.header().publish();
        }
        if let Some(memory) = object.publish(self.map.region_bytes)? {
            self.memory = memory;
        }
        self.object = Some(object);
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn give_name(&mut self) -> Result<(), CreateError> {
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn shared(_: &RegionBuilder, _: RegionMap, _: &Place) -> Result<Self, CreateError> {
        Err(CreateError::Unsupported)
    }

    fn over(memory: WriterMemory, builder: &RegionBuilder, map: RegionMap) -> Self {
        let (clock, first_sighting) = Clock::of_process();
        let now = clock.read();
        let time = clock::time_record(&now);
        let program = std::env::current_exe().unwrap_or_default();
        let record = HeaderRecord {
            region_bytes: 0,
            header_bytes: 0,
            sections: 0,
            pid: u64::from(std::process::id()),
            uid: own_uid(),
            process_start_ticks: process_start_ticks("self").unwrap_or(0),
            boot_id: boot_id().unwrap_or_default(),
            pid_namespace: pid_namespace().unwrap_or(0),
            created_unix_ns: now.unix_ns,
            actor_capacity: builder.capacities.actors as u64,
            flags: u64::from(builder.previews),
            builtins: 0,
            reserved: 0,
        };
        let writer = concat!("atomscope-probe ", env!("CARGO_PKG_VERSION"));
        let sightings = Sightings::first(&now, rate(&first_sighting));
        let log = memory.words().get(map.sightings.range()).unwrap_or_default();
        Log::new(log).rewrite(sightings.all());
        let header = HeaderWriter::new(memory.words());
        header.set_time(time);
        header.prepare(&map, record, first_sighting, [&builder.node, &program.to_string_lossy(), writer]);
        Self {
            memory,
            map,
            counters: map.counters.range(),
            #[cfg(target_os = "linux")]
            object: None,
            clock,
            first_sighting,
            sightings: Mutex::new(sightings),
            hasher: PathHasher::new(),
            previews: builder.previews,
            name_keys: std::iter::repeat_with(|| AtomicU64::new(0)).take(map.names.count).collect(),
            spill_used: AtomicU64::new(0),
            no_spill: AtomicU64::new(0),
            pins: std::iter::repeat_with(|| AtomicU64::new(0)).take(map.instance_slots.count).collect(),
            census: Census::default(),
            documents: Mutex::default(),
            histograms: AtomicUsize::new(0),
            poller: Poller::new(builder.poll_interval),
            metrics: Mutex::new(
                BUILTIN.iter().map(|(name, _, kind, _)| ((*name).to_owned(), *kind)).collect(),
            ),
            settler: Mutex::new(Settler::default()),
            #[cfg(feature = "atomr")]
            hooks: Hooks::default(),
            system_named: OnceLock::new(),
            young: AtomicUsize::new(0),
            pid: std::process::id(),
            closer: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            #[cfg(feature = "atomr")]
            wake_runtime: Arc::default(),
        }
    }

    fn file(&self) -> Option<&Path> {
        #[cfg(target_os = "linux")]
        return self.object.as_ref().map(|object| object.path.as_path());
        #[cfg(not(target_os = "linux"))]
        None
    }

    #[cfg(feature = "atomr")]
    /// Whether nobody outside the process can see the region.
    pub(crate) fn is_private(&self) -> bool {
        self.file().is_none()
    }

    pub(crate) fn header(&self) -> HeaderWriter<'_> {
        HeaderWriter::new(self.memory.words())
    }

    /// Notes that `attachment` was made: before it counts anything, or of what is polled once it was asked. A load where
    /// that is known.
    #[inline]
    pub(crate) fn attached(&self, attachment: Attachment) {
        self.header().attach(attachment);
    }

    pub(crate) fn map(&self) -> &RegionMap {
        &self.map
    }

    #[inline]
    pub(crate) fn section(&self, section: Section) -> &[AtomicU64] {
        self.memory.words().get(section.range()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn lanes(&self) -> Lanes<'_> {
        let words = self.memory.words().get(self.counters.clone()).unwrap_or_default();
        Lanes::new(words, self.map.counters.stride)
    }

    /// Adds `n` to a built-in counter that is subtracted from another one, of which this thread has seen what it ends.
    #[inline]
    pub(crate) fn count_end(&self, metric: Builtin, n: u64) {
        lanes::before_end();
        self.count(metric, n);
    }

    /// Adds `n` to a built-in counter.
    #[inline]
    pub(crate) fn count(&self, metric: Builtin, n: u64) {
        self.add(metric as usize, n);
    }

    #[inline]
    fn add(&self, metric: usize, n: u64) {
        let Section { start, count, stride } = self.map.counters;
        debug_assert!(metric < stride);
        // A thread without a lane has one beyond all of them, and none that is held is the one that all share.
        let lane = lane::held_or_beyond();
        let word = self.memory.words().get(start + lane * stride + metric);
        match word {
            Some(word) if lane < count => lanes::add_to_own(word, n),
            _ => self.add_without_lane(metric, n),
        }
    }

    /// What is left of an addition, and of a thread's first steps, in one call that needs nothing of the caller's.
    #[cold]
    #[inline(never)]
    fn add_without_lane(&self, metric: usize, n: u64) {
        self.lanes().add(lane::current(), metric, n);
    }

    #[inline]
    pub(crate) fn table(&self) -> Table<'_> {
        Table::new(
            self.section(self.map.actor_control),
            self.section(self.map.actor_slots),
            ACTOR_WORDS,
            self.section(self.map.actor_spill),
            &self.spill_used,
        )
    }

    /// Associations, journals, shards and so on.
    pub(crate) fn instances(&self) -> Instances<'_> {
        let (control, slots) =
            (self.section(self.map.instance_control), self.section(self.map.instance_slots));
        Instances::new(
            Table::new(control, slots, self.map.instance_slots.stride, &[], &self.no_spill),
            &self.pins,
        )
    }

    /// How many instances there is room for.
    pub(crate) fn instance_room(&self) -> usize {
        self.map.instance_slots.count / 2
    }

    pub(crate) fn dead_letters(&self) -> Ring<'_> {
        Ring::new(self.section(self.map.dead_letters), DEAD_LETTER_SLOT_BYTES / WORD)
    }

    pub(crate) fn dead_letter_capacity(&self) -> usize {
        self.map.dead_letters.count - 1
    }

    /// Writes an event into the calling thread's lane.
    pub(crate) fn publish(&self, record: &EventRecord) {
        self.publish_with(|room| store(room, record.words()));
    }

    /// The same; `write` stores the record's words.
    #[inline]
    pub(crate) fn publish_with(&self, write: impl FnOnce(&[AtomicU64])) {
        match lane::held() {
            Some(lane) if (lane as usize) < self.map.events.count => {
                self.event_lane(lane as usize).push_with(write);
            }
            _ => self.publish_without_lane(write),
        }
    }

    #[cold]
    fn publish_without_lane(&self, write: impl FnOnce(&[AtomicU64])) {
        self.publish_in(self.own_event_lane(), write);
    }

    /// The event lane that the calling thread may write to, now and until its end. (It may get one of its own later.)
    pub(crate) fn own_event_lane(&self) -> u32 {
        match lane::current() {
            lane if (lane as usize) < self.map.events.count => lane,
            _ => OVERFLOW,
        }
    }

    /// Writes an event, or a part of one, into such a lane. All parts of an event go into one.
    pub(crate) fn publish_in(&self, lane: u32, write: impl FnOnce(&[AtomicU64])) {
        let ring = self.event_lane(lane as usize);
        if lane != OVERFLOW {
            return ring.push_with(write);
        }
        if ring.write_with(ring.ticket(), write) == Written::Abandoned {
            self.count(Builtin::EventsAbandoned, 1);
        }
    }

    #[inline]
    pub(crate) fn event_lane(&self, lane: usize) -> Ring<'_> {
        let events = self.map.events;
        let start = events.start + lane * events.stride;
        let words = self.memory.words().get(start..start + events.stride).unwrap_or_default();
        Ring::new(words, EVENT_SLOT_BYTES / WORD)
    }

    pub(crate) fn count_cut_text(&self) {
        self.count(Builtin::TextsCut, 1);
    }

    /// A stamp for something that happens now, and after `cause`.
    #[inline]
    pub(crate) fn stamp(&self, cause: u64) -> u64 {
        self.stamp_at(self.ticks(), cause)
    }

    /// The clock, for a stamp that is given in a moment. A hook asks it first: reading it takes long, and then goes on
    /// beside what follows, where after a swap of the table's everything would wait for it.
    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        self.clock.ticks()
    }

    /// A stamp for something that happened at `ticks` or since, and after `cause`.
    #[inline]
    pub(crate) fn stamp_at(&self, ticks: u64, cause: u64) -> u64 {
        lane::stamp(ticks, cause)
    }

    #[cfg(feature = "persistence")]
    /// The time since a count of [`Core::ticks`] was taken. As fine as the clock of the hot paths.
    pub(crate) fn elapsed_ns(&self, since_ticks: u64) -> u64 {
        let ns_per_tick = rate(&self.first_sighting) as f64 / SightingRecord::RATE_ONE as f64;
        (self.clock.ticks().saturating_sub(since_ticks) as f64 * ns_per_tick) as u64
    }

    #[cfg(feature = "atomr")]
    /// Sets a built-in gauge.
    pub(crate) fn set(&self, metric: Builtin, value: u64) {
        self.lanes().set(metric as usize, value);
    }

    /// Publishes an event of these numbers and texts, without making it up first.
    pub(crate) fn tell(&self, kind: EventKind, numbers: [u64; 2], texts: &[&str]) {
        let (record, cut) = EventRecord::with_texts(kind, self.stamp(0), numbers, texts);
        self.publish(&record);
        if cut {
            self.count_cut_text();
        }
    }

    fn interner(&self) -> Interner<'_> {
        Interner { keys: &self.name_keys, cells: self.section(self.map.names) }
    }

    #[cfg(feature = "atomr")]
    /// The number of a name that lives as long as the program, or 0 where there is no room for it. Of a type it is that
    /// without the probe's wrappers.
    #[inline]
    pub(crate) fn intern_static(&self, name: &'static str) -> u32 {
        match atomscope_layout::names::known_static(&self.name_keys, name) {
            Some(id) => id,
            None => self.intern_new(name),
        }
    }

    #[cfg(feature = "atomr")]
    #[cold]
    fn intern_new(&self, name: &'static str) -> u32 {
        let write = |cell: &[AtomicU64]| write_cell(cell, TypeName::of(name).as_str());
        self.interned(self.interner().intern_static_as(name, write))
    }

    /// The number of any name, or 0 where there is no room for it.
    pub(crate) fn intern(&self, name: &str) -> u32 {
        self.interned(self.interner().intern_hashed(self.hasher.hash(name), name))
    }

    fn interned(&self, interned: Interned) -> u32 {
        match interned {
            Interned::Known(id) => id,
            Interned::New { id, cut } => {
                self.count(Builtin::TextsCut, u64::from(cut));
                id
            }
            Interned::Full => {
                self.count(Builtin::NamesFull, 1);
                0
            }
        }
    }

    fn register(&self, name: &str, unit: &str, kind: Kind, help: &str) -> Option<usize> {
        let registered = self.try_register(name, unit, kind, help);
        // With no lock held: whoever listens to warnings may count them here.
        registered.map_err(|why| warn(&format!("metric `{name}` counts nothing: {why}"))).ok()
    }

    fn try_register(&self, name: &str, unit: &str, kind: Kind, help: &str) -> Result<usize, String> {
        let mut known = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.iter().position(|(known, _)| known == name) {
            return match known.get(number) {
                _ if number < BUILTIN.len() => Err("that name is one of the probe's own".into()),
                Some((_, registered)) if *registered != kind => {
                    Err(format!("it is registered as a {registered:?} already").to_lowercase())
                }
                _ => Ok(number),
            };
        }
        let number = known.len();
        let start = number * self.map.metrics.stride;
        let slot = self.section(self.map.metrics).get(start..start + self.map.metrics.stride);
        let slot = slot.ok_or_else(|| format!("the region has {number}; raise `metrics` in the builder"))?;
        metrics::describe(slot, name, unit, kind, help);
        known.push((name.to_owned(), kind));
        Ok(number)
    }

    /// 1 + the number of the slot of the histogram of this name, which is registered if there is none; 0 where there is
    /// no room. Takes a lock.
    pub(crate) fn register_histogram(&self, name: &str, unit: &str, help: &str) -> u64 {
        let Some(metric) = self.register(name, unit, Kind::Histogram, help) else { return 0 };
        let Some(word) = self.section(self.map.counters).get(metric) else { return 0 };
        let one_at_a_time = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let held = word.load(Ordering::Relaxed);
        if held != 0 {
            return held;
        }
        let slot = self.histograms.load(Ordering::Relaxed);
        if slot < self.map.histograms.count {
            self.histograms.store(slot + 1, Ordering::Relaxed);
            word.store(slot as u64 + 1, Ordering::Relaxed);
            return slot as u64 + 1;
        }
        drop(one_at_a_time);
        warn(&format!("histogram `{name}` counts nothing: the region has {slot}; raise `histograms`"));
        0
    }

    /// What the region holds, read in-process. Fails only in a forked child, which has none.
    pub(crate) fn reader(&self) -> Option<RegionReader<'_>> {
        RegionReader::open(self.memory.reader()).ok()
    }

    /// One round of the sampler: beat, clock, settling. Its own cost is counted.
    pub(crate) fn sample(&self) {
        let start = clock::mono_ns();
        self.header().process_beat(start);
        self.wake_runtime();
        self.header().set_clock(self.clock.sight(self.first_sighting));
        self.sight();
        self.settle(true, |event| self.publish(event));
        self.count(Builtin::SamplerRounds, 1);
        self.count(Builtin::SamplerTime, clock::mono_ns().wrapping_sub(start));
    }

    /// Brings every page of a shared region into the process's page table, so that no later store faults. At the second beat:
    /// it takes some milliseconds, which a system that lives no longer than a test need not pay. Page by page, since the
    /// host's threads may want the table too.
    pub(crate) fn touch_later(&self) {
        const PAGE: usize = 4096;
        if self.file().is_none() || self.young.load(Ordering::Relaxed) > 1 {
            return;
        }
        if self.young.fetch_add(1, Ordering::Relaxed) == 1 {
            for word in self.memory.words().iter().step_by(PAGE / WORD) {
                // Changes nothing, whoever else writes.
                word.fetch_add(0, Ordering::Relaxed);
            }
        }
    }

    /// Adds a sighting of the clock to the log, if the last one has become wrong. One thread at a time.
    pub(crate) fn sight(&self) {
        let mut sightings = match self.sightings.try_lock() {
            Ok(sightings) => sightings,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let log = Log::new(self.section(self.map.sightings));
        let now = self.clock.read();
        if !sightings.wants_another(&now, log.capacity()) {
            return;
        }
        let used = sightings.all().len();
        if used > log.capacity() / 2 {
            let reader = self.reader();
            if sightings.thin(&now, |see| reader.iter().for_each(|reader| reader.each_stamp(&mut *see))) {
                log.rewrite(sightings.all());
            }
        }
        let used = sightings.all().len();
        // Once readers know that there will be one: what they are told until then is told by the last one.
        if log.append(used, || sightings.next(&self.clock.read())).is_none() {
            self.count(Builtin::ClockUnlisted, 1);
        }
    }

    #[cfg(feature = "atomr")]
    fn wake_runtime(&self) {
        self.wake_runtime.notify_one();
    }

    #[cfg(not(feature = "atomr"))]
    fn wake_runtime(&self) {}

    /// Brings stops that came before their spawns together with them, and gives up those that waited long enough.
    /// Only the sampler's rounds let them grow older; where there is no sampler, a call is a round, unless it follows
    /// another at once. `publish` is given the stops that are told only now.
    pub(crate) fn settle(&self, in_rhythm: bool, mut publish: impl FnMut(&EventRecord)) {
        let mut settler = match self.settler.try_lock() {
            Ok(settler) => settler,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let turn = settler.turn(clock::mono_ns(), in_rhythm);
        self.settle_hooks(&mut settler, turn);
        let Some(reader) = self.reader() else { return };
        let done = reader.builtin(Builtin::EarlyStopsDone);
        if reader.builtin(Builtin::EarlyStops) == done {
            settler.spilled_since.clear();
            return;
        }
        let since = &mut settler.spilled_since;
        let (mut seen, mut told, mut doubtful) = (HashMap::with_capacity(since.len()), 0, 0);
        let settled = self.header().settling(|| {
            let expire = |stop: &mut WaitingStop| {
                if stop.is_spilled {
                    stop.first_round = since.get(&stop.fingerprint).copied().unwrap_or(0);
                }
                if stop.first_round == 0 {
                    stop.first_round = turn.next_whole;
                }
                if stop.origin == StopOrigin::Unknown && turn.outlives(stop.first_round) {
                    stop.origin = StopOrigin::Outlived;
                }
                let expires = match stop.origin {
                    StopOrigin::Older => turn.outlives(stop.first_round),
                    _ => turn.round.saturating_sub(stop.first_round) >= STOP_WAITS_ROUNDS,
                };
                if stop.is_spilled && !expires {
                    seen.insert(stop.fingerprint, stop.first_round);
                }
                // A stop that is given up without having met a spawn may yet have one, unless it is known to be older.
                let is_doubtful = match stop.origin {
                    StopOrigin::Older => stop.has_other_spawn,
                    _ => expires && !stop.has_other_spawn,
                };
                doubtful += u64::from(is_doubtful);
                expires
            };
            // Whoever brings a stop together with its spawn tells of it.
            self.table().settle_with(expire, |slot| {
                told += 1;
                let mut words = [0; ACTOR_WORDS];
                Words::new(slot).copy_to(&mut words);
                let spawned: ActorRecord = zerocopy::transmute!(words);
                publish(&stop_event(&spawned, self.stamp(spawned.spawned)));
            })
        });
        *since = seen;
        self.count(Builtin::EarlyStopsDone, settled.pairs + settled.expired);
        // A stop that never met its spawn: either the spawn had found no room, or it was before the probe's time.
        let totals = reader.actor_totals();
        let untracked = settled.expired.min(totals.untracked);
        self.count(Builtin::StopsUnpublished, settled.pairs.saturating_sub(told) + settled.expired);
        self.count_end(Builtin::UntrackedMatched, untracked);
        self.count(Builtin::Foreign, settled.expired - untracked);
        self.count(Builtin::DoubtfulStops, doubtful.saturating_sub(untracked));
    }

    #[cfg(feature = "atomr")]
    fn settle_hooks(&self, settler: &mut Settler, turn: Turn) {
        let Hooks { are_installed, sure_from, are_settled, .. } = &self.hooks;
        if !are_installed.load(Ordering::Relaxed) || are_settled.load(Ordering::Relaxed) {
            return;
        }
        if settler.hooks_since != 0 && turn.outlives(settler.hooks_since) {
            if sure_from.load(Ordering::Relaxed) == 0 {
                sure_from.store(self.ticks().max(1), Ordering::Relaxed);
                settler.hooks_since = turn.next_whole;
            } else {
                are_settled.store(true, Ordering::Relaxed);
            }
        } else if settler.hooks_since == 0 {
            settler.hooks_since = turn.next_whole;
        }
    }

    #[cfg(not(feature = "atomr"))]
    fn settle_hooks(&self, _: &mut Settler, _: Turn) {}
}

thread_local! {
    /// Its address tells this thread from the others, also while the thread ends.
    static HERE: u8 = const { 0 };
}

fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Core {
    /// Whether this is the process that made the region, and no fork of it.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Whether the region is closed, or is so in a moment.
    pub(crate) fn is_closing(&self) -> bool {
        self.closer.load(Ordering::Relaxed) != 0
    }

    /// Closes the region; returns when it is closed.
    pub(crate) fn close(&self) {
        self.begin_to_close();
        self.await_close(Instant::now() + CLOSING_TAKES);
    }

    /// Closes the region unless another thread does.
    pub(crate) fn begin_to_close(&self) {
        // In a forked child the region is its parent's, and locks that another thread held at the fork stay held: those of
        // the runtime's wakers too.
        if !self.is_of_this_process() {
            return;
        }
        let (none, this) = (0, this_thread());
        if self.closer.compare_exchange(none, this, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.header().set_state(State::Closed);
        #[cfg(target_os = "linux")]
        if let Some(object) = &self.object {
            object.close();
        }
        self.is_closed.store(true, Ordering::Release);
        // What follows may call and wait for others.
        process::this().forget(self);
        self.wake_runtime();
    }

    /// Waits until the region is closed by whoever does it. Without a lock: the thread that closes may be the one that waits,
    /// in a signal handler.
    pub(crate) fn await_close(&self, until: Instant) {
        while !self.is_closed.load(Ordering::Acquire)
            && self.is_of_this_process()
            && self.closer.load(Ordering::Relaxed) != this_thread()
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

/// The last handle's drop closes the region.
#[derive(Debug)]
struct Closer(Arc<Core>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(not(target_os = "linux"))]
fn open_regions() -> usize {
    0
}

#[cfg(not(target_os = "linux"))]
fn room() -> Option<u64> {
    None
}

/// What a tick lasts by two sightings: nanoseconds times 2⁴⁰. Without any two a tick is a nanosecond.
fn rate(record: &ClockRecord) -> u64 {
    let ns = record.last_mono_ns.saturating_sub(record.first_mono_ns);
    match (ns, record.last_ticks.saturating_sub(record.first_ticks)) {
        (0, _) | (_, 0) => SightingRecord::RATE_ONE,
        (ns, ticks) => (u128::from(ns) * u128::from(SightingRecord::RATE_ONE) / u128::from(ticks)) as u64,
    }
}

#[cfg(target_os = "linux")]
fn own_uid() -> u64 {
    u64::from(region_file::effective_uid())
}

#[cfg(not(target_os = "linux"))]
fn own_uid() -> u64 {
    0
}

/// Field 22 of `/proc/PID/stat`; the second field is in parentheses and may hold anything.
pub(crate) fn process_start_ticks(pid: &str) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The 16 bytes of the boot id's UUID, in the order of its text.
pub(crate) fn boot_id() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0u8; 16];
    for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *to = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let (first, second) = bytes.split_at(8);
    Some([u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(second.try_into().ok()?)])
}

pub(crate) fn pid_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tracing::span;

    use super::*;

    /// Listens to warnings, and looks whether it could register a metric meanwhile.
    struct Listening(Region, Arc<Mutex<Vec<bool>>>);

    impl tracing::Subscriber for Listening {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.1.lock().unwrap().push(self.0.core.metrics.try_lock().is_ok());
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn the_small_region_leaves_room_for_what_is_asked_and_the_default_one_is_no_larger_than_told() {
        for (capacities, bytes) in [(CROWDED, CROWDED_BYTES), (Capacities::default(), DEFAULT_BYTES)] {
            let most = Capacities { events: most_events(capacities, bytes), ..capacities };
            assert!(
                most.events > capacities.events && RegionMap::footprint(&most).unwrap() <= bytes,
                "{most:?}"
            );
        }
    }

    #[test]
    fn what_waits_outlives_no_round_in_which_the_process_stood_still() {
        let mut settler = Settler::default();
        let mut turn = |beats: u64| settler.turn(BEAT.as_nanos() as u64 * beats, true);
        let first = turn(1).next_whole;
        assert!(!turn(11).outlives(first));
        assert!(turn(12).outlives(first));
    }

    #[test]
    fn the_longest_interval_of_polls_can_be_waited_for() {
        let interval = Region::builder("slow").poll_interval(Duration::MAX).poll_interval;
        assert!(std::time::Instant::now().checked_add(interval).is_some());
    }

    #[test]
    fn whoever_listens_to_warnings_may_count_them_in_the_region() {
        let region = Region::builder("full").private().histograms(1).build().unwrap();
        let heard = Arc::<Mutex<Vec<bool>>>::default();
        tracing::subscriber::with_default(Listening(region.clone(), heard.clone()), || {
            for name in ["first", "second", "second"] {
                region.histogram(name, "items", "");
            }
            region.counter("first", "items", "");
        });
        assert_eq!(*heard.lock().unwrap(), [true; 3]);
    }
}
