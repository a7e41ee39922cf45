//! The observer of a cluster's quorum, which atomr has had since 0.10.

use std::sync::Arc;

use atomr_cluster::QuorumObserver;
use atomscope_layout::attached::Attachment;
use atomscope_layout::metrics::Builtin;

use super::probe::ClusterProbe;
use crate::writer::RegionWriter;

impl ClusterProbe {
    /// Makes an observer that counts losses and recoveries of the quorum, and calls `inner` if there is one. One counter per
    /// call. Needs the feature `quorum`, hence atomr 0.10.
    pub fn quorum_observer(&self, inner: Option<Arc<dyn QuorumObserver>>) -> Arc<dyn QuorumObserver> {
        self.region.writer.attached(Attachment::Quorum);
        Arc::new(ProbedQuorum { inner, writer: self.region.writer.clone() })
    }
}

struct ProbedQuorum {
    inner: Option<Arc<dyn QuorumObserver>>,
    writer: Arc<RegionWriter>,
}

impl QuorumObserver for ProbedQuorum {
    fn on_quorum_lost(&self) {
        self.writer.count(Builtin::QuorumLost, 1);
        if let Some(inner) = &self.inner {
            inner.on_quorum_lost();
        }
    }

    fn on_quorum_regained(&self) {
        self.writer.count(Builtin::QuorumRegained, 1);
        if let Some(inner) = &self.inner {
            inner.on_quorum_regained();
        }
    }
}
