//! How the process of a node ended, as far as it could note that itself, and the crashes before it.

use super::beat::Beat;
use super::identity::Identity;
use crate::records::{EndKind, EndRecord, HistoryRecord, end_flags};
use crate::region::{State, header};
use crate::seqlock;
use crate::words::{WORD, Words};

/// What a node has noted of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// What ended the process.
    pub how: How,
    /// Whether a thread that panicked closed the region.
    pub panicked: bool,
    /// When it was noted: UTC nanoseconds since 1970.
    pub unix_ns: u64,
    /// When it was noted, by the node's monotonic clock.
    pub mono_ns: u64,
    /// The thread that the signal or the panic met, in the node's pid namespace.
    pub tid: Option<u64>,
    thread: [u8; 16],
}

/// What ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It exited with this code.
    Exit(u64),
    /// It got a signal.
    Signal {
        /// The number on Linux.
        number: u64,
        /// The process that sent it, in the node's pid namespace, if that is known and not the node itself.
        sender: Option<u64>,
        /// The address whose access caused it.
        address: Option<u64>,
    },
    /// It exited, or a panic closed its region. The exit code is not known.
    Unknown,
}

impl Ending {
    /// Reads the cell in the header of a region; `None` if nothing is noted, if the note is incomplete, or if its kind is
    /// unknown.
    pub fn read(region: Words<'_>) -> Option<Self> {
        let mut words = [0u64; size_of::<EndRecord>() / WORD];
        seqlock::read(region.slice(header::END)?, &mut words).ok()?;
        let EndRecord { kind, code, unix_ns, mono_ns, tid, thread, sender, address, flags } =
            zerocopy::transmute!(words);
        let has = |flag: u32| flags & u64::from(flag) != 0;
        let how = if kind == EndKind::Exit as u64 {
            How::Exit(code)
        } else if kind == EndKind::Signal as u64 {
            let address = has(end_flags::HAS_ADDRESS).then_some(address);
            How::Signal { number: code, sender: (sender != 0).then_some(sender), address }
        } else if kind == EndKind::Unknown as u64 {
            How::Unknown
        } else {
            return None;
        };
        let tid = (tid != 0).then_some(tid);
        Some(Self { how, panicked: has(end_flags::PANICKED), unix_ns, mono_ns, tid, thread })
    }

    /// The name of the thread, not safe to print; `None` if it is unknown.
    pub fn thread(&self) -> Option<String> {
        let name = self.thread.split(|byte| *byte == 0).next().filter(|name| !name.is_empty())?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// The same without the name of the thread, which may be one that the application chose.
    pub fn without_name(self) -> Self {
        Self { thread: [0; 16], ..self }
    }

    /// Whether the note is of the end of the node with this last process beat: a node that beats for more than a second after
    /// a signal has survived it.
    pub fn counts(&self, last: Beat) -> bool {
        const SURVIVED_NS: u64 = 1_000_000_000;
        let beat_later = last.count > 0 && last.mono_ns > self.mono_ns.saturating_add(SURVIVED_NS);
        !(matches!(self.how, How::Signal { .. }) && beat_later)
    }

    /// Whether this is no end in good order.
    pub fn is_failure(&self) -> bool {
        self.panicked || !matches!(self.how, How::Exit(0) | How::Unknown)
    }
}

/// When the node of a dead region crashed: UTC nanoseconds since 1970, by its note or else by its last beat. `None` if it
/// ended in good order. `ending` is the note that counts.
pub fn crashed_unix_ns(
    identity: &Identity,
    state: Option<State>,
    beat: Beat,
    ending: Option<Ending>,
) -> Option<u64> {
    match ending {
        Some(ending) if ending.is_failure() => Some(ending.unix_ns),
        _ if state == Some(State::Closed) => None,
        _ => {
            let lived_ns = beat.mono_ns.saturating_sub(identity.time.created_mono_ns);
            let lived_ns = if beat.count > 0 { lived_ns } else { 0 };
            Some(identity.header.created_unix_ns.saturating_add(lived_ns))
        }
    }
}

/// The name of a signal of this number on Linux, if a node notes it.
pub fn signal_name(number: u64) -> Option<&'static str> {
    const NAMES: [(u64, &str); 8] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (11, "SIGSEGV"),
        (15, "SIGTERM"),
    ];
    NAMES.into_iter().find(|(known, _)| *known == number).map(|(_, name)| name)
}

/// The crashes of earlier nodes of a name, since the last one that ended in good order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Number of crashes before this node.
    pub crashes: u64,
    /// When the first one ended: UTC nanoseconds since 1970.
    pub first_unix_ns: u64,
    /// When the newest one ended.
    pub newest_unix_ns: u64,
    /// Whether a later node has ended in good order.
    pub is_over: bool,
}

impl History {
    /// Reads the history from the header of a region.
    pub fn read(region: Words<'_>) -> Self {
        let mut words = [0u64; size_of::<HistoryRecord>() / WORD];
        if let Some(from) = region.slice(header::HISTORY) {
            from.copy_to(&mut words);
        }
        let HistoryRecord { crashes, first_unix_ns, newest_unix_ns } = zerocopy::transmute!(words);
        let is_over = region.load(header::SERIES_ENDED) != 0;
        Self { crashes, first_unix_ns, newest_unix_ns, is_over }
    }

    /// The record for the next node of the name. `crashed_unix_ns` says when this node crashed; `None`: it ended in good
    /// order.
    pub fn of_next(&self, crashed_unix_ns: Option<u64>) -> HistoryRecord {
        let Self { crashes, first_unix_ns, is_over, .. } = *self;
        let Some(now) = crashed_unix_ns.filter(|_| !is_over) else { return HistoryRecord::default() };
        HistoryRecord {
            crashes: crashes.saturating_add(1),
            first_unix_ns: if crashes == 0 { now } else { first_unix_ns },
            newest_unix_ns: now,
        }
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;
    use crate::region::{HEADER_BYTES, HeaderWriter};
    use crate::view::WriterMemory;

    fn noted(record: EndRecord) -> Option<Ending> {
        let memory = WriterMemory::private(HEADER_BYTES)?;
        assert!(HeaderWriter::new(memory.words()).note_end(record));
        Ending::read(memory.reader())
    }

    #[test]
    fn what_is_noted_reads_back_and_what_no_version_writes_is_nothing() {
        let mut thread = [0; 16];
        thread[..4].copy_from_slice(b"shop");
        let record = EndRecord { code: 11, tid: 7, thread, unix_ns: 5, mono_ns: 6, ..EndRecord::default() };
        let signal = EndRecord {
            kind: EndKind::Signal as u64,
            address: 0x10,
            flags: u64::from(end_flags::HAS_ADDRESS),
            ..record
        };
        let ending = noted(signal).unwrap();
        assert_eq!(ending.how, How::Signal { number: 11, sender: None, address: Some(0x10) });
        assert_eq!(
            (ending.thread().as_deref(), ending.tid, ending.is_failure()),
            (Some("shop"), Some(7), true)
        );
        let exit = |code| noted(EndRecord { kind: EndKind::Exit as u64, code, ..record }).unwrap();
        assert_eq!((exit(0).is_failure(), exit(3).is_failure(), exit(3).how), (false, true, How::Exit(3)));
        assert_eq!(noted(EndRecord { kind: 9, ..record }), None);
        let memory = WriterMemory::private(HEADER_BYTES).unwrap();
        assert_eq!(Ending::read(memory.reader()), None);
    }

    #[test]
    fn who_is_interrupted_while_it_notes_its_end_loses_no_word_and_keeps_the_other_from_it() {
        let memory = WriterMemory::private(HEADER_BYTES).unwrap();
        let writer = HeaderWriter::new(memory.words());
        let sequence = &memory.words()[header::END.start];
        sequence.store(1, crate::sync::Ordering::Relaxed);
        assert!(!writer.note_end(EndRecord { kind: 1, ..EndRecord::default() }));
        assert_eq!(Ending::read(memory.reader()), None);
    }

    #[test]
    fn a_note_is_taken_back_unless_another_one_has_replaced_it() {
        let memory = WriterMemory::private(HEADER_BYTES).unwrap();
        let writer = HeaderWriter::new(memory.words());
        let of = |tid| EndRecord { kind: EndKind::Signal as u64, code: 11, tid, ..EndRecord::default() };
        let told = || Ending::read(memory.reader()).and_then(|ending| ending.tid);
        assert!(writer.note_end(of(1)) && writer.note_end(of(2)));
        writer.withdraw_end(of(1));
        assert_eq!(told(), Some(2));
        writer.withdraw_end(of(2));
        assert_eq!(told(), None);
        assert!(writer.note_end(of(3)), "the cell is free again");
    }

    #[test]
    fn crashes_add_up_until_a_node_ends_in_good_order() {
        let none = History::default();
        assert_eq!(none.of_next(None), HistoryRecord::default());
        let one = none.of_next(Some(10));
        assert_eq!(one, HistoryRecord { crashes: 1, first_unix_ns: 10, newest_unix_ns: 10 });
        let after = History { crashes: 1, first_unix_ns: 10, newest_unix_ns: 10, is_over: false };
        assert_eq!(
            after.of_next(Some(15)),
            HistoryRecord { crashes: 2, first_unix_ns: 10, newest_unix_ns: 15 }
        );
        assert_eq!(after.of_next(None), HistoryRecord::default());
        assert_eq!(History { is_over: true, ..after }.of_next(Some(15)), HistoryRecord::default());
    }
}
