//! The caveats of a snapshot as sentences: the state of the node, and which data is missing or doubtful.

use std::fmt;

use atomscope_layout::decode::Tally;
use atomscope_layout::decode::subsystems::Subsystems;
use atomscope_layout::metrics::Builtin;

use super::Snapshot;
use crate::liveness::{Evidence, Liveness, Note, Verdict};

/// What a caveat is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaveatKind {
    /// The data comes from a dump.
    Dump,
    /// The state of the node, now or at its end.
    State,
    /// The state of the node when it was dumped.
    DumpedState,
    /// Workers of the async runtime that are away.
    Workers,
    /// The evidence that the verdict rests on.
    Evidence,
    /// Data that is old, missing or doubtful.
    Data,
}

/// One caveat. Displays as its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caveat {
    /// What it is about.
    pub kind: CaveatKind,
    /// A sentence without a full stop. Safe to print.
    pub text: String,
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Snapshot {
    /// What a person should know before trusting the data; empty if there is nothing to add.
    pub fn caveats(&self) -> Vec<Caveat> {
        let mut caveats = self.caveats_of_state();
        let caveat = |text| Caveat { kind: CaveatKind::Data, text };
        caveats.extend(self.caveats_of_data().into_iter().map(caveat));
        caveats
    }

    /// Which command says what does not come back, if the node lives, and is wedged or has workers that are away.
    pub fn stuck_hint(&self) -> Option<String> {
        let verdict = self.liveness.verdict;
        let is_wedged = matches!(verdict, Verdict::Wedged(_));
        let is_away = || self.away_workers().is_some_and(|away| away.notice(&self.liveness).is_some());
        let is_there = self.dump_info.is_none() && verdict.is_alive();
        (is_there && (is_wedged || is_away()))
            .then(|| format!("`atomscope stuck {}` says what does not come back", self.pid))
    }

    fn caveats_of_state(&self) -> Vec<Caveat> {
        let mut caveats = Vec::new();
        let mut add = |kind, text| caveats.push(Caveat { kind, text });
        let Liveness { verdict, evidence, notes: of_liveness, .. } = self.liveness;
        let age = self.liveness.newest_beat_age();
        if let Some(info) = &self.dump_info {
            add(CaveatKind::Dump, info.caveat());
            if let Some(why) = self.liveness.why() {
                add(CaveatKind::DumpedState, format!("when it was dumped: {why}"));
            }
        } else if !self.liveness.is_well() {
            let age = age.filter(|_| verdict != Verdict::Live);
            let since = age.map(|age| format!("; its last beat was {:.1} s ago", age.as_secs_f64()));
            add(CaveatKind::State, format!("the node {}{}", self.liveness.said(), since.unwrap_or_default()));
        }
        if let Some(notice) = self.away_workers().and_then(|away| away.notice(&self.liveness)) {
            add(CaveatKind::Workers, notice.text);
        }
        match evidence {
            Evidence::Lock => {}
            // These notes have said already why the lock is no evidence.
            _ if of_liveness.has(Note::LockLost) || of_liveness.has(Note::LockFree) => {}
            Evidence::Process => add(
                CaveatKind::Evidence,
                "its lock cannot be queried: its process and the boot id decide the verdict".into(),
            ),
            Evidence::Heartbeat => add(
                CaveatKind::Evidence,
                "neither its lock nor its process can be queried: its beats decide the verdict".into(),
            ),
        }
        caveats
    }

    fn caveats_of_data(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if let Some(poll) = self.poll.filter(|poll| poll.is_stuck) {
            texts.push(format!(
                "the polled data of cluster, sharding and other subsystems is {:.1} s old: a component does not answer",
                poll.beat_age.as_secs_f64()
            ));
        }
        let mut count = |number: u64, one: &str, many: &str| match number {
            0 => {}
            1 => texts.push(format!("1 {one}")),
            _ => texts.push(format!("{number} {many}")),
        };
        let Tally { unlisted, unreadable, .. } = self.tally.unwrap_or_default();
        count(unreadable, "actor record was unreadable", "actor records were unreadable");
        count(
            unlisted,
            "live actor is counted but not listed: the table was full",
            "live actors are counted but not listed: the table was full",
        );
        count(
            self.totals.untracked,
            "live actor is untracked: the index was full too",
            "live actors are untracked: the index was full too",
        );
        let letters = &self.dead_letters;
        count(letters.unreadable, "dead letter was unreadable", "dead letters were unreadable");
        let failures = &self.failures;
        count(
            failures.unreadable,
            "record of the failure log was unreadable",
            "records of the failure log were unreadable",
        );
        count(failures.panics_unreadable, "panic was unreadable", "panics were unreadable");
        let Subsystems { instances, rows_dropped, documents_unreadable, .. } = &self.subsystems;
        count(
            instances.unreadable,
            "record of a subsystem was unreadable",
            "records of subsystems were unreadable",
        );
        count(
            *documents_unreadable,
            "of the two documents (cluster state, allocation of shards) was unreadable",
            "of the two documents (cluster state, allocation of shards) were unreadable",
        );
        count(
            *rows_dropped,
            "row of the cluster's state or its shards' allocation was dropped",
            "rows of the cluster's state or its shards' allocation were dropped",
        );
        if self.builtin(Builtin::UntrackedSpawns) > 0 || self.builtin(Builtin::UntrackedStops) > 0 {
            texts.push("the list may permanently miss some actors: the table was full".into());
        }
        match self.builtin(Builtin::DoubtfulStops) {
            0 => {}
            doubtful => texts.push(format!(
                "the list may permanently be wrong by {doubtful}: it is unknown whether so many stops were of listed actors"
            )),
        }
        if let Some(drift) = self.drift().filter(|drift| self.at_rest && *drift != 0) {
            texts.push(format!("the counts and the list of live actors differ by {drift:+}"));
        }
        texts
    }
}
