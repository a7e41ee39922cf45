//! Every command on hostile names and arguments, and on damaged files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::mem::offset_of;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use atomscope::attach::{AttachErrorKind, MAX_BYTES, Region};
use atomscope::snapshot::Snapshot;
use atomscope::text::is_unsafe;
use atomscope_layout::cells;
use atomscope_layout::follow::Follower;
use atomscope_layout::metrics::BUILTIN;
use atomscope_layout::records::ActorRecord;
use atomscope_layout::region::header;
use atomscope_layout::{Capacities, OpenError};

use crate::fixture::instruments::Instruments;
use crate::fixture::nodes::{many, shop, state};
use crate::fixture::{Actor, Node, Ran, RegionDir, random, small, write};

const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\u{200b}\u{9b}31m\n\r\u{7f}";

#[track_caller]
fn is_harmless(text: &str) {
    assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
}

#[test]
fn names_that_attack_the_terminal_are_written_out_everywhere() {
    let dir = RegionDir::new();
    let capacities = Capacities { instruments: 4, classes: 4, variants: 4, names: 16, ..small() };
    let node = Node::sized(EVIL, capacities, |_| {});
    node.header().set_system(EVIL);
    let slot = node.actor(Actor {
        path: EVIL,
        actor_type: EVIL,
        host: Some(EVIL),
        spawned_text: Some(EVIL),
        ..Actor::default()
    });
    let all = Instruments::of(&node);
    all.register(1, EVIL);
    all.register_row(2, 1, EVIL);
    all.handled(0, 2, 1, 1);
    let [named, unnamed] = [all.claim(1), all.claim(1)];
    for name in [named, unnamed] {
        let cell = all.cells().cell(name.index()).unwrap();
        cell.begin(cells::coarse(1 << 10, 1), false);
        cell.run(2, cells::Mode::Awaits);
    }
    node.set(node.actor_word(slot, offset_of!(ActorRecord, cell) / 8), named.word());
    node.letter(EVIL, Some(EVIL), EVIL, EVIL);
    node.metric(33, EVIL, EVIL, EVIL);
    node.stop_event(1, 1, EVIL);
    let evil = dir.join(EVIL.replace('\n', ""));
    write(&evil, &node.bytes());
    let locks = [node.live(&dir), Node::new("other").live(&dir)];
    for args in [
        &["ps"][..],
        &["ps", "--json"],
        &["actors", EVIL],
        &["actors", EVIL, "--json"],
        &["actors", EVIL, "--tree"],
        &["actors", EVIL, "--by", "class"],
        &["actors", EVIL, "--by", "subtree", "--json"],
        &["actors", EVIL, "--by", "variant"],
        &["hot", EVIL, "1ms"],
        &["hot", EVIL, "1ms", "--json"],
        &["hot", EVIL, EVIL],
        &["letters", EVIL],
        &["letters", EVIL, "--json"],
        &["dump", EVIL],
        &["dump", EVIL, "--format", "ndjson"],
        &["dump"],
        &["show", EVIL],
        &["show", EVIL, "--json"],
        &["stat", EVIL, "1ms", "1"],
        &["stat", EVIL, EVIL],
        &["tail", EVIL, "--no-follow"],
        &["tail", EVIL, "other", "--no-follow"],
        &["tail", EVIL, "--no-follow", "--json"],
        &["tail", "--topic", EVIL],
        &["tail", "--since", EVIL],
        &["doctor"],
        &["doctor", "--json"],
        &["doctor", "no\u{1b}[31mne"],
        &["prune", "--dry-run", "--node", EVIL],
        &["man", EVIL],
        &["completions", EVIL],
        &["dump", "no\u{1b}[31mne"],
        &["dump", "--no\u{1b}[31m\u{202e}ne"],
        &["dump", "--format", EVIL],
        &["dump", EVIL, "-o", "/no/\u{1b}[31m\u{202e}"],
        &["--dir", "/no/\u{1b}[31m", "ps"],
        &["dump", evil.to_str().unwrap()],
        &["ps", "--region", evil.to_str().unwrap()],
        &["dump", "/no/\u{1b}[31m/such"],
    ] {
        let ran = dir.run(args);
        is_harmless(&ran.stdout);
        is_harmless(&ran.stderr);
        assert!(!(ran.stdout.is_empty() && ran.stderr.is_empty()));
    }
    // The JSON is safe to print, and the name in it is unchanged.
    assert_eq!(dir.run(["dump", EVIL]).json()["node"], EVIL);
    drop(locks);
}

#[test]
fn empty_long_and_foreign_names_are_shown() {
    let dir = RegionDir::new();
    let node = Node::new("n");
    let long = "x".repeat(150);
    for path in ["", "/user/Größe 漢字 🦀", &long] {
        node.actor(Actor { path, actor_type: "T", ..Actor::default() });
    }
    let _lock = node.live(&dir);
    let stdout = dir.run(["actors"]).ok();
    assert!(stdout.contains("/user/Größe 漢字 🦀") && stdout.contains(&long), "{stdout}");
    assert_eq!(stdout.lines().count(), 4);
    assert_eq!(dir.run(["actors", "--json"]).json()[0]["path"], "");
}

#[test]
fn names_of_ten_kilobytes_are_looked_for_and_refused_in_a_sentence() {
    let dir = RegionDir::new();
    let long = "x".repeat(10_000);
    assert!(dir.run(["dump", &long]).failed(1).contains("there is no node xxx"));
    assert!(dir.run(["dump", &format!("/{long}")]).failed(1).contains("File name too long"));
    assert!(dir.run(["dump", &"9".repeat(10_000)]).failed(1).contains("there is no process"));
}

#[test]
fn arguments_that_are_no_text_work_or_fail_clearly() {
    let dir = RegionDir::new();
    let odd = OsString::from_vec(b"odd\xff.raw".to_vec());
    let path = dir.join(&odd);
    write(&path, &shop().bytes());
    assert_eq!(dir.run([OsStr::new("dump"), path.as_os_str()]).json()["node"], "shop");
    let out = dir.join(OsString::from_vec(b"out\xfe".to_vec()));
    dir.run([OsStr::new("dump"), path.as_os_str(), OsStr::new("-o"), out.as_os_str()]).ok();
    assert!(out.exists());
    let name = OsString::from_vec(b"no\xffde".to_vec());
    assert!(dir.run([OsStr::new("dump"), &name]).failed(1).contains("there is no node no\\xffde"));
    assert!(dir.run([OsStr::new("actors"), OsStr::new("--filter"), &name]).failed(2).contains("UTF-8"));
    assert!(dir.run([&name]).failed(2).contains("Usage"));
}

#[test]
fn a_damaged_region_is_refused_with_the_place_of_the_damage() {
    type Damage = fn(&Node);
    let damages: [(&str, Damage); 7] = [
        ("incompatible: found layout version 9.0", |n| n.set(header::VERSION, 9 << 32)),
        ("truncated", |n| n.set(header::RECORD.start, 1 << 40)),
        ("corrupt at byte 16: region length is 3", |n| n.set(header::RECORD.start, 3)),
        ("corrupt at byte 32: section count", |n| n.set(header::RECORD.start + 2, u64::MAX)),
        ("corrupt at byte 2064: section record count is 18446744073709551615", |n| {
            n.set(header::DIRECTORY.start + 2, u64::MAX);
        }),
        ("section record count", |n| n.set(header::DIRECTORY.start + 2, 0)),
        ("section offset", |n| n.set(header::DIRECTORY.start + 1, u64::MAX - 127)),
    ];
    for (expected, damage) in damages {
        let dir = RegionDir::new();
        let node = shop();
        damage(&node);
        let path = node.dead(&dir);
        let stderr = dir.run(["dump"]).failed(1);
        assert!(stderr.contains(expected) && stderr.contains(path.to_str().unwrap()), "{stderr}");
        let word = if expected.starts_with("incompatible") { "incompatible" } else { "corrupt" };
        assert_eq!(state(&dir).0, word);
    }
}

/// The first page of a region of layout 1.2, as its probe wrote it: header and directory, without the texts.
fn first_page_of_layout_1() -> Vec<u8> {
    let header = [
        u64::from_le_bytes(*b"ATOMSCPE"),
        1 << 32 | 2,
        69_632,
        4096,
        14,
        4711,
        1000,
        12_345,
        1,
        2,
        3,
        1_000_000_000_000_000_000,
        8,
        1,
        71,
    ];
    // Id, offset, count, stride and bytes of a record. Each entry has three more words of zeros.
    let directory = [
        [1, 4096, 3, 768, 768],
        [2, 6400, 96, 256, 256],
        [3, 30_976, 8, 256, 256],
        [4, 33_024, 2, 64, 64],
        [5, 33_152, 16, 320, 320],
        [6, 38_272, 1, 64, 64],
        [7, 38_400, 5, 384, 384],
        [8, 40_320, 3, 3840, 512],
        [9, 51_840, 2, 64, 64],
        [10, 51_968, 16, 384, 384],
        [11, 58_112, 2, 640, 640],
        [12, 59_392, 1, 1536, 1536],
        [13, 60_928, 2, 256, 256],
        [14, 61_440, 128, 64, 64],
    ];
    let mut words = [0u64; 512];
    words[..header.len()].copy_from_slice(&header);
    words[16] = 2;
    for (at, entry) in directory.iter().enumerate() {
        words[256 + 8 * at..][..entry.len()].copy_from_slice(entry);
    }
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[test]
fn a_region_of_layout_1_is_incompatible_and_both_versions_are_named() {
    let dir = RegionDir::new();
    let mut region = first_page_of_layout_1();
    region.resize(69_632, 0);
    let raw_header = [u64::from_le_bytes(*b"ATOMSRAW"), 1 << 32 | 1, 4096, 69_632, 0, 4711, 2, 1];
    let mut dump: Vec<u8> = raw_header.into_iter().flat_map(u64::to_le_bytes).collect();
    dump.resize(4096, 0);
    dump.extend_from_slice(&region);
    for (name, bytes) in [("old", region), ("old.raw", dump)] {
        write(&dir.join(name), &bytes);
        let stderr = dir.run(["show", dir.join(name).to_str().unwrap()]).failed(1);
        assert!(stderr.contains("found layout version 1.2, this program reads 2.x"), "{name}: {stderr}");
    }
}

/// A reader of layout 1 looks at the magic in the first word and at the major version in the upper half of the second one.
#[test]
fn a_reader_of_layout_1_finds_the_version_of_a_region_where_it_looks_for_it() {
    let new = shop().bytes();
    let old = first_page_of_layout_1();
    assert_eq!(new[..8], old[..8]);
    let major = |page: &[u8]| u32::from_le_bytes(page[12..16].try_into().unwrap());
    assert_eq!((major(&new), major(&old)), (2, 1));
}

#[test]
fn what_is_no_region_is_refused_with_the_reason() {
    let dir = RegionDir::new();
    let file = |name: &str, bytes: &[u8]| {
        write(&dir.join(name), bytes);
        dir.join(name)
    };
    let link = dir.join("link.raw");
    symlink(file("target.raw", &shop().bytes()), &link).unwrap();
    let open = file("open.raw", &shop().bytes());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    let cut = file("cut.raw", &shop().bytes()[..5000]);
    for (path, why) in [
        (dir.join("missing.raw"), "there is no such file"),
        (dir.path().to_owned(), "it is a directory, not a regular file"),
        ("/dev/null".into(), "it is a device, not a regular file"),
        (link, "it is a symbolic link"),
        (open, "others than its owner may write it (mode 666)"),
        (cut, "truncated: 5000 bytes of"),
        (file("text.raw", b"Dear diary, nothing happened today."), "not an atomscope region"),
        (file("short.raw", b"x"), "not an atomscope region"),
        (file("empty.raw", b""), "its node is not ready"),
    ] {
        let stderr = dir.run([OsStr::new("dump"), path.as_os_str()]).failed(1);
        assert!(stderr.contains(why) && stderr.starts_with("atomscope: cannot attach to "), "{stderr}");
    }
}

#[test]
fn a_region_larger_than_allowed_is_refused() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let stderr = dir.run(["--max-size", "4K", "dump"]).failed(1);
    assert!(stderr.contains("more than the 4096 that are allowed; `--max-size` allows more"), "{stderr}");
    assert_eq!(dir.run(["--max-size", "1G", "dump"]).json()["node"], "shop");
    dir.run(["--max-size", "lots", "ps"]).failed(2);
}

#[test]
fn an_unknown_pid_and_a_pid_without_a_region_are_told_apart() {
    let dir = RegionDir::new();
    let stderr = dir.run(["dump", "4194305"]).failed(1);
    assert!(stderr.contains("there is no process 4194305, and no dead process with that id"), "{stderr}");
    let pid = std::process::id();
    let stderr = dir.run(["dump", &pid.to_string()]).failed(1);
    assert!(stderr.contains(&format!("process {pid} (")) && stderr.contains("has no region"), "{stderr}");
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let stderr = RegionDir::new().run(["--dir", "/no/such", "ps"]).failed(1);
    assert!(stderr.contains("cannot search /no/such for regions: No such file"), "{stderr}");
}

#[test]
fn a_file_that_is_cut_while_it_is_mapped_makes_what_was_read_of_it_not_count() {
    atomscope::system::guard_mappings();
    let dir = RegionDir::new();
    let lock = shop().live(&dir);
    let region = Region::open(&lock.path, None, MAX_BYTES).unwrap();
    assert_eq!(Snapshot::take(&region).unwrap().actors.len(), 3);
    lock.file.set_len(4096).unwrap();
    let error = Snapshot::take(&region).unwrap_err();
    assert!(matches!(error.kind, AttachErrorKind::Shrunk), "{error}");
    drop(region);
    let error = Region::open(&lock.path, None, MAX_BYTES).unwrap_err();
    assert!(matches!(error.kind, AttachErrorKind::Layout(OpenError::Truncated { .. })), "{error}");
}

#[test]
fn a_bus_error_of_another_cause_still_ends_the_program() {
    use std::os::unix::process::ExitStatusExt as _;
    let dir = RegionDir::new();
    let _lock = many().live(&dir);
    let mut child = dir.command(["dump"]).stdout(Stdio::piped()).spawn().unwrap();
    // The program has filled the pipe, and its write blocks.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    // A real fault repeats until something handles it, so send the signal repeatedly. The handler of Rust's runtime,
    // which runs next, relies on that.
    let status = loop {
        let _ = Command::new("kill").args(["-BUS", &child.id().to_string()]).status().unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

#[test]
#[ignore = "needs root"]
fn regions_of_others_are_counted_and_their_processes_explained() {
    use std::os::unix::process::CommandExt as _;
    let dir = RegionDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let region = shop().dead(&dir);
    let as_nobody = |args: &[&str]| {
        let mut command = dir.command(args);
        command.uid(65534).gid(65534);
        Ran::of(command)
    };
    let ran = as_nobody(&["ps", "--json"]);
    assert_eq!((ran.stdout.as_str(), ran.code), ("[]\n", Some(0)), "{ran:?}");
    assert!(ran.stderr.contains("1 region of other users; run as root to see them"), "{ran:?}");
    let stderr = as_nobody(&["dump", region.to_str().unwrap()]).failed(1);
    assert!(
        stderr.contains("Permission denied") && stderr.contains("run as its owner or as root"),
        "{stderr}"
    );
    // A new mount of `/proc`, because the machine's may hide processes (hidepid).
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]);
    command.arg("mount -t proc proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"");
    command.arg("sh").arg(env!("CARGO_BIN_EXE_atomscope")).args(["dump", "1"]);
    let stderr = Ran::of(command).failed(1);
    assert!(stderr.contains("ptrace rights: run as user 0 or as root"), "{stderr}");
}

#[test]
fn no_damage_to_a_region_makes_the_program_do_worse_than_say_so() {
    let node = shop();
    let bytes = node.bytes();
    let mut next = random();
    for round in 0..2000 {
        let mut words: Vec<u64> =
            bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        for _ in 0..1 + next() % 8 {
            let (at, value) = (next() as usize % words.len(), next());
            let extreme = [value, 0, u64::MAX, 1 << 63, (1 << 63) - 1, value >> 40, 1 << 62];
            // Mostly in the header, the ring's head and first slot, and the first counters.
            let at = match next() % 4 {
                0 => at % header::DIRECTORY.end,
                1 => node.map.dead_letters.start + [0, 48][at % 2],
                2 => node.map.counters.start + at % BUILTIN.len(),
                _ => at,
            };
            words[at] = extreme[next() as usize % extreme.len()];
        }
        let damaged: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = atomscope_layout::view::ReaderMemory::copied(&damaged);
        if let Ok(reader) = atomscope_layout::decode::RegionReader::open(memory.words()) {
            let _ = (reader.identity(), reader.state(), reader.metrics(), reader.dead_letters(100));
            let actors = reader.actors();
            assert!(actors.entries.len() <= node.map.actors.count, "round {round}");
            let _ = (actors.into_snapshot(), reader.actor_totals());
            let look = Follower::from_first(&reader).last_batch(&reader);
            assert!(look.events.len() <= 3 * 16, "round {round}");
        }
    }
}
