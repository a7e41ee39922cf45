//! Remoting.

use atomscope_layout::decode::subsystems::flag;
use atomscope_layout::instances::{Domain, association};
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{Fact, Subsystem, ViewText, counted, named, no_gaps, number};
use crate::report::human::bytes;
use crate::snapshot::Snapshot;
use crate::text::clean;

/// Associations with other nodes.
pub const REMOTE: Subsystem = Subsystem {
    name: "remote",
    title: "Remote",
    content: "associations with other nodes",
    about: "List the associations of a node with other nodes",
    notes: "INBOUND and OUTBOUND are totals; `atomscope stat --metric associations.inbound_bytes` shows rates.",
    examples: &["atomscope remote shop", "atomscope remote shop --sort outbound_bytes --limit 5"],
    view: ViewText { name: "remote", title: "Remote", key: '8', help: "associations with other nodes" },
    instances: &[Instances::of(Domain::Association, "ASSOCIATION")],
    shown_with: &[],
    is_one_list: false,
    lists: Subsystem::instance_lists,
    summary,
    gaps: no_gaps,
    warnings,
    failures: &[(Builtin::RemoteErrors, "error between nodes", "errors between nodes")],
};

/// States of associations that the summary line names.
const STATES: usize = 4;

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let instances = &snapshot.subsystems.instances;
    let associations = instances.count(Domain::Association);
    let mut states: Vec<(&str, u64)> = Vec::new();
    for entry in instances.of(Domain::Association) {
        let state = Some(entry.text(association::STATE)).filter(|state| !state.is_empty());
        let state = state.unwrap_or("in no known state");
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, number)) => *number += 1,
            None => states.push((state, 1)),
        }
    }
    states.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    let states = states.iter().take(STATES).map(|(state, number)| format!("{number} {}", clean(state)));
    let states = states.collect::<Vec<_>>().join(", ");
    let states = if states.is_empty() { states } else { format!(" ({states})") };
    let inbound = instances.sum(Domain::Association, association::BYTES_IN);
    let outbound = instances.sum(Domain::Association, association::BYTES_OUT);
    let errors = snapshot.builtin_if_known(Builtin::RemoteErrors);
    let line = format!(
        "{}{states}, {} in, {} out, {}",
        counted(associations, "association", "associations"),
        inbound.map_or("-".to_owned(), bytes),
        outbound.map_or("-".to_owned(), bytes),
        counted(errors, "error", "errors")
    );
    let facts = vec![
        number("associations", associations),
        number("inbound_bytes", inbound),
        number("outbound_bytes", outbound),
        number("errors", errors),
    ];
    (line, facts)
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let associations = snapshot.subsystems.instances.of(Domain::Association);
    let quarantined =
        associations.filter(|entry| flag(entry.numbers[association::QUARANTINED]) == Some(true));
    let (one, many) = ("association is quarantined", "associations are quarantined");
    named(quarantined.map(|entry| &entry.name), one, many).into_iter().collect()
}
