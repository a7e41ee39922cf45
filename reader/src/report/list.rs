//! Lists of rows with the same columns: how they are sorted, filtered, shown to people and written as JSON.
//!
//! ```
//! use atomscope::report::list::{List, Selection, Value, number, text};
//!
//! let rows = [("a", 1), ("b", 2)].map(|(name, size)| vec![Value::text(name), Value::Number(size)]);
//! let mut list = List::new("keys", "KEY", [text("name"), number("size", "bytes")], rows);
//! list.select(&Selection { sort: Some("size".into()), limit: Some(1), ..Selection::default() });
//! assert_eq!(list.rows[0][0], Value::text("b"));
//! ```

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Serialize;
use serde::ser::Serializer;

use crate::query::{Field, FieldType, FieldValue, Query, QueryError, Row, Unit};
use crate::report::human::count;
use crate::text::quoted;

/// The side on which a column's cells are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// For texts and flags.
    Left,
    /// For numbers.
    Right,
}

/// A value of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// The value of a gauge.
    Number(u64),
    /// The value of a counter.
    Total(u64),
    /// How many values a histogram has. The unit of its column or row is the unit of those values.
    Count(u64),
    /// The growth of a [`Value::Total`] per second, in the unit of its column or row.
    Rate(f64),
    /// The growth of a [`Value::Count`] per second, which has no unit.
    CountRate(f64),
    /// A number that may be negative.
    Signed(i64),
    /// A measurement, shown in tenths.
    Float(f64),
    /// A number of the application's own, shown with all its digits.
    Exact(f64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// Several values.
    Values(Vec<Value>),
    /// Names, each with a text.
    #[serde(serialize_with = "object")]
    Labels(Vec<(String, String)>),
    /// The node does not report it.
    Unknown,
}

impl Value {
    /// A copy of the text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A value made by `known`, or [`Value::Unknown`] of `None`.
    pub fn of<T>(value: Option<T>, known: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Unknown, known)
    }

    /// Whether it is shown as `-`: unknown, an empty text, or not a number.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Text(text) => text.is_empty(),
            Self::Labels(labels) => labels.is_empty(),
            Self::Float(number) | Self::Exact(number) => !number.is_finite(),
            _ => false,
        }
    }

    /// The value as a number, if it is one or a flag.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Total(number) | Self::Count(number) => Some(*number as f64),
            Self::Rate(number) | Self::CountRate(number) | Self::Float(number) | Self::Exact(number) => {
                Some(*number)
            }
            Self::Signed(number) => Some(*number as f64),
            Self::Flag(flag) => Some(f64::from(u8::from(*flag))),
            Self::Text(_) | Self::Texts(_) | Self::Values(_) | Self::Labels(_) | Self::Unknown => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Text(_) => 1,
            Self::Texts(_) => 2,
            Self::Values(_) => 3,
            Self::Labels(_) => 4,
            _ => 0,
        }
    }

    /// Texts from A to Z, numbers from the greatest, unknown values last whether reversed or not.
    pub fn compare(&self, other: &Self, reverse: bool) -> Ordering {
        // A column of metrics holds rates as well as gauges: all numbers are in one order.
        let order = match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Texts(a), Self::Texts(b)) => a.cmp(b),
            (Self::Labels(a), Self::Labels(b)) => a.cmp(b),
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => b.total_cmp(&a),
                _ => self.kind().cmp(&other.kind()),
            },
        };
        let turned = if reverse { order.reverse() } else { order };
        match (self.is_unknown(), other.is_unknown()) {
            (false, false) => turned,
            (a, b) => a.cmp(&b),
        }
    }

    /// The value as people are shown it, in the unit that [`shown_unit`] gives for `unit`.
    pub fn shown(&self, unit: &str) -> Cow<'_, str> {
        match self {
            _ if self.is_unknown() => "-".into(),
            Self::Number(number) | Self::Total(number) => match scale(unit) {
                ("KiB", factor) => format!("{:.1}", *number as f64 / factor).into(),
                ("ms", factor) if factor > 1.0 => format!("{:.3}", *number as f64 / factor).into(),
                _ => number.to_string().into(),
            },
            Self::Rate(rate) => format!("{:.1}/s", rate / scale(unit).1).into(),
            Self::Count(number) => format!("{number} values").into(),
            Self::CountRate(rate) => format!("{rate:.1}/s").into(),
            Self::Signed(number) if scale(unit).1 > 1.0 => {
                Self::Exact(*number as f64).shown(unit).into_owned().into()
            }
            Self::Signed(number) => number.to_string().into(),
            Self::Exact(number) if scale(unit).1 > 1.0 => format!("{:.3}", number / scale(unit).1).into(),
            Self::Exact(number) => number.to_string().into(),
            // A small share is not shown as none.
            Self::Float(number) if unit == "%" && *number != 0.0 && number.abs() < 0.05 => {
                format!("{number:.3}").into()
            }
            Self::Float(number) => format!("{number:.1}").into(),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
            Self::Text(text) => text.into(),
            Self::Texts(texts) => texts.join(",").into(),
            Self::Values(values) => {
                values.iter().map(|value| value.shown(unit)).collect::<Vec<_>>().join(",").into()
            }
            Self::Labels(labels) => shown_labels(labels).into(),
            Self::Unknown => "-".into(),
        }
    }
}

/// `shard="0",region="eu"`.
pub fn shown_labels(labels: &[(String, String)]) -> String {
    let label = |(key, value): &(String, String)| format!("{key}=\"{}\"", quoted(value));
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

fn object<S: Serializer>(labels: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|(key, value)| (key, value)))
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name in JSON and in queries.
    pub name: &'static str,
    /// The unit of its numbers; people are shown `bytes` as KiB and `nanoseconds` as ms.
    pub unit: &'static str,
    /// How its cells are aligned.
    pub side: Side,
    /// Whether people are shown it; JSON always has it.
    pub is_shown: bool,
    /// Whether its values are yes and no.
    pub is_flag: bool,
    /// Whether the application named it, so that its name says nothing to this program.
    pub is_own: bool,
    /// On a narrow screen the column with the greatest number is dropped first; of equal ones the last one.
    pub drop_rank: u8,
}

/// A column of texts.
pub const fn text(name: &'static str) -> Column {
    Column { name, unit: "", side: Side::Left, is_shown: true, is_flag: false, is_own: false, drop_rank: 0 }
}

/// A column of flags.
pub const fn flag(name: &'static str) -> Column {
    Column { is_flag: true, ..text(name) }
}

/// A column of numbers.
pub const fn number(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit, side: Side::Right, is_shown: true, is_flag: false, is_own: false, drop_rank: 0 }
}

/// The indices of columns in the order in which a narrow screen drops them. The first one stays.
pub fn drop_order<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Vec<usize> {
    let ranked = columns.into_iter().zip(0..).skip(1).map(|(column, at)| (column.drop_rank, at));
    let mut ranked: Vec<(u8, usize)> = ranked.collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().map(|(_, at)| at).collect()
}

impl Column {
    /// The same column, dropped from a narrow screen by this rank.
    pub const fn dropped(self, drop_rank: u8) -> Self {
        Self { drop_rank, ..self }
    }

    /// The kind of its field in a query. Numbers of a query without a unit are in the unit that is shown, or else in the
    /// column's own.
    pub(super) fn kind(&self, shown: bool) -> FieldType {
        let of = |unit, factor| FieldType::Number { unit, shown: if shown { factor } else { 1.0 } };
        match (self.side, self.unit) {
            (Side::Left, _) if self.is_flag => FieldType::Flag,
            (Side::Left, _) => FieldType::Text,
            (Side::Right, "bytes") => of(Unit::Bytes, 1024.0),
            (Side::Right, "nanoseconds") => of(Unit::Nanoseconds, 1e6),
            (Side::Right, "s") => of(Unit::Seconds, 1.0),
            (Side::Right, _) => of(Unit::Plain, 1.0),
        }
    }

    /// A value of this column as people are shown it; `row_unit` is the unit of numbers whose column has none.
    pub fn shown<'a>(&self, value: &'a Value, row_unit: &'a str) -> Cow<'a, str> {
        match (self.name, self.side) {
            ("unit", _) if self.is_own => value.shown(self.unit),
            ("unit", _) if value.is_unknown() => "-".into(),
            ("unit", _) => shown_unit(row_unit).into(),
            (_, Side::Right) if self.unit.is_empty() => value.shown(row_unit),
            _ => value.shown(self.unit),
        }
    }

    /// Its title: `INBOUND(KiB)` for `inbound_bytes`, `EVENTS` for `events` in events.
    pub fn title(&self) -> String {
        let Self { name, unit, .. } = *self;
        // A mailbox is the only thing with a depth.
        let name = name.strip_prefix("mailbox_").unwrap_or(name);
        if name == unit {
            return name.to_uppercase();
        }
        // A rate has the name of what it is a rate of.
        let (stem, of) = match (name.strip_suffix("_per_s"), unit.strip_suffix("/s")) {
            (Some(name), Some(unit)) => (name, unit),
            _ => (name, unit),
        };
        let without = |suffix: &&str| stem.strip_suffix(*suffix);
        let shorter = ["_bytes", "_ns", "_per_s", "_s", "_percent"].iter().find_map(without);
        let stem = stem.strip_suffix(of).and_then(|name| name.strip_suffix('_')).or(shorter).unwrap_or(stem);
        match shown_unit(unit) {
            "" => name.to_uppercase(),
            unit => format!("{}({unit})", stem.to_uppercase()),
        }
    }
}

/// The unit of a row's numbers: rows of metrics have it in a column `unit`.
pub fn unit_of_row<'a>(columns: &[Column], row: &'a [Value]) -> &'a str {
    match columns.iter().position(|column| column.name == "unit" && !column.is_own).map(|at| &row[at]) {
        Some(Value::Text(unit)) => unit,
        _ => "",
    }
}

/// The unit in which people are shown numbers that are held in `unit`.
pub fn shown_unit(unit: &str) -> &str {
    scale(unit).0
}

/// The unit in which people are shown numbers that are held in `unit`, a word or one of [UCUM], and how many of the latter
/// it is.
///
/// [UCUM]: https://ucum.org/ucum
pub fn scale(unit: &str) -> (&str, f64) {
    match unit {
        "bytes" | "By" => ("KiB", 1024.0),
        "nanoseconds" | "ns" => ("ms", 1e6),
        "microseconds" | "us" => ("ms", 1e3),
        "milliseconds" => ("ms", 1.0),
        "seconds" => ("s", 1.0),
        "1" => ("", 1.0),
        unit => (unit, 1.0),
    }
}

/// `depth is unknown`, for fields that a query uses.
pub fn unknown_fields(names: &[String]) -> String {
    format!("{} {} unknown", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

/// Which rows of a list to keep, and in which order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The name of the column to sort by.
    pub sort: Option<String>,
    /// Whether to reverse the order.
    pub reverse: bool,
    /// A query that the rows have to match.
    pub filter: Option<String>,
    /// The greatest number of rows.
    pub limit: Option<usize>,
    /// Whether to keep all rows without `limit`, even of a list that shows people only its first few.
    pub whole: bool,
}

/// Rows with the same columns.
#[derive(Debug)]
pub struct List {
    /// Its key in JSON, and its name in notes.
    pub name: &'static str,
    /// The title of the first column.
    pub title: &'static str,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
    /// How many rows people are shown without `--limit`.
    pub few: usize,
    /// Whether it ignores every [`Selection`].
    pub is_fixed: bool,
    /// The column that it is sorted by, if that is known.
    pub sorted_by: Option<usize>,
    /// The columns that its filter compares.
    pub filtered_by: Vec<usize>,
}

impl List {
    /// A list with all its rows.
    pub fn new(
        name: &'static str,
        title: &'static str,
        columns: impl IntoIterator<Item = Column>,
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Self {
        let (columns, rows) = (columns.into_iter().collect(), rows.into_iter().collect());
        Self {
            name,
            title,
            columns,
            rows,
            few: usize::MAX,
            is_fixed: false,
            sorted_by: None,
            filtered_by: Vec::new(),
        }
    }

    /// The index of a column: by its name, `name` for the first one, or `age`.
    pub fn column(&self, name: &str) -> Option<usize> {
        match name {
            "name" => Some(0),
            "age" => self.column("age_s"),
            _ => self.columns.iter().position(|column| column.name == name),
        }
    }

    /// Keeps the rows that match a query. If there are none, the result names the fields of the query that are unknown in
    /// every row.
    ///
    /// # Errors
    /// The text is no query, or it names a field that the list does not have.
    pub fn filter(&mut self, query: &str) -> Result<Vec<String>, QueryError> {
        let mut of = Fields::default();
        of.add_those_of(self);
        let query = Query::parse(query, &of.fields)?;
        self.filtered_by =
            query.compared().iter().filter_map(|field| of.columns.get(*field).copied()).collect();
        let (columns, fields) = (&self.columns, &of.columns);
        let as_row = |row| ListRow { columns, fields, row };
        let is_found: Vec<bool> = self.rows.iter().map(|row| query.matches(&as_row(row))).collect();
        let unknown = match is_found.contains(&true) {
            true => Vec::new(),
            false => query.unknown_in_all(&of.fields, self.rows.iter().map(|row| as_row(row))),
        };
        let mut is_found = is_found.into_iter();
        self.rows.retain(|_| is_found.next().unwrap_or_default());
        Ok(unknown)
    }

    /// Whether there are rows, and the column that they are sorted by is unknown for all of them.
    pub fn is_unsorted(&self) -> bool {
        let is_unknown = |at| self.rows.iter().all(|row| row.get(at).is_none_or(Value::is_unknown));
        !self.rows.is_empty() && self.sorted_by.is_some_and(is_unknown)
    }

    /// Keeps the selected rows. The result says in sentences why there are not more.
    pub fn select(&mut self, selection: &Selection) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_fixed {
            return notes;
        }
        let rows = self.name.replace('_', " ");
        match selection.filter.as_deref().map(|filter| self.filter(filter)) {
            // The query is for another list: it names fields that this one does not have.
            Some(Err(_)) => self.rows.clear(),
            Some(Ok(unknown)) if !unknown.is_empty() => {
                notes.push(format!("{} for all {rows}", unknown_fields(&unknown)));
            }
            _ => {}
        }
        if let Some(at) = selection.sort.as_deref().and_then(|name| self.column(name)) {
            self.rows.sort_by(|a, b| a[at].compare(&b[at], selection.reverse));
            self.sorted_by = Some(at);
        } else if selection.reverse {
            self.rows.reverse();
        }
        let few = if selection.whole { usize::MAX } else { self.few };
        let found = self.rows.len();
        self.rows.truncate(selection.limit.unwrap_or(few));
        let hidden = found - self.rows.len();
        if hidden > 0 {
            notes.push(format!(
                "{} of {rows}; show them with a larger --limit",
                count(hidden as u64, "more row", "more rows")
            ));
        }
        notes
    }
}

/// The fields that a query over rows of lists may name, and the column of each.
#[derive(Debug, Default)]
pub struct Fields {
    /// The fields.
    pub fields: Vec<Field>,
    columns: Vec<usize>,
}

impl Fields {
    /// Adds the fields of a list, except fields whose names are there already.
    pub fn add_those_of(&mut self, list: &List) {
        for (at, column) in list.columns.iter().enumerate() {
            // By the title, in the title's unit; and by the name in JSON, in the unit of JSON.
            let title = column.title();
            let title = title.split('(').next().unwrap_or_default().to_lowercase();
            self.add(title, column.kind(true), at);
            self.add(column.name.to_owned(), column.kind(false), at);
        }
        if let Some(deepest) = list.columns.iter().position(|column| column.name == "deepest") {
            // A group is as deep as the deepest of its actors.
            self.add("depth".to_owned(), list.columns[deepest].kind(true), deepest);
        }
        if let Some(first) = list.columns.first() {
            // The first column has a title of its own, and can be called `name` in every list.
            self.add(list.title.to_lowercase(), first.kind(true), 0);
            self.add("name".to_owned(), first.kind(true), 0);
        }
    }

    fn add(&mut self, name: String, kind: FieldType, at: usize) {
        if !name.is_empty() && self.fields.iter().all(|field| field.name != name) {
            self.fields.push(Field::new(name, kind));
            self.columns.push(at);
        }
    }
}

/// A row for a query.
struct ListRow<'a> {
    columns: &'a [Column],
    /// The column of each field.
    fields: &'a [usize],
    row: &'a [Value],
}

impl Row for ListRow<'_> {
    fn field_value(&self, field: usize) -> FieldValue<'_> {
        let Some(value) = self.fields.get(field).and_then(|at| self.row.get(*at)) else {
            return FieldValue::Unknown;
        };
        match value {
            _ if value.is_unknown() => FieldValue::Unknown,
            Value::Flag(flag) => FieldValue::Flag(*flag),
            Value::Text(text) => FieldValue::Text(text.into()),
            Value::Texts(texts) => FieldValue::Text(texts.join(",").into()),
            Value::Values(_) | Value::Labels(_) => FieldValue::Text(value.shown("")),
            number => number.number().map_or(FieldValue::Unknown, FieldValue::Number),
        }
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.columns.iter().zip(self.row).filter(|(column, _)| column.is_shown).any(
            |(_, value)| match value {
                Value::Text(text) => is_wanted(text),
                Value::Texts(texts) => texts.iter().any(|text| is_wanted(text)),
                Value::Labels(_) => is_wanted(&value.shown("")),
                _ => false,
            },
        )
    }
}

impl List {
    /// An object for each row.
    pub fn json_rows(&self) -> impl Iterator<Item = impl Serialize + '_> + '_ {
        struct Row<'a>(&'a [Column], &'a [Value]);
        impl Serialize for Row<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|column| column.name).zip(self.1))
            }
        }
        self.rows.iter().map(|row| Row(&self.columns, row))
    }
}

/// An array with an object for each row.
impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.json_rows())
    }
}
