//! All metrics of a node.

use atomscope_layout::histogram::Histogram;

use super::lists::metrics;
use super::subsystem::{Fact, Subsystem, ViewText, no_gaps, no_warnings, number};
use crate::report::human::count;
use crate::report::list::{self, List, Value, text};
use crate::snapshot::Snapshot;

/// All counters, gauges and histograms: those of every subsystem and of the application.
pub const METRICS: Subsystem = Subsystem {
    name: "metrics",
    title: "Metrics",
    content: "metrics",
    about: "List all counters, gauges and histograms of a node, those of the application too",
    notes: "UNIT is the unit of VALUE. A histogram's VALUE is how many values it has; P50, P99 and GREATEST are in UNIT. \
            `atomscope stat --metric NAME` shows how fast a counter grows.",
    examples: &[
        "atomscope metrics shop --filter orders",
        "atomscope metrics --json | jq '.[] | select(.value > 0).name'",
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
    let all = || snapshot.iter().flat_map(|snapshot| &snapshot.metrics);
    let mut list = metrics(all());
    list.columns.insert(1, text("labels"));
    list.columns.push(text("kind"));
    list.columns.extend(["p50", "p99", "greatest"].map(|name| list::number(name, "")));
    list.columns.push(text("help"));
    for (row, metric) in list.rows.iter_mut().zip(all()) {
        let some = metric.histogram.as_ref().filter(|histogram| histogram.count > 0);
        let of = |of: fn(&Histogram) -> u64| Value::of(some, |histogram| Value::Number(of(histogram)));
        row.insert(1, Value::Labels(metric.labels.clone()));
        row.push(Value::text(metric.kind.name()));
        row.extend([of(|all| all.quantile(0.5)), of(|all| all.quantile(0.99)), of(|all| all.greatest)]);
        row.push(Value::text(&metric.help));
    }
    vec![list]
}

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let all = snapshot.metrics.len() as u64;
    (count(all, "metric", "metrics"), vec![number("metrics", Some(all))])
}
