//! Saves a node from the screen: its current state, or that of a tick, in the format that the file name ends in.

use std::path::Path;
use std::sync::Arc;

use atomscope::attach::Region;
use atomscope::snapshot::Snapshot;
use atomscope::snapshot::dump::Format;
use atomscope::text::clean_path;

use crate::program::dump::{write_raw, write_snapshot};
use crate::program::output::Failure;
use crate::program::top::tick::Tick;

/// Writes the tick if there is one, and else the current state of `region`. Returns the path for people.
pub fn save(path: &Path, region: Option<&Region>, tick: Option<Arc<Tick>>) -> Result<String, String> {
    // A shell would have expanded this.
    let home = path.strip_prefix("~").ok().zip(std::env::home_dir()).map(|(rest, home)| home.join(rest));
    let path = home.as_deref().unwrap_or(path);
    if path.exists() {
        return Err(format!("{} exists already; name another file", clean_path(path)));
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let format = match ending {
        "raw" => None,
        "json" => Some(Format::Json),
        "ndjson" => Some(Format::Ndjson),
        _ => {
            return Err(
                "the file name must end in .raw, .json or .ndjson, which selects the format".to_owned()
            );
        }
    };
    write(path, format, region, tick.as_deref())
        .map(|()| clean_path(path))
        .map_err(|failure| failure.to_string())
}

/// `None` as a format is a raw dump.
fn write(
    path: &Path,
    format: Option<Format>,
    region: Option<&Region>,
    tick: Option<&Tick>,
) -> Result<(), Failure> {
    let attached = || {
        region.ok_or_else(|| Failure::Failed("no node is attached, so there is nothing to save".to_owned()))
    };
    match (format, tick) {
        (None, Some(_)) => Err(Failure::Failed(
            ".raw copies the region, and the screen shows an older state; name a .json or .ndjson file"
                .to_owned(),
        )),
        (None, None) => write_raw(attached()?, None, path),
        (Some(format), None) => write_snapshot(Snapshot::take(attached()?)?, None, format, region, path),
        (Some(format), Some(tick)) => write_snapshot(snapshot_of(tick)?, None, format, region, path),
    }
}

/// The snapshot of a tick with its actors, which the tick stores apart.
fn snapshot_of(tick: &Tick) -> Result<Snapshot, Failure> {
    let Some(listed) = &tick.listed else {
        return Err(Failure::Failed(
            "this tick counted the actors without listing them, because they were too many; press } and save the \
             current state"
                .to_owned(),
        ));
    };
    let (actors, snapshot) = (listed.tree.actors().clone(), (*tick.snapshot).clone());
    // The actors were listed after they were counted, and may have changed in between.
    let at_rest = snapshot.at_rest && listed.mark == snapshot.actors_version;
    Ok(Snapshot { actors, at_rest, ..snapshot })
}
