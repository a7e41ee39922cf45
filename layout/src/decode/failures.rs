//! The failure log and the newest panics.

use serde::Serialize;
use zerocopy::FromZeros;

use super::clock::{Clock, Moment, rfc3339};
use super::names::{Names, Texts};
use super::reader::RegionReader;
use crate::failures::{self, FailureRecord, PANIC_WORDS, PanicRecord, Severity, failure_flags};
use crate::ring::SlotRead;
use crate::seqlock::Patience;

/// A distinct failure, with the texts of its first occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The number of its slot plus 1, by which panics refer to it.
    pub number: u32,
    /// Panic, error or warning.
    pub severity: Severity,
    /// How often it happened.
    pub count: u64,
    /// When it happened first: RFC 3339, UTC; empty if unknown.
    pub first: String,
    /// When it happened last.
    pub last: String,
    /// The message; `None` if the node keeps no texts of messages.
    pub message: Option<String>,
    /// File, line and column.
    pub location: Option<String>,
    /// The target under which an error or warning was logged.
    pub target: Option<String>,
    /// The name of the thread.
    pub thread: Option<String>,
    /// The path of the actor.
    pub actor: Option<String>,
    /// The class of the actor.
    pub class: Option<String>,
    /// `first` by the node's clocks.
    #[serde(skip)]
    pub first_at: Option<Moment>,
    /// `last` by the node's clocks.
    #[serde(skip)]
    pub last_at: Option<Moment>,
}

/// A panic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Panic {
    /// Its number, from 1 on.
    pub seq: u64,
    /// When it happened: RFC 3339, UTC; empty if unknown.
    pub timestamp: String,
    /// The number of its entry in the failure log; `None` if that was full.
    pub failure: Option<u32>,
    /// The id of its thread, in the node's pid namespace.
    pub tid: Option<u32>,
    /// The name of its thread.
    pub thread: Option<String>,
    /// The message; `None` if the node keeps no texts of messages.
    pub message: Option<String>,
    /// File, line and column.
    pub location: Option<String>,
    /// The path of the actor.
    pub actor: Option<String>,
    /// The class of the actor.
    pub class: Option<String>,
    /// `timestamp` by the node's clocks.
    #[serde(skip)]
    pub at: Option<Moment>,
}

/// The failure log, the newest panics, and the number of records that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// The distinct failures, that with the newest occurrence first.
    pub log: Vec<Failure>,
    /// Slots of the log that could not be read: claimed and not finished, or damaged.
    pub unreadable: u64,
    /// The newest panics, newest first.
    pub panics: Vec<Panic>,
    /// All panics so far.
    pub panics_total: u64,
    /// Panics that newer ones have overwritten.
    pub panics_lapped: u64,
    /// Panics of the ring that their writers gave up.
    pub panics_abandoned: u64,
    /// Panics of the ring that could not be read: pending or damaged.
    pub panics_unreadable: u64,
}

impl RegionReader<'_> {
    /// The failure log and the newest panics. Costs a scan of both.
    pub fn failures(&self) -> Failures {
        let mut names = Names::default();
        let mut failures = Failures::default();
        let mut stamps = Vec::new();
        let (section, stride) = (self.section(self.map.failures), self.map.failures.stride);
        let mut record = FailureRecord::new_zeroed();
        let mut patience = Patience::for_a_scan();
        for number in 0..self.map.failures.count {
            let Some(slot) = section.slice(number * stride..(number + 1) * stride) else { break };
            let mut read = failures::read(slot, &mut record);
            for attempt in 0.. {
                // Its thread may be about to store the record.
                if read != failures::SlotRead::Pending || !patience.again(attempt) {
                    break;
                }
                read = failures::read(slot, &mut record);
            }
            let severity = match read {
                failures::SlotRead::Free => continue,
                failures::SlotRead::Pending => None,
                failures::SlotRead::Record(severity) => Some(severity),
            };
            match severity
                .and_then(|severity| decode_failure(number as u32 + 1, severity, &record, self, &mut names))
            {
                Some(failure) => {
                    failures.log.push(failure);
                    stamps.push([record.first, record.last]);
                }
                None => failures.unreadable += 1,
            }
        }
        let panic_stamps = self.panics(&mut failures, &mut names);
        let clock = self.clock();
        let moment = |stamp| clock.as_ref().and_then(|clock: &Clock| clock.moment(stamp));
        let text = |at: Option<Moment>| at.map(|at| rfc3339(at.unix_ns)).unwrap_or_default();
        for (failure, [first, last]) in failures.log.iter_mut().zip(&stamps) {
            (failure.first_at, failure.last_at) = (moment(*first), moment(*last));
            (failure.first, failure.last) = (text(failure.first_at), text(failure.last_at));
        }
        for (panic, stamp) in failures.panics.iter_mut().zip(panic_stamps) {
            panic.at = moment(stamp);
            panic.timestamp = text(panic.at);
        }
        let mut log: Vec<_> = std::mem::take(&mut failures.log).into_iter().zip(stamps).collect();
        log.sort_by_key(|(failure, [_, last])| (std::cmp::Reverse(*last), failure.number));
        failures.log = log.into_iter().map(|(failure, _)| failure).collect();
        failures
    }

    /// Reads the panics; returns the stamp of each.
    fn panics(&self, failures: &mut Failures, names: &mut Names) -> Vec<u64> {
        let ring = self.panic_ring();
        let total = ring.head();
        let kept = total.min(ring.capacity());
        (failures.panics_total, failures.panics_lapped) = (total, total - kept);
        let mut words = [0u64; PANIC_WORDS];
        let mut stamps = Vec::new();
        let mut patience = Patience::for_a_scan();
        for ticket in (total - kept..total).rev() {
            match ring.read(ticket, &mut words, &mut patience) {
                Ok(SlotRead::Record) => {
                    let record: PanicRecord = zerocopy::transmute!(words);
                    match decode_panic(ticket, &record, self, names) {
                        Some(panic) => {
                            failures.panics.push(panic);
                            stamps.push(record.stamp);
                        }
                        None => failures.panics_unreadable += 1,
                    }
                }
                Ok(SlotRead::Lapped) => failures.panics_lapped += 1,
                Ok(SlotRead::Abandoned) => failures.panics_abandoned += 1,
                Ok(SlotRead::Pending) | Err(_) => failures.panics_unreadable += 1,
            }
        }
        stamps
    }
}

fn decode_failure(
    number: u32,
    severity: Severity,
    record: &FailureRecord,
    reader: &RegionReader<'_>,
    names: &mut Names,
) -> Option<Failure> {
    let mut texts = Texts(&record.text);
    let location = known(texts.take(record.location_bytes)?);
    let thread = known(texts.take(record.thread_bytes)?);
    let actor = known(texts.take(record.actor_bytes)?);
    let target = known(texts.take(record.target_bytes)?);
    let message = texts.take(record.message_bytes)?;
    Some(Failure {
        number,
        severity,
        count: record.count,
        first: String::new(),
        last: String::new(),
        message: (record.flags & failure_flags::MESSAGE != 0).then(|| message.to_owned()),
        location,
        target,
        thread,
        actor,
        class: class(record.class, reader, names),
        first_at: None,
        last_at: None,
    })
}

fn decode_panic(
    ticket: u64,
    record: &PanicRecord,
    reader: &RegionReader<'_>,
    names: &mut Names,
) -> Option<Panic> {
    let mut texts = Texts(&record.text);
    let location = known(texts.take(record.location_bytes)?);
    let thread = known(texts.take(record.thread_bytes)?);
    let actor = known(texts.take(record.actor_bytes)?);
    let message = texts.take(record.message_bytes)?;
    Some(Panic {
        seq: ticket.wrapping_add(1),
        timestamp: String::new(),
        failure: Some(record.failure).filter(|failure| *failure != 0),
        tid: Some(record.tid).filter(|tid| *tid != 0),
        thread,
        message: (record.flags & failure_flags::MESSAGE != 0).then(|| message.to_owned()),
        location,
        actor,
        class: class(record.class, reader, names),
        at: None,
    })
}

/// A text; `None` if it is empty, which means unknown.
fn known(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn class(number: u32, reader: &RegionReader<'_>, names: &mut Names) -> Option<String> {
    (number != 0).then(|| names.look_up(reader, number).to_owned())
}
