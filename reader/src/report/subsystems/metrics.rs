//! All metrics of a node.

use atomscope_layout::histogram::Histogram;
use atomscope_layout::metrics::Kind;

use super::lists::{metrics, value};
use super::subsystem::{Fact, Subsystem, ViewText, no_gaps, no_warnings, number};
use crate::report::human::count;
use crate::report::list::{self, Column, List, Value, shown_unit, text};
use crate::report::series;
use crate::snapshot::Snapshot;
use crate::text::clean;

/// The column that says of a metric whether the probe counts it; people are not shown it.
pub const BUILTIN_COLUMN: &str = "builtin";

/// All counters, gauges and histograms: those of every subsystem and of the application.
pub const METRICS: Subsystem = Subsystem {
    name: "metrics",
    title: "Metrics",
    content: "metrics",
    about: "List all counters, gauges and histograms of a node, those of the application too",
    notes: "The application's own metrics come first, and those that the probe counts itself only with --all. UNIT is the \
            unit of VALUE: bytes (By) are shown as KiB, nanoseconds (ns) and microseconds (us) as ms. A histogram's VALUE is how \
            many values it has; P50, P99 and GREATEST are in UNIT, the first two at most a quarter too great. `atomscope stat \
            --metric 'NAME{LABELS}'` shows how fast a counter grows.",
    examples: &[
        "atomscope metrics shop --filter orders",
        "atomscope metrics shop --filter 'labels ~ shard=\"0\"'",
        "atomscope metrics --all --json | jq '.[] | select(.value > 0).name'",
    ],
    view: ViewText {
        name: "metrics",
        title: "Metrics",
        key: 'M',
        help: "all counters, gauges and histograms",
    },
    instances: &[],
    shown_with: &[],
    is_one_list: true,
    lists,
    summary,
    gaps: no_gaps,
    warnings: no_warnings,
    failures: &[],
};

fn lists(_: &Subsystem, snapshot: Option<&Snapshot>) -> Vec<List> {
    let of = |is_builtin| {
        let metrics = snapshot.iter().flat_map(|snapshot| &snapshot.metrics);
        metrics.filter(move |metric| metric.is_builtin == is_builtin)
    };
    let all = || of(false).chain(of(true));
    let mut list = metrics(all());
    let has_labels = snapshot.is_none() || all().any(|metric| !metric.labels.is_empty());
    list.columns.insert(1, Column { is_shown: has_labels, ..text("labels") });
    list.columns.push(text("kind"));
    list.columns.extend(["p50", "p99", "greatest"].map(|name| list::number(name, "")));
    list.columns.push(Column { is_shown: false, ..list::number("sum", "") });
    list.columns.push(Column { is_shown: false, ..list::flag(BUILTIN_COLUMN) });
    list.columns.push(text("help"));
    for (row, metric) in list.rows.iter_mut().zip(all()) {
        let some = metric.histogram.as_ref().filter(|histogram| histogram.count > 0);
        let of = |of: fn(&Histogram) -> u64| Value::of(some, |histogram| Value::Number(of(histogram)));
        row.insert(1, Value::Labels(metric.labels.clone()));
        row.push(Value::text(metric.kind.name()));
        row.extend([of(|all| all.quantile(0.5)), of(|all| all.quantile(0.99)), of(|all| all.greatest)]);
        row.push(of(|all| all.sum));
        row.push(Value::Flag(metric.is_builtin));
        row.push(Value::text(&metric.help));
    }
    vec![list]
}

/// Metrics that a summary names.
const NAMED: usize = 3;

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let all = snapshot.metrics.len() as u64;
    let own: Vec<_> = snapshot.metrics.iter().filter(|metric| !metric.is_builtin).collect();
    let first = own.iter().take(NAMED).map(|metric| {
        let (value, unit) = (value(metric), if metric.kind == Kind::Histogram { "" } else { &*metric.unit });
        let value = format!("{} {} {}", series::shown(metric), value.shown(unit), shown_unit(unit));
        clean(value.trim_end()).into_owned()
    });
    let mut line = count(own.len() as u64, "metric", "metrics");
    for (at, text) in first.enumerate() {
        line += if at == 0 { ": " } else { ", " };
        line += &text;
    }
    line += if own.len() > NAMED { ", …" } else { "" };
    (line, vec![number("metrics", Some(all)), number("own_metrics", Some(own.len() as u64))])
}

/// Whether the application has metrics of its own.
pub(super) fn has_own(snapshot: &Snapshot) -> bool {
    snapshot.metrics.iter().any(|metric| !metric.is_builtin)
}
