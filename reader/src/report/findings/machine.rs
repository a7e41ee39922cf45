//! Findings about the machine: the region directory, the regions of dead nodes in it, and nodes that cannot be seen.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use atomscope_layout::decode::Birth;
use atomscope_layout::retention::{Dead, stay};

use super::finding::{Findings, Severity};
use crate::attach::RegionSummary;
use crate::find::{Discovery, Search, other_users_note};
use crate::hidden::{Hidden, is_proc_narrowed};
use crate::process;
use crate::report::human::{bytes, count};
use crate::system::{FileSystem, user};
use crate::text::clean_path;

/// With less free shared memory than this, the next node may not get a region.
const LEAST_FREE_BYTES: u64 = 16 << 20;

pub(super) fn findings(search: &Search, discovery: &Discovery) -> Findings {
    let mut findings = Findings::default();
    directory(&mut findings, search, discovery);
    unseen(&mut findings, search, discovery);
    findings
}

/// How much the region directory holds.
fn directory(findings: &mut Findings, search: &Search, discovery: &Discovery) {
    let name = clean_path(search.dir());
    match FileSystem::of(search.dir()) {
        Ok(file_system) => {
            let (total, free) = (bytes(file_system.bytes), bytes(file_system.free_bytes));
            let text = format!("{name} has {total}, {free} of them free");
            if file_system.free_bytes < LEAST_FREE_BYTES {
                let advice = "the next node may get no shared region: `atomscope prune` removes those of dead nodes, \
                              or give the machine or container more (docker run --shm-size)";
                findings.add(Severity::Warning, text, Some(advice));
            } else {
                findings.good(text);
            }
            dead_regions(findings, search, discovery, file_system.bytes);
        }
        Err(error) => {
            let advice =
                "without this directory a node cannot share its data, unless its user names a file for it";
            findings.add(Severity::Problem, format!("{name} cannot be examined: {error}"), Some(advice));
        }
    }
}

/// How much of the directory the regions of dead nodes take, by user, and which of them the next node removes.
fn dead_regions(findings: &mut Findings, search: &Search, discovery: &Discovery, file_system_bytes: u64) {
    let mut by_user: BTreeMap<u64, Vec<&RegionSummary>> = BTreeMap::new();
    let readable = discovery.regions.iter().filter_map(|found| found.region.as_ref().ok());
    for summary in readable.filter(|summary| summary.is_evidence() && search.is_probe_named(summary)) {
        by_user.entry(summary.user).or_default().push(summary);
    }
    for (user, dead) in by_user {
        let births: Vec<_> = dead.iter().map(|summary| summary.identity.birth()).collect();
        let mut ranked: Vec<_> = Birth::ranks(&births, process::boot_id()).into_iter().zip(dead).collect();
        ranked.sort_by_key(|(rank, _)| Reverse(*rank));
        let dead: Vec<_> = ranked.into_iter().map(|(_, summary)| summary).collect();
        let regions = dead.iter().map(|summary| Dead {
            node: &summary.identity.node,
            bytes: summary.bytes,
            is_in_series: summary.liveness.last_words.is_in_series(),
        });
        let is_removed: Vec<_> = stay(regions, file_system_bytes).iter().map(|stays| !stays).collect();
        let sum = |is_wanted: &dyn Fn(usize) -> bool| {
            let wanted = dead.iter().enumerate().filter(|(at, _)| is_wanted(*at));
            bytes(wanted.fold(0, |sum, (_, summary)| sum.saturating_add(summary.bytes)))
        };
        let mut text = format!(
            "{} {}",
            count(
                dead.len() as u64,
                &format!("dead region of user {user} takes"),
                &format!("dead regions of user {user} take")
            ),
            sum(&|_| true)
        );
        let removed = is_removed.iter().filter(|is_removed| **is_removed).count() as u64;
        if removed > 0 {
            let bytes = sum(&|at| is_removed[at]);
            text += &format!("; the next node of that user removes {removed} of them, {bytes}");
        }
        let advice = "`atomscope prune` frees that; it also deletes the evidence of how those nodes ended";
        findings.add(Severity::Note, text, Some(advice));
    }
}

/// Which nodes the search could not see.
fn unseen(findings: &mut Findings, search: &Search, discovery: &Discovery) {
    if discovery.regions.is_empty() {
        findings.add(
            Severity::Note,
            "there is no region",
            Some(
                "is a node with the probe running, as this user, on this machine and not with ATOMSCOPE=off? It \
                 warns at its start if it could not make a shared region",
            ),
        );
    }
    if discovery.other_users > 0 {
        findings.add(Severity::Note, other_users_note(discovery.other_users), None);
    }
    for Hidden { pid, name, why, advice } in discovery.hidden() {
        let text = format!("process {pid} ({name}) is a node, but its mappings cannot be read: {why}");
        findings.add(Severity::Problem, text, Some(&advice));
    }
    if search.dir.is_none() && user() != 0 && is_proc_narrowed() {
        let advice =
            "run as root: a node is not listed at all if neither its process nor its region is visible";
        findings.add(
            Severity::Note,
            "/proc does not show all processes (it is mounted with hidepid)",
            Some(advice),
        );
    }
}
