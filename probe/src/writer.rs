//! The writer of a region: its memory, and every operation that stores into it.
//!
//! Hot paths and the probe's threads share one [`RegionWriter`]. It keeps the memory mapped, but it does not keep the
//! region open: [`crate::region::Region`] does. Three other files add operations to it: [`crate::sampling`] (a round of the
//! sampler), [`crate::instances`], and [`crate::region`] (registering metrics).

use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use atomscope_layout::RegionMap;
use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::event::{EVENT_SLOT_BYTES, EventKind, EventRecord};
use atomscope_layout::instances::Instances;
use atomscope_layout::lane_memory::LaneMemory;
use atomscope_layout::lanes::{self, Lanes, OVERFLOW};
use atomscope_layout::metrics::Builtin;
#[cfg(feature = "persistence")]
use atomscope_layout::records::ClockSampleRecord;
use atomscope_layout::region::{HeaderRecord, HeaderWriter, Section, State};
use atomscope_layout::ring::{DEAD_LETTER_SLOT_BYTES, Ring, Written};
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Table;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, store};
#[cfg(feature = "atomr")]
use crossbeam_utils::atomic::AtomicCell;

use crate::clock::{self, Clock};
use crate::clock_samples::ClockSamples;
use crate::ending::Cause;
#[cfg(target_os = "linux")]
use crate::ending::Waiting;
#[cfg(feature = "atomr")]
use crate::environment::turned_off;
#[cfg(target_os = "linux")]
use crate::error::CreateError;
use crate::hash::PathHasher;
#[cfg(feature = "atomr")]
use crate::hook_state::HookState;
use crate::identity::{boot_id, pid_namespace, process_start_ticks};
use crate::instance_counts::InstanceCounts;
#[cfg(feature = "atomr")]
use crate::instruments::joining::Joining;
#[cfg(feature = "atomr")]
use crate::instruments::memory::{Instruments, Parts};
use crate::lane;
#[cfg(feature = "atomr")]
use crate::mailbox::Mailboxes;
use crate::names::Names;
#[cfg(feature = "atomr")]
use crate::per_process::PerProcess;
use crate::records::registered::Records;
#[cfg(target_os = "linux")]
use crate::region_file::{self, Leaked, Object};
use crate::rounds::Rounds;
use crate::series::Registry;
use crate::tables::Tables;
#[cfg(feature = "atomr")]
use crate::workers::Workers;

/// The settings of a region that its writer keeps or puts into the header.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) node: &'a str,
    pub(crate) actor_capacity: usize,
    /// The bits of the settings that the environment chose.
    pub(crate) overrides: u64,
    pub(crate) previews: bool,
    pub(crate) panics: bool,
    pub(crate) poll_interval: Duration,
    /// Whether the depths of mailboxes are read, and how often they are published.
    #[cfg(feature = "atomr")]
    pub(crate) depth: bool,
    #[cfg(feature = "atomr")]
    pub(crate) depth_events: Option<Duration>,
    #[cfg(feature = "atomr")]
    pub(crate) time_every: u64,
    #[cfg(feature = "atomr")]
    pub(crate) long_poll: Duration,
}

/// The writer behind all handles of a region.
#[derive(Debug)]
pub(crate) struct RegionWriter {
    memory: WriterMemory,
    /// The private words of the tables.
    private: WriterMemory,
    map: RegionMap,
    /// The section of counters, which is needed most often.
    counters: LaneMemory,
    tables: Tables,
    #[cfg(target_os = "linux")]
    object: Option<Object>,
    /// Once it has instruments.
    #[cfg(target_os = "linux")]
    leaked: OnceLock<Arc<Leaked>>,
    pub(crate) clock: Clock,
    /// The length of the clock's tick in nanoseconds times 2⁴⁰, as it was measured before the region was made.
    #[cfg(feature = "atomr")]
    pub(crate) tick_length: u64,
    pub(crate) clock_samples: Mutex<ClockSamples>,
    pub(crate) hasher: PathHasher,
    pub(crate) previews: bool,
    /// Whether panics of the process are noted.
    pub(crate) panics: bool,
    names: Names,
    pub(crate) counts: InstanceCounts,
    pub(crate) documents: Mutex<()>,
    pub(crate) polls: Polls,
    pub(crate) metrics: Mutex<Registry>,
    pub(crate) records: Records,
    pub(crate) rounds: Mutex<Rounds>,
    #[cfg(feature = "atomr")]
    pub(crate) hooks: HookState,
    /// The name of the actor system.
    pub(crate) system: OnceLock<Box<str>>,
    /// Rounds of the sampler, counted up to the one that touches all pages.
    pub(crate) early_rounds: AtomicUsize,
    pid: u32,
    /// The thread that closes the region; 0 before.
    closing_thread: AtomicUsize,
    is_closed: AtomicBool,
    #[cfg(feature = "atomr")]
    pub(crate) wake_runtime: std::sync::Arc<tokio::sync::Notify>,
    /// The workers of the attached runtime.
    #[cfg(feature = "atomr")]
    pub(crate) workers: OnceLock<Workers>,
    /// How many runtimes are watched from their builders.
    #[cfg(feature = "atomr")]
    runtimes: std::sync::atomic::AtomicU64,
    /// The mailboxes whose depths are read.
    #[cfg(feature = "atomr")]
    pub(crate) mailboxes: Option<Mailboxes>,
    /// What `made` has, as a load finds it.
    #[cfg(feature = "atomr")]
    instruments: AtomicCell<Option<&'static Instruments>>,
    /// None inside: the environment turns the probe off. A child that was forked while a thread made them does not wait for that
    /// thread.
    #[cfg(feature = "atomr")]
    made: PerProcess<Option<&'static Instruments>>,
    #[cfg(feature = "atomr")]
    has_no_instruments: AtomicBool,
    /// One message in so many is timed, a power of two.
    #[cfg(feature = "atomr")]
    time_every: u64,
    /// A poll that lasts so long is told.
    #[cfg(feature = "atomr")]
    #[cfg_attr(not(tokio_unstable), allow(dead_code, reason = "no polls are watched"))]
    pub(crate) long_poll: Duration,
}

/// Polls a component; false once the component is gone.
pub(crate) type Poll = Box<dyn FnMut(&RegionWriter) -> bool + Send>;

/// The attached components of a region that the poller polls.
#[allow(dead_code, reason = "used by components, which depend on the features")]
pub(crate) struct Polls {
    pub(crate) interval: Duration,
    list: Mutex<Vec<Poll>>,
    /// Whether the poller knows the region.
    pub(crate) is_known: AtomicBool,
}

impl std::fmt::Debug for Polls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polls").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Polls {
    fn new(interval: Duration) -> Self {
        Self { interval, list: Mutex::default(), is_known: AtomicBool::new(false) }
    }

    #[allow(dead_code, reason = "used by components, which depend on the features")]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Poll>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegionWriter {
    /// Writes the header and the first clock sample. The region is not published yet.
    pub(crate) fn new(
        memory: WriterMemory,
        private: WriterMemory,
        map: RegionMap,
        settings: &Settings<'_>,
    ) -> Self {
        let (clock, now, tick_length) = Clock::of_process();
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
            actor_capacity: settings.actor_capacity as u64,
            flags: u64::from(settings.previews) | settings.overrides,
            builtins: 0,
            reserved: 0,
        };
        let producer = concat!("atomscope-probe ", env!("CARGO_PKG_VERSION"));
        let clock_samples = ClockSamples::first(&now, tick_length);
        let first_sample = clock_samples.all().first().copied().unwrap_or_default();
        let header = HeaderWriter::new(memory.words());
        header.set_time(time);
        header.prepare(&map, record, first_sample, [settings.node, &program.to_string_lossy(), producer]);
        let (counters, hasher) = (counters_of(&memory, &map), PathHasher::new());
        Self {
            names: Names::new(&memory, &map, &counters, hasher),
            counters,
            tables: Tables::new(&memory, &private, &map),
            memory,
            private,
            map,
            #[cfg(target_os = "linux")]
            object: None,
            #[cfg(target_os = "linux")]
            leaked: OnceLock::new(),
            clock,
            #[cfg(feature = "atomr")]
            tick_length,
            clock_samples: Mutex::new(clock_samples),
            hasher,
            previews: settings.previews,
            panics: settings.panics,
            counts: InstanceCounts::default(),
            documents: Mutex::default(),
            polls: Polls::new(settings.poll_interval),
            metrics: Mutex::default(),
            records: Records::default(),
            rounds: Mutex::default(),
            #[cfg(feature = "atomr")]
            hooks: HookState::default(),
            system: OnceLock::new(),
            early_rounds: AtomicUsize::new(0),
            pid: std::process::id(),
            closing_thread: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            #[cfg(feature = "atomr")]
            wake_runtime: std::sync::Arc::default(),
            #[cfg(feature = "atomr")]
            workers: OnceLock::new(),
            #[cfg(feature = "atomr")]
            runtimes: std::sync::atomic::AtomicU64::new(0),
            #[cfg(feature = "atomr")]
            mailboxes: settings.depth.then(|| Mailboxes::new(settings.depth_events)),
            #[cfg(feature = "atomr")]
            instruments: AtomicCell::new(None),
            #[cfg(feature = "atomr")]
            made: PerProcess::new(),
            #[cfg(feature = "atomr")]
            has_no_instruments: AtomicBool::new(false),
            #[cfg(feature = "atomr")]
            time_every: settings.time_every,
            #[cfg(feature = "atomr")]
            long_poll: settings.long_poll,
        }
    }

    /// The same in a shared object, which keeps `memory`.
    #[cfg(target_os = "linux")]
    pub(crate) fn in_object(self, object: Object) -> Self {
        self.header().set_history(object.traces.history());
        Self { object: Some(object), ..self }
    }

    /// Gives a user's file its name, once the region is complete: a process that is killed before leaves nothing.
    #[cfg(target_os = "linux")]
    pub(crate) fn give_name(&mut self) -> Result<(), CreateError> {
        let Some(mut object) = self.object.take() else { return Ok(()) };
        if !object.traces.is_named {
            self.header().publish();
        }
        if let Some(memory) = object.publish(self.map.region_bytes)? {
            self.counters = counters_of(&memory, &self.map);
            self.names = Names::new(&memory, &self.map, &self.counters, self.hasher);
            self.tables = Tables::new(&memory, &self.private, &self.map);
            self.memory = memory;
        }
        self.object = Some(object);
        Ok(())
    }

    /// The file of a shared region.
    pub(crate) fn file(&self) -> Option<&Path> {
        #[cfg(target_os = "linux")]
        return self.object.as_ref().map(|object| object.traces.path.as_path());
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Whether no other process can see the region.
    #[cfg(feature = "atomr")]
    pub(crate) fn is_private(&self) -> bool {
        self.file().is_none()
    }

    /// A reader of this region, in-process. `None` in a forked child, which has no region.
    pub(crate) fn reader(&self) -> Option<RegionReader<'_>> {
        RegionReader::open(self.memory.reader()).ok()
    }

    pub(crate) fn header(&self) -> HeaderWriter<'_> {
        HeaderWriter::new(self.memory.words())
    }

    /// Notes that `attachment` was made: before it counts anything, or for a polled component after its first poll. A load
    /// if it is known already.
    #[inline]
    pub(crate) fn attached(&self, attachment: Attachment) {
        self.header().attach(attachment);
    }

    pub(crate) fn map(&self) -> &RegionMap {
        &self.map
    }

    /// All memory that the hot paths write to: the region and the private words of its tables.
    pub(crate) fn all_words(&self) -> [&[AtomicU64]; 2] {
        [self.memory.words(), self.private.words()]
    }

    /// Some words of the region, with the memory that they stand in, for a handle.
    pub(crate) fn part(&self, words: std::ops::Range<usize>) -> Option<WriterMemory> {
        self.memory.part(words)
    }

    #[inline]
    pub(crate) fn section(&self, section: Section) -> &[AtomicU64] {
        self.memory.words().get(section.range()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn lanes(&self) -> Lanes<'_> {
        self.counters.lanes()
    }

    /// The words of one metric in all lanes, for a handle; of none for `None`.
    pub(crate) fn lanes_of(&self, metric: Option<usize>) -> LaneMemory {
        metric.map_or_else(LaneMemory::none, |metric| self.counters.only(metric))
    }

    /// Adds `n` to a built-in counter that is subtracted from another one, after this thread has seen the event that the
    /// other one counted.
    #[inline(always)]
    pub(crate) fn count_end(&self, metric: Builtin, n: u64) {
        lanes::before_end();
        self.count(metric, n);
    }

    /// Adds `n` to a built-in counter.
    #[inline(always)]
    pub(crate) fn count(&self, metric: Builtin, n: u64) {
        lane::add(&self.counters, metric as usize, n);
    }

    /// Sets a built-in gauge.
    #[cfg(feature = "atomr")]
    pub(crate) fn set(&self, metric: Builtin, value: u64) {
        self.lanes().set(metric as usize, value);
    }

    /// The table of actors.
    #[inline(always)]
    pub(crate) fn table(&self) -> Table<'_> {
        self.tables.actors()
    }

    /// Whether these are the region's.
    #[cfg(feature = "atomr")]
    pub(crate) fn has_instruments(&self, instruments: &'static Instruments) -> bool {
        self.instruments.load().is_some_and(|own| std::ptr::eq(own, instruments))
    }

    /// The record of an actor with a cell is to stand in this slot of the table.
    #[cfg(feature = "atomr")]
    #[inline(always)]
    pub(crate) fn join(&self, joining: Option<Joining>, slot: &[AtomicU64]) {
        if let Some(at) = joining.and_then(|joining| joining.at) {
            let start = self.section(self.map.actors).as_ptr().addr();
            let words = slot.as_ptr().addr().saturating_sub(start) / WORD;
            at.set_record(words.checked_div(self.map.actors.stride).unwrap_or(0));
        }
    }

    /// The table of instances.
    pub(crate) fn instances(&self) -> Instances<'_> {
        self.tables.instances()
    }

    /// How many instances the region can list.
    pub(crate) fn instance_capacity(&self) -> usize {
        self.map.instances.count
    }

    pub(crate) fn dead_letters(&self) -> Ring<'_> {
        Ring::new(self.section(self.map.dead_letters), DEAD_LETTER_SLOT_BYTES / WORD)
    }

    pub(crate) fn dead_letter_capacity(&self) -> usize {
        self.map.dead_letters.count - 1
    }

    /// Writes an event into the calling thread's lane.
    pub(crate) fn publish(&self, record: &EventRecord) {
        self.publish_with(|slot| store(slot, record.words()));
    }

    /// Writes an event into the calling thread's lane; `write` stores its words.
    #[inline(always)]
    pub(crate) fn publish_with(&self, write: impl FnOnce(&[AtomicU64])) {
        match lane::held() {
            Some(lane) if (lane as usize) < self.map.events.count => {
                self.event_lane(lane as usize).push_with(write);
            }
            _ => self.publish_without_lane(write),
        }
    }

    /// As [`Self::publish`], and without an allocation: a thread without a lane gets none, since it would allocate.
    pub(crate) fn publish_lean(&self, record: &EventRecord) {
        let lane = lane::held().filter(|lane| (*lane as usize) < self.map.events.count);
        self.publish_in(lane.unwrap_or(OVERFLOW), |slot| store(slot, record.words()));
    }

    #[cold]
    fn publish_without_lane(&self, write: impl FnOnce(&[AtomicU64])) {
        self.publish_in(self.own_event_lane(), write);
    }

    /// Publishes an event that consists of numbers and texts.
    pub(crate) fn publish_texts(&self, kind: EventKind, numbers: [u64; 2], texts: &[&str]) {
        let (record, cut) = EventRecord::with_texts(kind, self.stamp(0), numbers, texts);
        self.publish(&record);
        if cut {
            self.count_cut_text();
        }
    }

    /// The event lane that the calling thread may write to from now until its end. The thread may get a lane of its own
    /// later.
    pub(crate) fn own_event_lane(&self) -> u32 {
        match lane::current() {
            lane if (lane as usize) < self.map.events.count => lane,
            _ => OVERFLOW,
        }
    }

    /// Writes an event, or a part of one, into a lane from [`Self::own_event_lane`]. All parts of an event go into one lane.
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

    /// A stamp for an event that happens now, and after `cause`.
    #[inline]
    pub(crate) fn stamp(&self, cause: u64) -> u64 {
        self.stamp_at(self.ticks(), cause)
    }

    /// The clock, for a stamp that is given in a moment. A hook reads it before the table's CAS: its latency then overlaps
    /// the hashing.
    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        self.clock.ticks()
    }

    /// A stamp for an event that happened at `ticks` or since, and after `cause`.
    #[inline]
    pub(crate) fn stamp_at(&self, ticks: u64, cause: u64) -> u64 {
        lane::stamp(ticks, cause)
    }

    /// Nanoseconds since [`Self::ticks`] returned `since_ticks`, with the resolution of the hot paths' clock.
    #[cfg(feature = "persistence")]
    pub(crate) fn elapsed_ns(&self, since_ticks: u64) -> u64 {
        let ns_per_tick = self.tick_length as f64 / ClockSampleRecord::RATE_ONE as f64;
        (self.clock.ticks().saturating_sub(since_ticks) as f64 * ns_per_tick) as u64
    }

    /// The number of a name that lives as long as the program, or 0 if the names are full. A type's name is kept without
    /// the probe's wrappers.
    #[cfg(feature = "atomr")]
    #[inline]
    pub(crate) fn intern_static(&self, name: &'static str) -> u32 {
        self.names.intern_static(name)
    }

    /// The number of any name, or 0 if the names are full.
    pub(crate) fn intern(&self, name: &str) -> u32 {
        self.names.intern(name)
    }

    /// What counts the messages of instrumented actors; made by the first call. `None` if the environment turns the probe
    /// off, or if the region was closed before. A load, once it is made.
    #[cfg(feature = "atomr")]
    #[cfg_attr(not(feature = "instruments"), allow(dead_code, reason = "nothing is instrumented without it"))]
    #[inline]
    pub(crate) fn instruments(&self) -> Option<&'static Instruments> {
        match self.instruments.load() {
            None if !self.has_no_instruments.load(Ordering::Relaxed) => self.make_instruments(),
            found => found,
        }
    }

    #[cfg(feature = "atomr")]
    #[cfg_attr(not(feature = "instruments"), allow(dead_code, reason = "nothing is instrumented without it"))]
    #[cold]
    fn make_instruments(&self) -> Option<&'static Instruments> {
        let made = *self.made.get_or_init(|| {
            let parts = Parts {
                memory: &self.memory,
                map: &self.map,
                names: &self.names,
                clock: self.clock,
                tick_length: self.tick_length,
                time_every: self.time_every,
            };
            if turned_off() || self.is_closing() {
                return None;
            }
            let instruments = Instruments::leaked(&parts)?;
            #[cfg(target_os = "linux")]
            if let Some(object) = &self.object {
                let _ = self.leaked.set(Arc::new(object.leaked()));
            }
            Some(instruments)
        });
        self.instruments.store(made);
        self.has_no_instruments.store(made.is_none(), Ordering::Relaxed);
        made
    }
}

/// The region's own part of closing. [`crate::process::close`] does the whole.
impl RegionWriter {
    /// Whether this process made the region. False in a forked child.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.pid == std::process::id()
    }

    /// Whether the region is closed, or a thread is closing it.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing_thread.load(Ordering::Relaxed) != 0
    }

    /// Marks the region as closed and releases the lock; false if another thread does it. Removes a segment's name, unless it
    /// is evidence or becomes so with the exit code.
    pub(crate) fn begin_to_close(
        &self,
        cause: Cause,
        #[cfg(target_os = "linux")] wait_for_exit: impl FnOnce(Waiting),
    ) -> bool {
        // In a forked child the region is the parent's, and locks that another thread held at the fork stay held, those of
        // the runtime's wakers too.
        if !self.is_of_this_process() {
            return false;
        }
        let (none, this) = (0, this_thread());
        if self.closing_thread.compare_exchange(none, this, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        #[cfg(target_os = "linux")]
        self.close_object(cause, wait_for_exit);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = cause;
            self.header().set_state(State::Closed);
        }
        self.is_closed.store(true, Ordering::Release);
        true
    }

    #[cfg(target_os = "linux")]
    fn close_object(&self, cause: Cause, wait_for_exit: impl FnOnce(Waiting)) {
        let note = cause.note();
        // Before the state, so that whoever sees the region closed knows how.
        let _ = note.map(|note| self.header().note_end(note));
        self.header().set_state(State::Closed);
        let Some(object) = self.object.as_ref().filter(|object| !object.forked()) else { return };
        match cause {
            Cause::Drop { panics } if cause.keeps_segment() => wait_for_exit(Waiting {
                memory: self.memory.clone(),
                leaked: self.leaked.get().cloned(),
                traces: object.traces.clone(),
                panicked: note.filter(|_| panics),
            }),
            _ if cause.keeps_segment() => {}
            _ => {
                object.traces.remove();
                object.traces.end_series();
            }
        }
        object.unlock();
    }

    /// Waits until the closing thread is done. It takes no lock, since a signal handler may have interrupted that thread.
    pub(crate) fn await_close(&self, until: Instant) {
        while !self.is_closed.load(Ordering::Acquire)
            && self.is_of_this_process()
            && self.closing_thread.load(Ordering::Relaxed) != this_thread()
            && Instant::now() < until
        {
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Wakes the task that writes the runtime's heartbeat.
    #[cfg(feature = "atomr")]
    pub(crate) fn wake_runtime(&self) {
        self.wake_runtime.notify_one();
    }

    #[cfg(not(feature = "atomr"))]
    pub(crate) fn wake_runtime(&self) {}

    /// The number of the next runtime that is watched from its builder.
    #[cfg(feature = "atomr")]
    pub(crate) fn next_runtime(&self) -> u64 {
        self.runtimes.fetch_add(1, Ordering::Relaxed)
    }

    /// Reads the workers of the attached runtime.
    #[cfg(feature = "atomr")]
    pub(crate) fn sample_workers(&self, mono_ns: u64) {
        if let Some(workers) = self.workers.get() {
            workers.sample(self.instances(), mono_ns);
        }
    }

    #[cfg(not(feature = "atomr"))]
    pub(crate) fn sample_workers(&self, _: u64) {}

    #[cfg(not(feature = "atomr"))]
    pub(crate) fn sample_depths(&self) {}

    #[cfg(not(feature = "atomr"))]
    pub(crate) fn forget_mailboxes(&self) {}
}

thread_local! {
    /// Its address identifies the thread, even while the thread ends.
    static THREAD_MARK: u8 = const { 0 };
}

/// The section of counters.
fn counters_of(memory: &WriterMemory, map: &RegionMap) -> LaneMemory {
    LaneMemory::new(memory, map.counters.start, map.counters.count, map.counters.stride)
}

fn this_thread() -> usize {
    THREAD_MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

#[cfg(target_os = "linux")]
fn own_uid() -> u64 {
    u64::from(region_file::effective_uid())
}

#[cfg(not(target_os = "linux"))]
fn own_uid() -> u64 {
    0
}
