//! What a view lists: columns, and rows in the order and choice that was asked for. Made anew where one of these has
//! changed; drawing takes from it only the rows that are seen.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use atomscope::attach::RegionSummary;
use atomscope::query::{Datum, Field, Kind, Query, Row};
use atomscope::snapshot::Snapshot;
use atomscope_layout::decode::{Class, Moment, rfc3339};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::Key;

use super::history::EventLog;
use super::tick::{ActorListing, EventRow, LISTED_ALWAYS, Tick};
use super::view::View;
use atomscope::report::actors::{ActorRow, ActorValue, COLUMNS, IN_TOP, SortKey, show_above};
use atomscope::report::human::{self, bytes, count, duration};
use atomscope::report::list::{Column, List, Side, Value, not_known, number, text, unit_of_row};
use atomscope::report::nodes::NodeRow;

/// How the actors are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Tree,
    Flat,
    Classes,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Tree, Self::Flat, Self::Classes];

    pub fn title(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Flat => "list",
            Self::Classes => "classes",
        }
    }
}

/// Stands for the order that a list has by itself.
pub const OWN_ORDER: &str = "";

/// The order that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// Or [`OWN_ORDER`].
    pub column: &'static str,
    pub reverse: bool,
}

/// What was asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    pub view: View,
    pub mode: Mode,
    /// Which of a view's lists.
    pub list: usize,
    /// The order of each list, by its name.
    pub sorts: &'a HashMap<&'static str, Sort>,
    pub filter: &'a str,
    pub folded: &'a HashSet<Key>,
    pub shows_rates: bool,
    pub hides_zeros: bool,
    pub topic: Option<&'static str>,
    /// Totals are counted from there.
    pub baseline: Option<&'a Baseline>,
    /// Looks that are kept, the time from the first to the last, bytes that they take; where that is shown.
    pub past: Option<(usize, Duration, usize)>,
}

/// A time from which totals are counted.
#[derive(Debug)]
pub struct Baseline {
    pub snapshot: Arc<Snapshot>,
    pub classes: Arc<Vec<Class>>,
}

/// What there is to be listed.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub tick: Option<&'a Tick>,
    pub events: &'a EventLog,
    /// Events after this time are not shown: the past is.
    pub until: Option<Moment>,
    pub nodes: &'a [NodeRow],
    /// The one of them that is looked at.
    pub watched: Option<&'a RegionSummary>,
}

impl<'a> Source<'a> {
    /// It among them.
    pub fn watched_row(&self) -> Option<&'a NodeRow> {
        let watched = self.watched?;
        self.nodes
            .iter()
            .find(|row| row.glance.as_ref().is_some_and(|glance| glance.is_of_same_node(watched)))
    }
}

/// A view's lists, one of which is seen.
#[derive(Debug, Default)]
pub struct Sheet {
    /// Sentences above it.
    pub lines: Vec<String>,
    /// Name and length of each list.
    pub lists: Vec<(Cow<'static, str>, usize)>,
    pub list: usize,
    /// Of what is seen: its name, by which the order asked for is kept.
    pub name: &'static str,
    pub columns: Vec<Column>,
    /// Above the first column.
    pub heading: &'static str,
    pub sort: Option<Sort>,
    pub rows: Rows,
    /// Rows before any were filtered out.
    pub found: usize,
    /// Why the filter is none.
    pub error: Option<String>,
    /// What is said where there are no rows.
    pub nothing: String,
}

#[derive(Debug)]
pub enum Rows {
    List(Vec<Vec<Value>>),
    Actors(Vec<Branch>),
    Events(Vec<u64>),
}

impl Default for Rows {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// An actor in a list or tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    pub number: u32,
    /// `None` where it is no tree.
    pub level: Option<u16>,
    pub fold: Fold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    Leaf,
    Open,
    Folded,
}

/// What tells a row from the others of its list, from one look to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ident {
    Texts(Vec<String>),
    Actor(Key),
    Event(u64),
}

impl Sheet {
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::List(rows) => rows.len(),
            Rows::Actors(rows) => rows.len(),
            Rows::Events(rows) => rows.len(),
        }
    }

    /// The values of a row, as many as there are columns.
    pub fn row(&self, at: usize, source: Source<'_>) -> Vec<Value> {
        match &self.rows {
            Rows::List(rows) => rows.get(at).cloned().unwrap_or_default(),
            Rows::Actors(rows) => {
                let found = rows.get(at).zip(source.tick);
                found.and_then(|(branch, tick)| actor_row(tick, branch)).unwrap_or_default()
            }
            Rows::Events(rows) => {
                let found = rows.get(at).and_then(|number| source.events.get(*number));
                found.map(event_row).unwrap_or_default()
            }
        }
    }

    pub fn ident(&self, at: usize, tick: Option<&Tick>) -> Option<Ident> {
        match &self.rows {
            Rows::List(rows) => Some(Ident::Texts(list_ident(&self.columns, rows.get(at)?))),
            Rows::Actors(rows) => {
                let actors = tick?.listed.as_ref()?.tree.actors();
                Some(Ident::Actor(actors.get(rows.get(at)?.number)?.key()))
            }
            Rows::Events(rows) => rows.get(at).map(|number| Ident::Event(*number)),
        }
    }

    /// Where the row is now that `ident` tells from others.
    pub fn find(&self, ident: &Ident, tick: Option<&Tick>) -> Option<usize> {
        match (&self.rows, ident) {
            (Rows::List(rows), Ident::Texts(texts)) => {
                rows.iter().position(|row| list_ident(&self.columns, row) == *texts)
            }
            (Rows::Actors(rows), Ident::Actor(key)) => {
                let actors = tick?.listed.as_ref()?.tree.actors();
                let number = actors.iter().position(|actor| actor.key() == *key)? as u32;
                rows.iter().position(|branch| branch.number == number)
            }
            (Rows::Events(rows), Ident::Event(number)) => rows.binary_search(number).ok(),
            _ => None,
        }
    }
}

/// The texts of a row that tell what it is: the first, and whose it is.
fn list_ident(columns: &[Column], row: &[Value]) -> Vec<String> {
    let tells =
        |(at, column): &(usize, &Column)| *at == 0 || ["owner", "unit", "file", "id"].contains(&column.name);
    let tells = columns.iter().enumerate().filter(tells);
    tells.filter_map(|(at, _)| row.get(at)).map(|value| value.shown("").into_owned()).collect()
}

/// Makes what was asked for.
pub fn sheet(asked: &Asked<'_>, source: Source<'_>) -> Sheet {
    match (asked.view, source.tick) {
        (View::Nodes, _) => of_lists(asked, vec![nodes(source)], Vec::new(), {
            "There is no node on this machine that you may look at. Is one running, with the probe, as this user? \
             `atomscope doctor` says more. This list goes on looking."
        }),
        (_, None) => {
            Sheet { nothing: "Waiting for the first look at the node.".to_owned(), ..Sheet::default() }
        }
        (View::Overview, Some(_)) => Sheet::default(),
        (View::Actors, Some(tick)) => actors(asked, tick),
        (View::DeadLetters, Some(tick)) => {
            let letters = &tick.snapshot.dead_letters;
            let rate = tick.point.rates().map(|rates| format!(", {:.1}/s", rates.dead_letters));
            let rate = rate.unwrap_or_default();
            let line = format!(
                "{} so far{rate}; the newest {} of {} that are kept are listed, {} cannot be read",
                count(letters.total, "dead letter", "dead letters"),
                letters.recent.len(),
                tick.usage.dead_letters.used,
                letters.abandoned.saturating_add(letters.unreadable)
            );
            let nothing = match letters.total {
                0 => "No message was undeliverable.",
                _ => "None of the dead letters that are kept can be read.",
            };
            of_lists(asked, vec![dead_letters(&tick.snapshot)], vec![line], nothing)
        }
        (View::Events, Some(_)) => events(asked, source),
        (View::Own, Some(tick)) => {
            let region = format!(
                "The region is {} ({}), layout {}.{}, written by {}.",
                tick.path.display(),
                bytes(tick.bytes),
                tick.snapshot.layout_version.0,
                tick.snapshot.layout_version.1,
                tick.snapshot.identity.writer
            );
            let (looks, span, held) = asked.past.unwrap_or_default();
            let past = format!(
                "Of the past {} of {} are kept here, in {}.",
                count(looks as u64, "look", "looks"),
                duration(span),
                bytes(held as u64)
            );
            let lines = [region, past].into_iter().chain(tick.caveats.iter().cloned()).collect();
            of_lists(asked, own(tick), lines, "")
        }
        (View::Subsystem(subsystem), Some(tick)) => {
            let mut lists = subsystem.lists(Some(&tick.snapshot));
            let shown = if asked.shows_rates && !tick.is_last() {
                tick.before.as_ref().map(|(before, seconds)| (before, Some(*seconds)))
            } else {
                asked.baseline.map(|baseline| (&baseline.snapshot, None))
            };
            let then = shown.map_or(Vec::new(), |(then, _)| subsystem.lists(Some(then)));
            for (at, list) in lists.iter_mut().enumerate() {
                let seconds = shown.and_then(|(_, seconds)| seconds);
                since(list, then.get(at), seconds, asked.shows_rates && !tick.is_last());
            }
            let mut lines = Vec::new();
            let is_in_use = asked.view.is_in_use(tick);
            if is_in_use && !subsystem.is_one_list {
                lines.push(subsystem.summary(&tick.snapshot).line);
            }
            lines.extend(subsystem.gaps(&tick.snapshot));
            let node = &tick.snapshot.identity.node;
            // Of a subsystem that is in use, an empty list means that there is none.
            let nothing = match lists.get(asked.list.min(lists.len().saturating_sub(1))) {
                Some(list) if is_in_use => format!("{}: none.", list.name.replace('_', " ")),
                _ => format!("Node {node} reports nothing about {}.", subsystem.content),
            };
            of_lists(asked, lists, lines, &nothing)
        }
    }
}

/// Turns what only grows into what came since `then`, or how much a second.
fn since(list: &mut List, then: Option<&List>, seconds: Option<f64>, is_rate: bool) {
    let before: HashMap<Vec<String>, &Vec<Value>> =
        then.iter().flat_map(|then| &then.rows).map(|row| (list_ident(&list.columns, row), row)).collect();
    if then.is_none() && !is_rate {
        return;
    }
    for row in &mut list.rows {
        let before = before.get(&list_ident(&list.columns, row));
        for (at, value) in row.iter_mut().enumerate() {
            let (Value::Total(now) | Value::Count(now)) = *value else { continue };
            let earlier = match before.and_then(|row| row.get(at)) {
                Some(Value::Total(then) | Value::Count(then)) => *then,
                _ => 0,
            };
            let came = now.saturating_sub(earlier);
            *value = match (is_rate, seconds) {
                (true, Some(seconds)) => {
                    let rate = came as f64 / seconds.max(1e-9);
                    if matches!(value, Value::Count(_)) { Value::CountRate(rate) } else { Value::Rate(rate) }
                }
                // There was no look before.
                (true, None) => Value::Unknown,
                (false, _) if matches!(value, Value::Count(_)) => Value::Count(came),
                (false, _) => Value::Total(came),
            };
        }
    }
}

/// One of these lists, in the order and choice that was asked for.
fn of_lists(asked: &Asked<'_>, lists: Vec<List>, lines: Vec<String>, nothing: &str) -> Sheet {
    let names = lists.iter().map(|list| (Cow::from(list.name.replace('_', " ")), list.rows.len())).collect();
    let at = asked.list.min(lists.len().saturating_sub(1));
    let Some(mut list) = lists.into_iter().nth(at) else { return Sheet::default() };
    let found = list.rows.len();
    let (unknown, error) = match list.filter(asked.filter) {
        Ok(unknown) => (unknown, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    if asked.hides_zeros && asked.view != View::Nodes {
        list.rows.retain(|row| !is_idle(row));
    }
    let sort = asked.sorts.get(list.name).copied();
    if let Some((sort, at)) = sort.and_then(|sort| Some((sort, list.column(sort.column)?))) {
        list.rows.sort_by(|a, b| a[at].compare(&b[at], sort.reverse));
    } else if sort.is_some_and(|sort| sort.reverse) {
        list.rows.reverse();
    }
    let nothing = match found {
        0 => nothing.to_owned(),
        _ => hidden(found, asked, &unknown),
    };
    let nothing = if nothing.is_empty() { "Nothing here.".to_owned() } else { nothing };
    Sheet {
        lines,
        lists: names,
        list: at,
        name: list.name,
        heading: list.title,
        sort,
        columns: list.columns,
        rows: Rows::List(list.rows),
        found,
        error,
        nothing,
    }
}

/// Why none of what was found is shown. Nobody is to believe that there is none of what is only not known.
fn hidden(found: usize, asked: &Asked<'_>, unknown: &[String]) -> String {
    if !unknown.is_empty() {
        return format!("{} of any of {found}: none is shown.", not_known(unknown));
    }
    match (asked.filter, asked.hides_zeros) {
        ("", _) => format!("All {found} are zeros, which are hidden: i shows them."),
        (_, false) => format!("None of {found} is shown: the filter leaves none. Esc takes it away."),
        (_, true) => {
            format!(
                "None of {found} is shown: the filter, which Esc takes away, and hidden zeros (i) leave none."
            )
        }
    }
}

/// Whether all its numbers are zero, of which it has some.
fn is_idle(row: &[Value]) -> bool {
    let mut numbers = row.iter().filter_map(|value| match value {
        Value::Number(number) | Value::Total(number) | Value::Count(number) => Some(*number as f64),
        Value::Rate(rate) | Value::CountRate(rate) => Some(*rate),
        _ => None,
    });
    numbers.next().is_some_and(|first| first == 0.0) && numbers.all(|number| number == 0.0)
}

fn parse(filter: &str, fields: &[Field]) -> (Query, Option<String>) {
    match Query::parse(filter, fields) {
        Ok(query) => (query, None),
        Err(error) => (Query::anything(), Some(error.to_string())),
    }
}

fn actor(tick: &Tick, number: u32) -> Option<ActorRow<'_>> {
    let all = tick.listed.as_ref()?;
    let below = all.below.get(number as usize).copied();
    Some(ActorRow { actor: all.tree.actors().get(number)?, until: tick.snapshot.until, below })
}

fn actor_row(tick: &Tick, branch: &Branch) -> Option<Vec<Value>> {
    let row = actor(tick, branch.number)?;
    let mut values: Vec<Value> = IN_TOP.iter().map(|column| (column.value)(&row).into()).collect();
    if let Some(level) = branch.level {
        let mark = match branch.fold {
            Fold::Leaf => "  ",
            Fold::Open => "▾ ",
            Fold::Folded => "▸ ",
        };
        // The ancestors of a root are not shown, so that its name alone would not say where it is.
        let name = if level == 0 { row.actor.path() } else { row.actor.name() };
        values[0] = Value::Text(format!("{}{mark}{name}", "  ".repeat(level.into())));
    }
    Some(values)
}

fn actors(asked: &Asked<'_>, tick: &Tick) -> Sheet {
    let lists = Mode::ALL.map(|mode| {
        let count = if mode == Mode::Classes { tick.classes.len() } else { tick.tally.listed as usize };
        (Cow::from(mode.title()), count)
    });
    let list = Mode::ALL.iter().position(|mode| *mode == asked.mode).unwrap_or_default();
    let lists = lists.to_vec();
    if asked.mode == Mode::Classes {
        let of = of_lists(asked, vec![classes(asked, tick)], Vec::new(), "There is no live actor.");
        return Sheet { lists, list, ..of };
    }
    let fields = ActorRow::fields(true);
    let (query, error) = parse(asked.filter, &fields);
    let Some(listed_actors) = tick.listed.as_deref() else {
        let nothing = format!(
            "At this look the actors were counted and not listed: more than {LISTED_ALWAYS} are listed only while a list of \
             them is shown. What is there now is being listed; t shows the classes."
        );
        return Sheet { lists, list, error, nothing, ..Sheet::default() };
    };
    let (all, forest) = (listed_actors.tree.actors(), listed_actors.tree.forest());
    let is_wanted = |number: u32| {
        actor(tick, number).is_some_and(|row| {
            let is_idle = asked.hides_zeros && row.actor.mailbox_depth() == Some(0);
            !is_idle && query.matches(&row)
        })
    };
    let is_all = query.is_anything() && !asked.hides_zeros;
    let sort = asked.sorts.get("actors").copied();
    let rows = if asked.mode == Mode::Flat {
        let numbers = 0..all.len() as u32;
        let mut numbers: Vec<u32> =
            if is_all { numbers.collect() } else { numbers.filter(|n| is_wanted(*n)).collect() };
        if let Some(ranks) = sort.and_then(|sort| ranks(listed_actors, sort)) {
            numbers.sort_by_key(|number| ranks[*number as usize]);
        }
        numbers.into_iter().map(|number| Branch { number, level: None, fold: Fold::Leaf }).collect()
    } else {
        let shown = (!is_all).then(|| {
            let mut shown: Vec<bool> = (0..all.len() as u32).map(is_wanted).collect();
            show_above(forest, &mut shown);
            shown
        });
        let ranks = sort.and_then(|sort| ranks(listed_actors, sort));
        tree(listed_actors, asked.folded, shown.as_deref(), ranks.as_deref())
    };
    let nothing = match all.len() {
        0 => "There is no live actor.".to_owned(),
        found if rows.is_empty() => {
            let all = (0..found as u32).filter_map(|number| actor(tick, number));
            hidden(found, asked, &query.unknown_in_all(&fields, all))
        }
        _ => String::new(),
    };
    Sheet {
        lines: Vec::new(),
        lists,
        list,
        name: "actors",
        columns: IN_TOP.map(|column| column.column).to_vec(),
        heading: "PATH",
        sort,
        rows: Rows::Actors(rows),
        found: all.len(),
        error,
        nothing,
    }
}

/// The rank of each actor in an order, unknown values last; `None` if it is the order of the list.
fn ranks(listed: &ActorListing, sort: Sort) -> Option<Vec<(bool, u64)>> {
    let all = listed.tree.actors();
    let turned = |rank: u64| if sort.reverse { u64::MAX - rank } else { rank };
    let column = IN_TOP.into_iter().find(|column| column.column.name == sort.column);
    // The list is sorted by path.
    let Some(column) = column.filter(|column| column.column.name != "path") else {
        return sort.reverse.then(|| (0..all.len() as u64).map(|rank| (false, turned(rank))).collect());
    };
    let keys = || {
        all.iter()
            .zip(&listed.below)
            .map(|(actor, below)| column.sort_key(&ActorRow { actor, until: None, below: Some(*below) }))
    };
    // Many actors have the same text, so that numbers of the different texts are cheaper to sort by.
    let mut texts: HashMap<&str, u64> = HashMap::new();
    if column.column.side == Side::Left {
        texts.extend(keys().filter_map(|key| match key {
            Some(SortKey::Text(text)) => Some((text, 0)),
            _ => None,
        }));
        let mut sorted: Vec<&str> = texts.keys().copied().collect();
        sorted.sort_unstable();
        sorted.into_iter().zip(0..).for_each(|(text, rank)| _ = texts.insert(text, rank));
    }
    let rank = |key: Option<SortKey<'_>>| match key {
        Some(SortKey::Text(text)) => texts.get(text).copied(),
        Some(SortKey::Number(number)) => Some(number),
        None => None,
    };
    Some(keys().map(rank).map(|rank| (rank.is_none(), rank.map_or(0, turned))).collect())
}

/// All that is to be seen of a tree, from top to bottom.
fn tree(
    listed: &ActorListing,
    folded: &HashSet<Key>,
    shown: Option<&[bool]>,
    ranks: Option<&[(bool, u64)]>,
) -> Vec<Branch> {
    let (forest, all) = (listed.tree.forest(), listed.tree.actors());
    let is_shown = |number: &u32| shown.is_none_or(|shown| shown[*number as usize]);
    // What is still to be seen, the next last.
    let mut rest: Vec<(u32, u16)> = Vec::new();
    let push = |rest: &mut Vec<(u32, u16)>, below: Option<u32>, level: u16| {
        let start = rest.len();
        rest.extend(forest.below(below).filter(is_shown).map(|number| (number, level)));
        match ranks {
            Some(ranks) => {
                rest[start..].sort_by_key(|(number, _)| Reverse((ranks[*number as usize], *number)))
            }
            None => rest[start..].reverse(),
        }
        rest.len() > start
    };
    let mut rows = Vec::new();
    push(&mut rest, None, 0);
    while let Some((number, level)) = rest.pop() {
        let is_folded =
            !folded.is_empty() && all.get(number).is_some_and(|actor| folded.contains(&actor.key()));
        let fold = if is_folded {
            if forest.below(Some(number)).any(|number| is_shown(&number)) { Fold::Folded } else { Fold::Leaf }
        } else if push(&mut rest, Some(number), level.saturating_add(1)) {
            Fold::Open
        } else {
            Fold::Leaf
        };
        rows.push(Branch { number, level: Some(level), fold });
    }
    rows
}

/// Live actors by their types.
fn classes(asked: &Asked<'_>, tick: &Tick) -> List {
    let shows_rates = asked.shows_rates && !tick.is_last();
    let then = if shows_rates {
        tick.classes_before.as_ref()
    } else {
        asked.baseline.map(|baseline| &baseline.classes)
    };
    let then: Option<HashMap<&str, u64>> =
        then.map(|then| then.iter().map(|of| (of.actor_type.as_str(), of.actors)).collect());
    let seconds = tick.before.as_ref().map(|(_, seconds)| *seconds);
    let rows = tick.classes.iter().map(|of| {
        let before = then.as_ref().map(|then| then.get(of.actor_type.as_str()).copied().unwrap_or(0));
        let grown = match (before, shows_rates, seconds) {
            (Some(before), true, Some(seconds)) => {
                Value::Float(((of.actors as f64 - before as f64) / seconds.max(1e-9) * 10.0).round() / 10.0)
            }
            (Some(before), false, _) => Value::Float(of.actors as f64 - before as f64),
            _ => Value::Unknown,
        };
        let age = tick.snapshot.until.zip(of.oldest).and_then(|(until, oldest)| until.since(&oldest));
        vec![
            Value::text(&of.actor_type),
            Value::Number(of.actors),
            grown,
            Value::of(of.waiting, Value::Number),
            Value::of(of.deepest, Value::Number),
            Value::of(age, |age| Value::Float(human::seconds(age))),
        ]
    });
    let columns = [
        text("class"),
        number("actors", "actors"),
        number("grown", if shows_rates { "/s" } else { "actors" }),
        number("waiting", "msgs"),
        number("deepest", "msgs"),
        number("oldest_s", "s"),
    ];
    List::new("classes", "CLASS", columns, rows)
}

fn dead_letters(snapshot: &Snapshot) -> List {
    let rows = snapshot.dead_letters.recent.iter().map(|letter| {
        vec![
            Value::Number(letter.seq),
            Value::text(letter.timestamp.get(11..23).unwrap_or(&letter.timestamp)),
            Value::text(&letter.message_type),
            Value::text(&letter.recipient),
            Value::of(letter.sender.as_deref(), Value::text),
            Value::text(&letter.message_preview),
        ]
    });
    let columns = [
        number("number", ""),
        text("time"),
        text("message"),
        text("recipient"),
        text("sender"),
        text("preview"),
    ];
    List::new("dead_letters", "NUMBER", columns, rows)
}

fn event_row(event: &EventRow) -> Vec<Value> {
    let time = event.at.map(|at| rfc3339(at.unix_ns));
    let time = time.as_deref().and_then(|time| time.get(11..23)).map(Value::text);
    vec![time.unwrap_or(Value::Unknown), Value::text(event.word), Value::text(&event.text)]
}

struct EventOf<'a>(&'a EventRow);

impl Row for EventOf<'_> {
    fn datum(&self, field: usize) -> Datum<'_> {
        Datum::Text(match field {
            0 => self.0.word.into(),
            1 => self.0.topic.into(),
            _ => self.0.text.as_str().into(),
        })
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        is_wanted(self.0.word) || is_wanted(&self.0.text)
    }
}

fn events(asked: &Asked<'_>, source: Source<'_>) -> Sheet {
    let fields = ["event", "topic", "what"].map(|name| Field::new(name, Kind::Text));
    let (query, error) = parse(asked.filter, &fields);
    let is_then =
        |event: &EventRow| source.until.is_none_or(|until| event.at.is_none_or(|at| !at.is_after(&until)));
    let all = source.events.iter().filter(|(_, event)| is_then(event));
    let (mut found, mut rows) = (0, Vec::new());
    for (number, event) in all {
        found += 1;
        // Nobody knows of which topic something lost was.
        let is_of_topic = asked.topic.is_none_or(|topic| event.topic == topic || event.lost > 0);
        if is_of_topic && (query.is_anything() || query.matches(&EventOf(event))) {
            rows.push(number);
        }
    }
    let topic = asked.topic.unwrap_or("all topics");
    let lost = count(source.events.lost, "event was", "events were");
    let line = format!("{topic}; {lost} lost before they could be read, while it was looked at");
    let cut = source.events.cut_at().and_then(|event| event.at).map(|at| rfc3339(at.unix_ns));
    let cut = cut.as_deref().and_then(|time| time.get(11..19));
    let cut = cut.map(|time| format!("; of before {time}Z none are kept here")).unwrap_or_default();
    let line = line + &cut;
    let nothing = match (found, asked.topic, asked.filter) {
        (0, ..) if source.events.is_cut() => "Of that time no events are kept here any more.".to_owned(),
        (0, ..) => "Nothing has happened yet.".to_owned(),
        (_, Some(topic), "") => {
            format!("None of {found} events is of topic {topic}; o goes to the next topic.")
        }
        _ => hidden(found, asked, &[]),
    };
    Sheet {
        lines: vec![line],
        lists: Vec::new(),
        list: 0,
        name: "events",
        columns: vec![text("time"), text("event"), text("what")],
        heading: "TIME(UTC)",
        sort: None,
        rows: Rows::Events(rows),
        found,
        error,
        nothing,
    }
}

/// What the node's telemetry takes and leaves out.
fn own(tick: &Tick) -> Vec<List> {
    let usage = &tick.usage;
    let room = [
        ("actor slots", usage.actor_slots, "actors"),
        ("names", usage.names, "names"),
        ("metrics", usage.metrics, "metrics"),
        ("histograms", usage.histograms, "histograms"),
        ("instances", usage.instances, "instances"),
        ("dead letters kept", usage.dead_letters, "dead_letters"),
        ("lanes", usage.lanes, "lanes"),
    ];
    let rows = room.map(|(name, level, knob)| {
        vec![
            Value::text(name),
            Value::Number(level.used),
            Value::Number(level.room),
            Value::Number(level.percent()),
            Value::text(knob),
        ]
    });
    let columns = [text("room"), number("used", ""), number("of", ""), number("full", "%"), text("knob")];
    let room = List::new("room", "ROOM", columns, rows);

    let told = &tick.snapshot.subsystems;
    let unreadable = [
        (tick.snapshot.dead_letters.unreadable, "dead letters that cannot be read"),
        (tick.tally.unreadable, "actor records that cannot be read"),
        (told.instances.unreadable, "records of subsystems that cannot be read"),
        (told.documents_unreadable, "of the cluster's state and the shards' allocation that cannot be read"),
        (tick.snapshot.totals.untracked, "live actors that are neither listed nor kept"),
        (tick.tally.unlisted, "live actors that are counted but not listed"),
    ];
    let rows = usage.drops.list().into_iter().chain(unreadable);
    let rows = rows.map(|(number, what)| vec![Value::text(what), Value::Number(number)]);
    let drops = List::new("left_out", "WHAT", [text("what"), number("number", "")], rows);

    let life_ns = tick.uptime.map(|life| (life.as_nanos() as f64).max(1.0));
    let cost = |name: &str, rounds: Builtin, time: Builtin| {
        let (rounds, ns) = (tick.snapshot.builtin(rounds), tick.snapshot.builtin(time));
        let share = life_ns.map(|life_ns| ns as f64 / life_ns * 100.0);
        vec![
            Value::text(name),
            Value::Number(rounds),
            Value::Number(ns),
            Value::of(share, |share| Value::Float((share * 1000.0).round() / 1000.0)),
        ]
    };
    let mut rows = vec![
        cost("the probe's sampler, in the node", Builtin::SamplerRounds, Builtin::SamplerTime),
        cost("the probe's poller, in the node", Builtin::PollRounds, Builtin::PollTime),
    ];
    if let Some(own) = &tick.own {
        rows.push(vec![
            Value::text("this program, since it was started"),
            Value::Unknown,
            Value::Number((own.cpu_s() * 1e9) as u64),
            Value::Unknown,
        ]);
    }
    rows.push(vec![
        Value::text("this look at the node"),
        Value::Number(1),
        Value::Number(tick.took.as_nanos() as u64),
        Value::Unknown,
    ]);
    let columns =
        [text("cost"), number("rounds", ""), number("time_ns", "nanoseconds"), number("share", "%")];
    let cost = List::new("cost", "COST", columns, rows);

    let lanes = usage.lane_events.iter().enumerate().map(|(lane, events)| {
        let name = if lane == 0 { "0 (shared)".to_owned() } else { lane.to_string() };
        vec![Value::Text(name), Value::Number(*events)]
    });
    let lanes = List::new("lanes", "LANE", [text("lane"), number("events", "events")], lanes);
    vec![room, drops, cost, lanes]
}

/// The nodes of this machine.
fn nodes(source: Source<'_>) -> List {
    let watched = source.watched_row();
    let rows = source.nodes.iter().map(|row| {
        let is_watched = watched.is_some_and(|watched| std::ptr::eq(watched, row));
        let notes = is_watched.then_some("looked at here").into_iter().chain(row.why.as_deref());
        let note = notes.collect::<Vec<_>>().join("; ");
        vec![
            Value::of(row.node.as_deref(), Value::text),
            Value::of(row.pid, Value::Number),
            Value::of(row.system.as_deref(), Value::text),
            Value::text(row.state),
            Value::of(row.actors, Value::Number),
            Value::of(row.beat_age_s, Value::Float),
            Value::of(row.age_s, Value::Float),
            Value::text(&row.shown_path),
            Value::Text(note),
        ]
    });
    let columns = [
        text("node"),
        number("pid", ""),
        text("system"),
        text("state"),
        number("actors", "actors"),
        number("beat_s", "s"),
        number("age_s", "s"),
        text("file"),
        text("note"),
    ];
    List::new("nodes", "NODE", columns, rows)
}

/// All that is told of a row, for a pane of its own: titles and texts.
pub fn detail(sheet: &Sheet, at: usize, source: Source<'_>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut pair = |title: &str, text: String| pairs.push((title.to_owned(), text));
    match &sheet.rows {
        Rows::Actors(rows) => {
            let Some(row) = rows.get(at).zip(source.tick).and_then(|(b, tick)| actor(tick, b.number)) else {
                return pairs;
            };
            for column in COLUMNS {
                let Some(title) = column.detail else { continue };
                let value = match (column.value)(&row) {
                    ActorValue::Unknown if column.column.name == "depth" => {
                        "- (atomr does not report it; the application may)".into()
                    }
                    value => value.shown(),
                };
                pair(title, value.into_owned());
            }
            let path = row.actor.path();
            let is_it = |word: &str| word.trim_end_matches(':') == path;
            let is_then = |event: &EventRow| {
                source.until.is_none_or(|until| event.at.is_none_or(|at| !at.is_after(&until)))
            };
            let about = source.events.iter().rev().filter(|(_, event)| is_then(event));
            let about = about.filter(|(_, event)| event.text.split(' ').any(is_it));
            for (at, (_, event)) in about.take(10).enumerate() {
                let [time, ..] =
                    event_row(event).try_into().unwrap_or([Value::Unknown, Value::Unknown, Value::Unknown]);
                pair(
                    if at == 0 { "newest events" } else { "" },
                    format!("{} {} {}", time.shown(""), event.word, event.text),
                );
            }
        }
        Rows::Events(rows) => {
            let Some(event) = rows.get(at).and_then(|number| source.events.get(*number)) else {
                return pairs;
            };
            pair("at", event.at.map_or("-".to_owned(), |at| rfc3339(at.unix_ns)));
            pair("event", event.word.to_owned());
            pair("topic", event.topic.to_owned());
            pair("what", event.text.clone());
        }
        Rows::List(rows) => {
            let Some(row) = rows.get(at) else { return pairs };
            let unit = unit_of_row(&sheet.columns, row);
            for (at, (column, value)) in sheet.columns.iter().zip(row).enumerate() {
                let title = if at == 0 { sheet.heading.to_owned() } else { column.title() };
                pair(&title.to_lowercase(), column.shown(value, unit).into_owned());
            }
        }
    }
    pairs
}
