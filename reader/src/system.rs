//! What the kernel is asked for: mappings and their faults, locks, clocks, signals, terminals, file systems.
#![allow(
    unsafe_code,
    reason = "mapping a file and asking the kernel for locks and clocks is not possible without"
)]

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

#[derive(Debug)]
pub(crate) enum Memory {
    /// With its number among the guarded mappings, if it is one.
    Mapped(ReaderMemory, Option<usize>),
    /// Written once, before anybody sees it.
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

/// Memory of which only what is written takes room.
pub(crate) fn private(bytes: usize) -> Result<WriterMemory, AttachErrorKind> {
    WriterMemory::private(bytes).ok_or_else(|| AttachErrorKind::System(io::ErrorKind::OutOfMemory.into()))
}

/// Copies `range` of the region that starts at byte `from` of `file` into its place in `memory`. Zeros are not written:
/// of a file that is mostly holes the copy is too.
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
                // It was longer a moment ago.
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

pub(crate) fn map(file: &File, bytes: u64) -> Result<Memory, AttachErrorKind> {
    let bytes =
        usize::try_from(bytes).map_err(|_| AttachErrorKind::System(io::ErrorKind::FileTooLarge.into()))?;
    let map = MmapOptions::new().len(bytes).map_raw_read_only(file).map_err(AttachErrorKind::System)?;
    let start =
        NonNull::new(map.as_mut_ptr()).ok_or(AttachErrorKind::System(io::ErrorKind::InvalidData.into()))?;
    let guard = Guard::of(start.as_ptr() as usize, bytes).ok_or(AttachErrorKind::TooMany)?;
    let slot = guard.0;
    // SAFETY: `start` is aligned to 8 bytes, as mappings start on a page; it is valid for reads of `bytes` bytes until
    // `map` is dropped, since moving an `MmapRaw` does not move the mapping (should the file shrink, a read beyond its
    // end is a SIGBUS, which ends the process or is met by `on_sigbus`: no foreign memory is read); whoever changes the
    // bytes is another process, or a node of this very one, which does so with atomic stores; through this mapping, which
    // is read-only, nobody does.
    Ok(Memory::Mapped(unsafe { ReaderMemory::mapped(start, bytes, (guard, map)) }, slot))
}

/// A mapping whose faults are met.
struct Guarded {
    /// First address, or 0 for a free slot.
    start: AtomicUsize,
    /// Bytes; 0 while the slot is being taken.
    bytes: AtomicUsize,
    faulted: AtomicBool,
}

/// More mappings than these at a time are refused once mappings are guarded.
static GUARDED: [Guarded; MOST_MAPPED] = [const {
    Guarded { start: AtomicUsize::new(0), bytes: AtomicUsize::new(0), faulted: AtomicBool::new(false) }
}; MOST_MAPPED];

/// Bytes of a page of this machine; set by [`guard_mappings`].
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

/// What was done on SIGBUS before; null until [`guard_mappings`].
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Gives its slot back when dropped, which must be before the mapping goes.
struct Guard(Option<usize>);

impl Guard {
    /// `None` if it should be met and cannot.
    fn of(start: usize, bytes: usize) -> Option<Self> {
        if BEFORE.load(Ordering::Acquire).is_null() {
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

/// From now on a read beyond the end of a mapped file that was cut short gives zeros and makes
/// [`Region::still_whole`](crate::attach::Region::still_whole) say so, instead of ending the process. For programs: it takes the process's SIGBUS handler,
/// and passes on to the one before what is not its own.
pub fn guard_mappings() {
    if !BEFORE.load(Ordering::Acquire).is_null() {
        return;
    }
    // SAFETY: it takes a number, a valid name or not, and gives one.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if let Some(bytes) = usize::try_from(page_bytes).ok().filter(|bytes| *bytes > 0) {
        PAGE_BYTES.store(bytes, Ordering::Relaxed);
    }
    // SAFETY: all zeros are a valid `sigaction`: no flags, no handler, no signal in the mask.
    let [mut ours, mut before]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = on_sigbus as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the signal is valid; no action is given, and none is set; `before` is writable for the whole call.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &raw mut before) };
    // Never freed: the handler may run at any time from now on.
    BEFORE.store(Box::into_raw(Box::new(before)), Ordering::Release);
    // SAFETY: the signal is valid, `ours` is initialized, its handler has the signature that SA_SIGINFO asks for, and
    // does nothing but atomic loads and stores and system calls that a handler may make.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, std::ptr::null_mut()) };
}

/// Puts a page of zeros where a guarded mapping has none any more; leaves everything else to whoever was there before.
extern "C" fn on_sigbus(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a pointer to a `siginfo_t` on its own stack: non-null, aligned,
    // initialised, and left alone by everybody until the handler returns, which is longer than the reference lives.
    let info = unsafe { &*info };
    // SAFETY: for SIGBUS this field is the address; where a process sent the signal it is whatever it is, and no slot's
    // unless that process means us harm and has the right to do worse.
    let address = unsafe { info.si_addr() } as usize;
    let hit = GUARDED.iter().find(|slot| {
        let (bytes, start) = (slot.bytes.load(Ordering::Acquire), slot.start.load(Ordering::Relaxed));
        address.checked_sub(start).is_some_and(|offset| offset < bytes)
    });
    if let Some(slot) = hit {
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let page = address / page_bytes * page_bytes;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies in a mapping of ours, which is read-only and stays until its guard is dropped: no other
        // mapping is replaced, and whoever reads it finds atomics that are zero.
        let zeros = unsafe { libc::mmap(page as *mut _, page_bytes, libc::PROT_READ, flags, -1, 0) };
        if zeros != libc::MAP_FAILED {
            slot.faulted.store(true, Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: the pointer was stored before this handler was installed, and what it points to is never freed.
    let _ = unsafe { libc::sigaction(signal, BEFORE.load(Ordering::Acquire), std::ptr::null_mut()) };
    // The signal is blocked while it is handled here, so that it comes again as soon as this returns.
    // SAFETY: the signal is valid.
    let _ = unsafe { libc::raise(signal) };
}

/// Asks whether somebody holds a write lock on byte 0, without taking one.
pub(crate) fn query_lock(fd: RawFd) -> Lock {
    // `l_pid` must be 0 for this kind of lock.
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: `fd` is an open descriptor of the caller; F_OFD_GETLK takes a pointer to a `struct flock`, which `lock` is
    // for the whole call, initialized in every field; the kernel keeps no pointer.
    let answer = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) };
    match (answer, i32::from(lock.l_type)) {
        (0, libc::F_UNLCK) => Lock::Free,
        (0, _) => Lock::Held,
        _ => Lock::Unsupported,
    }
}

/// The clock that beats are told in.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The clock that ages are told in: it goes on while the machine is suspended.
pub fn boottime_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable `timespec` for the whole call; both clocks exist on every Linux, and an unknown
    // one is an error that leaves it as it is.
    let _ = unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The user that this process acts as.
pub fn user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether there is a process of this number, seen or not.
pub fn exists(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: it takes numbers, of which the second sends nothing.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Makes crossing a limit on file sizes an error of the write that crosses it, instead of the end of this process with a
/// file half written. For programs; it holds for the whole process.
pub fn survive_file_size_limit() {
    // SAFETY: SIGXFSZ is a valid signal, and SIG_IGN runs no code of ours.
    let _ = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Set by the first signal after [`stop_on_signals`].
static STOP: AtomicBool = AtomicBool::new(false);

/// The signal ends a system call that waits. One that comes right before the call would not, so an alarm follows it.
extern "C" fn on_stop(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
    on_alarm(libc::SIGALRM);
}

extern "C" fn on_alarm(_signal: libc::c_int) {
    // SAFETY: it takes a number, cannot fail, and may be called by a handler.
    let _ = unsafe { libc::alarm(1) };
}

/// From now on the first SIGINT, SIGTERM or SIGHUP makes [`stopped`] true and system calls that wait end with
/// [`io::ErrorKind::Interrupted`], at once or a second later; only a second signal ends this process. A SIGHUP that is
/// ignored, as under `nohup`, stays so. For programs: it takes their alarm too.
pub fn stop_on_signals() {
    // SAFETY: all zeros are a valid `sigaction`: no flags, no handler, no signal in the mask.
    let [mut action, mut before]: [libc::sigaction; 2] = unsafe { std::mem::zeroed() };
    // Without SA_RESTART: a write that nobody reads must end.
    action.sa_sigaction = on_alarm as *const () as usize;
    // SAFETY: the signal is valid, `action` is initialized, its handler has the signature that is asked for without
    // SA_SIGINFO, and does nothing but a system call that a handler may make.
    let _ = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    action.sa_sigaction = on_stop as *const () as usize;
    action.sa_flags = libc::SA_RESETHAND;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the signal is valid; no action is given, and none is set; `before` is writable for the whole call.
        let _ = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut before) };
        if signal == libc::SIGHUP && before.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        // SAFETY: the signal is valid, `action` is initialized, its handler has the signature that is asked for without
        // SA_SIGINFO, and does nothing but an atomic store and a system call that a handler may make.
        let _ = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Whether a signal asked this process to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Stops this process, as a terminal's suspend key does, until it is told to go on. What was done before is done by then:
/// the signal is this very thread's. For programs.
pub fn suspend() {
    // SAFETY: the signal is valid; no handler of ours runs.
    let _ = unsafe { libc::raise(libc::SIGTSTP) };
}

/// Whether nobody is at the other end any more: of a terminal that was closed, or a pipe that nobody reads.
pub fn is_hung_up(of: BorrowedFd<'_>) -> bool {
    poll(of, 0, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Waits until a terminal has input, but no longer than `most`; false if nobody is at its other end any more.
pub fn wait_for_input(of: BorrowedFd<'_>, most: Duration) -> bool {
    let ms = most.as_millis().try_into().unwrap_or(libc::c_int::MAX);
    poll(of, libc::POLLIN, ms) & (libc::POLLERR | libc::POLLHUP) == 0
}

/// What has come of these events, and of a hang-up, within a time; nothing where a signal came first.
fn poll(of: BorrowedFd<'_>, events: libc::c_short, ms: libc::c_int) -> libc::c_short {
    let mut of = libc::pollfd { fd: of.as_raw_fd(), events, revents: 0 };
    // SAFETY: `of` is one valid, writable `pollfd`, as the count says; the kernel keeps no pointer.
    let ready = unsafe { libc::poll(&raw mut of, 1, ms) };
    if ready > 0 { of.revents } else { 0 }
}

/// Another descriptor of what this program was handed under this number by whoever started it. What the program has
/// opened itself counts as none.
pub fn inherited(number: RawFd) -> io::Result<File> {
    // SAFETY: it takes two numbers, and of one that is no descriptor says so.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    // Everything of our own is closed in programs that we start; what we were handed was not.
    if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: as above; the new descriptor is the lowest one that is free, and nobody's but the caller's.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `copy` is open, as the call has just made it, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// Waits, but no longer than until a signal asks to stop or nobody reads stdout any more; false if that came.
pub fn wait(time: Duration) -> bool {
    let mut stdout = libc::pollfd { fd: libc::STDOUT_FILENO, events: 0, revents: 0 };
    // A time that no clock can be set forward by has no end.
    let end = std::time::Instant::now().checked_add(time);
    loop {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(std::time::Instant::now()));
        if stopped() {
            return false;
        }
        // Not for longer at a time than a person would notice: a signal may come just before.
        let ms = left.min(Duration::from_millis(100)).as_micros().div_ceil(1000) as libc::c_int;
        // SAFETY: `stdout` is one valid, writable `pollfd`, as the count says; the kernel keeps no pointer.
        let ready = unsafe { libc::poll(&raw mut stdout, 1, ms) };
        if ready > 0 && stdout.revents & (libc::POLLERR | libc::POLLHUP) != 0 {
            return false;
        }
        if left.is_zero() {
            return !stopped();
        }
        if ready > 0 {
            // A closed descriptor is known at once, and tells nothing.
            std::thread::sleep(left.min(Duration::from_millis(10)));
        }
    }
}

/// What a file lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Whether it is memory; elsewhere a node that writes may have to wait for a disk.
    pub is_memory: bool,
    /// All of it.
    pub bytes: u64,
    /// What is left.
    pub free_bytes: u64,
}

impl FileSystem {
    /// Of the file or directory `path`.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))?;
        // SAFETY: all zeros are a valid `statfs`: it holds numbers only.
        let mut found: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: `path` is a string that ends in a zero byte, `found` is writable for the whole call.
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

/// As in the kernel's `magic.h`; `libc` does not have it.
const RAMFS_MAGIC: i64 = 0x8584_58f6;
