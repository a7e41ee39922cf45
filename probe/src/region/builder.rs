//! The builder of a region: its capacities, its backing object, and the private fallback.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atomscope_layout::event::EVENT_SLOT_BYTES;
use atomscope_layout::region::Override;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::{Capacities, RegionMap};

use super::handle::Region;
use crate::backing::Backing;
use crate::environment::{self, turned_off};
use crate::error::CreateError;
use crate::process;
#[cfg(target_os = "linux")]
use crate::region_file::{self, free_bytes, open_regions};
#[cfg(target_os = "linux")]
use crate::signals;
use crate::tables::{private_bytes, private_memory};
use crate::writer::{RegionWriter, Settings};

/// The time between two rounds of the poller, by default.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// One message in so many is timed, by default.
#[cfg(feature = "atomr")]
const TIME_EVERY: u64 = 16;
/// A poll that lasts so long is told, by default.
#[cfg(feature = "atomr")]
const LONG_POLL: Duration = Duration::from_millis(100);
/// The longest time between two rounds: any clock can be set forward by it.
const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);
/// From this number of open regions on a further one is [`CROWDED`], unless the user chose its capacities.
const CROWD: usize = 8;
/// A further region of a process takes at most this fraction of the free space for segments, unless the user chose its
/// capacities.
const SHARE_OF_FREE_SPACE: u64 = 4;

/// The settings of the environment that were ignored, with a warning each.
static WARNED_OF: AtomicU64 = AtomicU64::new(0);

/// The size in bytes of a region with default capacities, at most.
pub(crate) const DEFAULT_BYTES: usize = 16 << 20;
/// The size in bytes of a [`CROWDED`] region, at most.
const CROWDED_BYTES: usize = 5 << 18;

/// The capacities of one region among many in a process.
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
    failures: 32,
    panics: 32,
    instruments: 256,
    classes: 16,
    variants: 64,
    threads: 64,
    kinds: 16,
    fields: 128,
    records: 64,
};

/// The capacities of a private region in a process that has next to no memory left.
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
    failures: 16,
    panics: 16,
    instruments: 64,
    classes: 8,
    variants: 16,
    threads: 16,
    kinds: 4,
    fields: 32,
    records: 16,
};

/// The most events per lane with which a region of these other capacities stays within `bytes`.
pub(crate) fn most_events(capacities: Capacities, bytes: usize) -> usize {
    let free = RegionMap::footprint(&capacities).map_or(0, |used| bytes.saturating_sub(used));
    capacities.events + free / ((capacities.lanes + 1) * EVENT_SLOT_BYTES)
}

/// The settings of a new region. [`RegionBuilder::build`] checks them.
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
    /// Whether the user chose the capacities.
    is_sized: bool,
    /// The bits of the settings that the environment chose.
    overrides: u64,
    instruments_are_set: bool,
    /// None for private memory.
    backing: Option<Backing>,
    previews: bool,
    panics: bool,
    note_signals: bool,
    allows_stacks: bool,
    poll_interval: Duration,
    #[cfg(feature = "atomr")]
    depth: bool,
    #[cfg(feature = "atomr")]
    depth_events: Option<Duration>,
    #[cfg(feature = "atomr")]
    time_every: u64,
    #[cfg(feature = "atomr")]
    long_poll: Duration,
}

impl Region {
    /// A builder of a region for the node of this name. No cost before [`RegionBuilder::build`].
    pub fn builder(node: impl Into<String>) -> RegionBuilder {
        RegionBuilder {
            node: node.into(),
            capacities: Capacities::default(),
            is_sized: false,
            overrides: 0,
            instruments_are_set: false,
            backing: Some(Backing::Segment),
            previews: true,
            panics: true,
            note_signals: false,
            allows_stacks: false,
            poll_interval: POLL_INTERVAL,
            #[cfg(feature = "atomr")]
            depth: false,
            #[cfg(feature = "atomr")]
            depth_events: None,
            #[cfg(feature = "atomr")]
            time_every: TIME_EVERY,
            #[cfg(feature = "atomr")]
            long_poll: LONG_POLL,
        }
    }

    /// A region for a probe on a bare bus: private, touched only where it is used, without heartbeat.
    pub(crate) fn bare(capacities: Capacities) -> Self {
        let mut builder = Self::builder("").private();
        *builder.sized() = capacities;
        Self::of(Arc::new(private_or_less(builder)))
    }
}

impl RegionBuilder {
    /// Live actors that are listed; default 24,576. 320 bytes each, and some 19 bytes of private memory.
    pub fn actors(mut self, capacity: usize) -> Self {
        self.is_sized = true;
        self.capacities = self.with_actors(self.capacities, capacity);
        self
    }

    /// Threads that count without a locked instruction; default 16. Further threads share one lane.
    pub fn lanes(mut self, capacity: usize) -> Self {
        self.sized().lanes = capacity;
        self
    }

    /// Dead letters that are kept; default 1,024. 384 bytes each.
    pub fn dead_letters(mut self, capacity: usize) -> Self {
        self.sized().dead_letters = capacity;
        self
    }

    /// Events that are kept per lane; default 1,024. 256 bytes each, in every lane and in the shared one.
    pub fn events(mut self, capacity: usize) -> Self {
        self.sized().events = capacity;
        self
    }

    /// Different names of classes and states that are kept; default 1,024. 256 bytes each.
    pub fn names(mut self, capacity: usize) -> Self {
        self.sized().names = capacity;
        self
    }

    /// Counters, gauges and histograms, those of the probe included; default 1,152, which leaves more than 1,024 to the
    /// application. Each set of labels is one. 384 bytes each, and 8 bytes in every lane.
    pub fn metrics(mut self, capacity: usize) -> Self {
        self.sized().metrics = capacity;
        self
    }

    /// Associations, journals, persistence ids, shards and other instances that are listed; default 512. 384
    /// bytes each. Persistence ids take at most half of them; keys, streams and shards a quarter each.
    pub fn instances(mut self, capacity: usize) -> Self {
        self.sized().instances = capacity;
        self
    }

    /// Bytes for the cluster's state, and as many for the allocation of shards; default 32 KiB. Each is kept twice. A
    /// member takes about 80 bytes.
    pub fn document_bytes(mut self, bytes: usize) -> Self {
        self.sized().document_bytes = bytes;
        self
    }

    /// Histograms, including one for each journal; default 64. 1,536 bytes each.
    pub fn histograms(mut self, capacity: usize) -> Self {
        self.sized().histograms = capacity;
        self
    }

    /// Journal writes that are kept; default 128. 256 bytes each.
    pub fn journal_writes(mut self, capacity: usize) -> Self {
        self.sized().journal_writes = capacity;
        self
    }

    /// Different panics, errors and warnings that are listed; default 64. 768 bytes each.
    pub fn failures(mut self, capacity: usize) -> Self {
        self.sized().failures = capacity;
        self
    }

    /// Panics that are kept one by one; default 128. 512 bytes each.
    pub fn kept_panics(mut self, capacity: usize) -> Self {
        self.sized().panics = capacity;
        self
    }

    /// Instrumented actors with numbers of their own; default 16,384, but no more than [`Self::actors`]; 1 at least. 64 bytes
    /// each, and once an actor is instrumented some 32 bytes of private memory each. Further ones are counted by their class only.
    pub fn instruments(mut self, capacity: usize) -> Self {
        self.sized().instruments = capacity;
        self.instruments_are_set = true;
        self
    }

    /// Classes of instrumented actors; default 128, 1 at least. 3,136 bytes each. The first one is for all classes that find no
    /// room, which are counted together; so one less is counted each on its own.
    pub fn classes(mut self, capacity: usize) -> Self {
        self.sized().classes = capacity;
        self
    }

    /// Variants of messages that are counted each on its own, and a row for each of [`Self::classes`]; default 1,024. 16 bytes
    /// each, and 16 in every lane. The messages of further ones are counted by their class only.
    pub fn variants(mut self, capacity: usize) -> Self {
        self.sized().variants = capacity;
        self
    }

    /// Threads of runtimes that are watched from their builders; default 256. 64 bytes each. Further threads are not listed.
    pub fn threads(mut self, capacity: usize) -> Self {
        self.sized().threads = capacity;
        self
    }

    /// Records of the application's own that are in use at one time; default 256. 1,152 bytes each.
    pub fn records(mut self, capacity: usize) -> Self {
        self.sized().records = capacity;
        self
    }

    /// Kinds of these records; default 64. 128 bytes each.
    pub fn record_kinds(mut self, capacity: usize) -> Self {
        self.sized().kinds = capacity;
        self
    }

    /// Fields of all these kinds together; default 512. 128 bytes each.
    pub fn record_fields(mut self, capacity: usize) -> Self {
        self.sized().fields = capacity;
        self
    }

    /// The time between two polls of attached components; default one second. The probe limits it to 10 ms at least and
    /// one year at most.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.min(LONGEST_POLL_INTERVAL);
        self
    }

    /// Whether the probe reads how many messages wait in the mailbox of each instrumented actor, four times a second; default
    /// false. About 0.8 µs per actor on the probe's own thread, up to 2 % of its time: with more actors than that allows, each is
    /// read less often. Nothing per message.
    ///
    /// It depends on private fields of atomr and tokio, which the probe finds by trying in this process; what it cannot find for
    /// sure is unknown. It calls `process_vm_readv` on this process, and does nothing where a filter of system calls is on (`Seccomp`
    /// in `/proc/thread-self/status`), as in most containers. Linux only.
    #[cfg(feature = "atomr")]
    pub fn depth(mut self, read: bool) -> Self {
        self.depth = read;
        self
    }

    /// The time between two rounds of events of type *mailbox sampled*, with the depths that have changed, 256 at most; by default
    /// there are none. The depths are those that [`Self::depth`] reads, so a shorter time than 250 ms changes nothing.
    #[cfg(feature = "atomr")]
    pub fn depth_events(mut self, every: Duration) -> Self {
        self.depth_events = Some(every);
        self
    }

    /// One message in so many of an instrumented actor is timed, and counts as so many in times; default 16. It is rounded up
    /// to a power of two, at most 65,536. With 1 each message is timed, which costs two readings of the clock. A handler that
    /// takes 50 ms or more counts with its own time in any case.
    #[cfg(feature = "atomr")]
    pub fn time_every(mut self, messages: u32) -> Self {
        self.time_every = u64::from(messages.clamp(1, 1 << 16).next_power_of_two());
        self
    }

    /// A poll of a task that lasts so long is counted and told as an event; default 100 ms, at least 1 ms. Polls are watched only
    /// on a runtime that [`crate::TelemetryExtension::watch_runtime`] was given as its builder, and only if tokio is built with
    /// `--cfg tokio_unstable`.
    #[cfg(feature = "atomr")]
    pub fn long_poll(mut self, least: Duration) -> Self {
        self.long_poll = least.max(Duration::from_millis(1));
        self
    }

    /// Makes the region in this file instead of a named segment: for containers that share a volume. The file must be on
    /// a tmpfs. It stays after the node's end, and readers find it by its path only: `atomscope show PATH`.
    ///
    /// If only the last directory of the path is missing, it is made, for this user alone. systemd removes a directory
    /// that it made itself (`RuntimeDirectory=`) when the service ends, and with it the region of a crashed node, unless
    /// `RuntimeDirectoryPreserve=yes` is set.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.backing = Some(Backing::File { path: path.into(), allow_disk: false });
        self
    }

    /// As [`Self::file`], but the file may be on a disk. Its write-back stalls the node now and then.
    pub fn file_even_on_disk(mut self, path: impl Into<PathBuf>) -> Self {
        self.backing = Some(Backing::File { path: path.into(), allow_disk: true });
        self
    }

    /// Keeps the region in private memory: no other process can read it.
    pub fn private(mut self) -> Self {
        self.backing = None;
        self
    }

    /// Whether the region keeps the message previews that the application gives, and the messages of panics, errors and
    /// warnings; default true.
    pub fn previews(mut self, keep: bool) -> Self {
        self.previews = keep;
        self
    }

    /// Whether the region notes the panics of the process; default true. The first such region of a process sets a panic
    /// hook, which calls the hook before it. A hook that the application sets later replaces it, unless it calls that, too.
    pub fn panics(mut self, note: bool) -> Self {
        self.panics = note;
        self
    }

    /// Whether a signal that ends the process is noted in all regions of the process, so that readers can tell it later;
    /// default false. Installs signal handlers when the region is built, once in a process.
    ///
    /// These are handlers of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT, which then call the ones that were there, and of
    /// SIGTERM, SIGINT and SIGHUP, unless the application handles or ignores them by then. The process ends as it would
    /// without them. A handler that the application installs later replaces them, or calls them before it does its own work;
    /// both are allowed. One of the first five that calls them must have been installed with `SA_SIGINFO`, and pass on what
    /// it got.
    pub fn note_signals(mut self, note: bool) -> Self {
        self.note_signals = note;
        self
    }

    /// Whether `atomscope stuck` and `stacks` may read the stacks of this process without root where
    /// `kernel.yama.ptrace_scope` is 1, as on many desktops and in Ubuntu; default false.
    ///
    /// If true, [`Self::build`] calls `prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY)`: every process of the same user may then
    /// trace this one, read its memory and change it, as without Yama. It holds for the whole process until its end, also if
    /// another region does not ask for it. On a kernel without Yama, and for a private region, it changes nothing.
    pub fn allow_stacks(mut self, allow: bool) -> Self {
        self.allows_stacks = allow;
        self
    }

    /// The capacities with so many actors, and with the instruments that go with them unless the program chose a number.
    fn with_actors(&self, capacities: Capacities, actors: usize) -> Capacities {
        let instruments = match self.instruments_are_set {
            true => capacities.instruments,
            false => Capacities::default().instruments.min(actors),
        };
        Capacities { actors, instruments, ..capacities }
    }

    fn sized(&mut self) -> &mut Capacities {
        self.is_sized = true;
        &mut self.capacities
    }

    /// Sets the events per lane, as far as the region stays within its default size.
    #[cfg_attr(not(feature = "atomr"), allow(dead_code, reason = "for the extension"))]
    pub(crate) fn events_that_fit(mut self, wanted: usize) -> Self {
        let Capacities { events, .. } = Capacities::default();
        self.capacities.events = wanted.clamp(events, most_events(Capacities::default(), DEFAULT_BYTES));
        self
    }

    /// The capacities of a shared region: smaller ones if the process has many regions and the user chose none.
    fn shared_capacities(&self) -> Capacities {
        let open = open_regions();
        if self.is_sized || open == 0 {
            return self.capacities;
        }
        let bytes = RegionMap::footprint(&self.capacities).map_or(u64::MAX, |bytes| bytes as u64);
        let fits = |free: u64| bytes <= free / SHARE_OF_FREE_SPACE;
        if open < CROWD && free_bytes().is_none_or(fits) {
            return self.capacities;
        }
        tracing::info!(
            node = self.node,
            "atomscope: the region is small, since this process has {open} others; choose its capacities in the builder for \
             a larger one"
        );
        let events = self.capacities.events.clamp(CROWDED.events, most_events(CROWDED, CROWDED_BYTES));
        Capacities { events, ..CROWDED }
    }

    /// Takes the capacities that the environment sets, and notes which. One that is no number, or with which there can be no
    /// region, is ignored.
    fn obey_environment(&mut self) {
        use Override::{Actors, Dir, Events, Lanes, Metrics};

        for setting in Override::ALL {
            let Some(text) = environment::set(setting) else { continue };
            let number = text.to_str().and_then(|text| text.trim().parse().ok());
            let before = self.capacities;
            let chosen = match (setting, number) {
                (Dir, _) if !matches!(self.backing, Some(Backing::Segment)) => continue,
                (Dir, _) => is_a_directory_for_segments().then_some(before),
                (Actors, Some(actors)) => Some(self.with_actors(before, actors)),
                (Events, Some(events)) => Some(Capacities { events, ..before }),
                (Lanes, Some(lanes)) => Some(Capacities { lanes, ..before }),
                (Metrics, Some(metrics)) => Some(Capacities { metrics, ..before }),
                (_, None) => None,
            };
            let is_possible =
                |chosen: &Capacities| setting == Dir || RegionMap::for_capacities(chosen).is_ok();
            if let Some(chosen) = chosen.filter(is_possible) {
                self.capacities = chosen;
                self.overrides |= setting.bit();
            } else if WARNED_OF.fetch_or(setting.bit(), Ordering::Relaxed) & setting.bit() == 0 {
                let what = match setting {
                    Dir => "an absolute path of a directory on a tmpfs that this process may write to",
                    _ => "a number within the limits of a region",
                };
                environment::warn(&format!("{}={text:?} is ignored: it is not {what}", setting.variable()));
            }
        }
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            node: &self.node,
            actor_capacity: self.capacities.actors,
            overrides: self.overrides,
            previews: self.previews,
            panics: self.panics,
            poll_interval: self.poll_interval,
            #[cfg(feature = "atomr")]
            depth: self.depth,
            #[cfg(feature = "atomr")]
            depth_events: self.depth_events,
            #[cfg(feature = "atomr")]
            time_every: self.time_every,
            #[cfg(feature = "atomr")]
            long_poll: self.long_poll,
        }
    }

    /// Makes the region and publishes it. Takes some milliseconds, most of them to reserve the memory. A failed call
    /// leaves nothing behind.
    ///
    /// Of a shared region the environment overrides some settings, so that an operator can enlarge it without a new program:
    /// `ATOMSCOPE_ACTORS`, `ATOMSCOPE_EVENTS`, `ATOMSCOPE_LANES` and `ATOMSCOPE_METRICS` are the capacities of the same names, and
    /// the actors change the default of the instruments as in [`Self::actors`]. `ATOMSCOPE_DIR` is the directory of a region for
    /// which [`Self::file`] was not called. A value that cannot be is ignored, and one warning says so. `atomscope doctor` shows
    /// which were used.
    ///
    /// # Errors
    /// [`CreateError`]: a capacity is out of range; the memory, the file system, a limit or the control group has too
    /// little left; the file is in use, on a disk, or is not a region; the platform has no shared regions.
    pub fn build(mut self) -> Result<Region, CreateError> {
        let backing = self.backing.clone().filter(|_| !turned_off());
        if backing.is_some() {
            self.capacities = self.shared_capacities();
            self.obey_environment();
        }
        let map = RegionMap::for_capacities(&self.capacities)?;
        let mut writer = match backing {
            Some(backing) => shared(&self, map, &backing)?,
            None => private(&self, map).ok_or(CreateError::NoMemory { needed: memory_bytes(&map) })?,
        };
        // Readers find a file that has a name, so it must be closed at exit. The exit waits until the region is listed as
        // open.
        let naming = process::this().naming();
        if naming.is_some() {
            give_name(&mut writer)?;
        }
        Ok(Region::start(writer))
    }

    /// Makes the region and publishes it; if that is impossible, warns once and makes a private one.
    ///
    /// ```
    /// use atomscope_probe::Region;
    ///
    /// let region = Region::builder("importer").actors(100).private().build_or_private();
    /// region.counter("rows", "rows", "Rows that were imported").add(1);
    /// ```
    pub fn build_or_private(self) -> Region {
        let mut fallback = self.clone().private();
        self.build().unwrap_or_else(|why| {
            process::this().warn_private(&fallback.node, &why);
            // Private memory counts against the same limit, as far as it is touched.
            let most = match why {
                CreateError::MemoryLimit { available, .. } => available / 2,
                _ => u64::MAX,
            };
            let wanted = [fallback.capacities, Capacities::default(), SMALL].into_iter().find(|capacities| {
                RegionMap::for_capacities(capacities).is_ok_and(|map| memory_bytes(&map) <= most)
            });
            fallback.capacities = wanted.unwrap_or(SMALL);
            Region::start(private_or_less(fallback))
        })
    }
}

/// Bytes of a region and of the private words of its tables.
fn memory_bytes(map: &RegionMap) -> u64 {
    (map.region_bytes + private_bytes(map)) as u64
}

fn private(builder: &RegionBuilder, map: RegionMap) -> Option<RegionWriter> {
    let (memory, private) = (WriterMemory::private(map.region_bytes)?, private_memory(&map)?);
    let writer = RegionWriter::new(memory, private, map, &builder.settings());
    writer.header().publish();
    Some(writer)
}

/// A private region of these capacities; a [`SMALL`] one if there is no memory for it, and one that forgets everything if
/// there is none at all.
fn private_or_less(mut builder: RegionBuilder) -> RegionWriter {
    let map = RegionMap::for_capacities(&builder.capacities).ok();
    if let Some(writer) = map.and_then(|map| private(&builder, map)) {
        return writer;
    }
    builder.capacities = SMALL;
    let map = RegionMap::for_capacities(&SMALL).unwrap_or_default();
    let none = WriterMemory::none;
    private(&builder, map).unwrap_or_else(|| RegionWriter::new(none(), none(), map, &builder.settings()))
}

/// A shared region, which readers do not recognise before its header is published.
#[cfg(target_os = "linux")]
fn shared(builder: &RegionBuilder, map: RegionMap, backing: &Backing) -> Result<RegionWriter, CreateError> {
    if is_time_to_prune() {
        region_file::remove_old_dead(&builder.node);
    }
    if builder.note_signals {
        signals::note();
    }
    process::this().release_waiting(Some(&builder.node));
    let create = || region_file::create(&builder.node, backing, map.region_bytes, private_bytes(&map));
    let (memory, private, object) = create().or_else(|why| match why {
        CreateError::NoSpace { .. } | CreateError::MemoryLimit { .. }
            if process::this().release_waiting(None) =>
        {
            create()
        }
        _ => Err(why),
    })?;
    if builder.allows_stacks {
        region_file::allow_tracers();
    }
    Ok(RegionWriter::new(memory, private, map, &builder.settings()).in_object(object))
}

#[cfg(target_os = "linux")]
fn give_name(writer: &mut RegionWriter) -> Result<(), CreateError> {
    writer.give_name()
}

#[cfg(target_os = "linux")]
fn is_a_directory_for_segments() -> bool {
    region_file::chosen_dir().is_some()
}

/// Whether it is time to search for dead regions. A process that makes many regions searches once a second, since none of
/// its own dies meanwhile.
#[cfg(target_os = "linux")]
fn is_time_to_prune() -> bool {
    const REST_NS: u64 = 1_000_000_000;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let (last, now) = (LAST.load(Ordering::Relaxed), crate::clock::mono_ns());
    let is_time = last == 0 || now.saturating_sub(last) >= REST_NS;
    is_time && LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn shared(_: &RegionBuilder, _: RegionMap, _: &Backing) -> Result<RegionWriter, CreateError> {
    Err(CreateError::Unsupported)
}

#[cfg(not(target_os = "linux"))]
fn give_name(_: &mut RegionWriter) -> Result<(), CreateError> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn is_a_directory_for_segments() -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn open_regions() -> usize {
    0
}

#[cfg(not(target_os = "linux"))]
fn free_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_longest_interval_of_polls_can_be_waited_for() {
        let interval = Region::builder("slow").poll_interval(Duration::MAX).poll_interval;
        assert!(std::time::Instant::now().checked_add(interval).is_some());
    }
}
