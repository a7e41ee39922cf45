//! The object that a shared region lives in: made, reserved, locked, mapped, and what becomes of it in a fork.
//!
//! Order of events, so that no reader, no other process and no fork ever sees half of it:
//! ```text
//!   limits asked ─► [ object made ─► mapped ─► known to forks ─► locked ] ─► blocks reserved ─► pages touched
//!   (region.rs:)    header written
//!   a segment:      has its name from the beginning, and is a region from when it is published: its magic comes last
//!   a user's file:  published without a name ─► [ named ─► mapped through its name, known to forks ] ─► pages touched
//! ```
//! What stands in brackets is done while no fork goes on, see [`forks`].
//!
//! The lock is how others know that the node is alive: an open-file-description lock on byte 0 through a descriptor
//! that is used for nothing else. It goes with the last copy of that descriptor, and so with the process.
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
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use atomscope_layout::decode::Identity;
use atomscope_layout::region::HEADER_BYTES;
use atomscope_layout::view::{ReaderMemory, WriterMemory};

use crate::error::{CreateError, RoomTaken};
use crate::region::{Place, boot_id, pid_namespace, process_start_ticks};

/// Where named segments are.
const SHM_DIR: &str = "/dev/shm";
/// Dead regions of one node name that are kept for a look at them.
const KEEP_DEAD_PER_NODE: usize = 2;
/// Bytes of dead regions that are kept of one user, the newest apart.
const KEEP_DEAD_BYTES: u64 = 64 << 20;
/// The part of its file system that they may take.
const KEEP_DEAD_SHARE: u64 = 4;
/// A region that is not published after this long never will be, if its process is gone.
const MOST_TO_PUBLISH: Duration = Duration::from_secs(60);
const PAGE: usize = 4096;
/// The byte of an object whose lock says that its node lives.
const ALIVE: libc::off_t = 0;
/// The byte of a dead object whose lock says that another one takes its place.
const REPLACED: libc::off_t = 1;

/// The object, apart from its memory.
#[derive(Debug)]
pub(crate) struct Object {
    /// Its file.
    pub(crate) path: PathBuf,
    named: bool,
    slot: usize,
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
pub(crate) fn create(place: &Place, bytes: usize) -> Result<(WriterMemory, Object), CreateError> {
    let mut undo = Undo::default();
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let unique = format!("{}-{random:016x}", std::process::id());
    let (path, named) = match place {
        Place::Named => (Path::new(SHM_DIR).join(format!("atomscope-{}-{unique}", effective_uid())), true),
        Place::File { path, .. } => (path.clone(), false),
    };
    let dir = parent(&path);
    if let Place::File { path, allow_disk } = place {
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
    let (mapping, start, lock) = match named {
        true => make_segment(&path, bytes, &mut undo)?,
        false => make_file(&dir, &temporary(&path, &unique), bytes, &mut undo)?,
    };
    let fd = lock.as_raw_fd();
    let slot = forks::register(&window, start, bytes, || lock.into_raw_fd())?;
    // A file system without locks leaves the beats as the only sign of life; readers say so.
    let _ = set_lock(fd, ALIVE);
    let undisturbed = window.close();
    let index = slot.0;
    // SAFETY: `start` is page-aligned and maps `bytes` bytes for reads and writes; the mapping is part of the keeper, which
    // unregisters it from fork before it unmaps it, and moving the keeper moves no mapping. Nothing else in this process
    // has the address but `reserve` and `touch`, which are done before anybody has the memory, and the table of `forks`,
    // which never reads or writes there; `Memory` accesses it only as atomics. After a fork the child has private memory
    // at the same place.
    let memory = unsafe { WriterMemory::mapped(start, bytes, Keeper { _slot: slot, _mapping: mapping }) };
    if !undisturbed {
        return Err(system("keep from a fork", &path, io::ErrorKind::TimedOut.into()));
    }
    reserve(fd, bytes).map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull => no_space(&dir, bytes as u64),
        _ => system("reserve the blocks of", &path, source),
    })?;
    if named {
        touch(start, bytes);
    }
    Ok((memory, Object { path, named, slot: index, undo }))
}

impl Object {
    /// The region is published, or complete but for that: gives a user's file its name, and the memory that the region is
    /// written in from then on, which is mapped through that name. (What was mapped before would be shown as deleted in
    /// the process's map for ever, whatever names the file gets.)
    pub(crate) fn publish(&mut self, bytes: usize) -> Result<Option<WriterMemory>, CreateError> {
        if self.named {
            self.undo.disarm();
            return Ok(None);
        }
        let window = forks::Window::open();
        let fd = forks::lock_of(self.slot);
        self.give_name(fd)?;
        let file = open_to_write(&self.path).map_err(|source| system("open", &self.path, source))?;
        if !is_same(&file, fd) {
            // Somebody else's by now, and none of ours to remove.
            self.undo.file = None;
            return Err(system("open", &self.path, io::ErrorKind::AlreadyExists.into()));
        }
        let (mapping, start) = map(&file, &self.path)?;
        drop(file);
        let slot = forks::register(&window, start, bytes, || forks::take_lock(self.slot))?;
        let undisturbed = window.close();
        let index = slot.0;
        // SAFETY: as in `create`; it is another mapping of the same blocks, in a place of its own.
        let memory = unsafe { WriterMemory::mapped(start, bytes, Keeper { _slot: slot, _mapping: mapping }) };
        if !undisturbed {
            return Err(system("keep from a fork", &self.path, io::ErrorKind::TimedOut.into()));
        }
        touch(start, bytes);
        self.slot = index;
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
        forks::forked(self.slot)
    }

    /// Takes a named segment's name away; a file of the user's choice stays.
    pub(crate) fn unlink(&self) {
        if self.named && !self.forked() {
            let _ = fs::remove_file(&self.path);
        }
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
    set_lock(file.as_raw_fd(), REPLACED).map_err(|_| CreateError::InUse { path: path.to_path_buf() })?;
    let there = fs::symlink_metadata(path).is_ok_and(|meta| {
        file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
    });
    Ok(there.then_some(file))
}

/// Whether the file is that of the descriptor.
fn is_same(file: &File, fd: RawFd) -> bool {
    // SAFETY: stat is a struct of integers, for which zero is a value.
    let mut other: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `other` is a valid place for one stat for the length of the call; a descriptor that is not open is an error.
    let known = unsafe { libc::fstat(fd, &raw mut other) } == 0;
    known && file.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == (other.st_dev, other.st_ino))
}

fn system(doing: &'static str, path: &Path, source: io::Error) -> CreateError {
    CreateError::System { doing, path: path.to_path_buf(), source }
}

/// What keeps the memory in place. The slot goes first: a fork must not map over what is no longer ours.
struct Keeper {
    _slot: forks::Slot,
    _mapping: Mapping,
}

enum Mapping {
    #[cfg(feature = "shm")]
    Segment(#[expect(dead_code, reason = "kept for its drop")] shared_memory::Shmem),
    File(#[expect(dead_code, reason = "kept for its drop")] memmap2::MmapRaw),
}

// SAFETY: `Shmem` is not Send only because it holds the mapping's address; it is not used here but to be dropped, which
// unmaps and closes and may happen on any thread. `MmapRaw` is Send itself.
unsafe impl Send for Mapping {}
// SAFETY: nothing can be done through a shared reference.
unsafe impl Sync for Mapping {}

/// Makes a segment exclusively, mode 0600, and maps it; with the descriptor that is to hold its lock.
fn make_segment(
    path: &Path,
    bytes: usize,
    undo: &mut Undo,
) -> Result<(Mapping, NonNull<u8>, File), CreateError> {
    #[cfg(feature = "shm")]
    {
        let name = format!("/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let mut segment = shared_memory::ShmemConf::new()
            .size(bytes)
            .os_id(name)
            .create()
            .map_err(|error| system("create", path, shm_error(error)))?;
        // Whether it is unlinked is decided in `Object`, by what became of the node.
        segment.set_owner(false);
        undo.file = Some(path.to_path_buf());
        let start = NonNull::new(segment.as_ptr())
            .ok_or_else(|| system("map", path, io::ErrorKind::InvalidData.into()))?;
        let lock = open_to_write(path).map_err(|source| system("open", path, source))?;
        Ok((Mapping::Segment(segment), start, lock))
    }
    #[cfg(not(feature = "shm"))]
    {
        let file = create_new(path)?;
        undo.file = Some(path.to_path_buf());
        map_new(file, path, bytes)
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

/// Makes a file in `dir`, mode 0600, and maps it. It has no name, so that nothing is left of it if the process is killed;
/// where a file cannot be without a name, it is called `temporary`.
fn make_file(
    dir: &Path,
    temporary: &Path,
    bytes: usize,
    undo: &mut Undo,
) -> Result<(Mapping, NonNull<u8>, File), CreateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_CLOEXEC | libc::O_TMPFILE);
    let file = match options.open(dir) {
        Ok(file) => file,
        Err(_) => {
            let file = create_new(temporary)?;
            undo.file = Some(temporary.to_path_buf());
            file
        }
    };
    map_new(file, temporary, bytes)
}

fn create_new(path: &Path) -> Result<File, CreateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|source| system("create", path, source))
}

fn map_new(file: File, path: &Path, bytes: usize) -> Result<(Mapping, NonNull<u8>, File), CreateError> {
    file.set_len(bytes as u64).map_err(|source| system("size", path, source))?;
    let (mapping, start) = map(&file, path)?;
    Ok((mapping, start, file))
}

fn map(file: &File, path: &Path) -> Result<(Mapping, NonNull<u8>), CreateError> {
    let mapping = memmap2::MmapRaw::map_raw(file).map_err(|source| system("map", path, source))?;
    let start = NonNull::new(mapping.as_mut_ptr())
        .ok_or_else(|| system("map", path, io::ErrorKind::InvalidData.into()))?;
    Ok((Mapping::File(mapping), start))
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

/// Brings every page into the process's page table, so that no later store faults.
fn touch(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the range is one mapping of ours, and populating it changes no byte; a kernel that does not know the
    // advice says EINVAL.
    let told = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
    if told == 0 {
        return;
    }
    for page in (0..bytes).step_by(PAGE) {
        // SAFETY: `page` is less than `bytes`, so that the sum stays inside the one mapping, which is no longer than
        // `isize::MAX` and does not wrap around.
        let word = unsafe { start.add(page) }.cast::<u64>();
        // SAFETY: the word starts a page of the mapping, and so is aligned; all of it lies inside, since the length is a
        // multiple of a page; the mapping is valid for writes, and as yet unknown to anyone else. A `u64` needs no drop.
        unsafe { word.write_volatile(0) };
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

fn set_lock(fd: RawFd, byte: libc::off_t) -> io::Result<()> {
    let lock = lock_on(byte, libc::F_WRLCK);
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

fn read_identity(file: &File) -> Option<Identity> {
    let mut bytes = vec![0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Identity::read(ReaderMemory::copied(&bytes).words()).ok()
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
    let identity = read_identity(file).filter(|_| meta.is_file());
    let Some(identity) = identity else { return Err(CreateError::NotARegion { path: path.to_path_buf() }) };
    match is_locked(file) {
        Ok(false) if !lives_without_lock(&identity, &meta) => Ok(()),
        // Where locks do not work nobody can tell, and the user has the last word by removing it.
        _ => Err(CreateError::InUse { path: path.to_path_buf() }),
    }
}

/// Whether the region's process lives and has it mapped, as one that has closed all its descriptors. It is looked for
/// only where its number means the same as here.
fn lives_without_lock(identity: &Identity, meta: &fs::Metadata) -> bool {
    let header = &identity.header;
    let is_other = |ours: Option<u64>, its: u64| its != 0 && ours.is_some_and(|ours| ours != its);
    let is_other_boot = header.boot_id != [0, 0] && boot_id().is_some_and(|boot| boot != header.boot_id);
    if is_other_boot || is_other(pid_namespace(), header.pid_namespace) {
        return false;
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
            let state = match (is_locked(&file), read_identity(&file)) {
                (Ok(true), Some(_)) => SegmentState::Live,
                (Ok(false), Some(identity)) if lives_without_lock(&identity, &meta) => SegmentState::Live,
                (Ok(false), Some(identity)) => SegmentState::Dead(Box::new(identity)),
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
            SegmentState::Dead(identity) => dead.push((made_at(&identity), bytes, identity.node, path)),
            SegmentState::Left => remove(node, &path),
            SegmentState::Live | SegmentState::Unknown => {}
        }
    }
    dead.sort_unstable_by_key(|(made, ..)| std::cmp::Reverse(*made));
    let mut keep = Keep::within(statvfs(Path::new(SHM_DIR)).ok().as_ref());
    for (_, bytes, name, path) in &dead {
        if !keep.keeps(name, *bytes) {
            remove(node, path);
        }
    }
}

/// What tells the newer of two regions.
fn made_at(identity: &Identity) -> u64 {
    identity.header.created_unix_ns
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
    let is_complete = published && read_identity(file).is_some();
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

/// Which dead regions are kept, asked of the newest first: the newest of all whatever its size, and further ones as far as
/// all together stay within the bounds, and of one node name no more than two.
struct Keep {
    most_bytes: u64,
    bytes: u64,
    of_node: std::collections::HashMap<String, usize>,
}

impl Keep {
    fn within(file_system: Option<&libc::statvfs>) -> Self {
        let total = file_system.map_or(0, |room| room.f_blocks.saturating_mul(room.f_frsize));
        // One without a limit says 0.
        let share = if total == 0 { u64::MAX } else { total / KEEP_DEAD_SHARE };
        Self { most_bytes: KEEP_DEAD_BYTES.min(share), bytes: 0, of_node: Default::default() }
    }

    fn keeps(&mut self, node: &str, bytes: u64) -> bool {
        let is_newest = self.of_node.is_empty();
        let sum = self.bytes.saturating_add(bytes);
        let same = self.of_node.entry(node.to_owned()).or_default();
        if !is_newest && (*same == KEEP_DEAD_PER_NODE || sum > self.most_bytes) {
            return false;
        }
        *same += 1;
        self.bytes = sum;
        true
    }
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
/// A window takes some ten system calls. Neither side waits for more than [`PATIENCE`]: whoever holds up the other may
/// itself wait for something that that one holds. Then the fork goes on, and the window is told that it was disturbed:
/// what was made in it is not used.
mod forks {
    use super::{AtomicBool, AtomicI32, AtomicUsize, CreateError, Duration, NonNull, Ordering, RawFd};

    const MOST: usize = 256;
    const EMPTY: i32 = 0;
    const FILLING: i32 = 1;
    const ACTIVE: i32 = 2;
    const FORKED: i32 = 3;

    struct Shared {
        state: AtomicI32,
        start: AtomicUsize,
        bytes: AtomicUsize,
        lock: AtomicI32,
    }

    static SLOTS: [Shared; MOST] = [const {
        Shared {
            state: AtomicI32::new(EMPTY),
            start: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            lock: AtomicI32::new(-1),
        }
    }; MOST];

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

    /// An entry of the table; dropping it closes the lock's descriptor.
    pub(super) struct Slot(pub(super) usize);

    /// Enters what was mapped and opened in this window into the table. `lock` is asked for the descriptor only if there is
    /// room.
    pub(super) fn register(
        _: &Window,
        start: NonNull<u8>,
        bytes: usize,
        lock: impl FnOnce() -> RawFd,
    ) -> Result<Slot, CreateError> {
        for (index, slot) in SLOTS.iter().enumerate() {
            if slot.state.compare_exchange(EMPTY, FILLING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                slot.start.store(start.as_ptr() as usize, Ordering::Relaxed);
                slot.bytes.store(bytes, Ordering::Relaxed);
                slot.lock.store(lock(), Ordering::Relaxed);
                slot.state.store(ACTIVE, Ordering::Release);
                return Ok(Slot(index));
            }
        }
        Err(CreateError::TooMany { most: MOST })
    }

    pub(super) fn forked(index: usize) -> bool {
        SLOTS.get(index).is_some_and(|slot| slot.state.load(Ordering::Relaxed) == FORKED)
    }

    /// The descriptor of the lock, or -1 for none.
    pub(super) fn lock_of(index: usize) -> RawFd {
        SLOTS.get(index).map_or(-1, |slot| slot.lock.load(Ordering::Relaxed))
    }

    /// The same, for another slot to hold: in a window.
    pub(super) fn take_lock(index: usize) -> RawFd {
        SLOTS.get(index).map_or(-1, |slot| slot.lock.swap(-1, Ordering::Relaxed))
    }

    impl Drop for Slot {
        fn drop(&mut self) {
            let Some(slot) = SLOTS.get(self.0) else { return };
            let window = Window::open();
            if slot.state.load(Ordering::Relaxed) == ACTIVE {
                let (start, bytes) = (slot.start.load(Ordering::Relaxed), slot.bytes.load(Ordering::Relaxed));
                // A child has no use for it any more: nobody has the memory but whoever is about to unmap it.
                // SAFETY: the slot is active, so the range is a mapping of ours; the advice changes no byte of it.
                unsafe { libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_DONTFORK) };
            }
            let lock = slot.lock.swap(-1, Ordering::Relaxed);
            slot.state.store(EMPTY, Ordering::Release);
            if lock >= 0 {
                // SAFETY: the descriptor was given to this slot by `register` and taken out of it above, so that nobody
                // else closes it.
                unsafe { libc::close(lock) };
            }
            drop(window);
        }
    }

    extern "C" fn in_child() {
        // Whoever had a window open, or forked as well, is not here.
        FORKING.store(0, Ordering::SeqCst);
        MAKING.store(0, Ordering::SeqCst);
        for slot in &SLOTS {
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
            let lock = slot.lock.swap(-1, Ordering::Relaxed);
            // SAFETY: the descriptor belongs to this slot alone, which forgets it here, and the child has its own copy; -1
            // is no descriptor.
            unsafe { libc::close(lock) };
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

    fn room(total_bytes: u64) -> Keep {
        let mut room = statvfs(Path::new("/")).unwrap();
        (room.f_blocks, room.f_frsize) = (total_bytes / 4096, 4096);
        Keep::within(Some(&room))
    }

    #[test]
    fn the_newest_dead_region_is_kept_whatever_its_size_and_no_other_beside_a_large_one() {
        let mut keep = room(1 << 40);
        assert!(keep.keeps("large", KEEP_DEAD_BYTES * 10));
        assert!(!keep.keeps("large", 1));
        assert!(!keep.keeps("small", 1));
    }

    #[test]
    fn dead_regions_of_however_many_nodes_take_no_more_than_the_bound_and_a_quarter() {
        let kept = |mut keep: Keep, size| (0..100).filter(|node| keep.keeps(&node.to_string(), size)).count();
        let default = 16 << 20;
        assert_eq!(kept(room(1 << 40), default), 4);
        assert_eq!(kept(room(128 << 20), default), 2);
        assert_eq!(kept(room(8 << 20), default), 1);
        // Without a limit a file system says 0.
        assert_eq!(kept(room(0), default), 4);
        assert_eq!(kept(Keep::within(None), default), 4);
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
    fn two_of_a_node_are_kept_and_those_that_are_not_take_no_room() {
        let mut keep = room(1 << 40);
        let third = KEEP_DEAD_BYTES / 3;
        assert_eq!([third; 4].map(|size| keep.keeps("a", size)), [true, true, false, false]);
        assert!(keep.keeps("b", third));
        assert!(!keep.keeps("b", third));
    }

    #[test]
    fn what_is_about_to_be_unmapped_is_in_no_child() {
        let path = std::env::temp_dir().join(format!("atomscope-fork-{}", std::process::id()));
        let (mapping, start, file) = map_new(create_new(&path).unwrap(), &path, PAGE).unwrap();
        fs::remove_file(&path).unwrap();
        let window = forks::Window::open();
        let slot = forks::register(&window, start, PAGE, || file.into_raw_fd()).unwrap();
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
