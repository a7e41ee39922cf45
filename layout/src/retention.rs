//! Which regions of dead nodes are kept. A starting node and the command `prune` use the same rule.
//!
//! The dead regions of one user use at most 64 MiB, and at most a quarter of their file system. The newest region is
//! always kept, whatever its size. At most two regions of one node name are kept, so that a node that crashes again and
//! again does not remove the evidence of other nodes.
//!
//! ```
//! use atomscope_layout::retention::stay;
//! let newest_first = [("a", 1 << 20), ("a", 1 << 20), ("a", 1 << 20), ("b", 1 << 20)];
//! assert_eq!(stay(newest_first, 1 << 40), [true, true, false, true]);
//! ```

use std::collections::HashMap;

/// Maximum number of bytes that the dead regions of one user use.
pub const MOST_BYTES: u64 = 64 << 20;
/// They use at most one part in so many of their file system.
pub const MOST_OF_FILE_SYSTEM: u64 = 4;
/// Maximum number of dead regions of one node name.
pub const MOST_OF_NODE: usize = 2;

/// Whether each dead region of one user is kept. `newest_first` gives the node name and the size in bytes of each. A
/// region that is too large is skipped: older, smaller ones may still be kept.
pub fn stay<'a>(newest_first: impl IntoIterator<Item = (&'a str, u64)>, file_system_bytes: u64) -> Vec<bool> {
    let most = MOST_BYTES.min(file_system_bytes / MOST_OF_FILE_SYSTEM);
    let (mut kept_bytes, mut of_node) = (0u64, HashMap::<&str, usize>::new());
    let stays = |(at, (node, bytes)): (usize, (&'a str, u64))| {
        let same = of_node.entry(node).or_default();
        let after = kept_bytes.saturating_add(bytes);
        let stays = at == 0 || after <= most && *same < MOST_OF_NODE;
        if stays {
            (kept_bytes, *same) = (after, *same + 1);
        }
        stays
    };
    newest_first.into_iter().enumerate().map(stays).collect()
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// So large that a quarter of it is never the limit.
    const HUGE: u64 = u64::MAX;

    #[test]
    fn of_many_node_names_no_more_stay_than_there_is_room_for() {
        let names: Vec<String> = (0..100).map(|number| format!("node-{number}")).collect();
        let stays = stay(names.iter().map(|name| (name.as_str(), 16 * MIB)), HUGE);
        assert_eq!(stays.iter().filter(|stays| **stays).count(), 4);
        assert!(stays[..4].iter().all(|stays| *stays), "the newest stay");
    }

    #[test]
    fn on_a_small_file_system_a_quarter_of_it_is_the_most() {
        let four = [("a", 8 * MIB), ("b", 8 * MIB), ("c", 8 * MIB), ("d", 8 * MIB)];
        assert_eq!(stay(four, 64 * MIB), [true, true, false, false]);
    }

    #[test]
    fn the_newest_of_all_stays_whatever_its_size() {
        assert_eq!(stay([("large", 1 << 40), ("small", 1)], 64 * MIB), [true, false]);
        assert_eq!(stay([("large", u64::MAX), ("large", u64::MAX)], 0), [true, false]);
    }

    #[test]
    fn one_that_is_too_large_costs_no_older_one_its_place() {
        assert_eq!(stay([("a", MIB), ("large", 1 << 40), ("c", MIB)], HUGE), [true, false, true]);
    }

    #[test]
    fn of_one_node_two_stay() {
        assert_eq!(stay([("a", 1), ("a", 1), ("a", 1), ("b", 1)], HUGE), [true, true, false, true]);
    }
}
