//! Collection: a thread that looks at the node once per tick and hands on what it saw, owned. It alone touches regions
//! and the file system; the screen draws from what it was handed.
//!
//! ```text
//!   screen ── Order ──► collector ── News ──► screen
//! ```
//! A tick is skipped where the screen has not taken the one before, so that no more than one waits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use atomscope::attach::{AttachError, Region, RegionSummary};
use atomscope::find::Who;
use atomscope::liveness::{Verdict, Wedge};
use atomscope::raw::RawDump;
use atomscope::snapshot::Snapshot;
use atomscope::text::clean_path;
use atomscope::usage::Usage;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{ActorTree, Class, Clock, Moment, RegionReader, Tally};
use atomscope_layout::follow::{Batch, Follower};
use atomscope_layout::forest::Forest;
use atomscope_layout::instances::{Domain, worker};
use crossterm::event::Event as Input;

use super::history::{MAX_EVENT_BYTES, MAX_EVENTS};
use crate::cli::{Format, Place};
use crate::commands::{self, PsRow, search};
use crate::doctor::{Finding, findings};
use crate::output::{Failure, Readers, to_file};
use crate::stat::{Counts, PerSecond};
use crate::subsystems::{Summary, summaries, worries};
use crate::tail::{count_loss, describe};

/// Between two looks for the successor of a node that has ended.
const SUCCESSOR_EVERY: Duration = Duration::from_secs(2);
/// How often it is seen, between two looks at a node, whether it publishes events faster than they would be read.
const READ_AHEAD_EVERY: Duration = Duration::from_millis(100);
/// So many live actors are listed at each look, whatever is shown, so that the past has them. More are listed while a list
/// is shown and else only counted: a list takes some 150 bytes and a microsecond for each.
pub const LISTED_ALWAYS: u64 = 20_000;
/// How full a lane of events is that is read ahead.
const READ_AHEAD_FROM: f64 = 0.25;

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
    Nodes(Result<(Vec<PsRow>, Vec<String>), String>),
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
    pub listed: Option<Arc<Listed>>,
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
pub struct Listed {
    pub tree: ActorTree,
    /// Of each actor, how many are below it.
    pub below: Vec<u32>,
    /// By which it is known whether anything of it has changed.
    mark: u64,
}

impl Listed {
    fn take(reader: &RegionReader<'_>) -> Self {
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
    pub fn of(look: Batch, clock: Option<Clock>) -> Vec<Self> {
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

/// What is kept of the look before.
#[derive(Debug)]
struct Before {
    at: Instant,
    snapshot: Arc<Snapshot>,
    listed: Option<Arc<Listed>>,
    classes: Arc<Vec<Class>>,
    counts: Counts,
    busy_percent: Option<f64>,
}

/// A node that is being looked at.
#[derive(Debug)]
pub struct Watched {
    region: Region,
    follower: Follower,
    before: Option<Before>,
    has_ended: bool,
    /// What happened since the last tick, as far as it was read before it would have been lost.
    events: Vec<EventRow>,
}

impl Watched {
    /// Attaches to it.
    pub fn open(glance: &RegionSummary, place: &Place) -> Result<Self, AttachError> {
        Self::of(glance.open(place.max_size)?)
    }

    /// Looks at this region from now on.
    pub fn of(region: Region) -> Result<Self, AttachError> {
        let follower = Follower::from_oldest(&region.reader()?);
        Ok(Self { region, follower, before: None, has_ended: false, events: Vec::new() })
    }

    /// Goes on with another region of the same node.
    #[cfg(test)]
    pub fn go_on_in(&mut self, region: Region) {
        self.region = region;
    }

    /// Between two ticks: reads the events of which some may be lost by the next one.
    pub fn read_ahead(&mut self) {
        let Ok(reader) = self.region.reader() else { return };
        let bytes = || self.events.iter().map(|event| event.text.len()).sum::<usize>();
        let has_room = || self.events.len() < MAX_EVENTS && bytes() < MAX_EVENT_BYTES;
        if self.follower.fill(&reader) > READ_AHEAD_FROM && has_room() {
            let look = self.follower.next_batch(&reader);
            self.events.extend(EventRow::of(look, reader.clock()));
        }
    }

    /// Looks at it; with a list of its actors, however many there are, if one is shown.
    pub fn look(&mut self, shows_actors: bool) -> Result<(Tick, Vec<EventRow>), AttachError> {
        let at = Instant::now();
        let snapshot = Snapshot::count(&self.region)?;
        self.tick(snapshot, at, shows_actors)
    }

    /// What is made of a snapshot that was taken at a time, in which the actors are counted.
    pub fn tick(
        &mut self,
        mut snapshot: Snapshot,
        at: Instant,
        shows_actors: bool,
    ) -> Result<(Tick, Vec<EventRow>), AttachError> {
        let region = &self.region;
        // Before the events: what a node that is dead by now has published is all there.
        let is_last = snapshot.dumped.is_some() || !snapshot.liveness.verdict.is_alive();
        let reader = region.reader()?;
        let mut look =
            if is_last { self.follower.last_batch(&reader) } else { self.follower.next_batch(&reader) };
        if self.before.is_none() {
            // What was overwritten while the old ones were read was there before anybody looked.
            look.losses.iter_mut().for_each(|loss| loss.lapped = 0);
            look.losses.retain(|loss| loss.all() > 0);
        }
        let mut events = std::mem::take(&mut self.events);
        events.extend(EventRow::of(look, reader.clock()));
        let counts = Counts::read(&reader, &snapshot.totals);
        let usage = Usage::take(region, &snapshot)?;
        let caveats = snapshot.caveats();
        let findings = findings(region, &snapshot, &usage);
        let uptime = region.uptime(&snapshot.liveness, &snapshot.taken);
        let summaries = summaries(&snapshot);
        let worries = worries(&snapshot, self.before.as_ref().map(|before| &*before.snapshot));
        let tally = snapshot.tally.unwrap_or_default();
        let listed = (shows_actors || tally.listed <= LISTED_ALWAYS).then(|| {
            // What has not changed is neither listed again nor kept twice.
            let last = self.before.as_ref().and_then(|before| before.listed.as_ref());
            let last = last.filter(|last| last.mark == snapshot.actors_mark);
            last.map_or_else(|| Arc::new(Listed::take(&reader)), Arc::clone)
        });
        let classes = std::mem::take(&mut snapshot.classes);
        let last = self.before.as_ref().filter(|before| *before.classes == classes);
        let classes = last.map_or_else(|| Arc::new(classes), |before| Arc::clone(&before.classes));
        region.still_whole()?;
        let point = point(&snapshot, counts, self.before.as_ref(), at, uptime, is_last);
        let beside_bytes = told_bytes(&snapshot) + classes.len() * EACH_BYTES;
        let snapshot = Arc::new(snapshot);
        let before = self.before.replace(Before {
            at,
            snapshot: Arc::clone(&snapshot),
            listed: listed.clone(),
            classes: Arc::clone(&classes),
            counts,
            busy_percent: point.busy_percent,
        });
        self.has_ended = is_last;
        let tick = Tick {
            at,
            path: region.shown_path(),
            bytes: region.bytes(),
            classes_before: before.as_ref().map(|before| Arc::clone(&before.classes)),
            before: before.map(|before| (before.snapshot, (at - before.at).as_secs_f64())),
            snapshot,
            listed,
            tally,
            classes,
            summaries,
            usage,
            caveats,
            findings,
            worries,
            uptime,
            point,
            own: Vitals::own(),
            took: at.elapsed(),
            beside_bytes,
        };
        Ok((tick, events))
    }
}

/// What a thing takes beside its texts, and what a look takes beside its things, roughly.
const EACH_BYTES: usize = 256;
const LOOK_BYTES: usize = 16 << 10;

/// Bytes of memory that a snapshot takes beside its actors, nearly: no text is left out, as a region may hold very long ones.
pub fn told_bytes(snapshot: &Snapshot) -> usize {
    let told = &snapshot.subsystems;
    let (cluster, sharding) = (&told.cluster, &told.sharding);
    let (mut things, mut bytes) = (0usize, LOOK_BYTES);
    let mut add = |texts: &[&str]| {
        things += 1;
        bytes += texts.iter().map(|text| text.len()).sum::<usize>();
    };
    cluster.members.iter().for_each(|member| {
        add(&[&member.address, &member.status]);
        member.roles.iter().for_each(|role| add(&[role]));
    });
    cluster.unreachable.iter().for_each(|address| add(&[address]));
    cluster.reachability_records.iter().for_each(|of| add(&[&of.observer, &of.subject, &of.status]));
    cluster.gossip_version.iter().for_each(|(node, _)| add(&[node]));
    sharding.regions.iter().for_each(|region| {
        add(&[&region.region_id]);
        region.shards.iter().for_each(|shard| add(&[shard]));
    });
    sharding.allocations.iter().for_each(|(shard, region)| add(&[shard, region]));
    told.hand_offs.iter().for_each(|of| add(&of.each_ref().map(String::as_str)));
    // Once as an instance, and once as what `atomr-telemetry`'s JSON has of it.
    told.instances.entries.iter().for_each(|entry| {
        add(&[&entry.name, &entry.name]);
        add(&[entry.owner.as_deref().unwrap_or_default()]);
    });
    told.persistence.recent_writes.iter().for_each(|write| add(&[&write.journal, &write.persistence_id]));
    snapshot.metrics.iter().for_each(|metric| add(&[&metric.name, &metric.help]));
    snapshot.dead_letters.recent.iter().for_each(|letter| {
        add(&[&letter.recipient, &letter.message_type, &letter.message_preview]);
    });
    bytes + things * EACH_BYTES
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

fn point(
    snapshot: &Snapshot,
    counts: Counts,
    before: Option<&Before>,
    at: Instant,
    uptime: Option<Duration>,
    is_last: bool,
) -> Point {
    let then = before.map_or(Counts::default(), |before| before.counts);
    let interval = before.map_or(uptime, |before| Some(at - before.at));
    let cpu_before =
        before.map_or(Some(0.0), |before| before.snapshot.process.map(|process| process.cpu_s()));
    Point {
        counts,
        live: snapshot.totals.live,
        rates: counts.per_second(&then, interval),
        busy_percent: busy(snapshot, before, uptime),
        cpu_percent: snapshot
            .process
            .zip(cpu_before)
            .zip(interval)
            .map(|((now, before), interval)| now.cpu_percent(before, interval)),
        memory_bytes: snapshot.process.map(|process| process.memory_bytes),
        is_average: before.is_none(),
        is_last,
    }
}

/// Of the time of all workers, how much they spent on tasks. The poller asks for that, so it is over the time between two
/// of its rounds; while there was none since the look before, it is what it was.
fn busy(snapshot: &Snapshot, before: Option<&Before>, uptime: Option<Duration>) -> Option<f64> {
    fn workers(snapshot: &Snapshot) -> impl Iterator<Item = (&str, u64)> {
        let all = snapshot.subsystems.instances.of(Domain::Worker);
        all.map(|entry| (entry.name.as_str(), entry.numbers[worker::BUSY_NS]))
    }
    let verdict = snapshot.liveness.verdict;
    let goes_on = verdict.is_alive()
        && !matches!(verdict, Verdict::Wedged(Wedge::Stopped | Wedge::Frozen | Wedge::ProcessStale));
    let poll = snapshot.poll.filter(|poll| !poll.is_stuck && goes_on)?;
    let seconds = match before {
        None => uptime?.as_secs_f64(),
        Some(before) => {
            let since = poll.beat_mono_ns.saturating_sub(before.snapshot.poll?.beat_mono_ns);
            if since == 0 {
                return before.busy_percent;
            }
            Duration::from_nanos(since).as_secs_f64()
        }
    };
    let then: HashMap<&str, u64> = before.into_iter().flat_map(|before| workers(&before.snapshot)).collect();
    let (mut count, mut busy_ns) = (0u32, 0u64);
    for (name, ns) in workers(snapshot) {
        let since = if before.is_some() { *then.get(name)? } else { 0 };
        (count, busy_ns) = (count + 1, busy_ns.saturating_add(ns.saturating_sub(since)));
    }
    let share = busy_ns as f64 / 1e9 / seconds.max(1e-9) / f64::from(count);
    (count > 0).then(|| (share * 100.0).min(100.0))
}

/// The collecting thread.
#[derive(Debug)]
pub struct Collector {
    pub place: Place,
    pub orders: Receiver<Order>,
    pub news: SyncSender<News>,
    /// Set while the screen has a tick that it has not taken.
    pub is_waiting: Arc<AtomicBool>,
    pub interval: Duration,
}

/// The node that is meant, and its region once it could be opened.
#[derive(Debug)]
struct Target {
    number: u64,
    glance: RegionSummary,
    watched: Option<Watched>,
}

/// Nobody listens any more.
struct Gone;

impl Collector {
    /// Collects until nobody gives orders, or listens, any more. The first node has the number 0.
    pub fn run(self, first: Option<RegionSummary>) {
        let _ = self.go_on(first.map(|glance| Target { number: 0, glance, watched: None }));
    }

    fn go_on(mut self, mut target: Option<Target>) -> Result<(), Gone> {
        let (mut lists_nodes, mut lists_actors) = (false, false);
        let mut next = Instant::now();
        let mut next_search = next;
        loop {
            let now = Instant::now();
            let watched = target.as_ref().and_then(|target| target.watched.as_ref());
            let reads_ahead =
                watched.is_some_and(|watched| !watched.has_ended) && now + READ_AHEAD_EVERY < next;
            let wait = if reads_ahead { READ_AHEAD_EVERY } else { next.saturating_duration_since(now) };
            match self.orders.recv_timeout(wait) {
                Ok(Order::Watch(number, glance)) => {
                    target = glance.map(|glance| Target { number, glance: *glance, watched: None });
                    (next, next_search) = (now, now);
                }
                Ok(Order::Every(interval)) => {
                    next = next.min(now + interval);
                    self.interval = interval;
                }
                Ok(Order::Now) => next = now,
                Ok(Order::Nodes(wanted)) => {
                    lists_nodes = wanted;
                    next = if wanted { now } else { next };
                }
                Ok(Order::Actors(wanted)) => {
                    lists_actors = wanted;
                    next = if wanted { now } else { next };
                }
                Ok(Order::Save(path, tick)) => {
                    let watched = target.as_ref().and_then(|target| target.watched.as_ref());
                    let saved = save(&path, watched.map(|watched| &watched.region), tick);
                    self.tell(News::Saved(saved))?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if reads_ahead => {
                    // Of a region that breaks the next look tells.
                    target.iter_mut().flat_map(|target| &mut target.watched).for_each(Watched::read_ahead);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(target) = &mut target {
                        self.look(target, lists_actors)?;
                        let has_ended = target.watched.as_ref().is_none_or(|watched| watched.has_ended);
                        if has_ended && target.glance.dumped.is_none() && now >= next_search {
                            self.search(target)?;
                            next_search = now + SUCCESSOR_EVERY;
                        }
                    }
                    if lists_nodes {
                        let nodes = commands::nodes(&self.place).map_err(sentence);
                        self.tell(News::Nodes(nodes))?;
                    }
                    // What took longer than the interval is not caught up with.
                    next = (next + self.interval).max(now);
                }
            }
        }
    }

    fn tell(&self, news: News) -> Result<(), Gone> {
        self.news.send(news).map_err(|_| Gone)
    }

    fn look(&self, target: &mut Target, lists_actors: bool) -> Result<(), Gone> {
        let Target { number, glance, watched } = target;
        let has_ended = watched.as_ref().is_some_and(|watched| watched.has_ended);
        if has_ended || self.is_waiting.load(Ordering::Relaxed) {
            return Ok(());
        }
        let look = match watched {
            Some(watched) => watched.look(lists_actors),
            None => match Watched::open(glance, &self.place) {
                Ok(new) if new.region.identity().header != glance.identity.header => {
                    return self.tell(News::Lost(*number, "another node is in its place by now".to_owned()));
                }
                opened => opened.and_then(|new| watched.insert(new).look(lists_actors)),
            },
        };
        match look {
            Ok((tick, events)) => {
                self.is_waiting.store(true, Ordering::Relaxed);
                self.tell(News::Tick(*number, Box::new(tick), events))
            }
            Err(error) => {
                // A region that broke is not opened again: what was seen of it is kept.
                if let Some(watched) = watched {
                    watched.has_ended = true;
                }
                self.tell(News::Lost(*number, error.to_string()))
            }
        }
    }

    fn search(&self, ended: &Target) -> Result<(), Gone> {
        let Target { number, glance, .. } = ended;
        let meant = [Who::File(glance.path.clone()), Who::Node(glance.identity.node.clone().into())];
        let last = glance.identity.birth();
        match search(&self.place).successor(meant, Some(last), &[glance.inode]) {
            Some(found) => self.tell(News::Successor(*number, Box::new(found))),
            None => Ok(()),
        }
    }
}

/// What a failure says.
pub fn sentence(failure: Failure) -> String {
    match failure {
        Failure::Usage(why) | Failure::Filter(_, why) | Failure::Failed(why) => why,
        Failure::Enough => "nobody reads it".to_owned(),
    }
}

/// Writes what there is now, or was at `tick`, in the form that the file's name ends in.
fn save(path: &Path, region: Option<&Region>, tick: Option<Arc<Tick>>) -> Result<String, String> {
    // A shell would have done so.
    let home = path.strip_prefix("~").ok().zip(std::env::home_dir()).map(|(rest, home)| home.join(rest));
    let path = home.as_deref().unwrap_or(path);
    if path.exists() {
        return Err(format!("{} is there already; name another file", clean_path(path)));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let format = match ending {
        "raw" => Format::Raw,
        "json" => Format::Json,
        "ndjson" => Format::Ndjson,
        _ => {
            return Err(
                "a file's name ends in .raw, .json or .ndjson here, which says what is written".to_owned()
            );
        }
    };
    let nothing = || Failure::Failed("there is no node to save".to_owned());
    let written = match (format, tick) {
        (Format::Raw, Some(_)) => {
            return Err(
                "what is shown is no longer the region, which .raw is: name a .json or .ndjson".to_owned()
            );
        }
        (Format::Raw, None) => region.ok_or_else(nothing).and_then(|open| {
            let dump = RawDump::take(open)?;
            to_file(path, region, Readers::Owner, |out| dump.write(out))
        }),
        (_, tick) => {
            let snapshot = match tick {
                Some(tick) => {
                    let Some(listed) = &tick.listed else {
                        let why = "the actors were too many to be listed at that look, and were only counted; `}` goes to \
                                   what is there now, which can be saved";
                        return Err(why.to_owned());
                    };
                    let (actors, snapshot) = (listed.tree.actors().clone(), (*tick.snapshot).clone());
                    // They were listed after they were counted.
                    let at_rest = snapshot.at_rest && listed.mark == snapshot.actors_mark;
                    Ok(Snapshot { actors, at_rest, ..snapshot })
                }
                None => region
                    .ok_or_else(nothing)
                    .and_then(|region| Snapshot::take(region).map_err(Failure::from)),
            };
            snapshot.and_then(|snapshot| {
                let dump = snapshot.into_dump(false);
                to_file(path, region, Readers::Owner, |out| commands::write_dump(dump, format, out))
            })
        }
    };
    written.map(|()| clean_path(path)).map_err(sentence)
}
