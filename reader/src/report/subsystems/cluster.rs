//! The cluster.

use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::Domain;

use super::lists::Instances;
use super::subsystem::{
    Fact, Subsystem, ViewText, counted, document_gaps, document_rows, named, number, or_dash,
};
use crate::report::list::{self, List, Value, text};
use crate::snapshot::Snapshot;
use crate::text::clean;

/// The cluster as the node sees it.
pub const CLUSTER: Subsystem = Subsystem {
    name: "cluster",
    title: "Cluster",
    content: "a cluster",
    about: "Show the cluster as a node sees it: members, reachability, gossip, metrics of its nodes",
    notes: "IS marks the member that is the node itself (self) and the leader.",
    examples: &[
        "atomscope cluster shop",
        "atomscope cluster --json | jq -r '.members[] | select(.reachable | not).address'",
    ],
    view: ViewText { name: "cluster", title: "Cluster", key: '5', help: "the cluster as the node sees it" },
    instances: &[Instances::of(Domain::NodeMetric, "NODE_METRIC")],
    shown_with: &[],
    is_one_list: false,
    lists,
    summary,
    gaps: document_gaps,
    warnings,
    failures: &[],
};

fn lists(own: &Subsystem, snapshot: Option<&Snapshot>) -> Vec<List> {
    let cluster = snapshot.map(|snapshot| &snapshot.subsystems.cluster);
    let members = cluster.iter().flat_map(|cluster| &cluster.members).map(|member| {
        let is = |address: Option<&String>, what| (address == Some(&member.address)).then_some(what);
        let leader = is(cluster.and_then(|cluster| cluster.leader.as_ref()), "leader");
        let own = is(cluster.and_then(|cluster| cluster.self_address.as_ref()), "self");
        vec![
            Value::text(&member.address),
            Value::text(&member.status),
            Value::Flag(member.reachable),
            Value::Signed(member.up_number.into()),
            Value::Texts(member.roles.clone()),
            Value::Texts(own.into_iter().chain(leader).map(str::to_owned).collect()),
        ]
    });
    let columns = [
        text("address"),
        text("status"),
        list::flag("reachable"),
        list::number("up_number", ""),
        text("roles"),
        text("is"),
    ];
    let members = List::new("members", "MEMBER", columns, members);

    let rows = cluster.iter().flat_map(|cluster| &cluster.unreachable);
    let rows = rows.map(|address| vec![Value::text(address)]);
    let unreachable = List::new("unreachable", "UNREACHABLE", [text("address")], rows);

    let rows = cluster.iter().flat_map(|cluster| &cluster.reachability_records);
    let rows = rows.map(|record| {
        [&record.observer, &record.subject, &record.status].map(|text| Value::text(text)).to_vec()
    });
    let columns = [text("observer"), text("subject"), text("status")];
    let records = List::new("reachability_records", "OBSERVER", columns, rows);

    let rows = cluster.iter().flat_map(|cluster| &cluster.gossip_version);
    let rows = rows.map(|(node, version)| vec![Value::text(node), Value::Number(*version)]);
    let columns = [text("node"), list::number("version", "")];
    let versions = List::new("gossip_version", "GOSSIP_OF", columns, rows);

    let mut lists = vec![members, unreachable, records, versions];
    lists.extend(own.instance_lists(snapshot));
    lists
}

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let cluster = &snapshot.subsystems.cluster;
    let rows = |rows| document_rows(snapshot, rows, &[Attachment::ClusterState]);
    let members = rows(cluster.members.len());
    let up = cluster.members.iter().filter(|member| member.status.eq_ignore_ascii_case("up"));
    let up = members.map(|_| up.count() as u64);
    let unreachable = rows(cluster.unreachable.len());
    let leader = match cluster.leader.as_deref() {
        Some(leader) => {
            let own = cluster.self_address.as_deref() == Some(leader);
            format!("leader {}{}", clean(leader), if own { " (this node)" } else { "" })
        }
        None if members.is_some() => "no leader".to_owned(),
        None => "leader -".to_owned(),
    };
    let line = format!(
        "{}, {} up, {} unreachable, {leader}",
        counted(members, "member", "members"),
        or_dash(up),
        or_dash(unreachable)
    );
    let address = |address: &Option<String>| Value::of(address.clone(), Value::Text);
    let facts = vec![
        number("members", members),
        number("up", up),
        number("unreachable", unreachable),
        ("leader", address(&cluster.leader)),
        ("self_address", address(&cluster.self_address)),
    ];
    (line, facts)
}

fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let cluster = &snapshot.subsystems.cluster;
    let (one, many) = ("cluster member is unreachable", "cluster members are unreachable");
    let unreachable = named(&cluster.unreachable, one, many);
    let has_leader = cluster.leader.is_some() || cluster.members.is_empty();
    let no_leader = (!has_leader).then(|| "the cluster has no leader".to_owned());
    unreachable.into_iter().chain(no_leader).collect()
}
