//! Why an attachment fails or is poor, and what to do.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope_layout::OpenError;
use atomscope_layout::decode::{Birth, Identity, rfc3339};
use atomscope_layout::instances::{Domain, journal};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::{State, VERSION_MAJOR, VERSION_MINOR};
use atomscope_layout::retention::stay;
use serde::Serialize;

use super::human::{bytes, count, duration};
use super::usage::{Drops, Usage};
use crate::attach::{AttachError, AttachErrorKind, Region, RegionSummary};
use crate::cgroup;
use crate::find::{Discovery, FindError, Found, Search, Segment, Who, is_segment, others_note};
use crate::hidden::{Hidden, is_proc_narrowed};
use crate::liveness::{Evidence, Liveness, Lock, Note, Verdict, Wedge};
use crate::process;
use crate::raw::header::DumpInfo;
use crate::snapshot::Snapshot;
use crate::system::{FileSystem, user};
use crate::text::{clean, clean_path};

/// How full something may be before a word is said.
const FULL_PERCENT: u64 = 90;

/// Of all events, how many may go through the shared lane before a word is said.
const SHARED_PERCENT: u64 = 10;

/// Of a processor, how much the probe's thread may take before a word is said.
const SAMPLER_PERCENT: f64 = 1.0;

/// Free shared memory below which the next node may not get its region.
const LEAST_FREE_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Something is lost or soon will be.
    Warning,
    /// It does not work.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub level: Level,
    /// The region that it is about, if it is about one.
    path: Option<String>,
    pid: Option<u64>,
    node: Option<String>,
    pub finding: String,
    /// What to do.
    pub advice: Option<String>,
}

/// The findings about one region, or about the machine.
#[derive(Debug, Default)]
pub struct Chart {
    path: Option<String>,
    pid: Option<u64>,
    node: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Chart {
    fn of(region: &Region) -> Self {
        Self {
            path: Some(region.path().to_string_lossy().into_owned()),
            pid: Some(region.pid()),
            node: Some(region.identity().node.clone()),
            findings: Vec::new(),
        }
    }

    fn of_glance(glance: &RegionSummary) -> Self {
        Self {
            path: Some(glance.path.to_string_lossy().into_owned()),
            pid: Some(glance.pid()),
            node: Some(glance.identity.node.clone()),
            findings: Vec::new(),
        }
    }

    fn add(&mut self, level: Level, finding: impl Into<String>, advice: Option<&str>) {
        let Self { path, pid, node, .. } = self;
        let (path, pid, node) = (path.clone(), *pid, node.clone());
        let (finding, advice) = (finding.into(), advice.map(str::to_owned));
        self.findings.push(Finding { level, path, pid, node, finding, advice });
    }

    /// What stands beside a verdict.
    fn add_note(&mut self, note: Note, pid: u64) {
        let (level, advice) = match note {
            Note::RuntimeDropped => (
                Level::Warning,
                format!(
                    "none of its actors goes on. If the process should have ended by now, the drop of its runtime waits for \
                     a thread that blocks: look at /proc/{pid}/task, or use a debugger. FieldKind is listed is as it was then"
                ),
            ),
            Note::SystemDropped => (
                Level::Warning,
                "what is listed is as it was then: atomr tells nothing of the actors of a dropped system. A new system \
                 needs a new extension; the region goes when the last handle of the old one is dropped"
                    .to_owned(),
            ),
            Note::SpawnHookReplaced | Note::DeadLetterHookReplaced => (
                Level::Warning,
                "atomr has one place for each observer, and a second telemetry, or any observer that is set later, takes \
                 it: set that first and install the probe with `install_beside`, which tells both"
                    .to_owned(),
            ),
            Note::LockLost => (
                Level::Warning,
                "a daemon that closes all descriptors has to do so before the probe is made: readers that cannot see the \
                 process take the node for dead"
                    .to_owned(),
            ),
            Note::LockFree => {
                (Level::Note, "in a few seconds its beats will tell which, or where the process can be seen".to_owned())
            }
            Note::NoActorLeft => (
                Level::Note,
                "all actors that were spawned since the probe was installed have stopped, as after `terminate()`"
                    .to_owned(),
            ),
        };
        self.add(level, note.text(), Some(&advice));
    }

    fn good(&mut self, finding: impl Into<String>) {
        self.add(Level::Good, finding, None);
    }

    /// What it is about; safe to print.
    pub fn title(&self) -> String {
        match (&self.node, self.pid, &self.path) {
            (Some(node), Some(pid), Some(path)) => {
                format!("node {} ({pid}), {}", clean(node), clean(path))
            }
            (_, _, Some(path)) => clean(path).into_owned(),
            _ => "this machine".to_owned(),
        }
    }
}

/// Findings about the region of one node.
///
/// # Errors
/// The region directory cannot be read. A region that cannot be attached to is a finding.
pub fn of_node(search: &Search, who: &Who) -> Result<Chart, FindError> {
    Ok(match search.one(who) {
        Ok(chosen) => examine(&chosen.region, Snapshot::take),
        Err(error @ FindError::Directory { .. }) => return Err(error),
        Err(FindError::Attach(error)) => refused(None, &error),
        Err(error) => {
            let mut machine = Chart::default();
            machine.add(Level::Problem, error.to_string(), None);
            machine
        }
    })
}

/// Findings about this machine, and then about each region.
///
/// # Errors
/// The region directory cannot be read.
pub fn of_machine(search: &Search) -> Result<Vec<Chart>, FindError> {
    let discovery = search.all()?;
    let mut charts = Vec::new();
    let mut machine = machine(search, &discovery);
    if discovery.found.is_empty() {
        machine.add(
            Level::Note,
            "there is no region",
            Some(
                "is a node with the probe running, as this user, on this machine and not with ATOMSCOPE=off? It \
                 warns at its start if it could not make a shared region",
            ),
        );
    }
    if discovery.of_others > 0 {
        machine.add(Level::Note, others_note(discovery.of_others), None);
    }
    for Hidden { pid, name, why, advice } in discovery.hidden() {
        let text = format!("process {pid} ({name}) is a node that cannot be looked into: {why}");
        machine.add(Level::Problem, text, Some(&advice));
    }
    if search.dir.is_none() && user() != 0 && is_proc_narrowed() {
        let advice = "run as root: a node of which neither process nor region is seen is not listed at all";
        machine.add(
            Level::Note,
            "/proc does not show all processes (it is mounted with hidepid)",
            Some(advice),
        );
    }
    charts.push(machine);
    charts.extend(discovery.found.into_iter().map(|Found { pid, region }| {
        // All of them: what is told of each must not take a list of its actors, nor the reading of what the dead left.
        let opened = match region {
            Ok(glance) if !glance.is_alive() && glance.dumped.is_none() => return left_by(&glance),
            region => region.and_then(|glance| glance.open(search.max_bytes)),
        };
        match opened {
            Ok(region) => examine(&region, Snapshot::count),
            Err(error) => refused(pid, &error),
        }
    }));
    Ok(charts)
}

/// One that cannot be attached to. The error says what to do at once; this is how it comes about, and what else helps.
fn refused(pid: Option<u64>, error: &AttachError) -> Chart {
    let mut chart = Chart { path: Some(error.path.to_string_lossy().into_owned()), pid, ..Chart::default() };
    let advice = match &error.why {
        AttachErrorKind::OwnerMismatch { .. } => {
            "a node in a user namespace that has died leaves such a region, for its own user to read: `setpriv --reuid`, \
             `sudo -u` or `su` make you that user. If no such node was there, somebody planted it: `rm` removes it"
        }
        AttachErrorKind::OthersProcess { .. } => {
            "a region is its process's only if that runs as the file's owner. Somebody planted it, or the node has \
             changed its user since its start: then let it make its region after that"
        }
        AttachErrorKind::OtherProcess { .. } => {
            "the node is dead, and a process that it started keeps its lock; or somebody planted it. Once nobody holds \
             the lock it reads as dead; `fuser FILE` tells who has it open"
        }
        AttachErrorKind::HardLinks { .. } => {
            "its owner may read it all the same. `find -samefile` finds the other names; nodes give a region only one"
        }
        AttachErrorKind::OtherUser { .. } => {
            "regions are for their owner and root alone: previews of messages may be in them"
        }
        AttachErrorKind::System(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "regions are for their owner and root alone: previews of messages may be in them"
        }
        AttachErrorKind::Writable { .. } => {
            "nodes make their regions with mode 600; whoever may write one may show you anything, or kill its node by \
             cutting it short"
        }
        AttachErrorKind::Link => {
            "in a directory that others may write to, a link may lead to a file that is not meant for you"
        }
        AttachErrorKind::NotAFile(_) => "a region is a regular file; nothing else was opened",
        AttachErrorKind::TooLarge { .. } => {
            "`--max-size 64G` allows it; a dead region of that size takes as much memory to read"
        }
        AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock: Lock::Held } } => {
            "a node needs less than a second to be ready, unless its machine is overloaded or it is stopped"
        }
        AttachErrorKind::NotReady { .. } => {
            "if its node died, `atomscope prune` removes it a minute later, and so does the next node that starts"
        }
        AttachErrorKind::Layout(OpenError::Incompatible { .. }) => {
            "`atomscope --version` tells which layouts it reads; ask the node's atomscope-probe for the other half"
        }
        AttachErrorKind::Layout(_) | AttachErrorKind::Shrunk | AttachErrorKind::Overwritten => {
            "nodes never cut or reuse a region: something else wrote to the file, or it is an incomplete copy"
        }
        AttachErrorKind::TooMany => "name fewer nodes at a time",
        AttachErrorKind::Missing | AttachErrorKind::System(_) => "",
    };
    chart.add(Level::Problem, error.to_string(), Some(advice).filter(|advice| !advice.is_empty()));
    chart
}

/// Where regions are.
fn machine(search: &Search, discovery: &Discovery) -> Chart {
    let mut chart = Chart::default();
    let dir = search.dir();
    let name = clean_path(dir);
    match FileSystem::of(dir) {
        Ok(found) => {
            let text =
                format!("{name} has {}, of which {} are free", bytes(found.bytes), bytes(found.free_bytes));
            if found.free_bytes < LEAST_FREE_BYTES {
                let advice = "the next node may get no shared region: `atomscope prune` removes those of dead nodes, \
                              or give the machine or container more (docker run --shm-size)";
                chart.add(Level::Warning, text, Some(advice));
            } else {
                chart.good(text);
            }
            dead(&mut chart, search, discovery, found.bytes);
        }
        Err(error) => {
            let advice = "without it a node keeps its data to itself, unless it is told to use a file";
            chart.add(Level::Problem, format!("{name} cannot be looked at: {error}"), Some(advice));
        }
    }
    chart
}

/// What the regions of dead nodes take of it, by user.
fn dead(chart: &mut Chart, search: &Search, discovery: &Discovery, file_system_bytes: u64) {
    let mut by_user: BTreeMap<u64, Vec<&RegionSummary>> = BTreeMap::new();
    let readable = discovery.found.iter().filter_map(|found| found.region.as_ref().ok());
    for glance in readable.filter(|glance| !glance.is_alive() && is_segment(glance, search.dir())) {
        by_user.entry(glance.user).or_default().push(glance);
    }
    for (user, dead) in by_user {
        let births: Vec<_> = dead.iter().map(|glance| glance.identity.birth()).collect();
        let mut ranked: Vec<_> = Birth::ranks(&births, process::boot_id()).into_iter().zip(dead).collect();
        ranked.sort_by_key(|(rank, _)| Reverse(*rank));
        let dead: Vec<_> = ranked.into_iter().map(|(_, glance)| glance).collect();
        let regions = dead.iter().map(|glance| (glance.identity.node.as_str(), glance.bytes));
        let goes: Vec<_> = stay(regions, file_system_bytes).iter().map(|stays| !stays).collect();
        let sum = |is_wanted: &dyn Fn(usize) -> bool| {
            let wanted = dead.iter().enumerate().filter(|(at, _)| is_wanted(*at));
            bytes(wanted.fold(0, |sum, (_, glance)| sum.saturating_add(glance.bytes)))
        };
        let mut text = format!(
            "{} {}",
            count(
                dead.len() as u64,
                &format!("dead region of user {user} takes"),
                &format!("dead regions of user {user} take")
            ),
            sum(&|_| true)
        );
        let going = goes.iter().filter(|goes| **goes).count() as u64;
        if going > 0 {
            text += &format!("; the next node of that user removes {going} of them, {}", sum(&|at| goes[at]));
        }
        let advice = "`atomscope prune` frees that, and with it goes the evidence of how those nodes ended";
        chart.add(Level::Note, text, Some(advice));
    }
}

/// What a dead node has left, by its header: nothing else of it is read.
fn left_by(glance: &RegionSummary) -> Chart {
    let mut chart = Chart::of_glance(glance);
    let seen = Seen::of_glance(glance);
    access(&mut chart, &seen);
    health(&mut chart, &seen);
    let path = clean_path(&glance.path);
    let advice = format!("`atomscope doctor {path}` reads it");
    chart.add(Level::Note, "what it holds was not read", Some(&advice));
    chart
}

/// Examines a region, of which `take` takes a snapshot.
fn examine(region: &Region, take: impl FnOnce(&Region) -> Result<Snapshot, AttachError>) -> Chart {
    let taken = take(region).and_then(|snapshot| Usage::take(region, &snapshot).map(|u| (snapshot, u)));
    match taken {
        Ok((snapshot, usage)) => look_at(region, &snapshot, &usage),
        Err(error) => {
            let mut chart = Chart::of(region);
            chart.add(Level::Problem, error.to_string(), None);
            chart
        }
    }
}

fn look_at(region: &Region, snapshot: &Snapshot, usage: &Usage) -> Chart {
    let mut chart = Chart::of(region);
    let seen = Seen::of(region, snapshot);
    access(&mut chart, &seen);
    health(&mut chart, &seen);
    room(&mut chart, snapshot, usage);
    subsystems(&mut chart, snapshot, usage);
    cost(&mut chart, region, snapshot);
    chart
}

/// What is found of a node of which `snapshot` and `usage` were taken.
pub fn findings(region: &Region, snapshot: &Snapshot, usage: &Usage) -> Vec<Finding> {
    look_at(region, snapshot, usage).findings
}

/// What is told of a region by its header alone.
struct Seen<'a> {
    path: &'a Path,
    bytes: u64,
    user: u64,
    pid: u64,
    identity: &'a Identity,
    layout_version: (u32, u32),
    dumped: Option<&'a DumpInfo>,
    /// The name that its file had, if it has none any more.
    unlinked_from: Option<PathBuf>,
    lock: Lock,
    liveness: Liveness,
    /// What the node says; `None` of a dead one.
    state: Option<State>,
}

impl<'a> Seen<'a> {
    fn of(region: &'a Region, snapshot: &'a Snapshot) -> Self {
        Self {
            path: region.path(),
            bytes: region.bytes(),
            user: region.user(),
            pid: snapshot.pid,
            identity: &snapshot.identity,
            layout_version: snapshot.layout_version,
            dumped: region.dumped(),
            unlinked_from: region.unlinked_from(),
            lock: region.lock(),
            liveness: snapshot.liveness,
            state: region.reader().ok().and_then(|reader| reader.state()),
        }
    }

    /// Of a dead node.
    fn of_glance(glance: &'a RegionSummary) -> Self {
        Self {
            path: &glance.path,
            bytes: glance.bytes,
            user: glance.user,
            pid: glance.pid(),
            identity: &glance.identity,
            layout_version: glance.layout_version,
            dumped: glance.dumped.as_ref(),
            unlinked_from: glance.unlinked_from.clone(),
            lock: if glance.liveness.evidence == Evidence::Lock { Lock::Free } else { Lock::Unsupported },
            liveness: glance.liveness,
            state: None,
        }
    }
}

/// Who may see it, and what it is.
fn access(chart: &mut Chart, seen: &Seen<'_>) {
    let identity = seen.identity;
    let (major, minor) = seen.layout_version;
    let mut text = format!(
        "{} of user {}, layout {major}.{minor}, written by {}",
        bytes(seen.bytes),
        seen.user,
        clean(&identity.writer)
    );
    if seen.user != identity.header.uid {
        text += &format!("; in its own user namespace that user is {}", identity.header.uid);
    }
    if minor > VERSION_MINOR {
        let advice = format!(
            "this program knows layout {VERSION_MAJOR}.{VERSION_MINOR}: a newer atomscope shows more"
        );
        chart.add(Level::Note, text, Some(&advice));
    } else {
        chart.good(text);
    }
    if let Some(taken) = seen.dumped {
        let text = format!("it is a dump, taken at {}; the rest is as it was then", rfc3339(taken.unix_ns));
        return chart.add(Level::Note, text, None);
    }
    if process::pid_namespace().is_some_and(|ours| ![0, ours].contains(&identity.header.pid_namespace)) {
        let text = format!(
            "its process lives in another pid namespace, where it is number {}; here it is {}",
            identity.header.pid,
            if seen.pid == identity.header.pid { "not to be seen".to_owned() } else { seen.pid.to_string() }
        );
        chart.add(
            Level::Note,
            text,
            Some("from the host, as root, the processes of all containers can be seen"),
        );
    }
    match seen.lock {
        Lock::Unsupported => chart.add(
            Level::Warning,
            "its file system has no locks of the kind that a node holds, so whether it lives is judged by less",
            Some("keep regions in /dev/shm or on another tmpfs"),
        ),
        // Of one that is lost its health tells.
        Lock::Held | Lock::Free | Lock::Lost => chart.good("locks work there"),
    }
    name(chart, seen);
    if FileSystem::of(seen.path).is_ok_and(|found| !found.is_memory) {
        chart.add(
            Level::Warning,
            "it lies on a disk: its node may have to wait whenever pages are written back",
            Some("name a file on a tmpfs, or none"),
        );
    }
}

/// Whether its file will be found once its node is dead.
fn name(chart: &mut Chart, seen: &Seen<'_>) {
    if !seen.liveness.verdict.is_alive() {
        return;
    }
    let Some(name) = &seen.unlinked_from else {
        // A path through its process tells nobody else where it is.
        if Segment::of(seen.path).is_none() && !seen.path.starts_with("/proc") {
            let text =
                "its node was told to use this file: once the node is dead, it is found by its path alone";
            let advice =
                format!("`atomscope show {}` then, or any command with that path", clean_path(seen.path));
            chart.add(Level::Note, text, Some(&advice));
        }
        return;
    };
    let what = match std::fs::symlink_metadata(name) {
        Ok(_) => "another file has its name",
        Err(_) => "its file was deleted",
    };
    chart.add(
        Level::Warning,
        format!("{what}, {}: if its node crashes, nothing is left to look at", clean_path(name)),
        Some(
            "a node makes a new file when it starts again. What deletes files there? Clean-ups of temporary files do, \
             and `RemoveIPC=` of systemd-logind in /dev/shm",
        ),
    );
}

/// How the node is.
fn health(chart: &mut Chart, seen: &Seen<'_>) {
    let Seen { liveness, pid, .. } = *seen;
    // What stands beside the verdict has its own advice below.
    let text = format!("the node is {}", liveness.verdict);
    if seen.dumped.is_some() {
        // What there was to do then is nothing to do now, and perhaps on another machine.
        chart.add(Level::Note, format!("the node was {liveness}"), None);
        return;
    }
    let path = clean_path(seen.path);
    match liveness.verdict {
        Verdict::Live | Verdict::Stopping | Verdict::NotReady { .. } => chart.good(text),
        Verdict::Starting => {
            chart.add(Level::Note, text, Some("no actor system is installed in it yet; `install` does that"));
        }
        Verdict::Wedged(why) => {
            let advice = match why {
                Wedge::Stopped => format!("`kill -CONT {pid}` lets it go on, unless a debugger holds it"),
                Wedge::Frozen => {
                    let folder = u32::try_from(pid).ok().and_then(cgroup::frozen);
                    let folder = folder.map_or_else(|| "its folder".to_owned(), |folder| clean_path(&folder));
                    format!(
                        "`docker unpause` or `systemctl thaw` let it go on; or write 0 to cgroup.freeze (of version 1: \
                         THAWED to freezer.state) in {folder} or the one above it that was frozen"
                    )
                }
                Wedge::ProcessStale => {
                    format!(
                        "is the machine overloaded? Else look at its threads: /proc/{pid}/task, or a debugger"
                    )
                }
                Wedge::RuntimeBlocked => {
                    "an actor or task holds the async runtime's threads: give blocking work to \
                                          spawn_blocking; a debugger shows what they do"
                        .to_owned()
                }
            };
            chart.add(Level::Problem, text, Some(&advice));
        }
        Verdict::Crashed => {
            let advice = format!(
                "`atomscope dump {path} --format raw -o FILE` keeps what it has left; then `atomscope prune` removes \
                 it, or `rm` if somebody named the file"
            );
            chart.add(Level::Problem, text, Some(&advice));
        }
        Verdict::Closed => {
            chart.add(Level::Note, text, Some("`rm` removes the file when it is no longer wanted"))
        }
    }
    liveness.notes.iter().for_each(|note| chart.add_note(note, pid));
    if liveness.evidence == Evidence::Heartbeat {
        let advice = "run this program where the process can be seen, or as root";
        chart.add(
            Level::Warning,
            "neither lock nor process tell whether it lives: only its beats do",
            Some(advice),
        );
    }
    let beat =
        |age: Option<Duration>| age.map(duration).map_or("never".to_owned(), |age| format!("{age} ago"));
    let beats = format!(
        "the probe's thread beat last {}, the async runtime {}",
        beat(liveness.process_beat_age),
        beat(liveness.runtime_beat_age)
    );
    if liveness.runtime_beat_age.is_none()
        && seen.state == Some(State::Running)
        && liveness.verdict.is_alive()
    {
        let advice =
            "a blocked runtime cannot be told: install the extension where a tokio runtime is current";
        chart.add(Level::Note, beats, Some(advice));
    } else {
        chart.good(beats);
    }
}

/// How full it is, and what was left out.
fn room(chart: &mut Chart, snapshot: &Snapshot, usage: &Usage) {
    let live = snapshot.totals.live;
    let sized = usage.actor_capacity;
    let text = format!("{live} live actors; the table was sized for {sized}");
    let is_full = live.saturating_mul(100) > sized.saturating_mul(FULL_PERCENT);
    let drops = &usage.drops;
    if drops.actors_spilled > 0 || drops.actors_untracked > 0 || is_full {
        let text =
            format!("{text}; {} spilled, {} untracked so far", drops.actors_spilled, drops.actors_untracked);
        chart.add(Level::Warning, text, Some("build the region with more `actors`"));
    } else {
        chart.good(text);
    }
    let text = format!("{} of {} names used", usage.names.used, usage.names.room);
    if drops.names_full > 0 {
        let text = format!("{text}; {} times there was no room", drops.names_full);
        chart.add(Level::Warning, text, Some("build the region with more `names`"));
    } else {
        chart.good(text);
    }
    let text = format!(
        "{} of {} lanes used; of {} events {} went through the shared lane",
        usage.lanes.used, usage.lanes.room, usage.events, usage.events_shared_lane
    );
    let shares = usage.events_shared_lane.saturating_mul(100) > usage.events.saturating_mul(SHARED_PERCENT);
    if usage.lanes.used >= usage.lanes.room && shares {
        let advice = "more threads than lanes count and publish, which costs them time: build the region with more `lanes`";
        chart.add(Level::Warning, text, Some(advice));
    } else {
        chart.good(text);
    }
    if usage.metrics.used >= usage.metrics.room {
        let text = format!("all {} metrics are used: further ones are not kept", usage.metrics.room);
        chart.add(Level::Warning, text, Some("build the region with more `metrics`"));
    }
    if *drops == Drops::default() {
        chart.good("nothing was left out for want of room");
    }
    // Of these more is said elsewhere.
    let rest = Drops {
        actors_spilled: 0,
        actors_untracked: 0,
        names_full: 0,
        instances_unlisted: 0,
        rows_left_out: 0,
        polls_given_up: 0,
        ..*drops
    };
    for (number, what) in rest.list().into_iter().filter(|(number, _)| *number > 0) {
        chart.add(Level::Note, format!("{number} {what}"), None);
    }
    for (number, what) in [
        (snapshot.tally.map_or(0, |tally| tally.unreadable), "records of actors cannot be read"),
        (snapshot.dead_letters.unreadable, "dead letters cannot be read"),
        (snapshot.subsystems.instances.unreadable, "records of subsystems cannot be read"),
        (
            snapshot.subsystems.documents_unreadable,
            "of the cluster's state and the shards' allocation cannot be read",
        ),
    ] {
        if number > 0 {
            let advice = "a node that died left them half written; of a living one look again";
            chart.add(Level::Warning, format!("{number} {what}"), Some(advice));
        }
    }
    if let Some(drift) = snapshot.drift().filter(|drift| snapshot.at_rest && *drift != 0) {
        let text = format!("the counts and the list of live actors differ by {drift:+}");
        chart.add(Level::Warning, text, None);
    }
}

/// What is polled, and what of the subsystems found no room.
fn subsystems(chart: &mut Chart, snapshot: &Snapshot, usage: &Usage) {
    let drops = &usage.drops;
    if let Some(poll) = snapshot.poll {
        let beat = format!("the poller's round began {} ago", duration(poll.beat_age));
        if poll.is_stuck {
            let advice = "a component that the probe asks does not answer, so that what is told of cluster, sharding and \
                          the like is old; the node itself goes on. A debugger shows what thread `atomscope-poll` \
                          waits for";
            let text = format!("{beat} and does not end; a round is due every {}", duration(poll.interval));
            chart.add(Level::Warning, text, Some(advice));
        } else {
            chart.good(beat);
        }
    }
    if drops.polls_given_up > 0 {
        let text =
            format!("{} given up: they panicked", count(drops.polls_given_up, "poll was", "polls were"));
        let advice = "what they told is as it was then; the node's stderr has the panic";
        chart.add(Level::Warning, text, Some(advice));
    }
    let Usage { instances, histograms, .. } = usage;
    if instances.used > 0 || drops.instances_unlisted > 0 {
        let text = format!("{} of {} instances of subsystems are listed", instances.used, instances.room);
        chart.good(text);
    }
    for domain in Domain::ALL {
        let number = snapshot.builtin(domain.unlisted());
        if number > 0 {
            let text =
                format!("{number} times there was no room for more {}", domain.name().replace('_', " "));
            chart.add(Level::Warning, text, Some("build the region with more `instances`"));
        }
    }
    let rolled_up = snapshot.subsystems.instances.of(Domain::Journal);
    let rolled_up =
        rolled_up.fold(0u64, |sum, journal| sum.saturating_add(journal.numbers[journal::ROLLED_UP]));
    if rolled_up > 0 {
        let text = format!("{rolled_up} times a persistence id gave way to a more active one");
        chart.add(Level::Note, text, Some("more `instances` list more of them; all are counted"));
    }
    if drops.rows_left_out > 0 {
        let text = format!(
            "{} of the cluster's state or the shards' allocation found no room",
            count(drops.rows_left_out, "row", "rows")
        );
        chart.add(Level::Warning, text, Some("build the region with a larger `document_bytes`"));
    }
    if histograms.room > 0 && histograms.used >= histograms.room {
        let text = format!("all {} histograms are used: further ones count nothing", histograms.room);
        chart.add(Level::Warning, text, Some("build the region with more `histograms`"));
    }
}

/// What watching costs the node.
fn cost(chart: &mut Chart, region: &Region, snapshot: &Snapshot) {
    let Ok(reader) = region.reader() else { return };
    let (rounds, time_ns) = (reader.builtin(Builtin::SamplerRounds), reader.builtin(Builtin::SamplerTime));
    if rounds == 0 {
        return chart.add(Level::Note, "the probe's thread has made no round yet", None);
    }
    let time = Duration::from_nanos(time_ns);
    let life = region.uptime(&snapshot.liveness, &snapshot.taken).filter(|life| !life.is_zero());
    let percent = life.map(|life| time.as_secs_f64() / life.as_secs_f64() * 100.0);
    let text = format!(
        "the probe's thread took {} for {}{}",
        duration(time),
        count(rounds, "round", "rounds"),
        percent.map(|percent| format!(": {percent:.3} % of a processor")).unwrap_or_default()
    );
    if percent.is_some_and(|percent| percent > SAMPLER_PERCENT) {
        chart.add(Level::Warning, text, Some("please report it: it should be far less"));
    } else {
        chart.good(text);
    }
    let rounds = reader.builtin(Builtin::PollRounds);
    if rounds > 0 {
        let time = Duration::from_nanos(reader.builtin(Builtin::PollTime));
        let text = format!("the poller took {} for {}", duration(time), count(rounds, "round", "rounds"));
        // Time by the clock, in which it may only have waited for a component.
        chart.good(text);
    }
}
