//! Why a search leads to no region, and what it passed over.

use std::io;
use std::path::PathBuf;

use super::name::DEFAULT_DIR;
use crate::attach::AttachError;
use crate::hidden::Hidden;
use crate::text::clean_path;

/// Added where a dead node is not found: neither its name nor its process leads to a file that its user chose.
const BY_PATH: &str = "a dead node's region outside /dev/shm is found only by the path of its file";

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
    #[error("cannot search {} for regions: {error}{hint}", clean_path(.dir), hint = directory_hint(.error))]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// There is no such process, and no region of a dead process of that number.
    #[error(
        "there is no process {0}, and no dead process with that id left a region in {DEFAULT_DIR}; `atomscope ps` lists \
         all nodes; {BY_PATH}"
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
        /// The name that the target has; safe to print.
        system: String,
        /// The systems that the process has; safe to print.
        systems: Vec<String>,
    },
    /// There is no node of that name.
    #[error(
        "there is no node {name}{file}{others}; {BY_PATH}",
        file = if *.is_file { "; to read the file of that name, give a path with a `/`, such as ./FILE" } else { "" },
        others = others_hint(*.other_users, *.unreadable, .hidden)
    )]
    NoNode {
        /// The name that the target has; safe to print.
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
    #[error("no node was found{others}", others = others_hint(*.other_users, *.unreadable, .hidden))]
    Nothing {
        /// Regions of other users.
        other_users: usize,
        /// Regions that cannot be read.
        unreadable: usize,
        /// Nodes whose mappings this program may not read.
        hidden: Vec<Hidden>,
    },
    /// There are several nodes: name, process and system of each.
    #[error("there are {} nodes; name one of them: {}", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
}

fn directory_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "; name an existing directory",
        io::ErrorKind::PermissionDenied => "; run as its owner or as root",
        _ => "",
    }
}

fn others_hint(other_users: usize, unreadable: usize, hidden: &[Hidden]) -> String {
    let mut hint = String::from("; `atomscope ps` lists all nodes");
    if unreadable > 0 {
        hint += &format!(" ({unreadable} of them unreadable)");
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
