//! Models of interning and of text cells, and mutants of both.
#![allow(clippy::panic, reason = "models are tests")]

use super::*;
use crate::models::{Model, memory, play, role};

type WriteCell = fn(&[AtomicU64], &str) -> bool;
type ReadCell = fn(Words<'_>) -> Option<String>;

/// More than one word, so that there is something to tear.
const TEXT: &str = "orders::OrderPlaced";

/// A cell is written while another thread reads it twice.
fn whole_or_absent(
    write: WriteCell,
    read: ReadCell,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let cell = memory(4);
        let reading = cell.clone();
        let writer = role(move || {
            write(&cell, TEXT);
        });
        let reader = role(move || {
            let readings = [read(Words::new(&reading)), read(Words::new(&reading))];
            for text in readings.iter().flatten() {
                assert_eq!(text, TEXT, "a text was read before it was whole");
            }
            assert!(readings[0].is_none() || readings[1].is_some(), "a text disappeared");
        });
        play(main, vec![writer, reader]);
    })
}

#[test]
fn a_text_is_never_read_before_it_is_whole() {
    whole_or_absent(write_cell, read_cell).holds();
}

/// The same words as [`write_cell`], with the given ready word.
fn write_with(cell: &[AtomicU64], text: &str, ready_first: bool, order: Ordering) -> bool {
    let mut buffer = [0u64; 8];
    let (kept, cut) = put_text(buffer.as_mut_bytes(), 24, text);
    let ready = READY | kept as u64;
    if ready_first {
        cell[0].store(ready, order);
    }
    words::store(&cell[1..], &buffer[..kept.div_ceil(8)]);
    if !ready_first {
        cell[0].store(ready, order);
    }
    cut
}

#[test]
fn a_cell_that_is_ready_before_its_text_is_read_half_written() {
    whole_or_absent(|cell, text| write_with(cell, text, true, Ordering::Release), read_cell)
        .breaks("before it was whole");
}

#[test]
fn a_ready_word_without_release_is_read_half_written() {
    whole_or_absent(|cell, text| write_with(cell, text, false, Ordering::Relaxed), read_cell)
        .breaks("before it was whole");
}

#[test]
fn without_the_readers_fence_a_text_is_read_half_written() {
    fn mutant(cell: Words<'_>) -> Option<String> {
        let ready = cell.load(0);
        let bytes = (ready & !READY) as usize;
        let mut buffer = vec![0u64; bytes.div_ceil(8)];
        cell.slice(1..1 + buffer.len())?.copy_to(&mut buffer);
        (ready & READY != 0).then(|| String::from_utf8_lossy(&buffer.as_bytes()[..bytes]).into_owned())
    }
    whole_or_absent(write_cell, mutant).breaks("before it was whole");
}

type Intern = fn(&Interner<'_>, u64, &str) -> Interned;

/// Three threads intern two texts in a table of two cells, where both keys have the same home.
fn one_number_a_text(intern: Intern) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let (keys, cells) = (memory(2), memory(2 * CELL_WORDS));
        let interning = |key: u64, text: &'static str| {
            let (keys, cells) = (keys.clone(), cells.clone());
            role(move || intern(&Interner { keys: &keys, cells: &cells }, key, text))
        };
        let ends = play(main, vec![interning(1, "one"), interning(1, "one"), interning(2, "two")]);
        let ids: Vec<u32> = ends
            .iter()
            .map(|end| match end {
                Interned::New { id, .. } | Interned::Known(id) => *id,
                Interned::Full => panic!("the table is full"),
            })
            .collect();
        assert_eq!(ids[0], ids[1], "one text has two numbers");
        assert_ne!(ids[0], ids[2], "two texts have one number");
        let news = ends.iter().filter(|end| matches!(end, Interned::New { .. })).count();
        assert_eq!(news, 2, "a text was written twice");
        let text = |id| read_name(Words::new(&cells), CELL_WORDS, id);
        assert_eq!((text(ids[0]).as_deref(), text(ids[2]).as_deref()), (Some("one"), Some("two")));
    })
}

#[test]
fn a_text_gets_one_number_whoever_comes_first() {
    one_number_a_text(|interner, key, text| interner.intern(key, |cell| write_cell(cell, text))).holds();
}

#[test]
fn a_key_that_is_stored_without_a_swap_gives_two_texts_one_number() {
    fn mutant(interner: &Interner<'_>, key: u64, text: &str) -> Interned {
        for (index, slot) in interner.keys.iter().enumerate() {
            let held = slot.load(Ordering::Relaxed);
            let id = index as u32 + 1;
            if held == key {
                return Interned::Known(id);
            }
            if held == 0 {
                slot.store(key, Ordering::Relaxed);
                let cell = &interner.cells[index * CELL_WORDS..(index + 1) * CELL_WORDS];
                return Interned::New { id, cut: write_cell(cell, text) };
            }
        }
        Interned::Full
    }
    one_number_a_text(mutant).breaks("two texts have one number");
}

#[test]
fn a_loser_that_does_not_compare_the_winners_key_gives_one_text_two_numbers() {
    fn mutant(interner: &Interner<'_>, key: u64, text: &str) -> Interned {
        for (index, slot) in interner.keys.iter().enumerate() {
            let id = index as u32 + 1;
            if slot.load(Ordering::Relaxed) == key {
                return Interned::Known(id);
            }
            if slot.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let cell = &interner.cells[index * CELL_WORDS..(index + 1) * CELL_WORDS];
                return Interned::New { id, cut: write_cell(cell, text) };
            }
        }
        panic!("one text has two numbers, and so the table is full for the other");
    }
    one_number_a_text(mutant).breaks("one text has two numbers");
}
