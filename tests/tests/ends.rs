//! Every way to end, with a real process, and what a reader then says.
#![allow(unsafe_code, reason = "exits without a word, and memory that a killed process leaves behind")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use atomscope_probe::Region;
use atomscope_tests::support::dumps::{about, dump_of};
use atomscope_tests::support::{self, Node, wait_until};
use serde_json::{Value, json};

/// A demo node of this name, which has ended in this way.
fn ended(node: &str, arguments: &[&str]) -> (Node, ExitStatus) {
    let fixed = ["--shop-alone", "--seconds", "0", "--node", node];
    let mut node = Node::demo(fixed.iter().chain(arguments));
    let status = node.wait();
    (node, status)
}

/// Waits until the demo node is at work, and so has its own handlers of signals.
fn wait_until_at_work(node: &Node) {
    wait_until("there are dead letters", || about(node.region())["dead_letters"]["total"].as_u64() > Some(3));
}

fn row(pid: u32) -> Option<Value> {
    support::listed(pid).pop()
}

/// Checks the state, and that `why` begins with these words, in all that `ps`, `show` and `dump` say.
fn assert_told(node: &Node, state: &str, why: &str) -> Value {
    let row = row(node.pid()).expect("it is listed");
    assert_eq!(row["state"], state, "{row}");
    let begins = |text: &Value| text.as_str().is_some_and(|text| text.starts_with(why));
    assert!(begins(&row["why"]), "{row}");
    let about = about(node.region());
    assert!(about["state"] == state && begins(&about["why"]), "{} {}", about["state"], about["why"]);
    assert_eq!(about["end"], row["end"]);
    let shown =
        String::from_utf8(support::atomscope(["show", node.region().to_str().unwrap()]).stdout).unwrap();
    assert!(shown.lines().next().unwrap().contains(&format!("{state}: {why}")), "{shown}");
    let findings = String::from_utf8(support::atomscope(["doctor", node.region().to_str().unwrap()]).stdout);
    let findings = findings.unwrap();
    assert!(findings.contains(&format!("the node has {state}: {why}")), "{findings}");
    row["end"].clone()
}

#[test]
fn a_node_that_ends_with_code_0_leaves_nothing_however_it_does_that() {
    for how in ["return", "exit0", "panic-handler"] {
        let (node, status) = ended("ends-well", &["--end", how, "--note-signals"]);
        assert!(status.success(), "{how}: {status}");
        assert_eq!((row(node.pid()), node.region().exists()), (None, false), "{how}");
    }
}

#[test]
fn another_exit_code_keeps_the_region_and_is_told() {
    for (how, code) in [("error", 1), ("exit3", 3)] {
        let (node, status) = ended("ends-code", &["--end", how]);
        assert_eq!(status.code(), Some(code));
        let end = assert_told(&node, "failed", &format!("ended with exit code {code}"));
        assert_eq!(
            (&end["kind"], &end["code"], &end["closed_in_panic"]),
            (&json!("exit"), &json!(code), &json!(false))
        );
        let ps = String::from_utf8(support::atomscope(["ps"]).stdout).unwrap();
        assert!(ps.contains(&format!("ended with exit code {code}, ")), "{ps}");
        assert!(!dump_of(node.region())["actors"]["flat"].is_null());
    }
}

#[test]
fn a_panic_that_leaves_main_keeps_the_region_and_is_told() {
    let (node, status) = ended("ends-panic", &["--end", "panic-main"]);
    assert_eq!(status.code(), Some(101));
    assert_told(&node, "failed", "ended with exit code 101");
}

#[test]
fn a_region_that_a_panic_closes_stays_even_if_the_process_ends_with_code_0() {
    const NAME: &str = "a_region_that_a_panic_closes_stays_even_if_the_process_ends_with_code_0";
    if support::role().is_some() {
        let panics = |region: Region| {
            let _region = region;
            panic!("no more flour");
        };
        let region = Region::builder("ends-panicked").build().unwrap();
        say_ready(&region);
        let thread = std::thread::Builder::new().name("baker".into());
        assert!(thread.spawn(move || panics(region)).unwrap().join().is_err());
        return;
    }
    let mut node = Node::start(&mut support::again(NAME, "node"));
    assert!(node.wait().success());
    let end = assert_told(&node, "failed", "ended with exit code 0 after a panic in thread baker");
    assert_eq!((&end["closed_in_panic"], &end["thread"]), (&json!(true), &json!("baker")));
}

#[test]
fn a_signal_that_ends_the_process_is_told_with_its_thread_if_the_probe_may_note_signals() {
    let ways = [
        ("abort", libc::SIGABRT, "ended by SIGABRT in thread shop-worker"),
        ("term", libc::SIGTERM, "ended by SIGTERM in thread shop-worker"),
        ("segv", libc::SIGSEGV, "ended by SIGSEGV at address 0x10 in thread shop-worker"),
    ];
    for (how, signal, told) in ways {
        let (node, status) = ended("ends-signal", &["--end", how, "--note-signals"]);
        assert_eq!(status.signal(), Some(signal), "the signal does what it does without the probe");
        let end = assert_told(&node, "crashed", told);
        assert_eq!((&end["kind"], &end["thread"]), (&json!("signal"), &json!("shop-worker")));
        let (node, status) = ended("ends-signal", &["--end", how]);
        assert_eq!(status.signal(), Some(signal));
        assert_told(&node, "crashed", "no last words: killed by a signal, out of memory, or `_exit`");
    }
}

#[test]
fn a_process_that_is_killed_has_no_last_words() {
    let (node, status) = ended("ends-killed", &["--end", "kill", "--note-signals"]);
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    let end = assert_told(&node, "crashed", "no last words: killed by a signal, out of memory, or `_exit`");
    assert_eq!(end, Value::Null);
}

#[test]
fn a_process_without_memory_in_its_control_group_has_no_last_words() {
    const NAME: &str = "a_process_without_memory_in_its_control_group_has_no_last_words";
    if support::role().is_some() {
        let region = Region::builder("ends-memory").actors(1).note_signals(true).build().unwrap();
        say_ready(&region);
        let mut all = Vec::new();
        loop {
            all.push(vec![1u8; 1 << 20]);
        }
    }
    let Some(group) = support::small_control_group() else {
        eprintln!("skipped: this user may not make memory control groups");
        return;
    };
    let wrapper = format!(r#"echo $$ > {}/cgroup.procs && exec "$@""#, group.display());
    let child = support::again(NAME, "node");
    let mut command = Command::new("sh");
    command.args(["-c", &wrapper, "sh"]).arg(child.get_program()).args(child.get_args());
    let mut node = Node::start(command.env("ATOMSCOPE_TEST_CHILD", "node"));
    assert_eq!(node.wait().signal(), Some(libc::SIGKILL));
    assert_told(&node, "crashed", "no last words: killed by a signal, out of memory, or `_exit`");
    drop(node);
    let _ = std::fs::remove_dir(&group);
}

#[test]
fn who_sent_a_signal_is_told() {
    let mut node = Node::demo(["--shop-alone", "--node", "ends-sent", "--note-signals", "--end", "term"]);
    node.signal("TERM");
    assert_eq!(node.wait().signal(), Some(libc::SIGTERM));
    assert_told(&node, "crashed", "ended by SIGTERM from process ");
}

#[test]
fn an_application_that_handles_a_signal_ends_in_its_own_way() {
    // The demo node handles SIGTERM, after the probe has put its handler there.
    let mut node = Node::demo(["--shop-alone", "--node", "ends-handled", "--note-signals", "--end", "exit3"]);
    wait_until_at_work(&node);
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(3));
    assert_told(&node, "failed", "ended with exit code 3");
}

fn say_ready(region: &Region) {
    println!("ready region={}", region.path().expect("a shared region").display());
}

/// Handles this signal in a way that the process survives.
fn survive(signal: libc::c_int) {
    extern "C" fn survives(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = survives;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(signal, handler as usize) };
}

#[test]
fn signals_are_noted_while_regions_are_made_and_dropped() {
    const NAME: &str = "signals_are_noted_while_regions_are_made_and_dropped";
    const MAKERS: usize = 4;
    const ROUNDS: usize = 250;
    const SIGNALLERS: usize = 4;
    if support::role().is_some() {
        survive(libc::SIGFPE);
        let region = Region::builder("ends-first").actors(1).events(1).note_signals(true).build().unwrap();
        let (made, signals) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..MAKERS {
                let made = &made;
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let builder = Region::builder(format!("ends-storm-{number}"));
                        drop(builder.actors(1).events(1).build().unwrap());
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..SIGNALLERS {
                scope.spawn(|| {
                    while made.load(Ordering::Relaxed) < MAKERS * ROUNDS {
                        // SAFETY: the signal is valid and handled.
                        unsafe { libc::raise(libc::SIGFPE) };
                        signals.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(signals.into_inner() > 0);
        return drop(region);
    }
    let output = support::again(NAME, "node").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_signal_that_the_process_survives_is_not_told_as_its_end() {
    const NAME: &str = "a_signal_that_the_process_survives_is_not_told_as_its_end";
    if support::role().is_some() {
        survive(libc::SIGFPE);
        let region = Region::builder("ends-survived").note_signals(true).build().unwrap();
        // SAFETY: the signal is valid and handled.
        unsafe { libc::raise(libc::SIGFPE) };
        say_ready(&region);
        return std::thread::sleep(support::PATIENCE);
    }
    let mut node = Node::start(&mut support::again(NAME, "node"));
    wait_until("it is listed", || row(node.pid()).is_some_and(|row| row["end"].is_null()));
    node.kill();
    assert_told(&node, "crashed", "no last words");
}

#[test]
fn an_exit_without_a_word_is_a_crash() {
    const NAME: &str = "an_exit_without_a_word_is_a_crash";
    if support::role().is_some() {
        let region = Region::builder("ends-silent").build().unwrap();
        say_ready(&region);
        // SAFETY: the process ends here.
        unsafe { libc::_exit(0) };
    }
    let mut node = Node::start(&mut support::again(NAME, "node"));
    assert!(node.wait().success());
    assert_told(&node, "crashed", "no last words");
}

#[test]
fn after_the_last_drop_a_region_is_closed_until_the_process_ends_and_then_gone() {
    const NAME: &str = "after_the_last_drop_a_region_is_closed_until_the_process_ends_and_then_gone";
    if let Some(code) = support::role() {
        let region = Region::builder("ends-waits").actors(1).build().unwrap();
        say_ready(&region);
        drop(region);
        println!("dropped");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        std::process::exit(code.parse().unwrap());
    }
    for code in [0, 7] {
        let mut command = support::again(NAME, &code.to_string());
        let mut node = Node::start_with(&mut command, Stdio::piped());
        node.line_with("dropped");
        let shown = row(node.pid()).unwrap();
        assert_eq!((&shown["state"], &shown["why"]), (&json!("closed"), &json!("its process still runs")));
        let pruned = support::atomscope_json(["prune", "--json", "--node", "ends-waits"]);
        assert_eq!(pruned, json!([]), "its process removes it");
        node.close_input();
        assert_eq!(node.wait().code(), Some(code));
        match code {
            0 => assert!(!node.region().exists()),
            _ => drop(assert_told(&node, "failed", "ended with exit code 7")),
        }
    }
}

#[test]
fn at_most_four_names_wait_and_a_successor_in_the_process_takes_the_place_of_its_predecessor() {
    const NAME: &str =
        "at_most_four_names_wait_and_a_successor_in_the_process_takes_the_place_of_its_predecessor";
    if support::role().is_some() {
        let make = |number: usize| {
            let region = Region::builder(format!("ends-many-{number}")).actors(1).events(1).build().unwrap();
            region.path().unwrap().to_owned()
        };
        let paths: Vec<_> = (0..6).map(make).collect();
        let exist = |paths: &[std::path::PathBuf]| paths.iter().map(|path| path.exists()).collect::<Vec<_>>();
        assert_eq!(exist(&paths), [false, false, true, true, true, true]);
        let again = make(5);
        assert_eq!(exist(&paths), [false, false, true, true, true, false]);
        assert!(again.exists());
        return;
    }
    let output = support::again(NAME, "node").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The crashes before a node by its region, and which crash it is.
fn history(node: &Node) -> (Value, Option<String>) {
    let about = about(node.region());
    let which = about["why"].as_str().and_then(|why| why.split("; ").find(|part| part.contains(" crash")));
    (about["crashes_before"]["crashes"].clone(), which.map(str::to_owned))
}

#[test]
fn of_a_series_of_crashes_the_first_and_the_newest_stay_until_a_node_ends_well() {
    let crash = |how| ended("ends-loop", &["--end", how]).0;
    let ends = ["exit3", "kill", "abort", "exit3"].map(crash);
    let stay = |nodes: &[Node]| nodes.iter().map(|node| node.region().exists()).collect::<Vec<_>>();
    // The third one goes when the next node starts.
    let live = Node::demo(["--shop-alone", "--node", "ends-loop"]);
    assert_eq!(stay(&ends), [true, false, false, true]);
    assert_eq!(history(&ends[0]), (Value::Null, None));
    let (before, which) = history(&ends[3]);
    assert!(before == 3 && which.as_ref().unwrap().starts_with("4th crash in "), "{which:?}");
    assert_eq!(history(&live).0, 4);
    let shown = row(live.pid()).unwrap();
    assert!(shown["why"].as_str().unwrap().starts_with("4 crashes in "), "{shown}");
    let mut live = live;
    wait_until_at_work(&live);
    live.signal("TERM");
    assert!(live.wait().success());
    // A new series begins, and the old one gives way to it.
    let first = crash("exit3");
    assert_eq!(history(&first), (Value::Null, None));
    let second = crash("exit3");
    assert_eq!(history(&second).1.unwrap().split(" in ").next(), Some("2nd crash"));
    let _live = Node::demo(["--shop-alone", "--node", "ends-loop"]);
    assert_eq!((stay(&ends), stay(&[first, second])), (vec![false; 4], vec![true, true]));
}

#[test]
fn the_file_that_a_user_chose_has_the_history_of_the_one_that_it_replaces() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("node.region");
    let file = file.to_str().unwrap();
    let run = |how| {
        let mut command = Command::new(support::program("demo-node"));
        command.args([
            "--shop-alone",
            "--seconds",
            "0",
            "--node",
            "ends-file",
            "--region",
            file,
            "--end",
            how,
        ]);
        command.stdout(Stdio::null()).status().unwrap();
        about(Path::new(file))
    };
    assert_eq!(run("kill")["crashes_before"], Value::Null);
    let second = run("exit3");
    assert_eq!((&second["state"], &second["crashes_before"]["crashes"]), (&json!("failed"), &json!(1)));
    let well = run("return");
    assert_eq!((&well["state"], &well["crashes_before"]["crashes"]), (&json!("closed"), &json!(2)));
    assert_eq!((&well["why"], &well["end"]["code"]), (&Value::Null, &json!(0)));
    assert_eq!(run("kill")["crashes_before"], Value::Null, "a good end ends the series");
}

#[test]
fn tail_waits_for_the_exit_code_and_follows_the_next_node() {
    let node = Node::demo(["--shop-alone", "--node", "ends-tail", "--end", "exit3"]);
    let mut tail = Command::new(support::program("atomscope"))
        .args(["tail", "ends-tail", "--retry", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(tail.stdout.take().unwrap()));
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["node"], "ends-tail");
    let mut node = node;
    wait_until_at_work(&node);
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(3));
    let mut line = next();
    while line["kind"] != "ended" {
        line = next();
    }
    assert_eq!((&line["state"], &line["why"]), (&json!("failed"), &json!("ended with exit code 3")));
    let successor = Node::demo(["--shop-alone", "--node", "ends-tail"]);
    let line = next();
    tail.kill().unwrap();
    tail.wait().unwrap();
    assert_eq!(line["pid"], successor.pid());
}
