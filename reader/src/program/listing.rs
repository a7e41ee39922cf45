//! `cluster`, `sharding` and so on: the lists of one subsystem.

use std::ffi::OsString;
use std::io::{self, Write as _};

use atomscope::query::{Query, QueryError};
use atomscope::report::list::{self, Column, Fields, List, Selection};
use atomscope::report::subsystems::{Part, Summary, gaps, summary};
use atomscope::snapshot::Snapshot;
use atomscope::text::{clean, write_json};
use atomscope_layout::decode::rfc3339;
use clap::Args;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{Cell, Screen, Table};
use crate::program::target::{SearchArgs, attach};

#[derive(Debug, Args)]
pub struct ListingArgs {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Order by this column.
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Turn the order round.
    #[arg(long)]
    pub reverse: bool,
    /// Only what fulfils this: a regular expression over its texts, `!` before it inverts, or conditions on its columns; see
    /// below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many of each kind.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write JSON; see below.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` writes.
struct Told<'a> {
    snapshot: &'a Snapshot,
    summary: Option<&'a Summary>,
    lists: &'a [List],
    gaps: &'a [String],
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { snapshot, summary, lists, gaps } = self;
        let told = &snapshot.subsystems;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("node", &snapshot.identity.node)?;
        map.serialize_entry("generated_at", &rfc3339(snapshot.taken_at.unix_ns))?;
        map.serialize_entry("state", snapshot.liveness.verdict.word())?;
        map.serialize_entry("summary", summary)?;
        for list in *lists {
            map.serialize_entry(list.name, list)?;
        }
        map.serialize_entry("instances_unreadable", &told.instances.unreadable)?;
        map.serialize_entry("rows_left_out", &told.rows_dropped)?;
        map.serialize_entry("documents_unreadable", &told.documents_unreadable)?;
        map.serialize_entry("gaps", gaps)?;
        map.end()
    }
}

/// Whether some list can be asked this; if none can, why not, with the fields of them all.
fn check(filter: &str, lists: &[List]) -> Result<(), QueryError> {
    let lists = || lists.iter().filter(|list| !list.is_fixed);
    let mut all = Fields::default();
    lists().for_each(|list| all.add_those_of(list));
    let refused = |list: &List| {
        let mut own = Fields::default();
        own.add_those_of(list);
        Query::parse(filter, &own.fields).err()
    };
    match lists().map(refused).collect::<Option<Vec<_>>>() {
        Some(refusals) => match (Query::parse(filter, &all.fields), refusals.into_iter().next()) {
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
            (Ok(_), None) => Ok(()),
        },
        None => Ok(()),
    }
}

pub fn list(search_args: &SearchArgs, part: Part, args: ListingArgs) -> Result<(), Failure> {
    if let Some(filter) = &args.filter {
        check(filter, &part.lists(None)).map_err(|error| Failure::filter(part.name(), &error))?;
    }
    let chosen = attach(search_args, args.who.clone())?;
    let snapshot = Snapshot::without_actors(&chosen.region)?;
    let gaps = gaps(part, &snapshot);
    let summary = part.is_in_use(&snapshot).then(|| summary(part, &snapshot));
    let selection = Selection {
        sort: args.sort,
        reverse: args.reverse,
        filter: args.filter,
        limit: args.limit,
        whole: args.json,
    };
    let mut lists = part.lists(Some(&snapshot));
    let notes: Vec<_> = lists.iter_mut().flat_map(|list| list.select(&selection)).collect();
    if let (true, Part::Metrics, [all]) = (args.json, part, &lists[..]) {
        // Rows that are all alike.
        to_stdout(|out| write_json(out, all))?;
    } else if args.json {
        let told = Told { snapshot: &snapshot, summary: summary.as_ref(), lists: &lists, gaps: &gaps };
        to_stdout(|out| write_json(out, &told))?;
    } else {
        let screen = Screen::stdout();
        to_people(|out| match &summary {
            None => {
                writeln!(out, "node {} tells nothing of {}", clean(&snapshot.identity.node), part.thing())
            }
            Some(summary) => {
                if part != Part::Metrics {
                    writeln!(out, "{}", summary.line)?;
                }
                let shown = lists.iter().filter(|list| !list.rows.is_empty());
                shown.zip(0..).try_for_each(|(list, at)| {
                    if at > 0 || part != Part::Metrics {
                        writeln!(out)?;
                    }
                    write_list(list, out, screen)
                })
            }
        })?;
    }
    notes.iter().chain(&gaps).for_each(|text| note(text));
    snapshot.caveats().iter().for_each(|caveat| note(caveat));
    Ok(())
}

/// Writes a list as a table.
fn write_list(list: &List, out: &mut (impl io::Write + ?Sized), screen: Screen) -> io::Result<()> {
    let shown = || list.columns.iter().enumerate().filter(|(_, column)| column.is_shown);
    let title = |at: usize, column: &Column| if at == 0 { list.title.to_owned() } else { column.title() };
    let titles = shown().map(|(at, column)| (title(at, column), column.side));
    // What it is sorted by is seen for as long as there is room for anything.
    let leaving = shown().filter(|(at, _)| Some(*at) != list.sorted_by).map(|(at, column)| title(at, column));
    let leaving: Vec<_> = leaving.collect();
    let mut table = Table::new(titles).drop_order(leaving.iter().rev().map(String::as_str));
    for row in &list.rows {
        let unit = list::unit_of_row(&list.columns, row);
        table.row(shown().map(|(at, column)| Cell::text(&column.shown(&row[at], unit))).collect::<Vec<_>>());
    }
    table.write(out, screen)
}
