//! System calls, and all unsafe code of this crate: mappings and their faults, locks, clocks, signals, terminals, file systems.
//!
//! Functions marked *for programs* change state of the whole process, such as signal handlers. A library that embeds this one
//! should leave them to its program.
#![allow(unsafe_code, reason = "mapping a file and the system calls of libc are not possible without")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, RawFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use atomscope_layout::decode::RegionReader;
use atomscope_layout::view::{ReaderMemory, WriterMemory};
use atomscope_layout::words::{WORD, Words};
use memmap2::MmapOptions;

use crate::attach::error::{AttachErrorKind, MOST_MAPPED};
use crate::liveness::Lock;

/// The words of an attached region.
#[derive(Debug)]
pub(crate) enum Memory {
    /// A mapping, with its slot in [`GUARDED`] if it is guarded.
    Mapped(ReaderMemory, Option<usize>),
    /// A copy, which is complete before anything reads it.
    Copied(WriterMemory),
}

impl Memory {
    pub(crate) fn words(&self) -> Words<'_> {
        match self {
            Self::Mapped(memory, _) => memory.words(),
            Self::Copied(memory) => memory.reader(),
        }
    }

    pub(crate) fn reader(&self) -> Result<RegionReader<'_>, AttachErrorKind> {
        RegionReader::open(self.words()).map_err(|error| match self.has_faulted() {
            true => AttachErrorKind::Shrunk,
            false => AttachErrorKind::Layout(error),
        })
    }

    pub(crate) fn has_faulted(&self) -> bool {
        matches!(self, Self::Mapped(_, Some(slot)) if GUARDED[*slot].faulted.load(Ordering::Relaxed))
    }

    pub(crate) fn copied(file: &File, from: u64, bytes: u64) -> Result<Self, AttachErrorKind> {
        let bytes = usize::try_from(bytes)
            .map_err(|_| AttachErrorKind::System(io::ErrorKind::FileTooLarge.into()))?;
        let memory = private(bytes)?;
        copy(file, from, 0..bytes, &memory)?;
        Ok(Self::Copied(memory))
    }
}

/// Zeroed memory; only the pages that are written take space.
pub(crate) fn private(bytes: usize) -> Result<WriterMemory, AttachErrorKind> {
    WriterMemory::private(bytes).ok_or_else(|| AttachErrorKind::System(io::ErrorKind::OutOfMemory.into()))
}

/// Copies the bytes `range` of the region that starts at byte `from` of `file` to the same offsets in `memory`. Zeros are not
/// written, so that the copy of a sparse file is sparse too.
pub(crate) fn copy(
    file: &File,
    from: u64,
    range: Range<usize>,
    memory: &WriterMemory,
) -> Result<(), AttachErrorKind> {
    let mut buffer = [0; 1 << 16];
    let mut at = range.start;
    while at < range.end {
        let most = (range.end - at).min(buffer.len());
        let mut read = 0;
        while read < most {
            match file.read_at(&mut buffer[read..most], from + (at + read) as u64) {
                // The file had more bytes when it was checked.
                Ok(0) => return Err(AttachErrorKind::Shrunk),
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(AttachErrorKind::System(error)),
            }
        }
        let (words, _) = buffer[..most].as_chunks::<WORD>();
        for (to, from) in memory.words()[at / WORD..].iter().zip(words) {
            let word = u64::from_le_bytes(*from);
            if word != 0 {
                to.store(word, Ordering::Relaxed);
            }
        }
        at += most;
    }
    Ok(())
}

/// Maps the first `bytes` of `file` read-only. Guards the mapping if [`guard_mappings`] was called.
pub(crate) fn map(file: &File, bytes: u64) -> Result<Memory, AttachErrorKind> {
    let bytes =
        usize::try_from(bytes).map_err(|_| AttachErrorKind::System(io::ErrorKind::FileTooLarge.into()))?;
    let map = MmapOptions::new().len(bytes).map_raw_read_only(file).map_err(AttachErrorKind::System)?;
    let start =
        NonNull::new(map.as_mut_ptr()).ok_or(AttachErrorKind::System(io::ErrorKind::InvalidData.into()))?;
    let guard = Guard::of(start.as_ptr() as usize, bytes).ok_or(AttachErrorKind::TooMany)?;
    let slot = guard.0;
    // SAFETY: Alignment: mappings start on a page, so `start` is aligned to 8 bytes. Validity: the mapping has `bytes` bytes
    // and stays until the keeper drops `map`, and moving an `MmapRaw` does not move the mapping. If the file shrinks, a read
    // beyond its end raises SIGBUS, which ends the process or is handled by `on_sigbus`; no other memory is read. Changes:
    // other processes make them, or a node in this process, which uses atomic stores; this mapping is read-only. The keeper
    // drops `guard` before `map`, as `Guard` requires, because fields of a tuple drop in order.
    Ok(Memory::Mapped(unsafe { ReaderMemory::mapped(start, bytes, (guard, map)) }, slot))
}

/// A slot for a mapping whose faults [`on_sigbus`] handles.
struct GuardedMapping {
    /// First address, or 0 for a free slot.
    start: AtomicUsize,
    /// Bytes; 0 while the slot is being claimed.
    bytes: AtomicUsize,
    /// Whether a page beyond the end of the file was read.
    faulted: AtomicBool,
}

/// The guarded mappings. Once mappings are guarded, further ones than these are refused.
static GUARDED: [GuardedMapping; MOST_MAPPED] = [const {
    GuardedMapping { start: AtomicUsize::new(0), bytes: AtomicUsize::new(0), faulted: AtomicBool::new(false) }
}; MOST_MAPPED];

/// Bytes of a page of this machine; set by [`guard_mappings`].
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// The action for SIGBUS before [`guard_mappings`]; null until then.
static PREVIOUS_ACTION: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Frees its slot when dropped. It must be dropped before its mapping.
struct Guard(Option<usize>);

impl Guard {
    /// Claims a slot; `None` if all are in use. Without [`guard_mappings`] no slot is needed.
    fn of(start: usize, bytes: usize) -> Option<Self> {
        if PREVIOUS_ACTION.load(Ordering::Acquire).is_null() {
            return Some(Self(None));
        }
        let slot = GUARDED.iter().position(|slot| {
            slot.start.compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        slot.map(|slot| {
            GUARDED[slot].faulted.store(false, Ordering::Relaxed);
            GUARDED[slot].bytes.store(bytes, Ordering::Release);
            Self(Some(slot))
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            GUARDED[slot].bytes.store(0, Ordering::Relaxed);
            GUARDED[slot].start.store(0, Ordering::Release);
        }
    }
}

/// For programs: makes a read beyond the end of a mapped file that was cut short give zeros instead of ending the process.
/// [`Region::check_intact`](crate::attach::Region::check_intact) then returns an error.
///
/// It replaces the process's SIGBUS handler, which still gets every other SIGBUS.
pub fn guard_mappings() {
    if !PREVIOUS_ACTION.load(Ordering::Acquire).is_null() {
        return;
    }
    // SAFETY: `sysconf` takes a number and has no requirements; an unknown name gives -1.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if let Some(bytes) = usize::try_from(page_bytes).ok().filter(|bytes| *bytes > 0) {
        PAGE_BYTES.store(bytes, Ordering::Relaxed);
    }
    // SAFETY: all zeros are a valid `sigaction`: no flags, no handler, no signal in the mask.
    let [mut ours, mut before]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = on_sigbus as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the signal is valid; a null action changes nothing; `before` is a writable `sigaction` for the whole call.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) };
    // Never freed, because the handler may read it at any time from now on.
    PREVIOUS_ACTION.store(Box::into_raw(Box::new(before)), Ordering::Release);
    // SAFETY: the signal is valid; `ours` is initialized; its handler has the signature that SA_SIGINFO requires, and makes
    // only atomic accesses and async-signal-safe system calls; the null pointer for the old action is allowed.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut()) };
}

/// Maps a page of zeros where a guarded mapping has no page any more. Every other SIGBUS goes to the previous handler.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a handler with SA_SIGINFO a pointer to a `siginfo_t`: non-null, aligned, initialized, and not
    // changed until the handler returns, which is longer than the reference lives.
    let info = unsafe { &*info };
    // SAFETY: `si_addr` reads a field of the initialized union, which for SIGBUS is the address. If a process sent the signal,
    // the value is arbitrary but never dereferenced; a sender that forges an address of a slot could also kill this process.
    let address = unsafe { info.si_addr() } as usize;
    let hit = GUARDED.iter().find(|slot| {
        let (bytes, start) = (slot.bytes.load(Ordering::Acquire), slot.start.load(Ordering::Relaxed));
        address.checked_sub(start).is_some_and(|offset| offset < bytes)
    });
    if let Some(slot) = hit {
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let page = address / page_bytes * page_bytes;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: MAP_FIXED replaces exactly one page, which lies in a mapping of ours: a slot is freed before its mapping is
        // removed, so no other mapping is hit. The page stays readable, and its readers load atomics, now zero.
        let zeros = unsafe { libc::mmap(page as *mut _, page_bytes, libc::PROT_READ, flags, -1, 0) };
        if zeros != libc::MAP_FAILED {
            slot.faulted.store(true, Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: the signal is the one handled; the action was stored before this handler was installed and is never freed; the
    // null pointer for the old action is allowed.
    let _ = unsafe { libc::sigaction(signal, PREVIOUS_ACTION.load(Ordering::Acquire), std::ptr::null_mut()) };
    // The signal is blocked during this handler, so the previous handler gets it as soon as this one returns.
    // SAFETY: `raise` takes a number, here of a valid signal, and is async-signal-safe.
    let _ = unsafe { libc::raise(signal) };
}

/// Queries whether a process holds a write lock on byte 0, without taking a lock. One system call.
pub(crate) fn query_lock(fd: RawFd) -> Lock {
    // The kernel requires an `l_pid` of 0 for this kind of lock.
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: F_OFD_GETLK takes a pointer to a `struct flock`: `lock` is one, initialized in every field and writable for the
    // whole call, and the kernel keeps no pointer. A bad `fd` would only be an error.
    let answer = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) };
    match (answer, i32::from(lock.l_type)) {
        (0, libc::F_UNLCK) => Lock::Free,
        (0, _) => Lock::Held,
        _ => Lock::Unsupported,
    }
}

/// The monotonic clock in nanoseconds, which stops while the machine is suspended. Beats have its times.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The clock since boot in nanoseconds, which runs while the machine is suspended. Ages of regions have its times.
pub fn boottime_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable `timespec` for the whole call. Both clocks exist on every Linux; an unknown clock
    // would be an error that leaves `now` as it is.
    let _ = unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The effective user of this process.
pub fn user() -> u32 {
    // SAFETY: `geteuid` takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether there is a process of this id, visible in `/proc` or not.
pub(crate) fn exists(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: `kill` takes two numbers; signal 0 sends nothing.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// For programs: makes a write beyond the limit on file sizes an error, instead of ending the process with a file half
/// written. It ignores SIGXFSZ in the whole process.
pub fn survive_file_size_limit() {
    // SAFETY: SIGXFSZ is a valid signal, and SIG_IGN runs no handler.
    let _ = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether a signal to stop came since [`stop_on_signals`].
static STOP: AtomicBool = AtomicBool::new(false);

/// The signal interrupts a waiting system call. If it comes right before the call, the alarm that is set here interrupts it
/// a second later.
extern "C" fn on_stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
    on_alarm(libc::SIGALRM);
}

extern "C" fn on_alarm(_signal: libc::c_int) {
    // SAFETY: `alarm` takes a number, cannot fail, and is async-signal-safe.
    let _ = unsafe { libc::alarm(1) };
}

/// For programs: makes the first SIGINT, SIGTERM or SIGHUP set [`stopped`] and interrupt waiting system calls with
/// [`io::ErrorKind::Interrupted`], at once or a second later. A second signal ends the process. A SIGHUP that is ignored, as
/// under `nohup`, stays ignored. It uses the process's alarm too.
pub fn stop_on_signals() {
    // SAFETY: all zeros are a valid `sigaction`: no flags, no handler, no signal in the mask.
    let [mut action, mut before]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    // Without SA_RESTART: a write to a full pipe that nobody reads must end.
    action.sa_sigaction = on_alarm as *const () as usize;
    // SAFETY: the signal is valid; `action` is initialized; its handler has the signature that is required without SA_SIGINFO,
    // and makes only an async-signal-safe system call; the null pointer for the old action is allowed.
    let _ = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    action.sa_sigaction = on_stop as *const () as usize;
    action.sa_flags = libc::SA_RESETHAND;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the signal is valid; a null action changes nothing; `before` is a writable `sigaction` for the whole call.
        let _ = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut before) };
        if signal == libc::SIGHUP && before.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        // SAFETY: the signal is valid; `action` is initialized; its handler has the signature that is required without
        // SA_SIGINFO, and makes only an atomic store and an async-signal-safe system call; the null pointer is allowed.
        let _ = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Whether a signal to stop came; see [`stop_on_signals`].
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// For programs: suspends this process, as a terminal's suspend key does, until a SIGCONT. The signal goes to this thread, so
/// the process is suspended when the call is made and not later.
pub fn suspend() {
    // SAFETY: `raise` takes a number, here of a valid signal.
    let _ = unsafe { libc::raise(libc::SIGTSTP) };
}

/// Whether the other end is gone: the terminal was closed, or no process reads the pipe.
pub fn is_hung_up(of: BorrowedFd<'_>) -> bool {
    poll(of, 0, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Waits until a terminal has input, but no longer than `most`; false if the terminal was closed.
pub fn wait_for_input(of: BorrowedFd<'_>, most: Duration) -> bool {
    let ms = most.as_millis().try_into().unwrap_or(libc::c_int::MAX);
    poll(of, libc::POLLIN, ms) & (libc::POLLERR | libc::POLLHUP) == 0
}

/// Waits for `events` or a hang-up, and returns those that came; 0 after `ms`, or if a signal came first.
fn poll(of: BorrowedFd<'_>, events: libc::c_short, ms: libc::c_int) -> libc::c_short {
    let mut of = libc::pollfd { fd: of.as_raw_fd(), events, revents: 0 };
    // SAFETY: the count 1 matches `of`, a valid, writable `pollfd` for the whole call; the kernel keeps no pointer.
    let ready = unsafe { libc::poll(&raw mut of, 1, ms) };
    if ready > 0 { of.revents } else { 0 }
}

/// A copy of the descriptor `number` that this process inherited from its parent.
///
/// # Errors
/// There is no such descriptor, or this process opened it itself.
pub fn inherited(number: RawFd) -> io::Result<File> {
    // SAFETY: F_GETFD takes no pointer; a number that is no descriptor is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // Rust opens every descriptor with FD_CLOEXEC; an inherited one cannot have it.
    if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_DUPFD_CLOEXEC takes no pointer; a number that is no descriptor is an error.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` is an open descriptor that the call above made, so nothing else owns it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// For programs: waits for `time`. Returns false as soon as a signal to stop came or no process reads stdout any more.
pub fn wait(time: Duration) -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // A time beyond the range of the clock means to wait forever.
    let end = std::time::Instant::now().checked_add(time);
    loop {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(std::time::Instant::now()));
        if stopped() {
            return false;
        }
        // In steps that a person does not notice: a signal may come right before the call and not interrupt it.
        let ms = left.min(Duration::from_millis(100)).as_micros().div_ceil(1000) as libc::c_int;
        // SAFETY: the count 1 matches `stdout`, a valid, writable `pollfd` for the whole call; the kernel keeps no pointer.
        let ready = unsafe { libc::poll(&raw mut stdout, 1, ms) };
        if ready > 0 && stdout.revents & (libc::POLLERR | libc::POLLHUP) != 0 {
            return false;
        }
        if left.is_zero() {
            return !stopped();
        }
        if ready > 0 {
            // `poll` returns at once for a closed descriptor: without this the loop would spin.
            std::thread::sleep(left.min(Duration::from_millis(10)));
        }
    }
}

/// The file system of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Whether it is in memory. On a disk, a node that writes may have to wait.
    pub is_memory: bool,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its free bytes for unprivileged users.
    pub free_bytes: u64,
}

impl FileSystem {
    /// The file system of the file or directory `path`.
    ///
    /// # Errors
    /// The path does not exist or cannot be reached.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))?;
        // SAFETY: all zeros are a valid `statfs`, which has only numbers.
        let mut found: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: `path` is a string with a zero byte at its end; `found` is a writable `statfs` for the whole call.
        if unsafe { libc::statfs(path.as_ptr(), &raw mut found) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let block = u64::try_from(found.f_bsize).unwrap_or(0);
        Ok(Self {
            is_memory: [libc::TMPFS_MAGIC, RAMFS_MAGIC]
                .map(|magic| magic as u64)
                .contains(&(found.f_type as u64)),
            bytes: found.f_blocks.saturating_mul(block),
            free_bytes: found.f_bavail.saturating_mul(block),
        })
    }
}

/// From the kernel's `magic.h`; `libc` does not have it.
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Pieces of memory that one call copies. The kernel allows 1024.
#[cfg(feature = "stacks")]
const MOST_PIECES: usize = 1024;

/// Copies memory of process `pid` from `address` on. Returns the number of copied bytes, which end before the first page
/// that cannot be read. It needs the rights to trace the process, and does not stop it.
///
/// # Errors
/// The process has ended, this program may not read its memory, or not even the first page can be read.
#[cfg(feature = "stacks")]
pub(crate) fn read_memory(pid: u32, address: u64, to: &mut [u8]) -> io::Result<usize> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let mut done = 0;
    while done < to.len() {
        let invalid = || io::Error::from_raw_os_error(libc::EFAULT);
        let at =
            address.checked_add(done as u64).and_then(|at| usize::try_from(at).ok()).ok_or_else(invalid)?;
        // Each page is a piece of its own, because the kernel copies pieces whole or not at all.
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while pieces.len() < MOST_PIECES && done + bytes < to.len() {
            let from = at.checked_add(bytes).ok_or_else(invalid)?;
            let most = page_bytes - from % page_bytes;
            let iov_len = most.min(to.len() - done - bytes);
            pieces.push(libc::iovec { iov_base: from as *mut _, iov_len });
            bytes += iov_len;
        }
        let target = &mut to[done..done + bytes];
        let local = libc::iovec { iov_base: target.as_mut_ptr().cast(), iov_len: bytes };
        // SAFETY: the count 1 matches `local`, which names writable memory of `bytes` bytes that is borrowed exclusively for
        // the whole call. `pieces` has as many elements as stated; their addresses belong to the other process, where the
        // kernel checks them. The last argument must be 0. The kernel keeps no pointer.
        let copied = unsafe {
            libc::process_vm_readv(
                pid,
                &raw const local,
                1,
                pieces.as_ptr(),
                pieces.len() as libc::c_ulong,
                0,
            )
        };
        match usize::try_from(copied) {
            Ok(copied) => done += copied,
            Err(_) if done > 0 => break,
            Err(_) => return Err(io::Error::last_os_error()),
        }
        if copied as usize != bytes {
            break;
        }
    }
    Ok(done)
}

/// The registers from which a stack is unwound.
#[cfg(feature = "stacks")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registers {
    pub program_counter: u64,
    pub stack_pointer: u64,
    pub frame_pointer: u64,
}

/// A thread of another process that the calling thread traces. It goes on at the latest when the calling thread ends, and so
/// also when this program is killed: the kernel then detaches all that it traces. No option changes this.
#[cfg(feature = "stacks")]
#[derive(Debug)]
pub(crate) struct Traced {
    tid: libc::pid_t,
    /// While it is stopped: the signal that it gets when it goes on, or 0.
    stopped: Option<libc::c_int>,
}

#[cfg(feature = "stacks")]
impl Traced {
    /// Begins to trace the thread `tid`, which goes on running.
    ///
    /// # Errors
    /// The thread has ended, somebody else traces it, or this program may not.
    pub fn seize(tid: u32) -> io::Result<Self> {
        let tid = libc::pid_t::try_from(tid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        ptrace(libc::PTRACE_SEIZE, tid, 0)?;
        Ok(Self { tid, stopped: None })
    }

    /// Stops the thread and reads its registers; `None` if it has ended. The time is the last one at which it was not stopped
    /// yet. A thread that the kernel does not stop within `most` is an error.
    ///
    /// # Errors
    /// The thread did not stop in time, or the registers cannot be read.
    pub fn stop(&mut self, most: Duration) -> io::Result<Option<(Registers, std::time::Instant)>> {
        ptrace(libc::PTRACE_INTERRUPT, self.tid, 0)?;
        let begun = std::time::Instant::now();
        let mut before = begun;
        loop {
            let (now, mut status) = (std::time::Instant::now(), 0);
            // SAFETY: `status` is a writable integer for the whole call; the other arguments are numbers.
            let answer = unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
            if answer == self.tid {
                if !libc::WIFSTOPPED(status) {
                    return Ok(None);
                }
                // A thread that was about to get a signal gets it when it goes on. Other stops have no signal to hand on.
                let is_own = status >> 16 == libc::PTRACE_EVENT_STOP;
                self.stopped = Some(if is_own { 0 } else { libc::WSTOPSIG(status) });
                return Ok(Some((self.registers()?, before)));
            }
            if answer < 0 {
                return match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
                    error => Err(error),
                };
            }
            // A thread on another processor stops within microseconds. One on this processor needs this thread to sleep.
            before = now;
            match begun.elapsed() {
                spent if spent > most => return Err(io::ErrorKind::TimedOut.into()),
                spent if spent < Duration::from_micros(20) => std::hint::spin_loop(),
                _ => std::thread::sleep(Duration::from_micros(5)),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn registers(&self) -> io::Result<Registers> {
        // SAFETY: all zeros are a valid `user_regs_struct`, which has only numbers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let mut piece = libc::iovec {
            iov_base: (&raw mut registers).cast(),
            iov_len: std::mem::size_of::<libc::user_regs_struct>(),
        };
        // SAFETY: PTRACE_GETREGSET takes a kind of registers as a number and a pointer to an `iovec`, valid and writable for
        // the whole call, which names writable memory of the stated size. The kernel keeps no pointer.
        let answer =
            unsafe { libc::ptrace(libc::PTRACE_GETREGSET, self.tid, libc::NT_PRSTATUS, &raw mut piece) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Registers {
            program_counter: registers.rip,
            stack_pointer: registers.rsp,
            frame_pointer: registers.rbp,
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn registers(&self) -> io::Result<Registers> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(feature = "stacks")]
impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(signal) = self.stopped {
            let _ = ptrace(libc::PTRACE_DETACH, self.tid, signal);
        }
    }
}

/// Lets the calling thread run before all usual ones, if this program may: whatever it has stopped then waits for no other
/// program of a busy machine. It is for a thread that soon ends and mostly sleeps.
#[cfg(feature = "stacks")]
pub(crate) fn run_first() {
    // SAFETY: all zeros are a valid `sched_param`, which has only numbers.
    let mut priority: libc::sched_param = unsafe { std::mem::zeroed() };
    priority.sched_priority = 1;
    // SAFETY: 0 is the calling thread; `priority` is initialized and readable for the whole call; the kernel keeps no pointer.
    // Without the right to it, the call changes nothing.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
}

/// A breakpoint in one thread of another process, which the kernel counts and does not act on: the thread gets no signal and
/// goes on. At the first hit the kernel removes it, so it costs the thread one exception. It also goes with this value, and
/// with this program.
#[cfg(feature = "stacks")]
#[derive(Debug)]
pub(crate) struct Passage(File);

#[cfg(feature = "stacks")]
impl Passage {
    /// Begins to watch whether the thread `tid` executes the instruction at `address`.
    ///
    /// # Errors
    /// This program may not, the processor has no breakpoint left, or the kernel has none.
    pub fn watch(tid: u32, address: u64) -> io::Result<Self> {
        // From the kernel's `perf_event.h` and `hw_breakpoint.h`; `libc` does not have them.
        const PERF_TYPE_BREAKPOINT: u64 = 5;
        const HW_BREAKPOINT_X: u64 = 4;
        const DISABLED: u64 = 1;
        const EXCLUDE_KERNEL: u64 = 1 << 5;
        const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
        const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
        const PERF_EVENT_IOC_REFRESH: u64 = 0x2402;
        /// Any processor, and no group.
        const NONE: libc::c_int = -1;

        let tid = libc::pid_t::try_from(tid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        // `perf_event_attr` up to `bp_len`: type and size, config, sample_period (each hit counts as one), sample_type,
        // read_format, flags, wakeup_events and bp_type, bp_addr, bp_len.
        let mut attributes = [0u64; 9];
        let bytes = size_of_val(&attributes) as u64;
        attributes[0] = PERF_TYPE_BREAKPOINT | bytes << 32;
        attributes[2] = 1;
        attributes[5] = DISABLED | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR;
        attributes[6] = HW_BREAKPOINT_X << 32;
        attributes[7] = address;
        attributes[8] = size_of::<libc::c_long>() as u64;
        // SAFETY: the first argument is a pointer to a `perf_event_attr` of the size that it states itself, readable and
        // writable for the whole call (the kernel writes its own size there if it refuses this one); the others are numbers.
        // The kernel keeps no pointer.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attributes.as_mut_ptr(),
                tid,
                NONE,
                NONE,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        let fd = RawFd::try_from(answer).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for this call, so it is open and nobody else owns it.
        let passage = Self(unsafe { File::from_raw_fd(fd) });
        // SAFETY: the descriptor is open for the whole call; this request takes a number: after so many hits the kernel
        // disables the event.
        let answer = unsafe { libc::ioctl(passage.0.as_raw_fd(), PERF_EVENT_IOC_REFRESH as _, 1) };
        if answer == 0 { Ok(passage) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether the thread has got there; `None` if the kernel does not say.
    pub fn has_passed(&self) -> Option<bool> {
        let mut count = [0; 8];
        let read = std::io::Read::read(&mut &self.0, &mut count).ok()?;
        (read == count.len()).then(|| u64::from_ne_bytes(count) > 0)
    }
}

/// The type of ptrace's requests, which differs between the C libraries.
#[cfg(all(feature = "stacks", target_env = "musl"))]
type Request = libc::c_int;
#[cfg(all(feature = "stacks", not(target_env = "musl")))]
type Request = libc::c_uint;

/// A request of ptrace that takes one number.
#[cfg(feature = "stacks")]
fn ptrace(request: Request, tid: libc::pid_t, data: libc::c_int) -> io::Result<()> {
    let address: *mut libc::c_void = std::ptr::null_mut();
    // SAFETY: the callers' requests (SEIZE without options, INTERRUPT, DETACH) ignore the address or want it null, and take
    // `data` as a number. They touch no memory of this process.
    let answer = unsafe { libc::ptrace(request, tid, address, libc::c_ulong::try_from(data).unwrap_or(0)) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
