//! Models of cells and of the map of tasks, and mutants of their steps.
#![allow(clippy::panic, clippy::unwrap_used, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, memory, play, role};

type Claim = fn(&Cells<'_>, u16, u32) -> Option<CellName>;
type Free = fn(&Cells<'_>, usize);
type Read = fn(Words<'_>) -> Result<CellRecord, Unreadable>;

fn ship_claim(cells: &Cells<'_>, class: u16, row: u32) -> Option<CellName> {
    cells.claim(class, row)
}

fn ship_free(cells: &Cells<'_>, index: usize) {
    cells.free(index);
}

/// So many cells, and their bitmap.
fn cells_of(number: usize) -> [Memory; 2] {
    [memory(number * CELL_WORDS), memory(bitmap_words(number))]
}

/// What a tenant stores: its generation, a hundred times.
fn busy_of(generation: u32) -> u64 {
    u64::from(generation) * 100
}

/// A cell is freed by one thread and claimed by another one, while a third reads it.
fn one_tenant(claim: Claim, free: Free, read: Read) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let [words, taken] = cells_of(1);
        let first = Cells::new(&words, &taken).claim(1, 1).unwrap();
        Cells::new(&words, &taken).cell(0).unwrap().add_busy(busy_of(1));
        let (of_old, of_new) = ((words.clone(), taken.clone()), (words.clone(), taken.clone()));
        let old = role(move || {
            let (words, taken) = of_old;
            free(&Cells::new(&words, &taken), first.index());
        });
        let new = role(move || {
            let (words, taken) = of_new;
            let cells = Cells::new(&words, &taken);
            if let Some(name) = claim(&cells, 2, 2) {
                cells.cell(name.index()).unwrap().add_busy(busy_of(name.generation()));
            }
        });
        let reader = role(move || {
            let Ok(cell) = read(Words::new(&words)) else { return };
            if !cell.is_used() {
                return;
            }
            let generation = cell.generation();
            assert_eq!(u32::from(cell.class()), generation, "a tenant has the class of another one");
            assert_eq!(cell.row(), generation, "a tenant has the row of another one");
            let own = [0, busy_of(generation)];
            assert!(
                generation == 1 && cell.busy_ns == own[1] || generation == 2 && own.contains(&cell.busy_ns),
                "a tenant has the time of another one"
            );
        });
        play(main, vec![old, new, reader]);
    })
    .preempted_at_most(1, 2)
}

#[test]
fn a_reader_has_the_words_of_one_tenant() {
    one_tenant(ship_claim, ship_free, read).holds();
}

/// As [`Cells::claim`], with these steps.
fn claim_with(
    cells: &Cells<'_>,
    class: u16,
    row: u32,
    bit: Ordering,
    has_fence: bool,
    identity_order: Ordering,
) -> Option<CellName> {
    let (_, bits) = cells.taken.split_last()?;
    bits.first()?.compare_exchange(0, 1, bit, Ordering::Relaxed).ok()?;
    let cell = cells.cell(0)?;
    let generation = (cell.identity().load(Ordering::Relaxed) >> 32) as u32 + 1;
    if has_fence {
        fence(Ordering::Release);
    }
    for word in cell.0.iter().skip(1) {
        word.store(0, Ordering::Relaxed);
    }
    cell.running().store(u64::from(row), Ordering::Relaxed);
    cell.identity().store(halves(u32::from(class) << 16 | IN_USE as u32, generation), identity_order);
    Some(CellName(halves(1, generation)))
}

const OF_ANOTHER: [&str; 2] = ["the row of another one", "the time of another one"];

#[test]
fn the_model_s_own_claim_is_that_which_ships() {
    fn same(cells: &Cells<'_>, class: u16, row: u32) -> Option<CellName> {
        claim_with(cells, class, row, Ordering::Acquire, true, Ordering::Release)
    }
    one_tenant(same, ship_free, read).holds();
}

#[test]
fn a_claim_without_a_fence_gives_the_old_tenant_words_of_the_new_one() {
    fn mutant(cells: &Cells<'_>, class: u16, row: u32) -> Option<CellName> {
        claim_with(cells, class, row, Ordering::Acquire, false, Ordering::Release)
    }
    one_tenant(mutant, ship_free, read).breaks_in_a_way(&OF_ANOTHER);
}

#[test]
fn an_identity_without_release_gives_the_new_tenant_words_of_the_old_one() {
    fn mutant(cells: &Cells<'_>, class: u16, row: u32) -> Option<CellName> {
        claim_with(cells, class, row, Ordering::Acquire, true, Ordering::Relaxed)
    }
    one_tenant(mutant, ship_free, read).breaks_in_a_way(&OF_ANOTHER);
}

#[test]
fn a_bit_that_is_cleared_before_the_identity_frees_the_cell_of_the_next_tenant() {
    fn mutant(cells: &Cells<'_>, index: usize) {
        let cell = cells.cell(index).unwrap();
        cells.taken[0].fetch_and(0, Ordering::Release);
        // The next tenant may have its identity already: then the old one comes back.
        let identity = cell.identity().load(Ordering::Relaxed);
        cell.identity().store(identity & !0xffff, Ordering::Release);
    }
    Model::new(2, move |main| {
        let [words, taken] = cells_of(1);
        assert!(Cells::new(&words, &taken).claim(1, 1).is_some());
        let both = [0, 1].map(|_| (words.clone(), taken.clone()));
        let [of_old, of_new] = both;
        let old = role(move || {
            mutant(&Cells::new(&of_old.0, &of_old.1), 0);
            None
        });
        let new = role(move || Cells::new(&of_new.0, &of_new.1).claim(2, 2));
        let ends = play(main, vec![old, new]);
        if ends[1].is_some() {
            assert!(read(Words::new(&words)).unwrap().is_used(), "a tenant has lost its cell");
        }
    })
    .breaks("a tenant has lost its cell");
}

#[test]
fn a_reader_without_a_fence_gets_words_of_another_tenant() {
    fn first(cell: Words<'_>) -> Result<CellRecord, Unreadable> {
        read_with(cell, false, true)
    }
    fn second(cell: Words<'_>) -> Result<CellRecord, Unreadable> {
        read_with(cell, true, false)
    }
    one_tenant(ship_claim, ship_free, first).breaks_in_a_way(&OF_ANOTHER);
    one_tenant(ship_claim, ship_free, second).breaks_in_a_way(&OF_ANOTHER);
}

/// As [`read`], with these fences.
fn read_with(cell: Words<'_>, is_before: bool, is_after: bool) -> Result<CellRecord, Unreadable> {
    let mut words = [0u64; CELL_WORDS];
    let before = cell.load(word::IDENTITY);
    if is_before {
        fence(Ordering::Acquire);
    }
    cell.copy_to(&mut words);
    if is_after {
        fence(Ordering::Acquire);
    }
    if cell.load(word::IDENTITY) != before {
        return Err(Unreadable::Busy);
    }
    words[word::IDENTITY] = before;
    Ok(zerocopy::transmute!(words))
}

/// Two threads claim, while a third frees a cell of two.
fn one_owner(claim: Claim) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let [words, taken] = cells_of(2);
        let first = Cells::new(&words, &taken).claim(1, 1).unwrap();
        let claiming = |class: u16| {
            let (words, taken) = (words.clone(), taken.clone());
            role(move || claim(&Cells::new(&words, &taken), class, class.into()))
        };
        let (one, other) = (claiming(2), claiming(3));
        let freeing = (words.clone(), taken.clone());
        let freed = role(move || {
            Cells::new(&freeing.0, &freeing.1).free(first.index());
            None
        });
        let ends = play(main, vec![one, other, freed]);
        let found: Vec<CellName> = ends.into_iter().flatten().collect();
        assert!(!found.is_empty(), "a free cell was not found");
        assert!(found.windows(2).all(|pair| pair[0].index() != pair[1].index()), "a cell has two owners");
        let used = words.chunks(CELL_WORDS).filter(|cell| read(Words::new(cell)).unwrap().is_used());
        assert_eq!(used.count(), found.len(), "a cell in use has no owner");
    })
    .preempted_at_most(2, 3)
}

#[test]
fn a_cell_has_one_owner() {
    one_owner(ship_claim).holds();
}

#[test]
fn a_bit_that_is_set_without_a_swap_gives_a_cell_two_owners() {
    fn mutant(cells: &Cells<'_>, class: u16, row: u32) -> Option<CellName> {
        let bits = &cells.taken[0];
        let held = bits.load(Ordering::Acquire);
        let index = (!held).trailing_zeros() as usize;
        let cell = cells.cell(index)?;
        bits.store(held | 1 << index, Ordering::Relaxed);
        let generation = (cell.identity().load(Ordering::Relaxed) >> 32) as u32 + 1;
        cell.running().store(u64::from(row), Ordering::Relaxed);
        let identity = halves(u32::from(class) << 16 | IN_USE as u32, generation);
        cell.identity().store(identity, Ordering::Release);
        Some(CellName(halves(index as u32 + 1, generation)))
    }
    one_owner(mutant).breaks_in_a_way(&["a cell has two owners", "a cell in use has no owner"]);
}

type Insert = fn(&TaskMap<'_>, u64, Target) -> bool;

/// Two tasks insert their entries, find them, and have them removed, while a third one stays. Their cells are numbered as they
/// are, so a task that finds the cell of another one notices.
fn own_entry(insert: Insert) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(2, move |main| {
        let words = memory(4 * BUCKET_WORDS);
        let target = |task: u64| Target { region: 3, cell: task as u32 };
        let find = move |map: &TaskMap<'_>, task: u64| {
            map.find(task, |found| (found == target(task)).then_some(found))
        };
        let stays = TaskMap::new(&words).insert(1, target(1));
        assert!(stays, "an empty map has room");
        let of = |task: u64| {
            let words = words.clone();
            role(move || {
                let map = TaskMap::new(&words);
                let is_in = insert(&map, task, target(task));
                assert_eq!(
                    find(&map, task),
                    is_in.then(|| target(task)),
                    "a task does not find its own cell"
                );
                if is_in {
                    map.remove(task, target(task));
                }
                assert_eq!(find(&map, task), None, "a task finds a cell that was removed");
            })
        };
        play(main, vec![of(2), of(6)]);
        let map = TaskMap::new(&words);
        assert_eq!(find(&map, 1), Some(target(1)), "the entry of another task is gone");
        let held = words.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count();
        assert_eq!(held, 1, "an entry is left over");
    })
}

#[test]
fn a_task_finds_its_own_cell_while_others_come_and_go() {
    own_entry(|map, task, target| map.insert(task, target)).holds();
}

#[test]
fn an_entry_that_is_stored_without_a_swap_loses_that_of_another_task() {
    fn mutant(map: &TaskMap<'_>, task: u64, target: Target) -> bool {
        let Some(word) = map.words(task).find(|word| word.load(Ordering::Relaxed) == 0) else { return false };
        word.store(target.word(task), Ordering::Relaxed);
        true
    }
    own_entry(mutant).breaks_in_a_way(&["does not find its own cell", "an entry is left over"]);
}
