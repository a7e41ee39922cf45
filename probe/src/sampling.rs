//! One round of the sampler for one region: heartbeat, clock sample, and stops that wait for their spawns.

use std::collections::HashMap;
use std::sync::TryLockError;
use std::sync::atomic::Ordering;

use atomscope_layout::event::{EventRecord, stop_event};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::records::{ACTOR_WORDS, ActorRecord};
use atomscope_layout::sightings::Log;
use atomscope_layout::table::{StopOrigin, WaitingStop};
use atomscope_layout::words::{WORD, Words};

use crate::clock;
#[cfg(feature = "atomr")]
use crate::hook_state::HookState;
use crate::rounds::{Round, Rounds, STOP_WAITS_ROUNDS};
use crate::writer::RegionWriter;

impl RegionWriter {
    /// One round of the sampler. It counts its own cost.
    pub(crate) fn sample(&self) {
        let start = clock::mono_ns();
        self.header().process_beat(start);
        self.wake_runtime();
        self.header().set_clock(self.clock.with_new_sample(self.first_samples));
        self.sample_clock();
        self.settle(true, |event| self.publish(event));
        self.count(Builtin::SamplerRounds, 1);
        self.count(Builtin::SamplerTime, clock::mono_ns().wrapping_sub(start));
    }

    /// Touches every page of a shared region once, so that no later store faults. It takes some milliseconds and holds the
    /// host's page table for one page at a time. It waits for the second round: a test's short-lived system need not pay.
    pub(crate) fn touch_pages_later(&self) {
        const PAGE: usize = 4096;
        if self.file().is_none() || self.early_rounds.load(Ordering::Relaxed) > 1 {
            return;
        }
        if self.early_rounds.fetch_add(1, Ordering::Relaxed) == 1 {
            for word in self.words().iter().step_by(PAGE / WORD) {
                // Safe against concurrent writers: it changes nothing.
                word.fetch_add(0, Ordering::Relaxed);
            }
        }
    }

    /// Adds a clock sample to the log if the last one has become wrong. Returns at once if another thread is at it.
    pub(crate) fn sample_clock(&self) {
        let mut samples = match self.clock_samples.try_lock() {
            Ok(samples) => samples,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let log = Log::new(self.section(self.map().sightings));
        let now = self.clock.read();
        if !samples.wants_another(&now, log.capacity()) {
            return;
        }
        let used = samples.all().len();
        if used > log.capacity() / 2 {
            let reader = self.reader();
            if samples.thin(&now, |see| reader.iter().for_each(|reader| reader.each_stamp(&mut *see))) {
                log.rewrite(samples.all());
            }
        }
        let used = samples.all().len();
        // The clock is read after readers know that a sample is coming: until then they use the last one.
        if log.append(used, || samples.next(&self.clock.read())).is_none() {
            self.count(Builtin::ClockUnlisted, 1);
        }
    }

    /// Matches stops that came before their spawns, and gives up those that waited long enough. `publish` receives the stop
    /// events that were delayed until now.
    ///
    /// In a region with a sampler only its rounds age the stops. In one without, each call is a round, unless it follows
    /// another call at once.
    pub(crate) fn settle(&self, in_rhythm: bool, mut publish: impl FnMut(&EventRecord)) {
        let mut rounds = match self.rounds.try_lock() {
            Ok(rounds) => rounds,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let round = rounds.advance(clock::mono_ns(), in_rhythm);
        self.settle_hooks(&mut rounds, round);
        let Some(reader) = self.reader() else { return };
        let done = reader.builtin(Builtin::EarlyStopsDone);
        if reader.builtin(Builtin::EarlyStops) == done {
            rounds.spilled_since.clear();
            return;
        }
        let since = &mut rounds.spilled_since;
        let (mut seen, mut published, mut doubtful) = (HashMap::with_capacity(since.len()), 0, 0);
        let settled = self.header().settling(|| {
            let expire = |stop: &mut WaitingStop| {
                if stop.is_spilled {
                    stop.first_round = since.get(&stop.fingerprint).copied().unwrap_or(0);
                }
                if stop.first_round == 0 {
                    stop.first_round = round.next_whole;
                }
                if stop.origin == StopOrigin::Unknown && round.outlives(stop.first_round) {
                    stop.origin = StopOrigin::Outlived;
                }
                let expires = match stop.origin {
                    StopOrigin::Older => round.outlives(stop.first_round),
                    _ => round.number.saturating_sub(stop.first_round) >= STOP_WAITS_ROUNDS,
                };
                if stop.is_spilled && !expires {
                    seen.insert(stop.fingerprint, stop.first_round);
                }
                // A stop that is given up may still have a spawn on its way, unless it is known to be older.
                let is_doubtful = match stop.origin {
                    StopOrigin::Older => stop.has_other_spawn,
                    _ => expires && !stop.has_other_spawn,
                };
                doubtful += u64::from(is_doubtful);
                expires
            };
            // The thread that matches a stop with its spawn publishes the stop.
            self.table().settle_with(expire, |slot| {
                published += 1;
                let mut words = [0; ACTOR_WORDS];
                Words::new(slot).copy_to(&mut words);
                let spawned: ActorRecord = zerocopy::transmute!(words);
                publish(&stop_event(&spawned, self.stamp(spawned.spawned)));
            })
        });
        *since = seen;
        self.count(Builtin::EarlyStopsDone, settled.pairs + settled.expired);
        // A stop never meets its spawn if the table had no slot for the spawn, or if the spawn is older than the probe.
        let totals = reader.actor_totals();
        let untracked = settled.expired.min(totals.untracked);
        self.count(Builtin::StopsUnpublished, settled.pairs.saturating_sub(published) + settled.expired);
        self.count_end(Builtin::UntrackedMatched, untracked);
        self.count(Builtin::Foreign, settled.expired - untracked);
        self.count(Builtin::DoubtfulStops, doubtful.saturating_sub(untracked));
    }

    #[cfg(feature = "atomr")]
    fn settle_hooks(&self, rounds: &mut Rounds, round: Round) {
        let HookState { are_installed, sure_from, are_settled, .. } = &self.hooks;
        if !are_installed.load(Ordering::Relaxed) || are_settled.load(Ordering::Relaxed) {
            return;
        }
        if rounds.hooks_since != 0 && round.outlives(rounds.hooks_since) {
            if sure_from.load(Ordering::Relaxed) == 0 {
                sure_from.store(self.ticks().max(1), Ordering::Relaxed);
                rounds.hooks_since = round.next_whole;
            } else {
                are_settled.store(true, Ordering::Relaxed);
            }
        } else if rounds.hooks_since == 0 {
            rounds.hooks_since = round.next_whole;
        }
    }

    #[cfg(not(feature = "atomr"))]
    fn settle_hooks(&self, _: &mut Rounds, _: Round) {}
}
