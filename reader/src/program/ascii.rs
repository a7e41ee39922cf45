//! Output in ASCII, for terminals without UTF-8. Each sign of this program has an ASCII sign of the same width. Any other
//! character is escaped: a terminal with another encoding could take its bytes for control characters.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::buffer::Buffer;

static IS_ENABLED: AtomicBool = AtomicBool::new(false);

/// Switches all text for people to ASCII, for the rest of the process.
pub fn enable() {
    IS_ENABLED.store(true, Ordering::Relaxed);
}

/// Whether text for people is ASCII.
pub fn is_enabled() -> bool {
    IS_ENABLED.load(Ordering::Relaxed)
}

/// Whether the locale names another encoding than UTF-8. Without a locale, as in most containers, UTF-8 is assumed:
/// nearly all terminals have it.
pub fn is_needed_for_locale(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name));
    let locale = set.into_iter().find(|value| !value.is_empty());
    let is_utf8 = |locale: &OsStr| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        ["utf-8", "utf8"].iter().any(|encoding| locale.contains(encoding))
    };
    locale.is_some_and(|locale| !is_utf8(&locale))
}

/// The ASCII sign for a sign of this program.
fn sign(c: char) -> Option<char> {
    Some(match c {
        '…' => '~',
        '●' => '*',
        '⌀' => '~',
        '✗' | '×' => 'x',
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
        // The heights of a sparkline.
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

/// Converts text to ASCII.
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

/// Converts a drawn screen to ASCII. No cell may become wider, so an unknown character becomes a question mark.
pub fn screen(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let first = cell.symbol().chars().next().and_then(sign);
            cell.set_char(first.unwrap_or('?'));
        }
    }
}

/// A writer that converts text to ASCII.
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
        let is_needed = |set: &[(&str, &str)]| {
            is_needed_for_locale(|name| {
                set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into())
            })
        };
        assert!(!is_needed(&[]) && !is_needed(&[("LANG", "")]));
        assert!(!is_needed(&[("LANG", "de_DE.UTF-8")]) && !is_needed(&[("LC_ALL", "C.utf8"), ("LANG", "C")]));
        assert!(is_needed(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(is_needed(&[("LC_ALL", ""), ("LC_CTYPE", "POSIX"), ("LANG", "C.UTF-8")]));
        assert!(is_needed(&[("LANG", "de_DE.ISO-8859-1")]) && is_needed(&[("LANG", "de_DE")]));
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
