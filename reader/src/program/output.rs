//! Where results go: stdout, or a file that appears whole or not at all; and what becomes of failures.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use atomscope::attach::{AttachError, Inode, Region};
use atomscope::find::{FindError, Segment};
use atomscope::system::{inherited, is_hung_up, stop_on_signals, stopped};
use atomscope::text::{clean, clean_path};
use atomscope_layout::region::MAGIC;

use crate::program::ascii::{self, Ascii};

/// Why a command ends before its end.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for what cannot be: exit code 2.
    Usage(String),
    /// What it is to filter by is no filter, for this reason; the help of this command says what is: exit code 2.
    Filter(&'static str, String),
    /// It failed, and this says what, why and what to try: exit code 1.
    Failed(String),
    /// Whoever read the output has seen enough: success.
    Enough,
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Failure {
    fn writing(place: impl fmt::Display, error: &io::Error) -> Self {
        let hint = match error.kind() {
            _ if error.raw_os_error() == Some(libc::EBADF) => {
                "; was it handed to this program, to be written?"
            }
            io::ErrorKind::BrokenPipe => return Self::Enough,
            io::ErrorKind::StorageFull => "; make room, or name a file elsewhere",
            io::ErrorKind::PermissionDenied => "; name a file in a directory that you may write",
            io::ErrorKind::NotFound => "; is its directory there?",
            io::ErrorKind::ReadOnlyFilesystem => "; name a file elsewhere",
            _ => "",
        };
        Self::Failed(format!("cannot write to {place}: {}{hint}", clean(&error.to_string())))
    }
}

/// Says something that is not the result. Nobody is told if even that fails.
pub fn note(text: &str) {
    say(&format!("atomscope: {text}\n"));
}

/// Writes to stderr, with what there is to be said of nobody who reads it.
pub fn say(text: &str) {
    let text = if ascii::is_wanted() { ascii::text(text) } else { text.into() };
    let _ = Interruptible::of(&io::stderr()).and_then(|mut stderr| stderr.write_all(text.as_bytes()));
}

/// A descriptor of which a write that has to wait ends with a signal that asks this program to stop. (The standard
/// library's own tries again, and so waits on.)
#[derive(Debug)]
pub struct Interruptible(File);

impl Interruptible {
    fn of(stream: &impl AsFd) -> io::Result<Self> {
        Ok(Self(File::from(stream.as_fd().try_clone_to_owned()?)))
    }

    pub fn stdout() -> io::Result<Self> {
        Self::of(&io::stdout())
    }
}

impl Write for Interruptible {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && stopped() => {
                    return Err(io::Error::other(Stopped));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A signal came while output was waited for.
#[derive(Debug, thiserror::Error)]
#[error("a signal asked to stop")]
struct Stopped;

/// Whether that is why a write failed.
pub fn is_stopped(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Stopped>())
}

/// Where results go. Its type is known to whoever writes to it, so that a write of a few bytes is only a copy.
pub type Out<'a> = BufWriter<&'a mut dyn Write>;

const BUFFER_BYTES: usize = 1 << 16;

/// Writes to stdout. What is written shows up even where stdout is closed early or full: that is a failure then.
pub fn to_stdout(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let done = Interruptible::stdout().and_then(|stdout| write_all(stdout, write));
    match done {
        Ok(_) => Ok(()),
        Err(error) if is_stopped(&error) => Err(Failure::Enough),
        // A terminal that was closed, as a pipe that was.
        Err(error) if error.raw_os_error() == Some(libc::EIO) && is_hung_up(io::stdout().as_fd()) => {
            Err(Failure::Enough)
        }
        Err(error) => Err(Failure::writing("stdout", &error)),
    }
}

/// Links that lead to one another at most, as in the kernel.
const MOST_LINKS: usize = 40;

/// Who may read a file that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone.
    Owner,
    /// Whoever the user's mask lets.
    Anybody,
}

/// The same for people, who may have to do without UTF-8.
pub fn to_people(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> Result<(), Failure> {
    if !ascii::is_wanted() {
        return to_stdout(write);
    }
    to_stdout(|out| write_all(Ascii(out), write).map(drop))
}

/// Writes to `path`, or to stdout if that is `-`. A regular file is written beside its place under another name and then
/// renamed: on failure there is what was there before. A link is followed first, and what it leads to is replaced. What is
/// no regular file, and what is open already (`/dev/stdout`, `/dev/fd/3`), is written to as it stands. The region that is
/// read is never written to, nor another one.
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
            return Err(refusing(path, "it is a directory; name a file in it"));
        }
        Ok(meta) if region.is_some_and(|region| Inode::of(meta) == region.inode()) => {
            return Err(refusing(path, "it is the region that is being read; name another file"));
        }
        Ok(meta) if meta.is_file() && is_region(path) => {
            return Err(refusing(
                path,
                "it is a region, which a dump never takes the place of; name another file",
            ));
        }
        _ => {}
    }
    match target {
        Target::Open(file) => write_all(file, write).map(drop),
        Target::Named(path) if meta.is_ok_and(|meta| !meta.is_file()) => {
            let device = OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path);
            device.and_then(|device| write_all(device, write).map(drop))
        }
        Target::Named(path) => write_whole(&path, readers, write),
    }
    .map_err(|error| failed(&error))
}

/// What a path leads to.
enum Target {
    /// What a process has open: it goes on where that process left off, and nothing of it is taken away.
    Open(File),
    /// A file that is no link, or none yet.
    Named(PathBuf),
}

/// Follows links, but for those of `/proc` to open files: whatever path they show, what is meant is the open file.
fn resolve(path: &Path) -> io::Result<Target> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Some(file) = open_descriptor(&path, dir) {
            return file.map(Target::Open);
        }
        let Ok(next) = fs::read_link(&path) else { return Ok(Target::Named(path)) };
        path = dir.join(next);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// The open file that `path` in `dir` is, if that is a folder of a process's descriptors.
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
        // Another process's place in it cannot be shared; its end is where nothing stands yet.
        None => OpenOptions::new().append(true).custom_flags(libc::O_NOCTTY).open(path),
    })
}

fn refusing(path: &Path, why: &str) -> Failure {
    Failure::Failed(format!("cannot write to {}: {why}", clean_path(path)))
}

/// Whether the regular file `path` is a region, or will be one. What may not be read is not known to be one.
fn is_region(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut start));
    let word = u64::from_le_bytes(start);
    read.is_ok() && word == MAGIC || word == 0 && Segment::of(path).is_some()
}

fn write_whole(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut Out<'_>) -> io::Result<()>,
) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Nobody would remove it after a signal.
    stop_on_signals();
    let mode = if readers == Readers::Owner { 0o600 } else { 0o666 };
    // Removed when dropped unless it was renamed. Opened here, for an error that names no file but the one that was asked
    // for.
    let open = |part: &Path| OpenOptions::new().write(true).create_new(true).mode(mode).open(part);
    let made = tempfile::Builder::new().prefix(".atomscope-").suffix(".part").make_in(dir, open);
    let (file, part) = match made {
        Ok(made) => made.into_parts(),
        Err(error) => {
            let file = open_in_place(path, error)?;
            return write_all(Stoppable { file, left: HALF }, write)?.file.sync_all();
        }
    };
    let file = write_all(Stoppable { file, left: BEFORE }, write)?.file;
    // Some file systems find out only now that they are full.
    file.sync_all()?;
    still_wanted(BEFORE)?;
    let Err(refused) = part.persist(path) else { return Ok(()) };
    let file = open_in_place(path, refused.error)?;
    let mut to = Stoppable { file, left: HALF };
    io::copy(&mut File::open(&refused.path)?, &mut to)?;
    to.file.sync_all()
}

/// Opens a file whose place nothing else can take, for `why`: one that is mounted by itself, as containers have them, or in
/// a folder that may not be written. What stood in it is gone by then.
fn open_in_place(path: &Path, why: io::Error) -> io::Result<File> {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    let may_help =
        matches!(why.kind(), CrossesDevices | PermissionDenied | ReadOnlyFilesystem | ResourceBusy);
    if !may_help || !fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()) {
        return Err(why);
    }
    let file = OpenOptions::new().write(true).truncate(true).open(path)?;
    note(&format!(
        "{} is written in place, since nothing can be put into its place ({}): should that fail, it is left half written",
        clean_path(path),
        clean(&why.to_string())
    ));
    Ok(file)
}

/// What a signal leaves of a file that is being written.
const BEFORE: &str = "interrupted; what was there before still is";
const HALF: &str = "interrupted; it is left half written";

/// Takes no more once a signal has asked this program to stop.
struct Stoppable {
    file: File,
    left: &'static str,
}

impl Write for Stoppable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        still_wanted(self.left)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn still_wanted(left: &'static str) -> io::Result<()> {
    if stopped() { Err(io::Error::other(left)) } else { Ok(()) }
}

fn write_all<W: Write>(mut file: W, write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> io::Result<W> {
    let mut out = Out::with_capacity(BUFFER_BYTES, &mut file);
    let done = write(&mut out).and_then(|()| out.flush());
    // What could not be written must not be tried again when the buffer is dropped.
    let _ = out.into_parts();
    done.map(|()| file)
}
