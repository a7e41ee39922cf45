//! `dump`: everything that is told of a node, in a file.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use atomscope::attach::{AttachError, AttachErrorKind};
use atomscope::raw::RawDump;
use atomscope::redact::Redactor;
use atomscope::snapshot::{Snapshot, dump};
use clap::{Args, ValueEnum};

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, Readers, to_file};
use crate::program::target::{SearchArgs, attach};

/// Write everything that is told of a node.
#[derive(Debug, Args)]
#[command(after_help = format!("\
`json` is one object: the fields of atomr_telemetry's NodeSnapshot, and beside them `atomscope`, which says how \
the node is, how old and how complete the data are, and holds all counters. `ndjson` is the same, one object a line, \
each with its `kind`: node, actor, dead_letter, metric, cluster, sharding, instance, journal_write. `raw` is a copy of everything that the node keeps, which \
every command reads again by its name, elsewhere and later: it says how the node was and when.

Examples:
  atomscope dump shop -o shop.json
  atomscope dump shop --format raw -o shop.raw && atomscope show shop.raw
  atomscope dump shop --redact -o for-the-bug-report.json
  atomscope dump 4711 --format ndjson | grep '\"kind\":\"dead_letter\"'

{WHO_HELP}"))]
pub struct DumpArgs {
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
    Raw,
}

impl Format {
    /// The form of what is written of a snapshot; `None` for a copy of the region.
    fn of_snapshot(self) -> Option<dump::Format> {
        match self {
            Self::Json => Some(dump::Format::Json),
            Self::Ndjson => Some(dump::Format::Ndjson),
            Self::Raw => None,
        }
    }
}

pub fn dump(place: &SearchArgs, args: DumpArgs) -> Result<(), Failure> {
    if args.format == Format::Raw && args.output == Path::new("-") && io::stdout().is_terminal() {
        return Err(Failure::Usage("a raw dump is no text for a terminal: name a file with -o".into()));
    }
    let chosen = attach(place, args.who)?;
    let redactor = match (args.redact, &args.redact_key) {
        (false, _) => None,
        (true, Some(key)) => Some(Redactor::with_key(key.as_bytes())),
        (true, None) => Some(Redactor::fresh().map_err(|error| {
            Failure::Failed(format!("the system gives no random key: {error}; --redact-key KEY does without"))
        })?),
    };
    let Some(format) = args.format.of_snapshot() else {
        let mut dump = RawDump::take(&chosen.region)?;
        if let Some(redactor) = redactor {
            let path = chosen.region.path().to_owned();
            dump = dump
                .redacted(&redactor)
                .map_err(|error| AttachError { path, why: AttachErrorKind::Layout(error) })?;
        }
        return to_file(&args.output, Some(&chosen.region), Readers::Owner, |out| dump.write(out));
    };
    let mut snapshot = Snapshot::take(&chosen.region)?;
    if let Some(redactor) = redactor {
        redactor.redact(&mut snapshot);
    }
    let dump = snapshot.into_dump(args.redact);
    to_file(&args.output, Some(&chosen.region), Readers::Owner, |out| dump.write(format, out))
}
