//! What a region says of the end of its node, and of the crashes before it.

use std::time::Duration;

use atomscope_layout::decode::{
    Ending, History, How, Identity, RegionReader, crashed_unix_ns, rfc3339, signal_name,
};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::report::human::duration;
use crate::text::clean;

/// What a region says of the end of its node, if that is dead, and of the crashes before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastWords {
    /// How the node ended; `None` while it lives, or if it could note nothing.
    pub end: Option<End>,
    /// The crashes of earlier nodes of the name since one ended in good order.
    pub before: Before,
    /// When the node crashed: nanoseconds since 1970, UTC. `None` if it lives, or ended in good order.
    crashed_unix_ns: Option<u64>,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// What the node has noted.
    pub ending: Ending,
    /// How long ago; `None` if the node's clock is unknown.
    pub age: Option<Duration>,
}

/// The crashes of earlier nodes of a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before(History);

impl LastWords {
    /// Nothing.
    pub const NONE: Self = Self {
        end: None,
        before: Before(History { crashes: 0, first_unix_ns: 0, newest_unix_ns: 0, is_over: false }),
        crashed_unix_ns: None,
    };

    /// What the region says, if its node is dead. `now_mono_ns` is the time by the node's monotonic clock.
    pub(crate) fn of(reader: &RegionReader<'_>, identity: &Identity, now_mono_ns: Option<u64>) -> Self {
        let beat = reader.process_beat();
        let ending = reader.ending().filter(|ending| ending.counts(beat));
        let age = |ending: &Ending| now_mono_ns.map(|now| now.saturating_sub(ending.mono_ns));
        Self {
            end: ending.map(|ending| End { ending, age: age(&ending).map(Duration::from_nanos) }),
            before: Before(reader.history()),
            crashed_unix_ns: crashed_unix_ns(identity, reader.state(), beat, ending),
        }
    }

    /// The same without an end, of a node that lives.
    pub(crate) fn of_living(self) -> Self {
        Self { end: None, crashed_unix_ns: None, ..self }
    }

    /// Whether the node noted that it ended with a failure.
    pub(crate) fn is_failure(&self) -> bool {
        self.end.is_some_and(|end| end.ending.is_failure())
    }

    /// Whether the node crashed and no later node of the name has ended in good order.
    pub fn is_in_series(&self) -> bool {
        self.crashed_unix_ns.is_some() && !self.before.0.is_over
    }

    /// `3rd crash in 5 min 2 s`; `None` if the node has not crashed, or is the first.
    pub fn which_crash(&self) -> Option<String> {
        let History { crashes, first_unix_ns, .. } = self.before.0;
        let crashed = self.crashed_unix_ns.filter(|_| crashes > 0)?;
        let within = crashed.checked_sub(first_unix_ns).map(Duration::from_nanos);
        let within = within.map(|within| format!(" in {}", duration(within))).unwrap_or_default();
        Some(format!("{} crash{within}", ordinal(crashes.saturating_add(1))))
    }
}

impl End {
    /// How the node ended, in words that are safe to print; `None` if it ended with exit code 0.
    pub fn text(&self) -> Option<String> {
        let Ending { how, panicked, .. } = self.ending;
        let thread = || {
            let name = self.ending.thread().map(|name| clean(&name).into_owned());
            name.or_else(|| self.ending.tid.map(|tid| tid.to_string()))
        };
        let in_thread = || thread().map(|thread| format!(" in thread {thread}")).unwrap_or_default();
        let after = if panicked { format!(" after a panic{}", in_thread()) } else { String::new() };
        Some(match how {
            How::Exit(0) if !panicked => return None,
            How::Exit(code) => format!("ended with exit code {code}{after}"),
            How::Signal { number, sender, address } => {
                let address = address.map(|at| format!(" at address {at:#x}")).unwrap_or_default();
                match sender {
                    Some(sender) => format!("ended by {} from process {sender}", signal(number)),
                    None => format!("ended by {}{address}{}", signal(number), in_thread()),
                }
            }
            How::Unknown => format!("ended{after} with an unknown exit code"),
        })
    }

    /// How the node ended, in a word or two that are safe to print: `exit 0`, `SIGTERM`, or `exit unknown`.
    pub fn word(&self) -> String {
        match self.ending.how {
            How::Exit(code) => format!("exit {code}"),
            How::Signal { number, .. } => signal(number),
            How::Unknown => "exit unknown".to_owned(),
        }
    }

    /// [`Self::text`], with the time since.
    pub fn text_with_age(&self) -> Option<String> {
        let ago = self.age.map(|age| format!(", {} ago", duration(age))).unwrap_or_default();
        Some(self.text()? + &ago)
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Ending { how, panicked, unix_ns, tid, .. } = self.ending;
        let (kind, code, signal, sender, address) = match how {
            How::Exit(code) => ("exit", Some(code), None, None, None),
            How::Signal { number, sender, address } => {
                ("signal", None, Some(signal(number)), sender, address.map(|address| format!("{address:#x}")))
            }
            How::Unknown => ("unknown", None, None, None, None),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", kind)?;
        map.serialize_entry("code", &code)?;
        map.serialize_entry("signal", &signal)?;
        map.serialize_entry("sender", &sender)?;
        map.serialize_entry("address", &address)?;
        map.serialize_entry("closed_in_panic", &panicked)?;
        map.serialize_entry("tid", &tid)?;
        map.serialize_entry("thread", &self.ending.thread())?;
        map.serialize_entry("at", &rfc3339(i128::from(unix_ns)))?;
        map.end()
    }
}

impl Before {
    /// Number of crashes.
    pub fn crashes(&self) -> u64 {
        self.0.crashes
    }

    /// The time from the newest of them to the start of this node; `None` if there was none.
    pub fn newest_before(&self, identity: &Identity) -> Option<Duration> {
        let newest = Some(self.0.newest_unix_ns).filter(|_| self.0.crashes > 0)?;
        Some(Duration::from_nanos(identity.header.created_unix_ns.saturating_sub(newest)))
    }

    /// `2 crashes in 5 min before it`; `None` if there was none.
    pub fn text(&self) -> Option<String> {
        let History { crashes, first_unix_ns, newest_unix_ns, .. } = self.0;
        let within = Duration::from_nanos(newest_unix_ns.saturating_sub(first_unix_ns));
        match crashes {
            0 => None,
            1 => Some("1 crash before it".to_owned()),
            _ => Some(format!("{crashes} crashes in {} before it", duration(within))),
        }
    }
}

/// Null without crashes.
impl Serialize for Before {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let History { crashes, first_unix_ns, newest_unix_ns, .. } = self.0;
        if crashes == 0 {
            return serializer.serialize_none();
        }
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("crashes", &crashes)?;
        map.serialize_entry("first_at", &rfc3339(i128::from(first_unix_ns)))?;
        map.serialize_entry("newest_at", &rfc3339(i128::from(newest_unix_ns)))?;
        map.end()
    }
}

fn signal(number: u64) -> String {
    signal_name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
}

fn ordinal(number: u64) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use atomscope_layout::records::{EndKind, EndRecord, end_flags};
    use atomscope_layout::region::{HEADER_BYTES, HeaderWriter};
    use atomscope_layout::view::WriterMemory;

    use super::*;

    fn said(record: EndRecord) -> Option<String> {
        let memory = WriterMemory::private(HEADER_BYTES).unwrap();
        assert!(HeaderWriter::new(memory.words()).note_end(record));
        End { ending: Ending::read(memory.reader()).unwrap(), age: None }.text()
    }

    fn noted(kind: EndKind, code: u64) -> EndRecord {
        let mut thread = [0; 16];
        thread[..6].copy_from_slice(b"shop\x1b9");
        EndRecord { kind: kind as u64, code, tid: 7, thread, ..EndRecord::default() }
    }

    #[test]
    fn an_end_is_told_in_words_that_are_safe_to_print() {
        let signal = noted(EndKind::Signal, 11);
        assert_eq!(said(signal).unwrap(), r"ended by SIGSEGV in thread shop\u{1b}9");
        let fault = EndRecord { address: 16, flags: u64::from(end_flags::HAS_ADDRESS), ..signal };
        assert_eq!(said(fault).unwrap(), r"ended by SIGSEGV at address 0x10 in thread shop\u{1b}9");
        let sent = EndRecord { sender: 77, ..noted(EndKind::Signal, 15) };
        assert_eq!(said(sent).unwrap(), "ended by SIGTERM from process 77");
        let nameless = EndRecord { thread: [0; 16], ..noted(EndKind::Signal, 99) };
        assert_eq!(said(nameless).unwrap(), "ended by signal 99 in thread 7");
        assert_eq!(said(noted(EndKind::Exit, 0)), None);
        assert_eq!(said(noted(EndKind::Exit, 3)).unwrap(), "ended with exit code 3");
        let panicked = |kind, code| EndRecord {
            flags: u64::from(end_flags::PANICKED),
            thread: *b"main\0\0\0\0\0\0\0\0\0\0\0\0",
            ..noted(kind, code)
        };
        assert_eq!(
            said(panicked(EndKind::Exit, 101)).unwrap(),
            "ended with exit code 101 after a panic in thread main"
        );
        assert_eq!(
            said(panicked(EndKind::Unknown, 0)).unwrap(),
            "ended after a panic in thread main with an unknown exit code"
        );
    }

    #[test]
    fn crashes_are_counted_in_words() {
        let after = |crashes| LastWords {
            before: Before(History { crashes, first_unix_ns: 0, newest_unix_ns: 0, is_over: false }),
            crashed_unix_ns: Some(302_000_000_000),
            ..LastWords::NONE
        };
        let said = [0, 1, 2, 3, 10, 20].map(|crashes| after(crashes).which_crash());
        let in_5_min =
            ["2nd", "3rd", "4th", "11th", "21st"].map(|which| Some(format!("{which} crash in 5 min 2 s")));
        assert_eq!(said[0], None);
        assert_eq!(said[1..], in_5_min);
        assert_eq!(after(2).of_living().which_crash(), None);
    }
}
