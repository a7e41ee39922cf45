//! `tail`: what happens in nodes, as it happens.
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstyle::Style;
use atomscope::attach::{AttachErrorKind, Inode};
use atomscope::find::{FindError, Who};
use atomscope::liveness::Verdict;
use atomscope::text::{clean, write_json};
use atomscope_layout::decode::{Birth, rfc3339};
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::follow::{Event, Loss};
use jiff::Timestamp;
use serde::Serialize;

use crate::program::output::{Failure, Out, note, to_people, to_stdout};
use crate::program::table::{BAD, Screen, colour_of};
use crate::program::target::{SearchArgs, attach, meant, search};
use atomscope::follow::{End, Following, Item, ItemKind, Lost, Since, due, time_text};
use atomscope::report::events::{count_loss, describe};
use atomscope::system::{stop_on_signals, wait};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::program::help::WHO_HELP;
use crate::program::values::parse_since;

/// Tell what happens in nodes, as it happens: actors spawned and stopped, dead letters and more.
#[derive(Debug, Args)]
#[command(after_help = format!("\
All lanes of a node are merged into one order, in which nothing comes before its cause. What was overwritten \
before it was read is told, with how many, in which lane, and between which times. Events of several nodes come by \
their clocks, held back for a twentieth of a second so that those of one machine are in order. A node that is named \
more than once is told once.

--json writes one object a line: `kind` and its fields as in atomr_telemetry's TelemetryEvent, and topic, at, \
stamp, lane, node, pid. Two kinds are no events: `lost` (lost = lapped + abandoned + unreadable, after, before) and \
`ended` (state, why; the state is corrupt where the file was cut or overwritten, which is a failure without --retry).

Examples:
  atomscope tail shop
  atomscope tail shop depot --topic dead_letters
  atomscope tail shop --since 5m --no-follow --json | jq -r 'select(.kind == \"lost\").lost'
  atomscope tail shop --retry

{WHO_HELP}"))]
pub struct TailArgs {
    /// Which nodes: pids, files, or names.
    pub who: Vec<OsString>,
    /// Only events of this topic; may be given several times.
    #[arg(long, value_name = "TOPIC", value_parser = PossibleValuesParser::new(TelemetryEvent::ALL_TOPICS))]
    pub topic: Vec<String>,
    /// First the newest N of the events that are kept; 10 if left out, or with --since all.
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Nothing of before TIME: RFC 3339 as 2030-01-31T12:00:00Z, or an age as 30s, 5m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// End after what is there.
    #[arg(long)]
    pub no_follow: bool,
    /// Where a node is not there or has ended, wait for the next one of its name, or in its file if one was named.
    #[arg(long, conflicts_with = "no_follow")]
    pub retry: bool,
    /// Write JSON, one object a line.
    #[arg(long)]
    pub json: bool,
}

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

pub fn tail(place: &SearchArgs, args: TailArgs) -> Result<(), Failure> {
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
                items.extend(following.poll(number, is_over));
                following.notices().iter().for_each(|text| note(text));
            }
        }
        items.retain(|item| is_wanted(item, &args.topic));
        // Each node's are in order already, and stay so.
        items.sort_by_key(|item| item.order);
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

/// Whether it is of a topic that is asked for. Nobody knows of which topic something lost was.
fn is_wanted(item: &Item, topics: &[String]) -> bool {
    match &item.kind {
        ItemKind::Event(event) => {
            topics.is_empty() || topics.iter().any(|topic| topic == event.event.topic())
        }
        ItemKind::Lost(_) => true,
    }
}

/// Of what was there before only the newest events, and what was lost among them.
fn leave_newest(items: &mut Vec<Item>, most: Option<usize>) {
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
    fn new(place: &SearchArgs, who: Option<OsString>, args: &TailArgs) -> Result<Self, Failure> {
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
        self.following.as_ref().is_some_and(|following| following.end().is_some())
    }

    /// Says how it has ended, and lets go of it; gives what makes the whole a failure.
    fn end(&mut self, args: &TailArgs) -> Result<Option<Failure>, Failure> {
        let Some(following) = self.following.take() else { return Ok(None) };
        if following.region().dumped().is_some() && !matches!(following.end(), Some(End::Failed(_))) {
            return Ok(None);
        }
        let waiting = if args.retry { "; waiting for its successor" } else { "" };
        let title = following.title();
        let (state, why, failure) = match following.end() {
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
            let (node, pid) = (following.node(), following.pid());
            to_stdout(|out| write_json(out, &Line::Ended { node, pid, state, why: why.as_deref() }))?;
        }
        Ok(failure.filter(|_| !args.retry))
    }

    fn inode(&self) -> Option<Inode> {
        self.following.as_ref().map(|following| following.region().inode())
    }

    /// Goes on with a node of the same name that was made later than the one that ended, and that no other source
    /// follows.
    fn find_successor(&mut self, place: &SearchArgs, followed: &[Inode]) {
        let search = search(place);
        let meant = self.file.clone().map(Who::File).into_iter().chain([self.who.clone()]);
        let Some(glance) = search.successor(meant, self.last, followed) else { return };
        let created = glance.identity.birth();
        let Ok(region) = glance.open(search.max_bytes) else { return };
        let Ok(following) = Following::new(region, None, true) else { return };
        note(&format!("following {}", following.title()));
        self.who = Who::Node(following.node().to_owned().into());
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
        match &item.kind {
            ItemKind::Event(event) => {
                let (word, colour, text) = describe(&event.event);
                let (colour, dim) = (style(colour_of(colour)), style(Style::new().dimmed()));
                let time = item.at_unix_ns.and_then(|unix_ns| Timestamp::from_nanosecond(unix_ns).ok());
                let time = time.map_or_else(|| "-".to_owned(), |time| format!("{time:.6}"));
                writeln!(out, "{dim}{time}{dim:#} {node}{colour}{word:<11}{colour:#} {}", clean(&text))
            }
            ItemKind::Lost(lost) => {
                let (bad, text) = (style(BAD), describe_loss(lost));
                writeln!(out, "{bad}-- {node}{text}{bad:#}")
            }
        }
    }
}

fn json(out: &mut dyn Write, item: &Item, from: &Following) -> io::Result<()> {
    let (node, pid) = (from.node(), from.pid());
    match &item.kind {
        ItemKind::Event(Event { stamp, lane, event }) => {
            let (at, topic) = (&time_text(item.at_unix_ns), event.topic());
            write_json(out, &EventLine { event, topic, at, stamp: *stamp, lane: *lane, node, pid })
        }
        ItemKind::Lost(Lost { loss, after, before }) => {
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
