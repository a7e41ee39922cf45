//! Whether a node lives, and if not as it should, why: facts in, one verdict out.
//!
//! ```text
//!   lock held ──► stopped process ──► stale process beat ──► what the node says ──► stale runtime beat ──► live
//!       │          wedged              wedged                 starting, stopping,     wedged
//!       no                                                    closed
//!       └──► closed, if the node said so; else crashed
//! ```
//! The lock is the proof: the kernel drops it when the process ends, however it ends. Where a file system has no such
//! locks, the process with the node's id and start time stands in for it, and where that cannot be seen either, a
//! fresh beat. A beat of another boot proves that the node is dead.

use std::fmt;
use std::time::Duration;

use atomscope_layout::decode::Beat;
use atomscope_layout::region::State;
use serde::Serialize;

use crate::process::Stat;

/// A beat older than this is stale; the probe beats every 250 ms.
pub const STALE: Duration = Duration::from_secs(3);

/// What the node's lock on its region says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// A process holds it: the node lives.
    Held,
    /// Nobody holds it: the node is dead, or has not taken it yet.
    Free,
    /// The kernel or the file system has no such locks.
    Unsupported,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its region is not published yet.
    NotReady {
        /// Whether its process lives.
        lock: Lock,
    },
    /// Its region is published, no actor system is installed yet.
    Starting,
    /// All is well.
    Live,
    /// Its process exists, but does not get on.
    Wedged(Wedge),
    /// It said that it stops.
    Stopping,
    /// It ended in good order.
    Closed,
    /// It ended without saying so.
    Crashed,
}

/// Why a node does not get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wedge {
    /// Its process is stopped.
    Stopped,
    /// Its process's control group is frozen.
    Frozen,
    /// The probe's own thread does not beat.
    ProcessStale,
    /// The probe's thread beats, a task of the async runtime does not.
    RuntimeBlocked,
}

/// What it rests on that a node counts as living or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The kernel's word on the node's lock.
    Lock,
    /// Weaker: there is, or is not, a process of its number and start time; or the machine has booted since.
    Process,
    /// Weakest: its beats alone.
    Heartbeat,
}

/// A verdict, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// How the node is.
    pub verdict: Verdict,
    /// What that rests on.
    pub evidence: Evidence,
    /// Age of the last beat of the probe's thread, if it ever beat and in this boot.
    pub process_beat_age: Option<Duration>,
    /// The same of the async runtime.
    pub runtime_beat_age: Option<Duration>,
}

/// What there is to know before a verdict.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What the node says; `None` if that is no state this program knows.
    pub state: Option<State>,
    /// Its lock.
    pub lock: Lock,
    /// Whether the region was made in this boot of this machine; `None` if it does not say.
    pub same_boot: Option<bool>,
    /// Its process: not to be seen from here (`None`), gone, or there.
    pub process: Option<Option<Stat>>,
    /// Whether its process's control group is known to be frozen.
    pub frozen: bool,
    /// Beat of the probe's thread.
    pub process_beat: Beat,
    /// Beat of the async runtime.
    pub runtime_beat: Beat,
    /// The monotonic clock, read after the beats.
    pub now_mono_ns: u64,
}

impl Facts {
    /// The verdict.
    pub fn judge(&self) -> Liveness {
        let process_beat_age = self.age(self.process_beat);
        let runtime_beat_age = self.age(self.runtime_beat);
        let (lives, evidence) = self.lives(process_beat_age);
        let stale = |age: Option<Duration>| age.is_some_and(|age| age > STALE);
        let stopped = self.process.flatten().is_some_and(|stat| stat.is_stopped());
        let verdict = match self.state {
            Some(State::Closed) => Verdict::Closed,
            _ if !lives => Verdict::Crashed,
            _ if stopped => Verdict::Wedged(Wedge::Stopped),
            _ if self.frozen => Verdict::Wedged(Wedge::Frozen),
            _ if stale(process_beat_age) => Verdict::Wedged(Wedge::ProcessStale),
            Some(State::Starting) => Verdict::Starting,
            Some(State::Stopping) => Verdict::Stopping,
            _ if stale(runtime_beat_age) => Verdict::Wedged(Wedge::RuntimeBlocked),
            Some(State::Running) | None => Verdict::Live,
        };
        Liveness { verdict, evidence, process_beat_age, runtime_beat_age }
    }

    fn lives(&self, process_beat_age: Option<Duration>) -> (bool, Evidence) {
        // The lock first: some containers show a boot id of their own.
        match (self.lock, self.process) {
            (Lock::Held, _) => (true, Evidence::Lock),
            (Lock::Free, _) => (false, Evidence::Lock),
            (Lock::Unsupported, Some(process)) => {
                (process.is_some_and(|stat| !stat.is_dead()), Evidence::Process)
            }
            (Lock::Unsupported, None) if self.same_boot == Some(false) => (false, Evidence::Heartbeat),
            (Lock::Unsupported, None) => {
                (process_beat_age.is_some_and(|age| age <= STALE), Evidence::Heartbeat)
            }
        }
    }

    fn age(&self, beat: Beat) -> Option<Duration> {
        // Whoever holds a lock of this kernel beats by its clock.
        let same_clock = self.lock == Lock::Held || self.same_boot != Some(false);
        let known = beat.count > 0 && same_clock;
        known.then(|| Duration::from_nanos(self.now_mono_ns.saturating_sub(beat.mono_ns)))
    }
}

impl Liveness {
    /// Age of the newest beat: how old the node's data may be.
    pub fn newest_beat_age(&self) -> Option<Duration> {
        [self.process_beat_age, self.runtime_beat_age].into_iter().flatten().min()
    }
}

impl Verdict {
    /// Whether the node's process lives.
    pub fn is_alive(self) -> bool {
        match self {
            Self::NotReady { lock } => lock == Lock::Held,
            Self::Starting | Self::Live | Self::Wedged(_) | Self::Stopping => true,
            Self::Closed | Self::Crashed => false,
        }
    }

    /// One word, for a column.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotReady { .. } => "not ready",
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Wedged(_) => "wedged",
            Self::Stopping => "stopping",
            Self::Closed => "closed",
            Self::Crashed => "crashed",
        }
    }

    /// Why, where the word leaves it open.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Self::NotReady { lock: Lock::Held } => Some("it is starting up"),
            Self::NotReady { lock: Lock::Free } => Some("it died before it was ready, or starts this moment"),
            Self::NotReady { lock: Lock::Unsupported } => {
                Some("it is starting up, or died before it was ready")
            }
            Self::Wedged(Wedge::Stopped) => Some("its process is stopped (SIGSTOP or a debugger)"),
            Self::Wedged(Wedge::Frozen) => Some("its control group (cgroup) is frozen"),
            Self::Wedged(Wedge::ProcessStale) => Some("the probe's thread does not beat any more"),
            Self::Wedged(Wedge::RuntimeBlocked) => Some("its async runtime is blocked"),
            Self::Crashed => Some("its process ended without closing the region"),
            Self::Starting | Self::Live | Self::Stopping | Self::Closed => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        self.why().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1000 * SECOND;

    fn beat(age_s: u64) -> Beat {
        Beat { count: 1, mono_ns: NOW - age_s * SECOND }
    }

    /// A node that is well, for each test to change in one point.
    fn well() -> Facts {
        Facts {
            state: Some(State::Running),
            lock: Lock::Held,
            same_boot: Some(true),
            process: Some(Some(Stat { state: b'S', start_ticks: 1 })),
            frozen: false,
            process_beat: beat(0),
            runtime_beat: beat(0),
            now_mono_ns: NOW,
        }
    }

    fn verdict(facts: Facts) -> Verdict {
        facts.judge().verdict
    }

    #[test]
    fn a_node_that_beats_and_holds_its_lock_is_live() {
        assert_eq!(verdict(well()), Verdict::Live);
        assert_eq!(well().judge().evidence, Evidence::Lock);
    }

    #[test]
    fn what_the_node_says_counts_while_it_lives() {
        let says = |state| verdict(Facts { state: Some(state), ..well() });
        assert_eq!(says(State::Starting), Verdict::Starting);
        assert_eq!(says(State::Stopping), Verdict::Stopping);
        assert_eq!(says(State::Closed), Verdict::Closed);
    }

    #[test]
    fn without_its_lock_a_node_is_closed_if_it_said_so_and_else_crashed() {
        let dead = Facts { lock: Lock::Free, ..well() };
        assert_eq!(verdict(dead), Verdict::Crashed);
        assert_eq!(verdict(Facts { state: Some(State::Starting), ..dead }), Verdict::Crashed);
        assert_eq!(verdict(Facts { state: Some(State::Closed), ..dead }), Verdict::Closed);
    }

    #[test]
    fn a_stopped_process_is_wedged_even_before_its_beat_is_stale() {
        let process = Some(Some(Stat { state: b'T', start_ticks: 1 }));
        assert_eq!(verdict(Facts { process, ..well() }), Verdict::Wedged(Wedge::Stopped));
        assert_eq!(
            verdict(Facts { process, process_beat: beat(9), state: Some(State::Stopping), ..well() }),
            Verdict::Wedged(Wedge::Stopped)
        );
    }

    #[test]
    fn a_frozen_control_group_is_why_there_is_no_beat_and_a_stopped_process_comes_before_it() {
        let frozen = Facts { frozen: true, process_beat: beat(9), ..well() };
        assert_eq!(verdict(frozen), Verdict::Wedged(Wedge::Frozen));
        let process = Some(Some(Stat { state: b'T', start_ticks: 1 }));
        assert_eq!(verdict(Facts { process, ..frozen }), Verdict::Wedged(Wedge::Stopped));
        assert_eq!(verdict(Facts { lock: Lock::Free, ..frozen }), Verdict::Crashed);
    }

    #[test]
    fn a_stale_process_beat_outweighs_a_stale_runtime_beat() {
        let both = Facts { process_beat: beat(4), runtime_beat: beat(4), ..well() };
        assert_eq!(verdict(both), Verdict::Wedged(Wedge::ProcessStale));
        let runtime = Facts { runtime_beat: beat(4), ..well() };
        assert_eq!(verdict(runtime), Verdict::Wedged(Wedge::RuntimeBlocked));
        assert_eq!(runtime.judge().newest_beat_age(), Some(Duration::ZERO));
    }

    #[test]
    fn a_beat_is_stale_after_three_seconds_and_not_before() {
        assert_eq!(verdict(Facts { runtime_beat: beat(3), ..well() }), Verdict::Live);
    }

    #[test]
    fn a_node_without_an_async_runtime_is_not_blocked() {
        let none = Beat { count: 0, mono_ns: 0 };
        assert_eq!(verdict(Facts { runtime_beat: none, ..well() }), Verdict::Live);
    }

    #[test]
    fn another_boot_is_the_end_unless_the_lock_is_held() {
        let facts = Facts { same_boot: Some(false), ..well() };
        // A container may show a boot id of its own, and the lock is the kernel's word.
        assert_eq!(verdict(facts), Verdict::Live);
        assert!(facts.judge().newest_beat_age().is_some());
        let free = Facts { lock: Lock::Free, ..facts };
        assert_eq!(verdict(free), Verdict::Crashed);
        assert_eq!(free.judge().newest_beat_age(), None);
        let unsupported = Facts { lock: Lock::Unsupported, process: None, ..facts };
        assert_eq!(verdict(unsupported), Verdict::Crashed);
    }

    #[test]
    fn where_there_are_no_locks_the_process_counts_and_then_the_beat() {
        let weaker = Facts { lock: Lock::Unsupported, ..well() };
        assert_eq!((verdict(weaker), weaker.judge().evidence), (Verdict::Live, Evidence::Process));
        assert_eq!(verdict(Facts { process: Some(None), ..weaker }), Verdict::Crashed);
        let zombie = Some(Some(Stat { state: b'Z', start_ticks: 1 }));
        assert_eq!(verdict(Facts { process: zombie, ..weaker }), Verdict::Crashed);
        let weakest = Facts { process: None, ..weaker };
        assert_eq!((verdict(weakest), weakest.judge().evidence), (Verdict::Live, Evidence::Heartbeat));
        assert_eq!(verdict(Facts { process_beat: beat(4), ..weakest }), Verdict::Crashed);
    }

    #[test]
    fn an_unknown_state_of_a_newer_minor_version_does_not_hide_a_living_node() {
        assert_eq!(verdict(Facts { state: None, ..well() }), Verdict::Live);
        assert_eq!(verdict(Facts { state: None, lock: Lock::Free, ..well() }), Verdict::Crashed);
    }
}
