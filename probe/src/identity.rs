//! The identity of a process: it distinguishes a process from an earlier one with the same pid, and from one of another boot
//! or pid namespace.

/// When the process started, in clock ticks since boot; `pid` may be `self`. `None` if procfs does not show the process.
pub(crate) fn process_start_ticks(pid: &str) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The second field is in parentheses and may contain anything, so fields are counted from its end: this is the 22nd.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The 16 bytes of the boot id's UUID, in the order of its text.
pub(crate) fn boot_id() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0u8; 16];
    for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *to = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let (first, second) = bytes.split_at(8);
    Some([u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(second.try_into().ok()?)])
}

/// The inode of this process's pid namespace.
pub(crate) fn pid_namespace() -> Option<u64> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}
