//! The nodes of this machine as they come and go.
//!
//! The region directory is watched with inotify, so a node is found when its region appears. A full search of the machine,
//! which also finds the regions of containers, and all regions where inotify is missing, is made every few seconds.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::exporter::{Exporter, Node, NodeEnd, Observed};
use crate::attach::{AttachError, AttachErrorKind, Inode, Region, RegionSummary};
use crate::find::{Discovery, Search, Target};
use crate::follow::{End, NodeFollower};
use crate::liveness::{Lock, Verdict};
use crate::report::usage::Usage;
use crate::snapshot::Snapshot;
use crate::text::clean_path;
use crate::threads::{NodeProcess, ThreadSamples};

/// The time between two looks at the nodes that are known: for new events, and whether each still lives.
pub const TICK: Duration = Duration::from_millis(250);
/// The time between two searches of the whole machine.
pub const RESCAN: Duration = Duration::from_secs(5);
/// Limit of nodes that are watched at the same time.
pub const MOST_NODES: usize = 1024;

/// The nodes that an exporter is told of.
#[derive(Debug)]
pub struct Nodes {
    search: Search,
    targets: Vec<Target>,
    changes: Option<OwnedFd>,
    next_search: Instant,
    /// Whether a region may have appeared that is not watched yet.
    is_dirty: bool,
    /// Since when nodes are watched, by the age that a region had at that time.
    begun: Instant,
    nodes: Vec<Watched>,
    next_number: usize,
    /// Regions that are not to be attached again: of nodes that ended, and of nodes that were dead when they were found.
    done: HashSet<Inode>,
    unreadable: usize,
    beyond_limit: usize,
    /// Regions of which a notice tells already.
    noticed: HashSet<Inode>,
    /// Files among the targets of which a notice tells already.
    noticed_files: HashSet<PathBuf>,
    notices: Vec<String>,
}

#[derive(Debug)]
struct Watched {
    number: usize,
    follower: NodeFollower,
}

impl Watched {
    fn node(&self) -> Node<'_> {
        Node { number: self.number, region: self.follower.region() }
    }
}

impl Nodes {
    /// Watches the nodes that `targets` name, or all if there are no targets.
    pub fn new(search: Search, targets: Vec<Target>) -> Self {
        let changes = watch(search.dir()).ok();
        let now = Instant::now();
        Self {
            search,
            targets,
            changes,
            next_search: now,
            is_dirty: true,
            begun: now,
            nodes: Vec::new(),
            next_number: 0,
            done: HashSet::new(),
            unreadable: 0,
            beyond_limit: 0,
            noticed: HashSet::new(),
            noticed_files: HashSet::new(),
            notices: Vec::new(),
        }
    }

    /// Number of nodes that are watched.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node is watched.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Regions that could not be read at the last search.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Live nodes that are not watched, because there are [`MOST_NODES`].
    pub fn beyond_limit(&self) -> usize {
        self.beyond_limit
    }

    /// Sentences about nodes that could not be watched, since the last call, one for each region. Safe to print.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Looks for new nodes, reads new events, and notices which nodes have ended. To be called every [`TICK`].
    ///
    /// # Errors
    /// Those of the exporter. A region that cannot be read is none.
    pub fn poll(&mut self, exporter: &mut dyn Exporter) -> io::Result<()> {
        self.search(exporter)?;
        let mut at = 0;
        while let Some(watched) = self.nodes.get_mut(at) {
            let wants_events = exporter.wants_events(&watched.node());
            let items =
                if wants_events { watched.follower.poll(watched.number) } else { watched.follower.look() };
            if !items.is_empty() {
                exporter.events(&watched.node(), &items)?;
            }
            if watched.follower.end().is_none() {
                at += 1;
                continue;
            }
            let watched = self.nodes.swap_remove(at);
            let node = watched.node();
            self.done.insert(node.inode());
            if let Some(end) = watched.follower.end() {
                let last = match end {
                    End::Ended(_) => Owned::take(&node, exporter.wants_actors()).ok(),
                    End::Failed(_) => None,
                };
                let last = last.as_ref().map(Owned::observed);
                let end = match end {
                    End::Ended(liveness) => NodeEnd::Ended { liveness, last: last.as_ref() },
                    End::Failed(error) => NodeEnd::Failed(error),
                };
                exporter.node_ended(&node, &end)?;
            }
        }
        Ok(())
    }

    /// Gives the exporter a snapshot of each live node.
    ///
    /// # Errors
    /// Those of the exporter. A node whose region cannot be read gets no snapshot, and the next [`Self::poll`] ends it.
    pub fn snapshots(&mut self, exporter: &mut dyn Exporter) -> io::Result<()> {
        for watched in &self.nodes {
            let node = watched.node();
            let Ok(owned) = Owned::take(&node, exporter.wants_actors()) else { continue };
            if owned.snapshot.liveness.verdict.is_alive() {
                exporter.snapshot(&node, &owned.observed())?;
            }
        }
        exporter.round_ended()
    }

    /// Calls [`Self::poll`] every [`TICK`], and [`Self::snapshots`] at each interval, until `is_over`.
    ///
    /// # Errors
    /// Those of the exporter.
    pub fn run(
        &mut self,
        exporter: &mut dyn Exporter,
        interval: Duration,
        is_over: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        let mut next = Instant::now();
        while !is_over() {
            self.poll(exporter)?;
            self.notices().iter().for_each(|notice| exporter.notice(notice));
            let now = Instant::now();
            if now >= next {
                self.snapshots(exporter)?;
                // A round that took longer than the interval does not make the next ones come faster.
                next = (next + interval).max(now);
            }
            std::thread::sleep(TICK.min(next.saturating_duration_since(Instant::now())));
        }
        exporter.stop()
    }

    fn search(&mut self, exporter: &mut dyn Exporter) -> io::Result<()> {
        self.is_dirty |= self.changes.as_ref().is_some_and(has_changed);
        let is_full = Instant::now() >= self.next_search;
        if !self.is_dirty && !is_full {
            return Ok(());
        }
        self.is_dirty = false;
        let search = match is_full {
            true => self.search.clone(),
            // A region that appears in the directory is found there.
            false => Search { dir: Some(self.search.dir().to_owned()), ..self.search },
        };
        let Ok(discovery) = search.discover() else {
            self.next_search = Instant::now() + RESCAN;
            return Ok(());
        };
        self.take_up(discovery, is_full, exporter)?;
        if is_full {
            self.next_search = Instant::now() + RESCAN;
        }
        Ok(())
    }

    fn take_up(
        &mut self,
        discovery: Discovery,
        is_full: bool,
        exporter: &mut dyn Exporter,
    ) -> io::Result<()> {
        let mut found = Vec::new();
        let mut unreadable = 0;
        for region in discovery.regions {
            match region.region {
                Ok(summary) => found.push(summary),
                Err(error) if is_starting(&error) => self.is_dirty = true,
                Err(_) => unreadable += 1,
            }
        }
        for target in &self.targets {
            let Target::File(path) = target else { continue };
            let why = match RegionSummary::read(path, None, self.search.max_bytes) {
                Ok(summary) if summary.dump_info.is_some() => {
                    let path = clean_path(path);
                    Some(format!(
                        "{path} is a dump; `atomscope dump {path} --format prom` prints its metrics"
                    ))
                }
                Ok(summary) => {
                    found.push(summary);
                    None
                }
                Err(error) if is_starting(&error) => {
                    self.is_dirty = true;
                    None
                }
                // It may come later.
                Err(_) if !path.exists() => None,
                Err(error) => {
                    unreadable += 1;
                    Some(error.to_string())
                }
            };
            match why {
                None => _ = self.noticed_files.remove(path),
                Some(why) if self.noticed_files.insert(path.clone()) => self.notices.push(why),
                Some(_) => {}
            }
        }
        if is_full {
            let there: HashSet<Inode> = found.iter().map(|summary| summary.inode).collect();
            // The number of a file that is gone may be that of a new region.
            self.done.retain(|inode| there.contains(inode));
            self.noticed.retain(|inode| there.contains(inode));
            self.unreadable = unreadable;
        }
        let mut beyond_limit = 0;
        for summary in found {
            let is_wanted = self.targets.is_empty()
                || self.targets.iter().any(|target| self.search.is_meant(target, &summary));
            if is_wanted && summary.dump_info.is_none() {
                beyond_limit += usize::from(!self.start(&summary, exporter)?);
            }
        }
        if is_full {
            self.beyond_limit = beyond_limit;
        }
        Ok(())
    }

    /// Watches the node of a region, unless it is watched, or has ended. Returns whether there was room.
    fn start(&mut self, summary: &RegionSummary, exporter: &mut dyn Exporter) -> io::Result<bool> {
        let is_same = |region: &Region| {
            (region.inode(), &region.identity().header) == (summary.inode, &summary.identity.header)
        };
        if self.nodes.iter().any(|watched| is_same(watched.follower.region())) {
            return Ok(true);
        }
        if !summary.is_alive() {
            // A node that began and ended between two looks is reported with its last state. Others died before this run.
            let is_new = summary.age.is_some_and(|age| age < self.begun.elapsed());
            if !self.done.insert(summary.inode) || !is_new {
                return Ok(true);
            }
        }
        if self.nodes.len() >= MOST_NODES {
            return Ok(false);
        }
        let follower = summary.open(self.search.max_bytes).and_then(|region| NodeFollower::new(region, None));
        match follower {
            Ok(follower) => {
                let watched = Watched { number: self.next_number, follower };
                self.next_number += 1;
                exporter.node_started(&watched.node())?;
                self.nodes.push(watched);
            }
            // It may be gone, and is looked for again.
            Err(error) if self.noticed.insert(summary.inode) => self.notices.push(error.to_string()),
            Err(_) => {}
        }
        Ok(true)
    }
}

/// Whether a node is about to publish its region. Without the lock it may have ended before that, and would be looked for
/// without end.
fn is_starting(error: &AttachError) -> bool {
    matches!(error.kind, AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock: Lock::Held } })
}

/// What an [`Observed`] borrows.
struct Owned {
    snapshot: Snapshot,
    usage: Usage,
    threads: Option<ThreadSamples>,
}

impl Owned {
    fn take(node: &Node<'_>, with_actors: bool) -> Result<Self, AttachError> {
        let snapshot = match with_actors {
            true => Snapshot::take(node.region)?,
            false => Snapshot::with_class_counts(node.region)?,
        };
        let usage = Usage::take(node.region, &snapshot)?;
        let process = NodeProcess::of(node.region, &snapshot.liveness);
        let threads = process.and_then(|process| ThreadSamples::take(&process).ok());
        Ok(Self { snapshot, usage, threads })
    }

    fn observed(&self) -> Observed<'_> {
        Observed { snapshot: &self.snapshot, usage: &self.usage, threads: self.threads.as_ref() }
    }
}

/// Watches a directory for files that appear.
fn watch(dir: &Path) -> io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let kinds = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&changes, dir, kinds)?;
    Ok(changes)
}

/// Whether anything changed since the last call. Events that the kernel dropped count as changes.
fn has_changed(changes: &OwnedFd) -> bool {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(changes, &mut buffer);
    let mut is_changed = false;
    // A directory in which files come without end does not keep the caller here.
    for _ in 0..4096 {
        match reader.next() {
            Ok(event) => is_changed |= !event.events().contains(ReadFlags::IGNORED),
            Err(_) => break,
        }
    }
    is_changed
}
