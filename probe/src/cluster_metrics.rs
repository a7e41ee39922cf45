//! The probe of the cluster's metrics: load and memory of each node, by the last sample that came here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use atomr_cluster_metrics::{ClusterMetrics, MetricsPdu, MetricsTransport, NodeMetrics};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, node_metric};
use atomscope_layout::metrics::Builtin;

use crate::region::Region;
use crate::writer::RegionWriter;

/// Metrics of the cluster's nodes. Each node has three: `cpu_load`, `memory_used` and `memory_max`, in the units in which
/// it was sampled.
///
/// ```
/// use std::sync::Arc;
///
/// use atomr_cluster_metrics::ClusterMetrics;
/// use atomscope_probe::TelemetryExtension;
///
/// let telemetry = TelemetryExtension::new("shop-1", 1024);
/// let metrics = Arc::new(ClusterMetrics::new());
/// telemetry.cluster_metrics.attach(&metrics);
/// ```
#[derive(Debug)]
pub struct ClusterMetricsProbe {
    region: Region,
    noting: Arc<Noting>,
}

/// A sample is seen by the poll and by the transport; one at a time, so that it is counted once.
#[derive(Debug, Default)]
struct Noting(Mutex<()>);

impl ClusterMetricsProbe {
    pub(crate) fn of(region: Region) -> Self {
        Self { region, noting: Arc::default() }
    }

    /// Notes a sample. One that was noted already is not counted again. Takes a lock, and allocates: samples are rare.
    pub fn record(&self, sample: &NodeMetrics) {
        self.region.writer.attached(Attachment::NodeMetrics);
        self.noting.note(&self.region.writer, sample);
    }

    /// Has what was gathered asked for at each round of the poller, until nobody else holds it. A sample that is replaced
    /// by the next one between two rounds is not seen.
    pub fn attach(self: &Arc<Self>, metrics: &Arc<ClusterMetrics>) {
        let (held, noting, metrics) = (Arc::downgrade(self), self.noting.clone(), Arc::downgrade(metrics));
        let poll = move |writer: &RegionWriter| {
            let Some(metrics) = metrics.upgrade().filter(|_| held.strong_count() > 0) else { return false };
            metrics.snapshot().iter().for_each(|sample| noting.note(writer, sample));
            writer.attached(Attachment::NodeMetrics);
            true
        };
        crate::attach::poll(&self.region.writer, Box::new(poll));
    }

    /// A transport that notes what is sent through it: samples of this node, which need not be among those gathered here.
    pub fn wrap_transport<T: MetricsTransport>(&self, inner: T) -> ProbedMetricsTransport<T> {
        self.region.writer.attached(Attachment::NodeMetrics);
        ProbedMetricsTransport { inner, writer: self.region.writer.clone(), noting: self.noting.clone() }
    }
}

impl Noting {
    fn note(&self, writer: &RegionWriter, sample: &NodeMetrics) {
        let NodeMetrics { address, timestamp, cpu_load, memory_used, memory_max } = sample;
        let names = ["cpu_load", "memory_used", "memory_max"].map(|metric| format!("{address} {metric}"));
        let values = [*cpu_load, *memory_used as f64, *memory_max as f64];
        let _one_at_a_time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = false;
        for (name, value) in names.iter().zip(values) {
            let noted = writer.with_instance(Domain::NodeMetric, None, name, |numbers| {
                let put = |field: usize, value| numbers[field].swap(value, Ordering::Relaxed) == value;
                let is_same =
                    put(node_metric::TIMESTAMP, *timestamp) & put(node_metric::VALUE, value.to_bits());
                !is_same || numbers[node_metric::SAMPLES].load(Ordering::Relaxed) == 0
            });
            new |= noted == Some(true);
        }
        if !new {
            return;
        }
        writer.count(Builtin::NodeMetricSamples, 1);
        for name in names {
            writer.with_known(writer.instance_key(Domain::NodeMetric, None, &name), |numbers| {
                numbers[node_metric::SAMPLES].fetch_add(1, Ordering::Relaxed);
            });
        }
    }
}

/// What [`ClusterMetricsProbe::wrap_transport`] makes.
#[derive(Debug)]
pub struct ProbedMetricsTransport<T> {
    inner: T,
    writer: Arc<RegionWriter>,
    noting: Arc<Noting>,
}

impl<T: MetricsTransport> MetricsTransport for ProbedMetricsTransport<T> {
    fn send(&self, target_node: &str, pdu: MetricsPdu) {
        match &pdu {
            MetricsPdu::Push(sample) => self.noting.note(&self.writer, sample),
            MetricsPdu::PushBatch(samples) => {
                samples.iter().for_each(|sample| self.noting.note(&self.writer, sample));
            }
            _ => {}
        }
        self.inner.send(target_node, pdu);
    }
}
