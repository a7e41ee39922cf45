//! Following the events of a node: all lanes merged into one order, with an exact count of missed records.
//!
//! ```
//! use atomscope_layout::decode::RegionReader;
//! use atomscope_layout::follow::Follower;
//! use atomscope_layout::records::ClockSampleRecord;
//! use atomscope_layout::region::{HeaderRecord, HeaderWriter};
//! use atomscope_layout::view::WriterMemory;
//! use atomscope_layout::{Capacities, RegionMap};
//!
//! let map = RegionMap::for_capacities(&Capacities::LEAST)?;
//! let memory = WriterMemory::private(map.region_bytes).ok_or("not enough memory")?;
//! let header = HeaderWriter::new(memory.words());
//! header.prepare(&map, HeaderRecord::default(), ClockSampleRecord::default(), ["shop", "", ""]);
//! header.publish();
//!
//! let region = RegionReader::open(memory.reader())?;
//! let mut follower = Follower::from_oldest(&region);
//! let batch = follower.next_batch(&region);
//! assert!(batch.events.is_empty() && batch.losses.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why no event comes before its cause
//! The probe publishes a spawn before its actor can be found in the table, and publishes a stop only after it found the
//! actor there. So a stop is published after its spawn, with a later stamp.
//!
//! A batch reads the heads of all lanes twice. Records below the first heads were published before the second reading
//! began, and so were their causes: the causes are below the second heads. The follower reads all records below the second
//! heads. It returns the records below the first heads. Of the records beyond, it also returns those with a stamp not later
//! than the latest stamp below the first heads, up to the first stop in their lane. It holds the others back for the next
//! batch. This is correct whatever the clock does. For other causes and effects on different threads, the order is correct
//! as far as the clock distinguishes their times.
//!
//! # Accounting
//! For each lane, between two batches: `read + lapped + abandoned + pending = next`. *Pending* are records whose writers
//! have not finished, and *next* is the head at the last batch minus the ticket at which the follower started.
//!
//! # Bounds
//! Whatever a region holds, a batch reads at most as many records as the rings have slots: all others are lapped. It waits
//! for writers no longer than one [`Patience`] allows. The rings bound what a follower keeps and returns: an event needs at
//! most thirty times the memory of its record (the worst case is a member with many roles of one letter).

use crate::decode::RegionReader;
use crate::event::{EVENT_WORDS, EventPart, TelemetryEvent};
use crate::ring::SlotRead;
use crate::seqlock::Patience;

/// Maximum number of partly read events. Together they also have at most as many parts as the rings have slots. Beyond
/// that the follower drops the oldest.
const MOST_PARTIAL: usize = 64;

/// An event that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The stamp of the event, by which events are ordered.
    pub stamp: u64,
    /// The lane that it was published in.
    pub lane: usize,
    /// What happened.
    pub event: TelemetryEvent,
}

/// Consecutive records of one lane that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The lane.
    pub lane: usize,
    /// Records overwritten before they were read.
    pub lapped: u64,
    /// Records given up by their writers.
    pub abandoned: u64,
    /// Records that hold what no writer stores.
    pub unreadable: u64,
    /// Stamp of the last record of the lane that was read before these.
    pub after: Option<u64>,
    /// Stamp of the first record of the lane that was read after these.
    pub before: Option<u64>,
}

impl Loss {
    /// Number of missed records.
    pub fn all(&self) -> u64 {
        self.lapped.saturating_add(self.abandoned).saturating_add(self.unreadable)
    }
}

/// The events and losses of one reading of all lanes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Events, in order.
    pub events: Vec<Event>,
    /// Missed records.
    pub losses: Vec<Loss>,
}

/// Counts of the records of one lane so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Records read.
    pub read: u64,
    /// Records overwritten before they were read.
    pub lapped: u64,
    /// Records given up by their writers, or unreadable.
    pub abandoned: u64,
    /// Records not finished by their writers yet.
    pub pending: u64,
    /// All records from the start up to the next one to read.
    pub next: u64,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// The first ticket that was never read.
    next: u64,
    /// The ticket at which the follower started.
    start: u64,
    /// Tickets below `next` whose records were not finished.
    pending: Vec<u64>,
    last: Option<u64>,
    loss: Option<Loss>,
    account: Account,
}

/// An event that was read and is held back.
#[derive(Debug, Clone)]
struct Held {
    /// The event is returned when the horizon reaches this stamp.
    until: u64,
    event: Event,
}

/// A reader's position in the lanes of one region.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    lanes: Vec<Lane>,
    partial: Vec<(usize, EventPart)>,
    held: Vec<Held>,
}

impl Follower {
    /// Starts with the events that are published from now on.
    pub fn from_now(region: &RegionReader<'_>) -> Self {
        Self::starting(region, |head, _| head)
    }

    /// Starts with the oldest events that the rings still hold.
    pub fn from_oldest(region: &RegionReader<'_>) -> Self {
        Self::starting(region, |head, capacity| head.saturating_sub(capacity))
    }

    /// Starts with the first event ever published; events that the rings no longer hold are a loss.
    pub fn from_first(region: &RegionReader<'_>) -> Self {
        Self::starting(region, |_, _| 0)
    }

    fn starting(region: &RegionReader<'_>, start_of: impl Fn(u64, u64) -> u64) -> Self {
        let lanes = (0..region.event_lanes()).map(|lane| {
            let ring = region.event_lane(lane);
            let start = start_of(ring.head(), ring.capacity());
            Lane { next: start, start, ..Lane::default() }
        });
        Self { lanes: lanes.collect(), partial: Vec::new(), held: Vec::new() }
    }

    /// The counts of each lane.
    pub fn accounts(&self) -> impl Iterator<Item = Account> + '_ {
        self.lanes.iter().map(|lane| Account {
            pending: lane.pending.len() as u64,
            next: lane.next.saturating_sub(lane.start),
            ..lane.account
        })
    }

    /// Whether there are records whose writers had not finished at the last batch.
    pub fn has_pending(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.pending.is_empty())
    }

    /// Whether events are held back. The next batch returns them in any case.
    pub fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The share of unread events in the lane with the highest share; from 1 on, events are lapped. Costs one load per lane.
    pub fn fill(&self, region: &RegionReader<'_>) -> f64 {
        let fills = self.lanes.iter().enumerate().map(|(at, lane)| {
            let ring = region.event_lane(at);
            ring.head().saturating_sub(lane.next) as f64 / ring.capacity().max(1) as f64
        });
        fills.fold(0.0, f64::max)
    }

    /// Reads all events published since the last batch: one scan of the new records, at most a whole ring per lane.
    pub fn next_batch(&mut self, region: &RegionReader<'_>) -> Batch {
        self.read(region, false)
    }

    /// The last batch of a node that publishes no more. It holds no event back, and pending records count as abandoned.
    pub fn last_batch(&mut self, region: &RegionReader<'_>) -> Batch {
        let mut batch = self.read(region, true);
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let unfinished = core::mem::take(&mut lane.pending).len() as u64;
            lane.account.abandoned += unfinished;
            lane.lose(at, |loss| loss.abandoned += unfinished);
            batch.losses.extend(lane.loss.take());
        }
        batch
    }

    fn read(&mut self, region: &RegionReader<'_>, all: bool) -> Batch {
        let heads = || -> Vec<u64> {
            let heads = (0..self.lanes.len()).map(|lane| region.event_lane(lane).head()).collect();
            crate::sync::fence(crate::sync::Ordering::Acquire);
            heads
        };
        let (first, second) = (heads(), heads());
        let mut batch = Batch::default();
        // Events held back before are now below the first heads.
        let mut horizon = self.held.iter().map(|held| held.event.stamp).max().unwrap_or(0);
        let mut words = [0u64; EVENT_WORDS];
        let (mut decoder, mut patience) = (region.event_decoder(), Patience::for_a_scan());
        for at in 0..self.lanes.len() {
            let ring = region.event_lane(at);
            let slots = ring.capacity().saturating_mul(self.lanes.len() as u64);
            // Only a hostile region moves a head back; ignore that.
            let end = second[at].max(self.lanes[at].next);
            let oldest = end.saturating_sub(ring.capacity());
            let lane = &mut self.lanes[at];
            if lane.next < oldest {
                let lapped = oldest - lane.next;
                lane.account.lapped += lapped;
                lane.lose(at, |loss| loss.lapped += lapped);
            }
            let mut pending = core::mem::take(&mut lane.pending);
            let before = pending.len();
            pending.retain(|ticket| *ticket >= oldest);
            let lapped = (before - pending.len()) as u64;
            lane.account.lapped += lapped;
            lane.lose(at, |loss| loss.lapped += lapped);
            let mut stopped = false;
            let new = lane.next.max(oldest)..end;
            lane.next = end;
            for ticket in pending.into_iter().chain(new) {
                let lane = &mut self.lanes[at];
                match ring.read(ticket, &mut words, &mut patience) {
                    Ok(SlotRead::Record) => {
                        let Some(part) = decoder.decode(&words) else {
                            lane.account.abandoned += 1;
                            lane.lose(at, |loss| loss.unreadable += 1);
                            continue;
                        };
                        lane.account.read += 1;
                        let sure = ticket < first[at];
                        if sure {
                            horizon = horizon.max(part.stamp);
                        }
                        // Beyond the first heads the spawn of this stop may not have been read. Then hold back the stop
                        // and everything after it in its lane.
                        stopped |= !sure && matches!(part.event, TelemetryEvent::ActorStopped { .. });
                        let part_stamp = part.stamp;
                        lane.last = Some(part.stamp);
                        if let Some(loss) = lane.loss.take() {
                            batch.losses.push(Loss { before: Some(part.stamp), ..loss });
                        }
                        self.add(at, part, if stopped { u64::MAX } else { part_stamp });
                        self.forget_partial(slots);
                    }
                    Ok(SlotRead::Lapped) => {
                        lane.account.lapped += 1;
                        lane.lose(at, |loss| loss.lapped += 1);
                    }
                    Ok(SlotRead::Abandoned) => {
                        lane.account.abandoned += 1;
                        lane.lose(at, |loss| loss.abandoned += 1);
                    }
                    Ok(SlotRead::Pending) => lane.pending.push(ticket),
                    Err(_) => {
                        lane.account.abandoned += 1;
                        lane.lose(at, |loss| loss.unreadable += 1);
                    }
                }
            }
        }
        let (mut ready, held) = core::mem::take(&mut self.held)
            .into_iter()
            .partition::<Vec<_>, _>(|held| all || held.until <= horizon);
        ready.sort_by_key(|held| held.event.stamp);
        batch.events = ready.into_iter().map(|held| held.event).collect();
        // All of these are below the first heads of the next batch.
        self.held = held.into_iter().map(|held| Held { until: 0, ..held }).collect();
        batch
    }

    fn add(&mut self, lane: usize, part: EventPart, until: u64) {
        let whole = if part.part > 0 {
            // Without an event that it continues, its other parts were missed: drop it.
            let is_next = |(from, begun): &(usize, EventPart)| *from == lane && begun.is_continued_by(&part);
            let Some(at) = self.partial.iter().position(is_next) else { return };
            self.partial[at].1.join(part);
            if !self.partial[at].1.is_whole() {
                return;
            }
            self.partial.remove(at).1
        } else if part.is_whole() {
            part
        } else {
            self.partial.push((lane, part));
            return;
        };
        self.held.push(Held { until, event: Event { stamp: whole.stamp, lane, event: whole.event } });
    }

    /// Drops the oldest partly read events while there are too many events or parts.
    fn forget_partial(&mut self, most_parts: u64) {
        let parts = |(_, begun): &(usize, EventPart)| u64::from(begun.part) + 1;
        let mut kept: u64 = self.partial.iter().map(parts).sum();
        while self.partial.len() > MOST_PARTIAL || kept > most_parts {
            kept -= parts(&self.partial.remove(0));
        }
    }
}

impl Lane {
    fn lose(&mut self, lane: usize, add: impl FnOnce(&mut Loss)) {
        let (after, none) =
            (self.last, Loss { lane, lapped: 0, abandoned: 0, unreadable: 0, after: None, before: None });
        let loss = self.loss.get_or_insert(Loss { after, ..none });
        add(loss);
        if loss.lapped + loss.abandoned + loss.unreadable == 0 {
            self.loss = None;
        }
    }
}
