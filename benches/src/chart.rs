//! Charts of cost by actors, threads, readers and rate, as SVG for light and dark pages.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::record::{Row, Section, Unit, number};

/// A chart that collects points of rows.
struct Chart {
    name: &'static str,
    title: &'static str,
    x: &'static str,
    /// Whether the x axis is logarithmic.
    is_log: bool,
}

const CHARTS: [Chart; 5] = [
    Chart { name: "actors", title: "Snapshot and JSON, against live actors", x: "live actors", is_log: true },
    Chart {
        name: "node",
        title: "Processor time added to spawn + stop in a node, against live actors",
        x: "live actors",
        is_log: true,
    },
    Chart {
        name: "threads",
        title: "Cost per operation, against threads that record",
        x: "threads",
        is_log: false,
    },
    Chart {
        name: "readers",
        title: "Cost of publishing an event, against readers",
        x: "readers",
        is_log: false,
    },
    Chart {
        name: "rate",
        title: "Cost of publishing an event to one reader, against their rate",
        x: "events per second",
        is_log: true,
    },
];

const SIZE: (u32, u32) = (940, 460);
/// Width at the right for the names of the lines.
const LABELS: u32 = 290;
/// The least distance between two names, so that they do not overlap.
const LABEL_HEIGHT: i32 = 18;
const FONT: &str = "ui-sans-serif, system-ui, sans-serif";
/// Greys and colours of medium lightness, because the page may be white or black.
const TEXT: RGBColor = RGBColor(0x76, 0x7d, 0x86);
const OURS: RGBColor = RGBColor(0x1f, 0x8f, 0xe0);
const THEIRS: RGBColor = RGBColor(0xd9, 0x6c, 0x1e);
const LIMIT: RGBColor = RGBColor(0x85, 0x8c, 0x94);

/// One line: its name, colour and points.
#[derive(Default)]
struct Line {
    name: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws each chart with points of these rows. Returns file names and titles.
pub fn draw(sections: &[Section], folder: &Path) -> Result<Vec<(String, &'static str)>, Box<dyn Error>> {
    let mut drawn = Vec::new();
    for chart in &CHARTS {
        let lines = lines(chart, sections.iter().flat_map(|section| &section.rows));
        if lines.iter().any(|line| line.points.len() > 1) {
            let file = format!("{}.svg", chart.name);
            draw_one(chart, &lines, &folder.join(&file))?;
            drawn.push((file, chart.title));
        }
    }
    Ok(drawn)
}

fn lines<'a>(chart: &Chart, rows: impl Iterator<Item = &'a Row>) -> Vec<Line> {
    let mut lines: BTreeMap<(&str, &str), Line> = BTreeMap::new();
    for row in rows {
        for point in row.points.iter().filter(|point| point.chart == chart.name) {
            let theirs = row.theirs.as_ref().map(|compared| (compared.name, THEIRS, compared.value));
            let limit = row.limit.as_ref().map(|compared| (compared.name, LIMIT, compared.value));
            for (side, color, value) in
                [Some(("atomscope", OURS, row.ours)), theirs, limit].into_iter().flatten()
            {
                let line = lines.entry((point.line, side)).or_insert_with(|| {
                    let name =
                        if point.line.is_empty() { side.into() } else { format!("{}, {side}", point.line) };
                    Line { name, color, points: Vec::new() }
                });
                line.points.push((point.x, value));
            }
        }
    }
    lines.into_values().collect()
}

fn draw_one(chart: &Chart, lines: &[Line], file: &Path) -> Result<(), Box<dyn Error>> {
    let place = |x: f64| if chart.is_log { x.log10() } else { x };
    let points = || lines.iter().flat_map(|line| &line.points);
    let mut xs: Vec<f64> = points().map(|(x, _)| place(*x)).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (left, right) = ends(&mut xs.iter().copied());
    let (low, high) = ends(&mut points().map(|(_, y)| y.max(0.01).log10()));
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let decades: Vec<f64> = (low as i32..=high as i32).map(f64::from).collect();

    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let text = |size: u32| (FONT, size).into_font().color(&TEXT);
    let mut plot = ChartBuilder::on(&root)
        .caption(chart.title, text(22))
        .margin(12)
        .margin_right(LABELS)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(
            Axis { range: left..right, marks: xs },
            Axis { range: low..high, marks: decades },
        )?;
    plot.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(TEXT.mix(0.35))
        .axis_style(TEXT)
        .label_style(text(17))
        .axis_desc_style(text(17))
        .x_desc(chart.x)
        .x_label_formatter(&|x| count(if chart.is_log { 10f64.powf(*x) } else { *x }))
        .y_label_formatter(&|y| number(10f64.powf(*y), Unit::Ns).replace(".00 ", " ").replace(".0 ", " "))
        .draw()?;
    let mut labels = Vec::new();
    for line in lines {
        let points: Vec<_> = line.points.iter().map(|(x, y)| (place(*x), y.max(0.01).log10())).collect();
        plot.draw_series(LineSeries::new(points.iter().copied(), line.color.stroke_width(2)))?;
        plot.draw_series(points.iter().map(|point| Circle::new(*point, 3, line.color.filled())))?;
        if let (Some(end), Some((_, value))) = (points.last(), line.points.last()) {
            let (x, y) = plot.backend_coord(end);
            labels.push((y, x, format!("{}: {}", line.name, number(*value, Unit::Ns)), line.color));
        }
    }
    drop(plot);
    // From top to bottom: each name is at the end of its line or below, at a distance from the name above.
    labels.sort_by_key(|label| label.0);
    let mut free = i32::MIN;
    for (y, x, name, color) in labels {
        let y = y.max(free);
        free = y + LABEL_HEIGHT;
        let style = (FONT, 17).into_font().color(&color).pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&Text::new(name, (x + 10, y), style))?;
    }
    root.present()?;
    Ok(())
}

/// A linear axis with given marks.
struct Axis {
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        low + (part * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// A number in short form.
fn count(value: f64) -> String {
    match value.round() {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => value.to_string(),
    }
}
