//! Copies of stacks. A thread that sleeps is not stopped: its registers are in `/proc`, and its stack does not change. A
//! thread that runs is stopped for as long as its registers and its stack are copied.

use std::fs;
use std::io;
use std::time::Duration;

use super::maps::Mappings;
use crate::system::{Traced, read_memory, run_first};

/// Limit of the bytes of a stack that are copied.
pub const MOST_STACK_BYTES: u64 = 256 << 10;

/// How often the stack of a thread is copied again that woke up meanwhile.
const TRIES: u32 = 4;

/// The longest time that is waited until the kernel has stopped a thread. On a busy machine the thread may first have to
/// wait for a processor, and goes on as before until then.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// A copy of a stack, and the registers at that time.
#[derive(Debug)]
pub(crate) struct StackCopy {
    pub program_counter: u64,
    pub stack_pointer: u64,
    /// Unknown of a thread that sleeps.
    pub frame_pointer: Option<u64>,
    /// The memory from the stack pointer on.
    pub bytes: Vec<u8>,
    /// Whether there was more than [`MOST_STACK_BYTES`].
    pub is_cut: bool,
    /// How long the thread was stopped.
    pub pause: Option<Duration>,
    /// The number of the system call in which it sleeps.
    pub system_call: Option<u64>,
}

impl StackCopy {
    /// The word at an address; `None` outside of the copy.
    pub fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.stack_pointer)?).ok()?;
        Some(u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// The address behind the copy.
    pub fn end(&self) -> u64 {
        self.stack_pointer.saturating_add(self.bytes.len() as u64)
    }
}

/// What was found of a thread.
#[derive(Debug)]
pub(crate) enum Look {
    Copied(StackCopy),
    /// It runs.
    Running,
    /// It woke up each time that it was copied.
    Restless,
    /// It has ended.
    Ended,
}

/// The words of `/proc/PID/task/TID/syscall`.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Running,
    Ended,
    At { system_call: Option<u64>, stack_pointer: u64, program_counter: u64 },
}

impl Place {
    /// The first word is the number of the system call, or -1. The last two are the stack pointer and the program counter. A
    /// thread that has ended has both at 0.
    fn parse(text: &str) -> Option<Self> {
        if text.trim_end() == "running" {
            return Some(Self::Running);
        }
        let mut words = text.split_ascii_whitespace().rev();
        let mut word = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
        let (program_counter, stack_pointer) = (word()?, word()?);
        Some(match stack_pointer {
            0 => Self::Ended,
            _ => Self::At {
                system_call: words.next_back().and_then(|word| word.parse().ok()),
                stack_pointer,
                program_counter,
            },
        })
    }
}

/// Whether an error means that the thread or process has ended.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Copies the stack of a thread that sleeps.
///
/// # Errors
/// This program may not look into the process, or the kernel does not tell where a thread is.
pub(crate) fn sleeping(pid: u32, tid: u32, maps: &Mappings) -> io::Result<Look> {
    ended_or(pid, tid, try_sleeping(pid, tid, maps))
}

/// An error of a thread that has ended is none.
fn ended_or(pid: u32, tid: u32, done: io::Result<Look>) -> io::Result<Look> {
    match done {
        Err(error) if has_ended(&error) => {
            // Some kernels have no file `syscall`.
            let is_there = fs::metadata(format!("/proc/{pid}/task/{tid}/syscall")).is_ok()
                || fs::metadata(format!("/proc/{pid}/task/{tid}")).is_err();
            if is_there { Ok(Look::Ended) } else { Err(io::ErrorKind::Unsupported.into()) }
        }
        done => done,
    }
}

fn try_sleeping(pid: u32, tid: u32, maps: &Mappings) -> io::Result<Look> {
    let place = || fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"));
    for _ in 0..TRIES {
        // A thread that woke up and sleeps again has another number of switches, wherever it sleeps.
        let (switches, text) = (switches(pid, tid)?, place()?);
        let (system_call, stack_pointer, program_counter) = match Place::parse(&text) {
            Some(Place::At { system_call, stack_pointer, program_counter }) => {
                (system_call, stack_pointer, program_counter)
            }
            Some(Place::Running) => return Ok(Look::Running),
            Some(Place::Ended) => return Ok(Look::Ended),
            None => return Err(io::ErrorKind::InvalidData.into()),
        };
        let copied = stack(pid, stack_pointer, maps);
        if place()? == text && self::switches(pid, tid)? == switches {
            let (bytes, is_cut) = copied?;
            let frame_pointer = None;
            return Ok(Look::Copied(StackCopy {
                program_counter,
                stack_pointer,
                frame_pointer,
                bytes,
                is_cut,
                pause: None,
                system_call,
            }));
        }
    }
    Ok(Look::Restless)
}

/// How often the thread gave its processor away or lost it. Everybody may read that.
fn switches(pid: u32, tid: u32) -> io::Result<[u64; 2]> {
    let status = fs::read(format!("/proc/{pid}/task/{tid}/status"))?;
    let status = String::from_utf8_lossy(&status);
    let number = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    Ok([number("voluntary_ctxt_switches:")?, number("nonvoluntary_ctxt_switches:")?])
}

fn stack(pid: u32, stack_pointer: u64, maps: &Mappings) -> io::Result<(Vec<u8>, bool)> {
    let end = maps.stack_end(stack_pointer);
    let whole = end.map_or(MOST_STACK_BYTES, |end| end - stack_pointer);
    let wanted = whole.min(MOST_STACK_BYTES);
    let mut bytes = vec![0; wanted as usize];
    let copied = read_memory(pid, stack_pointer, &mut bytes)?;
    bytes.truncate(copied);
    Ok((bytes, whole > wanted))
}

/// Copies the stack of a thread that runs. The thread is stopped for some tens of microseconds.
///
/// # Errors
/// This program may not trace the process, or somebody else does.
pub(crate) fn running(pid: u32, tid: u32, maps: &Mappings) -> io::Result<Look> {
    // When the thread that traces ends, the kernel detaches all that it traces, whatever has happened.
    let done = std::thread::scope(|scope| {
        let tracer = std::thread::Builder::new().spawn_scoped(scope, || try_running(pid, tid, maps))?;
        tracer.join().unwrap_or_else(|_| Err(io::Error::other("the tracing thread failed")))
    });
    ended_or(pid, tid, done)
}

fn try_running(pid: u32, tid: u32, maps: &Mappings) -> io::Result<Look> {
    // On a busy machine this thread could else wait for a processor while the other one is stopped.
    run_first();
    let mut traced = Traced::seize(tid)?;
    // The number may have become that of a thread of another process. From now on it stays this thread's.
    fs::metadata(format!("/proc/{pid}/task/{tid}"))?;
    // It may have fallen asleep. A thread is stopped only right after the kernel has said that it runs.
    let mut look = Look::Restless;
    for _ in 0..TRIES {
        look = try_sleeping(pid, tid, maps)?;
        if !matches!(look, Look::Restless) {
            break;
        }
    }
    if !matches!(look, Look::Running) {
        return Ok(look);
    }
    let Some((registers, before)) = traced.stop(MOST_WAIT)? else { return Ok(Look::Ended) };
    let copied = stack(pid, registers.stack_pointer, maps);
    drop(traced);
    let pause = before.elapsed();
    let (bytes, is_cut) = copied?;
    Ok(Look::Copied(StackCopy {
        program_counter: registers.program_counter,
        stack_pointer: registers.stack_pointer,
        frame_pointer: Some(registers.frame_pointer),
        bytes,
        is_cut,
        pause: Some(pause),
        system_call: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_thread_is_the_kernels_word() {
        let at =
            |system_call| Some(Place::At { system_call, stack_pointer: 0x7ffe10, program_counter: 0x7f00 });
        assert_eq!(Place::parse("202 0x1 0x80 0x0 0x0 0x0 0x0 0x7ffe10 0x7f00\n"), at(Some(202)));
        assert_eq!(Place::parse("-1 0x7ffe10 0x7f00\n"), at(None));
        assert_eq!(Place::parse("running\n"), Some(Place::Running));
        assert_eq!(Place::parse("-1 0x0 0x0\n"), Some(Place::Ended));
        for text in ["", "0\n", "1 2 3\n"] {
            assert_eq!(Place::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn words_are_read_inside_of_a_copy_only() {
        let copy = StackCopy {
            program_counter: 0,
            stack_pointer: 0x1000,
            frame_pointer: None,
            bytes: (0..16).collect(),
            is_cut: false,
            pause: None,
            system_call: None,
        };
        assert_eq!((copy.word(0x1008), copy.end()), (Some(0x0f0e_0d0c_0b0a_0908), 0x1010));
        assert_eq!((copy.word(0x1009), copy.word(0xfff), copy.word(u64::MAX)), (None, None, None));
    }
}
