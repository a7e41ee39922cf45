//! `records`: the application's own records.

use std::ffi::OsString;
use std::io::Write as _;

use atomscope::report::human::count;
use atomscope::report::list::List;
use atomscope::report::records::{HOW_TO_PUBLISH, by_kind};
use atomscope::snapshot::Snapshot;
use atomscope::text::{clean, write_json};
use clap::Args;
use serde::{Serialize, Serializer};

use crate::program::help::{WHO_HELP, filter_help};
use crate::program::listing::{RowsArgs, check, write_list};
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::Screen;
use crate::program::target::{SearchArgs, attach};

/// Show the records that the application publishes.
#[derive(Debug, Args)]
#[command(after_help = format!("\
A record is the newest state of something of the application, such as an order book. There is a table for each kind, with a \
column for each of its fields, and these:
  PUBLISHED  how often the record was published
  LOST       states that were not stored, because another thread published one at the same time
  AGE(s)     time since it was published, until now or until the end of the node

`-` stands for an unknown value: of a record that was never published, too. --sort puts the greatest number first and texts \
from A to Z; a kind without that column keeps its order. --filter leaves out the kinds without the fields that it names. --json \
writes an array of objects with all fields by their names, and `kind` and `record`. `atomscope dump` describes the fields, and \
`atomscope stat --metric KIND/RECORD.FIELD` follows a number.

Examples:
  atomscope records shop
  atomscope records shop OrderBook --sort depth --limit 5
  atomscope records shop --filter 'best_bid > 1.1 and open = yes'
  atomscope records --json | jq '.[] | .record'

{}
{WHO_HELP}", filter_help()))]
pub struct RecordsArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Only records of this kind.
    pub kind: Option<String>,
    #[command(flatten)]
    pub rows: RowsArgs,
}

pub fn records(search: &SearchArgs, args: RecordsArgs) -> Result<(), Failure> {
    let RecordsArgs { who, kind, rows } = args;
    let attached = attach(search, who)?;
    let snapshot = Snapshot::without_actors(&attached.region)?;
    let records = &snapshot.own_records;
    let node = clean(&snapshot.identity.node);
    let mut lists = by_kind(records, kind.as_deref(), snapshot.until);
    if let (Some(kind), true) = (&kind, lists.is_empty()) {
        let kinds: Vec<_> = records.kinds.iter().map(|kind| clean(&kind.name).into_owned()).collect();
        let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        return Err(Failure::Failed(format!(
            "node {node} has no kind {} of records; it has: {kinds}",
            clean(kind)
        )));
    }
    if !lists.is_empty() {
        if let Some(filter) = &rows.filter {
            check(filter, &lists).map_err(|error| Failure::filter("records", &error))?;
        }
        if let Some(sort) =
            rows.sort.as_deref().filter(|sort| lists.iter().all(|list| list.column(sort).is_none()))
        {
            let names: Vec<_> =
                lists.iter().flat_map(|list| &list.columns).map(|column| column.name).collect();
            let why = format!("no record has a column {}; there are: {}", clean(sort), names.join(", "));
            return Err(Failure::usage_of("records", why));
        }
    }
    let selection = rows.selection();
    let is_empty = lists.is_empty();
    let notes: Vec<_> = lists.iter_mut().flat_map(|list| list.select(&selection)).collect();
    if selection.whole {
        to_stdout(|out| write_json(out, &AllRows(&lists)))?;
    } else {
        let screen = Screen::stdout();
        to_people(|out| {
            if is_empty {
                return writeln!(out, "node {node} publishes no records of its own: {HOW_TO_PUBLISH}");
            }
            let shown = lists.iter().filter(|list| kind.is_some() || !list.rows.is_empty());
            shown.zip(0..).try_for_each(|(list, at)| {
                if at > 0 {
                    writeln!(out)?;
                }
                write_list(list, out, screen)
            })
        })?;
    }
    notes.iter().for_each(|text| note(text));
    if records.unreadable > 0 {
        note(&format!(
            "{} cannot be read; perhaps a thread died while it published",
            count(records.unreadable, "record or kind", "records or kinds")
        ));
    }
    snapshot.caveats().iter().for_each(|caveat| note(&caveat.text));
    Ok(())
}

/// The rows of all lists as one array.
struct AllRows<'a>(&'a [List]);

impl Serialize for AllRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().flat_map(List::json_rows))
    }
}
