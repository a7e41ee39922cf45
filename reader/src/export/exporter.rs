//! The trait of exporters, and what they are told.

use std::io;
use std::path::Path;

use crate::attach::{AttachError, Inode, Region};
use crate::follow::Item;
use crate::liveness::Liveness;
use crate::report::usage::Usage;
use crate::snapshot::Snapshot;
use crate::threads::ThreadSamples;

/// A node that an exporter is told of.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Its number among the nodes of this run. No two nodes have the same.
    pub number: usize,
    /// Its region, which stays attached until [`Exporter::node_ended`] has returned.
    pub region: &'a Region,
}

impl<'a> Node<'a> {
    /// The node's name. Not safe to print.
    pub fn name(&self) -> &'a str {
        &self.region.identity().node
    }

    /// The node's process id as this program sees it.
    pub fn pid(&self) -> u64 {
        self.region.pid()
    }

    /// The path by which its region was found.
    pub fn path(&self) -> &'a Path {
        self.region.path()
    }

    /// The identity of its region's file.
    pub fn inode(&self) -> Inode {
        self.region.inode()
    }
}

/// A node at one time.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What it publishes. It lists the actors if [`Exporter::wants_actors`], else it counts them by class.
    pub snapshot: &'a Snapshot,
    /// How full its region is.
    pub usage: &'a Usage,
    /// The threads of its process; `None` if it is dead, or if this program may not look into it.
    pub threads: Option<&'a ThreadSamples>,
}

/// How a node ended, or why nothing more is known of it.
#[derive(Debug, Clone, Copy)]
pub enum NodeEnd<'a> {
    /// It ended.
    Ended {
        /// The verdict.
        liveness: &'a Liveness,
        /// Its last state, if that could still be read.
        last: Option<&'a Observed<'a>>,
    },
    /// Its region cannot be read any more.
    Failed(&'a AttachError),
}

impl<'a> NodeEnd<'a> {
    /// The node's last state, if it could still be read.
    pub fn last(&self) -> Option<&'a Observed<'a>> {
        match self {
            Self::Ended { last, .. } => *last,
            Self::Failed(_) => None,
        }
    }

    /// How it ended, in a few words: `exit 0`, `SIGKILL`, `closed`, `crashed`, or `unreadable`.
    pub fn word(&self) -> String {
        match self {
            Self::Ended { liveness, .. } => match liveness.last_words.end {
                Some(end) => end.word(),
                None => liveness.verdict.word().to_owned(),
            },
            Self::Failed(_) => "unreadable".to_owned(),
        }
    }
}

/// What sends the data of nodes elsewhere. [`Nodes`](super::nodes::Nodes) calls it, always from one thread.
///
/// Each method does nothing unless the exporter has its own. An error ends the run that called the exporter.
pub trait Exporter {
    /// A node has been found.
    ///
    /// # Errors
    /// As the exporter decides.
    fn node_started(&mut self, _node: &Node<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Whether the exporter wants the events of this node. Reading them costs time for each event.
    fn wants_events(&self, _node: &Node<'_>) -> bool {
        true
    }

    /// Events of a node in their order, as they come, with every loss between them. The first call has the events that the
    /// node still held when it was found.
    ///
    /// # Errors
    /// As the exporter decides.
    fn events(&mut self, _node: &Node<'_>, _items: &[Item]) -> io::Result<()> {
        Ok(())
    }

    /// Whether snapshots list the actors one by one. Without the list they take a tenth of the time.
    fn wants_actors(&self) -> bool {
        false
    }

    /// The state of a live node, at each interval.
    ///
    /// # Errors
    /// As the exporter decides.
    fn snapshot(&mut self, _node: &Node<'_>, _observed: &Observed<'_>) -> io::Result<()> {
        Ok(())
    }

    /// All nodes had their snapshots of this interval.
    ///
    /// # Errors
    /// As the exporter decides.
    fn round_ended(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A node has ended.
    ///
    /// # Errors
    /// As the exporter decides.
    fn node_ended(&mut self, _node: &Node<'_>, _end: &NodeEnd<'_>) -> io::Result<()> {
        Ok(())
    }

    /// A sentence about a node that could not be watched. Safe to print.
    fn notice(&mut self, _sentence: &str) {}

    /// The run ends. Nodes that live have not been reported as ended.
    ///
    /// # Errors
    /// As the exporter decides.
    fn stop(&mut self) -> io::Result<()> {
        Ok(())
    }
}
