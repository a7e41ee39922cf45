//! Which region a command works on, as a person names it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use crate::text::{clean_os, clean_path};

/// The region to work on.
///
/// ```
/// use std::ffi::OsStr;
///
/// use atomscope::find::Target;
///
/// assert_eq!(Target::parse(OsStr::new("4711")), Target::Process { pid: 4711, system: None });
/// assert_eq!(Target::parse(OsStr::new("orders")), Target::Node("orders".into()));
/// assert_eq!(Target::parse(OsStr::new("orders.raw")), Target::File("orders.raw".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The region of the only node.
    Only,
    /// The region of a process; of a process with several actor systems, the region of one of them.
    Process {
        /// Process id.
        pid: u64,
        /// Name of the actor system.
        system: Option<OsString>,
    },
    /// These digits, which are too large for a process id: no region.
    NoProcess(String),
    /// The region in a file.
    File(PathBuf),
    /// The region of the node of this name.
    Node(OsString),
}

impl Target {
    /// Reads a target as a person writes it. `PID` is a process and `PID/SYSTEM` one of its actor systems. A text with a
    /// `/`, or with the ending `.raw` or `.rec`, is a file. Everything else is the name of a node.
    pub fn parse(text: &OsStr) -> Self {
        let bytes = text.as_bytes();
        let (head, system) = match bytes.iter().position(|byte| *byte == b'/') {
            Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
            None => (bytes, None),
        };
        if !head.is_empty() && head.iter().all(u8::is_ascii_digit) {
            let digits = String::from_utf8_lossy(head).into_owned();
            return match digits.parse() {
                Ok(pid) => Self::Process { pid, system },
                Err(_) => Self::NoProcess(digits),
            };
        }
        if system.is_some() || bytes.ends_with(b".raw") || bytes.ends_with(b".rec") {
            return Self::File(text.into());
        }
        Self::Node(text.into())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("the only node"),
            Self::Process { pid, system: None } => write!(f, "process {pid}"),
            Self::NoProcess(digits) => write!(f, "process {digits}"),
            Self::Process { pid, system: Some(system) } => write!(f, "process {pid}/{}", clean_os(system)),
            Self::File(path) => write!(f, "file {}", clean_path(path)),
            Self::Node(name) => write!(f, "node {}", clean_os(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(text: &str) -> Target {
        Target::parse(OsStr::new(text))
    }

    #[test]
    fn digits_are_a_process_and_digits_before_a_slash_one_of_its_systems() {
        assert_eq!(who("42"), Target::Process { pid: 42, system: None });
        assert_eq!(who("42/orders"), Target::Process { pid: 42, system: Some("orders".into()) });
        assert_eq!(who("42/a/b"), Target::Process { pid: 42, system: Some("a/b".into()) });
        for digits in ["18446744073709551616", "99999999999999999999999"] {
            assert_eq!(who(digits), Target::NoProcess(digits.to_owned()));
        }
        assert_eq!(
            who("18446744073709551615/x"),
            Target::Process { pid: u64::MAX, system: Some("x".into()) }
        );
    }

    #[test]
    fn a_slash_or_the_ending_of_a_dump_is_a_file() {
        for file in ["./42", "/dev/shm/x", "a/b", "node.raw", "node.rec", "/"] {
            assert_eq!(who(file), Target::File(file.into()));
        }
        let odd = OsString::from_vec(b"/tmp/\xff".to_vec());
        assert_eq!(Target::parse(&odd), Target::File(odd.into()));
    }

    #[test]
    fn anything_else_is_the_name_of_a_node() {
        for name in ["orders", "4two", "-1", "", "node.json", "raw"] {
            assert_eq!(who(name), Target::Node(name.into()));
        }
    }
}
