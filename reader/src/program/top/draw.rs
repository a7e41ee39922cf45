//! Drawing: from the state of the screen to a buffer of cells. Text that comes from a region, a file name or a prompt may
//! contain control characters, and is made safe to print here.

use std::time::{Duration, Instant};

use atomscope::liveness::{Liveness, Verdict};
use atomscope::report::findings::Severity;
use atomscope::report::human::{bytes, count, duration};
use atomscope::report::list::{Column, Side, Value, drop_order, unit_of_row};
use atomscope::report::rates::CounterRates;
use atomscope::report::records;
use atomscope::report::tone::Tone;
use atomscope::snapshot::caveats::{Caveat, CaveatKind};
use atomscope::text::{clean, is_unsafe};
use atomscope_layout::decode::rfc3339;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, RenderDirection, Sparkline};
use tui_input::Input;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::program::ascii;
use crate::program::help::FILTER_HELP;
use crate::program::table::{ColumnWidth, cut, cut_front, fit};
use crate::program::top::app::{App, Overlay, Prompt};
use crate::program::top::keys::KEYS;
use crate::program::top::sheet::{Mode, OWN_ORDER, Sort, detail};
use crate::program::top::tick::{Point, Tick};
use crate::program::top::view::View;

/// Screens of at least this width show two panes side by side.
const WIDE: u16 = 120;
/// Maximum number of lines above a list.
const MAX_LINES_ABOVE: usize = 4;
/// Classes in the overview of a narrow screen.
const MAX_CLASSES: usize = 8;

/// The colours. They are the terminal's own palette, which suits light and dark backgrounds.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// Whether to use colours.
    pub colours: bool,
    /// Whether to draw ASCII only.
    pub ascii: bool,
}

impl Theme {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    fn odd(self) -> Style {
        self.colour(Color::Yellow)
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn accent(self) -> Style {
        self.colour(Color::Cyan)
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn liveness(self, liveness: &Liveness) -> Style {
        match Tone::of(liveness) {
            Tone::Plain => Style::new(),
            Tone::Good => self.good(),
            Tone::Strong => self.strong(),
            Tone::Odd => self.odd(),
            Tone::Bad => self.bad(),
        }
    }
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, theme: Theme) {
    let area = frame.area();
    let rows = area.height;
    let foot_lines = footer(app, theme, area.width.into());
    let foot = (foot_lines.len() as u16).clamp(1, (rows / 4).max(1));
    let heights = match rows {
        0..2 => [0, 0, 0, rows, 0],
        2..3 => [1, 0, 0, 1, 0],
        3..8 => [1, 0, 0, rows - 1 - foot, foot],
        _ => [1, 1, 1, rows - 3 - foot, foot],
    };
    let [banner_at, losses_at, tabs_at, body, foot] =
        Layout::vertical(heights.map(Constraint::Length)).areas(area);
    let width = usize::from(area.width);
    frame.render_widget(truncated(banner(app, theme, width), width), banner_at);
    frame.render_widget(truncated(losses(app, theme), width), losses_at);
    frame.render_widget(tabs(app, theme, tabs_at.width.into()), tabs_at);
    match app.overlay {
        Some(Overlay::Help) => help(frame, body, app, theme),
        _ if app.view == View::Overview => overview(frame, body, app, theme),
        over => {
            let (list, pane) = match over {
                Some(Overlay::Detail) => split(body),
                _ => (body, None),
            };
            listing(frame, list, app, theme);
            if let Some(pane) = pane {
                details(frame, pane, app, theme);
            }
        }
    }
    frame.render_widget(Paragraph::new(foot_lines), foot);
    place_cursor(frame, foot, app);
    if theme.ascii {
        ascii::screen(frame.buffer_mut());
    }
}

/// Cuts a line to a width and marks the cut.
fn truncated(line: Line<'static>, width: usize) -> Line<'static> {
    if line.width() <= width {
        return line;
    }
    let mut free = width.saturating_sub(1);
    let mut spans = Vec::new();
    for span in line.spans {
        let seen: String = span
            .content
            .chars()
            .take_while(|c| {
                let fits = c.width().unwrap_or(0) <= free;
                free = if fits { free - c.width().unwrap_or(0) } else { 0 };
                fits
            })
            .collect();
        spans.push(Span::styled(seen, span.style));
        if free == 0 {
            break;
        }
    }
    spans.push(Span::raw("…"));
    Line::from(spans)
}

/// The areas of the list and of the detail pane: side by side, one below the other, or the pane instead of the list.
fn split(body: Rect) -> (Rect, Option<Rect>) {
    let halves = |layout: Layout| {
        let [list, pane] = layout.areas(body);
        (list, Some(pane))
    };
    match (body.width, body.height) {
        (WIDE.., _) => halves(Layout::horizontal([Constraint::Percentage(58), Constraint::Percentage(42)])),
        (_, 12..) => halves(Layout::vertical([Constraint::Percentage(45), Constraint::Percentage(55)])),
        _ => (Rect { height: 0, ..body }, Some(body)),
    }
}

fn safe(text: &str) -> String {
    clean(text).into_owned()
}

fn time_of_day(unix_ns: i128) -> String {
    rfc3339(unix_ns).get(11..19).unwrap_or_default().to_owned() + "Z"
}

/// The first line: the node, its verdict, and the age of the shown tick.
fn banner(app: &App, theme: Theme, width: usize) -> Line<'static> {
    let mut spans = Vec::new();
    let plain = |text: String| Span::raw(text);
    let Some(tick) = app.tick().filter(|_| app.is_watching) else {
        let text = match (&app.lost, app.is_watching) {
            (Some(why), true) => Span::styled(safe(why), theme.bad()),
            (None, true) => plain("atomscope top: waiting for the node".into()),
            _ => Span::styled("atomscope top: choose a node", theme.strong()),
        };
        return Line::from(text);
    };
    let snapshot = &tick.snapshot;
    let verdict = snapshot.liveness.verdict;
    let style = theme.liveness(&snapshot.liveness);
    if app.is_held() {
        let what = if app.is_frozen { "FROZEN" } else { "PAST" };
        let ago = duration(tick.at.elapsed());
        let text = format!(" {what} {}, {ago} ago ", time_of_day(snapshot.taken_at.unix_ns));
        spans.push(Span::styled(text, theme.odd().add_modifier(Modifier::REVERSED | Modifier::BOLD)));
        spans.push(plain(" ".into()));
    }
    let is_lost = app.lost.is_some() && !app.is_held();
    spans.push(Span::styled("● ", if is_lost { theme.bad() } else { style }));
    // A long name must not hide the verdict.
    let node = cut(&safe(&snapshot.identity.node), (width / 3).max(8));
    spans.push(Span::styled(node, theme.strong()));
    spans.push(plain(" ".into()));
    let state = match snapshot.dump_info {
        Some(info) => format!("dump of a {} node from {}", verdict.word(), rfc3339(info.unix_ns)),
        None => verdict.word().to_owned(),
    };
    match &app.lost {
        // The current verdict is unknown.
        Some(why) if !app.is_held() => {
            spans.push(Span::styled(format!("was {state}; {}", safe(why)), theme.bad()));
        }
        _ => spans.push(Span::styled(state, style)),
    }
    // The age and what to do come first, because the end of the line may be cut.
    let since_tick = tick.at.elapsed();
    let beat = snapshot.liveness.newest_beat_age().map(|age| duration(age.saturating_add(since_tick)));
    let age = match verdict {
        _ if snapshot.dump_info.is_some() || app.is_held() => None,
        Verdict::Wedged(_) | Verdict::Crashed | Verdict::Failed | Verdict::Closed => {
            beat.map(|age| format!(", last beat {age} ago"))
        }
        _ => Some(format!(", seen {} ago", duration(since_tick))),
    };
    spans.push(plain(age.unwrap_or_default()));
    if let (Some(successor), false) = (&app.successor, app.is_held()) {
        let text = format!("; s goes to its successor, pid {}", successor.pid());
        spans.push(Span::styled(text, theme.accent().add_modifier(Modifier::BOLD)));
    }
    if let Some(now) = app.liveness_now() {
        spans.push(Span::styled(format!("; now it {}", now.said()), theme.liveness(&now)));
    }
    if let Some(why) = app.lost.as_ref().filter(|_| app.is_held()) {
        spans.push(Span::styled(format!("; {}", safe(why)), theme.bad()));
    }
    if let Some(why) = snapshot.liveness.why() {
        spans.push(Span::styled(format!(": {why}"), style));
    }
    if tick.is_last() && snapshot.dump_info.is_none() && !app.is_held() {
        spans.push(plain("; this is its last state".to_owned()));
    }
    let system = snapshot.identity.system.as_deref().map(|system| format!(", system {}", safe(system)));
    let up = if verdict.is_alive() { "up" } else { "ran" };
    let actors = snapshot.has_actors().then(|| format!(", {} actors", snapshot.totals.live));
    spans.push(plain(format!(
        "; pid {}{}, {up} {}{}",
        snapshot.pid,
        system.unwrap_or_default(),
        tick.uptime.map_or("for an unknown time".to_owned(), duration),
        actors.unwrap_or_default()
    )));
    let right = format!(" every {} ", app.interval_text());
    let used: usize = spans.iter().map(|span| span.content.width()).sum();
    if !tick.is_last() && used + right.width() <= width {
        spans.push(plain(" ".repeat(width - used - right.width())));
        spans.push(Span::styled(right, theme.dim()));
    }
    Line::from(spans)
}

/// The second line: how much data is lost, abandoned, unreadable and dropped. The view Self has the details.
fn losses(app: &App, theme: Theme) -> Line<'static> {
    let Some(tick) = app.tick().filter(|_| app.is_watching) else {
        return Line::styled(safe(&app.notes_of_nodes.join("; ")), theme.dim());
    };
    let subsystems = &tick.snapshot.subsystems;
    let unreadable = tick.tally.unreadable
        + tick.snapshot.dead_letters.unreadable
        + tick.snapshot.failures.unreadable
        + tick.snapshot.failures.panics_unreadable
        + tick.snapshot.own_records.unreadable
        + subsystems.instances.unreadable
        + subsystems.documents_unreadable;
    let dropped = tick.usage.drops.list().iter().fold(0u64, |sum, (number, _)| sum.saturating_add(*number));
    let numbers = [
        (app.shown_events().lost, "events lost"),
        (tick.point.counts.lost, "abandoned"),
        (unreadable, "unreadable"),
        (dropped, "dropped"),
    ];
    let mut spans = Vec::new();
    for (number, what) in numbers {
        let style = if number > 0 { theme.odd().add_modifier(Modifier::BOLD) } else { theme.dim() };
        spans.push(Span::styled(format!("{what} {number}"), style));
        spans.push(Span::raw("  "));
    }
    // The first line shows the verdict already.
    let is_new = |caveat: &&Caveat| !matches!(caveat.kind, CaveatKind::State | CaveatKind::Dump);
    let caveats = tick.caveats.iter().filter(is_new);
    for caveat in caveats {
        spans.push(Span::styled(format!("{}  ", safe(&caveat.text)), theme.odd()));
        let hint = (caveat.kind == CaveatKind::Workers && !app.is_held()).then(|| tick.snapshot.stuck_hint());
        spans.extend(hint.flatten().map(|hint| Span::styled(format!("{hint}  "), theme.odd())));
    }
    Line::from(spans)
}

/// The third line: the views, as many as fit, always with the shown one.
fn tabs(app: &App, theme: Theme, width: usize) -> Line<'static> {
    let names = View::ALL.map(|view| format!(" {} {} ", view.key(), view.title()));
    let at = View::ALL.iter().position(|view| *view == app.view).unwrap_or_default();
    let widths = |range: std::ops::Range<usize>| names[range].iter().map(|name| name.width()).sum::<usize>();
    let mut first = 0;
    // Two columns are for the marks at both ends.
    while first < at && widths(first..at + 1) + 2 > width {
        first += 1;
    }
    let mut spans = vec![Span::styled(if first > 0 { "‹" } else { "" }, theme.dim())];
    let mut used = 1;
    for (view, name) in View::ALL.into_iter().zip(names).skip(first) {
        used += name.width();
        if used + 1 > width && view != app.view {
            spans.push(Span::styled("›", theme.dim()));
            break;
        }
        let is_in_use = app.tick().is_none_or(|tick| view.is_in_use(tick));
        let style = match view {
            _ if view == app.view => theme.selected().add_modifier(Modifier::BOLD),
            View::Nodes => Style::new(),
            _ if !is_in_use || !app.is_watching => theme.dim(),
            _ => Style::new(),
        };
        spans.push(Span::styled(name, style));
    }
    Line::from(spans)
}

/// The last lines: the prompt, a notice, or the most useful keys. Only a long prompt error or notice needs several lines.
fn footer(app: &App, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let message = |text: &str, style: Style| {
        let lines = wrapped(&safe(text), width.max(1)).into_iter();
        lines.map(|line| line.style(style)).collect::<Vec<_>>()
    };
    match (&app.prompt, &app.notice) {
        (Some(prompt), _) => {
            let mut line = prompt_line(prompt, theme, width);
            let error = match prompt {
                Prompt::Filter(..) => {
                    let error = app.sheet.error.as_ref();
                    error.map(|error| format!("{error} (Esc, then ? explains filters)"))
                }
                // Why the last file name did not work.
                Prompt::Save(_) => {
                    app.notice.as_ref().filter(|notice| notice.is_bad).map(|notice| notice.text.clone())
                }
            };
            let Some(error) = error else { return vec![line] };
            let suffix = format!("   {}", safe(&error));
            if line.width() + suffix.width() <= width {
                line.push_span(Span::styled(suffix, theme.bad()));
                vec![line]
            } else {
                [vec![line], message(&error, theme.bad())].concat()
            }
        }
        (None, Some(notice)) => message(&notice.text, if notice.is_bad { theme.bad() } else { theme.good() }),
        (None, None) => vec![hints(app, theme, width)],
    }
}

/// The title of a prompt, its input, and the number of columns of the input that are scrolled out.
fn prompt(prompt: &Prompt, width: usize) -> (&'static str, &Input, usize) {
    let (title, input) = match prompt {
        Prompt::Filter(input, _) => ("Filter: ", input),
        Prompt::Save(input) => ("Write to (.raw .json .ndjson): ", input),
    };
    let input_width = width.saturating_sub(title.width() + 1).max(1);
    (title, input, input.visual_scroll(input_width))
}

fn place_cursor(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let Some(of) = app.prompt.as_ref().filter(|_| area.height > 0) else { return };
    let (title, input, scroll) = prompt(of, area.width.into());
    let x = title.width() + input.visual_cursor().saturating_sub(scroll);
    let x = u16::try_from(x).unwrap_or(u16::MAX).min(area.width.saturating_sub(1));
    frame.set_cursor_position(Position::new(area.x + x, area.y));
}

fn prompt_line(of: &Prompt, theme: Theme, width: usize) -> Line<'static> {
    let (title, input, scroll) = prompt(of, width);
    // Pasted text may contain control characters.
    let mut passed = 0;
    let text: String = input
        .value()
        .chars()
        .skip_while(|c| {
            let is_scrolled_out = passed < scroll;
            passed += c.width().unwrap_or(0);
            is_scrolled_out
        })
        .map(|c| if is_unsafe(c) { '·' } else { c })
        .collect();
    Line::from(vec![Span::styled(title, theme.strong()), Span::raw(text)])
}

fn hints(app: &App, theme: Theme, width: usize) -> Line<'static> {
    // The most important keys come first: those that do not fit are dropped.
    let mut hints: Vec<(&str, &str)> = vec![("?", "help"), ("q", "quit")];
    hints.extend((app.is_held() && app.view != View::Nodes).then_some(("}", "to now")));
    let here: Vec<(&str, &str)> = match app.overlay {
        Some(Overlay::Help) => vec![("Esc", "back"), ("↑↓", "scroll")],
        Some(Overlay::Detail) => vec![("Esc", "back"), ("↑↓", "rows"), ("PgUp PgDn", "scroll")],
        None => match app.view {
            View::Nodes => vec![("Enter", "open"), ("/", "filter")],
            View::Overview if !app.tick().is_none_or(|tick| tick.snapshot.has_actors()) => {
                vec![("B", "records"), ("↑↓", "scroll")]
            }
            View::Overview => vec![("2", "actors"), ("↑↓", "scroll")],
            View::Actors if app.mode == Mode::Tree => {
                vec![
                    ("Enter", "open"),
                    ("/", "filter"),
                    ("Space", "fold"),
                    ("t", "list, classes"),
                    ("< >", "sort"),
                ]
            }
            View::Actors => {
                vec![("Enter", "open"), ("/", "filter"), ("t", "tree, list, classes"), ("< >", "sort")]
            }
            View::Events => vec![("/", "filter"), ("o", "topic"), ("f", "follow")],
            view => {
                let lists = (app.sheet.lists.len() > 1).then_some(("← →", "lists"));
                let has_rates = matches!(view, View::Records | View::Subsystem(_));
                let rates = has_rates.then_some(("v", "rates, totals"));
                let all =
                    [Some(("Enter", "open")), Some(("/", "filter")), lists, Some(("< >", "sort")), rates];
                all.into_iter().flatten().collect()
            }
        },
    };
    hints.extend(here);
    if app.view != View::Nodes {
        hints.extend([("[ ]", "past"), ("p", "freeze"), ("w", "save")]);
    }
    let (mut spans, mut used) = (Vec::new(), 0);
    for (key, what) in hints {
        let (key, what) = (format!(" {key} "), format!(" {what}"));
        used += key.width() + what.width();
        if used > width {
            break;
        }
        spans.extend([Span::styled(key, theme.selected()), Span::raw(what + "  ")]);
        used += 2;
    }
    Line::from(spans)
}

/// A list with the lines above it.
fn listing(frame: &mut Frame<'_>, area: Rect, app: &mut App, theme: Theme) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width);
    let mut text: Vec<_> = app.sheet.lines.iter().flat_map(|line| wrapped(&safe(line), width)).collect();
    let most = MAX_LINES_ABOVE.min(usize::from(area.height / 4));
    if text.len() > most {
        text.truncate(most);
        if let Some(mut last) = text.pop() {
            last.push_span(Span::raw(" …"));
            text.push(truncated(last, width));
        }
    }
    let has_bar = area.height >= 5;
    let bar_height = u16::from(has_bar);
    let heights = [text.len() as u16, bar_height].map(Constraint::Length);
    let [above, bar_at, rows] = Layout::vertical([heights[0], heights[1], Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(text), above);
    app.set_page(usize::from(rows.height.saturating_sub(1)).max(1));
    if has_bar {
        frame.render_widget(bar(app, theme, bar_at.width.into()), bar_at);
    }
    if app.sheet.len() == 0 {
        // If no tick could be read, the reason is all there is.
        let why = app.lost.clone().filter(|_| app.tick().is_none() && app.view != View::Nodes);
        let text = why.or(app.sheet.error.clone()).unwrap_or_else(|| app.sheet.nothing.clone());
        let lines = wrapped(&safe(&text), rows.width.into());
        return frame.render_widget(Paragraph::new(lines).style(theme.dim()), rows);
    }
    table(frame, rows, app, theme);
}

/// The line above a list: the lists of the view, the filter, the order and the position.
fn bar(app: &App, theme: Theme, width: usize) -> Line<'static> {
    let sheet = &app.sheet;
    let filter = app.cursor_state().map(|state| state.filter.as_str()).unwrap_or_default();
    let mut notes = Vec::new();
    if !filter.is_empty() {
        let is_wrong = sheet.error.is_some();
        let text = match &sheet.error {
            Some(error) if app.prompt.is_none() => format!("filter ignored: {error}"),
            Some(_) => format!("/{filter} is incomplete; all rows are shown"),
            None => format!("/{filter}"),
        };
        notes.push(Span::styled(
            safe(&cut(&safe(&text), width / 2)),
            if is_wrong { theme.bad() } else { theme.accent() },
        ));
    }
    if app.hides_zeros {
        notes.push(Span::styled("zeros hidden", theme.accent()));
    }
    if matches!(app.view, View::Actors | View::Records | View::Subsystem(_)) {
        let is_last = app.tick().is_none_or(|tick| tick.is_last());
        let text = match app.reset_at() {
            _ if app.shows_rates && !is_last => "rates".to_owned(),
            Some(at) => format!("totals since {}", time_of_day(at)),
            None => "totals".to_owned(),
        };
        notes.push(Span::styled(text, theme.dim()));
    }
    if app.sheet.sort.is_some_and(|sort| sort.column == OWN_ORDER) {
        notes.push(Span::styled("reversed", theme.accent()));
    }
    // Between two polls these values do not change.
    let poll = app.tick().and_then(|tick| tick.snapshot.poll).filter(|poll| poll.interval > app.interval);
    if let Some(poll) = poll.filter(|_| app.view.subsystem().is_some()) {
        let text = format!("polled every {}", duration(poll.interval));
        notes.push(Span::styled(text, theme.odd()));
    }
    if app.view == View::Events {
        notes.push(Span::styled(if app.follows { "following" } else { "not following" }, theme.dim()));
    }
    let at = app.cursor_state().map_or(0, |state| state.cursor) + usize::from(sheet.len() > 0);
    let of = if sheet.found > sheet.len() { format!(" of {}", sheet.found) } else { String::new() };
    notes.push(Span::raw(format!("{at}/{}{of}", sheet.len())));
    let mut right: Vec<Span<'static>> = Vec::new();
    for note in notes {
        right.push(Span::raw("  "));
        right.push(note);
    }
    let right_width: usize = right.iter().map(|span| span.content.width()).sum();
    let left_width = width.saturating_sub(right_width);
    let mut spans = Vec::new();
    let mut used = 0;
    let first = match sheet.lists.iter().take(sheet.list + 1).map(|(name, _)| name.len() + 8).sum::<usize>() {
        needed if needed > left_width => sheet.list,
        _ => 0,
    };
    for (number, (name, length)) in sheet.lists.iter().enumerate().skip(first) {
        let text = format!(" {name} {length} ");
        if used + text.width() > left_width {
            break;
        }
        used += text.width();
        let style = match number {
            _ if number == sheet.list => theme.selected(),
            _ if *length == 0 => theme.dim(),
            _ => Style::new(),
        };
        spans.push(Span::styled(text, style));
    }
    spans.push(Span::raw(" ".repeat(left_width.saturating_sub(used))));
    spans.extend(right);
    Line::from(spans)
}

fn title(column: &Column, at: usize, heading: &str, sort: Option<Sort>) -> String {
    let text = if at == 0 { heading.to_owned() } else { column.title() };
    match sort.filter(|sort| sort.column == column.name) {
        // By default numbers are sorted from the greatest, and texts from A to Z.
        Some(sort) => text + if sort.reverse == (column.side == Side::Right) { "▲" } else { "▼" },
        None => text,
    }
}

/// The rows on the screen, with as many columns as fit.
fn table(frame: &mut Frame<'_>, area: Rect, app: &mut App, theme: Theme) {
    let (first, cursor) = app.cursor_state().map_or((0, 0), |state| (state.first, state.cursor));
    let seen = usize::from(area.height.saturating_sub(1)).max(usize::from(area.height == 1));
    let (sheet, source) = (&app.sheet, app.source());
    let columns: Vec<(usize, &Column)> =
        sheet.columns.iter().enumerate().filter(|(_, column)| column.is_shown).collect();
    let end = sheet.len().min(first.saturating_add(seen));
    let rows: Vec<Vec<String>> = (first..end)
        .map(|at| {
            let row = sheet.row(at, source);
            let unit = unit_of_row(&sheet.columns, &row);
            let shown = |(at, column): &(usize, &Column)| {
                let value = row.get(*at).unwrap_or(&Value::Unknown);
                safe(&column.shown(value, unit))
            };
            columns.iter().map(shown).collect()
        })
        .collect();
    let titles: Vec<String> =
        columns.iter().map(|(at, column)| title(column, *at, sheet.heading, sheet.sort)).collect();
    // A column does not become narrower again, so that columns do not jump.
    let before = app.widths.get(&(app.view, sheet.name));
    let mut natural: Vec<usize> = titles.iter().map(|title| title.width()).collect();
    for row in &rows {
        natural.iter_mut().zip(row).for_each(|(width, text)| *width = text.width().max(*width));
    }
    if let Some(before) = before.filter(|before| before.len() == natural.len()) {
        natural.iter_mut().zip(before).for_each(|(width, before)| *width = (*before).max(*width));
    }
    let wide: Vec<ColumnWidth> = columns
        .iter()
        .zip(&titles)
        .zip(&natural)
        .map(|(((_, column), title), natural)| ColumnWidth {
            side: column.side,
            title: title.width(),
            natural: *natural,
        })
        .collect();
    // The first column and the sort column are dropped last.
    let is_sorted_by = |at: &usize| sheet.sort.is_some_and(|sort| columns[*at].1.name == sort.column);
    let mut order = drop_order(columns.iter().map(|(_, column)| *column));
    order.retain(|at| !is_sorted_by(at));
    let kept = fit(&wide, &order, area.width.into());
    let mut lines = Vec::new();
    let draw_row = |texts: &[String], style: &dyn Fn(usize) -> Style| {
        let mut spans = Vec::new();
        for (nth, (at, width)) in kept.iter().enumerate() {
            // The last part of a class name is the most specific one.
            let is_class = match columns[*at].1.name {
                _ if columns[*at].1.is_own => false,
                "message" => sheet.name == "dead_letters",
                name => name == "class",
            };
            let text = if is_class { cut_front(&texts[*at], *width) } else { cut(&texts[*at], *width) };
            let padding = " ".repeat(width.saturating_sub(text.width()));
            let gap = if nth == 0 { "" } else { "  " };
            let padded = match columns[*at].1.side {
                Side::Right => format!("{gap}{padding}{text}"),
                Side::Left => format!("{gap}{text}{padding}"),
            };
            spans.push(Span::styled(padded, style(*at)));
        }
        Line::from(spans)
    };
    if area.height > 1 {
        lines.push(draw_row(&titles, &|_| theme.strong().add_modifier(Modifier::UNDERLINED)));
    }
    for (row, at) in rows.iter().zip(first..) {
        let style = |at: usize| match columns[at].1 {
            column if column.is_own => Style::new(),
            column => cell_style(column.name, &row[at], theme),
        };
        let line = draw_row(row, &style);
        lines.push(if at == cursor { line.style(theme.selected()) } else { line });
    }
    frame.render_widget(Paragraph::new(lines), area);
    app.widths.insert((app.view, app.sheet.name), natural);
}

/// The colour of a cell that needs attention.
fn cell_style(column: &str, text: &str, theme: Theme) -> Style {
    match (column, text) {
        ("state", "live" | "running") | ("event", "spawned") => theme.good(),
        ("state", "wedged" | "crashed" | "corrupt" | "refused" | "incompatible") => theme.bad(),
        (
            "state",
            "closed" | "starting" | "stopping" | "not ready" | "blocked" | "stopped" | "traced" | "ended",
        ) => theme.odd(),
        ("event", "lost") | ("reachable" | "available", "no") | ("quarantined", "yes") => theme.bad(),
        ("severity" | "event", "panic") => theme.bad(),
        ("event", "dead letter") | ("severity", "error") => theme.odd(),
        ("event", "cluster" | "sharding") => theme.accent(),
        ("failures" | "errors" | "lost" | "cancelled", number)
            if !number.starts_with('0') && number != "-" =>
        {
            theme.odd()
        }
        ("time" | "timestamp", _) => theme.dim(),
        _ => Style::new(),
    }
}

/// Breaks a text into lines of at most `width` columns, at spaces where possible.
fn wrapped(text: &str, width: usize) -> Vec<Line<'static>> {
    let width = width.max(1);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split_inclusive(' ') {
        if used > 0 && used + word.trim_end().width() > width {
            lines.push(Line::raw(std::mem::take(&mut line)));
            used = 0;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width && used > 0 {
                if c == ' ' {
                    continue;
                }
                lines.push(Line::raw(std::mem::take(&mut line)));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    lines.push(Line::raw(line));
    lines
}

/// Draws the lines from `first` on that fit; limits `first` so that the last line can be reached but not passed.
fn scrolled(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>, first: &mut usize) {
    *first = (*first).min(lines.len().saturating_sub(area.height.into()));
    let seen: Vec<_> = lines.into_iter().skip(*first).take(area.height.into()).collect();
    frame.render_widget(Paragraph::new(seen), area);
}

fn details(frame: &mut Frame<'_>, area: Rect, app: &mut App, theme: Theme) {
    let cursor = app.cursor_state().map_or(0, |state| state.cursor);
    let pairs = detail(&app.sheet, cursor, app.source());
    let borders = if area.width >= WIDE / 3 && area.x > 0 { Borders::LEFT } else { Borders::TOP };
    let block = Block::new().borders(borders).title(Span::styled(" Esc closes this ", theme.dim()));
    let inner = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    let widest = pairs.iter().map(|(title, _)| safe(title).width()).max().unwrap_or(0);
    let title_width = widest.min(usize::from(inner.width) / 2) + 1;
    let mut lines = Vec::new();
    for (title, text) in pairs {
        let title = cut(&safe(&title), title_width - 1);
        let padding = " ".repeat(title_width - title.width());
        let text = wrapped(&safe(&text), usize::from(inner.width).saturating_sub(title_width));
        for (line, nth) in text.into_iter().zip(0..) {
            let before = if nth == 0 { format!("{title}{padding}") } else { " ".repeat(title_width) };
            let mut spans = vec![Span::styled(before, theme.accent())];
            spans.extend(line.spans);
            lines.push(Line::from(spans));
        }
    }
    scrolled(frame, inner, lines, &mut app.overlay_first);
}

/// A title on the left, and its explanation on the right in as many lines as needed.
fn explained(title: &str, title_width: usize, means: &str, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let padding = " ".repeat(title_width.saturating_sub(title.width()));
    let lines = wrapped(means, width.saturating_sub(title_width + 2)).into_iter().zip(0..);
    let with_title = |(line, nth): (Line<'static>, usize)| {
        let before = if nth == 0 { format!(" {title}{padding} ") } else { " ".repeat(title_width + 2) };
        let mut spans = vec![Span::styled(before, theme.accent())];
        spans.extend(line.spans);
        Line::from(spans)
    };
    lines.map(with_title).collect()
}

fn help(frame: &mut Frame<'_>, area: Rect, app: &mut App, theme: Theme) {
    const KEYS_WIDTH: usize = 12;
    const VIEWS_WIDTH: usize = 13;
    // A space separates the two sides.
    let side_width = usize::from(if area.width >= WIDE { area.width / 2 - 1 } else { area.width });
    let mut blocks: Vec<Vec<Line<'static>>> = KEYS
        .iter()
        .map(|group| {
            let title = Line::styled(group.title, theme.strong());
            let bindings = group.bindings.iter().flat_map(|binding| {
                let keys: Vec<_> = binding.keys.iter().map(|key| key.name()).collect();
                explained(&keys.join(" "), KEYS_WIDTH, binding.help, side_width, theme)
            });
            std::iter::once(title).chain(bindings).chain([Line::raw("")]).collect()
        })
        .collect();
    let views = View::ALL.into_iter().flat_map(|view| {
        let name = format!("{} {}", view.key(), view.title());
        explained(&name, VIEWS_WIDTH, view.help(), side_width, theme)
    });
    let title = Line::styled("Views", theme.strong());
    blocks.push(std::iter::once(title).chain(views).chain([Line::raw("")]).collect());
    let mut filter = vec![Line::styled("Filters", theme.strong())];
    for (what, means) in FILTER_HELP {
        let what = wrapped(what, side_width.saturating_sub(1));
        filter.extend(what.into_iter().map(|line| Line::styled(format!(" {line}"), theme.accent())));
        let means = wrapped(means, side_width.saturating_sub(5));
        filter.extend(means.into_iter().map(|line| Line::raw(format!("    {line}"))));
    }
    let sides = if area.width >= WIDE {
        let views = blocks.split_off(3);
        vec![blocks.concat(), [views.concat(), filter].concat()]
    } else {
        vec![[blocks.concat(), filter].concat()]
    };
    let longest = sides.iter().map(Vec::len).max().unwrap_or(0);
    app.overlay_first = app.overlay_first.min(longest.saturating_sub(area.height.into()));
    let areas = Layout::horizontal(sides.iter().map(|_| Constraint::Fill(1))).split(area);
    for (lines, area) in sides.into_iter().zip(areas.iter()) {
        let mut first = app.overlay_first;
        scrolled(frame, *area, lines, &mut first);
    }
}

/// A number of the overview, with a sparkline of its past.
struct Vital {
    title: &'static str,
    value: String,
    of: fn(&Point) -> Option<f64>,
}

fn vitals(tick: &Tick) -> Vec<Vital> {
    let point = &tick.point;
    // The first tick has only averages since the start of the node.
    let rate = |of: fn(&CounterRates) -> f64| match point.rates() {
        Some(rates) => format!("{:.1}/s", of(rates)),
        None if point.is_average => {
            point.rates.as_ref().map_or("-".to_owned(), |rates| format!("⌀ {:.1}/s", of(rates)))
        }
        None => "-".to_owned(),
    };
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let percent = |percent: Option<f64>| known(percent.map(|percent| format!("{percent:.1} %")));
    let vital = |title, value, of| Vital { title, value, of };
    let of_actors = [
        vital("actors", point.live.to_string(), |p| Some(p.live as f64)),
        vital("spawned", rate(|rates| rates.spawned), |p| p.rates().map(|rates| rates.spawned)),
        vital("stopped", rate(|rates| rates.stopped), |p| p.rates().map(|rates| rates.stopped)),
        vital("dead letters", rate(|rates| rates.dead_letters), |p| p.rates().map(|r| r.dead_letters)),
    ];
    let of_runtime =
        [vital("runtime busy", percent(point.busy_percent), |p| p.busy_percent.filter(|_| !p.is_average))];
    let of_process = [
        vital("CPU", percent(point.cpu_percent), |p| p.cpu_percent.filter(|_| !p.is_average)),
        vital("memory", known(point.memory_bytes.map(bytes)), |p| p.memory_bytes.map(|bytes| bytes as f64)),
    ];
    let has_actors = tick.snapshot.has_actors();
    let events = [vital("events", rate(|rates| rates.events), |p| p.rates().map(|rates| rates.events))];
    let of_actors = of_actors.into_iter().filter(|_| has_actors);
    let of_runtime = of_runtime.into_iter().filter(|_| has_actors || point.busy_percent.is_some());
    of_actors.chain(events).chain(of_runtime).chain(of_process).collect()
}

fn overview(frame: &mut Frame<'_>, area: Rect, app: &mut App, theme: Theme) {
    let Some(tick) = app.tick().cloned() else {
        let text =
            app.lost.clone().unwrap_or_else(|| "Waiting for the first snapshot of the node.".to_owned());
        let lines = wrapped(&safe(&text), area.width.into());
        return frame.render_widget(Paragraph::new(lines), area);
    };
    let is_wide = area.width >= WIDE;
    let (left, right) = if is_wide {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(45), Constraint::Percentage(55)]).areas(area);
        (left, Some(Rect { x: right.x + 2, width: right.width - 2, ..right }))
    } else {
        (area, None)
    };
    let vitals = vitals(&tick);
    // On a narrow screen the findings are more important than the sparklines, and get at least half of the lines.
    let shown = if is_wide { vitals.len() } else { vitals.len().min(usize::from(area.height / 2)) };
    let [lines_at, rest] =
        Layout::vertical([Constraint::Length(shown as u16 + 1), Constraint::Fill(1)]).areas(left);
    sparklines(frame, lines_at, app, &tick, &vitals[..shown], theme);
    let width = usize::from(right.map_or(rest.width, |right| right.width));
    let mut text = findings(&tick, width, theme);
    text.extend(subsystems(&tick, width, theme));
    let most = if is_wide { usize::from(rest.height.saturating_sub(2)).max(1) } else { MAX_CLASSES };
    let listed = match tick.snapshot.has_actors() {
        true => classes(&tick, rest.width.into(), most, theme),
        false => own_records(&tick, rest.width.into(), most, theme),
    };
    match right {
        Some(right) => {
            frame.render_widget(Paragraph::new(listed), rest);
            scrolled(frame, right, text, &mut app.overlay_first);
        }
        None => {
            text.extend(listed);
            scrolled(frame, rest, text, &mut app.overlay_first);
        }
    }
}

fn sparklines(frame: &mut Frame<'_>, area: Rect, app: &App, tick: &Tick, vitals: &[Vital], theme: Theme) {
    const TITLE: u16 = 14;
    const VALUE: u16 = 12;
    for (vital, nth) in vitals.iter().zip(0..) {
        if nth >= area.height {
            return;
        }
        let row = Rect { y: area.y + nth, height: 1, ..area };
        let [title, value, line] =
            Layout::horizontal([Constraint::Length(TITLE), Constraint::Length(VALUE), Constraint::Fill(1)])
                .areas(row);
        frame.render_widget(Span::styled(vital.title, theme.dim()), title);
        let text = Line::styled(vital.value.clone(), theme.strong());
        frame.render_widget(text.right_aligned(), Rect { width: value.width.saturating_sub(1), ..value });
        let points: Vec<Option<f64>> =
            app.points.until(tick.at).take(line.width.into()).map(|point| (vital.of)(point)).collect();
        let greatest = points.iter().flatten().copied().fold(0.0, f64::max);
        // Sparklines take whole numbers: thousandths of the greatest value.
        let data = points.iter().map(|point| {
            point.map(|value| if greatest > 0.0 { (value / greatest * 1000.0).round() as u64 } else { 0 })
        });
        let line_of = Sparkline::default()
            .data(data.collect::<Vec<_>>())
            .max(1000)
            .direction(RenderDirection::RightToLeft)
            .absent_value_symbol(" ")
            .style(theme.accent());
        frame.render_widget(line_of, line);
    }
}

/// How the command that examines a node which hangs is named.
const STUCK: &str = "`atomscope stuck ";

/// Problems and warnings, the worst first.
fn findings(tick: &Tick, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("Health", theme.strong())];
    let mut findings: Vec<_> =
        tick.findings.iter().filter(|finding| finding.severity >= Severity::Warning).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in &findings {
        let (mark, style) = match finding.severity {
            Severity::Problem => ("✗ ", theme.bad()),
            _ => ("! ", theme.odd()),
        };
        for (line, nth) in wrapped(&safe(&finding.finding), width.saturating_sub(4)).into_iter().zip(0..) {
            let mark = if nth == 0 { mark } else { "  " };
            lines.push(Line::from(vec![Span::raw(" "), Span::styled(format!("{mark}{line}"), style)]));
        }
        if let Some(advice) = &finding.advice {
            let advice = wrapped(&safe(advice), width.saturating_sub(4));
            lines.extend(advice.into_iter().map(|line| Line::styled(format!("   {line}"), theme.dim())));
        }
    }
    for warning in &tick.warnings {
        for (line, nth) in wrapped(&safe(warning), width.saturating_sub(4)).into_iter().zip(0..) {
            let mark = if nth == 0 { "! " } else { "  " };
            lines.push(Line::styled(format!(" {mark}{line}"), theme.odd()));
        }
    }
    if findings.is_empty() && tick.warnings.is_empty() {
        lines.push(Line::styled(" no problems found", theme.good()));
    }
    // The advice of a finding may have said it.
    let is_said =
        findings.iter().any(|finding| finding.advice.as_ref().is_some_and(|advice| advice.contains(STUCK)));
    if let Some(hint) = tick.snapshot.stuck_hint().filter(|_| !is_said) {
        let hint = wrapped(&hint, width.saturating_sub(4));
        lines.extend(hint.into_iter().map(|line| Line::styled(format!("   {line}"), theme.dim())));
    }
    lines.push(Line::raw(""));
    lines
}

fn subsystems(tick: &Tick, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("Subsystems and process", theme.strong())];
    let mut add = |title: &str, text: &str| {
        for (line, nth) in wrapped(text, width.saturating_sub(14)).into_iter().zip(0..) {
            let title = if nth == 0 { title } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!(" {title:<12} "), theme.dim()),
                Span::raw(line.to_string()),
            ]));
        }
    };
    if tick.snapshot.has_actors() {
        add("Dead letters", &tick.snapshot.dead_letters.total.to_string());
    }
    tick.summaries.iter().for_each(|summary| add(summary.subsystem.title, &summary.line));
    if let Some(process) = &tick.snapshot.process {
        add("Resources", &process.text());
    }
    lines.push(Line::raw(""));
    lines
}

fn classes(tick: &Tick, width: usize, most: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("Actors by class", theme.strong())];
    for class in tick.classes.iter().take(most) {
        let waiting = class.waiting.map(|n| format!(", {} waiting", count(n, "message", "messages")));
        let text = format!("{:>8} {}{}", class.actors, safe(&class.name), waiting.unwrap_or_default());
        lines.push(Line::raw(cut(&text, width)));
    }
    if let Some(more) = tick.classes.len().checked_sub(most).filter(|more| *more > 0) {
        lines.push(Line::styled(
            format!("         and {}", count(more as u64, "more class", "more classes")),
            theme.dim(),
        ));
    }
    if tick.classes.is_empty() {
        lines.push(Line::styled(" no live actors", theme.dim()));
    }
    lines
}

/// Of a program without actors: the newest states of its own records.
fn own_records(tick: &Tick, width: usize, most: usize, theme: Theme) -> Vec<Line<'static>> {
    let records = &tick.snapshot.own_records;
    if records.list.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::styled("Records of its own", theme.strong())];
    for (name, values) in records::texts(records).take(most) {
        lines.push(Line::raw(cut(&safe(&format!(" {name}: {values}")), width)));
    }
    if let Some(more) = records.list.len().checked_sub(most).filter(|more| *more > 0) {
        lines.push(Line::styled(
            format!(" and {}", count(more as u64, "more record", "more records")),
            theme.dim(),
        ));
    }
    lines
}

/// Whether the screen must be drawn again although nothing has happened: it shows ages, and notices that expire.
pub fn needs_redraw(app: &App, drawn: Instant) -> bool {
    let changes = app.notice.is_some() || app.tick().is_some_and(|tick| tick.snapshot.dump_info.is_none());
    drawn.elapsed() >= Duration::from_secs(1) && changes
}
