//! Actors as rows, and the one table of their columns: lists, trees, `top`, JSON and queries are made of it.

use std::borrow::Cow;
use std::cmp::Ordering;

use atomscope_layout::decode::{Actor, Moment, SpawnedAt};
use atomscope_layout::forest::Forest;
use serde::{Serialize, Serializer};

use super::human::seconds;
use super::instruments::{ActorRates, busy_percent, in_flight};
use super::list::{self, Column, Value, number, text};
use crate::query::{Field, FieldValue, Row};
use crate::snapshot::Snapshot;

/// An actor as a row.
///
/// ```no_run
/// # use atomscope::find::{Search, Target};
/// use atomscope::query::Query;
/// use atomscope::report::actors::{ActorRow, LISTED};
/// use atomscope::snapshot::Snapshot;
///
/// # let region = Search::default().attach(&Target::Only)?.region;
/// let snapshot = Snapshot::take(&region)?;
/// let query = Query::parse("class ~ Order and age > 1m", &ActorRow::fields(false))?;
/// let rows = snapshot.actors.iter().map(|actor| ActorRow::new(actor, snapshot.until));
/// for row in rows.filter(|row| query.matches(row)) {
///     println!("{}", LISTED.map(|column| column.value(&row).shown()).join("  "));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ActorRow<'a> {
    /// The actor.
    pub actor: Actor<'a>,
    /// The end of the time that it is known to have lived; see [`crate::attach::Region::until`].
    pub until: Option<Moment>,
    /// How many actors are below it, if they were counted.
    pub below: Option<u32>,
    /// What it did since the look before, if there was one.
    pub rates: Option<ActorRates>,
}

/// A value of an actor. It borrows from the list of actors, so that getting one allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActorValue<'a> {
    /// A text.
    Text(&'a str),
    /// A number of messages or actors.
    Number(u64),
    /// A time in seconds, or another number with a fraction.
    Float(f64),
    /// The time of the spawn.
    Time(SpawnedAt<'a>),
    /// The node does not report it.
    Unknown,
}

/// A column of actors.
#[derive(Debug)]
pub struct ActorColumn {
    /// Name, unit and side. The title follows from them.
    pub column: Column,
    /// Its names in queries and for `--sort`, the first one in the help; a query cannot use a column without names.
    pub names: &'static [&'static str],
    /// Its key in JSON.
    pub key: Option<&'static str>,
    /// Its title in the pane of `top` that shows one actor.
    pub detail: Option<&'static str>,
    /// Whether lists and trees show it.
    pub is_in_list: bool,
    /// Whether `top` shows it. Everything that `top` shows can be sorted by.
    pub is_in_top: bool,
    /// Whether `--sort` offers it.
    pub is_sort: bool,
    /// Whether its value is known only if the actors below each actor were counted.
    pub needs_count: bool,
    /// What its value is known for.
    pub needs: Needs,
    /// The getter of an actor's value.
    pub get: Get,
    /// What actors are sorted by.
    pub order: ActorOrder,
}

/// What of a node must be there so that a column has values. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Live actors.
    Actors,
    /// Instrumented actors.
    Instruments,
    /// Instrumented actors on a runtime whose polls are watched.
    Polls,
}

/// The getter of a column's value; it returns `None` where the value is unknown.
#[derive(Debug, Clone, Copy)]
pub enum Get {
    /// A text.
    Text(for<'a> fn(&ActorRow<'a>) -> Option<&'a str>),
    /// A number of messages or actors.
    Number(for<'a> fn(&ActorRow<'a>) -> Option<u64>),
    /// A time in seconds, or another number with a fraction.
    Float(for<'a> fn(&ActorRow<'a>) -> Option<f64>),
    /// The time of the spawn.
    Time(for<'a> fn(&ActorRow<'a>) -> SpawnedAt<'a>),
}

/// What actors are sorted by.
#[derive(Debug, Clone, Copy)]
pub enum ActorOrder {
    /// Their paths, from A to Z. Paths are compared directly and not as values, because every list starts in this order.
    Path,
    /// Their values: texts from A to Z, numbers from the greatest.
    Value,
    /// This number, from the smallest.
    Rank(for<'a> fn(&Actor<'a>) -> u64),
}

/// A column with a getter, and with defaults for everything else.
const fn column(column: Column, get: Get) -> ActorColumn {
    ActorColumn {
        column,
        names: &[],
        key: None,
        detail: None,
        is_in_list: false,
        is_in_top: false,
        is_sort: false,
        needs_count: false,
        needs: Needs::Actors,
        get,
        order: ActorOrder::Value,
    }
}

/// A column that only instrumented actors have, shown in lists and in `top`.
const fn instrumented(column_of: Column, get: Get) -> ActorColumn {
    ActorColumn { is_in_list: true, is_in_top: true, needs: Needs::Instruments, ..column(column_of, get) }
}

/// All columns of actors, in the order in which they are shown and written. What an actor does now stays longest on a narrow screen.
pub const COLUMNS: &[ActorColumn] = &[
    ActorColumn {
        names: &["path"],
        key: Some("path"),
        detail: Some("path"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        order: ActorOrder::Path,
        ..column(text("path"), Get::Text(|row| Some(row.actor.path())))
    },
    ActorColumn {
        names: &["parent"],
        key: Some("parent"),
        detail: Some("parent"),
        ..column(text("parent"), Get::Text(|row| row.actor.parent()))
    },
    ActorColumn { names: &["name"], ..column(text("name"), Get::Text(|row| Some(row.actor.name()))) },
    ActorColumn {
        names: &["class", "type"],
        key: Some("class"),
        detail: Some("class"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        ..column(text("class"), Get::Text(|row| Some(row.actor.class())))
    },
    ActorColumn {
        names: &["depth", "mailbox_depth"],
        key: Some("mailbox_depth"),
        detail: Some("mailbox depth (msgs)"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        ..column(number("depth", "msgs").dropped(2), Get::Number(|row| row.actor.mailbox_depth()))
    },
    ActorColumn {
        key: Some("depth_peak"),
        detail: Some("greatest depth (msgs)"),
        ..column(number("depth_peak", "msgs"), Get::Number(|row| row.actor.depth_peak()))
    },
    ActorColumn {
        names: &["handled"],
        key: Some("handled"),
        detail: Some("handled (msgs)"),
        is_in_top: false,
        is_sort: true,
        ..instrumented(
            number("handled", "msgs").dropped(1),
            Get::Number(|row| Some(row.actor.stats()?.handled)),
        )
    },
    ActorColumn {
        detail: Some("handled (/s)"),
        is_in_list: false,
        ..instrumented(number("handled", "/s").dropped(1), Get::Float(|row| Some(row.rates?.handled_per_s)))
    },
    ActorColumn {
        names: &["polls"],
        key: Some("polls"),
        detail: Some("polls"),
        is_in_top: false,
        is_sort: true,
        needs: Needs::Polls,
        ..instrumented(number("polls", "").dropped(2), Get::Number(|row| row.actor.stats()?.polls))
    },
    ActorColumn {
        names: &["busy", "busy_percent"],
        key: Some("busy_percent"),
        detail: Some("busy (%)"),
        is_sort: true,
        ..instrumented(number("busy", "%"), Get::Float(|row| row.busy_percent()))
    },
    ActorColumn {
        names: &["failures"],
        key: Some("failures"),
        detail: Some("failures"),
        is_sort: true,
        ..instrumented(
            number("failures", "").dropped(3),
            Get::Number(|row| Some(row.actor.stats()?.failures.into())),
        )
    },
    ActorColumn {
        names: &["restarts"],
        key: Some("restarts"),
        detail: Some("restarts"),
        ..instrumented(
            number("restarts", "").dropped(6),
            Get::Number(|row| Some(row.actor.stats()?.restarts.into())),
        )
    },
    ActorColumn {
        names: &["running", "running_s"],
        key: Some("running_s"),
        detail: Some("running (s)"),
        is_sort: true,
        ..instrumented(number("running_s", "s"), Get::Float(|row| row.running_s()))
    },
    ActorColumn {
        names: &["variant"],
        key: Some("variant"),
        detail: Some("variant"),
        ..instrumented(text("variant"), Get::Text(|row| row.variant()))
    },
    ActorColumn {
        names: &["mode"],
        key: Some("mode"),
        detail: Some("mode"),
        ..instrumented(text("mode"), Get::Text(|row| Some(row.actor.stats()?.in_flight?.mode?.word())))
    },
    ActorColumn {
        names: &["below"],
        detail: Some("actors below it"),
        is_in_top: true,
        needs_count: true,
        ..column(number("below", "actors").dropped(4), Get::Number(|row| row.below.map(u64::from)))
    },
    ActorColumn {
        key: Some("spawned_at"),
        detail: Some("spawned at"),
        ..column(text("spawned_at"), Get::Time(|row| row.actor.spawned_at()))
    },
    ActorColumn {
        names: &["age"],
        key: Some("age_s"),
        detail: Some("age (s)"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        // The wall clock may have been set between two spawns, and stamps are known where times are not.
        order: ActorOrder::Rank(|actor| actor.spawn_stamp()),
        ..column(number("age_s", "s").dropped(5), Get::Float(|row| row.age_s()))
    },
    ActorColumn {
        names: &["host"],
        key: Some("host"),
        detail: Some("host"),
        is_in_list: true,
        is_in_top: true,
        ..column(text("host").dropped(7), Get::Text(|row| row.actor.host()))
    },
];

/// Makes a constant of the columns that fulfil a condition.
macro_rules! columns_where {
    ($(#[doc = $doc:literal])+ $visibility:vis $name:ident: $length:ident, |$column:ident| $condition:expr) => {
        /// The number of these columns.
        $visibility const $length: usize = {
            let (mut at, mut count) = (0, 0);
            while at < COLUMNS.len() {
                let $column = &COLUMNS[at];
                count += $condition as usize;
                at += 1;
            }
            count
        };

        $(#[doc = $doc])+
        $visibility const $name: [&ActorColumn; $length] = {
            let mut columns = [&COLUMNS[0]; $length];
            let (mut at, mut count) = (0, 0);
            while at < COLUMNS.len() {
                let $column = &COLUMNS[at];
                if $condition {
                    columns[count] = $column;
                    count += 1;
                }
                at += 1;
            }
            columns
        };
    };
}

columns_where! {
    /// The columns of lists and trees.
    pub LISTED: LISTED_COUNT, |column| column.is_in_list
}
columns_where! {
    /// The columns of lists and trees of a node that watches no polls.
    pub LISTED_WITHOUT_POLLS: LISTED_WITHOUT_POLLS_COUNT,
    |column| column.is_in_list && !matches!(column.needs, Needs::Polls)
}
columns_where! {
    /// The columns of lists and trees of a node without instrumented actors.
    pub LISTED_WITHOUT: LISTED_WITHOUT_COUNT, |column| column.is_in_list && matches!(column.needs, Needs::Actors)
}
columns_where! {
    /// The columns of `top`.
    pub IN_TOP: IN_TOP_COUNT, |column| column.is_in_top
}
columns_where! {
    /// The columns that `--sort` offers.
    pub SORTS: SORT_COUNT, |column| column.is_sort
}
columns_where! {
    /// The texts that a query without a field searches.
    TEXTS: TEXT_COUNT, |column| column.is_in_list && matches!(column.get, Get::Text(_))
}

/// The fields of a query: each column once for each of its names. The column that needs a count is the last.
const FIELDS: [(&str, &ActorColumn); FIELD_COUNT] = {
    let mut fields = [("", &COLUMNS[0]); FIELD_COUNT];
    let (mut at, mut count, mut last) = (0, 0, FIELD_COUNT);
    while at < COLUMNS.len() {
        let column = &COLUMNS[at];
        let mut name = 0;
        while name < column.names.len() {
            if column.needs_count {
                last -= 1;
                fields[last] = (column.names[name], column);
            } else {
                fields[count] = (column.names[name], column);
                count += 1;
            }
            name += 1;
        }
        at += 1;
    }
    assert!(count + 1 == FIELD_COUNT, "`ActorRow::fields` can omit only the last field");
    fields
};

const FIELD_COUNT: usize = {
    let (mut at, mut count) = (0, 0);
    while at < COLUMNS.len() {
        count += COLUMNS[at].names.len();
        at += 1;
    }
    count
};

impl Needs {
    /// The greatest that a snapshot meets.
    pub fn met_by(snapshot: &Snapshot) -> Self {
        let classes = &snapshot.instruments.classes;
        match has_instruments(snapshot) {
            true if classes.iter().any(|class| class.polls.is_some()) => Self::Polls,
            true => Self::Instruments,
            false => Self::Actors,
        }
    }
}

impl ActorColumn {
    /// The column that `--sort` calls by this name.
    pub fn sort(name: &str) -> Option<&'static Self> {
        SORTS.into_iter().find(|column| column.names.contains(&name))
    }

    /// The value of an actor.
    pub fn value<'a>(&self, row: &ActorRow<'a>) -> ActorValue<'a> {
        let value = match self.get {
            Get::Text(get) => get(row).map(ActorValue::Text),
            Get::Number(get) => get(row).map(ActorValue::Number),
            Get::Float(get) => get(row).map(ActorValue::Float),
            Get::Time(get) => Some(ActorValue::Time(get(row))),
        };
        value.unwrap_or(ActorValue::Unknown)
    }

    /// The key that sorts an actor, ascending; `None` where the value is unknown.
    pub fn sort_key<'a>(&self, row: &ActorRow<'a>) -> Option<SortKey<'a>> {
        match (self.order, self.get) {
            (ActorOrder::Rank(rank), _) => Some(SortKey::Number(rank(&row.actor))),
            (_, Get::Text(get)) => get(row).map(SortKey::Text),
            (_, Get::Number(get)) => get(row).map(|number| SortKey::Number(u64::MAX - number)),
            // From 0 on, in thousandths.
            (_, Get::Float(get)) => get(row).map(|number| SortKey::Number(u64::MAX - (number * 1e3) as u64)),
            // The column of times has a rank.
            (_, Get::Time(_)) => None,
        }
    }

    /// Whether a list of this snapshot shows it, if lists show it at all.
    pub fn is_known_in(&self, snapshot: &Snapshot) -> bool {
        self.needs <= Needs::met_by(snapshot)
    }

    /// The order of two actors by this column. Unknown values are last, reversed or not; equal ones are in the order of
    /// their paths.
    pub fn compare(&self, a: &ActorRow<'_>, b: &ActorRow<'_>, reverse: bool) -> Ordering {
        let turn = |order: Ordering| if reverse { order.reverse() } else { order };
        let by_path = || a.actor.path().cmp(b.actor.path());
        match (self.order, self.get) {
            (ActorOrder::Path, _) => turn(by_path()),
            (ActorOrder::Value, Get::Text(get)) => {
                // The paths are compared first, though seldom needed: otherwise a sort by class took 15 % longer.
                let paths = by_path();
                let (text_a, text_b) = (get(a), get(b));
                unknown_last(text_a, text_b, turn).then(paths)
            }
            _ => {
                let (key_a, key_b) = (self.sort_key(a), self.sort_key(b));
                unknown_last(key_a, key_b, turn).then_with(by_path)
            }
        }
    }
}

fn unknown_last<T: Ord>(a: Option<T>, b: Option<T>, turn: impl Fn(Ordering) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => turn(a.cmp(&b)),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

/// The key that sorts an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(u64),
}

impl<'a> ActorValue<'a> {
    /// The value as people are shown it; `-` where it is unknown.
    pub fn shown(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
            Self::Float(number) => format!("{number:.1}").into(),
            Self::Time(time) => time.to_string().into(),
            Self::Unknown => "-".into(),
        }
    }
}

impl From<ActorValue<'_>> for list::Value {
    fn from(value: ActorValue<'_>) -> Self {
        match value {
            ActorValue::Text(text) => Value::text(text),
            ActorValue::Number(number) => Value::Number(number),
            ActorValue::Float(number) => Value::Float(number),
            ActorValue::Time(time) => Value::Text(time.to_string()),
            ActorValue::Unknown => Value::Unknown,
        }
    }
}

impl Serialize for ActorValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Time(time) => time.serialize(serializer),
            Self::Unknown => serializer.serialize_none(),
        }
    }
}

impl<'a> ActorRow<'a> {
    /// The row of an actor that was not counted. `until` is that of its snapshot.
    pub fn new(actor: Actor<'a>, until: Option<Moment>) -> Self {
        Self { actor, until, below: None, rates: None }
    }

    /// The fields of a query; `below` is one of them if the actors below each actor are counted.
    pub fn fields(below: bool) -> Vec<Field> {
        let fields = FIELDS.iter().filter(|(_, column)| below || !column.needs_count);
        fields.map(|(name, column)| Field::new(*name, column.column.kind(true))).collect()
    }

    /// The column of the field with this index.
    pub fn column_of(field: usize) -> Option<&'static ActorColumn> {
        FIELDS.get(field).map(|(_, column)| *column)
    }

    /// Seconds from its spawn to [`ActorRow::until`].
    pub fn age_s(&self) -> Option<f64> {
        self.until?.since(&self.actor.spawned()?).map(seconds)
    }

    /// The share of the time in which a handler was in flight, in percent: since the look before, or else of its life.
    fn busy_percent(&self) -> Option<f64> {
        let of_life = || busy_percent(&self.actor.stats()?, self.actor.spawned(), self.until);
        self.rates.map(|rates| rates.busy_percent).or_else(of_life)
    }

    /// Seconds since the handler in flight began.
    fn running_s(&self) -> Option<f64> {
        in_flight(&self.actor.stats()?, self.until).map(seconds)
    }
}

impl<'a> ActorRow<'a> {
    /// The variant of the message whose handler is in flight.
    fn variant(&self) -> Option<&'a str> {
        let stats = self.actor.stats()?;
        stats.in_flight.and(stats.variant)
    }
}

/// Whether any actor of the node was instrumented: only then columns of instrumented actors are worth their place.
pub fn has_instruments(snapshot: &Snapshot) -> bool {
    !snapshot.instruments.classes.is_empty()
}

impl Row for ActorRow<'_> {
    fn field_value(&self, field: usize) -> FieldValue<'_> {
        let Some((_, column)) = FIELDS.get(field) else { return FieldValue::Unknown };
        let known = match column.get {
            Get::Text(get) => get(self).map(|text| FieldValue::Text(text.into())),
            Get::Number(get) => get(self).map(|number| FieldValue::Number(number as f64)),
            Get::Float(get) => get(self).map(FieldValue::Number),
            Get::Time(get) => Some(FieldValue::Text(get(self).to_string().into())),
        };
        known.unwrap_or(FieldValue::Unknown)
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        TEXTS.iter().any(|column| match column.get {
            Get::Text(get) => get(self).is_some_and(&mut *is_wanted),
            _ => false,
        })
    }
}

/// Shows the ancestors of every actor that is shown.
pub fn show_above(forest: &Forest, is_shown: &mut [bool]) {
    for number in 0..is_shown.len() as u32 {
        let mut above = forest.above(number).filter(|_| is_shown[number as usize]);
        while let Some(at) = above.filter(|at| !is_shown[*at as usize]) {
            is_shown[at as usize] = true;
            above = forest.above(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn columns_differ_in_their_names_and_keys() {
        let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
        let keys: Vec<_> = COLUMNS.iter().filter_map(|column| column.key).collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "{keys:?}");
    }

    #[test]
    fn fields_are_numbered_alike_whether_or_not_actors_are_counted() {
        let (all, few) = (ActorRow::fields(true), ActorRow::fields(false));
        assert_eq!(all[..few.len()], few[..]);
        assert_eq!((all.len(), &*all[few.len()].name), (few.len() + 1, "below"));
    }

    #[test]
    fn what_sort_offers_can_be_sorted_by() {
        for column in SORTS {
            assert_eq!(ActorColumn::sort(column.names[0]).unwrap().column, column.column);
        }
        assert!(ActorColumn::sort("type").is_some(), "the name that it had");
    }
}
