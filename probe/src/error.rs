//! Why a region could not be made where it was wanted.

use std::fmt;
use std::io;
use std::path::PathBuf;

use atomscope_layout::LimitError;

/// What takes the room of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomTaken {
    /// Regions that dead nodes of this user have left.
    pub dead_regions: u64,
    /// Bytes of those.
    pub dead_bytes: u64,
    /// Regions of living nodes of this user.
    pub live_regions: u64,
    /// Bytes of those.
    pub live_bytes: u64,
    /// Bytes of everything else.
    pub other_bytes: u64,
}

impl fmt::Display for RoomTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions = |count| if count == 1 { "region" } else { "regions" };
        let Self { dead_regions: dead, live_regions: live, .. } = *self;
        write!(f, "{dead} dead {} of this user ", regions(dead))?;
        write!(f, "take{} {}, ", if dead == 1 { "s" } else { "" }, mib(self.dead_bytes))?;
        write!(
            f,
            "{live} live {} {}, other files {}",
            regions(live),
            mib(self.live_bytes),
            mib(self.other_bytes)
        )?;
        if dead > 0 { f.write_str("; `atomscope prune` removes the dead ones") } else { Ok(()) }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Why a shared region could not be made. The builder returns it; [`crate::TelemetryExtension::new`] warns with it
/// once and goes on with a private region.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A capacity is outside what the layout allows.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Shared regions exist on Linux only so far.
    #[error("shared regions need Linux; on this platform what the probe sees can be read in-process only")]
    Unsupported,
    /// There is not so much memory.
    #[error("there are no {needed} bytes of memory for the region: lower the capacities")]
    NoMemory {
        /// Bytes needed.
        needed: u64,
    },
    /// The file system has too little room.
    #[error(
        "{dir} has room for {}, the region needs {}: {taken}; make it larger or lower the capacities",
        mib(*.available),
        mib(*.needed)
    )]
    NoSpace {
        /// Where.
        dir: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        available: u64,
        /// What takes the others.
        taken: RoomTaken,
    },
    /// The file's directory is missing, and cannot be made.
    #[error(
        "there is no directory {dir}, and it cannot be made: {source}; make it before the node starts, for the node's \
         user to write to (a systemd service has `RuntimeDirectory=` for that), or choose another file"
    )]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The process may not write files of that size.
    #[error("the process may write files of {limit} bytes only (RLIMIT_FSIZE), the region needs {needed}")]
    FileSizeLimit {
        /// Bytes needed.
        needed: u64,
        /// The soft limit in bytes.
        limit: u64,
    },
    /// The control group has too little memory left; taking it would get the process killed.
    #[error("control group {group} has {available} bytes of memory left, the region needs {needed}")]
    MemoryLimit {
        /// The group's folder.
        group: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// A file on a disk: its write-back stalls the writer.
    #[error(
        "{path} is on a disk file system, whose write-back would stall the node for up to seconds; put it on a tmpfs, \
         or take `file_even_on_disk`"
    )]
    Disk {
        /// The file.
        path: PathBuf,
    },
    /// Another live node has the file.
    #[error("{path} is the region of a node that is alive; give each node a file of its own")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something else has the file's name.
    #[error("{path} exists and is not an atomscope region; it was left alone")]
    NotARegion {
        /// The file.
        path: PathBuf,
    },
    /// Each region takes a descriptor, and at least half of them stay the application's.
    #[error(
        "this process has {most} shared regions already, which take half of the descriptors that it may have \
         (RLIMIT_NOFILE)"
    )]
    TooMany {
        /// How many there can be.
        most: usize,
    },
    /// The system refused.
    #[error("cannot {doing} {path}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}
