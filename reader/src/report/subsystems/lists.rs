//! Lists of instances and of metrics.

use atomscope_layout::decode::subsystems::{InstanceEntry, flag};
use atomscope_layout::instances::{Domain, Field, FieldKind};
use atomscope_layout::metrics::{Kind, Metric, MetricValue};

use crate::report::human::seconds;
use crate::report::list::{self, Column, List, Value, number, text};
use crate::snapshot::Snapshot;

/// A column whose values are computed from an instance.
pub type Extra = (Column, fn(&InstanceEntry) -> Value);

/// The form of the list of a domain's instances.
#[derive(Debug, Clone, Copy)]
pub struct Instances {
    /// The domain.
    pub domain: Domain,
    /// Above the instances' names.
    pub heading: &'static str,
    /// Whether an instance has an owner.
    pub has_owner: bool,
    /// A number that says nothing by itself; the columns of `extra` are shown instead.
    pub hidden: Option<usize>,
    /// Columns after those of the numbers.
    pub extra: &'static [Extra],
}

impl Instances {
    /// A list with all numbers of the domain.
    pub const fn of(domain: Domain, heading: &'static str) -> Self {
        Self { domain, heading, has_owner: false, hidden: None, extra: &[] }
    }

    /// The same with the owner of each instance.
    pub const fn with_owner(self) -> Self {
        Self { has_owner: true, ..self }
    }

    /// The same with these columns instead of one number.
    pub const fn instead_of(self, number: usize, extra: &'static [Extra]) -> Self {
        Self { hidden: Some(number), extra, ..self }
    }

    /// The numbers that are shown, with their indices.
    fn fields(&self) -> impl Iterator<Item = (usize, &'static Field)> {
        let hidden = self.hidden;
        self.domain.fields().iter().enumerate().filter(move |(at, _)| Some(*at) != hidden)
    }

    /// The list; without a snapshot it has no rows.
    pub fn list(&self, snapshot: Option<&Snapshot>) -> List {
        let mut columns = vec![text("name")];
        columns.extend(self.has_owner.then_some(text("owner")));
        columns.extend(self.fields().map(|(_, field)| match field.kind {
            FieldKind::Name => text(field.name),
            FieldKind::Flag => list::flag(field.name),
            FieldKind::Counter | FieldKind::Gauge | FieldKind::Float => number(field.name, field.unit),
        }));
        columns.extend(self.extra.iter().map(|(column, _)| *column));
        columns.push(number("age_s", "s"));
        columns.push(Column { is_shown: false, ..text("since") });
        let until = snapshot.and_then(|snapshot| snapshot.until);
        let instances = snapshot.map(|snapshot| &snapshot.subsystems.instances);
        let rows = instances.iter().flat_map(|instances| instances.of(self.domain)).map(|entry| {
            let mut row = vec![Value::text(&entry.name)];
            row.extend(self.has_owner.then(|| Value::of(entry.owner.clone(), Value::Text)));
            row.extend(self.fields().map(|(at, field)| number_of(entry, at, field.kind)));
            row.extend(self.extra.iter().map(|(_, value)| value(entry)));
            let age = until.zip(entry.made).and_then(|(until, made)| until.since(&made));
            row.push(Value::of(age, |age| Value::Float(seconds(age))));
            row.push(Value::text(&entry.since));
            row
        });
        List::new(self.domain.name(), self.heading, columns, rows)
    }
}

fn number_of(entry: &InstanceEntry, at: usize, kind: FieldKind) -> Value {
    let number = entry.numbers[at];
    match kind {
        _ if !entry.is_known(at) => Value::Unknown,
        FieldKind::Counter => Value::Total(number),
        FieldKind::Gauge => Value::Number(number),
        FieldKind::Name => Value::text(entry.text(at)),
        FieldKind::Float => Value::Exact(f64::from_bits(number)),
        FieldKind::Flag => Value::of(flag(number), Value::Flag),
    }
}

/// The list of some metrics.
pub(super) fn metrics<'a>(metrics: impl IntoIterator<Item = &'a Metric>) -> List {
    let columns = [text("name"), number("value", ""), text("unit")];
    let rows = metrics
        .into_iter()
        .map(|metric| vec![Value::text(&metric.name), value(metric), Value::text(&metric.unit)]);
    List::new("metrics", "METRIC", columns, rows)
}

/// The value of a metric.
pub(super) fn value(metric: &Metric) -> Value {
    Value::of(metric.value, |value| match (metric.kind, value) {
        (Kind::Counter, MetricValue::Unsigned(value)) => Value::Total(value),
        (Kind::Histogram, MetricValue::Unsigned(value)) => Value::Count(value),
        (_, MetricValue::Unsigned(value)) => Value::Number(value),
        (_, MetricValue::Signed(value)) => Value::Signed(value),
        (_, MetricValue::Float(value)) => Value::Exact(value),
    })
}
