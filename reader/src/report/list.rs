//! Lists of things that have the same fields, whatever they are: how they are sorted, filtered, written for people and as
//! JSON.
use std::borrow::Cow;
use std::cmp::Ordering;

use crate::query::{Datum, Field, Kind, Query, QueryError, Row, Unit};
use serde::Serialize;
use serde::ser::Serializer;

/// Which side a column's cells stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A value of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// One that goes both ways.
    Number(u64),
    /// One that only grows.
    Total(u64),
    /// How many values a histogram has; its list's or row's unit is that of the values.
    Count(u64),
    /// How much of what only grows comes in a second; the unit is that of its list or row.
    Rate(f64),
    /// The same of what has no unit.
    CountRate(f64),
    Signed(i32),
    Float(f64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Unknown,
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub fn of<T>(value: Option<T>, known: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Unknown, known)
    }

    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Text(text) => text.is_empty(),
            Self::Float(number) => !number.is_finite(),
            _ => false,
        }
    }

    /// As a number, if it is one or a flag.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Total(number) | Self::Count(number) => Some(*number as f64),
            Self::Rate(number) | Self::CountRate(number) | Self::Float(number) => Some(*number),
            Self::Signed(number) => Some(f64::from(*number)),
            Self::Flag(flag) => Some(f64::from(u8::from(*flag))),
            Self::Text(_) | Self::Texts(_) | Self::Unknown => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Text(_) => 1,
            Self::Texts(_) => 2,
            _ => 0,
        }
    }

    /// Texts from A to Z, numbers from the greatest, what is unknown at the end whichever way round.
    pub fn compare(&self, other: &Self, reverse: bool) -> Ordering {
        // Of several kinds in one column, as rates stand beside levels, all numbers are in one order.
        let order = match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Texts(a), Self::Texts(b)) => a.cmp(b),
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

    /// For people, in the unit that is shown for `unit`.
    pub fn shown(&self, unit: &str) -> Cow<'_, str> {
        match self {
            _ if self.is_unknown() => "-".into(),
            Self::Number(number) | Self::Total(number) => match unit {
                "bytes" => format!("{:.1}", *number as f64 / 1024.0).into(),
                "nanoseconds" => format!("{:.3}", *number as f64 / 1e6).into(),
                _ => number.to_string().into(),
            },
            Self::Rate(rate) => match unit {
                "bytes" => format!("{:.1}/s", rate / 1024.0).into(),
                "nanoseconds" => format!("{:.1}/s", rate / 1e6).into(),
                _ => format!("{rate:.1}/s").into(),
            },
            Self::Count(number) => format!("{number} values").into(),
            Self::CountRate(rate) => format!("{rate:.1}/s").into(),
            Self::Signed(number) => number.to_string().into(),
            Self::Float(number) if unit == "s" => format!("{number:.1}").into(),
            Self::Float(number) => number.to_string().into(),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
            Self::Text(text) => text.into(),
            Self::Texts(texts) => texts.join(",").into(),
            Self::Unknown => "-".into(),
        }
    }
}

/// What is in one place of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// Of its numbers; `bytes` and `nanoseconds` are shown as KiB and ms.
    pub unit: &'static str,
    pub side: Side,
    /// Whether people are shown it.
    pub is_shown: bool,
    /// Whether it is of yes and no.
    pub is_flag: bool,
}

/// A column of texts.
pub const fn text(name: &'static str) -> Column {
    Column { name, unit: "", side: Side::Left, is_shown: true, is_flag: false }
}

/// A column of yes and no.
pub const fn flag(name: &'static str) -> Column {
    Column { is_flag: true, ..text(name) }
}

/// A column of numbers.
pub const fn number(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit, side: Side::Right, is_shown: true, is_flag: false }
}

impl Column {
    /// What a query takes it for, in the unit that is shown or the one that it is held in.
    pub(super) fn kind(&self, shown: bool) -> Kind {
        let of = |unit, factor| Kind::Number { unit, shown: if shown { factor } else { 1.0 } };
        match (self.side, self.unit) {
            (Side::Left, _) if self.is_flag => Kind::Flag,
            (Side::Left, _) => Kind::Text,
            (Side::Right, "bytes") => of(Unit::Bytes, 1024.0),
            (Side::Right, "nanoseconds") => of(Unit::Nanoseconds, 1e6),
            (Side::Right, "s") => of(Unit::Seconds, 1.0),
            (Side::Right, _) => of(Unit::Plain, 1.0),
        }
    }

    /// A value of this column for people; `row_unit` is that of its row, if its numbers have none of their own.
    pub fn shown<'a>(&self, value: &'a Value, row_unit: &'a str) -> Cow<'a, str> {
        match (self.name, self.side) {
            ("unit", _) if value.is_unknown() => "-".into(),
            ("unit", _) => shown_unit(row_unit).into(),
            (_, Side::Right) if self.unit.is_empty() => value.shown(row_unit),
            _ => value.shown(self.unit),
        }
    }

    /// `INBOUND(KiB)` for `inbound_bytes`, `EVENTS` for `events` in events.
    pub fn title(&self) -> String {
        let Self { name, unit, .. } = *self;
        if name == unit {
            return name.to_uppercase();
        }
        let stem = ["_bytes", "_ns", "_s"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let stem = name.strip_suffix(unit).and_then(|name| name.strip_suffix('_')).or(stem).unwrap_or(name);
        match shown_unit(unit) {
            "" => name.to_uppercase(),
            unit => format!("{}({unit})", stem.to_uppercase()),
        }
    }
}

/// The unit of a row's numbers: of a metric, the row says it.
pub fn unit_of_row<'a>(columns: &[Column], row: &'a [Value]) -> &'a str {
    match columns.iter().position(|column| column.name == "unit").map(|at| &row[at]) {
        Some(Value::Text(unit)) => unit,
        _ => "",
    }
}

/// The unit in which people are shown a number.
pub fn shown_unit(unit: &str) -> &str {
    match unit {
        "bytes" => "KiB",
        "nanoseconds" => "ms",
        unit => unit,
    }
}

/// `depth is not known`, of fields that somebody asks for.
pub fn not_known(names: &[String]) -> String {
    format!("{} {} not known", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

/// Which rows of a list are asked for, and in which order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The column to sort by, by its name.
    pub sort: Option<String>,
    /// Whether the order is turned round.
    pub reverse: bool,
    /// A query that the rows fulfil.
    pub filter: Option<String>,
    /// At most this many rows.
    pub limit: Option<usize>,
    /// Whether all rows are wanted, even of a list of which people are shown a few.
    pub whole: bool,
}

/// Things of one kind.
#[derive(Debug)]
pub struct List {
    /// In JSON, and of what was left out.
    pub name: &'static str,
    /// Above the first column.
    pub title: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
    /// Rows that people are shown unless they say how many.
    pub few: usize,
    /// Whether it is as it is, whatever is asked for.
    pub is_fixed: bool,
    /// The column that it is sorted by, if that was asked for.
    pub sorted_by: Option<usize>,
}

impl List {
    pub fn new(
        name: &'static str,
        title: &'static str,
        columns: impl IntoIterator<Item = Column>,
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Self {
        let (columns, rows) = (columns.into_iter().collect(), rows.into_iter().collect());
        Self { name, title, columns, rows, few: usize::MAX, is_fixed: false, sorted_by: None }
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        match name {
            "name" => Some(0),
            "age" => self.column("age_s"),
            _ => self.columns.iter().position(|column| column.name == name),
        }
    }

    /// Leaves the rows that fulfil a query. Where these are none, names the fields that are asked for and that no row knows
    /// anything of.
    pub fn filter(&mut self, query: &str) -> Result<Vec<String>, QueryError> {
        let mut of = Fields::default();
        of.add_those_of(self);
        let query = Query::parse(query, &of.fields)?;
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

    /// Leaves the rows that are asked for; says in sentences why there are not more.
    pub fn select(&mut self, selection: &Selection) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_fixed {
            return notes;
        }
        let things = self.name.replace('_', " ");
        match selection.filter.as_deref().map(|filter| self.filter(filter)) {
            // What has none of the fields that are asked for is not what is meant.
            Some(Err(_)) => self.rows.clear(),
            Some(Ok(unknown)) if !unknown.is_empty() => {
                notes.push(format!("{} of any of the {things}", not_known(&unknown)));
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
        let left_out = found - self.rows.len();
        if left_out > 0 {
            notes.push(format!("{left_out} more {things}; a larger --limit shows them"));
        }
        notes
    }
}

/// What can be asked of the rows of lists: fields, and the column of each.
#[derive(Debug, Default)]
pub struct Fields {
    pub fields: Vec<Field>,
    columns: Vec<usize>,
}

impl Fields {
    /// Adds those of a list, but for those whose names are there already.
    pub fn add_those_of(&mut self, list: &List) {
        for (at, column) in list.columns.iter().enumerate() {
            // As it is titled, in the unit of the title; as it stands in JSON, in the unit of JSON.
            let title = column.title();
            let title = title.split('(').next().unwrap_or_default().to_lowercase();
            self.add(title, column.kind(true), at);
            self.add(column.name.to_owned(), column.kind(false), at);
        }
        if let Some(first) = list.columns.first() {
            // As the first column is titled, and as it can be called in every list.
            self.add(list.title.to_lowercase(), first.kind(true), 0);
            self.add("name".to_owned(), first.kind(true), 0);
        }
    }

    fn add(&mut self, name: String, kind: Kind, at: usize) {
        if !name.is_empty() && self.fields.iter().all(|field| field.name != name) {
            self.fields.push(Field::new(name, kind));
            self.columns.push(at);
        }
    }
}

/// A row that can be asked.
struct ListRow<'a> {
    columns: &'a [Column],
    /// The column of each field.
    fields: &'a [usize],
    row: &'a [Value],
}

impl Row for ListRow<'_> {
    fn datum(&self, field: usize) -> Datum<'_> {
        let Some(value) = self.fields.get(field).and_then(|at| self.row.get(*at)) else {
            return Datum::Unknown;
        };
        match value {
            _ if value.is_unknown() => Datum::Unknown,
            Value::Flag(flag) => Datum::Flag(*flag),
            Value::Text(text) => Datum::Text(text.into()),
            Value::Texts(texts) => Datum::Text(texts.join(",").into()),
            number => number.number().map_or(Datum::Unknown, Datum::Number),
        }
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.columns.iter().zip(self.row).filter(|(column, _)| column.is_shown).any(
            |(_, value)| match value {
                Value::Text(text) => is_wanted(text),
                Value::Texts(texts) => texts.iter().any(|text| is_wanted(text)),
                _ => false,
            },
        )
    }
}

/// An object for each row.
impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Row<'a>(&'a [Column], &'a [Value]);
        impl Serialize for Row<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|column| column.name).zip(self.1))
            }
        }
        serializer.collect_seq(self.rows.iter().map(|row| Row(&self.columns, row)))
    }
}
