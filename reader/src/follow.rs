//! Following the events of a node until its end, and merging those of several nodes into one order.

use std::time::{Duration, Instant};

use atomscope_layout::decode::{Clock, Moment, RegionReader, rfc3339};
use atomscope_layout::follow::{Batch, Event, Follower, Loss};

use crate::attach::{AttachError, Region};
use crate::liveness::{Liveness, Note};
use crate::text::{clean, clean_path};

/// The time from which events are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// A time in nanoseconds since 1970, UTC.
    At(i128),
    /// A time before now, or before the time of the dump.
    Ago(Duration),
}

/// Reads the events of one node as they are published.
///
/// Reading never blocks the node. A follower that polls too rarely misses events, and learns exactly how many.
///
/// ```no_run
/// use std::time::Duration;
///
/// use atomscope::find::{Search, Target};
/// use atomscope::follow::{ItemKind, NodeFollower};
/// use atomscope::report::events::describe;
///
/// let attached = Search::default().attach(&Target::Node("orders".into()))?;
/// let mut follower = NodeFollower::new(attached.region, None)?;
/// while follower.end().is_none() {
///     for item in follower.poll(0) {
///         if let ItemKind::Event(event) = item.kind {
///             println!("{}", describe(&event.event).0);
///         }
///     }
///     std::thread::sleep(Duration::from_millis(100));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct NodeFollower {
    region: Region,
    follower: Follower,
    liveness: Liveness,
    node: String,
    pid: u64,
    clock: Option<Clock>,
    /// The start of the wanted events, and the time at which the caller gave it.
    since: Option<(Since, Moment)>,
    /// The greatest order of an item so far.
    latest: Option<i128>,
    /// Whether a notice has said that the path does not name the file any more.
    is_unnamed: bool,
    last_moment: LastMoment,
    end: Option<End>,
    notices: Vec<String>,
}

/// The end of a node whose process is about to say with what exit code it ends. A node closes its region before its process
/// ends, usually some milliseconds.
#[derive(Debug, Default)]
pub struct LastMoment(Option<Instant>);

impl LastMoment {
    /// How long a closed region is watched for more.
    pub const PATIENCE: Duration = Duration::from_secs(1);

    /// Whether the node has ended and no more is to be expected of its region.
    pub fn is_over(&mut self, liveness: &Liveness) -> bool {
        if liveness.verdict.is_alive() || !liveness.may_tell_more() {
            return !liveness.verdict.is_alive();
        }
        self.0.get_or_insert_with(Instant::now).elapsed() >= Self::PATIENCE
    }
}

/// How often the lanes are read in one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passes {
    None,
    One,
    Two,
}

/// Why no more events of a node will come.
#[derive(Debug)]
pub enum End {
    /// The node ended; all its events were read.
    Ended(Liveness),
    /// Its region could not be read any more.
    Failed(AttachError),
}

/// An event or a loss, with its order among the items of several nodes.
#[derive(Debug)]
pub struct Item {
    /// Its time in nanoseconds since 1970, UTC; `None` if the node's clock cannot be read, and `i128::MAX` for a loss after the
    /// last event.
    pub at_unix_ns: Option<i128>,
    /// The sort key among the items of all nodes: its time, or the time of an earlier item of its node if that was later.
    pub order: Option<i128>,
    /// The number of its node, as given to [`NodeFollower::poll`].
    pub source: usize,
    /// The event or the loss.
    pub kind: ItemKind,
}

/// The content of an [`Item`].
#[derive(Debug)]
pub enum ItemKind {
    /// An event.
    Event(Event),
    /// A loss of events.
    Loss(TimedLoss),
}

/// A loss of events, with the times of the events before and after it in RFC 3339.
#[derive(Debug)]
pub struct TimedLoss {
    /// The number of events, their lane, and the causes.
    pub loss: Loss,
    /// The time of the event before; `None` if there was none, or if its time is unknown.
    pub after: Option<String>,
    /// The time of the event after; `None` as above.
    pub before: Option<String>,
}

impl NodeFollower {
    /// Follows the events of a region from the oldest in its lanes, or from the time `since`. Events after `since` that the
    /// lanes no longer hold count as a loss.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn new(region: Region, since: Option<Since>) -> Result<Self, AttachError> {
        let start = if since.is_some() { Follower::from_first } else { Follower::from_oldest };
        Self::from(region, since, start)
    }

    /// Follows all events of a node that replaced a followed one. Events that its lanes no longer hold count as a loss.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_successor(region: Region) -> Result<Self, AttachError> {
        Self::from(region, None, Follower::from_first)
    }

    fn from(
        region: Region,
        since: Option<Since>,
        start: fn(&RegionReader<'_>) -> Follower,
    ) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let follower = start(&reader);
        let since = since.map(|since| (since, region.now()));
        let (node, pid) = (region.identity().node.clone(), region.pid());
        let clock = reader.clock();
        let (is_unnamed, end, latest, notices) = (false, None, None, Vec::new());
        let last_moment = LastMoment::default();
        Ok(Self {
            follower,
            liveness,
            node,
            pid,
            clock,
            since,
            latest,
            region,
            is_unnamed,
            last_moment,
            end,
            notices,
        })
    }

    /// The region that is followed.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The node's name. Not safe to print.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The node's process id.
    pub fn pid(&self) -> u64 {
        self.pid
    }

    /// Why no more events will come; `None` while the node is followed.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The node's name and process id. Safe to print.
    pub fn title(&self) -> String {
        format!("{} ({})", clean(&self.node), self.pid)
    }

    /// Sentences about changes of the node's state since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Reads new events and losses, in the order of their stamps. After the end there are none, see [`Self::end`].
    ///
    /// It costs a few system calls, a read of each lane and a copy of each new event. `source` is the caller's number for
    /// this node; [`due`] merges the items of several nodes.
    pub fn poll(&mut self, source: usize) -> Vec<Item> {
        self.poll_passes(source, Passes::One)
    }

    /// As [`Self::poll`], but reads the lanes a second time, for events that were published during the first pass and
    /// happened before events that it saw.
    pub fn poll_twice(&mut self, source: usize) -> Vec<Item> {
        self.poll_passes(source, Passes::Two)
    }

    /// As [`Self::poll`], but reads no events. A later poll counts those that the lanes have lost by then.
    pub fn look(&mut self) -> Vec<Item> {
        self.poll_passes(0, Passes::None)
    }

    fn poll_passes(&mut self, source: usize, passes: Passes) -> Vec<Item> {
        if self.end.is_some() {
            return Vec::new();
        }
        self.try_poll(source, passes).unwrap_or_else(|error| {
            self.end = Some(End::Failed(error));
            Vec::new()
        })
    }

    fn try_poll(&mut self, source: usize, wanted: Passes) -> Result<Vec<Item>, AttachError> {
        // Judged before the lanes are read: a node that is dead now has published all its events.
        let liveness = self.region.liveness()?;
        let ended = self.last_moment.is_over(&liveness) || self.region.dump_info().is_some();
        let reader = self.region.reader()?;
        let mut passes = Vec::new();
        if wanted != Passes::None {
            let first =
                if ended { self.follower.last_batch(&reader) } else { self.follower.next_batch(&reader) };
            passes.push(first);
        }
        if wanted == Passes::Two && !ended {
            passes.push(self.follower.next_batch(&reader));
        }
        // Read after the events, so that it has the clock samples of all their stamps.
        self.clock = reader.clock().or(self.clock.take());
        self.region.check_intact()?;
        // Events show already whether actors are left.
        let how = |liveness: &Liveness| (liveness.verdict, liveness.notes.without(Note::NoActorLeft));
        if liveness.verdict.is_alive() && how(&liveness) != how(&self.liveness) {
            self.notices.push(format!("{}: the node {} now", self.title(), liveness.said()));
        }
        self.liveness = liveness;
        if ended {
            self.end = Some(End::Ended(liveness));
        } else if liveness.verdict.is_alive() && !self.is_unnamed && !self.region.is_at_path() {
            self.is_unnamed = true;
            let file = clean_path(self.region.path());
            self.notices.push(format!(
                "{}: {file} is gone or another file now; its node lives and is followed",
                self.title()
            ));
        }
        Ok(passes.into_iter().flat_map(|pass| self.items(source, pass)).collect())
    }

    fn items(&mut self, source: usize, pass: Batch) -> Vec<Item> {
        let clock = self.clock.as_ref();
        let unix_ns = |stamp| clock.and_then(|clock| clock.unix_ns(stamp));
        let mut items: Vec<_> = pass
            .losses
            .into_iter()
            .map(|loss| {
                let time = |stamp: Option<u64>| stamp.and_then(unix_ns).map(rfc3339);
                let lost = TimedLoss { loss, after: time(loss.after), before: time(loss.before) };
                // Right before the event that follows the loss, or last if there is none.
                let (at, order) = loss.before.map_or((u64::MAX, 1), |before| (before, 0));
                (at, order, loss.before, ItemKind::Loss(lost))
            })
            .chain(
                pass.events
                    .into_iter()
                    .map(|event| (event.stamp, 1, Some(event.stamp), ItemKind::Event(event))),
            )
            .collect();
        items.sort_by_key(|(stamp, order, ..)| (*stamp, *order));
        let moment = |stamp| clock.and_then(|clock| clock.moment(stamp));
        let items = items.into_iter().map(|(_, _, stamp, kind)| (stamp.map(moment), kind));
        let items = items.filter(|(at, _)| at.flatten().is_none_or(|at| is_wanted(self.since.as_ref(), &at)));
        items
            .map(|(at, kind)| {
                let Some(at_unix_ns) = at.map(|at| at.map(|at| at.unix_ns)) else {
                    // A loss after the last event.
                    let last = Some(i128::MAX);
                    return Item { at_unix_ns: last, order: last, source, kind };
                };
                self.latest = at_unix_ns.max(self.latest);
                Item { at_unix_ns, order: self.latest, source, kind }
            })
            .collect()
    }
}

/// Whether `since` wants an event of the time `at`.
fn is_wanted(since: Option<&(Since, Moment)>, at: &Moment) -> bool {
    match since {
        None => true,
        Some((Since::At(unix_ns), _)) => at.unix_ns >= *unix_ns,
        Some((Since::Ago(age), given_at)) => given_at.since(at).is_none_or(|since| since <= *age),
    }
}

/// Merges the items of several nodes: returns those that no later poll can precede, in order, and keeps the rest in `held`
/// until the next poll.
///
/// `found` holds the items of one poll of all nodes. Whatever happened before an item of the previous poll was published
/// when this poll began, in whichever node. So items are final up to the last one of the previous poll.
pub fn due(held: &mut Vec<Item>, found: Vec<Item>) -> Vec<Item> {
    let mut due = std::mem::take(held);
    let last = due.iter().map(|item| item.order).max();
    let (before, after): (Vec<_>, _) =
        found.into_iter().partition(|item| last.is_some_and(|last| item.order <= last));
    due.extend(before);
    due.sort_by_key(|item| item.order);
    *held = after;
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(source: usize, at_unix_ns: i128) -> Item {
        let loss = Loss { lane: 0, lapped: 0, abandoned: 0, unreadable: 0, after: None, before: None };
        Item {
            at_unix_ns: Some(at_unix_ns),
            order: Some(at_unix_ns),
            source,
            kind: ItemKind::Loss(TimedLoss { loss, after: None, before: None }),
        }
    }

    fn times(items: &[Item]) -> Vec<(usize, i128)> {
        items.iter().map(|item| (item.source, item.at_unix_ns.unwrap())).collect()
    }

    #[test]
    fn what_another_node_did_before_comes_first_even_if_it_is_seen_a_look_later() {
        let mut held = Vec::new();
        assert_eq!(times(&due(&mut held, vec![item(0, 3), item(0, 5)])), []);
        assert_eq!(times(&due(&mut held, vec![item(1, 4), item(0, 6)])), [(0, 3), (1, 4), (0, 5)]);
        assert_eq!(times(&due(&mut held, Vec::new())), [(0, 6)]);
        assert!(due(&mut held, Vec::new()).is_empty() && held.is_empty());
    }
}
