//! The caveats of a snapshot as sentences: the state of the node, and which data is missing or doubtful.

use atomscope_layout::decode::Tally;
use atomscope_layout::decode::subsystems::Subsystems;
use atomscope_layout::metrics::Builtin;

use super::Snapshot;
use crate::liveness::{Evidence, Liveness, Note, Verdict};

impl Snapshot {
    /// Sentences that a person should know before trusting the data; none if there is nothing to add. Safe to print.
    pub fn caveats(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let Liveness { verdict, evidence, notes: of_liveness, .. } = self.liveness;
        let age = self.liveness.newest_beat_age();
        if let Some(info) = &self.dump_info {
            notes.push(info.caveat());
            notes.extend(self.liveness.why().map(|why| format!("when it was dumped: {why}")));
        } else if !self.liveness.is_well() {
            let age = age.filter(|_| verdict != Verdict::Live);
            let since = age.map(|age| format!("; its last beat was {:.1} s ago", age.as_secs_f64()));
            notes.push(format!("the node is {}{}", self.liveness, since.unwrap_or_default()));
        }
        match evidence {
            Evidence::Lock => {}
            // These notes have said already why the lock is no evidence.
            _ if of_liveness.has(Note::LockLost) || of_liveness.has(Note::LockFree) => {}
            Evidence::Process => notes
                .push("its lock cannot be queried: its process and the boot id decide the verdict".into()),
            Evidence::Heartbeat => notes
                .push("neither its lock nor its process can be queried: its beats decide the verdict".into()),
        }
        if let Some(poll) = self.poll.filter(|poll| poll.is_stuck) {
            notes.push(format!(
                "the polled data of cluster, sharding and other subsystems is {:.1} s old: a component does not answer",
                poll.beat_age.as_secs_f64()
            ));
        }
        let mut count = |number: u64, one: &str, many: &str| match number {
            0 => {}
            1 => notes.push(format!("1 {one}")),
            _ => notes.push(format!("{number} {many}")),
        };
        let Tally { unlisted, unreadable, .. } = self.tally.unwrap_or_default();
        count(unreadable, "actor record was unreadable", "actor records were unreadable");
        count(
            unlisted,
            "live actor is counted but not listed: the table was full around it",
            "live actors are counted but not listed: the table was full around them",
        );
        count(
            self.totals.untracked,
            "live actor is untracked: the table was full",
            "live actors are untracked: the table was full",
        );
        let letters = &self.dead_letters;
        count(letters.unreadable, "dead letter was unreadable", "dead letters were unreadable");
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
            notes.push("the list may miss some actors for good: the table has been full".into());
        }
        match self.builtin(Builtin::DoubtfulStops) {
            0 => {}
            doubtful => notes.push(format!(
                "the list may be wrong by {doubtful} for good: it is unknown whether these stops were of listed actors"
            )),
        }
        if let Some(drift) = self.drift().filter(|drift| self.at_rest && *drift != 0) {
            notes.push(format!("the counts and the list of live actors differ by {drift:+}"));
        }
        notes
    }
}
