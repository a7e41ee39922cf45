//! A region and its life: made, published, beaten, settled, closed.
//!
//! [`Region`] is the handle that a program holds; all handles together keep the region alive, and the last one's drop
//! closes it. [`Core`] is what the hot paths, the sampler and the beats work on; it never closes anything.
//!
//! ```text
//!   RegionBuilder ──► Core (memory, map, clock, names) ◄── sampler thread, runtime beat: until `stop`
//!                      ▲
//!                   Closer (closes once) ◄── Region, Region, … (registry, feed, extension)
//! ```

use std::collections::HashMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError, Weak};
use std::time::Duration;

use atomscope_layout::decode::RegionReader;
use atomscope_layout::event::{EVENT_SLOT_BYTES, EventKind, EventRecord};
use atomscope_layout::instances::Instances;
use atomscope_layout::lanes::{self, Lanes, OVERFLOW};
use atomscope_layout::metrics::{self, BUILTIN, Builtin, Kind};
use atomscope_layout::names::{Interned, Interner};
use atomscope_layout::records::{ACTOR_WORDS, ActorRecord, ClockRecord};
use atomscope_layout::region::{HeaderRecord, HeaderWriter, Section, State};
use atomscope_layout::ring::{DEAD_LETTER_SLOT_BYTES, Ring, Written};
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::{Table, WaitingStop, Whose};
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
#[cfg(target_os = "linux")]
use crate::region_file;
use crate::sampler::{BEAT, Sampler};

/// Sampler rounds for which a stop waits for its spawn before it is given up: ten seconds. A spawn hook is late by
/// microseconds; counted in rounds, a process that was stopped meanwhile loses nothing.
const STOP_WAITS_ROUNDS: u64 = 40;
/// A round that is shorter is a part of the next one.
const LEAST_ROUND: Duration = Duration::from_millis(BEAT.as_millis() as u64 / 2);
/// In a round of the sampler's that takes longer the process, or the sampler alone, stood still.
const LONGEST_ROUND: Duration = Duration::from_millis(BEAT.as_millis() as u64 * 3 / 2);

/// A region of this process, and the way to count in it.
///
/// Cloning is cheap; the last clone's drop closes the region.
#[derive(Debug, Clone)]
pub struct Region {
    pub(crate) core: Arc<Core>,
    closer: Arc<Closer>,
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
        self.capacities.actors = capacity;
        self
    }

    /// Threads that count without a locked instruction; 16 unless told. Further ones share a lane.
    pub fn lanes(mut self, capacity: usize) -> Self {
        self.capacities.lanes = capacity;
        self
    }

    /// Dead letters kept; 1,024 unless told. 384 bytes each.
    pub fn dead_letters(mut self, capacity: usize) -> Self {
        self.capacities.dead_letters = capacity;
        self
    }

    /// Events kept per lane; 1,024 unless told. 256 bytes each, in every lane and in the one that the other threads share.
    pub fn events(mut self, capacity: usize) -> Self {
        self.capacities.events = capacity;
        self
    }

    /// Different type names kept; 1,024 unless told. 256 bytes each.
    pub fn names(mut self, capacity: usize) -> Self {
        self.capacities.names = capacity;
        self
    }

    /// Counters, gauges and histograms, those of the probe included; 192 unless told, of which about 120 are the
    /// application's.
    /// 256 bytes each, and 8 in every lane.
    pub fn metrics(mut self, capacity: usize) -> Self {
        self.capacities.metrics = capacity;
        self
    }

    /// Associations, journals, persistence ids, shards and other things for which room is promised; 512 unless told. About
    /// 780 bytes each. Persistence ids take at most half of them; keys, streams and shards a quarter each.
    pub fn instances(mut self, capacity: usize) -> Self {
        self.capacities.instances = capacity;
        self
    }

    /// Bytes for the cluster's state, and as many for the shards' allocation; 32 KiB unless told, each kept twice. A
    /// member takes about 80.
    pub fn document_bytes(mut self, bytes: usize) -> Self {
        self.capacities.document_bytes = bytes;
        self
    }

    /// Histograms, one for each journal included; 16 unless told. 1,536 bytes each.
    pub fn histograms(mut self, capacity: usize) -> Self {
        self.capacities.histograms = capacity;
        self
    }

    /// Journal writes kept; 128 unless told. 256 bytes each.
    pub fn journal_writes(mut self, capacity: usize) -> Self {
        self.capacities.journal_writes = capacity;
        self
    }

    /// From one poll of the components that tell nothing by themselves to the next; a second unless told, and 10 ms at
    /// least.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Puts the region into this file instead of a named segment: for containers that share a volume. It must be on a
    /// tmpfs. The file stays after the node's end.
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
        self.capacities = capacities;
        self
    }

    /// Makes the region and publishes it, or says why not. Nothing is left behind then.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn build(self) -> Result<Region, CreateError> {
        let map = RegionMap::for_capacities(&self.capacities)?;
        let core = match &self.place {
            Some(place) if !turned_off() => Core::shared(&self, map, place)?,
            _ => {
                Core::private(&self, map).ok_or(CreateError::NoMemory { needed: map.region_bytes as u64 })?
            }
        };
        Ok(Region::start(core))
    }

    /// Makes the region; where that is not possible warns once and goes on with a private one.
    pub fn build_or_private(self) -> Region {
        let mut fallback = self.clone().private();
        self.build().unwrap_or_else(|why| {
            warn(&format!(
                "node `{}`: its telemetry cannot be seen from outside the process, only in-process: {why}",
                fallback.node
            ));
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
            place: Some(Place::Named),
            previews: true,
            poll_interval: POLL_INTERVAL,
        }
    }

    /// A region of its own for what is made on a bare bus: private, touched only where it is used, without beats.
    pub(crate) fn bare(capacities: Capacities) -> Self {
        let builder = Self::builder("").private().with(capacities);
        let core = Arc::new(Core::private_or_less(builder));
        Self { closer: Arc::new(Closer { core: core.clone(), sampler: None, pid: std::process::id() }), core }
    }

    fn start(core: Core) -> Self {
        let core = Arc::new(core);
        let sampler = (!turned_off()).then(|| Sampler::start(core.clone())).flatten();
        let closer = Arc::new(Closer { core: core.clone(), sampler, pid: std::process::id() });
        if let Some(mut open) = open_regions() {
            open.push(Arc::downgrade(&closer));
        }
        Self { core, closer }
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

    /// Closes the region in good order: it is marked as closed, and a named segment's name is taken away. What is
    /// recorded after that is lost. Happens by itself when the last handle is dropped and at the process's exit.
    pub fn close(&self) {
        self.closer.close();
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
    closed: AtomicBool,
    #[cfg(feature = "atomr")]
    wake_runtime: Arc<tokio::sync::Notify>,
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

    #[cfg(target_os = "linux")]
    fn shared(builder: &RegionBuilder, map: RegionMap, place: &Place) -> Result<Self, CreateError> {
        region_file::remove_old_dead(&builder.node);
        let (memory, mut object) = region_file::create(place, map.region_bytes)?;
        let mut core = Self::over(memory, builder, map);
        object.publish()?;
        core.object = Some(object);
        core.header().publish();
        Ok(core)
    }

    #[cfg(not(target_os = "linux"))]
    fn shared(_: &RegionBuilder, _: RegionMap, _: &Place) -> Result<Self, CreateError> {
        Err(CreateError::Unsupported)
    }

    fn over(memory: WriterMemory, builder: &RegionBuilder, map: RegionMap) -> Self {
        let (clock, first_sighting) = Clock::of_process();
        let program = std::env::current_exe().unwrap_or_default();
        let record = HeaderRecord {
            region_bytes: 0,
            header_bytes: 0,
            sections: 0,
            pid: u64::from(std::process::id()),
            uid: own_uid(),
            process_start_ticks: process_start_ticks().unwrap_or(0),
            boot_id: boot_id().unwrap_or_default(),
            pid_namespace: pid_namespace().unwrap_or(0),
            created_unix_ns: clock::unix_ns(),
            actor_capacity: builder.capacities.actors as u64,
            flags: u64::from(builder.previews),
            builtins: 0,
            reserved: 0,
        };
        let writer = concat!("atomscope-probe ", env!("CARGO_PKG_VERSION"));
        HeaderWriter::new(memory.words()).prepare(
            &map,
            record,
            first_sighting,
            [&builder.node, &program.to_string_lossy(), writer],
        );
        Self {
            memory,
            map,
            counters: map.counters.range(),
            #[cfg(target_os = "linux")]
            object: None,
            clock,
            first_sighting,
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
            closed: AtomicBool::new(false),
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
        let ClockRecord { first_ticks, first_mono_ns, last_ticks, last_mono_ns, .. } = self.first_sighting;
        let ns_per_tick =
            match (last_mono_ns.saturating_sub(first_mono_ns), last_ticks.saturating_sub(first_ticks)) {
                (0, _) | (_, 0) => 1.0,
                (ns, ticks) => ns as f64 / ticks as f64,
            };
        (self.clock.ticks().saturating_sub(since_ticks) as f64 * ns_per_tick) as u64
    }

    #[cfg(feature = "atomr")]
    /// Sets a built-in gauge.
    pub(crate) fn set(&self, metric: Builtin, value: u64) {
        self.lanes().set(metric as usize, value);
    }

    /// Publishes an event of these numbers and texts, without making it up first.
    pub(crate) fn tell(&self, kind: EventKind, numbers: [u64; 2], texts: &[&str]) {
        let (record, cut) = EventRecord::telling(kind, self.stamp(0), numbers, texts);
        self.publish(&record);
        if cut {
            self.count_cut_text();
        }
    }

    fn interner(&self) -> Interner<'_> {
        Interner { keys: &self.name_keys, cells: self.section(self.map.names) }
    }

    #[cfg(feature = "atomr")]
    /// The number of a name that lives as long as the program, or 0 where there is no room for it.
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
        self.interned(self.interner().intern_static(name))
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
        self.settle(true, |event| self.publish(event));
        self.count(Builtin::SamplerRounds, 1);
        self.count(Builtin::SamplerTime, clock::mono_ns().wrapping_sub(start));
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
                if stop.whose == Whose::Unknown && turn.outlives(stop.first_round) {
                    stop.whose = Whose::Outlived;
                }
                let expires = match stop.whose {
                    Whose::Older => turn.outlives(stop.first_round),
                    _ => turn.round.saturating_sub(stop.first_round) >= STOP_WAITS_ROUNDS,
                };
                if stop.is_spilled && !expires {
                    seen.insert(stop.fingerprint, stop.first_round);
                }
                // A stop that is given up without having met a spawn may yet have one, unless it is known to be older.
                let is_doubtful = match stop.whose {
                    Whose::Older => stop.is_beside_a_spawn,
                    _ => expires && !stop.is_beside_a_spawn,
                };
                doubtful += u64::from(is_doubtful);
                expires
            };
            // Whoever brings a stop together with its spawn tells of it.
            self.table().settle_telling(expire, |slot| {
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
        self.count(Builtin::EventsUntold, settled.pairs.saturating_sub(told) + settled.expired);
        self.count(Builtin::UntrackedMatched, untracked);
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

/// Closes a region once: by the last handle's drop, by request, or at exit.
#[derive(Debug)]
struct Closer {
    core: Arc<Core>,
    sampler: Option<Sampler>,
    pid: u32,
}

impl Closer {
    fn close(&self) {
        // In a forked child the region is its parent's, and locks that another thread held at the fork stay held: those of
        // the runtime's wakers too.
        if self.pid != std::process::id() {
            return;
        }
        if self.core.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        self.core.wake_runtime();
        self.core.poller.stop();
        if let Some(sampler) = &self.sampler {
            sampler.stop();
        }
        self.core.header().set_state(State::Closed);
        #[cfg(target_os = "linux")]
        if let Some(object) = &self.core.object {
            object.unlink();
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.close();
    }
}

/// The regions to close at exit. `None` where the list cannot be had: in a forked child whose parent held it at the time
/// nobody will ever give it back.
fn open_regions() -> Option<std::sync::MutexGuard<'static, Vec<Weak<Closer>>>> {
    static OPEN: OnceLock<Mutex<Vec<Weak<Closer>>>> = OnceLock::new();
    let open = OPEN.get_or_init(|| {
        #[cfg(target_os = "linux")]
        region_file::at_exit(close_all);
        Mutex::default()
    });
    for _ in 0..1000 {
        match open.try_lock() {
            Ok(mut open) => {
                open.retain(|closer| closer.strong_count() > 0);
                return Some(open);
            }
            Err(TryLockError::Poisoned(open)) => return Some(open.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

#[cfg(target_os = "linux")]
extern "C" fn close_all() {
    // A panic here would abort a process that is ending in good order.
    let _ = std::panic::catch_unwind(|| {
        let open = open_regions().map(|mut open| std::mem::take(&mut *open)).unwrap_or_default();
        open.iter().filter_map(Weak::upgrade).for_each(|closer| closer.close());
    });
}

#[cfg(target_os = "linux")]
fn own_uid() -> u64 {
    u64::from(region_file::effective_uid())
}

#[cfg(not(target_os = "linux"))]
fn own_uid() -> u64 {
    0
}

/// Field 22 of `/proc/self/stat`; the second field is in parentheses and may hold anything.
fn process_start_ticks() -> Option<u64> {
    let stat = std::fs::read("/proc/self/stat").ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The 16 bytes of the boot id's UUID, in the order of its text.
fn boot_id() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0u8; 16];
    for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *to = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let (first, second) = bytes.split_at(8);
    Some([u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(second.try_into().ok()?)])
}

fn pid_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// Starts the runtime's beat on the current async runtime, if there is one. The sampler wakes its task, which needs no
/// timer of the runtime for that.
#[cfg(feature = "atomr")]
pub(crate) fn start_runtime_beat(core: &Arc<Core>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if core.is_private() {
        return;
    }
    core.header().runtime_beat(clock::mono_ns());
    let (wake, core) = (core.wake_runtime.clone(), Arc::downgrade(core));
    runtime.spawn(async move {
        loop {
            wake.notified().await;
            match core.upgrade() {
                Some(core) if !core.closed.load(Ordering::Relaxed) => {
                    core.header().runtime_beat(clock::mono_ns())
                }
                _ => return,
            }
        }
    });
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
