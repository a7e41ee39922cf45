//! The cost of recording and reading, compared with `atomr-telemetry` and with the limit, for the same work in the same
//! run.
//!
//! ```text
//! cargo run --release -p atomscope-benches -- record                 all of it; writes benches/record/DATE and the README's table
//! cargo run --release -p atomscope-benches -- record counter events  some groups, to the terminal only
//! cargo run --release -p atomscope-benches -- record --quick         everything once, in some ten seconds; the numbers mean little
//! cargo run --release -p atomscope-benches -- list
//! ```
//!
//! Some groups start this program again as another process: a reader, a node whose memory is measured, or operations
//! whose instructions are counted.

mod chart;
mod groups;
mod harness;
mod record;

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atomscope_tests::support;
use clap::{Parser, Subcommand};

use crate::groups::{Context, GROUPS};
use crate::harness::Effort;
use crate::record::{Machine, Record, Section};

/// The result of the benchmarks.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Debug, Parser)]
#[command(about = "Measure the cost of recording and reading, compared with `atomr-telemetry` and the limit")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure; without a choice of groups also write the record
    Record {
        /// Only these groups; writes nothing without --out
        groups: Vec<String>,
        /// Run everything once; writes nothing without --out
        #[arg(long)]
        quick: bool,
        /// Write the record into this folder, and do not change the README
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// List the groups
    List,
    /// Take snapshots of a region until killed
    #[command(hide = true)]
    Reader {
        region: PathBuf,
        /// Snapshots per second; 0 is as fast as possible
        rate: u64,
    },
    /// Scrape an exporter until killed
    #[command(hide = true)]
    Scraper {
        exporter: SocketAddr,
        /// Scrapes per second
        rate: u64,
    },
    /// Print what each side adds to a message
    #[command(hide = true)]
    Messages {
        #[arg(long)]
        quick: bool,
    },
    /// Work on messages as one side of a comparison, as often as the standard input asks for
    #[cfg(tokio_unstable)]
    #[command(hide = true)]
    Console { side: String },
    /// Print the memory of so many live actors
    #[command(hide = true)]
    Weigh { side: String, actors: usize },
    /// Do an operation so many times
    #[command(hide = true)]
    Operations { name: String, side: String, count: u64 },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::List => {
            GROUPS.iter().for_each(|group| println!("{:<14} {}", group.name, group.title));
            Ok(())
        }
        Command::Record { groups, quick, out } => record(&groups, quick, out),
        Command::Reader { region, rate } => groups::readers::read(&region, rate),
        Command::Scraper { exporter, rate } => groups::readers::scrape(exporter, rate),
        Command::Messages { quick } => groups::messages::in_nodes(&context(quick)),
        #[cfg(tokio_unstable)]
        Command::Console { side } => groups::console::work(&side),
        Command::Weigh { side, actors } => groups::memory::weigh(&side, actors),
        Command::Operations { name, side, count } => groups::instructions::operate(&name, &side, count),
    }
}

fn record(wanted: &[String], is_quick: bool, out: Option<PathBuf>) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|wanted| GROUPS.iter().all(|group| group.name != **wanted)) {
        return Err(format!("there is no group {unknown}; `list` names them").into());
    }
    if cfg!(debug_assertions) && !is_quick {
        return Err("this build is not optimised: add --release".into());
    }
    let machine = Machine::here();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dated = format!("benches/record/{}", machine.date());
    let is_whole = wanted.is_empty() && !is_quick;
    let folder = out.clone().or_else(|| is_whole.then(|| repository.join(&dated)));

    let context = context(is_quick);
    // Build now, so that no group waits for the compiler.
    support::program("atomscope");
    let mut record = Record { machine, is_quick, sections: Vec::new() };
    let begun = Instant::now();
    for group in GROUPS {
        if !wanted.is_empty() && wanted.iter().all(|wanted| wanted != group.name) {
            continue;
        }
        println!("{}", group.title);
        let start = Instant::now();
        let mut section = Section {
            group: group.name,
            title: group.title,
            rows: Vec::new(),
            notes: Vec::new(),
            seconds: 0.0,
        };
        (group.measure)(&context, &mut section)?;
        section.doubt_busy_rows();
        section.seconds = start.elapsed().as_secs_f64();
        section.rows.iter().for_each(|row| println!("{}", row.line()));
        section.notes.iter().for_each(|note| println!("  {note}"));
        println!("  [{:.1} s]", section.seconds);
        record.sections.push(section);
    }
    println!("{:.0} s in all", begun.elapsed().as_secs_f64());

    let Some(folder) = folder else { return Ok(()) };
    std::fs::create_dir_all(&folder)?;
    let charts = chart::draw(&record.sections, &folder)?;
    std::fs::write(folder.join("record.json"), serde_json::to_string_pretty(&record)? + "\n")?;
    std::fs::write(folder.join("record.md"), record.markdown(&charts))?;
    if is_whole && out.is_none() {
        let readme = repository.join("README.md");
        let text = record.cut_into(&std::fs::read_to_string(&readme)?, &dated, charts.first())?;
        std::fs::write(readme, text)?;
    }
    println!("written to {}", folder.display());
    Ok(())
}

fn context(is_quick: bool) -> Context {
    Context { effort: if is_quick { QUICK } else { FULL }, is_quick }
}

const FULL: Effort = Effort {
    rounds: 101,
    slice: Duration::from_millis(2),
    operations: None,
    budget: Duration::from_secs(2),
    blocks: 10_000,
};

const QUICK: Effort = Effort {
    rounds: 5,
    slice: Duration::from_micros(200),
    operations: None,
    budget: Duration::from_millis(20),
    blocks: 1000,
};
