//! The families of all nodes, for Prometheus and whoever reads its formats.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use atomscope_layout::decode::Identity;

use super::exporter::{Exporter, Node, NodeEnd, Observed};
use super::facts::{EventCounts, Selection, of_node};
use super::family::{Families, Family, Kind, Labels, Value};
use super::nodes::Nodes;
use super::text::{self, Format, Labelled};
use crate::text::clean_path;

/// How long [`Prometheus`] exports how a node ended.
pub const ENDED_FOR: Duration = Duration::from_secs(15 * 60);
/// How long the last counts of a node that ended are exported, from the first time on: several servers may ask.
pub const LAST_FOR: Duration = Duration::from_secs(60);
/// Limit of ends that are exported.
const MOST_ENDED: usize = 1000;
/// Limit of ended nodes whose last counts are exported.
const MOST_LAST: usize = 100;

/// The labels that tell nodes and their ends apart. No other label of a sample's source may have one of these names.
pub const LABELS: [&str; 6] = ["node", "system", "pid", "region_file", "ended", "how"];

/// An exporter that keeps the families of each node.
///
/// The families of live nodes are those of the newest round of snapshots. Counters and histograms of a node that ended are
/// exported for [`LAST_FOR`] more, with the label `ended="1"`: its last counts are then not lost. Its gauges are gone at once.
#[derive(Debug)]
pub struct Prometheus {
    selection: Selection,
    /// The labels that every sample of a node gets.
    labels: Labels,
    nodes: HashMap<usize, State>,
    /// The families of this round.
    current: Vec<Collected>,
    /// The last families of nodes that ended.
    last: VecDeque<Last>,
    last_for: Duration,
    ended: VecDeque<Ended>,
}

/// The families of a node, with its number.
#[derive(Debug, Clone)]
struct Collected {
    number: usize,
    names: Names,
    families: Vec<Family>,
}

/// The last families of a node that ended.
#[derive(Debug)]
struct Last {
    of: Collected,
    at: Instant,
    first_exported: Option<Instant>,
}

/// What tells a node from others.
#[derive(Debug, Clone)]
struct Names {
    labels: Labels,
    /// The path of its region's file, by which it was found.
    file: String,
    /// Whether the file is needed. Once it was, it stays: a series must not change its labels.
    with_file: bool,
}

#[derive(Debug)]
struct State {
    names: Names,
    events: EventCounts,
    /// `None` until the first snapshot. Until then the events are read, or those of the node's start would be lost.
    wants_events: Option<bool>,
}

#[derive(Debug)]
struct Ended {
    labels: Labels,
    at: Instant,
}

/// The families of all nodes at one time.
#[derive(Debug, Clone, Default)]
pub struct Exposition(Vec<Labelled>);

impl Prometheus {
    /// An exporter that adds `labels` to every sample of a node.
    pub fn new(selection: Selection, labels: Labels) -> Self {
        Self {
            selection,
            labels,
            nodes: HashMap::new(),
            current: Vec::new(),
            last: VecDeque::new(),
            last_for: LAST_FOR,
            ended: VecDeque::new(),
        }
    }

    /// Exports the last counts of a node that ended for this time instead of [`LAST_FOR`].
    #[must_use]
    pub fn last_for(mut self, time: Duration) -> Self {
        self.last_for = time;
        self
    }

    /// Takes snapshots of all nodes, and returns the families.
    ///
    /// # Errors
    /// None of its own; those of [`Nodes::snapshots`].
    pub fn collect(&mut self, nodes: &mut Nodes) -> io::Result<Exposition> {
        self.current.clear();
        nodes.snapshots(self)?;
        Ok(self.exposition(nodes))
    }

    fn exposition(&mut self, nodes: &Nodes) -> Exposition {
        let (mut all, hidden) = self.tell_apart();
        let mut families = Families::default();
        // In a container that is started again, nodes may end with the same labels.
        let mut ends: BTreeMap<&Labels, u64> = BTreeMap::new();
        self.ended.iter().for_each(|ended| *ends.entry(&ended.labels).or_default() += 1);
        for (labels, count) in ends {
            let help = "How many nodes ended in this way in the last 15 minutes.";
            families.add("atomscope_node_ended", help, Kind::Gauge, labels.clone(), Value::Whole(count));
        }
        let whole = |count: usize| Value::Whole(count as u64);
        families.gauge("atomscope_export_nodes", "Live nodes that are exported.", whole(nodes.len()));
        let help = "Regions of this machine that this exporter cannot read.";
        families.gauge("atomscope_export_regions_unreadable", help, whole(nodes.unreadable()));
        let help = "Live nodes that are not exported, because there are too many.";
        families.gauge("atomscope_export_nodes_beyond_limit", help, whole(nodes.beyond_limit()));
        let help = "Samples that were left out, because another metric has their name, or another node the labels of theirs.";
        let conflicts = text::conflicts(&all).saturating_add(hidden);
        families.gauge("atomscope_export_conflicts", help, Value::Whole(conflicts));
        all.push(Labelled { labels: Labels::new(), families: families.into_list() });
        Exposition(all)
    }

    /// Forgets the ends that were exported long enough, and those beyond the limits, the oldest first.
    fn forget(&mut self) {
        self.ended.retain(|ended| ended.at.elapsed() < ENDED_FOR);
        self.ended.drain(..self.ended.len().saturating_sub(MOST_ENDED));
        let is_over = |last: &Last| last.first_exported.is_some_and(|first| first.elapsed() >= self.last_for);
        self.last.retain(|last| !is_over(last) && last.at.elapsed() < ENDED_FOR);
        self.last.drain(..self.last.len().saturating_sub(MOST_LAST));
    }

    /// The families of this round and the last ones, the oldest node first. If two families have one name and different kinds,
    /// the older node's stays. Nodes of one name, system and process id get the label `region_file` too: in several containers
    /// the id is 1. If a node ended and another one was made at its path, only the newer one's last counts are exported. If two
    /// live nodes have one path, only the newer one is; the samples of the other are counted, and the number is returned too.
    fn tell_apart(&mut self) -> (Vec<Labelled>, u64) {
        let mut collected = std::mem::take(&mut self.current);
        self.forget();
        for last in &mut self.last {
            last.first_exported.get_or_insert_with(Instant::now);
        }
        collected.extend(self.last.iter().map(|last| last.of.clone()));
        collected.sort_by_key(|collected| collected.number);
        let mut counts: HashMap<Labels, usize> = HashMap::new();
        collected.iter().for_each(|of| *counts.entry(of.names.labels.clone()).or_default() += 1);
        let told_apart = |Collected { number, mut names, families }: Collected| {
            if counts.get(&names.labels).is_some_and(|count| *count > 1) {
                names.with_file = true;
                let state = self.nodes.get_mut(&number).map(|state| &mut state.names);
                let last = self.last.iter_mut().map(|last| &mut last.of);
                let last = last.filter(|of| of.number == number).map(|of| &mut of.names);
                state.into_iter().chain(last).for_each(|names| names.with_file = true);
            }
            Labelled { labels: names.all(), families }
        };
        let mut all: Vec<Labelled> = collected.into_iter().map(told_apart).collect();
        // One series that is there twice makes Prometheus refuse the samples of all nodes.
        let mut seen = HashSet::new();
        let mut hidden = 0u64;
        all.reverse();
        all.retain(|of| {
            let is_new = seen.insert(of.labels.clone());
            if !is_new && !of.labels.contains(&ended()) {
                let samples: usize = of.families.iter().map(|family| family.samples.len()).sum();
                hidden = hidden.saturating_add(samples as u64);
            }
            is_new
        });
        all.reverse();
        (all, hidden)
    }

    fn of(&mut self, node: &Node<'_>, observed: &Observed<'_>) -> Collected {
        let labels = labels_of(node, &observed.snapshot.identity, &self.labels);
        let state = self.nodes.entry(node.number).or_insert_with(|| State::new(node, &self.labels));
        // The system's name may come later than the node, and it may be redacted.
        state.names.labels = labels;
        let wants_events = EventCounts::are_wanted(observed.snapshot);
        state.wants_events = Some(wants_events);
        let families = of_node(observed, wants_events.then_some(&state.events), &self.selection);
        Collected { number: node.number, names: state.names.clone(), families: families.into_list() }
    }
}

impl Names {
    fn all(mut self) -> Labels {
        if self.with_file {
            self.labels.push(("region_file".into(), self.file));
        }
        self.labels
    }
}

impl State {
    fn new(node: &Node<'_>, more: &Labels) -> Self {
        let labels = labels_of(node, node.region.identity(), more);
        let file = clean_path(node.path());
        let names = Names { labels, file, with_file: false };
        Self { names, events: EventCounts::default(), wants_events: None }
    }
}

/// The label of the last counts of a node that ended.
fn ended() -> (Cow<'static, str>, String) {
    ("ended".into(), "1".to_owned())
}

/// The labels that all samples of a node get.
fn labels_of(node: &Node<'_>, identity: &Identity, more: &Labels) -> Labels {
    let mut labels: Labels = vec![
        ("node".into(), identity.node.clone()),
        ("system".into(), identity.system.clone().unwrap_or_default()),
        ("pid".into(), node.pid().to_string()),
    ];
    labels.extend(more.iter().cloned());
    labels
}

impl Exporter for Prometheus {
    fn node_started(&mut self, node: &Node<'_>) -> io::Result<()> {
        self.nodes.insert(node.number, State::new(node, &self.labels));
        Ok(())
    }

    fn wants_events(&self, node: &Node<'_>) -> bool {
        self.nodes.get(&node.number).is_some_and(|state| state.wants_events.unwrap_or(true))
    }

    fn events(&mut self, node: &Node<'_>, items: &[crate::follow::Item]) -> io::Result<()> {
        if let Some(state) = self.nodes.get_mut(&node.number) {
            state.events.add(items);
        }
        Ok(())
    }

    fn wants_actors(&self) -> bool {
        self.selection.wants_actors()
    }

    fn snapshot(&mut self, node: &Node<'_>, observed: &Observed<'_>) -> io::Result<()> {
        let families = self.of(node, observed);
        self.current.push(families);
        Ok(())
    }

    fn node_ended(&mut self, node: &Node<'_>, end: &NodeEnd<'_>) -> io::Result<()> {
        if let Some(observed) = end.last() {
            let mut of = self.of(node, observed);
            // A dead node must not be in any sum of what there is.
            of.families.retain(|family| family.kind != Kind::Gauge);
            of.names.labels.push(ended());
            self.last.push_back(Last { of, at: Instant::now(), first_exported: None });
        }
        let state = self.nodes.remove(&node.number).unwrap_or_else(|| State::new(node, &self.labels));
        let mut labels = state.names.all();
        labels.push(("how".into(), end.word()));
        self.ended.push_back(Ended { labels, at: Instant::now() });
        self.forget();
        Ok(())
    }
}

impl Exposition {
    /// The families of one snapshot, with the labels of its node; without counts of events, since none were read.
    pub fn of_snapshot(
        node: &Node<'_>,
        observed: &Observed<'_>,
        selection: Selection,
        labels: Labels,
    ) -> Self {
        let families = of_node(observed, None, &selection).into_list();
        Self(vec![Labelled { labels: labels_of(node, &observed.snapshot.identity, &labels), families }])
    }

    /// Writes the families as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl fmt::Write, format: Format) -> fmt::Result {
        text::write(out, &self.0, format)
    }

    /// The families as text.
    pub fn to_text(&self, format: Format) -> String {
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = self.write(&mut text, format);
        text
    }

    /// The families, with the labels of each node.
    pub fn sources(&self) -> &[Labelled] {
        &self.0
    }
}
