//! The formats of `stat`: columns for people, JSON and comma-separated values.

use std::io::{self, Write};

use anstyle::Style;
use atomscope::text::write_json;
use unicode_width::UnicodeWidthStr as _;

use crate::program::stat::row::Row;
use crate::program::table::{STRONG, Screen};

/// A terminal gets the titles again after this many lines.
const HEADER_EVERY: u64 = 20;

/// The format of the output, with the state of its columns.
#[derive(Debug)]
pub enum Format {
    Columns(Columns),
    Json,
    Csv,
}

/// Columns for people. A subsystem has a column while the node uses it.
#[derive(Debug)]
pub struct Columns {
    screen: Screen,
    /// Whether to show memory, threads and open files.
    process: bool,
    /// Whether the node has had actors.
    has_actors: bool,
    /// For each column that not every node has: whether it has had a value.
    seen: Vec<bool>,
    /// Lines since the titles; `None` before the first titles.
    since_titles: Option<u64>,
    /// The titles of the last header.
    titles: Vec<String>,
}

/// A column of a line.
struct Column {
    title: String,
    width: usize,
    cell: String,
    /// The order in which columns are dropped on a narrow terminal; `None` for a column that is always shown.
    drop_order: Option<u8>,
}

/// The gap between two columns.
const GAP: &str = "  ";
/// The width of the widest state.
const STATE_WIDTH: usize = 9;

impl Columns {
    pub fn new(screen: Screen, process: bool) -> Self {
        Self { screen, process, has_actors: false, seen: Vec::new(), since_titles: None, titles: Vec::new() }
    }

    fn of(&mut self, row: &Row) -> Vec<Column> {
        let tenths = |rate: f64| format!("{rate:.1}");
        let or_dash = |text: Option<String>| text.unwrap_or("-".to_owned());
        let of = |title: &str, width: usize, cell: String, drop_order: Option<u8>| Column {
            title: title.to_owned(),
            width: width.max(title.width()),
            cell,
            drop_order,
        };
        let whole = |number: u64| number.to_string();
        // A column that was shown once stays.
        self.has_actors |= row.actors.is_some();
        let of_actors = [
            of("ACTORS", 8, or_dash(row.actors.map(whole)), None),
            of("SPAWN(/s)", 10, or_dash(row.spawned_per_s.map(tenths)), None),
            of("STOP(/s)", 10, or_dash(row.stopped_per_s.map(tenths)), Some(5)),
            of("LETTERS(/s)", 11, or_dash(row.dead_letters_per_s.map(tenths)), Some(2)),
        ];
        let of_all = [
            of("EVENTS(/s)", 11, or_dash(row.events_per_s.map(tenths)), Some(6)),
            of("LOST", 6, row.lost.to_string(), Some(3)),
        ];
        let unreadable = of("UNREADABLE", 10, or_dash(row.unreadable.map(whole)), Some(1));
        let mut columns: Vec<_> = of_actors.into_iter().filter(|_| self.has_actors).chain(of_all).collect();
        columns.extend(self.has_actors.then_some(unreadable));
        columns.push(of("BEAT(s)", 7, or_dash(row.beat_age_s.map(tenths)), Some(4)));
        let kib = |rate: f64| tenths(rate / 1024.0);
        let used = [
            ("CPU(%)", 7, row.cpu_percent.map(tenths), 10),
            ("JOURNAL(/s)", 11, row.journal_events_per_s.map(tenths), 11),
            ("SHARDS(/s)", 10, row.shard_messages_per_s.map(tenths), 9),
            ("IN(KiB/s)", 9, row.inbound_bytes_per_s.map(kib), 8),
            ("OUT(KiB/s)", 10, row.outbound_bytes_per_s.map(kib), 7),
        ];
        self.seen.resize(used.len(), false);
        for ((title, width, cell, drop_order), seen) in used.into_iter().zip(&mut self.seen) {
            *seen |= cell.is_some();
            columns.extend(seen.then(|| of(title, width, or_dash(cell), Some(drop_order))));
        }
        if self.process {
            let mib = |bytes: u64| tenths(bytes as f64 / f64::from(1 << 20));
            columns.extend([
                of("MEMORY(MiB)", 11, or_dash(row.memory_bytes.map(mib)), None),
                of("THREADS", 7, or_dash(row.threads.map(whole)), None),
                of("FILES", 6, or_dash(row.open_files.map(whole)), None),
            ]);
        }
        let metrics = row.metrics.columns().zip(row.metrics.cells());
        columns.extend(metrics.map(|((title, width), cell)| Column { title, width, cell, drop_order: None }));
        self.fit(columns)
    }

    fn fit(&self, mut columns: Vec<Column>) -> Vec<Column> {
        let Some(available) = self.screen.columns else { return columns };
        let needed = |columns: &[Column]| {
            columns.iter().map(|column| column.width + GAP.len()).sum::<usize>() + STATE_WIDTH
        };
        while needed(&columns) > available {
            let next =
                columns.iter().enumerate().filter_map(|(at, column)| Some((column.drop_order?, at))).min();
            let Some((_, at)) = next else { break };
            columns.remove(at);
        }
        columns
    }

    fn write(&mut self, out: &mut dyn Write, row: &Row, colour: Style) -> io::Result<()> {
        let plain = Style::new();
        let (strong, colour) = if self.screen.colours { (STRONG, colour) } else { (plain, plain) };
        let columns = self.of(row);
        let pad = |text: &str, width: usize| {
            format!("{}{text}{GAP}", " ".repeat(width.saturating_sub(text.width())))
        };
        let titles: Vec<String> = columns.iter().map(|column| column.title.clone()).collect();
        let is_due = self.screen.columns.is_some() && self.since_titles >= Some(HEADER_EVERY);
        if is_due || titles != self.titles {
            let line: String = columns.iter().map(|column| pad(&column.title, column.width)).collect();
            writeln!(out, "{strong}{line}STATE{strong:#}")?;
            (self.since_titles, self.titles) = (Some(0), titles);
        }
        self.since_titles = self.since_titles.map(|lines| lines + 1);
        let line: String = columns.iter().map(|column| pad(&column.cell, column.width)).collect();
        let used = line.width() + row.state.width();
        let fits =
            |text: &&&str| self.screen.columns.is_none_or(|available| used + text.width() <= available);
        let since = [" (averages since the start of the node)", " (average)"];
        let since = since.iter().find(fits).filter(|_| row.since_start).copied().unwrap_or_default();
        writeln!(out, "{line}{colour}{}{colour:#}{since}", row.state)
    }
}

impl Format {
    /// Writes line `number`, counted from 0.
    pub fn write(&mut self, out: &mut dyn Write, number: u64, row: &Row, colour: Style) -> io::Result<()> {
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
                let Row { at, since_start, .. } = row;
                let float = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
                let [interval_s, beat] = [row.interval_s, row.beat_age_s].map(float);
                let [spawned_per_s, stopped_per_s] = [row.spawned_per_s, row.stopped_per_s].map(float);
                let [dead_letters_per_s, events_per_s] =
                    [row.dead_letters_per_s, row.events_per_s].map(float);
                let Row { lost, state, .. } = row;
                let cell = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
                let [actors, unreadable] = [row.actors, row.unreadable].map(cell);
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use atomscope::ending::LastWords;
    use atomscope::liveness::{Evidence, Liveness, Notes, Verdict};
    use atomscope::report::rates::Counters;
    use atomscope_layout::decode::Moment;

    use super::*;
    use crate::program::stat::metrics::MetricColumns;
    use crate::program::stat::row::{Sample, USED};

    #[test]
    fn on_a_narrow_terminal_columns_go_in_the_stated_order_and_what_is_used_goes_last() {
        let liveness = Liveness {
            last_words: LastWords::NONE,
            verdict: Verdict::Live,
            evidence: Evidence::Lock,
            process_beat_age: Some(Duration::from_millis(100)),
            runtime_beat_age: None,
            notes: Notes::default(),
        };
        let sample = Sample {
            taken_at: Moment { unix_ns: 0, mono_ns: None, boot_ns: None },
            at: Instant::now(),
            liveness,
            has_actors: true,
            live: 3,
            unreadable: Some(0),
            counters: Counters::default(),
            used: [7, 0, 0, 0],
            process: None,
        };
        let shown_of = |sample: &Sample, available: usize| {
            let second = Some(Duration::from_secs(1));
            let row = Row::new(sample, None, second, MetricColumns::default().rates(&[], &[], second));
            let screen = Screen { columns: Some(available), colours: false, ascii: false };
            let mut out = Vec::new();
            Columns::new(screen, false).write(&mut out, &row, Style::new()).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.width() <= available), "{available}: {text}");
            let titles = text.lines().next().unwrap_or_default().split_whitespace();
            titles.map(str::to_owned).collect::<Vec<_>>()
        };
        let shown = |available| shown_of(&sample, available);
        let all = ["ACTORS", "SPAWN(/s)", "STOP(/s)", "LETTERS(/s)", "EVENTS(/s)", "LOST", "UNREADABLE"];
        assert_eq!(shown(200), [&all[..], &["BEAT(s)", "JOURNAL(/s)", "STATE"]].concat());
        assert_eq!(shown(100), [&all[..6], &["BEAT(s)", "JOURNAL(/s)", "STATE"]].concat());
        assert_eq!(shown(60), ["ACTORS", "SPAWN(/s)", "EVENTS(/s)", "JOURNAL(/s)", "STATE"]);
        assert_eq!(shown(50), ["ACTORS", "SPAWN(/s)", "JOURNAL(/s)", "STATE"]);
        let busy = Sample { used: [7; USED], ..sample };
        assert_eq!(shown_of(&busy, 60), ["ACTORS", "SPAWN(/s)", "JOURNAL(/s)", "SHARDS(/s)", "STATE"]);
        let plain = Sample { has_actors: false, ..sample };
        assert_eq!(shown_of(&plain, 200), ["EVENTS(/s)", "LOST", "BEAT(s)", "JOURNAL(/s)", "STATE"]);
    }
}
