//! Writes results to a file: completely, or not at all wherever the file system allows that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use atomscope::attach::{Inode, Region};
use atomscope::find::RegionName;
use atomscope::system::{inherited, stop_on_signals, stopped};
use atomscope::text::{clean, clean_path};
use atomscope_layout::region::MAGIC;

use crate::program::output::{Failure, Out, note, to_stdout, write_all};

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody whom the umask of this process allows.
    Anybody,
}

/// Writes to `path`, or to stdout if that is `-`.
///
/// A regular file is first written under a temporary name in the same directory and then renamed, so that a failure leaves
/// the old file. A symbolic link is followed, and its target is replaced. A device, a pipe and an open descriptor
/// (`/dev/stdout`, `/dev/fd/3`) are written directly. The region that is being read, and any other region, is refused.
pub fn to_file(
    path: &Path,
    region: Option<&Region>,
    readers: Readers,
    write: impl FnOnce(&mut Out<'_>) -> io::Result<()>,
) -> Result<(), Failure> {
    if path == Path::new("-") {
        return to_stdout(write);
    }
    let failed = |error: &io::Error| Failure::writing(clean_path(path), error);
    let target = resolve(path).map_err(|error| failed(&error))?;
    let meta = match &target {
        Target::Open(file) => file.metadata(),
        Target::Named(path) => fs::symlink_metadata(path),
    };
    match &meta {
        Ok(meta) if meta.is_dir() => {
            return Err(refused(path, "it is a directory; name a file in it"));
        }
        Ok(meta) if region.is_some_and(|region| Inode::of(meta) == region.inode()) => {
            return Err(refused(path, "it is the region that is being read; name another file"));
        }
        Ok(meta) if meta.is_file() && is_region(path) => {
            return Err(refused(path, "it is a region, and no output replaces a region; name another file"));
        }
        _ => {}
    }
    match target {
        Target::Open(file) => write_all(file, write).map(drop),
        Target::Named(path) if meta.is_ok_and(|meta| !meta.is_file()) => {
            let device = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path);
            device.and_then(|device| write_all(device, write).map(drop))
        }
        Target::Named(path) => replace(&path, readers, write),
    }
    .map_err(|error| failed(&error))
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("cannot write to {}: {why}", clean_path(path)))
}

/// Whether the regular file `path` is a region or will become one. A file that cannot be read counts as none, unless its
/// name is that of a region.
fn is_region(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let word = u64::from_le_bytes(start);
    read.is_ok() && word == MAGIC || word == 0 && RegionName::of(path).is_some()
}

/// The target of a path.
enum Target {
    /// A descriptor that a process has open. Writing starts at its current position and does not truncate it.
    Open(File),
    /// A path that is not a link; the file may not exist yet.
    Named(PathBuf),
}

/// Symbolic links that are followed at most, as in the kernel.
const MAX_LINKS: usize = 40;

/// Follows symbolic links, except those in `/proc/PID/fd`: such a link stands for the open file, whatever path it shows.
fn resolve(path: &Path) -> io::Result<Target> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let dir = parent(&path);
        if let Some(file) = open_descriptor(&path, dir) {
            return file.map(Target::Open);
        }
        let Ok(next) = fs::read_link(&path) else { return Ok(Target::Named(path)) };
        path = dir.join(next);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The open file behind `path`, if `dir` is a process's directory of descriptors.
fn open_descriptor(path: &Path, dir: &Path) -> Option<io::Result<File>> {
    let dir = fs::canonicalize(dir).ok()?;
    let of_process = dir.strip_prefix("/proc").ok()?;
    if of_process.file_name()? != "fd" {
        return None;
    }
    let own = fs::read_link("/proc/self").ok()?;
    let number = path.file_name()?.to_str()?.parse().ok();
    Some(match number.filter(|_| of_process.starts_with(own)) {
        Some(number) => inherited(number),
        // The position in another process's open file cannot be shared, so this appends.
        None => OpenOptions::new().append(true).custom_flags(libc::O_NOCTTY).open(path),
    })
}

/// Writes a temporary file and renames it to `path`. Falls back to writing in place where that is impossible.
fn replace(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut Out<'_>) -> io::Result<()>,
) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // A signal that ended the process here would leave the temporary file.
    stop_on_signals();
    let mode = if readers == Readers::Owner { 0o600 } else { 0o666 };
    // The file is opened in this closure, so that an error does not name the temporary file.
    let open = |part: &Path| OpenOptions::new().write(true).create_new(true).mode(mode).open(part);
    let made = tempfile::Builder::new().prefix(".atomscope-").suffix(".part").make_in(parent(path), open);
    // The temporary file is removed when `part` is dropped, unless it was renamed.
    let (file, part) = match made {
        Ok(made) => made.into_parts(),
        Err(error) => {
            let file = open_in_place(path, error)?;
            return write_all(Stoppable { file, left: HALF_WRITTEN }, write)?.file.sync_all();
        }
    };
    let file = write_all(Stoppable { file, left: UNCHANGED }, write)?.file;
    // Some file systems report a full disk only here.
    file.sync_all()?;
    fail_if_stopped(UNCHANGED)?;
    let Err(refused) = part.persist(path) else { return Ok(()) };
    let file = open_in_place(path, refused.error)?;
    let mut to = Stoppable { file, left: HALF_WRITTEN };
    io::copy(&mut File::open(&refused.path)?, &mut to)?;
    to.file.sync_all()
}

/// Truncates and opens a file that cannot be replaced, for the reason `why`: a file that is mounted by itself, as in
/// containers, or a file in a directory that this user may not write.
fn open_in_place(path: &Path, why: io::Error) -> io::Result<File> {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    let may_help =
        matches!(why.kind(), CrossesDevices | PermissionDenied | ReadOnlyFilesystem | ResourceBusy);
    if !may_help || !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()) {
        return Err(why);
    }
    let file = OpenOptions::new().write(true).truncate(true).open(path)?;
    note(&format!(
        "{} is written in place, because it cannot be replaced ({}): a failure leaves it half written",
        clean_path(path),
        clean(&why.to_string())
    ));
    Ok(file)
}

/// What an interrupted write leaves.
const UNCHANGED: &str = "interrupted; an older file of that name is unchanged";
const HALF_WRITTEN: &str = "interrupted; the file is half written";

/// A file whose writes fail after a signal has asked this program to stop.
struct Stoppable {
    file: File,
    left: &'static str,
}

impl Write for Stoppable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fail_if_stopped(self.left)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn fail_if_stopped(left: &'static str) -> io::Result<()> {
    if stopped() { Err(io::Error::other(left)) } else { Ok(()) }
}
