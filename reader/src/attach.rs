//! From a path to a region's words: opened without trust, mapped read-only, or copied if its node is dead.
//!
//! What is checked before a byte of it is believed: a regular file and no link, its reader its owner or root, writable
//! by nobody else, not larger than is allowed, and its owner the user of the process that it names:
//! ```text
//!   the process lives, and is seen ──► it runs as the file's owner, or root of its user namespace is the owner
//!   its number is another process's ─► refused if somebody holds the lock; else its node is dead
//!   it is dead, or not to be seen ───► the header names the owner; of a file of one's own it need not
//! ```
//! The last line is for nodes in user namespaces: there a node writes into its header the number that its user has
//! inside, which nobody can translate once it is dead. Nobody but that user or root could have made the file, so the
//! user may read it; root, who may read everybody's, does not take its word and is told to become that user.
//!
//! A raw dump ([`crate::raw`]) is nobody's region any more: any readable regular file will do.
#![allow(
    unsafe_code,
    reason = "mapping a file and asking the kernel for locks and clocks is not possible without"
)]

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, RawFd};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use atomscope_layout::OpenError;
use atomscope_layout::decode::{Identity, Moment, RegionReader};
use atomscope_layout::limits::MIN_METRICS;
use atomscope_layout::records::TimeRecord;
use atomscope_layout::region::{HEADER_BYTES, HeaderRecord, MAGIC};
use atomscope_layout::view::{ReaderMemory, WriterMemory};
use atomscope_layout::words::{WORD, Words};
use memmap2::MmapOptions;

use crate::cgroup;
use crate::liveness::{Facts, Liveness, Lock, Verdict};
use crate::process::{self, Start, Stat};
use crate::raw::{self, DumpInfo};
use crate::snapshot::now_unix_ns;
use crate::text::clean_path;

/// Regions larger than this are refused unless more is asked for.
pub const MAX_BYTES: u64 = 4 << 30;

/// An attached region: a read-only view of what its node writes, or a copy of what a dead one left, or of a dump.
#[derive(Debug)]
pub struct Region {
    path: PathBuf,
    file: File,
    inode: Inode,
    owner: u32,
    bytes: u64,
    memory: Memory,
    identity: Identity,
    process: Option<u32>,
    dumped: Option<DumpInfo>,
}

/// What the header of a region and a few of its counters tell. It is read at one time, and nothing is kept open, mapped
/// or in memory for it, however large the region is.
#[derive(Debug, Clone)]
pub struct RegionSummary {
    /// The path that it was looked at by.
    pub path: PathBuf,
    /// Which file it is.
    pub inode: Inode,
    /// Bytes of the file.
    pub bytes: u64,
    /// The user whose it is: by the kernel, or of a dump by its header.
    pub user: u64,
    /// Who made it.
    pub identity: Identity,
    /// Major and minor version of its layout.
    pub layout_version: (u32, u32),
    /// The node's process as this program sees it, if it lives and can be seen.
    pub process: Option<u32>,
    /// How the node is.
    pub liveness: Liveness,
    /// How long ago its region was made, then; of a dump, when it was taken. `None` where that is not known.
    pub age: Option<Duration>,
    /// Live actors by counting; `None` if they could not be counted.
    pub live_actors: Option<u64>,
    /// What was known of the node when it was dumped, if this is a dump.
    pub dumped: Option<DumpInfo>,
    /// The name that the file had, if it has none any more: once the node's process ends, nothing is left of it.
    pub unlinked_from: Option<PathBuf>,
}

#[derive(Debug)]
enum Memory {
    /// With its number among the guarded mappings, if it is one.
    Mapped(ReaderMemory, Option<usize>),
    /// Written once, before anybody sees it.
    Copied(WriterMemory),
}

/// What tells two files apart, whatever their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    /// Of this file.
    pub fn of(meta: &std::fs::Metadata) -> Self {
        Self { device: meta.dev(), number: meta.ino() }
    }
}

/// Why a file could not be attached to.
#[derive(Debug)]
pub struct AttachError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub why: AttachErrorKind,
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum AttachErrorKind {
    /// There is none.
    #[error("there is no such file; `atomscope ps` lists what there is")]
    Missing,
    /// The system says no.
    #[error("{0}{hint}", hint = permission_hint(.0))]
    System(io::Error),
    /// A link could lead anywhere.
    #[error("it is a symbolic link, and a region is never opened through one; name the file itself")]
    Link,
    /// A directory, a pipe, a device.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// Another user's.
    #[error("it belongs to user {owner}, and this is user {reader}: run as user {owner} or as root")]
    OtherUser {
        /// The file's owner.
        owner: u32,
        /// This process.
        reader: u32,
    },
    /// Planted by somebody else than its node, or left by one in a user namespace.
    #[error(
        "it belongs to user {owner}, but says that user {claimed} wrote it: not trusted, unless it is read as user \
         {owner}"
    )]
    OwnerMismatch {
        /// The file's owner.
        owner: u32,
        /// What the header says.
        claimed: u64,
    },
    /// Names a process of another user.
    #[error(
        "it belongs to user {owner}, but says that process {pid} wrote it, which runs as user {user}: not trusted"
    )]
    OthersProcess {
        /// The file's owner.
        owner: u32,
        /// What the header says.
        pid: u32,
        /// Whose that process is.
        user: u32,
    },
    /// Names a process that started at another time.
    #[error(
        "it says that process {pid} wrote it, but that is another one by now, and yet some process holds its lock: not \
         trusted"
    )]
    OtherProcess {
        /// What the header says.
        pid: u32,
    },
    /// Another user's file has several names.
    #[error("it belongs to user {owner} and has {links} names (hard links): not trusted; remove all but one")]
    HardLinks {
        /// The file's owner.
        owner: u32,
        /// How many.
        links: u64,
    },
    /// Others can change it.
    #[error(
        "others than its owner may write it (mode {mode:03o}): not trusted; `chmod 600` it if it is yours"
    )]
    Writable {
        /// Permission bits.
        mode: u32,
    },
    /// Larger than allowed.
    #[error("it has {bytes} bytes, more than the {most} that are allowed; `--max-size` allows more")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// More regions are mapped than can be guarded.
    #[error("{} regions are being looked at already, and no more at a time can be guarded", GUARDED.len())]
    TooMany,
    /// Another region stands in the same file now.
    #[error("the file was overwritten while it was read, so nothing that was read of it counts")]
    Overwritten,
    /// Not published yet.
    #[error("its node is not ready: {}; try again", .verdict.why().unwrap_or_default())]
    NotReady {
        /// [`Verdict::NotReady`].
        verdict: Verdict,
    },
    /// Cut while it was mapped.
    #[error("the file was cut short while it was read, so nothing that was read of it counts")]
    Shrunk,
    /// Not a region that this program can read.
    #[error("it is {error}{hint}", error = .0, hint = layout_hint(.0))]
    Layout(OpenError),
}

impl AttachErrorKind {
    /// A word or two, for a column.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotReady { verdict } => verdict.word(),
            Self::Layout(OpenError::Incompatible { .. }) => "incompatible",
            Self::Layout(_) | Self::Shrunk | Self::Overwritten => "corrupt",
            _ => "refused",
        }
    }
}

fn permission_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as its owner or as root",
        _ => "",
    }
}

fn layout_hint(error: &OpenError) -> &'static str {
    match error {
        OpenError::Incompatible { .. } => "; use the atomscope of the node's own version",
        OpenError::Truncated { .. } | OpenError::Corrupt { .. } => {
            "; it was damaged, or is still being copied"
        }
        OpenError::NotARegion { found } if b"{[".contains(&found.to_le_bytes()[0]) => {
            "; it may be JSON, which is for scripts: of dumps, those of `--format raw` can be looked at"
        }
        _ => "",
    }
}

impl std::fmt::Display for AttachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot attach to {}: {}", clean_path(&self.path), self.why)
    }
}

impl std::error::Error for AttachError {}

impl Region {
    /// Attaches to the region in the file `path`, of at most `max_bytes`: maps it if its node may live, else copies it.
    ///
    /// `pid` is a process that the node may be, where the caller knows one.
    pub fn open(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachError> {
        Self::open_inner(path, pid, max_bytes).map_err(|why| AttachError { path: path.to_owned(), why })
    }

    fn open_inner(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachErrorKind> {
        let Checked { file, meta, contents, process } = Checked::open(path, pid, max_bytes)?;
        let (memory, dumped) = match contents {
            Contents::Dump { taken, bytes } => {
                (Memory::copied(&file, raw::HEADER_BYTES, bytes)?, Some(taken))
            }
            Contents::Region { lock: Lock::Free, bytes } => {
                let memory = Memory::copied(&file, 0, bytes)?;
                let reader = memory.reader()?;
                // Without its lock it may live all the same.
                match judge(&reader, &reader.identity(), Lock::Free, process).verdict.is_alive() {
                    true => (map(&file, meta.len())?, None),
                    false => (memory, None),
                }
            }
            Contents::Region { .. } => (map(&file, meta.len())?, None),
        };
        let identity = memory.reader()?.identity();
        let (path, inode, bytes) = (path.to_owned(), Inode::of(&meta), meta.len());
        Ok(Self { path, file, inode, owner: meta.uid(), bytes, memory, identity, process, dumped })
    }

    /// The region, for decoding. Cheap: the header and the directory are checked again.
    pub fn reader(&self) -> Result<RegionReader<'_>, AttachError> {
        let reader = self.memory.reader();
        self.still_whole()?;
        reader.map_err(|error| self.refused(error))
    }

    /// Whether all that was read so far was there, and of this region. Only with [`guard_mappings`] is it worth asking;
    /// without, a file that is cut while it is mapped ends the process.
    pub fn still_whole(&self) -> Result<(), AttachError> {
        let Memory::Mapped(memory, _) = &self.memory else { return Ok(()) };
        // Within its last page a file can be cut without a fault.
        let is_shorter = || self.file.metadata().is_ok_and(|meta| meta.len() < self.bytes);
        if self.memory.has_faulted() || is_shorter() {
            return Err(self.refused(AttachErrorKind::Shrunk));
        }
        // The header never changes once it is published. One that cannot be read is told by whoever reads it.
        match HeaderRecord::read(memory.words()) {
            Ok(header) if header != self.identity.header => Err(self.refused(AttachErrorKind::Overwritten)),
            _ => Ok(()),
        }
    }

    /// Whether the path that it was opened by still names it.
    pub fn is_at_its_path(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|meta| Inode::of(&meta) == self.inode)
    }

    fn refused(&self, why: AttachErrorKind) -> AttachError {
        AttachError { path: self.path.clone(), why }
    }

    /// Its words as they are.
    pub fn words(&self) -> Words<'_> {
        self.memory.words()
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that its file had, if it has none any more: deleted, or given to another file.
    pub fn unlinked_from(&self) -> Option<PathBuf> {
        let meta = self.file.metadata().ok().filter(|_| self.dumped.is_none())?;
        unlinked_from(&self.path, &meta, self.process)
    }

    /// The path that it was opened by, or what there is to say of one that has no name any more.
    pub fn shown_path(&self) -> PathBuf {
        shown_path(&self.path, self.unlinked_from().as_deref())
    }

    /// Which file it is.
    pub fn inode(&self) -> Inode {
        self.inode
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Who made it, as of the attach.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The user whose it is: by the kernel, or of a dump by its header.
    pub fn user(&self) -> u64 {
        user_of(self.owner, &self.identity, self.dumped.as_ref())
    }

    /// The node's process id as this program sees it, or as the node saw it where that cannot be known.
    pub fn pid(&self) -> u64 {
        pid_of(self.process, &self.identity, self.dumped.as_ref())
    }

    /// What was known of the node when it was dumped, if this is a dump.
    pub fn dumped(&self) -> Option<&DumpInfo> {
        self.dumped.as_ref()
    }

    /// What its node's lock on it says, now. A dump has no node, and so no lock.
    pub fn lock(&self) -> Lock {
        match self.dumped {
            Some(_) => Lock::Free,
            None => lock_of(&self.file, self.inode, start_of(&self.identity), self.process),
        }
    }

    /// How the node is, now; of a dump, how it was then.
    pub fn liveness(&self) -> Result<Liveness, AttachError> {
        if let Some(taken) = &self.dumped {
            return Ok(taken.liveness);
        }
        Ok(judge(&self.reader()?, &self.identity, self.held_lock(), self.process))
    }

    fn held_lock(&self) -> Lock {
        match self.memory {
            Memory::Mapped(..) => self.lock(),
            Memory::Copied(_) => Lock::Free,
        }
    }

    /// The time now, by this machine's wall clock and as far as that is known by the node's other clocks; of a dump, when
    /// it was taken.
    pub fn now(&self) -> Moment {
        match &self.dumped {
            None => now(&self.identity, self.held_lock(), self.process),
            Some(taken) => match self.reader() {
                Ok(reader) => taken_at(taken, &reader),
                Err(_) => Moment { unix_ns: taken.unix_ns, mono_ns: None, boot_ns: None },
            },
        }
    }

    /// When the probe's thread beat last, by the node's clocks, if it ever did.
    pub fn last_beat(&self) -> Option<Moment> {
        let reader = self.reader().ok()?;
        let beat = reader.process_beat();
        (beat.count > 0).then(|| reader.clock().map(|clock| clock.moment_of_mono(beat.mono_ns))).flatten()
    }

    /// Until when its node has lived: `now`, or if it is dead its last beat. `None` where that is not known.
    pub fn until(&self, liveness: &Liveness, now: &Moment) -> Option<Moment> {
        if liveness.verdict.is_alive() { Some(*now) } else { self.last_beat() }
    }

    /// How long its node has lived, see [`Self::until`].
    pub fn uptime(&self, liveness: &Liveness, now: &Moment) -> Option<Duration> {
        self.until(liveness, now)?.since(&self.identity.created())
    }
}

impl RegionSummary {
    /// Whether that is the same node, and not another one in its file.
    pub fn is_of_same_node(&self, other: &Self) -> bool {
        (self.inode, &self.identity.header) == (other.inode, &other.identity.header)
    }

    /// Looks at the region in the file `path`, as [`Region::open`] would open it.
    pub fn take(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachError> {
        Self::take_inner(path, pid, max_bytes).map_err(|why| AttachError { path: path.to_owned(), why })
    }

    fn take_inner(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachErrorKind> {
        let Checked { file, meta, contents, process } = Checked::open(path, pid, max_bytes)?;
        let glance = |words: Words<'_>, reader: RegionReader<'_>, lock, dumped: Option<DumpInfo>| {
            let identity = reader.identity();
            let (liveness, now) = match &dumped {
                None => (judge(&reader, &identity, lock, process), now(&identity, lock, process)),
                Some(taken) => (taken.liveness, taken_at(taken, &reader)),
            };
            let age = now.since(&identity.created());
            let user = user_of(meta.uid(), &identity, dumped.as_ref());
            let is_counted = words.len() >= reader.map().counters.range().end;
            let live_actors = is_counted.then(|| reader.actor_totals().live);
            let unlinked_from = if dumped.is_some() { None } else { unlinked_from(path, &meta, process) };
            let (path, inode, bytes) = (path.to_owned(), Inode::of(&meta), meta.len());
            let layout_version = reader.layout_version();
            Self {
                path,
                inode,
                bytes,
                user,
                identity,
                layout_version,
                process,
                liveness,
                age,
                live_actors,
                dumped,
                unlinked_from,
            }
        };
        match contents {
            Contents::Dump { taken, bytes } => {
                let memory = part(&file, raw::HEADER_BYTES, bytes)?;
                let reader =
                    RegionReader::open_part(memory.reader(), bytes).map_err(AttachErrorKind::Layout)?;
                Ok(glance(memory.reader(), reader, Lock::Free, Some(taken)))
            }
            Contents::Region { lock: Lock::Free, bytes } => {
                let memory = part(&file, 0, bytes)?;
                let reader =
                    RegionReader::open_part(memory.reader(), bytes).map_err(AttachErrorKind::Layout)?;
                Ok(glance(memory.reader(), reader, Lock::Free, None))
            }
            // Of a mapping only what is looked at takes memory, and what is written meanwhile is seen in order.
            Contents::Region { .. } => {
                let memory = map(&file, meta.len())?;
                let reader = memory.reader()?;
                let lock = lock_of(&file, Inode::of(&meta), start_of(&reader.identity()), process);
                let glance = glance(memory.words(), reader, lock, None);
                if memory.has_faulted() { Err(AttachErrorKind::Shrunk) } else { Ok(glance) }
            }
        }
    }

    /// The path that it was looked at by, or what there is to say of one that has no name any more.
    pub fn shown_path(&self) -> PathBuf {
        shown_path(&self.path, self.unlinked_from.as_deref())
    }

    /// Attaches to it.
    pub fn open(&self, max_bytes: u64) -> Result<Region, AttachError> {
        Region::open(&self.path, self.process, max_bytes)
    }

    /// The node's process id as this program sees it, or as the node saw it where that cannot be known.
    pub fn pid(&self) -> u64 {
        pid_of(self.process, &self.identity, self.dumped.as_ref())
    }

    /// Whether the node lives: that of a dump may have, once.
    pub fn is_alive(&self) -> bool {
        self.dumped.is_none() && self.liveness.verdict.is_alive()
    }
}

/// A file without a link has no name; the process that has it mapped tells which it was.
fn unlinked_from(path: &Path, meta: &Metadata, process: Option<u32>) -> Option<PathBuf> {
    (meta.nlink() == 0).then(|| {
        let mapped = process.and_then(|pid| process::name_of_mapped(pid, meta.dev(), meta.ino()));
        mapped.unwrap_or_else(|| path.to_owned())
    })
}

/// As the kernel shows such a name.
fn shown_path(path: &Path, unlinked_from: Option<&Path>) -> PathBuf {
    let Some(name) = unlinked_from else { return path.to_owned() };
    let mut shown = name.as_os_str().to_owned();
    shown.push(" (deleted)");
    shown.into()
}

fn user_of(owner: u32, identity: &Identity, dumped: Option<&DumpInfo>) -> u64 {
    if dumped.is_some() { identity.header.uid } else { u64::from(owner) }
}

fn pid_of(process: Option<u32>, identity: &Identity, dumped: Option<&DumpInfo>) -> u64 {
    match (dumped, process) {
        (Some(taken), _) => taken.pid,
        (None, Some(pid)) => u64::from(pid),
        (None, None) => identity.header.pid,
    }
}

fn start_of(identity: &Identity) -> Start {
    Start::of(&identity.header, &identity.time)
}

/// So long after a beat, of which there should be four a second, it is asked whether something holds the node.
const LATE: Duration = Duration::from_secs(1);

/// What the lock says of the node whose process is this one, as far as it is known.
fn lock_of(file: &File, inode: Inode, start: Start, process: Option<u32>) -> Lock {
    let has_mapped = |pid| process::may_have_mapped(pid, start, inode.device, inode.number);
    match query_lock(file.as_raw_fd()) {
        Lock::Free if process.is_some_and(has_mapped) => Lock::Lost,
        lock => lock,
    }
}

/// The lock was asked for before the state is read here: a node says that it closes before it lets go, so whoever sees
/// it gone also sees its last word.
fn judge(reader: &RegionReader<'_>, identity: &Identity, lock: Lock, process: Option<u32>) -> Liveness {
    let header = &identity.header;
    let start = start_of(identity);
    let seen = process.map(|pid| Stat::of(pid).ok().filter(|stat| start.is(stat.start_ticks)));
    // A process that is not found is gone only if it would be seen from here.
    let local = process::pid_namespace() == Some(header.pid_namespace) || process::sees_all();
    let process_beat = reader.process_beat();
    let now_mono_ns = now(identity, lock, process).mono_ns.and_then(|ns| u64::try_from(ns).ok());
    // Whoever beats is not frozen.
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
    }
    .judge()
}

/// When a dump was taken. By the node's clocks that is its last beat, and as much later as the beat was old then.
fn taken_at(taken: &DumpInfo, reader: &RegionReader<'_>) -> Moment {
    let wall = Moment { unix_ns: taken.unix_ns, mono_ns: None, boot_ns: None };
    let age = taken.liveness.process_beat_age.and_then(|age| u64::try_from(age.as_nanos()).ok());
    let (Some(age), Some(clock)) = (age, reader.clock()) else { return wall };
    let mono_ns = reader.process_beat().mono_ns.saturating_add(age);
    Moment { unix_ns: taken.unix_ns, ..clock.moment_of_mono(mono_ns) }
}

fn is_of_this_boot(header: &HeaderRecord) -> Option<bool> {
    (header.boot_id != [0, 0]).then(|| process::boot_id().map(|now| now == header.boot_id)).flatten()
}

/// The time now, by the clocks of a node: what they show can be known if it is one of this boot.
fn now(identity: &Identity, lock: Lock, process: Option<u32>) -> Moment {
    // Whoever holds a lock of this kernel has its clocks: some containers show a boot id of their own.
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

/// A file that may be believed, as far as can be said before anything behind its header is read.
struct Checked {
    file: File,
    meta: Metadata,
    contents: Contents,
    /// The process that it names, if it lives and can be seen.
    process: Option<u32>,
}

enum Contents {
    Dump { taken: DumpInfo, bytes: u64 },
    Region { lock: Lock, bytes: u64 },
}

impl Checked {
    fn open(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachErrorKind> {
        let (file, through_link) = match open_file(path, false) {
            // It may yet be a dump.
            Err(AttachErrorKind::Link) => (open_file(path, true).map_err(|_| AttachErrorKind::Link)?, true),
            opened => (opened?, false),
        };
        let meta = file.metadata().map_err(AttachErrorKind::System)?;
        is_file(&meta)?;
        let start = read_start(&file);
        if let Some(taken) = start.as_ref().ok().and_then(|start| raw::read_header(start, meta.len())) {
            let taken = taken.map_err(AttachErrorKind::Layout)?;
            let bytes = meta.len().saturating_sub(raw::HEADER_BYTES) / WORD as u64 * WORD as u64;
            if bytes > max_bytes {
                return Err(AttachErrorKind::TooLarge { bytes, most: max_bytes });
            }
            return Ok(Self { file, meta, contents: Contents::Dump { taken, bytes }, process: None });
        }
        if through_link {
            return Err(AttachErrorKind::Link);
        }
        let (reader, owner) = (user(), meta.uid());
        if reader != 0 && reader != owner {
            return Err(AttachErrorKind::OtherUser { owner, reader });
        }
        let header = read_header(&start.map_err(AttachErrorKind::System)?);
        // Only now: a node takes its lock before it publishes, so a published region without one is a dead node's.
        let lock = query_lock(file.as_raw_fd());
        if let Err(OpenError::NotReady) = header {
            return Err(AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock } });
        }
        let (record, time) = header.map_err(AttachErrorKind::Layout)?;
        // Only a file that is a region at all is worth a word on who may write it.
        if meta.mode() & 0o022 != 0 {
            return Err(AttachErrorKind::Writable { mode: meta.mode() & 0o777 });
        }
        // A second name of a file of one's own can only be one's own doing, or do no harm.
        if meta.nlink() > 1 && owner != reader {
            return Err(AttachErrorKind::HardLinks { owner, links: meta.nlink() });
        }
        let process = writer((&record, &time), &meta, lock, pid)?;
        let lock = lock_of(&file, Inode::of(&meta), Start::of(&record, &time), process);
        // The number of a dead process may be another's by now.
        let process = process.filter(|_| lock != Lock::Free);
        if meta.len() > max_bytes {
            return Err(AttachErrorKind::TooLarge { bytes: meta.len(), most: max_bytes });
        }
        if record.region_bytes > meta.len() {
            let (found, expected) = (meta.len(), record.region_bytes);
            return Err(AttachErrorKind::Layout(OpenError::Truncated { found, expected }));
        }
        let contents = Contents::Region { lock, bytes: record.region_bytes };
        Ok(Self { file, meta, contents, process })
    }
}

/// The process of the number and start that a region names, as this program sees it, if there is one; an error if the file
/// cannot be its.
fn writer(
    (record, time): (&HeaderRecord, &TimeRecord),
    meta: &Metadata,
    lock: Lock,
    pid: Option<u32>,
) -> Result<Option<u32>, AttachErrorKind> {
    let (owner, claimed) = (meta.uid(), record.uid);
    let start = Start::of(record, time);
    let started = |pid: &u32| Stat::of(*pid).is_ok_and(|stat| start.is(stat.start_ticks));
    let named = pid.filter(started).or_else(|| process::translate(record.pid, record.pid_namespace, start));
    // A process that is gone by now is one that was not found.
    if let Some((pid, users)) = named.and_then(|pid| process::users(pid).ok().map(|users| (pid, users))) {
        // Who was root when the region was made may have become somebody else since. (That some user of the namespace is
        // the owner would not do: outside of namespaces every user is.)
        let was_root = claimed == 0 && process::root_of(pid) == Some(owner);
        if !users.contains(&owner) && !was_root {
            return Err(AttachErrorKind::OthersProcess { owner, pid, user: users[1] });
        }
        return Ok(Some(pid));
    }
    let local = u32::try_from(record.pid).ok().filter(|_| process::is_ours(record.pid_namespace));
    if let Some(pid) = local.filter(|pid| lock == Lock::Held && Stat::of(*pid).is_ok()) {
        // In a time namespace that it does not tell of it started at another time than here.
        if !process::has_mapped(pid, meta.dev(), meta.ino()).unwrap_or(false) {
            return Err(AttachErrorKind::OtherProcess { pid });
        }
    }
    if claimed != u64::from(owner) && user() != owner {
        return Err(AttachErrorKind::OwnerMismatch { owner, claimed });
    }
    Ok(None)
}

impl Memory {
    fn words(&self) -> Words<'_> {
        match self {
            Self::Mapped(memory, _) => memory.words(),
            Self::Copied(memory) => memory.reader(),
        }
    }

    fn reader(&self) -> Result<RegionReader<'_>, AttachErrorKind> {
        RegionReader::open(self.words()).map_err(|error| match self.has_faulted() {
            true => AttachErrorKind::Shrunk,
            false => AttachErrorKind::Layout(error),
        })
    }

    fn has_faulted(&self) -> bool {
        matches!(self, Self::Mapped(_, Some(slot)) if GUARDED[*slot].faulted.load(Ordering::Relaxed))
    }

    fn copied(file: &File, from: u64, bytes: u64) -> Result<Self, AttachErrorKind> {
        let bytes = usize::try_from(bytes)
            .map_err(|_| AttachErrorKind::System(io::ErrorKind::FileTooLarge.into()))?;
        let memory = private(bytes)?;
        copy(file, from, 0..bytes, &memory)?;
        Ok(Self::Copied(memory))
    }
}

/// Memory of which only what is written takes room.
fn private(bytes: usize) -> Result<WriterMemory, AttachErrorKind> {
    WriterMemory::private(bytes).ok_or_else(|| AttachErrorKind::System(io::ErrorKind::OutOfMemory.into()))
}

/// Copies `range` of the region that starts at byte `from` of `file` into its place in `memory`. Zeros are not written:
/// of a file that is mostly holes the copy is too.
fn copy(file: &File, from: u64, range: Range<usize>, memory: &WriterMemory) -> Result<(), AttachErrorKind> {
    let mut buffer = [0; 1 << 16];
    let mut at = range.start;
    while at < range.end {
        let most = (range.end - at).min(buffer.len());
        let mut read = 0;
        while read < most {
            match file.read_at(&mut buffer[read..most], from + (at + read) as u64) {
                // It was longer a moment ago.
                Ok(0) => return Err(AttachErrorKind::Shrunk),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(AttachErrorKind::System(error)),
            }
        }
        let (words, _) = buffer[..most].as_chunks::<WORD>();
        for (to, from) in memory.words()[at / WORD..].iter().zip(words) {
            let word = u64::from_le_bytes(*from);
            if word != 0 {
                to.store(word, Ordering::Relaxed);
            }
        }
        at += most;
    }
    Ok(())
}

/// Of the region of `bytes` bytes that starts at byte `from` of a file the header, and of each lane of its counters those
/// that every node has.
fn part(file: &File, from: u64, bytes: u64) -> Result<WriterMemory, AttachErrorKind> {
    let head_bytes = usize::try_from(bytes).map_or(HEADER_BYTES, |bytes| bytes.min(HEADER_BYTES));
    let head = private(head_bytes)?;
    copy(file, from, 0..head_bytes, &head)?;
    let reader = RegionReader::open_part(head.reader(), bytes).map_err(AttachErrorKind::Layout)?;
    let counters = reader.map().counters;
    // Where they do not fit into memory they are left out.
    let Ok(memory) = private(counters.range().end * WORD) else { return Ok(head) };
    copy(file, from, 0..HEADER_BYTES, &memory)?;
    for lane in counters.range().step_by(counters.stride) {
        copy(file, from, lane * WORD..(lane + MIN_METRICS) * WORD, &memory)?;
    }
    Ok(memory)
}

/// Opens for reading without waiting, following or being inherited. A link of `/proc/PID/fd` is no link in a
/// directory that somebody could have planted: it is the file itself.
fn open_file(path: &Path, follow: bool) -> Result<File, AttachErrorKind> {
    let through_proc = path.parent().is_some_and(|dir| dir.starts_with("/proc") && dir.ends_with("fd"));
    let follow = follow || through_proc;
    let no_follow = if follow { 0 } else { libc::O_NOFOLLOW };
    // Whoever waits at the other end of a pipe would take this program for the one it waits for, and some devices act
    // when they are opened. What cannot be looked at is said by the opening.
    let meta = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
    if let Some(meta) = meta.ok().filter(|meta| !meta.is_symlink()) {
        is_file(&meta)?;
    }
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY | no_follow;
    OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => AttachErrorKind::Missing,
            (_, Some(libc::ELOOP)) => AttachErrorKind::Link,
            _ => AttachErrorKind::System(error),
        }
    })
}

fn is_file(meta: &Metadata) -> Result<(), AttachErrorKind> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => Ok(()),
        () if kind.is_dir() => Err(AttachErrorKind::NotAFile("a directory")),
        () if kind.is_fifo() => Err(AttachErrorKind::NotAFile("a pipe")),
        () if kind.is_socket() => Err(AttachErrorKind::NotAFile("a socket")),
        () => Err(AttachErrorKind::NotAFile("a device")),
    }
}

/// Reads no more than a header: most files that are no region are seen through without reading more of them.
fn read_start(file: &File) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(HEADER_BYTES);
    io::Read::read_to_end(&mut io::Read::take(file, HEADER_BYTES as u64), &mut start)?;
    Ok(start)
}

fn read_header(start: &[u8]) -> Result<(HeaderRecord, TimeRecord), OpenError> {
    // Bytes that are no whole word are enough to see that it is not one of ours.
    let mut magic = [0; WORD];
    let known = start.len().min(WORD);
    magic[..known].copy_from_slice(&start[..known]);
    match u64::from_le_bytes(magic) {
        0 => Err(OpenError::NotReady),
        MAGIC => {
            let memory = ReaderMemory::copied(start);
            Ok((HeaderRecord::read(memory.words())?, TimeRecord::of(memory.words())))
        }
        found => Err(OpenError::NotARegion { found }),
    }
}

fn map(file: &File, bytes: u64) -> Result<Memory, AttachErrorKind> {
    let bytes =
        usize::try_from(bytes).map_err(|_| AttachErrorKind::System(io::ErrorKind::FileTooLarge.into()))?;
    let map = MmapOptions::new().len(bytes).map_raw_read_only(file).map_err(AttachErrorKind::System)?;
    let start =
        NonNull::new(map.as_mut_ptr()).ok_or(AttachErrorKind::System(io::ErrorKind::InvalidData.into()))?;
    let guard = Guard::of(start.as_ptr() as usize, bytes).ok_or(AttachErrorKind::TooMany)?;
    let slot = guard.0;
    // SAFETY: `start` is aligned to 8 bytes, as mappings start on a page; it is valid for reads of `bytes` bytes until
    // `map` is dropped, since moving an `MmapRaw` does not move the mapping (should the file shrink, a read beyond its
    // end is a SIGBUS, which ends the process or is met by `on_sigbus`: no foreign memory is read); whoever changes the
    // bytes is another process, or a node of this very one, which does so with atomic stores; through this mapping, which
    // is read-only, nobody does.
    Ok(Memory::Mapped(unsafe { ReaderMemory::mapped(start, bytes, (guard, map)) }, slot))
}

/// A mapping whose faults are met.
struct Guarded {
    /// First address, or 0 for a free slot.
    start: AtomicUsize,
    /// Bytes; 0 while the slot is being taken.
    bytes: AtomicUsize,
    faulted: AtomicBool,
}

/// More mappings than these at a time are refused once mappings are guarded.
static GUARDED: [Guarded; 256] = [const {
    Guarded { start: AtomicUsize::new(0), bytes: AtomicUsize::new(0), faulted: AtomicBool::new(false) }
}; 256];
/// Bytes of a page of this machine; set by [`guard_mappings`].
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);
/// What was done on SIGBUS before; null until [`guard_mappings`].
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Gives its slot back when dropped, which must be before the mapping goes.
struct Guard(Option<usize>);

impl Guard {
    /// `None` if it should be met and cannot.
    fn of(start: usize, bytes: usize) -> Option<Self> {
        if BEFORE.load(Ordering::Acquire).is_null() {
            return Some(Self(None));
        }
        let slot = GUARDED.iter().position(|slot| {
            slot.start.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        slot.map(|slot| {
            GUARDED[slot].faulted.store(false, Ordering::Relaxed);
            GUARDED[slot].bytes.store(bytes, Ordering::Release);
            Self(Some(slot))
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            GUARDED[slot].bytes.store(0, Ordering::Relaxed);
            GUARDED[slot].start.store(0, Ordering::Release);
        }
    }
}

/// From now on a read beyond the end of a mapped file that was cut short gives zeros and makes
/// [`Region::still_whole`] say so, instead of ending the process. For programs: it takes the process's SIGBUS handler,
/// and passes on to the one before what is not its own.
pub fn guard_mappings() {
    if !BEFORE.load(Ordering::Acquire).is_null() {
        return;
    }
    // SAFETY: it takes a number, a valid name or not, and gives one.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if let Some(bytes) = usize::try_from(page_bytes).ok().filter(|bytes| *bytes > 0) {
        PAGE_BYTES.store(bytes, Ordering::Relaxed);
    }
    // SAFETY: all zeros are a valid `sigaction`: no flags, no handler, no signal in the mask.
    let [mut ours, mut before]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = on_sigbus as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the signal is valid; no action is given, and none is set; `before` is writable for the whole call.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) };
    // Never freed: the handler may run at any time from now on.
    BEFORE.store(Box::into_raw(Box::new(before)), Ordering::Release);
    // SAFETY: the signal is valid, `ours` is initialized, its handler has the signature that SA_SIGINFO asks for, and
    // does nothing but atomic loads and stores and system calls that a handler may make.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut()) };
}

/// Puts a page of zeros where a guarded mapping has none any more; leaves everything else to whoever was there before.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a pointer to a `siginfo_t` on its own stack: non-null, aligned,
    // initialised, and left alone by everybody until the handler returns, which is longer than the reference lives.
    let info = unsafe { &*info };
    // SAFETY: for SIGBUS this field is the address; where a process sent the signal it is whatever it is, and no slot's
    // unless that process means us harm and has the right to do worse.
    let address = unsafe { info.si_addr() } as usize;
    let hit = GUARDED.iter().find(|slot| {
        let (bytes, start) = (slot.bytes.load(Ordering::Acquire), slot.start.load(Ordering::Relaxed));
        address.checked_sub(start).is_some_and(|offset| offset < bytes)
    });
    if let Some(slot) = hit {
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let page = address / page_bytes * page_bytes;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies in a mapping of ours, which is read-only and stays until its guard is dropped: no other
        // mapping is replaced, and whoever reads it finds atomics that are zero.
        let zeros = unsafe { libc::mmap(page as *mut _, page_bytes, libc::PROT_READ, flags, -1, 0) };
        if zeros != libc::MAP_FAILED {
            slot.faulted.store(true, Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: the pointer was stored before this handler was installed, and what it points to is never freed.
    let _ = unsafe { libc::sigaction(signal, BEFORE.load(Ordering::Acquire), std::ptr::null_mut()) };
    // The signal is blocked while it is handled here, so that it comes again as soon as this returns.
    // SAFETY: the signal is valid.
    let _ = unsafe { libc::raise(signal) };
}

/// Asks whether somebody holds a write lock on byte 0, without taking one.
fn query_lock(fd: RawFd) -> Lock {
    // `l_pid` must be 0 for this kind of lock.
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: `fd` is an open descriptor of the caller; F_OFD_GETLK takes a pointer to a `struct flock`, which `lock` is
    // for the whole call, initialized in every field; the kernel keeps no pointer.
    let answer = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) };
    match (answer, i32::from(lock.l_type)) {
        (0, libc::F_UNLCK) => Lock::Free,
        (0, _) => Lock::Held,
        _ => Lock::Unsupported,
    }
}

/// The clock that beats are told in.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The clock that ages are told in: it goes on while the machine is suspended.
pub fn boottime_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable `timespec` for the whole call; both clocks exist on every Linux, and an unknown
    // one is an error that leaves it as it is.
    let _ = unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The user that this process acts as.
pub fn user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether there is a process of this number, seen or not.
pub fn exists(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: it takes numbers, of which the second sends nothing.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Makes crossing a limit on file sizes an error of the write that crosses it, instead of the end of this process with a
/// file half written. For programs; it holds for the whole process.
pub fn survive_file_size_limit() {
    // SAFETY: SIGXFSZ is a valid signal, and SIG_IGN runs no code of ours.
    let _ = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Set by the first signal after [`stop_on_signals`].
static STOP: AtomicBool = AtomicBool::new(false);

/// The signal ends a system call that waits. One that comes right before the call would not, so an alarm follows it.
extern "C" fn on_stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
    on_alarm(libc::SIGALRM);
}

extern "C" fn on_alarm(_signal: libc::c_int) {
    // SAFETY: it takes a number, cannot fail, and may be called by a handler.
    let _ = unsafe { libc::alarm(1) };
}

/// From now on the first SIGINT, SIGTERM or SIGHUP makes [`stopped`] true and system calls that wait end with
/// [`io::ErrorKind::Interrupted`], at once or a second later; only a second signal ends this process. A SIGHUP that is
/// ignored, as under `nohup`, stays so. For programs: it takes their alarm too.
pub fn stop_on_signals() {
    // SAFETY: all zeros are a valid `sigaction`: no flags, no handler, no signal in the mask.
    let [mut action, mut before]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    // Without SA_RESTART: a write that nobody reads must end.
    action.sa_sigaction = on_alarm as *const () as usize;
    // SAFETY: the signal is valid, `action` is initialized, its handler has the signature that is asked for without
    // SA_SIGINFO, and does nothing but a system call that a handler may make.
    let _ = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    action.sa_sigaction = on_stop as *const () as usize;
    action.sa_flags = libc::SA_RESETHAND;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the signal is valid; no action is given, and none is set; `before` is writable for the whole call.
        let _ = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut before) };
        if signal == libc::SIGHUP && before.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        // SAFETY: the signal is valid, `action` is initialized, its handler has the signature that is asked for without
        // SA_SIGINFO, and does nothing but an atomic store and a system call that a handler may make.
        let _ = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Whether a signal asked this process to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Stops this process, as a terminal's suspend key does, until it is told to go on. What was done before is done by then:
/// the signal is this very thread's. For programs.
pub fn suspend() {
    // SAFETY: the signal is valid; no handler of ours runs.
    let _ = unsafe { libc::raise(libc::SIGTSTP) };
}

/// Whether nobody is at the other end any more: of a terminal that was closed, or a pipe that nobody reads.
pub fn is_hung_up(of: BorrowedFd<'_>) -> bool {
    poll(of, 0, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Waits until a terminal has input, but no longer than `most`; false if nobody is at its other end any more.
pub fn wait_for_input(of: BorrowedFd<'_>, most: Duration) -> bool {
    let ms = most.as_millis().try_into().unwrap_or(libc::c_int::MAX);
    poll(of, libc::POLLIN, ms) & (libc::POLLERR | libc::POLLHUP) == 0
}

/// What has come of these events, and of a hang-up, within a time; nothing where a signal came first.
fn poll(of: BorrowedFd<'_>, events: libc::c_short, ms: libc::c_int) -> libc::c_short {
    let mut of = libc::pollfd { fd: of.as_raw_fd(), events, revents: 0 };
    // SAFETY: `of` is one valid, writable `pollfd`, as the count says; the kernel keeps no pointer.
    let ready = unsafe { libc::poll(&raw mut of, 1, ms) };
    if ready > 0 { of.revents } else { 0 }
}

/// Another descriptor of what this program was handed under this number by whoever started it. What the program has
/// opened itself counts as none.
pub fn inherited(number: RawFd) -> io::Result<File> {
    // SAFETY: it takes two numbers, and of one that is no descriptor says so.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // Everything of our own is closed in programs that we start; what we were handed was not.
    if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: as above; the new descriptor is the lowest one that is free, and nobody's but the caller's.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` is open, as the call has just made it, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// Waits, but no longer than until a signal asks to stop or nobody reads stdout any more; false if that came.
pub fn wait(time: Duration) -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // A time that no clock can be set forward by has no end.
    let end = std::time::Instant::now().checked_add(time);
    loop {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(std::time::Instant::now()));
        if stopped() {
            return false;
        }
        // Not for longer at a time than a person would notice: a signal may come just before.
        let ms = left.min(Duration::from_millis(100)).as_micros().div_ceil(1000) as libc::c_int;
        // SAFETY: `stdout` is one valid, writable `pollfd`, as the count says; the kernel keeps no pointer.
        let ready = unsafe { libc::poll(&raw mut stdout, 1, ms) };
        if ready > 0 && stdout.revents & (libc::POLLERR | libc::POLLHUP) != 0 {
            return false;
        }
        if left.is_zero() {
            return !stopped();
        }
        if ready > 0 {
            // A closed descriptor is known at once, and tells nothing.
            std::thread::sleep(left.min(Duration::from_millis(10)));
        }
    }
}

/// What a file lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Whether it is memory; elsewhere a node that writes may have to wait for a disk.
    pub is_memory: bool,
    /// All of it.
    pub bytes: u64,
    /// What is left.
    pub free_bytes: u64,
}

impl FileSystem {
    /// Of the file or directory `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))?;
        // SAFETY: all zeros are a valid `statfs`: it holds numbers only.
        let mut found: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: `path` is a string that ends in a zero byte, `found` is writable for the whole call.
        if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let block = u64::try_from(found.f_bsize).unwrap_or(0);
        Ok(Self {
            is_memory: [libc::TMPFS_MAGIC, RAMFS_MAGIC]
                .map(|magic| magic as u64)
                .contains(&(found.f_type as u64)),
            bytes: found.f_blocks.saturating_mul(block),
            free_bytes: found.f_bavail.saturating_mul(block),
        })
    }
}

/// As in the kernel's `magic.h`; `libc` does not have it.
const RAMFS_MAGIC: i64 = 0x8584_58f6;
