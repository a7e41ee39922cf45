//! Actors as rows, and the one table of their columns: lists, trees, `top`, JSON and queries are made of it.

use std::borrow::Cow;
use std::cmp::Ordering;

use atomscope_layout::decode::{Actor, Moment, SpawnedAt};
use atomscope_layout::forest::Forest;
use serde::{Serialize, Serializer};

use super::human::seconds;
use super::list::{self, Column, Side, Value, number, text};
use crate::query::{Field, FieldValue, Row};

/// An actor as a row.
#[derive(Debug, Clone, Copy)]
pub struct ActorRow<'a> {
    /// The actor.
    pub actor: Actor<'a>,
    /// The end of the time that it is known to have lived; see [`crate::attach::Region::until`].
    pub until: Option<Moment>,
    /// How many actors are below it, if they were counted.
    pub below: Option<u32>,
}

/// A value of an actor. It borrows from the list of actors, so that getting one allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActorValue<'a> {
    /// A text.
    Text(&'a str),
    /// A number of messages or actors.
    Number(u64),
    /// A time in seconds.
    Seconds(f64),
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
    /// Its names in queries and for `--sort`, the first one in the help; a query cannot ask for a column without names.
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
    /// How an actor's value is got.
    pub value: for<'a> fn(&ActorRow<'a>) -> ActorValue<'a>,
    /// A number to sort by instead of the value, the smallest first.
    pub rank: Option<for<'a> fn(&ActorRow<'a>) -> u64>,
}

/// A column of which nothing but its value is known yet.
const fn column(column: Column, value: for<'a> fn(&ActorRow<'a>) -> ActorValue<'a>) -> ActorColumn {
    ActorColumn {
        column,
        names: &[],
        key: None,
        detail: None,
        is_in_list: false,
        is_in_top: false,
        is_sort: false,
        needs_count: false,
        value,
        rank: None,
    }
}

/// All columns of actors, in the order in which they are shown and written.
pub const COLUMNS: &[ActorColumn] = &[
    ActorColumn {
        names: &["path"],
        key: Some("path"),
        detail: Some("path"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        ..column(text("path"), |row| ActorValue::Text(row.actor.path()))
    },
    ActorColumn {
        names: &["parent"],
        key: Some("parent"),
        detail: Some("parent"),
        ..column(text("parent"), |row| ActorValue::of(row.actor.parent(), ActorValue::Text))
    },
    ActorColumn { names: &["name"], ..column(text("name"), |row| ActorValue::Text(row.actor.name())) },
    ActorColumn {
        names: &["class", "type"],
        // As `atomr-telemetry` calls it.
        key: Some("actor_type"),
        detail: Some("class"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        ..column(text("class"), |row| ActorValue::Text(row.actor.class()))
    },
    ActorColumn {
        names: &["depth"],
        key: Some("mailbox_depth"),
        detail: Some("mailbox depth (msgs)"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        ..column(number("depth", "msgs"), |row| ActorValue::of(row.actor.mailbox_depth(), ActorValue::Number))
    },
    ActorColumn {
        names: &["below"],
        detail: Some("actors below it"),
        is_in_top: true,
        needs_count: true,
        ..column(number("below", "actors"), |row| {
            ActorValue::of(row.below, |below| ActorValue::Number(below.into()))
        })
    },
    ActorColumn {
        key: Some("spawned_at"),
        detail: Some("spawned at"),
        ..column(text("spawned_at"), |row| ActorValue::Time(row.actor.spawned_at()))
    },
    ActorColumn {
        names: &["age"],
        key: Some("age_s"),
        detail: Some("age (s)"),
        is_in_list: true,
        is_in_top: true,
        is_sort: true,
        // The wall clock may have been set between two spawns, and stamps are known where times are not.
        rank: Some(|row| row.actor.spawn_stamp()),
        ..column(number("age_s", "s"), |row| ActorValue::of(row.age_s(), ActorValue::Seconds))
    },
    ActorColumn {
        names: &["host"],
        key: Some("host"),
        detail: Some("host"),
        is_in_list: true,
        is_in_top: true,
        ..column(text("host"), |row| ActorValue::of(row.actor.host(), ActorValue::Text))
    },
];

/// Makes a constant of the columns that fulfil a condition.
macro_rules! columns_where {
    ($(#[doc = $doc:literal])+ $name:ident: $length:ident, |$column:ident| $condition:expr) => {
        /// How many columns of that kind there are.
        pub const $length: usize = {
            let (mut at, mut count) = (0, 0);
            while at < COLUMNS.len() {
                let $column = &COLUMNS[at];
                count += $condition as usize;
                at += 1;
            }
            count
        };

        $(#[doc = $doc])+
        pub const $name: [&ActorColumn; $length] = {
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
    LISTED: LISTED_COUNT, |column| column.is_in_list
}
columns_where! {
    /// The columns of `top`.
    IN_TOP: IN_TOP_COUNT, |column| column.is_in_top
}
columns_where! {
    /// The columns that `--sort` offers.
    SORTS: SORT_COUNT, |column| column.is_sort
}
columns_where! {
    /// The texts that a query without a field looks at.
    TEXTS: TEXT_COUNT, |column| column.is_in_list && matches!(column.column.side, Side::Left)
}

/// The columns that a query may ask for, once for each name; the one that has to be counted is the last.
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
    assert!(count + 1 == FIELD_COUNT, "`fields` leaves out one field at most");
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

impl ActorColumn {
    /// The column that `--sort` calls by this name.
    pub fn sort(name: &str) -> Option<&'static Self> {
        SORTS.into_iter().find(|column| column.names.contains(&name))
    }

    /// What actors are sorted by, ascending: texts from A to Z, numbers from the greatest. `None` where it is unknown.
    pub fn sort_key<'a>(&self, row: &ActorRow<'a>) -> Option<SortKey<'a>> {
        if let Some(rank) = self.rank {
            return Some(SortKey::Number(rank(row)));
        }
        match (self.value)(row) {
            ActorValue::Text(text) => Some(SortKey::Text(text)),
            ActorValue::Number(number) => Some(SortKey::Number(u64::MAX - number)),
            // These have a rank.
            ActorValue::Seconds(_) | ActorValue::Time(_) | ActorValue::Unknown => None,
        }
    }

    /// The order of two actors by this column. Unknown values are last, reversed or not; equal ones are in the order of
    /// their paths.
    pub fn compare(&self, a: &ActorRow<'_>, b: &ActorRow<'_>, reverse: bool) -> Ordering {
        let (key_a, key_b) = (self.sort_key(a), self.sort_key(b));
        let order = key_a.cmp(&key_b);
        let order = if reverse { order.reverse() } else { order };
        let unknown = key_a.is_none().cmp(&key_b.is_none());
        unknown.then(order).then_with(|| a.actor.path().cmp(b.actor.path()))
    }
}

/// What actors are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(u64),
}

impl<'a> ActorValue<'a> {
    fn of<T>(value: Option<T>, known: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Unknown, known)
    }

    /// The value as people are shown it; `-` where it is unknown.
    pub fn shown(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
            Self::Seconds(seconds) => format!("{seconds:.1}").into(),
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
            ActorValue::Seconds(seconds) => Value::Float(seconds),
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
            Self::Seconds(seconds) => serializer.serialize_f64(*seconds),
            Self::Time(time) => time.serialize(serializer),
            Self::Unknown => serializer.serialize_none(),
        }
    }
}

impl ActorRow<'_> {
    /// The fields of a query; `below` is one of them if the actors below each actor are counted.
    pub fn fields(below: bool) -> Vec<Field> {
        let fields = FIELDS.iter().filter(|(_, column)| below || !column.needs_count);
        fields.map(|(name, column)| Field::new(*name, column.column.kind(true))).collect()
    }

    /// Seconds from its spawn to [`ActorRow::until`].
    pub fn age_s(&self) -> Option<f64> {
        self.until?.since(&self.actor.spawned()?).map(seconds)
    }
}

impl Row for ActorRow<'_> {
    fn field_value(&self, field: usize) -> FieldValue<'_> {
        let Some((_, column)) = FIELDS.get(field) else { return FieldValue::Unknown };
        match (column.value)(self) {
            ActorValue::Text(text) => FieldValue::Text(text.into()),
            ActorValue::Number(number) => FieldValue::Number(number as f64),
            ActorValue::Seconds(seconds) => FieldValue::Number(seconds),
            ActorValue::Time(time) => FieldValue::Text(time.to_string().into()),
            ActorValue::Unknown => FieldValue::Unknown,
        }
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        TEXTS.iter().any(|column| match (column.value)(self) {
            ActorValue::Text(text) => is_wanted(text),
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
