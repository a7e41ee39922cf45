//! Where results and notes go: stdout and stderr; and the ways in which a command fails.

pub mod file;

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use atomscope::attach::AttachError;
use atomscope::find::FindError;
use atomscope::query::QueryError;
use atomscope::system::{is_hung_up, stopped};
use atomscope::text::clean;

use crate::program::ascii::{self, Ascii};

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The command line is wrong: exit code 2. The help of `command` explains what is right, or that of the whole program.
    Usage { command: Option<&'static str>, why: String },
    /// The command failed: exit code 1. The text says what failed, why, and what to try.
    Failed(String),
    /// The command has found what it looks for, and has written it: exit code 3.
    Found,
    /// The reader of stdout has closed it: exit code 0.
    OutputClosed,
}

impl Failure {
    /// The command line is wrong, in something that all commands share.
    pub fn usage(why: impl Into<String>) -> Self {
        Self::Usage { command: None, why: why.into() }
    }

    /// The command line is wrong, in something that the help of `command` explains.
    pub fn usage_of(command: &'static str, why: impl Into<String>) -> Self {
        Self::Usage { command: Some(command), why: why.into() }
    }

    /// `--filter` of this command is not a valid query.
    pub fn filter(command: &'static str, error: &QueryError) -> Self {
        Self::usage_of(command, format!("--filter: {}", clean(&error.to_string())))
    }

    fn writing(target: impl Display, error: &io::Error) -> Self {
        let hint = match error.kind() {
            _ if error.raw_os_error() == Some(libc::EBADF) => {
                "; did the parent process open this descriptor for writing?"
            }
            io::ErrorKind::BrokenPipe => return Self::OutputClosed,
            io::ErrorKind::StorageFull => "; free some space, or name a file elsewhere",
            io::ErrorKind::PermissionDenied => "; name a file in a directory that you may write",
            io::ErrorKind::NotFound => "; does its directory exist?",
            io::ErrorKind::ReadOnlyFilesystem => "; name a file elsewhere",
            _ => "",
        };
        Self::Failed(format!("cannot write to {target}: {}{hint}", clean(&error.to_string())))
    }
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

/// The reason alone, without the exit code.
impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { why, .. } | Self::Failed(why) => f.write_str(why),
            Self::Found => f.write_str("something was found"),
            Self::OutputClosed => f.write_str("the output was closed by its reader"),
        }
    }
}

/// Writes a line to stderr that is not part of the result. A failure to write it is ignored: there is nowhere to report it.
pub fn note(text: &str) {
    write_to_stderr(&format!("atomscope: {text}\n"));
}

/// Writes to stderr, in ASCII if the terminal needs that. Errors are ignored.
pub fn write_to_stderr(text: &str) {
    let text = if ascii::is_enabled() { ascii::text(text) } else { text.into() };
    let _ = Interruptible::of(&io::stderr()).and_then(|mut stderr| stderr.write_all(text.as_bytes()));
}

/// A descriptor whose blocked write ends when a signal asks this program to stop. The streams of the standard library
/// retry such a write, and would block forever.
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

/// A signal came while a write was blocked.
#[derive(Debug, thiserror::Error)]
#[error("a signal asked to stop")]
struct Stopped;

/// Whether a write failed because a signal asked this program to stop.
pub fn is_stopped(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Stopped>())
}

/// The writer that commands get. Its type is concrete, so that a write of a few bytes is a copy into the buffer and not a
/// dynamic call.
pub type Out<'a> = BufWriter<&'a mut dyn Write>;

const BUFFER_BYTES: usize = 1 << 16;

/// Writes to stdout and flushes it: a full disk is then an error of this call and not lost at exit.
pub fn to_stdout(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let done = Interruptible::stdout().and_then(|stdout| write_all(stdout, write));
    match done {
        Ok(_) => Ok(()),
        Err(error) if is_stopped(&error) => Err(Failure::OutputClosed),
        // A terminal that was closed counts as a closed pipe.
        Err(error) if error.raw_os_error() == Some(libc::EIO) && is_hung_up(io::stdout().as_fd()) => {
            Err(Failure::OutputClosed)
        }
        Err(error) => Err(Failure::writing("stdout", &error)),
    }
}

/// Writes text for people to stdout, in ASCII if the terminal needs that.
pub fn to_people(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> Result<(), Failure> {
    if !ascii::is_enabled() {
        return to_stdout(write);
    }
    to_stdout(|out| write_all(Ascii(out), write).map(drop))
}

fn write_all<W: Write>(mut file: W, write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> io::Result<W> {
    let mut out = Out::with_capacity(BUFFER_BYTES, &mut file);
    let done = write(&mut out).and_then(|()| out.flush());
    // Dropping the buffer would try to write its rest again.
    let _ = out.into_parts();
    done.map(|()| file)
}
