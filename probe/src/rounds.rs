//! The sampler's rounds: how long they last, and which of them a waiting record has outlived.
//!
//! Waiting is counted in rounds instead of time, so that a process that was stopped for a while gives nothing up early.

use std::collections::HashMap;
use std::time::Duration;

/// The time between two heartbeats of the sampler. A reader calls a node wedged after twelve times as long without one.
pub(crate) const BEAT: Duration = Duration::from_millis(250);
/// Rounds that a stop waits for its spawn: ten seconds. A spawn hook is late by microseconds.
pub(crate) const STOP_WAITS_ROUNDS: u64 = 40;
/// A shorter round is merged with the next one.
const LEAST_ROUND: Duration = Duration::from_millis(BEAT.as_millis() as u64 / 2);
/// In a longer round of the sampler the process, or the sampler alone, stood still.
pub(crate) const LONGEST_ROUND: Duration = Duration::from_millis(BEAT.as_millis() as u64 * 3 / 2);

/// The rounds of one region.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    number: u64,
    began_mono_ns: u64,
    /// The first round of each waiting stop, by what tells it apart.
    pub(crate) stops_since: HashMap<u64, u64>,
    /// The first whole round since the hooks reached their present stage; 0 before they are installed.
    #[cfg(feature = "atomr")]
    pub(crate) hooks_since: u64,
}

/// One call of [`Rounds::advance`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// The round that is under way from now on.
    pub(crate) number: u64,
    /// The first round that a record which is seen now can live through from its beginning to its end.
    pub(crate) next_whole: u64,
    /// The round that ends now, unless the process stood still in it.
    pub(crate) ended: Option<u64>,
}

impl Round {
    /// Whether a record that was there at the beginning of the round `first` has lived through a whole round.
    pub(crate) fn outlives(self, first: u64) -> bool {
        self.ended.is_some_and(|ended| first <= ended)
    }
}

impl Rounds {
    /// Begins the next round, if this one lasted long enough. Only a caller with a rhythm can notice a standstill.
    pub(crate) fn advance(&mut self, mono_ns: u64, in_rhythm: bool) -> Round {
        let lasted = Duration::from_nanos(mono_ns.saturating_sub(self.began_mono_ns));
        let (ended, ends) = (self.number, lasted >= LEAST_ROUND);
        if ends {
            (self.number, self.began_mono_ns) = (ended + 1, mono_ns);
        }
        let is_whole = ends && (!in_rhythm || lasted <= LONGEST_ROUND);
        Round {
            number: self.number,
            next_whole: self.number + u64::from(!ends),
            ended: is_whole.then_some(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_outlives_no_round_in_which_the_process_stood_still() {
        let mut rounds = Rounds::default();
        let mut advance = |beats: u64| rounds.advance(BEAT.as_nanos() as u64 * beats, true);
        let first = advance(1).next_whole;
        assert!(!advance(11).outlives(first));
        assert!(advance(12).outlives(first));
    }
}
