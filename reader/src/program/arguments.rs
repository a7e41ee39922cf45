//! The command line and its help.

use std::sync::LazyLock;

use atomscope_layout::region::{VERSION_MAJOR, VERSION_MINOR};
use clap::{Parser, Subcommand};

use crate::program::actors::ActorsArgs;
use crate::program::deploy::DeployArgs;
use crate::program::doctor::DoctorArgs;
use crate::program::dump::DumpArgs;
use crate::program::export::ExportArgs;
use crate::program::help::WHO_HELP;
use crate::program::hot::HotArgs;
use crate::program::letters::LettersArgs;
use crate::program::listing::ListingCommand;
use crate::program::manual::{CompletionsArgs, ManArgs};
use crate::program::prune::PruneArgs;
use crate::program::ps::PsArgs;
use crate::program::records::RecordsArgs;
use crate::program::show::ShowArgs;
use crate::program::stacks::StacksArgs;
use crate::program::stat::StatArgs;
use crate::program::stuck::StuckArgs;
use crate::program::tail::TailArgs;
use crate::program::target::SearchArgs;
use crate::program::threads::ThreadsArgs;
use crate::program::top::TopArgs;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let program = env!("CARGO_PKG_VERSION");
    format!("{program} (reads layout {VERSION_MAJOR}.x, knows it up to {VERSION_MAJOR}.{VERSION_MINOR})")
});

const EXIT_HELP: &str = "\
Exit codes: 0 done, 1 failed (stderr says what, why, and what to try), 2 the command line is wrong, 3 `stuck` has found \
something.
No command ever writes to a node's region, locks it or makes the node wait.";

static LONG_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Examples:
  atomscope ps                          all nodes and their states
  atomscope actors                      the live actors of the only node
  atomscope actors shop --tree          the same as a tree, of node `shop`
  atomscope dump 4711 -o shop.json      everything that the node in process 4711 publishes
  atomscope dump shop | jq .atomscope   how complete that is
  atomscope tail shop                   its events as they happen
  atomscope top shop                    a live screen
  atomscope stat shop 1s                its rates, one line per second
  atomscope export prometheus           metrics of all nodes for Prometheus
  atomscope doctor                      why something is not visible, and what to do

{WHO_HELP}

{JSON_HELP}

{EXIT_HELP}"
    )
});

/// What the JSON of all commands has in common.
const JSON_HELP: &str = "\
--json writes UTF-8; no object has a key twice, and `null` is an unknown value:
  an array of objects  ps, actors, hot, records, letters, metrics, threads, stacks, prune, doctor: rows with the same keys
  an object            show, stuck, and each subsystem: a summary, and its lists by their names
  objects, one a line  stat, tail

A table that is wider than the terminal loses columns: those that are unknown in all rows, then the last ones, then those that \
it is sorted or filtered by, but never the first one; `ps` loses SIZE, SYSTEM, AGE, FILE, BEAT, ACTORS, in that order. Output to a file or a pipe has all columns \
and whole texts.";

/// See inside running actor nodes from outside, without slowing them.
#[derive(Debug, Parser)]
#[command(name = "atomscope", version = VERSION.as_str(), after_help = LONG_HELP.as_str(), max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub search: SearchArgs,
    /// Show only ASCII. This is the default where the locale (LC_ALL, LC_CTYPE, LANG) names another encoding than UTF-8.
    #[arg(long, global = true, help_heading = "Output")]
    pub ascii: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Ps(PsArgs),
    Actors(ActorsArgs),
    Hot(HotArgs),
    Dump(DumpArgs),
    Show(ShowArgs),
    Top(TopArgs),
    Records(RecordsArgs),
    Letters(LettersArgs),
    /// One command for each subsystem.
    #[command(flatten)]
    Listing(ListingCommand),
    Stat(StatArgs),
    Threads(ThreadsArgs),
    Stuck(StuckArgs),
    Stacks(StacksArgs),
    Tail(TailArgs),
    Export(ExportArgs),
    #[command(visible_alias = "gc")]
    Prune(PruneArgs),
    Doctor(DoctorArgs),
    Deploy(DeployArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_stat_is_given_first_may_be_its_interval() {
        let parse = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["atomscope", "stat"], args].concat()).unwrap();
            let Command::Stat(stat) = cli.command else { panic!("not stat") };
            stat.shifted().map(|stat| {
                let text = |text: Option<OsString>| text.map(|text| text.into_string().unwrap());
                (text(stat.who), text(stat.interval), stat.count)
            })
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parse(&[]).unwrap(), (None, None, None));
        assert_eq!(parse(&["1s"]).unwrap(), (None, some("1s"), None));
        assert_eq!(parse(&["1s", "5"]).unwrap(), (None, some("1s"), Some(5)));
        assert_eq!(parse(&["4711", "1s", "5"]).unwrap(), (some("4711"), some("1s"), Some(5)));
        assert_eq!(parse(&["1s", "2s"]).unwrap(), (some("1s"), some("2s"), None));
        assert_eq!(parse(&["500"]).unwrap(), (some("500"), None, None));
        assert_eq!(parse(&["500", "1"]).unwrap(), (some("500"), some("1"), None));
        assert_eq!(parse(&["shop", "1"]).unwrap(), (some("shop"), some("1"), None));
        assert_eq!(parse(&["shop", "1", "5"]).unwrap(), (some("shop"), some("1"), Some(5)));
        assert_eq!(parse(&["1", "1s"]).unwrap(), (some("1"), some("1s"), None));
        assert!(parse(&["1s", "0"]).is_err() && parse(&["1s", "x"]).is_err());
    }

    #[test]
    fn every_help_text_has_an_example() {
        let mut cli = Cli::command();
        assert!(cli.render_long_help().to_string().contains("atomscope actors shop --tree"));
        for command in cli.get_subcommands_mut() {
            if command.get_name() != "help" {
                assert!(
                    command.render_long_help().to_string().contains("Examples:"),
                    "{}",
                    command.get_name()
                );
            }
        }
    }
}
