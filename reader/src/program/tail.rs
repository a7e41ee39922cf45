//! `tail`: the events of nodes as they happen.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstyle::Style;
use atomscope::attach::{AttachErrorKind, Inode};
use atomscope::find::{FindError, Target};
use atomscope::follow::{End, Item, ItemKind, NodeFollower, Since, TimedLoss, due};
use atomscope::liveness::Verdict;
use atomscope::report::events::{describe, loss_text};
use atomscope::system::{stop_on_signals, wait};
use atomscope::text::{clean, write_json};
use atomscope_layout::decode::{Birth, rfc3339};
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::follow::{Event, Loss};
use clap::Args;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use jiff::Timestamp;
use serde::Serialize;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, Out, note, to_people, to_stdout};
use crate::program::table::{BAD, Screen, tone_style};
use crate::program::target::{SearchArgs, attach, search, target};
use crate::program::values::parse_since;

/// Print the events of nodes as they happen: actors spawned and stopped, dead letters and more.
#[derive(Debug, Args)]
#[command(after_help = format!("\
The first events are the newest 10 that the node still keeps. All lanes of a node are merged, so that no event comes \
before its cause. If events are lost, a line says how many, in which lane, and between which times. Events of several \
nodes are sorted by time; for this they are delayed by 50 ms. A node that is named twice is followed once.

--json writes one object a line: `kind` and its fields as in atomr_telemetry's TelemetryEvent, and topic, at, stamp, \
lane, node, pid. Two kinds are not events: `lost` (lane, lost = lapped + abandoned + unreadable, after, before) and \
`ended` (state, why; the state is corrupt if the file was truncated or overwritten).

Exit code: 0, also when the nodes end; 1 if a node cannot be found, or a region breaks and --retry is not given.

Examples:
  atomscope tail shop
  atomscope tail shop depot --topic dead_letters
  atomscope tail shop --since 5m --no-follow --json | jq -r 'select(.kind == \"lost\").lost'
  atomscope tail shop --retry

{WHO_HELP}"))]
pub struct TailArgs {
    /// The nodes: pids, files or names.
    pub who: Vec<OsString>,
    /// Print only events of this topic, or of a topic that the application named; may be given several times.
    #[arg(long, value_name = "TOPIC", value_parser = TopicParser)]
    pub topic: Vec<String>,
    /// Start with the newest N events; without it, the newest 10, or all events after --since.
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Print no events before TIME: RFC 3339, such as 2030-01-31T12:00:00Z, or an age, such as 30s, 5m, 2h or 1d.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// End after the events so far.
    #[arg(long)]
    pub no_follow: bool,
    /// If a node is missing or has ended, wait for the next one with its name, or in its file if a file was named.
    #[arg(long, conflicts_with = "no_follow")]
    pub retry: bool,
    /// Write JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

/// Knows the built-in topics, for help and completions, and takes all others too: an application names its own.
#[derive(Debug, Clone)]
struct TopicParser;

impl TypedValueParser for TopicParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(TelemetryEvent::ALL_TOPICS.iter().map(PossibleValue::new)))
    }
}

/// The interval between two polls of a region.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// The interval between two searches for a missing node.
const SEARCH_EVERY: Duration = Duration::from_millis(500);
/// The default of `--lines`.
const DEFAULT_LINES: usize = 10;

/// One WHO of the command line, and the node that it currently is.
#[derive(Debug)]
struct Source {
    who: Target,
    /// The file of WHO, if it is one: a successor may be there too.
    file: Option<PathBuf>,
    /// `None` while the node is missing.
    follower: Option<NodeFollower>,
    /// The creation of the last region that was followed; successors are newer.
    last: Option<Birth>,
}

pub fn tail(search_args: &SearchArgs, args: TailArgs) -> Result<(), Failure> {
    let whos: Vec<Option<OsString>> =
        if args.who.is_empty() { vec![None] } else { args.who.iter().cloned().map(Some).collect() };
    stop_on_signals();
    let mut sources: Vec<Source> = Vec::new();
    for who in whos {
        let source = Source::new(search_args, who, &args)?;
        match sources.iter().find(|other| other.is_same_as(&source)) {
            Some(_) => note(&format!("{} is named more than once, and followed once", source.who)),
            None => sources.push(source),
        }
    }
    let several = sources.len() > 1;
    let format = Format { json: args.json, several, screen: Screen::stdout() };
    let (mut is_first, mut failure) = (true, None);
    let mut held = Vec::new();
    let mut next_search = Instant::now() + SEARCH_EVERY;
    loop {
        let is_over = args.no_follow && is_first;
        let holds_back = several && !is_over;
        // Their events may still be held back, so that their end is reported one round later.
        let ended_before: Vec<_> = sources.iter().map(Source::has_ended).collect();
        let mut items = Vec::new();
        for (number, source) in sources.iter_mut().enumerate() {
            if let Some(follower) = &mut source.follower {
                items.extend(if is_over { follower.poll_twice(number) } else { follower.poll(number) });
                follower.notices().iter().for_each(|text| note(text));
            }
        }
        let unknown = if is_first { unknown_topics(&args.topic, &items, &sources) } else { Vec::new() };
        items.retain(|item| is_wanted(item, &args.topic));
        // The sort is stable, so the events of a node stay in their order.
        items.sort_by_key(|item| item.order);
        if is_first {
            keep_newest(&mut items, args.lines.or(args.since.is_none().then_some(DEFAULT_LINES)));
        }
        if holds_back {
            items = due(&mut held, items);
        }
        format.write(&items, &sources)?;
        for topic in unknown {
            let (topic, topics) = (clean(topic), TelemetryEvent::ALL_TOPICS.join(", "));
            note(&format!(
                "no topic {topic} is known so far, but an application may still name it; the built-in ones are {topics}"
            ));
        }
        is_first = false;
        for (source, ended_before) in sources.iter_mut().zip(ended_before) {
            if source.has_ended() && (ended_before || !holds_back) {
                failure = source.end(&args)?.or(failure);
            }
        }
        let is_idle = sources.iter().all(|source| source.follower.is_none());
        if is_over || is_idle && !args.retry || !wait(POLL_EVERY) {
            format.write(&held, &sources)?;
            return failure.map_or(Ok(()), Err);
        }
        if args.retry && Instant::now() >= next_search {
            let mut followed: Vec<Inode> = sources.iter().filter_map(Source::inode).collect();
            for source in sources.iter_mut().filter(|source| source.follower.is_none()) {
                source.find_successor(search_args, &followed);
                followed.extend(source.inode());
            }
            next_search = Instant::now() + SEARCH_EVERY;
        }
    }
}

/// The selected topics that are not built-in, and that no node has named or published to so far. Of nodes that are missing
/// nothing is known.
fn unknown_topics<'a>(topics: &'a [String], items: &[Item], sources: &[Source]) -> Vec<&'a str> {
    let mut unknown: Vec<&str> = topics.iter().map(String::as_str).collect();
    unknown.retain(|topic| !TelemetryEvent::ALL_TOPICS.contains(topic));
    if unknown.is_empty() {
        return unknown;
    }
    let published: HashSet<&str> = items
        .iter()
        .filter_map(|item| match &item.kind {
            ItemKind::Event(event) => Some(event.event.topic()),
            ItemKind::Loss(_) => None,
        })
        .collect();
    unknown.retain(|topic| !published.contains(topic));
    for source in sources {
        match source.follower.as_ref().and_then(|follower| follower.region().reader().ok()) {
            Some(reader) => unknown.retain(|topic| !reader.has_name(topic)),
            None => unknown.clear(),
        }
    }
    unknown
}

/// Whether an item belongs to the selected topics. The topic of lost events is unknown, so losses are always shown.
fn is_wanted(item: &Item, topics: &[String]) -> bool {
    match &item.kind {
        ItemKind::Event(event) => {
            topics.is_empty() || topics.iter().any(|topic| topic == event.event.topic())
        }
        ItemKind::Loss(_) => true,
    }
}

/// Keeps the newest `most` events, and the losses among them.
fn keep_newest(items: &mut Vec<Item>, most: Option<usize>) {
    let Some(most) = most else { return };
    let events = items.iter().enumerate().filter(|(_, item)| matches!(item.kind, ItemKind::Event(_)));
    let mut first = events.map(|(at, _)| at).rev();
    let cut = match most.checked_sub(1) {
        Some(before) => first.nth(before).unwrap_or(0),
        None => items.len(),
    };
    items.drain(..cut);
}

impl Source {
    fn new(search_args: &SearchArgs, who: Option<OsString>, args: &TailArgs) -> Result<Self, Failure> {
        let target = target(search_args, who.clone())?;
        let file = match &target {
            Target::File(path) => Some(path.clone()),
            _ => None,
        };
        if args.retry && !matches!(target, Target::Process { .. }) {
            let absent = match search(search_args).select(&target) {
                Err(error @ (FindError::NoNode { .. } | FindError::Nothing { .. })) => Some(error),
                Err(FindError::Attach(error))
                    if matches!(error.kind, AttachErrorKind::NotReady { .. } | AttachErrorKind::Missing) =>
                {
                    Some(error.into())
                }
                Err(error) => return Err(error.into()),
                Ok(_) => None,
            };
            if let Some(error) = absent {
                note(&format!("{error}; waiting for the node"));
                return Ok(Self { who: target, file, follower: None, last: None });
            }
        }
        let attached = attach(search_args, who)?;
        let region = attached.region;
        let created = region.identity().birth();
        if let Some(info) = region.dump_info() {
            note(&info.caveat());
        } else if let Verdict::Wedged(_) = attached.liveness.verdict {
            note(&format!("the node {}", attached.liveness.said()));
        }
        let who = Target::Node(region.identity().node.clone().into());
        let follower = NodeFollower::new(region, args.since)?;
        Ok(Self { who, file, follower: Some(follower), last: Some(created) })
    }

    /// Whether both follow the same node, or wait for the same one.
    fn is_same_as(&self, other: &Self) -> bool {
        match (self.inode(), other.inode()) {
            (None, None) => self.who == other.who,
            (one, another) => one == another,
        }
    }

    fn has_ended(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.end().is_some())
    }

    /// Reports how the node has ended, and detaches it. Returns a failure for the exit code if its region broke.
    fn end(&mut self, args: &TailArgs) -> Result<Option<Failure>, Failure> {
        let Some(follower) = self.follower.take() else { return Ok(None) };
        if follower.region().dump_info().is_some() && !matches!(follower.end(), Some(End::Failed(_))) {
            return Ok(None);
        }
        let waiting = if args.retry { "; waiting for its successor" } else { "" };
        let title = follower.title();
        let (state, why, failure) = match follower.end() {
            Some(End::Ended(liveness)) => {
                note(&format!("{title} has ended: {liveness}{waiting}"));
                (liveness.verdict.word(), liveness.why(), None)
            }
            Some(End::Failed(error)) => {
                note(&format!("{title}: {error}{waiting}"));
                (
                    error.kind.word(),
                    Some(error.kind.to_string()),
                    Some(Failure::Failed("not every node could be followed to its end".into())),
                )
            }
            None => return Ok(None),
        };
        if args.json {
            let (node, pid) = (follower.node(), follower.pid());
            to_stdout(|out| write_json(out, &Line::Ended { node, pid, state, why: why.as_deref() }))?;
        }
        Ok(failure.filter(|_| !args.retry))
    }

    fn inode(&self) -> Option<Inode> {
        self.follower.as_ref().map(|follower| follower.region().inode())
    }

    /// Follows a newer node of the same name that no other source follows.
    fn find_successor(&mut self, search_args: &SearchArgs, followed: &[Inode]) {
        let search = search(search_args);
        let candidates = self.file.clone().map(Target::File).into_iter().chain([self.who.clone()]);
        let Some(summary) = search.successor(candidates, self.last, followed) else { return };
        let created = summary.identity.birth();
        let Ok(region) = summary.open(search.max_bytes) else { return };
        let Ok(follower) = NodeFollower::of_successor(region) else { return };
        note(&format!("following {}", follower.title()));
        self.who = Target::Node(follower.node().to_owned().into());
        (self.follower, self.last) = (Some(follower), Some(created));
    }
}

/// A line of `tail --json` that is not an event.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line<'a> {
    Lost {
        node: &'a str,
        pid: u64,
        lane: usize,
        /// The sum of the next three.
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

/// A line of `tail --json` that is an event.
#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    event: &'a TelemetryEvent,
    /// `None` if the event itself has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    /// `None` if the clock of the stamp is unknown.
    at: Option<&'a str>,
    stamp: u64,
    lane: usize,
    node: &'a str,
    pid: u64,
}

/// The format of the output.
#[derive(Debug)]
struct Format {
    json: bool,
    several: bool,
    screen: Screen,
}

impl Format {
    fn write(&self, items: &[Item], sources: &[Source]) -> Result<(), Failure> {
        if items.is_empty() {
            return Ok(());
        }
        let write = |out: &mut Out<'_>| {
            for item in items {
                let Some(from) = &sources[item.source].follower else { continue };
                if self.json { json(out, item, from)? } else { self.text(out, item, from)? }
            }
            Ok(())
        };
        if self.json { to_stdout(write) } else { to_people(write) }
    }

    fn text(&self, out: &mut dyn Write, item: &Item, from: &NodeFollower) -> io::Result<()> {
        let style = |style| if self.screen.colours { style } else { Style::new() };
        let node = if self.several { format!("{} ", from.title()) } else { String::new() };
        match &item.kind {
            ItemKind::Event(event) => {
                let (word, colour, text) = describe(&event.event);
                let (colour, dim) = (style(tone_style(colour)), style(Style::new().dimmed()));
                let time = item.at_unix_ns.and_then(|unix_ns| Timestamp::from_nanosecond(unix_ns).ok());
                let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.6}"));
                let (word, text) = (clean(word), clean(&text));
                writeln!(out, "{dim}{time}{dim:#} {node}{colour}{word:<11}{colour:#} {text}")
            }
            ItemKind::Loss(lost) => {
                let (bad, text) = (style(BAD), describe_loss(lost));
                writeln!(out, "{bad}-- {node}{text}{bad:#}")
            }
        }
    }
}

fn json(out: &mut dyn Write, item: &Item, from: &NodeFollower) -> io::Result<()> {
    let (node, pid) = (from.node(), from.pid());
    match &item.kind {
        ItemKind::Event(Event { stamp, lane, event }) => {
            let at = item.at_unix_ns.map(rfc3339);
            let topic = (!matches!(event, TelemetryEvent::Own(_))).then(|| event.topic());
            let at = at.as_deref();
            write_json(out, &EventLine { event, topic, at, stamp: *stamp, lane: *lane, node, pid })
        }
        ItemKind::Loss(TimedLoss { loss, after, before }) => {
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

/// How many events were lost, in which lane, why, and between which times.
fn describe_loss(lost: &TimedLoss) -> String {
    let when = match (&lost.after, &lost.before) {
        (Some(after), Some(before)) => format!("between {after} and {before}"),
        (Some(after), None) => format!("after {after}"),
        (None, Some(before)) => format!("before {before}"),
        (None, None) => "at an unknown time".to_owned(),
    };
    format!("{}; {when}", loss_text(&lost.loss))
}
