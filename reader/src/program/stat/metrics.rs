//! The columns of `stat --metric`: a metric of the node, or the sum of a field over all instances of a domain.

use std::time::Duration;

use atomscope::attach::{AttachError, Region};
use atomscope::report::list::scale;
use atomscope::report::records;
use atomscope::report::series::Selector;
use atomscope::text::clean;
use atomscope_layout::decode::OwnRecords;
use atomscope_layout::decode::subsystems::InstanceList;
use atomscope_layout::instances::{Domain, FieldKind};
use atomscope_layout::metrics::{Kind, Metric, MetricValue};
use serde::{Serialize, Serializer};

use crate::program::output::Failure;

/// The minimum width of a column.
const MIN_WIDTH: usize = 8;

/// The columns of all `--metric` options.
#[derive(Debug, Default)]
pub struct MetricColumns(Vec<MetricColumn>);

#[derive(Debug)]
struct MetricColumn {
    name: String,
    unit: String,
    /// Whether it is a counter, which is shown as a rate.
    is_counter: bool,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The sum of some metrics of the same name, mostly one.
    Metrics(Selector),
    Sum(Domain, usize),
    Record,
}

impl MetricColumn {
    fn find(name: &str, metrics: &[Metric], records: &OwnRecords) -> Option<Self> {
        let of = |unit: &str, is_counter, source| {
            Some(Self { name: name.to_owned(), unit: unit.to_owned(), is_counter, source })
        };
        if let Some((selector, metric)) = Selector::parse(name)
            .and_then(|selector| selector.of(metrics).first().copied().map(|metric| (selector, metric)))
        {
            // The value of a histogram is the number of its values.
            let unit = if metric.kind == Kind::Histogram { "values" } else { &metric.unit };
            return of(unit, !metric.kind.is_gauge(), Source::Metrics(selector));
        }
        if let Some((field, _)) = records::find(records, name) {
            return of(&field.unit, false, Source::Record);
        }
        let (domain, field) = name.split_once('.')?;
        let domain = *Domain::ALL.iter().find(|known| known.name() == domain)?;
        let fields = domain.fields().iter().enumerate();
        let is_number = |what| matches!(what, FieldKind::Counter | FieldKind::Gauge);
        let (at, field) =
            fields.into_iter().find(|(_, known)| known.name == field && is_number(known.kind))?;
        of(field.unit, field.kind == FieldKind::Counter, Source::Sum(domain, at))
    }

    /// The name in JSON and CSV.
    fn key(&self) -> String {
        format!("{}{}", self.name, if self.is_counter { "_per_s" } else { "" })
    }

    fn value(&self, metrics: &[Metric], instances: &InstanceList, records: &OwnRecords) -> Option<f64> {
        match &self.source {
            Source::Metrics(selector) => {
                let found = selector.of(metrics);
                let known: Vec<f64> =
                    found.iter().filter_map(|metric| metric.value.map(MetricValue::as_f64)).collect();
                (!known.is_empty() && known.len() == found.len()).then(|| known.iter().sum())
            }
            Source::Sum(domain, at) => instances.sum(*domain, *at).map(|value| value as f64),
            Source::Record => records::as_number(records::find(records, &self.name)?.1),
        }
    }
}

impl MetricColumns {
    /// Finds the columns of these names, each once.
    pub fn find(region: &Region, names: Vec<String>) -> Result<Self, Failure> {
        let (metrics, records) = match names.is_empty() {
            true => (Vec::new(), OwnRecords::default()),
            false => (region.reader()?.metrics(), region.reader()?.own_records()),
        };
        let found = names.iter().map(|name| {
            MetricColumn::find(name, &metrics, &records).ok_or_else(|| {
                Failure::Failed(format!(
                    "the node has no metric {}; `atomscope metrics` lists its metrics, and `atomscope records` its records",
                    clean(name)
                ))
            })
        });
        let mut columns: Vec<MetricColumn> = Vec::new();
        for column in found {
            let column = column?;
            match columns.iter().find(|other| other.key() == column.key()) {
                None => columns.push(column),
                Some(same) if same.name == column.name => {}
                // A counter `a` and a gauge `a_per_s` have the same key.
                Some(other) => {
                    let [one, other] = [&column.name, &other.name].map(|name| clean(name).into_owned());
                    return Err(Failure::usage_of(
                        "stat",
                        format!(
                            "--metric {one} and --metric {other} would have the same key {}; give only one of them",
                            clean(&column.key())
                        ),
                    ));
                }
            }
        }
        Ok(Self(columns))
    }

    /// The current values.
    pub fn values(&self, region: &Region) -> Result<Vec<Option<f64>>, AttachError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let reader = region.reader()?;
        let metrics = reader.metrics();
        let sums = self.0.iter().any(|column| matches!(column.source, Source::Sum(..)));
        let instances = if sums { reader.instances() } else { InstanceList::default() };
        let of_records = self.0.iter().any(|column| matches!(column.source, Source::Record));
        let records = if of_records { reader.own_records() } else { OwnRecords::default() };
        let values = self.0.iter().map(|column| column.value(&metrics, &instances, &records)).collect();
        region.check_intact()?;
        Ok(values)
    }

    /// The rates of counters over an interval at whose start the values were `before`, or 0. They are unknown if the length
    /// of the interval is.
    pub fn rates(
        &self,
        now: &[Option<f64>],
        before: &[Option<f64>],
        interval: Option<Duration>,
    ) -> MetricRates {
        let seconds = interval.map(|interval| interval.as_secs_f64().max(1e-9));
        let of = |(at, column): (usize, &MetricColumn)| {
            let value = now.get(at).copied().flatten().and_then(|value| match column.is_counter {
                true => {
                    let then = before.get(at).copied().flatten().unwrap_or(0.0);
                    // The sum over instances decreases when an instance is removed.
                    seconds.map(|s| ((value - then).max(0.0) / s * 10.0).round() / 10.0)
                }
                false => Some(value),
            });
            let (name, unit) = (column.name.clone(), column.unit.clone());
            Rate { name, key: column.key(), unit, is_rate: column.is_counter, value }
        };
        MetricRates(self.0.iter().enumerate().map(of).collect())
    }
}

/// The values of a line.
#[derive(Debug)]
pub struct MetricRates(Vec<Rate>);

#[derive(Debug)]
struct Rate {
    name: String,
    key: String,
    unit: String,
    is_rate: bool,
    value: Option<f64>,
}

impl Rate {
    /// The unit for people, and how many units of the metric it is.
    fn unit(&self) -> (&str, f64) {
        scale(&self.unit)
    }
}

impl MetricRates {
    /// Titles and widths.
    pub fn columns(&self) -> impl Iterator<Item = (String, usize)> {
        self.0.iter().map(|rate| {
            let (unit, _) = rate.unit();
            let title = match (unit, rate.is_rate) {
                ("", false) => rate.name.clone(),
                (unit, is_rate) => format!("{}({unit}{})", rate.name, if is_rate { "/s" } else { "" }),
            };
            let title = clean(&title).into_owned();
            let width = unicode_width::UnicodeWidthStr::width(title.as_str()).max(MIN_WIDTH);
            (title, width)
        })
    }

    /// Values for people; `-` if a value is unknown.
    pub fn cells(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|rate| match rate.value {
            None => "-".to_owned(),
            Some(value) if rate.is_rate || rate.unit().1 > 1.0 => format!("{:.1}", value / rate.unit().1),
            Some(value) => value.to_string(),
        })
    }

    /// The end of a CSV header.
    pub fn csv_names(&self) -> String {
        self.0.iter().map(|rate| format!(",{}", quoted(&clean(&rate.key)))).collect()
    }

    /// The end of a CSV line.
    pub fn csv(&self) -> String {
        self.0.iter().map(|rate| rate.value.map_or(",".to_owned(), |value| format!(",{value}"))).collect()
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// An object `metrics`, or nothing without `--metric`.
impl Serialize for MetricRates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Values<'a>(&'a [Rate]);
        impl Serialize for Values<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|rate| (&rate.key, rate.value)))
            }
        }
        serializer.collect_map((!self.0.is_empty()).then_some(("metrics", Values(&self.0))))
    }
}
