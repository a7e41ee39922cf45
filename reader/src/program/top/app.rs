//! The state of the screen, and how messages and keys change it. The state owns everything that is drawn, and touches no
//! region, file or terminal.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope::attach::RegionSummary;
use atomscope::liveness::Liveness;
use atomscope::report::human::duration;
use atomscope::report::list::Value;
use atomscope::report::nodes::NodeRow;
use atomscope::report::records::KIND_INDEX;
use atomscope_layout::decode::rfc3339;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::table::Key;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

use crate::program::top::history::{EventLog, History, Points};
use crate::program::top::keys::{self, Action};
use crate::program::top::message::{Command, Message};
use crate::program::top::sheet::{
    Baseline, Fold, Mode, OWN_ORDER, RowKey, Rows, Sheet, SheetRequest, Sort, Source, sheet,
};
use crate::program::top::tick::{EventRow, Tick, Wanted};
use crate::program::top::view::View;

/// The intervals that keys can select, in milliseconds.
const INTERVALS_MS: [u64; 10] = [100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000];
/// Ticks that the key for a far step goes into the past.
const FAR_STEP: usize = 10;
/// The time for which a notice is shown.
const NOTICE_FOR: Duration = Duration::from_secs(8);

/// What a key does outside the state of the screen.
#[derive(Debug)]
pub enum Effect {
    Command(Command),
    Quit,
    Suspend,
    Redraw,
}

/// The selection in a view, and the choice of its rows.
#[derive(Debug, Default)]
pub struct CursorState {
    /// The index of the selected row.
    pub cursor: usize,
    /// The index of the first row on the screen.
    pub first: usize,
    /// The key of the selected row, which finds it again in the next tick.
    key: Option<RowKey>,
    /// The key of the last selected actor, which finds it again after the list of classes.
    actor: Option<RowKey>,
    /// The index of the shown list of the view.
    pub list: usize,
    pub filter: String,
    /// The order of each list, by the name of the list.
    sorts: HashMap<&'static str, Sort>,
}

/// A line of input at the bottom of the screen.
#[derive(Debug)]
pub enum Prompt {
    /// A filter, and the previous one, which Esc restores.
    Filter(Input, String),
    /// A file name.
    Save(Input),
}

/// A pane over a view or next to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    Help,
    Detail,
}

/// A sentence in the last line, shown for [`NOTICE_FOR`].
#[derive(Debug)]
pub struct Notice {
    pub text: String,
    pub is_bad: bool,
    until: Instant,
}

/// The node that was open before the current one, with its past.
#[derive(Debug)]
struct PreviousNode {
    summary: RegionSummary,
    successor: Option<RegionSummary>,
    newest: Arc<Tick>,
    history: History,
    points: Points,
    events: EventLog,
}

/// The state of the screen.
#[derive(Debug)]
pub struct App {
    pub interval: Duration,
    /// The newest tick.
    newest: Option<Arc<Tick>>,
    /// The tick that is shown instead: one of the past, or the newest one when the screen was frozen.
    held: Option<Arc<Tick>>,
    /// The events when `held` was set: shown events must not disappear while newer ones arrive.
    held_events: Option<EventLog>,
    pub is_frozen: bool,
    pub history: History,
    pub points: Points,
    pub events: EventLog,
    baseline: Option<Baseline>,
    pub nodes: Vec<NodeRow>,
    /// Notes about nodes that cannot be listed.
    pub notes_of_nodes: Vec<String>,
    /// Whether a node is open, and not only the list of nodes.
    pub is_watching: bool,
    /// The open node.
    summary: Option<RegionSummary>,
    /// Whether it had ended when it was left, so that only its past is shown and nothing is read.
    is_past_only: bool,
    previous: Option<PreviousNode>,
    history_bytes: usize,
    /// The number of the open node, which messages about it carry.
    number: u64,
    /// Why the node cannot be read any more.
    pub lost: Option<String>,
    pub successor: Option<RegionSummary>,
    pub view: View,
    /// The first view of a newly opened node.
    home: View,
    /// The view before the list of nodes.
    from: View,
    /// Whether the list of nodes must still select the open node.
    selects_open_node: bool,
    cursors: HashMap<View, CursorState>,
    pub mode: Mode,
    folded: HashSet<Key>,
    pub topic: Option<Box<str>>,
    /// Whether the view of events selects the newest event.
    pub follows: bool,
    pub shows_rates: bool,
    pub hides_zeros: bool,
    pub overlay: Option<Overlay>,
    /// The first line of the overlay, or of the overview, on the screen.
    pub overlay_first: usize,
    pub prompt: Option<Prompt>,
    /// The number of the node that is being saved, and the file name as it was typed.
    saving: (u64, String),
    pub notice: Option<Notice>,
    pub sheet: Sheet,
    /// Whether `sheet` must be made again.
    is_stale: bool,
    /// The number of rows that fit on the screen; set by drawing.
    pub page: usize,
    /// The widest that each column was, so that columns keep their position.
    pub widths: HashMap<(View, &'static str), Vec<usize>>,
}

impl App {
    pub fn new(view: View, interval: Duration, history_bytes: usize, node: Option<&RegionSummary>) -> Self {
        let is_watching = node.is_some();
        let home = if view == View::Nodes { View::Overview } else { view };
        Self {
            interval,
            newest: None,
            held: None,
            held_events: None,
            is_frozen: false,
            history: History::new(history_bytes),
            points: Points::default(),
            events: EventLog::default(),
            baseline: None,
            nodes: Vec::new(),
            notes_of_nodes: Vec::new(),
            is_watching,
            summary: node.cloned(),
            is_past_only: false,
            previous: None,
            history_bytes,
            number: 0,
            lost: None,
            successor: None,
            view: if is_watching { view } else { View::Nodes },
            home,
            from: home,
            selects_open_node: true,
            cursors: HashMap::new(),
            mode: Mode::default(),
            folded: HashSet::new(),
            topic: None,
            follows: true,
            shows_rates: true,
            hides_zeros: false,
            overlay: None,
            overlay_first: 0,
            prompt: None,
            saving: Default::default(),
            notice: None,
            sheet: Sheet::default(),
            is_stale: true,
            page: 1,
            widths: HashMap::new(),
        }
    }

    /// The shown tick.
    pub fn tick(&self) -> Option<&Arc<Tick>> {
        self.held.as_ref().or(self.newest.as_ref())
    }

    /// The current state of the node, if it differs from that of the shown tick.
    pub fn liveness_now(&self) -> Option<Liveness> {
        let [now, shown] = [self.newest.as_ref()?, self.held.as_ref()?].map(|tick| tick.snapshot.liveness);
        ((now.verdict, now.notes) != (shown.verdict, shown.notes)).then_some(now)
    }

    /// Whether the shown tick is one of the past or frozen.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// What ticks must have because it is shown.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            actors: self.view == View::Actors && self.mode != Mode::Classes || self.view == View::Hot,
            threads: self.view == View::Threads,
        }
    }

    /// The events for the shown tick.
    pub fn shown_events(&self) -> &EventLog {
        self.held_events.as_ref().unwrap_or(&self.events)
    }

    /// The time that totals count from, unless the shown tick is older.
    pub fn reset_at(&self) -> Option<i128> {
        let shown = self.tick()?.snapshot.taken_at;
        let reset = self.baseline.as_ref().map(|baseline| baseline.snapshot.taken_at);
        reset.filter(|reset| !reset.is_after(&shown)).map(|reset| reset.unix_ns)
    }

    /// The data for the rows of a view.
    pub fn source(&self) -> Source<'_> {
        let until = self.held.as_ref().map(|tick| tick.snapshot.taken_at);
        Source {
            tick: self.tick().map(|tick| &**tick),
            events: self.shown_events(),
            until,
            nodes: &self.nodes,
            watched: self.watched(),
        }
    }

    /// The interval as text.
    pub fn interval_text(&self) -> String {
        match self.interval.as_millis() {
            ms @ ..1000 => format!("{ms} ms"),
            _ => duration(self.interval),
        }
    }

    pub fn cursor_state(&self) -> Option<&CursorState> {
        self.cursors.get(&self.view)
    }

    fn cursor_mut(&mut self) -> &mut CursorState {
        self.cursors.entry(self.view).or_default()
    }

    /// Sets the filter of a view.
    pub fn set_filter(&mut self, view: View, filter: &str) {
        self.cursors.entry(view).or_default().filter = filter.to_owned();
        self.is_stale = true;
    }

    /// Shows a notice.
    pub fn say(&mut self, text: impl Into<String>, is_bad: bool) {
        self.notice = Some(Notice { text: text.into(), is_bad, until: Instant::now() + NOTICE_FOR });
    }

    /// Applies a message of the collector.
    pub fn receive(&mut self, message: Message) {
        match message {
            // These are about a node that was left meanwhile.
            Message::Tick(number, ..) | Message::Lost(number, _) | Message::Successor(number, _)
                if number != self.number => {}
            Message::Tick(_, tick, events) => self.add_tick(*tick, events),
            Message::Lost(_, why) => self.lost = Some(why),
            Message::Nodes(Ok((nodes, notes))) => {
                (self.nodes, self.notes_of_nodes) = (nodes, notes);
                self.is_stale |= self.view == View::Nodes;
            }
            Message::Nodes(Err(why)) => self.say(why, true),
            Message::Successor(_, summary) => self.successor = Some(*summary),
            Message::Saved(Ok(file)) => self.say(format!("written to {file}"), false),
            Message::Saved(Err(why)) => {
                self.say(why, true);
                // The file name is offered again to correct it, unless another node was opened meanwhile.
                let (number, file) = std::mem::take(&mut self.saving);
                if number == self.number && self.view != View::Nodes && self.prompt.is_none() {
                    self.prompt = Some(Prompt::Save(Input::new(file)));
                }
            }
            Message::Input(_) | Message::InputClosed => {}
        }
    }

    fn add_tick(&mut self, tick: Tick, events: Vec<EventRow>) {
        let tick = Arc::new(tick);
        self.lost = None;
        self.points.push(tick.at, tick.point);
        self.history.push(Arc::clone(&tick));
        self.newest = Some(tick);
        events.into_iter().for_each(|event| self.events.push(event));
        self.is_stale |= self.held.is_none() && self.view != View::Nodes;
    }

    /// Opens another node. The past of the last one is kept, that of the one before it is dropped.
    fn watch(&mut self, summary: RegionSummary) -> Effect {
        let again = self.previous.take().filter(|previous| previous.summary.is_of_same_node(&summary));
        let history = std::mem::replace(&mut self.history, History::new(self.history_bytes));
        let (points, events) = (std::mem::take(&mut self.points), std::mem::take(&mut self.events));
        let left = self.summary.take().zip(self.newest.take());
        let successor = self.successor.take();
        self.previous = left.map(|(summary, newest)| PreviousNode {
            summary,
            successor,
            newest,
            history,
            points,
            events,
        });
        (self.held, self.held_events, self.is_frozen) = (None, None, false);
        (self.baseline, self.lost, self.is_past_only) = (None, None, false);
        // A key of a row could match a row of the other node.
        self.close_overlay();
        self.cursors.values_mut().for_each(|state| (state.key, state.actor) = (None, None));
        // Every node has its own kinds of records.
        self.cursors.entry(View::Records).or_default().list = 0;
        if let Some(again) = again {
            self.is_past_only = again.newest.is_last();
            (self.history, self.points, self.successor) = (again.history, again.points, again.successor);
            self.newest = Some(again.newest);
            // The collector reads the events of a running node again from the oldest one.
            self.events = if self.is_past_only { again.events } else { EventLog::continued() };
        }
        if let Some(previous) = &mut self.previous {
            previous.history.limit(self.history_bytes / 2);
            self.history.limit(self.history_bytes / 2);
        }
        self.widths.clear();
        self.folded.clear();
        self.is_watching = true;
        self.is_stale = true;
        self.number += 1;
        let command = Command::Watch(self.number, (!self.is_past_only).then(|| Box::new(summary.clone())));
        self.summary = Some(summary);
        Effect::Command(command)
    }

    /// Closes the overlay.
    fn close_overlay(&mut self) {
        (self.overlay, self.overlay_first) = (None, 0);
    }

    /// Goes to a view.
    fn go(&mut self, view: View) -> Vec<Effect> {
        if !self.is_watching && view != View::Nodes {
            self.say("no node is open yet; Enter opens the selected node", true);
            return Vec::new();
        }
        let (was, is) = (self.view == View::Nodes, view == View::Nodes);
        if is && !was {
            (self.from, self.selects_open_node) = (self.view, true);
        }
        self.close_overlay();
        (self.view, self.is_stale) = (view, true);
        if was == is { Vec::new() } else { vec![Effect::Command(Command::Nodes(is))] }
    }

    /// Makes the sheet again if something has changed, and keeps the selected row.
    pub fn refresh(&mut self) {
        if self.notice.as_ref().is_some_and(|notice| notice.until < Instant::now()) {
            self.notice = None;
        }
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let state = self.cursors.entry(self.view).or_default();
        let (list, filter) = (state.list, state.filter.clone());
        let sorts = state.sorts.clone();
        let made = sheet(
            &SheetRequest {
                view: self.view,
                mode: self.mode,
                list,
                sorts: &sorts,
                filter: &filter,
                folded: &self.folded,
                shows_rates: self.shows_rates,
                hides_zeros: self.hides_zeros,
                topic: self.topic.as_deref(),
                baseline: self.baseline.as_ref().filter(|_| self.reset_at().is_some()),
                past: (self.view == View::Own).then(|| self.history.extent()),
            },
            self.source(),
        );
        let tick = self.tick().cloned();
        let is_open = self.overlay == Some(Overlay::Detail);
        let open_node =
            self.source().watched_row().filter(|_| self.view == View::Nodes && self.selects_open_node);
        let open_node = open_node.and_then(|row| {
            let keys = (0..made.len()).filter_map(|at| made.row_key(at, None));
            let is_it =
                |of: &RowKey| matches!(of, RowKey::Texts(texts) if texts.last() == Some(&row.shown_path));
            keys.into_iter().find(is_it)
        });
        let state = self.cursors.entry(self.view).or_default();
        if open_node.is_some() {
            (self.selects_open_node, state.key) = (false, open_node);
        }
        // A selection of the first row stays at the top when rows come before it, except in the list of nodes: there Enter
        // must not open another node.
        let keeps_row = state.cursor > 0 || is_open || self.view == View::Nodes;
        let key = state.key.as_ref().filter(|_| keeps_row);
        match key.map(|key| made.find(key, tick.as_deref())) {
            Some(Some(at)) => {
                // The row keeps its position on the screen.
                state.first = (state.first + at).saturating_sub(state.cursor);
                state.cursor = at;
            }
            Some(None) if is_open => {
                self.overlay = None;
                self.say("the selected row is gone", true);
            }
            _ => {}
        }
        self.sheet = made;
        if self.view == View::Events && self.follows && self.overlay != Some(Overlay::Detail) {
            self.cursor_mut().cursor = usize::MAX;
        }
        self.select();
    }

    /// Keeps the cursor within the rows, and remembers the key of its row.
    fn select(&mut self) {
        let (rows, page) = (self.sheet.len(), self.page.max(1));
        let tick = self.tick().cloned();
        let state = self.cursors.entry(self.view).or_default();
        state.cursor = state.cursor.min(rows.saturating_sub(1));
        state.first = state.first.clamp(state.cursor.saturating_sub(page - 1), state.cursor);
        state.first = state.first.min(rows.saturating_sub(page));
        state.key = self.sheet.row_key(state.cursor, tick.as_deref());
        if let Some(RowKey::Actor(_)) = state.key {
            state.actor = state.key.clone();
        }
    }

    /// Called by drawing with the number of rows that fit on the screen.
    pub fn set_page(&mut self, rows: usize) {
        if self.page != rows {
            self.page = rows;
            self.select();
        }
    }

    /// Moves the selection; scrolls where there are no rows.
    fn move_by(&mut self, rows: isize) {
        if self.view == View::Overview || self.overlay == Some(Overlay::Help) {
            return self.scroll(rows);
        }
        (self.overlay_first, self.selects_open_node) = (0, false);
        let state = self.cursor_mut();
        state.cursor = state.cursor.saturating_add_signed(rows);
        self.select();
        if self.view == View::Events {
            self.follows = self.cursor_state().is_some_and(|state| state.cursor + 1 >= self.sheet.len());
        }
    }

    fn scroll(&mut self, lines: isize) {
        self.overlay_first = self.overlay_first.saturating_add_signed(lines);
    }

    /// Moves by more than a row; scrolls the details if they are open.
    fn move_far(&mut self, rows: isize) {
        if self.overlay == Some(Overlay::Detail) { self.scroll(rows) } else { self.move_by(rows) }
    }

    /// Handles a key.
    pub fn press(&mut self, key: &KeyEvent) -> Vec<Effect> {
        // Terminals send a key right after Esc as that key with Alt.
        let edits_line = self.prompt.is_some() && request(key).is_some();
        if let (KeyCode::Char(_), true, false) =
            (key.code, key.modifiers.contains(KeyModifiers::ALT), edits_line)
        {
            let mut effects = self.press(&KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
            self.refresh();
            effects.extend(self.press(&KeyEvent::new(key.code, key.modifiers - KeyModifiers::ALT)));
            return effects;
        }
        if self.prompt.is_some() && keys::action(key) != Some(Action::Suspend) {
            return self.type_in(key);
        }
        let Some(action) = keys::action(key) else { return Vec::new() };
        // q closes the help, as in pagers.
        let is_q = key.code == KeyCode::Char('q') && self.overlay == Some(Overlay::Help);
        let action = if is_q { Action::Back } else { action };
        if self.notice.is_some() {
            self.notice = None;
        }
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        let page = self.page.max(2) as isize - 1;
        use Action::{FarFuture, FarPast, Freeze, Future, Past, Rates, Reset, Save, Zeros};
        let is_of_node =
            matches!(action, Save | Freeze | Rates | Reset | Zeros | Past | FarPast | Future | FarFuture);
        if is_of_node && self.view == View::Nodes {
            self.say("this key works only in the views of a node; Enter opens the selected node", true);
            return Vec::new();
        }
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Redraw => return vec![Effect::Redraw, Effect::Command(Command::Now)],
            Action::Help => {
                self.overlay = if self.overlay == Some(Overlay::Help) { None } else { Some(Overlay::Help) };
                self.overlay_first = 0;
            }
            Action::Go(view) => return self.go(view),
            Action::NextView | Action::PreviousView => {
                let at = View::ALL.iter().position(|view| *view == self.view).unwrap_or_default();
                let step = if action == Action::NextView { 1 } else { View::ALL.len() - 1 };
                return self.go(View::ALL[(at + step) % View::ALL.len()]);
            }
            Action::Up => self.move_by(-1),
            Action::Down => self.move_by(1),
            Action::PageUp => self.move_far(-page),
            Action::PageDown => self.move_far(page),
            Action::First => self.move_far(isize::MIN),
            Action::Last => self.move_far(isize::MAX),
            Action::Left => self.sideways(false),
            Action::Right => self.sideways(true),
            Action::Open => return self.open(),
            Action::Back => return self.back(),
            Action::Filter if self.view != View::Overview => {
                let before = self.cursor_mut().filter.clone();
                self.overlay = None;
                self.prompt = Some(Prompt::Filter(Input::new(before.clone()), before));
            }
            Action::SortNext => self.sort_by(1),
            Action::SortPrevious => self.sort_by(-1),
            Action::Reverse => self.reverse(),
            Action::Mode if self.view == View::Actors => {
                let at = Mode::ALL.iter().position(|mode| *mode == self.mode).unwrap_or_default();
                self.set_mode(Mode::ALL[(at + 1) % Mode::ALL.len()]);
            }
            Action::Fold if self.view == View::Events => self.freeze(),
            Action::Fold => self.fold(None),
            Action::FoldAll if self.view == View::Actors && self.mode == Mode::Tree => self.fold_all(),
            Action::Topic if self.view == View::Events => {
                self.topic = self.next_topic();
                self.is_stale = true;
            }
            Action::Follow if self.view == View::Events => {
                self.follows = !self.follows;
                self.is_stale = true;
            }
            Action::Freeze => self.freeze(),
            Action::Rates if self.tick().is_some_and(|tick| tick.is_last()) => {
                self.say("a node that has ended and a dump have no rates; totals are shown", false);
            }
            Action::Rates => {
                self.shows_rates = !self.shows_rates;
                self.is_stale = true;
                self.say(
                    if self.shows_rates { "rates per second are shown" } else { "totals are shown" },
                    false,
                );
            }
            Action::Reset => self.reset(),
            Action::Slower | Action::Faster => return self.set_interval(action == Action::Slower),
            Action::Zeros => {
                self.hides_zeros = !self.hides_zeros;
                self.is_stale = true;
                let text =
                    if self.hides_zeros { "rows with only zeros are hidden" } else { "all rows are shown" };
                self.say(text, false);
            }
            Action::Save => self.prompt_for_file(),
            Action::Past => self.step(1, true),
            Action::FarPast => self.step(FAR_STEP, true),
            Action::Future => self.step(1, false),
            Action::FarFuture => self.step(usize::MAX, false),
            Action::Successor => {
                let before = || self.previous.as_ref().map(|previous| previous.summary.clone());
                match self.successor.clone().or_else(before) {
                    Some(summary) => {
                        let mut effects = vec![self.watch(summary)];
                        if self.view == View::Nodes {
                            effects.extend(self.go(self.from));
                        }
                        return effects;
                    }
                    None => {
                        self.say("this node has no successor, and no other node was open before it", true);
                    }
                }
            }
            Action::Filter | Action::Mode | Action::FoldAll | Action::Topic | Action::Follow => {
                self.say("this key has no effect in this view; ? shows all keys", true);
            }
        }
        Vec::new()
    }

    fn set_mode(&mut self, mode: Mode) {
        (self.mode, self.overlay, self.is_stale) = (mode, None, true);
        let state = self.cursor_mut();
        if let (true, Some(actor)) = (mode != Mode::Classes, state.actor.clone()) {
            (state.key, state.cursor) = (Some(actor), state.cursor.max(1));
        }
    }

    /// Folds or unfolds in a tree; goes to another list elsewhere.
    fn sideways(&mut self, right: bool) {
        if self.view == View::Actors {
            if self.mode == Mode::Tree {
                self.fold(Some(right));
            }
            return;
        }
        let (lists, at) = (self.sheet.lists.len(), self.sheet.list);
        if lists > 1 {
            let state = self.cursor_mut();
            state.list = if right { (at + 1) % lists } else { (at + lists - 1) % lists };
            (state.cursor, state.first, state.key) = (0, 0, None);
            self.is_stale = true;
        }
    }

    /// Folds or unfolds the selected actor; `None` toggles. Folding an actor that is folded or has no children selects its
    /// parent.
    fn fold(&mut self, unfold: Option<bool>) {
        let Some(cursor) = self.cursor_state().map(|state| state.cursor) else { return };
        let (Rows::Actors(rows), Some(tick)) = (&self.sheet.rows, self.tick()) else { return };
        let Some(branch) = rows.get(cursor).copied().filter(|branch| branch.level.is_some()) else { return };
        let Some(tree) = tick.listed.as_ref().map(|listed| &listed.tree) else { return };
        let Some(key) = tree.actors().get(branch.number).map(|actor| actor.key()) else { return };
        match (branch.fold, unfold) {
            (Fold::Open, Some(false) | None) => _ = self.folded.insert(key),
            (Fold::Folded, Some(true) | None) => _ = self.folded.remove(&key),
            (Fold::Leaf | Fold::Folded, Some(false)) => {
                let above = tree.forest().above(branch.number);
                if let Some(at) = above.and_then(|above| rows.iter().position(|row| row.number == above)) {
                    self.cursor_mut().cursor = at;
                    self.select();
                }
                return;
            }
            _ => return,
        }
        self.is_stale = true;
    }

    fn fold_all(&mut self) {
        let Some(listed) = self.tick().and_then(|tick| tick.listed.clone()) else { return };
        if self.folded.is_empty() {
            let (actors, forest) = (listed.tree.actors(), listed.tree.forest());
            let has_some = |number: &u32| forest.below(Some(*number)).next().is_some();
            let numbers = (0..actors.len() as u32).filter(has_some);
            self.folded = numbers.filter_map(|number| Some(actors.get(number)?.key())).collect();
            // Only roots stay visible, so the root of the selected actor is selected.
            let state = self.cursors.entry(self.view).or_default();
            if let Rows::Actors(rows) = &self.sheet.rows {
                let mut root = rows.get(state.cursor).map(|branch| branch.number);
                while let Some(above) = root.and_then(|number| forest.above(number)) {
                    root = Some(above);
                }
                let key = root.and_then(|number| actors.get(number)).map(|actor| actor.key());
                (state.key, state.cursor) = (key.map(RowKey::Actor), state.cursor.max(1));
            }
        } else {
            self.folded.clear();
        }
        self.is_stale = true;
    }

    fn open(&mut self) -> Vec<Effect> {
        match self.overlay {
            Some(_) => self.overlay = None,
            None if self.view == View::Nodes => return self.open_node(),
            None if self.view == View::Overview || self.sheet.len() == 0 => {}
            None if self.view == View::Records && self.sheet.list == 0 => self.open_kind(),
            None => (self.overlay, self.overlay_first) = (Some(Overlay::Detail), 0),
        }
        Vec::new()
    }

    /// Goes from the list of the kinds of records to the list of the selected kind.
    fn open_kind(&mut self) {
        let cursor = self.cursor_state().map_or(0, |state| state.cursor);
        let row = self.sheet.row(cursor, self.source());
        let column = self.sheet.columns.iter().position(|column| column.name == KIND_INDEX);
        let Some(Value::Number(kind)) = column.and_then(|at| row.get(at)) else { return };
        let list = *kind as usize + 1;
        self.is_stale = true;
        // The filter was for the kind.
        *self.cursor_mut() = CursorState {
            list,
            sorts: std::mem::take(&mut self.cursor_mut().sorts),
            ..CursorState::default()
        };
    }

    /// Goes from the list of a kind of records to the list of the kinds.
    fn close_kind(&mut self) {
        let kinds = self.tick().map(|tick| &tick.snapshot.own_records.kinds);
        let kind = kinds.and_then(|kinds| kinds.get(self.sheet.list.checked_sub(1)?));
        let key = kind.map(|kind| RowKey::Texts(vec![kind.name.clone()]));
        self.is_stale = true;
        let state = self.cursor_mut();
        // A selection of the first row is not kept by its key.
        (state.list, state.cursor, state.key) = (0, 1, key);
    }

    /// The open node.
    fn watched(&self) -> Option<&RegionSummary> {
        self.summary.as_ref().filter(|_| self.is_watching)
    }

    fn open_node(&mut self) -> Vec<Effect> {
        let cursor = self.cursor_state().map_or(0, |state| state.cursor);
        let Some(RowKey::Texts(texts)) = self.sheet.row_key(cursor, None) else { return Vec::new() };
        // The path identifies the node.
        let chosen = self.nodes.iter().find(|row| texts.last() == Some(&row.shown_path)).cloned();
        match chosen.map(|row| (row.summary, row.why)) {
            // The node is open already.
            Some((Some(summary), _))
                if self.watched().is_some_and(|watched| watched.is_of_same_node(&summary))
                    && self.lost.is_none() =>
            {
                self.go(self.from)
            }
            Some((Some(summary), _)) => {
                let mut effects = vec![self.watch(summary)];
                effects.extend(self.go(self.home));
                effects
            }
            Some((None, why)) => {
                self.say(format!("this node cannot be opened: {}", why.unwrap_or_default()), true);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Undoes one step: closes the overlay, leaves the past, clears the filter, or goes to the list of kinds or of nodes.
    fn back(&mut self) -> Vec<Effect> {
        if self.overlay.is_some() {
            self.close_overlay();
            self.is_stale = true;
            return Vec::new();
        }
        if self.is_held() && self.view != View::Nodes {
            self.step(usize::MAX, false);
            return Vec::new();
        }
        if !self.cursor_mut().filter.is_empty() {
            self.cursor_mut().filter.clear();
            self.is_stale = true;
            return Vec::new();
        }
        if self.view == View::Records && self.sheet.list > 0 {
            self.close_kind();
            return Vec::new();
        }
        if self.view != View::Nodes {
            return self.go(View::Nodes);
        }
        if self.is_watching { self.go(self.from) } else { Vec::new() }
    }

    fn sort_by(&mut self, step: isize) {
        let shown: Vec<&'static str> =
            self.sheet.columns.iter().filter(|column| column.is_shown).map(|column| column.name).collect();
        if shown.is_empty() || self.view == View::Events {
            self.say("this view cannot be sorted", true);
            return;
        }
        let (name, own) = (self.sheet.name, self.sheet.own_order);
        let state = self.cursor_mut();
        let column = state.sorts.get(name).map(|sort| sort.column).or(own);
        let at = column.and_then(|column| shown.iter().position(|shown| *shown == column));
        // The list's own order is that of a column, or else it is before the first one.
        let mut orders: Vec<Option<&'static str>> = shown.iter().copied().map(Some).collect();
        if own.is_none() {
            orders.insert(0, None);
        }
        let at = at.map_or(0, |at| at as isize + isize::from(own.is_none())) + step;
        match orders[at.rem_euclid(orders.len() as isize) as usize] {
            Some(column) if Some(column) != own => {
                _ = state.sorts.insert(name, Sort { column, reverse: false });
            }
            _ => _ = state.sorts.remove(name),
        }
        self.select_first();
    }

    /// Selects the first row of a new order, unless the details of a row are open.
    fn select_first(&mut self) {
        self.is_stale = true;
        if self.overlay.is_none() {
            let state = self.cursor_mut();
            (state.cursor, state.first, state.key) = (0, 0, None);
        }
    }

    fn reverse(&mut self) {
        let name = self.sheet.name;
        if self.view == View::Events || self.view == View::Overview {
            return self.say("this view cannot be sorted", true);
        }
        let state = self.cursor_mut();
        let sort = state.sorts.entry(name).or_insert(Sort { column: OWN_ORDER, reverse: false });
        sort.reverse = !sort.reverse;
        if *sort == (Sort { column: OWN_ORDER, reverse: false }) {
            state.sorts.remove(name);
        }
        self.select_first();
    }

    /// The topic after the selected one: first the built-in ones, then those that the application named.
    fn next_topic(&self) -> Option<Box<str>> {
        let built_in = TelemetryEvent::ALL_TOPICS;
        let own = self.events.iter().map(|(_, event)| &*event.topic);
        let own: BTreeSet<_> = own.filter(|topic| !topic.is_empty() && !built_in.contains(topic)).collect();
        let mut topics = built_in.iter().copied().chain(own);
        match &self.topic {
            None => topics.next().map(Box::from),
            Some(selected) => topics.skip_while(|topic| *topic != &**selected).nth(1).map(Box::from),
        }
    }

    fn freeze(&mut self) {
        if self.is_held() {
            return self.step(usize::MAX, false);
        }
        self.hold(self.newest.clone());
        self.is_frozen = self.held.is_some();
        self.is_stale = true;
    }

    /// Shows this tick, or with `None` the newest.
    fn hold(&mut self, tick: Option<Arc<Tick>>) {
        self.held_events = match (&tick, self.held_events.take()) {
            (None, _) => None,
            (Some(_), Some(events)) => Some(events),
            (Some(_), None) => Some(self.events.clone()),
        };
        (self.held, self.is_frozen) = (tick, false);
    }

    /// Steps into the past, or out of it.
    fn step(&mut self, steps: usize, back: bool) {
        for _ in 0..steps {
            let Some(at) = self.tick().map(|tick| tick.at) else { return };
            let next = if back { self.history.before(at) } else { self.history.after(at) };
            match next.cloned() {
                None if back => {
                    self.say("no older snapshot is kept", true);
                    break;
                }
                Some(tick)
                    if back
                        || steps != usize::MAX && self.history.newest().is_some_and(|n| n.at != tick.at) =>
                {
                    self.hold(Some(tick));
                }
                _ => {
                    self.hold(None);
                    break;
                }
            }
        }
        self.is_stale = true;
    }

    /// Makes totals count from the shown tick, or again from the start of the node.
    fn reset(&mut self) {
        self.is_stale = true;
        if self.baseline.take().is_some() {
            return self.say("totals count from the start of the node", false);
        }
        let Some(tick) = self.tick().cloned() else { return };
        self.baseline =
            Some(Baseline { snapshot: Arc::clone(&tick.snapshot), classes: Arc::clone(&tick.classes) });
        self.shows_rates = false;
        let when = if self.is_held() { "the shown time" } else { "now" };
        self.say(
            format!("totals count from {when}; press z again to count from the start of the node"),
            false,
        );
    }

    fn set_interval(&mut self, longer: bool) -> Vec<Effect> {
        let now = self.interval.as_millis() as u64;
        let next = if longer {
            INTERVALS_MS.iter().find(|ms| **ms > now)
        } else {
            INTERVALS_MS.iter().rev().find(|ms| **ms < now)
        };
        let Some(ms) = next else { return Vec::new() };
        self.interval = Duration::from_millis(*ms);
        self.say(format!("a snapshot every {}", self.interval_text()), false);
        vec![Effect::Command(Command::Every(self.interval))]
    }

    /// Whether the shown tick is saved: the region has a newer state, or cannot be read any more.
    fn saves_tick(&self) -> bool {
        self.is_held() || self.lost.is_some() || self.is_past_only
    }

    fn prompt_for_file(&mut self) {
        let Some(tick) = self.tick() else { return self.say("there is nothing to save yet", true) };
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let node: String = tick.snapshot.identity.node.chars().take(64).map(plain).collect();
        let time = rfc3339(tick.snapshot.taken_at.unix_ns).replace(['-', ':'], "");
        let time = time.get(..15).unwrap_or_default();
        let ending = if self.saves_tick() { "json" } else { "raw" };
        self.overlay = None;
        self.prompt = Some(Prompt::Save(Input::new(format!("{node}-{time}Z.{ending}"))));
    }

    /// Handles a key of the prompt.
    fn type_in(&mut self, key: &KeyEvent) -> Vec<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let is_end = key.code == KeyCode::Esc || control && key.code == KeyCode::Char('c');
        let Some(prompt) = &mut self.prompt else { return Vec::new() };
        let (Prompt::Filter(input, _) | Prompt::Save(input)) = prompt;
        if !is_end && key.code != KeyCode::Enter {
            if let Some(request) = request(key) {
                input.handle(request);
            }
            if let Prompt::Filter(input, _) = prompt {
                let filter = input.value().to_owned();
                self.set_filter(self.view, &filter);
            }
            return Vec::new();
        }
        match self.prompt.take() {
            Some(Prompt::Filter(_, before)) if is_end => self.set_filter(self.view, &before),
            Some(Prompt::Save(input)) if !is_end && !input.value().trim().is_empty() => {
                let past = if self.saves_tick() { self.tick().cloned() } else { None };
                let file = input.value().trim();
                self.saving = (self.number, file.to_owned());
                return vec![Effect::Command(Command::Save(PathBuf::from(file), past))];
            }
            _ => {}
        }
        Vec::new()
    }
}

/// How a key edits a line of text.
fn request(key: &KeyEvent) -> Option<InputRequest> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    Some(match key.code {
        KeyCode::Char('b') if alt => InputRequest::GoToPrevWord,
        KeyCode::Char('f') if alt => InputRequest::GoToNextWord,
        KeyCode::Char('d') if alt => InputRequest::DeleteNextWord,
        KeyCode::Char(_) if alt => return None,
        KeyCode::Char('u') if control => InputRequest::DeleteLine,
        KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
        KeyCode::Char('k') if control => InputRequest::DeleteTillEnd,
        KeyCode::Char('a') if control => InputRequest::GoToStart,
        KeyCode::Char('e') if control => InputRequest::GoToEnd,
        KeyCode::Char(c) if !control => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}
