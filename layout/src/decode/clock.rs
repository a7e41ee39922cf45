//! Converting stamps to times, by the clock samples in the region.

use core::ops::Range;
use core::time::Duration;
use std::sync::Arc;

use jiff::Timestamp;

use crate::clock_samples;
use crate::records::ClockSampleRecord;

/// A time by the clocks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// UTC nanoseconds since 1970, as shown to people. The wall clock may have been set since.
    pub unix_ns: i128,
    /// Nanoseconds of the node's monotonic clock, if known.
    pub mono_ns: Option<i128>,
    /// Nanoseconds of the node's clock since boot, if known. This clock also counts while the machine is suspended.
    pub boot_ns: Option<i128>,
}

impl Moment {
    /// Whether it was later than `other`: by a clock that cannot be set if both times have one, else by the wall clock.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self.steady_since(other), self.unix_ns > other.unix_ns) {
            (Some(ns), _) => ns > 0,
            (None, is_after) => is_after,
        }
    }

    /// Nanoseconds since `earlier`, by a clock that cannot be set and that both times have.
    fn steady_since(&self, earlier: &Self) -> Option<i128> {
        let difference = |one: Option<i128>, other: Option<i128>| Some(one?.saturating_sub(other?));
        difference(self.boot_ns, earlier.boot_ns).or(difference(self.mono_ns, earlier.mono_ns))
    }

    /// The duration since `earlier`: by a clock that cannot be set if both times have one, else by the wall clock. `None`
    /// if the wall clock was set back, so that this time seems to be earlier.
    pub fn since(&self, earlier: &Self) -> Option<Duration> {
        let ns = match self.steady_since(earlier) {
            // The clocks of two processors may differ slightly.
            Some(ns) => ns.max(0),
            None => self.unix_ns.saturating_sub(earlier.unix_ns),
        };
        (ns >= 0).then(|| Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }
}

/// Converts stamps to times. The time of a stamp never changes after it was known once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The clock samples by their ticks, at least one.
    samples: Arc<[Sample]>,
    /// The last stamp with a known time; `None` if the time of every stamp is known.
    until: Option<u64>,
    /// *Changes* of the log when it was read.
    pub(super) changes: u64,
}

/// A clock sample: from `ticks` on, a tick lasts `rate` / [`ClockSampleRecord::RATE_ONE`] nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    ticks: u64,
    unix_ns: i128,
    mono_ns: u64,
    boot_ns: u64,
    rate: u64,
}

impl Clock {
    /// The clock of a log of clock samples; `None` if the log is empty.
    pub fn of(log: &clock_samples::Samples) -> Option<Self> {
        let samples = log.all.iter().map(Sample::of).collect();
        (!log.all.is_empty()).then_some(Self { samples, until: log.until, changes: log.changes })
    }

    /// UTC nanoseconds since 1970 of a stamp. `None` if the log was being changed; the next reading of the log will know.
    pub fn unix_ns(&self, stamp: u64) -> Option<i128> {
        let sample = self.sample_of(stamp)?;
        Some(sample.unix_ns.saturating_add(sample.elapsed_ns(stamp)))
    }

    /// The time of a stamp, by all clocks. `None` as for [`Self::unix_ns`].
    pub fn moment(&self, stamp: u64) -> Option<Moment> {
        let sample = self.sample_of(stamp)?;
        Some(sample.moment(sample.elapsed_ns(stamp)))
    }

    /// The time at which the node's monotonic clock showed `mono_ns`, for example the time of a beat.
    pub fn moment_of_mono(&self, mono_ns: u64) -> Moment {
        let at = self.samples.iter().rposition(|sample| sample.mono_ns <= mono_ns).unwrap_or(0);
        let sample = &self.samples[at];
        sample.moment(i128::from(mono_ns) - i128::from(sample.mono_ns))
    }

    fn sample_of(&self, stamp: u64) -> Option<&Sample> {
        if self.until.is_some_and(|until| stamp > until) {
            return None;
        }
        let after = self.samples.partition_point(|sample| sample.ticks <= stamp);
        self.samples.get(after.saturating_sub(1))
    }
}

impl Sample {
    fn of(record: &ClockSampleRecord) -> Self {
        let ClockSampleRecord { ticks, mono_ns, boot_ns, unix_ns, rate, .. } = *record;
        Self { ticks, unix_ns: i128::from(unix_ns as i64), mono_ns, boot_ns, rate }
    }

    /// Nanoseconds from the ticks of this sample to a stamp.
    fn elapsed_ns(&self, stamp: u64) -> i128 {
        if let Some(ticks) = stamp.checked_sub(self.ticks) {
            // The usual case, without a division.
            let scaled = u128::from(ticks) * u128::from(self.rate);
            return (scaled >> ClockSampleRecord::RATE_ONE.trailing_zeros()) as i128;
        }
        let ticks = i128::from(stamp) - i128::from(self.ticks);
        ticks.saturating_mul(i128::from(self.rate)) / i128::from(ClockSampleRecord::RATE_ONE)
    }

    /// The time so many nanoseconds after this sample.
    fn moment(&self, elapsed_ns: i128) -> Moment {
        let after = |ns: u64| i128::from(ns).saturating_add(elapsed_ns);
        Moment {
            unix_ns: self.unix_ns.saturating_add(elapsed_ns),
            mono_ns: Some(after(self.mono_ns)),
            boot_ns: Some(after(self.boot_ns)),
        }
    }
}

/// The time of a stamp as text; empty if unknown.
pub(super) fn time_text(clock: Option<&Clock>, stamp: u64) -> String {
    clock.and_then(|clock| clock.unix_ns(stamp)).map(rfc3339).unwrap_or_default()
}

/// RFC 3339 in UTC with nanoseconds; the empty text if the calendar has no such time.
pub fn rfc3339(unix_ns: i128) -> String {
    with_rfc3339(unix_ns, str::to_owned)
}

/// Calls `take` with the text of [`rfc3339`]. Does not allocate for times from 1970 to 2554.
pub(crate) fn with_rfc3339<T>(unix_ns: i128, take: impl FnOnce(&str) -> T) -> T {
    match u64::try_from(unix_ns).map(usual_rfc3339) {
        Ok(text) => take(core::str::from_utf8(&text).unwrap_or_default()),
        Err(_) => {
            take(&Timestamp::from_nanosecond(unix_ns).map(|time| format!("{time:.9}")).unwrap_or_default())
        }
    }
}

/// [`rfc3339`] for 1970 to 2554, by a few divisions: a snapshot of a million actors formats a million times.
fn usual_rfc3339(unix_ns: u64) -> [u8; 30] {
    let (second, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
    // Years begin in March here, so that the leap day is the last day of its year. An era has 400 years.
    let days = second / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |digits: Range<usize>, mut value: u64| {
        for digit in text[digits].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0..4, year);
    put(5..7, month);
    put(8..10, day);
    put(11..13, second / 3_600 % 24);
    put(14..16, second / 60 % 60);
    put(17..19, second % 60);
    put(20..29, ns);
    text
}
