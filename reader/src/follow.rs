//! A node's events as they come, until its end.

use std::time::Duration;

use atomscope_layout::decode::{Clock, Moment, rfc3339};
use atomscope_layout::follow::{Event, Follower, Look, Loss};

use crate::attach::{AttachError, Region};
use crate::liveness::{Liveness, Note};
use crate::text::{clean, clean_path};

/// A time that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nanoseconds since 1970, UTC.
    At(i128),
    /// Before now, or before the dump was taken.
    Ago(Duration),
}

/// A node that is being followed.
#[derive(Debug)]
pub struct Following {
    region: Region,
    follower: Follower,
    liveness: Liveness,
    node: String,
    /// The node by name, or by name and process if it needs telling apart.
    pid: u64,
    clock: Option<Clock>,
    /// Nothing of before this is asked for, and when it was asked.
    since: Option<(Since, Moment)>,
    /// The latest order of an item so far.
    latest: Option<i128>,
    /// It has been said that its file's name is gone.
    is_unnamed: bool,
    end: Option<End>,
    notices: Vec<String>,
}

/// Why a node publishes no more events.
#[derive(Debug)]
pub enum End {
    /// The node ended; all its events were read.
    Ended(Liveness),
    /// Its region could not be read any more.
    Failed(AttachError),
}

/// An event or a loss, with its order among the items of all nodes.
#[derive(Debug)]
pub struct Item {
    /// Nanoseconds since 1970, UTC; `None` where the node's clock cannot be read: its stamps then have an order, and no time.
    pub at_unix_ns: Option<i128>,
    /// Its order among other nodes' items: its time, or that of an earlier one of its node if the clock was set back since.
    pub order: Option<i128>,
    /// The number of its node, as the caller counts nodes.
    pub source: usize,
    /// What happened.
    pub kind: ItemKind,
}

/// What an [`Item`] is.
#[derive(Debug)]
pub enum ItemKind {
    /// An event.
    Event(Event),
    /// Events that were lost.
    Lost(Lost),
}

/// A loss, with the times of the events before and after it, as RFC 3339.
#[derive(Debug)]
pub struct Lost {
    /// How many events, in which lane, and why.
    pub loss: Loss,
    /// The time of the event before.
    pub after: Option<String>,
    /// The time of the event after.
    pub before: Option<String>,
}

impl Following {
    /// Follows the events of a region: the oldest that is kept first, or the first that `since` asks for. Events of a successor
    /// of a node are followed from its first one, so that what was lost of them is counted.
    ///
    /// # Errors
    /// The region was damaged since it was attached to.
    pub fn new(region: Region, since: Option<Since>, is_successor: bool) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        // Events that are no longer kept, of a time that is asked for, are a loss.
        let follower = match (is_successor, since) {
            (false, None) => Follower::from_oldest(&reader),
            _ => Follower::from_first(&reader),
        };
        let since = since.map(|since| (since, region.now()));
        let (node, pid) = (region.identity().node.clone(), region.pid());
        let clock = reader.clock();
        let (is_unnamed, end, latest, notices) = (false, None, None, Vec::new());
        Ok(Self { follower, liveness, node, pid, clock, since, latest, region, is_unnamed, end, notices })
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The node's name, as it is: not safe to print.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The node's process.
    pub fn pid(&self) -> u64 {
        self.pid
    }

    /// Why no more events will come; `None` while the node is followed.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Node and process, safe to print, in the form that names them on the command line.
    pub fn title(&self) -> String {
        format!("{} ({})", clean(&self.node), self.pid)
    }

    /// Sentences about changes of the node's state since the last call.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// New events and losses, in order; none after the end. `twice` reads a second time, so that events that were published
    /// during the first pass are there too.
    pub fn poll(&mut self, source: usize, twice: bool) -> Vec<Item> {
        if self.end.is_some() {
            return Vec::new();
        }
        self.try_poll(source, twice).unwrap_or_else(|error| {
            self.end = Some(End::Failed(error));
            Vec::new()
        })
    }

    fn try_poll(&mut self, source: usize, twice: bool) -> Result<Vec<Item>, AttachError> {
        // Before the look: what a node that is dead by then has published is all there.
        let liveness = self.region.liveness()?;
        let ended = !liveness.verdict.is_alive() || self.region.dumped().is_some();
        let reader = self.region.reader()?;
        let mut looks =
            vec![if ended { self.follower.last_look(&reader) } else { self.follower.look(&reader) }];
        if twice && !ended {
            looks.push(self.follower.look(&reader));
        }
        // For what was read: a sighting of the clock may have come meanwhile.
        self.clock = reader.clock().or(self.clock.take());
        self.region.still_whole()?;
        // That its actors come and go, the events tell.
        let how = |liveness: &Liveness| (liveness.verdict, liveness.notes.without(Note::NoActorLeft));
        if !ended && how(&liveness) != how(&self.liveness) {
            self.notices.push(format!("{}: the node is {liveness} now", self.title()));
        }
        self.liveness = liveness;
        if ended {
            self.end = Some(End::Ended(liveness));
        } else if !self.is_unnamed && !self.region.is_at_its_path() {
            self.is_unnamed = true;
            let file = clean_path(self.region.path());
            self.notices.push(format!(
                "{}: {file} is gone or another file now; its node lives and is followed",
                self.title()
            ));
        }
        Ok(looks.into_iter().flat_map(|look| self.items(source, look)).collect())
    }

    fn items(&mut self, source: usize, look: Look) -> Vec<Item> {
        let clock = self.clock.as_ref();
        let unix_ns = |stamp| clock.and_then(|clock| clock.unix_ns(stamp));
        let mut items: Vec<_> = look
            .losses
            .into_iter()
            .map(|loss| {
                let time = |stamp: Option<u64>| stamp.map(|stamp| time_text(unix_ns(stamp)));
                let lost = Lost { loss, after: time(loss.after), before: time(loss.before) };
                // Right before the event that follows it, or last if there is none.
                let (at, order) = loss.before.map_or((u64::MAX, 1), |before| (before, 0));
                (at, order, loss.before, ItemKind::Lost(lost))
            })
            .chain(
                look.events
                    .into_iter()
                    .map(|event| (event.stamp, 1, Some(event.stamp), ItemKind::Event(event))),
            )
            .collect();
        items.sort_by_key(|(stamp, order, ..)| (*stamp, *order));
        let moment = |stamp| clock.and_then(|clock| clock.moment(stamp));
        let items = items.into_iter().map(|(_, _, stamp, kind)| (stamp.map(moment), kind));
        let items =
            items.filter(|(at, _)| at.flatten().is_none_or(|at| is_asked_for(self.since.as_ref(), &at)));
        items
            .map(|(at, kind)| {
                let Some(at_unix_ns) = at.map(|at| at.map(|at| at.unix_ns)) else {
                    // Nothing was read after it.
                    let last = Some(i128::MAX);
                    return Item { at_unix_ns: last, order: last, source, kind };
                };
                self.latest = at_unix_ns.max(self.latest);
                Item { at_unix_ns, order: self.latest, source, kind }
            })
            .collect()
    }
}

/// Whether what happened `at` is asked for by `since`, as it was asked at its time.
fn is_asked_for(since: Option<&(Since, Moment)>, at: &Moment) -> bool {
    match since {
        None => true,
        Some((Since::At(unix_ns), _)) => at.unix_ns >= *unix_ns,
        Some((Since::Ago(age), asked)) => asked.since(at).is_none_or(|since| since <= *age),
    }
}

/// As in JSON: empty where there is no time.
pub fn time_text(unix_ns: Option<i128>) -> String {
    unix_ns.map(rfc3339).unwrap_or_default()
}

/// Of what the look before has found and what this one has found all that nothing can come before any more; the rest is
/// held back for one look. ItemKind happened before anything that the look before has seen is there for this one, whichever
/// node it happened in.
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
            kind: ItemKind::Lost(Lost { loss, after: None, before: None }),
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
