//! The program: its command line, a file for each command, and `top`.

mod actors;
pub mod arguments;
pub mod ascii;
mod deploy;
mod doctor;
mod dump;
mod export;
mod grouped;
mod help;
mod hot;
mod letters;
mod listing;
mod manual;
pub mod output;
mod prune;
mod ps;
mod records;
mod show;
mod stacks;
mod stat;
mod stuck;
mod table;
mod tail;
mod target;
mod threads;
mod top;
mod values;

use clap::CommandFactory as _;

use self::arguments::{Cli, Command};
use self::output::Failure;

/// Runs the command.
///
/// # Errors
/// Why the command failed, as the text for stderr and the exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Ps(args) => ps::ps(&cli.search, &args),
        Command::Actors(args) => actors::actors(&cli.search, args),
        Command::Dump(args) => dump::dump(&cli.search, args),
        Command::Show(args) => show::show(&cli.search, args),
        Command::Hot(args) => hot::hot(&cli.search, args),
        Command::Top(args) => top::top(&cli.search, args),
        Command::Records(args) => records::records(&cli.search, args),
        Command::Letters(args) => letters::letters(&cli.search, args),
        Command::Listing(command) => listing::list(&cli.search, command),
        Command::Stat(args) => stat::stat(&cli.search, args),
        Command::Threads(args) => threads::threads(&cli.search, args),
        Command::Stacks(args) => stacks::stacks(&cli.search, args),
        Command::Stuck(args) => stuck::stuck(&cli.search, args),
        Command::Tail(args) => tail::tail(&cli.search, args),
        Command::Export(args) => export::export(&cli.search, args),
        Command::Prune(args) => prune::prune(&cli.search, &args),
        Command::Doctor(args) => doctor::doctor(&cli.search, args),
        Command::Deploy(args) => deploy::deploy(&args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command()),
    }
}
