//! `completions` and `man`: files that are generated from the definition of the command line.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use atomscope::text::{clean, clean_path};
use clap::Args;

use crate::program::output::file::{Readers, to_file};
use crate::program::output::{Failure, to_stdout};

/// Print a script that completes this program's commands and options in a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  atomscope completions bash > ~/.local/share/bash-completion/completions/atomscope
  atomscope completions fish > ~/.config/fish/completions/atomscope.fish")]
pub struct CompletionsArgs {
    /// The shell to complete for.
    pub shell: clap_complete::Shell,
}

/// Print a manual page, or write the pages of all commands.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  atomscope man | man -l -
  atomscope man dump | man -l -
  atomscope man export prometheus | man -l -
  atomscope man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// The command whose page to print; the whole program if left out.
    pub command: Vec<String>,
    /// Write the pages of the program and of all commands into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, mut program: clap::Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "atomscope", &mut script);
    to_stdout(|out| out.write_all(&script))
}

pub fn man(args: &ManArgs, program: clap::Command) -> Result<(), Failure> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    match (&args.out, args.command.as_slice()) {
        (Some(dir), []) => write_all(&program, dir),
        (Some(_), _) => Err(Failure::usage_of(
            "man",
            "--out writes the pages of all commands; do not name a COMMAND with it",
        )),
        (None, names) => match names.iter().try_fold(&program, |command, name| command.find_subcommand(name))
        {
            Some(command) => print(command),
            None => Err(Failure::usage(format!("there is no command {}", clean(&names.join(" "))))),
        },
    }
}

fn print(command: &clap::Command) -> Result<(), Failure> {
    let text = render(command)?;
    to_stdout(|out| out.write_all(&text))
}

fn render(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(|error| Failure::Failed(format!("cannot make a manual page: {error}")))?;
    Ok(text)
}

/// Writes `atomscope.1` for the program, and `atomscope-COMMAND.1` for each of its commands and theirs.
fn write_all(program: &clap::Command, dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| {
        let why = clean(&error.to_string()).into_owned();
        Failure::Failed(format!("cannot write manual pages to {}: {why}", clean_path(dir)))
    })?;
    write(program, dir)
}

/// Writes the page of a command, and those of its own commands.
fn write(command: &clap::Command, dir: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let text = render(command)?;
    to_file(&dir.join(format!("{name}.1")), None, Readers::Anybody, |out| out.write_all(&text))?;
    let mut commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    commands.try_for_each(|command| write(command, dir))
}
