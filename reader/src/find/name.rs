//! The names that probes give to the files of their regions.

use std::path::Path;

/// The region directory.
pub const DEFAULT_DIR: &str = "/dev/shm";

/// What the name of every region that a probe named starts with.
pub(crate) const PREFIX: &str = "atomscope-";

/// A file name as a probe chooses it, `atomscope-<uid>-<pid>-<random>`. Both numbers are those of the node's own namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionName {
    /// The node's effective user.
    pub uid: u64,
    /// The node's process id.
    pub pid: u64,
}

impl RegionName {
    /// Parses the file name of `path`; `None` if it is not exactly such a name.
    pub fn of(path: &Path) -> Option<Self> {
        let mut parts = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-');
        let mut part = || parts.next();
        let (uid, pid, random) = (part()?, part()?, part()?);
        let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
        (is_random && parts.next().is_none())
            .then(|| Some(Self { uid: number(uid)??, pid: number(pid)?? }))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_name_tells_user_and_process_and_must_be_just_that() {
        let region = |name: &str| RegionName::of(Path::new("/dev/shm").join(name).as_path());
        assert_eq!(region("atomscope-5-77-00ff00ff00ff00ff"), Some(RegionName { uid: 5, pid: 77 }));
        for name in [
            "atomscope-x",
            "atomscope-5-77-00ff00ff00ff00f",
            "atomscope-5-77-00ff00ff00ff00fg",
            "atomscope-5-77-00ff00ff00ff00ff-1",
            "atomscope-5--00ff00ff00ff00ff",
            "atomscope-5-+7-00ff00ff00ff00ff",
            "xatomscope-5-77-00ff00ff00ff00ff",
        ] {
            assert_eq!(region(name), None, "{name}");
        }
    }
}
