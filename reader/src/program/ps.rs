//! `ps`: the nodes of this machine.

use atomscope::report::list::Side;
use atomscope::report::nodes::{NodeRow, nodes};
use atomscope::text::write_json;
use clap::Args;

use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{self, Cell, Screen, Table};
use crate::program::target::{SearchArgs, search};

/// List the nodes of this machine, live and dead.
#[derive(Debug, Args)]
#[command(after_help = "\
The states:
  starting   no actor system is installed yet
  live       all is well
  wedged     the process exists but does not get on: it is stopped, or the probe's thread or
             the async runtime has not beaten for 3 seconds
  stopping   the application said that it stops
  closed     it ended in good order
  crashed    it ended without saying so; what it left can still be looked at
  not ready, incompatible, corrupt, refused: it cannot be read, and NOTE says why

Dead nodes are listed by what they have left in /dev/shm. What one has left in a file that it
was told to use is found by the file's path alone: atomscope ps --region PATH. A path with
`(deleted)` is that of a living node's file that has no name any more: if that node crashes,
nothing is left.

Examples:
  atomscope ps
  atomscope ps --json | jq -r '.[] | select(.state == \"crashed\") | .path'")]
pub struct PsArgs {
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

pub fn ps(place: &SearchArgs, args: &PsArgs) -> Result<(), Failure> {
    let (rows, notes) = nodes(&search(place), place.region.as_deref())?;
    // The one that was asked for, and a row alone would not say to a script that it could not be had.
    let is_refused = place.region.is_some() && rows.iter().all(|row| row.glance.is_none());
    if args.json {
        to_stdout(|out| write_json(out, &rows))?;
    } else {
        let (left, right) = (Side::Left, Side::Right);
        let mut table = Table::new([
            ("PID", right),
            ("NODE", left),
            ("SYSTEM", left),
            ("STATE", left),
            ("AGE(s)", right),
            ("BEAT(s)", right),
            ("ACTORS", right),
            ("SIZE(MiB)", right),
            ("FILE", left),
            ("NOTE", left),
        ])
        .leaving(["SIZE(MiB)", "SYSTEM", "AGE(s)", "FILE", "BEAT(s)", "ACTORS"]);
        rows.iter().for_each(|row| table.row(cells(row)));
        to_people(|out| table.write(out, Screen::stdout()))?;
    }
    notes.iter().for_each(|text| note(text));
    match rows.into_iter().next().and_then(|row| row.why).filter(|_| is_refused) {
        Some(why) => Err(Failure::Failed(why)),
        None => Ok(()),
    }
}

/// The cells of a row.
fn cells(row: &NodeRow) -> [Cell; 10] {
    let tenths = |seconds: Option<f64>| Cell::known(seconds.map(|seconds| format!("{seconds:.1}")));
    let style = row.glance.as_ref().map_or(table::BAD, |glance| table::style(&glance.liveness));
    [
        Cell::known(row.pid),
        Cell::known(row.node.as_deref()),
        Cell::known(row.system.as_deref()),
        Cell::text(row.state).style(style),
        tenths(row.age_s),
        tenths(row.beat_age_s),
        Cell::known(row.actors),
        tenths(row.bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))),
        Cell::text(&row.shown_path),
        Cell::text(row.why.as_deref().unwrap_or_default()),
    ]
}
