//! A recorder of the crate `metrics`: what a program counts through that facade becomes metrics of a region.
//!
//! A metric of the facade is a key, and a macro such as `counter!` asks the recorder for it each time. The recorder finds the
//! keys that it knows in a table without a lock: an entry is written once and never removed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{
    CounterFn, GaugeFn, HistogramFn, Key, KeyName, Label, Metadata, SetRecorderError, SharedString, Unit,
};

use crate::region::{Counter, FloatGauge, Histogram, Region};

/// Records what the program counts through the crate `metrics` into a region: [`Region::recorder`] makes one.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("crawler").actors(100).private().build()?;
/// region.recorder().install().expect("no other recorder is installed");
/// metrics::describe_histogram!("fetch.time", metrics::Unit::Seconds, "Time that fetching a document takes");
/// metrics::counter!("docs.seen", "shard" => "0").increment(1);
/// metrics::gauge!("queue.load").set(0.75);
/// metrics::histogram!("fetch.time").record(0.012);
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
///
/// - **Cost.** A macro on a key that the recorder knows takes no lock and allocates nothing. A handle that the program keeps
///   costs as much as [`Counter`]. The first use of a key takes a lock and registers the metric.
/// - **Descriptions** and units count if they come before the first use of the metric.
/// - **Counters.** `absolute` raises the counter by what its value is greater than the greatest one before; so a counter that
///   is given absolute values only has the greatest of them.
/// - **Gauges** have fractions.
/// - **Histograms** keep whole numbers. A time is kept in nanoseconds if its unit is known to be seconds, milliseconds,
///   microseconds or nanoseconds; without a description a name that ends with `seconds` says seconds. Other values are rounded;
///   negative ones count as 0, and what is no number does not count.
/// - A metric that finds no room, or whose name or labels are refused, counts nothing: see [`Region::counter_with`].
#[derive(Debug)]
pub struct MetricsRecorder {
    region: Region,
    descriptions: Mutex<HashMap<String, (Option<Unit>, String)>>,
    /// The unit of each name, as its first metric has it.
    units: Mutex<HashMap<String, Option<Unit>>>,
    counters: Table<KeptCounter>,
    gauges: Table<KeptGauge>,
    histograms: Table<KeptHistogram>,
}

impl Region {
    /// A recorder of the crate `metrics`, whose metrics become metrics of this region. It keeps the region open.
    pub fn recorder(&self) -> MetricsRecorder {
        let most = self.writer.map().metrics.count;
        MetricsRecorder {
            region: self.clone(),
            descriptions: Mutex::default(),
            units: Mutex::default(),
            counters: Table::new(most),
            gauges: Table::new(most),
            histograms: Table::new(self.writer.map().histograms.count),
        }
    }
}

impl MetricsRecorder {
    /// Makes it the recorder of the process.
    ///
    /// # Errors
    /// The process has a recorder already.
    #[expect(clippy::result_large_err, reason = "the error gives the recorder back, once")]
    pub fn install(self) -> Result<(), SetRecorderError<Self>> {
        metrics::set_global_recorder(self)
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: &SharedString) {
        let mut descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        descriptions.insert(name.as_str().to_owned(), (unit, help.as_ref().to_owned()));
    }

    /// Unit and help of a name. The unit stays what it was for the first metric of the name.
    fn described(&self, name: &str) -> (Option<Unit>, String) {
        let descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        let (unit, help) = descriptions.get(name).cloned().unwrap_or_default();
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        (*units.entry(name.to_owned()).or_insert(unit), help)
    }
}

/// The labels of a key.
fn labels(key: &Key) -> Vec<(&str, &str)> {
    key.labels().map(|label: &Label| (label.key(), label.value())).collect()
}

/// The unit as UCUM has it.
fn ucum(unit: Option<Unit>) -> &'static str {
    match unit {
        None => "",
        Some(Unit::Count) => "1",
        Some(Unit::Percent) => "%",
        Some(Unit::Seconds) => "s",
        Some(Unit::Milliseconds) => "ms",
        Some(Unit::Microseconds) => "us",
        Some(Unit::Nanoseconds) => "ns",
        Some(Unit::Tebibytes) => "TiBy",
        Some(Unit::Gibibytes) => "GiBy",
        Some(Unit::Mebibytes) => "MiBy",
        Some(Unit::Kibibytes) => "KiBy",
        Some(Unit::Bytes) => "By",
        Some(Unit::TerabitsPerSecond) => "Tbit/s",
        Some(Unit::GigabitsPerSecond) => "Gbit/s",
        Some(Unit::MegabitsPerSecond) => "Mbit/s",
        Some(Unit::KilobitsPerSecond) => "kbit/s",
        Some(Unit::BitsPerSecond) => "bit/s",
        Some(Unit::CountPerSecond) => "1/s",
    }
}

/// The unit in which a histogram keeps its values, and how many of it one of the program's values is.
fn kept_in(name: &str, unit: Option<Unit>) -> (&'static str, f64) {
    let unit = unit.or(name.ends_with("seconds").then_some(Unit::Seconds));
    match unit {
        Some(Unit::Seconds) => ("ns", 1e9),
        Some(Unit::Milliseconds) => ("ns", 1e6),
        Some(Unit::Microseconds) => ("ns", 1e3),
        unit => (ucum(unit), 1.0),
    }
}

#[derive(Debug)]
struct KeptCounter {
    counter: Counter,
    /// The greatest absolute value.
    absolute: AtomicU64,
}

impl CounterFn for KeptCounter {
    fn increment(&self, n: u64) {
        self.counter.add(n);
    }

    fn absolute(&self, value: u64) {
        let before = self.absolute.fetch_max(value, Ordering::Relaxed);
        if let Some(more) = value.checked_sub(before).filter(|more| *more > 0) {
            self.counter.add(more);
        }
    }
}

#[derive(Debug)]
struct KeptGauge(FloatGauge);

impl GaugeFn for KeptGauge {
    fn increment(&self, n: f64) {
        self.0.add(n);
    }

    fn decrement(&self, n: f64) {
        self.0.sub(n);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
    }
}

#[derive(Debug)]
struct KeptHistogram {
    histogram: Histogram,
    scale: f64,
}

impl HistogramFn for KeptHistogram {
    fn record(&self, value: f64) {
        if !value.is_nan() {
            // The conversion is 0 for negative values and the greatest number for too great ones.
            self.histogram.record((value * self.scale).round() as u64);
        }
    }
}

impl metrics::Recorder for MetricsRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        let kept = self.counters.get(key, || {
            let (unit, help) = self.described(key.name());
            let counter = self.region.counter_with(key.name(), ucum(unit), &help, &labels(key));
            KeptCounter { counter, absolute: AtomicU64::new(0) }
        });
        kept.map_or_else(metrics::Counter::noop, metrics::Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        let kept = self.gauges.get(key, || {
            let (unit, help) = self.described(key.name());
            KeptGauge(self.region.float_gauge_with(key.name(), ucum(unit), &help, &labels(key)))
        });
        kept.map_or_else(metrics::Gauge::noop, metrics::Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let kept = self.histograms.get(key, || {
            let (unit, help) = self.described(key.name());
            let (unit, scale) = kept_in(key.name(), unit);
            let histogram = self.region.histogram_with(key.name(), unit, &help, &labels(key));
            KeptHistogram { histogram, scale }
        });
        kept.map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}

/// A key that was used, with its metric.
type Entry<M> = OnceLock<(Key, Arc<M>)>;

/// The metrics of the keys that were used: a hash table that only grows. It is read without a lock.
#[derive(Debug)]
struct Table<M> {
    entries: Box<[Entry<M>]>,
    inserting: Mutex<usize>,
}

impl<M> Table<M> {
    /// A table for as many metrics, and for as many that are refused.
    fn new(metrics: usize) -> Self {
        let entries = (4 * metrics.max(1)).next_power_of_two();
        Self { entries: (0..entries).map(|_| OnceLock::new()).collect(), inserting: Mutex::new(0) }
    }

    /// The metric of this key, which is made if there is none. `None` if half of the table is full.
    fn get(&self, key: &Key, make: impl FnOnce() -> M) -> Option<Arc<M>> {
        if let Ok(found) = self.find(key) {
            return Some(found.clone());
        }
        let mut used = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let free = match self.find(key) {
            Ok(found) => return Some(found.clone()),
            Err(free) => free.filter(|_| *used < self.entries.len() / 2)?,
        };
        *used += 1;
        Some(free.get_or_init(|| (key.clone(), Arc::new(make()))).1.clone())
    }

    /// The metric of this key, or where it would be. Half of the entries are empty, so a search ends soon.
    fn find(&self, key: &Key) -> Result<&Arc<M>, Option<&Entry<M>>> {
        let mask = self.entries.len() - 1;
        let start = key.get_hash() as usize & mask;
        for step in 0..self.entries.len() {
            let Some(entry) = self.entries.get((start + step) & mask) else { break };
            match entry.get() {
                None => return Err(Some(entry)),
                Some((known, metric)) if known == key => return Ok(metric),
                Some(_) => {}
            }
        }
        Err(None)
    }
}

#[cfg(test)]
mod tests {
    use atomscope_layout::metrics::{Builtin, Metric, MetricValue};
    use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

    use super::*;

    fn region() -> Region {
        Region::builder("facade").private().build().unwrap()
    }

    fn own(region: &Region) -> Vec<Metric> {
        let mut metrics = region.writer.reader().unwrap().metrics();
        metrics.retain(|metric| !metric.is_builtin);
        metrics
    }

    #[test]
    fn what_is_counted_through_the_facade_is_in_the_region_with_labels_units_and_help() {
        let region = region();
        metrics::with_local_recorder(&region.recorder(), || {
            describe_counter!("seen", Unit::Count, "Documents");
            describe_gauge!("load", "Load");
            describe_histogram!("time", Unit::Seconds, "Times");
            for shard in ["0", "1", "0"] {
                counter!("seen", "shard" => shard.to_owned()).increment(2);
            }
            // The unit was another one for the first metric of the name.
            describe_counter!("seen", Unit::Bytes, "Documents");
            counter!("seen", "shard" => "2").increment(1);
            gauge!("load").set(2.5);
            gauge!("load").decrement(3.0);
            histogram!("time").record(0.25);
            histogram!("wait_seconds").record(2.0);
            histogram!("size").record(-1.0);
            histogram!("size").record(f64::NAN);
            histogram!("size").record(2.6);
        });
        let found = own(&region);
        let values: Vec<_> =
            found.iter().map(|metric| (&*metric.name, &*metric.unit, metric.value)).collect();
        let whole = |value| Some(MetricValue::Unsigned(value));
        let expected = [
            ("seen", "1", whole(4)),
            ("seen", "1", whole(2)),
            ("seen", "1", whole(1)),
            ("load", "", Some(MetricValue::Float(-0.5))),
            ("time", "ns", whole(1)),
            ("wait_seconds", "ns", whole(1)),
            ("size", "", whole(2)),
        ];
        assert_eq!(values, expected);
        assert_eq!((found[1].labels[0].1.as_str(), found[4].help.as_str()), ("1", "Times"));
        let sums: Vec<_> = found.iter().filter_map(|metric| Some(metric.histogram.as_ref()?.sum)).collect();
        assert_eq!(sums, [250_000_000, 2_000_000_000, 3]);
    }

    #[test]
    fn an_absolute_value_raises_a_counter_and_never_lowers_it() {
        let region = region();
        metrics::with_local_recorder(&region.recorder(), || {
            for value in [5, 3, 9, 9] {
                counter!("bytes").absolute(value);
            }
        });
        assert_eq!(own(&region)[0].value, Some(MetricValue::Unsigned(9)));
    }

    #[test]
    fn many_threads_that_ask_for_the_same_keys_count_each_exactly() {
        let region = region();
        let recorder = region.recorder();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    metrics::with_local_recorder(&recorder, || {
                        for at in 0..4000 {
                            counter!("seen", "shard" => (at % 40).to_string()).increment(1);
                        }
                    });
                });
            }
        });
        let found = own(&region);
        assert!(
            found.len() == 40 && found.iter().all(|metric| metric.value == Some(MetricValue::Unsigned(400)))
        );
    }

    #[test]
    fn keys_without_room_count_nothing_and_do_not_grow_the_table_without_end() {
        let region = Region::builder("facade").private().metrics(97).build().unwrap();
        let recorder = region.recorder();
        metrics::with_local_recorder(&recorder, || {
            for at in 0..1000 {
                counter!("seen", "id" => at.to_string()).increment(1);
            }
        });
        let room = 97 - atomscope_layout::metrics::BUILTIN.len();
        assert_eq!(own(&region).len(), room);
        let refused = region.writer.reader().unwrap().builtin(Builtin::MetricsUnlisted);
        assert_eq!(refused, (recorder.counters.entries.len() / 2 - room) as u64);
    }
}
