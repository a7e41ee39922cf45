//! The terminal while `top` runs: entered at the start, restored at the end and before a panic is reported. The terminal
//! can be closed at any time, so errors while it is restored are ignored.

use std::io::{self, BufWriter, Write as _};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{execute, queue};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};
use ratatui::{CompletedFrame, Frame, Terminal};

use crate::program::output::Interruptible;

/// Whether the terminal must be restored.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

/// The terminal of stdout in raw mode, on its alternate screen; restored on drop.
pub struct TerminalGuard {
    // Never dropped: Ratatui's drop reports on stderr when the cursor cannot be shown, and panics if stderr is closed.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Interruptible>>>>,
}

impl TerminalGuard {
    pub fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                report(info);
            }));
        });
        let entered = enter().and_then(|()| {
            let out = BufWriter::new(Interruptible::stdout()?);
            Terminal::new(CrosstermBackend::new(out))
        });
        match entered {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal) }),
            Err(error) => {
                // The first steps may have succeeded.
                restore();
                Err(error)
            }
        }
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<CompletedFrame<'_>> {
        self.terminal.draw(draw)
    }

    /// Restores the terminal, calls `to`, and enters the terminal again.
    pub fn lend(&mut self, to: impl FnOnce()) -> io::Result<()> {
        restore();
        to();
        enter()?;
        self.draw_anew();
        Ok(())
    }

    /// Makes the next drawing write every cell. Ratatui's own `clear` would ask the terminal for the cursor position, and
    /// the thread that reads keys would receive the answer.
    pub fn draw_anew(&mut self) {
        if let Ok(size) = self.terminal.size() {
            let _ = self.terminal.resize(Rect::from((Position::ORIGIN, size)));
        }
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        restore();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    IS_ENTERED.store(true, Ordering::Relaxed);
    execute!(Interruptible::stdout()?, EnterAlternateScreen)
}

/// Does nothing if the terminal is restored already: leaving the alternate screen twice would move the cursor over text
/// that was written in between.
fn restore() {
    if !IS_ENTERED.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = disable_raw_mode();
    let mut bytes = Vec::new();
    let _ = queue!(bytes, LeaveAlternateScreen, Show);
    let _ = Interruptible::stdout().and_then(|mut out| out.write_all(&bytes));
}
