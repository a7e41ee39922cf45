//! Which regions there are, and which of them is meant.
//!
//! Regions are looked for in `/dev/shm` and among the shared mappings of the running processes that this user may look
//! into; the latter finds user-named files, other mount namespaces and unlinked objects.
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use atomscope_layout::OpenError;
use atomscope_layout::decode::{Birth, Rank};
use atomscope_layout::names::put_text;
use atomscope_layout::region::header;

use crate::attach::{AttachError, AttachErrorKind, Inode, MAX_BYTES, Region, RegionSummary};
use crate::hidden::{self, Hidden};
use crate::liveness::Liveness;
use crate::process;
use crate::system;
use crate::text::{clean, clean_os, clean_path};

/// Where named segments are.
pub const DEFAULT_DIR: &str = "/dev/shm";
/// What the names of their files start with.
pub const PREFIX: &str = "atomscope-";

/// What is said where a dead node is not found: nothing leads from its name or process to a file of its own choice.
const BY_PATH: &str =
    "what a dead node has left in a file that it was told to use is found by the file's path alone";

/// Which region is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The only one.
    Only,
    /// That of a process, and of one actor system in it if it has several.
    Process {
        /// Process id.
        pid: u64,
        /// The system's name.
        system: Option<OsString>,
    },
    /// That of a process of a number that none can have: these digits.
    NoProcess(String),
    /// That in a file.
    File(PathBuf),
    /// That of the node of this name.
    Node(OsString),
}

impl Who {
    /// All digits are a pid, `PID/SYSTEM` one of its systems; what contains `/` or ends in `.raw` or `.rec` is a file;
    /// the rest is a node's name.
    pub fn parse(text: &OsStr) -> Self {
        let bytes = text.as_bytes();
        let (head, system) = match bytes.iter().position(|byte| *byte == b'/') {
            Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
            None => (bytes, None),
        };
        if !head.is_empty() && head.iter().all(u8::is_ascii_digit) {
            let digits = String::from_utf8_lossy(head).into_owned();
            return match digits.parse() {
                Ok(pid) => Self::Process { pid, system },
                Err(_) => Self::NoProcess(digits),
            };
        }
        if system.is_some() || bytes.ends_with(b".raw") || bytes.ends_with(b".rec") {
            return Self::File(text.into());
        }
        Self::Node(text.into())
    }
}

/// Where and how to look.
#[derive(Debug, Clone)]
pub struct Search {
    /// Look only in this directory, and not at processes.
    pub dir: Option<PathBuf>,
    /// Refuse larger regions.
    pub max_bytes: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { dir: None, max_bytes: MAX_BYTES }
    }
}

/// A region that was found, whether or not it can be read.
#[derive(Debug)]
pub struct Found {
    /// Its process, as far as the place where it was found tells.
    pub pid: Option<u64>,
    /// What its header tells, or why it cannot be read.
    pub region: Result<RegionSummary, AttachError>,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Discovery {
    /// What was found.
    pub found: Vec<Found>,
    /// Regions of other users that were passed over.
    pub of_others: usize,
    seen: HashSet<Inode>,
    /// The processes that the names of regions tell.
    named: HashSet<u64>,
    /// Processes that may not be looked into.
    refused: Vec<u32>,
}

/// Why there is nothing to attach to.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The one that is meant cannot be read.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A directory to look in cannot be read.
    #[error("cannot look for regions in {}: {error}", clean_path(.dir))]
    Directory {
        /// Which.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No such process, and no region of a dead one.
    #[error(
        "there is no process {0}, and no region that one has left in {DEFAULT_DIR}; `atomscope ps` lists what there is; \
         {BY_PATH}"
    )]
    NoProcess(String),
    /// A process that may not be looked into.
    #[error("{0}")]
    Hidden(Hidden),
    /// A process without a region.
    #[error(
        "process {pid} ({name}) has no region: it is no atomscope node, was started with ATOMSCOPE=off, or could not \
         make a shared region and warned about it at its start"
    )]
    NoRegion {
        /// Process id.
        pid: u64,
        /// Its program.
        name: String,
    },
    /// A process without that system.
    #[error("process {pid} has no actor system {system}; it has {}", .systems.join(", "))]
    NoSystem {
        /// Process id.
        pid: u64,
        /// What was asked for.
        system: String,
        /// What there is.
        systems: Vec<String>,
    },
    /// No node of that name.
    #[error(
        "there is no node {name}{file}{others}; {BY_PATH}",
        file = if *.is_file { "; the file of that name is meant by a path with a `/`, such as ./FILE" } else { "" },
        others = others_hint(*.of_others, *.unreadable, .hidden)
    )]
    NoNode {
        /// What was asked for.
        name: String,
        /// Whether there is a file of that name.
        is_file: bool,
        /// Regions of other users.
        of_others: usize,
        /// Regions that cannot be read.
        unreadable: usize,
        /// Nodes that cannot be looked into.
        hidden: Vec<Hidden>,
    },
    /// No region at all.
    #[error("there is no node to look at{others}", others = others_hint(*.of_others, *.unreadable, .hidden))]
    Nothing {
        /// Regions of other users.
        of_others: usize,
        /// Regions that cannot be read.
        unreadable: usize,
        /// Nodes that cannot be looked into.
        hidden: Vec<Hidden>,
    },
    /// More than one.
    #[error("there are {} nodes, say which one: {}", .0.len(), .0.join(", "))]
    Ambiguous(Vec<String>),
}

fn others_hint(of_others: usize, unreadable: usize, hidden: &[Hidden]) -> String {
    let mut hint = String::from("; `atomscope ps` lists what there is");
    if unreadable > 0 {
        hint += &format!(" ({unreadable} unreadable)");
    }
    if of_others > 0 {
        hint += &format!("; {}", others_note(of_others));
    }
    hidden_notes(hidden).iter().for_each(|note| hint += &format!("; {note}"));
    hint
}

/// Nodes that cannot be looked into and are told one by one.
const MOST_HIDDEN: usize = 3;

/// What is said of nodes that are there and cannot be looked into.
pub fn hidden_notes(hidden: &[Hidden]) -> Vec<String> {
    let more = hidden.len().saturating_sub(MOST_HIDDEN);
    let more = (more > 0).then(|| format!("{more} more processes are nodes that cannot be looked into"));
    hidden
        .iter()
        .take(MOST_HIDDEN)
        .map(|hidden| format!("a node is not seen: {hidden}"))
        .chain(more)
        .collect()
}

/// What is said of regions that only their owners and root may see.
pub fn others_note(count: usize) -> String {
    let regions = if count == 1 { "region" } else { "regions" };
    format!("{count} {regions} of other users; run as root to see them")
}

/// A region that was chosen, and what is to be said of the choice.
#[derive(Debug)]
pub struct Choice {
    /// What its header tells.
    pub glance: RegionSummary,
    /// Which one was taken, if there was a choice.
    pub note: Option<String>,
}

/// The same, attached to.
#[derive(Debug)]
pub struct Chosen {
    /// The region.
    pub region: Region,
    /// How its node is.
    pub liveness: Liveness,
    /// Which one was taken, if there was a choice.
    pub note: Option<String>,
}

impl Search {
    /// Everything that can be found, sorted by nothing in particular.
    pub fn all(&self) -> Result<Discovery, FindError> {
        let mut discovery = Discovery::default();
        self.look_in(self.dir(), &mut discovery)?;
        if self.dir.is_none() {
            for pid in process::all() {
                // A process that is gone has nothing to say here.
                let looked = self.look_into(pid, &mut discovery);
                if looked.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
                    discovery.refused.push(pid);
                }
            }
        }
        Ok(discovery)
    }

    /// Where named segments are looked for.
    pub fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(DEFAULT_DIR))
    }

    /// Attaches to the one that is meant.
    pub fn one(&self, who: &Who) -> Result<Chosen, FindError> {
        let Choice { glance, note } = self.choose(who)?;
        let region = glance.open(self.max_bytes)?;
        let liveness = region.liveness()?;
        Ok(Chosen { region, liveness, note })
    }

    /// The one that is meant: live beats dead, newer beats older. Of none more is read than its header.
    pub fn choose(&self, who: &Who) -> Result<Choice, FindError> {
        match who {
            Who::File(path) => {
                Ok(Choice { glance: RegionSummary::take(path, None, self.max_bytes)?, note: None })
            }
            Who::Process { pid, system } => self.of_process(*pid, system.as_deref()),
            Who::NoProcess(digits) => Err(FindError::NoProcess(digits.clone())),
            Who::Node(name) => self.of_node(name),
            Who::Only => self.only(),
        }
    }

    /// The first living region of those that are meant that was made later than `last`, and is none of `known`.
    pub fn successor(
        &self,
        meant: impl IntoIterator<Item = Who>,
        last: Option<Birth>,
        known: &[Inode],
    ) -> Option<RegionSummary> {
        // What cannot be found or read now may be there the next time.
        let chosen = meant.into_iter().filter_map(|who| self.choose(&who).ok());
        chosen.map(|choice| choice.glance).find(|glance| {
            let is_later = last.is_none_or(|last| glance.identity.birth().is_after(&last));
            glance.is_alive() && is_later && !known.contains(&glance.inode)
        })
    }

    fn of_process(&self, pid: u64, system: Option<&OsStr>) -> Result<Choice, FindError> {
        let mut discovery = Discovery::default();
        self.look_in(self.dir(), &mut discovery)?;
        let local = u32::try_from(pid).ok();
        let mut hidden = None;
        if let (None, Some(local)) = (&self.dir, local) {
            hidden = self.look_into(local, &mut discovery).err();
            // Where the process has a /dev/shm of its own, that also holds what its predecessors left.
            let theirs = PathBuf::from(format!("/proc/{local}/root{DEFAULT_DIR}"));
            let _ = self.look_in(&theirs, &mut discovery);
        }
        let (mut readable, unreadable) = discovery.split(|found| found.pid == Some(pid));
        // A number that a process has in another namespace means that one only if it means none here.
        if readable.iter().any(|glance| glance.process.is_some()) {
            readable.retain(|glance| glance.process.is_some() || !glance.is_alive());
        }
        let systems: Vec<_> = readable.iter().map(system_name).collect();
        let wanted: Vec<_> = readable
            .into_iter()
            .filter(|glance| {
                let name = glance.identity.system.as_deref().unwrap_or_default();
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

    fn of_node(&self, name: &OsStr) -> Result<Choice, FindError> {
        let discovery = self.all()?;
        let (of_others, hidden) = (discovery.of_others, discovery.hidden());
        let (readable, unreadable) = discovery.split(|_| true);
        let named = readable.into_iter().filter(|glance| is_named(glance, name));
        choose(named.collect()).ok_or_else(|| FindError::NoNode {
            name: quoted(name),
            // A node's own name is never looked for elsewhere.
            is_file: !name.as_bytes().contains(&b'/') && Path::new(name).is_file(),
            of_others,
            unreadable: unreadable.len(),
            hidden,
        })
    }

    fn only(&self) -> Result<Choice, FindError> {
        let discovery = self.all()?;
        let (of_others, hidden) = (discovery.of_others, discovery.hidden());
        let (readable, mut unreadable) = discovery.split(|_| true);
        if readable.is_empty() && unreadable.len() == 1 {
            return Err(unreadable.remove(0).into());
        }
        // Several living nodes are a question; so are several dead ones, unless one name was used again and again.
        let living: Vec<_> = readable.iter().filter(|glance| glance.is_alive()).collect();
        let nodes: HashSet<_> = readable.iter().map(|glance| &glance.identity.node).collect();
        let several: Vec<_> = match living.len() {
            0 if nodes.len() > 1 => readable.iter().collect(),
            0 | 1 => Vec::new(),
            _ => living,
        };
        if !several.is_empty() {
            return Err(FindError::Ambiguous(describe(&several)));
        }
        choose(readable).ok_or(FindError::Nothing { of_others, unreadable: unreadable.len(), hidden })
    }

    /// Adds the named segments in `dir`.
    fn look_in(&self, dir: &Path, discovery: &mut Discovery) -> Result<(), FindError> {
        let failed = |error| FindError::Directory { dir: dir.to_owned(), error };
        let entries = match fs::read_dir(dir) {
            // A machine without shared memory has no named segments; a directory that was asked for should be there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.dir.is_none() => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.as_bytes().starts_with(PREFIX.as_bytes()) {
                let path = entry.path();
                self.add(&path, Segment::of(&path).map(|segment| segment.pid), None, discovery);
            }
        }
        Ok(())
    }

    /// Adds what process `pid` has mapped.
    fn look_into(&self, pid: u32, discovery: &mut Discovery) -> io::Result<()> {
        let (files, rest) = process::shared_files(pid)?;
        for path in files {
            self.add(&path, None, Some(pid), discovery);
        }
        rest
    }

    /// Adds the file `path`, once: named after `named`, or mapped by process `mapped_by`.
    fn add(&self, path: &Path, named: Option<u64>, mapped_by: Option<u32>, discovery: &mut Discovery) {
        let meta = if mapped_by.is_some() { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let Ok(meta) = meta else { return };
        if !discovery.seen.insert(Inode::of(&meta)) {
            return;
        }
        discovery.named.extend(named);
        let user = system::user();
        if mapped_by.is_none() && user != 0 && meta.uid() != user {
            // What is no file is no region, whoever put it there.
            discovery.of_others += usize::from(meta.is_file());
            return;
        }
        let region = RegionSummary::take(path, mapped_by, self.max_bytes);
        if let (Some(_), Err(AttachError { why, .. })) = (mapped_by, &region) {
            // Processes share many files that have nothing to do with us.
            let is_ours = match why {
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
            if !is_ours {
                return;
            }
        }
        if let Err(AttachError { why: AttachErrorKind::Missing, .. }) = region {
            return;
        }
        let pid = region.as_ref().map_or(named.or(mapped_by.map(u64::from)), |glance| Some(glance.pid()));
        discovery.named.extend(pid);
        discovery.found.push(Found { pid, region });
    }
}

impl Discovery {
    /// Nodes of which no region was found, since they may not be looked into.
    pub fn hidden(&self) -> Vec<Hidden> {
        let is_missing = |pid: &&u32| !self.named.contains(&u64::from(**pid)) && hidden::is_node(**pid);
        self.refused.iter().filter(is_missing).map(|pid| Hidden::of(*pid)).collect()
    }

    /// Those that `meant` is true of: what can be read, and why the rest cannot.
    fn split(self, meant: impl Fn(&Found) -> bool) -> (Vec<RegionSummary>, Vec<AttachError>) {
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for found in self.found.into_iter().filter(meant) {
            match found.region {
                Ok(glance) => readable.push(glance),
                Err(error) => unreadable.push(error),
            }
        }
        (readable, unreadable)
    }
}

/// What the name of a segment says, `atomscope-<uid>-<pid>-<random>`: the numbers that user and process have where the
/// node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The node's effective user.
    pub uid: u64,
    /// Its process.
    pub pid: u64,
}

impl Segment {
    /// Of the file `path`, if that is exactly such a name.
    pub fn of(path: &Path) -> Option<Self> {
        let mut parts = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-');
        let mut part = || parts.next();
        let (uid, pid, random) = (part()?, part()?, part()?);
        let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
        (is_random && parts.next().is_none())
            .then(|| Some(Self { uid: number(uid)??, pid: number(pid)?? }))
            .flatten()
    }
}

/// Rows in the order of their regions' births, the newest first; those without a region last.
pub fn newest_first<T>(rows: Vec<T>, glance: impl Fn(&T) -> Option<&RegionSummary>) -> Vec<T> {
    let births: Vec<Birth> =
        rows.iter().filter_map(|row| glance(row).map(|glance| glance.identity.birth())).collect();
    let mut ranks = Birth::ranks(&births, process::boot_id()).into_iter();
    let mut ranked: Vec<(Option<Rank>, T)> =
        rows.into_iter().map(|row| (glance(&row).and_then(|_| ranks.next()), row)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.cmp(a));
    ranked.into_iter().map(|(_, row)| row).collect()
}

/// Live beats dead, newer beats older.
fn choose(candidates: Vec<RegionSummary>) -> Option<Choice> {
    let mut candidates = newest_first(candidates, |glance| Some(glance));
    // Whoever lives stays before whoever does not.
    candidates.sort_by_key(|glance| !glance.is_alive());
    let note = (candidates.len() > 1).then(|| {
        let described: Vec<_> = describe(&candidates.iter().collect::<Vec<_>>())
            .into_iter()
            .zip(&candidates)
            .map(|(text, glance)| format!("{text} ({})", glance.liveness.verdict.word()))
            .collect();
        format!("taking {}, not {}", described[0], described[1..].join(", "))
    });
    Some(Choice { glance: candidates.into_iter().next()?, note })
}

/// Node, process and system of each, in the form in which they can be asked for; with the file of those that have all
/// of that in common, as processes of several containers may.
fn describe(glances: &[&RegionSummary]) -> Vec<String> {
    let texts: Vec<_> = glances
        .iter()
        .map(|glance| {
            let node = quoted(OsStr::new(&glance.identity.node));
            match glance.identity.system {
                Some(_) => format!("{node} {}/{}", glance.pid(), system_name(glance)),
                None => format!("{node} {}", glance.pid()),
            }
        })
        .collect();
    let is_shared = |text: &String| texts.iter().filter(|other| *other == text).count() > 1;
    let with_file = |(text, glance): (&String, &&RegionSummary)| match is_shared(text) {
        true => format!("{text} in {}", clean_path(&glance.path)),
        false => text.clone(),
    };
    texts.iter().zip(glances).map(with_file).collect()
}

fn system_name(glance: &RegionSummary) -> String {
    glance.identity.system.as_deref().map_or_else(|| "(none yet)".to_owned(), |name| clean(name).into_owned())
}

/// A name as it was given, with quotes where it would not be seen without.
fn quoted(name: &OsStr) -> String {
    let text = clean_os(name);
    if text.is_empty() || text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}

/// Whether `name` is that of the region's node.
pub fn is_named(glance: &RegionSummary, name: &OsStr) -> bool {
    same_text(name, &glance.identity.node, header::NODE)
}

/// Whether `asked` is the name that `cell` of a header holds as `held`: names that do not fit are cut there.
fn same_text(asked: &OsStr, held: &str, cell: std::ops::Range<usize>) -> bool {
    let Some(asked) = asked.to_str() else { return false };
    let mut buffer = vec![0; (cell.len() - 1) * 8];
    let max = buffer.len();
    let (kept, _) = put_text(&mut buffer, max, asked);
    buffer.get(..kept) == Some(held.as_bytes())
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("the only node"),
            Self::Process { pid, system: None } => write!(f, "process {pid}"),
            Self::NoProcess(digits) => write!(f, "process {digits}"),
            Self::Process { pid, system: Some(system) } => write!(f, "process {pid}/{}", clean_os(system)),
            Self::File(path) => write!(f, "file {}", clean_path(path)),
            Self::Node(name) => write!(f, "node {}", clean_os(name)),
        }
    }
}

/// Whether it is a segment under the name that a probe gave it, and not a file that a user named, or a dump.
pub fn is_segment(glance: &RegionSummary, dir: &Path) -> bool {
    let header = glance.identity.header;
    let given =
        Segment::of(&glance.path).is_some_and(|name| (name.uid, name.pid) == (header.uid, header.pid));
    glance.dumped.is_none() && given && glance.path.parent() == Some(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(text: &str) -> Who {
        Who::parse(OsStr::new(text))
    }

    #[test]
    fn digits_are_a_process_and_digits_before_a_slash_one_of_its_systems() {
        assert_eq!(who("42"), Who::Process { pid: 42, system: None });
        assert_eq!(who("42/orders"), Who::Process { pid: 42, system: Some("orders".into()) });
        assert_eq!(who("42/a/b"), Who::Process { pid: 42, system: Some("a/b".into()) });
        for digits in ["18446744073709551616", "99999999999999999999999"] {
            assert_eq!(who(digits), Who::NoProcess(digits.to_owned()));
            let error = Search::default().choose(&who(digits)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no process {digits},")), "{error}");
        }
        assert_eq!(who("18446744073709551615/x"), Who::Process { pid: u64::MAX, system: Some("x".into()) });
    }

    #[test]
    fn a_slash_or_the_ending_of_a_dump_is_a_file() {
        for file in ["./42", "/dev/shm/x", "a/b", "node.raw", "node.rec", "/"] {
            assert_eq!(who(file), Who::File(file.into()));
        }
        let odd = OsString::from_vec(b"/tmp/\xff".to_vec());
        assert_eq!(Who::parse(&odd), Who::File(odd.into()));
    }

    #[test]
    fn anything_else_is_the_name_of_a_node() {
        for name in ["orders", "4two", "-1", "", "node.json", "raw"] {
            assert_eq!(who(name), Who::Node(name.into()));
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

    #[test]
    fn a_segments_name_tells_user_and_process_and_must_be_just_that() {
        let segment = |name: &str| Segment::of(Path::new("/dev/shm").join(name).as_path());
        assert_eq!(segment("atomscope-5-77-00ff00ff00ff00ff"), Some(Segment { uid: 5, pid: 77 }));
        for name in [
            "atomscope-x",
            "atomscope-5-77-00ff00ff00ff00f",
            "atomscope-5-77-00ff00ff00ff00fg",
            "atomscope-5-77-00ff00ff00ff00ff-1",
            "atomscope-5--00ff00ff00ff00ff",
            "atomscope-5-+7-00ff00ff00ff00ff",
            "xatomscope-5-77-00ff00ff00ff00ff",
        ] {
            assert_eq!(segment(name), None, "{name}");
        }
    }
}
