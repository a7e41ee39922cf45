//! An exporter of one's own: writes the live actors of each node as comma-separated values, and each end of a node.
//!
//! `cargo run -p atomscope --example exporter -- shop > shop.csv`

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use atomscope::export::exporter::{Exporter, Node, NodeEnd, Observed};
use atomscope::export::nodes::Nodes;
use atomscope::find::{Search, Target};
use atomscope::follow::{Item, ItemKind};
use atomscope::layout::decode::rfc3339;
use atomscope::system::{guard_mappings, stop_on_signals, stopped};
use atomscope::text::clean;

/// Writes a row for each node at each interval.
struct Csv<W> {
    out: W,
    /// Events of each node since its last row, and those that were lost, by the node's number.
    events: HashMap<usize, (u64, u64)>,
}

impl<W: Write> Csv<W> {
    fn row(&mut self, node: &Node<'_>, what: &str, seen: Option<&Observed<'_>>) -> io::Result<()> {
        // Names come from the application: quotes and control characters must not break the file.
        let name = clean(node.name()).replace('"', "\"\"");
        let at = seen.map(|seen| rfc3339(seen.snapshot.taken_at.unix_ns)).unwrap_or_default();
        let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        // A program without actors has none of these, and not 0 of them.
        let snapshot = seen.map(|seen| seen.snapshot).filter(|snapshot| snapshot.has_actors());
        let totals = snapshot.map(|snapshot| snapshot.totals);
        let (live, spawned) = (totals.map(|totals| totals.live), totals.map(|totals| totals.spawned));
        let letters = snapshot.map(|snapshot| snapshot.dead_letters.total);
        let [live, spawned, letters] = [live, spawned, letters].map(number);
        let (events, lost) = self.events.remove(&node.number).unwrap_or_default();
        let pid = node.pid();
        writeln!(self.out, "{at},\"{name}\",{pid},{what},{live},{spawned},{letters},{events},{lost}")
    }
}

impl<W: Write> Exporter for Csv<W> {
    fn events(&mut self, node: &Node<'_>, items: &[Item]) -> io::Result<()> {
        let (events, lost) = self.events.entry(node.number).or_default();
        for item in items {
            match &item.kind {
                ItemKind::Event(_) => *events += 1,
                ItemKind::Loss(loss) => *lost += loss.loss.all(),
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, node: &Node<'_>, seen: &Observed<'_>) -> io::Result<()> {
        self.row(node, seen.snapshot.liveness.verdict.word(), Some(seen))
    }

    fn round_ended(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn node_ended(&mut self, node: &Node<'_>, end: &NodeEnd<'_>) -> io::Result<()> {
        self.row(node, &end.word(), end.last())
    }
}

fn main() -> io::Result<()> {
    guard_mappings();
    stop_on_signals();
    let targets = std::env::args_os().skip(1).map(|who| Target::parse(&who)).collect();
    let mut csv = Csv { out: io::stdout().lock(), events: HashMap::new() };
    writeln!(csv.out, "at,node,pid,state,live,spawned,dead_letters,events,lost")?;
    Nodes::new(Search::default(), targets).run(&mut csv, Duration::from_secs(1), &mut stopped)
}
