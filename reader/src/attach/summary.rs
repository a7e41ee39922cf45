//! What one line of a listing needs of a region, read once and with nothing kept open.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope_layout::decode::{Identity, RegionReader};
use atomscope_layout::instances::Domain;
use atomscope_layout::limits::MIN_METRICS;
use atomscope_layout::region::HEADER_BYTES;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{WORD, Words};

use super::check::{CheckedFile, Contents};
use super::error::{AttachError, AttachErrorKind};
use super::node::{self, Inode};
use super::region::Region;
use crate::liveness::{Liveness, Lock};
use crate::raw::header::{self as dump_header, DumpInfo};
use crate::system::{copy, map, private};
use crate::workers::AwayWorkers;

/// The header of a region, a few of its counters, its workers, and the verdict on its node at that time.
///
/// Reading one takes a few system calls and kilobytes, however large the region is; afterwards nothing stays open or
/// mapped.
#[derive(Debug, Clone)]
pub struct RegionSummary {
    /// The path by which it was read.
    pub path: PathBuf,
    /// The identity of the file.
    pub inode: Inode,
    /// Bytes of the file.
    pub bytes: u64,
    /// The user of the node: the owner of the file, or of a dump the user that its header names.
    pub user: u64,
    /// What the header says of the node.
    pub identity: Identity,
    /// Major and minor version of the layout.
    pub layout_version: (u32, u32),
    /// The node's process as this program sees it, if it lives and is visible.
    pub process: Option<u32>,
    /// The verdict on the node at that time.
    pub liveness: Liveness,
    /// The age of the region when it was read; of a dump, its age at the time of the dump. `None` if it is unknown.
    pub age: Option<Duration>,
    /// Live actors by the counters; `None` if these do not fit into memory.
    pub live_actors: Option<u64>,
    /// The workers of the async runtime that are away for long; `None` if that is unknown, as of a dead node.
    pub away_workers: Option<AwayWorkers>,
    /// What was known of the node when it was dumped; `None` if this is not a raw dump.
    pub dump_info: Option<DumpInfo>,
    /// The former name of the file, if it has none any more: the file vanishes with the node's process.
    pub unlinked_from: Option<PathBuf>,
}

impl RegionSummary {
    /// Whether both are summaries of the same node, and not of two nodes that used the same file.
    pub fn is_of_same_node(&self, other: &Self) -> bool {
        (self.inode, &self.identity.header) == (other.inode, &other.identity.header)
    }

    /// Reads the summary of the region in the file `path`, with the checks of [`Region::open`].
    ///
    /// # Errors
    /// The file fails a check, has more than `max_bytes`, or cannot be read.
    pub fn read(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachError> {
        Self::read_inner(path, pid, max_bytes).map_err(|kind| AttachError { path: path.to_owned(), kind })
    }

    fn read_inner(path: &Path, pid: Option<u32>, max_bytes: u64) -> Result<Self, AttachErrorKind> {
        let CheckedFile { file, meta, contents, process } = CheckedFile::open(path, pid, max_bytes)?;
        let summary = |words: Words<'_>, reader: RegionReader<'_>, lock, dump_info: Option<DumpInfo>| {
            let identity = reader.identity();
            let (liveness, now) = match &dump_info {
                None => (node::judge(&reader, &identity, lock, process), node::now(&identity, lock, process)),
                Some(info) => {
                    let liveness = node::liveness_of_dump(info, &reader, &identity);
                    (liveness, node::time_of_dump(info, &reader))
                }
            };
            let age = now.since(&identity.created());
            let user = node::user_of(meta.uid(), &identity, dump_info.as_ref());
            let is_counted = words.len() >= reader.map().counters.range().end;
            let live_actors = is_counted.then(|| reader.actor_totals().live);
            let has_instances = words.len() >= reader.map().instances.range().end;
            let away_workers = if has_instances && liveness.verdict.is_alive() {
                AwayWorkers::of(&reader.instances_of(Domain::Worker))
            } else {
                None
            };
            let unlinked_from =
                if dump_info.is_some() { None } else { node::unlinked_from(path, &meta, process) };
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
                away_workers,
                dump_info,
                unlinked_from,
            }
        };
        match contents {
            Contents::Dump { info, bytes } => {
                let memory = part(&file, dump_header::HEADER_BYTES, bytes)?;
                let reader =
                    RegionReader::open_part(memory.reader(), bytes).map_err(AttachErrorKind::Layout)?;
                Ok(summary(memory.reader(), reader, Lock::Free, Some(*info)))
            }
            Contents::Region { lock: Lock::Free, bytes } => {
                let memory = part(&file, 0, bytes)?;
                let reader =
                    RegionReader::open_part(memory.reader(), bytes).map_err(AttachErrorKind::Layout)?;
                Ok(summary(memory.reader(), reader, Lock::Free, None))
            }
            // Only the pages of a mapping that are read take memory, and concurrent writes are seen in their order.
            Contents::Region { .. } => {
                let memory = map(&file, meta.len())?;
                let reader = memory.reader()?;
                let lock =
                    node::lock_of(&file, Inode::of(&meta), node::start_of(&reader.identity()), process);
                let summary = summary(memory.words(), reader, lock, None);
                if memory.has_faulted() { Err(AttachErrorKind::Shrunk) } else { Ok(summary) }
            }
        }
    }

    /// The path for people: the former name of a file that has none any more, with ` (deleted)`.
    pub fn shown_path(&self) -> PathBuf {
        node::shown_path(&self.path, self.unlinked_from.as_deref())
    }

    /// Attaches to the region; see [`Region::open`] for the cost.
    ///
    /// # Errors
    /// The file fails a check by now, has more than `max_bytes`, or cannot be read.
    pub fn open(&self, max_bytes: u64) -> Result<Region, AttachError> {
        Region::open(&self.path, self.process, max_bytes)
    }

    /// The node's process id as this program sees it, or as the node sees it where that is unknown.
    pub fn pid(&self) -> u64 {
        node::pid_of(self.process, &self.identity, self.dump_info.as_ref())
    }

    /// Whether the region stays until it is removed: its node is dead, and no process will remove it. False of a dump.
    pub fn is_evidence(&self) -> bool {
        let Liveness { verdict, .. } = self.liveness;
        self.dump_info.is_none() && !verdict.is_alive() && !self.liveness.may_tell_more()
    }

    /// Whether the node lived when the summary was read; false of a dump.
    pub fn is_alive(&self) -> bool {
        self.dump_info.is_none() && self.liveness.verdict.is_alive()
    }
}

/// Copies part of the region of `bytes` bytes that starts at byte `from` of a file: the header, and from each lane of
/// counters those that every node has.
fn part(file: &File, from: u64, bytes: u64) -> Result<WriterMemory, AttachErrorKind> {
    let head_bytes = usize::try_from(bytes).map_or(HEADER_BYTES, |bytes| bytes.min(HEADER_BYTES));
    let head = private(head_bytes)?;
    copy(file, from, 0..head_bytes, &head)?;
    let reader = RegionReader::open_part(head.reader(), bytes).map_err(AttachErrorKind::Layout)?;
    let counters = reader.map().counters;
    // Counters that do not fit into memory are skipped: the summary then has no number of actors.
    let Ok(memory) = private(counters.range().end * WORD) else { return Ok(head) };
    copy(file, from, 0..HEADER_BYTES, &memory)?;
    for lane in counters.range().step_by(counters.stride) {
        copy(file, from, lane * WORD..(lane + MIN_METRICS) * WORD, &memory)?;
    }
    Ok(memory)
}
