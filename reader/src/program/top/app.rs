//! The screen's state, and how news and keys change it. It owns all that is drawn, and touches nothing else.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atomscope::attach::RegionSummary;
use atomscope::liveness::Liveness;
use atomscope_layout::decode::rfc3339;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::table::Key;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::history::{EventLog, History, Points};
use super::keys::{self, Action};
use super::sheet::{Baseline, Fold, Mode, OWN_ORDER, RowKey, Rows, Sheet, SheetRequest, Sort, Source, sheet};
use super::tick::{EventRow, News, Order, Tick};
use super::view::View;
use atomscope::report::human::duration;
use atomscope::report::nodes::NodeRow;

/// What an interval can be, in milliseconds.
const INTERVALS_MS: [u64; 10] = [100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000];
/// Steps that the key for many goes into the past.
const FAR: usize = 10;
/// How long a message is shown.
const MESSAGE_FOR: Duration = Duration::from_secs(8);

/// What there is to do beside the screen.
#[derive(Debug)]
pub enum Do {
    Order(Order),
    Quit,
    Suspend,
    Redraw,
}

/// A place in a view.
#[derive(Debug, Default)]
pub struct Place {
    /// The selected row, and what is seen first.
    pub cursor: usize,
    pub first: usize,
    /// The same row at the next look.
    ident: Option<RowKey>,
    /// The actor that was selected last, to be found again after a list of something else.
    actor: Option<RowKey>,
    pub list: usize,
    pub filter: String,
    sorts: HashMap<&'static str, Sort>,
}

/// What is typed into.
#[derive(Debug)]
pub enum Prompt {
    /// With the filter that was there before.
    Filter(Input, String),
    Save(Input),
}

/// What lies over a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Help,
    Detail,
}

/// What is said for a while.
#[derive(Debug)]
pub struct Message {
    pub text: String,
    pub is_bad: bool,
    until: Instant,
}

/// What is kept of a node while another one is looked at.
#[derive(Debug)]
struct Kept {
    glance: RegionSummary,
    successor: Option<RegionSummary>,
    newest: Arc<Tick>,
    history: History,
    points: Points,
    events: EventLog,
}

/// All of it.
#[derive(Debug)]
pub struct App {
    pub interval: Duration,
    /// The newest look.
    newest: Option<Arc<Tick>>,
    /// What is shown instead of it: the past, or what was there when the screen was frozen.
    held: Option<Arc<Tick>>,
    /// The events that there were by the time that it was: those that are shown must not go away.
    held_events: Option<EventLog>,
    pub is_frozen: bool,
    pub history: History,
    pub points: Points,
    pub events: EventLog,
    baseline: Option<Baseline>,
    pub nodes: Vec<NodeRow>,
    /// What is said of those that are not among them.
    pub notes_of_nodes: Vec<String>,
    /// Whether a node is looked at, and not only the list of nodes.
    pub is_watching: bool,
    glance: Option<RegionSummary>,
    /// Whether it had ended when it was looked at last, so that nothing but what is kept of it is shown.
    is_kept: bool,
    /// The node that was looked at before it.
    kept: Option<Kept>,
    history_bytes: usize,
    /// Of the node that is looked at: how many there were before.
    number: u64,
    /// Why there are no more looks.
    pub lost: Option<String>,
    pub successor: Option<RegionSummary>,
    pub view: View,
    /// Where one begins with a node.
    home: View,
    /// Where one was before the list of nodes.
    from: View,
    /// Whether the node that is looked at is to be found in the list of nodes.
    seeks: bool,
    places: HashMap<View, Place>,
    pub mode: Mode,
    folded: HashSet<Key>,
    pub topic: Option<&'static str>,
    pub follows: bool,
    pub shows_rates: bool,
    pub hides_zeros: bool,
    pub over: Option<Over>,
    /// Lines of what lies over the view that are out of sight above.
    pub over_first: usize,
    pub prompt: Option<Prompt>,
    /// The file that is being written, as it was typed, and the number of its node.
    saving: (u64, String),
    pub message: Option<Message>,
    pub sheet: Sheet,
    is_stale: bool,
    /// Rows that the screen has room for; drawing says it.
    pub page: usize,
    /// Widths that columns have had, so that they do not jump.
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
            glance: node.cloned(),
            is_kept: false,
            kept: None,
            history_bytes,
            number: 0,
            lost: None,
            successor: None,
            view: if is_watching { view } else { View::Nodes },
            home,
            from: home,
            seeks: true,
            places: HashMap::new(),
            mode: Mode::default(),
            folded: HashSet::new(),
            topic: None,
            follows: true,
            shows_rates: true,
            hides_zeros: false,
            over: None,
            over_first: 0,
            prompt: None,
            saving: Default::default(),
            message: None,
            sheet: Sheet::default(),
            is_stale: true,
            page: 1,
            widths: HashMap::new(),
        }
    }

    /// What is shown.
    pub fn tick(&self) -> Option<&Arc<Tick>> {
        self.held.as_ref().or(self.newest.as_ref())
    }

    /// How the node is now, if that is not what is shown.
    pub fn liveness_now(&self) -> Option<Liveness> {
        let [now, shown] = [self.newest.as_ref()?, self.held.as_ref()?].map(|tick| tick.snapshot.liveness);
        ((now.verdict, now.notes) != (shown.verdict, shown.notes)).then_some(now)
    }

    /// Whether that is not the newest there is, or will not become so.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether a list of the actors is shown, for which they must be listed.
    pub fn shows_actors(&self) -> bool {
        self.view == View::Actors && self.mode != Mode::Classes
    }

    /// The events that belong to what is shown.
    pub fn shown_events(&self) -> &EventLog {
        self.held_events.as_ref().unwrap_or(&self.events)
    }

    /// When totals were reset, if what is shown is not of before that.
    pub fn reset_at(&self) -> Option<i128> {
        let shown = self.tick()?.snapshot.taken;
        let reset = self.baseline.as_ref().map(|baseline| baseline.snapshot.taken);
        reset.filter(|reset| !reset.is_after(&shown)).map(|reset| reset.unix_ns)
    }

    pub fn source(&self) -> Source<'_> {
        let until = self.held.as_ref().map(|tick| tick.snapshot.taken);
        Source {
            tick: self.tick().map(|tick| &**tick),
            events: self.shown_events(),
            until,
            nodes: &self.nodes,
            watched: self.watched(),
        }
    }

    /// Between two looks, for people.
    pub fn interval_text(&self) -> String {
        match self.interval.as_millis() {
            ms @ ..1000 => format!("{ms} ms"),
            _ => duration(self.interval),
        }
    }

    pub fn place(&self) -> Option<&Place> {
        self.places.get(&self.view)
    }

    fn place_mut(&mut self) -> &mut Place {
        self.places.entry(self.view).or_default()
    }

    /// Takes a filter as if it had been typed.
    pub fn set_filter(&mut self, view: View, filter: &str) {
        self.places.entry(view).or_default().filter = filter.to_owned();
        self.is_stale = true;
    }

    pub fn say(&mut self, text: impl Into<String>, is_bad: bool) {
        self.message = Some(Message { text: text.into(), is_bad, until: Instant::now() + MESSAGE_FOR });
    }

    /// What the collector says.
    pub fn hear(&mut self, news: News) {
        match news {
            // Of a node that was looked at before nothing is wanted any more.
            News::Tick(number, ..) | News::Lost(number, _) | News::Successor(number, _)
                if number != self.number => {}
            News::Tick(_, tick, events) => self.take(*tick, events),
            News::Lost(_, why) => self.lost = Some(why),
            News::Nodes(Ok((nodes, notes))) => {
                (self.nodes, self.notes_of_nodes) = (nodes, notes);
                self.is_stale |= self.view == View::Nodes;
            }
            News::Nodes(Err(why)) => self.say(why, true),
            News::Successor(_, glance) => self.successor = Some(*glance),
            News::Saved(Ok(file)) => self.say(format!("written to {file}"), false),
            News::Saved(Err(why)) => {
                self.say(why, true);
                // What was typed is there to be mended, if it is about the same node.
                let (number, file) = std::mem::take(&mut self.saving);
                if number == self.number && self.view != View::Nodes && self.prompt.is_none() {
                    self.prompt = Some(Prompt::Save(Input::new(file)));
                }
            }
            News::Input(_) | News::NoInput => {}
        }
    }

    fn take(&mut self, tick: Tick, events: Vec<EventRow>) {
        let tick = Arc::new(tick);
        self.lost = None;
        self.points.push(tick.at, tick.point);
        self.history.push(Arc::clone(&tick));
        self.newest = Some(tick);
        events.into_iter().for_each(|event| self.events.push(event));
        self.is_stale |= self.held.is_none() && self.view != View::Nodes;
    }

    /// Looks at another node. Of the one before, its past is kept; of two before, nothing.
    fn watch(&mut self, glance: RegionSummary) -> Do {
        let again = self.kept.take().filter(|kept| kept.glance.is_of_same_node(&glance));
        let history = std::mem::replace(&mut self.history, History::new(self.history_bytes));
        let (points, events) = (std::mem::take(&mut self.points), std::mem::take(&mut self.events));
        let left = self.glance.take().zip(self.newest.take());
        let successor = self.successor.take();
        self.kept = left.map(|(glance, newest)| Kept { glance, successor, newest, history, points, events });
        (self.held, self.held_events, self.is_frozen) = (None, None, false);
        (self.baseline, self.lost, self.is_kept) = (None, None, false);
        // Nothing of one node is to be taken for another's.
        self.close();
        self.places.values_mut().for_each(|place| (place.ident, place.actor) = (None, None));
        if let Some(again) = again {
            self.is_kept = again.newest.is_last();
            (self.history, self.points, self.successor) = (again.history, again.points, again.successor);
            self.newest = Some(again.newest);
            // Of a node that goes on, the events that there are are read anew.
            self.events = if self.is_kept { again.events } else { EventLog::after_others() };
        }
        if let Some(kept) = &mut self.kept {
            kept.history.limit(self.history_bytes / 2);
            self.history.limit(self.history_bytes / 2);
        }
        self.widths.clear();
        self.folded.clear();
        self.is_watching = true;
        self.is_stale = true;
        self.number += 1;
        let order = Order::Watch(self.number, (!self.is_kept).then(|| Box::new(glance.clone())));
        self.glance = Some(glance);
        Do::Order(order)
    }

    /// Takes away what lies over the view.
    fn close(&mut self) {
        (self.over, self.over_first) = (None, 0);
    }

    fn go(&mut self, view: View) -> Vec<Do> {
        if !self.is_watching && view != View::Nodes {
            self.say("no node is chosen: Enter looks at the selected one", true);
            return Vec::new();
        }
        let (was, is) = (self.view == View::Nodes, view == View::Nodes);
        if is && !was {
            (self.from, self.seeks) = (self.view, true);
        }
        self.close();
        (self.view, self.is_stale) = (view, true);
        if was == is { Vec::new() } else { vec![Do::Order(Order::Nodes(is))] }
    }

    /// Makes the sheet anew where something of it has changed, and keeps the selected row.
    pub fn refresh(&mut self) {
        if self.message.as_ref().is_some_and(|message| message.until < Instant::now()) {
            self.message = None;
        }
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let place = self.places.entry(self.view).or_default();
        let (list, filter) = (place.list, place.filter.clone());
        let sorts = place.sorts.clone();
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
                topic: self.topic,
                baseline: self.baseline.as_ref().filter(|_| self.reset_at().is_some()),
                past: (self.view == View::Own).then(|| self.history.extent()),
            },
            self.source(),
        );
        let tick = self.tick().cloned();
        let is_open = self.over == Some(Over::Detail);
        let sought = self.source().watched_row().filter(|_| self.view == View::Nodes && self.seeks);
        let sought = sought.and_then(|row| {
            let idents = (0..made.len()).filter_map(|at| made.row_key(at, None));
            let is_it =
                |of: &RowKey| matches!(of, RowKey::Texts(texts) if texts.last() == Some(&row.shown_path));
            idents.into_iter().find(is_it)
        });
        let place = self.places.entry(self.view).or_default();
        if sought.is_some() {
            (self.seeks, place.ident) = (false, sought);
        }
        // Whoever stands at the top stays there, whatever comes; but a node is not to be taken for another one.
        let stays = place.cursor > 0 || is_open || self.view == View::Nodes;
        let ident = place.ident.as_ref().filter(|_| stays);
        match ident.map(|ident| made.find(ident, tick.as_deref())) {
            Some(Some(at)) => {
                // Where it was on the screen.
                place.first = (place.first + at).saturating_sub(place.cursor);
                place.cursor = at;
            }
            Some(None) if is_open => {
                self.over = None;
                self.say("what was selected is gone", true);
            }
            _ => {}
        }
        self.sheet = made;
        if self.view == View::Events && self.follows && self.over != Some(Over::Detail) {
            self.place_mut().cursor = usize::MAX;
        }
        self.select();
    }

    /// Keeps the cursor among the rows, and remembers what is there.
    fn select(&mut self) {
        let (rows, page) = (self.sheet.len(), self.page.max(1));
        let tick = self.tick().cloned();
        let place = self.places.entry(self.view).or_default();
        place.cursor = place.cursor.min(rows.saturating_sub(1));
        place.first = place.first.clamp(place.cursor.saturating_sub(page - 1), place.cursor);
        place.first = place.first.min(rows.saturating_sub(page));
        place.ident = self.sheet.row_key(place.cursor, tick.as_deref());
        if let Some(RowKey::Actor(_)) = place.ident {
            place.actor = place.ident.clone();
        }
    }

    /// Drawing says how many rows there is room for.
    pub fn set_page(&mut self, rows: usize) {
        if self.page != rows {
            self.page = rows;
            self.select();
        }
    }

    /// To another row; or over the lines of what has none.
    fn move_by(&mut self, rows: isize) {
        // Beside a row that is seen whole, too.
        if self.view == View::Overview || self.over == Some(Over::Help) {
            return self.scroll(rows);
        }
        (self.over_first, self.seeks) = (0, false);
        let place = self.place_mut();
        place.cursor = place.cursor.saturating_add_signed(rows);
        self.select();
        if self.view == View::Events {
            self.follows = self.place().is_some_and(|place| place.cursor + 1 >= self.sheet.len());
        }
    }

    fn scroll(&mut self, lines: isize) {
        self.over_first = self.over_first.saturating_add_signed(lines);
    }

    /// By more than a row: of one that is seen whole, over its lines.
    fn leap(&mut self, rows: isize) {
        if self.over == Some(Over::Detail) { self.scroll(rows) } else { self.move_by(rows) }
    }

    /// What a key does.
    pub fn press(&mut self, key: &KeyEvent) -> Vec<Do> {
        // A key right after Esc comes as one with Alt.
        let is_of_line = self.prompt.is_some() && request(key).is_some();
        if let (KeyCode::Char(_), true, false) =
            (key.code, key.modifiers.contains(KeyModifiers::ALT), is_of_line)
        {
            let mut to_do = self.press(&KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
            self.refresh();
            to_do.extend(self.press(&KeyEvent::new(key.code, key.modifiers - KeyModifiers::ALT)));
            return to_do;
        }
        if self.prompt.is_some() && keys::action(key) != Some(Action::Suspend) {
            return self.type_in(key);
        }
        let Some(action) = keys::action(key) else { return Vec::new() };
        // As in any pager.
        let is_q = key.code == KeyCode::Char('q') && self.over == Some(Over::Help);
        let action = if is_q { Action::Back } else { action };
        if self.message.is_some() {
            self.message = None;
        }
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Vec<Do> {
        let page = self.page.max(2) as isize - 1;
        use Action::{FarFuture, FarPast, Freeze, Future, Past, Rates, Reset, Save, Zeros};
        let is_of_node =
            matches!(action, Save | Freeze | Rates | Reset | Zeros | Past | FarPast | Future | FarFuture);
        if is_of_node && self.view == View::Nodes {
            self.say("that key is for the views of a node; Enter looks at the selected one", true);
            return Vec::new();
        }
        match action {
            Action::Quit => return vec![Do::Quit],
            Action::Suspend => return vec![Do::Suspend],
            Action::Redraw => return vec![Do::Redraw, Do::Order(Order::Now)],
            Action::Help => {
                self.over = if self.over == Some(Over::Help) { None } else { Some(Over::Help) };
                self.over_first = 0;
            }
            Action::Go(view) => return self.go(view),
            Action::NextView | Action::PreviousView => {
                let at = View::ALL.iter().position(|view| *view == self.view).unwrap_or_default();
                let step = if action == Action::NextView { 1 } else { View::ALL.len() - 1 };
                return self.go(View::ALL[(at + step) % View::ALL.len()]);
            }
            Action::Up => self.move_by(-1),
            Action::Down => self.move_by(1),
            Action::PageUp => self.leap(-page),
            Action::PageDown => self.leap(page),
            Action::First => self.leap(isize::MIN),
            Action::Last => self.leap(isize::MAX),
            Action::Left => self.sideways(false),
            Action::Right => self.sideways(true),
            Action::Open => return self.open(),
            Action::Back => return self.back(),
            Action::Filter if self.view != View::Overview => {
                let before = self.place_mut().filter.clone();
                self.over = None;
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
                let topics = TelemetryEvent::ALL_TOPICS;
                self.topic = match self.topic {
                    None => topics.first().copied(),
                    Some(topic) => {
                        let at = topics.iter().position(|known| *known == topic);
                        at.and_then(|at| topics.get(at + 1)).copied()
                    }
                };
                self.is_stale = true;
            }
            Action::Follow if self.view == View::Events => {
                self.follows = !self.follows;
                self.is_stale = true;
            }
            Action::Freeze => self.freeze(),
            Action::Rates if self.tick().is_some_and(|tick| tick.is_last()) => {
                self.say("totals: nothing comes of this node any more, so that there are no rates", false);
            }
            Action::Rates => {
                self.shows_rates = !self.shows_rates;
                self.is_stale = true;
                self.say(if self.shows_rates { "rates, per second" } else { "totals" }, false);
            }
            Action::Reset => self.reset(),
            Action::Slower | Action::Faster => return self.set_interval(action == Action::Slower),
            Action::Zeros => {
                self.hides_zeros = !self.hides_zeros;
                self.is_stale = true;
                let text = if self.hides_zeros { "rows that are all zeros are hidden" } else { "all rows" };
                self.say(text, false);
            }
            Action::Save => self.ask_where(),
            Action::Past => self.step(1, true),
            Action::FarPast => self.step(FAR, true),
            Action::Future => self.step(1, false),
            Action::FarFuture => self.step(usize::MAX, false),
            Action::Successor => {
                let before = || self.kept.as_ref().map(|kept| kept.glance.clone());
                match self.successor.clone().or_else(before) {
                    Some(glance) => {
                        let mut to_do = vec![self.watch(glance)];
                        if self.view == View::Nodes {
                            to_do.extend(self.go(self.from));
                        }
                        return to_do;
                    }
                    None => {
                        self.say(
                            "no successor of this node is to be seen, and none was looked at before it",
                            true,
                        );
                    }
                }
            }
            Action::Filter | Action::Mode | Action::FoldAll | Action::Topic | Action::Follow => {
                self.say("that key does nothing in this view; ? says which do", true);
            }
        }
        Vec::new()
    }

    fn set_mode(&mut self, mode: Mode) {
        (self.mode, self.over, self.is_stale) = (mode, None, true);
        let place = self.place_mut();
        if let (true, Some(actor)) = (mode != Mode::Classes, place.actor.clone()) {
            (place.ident, place.cursor) = (Some(actor), place.cursor.max(1));
        }
    }

    /// In a tree folds and unfolds; elsewhere goes to another list.
    fn sideways(&mut self, right: bool) {
        if self.view == View::Actors {
            if self.mode == Mode::Tree {
                self.fold(Some(right));
            }
            return;
        }
        let (lists, at) = (self.sheet.lists.len(), self.sheet.list);
        if lists > 1 {
            let place = self.place_mut();
            place.list = if right { (at + 1) % lists } else { (at + lists - 1) % lists };
            (place.cursor, place.first, place.ident) = (0, 0, None);
            self.is_stale = true;
        }
    }

    /// Folds or unfolds what is selected, or turns it round; folding what has nothing to fold goes up.
    fn fold(&mut self, unfold: Option<bool>) {
        let Some(cursor) = self.place().map(|place| place.cursor) else { return };
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
                    self.place_mut().cursor = at;
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
            // Of the selected one only the root above it is left.
            let place = self.places.entry(self.view).or_default();
            if let Rows::Actors(rows) = &self.sheet.rows {
                let mut root = rows.get(place.cursor).map(|branch| branch.number);
                while let Some(above) = root.and_then(|number| forest.above(number)) {
                    root = Some(above);
                }
                let key = root.and_then(|number| actors.get(number)).map(|actor| actor.key());
                (place.ident, place.cursor) = (key.map(RowKey::Actor), place.cursor.max(1));
            }
        } else {
            self.folded.clear();
        }
        self.is_stale = true;
    }

    fn open(&mut self) -> Vec<Do> {
        match self.over {
            Some(_) => self.over = None,
            None if self.view == View::Nodes => return self.open_node(),
            None if self.view == View::Overview || self.sheet.len() == 0 => {}
            None => (self.over, self.over_first) = (Some(Over::Detail), 0),
        }
        Vec::new()
    }

    /// The node that is looked at.
    fn watched(&self) -> Option<&RegionSummary> {
        self.glance.as_ref().filter(|_| self.is_watching)
    }

    fn open_node(&mut self) -> Vec<Do> {
        let cursor = self.place().map_or(0, |place| place.cursor);
        let Some(RowKey::Texts(texts)) = self.sheet.row_key(cursor, None) else { return Vec::new() };
        // The file tells it from all others.
        let chosen = self.nodes.iter().find(|row| texts.last() == Some(&row.shown_path)).cloned();
        match chosen.map(|row| (row.glance, row.why)) {
            // What is known of it is kept.
            Some((Some(glance), _))
                if self.watched().is_some_and(|watched| watched.is_of_same_node(&glance))
                    && self.lost.is_none() =>
            {
                self.go(self.from)
            }
            Some((Some(glance), _)) => {
                let mut to_do = vec![self.watch(glance)];
                to_do.extend(self.go(self.home));
                to_do
            }
            Some((None, why)) => {
                self.say(format!("it cannot be looked at: {}", why.unwrap_or_default()), true);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// One thing at a time, the nearest first.
    fn back(&mut self) -> Vec<Do> {
        if self.over.is_some() {
            self.close();
            self.is_stale = true;
            return Vec::new();
        }
        if self.is_held() && self.view != View::Nodes {
            self.step(usize::MAX, false);
            return Vec::new();
        }
        if !self.place_mut().filter.is_empty() {
            self.place_mut().filter.clear();
            self.is_stale = true;
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
            self.say("this view has an order of its own", true);
            return;
        }
        let name = self.sheet.name;
        let place = self.place_mut();
        let at = place.sorts.get(name).and_then(|sort| shown.iter().position(|shown| *shown == sort.column));
        // Before the first there is the order that the list has by itself.
        let next = at.map_or(0, |at| at as isize + 1) + step;
        match next.rem_euclid(shown.len() as isize + 1) {
            0 => _ = place.sorts.remove(name),
            next => {
                _ = place.sorts.insert(name, Sort { column: shown[next as usize - 1], reverse: false });
            }
        }
        self.begin_again();
    }

    /// To the first row of another order, but for a row that is seen whole.
    fn begin_again(&mut self) {
        self.is_stale = true;
        if self.over.is_none() {
            let place = self.place_mut();
            (place.cursor, place.first, place.ident) = (0, 0, None);
        }
    }

    fn reverse(&mut self) {
        let name = self.sheet.name;
        if self.view == View::Events || self.view == View::Overview {
            return self.say("this view has an order of its own", true);
        }
        let place = self.place_mut();
        let sort = place.sorts.entry(name).or_insert(Sort { column: OWN_ORDER, reverse: false });
        sort.reverse = !sort.reverse;
        if *sort == (Sort { column: OWN_ORDER, reverse: false }) {
            place.sorts.remove(name);
        }
        self.begin_again();
    }

    fn freeze(&mut self) {
        if self.is_held() {
            return self.step(usize::MAX, false);
        }
        self.hold(self.newest.clone());
        self.is_frozen = self.held.is_some();
        self.is_stale = true;
    }

    /// Shows this look, or with `None` the newest.
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
                    self.say("there is nothing kept of before that", true);
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

    fn reset(&mut self) {
        self.is_stale = true;
        if self.baseline.take().is_some() {
            return self.say("totals count from the node's start", false);
        }
        let Some(tick) = self.tick().cloned() else { return };
        self.baseline =
            Some(Baseline { snapshot: Arc::clone(&tick.snapshot), classes: Arc::clone(&tick.classes) });
        self.shows_rates = false;
        let when = if self.is_held() { "the time that is shown" } else { "now" };
        self.say(format!("totals count from {when} on; z once more: from the node's start"), false);
    }

    fn set_interval(&mut self, longer: bool) -> Vec<Do> {
        let now = self.interval.as_millis() as u64;
        let next = if longer {
            INTERVALS_MS.iter().find(|ms| **ms > now)
        } else {
            INTERVALS_MS.iter().rev().find(|ms| **ms < now)
        };
        let Some(ms) = next else { return Vec::new() };
        self.interval = Duration::from_millis(*ms);
        self.say(format!("a look every {}", self.interval_text()), false);
        vec![Do::Order(Order::Every(self.interval))]
    }

    /// Whether it is a look that is saved, as the region is another by now or broken.
    fn saves_look(&self) -> bool {
        self.is_held() || self.lost.is_some() || self.is_kept
    }

    fn ask_where(&mut self) {
        let Some(tick) = self.tick() else { return self.say("there is nothing to write yet", true) };
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let node: String = tick.snapshot.identity.node.chars().take(64).map(plain).collect();
        let time = rfc3339(tick.snapshot.taken.unix_ns).replace(['-', ':'], "");
        let time = time.get(..15).unwrap_or_default();
        let ending = if self.saves_look() { "json" } else { "raw" };
        self.over = None;
        self.prompt = Some(Prompt::Save(Input::new(format!("{node}-{time}Z.{ending}"))));
    }

    fn type_in(&mut self, key: &KeyEvent) -> Vec<Do> {
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
                let past = if self.saves_look() { self.tick().cloned() } else { None };
                let file = input.value().trim();
                self.saving = (self.number, file.to_owned());
                return vec![Do::Order(Order::Save(PathBuf::from(file), past))];
            }
            _ => {}
        }
        Vec::new()
    }
}

/// What a key does to a line of text.
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
