//! The application's own records: a list for each kind, with its fields as columns.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use atomscope_layout::decode::{FieldValue, Moment, OwnRecords, PublishedRecord, RecordField, RecordKind};

use super::human::{count, duration, seconds};
use super::list::{Column, List, Value, flag, number, text};
use crate::text::clean;

/// How an application comes to have records, as the end of a sentence.
pub const HOW_TO_PUBLISH: &str =
    "declare them with `atomscope_probe::record!`, and publish them with `region.record(name)`";

/// A list for each kind that has records, or for the kind with this name. Ages are those at the time `until`.
pub fn by_kind(records: &OwnRecords, kind: Option<&str>, until: Option<Moment>) -> Vec<List> {
    let kinds =
        records.kinds.iter().enumerate().filter(|(_, found)| kind.is_none_or(|name| found.name == name));
    let lists = kinds.map(|(at, found)| {
        let of_kind = records.list.iter().filter(|record| record.kind == at);
        let rows = of_kind.map(|record| row(found, record, until));
        List::new("records", lasting(&found.name.to_uppercase()), columns(found), rows)
    });
    lists.filter(|list| kind.is_some() || !list.rows.is_empty()).collect()
}

/// One list of all records, with their values as a text.
pub fn all(records: &OwnRecords, until: Option<Moment>) -> List {
    let rows = records.list.iter().filter_map(|record| {
        let kind = records.kind_of(record)?;
        let values = kind.fields.iter().zip(&record.values).map(|(field, value)| shown(field, value));
        Some(vec![
            Value::Text(format!("{}/{}", kind.name, record.name)),
            Value::Total(record.published),
            Value::Total(record.lost),
            age(record, until),
            Value::Text(values.collect::<Vec<_>>().join(", ")),
        ])
    });
    let columns =
        [text("record"), number("published", ""), number("lost", ""), number("age_s", "s"), text("values")];
    List::new("records", "RECORD", columns, rows)
}

/// A sentence about the records; `None` if there are none.
pub fn line(records: &OwnRecords, until: Option<Moment>) -> Option<String> {
    let of = |at| records.list.iter().filter(|record| record.kind == at).count();
    let kinds =
        records.kinds.iter().enumerate().map(|(at, kind)| (of(at), kind)).filter(|(number, _)| *number > 0);
    let kinds: Vec<_> = kinds.map(|(number, kind)| format!("{number} {}", clean(&kind.name))).collect();
    let newest = records.list.iter().filter_map(|record| until?.since(&record.published_at?)).min();
    let newest =
        newest.map(|age| format!(", the newest published {} ago", duration(age))).unwrap_or_default();
    let unreadable = match records.unreadable {
        0 => String::new(),
        number => format!(", {number} unreadable"),
    };
    let number = count(records.list.len() as u64, "record", "records");
    let of = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    (!records.list.is_empty() || records.unreadable > 0).then(|| format!("{number}{of}{newest}{unreadable}"))
}

/// The value of a number or flag by a name such as `OrderBook/EURUSD.best_bid`, and its unit.
pub fn find<'a>(records: &'a OwnRecords, name: &str) -> Option<(&'a RecordField, &'a FieldValue)> {
    let (kind_name, rest) = name.split_once('/')?;
    let (record_name, field_name) = rest.rsplit_once('.')?;
    let is_it = |record: &&PublishedRecord| {
        record.name == record_name && records.kind_of(record).is_some_and(|kind| kind.name == kind_name)
    };
    let record = records.list.iter().find(is_it)?;
    let fields = records.kind_of(record)?.fields.iter().zip(&record.values);
    fields.into_iter().find(|(field, _)| field.name == field_name && is_number(field))
}

/// Whether its values are numbers, or yes and no.
fn is_number(field: &RecordField) -> bool {
    use atomscope_layout::own_records::FieldType::{Enum, Text};
    field.length == 0 && field.of.is_some_and(|of| ![Enum, Text].contains(&of))
}

/// A value as a number; `None` if it is unknown or none.
pub fn as_number(value: &FieldValue) -> Option<f64> {
    self::value(value).number().filter(|number| number.is_finite())
}

fn columns(kind: &RecordKind) -> Vec<Column> {
    use atomscope_layout::own_records::FieldType::{Bool, Enum, Text};
    let mut columns = vec![text("record"), Column { is_shown: false, ..text("kind") }];
    let rest = [number("published", ""), number("lost", ""), number("age_s", "s")];
    for field in &kind.fields {
        let mut name = clean(&field.name).into_owned();
        while columns.iter().chain(&rest).any(|column| column.name == name) {
            name.push('_');
        }
        let name = lasting(&name);
        let unit = lasting(&clean(&field.unit));
        columns.push(match field.of {
            Some(Bool) if field.length == 0 => flag(name),
            None | Some(Enum | Text) => Column { unit, ..text(name) },
            Some(_) if field.length > 0 => Column { unit, ..text(name) },
            Some(_) => number(name, unit),
        });
    }
    columns.extend(rest);
    columns
}

fn row(kind: &RecordKind, record: &PublishedRecord, until: Option<Moment>) -> Vec<Value> {
    let mut row = vec![Value::text(&record.name), Value::text(&kind.name)];
    row.extend(record.values.iter().map(value));
    row.extend([Value::Total(record.published), Value::Total(record.lost), age(record, until)]);
    row
}

fn age(record: &PublishedRecord, until: Option<Moment>) -> Value {
    let age = until.zip(record.published_at).and_then(|(until, at)| until.since(&at));
    Value::of(age, |age| Value::Float(seconds(age)))
}

fn value(value: &FieldValue) -> Value {
    match value {
        FieldValue::Unsigned(number) => Value::Number(*number),
        FieldValue::Signed(number) => Value::Signed(*number),
        // The shortest digits of the single precision, and not those of the double that equals it.
        FieldValue::Single(number) => Value::Exact(number.to_string().parse().unwrap_or(f64::NAN)),
        FieldValue::Float(number) => Value::Exact(*number),
        FieldValue::Flag(flag) => Value::Flag(*flag),
        FieldValue::Text(text) | FieldValue::Name(text) => Value::text(text),
        FieldValue::List(elements) => Value::Values(elements.iter().map(self::value).collect()),
        FieldValue::Unknown => Value::Unknown,
    }
}

/// A value without its unit.
pub fn value_text(of: &FieldValue) -> String {
    // Without a unit the number is not changed, as one of a column might be.
    value(of).shown("").into_owned()
}

/// `best_bid 1.25 USD`.
fn shown(field: &RecordField, of: &FieldValue) -> String {
    let unit = if field.unit.is_empty() { String::new() } else { format!(" {}", field.unit) };
    let unit = if value(of).is_unknown() { "" } else { &unit };
    format!("{} {}{unit}", field.name, value_text(of))
}

/// A copy that lives as long as the program: names of columns do. Each different text is kept once.
fn lasting(text: &str) -> &'static str {
    static KNOWN: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(text) {
        return known;
    }
    let text: &'static str = Box::leak(text.into());
    known.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> OwnRecords {
        let field = |name: &str, unit: &str, of, length| RecordField {
            name: name.into(),
            unit: unit.into(),
            help: String::new(),
            of,
            offset: 0,
            element_bytes: 8,
            length,
            values: Vec::new(),
        };
        use atomscope_layout::own_records::FieldType::{F32, Text, U64};
        let fields = vec![
            field("size", "bytes", Some(U64), 0),
            field("kind", "", Some(Text), 0),
            field("shares", "%", Some(F32), 2),
            field("odd\n", "", None, 0),
        ];
        let kind = RecordKind { name: "Queue".into(), help: String::new(), bytes: 24, fields };
        let values = vec![
            FieldValue::Unsigned(2048),
            FieldValue::Text("fast".into()),
            FieldValue::List([FieldValue::Single(0.1), FieldValue::Unknown].into()),
            FieldValue::Unknown,
        ];
        let record = PublishedRecord {
            kind: 0,
            name: "in.1".into(),
            published: 3,
            lost: 1,
            at: None,
            published_at: None,
            values,
        };
        OwnRecords { kinds: vec![kind], list: vec![record], unreadable: 2 }
    }

    #[test]
    fn a_field_is_a_column_and_one_with_the_name_of_another_column_gets_a_name_of_its_own() {
        let lists = by_kind(&records(), None, None);
        let titles: Vec<_> = lists[0].columns.iter().map(Column::title).collect();
        assert_eq!(
            titles,
            ["RECORD", "KIND", "SIZE(KiB)", "KIND_", "SHARES(%)", "ODD\\U{A}", "PUBLISHED", "LOST", "AGE(s)"]
        );
        let json = serde_json::to_value(&lists[0]).unwrap();
        assert_eq!(json[0]["record"], "in.1");
        assert_eq!(json[0]["size"], 2048);
        assert_eq!(json[0]["kind_"], "fast");
        assert_eq!(json[0]["shares"], serde_json::json!([0.1, null]));
        assert!(by_kind(&records(), Some("Other"), None).is_empty());
    }

    #[test]
    fn a_number_is_found_by_kind_record_and_field() {
        let records = records();
        let (field, value) = find(&records, "Queue/in.1.size").unwrap();
        assert_eq!((field.unit.as_str(), as_number(value)), ("bytes", Some(2048.0)));
        for wrong in ["Queue/in.1.kind", "Queue/in.1.shares", "Queue/in.size", "Other/in.1.size", "size"] {
            assert!(find(&records, wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_line_says_how_many_there_are_and_that_some_are_unreadable() {
        assert_eq!(line(&records(), None).unwrap(), "1 record (1 Queue), 2 unreadable");
        assert_eq!(line(&OwnRecords::default(), None), None);
        let values = all(&records(), None).rows[0][4].clone();
        assert_eq!(values, Value::text("size 2048 bytes, kind fast, shares 0.1,- %, odd\n -"));
    }
}
