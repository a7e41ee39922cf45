//! Sharding.

use atomscope_layout::attached::Attachment;
use atomscope_layout::instances::{Domain, shard_region};
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{
    Fact, Subsystem, ViewText, counted, document_gaps, document_rows, no_warnings, number,
};
use crate::report::list::{self, List, Value, text};
use crate::snapshot::Snapshot;

/// Shard regions, shards, their allocation and hand-offs.
pub const SHARDING: Subsystem = Subsystem {
    name: "sharding",
    title: "Sharding",
    content: "shards",
    about: "List the shard regions of a node, its shards, allocations and hand-offs",
    notes: "The OWNER of a shard is its region. The coordinator reports ALLOCATED and HANDED_OFF.",
    examples: &[
        "atomscope sharding shop --sort messages --limit 20",
        "atomscope sharding shop --filter 'entities > 100 and owner ~ carts'",
    ],
    view: ViewText {
        name: "sharding",
        title: "Sharding",
        key: '6',
        help: "shard regions, shards, allocations",
    },
    instances: &[
        Instances::of(Domain::ShardRegion, "REGION"),
        Instances::of(Domain::Shard, "SHARD").with_owner(),
    ],
    shown_with: &[],
    is_one_list: false,
    lists,
    summary,
    gaps: document_gaps,
    warnings: no_warnings,
    failures: &[],
};

fn lists(own: &Subsystem, snapshot: Option<&Snapshot>) -> Vec<List> {
    let sharding = snapshot.map(|snapshot| &snapshot.subsystems.sharding);
    let rows = sharding.iter().flat_map(|sharding| &sharding.regions).map(|region| {
        vec![
            Value::text(&region.region_id),
            Value::Number(region.shard_count as u64),
            Value::Texts(region.shards.clone()),
        ]
    });
    let columns = [text("region_id"), list::number("shard_count", "shards"), text("shards")];
    let regions = List::new("regions", "REGION_OF_SHARDS", columns, rows);

    let rows = sharding.iter().flat_map(|sharding| &sharding.allocations);
    let rows = rows.map(|(shard, region)| vec![Value::text(shard), Value::text(region)]);
    let allocations = List::new("allocations", "ALLOCATED", [text("shard"), text("region")], rows);

    let rows = snapshot.iter().flat_map(|snapshot| &snapshot.subsystems.hand_offs);
    let rows = rows.map(|texts| texts.iter().map(|text| Value::text(text)).collect());
    let columns = [text("shard"), text("from"), text("to"), text("state")];
    let hand_offs = List::new("hand_offs", "HANDED_OFF", columns, rows);

    let mut lists = own.instance_lists(snapshot);
    lists.extend([regions, allocations, hand_offs]);
    lists
}

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let (instances, sharding) = (&snapshot.subsystems.instances, &snapshot.subsystems.sharding);
    let by_calls = document_rows(snapshot, sharding.regions.len(), &[Attachment::ShardingCalls]);
    let regions = instances.count(Domain::ShardRegion).max(by_calls);
    let shards_by_calls = sharding.regions.iter().map(|region| region.shard_count as u64);
    let shards_by_calls = by_calls.map(|_| shards_by_calls.fold(0, u64::saturating_add));
    let shards = instances.sum(Domain::ShardRegion, shard_region::SHARDS).max(shards_by_calls);
    let coordinators = [Attachment::ShardCoordinator, Attachment::ShardingCalls];
    let allocations = document_rows(snapshot, sharding.allocations.len(), &coordinators);
    let hand_offs = document_rows(snapshot, snapshot.subsystems.hand_offs.len(), &[Attachment::HandOffs]);
    let messages = snapshot.builtin_if_known(Builtin::ShardMessages);
    let line = format!(
        "{}, {}, {}, {}, {}",
        counted(regions, "region", "regions"),
        counted(shards, "shard", "shards"),
        counted(allocations, "allocated shard", "allocated shards"),
        counted(hand_offs, "hand-off", "hand-offs"),
        counted(messages, "message", "messages")
    );
    let facts = vec![
        number("regions", regions),
        number("shards", shards),
        number("allocations", allocations),
        number("hand_offs", hand_offs),
        number("messages", messages),
    ];
    (line, facts)
}
