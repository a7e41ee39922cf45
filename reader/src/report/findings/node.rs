//! Findings about a node by the header of its region, its lock and its process: access, file name and health.

use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope_layout::decode::{Identity, rfc3339};
use atomscope_layout::region::{State, VERSION_MAJOR, VERSION_MINOR};
use atomscope_layout::retention::MOST_BYTES;

use super::finding::{Findings, Severity};
use crate::attach::{Region, RegionSummary};
use crate::cgroup;
use crate::find::RegionName;
use crate::liveness::{Evidence, Liveness, Lock, Note, Verdict, Wedge};
use crate::process;
use crate::raw::header::DumpInfo;
use crate::report::human::{bytes, duration};
use crate::snapshot::Snapshot;
use crate::system::FileSystem;
use crate::text::{clean, clean_path};

/// Facts about a region that need no scan of its tables.
pub(super) struct HeaderFacts<'a> {
    path: &'a Path,
    bytes: u64,
    user: u64,
    pid: u64,
    identity: &'a Identity,
    layout_version: (u32, u32),
    dump_info: Option<&'a DumpInfo>,
    /// The former name of the file, if it has none any more.
    unlinked_from: Option<PathBuf>,
    lock: Lock,
    liveness: Liveness,
    /// The state that the node published; `None` if it is dead.
    state: Option<State>,
    /// See [`Snapshot::has_actors`].
    has_actors: bool,
}

impl<'a> HeaderFacts<'a> {
    pub(super) fn of_region(region: &'a Region, snapshot: &'a Snapshot) -> Self {
        Self {
            path: region.path(),
            bytes: region.bytes(),
            user: region.user(),
            pid: snapshot.pid,
            identity: &snapshot.identity,
            layout_version: snapshot.layout_version,
            dump_info: region.dump_info(),
            unlinked_from: region.unlinked_from(),
            lock: region.lock(),
            liveness: snapshot.liveness,
            state: region.reader().ok().and_then(|reader| reader.state()),
            has_actors: snapshot.has_actors(),
        }
    }

    pub(super) fn of_dead(summary: &'a RegionSummary) -> Self {
        Self {
            path: &summary.path,
            bytes: summary.bytes,
            user: summary.user,
            pid: summary.pid(),
            identity: &summary.identity,
            layout_version: summary.layout_version,
            dump_info: summary.dump_info.as_ref(),
            unlinked_from: summary.unlinked_from.clone(),
            lock: if summary.liveness.evidence == Evidence::Lock { Lock::Free } else { Lock::Unsupported },
            liveness: summary.liveness,
            state: None,
            has_actors: summary.identity.system.is_some(),
        }
    }
}

/// Adds all findings of this file.
pub(super) fn add(findings: &mut Findings, facts: &HeaderFacts<'_>) {
    access(findings, facts);
    health(findings, facts);
}

/// Who can see the region, and its layout.
fn access(findings: &mut Findings, facts: &HeaderFacts<'_>) {
    let identity = facts.identity;
    let (major, minor) = facts.layout_version;
    let mut text = format!(
        "{} of user {}, layout {major}.{minor}, written by {}",
        bytes(facts.bytes),
        facts.user,
        clean(&identity.writer)
    );
    if facts.user != identity.header.uid {
        text += &format!("; in its own user namespace that user is {}", identity.header.uid);
    }
    if minor > VERSION_MINOR {
        let advice = format!(
            "this program knows layout {VERSION_MAJOR}.{VERSION_MINOR}: a newer atomscope shows more"
        );
        findings.add(Severity::Note, text, Some(&advice));
    } else {
        findings.good(text);
    }
    if let Some(info) = facts.dump_info {
        let text = format!("it is a dump, taken at {}; the rest is as it was then", rfc3339(info.unix_ns));
        return findings.add(Severity::Note, text, None);
    }
    if process::pid_namespace().is_some_and(|ours| ![0, ours].contains(&identity.header.pid_namespace)) {
        let text = format!(
            "its process is in another pid namespace, where its id is {}; here it {}",
            identity.header.pid,
            if facts.pid == identity.header.pid {
                "is not visible".to_owned()
            } else {
                format!("has the id {}", facts.pid)
            }
        );
        findings.add(
            Severity::Note,
            text,
            Some("from the host, as root, the processes of all containers are visible"),
        );
    }
    match facts.lock {
        Lock::Unsupported => findings.add(
            Severity::Warning,
            "its file system does not support the lock of a node, so weaker evidence decides whether the node lives",
            Some("keep regions in /dev/shm or on another tmpfs"),
        ),
        // A lost lock is a finding about the node's health.
        Lock::Held | Lock::Free | Lock::Lost => findings.good("its file system supports the lock of a node"),
    }
    file_name(findings, facts);
    if FileSystem::of(facts.path).is_ok_and(|found| !found.is_memory) {
        findings.add(
            Severity::Warning,
            "it lies on a disk: its node may have to wait while pages are written back",
            Some("name a file on a tmpfs, or none"),
        );
    }
}

/// Whether the file can be found after the node's death.
fn file_name(findings: &mut Findings, facts: &HeaderFacts<'_>) {
    if !facts.liveness.verdict.is_alive() {
        return;
    }
    let Some(name) = &facts.unlinked_from else {
        // A path below /proc/PID vanishes with the process, so it is no advice.
        if RegionName::of(facts.path).is_none() && !facts.path.starts_with("/proc") {
            let text = "its user chose this file: once the node is dead, only its path leads to the region";
            let advice =
                format!("`atomscope show {}` then, or any command with that path", clean_path(facts.path));
            findings.add(Severity::Note, text, Some(&advice));
        }
        return;
    };
    let what = match std::fs::symlink_metadata(name) {
        Ok(_) => "another file has its name",
        Err(_) => "its file was deleted",
    };
    findings.add(
        Severity::Warning,
        format!("{what}, {}: if its node crashes, nothing is left to examine", clean_path(name)),
        Some(
            "a node makes a new file when it starts again. What deletes files there? Clean-ups of temporary files do, \
             and `RemoveIPC=` of systemd-logind in /dev/shm",
        ),
    );
}

/// The verdict on the node, its conditions and its beats.
fn health(findings: &mut Findings, facts: &HeaderFacts<'_>) {
    let HeaderFacts { liveness, pid, .. } = *facts;
    // The notes on the verdict have findings of their own.
    let reason: Vec<_> = liveness.reason().into_iter().chain(liveness.last_words.which_crash()).collect();
    let reason = if reason.is_empty() { String::new() } else { format!(": {}", reason.join("; ")) };
    let text = format!("the node {}{reason}", liveness.verdict.said());
    if facts.dump_info.is_some() {
        // No advice: what helped the node then does not help now, perhaps on another machine.
        findings.add(Severity::Note, format!("the node was {liveness}"), None);
        return;
    }
    let path = clean_path(facts.path);
    match liveness.verdict {
        Verdict::Live | Verdict::Stopping | Verdict::NotReady { .. } => findings.good(text),
        Verdict::Starting => {
            findings.add(
                Severity::Note,
                text,
                Some("no actor system is installed in it yet; `install` does that"),
            );
        }
        Verdict::Wedged(why) => {
            let advice = match why {
                Wedge::Stopped => format!("`kill -CONT {pid}` resumes it, unless a debugger holds it"),
                Wedge::Frozen => {
                    let folder = u32::try_from(pid).ok().and_then(cgroup::frozen);
                    let folder = folder.map_or_else(|| "its folder".to_owned(), |folder| clean_path(&folder));
                    format!(
                        "`docker unpause` or `systemctl thaw` resumes it; or write 0 to cgroup.freeze (of version 1: \
                         THAWED to freezer.state) in {folder} or the one above it that was frozen"
                    )
                }
                Wedge::ProcessStale => {
                    format!(
                        "is the machine overloaded? If not, `atomscope stuck {pid}` and `atomscope threads {pid}` examine its \
                         threads"
                    )
                }
                Wedge::RuntimeBlocked => {
                    format!(
                        "an actor or task holds the async runtime's threads: `atomscope stuck {pid}` says which and where; \
                         give blocking work to spawn_blocking"
                    )
                }
            };
            findings.add(Severity::Problem, text, Some(&advice));
        }
        Verdict::Crashed | Verdict::Failed => {
            let advice = format!(
                "`atomscope dump {path} --format raw -o FILE` keeps a copy; then `atomscope prune` removes it, or \
                 `rm` if its user chose the file"
            );
            findings.add(Severity::Problem, text, Some(&advice));
        }
        Verdict::Closed if liveness.may_tell_more() => findings.good(text),
        Verdict::Closed => {
            findings.add(Severity::Note, text, Some("`rm` removes the file when it is no longer wanted"))
        }
    }
    crashes_before(findings, facts);
    liveness.notes.iter().for_each(|note| condition(findings, note, pid));
    if liveness.evidence == Evidence::Heartbeat {
        let advice = "run this program where the process is visible, or as root";
        findings.add(
            Severity::Warning,
            "neither lock nor process shows whether it lives: only its beats do",
            Some(advice),
        );
    }
    let beat =
        |age: Option<Duration>| age.map(duration).map_or("never".to_owned(), |age| format!("{age} ago"));
    if !facts.has_actors && liveness.runtime_beat_age.is_none() {
        return findings.good(format!("last beat: probe {}", beat(liveness.process_beat_age)));
    }
    let beats = format!(
        "last beats: probe {}, async runtime {}",
        beat(liveness.process_beat_age),
        beat(liveness.runtime_beat_age)
    );
    if liveness.runtime_beat_age.is_none()
        && facts.state == Some(State::Running)
        && liveness.verdict.is_alive()
    {
        let advice =
            "a blocked runtime cannot be detected: install the extension where a tokio runtime is current";
        findings.add(Severity::Note, beats, Some(advice));
    } else {
        findings.good(beats);
    }
}

/// The crashes of earlier nodes of the name.
fn crashes_before(findings: &mut Findings, facts: &HeaderFacts<'_>) {
    let before = facts.liveness.last_words.before;
    let (Some(text), Some(newest)) = (before.text(), before.newest_before(facts.identity)) else { return };
    let text = format!("{text}, the newest {} before its start", duration(newest));
    let advice = format!(
        "the regions of the first and the newest of them stay, as long as all dead regions of the user take at most {} and \
         a quarter of the file system: `atomscope ps` lists them",
        bytes(MOST_BYTES)
    );
    findings.add(Severity::Note, text, Some(&advice));
}

/// A condition or another note on the verdict, with its own advice.
fn condition(findings: &mut Findings, note: Note, pid: u64) {
    let (severity, advice) = match note {
        Note::RuntimeDropped => (
            Severity::Warning,
            format!(
                "its actors do nothing any more, and the lists show them as they were then. If the process should have \
                 ended by now, the drop of its runtime waits for a thread that blocks: see /proc/{pid}/task, or use a \
                 debugger"
            ),
        ),
        Note::SystemDropped => (
            Severity::Warning,
            "the lists show its actors as they were then: atomr does not report the stops of a dropped system. A new \
             system needs a new extension; the region is closed when the last handle of the old extension is dropped"
                .to_owned(),
        ),
        Note::SpawnHookReplaced | Note::DeadLetterHookReplaced => (
            Severity::Warning,
            "atomr holds one observer of each kind, and a second telemetry that is installed later replaces the probe's. \
             Install the other one first and the probe with `install_tee`, which calls both"
                .to_owned(),
        ),
        Note::LockLost => (
            Severity::Warning,
            "a daemon that closes all descriptors must do so before the probe is built: readers that cannot see the \
             process judge the node to be dead"
                .to_owned(),
        ),
        Note::LockFree => (
            Severity::Note,
            "run this command again in a few seconds, when its beats decide, or run this program where the process is visible"
                .to_owned(),
        ),
        Note::ProcessRuns => (
            Severity::Note,
            "its region was closed, because its last handle was dropped, or by request. A named segment goes when the \
             process ends with exit code 0"
                .to_owned(),
        ),
        Note::NoActorLeft => (
            Severity::Note,
            "all actors that were spawned since the probe was installed have stopped, as after `terminate()`".to_owned(),
        ),
    };
    findings.add(severity, note.text(), Some(&advice));
}
