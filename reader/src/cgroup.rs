//! Whether the control group of a process is frozen, as by `docker pause`, `systemctl freeze` or a suspended container. Such a
//! process does nothing, and `/proc` shows it as a sleeping one.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the frozen control group of process `pid`; `None` if it is not frozen or not visible here.
pub(crate) fn frozen(pid: u32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    frozen_of(&groups, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// `groups` is the content of `/proc/PID/cgroup`, a line for each hierarchy: `0::/path` for version 2 and
/// `4:freezer:/path` for version 1.
fn frozen_of(groups: &str, mounts: &str) -> Option<PathBuf> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_v1 = controllers.split(',').any(|controller| controller == "freezer");
        let is_v2 = number == "0" && controllers.is_empty();
        if !is_v1 && !is_v2 {
            return None;
        }
        // The kernel shows a group as frozen also if only a group above it was frozen.
        let folder = folder(mounts, is_v2, path)?;
        let read = |file| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let is_frozen = match is_v2 {
            true => read("cgroup.events").lines().any(|line| line == "frozen 1"),
            false => read("freezer.state").trim_end() == "FROZEN",
        };
        is_frozen.then_some(folder)
    })
}

/// The folder of the group of this path. A line of `mountinfo` is
/// `number parent device root mount_point options [tags] - type source options`.
fn folder(mounts: &str, is_v2: bool, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let (mut before, mut after) = (before.split(' ').skip(3), after.split(' '));
        let (root, mount_point) = (before.next()?, before.next()?);
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_it = match is_v2 {
            true => kind == "cgroup2",
            false => kind == "cgroup" && options.split(',').any(|option| option == "freezer"),
        };
        // The mount may show only a group below the root.
        let below = Path::new(path).strip_prefix(root).ok().filter(|_| is_it)?;
        Some(Path::new(mount_point).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up folder of control groups, with both versions.
    fn made_up() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap().to_owned();
        for group in ["v1/shop", "v2/shop/orders"] {
            fs::create_dir_all(folder.path().join(group)).unwrap();
        }
        let mounts = format!(
            "30 23 0:28 / {dir} rw - tmpfs tmpfs rw\n\
             31 30 0:29 / {dir}/cpu rw - cgroup cgroup rw,cpu\n\
             37 30 0:34 / {dir}/v1 rw,relatime shared:9 - cgroup cgroup rw,freezer\n\
             41 30 0:38 /pod {dir}/v2 rw - cgroup2 cgroup2 rw,nsdelegate\n"
        );
        (folder, mounts)
    }

    #[test]
    fn a_frozen_group_of_either_version_is_known_by_its_file() {
        let (folder, mounts) = made_up();
        let (first, second) = (folder.path().join("v1/shop"), folder.path().join("v2/shop/orders"));
        let groups = "9:name=systemd:/shop\n6:cpu,freezer:/shop\n0::/pod/shop/orders\n";
        let frozen = || frozen_of(groups, &mounts);
        assert_eq!(frozen(), None, "no file says so");
        for (file, thawed, words) in [
            (first.join("freezer.state"), "THAWED\n", ["FREEZING\n", "FROZEN\n"]),
            (second.join("cgroup.events"), "populated 1\nfrozen 0\n", ["", "populated 1\nfrozen 1\n"]),
        ] {
            fs::write(&file, thawed).unwrap();
            assert_eq!(frozen(), None);
            fs::write(&file, words[0]).unwrap();
            assert_eq!(frozen(), None, "not yet");
            fs::write(&file, words[1]).unwrap();
            assert_eq!(frozen().as_deref(), file.parent());
            fs::write(&file, thawed).unwrap();
        }
    }

    #[test]
    fn a_group_that_is_not_mounted_here_or_a_line_that_is_none_is_not_frozen() {
        let (folder, mounts) = made_up();
        fs::write(folder.path().join("v2/cgroup.events"), "frozen 1\n").unwrap();
        for groups in ["0::/other/shop", "0::/../elsewhere", "6:freezer:/gone", "0:", "", "x"] {
            assert_eq!(frozen_of(groups, &mounts), None, "{groups}");
        }
        assert_eq!(frozen_of("0::/pod", &mounts), Some(folder.path().join("v2/")));
        assert_eq!(frozen_of("0::/pod", "not a mount\n - \n"), None);
    }

    #[test]
    fn this_process_is_not_frozen() {
        assert_eq!(frozen(std::process::id()), None);
    }
}
