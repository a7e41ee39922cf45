//! The terminal, taken and given back. A terminal may be gone at any time: giving back what is not there any more is no
//! failure, and nothing is said of it.

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

/// Whether there is something to give back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal of stdout, given back when this is dropped and before a panic is told.
pub struct Taken {
    // Ratatui's own end says on stderr that the cursor could not be shown, which panics where stderr is gone too.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Interruptible>>>>,
}

impl Taken {
    /// Takes it.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let tell = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                tell(info);
            }));
        });
        let taken = enter().and_then(|()| {
            let out = BufWriter::new(Interruptible::stdout()?);
            Terminal::new(CrosstermBackend::new(out))
        });
        match taken {
            Ok(terminal) => Ok(Self { terminal: ManuallyDrop::new(terminal) }),
            Err(error) => {
                // It may have been taken half.
                give_back();
                Err(error)
            }
        }
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<CompletedFrame<'_>> {
        self.terminal.draw(draw)
    }

    /// Has somebody else have it for a while.
    pub fn lend(&mut self, to: impl FnOnce()) -> io::Result<()> {
        give_back();
        to();
        enter()?;
        self.draw_anew();
        Ok(())
    }

    /// Has the next drawing draw everything. (Ratatui's own `clear` asks where the cursor is; the answer would come to the
    /// thread that waits for keys.)
    pub fn draw_anew(&mut self) {
        if let Ok(size) = self.terminal.size() {
            let _ = self.terminal.resize(Rect::from((Position::ORIGIN, size)));
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    IS_TAKEN.store(true, Ordering::Relaxed);
    execute!(Interruptible::stdout()?, EnterAlternateScreen)
}

/// Once, however often it is called: leaving the other screen twice moves the cursor over what was written meanwhile.
fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = disable_raw_mode();
    let mut bytes = Vec::new();
    let _ = queue!(bytes, LeaveAlternateScreen, Show);
    let _ = Interruptible::stdout().and_then(|mut out| out.write_all(&bytes));
}
