//! Documents: state that is too big for a cell. A reader gets a whole copy or none.
//!
//! ```text
//!   flips │ 0 …          │  copy 0: used, dropped, stamp, rows …  │  copy 1: the same  │
//!   └ copies written so far; the valid one is `flips mod 2`, 0 = none yet
//! ```
//! The only writer fills the copy that is not valid, and then adds 1 to `flips`. A reader loads `flips`, copies the valid
//! copy, and loads `flips` again: if it is unchanged, the writer has not touched that copy. If the writer dies in the
//! middle, the last whole copy stays valid.
//!
//! A copy is a list of rows. A row is a head word, a number, the lengths of its texts, and the texts:
//! ```text
//!   head: │ kind (16) │ texts (16) │ words of the row (32) │   number   │ 4 lengths in each word │ text bytes, padded │
//! ```
//! Rows that do not fit are dropped, and the copy counts them.
//!
//! ```
//! use atomscope_layout::document;
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let words = [const { AtomicU64::new(0) }; 80];
//! document::write(&words, 0, |rows| rows.push(1, 7, ["atomr://shop"]));
//! let document = document::read(Words::new(&words))?.ok_or("nothing written")?;
//! assert_eq!((document.rows[0].number, document.rows[0].text(0)), (7, "atomr://shop"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::ops::Range;

use zerocopy::IntoBytes;

use crate::limits::{CUT_MARK, SEPARATION_BYTES};
use crate::seqlock::{READ_TRIES, Unreadable};
use crate::sync::{AtomicU64, Ordering, fence, pause};
use crate::words::{self, WORD, Words};

/// Words before the first copy.
pub const HEAD_WORDS: usize = SEPARATION_BYTES / WORD;
/// Words of a copy before its rows: used words, rows dropped, stamp, zero.
pub const COPY_HEAD_WORDS: usize = 4;
/// Words of a row before the lengths of its texts.
const ROW_HEAD_WORDS: usize = 2;
/// Maximum number of texts of a row.
pub const ROW_TEXTS: usize = 64;
/// Bytes of each text that are kept.
pub const ROW_TEXT_BYTES: usize = 512;

fn copy_of(words: usize, flips: u64) -> Range<usize> {
    let copy = words.saturating_sub(HEAD_WORDS) / 2;
    let start = HEAD_WORDS + (flips % 2) as usize * copy;
    start..start + copy
}

/// Writes a new copy and makes it the valid one. `fill` adds the rows. Returns the number of rows dropped because the
/// copy was full. Only one thread at a time may call this. Bounded by the size of the copy.
pub fn write(document: &[AtomicU64], stamp: u64, fill: impl FnOnce(&mut Rows<'_>)) -> u64 {
    let Some(flips) = document.first() else { return 0 };
    let next = flips.load(Ordering::Relaxed).wrapping_add(1);
    // A reader that sees a word of this write also sees that `flips` moved on to the other copy.
    fence(Ordering::Release);
    let copy = document.get(copy_of(document.len(), next)).unwrap_or_default();
    let mut rows = Rows { copy, used: COPY_HEAD_WORDS, dropped: 0, cut: 0 };
    fill(&mut rows);
    let Rows { used, dropped, .. } = rows;
    words::store(copy, &[used as u64, dropped, stamp, 0]);
    flips.store(next, Ordering::Release);
    dropped
}

/// The rows of a copy that is being written.
#[derive(Debug)]
pub struct Rows<'a> {
    copy: &'a [AtomicU64],
    used: usize,
    dropped: u64,
    /// Texts that were cut.
    pub cut: u64,
}

impl Rows<'_> {
    /// Counts rows that the caller dropped before.
    pub fn count_dropped(&mut self, rows: u64) {
        self.dropped = self.dropped.saturating_add(rows);
    }

    /// Adds a row. A row that does not fit is dropped and counted. Texts beyond [`ROW_TEXTS`] are dropped, which counts as
    /// one row. A text that is too long is cut visibly.
    pub fn push<'t>(&mut self, kind: u16, number: u64, texts: impl IntoIterator<Item = &'t str> + Clone) {
        let count = texts.clone().into_iter().take(ROW_TEXTS).count();
        self.dropped += u64::from(texts.clone().into_iter().nth(ROW_TEXTS).is_some());
        let kept = |text: &'t str| {
            if text.len() > ROW_TEXT_BYTES {
                words::prefix(text, ROW_TEXT_BYTES - CUT_MARK.len()).len() + CUT_MARK.len()
            } else {
                text.len()
            }
        };
        let bytes: usize = texts.clone().into_iter().take(ROW_TEXTS).map(kept).sum();
        let lengths = count.div_ceil(4);
        let words = ROW_HEAD_WORDS + lengths + bytes.div_ceil(WORD);
        let Some(row) = self.copy.get(self.used..self.used + words) else {
            self.dropped += 1;
            return;
        };
        words::store(row, &[u64::from(kind) | (count as u64) << 16 | (words as u64) << 32, number]);
        let mut packed = [0u64; ROW_TEXTS / 4];
        let mut to =
            Packed { words: row.get(ROW_HEAD_WORDS + lengths..).unwrap_or_default(), at: 0, word: 0 };
        for (at, text) in texts.into_iter().take(ROW_TEXTS).enumerate() {
            let length = kept(text);
            if let Some(word) = packed.get_mut(at / 4) {
                *word |= (length as u64) << (16 * (at % 4));
            }
            if length == text.len() && text.len() <= ROW_TEXT_BYTES {
                to.put(text);
            } else {
                to.put(words::prefix(text, ROW_TEXT_BYTES - CUT_MARK.len()));
                to.put(CUT_MARK);
                self.cut += 1;
            }
        }
        to.end();
        words::store(row.get(ROW_HEAD_WORDS..).unwrap_or_default(), &packed[..lengths]);
        self.used += words;
    }
}

/// Packs bytes into words.
struct Packed<'a> {
    words: &'a [AtomicU64],
    at: usize,
    word: u64,
}

impl Packed<'_> {
    fn put(&mut self, text: &str) {
        for byte in text.bytes() {
            self.word |= u64::from(byte) << (8 * (self.at % WORD));
            self.at += 1;
            if self.at % WORD == 0 {
                self.flush(self.at / WORD - 1);
            }
        }
    }

    fn end(&mut self) {
        if self.at % WORD != 0 {
            self.flush(self.at / WORD);
        }
    }

    fn flush(&mut self, index: usize) {
        if let Some(to) = self.words.get(index) {
            to.store(self.word, Ordering::Relaxed);
        }
        self.word = 0;
    }
}

/// A copy that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The rows, in the order in which they were written.
    pub rows: Vec<Row>,
    /// Rows that did not fit.
    pub dropped: u64,
    /// The stamp of the copy.
    pub stamp: u64,
    /// Copies written so far.
    pub flips: u64,
}

/// One row of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The kind of the row; each document has its own kinds.
    pub kind: u16,
    /// The number of the row.
    pub number: u64,
    /// The texts of the row.
    pub texts: Vec<String>,
}

impl Row {
    /// The text with this index, or an empty text.
    pub fn text(&self, at: usize) -> &str {
        self.texts.get(at).map_or("", String::as_str)
    }
}

/// The last whole copy; `None` if no copy was ever written. Bounded: [`READ_TRIES`] tries, and the rows of one copy.
///
/// # Errors
/// [`Unreadable::Busy`] if copies were written at each try, [`Unreadable::Corrupt`] if the copy holds what no writer
/// stores.
pub fn read(document: Words<'_>) -> Result<Option<Document>, Unreadable> {
    for attempt in 0..READ_TRIES {
        let flips = document.load(0);
        fence(Ordering::Acquire);
        if flips == 0 {
            return Ok(None);
        }
        let Some(copy) = document.slice(copy_of(document.len(), flips)) else {
            return Err(Unreadable::Corrupt);
        };
        let used = usize::try_from(copy.load(0)).unwrap_or(usize::MAX).min(copy.len());
        let mut words = vec![0u64; used];
        copy.copy_to(&mut words);
        fence(Ordering::Acquire);
        if document.load(0) == flips {
            return parse(&words, flips).map(Some).ok_or(Unreadable::Corrupt);
        }
        pause(attempt);
    }
    Err(Unreadable::Busy)
}

fn parse(words: &[u64], flips: u64) -> Option<Document> {
    let [used, dropped, stamp, _, rest @ ..] = words else { return None };
    if *used != words.len() as u64 {
        return None;
    }
    let mut document = Document { rows: Vec::new(), dropped: *dropped, stamp: *stamp, flips };
    let mut rest = rest;
    while let [head, number, ..] = rest {
        let (kind, count, length) = (*head as u16, (*head >> 16) as u16 as usize, (*head >> 32) as usize);
        if length < ROW_HEAD_WORDS || count > ROW_TEXTS {
            return None;
        }
        let (row, after) = rest.split_at_checked(length)?;
        rest = after;
        let (lengths, bytes) = row.get(ROW_HEAD_WORDS..)?.split_at_checked(count.div_ceil(4))?;
        let mut bytes = bytes.as_bytes();
        let mut texts = Vec::with_capacity(count);
        for at in 0..count {
            let length = (lengths.get(at / 4)? >> (16 * (at % 4))) as u16;
            let (text, after) = bytes.split_at_checked(length.into())?;
            bytes = after;
            texts.push(core::str::from_utf8(text).ok()?.to_owned());
        }
        document.rows.push(Row { kind, number: *number, texts });
    }
    rest.is_empty().then_some(document)
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    fn memory(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    fn row(kind: u16, number: u64, texts: &[&str]) -> Row {
        Row { kind, number, texts: texts.iter().map(|text| (*text).to_owned()).collect() }
    }

    #[test]
    fn what_was_written_last_is_read_whole() {
        let memory = memory(HEAD_WORDS + 200);
        assert_eq!(read(Words::new(&memory)), Ok(None));
        for round in 0..5 {
            let dropped = write(&memory, round, |rows| {
                rows.push(1, round, ["ä", "", "a longer text than a word"]);
                rows.push(2, u64::MAX, []);
                rows.push(3, 0, (0..9).map(|_| "x"));
            });
            assert_eq!(dropped, 0);
            let read = read(Words::new(&memory)).unwrap().unwrap();
            assert_eq!((read.flips, read.stamp, read.dropped), (round + 1, round, 0));
            let expected = [
                row(1, round, &["ä", "", "a longer text than a word"]),
                row(2, u64::MAX, &[]),
                row(3, 0, &["x"; 9]),
            ];
            assert_eq!(read.rows, expected);
        }
    }

    #[test]
    fn rows_that_find_no_room_are_counted_and_the_others_stand() {
        let memory = memory(HEAD_WORDS + 2 * 12);
        let dropped = write(&memory, 0, |rows| (0..5).for_each(|at| rows.push(1, at, ["12345678"])));
        assert_eq!(dropped, 3);
        let read = read(Words::new(&memory)).unwrap().unwrap();
        assert_eq!((read.rows.len(), read.dropped), (2, 3));
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_visibly_between_two_characters() {
        let memory = memory(HEAD_WORDS + 400);
        let long = "ü".repeat(ROW_TEXT_BYTES);
        let mut cut = 0;
        write(&memory, 0, |rows| {
            rows.push(1, 0, [long.as_str(), "after"]);
            cut = rows.cut;
        });
        let read = read(Words::new(&memory)).unwrap().unwrap();
        assert!(read.rows[0].text(0).ends_with("ü…") && read.rows[0].text(0).len() <= ROW_TEXT_BYTES);
        assert_eq!((read.rows[0].text(1), cut), ("after", 1));
    }

    #[test]
    fn whatever_a_copy_holds_reading_it_ends() {
        let memory = memory(HEAD_WORDS + 64);
        let written = |flips| {
            memory[0].store(flips, Ordering::Relaxed);
            write(&memory, 0, |rows| (0..3).for_each(|at| rows.push(1, at, ["text"])));
        };
        for value in [0, 1, 2, 31, 32, 33, 1 << 16, 65 << 16, 1 << 32, 5 << 32, u64::MAX] {
            for at in 0..20 {
                written(0);
                memory[HEAD_WORDS + 32 + at].store(value, Ordering::Relaxed);
                let _ = read(Words::new(&memory));
            }
        }
    }
}
