//! `atomr-telemetry` and our probe in one process, for tests that compare them.

use std::sync::Weak;

use atomr_telemetry::TelemetryExtension;
use atomr_telemetry::bus::TelemetryEvent;
use atomr_telemetry::dto::{ClusterMemberInfo, ClusterStateInfo};
use atomr_telemetry::exporters::Exporter;

/// Forwards the events of `atomr-telemetry` to our bus.
pub struct Feed(pub Weak<atomscope_probe::TelemetryExtension>);

impl Exporter for Feed {
    fn on_event(&self, event: &TelemetryEvent) {
        let event = serde_json::from_value(serde_json::to_value(event).unwrap()).unwrap();
        if let Some(ours) = self.0.upgrade() {
            ours.record_event(event);
        }
    }
}

/// Reports three states of a cluster, two stream graphs, a journal and a key to `atomr-telemetry`.
pub fn report(theirs: &TelemetryExtension) {
    let member = |address: &str, status: &str, reachable| ClusterMemberInfo {
        address: address.into(),
        status: status.into(),
        roles: vec!["role".into()],
        reachable,
        up_number: 1,
    };
    let state = |members: Vec<ClusterMemberInfo>| ClusterStateInfo {
        unreachable: members.iter().filter(|m| !m.reachable).map(|m| m.address.clone()).collect(),
        members,
        ..Default::default()
    };
    theirs.cluster.update(state(vec![member("a", "Up", true), member("b", "Joining", true)]));
    theirs.cluster.update(state(vec![
        member("a", "Up", true),
        member("b", "Up", false),
        member("c", "Up", false),
    ]));
    theirs.cluster.update(state(vec![member("b", "Up", true), member("c", "Down", false)]));
    let first = theirs.streams.start_graph("first");
    theirs.streams.start_graph("second");
    theirs.streams.finish_graph(first);
    (1..=3).for_each(|number| theirs.persistence.record_write("journal", "id", number));
    (0..4).for_each(|_| theirs.ddata.record_update("key"));
}
