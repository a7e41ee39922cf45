//! What a region says of the end of its node, and what stays of the region.
//!
//! ```text
//!   close()                       nothing stays
//!   drop of the last handle       closed at once; its segment stays until the exit code is known
//!   drop in a panic               stays
//!   exit with code 0              nothing stays
//!   exit with another code        stays
//!   killed, `_exit`, a signal     stays: nobody closed it
//! ```
//! A file that the user chose stays in any case, with the same notes in it.

#[cfg(target_os = "linux")]
use std::sync::Arc;

#[cfg(target_os = "linux")]
use atomscope_layout::records::{EndKind, EndRecord, end_flags};
#[cfg(target_os = "linux")]
use atomscope_layout::region::HeaderWriter;
#[cfg(target_os = "linux")]
use atomscope_layout::view::WriterMemory;

#[cfg(target_os = "linux")]
use crate::clock;
#[cfg(target_os = "linux")]
use crate::region_file::{Leaked, Traces};
#[cfg(target_os = "linux")]
use crate::signals::this_thread;

/// Whether the C library tells an exit handler the exit code.
#[cfg(target_os = "linux")]
const KNOWS_EXIT_CODE: bool = cfg!(target_env = "gnu");

/// The exit code of this process; `None` where the C library does not tell it.
pub(crate) type ExitCode = Option<u8>;

/// Why a region is closed. This decides what stays of it.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has regions that stay"))]
pub(crate) enum Cause {
    /// The application demands it.
    Request,
    /// The last handle was dropped.
    Drop {
        /// Whether the thread panics.
        panics: bool,
    },
    /// The process exits.
    Exit(ExitCode),
}

#[cfg(target_os = "linux")]
impl Cause {
    /// What to note of it.
    pub(crate) fn note(self) -> Option<EndRecord> {
        match self {
            Self::Drop { panics: true } => Some(panicked()),
            Self::Request | Self::Drop { .. } => None,
            Self::Exit(code) => Some(exit(code, None)),
        }
    }

    /// Whether the segment stays now, perhaps until the exit code is known.
    pub(crate) fn keeps_segment(self) -> bool {
        match self {
            Self::Request => false,
            Self::Drop { panics } => panics || KNOWS_EXIT_CODE,
            Self::Exit(code) => is_failure(code),
        }
    }
}

/// A closed region whose segment stays until the exit code is known.
#[cfg(target_os = "linux")]
pub(crate) struct Waiting {
    /// Keeps its header mapped.
    pub(crate) memory: WriterMemory,
    /// Of a region whose memory is never unmapped.
    #[expect(dead_code, reason = "kept for its drop")]
    pub(crate) leaked: Option<Arc<Leaked>>,
    pub(crate) traces: Traces,
    /// The note of the thread whose panic closed it.
    pub(crate) panicked: Option<EndRecord>,
}

#[cfg(target_os = "linux")]
impl Waiting {
    /// The exit code will not be noted. Only what a panic closed is evidence without it.
    pub(crate) fn give_up(&self) {
        if self.panicked.is_none() {
            self.traces.remove();
        }
    }

    /// Notes the exit code. Without a failure nothing stays.
    pub(crate) fn settle(&self, code: ExitCode) {
        let _ = HeaderWriter::new(self.memory.words()).note_end(exit(code, self.panicked));
        if self.panicked.is_none() && !is_failure(code) {
            self.traces.remove();
            self.traces.end_series();
        }
    }
}

#[cfg(target_os = "linux")]
fn is_failure(code: ExitCode) -> bool {
    code.is_some_and(|code| code != 0)
}

#[cfg(target_os = "linux")]
fn now(kind: EndKind) -> EndRecord {
    let (unix_ns, mono_ns) = (clock::unix_ns(), clock::mono_ns());
    EndRecord { kind: kind as u64, unix_ns, mono_ns, ..EndRecord::default() }
}

/// The note of an exit, after the note of a panic.
#[cfg(target_os = "linux")]
fn exit(code: ExitCode, panicked: Option<EndRecord>) -> EndRecord {
    let kind = if code.is_some() { EndKind::Exit } else { EndKind::Unknown };
    let EndRecord { tid, thread, flags, .. } = panicked.unwrap_or_default();
    EndRecord { code: u64::from(code.unwrap_or(0)), tid, thread, flags, ..now(kind) }
}

#[cfg(target_os = "linux")]
fn panicked() -> EndRecord {
    let (tid, thread) = this_thread();
    EndRecord { tid, thread, flags: u64::from(end_flags::PANICKED), ..now(EndKind::Unknown) }
}
