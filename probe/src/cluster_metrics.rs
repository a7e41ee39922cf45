//! Metrics of the cluster's nodes: load and memory of each node, from the latest sample that reached this node.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use atomr_cluster_metrics::{ClusterMetrics, MetricsPdu, MetricsTransport, NodeMetrics};
use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, node_metric};
use atomscope_layout::metrics::Builtin;

use crate::region::Region;
use crate::writer::RegionWriter;

/// Metrics of the cluster's nodes. Each node has three gauges: `cpu_load`, `memory_used` and `memory_max`, in the units of
/// the sample.
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
    recorder: Arc<Recorder>,
}

/// Records samples one at a time, so that a sample that both the poll and the transport see is counted once.
#[derive(Debug, Default)]
struct Recorder(Mutex<()>);

impl ClusterMetricsProbe {
    pub(crate) fn of(region: Region) -> Self {
        Self { region, recorder: Arc::default() }
    }

    /// Records a sample. A sample that was recorded already is not counted again. Takes a lock and allocates; not for hot
    /// paths.
    pub fn record(&self, sample: &NodeMetrics) {
        self.region.writer.attached(Attachment::NodeMetrics);
        self.recorder.record_sample(&self.region.writer, sample);
    }

    /// Attaches gathered metrics: the poller reads them until they are dropped. A sample that the next one replaces between
    /// two polls is missed.
    pub fn attach(self: &Arc<Self>, metrics: &Arc<ClusterMetrics>) {
        let (held, recorder, metrics) =
            (Arc::downgrade(self), self.recorder.clone(), Arc::downgrade(metrics));
        let poll = move |writer: &RegionWriter| {
            let Some(metrics) = metrics.upgrade().filter(|_| held.strong_count() > 0) else { return false };
            metrics.snapshot().iter().for_each(|sample| recorder.record_sample(writer, sample));
            writer.attached(Attachment::NodeMetrics);
            true
        };
        crate::attach::poll(&self.region.writer, Box::new(poll));
    }

    /// Wraps a transport: it records the samples that this node sends, which need not be among those that it gathers. Takes
    /// a lock per sample.
    pub fn wrap_transport<T: MetricsTransport>(&self, inner: T) -> ProbedMetricsTransport<T> {
        self.region.writer.attached(Attachment::NodeMetrics);
        ProbedMetricsTransport { inner, writer: self.region.writer.clone(), recorder: self.recorder.clone() }
    }
}

impl Recorder {
    fn record_sample(&self, writer: &RegionWriter, sample: &NodeMetrics) {
        let NodeMetrics { address, timestamp, cpu_load, memory_used, memory_max } = sample;
        let names = ["cpu_load", "memory_used", "memory_max"].map(|metric| format!("{address} {metric}"));
        let values = [*cpu_load, *memory_used as f64, *memory_max as f64];
        let _one_at_a_time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = false;
        for (name, value) in names.iter().zip(values) {
            let is_new = writer.with_instance(Domain::NodeMetric, None, name, |numbers| {
                let put = |field: usize, value| numbers[field].swap(value, Ordering::Relaxed) == value;
                let is_same =
                    put(node_metric::TIMESTAMP, *timestamp) & put(node_metric::VALUE, value.to_bits());
                !is_same || numbers[node_metric::SAMPLES].load(Ordering::Relaxed) == 0
            });
            new |= is_new == Some(true);
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

/// A transport that records samples; made by [`ClusterMetricsProbe::wrap_transport`].
#[derive(Debug)]
pub struct ProbedMetricsTransport<T> {
    inner: T,
    writer: Arc<RegionWriter>,
    recorder: Arc<Recorder>,
}

impl<T: MetricsTransport> MetricsTransport for ProbedMetricsTransport<T> {
    fn send(&self, target_node: &str, pdu: MetricsPdu) {
        match &pdu {
            MetricsPdu::Push(sample) => self.recorder.record_sample(&self.writer, sample),
            MetricsPdu::PushBatch(samples) => {
                samples.iter().for_each(|sample| self.recorder.record_sample(&self.writer, sample));
            }
            _ => {}
        }
        self.inner.send(target_node, pdu);
    }
}
