//! Tables for people: columns are padded to their widest cell. On a terminal a table is fitted to its width: texts are cut
//! to a minimum, then columns are dropped: those that are unknown in every row, then the others in a given order. A table in a file or a pipe is never cut.

use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use atomscope::liveness::Liveness;
use atomscope::report::list::Side;
use atomscope::report::tone::Tone;
use atomscope::text::clean;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::program::ascii;

/// The capabilities of the output.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Columns of the terminal; `None` for a file or a pipe, where lines have no limit.
    pub columns: Option<usize>,
    /// Whether to use colours.
    pub colours: bool,
    /// Whether to write ASCII only.
    pub ascii: bool,
}

impl Screen {
    /// The capabilities of stdout. `NO_COLOR` is respected.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(terminal_size::terminal_size).flatten();
        Self {
            columns: size.map(|(width, _)| usize::from(width.0)),
            colours: AutoStream::choice(&stdout) != ColorChoice::Never,
            ascii: ascii::is_enabled(),
        }
    }
}

/// Bold.
pub const STRONG: Style = Style::new().bold();
/// A healthy state.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// A state that needs attention.
pub const ODD: Style = AnsiColor::Yellow.on_default();
/// A problem.
pub const BAD: Style = AnsiColor::Red.on_default();

/// The colour of a verdict.
pub fn verdict_style(liveness: &Liveness) -> Style {
    tone_style(Tone::of(liveness))
}

/// The colour of a tone.
pub fn tone_style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => GOOD,
        Tone::Strong => STRONG,
        Tone::Odd => ODD,
        Tone::Bad => BAD,
    }
}

/// A cell: text without control characters, and its style.
#[derive(Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Any text; control characters are escaped.
    pub fn text(text: &str) -> Self {
        Self { text: clean(text).into_owned(), style: Style::new() }
    }

    /// A value, or `-` if it is unknown.
    pub fn known(value: Option<impl ToString>) -> Self {
        Self::text(&value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
    }

    fn is_unknown(&self) -> bool {
        matches!(&*self.text, "" | "-")
    }

    /// Sets the style.
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// A table that rows are added to.
#[derive(Debug)]
pub struct Table<R> {
    columns: Vec<(String, Side)>,
    rows: Vec<R>,
    /// Indices of columns, in the order in which they are dropped.
    drop_order: Vec<usize>,
    /// Titles of the columns that are dropped after all others.
    kept: Vec<String>,
}

/// The minimum widths of text in the first column and in other columns. No column is narrower than its title.
const MIN_FIRST: usize = 32;
const MIN_TEXT: usize = 12;
const GAP: &str = "  ";

/// The widths of a column before it is fitted.
#[derive(Debug, Clone, Copy)]
pub struct ColumnWidth {
    pub side: Side,
    /// The width of the title.
    pub title: usize,
    /// The width of the widest cell or title.
    pub natural: usize,
}

/// Selects the columns that fit into `available` columns of the screen, and their widths. Numbers are never cut. Columns
/// are dropped in the order of `drop_order`, then from the last one on; the first one stays.
pub fn fit(columns: &[ColumnWidth], drop_order: &[usize], available: usize) -> Vec<(usize, usize)> {
    let min = |at: usize| match columns[at].side {
        Side::Right => columns[at].natural,
        Side::Left => {
            let min = if at == 0 { MIN_FIRST } else { MIN_TEXT };
            columns[at].natural.min(min.max(columns[at].title))
        }
    };
    let rest = (1..columns.len()).rev().filter(|at| !drop_order.contains(at));
    let mut drop_order = drop_order.iter().copied().chain(rest);
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let gaps = |kept: &[usize]| GAP.len() * kept.len().saturating_sub(1);
    while kept.iter().map(|at| min(*at)).sum::<usize>() + gaps(&kept) > available {
        let Some(next) = drop_order.next() else { break };
        kept.retain(|at| *at != next);
    }
    let mut widths: Vec<usize> = kept.iter().map(|at| columns[*at].natural).collect();
    let min: Vec<usize> = kept.iter().map(|at| min(*at)).collect();
    shrink(&mut widths, &min, available.saturating_sub(gaps(&kept)));
    kept.into_iter().zip(widths).collect()
}

impl<R: AsRef<[Cell]>> Table<R> {
    /// A table without rows. Each row must have as many cells as there are columns.
    pub fn new<T: Into<String>>(columns: impl IntoIterator<Item = (T, Side)>) -> Self {
        let columns = columns.into_iter().map(|(title, side)| (title.into(), side)).collect();
        Self { columns, rows: Vec::new(), drop_order: Vec::new(), kept: Vec::new() }
    }

    /// Sets the order in which columns are dropped on a narrow terminal, after those that are unknown in every row. Columns that
    /// are not named are dropped after these.
    pub fn drop_order(self, columns: impl IntoIterator<Item = usize>) -> Self {
        Self { drop_order: columns.into_iter().filter(|at| *at > 0).collect(), ..self }
    }

    /// As [`Self::drop_order`], by title.
    pub fn drop_titles<'a>(self, titles: impl IntoIterator<Item = &'a str>) -> Self {
        let at = |title: &str| self.columns.iter().position(|(known, _)| known == title);
        let order: Vec<usize> = titles.into_iter().filter_map(at).collect();
        self.drop_order(order)
    }

    /// Drops these columns after all others, by title: the table is sorted or filtered by them.
    pub fn keep(self, titles: impl IntoIterator<Item = String>) -> Self {
        Self { kept: titles.into_iter().collect(), ..self }
    }

    fn is_unknown(&self, at: usize) -> bool {
        self.rows.iter().all(|row| row.as_ref()[at].is_unknown())
    }

    /// The order in which columns are dropped: first those that are unknown in every row.
    fn leaving(&self) -> Vec<usize> {
        let unknown = |at: &usize| self.is_unknown(*at);
        let is_kept = |at: &usize| self.kept.contains(&self.columns[*at].0);
        let from_last = || (1..self.columns.len()).rev();
        let mut order: Vec<usize> = Vec::new();
        let known = self.drop_order.iter().copied().chain(from_last());
        for at in from_last().filter(unknown).chain(known).filter(|at| !is_kept(at)) {
            if !order.contains(&at) {
                order.push(at);
            }
        }
        order
    }

    pub fn row(&mut self, row: R) {
        self.rows.push(row);
    }

    pub fn write(&self, out: &mut (impl Write + ?Sized), screen: Screen) -> io::Result<()> {
        let titles: Vec<_> = self.columns.iter().map(|(title, _)| Cell::text(title).style(STRONG)).collect();
        let text = |cell: &'_ Cell| {
            if screen.ascii { ascii::text(&cell.text).into_owned() } else { cell.text.clone() }
        };
        let mut columns: Vec<ColumnWidth> = Vec::new();
        for ((_, side), title) in self.columns.iter().zip(&titles) {
            let title = text(title).width();
            columns.push(ColumnWidth { side: *side, title, natural: title });
        }
        for row in &self.rows {
            for (column, cell) in columns.iter_mut().zip(row.as_ref()) {
                column.natural = text(cell).width().max(column.natural);
            }
        }
        let kept = match screen.columns {
            Some(available) => fit(&columns, &self.leaving(), available),
            None => columns.iter().map(|column| column.natural).enumerate().collect(),
        };
        for row in std::iter::once(titles.as_slice()).chain(self.rows.iter().map(R::as_ref)) {
            for (nth, (at, width)) in kept.iter().enumerate() {
                let (cell, is_last) = (&row[*at], nth + 1 == kept.len());
                let text = cut(&text(cell), *width);
                let padding = " ".repeat(width.saturating_sub(text.width()));
                let (before, after) = match columns[*at].side {
                    Side::Right => (padding.as_str(), ""),
                    Side::Left if is_last => ("", ""),
                    Side::Left => ("", padding.as_str()),
                };
                let gap = if nth == 0 || is_last && text.is_empty() { "" } else { GAP };
                let style = if screen.colours { cell.style } else { Style::new() };
                write!(out, "{gap}{before}{style}{text}{style:#}{after}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Narrows the widest columns to the same width, until all fit or have their minimum.
fn shrink(widths: &mut [usize], min: &[usize], available: usize) {
    let capped = |cap: usize| widths.iter().zip(min).map(move |(width, min)| (*width).min(cap.max(*min)));
    let widest = widths.iter().copied().max().unwrap_or(0);
    // Finds the greatest width that all columns can be limited to.
    let (mut low, mut high) = (0, widest);
    while low < high {
        let cap = (low + high).div_ceil(2);
        if capped(cap).sum::<usize>() <= available { low = cap } else { high = cap - 1 }
    }
    let mut left = available.saturating_sub(capped(low).sum());
    let wanted = widths.to_vec();
    for ((width, min), wanted) in widths.iter_mut().zip(min).zip(wanted) {
        *width = wanted.min(low.max(*min));
        if left > 0 && *width < wanted && *width == low {
            *width += 1;
            left -= 1;
        }
    }
}

/// Cuts a text to at most `width` columns in its middle: both ends of a path are specific. A path keeps whole elements, unless that
/// would waste a third of the width.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    if let Some(path) = cut_at_slashes(text, width) {
        return path;
    }
    let kept = width.saturating_sub(1);
    let tail_width = kept / 2;
    let fits = |limit: usize| {
        let mut used = 0;
        move |c: &char| {
            used += c.width().unwrap_or(0);
            used <= limit
        }
    };
    let head: String = text.chars().take_while(fits(kept - tail_width)).collect();
    let tail: Vec<char> = text.chars().rev().take_while(fits(tail_width)).collect();
    head + "…" + &tail.into_iter().rev().collect::<String>()
}

/// The longest that consists of a head up to a slash, `…`, and a tail from a slash on.
fn cut_at_slashes(text: &str, width: usize) -> Option<String> {
    let (mut slashes, mut used) = (Vec::new(), 0);
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        // Those of `://` are one.
        if c == '/' && before == '/' {
            slashes.pop();
        }
        if c == '/' {
            slashes.push((at, used));
        }
        used += c.width().unwrap_or(0);
        before = c;
    }
    let cuts = slashes.iter().enumerate().filter_map(|(nth, (tail, tail_at))| {
        let room = width.checked_sub(used - tail_at + "…".width())?;
        let heads = slashes.get(..nth)?;
        let fitting = heads.partition_point(|(_, head_at)| head_at + "/".width() <= room);
        let (head, head_at) = heads.get(fitting.checked_sub(1)?)?;
        Some((head_at + used - tail_at, *head, *tail))
    });
    // Of two that are as long, the one with the longer tail.
    let (kept, head, tail) = cuts.rev().max_by_key(|(kept, ..)| *kept)?;
    let is_worth_it = 3 * kept >= 2 * width;
    is_worth_it.then(|| format!("{}…{}", &text[..=head], &text[tail..]))
}

/// Cuts a text to at most `width` columns at its beginning: the end of a class name is the most specific part.
pub fn cut_front(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    let tail: Vec<char> = text.chars().rev().take_while(fits).collect();
    std::iter::once('…').chain(tail.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen { columns: None, colours: false, ascii: false };

    fn shown(screen: Screen) -> String {
        let mut table = Table::new([("PID", Side::Right), ("NODE", Side::Left), ("FILE", Side::Left)]);
        table.row([Cell::known(Some(7)), Cell::text("漢"), Cell::text("/a/rather/long/path/to/a/file")]);
        table.row([Cell::known(None::<u64>), Cell::text("\u{1b}[1m"), Cell::text("").style(BAD)]);
        let mut out = Vec::new();
        table.write(&mut out, screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_by_what_is_seen_and_nothing_is_cut_without_a_terminal() {
        let text = shown(PLAIN);
        assert_eq!(
            text,
            "PID  NODE       FILE\n  7  漢         /a/rather/long/path/to/a/file\n  -  \\u{1b}[1m\n"
        );
    }

    #[test]
    fn on_a_terminal_the_widest_column_gives_way_in_its_middle() {
        let text = shown(Screen { columns: Some(30), ..PLAIN });
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
        assert!(text.contains("/a/…/to/a/file"), "{text}");
    }

    #[test]
    fn columns_of_one_width_give_way_alike_and_none_below_the_least_that_it_wants() {
        let shrunk = |mut widths: Vec<usize>, min: &[usize], available| {
            shrink(&mut widths, min, available);
            widths
        };
        assert_eq!(shrunk(vec![50, 39, 4, 39], &[8; 4], 64), [20, 20, 4, 20]);
        assert_eq!(shrunk(vec![50, 39], &[8; 2], 48), [24, 24]);
        assert_eq!(shrunk(vec![50, 39], &[8; 2], 49), [25, 24]);
        assert_eq!(shrunk(vec![60, 20], &[24, 12], 36), [24, 12]);
        assert_eq!(shrunk(vec![60, 20], &[24, 12], 3), [24, 12]);
        assert_eq!(shrunk(vec![3, 4], &[3, 4], 100), [3, 4]);
    }

    #[test]
    fn where_there_is_too_little_room_columns_go_in_the_stated_order_and_no_number_is_cut() {
        let mut table = Table::new([
            ("JOURNAL", Side::Left),
            ("EVENTS", Side::Right),
            ("FAILURES(writes)", Side::Right),
            ("REPLAYS", Side::Right),
            ("NOTE", Side::Left),
        ])
        .drop_titles(["EVENTS"]);
        table.row(["orders", "123456789", "7", "1", "a note"].map(Cell::text));
        let titles = |columns| {
            let mut out = Vec::new();
            table.write(&mut out, Screen { columns: Some(columns), ..PLAIN }).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.width() <= columns) && !text.contains('…'), "{text}");
            text.lines().next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(titles(53), ["JOURNAL", "EVENTS", "FAILURES(writes)", "REPLAYS", "NOTE"]);
        assert_eq!(titles(52), ["JOURNAL", "FAILURES(writes)", "REPLAYS", "NOTE"]);
        assert_eq!(titles(41), ["JOURNAL", "FAILURES(writes)", "REPLAYS"]);
        assert_eq!(titles(33), ["JOURNAL", "FAILURES(writes)"]);
        assert_eq!(titles(24), ["JOURNAL"]);
    }

    #[test]
    fn what_is_unknown_in_every_row_leaves_first_and_what_was_asked_for_last() {
        let table = |kept: &[&str]| {
            let mut table = Table::new(["PATH", "A", "DEPTH", "B"].map(|title| (title, Side::Right)))
                .keep(kept.iter().map(|title| (*title).to_owned()));
            table.row(["/a", "1", "-", "2"].map(Cell::text));
            let mut out = Vec::new();
            table.write(&mut out, Screen { columns: Some(12), ..PLAIN }).unwrap();
            String::from_utf8(out)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(table(&[]), "PATH A B");
        assert_eq!(table(&["DEPTH"]), "PATH DEPTH");
    }

    #[test]
    fn without_utf_8_columns_line_up_too() {
        let text = shown(Screen { ascii: true, ..PLAIN });
        assert_eq!(
            text,
            "PID  NODE       FILE\n  7  \\u{6f22}   /a/rather/long/path/to/a/file\n  -  \\u{1b}[1m\n"
        );
    }

    #[test]
    fn of_a_types_name_the_end_is_left() {
        assert_eq!(cut_front("shop::orders::Worker", 10), "…s::Worker");
        assert_eq!(cut_front("漢漢漢", 4), "…漢");
        assert_eq!(cut_front("short", 10), "short");
    }

    #[test]
    fn a_path_keeps_whole_elements_if_they_fill_most_of_the_width() {
        let path = "akka://shop/user/orders/worker-17";
        let cuts = [
            (33, path),
            (32, "akka://…/user/orders/worker-17"),
            (29, "akka://shop/user/…/worker-17"),
            (27, "akka://…/orders/worker-17"),
            (22, "akka://…/worker-17"),
            (17, "akka://s…orker-17"),
            (1, "…"),
        ];
        for (width, expected) in cuts {
            assert_eq!(cut(path, width), expected, "{width}");
        }
        assert_eq!(cut("akka://Shop/user/gone", 18), "akka://…/user/gone");
        assert_eq!(cut("/dev/shm/atomscope-0123456789abcdef", 26), "/dev/shm/atom…456789abcdef");
    }

    #[test]
    fn a_screen_that_is_far_too_narrow_still_ends() {
        assert!(shown(Screen { columns: Some(0), ..PLAIN }).contains("PID"));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert!(shown(Screen { colours: true, ..PLAIN }).contains("\u{1b}[31m"));
        assert!(!shown(PLAIN).contains('\u{1b}'));
    }
}
