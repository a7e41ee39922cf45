//! Actors joined to trees by their parents, in linear time and whatever the paths say.

use std::collections::HashMap;

use crate::dto::{ActorStatus, ActorTreeNode};

/// Levels of a tree at most. Deeper actors start a tree of their own: a JSON reader that allows 128 nested values, as
/// the usual ones do, can then still read a snapshot.
pub const MAX_TREE_LEVELS: usize = 60;

/// Joins actors to trees by their paths, in linear time. An actor whose parent is not among them is a root; so is one
/// below [`MAX_TREE_LEVELS`], and one of each cycle (which only a hostile region can hold). Order is kept.
pub fn tree(flat: &[ActorStatus]) -> Vec<ActorTreeNode> {
    let index: HashMap<&str, u32> =
        flat.iter().zip(0..).map(|(status, at)| (status.path.as_str(), at)).collect();
    let parent = |status: &ActorStatus| status.parent.as_deref().and_then(|path| index.get(path).copied());
    Forest::new(flat.iter().map(|status| parent(status).unwrap_or(NOBODY)).collect()).branches(flat)
}

/// Stands for the parent of a root, and for whoever comes after the last.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Who stands below whom, in numbers: as many trees as there are roots, 12 bytes an actor.
#[derive(Debug, Clone)]
pub struct Forest {
    parents: Vec<u32>,
    /// Of each actor, and at the end of nobody: the first below it.
    first: Vec<u32>,
    /// Of each actor: the next below the same parent.
    next: Vec<u32>,
}

impl Forest {
    /// Joins actors to those that `parents` says of each. Whoever is below [`MAX_TREE_LEVELS`] or would close a cycle
    /// becomes a root.
    pub(crate) fn new(mut parents: Vec<u32>) -> Self {
        // Levels, found by walking up until a known one; the walk marks its way, so that a cycle is met and cut.
        const UNKNOWN: u8 = u8::MAX;
        const ON_THE_WAY: u8 = u8::MAX - 1;
        const { assert!(MAX_TREE_LEVELS < ON_THE_WAY as usize) };
        let mut levels = vec![UNKNOWN; parents.len()];
        let mut way = Vec::new();
        for start in 0..parents.len() {
            let mut at = start;
            while levels[at] == UNKNOWN {
                levels[at] = ON_THE_WAY;
                way.push(at);
                match levels.get(parents[at] as usize) {
                    Some(&ON_THE_WAY) => parents[at] = NOBODY,
                    Some(_) => at = parents[at] as usize,
                    None => {}
                }
            }
            while let Some(at) = way.pop() {
                levels[at] = match levels.get(parents[at] as usize) {
                    Some(level) if usize::from(*level) + 1 < MAX_TREE_LEVELS => level + 1,
                    _ => {
                        parents[at] = NOBODY;
                        0
                    }
                };
            }
        }
        let mut forest = Self { first: Vec::new(), next: Vec::new(), parents };
        forest.order((0..forest.parents.len() as u32).rev());
        forest
    }

    /// Puts those below each actor, and the roots, into another order; `last_first` is that order from its end.
    pub(crate) fn order(&mut self, last_first: impl Iterator<Item = u32>) {
        let Self { parents, first, next } = self;
        let count = parents.len();
        first.clear();
        next.clear();
        first.resize(count + 1, NOBODY);
        next.resize(count, NOBODY);
        for at in last_first {
            let above = (parents[at as usize] as usize).min(count);
            next[at as usize] = core::mem::replace(&mut first[above], at);
        }
    }

    /// Those directly below an actor, or with `None` the roots.
    pub fn below(&self, of: Option<u32>) -> impl Iterator<Item = u32> {
        let above = of.map_or(self.parents.len(), |of| of as usize);
        let known = |at: u32| (at != NOBODY).then_some(at);
        core::iter::successors(self.first.get(above).copied().and_then(known), move |at| {
            known(self.next[*at as usize])
        })
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        (self.parents.capacity() + self.first.capacity() + self.next.capacity()) * size_of::<u32>()
    }

    /// Whom an actor stands below.
    pub fn above(&self, of: u32) -> Option<u32> {
        self.parents.get(of as usize).copied().filter(|above| *above != NOBODY)
    }

    /// The trees of these actors.
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
    path.rsplit_once('/').map_or(path, |(_, last)| last)
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
