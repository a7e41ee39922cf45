//! Models of the ticketed ring, and mutants of its two sides.
#![allow(clippy::panic, clippy::unwrap_used, reason = "models are tests")]

use core::ops::Range;

use super::*;
use crate::models::{Memory, Model, memory, play, role};

/// Two words of head, two of record.
const STRIDE: usize = 4;

type Write = fn(&Ring<'_>, u64, &[u64]) -> Written;
type Read = fn(&RingReader<'_>, u64, &mut [u64]) -> Result<SlotRead, Unreadable>;

fn ring(slots: usize) -> Memory {
    memory((1 + slots) * STRIDE)
}

fn record_of(ticket: u64) -> [u64; 2] {
    [ticket + 1, !(ticket + 1)]
}

fn ship_write(ring: &Ring<'_>, ticket: u64, record: &[u64]) -> Written {
    ring.write(ticket, record)
}

fn ship_read(ring: &RingReader<'_>, ticket: u64, out: &mut [u64]) -> Result<SlotRead, Unreadable> {
    ring.read(ticket, out, &mut Patience::for_a_scan())
}

/// What a reader finds for each of these tickets below the head. A record that is found must be that of its ticket.
fn ends_of(words: &Memory, read: Read, tickets: Range<u64>) -> Vec<Option<SlotRead>> {
    let reader = RingReader::new(Words::new(words), STRIDE);
    (tickets.start..tickets.end.min(reader.head()))
        .map(|ticket| {
            let mut out = [0; 2];
            let found = read(&reader, ticket, &mut out);
            if found == Ok(SlotRead::Record) {
                assert_eq!(out, record_of(ticket), "torn, or of another ticket");
            }
            found.ok()
        })
        .collect()
}

/// Writers that write the given tickets in the given order (`None` takes the next one), while other tickets were taken
/// before; and a reader of some tickets.
fn one_end_a_ticket(
    slots: usize,
    (drawn, writers): (u64, &'static [&'static [Option<u64>]]),
    watched: Range<u64>,
    write: Write,
    read: Read,
) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(writers.len() + 1, move |main| {
        let words = ring(slots);
        words[0].store(drawn, Ordering::Relaxed);
        let mut roles = Vec::new();
        for tickets in writers {
            let words = words.clone();
            roles.push(role(move || {
                let ring = Ring::new(&words, STRIDE);
                for ticket in *tickets {
                    let ticket = ticket.unwrap_or_else(|| ring.ticket());
                    let _ = write(&ring, ticket, &record_of(ticket));
                }
                Vec::new()
            }));
        }
        let (reading, tickets) = (words.clone(), watched.clone());
        roles.push(role(move || ends_of(&reading, read, tickets)));
        let while_writing = play(main, roles).pop().unwrap();
        let at_rest = ends_of(&words, read, 0..u64::MAX);
        for (ticket, found) in at_rest.iter().enumerate() {
            let ended = matches!(found, Some(SlotRead::Record | SlotRead::Lapped | SlotRead::Abandoned));
            assert!(ended, "ticket {ticket} has no end: {found:?}");
        }
        for (before, after) in while_writing.iter().zip(&at_rest[watched.start as usize..]) {
            assert!(before.is_some(), "a reader was overtaken at each try");
            match before {
                Some(SlotRead::Record) => {
                    assert_ne!(*after, Some(SlotRead::Abandoned), "a record was abandoned")
                }
                Some(SlotRead::Lapped) => {
                    assert_eq!(*after, Some(SlotRead::Lapped), "a lapped ticket came back")
                }
                _ => {}
            }
        }
        let newest = at_rest.len().saturating_sub(1);
        assert!(
            writers.len() > 1 || at_rest.get(newest) == Some(&Some(SlotRead::Record)),
            "a single writer abandoned a record"
        );
    })
    .preempted_at_most(2, 2)
}

/// Two writers of one slot.
const TWO: (u64, &[&[Option<u64>]]) = (0, &[&[None], &[None]]);
/// One writer laps the other.
const LAPS: (u64, &[&[Option<u64>]]) = (0, &[&[None, None], &[None]]);
/// A writer that took its ticket long ago, while others are one and two rounds ahead.
const STALLED: (u64, &[&[Option<u64>]]) = (3, &[&[Some(0)], &[Some(1), Some(2)]]);

#[test]
fn two_writers_of_one_slot_leave_each_ticket_one_end() {
    one_end_a_ticket(1, TWO, 0..2, ship_write, ship_read).holds();
}

#[test]
fn writers_of_different_slots_are_not_in_each_others_way() {
    one_end_a_ticket(2, TWO, 0..2, ship_write, ship_read).holds();
}

#[test]
fn a_writer_that_laps_another_leaves_each_ticket_one_end() {
    one_end_a_ticket(1, LAPS, 1..2, ship_write, ship_read).holds();
}

#[test]
fn a_stalled_writer_leaves_each_ticket_one_end() {
    for ticket in [0, 2] {
        one_end_a_ticket(1, STALLED, ticket..ticket + 1, ship_write, ship_read).holds();
    }
}

#[test]
fn one_writer_alone_never_gives_up() {
    one_end_a_ticket(1, (0, &[&[None, None]]), 0..2, ship_write, ship_read).holds();
}

/// What a mutant writer lacks.
#[derive(Clone, Copy, PartialEq)]
enum Lack {
    Swap,
    LookForNewer,
    LookForBusy,
    Acquire,
    Fence,
    Release,
    Mark,
}

/// [`Ring::write`] without one of its steps.
fn write_without(lack: Lack, ring: &Ring<'_>, ticket: u64, record: &[u64]) -> Written {
    let [sequence, mark, to @ ..] = ring.slot_of(ticket) else { panic!("no slot") };
    let published = (ticket + 1) * 2;
    let found = sequence.load(Ordering::Relaxed);
    let acquire = if lack == Lack::Acquire { Ordering::Relaxed } else { Ordering::Acquire };
    let claimed = (found % 2 == 0 || lack == Lack::LookForBusy)
        && (found < published || lack == Lack::LookForNewer)
        && if lack == Lack::Swap {
            sequence.store(published - 1, Ordering::Relaxed);
            true
        } else {
            sequence.compare_exchange(found, published - 1, acquire, Ordering::Relaxed).is_ok()
        };
    if !claimed {
        if lack != Lack::Mark {
            mark.fetch_max(ticket + 1, Ordering::Relaxed);
        }
        return Written::Abandoned;
    }
    if lack != Lack::Fence {
        fence(Ordering::Release);
    }
    words::store(to, record);
    let release = if lack == Lack::Release { Ordering::Relaxed } else { Ordering::Release };
    sequence.store(published, release);
    Written::Published
}

#[test]
fn a_claim_without_a_swap_leaves_a_ticket_without_an_end() {
    one_end_a_ticket(1, TWO, 0..2, |r, t, w| write_without(Lack::Swap, r, t, w), ship_read)
        .breaks("has no end");
}

#[test]
fn a_claim_over_a_newer_record_leaves_that_one_without_an_end() {
    one_end_a_ticket(1, TWO, 0..2, |r, t, w| write_without(Lack::LookForNewer, r, t, w), ship_read)
        .breaks("has no end");
}

#[test]
fn a_claim_over_a_busy_slot_mixes_two_records() {
    one_end_a_ticket(1, TWO, 0..2, |r, t, w| write_without(Lack::LookForBusy, r, t, w), ship_read)
        .breaks("torn");
}

#[test]
fn a_relaxed_claim_mixes_two_records() {
    one_end_a_ticket(1, TWO, 0..2, |r, t, w| write_without(Lack::Acquire, r, t, w), ship_read).breaks("torn");
}

#[test]
fn without_the_writers_fence_a_record_stands_under_a_wrong_ticket() {
    one_end_a_ticket(1, TWO, 0..2, |r, t, w| write_without(Lack::Fence, r, t, w), ship_read).breaks("torn");
}

#[test]
fn a_relaxed_publication_shows_a_record_half_written() {
    one_end_a_ticket(1, TWO, 0..2, |r, t, w| write_without(Lack::Release, r, t, w), ship_read).breaks("torn");
}

#[test]
fn a_ticket_that_is_given_up_without_a_mark_has_no_end() {
    one_end_a_ticket(1, STALLED, 2..3, |r, t, w| write_without(Lack::Mark, r, t, w), ship_read)
        .breaks("has no end");
}

/// [`RingReader::read`] with a single try, without its second load or one of its fences.
fn read_once(
    ring: &RingReader<'_>,
    ticket: u64,
    out: &mut [u64],
    fences: [bool; 2],
    second_look: bool,
) -> Result<SlotRead, Unreadable> {
    let start = (1 + (ticket % ring.capacity()) as usize) * ring.stride;
    let slot = ring.words.slice(start..start + ring.stride).ok_or(Unreadable::Corrupt)?;
    let wanted = (ticket + 1) * 2;
    let before = slot.load(0);
    if fences[0] {
        fence(Ordering::Acquire);
    }
    if before != wanted {
        return ring.read(ticket, out, &mut Patience::for_a_scan());
    }
    slot.slice(SLOT_HEAD_WORDS..ring.stride).ok_or(Unreadable::Corrupt)?.copy_to(out);
    if fences[1] {
        fence(Ordering::Acquire);
    }
    Ok(if !second_look || slot.load(0) == before { SlotRead::Record } else { SlotRead::Lapped })
}

#[test]
fn without_the_readers_first_fence_a_record_is_torn() {
    one_end_a_ticket(1, TWO, 0..2, ship_write, |r, t, out| read_once(r, t, out, [false, true], true))
        .breaks("torn");
}

#[test]
fn without_the_readers_second_fence_a_record_is_torn() {
    one_end_a_ticket(1, TWO, 0..2, ship_write, |r, t, out| read_once(r, t, out, [true, false], true))
        .breaks("torn");
}

#[test]
fn without_the_readers_second_look_a_record_is_torn() {
    one_end_a_ticket(1, TWO, 0..2, ship_write, |r, t, out| read_once(r, t, out, [true, true], false))
        .breaks("torn");
}

type Push = fn(&Ring<'_>, &[u64]);
type Take = fn(&AtomicU64) -> bool;

/// The lane passes from one thread to another, and each pushes while it holds the lane; and a reader.
fn a_lane_passes_on(take: Take, push: Push) -> Model<impl Fn(usize) + Clone + Send + Sync + 'static> {
    Model::new(3, move |main| {
        let (words, taken) = (ring(1), memory(1));
        let holder = || {
            let (words, taken) = (words.clone(), taken.clone());
            role(move || {
                if !take(&taken[0]) {
                    return Vec::new();
                }
                // Only the ring knows the ticket; the record is built for the ticket that it will get.
                let ring = Ring::new(&words, STRIDE);
                push(&ring, &record_of(words[0].load(Ordering::Relaxed)));
                taken[0].store(0, Ordering::Release);
                Vec::new()
            })
        };
        let reading = words.clone();
        let reader = role(move || ends_of(&reading, ship_read, 0..2));
        play(main, vec![holder(), holder(), reader]);
        let at_rest = ends_of(&words, ship_read, 0..2);
        let newest = at_rest.len() - 1;
        for (ticket, found) in at_rest.into_iter().enumerate() {
            let wanted = if ticket == newest { SlotRead::Record } else { SlotRead::Lapped };
            assert_eq!(found, Some(wanted), "a record is lost");
        }
    })
    .preempted_at_most(2, 2)
}

fn take_with(order: Ordering, taken: &AtomicU64) -> bool {
    taken.compare_exchange(0, 1, order, Ordering::Relaxed).is_ok()
}

fn ship_push(ring: &Ring<'_>, record: &[u64]) {
    ring.push(record);
}

#[test]
fn a_lane_that_passes_from_thread_to_thread_keeps_its_records_whole() {
    a_lane_passes_on(|taken| take_with(Ordering::Acquire, taken), ship_push).holds();
}

#[test]
fn a_lane_that_is_taken_over_relaxed_loses_a_record() {
    a_lane_passes_on(|taken| take_with(Ordering::Relaxed, taken), ship_push).breaks("a record is lost");
}

/// [`Ring::push`] without its fence, or with a relaxed publication.
fn push_without(lack: Lack, ring: &Ring<'_>, record: &[u64]) {
    let ticket = ring.words[0].load(Ordering::Relaxed);
    let [sequence, _, to @ ..] = ring.slot_of(ticket) else { panic!("no slot") };
    sequence.store(2 * ticket + 1, Ordering::Relaxed);
    if lack != Lack::Fence {
        fence(Ordering::Release);
    }
    words::store(to, record);
    let release = if lack == Lack::Release { Ordering::Relaxed } else { Ordering::Release };
    sequence.store(2 * ticket + 2, release);
    ring.words[0].store(ticket + 1, release);
}

#[test]
fn a_push_without_its_fence_tears_the_record_before_it() {
    a_lane_passes_on(
        |taken| take_with(Ordering::Acquire, taken),
        |ring, record| push_without(Lack::Fence, ring, record),
    )
    .breaks("torn");
}

#[test]
fn a_push_that_publishes_relaxed_shows_a_record_half_written() {
    a_lane_passes_on(
        |taken| take_with(Ordering::Acquire, taken),
        |ring, record| push_without(Lack::Release, ring, record),
    )
    .breaks("torn");
}
