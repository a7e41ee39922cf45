//! Text that is safe to print: a name in a region, a path or an argument may contain commands for the terminal.
//!
//! Characters that move the cursor, change colours or titles, reorder or hide text are written as `\u{202e}`. These are
//! control characters (C0, DEL, C1), bidirectional controls, zero-width and other invisible characters. JSON has the same
//! characters as `\u202e`, which is the same value.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::Formatter;

/// Whether a terminal could act on `c` or hide it: Unicode's general categories Cc, Cf, Zl and Zp, and characters without a
/// glyph.
pub fn is_unsafe(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(u32::from(c),
        0x80..=0x9f                                                     // C1
        | 0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890 | 0x891 | 0x8e2
        | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f           // fillers and inherent vowels
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f           // zero width, line breaks, bidirectional
        | 0x3164 | 0xfe00..=0xfe0f | 0xfeff | 0xffa0 | 0xfff0..=0xfffb  // selectors, byte order mark, annotations
        | 0x110bd | 0x110cd | 0x13430..=0x1345f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff) // tags
}

/// `text` with each [unsafe](is_unsafe) character escaped. Allocates only if there is one.
///
/// ```
/// assert_eq!(atomscope::text::clean("plain"), "plain");
/// assert_eq!(atomscope::text::clean("\u{1b}[2J\u{202e}"), r"\u{1b}[2J\u{202e}");
/// ```
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// `text` as it stands between quotes: a backslash before each quote and backslash.
pub fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// As [`clean`], but keeps line breaks.
pub fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// As [`clean`], for text that may not be UTF-8: other bytes are written as `\xff`.
pub fn clean_os(text: &OsStr) -> String {
    let mut out = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        out.push_str(&clean(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// As [`clean_os`], for a path.
pub fn clean_path(path: &Path) -> String {
    clean_os(path.as_os_str())
}

/// Compact JSON in which every unsafe character is escaped.
struct SafeFormatter;

impl Formatter for SafeFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        // Almost all text is printable ASCII, and this fold compiles to a check of many bytes at once.
        if text.bytes().fold(true, |is_plain, byte| is_plain & (b' '..=b'~').contains(&byte)) {
            return writer.write_all(text.as_bytes());
        }
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Writes `value` as one line of JSON that is safe to print.
///
/// # Errors
/// Those of `writer`.
pub fn write_json(writer: &mut (impl io::Write + ?Sized), value: &impl Serialize) -> io::Result<()> {
    write_json_value(writer, value)?;
    writer.write_all(b"\n")
}

/// As [`write_json`], without the line break.
pub(crate) fn write_json_value(
    writer: &mut (impl io::Write + ?Sized),
    value: &impl Serialize,
) -> io::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(writer, SafeFormatter))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\u{1b}]0;title\u{7}\u{9b}31m\u{7f}\n\u{202e}\u{200b}\u{feff}\u{2066}\u{e0041}\u{ad}é漢🦀 \"\\";

    #[test]
    fn what_a_terminal_would_act_on_is_written_out_and_the_rest_stays() {
        assert_eq!(
            clean(HOSTILE),
            "a\\u{1b}]0;title\\u{7}\\u{9b}31m\\u{7f}\\u{a}\\u{202e}\\u{200b}\\u{feff}\\u{2066}\\u{e0041}\\u{ad}é漢🦀 \"\\"
        );
        assert_eq!(clean_lines("a\nb\rc"), "a\nb\\u{d}c");
        assert_eq!(clean_os(OsStr::from_bytes(b"a\xff\x1b")), "a\\xff\\u{1b}");
    }

    #[test]
    fn json_of_hostile_text_is_harmless_and_means_the_same() {
        let mut out = Vec::new();
        write_json(&mut out, &HOSTILE).unwrap();
        let json = String::from_utf8(out).unwrap();
        assert!(!json.trim_end().contains(is_unsafe), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), HOSTILE);
    }

    #[test]
    fn every_control_character_is_unsafe() {
        assert!(
            (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| c.is_control()).all(is_unsafe)
        );
    }
}
