//! `tail`: what happens in nodes, as it happens.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstyle::Style;
use atomscope::attach::{AttachError, AttachErrorKind, Inode, Region, stop_on_signals, wait};
use atomscope::find::{FindError, Who};
use atomscope::liveness::{Liveness, Note, Verdict};
use atomscope::text::{clean, clean_path, write_json};
use atomscope_layout::decode::{Birth, Clock, Moment, rfc3339};
use atomscope_layout::dto::ClusterMembershipDiff;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::follow::{Batch, Event, Follower, Loss};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{self, Place, Since};
use crate::commands::{attach, meant, search};
use crate::human::count;
use crate::output::{Failure, Out, note, to_people, to_stdout};
use crate::table::{BAD, GOOD, ODD, STRONG, Screen};

/// Between two looks at a region.
const EVERY: Duration = Duration::from_millis(50);
/// Between two looks for a node that is not there.
const SEARCH_EVERY: Duration = Duration::from_millis(500);
/// Events of before that are shown unless more are asked for.
const LINES: usize = 10;

/// One WHO of the command line, and the node that it is at the time.
#[derive(Debug)]
struct Source {
    who: Who,
    /// Where a successor may be too: the file that was asked for.
    file: Option<PathBuf>,
    following: Option<Following>,
    /// When the region that was followed last was made.
    last: Option<Birth>,
}

/// A node that is being followed.
#[derive(Debug)]
struct Following {
    region: Region,
    follower: Follower,
    liveness: Liveness,
    node: String,
    /// The node by name, or by name and process if it needs telling apart.
    pid: u64,
    clock: Option<Clock>,
    /// Nothing of before this is asked for, and when it was asked.
    since: Option<(Since, Moment)>,
    /// The latest place of an item so far.
    place: Option<i128>,
    /// It has been said that its file's name is gone.
    is_unnamed: bool,
    end: Option<End>,
}

/// Why there is nothing more to come of a node.
#[derive(Debug)]
enum End {
    Ended(Liveness),
    Failed(AttachError),
}

/// Something to be told, in its place.
#[derive(Debug)]
struct Item {
    /// `None` where the node's clock cannot be read: its stamps then have an order, and no time.
    at_unix_ns: Option<i128>,
    /// Its place among other nodes' items: its time, or that of an earlier one of its node if the clock was set back since.
    place: Option<i128>,
    source: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Event(Event),
    Lost(Lost),
}

/// A loss, in times.
#[derive(Debug)]
struct Lost {
    loss: Loss,
    after: Option<String>,
    before: Option<String>,
}

impl Following {
    fn new(region: Region, since: Option<Since>, is_successor: bool) -> Result<Self, Failure> {
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        // What is no longer kept of a time that is asked for is a loss.
        let follower = match (is_successor, since) {
            (false, None) => Follower::from_oldest(&reader),
            _ => Follower::from_first(&reader),
        };
        let since = since.map(|since| (since, region.now()));
        let (node, pid) = (region.identity().node.clone(), region.pid());
        let clock = reader.clock();
        let (is_unnamed, end, place) = (false, None, None);
        Ok(Self { follower, liveness, node, pid, clock, since, place, region, is_unnamed, end })
    }

    /// What is new, until the end.
    fn look(&mut self, source: usize, twice: bool) -> Vec<Item> {
        if self.end.is_some() {
            return Vec::new();
        }
        self.try_look(source, twice).unwrap_or_else(|error| {
            self.end = Some(End::Failed(error));
            Vec::new()
        })
    }

    fn try_look(&mut self, source: usize, twice: bool) -> Result<Vec<Item>, AttachError> {
        // Before the look: what a node that is dead by then has published is all there.
        let liveness = self.region.liveness()?;
        let ended = !liveness.verdict.is_alive() || self.region.dumped().is_some();
        let reader = self.region.reader()?;
        let mut looks =
            vec![if ended { self.follower.last_batch(&reader) } else { self.follower.next_batch(&reader) }];
        if twice && !ended {
            looks.push(self.follower.next_batch(&reader));
        }
        // For what was read: a sighting of the clock may have come meanwhile.
        self.clock = reader.clock().or(self.clock.take());
        self.region.still_whole()?;
        // That its actors come and go, the events tell.
        let how = |liveness: &Liveness| (liveness.verdict, liveness.notes.without(Note::NoActorLeft));
        if !ended && how(&liveness) != how(&self.liveness) {
            note(&format!("{}: the node is {liveness} now", self.title()));
        }
        self.liveness = liveness;
        if ended {
            self.end = Some(End::Ended(liveness));
        } else if !self.is_unnamed && !self.region.is_at_its_path() {
            self.is_unnamed = true;
            let file = clean_path(self.region.path());
            note(&format!(
                "{}: {file} is gone or another file now; its node lives and is followed",
                self.title()
            ));
        }
        Ok(looks.into_iter().flat_map(|look| self.items(source, look)).collect())
    }

    fn items(&mut self, source: usize, look: Batch) -> Vec<Item> {
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
                (at, order, loss.before, What::Lost(lost))
            })
            .chain(
                look.events.into_iter().map(|event| (event.stamp, 1, Some(event.stamp), What::Event(event))),
            )
            .collect();
        items.sort_by_key(|(stamp, order, ..)| (*stamp, *order));
        let moment = |stamp| clock.and_then(|clock| clock.moment(stamp));
        let items = items.into_iter().map(|(_, _, stamp, what)| (stamp.map(moment), what));
        let items =
            items.filter(|(at, _)| at.flatten().is_none_or(|at| is_asked_for(self.since.as_ref(), &at)));
        items
            .map(|(at, what)| {
                let Some(at_unix_ns) = at.map(|at| at.map(|at| at.unix_ns)) else {
                    // Nothing was read after it.
                    let last = Some(i128::MAX);
                    return Item { at_unix_ns: last, place: last, source, what };
                };
                self.place = at_unix_ns.max(self.place);
                Item { at_unix_ns, place: self.place, source, what }
            })
            .collect()
    }

    /// Node and process, in the form in which they can be asked for.
    fn title(&self) -> String {
        format!("{} ({})", clean(&self.node), self.pid)
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
fn time_text(unix_ns: Option<i128>) -> String {
    unix_ns.map(rfc3339).unwrap_or_default()
}

pub fn tail(place: &Place, args: cli::Tail) -> Result<(), Failure> {
    let whos: Vec<Option<OsString>> =
        if args.who.is_empty() { vec![None] } else { args.who.iter().cloned().map(Some).collect() };
    stop_on_signals();
    let mut sources: Vec<Source> = Vec::new();
    for who in whos {
        let source = Source::new(place, who, &args)?;
        match sources.iter().find(|other| other.is(&source)) {
            Some(_) => note(&format!("{} is named more than once, and told once", source.who)),
            None => sources.push(source),
        }
    }
    let several = sources.len() > 1;
    let form = Form { json: args.json, several, screen: Screen::stdout() };
    let (mut is_first, mut failure) = (true, None);
    let mut held = Vec::new();
    let mut next_search = Instant::now() + SEARCH_EVERY;
    loop {
        let is_over = args.no_follow && is_first;
        let holds_back = several && !is_over;
        // What is held back of those is told after this look.
        let ended_before: Vec<_> = sources.iter().map(Source::has_ended).collect();
        let mut items = Vec::new();
        for (number, source) in sources.iter_mut().enumerate() {
            if let Some(following) = &mut source.following {
                items.extend(following.look(number, is_over));
            }
        }
        items.retain(|item| is_wanted(item, &args.topic));
        // Each node's are in order already, and stay so.
        items.sort_by_key(|item| item.place);
        if is_first {
            leave_newest(&mut items, args.lines.or(args.since.is_none().then_some(LINES)));
        }
        if holds_back {
            items = due(&mut held, items);
        }
        form.write(&items, &sources)?;
        is_first = false;
        for (source, ended_before) in sources.iter_mut().zip(ended_before) {
            if source.has_ended() && (ended_before || !holds_back) {
                failure = source.end(&args)?.or(failure);
            }
        }
        let is_idle = sources.iter().all(|source| source.following.is_none());
        if is_over || is_idle && !args.retry || !wait(EVERY) {
            form.write(&held, &sources)?;
            return failure.map_or(Ok(()), Err);
        }
        if args.retry && Instant::now() >= next_search {
            let mut followed: Vec<Inode> = sources.iter().filter_map(Source::inode).collect();
            for source in sources.iter_mut().filter(|source| source.following.is_none()) {
                source.find_successor(place, &followed);
                followed.extend(source.inode());
            }
            next_search = Instant::now() + SEARCH_EVERY;
        }
    }
}

/// Of what the look before has found and what this one has found all that nothing can come before any more; the rest is
/// held back for one look. What happened before anything that the look before has seen is there for this one, whichever
/// node it happened in.
fn due(held: &mut Vec<Item>, found: Vec<Item>) -> Vec<Item> {
    let mut due = std::mem::take(held);
    let last = due.iter().map(|item| item.place).max();
    let (before, after): (Vec<_>, _) =
        found.into_iter().partition(|item| last.is_some_and(|last| item.place <= last));
    due.extend(before);
    due.sort_by_key(|item| item.place);
    *held = after;
    due
}

/// Whether it is of a topic that is asked for. Nobody knows of which topic something lost was.
fn is_wanted(item: &Item, topics: &[String]) -> bool {
    match &item.what {
        What::Event(event) => topics.is_empty() || topics.iter().any(|topic| topic == event.event.topic()),
        What::Lost(_) => true,
    }
}

/// Of what was there before only the newest events, and what was lost among them.
fn leave_newest(items: &mut Vec<Item>, most: Option<usize>) {
    let Some(most) = most else { return };
    let events = items.iter().enumerate().filter(|(_, item)| matches!(item.what, What::Event(_)));
    let mut first = events.map(|(at, _)| at).rev();
    let cut = match most.checked_sub(1) {
        Some(before) => first.nth(before).unwrap_or(0),
        None => items.len(),
    };
    items.drain(..cut);
}

impl Source {
    fn new(place: &Place, who: Option<OsString>, args: &cli::Tail) -> Result<Self, Failure> {
        let meant = meant(place, who.clone())?;
        let file = match &meant {
            Who::File(path) => Some(path.clone()),
            _ => None,
        };
        if args.retry && !matches!(meant, Who::Process { .. }) {
            let absent = match search(place).choose(&meant) {
                Err(error @ (FindError::NoNode { .. } | FindError::Nothing { .. })) => Some(error),
                Err(FindError::Attach(error))
                    if matches!(error.why, AttachErrorKind::NotReady { .. } | AttachErrorKind::Missing) =>
                {
                    Some(error.into())
                }
                Err(error) => return Err(error.into()),
                Ok(_) => None,
            };
            if let Some(error) = absent {
                note(&format!("{error}; waiting for it"));
                return Ok(Self { who: meant, file, following: None, last: None });
            }
        }
        let chosen = attach(place, who)?;
        let region = chosen.region;
        let created = region.identity().birth();
        if let Some(taken) = region.dumped() {
            let state = taken.liveness.verdict.word();
            note(&format!("this is a dump of a {state} node, taken at {}", rfc3339(taken.unix_ns)));
        } else if let Verdict::Wedged(_) = chosen.liveness.verdict {
            note(&format!("the node is {}", chosen.liveness));
        }
        let who = Who::Node(region.identity().node.clone().into());
        let following = Following::new(region, args.since, false)?;
        Ok(Self { who, file, following: Some(following), last: Some(created) })
    }

    /// Whether both mean the same node, or wait for the same.
    fn is(&self, other: &Self) -> bool {
        match (self.inode(), other.inode()) {
            (None, None) => self.who == other.who,
            (one, another) => one == another,
        }
    }

    fn has_ended(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.end.is_some())
    }

    /// Says how it has ended, and lets go of it; gives what makes the whole a failure.
    fn end(&mut self, args: &cli::Tail) -> Result<Option<Failure>, Failure> {
        let Some(following) = self.following.take() else { return Ok(None) };
        if following.region.dumped().is_some() && !matches!(following.end, Some(End::Failed(_))) {
            return Ok(None);
        }
        let waiting = if args.retry { "; waiting for its successor" } else { "" };
        let title = following.title();
        let (state, why, failure) = match &following.end {
            Some(End::Ended(liveness)) => {
                note(&format!("{title} has ended: {liveness}{waiting}"));
                (liveness.verdict.word(), liveness.why(), None)
            }
            Some(End::Failed(error)) => {
                note(&format!("{title}: {error}{waiting}"));
                (
                    error.why.word(),
                    Some(error.why.to_string()),
                    Some(Failure::Failed("not everything could be followed to its end".into())),
                )
            }
            None => return Ok(None),
        };
        if args.json {
            let (node, pid) = (&following.node, following.pid);
            to_stdout(|out| write_json(out, &Line::Ended { node, pid, state, why: why.as_deref() }))?;
        }
        Ok(failure.filter(|_| !args.retry))
    }

    fn inode(&self) -> Option<Inode> {
        self.following.as_ref().map(|following| following.region.inode())
    }

    /// Goes on with a node of the same name that was made later than the one that ended, and that no other source
    /// follows.
    fn find_successor(&mut self, place: &Place, followed: &[Inode]) {
        let search = search(place);
        let meant = self.file.clone().map(Who::File).into_iter().chain([self.who.clone()]);
        let Some(glance) = search.successor(meant, self.last, followed) else { return };
        let created = glance.identity.birth();
        let Ok(region) = glance.open(search.max_bytes) else { return };
        let Ok(following) = Following::new(region, None, true) else { return };
        note(&format!("following {}", following.title()));
        self.who = Who::Node(following.node.clone().into());
        (self.following, self.last) = (Some(following), Some(created));
    }
}

/// A line of `tail --json` that is no event.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Lost {
        node: &'a str,
        pid: u64,
        lane: usize,
        /// All of them.
        lost: u64,
        lapped: u64,
        abandoned: u64,
        unreadable: u64,
        after: Option<&'a str>,
        before: Option<&'a str>,
    },
    Ended {
        node: &'a str,
        pid: u64,
        state: &'static str,
        why: Option<&'a str>,
    },
}

/// A line of `tail --json` that is one.
#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    event: &'a TelemetryEvent,
    topic: &'static str,
    at: &'a str,
    stamp: u64,
    lane: usize,
    node: &'a str,
    pid: u64,
}

/// How it is written.
#[derive(Debug)]
struct Form {
    json: bool,
    several: bool,
    screen: Screen,
}

impl Form {
    fn write(&self, items: &[Item], sources: &[Source]) -> Result<(), Failure> {
        if items.is_empty() {
            return Ok(());
        }
        let write = |out: &mut Out<'_>| {
            for item in items {
                let Some(from) = &sources[item.source].following else { continue };
                if self.json { json(out, item, from)? } else { self.text(out, item, from)? }
            }
            Ok(())
        };
        if self.json { to_stdout(write) } else { to_people(write) }
    }

    fn text(&self, out: &mut dyn Write, item: &Item, from: &Following) -> io::Result<()> {
        let style = |style| if self.screen.colours { style } else { Style::new() };
        let node = if self.several { format!("{} ", from.title()) } else { String::new() };
        match &item.what {
            What::Event(event) => {
                let (word, colour, text) = describe(&event.event);
                let (colour, dim) = (style(colour), style(Style::new().dimmed()));
                let time = item.at_unix_ns.and_then(|unix_ns| Timestamp::from_nanosecond(unix_ns).ok());
                let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.6}"));
                writeln!(out, "{dim}{time}{dim:#} {node}{colour}{word:<11}{colour:#} {}", clean(&text))
            }
            What::Lost(lost) => {
                let (bad, text) = (style(BAD), describe_loss(lost));
                writeln!(out, "{bad}-- {node}{text}{bad:#}")
            }
        }
    }
}

fn json(out: &mut dyn Write, item: &Item, from: &Following) -> io::Result<()> {
    let (node, pid) = (from.node.as_str(), from.pid);
    match &item.what {
        What::Event(Event { stamp, lane, event }) => {
            let (at, topic) = (&time_text(item.at_unix_ns), event.topic());
            write_json(out, &EventLine { event, topic, at, stamp: *stamp, lane: *lane, node, pid })
        }
        What::Lost(Lost { loss, after, before }) => {
            let Loss { lane, lapped, abandoned, unreadable, .. } = *loss;
            let lost = loss.all();
            let (after, before) = (after.as_deref(), before.as_deref());
            write_json(
                out,
                &Line::Lost { node, pid, lane, lost, lapped, abandoned, unreadable, after, before },
            )
        }
    }
}

/// How many, of which lane, why, and between which times.
fn describe_loss(lost: &Lost) -> String {
    let when = match (&lost.after, &lost.before) {
        (Some(after), Some(before)) => format!("between {after} and {before}"),
        (Some(after), None) => format!("after {after}"),
        (None, Some(before)) => format!("before {before}"),
        (None, None) => "all there was".to_owned(),
    };
    format!("{}; {when}", count_loss(&lost.loss))
}

/// How many, of which lane, and why.
pub fn count_loss(loss: &Loss) -> String {
    let Loss { lane, lapped, abandoned, unreadable, .. } = *loss;
    let causes =
        [(lapped, "overwritten"), (abandoned, "given up by their writers"), (unreadable, "unreadable")];
    let causes: Vec<_> =
        causes.iter().filter(|(n, _)| *n > 0).map(|(number, cause)| format!("{number} {cause}")).collect();
    format!("{} of lane {lane} lost: {}", count(loss.all(), "event", "events"), causes.join(", "))
}

/// A word, its colour, and the rest.
pub fn describe(event: &TelemetryEvent) -> (&'static str, Style, String) {
    let plain = Style::new();
    match event {
        TelemetryEvent::ActorSpawned(actor) => {
            let host = actor.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            ("spawned", GOOD, format!("{} {}{host}", actor.path, actor.actor_type))
        }
        TelemetryEvent::ActorStopped { path } => ("stopped", plain, path.clone()),
        TelemetryEvent::MailboxSampled { path, depth } => {
            ("mailbox", plain, format!("{path} {}", count(*depth, "message", "messages")))
        }
        TelemetryEvent::DeadLetter(letter) => {
            let from = letter.sender.as_ref().map(|sender| format!(" from {sender}")).unwrap_or_default();
            let preview = &letter.message_preview;
            let preview = if preview.is_empty() { String::new() } else { format!(": {preview}") };
            ("dead letter", ODD, format!("{} to {}{from}{preview}", letter.message_type, letter.recipient))
        }
        TelemetryEvent::ClusterChanged(change) => ("cluster", STRONG, describe_change(change)),
        TelemetryEvent::ShardingChanged(change) => {
            ("sharding", plain, format!("{} shard {}: {}", change.region_id, change.shard_id, change.event))
        }
        TelemetryEvent::JournalWrite(write) => {
            ("journal", plain, format!("{} {} #{}", write.journal, write.persistence_id, write.sequence_nr))
        }
        TelemetryEvent::RemoteAssociation(to) => {
            let (inbound, outbound) = (to.inbound_bytes, to.outbound_bytes);
            let text =
                format!("{} {}, {inbound} bytes in, {outbound} bytes out", to.remote_address, to.state);
            ("remote", plain, text)
        }
        TelemetryEvent::StreamsGraphStarted { id, name } => ("stream", GOOD, format!("{id} started: {name}")),
        TelemetryEvent::StreamsGraphFinished { id } => ("stream", plain, format!("{id} finished")),
        TelemetryEvent::DDataUpdated { key } => ("ddata", plain, format!("{key} updated")),
    }
}

fn describe_change(change: &ClusterMembershipDiff) -> String {
    let mut parts = Vec::new();
    for (word, members) in [("added", &change.added), ("updated", &change.updated)] {
        parts.extend(members.iter().map(|member| format!("{word} {} ({})", member.address, member.status)));
    }
    for (word, addresses) in [
        ("removed", &change.removed),
        ("unreachable", &change.became_unreachable),
        ("reachable again", &change.became_reachable),
    ] {
        parts.extend(addresses.iter().map(|address| format!("{word} {address}")));
    }
    if parts.is_empty() { "nothing changed".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(source: usize, at_unix_ns: i128) -> Item {
        let loss = Loss { lane: 0, lapped: 0, abandoned: 0, unreadable: 0, after: None, before: None };
        Item {
            at_unix_ns: Some(at_unix_ns),
            place: Some(at_unix_ns),
            source,
            what: What::Lost(Lost { loss, after: None, before: None }),
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
