//! What a subsystem declares: its words, lists, summary, gaps and warnings.

use atomscope_layout::attached::Attachment;
use atomscope_layout::decode::subsystems::Subsystems;
use atomscope_layout::metrics::{Builtin, Metric};
use serde::Serialize;
use serde::ser::Serializer;

use super::lists::{Instances, metrics};
use crate::report::human::count;
use crate::report::list::{List, Value};
use crate::snapshot::Snapshot;

/// A subsystem: one declaration holds everything that is particular to it.
///
/// Commands, `show` and `top` work with [`super::ALL`] and need no edit for a new one.
#[derive(Debug)]
pub struct Subsystem {
    /// Its command, its key in JSON, and the first element of its metrics' names.
    pub name: &'static str,
    /// Stands before its summary line.
    pub title: &'static str,
    /// What a node that uses it has, as a noun: `streams`.
    pub content: &'static str,
    /// What its command does: one sentence without a full stop.
    pub about: &'static str,
    /// What its command's help explains about its columns.
    pub notes: &'static str,
    /// Examples in its command's help, each a line.
    pub examples: &'static [&'static str],
    /// Its view in `top`.
    pub view: ViewText,
    /// Its domains, each with the form of its list.
    pub instances: &'static [Instances],
    /// With one of these attachments it is shown even if nothing of it has happened yet.
    pub shown_with: &'static [Attachment],
    /// Whether it shows only one list, without a line above it; its JSON is an array.
    pub is_one_list: bool,
    /// Its lists; without a snapshot the same lists without rows.
    pub lists: fn(&Subsystem, Option<&Snapshot>) -> Vec<List>,
    /// Its summary: a line that is safe to print, and the same as named values.
    pub summary: fn(&Snapshot) -> (String, Vec<Fact>),
    /// Numbers of what is missing in its lists, each with the words that follow the number.
    pub gaps: fn(&Snapshot) -> Vec<(u64, &'static str)>,
    /// Sentences about what is wrong with it now; names in them are not safe to print.
    pub warnings: fn(&Snapshot) -> Vec<String>,
    /// Counters whose growth is a warning, each with the words for one and for many.
    pub failures: &'static [(Builtin, &'static str, &'static str)],
}

/// A named value of a summary.
pub type Fact = (&'static str, Value);

/// How a view of `top` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewText {
    /// On the command line.
    pub name: &'static str,
    /// On the screen.
    pub title: &'static str,
    /// The key that opens it.
    pub key: char,
    /// What it shows, for the help.
    pub help: &'static str,
}

impl PartialEq for Subsystem {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Subsystem {}

impl std::hash::Hash for Subsystem {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Columns that have another name in `--sort`, or that no one sorts by.
const NOT_SORTED_BY: [&str; 2] = ["age_s", "help"];

impl Subsystem {
    /// The names that `--sort` accepts: the columns that are shown of its lists.
    pub fn sorts(&self) -> Vec<&'static str> {
        let lists = self.lists(None);
        let columns = || lists.iter().filter(|list| !list.is_fixed).flat_map(|list| &list.columns);
        let mut names = vec!["name"];
        names.extend(columns().any(|column| column.name == "age_s").then_some("age"));
        for column in columns().filter(|column| column.is_shown && !NOT_SORTED_BY.contains(&column.name)) {
            if !names.contains(&column.name) {
                names.push(column.name);
            }
        }
        names
    }

    /// Its lists, with its built-in metrics as the last; without a snapshot the same lists without rows.
    pub fn lists(&self, snapshot: Option<&Snapshot>) -> Vec<List> {
        let mut lists = (self.lists)(self, snapshot);
        if !self.is_one_list {
            lists.push(List { is_fixed: true, ..metrics(self.metrics(snapshot)) });
        }
        lists
    }

    /// The lists of its instances, one for each domain.
    pub fn instance_lists(&self, snapshot: Option<&Snapshot>) -> Vec<List> {
        self.instances.iter().map(|instances| instances.list(snapshot)).collect()
    }

    /// Its built-in metrics.
    fn metrics<'a>(&self, snapshot: Option<&'a Snapshot>) -> impl Iterator<Item = &'a Metric> {
        let prefix = self.name;
        let is_own = move |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        let all = snapshot.map_or(&[][..], |snapshot| &snapshot.metrics);
        all.iter().filter(move |metric| metric.is_builtin && is_own(&metric.name))
    }

    /// Whether the node uses it: a metric of its is not zero, a list of its has rows, or it is [`Self::shown_with`] an
    /// attachment that was made.
    pub fn is_in_use(&self, snapshot: &Snapshot) -> bool {
        self.is_one_list
            || snapshot.subsystems.instances.attached.has_any(self.shown_with)
            || self.metrics(Some(snapshot)).any(|metric| metric.value.is_some_and(|value| !value.is_zero()))
            || self.lists(Some(snapshot)).iter().any(|list| !list.is_fixed && !list.rows.is_empty())
    }

    /// Its summary.
    pub fn summary(&'static self, snapshot: &Snapshot) -> Summary {
        let (line, facts) = (self.summary)(snapshot);
        Summary { subsystem: self, line, facts }
    }

    /// What is missing in its lists, in sentences.
    pub fn gaps(&self, snapshot: &Snapshot) -> Vec<String> {
        let unlisted = self.instances.iter().map(|instances| {
            let domain = instances.domain;
            let what = format!(
                "times no slot was free for more {}: a region with more `instances` lists them",
                domain.name().replace('_', " ")
            );
            (snapshot.builtin(domain.unlisted()), what)
        });
        let own = (self.gaps)(snapshot).into_iter().map(|(number, what)| (number, what.to_owned()));
        let unreadable = snapshot.subsystems.instances.unreadable;
        let unreadable = if self.is_one_list { 0 } else { unreadable };
        let unreadable = (unreadable, "records of subsystems are unreadable".to_owned());
        let gaps = unlisted.chain(own).chain([unreadable]).filter(|(number, _)| *number > 0);
        gaps.map(|(number, what)| format!("{number} {what}")).collect()
    }
}

/// A subsystem in one line, and as named values.
#[derive(Debug)]
pub struct Summary {
    /// The subsystem.
    pub subsystem: &'static Subsystem,
    /// For people; safe to print.
    pub line: String,
    facts: Vec<Fact>,
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.facts.iter().map(|(name, value)| (name, value)))
    }
}

/// For subsystems whose only gaps are those that every subsystem can have.
pub(super) fn no_gaps(_: &Snapshot) -> Vec<(u64, &'static str)> {
    Vec::new()
}

/// For subsystems whose only warnings are counters that grow.
pub(super) fn no_warnings(_: &Snapshot) -> Vec<String> {
    Vec::new()
}

/// Gaps of the subsystems that are read from documents: the cluster's state and the shards' allocation.
pub(super) fn document_gaps(snapshot: &Snapshot) -> Vec<(u64, &'static str)> {
    let Subsystems { rows_dropped, documents_unreadable, .. } = snapshot.subsystems;
    vec![
        (
            rows_dropped,
            "rows of the cluster's state or of the shards' allocation were dropped: a region with a larger \
             `document_bytes` holds them",
        ),
        (documents_unreadable, "of the cluster's state and the shards' allocation are unreadable"),
    ]
}

/// A number of a summary.
pub(super) fn number(name: &'static str, number: Option<u64>) -> Fact {
    (name, Value::of(number, Value::Number))
}

/// How many rows a document has. No rows are a known zero only if one of these attachments was made.
pub(super) fn document_rows(snapshot: &Snapshot, rows: usize, by: &[Attachment]) -> Option<u64> {
    (rows > 0 || snapshot.subsystems.instances.attached.has_any(by)).then_some(rows as u64)
}

/// `3 shards`, or `- shards` where the number is unknown.
pub(super) fn counted(number: Option<u64>, one: &str, many: &str) -> String {
    number.map_or_else(|| format!("- {many}"), |number| count(number, one, many))
}

/// The number, or `-` where it is unknown.
pub(super) fn or_dash(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// Names that a warning lists at most.
const NAMED: usize = 3;

/// `2 associations are quarantined: a, b`; `None` without names.
pub(super) fn named<'a>(
    names: impl IntoIterator<Item = &'a String>,
    one: &str,
    many: &str,
) -> Option<String> {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| format!("{}: {first}{more}", count(names.len() as u64, one, many)))
}
