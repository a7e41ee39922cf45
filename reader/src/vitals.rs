//! What a node's process uses of its machine, as the kernel counts it: processor time, memory, threads, open files.
//!
//! None of this is in the region: a process that hangs could not write it, and the kernel knows it of every process.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::attach::Region;
use crate::liveness::Liveness;
use crate::process::{StartTime, Stat, stat_fields};
use crate::report::human::{bytes, count};

/// Clock ticks per second in `/proc`: the same on every architecture that nodes run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Limit of open files that are counted one by one, on kernels that do not give their number.
const MOST_FILES: usize = 1 << 16;

/// What a process uses of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Vitals {
    /// Processor time of all threads outside the kernel, in seconds.
    pub cpu_user_s: f64,
    /// Processor time of all threads inside the kernel, in seconds.
    pub cpu_system_s: f64,
    /// Resident memory, with the touched pages of the region.
    pub memory_bytes: u64,
    /// The maximum of the resident memory so far.
    pub memory_peak_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open files; `None` without the same user or ptrace rights.
    pub open_files: Option<u64>,
    /// The limit of open files; `None` if there is none.
    pub open_files_limit: Option<u64>,
}

impl Vitals {
    /// Of the process of a region; `None` if it is dead or not visible here. Reads a few small files of `/proc`.
    pub fn of(region: &Region, liveness: &Liveness) -> Option<Self> {
        if region.dump_info().is_some() || !liveness.verdict.is_alive() {
            return None;
        }
        let start = StartTime::of(&region.identity().header, &region.identity().time);
        Self::of_process(u32::try_from(region.pid()).ok()?, start)
    }

    /// The same in one line for people.
    pub fn text(&self) -> String {
        let Self { cpu_user_s, cpu_system_s, memory_bytes, memory_peak_bytes, threads, .. } = self;
        let files = match (self.open_files, self.open_files_limit) {
            (None, _) => String::new(),
            (Some(files), None) => format!(", {} open", count(files, "file", "files")),
            (Some(files), Some(limit)) => format!(", {files} of {} open", count(limit, "file", "files")),
        };
        format!(
            "processor {cpu_user_s:.1} s and {cpu_system_s:.1} s in the kernel, memory {} (at most {}), {}{files}",
            bytes(*memory_bytes),
            bytes(*memory_peak_bytes),
            count(*threads, "thread", "threads")
        )
    }

    /// Of this process.
    pub fn own() -> Option<Self> {
        let pid = std::process::id();
        Self::of_process(pid, StartTime::at(Stat::of(pid).ok()?.start_ticks))
    }

    /// Of the process of this number, if it has this start time; another process may have the number by now.
    fn of_process(pid: u32, start: StartTime) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let limits = fs::read(format!("/proc/{pid}/limits")).unwrap_or_default();
        let vitals = Self::parse(&stat, &status, start)?;
        Some(Self { open_files: open_files(pid), open_files_limit: files_limit(&limits), ..vitals })
    }

    fn parse(stat: &[u8], status: &[u8], start: StartTime) -> Option<Self> {
        let fields = stat_fields(stat)?;
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        if !start.is(field(22)?) {
            return None;
        }
        let status = String::from_utf8_lossy(status);
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        Some(Self {
            cpu_user_s: field(14)? as f64 / TICKS_PER_SECOND,
            cpu_system_s: field(15)? as f64 / TICKS_PER_SECOND,
            memory_bytes: kib("VmRSS")?.saturating_mul(1024),
            memory_peak_bytes: kib("VmHWM")?.saturating_mul(1024),
            threads: field(20)?,
            open_files: None,
            open_files_limit: None,
        })
    }

    /// Processor time inside and outside the kernel, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.cpu_user_s + self.cpu_system_s
    }

    /// The share of one processor in percent, over an interval that began with `before_s` seconds of processor time.
    pub fn cpu_percent(&self, before_s: f64, interval: Duration) -> f64 {
        (self.cpu_s() - before_s).max(0.0) / interval.as_secs_f64().max(1e-9) * 100.0
    }
}

/// Since Linux 6.2 the size of the folder is the number of open files; on older kernels the entries are counted.
fn open_files(pid: u32) -> Option<u64> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).ok()?;
    match fs::metadata(&folder).ok()?.len() {
        0 => Some(entries.take(MOST_FILES).count() as u64),
        files => Some(files),
    }
}

/// `Max open files  SOFT  HARD  files`.
fn files_limit(limits: &[u8]) -> Option<u64> {
    let limits = String::from_utf8_lossy(limits);
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"42 (a) b (c)) S 1 1 1 0 -1 4194560 1 0 0 0 250 30 0 0 20 0 9 0 7777 1 1";

    #[test]
    fn fields_are_those_of_the_manual_whatever_the_name_holds() {
        let status = b"Name:\ta\nVmPeak:\t9 kB\nVmHWM:\t    300 kB\nVmRSS:\t    200 kB\nThreads:\t9\n";
        let vitals = Vitals::parse(STAT, status, StartTime::at(7777)).unwrap();
        assert_eq!((vitals.cpu_user_s, vitals.cpu_system_s, vitals.threads), (2.5, 0.3, 9));
        assert_eq!((vitals.memory_bytes, vitals.memory_peak_bytes), (200 << 10, 300 << 10));
        assert_eq!(
            Vitals::parse(STAT, status, StartTime::at(7778)),
            None,
            "another process has the number now"
        );
        assert_eq!(Vitals::parse(STAT, b"Name:\tkthread\n", StartTime::at(7777)), None);
        assert_eq!(Vitals::parse(b"42 (a", status, StartTime::at(7777)), None);
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits = b"Limit   Soft Limit  Hard Limit  Units\nMax open files            1024  4096  files\n";
        assert_eq!(files_limit(limits), Some(1024));
        assert_eq!(files_limit(b"Max open files            unlimited  unlimited  files\n"), None);
        assert_eq!(files_limit(b""), None);
    }

    #[test]
    fn this_process_takes_something() {
        let vitals = Vitals::own().unwrap();
        assert!(vitals.memory_bytes > 0 && vitals.memory_bytes <= vitals.memory_peak_bytes, "{vitals:?}");
        assert!(vitals.threads >= 1 && vitals.open_files.is_some_and(|files| files >= 3), "{vitals:?}");
        let pid = std::process::id();
        assert_eq!(Vitals::of_process(pid, StartTime::at(Stat::of(pid).unwrap().start_ticks + 1)), None);
    }
}
