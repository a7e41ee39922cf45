//! Notes a signal that ends the process, in the header of each region of the process.
//!
//! [`note`] puts a handler before the one that is there. The handler only notes; then the former one decides:
//! ```text
//!   former                    fault, SIGABRT                       SIGTERM, SIGINT, SIGHUP
//!   default                   default again, and the signal again  default again, and the signal again
//!   ignored                   left alone                           left alone
//!   a handler                 called; if it returns, and the       left alone
//!                             signal would not end the process,
//!                             the note is withdrawn
//! ```
//! A handler that the application installs later may call this one as its former. Then the application handles the signal:
//! only a fault and an `abort` end the process all the same, and only these are noted.
//!
//! The handler uses atomics, and system calls that a signal handler may use. It takes no lock and allocates nothing.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "signal handlers have no safe interface")]

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use atomscope_layout::records::{EndKind, EndRecord, end_flags};
use atomscope_layout::region::HeaderWriter;

use crate::clock;
use crate::region_file::{each_header, thread_id, thread_name};

/// Signals of faults, and of `abort`.
const FAULTS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];
/// Signals that ask a process to end.
const REQUESTS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// What handled a signal before.
struct Former {
    signal: libc::c_int,
    handler: AtomicUsize,
    flags: AtomicI32,
}

static FORMER: [Former; 8] = {
    let [segv, bus, ill, fpe, abrt] = FAULTS;
    let [term, int, hup] = REQUESTS;
    [
        Former::of(segv),
        Former::of(bus),
        Former::of(ill),
        Former::of(fpe),
        Former::of(abrt),
        Former::of(term),
        Former::of(int),
        Former::of(hup),
    ]
};

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

impl Former {
    const fn of(signal: libc::c_int) -> Self {
        Self { signal, handler: AtomicUsize::new(libc::SIG_DFL), flags: AtomicI32::new(0) }
    }

    /// Puts this module's handler before the present one.
    fn install(&self) {
        // If another thread installs a handler meanwhile, that one is put back, and becomes the present one.
        const TRIES: usize = 8;
        for _ in 0..TRIES {
            if self.is_installed() {
                return;
            }
        }
    }

    /// Tries to. True if it is done, or must not be.
    fn is_installed(&self) -> bool {
        let Some(present) = action_of(self.signal) else { return true };
        let is_default = present.sa_sigaction == libc::SIG_DFL;
        if present.sa_sigaction == libc::SIG_IGN || REQUESTS.contains(&self.signal) && !is_default {
            return true;
        }
        self.handler.store(present.sa_sigaction, Ordering::Relaxed);
        self.flags.store(present.sa_flags, Ordering::Release);
        let handler: Handler = noted;
        let mut action = present;
        action.sa_sigaction = handler as usize;
        // The former handler runs on the stack that it was made for. A stack overflow needs another stack.
        action.sa_flags |= libc::SA_SIGINFO | if is_default { libc::SA_ONSTACK } else { 0 };
        let mut replaced = present;
        // SAFETY: `action` is a complete sigaction, a copy of the kernel's with a handler of the type that SA_SIGINFO
        // demands, which lives for ever; the kernel keeps no pointer to it; `replaced` is valid memory for one sigaction for
        // the length of the call.
        let is_done = unsafe { libc::sigaction(self.signal, &action, &mut replaced) } == 0;
        if !is_done || replaced.sa_sigaction == present.sa_sigaction {
            return true;
        }
        // SAFETY: `replaced` is what the kernel had until now; the kernel keeps no pointer to it; a null pointer asks for no
        // former action.
        unsafe { libc::sigaction(self.signal, &replaced, std::ptr::null_mut()) };
        false
    }
}

/// From now on signals that end this process are noted.
pub(crate) fn note() {
    static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
    if !IS_INSTALLED.swap(true, Ordering::Relaxed) {
        FORMER.iter().for_each(Former::install);
    }
}

fn action_of(signal: libc::c_int) -> Option<libc::sigaction> {
    // SAFETY: a sigaction is integers and an optional function pointer, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null pointer changes nothing; `action` is valid memory for one sigaction for the length of the call.
    let is_known = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) } == 0;
    is_known.then_some(action)
}

fn set_default(signal: libc::c_int) {
    // SAFETY: a sigaction is integers and an optional function pointer, for which zero is a value: the default action.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is a complete sigaction, and the kernel keeps no pointer to it; a null pointer asks for no former
    // action.
    unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
}

extern "C" fn noted(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(former) = FORMER.iter().find(|former| former.signal == signal) else { return };
    let errno = errno();
    let errno_before = errno.load(Ordering::Relaxed);
    let is_first = action_of(signal).is_some_and(|action| action.sa_sigaction == noted as Handler as usize);
    // A handler that the application installed later decides. It may call this one without a siginfo.
    if !is_first && REQUESTS.contains(&signal) {
        return;
    }
    let origin = Origin::of(info);
    let note = origin.note(signal);
    let flags = former.flags.load(Ordering::Acquire);
    let handler = former.handler.load(Ordering::Relaxed);
    let is_default = handler == libc::SIG_DFL;
    if is_first || origin.is_fault || origin.is_own && signal == libc::SIGABRT {
        put(note);
    }
    if !is_default {
        call(handler, flags, (signal, info, context));
        let is_default_now = action_of(signal).is_some_and(|action| action.sa_sigaction == libc::SIG_DFL);
        // `abort` ends the process when the handler returns.
        let ends = is_default_now || origin.is_own && signal == libc::SIGABRT;
        if !ends {
            each_header(|words| HeaderWriter::new(words).withdraw_end(note));
        }
    } else if is_first || origin.is_fault {
        set_default(signal);
        // A fault comes again when the instruction is run again. Another signal comes when this handler returns.
        if !origin.is_fault {
            // SAFETY: the call takes a number, and may be made in a signal handler.
            unsafe { libc::raise(signal) };
        }
    }
    errno.store(errno_before, Ordering::Relaxed);
}

/// This thread's `errno`, which the code that was interrupted may be about to read.
fn errno() -> &'static AtomicI32 {
    // SAFETY: the call returns the address of this thread's errno, and takes nothing.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is aligned, non-null and valid as long as the thread lives, which the handler of a signal does not outlive;
    // nothing else uses it while the handler runs.
    unsafe { AtomicI32::from_ptr(errno) }
}

fn call(
    handler: usize,
    flags: libc::c_int,
    (signal, info, context): (libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
) {
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: the kernel had this address as the handler of a signal with SA_SIGINFO, so that it is a function of this
        // type; it gets what the kernel gave for this signal.
        unsafe { std::mem::transmute::<usize, Handler>(handler)(signal, info, context) };
    } else {
        // SAFETY: the kernel had this address as the handler of a signal without SA_SIGINFO, so that it is a function of
        // this type.
        unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler)(signal) };
    }
}

/// Where a signal comes from.
struct Origin {
    /// An instruction of this thread caused it.
    is_fault: bool,
    /// This process sent it to itself.
    is_own: bool,
    /// The other process that sent it; 0: none, or unknown.
    sender: u64,
    /// The address that the instruction wanted to access.
    address: Option<u64>,
}

impl Origin {
    fn of(info: *const libc::siginfo_t) -> Self {
        // SAFETY: the kernel gives a handler with SA_SIGINFO a pointer to a siginfo that is valid while the handler runs. A
        // handler of the application for a fault that calls this one gives what it got, as the builder's documentation
        // demands; a null pointer gives none.
        let Some(info) = (unsafe { info.as_ref() }) else {
            return Self { is_fault: false, is_own: false, sender: 0, address: None };
        };
        // `kill`, `sigqueue` and `tgkill`.
        let is_sent = [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL].contains(&info.si_code);
        let is_fault = info.si_code > 0 && info.si_code != libc::SI_KERNEL && info.si_signo != libc::SIGABRT;
        let is_fault = is_fault || info.si_code == libc::SI_KERNEL && FAULTS.contains(&info.si_signo);
        // SAFETY: with these codes the kernel fills in the sender.
        let sender = if is_sent { unsafe { info.si_pid() } } else { 0 };
        // Of other faults it is that of the instruction, and of an address that no memory can have the kernel tells none.
        let has_address =
            info.si_code != libc::SI_KERNEL && [libc::SIGSEGV, libc::SIGBUS].contains(&info.si_signo);
        // SAFETY: of a fault the kernel fills in the address.
        let address = (is_fault && has_address).then(|| unsafe { info.si_addr() }.addr() as u64);
        let is_own = is_sent && u32::try_from(sender) == Ok(std::process::id());
        Self {
            is_fault,
            is_own,
            sender: if is_own { 0 } else { u64::try_from(sender).unwrap_or(0) },
            address,
        }
    }

    fn note(&self, signal: libc::c_int) -> EndRecord {
        let (tid, thread) = this_thread();
        EndRecord {
            kind: EndKind::Signal as u64,
            code: u64::try_from(signal).unwrap_or(0),
            unix_ns: clock::unix_ns(),
            mono_ns: clock::mono_ns(),
            tid,
            thread,
            sender: self.sender,
            address: self.address.unwrap_or(0),
            flags: self.address.map_or(0, |_| u64::from(end_flags::HAS_ADDRESS)),
        }
    }
}

fn put(record: EndRecord) {
    each_header(|words| {
        let header = HeaderWriter::new(words);
        // How a closed region ended is known, or the exit handler will tell it. If another thread notes something at this
        // moment, that is what is told.
        if !header.is_closed() {
            let _ = header.note_end(record);
        }
    });
}

/// Number and name of the calling thread.
pub(crate) fn this_thread() -> (u64, [u8; 16]) {
    let mut name = [0; 16];
    thread_name(&mut name);
    (thread_id().into(), name)
}
