//! The object that a shared region lives in: made, reserved, locked, mapped, and what becomes of it in a fork.
//!
//! Order of events, so that no reader and no other process ever sees half of it:
//! ```text
//!   limits asked ─► object made exclusively ─► mapped ─► known to fork ─► blocks reserved ─► locked
//!                                                                        (region.rs:)  written ─► published
//! ```
//! The lock is how others know that the node is alive: an open-file-description lock on byte 0 through the one descriptor
//! of the object, which is mapped through it too. It goes when the region closes, or with the last copy of both descriptor
//! and mapping, and so with the process; a program that closes descriptors it does not know keeps it.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "mapping, locking and forking have no safe interface")]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use atomscope_layout::decode::Identity;
use atomscope_layout::region::HEADER_BYTES;
use atomscope_layout::view::{ReaderMemory, WriterMemory};

use crate::error::CreateError;
use crate::region::Place;

/// Where named segments are.
const SHM_DIR: &str = "/dev/shm";
/// Dead regions of one node name that are kept for a look at them.
const KEEP_DEAD_PER_NODE: usize = 2;
/// Bytes of dead regions that are kept of one user.
const KEEP_DEAD_BYTES: u64 = 64 << 20;
/// A region that is not published after this long never will be, if its process is gone.
const MOST_TO_PUBLISH: Duration = Duration::from_secs(60);

/// The object, apart from its memory.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its file.
    pub(crate) path: PathBuf,
    /// What it is called until it is published, if not that.
    temporary: Option<PathBuf>,
    named: bool,
    slot: &'static forks::Shared,
}

/// Makes an object of `bytes` bytes, reserved and locked, and maps it. Until [`Object::publish`] no reader
/// takes it for a region.
pub(crate) fn create(place: &Place, bytes: usize) -> Result<(WriterMemory, Object), CreateError> {
    let (dir, target) = match place {
        Place::Named => (PathBuf::from(SHM_DIR), None),
        Place::File { path, allow_disk } => {
            let dir = match path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
                _ => PathBuf::from("."),
            };
            check_free(path)?;
            if !allow_disk && on_disk(&dir)? {
                return Err(CreateError::Disk { path: path.clone() });
            }
            (dir, Some(path.clone()))
        }
    };
    check_limits(&dir, bytes as u64)?;
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let (path, temporary) = match target {
        None => {
            (dir.join(format!("atomscope-{}-{}-{random:016x}", effective_uid(), std::process::id())), None)
        }
        Some(path) => {
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(format!(".{random:016x}"));
            (path.clone(), Some(dir.join(name)))
        }
    };
    let named = matches!(place, Place::Named);
    let made = temporary.as_ref().unwrap_or(&path);
    let file = make(made, named).map_err(|source| system("create", made, source))?;
    let fill = || -> Result<(&'static forks::Shared, WriterMemory), CreateError> {
        file.set_len(bytes as u64).map_err(|source| system("size", made, source))?;
        reserve(&file, bytes).map_err(|source| system("reserve the blocks of", made, source))?;
        let mapping = memmap2::MmapRaw::map_raw(&file).map_err(|source| system("map", made, source))?;
        let start = NonNull::new(mapping.as_mut_ptr())
            .ok_or_else(|| system("map", made, io::ErrorKind::InvalidData.into()))?;
        // A file system without locks leaves the beats as the only sign of life; readers say so.
        let _ = set_lock(&file, libc::F_WRLCK);
        let slot = forks::register(start, bytes, file);
        let shared = slot.0;
        // SAFETY: `start` is page-aligned and maps `bytes` bytes for reads and writes; the mapping is part of the
        // keeper, which unregisters it from fork before it unmaps it, and moving the keeper moves no mapping. Nothing
        // else in this process has the address but the table
        // of `forks`, which never reads or writes there, and `Memory` accesses it only as atomics. After a fork the child
        // has private memory at the same place.
        let memory = unsafe { WriterMemory::mapped(start, bytes, Keeper { _slot: slot, _mapping: mapping }) };
        Ok((shared, memory))
    };
    match fill() {
        Ok((slot, memory)) => Ok((memory, Object { path, temporary, named, slot })),
        Err(error) => {
            let _ = fs::remove_file(made);
            Err(error)
        }
    }
}

impl Object {
    /// Gives the object the name that it is to be found under.
    pub(crate) fn publish(&mut self) -> Result<(), CreateError> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        // A link never hides what has the name already; a rename takes the place of what was found to be dead.
        let named = match fs::hard_link(&temporary, &self.path) {
            Ok(()) => fs::remove_file(&temporary).map_err(|source| system("unname", &temporary, source)),
            Err(_) => check_free(&self.path).and_then(|()| {
                fs::rename(&temporary, &self.path)
                    .map_err(|source| system("give the region its name", &self.path, source))
            }),
        };
        if named.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        named
    }

    /// Whether this process is a fork of the one that made the object, and has nothing to do with it any more.
    pub(crate) fn forked(&self) -> bool {
        self.slot.forked()
    }

    /// Takes a named segment's name away (a file of the user's choice stays), then lets go of the lock and the
    /// descriptor. The mapping stays for those who still have it.
    pub(crate) fn close(&self) {
        if self.forked() {
            return;
        }
        if self.named {
            let _ = fs::remove_file(&self.path);
        }
        self.slot.let_go();
    }
}

fn system(doing: &'static str, path: &Path, source: io::Error) -> CreateError {
    CreateError::System { doing, path: path.to_path_buf(), source }
}

/// What keeps the memory in place. The slot goes first: a fork must not map over what is no longer ours.
struct Keeper {
    _slot: forks::Slot,
    _mapping: memmap2::MmapRaw,
}

/// Makes the object exclusively, mode 0600.
fn make(path: &Path, named: bool) -> io::Result<File> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).mode(0o600).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW);
    #[cfg(feature = "shm")]
    if named {
        let name = format!("/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let segment = shared_memory::ShmemConf::new().size(1).os_id(name).create();
        // Its handle goes at once, and the segment stays: the handle would keep a second descriptor, which cannot be had.
        segment.map_err(io::Error::other)?.set_owner(false);
        return open.open(path).inspect_err(|_| drop(fs::remove_file(path)));
    }
    let _ = named;
    open.create_new(true).open(path)
}

/// Takes the blocks now, so that no later store can find the file system full and end in SIGBUS.
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for the length of the call, which takes and writes no pointer.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A lock of the whole object, of this type. Byte 0 stands for it.
fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    }
}

/// Takes the lock, or lets go of it.
fn set_lock(file: &impl AsRawFd, kind: libc::c_int) -> io::Result<()> {
    let lock = whole(kind);
    // SAFETY: the descriptor is open for the length of the call; this command takes a pointer to a flock, which `lock` is,
    // valid in every field; it is only read, and the kernel keeps no pointer.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a node holds the object's lock; an error where that cannot be known.
fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole(libc::F_WRLCK);
    // SAFETY: the descriptor is open for the length of the call; this command takes a pointer to a flock, which `lock` is,
    // valid in every field and writable for the length of the call; the kernel keeps no pointer.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The user that owns what the process makes.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

// ---- limits -------------------------------------------------------------------------------------------------------

fn check_limits(dir: &Path, needed: u64) -> Result<(), CreateError> {
    check_descriptors()?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for one rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } == 0
        && limit.rlim_cur != libc::RLIM_INFINITY
        && limit.rlim_cur < needed
    {
        return Err(CreateError::FileSizeLimit { needed, limit: limit.rlim_cur });
    }
    let path = c_path(dir)?;
    let mut room: libc::statvfs = zeroed_statvfs();
    // SAFETY: `path` is a terminated string and `room` a valid place for one statvfs for the length of the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut room) } != 0 {
        return Err(system("use", dir, io::Error::last_os_error()));
    }
    let available = room.f_bavail.saturating_mul(room.f_frsize);
    // A tmpfs without a limit says 0 blocks.
    if room.f_blocks > 0 && available < needed {
        return Err(CreateError::NoSpace { dir: dir.to_path_buf(), needed, available });
    }
    check_control_groups(needed)
}

/// Half of the descriptors that the process may have stay the application's.
fn check_descriptors() -> Result<(), CreateError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for one rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Ok(());
    }
    let most = usize::try_from(limit.rlim_cur / 2).unwrap_or(usize::MAX);
    if forks::open() < most { Ok(()) } else { Err(CreateError::TooMany { most }) }
}

/// Shared regions that this process has open.
pub(crate) fn open_regions() -> usize {
    forks::open()
}

/// Bytes that a named segment can still take, if the file system has a bound.
pub(crate) fn room() -> Option<u64> {
    let path = c_path(Path::new(SHM_DIR)).ok()?;
    let mut room: libc::statvfs = zeroed_statvfs();
    // SAFETY: `path` is a terminated string and `room` a valid place for one statvfs for the length of the call.
    let told = unsafe { libc::statvfs(path.as_ptr(), &mut room) };
    (told == 0 && room.f_blocks > 0).then(|| room.f_bavail.saturating_mul(room.f_frsize))
}

fn zeroed_statvfs() -> libc::statvfs {
    // SAFETY: statvfs is a struct of integers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn c_path(path: &Path) -> Result<CString, CreateError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| system("use", path, error.into()))
}

/// Memory of a tmpfs counts as the control group's: beyond its limit the kernel kills. Asked of the group of this
/// process and each above it, in both versions of control groups.
fn check_control_groups(needed: u64) -> Result<(), CreateError> {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else { return Ok(()) };
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, files) = if controllers.is_empty() {
            ("/sys/fs/cgroup", ["memory.max", "memory.current", "inactive_file"])
        } else if controllers.split(',').any(|name| name == "memory") {
            let files = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
            ("/sys/fs/cgroup/memory", files)
        } else {
            continue;
        };
        // In a namespace of its own the group's path may not be there; its mount's root then stands for it.
        for above in Path::new(group).ancestors() {
            let group = Path::new(root).join(above.strip_prefix("/").unwrap_or(above));
            let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
            let (Some(most), Some(used)) = (number(files[0]), number(files[1])) else { continue };
            let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            let inactive =
                stat.lines().find_map(|line| line.strip_prefix(files[2])?.trim().parse::<u64>().ok());
            let available = most.saturating_sub(used).saturating_add(inactive.unwrap_or(0));
            if available < needed {
                return Err(CreateError::MemoryLimit { group, needed, available });
            }
        }
    }
    Ok(())
}

/// Whether what is written in this folder goes to a disk sooner or later.
fn on_disk(dir: &Path) -> Result<bool, CreateError> {
    const HUGETLBFS_MAGIC: u32 = 0x9584_58f6;
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    let path = c_path(dir)?;
    // SAFETY: statfs is a struct of integers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a terminated string and `found` a valid place for one statfs for the length of the call.
    if unsafe { libc::statfs(path.as_ptr(), &mut found) } != 0 {
        return Err(system("use", dir, io::Error::last_os_error()));
    }
    Ok(![libc::TMPFS_MAGIC as u32, RAMFS_MAGIC, HUGETLBFS_MAGIC].contains(&(found.f_type as u32)))
}

// ---- what is there already ----------------------------------------------------------------------------------------

/// Opens what may be a region of ours, to look at and never to write.
fn look(path: &Path) -> io::Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn read_identity(file: &File) -> Option<Identity> {
    let mut bytes = vec![0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Identity::read(ReaderMemory::copied(&bytes).words()).ok()
}

/// A file may take the place of a dead region, and of nothing else.
fn check_free(path: &Path) -> Result<(), CreateError> {
    let file = match look(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(system("look at", path, source)),
    };
    let regular = file.metadata().is_ok_and(|meta| meta.is_file());
    if !regular || read_identity(&file).is_none() {
        return Err(CreateError::NotARegion { path: path.to_path_buf() });
    }
    match is_locked(&file) {
        Ok(false) => Ok(()),
        // Where locks do not work nobody can tell, and the user has the last word by removing it.
        _ => Err(CreateError::InUse { path: path.to_path_buf() }),
    }
}

/// Removes the oldest dead named regions of this user beyond what is kept for a look at them, and what those have left
/// that died before theirs was published.
pub(crate) fn remove_old_dead(node: &str) {
    let uid = effective_uid();
    let Ok(entries) = fs::read_dir(SHM_DIR) else { return };
    let prefix = format!("atomscope-{uid}-");
    let mut dead: Vec<(u64, u64, String, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes()))
        .filter_map(|entry| {
            let path = entry.path();
            let file = look(&path).ok()?;
            let meta = file.metadata().ok()?;
            if !meta.is_file() || meta.uid() != uid || is_locked(&file).ok()? {
                return None;
            }
            let Some(found) = read_identity(&file) else {
                if is_left_unpublished(&path, &file, &meta) {
                    remove(node, &path);
                }
                return None;
            };
            Some((found.header.created_unix_ns, meta.len(), found.node, path))
        })
        .collect();
    dead.sort_unstable_by_key(|(created, ..)| std::cmp::Reverse(*created));
    let mut keep = Keep::default();
    for (_, size, name, path) in &dead {
        if !keep.keeps(name, *size) {
            remove(node, path);
        }
    }
}

fn remove(node: &str, path: &Path) {
    tracing::info!(node, removed = %path.display(), "atomscope: removed an old dead region");
    let _ = fs::remove_file(path);
}

/// Whether a region that nobody holds the lock of will never be published: it may be just in the making, but not for so
/// long, nor while a process has the number that its name tells. (In another pid namespace that may be another's; then
/// it stays for once.) What is no region at all, or one of another version, is none of these.
fn is_left_unpublished(path: &Path, file: &File, meta: &fs::Metadata) -> bool {
    let mut magic = [0; 8];
    let published = meta.len() >= 8 && (file.read_exact_at(&mut magic, 0).is_err() || magic != [0; 8]);
    let age = meta.modified().ok().and_then(|modified| modified.elapsed().ok());
    let process = path.file_name().and_then(|name| process_of(name.to_str()?));
    !published
        && age.is_some_and(|age| age > MOST_TO_PUBLISH)
        && process.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// The process that the name of a segment tells, exactly as [`create`] makes it.
fn process_of(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix("atomscope-")?.split('-');
    let (uid, pid, random) = (parts.next()?, parts.next()?, parts.next()?);
    let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| number.to_string() == text);
    (is_random && parts.next().is_none() && number(uid).is_some()).then(|| number(pid)).flatten()
}

/// Which dead regions are kept, asked of the newest first: the newest of each node whatever its size, and further ones
/// as far as they stay within the bounds.
#[derive(Default)]
struct Keep {
    of_node: std::collections::HashMap<String, usize>,
    bytes: u64,
}

impl Keep {
    fn keeps(&mut self, node: &str, size: u64) -> bool {
        let same = self.of_node.entry(node.to_owned()).or_default();
        let bytes = self.bytes.saturating_add(size);
        if *same > 0 && (*same == KEEP_DEAD_PER_NODE || bytes > KEEP_DEAD_BYTES) {
            return false;
        }
        *same += 1;
        self.bytes = bytes;
        true
    }
}

// ---- forks --------------------------------------------------------------------------------------------------------

/// What a forked child must not keep: the mapping, through which it would write into its parent's region, and the
/// descriptor, which would hold its parent's lock beyond the parent's death.
mod forks {
    use super::{
        AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, BorrowedFd, File, IntoRawFd, MetadataExt, NonNull,
        Once, Ordering, RawFd, set_lock,
    };

    const EMPTY: i32 = 0;
    const FILLING: i32 = 1;
    const ACTIVE: i32 = 2;
    const FORKED: i32 = 3;
    const NO_DESCRIPTOR: RawFd = -1;

    /// What a child needs to know of one region.
    #[derive(Debug)]
    pub(super) struct Shared {
        state: AtomicI32,
        start: AtomicUsize,
        bytes: AtomicUsize,
        lock: AtomicI32,
        /// Device and number of the object.
        inode: [AtomicU64; 2],
    }

    /// Some of them. A full chunk is followed by another, which stays for good: a child just forked can read them all
    /// without a lock.
    struct Chunk {
        slots: [Shared; 64],
        next: AtomicPtr<Chunk>,
    }

    static FIRST: Chunk = Chunk::new();
    static OPEN: AtomicUsize = AtomicUsize::new(0);

    impl Chunk {
        const fn new() -> Self {
            Self { slots: [const { Shared::new() }; 64], next: AtomicPtr::new(std::ptr::null_mut()) }
        }

        fn next(&self) -> Option<&'static Chunk> {
            let next = NonNull::new(self.next.load(Ordering::Acquire))?;
            // SAFETY: what is stored in `next` came from a box that was given up for good, so that it is aligned, points to
            // an initialised chunk and stays valid; it was stored with release, which the load above acquires. A chunk is
            // only ever used through shared references: all that changes in it are atomics.
            Some(unsafe { next.as_ref() })
        }

        /// The chunk behind this one, made if there is none.
        fn next_or_new(&self) -> &'static Chunk {
            if self.next().is_none() {
                let new = Box::into_raw(Box::new(Self::new()));
                let null = std::ptr::null_mut();
                let put = self.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Relaxed);
                if put.is_err() {
                    // SAFETY: `new` came from a box just now, and was stored nowhere.
                    drop(unsafe { Box::from_raw(new) });
                }
            }
            self.next().unwrap_or(&FIRST)
        }
    }

    impl Shared {
        const fn new() -> Self {
            Self {
                state: AtomicI32::new(EMPTY),
                start: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                lock: AtomicI32::new(NO_DESCRIPTOR),
                inode: [const { AtomicU64::new(0) }; 2],
            }
        }

        pub(super) fn forked(&self) -> bool {
            self.state.load(Ordering::Relaxed) == FORKED
        }

        /// Lets go of the lock and of the descriptor, unless somebody has closed that behind our back and the number is
        /// another file's by now.
        pub(super) fn let_go(&self) {
            let lock = self.lock.swap(NO_DESCRIPTOR, Ordering::Relaxed);
            if lock == NO_DESCRIPTOR {
                return;
            }
            OPEN.fetch_sub(1, Ordering::Relaxed);
            let inode = self.inode.each_ref().map(|part| part.load(Ordering::Relaxed));
            // SAFETY: stat is a struct of integers, for which zero is a value.
            let mut found: libc::stat = unsafe { std::mem::zeroed() };
            // SAFETY: `found` is a valid place for one stat for the length of the call; a number that is no descriptor is an
            // error.
            let told = unsafe { libc::fstat(lock, &mut found) };
            if told != 0 || [found.st_dev, found.st_ino] != inode {
                return;
            }
            // SAFETY: the descriptor was given to this slot by `register` and taken out of it above, so that nobody else of
            // the probe uses or closes it; it is open, as was just seen, and no `-1`.
            let file = unsafe { BorrowedFd::borrow_raw(lock) };
            // The mapping holds the same open file: closing the descriptor alone would leave the lock.
            let _ = set_lock(&file, libc::F_UNLCK);
            // SAFETY: as above; it is not used after this.
            unsafe { libc::close(lock) };
        }
    }

    fn all() -> impl Iterator<Item = &'static Shared> {
        std::iter::successors(Some(&FIRST), |chunk| chunk.next()).flat_map(|chunk| &chunk.slots)
    }

    /// Regions whose descriptor is open.
    pub(super) fn open() -> usize {
        OPEN.load(Ordering::Relaxed)
    }

    /// An entry of the table; dropping it closes the lock's descriptor.
    pub(super) struct Slot(pub(super) &'static Shared);

    pub(super) fn register(start: NonNull<u8>, bytes: usize, lock: File) -> Slot {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // SAFETY: the handler is a function of the right type that lives for ever, and does only what is allowed
            // between fork and exec: atomics, mmap and close.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
        let slot = claim();
        let inode = lock.metadata().map_or([0; 2], |meta| [meta.dev(), meta.ino()]);
        slot.start.store(start.as_ptr() as usize, Ordering::Relaxed);
        slot.bytes.store(bytes, Ordering::Relaxed);
        slot.inode.iter().zip(inode).for_each(|(part, value)| part.store(value, Ordering::Relaxed));
        slot.lock.store(lock.into_raw_fd(), Ordering::Relaxed);
        OPEN.fetch_add(1, Ordering::Relaxed);
        slot.state.store(ACTIVE, Ordering::Release);
        Slot(slot)
    }

    fn claim() -> &'static Shared {
        let mut chunk = &FIRST;
        loop {
            let free = chunk.slots.iter().find(|slot| {
                slot.state.compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed).is_ok()
            });
            match free {
                Some(slot) => return slot,
                None => chunk = chunk.next_or_new(),
            }
        }
    }

    impl Drop for Slot {
        fn drop(&mut self) {
            self.0.let_go();
            self.0.state.store(EMPTY, Ordering::Release);
        }
    }

    extern "C" fn in_child() {
        // Of the child's own regions there are none yet.
        OPEN.store(0, Ordering::Relaxed);
        for slot in all() {
            if slot.state.load(Ordering::Acquire) != ACTIVE {
                continue;
            }
            let start = slot.start.load(Ordering::Relaxed);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
            // SAFETY: the slot is active, so the range is a mapping of ours that no one has unmapped, page-aligned and of
            // its whole length; in a child just forked there is no other thread; what replaces it has the same length and
            // allows the same accesses, so references into it stay valid. (Should the kernel have no memory even for
            // this, no mapping may be left there, and the child's next access ends it; the parent's region is safe
            // either way.)
            unsafe {
                libc::mmap(
                    start as *mut libc::c_void,
                    slot.bytes.load(Ordering::Relaxed),
                    protection,
                    flags,
                    -1,
                    0,
                )
            };
            let lock = slot.lock.swap(NO_DESCRIPTOR, Ordering::Relaxed);
            if lock != NO_DESCRIPTOR {
                // SAFETY: the descriptor belongs to this slot alone, which forgets it here, and the child has its own copy.
                unsafe { libc::close(lock) };
            }
            slot.state.store(FORKED, Ordering::Relaxed);
        }
    }
}

/// Has `handler` called when the process exits in good order.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function of the right type that lives for ever; as an `extern "C"` function it cannot
    // unwind into its caller.
    unsafe { libc::atexit(handler) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_dead_region_costs_no_other_its_place() {
        let mut keep = Keep::default();
        let large = KEEP_DEAD_BYTES * 10;
        assert!(keep.keeps("large", large), "the newest of a node is always kept");
        assert!(!keep.keeps("large", large));
        assert!(keep.keeps("small", 1));
    }

    #[test]
    fn the_process_of_a_segment_is_that_of_an_exact_name_only() {
        assert_eq!(process_of("atomscope-0-77-00ff00ff00ff00ff"), Some(77));
        for name in [
            "atomscope-0-77-00ff00ff00ff00f",
            "atomscope-0-077-00ff00ff00ff00ff",
            "atomscope-0-77-00ff00ff00ff00ff-1",
            "atomscope-mine",
        ] {
            assert_eq!(process_of(name), None, "{name}");
        }
    }

    #[test]
    fn two_of_a_node_are_kept_and_those_that_are_not_take_no_room() {
        let mut keep = Keep::default();
        let third = KEEP_DEAD_BYTES / 3;
        assert_eq!([third; 4].map(|size| keep.keeps("a", size)), [true, true, false, false]);
        assert!(keep.keeps("b", third));
        assert!(!keep.keeps("b", third));
    }
}
