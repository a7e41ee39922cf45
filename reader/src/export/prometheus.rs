//! The families of all nodes, for Prometheus and whoever reads its formats.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::exporter::{Exporter, Node, NodeEnd, Observed};
use super::facts::{EventCounts, Selection, of_node};
use super::family::{Families, Kind, Labels, Value};
use super::nodes::Nodes;
use super::text::{self, Format, Labelled};

/// How long it is told how a node ended.
pub const ENDED_FOR: Duration = Duration::from_secs(15 * 60);
/// Limit of ended nodes that are told of.
const MOST_ENDED: usize = 1000;

/// An exporter that keeps the families of each node.
///
/// The families of live nodes are those of the newest round of snapshots. Those of a node that ended are in one exposition
/// more, with the label `ended="1"`: its last counts are then not lost.
#[derive(Debug)]
pub struct Prometheus {
    selection: Selection,
    /// The labels that every sample of a node gets.
    labels: Labels,
    nodes: HashMap<usize, State>,
    /// The families of this round.
    current: Vec<Collected>,
    /// The last families of nodes that ended since the last exposition.
    last: Vec<Collected>,
    ended: Vec<Ended>,
}

/// The families of a node, and the name of its region's file.
#[derive(Debug)]
struct Collected {
    file: String,
    of: Labelled,
}

#[derive(Debug, Default)]
struct State {
    events: Option<EventCounts>,
    wants_events: bool,
    labels: Labels,
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
            last: Vec::new(),
            ended: Vec::new(),
        }
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
        let mut collected = std::mem::take(&mut self.current);
        collected.append(&mut self.last);
        let mut all = tell_apart(collected);
        let mut families = Families::default();
        self.ended.retain(|ended| ended.at.elapsed() < ENDED_FOR);
        for ended in &self.ended {
            let help = "How a node ended, for 15 minutes.";
            families.add("atomscope_node_ended", help, Kind::Gauge, ended.labels.clone(), Value::Whole(1));
        }
        let whole = |count: usize| Value::Whole(count as u64);
        families.gauge("atomscope_export_nodes", "Live nodes that are exported.", whole(nodes.len()));
        let help = "Regions of this machine that this exporter cannot read.";
        families.gauge("atomscope_export_regions_unreadable", help, whole(nodes.unreadable()));
        let help = "Live nodes that are not exported, because there are too many.";
        families.gauge("atomscope_export_nodes_beyond_limit", help, whole(nodes.beyond_limit()));
        let help =
            "Samples that were left out, because another node uses their name for another kind of metric.";
        families.gauge("atomscope_export_conflicts", help, Value::Whole(text::conflicts(&all)));
        all.push(Labelled { labels: Labels::new(), families: families.into_list() });
        Exposition(all)
    }

    fn of(&mut self, node: &Node<'_>, observed: &Observed<'_>) -> Collected {
        let state = self.nodes.entry(node.number).or_default();
        state.wants_events = EventCounts::are_wanted(observed.snapshot);
        let identity = &observed.snapshot.identity;
        let mut labels: Labels = vec![
            ("node".into(), identity.node.clone()),
            ("system".into(), identity.system.clone().unwrap_or_default()),
            ("pid".into(), node.pid().to_string()),
        ];
        labels.extend(self.labels.iter().cloned());
        state.labels.clone_from(&labels);
        let file = node.region.shown_path();
        let file = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        let mut families = of_node(observed, state.events.as_ref(), &self.selection);
        for (what, count) in std::mem::take(&mut families.left_out) {
            let help = "Samples that were left out, because there are more than the limit allows.";
            families.add(
                "atomscope_export_left_out",
                help,
                Kind::Gauge,
                label("what", what),
                Value::Whole(count),
            );
        }
        Collected { file, of: Labelled { labels, families: families.into_list() } }
    }
}

fn label(name: &'static str, value: String) -> Labels {
    vec![(name.into(), value)]
}

/// Nodes of one name, system and process id get the label `region_file` too: in several containers the id is 1.
fn tell_apart(all: Vec<Collected>) -> Vec<Labelled> {
    let mut counts: HashMap<Labels, usize> = HashMap::new();
    all.iter().for_each(|collected| *counts.entry(collected.of.labels.clone()).or_default() += 1);
    let told_apart = |Collected { file, mut of }: Collected| {
        if counts.get(&of.labels).is_some_and(|count| *count > 1) {
            of.labels.push(("region_file".into(), file));
        }
        of
    };
    all.into_iter().map(told_apart).collect()
}

impl Exporter for Prometheus {
    fn node_started(&mut self, node: &Node<'_>) -> io::Result<()> {
        self.nodes.insert(node.number, State::default());
        Ok(())
    }

    fn wants_events(&self, node: &Node<'_>) -> bool {
        self.nodes.get(&node.number).is_some_and(|state| state.wants_events)
    }

    fn events(&mut self, node: &Node<'_>, items: &[crate::follow::Item]) -> io::Result<()> {
        if let Some(state) = self.nodes.get_mut(&node.number) {
            state.events.get_or_insert_default().add(items);
        }
        Ok(())
    }

    fn wants_actors(&self) -> bool {
        self.selection.top > 0
    }

    fn snapshot(&mut self, node: &Node<'_>, observed: &Observed<'_>) -> io::Result<()> {
        let families = self.of(node, observed);
        self.current.push(families);
        Ok(())
    }

    fn node_ended(
        &mut self,
        node: &Node<'_>,
        end: &NodeEnd<'_>,
        last: Option<&Observed<'_>>,
    ) -> io::Result<()> {
        if let Some(observed) = last {
            let mut of = self.of(node, observed);
            of.of.labels.push(("ended".into(), "1".to_owned()));
            if self.last.len() < MOST_ENDED {
                self.last.push(of);
            }
        }
        let state = self.nodes.remove(&node.number).unwrap_or_default();
        let mut labels = state.labels;
        if labels.is_empty() {
            labels = vec![
                ("node".into(), node.name().to_owned()),
                ("system".into(), node.region.identity().system.clone().unwrap_or_default()),
                ("pid".into(), node.pid().to_string()),
            ];
        }
        labels.push(("how".into(), end.word()));
        if self.ended.len() < MOST_ENDED {
            self.ended.push(Ended { labels, at: Instant::now() });
        }
        Ok(())
    }
}

impl Exposition {
    /// The families of one snapshot, with the labels of its node.
    pub fn of_snapshot(
        node: &Node<'_>,
        observed: &Observed<'_>,
        selection: Selection,
        labels: Labels,
    ) -> Self {
        Self(vec![Prometheus::new(selection, labels).of(node, observed).of])
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
