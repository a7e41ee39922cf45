//! Metrics of the application: counters, gauges and histograms, registered by name and labels.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use atomscope_layout::histogram::{self, HISTOGRAM_WORDS};
use atomscope_layout::lane_memory::LaneMemory;
use atomscope_layout::metrics::{self, Builtin, Description, Kind};
use atomscope_layout::view::WriterMemory;

use super::handle::Region;
use crate::environment::warn;
use crate::lane;
use crate::series::{Labels, Series};
use crate::writer::RegionWriter;

/// A handle's share in its metric, which may go with the last handle.
#[derive(Clone)]
pub(crate) struct Held {
    /// `None` if the metric was refused.
    series: Option<Arc<Series>>,
    region: Region,
}

impl Held {
    /// Whether the metric was not refused.
    #[cfg(any(feature = "metrics", feature = "tracing-layer"))]
    pub(crate) fn is_listed(&self) -> bool {
        self.series.is_some()
    }

    fn remove_on_drop(&self) {
        if let Some(series) = &self.series {
            series.remove_on_drop();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Of all handles that are dropped at one time, one gets the metric.
        if let Some(series) = self.series.take().and_then(Arc::into_inner) {
            // In a forked child another thread of the parent may have held the lock at the fork.
            if series.is_removed_on_drop() && self.region.writer.is_of_this_process() {
                self.region.writer.remove_metric(&series);
            }
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.series.fmt(f)
    }
}

/// A metric that only grows. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let orders = region.counter("orders.placed", "orders", "Orders that customers placed");
/// orders.inc();
/// orders.add(3);
/// let seen = region.counter_with("docs.seen", "documents", "Documents that were seen", &[("shard", "0")]);
/// seen.inc();
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Counter {
    lanes: LaneMemory,
    pub(crate) held: Held,
}

/// A whole number that grows and shrinks, also below 0. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let open = region.gauge("orders.open", "orders", "Orders that are not delivered yet");
/// open.set(17);
/// open.dec();
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gauge {
    lanes: LaneMemory,
    pub(crate) held: Held,
}

/// A number with fractions that grows and shrinks. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// region.float_gauge("oven.temperature", "Cel", "Temperature of the oven").set(182.5);
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FloatGauge {
    lanes: LaneMemory,
    pub(crate) held: Held,
}

/// The distribution of values, in buckets that are at most a quarter apart, with their sum and the greatest. A quantile of
/// it is at most a quarter too great. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let sizes = region.histogram("orders.size", "items", "Items in an order");
/// sizes.record(3);
/// let times = region.histogram("orders.time", "ns", "Time that placing an order takes");
/// {
///     let _timer = times.timer();
///     // What is to be timed: the timer's drop records it.
/// }
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Histogram {
    memory: WriterMemory,
    pub(crate) held: Held,
}

impl Counter {
    /// Adds `n`: a load and a store on a thread that counts often, a locked add on others. The handle knows where its words
    /// are. No lock, no allocation, no system call. `cargo run --release -p atomscope-benches` measures it.
    #[inline]
    pub fn add(&self, n: u64) {
        lane::add(&self.lanes, 0, n);
    }

    /// Adds 1, as [`Counter::add`].
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }
}

impl Gauge {
    /// Sets the value. One store.
    #[inline]
    pub fn set(&self, value: i64) {
        self.lanes.lanes().set(0, value as u64);
    }

    /// Adds `n`, which may be negative. One locked add.
    #[inline]
    pub fn add(&self, n: i64) {
        if let Some(word) = self.lanes.lanes().word(0, 0) {
            word.fetch_add(n as u64, Ordering::Relaxed);
        }
    }

    /// Subtracts `n`. One locked add.
    #[inline]
    pub fn sub(&self, n: i64) {
        self.add(n.wrapping_neg());
    }

    /// Adds 1. One locked add.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts 1. One locked add.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }
}

impl FloatGauge {
    /// Sets the value. One store. Readers show an infinite value, or one that is no number, as unknown.
    #[inline]
    pub fn set(&self, value: f64) {
        self.lanes.lanes().set(0, value.to_bits());
    }

    /// Adds `n`, which may be negative. It is repeated while other threads change the value at the same
    /// time, without a bound: a bound would lose `n`.
    #[inline]
    pub fn add(&self, n: f64) {
        if let Some(word) = self.lanes.lanes().word(0, 0) {
            let add = |bits| Some((f64::from_bits(bits) + n).to_bits());
            let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    /// Subtracts `n`, as [`FloatGauge::add`].
    #[inline]
    pub fn sub(&self, n: f64) {
        self.add(-n);
    }
}

impl Histogram {
    /// Counts `value`: three locked adds and a locked maximum. No lock, no allocation, no system call.
    #[inline]
    pub fn record(&self, value: u64) {
        histogram::record(self.memory.words(), value);
    }

    /// Counts a duration in nanoseconds, as [`Histogram::record`].
    #[inline]
    pub fn record_duration(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Starts to measure a time, which the drop of the result records in nanoseconds. Reads the clock twice, about 40 ns.
    pub fn timer(&self) -> Timer<'_> {
        Timer { histogram: Some(self), start: Instant::now() }
    }
}

/// Measures a time, and records it in nanoseconds when it is dropped.
#[derive(Debug)]
#[must_use = "its drop ends the measurement"]
pub struct Timer<'a> {
    histogram: Option<&'a Histogram>,
    start: Instant,
}

impl Timer<'_> {
    /// Records nothing.
    pub fn discard(mut self) {
        self.histogram = None;
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        if let Some(histogram) = self.histogram {
            histogram.record_duration(self.start.elapsed());
        }
    }
}

/// Registers a metric: name, unit, help and labels.
type Register<M> = fn(&Region, &str, &str, &str, &[(&str, &str)]) -> M;

/// The metrics of one name that differ in the values of the same labels. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let seen = region.counter_family("docs.seen", "documents", "Documents that were seen", ["shard"]);
/// let first = seen.with(["0"]);
/// first.inc();
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Family<M, const LABELS: usize> {
    region: Region,
    name: Box<str>,
    unit: Box<str>,
    help: Box<str>,
    keys: [Box<str>; LABELS],
    of: Register<M>,
}

impl<M, const LABELS: usize> Family<M, LABELS> {
    /// The metric with these values of the labels, in the order in which the family was given their keys. A system
    /// call, a lock and a look-up, and no allocation while another handle of the metric exists; keep the handle where it is used often.
    pub fn with(&self, values: [&str; LABELS]) -> M {
        let mut values = values.into_iter();
        let labels = self.keys.each_ref().map(|key| (&**key, values.next().unwrap_or_default()));
        (self.of)(&self.region, &self.name, &self.unit, &self.help, &labels)
    }
}

macro_rules! metrics {
    ($($metric:ident, $kind:ident, $field:ident = $words:ident, $with:ident, $family:ident, $one:ident: $what:literal;)+) => {$(
        impl $metric {
            /// From now on the metric is removed when its last handle is dropped. Its room is then free for another one. That drop
            /// takes a lock, and stores a zero in each lane of the region.
            pub fn removed_on_drop(self) -> Self {
                self.held.remove_on_drop();
                self
            }
        }

        impl Region {
            #[doc = concat!("Registers ", $what, " with labels, or finds the one with this name and these labels.")]
            ///
            /// Each set of labels is a metric of its own. Takes a lock; not for hot paths. Units are best [UCUM] words: `ns`,
            /// `s`, `By`, `1`.
            ///
            /// If all room is taken, or the name belongs to a metric of another kind or unit, or name or labels are refused,
            /// the result counts nothing: one warning says so, and `metrics.unlisted` counts it. Refused are:
            /// - a name of the probe's own metrics; one of more than 248 bytes;
            /// - names and keys that are empty, begin or end with a space, or have a control character or one of `{`, `}`, `"`; keys
            ///   with `=` or `,`; values and units with a control character;
            /// - more than 16 labels, two labels with one key, and name, labels and unit of more than 368 bytes together.
            ///
            /// Readers show invisible characters as `\u{200b}`. In a forked child the result counts nothing either.
            ///
            /// [UCUM]: https://ucum.org/ucum
            pub fn $with(&self, name: &str, unit: &str, help: &str, labels: &[(&str, &str)]) -> $metric {
                let series = self.writer.register(name, labels, unit, Kind::$kind, help);
                let $field = self.writer.$words(series.as_deref());
                $metric { $field, held: Held { series, region: self.clone() } }
            }

            #[doc = concat!("Registers ", $what, " without labels; see [`Region::", stringify!($with), "`].")]
            pub fn $one(&self, name: &str, unit: &str, help: &str) -> $metric {
                self.$with(name, unit, help, &[])
            }

            #[doc = concat!("The family of such metrics with labels of these keys; see [`Region::", stringify!($with), "`].")]
            pub fn $family<const LABELS: usize>(
                &self,
                name: &str,
                unit: &str,
                help: &str,
                keys: [&str; LABELS],
            ) -> Family<$metric, LABELS> {
                let [name, unit, help] = [name, unit, help].map(Into::into);
                Family { region: self.clone(), name, unit, help, keys: keys.map(Into::into), of: Region::$with }
            }
        }
    )+};
}

metrics! {
    Counter, Counter, lanes = lanes_of_series, counter_with, counter_family, counter: "a counter";
    Gauge, SignedGauge, lanes = lanes_of_series, gauge_with, gauge_family, gauge: "a gauge";
    FloatGauge, FloatGauge, lanes = lanes_of_series, float_gauge_with, float_gauge_family, float_gauge: "a gauge with fractions";
    Histogram, Histogram, memory = memory_of_series, histogram_with, histogram_family, histogram: "a histogram";
}

impl RegionWriter {
    /// The words of a counter or gauge; none of a metric that was refused.
    fn lanes_of_series(&self, series: Option<&Series>) -> LaneMemory {
        self.lanes_of(series.map(|series| series.number))
    }

    /// The words of a histogram; none of a metric that was refused.
    fn memory_of_series(&self, series: Option<&Series>) -> WriterMemory {
        series.and_then(|series| self.histogram_memory(series.histogram)).unwrap_or_else(WriterMemory::none)
    }

    /// Registers a metric, or finds it. A system call and a lock.
    pub(crate) fn register(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        unit: &str,
        kind: Kind,
        help: &str,
    ) -> Option<Arc<Series>> {
        // In a forked child another thread of the parent may have held the lock at the fork.
        if !self.is_of_this_process() {
            return None;
        }
        let registered = Labels::new(labels).and_then(|labels| {
            self.try_register(&Description { name, labels: labels.get(), unit, kind, help })
        });
        // The lock is released: a subscriber of `tracing` may count warnings in this region.
        registered.map_err(|why| self.refused(name, &why)).ok()
    }

    #[cold]
    fn refused(&self, name: &str, why: &str) {
        self.count(Builtin::MetricsUnlisted, 1);
        let is_news = self.metrics.lock().unwrap_or_else(PoisonError::into_inner).is_news(name);
        if is_news {
            warn(&format!("metric {name:?} counts nothing: {why}"));
        }
    }

    fn try_register(&self, described: &Description<'_>) -> Result<Arc<Series>, String> {
        let mut known = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.find(described)? {
            return Ok(found);
        }
        let (section, counters) = (self.map().metrics, self.section(self.map().counters));
        let room = known.room(described.kind, section.count, self.map().histograms.count)?;
        let start = room.number * section.stride;
        let (Some(slot), Some(word)) =
            (self.section(section).get(start..start + section.stride), counters.get(room.number))
        else {
            return Err("the region is full".into());
        };
        word.store(room.histogram, Ordering::Relaxed);
        described.write(slot, room.uses);
        Ok(known.add(described, &room))
    }

    /// The number of a histogram's slot, whose metric is never removed from now on; 0 if it was refused.
    #[cfg(feature = "persistence")]
    pub(crate) fn keep_histogram(&self, series: Option<Arc<Series>>) -> u64 {
        let Some(series) = series else { return 0 };
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).keep(&series);
        series.histogram
    }

    /// Removes a metric whose last handle is gone.
    fn remove_metric(&self, series: &Series) {
        let mut known = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.forget(series) {
            return;
        }
        let section = self.map().metrics;
        let start = series.number * section.stride;
        if let Some(slot) = self.section(section).get(start..start + section.stride) {
            metrics::vacate(slot);
        }
        // No handle is left that adds to these words.
        let lanes = self.lanes_of(Some(series.number));
        (0..self.map().counters.count)
            .filter_map(|lane| lanes.lanes().word(lane, 0))
            .for_each(|word| word.store(0, Ordering::Relaxed));
        if let Some(memory) = self.histogram_memory(series.histogram) {
            memory.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        known.give_back(series);
    }

    /// The words of the histogram with the slot number `slot − 1`; `None` for 0.
    fn histogram_memory(&self, slot: u64) -> Option<WriterMemory> {
        let section = self.map().histograms;
        let start =
            section.start + usize::try_from(slot.checked_sub(1)?).ok()?.checked_mul(section.stride)?;
        self.part(start..start + HISTOGRAM_WORDS)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use atomscope_layout::metrics::{Metric, MetricValue};

    use super::*;
    use crate::environment::OnEvent;

    fn own(region: &Region) -> Vec<Metric> {
        let mut metrics = region.writer.reader().unwrap().metrics();
        metrics.retain(|metric| !metric.is_builtin);
        metrics
    }

    fn unlisted(region: &Region) -> u64 {
        region.writer.reader().unwrap().builtin(Builtin::MetricsUnlisted)
    }

    #[test]
    fn a_subscriber_that_receives_the_warning_may_count_metrics_and_receives_each_once() {
        let region = Region::builder("full").private().histograms(1).build().unwrap();
        let heard = Arc::<Mutex<Vec<bool>>>::default();
        let (of_events, from) = (heard.clone(), region.clone());
        let is_unlocked = move || from.writer.metrics.try_lock().is_ok();
        tracing::subscriber::with_default(
            OnEvent(move || of_events.lock().unwrap().push(is_unlocked())),
            || {
                for name in ["first", "second", "second"] {
                    region.histogram(name, "items", "");
                }
                region.counter("first", "items", "");
            },
        );
        assert_eq!(*heard.lock().unwrap(), [true; 2]);
        assert_eq!(unlisted(&region), 3);
    }

    #[test]
    fn each_set_of_labels_is_a_metric_whatever_order_they_are_given_in() {
        let region = Region::builder("labels").private().build().unwrap();
        region.counter_with("seen", "docs", "", &[("b", "2"), ("a", "1")]).add(1);
        region.counter_with("seen", "docs", "", &[("a", "1"), ("b", "2")]).add(2);
        region.counter("seen", "docs", "").add(4);
        region.counter_family("seen", "docs", "", ["b"]).with(["1"]).add(8);
        let read: Vec<_> = own(&region)
            .into_iter()
            .map(|metric| (metric.labels.len(), metric.value.and_then(MetricValue::as_u64)))
            .collect();
        assert_eq!(read, [(2, Some(3)), (0, Some(4)), (1, Some(8))]);
        // Another kind or unit of the same name would be shown beside the first.
        region.gauge_with("seen", "docs", "", &[("a", "9")]).set(1);
        region.counter_with("seen", "pages", "", &[("a", "9")]).add(1);
        assert_eq!((own(&region).len(), unlisted(&region)), (3, 2));
    }

    #[test]
    fn gauges_go_below_zero_and_have_fractions() {
        let region = Region::builder("gauges").private().build().unwrap();
        let (open, load) = (region.gauge("open", "", ""), region.float_gauge("load", "1", ""));
        open.set(2);
        open.sub(5);
        open.inc();
        open.inc();
        open.dec();
        load.set(0.5);
        load.add(0.25);
        load.sub(1.0);
        let values: Vec<_> = own(&region).into_iter().map(|metric| metric.value).collect();
        assert_eq!(values, [Some(MetricValue::Signed(-2)), Some(MetricValue::Float(-0.25))]);
    }

    #[test]
    fn a_timer_records_when_it_is_dropped_unless_it_is_discarded() {
        let region = Region::builder("timers").private().build().unwrap();
        let times = region.histogram("time", "ns", "");
        times.timer().discard();
        drop(times.timer());
        times.record_duration(Duration::MAX);
        let found = own(&region).remove(0).histogram.unwrap();
        assert_eq!((found.count, found.greatest), (2, u64::MAX));
    }

    #[test]
    fn a_metric_that_goes_with_its_last_handle_leaves_nothing_to_the_next_one() {
        let region = Region::builder("removed").private().histograms(1).build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let times = region.histogram("time", "ns", "").removed_on_drop();
                    (0..200).for_each(|value| times.record(value));
                    let count = region.counter_with("count", "", "", &[("a", "b")]).removed_on_drop();
                    (0..200).for_each(|_| count.inc());
                });
            }
        });
        assert!(own(&region).is_empty());
        region.histogram("other", "By", "").record(3);
        region.gauge("level", "", "");
        let found = own(&region);
        let histogram = found.iter().find_map(|metric| metric.histogram.clone()).unwrap();
        assert_eq!((histogram.count, histogram.sum, histogram.buckets.len()), (1, 3, 1));
        let level = found.iter().find(|metric| metric.name == "level").unwrap();
        assert_eq!((level.value, unlisted(&region)), (Some(MetricValue::Signed(0)), 0));
    }
}
