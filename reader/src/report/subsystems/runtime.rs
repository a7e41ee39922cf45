//! The async runtime.

use atomscope_layout::instances::Domain;
use atomscope_layout::metrics::Builtin;

use super::lists::Instances;
use super::subsystem::{Fact, Subsystem, ViewText, counted, no_gaps, number, or_dash};
use crate::snapshot::Snapshot;

/// Worker threads, tasks and the queue of the async runtime.
pub const RUNTIME: Subsystem = Subsystem {
    name: "runtime",
    title: "Runtime",
    content: "its async runtime's threads and tasks",
    about: "List the worker threads of a node's async runtime, with its tasks and queue",
    notes: "BUSY(ms) is the time that a worker has spent on tasks so far, with the task that it runs now. PARKED says whether \
            it sleeps. AWAY(ms) is the time for which it has neither slept nor got through 61 polls of tasks: up to some \
            seconds under full load, and longer if a handler hangs or if an actor always has messages. A note says which \
            workers are away for 5 seconds. Polls, and long polls (of 100 ms, unless the node says otherwise), are counted only if the node \
            gives the runtime's builder to `watch_runtime` and builds tokio with `--cfg tokio_unstable`: `atomscope tail \
            --topic runtime` lists each long poll with its actor.",
    examples: &["atomscope runtime shop", "atomscope runtime shop --sort busy_ns"],
    view: ViewText { name: "runtime", title: "Runtime", key: 'R', help: "workers of the async runtime" },
    instances: &[Instances::of(Domain::Worker, "WORKER")],
    shown_with: &[],
    is_one_list: false,
    lists: Subsystem::instance_lists,
    summary,
    gaps: no_gaps,
    warnings,
    failures: &[(Builtin::LongPolls, "long poll", "long polls")],
};

fn summary(snapshot: &Snapshot) -> (String, Vec<Fact>) {
    let workers = snapshot.subsystems.instances.count(Domain::Worker);
    let workers = snapshot.builtin_if_known(Builtin::RuntimeWorkers).max(workers);
    let tasks = snapshot.builtin_if_known(Builtin::RuntimeTasks);
    let queue = snapshot.builtin_if_known(Builtin::RuntimeQueue);
    let mut line = format!(
        "{}, {}, {} in the common queue",
        counted(workers, "worker", "workers"),
        counted(tasks, "task", "tasks"),
        or_dash(queue)
    );
    let [polls, long_polls] =
        [Builtin::Polls, Builtin::LongPolls].map(|polls| snapshot.builtin_if_known(polls));
    for (known, one, many) in [(polls, "poll", "polls"), (long_polls, "long poll", "long polls")] {
        if known.is_some() {
            line += &format!(", {}", counted(known, one, many));
        }
    }
    let facts = [("workers", workers), ("tasks", tasks), ("queue", queue), ("polls", polls)];
    let facts = facts.into_iter().chain([("long_polls", long_polls)]);
    (line, facts.map(|(name, value)| number(name, value)).collect())
}

/// Workers that are away. Those that are away for too long are a finding already.
fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let notice = snapshot.away_workers().and_then(|away| away.notice(&snapshot.liveness));
    notice.into_iter().filter(|notice| !notice.is_certain).map(|notice| notice.text).collect()
}
