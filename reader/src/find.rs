//! Finding regions: all of a machine, or the one that a [`Target`] names.
//!
//! A search reads the region directory and the shared mappings of running processes. The mappings lead to files
//! that users chose, to regions of other mount namespaces and to deleted files; reading them needs the same user or
//! ptrace rights.

mod error;
mod name;
mod target;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use atomscope_layout::OpenError;
use atomscope_layout::decode::{Birth, Rank};
use atomscope_layout::names::put_text;
use atomscope_layout::region::header;

pub(crate) use self::error::hidden_notes;
pub use self::error::{FindError, other_users_note};
pub(crate) use self::name::PREFIX;
pub use self::name::{DEFAULT_DIR, RegionName};
pub use self::target::Target;
use crate::attach::{AttachError, AttachErrorKind, Inode, MAX_BYTES, Region, RegionSummary};
use crate::hidden::{self, Hidden};
use crate::liveness::Liveness;
use crate::process;
use crate::system;
use crate::text::{clean, clean_os, clean_path};

/// A search for regions. The default searches this whole machine.
///
/// ```no_run
/// use atomscope::find::{Search, Target};
///
/// let search = Search::default();
/// for found in search.discover()?.regions {
///     match found.region {
///         Ok(summary) => println!("{} is {}", summary.identity.node, summary.liveness),
///         Err(error) => println!("{error}"),
///     }
/// }
/// let orders = search.attach(&Target::Node("orders".into()))?;
/// println!("{} bytes", orders.region.bytes());
/// # Ok::<(), atomscope::find::FindError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Search {
    /// Search this directory only, and no processes.
    pub dir: Option<PathBuf>,
    /// Refuse regions of more bytes; [`MAX_BYTES`] by default.
    pub max_bytes: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { dir: None, max_bytes: MAX_BYTES }
    }
}

/// A region that a search found, whether or not it can be read.
#[derive(Debug)]
pub struct FoundRegion {
    /// The node's process, by the header, the file name or the mapping.
    pub pid: Option<u64>,
    /// The summary, or why there is none.
    pub region: Result<RegionSummary, AttachError>,
}

/// The result of a search.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The regions, in no particular order.
    pub regions: Vec<FoundRegion>,
    /// Number of regions of other users, which were not read.
    pub other_users: usize,
    seen: HashSet<Inode>,
    /// Processes to which a region belongs, by its name or its header.
    named: HashSet<u64>,
    /// Processes whose mappings this program may not read.
    refused: Vec<u32>,
}

/// The summary of the region that a target names.
#[derive(Debug)]
pub struct SelectedRegion {
    /// The summary.
    pub summary: RegionSummary,
    /// A sentence about the choice, if there were several candidates.
    pub note: Option<String>,
}

/// The region that a target names, attached.
#[derive(Debug)]
pub struct AttachedRegion {
    /// The region.
    pub region: Region,
    /// The verdict on its node.
    pub liveness: Liveness,
    /// A sentence about the choice, if there were several candidates.
    pub note: Option<String>,
}

impl Search {
    /// Finds all regions. Reads the summary of each, and `/proc/PID/maps` of each process unless [`Self::dir`] is set.
    ///
    /// # Errors
    /// The region directory cannot be read. A region that cannot be read is part of the result.
    pub fn discover(&self) -> Result<Discovery, FindError> {
        let mut discovery = Discovery::default();
        self.add_named(self.dir(), &mut discovery)?;
        if self.dir.is_none() {
            for pid in process::all() {
                // A process that ended in between is no error.
                let added = self.add_mapped(pid, &mut discovery);
                if added.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
                    discovery.refused.push(pid);
                }
            }
        }
        Ok(discovery)
    }

    /// The region directory that is searched.
    pub fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(DEFAULT_DIR))
    }

    /// Whether a region lies in the region directory under the name that its probe gave it. Dumps and files that a user
    /// named do not.
    pub fn is_probe_named(&self, summary: &RegionSummary) -> bool {
        let header = summary.identity.header;
        let is_given = RegionName::of(&summary.path)
            .is_some_and(|name| (name.uid, name.pid) == (header.uid, header.pid));
        summary.dump_info.is_none() && is_given && summary.path.parent() == Some(self.dir())
    }

    /// Attaches to the region that `target` names; see [`Self::select`] and [`Region::open`].
    ///
    /// # Errors
    /// There is no such region, there are several nodes and `target` names none, or the region cannot be attached to.
    pub fn attach(&self, target: &Target) -> Result<AttachedRegion, FindError> {
        let SelectedRegion { summary, note } = self.select(target)?;
        let region = summary.open(self.max_bytes)?;
        let liveness = region.liveness()?;
        Ok(AttachedRegion { region, liveness, note })
    }

    /// Reads the summary of the region that `target` names. If it names several, a live node is preferred to a dead one,
    /// then a newer one to an older one.
    ///
    /// # Errors
    /// There is no such region, there are several nodes and `target` names none, or the region cannot be read.
    pub fn select(&self, target: &Target) -> Result<SelectedRegion, FindError> {
        match target {
            Target::File(path) => {
                Ok(SelectedRegion { summary: RegionSummary::read(path, None, self.max_bytes)?, note: None })
            }
            Target::Process { pid, system } => self.of_process(*pid, system.as_deref()),
            Target::NoProcess(digits) => Err(FindError::NoProcess(digits.clone())),
            Target::Node(name) => self.of_node(name),
            Target::Only => self.only(),
        }
    }

    /// Whether `target` names this region. Of several regions that a target names, all do.
    pub fn is_meant(&self, target: &Target, summary: &RegionSummary) -> bool {
        match target {
            Target::Only => true,
            Target::NoProcess(_) => false,
            Target::Node(name) => is_named(summary, name),
            Target::File(path) => summary.path == *path,
            Target::Process { pid, system } => {
                let name = summary.identity.system.as_deref().unwrap_or_default();
                let is_system =
                    system.as_deref().is_none_or(|system| same_text(system, name, header::SYSTEM));
                summary.pid() == *pid && is_system
            }
        }
    }

    /// The summary of the first of `targets` that is a live node, made later than `last` and none of `known`. `None` if
    /// there is none yet; errors count as that.
    pub fn successor(
        &self,
        targets: impl IntoIterator<Item = Target>,
        last: Option<Birth>,
        known: &[Inode],
    ) -> Option<RegionSummary> {
        let selected = targets.into_iter().filter_map(|target| self.select(&target).ok());
        selected.map(|selected| selected.summary).find(|summary| {
            let is_later = last.is_none_or(|last| summary.identity.birth().is_after(&last));
            summary.is_alive() && is_later && !known.contains(&summary.inode)
        })
    }

    fn of_process(&self, pid: u64, system: Option<&OsStr>) -> Result<SelectedRegion, FindError> {
        let mut discovery = Discovery::default();
        self.add_named(self.dir(), &mut discovery)?;
        let local = u32::try_from(pid).ok();
        let mut hidden = None;
        if let (None, Some(local)) = (&self.dir, local) {
            hidden = self.add_mapped(local, &mut discovery).err();
            // A process with a /dev/shm of its own may have regions of dead predecessors there.
            let its_dir = PathBuf::from(format!("/proc/{local}/root{DEFAULT_DIR}"));
            let _ = self.add_named(&its_dir, &mut discovery);
        }
        let (mut readable, unreadable) = discovery.split(|found| found.pid == Some(pid));
        // The number that a process has in another pid namespace counts only if no process here has it.
        if readable.iter().any(|summary| summary.process.is_some()) {
            readable.retain(|summary| summary.process.is_some() || !summary.is_alive());
        }
        let systems: Vec<_> = readable.iter().map(system_name).collect();
        let wanted: Vec<_> = readable
            .into_iter()
            .filter(|summary| {
                let name = summary.identity.system.as_deref().unwrap_or_default();
                system.is_none_or(|system| same_text(system, name, header::SYSTEM))
            })
            .collect();
        if let Some(chosen) = choose(wanted) {
            return Ok(chosen);
        }
        if let Some(system) = system.filter(|_| !systems.is_empty()) {
            return Err(FindError::NoSystem { pid, system: quoted(system), systems });
        }
        if let Some(error) = unreadable.into_iter().next() {
            return Err(error.into());
        }
        let name = local.and_then(process::name).map(|name| clean_os(&name));
        let (Some(local), Some(name)) = (local, name) else {
            let behind = local.and_then(Hidden::behind_proc).map(FindError::Hidden);
            return Err(behind.unwrap_or_else(|| FindError::NoProcess(pid.to_string())));
        };
        Err(match hidden {
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                FindError::Hidden(Hidden::of(local))
            }
            _ => FindError::NoRegion { pid, name },
        })
    }

    fn of_node(&self, name: &OsStr) -> Result<SelectedRegion, FindError> {
        let discovery = self.discover()?;
        let (other_users, hidden) = (discovery.other_users, discovery.hidden());
        let (readable, unreadable) = discovery.split(|_| true);
        let named = readable.into_iter().filter(|summary| is_named(summary, name));
        choose(named.collect()).ok_or_else(|| FindError::NoNode {
            name: quoted(name),
            // A hint only; a bare name is never opened as a file.
            is_file: !name.as_bytes().contains(&b'/') && Path::new(name).is_file(),
            other_users,
            unreadable: unreadable.len(),
            hidden,
        })
    }

    fn only(&self) -> Result<SelectedRegion, FindError> {
        let discovery = self.discover()?;
        let (other_users, hidden) = (discovery.other_users, discovery.hidden());
        let (readable, mut unreadable) = discovery.split(|_| true);
        if readable.is_empty() && unreadable.len() == 1 {
            return Err(unreadable.remove(0).into());
        }
        // Several live nodes are ambiguous. Several dead ones are too, unless all have the same name.
        let living: Vec<_> = readable.iter().filter(|summary| summary.is_alive()).collect();
        let nodes: HashSet<_> = readable.iter().map(|summary| &summary.identity.node).collect();
        let several: Vec<_> = match living.len() {
            0 if nodes.len() > 1 => readable.iter().collect(),
            0 | 1 => Vec::new(),
            _ => living,
        };
        if !several.is_empty() {
            return Err(FindError::Ambiguous(describe(&several)));
        }
        choose(readable).ok_or(FindError::Nothing { other_users, unreadable: unreadable.len(), hidden })
    }

    /// Adds the regions in `dir` that probes named.
    fn add_named(&self, dir: &Path, discovery: &mut Discovery) -> Result<(), FindError> {
        let failed = |error| FindError::Directory { dir: dir.to_owned(), error };
        let entries = match fs::read_dir(dir) {
            // A machine without /dev/shm has no such regions, but a directory that the user named must exist.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.dir.is_none() => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.as_bytes().starts_with(PREFIX.as_bytes()) {
                let path = entry.path();
                self.add(&path, RegionName::of(&path).map(|segment| segment.pid), None, discovery);
            }
        }
        Ok(())
    }

    /// Adds the regions that process `pid` has mapped.
    ///
    /// # Errors
    /// Its mappings cannot be read, or not all of them could be opened.
    fn add_mapped(&self, pid: u32, discovery: &mut Discovery) -> io::Result<()> {
        let (files, rest) = process::shared_files(pid)?;
        for path in files {
            self.add(&path, None, Some(pid), discovery);
        }
        rest
    }

    /// Adds the file `path`, once: its name has the process id `named`, or process `mapped_by` has it mapped.
    fn add(&self, path: &Path, named: Option<u64>, mapped_by: Option<u32>, discovery: &mut Discovery) {
        let meta = if mapped_by.is_some() { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let Ok(meta) = meta else { return };
        if !discovery.seen.insert(Inode::of(&meta)) {
            return;
        }
        discovery.named.extend(named);
        let user = system::user();
        if mapped_by.is_none() && user != 0 && meta.uid() != user {
            // Links and directories are no regions.
            discovery.other_users += usize::from(meta.is_file());
            return;
        }
        let region = RegionSummary::read(path, mapped_by, self.max_bytes);
        if let (Some(_), Err(AttachError { kind, .. })) = (mapped_by, &region) {
            // Processes share many files that are no regions.
            let is_region = match kind {
                AttachErrorKind::Layout(error) => {
                    !matches!(error, OpenError::NotARegion { .. } | OpenError::NotReady)
                }
                AttachErrorKind::Writable { .. }
                | AttachErrorKind::OwnerMismatch { .. }
                | AttachErrorKind::OthersProcess { .. }
                | AttachErrorKind::OtherProcess { .. }
                | AttachErrorKind::HardLinks { .. }
                | AttachErrorKind::TooLarge { .. } => true,
                _ => false,
            };
            if !is_region {
                return;
            }
        }
        if let Err(AttachError { kind: AttachErrorKind::Missing, .. }) = region {
            return;
        }
        let pid = region.as_ref().map_or(named.or(mapped_by.map(u64::from)), |summary| Some(summary.pid()));
        discovery.named.extend(pid);
        discovery.regions.push(FoundRegion { pid, region });
    }
}

impl Discovery {
    /// Nodes without a region in the result because this program may not read their mappings. Reads the names of the
    /// threads of such processes.
    pub fn hidden(&self) -> Vec<Hidden> {
        let is_missing = |pid: &&u32| !self.named.contains(&u64::from(**pid)) && hidden::is_node(**pid);
        self.refused.iter().filter(is_missing).map(|pid| Hidden::of(*pid)).collect()
    }

    /// The summaries of those that `is_wanted` is true of, and why the others have none.
    fn split(self, is_wanted: impl Fn(&FoundRegion) -> bool) -> (Vec<RegionSummary>, Vec<AttachError>) {
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for found in self.regions.into_iter().filter(is_wanted) {
            match found.region {
                Ok(summary) => readable.push(summary),
                Err(error) => unreadable.push(error),
            }
        }
        (readable, unreadable)
    }
}

/// Sorts rows by the births of their regions, the newest first; rows without a summary come last.
pub(crate) fn newest_first<T>(rows: Vec<T>, summary: impl Fn(&T) -> Option<&RegionSummary>) -> Vec<T> {
    let births: Vec<Birth> =
        rows.iter().filter_map(|row| summary(row).map(|summary| summary.identity.birth())).collect();
    let mut ranks = Birth::ranks(&births, process::boot_id()).into_iter();
    let mut ranked: Vec<(Option<Rank>, T)> =
        rows.into_iter().map(|row| (summary(&row).and_then(|_| ranks.next()), row)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.cmp(a));
    ranked.into_iter().map(|(_, row)| row).collect()
}

/// The newest live candidate, else the newest dead one, with a sentence about the others.
fn choose(candidates: Vec<RegionSummary>) -> Option<SelectedRegion> {
    let mut candidates = newest_first(candidates, |summary| Some(summary));
    // A stable sort: the newest stays first among the live and among the dead.
    candidates.sort_by_key(|summary| !summary.is_alive());
    let note = (candidates.len() > 1).then(|| {
        let described: Vec<_> = describe(&candidates.iter().collect::<Vec<_>>())
            .into_iter()
            .zip(&candidates)
            .map(|(text, summary)| format!("{text} ({})", summary.liveness.verdict.word()))
            .collect();
        format!("using {}, not {}", described[0], described[1..].join(", "))
    });
    Some(SelectedRegion { summary: candidates.into_iter().next()?, note })
}

/// Node, process and system of each, in the form in which a user can name it. Processes of several containers can have
/// all of that in common; for these the file is added.
fn describe(summaries: &[&RegionSummary]) -> Vec<String> {
    let texts: Vec<_> = summaries
        .iter()
        .map(|summary| {
            let node = quoted(OsStr::new(&summary.identity.node));
            match summary.identity.system {
                Some(_) => format!("{node} {}/{}", summary.pid(), system_name(summary)),
                None => format!("{node} {}", summary.pid()),
            }
        })
        .collect();
    let is_shared = |text: &String| texts.iter().filter(|other| *other == text).count() > 1;
    let with_file = |(text, summary): (&String, &&RegionSummary)| match is_shared(text) {
        true => format!("{text} in {}", clean_path(&summary.path)),
        false => text.clone(),
    };
    texts.iter().zip(summaries).map(with_file).collect()
}

fn system_name(summary: &RegionSummary) -> String {
    summary
        .identity
        .system
        .as_deref()
        .map_or_else(|| "(none yet)".to_owned(), |name| clean(name).into_owned())
}

/// A name as it was given, safe to print; in quotes if it is empty or has spaces.
fn quoted(name: &OsStr) -> String {
    let text = clean_os(name);
    if text.is_empty() || text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}

/// Whether the region's node has this name. A name that is too long for the header counts as what the header keeps of it.
pub fn is_named(summary: &RegionSummary, name: &OsStr) -> bool {
    same_text(name, &summary.identity.node, header::NODE)
}

/// Whether `cell` of a header holds `name` as `held`: the probe cuts names that do not fit.
fn same_text(name: &OsStr, held: &str, cell: std::ops::Range<usize>) -> bool {
    let Some(name) = name.to_str() else { return false };
    let mut buffer = vec![0; (cell.len() - 1) * 8];
    let max = buffer.len();
    let (kept, _) = put_text(&mut buffer, max, name);
    buffer.get(..kept) == Some(held.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_process_can_have_is_no_process() {
        for digits in ["18446744073709551616", "99999999999999999999999"] {
            let error =
                Search::default().select(&Target::NoProcess(digits.to_owned())).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no process {digits},")), "{error}");
        }
    }

    #[test]
    fn a_long_name_is_the_same_as_what_its_cell_keeps_of_it() {
        let long = "n".repeat(10_000);
        let kept = format!("{}…", "n".repeat(245));
        assert!(same_text(OsStr::new(&long), &kept, header::NODE));
        assert!(!same_text(OsStr::new("n"), &kept, header::NODE));
        assert!(!same_text(OsStr::from_bytes(b"\xff"), "\u{fffd}", header::NODE));
    }
}
