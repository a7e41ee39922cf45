//! What is kept of the past, in bounded memory: whole ticks, fewer the longer ago; points for lines; events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tick::{EventRow, Point, Tick};

/// Ticks older than this are forgotten, however much room there is.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// Points that are kept: as many as the widest screen has columns, and more.
const MAX_POINTS: usize = 1024;
/// Events that are kept at most.
pub const MAX_EVENTS: usize = 20_000;
/// Bytes of their texts at most.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// Ticks of the past, the oldest first.
#[derive(Debug)]
pub struct History {
    ticks: VecDeque<Arc<Tick>>,
    most_bytes: usize,
}

impl History {
    pub fn new(most_bytes: usize) -> Self {
        Self { ticks: VecDeque::new(), most_bytes }
    }

    pub fn push(&mut self, tick: Arc<Tick>) {
        let now = tick.at;
        self.ticks.push_back(tick);
        while self.ticks.len() > 1 && self.ticks.front().is_some_and(|tick| now - tick.at > MAX_AGE) {
            self.ticks.pop_front();
        }
        self.thin();
    }

    /// From now on in so many bytes.
    pub fn limit(&mut self, most_bytes: usize) {
        self.most_bytes = most_bytes;
        // One by one would take long where very many must go.
        while self.ticks.len() > 1 && self.bytes() > self.most_bytes {
            let mut left = self.ticks.len();
            self.ticks.retain(|_| {
                left -= 1;
                left.is_multiple_of(2)
            });
        }
    }

    fn thin(&mut self) {
        while self.ticks.len() > 1 && self.bytes() > self.most_bytes {
            let times: Vec<_> = self.ticks.iter().map(|tick| tick.at).collect();
            self.ticks.remove(least_missed(&times));
        }
    }

    /// Bytes of memory, nearly. Ticks between which nothing changed have their actors in common.
    fn bytes(&self) -> usize {
        let mut last: Option<&Arc<Tick>> = None;
        let of = |tick| {
            let before = last.replace(tick);
            let lists = before.and_then(|before| before.listed.as_ref().zip(tick.listed.as_ref()));
            let is_same = lists.is_some_and(|(a, b)| Arc::ptr_eq(a, b));
            // Of the look before it keeps what rates are made of, even where that look itself was let go.
            let is_beside =
                before.zip(tick.before.as_ref()).is_some_and(|(a, (b, _))| Arc::ptr_eq(&a.snapshot, b));
            let kept = if is_beside { 1 } else { 2 };
            tick.beside_bytes * kept + if is_same { 0 } else { tick.actors_bytes() }
        };
        self.ticks.iter().map(of).sum()
    }

    /// The newest one that is older than `at`.
    pub fn before(&self, at: Instant) -> Option<&Arc<Tick>> {
        self.ticks.iter().rev().find(|tick| tick.at < at)
    }

    /// The oldest one that is newer than `at`.
    pub fn after(&self, at: Instant) -> Option<&Arc<Tick>> {
        self.ticks.iter().find(|tick| tick.at > at)
    }

    pub fn newest(&self) -> Option<&Arc<Tick>> {
        self.ticks.back()
    }

    /// How many there are, the time from the first to the last, and the bytes that they take, nearly.
    pub fn extent(&self) -> (usize, Duration, usize) {
        let ends = self.ticks.front().zip(self.ticks.back());
        let span = ends.map_or(Duration::ZERO, |(first, last)| last.at - first.at);
        (self.ticks.len(), span, self.bytes())
    }
}

/// Of ascending times the one whose absence makes the least gap for its age, so that the last minute stays fine and what
/// was before that gets coarse. Never the newest; the oldest only where there is no other.
fn least_missed(times: &[Instant]) -> usize {
    let Some(newest) = times.last() else { return 0 };
    let gap = |at: usize| {
        let gap = (times[at + 1] - times[at - 1]).as_secs_f64();
        gap / (*newest - times[at]).as_secs_f64().max(1e-3)
    };
    (1..times.len().saturating_sub(1)).min_by(|a, b| gap(*a).total_cmp(&gap(*b))).unwrap_or(0)
}

/// Points of the past, the oldest first.
#[derive(Debug, Default)]
pub struct Points(VecDeque<(Instant, Point)>);

impl Points {
    pub fn push(&mut self, at: Instant, point: Point) {
        if self.0.len() == MAX_POINTS {
            self.0.pop_front();
        }
        self.0.push_back((at, point));
    }

    /// Those until `at`, the newest first.
    pub fn until(&self, at: Instant) -> impl Iterator<Item = &Point> {
        self.0.iter().rev().filter(move |(of, _)| *of <= at).map(|(_, point)| point)
    }
}

/// Events, the oldest first, each with a number that stays its own.
#[derive(Debug, Clone, Default)]
pub struct EventLog {
    rows: VecDeque<EventRow>,
    /// The number of the first one that is kept.
    first: u64,
    bytes: usize,
    /// How many were missed, since the node is looked at.
    pub lost: u64,
}

impl EventLog {
    /// Of a node that was looked at before: there were events that are not here.
    pub fn after_others() -> Self {
        Self { first: 1, ..Self::default() }
    }

    pub fn push(&mut self, row: EventRow) {
        self.lost = self.lost.saturating_add(row.lost);
        self.bytes += row.text.len();
        self.rows.push_back(row);
        while self.rows.len() > MAX_EVENTS || self.bytes > MAX_EVENT_BYTES {
            let Some(gone) = self.rows.pop_front() else { return };
            self.bytes -= gone.text.len();
            self.first += 1;
        }
    }

    /// Whether there were others, before those that are kept.
    pub fn is_cut(&self) -> bool {
        self.first > 0
    }

    /// The first one that is kept, if there were others before it.
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
        // Ten minutes of one tick a second, of which twenty are kept.
        for second in 0..600 {
            times.push(start + Duration::from_secs(second));
            if times.len() > 20 {
                times.remove(least_missed(&times));
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
        assert_eq!(least_missed(&[now, now + Duration::from_secs(1)]), 0);
    }

    #[test]
    fn events_are_bounded_by_number_and_bytes_and_what_goes_is_counted() {
        let row = |text: String| EventRow { at: None, topic: "actors", word: "spawned", text, lost: 0 };
        let mut log = EventLog::default();
        (0..MAX_EVENTS + 5).for_each(|_| log.push(row("x".into())));
        assert_eq!((log.iter().count(), log.first), (MAX_EVENTS, 5));
        assert!(log.get(4).is_none() && log.get(5).is_some());
        log.push(row("x".repeat(MAX_EVENT_BYTES)));
        assert_eq!(log.iter().count(), 1);
    }
}
