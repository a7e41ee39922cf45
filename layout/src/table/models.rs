//! Models of the dense table, and mutants that each lack one of its steps.
//!
//! ```text
//!   a line has two entries, the hot level one line, the large level one to four; a chain has two slots
//!   a record:  │ control │ key │ key │ stamp │ check │      check = key ^ stamp, so that a torn one shows
//! ```
//! All keys but [`E`] have the same tag, so that only the key itself distinguishes them. A line's third entry makes another
//! one move: the first of a lane moves the entry in the second place, the next one that in the first.
//!
//! Where a spawn and a stop would choose the same free place, one of them fails its swap, and so looks in any case. So in
//! some models a place comes free in between.
#![allow(clippy::panic, reason = "models are tests")]

use super::at_rest::Memory;
use super::*;
use crate::lanes;
use crate::models::{Model, Role, memory, play, role};
use crate::seqlock::Patience;
use crate::sync::mutant::with_mutants;
use crate::words;

const STRIDE: usize = 5;
const A: Key = Key(1 << 46 | 1 << 6, 1);
const B: Key = Key(1 << 46 | 2 << 6, 2);
const C: Key = Key(1 << 46 | 3 << 6, 3);
const D: Key = Key(1 << 46 | 4 << 6, 4);
/// A key of another tag.
const E: Key = Key(2 << 46 | 5 << 6, 5);

/// The ways in which a mutant fails.
const SET: &str = "other actors live";
const OLDER: &str = "the record of an older actor";
const PLACES: &str = "in no place, or in two";
const NOT_FREE: &str = "a free slot that is not free";
const NOT_LIVE: &str = "whose slot does not live";
const TORN: &str = "torn";
const FILTER: &str = "the filter counts";
const ORPHAN: &str = "orphan";
const LENGTH: &str = "a chain has another length";

fn record(key: Key, stamp: u64) -> [u64; STRIDE - 1] {
    [key.0, key.1, stamp, key.0 ^ stamp]
}

fn write(slot: &[AtomicU64], key: Key, stamp: u64) {
    words::store(&slot[1..], &record(key, stamp));
}

/// Asserts that the record of a slot in hand is whole. Returns its key.
fn assert_whole(slot: &[AtomicU64]) -> Key {
    let held: Vec<u64> = slot[1..].iter().map(|word| word.load(Ordering::Relaxed)).collect();
    let key = Key(held[0], held[1]);
    assert_eq!(held, record(key, held[2]), "the record of a slot in hand is torn");
    key
}

struct Checks;

impl Witness for Checks {
    fn paired(&self, record: Option<&[AtomicU64]>) {
        record.map(assert_whole);
    }

    fn superseded(&self, origin: StopOrigin) {
        assert!(!origin.may_match_spawn());
    }

    fn lost(&self, _: &[AtomicU64]) {
        panic!("a spawn is lost");
    }
}

/// A table that threads share. The operations of roles return what the caller has to count: refused spawns minus refused
/// stops.
#[derive(Clone)]
struct Shared(Memory);

impl Shared {
    fn new(slots: usize, lanes: usize, large_lines: usize) -> Self {
        let shape = Shape { slots, stride: STRIDE, lanes, hot_lines: 1 };
        Self(Memory::with_large_lines(shape, large_lines))
    }

    fn table(&self) -> Table<'_> {
        self.0.table()
    }

    fn spawn(&self, lane: usize, key: Key, stamp: u64) -> i64 {
        let spawned = self.table().spawn(lane, key, |slot| write(slot, key, stamp), &Checks);
        i64::from(spawned == Spawned::Refused)
    }

    fn stop(&self, lane: usize, key: Key) -> i64 {
        let stopped =
            |slot: &[AtomicU64]| assert_eq!(assert_whole(slot), key, "another actor's record is torn away");
        match self.table().stop(lane, key, stopped, &Checks) {
            Stopped::Nothing => self.leave(lane, key, StopOrigin::Awaited),
            _ => 0,
        }
    }

    fn leave(&self, lane: usize, key: Key, origin: StopOrigin) -> i64 {
        -i64::from(!self.table().leave_stop(lane, key, origin, &Checks))
    }

    /// Puts a stop beside a spawn of its key, as if a bound had been met.
    fn leave_unpaired(&self, key: Key) {
        assert!(self.table().insert(0, key.0, Entry::minus(key.0, StopOrigin::Awaited), &Checks));
    }

    fn update(&self, lane: usize, key: Key, stamp: u64) -> i64 {
        let _ = self.table().update(lane, key, |slot| write(slot, key, stamp), &Checks);
        0
    }

    /// Takes the newest record of A in hand for a moment.
    fn touch(&self, lane: usize) -> i64 {
        let _ = self.table().update(lane, A, |_| (), &Checks);
        0
    }

    fn settle(&self, lane: usize) -> i64 {
        let _ = self.table().settle(lane, |_| false, &Checks);
        0
    }

    /// Copies every slot, as a reader does.
    fn read(&self) -> i64 {
        let reader = self.table().slots.reader();
        for slot in 0..reader.len() {
            let mut out = [0; STRIDE];
            if reader.read(slot, &mut out, &mut Patience::for_a_scan()) == Ok(true) {
                let key = Key(out[1], out[2]);
                let is_known = [A, B, C, D, E].contains(&key);
                assert!(is_known && out[1..] == record(key, out[3]), "a reader got a torn record");
            }
        }
        0
    }

    fn role(&self, act: impl Fn(&Self) -> i64 + 'static) -> Role<i64> {
        let shared = self.clone();
        role(move || act(&shared))
    }

    /// Asserts what is there at rest, without a sampler: the live actors with their stamps (0 is any), and the number of
    /// waiting stops.
    fn rests(&self, live: &[(Key, u64)], stops: usize) {
        let table = self.table();
        table.assert_whole();
        let (mut live, seen) = (live.to_vec(), table.live());
        live.sort_unstable();
        let keys = |of: &[(Key, u64)]| of.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        let waiting = table.found().iter().filter(|found| found.entry.kind() == Kind::Minus).count();
        assert_eq!((keys(&seen), waiting), (keys(&live), stops), "other actors live, or other stops wait");
        for ((key, stamp), (_, seen)) in live.iter().zip(&seen) {
            assert!(*stamp == 0 || stamp == seen, "the record of an older actor stands: {key}");
        }
    }
}

trait Checked: Fn(usize) + Clone + Send + Sync + 'static {}
impl<F: Fn(usize) + Clone + Send + Sync + 'static> Checked for F {}

fn model(roles: usize, crossed: usize, plain: usize, run: impl Checked) -> Model<impl Checked> {
    Model::new(roles, run).preempted_at_most(crossed, plain)
}

fn spawn_and_stop() -> Model<impl Checked> {
    model(2, 3, 4, |main| {
        let shared = Shared::new(2, 2, 1);
        play(main, vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[], 0);
    })
}

/// The two choose different places, because one comes free in between.
fn spawn_and_stop_in_different_places() -> Model<impl Checked> {
    model(2, 2, 4, |main| {
        let shared = Shared::new(4, 2, 1);
        shared.spawn(1, E, 1);
        play(main, vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, E) + s.stop(2, A))]);
        shared.rests(&[], 0);
    })
}

fn spawn_and_stop_while_another_stops() -> Model<impl Checked> {
    model(3, 1, 3, |main| {
        let shared = Shared::new(4, 3, 1);
        shared.spawn(1, E, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, A, 1)),
            shared.role(|s| s.stop(2, A)),
            shared.role(|s| s.stop(3, E)),
        ];
        play(main, roles);
        shared.rests(&[], 0);
    })
}

fn spawn_stop_and_reader() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(2, 2, 1);
        let roles =
            vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, A)), shared.role(Shared::read)];
        play(main, roles);
        shared.rests(&[], 0);
    })
}

fn two_spawns_and_reader() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(4, 2, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, A, 1)),
            shared.role(|s| s.spawn(2, B, 1)),
            shared.role(Shared::read),
        ];
        play(main, roles);
        shared.rests(&[(A, 1), (B, 1)], 0);
    })
}

fn respawn_and_late_stop() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(4, 2, 1);
        shared.spawn(1, A, 1);
        play(main, vec![shared.role(|s| s.spawn(1, A, 2)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(A, 2)], 0);
    })
}

fn two_spawns_of_a_key_and_a_stop() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(4, 2, 2);
        play(main, vec![shared.role(|s| s.spawn(1, A, 1) + s.spawn(1, A, 2)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(A, 2)], 0);
    })
}

fn two_spawns_of_a_key_and_two_stops() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(4, 3, 2);
        let roles = vec![
            shared.role(|s| s.spawn(1, A, 1)),
            shared.role(|s| s.spawn(2, A, 2)),
            shared.role(|s| s.stop(3, A) + s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[], 0);
    })
}

fn two_spawns_of_a_key_and_two_stops_mixed() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(6, 3, 2);
        let roles = vec![
            shared.role(|s| s.spawn(1, A, 1) + s.stop(1, A)),
            shared.role(|s| s.spawn(2, A, 2)),
            shared.role(|s| s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[], 0);
    })
}

/// Each of two actors of a path may have to move, and the older one stops.
fn two_of_a_key_are_moved() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 2);
        shared.spawn(1, A, 1);
        shared.spawn(1, A, 2);
        play(main, vec![shared.role(|s| s.spawn(1, C, 1) + s.spawn(1, D, 1)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(A, 2), (C, 1), (D, 1)], 0);
    })
}

/// A spawn that makes another entry move, the stop of this one, and the spawn's own stop.
fn spawn_that_moves_and_its_stop() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(6, 3, 2);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, C, 1)),
            shared.role(|s| s.stop(2, C)),
            shared.role(|s| s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[(B, 1)], 0);
    })
}

fn move_and_stop() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(4, 2, 2);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        play(main, vec![shared.role(|s| s.spawn(1, C, 1)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(B, 1), (C, 1)], 0);
    })
}

/// What was moved stops, and its slot gets another tenant.
fn move_stop_and_another_tenant() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 2);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, C, 1) + s.stop(1, C)),
            shared.role(|s| s.stop(2, A) + s.spawn(2, D, 1)),
        ];
        play(main, roles);
        shared.rests(&[(B, 1), (D, 1)], 0);
    })
}

fn move_respawn_and_stop() -> Model<impl Checked> {
    model(2, 1, 2, |main| {
        let shared = Shared::new(6, 2, 4);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![shared.role(|s| s.spawn(1, C, 1)), shared.role(|s| s.spawn(2, A, 2) + s.stop(2, A))];
        play(main, roles);
        shared.rests(&[(A, 2), (B, 1), (C, 1)], 0);
    })
}

/// As the last one, but the stop is another thread's.
fn move_respawn_and_stop_elsewhere() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(6, 3, 4);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, C, 1)),
            shared.role(|s| s.spawn(2, A, 2)),
            shared.role(|s| s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[(A, 2), (B, 1), (C, 1)], 0);
    })
}

/// The respawn finds a free place, and so has moved nothing itself.
fn move_and_respawn_in_a_free_place() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 2);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, C, 1)),
            shared.role(|s| s.stop(2, B) + s.spawn(2, A, 2) + s.stop(2, A)),
        ];
        play(main, roles);
        shared.rests(&[(A, 2), (C, 1)], 0);
    })
}

/// Two threads need room in one full line, and one of the entries that may have to move stops.
fn two_moves_and_a_stop() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(6, 3, 4);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.spawn(1, C, 1)),
            shared.role(|s| s.spawn(2, D, 1)),
            shared.role(|s| s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[(B, 1), (C, 1), (D, 1)], 0);
    })
}

/// A is in the large level. It stops twice while another A comes.
fn stops_of_what_was_moved() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 4);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        shared.spawn(1, C, 1);
        play(main, vec![shared.role(|s| s.spawn(1, A, 2) + s.stop(1, A)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(B, 1), (C, 1)], 0);
    })
}

/// The hot line is full of stops, so that a spawn and its stop meet in the large level.
fn spawn_and_stop_in_the_large_level() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(4, 2, 2);
        shared.stop(1, B);
        shared.stop(1, C);
        play(main, vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[], 2);
    })
}

/// More entries of one group of tags are moved than its counter counts, and then stop.
fn full_counter() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 2);
        for (key, stamp) in [(A, 1), (A, 2), (A, 3), (A, 4), (B, 1), (B, 2)] {
            shared.spawn(1, key, stamp);
        }
        let roles = vec![shared.role(|s| s.stop(1, A) + s.stop(1, A)), shared.role(|s| s.stop(2, A))];
        play(main, roles);
        shared.stop(1, A);
        shared.rests(&[(B, 1), (B, 2)], 0);
    })
}

fn another_tenant() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(2, 2, 1);
        shared.spawn(1, A, 1);
        play(main, vec![shared.role(|s| s.stop(1, A) + s.spawn(1, B, 2)), shared.role(Shared::read)]);
        shared.rests(&[(B, 2)], 0);
    })
}

/// A slot comes to the depot while a reader copies its record: the depot's words overwrite the record's.
fn free_slot_and_reader() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(2, 1, 1);
        shared.spawn(0, B, 1);
        shared.spawn(0, A, 1);
        shared.stop(0, B);
        play(main, vec![shared.role(|s| s.stop(0, A)), shared.role(Shared::read)]);
        shared.rests(&[], 0);
    })
}

/// A slot's entry comes again with another key, because its generation is left out or has come round.
fn stop_and_another_tenant() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(2, 2, 1);
        shared.spawn(1, A, 1);
        play(main, vec![shared.role(|s| s.stop(2, A)), shared.role(|s| s.stop(1, A) + s.spawn(1, B, 2))]);
        shared.rests(&[(B, 2)], 1);
    })
}

fn stop_and_another_tenant_that_stops() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(2, 2, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.stop(2, A)),
            shared.role(|s| s.stop(1, A) + s.spawn(1, B, 2) + s.stop(1, B)),
        ];
        play(main, roles);
        shared.rests(&[], 1);
    })
}

fn update_and_another_tenant() -> Model<impl Checked> {
    model(2, 1, 2, |main| {
        let shared = Shared::new(2, 2, 1);
        shared.spawn(1, A, 1);
        play(
            main,
            vec![shared.role(|s| s.update(2, A, 1)), shared.role(|s| s.stop(1, A) + s.spawn(1, B, 2))],
        );
        shared.rests(&[(B, 2)], 0);
    })
}

fn move_and_another_tenant() -> Model<impl Checked> {
    model(2, 1, 2, |main| {
        let shared = Shared::new(4, 2, 2);
        shared.spawn(1, B, 1);
        shared.spawn(2, A, 1);
        let roles = vec![shared.role(|s| s.spawn(1, C, 1)), shared.role(|s| s.stop(2, A) + s.spawn(2, D, 2))];
        play(main, roles);
        shared.rests(&[(B, 1), (C, 1), (D, 2)], 0);
    })
}

fn threads_without_a_lane() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(3, 1, 1);
        shared.spawn(0, A, 1);
        play(main, vec![shared.role(|s| s.stop(0, A)), shared.role(|s| s.spawn(0, B, 1))]);
        shared.rests(&[(B, 1)], 0);
    })
}

fn update_stop_and_reader() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(4, 3, 2);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.update(3, A, 1)),
            shared.role(|s| s.stop(2, A)),
            shared.role(Shared::read),
        ];
        play(main, roles);
        shared.rests(&[], 0);
    })
}

fn update_respawn_and_stop() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(4, 2, 2);
        shared.spawn(1, A, 1);
        play(main, vec![shared.role(|s| s.touch(2)), shared.role(|s| s.spawn(1, A, 2) + s.stop(1, A))]);
        shared.rests(&[(A, 2)], 0);
    })
}

/// An update holds A's entry while A stops and is replaced.
fn update_stop_and_respawn() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(4, 3, 2);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.touch(3)),
            shared.role(|s| s.stop(2, A)),
            shared.role(|s| s.spawn(1, A, 2)),
        ];
        play(main, roles);
        shared.rests(&[(A, 2)], 0);
    })
}

/// What is updated is in the large level.
fn update_of_what_was_moved() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 2);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        shared.spawn(1, C, 1);
        play(main, vec![shared.role(|s| s.touch(1)), shared.role(|s| s.stop(2, A) + s.spawn(2, A, 2))]);
        shared.rests(&[(A, 2), (B, 1), (C, 1)], 0);
    })
}

/// What is updated is about to be moved.
fn update_move_and_stop() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(6, 3, 2);
        shared.spawn(1, B, 1);
        shared.spawn(1, A, 1);
        let roles = vec![
            shared.role(|s| s.update(2, A, 1)),
            shared.role(|s| s.spawn(1, C, 1)),
            shared.role(|s| s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[(B, 1), (C, 1)], 0);
    })
}

/// A pair that was left over is settled while another spawn and another stop of its key come.
fn settle_spawn_and_stop() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(4, 3, 2);
        shared.spawn(1, A, 1);
        shared.leave_unpaired(A);
        let roles = vec![
            shared.role(|s| s.settle(1)),
            shared.role(|s| s.spawn(2, A, 2)),
            shared.role(|s| s.stop(3, A)),
        ];
        play(main, roles);
        shared.rests(&[], 0);
    })
}

fn settle_and_respawn() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(4, 2, 2);
        shared.spawn(1, A, 1);
        shared.leave_unpaired(A);
        play(main, vec![shared.role(|s| s.settle(2)), shared.role(|s| s.spawn(1, A, 2))]);
        shared.rests(&[(A, 2)], 0);
    })
}

/// A stop is given up, or kept, while its spawn comes.
fn expiry_and_spawn(expires: bool) -> Model<impl Checked> {
    model(2, 3, 4, move |main| {
        let shared = Shared::new(2, 2, 1);
        shared.stop(1, A);
        let settles = shared.role(move |s| s.table().settle(1, |_| expires, &Checks).expired as i64);
        let ends = play(main, vec![settles, shared.role(|s| s.spawn(2, A, 1))]);
        shared.rests(if ends[0] == 1 { &[(A, 1)] } else { &[] }, 0);
    })
}

fn expiry_and_spawn_given_up() -> Model<impl Checked> {
    expiry_and_spawn(true)
}

fn expiry_and_spawn_kept() -> Model<impl Checked> {
    expiry_and_spawn(false)
}

/// The stop of an older actor is left while an actor of its path is spawned.
fn stop_of_an_older_actor_and_spawn() -> Model<impl Checked> {
    model(2, 3, 4, |main| {
        let shared = Shared::new(2, 2, 1);
        play(
            main,
            vec![shared.role(|s| s.leave(1, A, StopOrigin::Outlived)), shared.role(|s| s.spawn(2, A, 1))],
        );
        let waiting = shared.table().stops_of(A);
        shared.rests(&[(A, 1)], waiting);
        let settled = shared.table().settle(1, |_| false, &Checks);
        assert_eq!((settled.expired, settled.waiting), (waiting as u64, 0), "the stop is not given up");
        shared.rests(&[(A, 1)], 0);
    })
}

/// A waiting stop of an older actor, while an actor of its path is spawned and stops.
fn superseded_stop_and_stop() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(2, 2, 1);
        shared.leave(1, A, StopOrigin::Older);
        play(main, vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[], 0);
    })
}

/// A replacement by name takes the waiting stop while the spawn comes for which the stop waits.
fn take_stop_and_spawn() -> Model<impl Checked> {
    model(2, 3, 4, |main| {
        let shared = Shared::new(2, 2, 1);
        shared.stop(1, A);
        let takes = shared.role(|s| i64::from(s.table().take_stop(A).is_some()));
        let ends = play(main, vec![takes, shared.role(|s| s.spawn(2, A, 1))]);
        shared.rests(if ends[0] == 1 { &[(A, 1)] } else { &[] }, 0);
    })
}

/// A spawn for which there is no slot, and its stop.
fn spilled_spawn_and_stop() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(1, 2, 2);
        shared.spawn(0, B, 1);
        play(main, vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(B, 1)], 0);
        assert_eq!(shared.table().found().len(), 1, "other actors live: a spilled pair is left");
    })
}

/// A spawn without a slot is moved while it stops.
fn spilled_spawn_is_moved() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(1, 2, 2);
        shared.spawn(0, B, 1);
        shared.spawn(0, A, 1);
        play(main, vec![shared.role(|s| s.spawn(1, C, 1) + s.stop(1, C)), shared.role(|s| s.stop(2, A))]);
        shared.rests(&[(B, 1)], 0);
        assert_eq!(shared.table().found().len(), 1, "other actors live: a spilled pair is left");
    })
}

/// Everything is full: what is not taken in is reported.
fn full_index() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(6, 2, 1);
        for key in [B, C, D, E] {
            shared.spawn(1, key, 1);
        }
        let ends: i64 = play(main, vec![shared.role(|s| s.spawn(1, A, 1)), shared.role(|s| s.stop(2, A))])
            .into_iter()
            .sum();
        let table = shared.table();
        table.assert_whole();
        let live = table.live().iter().filter(|(key, _)| *key == A).count() as i64;
        assert_eq!(live - table.stops_of(A) as i64 + ends, 0, "the sum is wrong");
    })
}

/// Pops and pushes of the depot by two threads; each owns the slots that it has popped.
fn depot() -> Model<impl Checked> {
    model(2, 3, 4, |main| {
        let (shared, owned) = (Shared::new(3, 0, 1), memory(3));
        let slots: Vec<_> =
            (0..3).filter_map(|_| shared.table().slots.pop(0).map(|slot| slot.index)).collect();
        for slot in slots.into_iter().rev() {
            shared.table().slots.free(0, shared.table().slots.slot(slot).unwrap());
        }
        let pop = |shared: &Shared, owned: &[AtomicU64]| {
            let index = shared.table().slots.pop(0)?.index;
            let is_own = owned[index].compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            assert!(is_own, "a slot is in no place, or in two");
            Some(index)
        };
        let (one, other) = (owned.clone(), owned);
        let roles = vec![
            shared.role(move |s| i64::from(pop(s, &one).is_some())),
            shared.role(move |s| {
                let (first, _second) = (pop(s, &other), pop(s, &other));
                if let Some(index) = first {
                    other[index].store(0, Ordering::Release);
                    s.table().slots.free(0, s.table().slots.slot(index).unwrap());
                }
                i64::from(pop(s, &other).is_some())
            }),
        ];
        play(main, roles);
    })
}

/// One lane fills chains, another lane takes them.
fn chains_change_hands() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let (shared, owned) = (Shared::new(6, 2, 1), memory(6));
        let slots: Vec<_> =
            (0..6).filter_map(|_| shared.table().slots.pop(1).map(|slot| slot.index)).collect();
        assert_eq!(slots.len(), 6);
        owned.iter().for_each(|owned| owned.store(1, Ordering::Relaxed));
        let (one, other) = (owned.clone(), owned);
        let roles = vec![
            shared.role(move |s| {
                for slot in &slots {
                    one[*slot].store(0, Ordering::Relaxed);
                    s.table().slots.free(1, s.table().slots.slot(*slot).unwrap());
                }
                0
            }),
            shared.role(move |s| {
                for _ in 0..2 {
                    let Some(slot) = s.table().slots.pop(2) else { continue };
                    let owned = &other[slot.index];
                    let is_own = owned.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
                    assert!(is_own, "a slot is in no place, or in two");
                    owned.store(0, Ordering::Relaxed);
                    s.table().slots.free(2, slot);
                }
                0
            }),
        ];
        play(main, roles);
        shared.table().assert_whole();
    })
}

/// A thread without a lane takes a chain apart while a lane takes chains.
fn chain_is_taken_apart() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let shared = Shared::new(8, 2, 1);
        let slots: Vec<_> = (0..6).filter_map(|_| shared.table().slots.pop(1)).collect();
        slots.into_iter().for_each(|slot| shared.table().slots.free(1, slot));
        let roles = vec![shared.role(|s| s.spawn(0, A, 1) + s.stop(0, A)), shared.role(|s| s.spawn(2, B, 1))];
        play(main, roles);
        shared.rests(&[(B, 1)], 0);
    })
}

/// A lane's number goes to another thread, with the slots that the lane holds.
fn lane_changes_hands() -> Model<impl Checked> {
    model(2, 2, 3, |main| {
        let (shared, bitmap) = (Shared::new(4, 1, 1), memory(1));
        // The table has one lane; a thread with another number has none.
        let spawns = |shared: &Shared, bitmap: &[AtomicU64], key| {
            let lane = if is(Mutant::LaneRelaxed) {
                let claimed = bitmap[0].compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
                if claimed.is_ok() { 1 } else { 2 }
            } else {
                lanes::claim(bitmap).unwrap_or(2)
            };
            let refused = shared.spawn(lane as usize, key, 1);
            match lane {
                1 if is(Mutant::LaneRelaxed) => bitmap[0].store(0, Ordering::Relaxed),
                _ => lanes::give_back(bitmap, lane),
            }
            refused
        };
        let (one, other) = (bitmap.clone(), bitmap);
        play(
            main,
            vec![shared.role(move |s| spawns(s, &one, A)), shared.role(move |s| spawns(s, &other, B))],
        );
        shared.rests(&[(A, 1), (B, 1)], 0);
    })
}

/// Two samplers collect an orphan while a spawn needs a slot.
fn orphan_and_samplers() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(2, 2, 1);
        let slots: Vec<_> = (0..2).filter_map(|_| shared.table().slots.pop(1)).collect();
        slots.into_iter().for_each(|slot| shared.table().slots.orphan(slot));
        let roles = vec![
            shared.role(|s| s.settle(1)),
            shared.role(|s| s.settle(0)),
            shared.role(|s| s.spawn(2, A, 1) + s.read()),
        ];
        play(main, roles);
        let table = shared.table();
        table.assert_whole();
        assert_eq!(table.orphans(), 0, "an orphan is left");
        assert_eq!(table.live().len() + table.spilled_of(A), 1, "other actors live");
    })
}

/// A slot becomes an orphan while a sampler collects orphans and a reader reads.
fn orphan_and_reader() -> Model<impl Checked> {
    model(3, 1, 2, |main| {
        let shared = Shared::new(4, 2, 1);
        shared.spawn(1, A, 1);
        let abandons = |s: &Shared| {
            let table = s.table();
            let taken = table
                .only_spawn(A)
                .filter(|(word, held, _)| Place { word, level: Level::Hot }.swap(*held, Entry::NONE));
            taken.into_iter().for_each(|(_, _, slot)| table.slots.orphan(slot));
            0
        };
        play(
            main,
            vec![
                shared.role(abandons),
                shared.role(|s| s.settle(2) + s.spawn(2, E, 1)),
                shared.role(Shared::read),
            ],
        );
        shared.settle(1);
        shared.rests(&[(E, 1)], 0);
        assert_eq!(shared.table().orphans(), 0, "an orphan is left");
    })
}

/// For each model: it holds, with some mutants too, and with others it breaks in these ways.
macro_rules! models {
    ($($model:ident {
        $(holds with $($kept:ident)+;)*
        $(breaks with $($mutant:ident)+: $($how:expr),+;)*
    })*) => { $(
        mod $model {
            use super::*;

            #[test]
            fn holds() {
                with_mutants(&[], || super::$model().holds());
                $(with_mutants(&[$(Mutant::$kept),+], || super::$model().holds());)*
            }

            #[test]
            fn breaks() {
                $(with_mutants(&[$(Mutant::$mutant),+], || super::$model().breaks_in_a_way(&[$($how),+]));)*
            }
        }
    )* };
}

models! {
    spawn_and_stop {}
    spawn_and_stop_in_different_places {
        breaks with SpawnLooksNot: SET;
        breaks with StopLooksNot: SET;
        breaks with NoFence: SET;
    }
    spawn_and_stop_while_another_stops {
        breaks with EpochFirst: SET;
    }
    spawn_stop_and_reader {}
    two_spawns_and_reader {}
    respawn_and_late_stop {}
    two_spawns_of_a_key_and_a_stop {
        breaks with NoLater: OLDER;
        breaks with NoSecondLook: OLDER;
    }
    two_spawns_of_a_key_and_two_stops {
        breaks with SpawnLooksNot: SET;
    }
    two_spawns_of_a_key_and_two_stops_mixed {
        breaks with SpawnLooksNot: SET;
        breaks with StopLooksNot: SET;
    }
    two_of_a_key_are_moved {
        breaks with MoveHoldsNot: PLACES, NOT_FREE, NOT_LIVE, SET, OLDER;
    }
    spawn_that_moves_and_its_stop {
        breaks with MoverLooksNot: SET;
    }
    move_and_stop {
        breaks with MoverLooksNot: SET;
    }
    move_stop_and_another_tenant {
        breaks with MoveHoldsNot: PLACES, NOT_FREE, NOT_LIVE, SET;
    }
    move_respawn_and_stop {
        breaks with MoveRemovesFirst: OLDER;
        breaks with LargeUnseen: OLDER, SET;
    }
    move_respawn_and_stop_elsewhere {
        breaks with LargeFirst: OLDER;
        breaks with MoveRemovesFirst: OLDER;
    }
    move_and_respawn_in_a_free_place {
        breaks with HeadCountedLate: OLDER;
        breaks with FilterCountedLate: OLDER;
        breaks with FilterKept: FILTER;
    }
    two_moves_and_a_stop {
        breaks with MoveHoldsNot: PLACES, NOT_FREE, NOT_LIVE, SET;
    }
    stops_of_what_was_moved {
        breaks with LargeUnseen: SET;
    }
    spawn_and_stop_in_the_large_level {
        breaks with StopLooksNot: SET;
    }
    full_counter {
        breaks with FilterWraps: SET, OLDER, FILTER;
        breaks with FilterLeavesFull: SET, OLDER, FILTER;
    }
    another_tenant {
        breaks with NoBusy: TORN;
    }
    free_slot_and_reader {
        breaks with LinkUnfenced: TORN;
    }
    stop_and_another_tenant {
        holds with NoGeneration;
        holds with KeyReadOnce;
        breaks with NoGeneration KeyReadOnce: SET, TORN;
    }
    stop_and_another_tenant_that_stops {
        holds with NoGeneration;
        breaks with NoGeneration PutBackLooksNot: SET;
    }
    update_and_another_tenant {
        holds with NoGeneration;
        breaks with NoGeneration KeyReadOnce: SET, TORN;
    }
    move_and_another_tenant {
        holds with NoGeneration;
    }
    threads_without_a_lane {
        breaks with FreedAfterPush: NOT_FREE, NOT_LIVE, SET, PLACES;
    }
    update_stop_and_reader {
        breaks with UpdaterLooksNot: SET;
    }
    update_respawn_and_stop {
        breaks with UpdaterLooksNot: SET;
    }
    update_stop_and_respawn {
        breaks with StopOfAnotherTaken: OLDER;
    }
    update_of_what_was_moved {
        breaks with UpdaterLooksNot: SET;
    }
    update_move_and_stop {
        breaks with UpdaterLooksNot: SET;
    }
    settle_spawn_and_stop {
        breaks with RestoreLooksNot: SET;
        breaks with StopHeldNot: SET;
    }
    settle_and_respawn {
        breaks with SpawnTakenFirst: OLDER, SET, PLACES;
    }
    expiry_and_spawn_given_up {}
    expiry_and_spawn_kept {
        breaks with RestoreLooksNot: SET;
    }
    stop_of_an_older_actor_and_spawn {
        breaks with OriginIgnored: SET;
    }
    superseded_stop_and_stop {}
    take_stop_and_spawn {}
    spilled_spawn_and_stop {
        breaks with StopLooksNot: SET;
    }
    spilled_spawn_is_moved {}
    full_index {}
    depot {
        breaks with Untagged: PLACES;
    }
    chains_change_hands {
        breaks with ChainRelaxed: PLACES, LENGTH;
    }
    chain_is_taken_apart {}
    lane_changes_hands {
        breaks with LaneRelaxed: PLACES, SET, TORN, NOT_LIVE;
    }
    orphan_and_samplers {
        breaks with OrphanUnswapped: PLACES, LENGTH, NOT_FREE, NOT_LIVE, ORPHAN;
    }
    orphan_and_reader {}
}
