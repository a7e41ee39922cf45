//! The object that holds a shared region: making, reserving, locking and mapping it, and removing it from forked children.
//! The private memory beside it, which the writer's tables need, comes and goes with it.
//!
//! The order of steps, so that no reader, no other process and no forked child sees a half-made region:
//! ```text
//!   limits checked ─► [ object made ─► mapped ─► known to forks ─► locked ] ─► blocks reserved
//!   (writer.rs:)    header written
//!   a segment:      has its name from the beginning ─► closed at exit ─► published: its magic comes last
//!   a user's file:  published without a name ─► [ named ─► mapped through its name, lock handed over ] ─► closed at exit
//! ```
//! No fork runs during the steps in brackets, see [`forks`]. The process's exit waits from the moment that a file has its
//! name until the exit handler knows it, see [`crate::process`].
//!
//! The lock shows other processes that the node lives. It is an open-file-description lock on byte 0, through the
//! object's one descriptor, which also maps it. It is released when the region closes, or with the last copy of descriptor
//! and mapping, hence with the process. A program that closes descriptors that it does not know keeps the lock.
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
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use atomscope_layout::decode::{self, Beat, Birth, Ending, History, Identity};
use atomscope_layout::records::HistoryRecord;
use atomscope_layout::region::{HEADER_BYTES, HeaderRecord, Override, State, header};
use atomscope_layout::retention::{self, Dead};
use atomscope_layout::view::{ReaderMemory, WriterMemory};
use atomscope_layout::words::WORD;

use crate::backing::Backing;
use crate::error::{CreateError, SpaceUse};
use crate::identity::{boot_id, pid_namespace, process_start_ticks};
use crate::{clock, environment};

/// The directory of named segments.
const SHM_DIR: &str = "/dev/shm";
/// The longest time from making a region to publishing it. After that a region of a dead process is abandoned.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);
/// The greatest age of a heartbeat of a process that may live.
const FRESH_BEAT: Duration = Duration::from_secs(3);
/// The byte whose lock shows that the node lives.
const ALIVE_BYTE: libc::off_t = 0;
/// The byte of a dead region whose lock shows that another process replaces it.
const REPLACING_BYTE: libc::off_t = 1;

/// The directory that the environment chose for named segments: `ATOMSCOPE_DIR`, if it is one whose files are in memory
/// and where this process may make some.
pub(crate) fn chosen_dir() -> Option<PathBuf> {
    let dir = PathBuf::from(environment::set(Override::Dir)?);
    let is_in_memory = dir.is_absolute() && dir.is_dir() && on_disk(&dir).is_ok_and(|is_on_disk| !is_on_disk);
    (is_in_memory && may_make_files(&dir)).then_some(dir)
}

fn segment_dir() -> PathBuf {
    chosen_dir().unwrap_or_else(|| PathBuf::from(SHM_DIR))
}

/// The object without its memory.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) traces: Traces,
    slot: &'static forks::Shared,
    undo: Undo,
}

/// What a region leaves in the file system after its node.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    /// The name of its node.
    pub(crate) node: String,
    /// The path of its file.
    pub(crate) path: PathBuf,
    /// Whether it is a named segment.
    pub(crate) is_named: bool,
    /// The dead regions of earlier nodes of the name.
    predecessors: Vec<Predecessor>,
}

/// The dead region of an earlier node.
#[derive(Debug, Clone)]
pub(crate) struct Predecessor {
    node: String,
    path: PathBuf,
    inode: [u64; 2],
    /// The history for the node after it.
    history: HistoryRecord,
}

impl Traces {
    /// The crashes before this node.
    pub(crate) fn history(&self) -> HistoryRecord {
        self.predecessors.first().map(|newest| newest.history).unwrap_or_default()
    }

    /// Removes the name of a segment; a user's file stays.
    pub(crate) fn remove(&self) {
        if self.is_named {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Tells the dead regions of earlier nodes that this one has ended in good order: later crashes are no part of their
    /// series.
    pub(crate) fn end_series(&self) {
        for Predecessor { path, inode, .. } in &self.predecessors {
            let file = open_to_write(path).ok().filter(|file| inode_of(file.as_raw_fd()) == Some(*inode));
            if let Some(file) = file {
                let _ = file.write_all_at(&1u64.to_ne_bytes(), (header::SERIES_ENDED * WORD) as u64);
            }
        }
    }
}

/// Files and directories that are removed again unless the region is published.
#[derive(Debug, Default)]
struct Undo {
    /// The object, under its present name.
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

/// Makes, locks, maps and reserves an object of `bytes` bytes for this node, and private memory of `private_bytes`. A user's
/// file gets its name later, from [`Object::publish`].
pub(crate) fn create(
    node: &str,
    backing: &Backing,
    bytes: usize,
    private_bytes: usize,
) -> Result<(WriterMemory, WriterMemory, Object), CreateError> {
    let mut undo = Undo::default();
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let unique = format!("{}-{random:016x}", std::process::id());
    let (path, named) = match backing {
        Backing::Segment => (segment_dir().join(format!("atomscope-{}-{unique}", effective_uid())), true),
        Backing::File { path, .. } => (path.clone(), false),
    };
    let dir = parent(&path);
    let mut predecessors = if named { known_dead(node) } else { Vec::new() };
    if let Backing::File { path, allow_disk } = backing {
        predecessors = check_free(path)?.filter(|dead| dead.node == node).into_iter().collect();
        let (existing, is_missing) = existing_dir(&dir)?;
        if !allow_disk && on_disk(&existing)? {
            return Err(CreateError::Disk { path: path.clone() });
        }
        check_limits(&existing, bytes as u64, private_bytes as u64)?;
        if is_missing {
            undo.dir = make_dir(&dir)?;
        }
        remove_abandoned_temporaries(path, &dir);
    } else {
        check_limits(&dir, bytes as u64, private_bytes as u64)?;
    }
    // Until the window closes, no call may fork, wait or take long.
    let window = forks::Window::open();
    let file = match named {
        true => make_segment(&path, &mut undo)?,
        false => make_file(&dir, &temporary(&path, &unique), &mut undo)?,
    };
    file.set_len(bytes as u64).map_err(|source| system("size", &path, source))?;
    let mapped = map(&window, file, &path, bytes)?;
    let private = map_private(&window, private_bytes)
        .map_err(|source| system("map private memory for the tables of", &path, source))?;
    let slot = mapped.slot.0;
    // Without locks in the file system the heartbeat is the only sign of life, and readers say so.
    let _ = set_lock(slot.descriptor(), ALIVE_BYTE, libc::F_WRLCK);
    let undisturbed = window.close();
    let (memory, private) = (mapped.into_memory(), private.into_memory());
    if !undisturbed {
        return Err(system("keep from a fork", &path, io::ErrorKind::TimedOut.into()));
    }
    reserve(slot.descriptor(), bytes).map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull => no_space(&dir, bytes as u64),
        _ => system("reserve the blocks of", &path, source),
    })?;
    let traces = Traces { node: node.to_owned(), path, is_named: named, predecessors };
    Ok((memory, private, Object { traces, slot, undo }))
}

impl Object {
    /// Gives a user's file its name, once its region is complete, and returns memory that is mapped through that name. (The
    /// kernel would show the earlier mapping as deleted for ever.) `None` for a segment, which has its name already.
    pub(crate) fn publish(&mut self, bytes: usize) -> Result<Option<WriterMemory>, CreateError> {
        if self.traces.is_named {
            self.undo.disarm();
            return Ok(None);
        }
        let window = forks::Window::open();
        let fd = self.slot.descriptor();
        self.give_name(fd)?;
        let file =
            open_to_write(&self.traces.path).map_err(|source| system("open", &self.traces.path, source))?;
        if !is_same(&file, fd) {
            // Another process has replaced the file, so it must not be removed.
            self.undo.file = None;
            return Err(system("open", &self.traces.path, io::ErrorKind::AlreadyExists.into()));
        }
        let mapped = map(&window, file, &self.traces.path, bytes)?;
        let (before, slot) = (self.slot, mapped.slot.0);
        // Two open files cannot both have a write lock, but they can have read locks. So the file is locked all the time.
        let _ = set_lock(fd, ALIVE_BYTE, libc::F_RDLCK);
        let _ = set_lock(slot.descriptor(), ALIVE_BYTE, libc::F_RDLCK);
        before.release(&window);
        let _ = set_lock(slot.descriptor(), ALIVE_BYTE, libc::F_WRLCK);
        self.slot = slot;
        let undisturbed = window.close();
        let memory = mapped.into_memory();
        if !undisturbed {
            return Err(system("keep from a fork", &self.traces.path, io::ErrorKind::TimedOut.into()));
        }
        self.undo.disarm();
        Ok(Some(memory))
    }

    /// Gives a user's file, which is locked and complete, its name. Only a dead region with this name is replaced.
    fn give_name(&mut self, fd: RawFd) -> Result<(), CreateError> {
        let failed = |path: &Path, source| system("give the region its name", path, source);
        let temporary = match self.undo.file.clone() {
            Some(temporary) => temporary,
            None => {
                match link(fd, &self.traces.path) {
                    Ok(()) => {
                        self.undo.file = Some(self.traces.path.clone());
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(source) => return Err(failed(&self.traces.path, source)),
                }
                // Only a rename replaces another file atomically.
                check_free(&self.traces.path)?;
                let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
                let temporary =
                    temporary(&self.traces.path, &format!("{}-{random:016x}", std::process::id()));
                link(fd, &temporary).map_err(|source| failed(&temporary, source))?;
                self.undo.file = Some(temporary.clone());
                temporary
            }
        };
        rename(&temporary, &self.traces.path)?;
        self.undo.file = Some(self.traces.path.clone());
        Ok(())
    }

    /// Whether this process is a forked child of the one that made the object.
    pub(crate) fn forked(&self) -> bool {
        self.slot.forked()
    }

    /// Releases the lock and the descriptor. The mapping stays until the last handle is dropped.
    pub(crate) fn unlock(&self) {
        if !self.forked() {
            self.slot.release(&forks::Window::open());
        }
    }

    /// The mapping is never unmapped, since references into it live as long as the process.
    #[cfg(feature = "atomr")]
    #[cfg_attr(not(feature = "instruments"), allow(dead_code, reason = "nothing is instrumented without it"))]
    pub(crate) fn leaked(&self) -> Leaked {
        Leaked(self.slot)
    }
}

/// A mapping that is never unmapped. Its drop puts untouched private memory in its place, so that a closed region takes no
/// memory: only its addresses stay in use.
#[derive(Debug)]
pub(crate) struct Leaked(&'static forks::Shared);

impl Drop for Leaked {
    fn drop(&mut self) {
        self.0.vacate();
    }
}

/// The directory of a path.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The directory, or the one above it if it is missing, and whether it is missing. More than one missing directory is
/// probably a misspelt path, so it is an error.
fn existing_dir(dir: &Path) -> Result<(PathBuf, bool), CreateError> {
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

/// Makes the directory for this user alone; `None` if another process has made it meanwhile.
fn make_dir(dir: &Path) -> Result<Option<PathBuf>, CreateError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(Some(dir.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(source) => Err(CreateError::NoDirectory { dir: dir.to_path_buf(), source }),
    }
}

/// The temporary name of a user's file, for file systems without unnamed files.
fn temporary(path: &Path, unique: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{unique}"));
    path.with_file_name(name)
}

/// Links the unnamed file of this descriptor to `path`, if no file has that name.
fn link(fd: RawFd, path: &Path) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    let proc = CString::new(format!("/proc/self/fd/{fd}"))?;
    // Older kernels allow the first way for root only; the second way needs /proc.
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

/// Renames `temporary` to `path`. Replaces a dead region, but no other file.
fn rename(temporary: &Path, path: &Path) -> Result<(), CreateError> {
    let failed = |source| system("give the region its name", path, source);
    // Each further try means that another process changed the name meanwhile.
    for _ in 0..16 {
        let is_checked = match rename_to_free(temporary, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            // The file system lacks this rename. Then check the name, and rename without the flag.
            Err(error) if [libc::EINVAL, libc::ENOSYS].contains(&error.raw_os_error().unwrap_or(0)) => false,
            Err(source) => return Err(failed(source)),
        };
        // The lock of the dead region, held until the rename is done.
        let dead = lock_to_replace(path)?;
        if dead.is_some() || !is_checked {
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

/// The dead region at `path`, with the lock of the one process that may replace it; `None` if the name is free or belongs to
/// another file by now.
fn lock_to_replace(path: &Path) -> Result<Option<File>, CreateError> {
    let file = match open_to_write(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(system("examine", path, source)),
    };
    check_dead(path, &file)?;
    set_lock(file.as_raw_fd(), REPLACING_BYTE, libc::F_WRLCK)
        .map_err(|_| CreateError::InUse { path: path.to_path_buf() })?;
    let there = fs::symlink_metadata(path).is_ok_and(|meta| {
        file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (meta.dev(), meta.ino()))
    });
    Ok(there.then_some(file))
}

/// Whether both are the same file.
fn is_same(file: &File, fd: RawFd) -> bool {
    let inode = inode_of(fd);
    inode.is_some() && inode == inode_of(file.as_raw_fd())
}

/// Device and inode number of the descriptor's file; none if it is closed.
fn inode_of(fd: RawFd) -> Option<[u64; 2]> {
    // SAFETY: stat is a struct of integers, for which zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid memory for one stat for the length of the call; a descriptor that is not open is an error.
    let is_open = unsafe { libc::fstat(fd, &raw mut stat) } == 0;
    is_open.then_some([stat.st_dev, stat.st_ino])
}

fn system(doing: &'static str, path: &Path, source: io::Error) -> CreateError {
    CreateError::System { doing, path: path.to_path_buf(), source }
}

/// Keeps the memory mapped. The slot is dropped first: a forked child must not map over memory that is not the probe's any
/// more.
struct Keeper {
    _slot: forks::Slot,
    _mapping: memmap2::MmapRaw,
}

/// Mapped memory that is known to forks.
struct Mapped {
    slot: forks::Slot,
    mapping: memmap2::MmapRaw,
    start: NonNull<u8>,
    bytes: usize,
}

/// Maps the file, which has `bytes` bytes, while no fork runs.
fn map(window: &forks::Window, file: File, path: &Path, bytes: usize) -> Result<Mapped, CreateError> {
    let mapping = memmap2::MmapRaw::map_raw(&file);
    let mapped = mapping.and_then(|mapping| Mapped::register(window, mapping, bytes, Some(file)));
    mapped.map_err(|source| system("map", path, source))
}

/// Maps private zeroed memory, while no fork runs: a forked child must find it as new as its region.
fn map_private(window: &forks::Window, bytes: usize) -> io::Result<Mapped> {
    let mapping = memmap2::MmapMut::map_anon(bytes)?;
    Mapped::register(window, mapping.into(), bytes, None)
}

impl Mapped {
    fn register(
        window: &forks::Window,
        mapping: memmap2::MmapRaw,
        bytes: usize,
        lock: Option<File>,
    ) -> io::Result<Self> {
        let start = NonNull::new(mapping.as_mut_ptr()).filter(|_| mapping.len() == bytes);
        let start = start.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { slot: forks::register(window, start, bytes, lock), mapping, start, bytes })
    }

    fn into_memory(self) -> WriterMemory {
        let Self { slot, mapping, start, bytes } = self;
        // SAFETY: `start` is page-aligned and maps `bytes` bytes for reads and writes; the mapping is part of the keeper,
        // which unregisters it from fork before it unmaps it, and moving the keeper moves no mapping. Only the table of
        // `forks` has the address too, and never reads or writes there (another mapping of the same blocks has another
        // address); `WriterMemory` accesses it only as atomics. After a fork the child has private memory at this address.
        unsafe { WriterMemory::mapped(start, bytes, Keeper { _slot: slot, _mapping: mapping }) }
    }
}

/// Makes a segment exclusively, mode 0600.
fn make_segment(path: &Path, undo: &mut Undo) -> Result<File, CreateError> {
    #[cfg(feature = "shm")]
    if parent(path) == Path::new(SHM_DIR) {
        let name = format!("/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let mut segment = shared_memory::ShmemConf::new()
            .size(1)
            .os_id(name)
            .create()
            .map_err(|error| system("create", path, shm_error(error)))?;
        undo.file = Some(path.to_path_buf());
        // The handle is dropped and the segment stays: the handle would keep a second descriptor without access to it.
        segment.set_owner(false);
        drop(segment);
        return open_to_write(path).map_err(|source| system("open", path, source));
    }
    let file = create_new(path)?;
    undo.file = Some(path.to_path_buf());
    Ok(file)
}

/// The system's error, which the crate turned into a number.
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

/// Makes a file in `dir`, mode 0600. It has no name, so that a killed process leaves nothing; in file systems without unnamed
/// files its name is `temporary`.
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

/// Reserves the blocks, so that no later store meets a full file system and raises SIGBUS.
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

/// Takes or releases a lock on one byte.
fn set_lock(fd: RawFd, byte: libc::off_t, kind: libc::c_int) -> io::Result<()> {
    let lock = lock_on(byte, kind);
    // SAFETY: a descriptor that is not open is an error; this command takes a pointer to a flock, which `lock` is, valid in
    // every field; it is only read, and the kernel keeps no pointer.
    match unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a node holds the object's lock; an error if that is unknown.
fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = lock_on(ALIVE_BYTE, libc::F_WRLCK);
    // SAFETY: the descriptor is open for the length of the call; this command takes a pointer to a flock, which `lock` is,
    // valid in every field and writable for the length of the call; the kernel keeps no pointer.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The id of the calling thread, in the process's pid namespace.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: the call has no requirements and cannot fail.
    u32::try_from(unsafe { libc::gettid() }).unwrap_or(0)
}

/// The calling thread's name, as the kernel knows it; empty if it is not UTF-8.
pub(crate) fn thread_name(buffer: &mut [u8; 16]) -> &str {
    // SAFETY: PR_GET_NAME stores at most 16 bytes to the address in its second argument, and `buffer` has as many.
    if unsafe { libc::prctl(libc::PR_GET_NAME, buffer.as_mut_ptr()) } != 0 {
        return "";
    }
    let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(buffer.len());
    // The kernel may have cut a character.
    buffer[..end].utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// Lets every process of the same user trace this one, where the security module Yama would let its parents only.
pub(crate) fn allow_tracers() {
    // SAFETY: PR_SET_PTRACER takes one number, a process id or this constant, which the kernel only notes. Without Yama the
    // call is an error that changes nothing.
    let _ = unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
}

/// The user that owns the files that this process makes.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// The region takes space of its file system; the private memory does not. Both count for the control group.
fn check_limits(dir: &Path, needed: u64, private_bytes: u64) -> Result<(), CreateError> {
    check_descriptors()?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid memory for one rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } == 0
        && limit.rlim_cur != libc::RLIM_INFINITY
        && limit.rlim_cur < needed
    {
        return Err(CreateError::FileSizeLimit { needed, limit: limit.rlim_cur });
    }
    let volume = statvfs(dir).map_err(|source| system("use", dir, source))?;
    // A tmpfs without a limit reports 0 blocks.
    if volume.f_blocks > 0 && volume.f_bavail.saturating_mul(volume.f_frsize) < needed {
        return Err(no_space(dir, needed));
    }
    check_control_groups(needed.saturating_add(private_bytes))
}

/// Regions may use at most half of the process's descriptors; the application keeps the others.
fn check_descriptors() -> Result<(), CreateError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid memory for one rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Ok(());
    }
    let most = usize::try_from(limit.rlim_cur / 2).unwrap_or(usize::MAX);
    if forks::open() < most { Ok(()) } else { Err(CreateError::TooMany { most }) }
}

/// The number of open shared regions of this process.
pub(crate) fn open_regions() -> usize {
    forks::open()
}

/// Free bytes for named segments, if their file system has a limit.
pub(crate) fn free_bytes() -> Option<u64> {
    let volume = statvfs(&segment_dir()).ok().filter(|volume| volume.f_blocks > 0)?;
    Some(volume.f_bavail.saturating_mul(volume.f_frsize))
}

fn statvfs(dir: &Path) -> io::Result<libc::statvfs> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: statvfs is a struct of integers, for which zero is a value.
    let mut volume: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a terminated string and `volume` valid memory for one statvfs for the length of the call.
    match unsafe { libc::statvfs(path.as_ptr(), &mut volume) } {
        0 => Ok(volume),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The error of a full file system, with the use of its space.
fn no_space(dir: &Path, needed: u64) -> CreateError {
    let (mut available, mut used) = (0, SpaceUse::default());
    if let Ok(volume) = statvfs(dir) {
        available = volume.f_bavail.saturating_mul(volume.f_frsize);
        used.other_bytes = volume.f_blocks.saturating_sub(volume.f_bfree).saturating_mul(volume.f_frsize);
    }
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let regions = if device(dir) == device(&segment_dir()) { own_segments() } else { Vec::new() };
    for OwnSegment { bytes, state, .. } in regions {
        let (count, sum) = match state {
            SegmentState::Live => (&mut used.live_regions, &mut used.live_bytes),
            SegmentState::Dead(_) | SegmentState::Abandoned => (&mut used.dead_regions, &mut used.dead_bytes),
            SegmentState::Unknown => continue,
        };
        *count += 1;
        *sum += bytes;
        used.other_bytes = used.other_bytes.saturating_sub(bytes);
    }
    CreateError::NoSpace { dir: dir.to_path_buf(), needed, available, used }
}

fn c_path(path: &Path) -> Result<CString, CreateError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| system("use", path, error.into()))
}

/// Memory of a tmpfs counts for the control group, and the kernel kills processes beyond its limit. Checks the group of this
/// process and each group above it, in both versions of control groups.
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
        // In a cgroup namespace the group's path may be missing. The root of the mount is then the group.
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

/// Whether the file system of this directory writes to a disk.
fn on_disk(dir: &Path) -> Result<bool, CreateError> {
    const HUGETLBFS_MAGIC: u32 = 0x9584_58f6;
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    let path = c_path(dir)?;
    // SAFETY: statfs is a struct of integers, for which zero is a value.
    let mut volume: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` is a terminated string and `volume` valid memory for one statfs for the length of the call.
    if unsafe { libc::statfs(path.as_ptr(), &mut volume) } != 0 {
        return Err(system("use", dir, io::Error::last_os_error()));
    }
    Ok(![libc::TMPFS_MAGIC as u32, RAMFS_MAGIC, HUGETLBFS_MAGIC].contains(&(volume.f_type as u32)))
}

/// What a forked child ends with that calls `work`; an alarm ends it if it hangs.
#[cfg(test)]
pub(crate) fn in_child(work: impl FnOnce()) -> i32 {
    // SAFETY: the child has this thread only, and locks of others stay held. `work` takes none but those under test, and that of
    // the allocator, which the C library makes usable after a fork. It ends by `_exit`, or by the alarm.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the call takes a number only.
        unsafe { libc::alarm(10) };
        work();
        // SAFETY: the process ends here.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid memory for the status for the length of the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

/// Whether this process may make files in this directory.
fn may_make_files(dir: &Path) -> bool {
    let Ok(path) = c_path(dir) else { return false };
    // SAFETY: `path` is a terminated string for the length of the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS) == 0 }
}

/// Opens a file that may be a region, for reads only.
fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// The parts of a region's header that show whether its node lives, and how it ended.
struct Header {
    identity: Identity,
    state: Option<State>,
    beat: Beat,
    ending: Option<Ending>,
    history: History,
}

impl Header {
    fn read(file: &File) -> Option<Self> {
        let mut bytes = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let memory = ReaderMemory::copied(&bytes);
        let words = memory.words();
        let identity = Identity::read(words).ok()?;
        Some(Self {
            identity,
            state: decode::state(words),
            beat: Beat::of_process(words),
            ending: Ending::read(words),
            history: History::read(words),
        })
    }

    /// When the node of this dead region crashed, by the wall clock; `None` if it ended in good order.
    fn crashed_unix_ns(&self) -> Option<u64> {
        let ending = self.ending.filter(|ending| ending.counts(self.beat));
        decode::crashed_unix_ns(&self.identity, self.state, self.beat, ending)
    }

    fn into_predecessor(self, path: &Path, meta: &fs::Metadata) -> Predecessor {
        let history = self.history.of_next(self.crashed_unix_ns());
        Predecessor {
            node: self.identity.node,
            path: path.to_owned(),
            inode: [meta.dev(), meta.ino()],
            history,
        }
    }
}

fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// The new region may replace a dead region, which is returned, but no other file.
fn check_free(path: &Path) -> Result<Option<Predecessor>, CreateError> {
    match open_to_read(path) {
        Ok(file) => check_dead(path, &file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(system("examine", path, source)),
    }
}

fn check_dead(path: &Path, file: &File) -> Result<Predecessor, CreateError> {
    let meta = file.metadata().map_err(|source| system("examine", path, source))?;
    // The lock is read first, since a closing node sets its state before it releases the lock.
    let (locked, header) = (is_locked(file), Header::read(file).filter(|_| meta.is_file()));
    let Some(header) = header else { return Err(CreateError::NotARegion { path: path.to_path_buf() }) };
    match locked {
        Ok(false) if !may_live_without_lock(&header, &meta) => Ok(header.into_predecessor(path, &meta)),
        // If locks do not work, the state is unknown, and the user decides by removing the file.
        _ => Err(CreateError::InUse { path: path.to_path_buf() }),
    }
}

/// Whether the process of an unlocked region may live. In this pid namespace: whether it maps the region. In another one:
/// whether its heartbeat is fresh. A closed region is dead in any case.
fn may_live_without_lock(header: &Header, meta: &fs::Metadata) -> bool {
    let Header { identity, state, beat, .. } = header;
    if *state == Some(State::Closed) {
        return false;
    }
    let header = &identity.header;
    let boot = boot_id();
    if header.boot_id != [0, 0] && boot.is_some_and(|boot| boot != header.boot_id) {
        return false;
    }
    if header.pid_namespace != 0 && pid_namespace().is_some_and(|ours| ours != header.pid_namespace) {
        return boot == Some(header.boot_id) && has_fresh_beat(identity, *beat);
    }
    is_mapped_by(header, meta)
}

/// Whether the process that this header names has this file mapped. If this user may not read its map: whether it runs.
fn is_mapped_by(header: &HeaderRecord, meta: &fs::Metadata) -> bool {
    match fs::read(format!("/proc/{}/maps", header.pid)) {
        Ok(maps) => maps.split(|byte| *byte == b'\n').any(|line| is_mapping_of(line, meta)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            process_start_ticks(&header.pid.to_string()) == Some(header.process_start_ticks)
        }
        Err(_) => false,
    }
}

/// Whether the last heartbeat is fresh. One from the future comes from another clock.
fn has_fresh_beat(identity: &Identity, beat: Beat) -> bool {
    let (now_ns, own_offset_ns) = (clock::mono_ns(), clock::own_mono_offset_ns());
    // A node without a known time namespace is assumed to have this process's clock.
    let its_offset_ns = match identity.time.time_namespace {
        0 => own_offset_ns,
        _ => identity.time.mono_offset_ns as i64,
    };
    let of_machine = |ns: u64, offset_ns: i64| i128::from(ns) - i128::from(offset_ns);
    let age_ns = of_machine(now_ns, own_offset_ns) - of_machine(beat.mono_ns, its_offset_ns);
    beat.count > 0 && (0..=FRESH_BEAT.as_nanos() as i128).contains(&age_ns)
}

/// Whether a line of a process's map (`address perms offset device inode path`) is a shared writable mapping of this file.
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
    /// Its reserved size.
    bytes: u64,
    state: SegmentState,
}

enum SegmentState {
    /// Its node lives.
    Live,
    /// Its node is dead.
    Dead(Box<DeadSegment>),
    /// Its node died before it was published.
    Abandoned,
    /// It is being made, has another version, or is closed and its process, which still runs, will remove it.
    Unknown,
}

struct DeadSegment {
    birth: Birth,
    /// Whether it is a crash to which no later node has ended the series.
    is_in_series: bool,
    known: Predecessor,
}

impl DeadSegment {
    fn new(header: Header, path: &Path, meta: &fs::Metadata) -> Self {
        let is_in_series = !header.history.is_over && header.crashed_unix_ns().is_some();
        Self { birth: header.identity.birth(), is_in_series, known: header.into_predecessor(path, meta) }
    }
}

/// Whether the process that closed a region may still run, and remove the region when it ends. It keeps the region mapped until
/// then, unless it executes another program.
fn is_waiting_for_exit(header: &Header, meta: &fs::Metadata) -> bool {
    let Identity { header: record, .. } = &header.identity;
    header.state == Some(State::Closed)
        && !header.ending.is_some_and(|ending| ending.is_failure())
        && pid_namespace() == Some(record.pid_namespace)
        && is_mapped_by(record, meta)
}

fn own_segments() -> Vec<OwnSegment> {
    let uid = effective_uid();
    let prefix = format!("atomscope-{uid}-");
    let entries = fs::read_dir(segment_dir()).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes()))
        .filter_map(|entry| {
            let path = entry.path();
            let file = open_to_read(&path).ok()?;
            let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.uid() == uid)?;
            let state = match (is_locked(&file), Header::read(&file)) {
                (Ok(true), Some(_)) => SegmentState::Live,
                (Ok(false), Some(header)) if may_live_without_lock(&header, &meta) => SegmentState::Live,
                (Ok(false), Some(header)) if is_waiting_for_exit(&header, &meta) => SegmentState::Unknown,
                (Ok(false), Some(header)) => {
                    SegmentState::Dead(Box::new(DeadSegment::new(header, &path, &meta)))
                }
                (Ok(false), None) => {
                    match is_abandoned(
                        &file,
                        &meta,
                        path.file_name().and_then(|name| process_of(name.to_str()?)),
                    ) {
                        true => SegmentState::Abandoned,
                        false => SegmentState::Unknown,
                    }
                }
                (Ok(true), None) | (Err(_), _) => SegmentState::Unknown,
            };
            Some(OwnSegment { path, bytes: meta.blocks() * 512, state })
        })
        .collect()
}

/// The dead segments that the last call of [`remove_old_dead`] left, the newest first; `None` before the first one.
static KNOWN_DEAD: Mutex<Option<Vec<Predecessor>>> = Mutex::new(None);

/// The dead segments of nodes of this name.
fn known_dead(node: &str) -> Vec<Predecessor> {
    let is_of_node = |dead: &Predecessor| dead.node == node;
    // A child forked while its parent holds the lock must not wait for it.
    if let Some(known) = KNOWN_DEAD.try_lock().ok().as_deref().and_then(Option::as_ref) {
        return known.iter().filter(|dead| is_of_node(dead)).cloned().collect();
    }
    // Another thread is making the first region.
    dead_segments(node).into_iter().map(|(segment, _)| segment.known).filter(is_of_node).collect()
}

/// The dead segments of this user with their bytes, the newest first. Removes those whose process died before it published
/// them.
fn dead_segments(node: &str) -> Vec<(Box<DeadSegment>, u64)> {
    let mut dead = Vec::new();
    for OwnSegment { path, bytes, state } in own_segments() {
        match state {
            SegmentState::Dead(segment) => dead.push((segment, bytes)),
            SegmentState::Abandoned => remove(node, &path),
            SegmentState::Live | SegmentState::Unknown => {}
        }
    }
    let births: Vec<_> = dead.iter().map(|(segment, _)| segment.birth).collect();
    let mut dead: Vec<_> = Birth::ranks(&births, boot_id()).into_iter().zip(dead).collect();
    dead.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    dead.into_iter().map(|(_, segment)| segment).collect()
}

/// Removes the oldest dead segments of this user, except those that the retention rule keeps, and segments whose process died
/// before it published them.
pub(crate) fn remove_old_dead(node: &str) {
    let dead = dead_segments(node);
    let file_system = statvfs(&segment_dir()).ok().filter(|volume| volume.f_blocks > 0);
    let file_system_bytes =
        file_system.map_or(u64::MAX, |volume| volume.f_blocks.saturating_mul(volume.f_frsize));
    let newest_first = dead.iter().map(|(segment, bytes)| Dead {
        node: &segment.known.node,
        bytes: *bytes,
        is_in_series: segment.is_in_series,
    });
    let stays = retention::stay(newest_first, file_system_bytes);
    let (kept, removed): (Vec<_>, Vec<_>) =
        dead.into_iter().map(|(segment, _)| segment.known).zip(stays).partition(|(_, stays)| *stays);
    removed.iter().for_each(|(dead, _)| remove(node, &dead.path));
    if let Ok(mut known) = KNOWN_DEAD.try_lock() {
        *known = Some(kept.into_iter().map(|(dead, _)| dead).collect());
    }
}

fn remove(node: &str, path: &Path) {
    // Another starting node may have removed it already.
    if fs::remove_file(path).is_ok() {
        tracing::info!(node, removed = %path.display(), "atomscope: removed an old dead region");
    }
}

/// Removes temporary files of nodes that were killed before they could give the file `path` in `dir` its name.
fn remove_abandoned_temporaries(path: &Path, dir: &Path) {
    let Some(name) = path.file_name() else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let Some(process) = process_of_temporary(name, &entry.file_name()) else { continue };
        let Ok(file) = open_to_read(&entry.path()) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        let is_ours = meta.is_file() && meta.uid() == effective_uid();
        if is_ours && is_locked(&file).is_ok_and(|locked| !locked) && is_abandoned(&file, &meta, process) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process in a name that [`temporary`] made for a file of this name. The outer `None` stands for another name; names
/// before version 1.1 contain no process.
fn process_of_temporary(name: &OsStr, temporary: &OsStr) -> Option<Option<u32>> {
    let unique = temporary.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b".")?;
    let unique = std::str::from_utf8(unique).ok()?;
    match unique.split_once('-') {
        Some((pid, random)) if is_random(random) => Some(Some(exact_number(pid)?)),
        None if is_random(unique) => Some(None),
        _ => None,
    }
}

/// Whether an unlocked file will never be published. It is old, no process has the pid that made it, and it is no region of
/// another version. (A process with the same pid in another namespace keeps it for now. An unlocked file with this
/// process's own pid belongs to its predecessor in a container, since this process locks its files at once.)
fn is_abandoned(file: &File, meta: &fs::Metadata, process: Option<u32>) -> bool {
    let mut magic = [0; 8];
    let published = meta.len() >= 8 && (file.read_exact_at(&mut magic, 0).is_err() || magic != [0; 8]);
    let is_complete = published && Header::read(file).is_some();
    let age = meta.modified().ok().and_then(|modified| modified.elapsed().ok());
    let is_there = |pid: u32| pid != std::process::id() && Path::new(&format!("/proc/{pid}")).exists();
    (!published || is_complete)
        && age.is_some_and(|age| age > PUBLISH_TIMEOUT)
        && !process.is_some_and(is_there)
}

/// The process in the name of a segment, if [`create`] makes such names.
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

/// Removes three things from a forked child: the mapping, through which it would write into its parent's region; the
/// descriptor, which would keep the parent's lock after the parent's death; and what the private memory says about the
/// parent's region, in whose place the child has a new one.
///
/// A table lists them, and the child releases what is in it. A mapping or descriptor outside the table would stay in the
/// child. So they are made and dropped only in a *window*, during which no fork runs:
/// ```text
///   Window::open   MAKING + 1, then wait until FORKING is 0     before_fork   wait until MAKING is 0 and FORKING + 1
///   Window::close  MAKING - 1                                   after_fork    FORKING - 1       (in the child: both 0)
/// ```
/// A window takes some ten system calls. Each side waits [`forks::PATIENCE`] at most, since the other side may itself wait for
/// a lock of this one. Then the fork runs, and the window counts as disturbed: a mapping that was made in it is not used.
mod forks {
    use super::{
        ALIVE_BYTE, AsRawFd, AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Duration, File,
        HEADER_BYTES, IntoRawFd, NonNull, Ordering, RawFd, WORD, inode_of, set_lock,
    };

    const EMPTY: i32 = 0;
    const FILLING: i32 = 1;
    const ACTIVE: i32 = 2;
    const FORKED: i32 = 3;
    const VACATED: i32 = 4;

    const NO_DESCRIPTOR: RawFd = -1;

    /// The entry of one region, or of its private memory, which has no descriptor.
    #[derive(Debug)]
    pub(super) struct Shared {
        state: AtomicI32,
        start: AtomicUsize,
        bytes: AtomicUsize,
        lock: AtomicI32,
        /// Device and number of the object.
        inode: [AtomicU64; 2],
    }

    /// A part of the table. Further chunks are never freed, so that a forked child can read all of them without a lock.
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
            // SAFETY: the pointer in `next` came from a box that was leaked, so it is aligned, points to an initialised
            // chunk and stays valid; it was stored with release, which the load above acquires. A chunk is only used
            // through shared references, since only atomics in it change.
            Some(unsafe { next.as_ref() })
        }

        /// The chunk after this one, made if there is none.
        fn next_or_new(&self) -> &'static Chunk {
            if self.next().is_none() {
                let new = Box::into_raw(Box::new(Self::new()));
                let null = std::ptr::null_mut();
                let put = self.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Relaxed);
                if put.is_err() {
                    // SAFETY: `new` came from a box just now, and no other copy of it exists.
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

        /// Puts untouched private memory in the place of the mapping, which nobody unmaps, and releases its descriptor.
        pub(super) fn vacate(&self) {
            let window = Window::open();
            if self.state.load(Ordering::Relaxed) == ACTIVE {
                // As in the drop of a [`Slot`], which does not come: signal handlers and forks leave it alone from now on.
                self.state.store(VACATED, Ordering::SeqCst);
                wait_until(|| NOTING.load(Ordering::SeqCst) == 0);
                self.replace_mapping();
            }
            self.release(&window);
        }

        /// Puts zeroed private memory in the place of the mapping of a slot that was active until now.
        fn replace_mapping(&self) {
            let start = self.start.load(Ordering::Relaxed);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
            // SAFETY: the slot was active, so the range is a mapping of the probe that is still mapped, page-aligned and of
            // its whole length; the new mapping has the same length and allows the same accesses, so references into it stay
            // valid, and its zeroes are valid atomics. The kernel exchanges the two in one step for other threads, whose
            // accesses are atomic ones; a child just forked has no other thread. (If the kernel has no memory even for this,
            // the range may be unmapped and the next access ends the process; a region's file is safe either way.)
            unsafe {
                libc::mmap(
                    start as *mut libc::c_void,
                    self.bytes.load(Ordering::Relaxed),
                    protection,
                    flags,
                    -1,
                    0,
                )
            };
        }

        /// The descriptor of the lock, or [`NO_DESCRIPTOR`].
        pub(super) fn descriptor(&self) -> RawFd {
            self.lock.load(Ordering::Relaxed)
        }

        /// Releases the lock and the descriptor, while no fork runs. Does nothing if the application has closed the descriptor
        /// and its number belongs to another file by now.
        pub(super) fn release(&self, _: &Window) {
            let lock = self.lock.swap(NO_DESCRIPTOR, Ordering::Relaxed);
            if lock == NO_DESCRIPTOR {
                return;
            }
            OPEN.fetch_sub(1, Ordering::Relaxed);
            let inode = self.inode.each_ref().map(|part| part.load(Ordering::Relaxed));
            if inode_of(lock) != Some(inode) {
                return;
            }
            // The mapping keeps the same open file, so closing the descriptor alone would not release the lock.
            let _ = set_lock(lock, ALIVE_BYTE, libc::F_UNLCK);
            // SAFETY: `register` gave the descriptor to this slot and it was removed from the slot above, so no other code
            // of the probe uses or closes it; the check above has shown that it is still the region's file.
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

    /// The number of open windows.
    static MAKING: AtomicUsize = AtomicUsize::new(0);
    /// The number of running forks.
    static FORKING: AtomicUsize = AtomicUsize::new(0);
    /// The number of forks that ran out of patience with open windows.
    static IMPATIENT: AtomicUsize = AtomicUsize::new(0);

    /// The longest time that one side waits for the other, approximately.
    pub(super) const PATIENCE: Duration = Duration::from_secs(1);

    /// Waits until `done`; yields first, then sleeps. No allocation, no lock.
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
            // Not a `Once`: a child that was forked while another thread was in it would wait for ever. Handlers that are
            // registered twice do no harm.
            static REGISTERED: AtomicBool = AtomicBool::new(false);
            if !REGISTERED.load(Ordering::Acquire) {
                // SAFETY: the handlers are functions of the right type that live for ever. The one in the child uses only
                // calls that are allowed between fork and exec: atomics, mmap and close. The others use atomics and sleep.
                unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
                REGISTERED.store(true, Ordering::Release);
            }
            // Sequentially consistent, as in the handlers: of a window and a fork at least one sees the other. New forks wait
            // for this window from now on, so that it opens however many forks there are.
            MAKING.fetch_add(1, Ordering::SeqCst);
            let undisturbed = wait_until(|| FORKING.load(Ordering::SeqCst) == 0);
            Self { undisturbed, impatient_before: IMPATIENT.load(Ordering::SeqCst) }
        }

        /// Whether no fork ran meanwhile.
        pub(super) fn close(self) -> bool {
            self.undisturbed && IMPATIENT.load(Ordering::SeqCst) == self.impatient_before
        }
    }

    impl Drop for Window {
        fn drop(&mut self) {
            // A window from before the fork may be dropped in a child, where the count began at 0 again.
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

    /// The number of threads that are in [`each_header`].
    static NOTING: AtomicUsize = AtomicUsize::new(0);

    /// Calls `see` with the header of each region that this process has mapped. Allowed in a signal handler: no lock, no
    /// allocation.
    pub(crate) fn each_header(see: impl Fn(&[AtomicU64])) {
        NOTING.fetch_add(1, Ordering::SeqCst);
        for slot in all() {
            // In this order: once the slot is active, it cannot become that of other memory before this call ends.
            let is_active = slot.state.load(Ordering::SeqCst) == ACTIVE;
            if is_active && slot.inode.iter().any(|part| part.load(Ordering::Relaxed) != 0) {
                let start = slot.start.load(Ordering::Relaxed) as *const AtomicU64;
                // SAFETY: the slot is active and one of a region, so that a mapping of at least a header begins at `start`,
                // aligned to a page, readable and writable. Its owner unmaps it only after it has changed the state and
                // NOTING was 0, hence not before the end of this call, unless this thread stands still for a second.
                // Whatever its bytes are, they are valid atomics, and all accesses to them are atomic.
                see(unsafe { std::slice::from_raw_parts(start, HEADER_BYTES / WORD) });
            }
        }
        // A handler that another one interrupted may return in a forked child, where the count began at 0 again.
        let _ = NOTING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |noting| noting.checked_sub(1));
    }

    /// Owns an entry of the table. Its drop releases the lock and closes the descriptor.
    pub(super) struct Slot(pub(super) &'static Shared);

    /// Adds memory that was mapped in this window to the table, with the file that it maps, if it maps one.
    pub(super) fn register(_: &Window, start: NonNull<u8>, bytes: usize, lock: Option<File>) -> Slot {
        let slot = claim();
        slot.start.store(start.as_ptr() as usize, Ordering::Relaxed);
        slot.bytes.store(bytes, Ordering::Relaxed);
        let inode = lock.as_ref().and_then(|lock| inode_of(lock.as_raw_fd())).unwrap_or_default();
        slot.inode.iter().zip(inode).for_each(|(part, value)| part.store(value, Ordering::Relaxed));
        if let Some(lock) = lock {
            slot.lock.store(lock.into_raw_fd(), Ordering::Relaxed);
            OPEN.fetch_add(1, Ordering::Relaxed);
        }
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
                // No child needs the mapping any more, since the caller is about to unmap it.
                // SAFETY: the slot is active, so the range is a mapping of the probe; the advice changes no byte of it.
                unsafe { libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_DONTFORK) };
                // Sequentially consistent, as in `each_header`: either a signal handler sees this, or this thread waits
                // until the handler is done with the mapping. (A forked child has no handler in another thread.)
                slot.state.store(FILLING, Ordering::SeqCst);
                wait_until(|| NOTING.load(Ordering::SeqCst) == 0);
            }
            slot.release(&window);
            slot.state.store(EMPTY, Ordering::Release);
            drop(window);
        }
    }

    extern "C" fn in_child() {
        // Threads with an open window, or with a fork of their own, do not exist in the child.
        FORKING.store(0, Ordering::SeqCst);
        MAKING.store(0, Ordering::SeqCst);
        NOTING.store(0, Ordering::SeqCst);
        // The child has no region of its own yet.
        OPEN.store(0, Ordering::Relaxed);
        for slot in all() {
            if slot.state.load(Ordering::Acquire) != ACTIVE {
                continue;
            }
            slot.replace_mapping();
            let lock = slot.lock.swap(NO_DESCRIPTOR, Ordering::Relaxed);
            if lock != NO_DESCRIPTOR {
                // SAFETY: the descriptor belongs to this slot alone, which forgets it here, and the child has its own copy.
                unsafe { libc::close(lock) };
            }
            slot.state.store(FORKED, Ordering::Relaxed);
        }
    }
}

pub(crate) use forks::each_header;

/// Makes the pages of this memory resident, which begins at a page. False if the kernel cannot (before Linux 5.14).
pub(crate) fn populate(words: &[AtomicU64]) -> bool {
    let start = std::ptr::from_ref(words).cast::<libc::c_void>().cast_mut();
    // SAFETY: the range is that of a reference, so it is mapped, and all of its memory are atomics that may be written; the
    // advice changes no byte, and the kernel keeps no pointer. A range that begins within a page is an error.
    unsafe { libc::madvise(start, size_of_val(words), libc::MADV_POPULATE_WRITE) == 0 }
}

/// An exit handler. glibc gives it the exit code and the argument with which it was registered.
#[cfg(target_env = "gnu")]
pub(crate) type ExitHandler = extern "C" fn(libc::c_int, *mut libc::c_void);
/// An exit handler. It does not learn the exit code.
#[cfg(not(target_env = "gnu"))]
pub(crate) type ExitHandler = extern "C" fn();

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // The libc crate does not declare it.
    fn on_exit(function: ExitHandler, argument: *mut libc::c_void) -> libc::c_int;
}

/// Registers `handler` for the orderly exit of the process.
pub(crate) fn at_exit(handler: ExitHandler) {
    // SAFETY: glibc has this function with these types. The handler lives for ever, and as an `extern "C"` function it cannot
    // unwind into its caller; it gets a null pointer as its argument, which glibc never reads.
    #[cfg(target_env = "gnu")]
    unsafe {
        on_exit(handler, std::ptr::null_mut())
    };
    // SAFETY: the handler is a function of the right type that lives for ever; as an `extern "C"` function it cannot
    // unwind into its caller.
    #[cfg(not(target_env = "gnu"))]
    unsafe {
        libc::atexit(handler)
    };
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
            Header {
                identity: identity.clone(),
                state: Some(state),
                beat: Beat { count: 1, mono_ns },
                ending: None,
                history: History::default(),
            }
        };
        let lives = |header: &Header| may_live_without_lock(header, &meta);
        assert!(lives(&header(&identity, State::Running, 0)));
        assert!(!lives(&header(&identity, State::Closed, 0)));
        assert!(!lives(&header(&identity, State::Running, 2 * FRESH_BEAT.as_nanos() as i64)));
        assert!(!lives(&header(&identity, State::Running, -(3_600_000_000_000))), "from another clock");
        assert!(!lives(&Header {
            beat: Beat { count: 0, ..header(&identity, State::Running, 0).beat },
            ..header(&identity, State::Running, 0)
        }));
        // In another time namespace the same heartbeat has the same age by the machine's clock.
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
    fn what_a_signal_handler_sees_is_unmapped_only_after_it() {
        let path = std::env::temp_dir().join(format!("atomscope-seen-{}", std::process::id()));
        let window = forks::Window::open();
        let file = create_new(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.set_len(4096).unwrap();
        let Mapped { slot, mapping, start, .. } = map(&window, file, &path, 4096).unwrap();
        drop(window);
        let (start, released) = (start.as_ptr().addr(), AtomicBool::new(false));
        let mut unmapping = Some((slot, mapping));
        std::thread::scope(|scope| {
            let unmapping = std::cell::RefCell::new(&mut unmapping);
            each_header(|words| {
                if words.as_ptr().addr() != start {
                    return;
                }
                let Some((slot, mapping)) = unmapping.borrow_mut().take() else { return };
                let released = &released;
                scope.spawn(move || {
                    drop(slot);
                    released.store(true, Ordering::SeqCst);
                    drop(mapping);
                });
                let until = std::time::Instant::now() + forks::PATIENCE / 10;
                while !released.load(Ordering::SeqCst) && std::time::Instant::now() < until {
                    std::thread::yield_now();
                }
                assert!(!released.load(Ordering::SeqCst));
                assert_eq!(words[0].load(Ordering::Relaxed), 0, "it is still mapped");
            });
        });
        assert!(released.load(Ordering::SeqCst));
    }

    /// What a child finds in its own table: 0 if all is as it should be. It allocates nothing.
    #[cfg(feature = "atomr")]
    fn in_child(
        telemetry: &crate::TelemetryExtension,
        parent: &atomr_core::actor::ActorPath,
        inherited: &[atomr_core::actor::ActorPath],
        own: &[atomr_core::actor::ActorPath],
    ) -> i32 {
        use atomr_core::actor::SpawnObserver;
        use atomscope_layout::region::header;
        use atomscope_layout::seqlock::Patience;
        use atomscope_layout::table::SlotReader;
        use atomscope_layout::words::Words;

        let (actors, writer) = (&telemetry.actors, &telemetry.region().writer);
        let live = || {
            let [words, _] = writer.all_words();
            let section = writer.map().actors;
            let slots = SlotReader::new(
                Words::new(&words[section.range()]),
                section.stride,
                words[header::ACTORS_USED].load(Ordering::Relaxed),
            );
            let (mut record, mut patience) = ([0; 8], Patience::for_a_scan());
            (0..slots.len()).filter(|at| slots.read(*at, &mut record, &mut patience) == Ok(true)).count()
        };
        if live() != 0 {
            return 1;
        }
        // The stops find no spawn and wait.
        inherited.iter().for_each(|path| actors.on_stop(path));
        own.iter().for_each(|path| actors.on_spawn(path, Some(parent), "Own"));
        if live() != own.len() {
            return 2;
        }
        // Spawns of the paths whose stops wait.
        inherited.iter().for_each(|path| actors.on_spawn(path, Some(parent), "Again"));
        if live() != own.len() {
            return 3;
        }
        own.iter().for_each(|path| actors.on_stop(path));
        if live() != 0 { 4 } else { 0 }
    }

    #[test]
    #[cfg(feature = "atomr")]
    fn a_forked_child_has_a_table_of_its_own_and_leaves_its_parents_alone() {
        use atomr_core::actor::{ActorPath, Address, SpawnObserver};

        let region = Region::builder("forked").actors(2_000).build().unwrap();
        let telemetry = crate::TelemetryExtension::with_region(region);
        let user = ActorPath::root(Address::local("s")).child("user");
        let paths = |name: &str, count: usize| -> Vec<ActorPath> {
            (0..count).map(|number| user.child(format!("{name}-{number}"))).collect()
        };
        let (live, own) = (paths("live", 1_000), paths("own", 1_500));
        let actors = &telemetry.actors;
        live.iter().for_each(|path| actors.on_spawn(path, Some(&user), "Live"));
        // SAFETY: the child runs hooks, which neither lock nor allocate, and ends by `_exit`; the alarm ends it if it hangs.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the call takes a number only.
            unsafe { libc::alarm(60) };
            let code = in_child(&telemetry, &user, &live, &own);
            // SAFETY: the process ends here.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid memory for the status for the length of the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child's code is {}", libc::WEXITSTATUS(status));
        let state = || {
            let reader = telemetry.region().writer.reader().unwrap();
            let (totals, tally) = (reader.actor_totals(), reader.actor_list().tally());
            (totals.spawned, totals.stopped, tally.listed, tally.waiting_stops, tally.drift(&totals))
        };
        assert_eq!(state(), (1_000, 0, 1_000, 0, 0));
        live.iter().for_each(|path| actors.on_stop(path));
        assert_eq!(state(), (1_000, 1_000, 0, 0, 0));
    }

    #[test]
    fn a_fork_waits_no_longer_than_its_patience_and_the_window_that_it_met_knows() {
        let window = forks::Window::open();
        // This thread holds the window, so the fork cannot get its turn.
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
