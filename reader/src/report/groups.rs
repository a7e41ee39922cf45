//! What actors did, summed up by class, by variant of their messages, or by subtree. The node knows nothing of such groups.

use std::collections::HashMap;
use std::time::Duration;

use atomscope_layout::decode::{
    Actor, ActorList, ActorStats, Class, ClassStats, Instruments, Moment, VariantStats,
};
use atomscope_layout::histogram::Histogram;

use super::human::seconds;
use super::instruments::{busy_ns, in_flight};
use super::list::{Column, List, Value, number, text};
use crate::in_flight::Handler;

/// What stands in for a row's numbers where nothing is instrumented.
fn known(number: Option<u64>) -> Value {
    Value::of(number, Value::Number)
}

/// The time in handlers; `None` if messages were handled and none of them was timed.
fn timed(busy_ns: u64, handled: u64) -> Option<u64> {
    (busy_ns > 0 || handled == 0).then_some(busy_ns)
}

/// The classes of live actors, and those that had instrumented ones, with what these did. The busiest is first; a class without
/// a name stands for all that found no room in the region. `in_flight` are the handlers in flight.
pub fn by_class(live: &[Class], instruments: &Instruments, in_flight: &[Handler]) -> List {
    let mut longest: HashMap<Option<&str>, f64> = HashMap::new();
    for handler in in_flight {
        let Some(time) = handler.for_s else { continue };
        let known = longest.entry(handler.class.as_deref()).or_default();
        *known = known.max(time);
    }
    let longest = |class: Option<&str>| longest.get(&class).copied();
    let mut live: HashMap<&str, &Class> = live.iter().map(|class| (class.name.as_str(), class)).collect();
    let instrumented = instruments.classes.iter().map(|stats| {
        let live = stats.class.as_deref().and_then(|name| live.remove(name));
        class_row(stats.class.as_deref(), live, Some(stats), longest(stats.class.as_deref()))
    });
    let mut rows: Vec<_> = instrumented.collect();
    rows.extend(live.into_values().map(|class| class_row(Some(&class.name), Some(class), None, None)));
    let mut list = List::new("classes", "CLASS", CLASS_COLUMNS, rows);
    // Most nodes watch no polls.
    let known =
        |of: fn(&ClassStats) -> Option<u64>| instruments.classes.iter().any(|class| of(class).is_some());
    for (name, is_known) in
        [("polls", known(|class| class.polls)), ("long_polls", known(|class| class.long_polls))]
    {
        let of_it = list.columns.iter_mut().filter(|column| column.name == name);
        of_it.for_each(|column| column.is_shown = is_known);
    }
    busiest_first(list)
}

const CLASS_COLUMNS: [Column; 12] = [
    text("class"),
    number("live", ""),
    number("handled", "msgs"),
    number("busy_ns", "nanoseconds"),
    number("p50_ns", "nanoseconds"),
    number("p99_ns", "nanoseconds"),
    number("longest_s", "s"),
    number("failures", ""),
    number("restarts", ""),
    number("waiting", "msgs"),
    number("polls", ""),
    number("long_polls", ""),
];

fn class_row(
    name: Option<&str>,
    live: Option<&Class>,
    stats: Option<&ClassStats>,
    longest_s: Option<f64>,
) -> Vec<Value> {
    let of = |of: fn(&ClassStats) -> u64| known(stats.map(of));
    let times = stats.map(|stats| &stats.handle_time).filter(|times| times.count > 0);
    let quantile = |share| known(times.map(|times: &Histogram| times.quantile(share)));
    vec![
        Value::of(name, Value::text),
        // Those that are not instrumented live too.
        known(live.map(|class| class.actors).or(stats.map(|stats| stats.live))),
        of(|stats| stats.handled),
        known(stats.and_then(|stats| timed(stats.busy_ns, stats.handled))),
        quantile(0.5),
        quantile(0.99),
        Value::of(longest_s, Value::Float),
        of(|stats| stats.failures),
        of(|stats| stats.restarts),
        known(live.and_then(|class| class.waiting)),
        known(stats.and_then(|stats| stats.polls)),
        known(stats.and_then(|stats| stats.long_polls)),
    ]
}

/// The variants of the messages of each class, with what was done for them. The busiest is first.
pub fn by_variant(instruments: &Instruments) -> List {
    let of_class = |class: &ClassStats| {
        let row = |variant: &VariantStats| {
            let busy_ns = timed(variant.busy_ns, variant.handled);
            vec![
                Value::of(class.class.as_deref(), Value::text),
                Value::of(variant.variant.as_deref(), Value::text),
                Value::Number(variant.handled),
                known(busy_ns),
                known(busy_ns.and_then(|busy_ns| busy_ns.checked_div(variant.handled))),
            ]
        };
        class.variants.iter().map(row).collect::<Vec<_>>()
    };
    let columns = [
        text("class"),
        text("variant"),
        number("handled", "msgs"),
        number("busy_ns", "nanoseconds"),
        number("mean_ns", "nanoseconds"),
    ];
    busiest_first(List::new("variants", "CLASS", columns, instruments.classes.iter().flat_map(of_class)))
}

/// Live actors by the first `level` elements of their paths, or by their parents. The busiest subtree is first. Actors that were
/// instrumented without a path are together in a row without one.
/// `at` is the time at which the list was read: handlers in flight then are in the busy time.
pub fn by_subtree(actors: &ActorList, level: Option<usize>, at: Option<Moment>) -> List {
    let mut sums: HashMap<Option<&str>, Sum> = HashMap::new();
    for actor in actors.iter() {
        let path = actor.path();
        let subtree = match level {
            Some(level) => first_elements(path, level),
            None => actor.parent().unwrap_or(path),
        };
        sums.entry(Some(subtree)).or_default().add(&actor, at);
    }
    for (_, stats) in actors.unnamed() {
        sums.entry(None).or_default().add_done(&stats, at);
    }
    let rows = sums.into_iter().map(|(subtree, sum)| {
        let of = |number| known((sum.instrumented > 0).then_some(number));
        vec![
            Value::of(subtree, Value::text),
            known(subtree.map(|_| sum.actors)),
            Value::Number(sum.instrumented),
            of(sum.handled),
            known((sum.instrumented > 0).then(|| timed(sum.busy_ns, sum.handled)).flatten()),
            Value::of(sum.longest, |time| Value::Float(seconds(time))),
            of(sum.failures),
            of(sum.restarts),
            known(sum.waiting),
            known(sum.deepest),
        ]
    });
    let columns = [
        text("subtree"),
        number("live", ""),
        number("instrumented", ""),
        number("handled", "msgs"),
        number("busy_ns", "nanoseconds"),
        number("longest_s", "s"),
        number("failures", ""),
        number("restarts", ""),
        number("waiting", "msgs"),
        number("deepest", "msgs"),
    ];
    busiest_first(List::new("subtrees", "SUBTREE", columns, rows))
}

/// What the actors of a subtree did, and what waits for them.
#[derive(Debug, Default)]
struct Sum {
    actors: u64,
    instrumented: u64,
    handled: u64,
    busy_ns: u64,
    longest: Option<Duration>,
    failures: u64,
    restarts: u64,
    waiting: Option<u64>,
    deepest: Option<u64>,
}

impl Sum {
    fn add(&mut self, actor: &Actor<'_>, at: Option<Moment>) {
        self.actors += 1;
        if let Some(depth) = actor.mailbox_depth() {
            self.waiting = Some(self.waiting.unwrap_or(0).saturating_add(depth));
            self.deepest = self.deepest.max(Some(depth));
        }
        if let Some(stats) = actor.stats() {
            self.add_done(&stats, at);
        }
    }

    fn add_done(&mut self, stats: &ActorStats<'_>, at: Option<Moment>) {
        self.instrumented += 1;
        self.handled = self.handled.saturating_add(stats.handled);
        self.busy_ns = self.busy_ns.saturating_add(busy_ns(stats, at));
        self.longest = self.longest.max(in_flight(stats, at));
        self.failures = self.failures.saturating_add(stats.failures.into());
        self.restarts = self.restarts.saturating_add(stats.restarts.into());
    }
}

/// The part of a path with so many elements behind the name of its system; the whole path if it has not more.
fn first_elements(path: &str, level: usize) -> &str {
    let start = path.find("://").map_or(0, |at| at + 3);
    // The name of the system ends at the first slash.
    let mut slashes = path.match_indices('/').map(|(at, _)| at).filter(|at| *at >= start);
    slashes.nth(level).and_then(|end| path.get(..end)).unwrap_or(path)
}

/// Sorts by busy time, then by messages, then by live actors, then by name.
fn busiest_first(mut list: List) -> List {
    for name in ["name", "live", "handled", "busy_ns"] {
        if let Some(at) = list.column(name) {
            list.rows.sort_by(|a, b| a[at].compare(&b[at], false));
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_has_so_many_elements_of_the_path() {
        let first = |level| first_elements("akka://Shop/user/desk/anna", level);
        assert_eq!(first(1), "akka://Shop/user");
        assert_eq!(first(2), "akka://Shop/user/desk");
        assert_eq!((first(3), first(9)), ("akka://Shop/user/desk/anna", "akka://Shop/user/desk/anna"));
        assert_eq!((first_elements("no path", 1), first_elements("", 1)), ("no path", ""));
    }
}
