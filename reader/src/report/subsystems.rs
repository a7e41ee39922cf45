//! The subsystems of a node: a file for each, and the list of them all.
//!
//! ```
//! use atomscope::report::subsystems::ALL;
//! use atomscope::report::subsystems::cluster::CLUSTER;
//!
//! assert_eq!(ALL[0].name, "failures");
//! let lists = CLUSTER.lists(None);
//! assert!(lists.iter().any(|list| list.name == "members"));
//! ```

pub mod cluster;
pub mod ddata;
pub mod failures;
pub mod leases;
mod lists;
pub mod metrics;
pub mod persistence;
pub mod remote;
pub mod runtime;
pub mod sharding;
pub mod streams;
mod subsystem;

pub use self::lists::{Extra, Instances};
pub use self::subsystem::{Fact, Subsystem, Summary, ViewText};

use crate::report::human::count;
use crate::snapshot::Snapshot;

/// All subsystems, in the order in which commands, views and summaries show them.
pub const ALL: &[&Subsystem] = &[
    &failures::FAILURES,
    &cluster::CLUSTER,
    &sharding::SHARDING,
    &persistence::PERSISTENCE,
    &remote::REMOTE,
    &streams::STREAMS,
    &ddata::DDATA,
    &leases::LEASES,
    &runtime::RUNTIME,
    &metrics::METRICS,
];

/// The summaries of the subsystems that the node uses, and of the application's metrics if it has some.
pub fn summaries(snapshot: &Snapshot) -> Vec<Summary> {
    let is_told = |subsystem: &Subsystem| match *subsystem == metrics::METRICS {
        true => metrics::has_own(snapshot),
        false => subsystem.is_in_use(snapshot),
    };
    let all = ALL.iter().filter(|subsystem| is_told(subsystem));
    all.map(|subsystem| subsystem.summary(snapshot)).collect()
}

/// What is wrong with the node's subsystems now, and what has failed since the snapshot `before`, in sentences.
///
/// Names in them are not safe to print.
pub fn warnings(snapshot: &Snapshot, before: Option<&Snapshot>) -> Vec<String> {
    let now = ALL.iter().flat_map(|subsystem| (subsystem.warnings)(snapshot));
    let failures = ALL.iter().flat_map(|subsystem| subsystem.failures).filter_map(|(metric, one, many)| {
        let new = snapshot.builtin(*metric).saturating_sub(before?.builtin(*metric));
        (new > 0).then(|| format!("{} since the previous snapshot", count(new, one, many)))
    });
    now.chain(failures).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use atomscope_layout::instances::Domain;

    use super::*;

    #[test]
    fn every_domain_is_listed_by_exactly_one_subsystem() {
        let listed: Vec<Domain> =
            ALL.iter().flat_map(|subsystem| subsystem.instances).map(|instances| instances.domain).collect();
        let different: HashSet<_> = listed.iter().collect();
        assert_eq!(different.len(), listed.len());
        assert_eq!(listed.len(), Domain::ALL.len(), "a domain is in no subsystem's `instances`");
    }

    #[test]
    fn the_end_of_a_key_is_its_unit_as_the_help_says() {
        let lists = ALL.iter().flat_map(|subsystem| subsystem.lists(None));
        for column in lists.flat_map(|list| list.columns) {
            let ending = match column.unit {
                "bytes" => "_bytes",
                "nanoseconds" => "_ns",
                "s" => "_s",
                _ => "",
            };
            assert!(column.name.ends_with(ending), "{column:?}");
            let is_of_unit = ["_bytes", "_ns", "_s"].into_iter().find(|ending| column.name.ends_with(ending));
            assert_eq!(is_of_unit.unwrap_or(""), ending, "{column:?}");
        }
    }

    #[test]
    fn subsystems_differ_in_their_names() {
        let names: HashSet<_> = ALL.iter().map(|subsystem| subsystem.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
