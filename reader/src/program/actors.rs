//! Actors as rows, and `actors`: a node's actors as a list or a tree.
use std::cmp::Ordering;
use std::ffi::OsString;

use atomscope::query::Query;
use atomscope::snapshot::Snapshot;
use atomscope::text::write_json;
use atomscope_layout::decode::{Actor, ActorList, Moment, SpawnedAt};
use atomscope_layout::forest::Forest;
use serde::{Serialize, Serializer};

use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::{Cell, Screen, Table};
use crate::program::target::{SearchArgs, attach};
use atomscope::report::actors::{Listed, show_above};
use atomscope::report::list::Side;
use atomscope::report::list::not_known;
use clap::{Args, ValueEnum};

use crate::program::help::{WHO_HELP, filter_help};

/// List the live actors of a node.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Depth is the number of messages waiting, `-` where it is not known.

Examples:
  atomscope actors shop --sort age --limit 20
  atomscope actors shop --tree --filter checkout
  atomscope actors shop --filter 'age > 5m and not class ~ Order'
  atomscope actors --json | jq 'map(.actor_type) | group_by(.) | map({{(.[0]): length}})'

{}
{WHO_HELP}", filter_help()))]
pub struct ActorsArgs {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Show children below their parents.
    #[arg(long)]
    pub tree: bool,
    /// Order: by path or type from A to Z, by mailbox depth from the deepest, by age from the oldest.
    #[arg(long, value_enum, default_value_t = Sort::Path)]
    pub sort: Sort,
    /// Turn the order round.
    #[arg(long)]
    pub reverse: bool,
    /// Only actors that fulfil this, in a tree with those above them: a regular expression over their texts, `!` before it
    /// inverts, or conditions on path, name, parent, class, depth, age and host; see below.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write a JSON array of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Path,
    Type,
    Depth,
    Age,
}

/// An actor as it is written.
#[derive(Serialize)]
struct ActorRow<'a> {
    path: &'a str,
    parent: Option<&'a str>,
    actor_type: &'a str,
    /// `None` where it is not known.
    mailbox_depth: Option<u64>,
    spawned_at: SpawnedAt<'a>,
    age_s: Option<f64>,
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Rows<'a>>,
}

impl ActorRow<'_> {
    fn cells(&self, name: &str) -> [Cell; 5] {
        [
            Cell::text(name),
            Cell::text(self.actor_type),
            Cell::known(self.mailbox_depth),
            Cell::known(self.age_s.map(|age| format!("{age:.1}"))),
            Cell::known(self.host),
        ]
    }
}

/// What of the actors is shown.
struct Listing<'a> {
    actors: &'a ActorList,
    /// Of a tree.
    forest: Option<&'a Forest>,
    /// Of a tree, by number: whether it is there.
    is_shown: Vec<bool>,
    until: Option<Moment>,
}

/// Actors of a listing by their numbers, side by side.
struct Rows<'a> {
    listing: &'a Listing<'a>,
    numbers: Vec<u32>,
}

impl<'a> Listing<'a> {
    fn listed(&self, actor: Actor<'a>) -> Listed<'a> {
        Listed { actor, until: self.until, below: None }
    }

    /// The roots, or those below an actor.
    fn rows(&'a self, forest: &Forest, below: Option<u32>) -> Rows<'a> {
        let numbers = forest.below(below).filter(|number| self.is_shown[*number as usize]).collect();
        Rows { listing: self, numbers }
    }
}

impl<'a> Rows<'a> {
    fn iter(&self) -> impl Iterator<Item = ActorRow<'a>> {
        let listing = self.listing;
        self.numbers.iter().filter_map(move |number| {
            let actor = listing.actors.get(*number)?;
            let age_s = listing.listed(actor).age_s();
            Some(ActorRow {
                path: actor.path(),
                parent: actor.parent(),
                actor_type: actor.class(),
                mailbox_depth: actor.mailbox_depth(),
                spawned_at: actor.spawned_at(),
                age_s,
                host: actor.host(),
                children: listing.forest.map(|forest| listing.rows(forest, Some(*number))),
            })
        })
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

pub fn actors(search_args: &SearchArgs, args: ActorsArgs) -> Result<(), Failure> {
    let fields = Listed::fields(false);
    let query = Query::parse(args.filter.as_deref().unwrap_or_default(), &fields);
    let query = query.map_err(|error| Failure::filter("actors", &error))?;
    let chosen = attach(search_args, args.who)?;
    let snapshot = Snapshot::take(&chosen.region)?;
    let caveats = snapshot.caveats();
    let Snapshot { actors, until, .. } = snapshot;
    let matches = |actor: Actor<'_>| query.matches(&Listed { actor, until, below: None });
    let listed = actors.iter().map(|actor| Listed { actor, until, below: None });
    let unknown = query.unknown_in_all(&fields, listed);
    let compare = |a: &Actor<'_>, b: &Actor<'_>| compare(a, b, args.sort, args.reverse);
    let most = args.limit.unwrap_or(usize::MAX);
    let left_out = if args.tree {
        let mut tree = actors.into_tree();
        let actors = tree.actors();
        let mut is_shown: Vec<bool> = actors.iter().map(matches).collect();
        if args.sort != Sort::Path || args.reverse {
            let mut order: Vec<u32> = (0..actors.len() as u32).collect();
            order.sort_by(|a, b| numbers_by(actors, compare)(a, b));
            tree.order(&order);
        }
        let left_out = cut(tree.forest(), &mut is_shown, most);
        let listing = Listing { actors: tree.actors(), forest: Some(tree.forest()), is_shown, until };
        write_rows(&listing.rows(tree.forest(), None), args.json)?;
        left_out
    } else {
        let mut found = 0;
        let matching = actors.iter().zip(0..).filter(|(actor, _)| matches(*actor)).map(|(_, number)| number);
        let numbers = first(matching.inspect(|_| found += 1), most, numbers_by(&actors, compare));
        let listing = Listing { actors: &actors, forest: None, is_shown: Vec::new(), until };
        let left_out = found - numbers.len();
        write_rows(&Rows { listing: &listing, numbers }, args.json)?;
        left_out
    };
    if left_out > 0 {
        note(&format!("{left_out} more actors; a larger --limit shows them"));
    }
    if !unknown.is_empty() {
        note(&format!("{} of any of the actors", not_known(&unknown)));
    }
    caveats.iter().for_each(|caveat| note(caveat));
    Ok(())
}

fn write_rows(rows: &Rows<'_>, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return to_stdout(|out| write_json(out, rows));
    }
    let (left, right) = (Side::Left, Side::Right);
    let mut table = Table::new([
        ("PATH", left),
        ("TYPE", left),
        ("DEPTH(msgs)", right),
        ("AGE(s)", right),
        ("HOST", left),
    ]);
    for row in rows.iter() {
        table.row(row.cells(row.path));
        draw_children(&row, "", &mut table);
    }
    to_people(|out| table.write(out, Screen::stdout()))
}

/// What is unknown comes last, whatever is asked for; what is equal comes by path.
fn compare(a: &Actor<'_>, b: &Actor<'_>, by: Sort, reverse: bool) -> Ordering {
    let turn = |order: Ordering| if reverse { order.reverse() } else { order };
    let by_path = a.path().cmp(b.path());
    match by {
        Sort::Path => turn(by_path),
        Sort::Type => turn(a.class().cmp(b.class())).then(by_path),
        Sort::Depth => {
            let (a, b) = (a.mailbox_depth(), b.mailbox_depth());
            a.is_none().cmp(&b.is_none()).then(turn(b.cmp(&a))).then(by_path)
        }
        Sort::Age => {
            // By their stamps: the wall clock may have been set between the two.
            turn(a.spawn_stamp().cmp(&b.spawn_stamp())).then(by_path)
        }
    }
}

/// The order of actors as one of their numbers.
fn numbers_by(
    actors: &ActorList,
    compare: impl Fn(&Actor<'_>, &Actor<'_>) -> Ordering,
) -> impl Fn(&u32, &u32) -> Ordering {
    move |a, b| match (actors.get(*a), actors.get(*b)) {
        (Some(first), Some(second)) => compare(&first, &second).then(a.cmp(b)),
        _ => a.cmp(b),
    }
}

/// The first `most` in the order of `compare`, sorted; holds no more than twice as many, and looks at most others once.
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

/// Leaves of a tree the first `most` of those shown and those above them, parents before their children; says how many
/// are left out.
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

/// Adds everything below `row`, each by the last element of its path, behind the lines that join it to its parent.
fn draw_children(row: &ActorRow<'_>, lines: &str, table: &mut Table<[Cell; 5]>) {
    let Some(children) = &row.children else { return };
    for (child, at) in children.iter().zip(1..) {
        let (joint, beyond) =
            if at == children.numbers.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let name = child.path.rsplit('/').next().unwrap_or(child.path);
        table.row(child.cells(&format!("{lines}{joint}{name}")));
        draw_children(&child, &format!("{lines}{beyond}"), table);
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
