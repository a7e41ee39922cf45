//! `atomscope top` on a real terminal, on real nodes, driven by keys.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use atomscope_probe::Region;
use atomscope_tests::support::{self, Node, atomscope, atomscope_json, program, wait_until};
use atomscope_tests::terminal::Terminal;

const SIZE: [u16; 2] = [150, 40];
const ESCAPE: &str = "\x1b";
const ENTER: &str = "\r";
const DOWN: &str = "\x1b[B";
const CONTROL_U: &str = "\x15";

fn top<const N: usize>(arguments: [&str; N]) -> Terminal {
    Terminal::start(&program("atomscope"), [&["top"], &arguments[..]].concat(), &[], SIZE)
}

atomscope_probe::record! {
    /// How far an import is.
    struct Import { file: Text<16>, rows: u64 "rows", pending: u32 "rows" }

    /// A zone of a store.
    struct Zone { celsius: f64 "Cel" }
}

/// Publishes records until it is killed.
fn import() -> ! {
    let region = Region::builder("top-records").actors(64).build().unwrap();
    let mut zone = region.record::<Zone>("cold").unwrap();
    zone.publish(&Zone { celsius: -18.0 });
    let mut import = region.record::<Import>("first").unwrap();
    println!("ready region={}", region.path().unwrap().display());
    for rows in 0.. {
        import.publish(&Import {
            file: "first.csv".into(),
            rows,
            pending: u32::from(rows.is_multiple_of(2)),
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    unreachable!("the import has no end")
}

#[test]
fn records_are_listed_by_kind_with_rates_and_after_a_death_as_they_were() {
    if support::role().is_some() {
        import();
    }
    let name = "records_are_listed_by_kind_with_rates_and_after_a_death_as_they_were";
    let mut node = Node::start(&mut support::again(name, "import"));
    let terminal = top([&node.who(), "--interval", "100ms", "--view", "records"]);
    let text = terminal.wait_for("A zone of a store.");
    assert!(text.contains("How far an import is."), "{text}");
    terminal.press("/Import");
    terminal.press(ENTER);
    terminal.press(ENTER);
    let text = terminal.wait_for("ROWS(rows/s)");
    assert!(text.contains("first.csv") && !text.contains("PENDING(rows/s)"), "{text}");
    terminal.press("/pending > 1");
    terminal.wait_for("None of 1 rows matches the filter");
    terminal.press(ESCAPE);
    terminal.wait_for("first.csv");
    terminal.press(ENTER);
    terminal.wait_for("rows(rows/s)");
    terminal.press(ESCAPE);
    node.kill();
    terminal.wait_until("its last state is shown", |screen| {
        screen.contains("crashed") && screen.contains("first.csv") && !screen.contains("ROWS(rows/s)")
    });
    terminal.press(ESCAPE);
    terminal.wait_for("A zone of a store.");
}

/// `top` below a shell that prints the exit status and the terminal's settings afterwards.
fn top_in_shell(who: &str, environment: &[(&str, &str)]) -> Terminal {
    let script = "\"$0\" top \"$1\"; echo ended=$?; stty -a; exec sleep 0.1";
    let program = program("atomscope");
    let program = program.to_str().expect("a path that is UTF-8");
    Terminal::start(Path::new("/bin/sh"), ["-c", script, program, who], environment, SIZE)
}

/// Process id of the program below a shell.
fn child_of(shell: &Terminal) -> String {
    let path = format!("/proc/{0}/task/{0}/children", shell.pid());
    std::fs::read_to_string(path).expect("the shell's children").trim().to_owned()
}

#[test]
fn a_live_node_is_seen_in_every_view_and_whatever_size_the_terminal_is_given() {
    let node = Node::demo(["--node", "top-views"]);
    let terminal = top([&node.who()]);
    terminal.wait_for("● top-views live");
    terminal.wait_for("Subsystems and process");
    for (key, seen) in [
        ("2", "akka://shop/user/orders"),
        ("3", "RECIPIENT"),
        ("4", "following"),
        ("5", "akka.tcp://shop@a:2552"),
        ("6", "carts-1"),
        ("7", "accounts"),
        ("8", "ASSOCIATION"),
        ("9", "prices"),
        ("0", "visits"),
        ("L", "leader"),
        ("R", "WORKER"),
        ("M", "actors.spawned"),
        ("B", "publishes no records of its own"),
        ("T", "atomscope-poll"),
        ("S", "histograms"),
        ("N", "top-views"),
        ("1", "Actors by class"),
    ] {
        terminal.press(key);
        terminal.wait_for(seen);
    }
    for size in [[60, 20], [10, 3], [1, 1], [200, 50], [80, 24]] {
        terminal.resize(size);
        terminal.press("2");
        if size[0] >= 60 {
            terminal.wait_for("PATH");
        }
        terminal.press("1");
    }
    terminal.wait_for("runtime busy");
    terminal.press("?");
    terminal.wait_for("one row up");
    terminal.press(ESCAPE);
    terminal.wait_for("Health");
}

#[test]
fn actors_are_folded_filtered_sorted_and_looked_at() {
    let node = Node::demo(["--node", "top-actors", "--shop-alone"]);
    let terminal = top([&node.who(), "--view", "actors"]);
    terminal.wait_for("▾ akka://shop/user/orders");
    terminal.press("*");
    terminal.wait_until("all rows are folded", |screen| {
        screen.contains("▸ akka://shop/user/orders") && !screen.contains('▾')
    });
    terminal.press("*");
    terminal.press("/class ~ Desk");
    terminal.wait_until("only the desk is listed", |screen| {
        screen.contains("OrderDesk") && !screen.contains("Warehouse")
    });
    terminal.press(ENTER);
    terminal.press(ENTER);
    let text = terminal.wait_for("mailbox depth (msgs)");
    assert!(text.contains("akka://shop/user/orders"), "{text}");
    terminal.press(ESCAPE);
    terminal.wait_until("the detail is closed", |screen| !screen.contains("mailbox depth"));
    terminal.press(ESCAPE);
    terminal.wait_for("Warehouse");
    terminal.press("/size > 3");
    terminal.wait_for("there is no field size");
    terminal.press(ESCAPE);
    terminal.press("t");
    // The last columns are the age and the host.
    terminal.press("<<<");
    terminal.wait_for("BELOW(actors)▼");
    terminal.press("t");
    terminal.wait_for("GROWN(/s)");
}

#[test]
fn the_past_the_frozen_and_what_is_saved_are_what_they_say() {
    let node = Node::demo(["--node", "top-past"]);
    let terminal = top([&node.who(), "--interval", "100ms"]);
    // Some ticks later.
    terminal.press("S");
    terminal.wait_until("there is some history", |screen| {
        let kept =
            screen.split_once("The past is kept in memory: ").and_then(|(_, rest)| rest.split(' ').next());
        kept.and_then(|kept| kept.parse::<u64>().ok()).is_some_and(|kept| kept > 5)
    });
    terminal.press("[[");
    terminal.wait_for(" PAST ");
    let folder = tempfile::tempdir().expect("a folder");
    let past = folder.path().join("past.json");
    terminal.press("w");
    terminal.press(CONTROL_U);
    terminal.press(past.to_str().expect("UTF-8"));
    terminal.press(ENTER);
    terminal.wait_for("written to");
    let dump: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&past).expect("it is there")).expect("JSON");
    assert_eq!(dump["node"], "top-past");
    assert!(dump["actors"]["total"].as_u64().is_some_and(|actors| actors > 0));
    terminal.press("}");
    terminal.wait_until("it is now", |screen| !screen.contains(" PAST "));
    terminal.press("p");
    terminal.wait_for(" FROZEN ");
    terminal.press("p");
    let now = folder.path().join("now.raw");
    terminal.press("w");
    terminal.press(CONTROL_U);
    terminal.press(now.to_str().expect("UTF-8"));
    terminal.press(ENTER);
    terminal.wait_for("written to");
    let shown = atomscope_json(["show", now.to_str().expect("UTF-8"), "--json"]);
    assert_eq!((&shown["node"], &shown["state"]), (&"top-past".into(), &"live".into()));
    // No file is overwritten.
    terminal.press("w");
    terminal.press(CONTROL_U);
    terminal.press(now.to_str().expect("UTF-8"));
    terminal.press(ENTER);
    terminal.wait_for("exists already");
    let dump = top([now.to_str().expect("UTF-8"), "--view", "persistence"]);
    dump.wait_for("dump of a live node");
    dump.wait_for("accounts");
}

#[test]
fn a_node_that_is_stopped_killed_and_started_again_is_told_apart() {
    let mut node = Node::demo(["--node", "top-life"]);
    let terminal = top(["top-life", "--view", "actors", "--interval", "250ms"]);
    terminal.wait_for("● top-life live");
    terminal.wait_for("akka://shop/user");
    node.signal("STOP");
    terminal.wait_for(": its process is stopped");
    node.signal("CONT");
    terminal.wait_for("● top-life live");
    node.kill();
    let text = terminal.wait_for("● top-life crashed");
    assert!(text.contains("last state") && text.contains("akka://shop/user"), "{text}");
    let next = Node::demo(["--node", "top-life"]);
    terminal.wait_for(&format!("s goes to its successor, pid {}", next.pid()));
    terminal.press("s");
    terminal.wait_for(&format!("pid {}", next.pid()));
    terminal.wait_for("● top-life live");
    // And back, to the last minutes of the dead node.
    terminal.press("s");
    terminal.wait_for("● top-life crashed");
    terminal.press("[");
    terminal.wait_for("PAST");
    terminal.press("}s");
    terminal.wait_for(&format!("pid {}", next.pid()));
    terminal.wait_for("● top-life live");
    // A node that closes its region has not crashed.
    next.signal("TERM");
    terminal.wait_for("● top-life closed");
}

#[test]
fn of_several_nodes_there_is_a_list_to_choose_from() {
    // The probe refuses a file on a disk by default, so the regions are in /dev/shm.
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let region = |name: &str| folder.path().join(format!("atomscope-0-{name}-0123456789abcdef"));
    let [one, two] = ["1", "2"].map(|number| {
        let path = region(number);
        let node = format!("top-list-{number}");
        Node::demo(["--node", &node, "--shop-alone", "--region", path.to_str().expect("UTF-8")])
    });
    let terminal = top(["--dir", folder.path().to_str().expect("UTF-8")]);
    let text = terminal.wait_for("top-list-2");
    assert!(text.contains("choose a node") && text.contains("top-list-1"), "{text}");
    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.wait_for("● top-list-2 live");
    terminal.wait_for(&format!("pid {}", two.pid()));
    terminal.press(ESCAPE);
    terminal.wait_for("top-list-1");
    terminal.press("g");
    terminal.press(ENTER);
    terminal.wait_for(&format!("pid {}", one.pid()));
    let list = top(["top-list-1", "--dir", folder.path().to_str().expect("UTF-8"), "--view", "nodes"]);
    list.wait_for("top-list-2");
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let node = Node::demo(["--node", "top-ends", "--shop-alone"]);
    for how in ["q", "\x03", "TERM", "HUP", "INT", "panic"] {
        // Only a build with debug assertions has the key that panics.
        if how == "panic" && !cfg!(debug_assertions) {
            continue;
        }
        let environment: &[_] = if how == "panic" { &[("ATOMSCOPE_TEST_PANIC", "1")] } else { &[] };
        let mut shell = top_in_shell(&node.who(), environment);
        if how != "panic" {
            shell.wait_for("● top-ends live");
            assert!(shell.is_taken() && shell.hides_cursor());
            match how {
                "q" | "\x03" => shell.press(how),
                signal => {
                    let sent = Command::new("kill").args(["-s", signal, &child_of(&shell)]).status();
                    assert!(sent.expect("kill can be run").success());
                }
            }
        }
        shell.wait();
        let text = shell.text();
        let code = if how == "panic" { 101 } else { 0 };
        assert!(text.contains(&format!("ended={code}")), "{how:?}: {text}");
        assert!(
            text.contains(" icanon") && text.contains(" echo ") && !text.contains("-icanon"),
            "{how:?}: {text}"
        );
        assert!(!shell.is_taken() && !shell.hides_cursor(), "{how:?}: {text}");
        assert_eq!(text.contains("a panic was asked for"), how == "panic", "{text}");
    }
}

#[test]
fn it_can_be_suspended_and_goes_on_where_it_was() {
    let node = Node::demo(["--node", "top-rests", "--shop-alone"]);
    let script = "set -m; \"$0\" top \"$1\"; echo stopped=$?; fg >/dev/null; echo ended=$?; exec sleep 0.1";
    let atomscope = program("atomscope");
    let program = atomscope.to_str().expect("a path that is UTF-8");
    let arguments = ["-c", script, program, &node.who()];
    let mut shell = Terminal::start(Path::new("/bin/sh"), arguments, &[], SIZE);
    shell.wait_for("● top-rests live");
    shell.press("2");
    shell.wait_for("akka://shop/user");
    // This key redraws everything.
    let before = shell.written().len();
    shell.press("\x0c");
    let is_whole = |written: &[u8]| String::from_utf8_lossy(written).contains("BELOW(actors)");
    wait_until("the screen is redrawn", || is_whole(&shell.written()[before..]));
    let before = shell.written().len();
    shell.press("\x1a");
    wait_until("the shell has the terminal", || {
        String::from_utf8_lossy(&shell.written()[before..]).contains("stopped=")
    });
    shell.wait_for("● top-rests live");
    shell.wait_for("akka://shop/user");
    assert!(shell.is_taken());
    shell.press("q");
    shell.wait();
    assert!(shell.text().contains("ended=0"), "{}", shell.text());
    // The program never asks for the cursor position: nothing answers, and an answer would look like keys.
    assert!(!String::from_utf8_lossy(&shell.written()).contains("\x1b[6n"));
}

/// A raw dump of a node.
fn dump_of(node: &Node, folder: &Path) -> String {
    let file = folder.join("node.raw").to_str().expect("UTF-8").to_owned();
    let dumped = atomscope(["dump", &node.who(), "--format", "raw", "-o", &file]);
    assert!(dumped.status.success(), "{dumped:?}");
    file
}

/// `top` below a shell that runs `first`. Nobody reads the terminal unless the caller does.
fn top_unread(first: &str, who: &str) -> (pty_process::blocking::Pty, Child) {
    let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
    pty.resize(pty_process::Size::new(24, 80)).expect("it can be resized");
    let script = format!("{first}\nexec \"$0\" top \"$1\"");
    let atomscope = program("atomscope");
    let program = atomscope.to_str().expect("a path that is UTF-8");
    let command = pty_process::blocking::Command::new("/bin/sh").args(["-c", &script, program, who]);
    (pty, command.env("TERM", "xterm").spawn(pts).expect("it can be started"))
}

/// Waits for its end and returns the exit status.
#[track_caller]
fn end_of(child: &mut Child) -> ExitStatus {
    let mut ended = None;
    wait_until("it ends", || {
        ended = child.try_wait().expect("it can be waited for");
        ended.is_some()
    });
    ended.expect("it has ended")
}

/// Regression: `top` ended with SIGABRT. On a dump, which causes no redraw, it never ended without a signal from the
/// terminal.
#[test]
fn a_terminal_that_is_closed_ends_it_in_good_order_with_a_signal_and_without() {
    let node = Node::demo(["--node", "top-gone", "--shop-alone"]);
    let folder = tempfile::tempdir().expect("a folder");
    let dump = dump_of(&node, folder.path());
    for who in [&node.who(), &dump] {
        for first in [":", "trap '' HUP"] {
            let (mut pty, mut child) = top_unread(first, who);
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains("top-gone") {
                let mut bytes = [0; 4096];
                let read = pty.read(&mut bytes).expect("it writes");
                seen.extend_from_slice(&bytes[..read]);
            }
            drop(pty);
            let status = end_of(&mut child);
            assert_eq!(status.code(), Some(0), "{who} after {first:?}: {status:?}");
        }
    }
}

/// Regression: only a second signal ended the program, by killing it.
#[test]
fn one_signal_ends_it_in_good_order_on_a_terminal_that_nobody_reads() {
    let node = Node::demo(["--node", "top-unread", "--shop-alone"]);
    for signal in ["TERM", "HUP"] {
        // Another process has filled the terminal, and refills it whenever there is space.
        let (pty, mut child) = top_unread("cat /dev/zero &", &node.who());
        let (file, call) = (format!("/proc/{}/syscall", child.id()), format!("{} ", libc::SYS_write));
        wait_until("it waits for the terminal", || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with(&call))
                && std::fs::read_to_string(format!("/proc/{}/comm", child.id()))
                    .is_ok_and(|name| name.trim() == "atomscope")
        });
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill can be run").success());
        let status = end_of(&mut child);
        assert_eq!(status.code(), Some(0), "{signal}: {status:?}");
        drop(pty);
    }
}

#[test]
fn without_colours_none_is_written() {
    let node = Node::demo(["--node", "top-plain", "--shop-alone"]);
    let is_coloured = |environment: &[(&str, &str)]| {
        let arguments = ["top", &node.who(), "--view", "events"];
        let mut terminal = Terminal::start(&program("atomscope"), arguments, environment, SIZE);
        terminal.wait_for("following");
        terminal.wait_for("spawned");
        terminal.press("q");
        terminal.wait();
        let written = String::from_utf8_lossy(&terminal.written()).into_owned();
        ["38;5;", "\x1b[31m", "\x1b[32m"].iter().any(|colour| written.contains(colour))
    };
    assert!(is_coloured(&[]));
    assert!(!is_coloured(&[("NO_COLOR", "1")]), "colours are written");
}

#[test]
fn without_utf_8_it_is_drawn_in_ascii() {
    let node = Node::demo(["--node", "top-ascii", "--shop-alone"]);
    for (more, environment) in [(None, ("LC_ALL", "C")), (Some("--ascii"), ("LC_ALL", "C.UTF-8"))] {
        let arguments = ["top".to_owned(), node.who()].into_iter().chain(more.map(str::to_owned));
        let mut terminal = Terminal::start(&program("atomscope"), arguments, &[environment], SIZE);
        terminal.wait_for("* top-ascii live");
        terminal.press("2");
        terminal.wait_for("- akka://shop/user/orders");
        terminal.press("q");
        assert_eq!(terminal.wait().code(), Some(0));
        assert!(terminal.written().is_ascii(), "{}", terminal.text());
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let node = Node::demo(["--node", "top-pipe", "--shop-alone"]);
    let output = atomscope(["top", &node.who()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{error}");
    assert!(error.contains("stdout is not a terminal") && error.contains("atomscope show"), "{error}");
    assert_eq!(atomscope(["top", "there-is-no-such-node"]).status.code(), Some(1));
    assert_eq!(atomscope(["top", "--interval", "often"]).status.code(), Some(2));
}
