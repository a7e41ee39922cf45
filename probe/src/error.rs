//! Why a region could not be made.

use std::fmt;
use std::io;
use std::path::PathBuf;

use atomscope_layout::LimitError;

/// The use of a file system that is too full for a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceUse {
    /// The number of regions of dead nodes of this user.
    pub dead_regions: u64,
    /// The size of those in bytes.
    pub dead_bytes: u64,
    /// The number of regions of live nodes of this user.
    pub live_regions: u64,
    /// The size of those in bytes.
    pub live_bytes: u64,
    /// The size of all other files in bytes.
    pub other_bytes: u64,
}

impl fmt::Display for SpaceUse {
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

/// Why a region could not be made.
///
/// [`crate::RegionBuilder::build`] returns it. [`crate::RegionBuilder::build_or_private`] and
/// [`crate::TelemetryExtension::new`] warn of it once and make a private region.
///
/// ```
/// use atomscope_probe::{CreateError, Region};
///
/// let error = Region::builder("docs").actors(0).private().build().unwrap_err();
/// assert!(matches!(error, CreateError::Limit(_)));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// A capacity is outside the limits of the layout.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The platform has no shared regions.
    #[error(
        "only Linux has shared regions; on this platform the telemetry can be read in-process only, from a region that \
         is made with `private`"
    )]
    Unsupported,
    /// The system has not enough memory.
    #[error("the system has no {needed} bytes of memory for the region; lower its capacities")]
    NoMemory {
        /// Bytes of the region and of the private memory of its tables.
        needed: u64,
    },
    /// The file system is too full.
    #[error(
        "{dir} has {} free, the region needs {}: {used}; make the file system larger or lower the region's capacities",
        mib(*.available),
        mib(*.needed)
    )]
    NoSpace {
        /// The directory of the region.
        dir: PathBuf,
        /// Bytes of the region.
        needed: u64,
        /// Free bytes.
        available: u64,
        /// The use of the other bytes.
        used: SpaceUse,
    },
    /// The file's directory is missing and cannot be made.
    #[error(
        "cannot make the directory {dir}: {source}; make it before the node starts, writable for the node's user (for a \
         systemd service with `RuntimeDirectory=`), or choose another file"
    )]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The process may not write files of this size.
    #[error(
        "the process may write files of {limit} bytes only (RLIMIT_FSIZE), the region needs {needed}; raise the limit or \
         lower the region's capacities"
    )]
    FileSizeLimit {
        /// Bytes of the region.
        needed: u64,
        /// The soft limit in bytes.
        limit: u64,
    },
    /// The control group has too little memory left. The kernel would kill the process if the region used it.
    #[error(
        "the control group {group} has {available} bytes of memory left, the region needs {needed}; raise the group's \
         limit or lower the region's capacities"
    )]
    MemoryLimit {
        /// The directory of the control group.
        group: PathBuf,
        /// Bytes of the region and of the private memory of its tables.
        needed: u64,
        /// Free bytes.
        available: u64,
    },
    /// The file is on a disk, whose write-back stalls the node.
    #[error(
        "{path} is on a disk, whose write-back would stall the node for up to seconds; choose a file on a tmpfs, or \
         `file_even_on_disk` in the builder"
    )]
    Disk {
        /// The file.
        path: PathBuf,
    },
    /// Another live node uses the file.
    #[error("{path} is the region of another live node; give each node its own file")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is not a region.
    #[error("{path} exists and is not an atomscope region, so it was not replaced; choose another file")]
    NotARegion {
        /// The file.
        path: PathBuf,
    },
    /// The process has too many regions. Each one needs a descriptor, and half of them are left to the application.
    #[error(
        "this process has {most} shared regions already, which use half of its descriptors (RLIMIT_NOFILE); raise the \
         limit or close other regions"
    )]
    TooMany {
        /// The most shared regions of this process.
        most: usize,
    },
    /// The system refused a call.
    #[error("cannot {doing} {path}: {source}")]
    System {
        /// What failed, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}
