//! Metrics of the application: counters, gauges and histograms, registered by name.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use atomscope_layout::lane_memory::LaneMemory;
use atomscope_layout::metrics::{self, BUILTIN, Kind};

use super::handle::Region;
use crate::environment::warn;
use crate::lane;
use crate::writer::RegionWriter;

/// A metric that only grows. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let orders = region.counter("orders.placed", "orders", "Orders that customers placed");
/// orders.add(3);
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Counter {
    lanes: LaneMemory,
    #[expect(dead_code, reason = "kept for its drop")]
    region: Region,
}

/// A metric that grows and shrinks. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// region.gauge("orders.open", "orders", "Orders that are not delivered yet").set(17);
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gauge {
    lanes: LaneMemory,
    #[expect(dead_code, reason = "kept for its drop")]
    region: Region,
}

/// The distribution of values, in buckets that are at most a quarter apart. It keeps the region open.
///
/// ```
/// use atomscope_probe::Region;
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let sizes = region.histogram("orders.size", "items", "Items in an order");
/// sizes.record(3);
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Histogram {
    region: Region,
    slot: u64,
}

impl Counter {
    /// Adds `n`: a load and a store on a thread that counts often, a locked add on others. The handle knows where its words
    /// are. No lock, no allocation, no system call. `cargo run --release -p atomscope-benches` measures it.
    #[inline]
    pub fn add(&self, n: u64) {
        lane::add(&self.lanes, 0, n);
    }
}

impl Gauge {
    /// Sets the value. One store.
    #[inline]
    pub fn set(&self, value: u64) {
        self.lanes.lanes().set(0, value);
    }
}

impl Histogram {
    /// Counts `value`: three locked adds and a locked maximum. No lock, no allocation, no system call.
    #[inline]
    pub fn record(&self, value: u64) {
        self.region.writer.record_histogram(self.slot, value);
    }
}

impl Region {
    /// Registers a counter, or finds the one with this name. Takes a lock; not for hot paths.
    ///
    /// If the metrics are full, or the name belongs to a metric of another kind, the counter counts nothing, and one
    /// warning says so.
    pub fn counter(&self, name: &str, unit: &str, help: &str) -> Counter {
        let metric = self.writer.register(name, unit, Kind::Counter, help);
        Counter { lanes: self.writer.lanes_of(metric), region: self.clone() }
    }

    /// Registers a gauge, or finds the one with this name; otherwise as [`Region::counter`].
    pub fn gauge(&self, name: &str, unit: &str, help: &str) -> Gauge {
        let metric = self.writer.register(name, unit, Kind::Gauge, help);
        Gauge { lanes: self.writer.lanes_of(metric), region: self.clone() }
    }

    /// Registers a histogram, or finds the one with this name; otherwise as [`Region::counter`].
    pub fn histogram(&self, name: &str, unit: &str, help: &str) -> Histogram {
        Histogram { slot: self.writer.register_histogram(name, unit, help), region: self.clone() }
    }
}

impl RegionWriter {
    fn register(&self, name: &str, unit: &str, kind: Kind, help: &str) -> Option<usize> {
        let registered = self.try_register(name, unit, kind, help);
        // The lock is released: a subscriber of `tracing` may count warnings in this region.
        registered.map_err(|why| warn(&format!("metric `{name}` counts nothing: {why}"))).ok()
    }

    fn try_register(&self, name: &str, unit: &str, kind: Kind, help: &str) -> Result<usize, String> {
        let mut known = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.iter().position(|(known, _)| known == name) {
            return match known.get(number) {
                _ if number < BUILTIN.len() => Err("the probe itself has a metric of this name".into()),
                Some((_, registered)) if *registered != kind => {
                    Err(format!("it is registered as a {registered:?} already").to_lowercase())
                }
                _ => Ok(number),
            };
        }
        let number = known.len();
        let section = self.map().metrics;
        let start = number * section.stride;
        let slot = self.section(section).get(start..start + section.stride);
        let slot = slot.ok_or_else(|| {
            format!("the region is full with {number} metrics; raise `metrics` in the builder")
        })?;
        metrics::describe(slot, name, unit, kind, help);
        known.push((name.to_owned(), kind));
        Ok(number)
    }

    /// 1 + the slot number of the histogram with this name, which is registered if there is none; 0 if the histograms are
    /// full. Takes a lock.
    pub(crate) fn register_histogram(&self, name: &str, unit: &str, help: &str) -> u64 {
        let Some(metric) = self.register(name, unit, Kind::Histogram, help) else { return 0 };
        let Some(word) = self.section(self.map().counters).get(metric) else { return 0 };
        let one_at_a_time = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let held = word.load(Ordering::Relaxed);
        if held != 0 {
            return held;
        }
        let slot = self.histograms.load(Ordering::Relaxed);
        if slot < self.map().histograms.count {
            self.histograms.store(slot + 1, Ordering::Relaxed);
            word.store(slot as u64 + 1, Ordering::Relaxed);
            return slot as u64 + 1;
        }
        drop(one_at_a_time);
        warn(&format!(
            "histogram `{name}` counts nothing: the region is full with {slot} histograms; raise `histograms` in the builder"
        ));
        0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::span;

    use super::*;

    /// Receives warnings, and tries to take the lock of the metrics meanwhile.
    struct Listening(Region, Arc<Mutex<Vec<bool>>>);

    impl tracing::Subscriber for Listening {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.1.lock().unwrap().push(self.0.writer.metrics.try_lock().is_ok());
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn whoever_listens_to_warnings_may_count_them_in_the_region() {
        let region = Region::builder("full").private().histograms(1).build().unwrap();
        let heard = Arc::<Mutex<Vec<bool>>>::default();
        tracing::subscriber::with_default(Listening(region.clone(), heard.clone()), || {
            for name in ["first", "second", "second"] {
                region.histogram(name, "items", "");
            }
            region.counter("first", "items", "");
        });
        assert_eq!(*heard.lock().unwrap(), [true; 3]);
    }
}
