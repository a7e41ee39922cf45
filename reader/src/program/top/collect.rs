//! The collector: the thread that reads the node and hands ticks to the screen. Only this thread touches regions and the
//! file system; the screen draws what it was handed.
//!
//! ```text
//!   screen ── Command ──► collector ── Message ──► screen
//! ```
//! While the screen has not received a tick, no other is read, so that at most one is pending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use atomscope::attach::RegionSummary;
use atomscope::find;
use atomscope::report::nodes::nodes;

use crate::program::target::{SearchArgs, search};
use crate::program::top::message::{Command, Message};
use crate::program::top::save::save;
use crate::program::top::tick::Wanted;
use crate::program::top::watch::WatchedNode;

/// The interval between two searches for the successor of a node that has ended.
const SUCCESSOR_EVERY: Duration = Duration::from_secs(2);
/// The interval, between two ticks, at which lanes are checked for events that could be overwritten.
const READ_AHEAD_EVERY: Duration = Duration::from_millis(100);

/// The collecting thread.
#[derive(Debug)]
pub struct Collector {
    pub search_args: SearchArgs,
    pub commands: Receiver<Command>,
    pub messages: SyncSender<Message>,
    /// Set by the collector when it sends a tick, cleared by the screen when it receives it.
    pub is_tick_pending: Arc<AtomicBool>,
    pub interval: Duration,
}

/// The node to read.
#[derive(Debug)]
struct Target {
    number: u64,
    summary: RegionSummary,
    /// `None` until its region could be attached.
    watched: Option<WatchedNode>,
}

impl Target {
    fn new(number: u64, summary: RegionSummary) -> Self {
        Self { number, summary, watched: None }
    }
}

/// The screen has ended, so that messages cannot be sent.
struct ScreenClosed;

impl Collector {
    /// Collects until the screen has ended. The first node has the number 0.
    pub fn run(self, first: Option<RegionSummary>) {
        let _ = self.collect(first.map(|summary| Target::new(0, summary)));
    }

    fn collect(mut self, mut target: Option<Target>) -> Result<(), ScreenClosed> {
        let (mut lists_nodes, mut wanted) = (false, Wanted::default());
        let mut next = Instant::now();
        let mut next_search = next;
        loop {
            let now = Instant::now();
            let watched = target.as_ref().and_then(|target| target.watched.as_ref());
            let reads_ahead =
                watched.is_some_and(|watched| !watched.has_ended()) && now + READ_AHEAD_EVERY < next;
            let wait = if reads_ahead { READ_AHEAD_EVERY } else { next.saturating_duration_since(now) };
            match self.commands.recv_timeout(wait) {
                Ok(Command::Watch(number, summary)) => {
                    target = summary.map(|summary| Target::new(number, *summary));
                    (next, next_search) = (now, now);
                }
                Ok(Command::Every(interval)) => {
                    next = next.min(now + interval);
                    self.interval = interval;
                }
                Ok(Command::Now) => next = now,
                Ok(Command::Nodes(is_wanted)) => {
                    lists_nodes = is_wanted;
                    next = if is_wanted { now } else { next };
                }
                Ok(Command::Want(new)) => {
                    next = if new.has_more_than(wanted) { now } else { next };
                    wanted = new;
                }
                Ok(Command::Save(path, tick)) => {
                    let saved = save(&path, watched.map(WatchedNode::region), tick);
                    self.send(Message::Saved(saved))?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if reads_ahead => {
                    // If the region is broken, the next tick reports it.
                    target
                        .iter_mut()
                        .flat_map(|target| &mut target.watched)
                        .for_each(WatchedNode::read_ahead);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(target) = &mut target {
                        self.read(target, wanted)?;
                        let has_ended = target.watched.as_ref().is_none_or(WatchedNode::has_ended);
                        if has_ended && target.summary.dump_info.is_none() && now >= next_search {
                            self.find_successor(target)?;
                            next_search = now + SUCCESSOR_EVERY;
                        }
                    }
                    if lists_nodes {
                        self.list_nodes()?;
                    }
                    // After a tick that took longer than the interval, the missed ones are skipped.
                    next = (next + self.interval).max(now);
                }
            }
        }
    }

    fn send(&self, message: Message) -> Result<(), ScreenClosed> {
        self.messages.send(message).map_err(|_| ScreenClosed)
    }

    /// Reads a tick of the target, which is attached first if it is not yet.
    fn read(&self, target: &mut Target, wanted: Wanted) -> Result<(), ScreenClosed> {
        let Target { number, summary, watched } = target;
        let has_ended = watched.as_ref().is_some_and(WatchedNode::has_ended);
        if has_ended || self.is_tick_pending.load(Ordering::Relaxed) {
            return Ok(());
        }
        let read = match watched {
            Some(watched) => watched.read(wanted),
            None => match WatchedNode::attach(summary, self.search_args.max_size) {
                Ok(new) if new.region().identity().header != summary.identity.header => {
                    let why = "its region has been replaced by that of another node";
                    return self.send(Message::Lost(*number, why.to_owned()));
                }
                attached => attached.and_then(|new| watched.insert(new).read(wanted)),
            },
        };
        match read {
            Ok((tick, events)) => {
                self.is_tick_pending.store(true, Ordering::Relaxed);
                self.send(Message::Tick(*number, Box::new(tick), events))
            }
            Err(error) => {
                watched.iter_mut().for_each(WatchedNode::give_up);
                self.send(Message::Lost(*number, error.to_string()))
            }
        }
    }

    fn find_successor(&self, ended: &Target) -> Result<(), ScreenClosed> {
        let Target { number, summary, .. } = ended;
        let candidates = [
            find::Target::File(summary.path.clone()),
            find::Target::Node(summary.identity.node.clone().into()),
        ];
        let last = summary.identity.birth();
        match search(&self.search_args).successor(candidates, Some(last), &[summary.inode]) {
            Some(found) => self.send(Message::Successor(*number, Box::new(found))),
            None => Ok(()),
        }
    }

    fn list_nodes(&self) -> Result<(), ScreenClosed> {
        let nodes = nodes(&search(&self.search_args), self.search_args.region.as_deref());
        self.send(Message::Nodes(nodes.map_err(|error| error.to_string())))
    }
}
