//! The application's own records: a list of the kinds, and a list for each kind, with its fields as columns.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use atomscope_layout::decode::{FieldValue, Moment, OwnRecords, PublishedRecord, RecordField, RecordKind};

use super::human::{count, duration, seconds};
use super::list::{Column, List, Value, flag, number, scale, text};
use crate::text::clean;

/// How an application comes to have records, as the end of a sentence.
pub const HOW_TO_PUBLISH: &str =
    "declare them with `atomscope_probe::record!`, and publish them with `region.record(name)`";

/// A list for each kind that has records, or for the kind with this name. Ages are those at the time `until`.
pub fn by_kind(records: &OwnRecords, kind: Option<&str>, until: Option<Moment>) -> Vec<List> {
    let kinds =
        records.kinds.iter().enumerate().filter(|(_, found)| kind.is_none_or(|name| found.name == name));
    let lists = kinds.map(|(at, _)| List { name: "records", ..of_kind(records, at, until) });
    lists.filter(|list| kind.is_some() || !list.rows.is_empty()).collect()
}

/// The records of the kind with this index, in a list that has the name of the kind. Without that kind it is empty.
pub fn of_kind(records: &OwnRecords, at: usize, until: Option<Moment>) -> List {
    list_of_kind(records, at, until, Counts::of)
}

/// The list [`of_kind`] with the counts that its records had in an earlier reading; unknown if they may have been unreadable then.
pub fn of_kind_before(records: &OwnRecords, at: usize, before: &OwnRecords) -> List {
    let then = Then::of(before);
    list_of_kind(records, at, None, |record| then.counts(record))
}

fn list_of_kind(
    records: &OwnRecords,
    at: usize,
    until: Option<Moment>,
    counts: impl Fn(&PublishedRecord) -> Counts,
) -> List {
    let Some(kind) = records.kinds.get(at) else { return List::new("records", "RECORD", [], []) };
    let of_kind = records.list.iter().filter(|record| record.kind == at);
    let rows = of_kind.map(|record| row(kind, record, counts(record), until));
    List::new(lasting(&kind.name), lasting(&kind.name.to_uppercase()), columns(kind), rows)
}

/// Name and number of records of each kind.
pub fn counts(records: &OwnRecords) -> Vec<(&str, usize)> {
    let mut counts: Vec<_> = records.kinds.iter().map(|kind| (kind.name.as_str(), 0)).collect();
    for record in &records.list {
        if let Some((_, count)) = counts.get_mut(record.kind) {
            *count += 1;
        }
    }
    counts
}

/// The column of [`kinds`] that has the index of the kind.
pub const KIND_INDEX: &str = "number";

/// How often a record was published, and how many publishes were lost; `None`: unknown.
#[derive(Debug, Clone, Copy)]
struct Counts(Option<(u64, u64)>);

impl Counts {
    fn of(record: &PublishedRecord) -> Self {
        Self(Some((record.published, record.lost)))
    }

    /// The sum; unknown if one of both is.
    fn and(self, other: Self) -> Self {
        let sum = |((published, lost), (more, more_lost)): ((u64, u64), (u64, u64))| {
            (published.saturating_add(more), lost.saturating_add(more_lost))
        };
        Self(self.0.zip(other.0).map(sum))
    }

    fn values(self) -> [Value; 2] {
        let (published, lost) = self.0.unzip();
        [published, lost].map(|count| Value::of(count, Value::Total))
    }
}

/// The kinds, each with the sums over its records and the age of the newest publish.
pub fn kinds(records: &OwnRecords, until: Option<Moment>) -> List {
    list_of_kinds(records, until, Counts::of)
}

/// The list of [`kinds`] with the counts that its records had in an earlier reading. A record that has gone since is in neither
/// sum.
pub fn kinds_before(records: &OwnRecords, before: &OwnRecords) -> List {
    let then = Then::of(before);
    list_of_kinds(records, None, |record| then.counts(record))
}

fn list_of_kinds(
    records: &OwnRecords,
    until: Option<Moment>,
    counts: impl Fn(&PublishedRecord) -> Counts,
) -> List {
    #[derive(Clone, Copy)]
    struct Sums {
        records: u64,
        counts: Counts,
        newest: Option<Moment>,
    }
    let none = Sums { records: 0, counts: Counts(Some((0, 0))), newest: None };
    let mut sums = vec![none; records.kinds.len()];
    for record in &records.list {
        let Some(of) = sums.get_mut(record.kind) else { continue };
        of.records += 1;
        of.counts = of.counts.and(counts(record));
        let is_newer = |at: &Moment| of.newest.is_none_or(|newest| at.is_after(&newest));
        of.newest = record.published_at.filter(is_newer).or(of.newest);
    }
    let rows = records.kinds.iter().zip(sums).zip(0..).map(|((kind, of), at)| {
        let [published, lost] = of.counts.values();
        vec![
            Value::text(&kind.name),
            Value::Number(at),
            Value::Number(of.records),
            Value::Number(kind.fields.len() as u64),
            published,
            lost,
            age(of.newest, until),
            Value::text(&kind.help),
        ]
    });
    let columns = [
        text("kind"),
        Column { is_shown: false, ..number(KIND_INDEX, "") },
        number("records", ""),
        number("fields", ""),
        number("published", ""),
        number("lost", ""),
        number("age_s", "s"),
        text("help"),
    ];
    List::new("kinds", "KIND", columns, rows)
}

/// The name of each record, and its values, as texts.
pub fn texts(records: &OwnRecords) -> impl Iterator<Item = (String, String)> {
    records.list.iter().filter_map(|record| {
        let kind = records.kind_of(record)?;
        let values = kind.fields.iter().zip(&record.values).map(|(field, value)| shown(field, value));
        Some((format!("{}/{}", kind.name, record.name), values.collect::<Vec<_>>().join(", ")))
    })
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
    let number = match value {
        // No text and no list is copied for it.
        FieldValue::Text(_) | FieldValue::Name(_) | FieldValue::List(_) | FieldValue::Unknown => None,
        number => self::value(number).number(),
    };
    number.filter(|number| number.is_finite())
}

/// The index of the first field's column.
const FIELDS_AT: usize = 2;

fn columns(kind: &RecordKind) -> Vec<Column> {
    use atomscope_layout::own_records::FieldType::{Bool, Enum, Text};
    let mut columns = vec![text("record"), Column { is_shown: false, ..text("kind") }];
    // A narrow screen drops these before fields, and fields before the age.
    let rest = [number("published", "").dropped(2), number("lost", "").dropped(3), number("age_s", "s")];
    for field in &kind.fields {
        let mut name = clean(&field.name).into_owned();
        while columns.iter().chain(&rest).any(|column| column.name == name) {
            name.push('_');
        }
        let name = lasting(&name);
        let unit = lasting(&clean(&field.unit));
        let column = match field.of {
            Some(Bool) if field.length == 0 => flag(name),
            None | Some(Enum | Text) => Column { unit, ..text(name) },
            Some(_) if field.length > 0 => Column { unit, ..text(name) },
            Some(_) => number(name, unit),
        };
        columns.push(Column { is_own: true, ..column }.dropped(1));
    }
    columns.extend(rest);
    columns
}

fn row(kind: &RecordKind, record: &PublishedRecord, counts: Counts, until: Option<Moment>) -> Vec<Value> {
    let mut row = vec![Value::text(&record.name), Value::text(&kind.name)];
    row.extend(record.values.iter().map(value));
    row.extend(counts.values());
    row.push(age(record.published_at, until));
    row
}

fn age(published_at: Option<Moment>, until: Option<Moment>) -> Value {
    let age = until.zip(published_at).and_then(|(until, at)| until.since(&at));
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

/// Which fields of records only grow, as far as they were seen: numbers that grew in several intervals and never fell.
#[derive(Debug, Clone, Default)]
pub struct Growth(Vec<Vec<Seen>>);

/// What was seen of a field.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The number of intervals in which it grew, up to [`GROWN_OFTEN`].
    grown: u8,
    has_fallen: bool,
}

/// A number that rises and falls rarely grows so often in a row.
const GROWN_OFTEN: u8 = 3;

impl Growth {
    /// Adds the interval between two readings.
    pub fn add(&mut self, before: &OwnRecords, now: &OwnRecords) {
        self.0.resize_with(now.kinds.len(), Vec::new);
        let mut grew: Vec<Vec<bool>> = Vec::with_capacity(now.kinds.len());
        for ((seen, kind), at) in self.0.iter_mut().zip(&now.kinds).zip(0..) {
            if before.kinds.get(at) != Some(kind) {
                seen.clear();
            }
            seen.resize(kind.fields.len(), Seen::default());
            grew.push(vec![false; kind.fields.len()]);
        }
        let then = Then::of(before);
        for record in &now.list {
            let Some(kind) = now.kind_of(record) else { continue };
            let (Some(seen), Some(grew)) = (self.0.get_mut(record.kind), grew.get_mut(record.kind)) else {
                continue;
            };
            let Some(then) = then.find(record) else { continue };
            for (((seen, grew), field), at) in seen.iter_mut().zip(grew).zip(&kind.fields).zip(0..) {
                let Some(growth) = growth(field, at, then, record) else { continue };
                seen.has_fallen |= growth < 0.0;
                *grew |= growth > 0.0;
            }
        }
        for (seen, grew) in self.0.iter_mut().flatten().zip(grew.into_iter().flatten()) {
            seen.grown = (seen.grown + u8::from(grew)).min(GROWN_OFTEN);
        }
    }

    fn only_grows(&self, kind: usize, field: usize) -> bool {
        let seen = self.0.get(kind).and_then(|fields| fields.get(field));
        seen.is_some_and(|seen| seen.grown >= GROWN_OFTEN && !seen.has_fallen)
    }

    /// Approximate memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|fields| size_of::<Vec<Seen>>() + fields.len() * size_of::<Seen>()).sum()
    }
}

/// Records of an earlier reading, by their claims.
struct Then<'a> {
    records: HashMap<(usize, u64), &'a PublishedRecord>,
    are_all: bool,
}

impl<'a> Then<'a> {
    fn of(records: &'a OwnRecords) -> Self {
        let are_all = records.unreadable == 0;
        Self { records: records.list.iter().map(|record| (record.claim, record)).collect(), are_all }
    }

    /// What the record was. Another record of its name is not it.
    fn find(&self, record: &PublishedRecord) -> Option<&'a PublishedRecord> {
        let then = self.records.get(&record.claim).copied();
        then.filter(|then| then.kind == record.kind && then.published <= record.published)
    }

    /// Its counts then. A new record had none; one that may have been unreadable had unknown ones.
    fn counts(&self, record: &PublishedRecord) -> Counts {
        match self.find(record) {
            Some(then) => Counts::of(then),
            None => Counts(self.are_all.then_some((0, 0))),
        }
    }
}

/// How much the field with this index has grown; `None` if it is no number.
fn growth(field: &RecordField, at: usize, then: &PublishedRecord, now: &PublishedRecord) -> Option<f64> {
    use atomscope_layout::own_records::FieldType::Bool;
    if !is_number(field) || field.of == Some(Bool) {
        return None;
    }
    let [then, now] = [then, now].map(|record| record.values.get(at).and_then(as_number));
    Some(now? - then?)
}

/// Adds a column to a list of [`of_kind`] for each field that only grows: its growth per second since `before`, so many seconds ago.
pub fn add_rates(
    list: &mut List,
    at: usize,
    records: &OwnRecords,
    (before, seconds): (&OwnRecords, f64),
    growth: &Growth,
) {
    let (Some(kind), then) = (records.kinds.get(at), Then::of(before)) else { return };
    if before.kinds.get(at) != Some(kind) {
        return;
    }
    // From the last field on, so that those before it keep their places.
    for (nth, field) in kind.fields.iter().enumerate().rev().filter(|(nth, _)| growth.only_grows(at, *nth)) {
        let Some(column) = list.columns.get(FIELDS_AT + nth) else { continue };
        let (unit, factor) = scale(column.unit);
        let (name, unit) = (lasting(&format!("{}_per_s", column.name)), lasting(&format!("{unit}/s")));
        let rate = Column { is_own: true, ..number(name, unit) }.dropped(column.drop_rank);
        list.columns.insert(FIELDS_AT + nth + 1, rate);
        let of_kind = records.list.iter().filter(|record| record.kind == at);
        for (row, record) in list.rows.iter_mut().zip(of_kind) {
            let growth = then.find(record).and_then(|then| self::growth(field, nth, then, record));
            let rate = growth.map(|growth| growth / factor / seconds.max(1e-9));
            row.insert(FIELDS_AT + nth + 1, Value::of(rate, Value::Float));
        }
    }
}

/// Texts that live as long as the program, as names of columns do. Each different one is kept once.
#[derive(Default)]
struct Lasting(HashSet<&'static str>);

/// The most texts that are kept: more than all names and units of one region. Only many regions, or one whose kinds change again
/// and again, have so many.
const MOST_LASTING: usize = 1 << 19;

impl Lasting {
    /// The text, or `?` if there are too many.
    fn keep(&mut self, text: &str, most: usize) -> &'static str {
        if let Some(known) = self.0.get(text) {
            return known;
        }
        if self.0.len() >= most {
            return "?";
        }
        let text: &'static str = Box::leak(text.into());
        self.0.insert(text);
        text
    }
}

fn lasting(text: &str) -> &'static str {
    static KNOWN: LazyLock<Mutex<Lasting>> = LazyLock::new(Mutex::default);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).keep(text, MOST_LASTING)
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
            claim: (0, 1),
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
        let texts: Vec<_> = texts(&records()).collect();
        let values = "size 2048 bytes, kind fast, shares 0.1,- %, odd\n -";
        assert_eq!(texts, [("Queue/in.1".to_owned(), values.to_owned())]);
    }

    /// The records with this size and this often published, a second after each other.
    fn over_time(sizes: &[(u64, u64)]) -> (Vec<OwnRecords>, Growth) {
        let at = |(size, published): &(u64, u64)| {
            let mut records = records();
            records.list[0].published = *published;
            records.list[0].values[0] = FieldValue::Unsigned(*size);
            records
        };
        let all: Vec<_> = sizes.iter().map(at).collect();
        let mut growth = Growth::default();
        all.windows(2).for_each(|pair| growth.add(&pair[0], &pair[1]));
        (all, growth)
    }

    fn rate(sizes: &[(u64, u64)]) -> Option<Value> {
        let (all, growth) = over_time(sizes);
        let [.., before, now] = &all[..] else { return None };
        let mut list = of_kind(now, 0, None);
        add_rates(&mut list, 0, now, (before, 0.5), &growth);
        assert!(list.rows.iter().all(|row| row.len() == list.columns.len()));
        let at = list.column("size_per_s")?;
        assert_eq!((at, list.columns[at].title().as_str()), (FIELDS_AT + 1, "SIZE(KiB/s)"));
        Some(list.rows[0][at].clone())
    }

    #[test]
    fn a_field_that_grew_three_times_and_never_fell_has_a_rate() {
        assert_eq!(rate(&[(0, 1), (1024, 2), (2048, 3)]), None, "it may fall as well");
        assert_eq!(rate(&[(0, 1), (1, 2), (1024, 3), (3072, 4)]), Some(Value::Float(4.0)));
        // It need not grow in each interval.
        assert_eq!(rate(&[(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (3, 6)]), Some(Value::Float(0.0)));
        assert_eq!(rate(&[(0, 1), (1, 2), (2, 3), (3, 4), (2, 5), (3, 6), (4, 7), (5, 8)]), None);
        // A record cannot have been published less often: this one is torn from another region.
        assert_eq!(rate(&[(0, 1), (1, 2), (2, 3), (3, 4), (0, 1)]), Some(Value::Unknown));
    }

    #[test]
    fn another_record_of_the_same_name_is_not_the_one_before() {
        let (mut all, _) = over_time(&[(0, 1), (1, 2), (2, 3), (3, 4), (1, 9)]);
        all[4].list[0].claim = (0, 5);
        let mut growth = Growth::default();
        all.windows(2).for_each(|pair| growth.add(&pair[0], &pair[1]));
        assert!(growth.only_grows(0, 0), "the field of the first one never fell");
        let mut list = of_kind(&all[4], 0, None);
        add_rates(&mut list, 0, &all[4], (&all[3], 1.0), &growth);
        assert_eq!(list.rows[0][list.column("size_per_s").unwrap()], Value::Unknown);
    }

    #[test]
    fn earlier_counts_are_those_of_the_records_that_are_there_now() {
        let published = |list: &List| list.rows[0][list.column("published").unwrap()].clone();
        let record = |claim, published| PublishedRecord { claim, published, ..records().list[0].clone() };
        let of = |list, unreadable| OwnRecords { list, unreadable, ..records() };
        let before = of(vec![record((0, 1), 1000), record((1, 1), 10)], 0);
        // The first one has gone, the second one was published 5 times, and the third is new.
        let now = of(vec![record((1, 1), 15), record((2, 1), 3)], 0);
        assert_eq!(published(&kinds(&now, None)), Value::Total(18));
        assert_eq!(published(&kinds_before(&now, &before)), Value::Total(10));
        assert_eq!(published(&of_kind_before(&now, 0, &before)), Value::Total(10));
        // The third one may have been there and unreadable.
        let before = OwnRecords { unreadable: 1, ..before };
        assert_eq!(published(&kinds_before(&now, &before)), Value::Unknown);
        assert_eq!(published(&of_kind_before(&now, 0, &before)), Value::Total(10));
        let list = of_kind_before(&now, 0, &before);
        assert_eq!(list.rows[1][list.column("published").unwrap()], Value::Unknown);
    }

    #[test]
    fn a_kind_that_was_another_one_before_has_no_rates() {
        let (mut all, mut growth) = over_time(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]);
        assert!(growth.only_grows(0, 0));
        let mut now = all.pop().unwrap();
        now.kinds[0].name = "Other".into();
        growth.add(&all[3], &now);
        assert!(!growth.only_grows(0, 0));
        growth.add(&now, &OwnRecords::default());
        assert!(!growth.only_grows(0, 0) && growth.bytes() == 0);
    }

    #[test]
    fn a_list_of_kinds_has_those_without_records_too() {
        let mut records = records();
        records.kinds.push(RecordKind { name: "Empty".into(), ..records.kinds[0].clone() });
        let list = kinds(&records, None);
        let column = |name| list.column(name).unwrap();
        let shown: Vec<Vec<_>> = list
            .rows
            .iter()
            .map(|row| {
                ["kind", KIND_INDEX, "records", "published"].map(|name| row[column(name)].shown("")).into()
            })
            .collect();
        assert_eq!(shown, [["Queue", "0", "1", "3"], ["Empty", "1", "0", "0"]]);
        assert_eq!(counts(&records), [("Queue", 1), ("Empty", 0)]);
        assert!(of_kind(&records, 2, None).rows.is_empty());
    }

    #[test]
    fn texts_that_last_are_bounded() {
        let mut texts = Lasting::default();
        assert_eq!(["a", "b", "c", "a"].map(|text| texts.keep(text, 2)), ["a", "b", "?", "a"]);
    }
}
