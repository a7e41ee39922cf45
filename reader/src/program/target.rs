//! The node that a command works on: WHO, and the options that say where to search.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use atomscope::find::{AttachedRegion, Search, Target};
use atomscope::text::clean_path;
use clap::Args;

use crate::program::output::{Failure, note};
use crate::program::values::parse_size;

const HEADING: &str = "Where to search";

/// Where to search for nodes.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// Read the region in this file.
    #[arg(long, global = true, value_name = "PATH", help_heading = HEADING)]
    pub region: Option<PathBuf>,
    /// Search for regions in this directory only, instead of /dev/shm and the running processes.
    #[arg(long, global = true, value_name = "DIR", env = "ATOMSCOPE_DIR", help_heading = HEADING)]
    pub dir: Option<PathBuf>,
    /// Refuse larger regions; K, M, G and T are powers of 1024.
    #[arg(long, global = true, value_name = "BYTES", default_value = "4G", value_parser = parse_size, help_heading = HEADING)]
    pub max_size: u64,
}

/// Attaches the target, and notes on stderr which node was used if there were several.
pub fn attach(search_args: &SearchArgs, who: Option<OsString>) -> Result<AttachedRegion, Failure> {
    let attached = search(search_args).attach(&target(search_args, who)?)?;
    if let Some(text) = &attached.note {
        note(text);
    }
    Ok(attached)
}

/// A WHO that names this region again. Safe to print.
pub fn who(is_dump: bool, path: &Path, pid: u64) -> String {
    if is_dump { clean_path(path) } else { pid.to_string() }
}

/// The target that WHO or `--region` names.
pub fn target(search_args: &SearchArgs, who: Option<OsString>) -> Result<Target, Failure> {
    Ok(match (&search_args.region, who) {
        (Some(path), None) => Target::File(path.clone()),
        (None, Some(who)) => Target::parse(&who),
        (None, None) => Target::Only,
        (Some(_), Some(_)) => {
            return Err(Failure::usage("WHO and --region both name a node; give only one of them"));
        }
    })
}

/// The search of the library with these options.
pub fn search(search_args: &SearchArgs) -> Search {
    Search { dir: search_args.dir.clone(), max_bytes: search_args.max_size }
}
