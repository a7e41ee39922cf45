//! The findings of `doctor`: why attaching fails, what is wrong with a node or its region, and what to do about it.
//!
//! `findings/machine.rs` judges the region directory, `findings/attaching.rs` a region that cannot be read,
//! `findings/node.rs` a node by its header, and `findings/contents.rs` a node by all of its region.

mod attaching;
mod contents;
mod finding;
mod machine;
mod node;

pub use self::finding::{Finding, Findings, Severity};
use super::usage::Usage;
use crate::attach::{AttachError, Region, RegionSummary};
use crate::find::{FindError, FoundRegion, Search, Target};
use crate::snapshot::Snapshot;
use crate::text::clean_path;

/// Findings about the region that `target` names. Takes a [`Snapshot`] with a list of the actors.
///
/// # Errors
/// The region directory cannot be read, or no region is found. One that cannot be attached to is a finding.
pub fn of_node(search: &Search, target: &Target) -> Result<Findings, FindError> {
    Ok(match search.attach(target) {
        Ok(attached) => examine(&attached.region, Snapshot::take),
        Err(FindError::Attach(error)) => attaching::findings(None, &error),
        Err(error) => return Err(error),
    })
}

/// Findings about this machine, followed by those about each region.
///
/// Actors of live nodes are counted and not listed, and of dead nodes only the header is read: this must not need memory
/// for all regions of a machine.
///
/// # Errors
/// The region directory cannot be read.
pub fn of_machine(search: &Search) -> Result<Vec<Findings>, FindError> {
    let discovery = search.discover()?;
    let mut all = vec![machine::findings(search, &discovery)];
    all.extend(discovery.regions.into_iter().map(|FoundRegion { pid, region }| {
        let opened = match region {
            Ok(summary) if !summary.is_alive() && summary.dump_info.is_none() => return of_dead(&summary),
            region => region.and_then(|summary| summary.open(search.max_bytes)),
        };
        match opened {
            Ok(region) => examine(&region, Snapshot::with_class_counts),
            Err(error) => attaching::findings(pid, &error),
        }
    }));
    Ok(all)
}

/// Findings about an attached region; the caller must just have taken `snapshot` and `usage` of it.
pub fn of_snapshot(region: &Region, snapshot: &Snapshot, usage: &Usage) -> Vec<Finding> {
    of_region(region, snapshot, usage).list
}

/// Findings about a dead node, of whose region only the header was read.
fn of_dead(summary: &RegionSummary) -> Findings {
    let mut findings = Findings::about_summary(summary);
    node::add(&mut findings, &node::HeaderFacts::of_dead(summary));
    let advice = format!("`atomscope doctor {}` reads it", clean_path(&summary.path));
    findings.add(Severity::Note, "its contents were not read", Some(&advice));
    findings
}

/// Findings about a region; `take` takes the snapshot of it.
fn examine(region: &Region, take: impl FnOnce(&Region) -> Result<Snapshot, AttachError>) -> Findings {
    let result = take(region).and_then(|snapshot| Usage::take(region, &snapshot).map(|u| (snapshot, u)));
    match result {
        Ok((snapshot, usage)) => of_region(region, &snapshot, &usage),
        Err(error) => {
            let mut findings = Findings::about_region(region);
            findings.add(Severity::Problem, error.to_string(), None);
            findings
        }
    }
}

fn of_region(region: &Region, snapshot: &Snapshot, usage: &Usage) -> Findings {
    let mut findings = Findings::about_region(region);
    node::add(&mut findings, &node::HeaderFacts::of_region(region, snapshot));
    contents::add(&mut findings, region, snapshot, usage);
    findings
}
