//! One round of the sampler for one region: heartbeat, clock sample, and stops that wait for their spawns.

use std::collections::HashMap;
use std::sync::TryLockError;
use std::sync::atomic::{AtomicU64, Ordering};

use atomscope_layout::clock_samples::Log;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::table::{StopOrigin, WaitingStop};
use atomscope_layout::words::WORD;

use crate::clock;
#[cfg(feature = "atomr")]
use crate::hook_state::HookState;
use crate::lane;
use crate::pairs::Pairs;
#[cfg(target_os = "linux")]
use crate::region_file;
use crate::rounds::{Round, Rounds, STOP_WAITS_ROUNDS};
use crate::writer::RegionWriter;

impl RegionWriter {
    /// One round of the sampler. It counts its own cost.
    pub(crate) fn sample(&self) {
        let start = clock::mono_ns();
        self.header().process_beat(start);
        self.sample_workers(start);
        self.wake_runtime();
        self.sample_clock();
        self.settle(true, self);
        self.count(Builtin::SamplerRounds, 1);
        self.count(Builtin::SamplerTime, clock::mono_ns().wrapping_sub(start));
    }

    /// Touches every page of a shared region and of its private words once, so that no later store faults. It takes about a
    /// millisecond. It waits for the second round: a test's short-lived system need not pay.
    pub(crate) fn touch_pages_later(&self) {
        if self.file().is_none() || self.early_rounds.load(Ordering::Relaxed) > 1 {
            return;
        }
        if self.early_rounds.fetch_add(1, Ordering::Relaxed) == 1 {
            self.all_words().into_iter().for_each(touch_pages);
        }
    }

    /// Adds a clock sample to the log if the last one has become wrong. Returns at once if another thread is at it.
    pub(crate) fn sample_clock(&self) {
        let mut samples = match self.clock_samples.try_lock() {
            Ok(samples) => samples,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let log = Log::new(self.section(self.map().clock_samples));
        let now = self.clock.read();
        if !samples.wants_another(&now, log.capacity()) {
            log.set_complete(now.ticks);
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

    /// Pairs stops that came before their spawns with these, and gives up those that waited long enough. The stop events that
    /// were delayed until now go to `bus`.
    ///
    /// In a region with a sampler only its rounds age the stops. In one without, each call is a round, unless it follows
    /// another call at once.
    pub(crate) fn settle(&self, in_rhythm: bool, bus: &Self) {
        let mut rounds = match self.rounds.try_lock() {
            Ok(rounds) => rounds,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let round = rounds.advance(clock::mono_ns(), in_rhythm);
        self.settle_hooks(&mut rounds, round);
        let Some(reader) = self.reader() else { return };
        let table = self.table();
        let since = &mut rounds.stops_since;
        if reader.waiting_stops() == 0 && table.orphans() == 0 {
            since.clear();
            return;
        }
        let (mut seen, mut doubtful) = (HashMap::with_capacity(since.len()), 0);
        let expire = |stop: &mut WaitingStop| {
            let first = since.get(&waiting_key(stop)).copied().unwrap_or(round.next_whole);
            if stop.origin == StopOrigin::Unknown && round.outlives(first) {
                stop.origin = StopOrigin::Outlived;
            }
            let expires = match stop.origin {
                StopOrigin::Older => round.outlives(first),
                _ => round.number.saturating_sub(first) >= STOP_WAITS_ROUNDS,
            };
            if !expires {
                seen.insert(waiting_key(stop), first);
            }
            // A stop that is given up may still have a spawn on its way, unless it is known to be older.
            let is_doubtful = match stop.origin {
                StopOrigin::Older => stop.has_other_spawn,
                _ => expires && !stop.has_other_spawn,
            };
            doubtful += u64::from(is_doubtful);
            expires
        };
        let settled = table.settle(lane::held_or_beyond(), expire, &Pairs { writer: self, bus });
        *since = seen;
        // A stop never meets its spawn if the table had no entry for the spawn, or if the spawn is older than the probe.
        let totals = reader.actor_totals();
        let untracked = settled.expired.min(totals.untracked);
        self.count(Builtin::StopsUnpublished, settled.expired);
        self.count_end(Builtin::UntrackedMatched, untracked);
        self.count(Builtin::Foreign, settled.expired - untracked);
        self.count(Builtin::DoubtfulStops, doubtful.saturating_sub(untracked));
        self.count_end(Builtin::EarlyStopsDone, settled.expired);
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

/// What tells waiting stops apart: the fingerprint, whose lowest bits are 0, and the origin. Stops of one path that are equal
/// in both count as waiting since the first of them came.
fn waiting_key(stop: &WaitingStop) -> u64 {
    stop.fingerprint | stop.origin as u64
}

/// Makes all pages of this memory resident. The process's memory map is locked meanwhile, so it takes them in parts.
fn touch_pages(words: &[AtomicU64]) {
    const PAGE: usize = 4096;
    const PART: usize = 1 << 20;
    for part in words.chunks(PART / WORD) {
        #[cfg(target_os = "linux")]
        if region_file::populate(part) {
            continue;
        }
        for word in part.iter().step_by(PAGE / WORD) {
            // Safe against concurrent writers: it changes nothing.
            word.fetch_add(0, Ordering::Relaxed);
        }
    }
}
