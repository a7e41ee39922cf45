//! Noting failures: panics from the hook of the process, errors and warnings from the layer of `tracing`.
//!
//! Noting allocates nothing, waits for no thread and calls no foreign code, since a panic may happen anywhere.

use atomscope_layout::event::{EventKind, EventRecord, event_flags};
use atomscope_layout::failures::{
    Digitless, FailureLog, FailureRecord, PANIC_WORDS, PanicRecord, Report, Severity,
};
use atomscope_layout::lanes::OVERFLOW;
#[cfg(feature = "atomr")]
use atomscope_layout::limits::ACTOR_PATH_BYTES;
use atomscope_layout::limits::{CUT_MARK, FAILURE_LOCATION_BYTES};
use atomscope_layout::metrics::Builtin;
#[cfg(feature = "atomr")]
use atomscope_layout::records::{ACTOR_CELL_WORD, ACTOR_WORDS, ActorRecord};
use atomscope_layout::ring::{Ring, Written};
#[cfg(feature = "atomr")]
use atomscope_layout::sync::{Ordering, fence};
#[cfg(feature = "atomr")]
use atomscope_layout::words::Words;
use atomscope_layout::words::prefix;

#[cfg(feature = "atomr")]
use crate::instruments::memory::At;
#[cfg(feature = "tracing-layer")]
use crate::process;
use crate::writer::RegionWriter;

/// Bytes of a message that distinguish it from others.
const KEY_MESSAGE_BYTES: usize = 512;

/// A text of at most `BYTES` bytes on the stack. The rest is dropped.
pub(crate) struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    used: usize,
    is_full: bool,
}

impl<const BYTES: usize> Text<BYTES> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; BYTES], used: 0, is_full: false }
    }

    pub(crate) fn push(&mut self, text: &str) {
        let free = self.bytes.get_mut(self.used..).filter(|_| !self.is_full).unwrap_or_default();
        let kept = prefix(text, free.len());
        if let Some(to) = free.get_mut(..kept.len()) {
            to.copy_from_slice(kept.as_bytes());
            self.used += kept.len();
        }
        self.is_full |= kept.len() < text.len();
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.used).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

#[cfg(feature = "tracing-layer")]
impl<const BYTES: usize> std::fmt::Write for Text<BYTES> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.push(text);
        // An error would end the formatting early, which is the caller's to want.
        Ok(())
    }
}

/// File, line and column as one text. Of a long path the end is kept.
pub(crate) fn location(file: &str, line: u32, column: Option<u32>) -> Text<FAILURE_LOCATION_BYTES> {
    let mut place = Text::<24>::new();
    for number in [Some(line), column].into_iter().flatten() {
        place.push(":");
        push_number(&mut place, number);
    }
    let mut text = Text::new();
    let free = FAILURE_LOCATION_BYTES - place.used;
    match file.len().checked_sub(free) {
        None | Some(0) => text.push(file),
        Some(over) => {
            let mut start = over + CUT_MARK.len();
            while start < file.len() && !file.is_char_boundary(start) {
                start += 1;
            }
            text.push(CUT_MARK);
            text.push(file.get(start..).unwrap_or_default());
        }
    }
    text.push(place.as_str());
    text
}

fn push_number<const BYTES: usize>(text: &mut Text<BYTES>, number: u32) {
    let (mut digits, mut at, mut rest) = ([b'0'; 10], 10, number);
    while at > 0 && (at == 10 || rest > 0) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text.push(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// The calling thread's name, as the kernel knows it: 15 bytes at most. Empty if it is unknown.
#[cfg(target_os = "linux")]
pub(crate) fn thread_name() -> Text<16> {
    let mut name = Text::new();
    name.push(crate::region_file::thread_name(&mut [0; 16]));
    name
}

/// Unknown.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_name() -> Text<16> {
    Text::new()
}

/// Calls `note` with the open regions of the actor system to which this path belongs; if that is unknown, with all open
/// regions of the process.
#[cfg(feature = "tracing-layer")]
pub(crate) fn each_region_of(actor: &str, mut note: impl FnMut(&RegionWriter)) {
    let system = system_of(actor);
    let is_of_system =
        |writer: &RegionWriter| writer.system.get().is_some_and(|name| Some(&**name) == system);
    let mut is_known = false;
    let is_complete = system.is_none()
        || process::each_open(|writer| {
            if is_of_system(writer) {
                is_known = true;
                note(writer);
            }
        });
    // A second try after one that gave up would only wait for as long again.
    let is_noted = is_known || is_complete && process::each_open(note);
    if !is_noted {
        process::count_missed();
    }
}

/// The actor system in the text of a path: `shop` of `akka://shop@host:1/user/cart`.
#[cfg(feature = "tracing-layer")]
fn system_of(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("://")?;
    rest.split(['/', '@']).next().filter(|system| !system.is_empty())
}

impl RegionWriter {
    /// Notes a failure: counts it, and lists it in the failure log unless that is full. `told` is the part of its message that
    /// distinguishes it from others. Returns the number of its slot plus 1, or 0.
    pub(crate) fn note_failure(&self, severity: Severity, told: &str, report: &Report<'_>) -> u32 {
        let count = |metric: Builtin| self.lanes().add(OVERFLOW, metric as usize, 1);
        count(match severity {
            Severity::Panic => Builtin::Panics,
            Severity::Error => Builtin::Errors,
            Severity::Warning => Builtin::Warnings,
        });
        let report = self.kept(report);
        let failures = self.map().failures;
        let log = FailureLog::new(self.section(failures), failures.stride);
        let (record, cut) = FailureRecord::of(&report);
        let first = || {
            if cut {
                count(Builtin::TextsCut);
            }
            record
        };
        match log.note(self.failure_key(severity, told, report.location), severity, self.stamp(0), first) {
            Some(slot) => slot.saturating_add(1),
            None => {
                count(Builtin::FailuresUnlisted);
                0
            }
        }
    }

    /// Notes a panic of the calling thread: in the failure log, in the ring of panics, and as an event.
    pub(crate) fn note_panic(&self, report: &Report<'_>, tid: u32) {
        let count = |metric: Builtin| self.lanes().add(OVERFLOW, metric as usize, 1);
        let failure = self.note_failure(Severity::Panic, report.message.unwrap_or_default(), report);
        let report = self.kept(report);
        let panics = self.map().panics;
        let ring = Ring::new(self.section(panics), panics.stride);
        let ticket = ring.ticket();
        let stamp = self.stamp(0);
        let (record, cut) = PanicRecord::of(&report);
        let words: [u64; PANIC_WORDS] = zerocopy::transmute!(PanicRecord { stamp, failure, tid, ..record });
        if cut {
            count(Builtin::TextsCut);
        }
        if ring.write(ticket, &words) == Written::Abandoned {
            count(Builtin::PanicsAbandoned);
        }
        let texts = [report.location, report.thread, report.actor, report.message.unwrap_or_default()];
        let numbers = [ticket.wrapping_add(1), u64::from(tid)];
        let (mut event, cut) =
            EventRecord::with_texts(EventKind::Panicked, self.stamp(stamp), numbers, &texts);
        if report.message.is_some() {
            event.flags |= event_flags::OPTIONAL;
        }
        self.publish_lean(&event);
        if cut {
            count(Builtin::TextsCut);
        }
    }

    /// Adds the path of the actor with this cell to `text`, if its record has a slot. Allocates nothing and waits for nobody.
    #[cfg(feature = "atomr")]
    pub(crate) fn path_of(&self, at: At, text: &mut Text<ACTOR_PATH_BYTES>) {
        let actors = self.map().actors;
        let words = self.section(actors);
        let slot =
            at.record().and_then(|slot| words.get(slot * actors.stride..)?.first_chunk::<ACTOR_WORDS>());
        let Some(slot) = slot else { return };
        // The slot may be another actor's by now, which has another cell or none.
        let is_its = || slot[ACTOR_CELL_WORD].load(Ordering::Relaxed) == at.name();
        let mut copy = [0u64; ACTOR_WORDS];
        if is_its() {
            Words::new(slot).copy_to(&mut copy);
            fence(Ordering::Acquire);
        }
        let record: ActorRecord = zerocopy::transmute!(copy);
        let path = record.text.get(..record.path_bytes.into()).filter(|_| is_its()).unwrap_or_default();
        text.push(std::str::from_utf8(path).unwrap_or_default());
    }

    /// What the region keeps of a report.
    fn kept<'a>(&self, report: &Report<'a>) -> Report<'a> {
        Report { message: report.message.filter(|_| self.previews), ..*report }
    }

    fn failure_key(&self, severity: Severity, told: &str, location: &str) -> u64 {
        let mut text = Text::<{ KEY_MESSAGE_BYTES + FAILURE_LOCATION_BYTES + 16 }>::new();
        for part in [severity.name(), "\n", location, "\n"] {
            text.push(part);
        }
        // Without previews a count would tell that two messages differ.
        let told = if self.previews { prefix(told, KEY_MESSAGE_BYTES) } else { "" };
        for character in Digitless::new(told) {
            text.push(character.encode_utf8(&mut [0; 4]));
        }
        self.hasher.hash(text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_keeps_its_end_and_its_line() {
        assert_eq!(location("src/shop.rs", 7, Some(13)).as_str(), "src/shop.rs:7:13");
        assert_eq!(location("src/shop.rs", u32::MAX, None).as_str(), "src/shop.rs:4294967295");
        for bytes in 0..400 {
            let file = "é".repeat(bytes / 2) + &"x"[..bytes % 2] + "/shop.rs";
            let text = location(&file, 0, Some(1));
            assert!(text.as_str().len() <= FAILURE_LOCATION_BYTES);
            assert!(text.as_str().ends_with("/shop.rs:0:1"), "{}", text.as_str());
            assert!(file.len() + 4 > FAILURE_LOCATION_BYTES || text.as_str().starts_with(&file));
        }
    }

    #[test]
    fn nothing_follows_a_text_that_did_not_fit() {
        let mut text = Text::<4>::new();
        ["abc", "é", "d"].into_iter().for_each(|part| text.push(part));
        assert_eq!(text.as_str(), "abc");
    }

    #[test]
    #[cfg(feature = "tracing-layer")]
    fn the_system_of_a_path_is_its_authority_without_the_host() {
        assert_eq!(system_of("akka://shop/user/cart"), Some("shop"));
        assert_eq!(system_of("akka.tcp://shop@10.0.0.1:25520/user"), Some("shop"));
        assert_eq!((system_of("akka://"), system_of("/user/cart"), system_of("")), (None, None, None));
    }
}
