//! `actors --by`: sums over groups of actors.

use atomscope::find::AttachedRegion;
use atomscope::in_flight::{Handler, HandlersInFlight};
use atomscope::report::groups::{by_class, by_subtree, by_variant};
use atomscope::report::hot::HOW_TO_INSTRUMENT;
use atomscope::report::list::{List, Selection};
use atomscope::snapshot::Snapshot;
use atomscope::text::write_json;
use atomscope_layout::decode::{ActorList, Class, Instruments, Moment};
use clap::ValueEnum;

use crate::program::listing::{note_no_match, note_unknown, write_list};
use crate::program::output::{Failure, note, to_people, to_stdout};
use crate::program::table::Screen;

/// What actors are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Their class.
    Class,
    /// The beginning of their paths.
    Subtree,
    /// Their class and the variant of their messages.
    Variant,
}

/// What groups can be sorted by and single actors cannot.
pub const SORTS: [&str; 8] = ["live", "waiting", "deepest", "longest", "p50", "p99", "mean", "long_polls"];

/// How groups are shown.
#[derive(Debug)]
pub struct Grouped<'a> {
    pub by: By,
    /// The elements of a path that make a subtree; `None`: its parent.
    pub level: Option<usize>,
    pub sort: Option<&'a str>,
    pub reverse: bool,
    pub filter: Option<&'a str>,
    pub limit: Option<usize>,
    pub json: bool,
}

impl Grouped<'_> {
    /// Checks sort and filter before a node is looked at.
    pub fn check(&self) -> Result<(), Failure> {
        let mut empty = self.list(&[], &Instruments::default(), &[], &ActorList::default(), None);
        if let Some(sort) = self.sort.filter(|sort| column(&empty, sort).is_none()) {
            let names: Vec<_> = empty.columns.iter().map(|column| stem(column.name)).collect();
            let why = format!("groups cannot be sorted by {sort}; these have {}", names.join(", "));
            return Err(Failure::usage_of("actors", why));
        }
        self.filter.map_or(Ok(()), |filter| {
            empty.filter(filter).map(|_| ()).map_err(|error| Failure::filter("actors", &error))
        })
    }

    /// Writes the groups of an attached node.
    pub fn write(&self, attached: &AttachedRegion) -> Result<(), Failure> {
        let snapshot = match self.by {
            By::Class | By::Variant => Snapshot::with_class_counts(&attached.region)?,
            By::Subtree => Snapshot::take(&attached.region)?,
        };
        let in_flight = match self.by {
            By::Class => HandlersInFlight::look(&attached.region)?.handlers,
            By::Subtree | By::Variant => Vec::new(),
        };
        let Snapshot { classes, instruments, actors, until, .. } = &snapshot;
        let mut list = self.list(classes, instruments, &in_flight, actors, *until);
        let found = list.rows.len();
        let unknown = match self.filter {
            Some(filter) => list.filter(filter).map_err(|error| Failure::filter("actors", &error))?,
            None => Vec::new(),
        };
        let sort = self.sort.and_then(|sort| column(&list, sort)).map(str::to_owned);
        let (reverse, limit) = (self.reverse, self.limit);
        let notes = list.select(&Selection { sort, reverse, limit, ..Selection::default() });
        if self.json {
            to_stdout(|out| write_json(out, &list))?;
        } else {
            to_people(|out| write_list(&list, out, Screen::stdout()))?;
        }
        note_unknown(&unknown, "groups");
        if let Some(sort) = self.sort.filter(|_| list.is_unsorted()) {
            note_unknown(&[sort.to_owned()], "groups");
        }
        if unknown.is_empty() {
            note_no_match(found, list.rows.len(), self.limit.unwrap_or(usize::MAX), "group");
        }
        if snapshot.instruments.classes.is_empty() {
            note(&format!("no actor of this node is instrumented: {HOW_TO_INSTRUMENT}"));
        }
        notes.iter().for_each(|text| note(text));
        snapshot.caveats().iter().for_each(|caveat| note(&caveat.text));
        Ok(())
    }

    fn list(
        &self,
        classes: &[Class],
        instruments: &Instruments,
        in_flight: &[Handler],
        actors: &ActorList,
        at: Option<Moment>,
    ) -> List {
        match self.by {
            By::Class => by_class(classes, instruments, in_flight),
            By::Subtree => by_subtree(actors, self.level, at),
            By::Variant => by_variant(instruments),
        }
    }
}

/// The name of a column without its unit.
fn stem(name: &str) -> &str {
    name.strip_suffix("_ns").or(name.strip_suffix("_s")).unwrap_or(name)
}

/// The column that `--sort` calls by this name.
fn column(list: &List, name: &str) -> Option<&'static str> {
    list.columns.iter().map(|column| column.name).find(|column| stem(column) == name)
}
