//! The program: its command line, a file for each command, and `top`.

mod actors;
pub mod arguments;
pub mod ascii;
mod doctor;
mod dump;
mod help;
mod listing;
mod manual;
pub mod output;
mod prune;
mod ps;
mod show;
mod stat;
mod table;
mod tail;
mod target;
mod top;
mod values;

use atomscope::report::subsystems::Part;
use clap::CommandFactory as _;

use self::arguments::{Cli, Command};
use self::output::Failure;

/// Does what the command line asks for.
pub fn run(cli: Cli) -> Result<(), Failure> {
    let list = |part, args| listing::list(&cli.place, part, args);
    match cli.command {
        Command::Ps(args) => ps::ps(&cli.place, &args),
        Command::Actors(args) => actors::actors(&cli.place, args),
        Command::Dump(args) => dump::dump(&cli.place, args),
        Command::Show(args) => show::show(&cli.place, args),
        Command::Top(args) => top::top(&cli.place, args),
        Command::Cluster(args) => list(Part::Cluster, args),
        Command::Sharding(args) => list(Part::Sharding, args),
        Command::Persistence(args) => list(Part::Persistence, args),
        Command::Remote(args) => list(Part::Remote, args),
        Command::Streams(args) => list(Part::Streams, args),
        Command::Ddata(args) => list(Part::DData, args),
        Command::Leases(args) => list(Part::Leases, args),
        Command::Runtime(args) => list(Part::Runtime, args),
        Command::Metrics(args) => list(Part::Metrics, args),
        Command::Stat(args) => stat::stat(&cli.place, args),
        Command::Tail(args) => tail::tail(&cli.place, args),
        Command::Prune(args) => prune::prune(&cli.place, &args),
        Command::Doctor(args) => doctor::doctor(&cli.place, args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command()),
    }
}
