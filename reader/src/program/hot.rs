//! `hot`: the instrumented actors that did most in an interval.

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use atomscope::attach::Region;
use atomscope::report::hot::{HOW_TO_INSTRUMENT, Look, ORDERS, empty};
use atomscope::report::human::count;
use atomscope::report::list::{List, Selection};
use atomscope::snapshot::Snapshot;
use atomscope::system::{stop_on_signals, wait};
use atomscope::text::write_json;
use atomscope_layout::decode::ClassStats;
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::program::help::{WHO_HELP, filter_help};
use crate::program::listing::{note_no_match, note_unknown, write_list};
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::Screen;
use crate::program::target::{SearchArgs, attach, who};
use crate::program::values::{parse_count, parse_interval, shifted};

/// Show the actors that did most in an interval.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Only instrumented actors are seen: those that were spawned with `telemetry.actors.spawn(&system, props, name)` or \
`spawn_child(ctx, props, name)`, and those of `instrument(props)`, which have no path.

Columns:
  BUSY(%)      the share of the time in which it was in a handler, waiting in an `.await` included; an estimate
  HANDLED(/s)  messages whose handler has ended, per second
  RUNNING(s)   how long the handler in flight has lasted so far; `-` if there is none
  VARIANT      the variant of its message: `#[derive(Variants)]` and `#[observed]` tell it
  MODE         `runs` (or blocks its worker) or `awaits`, if `#[observed]` tells it
  DEPTH(msgs)  messages in the mailbox; `depth(true)` of the region's builder tells it
  GROWTH(/s)   by how many messages DEPTH has grown, per second
  FAILURES     handlers that panicked or unwound, in the interval
  RESTARTS     how often atomr restarted it in the interval

Values are over the INTERVAL, from the start of the command; of a dead node and of a dump over the life of each actor. \
`-` is unknown. COUNT is the number of tables, one for each INTERVAL; with --json each is an array.

INTERVAL is a number of seconds, or a number with ms, s or m. WHO can be left out before an INTERVAL with a unit.

Exit code: 0, also if no actor is instrumented; 1 if the node cannot be found or read.

Examples:
  atomscope hot shop
  atomscope hot shop 5s --sort depth -n 3
  atomscope hot shop --filter 'depth > 100 and class ~ Order'
  atomscope hot --json | jq -r '.[0].path'

{}
{WHO_HELP}", filter_help()))]
pub struct HotArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// The time over which rates are measured, such as 5 (seconds), 500ms, 1s or 5m; 1s if left out.
    pub interval: Option<OsString>,
    /// Number of intervals; 1 if left out.
    #[arg(value_parser = parse_count)]
    pub count: Option<u64>,
    /// What comes first: the greatest in this.
    #[arg(long, value_name = "COLUMN", default_value = "busy", value_parser = PossibleValuesParser::new(ORDERS.map(|(name, _)| name)))]
    pub sort: String,
    /// Only actors that match: a regular expression over their texts, `!` before it inverts, or conditions on the columns; see
    /// below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many actors.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

pub fn hot(search_args: &SearchArgs, args: HotArgs) -> Result<(), Failure> {
    let (who, interval, times) = shifted("hot", args.who.clone(), args.interval.clone(), args.count)?;
    let interval = interval.map_or(Ok(Duration::from_secs(1)), |text| {
        parse_interval(&text.to_string_lossy()).map_err(|why| Failure::usage_of("hot", why))
    })?;
    if let Some(filter) = &args.filter {
        empty().filter(filter).map_err(|error| Failure::filter("hot", &error))?;
    }
    stop_on_signals();
    let attached = attach(search_args, who)?;
    let region = &attached.region;
    let mut before = Look::take(region)?;
    if region.dump_info().is_some() || !region.liveness()?.verdict.is_alive() {
        let why = if region.dump_info().is_some() { "this is a dump" } else { "the node has ended" };
        note(&format!("rates are averages over the life of each actor, because {why}"));
        write(&args, before.since(None))?;
    } else {
        for number in 0..times.unwrap_or(1) {
            if !wait(interval) {
                break;
            }
            let now = Look::take(region)?;
            if number > 0 && !args.json {
                to_people(|out| writeln!(out))?;
            }
            write(&args, now.since(Some(&before)))?;
            before = now;
            if !region.liveness()?.verdict.is_alive() {
                note("the node has ended");
                break;
            }
        }
    }
    notes(region, before.has_numbers())
}

/// Writes the first rows of a list.
fn write(args: &HotArgs, mut list: List) -> Result<(), Failure> {
    let found = list.rows.len();
    let column = ORDERS.iter().find(|(name, _)| *name == args.sort).map(|(_, column)| (*column).to_owned());
    let unknown = match &args.filter {
        Some(filter) => list.filter(filter).map_err(|error| Failure::filter("hot", &error))?,
        None => Vec::new(),
    };
    // They are the busiest first, and the sort keeps that order of equal ones.
    list.select(&Selection { sort: column, ..Selection::default() });
    let is_unsorted = args.sort != "busy" && list.is_unsorted();
    list.rows.truncate(args.limit);
    if args.json {
        to_stdout(|out| write_json(out, &list))?;
    } else {
        to_people(|out| write_list(&list, out, Screen::stdout()))?;
    }
    note_unknown(&unknown, "actors");
    if is_unsorted {
        note_unknown(std::slice::from_ref(&args.sort), "actors");
    }
    if unknown.is_empty() {
        note_no_match(found, list.rows.len(), args.limit, "actor");
    }
    Ok(())
}

/// What the table cannot show. `has_numbers`: whether it has any actor.
fn notes(region: &Region, has_numbers: bool) -> Result<(), Failure> {
    let snapshot = Snapshot::without_actors(region)?;
    let instruments = &snapshot.instruments;
    if instruments.classes.is_empty() {
        note(&format!("no actor of this node is instrumented: {HOW_TO_INSTRUMENT}"));
    } else if !has_numbers {
        note(&format!(
            "no instrumented actor lives any more; `atomscope actors {} --by class` has what their classes did",
            who(region.dump_info().is_some(), &region.shown_path(), region.pid())
        ));
    }
    let sum = |of: fn(&ClassStats) -> u64| instruments.classes.iter().map(of).fold(0, u64::saturating_add);
    let (untracked, overwritten) = (sum(|class| class.untracked), sum(|class| class.overwritten));
    if untracked > 0 {
        note(&format!(
            "{} spawned when no cell was free, so only `actors --by class` counts what they do: a region with more \
             `instruments` has them",
            count(untracked, "instrumented actor was", "instrumented actors were")
        ));
    }
    if overwritten > 0 {
        note(&format!(
            "{} no longer counted, because another interceptor replaced the probe's",
            count(overwritten, "instrumented actor is", "instrumented actors are")
        ));
    }
    snapshot.caveats().iter().for_each(|caveat| note(&caveat.text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use atomscope::report::list::Value;

    use super::*;

    #[test]
    fn eighty_columns_have_what_an_actor_does_now() {
        let mut list = empty();
        let row = list.columns.iter().map(|column| match column.name {
            "path" => Value::text("akka://shop/user/orders/worker-17"),
            "class" => Value::text("shop::orders::Worker"),
            "variant" => Value::text("Place"),
            "mode" => Value::text("awaits"),
            _ => Value::Number(7),
        });
        list.rows = vec![row.collect()];
        let mut out = Vec::new();
        write_list(&list, &mut out, Screen { columns: Some(80), colours: false, ascii: false }).unwrap();
        let text = String::from_utf8(out).unwrap();
        let titles: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(titles, ["PATH", "BUSY(%)", "RUNNING(s)", "VARIANT", "MODE"], "{text}");
    }
}
