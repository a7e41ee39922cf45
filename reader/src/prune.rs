//! `prune`: removes what dead nodes have left.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use atomscope::attach::Region;
use atomscope::find::{Found, PREFIX, is_named, others_note};
use atomscope::liveness::{Evidence, Liveness};
use atomscope::text::{clean, clean_path, write_json};
use atomscope_layout::decode::rfc3339;
use serde::Serialize;

use crate::cli::{self, Place};
use crate::commands::search;
use crate::human::{bytes, count};
use crate::output::{Failure, note, to_stdout};

/// A region that is removed, would be, or could not be.
#[derive(Debug, Serialize)]
struct Row {
    pid: u64,
    node: String,
    system: Option<String>,
    state: &'static str,
    path: String,
    bytes: u64,
    uid: u64,
    created_at: String,
    removed: bool,
    /// Why it is still there.
    why: Option<String>,
}

pub fn prune(place: &Place, args: &cli::Prune) -> Result<(), Failure> {
    if place.region.is_some() {
        let why = "prune removes named segments of dead nodes, never a file that you name; `rm` does that";
        return Err(Failure::Usage(why.into()));
    }
    let search = search(place);
    let discovery = search.all()?;
    let mut rows = Vec::new();
    let mut unknown = 0;
    for Found { region, .. } in discovery.found {
        match region {
            Ok((region, liveness)) => {
                let wanted = args.node.as_deref().is_none_or(|name| is_named(&region, name));
                if !wanted || !is_segment(&region, search.dir()) || liveness.verdict.is_alive() {
                    continue;
                }
                if liveness.evidence == Evidence::Heartbeat {
                    unknown += 1;
                    continue;
                }
                rows.push(remove(&region, liveness, args.dry_run));
            }
            Err(error) if error.path.parent() == Some(search.dir()) && args.node.is_none() => unknown += 1,
            Err(_) => {}
        }
    }
    tell(&rows, args)?;
    if unknown > 0 {
        let left = count(unknown, "region that cannot be judged was", "regions that cannot be judged were");
        note(&format!("{left} left alone; `atomscope ps` says why"));
    }
    if discovery.of_others > 0 {
        note(&others_note(discovery.of_others));
    }
    let failed = rows.iter().filter(|row| row.why.is_some()).count();
    if failed > 0 && !args.dry_run {
        return Err(Failure::Failed(format!(
            "{} could not be removed",
            count(failed as u64, "region", "regions")
        )));
    }
    Ok(())
}

/// Whether it is a segment under the name that a probe gave it, and not a file that a user named, or a dump.
fn is_segment(region: &Region, dir: &Path) -> bool {
    let header = region.identity().header;
    let given = format!("{PREFIX}{}-{}-", header.uid, header.pid);
    let name = region.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_given = name
        .strip_prefix(&given)
        .is_some_and(|random| random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()));
    region.dumped().is_none() && is_given && region.path().parent() == Some(dir)
}

fn remove(region: &Region, liveness: Liveness, dry_run: bool) -> Row {
    let identity = region.identity();
    let why = if dry_run {
        None
    } else if !region.is_still_dead_at(region.path()) {
        Some("it is not what it was a moment ago".to_owned())
    } else {
        fs::remove_file(region.path()).err().map(|error| clean(&error.to_string()).into_owned())
    };
    Row {
        pid: region.pid(),
        node: identity.node.clone(),
        system: identity.system.clone(),
        state: liveness.verdict.word(),
        path: region.path().to_string_lossy().into_owned(),
        bytes: region.bytes(),
        uid: identity.header.uid,
        created_at: rfc3339(i128::from(identity.header.created_unix_ns)),
        removed: why.is_none() && !dry_run,
        why,
    }
}

fn tell(rows: &[Row], args: &cli::Prune) -> Result<(), Failure> {
    to_stdout(|out| {
        if args.json {
            return write_json(out, &rows);
        }
        for row in rows {
            let done = match (&row.why, args.dry_run) {
                (Some(_), _) => "cannot remove",
                (None, true) => "would remove",
                (None, false) => "removed",
            };
            let why = row.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let path = clean_path(Path::new(&row.path));
            let (node, pid, state) = (clean(&row.node), row.pid, row.state);
            writeln!(out, "{done} {path} (node {node}, process {pid}, {state}, {}){why}", bytes(row.bytes))?;
        }
        Ok(())
    })?;
    let gone: Vec<_> = rows.iter().filter(|row| row.removed || args.dry_run).collect();
    let sum = bytes(gone.iter().fold(0, |sum, row| sum.saturating_add(row.bytes)));
    match (gone.len() as u64, args.dry_run) {
        (0, _) => note("no dead regions to remove"),
        (n, true) => note(&format!(
            "would remove {}, {sum}, and with it the evidence of how those nodes ended; \
             `atomscope dump PATH --format raw -o FILE` keeps a copy",
            count(n, "dead region", "dead regions")
        )),
        (n, false) => note(&format!(
            "removed {}, {sum}, and with it the evidence of how those nodes ended",
            count(n, "dead region", "dead regions")
        )),
    }
    Ok(())
}
