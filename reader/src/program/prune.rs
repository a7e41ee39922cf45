//! `prune`: removes the regions of dead nodes.
//!
//! Only files are removed that a probe has named and whose node is dead, or died before its region was ready. Each is
//! checked again right before it is removed, through the descriptor of the directory that was searched. A file that gets
//! its name after that check was put there by somebody who could have removed it too: in a directory like `/dev/shm` only
//! the owner of a file and root can free its name.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope::attach::{AttachError, AttachErrorKind, Inode, RegionSummary};
use atomscope::find::{FindError, FoundRegion, RegionName, is_named, other_users_note};
use atomscope::liveness::{Evidence, Lock, Verdict};
use atomscope::process;
use atomscope::report::human::{bytes, count};
use atomscope::system::user;
use atomscope::text::{clean, clean_path, write_json};
use atomscope_layout::decode::rfc3339;
use clap::Args;
use serde::Serialize;

use crate::program::output::{Failure, Out, note, to_people, to_stdout};
use crate::program::target::{SearchArgs, search};

/// Remove the regions of dead nodes from shared memory. This deletes the evidence of crashes.
#[derive(Debug, Args)]
#[command(after_help = "\
Removes your own regions of dead nodes, or as root those of all users. A region of a node that died before it was ready \
is removed after a minute. Each region is checked again right before it is removed. Never removed are regions of live \
nodes, regions that a process has closed and will remove itself, files that a user has named, dumps, and regions whose node may still be alive.

--json writes an array of regions: pid, node, system, state, path, bytes, uid, created_at, removed, and why (of a \
region that could not be removed).

Exit code: 0; 1 if a region could not be removed, or the regions cannot be searched.

Examples:
  atomscope prune --dry-run
  atomscope prune --node shop
  atomscope dump shop --format raw -o shop.raw && atomscope prune --node shop")]
pub struct PruneArgs {
    /// Only show what would be removed.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Only regions of nodes with this name.
    #[arg(long, value_name = "NAME")]
    pub node: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

/// A region without a process that is not ready after this time never will be.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A region that was removed, would be removed, or could not be removed.
#[derive(Debug, Serialize)]
struct Row {
    pid: u64,
    /// `None` if the region was never ready.
    node: Option<String>,
    system: Option<String>,
    state: &'static str,
    path: String,
    bytes: u64,
    uid: u64,
    created_at: Option<String>,
    removed: bool,
    /// Why the region could not be removed.
    why: Option<String>,
}

pub fn prune(search_args: &SearchArgs, args: &PruneArgs) -> Result<(), Failure> {
    if search_args.region.is_some() {
        let why = "prune removes regions of dead nodes in shared memory, and never a file that --region names; \
                   remove that with `rm`";
        return Err(Failure::usage_of("prune", why));
    }
    let search = search(search_args);
    let discovery = search.discover()?;
    let dir = Dir::open(search.dir())?;
    let mut rows = Vec::new();
    let mut doubtful = 0;
    for FoundRegion { region, .. } in discovery.regions {
        let Some(dir) = &dir else { break };
        match region {
            Ok(summary) => {
                let wanted = args.node.as_deref().is_none_or(|name| is_named(&summary, name));
                if !wanted || !search.is_probe_named(&summary) || !summary.is_evidence() {
                    continue;
                }
                if summary.liveness.evidence == Evidence::Heartbeat {
                    doubtful += 1;
                    continue;
                }
                rows.push(row(&summary, dir, args.dry_run));
            }
            Err(error) if error.path.parent() == Some(search.dir()) && args.node.is_none() => {
                match Unready::of(&error) {
                    Some(unready) => rows.push(unready.row(dir, args.dry_run)),
                    None => doubtful += 1,
                }
            }
            Err(_) => {}
        }
    }
    report(&rows, args)?;
    if doubtful > 0 {
        let kept = count(doubtful, "region was", "regions were");
        note(&format!(
            "{kept} kept, because it is unknown whether the node is dead; `atomscope ps` says why"
        ));
    }
    if discovery.other_users > 0 {
        note(&other_users_note(discovery.other_users));
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

fn row(summary: &RegionSummary, dir: &Dir, dry_run: bool) -> Row {
    let is_still_dead = |inside: &Path| {
        RegionSummary::read(inside, summary.process, u64::MAX).is_ok_and(|now| {
            now.inode == summary.inode && now.identity == summary.identity && now.is_evidence()
        })
    };
    let why = if dry_run { None } else { dir.remove(&summary.path, is_still_dead) };
    Row {
        pid: summary.pid(),
        node: Some(summary.identity.node.clone()),
        system: summary.identity.system.clone(),
        state: summary.liveness.verdict.word(),
        path: summary.path.to_string_lossy().into_owned(),
        bytes: summary.bytes,
        uid: summary.user,
        created_at: Some(rfc3339(i128::from(summary.identity.header.created_unix_ns))),
        removed: why.is_none() && !dry_run,
        why,
    }
}

/// The region of a node that died before the region was ready.
struct Unready<'a> {
    path: &'a Path,
    inode: Inode,
    pid: u64,
    bytes: u64,
    uid: u32,
}

impl<'a> Unready<'a> {
    /// Only if that is certain: a probe gave the file its name, it is ours, it has no lock, it is old enough, and no process
    /// with the pid in its name could have made it.
    fn of(error: &'a AttachError) -> Option<Self> {
        let path = error.path.as_path();
        let pid = RegionName::of(path)?.pid;
        let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let is_ours = [meta.uid(), 0].contains(&user());
        let age = meta.modified().ok()?.elapsed().ok()?;
        if !is_unready(error) || !is_ours || age < READY_WITHIN {
            return None;
        }
        // The pid may be one of a pid namespace. A process that is younger than the file did not make it.
        let may_have_made = |process: &u32| {
            process::innermost_pid(*process) == Some(pid)
                && process::age(*process).is_none_or(|process| process >= age)
        };
        let is_gone = !process::all().iter().any(may_have_made);
        let (inode, bytes, uid) = (Inode::of(&meta), meta.len(), meta.uid());
        is_gone.then_some(Self { path, inode, pid, bytes, uid })
    }

    fn row(&self, dir: &Dir, dry_run: bool) -> Row {
        let is_still_dead = |inside: &Path| {
            let same = fs::symlink_metadata(inside).is_ok_and(|meta| Inode::of(&meta) == self.inode);
            same && RegionSummary::read(inside, None, u64::MAX).is_err_and(|error| is_unready(&error))
        };
        let why = if dry_run { None } else { dir.remove(self.path, is_still_dead) };
        Row {
            pid: self.pid,
            node: None,
            system: None,
            state: Verdict::NotReady { lock: Lock::Free }.word(),
            path: self.path.to_string_lossy().into_owned(),
            bytes: self.bytes,
            uid: u64::from(self.uid),
            created_at: None,
            removed: why.is_none() && !dry_run,
            why,
        }
    }
}

fn is_unready(error: &AttachError) -> bool {
    matches!(error.kind, AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock: Lock::Free } })
}

/// An open directory: the same one even if its path is renamed or replaced.
struct Dir(File);

impl Dir {
    /// `None` if the directory does not exist. (The search has already reported a missing directory that was named.)
    fn open(path: &Path) -> Result<Option<Self>, FindError> {
        match File::open(path) {
            Ok(dir) => Ok(Some(Self(dir))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FindError::Directory { dir: path.to_owned(), error }),
        }
    }

    /// Removes the file of `path` from this directory if `is_still_dead` confirms it. Returns why it was not removed.
    fn remove(&self, path: &Path, is_still_dead: impl Fn(&Path) -> bool) -> Option<String> {
        let inside = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(path.file_name()?);
        if !is_still_dead(&inside) {
            return Some("it has changed since it was checked".to_owned());
        }
        fs::remove_file(inside).err().map(|error| clean(&error.to_string()).into_owned())
    }
}

fn report(rows: &[Row], args: &PruneArgs) -> Result<(), Failure> {
    let write = |out: &mut Out<'_>| {
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
            let node = row.node.as_ref().map(|node| format!("node {}, ", clean(node))).unwrap_or_default();
            let (pid, state) = (row.pid, row.state);
            writeln!(out, "{done} {path} ({node}process {pid}, {state}, {}){why}", bytes(row.bytes))?;
        }
        Ok(())
    };
    if args.json { to_stdout(write) } else { to_people(write) }?;
    let gone: Vec<_> = rows.iter().filter(|row| row.removed || args.dry_run).collect();
    let sum = bytes(gone.iter().fold(0, |sum, row| sum.saturating_add(row.bytes)));
    match (gone.len() as u64, args.dry_run) {
        (0, _) => note("no dead regions to remove"),
        (n, true) => note(&format!(
            "would remove {}, {sum}, the only evidence of how those nodes ended; \
             `atomscope dump PATH --format raw -o FILE` keeps a copy",
            count(n, "dead region", "dead regions")
        )),
        (n, false) => note(&format!(
            "removed {}, {sum}, the only evidence of how those nodes ended",
            count(n, "dead region", "dead regions")
        )),
    }
    Ok(())
}
