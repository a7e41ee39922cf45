//! Families as text: OpenMetrics 1.0, and the older text format of Prometheus, version 0.0.4.
//!
//! Both formats are nearly the same, so one encoder writes both. A library that writes OpenMetrics alone would be a second
//! path for the same families: the node exporter, `promtool` and people with `curl` need the older format.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::family::{Family, Kind, Labels, Value};
use crate::text::clean;

/// The format of an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that the header `Accept` of a request prefers: the older one, unless it asks for OpenMetrics.
    pub fn of_accept(accept: &str) -> Self {
        let weight = |media: &str| {
            let of =
                accept.split(',').filter(|range| range.split(';').next().unwrap_or_default().trim() == media);
            of.map(|range| {
                let q = range.split(';').find_map(|part| part.trim().strip_prefix("q="));
                q.map_or(Some(1.0), |q| q.trim().parse::<f64>().ok()).unwrap_or(0.0)
            })
            .fold(0.0, f64::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Self::OpenMetrics } else { Self::Text }
    }
}

/// The families of one source, with the labels that all its samples get.
#[derive(Debug, Clone, Default)]
pub struct Labelled {
    /// The labels.
    pub labels: Labels,
    /// The families.
    pub families: Vec<Family>,
}

/// Writes the families of all sources, each family once. Of families with one name and different kinds, the first kind stays,
/// and the samples of the others are left out; [`conflicts`] counts these.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl Write, sources: &[Labelled], format: Format) -> fmt::Result {
    for family in merge(sources).values() {
        let Some((_, first)) = family.first() else { continue };
        // In the older format a counter's family has the name of its samples.
        let suffix = if first.kind == Kind::Counter { "_total" } else { "" };
        let described = if format == Format::Text { suffix } else { "" };
        let name = &first.name;
        if !first.help.is_empty() {
            writeln!(out, "# HELP {name}{described} {}", escaped_help(&first.help, format))?;
        }
        writeln!(out, "# TYPE {name}{described} {}", first.kind.word())?;
        if format == Format::OpenMetrics && !first.unit.is_empty() {
            writeln!(out, "# UNIT {name} {}", first.unit)?;
        }
        for (labels, family) in family.iter().filter(|(_, family)| family.kind == first.kind) {
            for sample in &family.samples {
                let labels = joined(labels, &sample.labels);
                match &sample.value {
                    Value::Distribution(of) => {
                        for (le, count) in &of.buckets {
                            line(out, name, "_bucket", &labels, Some(&number(*le)), &Value::Whole(*count))?;
                        }
                        line(out, name, "_bucket", &labels, Some("+Inf"), &Value::Whole(of.count))?;
                        line(out, name, "_sum", &labels, None, &Value::Float(of.sum))?;
                        line(out, name, "_count", &labels, None, &Value::Whole(of.count))?;
                    }
                    value => line(out, name, suffix, &labels, None, value)?,
                }
            }
        }
    }
    if format == Format::OpenMetrics { out.write_str("# EOF\n") } else { Ok(()) }
}

/// How many samples [`write`] leaves out, because their family's name is that of a family of another kind.
pub fn conflicts(sources: &[Labelled]) -> u64 {
    let of = |family: &Vec<(&Labels, &Family)>| {
        let first = family.first().map(|(_, first)| first.kind);
        let others = family.iter().filter(|(_, family)| Some(family.kind) != first);
        others.map(|(_, family)| family.samples.len() as u64).sum::<u64>()
    };
    merge(sources).values().map(of).sum()
}

fn merge(sources: &[Labelled]) -> BTreeMap<&str, Vec<(&Labels, &Family)>> {
    let mut merged: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for source in sources {
        for family in &source.families {
            merged.entry(family.name.as_str()).or_default().push((&source.labels, family));
        }
    }
    merged
}

/// The labels of a source and of a sample as text. A label of a sample that its source has too gets another name, as
/// Prometheus does it with labels of a target.
fn joined(source: &Labels, sample: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in source {
        let _ = write!(text, "{name}=\"{}\",", escaped(value));
    }
    for (name, value) in sample {
        let prefix = if source.iter().any(|(other, _)| other == name) { "exported_" } else { "" };
        let _ = write!(text, "{prefix}{name}=\"{}\",", escaped(value));
    }
    text.pop();
    text
}

fn line(
    out: &mut impl Write,
    name: &str,
    suffix: &str,
    labels: &str,
    le: Option<&str>,
    value: &Value,
) -> fmt::Result {
    out.write_str(name)?;
    out.write_str(suffix)?;
    match (labels, le) {
        ("", None) => {}
        ("", Some(le)) => write!(out, "{{le=\"{le}\"}}")?,
        (labels, None) => write!(out, "{{{labels}}}")?,
        (labels, Some(le)) => write!(out, "{{{labels},le=\"{le}\"}}")?,
    }
    match value {
        Value::Whole(value) => writeln!(out, " {value}"),
        Value::Signed(value) => writeln!(out, " {value}"),
        Value::Float(value) => writeln!(out, " {}", number(*value)),
        Value::Distribution(_) => writeln!(out, " NaN"),
    }
}

/// A floating-point number: the shortest text that reads back as the same number. OpenMetrics wants a point in each bound.
fn number(value: f64) -> String {
    match value {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        _ => format!("{value:?}"),
    }
}

/// A label's value. Control characters are shown as in tables, so that the text is safe to print.
fn escaped(value: &str) -> Cow<'_, str> {
    let value = clean(value);
    if value.contains(['\\', '"']) {
        return value.replace('\\', "\\\\").replace('"', "\\\"").into();
    }
    value
}

fn escaped_help(help: &str, format: Format) -> String {
    let help = clean(help).replace('\\', "\\\\");
    if format == Format::OpenMetrics { help.replace('"', "\\\"") } else { help }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::family::{Buckets, Families, base_unit};
    use atomscope_layout::histogram::Histogram;

    fn source(node: &str, families: Families) -> Labelled {
        Labelled { labels: vec![("node".into(), node.to_owned())], families: families.into_list() }
    }

    fn text(sources: &[Labelled], format: Format) -> String {
        let mut text = String::new();
        write(&mut text, sources, format).unwrap();
        text
    }

    #[test]
    fn each_family_comes_once_with_the_samples_of_all_nodes() {
        let mut one = Families::default();
        one.counter("x", "It is \"x\".", 1);
        one.gauge("y_seconds", "Why.", Value::Float(0.5));
        let mut two = Families::default();
        two.counter("x", "", 2);
        two.gauge("z", "", Value::Signed(-3));
        let sources = [source("a", one), source("b\"\\\n", two)];
        assert_eq!(
            text(&sources, Format::Text),
            "# HELP x_total It is \"x\".\n# TYPE x_total counter\nx_total{node=\"a\"} 1\n\
             x_total{node=\"b\\\"\\\\\\\\u{a}\"} 2\n\
             # HELP y_seconds Why.\n# TYPE y_seconds gauge\ny_seconds{node=\"a\"} 0.5\n\
             # TYPE z gauge\nz{node=\"b\\\"\\\\\\\\u{a}\"} -3\n"
        );
        assert_eq!(
            text(&sources, Format::OpenMetrics),
            "# HELP x It is \\\"x\\\".\n# TYPE x counter\nx_total{node=\"a\"} 1\n\
             x_total{node=\"b\\\"\\\\\\\\u{a}\"} 2\n\
             # HELP y_seconds Why.\n# TYPE y_seconds gauge\n# UNIT y_seconds seconds\ny_seconds{node=\"a\"} 0.5\n\
             # TYPE z gauge\nz{node=\"b\\\"\\\\\\\\u{a}\"} -3\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_infinity() {
        let mut families = Families::default();
        let histogram = Histogram { count: 2, sum: 5, greatest: 4, buckets: vec![(1, 1), (4, 1)] };
        let value = base_unit("").distribution(&histogram, Buckets::Octave, 2);
        families.add("h", "", Kind::Histogram, Vec::new(), value);
        assert_eq!(
            text(&[source("a", families)], Format::Text),
            "# TYPE h histogram\nh_bucket{node=\"a\",le=\"0.0\"} 0\nh_bucket{node=\"a\",le=\"1.0\"} 1\n\
             h_bucket{node=\"a\",le=\"3.0\"} 1\nh_bucket{node=\"a\",le=\"+Inf\"} 2\nh_sum{node=\"a\"} 5.0\n\
             h_count{node=\"a\"} 2\n"
        );
    }

    #[test]
    fn a_name_of_two_kinds_keeps_the_first_and_a_label_of_the_node_is_not_overwritten() {
        let (mut one, mut two) = (Families::default(), Families::default());
        one.counter("x", "", 1);
        two.gauge("x", "", Value::Whole(2));
        two.add("y", "", Kind::Gauge, vec![("node".into(), "own".to_owned())], Value::Whole(3));
        let sources = [source("a", one), source("b", two)];
        assert_eq!(conflicts(&sources), 1);
        let text = text(&sources, Format::Text);
        assert!(!text.contains("} 2"), "{text}");
        assert!(text.contains("y{node=\"b\",exported_node=\"own\"} 3"), "{text}");
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        assert_eq!(Format::of_accept(prometheus), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "text/plain,application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Format::of_accept(other), Format::Text, "{other}");
        }
    }
}
