//! Tables for people: columns padded to their widest cell, on a terminal cut to its width, elsewhere never cut.

use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use atomscope::text::clean;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What the output can show.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Columns of the terminal; `None` if it is none, and lines may be as long as they like.
    pub columns: Option<usize>,
    /// Whether colours are wanted.
    pub colours: bool,
}

impl Screen {
    /// Of stdout. `NO_COLOR` is honoured.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(terminal_size::terminal_size).flatten();
        Self {
            columns: size.map(|(width, _)| usize::from(width.0)),
            colours: AutoStream::choice(&stdout) != ColorChoice::Never,
        }
    }
}

/// Bold.
pub const STRONG: Style = Style::new().bold();
/// All is well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something wants a look.
pub const ODD: Style = AnsiColor::Yellow.on_default();
/// Something is wrong.
pub const BAD: Style = AnsiColor::Red.on_default();

/// A cell: text that is safe to print, and its style.
#[derive(Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Any text; what is not safe to print is written out.
    pub fn text(text: &str) -> Self {
        Self { text: clean(text).into_owned(), style: Style::new() }
    }

    /// A value, or `-` where it is not known.
    pub fn known(value: Option<impl ToString>) -> Self {
        Self::text(&value.map_or_else(|| "-".to_owned(), |value| value.to_string()))
    }

    /// The same in another style.
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

/// Which side a column's cells stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A table in the making.
#[derive(Debug)]
pub struct Table<R> {
    columns: Vec<(String, Side)>,
    rows: Vec<R>,
}

/// Columns are never cut to less than this.
const LEAST_WIDTH: usize = 8;
const GAP: &str = "  ";

impl<R: AsRef<[Cell]>> Table<R> {
    /// Without rows; each is to have a cell for each column.
    pub fn new<T: Into<String>>(columns: impl IntoIterator<Item = (T, Side)>) -> Self {
        let columns = columns.into_iter().map(|(title, side)| (title.into(), side)).collect();
        Self { columns, rows: Vec::new() }
    }

    pub fn row(&mut self, row: R) {
        self.rows.push(row);
    }

    pub fn write(&self, out: &mut (impl Write + ?Sized), screen: Screen) -> io::Result<()> {
        let last = self.columns.len().saturating_sub(1);
        let mut widths: Vec<_> = self.columns.iter().map(|(title, _)| title.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
                *width = cell.text.width().max(*width);
            }
        }
        if let Some(columns) = screen.columns {
            shrink(&mut widths, columns.saturating_sub(GAP.len() * last));
        }
        let titles: Vec<_> = self.columns.iter().map(|(title, _)| Cell::text(title).style(STRONG)).collect();
        for row in std::iter::once(titles.as_slice()).chain(self.rows.iter().map(R::as_ref)) {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let text = cut(&cell.text, *width);
                let room = " ".repeat(width.saturating_sub(text.width()));
                let (before, after) = match self.columns[at].1 {
                    Side::Right => (room.as_str(), ""),
                    Side::Left if at == last => ("", ""),
                    Side::Left => ("", room.as_str()),
                };
                let gap = if at == 0 || at == last && text.is_empty() { "" } else { GAP };
                let style = if screen.colours { cell.style } else { Style::new() };
                write!(out, "{gap}{before}{style}{text}{style:#}{after}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Takes from the widest, all alike, until all fit or nothing more can be had.
pub fn shrink(widths: &mut [usize], room: usize) {
    loop {
        let excess = widths.iter().sum::<usize>().saturating_sub(room);
        let widest = widths.iter().copied().max().unwrap_or(0);
        if excess == 0 || widest <= LEAST_WIDTH {
            return;
        }
        let next = widths.iter().copied().filter(|width| *width != widest).max().unwrap_or(0);
        let (mut excess, alike) = (excess, widths.iter().filter(|width| **width == widest).count());
        // Down to the second widest at once.
        let step = excess.div_ceil(alike).min(widest - next.max(LEAST_WIDTH)).max(1);
        for width in widths.iter_mut().filter(|width| **width == widest) {
            let step = step.min(excess);
            *width -= step;
            excess -= step;
        }
    }
}

/// The text in at most `width` columns: of a longer one the middle is left out, since both ends of a path tell.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let tail_room = room / 2;
    let fits = |room: usize| {
        let mut used = 0;
        move |c: &char| {
            used += c.width().unwrap_or(0);
            used <= room
        }
    };
    let head: String = text.chars().take_while(fits(room - tail_room)).collect();
    let tail: Vec<char> = text.chars().rev().take_while(fits(tail_room)).collect();
    head + "…" + &tail.into_iter().rev().collect::<String>()
}

/// The text in at most `width` columns: of a longer one the beginning is left out, as of a type's name.
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
        let text = shown(Screen { columns: None, colours: false });
        assert_eq!(
            text,
            "PID  NODE       FILE\n  7  漢         /a/rather/long/path/to/a/file\n  -  \\u{1b}[1m\n"
        );
    }

    #[test]
    fn on_a_terminal_the_widest_column_gives_way_in_its_middle() {
        let text = shown(Screen { columns: Some(30), colours: false });
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
        assert!(text.contains("/a/rath…a/file"), "{text}");
    }

    #[test]
    fn columns_of_one_width_give_way_alike() {
        let mut widths = [50, 39, 4, 39];
        shrink(&mut widths, 64);
        assert_eq!(widths, [20, 20, 4, 20]);
        let mut widths = [50, 39];
        shrink(&mut widths, 48);
        assert_eq!(widths, [24, 24]);
    }

    #[test]
    fn of_a_types_name_the_end_is_left() {
        assert_eq!(cut_front("shop::orders::Worker", 10), "…s::Worker");
        assert_eq!(cut_front("漢漢漢", 4), "…漢");
        assert_eq!(cut_front("short", 10), "short");
    }

    #[test]
    fn a_screen_that_is_far_too_narrow_still_ends() {
        assert!(shown(Screen { columns: Some(0), colours: false }).contains("PID"));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert!(shown(Screen { columns: None, colours: true }).contains("\u{1b}[31m"));
        assert!(!shown(Screen { columns: None, colours: false }).contains('\u{1b}'));
    }
}
