//! Names: texts that are written once and then read by number.
//!
//! A *text cell* is a ready word and zero-padded bytes. The ready word is 0 until the bytes are stored, then
//! `1 << 63 | bytes`, stored with Release; it never changes again.
//!
//! *Interning* turns a text into the number of its cell. The writer has a private table of keys with open addressing,
//! one key per cell. A key and its cell have the same index, so a thread that inserted or found the key knows the number.
//! The thread that inserted the key writes the text. Names are never removed.
//!
//! ```
//! use atomscope_layout::names::{CELL_WORDS, Interned, Interner, read_name};
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let keys = [const { AtomicU64::new(0) }; 4];
//! let cells = [const { AtomicU64::new(0) }; 4 * CELL_WORDS];
//! let interner = Interner { keys: &keys, cells: &cells };
//! let Interned::New { id, cut: false } = interner.intern_static("orders::Order") else { panic!("not new") };
//! assert_eq!(interner.intern_static("orders::Order"), Interned::Known(id));
//! assert_eq!(read_name(Words::new(&cells), CELL_WORDS, id).as_deref(), Some("orders::Order"));
//! ```

use zerocopy::IntoBytes;

use crate::limits::{CUT_MARK, NAME_BYTES};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, Words};

/// Words of a cell of the names section.
pub const CELL_WORDS: usize = 1 + NAME_BYTES / 8;
/// Shown for a name that the region does not hold.
pub(crate) const NO_NAME: &str = "?";
const READY: u64 = 1 << 63;
/// Maximum number of keys that one interning compares. More would only help when the table is nearly full.
const PROBES: usize = 32;

const _: () = assert!(CELL_WORDS * 8 == 256);

/// Writes a text cell that no other thread writes, and returns whether the text was cut. A text that does not fit is cut
/// and ends in `…`. Wait-free.
pub fn write_cell(cell: &[AtomicU64], text: &str) -> bool {
    let Some((ready, to)) = cell.split_first() else { return true };
    let mut buffer = [0u64; 128];
    let max = (to.len() * 8).min(buffer.len() * 8);
    let (kept, cut) = put_text(buffer.as_mut_bytes(), max, text);
    words::store(to, &buffer[..kept.div_ceil(8)]);
    ready.store(READY | kept as u64, Ordering::Release);
    cut
}

/// Writes at most `max` bytes of `text` to the start of `buffer`. Returns the number of bytes written, and whether the
/// text was cut.
pub fn put_text(buffer: &mut [u8], max: usize, text: &str) -> (usize, bool) {
    let max = max.min(buffer.len());
    if let (true, Some(to)) = (text.len() <= max, buffer.get_mut(..text.len())) {
        to.copy_from_slice(text.as_bytes());
        return (text.len(), false);
    }
    let kept = words::prefix(text, max.saturating_sub(CUT_MARK.len()));
    let mark = words::prefix(CUT_MARK, max);
    for (to, from) in buffer.iter_mut().zip(kept.bytes().chain(mark.bytes())) {
        *to = from;
    }
    (kept.len() + mark.len(), true)
}

/// The text of a cell; `None` if the cell is not ready, or holds what no writer stores.
pub fn read_cell(cell: Words<'_>) -> Option<String> {
    let ready = cell.load(0);
    fence(Ordering::Acquire);
    let bytes = usize::try_from(ready & !READY).ok()?;
    if ready & READY == 0 || bytes > cell.len().saturating_sub(1) * 8 {
        return None;
    }
    let mut buffer = vec![0u64; bytes.div_ceil(8)];
    cell.slice(1..1 + buffer.len())?.copy_to(&mut buffer);
    let text = buffer.as_bytes().get(..bytes)?;
    core::str::from_utf8(text).ok().map(str::to_owned)
}

/// The writer's side of the names section: its private keys, and the cells of the region.
#[derive(Debug, Clone, Copy)]
pub struct Interner<'a> {
    /// One word per cell, 0 = free.
    pub keys: &'a [AtomicU64],
    /// The names section.
    pub cells: &'a [AtomicU64],
}

/// The result of an interning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interned {
    /// The text already had this number, from 1 on.
    Known(u32),
    /// The text has this number from now on.
    New {
        /// The number, from 1 on.
        id: u32,
        /// Whether the text was too long for the cell and was cut.
        cut: bool,
    },
    /// The table is full, at least near the key. The text stays in its own record.
    Full,
}

/// The key of a text that lives as long as the program: its address and length. Never 0.
#[inline]
fn static_key(text: &'static str) -> u64 {
    // User space ends below bit 47 on all supported systems, unless the program asks for a higher address.
    let address = text.as_ptr() as usize as u64 & ((1 << 48) - 1);
    ((text.len() as u64 & 0x7fff) << 48 | address).max(1)
}

/// The index at which the search for a key begins.
#[inline]
fn home(key: u64, count: usize) -> usize {
    // Fibonacci hashing: the high half is well mixed.
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * count as u64) >> 32) as usize
}

/// The number that [`Interner::intern_static`] gives this text, if its key is at the first index of the search, as most
/// keys are. Costs one load.
#[inline]
pub fn known_static(keys: &[AtomicU64], text: &'static str) -> Option<u32> {
    let key = static_key(text);
    let home = home(key, keys.len());
    (keys.get(home)?.load(Ordering::Relaxed) == key).then_some(home as u32 + 1)
}

impl Interner<'_> {
    /// The number of a text that lives as long as the program, identified by its address. The same text at two addresses
    /// gets two numbers. Wait-free.
    pub fn intern_static(&self, text: &'static str) -> Interned {
        self.intern_static_as(text, |cell| write_cell(cell, text))
    }

    /// As [`Self::intern_static`], but the name is another text: `write` writes it the first time, as [`write_cell`] does,
    /// and returns whether it was cut.
    pub fn intern_static_as(
        &self,
        known_by: &'static str,
        write: impl FnOnce(&[AtomicU64]) -> bool,
    ) -> Interned {
        self.intern(static_key(known_by), write)
    }

    /// The number of `text`, identified by `hash`, a good 64-bit hash of the text. Wait-free.
    pub fn intern_hashed(&self, hash: u64, text: &str) -> Interned {
        self.intern(hash | 1 << 63, |cell| write_cell(cell, text))
    }

    fn intern(&self, key: u64, write: impl FnOnce(&[AtomicU64]) -> bool) -> Interned {
        let count = self.keys.len();
        if count == 0 {
            return Interned::Full;
        }
        let home = home(key, count);
        for step in 0..PROBES.min(count) {
            let index = if home + step < count { home + step } else { home + step - count };
            let Some(slot) = self.keys.get(index) else { return Interned::Full };
            let held = slot.load(Ordering::Relaxed);
            let id = index as u32 + 1;
            if held == key {
                return Interned::Known(id);
            }
            if held != 0 {
                continue;
            }
            match slot.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let cell =
                        self.cells.get(index * CELL_WORDS..(index + 1) * CELL_WORDS).unwrap_or_default();
                    return Interned::New { id, cut: write(cell) };
                }
                Err(now) if now == key => return Interned::Known(id),
                Err(_) => {}
            }
        }
        Interned::Full
    }
}

/// The name with number `id`, or `None` as for [`read_cell`]. A name is never longer than [`NAME_BYTES`], whatever the
/// stride: many records share a name, so a long one would cost a reader memory many times.
pub fn read_name(section: Words<'_>, stride: usize, id: u32) -> Option<String> {
    let start = (id as usize).checked_sub(1)?.checked_mul(stride)?;
    read_cell(section.slice(start..start.checked_add(stride.min(CELL_WORDS))?)?)
}

#[cfg(all(test, atomscope_loom))]
mod models;

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    fn cells(count: usize) -> (Vec<AtomicU64>, Vec<AtomicU64>) {
        let words = |n| (0..n).map(|_| AtomicU64::new(0)).collect();
        (words(count), words(count * CELL_WORDS))
    }

    #[test]
    fn a_text_reads_back_and_a_longer_one_is_cut_visibly() {
        let (_, cell) = cells(1);
        assert!(!write_cell(&cell, "orders::Order"));
        assert_eq!(read_cell(Words::new(&cell)).as_deref(), Some("orders::Order"));
        let (_, cell) = cells(1);
        assert!(write_cell(&cell, &"é".repeat(200)));
        let text = read_cell(Words::new(&cell)).unwrap();
        assert!(text.ends_with("é…") && text.len() <= NAME_BYTES, "{text}");
    }

    #[test]
    fn a_cell_that_claims_more_bytes_than_it_has_is_not_read() {
        let (_, cell) = cells(1);
        cell[0].store(READY | (NAME_BYTES as u64 + 1), Ordering::Relaxed);
        assert_eq!(read_cell(Words::new(&cell)), None);
        cell[0].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(read_cell(Words::new(&cell)), None);
    }

    #[test]
    fn the_same_text_keeps_its_number_and_a_full_table_says_so() {
        let (keys, words) = cells(2);
        let interner = Interner { keys: &keys, cells: &words };
        let Interned::New { id, cut: false } = interner.intern_static("a") else { panic!("not new") };
        assert_eq!(interner.intern_static("a"), Interned::Known(id));
        assert!(matches!(interner.intern_hashed(99, "b"), Interned::New { .. }));
        assert_eq!(interner.intern_hashed(100, "c"), Interned::Full);
        assert_eq!(read_name(Words::new(&words), CELL_WORDS, id).as_deref(), Some("a"));
        assert_eq!(read_name(Words::new(&words), CELL_WORDS, 0), None);
        assert_eq!(read_name(Words::new(&words), CELL_WORDS, u32::MAX), None);
    }

    #[test]
    fn an_empty_text_is_a_text() {
        let (keys, words) = cells(2);
        let interner = Interner { keys: &keys, cells: &words };
        let Interned::New { id, .. } = interner.intern_static("") else { panic!("not new") };
        assert_eq!(read_name(Words::new(&words), CELL_WORDS, id).as_deref(), Some(""));
    }
}
