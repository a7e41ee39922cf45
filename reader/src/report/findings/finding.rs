//! A finding, and the findings about one region or about the machine.

use serde::Serialize;

use crate::attach::{Region, RegionSummary};
use crate::text::clean;

/// How serious a finding is, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Data is dropped, or soon will be.
    Warning,
    /// Something does not work.
    Problem,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// The path of the region that it is about; `None` if it is about the machine.
    pub path: Option<String>,
    /// The node's process; `None` if it is unknown, or if the finding is about the machine.
    pub pid: Option<u64>,
    /// The name of the node, not safe to print; `None` as for `pid`.
    pub node: Option<String>,
    /// What was found, as a sentence without a full stop. Safe to print.
    pub finding: String,
    /// What to do about it. Safe to print.
    pub advice: Option<String>,
}

/// The findings about one region, or about the machine.
#[derive(Debug, Default)]
pub struct Findings {
    path: Option<String>,
    pid: Option<u64>,
    node: Option<String>,
    /// The findings, in the order in which they are shown.
    pub list: Vec<Finding>,
}

impl Findings {
    pub(super) fn about_region(region: &Region) -> Self {
        Self {
            path: Some(region.path().to_string_lossy().into_owned()),
            pid: Some(region.pid()),
            node: Some(region.identity().node.clone()),
            list: Vec::new(),
        }
    }

    pub(super) fn about_summary(summary: &RegionSummary) -> Self {
        Self {
            path: Some(summary.path.to_string_lossy().into_owned()),
            pid: Some(summary.pid()),
            node: Some(summary.identity.node.clone()),
            list: Vec::new(),
        }
    }

    /// About a file that is no readable region, with the process that may be its node.
    pub(super) fn about_file(path: String, pid: Option<u64>) -> Self {
        Self { path: Some(path), pid, ..Self::default() }
    }

    pub(super) fn add(&mut self, severity: Severity, finding: impl Into<String>, advice: Option<&str>) {
        let Self { path, pid, node, .. } = self;
        let (path, pid, node) = (path.clone(), *pid, node.clone());
        let (finding, advice) = (finding.into(), advice.map(str::to_owned));
        self.list.push(Finding { severity, path, pid, node, finding, advice });
    }

    pub(super) fn good(&mut self, finding: impl Into<String>) {
        self.add(Severity::Good, finding, None);
    }

    /// A heading: the node and its region, or the machine. Safe to print.
    pub fn title(&self) -> String {
        match (&self.node, self.pid, &self.path) {
            (Some(node), Some(pid), Some(path)) => {
                format!("node {} ({pid}), {}", clean(node), clean(path))
            }
            (_, _, Some(path)) => clean(path).into_owned(),
            _ => "this machine".to_owned(),
        }
    }
}
