//! `letters`: the dead letters of a node as storms.

use std::ffi::OsString;
use std::io::Write as _;

use atomscope::report::human::count;
use atomscope::report::letters::{Letters, empty};
use atomscope::report::list::Selection;
use atomscope::text::write_json;
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::program::help::{WHO_HELP, filter_help};
use crate::program::listing::{RowsArgs, note_no_match, note_unknown, write_list};
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::Screen;
use crate::program::target::{SearchArgs, attach};

/// List the dead letters of a node, those of one kind in one row.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Messages of one type to recipients of one class are a storm. It is made of the dead letters that the region keeps, the newest \
1,024 by default; stderr says if there were more.

Columns:
  MESSAGE     the type of the message
  CLASS       the class of the recipients; known if they live, or if the event of their spawn is still kept; \
recipients whose class is unknown have rows of their own, with `-`
  COUNT       so many of them are kept
  RECIPIENTS  the number of different recipients
  FIRST(s)    time since the oldest of them
  LAST(s)     time since the newest of them
  RECIPIENT   the recipient of the newest one
  STATE       the last that is known of that recipient: live, or stopped; `-` if its stop is not kept any more
  STOPPED(s)  time since its stop
  SENDER      the sender of the newest one

--json writes an array of objects, with the times `first` and `last` too. `atomscope tail --topic dead_letters` and the view \
Letters of `top` have the letters one by one.

Examples:
  atomscope letters shop
  atomscope letters shop --filter 'last < 1m and count > 10'
  atomscope letters --json | jq -c '.[] | {{class, message, count}}'

{}
{WHO_HELP}", filter_help()))]
#[command(mut_arg("sort", |arg| arg.default_value(SORTS[0].0).value_parser(sorts())))]
pub struct LettersArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    #[command(flatten)]
    pub rows: RowsArgs,
}

/// What rows are sorted by, and the column.
const SORTS: [(&str, &str); 6] = [
    ("count", "count"),
    ("message", "message"),
    ("class", "class"),
    ("recipients", "recipients"),
    ("first", "first_s"),
    ("last", "last_s"),
];

fn sorts() -> PossibleValuesParser {
    PossibleValuesParser::new(SORTS.map(|(name, _)| name))
}

pub fn letters(search_args: &SearchArgs, args: LettersArgs) -> Result<(), Failure> {
    let of_filter = |error| Failure::filter("letters", &error);
    let LettersArgs { who, rows } = args;
    if let Some(filter) = &rows.filter {
        empty().filter(filter).map_err(of_filter)?;
    }
    let attached = attach(search_args, who)?;
    let letters = Letters::take(&attached.region)?;
    let mut list = letters.storms();
    let found = list.rows.len();
    let unknown = match &rows.filter {
        Some(filter) => list.filter(filter).map_err(of_filter)?,
        None => Vec::new(),
    };
    let of_name = |sort: &str| SORTS.iter().find(|(name, _)| *name == sort);
    let column = rows.sort.as_deref().and_then(of_name).map(|(_, column)| (*column).to_owned());
    // Ages are sorted from the smallest: what is newest comes first.
    let is_age = column.as_deref().is_some_and(|column| column.ends_with("_s"));
    let notes = list.select(&Selection {
        sort: column,
        reverse: rows.reverse != is_age,
        limit: rows.limit,
        ..Selection::default()
    });
    if rows.json {
        to_stdout(|out| write_json(out, &list))?;
    } else if letters.letters.total == 0 {
        to_people(|out| writeln!(out, "no message was undeliverable"))?;
    } else {
        to_people(|out| write_list(&list, out, Screen::stdout()))?;
    }
    let kept = letters.letters.recent.len() as u64;
    let missing = letters.letters.total.saturating_sub(kept);
    if missing > 0 {
        note(&format!(
            "{} not kept any more",
            count(missing, "older dead letter is", "older dead letters are")
        ));
    }
    note_unknown(&unknown, "rows");
    if unknown.is_empty() {
        note_no_match(found, list.rows.len(), rows.limit.unwrap_or(usize::MAX), "row");
    }
    notes.iter().for_each(|text| note(text));
    letters.snapshot.caveats().iter().for_each(|caveat| note(&caveat.text));
    Ok(())
}
