//! The commands of the subsystems: `cluster`, `sharding` and so on, one for each of [`ALL`].

use std::ffi::OsString;
use std::io::{self, Write as _};

use atomscope::query::{Query, QueryError};
use atomscope::report::human::count;
use atomscope::report::list::{self, Column, Fields, List, Selection, Value, unknown_fields};
use atomscope::report::subsystems::metrics::{BUILTIN_COLUMN, METRICS};
use atomscope::report::subsystems::{ALL, Subsystem, Summary};
use atomscope::snapshot::Snapshot;
use atomscope::text::{clean, write_json};
use atomscope_layout::decode::rfc3339;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::program::help::{WHO_HELP, filter_help};
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{Cell, Screen, Table};
use crate::program::target::{SearchArgs, attach};

/// The option of `metrics` for those that the probe counts itself.
const ALL_METRICS: &str = "all";

/// The command of a subsystem.
#[derive(Debug)]
pub struct ListingCommand {
    pub subsystem: &'static Subsystem,
    pub args: ListingArgs,
    /// Whether metrics that the probe counts itself are listed too.
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct ListingArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    #[command(flatten)]
    pub rows: RowsArgs,
}

/// Which rows of lists are shown, and how.
#[derive(Debug, Args)]
pub struct RowsArgs {
    /// Order by this column.
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Reverse the order.
    #[arg(long)]
    pub reverse: bool,
    /// Only rows that match: a regular expression over their texts, `!` before it inverts, or conditions on their columns; see
    /// below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many rows of each list.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write JSON; see below.
    #[arg(long)]
    pub json: bool,
}

impl RowsArgs {
    pub fn selection(self) -> Selection {
        let Self { sort, reverse, filter, limit, json } = self;
        Selection { sort, reverse, filter, limit, whole: json }
    }
}

/// clap derives a command from a variant; these come from the table of subsystems instead.
impl Subcommand for ListingCommand {
    fn augment_subcommands(program: Command) -> Command {
        ALL.iter().fold(program, |program, subsystem| program.subcommand(command(subsystem)))
    }

    fn augment_subcommands_for_update(program: Command) -> Command {
        Self::augment_subcommands(program)
    }

    fn has_subcommand(name: &str) -> bool {
        find(name).is_some()
    }
}

impl FromArgMatches for ListingCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let found = matches.subcommand().and_then(|(name, args)| Some((find(name)?, args)));
        let (subsystem, args) =
            found.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))?;
        let all = args.try_get_one(ALL_METRICS).ok().flatten().copied().unwrap_or_default();
        Ok(Self { subsystem, args: ListingArgs::from_arg_matches(args)?, all })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn find(name: &str) -> Option<&'static Subsystem> {
    ALL.iter().copied().find(|subsystem| subsystem.name == name)
}

fn command(subsystem: &Subsystem) -> Command {
    let all = Arg::new(ALL_METRICS).long(ALL_METRICS).action(ArgAction::SetTrue);
    let all = all.help("Also the metrics that the probe counts itself");
    ListingArgs::augment_args(Command::new(subsystem.name))
        .args((*subsystem == METRICS).then_some(all))
        .about(subsystem.about)
        .after_help(help(subsystem))
        .mut_arg("sort", |arg| arg.value_parser(PossibleValuesParser::new(subsystem.sorts())))
}

fn help(subsystem: &Subsystem) -> String {
    let json =
        if subsystem.is_one_list { "an array of objects" } else { "one object: the lists by their names" };
    let examples = subsystem.examples.iter().map(|example| format!("  {example}\n")).collect::<String>();
    format!(
        "\
{}

`-` stands for an unknown value; AGE(s) is the time since it was first listed. --sort puts the greatest number first \
and texts from A to Z; a list without that column keeps its order. --json writes {json}, with the fields of `atomscope \
dump`; the end of a key is its unit: `_s` seconds, `_ns` nanoseconds, `_bytes` bytes. Notes on stderr count rows that were dropped or are unreadable.

Examples:
{examples}
{}
{WHO_HELP}",
        subsystem.notes,
        filter_help()
    )
}

/// What `--json` writes.
struct ListingJson<'a> {
    snapshot: &'a Snapshot,
    summary: Option<&'a Summary>,
    lists: &'a [List],
    gaps: &'a [String],
}

impl Serialize for ListingJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { snapshot, summary, lists, gaps } = self;
        let subsystems = &snapshot.subsystems;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("node", &snapshot.identity.node)?;
        map.serialize_entry("generated_at", &rfc3339(snapshot.taken_at.unix_ns))?;
        map.serialize_entry("state", snapshot.liveness.verdict.word())?;
        map.serialize_entry("summary", summary)?;
        for list in *lists {
            map.serialize_entry(list.name, list)?;
        }
        map.serialize_entry("instances_unreadable", &subsystems.instances.unreadable)?;
        map.serialize_entry("rows_dropped", &subsystems.rows_dropped)?;
        map.serialize_entry("documents_unreadable", &subsystems.documents_unreadable)?;
        map.serialize_entry("gaps", gaps)?;
        map.end()
    }
}

/// Checks that the query suits one list at least. The error names the fields of all lists.
pub fn check(filter: &str, lists: &[List]) -> Result<(), QueryError> {
    let lists = || lists.iter().filter(|list| !list.is_fixed);
    let mut all = Fields::default();
    lists().for_each(|list| all.add_those_of(list));
    let error_of = |list: &List| {
        let mut own = Fields::default();
        own.add_those_of(list);
        Query::parse(filter, &own.fields).err()
    };
    match lists().map(error_of).collect::<Option<Vec<_>>>() {
        Some(errors) => match (Query::parse(filter, &all.fields), errors.into_iter().next()) {
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
            (Ok(_), None) => Ok(()),
        },
        None => Ok(()),
    }
}

pub fn list(
    search: &SearchArgs,
    ListingCommand { subsystem, args, all }: ListingCommand,
) -> Result<(), Failure> {
    let ListingArgs { who, rows } = args;
    if let Some(filter) = &rows.filter {
        check(filter, &subsystem.lists(None)).map_err(|error| Failure::filter(subsystem.name, &error))?;
    }
    let attached = attach(search, who)?;
    let snapshot = Snapshot::without_actors(&attached.region)?;
    let gaps = subsystem.gaps(&snapshot);
    let summary = subsystem.is_in_use(&snapshot).then(|| subsystem.summary(&snapshot));
    let selection = rows.selection();
    let mut lists = subsystem.lists(Some(&snapshot));
    let hidden = if *subsystem == METRICS && !all { hide_builtin(&mut lists) } else { 0 };
    let notes: Vec<_> = lists.iter_mut().flat_map(|list| list.select(&selection)).collect();
    if selection.whole {
        match &lists[..] {
            [only] if subsystem.is_one_list => to_stdout(|out| write_json(out, only))?,
            lists => {
                let json = ListingJson { snapshot: &snapshot, summary: summary.as_ref(), lists, gaps: &gaps };
                to_stdout(|out| write_json(out, &json))?;
            }
        }
    } else {
        let screen = Screen::stdout();
        to_people(|out| match &summary {
            None => {
                let node = clean(&snapshot.identity.node);
                writeln!(out, "node {node} reports nothing about {}", subsystem.content)
            }
            Some(summary) => {
                let has_line = !subsystem.is_one_list;
                if has_line {
                    writeln!(out, "{}", summary.line)?;
                }
                let shown = lists.iter().filter(|list| !list.rows.is_empty());
                shown.zip(0..).try_for_each(|(list, at)| {
                    if at > 0 || has_line {
                        writeln!(out)?;
                    }
                    write_list(list, out, screen)
                })
            }
        })?;
    }
    notes.iter().chain(&gaps).for_each(|text| note(text));
    if hidden > 0 && lists.iter().all(|list| list.rows.is_empty()) {
        note(&format!(
            "none of the application's metrics; --all lists {} that the probe counts itself",
            count(hidden as u64, "metric", "metrics")
        ));
    }
    snapshot.caveats().iter().for_each(|caveat| note(&caveat.text));
    Ok(())
}

/// Takes the metrics away that the probe counts itself, and returns how many.
fn hide_builtin(lists: &mut [List]) -> usize {
    let mut hidden = 0;
    for list in lists {
        let (Some(at), before) = (list.column(BUILTIN_COLUMN), list.rows.len()) else { continue };
        list.rows.retain(|row| row.get(at) != Some(&Value::Flag(true)));
        hidden += before - list.rows.len();
    }
    hidden
}

/// Notes the fields of a filter, or the column of a sort, that are unknown for all `rows`: nobody is to take them for 0.
pub fn note_unknown(fields: &[String], rows: &str) {
    if fields.is_empty() {
        return;
    }
    let is_depth = fields.iter().any(|field| matches!(&**field, "depth" | "mailbox_depth"));
    let how = if is_depth { ": `depth(true)` of the region's builder tells the depth" } else { "" };
    note(&format!("{} for all {rows}{how}", unknown_fields(fields)));
}

/// Notes that a filter has left none of the rows that were there.
pub fn note_no_match(found: usize, left: usize, limit: usize, row: &str) {
    if found > 0 && left == 0 && limit > 0 {
        note(&format!("none of {} matches", count(found as u64, row, &format!("{row}s"))));
    }
}

/// Writes a list as a table.
pub fn write_list(list: &List, out: &mut (impl io::Write + ?Sized), screen: Screen) -> io::Result<()> {
    let shown = || list.columns.iter().enumerate().filter(|(_, column)| column.is_shown);
    let title = |at: usize, column: &Column| if at == 0 { list.title.to_owned() } else { column.title() };
    let titles = shown().map(|(at, column)| (title(at, column), column.side));
    let is_wanted = |at: &usize| Some(*at) == list.sorted_by || list.filtered_by.contains(at);
    let wanted = shown().filter(|(at, _)| is_wanted(at)).map(|(at, column)| title(at, column));
    let order = list::drop_order(shown().map(|(_, column)| column));
    let mut table = Table::new(titles).drop_order(order).keep(wanted);
    for row in &list.rows {
        let unit = list::unit_of_row(&list.columns, row);
        table.row(shown().map(|(at, column)| Cell::text(&column.shown(&row[at], unit))).collect::<Vec<_>>());
    }
    table.write(out, screen)
}
