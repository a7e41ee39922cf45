//! `export prometheus`: over HTTP, or in a file for the node exporter.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atomscope::export::nodes::{Nodes, TICK};
use atomscope::export::prometheus::Prometheus;
use atomscope::export::text::Format;
use atomscope::system::stopped;
use atomscope::text::{clean, clean_path};
use clap::Args;

#[cfg(feature = "export")]
use crate::program::export::server::{self, ServerArgs};
use crate::program::export::what::{WhatArgs, failed, nodes, poll};
use crate::program::output::Failure;
use crate::program::output::file::{Readers, to_file};
use crate::program::target::SearchArgs;
use crate::program::values::parse_interval;

/// Serve the metrics of nodes to Prometheus.
///
/// Nodes are found as they come and go. Nothing runs in the nodes, and they notice nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
WHO is a pid, PID/SYSTEM, a file or a name, as of all commands; it may be given several times. Without it, all nodes of this \
machine are exported.

GET /metrics answers in the text format 0.0.4, or in OpenMetrics 1.0 if the request asks for it, and packed with gzip if the \
request allows it. GET /healthz answers `ok` while the exporter works. There is nothing else, and nothing that could be written.

Every sample of a node has the labels node, system and pid. The pid is the one that this program sees: in several containers \
the processes themselves may all have pid 1. Nodes for which all three are equal get region_file too.
The metrics of atomr-telemetry's exporter have the same names (atomr_actors_live and so on), all others begin with atomscope_, \
and the application's own metrics and records have their own names. Times are in seconds.

How many series there are is bounded: totals, classes, and instances of which there are few (journals, shard regions, leases, \
workers), at most --limit of each. atomscope_export_left_out counts what was left out.

A node that has ended is gone at once. Its last counts are in one answer more, with ended=\"1\", and \
atomscope_node_ended{how} tells for 15 minutes how it ended.

The address is local unless --listen names another one. Then protect it: a token from --token-file or from the environment \
variable ATOMSCOPE_TOKEN, which a client sends as `Authorization: Bearer TOKEN`, and TLS. A connection is closed after 10 s, \
and there are at most 256.

Exit code: 0 after SIGINT or SIGTERM, 1 if the address or the file cannot be used.

Examples:
  atomscope export prometheus
  atomscope export prometheus --listen 0.0.0.0:9464 --tls-cert cert.pem --tls-key key.pem --token-file token
  atomscope export prometheus shop market --label zone=eu --top 20 --detail associations,keys
  atomscope export prometheus --textfile /var/lib/node_exporter/atomscope.prom --interval 15s
  curl -s http://127.0.0.1:9464/metrics | promtool check metrics")]
pub struct PrometheusArgs {
    /// The nodes: pids, files or names; all nodes if left out.
    pub who: Vec<OsString>,
    #[cfg(feature = "export")]
    #[command(flatten)]
    pub server: ServerArgs,
    /// Serve nothing, and write this file at each interval instead, at once as a whole. The name should end in .prom.
    #[cfg_attr(feature = "export", arg(long, value_name = "FILE", conflicts_with = "listen"))]
    #[cfg_attr(not(feature = "export"), arg(long, value_name = "FILE", required = true))]
    pub textfile: Option<PathBuf>,
    /// The time from one write of the file to the next.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_interval, requires = "textfile")]
    pub interval: Duration,
    #[command(flatten)]
    pub what: WhatArgs,
}

pub fn prometheus(search_args: &SearchArgs, args: &PrometheusArgs) -> Result<(), Failure> {
    let mut nodes = nodes(search_args, &args.who)?;
    let mut exporter = Prometheus::new(args.what.selection(), args.what.labels());
    match &args.textfile {
        Some(path) => textfile(&mut nodes, &mut exporter, path, args.interval),
        #[cfg(feature = "export")]
        None => server::serve(&mut nodes, &mut exporter, &args.server),
        #[cfg(not(feature = "export"))]
        None => Ok(()),
    }
}

/// Writes the file at each interval, and removes it at the end: it would tell of nodes that nobody looks at any more.
fn textfile(
    nodes: &mut Nodes,
    exporter: &mut Prometheus,
    path: &Path,
    interval: Duration,
) -> Result<(), Failure> {
    if path == Path::new("-") {
        return Err(Failure::usage_of(
            "export prometheus",
            "--textfile needs a file; for stdout see `atomscope dump --format prom`",
        ));
    }
    let mut next = Instant::now();
    while !stopped() {
        poll(nodes, exporter)?;
        if Instant::now() >= next {
            next = Instant::now() + interval;
            let text = exporter.collect(nodes).map_err(|error| failed(&error))?.to_text(Format::Text);
            to_file(path, None, Readers::Anybody, |out| out.write_all(text.as_bytes()))?;
        }
        std::thread::sleep(TICK.min(next.saturating_duration_since(Instant::now())));
    }
    std::fs::remove_file(path).map_err(|error| {
        Failure::Failed(format!("cannot remove {}: {}", clean_path(path), clean(&error.to_string())))
    })
}
