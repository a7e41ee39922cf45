//! Histograms: the distribution of values, in buckets whose width grows with the value.
//!
//! ```text
//!   ready │ name …  see crate::metrics      (the metric of kind *histogram* holds the number of its slot)
//!   slot: │ count │ sum │ greatest │ 0 × 5 │ bucket 0 │ … │ bucket 183 │
//! ```
//! There are four buckets for each doubling, so a bucket is at most a quarter wider than its lower bound. Values of 2⁴⁷
//! and more (39 hours in nanoseconds) count in the last bucket.
//!
//! ```
//! use atomscope_layout::histogram::{self, HISTOGRAM_WORDS};
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let slot = [const { AtomicU64::new(0) }; HISTOGRAM_WORDS];
//! [10, 20, 30].into_iter().for_each(|value| histogram::record(&slot, value));
//! let histogram = histogram::read(Words::new(&slot));
//! assert_eq!((histogram.count, histogram.sum, histogram.greatest), (3, 60, 30));
//! assert_eq!(histogram.quantile(0.5), 23); // the end of the bucket of 20
//! ```

use crate::sync::{AtomicU64, Ordering};
use crate::words::Words;

/// Words of a slot.
pub const HISTOGRAM_WORDS: usize = 192;
/// Words before the buckets.
pub const HISTOGRAM_HEAD_WORDS: usize = 8;
/// Number of buckets.
pub const BUCKETS: usize = HISTOGRAM_WORDS - HISTOGRAM_HEAD_WORDS;

/// The bucket in which `value` counts.
pub fn bucket_of(value: u64) -> usize {
    let exponent = 63 - (value | 1).leading_zeros() as usize;
    let bucket = match exponent {
        0 | 1 => value as usize,
        _ => 4 * (exponent - 1) + (value >> (exponent - 2) & 3) as usize,
    };
    bucket.min(BUCKETS - 1)
}

/// The least value that counts in `bucket`.
pub fn least_of(bucket: usize) -> u64 {
    match bucket {
        0..4 => bucket as u64,
        _ => (4 + bucket as u64 % 4) << (bucket / 4 - 1),
    }
}

/// Counts `value`. Costs three locked adds and a fetch-max. Wait-free, except that the fetch-max may be a short loop.
pub fn record(slot: &[AtomicU64], value: u64) {
    let [count, sum, greatest, ..] = slot else { return };
    if let Some(bucket) = slot.get(HISTOGRAM_HEAD_WORDS + bucket_of(value)) {
        bucket.fetch_add(1, Ordering::Relaxed);
    }
    sum.fetch_add(value, Ordering::Relaxed);
    greatest.fetch_max(value, Ordering::Relaxed);
    count.fetch_add(1, Ordering::Relaxed);
}

/// Counts `value` `weight` times, in its bucket alone: the count is then that of [`read_of_buckets`], and there is no sum.
/// Costs one locked add, and a fetch-max if no value was greater.
#[inline]
pub fn record_in_bucket(slot: &[AtomicU64], value: u64, weight: u64) {
    let [_, _, greatest, ..] = slot else { return };
    if let Some(bucket) = slot.get(HISTOGRAM_HEAD_WORDS + bucket_of(value)) {
        bucket.fetch_add(weight, Ordering::Relaxed);
    }
    if greatest.load(Ordering::Relaxed) < value {
        greatest.fetch_max(value, Ordering::Relaxed);
    }
}

/// A histogram that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: u64,
    /// The greatest value.
    pub greatest: u64,
    /// The buckets that are not empty: the least value that counts in the bucket, and the number of values in it.
    pub buckets: Vec<(u64, u64)>,
}

/// Reads a slot. A value that is recorded at the same time may be in some of the numbers and not in others.
pub fn read(slot: Words<'_>) -> Histogram {
    let buckets = (0..BUCKETS).map(|at| (least_of(at), slot.load(HISTOGRAM_HEAD_WORDS + at)));
    Histogram {
        count: slot.load(0),
        sum: slot.load(1),
        greatest: slot.load(2),
        buckets: buckets.filter(|(_, count)| *count > 0).collect(),
    }
}

/// Reads a slot whose values [`record_in_bucket`] counted. Its sum is unknown, and 0.
pub fn read_of_buckets(slot: Words<'_>) -> Histogram {
    let histogram = read(slot);
    let count = histogram.buckets.iter().fold(0u64, |count, (_, values)| count.saturating_add(*values));
    Histogram { count, sum: 0, ..histogram }
}

impl Histogram {
    /// The quantile of this share (0 to 1): the upper end of its bucket, at most a quarter too great. 0 without values.
    pub fn quantile(&self, share: f64) -> u64 {
        let all: u64 = self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
        let wanted = ((share * all as f64).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0u64;
        for (least, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return (least_of(bucket_of(*least) + 1).saturating_sub(1)).min(self.greatest);
            }
        }
        0
    }
}

#[cfg(all(test, not(atomscope_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_starts_where_the_one_before_ends() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(least_of(bucket)), bucket);
            assert!(bucket == 0 || bucket_of(least_of(bucket) - 1) == bucket - 1, "{bucket}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes there")]
    fn quantiles_are_at_most_a_quarter_too_great() {
        let slot: Vec<_> = (0..HISTOGRAM_WORDS).map(|_| AtomicU64::new(0)).collect();
        (1..=10_000).for_each(|value| record(&slot, value));
        let histogram = read(Words::new(&slot));
        assert_eq!((histogram.count, histogram.sum, histogram.greatest), (10_000, 50_005_000, 10_000));
        for (share, exact) in [(0.5, 5_000), (0.9, 9_000), (0.99, 9_900), (1.0, 10_000)] {
            let quantile = histogram.quantile(share);
            assert!(quantile >= exact && quantile <= exact + exact / 4, "{share}: {quantile}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
