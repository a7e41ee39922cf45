//! The lists of the view Self: capacity, drops, cost of the node's telemetry, and lanes.

use atomscope::report::list::{List, Value, number, text};
use atomscope_layout::metrics::Builtin;

use crate::program::top::tick::Tick;

/// What the node's telemetry costs and drops.
pub fn own(tick: &Tick) -> Vec<List> {
    let usage = &tick.usage;
    let capacities = [
        ("actors", usage.actors, "actors"),
        ("names", usage.names, "names"),
        ("metrics", usage.metrics, "metrics"),
        ("histograms", usage.histograms, "histograms"),
        ("instances", usage.instances, "instances"),
        ("failures", usage.failures, "failures"),
        ("dead letters kept", usage.dead_letters, "dead_letters"),
        ("lanes", usage.lanes, "lanes"),
    ];
    let rows = capacities.map(|(name, fill, option)| {
        vec![
            Value::text(name),
            Value::Number(fill.used),
            Value::Number(fill.capacity),
            Value::Number(fill.percent()),
            Value::text(option),
        ]
    });
    let columns =
        [text("capacity"), number("used", ""), number("of", ""), number("full", "%"), text("option")];
    let capacity = List::new("capacity", "CAPACITY", columns, rows);

    let subsystems = &tick.snapshot.subsystems;
    let unreadable = [
        (tick.snapshot.dead_letters.unreadable, "unreadable dead letters"),
        (tick.snapshot.failures.unreadable, "unreadable records of the failure log"),
        (tick.snapshot.failures.panics_unreadable, "unreadable panics"),
        (tick.tally.unreadable, "unreadable actor records"),
        (
            tick.snapshot.own_records.unreadable,
            "unreadable records of the application's own, and their kinds",
        ),
        (subsystems.instances.unreadable, "unreadable records of subsystems"),
        (subsystems.documents_unreadable, "unreadable documents (cluster state, shard allocation)"),
        (tick.snapshot.totals.untracked, "live actors that have no slot"),
        (tick.tally.unlisted, "live actors that are counted but not listed"),
    ];
    let rows = usage.drops.list().into_iter().chain(unreadable);
    let rows = rows.map(|(number, what)| vec![Value::text(what), Value::Number(number)]);
    let drops = List::new("dropped", "WHAT", [text("what"), number("number", "")], rows);

    let life_ns = tick.uptime.map(|life| (life.as_nanos() as f64).max(1.0));
    let cost = |name: &str, rounds: Builtin, time: Builtin| {
        let (rounds, ns) = (tick.snapshot.builtin(rounds), tick.snapshot.builtin(time));
        let share = life_ns.map(|life_ns| ns as f64 / life_ns * 100.0);
        vec![
            Value::text(name),
            Value::Number(rounds),
            Value::Number(ns),
            Value::of(share, |share| Value::Float((share * 1000.0).round() / 1000.0)),
        ]
    };
    let mut rows = vec![
        cost("the probe's sampler, in the node", Builtin::SamplerRounds, Builtin::SamplerTime),
        cost("the probe's poller, in the node", Builtin::PollRounds, Builtin::PollTime),
    ];
    if let Some(own) = &tick.own {
        rows.push(vec![
            Value::text("this program, since it was started"),
            Value::Unknown,
            Value::Number((own.cpu_s() * 1e9) as u64),
            Value::Unknown,
        ]);
    }
    rows.push(vec![
        Value::text("this snapshot of the node"),
        Value::Number(1),
        Value::Number(tick.took.as_nanos() as u64),
        Value::Unknown,
    ]);
    let columns =
        [text("cost"), number("rounds", ""), number("time_ns", "nanoseconds"), number("share", "%")];
    let cost = List::new("cost", "COST", columns, rows);

    let lanes = usage.lane_events.iter().enumerate().map(|(lane, events)| {
        let name = if lane == 0 { "0 (shared)".to_owned() } else { lane.to_string() };
        vec![Value::Text(name), Value::Number(*events)]
    });
    let lanes = List::new("lanes", "LANE", [text("lane"), number("events", "events")], lanes);
    vec![capacity, drops, cost, lanes]
}
