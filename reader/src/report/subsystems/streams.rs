//! Streams.

use atomscope_layout::instances::Domain;
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{Fact, Subsystem, ViewText, counted, no_gaps, no_warnings, number, or_dash};
use crate::snapshot::Snapshot;

/// Running streams.
pub const STREAMS: Subsystem = Subsystem {
    name: "streams",
    title: "Streams",
    content: "streams",
    about: "List the running streams of a node",
    notes: "ID is the number of a stream, in the order in which streams started.",
    examples: &["atomscope streams shop --sort elements", "atomscope streams --json | jq '.graphs | length'"],
    view: ViewText { name: "streams", title: "Streams", key: '9', help: "running streams" },
    instances: &[Instances::of(Domain::Graph, "STREAM")],
    shown_with: &[],
    is_one_list: false,
    lists: Subsystem::instance_lists,
    summary,
    gaps: no_gaps,
    warnings: no_warnings,
    failures: &[(Builtin::StreamsFailed, "stream failed", "streams failed")],
};

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let streams = &snapshot.subsystems.streams;
    let started = snapshot.builtin_if_known(Builtin::StreamsStarted).map(|_| streams.total_started);
    let running = started.map(|_| streams.running_graphs);
    let failed = snapshot.builtin_if_known(Builtin::StreamsFailed);
    let elements = snapshot.builtin_if_known(Builtin::StreamElements);
    let line = format!(
        "{} running, {} started so far, {} failed, {}",
        or_dash(running),
        or_dash(started),
        or_dash(failed),
        counted(elements, "element", "elements")
    );
    let facts = vec![
        number("running", running),
        number("started", started),
        number("failed", failed),
        number("elements", elements),
    ];
    (line, facts)
}
