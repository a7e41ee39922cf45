//! An attached region, and the state of its node while the region stays attached.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope_layout::decode::{Identity, Moment, RegionReader};
use atomscope_layout::region::HeaderRecord;
use atomscope_layout::words::Words;

use super::check::{CheckedFile, Contents};
use super::error::{AttachError, AttachErrorKind};
use super::node::{self, Inode};
use crate::liveness::{Liveness, Lock};
use crate::raw::header::{self as dump_header, DumpInfo};
use crate::system::{Memory, map};

/// An attached region: a read-only mapping, or a copy of the region of a dead node or of a raw dump.
///
/// A mapping shows what the node publishes at every read; a copy never changes. No method writes to the region or takes a
/// lock on it.
///
/// ```no_run
/// use std::path::Path;
///
/// use atomscope::attach::{MAX_BYTES, Region};
///
/// let region = Region::open(Path::new("/dev/shm/atomscope-1000-4711-0123456789abcdef"), None, MAX_BYTES)?;
/// println!("{} is {}", region.identity().node, region.liveness()?);
/// println!("{} actors live", region.reader()?.actor_totals().live);
/// # Ok::<(), atomscope::attach::AttachError>(())
/// ```
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
    dump_info: Option<DumpInfo>,
}

impl Region {
    /// Attaches to the region in the file `path`. `pid` is a process that may be the node, where the caller knows one.
    ///
    /// If the node may live, the file is mapped and only the pages that are read later take memory. Otherwise the whole
    /// file is read into memory, except for its zeros.
    ///
    /// # Errors
    /// The file fails a check, has more than `max_bytes`, or cannot be read.
    pub fn open(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachError> {
        Self::open_inner(path, pid, max_bytes).map_err(|kind| AttachError { path: path.to_owned(), kind })
    }

    fn open_inner(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachErrorKind> {
        let CheckedFile { file, meta, contents, process } = CheckedFile::open(path, pid, max_bytes)?;
        let (memory, dump_info) = match contents {
            Contents::Dump { info, bytes } => {
                (Memory::copied(&file, dump_header::HEADER_BYTES, bytes)?, Some(*info))
            }
            Contents::Region { lock: Lock::Free, bytes } => {
                let memory = Memory::copied(&file, 0, bytes)?;
                let reader = memory.reader()?;
                let liveness = node::judge(&reader, &reader.identity(), Lock::Free, process);
                // A node can live although nobody holds its lock. Then the region still changes.
                match liveness.verdict.is_alive() {
                    true => (map(&file, meta.len())?, None),
                    false => (memory, None),
                }
            }
            Contents::Region { .. } => (map(&file, meta.len())?, None),
        };
        let identity = memory.reader()?.identity();
        let (path, inode, bytes) = (path.to_owned(), Inode::of(&meta), meta.len());
        Ok(Self { path, file, inode, owner: meta.uid(), bytes, memory, identity, process, dump_info })
    }

    /// A reader that decodes the region. It checks header and directory again and copies nothing.
    ///
    /// # Errors
    /// The file was cut short or overwritten since the region was attached, or its header cannot be read any more.
    pub fn reader(&self) -> Result<RegionReader<'_>, AttachError> {
        let reader = self.memory.reader();
        self.check_intact()?;
        reader.map_err(|error| self.error(error))
    }

    /// Checks that all reads so far met existing bytes of this region; called after a pass of reads.
    ///
    /// The check needs [`guard_mappings`](crate::system::guard_mappings). Without it, a read of a mapped file that was
    /// cut short ends the process.
    ///
    /// # Errors
    /// The file was cut short or overwritten: nothing that was read of it can be trusted.
    pub fn check_intact(&self) -> Result<(), AttachError> {
        let Memory::Mapped(memory, _) = &self.memory else { return Ok(()) };
        // A cut within the last page causes no fault.
        let is_shorter = || self.file.metadata().is_ok_and(|meta| meta.len() < self.bytes);
        if self.memory.has_faulted() || is_shorter() {
            return Err(self.error(AttachErrorKind::Shrunk));
        }
        // The header never changes once it is published. The caller's own read reports a header that cannot be read.
        match HeaderRecord::read(memory.words()) {
            Ok(header) if header != self.identity.header => Err(self.error(AttachErrorKind::Overwritten)),
            _ => Ok(()),
        }
    }

    fn error(&self, kind: AttachErrorKind) -> AttachError {
        AttachError { path: self.path.clone(), kind }
    }

    /// Whether [`Self::path`] still names this file.
    pub fn is_at_path(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|meta| Inode::of(&meta) == self.inode)
    }

    /// The undecoded words of the region.
    pub fn words(&self) -> Words<'_> {
        self.memory.words()
    }

    /// The path by which the region was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The former name of the file, if it has none any more: it was deleted, or another file has its name.
    pub fn unlinked_from(&self) -> Option<PathBuf> {
        let meta = self.file.metadata().ok().filter(|_| self.dump_info.is_none())?;
        node::unlinked_from(&self.path, &meta, self.process)
    }

    /// The path for people: the former name of a file that has none any more, with ` (deleted)`.
    pub fn shown_path(&self) -> PathBuf {
        node::shown_path(&self.path, self.unlinked_from().as_deref())
    }

    /// The identity of the file.
    pub fn inode(&self) -> Inode {
        self.inode
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the header says of the node, as read at the attach.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The user of the node: the owner of the file, or of a dump the user that its header names.
    pub fn user(&self) -> u64 {
        node::user_of(self.owner, &self.identity, self.dump_info.as_ref())
    }

    /// The node's process id as this program sees it, or as the node sees it where that is unknown.
    pub fn pid(&self) -> u64 {
        node::pid_of(self.process, &self.identity, self.dump_info.as_ref())
    }

    /// What was known of the node when it was dumped; `None` if this is not a raw dump.
    pub fn dump_info(&self) -> Option<&DumpInfo> {
        self.dump_info.as_ref()
    }

    /// The state of the node's lock on the region, now. One system call. A dump has no node, so its lock is free.
    pub fn lock(&self) -> Lock {
        match self.dump_info {
            Some(_) => Lock::Free,
            None => node::lock_of(&self.file, self.inode, node::start_of(&self.identity), self.process),
        }
    }

    /// Judges the node now; of a dump, returns the verdict at the time of the dump. It costs a few system calls and reads of
    /// small files in `/proc`.
    ///
    /// # Errors
    /// As [`Self::reader`].
    pub fn liveness(&self) -> Result<Liveness, AttachError> {
        if let Some(info) = &self.dump_info {
            return Ok(node::liveness_of_dump(info, &self.reader()?, &self.identity));
        }
        Ok(node::judge(&self.reader()?, &self.identity, self.held_lock(), self.process))
    }

    /// The lock, or free for a copy: the verdict that led to the copy must not change.
    fn held_lock(&self) -> Lock {
        match self.memory {
            Memory::Mapped(..) => self.lock(),
            Memory::Copied(_) => Lock::Free,
        }
    }

    /// The time now by this machine's wall clock and, as far as they are known, by the node's other clocks; of a dump, the
    /// time of the dump.
    pub fn now(&self) -> Moment {
        match &self.dump_info {
            None => node::now(&self.identity, self.held_lock(), self.process),
            Some(info) => match self.reader() {
                Ok(reader) => node::time_of_dump(info, &reader),
                Err(_) => Moment { unix_ns: info.unix_ns, mono_ns: None, boot_ns: None },
            },
        }
    }

    /// The time of the last beat of the sampler, by the node's clocks; `None` if there was none or the clock is unknown.
    pub fn last_beat(&self) -> Option<Moment> {
        let reader = self.reader().ok()?;
        let beat = reader.process_beat();
        (beat.count > 0).then(|| reader.clock().map(|clock| clock.moment_of_mono(beat.mono_ns))).flatten()
    }

    /// The end of the node's life so far: `now`, or the last beat of a dead node. `None` if that is unknown.
    pub fn until(&self, liveness: &Liveness, now: &Moment) -> Option<Moment> {
        if liveness.verdict.is_alive() { Some(*now) } else { self.last_beat() }
    }

    /// How long the node has lived; see [`Self::until`].
    pub fn uptime(&self, liveness: &Liveness, now: &Moment) -> Option<Duration> {
        self.until(liveness, now)?.since(&self.identity.created())
    }
}
