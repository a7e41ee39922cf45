//! The program, run on regions made by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod commands;
mod fixture;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use atomscope::attach::{AttachErrorKind, MAX_BYTES, Region};
use atomscope::process::Stat;
use atomscope::snapshot::Snapshot;
use atomscope::text::is_unsafe;
use atomscope_layout::follow::Follower;
use atomscope_layout::metrics::{BUILTIN, Builtin};
use atomscope_layout::region::{State, header};
use atomscope_layout::{Capacities, OpenError};
use serde_json::{Value, json};

use crate::fixture::{Actor, Locked, Node, Place, Ran, SECOND, program, small, write};

/// A shop with three actors, one of them busy.
fn shop() -> Node {
    let node = Node::new("shop");
    node.header().set_system("Shop");
    let user = "akka://Shop/user";
    let checkout = "akka://Shop/user/checkout";
    for actor in [
        Actor {
            path: checkout,
            parent: Some(user),
            actor_type: "shop::Checkout",
            depth: Some(3),
            ..Actor::default()
        },
        Actor {
            path: "akka://Shop/user/checkout/payer",
            parent: Some(checkout),
            actor_type: "shop::Payer",
            host: Some("node-a"),
            spawned_s: 60,
            ..Actor::default()
        },
        Actor {
            path: "akka://Shop/user/audit",
            parent: Some(user),
            actor_type: "shop::Audit",
            depth: Some(9),
            spawned_s: 30,
            ..Actor::default()
        },
    ] {
        node.actor(actor);
    }
    node.letter("akka://Shop/user/gone", None, "shop::Order", "Order { secret: 1 }");
    node
}

/// A node of which the dump is larger than any pipe.
fn many() -> Node {
    let capacities = Capacities { actors: 4096, ..small() };
    let node = Node::sized("many", capacities, |_| {});
    for number in 0..2000 {
        node.actor(Actor { path: &format!("akka://S/user/{number}"), actor_type: "T", ..Actor::default() });
    }
    node
}

/// State and reason of the only region, as `ps` tells them.
#[track_caller]
fn state(place: &Place) -> (String, String) {
    let rows = place.run(["ps", "--json"]).json();
    let [row] = rows.as_array().unwrap().as_slice() else { panic!("{rows}") };
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("why"))
}

/// `stdout` as rows of words.
fn words(stdout: &str) -> Vec<Vec<&str>> {
    stdout.lines().map(|line| line.split_whitespace().collect()).collect()
}

mod states {
    use super::*;

    #[test]
    fn a_node_that_beats_and_holds_its_lock_is_live() {
        let place = Place::new();
        let node = Node::new("n");
        node.header().runtime_beat(u64::MAX);
        let _lock = node.live(&place);
        assert_eq!(state(&place), ("live".into(), String::new()));
    }

    #[test]
    fn starting_and_stopping_are_what_the_node_says() {
        for (word, expected) in [(State::Starting, "starting"), (State::Stopping, "stopping")] {
            let place = Place::new();
            let node = Node::new("n");
            node.set(header::STATE, word as u64);
            let _lock = node.live(&place);
            assert_eq!(state(&place).0, expected);
        }
    }

    #[test]
    fn a_node_without_its_lock_is_closed_or_crashed() {
        let place = Place::new();
        let node = Node::new("n");
        let path = node.dead(&place);
        assert_eq!(state(&place).0, "crashed");
        fs::remove_file(path).unwrap();
        node.header().set_state(State::Closed);
        node.dead(&place);
        assert_eq!(state(&place).0, "closed");
    }

    #[test]
    fn a_stale_beat_of_the_probe_is_a_wedge_and_so_is_one_of_the_runtime() {
        let place = Place::new();
        let node = Node::new("n");
        node.runtime_beat(9 * SECOND);
        let lock = node.live(&place);
        assert_eq!(state(&place), ("wedged".into(), "its async runtime is blocked".into()));
        fs::remove_file(&lock.path).unwrap();
        node.beat(9 * SECOND);
        let _lock = node.live(&place);
        assert_eq!(state(&place), ("wedged".into(), "the probe's thread does not beat any more".into()));
    }

    #[test]
    fn a_stopped_process_is_a_wedge_at_once() {
        let place = Place::new();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id();
        assert!(Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
        let stat = loop {
            match Stat::of(pid).unwrap() {
                stat if stat.is_stopped() => break stat,
                _ => std::thread::yield_now(),
            }
        };
        let node = Node::with("n", |record| {
            (record.pid, record.process_start_ticks) = (u64::from(pid), stat.start_ticks);
        });
        let _lock = node.live(&place);
        let found = state(&place);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, ("wedged".into(), "its process is stopped (SIGSTOP or a debugger)".into()));
    }

    #[test]
    fn a_region_of_another_boot_is_dead_unless_its_lock_is_held() {
        let place = Place::new();
        let node = Node::with("n", |record| record.boot_id = [1, 2]);
        node.dead(&place);
        assert_eq!(state(&place).0, "crashed");
        // A container may show a boot id of its own; the lock is the kernel's word.
        let place = Place::new();
        let node = Node::with("n", |record| record.boot_id = [1, 2]);
        node.header().set_state(atomscope_layout::region::State::Running);
        let _lock = node.live(&place);
        assert_ne!(state(&place).0, "crashed");
    }

    #[test]
    fn one_region_that_is_asked_for_and_cannot_be_read_is_a_failure_of_ps_too() {
        let place = Place::new();
        let missing = place.join("missing");
        let ran = place.run(["ps".as_ref(), "--region".as_ref(), missing.as_os_str()]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stdout.contains("refused") && ran.stderr.contains("no such file"), "{ran:?}");
    }

    #[test]
    fn a_region_that_is_not_published_tells_starting_up_from_dead() {
        let place = Place::new();
        let node = Node::new("n");
        node.set(header::MAGIC, 0);
        let path = node.dead(&place);
        let (word, why) = state(&place);
        assert_eq!(word, "not ready");
        assert!(why.contains("died before it was ready"), "{why}");
        let _lock = Locked::new(path);
        let (word, why) = state(&place);
        assert_eq!(word, "not ready");
        assert!(why.contains("it is starting up; try again"), "{why}");
    }

    #[test]
    fn every_command_works_on_a_wedged_and_on_a_dead_node_and_says_so() {
        let place = Place::new();
        let node = shop();
        node.beat(9 * SECOND);
        let mut lock = Some(node.live(&place));
        for expected in ["wedged", "crashed"] {
            let ran = place.run(["actors"]);
            assert!(ran.stderr.contains(&format!("the node is {expected}")), "{ran:?}");
            assert!(ran.stderr.contains("its last beat was "), "{ran:?}");
            assert_eq!(ran.ok().lines().count(), 4);
            assert_eq!(place.run(["dump"]).json()["atomscope"]["state"], expected);
            lock = None;
        }
        drop(lock);
    }
}

mod listing {
    use super::*;

    #[test]
    fn ps_lists_the_living_before_the_dead_with_units_in_the_header() {
        let place = Place::new();
        let _lock = shop().live(&place);
        Node::new("attic").dead(&place);
        let stdout = place.run(["ps"]).ok();
        let lines = words(&stdout);
        let titles =
            ["PID", "NODE", "SYSTEM", "STATE", "AGE(s)", "BEAT(s)", "ACTORS", "SIZE(MiB)", "FILE", "NOTE"];
        assert_eq!(lines[0], titles);
        let pid = std::process::id().to_string();
        assert_eq!(lines[1][..4], [pid.as_str(), "shop", "Shop", "live"]);
        assert_eq!(lines[1][6], "3");
        assert_eq!(lines[2][..4], [pid.as_str(), "attic", "-", "crashed"]);
    }

    #[test]
    fn ps_as_json_has_pid_node_and_state() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let rows = place.run(["ps", "--json"]).json();
        assert_eq!(rows[0]["pid"], std::process::id());
        assert_eq!((&rows[0]["node"], &rows[0]["state"]), (&json!("shop"), &json!("live")));
        assert_eq!(rows[0]["program"], "/opt/shop/bin/shopd");
    }

    #[test]
    fn ps_of_nothing_is_an_empty_list() {
        assert_eq!(Place::new().run(["ps", "--json"]).ok(), "[]\n");
    }

    #[test]
    fn actors_come_by_path_and_an_unknown_depth_is_a_dash() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let ran = place.run(["actors"]);
        assert_eq!(ran.stderr, "");
        let lines = words(&ran.stdout);
        assert_eq!(lines[0], ["PATH", "CLASS", "DEPTH(msgs)", "AGE(s)", "HOST"]);
        assert_eq!(lines[1][..3], ["akka://Shop/user/audit", "shop::Audit", "9"]);
        assert_eq!(lines[2][..3], ["akka://Shop/user/checkout", "shop::Checkout", "3"]);
        assert_eq!(lines[3][..3], ["akka://Shop/user/checkout/payer", "shop::Payer", "-"]);
        assert_eq!(lines[3][4], "node-a");
    }

    #[test]
    fn a_tree_puts_children_below_their_parents() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let stdout = place.run(["actors", "--tree"]).ok();
        let lines = words(&stdout);
        assert_eq!(lines[1][0], "akka://Shop/user/audit");
        assert_eq!(lines[2][0], "akka://Shop/user/checkout");
        assert_eq!(lines[3][..3], ["└─", "payer", "shop::Payer"]);
        let tree = place.run(["actors", "--tree", "--json"]).json();
        assert_eq!(tree[1]["children"][0]["path"], "akka://Shop/user/checkout/payer");
        assert_eq!(tree[1]["children"][0]["mailbox_depth"], Value::Null);
    }

    #[track_caller]
    fn types(place: &Place, args: &[&str]) -> Vec<String> {
        let rows = place.run([&["actors", "--json"], args].concat()).json();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["actor_type"].as_str().unwrap()[6..].to_owned())
            .collect()
    }

    #[test]
    fn sorting_puts_the_deepest_and_the_oldest_first_and_the_unknown_last() {
        let place = Place::new();
        let _lock = shop().live(&place);
        assert_eq!(types(&place, &["--sort", "depth"]), ["Audit", "Checkout", "Payer"]);
        assert_eq!(types(&place, &["--sort", "depth", "--reverse"]), ["Checkout", "Audit", "Payer"]);
        assert_eq!(types(&place, &["--sort", "age"]), ["Checkout", "Audit", "Payer"]);
        assert_eq!(types(&place, &["--sort", "type", "--reverse"]), ["Payer", "Checkout", "Audit"]);
        assert_eq!(types(&place, &["--reverse"]), ["Payer", "Checkout", "Audit"]);
    }

    #[test]
    fn a_filter_looks_at_path_and_type_and_a_tree_keeps_those_above() {
        let place = Place::new();
        let _lock = shop().live(&place);
        assert_eq!(types(&place, &["--filter", "Payer"]), ["Payer"]);
        assert_eq!(types(&place, &["--filter", "checkout"]), ["Checkout", "Payer"]);
        assert_eq!(types(&place, &["--filter", "nobody"]), [""; 0]);
        assert_eq!(types(&place, &["--tree", "--filter", "Payer"]), ["Checkout"]);
        assert_eq!(types(&place, &["--tree", "--filter", "class ~ Payer"]), ["Checkout"]);
    }

    #[test]
    fn a_filter_asks_as_the_screens_does() {
        let place = Place::new();
        let _lock = shop().live(&place);
        assert_eq!(types(&place, &["--filter", "!checkout"]), ["Audit"]);
        assert_eq!(types(&place, &["--filter", "PAYER"]), [""; 0]);
        assert_eq!(types(&place, &["--filter", "class ~ ::(Pay|Aud)"]), ["Audit", "Payer"]);
        assert_eq!(types(&place, &["--filter", "depth = -"]), ["Payer"]);
        assert_eq!(types(&place, &["--filter", "parent ~ checkout or name ~ audit"]), ["Audit", "Payer"]);
        for wrong in ["size > 3", "depth > many", "(", "depth > 1 and"] {
            let stderr = place.run(["actors", "--filter", wrong]).failed(2);
            assert!(stderr.contains("--filter: "), "{wrong}: {stderr}");
        }
        for command in ["actors", "leases"] {
            let stderr = place.run([command, "--filter", "[\u{1b}]0;x\u{7}\u{1b}[2J"]).failed(2);
            assert!(!stderr.contains(['\u{1b}', '\u{7}']), "{stderr}");
        }
    }

    #[test]
    fn a_limit_says_how_many_it_left_out() {
        let place = Place::new();
        let _lock = shop().live(&place);
        for (limit, shown, said) in [("0", 0, "3 more"), ("2", 2, "1 more"), ("18446744073709551615", 3, "")]
        {
            for shape in [None, Some("--tree")] {
                let ran = place.run(["actors", "--limit", limit].into_iter().chain(shape));
                assert!(ran.stderr.contains(said), "{ran:?}");
                assert_eq!(ran.ok().lines().count(), 1 + shown);
            }
        }
    }

    #[test]
    fn what_is_not_whole_is_said() {
        let place = Place::new();
        let node = shop();
        node.count(Builtin::UntrackedSpawns, 2);
        node.count(Builtin::Spawned, 7);
        let _lock = node.live(&place);
        let stderr = place.run(["actors"]).stderr;
        assert!(stderr.contains("2 live actors were neither listed nor kept"), "{stderr}");
        assert!(stderr.contains("may miss some actors for good"), "{stderr}");
        assert!(stderr.contains("the counts and the list of live actors differ by +5"), "{stderr}");
    }

    #[test]
    fn no_colours_without_a_terminal() {
        let place = Place::new();
        shop().dead(&place);
        assert!(!place.run(["ps"]).ok().contains('\u{1b}'));
    }
}

mod who {
    use super::*;

    #[track_caller]
    fn node_of(ran: Ran) -> String {
        ran.json()["node"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_only_node_needs_no_name() {
        let place = Place::new();
        let _lock = shop().live(&place);
        assert_eq!(node_of(place.run(["dump"])), "shop");
    }

    #[test]
    fn several_living_nodes_are_a_question() {
        let place = Place::new();
        let _locks = [shop().live(&place), Node::new("depot").live(&place)];
        let stderr = place.run(["dump"]).failed(1);
        assert!(stderr.contains("there are 2 nodes, say which one"), "{stderr}");
        assert!(stderr.contains("depot") && stderr.contains("shop"), "{stderr}");
        assert_eq!(node_of(place.run(["dump", "depot"])), "depot");
    }

    #[test]
    fn live_beats_dead_and_stderr_says_which_was_taken() {
        let place = Place::new();
        Node::with("shop", |record| (record.pid, record.created_unix_ns) = (1, u64::MAX / 2)).dead(&place);
        let lock = shop().live(&place);
        for who in [&["dump"][..], &["dump", "shop"]] {
            let ran = place.run(who);
            let taken = format!("taking shop {}/Shop (live), not shop 1 (crashed)", std::process::id());
            assert!(ran.stderr.contains(&taken), "{ran:?}");
            assert_eq!(ran.json()["atomscope"]["pid"], std::process::id());
        }
        drop(lock);
    }

    #[test]
    fn newer_beats_older() {
        let place = Place::new();
        for (pid, created) in [(11, 5), (12, 7), (13, 6)] {
            Node::with("shop", |record| (record.pid, record.created_unix_ns) = (pid, created)).dead(&place);
        }
        assert_eq!(place.run(["dump"]).json()["atomscope"]["pid"], 12);
        assert_eq!(place.run(["dump", "shop"]).json()["atomscope"]["pid"], 12);
    }

    #[test]
    fn a_pid_with_several_systems_is_asked_for_by_system() {
        let place = Place::new();
        let systems = ["Orders", "Depot"].map(|system| {
            let node = Node::new(&system.to_lowercase());
            node.header().set_system(system);
            node.live(&place)
        });
        let pid = std::process::id();
        assert_eq!(node_of(place.run(["dump", &format!("{pid}/Depot")])), "depot");
        assert_eq!(node_of(place.run(["dump", &format!("{pid}/Orders")])), "orders");
        let stderr = place.run(["dump", &format!("{pid}/None")]).failed(1);
        assert!(stderr.contains("has no actor system None; it has "), "{stderr}");
        assert!(place.run(["dump", &pid.to_string()]).stderr.contains("taking "));
        drop(systems);
    }

    #[test]
    fn a_file_is_named_by_its_path_or_its_ending_or_the_option() {
        let place = Place::new();
        let raw = place.join("node.raw");
        write(&raw, &shop().bytes());
        assert_eq!(node_of(place.run([OsStr::new("dump"), raw.as_os_str()])), "shop");
        assert_eq!(node_of(place.run([OsStr::new("--region"), raw.as_os_str(), OsStr::new("dump")])), "shop");
        let mut beside = place.command(["dump", "node.raw"]);
        beside.current_dir(place.path());
        assert_eq!(node_of(Ran::of(beside)), "shop");
    }

    #[test]
    fn who_and_region_together_are_a_usage_error() {
        let stderr = Place::new().run(["--region", "/x", "dump", "shop"]).failed(2);
        assert!(stderr.contains("give one"), "{stderr}");
    }

    #[test]
    fn names_that_are_odd_are_found_all_the_same() {
        let long = "ñ".repeat(5000);
        for name in ["", "Größe 漢字", "\u{202e}evil\u{1b}[31m", &long] {
            let place = Place::new();
            let _lock = Node::new(name).live(&place);
            let _other = Node::new("other").live(&place);
            let node = node_of(place.run(["dump", name]));
            assert!(node == name || name == long && node.ends_with("ñ…"), "{node}");
        }
    }

    #[test]
    fn a_name_that_nobody_has_is_said_with_what_to_try() {
        let stderr = Place::new().run(["dump", "nobody"]).failed(1);
        assert_eq!(
            stderr,
            "atomscope: there is no node nobody; `atomscope ps` lists what there is; what a dead node \
             has left in a file that it was told to use is found by the file's path alone\n"
        );
        let stderr = Place::new().run(["dump"]).failed(1);
        assert!(stderr.contains("there is no node to look at"), "{stderr}");
    }

    #[test]
    fn a_process_is_found_by_what_it_has_mapped_wherever_that_is() {
        let place = Place::new();
        let path = place.join("my region.shop");
        write(&path, &shop().bytes());
        let lock = Locked::new(path.clone());
        let _map = lock.map();
        let pid = std::process::id().to_string();
        let by_pid = || Ran::of(program(["dump", &format!("{pid}/Shop")]));
        assert_eq!(by_pid().json()["atomscope"]["pid"], std::process::id());
        fs::remove_file(&path).unwrap();
        assert_eq!(node_of(by_pid()), "shop");
        let listed = Ran::of(program(["ps"])).ok();
        assert!(words(&listed).iter().any(|line| line.first() == Some(&pid.as_str())), "{listed}");
    }
}

mod dumps {
    use super::*;

    #[test]
    fn a_dump_is_a_snapshot_of_atomr_telemetry_and_one_object_more() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let stdout = place.run(["dump"]).ok();
        let theirs: atomr_telemetry::dto::NodeSnapshot = serde_json::from_str(&stdout).unwrap();
        assert_eq!((theirs.node.as_str(), theirs.actors.total), ("shop", 3));
        assert_eq!(theirs.actors.flat[2].host.as_deref(), Some("node-a"));
        assert_eq!(theirs.actors.flat[0].spawned_at, "2020-09-13T12:27:10.000000000Z");
        assert_eq!(theirs.dead_letters[0].message_preview, "Order { secret: 1 }");
        // Field for field: what they would write of it is what we wrote, but for our own object.
        let mut ours: Value = serde_json::from_str(&stdout).unwrap();
        let about = ours.as_object_mut().unwrap().remove("atomscope").unwrap();
        assert_eq!(ours, serde_json::to_value(&theirs).unwrap());
        assert_eq!((&about["state"], &about["liveness"]), (&json!("live"), &json!("lock")));
        assert_eq!((&about["layout_version"], &about["redacted"]), (&json!("1.2"), &json!(false)));
        assert_eq!((&about["totals"]["live"], &about["drift"]), (&json!(3), &json!(0)));
        assert_eq!(about["dead_letters"], json!({"total": 1, "lapped": 0, "abandoned": 0, "unreadable": 0}));
        let spawned =
            about["metrics"].as_array().unwrap().iter().find(|m| m["name"] == "actors.spawned").unwrap();
        assert_eq!((&spawned["value"], &spawned["kind"]), (&json!(3), &json!("counter")));
    }

    #[test]
    fn ndjson_is_one_object_a_line_each_of_its_kind() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let stdout = place.run(["dump", "--format", "ndjson"]).ok();
        let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        assert_eq!((of("node"), of("actor"), of("dead_letter")), (1, 3, 1));
        assert_eq!(of("metric"), BUILTIN.len());
        assert_eq!(lines[0]["atomscope"]["state"], "live");
    }

    #[test]
    fn a_file_appears_whole_and_for_its_owner_alone() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let out = place.join("out.json");
        fs::write(&out, "before").unwrap();
        assert_eq!(place.run([OsStr::new("dump"), OsStr::new("-o"), out.as_os_str()]).ok(), "");
        let dumped: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        assert_eq!(dumped["node"], "shop");
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(place.files().len(), 2);
        assert_eq!(place.run(["dump", "-o", "-"]).json()["node"], "shop");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_and_leaves_nothing_behind() {
        let place = Place::new();
        let lock = shop().live(&place);
        let before = place.files();
        let region = lock.path.to_str().unwrap();
        let bytes = fs::read(region).unwrap();
        for (out, why) in [
            (place.path().to_str().unwrap(), "it is a directory"),
            ("/no/such/directory/x.json", "is its directory there?"),
            ("/proc/x.json", "cannot write to /proc/x.json"),
            ("/dev/full", "make room"),
            (region, "it is the region that is being read"),
        ] {
            let stderr = place.run(["dump", "-o", out]).failed(1);
            assert!(stderr.contains(why), "{out}: {stderr}");
            // It is of the file that was asked for, not of one that only this program knows.
            assert!(!stderr.contains(".part"), "{out}: {stderr}");
            assert_eq!(place.files(), before);
        }
        assert_eq!(fs::read(region).unwrap(), bytes);
    }

    #[test]
    fn a_dump_for_scripts_that_is_looked_at_is_told_from_a_raw_one() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let out = place.join("shop.json");
        place.run([OsStr::new("dump"), OsStr::new("-o"), out.as_os_str()]).ok();
        let stderr = place.run([OsStr::new("show"), out.as_os_str()]).failed(1);
        assert!(stderr.contains("it may be JSON") && stderr.contains("--format raw"), "{stderr}");
        let mut command = place.command(["show", "shop.json"]);
        command.current_dir(place.path());
        let stderr = Ran::of(command).failed(1);
        assert!(stderr.contains("there is no node shop.json; the file of that name"), "{stderr}");
        assert!(!place.run(["show", "nobody.json"]).failed(1).contains("the file of that name"));
    }

    #[test]
    fn running_out_of_room_half_way_leaves_what_was_there_before() {
        let place = Place::new();
        let _lock = many().live(&place);
        let out = place.join("out.json");
        fs::write(&out, "before").unwrap();
        let files = place.files();
        let mut shell = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_atomscope");
        shell.args(["-c", "ulimit -f 16; exec \"$0\" \"$@\"", binary, "dump", "-o"]).arg(&out);
        shell.env("ATOMSCOPE_DIR", place.path());
        let stderr = Ran::of(shell).failed(1);
        assert!(stderr.contains("cannot write to "), "{stderr}");
        assert_eq!((place.files(), fs::read_to_string(&out).unwrap()), (files, "before".into()));
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let place = Place::new();
        let _lock = many().live(&place);
        for args in [&["dump"][..], &["dump", "--format", "ndjson"], &["actors"], &["actors", "--json"]] {
            let mut child =
                place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{args:?}");
        }
    }

    #[test]
    fn a_full_stdout_is_a_failure_that_says_so() {
        let place = Place::new();
        let node = shop();
        node.stop_event(1, 1, "a");
        let _lock = node.live(&place);
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
            let output = place.command(args).stdout(full).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
            assert!(stderr.contains("cannot write to stdout: No space left on device"), "{stderr}");
        }
    }

    #[test]
    fn a_link_is_followed_and_stays_a_link() {
        let place = Place::new();
        let node = shop();
        node.stop_event(1, 1, "a");
        let _lock = node.live(&place);
        let (target, link) = (place.join("target.json"), place.join("link.json"));
        fs::write(&target, "").unwrap();
        symlink(&target, &link).unwrap();
        place.run([OsStr::new("dump"), OsStr::new("-o"), link.as_os_str()]).ok();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().contains("\"shop\""));
        assert!(place.run(["dump", "-o", "/dev/stdout"]).ok().contains("\"shop\""));
    }
}

mod redaction {
    use super::*;

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

    fn node() -> Node {
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
        let place = Place::new();
        let _lock = node().live(&place);
        for format in ["json", "ndjson"] {
            let plain = place.run(["dump", "--format", format]).ok();
            let redacted = place.run(["dump", "--format", format, "--redact"]).ok();
            for name in NAMES {
                assert!(plain.contains(name), "{name} is not even in the plain dump");
                assert!(!redacted.contains(name), "{name}: {redacted}");
            }
            assert!(
                redacted.contains("\"redacted\":true") && redacted.contains("actors.spawned"),
                "{redacted}"
            );
        }
    }

    #[test]
    fn the_tree_keeps_its_shape_and_equal_names_stay_equal() {
        let place = Place::new();
        let _lock = node().live(&place);
        let dump = place.run(["dump", "--redact"]).json();
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
        let place = Place::new();
        let _lock = node().live(&place);
        let node = |args: &[&str]| place.run([&["dump", "--redact"], args].concat()).json()["node"].clone();
        assert_ne!(node(&[]), node(&[]));
        assert_eq!(node(&["--redact-key", "k"]), node(&["--redact-key", "k"]));
        assert_ne!(node(&["--redact-key", "k"]), node(&["--redact-key", "l"]));
        let stderr = place.run(["dump", "--redact-key", "k"]).failed(2);
        assert!(stderr.contains("--redact"), "{stderr}");
    }
}

mod hostile {
    use super::*;

    const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\u{200b}\u{9b}31m\n\r\u{7f}";

    #[track_caller]
    fn is_harmless(text: &str) {
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
    }

    #[test]
    fn names_that_attack_the_terminal_are_written_out_everywhere() {
        let place = Place::new();
        let node = Node::new(EVIL);
        node.header().set_system(EVIL);
        node.actor(Actor {
            path: EVIL,
            actor_type: EVIL,
            host: Some(EVIL),
            spawned_text: Some(EVIL),
            ..Actor::default()
        });
        node.letter(EVIL, Some(EVIL), EVIL, EVIL);
        node.metric(33, EVIL, EVIL, EVIL);
        node.stop_event(1, 1, EVIL);
        let evil = place.join(EVIL.replace('\n', ""));
        write(&evil, &node.bytes());
        let locks = [node.live(&place), Node::new("other").live(&place)];
        for args in [
            &["ps"][..],
            &["ps", "--json"],
            &["actors", EVIL],
            &["actors", EVIL, "--json"],
            &["actors", EVIL, "--tree"],
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
            let ran = place.run(args);
            is_harmless(&ran.stdout);
            is_harmless(&ran.stderr);
            assert!(!(ran.stdout.is_empty() && ran.stderr.is_empty()));
        }
        // Safe to print, and still the same name.
        assert_eq!(place.run(["dump", EVIL]).json()["node"], EVIL);
        drop(locks);
    }

    #[test]
    fn empty_long_and_foreign_names_are_shown() {
        let place = Place::new();
        let node = Node::new("n");
        let long = "x".repeat(150);
        for path in ["", "/user/Größe 漢字 🦀", &long] {
            node.actor(Actor { path, actor_type: "T", ..Actor::default() });
        }
        let _lock = node.live(&place);
        let stdout = place.run(["actors"]).ok();
        assert!(stdout.contains("/user/Größe 漢字 🦀") && stdout.contains(&long), "{stdout}");
        assert_eq!(stdout.lines().count(), 4);
        assert_eq!(place.run(["actors", "--json"]).json()[0]["path"], "");
    }

    #[test]
    fn names_of_ten_kilobytes_are_looked_for_and_refused_in_a_sentence() {
        let place = Place::new();
        let long = "x".repeat(10_000);
        assert!(place.run(["dump", &long]).failed(1).contains("there is no node xxx"));
        assert!(place.run(["dump", &format!("/{long}")]).failed(1).contains("File name too long"));
        assert!(place.run(["dump", &"9".repeat(10_000)]).failed(1).contains("there is no process"));
    }

    #[test]
    fn arguments_that_are_no_text_work_or_fail_clearly() {
        let place = Place::new();
        let odd = OsString::from_vec(b"odd\xff.raw".to_vec());
        let path = place.join(&odd);
        write(&path, &shop().bytes());
        assert_eq!(place.run([OsStr::new("dump"), path.as_os_str()]).json()["node"], "shop");
        let out = place.join(OsString::from_vec(b"out\xfe".to_vec()));
        place.run([OsStr::new("dump"), path.as_os_str(), OsStr::new("-o"), out.as_os_str()]).ok();
        assert!(out.exists());
        let name = OsString::from_vec(b"no\xffde".to_vec());
        assert!(place.run([OsStr::new("dump"), &name]).failed(1).contains("there is no node no\\xffde"));
        assert!(place.run([OsStr::new("actors"), OsStr::new("--filter"), &name]).failed(2).contains("UTF-8"));
        assert!(place.run([&name]).failed(2).contains("Usage"));
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
            let place = Place::new();
            let node = shop();
            damage(&node);
            let path = node.dead(&place);
            let stderr = place.run(["dump"]).failed(1);
            assert!(stderr.contains(expected) && stderr.contains(path.to_str().unwrap()), "{stderr}");
            let word = if expected.starts_with("incompatible") { "incompatible" } else { "corrupt" };
            assert_eq!(state(&place).0, word);
        }
    }

    #[test]
    fn what_is_no_region_is_refused_with_the_reason() {
        let place = Place::new();
        let file = |name: &str, bytes: &[u8]| {
            write(&place.join(name), bytes);
            place.join(name)
        };
        let link = place.join("link.raw");
        symlink(file("target.raw", &shop().bytes()), &link).unwrap();
        let open = file("open.raw", &shop().bytes());
        fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
        let cut = file("cut.raw", &shop().bytes()[..5000]);
        for (path, why) in [
            (place.join("missing.raw"), "there is no such file"),
            (place.path().to_owned(), "it is a directory, not a regular file"),
            ("/dev/null".into(), "it is a device, not a regular file"),
            (link, "it is a symbolic link"),
            (open, "others than its owner may write it (mode 666)"),
            (cut, "truncated: 5000 bytes of"),
            (file("text.raw", b"Dear diary, nothing happened today."), "not an atomscope region"),
            (file("short.raw", b"x"), "not an atomscope region"),
            (file("empty.raw", b""), "its node is not ready"),
        ] {
            let stderr = place.run([OsStr::new("dump"), path.as_os_str()]).failed(1);
            assert!(stderr.contains(why) && stderr.starts_with("atomscope: cannot attach to "), "{stderr}");
        }
    }

    #[test]
    fn a_region_larger_than_allowed_is_refused() {
        let place = Place::new();
        let _lock = shop().live(&place);
        let stderr = place.run(["--max-size", "4K", "dump"]).failed(1);
        assert!(stderr.contains("more than the 4096 that are allowed; `--max-size` allows more"), "{stderr}");
        assert_eq!(place.run(["--max-size", "1G", "dump"]).json()["node"], "shop");
        place.run(["--max-size", "lots", "ps"]).failed(2);
    }

    #[test]
    fn an_unknown_pid_and_a_pid_without_a_region_are_told_apart() {
        let place = Place::new();
        let stderr = place.run(["dump", "4194305"]).failed(1);
        assert!(stderr.contains("there is no process 4194305, and no region that one has left"), "{stderr}");
        let pid = std::process::id();
        let stderr = place.run(["dump", &pid.to_string()]).failed(1);
        assert!(stderr.contains(&format!("process {pid} (")) && stderr.contains("has no region"), "{stderr}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_said() {
        let stderr = Place::new().run(["--dir", "/no/such", "ps"]).failed(1);
        assert!(stderr.contains("cannot look for regions in /no/such: No such file"), "{stderr}");
    }

    #[test]
    fn a_file_that_is_cut_while_it_is_mapped_makes_what_was_read_of_it_not_count() {
        atomscope::system::guard_mappings();
        let place = Place::new();
        let lock = shop().live(&place);
        let region = Region::open(&lock.path, None, MAX_BYTES).unwrap();
        assert_eq!(Snapshot::take(&region).unwrap().actors.len(), 3);
        lock.file.set_len(4096).unwrap();
        let error = Snapshot::take(&region).unwrap_err();
        assert!(matches!(error.why, AttachErrorKind::Shrunk), "{error}");
        drop(region);
        let error = Region::open(&lock.path, None, MAX_BYTES).unwrap_err();
        assert!(matches!(error.why, AttachErrorKind::Layout(OpenError::Truncated { .. })), "{error}");
    }

    #[test]
    fn a_bus_error_of_another_cause_still_ends_the_program() {
        use std::os::unix::process::ExitStatusExt as _;
        let place = Place::new();
        let _lock = many().live(&place);
        let mut child = place.command(["dump"]).stdout(Stdio::piped()).spawn().unwrap();
        // It has written as much as a pipe holds, and waits.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        // A fault comes again and again until it is dealt with. (The handler of Rust's own runtime, which is asked next,
        // steps aside and counts on that.)
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
        let place = Place::new();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let region = shop().dead(&place);
        let as_nobody = |args: &[&str]| {
            let mut command = place.command(args);
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
        // A `/proc` of its own, since that of the machine may hide processes (hidepid).
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg(
            "mount -t proc proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"",
        );
        command.arg("sh").arg(env!("CARGO_BIN_EXE_atomscope")).args(["dump", "1"]);
        let stderr = Ran::of(command).failed(1);
        assert!(stderr.contains("ptrace rights: run as user 0 or as root"), "{stderr}");
    }

    #[test]
    fn no_damage_to_a_region_makes_the_program_do_worse_than_say_so() {
        let node = shop();
        let bytes = node.bytes();
        // Xorshift: the same damages in every run.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for round in 0..2000 {
            let mut words: Vec<u64> =
                bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
            for _ in 0..1 + next() % 8 {
                let (at, value) = (next() as usize % words.len(), next());
                let extreme = [value, 0, u64::MAX, 1 << 63, (1 << 63) - 1, value >> 40, 1 << 62];
                // Mostly where it hurts: the header, the ring's head and first slot, the first counters.
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
                assert!(actors.entries.len() <= 128, "round {round}");
                let _ = (actors.into_snapshot(), reader.actor_totals());
                let look = Follower::from_first(&reader).last_look(&reader);
                assert!(look.events.len() <= 3 * 16, "round {round}");
            }
        }
    }
}

mod help {
    use super::*;

    #[test]
    fn the_version_tells_the_layout_too() {
        let stdout = program(["--version"]).output().unwrap().stdout;
        assert!(String::from_utf8(stdout).unwrap().contains("(reads layout 1.x, knows it up to 1.2)"));
    }

    #[test]
    fn help_teaches_who_and_the_exit_codes() {
        let stdout = Ran::of(program(["--help"])).ok();
        assert!(stdout.contains("WHO:") && stdout.contains("Exit codes: 0 done, 1 failed"), "{stdout}");
    }

    #[test]
    fn a_wrong_command_line_is_exit_code_two() {
        for args in [&["nonsense"][..], &[], &["dump", "--format", "prom2"], &["actors", "--limit", "-1"]] {
            assert!(!Place::new().run(args).failed(2).is_empty());
        }
    }
}
