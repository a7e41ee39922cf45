//! Which region a command works on: WHO, and where to look.

use std::ffi::OsString;
use std::path::PathBuf;

use atomscope::find::{AttachedRegion, Search, Target};
use clap::Args;

use crate::program::output::{Failure, note};
use crate::program::values::parse_size;

const HEADING: &str = "Where to look";

/// Where to look.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// Look at the region in this file.
    #[arg(long, global = true, value_name = "PATH", help_heading = HEADING)]
    pub region: Option<PathBuf>,
    /// Look for regions in this directory only, instead of /dev/shm and the running processes.
    #[arg(long, global = true, value_name = "DIR", env = "ATOMSCOPE_DIR", help_heading = HEADING)]
    pub dir: Option<PathBuf>,
    /// Refuse larger regions; K, M, G and T are powers of 1024.
    #[arg(long, global = true, value_name = "BYTES", default_value = "4G", value_parser = parse_size, help_heading = HEADING)]
    pub max_size: u64,
}

/// Attaches to the region that is meant and says which one, if there was a choice.
pub fn attach(search_args: &SearchArgs, who: Option<OsString>) -> Result<AttachedRegion, Failure> {
    let chosen = search(search_args).attach(&meant(search_args, who)?)?;
    if let Some(text) = &chosen.note {
        note(text);
    }
    Ok(chosen)
}

/// Which region is meant.
pub fn meant(search_args: &SearchArgs, who: Option<OsString>) -> Result<Target, Failure> {
    Ok(match (&search_args.region, who) {
        (Some(path), None) => Target::File(path.clone()),
        (None, Some(who)) => Target::parse(&who),
        (None, None) => Target::Only,
        (Some(_), Some(_)) => {
            return Err(Failure::usage("WHO and --region both name a region; give only one of them"));
        }
    })
}

pub fn search(search_args: &SearchArgs) -> Search {
    Search { dir: search_args.dir.clone(), max_bytes: search_args.max_size }
}
