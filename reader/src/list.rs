//! Lists of things that have the same fields, whatever they are: how they are sorted, filtered, written for people and as
//! JSON.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io;

use serde::Serialize;
use serde::ser::Serializer;

use crate::cli;
use crate::table::{Cell, Screen, Side, Table};

/// A value of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// One that goes both ways.
    Number(u64),
    /// One that only grows.
    Total(u64),
    /// One that only grows, and has no unit, whatever that of its list or row.
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

    fn contains(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own.contains(text),
            Self::Texts(own) => own.iter().any(|own| own.contains(text)),
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
            Self::Count(number) => number.to_string().into(),
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
}

/// A column of texts.
pub const fn text(name: &'static str) -> Column {
    Column { name, unit: "", side: Side::Left, is_shown: true }
}

/// A column of numbers.
pub const fn number(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit, side: Side::Right, is_shown: true }
}

impl Column {
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
}

impl List {
    pub fn new(
        name: &'static str,
        title: &'static str,
        columns: impl IntoIterator<Item = Column>,
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Self {
        let (columns, rows) = (columns.into_iter().collect(), rows.into_iter().collect());
        Self { name, title, columns, rows, few: usize::MAX, is_fixed: false }
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        match name {
            "name" => Some(0),
            "age" => self.column("age_s"),
            _ => self.columns.iter().position(|column| column.name == name),
        }
    }

    /// Leaves the rows that are asked for; says how many that were found are left out.
    pub fn select(&mut self, args: &cli::Listing) -> usize {
        if self.is_fixed {
            return 0;
        }
        if let Some(filter) = &args.filter {
            self.rows.retain(|row| row.iter().any(|value| value.contains(filter)));
        }
        if let Some(at) = args.sort.as_deref().and_then(|name| self.column(name)) {
            self.rows.sort_by(|a, b| a[at].compare(&b[at], args.reverse));
        } else if args.reverse {
            self.rows.reverse();
        }
        let few = if args.json { usize::MAX } else { self.few };
        let found = self.rows.len();
        self.rows.truncate(args.limit.unwrap_or(few));
        found - self.rows.len()
    }

    pub fn write(&self, out: &mut (impl io::Write + ?Sized), screen: Screen) -> io::Result<()> {
        let shown = || self.columns.iter().enumerate().filter(|(_, column)| column.is_shown);
        let titles = shown()
            .map(|(at, column)| (if at == 0 { self.title.to_owned() } else { column.title() }, column.side));
        let mut table = Table::new(titles);
        for row in &self.rows {
            let unit = unit_of_row(&self.columns, row);
            table.row(
                shown().map(|(at, column)| Cell::text(&column.shown(&row[at], unit))).collect::<Vec<_>>(),
            );
        }
        table.write(out, screen)
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
