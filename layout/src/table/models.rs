//! Models of the actor table, and mutants of its operations.
//!
//! ```text
//!   one bucket or two of two slots; one spill group of two words
//!   a record:  │ key │ key │ stamp │ stamp │ stamp │ check │      check = key + stamp, so that a torn one shows
//! ```
//! All keys have the same tag, so that only the key itself distinguishes them.
#![allow(clippy::panic, reason = "models are tests")]

use super::*;
use crate::models::{Memory, Model, Role, memory, play, role};
use crate::region::{HeaderWriter, header};

const STRIDE: usize = 6;
const A: Key = Key([0x0000_0004_0000_0004, 7]);
const B: Key = Key([0x0000_0008_0000_0008, 7]);
const C: Key = Key([0x0000_000c_0000_000c, 7]);

/// The operations that a model's roles use.
#[derive(Clone, Copy)]
struct Ops {
    arrive: fn(&Table<'_>, Key, &[u64; STRIDE]) -> bool,
    take: fn(&Table<'_>, Key, Sign) -> TakeOutcome,
    put: fn(&Table<'_>, Key, Sign, &[u64]) -> Put,
    update: fn(&Table<'_>, Key, u64) -> bool,
    settle: fn(&Table<'_>) -> Settled,
    read: fn(&TableReader<'_>, usize, &mut [u64]) -> Result<Entry, Unreadable>,
}

const SHIPPED: Ops = Ops {
    arrive: |table, key, record| {
        table.arrive(key).map(|arrival| arrival.publish(record, STRIDE, &[])).is_some()
    },
    take: |table, key, sign| table.take(key, sign),
    put: |table, key, sign, record| table.put(key, sign, record),
    update: |table, key, stamp| table.update(key, |slot| words::store(slot, &record(key, stamp))),
    settle: |table| table.settle_with(|_| false, |slot| assert_whole(slot)),
    read: |reader, index, out| reader.read(index, out, &mut Patience::for_a_scan()),
};

/// Only the fallbacks of the usual operations.
const UNUSUAL: Ops = Ops {
    arrive: |_, _, _| false,
    take: |table, key, sign| match sign {
        Sign::Plus => table.take_plus(key),
        Sign::Minus => table.take_minus(key),
    },
    ..SHIPPED
};

/// Asserts that the record of a spawn that was passed on is whole.
fn assert_whole(slot: &[AtomicU64]) {
    let held: Vec<u64> = slot.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    let key = Key([held[0], held[1]]);
    assert_eq!(held, record(key, held[STAMP_WORD]), "the record of another actor");
}

/// Settles as the sampler does in a round in which the spawn of a waiting stop would have come by now.
const IN_A_WHOLE_ROUND: Ops = Ops { settle: |table| table.settle_with(outlived, assert_whole), ..SHIPPED };

fn outlived(stop: &mut WaitingStop) -> bool {
    if stop.origin == StopOrigin::Unknown {
        stop.origin = StopOrigin::Outlived;
    }
    stop.first_round = 1;
    false
}

fn record(key: Key, stamp: u64) -> [u64; STRIDE] {
    [key.0[0], key.0[1], stamp, stamp, stamp, key.0[0] + stamp]
}

/// The words of a table, and the number of refused spawns minus refused stops.
#[derive(Clone)]
struct Shared {
    control: Memory,
    slots: Memory,
    spill: Memory,
    spill_used: Memory,
    ops: Ops,
}

impl Shared {
    fn new(buckets: usize, ops: Ops) -> Self {
        let slots = buckets * BUCKET_SLOTS;
        Self {
            control: memory(slots),
            slots: memory(slots * STRIDE),
            spill: memory(BUCKET_SLOTS),
            spill_used: memory(1),
            ops,
        }
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.control, &self.slots, STRIDE, &self.spill, &self.spill_used[0])
    }

    fn reader(&self) -> TableReader<'_> {
        TableReader::new(Words::new(&self.control), Words::new(&self.slots), STRIDE, Words::new(&self.spill))
    }

    /// Spawns as the spawn hook does. Returns what the caller has to count.
    fn spawn(&self, key: Key, stamp: u64) -> i64 {
        if (self.ops.arrive)(&self.table(), key, &record(key, stamp)) {
            return 0;
        }
        for _ in 0..2 * BUCKET_SLOTS {
            match (self.ops.take)(&self.table(), key, Sign::Minus) {
                TakeOutcome::Nothing => break,
                TakeOutcome::Stop(origin) if !origin.may_match_spawn() => {}
                _ => return 0,
            }
        }
        self.put(key, Sign::Plus, stamp)
    }

    /// Stops as the stop hook does. Returns what the caller has to count.
    fn stop(&self, key: Key) -> i64 {
        let found = (self.ops.take)(&self.table(), key, Sign::Plus) != TakeOutcome::Nothing;
        if found { 0 } else { self.put(key, Sign::Minus, 0) }
    }

    fn put(&self, key: Key, sign: Sign, stamp: u64) -> i64 {
        match ((self.ops.put)(&self.table(), key, sign, &record(key, stamp)), sign) {
            (Put::Refused, Sign::Plus) => 1,
            (Put::Refused, Sign::Minus) => -1,
            _ => 0,
        }
    }

    fn settle(&self) -> i64 {
        let _ = (self.ops.settle)(&self.table());
        0
    }

    fn update(&self, key: Key, stamp: u64) -> i64 {
        let _ = (self.ops.update)(&self.table(), key, stamp);
        0
    }

    /// Makes A's newest record BUSY for a moment.
    fn touch(&self) -> i64 {
        self.table().update(A, |_| ());
        0
    }

    /// Copies every slot.
    fn read(&self) -> i64 {
        for index in 0..self.control.len() {
            let mut out = [0; STRIDE];
            match (self.ops.read)(&self.reader(), index, &mut out) {
                Ok(Entry::Held(sign)) => {
                    if sign == Sign::Minus {
                        // The origin of a stop may change while the stop is in the table; readers ignore it.
                        (out[2], out[3]) = (out[4], out[4]);
                    }
                    let key = [A, B, C].into_iter().find(|key| key.0 == [out[0], out[1]]);
                    assert_eq!(
                        key.map(|key| record(key, out[4])),
                        Some(out),
                        "torn, or under another key's name"
                    );
                }
                Ok(Entry::Free) | Err(Unreadable::Busy) => {}
                Err(Unreadable::Corrupt) => panic!("a slot holds what no writer stores"),
            }
        }
        0
    }

    fn role(&self, act: impl Fn(&Self) -> i64 + 'static) -> Role<i64> {
        let shared = self.clone();
        role(move || act(&shared))
    }

    /// The sum of the entries of this key with all threads at rest, and the stamps of its spawns.
    fn at_rest(&self, key: Key) -> (i64, Vec<u64>) {
        let (mut sum, mut stamps) = (0, Vec::new());
        for index in 0..self.control.len() {
            let mut out = [0; STRIDE];
            match self.reader().read(index, &mut out, &mut Patience::for_a_scan()) {
                Ok(Entry::Held(sign)) if [out[0], out[1]] == key.0 => match sign {
                    Sign::Plus => {
                        sum += 1;
                        stamps.push(out[4]);
                    }
                    Sign::Minus => sum -= 1,
                },
                Ok(_) => {}
                Err(_) => panic!("a slot is never at rest"),
            }
        }
        for (fingerprint, sign) in self.reader().spilled() {
            if fingerprint == key.fingerprint() {
                sum += if sign == Sign::Plus { 1 } else { -1 };
            }
        }
        (sum, stamps)
    }

    /// Runs these roles. Returns by how much the sums of A and B, with refused entries, have changed; before and after the
    /// table is settled they must be equal.
    fn play(&self, main: usize, roles: Vec<Role<i64>>) -> i64 {
        let after = self.unsettled(main, roles);
        let sum = self.sum();
        let _ = self.table().settle(|_| false);
        assert_eq!(self.sum(), sum, "settling changed the sum");
        after
    }

    /// As [`Self::play`], without settling.
    fn unsettled(&self, main: usize, roles: Vec<Role<i64>>) -> i64 {
        let before = self.sum();
        let refused: i64 = play(main, roles).into_iter().sum();
        self.sum() + refused - before
    }

    fn sum(&self) -> i64 {
        self.at_rest(A).0 + self.at_rest(B).0 + self.at_rest(C).0
    }

    /// Asserts that this key has exactly one entry: a spawn with this stamp.
    fn assert_only(&self, key: Key, stamp: u64) {
        assert_eq!(self.at_rest(key), (1, vec![stamp]), "not the newer incarnation alone");
    }

    /// Asserts that the table is empty.
    fn assert_empty(&self) {
        let held = self.control.iter().filter(|word| Control(word.load(Ordering::Relaxed)).state() != FREE);
        assert_eq!(held.count() + self.reader().spilled().count(), 0, "the table is not empty");
    }
}

trait Checked: Fn(usize) + Clone + Send + Sync + 'static {}
impl<F: Fn(usize) + Clone + Send + Sync + 'static> Checked for F {}

/// A spawn and its stop in either order, and a reader.
fn spawn_and_stop(ops: Ops) -> Model<impl Checked> {
    Model::new(3, move |main| {
        let shared = Shared::new(1, ops);
        let roles =
            vec![shared.role(|s| s.spawn(A, 1)), shared.role(|s| s.stop(A)), shared.role(|s| s.read())];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        shared.assert_empty();
    })
    .preempted_at_most(1, 2)
}

/// Two actors are spawned at the same time, and a reader.
fn two_arrivals(ops: Ops) -> Model<impl Checked> {
    Model::new(3, move |main| {
        let shared = Shared::new(2, ops);
        let roles =
            vec![shared.role(|s| s.spawn(A, 1)), shared.role(|s| s.spawn(B, 2)), shared.role(|s| s.read())];
        assert_eq!(shared.play(main, roles), 2, "the sum is wrong");
        shared.assert_only(A, 1);
        shared.assert_only(B, 2);
    })
    .preempted_at_most(1, 2)
}

/// A spawn whose stop came first, and a reader.
fn late_spawn(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        assert_eq!(shared.stop(A), 0);
        let roles = vec![shared.role(|s| s.spawn(A, 1)), shared.role(|s| s.read())];
        assert_eq!(shared.unsettled(main, roles), 1, "the sum is wrong");
        shared.assert_empty();
    })
    .preempted_at_most(2, 2)
}

/// An actor is replaced while its stop has not come.
fn respawn_and_late_stop(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        assert_eq!(shared.spawn(A, 1), 0);
        let roles = vec![shared.role(|s| s.spawn(A, 2)), shared.role(|s| s.stop(A))];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        shared.assert_only(A, 2);
    })
    .preempted_at_most(2, 3)
}

/// An actor is replaced while a spawn and a stop that came at the same time are not settled yet. Other threads change its
/// record and settle.
fn respawn_over_a_pair(ops: Ops, other: fn(&Shared) -> i64) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        assert_eq!(shared.put(A, Sign::Plus, 1) + shared.put(A, Sign::Minus, 0), 0);
        let roles = vec![shared.role(|s| s.spawn(A, 2)), shared.role(other)];
        assert_eq!(shared.play(main, roles), 1, "the sum is wrong");
        shared.assert_only(A, 2);
    })
    .preempted_at_most(2, 3)
}

/// An actor and its successor are spawned one after the other. The stop of the first comes at any time.
fn two_spawns_and_a_stop(ops: Ops, newest: bool) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        let roles = vec![shared.role(|s| s.spawn(A, 1) + s.spawn(A, 2)), shared.role(|s| s.stop(A))];
        assert_eq!(shared.play(main, roles), 1, "the sum is wrong");
        if newest {
            shared.assert_only(A, 2);
        }
    })
    .preempted_at_most(2, 2)
}

/// An actor's record is changed while the actor is replaced and stops.
fn change_and_replacement(ops: Ops, newest: bool) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        assert_eq!(shared.spawn(A, 1), 0);
        let roles = vec![shared.role(Shared::touch), shared.role(|s| s.spawn(A, 2) + s.stop(A))];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        assert_eq!(shared.at_rest(A).0, 1);
        if newest {
            shared.assert_only(A, 2);
        }
    })
    .preempted_at_most(2, 2)
}

/// The table has two spawns of a path, and both are stopped at the same time.
fn two_stops(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        assert_eq!(shared.spawn(A, 1) + shared.put(A, Sign::Plus, 2), 0);
        let roles = vec![shared.role(|s| s.stop(A)), shared.role(|s| s.stop(A))];
        assert_eq!(shared.play(main, roles), -2, "the sum is wrong");
        shared.assert_empty();
    })
    .preempted_at_most(3, 3)
}

/// A stop, while the record of its actor is changed and another actor needs its slot.
fn stop_and_update(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        assert_eq!(shared.put(A, Sign::Plus, 1) + shared.put(C, Sign::Plus, 1), 0);
        let roles =
            vec![shared.role(|s| s.update(A, 2)), shared.role(|s| s.stop(A) + s.put(B, Sign::Plus, 3))];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        assert_eq!((shared.at_rest(A).0, shared.at_rest(B).0), (0, 1), "the new actor is not in the table");
        shared.read();
    })
    .preempted_at_most(2, 2)
}

/// A record is changed while a reader reads it.
fn update_and_read(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        assert_eq!(shared.put(A, Sign::Plus, 1), 0);
        let roles = vec![shared.role(|s| s.update(A, 2)), shared.role(|s| s.read())];
        shared.play(main, roles);
    })
    .preempted_at_most(2, 3)
}

/// A slot goes from one actor to another while a reader reads it.
fn another_tenant(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        assert_eq!(shared.put(A, Sign::Plus, 1) + shared.put(C, Sign::Plus, 1), 0);
        let roles = vec![shared.role(|s| s.stop(A) + s.put(B, Sign::Plus, 2)), shared.role(|s| s.read())];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
    })
    .preempted_at_most(2, 2)
}

/// An actor stops twice, and another one of the same tag gets its slot in between.
fn stop_and_another_tenant(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        assert_eq!(shared.put(A, Sign::Plus, 1), 0);
        let roles = vec![shared.role(|s| s.stop(A)), shared.role(|s| s.stop(A) + s.put(B, Sign::Plus, 2))];
        assert_eq!(shared.play(main, roles), -1, "the sum is wrong");
        assert_eq!(
            (shared.at_rest(A).0, shared.at_rest(B).0),
            (-1, 1),
            "an entry of another key was removed"
        );
    })
    .preempted_at_most(2, 2)
}

/// The sampler settles a stop that came early, while its spawn comes.
fn settle_and_spawn(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        assert_eq!(shared.stop(A), 0);
        let roles = vec![shared.role(|s| s.settle()), shared.role(|s| s.spawn(A, 1))];
        assert_eq!(shared.play(main, roles), 1, "the sum is wrong");
        shared.assert_empty();
    })
}

/// The sampler settles a pair, while an actor of the key is spawned and its predecessor stops.
fn settle_respawn_and_stop(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        let put = |sign, stamp| assert_eq!(shared.put(A, sign, stamp), 0);
        put(Sign::Plus, 1);
        put(Sign::Minus, 0);
        put(Sign::Plus, 2);
        let roles = vec![shared.role(|s| s.settle()), shared.role(|s| s.spawn(A, 3) + s.stop(A))];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        shared.assert_only(A, 3);
    })
    .preempted_at_most(2, 2)
}

/// The stop of an older actor waits, while an actor of its path is spawned. Another actor gets its slot if no other slot
/// is free.
fn settle_and_successor(ops: Ops, origin: StopOrigin) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        if origin == StopOrigin::Unknown {
            assert_eq!(shared.put(C, Sign::Plus, 1), 0);
        }
        assert_eq!(shared.table().put_stop_of(origin, A, 0), Put::Slot);
        let roles =
            vec![shared.role(|s| s.settle()), shared.role(|s| s.spawn(A, 1) + s.put(B, Sign::Plus, 5))];
        let _ = play(main, roles);
        let _ = (ops.settle)(&shared.table());
        shared.read();
        assert_eq!(shared.at_rest(B).0, 1, "the sum is wrong");
        match (origin, shared.at_rest(A).0) {
            // The spawn came before the round was over: the stop may belong to it.
            (StopOrigin::Unknown, 0) => {}
            (_, sum) => assert_eq!(sum, 1, "the new actor is lost"),
        }
    })
    .preempted_at_most(2, 2)
}

/// Two threads settle two stops and this number of spawns.
fn two_settle(ops: Ops, spawns: u64) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(2, ops);
        assert_eq!(shared.put(A, Sign::Minus, 0) + shared.put(A, Sign::Minus, 0), 0);
        assert_eq!((0..spawns).map(|stamp| shared.put(A, Sign::Plus, stamp)).sum::<i64>(), 0);
        let roles = vec![shared.role(|s| s.settle()), shared.role(|s| s.settle())];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        assert_eq!(shared.at_rest(A), (spawns as i64 - 2, vec![]), "a pair is not settled");
    })
    .preempted_at_most(2, 2)
}

/// A spawn and its stop with both buckets full; with `group_full` the spill words are full too.
fn spilled_spawn_and_stop(ops: Ops, group_full: bool) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        let fill = if group_full { 4 } else { 2 };
        assert_eq!((0..fill).map(|stamp| shared.put(B, Sign::Plus, stamp)).sum::<i64>(), 0);
        let roles = vec![shared.role(|s| s.spawn(A, 1)), shared.role(|s| s.stop(A))];
        assert_eq!(shared.play(main, roles), 0, "the sum is wrong");
        assert!(group_full || shared.at_rest(A).0 == 0, "a spilled pair is not settled");
    })
    .preempted_at_most(2, 3)
}

/// The sampler settles a spilled stop, while another spawn is spilled into the same full group.
fn settle_a_spilled_stop(ops: Ops) -> Model<impl Checked> {
    Model::new(2, move |main| {
        let shared = Shared::new(1, ops);
        let put = |key, sign| assert_eq!(shared.put(key, sign, 0), 0);
        put(B, Sign::Plus);
        put(B, Sign::Plus);
        put(A, Sign::Minus);
        put(C, Sign::Plus);
        let roles = vec![shared.role(|s| s.settle()), shared.role(|s| s.put(C, Sign::Plus, 1))];
        assert_eq!(shared.play(main, roles), 1, "the sum is wrong");
    })
}

#[test]
fn a_spawn_and_its_stop_add_up_to_nothing_in_either_order() {
    spawn_and_stop(SHIPPED).holds();
    spawn_and_stop(UNUSUAL).holds();
}

#[test]
fn two_actors_that_arrive_at_the_same_time_both_stand() {
    two_arrivals(SHIPPED).holds();
}

#[test]
fn a_spawn_takes_the_stop_that_was_here_first() {
    late_spawn(SHIPPED).holds();
}

#[test]
fn after_a_respawn_and_the_late_stop_the_newer_record_stands() {
    respawn_and_late_stop(SHIPPED).holds();
    respawn_and_late_stop(UNUSUAL).holds();
}

#[test]
fn a_respawn_over_a_pair_that_is_being_settled_leaves_the_newer_record() {
    respawn_over_a_pair(SHIPPED, Shared::settle).holds();
}

#[test]
fn a_respawn_over_a_pair_that_is_being_changed_leaves_the_newer_record() {
    respawn_over_a_pair(SHIPPED, Shared::touch).holds();
}

#[test]
fn two_spawns_and_a_stop_add_up_to_one() {
    two_spawns_and_a_stop(SHIPPED, false).holds();
}

#[test]
fn a_stop_that_two_spawns_overtake_in_the_middle_of_its_look_takes_the_older_one() {
    two_spawns_and_a_stop(SHIPPED, true).holds();
    two_spawns_and_a_stop(UNUSUAL, true).holds();
}

#[test]
fn a_change_beside_a_replacement_adds_up_to_one() {
    change_and_replacement(SHIPPED, false).holds();
}

#[test]
fn a_stop_that_meets_its_own_actor_being_changed_leaves_the_newer_one() {
    change_and_replacement(SHIPPED, true).holds();
    change_and_replacement(UNUSUAL, true).holds();
}

#[test]
fn two_stops_of_one_path_take_two_spawns() {
    two_stops(SHIPPED).holds();
}

#[test]
fn a_change_in_place_never_touches_the_next_tenant_and_no_stop_is_lost_by_it() {
    stop_and_update(SHIPPED).holds();
}

#[test]
fn a_record_that_is_changed_in_place_is_read_before_or_after() {
    update_and_read(SHIPPED).holds();
}

#[test]
fn a_slot_that_changes_hands_is_never_shown_under_the_wrong_name() {
    another_tenant(SHIPPED).holds();
}

#[test]
fn a_stop_takes_no_entry_of_another_key() {
    stop_and_another_tenant(SHIPPED).holds();
}

#[test]
fn a_spawn_that_comes_while_its_stop_is_being_settled_is_not_lost() {
    settle_and_spawn(SHIPPED).holds();
}

#[test]
fn settling_beside_a_respawn_leaves_the_newest_record() {
    settle_respawn_and_stop(SHIPPED).holds();
}

#[test]
fn the_stop_of_an_older_actor_never_takes_its_successor() {
    settle_and_successor(IN_A_WHOLE_ROUND, StopOrigin::Outlived).holds();
    settle_and_successor(IN_A_WHOLE_ROUND, StopOrigin::Older).holds();
}

#[test]
fn a_stop_that_may_be_a_spawns_own_is_that_or_stands_aside() {
    settle_and_successor(IN_A_WHOLE_ROUND, StopOrigin::Unknown).holds();
}

#[test]
fn settling_that_does_not_ask_whose_a_stop_is_loses_the_successor() {
    fn settle(table: &Table<'_>) -> Settled {
        for (index, word) in table.control.iter().enumerate() {
            let control = Control(word.load(Ordering::Acquire));
            if control.state() == MINUS && table.swap(index, control, control.with_state(BUSY)) {
                let met = table.take(A, Sign::Plus) != TakeOutcome::Nothing;
                let left = if met { control.freed() } else { control };
                word.store(left.0, Ordering::Release);
            }
        }
        Settled::default()
    }
    settle_and_successor(Ops { settle, ..SHIPPED }, StopOrigin::Outlived).breaks("the new actor is lost");
}

#[test]
fn a_spawn_that_does_not_ask_whose_a_stop_is_is_lost() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        match table.take(key, sign) {
            TakeOutcome::Stop(_) => TakeOutcome::Stop(StopOrigin::Awaited),
            taken => taken,
        }
    }
    settle_and_successor(Ops { take, ..IN_A_WHOLE_ROUND }, StopOrigin::Outlived)
        .breaks("the new actor is lost");
}

#[test]
fn writing_down_whose_a_stop_is_without_having_it_in_hand_changes_the_next_tenant() {
    fn settle(table: &Table<'_>) -> Settled {
        for (index, word) in table.control.iter().enumerate() {
            if Control(word.load(Ordering::Acquire)).state() == MINUS {
                table.slot(index)[ORIGIN_WORD].store(StopOrigin::Outlived as u64, Ordering::Relaxed);
            }
        }
        table.settle(|_| false)
    }
    settle_and_successor(Ops { settle, ..SHIPPED }, StopOrigin::Unknown).breaks("torn");
}

#[test]
fn two_threads_that_settle_do_not_settle_anything_twice() {
    two_settle(SHIPPED, 2).holds();
    two_settle(SHIPPED, 1).holds();
}

#[test]
fn a_spilled_pair_adds_up_to_nothing() {
    spilled_spawn_and_stop(SHIPPED, false).holds();
}

#[test]
fn what_is_refused_is_the_callers_and_makes_up_the_sum() {
    spilled_spawn_and_stop(SHIPPED, true).holds();
}

#[test]
fn a_spilled_stop_keeps_its_place_while_it_is_looked_at() {
    settle_a_spilled_stop(SHIPPED).holds();
}

/// What a mutant of [`Table::put`] lacks, in addition to the mark *later*.
#[derive(Clone, Copy, PartialEq)]
enum Lack {
    Nothing,
    Busy,
    Generation,
    Fence,
    Release,
    Swap,
}

/// [`Table::put`] without one of its steps, and without spilling.
fn put_without(lack: Lack, table: &Table<'_>, key: Key, sign: Sign, record: &[u64]) -> Put {
    for (index, word) in table.control.iter().enumerate() {
        let control = Control(word.load(Ordering::Relaxed));
        let mut busy = control.next_generation(key.tag(), BUSY);
        if lack == Lack::Generation {
            busy = Control(control.0 >> 24 << 24 | busy.0 & 0xff_ffff);
        }
        if lack == Lack::Busy {
            busy = busy.with_state(state_of(sign));
        }
        if control.state() != FREE {
            continue;
        }
        if lack == Lack::Swap {
            word.store(busy.0, Ordering::Relaxed);
        } else if !table.swap(index, control, busy) {
            continue;
        }
        if lack != Lack::Fence {
            fence(Ordering::Release);
        }
        words::store(table.slot(index), record);
        let order = if lack == Lack::Release { Ordering::Relaxed } else { Ordering::Release };
        word.store(busy.with_state(state_of(sign)).0, order);
        return Put::Slot;
    }
    Put::Refused
}

#[test]
fn a_put_without_busy_shows_a_record_under_another_keys_name() {
    let put = |t: &Table<'_>, k: Key, s: Sign, r: &[u64]| put_without(Lack::Busy, t, k, s, r);
    another_tenant(Ops { put, ..UNUSUAL }).breaks("under another key's name");
}

#[test]
fn a_put_without_a_new_generation_shows_a_record_under_another_keys_name() {
    let put = |t: &Table<'_>, k: Key, s: Sign, r: &[u64]| put_without(Lack::Generation, t, k, s, r);
    another_tenant(Ops { put, ..UNUSUAL }).breaks("under another key's name");
}

#[test]
fn a_put_without_its_fence_shows_a_record_under_another_keys_name() {
    let put = |t: &Table<'_>, k: Key, s: Sign, r: &[u64]| put_without(Lack::Fence, t, k, s, r);
    another_tenant(Ops { put, ..UNUSUAL }).breaks("under another key's name");
}

#[test]
fn a_put_that_publishes_relaxed_shows_a_record_half_written() {
    let put = |t: &Table<'_>, k: Key, s: Sign, r: &[u64]| put_without(Lack::Release, t, k, s, r);
    another_tenant(Ops { put, ..UNUSUAL }).breaks("under another key's name");
}

#[test]
fn a_put_without_a_swap_loses_one_of_two_entries() {
    let put = |t: &Table<'_>, k: Key, s: Sign, r: &[u64]| put_without(Lack::Swap, t, k, s, r);
    spawn_and_stop(Ops { put, ..UNUSUAL }).breaks("the sum is wrong");
}

#[test]
fn an_arrival_without_a_swap_loses_one_of_two_entries() {
    fn arrive(table: &Table<'_>, key: Key, record: &[u64; STRIDE]) -> bool {
        put_without(Lack::Swap, table, key, Sign::Plus, record) == Put::Slot
    }
    two_arrivals(Ops { arrive, ..SHIPPED }).breaks("the sum is wrong");
}

#[test]
fn an_arrival_that_does_not_look_leaves_a_stop_that_was_here_first() {
    fn arrive(table: &Table<'_>, key: Key, record: &[u64; STRIDE]) -> bool {
        put_without(Lack::Nothing, table, key, Sign::Plus, record) == Put::Slot
    }
    late_spawn(Ops { arrive, ..SHIPPED }).breaks("the table is not empty");
}

#[test]
fn a_spawn_over_another_without_its_mark_lets_the_stop_take_the_newer_one() {
    let put = |t: &Table<'_>, k: Key, s: Sign, r: &[u64]| put_without(Lack::Nothing, t, k, s, r);
    two_spawns_and_a_stop(Ops { put, ..SHIPPED }, true).breaks("not the newer incarnation alone");
}

#[test]
fn a_stop_that_does_not_look_again_takes_the_newer_one() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        take_unless(table, key, sign, |_, _| false)
    }
    two_spawns_and_a_stop(Ops { take, ..SHIPPED }, true).breaks("not the newer incarnation alone");
}

#[test]
fn a_stop_that_overlooks_a_change_takes_the_newer_one() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        take_unless(table, key, sign, |_, _| false)
    }
    change_and_replacement(Ops { take, ..SHIPPED }, true).breaks("not the newer incarnation alone");
}

#[test]
fn a_take_that_does_not_compare_the_key_takes_another_actors_entry() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        for (index, word) in table.control.iter().enumerate() {
            let control = Control(word.load(Ordering::Acquire));
            if control.state() == state_of(sign)
                && control.tag() == key.tag()
                && table.swap(index, control, control.with_state(FREE))
            {
                return TakeOutcome::Entry { stamp: 0 };
            }
        }
        TakeOutcome::Nothing
    }
    stop_and_another_tenant(Ops { take, ..SHIPPED }).breaks("an entry of another key was removed");
}

#[test]
fn a_take_that_swaps_whatever_stands_there_by_now_takes_another_actors_entry() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        let Some((index, _, stamp)) = table.find(key, state_of(sign), false).0 else {
            return TakeOutcome::Nothing;
        };
        let now = Control(table.control[index].load(Ordering::Acquire));
        let taken = now.state() == state_of(sign) && table.swap(index, now, now.with_state(FREE));
        if taken { TakeOutcome::Entry { stamp } } else { TakeOutcome::Nothing }
    }
    stop_and_another_tenant(Ops { take, ..SHIPPED }).breaks("an entry of another key was removed");
}

#[test]
fn a_take_without_a_swap_takes_one_entry_twice() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        let Some((index, control, stamp)) = table.find(key, state_of(sign), false).0 else {
            return TakeOutcome::Nothing;
        };
        table.control[index].store(control.with_state(FREE).0, Ordering::Release);
        TakeOutcome::Entry { stamp }
    }
    two_stops(Ops { take, ..SHIPPED }).breaks("the sum is wrong");
}

#[test]
fn a_take_of_the_newest_spawn_leaves_the_older_record() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        match table.find(key, state_of(sign), sign == Sign::Plus).0 {
            Some((index, control, stamp)) if table.swap(index, control, control.with_state(FREE)) => {
                TakeOutcome::Entry { stamp }
            }
            _ => TakeOutcome::Nothing,
        }
    }
    respawn_and_late_stop(Ops { take, ..SHIPPED }).breaks("not the newer incarnation alone");
}

#[test]
fn a_spawn_that_takes_the_stop_of_its_predecessor_leaves_the_older_record() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        take_unless(table, key, sign, |_, _| false)
    }
    respawn_over_a_pair(Ops { take, ..SHIPPED }, Shared::settle).breaks("not the newer incarnation alone");
}

#[test]
fn a_spawn_that_does_not_see_its_predecessor_being_changed_leaves_the_older_record() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        take_unless(table, key, sign, |table, key| table.find(key, PLUS, false).0.is_some())
    }
    respawn_over_a_pair(Ops { take, ..SHIPPED }, Shared::touch).breaks("not the newer incarnation alone");
}

#[test]
fn a_spawn_that_looks_for_its_predecessor_in_two_passes_leaves_the_older_record() {
    fn take(table: &Table<'_>, key: Key, sign: Sign) -> TakeOutcome {
        take_unless(table, key, sign, |table, key| {
            let stands = |state| {
                let of_key = |word: &AtomicU64| {
                    let control = Control(word.load(Ordering::Acquire));
                    control.state() == state && control.tag() == key.tag()
                };
                table.control.iter().any(of_key)
            };
            stands(PLUS) || stands(BUSY)
        })
    }
    respawn_over_a_pair(Ops { take, ..SHIPPED }, Shared::touch).breaks("not the newer incarnation alone");
}

/// [`Table::take`] with a single try, and with another condition for leaving a stop in the table.
fn take_unless(table: &Table<'_>, key: Key, sign: Sign, unless: fn(&Table<'_>, Key) -> bool) -> TakeOutcome {
    let Some((index, control, stamp)) = table.find(key, state_of(sign), false).0 else {
        return TakeOutcome::Nothing;
    };
    let left = sign == Sign::Minus && unless(table, key);
    let taken = !left && table.swap(index, control, control.with_state(FREE));
    if taken { TakeOutcome::Entry { stamp } } else { TakeOutcome::Nothing }
}

#[test]
fn a_change_without_busy_writes_into_the_next_tenant() {
    fn update(table: &Table<'_>, key: Key, stamp: u64) -> bool {
        let Some((index, ..)) = table.find(key, PLUS, true).0 else { return false };
        words::store(table.slot(index), &record(key, stamp));
        true
    }
    stop_and_update(Ops { update, ..SHIPPED }).breaks("the new actor is not in the table");
}

#[test]
fn a_change_without_a_new_generation_shows_a_record_half_changed() {
    fn update(table: &Table<'_>, key: Key, stamp: u64) -> bool {
        let Some((index, control, _)) = table.find(key, PLUS, true).0 else { return false };
        if !table.swap(index, control, control.with_state(BUSY)) {
            return false;
        }
        fence(Ordering::Release);
        words::store(table.slot(index), &record(key, stamp));
        table.control[index].store(control.0, Ordering::Release);
        true
    }
    update_and_read(Ops { update, ..SHIPPED }).breaks("torn");
}

#[test]
fn settling_that_takes_the_spawn_first_loses_it() {
    fn settle(table: &Table<'_>) -> Settled {
        for word in table.control {
            let control = Control(word.load(Ordering::Acquire));
            if control.state() == MINUS && table.take(A, Sign::Plus) != TakeOutcome::Nothing {
                word.store(control.with_state(FREE).0, Ordering::Release);
            }
        }
        Settled::default()
    }
    two_settle(Ops { settle, ..SHIPPED }, 2).breaks("the sum is wrong");
}

#[test]
fn settling_that_does_not_hold_the_stop_takes_two_spawns_for_one() {
    fn settle(table: &Table<'_>) -> Settled {
        for (index, word) in table.control.iter().enumerate() {
            let control = Control(word.load(Ordering::Acquire));
            if control.state() == MINUS && table.find(A, PLUS, false).0.is_some() {
                table.swap(index, control, control.with_state(FREE));
                let _ = table.take(A, Sign::Plus);
            }
        }
        Settled::default()
    }
    two_settle(Ops { settle, ..SHIPPED }, 1).breaks("the sum is wrong");
}

#[test]
fn settling_that_frees_a_spilled_stops_place_loses_the_stop() {
    fn settle(table: &Table<'_>) -> Settled {
        for word in table.spill {
            let held = word.load(Ordering::Relaxed);
            if held & SIGN_BITS == MINUS
                && word.compare_exchange(held, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
                && !table.take_by_fingerprint(held & !SIGN_BITS, |_| {})
            {
                let _ = table
                    .spill
                    .iter()
                    .any(|word| word.compare_exchange(0, held, Ordering::AcqRel, Ordering::Relaxed).is_ok());
            }
        }
        Settled::default()
    }
    settle_a_spilled_stop(Ops { settle, ..SHIPPED }).breaks("the sum is wrong");
}

#[test]
fn a_reader_without_its_second_look_shows_a_record_under_another_keys_name() {
    fn read(reader: &TableReader<'_>, index: usize, out: &mut [u64]) -> Result<Entry, Unreadable> {
        let control = Control(reader.control.load(index));
        fence(Ordering::Acquire);
        if control.state() != PLUS {
            return Ok(Entry::Free);
        }
        let slot = reader.slots.slice(index * reader.stride..(index + 1) * reader.stride);
        slot.ok_or(Unreadable::Corrupt)?.copy_to(out);
        Ok(Entry::Held(Sign::Plus))
    }
    another_tenant(Ops { read, ..SHIPPED }).breaks("under another key's name");
}
