//! The sheet of a view: its columns, and its rows in the requested order and selection. It is made again when one of these
//! changes; drawing reads only the rows that are visible.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use atomscope::attach::RegionSummary;
use atomscope::query::{Field, FieldType, FieldValue, Query, Row};
use atomscope::report::actors::{ActorOrder, ActorRow, ActorValue, COLUMNS, IN_TOP, SortKey, show_above};
use atomscope::report::human::{self, bytes, count, duration};
use atomscope::report::list::{Column, List, Side, Value, number, text, unit_of_row, unknown_fields};
use atomscope::report::nodes::NodeRow;
use atomscope::snapshot::Snapshot;
use atomscope_layout::decode::{Class, Moment, rfc3339};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::Key;

use crate::program::top::history::EventLog;
use crate::program::top::tick::{ActorListing, EventRow, LISTED_ALWAYS, Tick};
use crate::program::top::view::View;

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

/// The name of the order that a list has without sorting.
pub const OWN_ORDER: &str = "";

/// A requested order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The name of a column, or [`OWN_ORDER`].
    pub column: &'static str,
    pub reverse: bool,
}

/// What a sheet is to show.
#[derive(Debug)]
pub struct SheetRequest<'a> {
    pub view: View,
    pub mode: Mode,
    /// The number of the list among the view's lists.
    pub list: usize,
    /// The order of each list, by its name.
    pub sorts: &'a HashMap<&'static str, Sort>,
    pub filter: &'a str,
    pub folded: &'a HashSet<Key>,
    pub shows_rates: bool,
    pub hides_zeros: bool,
    pub topic: Option<&'static str>,
    /// The values from which totals are counted.
    pub baseline: Option<&'a Baseline>,
    /// For the view of the program itself: how many snapshots are kept, the time that they span, and their bytes.
    pub past: Option<(usize, Duration, usize)>,
}

/// The values from which totals are counted.
#[derive(Debug)]
pub struct Baseline {
    pub snapshot: Arc<Snapshot>,
    pub classes: Arc<Vec<Class>>,
}

/// The data that sheets are made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub tick: Option<&'a Tick>,
    pub events: &'a EventLog,
    /// The end of the shown past; later events are hidden.
    pub until: Option<Moment>,
    pub nodes: &'a [NodeRow],
    /// The node on the screen.
    pub watched: Option<&'a RegionSummary>,
}

impl<'a> Source<'a> {
    /// The row of the node on the screen.
    pub fn watched_row(&self) -> Option<&'a NodeRow> {
        let watched = self.watched?;
        self.nodes
            .iter()
            .find(|row| row.summary.as_ref().is_some_and(|summary| summary.is_of_same_node(watched)))
    }
}

/// The lists of a view, one of which is visible.
#[derive(Debug, Default)]
pub struct Sheet {
    /// Sentences above the list.
    pub lines: Vec<String>,
    /// The name and length of each list.
    pub lists: Vec<(Cow<'static, str>, usize)>,
    pub list: usize,
    /// The name of the visible list, by which its requested order is kept.
    pub name: &'static str,
    pub columns: Vec<Column>,
    /// The title of the first column.
    pub heading: &'static str,
    pub sort: Option<Sort>,
    pub rows: Rows,
    /// How many rows there are before filtering.
    pub found: usize,
    /// Why the filter is no query.
    pub error: Option<String>,
    /// The text in place of rows where there are none.
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
    /// The depth in the tree; `None` in a list.
    pub level: Option<u16>,
    pub fold: Fold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    Leaf,
    Open,
    Folded,
}

/// The identity of a row in its list, by which it is found again in the next snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKey {
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

    /// The values of a row, one for each column.
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

    pub fn row_key(&self, at: usize, tick: Option<&Tick>) -> Option<RowKey> {
        match &self.rows {
            Rows::List(rows) => Some(RowKey::Texts(list_key(&self.columns, rows.get(at)?))),
            Rows::Actors(rows) => {
                let actors = tick?.listed.as_ref()?.tree.actors();
                Some(RowKey::Actor(actors.get(rows.get(at)?.number)?.key()))
            }
            Rows::Events(rows) => rows.get(at).map(|number| RowKey::Event(*number)),
        }
    }

    /// The index at which a row is now.
    pub fn find(&self, key: &RowKey, tick: Option<&Tick>) -> Option<usize> {
        match (&self.rows, key) {
            (Rows::List(rows), RowKey::Texts(texts)) => {
                rows.iter().position(|row| list_key(&self.columns, row) == *texts)
            }
            (Rows::Actors(rows), RowKey::Actor(key)) => {
                let actors = tick?.listed.as_ref()?.tree.actors();
                let number = actors.iter().position(|actor| actor.key() == *key)? as u32;
                rows.iter().position(|branch| branch.number == number)
            }
            (Rows::Events(rows), RowKey::Event(number)) => rows.binary_search(number).ok(),
            _ => None,
        }
    }
}

/// The texts of a row that identify it: the first one, and its owner or the like.
fn list_key(columns: &[Column], row: &[Value]) -> Vec<String> {
    let is_identifying =
        |(at, column): &(usize, &Column)| *at == 0 || ["owner", "unit", "file", "id"].contains(&column.name);
    let identifying = columns.iter().enumerate().filter(is_identifying);
    identifying.filter_map(|(at, _)| row.get(at)).map(|value| value.shown("").into_owned()).collect()
}

/// Makes a sheet.
pub fn sheet(request: &SheetRequest<'_>, source: Source<'_>) -> Sheet {
    match (request.view, source.tick) {
        (View::Nodes, _) => of_lists(request, vec![nodes(source)], Vec::new(), {
            "No node on this machine is visible to you. Is one running, with the probe, as this user? `atomscope doctor` \
             explains. New nodes appear in this list."
        }),
        (_, None) => {
            Sheet { nothing: "Waiting for the first snapshot of the node.".to_owned(), ..Sheet::default() }
        }
        (View::Overview, Some(_)) => Sheet::default(),
        (View::Actors, Some(tick)) => actors(request, tick),
        (View::DeadLetters, Some(tick)) => {
            let letters = &tick.snapshot.dead_letters;
            let rate = tick.point.rates().map(|rates| format!(", {:.1}/s", rates.dead_letters));
            let rate = rate.unwrap_or_default();
            let line = format!(
                "{} so far{rate}; the newest {} of {} kept ones are listed, {} are unreadable",
                count(letters.total, "dead letter", "dead letters"),
                letters.recent.len(),
                tick.usage.dead_letters.used,
                letters.abandoned.saturating_add(letters.unreadable)
            );
            let nothing = match letters.total {
                0 => "No message was undeliverable.",
                _ => "All dead letters that the region holds are unreadable.",
            };
            of_lists(request, vec![dead_letters(&tick.snapshot)], vec![line], nothing)
        }
        (View::Events, Some(_)) => events(request, source),
        (View::Own, Some(tick)) => {
            let region = format!(
                "The region is {} ({}), layout {}.{}, written by {}.",
                tick.path.display(),
                bytes(tick.bytes),
                tick.snapshot.layout_version.0,
                tick.snapshot.layout_version.1,
                tick.snapshot.identity.writer
            );
            let (snapshots, span, held) = request.past.unwrap_or_default();
            let past = format!(
                "The past is kept in memory: {} of {}, {}.",
                count(snapshots as u64, "snapshot", "snapshots"),
                duration(span),
                bytes(held as u64)
            );
            let lines = [region, past].into_iter().chain(tick.caveats.iter().cloned()).collect();
            of_lists(request, own(tick), lines, "")
        }
        (View::Subsystem(subsystem), Some(tick)) => {
            let mut lists = subsystem.lists(Some(&tick.snapshot));
            let shown = if request.shows_rates && !tick.is_last() {
                tick.before.as_ref().map(|(before, seconds)| (before, Some(*seconds)))
            } else {
                request.baseline.map(|baseline| (&baseline.snapshot, None))
            };
            let then = shown.map_or(Vec::new(), |(then, _)| subsystem.lists(Some(then)));
            for (at, list) in lists.iter_mut().enumerate() {
                let seconds = shown.and_then(|(_, seconds)| seconds);
                since(list, then.get(at), seconds, request.shows_rates && !tick.is_last());
            }
            let mut lines = Vec::new();
            let is_in_use = request.view.is_in_use(tick);
            if is_in_use && !subsystem.is_one_list {
                lines.push(subsystem.summary(&tick.snapshot).line);
            }
            lines.extend(subsystem.gaps(&tick.snapshot));
            let node = &tick.snapshot.identity.node;
            // Of a subsystem that is in use, an empty list means that there is none.
            let nothing = match lists.get(request.list.min(lists.len().saturating_sub(1))) {
                Some(list) if is_in_use => format!("{}: none.", list.name.replace('_', " ")),
                _ => format!("Node {node} reports nothing about {}.", subsystem.content),
            };
            of_lists(request, lists, lines, &nothing)
        }
    }
}

/// Turns totals into their growth since `then`, or into their growth per second.
fn since(list: &mut List, then: Option<&List>, seconds: Option<f64>, is_rate: bool) {
    let before: HashMap<Vec<String>, &Vec<Value>> =
        then.iter().flat_map(|then| &then.rows).map(|row| (list_key(&list.columns, row), row)).collect();
    if then.is_none() && !is_rate {
        return;
    }
    for row in &mut list.rows {
        let before = before.get(&list_key(&list.columns, row));
        for (at, value) in row.iter_mut().enumerate() {
            let (Value::Total(now) | Value::Count(now)) = *value else { continue };
            let earlier = match before.and_then(|row| row.get(at)) {
                Some(Value::Total(then) | Value::Count(then)) => *then,
                _ => 0,
            };
            let growth = now.saturating_sub(earlier);
            *value = match (is_rate, seconds) {
                (true, Some(seconds)) => {
                    let rate = growth as f64 / seconds.max(1e-9);
                    if matches!(value, Value::Count(_)) { Value::CountRate(rate) } else { Value::Rate(rate) }
                }
                // There is no previous snapshot.
                (true, None) => Value::Unknown,
                (false, _) if matches!(value, Value::Count(_)) => Value::Count(growth),
                (false, _) => Value::Total(growth),
            };
        }
    }
}

/// The sheet of one of these lists, in the requested order and selection.
fn of_lists(request: &SheetRequest<'_>, lists: Vec<List>, lines: Vec<String>, nothing: &str) -> Sheet {
    let names = lists.iter().map(|list| (Cow::from(list.name.replace('_', " ")), list.rows.len())).collect();
    let at = request.list.min(lists.len().saturating_sub(1));
    let Some(mut list) = lists.into_iter().nth(at) else { return Sheet::default() };
    let found = list.rows.len();
    let (unknown, error) = match list.filter(request.filter) {
        Ok(unknown) => (unknown, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    if request.hides_zeros && request.view != View::Nodes {
        list.rows.retain(|row| !is_idle(row));
    }
    let sort = request.sorts.get(list.name).copied();
    if let Some((sort, at)) = sort.and_then(|sort| Some((sort, list.column(sort.column)?))) {
        list.rows.sort_by(|a, b| a[at].compare(&b[at], sort.reverse));
    } else if sort.is_some_and(|sort| sort.reverse) {
        list.rows.reverse();
    }
    let nothing = match found {
        0 => nothing.to_owned(),
        _ => hidden(found, request, &unknown),
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

/// Why all rows are hidden. An unknown field is named, so that nobody takes unknown values for zero.
fn hidden(found: usize, request: &SheetRequest<'_>, unknown: &[String]) -> String {
    if !unknown.is_empty() {
        return format!("{} for all {found} rows: none is shown.", unknown_fields(unknown));
    }
    match (request.filter, request.hides_zeros) {
        ("", _) => format!("All {found} rows are zero and hidden: i shows them."),
        (_, false) => format!("None of {found} rows matches the filter. Esc clears it."),
        (_, true) => {
            format!(
                "None of {found} rows matches the filter (Esc clears it) and has a number that is not zero (i shows zeros)."
            )
        }
    }
}

/// Whether it has numbers and all are zero.
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
    let mut values: Vec<Value> = IN_TOP.iter().map(|column| column.value(&row).into()).collect();
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

fn actors(request: &SheetRequest<'_>, tick: &Tick) -> Sheet {
    let lists = Mode::ALL.map(|mode| {
        let count = if mode == Mode::Classes { tick.classes.len() } else { tick.tally.listed as usize };
        (Cow::from(mode.title()), count)
    });
    let list = Mode::ALL.iter().position(|mode| *mode == request.mode).unwrap_or_default();
    let lists = lists.to_vec();
    if request.mode == Mode::Classes {
        let of = of_lists(request, vec![classes(request, tick)], Vec::new(), "There is no live actor.");
        return Sheet { lists, list, ..of };
    }
    let fields = ActorRow::fields(true);
    let (query, error) = parse(request.filter, &fields);
    let Some(listed_actors) = tick.listed.as_deref() else {
        let nothing = format!(
            "In this snapshot actors were only counted: more than {LISTED_ALWAYS} actors are listed only while their list is \
             shown. The next snapshot lists them; t shows the classes."
        );
        return Sheet { lists, list, error, nothing, ..Sheet::default() };
    };
    let (all, forest) = (listed_actors.tree.actors(), listed_actors.tree.forest());
    let is_wanted = |number: u32| {
        actor(tick, number).is_some_and(|row| {
            let is_idle = request.hides_zeros && row.actor.mailbox_depth() == Some(0);
            !is_idle && query.matches(&row)
        })
    };
    let is_all = query.is_anything() && !request.hides_zeros;
    let sort = request.sorts.get("actors").copied();
    let rows = if request.mode == Mode::Flat {
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
        tree(listed_actors, request.folded, shown.as_deref(), ranks.as_deref())
    };
    let nothing = match all.len() {
        0 => "There is no live actor.".to_owned(),
        found if rows.is_empty() => {
            let all = (0..found as u32).filter_map(|number| actor(tick, number));
            hidden(found, request, &query.unknown_in_all(&fields, all))
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
    let Some(column) = column.filter(|column| !matches!(column.order, ActorOrder::Path)) else {
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

/// The visible rows of a tree, from top to bottom.
fn tree(
    listed: &ActorListing,
    folded: &HashSet<Key>,
    shown: Option<&[bool]>,
    ranks: Option<&[(bool, u64)]>,
) -> Vec<Branch> {
    let (forest, all) = (listed.tree.forest(), listed.tree.actors());
    let is_shown = |number: &u32| shown.is_none_or(|shown| shown[*number as usize]);
    // The rows still to come, the next one last.
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

/// Live actors by class.
fn classes(request: &SheetRequest<'_>, tick: &Tick) -> List {
    let shows_rates = request.shows_rates && !tick.is_last();
    let then = if shows_rates {
        tick.classes_before.as_ref()
    } else {
        request.baseline.map(|baseline| &baseline.classes)
    };
    let then: Option<HashMap<&str, u64>> =
        then.map(|then| then.iter().map(|of| (of.name.as_str(), of.actors)).collect());
    let seconds = tick.before.as_ref().map(|(_, seconds)| *seconds);
    let rows = tick.classes.iter().map(|of| {
        let before = then.as_ref().map(|then| then.get(of.name.as_str()).copied().unwrap_or(0));
        let grown = match (before, shows_rates, seconds) {
            (Some(before), true, Some(seconds)) => {
                Value::Float(((of.actors as f64 - before as f64) / seconds.max(1e-9) * 10.0).round() / 10.0)
            }
            (Some(before), false, _) => Value::Float(of.actors as f64 - before as f64),
            _ => Value::Unknown,
        };
        let age = tick.snapshot.until.zip(of.oldest).and_then(|(until, oldest)| until.since(&oldest));
        vec![
            Value::text(&of.name),
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
    fn field_value(&self, field: usize) -> FieldValue<'_> {
        FieldValue::Text(match field {
            0 => self.0.word.into(),
            1 => self.0.topic.into(),
            _ => self.0.text.as_str().into(),
        })
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        is_wanted(self.0.word) || is_wanted(&self.0.text)
    }
}

fn events(request: &SheetRequest<'_>, source: Source<'_>) -> Sheet {
    let fields = ["event", "topic", "what"].map(|name| Field::new(name, FieldType::Text));
    let (query, error) = parse(request.filter, &fields);
    let is_then =
        |event: &EventRow| source.until.is_none_or(|until| event.at.is_none_or(|at| !at.is_after(&until)));
    let all = source.events.iter().filter(|(_, event)| is_then(event));
    let (mut found, mut rows) = (0, Vec::new());
    for (number, event) in all {
        found += 1;
        // Events that were overwritten may have been of any topic.
        let is_of_topic = request.topic.is_none_or(|topic| event.topic == topic || event.lost > 0);
        if is_of_topic && (query.is_anything() || query.matches(&EventOf(event))) {
            rows.push(number);
        }
    }
    let topic = request.topic.unwrap_or("all topics");
    let lost = count(source.events.lost, "event was", "events were");
    let line = format!("{topic}; {lost} overwritten before this screen read them");
    let cut = source.events.cut_at().and_then(|event| event.at).map(|at| rfc3339(at.unix_ns));
    let cut = cut.as_deref().and_then(|time| time.get(11..19));
    let cut = cut.map(|time| format!("; events before {time}Z are not kept")).unwrap_or_default();
    let line = line + &cut;
    let nothing = match (found, request.topic, request.filter) {
        (0, ..) if source.events.is_cut() => "Events of that time are not kept any more.".to_owned(),
        (0, ..) => "Nothing has happened yet.".to_owned(),
        (_, Some(topic), "") => {
            format!("None of {found} events has the topic {topic}; o selects the next topic.")
        }
        _ => hidden(found, request, &[]),
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

/// What the node's telemetry costs and drops.
fn own(tick: &Tick) -> Vec<List> {
    let usage = &tick.usage;
    let capacities = [
        ("actor slots", usage.actor_slots, "actors"),
        ("names", usage.names, "names"),
        ("metrics", usage.metrics, "metrics"),
        ("histograms", usage.histograms, "histograms"),
        ("instances", usage.instances, "instances"),
        ("dead letters kept", usage.dead_letters, "dead_letters"),
        ("lanes", usage.lanes, "lanes"),
    ];
    let rows = capacities.map(|(name, fill, option)| {
        vec![
            Value::text(name),
            Value::Number(fill.used),
            Value::Number(fill.capacity),
            Value::Number(fill.percent()),
            Value::text(option),
        ]
    });
    let columns =
        [text("capacity"), number("used", ""), number("of", ""), number("full", "%"), text("option")];
    let capacity = List::new("capacity", "CAPACITY", columns, rows);

    let subsystems = &tick.snapshot.subsystems;
    let unreadable = [
        (tick.snapshot.dead_letters.unreadable, "unreadable dead letters"),
        (tick.tally.unreadable, "unreadable actor records"),
        (subsystems.instances.unreadable, "unreadable records of subsystems"),
        (subsystems.documents_unreadable, "unreadable documents (cluster state, shard allocation)"),
        (tick.snapshot.totals.untracked, "live actors that have no slot"),
        (tick.tally.unlisted, "live actors that are counted but not listed"),
    ];
    let rows = usage.drops.list().into_iter().chain(unreadable);
    let rows = rows.map(|(number, what)| vec![Value::text(what), Value::Number(number)]);
    let drops = List::new("dropped", "WHAT", [text("what"), number("number", "")], rows);

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
        Value::text("this snapshot of the node"),
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
    vec![capacity, drops, cost, lanes]
}

/// The list of the nodes of this machine.
fn nodes(source: Source<'_>) -> List {
    let watched = source.watched_row();
    let rows = source.nodes.iter().map(|row| {
        let is_watched = watched.is_some_and(|watched| std::ptr::eq(watched, row));
        let notes = is_watched.then_some("on this screen").into_iter().chain(row.why.as_deref());
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

/// Titles and texts for the pane that shows one row.
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
                let value = match column.value(&row) {
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
