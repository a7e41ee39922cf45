//! `stat`: a node's rates, a line at an interval.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use atomscope::attach::{AttachError, Region, stop_on_signals, wait};
use atomscope::liveness::Liveness;
use atomscope::text::write_json;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{ActorTotals, Moment, RegionReader, rfc3339};
use atomscope_layout::instances::{Domain, association};
use atomscope_layout::metrics::Builtin;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::cli::{self, Place, parse_interval};
use crate::commands::{attach, seconds, style};
use crate::output::{Failure, Out, note, to_people, to_stdout};
use crate::rates::{Asked, Rates};
use crate::table::{STRONG, Screen};

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

/// What only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub spawned: u64,
    pub stopped: u64,
    pub dead_letters: u64,
    pub events: u64,
    /// Letters and events that were given up by their writers, and stops that no event tells of.
    pub lost: u64,
}

impl Counts {
    /// As they are, but for those of the actors, which `totals` holds.
    pub fn read(reader: &RegionReader<'_>, totals: &ActorTotals) -> Self {
        let events = (0..reader.event_lanes()).map(|lane| reader.event_lane(lane).head());
        let lost = [Builtin::DeadLettersAbandoned, Builtin::EventsAbandoned, Builtin::StopsUnpublished];
        Self {
            spawned: totals.spawned,
            stopped: totals.stopped,
            dead_letters: reader.dead_letter_total(),
            events: events.fold(0, u64::saturating_add),
            lost: lost.map(|metric| reader.builtin(metric)).iter().fold(0, |a, b| a.saturating_add(*b)),
        }
    }
}

/// What some counts grow by in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PerSecond {
    pub spawned: f64,
    pub stopped: f64,
    pub dead_letters: f64,
    pub events: f64,
}

impl Counts {
    /// On average over an interval, at whose start they were `before`; `None` where its length is not known.
    pub fn per_second(&self, before: &Self, interval: Option<Duration>) -> Option<PerSecond> {
        let seconds = interval?.as_secs_f64().max(1e-9);
        let rate = |of: fn(&Self) -> u64| of(self).saturating_sub(of(before)) as f64 / seconds;
        Some(PerSecond {
            spawned: rate(|counts| counts.spawned),
            stopped: rate(|counts| counts.stopped),
            dead_letters: rate(|counts| counts.dead_letters),
            events: rate(|counts| counts.events),
        })
    }
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
                .then(|| reader.class_counts().tally.unreadable),
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

pub fn stat(place: &Place, args: cli::Stat) -> Result<(), Failure> {
    let cli::Stat { who, interval, count, json, csv, process, metric } = args.shifted()?;
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
