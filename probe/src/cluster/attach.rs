//! Polling atomr's cluster daemon, and wrappers around its parts.

use std::sync::Arc;

use atomr_cluster::{
    ClusterDaemonHandle, DaemonSnapshot, DowningDecision, DowningStrategy, Gossip, GossipPdu,
    GossipTransport, Member, MembershipState, ReachabilityStatus,
};
use atomr_core::actor::Address;
use atomscope_layout::attached::Attachment;
use atomscope_layout::metrics::Builtin;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::probe::ClusterProbe;
use crate::dto::{ClusterMemberInfo, ClusterStateInfo, ReachabilityRecord};
use crate::writer::RegionWriter;

impl ClusterProbe {
    /// Replaces the state by that of a gossip, which contains neither the node's own address nor the leader;
    /// [`Self::attach`] adds them. Allocates.
    pub fn update_from_gossip(&self, gossip: &Gossip) {
        self.update(from_gossip(gossip));
    }

    /// Replaces the state by a membership, which contains no version either. Allocates.
    pub fn update_from_state(&self, state: &MembershipState) {
        self.update(from_cluster_state(state));
    }

    /// Attaches a cluster daemon: the poller reads the node's address, the leader, the members and the version of the
    /// gossip. A change that is undone between two polls is missed. (The daemon's event bus would not help: it does not
    /// publish changes that come by gossip.)
    ///
    /// The daemon is held weakly. To shut it down, drop it, or take it out of its `Arc` with `Arc::into_inner` while no
    /// poll runs. The last state stays visible.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use atomr_cluster::{ClusterEventBus, DaemonConfig, InProcessClusterTransport, InProcessRegistry, spawn_daemon};
    /// use atomr_core::actor::Address;
    /// use atomscope_probe::TelemetryExtension;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let telemetry = TelemetryExtension::new("shop-1", 1024);
    /// let own = Address::local("shop-1");
    /// let transport = Arc::new(InProcessClusterTransport::new(own.clone(), InProcessRegistry::new()));
    /// let transport = telemetry.cluster.wrap_transport(transport);
    /// let daemon = Arc::new(spawn_daemon(own, transport, ClusterEventBus::new(), DaemonConfig::default()));
    /// telemetry.cluster.attach(&daemon);
    /// assert_eq!(telemetry.cluster.snapshot().self_address.as_deref(), Some("akka://shop-1"));
    /// # }
    /// ```
    pub fn attach(self: &Arc<Self>, daemon: &Arc<ClusterDaemonHandle>) {
        let own = daemon.address().clone();
        let daemon = Arc::downgrade(daemon);
        self.attach_with(&own, move || daemon.upgrade().map(|daemon| daemon.snapshot()));
    }

    /// The same for a daemon that cannot be held in an `Arc`, or for a state that the application completes. (No daemon of
    /// atomr's records unreachable members by itself.) The poller calls `read` once per round; `None` ends the polls.
    /// `read` must hold neither the actor system nor the telemetry.
    pub fn attach_with(
        self: &Arc<Self>,
        own: &Address,
        mut read: impl FnMut() -> Option<DaemonSnapshot> + Send + 'static,
    ) {
        let (held, probe) = (Arc::downgrade(self), self.not_held());
        let own = own.to_string();
        let poll = move |_: &RegionWriter| {
            if held.strong_count() == 0 {
                return false;
            }
            let Some(DaemonSnapshot { state, leader, version }) = read() else { return false };
            probe.update(ClusterStateInfo {
                self_address: Some(own.clone()),
                leader: leader.map(|leader| leader.to_string()),
                ..from_gossip(&Gossip { version, state })
            });
            true
        };
        crate::attach::poll(&self.region.writer, Box::new(poll));
    }

    /// Wraps a transport: it counts the gossip that is sent. One counter per message.
    pub fn wrap_transport(&self, inner: Arc<dyn GossipTransport>) -> Arc<dyn GossipTransport> {
        self.region.writer.attached(Attachment::Gossip);
        Arc::new(ProbedGossip { inner, writer: self.region.writer.clone() })
    }

    /// Wraps an inbox for gossip: it counts received gossip and passes it on. Give it to the transport instead of
    /// `ClusterDaemonHandle::gossip_inbox`. To be called within a tokio runtime, since a task passes the gossip on.
    pub fn wrap_gossip_inbox(&self, inbox: UnboundedSender<GossipPdu>) -> UnboundedSender<GossipPdu> {
        let writer = self.region.writer.clone();
        writer.attached(Attachment::GossipInbox);
        let (sender, mut receiver) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(pdu) = receiver.recv().await {
                writer.count(Builtin::GossipReceived, 1);
                if inbox.send(pdu).is_err() {
                    return;
                }
            }
        });
        sender
    }

    /// Wraps a downing strategy: it counts its calls, and the decisions other than `Stay`. Two counters per call.
    pub fn wrap_downing<S: DowningStrategy>(&self, inner: S) -> ProbedDowning<S> {
        self.region.writer.attached(Attachment::Downing);
        ProbedDowning { inner, writer: self.region.writer.clone() }
    }
}

/// The state of a membership, without the node's own address, the leader and a version. Allocates.
pub fn from_cluster_state(state: &MembershipState) -> ClusterStateInfo {
    let members: Vec<_> = state
        .members
        .iter()
        .map(|member| ClusterMemberInfo {
            address: member.address.to_string(),
            status: format!("{:?}", member.status),
            roles: member.roles.clone(),
            reachable: state.reachability.is_reachable(&member.address),
            up_number: member.up_number,
        })
        .collect();
    let unreachable = members.iter().filter(|member| !member.reachable).map(|member| member.address.clone());
    let records = state.reachability.records.iter().map(|((observer, subject), status)| ReachabilityRecord {
        observer: observer.to_string(),
        subject: subject.to_string(),
        status: match status {
            ReachabilityStatus::Reachable => "reachable".into(),
            ReachabilityStatus::Unreachable => "unreachable".into(),
            ReachabilityStatus::Terminated => "terminated".into(),
            _ => "unknown".into(),
        },
    });
    let mut reachability_records: Vec<_> = records.collect();
    // They come out of a hash map. In order, equal states are equal.
    reachability_records.sort_by(|a, b| (&a.observer, &a.subject).cmp(&(&b.observer, &b.subject)));
    ClusterStateInfo {
        unreachable: unreachable.collect(),
        members,
        reachability_records,
        ..ClusterStateInfo::default()
    }
}

/// The state of a gossip: a membership and its version. Allocates.
pub fn from_gossip(gossip: &Gossip) -> ClusterStateInfo {
    let versions = gossip.version.versions.iter();
    ClusterStateInfo {
        gossip_version: versions.map(|(node, version)| (node.clone(), *version)).collect(),
        ..from_cluster_state(&gossip.state)
    }
}

struct ProbedGossip {
    inner: Arc<dyn GossipTransport>,
    writer: Arc<RegionWriter>,
}

impl GossipTransport for ProbedGossip {
    fn send(&self, target: &Address, pdu: GossipPdu) {
        self.writer.count(Builtin::GossipSent, 1);
        self.inner.send(target, pdu);
    }
}

/// A downing strategy that counts its decisions; made by [`ClusterProbe::wrap_downing`].
#[derive(Debug)]
pub struct ProbedDowning<S> {
    inner: S,
    writer: Arc<RegionWriter>,
}

impl<S: DowningStrategy> DowningStrategy for ProbedDowning<S> {
    fn decide(&self, reachable: &[&Member], unreachable: &[&Member]) -> DowningDecision {
        self.writer.count(Builtin::DowningCalls, 1);
        let decision = self.inner.decide(reachable, unreachable);
        self.writer.count(Builtin::DowningDecisions, u64::from(decision != DowningDecision::Stay));
        decision
    }
}
