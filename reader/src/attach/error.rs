//! Why a file cannot be attached to.

use std::io;
use std::path::PathBuf;

use atomscope_layout::OpenError;

use crate::liveness::Verdict;
use crate::text::clean_path;

/// Regions that are mapped at a time at most, once mappings are guarded.
pub(crate) const MOST_MAPPED: usize = 256;

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
    #[error("{} regions are being looked at already, and no more at a time can be guarded", MOST_MAPPED)]
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
        OpenError::NotReady | OpenError::NotARegion { .. } => "",
    }
}

impl std::fmt::Display for AttachError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot attach to {}: {}", clean_path(&self.path), self.why)
    }
}

impl std::error::Error for AttachError {}
