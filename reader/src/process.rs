//! What `/proc` says of processes. Every read is bounded, and may fail because the process ended or belongs to another user.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use atomscope_layout::records::TimeRecord;
use atomscope_layout::region::HeaderRecord;

/// The fields of `/proc/PID/stat` from the third (the state) on. The second is the program's name in parentheses, which may
/// itself contain parentheses and spaces.
pub(crate) fn stat_fields(stat: &[u8]) -> Option<Vec<&str>> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    Some(fields.split_ascii_whitespace().collect())
}

/// How often the list of a process's threads is read until it is complete.
const LISTINGS: usize = 8;

/// The ids of the threads of a process, in ascending order, `most` at most. Among them may be some that have ended.
///
/// The kernel ends a listing early where the thread at which it goes on has ended meanwhile. So the list is read again
/// until it is as long as the kernel's count, and holds what any reading had. A process whose threads come and go fast may
/// still have one that is missing.
///
/// # Errors
/// The process has ended, or is not visible here.
pub(crate) fn thread_ids(pid: u32, most: usize) -> io::Result<Vec<u32>> {
    let mut all = BTreeSet::new();
    for _ in 0..LISTINGS {
        let count = thread_count(pid).unwrap_or(0).min(most);
        let entries = fs::read_dir(format!("/proc/{pid}/task"))?;
        let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let listed: Vec<u32> = ids.take(most).collect();
        // The count of before, because a thread that ended lowers that of now.
        let is_complete = listed.len() >= count;
        all.extend(listed);
        if is_complete {
            break;
        }
    }
    Ok(all.into_iter().take(most).collect())
}

/// How many threads a process has by the kernel's count: field 20 of its `stat`.
fn thread_count(pid: u32) -> Option<usize> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    stat_fields(&stat)?.get(20 - 3)?.parse().ok()
}

/// The state and the start time of a process, from `/proc/PID/stat`. The start time distinguishes it from a later process
/// with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state's letter: `T` and `t` are stopped, `Z` and `X` are dead.
    pub state: u8,
    /// Start time in clock ticks after boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads those of process `pid`.
    ///
    /// # Errors
    /// There is no such process, or it is not visible here.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// The state is field 3, the start field 22.
    fn parse(stat: &[u8]) -> Option<Self> {
        let fields = stat_fields(stat)?;
        let state = *fields.first()?.as_bytes().first()?;
        let start_ticks = fields.get(22 - 3)?.parse().ok()?;
        Some(Self { state, start_ticks })
    }

    /// Whether a signal or a debugger stopped it.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Whether it ended and its parent has not collected it yet.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// The start time of a process in clock ticks after boot, by the clock of this program's time namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartTime {
    ticks: u64,
    /// The possible error in ticks, if the clocks of two time namespaces do not differ by whole ticks.
    slack: u64,
}

impl StartTime {
    /// The start time of the process that wrote this header.
    pub fn of(header: &HeaderRecord, time: &TimeRecord) -> Self {
        const TICK_NS: i128 = 10_000_000;
        let ticks = header.process_start_ticks;
        let Some([_, ahead]) = published_ahead(time) else { return Self { ticks, slack: 0 } };
        let here = i128::from(ticks) - ahead.div_euclid(TICK_NS);
        let slack = u64::from(ahead % TICK_NS != 0);
        Self { ticks: u64::try_from(here).unwrap_or(0), slack }
    }

    /// The start time `ticks` of a process in this program's time namespace.
    pub fn at(ticks: u64) -> Self {
        Self { ticks, slack: 0 }
    }

    /// Whether a process that started at `ticks` may be the one.
    pub fn is(&self, ticks: u64) -> bool {
        self.ticks.abs_diff(ticks) <= self.slack
    }
}

/// How many nanoseconds the node's monotonic clock and its clock since boot are ahead of this program's: time namespaces can
/// shift them. `None` if that is unknown. `process` is the node's process, if it is visible.
pub(crate) fn clocks_ahead(time: &TimeRecord, process: Option<u32>) -> Option<[i128; 2]> {
    published_ahead(time).or_else(|| {
        let own = time_namespace("self");
        let is_same = match (&own, process) {
            (Ok(own), Some(pid)) => time_namespace(&pid.to_string()).is_ok_and(|its| its == *own),
            (Ok(_), None) => false,
            // This kernel has no time namespaces.
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
        };
        is_same.then_some([0, 0])
    })
}

/// As [`clocks_ahead`], from what the node published of its time namespace.
fn published_ahead(time: &TimeRecord) -> Option<[i128; 2]> {
    let own = own_offsets().filter(|_| time.time_namespace != 0)?;
    let ahead = |its: u64, own: i64| i128::from(its as i64) - i128::from(own);
    Some([ahead(time.mono_offset_ns, own[0]), ahead(time.boot_offset_ns, own[1])])
}

fn time_namespace(process: &str) -> io::Result<u64> {
    fs::metadata(format!("/proc/{process}/ns/time")).map(|meta| meta.ino())
}

/// How far this program's clocks are ahead of the machine's, which never changes while it runs.
fn own_offsets() -> Option<[i64; 2]> {
    static OWN: OnceLock<Option<[i64; 2]>> = OnceLock::new();
    *OWN.get_or_init(|| {
        // The kernel shows the offsets of the children's namespace, which may differ from this program's own.
        let children = fs::metadata("/proc/self/ns/time_for_children").ok()?.ino();
        let own = time_namespace("self").ok()?;
        let offsets = fs::read_to_string("/proc/self/timens_offsets").ok().filter(|_| own == children)?;
        TimeRecord::offsets(&offsets)
    })
}

/// All process ids that are visible here.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// This machine's boot id in the form of a region's header; `None` if the kernel does not give it.
pub fn boot_id() -> Option<[u64; 2]> {
    parse_boot_id(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim())
}

fn parse_boot_id(text: &str) -> Option<[u64; 2]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    // The header has the bytes in the order of the text, and each half is read as a little-endian word.
    let [high, low] = [(number >> 64) as u64, number as u64];
    Some([high.swap_bytes(), low.swap_bytes()])
}

/// Inode of this program's pid namespace.
pub fn pid_namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid").ok().map(|meta| meta.ino())
}

/// The id of process `pid` in its own, innermost pid namespace.
pub fn innermost_pid(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().next_back()?.parse().ok()
}

/// The id in this program's pid namespace of the process that has the id `inner` in the pid namespace `namespace` and
/// started at `start`. The namespace 0 means this program's.
pub(crate) fn translate(inner: u64, namespace: u64, start: StartTime) -> Option<u32> {
    let started = |pid: &u32| Stat::of(*pid).is_ok_and(|stat| start.is(stat.start_ticks));
    if is_ours(namespace) {
        return u32::try_from(inner).ok().filter(started);
    }
    // Processes of containers that started together can have the same ids and start times. Where this program may not read
    // the namespace of a process, id and start time decide alone.
    let there = |pid: &u32| match fs::metadata(format!("/proc/{pid}/ns/pid")) {
        Ok(meta) => meta.ino() == namespace,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    all().into_iter().filter(started).find(|pid| innermost_pid(*pid) == Some(inner) && there(pid))
}

/// Whether every process of this machine is visible here: in the first pid namespace, whose inode has the same number on
/// every machine.
pub(crate) fn sees_all() -> bool {
    const FIRST: u64 = 0xEFFF_FFFC;
    pid_namespace() == Some(FIRST)
}

/// Whether `namespace` is this program's pid namespace; 0 counts as that.
pub fn is_ours(namespace: u64) -> bool {
    namespace == 0 || pid_namespace() == Some(namespace)
}

/// The real, effective, saved and file system user of process `pid`. The owner of `/proc/PID` would not do: it is root for
/// every process whose memory may not be dumped.
///
/// # Errors
/// There is no such process, or it is not visible here.
pub(crate) fn users(pid: u32) -> io::Result<[u32; 4]> {
    let status = fs::read(format!("/proc/{pid}/status"))?;
    parse_users(&status).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The program's name cannot fake the line: the kernel escapes line breaks in it.
fn parse_users(status: &[u8]) -> Option<[u32; 4]> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    let mut users = std::str::from_utf8(line).ok()?.split_ascii_whitespace().map(str::parse);
    let mut next = || users.next()?.ok();
    Some([next()?, next()?, next()?, next()?])
}

/// The user here who is root in the user namespace of process `pid`.
pub(crate) fn root_of(pid: u32) -> Option<u32> {
    parse_root(&fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?)
}

/// Each line of a map has the first user inside, the first user outside, and the number of users.
fn parse_root(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace();
        (numbers.next()? == "0").then(|| numbers.next()?.parse().ok()).flatten()
    })
}

/// The age of process `pid`; `None` if it is unknown.
pub fn age(pid: u32) -> Option<Duration> {
    // Ticks in /proc are hundredths of a second, whatever the kernel's own are.
    let started = Duration::from_millis(Stat::of(pid).ok()?.start_ticks.checked_mul(10)?);
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split_ascii_whitespace().next()?.parse().ok()?).ok()?;
    uptime.checked_sub(started)
}

/// The short name of the program of process `pid`. Not safe to print.
pub fn name(pid: u32) -> Option<OsString> {
    let mut name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    name.pop_if(|byte| *byte == b'\n');
    Some(OsString::from_vec(name))
}

/// Paths by which this program can open the files that process `pid` has mapped shared and writable, as a node maps its
/// region. The second value says why some may be missing.
///
/// # Errors
/// The mappings cannot be read: that needs the same user or ptrace rights.
pub(crate) fn shared_files(pid: u32) -> io::Result<(Vec<PathBuf>, io::Result<()>)> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let mut mapped: Vec<_> = maps.split(|byte| *byte == b'\n').filter_map(parse_mapping).collect();
    mapped.dedup();
    let mut located: Vec<_> = mapped.iter().filter_map(|mapping| mapping.locate(pid)).collect();
    // With CAP_PERFMON alone a program may read the mappings, but not open the files.
    let rest = if located.len() < mapped.len() {
        fs::metadata(format!("/proc/{pid}/root/")).map(drop)
    } else {
        Ok(())
    };
    // A node that names its file at this moment has it mapped twice; the path by name comes first.
    located.sort_by_key(|located| matches!(located, Located::Descriptor(_)));
    let paths = located.into_iter().map(|(Located::Name(path) | Located::Descriptor(path))| path);
    Ok((paths.collect(), rest))
}

/// The name that the file of this device and inode had when process `pid` mapped it. The kernel keeps it after the file was
/// deleted.
pub(crate) fn name_of_mapped(pid: u32, device: u64, inode: u64) -> Option<PathBuf> {
    let maps = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let mut mapped = maps.split(|byte| *byte == b'\n').filter_map(parse_mapping);
    let path = mapped.find(|mapping| mapping.device == device && mapping.inode == inode)?.path;
    Some(PathBuf::from(OsString::from_vec(unescape(path.strip_suffix(b" (deleted)").unwrap_or(path)))))
}

/// Whether process `pid` has the file of this device and inode mapped shared and writable.
///
/// # Errors
/// The mappings cannot be read: that needs the same user or ptrace rights.
pub(crate) fn has_mapped(pid: u32, device: u64, inode: u64) -> io::Result<bool> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let mut mapped = maps.split(|byte| *byte == b'\n').filter_map(parse_mapping);
    Ok(mapped.any(|mapping| mapping.device == device && mapping.inode == inode))
}

/// Whether process `pid`, which started at `start`, lives and may have that file mapped shared and writable. True also if its
/// mappings cannot be read, and if a file system shows them with another device than `stat` does.
pub(crate) fn may_have_mapped(pid: u32, start: StartTime, device: u64, inode: u64) -> bool {
    let lives = Stat::of(pid).is_ok_and(|stat| start.is(stat.start_ticks) && !stat.is_dead());
    lives
        && match fs::read(format!("/proc/{pid}/maps")) {
            Ok(maps) => {
                let mut mapped = maps.split(|byte| *byte == b'\n').filter_map(parse_mapping);
                let is_anonymous = libc::major(device) == 0;
                mapped.any(|mapping| mapping.inode == inode && (mapping.device == device || is_anonymous))
            }
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
}

/// A shared writable mapping of a file.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    /// As in `stat`.
    device: u64,
    inode: u64,
    path: &'a [u8],
}

/// Parses a line of the form `address perms offset device inode path`.
fn parse_mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest[start..].iter().position(|byte| *byte == b' ')? + start;
        let (text, after) = (&rest[start..end], &rest[end..]);
        rest = after;
        Some(text)
    };
    let (_, permissions, _, device, inode) = (field()?, field()?, field()?, field()?, field()?);
    let path = rest.trim_ascii_start();
    let shared_writable = permissions.get(1) == Some(&b'w') && permissions.get(3) == Some(&b's');
    let inode = std::str::from_utf8(inode).ok()?.parse().ok().filter(|inode| *inode != 0)?;
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = libc::makedev(number(major)?, number(minor)?);
    let is_file = path.starts_with(b"/") && !path.starts_with(b"/memfd:") && !path.starts_with(b"/SYSV");
    (shared_writable && is_file).then_some(Mapping { device, inode, path })
}

/// The path by which a mapped file can be opened.
enum Located {
    Name(PathBuf),
    /// A link to an open descriptor, for a file whose name is gone or names another file.
    Descriptor(PathBuf),
}

impl Mapping<'_> {
    /// Finds a path to open it: by name as this program or that process sees it, else by one of that process's
    /// descriptors. A node keeps a descriptor open for its lock.
    fn locate(&self, pid: u32) -> Option<Located> {
        let is_file = |path: &PathBuf, same: &dyn Fn(&fs::Metadata) -> bool| {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.ino() == self.inode && same(&meta))
        };
        let path = unescape(self.path);
        let theirs =
            PathBuf::from(OsString::from_vec([format!("/proc/{pid}/root").as_bytes(), &path].concat()));
        let ours = PathBuf::from(OsString::from_vec(path));
        let descriptors = || {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            entries.map(|entry| entry.path())
        };
        // Two file systems, such as two /dev/shm, number their files alike.
        let same = |path: &PathBuf| is_file(path, &|meta| meta.dev() == self.device);
        let name = [ours, theirs.clone()].into_iter().find(same).map(Located::Name);
        let found = name.or_else(|| descriptors().find(same).map(Located::Descriptor));
        // On some file systems, such as btrfs and overlays, the device in maps differs from that of stat. There the inode
        // decides alone, but only for the name as that process sees it and for its descriptors.
        let nearly = |path: &PathBuf| is_file(path, &|meta| libc::major(meta.dev()) == 0);
        let found = found.or_else(|| Some(theirs).filter(nearly).map(Located::Name));
        found.or_else(|| descriptors().find(nearly).map(Located::Descriptor))
    }
}

/// Restores a path: the kernel escapes line breaks as `\012` and nothing else.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    while let Some(at) = out.windows(4).position(|bytes| bytes == b"\\012") {
        out.splice(at..at + 4, [b'\n']);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_listed_also_if_one_before_it_ends_meanwhile() {
        let lists_itself = || {
            let own = fs::read_link("/proc/thread-self").unwrap();
            let own: u32 = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
            thread_ids(std::process::id(), 1024).unwrap().contains(&own)
        };
        let missed = (0..500).filter(|_| {
            let before: Vec<_> = (0..16).map(|_| std::thread::spawn(std::thread::yield_now)).collect();
            let is_listed = std::thread::spawn(lists_itself).join().unwrap();
            before.into_iter().for_each(|thread| thread.join().unwrap());
            !is_listed
        });
        assert_eq!(missed.count(), 0);
        assert!(thread_ids(std::process::id(), 0).unwrap().is_empty());
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = b"42 (a) b (c)) T 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 7777 1 1";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.start_ticks, stat.is_stopped(), stat.is_dead()), (7777, true, false));
        assert_eq!(Stat::parse(b"42 (a"), None);
        assert_eq!(Stat::parse(b"42 (a) R 1"), None);
    }

    #[test]
    fn the_boot_id_is_packed_byte_by_byte_in_the_order_of_its_text() {
        let id = parse_boot_id("00010203-0405-0607-0809-0a0b0c0d0e0f").unwrap();
        let bytes: Vec<u8> = id.iter().flat_map(|half| half.to_le_bytes()).collect();
        assert_eq!(bytes, (0..16).collect::<Vec<u8>>());
        assert_eq!(parse_boot_id("0-1"), None);
    }

    #[test]
    fn only_shared_writable_mappings_of_files_are_looked_at() {
        let shared = b"7f00-7f01 rw-s 00000000 00:1a 99     /dev/shm/a b\\012c (deleted)";
        let mapping = parse_mapping(shared).unwrap();
        assert_eq!((mapping.inode, unescape(mapping.path)), (99, b"/dev/shm/a b\nc (deleted)".to_vec()));
        assert_eq!(mapping.device, libc::makedev(0, 0x1a));
        for other in [
            &b"7f00-7f01 rw-p 00000000 00:1a 99 /lib/x.so"[..],
            b"7f00-7f01 r--s 00000000 00:1a 99 /dev/shm/a",
            b"7f00-7f01 rw-s 00000000 00:01 99 /memfd:x (deleted)",
            b"7f00-7f01 rw-s 00000000 00:01 0",
            b"",
        ] {
            assert_eq!(parse_mapping(other), None);
        }
    }

    #[test]
    fn users_and_the_root_of_a_namespace_are_the_kernels_word() {
        let status = b"Name:\tUid: 9\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n";
        assert_eq!(parse_users(status), Some([1, 2, 3, 4]));
        assert_eq!(parse_users(b"Uid:\t1\t2\n"), None);
        assert_eq!(
            parse_root("         1       7          9\n         0       1234          1\n"),
            Some(1234)
        );
        assert_eq!(parse_root(""), None);
        assert!(age(std::process::id()).unwrap() < Duration::from_secs(86_400));
    }

    #[test]
    fn this_process_is_found_under_its_own_number_and_no_other() {
        let pid = std::process::id();
        let stat = Stat::of(pid).unwrap();
        let namespace = pid_namespace().unwrap();
        assert_eq!(translate(u64::from(pid), namespace, StartTime::at(stat.start_ticks)), Some(pid));
        assert_eq!(translate(u64::from(pid), namespace, StartTime::at(stat.start_ticks + 1)), None);
        assert_eq!(innermost_pid(pid), Some(u64::from(pid)));
    }
}
