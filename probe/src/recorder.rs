//! A recorder of the crate `metrics`: what a program counts through that facade becomes metrics of a region.
//!
//! A metric of the facade is a key, and a macro such as `counter!` asks the recorder for it each time. The recorder finds the
//! keys that it knows in a table without a lock: an entry is written once and never removed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use atomscope_layout::metrics::Builtin;
use metrics::{
    CounterFn, GaugeFn, HistogramFn, Key, KeyName, Label, Metadata, SetRecorderError, SharedString, Unit,
};

use crate::region::{Counter, FloatGauge, Histogram, Region};
use crate::writer::RegionWriter;

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
///   costs as much as [`Counter`]. The first use of a key takes a lock and registers the metric. Private memory: some 300 bytes for
///   each of the region's metrics and 150 for each of its histograms, at most twice as much, about 0.6 MB by default.
/// - **Descriptions** and units count if they come before the first use of the metric.
/// - **Counters.** `absolute` raises the counter by what its value is greater than the greatest one before; so a counter that
///   is given absolute values only has the greatest of them.
/// - **Gauges** have fractions.
/// - **Histograms** keep whole numbers. A time is kept in nanoseconds if its unit is known to be seconds, milliseconds,
///   microseconds or nanoseconds; without a unit in its description a name that ends with one of these words says it. Other
///   values are rounded. Negative ones count as 0, those above 2⁴⁸ as 2⁴⁸, and what is not finite does not count.
/// - A metric that finds no room, or whose name or labels are refused, counts nothing: see [`Region::counter_with`]. It stays so,
///   even if other metrics are removed. Each use of its macro is counted in `metrics.unlisted`.
/// - A forked child counts nothing in its parent's region, and registers nothing.
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
        // In a forked child another thread of the parent may have held the lock at the fork.
        if !self.region.writer.is_of_this_process() {
            return;
        }
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

/// The units of time that a name may end with. The last ending is that of the others, too.
const ENDINGS: [(&str, Unit); 4] = [
    ("milliseconds", Unit::Milliseconds),
    ("microseconds", Unit::Microseconds),
    ("nanoseconds", Unit::Nanoseconds),
    ("seconds", Unit::Seconds),
];

/// Greater values of a histogram are kept as this one, so that it takes 65,536 of them before the sum overflows.
const MAX_VALUE: u64 = 1 << 48;

/// The unit in which a histogram keeps its values, and how many of it one of the program's values is.
fn kept_in(name: &str, unit: Option<Unit>) -> (&'static str, f64) {
    let said = || ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, unit)| *unit);
    match unit.or_else(said) {
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
        // An infinite value would be the greatest for ever, and make the sum overflow.
        if value.is_finite() {
            // The conversion is 0 for negative values and the greatest number for too great ones.
            self.histogram.record(((value * self.scale).round() as u64).min(MAX_VALUE));
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
        let kept = self.counters.get(&self.region.writer, key, || {
            let (unit, help) = self.described(key.name());
            let counter = self.region.counter_with(key.name(), ucum(unit), &help, &labels(key));
            counter.held.is_listed().then_some(KeptCounter { counter, absolute: AtomicU64::new(0) })
        });
        kept.map_or_else(metrics::Counter::noop, metrics::Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        let kept = self.gauges.get(&self.region.writer, key, || {
            let (unit, help) = self.described(key.name());
            let gauge = self.region.float_gauge_with(key.name(), ucum(unit), &help, &labels(key));
            gauge.held.is_listed().then_some(KeptGauge(gauge))
        });
        kept.map_or_else(metrics::Gauge::noop, metrics::Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        let kept = self.histograms.get(&self.region.writer, key, || {
            let (unit, help) = self.described(key.name());
            let (unit, scale) = kept_in(key.name(), unit);
            let histogram = self.region.histogram_with(key.name(), unit, &help, &labels(key));
            histogram.held.is_listed().then_some(KeptHistogram { histogram, scale })
        });
        kept.map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}

/// A key that was used, with its metric; `None` if that was refused.
type Entry<M> = OnceLock<(Key, Option<Arc<M>>)>;

/// The metrics of the keys that were used: a hash table that only grows. It is read without a lock.
#[derive(Debug)]
struct Table<M> {
    entries: Box<[Entry<M>]>,
    used: AtomicUsize,
    inserting: Mutex<()>,
}

impl<M> Table<M> {
    /// A table for as many metrics. Some are the probe's own, so there is room for a few that are refused.
    fn new(metrics: usize) -> Self {
        let entries = (2 * metrics.max(1)).next_power_of_two();
        let entries = (0..entries).map(|_| OnceLock::new()).collect();
        Self { entries, used: AtomicUsize::new(0), inserting: Mutex::default() }
    }

    /// The metric of this key, which is made if the key is new. `None` if it was refused, or if half of the table is full; the
    /// region counts that.
    fn get(&self, writer: &RegionWriter, key: &Key, make: impl FnOnce() -> Option<M>) -> Option<Arc<M>> {
        let known = match self.find(key) {
            Ok(known) => known.clone(),
            Err(_) if self.is_full() || !writer.is_of_this_process() => None,
            // Without the lock: what is refused is warned of, and whoever hears the warning may use a key that is new.
            Err(_) => return self.insert(key.clone(), make().map(Arc::new)),
        };
        if known.is_none() {
            writer.count(Builtin::MetricsUnlisted, 1);
        }
        known
    }

    fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.entries.len() / 2
    }

    /// Keeps what was made for this key, unless another thread was faster, or filled the table.
    fn insert(&self, key: Key, made: Option<Arc<M>>) -> Option<Arc<M>> {
        let inserting = self.inserting.lock().unwrap_or_else(PoisonError::into_inner);
        let free = match self.find(&key) {
            Ok(known) => {
                let known = known.clone();
                // The other one is dropped without the lock.
                drop(inserting);
                return known;
            }
            Err(free) => free.filter(|_| !self.is_full()),
        };
        if let Some(free) = free {
            self.used.fetch_add(1, Ordering::Relaxed);
            let _ = free.set((key, made.clone()));
        }
        made
    }

    /// The metric of this key, or where it would be. Half of the entries are empty, so a search ends soon.
    fn find(&self, key: &Key) -> Result<&Option<Arc<M>>, Option<&Entry<M>>> {
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
    use super::*;
    use crate::environment::OnEvent;
    use atomscope_layout::metrics::{Builtin, Metric, MetricValue};
    use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

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
            for ending in ["milliseconds", "microseconds", "nanoseconds"] {
                histogram!(format!("wait_{ending}")).record(12.0);
            }
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
            ("wait_milliseconds", "ns", whole(1)),
            ("wait_microseconds", "ns", whole(1)),
            ("wait_nanoseconds", "ns", whole(1)),
        ];
        assert_eq!(values, expected);
        assert_eq!((found[1].labels[0].1.as_str(), found[4].help.as_str()), ("1", "Times"));
        let sums: Vec<_> = found.iter().filter_map(|metric| Some(metric.histogram.as_ref()?.sum)).collect();
        assert_eq!(sums, [250_000_000, 2_000_000_000, 3, 12_000_000, 12_000, 12]);
    }

    #[test]
    fn what_is_infinite_or_too_great_leaves_the_sum_of_a_histogram_right() {
        let region = region();
        metrics::with_local_recorder(&region.recorder(), || {
            for value in [5.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MAX] {
                histogram!("ratio").record(value);
            }
        });
        let found = own(&region).remove(0).histogram.unwrap();
        assert_eq!((found.count, found.sum, found.greatest), (3, 5 + 2 * MAX_VALUE, MAX_VALUE));
    }

    #[test]
    fn a_subscriber_that_receives_the_warning_may_count_metrics_of_the_facade() {
        let region = region();
        let recorder = region.recorder();
        tracing::subscriber::with_default(OnEvent(|| counter!("warned").increment(1)), || {
            metrics::with_local_recorder(&recorder, || counter!("a{b}").increment(1));
        });
        let found = own(&region);
        assert_eq!((&*found[0].name, found[0].value), ("warned", Some(MetricValue::Unsigned(1))));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_forked_child_does_not_wait_for_a_lock_that_its_parent_held() {
        let region = Region::builder("forked").actors(100).build().unwrap();
        let recorder = region.recorder();
        let known = region.counter("known", "", "");
        let mut gone = Some(region.gauge("gone", "", "").removed_on_drop());
        let locks =
            (region.writer.metrics.lock(), recorder.descriptions.lock(), recorder.counters.inserting.lock());
        let code = crate::region_file::in_child(|| {
            drop(gone.take());
            region.counter("new", "", "").inc();
            metrics::with_local_recorder(&recorder, || {
                describe_counter!("facade", "");
                counter!("facade").increment(1);
            });
            known.inc();
        });
        drop(locks);
        assert_eq!(code, 0);
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
    fn keys_without_room_count_nothing_and_each_of_their_uses_is_counted() {
        let region = Region::builder("facade").private().metrics(97).build().unwrap();
        let recorder = region.recorder();
        metrics::with_local_recorder(&recorder, || {
            for at in (0..1000).chain(0..1000) {
                counter!("seen", "id" => at.to_string()).increment(1);
            }
        });
        let room = 97 - atomscope_layout::metrics::BUILTIN.len();
        assert_eq!(own(&region).len(), room);
        let refused = region.writer.reader().unwrap().builtin(Builtin::MetricsUnlisted);
        assert_eq!(refused, 2 * (1000 - room as u64));
    }
}
