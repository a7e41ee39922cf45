//! Metrics: what each counter and gauge of a region is, written into the region itself.
//!
//! The first metrics of every region are the built-in ones ([`Builtin`]); further ones are registered by the
//! application. A metric's number is its word in every counter lane.

use zerocopy::{FromZeros, IntoBytes};

use crate::limits::METRIC_TEXT_BYTES;
use crate::names::put_text;
use crate::records::{METRIC_WORDS, MetricRecord};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, Words};

/// How a metric's words make its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// The sum over the lanes; only grows.
    Counter = 1,
    /// The overflow lane's word; goes both ways.
    Gauge = 2,
}

/// A metric as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Dotted name.
    pub name: String,
    /// Unit, in words.
    pub unit: String,
    /// One sentence.
    pub help: String,
    /// Counter or gauge.
    pub kind: Kind,
    /// Its value at the time of reading.
    pub value: u64,
}

macro_rules! builtin {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal, $unit:literal, $kind:ident;)+) => {
        /// The metrics that every region has, by number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Builtin { $($(#[doc = $help])+ $variant,)+ }

        /// Name, unit, kind and help of each, in the order of their numbers.
        pub const BUILTIN: &[(&str, &str, Kind, &str)] =
            &[$(($name, $unit, Kind::$kind, concat!($($help),+).trim_ascii()),)+];
    };
}

builtin! {
    /// Actors spawned, as the spawn hook or the application reported them.
    Spawned = "actors.spawned", "actors", Counter;
    /// Actors stopped, as the stop hook or the application reported them.
    Stopped = "actors.stopped", "actors", Counter;
    /// Spawns that the application reported for a path that was live already.
    Replaced = "actors.replaced", "actors", Counter;
    /// Stops of actors whose spawn the probe never saw, because it was installed later.
    Foreign = "actors.foreign", "actors", Counter;
    /// Stops that were noted until their spawn would come.
    EarlyStops = "actors.early_stops", "stops", Counter;
    /// Noted stops that met their spawn, or were given up as foreign.
    EarlyStopsDone = "actors.early_stops_done", "stops", Counter;
    /// Spawns that are counted but cannot be listed, since the table was full around them.
    Spilled = "actors.spilled", "actors", Counter;
    /// Spawns for which there was no room at all.
    UntrackedSpawns = "actors.untracked_spawns", "actors", Counter;
    /// Stops that found nothing and for which there was no room.
    UntrackedStops = "actors.untracked_stops", "stops", Counter;
    /// Noted stops that were written off against untracked spawns.
    UntrackedMatched = "actors.untracked_matched", "stops", Counter;
    /// Texts that were longer than what a record keeps.
    TextsCut = "texts.cut", "texts", Counter;
    /// Names that found no room among the interned ones; they stand in their records instead.
    NamesFull = "names.full", "texts", Counter;
    /// Dead letters that gave way to a writer at work in the same slot.
    DeadLettersAbandoned = "dead_letters.abandoned", "letters", Counter;
    /// Rounds of the probe's sampler.
    SamplerRounds = "sampler.rounds", "rounds", Counter;
    /// Time that the sampler spent in them.
    SamplerTime = "sampler.time", "nanoseconds", Counter;
    /// Events of the shared lane that gave way to a writer at work in the same slot.
    EventsAbandoned = "events.abandoned", "events", Counter;
    /// Stops that nobody could tell as events, since the table had kept no path of theirs.
    EventsUntold = "events.untold", "events", Counter;
    /// Updates of a record that found it gone or in another thread's hands.
    UpdatesMissed = "actors.updates_missed", "updates", Counter;
}

const _: () = assert!(BUILTIN.len() <= crate::region::MIN_METRICS);

/// Writes a descriptor that nobody else writes: the texts, cut where they must be, then the ready word.
pub fn describe(slot: &[AtomicU64], name: &str, unit: &str, kind: Kind, help: &str) {
    let mut record = MetricRecord::new_zeroed();
    let mut used = 0;
    let mut put = |text: &str, max: usize| {
        let room = record.text.get_mut(used..).unwrap_or_default();
        let (bytes, _) = put_text(room, max, text);
        used += bytes;
        bytes as u16
    };
    // Name and unit first: they are what tells metrics apart.
    let (name, unit, help) = (put(name, 80), put(unit, 24), put(help, METRIC_TEXT_BYTES));
    (record.name_bytes, record.unit_bytes, record.help_bytes) = (name, unit, help);
    let words: [u64; METRIC_WORDS] = zerocopy::transmute!(record);
    words::store(slot.get(1..).unwrap_or_default(), &words[1..]);
    if let Some(ready) = slot.first() {
        ready.store(1 << 63 | kind as u64, Ordering::Release);
    }
}

/// Reads a descriptor; `None` if there is none yet or it is not what a writer writes. The value is left at 0.
pub fn read_descriptor(slot: Words<'_>) -> Option<Metric> {
    let ready = slot.load(0);
    fence(Ordering::Acquire);
    let kind = [Kind::Counter, Kind::Gauge].into_iter().find(|kind| ready == 1 << 63 | *kind as u64)?;
    let mut record = MetricRecord::new_zeroed();
    let mut words = [0u64; METRIC_WORDS];
    slot.copy_to(&mut words);
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut rest = record.text.as_slice();
    let mut take = |bytes: u16| {
        let (text, after) = rest.split_at_checked(bytes as usize)?;
        rest = after;
        core::str::from_utf8(text).ok().map(str::to_owned)
    };
    let (name, unit, help) = (take(record.name_bytes)?, take(record.unit_bytes)?, take(record.help_bytes)?);
    Some(Metric { name, unit, help, kind, value: 0 })
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_reads_back_and_is_cut_where_it_is_too_long() {
        let slot: Vec<_> = (0..METRIC_WORDS).map(|_| AtomicU64::new(0)).collect();
        assert_eq!(read_descriptor(Words::new(&slot)), None);
        describe(&slot, "orders.placed", "orders", Kind::Counter, &"x".repeat(500));
        let metric = read_descriptor(Words::new(&slot)).unwrap();
        assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("orders.placed", "orders"));
        assert!(metric.help.ends_with("x…"));
    }

    #[test]
    fn every_builtin_metric_fits_its_descriptor_whole() {
        for (name, unit, _, help) in BUILTIN {
            assert!(name.len() <= 80 && unit.len() <= 24, "{name}");
            assert!(name.len() + unit.len() + help.len() <= METRIC_TEXT_BYTES, "{name}");
        }
    }
}
