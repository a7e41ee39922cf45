//! A sheet and its rows, and the key by which a row is found again in the next sheet.

use std::borrow::Cow;

use atomscope::report::actors::{ActorColumn, ActorRow, IN_TOP};
use atomscope::report::list::{Column, Value};
use atomscope_layout::decode::rfc3339;
use atomscope_layout::table::Key;

use crate::program::top::sheet::request::{Sort, Source};
use crate::program::top::tick::{EventRow, Tick};

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
    /// The column that the list is sorted by unless an order is requested, if that is known.
    pub own_order: Option<&'static str>,
    pub rows: Rows,
    /// How many rows there are before filtering.
    pub found: usize,
    /// Why the filter is no query.
    pub error: Option<String>,
    /// The text in place of rows where there are none.
    pub nothing: String,
}

/// The rows of a sheet. Those of actors and events are numbers, and their values are made when they are drawn.
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

/// Whether the children of an actor are shown.
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
    /// The number of rows.
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

    /// The key of a row.
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
pub fn list_key(columns: &[Column], row: &[Value]) -> Vec<String> {
    let is_identifying = |(at, column): &(usize, &Column)| {
        let is_identifying = ["owner", "labels", "unit", "file", "id", "tid"].contains(&column.name);
        *at == 0 || is_identifying && !column.is_own
    };
    let identifying = columns.iter().enumerate().filter(is_identifying);
    identifying.filter_map(|(at, _)| row.get(at)).map(|value| value.shown("").into_owned()).collect()
}

/// The actor of this number in the list of a tick.
pub fn actor(tick: &Tick, number: u32) -> Option<ActorRow<'_>> {
    let all = tick.listed.as_ref()?;
    let below = all.below.get(number as usize).copied();
    let actor = all.tree.actors().get(number)?;
    Some(ActorRow { actor, until: tick.snapshot.until, below, rates: tick.rates_of(&actor) })
}

/// The columns of the actors of a tick.
pub fn columns(tick: &Tick) -> impl Iterator<Item = &'static ActorColumn> {
    IN_TOP.into_iter().filter(|column| column.is_known_in(&tick.snapshot))
}

/// The values of an actor; in a tree, its first value is indented.
fn actor_row(tick: &Tick, branch: &Branch) -> Option<Vec<Value>> {
    let row = actor(tick, branch.number)?;
    let mut values: Vec<Value> = columns(tick).map(|column| column.value(&row).into()).collect();
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

/// The values of an event.
pub fn event_row(event: &EventRow) -> Vec<Value> {
    let time = event.at.map(|at| rfc3339(at.unix_ns));
    let time = time.as_deref().and_then(|time| time.get(11..23)).map(Value::text);
    vec![time.unwrap_or(Value::Unknown), Value::text(&event.word), Value::text(&event.text)]
}
