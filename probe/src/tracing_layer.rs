//! A layer of `tracing` that counts spans and events by target and level.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::region::{Counter, Region};

/// Places in a program, at most, whose counters are found without a lock. Those of all others are counted together.
const CALLSITES: usize = 2048;
/// Slots that are looked at for one place.
const PROBES: usize = 16;

/// A layer of `tracing` that counts spans and events as metrics of a region: `tracing.events` and `tracing.spans`, with the
/// labels `target` and `level`. It does not keep the region open.
///
/// The first span or event of each place in the program registers its counter, which takes a lock. After that it costs a
/// look-up and an addition, without lock, allocation and system call. Levels that are filtered out cost nothing and get no
/// counter. What finds no room is counted in `tracing.unlisted`.
///
/// ```
/// use atomscope_probe::{Region, TracingLayer};
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
///
/// let region = Region::builder("shop-1").actors(100).private().build()?;
/// let counts = TracingLayer::new(&region).with_filter(LevelFilter::INFO);
/// let subscriber = tracing_subscriber::registry().with(counts);
/// tracing::subscriber::with_default(subscriber, || tracing::info!(target: "orders", "order 7 was placed"));
/// # Ok::<(), atomscope_probe::CreateError>(())
/// ```
#[derive(Debug)]
pub struct TracingLayer {
    region: Region,
    slots: Box<[Slot]>,
    unlisted: Counter,
}

#[derive(Debug, Default)]
struct Slot {
    /// The address of the place's metadata, which live as long as the program; 0: the slot is free.
    callsite: AtomicUsize,
    /// `None` inside: the place is the probe's own.
    counter: OnceLock<Option<Counter>>,
}

#[derive(Clone, Copy)]
enum What {
    Span,
    Event,
}

impl TracingLayer {
    /// A layer that counts in this region. Allocates.
    pub fn new(region: &Region) -> Self {
        let region = region.not_held();
        let help = "Spans and events of tracing that found no room among the others";
        let unlisted = region.counter("tracing.unlisted", "1", help);
        Self { region, slots: (0..CALLSITES).map(|_| Slot::default()).collect(), unlisted }
    }

    #[inline]
    fn count(&self, what: What, metadata: &'static Metadata<'static>) {
        let address = std::ptr::from_ref(metadata).addr();
        for slot in self.slots_of(address) {
            match slot.callsite.load(Ordering::Relaxed) {
                held if held == address => {
                    return match slot.counter.get() {
                        Some(counter) => counter.iter().for_each(Counter::inc),
                        // The thread that took the slot is about to store its counter.
                        None => self.counter(what, metadata).iter().for_each(Counter::inc),
                    };
                }
                0 => return self.count_first(what, metadata, address),
                _ => {}
            }
        }
        if !is_of_probe(metadata) {
            self.unlisted.inc();
        }
    }

    fn slots_of(&self, address: usize) -> impl Iterator<Item = &Slot> {
        // Fibonacci hashing: the high half is well mixed.
        let home = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let slots = self.slots.len().max(1);
        (0..PROBES).filter_map(move |step| self.slots.get((home as usize + step) % slots))
    }

    #[cold]
    fn count_first(&self, what: What, metadata: &'static Metadata<'static>, address: usize) {
        // Before the slot is taken: a warning about the counter comes back to this layer.
        let counter = self.counter(what, metadata);
        for slot in self.slots_of(address) {
            let taken = slot.callsite.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() || taken == Err(address) {
                counter.iter().for_each(Counter::inc);
                let _ = slot.counter.set(counter);
                return;
            }
        }
        if counter.is_some() {
            self.unlisted.inc();
        }
    }

    /// Registers the counter of a place, or finds it; that of all without room, if the region has none for it. `None` for what
    /// the probe itself says.
    #[cold]
    fn counter(&self, what: What, metadata: &'static Metadata<'static>) -> Option<Counter> {
        if is_of_probe(metadata) {
            return None;
        }
        let (name, help) = match what {
            What::Span => ("tracing.spans", "Spans of tracing that were begun"),
            What::Event => ("tracing.events", "Events of tracing"),
        };
        let labels = [("level", metadata.level().as_str()), ("target", metadata.target())];
        let counter = self.region.counter_with(name, "1", help, &labels);
        Some(if counter.held.is_listed() { counter } else { self.unlisted.clone() })
    }
}

fn is_of_probe(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("atomscope_probe")
}

impl<S: Subscriber> Layer<S> for TracingLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.count(What::Span, attributes.metadata());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.count(What::Event, event.metadata());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Name, level, target and value of each counter, and what found no room.
    fn counted(region: &Region) -> Vec<(String, String, String, u64)> {
        let metrics = region.writer.reader().unwrap().metrics();
        let of_tracing = metrics.into_iter().filter(|metric| metric.name.starts_with("tracing."));
        let mut all: Vec<_> = of_tracing
            .map(|metric| {
                let label = |key: &str| {
                    let found = metric.labels.iter().find(|(of, _)| of == key);
                    found.map(|(_, value)| value.clone()).unwrap_or_default()
                };
                let value = metric.value.and_then(|value| value.as_u64()).unwrap();
                (metric.name.clone(), label("level"), label("target"), value)
            })
            .collect();
        all.sort();
        all
    }

    fn row(name: &str, level: &str, target: &str, value: u64) -> (String, String, String, u64) {
        (name.into(), level.into(), target.into(), value)
    }

    #[test]
    fn spans_and_events_are_counted_by_target_and_level_and_filtered_levels_are_not() {
        let region = Region::builder("tracing").private().build().unwrap();
        let layer = TracingLayer::new(&region).with_filter(LevelFilter::INFO);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for number in 0..3 {
                let _span = tracing::info_span!(target: "shop", "order", number).entered();
                tracing::warn!(target: "shop", number, "late");
                tracing::debug!(target: "shop", "filtered");
            }
            // Another place of the same target and level.
            tracing::warn!(target: "shop", "lost");
            tracing::error!(target: "atomscope_probe::x", "of the probe itself");
        });
        let expected = [
            row("tracing.events", "WARN", "shop", 4),
            row("tracing.spans", "INFO", "shop", 3),
            row("tracing.unlisted", "", "", 0),
        ];
        assert_eq!(counted(&region), expected);
    }

    #[test]
    fn a_layer_whose_metrics_are_full_says_so_once_and_goes_on() {
        let region = Region::builder("tracing-full").private().metrics(96).build().unwrap();
        let layer = TracingLayer::new(&region);
        let fill = |number| region.counter(&format!("other-{number}"), "1", "");
        (atomscope_layout::metrics::BUILTIN.len() + 1..96).for_each(|number| drop(fill(number)));
        // The warning about the first refused counter comes back to the layer.
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            (0..3).for_each(|_| tracing::info!(target: "shop", "placed"));
        });
        assert_eq!(counted(&region), [row("tracing.unlisted", "", "", 3)]);
        let reader = region.writer.reader().unwrap();
        assert_eq!(reader.builtin(atomscope_layout::metrics::Builtin::MetricsUnlisted), 1);
    }

    #[test]
    fn the_layer_does_not_keep_the_region_open() {
        let region = Region::builder("tracing-held").private().build().unwrap();
        let (layer, writer) = (TracingLayer::new(&region), region.writer.clone());
        drop(region);
        assert!(writer.is_closing());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(target: "shop", "after the end");
        });
    }

    #[test]
    fn places_without_a_slot_are_counted_together() {
        let region = Region::builder("tracing-crowd").private().build().unwrap();
        let mut layer = TracingLayer::new(&region);
        layer.slots = Box::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            (0..2).for_each(|_| tracing::info!(target: "shop", "placed"));
        });
        assert_eq!(counted(&region).last(), Some(&row("tracing.unlisted", "", "", 2)));
    }
}
