//! A histogram as JSON.

use atomscope_layout::histogram::Histogram;
use serde::Serialize;

/// The values of a histogram: sum, greatest, quantiles and buckets.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "the fields of Histogram document them")]
pub struct HistogramDump {
    pub sum: u64,
    pub greatest: u64,
    /// The median. Quantiles are at most a quarter too great.
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    /// The least value and the number of values of each bucket that is not empty.
    pub buckets: Vec<(u64, u64)>,
}

impl From<Histogram> for HistogramDump {
    fn from(histogram: Histogram) -> Self {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| histogram.quantile(share));
        let Histogram { sum, greatest, buckets, .. } = histogram;
        Self { sum, greatest, p50, p90, p99, buckets }
    }
}
