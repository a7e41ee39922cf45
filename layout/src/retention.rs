//! Which regions of dead nodes are kept. A starting node and the command `prune` use the same rule.
//!
//! The dead regions of one user use at most 64 MiB, and at most a quarter of their file system. The newest region is
//! always kept, whatever its size. Of one node name at most two regions are kept, so that a node that crashes again and
//! again does not remove the evidence of other nodes: the newest, and the first crash since a node of the name ended in
//! good order. The first one is kept because the later crashes of a loop are often its consequences.
//!
//! ```
//! use atomscope_layout::retention::{Dead, stay};
//! let dead = |node| Dead { node, bytes: 1 << 20, is_in_series: true };
//! let newest_first = [dead("a"), dead("a"), dead("a"), dead("b")];
//! assert_eq!(stay(newest_first, 1 << 40), [true, false, true, true]);
//! ```

use std::collections::HashMap;

/// Maximum number of bytes that the dead regions of one user use.
pub const MOST_BYTES: u64 = 64 << 20;
/// They use at most one part in so many of their file system.
pub const MOST_OF_FILE_SYSTEM: u64 = 4;
/// Maximum number of dead regions of one node name.
pub const MOST_OF_NODE: usize = 2;

/// A dead region.
#[derive(Debug, Clone, Copy)]
pub struct Dead<'a> {
    /// The name of its node.
    pub node: &'a str,
    /// Its size.
    pub bytes: u64,
    /// Whether its node crashed, and none of the name has ended in good order since.
    pub is_in_series: bool,
}

/// Whether each dead region of one user is kept. A region that is too large is skipped: older, smaller ones may still be
/// kept.
pub fn stay<'a>(newest_first: impl IntoIterator<Item = Dead<'a>>, file_system_bytes: u64) -> Vec<bool> {
    let dead: Vec<_> = newest_first.into_iter().collect();
    let most = MOST_BYTES.min(file_system_bytes / MOST_OF_FILE_SYSTEM);
    // The index of the first crash of each node's present series.
    let in_series = dead.iter().enumerate().filter(|(_, dead)| dead.is_in_series);
    let firsts: HashMap<_, _> = in_series.map(|(at, dead)| (dead.node, at)).collect();
    let (mut kept_bytes, mut of_node) = (0u64, HashMap::<&str, usize>::new());
    let stays = |(at, Dead { node, bytes, .. }): (usize, &Dead<'a>)| {
        let same = of_node.entry(node).or_default();
        let is_first_to_come = firsts.get(node).is_some_and(|first| *first > at);
        let has_place = *same + usize::from(is_first_to_come) < MOST_OF_NODE;
        let after = kept_bytes.saturating_add(*bytes);
        let stays = at == 0 || after <= most && has_place;
        if stays {
            (kept_bytes, *same) = (after, *same + 1);
        }
        stays
    };
    dead.iter().enumerate().map(stays).collect()
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// So large that a quarter of it is never the limit.
    const HUGE: u64 = u64::MAX;

    fn crashes<'a>(dead: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<Dead<'a>> {
        dead.into_iter().map(|(node, bytes)| Dead { node, bytes, is_in_series: true }).collect()
    }

    #[test]
    fn of_many_node_names_no_more_stay_than_there_is_room_for() {
        let names: Vec<String> = (0..100).map(|number| format!("node-{number}")).collect();
        let stays = stay(crashes(names.iter().map(|name| (name.as_str(), 16 * MIB))), HUGE);
        assert_eq!(stays.iter().filter(|stays| **stays).count(), 4);
        assert!(stays[..4].iter().all(|stays| *stays), "the newest stay");
    }

    #[test]
    fn on_a_small_file_system_a_quarter_of_it_is_the_most() {
        let four = [("a", 8 * MIB), ("b", 8 * MIB), ("c", 8 * MIB), ("d", 8 * MIB)];
        assert_eq!(stay(crashes(four), 64 * MIB), [true, true, false, false]);
    }

    #[test]
    fn the_newest_of_all_stays_whatever_its_size() {
        assert_eq!(stay(crashes([("large", 1 << 40), ("small", 1)]), 64 * MIB), [true, false]);
        assert_eq!(stay(crashes([("large", u64::MAX), ("large", u64::MAX)]), 0), [true, false]);
    }

    #[test]
    fn one_that_is_too_large_costs_no_older_one_its_place() {
        assert_eq!(stay(crashes([("a", MIB), ("large", 1 << 40), ("c", MIB)]), HUGE), [true, false, true]);
    }

    #[test]
    fn of_one_node_the_newest_and_the_first_crash_of_its_series_stay() {
        let stays = |in_series: &[bool]| {
            stay(
                in_series.iter().map(|in_series| Dead { node: "a", bytes: 1, is_in_series: *in_series }),
                HUGE,
            )
        };
        assert_eq!(stays(&[true; 4]), [true, false, false, true]);
        assert_eq!(stays(&[true, true]), [true, true]);
        // The first crash after a good end: the newest of before stays beside it, until the next crash.
        assert_eq!(stays(&[true, false, false]), [true, true, false]);
        assert_eq!(stays(&[true, true, false]), [true, true, false]);
        assert_eq!(stays(&[false, false, false]), [true, true, false]);
    }

    #[test]
    fn one_nodes_series_takes_no_others_places() {
        let stays = stay(crashes([("a", 1), ("b", 1), ("a", 1), ("b", 1), ("a", 1)]), HUGE);
        assert_eq!(stays, [true, true, false, true, true]);
    }
}
