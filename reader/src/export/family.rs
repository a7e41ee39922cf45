//! Metric families: a name, and samples with labels, as Prometheus and OpenMetrics have them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use atomscope_layout::histogram::{BUCKETS, Histogram, least_of};

/// Labels of a sample: names and values.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// The kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while its node lives.
    Counter,
    /// It rises and falls.
    Gauge,
    /// The distribution of values.
    Histogram,
}

impl Kind {
    /// The kind as Prometheus and OpenMetrics name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The value of a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without sign.
    Whole(u64),
    /// A number with sign.
    Signed(i64),
    /// A floating-point number.
    Float(f64),
    /// The distribution of a histogram.
    Distribution(Distribution),
}

/// The values of a histogram, cumulative.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// The greatest value that counts in each bucket, and how many values are not greater than it. Without the bucket `+Inf`.
    pub buckets: Vec<(f64, u64)>,
    /// Number of all values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
}

/// A sample: its labels and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels, without those of its node.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

/// A metric family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name. That of a counter has no `_total`.
    pub name: String,
    /// What it is, in one sentence.
    pub help: String,
    /// Its unit, which then is the end of its name; else empty.
    pub unit: String,
    /// Its kind.
    pub kind: Kind,
    /// Its samples. No two have the same labels.
    pub samples: Vec<Sample>,
}

impl Family {
    /// The names that no other family may have: its own, and those that its samples have or could have in either format.
    pub fn taken_names(&self) -> impl Iterator<Item = String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Counter => &["", "_total", "_created"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name))
    }

    /// The name of its samples: that of a counter ends with `_total`.
    pub fn sample_name(&self) -> Cow<'_, str> {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name).into(),
            Kind::Gauge | Kind::Histogram => self.name.as_str().into(),
        }
    }
}

/// How the buckets of histograms are exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Buckets {
    /// One for each doubling of the value.
    #[default]
    Octave,
    /// All: four for each doubling.
    Fine,
}

/// A unit as Prometheus wants it, and the factor to it: base units.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseUnit<'a> {
    /// The unit, as the end of a name.
    pub unit: Cow<'a, str>,
    /// What one of the values is in this unit; `None`: the same.
    pub scale: Option<f64>,
}

/// The base unit of a unit, a word or one of [UCUM].
///
/// [UCUM]: https://ucum.org/ucum
pub fn base_unit(unit: &str) -> BaseUnit<'_> {
    let (unit, scale) = match unit {
        "1" => ("", None),
        "%" => ("percent", None),
        "ns" | "nanoseconds" => ("seconds", Some(1e-9)),
        "µs" | "us" | "microseconds" => ("seconds", Some(1e-6)),
        "ms" | "milliseconds" => ("seconds", Some(1e-3)),
        "s" => ("seconds", None),
        "min" | "minutes" => ("seconds", Some(60.0)),
        "h" | "hours" => ("seconds", Some(3600.0)),
        "d" | "days" => ("seconds", Some(86400.0)),
        "By" => ("bytes", None),
        "kBy" | "kilobytes" => ("bytes", Some(1e3)),
        "MBy" | "megabytes" => ("bytes", Some(1e6)),
        "GBy" | "gigabytes" => ("bytes", Some(1e9)),
        "KiBy" | "KiB" | "kibibytes" => ("bytes", Some(1024.0)),
        "MiBy" | "MiB" | "mebibytes" => ("bytes", Some(1024.0 * 1024.0)),
        "GiBy" | "GiB" | "gibibytes" => ("bytes", Some(1024.0 * 1024.0 * 1024.0)),
        other => {
            let name = name_of(other);
            let words: Vec<_> = name.split('_').filter(|word| !word.is_empty()).collect();
            return BaseUnit { unit: words.join("_").into(), scale: None };
        }
    };
    BaseUnit { unit: unit.into(), scale }
}

impl BaseUnit<'_> {
    /// A number in this unit.
    pub fn value(&self, number: u64) -> Value {
        self.scale.map_or(Value::Whole(number), |scale| Value::Float(scaled(number as f64, scale)))
    }

    /// A number with sign in this unit.
    pub fn signed(&self, number: i64) -> Value {
        self.scale.map_or(Value::Signed(number), |scale| Value::Float(scaled(number as f64, scale)))
    }

    /// A floating-point number in this unit.
    pub fn float(&self, number: f64) -> Value {
        Value::Float(self.scale.map_or(number, |scale| scaled(number, scale)))
    }

    /// A histogram in this unit. Times get buckets from a microsecond to two minutes, others from 1 to 2⁴⁷, but never beyond
    /// `most_octave`. Which buckets there are does not depend on the values, so that no series begins in the middle.
    pub fn distribution(&self, histogram: &Histogram, buckets: Buckets, most_octave: u32) -> Value {
        let is_time = self.scale == Some(1e-9);
        let octaves = if is_time { 10..=37u32.min(most_octave) } else { 0..=47u32.min(most_octave) };
        let in_unit = |number: u64| match self.value(number) {
            Value::Float(float) => float,
            _ => number as f64,
        };
        let (least, greatest) = (1u64 << octaves.start(), 1u64 << octaves.end());
        let ends = (1..BUCKETS).map(least_of).filter(|end| (least..=greatest).contains(end));
        let ends = ends.filter(|end| buckets == Buckets::Fine || end.is_power_of_two());
        let mut values = histogram.buckets.iter().peekable();
        let mut count = 0u64;
        let mut counted = Vec::new();
        for end in ends {
            while let Some((_, more)) = values.next_if(|(least, _)| *least < end) {
                count = count.saturating_add(*more);
            }
            // A bucket has whole numbers below `end`; `le` includes its bound.
            counted.push((in_unit(end - 1), count));
        }
        let count = values.fold(count, |count, (_, more)| count.saturating_add(*more));
        Value::Distribution(Distribution { buckets: counted, count, sum: in_unit(histogram.sum) })
    }
}

/// Divides where that is the exact way: 1e-9 has no exact binary form, and 1e9 has one.
fn scaled(number: f64, scale: f64) -> f64 {
    if scale < 1.0 { number / (1.0 / scale).round() } else { number * scale }
}

/// A text as part of a name: letters, digits and underscores.
pub fn name_of(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = text.chars().map(allowed).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// A name that ends with the base unit of `unit`, in place of `unit` itself. An empty name stays empty.
pub fn in_base_unit(name: &str, unit: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    let base = base_unit(unit);
    let is_same = |word: &str| word != base.unit && !base.unit.is_empty() && base_unit(word) == base;
    let name = match name.rsplit_once('_') {
        Some((rest, word)) if !rest.is_empty() && is_same(word) => rest,
        _ => name,
    };
    with_unit(name, &base.unit)
}

/// Whether both formats take it as the name of a family.
fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

/// A name that ends with its unit. Nothing is appended if the unit is empty, or a word of the name already.
pub fn with_unit(name: &str, unit: &str) -> String {
    let has_unit = unit.is_empty()
        || [unit, &format!("{unit}s")].iter().any(|unit| format!("_{name}_").contains(&format!("_{unit}_")))
        || unit.ends_with('s') && name.ends_with(&format!("_{}", &unit[..unit.len() - 1]));
    if has_unit { name.to_owned() } else { format!("{name}_{unit}") }
}

/// The families of one node.
#[derive(Debug, Clone, Default)]
pub struct Families {
    list: Vec<Family>,
    by_name: HashMap<String, usize>,
    seen: HashSet<(usize, Labels)>,
    /// How many samples of what were left out.
    pub left_out: BTreeMap<String, u64>,
}

impl Families {
    /// Adds a sample. What is no name, a name that is there with another kind, and labels that are there, are left out.
    pub fn add(&mut self, name: &str, help: &str, kind: Kind, labels: Labels, value: Value) {
        // One invalid name makes readers refuse the samples of all nodes.
        if !is_name(name) {
            return self.leave_out("invalid names", 1);
        }
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
                self.by_name.insert(name.to_owned(), self.list.len());
                self.list.push(Family {
                    name: name.to_owned(),
                    help: help.to_owned(),
                    unit: unit.unwrap_or_default().to_owned(),
                    kind,
                    samples: Vec::new(),
                });
                self.list.len() - 1
            }
        };
        let Some(family) = self.list.get_mut(at) else { return };
        if family.kind != kind || !self.seen.insert((at, labels.clone())) {
            return self.leave_out("duplicates", 1);
        }
        family.samples.push(Sample { labels, value });
    }

    /// Adds a gauge without a label.
    pub fn gauge(&mut self, name: &str, help: &str, value: Value) {
        self.add(name, help, Kind::Gauge, Vec::new(), value);
    }

    /// Adds a counter without a label.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.add(name, help, Kind::Counter, Vec::new(), Value::Whole(value));
    }

    /// Notes that `count` samples of `what` were left out.
    pub fn leave_out(&mut self, what: &str, count: u64) {
        if count > 0 {
            let counted = self.left_out.entry(what.to_owned()).or_default();
            *counted = counted.saturating_add(count);
        }
    }

    /// The first `limit` of `rows`; the others are left out as `what`.
    pub fn limited<T>(&mut self, what: &str, limit: usize, mut rows: Vec<T>) -> Vec<T> {
        self.leave_out(what, rows.len().saturating_sub(limit) as u64);
        rows.truncate(limit);
        rows
    }

    /// The families, in the order in which they were added.
    pub fn into_list(self) -> Vec<Family> {
        self.list
    }

    /// The families, in the order in which they were added.
    pub fn list(&self) -> &[Family] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_with_its_unit_once() {
        assert_eq!(with_unit("poll_interval", "seconds"), "poll_interval_seconds");
        assert_eq!(with_unit("actors_spawned", "actors"), "actors_spawned");
        assert_eq!(with_unit("remote_errors", "errors"), "remote_errors");
        assert_eq!(with_unit("x", ""), "x");
        assert_eq!(name_of("4 Größen.x"), "_4_Gr__en_x");
    }

    #[test]
    fn units_become_base_units_whether_they_are_words_or_of_ucum() {
        let named = [
            ("heap_used", "By", "heap_used_bytes"),
            ("heap", "MiBy", "heap_bytes"),
            ("heap", "KiB", "heap_bytes"),
            ("ratio", "1", "ratio"),
            ("load", "%", "load_percent"),
            ("uptime", "min", "uptime_seconds"),
            ("requests", "{request}", "requests"),
            ("speed", "{request}/s", "speed_request_s"),
            ("latency_ms", "ms", "latency_seconds"),
            ("wait_ns", "nanoseconds", "wait_seconds"),
            // The least latency, and no minutes.
            ("latency_min", "ms", "latency_min_seconds"),
            ("orders", "orders", "orders"),
            ("_ns", "ns", "_ns_seconds"),
            ("", "ns", ""),
        ];
        for (name, unit, expected) in named {
            assert_eq!(in_base_unit(name, unit), expected, "{name} in {unit}");
        }
        assert_eq!(base_unit("h").value(2), Value::Float(7200.0));
        assert_eq!(base_unit("By").value(2), Value::Whole(2));
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let mut families = Families::default();
        for name in ["", "1x", "a b", "ä"] {
            families.gauge(name, "", Value::Whole(1));
        }
        assert!(families.list().is_empty());
        assert_eq!(families.left_out["invalid names"], 4);
    }

    #[test]
    fn the_buckets_of_a_histogram_are_exact_and_the_same_whatever_its_values() {
        let histogram =
            Histogram { count: 4, sum: 21, greatest: 8, buckets: vec![(1, 1), (4, 1), (7, 1), (8, 1)] };
        let Value::Distribution(of) = base_unit("letters").distribution(&histogram, Buckets::Octave, 4)
        else {
            panic!("not a distribution")
        };
        assert_eq!(of.buckets, [(0.0, 0), (1.0, 1), (3.0, 1), (7.0, 3), (15.0, 4)]);
        assert_eq!((of.count, of.sum), (4, 21.0));
        let Value::Distribution(fine) = base_unit("letters").distribution(&histogram, Buckets::Fine, 4)
        else {
            panic!("not a distribution")
        };
        assert!(fine.buckets.contains(&(6.0, 2)) && fine.buckets.contains(&(7.0, 3)));
        let empty = base_unit("nanoseconds").distribution(&Histogram::default(), Buckets::Octave, 47);
        let Value::Distribution(empty) = empty else { panic!("not a distribution") };
        assert_eq!((empty.buckets.len(), empty.buckets[0].0), (28, 1.023e-6));
    }

    #[test]
    fn two_samples_with_the_same_labels_are_one_and_the_other_is_counted() {
        let mut families = Families::default();
        families.counter("x", "", 1);
        families.counter("x", "", 2);
        families.gauge("x", "", Value::Whole(3));
        assert_eq!(families.left_out["duplicates"], 2);
        assert_eq!(families.list().len(), 1);
        assert_eq!(families.list()[0].samples[0].value, Value::Whole(1));
    }
}
