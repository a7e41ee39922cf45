//! `dump`: its JSON, the file that it writes, and `--redact`.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use atomscope::attach::Region;
use atomscope::snapshot::Snapshot;
use atomscope::snapshot::dump::Format;
use atomscope::text::write_json;
use atomscope_layout::metrics::BUILTIN;
use atomscope_layout::records::{EndKind, EndRecord};
use serde_json::{Value, json};

use crate::fixture::nodes::{many, shop};
use crate::fixture::{Actor, Node, Ran, RegionDir};

#[test]
fn a_dump_is_a_snapshot_of_atomr_telemetry_and_one_object_more() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let stdout = dir.run(["dump"]).ok();
    let theirs: atomr_telemetry::dto::NodeSnapshot = serde_json::from_str(&stdout).unwrap();
    assert_eq!((theirs.node.as_str(), theirs.actors.total), ("shop", 3));
    assert_eq!(theirs.actors.flat[2].host.as_deref(), Some("node-a"));
    assert_eq!(theirs.actors.flat[0].spawned_at, "2020-09-13T12:27:10.000000000Z");
    assert_eq!(theirs.dead_letters[0].message_preview, "Order { secret: 1 }");
    // `atomr-telemetry` writes the same fields; only our own object is extra.
    let mut ours: Value = serde_json::from_str(&stdout).unwrap();
    let about = ours.as_object_mut().unwrap().remove("atomscope").unwrap();
    assert_eq!(ours, serde_json::to_value(&theirs).unwrap());
    assert_eq!((&about["state"], &about["liveness"]), (&json!("live"), &json!("lock")));
    assert_eq!((&about["layout_version"], &about["redacted"]), (&json!("2.0"), &json!(false)));
    assert_eq!((&about["totals"]["live"], &about["drift"]), (&json!(3), &json!(0)));
    assert_eq!(about["dead_letters"], json!({"total": 1, "lapped": 0, "abandoned": 0, "unreadable": 0}));
    let spawned =
        about["metrics"].as_array().unwrap().iter().find(|m| m["name"] == "actors.spawned").unwrap();
    assert_eq!((&spawned["value"], &spawned["kind"]), (&json!(3), &json!("counter")));
}

#[test]
fn ndjson_is_one_object_a_line_each_of_its_kind() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let stdout = dir.run(["dump", "--format", "ndjson"]).ok();
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((of("node"), of("actor"), of("dead_letter")), (1, 3, 1));
    assert_eq!(of("metric"), BUILTIN.len());
    assert_eq!(lines[0]["atomscope"]["state"], "live");
}

#[test]
fn what_is_written_by_hand_is_what_serde_writes() {
    let dir = RegionDir::new();
    let node = shop();
    for (name, class) in [("\u{1b}[2J\u{202e}", "ü<\"T\\\u{7f}\">"), ("\u{2028}\n🦀\u{e0041}", "漢")] {
        let path = format!("akka://Shop/user/{name}");
        let (parent, host) = (Some(path.as_str()), Some(name));
        node.actor(Actor { path: &path, actor_type: class, host, ..Actor::default() });
        let child = format!("{path}/child");
        node.actor(Actor {
            path: &child,
            parent,
            actor_type: class,
            depth: Some(u64::MAX),
            ..Actor::default()
        });
    }
    let lock = node.live(&dir);
    let region = Region::open(&lock.path, None, u64::MAX).unwrap();
    let dump = Snapshot::take(&region).unwrap().into_dump(false);
    let (mut by_hand, mut by_serde) = (Vec::new(), Vec::new());
    dump.clone().write(Format::Json, &mut by_hand).unwrap();
    write_json(&mut by_serde, &dump).unwrap();
    assert_eq!(String::from_utf8(by_hand).unwrap(), String::from_utf8(by_serde).unwrap());
    let (mut by_hand, mut by_serde) = (Vec::new(), Vec::new());
    dump.clone().write(Format::Ndjson, &mut by_hand).unwrap();
    dump.actors.actors().iter().for_each(|actor| write_json(&mut by_serde, &actor).unwrap());
    let by_serde = String::from_utf8(by_serde).unwrap();
    let expected = by_serde.lines().map(|line| format!("{{\"kind\":\"actor\",{}", &line[1..]));
    let by_hand = String::from_utf8(by_hand).unwrap();
    let lines: Vec<&str> = by_hand.lines().filter(|line| line.contains("\"kind\":\"actor\"")).collect();
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn a_file_appears_whole_and_for_its_owner_alone() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let out = dir.join("out.json");
    fs::write(&out, "before").unwrap();
    assert_eq!(dir.run([OsStr::new("dump"), OsStr::new("-o"), out.as_os_str()]).ok(), "");
    let dumped: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(dumped["node"], "shop");
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(dir.files().len(), 2);
    assert_eq!(dir.run(["dump", "-o", "-"]).json()["node"], "shop");
}

#[test]
fn a_file_that_cannot_be_written_is_said_and_leaves_nothing_behind() {
    let dir = RegionDir::new();
    let lock = shop().live(&dir);
    let before = dir.files();
    let region = lock.path.to_str().unwrap();
    let bytes = fs::read(region).unwrap();
    for (out, why) in [
        (dir.path().to_str().unwrap(), "it is a directory"),
        ("/no/such/directory/x.json", "does its directory exist?"),
        ("/proc/x.json", "cannot write to /proc/x.json"),
        ("/dev/full", "free some space"),
        (region, "it is the region that is being read"),
    ] {
        let stderr = dir.run(["dump", "-o", out]).failed(1);
        assert!(stderr.contains(why), "{out}: {stderr}");
        // The message names the requested file, not the temporary file.
        assert!(!stderr.contains(".part"), "{out}: {stderr}");
        assert_eq!(dir.files(), before);
    }
    assert_eq!(fs::read(region).unwrap(), bytes);
}

#[test]
fn a_dump_for_scripts_that_is_looked_at_is_told_from_a_raw_one() {
    let dir = RegionDir::new();
    let _lock = shop().live(&dir);
    let out = dir.join("shop.json");
    dir.run([OsStr::new("dump"), OsStr::new("-o"), out.as_os_str()]).ok();
    let stderr = dir.run([OsStr::new("show"), out.as_os_str()]).failed(1);
    assert!(stderr.contains("it may be JSON") && stderr.contains("--format raw"), "{stderr}");
    let mut command = dir.command(["show", "shop.json"]);
    command.current_dir(dir.path());
    let stderr = Ran::of(command).failed(1);
    assert!(stderr.contains("there is no node shop.json; to read the file of that name"), "{stderr}");
    assert!(!dir.run(["show", "nobody.json"]).failed(1).contains("the file of that name"));
}

#[test]
fn running_out_of_room_half_way_leaves_what_was_there_before() {
    let dir = RegionDir::new();
    let _lock = many().live(&dir);
    let out = dir.join("out.json");
    fs::write(&out, "before").unwrap();
    let files = dir.files();
    let mut shell = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_atomscope");
    shell.args(["-c", "ulimit -f 16; exec \"$0\" \"$@\"", binary, "dump", "-o"]).arg(&out);
    shell.env("ATOMSCOPE_DIR", dir.path());
    let stderr = Ran::of(shell).failed(1);
    assert!(stderr.contains("cannot write to "), "{stderr}");
    assert_eq!((dir.files(), fs::read_to_string(&out).unwrap()), (files, "before".into()));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = RegionDir::new();
    let _lock = many().live(&dir);
    for args in [&["dump"][..], &["dump", "--format", "ndjson"], &["actors"], &["actors", "--json"]] {
        let mut child = dir.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_full_stdout_is_a_failure_that_says_so() {
    let dir = RegionDir::new();
    let node = shop();
    node.stop_event(1, 1, "a");
    let _lock = node.live(&dir);
    for args in [
        &["dump"][..],
        &["actors"],
        &["ps", "--json"],
        &["--help"],
        &["show"],
        &["stat"],
        &["tail", "--no-follow"],
        &["doctor"],
        &["prune", "--json"],
        &["man"],
        &["completions", "bash"],
    ] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = dir.command(args).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write to stdout: No space left on device"), "{stderr}");
    }
}

#[test]
fn a_link_is_followed_and_stays_a_link() {
    let dir = RegionDir::new();
    let node = shop();
    node.stop_event(1, 1, "a");
    let _lock = node.live(&dir);
    let (target, link) = (dir.join("target.json"), dir.join("link.json"));
    fs::write(&target, "").unwrap();
    symlink(&target, &link).unwrap();
    dir.run([OsStr::new("dump"), OsStr::new("-o"), link.as_os_str()]).ok();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&target).unwrap().contains("\"shop\""));
    assert!(dir.run(["dump", "-o", "/dev/stdout"]).ok().contains("\"shop\""));
}

const NAMES: [&str; 19] = [
    "Nnode",
    "Nsystem",
    "Nroot",
    "Nchild",
    "Nleaf",
    "NtypeA",
    "NtypeB",
    "Nhost",
    "Nspawned",
    "Nrecipient",
    "Nsender",
    "Nmessage",
    "Npreview",
    "Nmetric",
    "Nunit",
    "Nhelp",
    "shopd",
    "/opt",
    "Nparent",
];

fn full_of_names() -> Node {
    let node = Node::new("Nnode");
    node.header().set_system("Nsystem");
    let root = "akka://Nsystem@Nhost:1/Nroot";
    let child = "akka://Nsystem@Nhost:1/Nroot/Nchild";
    let leaf = "akka://Nsystem@Nhost:1/Nroot/Nchild/Nleaf";
    node.actor(Actor { path: root, actor_type: "NtypeA", parent: Some("Nparent"), ..Actor::default() });
    node.actor(Actor {
        path: child,
        actor_type: "NtypeB<u8>",
        parent: Some(root),
        host: Some("Nhost"),
        ..Actor::default()
    });
    let spawned_text = Some("Nspawned");
    node.actor(Actor {
        path: leaf,
        actor_type: "NtypeA",
        parent: Some(child),
        spawned_text,
        ..Actor::default()
    });
    node.letter("akka://Nsystem/Nrecipient", Some("akka://Nsystem/Nsender"), "Nmessage", "Npreview");
    node.metric(33, "Nmetric", "Nunit", "Nhelp");
    node
}

#[test]
fn no_name_of_the_application_is_left_in_any_format() {
    let dir = RegionDir::new();
    let _lock = full_of_names().live(&dir);
    for format in ["json", "ndjson"] {
        let plain = dir.run(["dump", "--format", format]).ok();
        let redacted = dir.run(["dump", "--format", format, "--redact"]).ok();
        for name in NAMES {
            assert!(plain.contains(name), "{name} is not even in the plain dump");
            assert!(!redacted.contains(name), "{name}: {redacted}");
        }
        assert!(redacted.contains("\"redacted\":true") && redacted.contains("actors.spawned"), "{redacted}");
    }
}

#[test]
fn the_thread_of_an_end_has_no_name_in_a_redacted_dump() {
    let dir = RegionDir::new();
    let node = full_of_names();
    let mono_ns = u64::MAX;
    let record = EndRecord { kind: EndKind::Signal as u64, code: 6, tid: 7, mono_ns, ..EndRecord::default() };
    assert!(node.header().note_end(EndRecord { thread: *b"Nthread\0\0\0\0\0\0\0\0\0", ..record }));
    node.dead(&dir);
    let about = |args: &[&str]| dir.run(args).json()["atomscope"].clone();
    let plain = about(&["dump"]);
    assert_eq!(
        (&plain["why"], &plain["end"]["thread"]),
        (&json!("ended by SIGABRT in thread Nthread"), &json!("Nthread"))
    );
    let redacted = about(&["dump", "--redact"]);
    assert_eq!(
        (&redacted["why"], &redacted["end"]["thread"]),
        (&json!("ended by SIGABRT in thread 7"), &json!(null))
    );
    let file = dir.path().join("redacted");
    let file = file.to_str().unwrap();
    dir.run(["dump", "--redact", "--format", "raw", "-o", file]).ok();
    assert_eq!(about(&["dump", "--region", file])["end"], redacted["end"]);
}

#[test]
fn the_tree_keeps_its_shape_and_equal_names_stay_equal() {
    let dir = RegionDir::new();
    let _lock = full_of_names().live(&dir);
    let dump = dir.run(["dump", "--redact"]).json();
    let root = &dump["actors"]["roots"][0];
    let leaf = &root["children"][0]["children"][0];
    assert!(leaf["name"].is_string(), "{dump}");
    assert_eq!(root["actor_type"], leaf["actor_type"]);
    assert_ne!(root["actor_type"], root["children"][0]["actor_type"]);
    let path = leaf["path"].as_str().unwrap();
    assert_eq!(path.rsplit('/').next(), leaf["name"].as_str());
    let system = dump["atomscope"]["system"].as_str().unwrap();
    let recipient = dump["dead_letters"][0]["recipient"].as_str().unwrap();
    assert_eq!(recipient.split('/').nth(2), Some(system));
}

#[test]
fn pseudonyms_agree_only_where_a_key_is_given() {
    let dir = RegionDir::new();
    let _lock = full_of_names().live(&dir);
    let node = |args: &[&str]| dir.run([&["dump", "--redact"], args].concat()).json()["node"].clone();
    assert_ne!(node(&[]), node(&[]));
    assert_eq!(node(&["--redact-key", "k"]), node(&["--redact-key", "k"]));
    assert_ne!(node(&["--redact-key", "k"]), node(&["--redact-key", "l"]));
    let stderr = dir.run(["dump", "--redact-key", "k"]).failed(2);
    assert!(stderr.contains("--redact"), "{stderr}");
}
