//! Metrics by name and labels: as people write them, and which metrics a text names.
//!
//! ```
//! use atomscope::report::series::Selector;
//!
//! let selector = Selector::parse("docs.seen{shard=\"0\"}").unwrap();
//! assert!(selector.accepts("docs.seen", &[("shard".into(), "0".into()), ("zone".into(), "eu".into())]));
//! assert!(!selector.accepts("docs.seen", &[]));
//! ```

use atomscope_layout::metrics::Metric;

use crate::report::list::shown_labels;

/// `docs.seen`, or `docs.seen{shard="0"}`. Not safe to print.
pub fn shown(metric: &Metric) -> String {
    match &*metric.labels {
        [] => metric.name.clone(),
        labels => format!("{}{{{}}}", metric.name, shown_labels(labels)),
    }
}

/// The metrics of one name that have these labels, whatever others they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The name.
    pub name: String,
    labels: Vec<(String, String)>,
}

impl Selector {
    /// Reads `name` or `name{key="value",key="value"}`; in a value `\"` is a quotation mark and `\\` a backslash.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((name, rest)) = text.split_once('{') else {
            return Some(Self { name: text.to_owned(), labels: Vec::new() });
        };
        let mut rest = rest.strip_suffix('}')?.trim();
        let mut labels = Vec::new();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=')?;
            let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
            labels.push((key.trim().to_owned(), value));
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return None,
            };
        }
        Some(Self { name: name.to_owned(), labels })
    }

    /// Whether it names a metric of this name and these labels.
    pub fn accepts(&self, name: &str, labels: &[(String, String)]) -> bool {
        self.name == name && self.labels.iter().all(|label| labels.contains(label))
    }

    /// The metrics that it names: the one that has just these labels, or else all that have them and others.
    pub fn of<'a>(&self, metrics: &'a [Metric]) -> Vec<&'a Metric> {
        let mut found: Vec<_> =
            metrics.iter().filter(|metric| self.accepts(&metric.name, &metric.labels)).collect();
        if let Some(exact) = found.iter().position(|metric| metric.labels.len() == self.labels.len()) {
            found = vec![found.swap_remove(exact)];
        }
        found
    }
}

/// A text up to its closing quotation mark, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use atomscope_layout::metrics::Kind;

    use super::*;

    fn metric(labels: &[(&str, &str)]) -> Metric {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (name, unit, help) = ("a".to_owned(), String::new(), String::new());
        Metric {
            name,
            labels,
            unit,
            help,
            kind: Kind::Counter,
            is_builtin: false,
            value: None,
            histogram: None,
        }
    }

    #[test]
    fn what_is_shown_of_a_metric_names_it() {
        let hard = metric(&[("k", "a \"b\" \\, {c}"), ("l", "")]);
        assert_eq!(shown(&hard), r#"a{k="a \"b\" \\, {c}",l=""}"#);
        let metrics = [metric(&[]), metric(&[("k", "x")]), hard, metric(&[("k", "x"), ("z", "1")])];
        for metric in &metrics {
            assert_eq!(Selector::parse(&shown(metric)).unwrap().of(&metrics), [metric]);
        }
        let of = |text: &str| Selector::parse(text).map(|selector| selector.of(&metrics).len());
        assert_eq!(of(r#"a{ l = "" , k="a \"b\" \\, {c}" }"#), Some(1));
        assert_eq!((of(r#"a{z="1"}"#), of(r#"a{k="y"}"#), of("b")), (Some(1), Some(0), Some(0)));
        assert_eq!(Selector::parse("a").unwrap().of(&metrics[1..]).len(), 3);
        for wrong in [r#"a{k="x"#, r#"a{k="x"} "#, "a{k=x}", r#"a{k="x" l="y"}"#, r#"a{k="x\"}"#] {
            assert_eq!(Selector::parse(wrong), None, "{wrong}");
        }
    }
}
