//! The first page of a raw dump: what was known of the node when its region was copied.

use std::time::Duration;

use atomscope_layout::OpenError;
use atomscope_layout::decode::rfc3339;
use atomscope_layout::words::WORD;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ending::LastWords;
use crate::liveness::{Evidence, Liveness, Notes, Verdict, Wedge};

/// The first word of a raw dump: `ATOMSRAW` in ASCII.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ATOMSRAW");

/// Bytes before the region: one page.
pub const HEADER_BYTES: u64 = 4096;

const VERSION_MAJOR: u32 = 1;

const VERSION_MINOR: u32 = 1;

/// The age of a beat that never happened.
const NEVER: u64 = u64::MAX;

const AT_REST: u64 = 1;

const REDACTED: u64 = 1 << 1;

const VERDICTS: [(u64, Verdict); 10] = [
    (1, Verdict::Starting),
    (2, Verdict::Live),
    (3, Verdict::Wedged(Wedge::Stopped)),
    (4, Verdict::Wedged(Wedge::ProcessStale)),
    (5, Verdict::Wedged(Wedge::RuntimeBlocked)),
    (6, Verdict::Stopping),
    (7, Verdict::Closed),
    (8, Verdict::Crashed),
    (16, Verdict::Wedged(Wedge::Frozen)),
    (17, Verdict::Failed),
];

const EVIDENCES: [(u64, Evidence); 3] =
    [(1, Evidence::Lock), (2, Evidence::Process), (3, Evidence::Heartbeat)];

/// The header as in the file, without its padding.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct DumpHeader {
    magic: u64,
    version: u64,
    header_bytes: u64,
    region_bytes: u64,
    taken_unix_ns: u64,
    pid: u64,
    verdict: u64,
    evidence: u64,
    process_beat_age_ns: u64,
    runtime_beat_age_ns: u64,
    flags: u64,
    notes: u64,
}

const _: () = assert!(size_of::<DumpHeader>() == 96);

const _: () = assert!(std::mem::offset_of!(DumpHeader, verdict) == 48);

/// What was known of a node when its region was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpInfo {
    /// The time of the dump in nanoseconds since 1970, UTC.
    pub unix_ns: i128,
    /// The node's process id.
    pub pid: u64,
    /// The verdict on the node at that time. What the region says of its end is not here.
    pub liveness: Liveness,
    /// Whether no actor came or went during the copy.
    pub at_rest: bool,
    /// Whether names were replaced by pseudonyms.
    pub redacted: bool,
}

/// Reads the header of a raw dump from the first bytes of a file of `file_bytes`; `None` if the file is no raw dump, and an
/// error if it is a damaged one or of a newer version.
pub fn read_header(start: &[u8], file_bytes: u64) -> Option<Result<DumpInfo, OpenError>> {
    let magic = start.get(..WORD)?;
    (magic == MAGIC.to_le_bytes()).then(|| {
        let truncated = OpenError::Truncated { found: file_bytes, expected: HEADER_BYTES };
        let (record, _) = DumpHeader::read_from_prefix(start).map_err(|_| truncated)?;
        record.check(file_bytes)
    })
}

impl DumpHeader {
    fn check(&self, file_bytes: u64) -> Result<DumpInfo, OpenError> {
        let (found_major, found_minor) = ((self.version >> 32) as u32, self.version as u32);
        if found_major != VERSION_MAJOR {
            return Err(OpenError::Incompatible { found_major, found_minor, major: VERSION_MAJOR });
        }
        if self.header_bytes != HEADER_BYTES {
            let what = "length of the dump's header";
            return Err(OpenError::Corrupt { offset: 16, field: what, found: self.header_bytes });
        }
        let expected = self.region_bytes.saturating_add(HEADER_BYTES);
        if file_bytes < expected {
            return Err(OpenError::Truncated { found: file_bytes, expected });
        }
        let find = |offset, what, found| OpenError::Corrupt { offset, field: what, found };
        let verdict = VERDICTS.iter().find(|(number, _)| *number == self.verdict);
        let evidence = EVIDENCES.iter().find(|(number, _)| *number == self.evidence);
        let (_, verdict) = *verdict.ok_or(find(48, "the dump's verdict", self.verdict))?;
        let (_, evidence) = *evidence.ok_or(find(56, "the dump's evidence", self.evidence))?;
        let age = |ns: u64| (ns != NEVER).then(|| Duration::from_nanos(ns));
        Ok(DumpInfo {
            unix_ns: i128::from(self.taken_unix_ns),
            pid: self.pid,
            liveness: Liveness {
                verdict,
                notes: Notes::from_bits(self.notes),
                evidence,
                process_beat_age: age(self.process_beat_age_ns),
                runtime_beat_age: age(self.runtime_beat_age_ns),
                last_words: LastWords::NONE,
            },
            at_rest: self.flags & AT_REST != 0,
            redacted: self.flags & REDACTED != 0,
        })
    }
}

impl DumpInfo {
    /// The sentence that commands show first: data of a dump is old data.
    pub fn caveat(&self) -> String {
        let (state, time) = (self.liveness.verdict.word(), rfc3339(self.unix_ns));
        format!("this is a dump of a {state} node, taken at {time}")
    }

    /// The first page of a raw dump of a region of `region_bytes`.
    pub(crate) fn page(&self, region_bytes: u64) -> [u8; HEADER_BYTES as usize] {
        let Self { unix_ns, pid, liveness, at_rest, redacted } = *self;
        let number = |verdict| VERDICTS.iter().find(|(_, v)| *v == verdict).map_or(0, |(number, _)| *number);
        let age = |age: Option<Duration>| age.map_or(NEVER, |age| age.as_nanos() as u64);
        let record = DumpHeader {
            magic: MAGIC,
            version: u64::from(VERSION_MAJOR) << 32 | u64::from(VERSION_MINOR),
            header_bytes: HEADER_BYTES,
            region_bytes,
            taken_unix_ns: u64::try_from(unix_ns).unwrap_or(0),
            pid,
            verdict: number(liveness.verdict),
            evidence: EVIDENCES.iter().find(|(_, e)| *e == liveness.evidence).map_or(0, |(n, _)| *n),
            process_beat_age_ns: age(liveness.process_beat_age),
            runtime_beat_age_ns: age(liveness.runtime_beat_age),
            flags: if at_rest { AT_REST } else { 0 } | if redacted { REDACTED } else { 0 },
            notes: liveness.notes.bits(),
        };
        let mut page = [0u8; HEADER_BYTES as usize];
        let _ = record.write_to_prefix(&mut page);
        page
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::liveness::Note;

    /// Whether some table of the layout's document starts a row with these cells.
    fn is_documented(cells: &[&str]) -> bool {
        let row = format!("\n| {} |", cells.join(" | "));
        atomscope_layout::PAGE.contains(&row)
    }

    #[test]
    fn the_file_is_documented_as_it_is() {
        macro_rules! fields {
            ($($field:ident)+) => {{
                let DumpHeader { $($field),+ } = DumpHeader::new_zeroed();
                [$((stringify!($field), std::mem::offset_of!(DumpHeader, $field), size_of_val(&$field))),+]
            }};
        }
        let fields = fields!(magic version header_bytes region_bytes taken_unix_ns pid verdict evidence
            process_beat_age_ns runtime_beat_age_ns flags notes);
        for (name, offset, bytes) in fields {
            let cells = [format!("`{name}`"), offset.to_string(), bytes.to_string()];
            assert!(is_documented(&cells.each_ref().map(String::as_str)), "{name} at {offset}");
        }
        for (number, verdict) in VERDICTS {
            let name = match verdict {
                Verdict::Wedged(Wedge::Stopped) => "Wedged, stopped".to_owned(),
                Verdict::Wedged(Wedge::Frozen) => "Wedged, frozen".to_owned(),
                Verdict::Wedged(Wedge::ProcessStale) => "Wedged, no beat".to_owned(),
                Verdict::Wedged(Wedge::RuntimeBlocked) => "Wedged, runtime".to_owned(),
                other => format!("{other:?}"),
            };
            let why = verdict.why().map_or(" ".to_owned(), |why| format!(" {why} "));
            let row = format!("\n| {name} | {number} | {} |{why}|", verdict.word());
            assert!(atomscope_layout::PAGE.contains(&row), "{row}");
        }
        for note in Note::ALL {
            let bit = (note as u64).to_string();
            let cells = [&format!("{note:?}"), &bit, note.name(), note.text()];
            assert!(is_documented(&cells), "{note:?}");
        }
        for (number, evidence) in EVIDENCES {
            let name = format!("{evidence:?}");
            assert!(is_documented(&[&name, &number.to_string(), &name.to_lowercase()]), "{name}");
        }
        assert_eq!((AT_REST, REDACTED, HEADER_BYTES), (1, 2, 4096));
        assert_eq!(crate::liveness::STALE, Duration::from_secs(3));
    }
}
