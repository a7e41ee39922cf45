//! Whether a node lives and works, and if not, why: facts in, one [`Verdict`] out. No function here reads anything.
//!
//! ```text
//!   lock held ──► stopped process ──► stale process beat ──► published state ──► stale runtime beat ──► live
//!       │          wedged              wedged                 starting, stopping,  wedged
//!       no                                                    closed
//!       ├──► closed, if the node published that; failed, if it also noted an exit code, a signal or a panic
//!       ├──► as above, if the node only lost its lock
//!       └──► crashed
//! ```
//! The lock is the proof: the kernel releases it when the process ends, however it ends. A process with an older probe also
//! loses it by closing all descriptors, but it still lives and has the region mapped. Where a file system has no such locks,
//! the process with the node's id and start time counts, and where that is not visible either, a fresh beat. A beat of
//! another boot proves that the node is dead.
//!
//! [`Notes`] qualify the verdict, whatever it is: what happened to the runtime, the actor system and its hooks.

use std::fmt;
use std::time::Duration;

use atomscope_layout::decode::{Beat, Conditions};
use atomscope_layout::region::{Condition, State};
use serde::{Serialize, Serializer};

use crate::ending::LastWords;
use crate::process::Stat;

/// A beat of more than this age is stale; the probe beats every 250 ms.
pub const STALE: Duration = Duration::from_secs(3);

/// The state of the node's lock on its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// A process holds it: the node lives.
    Held,
    /// Nobody holds it: the node is dead, or has not locked its region yet.
    Free,
    /// Nobody holds it, but the node's process lives and has the region mapped.
    Lost,
    /// The kernel or the file system does not support such locks.
    Unsupported,
}

/// The verdict on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its region is not published yet.
    NotReady {
        /// Whether its process lives.
        lock: Lock,
    },
    /// Its region is published, and no actor system is installed yet.
    Starting,
    /// It works.
    Live,
    /// Its process exists but makes no progress.
    Wedged(Wedge),
    /// It published that it stops, or its async runtime was dropped.
    Stopping,
    /// It closed its region.
    Closed,
    /// It closed its region, and ended with a failure: an exit code, a signal or a panic.
    Failed,
    /// It ended without closing its region.
    Crashed,
}

/// Why a node makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wedge {
    /// Its process is stopped.
    Stopped,
    /// Its process's control group is frozen.
    Frozen,
    /// The sampler does not beat.
    ProcessStale,
    /// The sampler beats, but a task of the async runtime does not.
    RuntimeBlocked,
}

/// The evidence that a node lives or is dead, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The node's lock, by the kernel.
    Lock,
    /// Whether there is a process with its id and start time, or whether the machine booted since.
    Process,
    /// Its beats alone.
    Heartbeat,
}

/// What qualifies the verdict on a node: the conditions in its header, and what the lock and the counters add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Note {
    /// Its async runtime was dropped, or is being dropped.
    RuntimeDropped = 0,
    /// Its actor system was dropped.
    SystemDropped = 1,
    /// Another observer of spawns replaced the probe's, so that the probe sees no actor any more.
    SpawnHookReplaced = 2,
    /// Another observer of dead letters replaced the probe's.
    DeadLetterHookReplaced = 3,
    /// Its process lives, but has closed the descriptor that held the lock.
    LockLost = 4,
    /// Nobody holds the lock, its process is not visible, and its last beat is fresh.
    LockFree = 5,
    /// Actors were spawned, and all have stopped.
    NoActorLeft = 6,
    /// It closed its region, and its process still runs.
    ProcessRuns = 7,
}

impl Note {
    /// All notes, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::RuntimeDropped,
        Self::SystemDropped,
        Self::SpawnHookReplaced,
        Self::DeadLetterHookReplaced,
        Self::LockLost,
        Self::LockFree,
        Self::NoActorLeft,
        Self::ProcessRuns,
    ];

    fn of(condition: Condition) -> Self {
        match condition {
            Condition::RuntimeDropped => Self::RuntimeDropped,
            Condition::SystemDropped => Self::SystemDropped,
            Condition::SpawnHookReplaced => Self::SpawnHookReplaced,
            Condition::DeadLetterHookReplaced => Self::DeadLetterHookReplaced,
        }
    }

    fn bit(self) -> u64 {
        1 << self as u64
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::RuntimeDropped => "runtime_dropped",
            Self::SystemDropped => "system_dropped",
            Self::SpawnHookReplaced => "spawn_hook_replaced",
            Self::DeadLetterHookReplaced => "dead_letter_hook_replaced",
            Self::LockLost => "lock_lost",
            Self::LockFree => "lock_free",
            Self::NoActorLeft => "no_actor_left",
            Self::ProcessRuns => "process_runs",
        }
    }

    /// The words for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::RuntimeDropped => "its async runtime was dropped",
            Self::SystemDropped => "its actor system was dropped",
            Self::SpawnHookReplaced => {
                "another spawn observer replaced the probe's: spawns and stops are not recorded"
            }
            Self::DeadLetterHookReplaced => {
                "another dead-letter observer replaced the probe's: dead letters are not recorded"
            }
            Self::LockLost => "lock lost: code in the process closed the lock's file descriptor",
            Self::LockFree => "no process holds its lock: it has just ended, or it lost the lock",
            Self::NoActorLeft => "no top-level actor is left",
            Self::ProcessRuns => "its process still runs",
        }
    }
}

/// A set of notes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes(u64);

impl Notes {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set of these bits; unknown bits are ignored.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(Note::ALL.into_iter().map(Note::bit).fold(0, |known, bit| known | bit) & bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Whether `note` is in the set.
    pub fn has(self, note: Note) -> bool {
        self.0 & note.bit() != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set without `note`.
    pub fn without(self, note: Note) -> Self {
        Self(self.0 & !note.bit())
    }

    /// The notes in the order of [`Note::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Note> {
        Note::ALL.into_iter().filter(move |note| self.has(*note))
    }
}

impl FromIterator<Note> for Notes {
    fn from_iter<I: IntoIterator<Item = Note>>(notes: I) -> Self {
        Self(notes.into_iter().fold(0, |bits, note| bits | note.bit()))
    }
}

/// Serializes as a list of names.
impl Serialize for Notes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Note::name))
    }
}

/// A verdict with its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// The verdict.
    pub verdict: Verdict,
    /// What qualifies the verdict.
    pub notes: Notes,
    /// The evidence that the node lives or is dead.
    pub evidence: Evidence,
    /// Age of the sampler's last beat; `None` if there was none, or if the node's clock is unknown.
    pub process_beat_age: Option<Duration>,
    /// Age of the async runtime's last beat; `None` as above.
    pub runtime_beat_age: Option<Duration>,
    /// How it ended, and the crashes before it.
    pub last_words: LastWords,
}

/// What a verdict depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The state that the node published; `None` if this program does not know it.
    pub state: Option<State>,
    /// The state of its lock.
    pub lock: Lock,
    /// Whether the region was made since the last boot of this machine; `None` if that is unknown.
    pub same_boot: Option<bool>,
    /// Its process: `None` if it would not be visible here, `Some(None)` if it is gone.
    pub process: Option<Option<Stat>>,
    /// The conditions in the header: what happened to the runtime, the system and the hooks.
    pub conditions: Conditions,
    /// Whether actors were spawned and it is certain that none is left.
    pub no_actor_left: bool,
    /// Whether the control group of its process is known to be frozen.
    pub frozen: bool,
    /// The sampler's last beat.
    pub process_beat: Beat,
    /// The async runtime's last beat.
    pub runtime_beat: Beat,
    /// The time by the node's monotonic clock, read after the beats; `None` if this program cannot know it.
    pub now_mono_ns: Option<u64>,
    /// What the region says of its end, in case that it is dead.
    pub last_words: LastWords,
}

impl Facts {
    /// Reaches the verdict.
    pub fn judge(&self) -> Liveness {
        let process_beat_age = self.age(self.process_beat);
        let runtime_beat_age = self.age(self.runtime_beat);
        let (lives, evidence) = self.lives(process_beat_age);
        let stale = |age: Option<Duration>| age.is_some_and(|age| age > STALE);
        let stopped = self.process.flatten().is_some_and(|stat| stat.is_stopped());
        let verdict = match self.state {
            Some(State::Closed) if self.last_words.is_failure() => Verdict::Failed,
            Some(State::Closed) => Verdict::Closed,
            _ if !lives => Verdict::Crashed,
            _ if stopped => Verdict::Wedged(Wedge::Stopped),
            _ if self.frozen => Verdict::Wedged(Wedge::Frozen),
            _ if stale(process_beat_age) => Verdict::Wedged(Wedge::ProcessStale),
            Some(State::Starting) => Verdict::Starting,
            Some(State::Stopping) => Verdict::Stopping,
            _ if self.conditions.has(Condition::RuntimeDropped) => Verdict::Stopping,
            _ if stale(runtime_beat_age) => Verdict::Wedged(Wedge::RuntimeBlocked),
            Some(State::Running) | None => Verdict::Live,
        };
        let notes = self.notes(verdict);
        let last_words = if verdict.is_alive() { self.last_words.of_living() } else { self.last_words };
        Liveness { verdict, notes, evidence, process_beat_age, runtime_beat_age, last_words }
    }

    fn notes(&self, verdict: Verdict) -> Notes {
        let holds = |condition: &Condition| self.conditions.has(*condition);
        let is_shown = |note: &Note| match note {
            // Every node that closes in order has these.
            Note::RuntimeDropped | Note::SystemDropped => {
                !matches!(verdict, Verdict::Closed | Verdict::Failed)
            }
            _ => true,
        };
        let conditions = Condition::ALL.into_iter().filter(holds).map(Note::of).filter(is_shown);
        let is_free = self.lock == Lock::Free && verdict.is_alive();
        let has_lost_lock = self.lock == Lock::Lost && verdict.is_alive();
        let is_bare = self.no_actor_left && verdict == Verdict::Live && self.state == Some(State::Running);
        let is_bare = is_bare && !self.conditions.has(Condition::SystemDropped);
        let is_closed = matches!(verdict, Verdict::Closed | Verdict::Failed);
        let seen = [
            (Note::LockLost, has_lost_lock),
            (Note::LockFree, is_free),
            (Note::NoActorLeft, is_bare),
            (Note::ProcessRuns, is_closed && self.lock == Lock::Lost),
        ];
        conditions.chain(seen.into_iter().filter_map(|(note, holds)| holds.then_some(note))).collect()
    }

    fn lives(&self, process_beat_age: Option<Duration>) -> (bool, Evidence) {
        // The lock before the boot id: some containers show a boot id of their own.
        match (self.lock, self.process) {
            (Lock::Held, _) => (true, Evidence::Lock),
            (Lock::Lost, _) => (true, Evidence::Process),
            // A process that is not visible may have lost its lock and still run.
            (Lock::Free, None) if self.has_just_beaten() => (true, Evidence::Heartbeat),
            (Lock::Free, _) => (false, Evidence::Lock),
            (Lock::Unsupported, Some(process)) => {
                (process.is_some_and(|stat| !stat.is_dead()), Evidence::Process)
            }
            (Lock::Unsupported, None) if self.same_boot == Some(false) => (false, Evidence::Heartbeat),
            // Without any evidence a node counts as alive, because `prune` removes the regions of dead ones.
            (Lock::Unsupported, None) if self.now_mono_ns.is_none() => (true, Evidence::Heartbeat),
            (Lock::Unsupported, None) => {
                (process_beat_age.is_some_and(|age| age <= STALE), Evidence::Heartbeat)
            }
        }
    }

    /// Whether the last beat is fresh. A beat in the future is of another clock.
    fn has_just_beaten(&self) -> bool {
        let age_ns = self.now_mono_ns.and_then(|now| now.checked_sub(self.process_beat.mono_ns));
        let is_fresh = age_ns.is_some_and(|age| Duration::from_nanos(age) <= STALE);
        is_fresh && self.process_beat.count > 0 && self.same_boot == Some(true)
    }

    fn age(&self, beat: Beat) -> Option<Duration> {
        let now = self.now_mono_ns.filter(|_| beat.count > 0)?;
        Some(Duration::from_nanos(now.saturating_sub(beat.mono_ns)))
    }
}

impl Liveness {
    /// Age of the newest beat, which bounds the age of the node's data.
    pub fn newest_beat_age(&self) -> Option<Duration> {
        [self.process_beat_age, self.runtime_beat_age].into_iter().flatten().min()
    }

    /// [`Verdict::said`], with all that the word leaves open. Safe to print.
    pub fn said(&self) -> String {
        let why = self.why().map(|why| format!(": {why}"));
        self.verdict.said() + &why.unwrap_or_default()
    }

    /// What the verdict's word leaves open, and the notes, in one text that is safe to print.
    pub fn why(&self) -> Option<String> {
        self.joined(self.last_words.end.and_then(|end| end.text()))
    }

    /// [`Self::why`], with the time since the end.
    pub fn why_with_age(&self) -> Option<String> {
        self.joined(self.last_words.end.and_then(|end| end.text_with_age()))
    }

    /// What the verdict's word leaves open: how the node ended, if that is known.
    pub fn reason(&self) -> Option<String> {
        let told = self.last_words.end.and_then(|end| end.text());
        told.or_else(|| self.verdict.why().map(str::to_owned))
    }

    fn joined(&self, end: Option<String>) -> Option<String> {
        let reason = end.or_else(|| self.verdict.why().map(str::to_owned));
        let notes = self.notes.iter().map(|note| note.text().to_owned());
        let why: Vec<_> = reason.into_iter().chain(self.last_words.which_crash()).chain(notes).collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    /// Whether the region may soon say more of its end: the process that closed it has not ended yet.
    pub fn may_tell_more(&self) -> bool {
        self.notes.has(Note::ProcessRuns)
    }

    /// Whether the verdict is live and nothing qualifies it.
    pub fn is_well(&self) -> bool {
        self.verdict == Verdict::Live && self.notes.is_empty()
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.word())?;
        self.why().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

impl Verdict {
    /// Whether the node's process lives.
    pub fn is_alive(self) -> bool {
        match self {
            Self::NotReady { lock } => matches!(lock, Lock::Held | Lock::Lost),
            Self::Starting | Self::Live | Self::Wedged(_) | Self::Stopping => true,
            Self::Closed | Self::Failed | Self::Crashed => false,
        }
    }

    /// The words of all verdicts.
    pub const WORDS: [&str; 8] =
        ["not ready", "starting", "live", "wedged", "stopping", "closed", "failed", "crashed"];

    /// The verdict in one word, for a column.
    pub fn word(self) -> &'static str {
        let [not_ready, starting, live, wedged, stopping, closed, failed, crashed] = Self::WORDS;
        match self {
            Self::NotReady { .. } => not_ready,
            Self::Starting => starting,
            Self::Live => live,
            Self::Wedged(_) => wedged,
            Self::Stopping => stopping,
            Self::Closed => closed,
            Self::Failed => failed,
            Self::Crashed => crashed,
        }
    }

    /// The verdict as what is said of a node: `is live`, `has crashed`.
    pub fn said(self) -> String {
        let verb = if matches!(self, Self::Failed | Self::Crashed) { "has" } else { "is" };
        format!("{verb} {}", self.word())
    }

    /// What the word leaves open.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Self::NotReady { lock: Lock::Held | Lock::Lost } => Some("it is starting up"),
            Self::NotReady { lock: Lock::Free } => Some("it ended before it was ready, or is starting up"),
            Self::NotReady { lock: Lock::Unsupported } => {
                Some("it is starting up, or ended before it was ready")
            }
            Self::Wedged(Wedge::Stopped) => Some("its process is stopped (SIGSTOP or a debugger)"),
            Self::Wedged(Wedge::Frozen) => Some("its control group (cgroup) is frozen"),
            Self::Wedged(Wedge::ProcessStale) => Some("no heartbeat from the probe's sampler thread"),
            Self::Wedged(Wedge::RuntimeBlocked) => Some("its async runtime is blocked"),
            Self::Crashed => Some("no last words: killed by a signal, out of memory, or `_exit`"),
            Self::Starting | Self::Live | Self::Stopping | Self::Closed | Self::Failed => None,
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

    /// A node without problems, of which each test changes one fact.
    fn well() -> Facts {
        Facts {
            state: Some(State::Running),
            lock: Lock::Held,
            same_boot: Some(true),
            process: Some(Some(Stat { state: b'S', start_ticks: 1 })),
            conditions: Conditions::default(),
            no_actor_left: false,
            frozen: false,
            process_beat: beat(0),
            runtime_beat: beat(0),
            now_mono_ns: Some(NOW),
            last_words: LastWords::NONE,
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
    fn a_node_that_has_lost_its_lock_lives_and_says_so() {
        let lost = Facts { lock: Lock::Lost, ..well() };
        assert_eq!((verdict(lost), lost.judge().evidence), (Verdict::Live, Evidence::Process));
        assert!(lost.judge().notes.has(Note::LockLost));
        assert!(lost.judge().to_string().starts_with("live: lock lost"));
        assert_eq!(verdict(Facts { process_beat: beat(4), ..lost }), Verdict::Wedged(Wedge::ProcessStale));
        assert_eq!(verdict(Facts { state: Some(State::Closed), ..lost }), Verdict::Closed);
        assert!(!well().judge().notes.has(Note::LockLost));
    }

    #[test]
    fn a_process_that_cannot_be_looked_for_is_not_dead_while_its_beat_is_young() {
        let unseen = Facts { lock: Lock::Free, process: None, ..well() };
        let judged = unseen.judge();
        assert_eq!((judged.verdict, judged.evidence), (Verdict::Live, Evidence::Heartbeat));
        assert!(judged.notes.has(Note::LockFree));
        let of_the_future = Beat { count: 1, mono_ns: NOW + 1 };
        for dead in [
            Facts { process_beat: beat(4), ..unseen },
            Facts { process_beat: of_the_future, ..unseen },
            Facts { same_boot: Some(false), ..unseen },
            Facts { same_boot: None, ..unseen },
            Facts { process: Some(None), ..unseen },
        ] {
            assert_eq!(
                (verdict(dead), dead.judge().evidence),
                (Verdict::Crashed, Evidence::Lock),
                "{dead:?}"
            );
            assert!(dead.judge().notes.is_empty());
        }
    }

    #[test]
    fn a_node_whose_runtime_was_dropped_is_stopping_and_never_blocked() {
        let dropped = Facts {
            conditions: [Condition::RuntimeDropped].into_iter().collect(),
            runtime_beat: beat(9),
            ..well()
        };
        assert_eq!(dropped.judge().to_string(), "stopping: its async runtime was dropped");
        let crashed = Facts { process: Some(None), lock: Lock::Free, ..dropped };
        assert_eq!(verdict(crashed), Verdict::Crashed);
        assert!(crashed.judge().notes.has(Note::RuntimeDropped), "how it was when it crashed");
        let closed = Facts { state: Some(State::Closed), ..dropped };
        assert_eq!((verdict(closed), closed.judge().why()), (Verdict::Closed, None));
    }

    #[test]
    fn a_live_node_whose_actors_have_all_stopped_says_so_unless_its_system_is_gone() {
        let bare = Facts { no_actor_left: true, ..well() };
        assert_eq!(bare.judge().to_string(), "live: no top-level actor is left");
        let dropped = Facts { conditions: [Condition::SystemDropped].into_iter().collect(), ..bare };
        assert_eq!(dropped.judge().to_string(), "live: its actor system was dropped");
        assert!(Facts { state: Some(State::Stopping), ..bare }.judge().notes.is_empty());
    }

    #[test]
    fn a_hook_that_was_replaced_is_told_whatever_the_verdict() {
        let conditions =
            [Condition::SpawnHookReplaced, Condition::DeadLetterHookReplaced].into_iter().collect();
        let blind = Facts { conditions, ..well() };
        for facts in
            [blind, Facts { runtime_beat: beat(9), ..blind }, Facts { state: Some(State::Closed), ..blind }]
        {
            let notes = facts.judge().notes;
            assert!(notes.has(Note::SpawnHookReplaced) && notes.has(Note::DeadLetterHookReplaced));
        }
        assert!(!blind.judge().is_well());
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
        // A container may show a boot id of its own; the lock is stronger evidence.
        assert_eq!(verdict(facts), Verdict::Live);
        let free = Facts { lock: Lock::Free, ..facts };
        assert_eq!(verdict(free), Verdict::Crashed);
        let unsupported = Facts { lock: Lock::Unsupported, process: None, ..facts };
        assert_eq!(verdict(unsupported), Verdict::Crashed);
    }

    #[test]
    fn a_node_whose_clock_is_not_known_is_neither_stale_nor_fresh() {
        let facts = Facts { now_mono_ns: None, process_beat: beat(900), runtime_beat: beat(900), ..well() };
        assert_eq!((verdict(facts), facts.judge().newest_beat_age()), (Verdict::Live, None));
        let without_lock = Facts { lock: Lock::Unsupported, process: None, ..facts };
        assert_eq!(
            (verdict(without_lock), without_lock.judge().evidence),
            (Verdict::Live, Evidence::Heartbeat)
        );
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
