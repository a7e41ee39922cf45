//! The nodes of a machine as rows, live and dead: what `ps` lists.

use std::path::Path;
use std::time::Duration;

use atomscope_layout::decode::rfc3339;
use serde::Serialize;

use super::human::seconds;
use crate::attach::{AttachError, RegionSummary};
use crate::ending::{Before, End};
use crate::find::{FindError, FoundRegion, Search, hidden_notes, newest_first, other_users_note};
use crate::liveness::{Notes, Verdict};
use crate::workers::AwayWorker;

/// The time for which an earlier crash is worth a note on a living node.
const NEWS: Duration = Duration::from_secs(10 * 60);

/// A row of the list: a node, or a region that cannot be read. Fields that are unknown are `None`. Names and paths are not
/// safe to print.
#[derive(Debug, Clone, Serialize)]
pub struct NodeRow {
    /// The node's process as this program sees it.
    pub pid: Option<u64>,
    /// Name of the node.
    pub node: Option<String>,
    /// Name of its actor system.
    pub system: Option<String>,
    /// The verdict, or why the region cannot be read, in one word.
    pub state: &'static str,
    /// What the word leaves open.
    pub why: Option<String>,
    /// Conditions and other notes on the state.
    pub conditions: Option<Notes>,
    /// How a dead node ended; `None` if it lives or could note nothing.
    pub end: Option<End>,
    /// The crashes of earlier nodes of the name since one ended in good order.
    pub crashes_before: Option<Before>,
    /// Age of the region in seconds.
    pub age_s: Option<f64>,
    /// Age of the newest beat in seconds.
    pub beat_age_s: Option<f64>,
    /// The workers of the async runtime that have not come back for a second or longer.
    pub away_workers: Option<Vec<AwayWorker>>,
    /// Live actors by the counters; `None` also for a program without an actor system, unless it has some.
    pub actors: Option<u64>,
    /// Bytes of the file.
    pub bytes: Option<u64>,
    /// The path by which the region can be attached to.
    pub path: String,
    /// The former name of the file, if it has none any more.
    pub unlinked_from: Option<String>,
    /// The user of the node: the owner of the file, or of a dump the user that its header names.
    pub uid: Option<u64>,
    /// Name of the node's program.
    pub program: Option<String>,
    /// Name and version of the probe that wrote the region.
    pub writer_version: Option<String>,
    /// The time at which the region was made, in RFC 3339.
    pub created_at: Option<String>,
    /// The path for people.
    #[serde(skip)]
    pub shown_path: String,
    #[serde(skip)]
    is_alive: bool,
    /// The summary; `None` if the region cannot be read.
    #[serde(skip)]
    pub summary: Option<RegionSummary>,
}

impl NodeRow {
    fn new(found: FoundRegion) -> Self {
        let FoundRegion { pid, region } = found;
        match region {
            Ok(summary) => Self::readable(summary),
            Err(error) => Self::unreadable(pid, &error),
        }
    }

    fn readable(summary: RegionSummary) -> Self {
        let (pid, is_alive, shown_path) = (summary.pid(), summary.is_alive(), summary.shown_path());
        let RegionSummary {
            path,
            bytes,
            user,
            identity,
            liveness,
            live_actors,
            away_workers,
            dump_info,
            unlinked_from,
            ..
        } = summary.clone();
        let created = i128::from(identity.header.created_unix_ns);
        let verdict = liveness.verdict;
        let before = liveness.last_words.before;
        // A crash long ago is no news of a node that runs.
        let is_news = verdict.is_alive() && summary.age.is_some_and(|age| age < NEWS);
        let recent = before.text().filter(|_| {
            is_news && before.newest_before(&identity).is_some_and(|before_start| before_start < NEWS)
        });
        // A program without an actor system has no number of actors.
        let has_actors = identity.system.is_some() || verdict == Verdict::Starting;
        let live_actors = live_actors.filter(|live| has_actors || *live > 0);
        Self {
            pid: Some(pid),
            node: Some(identity.node),
            system: identity.system,
            state: verdict.word(),
            why: match dump_info {
                Some(info) => Some(format!("this is a dump, taken at {}", rfc3339(info.unix_ns))),
                None => {
                    let notice = away_workers.as_ref().and_then(|away| away.notice(&liveness));
                    let notice = notice.map(|notice| notice.text);
                    let why = liveness.why_with_age().into_iter().chain(recent).chain(notice);
                    let why: Vec<_> = why.collect();
                    (!why.is_empty()).then(|| why.join("; "))
                }
            },
            away_workers: away_workers.map(|away| away.list),
            conditions: Some(liveness.notes),
            end: liveness.last_words.end,
            crashes_before: Some(before),
            age_s: summary.age.map(seconds),
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
            summary: Some(summary),
        }
    }

    fn unreadable(pid: Option<u64>, error: &AttachError) -> Self {
        Self {
            pid,
            node: None,
            system: None,
            state: error.kind.word(),
            why: Some(error.kind.to_string()),
            conditions: None,
            end: None,
            crashes_before: None,
            age_s: None,
            beat_age_s: None,
            away_workers: None,
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
            summary: None,
        }
    }
}

/// All regions that can be found, live nodes first, with sentences about those that were passed over; or only the one in the
/// file `region`.
///
/// # Errors
/// The region directory cannot be read.
pub fn nodes(search: &Search, region: Option<&Path>) -> Result<(Vec<NodeRow>, Vec<String>), FindError> {
    let (found, notes) = match region {
        None => {
            let discovery = search.discover()?;
            let others = (discovery.other_users > 0).then(|| other_users_note(discovery.other_users));
            let notes = others.into_iter().chain(hidden_notes(&discovery.hidden())).collect();
            (discovery.regions, notes)
        }
        Some(path) => {
            let region = RegionSummary::read(path, None, search.max_bytes);
            (vec![FoundRegion { pid: region.as_ref().ok().map(RegionSummary::pid), region }], Vec::new())
        }
    };
    let mut rows: Vec<NodeRow> = found.into_iter().map(NodeRow::new).collect();
    rows.sort_by_key(|row| row.pid);
    let mut rows = newest_first(rows, |row| row.summary.as_ref());
    // By name. The sort is stable: of several nodes of a name the newest stays first.
    rows.sort_by(|a, b| {
        (b.is_alive, a.node.is_none(), &a.node).cmp(&(a.is_alive, b.node.is_none(), &b.node))
    });
    Ok((rows, notes))
}
