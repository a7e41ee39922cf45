//! `top`: a live screen.
//!
//! ```text
//!   keys ────────┐
//!                ├─ Message ─► app (state) ─► sheet (rows) ─► draw ─► terminal
//!   collector ───┘                │
//!       ▲───────── Command ───────┘
//! ```
//! Three threads: the main thread keeps the state and draws it, one thread reads keys, one reads the node ([`collect`]).
//! Drawing never reads a region.

pub mod app;
pub mod collect;
pub mod draw;
pub mod history;
pub mod keys;
pub mod message;
pub mod save;
pub mod sheet;
pub mod terminal;
pub mod tick;
pub mod view;
pub mod watch;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
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

use crate::program::help::{WHO_HELP, filter_help};
use crate::program::output::{Failure, is_stopped};
use crate::program::table::Screen;
use crate::program::target::{SearchArgs, search, target};
use crate::program::top::app::{App, Effect};
use crate::program::top::collect::Collector;
use crate::program::top::draw::{Theme, draw, needs_redraw};
use crate::program::top::message::{Command, Message};
use crate::program::top::terminal::TerminalGuard;
use crate::program::top::tick::Wanted;
use crate::program::top::view::{View, views_help};
use crate::program::values::{parse_interval, parse_size};

/// Show a node live on a screen: its state, actors, events, subsystems, and the last minutes.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Without WHO, and with several nodes, `top` starts with the list of nodes; Enter opens the selected one. The key ? shows \
all keys. A dump, a wedged node and a dead node can be opened too; the first line shows the state.

Views and their keys:
{}

Other keys:
  /        filter the rows, see Filters below
  < >      sort by another column; r reverses the order
  [ ]      step into the past and back; p freezes the screen
  w        write a dump to a file
  Esc      back; q quits

Exit code: 0 after q, a signal or a closed terminal; 1 if the node cannot be found or stdout is not a terminal.

Examples:
  atomscope top
  atomscope top shop --view actors --filter 'depth > 100 and class ~ Order'
  atomscope top shop.raw
  atomscope top 4711 --interval 250ms

{}
{WHO_HELP}", views_help(), filter_help()))]
pub struct TopArgs {
    /// The node: a pid, a file or a name.
    pub who: Option<OsString>,
    /// Time between two snapshots, such as 5 (seconds), 500ms, 1s or 5m.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub interval: Duration,
    /// Start with this view.
    #[arg(long, value_enum, default_value_t = View::Overview)]
    pub view: View,
    /// Start with this filter in that view; without --view, in the view of actors.
    #[arg(long, value_name = "QUERY")]
    pub filter: Option<String>,
    /// Maximum memory for the past; K, M and G are powers of 1024. When it is full, older snapshots are thinned out.
    #[arg(long, value_name = "BYTES", default_value = "128M", value_parser = parse_size)]
    pub history: u64,
}

/// The delay after which a signal, an ended thread or a closed terminal is noticed.
const NOTICE_WITHIN: Duration = Duration::from_millis(100);
/// The timeout of Crossterm's poll for input. With a timeout of zero it would miss a resize of the terminal.
const INPUT_POLL: Duration = Duration::from_micros(100);
/// Messages that can be pending; a sender blocks when the queue is full.
const MAX_MESSAGES: usize = 64;

pub fn top(search_args: &SearchArgs, args: TopArgs) -> Result<(), Failure> {
    let (summary, note) = choose(search_args, args.who)?;
    check_terminal()?;
    // The overview has no rows to filter.
    let view = if args.filter.is_some() && args.view == View::Overview { View::Actors } else { args.view };
    let mut app = App::new(view, args.interval, args.history as usize, summary.as_ref());
    if let Some(filter) = &args.filter {
        app.set_filter(view, filter);
    }
    if let Some(note) = note {
        app.say(note, false);
    }
    stop_on_signals();
    let screen = Screen::stdout();
    let theme = Theme { colours: screen.colours, ascii: screen.ascii };
    let (messages, received) = sync_channel(MAX_MESSAGES);
    let (commands, collector_commands) = channel();
    let is_tick_pending = Arc::new(AtomicBool::new(false));
    let collector = Collector {
        search_args: search_args.clone(),
        commands: collector_commands,
        messages: messages.clone(),
        is_tick_pending: Arc::clone(&is_tick_pending),
        interval: args.interval,
    };
    // Before the threads start: a panic in one of them then restores the terminal.
    let terminal = match TerminalGuard::enter() {
        Ok(terminal) => terminal,
        Err(error) => return end_of_terminal(&error),
    };
    if app.view == View::Nodes {
        let _ = commands.send(Command::Nodes(true));
    }
    let collecting = thread::Builder::new().name("collector".into()).spawn(move || collector.run(summary));
    let reading = thread::Builder::new().name("keys".into()).spawn(move || read_keys(&messages));
    match (collecting, reading) {
        (Ok(collecting), Ok(_)) => {
            let is_collecting = || !collecting.is_finished();
            let wanted = Wanted::default();
            Loop { app, theme, received, commands, is_tick_pending, wanted, terminal }.run(&is_collecting)
        }
        (Err(error), _) | (_, Err(error)) => Err(Failure::Failed(format!("cannot start a thread: {error}"))),
    }
}

/// The node that the command line names; `None` to start with the list of nodes.
fn choose(
    search_args: &SearchArgs,
    who: Option<OsString>,
) -> Result<(Option<RegionSummary>, Option<String>), Failure> {
    match search(search_args).select(&target(search_args, who)?) {
        Ok(choice) => Ok((Some(choice.summary), choice.note)),
        Err(FindError::Nothing { .. } | FindError::Ambiguous(_)) => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}

fn check_terminal() -> Result<(), Failure> {
    const INSTEAD: &str = "`atomscope show` and `atomscope stat` need no terminal";
    if !io::stdout().is_terminal() {
        return Err(Failure::Failed(format!("stdout is not a terminal, and `top` needs one; {INSTEAD}")));
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Failure::Failed(format!(
            "`top` needs a terminal that can move its cursor, and TERM is `dumb`; {INSTEAD}"
        )));
    }
    Ok(())
}

/// Sends everything that the terminal delivers, until it is closed.
///
/// The wait is our own: Crossterm takes the end of input for input that is still to come and polls for it without a
/// pause, and it spins through the last millisecond of a wait.
fn read_keys(messages: &SyncSender<Message>) {
    if let Ok(input) = input() {
        while wait_for_input(input.as_fd(), NOTICE_WITHIN) && !is_hung_up(io::stdout().as_fd()) {
            if !send_input(messages) {
                break;
            }
        }
    }
    let _ = messages.send(Message::InputClosed);
}

/// Sends all pending input; false if the screen has ended or the input cannot be read.
fn send_input(messages: &SyncSender<Message>) -> bool {
    loop {
        match event::poll(INPUT_POLL).and_then(|is_some| is_some.then(event::read).transpose()) {
            Ok(Some(input)) => {
                if messages.send(Message::Input(input)).is_err() {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The descriptor that keys come from.
fn input() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() { stdin.as_fd().try_clone_to_owned() } else { Ok(File::open("/dev/tty")?.into()) }
}

/// The main thread: it receives messages, changes the state and draws.
struct Loop {
    app: App,
    theme: Theme,
    received: Receiver<Message>,
    commands: Sender<Command>,
    is_tick_pending: Arc<AtomicBool>,
    /// The last [`Command::Want`] that was sent.
    wanted: Wanted,
    terminal: TerminalGuard,
}

impl Loop {
    fn run(mut self, is_collecting: &dyn Fn() -> bool) -> Result<(), Failure> {
        let mut drawn = None;
        loop {
            if self.app.wanted() != self.wanted {
                self.wanted = self.app.wanted();
                let _ = self.commands.send(Command::Want(self.wanted));
            }
            if drawn.is_none_or(|drawn| needs_redraw(&self.app, drawn)) {
                if let Err(error) = self.draw() {
                    return end_of_terminal(&error);
                }
                drawn = Some(Instant::now());
            }
            match self.received.recv_timeout(NOTICE_WITHIN) {
                Ok(first) => {
                    drawn = None;
                    // All pending messages are handled before the next drawing.
                    for message in std::iter::once(first).chain(self.received.try_iter().collect::<Vec<_>>())
                    {
                        if self.receive(message).is_break() {
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
                    "the thread that reads the node has ended, which is a bug in atomscope; please report it"
                        .into(),
                ));
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        // Lets a test see that a panic restores the terminal.
        #[cfg(debug_assertions)]
        assert!(std::env::var_os("ATOMSCOPE_TEST_PANIC").is_none(), "a panic was asked for");
        let Self { app, theme, terminal, .. } = self;
        app.refresh();
        terminal.draw(|frame| draw(frame, app, *theme)).map(drop)
    }

    /// Breaks if the screen is to be closed.
    fn receive(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Input(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                // A key acts on the newest rows, so a tick that came just before it is applied first. A character of a
                // prompt acts on no row, and a pasted text has many of them.
                if self.app.prompt.is_none() {
                    self.app.refresh();
                }
                for effect in self.app.press(&key) {
                    match effect {
                        Effect::Command(command) => _ = self.commands.send(command),
                        Effect::Quit => return ControlFlow::Break(()),
                        Effect::Suspend => self.suspend(),
                        Effect::Redraw => self.terminal.draw_anew(),
                    }
                }
                // The next key may act on what this one has changed.
                if self.app.prompt.is_none() {
                    self.app.refresh();
                }
            }
            // Ratatui reads the new size when it draws.
            Message::Input(Input::Resize(..)) => self.app.widths.clear(),
            Message::Input(_) => {}
            Message::InputClosed => return ControlFlow::Break(()),
            Message::Tick(..) => {
                self.is_tick_pending.store(false, Ordering::Relaxed);
                self.app.receive(message);
            }
            _ => self.app.receive(message),
        }
        ControlFlow::Continue(())
    }

    /// Returns the terminal to the shell until the shell continues this process.
    fn suspend(&mut self) {
        // If the terminal was closed meanwhile, the next drawing fails.
        let _ = self.terminal.lend(suspend);
        let _ = self.commands.send(Command::Now);
    }
}

/// The result after a failed write to the terminal. A closed terminal and a signal are no failure, as for a closed pipe.
fn end_of_terminal(error: &io::Error) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ if error.raw_os_error() == Some(libc::EIO) || is_stopped(error) => Ok(()),
        _ => Err(Failure::Failed(format!("cannot use the terminal: {error}"))),
    }
}
