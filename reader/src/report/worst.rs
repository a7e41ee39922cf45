//! The worst of the instrumented actors of a node, one by each measure.

use atomscope_layout::decode::{ActorList, ClassStats, Instruments, Moment};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::human::{duration, seconds};
use super::instruments::{busy_percent, in_flight, telling_p99_ns};
use crate::attach::{AttachError, Region};
use crate::text::clean;

/// The worst by each measure; `None` where it is unknown for all actors, or 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Worst {
    /// The actor that was in a handler for the greatest share of its life, in percent.
    pub busiest: Option<WorstActor<f64>>,
    /// The actor with the most waiting messages.
    pub deepest: Option<WorstActor<u64>>,
    /// The actor with the most failures.
    pub failing: Option<WorstActor<u64>>,
    /// The actor whose handler in flight lasts longest, in seconds.
    pub longest: Option<WorstActor<f64>>,
    /// The class of which the slowest hundredth of the handlers takes longest: the least time of these, in nanoseconds.
    pub slowest: Option<WorstClass>,
}

/// An actor and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstActor<T> {
    /// Its path; not safe to print. `None` if it is unknown.
    pub path: Option<String>,
    /// Its class; not safe to print. `None`: one of all other classes.
    pub class: Option<String>,
    /// The name of the value in JSON.
    pub measure: &'static str,
    /// The value.
    pub value: T,
}

impl<T: Serialize> Serialize for WorstActor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("class", &self.class)?;
        map.serialize_entry(self.measure, &self.value)?;
        map.end()
    }
}

/// A class and its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorstClass {
    /// The class; not safe to print.
    pub class: String,
    /// 99 % of its handlers took at most so long.
    pub p99_ns: u64,
}

/// A handler in flight that lasts shorter is nothing to tell of: the node's clock for it is coarse.
const TELLING_S: f64 = 1.0;

impl Worst {
    /// The worst of a region. Costs a scan of the actors if any has a cell, else nothing.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn of(region: &Region, instruments: &Instruments) -> Result<Self, AttachError> {
        if instruments.cells.used == 0 {
            return Ok(Self::default());
        }
        let liveness = region.liveness()?;
        let list = region.reader()?.actor_list();
        let until = region.until(&liveness, &region.now());
        region.check_intact()?;
        Ok(Self::of_list(&list, until, &instruments.classes))
    }

    fn of_list(list: &ActorList, until: Option<Moment>, classes: &[ClassStats]) -> Self {
        let mut worst = Self::default();
        let named = list.iter().map(|actor| {
            (Some(actor.path()), Some(actor.class()), actor.stats(), actor.mailbox_depth(), actor.spawned())
        });
        let unnamed = list.unnamed().map(|(class, stats)| (None, class, Some(stats), None, None));
        for (path, class, stats, depth, spawned) in named.chain(unnamed) {
            let actor = (path, class);
            keep(&mut worst.deepest, "mailbox_depth", actor, depth.filter(|depth| *depth > 0));
            let Some(stats) = stats else { continue };
            let busy = busy_percent(&stats, spawned, until);
            keep(&mut worst.busiest, "busy_percent", actor, busy.filter(|busy| *busy > 0.0));
            keep(
                &mut worst.failing,
                "failures",
                actor,
                Some(u64::from(stats.failures)).filter(|failures| *failures > 0),
            );
            let running = in_flight(&stats, until).map(seconds);
            keep(&mut worst.longest, "running_s", actor, running.filter(|running| *running >= TELLING_S));
        }
        let p99 = |class: &ClassStats| {
            Some(WorstClass { class: class.class.clone()?, p99_ns: telling_p99_ns(class)? })
        };
        worst.slowest = classes.iter().filter_map(p99).max_by_key(|class| class.p99_ns);
        worst
    }

    /// In one line; `None` if nothing is known. Safe to print.
    pub fn text(&self) -> Option<String> {
        let Self { busiest, deepest, failing, longest, slowest } = self;
        let parts = [
            busiest.as_ref().map(|of| format!("busiest {} ({:.1} %)", of.name(), of.value)),
            deepest.as_ref().map(|of| format!("deepest {} ({} msgs)", of.name(), of.value)),
            failing.as_ref().map(|of| format!("most failures {} ({})", of.name(), of.value)),
            longest.as_ref().map(|of| {
                let lasts =
                    std::time::Duration::try_from_secs_f64(of.value).map(duration).unwrap_or_default();
                format!("longest handler {} ({lasts})", of.name())
            }),
            slowest.as_ref().map(|of| {
                format!("slowest class {} (99 % within {:.3} ms)", clean(&of.class), of.p99_ns as f64 / 1e6)
            }),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl<T> WorstActor<T> {
    fn name(&self) -> String {
        match (&self.path, &self.class) {
            (Some(path), _) => clean(path).into_owned(),
            (None, Some(class)) => format!("an actor of {}", clean(class)),
            (None, None) => "an actor of another class".to_owned(),
        }
    }
}

/// Keeps the greatest value, the first one of equal ones.
fn keep<T: PartialOrd + Copy>(
    worst: &mut Option<WorstActor<T>>,
    measure: &'static str,
    (path, class): (Option<&str>, Option<&str>),
    value: Option<T>,
) {
    let Some(value) = value else { return };
    if worst.as_ref().is_none_or(|worst| value > worst.value) {
        let (path, class) = (path.map(str::to_owned), class.map(str::to_owned));
        *worst = Some(WorstActor { path, class, measure, value });
    }
}
