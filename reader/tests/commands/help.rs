//! Help texts, completions and manual pages. `ATOMSCOPE_BLESS=1` approves the present help texts.

use std::fs;
use std::path::Path;

use crate::fixture::{Ran, RegionDir, program};

const COMMANDS: [&str; 32] = [
    "",
    "ps",
    "actors",
    "hot",
    "records",
    "show",
    "top",
    "letters",
    "failures",
    "cluster",
    "sharding",
    "persistence",
    "remote",
    "streams",
    "ddata",
    "leases",
    "runtime",
    "metrics",
    "stat",
    "threads",
    "stuck",
    "stacks",
    "tail",
    "dump",
    "export",
    "export prometheus",
    "export exec",
    "prune",
    "doctor",
    "deploy",
    "completions",
    "man",
];

#[test]
fn the_help_of_every_command_is_as_it_was_approved() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let bless = std::env::var_os("ATOMSCOPE_BLESS").is_some();
    for command in COMMANDS {
        let mut program = program(command.split_whitespace().chain(["--help"]));
        program.env("COLUMNS", "100");
        let help = Ran::of(program).ok();
        let name = if command.is_empty() { "atomscope".to_owned() } else { command.replace(' ', "-") };
        let path = dir.join(format!("{name}.txt"));
        if bless {
            fs::create_dir_all(&dir).unwrap();
            fs::write(&path, &help).unwrap();
        }
        let approved = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, approved, "{}: run with ATOMSCOPE_BLESS=1 to approve", path.display());
        assert!(help.contains("Examples:"), "{command}");
    }
}

#[test]
fn no_command_is_left_out_of_these_tests() {
    let help = Ran::of(program(["--help"])).ok();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let command = line.split_whitespace().next().unwrap();
        assert!(COMMANDS.contains(&command) || command == "help", "{command}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Ran::of(program(["completions", shell])).ok();
        assert!(script.contains("dead_letters") || script.contains("no-follow"), "{shell}: {script}");
    }
    Ran::of(program(["completions", "ksh93"])).failed(2);
}

#[test]
fn there_is_a_manual_page_of_every_command() {
    let dir = RegionDir::new();
    let out = dir.join("man1");
    assert_eq!(Ran::of(program(["man", "--out", out.to_str().unwrap()])).ok(), "");
    for command in COMMANDS {
        let name = format!("atomscope {command}").trim().replace(' ', "-");
        let page = fs::read_to_string(out.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains("Examples:"), "{name}");
    }
    assert!(Ran::of(program(["man", "tail"])).ok().contains("no\\-follow"));
    assert!(Ran::of(program(["man", "export", "prometheus"])).ok().contains("\\-\\-listen"));
    assert!(Ran::of(program(["man", "nonsense"])).failed(2).contains("there is no command nonsense"));
}

#[test]
fn the_version_tells_the_layout_too() {
    let stdout = program(["--version"]).output().unwrap().stdout;
    assert!(String::from_utf8(stdout).unwrap().contains("(reads layout 2.x, knows it up to 2.0)"));
}

#[test]
fn help_teaches_who_and_the_exit_codes() {
    let stdout = Ran::of(program(["--help"])).ok();
    assert!(stdout.contains("WHO:") && stdout.contains("Exit codes: 0 done, 1 failed"), "{stdout}");
}

#[test]
fn a_wrong_command_line_is_exit_code_two() {
    for args in [&["nonsense"][..], &[], &["dump", "--format", "prom2"], &["actors", "hot", "--limit", "-1"]]
    {
        assert!(!RegionDir::new().run(args).failed(2).is_empty());
    }
}
