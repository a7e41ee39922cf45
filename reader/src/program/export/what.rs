//! What all exports have in common: which nodes, and what of them.

use std::ffi::OsString;
use std::io;

use atomscope::export::exporter::Exporter;
use atomscope::export::facts::{BOUNDED, Selection};
use atomscope::export::family::{Buckets, Labels};
use atomscope::export::nodes::Nodes;
use atomscope::export::prometheus::LABELS;
use atomscope::find::{FindError, Target};
use atomscope::layout::instances::Domain;
use atomscope::text::clean;
use clap::{Args, ValueEnum};

use crate::program::output::{Failure, note};
use crate::program::target::{SearchArgs, search};
use crate::program::values::parse_count;

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

/// The nodes that these arguments name.
pub fn nodes(search_args: &SearchArgs, who: &[OsString]) -> Result<Nodes, Failure> {
    let mut targets: Vec<Target> = who.iter().map(|who| Target::parse(who)).collect();
    // The export waits for nodes that are not there yet, but no process ever has such a number.
    if let Some(Target::NoProcess(digits)) = targets.iter().find(|who| matches!(who, Target::NoProcess(_))) {
        return Err(FindError::NoProcess(digits.clone()).into());
    }
    match (&search_args.region, who) {
        (Some(_), [_, ..]) => {
            return Err(Failure::usage("WHO and --region both name a node; give only one of them"));
        }
        (Some(path), []) => targets.push(Target::File(path.clone())),
        (None, _) => {}
    }
    Ok(Nodes::new(search(search_args), targets))
}

/// Looks at the nodes, and notes on stderr what could not be read.
pub fn poll(nodes: &mut Nodes, exporter: &mut dyn Exporter) -> Result<(), Failure> {
    nodes.poll(exporter).map_err(|error| failed(&error))?;
    nodes.notices().iter().for_each(|notice| note(notice));
    Ok(())
}

pub fn failed(error: &io::Error) -> Failure {
    Failure::Failed(format!("the export failed: {}", clean(&error.to_string())))
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give a name and a value, such as zone=eu")?;
    let name = parse_name(name)?;
    // These have a meaning of their own.
    if name.starts_with("__") || ["le", "quantile"].iter().chain(&LABELS).any(|other| *other == name) {
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
