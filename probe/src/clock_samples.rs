//! When a sighting of the clock is added to the region's log, and what it says: pure arithmetic over readings.
//!
//! ```text
//!   UTC │                    ╱ jump: the wall clock was set, the machine suspended, the counter moved
//!       │            ___---´
//!       │    ___---´  ▲ correction: begins where the last one has come, and is a little faster or slower
//!       │ ´´´
//!       └──────────────────────────────── ticks
//! ```
//! A sighting fixes the times of all stamps until the next one, so it is added only once the last one has become wrong by
//! more than an allowance. A *correction* goes on where the last sighting has come, at a rate that makes up for the
//! error; times of stamps that follow each other do so too. A *jump* begins at what the clocks show.

use atomscope_layout::records::SightingRecord;

use crate::clock::Reading;

/// An error of UTC that is corrected, while the log is empty; twice as much for each eighth of it in use, so that it
/// lasts.
const CORRECTED_NS: i128 = 100_000;
/// From here on an error is not the clock's rate, but a jump.
const JUMP_NS: i128 = 10_000_000;
/// An error is made up for over as long as the last sighting held, but no less than this.
const LEAST_CORRECTING_NS: i128 = 10_000_000_000;
/// A rate that is measured over less is not better than the last one.
const LEAST_MEASURED_NS: i128 = 100_000_000;
/// A sighting that ended so recently is kept whatever stamps there are: a thread may have taken one and lost its
/// processor before it wrote its record.
const RECENT_NS: u64 = 60_000_000_000;

/// The sightings of a region, for the thread that adds to them.
#[derive(Debug)]
pub(crate) struct ClockSamples {
    all: Vec<SightingRecord>,
    /// The clock's rate as it was last measured; that of a sighting may also make up for an error.
    rate: u64,
    /// The error that the last sighting makes up for, and until when.
    owed_ns: i128,
    owed_until_ns: i128,
    /// Whether the counter jumped at the last one: if it does again the rate has changed.
    counter_jumped: bool,
}

/// What the last sighting says of a reading's ticks, and how far that is off.
struct Told {
    unix_ns: i128,
    /// Unix, monotonic and since boot: what is shown minus what is told.
    off_ns: [i128; 3],
    /// Since the last sighting, by the monotonic clock.
    held_ns: i128,
}

impl ClockSamples {
    /// The first one. A tick lasts `rate` / 2⁴⁰ nanoseconds.
    pub(crate) fn first(now: &Reading, rate: u64) -> Self {
        let rate = rate.max(1);
        let first = record(now, i128::from(now.unix_ns), rate);
        Self { all: vec![first], rate, owed_ns: 0, owed_until_ns: 0, counter_jumped: false }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[SightingRecord] {
        &self.all
    }

    fn told(&self, now: &Reading) -> Option<Told> {
        let last = self.all.last()?;
        // A counter that went back cannot be told of: stamps are in the order of their ticks.
        let ticks = now.ticks.checked_sub(last.ticks).filter(|ticks| *ticks > 0)?;
        let elapsed = i128::from(ticks) * i128::from(last.rate) / i128::from(SightingRecord::RATE_ONE);
        let unix_ns = i128::from(last.unix_ns as i64) + elapsed;
        let off = |shown: u64, then: u64| i128::from(shown) - i128::from(then) - elapsed;
        Some(Told {
            unix_ns,
            off_ns: [
                i128::from(now.unix_ns) - unix_ns,
                off(now.mono_ns, last.mono_ns),
                off(now.boot_ns, last.boot_ns),
            ],
            held_ns: i128::from(now.mono_ns) - i128::from(last.mono_ns),
        })
    }

    /// Whether another one is wanted in a log of so much room.
    pub(crate) fn wants_another(&self, now: &Reading, room: usize) -> bool {
        let Some(told) = self.told(now) else { return false };
        let uncertain = i128::from(now.uncertain_ns);
        if told.off_ns.iter().any(|off| off.abs() > JUMP_NS + uncertain) {
            return true;
        }
        let eighths = (8 * self.all.len() / room.max(1)).min(8);
        let owed = if i128::from(now.mono_ns) < self.owed_until_ns { self.owed_ns } else { 0 };
        told.off_ns[0].abs() > (CORRECTED_NS << eighths) + owed + uncertain
    }

    /// The next one, at this reading.
    pub(crate) fn next(&mut self, now: &Reading) -> SightingRecord {
        let (Some(last), Some(told)) = (self.all.last().copied(), self.told(now)) else {
            return record(now, i128::from(now.unix_ns), self.rate);
        };
        let jumped = |off: i128| off.abs() > JUMP_NS;
        let [unix_off, mono_off, _] = told.off_ns;
        let suspended = jumped((i128::from(now.boot_ns) - i128::from(last.boot_ns)) - told.held_ns);
        let counter_jumped = jumped(mono_off) && !suspended;
        // Over a jump of the counter nothing can be measured; one that jumps twice has another rate.
        let is_measured =
            told.held_ns >= LEAST_MEASURED_NS && !suspended && (!counter_jumped || self.counter_jumped);
        if is_measured {
            let ticks = i128::from(now.ticks - last.ticks);
            let rate = told.held_ns * i128::from(SightingRecord::RATE_ONE) / ticks;
            self.rate = u64::try_from(rate).unwrap_or(self.rate).max(1);
        }
        self.counter_jumped = counter_jumped;
        let next = if jumped(unix_off) {
            (self.owed_ns, self.owed_until_ns) = (0, 0);
            record(now, i128::from(now.unix_ns), self.rate)
        } else {
            let over = told.held_ns.max(LEAST_CORRECTING_NS);
            (self.owed_ns, self.owed_until_ns) = (unix_off.abs(), i128::from(now.mono_ns) + over);
            let rate = i128::from(self.rate) * (over + unix_off) / over;
            record(now, told.unix_ns, u64::try_from(rate).unwrap_or(self.rate).max(1))
        };
        self.all.push(next);
        next
    }

    /// Leaves out those that no stamp needs; `needed` is given each stamp there is. Says whether there were any.
    pub(crate) fn thin(&mut self, now: &Reading, each_stamp: impl FnOnce(&mut dyn FnMut(u64))) -> bool {
        let mut is_needed = vec![false; self.all.len()];
        each_stamp(&mut |stamp| {
            let after = self.all.partition_point(|sighting| sighting.ticks <= stamp);
            if let Some(needed) = is_needed.get_mut(after.saturating_sub(1)) {
                *needed = true;
            }
        });
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

fn record(now: &Reading, unix_ns: i128, rate: u64) -> SightingRecord {
    let &Reading { ticks, mono_ns, boot_ns, .. } = now;
    SightingRecord { ticks, mono_ns, boot_ns, unix_ns: unix_ns as u64, rate, reserved: [0; 2] }
}

#[cfg(test)]
mod tests {
    use atomscope_layout::decode::Clock;
    use atomscope_layout::sightings;

    use super::*;

    const BEAT_NS: u64 = 250_000_000;
    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600 * SECOND;
    const DAY: u64 = 24 * HOUR;
    const ROOM: usize = sightings::KEPT;

    /// A machine whose clocks are what a test makes them: three ticks are a nanosecond, but for an error of its rate.
    struct Machine {
        now: Reading,
        sightings: ClockSamples,
        /// Parts in 10⁹ by which the counter is faster than its first rate says.
        drift: i64,
        /// Stamps that were given, and the times that were told of them.
        told: Vec<(u64, i128)>,
    }

    impl Machine {
        fn new(drift: i64) -> Self {
            let (mono_ns, boot_ns) = (5 * HOUR, 7 * HOUR);
            let unix_ns = 1_700_000_000 * SECOND;
            let now = Reading { ticks: 1 << 50, mono_ns, boot_ns, unix_ns, uncertain_ns: 100 };
            let sightings = ClockSamples::first(&now, SightingRecord::RATE_ONE / 3);
            Self { now, sightings, drift, told: Vec::new() }
        }

        fn clock(&self) -> Clock {
            let log = sightings::Sightings { all: self.sightings.all().to_vec(), changes: 2, is_open: false };
            Clock::of(&log, None).unwrap()
        }

        fn pass(&mut self, ns: u64) {
            let extra = i128::from(3 * ns) * i128::from(self.drift) / 1_000_000_000;
            self.now.ticks = (i128::from(self.now.ticks + 3 * ns) + extra) as u64;
            self.now.mono_ns += ns;
            self.now.boot_ns += ns;
            self.now.unix_ns += ns;
        }

        /// The sampler looks at the clocks. What was stamped before it says so was stamped with fewer ticks.
        fn sample(&mut self) {
            self.pass(100);
            if self.sightings.wants_another(&self.now, ROOM) && self.sightings.all().len() < ROOM {
                self.sightings.next(&self.now.clone());
            }
        }

        /// A stamp is given, and somebody is told its time.
        fn tell(&mut self) {
            let stamp = self.now.ticks;
            self.told.push((stamp, self.clock().unix_ns(stamp).unwrap()));
        }

        fn beats(&mut self, beats: u64) {
            for _ in 0..beats {
                self.tell();
                self.pass(BEAT_NS);
                self.tell();
                self.sample();
            }
        }

        /// How far the time of a stamp that is given now is from what the wall clock shows.
        fn off_ns(&self) -> i128 {
            self.clock().unix_ns(self.now.ticks).unwrap() - i128::from(self.now.unix_ns)
        }

        #[track_caller]
        fn nothing_told_has_moved(&self) {
            let clock = self.clock();
            for (stamp, time) in &self.told {
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
        machine.nothing_told_has_moved();
        let sightings = machine.sightings.all().len();
        assert!((2..=24).contains(&sightings), "{sightings} sightings in an hour");
    }

    #[test]
    fn later_stamps_have_later_times_while_the_clock_is_not_set() {
        for drift in [50_000, -50_000] {
            let mut machine = Machine::new(drift);
            machine.beats(2_000);
            let times = machine.told.iter().map(|(_, time)| *time);
            assert!(times.is_sorted());
        }
    }

    #[test]
    fn a_steady_clock_is_sighted_ever_more_rarely() {
        let mut machine = Machine::new(30_000);
        machine.beats(4 * 3_600);
        let after_an_hour = machine.sightings.all().len();
        machine.beats(8 * 4 * 3_600);
        assert!(machine.sightings.all().len() <= after_an_hour + 4);
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
            machine.nothing_told_has_moved();
        }
    }

    #[test]
    fn a_clock_that_began_in_1970_is_right_once_it_is_set() {
        let mut machine = Machine::new(1_000);
        machine.now.unix_ns = 12 * SECOND;
        machine.sightings = ClockSamples::first(&machine.now, SightingRecord::RATE_ONE / 3);
        machine.beats(40);
        machine.now.unix_ns = 1_700_000_000 * SECOND;
        machine.sample();
        machine.beats(4);
        assert!(machine.off_ns().abs() < 1_000_000);
        machine.nothing_told_has_moved();
        let clock = machine.clock();
        let [first, last] = [machine.told[0], *machine.told.last().unwrap()].map(|(stamp, _)| stamp);
        let age = clock.moment(last).unwrap().since(&clock.moment(first).unwrap()).unwrap();
        assert_eq!(age.as_secs(), 11);
    }

    #[test]
    fn after_a_suspend_the_times_before_it_stay_and_those_after_it_are_right() {
        // The counter goes on, or stands still as the monotonic clock does.
        for counter_goes_on in [true, false] {
            let mut machine = Machine::new(1_000);
            machine.beats(400);
            let rate = machine.sightings.rate;
            machine.now.unix_ns += 8 * HOUR;
            machine.now.boot_ns += 8 * HOUR;
            machine.now.ticks += if counter_goes_on { 3 * 8 * HOUR } else { 0 };
            machine.sample();
            assert!(machine.off_ns().abs() < 1_000_000, "{} ns", machine.off_ns());
            machine.beats(400);
            assert!(machine.off_ns().abs() < 1_000_000, "{} ns", machine.off_ns());
            machine.nothing_told_has_moved();
            assert!(machine.sightings.rate.abs_diff(rate) < rate / 10_000, "the rate is no other");
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
        let before = machine.sightings.all().len();
        machine.drift = 200_000_000;
        machine.beats(400);
        assert!(machine.off_ns().abs() < 1_000_000, "{} ns", machine.off_ns());
        assert!(machine.sightings.all().len() - before < 12);
        machine.nothing_told_has_moved();
    }

    #[test]
    fn a_reading_that_took_long_is_no_jump() {
        let mut machine = Machine::new(0);
        machine.beats(40);
        let before = machine.sightings.all().len();
        machine.now.uncertain_ns = 80_000_000;
        machine.now.mono_ns += 40_000_000;
        machine.sample();
        assert_eq!(machine.sightings.all().len(), before);
    }

    #[test]
    fn a_counter_that_goes_back_is_not_told_of() {
        let mut machine = Machine::new(0);
        machine.beats(40);
        machine.now.ticks = 1;
        assert!(!machine.sightings.wants_another(&machine.now, ROOM));
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
        let before = machine.sightings.all().len();
        assert!(before > 90, "{before}");
        // Of an actor that has lived from the first hour on, of one from the middle, and of the newest events.
        let middle = machine.told.len() / 2;
        let end = machine.told.len() - 8;
        let told: Vec<_> = machine.told.drain(..).collect();
        machine.told = [&told[..1], &told[middle..middle + 3], &told[end..]].concat();
        let stamps: Vec<u64> = machine.told.iter().map(|(stamp, _)| *stamp).collect();
        let now = machine.now;
        assert!(machine.sightings.thin(&now, |see| stamps.iter().for_each(|stamp| see(*stamp))));
        assert!(machine.sightings.all().len() < 10, "{}", machine.sightings.all().len());
        machine.nothing_told_has_moved();
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
        let before = machine.sightings.all().to_vec();
        let now = machine.now;
        assert!(!machine.sightings.thin(&now, |_| {}));
        assert_eq!(machine.sightings.all(), before);
        machine.pass(DAY);
        let now = machine.now;
        assert!(machine.sightings.thin(&now, |_| {}));
        assert_eq!(machine.sightings.all(), &before[before.len() - 1..]);
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
        assert!(machine.sightings.all().len() < ROOM * 3 / 4, "{}", machine.sightings.all().len());
        assert!(machine.off_ns().abs() < 15_000_000);
    }
}
