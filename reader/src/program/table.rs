//! Tables for people: columns padded to their widest cell. On a terminal they are fitted to its width, elsewhere never: texts
//! are cut, but not below what still tells something; if that does not do, columns are left out in a stated order.
use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use atomscope::liveness::{Liveness, Verdict};
use atomscope::report::events::Tone;
use atomscope::report::list::Side;
use atomscope::text::clean;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::program::ascii;

/// What the output can show.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Columns of the terminal; `None` if it is none, and lines may be as long as they like.
    pub columns: Option<usize>,
    /// Whether colours are wanted.
    pub colours: bool,
    /// Whether there is ASCII alone.
    pub ascii: bool,
}

impl Screen {
    /// Of stdout. `NO_COLOR` is honoured.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let size = stdout.is_terminal().then(terminal_size::terminal_size).flatten();
        Self {
            columns: size.map(|(width, _)| usize::from(width.0)),
            colours: AutoStream::choice(&stdout) != ColorChoice::Never,
            ascii: ascii::is_wanted(),
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

/// The colour of how a node is.
pub fn style(liveness: &Liveness) -> anstyle::Style {
    match liveness.verdict {
        Verdict::Live if liveness.notes.is_empty() => GOOD,
        Verdict::Live => ODD,
        Verdict::Crashed | Verdict::Wedged(_) => BAD,
        Verdict::NotReady { .. } | Verdict::Starting | Verdict::Stopping | Verdict::Closed => ODD,
    }
}

/// The colour of a tone.
pub fn colour_of(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => GOOD,
        Tone::Strong => STRONG,
        Tone::Odd => ODD,
        Tone::Bad => BAD,
    }
}

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

/// A table in the making.
#[derive(Debug)]
pub struct Table<R> {
    columns: Vec<(String, Side)>,
    rows: Vec<R>,
    leaving: Vec<usize>,
}

/// The first column, if of text, and other columns of text are not cut to less than this, nor to less than their titles.
const LEAST_FIRST: usize = 24;
const LEAST_TEXT: usize = 12;
const GAP: &str = "  ";

/// What a column wants.
#[derive(Debug, Clone, Copy)]
pub struct Wide {
    pub side: Side,
    /// Its title's width.
    pub title: usize,
    /// Its widest cell's, or its title's.
    pub natural: usize,
}

/// Which columns there is room for, and how wide each is: numbers are never cut. Where there is too little room, columns go
/// in the order of `leaving`, then from the last; the first one stays.
pub fn fit(columns: &[Wide], leaving: &[usize], room: usize) -> Vec<(usize, usize)> {
    let least = |at: usize| match columns[at].side {
        Side::Right => columns[at].natural,
        Side::Left => {
            let least = if at == 0 { LEAST_FIRST } else { LEAST_TEXT };
            columns[at].natural.min(least.max(columns[at].title))
        }
    };
    let rest = (1..columns.len()).rev().filter(|at| !leaving.contains(at));
    let mut leaving = leaving.iter().copied().chain(rest);
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let gaps = |kept: &[usize]| GAP.len() * kept.len().saturating_sub(1);
    while kept.iter().map(|at| least(*at)).sum::<usize>() + gaps(&kept) > room {
        let Some(next) = leaving.next() else { break };
        kept.retain(|at| *at != next);
    }
    let mut widths: Vec<usize> = kept.iter().map(|at| columns[*at].natural).collect();
    let least: Vec<usize> = kept.iter().map(|at| least(*at)).collect();
    shrink(&mut widths, &least, room.saturating_sub(gaps(&kept)));
    kept.into_iter().zip(widths).collect()
}

impl<R: AsRef<[Cell]>> Table<R> {
    /// Without rows; each is to have a cell for each column.
    pub fn new<T: Into<String>>(columns: impl IntoIterator<Item = (T, Side)>) -> Self {
        let columns = columns.into_iter().map(|(title, side)| (title.into(), side)).collect();
        Self { columns, rows: Vec::new(), leaving: Vec::new() }
    }

    /// Titles of columns, in the order in which they are left out where there is too little room, before those that are not
    /// named.
    pub fn leaving<'a>(mut self, titles: impl IntoIterator<Item = &'a str>) -> Self {
        let titles = titles.into_iter();
        let places = titles.filter_map(|title| self.columns.iter().position(|(known, _)| known == title));
        self.leaving = places.filter(|at| *at > 0).collect();
        self
    }

    pub fn row(&mut self, row: R) {
        self.rows.push(row);
    }

    pub fn write(&self, out: &mut (impl Write + ?Sized), screen: Screen) -> io::Result<()> {
        let titles: Vec<_> = self.columns.iter().map(|(title, _)| Cell::text(title).style(STRONG)).collect();
        let text = |cell: &'_ Cell| {
            if screen.ascii { ascii::text(&cell.text).into_owned() } else { cell.text.clone() }
        };
        let mut columns: Vec<Wide> = Vec::new();
        for ((_, side), title) in self.columns.iter().zip(&titles) {
            let title = text(title).width();
            columns.push(Wide { side: *side, title, natural: title });
        }
        for row in &self.rows {
            for (column, cell) in columns.iter_mut().zip(row.as_ref()) {
                column.natural = text(cell).width().max(column.natural);
            }
        }
        let kept = match screen.columns {
            Some(room) => fit(&columns, &self.leaving, room),
            None => columns.iter().map(|column| column.natural).enumerate().collect(),
        };
        for row in std::iter::once(titles.as_slice()).chain(self.rows.iter().map(R::as_ref)) {
            for (nth, (at, width)) in kept.iter().enumerate() {
                let (cell, is_last) = (&row[*at], nth + 1 == kept.len());
                let text = cut(&text(cell), *width);
                let room = " ".repeat(width.saturating_sub(text.width()));
                let (before, after) = match columns[*at].side {
                    Side::Right => (room.as_str(), ""),
                    Side::Left if is_last => ("", ""),
                    Side::Left => ("", room.as_str()),
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

/// Takes from the widest, all alike, until all fit or each has no more than the least that it wants.
fn shrink(widths: &mut [usize], least: &[usize], room: usize) {
    let capped =
        |cap: usize| widths.iter().zip(least).map(move |(width, least)| (*width).min(cap.max(*least)));
    let widest = widths.iter().copied().max().unwrap_or(0);
    // The greatest to which the widest can be left.
    let (mut low, mut high) = (0, widest);
    while low < high {
        let cap = (low + high).div_ceil(2);
        if capped(cap).sum::<usize>() <= room { low = cap } else { high = cap - 1 }
    }
    let mut left = room.saturating_sub(capped(low).sum());
    let wanted = widths.to_vec();
    for ((width, least), wanted) in widths.iter_mut().zip(least).zip(wanted) {
        *width = wanted.min(low.max(*least));
        if left > 0 && *width < wanted && *width == low {
            *width += 1;
            left -= 1;
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
        assert!(text.contains("/a/rath…a/file"), "{text}");
    }

    #[test]
    fn columns_of_one_width_give_way_alike_and_none_below_the_least_that_it_wants() {
        let shrunk = |mut widths: Vec<usize>, least: &[usize], room| {
            shrink(&mut widths, least, room);
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
        .leaving(["EVENTS"]);
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
    fn a_screen_that_is_far_too_narrow_still_ends() {
        assert!(shown(Screen { columns: Some(0), ..PLAIN }).contains("PID"));
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        assert!(shown(Screen { colours: true, ..PLAIN }).contains("\u{1b}[31m"));
        assert!(!shown(PLAIN).contains('\u{1b}'));
    }
}
