//! `export`: what nodes publish, for other systems.

mod exec;
mod prometheus;
#[cfg(feature = "export")]
mod renewed;
#[cfg(feature = "export")]
mod server;
#[cfg(feature = "export")]
mod tls;
mod what;

use atomscope::system::stop_on_signals;
use clap::{Args, Subcommand};

use crate::program::export::exec::ExecArgs;
use crate::program::export::prometheus::PrometheusArgs;
use crate::program::output::Failure;
use crate::program::target::SearchArgs;

/// Feed other systems with what nodes publish.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  atomscope export prometheus             all nodes, at http://127.0.0.1:9464/metrics
  atomscope export prometheus --textfile /var/lib/node_exporter/atomscope.prom
  atomscope export exec -- ./to-influx    events and samples as lines of JSON
  atomscope dump shop --format prom       the same metrics once")]
pub struct ExportArgs {
    #[command(subcommand)]
    pub to: To,
}

#[derive(Debug, Subcommand)]
pub enum To {
    Prometheus(PrometheusArgs),
    Exec(ExecArgs),
}

pub fn export(search_args: &SearchArgs, args: ExportArgs) -> Result<(), Failure> {
    stop_on_signals();
    match args.to {
        To::Prometheus(args) => prometheus::prometheus(search_args, &args),
        To::Exec(args) => exec::exec(search_args, args),
    }
}
