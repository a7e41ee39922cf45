//! `top`: a screen that is kept open.
//!
//! ```text
//!   keys ────────┐
//!                ├─ News ─► state ─► sheet ─► buffer ─► terminal
//!   collector ───┘            │
//!       ▲────── Order ────────┘
//! ```
//! Three threads: this one keeps the state and draws it, one waits for keys, one looks at the node ([`collect`]). Nothing
//! that is drawn is read from a region while it is drawn.

pub mod app;
pub mod collect;
pub mod draw;
pub mod history;
pub mod keys;
pub mod sheet;
pub mod terminal;
pub mod tick;
pub mod view;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use atomscope::attach::RegionSummary;
use atomscope::find::FindError;
use atomscope::system::{is_hung_up, stop_on_signals, stopped, suspend, wait_for_input};
use clap::Args;
use crossterm::event::{self, Event as Input, KeyEventKind};

use self::app::{App, Do};
use self::collect::Collector;
use self::draw::{Theme, draw, grows_older};
use self::terminal::Taken;
use self::tick::{News, Order};
use self::view::{View, views_help};
use crate::program::help::WHO_HELP;
use crate::program::output::{Failure, is_stopped};
use crate::program::table::Screen;
use crate::program::target::{SearchArgs, meant, search};
use crate::program::values::{parse_interval, parse_size};

/// Show a node live, on a screen that keys steer: its vital signs, actors, events, subsystems, and its last minutes.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Where there are several nodes it begins with a list of them; Enter looks at one. `?` tells all keys. A node that hangs, or \
has died, and a dump are shown as they are, and the screen says so.

{}

  /        filter: a regular expression, `!` before it inverts, or conditions on columns
  < >      sort by another column, r turns the order round
  [ ]      into the past and back; p freezes the screen
  w        write a snapshot to a file
  Esc      back; q quits

Examples:
  atomscope top
  atomscope top shop --view actors --filter 'depth > 100 and class ~ Order'
  atomscope top shop.raw
  atomscope top 4711 --interval 250ms

{WHO_HELP}", views_help()))]
pub struct TopArgs {
    /// Which node: a pid, a file, or a name.
    pub who: Option<OsString>,
    /// Between two looks, such as 5 (seconds), 500ms, 1s or 5m.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Begin with this view.
    #[arg(long, value_enum, default_value_t = View::Overview)]
    pub view: View,
    /// Begin with this filter in that view; of the actors if no view is named.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Memory for the past at most; K, M and G are powers of 1024. What does not fit gets coarse from its old end.
    #[arg(long, value_name = "BYTES", default_value = "128M", value_parser = parse_size)]
    pub history: u64,
}

/// How soon a signal, a thread that has ended, or a terminal that has gone is noticed.
const NOTICE: Duration = Duration::from_millis(100);
/// What Crossterm is given to look for input and for another size of the terminal: it does not look at all in no time.
const GLANCE: Duration = Duration::from_micros(100);
/// News that wait at most; whoever has more waits.
const MOST_NEWS: usize = 64;

/// The node that is meant; `None` if the list of nodes is to be shown.
fn choose(
    place: &SearchArgs,
    who: Option<OsString>,
) -> Result<(Option<RegionSummary>, Option<String>), Failure> {
    match search(place).choose(&meant(place, who)?) {
        Ok(choice) => Ok((Some(choice.glance), choice.note)),
        Err(FindError::Nothing { .. } | FindError::Ambiguous(_)) => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}

pub fn top(place: &SearchArgs, args: TopArgs) -> Result<(), Failure> {
    let (glance, note) = choose(place, args.who)?;
    if !io::stdout().is_terminal() {
        let why = "stdout is no terminal, which `top` needs; `atomscope show` and `atomscope stat` write to anything";
        return Err(Failure::Failed(why.to_owned()));
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        let why = "the terminal is said to be dumb (TERM), and `top` needs one that can place its cursor; `atomscope show` \
                   and `atomscope stat` write to anything";
        return Err(Failure::Failed(why.to_owned()));
    }
    // The overview has no rows to filter.
    let view = if args.filter.is_some() && args.view == View::Overview { View::Actors } else { args.view };
    let mut app = App::new(view, args.interval, args.history as usize, glance.as_ref());
    if let Some(filter) = &args.filter {
        app.set_filter(view, filter);
    }
    if let Some(note) = note {
        app.say(note, false);
    }
    stop_on_signals();
    let screen = Screen::stdout();
    let theme = Theme { colours: screen.colours, ascii: screen.ascii };
    let (news, heard) = sync_channel(MOST_NEWS);
    let (orders, taken) = channel();
    let is_waiting = Arc::new(AtomicBool::new(false));
    let collector = Collector {
        place: place.clone(),
        orders: taken,
        news: news.clone(),
        is_waiting: Arc::clone(&is_waiting),
        interval: args.interval,
    };
    // The terminal first: it is given back by whatever panics from here on.
    let terminal = match Taken::take() {
        Ok(terminal) => terminal,
        Err(error) => return gone(&error),
    };
    if app.view == View::Nodes {
        let _ = orders.send(Order::Nodes(true));
    }
    let collecting = thread::Builder::new().name("collector".into()).spawn(move || collector.run(glance));
    let reading = thread::Builder::new().name("keys".into()).spawn(move || read_keys(&news));
    match (collecting, reading) {
        (Ok(collecting), Ok(_)) => {
            let is_collecting = || !collecting.is_finished();
            let lists_actors = false;
            Loop { app, theme, heard, orders, is_waiting, lists_actors, terminal }.run(&is_collecting)
        }
        (Err(error), _) | (_, Err(error)) => Err(unusable(&error)),
    }
}

fn unusable(error: &io::Error) -> Failure {
    Failure::Failed(format!("the terminal cannot be used: {error}"))
}

/// Hands on what comes of the terminal, until there is nothing more. The wait is our own: Crossterm takes the end of input for
/// input that is yet to come and would look for it without a pause, and it spins through the last millisecond of a wait.
fn read_keys(news: &SyncSender<News>) {
    if let Ok(input) = input() {
        while wait_for_input(input.as_fd(), NOTICE) && !is_hung_up(io::stdout().as_fd()) {
            if !hand_on(news) {
                break;
            }
        }
    }
    let _ = news.send(News::NoInput);
}

/// Hands on what is there; false if nobody listens, or it cannot be read.
fn hand_on(news: &SyncSender<News>) -> bool {
    loop {
        match event::poll(GLANCE).and_then(|is_some| is_some.then(event::read).transpose()) {
            Ok(Some(input)) => {
                if news.send(News::Input(input)).is_err() {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// What keys are read of.
fn input() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() { stdin.as_fd().try_clone_to_owned() } else { Ok(File::open("/dev/tty")?.into()) }
}

struct Loop {
    app: App,
    theme: Theme,
    heard: Receiver<News>,
    orders: Sender<Order>,
    is_waiting: Arc<AtomicBool>,
    /// What the collector was told of that.
    lists_actors: bool,
    terminal: Taken,
}

/// Whether the screen is to be shown any longer.
#[derive(PartialEq, Eq)]
enum Go {
    On,
    Out,
}

impl Loop {
    fn run(mut self, is_collecting: &dyn Fn() -> bool) -> Result<(), Failure> {
        let mut drawn = None;
        loop {
            if self.app.shows_actors() != self.lists_actors {
                self.lists_actors = self.app.shows_actors();
                let _ = self.orders.send(Order::Actors(self.lists_actors));
            }
            if drawn.is_none_or(|drawn| grows_older(&self.app, drawn)) {
                if let Err(error) = self.draw() {
                    return gone(&error);
                }
                drawn = Some(Instant::now());
            }
            match self.heard.recv_timeout(NOTICE) {
                Ok(first) => {
                    drawn = None;
                    // Whatever has come meanwhile is drawn at once.
                    for news in std::iter::once(first).chain(self.heard.try_iter().collect::<Vec<_>>()) {
                        if self.hear(news) == Go::Out {
                            return Ok(());
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if stopped() {
                return Ok(());
            }
            if !is_collecting() {
                return Err(Failure::Failed(
                    "the thread that looks at the node has ended; please report it".into(),
                ));
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        // So that a test can see what a panic leaves.
        #[cfg(debug_assertions)]
        assert!(std::env::var_os("ATOMSCOPE_TEST_PANIC").is_none(), "a panic was asked for");
        let Self { app, theme, terminal, .. } = self;
        app.refresh();
        terminal.draw(|frame| draw(frame, app, *theme)).map(drop)
    }

    fn hear(&mut self, news: News) -> Go {
        match news {
            News::Input(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                // A look may have come right before it: what a key is about is what is there now. What is typed is about
                // nothing, and may be much.
                if self.app.prompt.is_none() {
                    self.app.refresh();
                }
                for to_do in self.app.press(&key) {
                    match to_do {
                        Do::Order(order) => _ = self.orders.send(order),
                        Do::Quit => return Go::Out,
                        Do::Suspend => self.suspend(),
                        Do::Redraw => self.terminal.draw_anew(),
                    }
                }
                // The next key may act on what this one has changed.
                if self.app.prompt.is_none() {
                    self.app.refresh();
                }
            }
            // Another size is seen when it is drawn.
            News::Input(Input::Resize(..)) => self.app.widths.clear(),
            News::Input(_) => {}
            News::NoInput => return Go::Out,
            News::Tick(..) => {
                self.is_waiting.store(false, Ordering::Relaxed);
                self.app.hear(news);
            }
            _ => self.app.hear(news),
        }
        Go::On
    }

    /// Gives the terminal back to the shell until it says to go on.
    fn suspend(&mut self) {
        // Of a terminal that is gone meanwhile the next drawing tells.
        let _ = self.terminal.lend(suspend);
        let _ = self.orders.send(Order::Now);
    }
}

/// A terminal that is gone is no failure, as a reader that has gone is none, nor is a signal.
fn gone(error: &io::Error) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ if error.raw_os_error() == Some(libc::EIO) || is_stopped(error) => Ok(()),
        _ => Err(unusable(error)),
    }
}
