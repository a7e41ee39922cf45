//! `dump`: all data of a node, in a file.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use atomscope::attach::{AttachError, AttachErrorKind, Region};
use atomscope::export::exporter::{Node, Observed};
use atomscope::export::facts::Selection;
use atomscope::export::family::Labels;
use atomscope::export::prometheus::Exposition;
use atomscope::export::text;
use atomscope::raw::RawDump;
use atomscope::redact::Redactor;
use atomscope::report::usage::Usage;
use atomscope::snapshot::{Snapshot, dump};
use atomscope::threads::{NodeProcess, ThreadSamples};
use clap::{Args, ValueEnum};

use crate::program::help::WHO_HELP;
use crate::program::output::Failure;
use crate::program::output::file::{Readers, to_file};
use crate::program::target::{SearchArgs, attach};

/// Write all data of a node to a file.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Formats:
  json    one object: the fields of atomr_telemetry's NodeSnapshot, and `atomscope` with the
          verdict, the age and completeness of the data, and all metrics
  ndjson  the same data, one object a line, each with its `kind`: node, actor, dead_letter,
          metric, record_kind, record, cluster, sharding, instance, journal_write
  prom    its metrics in the text format of Prometheus, as `atomscope export prometheus` serves them
  raw     a copy of the region, with the verdict and the time; every command can read the file
          later and on another machine, by its path

Exit code: 0, or 1 if the node cannot be found or read, or the file cannot be written.

Examples:
  atomscope dump shop -o shop.json
  atomscope dump shop --format raw -o shop.raw && atomscope show shop.raw
  atomscope dump shop --redact -o for-the-bug-report.json
  atomscope dump 4711 --format ndjson | grep '\"kind\":\"dead_letter\"'

{WHO_HELP}"))]
pub struct DumpArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Write to this file, completely or not at all, readable by you alone; `-` is stdout.
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// The format of the dump.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Replace every name that may come from the application by a pseudonym, and drop message previews. Within one dump,
    /// the same name gets the same pseudonym.
    #[arg(long)]
    pub redact: bool,
    /// Derive pseudonyms from this secret, so that the same name gets the same pseudonym in several dumps.
    #[arg(long, value_name = "KEY", requires = "redact")]
    pub redact_key: Option<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Ndjson,
    Prom,
    Raw,
}

impl Format {
    /// The format of a snapshot as JSON; `None` for the others.
    fn of_snapshot(self) -> Option<dump::Format> {
        match self {
            Self::Json => Some(dump::Format::Json),
            Self::Ndjson => Some(dump::Format::Ndjson),
            Self::Prom | Self::Raw => None,
        }
    }
}

pub fn dump(search_args: &SearchArgs, args: DumpArgs) -> Result<(), Failure> {
    if args.format == Format::Raw && args.output == Path::new("-") && io::stdout().is_terminal() {
        let why = "a raw dump is not text and cannot go to a terminal; name a file with -o";
        return Err(Failure::usage_of("dump", why));
    }
    let attached = attach(search_args, args.who)?;
    let redactor = match (args.redact, &args.redact_key) {
        (false, _) => None,
        (true, Some(key)) => Some(Redactor::with_key(key.as_bytes())),
        (true, None) => Some(Redactor::fresh().map_err(|error| {
            Failure::Failed(format!(
                "cannot get a random key from the system: {error}; give one with --redact-key"
            ))
        })?),
    };
    let region = &attached.region;
    match args.format.of_snapshot() {
        None if args.format == Format::Prom => write_prom(region, redactor.as_ref(), &args.output),
        None => write_raw(region, redactor.as_ref(), &args.output),
        Some(format) => {
            write_snapshot(Snapshot::take(region)?, redactor.as_ref(), format, Some(region), &args.output)
        }
    }
}

/// Writes the metrics of a region to a file, in the text format of Prometheus.
fn write_prom(region: &Region, redactor: Option<&Redactor>, path: &Path) -> Result<(), Failure> {
    let mut snapshot = Snapshot::with_class_counts(region)?;
    let usage = Usage::take(region, &snapshot)?;
    if let Some(redactor) = redactor {
        redactor.redact(&mut snapshot);
    }
    let node = Node { number: 0, region };
    // The names of threads may come from the application, and no redaction knows them.
    let process = NodeProcess::of(region, &snapshot.liveness).filter(|_| redactor.is_none());
    let threads = process.and_then(|process| ThreadSamples::take(&process).ok());
    let observed = Observed { snapshot: &snapshot, usage: &usage, threads: threads.as_ref() };
    let exposition = Exposition::of_snapshot(&node, &observed, Selection::default(), Labels::new());
    let text = exposition.to_text(text::Format::Text);
    to_file(path, Some(region), Readers::Owner, |out| out.write_all(text.as_bytes()))
}

/// Writes a copy of the region to a file.
pub fn write_raw(region: &Region, redactor: Option<&Redactor>, path: &Path) -> Result<(), Failure> {
    let mut dump = RawDump::take(region)?;
    if let Some(redactor) = redactor {
        let path = region.path().to_owned();
        dump = dump
            .redacted(redactor)
            .map_err(|error| AttachError::new(path, AttachErrorKind::Layout(error)))?;
    }
    to_file(path, Some(region), Readers::Owner, |out| dump.write(out))
}

/// Writes a snapshot to a file, but never over `region`.
pub fn write_snapshot(
    mut snapshot: Snapshot,
    redactor: Option<&Redactor>,
    format: dump::Format,
    region: Option<&Region>,
    path: &Path,
) -> Result<(), Failure> {
    if let Some(redactor) = redactor {
        redactor.redact(&mut snapshot);
    }
    let dump = snapshot.into_dump(redactor.is_some());
    to_file(path, region, Readers::Owner, |out| dump.write(format, out))
}
