//! A small cluster in one process: three real daemons over the in-process transport, watched from the first of them.
//!
//! No daemon of atomr records that a member is unreachable, so the workload does that, as an application must:
//! [`Cluster::lose`] records it, and [`Cluster::resolve`] lets the split-brain resolver decide.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use atomr_cluster::{
    ClusterDaemonHandle, ClusterEventBus, DaemonConfig, DaemonSnapshot, InProcessClusterTransport,
    InProcessRegistry, KeepMajorityStrategy, Member, Reachability, RecordingSink, SbrAction, SbrRuntime,
    elect_leader, spawn_daemon,
};
use atomr_cluster_metrics::{
    ClusterMetrics, MetricsPdu, MetricsTransport, StaticProbe, apply_metrics_pdu, gossip_local_metrics,
};
use atomr_core::actor::Address;
use atomscope_probe::TelemetryExtension;
use atomscope_probe::cluster::ProbedDowning;

/// The daemons tick only when the workload calls for it.
const NEVER: Duration = Duration::from_secs(3600);
/// A cluster that has not converged after so many rounds of gossip never will.
const MOST_ROUNDS: usize = 1000;

/// Three nodes, `a`, `b` and `c`, without those that were lost.
pub struct Cluster {
    telemetry: Arc<TelemetryExtension>,
    nodes: Vec<Node>,
    reachability: Arc<Mutex<Reachability>>,
    resolver: SbrRuntime<ProbedDowning<KeepMajorityStrategy>>,
}

struct Node {
    address: Address,
    daemon: Arc<ClusterDaemonHandle>,
    _transport: Arc<InProcessClusterTransport>,
}

/// The address of a node.
pub fn address(name: &str) -> Address {
    Address::remote("akka.tcp", "shop", name, 2552)
}

impl Cluster {
    /// Starts the three nodes, and attaches the first to this telemetry. Call it within a tokio runtime.
    pub async fn start(telemetry: &Arc<TelemetryExtension>) -> Self {
        let registry = InProcessRegistry::new();
        let reachability = Arc::new(Mutex::new(Reachability::new()));
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let own = address(name);
            let transport = Arc::new(InProcessClusterTransport::new(own.clone(), registry.clone()));
            let is_watched = nodes.is_empty();
            let gossip: Arc<dyn atomr_cluster::GossipTransport> = transport.clone();
            let gossip = if is_watched { telemetry.cluster.wrap_transport(gossip) } else { gossip };
            let config = DaemonConfig { gossip_interval: NEVER };
            let daemon = Arc::new(spawn_daemon(own.clone(), gossip, ClusterEventBus::new(), config));
            let inbox = daemon.gossip_inbox();
            let inbox = if is_watched { telemetry.cluster.wrap_gossip_inbox(inbox) } else { inbox };
            transport.start(inbox, Arc::new(RecordingSink::default()));
            // The first tick comes by itself; wait for it here.
            while daemon.snapshot().version.versions.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            nodes.push(Node { address: own, daemon, _transport: transport });
        }
        let downing = telemetry.cluster.wrap_downing(KeepMajorityStrategy);
        let resolver = SbrRuntime::new(downing, Duration::ZERO);
        #[cfg(feature = "quorum")]
        let resolver = resolver.with_observer(telemetry.cluster.quorum_observer(None));
        let cluster = Self { telemetry: telemetry.clone(), nodes, reachability, resolver };
        let (daemon, reachability) =
            (Arc::downgrade(&cluster.watched().daemon), cluster.reachability.clone());
        telemetry.cluster.attach_with(&cluster.watched().address, move || {
            daemon.upgrade().map(|daemon| state(&daemon, &reachability))
        });
        cluster
    }

    fn watched(&self) -> &Node {
        &self.nodes[0]
    }

    /// The state that the watched node has.
    pub fn state(&self) -> DaemonSnapshot {
        state(&self.watched().daemon, &self.reachability)
    }

    /// Makes every node join every node, with a role.
    pub async fn join(&self) {
        for node in &self.nodes {
            for other in &self.nodes {
                let role = format!("role-{}", other.address.host.as_deref().unwrap_or_default());
                node.daemon.join(Member::new(other.address.clone(), vec![role]));
            }
        }
        self.quiet().await;
    }

    /// One round of gossip.
    pub async fn tick(&self) {
        self.nodes.iter().for_each(|node| node.daemon.tick());
        self.quiet().await;
    }

    /// Gossips until all nodes have exactly these members, all of them up.
    pub async fn agree(&self, names: &[&str]) {
        let wanted: BTreeSet<String> = names.iter().map(|name| address(name).to_string()).collect();
        for _ in 0..MOST_ROUNDS {
            self.tick().await;
            let agreed = self.nodes.iter().all(|node| {
                let members = node.daemon.snapshot().state.members;
                let up = members.iter().all(|member| member.status == atomr_cluster::MemberStatus::Up);
                up && members.iter().map(|member| member.address.to_string()).collect::<BTreeSet<_>>()
                    == wanted
            });
            if agreed {
                return;
            }
        }
        panic!("the cluster never agreed on {names:?}: {:?}", self.state());
    }

    /// Makes a node leave at once, and gossips until all others know.
    pub async fn leave(&mut self, name: &str) {
        self.remove(name);
        self.nodes.iter().for_each(|node| node.daemon.leave(address(name)));
        self.quiet().await;
    }

    /// Cuts a node off, and records at the watched node that it is unreachable.
    pub fn lose(&mut self, name: &str) {
        self.remove(name);
        self.reachability().unreachable(self.watched().address.clone(), address(name));
    }

    fn remove(&mut self, name: &str) {
        let own = address(name);
        assert_ne!(self.watched().address, own, "the watched node stays");
        self.nodes.retain(|node| node.address != own);
    }

    /// Asks the split-brain resolver, and applies its decision on all nodes. Returns the downed nodes.
    pub async fn resolve(&mut self) -> Vec<String> {
        let action = self.resolver.tick(&self.state().state, Instant::now());
        let (SbrAction::DownUnreachable(downed) | SbrAction::DownAll(downed)) = action else {
            return Vec::new();
        };
        for address in downed.iter().filter_map(|address| Address::parse(address)) {
            self.nodes.iter().for_each(|node| node.daemon.down(address.clone()));
        }
        self.quiet().await;
        downed
    }

    /// For a moment the watched node reaches nobody: the resolver first sees it on the losing side, and then sees all
    /// nodes again.
    pub fn blink(&mut self) {
        let own = self.watched().address.clone();
        for other in self.nodes.iter().skip(1) {
            self.reachability().unreachable(own.clone(), other.address.clone());
        }
        // The first call only records the loss, and the decision of the second call is not applied.
        for _ in 0..2 {
            let _ = self.resolver.tick(&self.state().state, Instant::now());
        }
        self.forget_the_lost();
        let _ = self.resolver.tick(&self.state().state, Instant::now());
    }

    /// Removes the records of unreachable nodes.
    pub fn forget_the_lost(&self) {
        *self.reachability() = Reachability::new();
    }

    fn reachability(&self) -> std::sync::MutexGuard<'_, Reachability> {
        self.reachability.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Yields until no task has work: on a runtime of one thread, every message has arrived then.
    async fn quiet(&self) {
        for _ in 0..256 {
            tokio::task::yield_now().await;
        }
    }

    /// The telemetry that is attached to the watched node.
    pub fn telemetry(&self) -> &Arc<TelemetryExtension> {
        &self.telemetry
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        f.debug_struct("Cluster").field("nodes", &addresses).finish_non_exhaustive()
    }
}

fn state(daemon: &ClusterDaemonHandle, reachability: &Mutex<Reachability>) -> DaemonSnapshot {
    let mut state = daemon.snapshot();
    state.state.reachability = reachability.lock().unwrap_or_else(PoisonError::into_inner).clone();
    state.leader = elect_leader(&state.state);
    state
}

/// Metrics samples of three nodes, gossiped to the watched one.
pub struct Loads {
    /// The samples that the watched node has gathered.
    pub gathered: Arc<ClusterMetrics>,
    round: u64,
    out: Box<dyn MetricsTransport>,
}

struct Nowhere;

impl MetricsTransport for Nowhere {
    fn send(&self, _: &str, _: MetricsPdu) {}
}

impl Loads {
    /// Attaches the gathered samples to the telemetry, and wraps the transport of the watched node.
    pub fn start(telemetry: &TelemetryExtension) -> Self {
        let gathered = Arc::new(ClusterMetrics::new());
        telemetry.cluster_metrics.attach(&gathered);
        Self { gathered, round: 0, out: Box::new(telemetry.cluster_metrics.wrap_transport(Nowhere)) }
    }

    /// The load of a node in a round: processor and memory.
    pub fn load(name: &str, round: u64) -> StaticProbe {
        let node = u64::from(name.as_bytes()[0] - b'a');
        StaticProbe {
            cpu_load: ((round + 7 * node) % 100) as f64 / 100.0,
            memory_used: (1 + node) << 30 | round,
            memory_max: 8 << 30,
        }
    }

    /// One sample of each node: those of the others arrive, and the watched node sends its own.
    pub fn round(&mut self) -> u64 {
        self.round += 1;
        for name in ["b", "c"] {
            let sample = atomr_cluster_metrics::MetricsProbe::sample(
                &Self::load(name, self.round),
                &address(name).to_string(),
                self.round,
            );
            apply_metrics_pdu(&self.gathered, MetricsPdu::Push(sample));
        }
        let own = Self::load("a", self.round);
        let (from, to) = (address("a").to_string(), address("b").to_string());
        gossip_local_metrics(&own, &from, &to, &*self.out, self.round);
        self.round
    }
}

impl std::fmt::Debug for Loads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loads").field("round", &self.round).finish_non_exhaustive()
    }
}

/// Runs one cluster after another until `stop`: three nodes join, one is lost and downed, one leaves. A step takes
/// `pause`.
pub async fn run(telemetry: &Arc<TelemetryExtension>, pause: Duration, stop: impl Future<Output = ()>) {
    let lives = async {
        let mut loads = Loads::start(telemetry);
        let mut pause = async || {
            loads.round();
            tokio::time::sleep(pause).await;
        };
        loop {
            let mut cluster = Cluster::start(telemetry).await;
            cluster.join().await;
            for _ in 0..15 {
                cluster.tick().await;
                pause().await;
            }
            cluster.blink();
            cluster.lose("b");
            pause().await;
            cluster.resolve().await;
            pause().await;
            cluster.forget_the_lost();
            cluster.leave("c").await;
            for _ in 0..10 {
                cluster.tick().await;
                pause().await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop => {}
        () = lives => {}
    }
}
