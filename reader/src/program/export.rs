//! `export`: what nodes publish, for other systems.

mod exec;
#[cfg(feature = "export")]
mod server;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atomscope::export::facts::{BOUNDED, Selection};
use atomscope::export::family::{Buckets, Labels};
use atomscope::export::nodes::{Nodes, TICK};
use atomscope::export::prometheus::Prometheus;
use atomscope::export::text::Format;
use atomscope::find::Target;
use atomscope::layout::instances::Domain;
use atomscope::system::{stop_on_signals, stopped};
use atomscope::text::{clean, clean_path};
use clap::{Args, Subcommand, ValueEnum};

use crate::program::output::file::{Readers, to_file};
use crate::program::output::{Failure, note};
use crate::program::target::{SearchArgs, search};
use crate::program::values::{parse_count, parse_interval};

/// Feed other systems with what nodes publish.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  atomscope export prometheus                          all nodes of this machine, at http://127.0.0.1:9464/metrics
  atomscope export prometheus --textfile /var/lib/node_exporter/atomscope.prom
  atomscope export exec -- ./to-influx.py              each event and sample as a line of JSON on its standard input
  atomscope dump shop --format prom                    the same families once")]
pub struct ExportArgs {
    #[command(subcommand)]
    pub to: To,
}

#[derive(Debug, Subcommand)]
pub enum To {
    Prometheus(PrometheusArgs),
    Exec(exec::ExecArgs),
}

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
    /// Serve HTTP at this address.
    #[cfg(feature = "export")]
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// Serve nothing, and write this file at each interval instead, at once as a whole. The name should end in .prom.
    #[cfg_attr(feature = "export", arg(long, value_name = "FILE", conflicts_with = "listen"))]
    #[cfg_attr(not(feature = "export"), arg(long, value_name = "FILE", required = true))]
    pub textfile: Option<PathBuf>,
    /// The time from one write of the file to the next.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_interval, requires = "textfile")]
    pub interval: Duration,
    /// The certificate chain for TLS, in PEM.
    #[cfg(feature = "export")]
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Protection")]
    pub tls_cert: Option<PathBuf>,
    /// The private key for TLS, in PEM.
    #[cfg(feature = "export")]
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Protection")]
    pub tls_key: Option<PathBuf>,
    /// Answer only clients that send the token in this file.
    #[cfg(feature = "export")]
    #[arg(long, value_name = "FILE", help_heading = "Protection")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub what: WhatArgs,
}

/// What is exported.
#[derive(Debug, Args)]
pub struct WhatArgs {
    /// Add this label to every sample of a node; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label, help_heading = "What is exported")]
    pub label: Vec<(String, String)>,
    /// The beginning of the names that atomr-telemetry's exporter has too.
    #[arg(long, value_name = "NAME", default_value = "atomr", value_parser = parse_name, help_heading = "What is exported")]
    pub namespace: String,
    /// Also export this many actors one by one: the busiest, then those with the fullest mailboxes.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "What is exported")]
    pub top: usize,
    /// Also export the instances of these domains, of which there may be any number: associations, graphs, persistence_ids, shards, keys, node_metrics.
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',', value_parser = parse_domain, help_heading = "What is exported")]
    pub detail: Vec<Domain>,
    /// Limit of rows of one kind.
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_count, help_heading = "What is exported")]
    pub limit: u64,
    /// The buckets of histograms: one or four for each doubling of the value.
    #[arg(long, value_enum, default_value_t = BucketsArg::Octave, help_heading = "What is exported")]
    pub buckets: BucketsArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BucketsArg {
    Octave,
    Fine,
}

impl WhatArgs {
    pub fn selection(&self) -> Selection {
        Selection {
            namespace: self.namespace.clone(),
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
            top: self.top,
            detail: self.detail.clone(),
            buckets: match self.buckets {
                BucketsArg::Octave => Buckets::Octave,
                BucketsArg::Fine => Buckets::Fine,
            },
        }
    }

    pub fn labels(&self) -> Labels {
        self.label.iter().map(|(name, value)| (name.clone().into(), value.clone())).collect()
    }
}

pub fn export(search_args: &SearchArgs, args: ExportArgs) -> Result<(), Failure> {
    stop_on_signals();
    match args.to {
        To::Prometheus(args) => prometheus(search_args, args),
        To::Exec(args) => exec::exec(search_args, args),
    }
}

fn prometheus(search_args: &SearchArgs, args: PrometheusArgs) -> Result<(), Failure> {
    let mut nodes = nodes(search_args, &args.who)?;
    let mut exporter = Prometheus::new(args.what.selection(), args.what.labels());
    match &args.textfile {
        Some(path) => textfile(&mut nodes, &mut exporter, path, args.interval),
        #[cfg(feature = "export")]
        None => server::serve(&mut nodes, &mut exporter, &args),
        #[cfg(not(feature = "export"))]
        None => Ok(()),
    }
}

/// The nodes that these arguments name.
fn nodes(search_args: &SearchArgs, who: &[OsString]) -> Result<Nodes, Failure> {
    let mut targets: Vec<Target> = who.iter().map(|who| Target::parse(who)).collect();
    match (&search_args.region, who) {
        (Some(_), [_, ..]) => {
            return Err(Failure::usage("WHO and --region both name a node; give only one of them"));
        }
        (Some(path), []) => targets.push(Target::File(path.clone())),
        (None, _) => {}
    }
    Ok(Nodes::new(search(search_args), targets))
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
            to_file(path, None, Readers::Anybody, |out| std::io::Write::write_all(out, text.as_bytes()))?;
        }
        std::thread::sleep(TICK.min(next.saturating_duration_since(Instant::now())));
    }
    std::fs::remove_file(path).map_err(|error| {
        Failure::Failed(format!("cannot remove {}: {}", clean_path(path), clean(&error.to_string())))
    })
}

/// Looks at the nodes, and notes on stderr what could not be read.
fn poll(nodes: &mut Nodes, exporter: &mut dyn atomscope::export::exporter::Exporter) -> Result<(), Failure> {
    nodes.poll(exporter).map_err(|error| failed(&error))?;
    nodes.notices().iter().for_each(|notice| note(notice));
    Ok(())
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("the export failed: {}", clean(&error.to_string())))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give a name and a value, such as zone=eu")?;
    let name = parse_name(name)?;
    // These have a meaning of their own.
    if name.starts_with("__")
        || ["le", "quantile", "node", "system", "pid", "region_file", "ended", "how"].contains(&name.as_str())
    {
        return Err(format!("the label {name} has a meaning of its own; give another name"));
    }
    Ok((name, value.to_owned()))
}

/// Parses a name of a label or the beginning of one of a metric.
fn parse_name(text: &str) -> Result<String, String> {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = text.starts_with(is_first) && text.chars().all(|c| is_first(c) || c.is_ascii_digit());
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no name: letters, digits and _", clean(text)))
    }
}

fn parse_domain(text: &str) -> Result<Domain, String> {
    let found = Domain::ALL.iter().copied().find(|domain| domain.name() == text);
    found.ok_or_else(|| {
        let others =
            Domain::ALL.iter().filter(|domain| !BOUNDED.contains(domain)).map(|domain| domain.name());
        format!("there is no domain {}; there are: {}", clean(text), others.collect::<Vec<_>>().join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_name_that_nothing_else_has() {
        assert_eq!(parse_label("zone=eu=1").unwrap(), ("zone".to_owned(), "eu=1".to_owned()));
        for wrong in ["zone", "1=x", "=x", "pid=1", "le=1", "__x=1", "a b=1"] {
            assert!(parse_label(wrong).is_err(), "{wrong}");
        }
    }
}
