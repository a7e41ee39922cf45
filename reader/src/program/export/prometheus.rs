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
use crate::program::output::file::{Readers, to_file};
use crate::program::output::{Failure, note};
use crate::program::target::SearchArgs;
use crate::program::values::parse_interval;

/// Serve the metrics of nodes to Prometheus.
///
/// Nodes are found as they come and go. Nothing runs in the nodes, and they notice nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
WHO is a pid, PID/SYSTEM, a file or a name, as of all commands; it may be given several times. Without it, all nodes of this \
machine are exported.

GET /metrics answers in the text format 0.0.4, or in OpenMetrics 1.0 if the request asks for it, and compressed with gzip if \
the request allows it. GET /healthz answers `ok` while the exporter works. Other paths answer 404, and no request changes anything.

Every sample of a node has the labels node, system and pid. The pid is the one that this program sees: in several containers \
the processes themselves may all have pid 1. If two nodes have the same three, each also gets the label \
region_file, the path of its region.
The metrics of atomr-telemetry's exporter have the same names (atomr_actors_live and so on), all others begin with atomscope_, \
and the application's own metrics and records have their own names. Times are in seconds.

The number of series is bounded: of classes, journals, shard regions, leases and workers there are at most --limit each, and of \
the application's own series at most 1024 for each node. atomscope_export_left_out counts what was left out.

When a node ends, its gauges vanish at once. Its counters and histograms are exported for 60 s after the first scrape that has \
them, with ended=\"1\", and atomscope_node_ended{how} has for 15 minutes how it ended; the value is the number of such ends.

The address is local unless --listen names another one. Then protect it: a token from --token-file or from the environment \
variable ATOMSCOPE_TOKEN, which a client sends as `Authorization: Bearer TOKEN`, and TLS, with the files of \
--tls-cert and --tls-key. New files are taken up within some seconds; one that cannot be used changes nothing. A connection \
is closed after 10 s, and there are at most 256.

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
    /// Serve nothing, and replace this file atomically at each interval instead. The name should end in .prom.
    #[cfg_attr(feature = "export", arg(long, value_name = "FILE", conflicts_with_all = ["listen", "tls_cert", "token_file"]))]
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

/// Writes the file at each interval. An error ends it only if the file was never written.
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
    let mut file: Option<Written<'_>> = None;
    let mut is_failing = false;
    let mut next = Instant::now();
    while !stopped() {
        poll(nodes, exporter)?;
        let now = Instant::now();
        if now >= next {
            next = (next + interval).max(now);
            let text = exporter.collect(nodes).map_err(|error| failed(&error))?.to_text(Format::Text);
            let written = to_file(path, None, Readers::Anybody, |out| out.write_all(text.as_bytes()));
            match (written, &file) {
                (Ok(()), _) => {
                    file.get_or_insert_with(|| Written(path));
                    is_failing = false;
                }
                (Err(failure), None) => return Err(failure),
                (Err(failure), Some(file)) if !is_failing => {
                    note(&format!("{failure}; it is tried again every {} s", interval.as_secs_f64()));
                    // What is there would be taken for the present.
                    file.remove();
                    is_failing = true;
                }
                (Err(_), Some(_)) => {}
            }
        }
        std::thread::sleep(TICK.min(next.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// A file that was written, and is removed in the end: it would tell of nodes that nobody looks at any more.
struct Written<'a>(&'a Path);

impl Written<'_> {
    fn remove(&self) {
        // A device or a pipe stays.
        if !self.0.metadata().is_ok_and(|meta| meta.is_file()) {
            return;
        }
        if let Err(error) = std::fs::remove_file(self.0) {
            note(&format!("cannot remove {}: {}", clean_path(self.0), clean(&error.to_string())));
        }
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}
