//! Trees of actors, built from their parents in linear time, even if a hostile region makes parents form cycles.
//!
//! ```
//! use atomscope_layout::dto::ActorStatus;
//! use atomscope_layout::forest::tree;
//! let actor = |path: &str, parent: Option<&str>| ActorStatus {
//!     path: path.into(),
//!     parent: parent.map(Into::into),
//!     actor_type: "shop::Cart".into(),
//!     mailbox_depth: 0,
//!     spawned_at: String::new(),
//!     host: None,
//! };
//! let roots = tree(&[actor("/user/a", None), actor("/user/a/b", Some("/user/a"))]);
//! assert_eq!(roots[0].children[0].name, "b");
//! ```

use std::collections::HashMap;

use crate::dto::{ActorStatus, ActorTreeNode};

/// Maximum number of levels of a tree. A deeper actor becomes a root. So JSON readers with the usual limit of 128 nested
/// values can read a snapshot.
pub const MAX_TREE_LEVELS: usize = 60;

/// Builds the trees of these actors, in linear time. An actor is a root if its parent is not in `flat`, if it is below
/// [`MAX_TREE_LEVELS`], or if it closes a cycle (only a hostile region has cycles). The order of `flat` is kept.
pub fn tree(flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
    let index: HashMap<&str, u32> =
        flat.iter().zip(0..).map(|(status, at)| (status.path.as_str(), at)).collect();
    let parent = |status: &ActorStatus| status.parent.as_deref().and_then(|path| index.get(path).copied());
    Forest::new(flat.iter().map(|status| parent(status).unwrap_or(NONE)).collect()).branches(flat)
}

/// The parent of a root, and the end of a list of siblings.
pub(crate) const NONE: u32 = u32::MAX;

/// Parents and children of actors, by their numbers. Uses 12 bytes per actor.
#[derive(Debug, Clone)]
pub struct Forest {
    parents: Vec<u32>,
    /// The first child of each actor; the last entry is the first root.
    first: Vec<u32>,
    /// The next sibling of each actor.
    next: Vec<u32>,
}

impl Forest {
    /// A forest in which `parents` has the number of each actor's parent, or [`NONE`]. An actor below
    /// [`MAX_TREE_LEVELS`], or one that closes a cycle, becomes a root.
    pub(crate) fn new(mut parents: Vec<u32>) -> Self {
        // Go up from each actor until an ancestor with a known level. Marking the actors on the path finds cycles.
        const UNKNOWN: u8 = u8::MAX;
        const ON_PATH: u8 = u8::MAX - 1;
        const { assert!(MAX_TREE_LEVELS < ON_PATH as usize) };
        let mut levels = vec![UNKNOWN; parents.len()];
        let mut path = Vec::new();
        for start in 0..parents.len() {
            let mut at = start;
            while levels[at] == UNKNOWN {
                levels[at] = ON_PATH;
                path.push(at);
                match levels.get(parents[at] as usize) {
                    Some(&ON_PATH) => parents[at] = NONE,
                    Some(_) => at = parents[at] as usize,
                    None => {}
                }
            }
            while let Some(at) = path.pop() {
                levels[at] = match levels.get(parents[at] as usize) {
                    Some(level) if usize::from(*level) + 1 < MAX_TREE_LEVELS => level + 1,
                    _ => {
                        parents[at] = NONE;
                        0
                    }
                };
            }
        }
        let mut forest = Self { first: Vec::new(), next: Vec::new(), parents };
        forest.order((0..forest.parents.len() as u32).rev());
        forest
    }

    /// Sorts the roots and the children of each actor. `last_first` is all actors in reverse order.
    pub(crate) fn order(&mut self, last_first: impl Iterator<Item = u32>) {
        let Self { parents, first, next } = self;
        let count = parents.len();
        first.clear();
        next.clear();
        first.resize(count + 1, NONE);
        next.resize(count, NONE);
        for at in last_first {
            let above = (parents[at as usize] as usize).min(count);
            next[at as usize] = core::mem::replace(&mut first[above], at);
        }
    }

    /// The children of an actor, or with `None` the roots.
    pub fn below(&self, of: Option<u32>) -> impl Iterator<Item = u32> {
        let above = of.map_or(self.parents.len(), |of| of as usize);
        let known = |at: u32| (at != NONE).then_some(at);
        core::iter::successors(self.first.get(above).copied().and_then(known), move |at| {
            known(self.next[*at as usize])
        })
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        (self.parents.capacity() + self.first.capacity() + self.next.capacity()) * size_of::<u32>()
    }

    /// The parent of an actor.
    pub fn above(&self, of: u32) -> Option<u32> {
        self.parents.get(of as usize).copied().filter(|above| *above != NONE)
    }

    /// The trees, with the texts of these actors.
    pub(crate) fn branches(&self, flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
        fn below(forest: &Forest, of: Option<u32>, flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
            let node = |at: u32| {
                let ActorStatus { path, actor_type, mailbox_depth, host, .. } = &flat[at as usize];
                ActorTreeNode {
                    path: path.clone(),
                    name: last_element(path).to_owned(),
                    actor_type: actor_type.clone(),
                    mailbox_depth: *mailbox_depth,
                    host: host.clone(),
                    children: below(forest, Some(at), flat),
                }
            };
            forest.below(of).map(node).collect()
        }
        below(self, None, flat)
    }
}

/// The last element of a path.
pub(crate) fn last_element(path: &str) -> &str {
    // It is usually short: a search for many bytes at once would take longer to begin.
    let (bytes, mut start) = (path.as_bytes(), path.len());
    while start > 0 && bytes[start - 1] != b'/' {
        start -= 1;
    }
    &path[start..]
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    fn status(path: &str, parent: Option<&str>) -> ActorStatus {
        ActorStatus {
            path: path.into(),
            parent: parent.map(Into::into),
            actor_type: "T".into(),
            mailbox_depth: 0,
            spawned_at: "now".into(),
            host: None,
        }
    }

    fn count(nodes: &[ActorTreeNode]) -> usize {
        nodes.iter().map(|n| 1 + count(&n.children)).sum()
    }

    #[test]
    fn children_stand_below_their_parents_in_the_given_order() {
        let flat = [
            status("/user/a/x", Some("/user/a")),
            status("/user/a", Some("/user")),
            status("/user/b", Some("/user")),
            status("/user/a/y", Some("/user/a")),
        ];
        let roots = tree(&flat);
        assert_eq!(roots.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(roots[0].children.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn a_cycle_and_a_bottomless_chain_lose_nobody_and_do_not_hang() {
        let mut flat = vec![status("a", Some("b")), status("b", Some("a")), status("c", Some("c"))];
        for i in 0..if cfg!(miri) { 200 } else { 10_000 } {
            flat.push(status(&format!("n{i}"), Some(&format!("n{}", i + 1))));
        }
        let roots = tree(&flat);
        assert_eq!(count(&roots), flat.len());
        fn depth(node: &ActorTreeNode) -> usize {
            1 + node.children.iter().map(depth).max().unwrap_or(0)
        }
        assert!(roots.iter().map(depth).max() <= Some(MAX_TREE_LEVELS));
    }
}
