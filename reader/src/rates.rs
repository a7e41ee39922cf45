//! What `stat` is asked for by name: any metric of a node, or a number of a domain's instances, added up.

use std::time::Duration;

use atomscope::attach::{AttachError, Region};
use atomscope::text::clean;
use atomscope_layout::decode::subsystems::InstanceList;
use atomscope_layout::instances::{Domain, FieldKind};
use atomscope_layout::metrics::{Kind, Metric};
use serde::{Serialize, Serializer};

use crate::output::Failure;

/// Columns are at least so wide.
const LEAST_WIDTH: usize = 8;

/// What is asked for.
#[derive(Debug, Default)]
pub struct Asked(Vec<Wanted>);

#[derive(Debug)]
struct Wanted {
    name: String,
    unit: String,
    /// Whether it only grows.
    is_count: bool,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Metric,
    Sum(Domain, usize),
}

impl Wanted {
    fn find(name: &str, metrics: &[Metric]) -> Option<Self> {
        let of = |unit: &str, is_count, source| {
            Some(Self { name: name.to_owned(), unit: unit.to_owned(), is_count, source })
        };
        if let Some(metric) = metrics.iter().find(|metric| metric.name == name) {
            // Of a histogram, how many values come.
            let unit = if metric.kind == Kind::Histogram { "values" } else { &metric.unit };
            return of(unit, metric.kind != Kind::Gauge, Source::Metric);
        }
        let (domain, field) = name.split_once('.')?;
        let domain = *Domain::ALL.iter().find(|known| known.name() == domain)?;
        let fields = domain.fields().iter().enumerate();
        let is_number = |what| matches!(what, FieldKind::Counter | FieldKind::Gauge);
        let (at, field) =
            fields.into_iter().find(|(_, known)| known.name == field && is_number(known.kind))?;
        of(field.unit, field.kind == FieldKind::Counter, Source::Sum(domain, at))
    }

    /// Its name in JSON and in comma-separated values.
    fn key(&self) -> String {
        format!("{}{}", self.name, if self.is_count { "_per_s" } else { "" })
    }

    fn value(&self, metrics: &[Metric], instances: &InstanceList) -> Option<u64> {
        match self.source {
            Source::Metric => metrics.iter().find(|metric| metric.name == self.name)?.value,
            Source::Sum(domain, at) => instances.sum(domain, at),
        }
    }
}

impl Asked {
    /// Finds all that is asked for, each once, or says what there is not.
    pub fn find(region: &Region, names: Vec<String>) -> Result<Self, Failure> {
        let metrics = if names.is_empty() { Vec::new() } else { region.reader()?.metrics() };
        let wanted = names.iter().map(|name| {
            Wanted::find(name, &metrics).ok_or_else(|| {
                Failure::Failed(format!(
                    "the node has no metric {}; `atomscope metrics` lists those that it has",
                    clean(name)
                ))
            })
        });
        let mut asked: Vec<Wanted> = Vec::new();
        for wanted in wanted {
            let wanted = wanted?;
            match asked.iter().find(|other| other.key() == wanted.key()) {
                None => asked.push(wanted),
                Some(same) if same.name == wanted.name => {}
                // `a` by the second and `a_per_s`.
                Some(other) => {
                    let [one, other] = [&wanted.name, &other.name].map(|name| clean(name).into_owned());
                    return Err(Failure::Usage(format!(
                        "{one} and {other} would both be told as {}: ask for one at a time",
                        clean(&wanted.key())
                    )));
                }
            }
        }
        Ok(Self(asked))
    }

    /// Their values now.
    pub fn values(&self, region: &Region) -> Result<Vec<Option<u64>>, AttachError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let reader = region.reader()?;
        let metrics = reader.metrics();
        let sums = self.0.iter().any(|wanted| matches!(wanted.source, Source::Sum(..)));
        let instances = if sums { reader.instances() } else { InstanceList::default() };
        let values = self.0.iter().map(|wanted| wanted.value(&metrics, &instances)).collect();
        region.still_whole()?;
        Ok(values)
    }

    /// What they come to in an interval, before which they were `before`, or 0. Of an interval whose length is not known
    /// there are no rates.
    pub fn rates(&self, now: &[Option<u64>], before: &[Option<u64>], interval: Option<Duration>) -> Rates {
        let seconds = interval.map(|interval| interval.as_secs_f64().max(1e-9));
        let of = |(at, wanted): (usize, &Wanted)| {
            let value = now.get(at).copied().flatten().and_then(|value| match wanted.is_count {
                true => {
                    let then = before.get(at).copied().flatten().unwrap_or(0);
                    // Things that are no longer listed take what they counted with them.
                    seconds.map(|s| (value.saturating_sub(then) as f64 / s * 10.0).round() / 10.0)
                }
                false => Some(value as f64),
            });
            let (name, unit) = (wanted.name.clone(), wanted.unit.clone());
            Rate { name, key: wanted.key(), unit, is_rate: wanted.is_count, value }
        };
        Rates(self.0.iter().enumerate().map(of).collect())
    }
}

/// What they come to.
#[derive(Debug)]
pub struct Rates(Vec<Rate>);

#[derive(Debug)]
struct Rate {
    name: String,
    key: String,
    unit: String,
    is_rate: bool,
    value: Option<f64>,
}

impl Rate {
    /// The unit that people are shown, and how many of the metric's it is.
    fn unit(&self) -> (&str, f64) {
        match self.unit.as_str() {
            "bytes" => ("KiB", 1024.0),
            "nanoseconds" => ("ms", 1e6),
            unit => (unit, 1.0),
        }
    }
}

impl Rates {
    /// Titles and widths.
    pub fn columns(&self) -> impl Iterator<Item = (String, usize)> {
        self.0.iter().map(|rate| {
            let (unit, _) = rate.unit();
            let title = match (unit, rate.is_rate) {
                ("", false) => rate.name.clone(),
                (unit, is_rate) => format!("{}({unit}{})", rate.name, if is_rate { "/s" } else { "" }),
            };
            let title = clean(&title).into_owned();
            let width = unicode_width::UnicodeWidthStr::width(title.as_str()).max(LEAST_WIDTH);
            (title, width)
        })
    }

    /// For people; `-` where nothing counts a metric, or it is gone.
    pub fn cells(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|rate| match rate.value {
            None => "-".to_owned(),
            Some(value) if rate.is_rate || rate.unit().1 > 1.0 => format!("{:.1}", value / rate.unit().1),
            Some(value) => value.to_string(),
        })
    }

    /// What follows a line of titles.
    pub fn csv_names(&self) -> String {
        self.0.iter().map(|rate| format!(",{}", quoted(&clean(&rate.key)))).collect()
    }

    /// What follows a line of values.
    pub fn csv(&self) -> String {
        self.0.iter().map(|rate| rate.value.map_or(",".to_owned(), |value| format!(",{value}"))).collect()
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// An object `metrics`, unless nothing was asked for.
impl Serialize for Rates {
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
