//! The observer of a cluster's quorum, which atomr has had since 0.10.

use std::sync::Arc;

use atomr_cluster::QuorumObserver;
use atomscope_layout::attached::Attachment;
use atomscope_layout::metrics::Builtin;

use super::ClusterProbe;
use crate::region::Core;

impl ClusterProbe {
    /// Makes an observer that counts how often the quorum is lost and regained, and passes that on to `inner`, if there is
    /// one. Needs the feature `quorum`, and so atomr 0.10.
    pub fn quorum_observer(&self, inner: Option<Arc<dyn QuorumObserver>>) -> Arc<dyn QuorumObserver> {
        self.region.core.attached(Attachment::Quorum);
        Arc::new(ProbedQuorum { inner, core: self.region.core.clone() })
    }
}

struct ProbedQuorum {
    inner: Option<Arc<dyn QuorumObserver>>,
    core: Arc<Core>,
}

impl QuorumObserver for ProbedQuorum {
    fn on_quorum_lost(&self) {
        self.core.count(Builtin::QuorumLost, 1);
        if let Some(inner) = &self.inner {
            inner.on_quorum_lost();
        }
    }

    fn on_quorum_regained(&self) {
        self.core.count(Builtin::QuorumRegained, 1);
        if let Some(inner) = &self.inner {
            inner.on_quorum_regained();
        }
    }
}
