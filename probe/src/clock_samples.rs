//! When a clock sample is added to the region's log, and its content: pure arithmetic over readings.
//!
//! ```text
//!   UTC │                    ╱ jump: the wall clock was set, the machine suspended, the counter moved
//!       │            ___---´
//!       │    ___---´  ▲ correction: continues the last sample, a little faster or slower
//!       │ ´´´
//!       └──────────────────────────────── ticks
//! ```
//! A sample fixes the times of all stamps until the next one. So a sample is added only when the error of the last one
//! exceeds an allowance. A *correction* continues the line of the last sample at a rate that removes the error, so that
//! later stamps have later times. A *jump* begins at the values of the clocks.

use atomscope_layout::records::ClockSampleRecord;

use crate::clock::Reading;

/// The error of UTC that is corrected while the log is empty. It doubles for each eighth of the log that is in use, so that
/// the log lasts.
const CORRECTED_NS: i128 = 100_000;
/// A larger error is a jump and does not come from the clock's rate.
const JUMP_NS: i128 = 10_000_000;
/// The shortest time over which an error is removed. Otherwise it takes as long as the last sample was valid.
const LEAST_CORRECTING_NS: i128 = 10_000_000_000;
/// A rate that is measured over a shorter time is no better than the last one.
const LEAST_MEASURED_NS: i128 = 100_000_000;
/// A sample that ended so recently is kept even without stamps: a thread may have lost its processor between its stamp and
/// its record.
const RECENT_NS: u64 = 60_000_000_000;

/// The clock samples of a region, for the thread that adds to them.
#[derive(Debug)]
pub(crate) struct ClockSamples {
    all: Vec<ClockSampleRecord>,
    /// The clock's rate when it was last measured. The rate of a sample may also remove an error.
    rate: u64,
    /// The error that the last sample removes, and the end of that time.
    owed_ns: i128,
    owed_until_ns: i128,
    /// Whether the counter jumped at the last sample. If it jumps again, its rate has changed.
    counter_jumped: bool,
}

/// The time of a reading's ticks according to the last sample, and its errors.
struct Prediction {
    unix_ns: i128,
    /// Unix, monotonic and since boot: the clock minus the prediction.
    off_ns: [i128; 3],
    /// Since the last sample, by the monotonic clock.
    held_ns: i128,
}

impl ClockSamples {
    /// With the first sample. A tick lasts `rate` / 2⁴⁰ nanoseconds.
    pub(crate) fn first(now: &Reading, rate: u64) -> Self {
        let rate = rate.max(1);
        let first = record(now, i128::from(now.unix_ns), rate);
        Self { all: vec![first], rate, owed_ns: 0, owed_until_ns: 0, counter_jumped: false }
    }

    /// All samples.
    pub(crate) fn all(&self) -> &[ClockSampleRecord] {
        &self.all
    }

    fn predict(&self, now: &Reading) -> Option<Prediction> {
        let last = self.all.last()?;
        // A counter that went back gives no prediction: stamps are ordered by their ticks.
        let ticks = now.ticks.checked_sub(last.ticks).filter(|ticks| *ticks > 0)?;
        let elapsed = i128::from(ticks) * i128::from(last.rate) / i128::from(ClockSampleRecord::RATE_ONE);
        let unix_ns = i128::from(last.unix_ns as i64) + elapsed;
        let off = |shown: u64, then: u64| i128::from(shown) - i128::from(then) - elapsed;
        Some(Prediction {
            unix_ns,
            off_ns: [
                i128::from(now.unix_ns) - unix_ns,
                off(now.mono_ns, last.mono_ns),
                off(now.boot_ns, last.boot_ns),
            ],
            held_ns: i128::from(now.mono_ns) - i128::from(last.mono_ns),
        })
    }

    /// Whether a log of this capacity needs another sample.
    pub(crate) fn wants_another(&self, now: &Reading, capacity: usize) -> bool {
        let Some(predicted) = self.predict(now) else { return false };
        let uncertain = i128::from(now.uncertain_ns);
        if predicted.off_ns.iter().any(|off| off.abs() > JUMP_NS + uncertain) {
            return true;
        }
        let eighths = (8 * self.all.len() / capacity.max(1)).min(8);
        let owed = if i128::from(now.mono_ns) < self.owed_until_ns { self.owed_ns } else { 0 };
        predicted.off_ns[0].abs() > (CORRECTED_NS << eighths) + owed + uncertain
    }

    /// Adds a sample at this reading.
    pub(crate) fn next(&mut self, now: &Reading) -> ClockSampleRecord {
        let (Some(last), Some(predicted)) = (self.all.last().copied(), self.predict(now)) else {
            return record(now, i128::from(now.unix_ns), self.rate);
        };
        let jumped = |off: i128| off.abs() > JUMP_NS;
        let [unix_off, mono_off, _] = predicted.off_ns;
        let suspended = jumped((i128::from(now.boot_ns) - i128::from(last.boot_ns)) - predicted.held_ns);
        let counter_jumped = jumped(mono_off) && !suspended;
        // A rate cannot be measured across a jump of the counter. A counter that jumps twice has a new rate.
        let is_measured =
            predicted.held_ns >= LEAST_MEASURED_NS && !suspended && (!counter_jumped || self.counter_jumped);
        if is_measured {
            let ticks = i128::from(now.ticks - last.ticks);
            let rate = predicted.held_ns * i128::from(ClockSampleRecord::RATE_ONE) / ticks;
            self.rate = u64::try_from(rate).unwrap_or(self.rate).max(1);
        }
        self.counter_jumped = counter_jumped;
        let next = if jumped(unix_off) {
            (self.owed_ns, self.owed_until_ns) = (0, 0);
            record(now, i128::from(now.unix_ns), self.rate)
        } else {
            let over = predicted.held_ns.max(LEAST_CORRECTING_NS);
            (self.owed_ns, self.owed_until_ns) = (unix_off.abs(), i128::from(now.mono_ns) + over);
            let rate = i128::from(self.rate) * (over + unix_off) / over;
            record(now, predicted.unix_ns, u64::try_from(rate).unwrap_or(self.rate).max(1))
        };
        self.all.push(next);
        next
    }

    /// Removes samples that no stamp needs; `each_stamp` passes every stamp of the region. Returns whether any was removed.
    pub(crate) fn thin(&mut self, now: &Reading, each_stamp: impl FnOnce(&mut dyn FnMut(u64))) -> bool {
        let mut is_needed = vec![false; self.all.len()];
        each_stamp(&mut |stamp| {
            let after = self.all.partition_point(|sample| sample.ticks <= stamp);
            if let Some(needed) = is_needed.get_mut(after.saturating_sub(1)) {
                *needed = true;
            }
        });
        // A sample ends where the next one begins.
        for (at, next) in self.all.iter().skip(1).enumerate() {
            is_needed[at] |= now.mono_ns.saturating_sub(next.mono_ns) < RECENT_NS;
        }
        if let Some(last) = is_needed.last_mut() {
            *last = true;
        }
        let before = self.all.len();
        let mut needed = is_needed.into_iter();
        self.all.retain(|_| needed.next().unwrap_or(true));
        self.all.len() < before
    }
}

fn record(now: &Reading, unix_ns: i128, rate: u64) -> ClockSampleRecord {
    let &Reading { ticks, mono_ns, boot_ns, .. } = now;
    ClockSampleRecord { ticks, mono_ns, boot_ns, unix_ns: unix_ns as u64, rate, reserved: [0; 2] }
}

#[cfg(test)]
mod tests {
    use atomscope_layout::clock_samples::{self, Samples};
    use atomscope_layout::decode::Clock;

    use super::*;

    const BEAT_NS: u64 = 250_000_000;
    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const DAY: u64 = 24 * HOUR;
    const CAPACITY: usize = clock_samples::KEPT;

    /// A machine whose clocks a test controls: three ticks are a nanosecond, apart from an error of the rate.
    struct Machine {
        now: Reading,
        samples: ClockSamples,
        /// Parts in 10⁹ by which the counter is faster than its first rate.
        drift: i64,
        /// Stamps, and the times that readers computed for them.
        seen: Vec<(u64, i128)>,
    }

    impl Machine {
        fn new(drift: i64) -> Self {
            let (mono_ns, boot_ns) = (5 * HOUR, 7 * HOUR);
            let unix_ns = 1_700_000_000 * SECOND;
            let now = Reading { ticks: 1 << 50, mono_ns, boot_ns, unix_ns, uncertain_ns: 100 };
            let samples = ClockSamples::first(&now, ClockSampleRecord::RATE_ONE / 3);
            Self { now, samples, drift, seen: Vec::new() }
        }

        fn clock(&self) -> Clock {
            Clock::of(&Samples { all: self.samples.all().to_vec(), changes: 2, until: None }).unwrap()
        }

        fn pass(&mut self, ns: u64) {
            let extra = i128::from(3 * ns) * i128::from(self.drift) / 1_000_000_000;
            self.now.ticks = (i128::from(self.now.ticks + 3 * ns) + extra) as u64;
            self.now.mono_ns += ns;
            self.now.boot_ns += ns;
            self.now.unix_ns += ns;
        }

        /// One round of the sampler. Earlier stamps have fewer ticks.
        fn sample(&mut self) {
            self.pass(100);
            if self.samples.wants_another(&self.now, CAPACITY) && self.samples.all().len() < CAPACITY {
                self.samples.next(&self.now.clone());
            }
        }

        /// A thread stamps a record, and a reader computes its time.
        fn stamp(&mut self) {
            let stamp = self.now.ticks;
            self.seen.push((stamp, self.clock().unix_ns(stamp).unwrap()));
        }

        fn beats(&mut self, beats: u64) {
            for _ in 0..beats {
                self.stamp();
                self.pass(BEAT_NS);
                self.stamp();
                self.sample();
            }
        }

        /// The difference between the time of a stamp that is made now and the wall clock.
        fn off_ns(&self) -> i128 {
            self.clock().unix_ns(self.now.ticks).unwrap() - i128::from(self.now.unix_ns)
        }

        #[track_caller]
        fn nothing_seen_has_moved(&self) {
            let clock = self.clock();
            for (stamp, time) in &self.seen {
                assert_eq!(clock.unix_ns(*stamp), Some(*time));
            }
        }
    }

    #[test]
    fn times_stay_right_and_never_change_while_the_rate_is_learned() {
        // The first rate may be off by some parts in a hundred thousand.
        let mut machine = Machine::new(30_000);
        machine.beats(4 * 3_600);
        assert!(machine.off_ns().abs() < 2_000_000, "{} ns", machine.off_ns());
        machine.nothing_seen_has_moved();
        let samples = machine.samples.all().len();
        assert!((2..=24).contains(&samples), "{samples} samples in an hour");
    }

    #[test]
    fn later_stamps_have_later_times_while_the_clock_is_not_set() {
        for drift in [50_000, -50_000] {
            let mut machine = Machine::new(drift);
            machine.beats(2_000);
            let times = machine.seen.iter().map(|(_, time)| *time);
            assert!(times.is_sorted());
        }
    }

    #[test]
    fn a_steady_clock_is_sampled_ever_more_rarely() {
        let mut machine = Machine::new(30_000);
        machine.beats(4 * 3_600);
        let after_an_hour = machine.samples.all().len();
        machine.beats(8 * 4 * 3_600);
        assert!(machine.samples.all().len() <= after_an_hour + 4);
    }

    #[test]
    fn a_clock_that_is_set_is_right_at_once_and_leaves_the_past_as_it_was() {
        for step in [2 * HOUR as i64, -2 * HOUR as i64, 20_000_000] {
            let mut machine = Machine::new(1_000);
            machine.beats(400);
            machine.now.unix_ns = machine.now.unix_ns.wrapping_add_signed(step);
            machine.sample();
            assert_eq!(machine.off_ns(), 0);
            machine.beats(400);
            assert!(machine.off_ns().abs() < 1_000_000);
            machine.nothing_seen_has_moved();
        }
    }

    #[test]
    fn a_clock_that_began_in_1970_is_right_once_it_is_set() {
        let mut machine = Machine::new(1_000);
        machine.now.unix_ns = 12 * SECOND;
        machine.samples = ClockSamples::first(&machine.now, ClockSampleRecord::RATE_ONE / 3);
        machine.beats(40);
        machine.now.unix_ns = 1_700_000_000 * SECOND;
        machine.sample();
        machine.beats(4);
        assert!(machine.off_ns().abs() < 1_000_000);
        machine.nothing_seen_has_moved();
        let clock = machine.clock();
        let [first, last] = [machine.seen[0], *machine.seen.last().unwrap()].map(|(stamp, _)| stamp);
        let age = clock.moment(last).unwrap().since(&clock.moment(first).unwrap()).unwrap();
        assert_eq!(age.as_secs(), 11);
    }

    #[test]
    fn after_a_suspend_the_times_before_it_stay_and_those_after_it_are_right() {
        // The counter continues, or it stops like the monotonic clock.
        for counter_goes_on in [true, false] {
            let mut machine = Machine::new(1_000);
            machine.beats(400);
            let rate = machine.samples.rate;
            machine.now.unix_ns += 8 * HOUR;
            machine.now.boot_ns += 8 * HOUR;
            machine.now.ticks += if counter_goes_on { 3 * 8 * HOUR } else { 0 };
            machine.sample();
            assert!(machine.off_ns().abs() < 1_000_000, "{} ns", machine.off_ns());
            machine.beats(400);
            assert!(machine.off_ns().abs() < 1_000_000, "{} ns", machine.off_ns());
            machine.nothing_seen_has_moved();
            assert!(machine.samples.rate.abs_diff(rate) < rate / 10_000, "the rate is no other");
            let moment = machine.clock().moment(machine.now.ticks).unwrap();
            let off = moment.mono_ns.unwrap() - i128::from(machine.now.mono_ns);
            assert!(off.abs() < 1_000_000, "the monotonic time is {off} ns off");
        }
    }

    #[test]
    fn a_counter_that_jumps_or_gets_another_rate_is_followed() {
        let mut machine = Machine::new(1_000);
        machine.beats(400);
        machine.now.ticks += 1 << 45;
        machine.sample();
        assert_eq!(machine.off_ns(), 0);
        machine.beats(400);
        assert!(machine.off_ns().abs() < 1_000_000);
        // Moved to a machine of another frequency.
        let before = machine.samples.all().len();
        machine.drift = 200_000_000;
        machine.beats(400);
        assert!(machine.off_ns().abs() < 1_000_000, "{} ns", machine.off_ns());
        assert!(machine.samples.all().len() - before < 12);
        machine.nothing_seen_has_moved();
    }

    #[test]
    fn a_reading_that_took_long_is_no_jump() {
        let mut machine = Machine::new(0);
        machine.beats(40);
        let before = machine.samples.all().len();
        machine.now.uncertain_ns = 80_000_000;
        machine.now.mono_ns += 40_000_000;
        machine.sample();
        assert_eq!(machine.samples.all().len(), before);
    }

    #[test]
    fn a_counter_that_goes_back_is_not_told_of() {
        let mut machine = Machine::new(0);
        machine.beats(40);
        machine.now.ticks = 1;
        assert!(!machine.samples.wants_another(&machine.now, CAPACITY));
    }

    #[test]
    fn what_is_left_out_moves_no_time_of_a_stamp_that_there_is() {
        let mut machine = Machine::new(0);
        for hour in 0..100u64 {
            machine.beats(4);
            machine.now.unix_ns += (hour % 3 + 1) * SECOND;
            machine.sample();
            machine.pass(HOUR);
        }
        let before = machine.samples.all().len();
        assert!(before > 90, "{before}");
        // Stamps of an actor from the first hour, of one from the middle, and of the newest events.
        let middle = machine.seen.len() / 2;
        let end = machine.seen.len() - 8;
        let seen: Vec<_> = machine.seen.drain(..).collect();
        machine.seen = [&seen[..1], &seen[middle..middle + 3], &seen[end..]].concat();
        let stamps: Vec<u64> = machine.seen.iter().map(|(stamp, _)| *stamp).collect();
        let now = machine.now;
        assert!(machine.samples.thin(&now, |see| stamps.iter().for_each(|stamp| see(*stamp))));
        assert!(machine.samples.all().len() < 10, "{}", machine.samples.all().len());
        machine.nothing_seen_has_moved();
        assert!(machine.off_ns().abs() < 1_000_000_000);
    }

    #[test]
    fn what_ended_within_the_minute_is_kept_for_records_on_their_way() {
        let mut machine = Machine::new(0);
        for _ in 0..10 {
            machine.beats(4);
            machine.now.unix_ns += SECOND;
            machine.sample();
        }
        let before = machine.samples.all().to_vec();
        let now = machine.now;
        assert!(!machine.samples.thin(&now, |_| {}));
        assert_eq!(machine.samples.all(), before);
        machine.pass(DAY);
        let now = machine.now;
        assert!(machine.samples.thin(&now, |_| {}));
        assert_eq!(machine.samples.all(), &before[before.len() - 1..]);
    }

    #[test]
    fn corrections_leave_room_for_jumps() {
        let mut machine = Machine::new(0);
        // A clock whose rate is never the same for long.
        for hour in 0..24 * 90u64 {
            machine.drift = if hour % 2 == 0 { 50 } else { -50 };
            machine.pass(HOUR);
            machine.sample();
        }
        assert!(machine.samples.all().len() < CAPACITY * 3 / 4, "{}", machine.samples.all().len());
        assert!(machine.off_ns().abs() < 15_000_000);
    }
}
