//! One look at the threads of a process: `stat`, `status`, `schedstat` and `wchan` of each.

use std::fs;
use std::io;
use std::time::Instant;

use super::node_process::NodeProcess;
use crate::process::{stat_fields, thread_ids};

/// Limit of the threads of a process that are looked at.
pub const MOST_THREADS: usize = 16_384;

/// Nanoseconds of a clock tick in `/proc`: the same on every architecture that nodes run on.
const TICK_NS: u64 = 10_000_000;

/// A thread at one time. What the kernel does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadSample {
    /// Thread id.
    pub tid: u32,
    /// Its id in the pid namespace of its process.
    pub node_tid: u32,
    /// Its name; not safe to print.
    pub name: String,
    /// The state's letter, as in `/proc/PID/stat`.
    pub state: u8,
    /// Start time in clock ticks after boot. It distinguishes the thread from a later one with the same id.
    pub start_ticks: u64,
    /// Processor time in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Time in nanoseconds that it was ready to run and waited for a processor.
    pub queued_ns: Option<u64>,
    /// The function of the kernel that it sleeps in.
    pub wait_channel: Option<String>,
    /// How often it gave its processor away.
    pub voluntary_switches: Option<u64>,
    /// How often the kernel took its processor.
    pub involuntary_switches: Option<u64>,
    /// The processor that it ran on last.
    pub processor: Option<u64>,
}

/// The threads of a process at one time.
#[derive(Debug, Clone)]
pub struct ThreadSamples {
    /// When they were read.
    pub at: Instant,
    /// The threads, in no particular order.
    pub threads: Vec<ThreadSample>,
    /// Whether the process has more than [`MOST_THREADS`], which were not looked at.
    pub is_cut: bool,
}

impl ThreadSamples {
    /// Reads four small files for each thread. A thread that ends meanwhile is left out.
    ///
    /// # Errors
    /// The process has ended, or is not visible here.
    pub fn take(process: &NodeProcess) -> io::Result<Self> {
        let at = Instant::now();
        let tids = tids(process)?;
        let is_cut = tids.len() > MOST_THREADS;
        let tids = tids.into_iter().take(MOST_THREADS);
        let threads = tids.filter_map(|tid| ThreadSample::take(process.pid(), tid)).collect();
        if !process.is_alive() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self { at, threads, is_cut })
    }
}

/// The thread ids of a process, in ascending order, one more than [`MOST_THREADS`] at most.
///
/// # Errors
/// The process has ended, or is not visible here.
pub(crate) fn tids(process: &NodeProcess) -> io::Result<Vec<u32>> {
    thread_ids(process.pid(), MOST_THREADS + 1)
}

impl ThreadSample {
    /// `None` if the thread has ended.
    pub(crate) fn take(pid: u32, tid: u32) -> Option<Self> {
        let read = |name: &str| fs::read(format!("/proc/{pid}/task/{tid}/{name}"));
        let stat = read("stat").ok()?;
        let text = |name| read(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (status, schedstat, wait_channel) = (text("status"), text("schedstat"), text("wchan"));
        Self::parse(
            tid,
            &stat,
            &status.unwrap_or_default(),
            &schedstat.unwrap_or_default(),
            &wait_channel.unwrap_or_default(),
        )
    }

    /// How often it gave its processor away, and how often it lost it. While these stay the same it does not run, or runs
    /// without a pause.
    #[cfg(feature = "stacks")]
    pub(crate) fn switches(&self) -> Option<[u64; 2]> {
        Some([self.voluntary_switches?, self.involuntary_switches?])
    }

    fn parse(tid: u32, stat: &[u8], status: &str, schedstat: &str, wait_channel: &str) -> Option<Self> {
        let fields = stat_fields(stat)?;
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let name = {
            let start = stat.iter().position(|byte| *byte == b'(')? + 1;
            let end = stat.iter().rposition(|byte| *byte == b')')?;
            String::from_utf8_lossy(stat.get(start..end)?).into_owned()
        };
        let state = *fields.first()?.as_bytes().first()?;
        // Without CONFIG_SCHED_INFO the kernel has no such file, and with it switched off the numbers stay 0.
        let mut times = schedstat.split_ascii_whitespace().map(|time| time.parse::<u64>().ok());
        let mut next = || times.next().flatten();
        let (run_ns, queued_ns, slices) = (next(), next(), next());
        let is_counted = slices.is_some_and(|slices| slices > 0);
        let ticks_ns = field(14)?.checked_add(field(15)?)?.saturating_mul(TICK_NS);
        let switches =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        // The id in each namespace, from that of the reader to that of the process.
        let tids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let node_tid = tids.and_then(|tids| tids.split_ascii_whitespace().next_back()?.parse().ok());
        Some(Self {
            tid,
            node_tid: node_tid.unwrap_or(tid),
            name,
            state,
            start_ticks: field(22)?,
            cpu_ns: run_ns.filter(|_| is_counted).or(Some(ticks_ns)),
            queued_ns: queued_ns.filter(|_| is_counted),
            // `0` stands for a thread that runs, and for a program that may not know.
            wait_channel: Some(wait_channel.trim())
                .filter(|name| !["", "0"].contains(name))
                .map(str::to_owned),
            voluntary_switches: switches("voluntary_ctxt_switches:"),
            involuntary_switches: switches("nonvoluntary_ctxt_switches:"),
            processor: field(39),
        })
    }
}

/// A state's letter as a word.
pub fn state_word(state: u8) -> &'static str {
    match state {
        b'R' => "running",
        b'S' => "sleeping",
        b'D' => "blocked",
        b'T' => "stopped",
        b't' => "traced",
        b'I' => "idle",
        b'Z' | b'X' => "ended",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"42 (a) b (c)) S 1 1 1 0 -1 4194560 1 0 0 0 250 30 0 0 20 0 9 0 7777 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 -1 3 0";
    const STATUS: &str = "Name:\tvoluntary_ctxt_switches:\t9\nNSpid:\t42\t7\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t5\n";

    #[test]
    fn a_thread_is_read_whatever_its_name_holds() {
        let thread = ThreadSample::parse(42, STAT, STATUS, "1500 70 3\n", "futex_wait\n").unwrap();
        assert_eq!((thread.name.as_str(), thread.state, thread.start_ticks), ("a) b (c)", b'S', 7777));
        assert_eq!((thread.tid, thread.node_tid), (42, 7));
        assert_eq!((thread.cpu_ns, thread.queued_ns, thread.processor), (Some(1500), Some(70), Some(3)));
        assert_eq!((thread.voluntary_switches, thread.involuntary_switches), (Some(12), Some(5)));
        assert_eq!(thread.wait_channel.as_deref(), Some("futex_wait"));
        assert_eq!(ThreadSample::parse(42, b"42 (a", STATUS, "", ""), None);
        assert_eq!(ThreadSample::parse(42, b"42 (a) S 1", STATUS, "", ""), None);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_unknown_and_not_zero() {
        for schedstat in ["", "0 0 0\n", "x"] {
            let thread = ThreadSample::parse(42, STAT, "", schedstat, "0").unwrap();
            assert_eq!((thread.cpu_ns, thread.queued_ns), (Some(2_800_000_000), None), "{schedstat:?}");
            assert_eq!((thread.voluntary_switches, thread.wait_channel, thread.node_tid), (None, None, 42));
        }
    }

    #[test]
    fn the_threads_of_this_process_are_found_and_those_of_none_are_an_error() {
        let own = NodeProcess::own().unwrap();
        let samples = ThreadSamples::take(&own).unwrap();
        assert!(samples.threads.iter().any(|thread| thread.tid == own.pid()) && !samples.is_cut);
    }
}
