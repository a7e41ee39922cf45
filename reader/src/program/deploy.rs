//! `deploy`: files for the deployment of the exporter, as they are in the folder `deploy` of this crate.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use crate::program::output::{Failure, to_people, to_stdout};

/// Print a file that deploys the exporter: a unit of systemd, an image, a manifest of Kubernetes, rules, a dashboard.
#[derive(Debug, Args)]
#[command(after_help = "\
Without NAME it lists the files. Each begins with a comment that says how to use it; REGISTRY stands for your own.

Examples:
  atomscope deploy
  atomscope deploy systemd > /etc/systemd/system/atomscope-export.service
  atomscope deploy rules > /etc/prometheus/atomscope-rules.yml
  atomscope deploy daemonset | sed 's/REGISTRY/registry.example/' | kubectl apply -f -")]
pub struct DeployArgs {
    /// The file to print.
    pub name: Option<File>,
}

macro_rules! files {
    ($($(#[doc = $what:literal])* $variant:ident => $path:literal,)+) => {
        /// A file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub enum File {
            $($(#[doc = $what])* $variant,)+
        }

        impl File {
            /// What it holds.
            fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("../../deploy/", $path)),)+
                }
            }
        }
    };
}

files! {
    /// A hardened unit of systemd: one exporter for the machine
    Systemd => "atomscope-export.service",
    /// The recipe of an image with nothing but this program
    Container => "Containerfile",
    /// Kubernetes: the exporter beside a node in its pod
    Sidecar => "kubernetes-sidecar.yaml",
    /// Kubernetes: one exporter for each machine
    Daemonset => "kubernetes-daemonset.yaml",
    /// Prometheus: scrape the exporters of machines
    Scrape => "prometheus.yml",
    /// Prometheus: the job that scrapes sidecars and DaemonSets
    ScrapeKubernetes => "prometheus-kubernetes.yml",
    /// Prometheus: recording and alert rules
    Rules => "atomscope-rules.yml",
    /// Grafana: a dashboard
    Dashboard => "grafana-dashboard.json",
}

pub fn deploy(args: &DeployArgs) -> Result<(), Failure> {
    if let Some(file) = args.name {
        return to_stdout(|out| out.write_all(file.text().as_bytes()));
    }
    let files: Vec<_> = File::value_variants().iter().filter_map(File::to_possible_value).collect();
    let width = files.iter().map(|file| file.get_name().len()).max().unwrap_or_default();
    to_people(|out| {
        files.iter().try_for_each(|file| {
            let help = file.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(out, "{:width$}  {help}", file.get_name())
        })
    })
}
