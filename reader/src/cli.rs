//! The command line: what may be asked, and the help that teaches it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use atomscope_layout::region::{VERSION_MAJOR, VERSION_MINOR};
use clap::{Args, Parser, Subcommand, ValueEnum};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let program = env!("CARGO_PKG_VERSION");
    format!("{program} (reads layout {VERSION_MAJOR}.x, knows it up to {VERSION_MAJOR}.{VERSION_MINOR})")
});

const WHO_HELP: &str = "\
WHO:
  4711            the node in process 4711
  4711/orders     its actor system `orders`, if it has several
  ./node.raw      a file: what contains a `/` or ends in .raw or .rec (--region PATH says the same)
  shop            the node of that name
  (left out)      the only one there is
  Live beats dead and newer beats older; if there was a choice, stderr says which was taken.";

const EXIT_HELP: &str = "\
Exit codes: 0 done, 1 failed (stderr says what, why, and what to try), 2 the command line is wrong.
Nothing here ever writes to a node's region, locks it or makes the node wait.";

static LONG_HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Examples:
  atomscope ps                          which nodes there are, and how they are
  atomscope actors                      the live actors of the only node
  atomscope actors shop --tree          the same as a tree, of node `shop`
  atomscope dump 4711 -o shop.json      everything that is told of the node in process 4711
  atomscope dump shop | jq .atomscope   how sure that is

{WHO_HELP}

{EXIT_HELP}"
    )
});

/// See inside running actor nodes from outside, without slowing them.
#[derive(Debug, Parser)]
#[command(name = "atomscope", version = VERSION.as_str(), after_help = LONG_HELP.as_str(), max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

/// Where to look.
#[derive(Debug, Args)]
pub struct Place {
    /// Look at the region in this file.
    #[arg(long, global = true, value_name = "PATH")]
    pub region: Option<PathBuf>,
    /// Look for regions in this directory only, instead of /dev/shm and the running processes.
    #[arg(long, global = true, value_name = "DIR", env = "ATOMSCOPE_DIR")]
    pub dir: Option<PathBuf>,
    /// Refuse larger regions; K, M, G and T are powers of 1024.
    #[arg(long, global = true, value_name = "BYTES", default_value = "4G", value_parser = parse_size)]
    pub max_size: u64,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the nodes of this machine, live and dead.
    #[command(after_help = "\
The states:
  starting   no actor system is installed yet
  live       all is well
  wedged     the process exists but does not get on: it is stopped, or the probe's thread or the async
             runtime has not beaten for 3 seconds
  stopping   the application said that it stops
  closed     it ended in good order
  crashed    it ended without saying so; what it left can still be looked at
  not ready, incompatible, corrupt, refused: it cannot be read, and NOTE says why

Examples:
  atomscope ps
  atomscope ps --json | jq -r '.[] | select(.state == \"crashed\") | .path'")]
    Ps(Ps),
    /// List the live actors of a node.
    #[command(after_help = format!("\
Depth is the number of messages waiting, `-` where it is not known.

Examples:
  atomscope actors shop --sort age --limit 20
  atomscope actors shop --tree --filter checkout
  atomscope actors --json | jq 'map(.actor_type) | group_by(.) | map({{(.[0]): length}})'

{WHO_HELP}"))]
    Actors(Actors),
    /// Write everything that is told of a node.
    #[command(after_help = format!("\
`json` is one object: the fields of atomr_telemetry's NodeSnapshot, and beside them `atomscope`, which says how the
node is, how old and how complete the data are, and holds all counters. `ndjson` is the same, one object a line, each
with its `kind`: node, actor, dead_letter, metric.

Examples:
  atomscope dump shop -o shop.json
  atomscope dump shop --redact -o for-the-bug-report.json
  atomscope dump 4711 --format ndjson | grep '\"kind\":\"dead_letter\"'

{WHO_HELP}"))]
    Dump(Dump),
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Actors {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Show children below their parents.
    #[arg(long)]
    pub tree: bool,
    /// Order: by path or type from A to Z, by mailbox depth from the deepest, by age from the oldest.
    #[arg(long, value_enum, default_value_t = Sort::Path)]
    pub sort: Sort,
    /// Turn the order round.
    #[arg(long)]
    pub reverse: bool,
    /// Only actors whose path or type contains this text (in a tree, with those above them).
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Path,
    Type,
    Depth,
    Age,
}

#[derive(Debug, Args)]
pub struct Dump {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Write to this file, all of it or nothing, readable by you alone; `-` is stdout.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Replace every name that may come from the application by a pseudonym and drop message previews. The same name
    /// gets the same pseudonym, within this dump.
    #[arg(long)]
    pub redact: bool,
    /// Make pseudonyms from this secret, so that those of several dumps agree.
    #[arg(long, value_name = "KEY", requires = "redact")]
    pub redact_key: Option<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Ndjson,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        Some((at, 'T' | 't')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "a number of bytes is wanted, such as 4294967296 or 4G".to_owned())
}

#[cfg(test)]
mod tests {
    use atomscope::attach::MAX_BYTES;
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_numbers_with_a_binary_unit_and_the_default_is_the_librarys() {
        assert_eq!(parse_size("4G"), Ok(MAX_BYTES));
        assert_eq!(parse_size("10k"), Ok(10 << 10));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in ["", "G", "-1", "1.5G", "99999999T", "4é"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
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
