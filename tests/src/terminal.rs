//! A program on a pseudo-terminal: the test types keys and reads the screen.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::{Command as Program, Pty, open};
use vt100::Parser;

use crate::support::PATIENCE;

/// A program on its own terminal. Drop kills the program.
pub struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<Mutex<Screen>>,
}

/// The state of a terminal.
struct Screen {
    parser: Parser,
    /// All bytes that the program wrote.
    written: Vec<u8>,
    is_closed: bool,
}

fn some(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a terminal has columns and rows")
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl Terminal {
    /// Starts a program on a terminal of so many columns and rows.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
        [columns, rows]: [u16; 2],
    ) -> Self {
        let (pty, pts) = open().expect("a pseudo-terminal");
        pty.resize(Size::new(rows, columns)).expect("a terminal can be resized");
        let command = Program::new(program)
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("LC_ALL")
            .env_remove("LC_CTYPE")
            .env("LANG", "C.UTF-8")
            .envs(environment.iter().copied());
        let child = command.spawn(pts).expect("the program can be started");
        let pty = Arc::new(pty);
        let parser = Parser::new(some(rows), some(columns), 0);
        let screen = Arc::new(Mutex::new(Screen { parser, written: Vec::new(), is_closed: false }));
        let (from, to) = (Arc::clone(&pty), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let read = (&*from).read(&mut bytes).unwrap_or(0);
                let mut screen = to.lock().expect("the screen");
                if read == 0 {
                    // No process has the terminal open any more.
                    screen.is_closed = true;
                    return;
                }
                screen.parser.process(&bytes[..read]);
                screen.written.extend_from_slice(&bytes[..read]);
            }
        });
        Self { child, pty, screen }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().expect("the screen")
    }

    /// The text of the screen.
    pub fn text(&self) -> String {
        self.screen().parser.screen().contents()
    }

    /// All bytes that were written to the terminal so far.
    pub fn written(&self) -> Vec<u8> {
        self.screen().written.clone()
    }

    /// Whether the program uses the alternate screen and hides the cursor.
    pub fn is_taken(&self) -> bool {
        self.screen().parser.screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub fn hides_cursor(&self) -> bool {
        self.screen().parser.screen().hide_cursor()
    }

    /// Types keys.
    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("a terminal can be typed into");
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, [columns, rows]: [u16; 2]) {
        self.screen().parser.screen_mut().set_size(some(rows), some(columns));
        self.pty.resize(Size::new(rows, columns)).expect("a terminal can be resized");
    }

    /// Waits until `is_so` returns true for the screen.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if is_so(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}:\n{text}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Waits until the screen shows this text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(&format!("there is {text:?}"), |screen| screen.contains(text))
    }

    /// Process id of the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program a signal by its name in the shell, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("kill can be run").success(), "could not send SIG{name}");
    }

    /// Waits for the end of the program, and until all of its output was read.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().expect("it can be waited for");
            if let Some(status) = ended.filter(|_| self.screen().is_closed) {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
