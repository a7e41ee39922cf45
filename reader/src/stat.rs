//! `stat`: a node's rates, a line at an interval.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use atomscope::attach::{AttachError, Region, stop_on_signals, wait};
use atomscope::liveness::Liveness;
use atomscope::snapshot::{age, now_unix_ns};
use atomscope::text::write_json;
use atomscope::vitals::Vitals;
use atomscope_layout::decode::{ActorTotals, RegionReader, rfc3339};
use atomscope_layout::metrics::Builtin;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::cli::{self, Place, parse_interval};
use crate::commands::{attach, seconds, style};
use crate::output::{Failure, note, to_stdout};
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
    at_unix_ns: i128,
    at: Instant,
    liveness: Liveness,
    live: u64,
    /// `None` where the records were not looked at.
    unreadable: Option<u64>,
    counts: Counts,
    process: Option<Vitals>,
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
        let lost = [Builtin::DeadLettersAbandoned, Builtin::EventsAbandoned, Builtin::EventsUntold];
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
    /// On average over an interval, at whose start they were `before`.
    pub fn per_second(&self, before: &Self, interval: Duration) -> PerSecond {
        let rate = |of: fn(&Self) -> u64| {
            of(self).saturating_sub(of(before)) as f64 / interval.as_secs_f64().max(1e-9)
        };
        PerSecond {
            spawned: rate(|counts| counts.spawned),
            stopped: rate(|counts| counts.stopped),
            dead_letters: rate(|counts| counts.dead_letters),
            events: rate(|counts| counts.events),
        }
    }
}

impl Sample {
    fn take(region: &Region) -> Result<Self, AttachError> {
        // Before the counts: those of a node that was dead by then are its last ones.
        let liveness = region.liveness()?;
        let reader = region.reader()?;
        let totals = reader.actor_totals();
        let sample = Self {
            at_unix_ns: region.dumped().map_or_else(now_unix_ns, |taken| taken.unix_ns),
            at: Instant::now(),
            liveness,
            live: totals.live,
            unreadable: (reader.map().actor_slots() <= LOOKED_AT_SLOTS)
                .then(|| reader.census().tally.unreadable),
            counts: Counts::read(&reader, &totals),
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
    /// What the rates are averages over.
    interval_s: f64,
    /// Whether that is all the time since the node's start.
    since_start: bool,
    actors: u64,
    spawned_per_s: f64,
    stopped_per_s: f64,
    dead_letters_per_s: f64,
    events_per_s: f64,
    /// In the interval.
    lost: u64,
    /// `None` where the records are too many to look at for each line.
    unreadable: Option<u64>,
    beat_age_s: Option<f64>,
    state: &'static str,
    why: Option<&'static str>,
    /// Of one processor; the same interval.
    cpu_percent: Option<f64>,
    memory_bytes: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
    /// What was asked for by name.
    #[serde(flatten)]
    metrics: Rates,
}

impl Row {
    /// `cpu_before` is the processor time that the process had taken at the interval's start.
    fn new(
        sample: &Sample,
        before: Counts,
        cpu_before: Option<f64>,
        interval: Duration,
        since_start: bool,
        metrics: Rates,
    ) -> Self {
        let rates = sample.counts.per_second(&before, interval);
        let tenths = |number: f64| (number * 10.0).round() / 10.0;
        Self {
            at: rfc3339(sample.at_unix_ns),
            interval_s: seconds(interval),
            since_start,
            actors: sample.live,
            spawned_per_s: tenths(rates.spawned),
            stopped_per_s: tenths(rates.stopped),
            dead_letters_per_s: tenths(rates.dead_letters),
            events_per_s: tenths(rates.events),
            lost: sample.counts.lost.saturating_sub(before.lost),
            unreadable: sample.unreadable,
            beat_age_s: sample.liveness.newest_beat_age().map(seconds),
            state: sample.liveness.verdict.word(),
            why: sample.liveness.verdict.why(),
            cpu_percent: sample
                .process
                .zip(cpu_before)
                .map(|(process, before)| tenths(process.cpu_percent(before, interval))),
            memory_bytes: sample.process.map(|process| process.memory_bytes),
            threads: sample.process.map(|process| process.threads),
            open_files: sample.process.and_then(|process| process.open_files),
            metrics,
        }
    }
}

/// Title and least width of each column; the last is as wide as it likes.
const COLUMNS: [(&str, usize); 9] = [
    ("ACTORS", 8),
    ("SPAWN(/s)", 10),
    ("STOP(/s)", 10),
    ("LETTERS(/s)", 11),
    ("EVENTS(/s)", 11),
    ("LOST", 6),
    ("UNREADABLE", 10),
    ("BEAT(s)", 7),
    ("STATE", 0),
];

/// The columns before the last one that `--process` asks for.
const PROCESS_COLUMNS: [(&str, usize); 4] =
    [("CPU(%)", 7), ("MEMORY(MiB)", 11), ("THREADS", 7), ("FILES", 6)];

#[derive(Debug)]
enum Form {
    /// Where to, and whether with [`PROCESS_COLUMNS`].
    Columns(Screen, bool),
    Json,
    Csv,
}

impl Form {
    fn write(&self, out: &mut dyn Write, number: u64, row: &Row, colour: anstyle::Style) -> io::Result<()> {
        match self {
            Self::Json => write_json(out, row),
            Self::Csv => {
                if number == 0 {
                    writeln!(
                        out,
                        "at,interval_s,since_start,actors,spawned_per_s,stopped_per_s,dead_letters_per_s,\
                         events_per_s,lost,unreadable,beat_age_s,state,cpu_percent,memory_bytes,threads,open_files{}",
                        row.metrics.csv_names()
                    )?;
                }
                let Row { at, interval_s, since_start, actors, .. } = row;
                let Row { spawned_per_s, stopped_per_s, dead_letters_per_s, events_per_s, .. } = row;
                let beat = row.beat_age_s.map(|age| age.to_string()).unwrap_or_default();
                let Row { lost, unreadable, state, .. } = row;
                let cell = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
                let unreadable = cell(*unreadable);
                let cpu = row.cpu_percent.map(|percent| percent.to_string()).unwrap_or_default();
                let [memory, threads, files] = [row.memory_bytes, row.threads, row.open_files].map(cell);
                writeln!(
                    out,
                    "{at},{interval_s},{since_start},{actors},{spawned_per_s},{stopped_per_s},\
                     {dead_letters_per_s},{events_per_s},{lost},{unreadable},{beat},{state},{cpu},{memory},{threads},\
                     {files}{}",
                    row.metrics.csv()
                )
            }
            Self::Columns(screen, process) => {
                let plain = anstyle::Style::new();
                let (strong, colour) = if screen.colours { (STRONG, colour) } else { (plain, plain) };
                let (columns, last) = COLUMNS.split_at(COLUMNS.len() - 1);
                let extra = if *process { PROCESS_COLUMNS.as_slice() } else { &[] };
                let owned = |(title, width): &(&str, usize)| ((*title).to_owned(), *width);
                let mut columns: Vec<_> = columns.iter().chain(extra).map(owned).collect();
                columns.extend(row.metrics.columns());
                columns.extend(last.iter().map(owned));
                let pad = |text: &str, width: usize| {
                    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
                };
                if number == 0 || screen.columns.is_some() && number.is_multiple_of(HEADER_EVERY) {
                    let titles = columns.iter().map(|(title, width)| pad(title, *width));
                    let titles = titles.collect::<Vec<_>>().join("  ");
                    writeln!(out, "{strong}{titles}{strong:#}")?;
                }
                let tenths = |rate: f64| format!("{rate:.1}");
                let or_dash = |text: Option<String>| text.unwrap_or("-".to_owned());
                let mut cells = vec![
                    row.actors.to_string(),
                    tenths(row.spawned_per_s),
                    tenths(row.stopped_per_s),
                    tenths(row.dead_letters_per_s),
                    tenths(row.events_per_s),
                    row.lost.to_string(),
                    or_dash(row.unreadable.map(|number| number.to_string())),
                    or_dash(row.beat_age_s.map(tenths)),
                ];
                if *process {
                    let mib = |bytes: u64| tenths(bytes as f64 / f64::from(1 << 20));
                    cells.extend([
                        or_dash(row.cpu_percent.map(tenths)),
                        or_dash(row.memory_bytes.map(mib)),
                        or_dash(row.threads.map(|threads| threads.to_string())),
                        or_dash(row.open_files.map(|files| files.to_string())),
                    ]);
                }
                cells.extend(row.metrics.cells());
                let cells: Vec<_> =
                    cells.iter().zip(&columns).map(|(cell, (_, width))| pad(cell, *width)).collect();
                let since = if row.since_start { " (averages since the node's start)" } else { "" };
                writeln!(out, "{}  {colour}{}{colour:#}{since}", cells.join("  "), row.state)
            }
        }
    }
}

pub fn stat(place: &Place, args: cli::Stat) -> Result<(), Failure> {
    let cli::Stat { who, interval, count, json, csv, process, metric } = args.shifted()?;
    let interval = interval.map_or(Ok(Duration::from_secs(1)), |text| {
        parse_interval(&text.to_string_lossy()).map_err(Failure::Usage)
    })?;
    let count = count.unwrap_or(u64::MAX);
    let form = match (json, csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Columns(Screen::stdout(), process),
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
                let cpu_before = before.process.map(|process| process.cpu_s());
                let interval = sample.at.duration_since(before.at);
                let rates = asked.rates(&values, values_before, interval);
                Row::new(&sample, before.counts, cpu_before, interval, false, rates)
            }
            None => {
                let life = life(region, &sample.liveness, sample.at_unix_ns);
                let rates = asked.rates(&values, &[], life);
                Row::new(&sample, Counts::default(), Some(0.0), life, true, rates)
            }
        };
        let colour = style(sample.liveness.verdict);
        to_stdout(|out| form.write(out, number, &row, colour))?;
        if region.dumped().is_some() {
            return Ok(());
        }
        if !sample.liveness.verdict.is_alive() {
            note(&format!("the node has ended: {}", sample.liveness.verdict));
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

/// How long a node has lived: until now, or if it is dead until its last beat.
pub fn life(region: &Region, liveness: &Liveness, now_unix_ns: i128) -> Duration {
    let created = i128::from(region.identity().header.created_unix_ns);
    let is_dead = !liveness.verdict.is_alive();
    // Of an earlier boot the age of a beat is not known, but when it was.
    match region.last_beat_unix_ns().filter(|_| is_dead) {
        Some(last) => age(last, created),
        None => {
            let beat_age = liveness.newest_beat_age().filter(|_| is_dead);
            age(now_unix_ns, created).saturating_sub(beat_age.unwrap_or_default())
        }
    }
}

fn wait_until(time: Instant) -> bool {
    wait(time.saturating_duration_since(Instant::now()))
}
