//! Why a search leads to no region, and what it passed over.

use std::io;
use std::path::PathBuf;

use super::name::DEFAULT_DIR;
use crate::attach::AttachError;
use crate::hidden::Hidden;
use crate::text::clean_path;

/// Added where a dead node is not found: neither its name nor its process leads to a file that its user chose.
const BY_PATH: &str =
    "a region that a dead node left in a file of its user's choice is found by the file's path alone";

/// Nodes of unreadable processes that are listed one by one.
const MOST_HIDDEN: usize = 3;

/// Why no region was found, or not exactly one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The region was found, but it cannot be attached to.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The region directory cannot be read.
    #[error("cannot look for regions in {}: {error}", clean_path(.dir))]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// There is no such process, and no region of a dead process of that number.
    #[error(
        "there is no process {0}, and no region that one has left in {DEFAULT_DIR}; `atomscope ps` lists what there is; \
         {BY_PATH}"
    )]
    NoProcess(String),
    /// This program may not read the mappings of the process.
    #[error("{0}")]
    Hidden(Hidden),
    /// The process has no region.
    #[error(
        "process {pid} ({name}) has no region: it is no atomscope node, was started with ATOMSCOPE=off, or could not \
         make a shared region and warned about it at its start"
    )]
    NoRegion {
        /// Process id.
        pid: u64,
        /// Name of its program; safe to print.
        name: String,
    },
    /// The process has no actor system of that name.
    #[error("process {pid} has no actor system {system}; it has {}", .systems.join(", "))]
    NoSystem {
        /// Process id.
        pid: u64,
        /// The name that was asked for; safe to print.
        system: String,
        /// The systems that the process has; safe to print.
        systems: Vec<String>,
    },
    /// There is no node of that name.
    #[error(
        "there is no node {name}{file}{others}; {BY_PATH}",
        file = if *.is_file { "; the file of that name is meant by a path with a `/`, such as ./FILE" } else { "" },
        others = others_hint(*.other_users, *.unreadable, .hidden)
    )]
    NoNode {
        /// The name that was asked for; safe to print.
        name: String,
        /// Whether there is a file of that name.
        is_file: bool,
        /// Regions of other users.
        other_users: usize,
        /// Regions that cannot be read.
        unreadable: usize,
        /// Nodes whose mappings this program may not read.
        hidden: Vec<Hidden>,
    },
    /// There is no region at all.
    #[error("there is no node to look at{others}", others = others_hint(*.other_users, *.unreadable, .hidden))]
    Nothing {
        /// Regions of other users.
        other_users: usize,
        /// Regions that cannot be read.
        unreadable: usize,
        /// Nodes whose mappings this program may not read.
        hidden: Vec<Hidden>,
    },
    /// There are several nodes: name, process and system of each.
    #[error("there are {} nodes, say which one: {}", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
}

fn others_hint(other_users: usize, unreadable: usize, hidden: &[Hidden]) -> String {
    let mut hint = String::from("; `atomscope ps` lists what there is");
    if unreadable > 0 {
        hint += &format!(" ({unreadable} unreadable)");
    }
    if other_users > 0 {
        hint += &format!("; {}", other_users_note(other_users));
    }
    hidden_notes(hidden).iter().for_each(|note| hint += &format!("; {note}"));
    hint
}

/// Sentences about nodes whose mappings this program may not read; at most four.
pub(crate) fn hidden_notes(hidden: &[Hidden]) -> Vec<String> {
    let more = hidden.len().saturating_sub(MOST_HIDDEN);
    let more = (more > 0).then(|| format!("{more} more processes are nodes whose mappings cannot be read"));
    hidden
        .iter()
        .take(MOST_HIDDEN)
        .map(|hidden| format!("a node is not listed: {hidden}"))
        .chain(more)
        .collect()
}

/// A sentence about regions that only their owners and root may read.
pub fn other_users_note(count: usize) -> String {
    let regions = if count == 1 { "region" } else { "regions" };
    format!("{count} {regions} of other users; run as root to see them")
}
