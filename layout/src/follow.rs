//! Following a node's events: all lanes merged into one order, with an exact account of what was missed.
//!
//! # Why nothing comes before its cause
//! A spawn is published before its actor can be found in the table, and a stop only by whoever found it there; so a stop
//! is published after its spawn, and stamped later. The heads of all lanes are read twice. Whatever lies below the first
//! heads was there before the second reading began, and so were its causes: they lie below the second heads. All records
//! below the second heads are read. Handed out are all below the first heads, and with them those beyond that are stamped
//! no later than the latest of these, up to the first stop in their lane. The others wait for the next look. This holds
//! whatever the clock; that other things on different threads come in the order of cause and effect holds as far as the
//! clock tells them apart.
//!
//! # Accounting
//! Of each lane, at any time between two looks: `read + lapped + abandoned + waiting = looked at`, where *waiting* are
//! records whose writers have not finished; and what was looked at is the head as it was then, less where the following
//! began.
//!
//! # Bounds
//! Whatever a region holds, a look reads no more records than its rings have slots, however far their heads say that they
//! are: all others are lapped. It waits for writers no longer than one [`Patience`] allows. What a follower keeps and
//! hands out is bounded by the rings' size: an event takes at most thirty times its record (one that consists of nothing
//! but a member's roles of one letter).

use crate::decode::RegionReader;
use crate::event::{EVENT_WORDS, EventPart, TelemetryEvent};
use crate::ring::SlotRead;
use crate::seqlock::Patience;

/// Partly read events that are kept at most, and of all of them together no more parts than there are slots; beyond that
/// the oldest is given up.
const MOST_PARTIAL: usize = 64;

/// An event that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order of events.
    pub stamp: u64,
    /// The lane that it came from.
    pub lane: usize,
    /// What happened.
    pub event: TelemetryEvent,
}

/// Records of one lane that were missed in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The lane.
    pub lane: usize,
    /// Overwritten before they were read.
    pub lapped: u64,
    /// Given up by their writers.
    pub abandoned: u64,
    /// Holding what no writer writes.
    pub unreadable: u64,
    /// Stamp of the last record of the lane that was read before them.
    pub after: Option<u64>,
    /// Stamp of the first record of the lane that was read after them.
    pub before: Option<u64>,
}

impl Loss {
    /// How many records were missed.
    pub fn all(&self) -> u64 {
        self.lapped.saturating_add(self.abandoned).saturating_add(self.unreadable)
    }
}

/// What one look brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events, in order.
    pub events: Vec<Event>,
    /// What was missed.
    pub losses: Vec<Loss>,
}

/// What became of a lane's records so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Read.
    pub read: u64,
    /// Overwritten before they were read.
    pub lapped: u64,
    /// Given up by their writers, or unreadable.
    pub abandoned: u64,
    /// Not finished by their writers yet.
    pub pending: u64,
    /// All records up to the next one that will be looked at.
    pub next: u64,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// The first ticket that was never looked at.
    next: u64,
    /// Where the following began.
    start: u64,
    /// Tickets below `next` whose records were not finished.
    pending: Vec<u64>,
    last: Option<u64>,
    loss: Option<Loss>,
    account: Account,
}

/// An event that was read and not handed out yet.
#[derive(Debug, Clone)]
struct Held {
    /// The horizon that it waits for.
    until: u64,
    event: Event,
}

/// A reader's place in the lanes of one region.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    lanes: Vec<Lane>,
    partial: Vec<(usize, EventPart)>,
    held: Vec<Held>,
}

impl Follower {
    /// Begins with what happens from now on.
    pub fn from_now(region: &RegionReader<'_>) -> Self {
        Self::starting(region, |head, _| head)
    }

    /// Begins with the oldest events that are kept.
    pub fn from_oldest(region: &RegionReader<'_>) -> Self {
        Self::starting(region, |head, capacity| head.saturating_sub(capacity))
    }

    /// Begins with the first event that there ever was: what is no longer kept is a loss.
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

    /// What became of each lane's records.
    pub fn accounts(&self) -> impl Iterator<Item = Account> + '_ {
        self.lanes.iter().map(|lane| Account {
            pending: lane.pending.len() as u64,
            next: lane.next.saturating_sub(lane.start),
            ..lane.account
        })
    }

    /// Whether records were met whose writers had not finished.
    pub fn has_pending(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.pending.is_empty())
    }

    /// Whether events were read that the next look will hand out, whatever else it brings.
    pub fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Of the lane that is fullest of events that were not looked at yet, how full it is: from 1 on some are lost. Reads a
    /// word of each lane.
    pub fn fill(&self, region: &RegionReader<'_>) -> f64 {
        let fills = self.lanes.iter().enumerate().map(|(at, lane)| {
            let ring = region.event_lane(at);
            ring.head().saturating_sub(lane.next) as f64 / ring.capacity().max(1) as f64
        });
        fills.fold(0.0, f64::max)
    }

    /// Takes everything that has been published. One pass over what is new, at most a whole ring per lane.
    pub fn next_batch(&mut self, region: &RegionReader<'_>) -> Batch {
        self.read(region, false)
    }

    /// The last look at a node that will publish nothing more: nothing is held back, and records that were not finished
    /// are given up.
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
        // What was held back before lies below the first heads now.
        let mut horizon = self.held.iter().map(|held| held.event.stamp).max().unwrap_or(0);
        let mut words = [0u64; EVENT_WORDS];
        let (mut decoder, mut patience) = (region.event_decoder(), Patience::for_a_pass());
        for at in 0..self.lanes.len() {
            let ring = region.event_lane(at);
            let slots = ring.capacity().saturating_mul(self.lanes.len() as u64);
            // A head that a hostile region moves back is not followed.
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
                        // Beyond the first heads a stop may be there without its spawn, and then nothing after it in
                        // its lane is handed out either.
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
        // The next look begins above all of these.
        self.held = held.into_iter().map(|held| Held { until: 0, ..held }).collect();
        batch
    }

    fn add(&mut self, lane: usize, part: EventPart, until: u64) {
        let whole = if part.part > 0 {
            // Its other parts were lost if there is none that it joins.
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

    /// Gives up the oldest of the partly read events where there are too many, or too many parts.
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
