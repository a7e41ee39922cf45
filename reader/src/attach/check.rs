//! The checks of a file before anything behind its header is believed.
//!
//! The file must be a regular file and not a link. Its owner must be the user of this process, unless this is root. Nobody
//! but the owner may be able to write it, and it must not exceed the size limit. Its owner must also be the user of the
//! process that its header names:
//! ```text
//!   the process lives and is visible     ──► it runs as the owner, or the owner is root of its user namespace
//!   another process has its number       ──► refused if some process holds the lock; else the node is dead
//!   the process is dead or not visible   ──► the header names the owner, unless this process runs as the owner
//! ```
//! The exception in the last line is for nodes in user namespaces. Such a node writes the user id that it has inside, and
//! nobody can translate that id once the node is dead. Only that user or root could have made the file, so that user may
//! read it. Root could be misled by the file of anybody, so root is refused and advised to become that user.
//!
//! A raw dump ([`crate::raw`]) belongs to no node any more: every readable regular file is accepted, through a link too.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use atomscope_layout::OpenError;
use atomscope_layout::records::TimeRecord;
use atomscope_layout::region::{HEADER_BYTES, HeaderRecord, MAGIC};
use atomscope_layout::view::ReaderMemory;
use atomscope_layout::words::WORD;

use super::error::AttachErrorKind;
use super::node::{Inode, lock_of};
use crate::liveness::{Lock, Verdict};
use crate::process::{self, StartTime, Stat};
use crate::raw::header::{self as dump_header, DumpInfo};
use crate::system::{query_lock, user};

/// An open file that passed all checks.
pub(super) struct CheckedFile {
    pub(super) file: File,
    pub(super) meta: Metadata,
    pub(super) contents: Contents,
    /// The process that the header names, if it lives and is visible.
    pub(super) process: Option<u32>,
}

/// What a checked file holds; `bytes` are those of the region.
pub(super) enum Contents {
    Dump { info: Box<DumpInfo>, bytes: u64 },
    Region { lock: Lock, bytes: u64 },
}

impl CheckedFile {
    pub(super) fn open(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachErrorKind> {
        let (file, through_link) = match open_file(path, false) {
            // The link may lead to a dump.
            Err(AttachErrorKind::Link) => (open_file(path, true).map_err(|_| AttachErrorKind::Link)?, true),
            opened => (opened?, false),
        };
        let meta = file.metadata().map_err(AttachErrorKind::System)?;
        is_file(&meta)?;
        let start = read_start(&file);
        if let Some(info) = start.as_ref().ok().and_then(|start| dump_header::read_header(start, meta.len()))
        {
            let info = info.map_err(AttachErrorKind::Layout)?;
            let bytes = meta.len().saturating_sub(dump_header::HEADER_BYTES) / WORD as u64 * WORD as u64;
            if bytes > max_bytes {
                return Err(AttachErrorKind::TooLarge { bytes, most: max_bytes });
            }
            let contents = Contents::Dump { info: Box::new(info), bytes };
            return Ok(Self { file, meta, contents, process: None });
        }
        if through_link {
            return Err(AttachErrorKind::Link);
        }
        let (reader, owner) = (user(), meta.uid());
        if reader != 0 && reader != owner {
            return Err(AttachErrorKind::OtherUser { owner, reader });
        }
        let header = read_header(&start.map_err(AttachErrorKind::System)?);
        // After the header was read: a node locks its region before it publishes the header, so a published region
        // without a lock is that of a dead node.
        let lock = query_lock(file.as_raw_fd());
        if let Err(OpenError::NotReady) = header {
            return Err(AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock } });
        }
        let (record, time) = header.map_err(AttachErrorKind::Layout)?;
        // After the header was read: of a file that is no region, its mode is not worth an error.
        if meta.mode() & 0o022 != 0 {
            return Err(AttachErrorKind::Writable { mode: meta.mode() & 0o777 });
        }
        // A second name of the reader's own file was made by the reader's user or does no harm.
        if meta.nlink() > 1 && owner != reader {
            return Err(AttachErrorKind::HardLinks { owner, links: meta.nlink() });
        }
        let process = writer((&record, &time), &meta, lock, pid)?;
        let lock = lock_of(&file, Inode::of(&meta), StartTime::of(&record, &time), process);
        // Another process may have the number of a dead process by now.
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

/// The process that wrote the region, as this program sees it: the one with the number and start time of the header, if it
/// lives and is visible.
///
/// # Errors
/// The owner of the file is not the user of that process.
fn writer(
    (record, time): (&HeaderRecord, &TimeRecord),
    meta: &Metadata,
    lock: Lock,
    pid: Option<u32>,
) -> Result<Option<u32>, AttachErrorKind> {
    let (owner, claimed) = (meta.uid(), record.uid);
    let start = StartTime::of(record, time);
    let started = |pid: &u32| Stat::of(*pid).is_ok_and(|stat| start.is(stat.start_ticks));
    let named = pid.filter(started).or_else(|| process::translate(record.pid, record.pid_namespace, start));
    // A process that ended in between counts as not found.
    if let Some((pid, users)) = named.and_then(|pid| process::users(pid).ok().map(|users| (pid, users))) {
        // A process that was root when it made the region may have changed its user since. It is not enough that some
        // user of the namespace owns the file: outside of user namespaces that is true of every user.
        let was_root = claimed == 0 && process::root_of(pid) == Some(owner);
        if !users.contains(&owner) && !was_root {
            return Err(AttachErrorKind::OthersProcess { owner, pid, user: users[1] });
        }
        return Ok(Some(pid));
    }
    let local = u32::try_from(record.pid).ok().filter(|_| process::is_ours(record.pid_namespace));
    if let Some(pid) = local.filter(|pid| lock == Lock::Held && Stat::of(*pid).is_ok()) {
        // A node in a time namespace that its header does not mention has another start time here.
        if !process::has_mapped(pid, meta.dev(), meta.ino()).unwrap_or(false) {
            return Err(AttachErrorKind::OtherProcess { pid });
        }
    }
    if claimed != u64::from(owner) && user() != owner {
        return Err(AttachErrorKind::OwnerMismatch { owner, claimed });
    }
    Ok(None)
}

/// Opens a file for reading, without waiting and without inheriting the descriptor to children. Links are followed only
/// if `follow` says so. A link of `/proc/PID/fd` is always followed: nobody can plant it, it is the file itself.
fn open_file(path: &Path, follow: bool) -> Result<File, AttachErrorKind> {
    let through_proc = path.parent().is_some_and(|dir| dir.starts_with("/proc") && dir.ends_with("fd"));
    let follow = follow || through_proc;
    let no_follow = if follow { 0 } else { libc::O_NOFOLLOW };
    // Opening a pipe wakes the process at its other end, and some devices act when they are opened. So the type is checked
    // first. An error of this check is left to the opening itself.
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

/// Reads the bytes of a header, which are enough to recognise files that are no region.
fn read_start(file: &File) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(HEADER_BYTES);
    io::Read::read_to_end(&mut io::Read::take(file, HEADER_BYTES as u64), &mut start)?;
    Ok(start)
}

fn read_header(start: &[u8]) -> Result<(HeaderRecord, TimeRecord), OpenError> {
    // A file of less than a word is recognised as no region by the bytes that it has.
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
