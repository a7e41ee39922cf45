//! The past of a node in bounded memory: ticks, fewer of them the older they are; points for sparklines; events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::program::top::tick::{EventRow, Point, Tick};

/// Older ticks are removed even when memory is left.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// More points than the widest screen has columns.
const MAX_POINTS: usize = 1024;
/// Maximum number of events.
pub const MAX_EVENTS: usize = 20_000;
/// Maximum length of all their texts, in bytes.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// Ticks, the oldest first.
#[derive(Debug)]
pub struct History {
    ticks: VecDeque<Arc<Tick>>,
    max_bytes: usize,
}

impl History {
    pub fn new(max_bytes: usize) -> Self {
        Self { ticks: VecDeque::new(), max_bytes }
    }

    pub fn push(&mut self, tick: Arc<Tick>) {
        let now = tick.at;
        self.ticks.push_back(tick);
        while self.ticks.len() > 1 && self.ticks.front().is_some_and(|tick| now - tick.at > MAX_AGE) {
            self.ticks.pop_front();
        }
        self.thin();
    }

    /// Sets the maximum memory, in bytes.
    pub fn limit(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
        // Removing single ticks would be quadratic when many must go, so this removes every second one.
        while self.ticks.len() > 1 && self.bytes() > self.max_bytes {
            let mut left = self.ticks.len();
            self.ticks.retain(|_| {
                left -= 1;
                left.is_multiple_of(2)
            });
        }
    }

    fn thin(&mut self) {
        while self.ticks.len() > 1 && self.bytes() > self.max_bytes {
            let times: Vec<_> = self.ticks.iter().map(|tick| tick.at).collect();
            self.ticks.remove(least_needed(&times));
        }
    }

    /// Approximate memory in bytes. Neighbouring ticks share their list of actors while no actor changes.
    fn bytes(&self) -> usize {
        let mut last: Option<&Arc<Tick>> = None;
        let of = |tick| {
            let before = last.replace(tick);
            let lists = before.and_then(|before| before.listed.as_ref().zip(tick.listed.as_ref()));
            let is_same = lists.is_some_and(|(a, b)| Arc::ptr_eq(a, b));
            // A tick keeps the snapshot before it for its rates, even after the tick of that snapshot was removed.
            let shares_snapshot =
                before.zip(tick.before.as_ref()).is_some_and(|(a, (b, _))| Arc::ptr_eq(&a.snapshot, b));
            let snapshots = if shares_snapshot { 1 } else { 2 };
            tick.snapshot_bytes * snapshots + if is_same { 0 } else { tick.actors_bytes() }
        };
        self.ticks.iter().map(of).sum()
    }

    /// The newest tick before `at`.
    pub fn before(&self, at: Instant) -> Option<&Arc<Tick>> {
        self.ticks.iter().rev().find(|tick| tick.at < at)
    }

    /// The oldest tick after `at`.
    pub fn after(&self, at: Instant) -> Option<&Arc<Tick>> {
        self.ticks.iter().find(|tick| tick.at > at)
    }

    pub fn newest(&self) -> Option<&Arc<Tick>> {
        self.ticks.back()
    }

    /// The number of ticks, the time from the first to the last, and their approximate memory in bytes.
    pub fn extent(&self) -> (usize, Duration, usize) {
        let ends = self.ticks.front().zip(self.ticks.back());
        let span = ends.map_or(Duration::ZERO, |(first, last)| last.at - first.at);
        (self.ticks.len(), span, self.bytes())
    }
}

/// The index of the time that can be removed with the smallest gap relative to its age. So the last minute stays fine, and
/// older times become coarse. Never the newest; the oldest only if there are no others. `times` ascend.
fn least_needed(times: &[Instant]) -> usize {
    let Some(newest) = times.last() else { return 0 };
    let gap = |at: usize| {
        let gap = (times[at + 1] - times[at - 1]).as_secs_f64();
        gap / (*newest - times[at]).as_secs_f64().max(1e-3)
    };
    (1..times.len().saturating_sub(1)).min_by(|a, b| gap(*a).total_cmp(&gap(*b))).unwrap_or(0)
}

/// Points, the oldest first.
#[derive(Debug, Default)]
pub struct Points(VecDeque<(Instant, Point)>);

impl Points {
    pub fn push(&mut self, at: Instant, point: Point) {
        if self.0.len() == MAX_POINTS {
            self.0.pop_front();
        }
        self.0.push_back((at, point));
    }

    /// Points up to `at`, the newest first.
    pub fn until(&self, at: Instant) -> impl Iterator<Item = &Point> {
        self.0.iter().rev().filter(move |(of, _)| *of <= at).map(|(_, point)| point)
    }
}

/// Events, the oldest first. Each keeps its number when older events are removed.
#[derive(Debug, Clone, Default)]
pub struct EventLog {
    rows: VecDeque<EventRow>,
    /// The number of the first event in `rows`.
    first: u64,
    bytes: usize,
    /// Events lost since the node was opened.
    pub lost: u64,
}

impl EventLog {
    /// An empty log of a node that was open before, so that earlier events are missing.
    pub fn continued() -> Self {
        Self { first: 1, ..Self::default() }
    }

    pub fn push(&mut self, row: EventRow) {
        self.lost = self.lost.saturating_add(row.lost);
        self.bytes += row.bytes();
        self.rows.push_back(row);
        while self.rows.len() > MAX_EVENTS || self.bytes > MAX_EVENT_BYTES {
            let Some(gone) = self.rows.pop_front() else { return };
            self.bytes -= gone.bytes();
            self.first += 1;
        }
    }

    /// Whether earlier events are missing.
    pub fn is_cut(&self) -> bool {
        self.first > 0
    }

    /// The first event, if earlier ones are missing.
    pub fn cut_at(&self) -> Option<&EventRow> {
        self.rows.front().filter(|_| self.is_cut())
    }

    pub fn get(&self, number: u64) -> Option<&EventRow> {
        self.rows.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &EventRow)> {
        self.rows.iter().enumerate().map(|(at, row)| (self.first + at as u64, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_the_past_reaches_far_back_and_is_fine_where_it_is_new() {
        let start = Instant::now();
        let mut times = Vec::new();
        // A tick a second for ten minutes, and space for twenty.
        for second in 0..600 {
            times.push(start + Duration::from_secs(second));
            if times.len() > 20 {
                times.remove(least_needed(&times));
            }
        }
        let ages: Vec<_> = times.iter().map(|at| 599 - (*at - start).as_secs()).collect();
        assert_eq!(ages.last(), Some(&0));
        assert!(ages.first().is_some_and(|age| *age >= 300), "{ages:?}");
        assert!(ages.contains(&1) && ages.contains(&2), "{ages:?}");
        let gaps: Vec<_> = ages.windows(2).map(|ages| (ages[0] - ages[1]) as f64 / ages[0] as f64).collect();
        assert!(gaps[1..15].iter().all(|gap| *gap < 0.75), "{ages:?}");
    }

    #[test]
    fn of_two_the_older_one_goes() {
        let now = Instant::now();
        assert_eq!(least_needed(&[now, now + Duration::from_secs(1)]), 0);
    }

    #[test]
    fn events_are_bounded_by_number_and_bytes_and_what_goes_is_counted() {
        let row = |text: String| EventRow { at: None, topic: "".into(), word: "".into(), text, lost: 0 };
        let mut log = EventLog::default();
        (0..MAX_EVENTS + 5).for_each(|_| log.push(row("x".into())));
        assert_eq!((log.iter().count(), log.first), (MAX_EVENTS, 5));
        assert!(log.get(4).is_none() && log.get(5).is_some());
        log.push(row("x".repeat(MAX_EVENT_BYTES)));
        assert_eq!(log.iter().count(), 1);
    }
}
