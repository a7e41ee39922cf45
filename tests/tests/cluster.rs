//! The cluster and its metrics: another process reads the state that real daemons have.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use atomr_cluster::{
    ClusterEventBus, DaemonConfig, DaemonSnapshot, Gossip, GossipPdu, GossipTransport,
    InProcessClusterTransport, InProcessRegistry, Member, MemberStatus, MembershipState, VectorClock,
    spawn_daemon,
};
use atomr_cluster_metrics::{MetricsProbe, NodeMetrics};
use atomr_core::actor::Address;
use atomscope_layout::decode::RegionReader;
use atomscope_layout::event::TelemetryEvent;
use atomscope_probe::cluster::{from_cluster_state, from_gossip};
use atomscope_probe::dto::{ClusterMemberInfo, ClusterStateInfo};
use atomscope_probe::{Region, TelemetryExtension};
use atomscope_tests::cluster_workload::{self, Cluster, Loads, address};
use atomscope_tests::support::dumps::{dump, dump_of, known_metric, metric, polled_often, wait_for_dump};
use atomscope_tests::support::{self, wait_until};
use serde_json::{Value, json};

/// The JSON that a dump of this state must have.
fn expected_json(own: &Address, snapshot: &DaemonSnapshot) -> Value {
    let DaemonSnapshot { state, leader, version } = snapshot;
    let members: Vec<_> = state
        .members
        .iter()
        .map(|member| {
            json!({
                "address": member.address.to_string(),
                "status": format!("{:?}", member.status),
                "roles": member.roles,
                "reachable": state.reachability.is_reachable(&member.address),
                "up_number": member.up_number,
            })
        })
        .collect();
    let records = state.reachability.records.iter();
    let records: Vec<_> = records
        .map(|((observer, subject), status)| {
            json!({
                "observer": observer.to_string(),
                "subject": subject.to_string(),
                "status": format!("{status:?}").to_lowercase(),
            })
        })
        .collect();
    let versions: Vec<_> = version.versions.iter().map(|(node, version)| json!([node, version])).collect();
    json!({
        "self_address": own.to_string(),
        "leader": leader.as_ref().map(ToString::to_string),
        "members": members,
        "unreachable": state.unreachable_addresses(),
        "reachability_records": records,
        "gossip_version": versions,
    })
}

fn until_dumped(telemetry: &TelemetryExtension, expected: &Value) {
    let mut last = Value::Null;
    let deadline = Instant::now() + support::PATIENCE;
    while last != *expected {
        assert!(Instant::now() < deadline, "{last:#}\nis not\n{expected:#}");
        std::thread::sleep(Duration::from_millis(5));
        last = dump(telemetry)["cluster"].take();
    }
}

fn names(cluster: &Value) -> Vec<&str> {
    let members = cluster["members"].as_array().unwrap();
    let hosts = members.iter().map(|member| member["address"].as_str().unwrap().split('@').nth(1).unwrap());
    let mut hosts: Vec<_> = hosts.map(|host| host.trim_end_matches(":2552")).collect();
    hosts.sort();
    hosts
}

#[tokio::test]
async fn what_the_daemons_know_is_dumped_after_each_step_of_a_clusters_life() {
    let telemetry = polled_often("cluster-life");
    let mut events = telemetry.bus.subscribe();
    let mut cluster = Cluster::start(&telemetry).await;
    let own = address("a");
    let same = |cluster: &Cluster| {
        let expected = expected_json(&own, &cluster.state());
        until_dumped(&telemetry, &expected);
        expected
    };
    let empty = same(&cluster);
    assert_eq!(empty["members"], json!([]));

    cluster.join().await;
    let joining = same(&cluster);
    assert_eq!(names(&joining), ["a", "b", "c"]);
    assert_eq!(joining["members"][2]["status"], "Joining");
    assert_eq!(joining["members"][2]["roles"], json!(["role-c"]));

    cluster.agree(&["a", "b", "c"]).await;
    let up = same(&cluster);
    assert_eq!(up["leader"], own.to_string());
    assert!(up["members"].as_array().unwrap().iter().all(|member| member["status"] == "Up"));

    // A node is lost, and the resolver downs it.
    cluster.lose("b");
    let lost = same(&cluster);
    assert_eq!(lost["unreachable"], json!([address("b").to_string()]));
    assert_eq!(lost["reachability_records"].as_array().unwrap().len(), 1);
    assert_eq!(cluster.resolve().await, [address("b").to_string()]);
    let downed = same(&cluster);
    let of_b = |found: &Value| {
        let members = found["members"].as_array().unwrap();
        members.iter().find(|member| member["address"] == address("b").to_string()).cloned()
    };
    let down = of_b(&downed).unwrap();
    assert_eq!((&down["status"], &down["reachable"]), (&json!("Down"), &json!(false)));
    cluster.forget_the_lost();
    cluster.agree(&["a", "c"]).await;
    assert_eq!(names(&same(&cluster)), ["a", "c"]);

    // A node leaves.
    cluster.leave("c").await;
    same(&cluster);
    cluster.agree(&["a"]).await;
    assert_eq!(names(&same(&cluster)), ["a"]);

    // The published changes, applied in order, give the present state.
    let after = dump(&telemetry);
    let (mut members, mut diffs, mut seen) = (Vec::<ClusterMemberInfo>::new(), 0, Vec::new());
    while let Ok(event) = events.try_recv() {
        let TelemetryEvent::ClusterChanged(diff) = event else { continue };
        diffs += 1;
        members.retain(|member| !diff.removed.contains(&member.address));
        for member in diff.updated {
            seen.push(member.status.clone());
            let known = members.iter_mut().find(|known| known.address == member.address);
            *known.unwrap() = member;
        }
        members.extend(diff.added);
    }
    let mut listed: Vec<ClusterMemberInfo> =
        serde_json::from_value(after["cluster"]["members"].clone()).unwrap();
    members.sort_by(|a, b| a.address.cmp(&b.address));
    listed.sort_by(|a, b| a.address.cmp(&b.address));
    assert_eq!(members, listed);
    assert!(seen.iter().any(|status| status == "Down"), "{seen:?}");
    assert_eq!(metric(&after, "cluster.changes"), diffs);
    assert_eq!(metric(&after, "cluster.downing_calls"), 1);
    assert_eq!(metric(&after, "cluster.downing_decisions"), 1);
    assert!(metric(&after, "cluster.gossip_sent") > 0);
    assert!(metric(&after, "cluster.gossip_received") > 0);
    assert_eq!(serde_json::to_value(telemetry.cluster.snapshot()).unwrap(), after["cluster"]);
}

#[tokio::test]
async fn a_daemon_is_attached_with_one_call_and_what_it_told_last_stays() {
    let telemetry = polled_often("cluster-daemon");
    let own = address("a");
    let transport = InProcessClusterTransport::new(own.clone(), InProcessRegistry::new());
    let transport = telemetry.cluster.wrap_transport(Arc::new(transport));
    let config = DaemonConfig { gossip_interval: Duration::from_millis(5) };
    let daemon = Arc::new(spawn_daemon(own.clone(), transport, ClusterEventBus::new(), config));
    telemetry.cluster.attach(&daemon);
    assert_eq!(telemetry.cluster.snapshot().self_address, Some(own.to_string()));
    daemon.join(Member::new(own.clone(), vec![]));
    daemon.join(Member::new(address("b"), vec![]));
    let up = || {
        let state = telemetry.cluster.snapshot();
        state.members.iter().filter(|member| member.status == "Up").count() == 2
    };
    while !up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sent = || metric(&dump(&telemetry), "cluster.gossip_sent");
    while sent() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A poll holds a reference to the daemon only for a moment.
    let mut daemon = Some(daemon);
    while let Some(shared) = daemon.take() {
        daemon = Arc::try_unwrap(shared).map(drop).err();
    }
    assert_eq!(names(&dump(&telemetry)["cluster"]), ["a", "b"]);
    // From now on the state that the application attached counts.
    telemetry.cluster.update(ClusterStateInfo::default());
    assert_eq!(names(&dump(&telemetry)["cluster"]), Vec::<&str>::new());
}

/// A state in which every part names its generation.
fn generation(number: u32) -> DaemonSnapshot {
    let mut state = MembershipState::new();
    for member in 0..50 {
        let mut member = Member::new(address(&format!("m{member}-{number}")), vec![number.to_string()]);
        (member.status, member.up_number) = (MemberStatus::Up, number as i32);
        state.add_or_update(member);
    }
    let mut version = VectorClock::new();
    version.versions.insert("all".into(), number.into());
    DaemonSnapshot { leader: Some(address(&number.to_string())), state, version }
}

fn generations() -> [ClusterStateInfo; 3] {
    [1, 2, 3].map(|number| {
        let DaemonSnapshot { state, leader, version } = generation(number);
        let leader = leader.map(|leader| leader.to_string());
        ClusterStateInfo { leader, ..from_gossip(&Gossip { version, state }) }
    })
}

#[test]
fn a_reader_that_looks_all_the_time_never_sees_a_mixture() {
    let telemetry = polled_often("cluster-mixture");
    let path = telemetry.region().path().unwrap().to_owned();
    let states = generations();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let file = std::fs::File::open(&path).unwrap();
            let memory = support::mapped(memmap2::MmapOptions::new().map_raw_read_only(&file).unwrap());
            let (mut whole, mut seen) = (0, [false; 3]);
            while whole < 200 || seen != [true; 3] {
                let found = RegionReader::open(memory.words()).unwrap().subsystems();
                // An unreadable document is reported as such.
                if found.documents_unreadable > 0 || found.cluster == ClusterStateInfo::default() {
                    continue;
                }
                let which = states.iter().position(|state| *state == found.cluster);
                seen[which.unwrap_or_else(|| panic!("a mixture: {:?}", found.cluster))] = true;
                whole += 1;
            }
        });
        let started = Instant::now();
        while !reader.is_finished() {
            assert!(started.elapsed() < support::PATIENCE, "the reader never saw all states");
            states.iter().for_each(|state| telemetry.cluster.update(state.clone()));
        }
    });
}

#[test]
fn a_node_that_is_killed_while_its_cluster_changes_leaves_one_state_whole() {
    const NAME: &str = "a_node_that_is_killed_while_its_cluster_changes_leaves_one_state_whole";
    let states = generations();
    if support::role().is_some() {
        let telemetry = polled_often("cluster-killed");
        telemetry.cluster.update(states[0].clone());
        println!("ready region={}", telemetry.region().path().unwrap().display());
        loop {
            states.iter().for_each(|state| telemetry.cluster.update(state.clone()));
        }
    }
    for _ in 0..10 {
        let mut node = support::Node::start(&mut support::again(NAME, "changing"));
        node.kill();
        let dump = dump_of(node.region());
        let found: ClusterStateInfo = serde_json::from_value(dump["cluster"].clone()).unwrap();
        assert!(states.contains(&found), "a mixture: {found:?}");
    }
}

#[test]
fn members_without_room_are_counted_and_the_rest_is_right() {
    let region = Region::builder("cluster-full").document_bytes(2048).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    let state = from_cluster_state(&generation(7).state);
    telemetry.cluster.update(ClusterStateInfo { leader: Some("leader".into()), ..state.clone() });
    let dump = dump(&telemetry);
    let listed = dump["cluster"]["members"].as_array().unwrap();
    assert!(!listed.is_empty() && listed.len() < 50);
    assert_eq!(dump["atomscope"]["rows_dropped"], 50 - listed.len());
    assert_eq!(dump["cluster"]["leader"], "leader");
    let expected = serde_json::to_value(&state.members[..listed.len()]).unwrap();
    assert_eq!(dump["cluster"]["members"], expected);
    // In-process nothing is dropped, and changes are found in the complete state.
    assert_eq!(telemetry.cluster.member_count(), 50);
    let mut events = telemetry.bus.subscribe();
    let mut next = state.clone();
    next.members[49].status = "Leaving".into();
    telemetry.cluster.update(next);
    let Ok(TelemetryEvent::ClusterChanged(diff)) = events.try_recv() else { panic!("nothing was published") };
    assert_eq!((diff.added.len(), diff.updated.len(), diff.removed.len()), (0, 1, 0));
}

#[cfg(feature = "quorum")]
mod quorum {
    use std::sync::atomic::AtomicBool;

    use atomr_cluster::{SbrAction, SbrRuntime, StaticQuorumStrategy};

    use super::*;

    #[test]
    fn a_quorum_that_is_lost_and_regained_is_counted_and_passed_on() {
        #[derive(Default)]
        struct Own(AtomicBool, AtomicBool);
        impl atomr_cluster::QuorumObserver for Own {
            fn on_quorum_lost(&self) {
                self.0.store(true, Ordering::Relaxed);
            }
            fn on_quorum_regained(&self) {
                self.1.store(true, Ordering::Relaxed);
            }
        }
        let telemetry = polled_often("cluster-quorum");
        let own = Arc::new(Own::default());
        let downing = telemetry.cluster.wrap_downing(StaticQuorumStrategy { quorum_size: 40 });
        let observer = telemetry.cluster.quorum_observer(Some(own.clone()));
        let mut resolver = SbrRuntime::new(downing, Duration::ZERO).with_observer(observer);
        let mut state = generation(1).state;
        let (first, rest) = state.members.split_first().unwrap();
        let records = rest[..20].iter().map(|lost| (first.address.clone(), lost.address.clone()));
        let lost: Vec<_> = records.collect();
        lost.iter().for_each(|(by, who)| state.reachability.unreachable(by.clone(), who.clone()));
        let now = Instant::now();
        assert_eq!(resolver.tick(&state, now), SbrAction::DownSelf);
        assert_eq!(resolver.tick(&state, now), SbrAction::DownSelf);
        lost.iter().for_each(|(by, who)| state.reachability.reachable(by.clone(), who.clone()));
        assert_eq!(resolver.tick(&state, now), SbrAction::None);
        let dump = dump(&telemetry);
        assert_eq!(metric(&dump, "cluster.downing_calls"), 2);
        assert_eq!(metric(&dump, "cluster.quorum_lost"), 1);
        assert_eq!(metric(&dump, "cluster.quorum_regained"), 1);
        assert!(own.0.load(Ordering::Relaxed) && own.1.load(Ordering::Relaxed));
    }
}

#[test]
fn a_strategy_that_lets_all_stay_decides_nothing() {
    let telemetry = polled_often("cluster-stay");
    let downing = telemetry.cluster.wrap_downing(atomr_cluster::NoSbr);
    atomr_cluster::DowningStrategy::decide(&downing, &[], &[]);
    let dump = dump(&telemetry);
    assert_eq!((metric(&dump, "cluster.downing_calls"), metric(&dump, "cluster.downing_decisions")), (1, 0));
}

#[test]
fn every_pdu_sent_reaches_the_wrapped_transport_and_is_counted() {
    struct Count(std::sync::atomic::AtomicU64);
    impl GossipTransport for Count {
        fn send(&self, _: &Address, _: GossipPdu) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let telemetry = polled_often("cluster-transport");
    let inner = Arc::new(Count(0.into()));
    let transport = telemetry.cluster.wrap_transport(inner.clone());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let pdu = GossipPdu::Status { from: String::new(), version: VectorClock::new() };
                    transport.send(&address("b"), pdu);
                }
            });
        }
    });
    assert_eq!(inner.0.load(Ordering::Relaxed), 1000);
    assert_eq!(metric(&dump(&telemetry), "cluster.gossip_sent"), 1000);
}

/// Value, sample count and timestamp of a node's metric in a dump.
fn sample(dump: &Value, name: &str, metric: &str) -> (f64, u64, u64) {
    let name = format!("{} {metric}", address(name));
    let all = dump["atomscope"]["instances"]["node_metrics"].as_array().unwrap();
    let entry = all.iter().find(|entry| entry["name"] == *name).unwrap();
    (
        entry["value"].as_f64().unwrap(),
        entry["samples"].as_u64().unwrap(),
        entry["timestamp"].as_u64().unwrap(),
    )
}

#[test]
fn the_last_sample_of_each_node_is_dumped_and_each_counted_once() {
    let telemetry = polled_often("cluster-loads");
    let mut loads = Loads::start(&telemetry);
    for _ in 0..3 {
        let round = loads.round();
        // Samples that several polls see count once.
        wait_until("the poll has seen the round", || sample_count(&dump(&telemetry)) == 3 * round);
    }
    let dump = dump(&telemetry);
    for name in ["a", "b", "c"] {
        let NodeMetrics { cpu_load, memory_used, memory_max, .. } =
            Loads::load(name, 3).sample(&address(name).to_string(), 3);
        assert_eq!(sample(&dump, name, "cpu_load"), (cpu_load, 3, 3));
        assert_eq!(sample(&dump, name, "memory_used"), (memory_used as f64, 3, 3));
        assert_eq!(sample(&dump, name, "memory_max"), (memory_max as f64, 3, 3));
    }
    let gathered = loads.gathered.snapshot();
    assert_eq!(gathered.len(), 2, "the node's own samples were only sent");
    gathered.iter().for_each(|sample| telemetry.cluster_metrics.record(sample));
    assert_eq!(
        sample_count(&self::dump(&telemetry)),
        9,
        "a sample that was noted already is not counted again"
    );
}

fn sample_count(dump: &Value) -> u64 {
    metric(dump, "cluster.metric_samples")
}

#[test]
fn metrics_without_room_are_counted() {
    let region = Region::builder("cluster-loads-full").instances(64).build().unwrap();
    let telemetry = TelemetryExtension::with_region(region);
    for node in 0..100 {
        telemetry.cluster_metrics.record(&NodeMetrics {
            address: format!("akka://{node}"),
            timestamp: 1,
            cpu_load: f64::from(node),
            memory_used: 1,
            memory_max: 2,
        });
    }
    let dump = dump(&telemetry);
    let listed = dump["atomscope"]["instances"]["node_metrics"].as_array().unwrap();
    assert!(!listed.is_empty() && listed.iter().all(|metric| metric["samples"] == 1));
    assert_eq!(metric(&dump, "cluster.unlisted_metrics"), 300 - listed.len() as u64);
    let nodes: std::collections::BTreeSet<_> =
        listed.iter().map(|metric| metric["name"].as_str().unwrap().split(' ').next()).collect();
    assert_eq!(sample_count(&dump), nodes.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_live_and_die_in_a_node_until_it_stops() {
    let telemetry = polled_often("cluster-run");
    let counted = wait_for_dump("downing and samples are counted", &telemetry, |dump| {
        known_metric(dump, "cluster.downing_decisions") >= Some(2)
            && known_metric(dump, "cluster.metric_samples") >= Some(50)
    });
    let run = cluster_workload::run(&telemetry, Duration::from_millis(1), async { drop(counted.await) });
    tokio::time::timeout(support::PATIENCE, run).await.unwrap();
}
