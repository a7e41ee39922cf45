//! The process of a node, which a later process with the same id is not taken for.

use std::fs;
use std::io;

use crate::attach::{Region, RegionSummary};
use crate::hidden::Hidden;
use crate::liveness::Liveness;
use crate::process::{StartTime, Stat};

/// A process that is the node of a region. It may end at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeProcess {
    pid: u32,
    start: StartTime,
}

impl NodeProcess {
    /// The process of a region; `None` if it is dead or not visible here, and of a dump.
    pub fn of(region: &Region, liveness: &Liveness) -> Option<Self> {
        if region.dump_info().is_some() || !liveness.verdict.is_alive() {
            return None;
        }
        let start = StartTime::of(&region.identity().header, &region.identity().time);
        Self { pid: u32::try_from(region.pid()).ok()?, start }.if_alive()
    }

    /// As [`Self::of`], from a summary.
    pub fn of_summary(summary: &RegionSummary) -> Option<Self> {
        let start = StartTime::of(&summary.identity.header, &summary.identity.time);
        let pid = summary.process.filter(|_| summary.dump_info.is_none() && summary.is_alive())?;
        Self { pid, start }.if_alive()
    }

    /// This process.
    ///
    /// # Errors
    /// `/proc` does not show it.
    pub fn own() -> io::Result<Self> {
        let pid = std::process::id();
        Ok(Self { pid, start: StartTime::at(Stat::of(pid)?.start_ticks) })
    }

    fn if_alive(self) -> Option<Self> {
        self.is_alive().then_some(self)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still exists. Reads one small file.
    pub fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_ok_and(|stat| self.start.is(stat.start_ticks))
    }

    /// Why this program may not look into it, and what would help; `None` if it may.
    pub fn refusal(&self) -> Option<Hidden> {
        let link = fs::read_link(format!("/proc/{}/exe", self.pid));
        let is_refused = link.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        is_refused.then(|| Hidden::of(self.pid))
    }
}
