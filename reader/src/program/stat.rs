//! `stat`: a node's rates, a line at an interval.
use std::io::{self, Write};
use std::time::{Duration, Instant};

use atomscope::attach::{AttachError, Region};
use atomscope::liveness::Liveness;
use atomscope::system::{stop_on_signals, wait};
use atomscope::text::write_json;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{Moment, RegionReader, rfc3339};
use atomscope_layout::instances::{Domain, association};
use atomscope_layout::metrics::Builtin;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

mod metrics;
use self::metrics::{Asked, Rates};
use crate::program::output::{Failure, Out, note, to_people, to_stdout};
use crate::program::table::style;
use crate::program::table::{STRONG, Screen};
use crate::program::target::{SearchArgs, attach};
use crate::program::values::{is_number, parse_interval};
use atomscope::report::human::seconds;
use atomscope::report::rates::{Counts, PerSecond};
use atomscope::text::clean_os;
use clap::Args;
use std::ffi::OsString;

use crate::program::help::WHO_HELP;

/// Show a node's rates, a line at an interval.
#[derive(Debug, Args)]
#[command(after_help = format!("\
The first line holds averages since the node's start, or of a dead node over its life. It ends when the node does.

  ACTORS       live actors, by counting
  SPAWN(/s)    actors spawned a second
  STOP(/s)     actors stopped a second
  LETTERS(/s)  dead letters a second
  EVENTS(/s)   events published a second
  LOST         letters and events given up by their writers, in the interval
  UNREADABLE   records of actors that cannot be read now; - where there are too many to look at
  BEAT(s)      age of the node's newest beat
  CPU(%)       of one processor, in the interval; --process: then memory, threads, open files
  STATE        as `atomscope ps` explains it

Of a node that uses them: JOURNAL(/s), events of journals; SHARDS(/s), messages to shards; IN(KiB/s) and OUT(KiB/s), \
what comes from and goes to other nodes. JSON and comma-separated values always have all of these. On a terminal that is \
too narrow columns are left out: UNREADABLE, LETTERS, LOST, BEAT, STOP, EVENTS, OUT, IN, SHARDS, CPU, JOURNAL, in that order.

--metric adds a column: of what only grows, such as persistence.events, how much comes a second, of the rest its \
value; bytes are shown in KiB, nanoseconds in ms. `atomscope metrics` lists the names. DOMAIN.FIELD is the sum over \
the things of a domain in `atomscope dump`, such as associations.inbound_bytes.

INTERVAL is a number of seconds, or a number and ms, s or m. A single number is WHO, a pid; before COUNT alone, an \
interval has its unit: `stat 1s 5`. COUNT lines are written, without it lines until interrupted.

Examples:
  atomscope stat shop
  atomscope stat shop 1
  atomscope stat 4711 500ms 20
  atomscope stat shop 1m --csv >> shop.csv
  atomscope stat shop --metric persistence.events --metric sharding.messages --metric runtime.queue

{WHO_HELP}"))]
pub struct StatArgs {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Between two lines, such as 5 (seconds), 500ms, 1s or 5m; 1s if left out.
    pub interval: Option<OsString>,
    /// This many lines.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Write JSON, one object a line.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Write comma-separated values.
    #[arg(long)]
    pub csv: bool,
    /// Show what the process takes of its machine too, as JSON and comma-separated values always do.
    #[arg(long)]
    pub process: bool,
    /// Tell this metric too; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub metric: Vec<String>,
}

impl StatArgs {
    /// With what stands in its place: `stat 1s 5` names no node. What is a number alone is a pid if it comes first, and an
    /// interval behind what is none.
    pub fn shifted(self) -> Result<Self, Failure> {
        let has_unit = |text: &OsString| {
            text.to_str().is_some_and(|text| !is_number(text) && parse_interval(text).is_ok())
        };
        let Some(first) = self.who.clone() else { return Ok(self) };
        if !has_unit(&first) || self.interval.as_ref().is_some_and(has_unit) {
            return Ok(self);
        }
        let Self { interval, count, .. } = self;
        if count.is_some() {
            let interval = interval.unwrap_or_default();
            return Err(Failure::Usage(format!("{} is no interval: try 1s", clean_os(&interval))));
        }
        let number = |text: OsString| {
            text.to_str().and_then(|text| text.parse().ok()).filter(|count| *count > 0).ok_or_else(|| {
                Failure::Usage(format!("{} is no number of lines, at least 1", clean_os(&text)))
            })
        };
        let count = interval.map(number).transpose()?;
        Ok(Self { who: None, interval: Some(first), count, ..self })
    }
}

/// Slots of a table of actors of which every record is looked at for every line, whether it can be read: that takes some
/// milliseconds at most.
const LOOKED_AT_SLOTS: usize = 1 << 16;
/// Lines after which a terminal is told the columns again.
const HEADER_EVERY: u64 = 20;

/// What is read of a node at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    taken: Moment,
    at: Instant,
    liveness: Liveness,
    live: u64,
    /// `None` where the records were not looked at.
    unreadable: Option<u64>,
    counts: Counts,
    used: [u64; USED],
    process: Option<Vitals>,
}

/// What a node may use: events of journals, messages to shards, bytes from and to other nodes, so far.
const USED: usize = 4;

/// Of a node that does not use it, 0.
fn used(reader: &RegionReader<'_>) -> [u64; USED] {
    let (mut inbound, mut outbound) = (0u64, 0u64);
    for association in reader.instances().of(Domain::Association) {
        inbound = inbound.saturating_add(association.numbers[association::BYTES_IN]);
        outbound = outbound.saturating_add(association.numbers[association::BYTES_OUT]);
    }
    let [events, messages] =
        [Builtin::PersistenceEvents, Builtin::ShardMessages].map(|metric| reader.builtin(metric));
    [events, messages, inbound, outbound]
}

impl Sample {
    fn take(region: &Region) -> Result<Self, AttachError> {
        // Before the counts: those of a node that was dead by then are its last ones.
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let sample = Self {
            taken: region.now(),
            at: Instant::now(),
            liveness,
            live: totals.live,
            unreadable: (reader.map().actor_slots() <= LOOKED_AT_SLOTS)
                .then(|| reader.census().tally.unreadable),
            counts: Counts::read(&reader, &totals),
            used: used(&reader),
            process: Vitals::of(region, &liveness),
        };
        region.still_whole()?;
        Ok(sample)
    }
}

/// One line.
#[derive(Debug, Serialize)]
struct Row {
    at: String,
    /// What the rates are averages over; `None` where a node's start cannot be known, as then the rates.
    interval_s: Option<f64>,
    /// Whether that is all the time since the node's start.
    since_start: bool,
    actors: u64,
    spawned_per_s: Option<f64>,
    stopped_per_s: Option<f64>,
    dead_letters_per_s: Option<f64>,
    events_per_s: Option<f64>,
    /// In the interval.
    lost: u64,
    /// `None` where the records are too many to look at for each line.
    unreadable: Option<u64>,
    beat_age_s: Option<f64>,
    state: &'static str,
    why: Option<String>,
    /// Of one processor; the same interval.
    cpu_percent: Option<f64>,
    memory_bytes: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
    /// `None` of a node that does not use it.
    journal_events_per_s: Option<f64>,
    shard_messages_per_s: Option<f64>,
    inbound_bytes_per_s: Option<f64>,
    outbound_bytes_per_s: Option<f64>,
    /// What was asked for by name.
    #[serde(flatten)]
    metrics: Rates,
}

impl Row {
    /// `before` is the sample at the interval's start; without one, that is the node's.
    fn new(sample: &Sample, before: Option<&Sample>, interval: Option<Duration>, metrics: Rates) -> Self {
        let since_start = before.is_none();
        let cpu_before = before.map_or(Some(0.0), |before| before.process.map(|process| process.cpu_s()));
        let used_before = before.map_or([0; USED], |before| before.used);
        let before = before.map_or(Counts::default(), |before| before.counts);
        let rates = sample.counts.per_second(&before, interval);
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        let rate = |of: fn(&PerSecond) -> f64| rates.as_ref().map(of).map(tenths);
        let used = |at: usize| {
            let came = sample.used[at].saturating_sub(used_before[at]) as f64;
            let seconds = interval.filter(|_| sample.used[at] > 0)?.as_secs_f64();
            Some(tenths(came / seconds.max(1e-9)))
        };
        Self {
            at: rfc3339(sample.taken.unix_ns),
            interval_s: interval.map(seconds),
            since_start,
            actors: sample.live,
            spawned_per_s: rate(|rates| rates.spawned),
            stopped_per_s: rate(|rates| rates.stopped),
            dead_letters_per_s: rate(|rates| rates.dead_letters),
            events_per_s: rate(|rates| rates.events),
            lost: sample.counts.lost.saturating_sub(before.lost),
            unreadable: sample.unreadable,
            beat_age_s: sample.liveness.newest_beat_age().map(seconds),
            state: sample.liveness.verdict.word(),
            why: sample.liveness.why(),
            cpu_percent: sample
                .process
                .zip(cpu_before)
                .zip(interval)
                .map(|((process, before), interval)| tenths(process.cpu_percent(before, interval))),
            memory_bytes: sample.process.map(|process| process.memory_bytes),
            threads: sample.process.map(|process| process.threads),
            open_files: sample.process.and_then(|process| process.open_files),
            journal_events_per_s: used(0),
            shard_messages_per_s: used(1),
            inbound_bytes_per_s: used(2),
            outbound_bytes_per_s: used(3),
            metrics,
        }
    }
}

#[derive(Debug)]
enum Form {
    Columns(Columns),
    Json,
    Csv,
}

/// Columns for people: which there are depends on what the node uses.
#[derive(Debug)]
struct Columns {
    screen: Screen,
    /// Whether memory, threads and open files are asked for.
    process: bool,
    /// Of each column that is shown only if there is something to show: whether there was.
    seen: Vec<bool>,
    /// Lines since the titles; `None` before the first.
    since_titles: Option<u64>,
    shown: Vec<String>,
}

/// A column of a line.
struct Column {
    title: String,
    width: usize,
    cell: String,
    /// In which order it is left out where there is too little room; `None` if never.
    leaves: Option<u8>,
}

/// Between two columns.
const GAP: &str = "  ";
/// The widest state.
const STATE_WIDTH: usize = 9;

impl Columns {
    fn new(screen: Screen, process: bool) -> Self {
        Self { screen, process, seen: Vec::new(), since_titles: None, shown: Vec::new() }
    }

    fn of(&mut self, row: &Row) -> Vec<Column> {
        let tenths = |rate: f64| format!("{rate:.1}");
        let or_dash = |text: Option<String>| text.unwrap_or("-".to_owned());
        let of = |title: &str, width: usize, cell: String, leaves: Option<u8>| Column {
            title: title.to_owned(),
            width: width.max(title.width()),
            cell,
            leaves,
        };
        let mut columns = vec![
            of("ACTORS", 8, row.actors.to_string(), None),
            of("SPAWN(/s)", 10, or_dash(row.spawned_per_s.map(tenths)), None),
            of("STOP(/s)", 10, or_dash(row.stopped_per_s.map(tenths)), Some(5)),
            of("LETTERS(/s)", 11, or_dash(row.dead_letters_per_s.map(tenths)), Some(2)),
            of("EVENTS(/s)", 11, or_dash(row.events_per_s.map(tenths)), Some(6)),
            of("LOST", 6, row.lost.to_string(), Some(3)),
            of("UNREADABLE", 10, or_dash(row.unreadable.map(|number| number.to_string())), Some(1)),
            of("BEAT(s)", 7, or_dash(row.beat_age_s.map(tenths)), Some(4)),
        ];
        let kib = |rate: f64| tenths(rate / 1024.0);
        let used = [
            ("CPU(%)", 7, row.cpu_percent.map(tenths), 10),
            ("JOURNAL(/s)", 11, row.journal_events_per_s.map(tenths), 11),
            ("SHARDS(/s)", 10, row.shard_messages_per_s.map(tenths), 9),
            ("IN(KiB/s)", 9, row.inbound_bytes_per_s.map(kib), 8),
            ("OUT(KiB/s)", 10, row.outbound_bytes_per_s.map(kib), 7),
        ];
        self.seen.resize(used.len(), false);
        for ((title, width, cell, leaves), seen) in used.into_iter().zip(&mut self.seen) {
            // What was there once keeps its place.
            *seen |= cell.is_some();
            columns.extend(seen.then(|| of(title, width, or_dash(cell), Some(leaves))));
        }
        if self.process {
            let mib = |bytes: u64| tenths(bytes as f64 / f64::from(1 << 20));
            columns.extend([
                of("MEMORY(MiB)", 11, or_dash(row.memory_bytes.map(mib)), None),
                of("THREADS", 7, or_dash(row.threads.map(|threads| threads.to_string())), None),
                of("FILES", 6, or_dash(row.open_files.map(|files| files.to_string())), None),
            ]);
        }
        let asked = row.metrics.columns().zip(row.metrics.cells());
        columns.extend(asked.map(|((title, width), cell)| Column { title, width, cell, leaves: None }));
        self.fit(columns)
    }

    fn fit(&self, mut columns: Vec<Column>) -> Vec<Column> {
        let Some(room) = self.screen.columns else { return columns };
        let needed = |columns: &[Column]| {
            columns.iter().map(|column| column.width + GAP.len()).sum::<usize>() + STATE_WIDTH
        };
        while needed(&columns) > room {
            let next = columns.iter().enumerate().filter_map(|(at, column)| Some((column.leaves?, at))).min();
            let Some((_, at)) = next else { break };
            columns.remove(at);
        }
        columns
    }

    fn write(&mut self, out: &mut dyn Write, row: &Row, colour: anstyle::Style) -> io::Result<()> {
        let plain = anstyle::Style::new();
        let (strong, colour) = if self.screen.colours { (STRONG, colour) } else { (plain, plain) };
        let columns = self.of(row);
        let pad = |text: &str, width: usize| {
            format!("{}{text}{GAP}", " ".repeat(width.saturating_sub(text.width())))
        };
        let titles: Vec<String> = columns.iter().map(|column| column.title.clone()).collect();
        let is_due = self.screen.columns.is_some() && self.since_titles >= Some(HEADER_EVERY);
        if is_due || titles != self.shown {
            let line: String = columns.iter().map(|column| pad(&column.title, column.width)).collect();
            writeln!(out, "{strong}{line}STATE{strong:#}")?;
            (self.since_titles, self.shown) = (Some(0), titles);
        }
        self.since_titles = self.since_titles.map(|lines| lines + 1);
        let line: String = columns.iter().map(|column| pad(&column.cell, column.width)).collect();
        let used = line.width() + row.state.width();
        let fits = |text: &&&str| self.screen.columns.is_none_or(|room| used + text.width() <= room);
        let since = [" (averages since the node's start)", " (average)"];
        let since = since.iter().find(fits).filter(|_| row.since_start).copied().unwrap_or_default();
        writeln!(out, "{line}{colour}{}{colour:#}{since}", row.state)
    }
}

impl Form {
    fn write(
        &mut self,
        out: &mut dyn Write,
        number: u64,
        row: &Row,
        colour: anstyle::Style,
    ) -> io::Result<()> {
        match self {
            Self::Json => write_json(out, row),
            Self::Csv => {
                if number == 0 {
                    writeln!(
                        out,
                        "at,interval_s,since_start,actors,spawned_per_s,stopped_per_s,dead_letters_per_s,\
                         events_per_s,lost,unreadable,beat_age_s,state,cpu_percent,memory_bytes,threads,open_files,\
                         journal_events_per_s,shard_messages_per_s,inbound_bytes_per_s,outbound_bytes_per_s{}",
                        row.metrics.csv_names()
                    )?;
                }
                let Row { at, since_start, actors, .. } = row;
                let float = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
                let [interval_s, beat] = [row.interval_s, row.beat_age_s].map(float);
                let [spawned_per_s, stopped_per_s] = [row.spawned_per_s, row.stopped_per_s].map(float);
                let [dead_letters_per_s, events_per_s] =
                    [row.dead_letters_per_s, row.events_per_s].map(float);
                let Row { lost, unreadable, state, .. } = row;
                let cell = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
                let unreadable = cell(*unreadable);
                let [memory, threads, files] = [row.memory_bytes, row.threads, row.open_files].map(cell);
                let [cpu, events, messages, inbound, outbound] = [
                    row.cpu_percent,
                    row.journal_events_per_s,
                    row.shard_messages_per_s,
                    row.inbound_bytes_per_s,
                    row.outbound_bytes_per_s,
                ]
                .map(float);
                writeln!(
                    out,
                    "{at},{interval_s},{since_start},{actors},{spawned_per_s},{stopped_per_s},\
                     {dead_letters_per_s},{events_per_s},{lost},{unreadable},{beat},{state},{cpu},{memory},{threads},\
                     {files},{events},{messages},{inbound},{outbound}{}",
                    row.metrics.csv()
                )
            }
            Self::Columns(columns) => columns.write(out, row, colour),
        }
    }
}

pub fn stat(place: &SearchArgs, args: StatArgs) -> Result<(), Failure> {
    let StatArgs { who, interval, count, json, csv, process, metric } = args.shifted()?;
    let interval = interval.map_or(Ok(Duration::from_secs(1)), |text| {
        parse_interval(&text.to_string_lossy()).map_err(Failure::Usage)
    })?;
    let count = count.unwrap_or(u64::MAX);
    let mut form = match (json, csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Columns(Columns::new(Screen::stdout(), process)),
    };
    stop_on_signals();
    let chosen = attach(place, who)?;
    let region = &chosen.region;
    if let (Some(taken), false) = (region.dumped(), json || csv) {
        note(&format!(
            "this is a dump of a {} node, taken at {}",
            taken.liveness.verdict.word(),
            rfc3339(taken.unix_ns)
        ));
    }
    let asked = Asked::find(region, metric)?;
    let mut before: Option<(Sample, Vec<Option<u64>>)> = None;
    for number in 0..count {
        let sample = Sample::take(region)?;
        let values = asked.values(region)?;
        let row = match &before {
            Some((before, values_before)) => {
                let interval = Some(sample.at.duration_since(before.at));
                let rates = asked.rates(&values, values_before, interval);
                Row::new(&sample, Some(before), interval, rates)
            }
            None => {
                let life = region.uptime(&sample.liveness, &sample.taken);
                Row::new(&sample, None, life, asked.rates(&values, &[], life))
            }
        };
        let colour = style(&sample.liveness);
        let is_for_people = matches!(form, Form::Columns(_));
        let write = |out: &mut Out<'_>| form.write(out, number, &row, colour);
        if is_for_people { to_people(write) } else { to_stdout(write) }?;
        if region.dumped().is_some() {
            return Ok(());
        }
        if !sample.liveness.verdict.is_alive() {
            note(&format!("the node has ended: {}", sample.liveness));
            return Ok(());
        }
        let next = sample.at + interval;
        before = Some((sample, values));
        if number + 1 < count && !wait_until(next) {
            return Ok(());
        }
    }
    Ok(())
}

fn wait_until(time: Instant) -> bool {
    wait(time.saturating_duration_since(Instant::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_narrow_terminal_columns_go_in_the_stated_order_and_what_is_used_goes_last() {
        let liveness = Liveness {
            verdict: atomscope::liveness::Verdict::Live,
            evidence: atomscope::liveness::Evidence::Lock,
            process_beat_age: Some(Duration::from_millis(100)),
            runtime_beat_age: None,
            notes: atomscope::liveness::Notes::default(),
        };
        let sample = Sample {
            taken: Moment { unix_ns: 0, mono_ns: None, boot_ns: None },
            at: Instant::now(),
            liveness,
            live: 3,
            unreadable: Some(0),
            counts: Counts::default(),
            used: [7, 0, 0, 0],
            process: None,
        };
        let shown_of = |sample: &Sample, room: usize| {
            let second = Some(Duration::from_secs(1));
            let row = Row::new(sample, None, second, Asked::default().rates(&[], &[], second));
            let screen = Screen { columns: Some(room), colours: false, ascii: false };
            let mut out = Vec::new();
            Columns::new(screen, false).write(&mut out, &row, anstyle::Style::new()).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.width() <= room), "{room}: {text}");
            let titles = text.lines().next().unwrap_or_default().split_whitespace();
            titles.map(str::to_owned).collect::<Vec<_>>()
        };
        let shown = |room| shown_of(&sample, room);
        let all = ["ACTORS", "SPAWN(/s)", "STOP(/s)", "LETTERS(/s)", "EVENTS(/s)", "LOST", "UNREADABLE"];
        assert_eq!(shown(200), [&all[..], &["BEAT(s)", "JOURNAL(/s)", "STATE"]].concat());
        assert_eq!(shown(100), [&all[..6], &["BEAT(s)", "JOURNAL(/s)", "STATE"]].concat());
        assert_eq!(shown(60), ["ACTORS", "SPAWN(/s)", "EVENTS(/s)", "JOURNAL(/s)", "STATE"]);
        assert_eq!(shown(50), ["ACTORS", "SPAWN(/s)", "JOURNAL(/s)", "STATE"]);
        let busy = Sample { used: [7; USED], ..sample };
        assert_eq!(shown_of(&busy, 60), ["ACTORS", "SPAWN(/s)", "JOURNAL(/s)", "SHARDS(/s)", "STATE"]);
    }
}
