//! Why there are no stacks.

use std::fs;
use std::io;

use crate::threads::NodeProcess;

/// Why the stacks of a process cannot be read. Each is a sentence for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum StacksError {
    /// The process has ended, maybe while it was looked at.
    #[error("process {pid} has ended meanwhile")]
    Ended {
        /// The process.
        pid: u32,
    },
    /// The process has no such thread.
    #[error("process {pid} has no thread {tid}; `atomscope threads {pid}` lists its threads")]
    NoThread {
        /// The process.
        pid: u32,
        /// The thread.
        tid: u32,
    },
    /// This program may not look into the process.
    #[error("cannot read the stacks of process {pid}: {why}; {advice}")]
    Refused {
        /// The process.
        pid: u32,
        /// Why not.
        why: String,
        /// What would help.
        advice: String,
    },
    /// Another error of the kernel.
    #[error("cannot read the stacks of process {pid}: {error}")]
    System {
        /// The process.
        pid: u32,
        /// The error.
        error: io::Error,
    },
    /// The program or a library of the process has data that cannot be read.
    #[error(
        "cannot read the stacks of process {pid}: its program has unwind data or symbols that are not valid"
    )]
    Invalid {
        /// The process.
        pid: u32,
    },
    /// Stacks can be unwound on x86-64 only.
    #[error("stacks can be read on x86-64 only; `atomscope threads` works on this machine")]
    Unsupported,
    /// The caller asked to stop.
    #[error("a signal asked to stop")]
    Stopped,
}

impl StacksError {
    /// Why this program may not read the stacks of a process, and what would help; `None` if it may. Reads one small file.
    pub fn refusal(process: &NodeProcess) -> Option<(String, String)> {
        // The kernel asks for the same right as to read the memory.
        let place = fs::read(format!("/proc/{}/syscall", process.pid()));
        match Self::of(process, place.err()?) {
            Self::Refused { why, advice, .. } => Some((why, advice)),
            _ => None,
        }
    }

    pub(crate) fn of(process: &NodeProcess, error: io::Error) -> Self {
        let pid = process.pid();
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                let (why, advice) = match process.refusal() {
                    Some(hidden) => (hidden.why, hidden.advice),
                    // The kernel lets this program look at the process, but not into it.
                    None => {
                        attaching(fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok().as_deref())
                    }
                };
                Self::Refused { pid, why, advice }
            }
            _ if !process.is_alive() => Self::Ended { pid },
            _ => Self::System { pid, error },
        }
    }
}

/// Why a program may read what needs the right to look at a process, but not what needs the right to attach to it.
fn attaching(yama: Option<&str>) -> (String, String) {
    let scope = yama.map(str::trim).unwrap_or_default();
    let why = |what: &str| format!("kernel.yama.ptrace_scope is {scope}: {what}");
    match scope {
        "1" => (
            why("a program may look into its own child processes only"),
            "run with sudo; or allow it until the next boot: sudo sysctl kernel.yama.ptrace_scope=0; or build the \
             node's region with `allow_stacks(true)`"
                .to_owned(),
        ),
        "2" => (
            why("only a program with CAP_SYS_PTRACE may look into others"),
            "run with sudo, or allow it until the next boot: sudo sysctl kernel.yama.ptrace_scope=0".to_owned(),
        ),
        "3" => (
            why("no program may look into another one, and this stays so until the next boot"),
            "set kernel.yama.ptrace_scope in /etc/sysctl.d and boot again, or use `atomscope threads`".to_owned(),
        ),
        _ => (
            "the kernel forbids it: a security module (SELinux, AppArmor) or a filter of system calls in this \
             container (seccomp)"
                .to_owned(),
            "run with sudo, outside of containers; `atomscope threads` needs no rights".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yama_is_named_with_what_helps() {
        let (why, advice) = attaching(Some("1\n"));
        assert!(why.starts_with("kernel.yama.ptrace_scope is 1: ") && why.contains("child"), "{why}");
        assert!(
            ["sudo;", "sysctl kernel.yama.ptrace_scope=0", "`allow_stacks(true)`"]
                .iter()
                .all(|help| advice.contains(help)),
            "{advice}"
        );
        // With 2 the node cannot allow it.
        assert!(!attaching(Some("2")).1.contains("allow_stacks"));
        assert!(attaching(Some("2\n")).0.contains("CAP_SYS_PTRACE"));
        // With 3 the value cannot be changed any more.
        assert!(!attaching(Some("3\n")).1.contains("=0"));
        for none in [None, Some("0\n")] {
            assert!(!attaching(none).0.contains("yama") && attaching(none).1.contains("sudo"));
        }
    }
}
