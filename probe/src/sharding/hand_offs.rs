//! Hand-offs: how far each one is, and how many have begun and ended.

use atomr_cluster_sharding::HandoffState;

use super::probe::HandOff;

/// The progress of a hand-off, with the same fields for each state.
pub(super) struct Stage<'a> {
    pub(super) source: &'a str,
    pub(super) target: Option<&'a str>,
    number: u8,
    pub(super) word: &'static str,
    pub(super) remaining: usize,
}

/// The stage of a state; none for a shard without a hand-off.
pub(super) fn stage(state: &HandoffState) -> Option<Stage<'_>> {
    let (source, target, number, word, remaining) = match state {
        HandoffState::Beginning { source_region } => (source_region, None, 1, "beginning", 0),
        HandoffState::HandingOff { source_region, remaining_entities } => {
            (source_region, None, 2, "handing_off", *remaining_entities)
        }
        HandoffState::Stopped { source_region } => (source_region, None, 3, "stopped", 0),
        HandoffState::Started { source_region, target_region } => {
            (source_region, Some(target_region.as_str()), 4, "started", 0)
        }
        _ => return None,
    };
    Some(Stage { source, target, number, word, remaining })
}

/// The row of a hand-off in the document.
pub(super) fn row(shard: &str, state: &HandoffState) -> Option<HandOff> {
    stage(state).map(|Stage { source, target, word, .. }| HandOff {
        shard: shard.into(),
        from: source.into(),
        to: target.unwrap_or_default().into(),
        state: word,
    })
}

/// How many hand-offs of a shard have begun and how many have ended between two states, at least.
pub(super) fn progress(before: Option<Stage<'_>>, now: &HandoffState) -> (u64, u64) {
    let Some(now) = stage(now) else { return (0, 0) };
    let is_same = |before: Stage<'_>| before.source == now.source && before.number <= now.number;
    let continues = before.is_some_and(|before| before.target.is_none() && is_same(before));
    (u64::from(!continues), u64::from(now.target.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hand_off_that_a_state_shows_is_counted_once() {
        let source_region = || "r1".to_owned();
        let beginning = HandoffState::Beginning { source_region: source_region() };
        let stopped = HandoffState::Stopped { source_region: source_region() };
        let there = HandoffState::Started { source_region: source_region(), target_region: "r2".into() };
        let back = HandoffState::Started { source_region: "r2".into(), target_region: "r1".into() };
        let of = |before: Option<&HandoffState>, now| progress(before.and_then(stage), now);
        assert_eq!(of(None, &beginning), (1, 0));
        assert_eq!(of(Some(&beginning), &stopped), (0, 0));
        assert_eq!(of(Some(&stopped), &there), (0, 1));
        assert_eq!(of(None, &there), (1, 1));
        assert_eq!(of(Some(&there), &back), (1, 1));
        assert_eq!(of(Some(&there), &beginning), (1, 0));
        assert_eq!(of(Some(&stopped), &beginning), (1, 0), "it was forgotten, and began again");
        assert_eq!(of(Some(&HandoffState::Idle), &stopped), (1, 0));
        assert_eq!(of(Some(&there), &HandoffState::Idle), (0, 0));
    }
}
