//! Files that other users or programs planted, truncated, replaced or left, and regions larger than memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test panics, and so do its helpers")]

#[allow(dead_code, reason = "each test file uses only some of it")]
mod fixture;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use atomscope::attach::{AttachErrorKind, MAX_BYTES, Region};
use atomscope::system::guard_mappings;
use atomscope_layout::Capacities;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::region::header;
use serde_json::{Value, json};

use crate::fixture::{Actor, EPOCH_NS, Locked, Node, Ran, RegionDir, Running, SECOND, save, small, write};

/// A pid that no process has.
const GONE: u64 = 5_000_000;
/// User ids that need not exist.
const OWNER: u32 = 12_345;
const OTHER: u32 = 12_346;

fn gone(name: &str) -> Node {
    Node::with(name, |record| record.pid = GONE)
}

/// The row of one file in `ps --json`.
#[track_caller]
fn row(dir: &RegionDir, path: &Path) -> Value {
    let rows = dir.run(["ps", "--json"]).json();
    let found = rows.as_array().unwrap().iter().find(|row| row["path"] == path.to_str().unwrap());
    found.unwrap_or_else(|| panic!("{path:?} is not in {rows}")).clone()
}

#[track_caller]
fn is_refused(dir: &RegionDir, path: &Path, why: &str) {
    let row = row(dir, path);
    assert!(row["state"] == "refused" && row["why"].as_str().unwrap().contains(why), "{row}");
    let ran = dir.run(["prune"]);
    assert!(ran.stderr.contains("unknown whether the node is dead"), "{ran:?}");
    assert!(fs::symlink_metadata(path).is_ok());
    let charts = dir.run(["doctor", "--json"]).json();
    let of_it = |finding: &&Value| finding["path"] == path.to_str().unwrap();
    let finding = charts.as_array().unwrap().iter().find(of_it).unwrap();
    assert!(finding["severity"] == "problem" && finding["advice"].is_string(), "{finding}");
}

mod planted {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let dir = RegionDir::new();
        let name = |number: u64| dir.join(format!("atomscope-0-{GONE}-{number:016x}"));
        let target = dir.join("target");
        write(&target, &gone("n").bytes());
        symlink(&target, name(1)).unwrap();
        fs::create_dir(name(2)).unwrap();
        assert!(Command::new("mkfifo").arg(name(3)).status().unwrap().success());
        let _socket = UnixListener::bind(name(4)).unwrap();
        for (number, why) in [
            (1, "it is a symbolic link"),
            (2, "it is a directory"),
            (3, "it is a pipe"),
            (4, "it is a socket"),
        ] {
            is_refused(&dir, &name(number), why);
            let stderr = dir.run(["dump".as_ref(), name(number).as_os_str()]).failed(1);
            assert!(stderr.contains(why), "{stderr}");
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let dir = RegionDir::new();
        for mode in [0o620, 0o602] {
            let path = gone("n").dead(&dir);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            is_refused(&dir, &path, &format!("may write it (mode {mode:o})"));
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_region_that_names_a_process_of_another_start_is_dead_and_if_somebody_holds_its_lock_refused() {
        let dir = RegionDir::new();
        let node = Node::with("n", |record| record.process_start_ticks += 1);
        let path = node.dead(&dir);
        assert_eq!(row(&dir, &path)["state"], "crashed");
        let lock = Locked::new(path);
        is_refused(&dir, &lock.path, "is another one by now");
        // A process that has the file mapped is still its node: clocks may differ between namespaces.
        let _map = lock.map();
        assert_eq!(row(&dir, &lock.path)["state"], "live");
    }

    #[test]
    fn a_second_name_of_ones_own_region_does_no_harm() {
        let dir = RegionDir::new();
        let path = gone("n").dead(&dir);
        fs::hard_link(&path, dir.join("second")).unwrap();
        assert_eq!(row(&dir, &path)["state"], "crashed");
    }

    fn owned_by(dir: &RegionDir, node: &Node, user: u32) -> std::path::PathBuf {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let path = node.dead(dir);
        chown(&path, Some(user), Some(user)).unwrap();
        path
    }

    fn run_as(dir: &RegionDir, user: u32, args: &[&str]) -> Ran {
        let mut command = dir.command(args);
        command.uid(user).gid(user);
        Ran::of(command)
    }

    #[test]
    #[ignore = "needs root"]
    fn a_region_that_names_another_users_process_is_refused() {
        let dir = RegionDir::new();
        // This process belongs to root, whatever user the header names.
        for claimed in [u64::from(OWNER), 0] {
            let node = Node::with("n", |record| record.uid = claimed);
            let path = owned_by(&dir, &node, OWNER);
            let why = format!("says that process {} wrote it, which runs as user 0", std::process::id());
            is_refused(&dir, &path, &why);
            let _lock = Locked::new(path.clone());
            is_refused(&dir, &path, &why);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_process_of_the_files_owner_counts_whatever_user_the_header_names() {
        let dir = RegionDir::new();
        let mut child = Command::new("sleep").arg("600").uid(OWNER).spawn().unwrap();
        let start = atomscope::process::Stat::of(child.id()).unwrap().start_ticks;
        let node = Node::with("n", |record| {
            (record.pid, record.process_start_ticks, record.uid) = (child.id().into(), start, 0);
        });
        let lock = Locked::new(owned_by(&dir, &node, OWNER));
        let found = row(&dir, &lock.path);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((&found["state"], &found["uid"]), (&json!("live"), &json!(OWNER)));
    }

    #[test]
    #[ignore = "needs root"]
    fn what_a_dead_node_of_a_user_namespace_left_is_for_its_user_alone() {
        let dir = RegionDir::new();
        let node = Node::with("n", |record| (record.pid, record.uid) = (GONE, 0));
        let path = owned_by(&dir, &node, OWNER);
        is_refused(&dir, &path, "says that user 0 wrote it: not trusted, unless it is read as user 12345");
        let rows = run_as(&dir, OWNER, &["ps", "--json"]).json();
        assert_eq!((&rows[0]["state"], &rows[0]["uid"]), (&json!("crashed"), &json!(OWNER)));
        run_as(&dir, OWNER, &["prune"]).ok();
        assert!(!path.exists());
    }

    #[test]
    #[ignore = "needs root"]
    fn each_user_sees_and_prunes_their_own_and_root_everybodys() {
        let dir = RegionDir::new();
        let node = |user: u32| Node::with("n", |record| (record.pid, record.uid) = (GONE, user.into()));
        // The file name contains the user id of the node.
        let leave = |user: u32, number: u64| {
            let path = dir.join(format!("atomscope-{user}-{GONE}-{number:016x}"));
            fs::rename(owned_by(&dir, &node(user), user), &path).unwrap();
            path
        };
        let (theirs, others) = (leave(OWNER, 1), leave(OTHER, 2));
        fs::create_dir(dir.join("atomscope-x")).unwrap();
        let ran = run_as(&dir, OTHER, &["ps", "--json"]);
        assert!(ran.stderr.contains("1 region of other users; run as root to see them"), "{ran:?}");
        assert_eq!(ran.json()[0]["path"], others.to_str().unwrap());
        run_as(&dir, OTHER, &["prune"]).ok();
        assert!(theirs.exists() && !others.exists());
        let stderr = run_as(&dir, OTHER, &["dump", theirs.to_str().unwrap()]).failed(1);
        assert!(stderr.contains("Permission denied") && stderr.contains("as root"), "{stderr}");
        dir.run(["prune"]).ok();
        assert!(!theirs.exists());
    }

    #[test]
    #[ignore = "needs root"]
    fn another_users_region_of_several_names_is_refused_but_to_its_owner() {
        let dir = RegionDir::new();
        let node = Node::with("n", |record| (record.pid, record.uid) = (GONE, OWNER.into()));
        let path = owned_by(&dir, &node, OWNER);
        fs::hard_link(&path, dir.join("second")).unwrap();
        is_refused(&dir, &path, "it belongs to user 12345 and has 2 names");
        assert_eq!(run_as(&dir, OWNER, &["ps", "--json"]).json()[0]["state"], "crashed");
    }
}

mod left {
    use super::*;

    fn leave(dir: &RegionDir, pid: u64, bytes: &[u8], age: Duration) -> std::path::PathBuf {
        let path = save(dir, pid, bytes);
        File::options().write(true).open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        path
    }

    #[test]
    fn what_died_before_it_was_ready_is_pruned_and_what_may_yet_be_ready_is_not() {
        let dir = RegionDir::new();
        let (zeros, old) = (vec![0; 8192], 61 * SECOND);
        let goes = [leave(&dir, GONE, &zeros, old), leave(&dir, GONE, &[], old)];
        let mut newer = gone("n").bytes();
        newer[12] = 9;
        let odd = dir.join("atomscope-left-behind");
        write(&odd, &zeros);
        File::options().write(true).open(&odd).unwrap().set_modified(SystemTime::now() - old).unwrap();
        let stays = [
            leave(&dir, GONE, &zeros, Duration::ZERO),
            leave(&dir, 1, &zeros, old),
            leave(&dir, GONE, &newer, old),
            leave(&dir, GONE, b"Dear diary, nothing happened today.", old),
            odd,
        ];
        let lock = Locked::new(leave(&dir, GONE, &zeros, old));
        let dry = dir.run(["prune", "--dry-run"]);
        assert!(dry.stderr.contains("would remove 2 dead regions") && goes[0].exists(), "{dry:?}");
        let ran = dir.run(["prune", "--json"]);
        assert!(
            ran.stderr.contains("6 regions were kept, because it is unknown whether the node is dead"),
            "{ran:?}"
        );
        let rows = ran.json();
        assert_eq!((&rows[0]["node"], &rows[0]["state"]), (&Value::Null, &json!("not ready")));
        assert!(goes.iter().all(|path| !path.exists()), "{rows}");
        assert!(stays.iter().chain([&lock.path]).all(|path| path.exists()), "{:?}", dir.files());
    }
}

mod large {
    use super::*;

    /// A dead region of `bytes` bytes, nearly all of them holes in the file.
    fn sparse(dir: &RegionDir, name: &str, bytes: u64) -> std::path::PathBuf {
        let node = gone(name);
        node.actor(Actor { path: "akka://S/user/a", actor_type: "T", ..Actor::default() });
        node.set(header::RECORD.start, bytes);
        let path = node.dead(dir);
        File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap();
        path
    }

    fn with_little_memory(dir: &RegionDir, args: &[&str]) -> Ran {
        let mut shell = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_atomscope");
        shell.args(["-c", "ulimit -v 300000; exec \"$0\" \"$@\"", binary]).args(args);
        shell.env("ATOMSCOPE_DIR", dir.path()).stdin(Stdio::null());
        Ran::of(shell)
    }

    /// Regression: each listing read all dead regions whole, and kept them in memory.
    #[test]
    fn dead_regions_are_listed_by_their_headers_however_large_they_are() {
        let dir = RegionDir::new();
        let paths: Vec<_> = (0..4).map(|n| sparse(&dir, &format!("n{n}"), 1 << 30)).collect();
        let _lock = Node::new("live").live(&dir);
        let rows = with_little_memory(&dir, &["ps", "--json"]).json();
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 5);
        assert!(rows[1..].iter().all(|row| row["state"] == "crashed" && row["actors"] == 1), "{rows:?}");
        assert_eq!(with_little_memory(&dir, &["dump"]).json()["node"], "live");
        let stderr = with_little_memory(&dir, &["dump", "n0"]).failed(1);
        assert!(stderr.contains("out of memory"), "{stderr}");
        with_little_memory(&dir, &["prune"]).ok();
        assert!(paths.iter().all(|path| !path.exists()));
    }

    #[test]
    fn a_file_that_is_shorter_than_it_says_or_larger_than_allowed_is_refused_unread() {
        let dir = RegionDir::new();
        let path = sparse(&dir, "n", 5 << 30);
        is_refused(&dir, &path, "more than the 4294967296 that are allowed");
        File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        let found = with_little_memory(&dir, &["ps", "--json"]).json();
        assert!(found[0]["why"].as_str().unwrap().contains("truncated"), "{found}");
    }

    #[test]
    fn mappings_that_cannot_be_guarded_are_refused() {
        guard_mappings();
        let dir = RegionDir::new();
        let lock = Node::new("n").live(&dir);
        let open = || Region::open(&lock.path, None, MAX_BYTES);
        let mut regions = Vec::new();
        let refused = loop {
            match open() {
                Ok(region) => regions.push(region),
                Err(error) => break error,
            }
            assert!(regions.len() <= 256);
        };
        assert!(matches!(refused.kind, AttachErrorKind::TooMany), "{refused}");
        regions.pop();
        open().unwrap();
    }
}

mod changed {
    use super::*;

    fn tail(dir: &RegionDir, path: &Path, retry: bool) -> Running {
        let mut args = vec!["tail", "--json", path.to_str().unwrap()];
        args.extend(retry.then_some("--retry"));
        Running::new(dir.command(args))
    }

    #[test]
    fn a_region_that_is_cut_ends_tail_and_stat_with_the_reason() {
        // Truncate everything, everything but the header, and less than a page, which causes no fault.
        for left in [0, 4096, 20_000] {
            let dir = RegionDir::new();
            let (node, lock) = Node::new("n").shared(&dir);
            node.stop_event(1, 1, "before");
            let mut tail = tail(&dir, &lock.path, false);
            assert_eq!(tail.json()["path"], "before");
            let mut stat = Running::new(dir.command(["stat", "n", "10ms"]));
            assert!(!stat.line().is_empty() && !stat.line().is_empty());
            let bytes = fs::metadata(&lock.path).unwrap().len();
            lock.file.set_len(if left == 20_000 { bytes - 8 } else { left }).unwrap();
            let ended = tail.json();
            assert_eq!((&ended["kind"], &ended["state"]), (&json!("ended"), &json!("corrupt")));
            for ran in [tail.end(), stat.end()] {
                assert_eq!(ran.code, Some(1), "{ran:?}");
                assert!(ran.stderr.contains("was cut short while it was read"), "{ran:?}");
            }
        }
    }

    #[test]
    fn a_region_that_is_written_over_with_another_ends_tail() {
        let dir = RegionDir::new();
        let (node, lock) = Node::new("n").shared(&dir);
        node.stop_event(1, 1, "before");
        let mut tail = tail(&dir, &lock.path, false);
        assert_eq!(tail.json()["path"], "before");
        let other = Node::with("other", |record| record.created_unix_ns += 1);
        lock.file.write_all_at(&other.bytes(), 0).unwrap();
        assert_eq!(tail.json()["state"], "corrupt");
        let ran = tail.end();
        assert!(ran.code == Some(1) && ran.stderr.contains("was overwritten while it was read"), "{ran:?}");
    }

    #[test]
    fn with_retry_a_file_of_another_node_is_followed_once_the_first_has_ended_or_is_cut() {
        for cut in [false, true] {
            let dir = RegionDir::new();
            let (node, lock) = Node::new("n").shared(&dir);
            let named = dir.join("named.region");
            fs::rename(&lock.path, &named).unwrap();
            node.stop_event(1, 1, "before");
            let mut tail = tail(&dir, &named, true);
            assert_eq!(tail.json()["path"], "before");
            let (next, next_lock) =
                Node::with("another name", |record| record.created_unix_ns += 1).shared(&dir);
            next.stop_event(1, 2, "of the next");
            fs::rename(&next_lock.path, &named).unwrap();
            // The first node lives, but its file has no name any more.
            node.stop_event(1, 3, "still");
            assert_eq!(tail.json()["path"], "still");
            if cut {
                lock.file.set_len(0).unwrap();
            }
            drop((node, lock));
            assert_eq!(tail.json()["kind"], "ended");
            assert_eq!(tail.json()["path"], "of the next");
            tail.signal("-INT");
            let ran = tail.end();
            assert_eq!(ran.code, Some(0), "{ran:?}");
            assert!(ran.stderr.contains("is gone or another file now; its node lives"), "{ran:?}");
        }
    }

    #[test]
    fn a_region_that_is_cut_under_dump_is_dumped_whole_or_not_at_all() {
        let capacities = Capacities { actors: 4096, ..small() };
        let mut cut_while_read = 0;
        for round in 0..40 {
            let dir = RegionDir::new();
            let lock = Node::sized("n", capacities, |_| {}).live(&dir);
            let format = ["json", "raw"][round % 2];
            let mut command = dir.command(["dump", "--format", format]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(round as u64 * 500));
            lock.file.set_len(4096).unwrap();
            let ran = child.wait_with_output().unwrap();
            let stderr = String::from_utf8(ran.stderr).unwrap();
            match ran.status.code() {
                Some(0) => {}
                Some(1) => {
                    assert!(ran.stdout.is_empty(), "{stderr}");
                    assert!(stderr.contains("cut short") || stderr.contains("truncated"), "{stderr}");
                    cut_while_read += 1;
                }
                _ => panic!("{:?}: {stderr}", ran.status),
            }
        }
        assert!(cut_while_read > 0);
    }
}

mod written {
    use super::*;

    #[test]
    fn a_dump_never_takes_the_place_of_a_region_but_may_take_a_dumps() {
        let dir = RegionDir::new();
        let _lock = Node::new("n").live(&dir);
        let dead = gone("dead").dead(&dir);
        let unready = save(&dir, GONE, &[0; 8192]);
        for region in [&dead, &unready] {
            let before = fs::read(region).unwrap();
            let stderr = dir.run(["dump", "n", "-o", region.to_str().unwrap()]).failed(1);
            assert!(stderr.contains("it is a region, and no output replaces a region"), "{stderr}");
            assert!(fs::read(region).unwrap() == before);
        }
        let raw = dir.join("n.raw");
        for _ in 0..2 {
            dir.run(["dump", "n", "--format", "raw", "-o", raw.to_str().unwrap()]).ok();
        }
    }

    /// The rest of a file after `before`, as JSON.
    #[track_caller]
    fn after(file: &Path, before: &str) -> Value {
        let text = fs::read_to_string(file).unwrap();
        let rest =
            text.strip_prefix(before).unwrap_or_else(|| panic!("the earlier content is gone: {text:?}"));
        crate::fixture::strict(rest)
    }

    /// Regression: the dump replaced the file behind the descriptor, and its earlier content was lost.
    #[test]
    fn what_is_open_already_is_gone_on_with_and_keeps_what_stood_there() {
        let dir = RegionDir::new();
        let _lock = Node::new("n").live(&dir);
        let log = dir.join("log");
        let opened = || {
            write(&log, b"before\n");
            File::options().append(true).open(&log).unwrap()
        };
        for path in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1"] {
            let mut command = dir.command(["dump", "n", "-o", path]);
            command.stdout(opened());
            Ran::of(command).ok();
            assert_eq!(after(&log, "before\n")["node"], "n", "{path}");
        }
        let in_shell = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script, env!("CARGO_BIN_EXE_atomscope"), log.to_str().unwrap()]);
            shell.env("ATOMSCOPE_DIR", dir.path()).stdin(Stdio::null());
            Ran::of(shell)
        };
        opened();
        in_shell("exec 3>>\"$1\"; exec \"$0\" dump n -o /dev/fd/3").ok();
        assert_eq!(after(&log, "before\n")["node"], "n");
        // The dump continues at the position that the descriptor's other users have reached.
        in_shell("(echo before; \"$0\" dump n -o /dev/stdout; echo behind) >\"$1\"").ok();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("before\n{") && text.ends_with("}\nbehind\n"), "{text}");
        // The dump is appended to a file that another process has open.
        let file = opened();
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
        dir.run(["dump", "n", "-o", &path]).ok();
        assert_eq!(after(&log, "before\n")["node"], "n");
    }

    #[test]
    fn a_descriptor_that_was_not_handed_over_is_none_and_a_region_is_none_to_write_to() {
        let dir = RegionDir::new();
        let lock = Node::new("n").live(&dir);
        // By then the program itself may have opened a file under that number.
        for number in 3..10 {
            let stderr = dir.run(["dump", "n", "-o", &format!("/dev/fd/{number}")]).failed(1);
            assert!(stderr.contains("Bad file descriptor"), "{stderr}");
        }
        let bytes = fs::read(&lock.path).unwrap();
        let mut command = dir.command(["dump", "n", "-o", "/dev/stdout"]);
        command.stdout(File::options().append(true).open(&lock.path).unwrap());
        let ran = Ran::of(command);
        assert!(ran.code == Some(1) && ran.stderr.contains("it is the region that is being read"), "{ran:?}");
        assert!(fs::read(&lock.path).unwrap() == bytes);
    }

    #[test]
    fn a_link_stays_and_what_it_leads_to_is_replaced_or_made() {
        let dir = RegionDir::new();
        let _lock = Node::new("n").live(&dir);
        let (folder, link) = (dir.join("folder"), dir.join("link"));
        fs::create_dir(&folder).unwrap();
        symlink("folder/further", &link).unwrap();
        symlink("target.json", folder.join("further")).unwrap();
        for _ in 0..2 {
            dir.run(["dump", "n", "-o", link.to_str().unwrap()]).ok();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(after(&folder.join("target.json"), "")["node"], "n");
        }
        let round = dir.join("round");
        symlink("round", &round).unwrap();
        let stderr = dir.run(["dump", "n", "-o", round.to_str().unwrap()]).failed(1);
        assert!(stderr.contains("symbolic links"), "{stderr}");
    }

    #[test]
    fn what_the_system_says_is_told_in_words() {
        let dir = RegionDir::new();
        let _lock = Node::new("n").live(&dir);
        for (arguments, words) in [
            (&["dump", "n", "-o", "/no/such/folder"][..], "No such file or directory (os error 2)"),
            (&["dump", "n", "-o", "/dev/full"], "No space left on device (os error 28)"),
            (&["--dir", "/no/such", "ps"], "No such file or directory (os error 2)"),
            (&["man", "--out", "/dev/null/x"], "Not a directory (os error 20)"),
        ] {
            let stderr = dir.run(arguments).failed(1);
            assert!(stderr.contains(words), "{stderr}");
        }
    }

    #[test]
    fn a_pipe_is_written_to_as_it_stands() {
        let dir = RegionDir::new();
        let _lock = Node::new("n").live(&dir);
        let pipe = dir.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut command = dir.command(["dump", "n", "-o", pipe.to_str().unwrap()]);
        let mut child = command.spawn().unwrap();
        let text = fs::read_to_string(&pipe).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(crate::fixture::strict(&text)["node"], "n");
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&fs::metadata(&pipe).unwrap().file_type()));
    }

    #[test]
    #[ignore = "needs root"]
    fn a_file_that_nothing_can_take_the_place_of_is_written_in_place() {
        let dir = RegionDir::new();
        let node = Node::new("n");
        let region = node.dead(&dir);
        let out = dir.join("out.json");
        // A file that is mounted by itself, as in a container.
        write(&out, b"something longer than nothing");
        let script = "mount --bind \"$1\" \"$1\" && exec \"$0\" dump \"$2\" -o \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_atomscope")]).args([&out, &region]);
        let ran = Ran::of(command);
        assert!(ran.stderr.contains("is written in place"), "{ran:?}");
        ran.ok();
        assert_eq!(after(&out, "")["node"], "n");
        // The file may be written, but its folder may not.
        let (folder, program) = (dir.join("folder"), dir.join("atomscope"));
        // By another process, since the kernel runs no program that a child of this one may still have open for writing.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_atomscope")).arg(&program).status();
        assert!(copied.unwrap().success());
        fs::create_dir(&folder).unwrap();
        let (out, raw) = (folder.join("out.json"), dir.join("n.raw"));
        dir.run(["dump", "n", "--format", "raw", "-o", raw.to_str().unwrap()]).ok();
        write(&out, b"something");
        chown(&out, Some(OWNER), Some(OWNER)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&raw, fs::Permissions::from_mode(0o644)).unwrap();
        let dump = |out: &Path| {
            let mut command = Command::new(&program);
            command.args(["dump".as_ref(), raw.as_os_str(), "-o".as_ref(), out.as_os_str()]);
            command.uid(OWNER).gid(OWNER);
            Ran::of(command)
        };
        let ran = dump(&out);
        assert!(ran.stderr.contains("is written in place"), "{ran:?}");
        ran.ok();
        assert_eq!(after(&out, "")["node"], "n");
        // A new file cannot be created there, and the message says so.
        let stderr = dump(&folder.join("new.json")).failed(1);
        assert!(stderr.contains("name a file in a directory that you may write"), "{stderr}");
    }

    #[test]
    fn an_interrupted_dump_leaves_nothing_behind() {
        let dir = RegionDir::new();
        let node = Node::sized("n", Capacities { actors: 20_000, ..small() }, |_| {});
        for number in 0..20_000 {
            node.actor(Actor {
                path: &format!("akka://S/user/{number}"),
                actor_type: "T",
                ..Actor::default()
            });
        }
        let _lock = node.live(&dir);
        let files = dir.files();
        let out = dir.join("out.json");
        // The program may end before the signal arrives.
        let stderr = loop {
            let child =
                dir.command(["dump", "-o", out.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
            while !dir.files().iter().any(|name| name.ends_with(".part")) && !out.exists() {
                std::thread::yield_now();
            }
            let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            let ran = child.wait_with_output().unwrap();
            if ran.status.code() == Some(1) {
                break String::from_utf8(ran.stderr).unwrap();
            }
            let _ = fs::remove_file(&out);
        };
        assert!(stderr.contains("interrupted"), "{stderr}");
        assert_eq!(dir.files(), files);
    }

    #[test]
    fn a_node_that_is_named_twice_is_told_once() {
        let dir = RegionDir::new();
        let node = Node::new("shop");
        node.stop_event(1, 1, "a");
        let lock = node.live(&dir);
        let pid = std::process::id().to_string();
        let ran = dir.run(["tail", "shop", &pid, lock.path.to_str().unwrap(), "--no-follow"]);
        assert!(ran.stderr.contains("node shop is named more than once, and followed once"), "{ran:?}");
        assert_eq!(ran.ok(), "2020-09-13T12:26:41.000000Z stopped     a\n");
    }

    /// Regression: such averages ran until now.
    #[test]
    fn averages_over_a_life_in_an_earlier_boot_end_with_its_last_beat() {
        let dir = RegionDir::new();
        let node = Node::with("n", |record| {
            (record.boot_id, record.created_unix_ns) = ([1, 2], EPOCH_NS + 1_000_000_000);
        });
        node.header().process_beat(11_000_000_000);
        node.count(Builtin::Spawned, 100);
        let path = node.dead(&dir);
        let row = dir.run(["stat", path.to_str().unwrap(), "--json"]).json();
        assert_eq!((&row["interval_s"], &row["spawned_per_s"]), (&json!(10.0), &json!(10.0)));
        assert_eq!(dir.run(["show", "--json"]).json()["uptime_s"], 10.0);
    }
}

mod frozen {
    use super::*;

    /// A control group with a process in it. Drop ends the process and removes the group.
    struct Group {
        path: std::path::PathBuf,
        /// The file and the text that thaw the group.
        thaw: (&'static str, &'static str),
        child: std::process::Child,
    }

    impl Group {
        /// Makes a group below `root`. `None`, with a message, where the kernel or this container cannot freeze groups.
        fn new(root: &str, thaw: (&'static str, &'static str)) -> Option<Self> {
            let path = Path::new(root).join(format!("atomscope-test-{}", std::process::id()));
            if let Err(error) = fs::create_dir(&path) {
                eprintln!("skipped: no control group can be made in {root}: {error}");
                return None;
            }
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let group = Self { path, thaw, child };
            if !group.path.join(thaw.0).exists() {
                eprintln!("skipped: control groups in {root} cannot be frozen");
                return None;
            }
            fs::write(group.path.join("cgroup.procs"), group.child.id().to_string()).unwrap();
            Some(group)
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            // In version 1 a frozen process does not die, so thaw it first. Do not create the file: that would keep the
            // folder.
            let thaw = File::options().write(true).open(self.path.join(self.thaw.0));
            let _ = thaw.and_then(|mut file| file.write_all(self.thaw.1.as_bytes()));
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = fs::remove_dir(&self.path);
        }
    }

    /// Regression: `doctor` said that the sampler of a frozen node does not beat, and that the machine might be
    /// overloaded.
    #[test]
    #[ignore = "needs root"]
    fn a_node_in_a_frozen_control_group_is_wedged_for_that_reason() {
        for (root, file, freeze, thaw) in [
            ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
            ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"),
            ("/sys/fs/cgroup", "cgroup.freeze", "1", "0"),
        ] {
            let Some(group) = Group::new(root, (file, thaw)) else { continue };
            let dir = RegionDir::new();
            let pid = group.child.id();
            let start = atomscope::process::Stat::of(pid).unwrap().start_ticks;
            let node = Node::with("n", |record| {
                (record.pid, record.process_start_ticks) = (pid.into(), start);
            });
            node.beat(9 * SECOND);
            let lock = Locked::new(node.dead(&dir));
            assert_eq!(row(&dir, &lock.path)["why"], "no heartbeat from the probe's sampler thread");
            fs::write(group.path.join(file), freeze).unwrap();
            let deadline = std::time::Instant::now() + 60 * SECOND;
            while row(&dir, &lock.path)["why"] != "its control group (cgroup) is frozen" {
                assert!(std::time::Instant::now() < deadline, "{root}: {}", row(&dir, &lock.path));
            }
            assert_eq!(row(&dir, &lock.path)["state"], "wedged");
            let advice = dir.run(["doctor", "n"]).ok();
            assert!(advice.contains(group.path.to_str().unwrap()), "{advice}");
        }
    }
}
