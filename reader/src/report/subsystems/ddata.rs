//! Distributed data.

use atomscope_layout::instances::{Domain, key};
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{Fact, Subsystem, ViewText, counted, no_gaps, no_warnings, number};
use crate::snapshot::Snapshot;

/// Keys of the distributed data.
pub const DDATA: Subsystem = Subsystem {
    name: "ddata",
    title: "Shared data",
    content: "distributed data",
    about: "List the keys of the distributed data of a node",
    notes: "UPDATES counts the updates that this node saw.",
    examples: &["atomscope ddata shop --sort updates --limit 10", "atomscope ddata shop --filter cart"],
    view: ViewText { name: "data", title: "Data", key: '0', help: "keys of the distributed data" },
    instances: &[Instances::of(Domain::Key, "KEY")],
    shown_with: &[],
    is_one_list: false,
    lists: Subsystem::instance_lists,
    summary,
    gaps: no_gaps,
    warnings: no_warnings,
    failures: &[],
};

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let instances = &snapshot.subsystems.instances;
    let keys = instances.count(Domain::Key);
    let updates = snapshot.builtin_if_known(Builtin::DDataUpdates);
    let subscribers = instances.sum(Domain::Key, key::SUBSCRIBERS);
    let line = format!(
        "{}, {}, {}",
        counted(keys, "key", "keys"),
        counted(updates, "update", "updates"),
        counted(subscribers, "subscriber", "subscribers")
    );
    let facts = vec![number("keys", keys), number("updates", updates), number("subscribers", subscribers)];
    (line, facts)
}
