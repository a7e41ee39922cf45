//! `ps`: the nodes of this machine.

use atomscope::report::list::Side;
use atomscope::report::nodes::{NodeRow, nodes};
use atomscope::text::{clean, write_json};
use clap::Args;

use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{BAD, Cell, Screen, Table, verdict_style};
use crate::program::target::{SearchArgs, search};

/// List the nodes of this machine, live and dead.
#[derive(Debug, Args)]
#[command(after_help = "\
States:
  starting   no actor system is installed yet
  live       the node is healthy
  wedged     the process exists but hangs: it is stopped, or the probe or the async runtime has
             had no heartbeat for 3 seconds
  stopping   the application has announced its end
  closed     the node ended in good order
  failed     the node closed its region, and ended with another exit code than 0, by a panic or
             by a signal
  crashed    the node ended without closing its region; its last data can still be read
  not ready, incompatible, corrupt, refused
             the region cannot be read; NOTE says why

NOTE counts the earlier nodes of the name that failed or crashed, since one ended in good order, as
crashes.

AGE is the time since the start of the node, BEAT the time since its last heartbeat.

Dead nodes are found by the files that they leave in /dev/shm. If a node was configured to use
another file, name it: atomscope ps --region PATH. `(deleted)` after a path means that the file
has been removed while the node uses it: if that node crashes, no data is left.

Exit code: 0; 1 if the regions cannot be searched, or if --region cannot be read.

Examples:
  atomscope ps
  atomscope ps --json | jq -r '.[] | select(.state == \"crashed\") | .path'")]
pub struct PsArgs {
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

pub fn ps(search_args: &SearchArgs, args: &PsArgs) -> Result<(), Failure> {
    let (rows, notes) = nodes(&search(search_args), search_args.region.as_deref())?;
    // A region that was named must be readable: a script could not tell that from its row.
    let is_refused = search_args.region.is_some() && rows.iter().all(|row| row.summary.is_none());
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
        .drop_titles(["SIZE(MiB)", "SYSTEM", "AGE(s)", "FILE", "BEAT(s)", "ACTORS"]);
        rows.iter().for_each(|row| table.row(cells(row)));
        to_people(|out| table.write(out, Screen::stdout()))?;
    }
    notes.iter().for_each(|text| note(text));
    match rows.into_iter().next().filter(|_| is_refused) {
        Some(NodeRow { path, why: Some(why), .. }) => {
            Err(Failure::Failed(format!("cannot attach to {}: {why}", clean(&path))))
        }
        _ => Ok(()),
    }
}

fn cells(row: &NodeRow) -> [Cell; 10] {
    let tenths = |number: Option<f64>| Cell::known(number.map(|number| format!("{number:.1}")));
    let style = row.summary.as_ref().map_or(BAD, |summary| verdict_style(&summary.liveness));
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
