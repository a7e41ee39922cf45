//! Why a file cannot be attached to, in sentences for the person at the terminal.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use atomscope_layout::OpenError;

use crate::liveness::Verdict;
use crate::text::clean_path;

/// Mappings that can be guarded against a cut of their files at the same time.
pub(crate) const MOST_MAPPED: usize = 256;

/// A file could not be attached to. Its message names the file, the cause and, where there is one, the next step.
///
/// [`source`](Error::source) is the [`io::Error`] or [`OpenError`] behind it, if there is one; the message already includes
/// that error's text.
#[derive(Debug)]
#[non_exhaustive]
pub struct AttachError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub kind: AttachErrorKind,
}

impl AttachError {
    /// An error about the file `path`.
    pub fn new(path: impl Into<PathBuf>, kind: AttachErrorKind) -> Self {
        Self { path: path.into(), kind }
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot attach to {}: {}", clean_path(&self.path), self.kind)
    }
}

impl Error for AttachError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// Why a file cannot be attached to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachErrorKind {
    /// There is no such file.
    #[error("there is no such file; `atomscope ps` lists all regions")]
    Missing,
    /// A system call failed.
    #[error("{0}{hint}", hint = permission_hint(.0))]
    System(#[source] io::Error),
    /// The path is a symbolic link, which could lead anywhere.
    #[error("it is a symbolic link, and a region is never opened through one; name the file itself")]
    Link,
    /// The path is a directory, a pipe, a socket or a device.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// The file belongs to another user.
    #[error("it belongs to user {owner}, and this is user {reader}: run as user {owner} or as root")]
    OtherUser {
        /// The owner of the file.
        owner: u32,
        /// The user of this process.
        reader: u32,
    },
    /// The owner is not the user that the header names: somebody planted the file, or a node in a user namespace left it.
    #[error(
        "it belongs to user {owner}, but says that user {claimed} wrote it: not trusted, unless it is read as user \
         {owner}"
    )]
    OwnerMismatch {
        /// The owner of the file.
        owner: u32,
        /// The user that the header names.
        claimed: u64,
    },
    /// The header names a process of another user.
    #[error(
        "it belongs to user {owner}, but says that process {pid} wrote it, which runs as user {user}: not \
         trusted; `atomscope doctor` says what may have happened"
    )]
    OthersProcess {
        /// The owner of the file.
        owner: u32,
        /// The process that the header names.
        pid: u32,
        /// The user of that process.
        user: u32,
    },
    /// Another process has the number that the header names, and some process holds the lock.
    #[error(
        "it says that process {pid} wrote it, but that is another one by now, and yet some process holds its lock: not \
         trusted; `atomscope doctor` says what may have happened"
    )]
    OtherProcess {
        /// The process id that the header names.
        pid: u32,
    },
    /// The file of another user has several names.
    #[error("it belongs to user {owner} and has {links} names (hard links): not trusted; remove all but one")]
    HardLinks {
        /// The owner of the file.
        owner: u32,
        /// The number of names.
        links: u64,
    },
    /// Users other than the owner may write the file.
    #[error(
        "others than its owner may write it (mode {mode:03o}): not trusted; `chmod 600` it if it is yours"
    )]
    Writable {
        /// The permission bits.
        mode: u32,
    },
    /// The region exceeds the size limit.
    #[error("it has {bytes} bytes, more than the {most} that are allowed; `--max-size` allows more")]
    TooLarge {
        /// Bytes of the region.
        bytes: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// As many regions are mapped as can be guarded.
    #[error("{} regions are attached already, which is the limit; name fewer nodes", MOST_MAPPED)]
    TooMany,
    /// Another region was written into the file.
    #[error("the file was overwritten while it was read, so its data was discarded; run the command again")]
    Overwritten,
    /// The region is not published yet.
    #[error("its node is not ready: {}; try again", .verdict.why().unwrap_or_default())]
    NotReady {
        /// Always [`Verdict::NotReady`].
        verdict: Verdict,
    },
    /// The file was cut short while it was mapped.
    #[error(
        "the file was cut short while it was read, so its data was discarded; restore the file from a complete copy"
    )]
    Shrunk,
    /// The bytes are no region that this program can read.
    #[error("it is {error}{hint}", error = .0, hint = layout_hint(.0))]
    Layout(#[source] OpenError),
}

impl AttachErrorKind {
    /// One word for a column: `not ready`, `incompatible`, `corrupt` or `refused`.
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
            "; it may be JSON: of all that `dump` writes, this program reads only `--format raw`"
        }
        _ => "",
    }
}
