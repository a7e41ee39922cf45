//! What a thread waits for, in words.

/// What a thread waits for that is in a futex.
pub(crate) const LOCK: &str = "mutex or condition";
/// What is said of a thread that waits for nothing.
pub(crate) const RUNS: &str = "runs";

/// The system calls of x86-64 in which threads usually sleep, by what they wait for there.
const WAITS: [(&str, &[u64]); 5] = [
    // futex, futex_waitv, futex_wait
    (LOCK, &[202, 449, 455]),
    // nanosleep, clock_nanosleep, pause
    ("sleep", &[35, 230, 34]),
    // read, write, their kin with offsets and vectors, and sendfile, splice
    (
        "file or socket",
        &[
            0, 1, 17, 18, 19, 20, 295, 296, 327, 328, 40,
            275, // poll, ppoll, select, pselect6, epoll_wait and its kin
            7, 271, 23, 270, 232, 281,
            441, // connect, accept, accept4, sendto, recvfrom, sendmsg, recvmsg and their kin
            42, 43, 288, 44, 45, 46, 47, 299,
            307, // fcntl, flock, fsync, fdatasync, open, openat, io_uring_enter
            72, 73, 74, 75, 2, 257, 426,
        ],
    ),
    // wait4, waitid
    ("child process", &[61, 247]),
    // rt_sigtimedwait, rt_sigsuspend
    ("signal", &[128, 130]),
];

/// What a thread in the state of this letter waits for, if it is in this system call. `None` if that has no word.
pub(crate) fn waits_for(state: u8, system_call: Option<u64>) -> Option<&'static str> {
    match (state, system_call) {
        (b'T' | b't', _) => Some("stopped"),
        (_, Some(number)) => {
            let found = WAITS.iter().find(|(_, numbers)| numbers.contains(&number));
            found.map(|(word, _)| *word)
        }
        (b'R', None) => Some(RUNS),
        // A page that has to come from a disk, for example.
        (b'D', None) => Some("the kernel"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_waits_for_has_a_word_or_none() {
        assert_eq!(waits_for(b'S', Some(202)), Some("mutex or condition"));
        assert_eq!(waits_for(b'S', Some(230)), Some("sleep"));
        assert_eq!(waits_for(b'S', Some(232)), Some("file or socket"));
        assert_eq!(waits_for(b'D', Some(74)), Some("file or socket"));
        assert_eq!(waits_for(b'R', None), Some("runs"));
        assert_eq!(waits_for(b'T', Some(202)), Some("stopped"));
        assert_eq!((waits_for(b'S', Some(9_999)), waits_for(b'S', None)), (None, None));
    }
}
