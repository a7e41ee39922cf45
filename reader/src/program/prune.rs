//! `prune`: removes what dead nodes have left.
//!
//! Nothing is removed but named segments of dead nodes, and of nodes that died before their region was ready. Each is
//! looked at again right before, through the directory as it was when it was searched. A file that takes its name in the
//! moment after that was put there by somebody who could have removed it as well: in a directory as `/dev/shm` only the
//! owner of a file and root may take its name from it.
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomscope::attach::{AttachError, AttachErrorKind, Inode, RegionSummary};
use atomscope::find::{FindError, Found, Segment, is_named, others_note};
use atomscope::liveness::{Evidence, Lock, Verdict};
use atomscope::process;
use atomscope::text::{clean, clean_path, write_json};
use atomscope_layout::decode::rfc3339;
use serde::Serialize;

use crate::program::output::{Failure, Out, note, to_people, to_stdout};
use crate::program::target::{SearchArgs, search};
use atomscope::find::is_segment;
use atomscope::report::human::{bytes, count};
use atomscope::system::user;
use clap::Args;
use std::ffi::OsString;

/// Remove what dead nodes have left in shared memory. This deletes the evidence of crashes.
#[derive(Debug, Args)]
#[command(after_help = "\
Only named segments of dead nodes are removed, your own, or as root everybody's; they are looked at again right \
before. So is what a node left that died before it was ready, a minute later. What a living node uses, a file that \
somebody named, a dump, or what cannot be judged is never touched.

Examples:
  atomscope prune --dry-run
  atomscope prune --node shop
  atomscope dump shop --format raw -o shop.raw && atomscope prune --node shop")]
pub struct PruneArgs {
    /// Only say what would be removed.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Only what nodes of this name have left.
    #[arg(long, value_name = "NAME")]
    pub node: Option<OsString>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

/// A region that is not ready after this long never will be, if its process is gone.
const STARTED: Duration = Duration::from_secs(60);

/// A region that is removed, would be, or could not be.
#[derive(Debug, Serialize)]
struct Row {
    pid: u64,
    /// `None` if it was never ready.
    node: Option<String>,
    system: Option<String>,
    state: &'static str,
    path: String,
    bytes: u64,
    uid: u64,
    created_at: Option<String>,
    removed: bool,
    /// Why it is still there.
    why: Option<String>,
}

pub fn prune(place: &SearchArgs, args: &PruneArgs) -> Result<(), Failure> {
    if place.region.is_some() {
        let why = "prune removes named segments of dead nodes, never a file that you name; `rm` does that";
        return Err(Failure::Usage(why.into()));
    }
    let search = search(place);
    let discovery = search.all()?;
    let dir = Dir::open(search.dir())?;
    let mut rows = Vec::new();
    let mut unknown = 0;
    for Found { region, .. } in discovery.found {
        let Some(dir) = &dir else { break };
        match region {
            Ok(glance) => {
                let wanted = args.node.as_deref().is_none_or(|name| is_named(&glance, name));
                if !wanted || !is_segment(&glance, search.dir()) || glance.is_alive() {
                    continue;
                }
                if glance.liveness.evidence == Evidence::Heartbeat {
                    unknown += 1;
                    continue;
                }
                rows.push(row(&glance, dir, args.dry_run));
            }
            Err(error) if error.path.parent() == Some(search.dir()) && args.node.is_none() => {
                match Unready::of(&error) {
                    Some(unready) => rows.push(unready.row(dir, args.dry_run)),
                    None => unknown += 1,
                }
            }
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

fn row(glance: &RegionSummary, dir: &Dir, dry_run: bool) -> Row {
    let is_still_dead = |inside: &Path| {
        RegionSummary::take(inside, glance.process, u64::MAX)
            .is_ok_and(|now| now.inode == glance.inode && now.identity == glance.identity && !now.is_alive())
    };
    let why = if dry_run { None } else { dir.remove(&glance.path, is_still_dead) };
    Row {
        pid: glance.pid(),
        node: Some(glance.identity.node.clone()),
        system: glance.identity.system.clone(),
        state: glance.liveness.verdict.word(),
        path: glance.path.to_string_lossy().into_owned(),
        bytes: glance.bytes,
        uid: glance.user,
        created_at: Some(rfc3339(i128::from(glance.identity.header.created_unix_ns))),
        removed: why.is_none() && !dry_run,
        why,
    }
}

/// What a node left that died before its region was ready.
struct Unready<'a> {
    path: &'a Path,
    inode: Inode,
    pid: u64,
    bytes: u64,
    uid: u32,
}

impl<'a> Unready<'a> {
    /// If that is what it certainly is: of a name as a probe gives it, of ours, without a lock, and not touched for long
    /// enough; and no process has the number of its name that could have made it.
    fn of(error: &'a AttachError) -> Option<Self> {
        let path = error.path.as_path();
        let pid = Segment::of(path)?.pid;
        let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let is_ours = [meta.uid(), 0].contains(&user());
        let age = meta.modified().ok()?.elapsed().ok()?;
        if !is_unready(error) || !is_ours || age < STARTED {
            return None;
        }
        // The number may be one of another namespace. A process that is younger than the file did not make it.
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
            same && RegionSummary::take(inside, None, u64::MAX).is_err_and(|error| is_unready(&error))
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
    matches!(error.why, AttachErrorKind::NotReady { verdict: Verdict::NotReady { lock: Lock::Free } })
}

/// A directory, which stays the one that it is whatever its path comes to lead to.
struct Dir(File);

impl Dir {
    /// `None` if it is not there. (What should be there and is not, the search has told of.)
    fn open(path: &Path) -> Result<Option<Self>, FindError> {
        match File::open(path) {
            Ok(dir) => Ok(Some(Self(dir))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FindError::Directory { dir: path.to_owned(), error }),
        }
    }

    /// Removes the file that `path` names in it, if `is_still_dead` says so of where it is; else says why not.
    fn remove(&self, path: &Path, is_still_dead: impl Fn(&Path) -> bool) -> Option<String> {
        let inside = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(path.file_name()?);
        if !is_still_dead(&inside) {
            return Some("it is not what it was a moment ago".to_owned());
        }
        fs::remove_file(inside).err().map(|error| clean(&error.to_string()).into_owned())
    }
}

fn tell(rows: &[Row], args: &PruneArgs) -> Result<(), Failure> {
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
