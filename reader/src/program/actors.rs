//! `actors`: the live actors of a node as a list or a tree.

use std::cmp::Ordering;
use std::ffi::OsString;

use atomscope::query::Query;
use atomscope::report::actors::{
    ActorColumn, ActorOrder, ActorRow, COLUMNS, LISTED, LISTED_WITHOUT, LISTED_WITHOUT_POLLS, Needs, SORTS,
    show_above,
};
use atomscope::report::human::count;
use atomscope::report::list::drop_order;
use atomscope::snapshot::Snapshot;
use atomscope::text::write_json;
use atomscope_layout::decode::{Actor, ActorList, Moment};
use atomscope_layout::forest::Forest;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::program::grouped::{By, Grouped, SORTS as GROUP_SORTS};
use crate::program::help::{WHO_HELP, filter_help};
use crate::program::listing::{note_no_match, note_unknown};
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{Cell, Screen, Table};
use crate::program::target::{SearchArgs, attach};
use crate::program::values::parse_count;

/// List the live actors of a node.
#[derive(Debug, Args)]
#[command(after_help = format!("\
DEPTH is the number of waiting messages, `-` where it is unknown: the builder's `depth(true)` of the probe reads it for \
instrumented actors, and the application may report it.

Instrumented actors are those that were spawned by the probe: `telemetry.actors.spawn(&system, props, name)` or \
`spawn_child(ctx, props, name)`. If a node has some, the list also has these columns, `-` for the other actors and for those \
that found no room (`instruments(n)` of the builder):
  HANDLED     messages whose handler has ended
  POLLS       how often its task was polled; only if some runtime was watched from its builder, with `--cfg tokio_unstable`
  BUSY        the share of its life in which it was in a handler, waiting in an `.await` included
  FAILURES    handlers that panicked or unwound
  RESTARTS    how often atomr restarted it
  RUNNING(s)  how long the handler in flight has lasted so far; `-` if there is none
  VARIANT     the variant of the message whose handler is in flight
  MODE        `runs` (or blocks its worker) or `awaits`
`#[derive(Variants)]` on the messages and `#[observed]` on the actor tell VARIANT and MODE.

--by sums up what actors did since their spawns, and --filter and --sort are then for the columns of the groups:
  class    LIVE actors; P50 and P99 of the time that a handler takes, and LONGEST(s) of the handlers in flight; also what actors did that have stopped; `-` without a name are \
all classes that found no room
  subtree  the live actors of each parent, or with `--level N` those whose paths begin alike; `-` are the actors of `instrument(props)`, \
which have no path
  variant  what was done for each variant of the messages of a class; `-` if nothing tells the variant
Times are of one message in sixteen, unless the node times them all, and `-` while none was timed. BUSY of a class and of a \
variant counts finished handlers, that of a subtree also the ones in flight.

Examples:
  atomscope actors shop --by class --sort p99
  atomscope actors shop --by subtree --level 2 --filter 'failures > 0'
  atomscope actors shop --sort age --limit 20
  atomscope actors shop --tree --filter checkout
  atomscope actors shop --filter 'age > 5m and not class ~ Order'
  atomscope actors --json | jq 'map(.class) | group_by(.) | map({{(.[0]): length}})'

{}
{WHO_HELP}", filter_help()))]
pub struct ActorsArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Show children below their parents.
    #[arg(long)]
    pub tree: bool,
    /// Sum up the actors by class, by subtree, or by class and variant of their messages; see below.
    #[arg(long, value_name = "GROUP", value_enum, conflicts_with = "tree")]
    pub by: Option<By>,
    /// With `--by subtree`: the number of elements of a path, behind the name of the system, that make a subtree. Without it,
    /// the actors of each parent are a subtree.
    #[arg(long, value_name = "N", requires = "by", value_parser = parse_count)]
    pub level: Option<u64>,
    /// Order: by path, class or another text from A to Z, by age from the oldest, by all others from the greatest. Groups come by
    /// busy time if it is left out, actors by path.
    #[arg(long, value_name = "COLUMN", value_parser = parse_sort())]
    pub sort: Option<String>,
    /// Reverse the order.
    #[arg(long)]
    pub reverse: bool,
    /// Only actors that match, in a tree with their ancestors: a regular expression over their texts, `!` before it inverts, or
    /// conditions on path, parent, name, class, depth, handled, polls, busy, failures, restarts, running, variant, mode, age and host; see
    /// below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many actors.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

/// `path`, `class` and so on, the names that they had, and the columns that only groups have.
fn parse_sort() -> PossibleValuesParser {
    let of_actors = SORTS.map(|column| PossibleValue::new(column.names[0]).aliases(&column.names[1..]));
    PossibleValuesParser::new(of_actors.into_iter().chain(GROUP_SORTS.map(PossibleValue::new)))
}

impl ActorsArgs {
    /// The column that actors are sorted by.
    fn column(&self) -> Result<&'static ActorColumn, Failure> {
        let name = self.sort.as_deref().unwrap_or("path");
        ActorColumn::sort(name).ok_or_else(|| {
            Failure::usage_of("actors", format!("only groups can be sorted by {name}: give --by"))
        })
    }

    fn grouped(&self, by: By) -> Grouped<'_> {
        Grouped {
            by,
            level: self.level.map(|level| usize::try_from(level).unwrap_or(usize::MAX)),
            sort: self.sort.as_deref(),
            reverse: self.reverse,
            filter: self.filter.as_deref(),
            limit: self.limit,
            json: self.json,
        }
    }
}

/// An actor as it is written, with its children in a tree.
struct Branch<'a> {
    row: ActorRow<'a>,
    children: Option<Rows<'a>>,
}

impl Branch<'_> {
    /// The cells of its line. `name` stands in the first column. An array, since there may be a million lines.
    fn cells<const N: usize>(&self, columns: [&ActorColumn; N], name: &str) -> [Cell; N] {
        std::array::from_fn(|at| match at {
            0 => Cell::text(name),
            _ => Cell::text(&columns[at].value(&self.row).shown()),
        })
    }
}

impl Serialize for Branch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for column in COLUMNS {
            if let Some(key) = column.key {
                map.serialize_entry(key, &column.value(&self.row))?;
            }
        }
        if let Some(children) = &self.children {
            map.serialize_entry("children", children)?;
        }
        map.end()
    }
}

/// The actors that are shown.
struct Listing<'a> {
    actors: &'a ActorList,
    /// Only of a tree.
    forest: Option<&'a Forest>,
    /// Whether each actor is shown, by its number; only of a tree.
    is_shown: Vec<bool>,
    until: Option<Moment>,
}

/// Siblings, or a whole list, by their numbers.
struct Rows<'a> {
    listing: &'a Listing<'a>,
    numbers: Vec<u32>,
}

impl<'a> Listing<'a> {
    /// The roots, or the children of an actor.
    fn rows(&'a self, forest: &Forest, below: Option<u32>) -> Rows<'a> {
        let numbers = forest.below(below).filter(|number| self.is_shown[*number as usize]).collect();
        Rows { listing: self, numbers }
    }
}

impl<'a> Rows<'a> {
    fn iter(&self) -> impl Iterator<Item = Branch<'a>> {
        let listing = self.listing;
        self.numbers.iter().filter_map(move |number| {
            let row = ActorRow::new(listing.actors.get(*number)?, listing.until);
            let children = listing.forest.map(|forest| listing.rows(forest, Some(*number)));
            Some(Branch { row, children })
        })
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

pub fn actors(search: &SearchArgs, args: ActorsArgs) -> Result<(), Failure> {
    if let Some(by) = args.by {
        let grouped = args.grouped(by);
        grouped.check()?;
        return grouped.write(&attach(search, args.who.clone())?);
    }
    let sort = args.column()?;
    let fields = ActorRow::fields(false);
    let query = Query::parse(args.filter.as_deref().unwrap_or_default(), &fields);
    let query = query.map_err(|error| Failure::filter("actors", &error))?;
    let attached = attach(search, args.who)?;
    let snapshot = Snapshot::take(&attached.region)?;
    let caveats = snapshot.caveats();
    let met = Needs::met_by(&snapshot);
    let wanted = query.compared().into_iter().filter_map(ActorRow::column_of).chain([sort]);
    let wanted: Vec<String> = wanted.map(|column| column.column.title()).collect();
    let form = if args.json { Form::Json } else { Form::Table { met, wanted: &wanted } };
    let Snapshot { actors, until, .. } = snapshot;
    let matches = |actor: Actor<'_>| query.matches(&ActorRow::new(actor, until));
    let rows = actors.iter().map(|actor| ActorRow::new(actor, until));
    let unknown = query.unknown_in_all(&fields, rows);
    let found = actors.len();
    let is_unknown = |actor: Actor<'_>| sort.sort_key(&ActorRow::new(actor, until)).is_none();
    let is_unsorted = found > 0 && args.sort.is_some() && actors.iter().all(is_unknown);
    let has_match = actors.iter().any(matches);
    let compare = |a: &Actor<'_>, b: &Actor<'_>| {
        sort.compare(&ActorRow::new(*a, until), &ActorRow::new(*b, until), args.reverse)
    };
    let most = args.limit.unwrap_or(usize::MAX);
    let hidden = if args.tree {
        let mut tree = actors.into_tree();
        let actors = tree.actors();
        let mut is_shown: Vec<bool> = actors.iter().map(matches).collect();
        if !matches!(sort.order, ActorOrder::Path) || args.reverse {
            let mut order: Vec<u32> = (0..actors.len() as u32).collect();
            order.sort_by(numbers_by(actors, compare));
            tree.order(&order);
        }
        let hidden = cut(tree.forest(), &mut is_shown, most);
        let listing = Listing { actors: tree.actors(), forest: Some(tree.forest()), is_shown, until };
        write_rows(&listing.rows(tree.forest(), None), form)?;
        hidden
    } else {
        let mut found = 0;
        let matching = actors.iter().zip(0..).filter(|(actor, _)| matches(*actor)).map(|(_, number)| number);
        let numbers = first(matching.inspect(|_| found += 1), most, numbers_by(&actors, compare));
        let listing = Listing { actors: &actors, forest: None, is_shown: Vec::new(), until };
        let hidden = found - numbers.len();
        write_rows(&Rows { listing: &listing, numbers }, form)?;
        hidden
    };
    if hidden > 0 {
        let more = count(hidden as u64, "more actor", "more actors");
        note(&format!("{more}; show them with a larger --limit"));
    }
    note_unknown(&unknown, "actors");
    if is_unsorted {
        note_unknown(&[sort.names[0].to_owned()], "actors");
    }
    if unknown.is_empty() && !has_match {
        note_no_match(found, 0, most, "actor");
    }
    caveats.iter().for_each(|caveat| note(&caveat.text));
    Ok(())
}

/// How actors are written.
#[derive(Clone, Copy)]
enum Form<'a> {
    Json,
    /// With the columns whose needs are met.
    Table {
        met: Needs,
        /// The titles of the columns that are dropped last on a narrow terminal.
        wanted: &'a [String],
    },
}

fn write_rows(rows: &Rows<'_>, form: Form<'_>) -> Result<(), Failure> {
    match form {
        Form::Json => to_stdout(|out| write_json(out, rows)),
        Form::Table { met: Needs::Polls, wanted } => write_table(rows, LISTED, wanted),
        Form::Table { met: Needs::Instruments, wanted } => write_table(rows, LISTED_WITHOUT_POLLS, wanted),
        Form::Table { met: Needs::Actors, wanted } => write_table(rows, LISTED_WITHOUT, wanted),
    }
}

fn write_table<const N: usize>(
    rows: &Rows<'_>,
    columns: [&ActorColumn; N],
    wanted: &[String],
) -> Result<(), Failure> {
    let order = drop_order(columns.map(|listed| &listed.column));
    let mut table = Table::new(columns.map(|listed| (listed.column.title(), listed.column.side)))
        .drop_order(order)
        .keep(wanted.iter().cloned());
    for branch in rows.iter() {
        table.row(branch.cells(columns, branch.row.actor.path()));
        draw_children(&branch, "", columns, &mut table);
    }
    to_people(|out| table.write(out, Screen::stdout()))
}

/// The order of actors, as an order of their numbers.
fn numbers_by(
    actors: &ActorList,
    compare: impl Fn(&Actor<'_>, &Actor<'_>) -> Ordering,
) -> impl Fn(&u32, &u32) -> Ordering {
    move |a, b| match (actors.get(*a), actors.get(*b)) {
        (Some(first), Some(second)) => compare(&first, &second).then(a.cmp(b)),
        _ => a.cmp(b),
    }
}

/// The first `most` in the order of `compare`, sorted. Holds at most twice as many, and compares most others once.
fn first(all: impl Iterator<Item = u32>, most: usize, compare: impl Fn(&u32, &u32) -> Ordering) -> Vec<u32> {
    let mut held: Vec<u32> = Vec::new();
    let mut bound = None;
    for number in all {
        if bound.is_some_and(|bound| compare(&number, &bound).is_gt()) {
            continue;
        }
        held.push(number);
        if held.len() > most.saturating_mul(2) {
            bound = most.checked_sub(1).map(|last| *held.select_nth_unstable_by(last, &compare).1);
            held.truncate(most);
        }
    }
    held.sort_unstable_by(compare);
    held.truncate(most);
    held
}

/// Keeps the first `most` actors of a tree that are shown or have a descendant that is shown, parents before their
/// children. Returns how many are hidden for that.
fn cut(forest: &Forest, is_shown: &mut [bool], most: usize) -> usize {
    show_above(forest, is_shown);
    fn keep(forest: &Forest, below: Option<u32>, is_shown: &mut [bool], kept: &mut Vec<u32>, most: usize) {
        for number in forest.below(below) {
            if kept.len() >= most {
                return;
            }
            if is_shown[number as usize] {
                kept.push(number);
                keep(forest, Some(number), is_shown, kept, most);
            }
        }
    }
    let all = is_shown.iter().filter(|is_shown| **is_shown).count();
    if all <= most {
        return 0;
    }
    let mut kept = Vec::new();
    keep(forest, None, is_shown, &mut kept, most);
    is_shown.fill(false);
    kept.iter().for_each(|number| is_shown[*number as usize] = true);
    all - kept.len()
}

/// Adds all descendants, each by the last element of its path, behind the lines that join it to its parent.
fn draw_children<const N: usize>(
    branch: &Branch<'_>,
    lines: &str,
    columns: [&ActorColumn; N],
    table: &mut Table<[Cell; N]>,
) {
    let Some(children) = &branch.children else { return };
    for (child, at) in children.iter().zip(1..) {
        let (joint, beyond) =
            if at == children.numbers.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let path = child.row.actor.path();
        let name = path.rsplit('/').next().unwrap_or(path);
        table.row(child.cells(columns, &format!("{lines}{joint}{name}")));
        draw_children(&child, &format!("{lines}{beyond}"), columns, table);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The first few of so many in the order of `rank`, and how many comparisons that took.
    fn first_of(all: u32, most: usize, rank: impl Fn(u32) -> u32) -> (Vec<u32>, usize) {
        let comparisons = Cell::new(0);
        let compare = |a: &u32, b: &u32| {
            comparisons.set(comparisons.get() + 1);
            rank(*a).cmp(&rank(*b))
        };
        (first(0..all, most, compare), comparisons.get())
    }

    #[test]
    fn the_first_of_many_are_those_that_a_sort_would_give() {
        let shuffled = |number: u32| number.wrapping_mul(0x9e37_79b1);
        let mut sorted: Vec<u32> = (0..1000).collect();
        sorted.sort_by_key(|number| shuffled(*number));
        for most in [0, 1, 7, 999, 1000, 5000, usize::MAX] {
            assert_eq!(first_of(1000, most, shuffled).0, sorted[..most.min(1000)], "{most}");
        }
    }

    #[test]
    fn the_first_few_cost_hardly_more_than_a_look_at_each() {
        let (_, shuffled) = first_of(100_000, 10, |number| number.wrapping_mul(0x9e37_79b1));
        assert!(shuffled < 110_000, "{shuffled}");
        // At worst each comes before all that came so far.
        let (_, worst) = first_of(100_000, 10, |number| u32::MAX - number);
        assert!(worst < 1_000_000, "{worst}");
    }
}
