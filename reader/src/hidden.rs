//! Processes whose mappings this program may not read: which of them are nodes, why it may not, and what would help.
//!
//! Only a program that may trace a process can read its mappings, which lead to its region. For that it needs the same users
//! and groups, all capabilities of the process, and a process whose memory may be dumped; or the capability
//! `CAP_SYS_PTRACE`. The names of a process's threads are public, and they show the probe.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::process;
use crate::system;
use crate::text::clean_os;

/// What the names of the probe's threads start with.
const THREAD: &str = "atomscope";
/// Limit of threads of a process whose names are read.
const MOST_THREADS: usize = 1024;
/// Limit of capabilities that a sentence names.
const NAMED: usize = 3;
const SYS_PTRACE: u64 = 19;

/// The names of capabilities by number, without `CAP_`.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A process whose mappings this program may not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Process id.
    pub pid: u32,
    /// Name of its program; safe to print.
    pub name: String,
    /// Why this program may not read them.
    pub why: String,
    /// What would help.
    pub advice: String,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, name, why, advice } = self;
        write!(
            f,
            "cannot read the mappings of process {pid} ({name}), which lead to its region: {why}; {advice}"
        )
    }
}

impl Hidden {
    /// Explains why this program may not read the mappings of process `pid`; only for processes of which that is known.
    pub(crate) fn of(pid: u32) -> Self {
        let name = process::name(pid).map_or_else(|| "?".to_owned(), |name| clean_os(&name));
        let (why, advice) = match (Rights::of("self"), Rights::of(&pid.to_string())) {
            (Some(ours), Some(theirs)) => {
                let owner = fs::metadata(format!("/proc/{pid}")).map(|meta| meta.uid()).ok();
                reason(&ours, &theirs, owner)
            }
            _ => {
                ("its user cannot be read".to_owned(), "run as the user of the process or as root".to_owned())
            }
        };
        Self { pid, name, why, advice }
    }

    /// A process that exists but that `/proc` does not show; `None` if it does not exist or is visible.
    pub(crate) fn behind_proc(pid: u32) -> Option<Self> {
        let is_behind = process::name(pid).is_none() && system::exists(pid);
        is_behind.then(|| Self {
            pid,
            name: "?".to_owned(),
            why: "it exists, but /proc does not show it (it is mounted with hidepid)".to_owned(),
            advice: "run as the user of the process or as root".to_owned(),
        })
    }
}

/// Whether a process has threads of the probe. Reads the names of at most 1024 threads.
pub(crate) fn is_node(pid: u32) -> bool {
    let threads = process::thread_ids(pid, MOST_THREADS).unwrap_or_default();
    // Threads without a name have that of their program, so a program of the probe's name is no node.
    let program = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    threads.into_iter().any(|tid| {
        let name = fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
        name != program && is_of_probe(&String::from_utf8_lossy(&name))
    })
}

fn is_of_probe(name: &str) -> bool {
    let rest = name.trim_end().strip_prefix(THREAD);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether `/proc` hides processes from this program.
pub(crate) fn is_proc_narrowed() -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| narrows(&mounts))
}

fn narrows(mounts: &str) -> bool {
    let mut options = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4)? == "/proc").then(|| after.split(' ').nth(2)).flatten()
    });
    // A later mount covers the earlier ones.
    let hides =
        options.next_back().and_then(|options| options.split(',').find_map(|o| o.strip_prefix("hidepid=")));
    hides.is_some_and(|how| !["0", "off"].contains(&how))
}

/// Users, groups and capabilities of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rights {
    /// Real, effective, saved and file system user.
    users: [u32; 4],
    groups: [u32; 4],
    permitted: u64,
    effective: u64,
}

impl Rights {
    fn of(process: &str) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{process}/status")).ok()?))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let four = |name| {
            let numbers = field(name)?.split_ascii_whitespace().map(|number| number.parse().ok());
            numbers.collect::<Option<Vec<u32>>>()?.try_into().ok()
        };
        let set = |name| u64::from_str_radix(field(name)?.trim(), 16).ok();
        Some(Self {
            users: four("Uid:")?,
            groups: four("Gid:")?,
            permitted: set("CapPrm:")?,
            effective: set("CapEff:")?,
        })
    }

    fn may_trace_others(&self) -> bool {
        self.effective >> SYS_PTRACE & 1 != 0
    }
}

/// Why a process with the rights `ours` may not read the mappings of one with `theirs`, and what would help. `owner` is the
/// owner of the latter's folder in `/proc`.
fn reason(ours: &Rights, theirs: &Rights, owner: Option<u32>) -> (String, String) {
    // The kernel compares with the file system user and group of the reading process.
    let (user, group) = (ours.users[3], ours.groups[3]);
    let [is_other_user, is_other_group] = [(&theirs.users, user), (&theirs.groups, group)]
        .map(|(all, own)| all[..3].iter().any(|one| *one != own));
    let more = theirs.permitted & !ours.effective;
    let as_user = theirs.users[1];
    let (why, advice) = match () {
        () if ours.may_trace_others() => (
            "the kernel forbids it although this program has CAP_SYS_PTRACE: the process belongs to another user \
             namespace, or a security module (SELinux, AppArmor) refuses it"
                .to_owned(),
            "run outside of containers and user namespaces, as root".to_owned(),
        ),
        () if is_other_user && user == 0 => (
            format!("it runs as user {as_user}, and root needs the capability CAP_SYS_PTRACE for that, which it lacks here"),
            format!(
                "add that capability (`docker run --cap-add SYS_PTRACE`), or run as user {as_user} (`setpriv --reuid {as_user}`)"
            ),
        ),
        () if is_other_user => (
            format!("it runs as user {as_user}, and this is user {user}"),
            format!(
                "that needs the same user as the process, or ptrace rights: run as user {as_user} or as root"
            ),
        ),
        () if is_other_group => (
            format!("it runs with group {}, and this program with group {group}", theirs.groups[1]),
            format!("run with that group (`setpriv --regid {}`), or as root", theirs.groups[1]),
        ),
        () if more != 0 => {
            let advice = match user {
                0 => "give this program the same ones, or CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)",
                _ => "run as root, or with the same ones (`setpriv --ambient-caps`)",
            };
            (format!("it has capabilities that this program lacks: {}", names(more)), advice.to_owned())
        }
        () if owner.is_some_and(|owner| owner != as_user) => (
            "its memory may not be dumped (its program has file capabilities, changes its user, cannot be read, or \
             requested that with prctl)"
                .to_owned(),
            "run as root".to_owned(),
        ),
        () => (
            "the kernel forbids it, though it runs as the same user: a security module (Yama, SELinux, AppArmor), or \
             another user namespace"
                .to_owned(),
            "run as root, outside of containers; `sysctl kernel.yama.ptrace_scope` shows what Yama allows".to_owned(),
        ),
    };
    (why, advice)
}

fn names(set: u64) -> String {
    let numbers: Vec<usize> = (0..64).filter(|number| set >> number & 1 != 0).collect();
    let name = |number: &usize| match CAPABILITIES.get(*number) {
        Some(name) => format!("CAP_{name}"),
        None => format!("number {number}"),
    };
    let named: Vec<_> = numbers.iter().take(NAMED).map(name).collect();
    match numbers.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Rights = Rights { users: [1000; 4], groups: [1000; 4], permitted: 0, effective: 0 };
    const ROOT: Rights = Rights { users: [0; 4], groups: [0; 4], permitted: 0x400, effective: 0x400 };

    #[track_caller]
    fn says(ours: &Rights, theirs: &Rights, owner: u32, why: &str, advice: &str) {
        let said = reason(ours, theirs, Some(owner));
        assert!(said.0.contains(why) && said.1.contains(advice), "{said:?}");
    }

    #[test]
    fn nobody_is_told_to_become_the_user_that_they_are() {
        let binds = Rights { permitted: 1 << 10 | 1 << 19, ..USER };
        says(&USER, &binds, 1000, "CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE", "run as root, or with the same");
        says(&USER, &USER, 0, "its memory may not be dumped", "run as root");
        says(&USER, &USER, 1000, "Yama", "ptrace_scope");
        for (theirs, owner) in [(&binds, 1000), (&USER, 0), (&USER, 1000)] {
            assert!(!reason(&USER, theirs, Some(owner)).1.contains("user 1000"));
        }
    }

    #[test]
    fn another_user_or_group_is_named_and_root_is_told_what_it_lacks() {
        let other = Rights { users: [1001; 4], ..USER };
        says(&USER, &other, 1001, "as user 1001, and this is user 1000", "run as user 1001 or as root");
        // A process that may become root again counts as that of another user.
        says(&USER, &Rights { users: [1000, 1000, 0, 1000], ..USER }, 1000, "runs as user 1000", "as root");
        says(&USER, &Rights { groups: [7; 4], ..USER }, 1000, "group 7, and this program", "--regid 7");
        says(&ROOT, &USER, 1000, "CAP_SYS_PTRACE for that", "--cap-add SYS_PTRACE");
        says(&ROOT, &Rights { permitted: u64::MAX, ..ROOT }, 0, "and 60 more", "CAP_SYS_PTRACE");
        let all = Rights { effective: u64::MAX, ..ROOT };
        says(&all, &USER, 1000, "another user namespace", "outside of containers");
    }

    #[test]
    fn rights_are_read_from_the_kernels_words() {
        let status = "Name:\tUid: 9\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\nCapPrm:\t0000000000000400\nCapEff:\t0000000000080000\n";
        let rights = Rights::parse(status).unwrap();
        assert_eq!((rights.users, rights.permitted), ([1, 2, 3, 4], 0x400));
        assert!(rights.may_trace_others() && Rights::parse("Uid:\t1\t2\n").is_none());
        assert!(Rights::of("self").is_some());
    }

    #[test]
    fn threads_of_the_probe_are_known_by_their_names() {
        assert!(["atomscope\n", "atomscope-poll"].iter().all(|name| is_of_probe(name)));
        assert!(!["atomscoped", "xatomscope", ""].iter().any(|name| is_of_probe(name)));
        assert!(!is_node(std::process::id()));
        let thread = std::thread::Builder::new().name("atomscope-test".into());
        assert!(thread.spawn(|| is_node(std::process::id())).unwrap().join().unwrap());
    }

    #[test]
    fn a_proc_that_shows_only_some_is_known_by_its_options() {
        let mount = |options: &str| format!("24 30 0:22 / /proc rw,nosuid - proc proc rw{options}\n");
        assert!(narrows(&mount(",hidepid=2")) && narrows(&mount(",hidepid=invisible,gid=5")));
        assert!(!narrows(&mount("")) && !narrows(&mount(",hidepid=0")));
        assert!(!narrows(&(mount(",hidepid=2") + &mount(""))), "the upper one counts");
        assert!(!narrows("24 30 0:22 / /other rw - proc proc rw,hidepid=2\n"));
    }
}
