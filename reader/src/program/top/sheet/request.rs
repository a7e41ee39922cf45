//! The request for a sheet: the view, the order and selection of its rows, and the data that it is made of.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use atomscope::attach::RegionSummary;
use atomscope::report::nodes::NodeRow;
use atomscope::snapshot::Snapshot;
use atomscope_layout::decode::{Class, Moment};
use atomscope_layout::table::Key;

use crate::program::top::history::EventLog;
use crate::program::top::tick::{EventRow, Tick};
use crate::program::top::view::View;

/// How the actors are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Tree,
    Flat,
    Classes,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Tree, Self::Flat, Self::Classes];

    pub fn title(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Flat => "list",
            Self::Classes => "classes",
        }
    }
}

/// The name of the order that a list has without sorting.
pub const OWN_ORDER: &str = "";

/// A requested order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// The name of a column, or [`OWN_ORDER`].
    pub column: &'static str,
    pub reverse: bool,
}

/// What a sheet is to show.
#[derive(Debug)]
pub struct SheetRequest<'a> {
    pub view: View,
    pub mode: Mode,
    /// The number of the list among the view's lists.
    pub list: usize,
    /// The order of each list, by its name.
    pub sorts: &'a HashMap<&'static str, Sort>,
    pub filter: &'a str,
    pub folded: &'a HashSet<Key>,
    pub shows_rates: bool,
    pub hides_zeros: bool,
    pub topic: Option<&'a str>,
    /// The values from which totals are counted.
    pub baseline: Option<&'a Baseline>,
    /// For the view of the program itself: how many snapshots are kept, the time that they span, and their bytes.
    pub past: Option<(usize, Duration, usize)>,
}

/// The values from which totals are counted.
#[derive(Debug)]
pub struct Baseline {
    pub snapshot: Arc<Snapshot>,
    pub classes: Arc<Vec<Class>>,
}

/// The data that sheets are made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub tick: Option<&'a Tick>,
    pub events: &'a EventLog,
    /// The end of the shown past; later events are hidden.
    pub until: Option<Moment>,
    pub nodes: &'a [NodeRow],
    /// The node on the screen.
    pub watched: Option<&'a RegionSummary>,
}

impl<'a> Source<'a> {
    /// The row of the node on the screen.
    pub fn watched_row(&self) -> Option<&'a NodeRow> {
        let watched = self.watched?;
        self.nodes
            .iter()
            .find(|row| row.summary.as_ref().is_some_and(|summary| summary.is_of_same_node(watched)))
    }

    /// Whether an event had happened at the shown time. An event without a time counts as that.
    pub fn has_happened(&self, event: &EventRow) -> bool {
        self.until.is_none_or(|until| event.at.is_none_or(|at| !at.is_after(&until)))
    }
}
