//! Families as text: OpenMetrics 1.0, and the older text format of Prometheus, version 0.0.4.
//!
//! Both formats are nearly the same, so one encoder writes both. A library that writes OpenMetrics alone would be a second
//! path for the same families: the node exporter, `promtool` and people with `curl` need the older format.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};

use super::family::{Family, Kind, Labels, Value};
use crate::text::{clean, is_unsafe, quoted};

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

/// Writes the families of all sources, each family once. Of families with one name and different kinds, and of families whose
/// samples would have the names of others, the first stays. The samples of the others are left out; [`conflicts`] counts these.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl Write, sources: &[Labelled], format: Format) -> fmt::Result {
    for family in merge(sources).0.values() {
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
        for (labels, family) in family {
            for sample in &family.samples {
                let labels = label_text(labels, &sample.labels);
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

/// How many samples [`write()`] leaves out, because their family's name is taken by another family.
pub fn conflicts(sources: &[Labelled]) -> u64 {
    merge(sources).1
}

/// The families of all sources by their names, each with the labels of its source.
type Merged<'a> = BTreeMap<&'a str, Vec<(&'a Labels, &'a Family)>>;

/// The families that are written, and how many samples are not.
fn merge(sources: &[Labelled]) -> (Merged<'_>, u64) {
    let mut merged = Merged::new();
    let mut taken: HashSet<String> = HashSet::new();
    let mut conflicts = 0u64;
    for source in sources {
        for family in &source.families {
            let of_name = merged.get_mut(family.name.as_str());
            match of_name {
                Some(all) if all.first().is_some_and(|(_, first)| first.kind == family.kind) => {
                    all.push((&source.labels, family));
                }
                None if !family.taken_names().any(|name| taken.contains(&name)) => {
                    taken.extend(family.taken_names());
                    merged.insert(&family.name, vec![(&source.labels, family)]);
                }
                _ => conflicts = conflicts.saturating_add(family.samples.len() as u64),
            }
        }
    }
    (merged, conflicts)
}

const EXPORTED: &str = "exported_";

/// The labels of a source and of a sample of it. A label of the sample that the source has too gets `exported_` in front, as
/// Prometheus does it with labels of a target. So does `exported_` such a label, or two of the sample's could become one.
pub fn joined<'a>(source: &'a Labels, sample: &'a Labels) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> {
    let own = source.iter().map(|(name, value)| (Cow::Borrowed(name.as_ref()), value.as_str()));
    let more = sample.iter().map(move |(name, value)| {
        let (_, stem) = stem(name);
        let same = source.iter().map(|(other, _)| self::stem(other)).filter(|(_, other)| *other == stem);
        let name = match same.map(|(depth, _)| depth + 1).max() {
            None => Cow::Borrowed(name.as_ref()),
            Some(depth) => format!("{}{name}", EXPORTED.repeat(depth)).into(),
        };
        (name, value.as_str())
    });
    own.chain(more)
}

/// How often `exported_` is in front of a name, and the rest of it.
fn stem(mut name: &str) -> (usize, &str) {
    let mut depth = 0;
    while let Some(rest) = name.strip_prefix(EXPORTED) {
        (depth, name) = (depth + 1, rest);
    }
    (depth, name)
}

fn label_text(source: &Labels, sample: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in joined(source, sample) {
        let _ = write!(text, "{name}=\"{}\",", escaped(value));
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

/// A label's value. Control characters are shown as in tables, so that the text is safe to print. No two values become one:
/// what looks like such an escape is escaped too.
fn escaped(value: &str) -> Cow<'_, str> {
    // Nearly all values are plain, and each scrape has thousands.
    if !value.contains(['\\', '"']) && !value.contains(is_unsafe) {
        return Cow::Borrowed(value);
    }
    quoted(&clean(&value.replace(r"\u{", r"\u{5c}u{"))).into()
}

fn escaped_help(help: &str, format: Format) -> String {
    let help = clean(help);
    // A quote in the older format stays as it is.
    if format == Format::OpenMetrics { quoted(&help) } else { help.replace('\\', "\\\\") }
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

    fn labelled(labels: &[(&'static str, &str)]) -> Labels {
        labels.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect()
    }

    #[test]
    fn no_label_comes_twice_and_no_two_samples_become_one() {
        let own = labelled(&[("node", "1"), ("exported_node", "2"), ("exported_zone", "3")]);
        let names = |source: &Labels| {
            joined(source, &own).skip(source.len()).map(|(name, _)| name.into_owned()).collect::<Vec<_>>()
        };
        let node = labelled(&[("node", "a")]);
        assert_eq!(names(&node), ["exported_node", "exported_exported_node", "exported_zone"]);
        let both = labelled(&[("node", "a"), ("exported_node", "b")]);
        assert_eq!(
            names(&both),
            ["exported_exported_node", "exported_exported_exported_node", "exported_zone"]
        );

        let mut families = Families::default();
        for labels in [&[("node", "own")], &[("exported_node", "own")]] {
            families.add("x", "", Kind::Gauge, labelled(labels), Value::Whole(1));
        }
        for value in ["\n", "\\u{a}", "\\\n", "\\\\u{a}", "\\u{5c}u{a}", "\\n"] {
            families.add("x", "", Kind::Gauge, labelled(&[("k", value)]), Value::Whole(1));
        }
        let text = text(&[source("a", families)], Format::Text);
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), 9, "{text}");
        assert!(text.contains(r#"k="\\u{5c}u{a}""#), "{text}");
    }

    #[test]
    fn a_family_whose_samples_would_have_the_names_of_another_is_left_out() {
        let histogram = || base_unit("").distribution(&Histogram::default(), Buckets::Octave, 0);
        let kinds = [
            ("x", Kind::Histogram, ["x_count", "x_sum", "x_bucket", "x_created"].as_slice()),
            ("x", Kind::Counter, &["x_total", "x_created"]),
        ];
        for (name, kind, others) in kinds {
            for other in others {
                let (mut one, mut two) = (Families::default(), Families::default());
                let value = if kind == Kind::Histogram { histogram() } else { Value::Whole(1) };
                one.add(name, "", kind, Vec::new(), value);
                two.gauge(other, "", Value::Whole(77));
                two.gauge("y", "", Value::Whole(3));
                // Whichever comes first stays, also if both are of one node.
                let (mut of_one, both) = (one.clone(), two.clone());
                of_one.gauge(other, "", Value::Whole(77));
                let (one, two) = (source("a", one), source("b", two));
                let first = [one.clone(), two.clone()];
                assert_eq!((conflicts(&first), text(&first, Format::Text).contains(" 77\n")), (1, false));
                let last = [two, one];
                assert_eq!((conflicts(&last), text(&last, Format::Text).matches("# TYPE").count()), (1, 2));
                assert_eq!(conflicts(&[source("a", of_one), source("b", both)]), 2);
            }
        }
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
