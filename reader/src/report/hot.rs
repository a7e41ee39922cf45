//! The instrumented actors that did most in an interval.

use atomscope_layout::decode::{ActorList, ActorStats, Moment};

use super::human::seconds;
use super::instruments::{Activity, ActorRates, busy_percent, in_flight};
use super::list::{List, Value, number, text};
use crate::attach::{AttachError, Region};

/// What the actors of a node are ordered by: each name for `--sort`, and the column.
pub const ORDERS: [(&str, &str); 5] = [
    ("busy", "busy_percent"),
    ("handled", "handled_per_s"),
    ("depth", "depth"),
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

    /// What its actors did since the look `before`, or each in its life. The busiest is first. An actor without a path was
    /// instrumented by its props alone.
    pub fn since(&self, before: Option<&Self>) -> List {
        let rates = before.map(|before| self.activity.since(&before.activity));
        let of = |stats: &ActorStats<'_>, spawned| match &rates {
            Some(rates) => rates.of(stats),
            None => self.of_life(stats, spawned),
        };
        let named = self.list.iter().filter_map(|actor| {
            let stats = actor.stats()?;
            let did = of(&stats, actor.spawned());
            Some(self.row(
                Value::text(actor.path()),
                Value::text(actor.class()),
                actor.mailbox_depth(),
                &stats,
                did,
            ))
        });
        let unnamed = self.list.unnamed().map(|(class, stats)| {
            let did = of(&stats, None);
            self.row(Value::Unknown, Value::of(class, Value::text), None, &stats, did)
        });
        let mut list = empty();
        list.rows = named.chain(unnamed).collect();
        // Of actors that are equally busy, the one that handles most comes first.
        for name in ["handled_per_s", "busy_percent"] {
            if let Some(at) = list.column(name) {
                list.rows.sort_by(|a, b| a[at].compare(&b[at], false));
            }
        }
        list
    }

    fn of_life(&self, stats: &ActorStats<'_>, spawned: Option<Moment>) -> Option<ActorRates> {
        let life_s = self.at?.since(&spawned?)?.as_secs_f64().max(1e-9);
        Some(ActorRates {
            handled_per_s: stats.handled as f64 / life_s,
            busy_percent: busy_percent(stats, spawned, self.at)?,
            failures_per_s: f64::from(stats.failures) / life_s,
            failures: stats.failures.into(),
            growth_per_s: None,
        })
    }

    fn row(
        &self,
        path: Value,
        class: Value,
        depth: Option<u64>,
        stats: &ActorStats<'_>,
        did: Option<ActorRates>,
    ) -> Vec<Value> {
        let tenths = |number: f64| Value::Float((number * 10.0).round() / 10.0);
        let flight = stats.in_flight;
        vec![
            path,
            class,
            Value::of(did, |did| Value::Float(did.busy_percent)),
            Value::of(did, |did| tenths(did.handled_per_s)),
            Value::of(depth, Value::Number),
            Value::of(did.and_then(|did| did.growth_per_s), tenths),
            Value::of(did, |did| Value::Number(did.failures)),
            Value::of(stats.variant, Value::text),
            Value::of(in_flight(stats, self.at), |time| Value::Float(seconds(time))),
            Value::of(flight.and_then(|flight| flight.mode), |mode| Value::text(mode.word())),
        ]
    }
}

/// The list without actors.
pub fn empty() -> List {
    List::new("hot", "PATH", COLUMNS, [])
}

const COLUMNS: [super::list::Column; 10] = [
    text("path"),
    text("class"),
    number("busy_percent", "%"),
    number("handled_per_s", "/s"),
    number("depth", "msgs"),
    number("growth_per_s", "/s"),
    number("failures", ""),
    text("variant"),
    number("in_flight_s", "s"),
    text("mode"),
];
