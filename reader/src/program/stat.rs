//! `stat`: the rates of a node, one line per interval.

mod format;
mod metrics;
mod row;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use atomscope::follow::LastMoment;
use atomscope::system::{stop_on_signals, wait};
use clap::Args;

use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, Out, note, to_people, to_stdout};
use crate::program::stat::format::{Columns, Format};
use crate::program::stat::metrics::MetricColumns;
use crate::program::stat::row::{Row, Sample};
use crate::program::table::{Screen, verdict_style};
use crate::program::target::{SearchArgs, attach};
use crate::program::values::{parse_count, parse_interval, shifted};

/// Print the rates of a node, one line per interval.
#[derive(Debug, Args)]
#[command(after_help = format!("\
The first line shows averages since the start of the node. The command ends with the node, after COUNT lines, or on ^C.

Columns:
  ACTORS       live actors
  SPAWN(/s)    actors spawned per second
  STOP(/s)     actors stopped per second
  LETTERS(/s)  dead letters per second
  EVENTS(/s)   events published per second
  LOST         letters and events that were not recorded, in the interval
  UNREADABLE   records of actors that cannot be decoded; `-` if the table is too large to scan
  BEAT(s)      time since the last heartbeat
  CPU(%)       CPU time of the process, in percent of one processor
  JOURNAL(/s)  events written to journals per second
  SHARDS(/s)   messages to shards per second
  IN(KiB/s)    data received from other nodes
  OUT(KiB/s)   data sent to other nodes
  STATE        see `atomscope ps --help`

A program without actors has no columns ACTORS, SPAWN, STOP, LETTERS and UNREADABLE. \
JOURNAL, SHARDS, IN and OUT are shown if the node uses them, MEMORY, THREADS and FILES with --process. --json and --csv \
always write all columns; one without a value is null or empty there. A narrow terminal drops columns in this order: UNREADABLE, LETTERS, LOST, BEAT, STOP, EVENTS, \
OUT, IN, SHARDS, CPU, JOURNAL.

--metric adds a column for a metric that `atomscope metrics` lists. A counter, such as persistence.events, is shown as a \
rate, a gauge as its value, and a histogram as the rate of its values; bytes are shown in KiB, nanoseconds in ms. \
NAME{{KEY=\"VALUE\"}} is the metric with that label, and NAME without labels the one that has none; where several have such \
labels, their sum. \
DOMAIN.FIELD is the sum over all instances of a domain in `atomscope dump`, such as associations.inbound_bytes. KIND/RECORD.FIELD is a number of a record that `atomscope \
records` lists.

INTERVAL is a number of seconds, or a number with ms, s or m. WHO can be left out before an INTERVAL with a unit: \
`stat 1s 5` prints 5 lines, but `stat 5` is the node in process 5.

Exit code: 0, also when the node ends; 1 if the node cannot be found or read, or has no such metric.

Examples:
  atomscope stat shop
  atomscope stat shop 1
  atomscope stat 4711 500ms 20
  atomscope stat shop 1m --csv >> shop.csv
  atomscope stat market --metric OrderBook/EURUSD.best_bid
  atomscope stat crawler --metric 'docs.seen{{shard=\"0\"}}'
  atomscope stat shop --metric persistence.events --metric sharding.messages --metric runtime.queue

{WHO_HELP}"))]
pub struct StatArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Time between two lines, such as 5 (seconds), 500ms, 1s or 5m; 1s if left out.
    pub interval: Option<OsString>,
    /// Number of lines; endless if left out.
    #[arg(value_parser = parse_count)]
    pub count: Option<u64>,
    /// Write JSON, one object a line.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Write comma-separated values.
    #[arg(long)]
    pub csv: bool,
    /// Show memory, threads and open files of the process too.
    #[arg(long)]
    pub process: bool,
    /// Show this metric too; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
}

impl StatArgs {
    /// As [`shifted`].
    pub fn shifted(self) -> Result<Self, Failure> {
        let Self { who, interval, count, .. } = self;
        let (who, interval, count) = shifted("stat", who, interval, count)?;
        Ok(Self { who, interval, count, ..self })
    }
}

pub fn stat(search_args: &SearchArgs, args: StatArgs) -> Result<(), Failure> {
    let StatArgs { who, interval, count, json, csv, process, metric } = args.shifted()?;
    let interval = interval.map_or(Ok(Duration::from_secs(1)), |text| {
        parse_interval(&text.to_string_lossy()).map_err(|why| Failure::usage_of("stat", why))
    })?;
    let count = count.unwrap_or(u64::MAX);
    let mut format = match (json, csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Columns(Columns::new(Screen::stdout(), process)),
    };
    stop_on_signals();
    let attached = attach(search_args, who)?;
    let region = &attached.region;
    if let (Some(info), false) = (region.dump_info(), json || csv) {
        note(&info.caveat());
    }
    let columns = MetricColumns::find(region, metric)?;
    let mut before: Option<(Sample, Vec<Option<f64>>)> = None;
    for number in 0..count {
        let sample = Sample::read(region)?;
        let values = columns.values(region)?;
        let row = match &before {
            Some((before, values_before)) => {
                let interval = Some(sample.at.duration_since(before.at));
                let rates = columns.rates(&values, values_before, interval);
                Row::new(&sample, Some(before), interval, rates)
            }
            None => {
                let life = region.uptime(&sample.liveness, &sample.taken_at);
                Row::new(&sample, None, life, columns.rates(&values, &[], life))
            }
        };
        let colour = verdict_style(&sample.liveness);
        let is_for_people = matches!(format, Format::Columns(_));
        let write = |out: &mut Out<'_>| format.write(out, number, &row, colour);
        if is_for_people { to_people(write) } else { to_stdout(write) }?;
        if region.dump_info().is_some() {
            return Ok(());
        }
        if !sample.liveness.verdict.is_alive() {
            let (mut liveness, mut last_moment) = (sample.liveness, LastMoment::default());
            while !last_moment.is_over(&liveness) && wait(Duration::from_millis(10)) {
                liveness = region.liveness()?;
            }
            note(&format!("the node has ended: {liveness}"));
            return Ok(());
        }
        let next = sample.at + interval;
        before = Some((sample, values));
        if number + 1 < count && !wait(next.saturating_duration_since(Instant::now())) {
            return Ok(());
        }
    }
    Ok(())
}
