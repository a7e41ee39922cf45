//! What is shown where there is no UTF-8: ASCII alone. A sign of our own has another one that is as wide; any other
//! character is written out, since to a terminal of another encoding its bytes mean something else, or do something.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::buffer::Buffer;

static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// From now on only ASCII is shown to people.
pub fn want() {
    IS_WANTED.store(true, Ordering::Relaxed);
}

/// Whether only ASCII is shown to people.
pub fn is_wanted() -> bool {
    IS_WANTED.load(Ordering::Relaxed)
}

/// Whether the locale has another encoding than UTF-8. Where none is set, as in most containers, nothing is known of the
/// terminal, and nearly all have UTF-8.
pub fn suits_locale(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name));
    let locale = set.into_iter().find(|value| !value.is_empty());
    let is_utf8 = |locale: &OsStr| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        ["utf-8", "utf8"].iter().any(|encoding| locale.contains(encoding))
    };
    locale.is_some_and(|locale| !is_utf8(&locale))
}

/// What stands for a sign of our own.
fn sign(c: char) -> Option<char> {
    Some(match c {
        '…' => '~',
        '●' => '*',
        '⌀' => '~',
        '✗' => 'x',
        '·' => '.',
        '└' | '├' => '`',
        '─' => '-',
        '│' => '|',
        '▾' => '-',
        '▸' => '+',
        '▲' | '↑' => '^',
        '▼' | '↓' => 'v',
        '‹' | '←' => '<',
        '›' | '→' => '>',
        // How high a line is.
        '▁' => '_',
        '▂' => '.',
        '▃' => ':',
        '▄' => '-',
        '▅' => '=',
        '▆' => '+',
        '▇' => '*',
        '█' => '#',
        _ => return None,
    })
}

/// The text in ASCII.
pub fn text(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match sign(c) {
            _ if c.is_ascii() => out.push(c),
            Some(sign) => out.push(sign),
            None => _ = write!(out, "{}", c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

/// The same for a drawn screen, on which nothing may become wider: what has no sign is a question mark.
pub fn screen(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let first = cell.symbol().chars().next().and_then(sign);
            cell.set_char(first.unwrap_or('?'));
        }
    }
}

/// Writes text in ASCII.
#[derive(Debug)]
pub struct Ascii<W>(pub W);

impl<W: Write> Write for Ascii<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for chunk in bytes.utf8_chunks() {
            self.0.write_all(text(chunk.valid()).as_bytes())?;
            for byte in chunk.invalid() {
                write!(self.0, "\\x{byte:02x}")?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_says_which_encoding_there_is() {
        let suits = |set: &[(&str, &str)]| {
            suits_locale(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into()))
        };
        assert!(!suits(&[]) && !suits(&[("LANG", "")]));
        assert!(!suits(&[("LANG", "de_DE.UTF-8")]) && !suits(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(suits(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(suits(&[("LC_ALL", ""), ("LC_CTYPE", "POSIX"), ("LANG", "C.UTF-8")]));
        assert!(suits(&[("LANG", "de_DE.ISO-8859-1")]) && suits(&[("LANG", "de_DE")]));
    }

    #[test]
    fn signs_stay_as_wide_as_they_are_and_the_rest_is_written_out() {
        assert_eq!(text("● ├─ a…b é漢"), "* `- a~b \\u{e9}\\u{6f22}");
        let mut out = Ascii(Vec::new());
        out.write_all("└─ ö".as_bytes()).unwrap();
        out.write_all(b"\xff").unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), "`- \\u{f6}\\xff");
    }
}
