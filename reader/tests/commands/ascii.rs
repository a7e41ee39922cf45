//! Without a UTF-8 locale, output for people is ASCII only.

use crate::fixture::{Actor, Node, Ran, RegionDir};

/// A node that makes the program draw every sign, with a name that is not ASCII.
fn node() -> Node {
    let node = Node::roomy("zo\u{eb}");
    node.fill();
    for path in ["akka://S/user", "akka://S/user/\u{e9}a", "akka://S/user/b"] {
        let parent = (path.len() > 13).then_some("akka://S/user");
        node.actor(Actor { path, parent, actor_type: "T", ..Actor::default() });
    }
    node
}

const COMMANDS: [&[&str]; 11] = [
    &["ps"],
    &["actors", "--tree"],
    &["show"],
    &["doctor"],
    &["remote"],
    &["cluster"],
    &["metrics"],
    &["stat", "1ms", "1"],
    &["tail", "--no-follow"],
    &["prune"],
    &["show", "n\u{f6}body"],
];

#[test]
fn nothing_but_ascii_is_shown_where_the_locale_has_no_utf_8_or_that_is_asked_for() {
    let dir = RegionDir::new();
    let _lock = node().live(&dir);
    for arguments in COMMANDS {
        let in_locale = |name: &str, value: &str| {
            let mut command = dir.command(arguments);
            command.env_remove("LANG").env(name, value);
            let ran = Ran::of(command);
            ran.stdout + &ran.stderr
        };
        for (name, value) in [("LC_ALL", "C"), ("LC_CTYPE", "POSIX"), ("LANG", "de_DE.ISO-8859-1")] {
            let shown = in_locale(name, value);
            assert!(shown.is_ascii(), "{arguments:?} {name}={value}: {shown}");
        }
        let on_request = dir.run(arguments.iter().copied().chain(["--ascii"]));
        assert!((on_request.stdout + &on_request.stderr).is_ascii(), "{arguments:?}");
        // Without a locale, the terminal's encoding is unknown.
        for shown in [in_locale("LC_ALL", ""), in_locale("LANG", "C.UTF-8")] {
            let has_names = ["ps", "show", "actors", "doctor"].contains(&arguments[0]);
            assert!(!has_names || !shown.is_ascii(), "{arguments:?}: {shown}");
        }
    }
    let tree = dir.run(["actors", "--tree", "--ascii"]).ok();
    assert!(tree.contains("`- b ") && tree.contains("\\u{e9}a"), "{tree}");
    assert!(dir.run(["show", "--ascii"]).ok().starts_with("* zo\\u{eb} - live"), "{tree}");
}

#[test]
fn json_is_utf_8_whatever_the_locale() {
    let dir = RegionDir::new();
    let _lock = node().live(&dir);
    assert_eq!(dir.run(["--ascii", "ps", "--json"]).json()[0]["node"], "zo\u{eb}");
    assert!(dir.run(["--ascii", "dump"]).ok().contains("zo\u{eb}"));
}
