//! The dated record: its rows, the machine, and the formats.

use std::fmt::Write as _;
use std::process::Command;

use serde::Serialize;

use crate::harness::{BLOCK, Measured, Percentiles, Sample};

/// The unit of a row's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
    /// Instructions of the processor.
    Instructions,
    /// A multiple of another number.
    Times,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The measured work.
    pub work: String,
    /// The unit of the numbers.
    pub unit: Unit,
    /// The cost with atomscope.
    pub ours: f64,
    /// The compared implementation and its cost.
    pub theirs: Option<Compared>,
    /// The hardware or physical limit and its cost.
    pub limit: Option<Compared>,
    /// The difference between two equal measurements of ours, as a fraction.
    pub spread: Option<f64>,
    /// What is rare with ours.
    pub percentiles: Option<Percentiles>,
    /// With several threads: the fraction of the time in which all of them ran.
    pub together: f64,
    /// The goals.
    pub goals: Vec<Goal>,
    /// The reason why it is not cheaper.
    pub bound: Option<&'static str>,
    /// Whether the README shows the row.
    pub is_main: bool,
    /// The row's point in a chart.
    #[serde(skip)]
    pub points: Vec<Point>,
}

/// The other side of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: &'static str,
    /// The cost of the same work there.
    pub value: f64,
    /// The ratio of the costs: `atomr-telemetry` over ours, or ours over the limit.
    pub times: f64,
    /// What is rare there.
    pub percentiles: Option<Percentiles>,
}

/// A goal of a row.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// The goal in words.
    pub text: String,
    /// The ratio that it sets a bound to, if it does.
    pub times: Option<f64>,
    /// Whether it was reached.
    pub reached: bool,
}

/// A row's point in a chart. Each side becomes a line.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// The chart.
    pub chart: &'static str,
    /// The line, where the chart shows several kinds of work.
    pub line: &'static str,
    /// The position on the x axis.
    pub x: f64,
}

impl Row {
    /// A row of one number.
    pub fn new(work: impl Into<String>, unit: Unit, ours: f64) -> Self {
        Self {
            work: work.into(),
            unit,
            ours,
            theirs: None,
            limit: None,
            spread: None,
            percentiles: None,
            together: 1.0,
            goals: Vec::new(),
            bound: None,
            is_main: false,
            points: Vec::new(),
        }
    }

    /// A row from a comparison whose first side is ours.
    pub fn of(work: impl Into<String>, measured: &Measured) -> Self {
        Self {
            spread: Some(measured.spread()),
            percentiles: measured.percentiles[0],
            together: measured.together,
            ..Self::new(work, Unit::Ns, measured.cost(0))
        }
    }

    /// Compares with this side of the comparison.
    pub fn compared_with(mut self, name: &'static str, side: usize, measured: &Measured) -> Self {
        let (value, times) = (measured.cost(side), measured.ratio(side, 0));
        self.theirs = Some(Compared { name, value, times, percentiles: measured.percentiles[side] });
        self
    }

    /// Compares with this side of the comparison as the limit.
    pub fn limit(mut self, name: &'static str, side: usize, measured: &Measured) -> Self {
        let (value, times) = (measured.cost(side), measured.ratio(0, side));
        self.limit = Some(Compared { name, value, times, percentiles: measured.percentiles[side] });
        self
    }

    /// Compares with a number that was measured elsewhere in the same run.
    pub fn compared_with_number(mut self, name: &'static str, value: f64) -> Self {
        self.theirs = Some(Compared { name, value, times: value / self.ours, percentiles: None });
        self
    }

    /// Sets the goal to be at least so many times cheaper than `atomr-telemetry`.
    pub fn at_least(self, times: f64) -> Self {
        match self.theirs.as_ref().map(|theirs| theirs.times) {
            Some(is) => self.bounded(format!("≥ {times} × less"), is, is >= times),
            None => self,
        }
    }

    /// Sets the goal to cost at most so many times the limit.
    pub fn at_most(self, times: f64) -> Self {
        match self.limit.as_ref().map(|limit| (limit.name, limit.times)) {
            Some((name, is)) => self.bounded(format!("≤ {times} × {name}"), is, is <= times),
            None => self,
        }
    }

    /// Sets the reason that the record gives where a goal is missed.
    pub fn bound_by(mut self, what: &'static str) -> Self {
        self.bound = Some(what);
        self
    }

    /// Adds another goal.
    pub fn goal(mut self, text: impl Into<String>, reached: bool) -> Self {
        self.goals.push(Goal { text: text.into(), times: None, reached });
        self
    }

    fn bounded(mut self, text: String, is: f64, reached: bool) -> Self {
        self.goals.push(Goal { text, times: Some(is), reached });
        self
    }

    /// Makes the README show the row.
    pub fn main(mut self) -> Self {
        self.is_main = true;
        self
    }

    /// Adds the row to a chart.
    pub fn point(mut self, chart: &'static str, line: &'static str, x: f64) -> Self {
        self.points.push(Point { chart, line, x });
        self
    }

    fn cells(&self) -> [String; 8] {
        let show = |value: f64| number(value, self.unit);
        let compared = |compared: &Option<Compared>| {
            compared
                .as_ref()
                .map_or("–".into(), |compared| format!("{} ({})", show(compared.value), compared.name))
        };
        let times = |compared: &Option<Compared>| {
            compared.as_ref().map_or("–".into(), |compared| times(compared.times))
        };
        let percentiles = |percentiles: Option<Percentiles>| {
            let of = |Percentiles { p50, p99, p999 }| [p50, p99, p999].map(show).join(" / ");
            percentiles.map(of)
        };
        let theirs = self.theirs.as_ref().and_then(|theirs| percentiles(theirs.percentiles));
        let rare = match (percentiles(self.percentiles), theirs) {
            (Some(ours), Some(theirs)) => format!("{ours}, against {theirs}"),
            (Some(ours), None) => ours,
            _ => "–".into(),
        };
        [
            self.work.clone(),
            show(self.ours),
            compared(&self.theirs),
            times(&self.theirs),
            compared(&self.limit),
            times(&self.limit),
            self.spread.map_or("–".into(), |spread| format!("{:.1} %", spread * 100.0)),
            rare,
        ]
    }

    fn goals_cell(&self) -> String {
        let goal = |goal: &Goal| {
            let is = goal.times.map_or(String::new(), |is| format!(" (is {})", times(is)));
            format!("{}{is} {}", goal.text, if goal.reached { "✓" } else { "**missed**" })
        };
        self.goals.iter().map(goal).collect::<Vec<_>>().join("; ")
    }

    /// The row as one line for a terminal.
    pub fn line(&self) -> String {
        let [work, ours, theirs, times, limit, times_limit, spread, rare] = self.cells();
        let mut line = format!("  {work:<58} {ours:>10}");
        for (label, compared, times) in [("compared with", theirs, times), ("limit", limit, times_limit)] {
            if compared != "–" {
                let _ = write!(line, "   {label} {compared} × {times}");
            }
        }
        for (label, text) in [("spread", spread), ("p50 / p99 / p99.9", rare), ("goal", self.goals_cell())] {
            if text != "–" && !text.is_empty() {
                let _ = write!(line, "   {label} {text}");
            }
        }
        line
    }
}

/// Below this fraction of common running time, threads do not show the cost of contention.
const TOGETHER: f64 = 0.8;

/// Three significant digits.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A ratio; far below 1 it is written as a fraction.
fn times(value: f64) -> String {
    if value > 0.0 && value < 0.1 { format!("1/{}", significant(1.0 / value)) } else { significant(value) }
}

/// A number with a scaled unit.
pub fn number(value: f64, unit: Unit) -> String {
    let scaled = |units: [&str; 4], step: f64| {
        let mut value = value;
        for unit in &units[..3] {
            if value.abs() < step {
                return format!("{} {unit}", significant(value));
            }
            value /= step;
        }
        format!("{} {}", significant(value), units[3])
    };
    match unit {
        Unit::Ns => scaled(["ns", "µs", "ms", "s"], 1000.0),
        Unit::Bytes => scaled(["B", "KiB", "MiB", "GiB"], 1024.0),
        Unit::Instructions => format!("{value:.0}"),
        Unit::Times => format!("× {}", significant(value)),
    }
}

/// A group of rows that are measured together.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The name by which it can be run alone.
    pub group: &'static str,
    /// What it measures.
    pub title: &'static str,
    /// The results.
    pub rows: Vec<Row>,
    /// Why measurements are missing.
    pub notes: Vec<String>,
    /// The duration in seconds.
    pub seconds: f64,
}

impl Section {
    /// Adds a note about rows whose threads the machine did not run at the same time.
    pub fn doubt_busy_rows(&mut self) {
        let doubtful = self.rows.iter().filter(|row| row.together < TOGETHER);
        let percent = |row: &Row| format!("{:.0} % ({})", row.together * 100.0, row.work);
        let list: Vec<_> = doubtful.map(percent).collect();
        if !list.is_empty() {
            self.notes
                .push(format!("The machine was busy. Threads ran at once for only {}.", list.join(", ")));
        }
    }
}

/// Where and when it was measured.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// UTC, RFC 3339.
    pub at: String,
    /// The processor model.
    pub cpu: String,
    /// The number of processors.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// The commit of this repository.
    pub commit: String,
    /// Runnable threads on the machine at the start. More than there are processors means that the machine was busy.
    pub load: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let said = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
            text.unwrap_or_default()
        };
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let is_dirty = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        Self {
            at: format!("{:.0}", jiff::Timestamp::now()),
            cpu: model.map_or(std::env::consts::ARCH, |(_, name)| name).to_owned(),
            cores: cores(),
            kernel: read("/proc/sys/kernel/osrelease"),
            rustc: said("rustc", &["--version"]),
            commit: said("git", &["rev-parse", "--short=12", "HEAD"])
                + if is_dirty { " with changes" } else { "" },
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// The date without the time.
    pub fn date(&self) -> &str {
        self.at.split('T').next().unwrap_or_default()
    }
}

/// The number of threads that can run at the same time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The whole record.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Where and when.
    pub machine: Machine,
    /// Whether the quick mode was used, whose numbers mean little.
    pub is_quick: bool,
    /// What came of it.
    pub sections: Vec<Section>,
}

const HEAD: &str = "| work | ours | compared with | × less | limit | × limit | spread | p50 / p99 / p99.9 | goal |\n\
                    |---|--:|--:|--:|--:|--:|--:|--:|---|\n";

impl Record {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }

    /// The record as Markdown, with links to its charts.
    pub fn markdown(&self, charts: &[(String, &'static str)]) -> String {
        let Machine { at, cpu, cores, kernel, rustc, commit, load } = &self.machine;
        let quick = if self.is_quick { "A quick look: the numbers mean little.\n\n" } else { "" };
        let mut text = format!(
            "# What it costs, {date}\n\n{quick}Measured {at} at commit {commit} on {cores} × {cpu}, Linux {kernel}, \
             {rustc}; load {load} at the beginning. Made by `cargo run --release -p atomscope-benches -- record`.\n\n\
             Every cell is a median over rounds in which the sides take turns, and a ratio the median of the rounds' \
             ratios. *Compared with* is `atomr-telemetry` unless it says otherwise; *× less* is its cost over ours, *× limit* ours \
             over the limit. Where threads do the work themselves their processor time counts, else the clock on the \
             wall. *Spread* is ours against ours in the same rounds. *p50 / p99 / p99.9* are percentiles, ours and those of \
             the compared side, of blocks of {BLOCK} operations that run one after another: the clock on the wall times \
             each block, less the cost of its own reading, and the block's mean counts.\n",
            date = self.machine.date()
        );
        let missed: Vec<_> = self
            .rows()
            .flat_map(|row| row.goals.iter().filter(|goal| !goal.reached).map(move |goal| (row, goal)))
            .collect();
        text.push_str("\n## Goals missed\n\n");
        if missed.is_empty() {
            text.push_str("None.\n");
        }
        for (row, goal) in missed {
            let [_, ours, theirs, times, limit, ..] = row.cells();
            let _ = writeln!(
                text,
                "- {}: {} wanted; ours {ours}, compared with {theirs}, × {times} less, limit {limit}{}",
                row.work,
                goal.text,
                row.bound.map_or(String::new(), |bound| format!(". Bound by {bound}"))
            );
        }
        for section in &self.sections {
            let _ = write!(text, "\n## {}\n\n", section.title);
            if !section.rows.is_empty() {
                text.push_str(HEAD);
            }
            for row in &section.rows {
                let _ = writeln!(text, "| {} | {} |", row.cells().join(" | "), row.goals_cell());
            }
            for note in &section.notes {
                let _ = write!(text, "\n{note}\n");
            }
        }
        for (file, title) in charts {
            let _ = write!(text, "\n![{title}]({file})\n");
        }
        text
    }

    /// The table for the README.
    fn readme_part(&self, folder: &str, chart: Option<&(String, &'static str)>) -> String {
        let mut text =
            String::from("| work | ours | compared with | × less | goal |\n|---|--:|--:|--:|---|\n");
        for row in self.rows().filter(|row| row.is_main) {
            let [work, ours, theirs, times, ..] = row.cells();
            let _ = writeln!(text, "| {work} | {ours} | {theirs} | {times} | {} |", row.goals_cell());
        }
        if let Some((file, title)) = chart {
            let _ = write!(text, "\n![{title}]({folder}/{file})\n");
        }
        let Machine { cpu, cores, .. } = &self.machine;
        let _ = write!(
            text,
            "\nMeasured on {cores} × {cpu}; [all of it]({folder}/record.md), with the spread, the limits, the \
             percentiles and the reasons where a goal was missed.\n"
        );
        text
    }

    /// The README with the main table between its marks.
    pub fn cut_into(
        &self,
        readme: &str,
        folder: &str,
        chart: Option<&(String, &'static str)>,
    ) -> Result<String, String> {
        let (head, tail) = around_marks(readme)?;
        Ok(format!("{head}{BEGIN}\n{}{END}{tail}", self.readme_part(folder, chart)))
    }
}

/// The text before and after the marks.
pub fn around_marks(readme: &str) -> Result<(&str, &str), String> {
    let around = readme.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    around.ok_or_else(|| format!("the README lacks the marks {BEGIN} and {END}"))
}

/// The marks around the README's table.
const BEGIN: &str = "<!-- measured: written by the benchmark, not by hand -->";
const END: &str = "<!-- measured: end -->";

/// The additional processor time of one side over another, in one round.
pub fn added_cpu(round: &[Sample], side: usize, base: usize) -> f64 {
    round[side].cpu - round[base].cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let row = Row::new("counter add", Unit::Ns, 1.0)
            .compared_with_number("prometheus", 8.0)
            .at_least(6.0)
            .at_least(9.0)
            .bound_by("the store before")
            .main();
        let section =
            Section { group: "counter", title: "Counters", rows: vec![row], notes: vec![], seconds: 0.0 };
        Record { machine: Machine::here(), is_quick: true, sections: vec![section] }
    }

    #[test]
    fn a_missed_goal_is_listed_and_a_reached_one_is_not() {
        let text = record().markdown(&[]);
        assert!(text.contains("- counter add: ≥ 9 × less wanted"), "{text}");
        assert!(text.contains(". Bound by the store before\n"), "{text}");
        assert!(!text.contains("- counter add: ≥ 6"), "{text}");
        assert!(text.contains("≥ 6 × less (is 8.00) ✓; ≥ 9 × less (is 8.00) **missed**"), "{text}");
    }

    #[test]
    fn the_readmes_table_is_replaced_between_its_marks_and_nothing_else_is() {
        let mut text = format!("before\n{BEGIN}\nstale\n{END}\nafter\n");
        for _ in 0..2 {
            text = record().cut_into(&text, "benches/record/x", None).unwrap();
        }
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n"), "{text}");
        let row = "| counter add | 1.00 ns | 8.00 ns (prometheus) | 8.00 | ≥ 6 × less (is 8.00) ✓; ";
        assert!(text.contains(row), "{text}");
        assert!(!text.contains("stale"), "{text}");
        assert!(record().cut_into("no marks", "x", None).is_err());
    }

    #[test]
    fn the_readme_has_the_marks() {
        around_marks(include_str!("../../README.md")).unwrap();
    }

    #[test]
    fn numbers_are_scaled_for_a_human() {
        assert_eq!(number(2.345, Unit::Ns), "2.35 ns");
        assert_eq!(number(25_900_000_000.0, Unit::Ns), "25.9 s");
        assert_eq!(number(1536.0, Unit::Bytes), "1.50 KiB");
        assert_eq!(number(1.06, Unit::Times), "× 1.06");
        assert_eq!(times(1.0 / 2875.0), "1/2875");
    }
}
