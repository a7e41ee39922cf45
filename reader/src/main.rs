//! The program `atomscope`.

mod program;

use std::io::Write as _;
use std::process::ExitCode;

use atomscope::system;
use atomscope::text::clean_lines;
use clap::Parser as _;

use crate::program::arguments::Cli;
use crate::program::output::Failure;
use crate::program::{ascii, output, run};

fn main() -> ExitCode {
    system::survive_file_size_limit();
    system::guard_mappings();
    if ascii::is_needed_for_locale(|name| std::env::var_os(name)) {
        ascii::enable();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit_with_clap_text(&error),
    };
    if cli.ascii {
        ascii::enable();
    }
    exit_code(run(cli))
}

/// Reports a failure on stderr and returns the exit code of the program.
fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Found) => ExitCode::from(3),
        Err(Failure::Failed(why)) => {
            output::note(&why);
            ExitCode::from(1)
        }
        Err(Failure::Usage { command, why }) => {
            let command = command.map(|command| format!("{command} ")).unwrap_or_default();
            output::note(&format!("{why}; see `atomscope {command}--help`"));
            ExitCode::from(2)
        }
    }
}

/// Prints what clap returns instead of arguments: help and version to stdout, a usage error to stderr. A usage error
/// repeats arguments, which may contain control characters.
fn exit_with_clap_text(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        output::write_to_stderr(&clean_lines(&error.render().to_string()));
        return ExitCode::from(2);
    }
    exit_code(output::to_people(|out| write!(out, "{}", error.render())))
}
