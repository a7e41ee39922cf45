//! The nodes of a machine, a row each: what `ps` lists.

use std::path::Path;

use atomscope_layout::decode::rfc3339;
use serde::Serialize;

use super::human::seconds;
use crate::attach::{AttachError, RegionSummary};
use crate::find::{FindError, Found, Search, hidden_notes, newest_first, others_note};
use crate::liveness::Notes;

/// A region in a listing.
#[derive(Debug, Clone, Serialize)]
pub struct NodeRow {
    pub pid: Option<u64>,
    pub node: Option<String>,
    pub system: Option<String>,
    pub state: &'static str,
    pub why: Option<String>,
    /// What is to be known beside the state; `None` of what cannot be read.
    pub conditions: Option<Notes>,
    pub age_s: Option<f64>,
    pub beat_age_s: Option<f64>,
    pub actors: Option<u64>,
    pub bytes: Option<u64>,
    /// By which it can be attached to.
    pub path: String,
    /// The name that its file had, if it has none any more.
    unlinked_from: Option<String>,
    uid: Option<u64>,
    program: Option<String>,
    writer_version: Option<String>,
    created_at: Option<String>,
    /// The path for people.
    #[serde(skip)]
    pub shown_path: String,
    #[serde(skip)]
    is_alive: bool,
    /// What can be attached to.
    #[serde(skip)]
    pub glance: Option<RegionSummary>,
}

impl NodeRow {
    fn new(found: Found) -> Self {
        let Found { pid, region } = found;
        match region {
            Ok(glance) => Self::readable(glance),
            Err(error) => Self::unreadable(pid, &error),
        }
    }

    fn readable(glance: RegionSummary) -> Self {
        let (pid, is_alive, shown_path) = (glance.pid(), glance.is_alive(), glance.shown_path());
        let RegionSummary {
            path, bytes, user, identity, liveness, live_actors, dumped, unlinked_from, ..
        } = glance.clone();
        let created = i128::from(identity.header.created_unix_ns);
        let verdict = liveness.verdict;
        Self {
            pid: Some(pid),
            node: Some(identity.node),
            system: identity.system,
            state: verdict.word(),
            why: match dumped {
                Some(taken) => Some(format!("this is a dump, taken at {}", rfc3339(taken.unix_ns))),
                None => liveness.why(),
            },
            conditions: Some(liveness.notes),
            age_s: glance.age.map(seconds),
            beat_age_s: liveness.newest_beat_age().map(seconds),
            actors: live_actors,
            bytes: Some(bytes),
            path: path.to_string_lossy().into_owned(),
            unlinked_from: unlinked_from.map(|name| name.to_string_lossy().into_owned()),
            shown_path: shown_path.to_string_lossy().into_owned(),
            uid: Some(user),
            program: Some(identity.program),
            writer_version: Some(identity.writer),
            created_at: Some(rfc3339(created)),
            is_alive,
            glance: Some(glance),
        }
    }

    fn unreadable(pid: Option<u64>, error: &AttachError) -> Self {
        Self {
            pid,
            node: None,
            system: None,
            state: error.why.word(),
            why: Some(error.why.to_string()),
            conditions: None,
            age_s: None,
            beat_age_s: None,
            actors: None,
            bytes: None,
            path: error.path.to_string_lossy().into_owned(),
            unlinked_from: None,
            shown_path: error.path.to_string_lossy().into_owned(),
            uid: None,
            program: None,
            writer_version: None,
            created_at: None,
            is_alive: false,
            glance: None,
        }
    }
}

/// All regions that can be found, the living first, and what there is to be said of those that cannot.
pub fn nodes(search: &Search, region: Option<&Path>) -> Result<(Vec<NodeRow>, Vec<String>), FindError> {
    let (found, notes) = match region {
        None => {
            let discovery = search.all()?;
            let others = (discovery.of_others > 0).then(|| others_note(discovery.of_others));
            let notes = others.into_iter().chain(hidden_notes(&discovery.hidden())).collect();
            (discovery.found, notes)
        }
        Some(path) => {
            let region = RegionSummary::take(path, None, search.max_bytes);
            (vec![Found { pid: region.as_ref().ok().map(RegionSummary::pid), region }], Vec::new())
        }
    };
    let mut rows: Vec<NodeRow> = found.into_iter().map(NodeRow::new).collect();
    rows.sort_by_key(|row| row.pid);
    let mut rows = newest_first(rows, |row| row.glance.as_ref());
    // By name; of one name the newest stays first.
    rows.sort_by(|a, b| {
        (b.is_alive, a.node.is_none(), &a.node).cmp(&(a.is_alive, b.node.is_none(), &b.node))
    });
    Ok((rows, notes))
}
