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
    if ascii::suits_locale(|name| std::env::var_os(name)) {
        ascii::want();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if cli.ascii {
        ascii::want();
    }
    match run(cli) {
        Ok(()) | Err(Failure::Enough) => ExitCode::SUCCESS,
        Err(Failure::Failed(why)) => {
            output::note(&why);
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            output::note(&format!("{why}; `atomscope --help` tells more"));
            ExitCode::from(2)
        }
        Err(Failure::Filter(command, why)) => {
            output::note(&format!("--filter: {why}; `atomscope {command} --help` says what a filter may be"));
            ExitCode::from(2)
        }
    }
}

/// Help and version go to stdout; what is wrong goes to stderr, and there arguments are repeated that may hold anything.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        output::say(&clean_lines(&error.render().to_string()));
        return ExitCode::from(2);
    }
    match output::to_people(|out| write!(out, "{}", error.render())) {
        Ok(()) | Err(Failure::Enough) => ExitCode::SUCCESS,
        Err(Failure::Failed(why) | Failure::Usage(why) | Failure::Filter(_, why)) => {
            output::note(&why);
            ExitCode::from(1)
        }
    }
}
