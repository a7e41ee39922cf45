//! The instrumented actors that did most in an interval.

use atomscope_layout::decode::{ActorList, ActorStats, Moment};

use super::human::seconds;
use super::instruments::{Activity, ActorRates, Rates, busy_percent, in_flight};
use super::list::{List, Value, number, text};
use crate::attach::{AttachError, Region};

/// What the actors of a node are ordered by: each name for `--sort`, and the column.
pub const ORDERS: [(&str, &str); 5] = [
    ("busy", "busy_percent"),
    ("handled", "handled_per_s"),
    ("depth", "mailbox_depth"),
    ("growth", "growth_per_s"),
    ("failures", "failures"),
];

/// How actors become instrumented, as the end of a sentence.
pub const HOW_TO_INSTRUMENT: &str = "spawn them with `telemetry.actors.spawn(&system, props, name)` instead of `system.actor_of(props, name)`";

/// The actors of a node at one time.
#[derive(Debug, Clone)]
pub struct Look {
    list: ActorList,
    at: Option<Moment>,
    activity: Activity,
}

impl Look {
    /// Lists the actors of a region. Costs about a microsecond for each live actor, instrumented or not.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        let liveness = region.liveness()?;
        let list = region.reader()?.actor_list();
        let at = region.until(&liveness, &region.now());
        region.check_intact()?;
        Ok(Self { activity: Activity::of(&list, at), list, at })
    }

    /// Whether any of the actors has numbers of its own.
    pub fn has_numbers(&self) -> bool {
        self.list.iter().any(|actor| actor.stats().is_some()) || self.list.unnamed().next().is_some()
    }

    /// What its actors did since the look `before`, or each in its life. The busiest is first.
    pub fn since(&self, before: Option<&Self>) -> List {
        let rates = before.map(|before| self.activity.since(&before.activity));
        hot(&self.list, self.at, rates.as_ref())
    }
}

/// What the instrumented actors of a list, which was read at the time `at`, did by these rates, or each in its life. The busiest is
/// first. An actor without a path was instrumented by its props alone.
pub fn hot(list: &ActorList, at: Option<Moment>, rates: Option<&Rates>) -> List {
    let did = |stats: &ActorStats<'_>, spawned| match rates {
        Some(rates) => rates.of(stats),
        None => of_life(stats, spawned, at),
    };
    let named = list.iter().filter_map(|actor| {
        let stats = actor.stats()?;
        let did = did(&stats, actor.spawned());
        Some(row(
            [Value::text(actor.path()), Value::text(actor.class())],
            actor.mailbox_depth(),
            &stats,
            did,
            at,
        ))
    });
    let unnamed = list.unnamed().map(|(class, stats)| {
        let class = Value::of(class, Value::text);
        row([Value::Unknown, class], None, &stats, did(&stats, None), at)
    });
    let rows = named.chain(unnamed).collect();
    let mut hot = List { rows, ..empty() };
    // Of actors that are equally busy, the one that handles most comes first.
    for name in ["handled_per_s", "busy_percent"] {
        if let Some(at) = hot.column(name) {
            hot.rows.sort_by(|a, b| a[at].compare(&b[at], false));
            hot.sorted_by = Some(at);
        }
    }
    hot
}

fn of_life(stats: &ActorStats<'_>, spawned: Option<Moment>, at: Option<Moment>) -> Option<ActorRates> {
    let life_s = at?.since(&spawned?)?.as_secs_f64().max(1e-9);
    Some(ActorRates {
        handled_per_s: stats.handled as f64 / life_s,
        busy_percent: busy_percent(stats, spawned, at)?,
        failures_per_s: f64::from(stats.failures) / life_s,
        failures: stats.failures.into(),
        restarts: stats.restarts.into(),
        growth_per_s: None,
    })
}

fn row(
    [path, class]: [Value; 2],
    depth: Option<u64>,
    stats: &ActorStats<'_>,
    did: Option<ActorRates>,
    at: Option<Moment>,
) -> Vec<Value> {
    let tenths = |number: f64| Value::Float((number * 10.0).round() / 10.0);
    let flight = stats.in_flight;
    vec![
        path,
        class,
        Value::of(did, |did| Value::Float(did.busy_percent)),
        Value::of(did, |did| tenths(did.handled_per_s)),
        Value::of(in_flight(stats, at), |time| Value::Float(seconds(time))),
        Value::of(flight.and(stats.variant), Value::text),
        Value::of(flight.and_then(|flight| flight.mode), |mode| Value::text(mode.word())),
        Value::of(depth, Value::Number),
        Value::of(did.and_then(|did| did.growth_per_s), tenths),
        Value::of(did, |did| Value::Number(did.failures)),
        Value::of(did, |did| Value::Number(did.restarts)),
    ]
}

/// The list without actors.
pub fn empty() -> List {
    List::new("hot", "PATH", COLUMNS, [])
}

/// What an actor does now stays longest on a narrow screen.
const COLUMNS: [super::list::Column; 11] = [
    text("path"),
    text("class").dropped(3),
    number("busy_percent", "%"),
    number("handled_per_s", "/s").dropped(1),
    number("running_s", "s"),
    text("variant"),
    text("mode"),
    number("mailbox_depth", "msgs").dropped(2),
    number("growth_per_s", "/s").dropped(5),
    number("failures", "").dropped(4),
    number("restarts", "").dropped(6),
];
