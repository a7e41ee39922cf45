//! Exporters: what nodes publish, on its way to other systems.
//!
//! All of this happens in the reader's process: a node neither knows of an exporter nor pays for it.
//!
//! - [`exporter`] has the trait [`Exporter`](exporter::Exporter): what an exporter is told of the nodes.
//! - [`nodes`] finds the nodes of this machine as they come and go, and tells exporters of them.
//! - [`family`] has metric families: names, labels and values, as Prometheus and OpenMetrics have them.
//! - [`facts`] makes families of a snapshot. This is the only place that names what is exported.
//! - [`text`] writes families as text.
//! - [`prometheus`] is the exporter that holds the families of all nodes.
//!
//! ```no_run
//! use std::io;
//! use std::time::Duration;
//!
//! use atomscope::export::exporter::{Exporter, Node, Observed};
//! use atomscope::export::nodes::Nodes;
//! use atomscope::find::Search;
//!
//! struct Print;
//!
//! impl Exporter for Print {
//!     fn snapshot(&mut self, node: &Node, seen: &Observed<'_>) -> io::Result<()> {
//!         println!("{} has {} live actors", node.number, seen.snapshot.totals.live);
//!         Ok(())
//!     }
//! }
//!
//! let mut nodes = Nodes::new(Search::default(), Vec::new());
//! nodes.run(&mut Print, Duration::from_secs(1), &mut || false)?;
//! # Ok::<(), io::Error>(())
//! ```

pub mod exporter;
pub mod facts;
pub mod family;
pub mod nodes;
pub mod prometheus;
pub mod text;
