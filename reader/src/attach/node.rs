//! What the file, the lock and the kernel say of the node of a region: its process, its clocks and its verdict.
//!
//! [`Region`](super::Region), [`RegionSummary`](super::RegionSummary) and `check.rs` share these functions.

use std::fs::{File, Metadata};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope_layout::decode::{Identity, Moment, RegionReader};
use atomscope_layout::region::HeaderRecord;

use crate::cgroup;
use crate::ending::LastWords;
use crate::liveness::{Facts, Liveness, Lock};
use crate::process::{self, StartTime, Stat};
use crate::raw::header::DumpInfo;
use crate::system::{boottime_ns, monotonic_ns, query_lock};
use crate::time::now_unix_ns;

/// The age of a beat from which the control group of the process is read: there should be four beats a second.
const LATE: Duration = Duration::from_secs(1);

/// The identity of a file, whatever its paths: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    /// The identity of the file with this metadata.
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), number: meta.ino() }
    }
}

/// The former name of a file that has none any more, as the kernel shows it to the process that has the file mapped.
pub(super) fn unlinked_from(path: &Path, meta: &Metadata, process: Option<u32>) -> Option<PathBuf> {
    (meta.nlink() == 0).then(|| {
        let mapped = process.and_then(|pid| process::name_of_mapped(pid, meta.dev(), meta.ino()));
        mapped.unwrap_or_else(|| path.to_owned())
    })
}

/// The path as the kernel shows it for a deleted file.
pub(super) fn shown_path(path: &Path, unlinked_from: Option<&Path>) -> PathBuf {
    let Some(name) = unlinked_from else { return path.to_owned() };
    let mut shown = name.as_os_str().to_owned();
    shown.push(" (deleted)");
    shown.into()
}

pub(super) fn user_of(owner: u32, identity: &Identity, dump_info: Option<&DumpInfo>) -> u64 {
    if dump_info.is_some() { identity.header.uid } else { u64::from(owner) }
}

pub(super) fn pid_of(process: Option<u32>, identity: &Identity, dump_info: Option<&DumpInfo>) -> u64 {
    match (dump_info, process) {
        (Some(info), _) => info.pid,
        (None, Some(pid)) => u64::from(pid),
        (None, None) => identity.header.pid,
    }
}

pub(super) fn start_of(identity: &Identity) -> StartTime {
    StartTime::of(&identity.header, &identity.time)
}

/// The state of the lock of the node in process `process`, if that is known. A free lock counts as lost while the process
/// has the file mapped.
pub(super) fn lock_of(file: &File, inode: Inode, start: StartTime, process: Option<u32>) -> Lock {
    let has_mapped = |pid| process::may_have_mapped(pid, start, inode.device, inode.number);
    match query_lock(file.as_raw_fd()) {
        Lock::Free if process.is_some_and(has_mapped) => Lock::Lost,
        lock => lock,
    }
}

/// Judges the node from its region and its process.
///
/// The caller must query `lock` before: a node publishes *closed* before it releases its lock, so a reader that finds the
/// lock free also reads that last state.
pub(super) fn judge(
    reader: &RegionReader<'_>,
    identity: &Identity,
    lock: Lock,
    process: Option<u32>,
) -> Liveness {
    let header = &identity.header;
    let start = start_of(identity);
    let seen = process.map(|pid| Stat::of(pid).ok().filter(|stat| start.is(stat.start_ticks)));
    // A process that was not found is gone only if it would be visible from here.
    let local = process::pid_namespace() == Some(header.pid_namespace) || process::sees_all();
    let process_beat = reader.process_beat();
    let now_mono_ns = now(identity, lock, process).mono_ns.and_then(|ns| u64::try_from(ns).ok());
    // A process that beats is not frozen.
    let is_late =
        now_mono_ns.is_none_or(|now| now.saturating_sub(process_beat.mono_ns) > LATE.as_nanos() as u64);
    let frozen = process.filter(|_| is_late).and_then(cgroup::frozen).is_some();
    Facts {
        state: reader.state(),
        lock,
        same_boot: is_of_this_boot(header),
        process: seen.or(local.then_some(None)),
        conditions: reader.conditions(),
        no_actor_left: reader.no_actor_is_left(),
        frozen,
        process_beat,
        runtime_beat: reader.runtime_beat(),
        now_mono_ns,
        last_words: LastWords::of(reader, identity, now_mono_ns),
    }
    .judge()
}

/// The verdict at the time of a dump. How the node ended is in the region.
pub(super) fn liveness_of_dump(info: &DumpInfo, reader: &RegionReader<'_>, identity: &Identity) -> Liveness {
    let now_mono_ns = time_of_dump(info, reader).mono_ns.and_then(|ns| u64::try_from(ns).ok());
    let last_words = LastWords::of(reader, identity, now_mono_ns);
    let is_alive = info.liveness.verdict.is_alive();
    Liveness { last_words: if is_alive { last_words.of_living() } else { last_words }, ..info.liveness }
}

/// The time of a dump. By the node's clocks it is the last beat plus the age that the beat had then.
pub(super) fn time_of_dump(info: &DumpInfo, reader: &RegionReader<'_>) -> Moment {
    let wall = Moment { unix_ns: info.unix_ns, mono_ns: None, boot_ns: None };
    let age = info.liveness.process_beat_age.and_then(|age| u64::try_from(age.as_nanos()).ok());
    let (Some(age), Some(clock)) = (age, reader.clock()) else { return wall };
    let mono_ns = reader.process_beat().mono_ns.saturating_add(age);
    Moment { unix_ns: info.unix_ns, ..clock.moment_of_mono(mono_ns) }
}

fn is_of_this_boot(header: &HeaderRecord) -> Option<bool> {
    (header.boot_id != [0, 0]).then(|| process::boot_id().map(|now| now == header.boot_id)).flatten()
}

/// The time now by the clocks of a node, which are known only for a node of this boot.
pub(super) fn now(identity: &Identity, lock: Lock, process: Option<u32>) -> Moment {
    // A process that holds a lock of this kernel has its clocks, though some containers show a boot id of their own.
    let is_here = matches!(lock, Lock::Held | Lock::Lost) || is_of_this_boot(&identity.header) != Some(false);
    let ahead = process::clocks_ahead(&identity.time, process).filter(|_| is_here);
    let [mono_ns, boot_ns] = match ahead {
        Some([mono, boot]) => {
            [Some(i128::from(monotonic_ns()) + mono), Some(i128::from(boottime_ns()) + boot)]
        }
        None => [None, None],
    };
    Moment { unix_ns: now_unix_ns(), mono_ns, boot_ns }
}
