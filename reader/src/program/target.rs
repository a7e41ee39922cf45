//! Which region a command works on: WHO, and where to look.

use std::ffi::OsString;
use std::path::PathBuf;

use atomscope::find::{Chosen, Search, Who};
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
pub fn attach(place: &SearchArgs, who: Option<OsString>) -> Result<Chosen, Failure> {
    let chosen = search(place).one(&meant(place, who)?)?;
    if let Some(text) = &chosen.note {
        note(text);
    }
    Ok(chosen)
}

/// Which region is meant.
pub fn meant(place: &SearchArgs, who: Option<OsString>) -> Result<Who, Failure> {
    Ok(match (&place.region, who) {
        (Some(path), None) => Who::File(path.clone()),
        (None, Some(who)) => Who::parse(&who),
        (None, None) => Who::Only,
        (Some(_), Some(_)) => {
            return Err(Failure::Usage("WHO and --region both say which region is meant: give one".into()));
        }
    })
}

pub fn search(place: &SearchArgs) -> Search {
    Search { dir: place.dir.clone(), max_bytes: place.max_size }
}
