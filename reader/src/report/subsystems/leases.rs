//! Leases.

use atomscope_layout::decode::subsystems::flag;
use atomscope_layout::instances::{Domain, lease};
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{Fact, Subsystem, ViewText, no_gaps, no_warnings, number, or_dash};
use crate::snapshot::Snapshot;

/// Leases and their holders.
pub const LEASES: Subsystem = Subsystem {
    name: "leases",
    title: "Leases",
    content: "leases",
    about: "List the leases of a node, and who holds them",
    notes: "HOLDER is the holder that this node knows of; HELD says whether this node holds the lease.",
    examples: &["atomscope leases shop", "atomscope leases --json | jq '.leases[] | select(.held)'"],
    view: ViewText { name: "leases", title: "Leases", key: 'L', help: "leases, and who holds them" },
    instances: &[Instances::of(Domain::Lease, "LEASE")],
    shown_with: &[],
    is_one_list: false,
    lists: Subsystem::instance_lists,
    summary,
    gaps: no_gaps,
    warnings: no_warnings,
    failures: &[(Builtin::LeasesLost, "lease was lost", "leases were lost")],
};

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let instances = &snapshot.subsystems.instances;
    let held = instances.of(Domain::Lease);
    let held = held.filter(|entry| flag(entry.numbers[lease::HELD]) == Some(true));
    let all = instances.count(Domain::Lease);
    let held = all.map(|_| held.count() as u64);
    let denied = snapshot.builtin_if_known(Builtin::LeasesDenied);
    let lost = snapshot.builtin_if_known(Builtin::LeasesLost);
    let line = format!(
        "{} of {} held here, {} times denied, {} times lost",
        or_dash(held),
        or_dash(all),
        or_dash(denied),
        or_dash(lost)
    );
    let facts =
        vec![number("leases", all), number("held", held), number("denied", denied), number("lost", lost)];
    (line, facts)
}
