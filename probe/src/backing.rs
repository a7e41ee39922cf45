//! The kinds of objects that a shared region can be made in.

use std::path::PathBuf;

/// The object behind a region that other processes can map.
#[derive(Debug, Clone)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has shared regions yet"))]
pub(crate) enum Backing {
    /// A named segment in `/dev/shm`.
    Segment,
    /// A file of the user's choice.
    File {
        /// Its path.
        path: PathBuf,
        /// Whether its file system may be on a disk.
        allow_disk: bool,
    },
}
