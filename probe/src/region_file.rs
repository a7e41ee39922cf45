//! The object that a shared region lives in: made, reserved, locked, mapped, and what becomes of it in a fork.
//!
//! Order of events, so that no reader, no other process and no fork ever sees half of it:
//! ```text
//!   limits asked ─► [ object made ─► mapped ─► known to forks ─► locked ] ─► blocks reserved
//!   (region.rs:)    header written
//!   a segment:      has its name from the beginning ─► closed at exit ─► published: its magic comes last
//!   a user's file:  published without a name ─► [ named ─► mapped through its name, lock handed over ] ─► closed at exit
//! ```
//! What stands in brackets is done while no fork goes on, see [`forks`]. From a file's name until it is closed at exit the
//! exit waits, see [`crate::process`].
//!
//! The lock is how others know that the node is alive: an open-file-description lock on byte 0 through the one descriptor
//! of the object, which is mapped through it too. It goes when the region closes, or with the last copy of both descriptor
//! and mapping, and so with the process; a program that closes descriptors it does not know keeps it.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "mapping, locking and forking have no safe interface")]

use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use atomscope_layout::decode::{self, Beat, Birth, Identity};
use atomscope_layout::region::{HEADER_BYTES, State};
use atomscope_layout::retention;
use atomscope_layout::view::{ReaderMemory, WriterMemory};

use crate::backing::Backing;
use crate::clock;
use crate::error::{CreateError, RoomTaken};
use crate::identity::{boot_id, pid_namespace, process_start_ticks};

/// Where named segments are.
const SHM_DIR: &str = "/dev/shm";
/// A region that is not published after this long never will be, if its process is gone.
const MOST_TO_PUBLISH: Duration = Duration::from_secs(60);
/// A beat that is no older than this may be a living process's.
const FRESH: Duration = Duration::from_secs(3);
/// The byte of an object whose lock says that its node lives.
const ALIVE: libc::off_t = 0;
/// The byte of a dead object whose lock says that another one takes its place.
const REPLACED: libc::off_t = 1;

/// The object, apart from its memory.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its file.
    pub(crate) path: PathBuf,
    pub(crate) is_named: bool,
    slot: &'static forks::Shared,
    undo: Undo,
}

/// What is removed again unless the region is published.
#[derive(Debug, Default)]
struct Undo {
    /// The object, under the name that it has so far.
    file: Option<PathBuf>,
    dir: Option<PathBuf>,
}

impl Undo {
    fn disarm(&mut self) {
        (self.file, self.dir) = (None, None);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let _ = self.file.as_ref().map(fs::remove_file);
        let _ = self.dir.as_ref().map(fs::remove_dir);
    }
}

/// Makes an object of `bytes` bytes, reserved and locked, and maps it. Until [`Object::publish`] a user's file has not
/// its name.
pub(crate) fn create(backing: &Backing, bytes: usize) -> Result<(WriterMemory, Object), CreateError> {
    let mut undo = Undo::default();
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let unique = format!("{}-{random:016x}", std::process::id());
    let (path, named) = match backing {
        Backing::Segment => {
            (Path::new(SHM_DIR).join(format!("atomscope-{}-{unique}", effective_uid())), true)
        }
        Backing::File { path, .. } => (path.clone(), false),
    };
    let dir = parent(&path);
    if let Backing::File { path, allow_disk } = backing {
        check_free(path)?;
        let (existing, is_missing) = existing(&dir)?;
        if !allow_disk && on_disk(&existing)? {
            return Err(CreateError::Disk { path: path.clone() });
        }
        check_limits(&existing, bytes as u64)?;
        if is_missing {
            undo.dir = make_dir(&dir)?;
        }
        remove_left_temporaries(path, &dir);
    } else {
        check_limits(&dir, bytes as u64)?;
    }
    // Nothing may be called in between that could fork, wait, or take long.
    let window = forks::Window::open();
    let file = match named {
        true => make_segment(&path, &mut undo)?,
        false => make_file(&dir, &temporary(&path, &unique), &mut undo)?,
    };
    file.set_len(bytes as u64).map_err(|source| system("size", &path, source))?;
    let mapped = map(&window, file, &path, bytes)?;
    let slot = mapped.slot.0;
    // A file system without locks leaves the beats as the only sign of life; readers say so.
    let _ = set_lock(slot.descriptor(), ALIVE, libc::F_WRLCK);
    let undisturbed = window.close();
    let memory = mapped.into_memory();
    if !undisturbed {
        return Err(system("keep from a fork", &path, io::ErrorKind::TimedOut.into()));
    }
    reserve(slot.descriptor(), bytes).map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull => no_space(&dir, bytes as u64),
        _ => system("reserve the blocks of", &path, source),
    })?;
    Ok((memory, Object { path, is_named: named, slot, undo }))
}

impl Object {
    /// The region is published, or complete but for that: gives a user's file its name, and the memory that the region is
    /// written in from then on, which is mapped through that name. (What was mapped before would be shown as deleted in
    /// the process's map for ever, whatever names the file gets.)
    pub(crate) fn publish(&mut self, bytes: usize) -> Result<Option<WriterMemory>, CreateError> {
        if self.is_named {
            self.undo.disarm();
            return Ok(None);
        }
        let window = forks::Window::open();
        let fd = self.slot.descriptor();
        self.give_name(fd)?;
        let file = open_to_write(&self.path).map_err(|source| system("open", &self.path, source))?;
        if !is_same(&file, fd) {
            // Somebody else's by now, and none of ours to remove.
            self.undo.file = None;
            return Err(system("open", &self.path, io::ErrorKind::AlreadyExists.into()));
        }
        let mapped = map(&window, file, &self.path, bytes)?;
        let (before, slot) = (self.slot, mapped.slot.0);
        // Two open files cannot both have a write lock, but read locks: so somebody holds one all the time.
        let _ = set_lock(fd, ALIVE, libc::F_RDLCK);
        let _ = set_lock(slot.descriptor(), ALIVE, libc::F_RDLCK);
        before.let_go(&window);
        let _ = set_lock(slot.descriptor(), ALIVE, libc::F_WRLCK);
        self.slot = slot;
        let undisturbed = window.close();
        let memory = mapped.into_memory();
        if !undisturbed {
            return Err(system("keep from a fork", &self.path, io::ErrorKind::TimedOut.into()));
        }
        self.undo.disarm();
        Ok(Some(memory))
    }

    /// Gives a user's file, which is locked and complete, its name. What has the name already stays, unless it is dead.
    fn give_name(&mut self, fd: RawFd) -> Result<(), CreateError> {
        let failed = |path: &Path, source| system("give the region its name", path, source);
        let temporary = match self.undo.file.clone() {
            Some(temporary) => temporary,
            None => {
                match link(fd, &self.path) {
                    Ok(()) => {
                        self.undo.file = Some(self.path.clone());
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(source) => return Err(failed(&self.path, source)),
                }
                // Only a rename takes the place of another file at once.
                check_free(&self.path)?;
                let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
                let temporary = temporary(&self.path, &format!("{}-{random:016x}", std::process::id()));
                link(fd, &temporary).map_err(|source| failed(&temporary, source))?;
                self.undo.file = Some(temporary.clone());
                temporary
            }
        };
        rename(&temporary, &self.path)?;
        self.undo.file = Some(self.path.clone());
        Ok(())
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
        if self.is_named {
            let _ = fs::remove_file(&self.path);
        }
        self.slot.let_go(&forks::Window::open());
    }
}

/// Its folder.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// This folder, or the one that it can be made in; and whether it has to be. Folders above that are the user's to make:
/// more often than not their absence is a slip of the pen.
fn existing(dir: &Path) -> Result<(PathBuf, bool), CreateError> {
    let is_missing =
        |dir: &Path| fs::metadata(dir).err().filter(|error| error.kind() == io::ErrorKind::NotFound);
    match is_missing(dir).map(|_| parent(dir)) {
        None => Ok((dir.to_path_buf(), false)),
        Some(above) => match is_missing(&above) {
            None => Ok((above, true)),
            Some(source) => Err(CreateError::NoDirectory { dir: dir.to_path_buf(), source }),
        },
    }
}

/// Makes the folder for this user alone; `None` if somebody has made it meanwhile.
fn make_dir(dir: &Path) -> Result<Option<PathBuf>, CreateError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(Some(dir.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(source) => Err(CreateError::NoDirectory { dir: dir.to_path_buf(), source }),
    }
}

/// What a user's file is called before it has its name, where it cannot be without one.
fn temporary(path: &Path, unique: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{unique}"));
    path.with_file_name(name)
}

/// Links the file of this descriptor, which has no name, to `path`, if nothing has that name.
fn link(fd: RawFd, path: &Path) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    let proc = CString::new(format!("/proc/self/fd/{fd}"))?;
    // Older kernels give the first to root alone; the second needs /proc.
    for (from, name, flags) in
        [(fd, c"", libc::AT_EMPTY_PATH), (libc::AT_FDCWD, proc.as_c_str(), libc::AT_SYMLINK_FOLLOW)]
    {
        // SAFETY: both names are terminated strings that live for the length of the call, and `fd` is open.
        if unsafe { libc::linkat(from, name.as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::AlreadyExists || flags == libc::AT_SYMLINK_FOLLOW {
            return Err(error);
        }
    }
    Ok(())
}

/// Renames `temporary` to `path`, whose place it takes only if that is a dead region.
fn rename(temporary: &Path, path: &Path) -> Result<(), CreateError> {
    let failed = |source| system("give the region its name", path, source);
    // Each time round the name was another's, or free, when it was looked at again.
    for _ in 0..16 {
        let is_checked = match rename_to_free(temporary, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            // The file system cannot say: then look, and rename.
            Err(error) if [libc::EINVAL, libc::ENOSYS].contains(&error.raw_os_error().unwrap_or(0)) => false,
            Err(source) => return Err(failed(source)),
        };
        // Held until the rename is done.
        let right = right_to_replace(path)?;
        if right.is_some() || !is_checked {
            return fs::rename(temporary, path).map_err(failed);
        }
    }
    Err(CreateError::InUse { path: path.to_path_buf() })
}

/// As `renameat2` with `RENAME_NOREPLACE`.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (CString::new(from.as_os_str().as_bytes())?, CString::new(to.as_os_str().as_bytes())?);
    let here = libc::AT_FDCWD;
    // SAFETY: both names are terminated strings that live for the length of the call, which keeps neither.
    let done = unsafe {
        libc::syscall(libc::SYS_renameat2, here, from.as_ptr(), here, to.as_ptr(), libc::RENAME_NOREPLACE)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The dead region at `path`, with a lock that only one process at a time has which wants its place; `None` if there is
/// nothing of that name any more, or something else.
fn right_to_replace(path: &Path) -> Result<Option<File>, CreateError> {
    let file = match open_to_write(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(system("look at", path, source)),
    };
    check_dead(path, &file)?;
    set_lock(file.as_raw_fd(), REPLACED, libc::F_WRLCK)
        .map_err(|_| CreateError::InUse { path: path.to_path_buf() })?;
    let there = fs::symlink_metadata(path).is_ok_and(|meta| {
        file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
    });
    Ok(there.then_some(file))
}

/// Whether the file is that of the descriptor.
fn is_same(file: &File, fd: RawFd) -> bool {
    let inode = inode_of(fd);
    inode.is_some() && inode == inode_of(file.as_raw_fd())
}

/// Device and number of the descriptor's file, if it is one.
fn inode_of(fd: RawFd) -> Option<[u64; 2]> {
    // SAFETY: stat is a struct of integers, for which zero is a value.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is a valid place for one stat for the length of the call; a descriptor that is not open is an error.
    let told = unsafe { libc::fstat(fd, &raw mut found) } == 0;
    told.then_some([found.st_dev, found.st_ino])
}

fn system(doing: &'static str, path: &Path, source: io::Error) -> CreateError {
    CreateError::System { doing, path: path.to_path_buf(), source }
}

/// What keeps the memory in place. The slot goes first: a fork must not map over what is no longer ours.
struct Keeper {
    _slot: forks::Slot,
    _mapping: memmap2::MmapRaw,
}

/// A file that is mapped, and known to forks.
struct Mapped {
    slot: forks::Slot,
    mapping: memmap2::MmapRaw,
    start: NonNull<u8>,
    bytes: usize,
}

/// Maps the file, which has that many bytes, in a time without forks.
fn map(window: &forks::Window, file: File, path: &Path, bytes: usize) -> Result<Mapped, CreateError> {
    let mapping = memmap2::MmapRaw::map_raw(&file).map_err(|source| system("map", path, source))?;
    let start = NonNull::new(mapping.as_mut_ptr()).filter(|_| mapping.len() == bytes);
    let start = start.ok_or_else(|| system("map", path, io::ErrorKind::InvalidData.into()))?;
    Ok(Mapped { slot: forks::register(window, start, bytes, file), mapping, start, bytes })
}

impl Mapped {
    fn into_memory(self) -> WriterMemory {
        let Self { slot, mapping, start, bytes } = self;
        // SAFETY: `start` is page-aligned and maps `bytes` bytes for reads and writes; the mapping is part of the keeper,
        // which unregisters it from fork before it unmaps it, and moving the keeper moves no mapping. Nothing else in this
        // process has the address but the table of `forks`, which never reads or writes there (another mapping of the same
        // blocks is in a place of its own); `Memory` accesses it only as atomics. After a fork the child has private memory
        // at the same place.
        unsafe { WriterMemory::mapped(start, bytes, Keeper { _slot: slot, _mapping: mapping }) }
    }
}

/// Makes a segment exclusively, mode 0600.
fn make_segment(path: &Path, undo: &mut Undo) -> Result<File, CreateError> {
    #[cfg(feature = "shm")]
    {
        let name = format!("/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let mut segment = shared_memory::ShmemConf::new()
            .size(1)
            .os_id(name)
            .create()
            .map_err(|error| system("create", path, shm_error(error)))?;
        undo.file = Some(path.to_path_buf());
        // Its handle goes at once, and the segment stays: the handle would keep a second descriptor, which cannot be had.
        segment.set_owner(false);
        drop(segment);
        open_to_write(path).map_err(|source| system("open", path, source))
    }
    #[cfg(not(feature = "shm"))]
    {
        let file = create_new(path)?;
        undo.file = Some(path.to_path_buf());
        Ok(file)
    }
}

/// The system's own word, which the crate makes a number of.
#[cfg(feature = "shm")]
fn shm_error(error: shared_memory::ShmemError) -> io::Error {
    use shared_memory::ShmemError::{MapCreateFailed, MapOpenFailed, MappingIdExists, UnknownOsError};
    match error {
        MapCreateFailed(number) | MapOpenFailed(number) | UnknownOsError(number) => {
            io::Error::from_raw_os_error(number as i32)
        }
        MappingIdExists => io::ErrorKind::AlreadyExists.into(),
        other => io::Error::other(other),
    }
}

/// Makes a file in `dir`, mode 0600. It has no name, so that nothing is left of it if the process is killed; where a file
/// cannot be without a name, it is called `temporary`.
fn make_file(dir: &Path, temporary: &Path, undo: &mut Undo) -> Result<File, CreateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_CLOEXEC | libc::O_TMPFILE);
    options.open(dir).or_else(|_| {
        let file = create_new(temporary)?;
        undo.file = Some(temporary.to_path_buf());
        Ok(file)
    })
}

fn create_new(path: &Path) -> Result<File, CreateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|source| system("create", path, source))
}

/// Takes the blocks now, so that no later store can find the file system full and end in SIGBUS.
fn reserve(fd: RawFd, bytes: usize) -> io::Result<()> {
    loop {
        // SAFETY: the call takes and writes no pointer; a descriptor that is not open is an error.
        match unsafe { libc::posix_fallocate(fd, 0, bytes as libc::off_t) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// A lock of this type on one byte.
fn lock_on(byte: libc::off_t, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

/// Takes the lock of this type on one byte, or lets go of it.
fn set_lock(fd: RawFd, byte: libc::off_t, kind: libc::c_int) -> io::Result<()> {
    let lock = lock_on(byte, kind);
    // SAFETY: a descriptor that is not open is an error; this command takes a pointer to a flock, which `lock` is, valid in
    // every field; it is only read, and the kernel keeps no pointer.
    match unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a node holds the object's lock; an error where that cannot be known.
fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = lock_on(ALIVE, libc::F_WRLCK);
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
    let room = statvfs(dir).map_err(|source| system("use", dir, source))?;
    // A tmpfs without a limit says 0 blocks.
    if room.f_blocks > 0 && room.f_bavail.saturating_mul(room.f_frsize) < needed {
        return Err(no_space(dir, needed));
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
pub(crate) fn free_bytes() -> Option<u64> {
    let room = statvfs(Path::new(SHM_DIR)).ok().filter(|room| room.f_blocks > 0)?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}

fn statvfs(dir: &Path) -> io::Result<libc::statvfs> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: statvfs is a struct of integers, for which zero is a value.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a terminated string and `room` a valid place for one statvfs for the length of the call.
    match unsafe { libc::statvfs(path.as_ptr(), &mut room) } {
        0 => Ok(room),
        _ => Err(io::Error::last_os_error()),
    }
}

/// That the file system of `dir` has not so much room, and what takes it.
fn no_space(dir: &Path, needed: u64) -> CreateError {
    let (mut available, mut taken) = (0, RoomTaken::default());
    if let Ok(room) = statvfs(dir) {
        available = room.f_bavail.saturating_mul(room.f_frsize);
        taken.other_bytes = room.f_blocks.saturating_sub(room.f_bfree).saturating_mul(room.f_frsize);
    }
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let regions = if device(dir) == device(Path::new(SHM_DIR)) { own_segments() } else { Vec::new() };
    for OwnSegment { bytes, state, .. } in regions {
        let (count, sum) = match state {
            SegmentState::Live => (&mut taken.live_regions, &mut taken.live_bytes),
            SegmentState::Dead(_) | SegmentState::Left => (&mut taken.dead_regions, &mut taken.dead_bytes),
            SegmentState::Unknown => continue,
        };
        *count += 1;
        *sum += bytes;
        taken.other_bytes = taken.other_bytes.saturating_sub(bytes);
    }
    CreateError::NoSpace { dir: dir.to_path_buf(), needed, available, taken }
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

/// What a region's header says of its node.
struct Header {
    identity: Identity,
    state: Option<State>,
    beat: Beat,
}

impl Header {
    fn read(file: &File) -> Option<Self> {
        let mut bytes = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let memory = ReaderMemory::copied(&bytes);
        let words = memory.words();
        let identity = Identity::read(words).ok()?;
        Some(Self { identity, state: decode::state(words), beat: Beat::of_process(words) })
    }
}

fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// A file may take the place of a dead region, and of nothing else.
fn check_free(path: &Path) -> Result<(), CreateError> {
    match look(path) {
        Ok(file) => check_dead(path, &file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(system("look at", path, source)),
    }
}

fn check_dead(path: &Path, file: &File) -> Result<(), CreateError> {
    let meta = file.metadata().map_err(|source| system("look at", path, source))?;
    // Its lock first: a node says that it closes before it lets go.
    let (locked, header) = (is_locked(file), Header::read(file).filter(|_| meta.is_file()));
    let Some(header) = header else { return Err(CreateError::NotARegion { path: path.to_path_buf() }) };
    match locked {
        Ok(false) if !may_live_without_lock(&header, &meta) => Ok(()),
        // Where locks do not work nobody can tell, and the user has the last word by removing it.
        _ => Err(CreateError::InUse { path: path.to_path_buf() }),
    }
}

/// Whether the region's process may live though nobody holds its lock: whether it has the region mapped, where its number
/// means the same as here, and elsewhere whether it has just beaten. One that has closed it needs it no more.
fn may_live_without_lock(header: &Header, meta: &fs::Metadata) -> bool {
    let Header { identity, state, beat } = header;
    if *state == Some(State::Closed) {
        return false;
    }
    let header = &identity.header;
    let boot = boot_id();
    if header.boot_id != [0, 0] && boot.is_some_and(|boot| boot != header.boot_id) {
        return false;
    }
    if header.pid_namespace != 0 && pid_namespace().is_some_and(|ours| ours != header.pid_namespace) {
        return boot == Some(header.boot_id) && has_just_beaten(identity, *beat);
    }
    match fs::read(format!("/proc/{}/maps", header.pid)) {
        Ok(maps) => maps.split(|byte| *byte == b'\n').any(|line| is_mapping_of(line, meta)),
        // Not ours to look into.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            process_start_ticks(&header.pid.to_string()) == Some(header.process_start_ticks)
        }
        Err(_) => false,
    }
}

/// Whether the last beat is no older than a living node's may be. One of the future is of another clock.
fn has_just_beaten(identity: &Identity, beat: Beat) -> bool {
    let (now_ns, own_offset_ns) = (clock::mono_ns(), clock::own_mono_offset_ns());
    // Of one that does not say in which time namespace it is, the clock is taken to be ours.
    let its_offset_ns = match identity.time.time_namespace {
        0 => own_offset_ns,
        _ => identity.time.mono_offset_ns as i64,
    };
    let of_machine = |ns: u64, offset_ns: i64| i128::from(ns) - i128::from(offset_ns);
    let age_ns = of_machine(now_ns, own_offset_ns) - of_machine(beat.mono_ns, its_offset_ns);
    beat.count > 0 && (0..=FRESH.as_nanos() as i128).contains(&age_ns)
}

/// Whether a line of a process's map, `address perms offset device inode path`, is a shared writable mapping of that file.
fn is_mapping_of(line: &[u8], meta: &fs::Metadata) -> bool {
    let line = String::from_utf8_lossy(line);
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (permissions, _, device, inode) = (fields.next(), fields.next(), fields.next(), fields.next());
    let device = device.and_then(|device| {
        let (major, minor) = device.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        Some(libc::makedev(number(major)?, number(minor)?))
    });
    permissions.is_some_and(|permissions| permissions.starts_with("rw") && permissions.ends_with('s'))
        && device == Some(meta.dev())
        && inode.and_then(|inode| inode.parse().ok()) == Some(meta.ino())
}

/// A named segment of this user.
struct OwnSegment {
    path: PathBuf,
    /// That it takes.
    bytes: u64,
    state: SegmentState,
}

enum SegmentState {
    /// Its node lives.
    Live,
    /// Its node is dead.
    Dead(Box<Identity>),
    /// Its node died before it was published.
    Left,
    /// Just in the making, or of another version.
    Unknown,
}

fn own_segments() -> Vec<OwnSegment> {
    let uid = effective_uid();
    let prefix = format!("atomscope-{uid}-");
    let entries = fs::read_dir(SHM_DIR).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes()))
        .filter_map(|entry| {
            let path = entry.path();
            let file = look(&path).ok()?;
            let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.uid() == uid)?;
            let state = match (is_locked(&file), Header::read(&file)) {
                (Ok(true), Some(_)) => SegmentState::Live,
                (Ok(false), Some(header)) if may_live_without_lock(&header, &meta) => SegmentState::Live,
                (Ok(false), Some(header)) => SegmentState::Dead(Box::new(header.identity)),
                (Ok(false), None) => {
                    match is_left(&file, &meta, path.file_name().and_then(|name| process_of(name.to_str()?)))
                    {
                        true => SegmentState::Left,
                        false => SegmentState::Unknown,
                    }
                }
                (Ok(true), None) | (Err(_), _) => SegmentState::Unknown,
            };
            Some(OwnSegment { path, bytes: meta.blocks() * 512, state })
        })
        .collect()
}

/// Removes the oldest dead named regions of this user beyond what is kept for a look at them, and what those have left
/// that died before theirs was published.
pub(crate) fn remove_old_dead(node: &str) {
    let mut dead = Vec::new();
    for OwnSegment { path, bytes, state } in own_segments() {
        match state {
            SegmentState::Dead(identity) => dead.push((identity, bytes, path)),
            SegmentState::Left => remove(node, &path),
            SegmentState::Live | SegmentState::Unknown => {}
        }
    }
    let births: Vec<_> = dead.iter().map(|(identity, ..)| identity.birth()).collect();
    let mut dead: Vec<_> = Birth::ranks(&births, boot_id()).into_iter().zip(dead).collect();
    dead.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    let file_system = statvfs(Path::new(SHM_DIR)).ok().filter(|room| room.f_blocks > 0);
    let file_system_bytes = file_system.map_or(u64::MAX, |room| room.f_blocks.saturating_mul(room.f_frsize));
    let newest_first = dead.iter().map(|(_, (identity, bytes, _))| (identity.node.as_str(), *bytes));
    let stays = retention::stay(newest_first, file_system_bytes);
    for ((_, (.., path)), _) in dead.iter().zip(stays).filter(|(_, stays)| !stays) {
        remove(node, path);
    }
}

fn remove(node: &str, path: &Path) {
    tracing::info!(node, removed = %path.display(), "atomscope: removed an old dead region");
    let _ = fs::remove_file(path);
}

/// Removes what nodes have left that were killed before they could give the file `path` in `dir` its name.
fn remove_left_temporaries(path: &Path, dir: &Path) {
    let Some(name) = path.file_name() else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let Some(process) = process_of_temporary(name, &entry.file_name()) else { continue };
        let Ok(file) = look(&entry.path()) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        let is_ours = meta.is_file() && meta.uid() == effective_uid();
        if is_ours && is_locked(&file).is_ok_and(|locked| !locked) && is_left(&file, &meta, process) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is that of [`temporary`] for a file of this name: then with the process that it tells. (Until version
/// 1.1 it told none.)
fn process_of_temporary(name: &OsStr, temporary: &OsStr) -> Option<Option<u32>> {
    let unique = temporary.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b".")?;
    let unique = std::str::from_utf8(unique).ok()?;
    match unique.split_once('-') {
        Some((pid, random)) if is_random(random) => Some(Some(exact_number(pid)?)),
        None if is_random(unique) => Some(None),
        _ => None,
    }
}

/// Whether what nobody holds the lock of will never be published, and no region of another version either. It may be just
/// in the making, but not for so long, nor while a process has the number of the one that made it. (In another pid
/// namespace that may be another's; then it stays for once. This process itself locks what it makes at once, so an
/// unlocked one of its number is a predecessor's, in a container.)
fn is_left(file: &File, meta: &fs::Metadata, process: Option<u32>) -> bool {
    let mut magic = [0; 8];
    let published = meta.len() >= 8 && (file.read_exact_at(&mut magic, 0).is_err() || magic != [0; 8]);
    let is_complete = published && Header::read(file).is_some();
    let age = meta.modified().ok().and_then(|modified| modified.elapsed().ok());
    let is_there = |pid: u32| pid != std::process::id() && Path::new(&format!("/proc/{pid}")).exists();
    (!published || is_complete)
        && age.is_some_and(|age| age > MOST_TO_PUBLISH)
        && !process.is_some_and(is_there)
}

/// The process that the name of a segment tells, exactly as [`create`] makes it.
fn process_of(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix("atomscope-")?.split('-');
    let (uid, pid, random) = (parts.next()?, parts.next()?, parts.next()?);
    exact_number(uid).filter(|_| is_random(random) && parts.next().is_none())?;
    exact_number(pid)
}

fn is_random(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn exact_number(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|number| number.to_string() == text)
}

// ---- forks --------------------------------------------------------------------------------------------------------

/// What a forked child must not keep: the mapping, through which it would write into its parent's region, and the
/// descriptor, which would hold its parent's lock beyond the parent's death.
///
/// Both are in a table, by which the child lets go of them. What is mapped or opened and not yet there, or no more, a child
/// would keep; so neither happens while a fork goes on:
/// ```text
///   Window::open   MAKING + 1, then wait until FORKING is 0     before_fork   wait until MAKING is 0 and FORKING + 1
///   Window::close  MAKING - 1                                   after_fork    FORKING - 1       (in the child: both 0)
/// ```
/// A window takes some ten system calls. Neither side waits for more than [`forks::PATIENCE`]: whoever holds up the other may
/// itself wait for something that that one holds. Then the fork goes on, and the window is told that it was disturbed:
/// what was made in it is not used.
mod forks {
    use super::{
        ALIVE, AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Duration, File, IntoRawFd, NonNull,
        Ordering, RawFd, inode_of, set_lock,
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

        /// The descriptor of the lock, or one that there is not.
        pub(super) fn descriptor(&self) -> RawFd {
            self.lock.load(Ordering::Relaxed)
        }

        /// Lets go of the lock and of the descriptor, in a time without forks, unless somebody has closed that behind our
        /// back and the number is another file's by now.
        pub(super) fn let_go(&self, _: &Window) {
            let lock = self.lock.swap(NO_DESCRIPTOR, Ordering::Relaxed);
            if lock == NO_DESCRIPTOR {
                return;
            }
            OPEN.fetch_sub(1, Ordering::Relaxed);
            let inode = self.inode.each_ref().map(|part| part.load(Ordering::Relaxed));
            if inode_of(lock) != Some(inode) {
                return;
            }
            // The mapping holds the same open file: closing the descriptor alone would leave the lock.
            let _ = set_lock(lock, ALIVE, libc::F_UNLCK);
            // SAFETY: the descriptor was given to this slot by `register` and taken out of it above, so that nobody else of
            // the probe uses or closes it; it is that file's, as was just seen.
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

    /// Windows that are open.
    static MAKING: AtomicUsize = AtomicUsize::new(0);
    /// Forks that are under way.
    static FORKING: AtomicUsize = AtomicUsize::new(0);
    /// Forks that did not wait for the windows that were open.
    static IMPATIENT: AtomicUsize = AtomicUsize::new(0);

    /// About how long one side waits for the other.
    pub(super) const PATIENCE: Duration = Duration::from_secs(1);

    /// Waits until `done`, first by letting others run. Allocates nothing and takes no lock.
    fn wait_until(mut done: impl FnMut() -> bool) -> bool {
        const PAUSE: Duration = Duration::from_millis(1);
        for _ in 0..100 {
            if done() {
                return true;
            }
            std::thread::yield_now();
        }
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            if done() {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// A time without forks.
    #[must_use]
    pub(super) struct Window {
        undisturbed: bool,
        impatient_before: usize,
    }

    impl Window {
        pub(super) fn open() -> Self {
            // Not a `Once`: a child that was forked while another thread was in it would wait for that for ever. Handlers
            // that are registered twice do no harm.
            static REGISTERED: AtomicBool = AtomicBool::new(false);
            if !REGISTERED.load(Ordering::Acquire) {
                // SAFETY: the handlers are functions of the right type that live for ever. The one in the child does only
                // what is allowed between fork and exec: atomics, mmap and close; the others but atomics, and let time
                // pass.
                unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
                REGISTERED.store(true, Ordering::Release);
            }
            // Sequentially consistent, as in the handlers: of a window and a fork one sees the other. New forks wait for
            // this window from now on, so that it comes to its turn however many there are.
            MAKING.fetch_add(1, Ordering::SeqCst);
            let undisturbed = wait_until(|| FORKING.load(Ordering::SeqCst) == 0);
            Self { undisturbed, impatient_before: IMPATIENT.load(Ordering::SeqCst) }
        }

        /// Whether there was no fork meanwhile.
        pub(super) fn close(self) -> bool {
            self.undisturbed && IMPATIENT.load(Ordering::SeqCst) == self.impatient_before
        }
    }

    impl Drop for Window {
        fn drop(&mut self) {
            // In a child, whose count began anew, one of before the fork may end.
            let _ = MAKING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| open.checked_sub(1));
        }
    }

    extern "C" fn before_fork() {
        let waited = wait_until(|| {
            FORKING.fetch_add(1, Ordering::SeqCst);
            let free = MAKING.load(Ordering::SeqCst) == 0;
            if !free {
                FORKING.fetch_sub(1, Ordering::SeqCst);
            }
            free
        });
        if !waited {
            FORKING.fetch_add(1, Ordering::SeqCst);
            IMPATIENT.fetch_add(1, Ordering::SeqCst);
        }
    }

    extern "C" fn after_fork() {
        FORKING.fetch_sub(1, Ordering::SeqCst);
    }

    /// An entry of the table; dropping it lets go of the lock and closes its descriptor.
    pub(super) struct Slot(pub(super) &'static Shared);

    /// Enters what was opened and mapped in this window into the table.
    pub(super) fn register(_: &Window, start: NonNull<u8>, bytes: usize, lock: File) -> Slot {
        let slot = claim();
        let lock = lock.into_raw_fd();
        let inode = inode_of(lock).unwrap_or_default();
        slot.start.store(start.as_ptr() as usize, Ordering::Relaxed);
        slot.bytes.store(bytes, Ordering::Relaxed);
        slot.inode.iter().zip(inode).for_each(|(part, value)| part.store(value, Ordering::Relaxed));
        slot.lock.store(lock, Ordering::Relaxed);
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
            let slot = self.0;
            let window = Window::open();
            if slot.state.load(Ordering::Relaxed) == ACTIVE {
                let (start, bytes) = (slot.start.load(Ordering::Relaxed), slot.bytes.load(Ordering::Relaxed));
                // A child has no use for it any more: nobody has the memory but whoever is about to unmap it.
                // SAFETY: the slot is active, so the range is a mapping of ours; the advice changes no byte of it.
                unsafe { libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_DONTFORK) };
            }
            slot.let_go(&window);
            slot.state.store(EMPTY, Ordering::Release);
            drop(window);
        }
    }

    extern "C" fn in_child() {
        // Whoever had a window open, or forked as well, is not here.
        FORKING.store(0, Ordering::SeqCst);
        MAKING.store(0, Ordering::SeqCst);
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
    use crate::Region;

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
    fn the_name_of_a_temporary_file_is_known_again_and_no_others_are() {
        let name = OsStr::new("node.region");
        let unique = format!("77-{:016x}", 5);
        let made = temporary(Path::new("/x/node.region"), &unique);
        assert_eq!(made.parent(), Some(Path::new("/x")));
        assert_eq!(process_of_temporary(name, made.file_name().unwrap()), Some(Some(77)));
        assert_eq!(process_of_temporary(name, OsStr::new("node.region.0000000000000005")), Some(None));
        for other in [
            "node.region",
            "node.region.bak",
            "node.region.077-0000000000000005",
            "node.regionx.77-0000000000000005",
        ] {
            assert_eq!(process_of_temporary(name, OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn a_region_without_a_lock_of_another_pid_namespace_may_live_while_its_beat_is_young() {
        let region = Region::builder("elsewhere").private().build().unwrap();
        let mut identity = region.writer.reader().unwrap().identity();
        identity.header.pid_namespace += 1;
        let meta = fs::metadata("/proc/self/exe").unwrap();
        let header = |identity: &Identity, state, age_ns: i64| {
            let mono_ns = clock::mono_ns().saturating_add_signed(-age_ns);
            Header { identity: identity.clone(), state: Some(state), beat: Beat { count: 1, mono_ns } }
        };
        let lives = |header: &Header| may_live_without_lock(header, &meta);
        assert!(lives(&header(&identity, State::Running, 0)));
        assert!(!lives(&header(&identity, State::Closed, 0)));
        assert!(!lives(&header(&identity, State::Running, 2 * FRESH.as_nanos() as i64)));
        assert!(!lives(&header(&identity, State::Running, -(3_600_000_000_000))), "of another clock");
        assert!(!lives(&Header {
            beat: Beat { count: 0, ..header(&identity, State::Running, 0).beat },
            ..header(&identity, State::Running, 0)
        }));
        // Of the machine's clock it is as old in another time namespace.
        let mut ahead = identity.clone();
        (ahead.time.time_namespace, ahead.time.mono_offset_ns) = (1, 3_600_000_000_000);
        assert!(lives(&header(&ahead, State::Running, -3_600_000_000_000)));
        assert!(!lives(&header(&ahead, State::Running, 0)));
        identity.header.boot_id[0] += 1;
        assert!(!lives(&header(&identity, State::Running, 0)));
    }

    #[test]
    fn what_is_about_to_be_unmapped_is_in_no_child() {
        let path = std::env::temp_dir().join(format!("atomscope-fork-{}", std::process::id()));
        let window = forks::Window::open();
        let file = create_new(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.set_len(4096).unwrap();
        let Mapped { slot, mapping, start, .. } = map(&window, file, &path, 4096).unwrap();
        drop(window);
        let is_inherited = || {
            let all = fs::read_to_string("/proc/self/smaps").unwrap();
            let ours = all.split_once(&format!("{:x}-", start.as_ptr() as usize)).unwrap().1;
            let flags = ours.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
            !flags.split_whitespace().any(|flag| flag == "dc")
        };
        assert!(is_inherited());
        drop(slot);
        assert!(!is_inherited());
        drop(mapping);
    }

    #[test]
    fn a_fork_waits_no_longer_than_its_patience_and_the_window_that_it_met_knows() {
        let window = forks::Window::open();
        // Here it would wait for itself.
        // SAFETY: the child calls nothing but `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the process ends here.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: a null pointer asks for no status.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
        assert!(!window.close());
        assert!(forks::Window::open().close(), "the next one is undisturbed");
    }
}
