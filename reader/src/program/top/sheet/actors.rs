//! The sheets of actors: as a tree, as a list, and by class.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use atomscope::report::actors::{ActorOrder, ActorRow, IN_TOP, SortKey, show_above};
use atomscope::report::human;
use atomscope::report::list::{List, Side, Value, number, text};
use atomscope_layout::decode::ClassStats;
use atomscope_layout::table::Key;

use crate::program::top::sheet::lists::{hidden, of_lists, parse};
use crate::program::top::sheet::request::{Mode, SheetRequest, Sort};
use crate::program::top::sheet::rows::{Branch, Fold, Rows, Sheet, actor, columns};
use crate::program::top::tick::{ActorListing, LISTED_ALWAYS, Tick};

/// The live actors in the requested mode.
pub fn actors(request: &SheetRequest<'_>, tick: &Tick) -> Sheet {
    let lists = Mode::ALL.map(|mode| {
        let count = if mode == Mode::Classes { tick.classes.len() } else { tick.tally.listed as usize };
        (Cow::from(mode.title()), count)
    });
    let list = Mode::ALL.iter().position(|mode| *mode == request.mode).unwrap_or_default();
    let lists = lists.to_vec();
    if request.mode == Mode::Classes {
        let of = of_lists(request, vec![classes(request, tick)], Vec::new(), "There is no live actor.");
        return Sheet { lists, list, ..of };
    }
    let fields = ActorRow::fields(true);
    let (query, error) = parse(request.filter, &fields);
    let Some(listed_actors) = tick.listed.as_deref() else {
        let nothing = format!(
            "In this snapshot actors were only counted: more than {LISTED_ALWAYS} actors are listed only while their list is \
             shown. The next snapshot lists them; t shows the classes."
        );
        return Sheet { lists, list, error, nothing, ..Sheet::default() };
    };
    let (all, forest) = (listed_actors.tree.actors(), listed_actors.tree.forest());
    let is_wanted = |number: u32| {
        actor(tick, number).is_some_and(|row| {
            let is_idle = request.hides_zeros && row.actor.mailbox_depth() == Some(0);
            !is_idle && query.matches(&row)
        })
    };
    let is_all = query.is_anything() && !request.hides_zeros;
    let sort = request.sorts.get("actors").copied();
    let rows = if request.mode == Mode::Flat {
        let numbers = 0..all.len() as u32;
        let mut numbers: Vec<u32> =
            if is_all { numbers.collect() } else { numbers.filter(|n| is_wanted(*n)).collect() };
        if let Some(ranks) = sort.and_then(|sort| ranks(tick, listed_actors, sort)) {
            numbers.sort_by_key(|number| ranks[*number as usize]);
        }
        numbers.into_iter().map(|number| Branch { number, level: None, fold: Fold::Leaf }).collect()
    } else {
        let shown = (!is_all).then(|| {
            let mut shown: Vec<bool> = (0..all.len() as u32).map(is_wanted).collect();
            show_above(forest, &mut shown);
            shown
        });
        let ranks = sort.and_then(|sort| ranks(tick, listed_actors, sort));
        tree(listed_actors, request.folded, shown.as_deref(), ranks.as_deref())
    };
    let nothing = match all.len() {
        0 => "There is no live actor.".to_owned(),
        found if rows.is_empty() => {
            let all = (0..found as u32).filter_map(|number| actor(tick, number));
            hidden(found, request, &query.unknown_in_all(&fields, all))
        }
        _ => String::new(),
    };
    Sheet {
        lines: Vec::new(),
        lists,
        list,
        name: "actors",
        own_order: None,
        columns: columns(tick).map(|column| column.column).collect(),
        heading: "PATH",
        sort,
        rows: Rows::Actors(rows),
        found: all.len(),
        error,
        nothing,
    }
}

/// The rank of each actor in an order, unknown values last; `None` if it is the order of the list.
fn ranks(tick: &Tick, listed: &ActorListing, sort: Sort) -> Option<Vec<(bool, u64)>> {
    let all = listed.tree.actors();
    let turned = |rank: u64| if sort.reverse { u64::MAX - rank } else { rank };
    let column = IN_TOP.into_iter().find(|column| column.column.name == sort.column);
    // The list is sorted by path.
    let Some(column) = column.filter(|column| !matches!(column.order, ActorOrder::Path)) else {
        return sort.reverse.then(|| (0..all.len() as u64).map(|rank| (false, turned(rank))).collect());
    };
    let keys = || (0..all.len() as u32).map(|number| column.sort_key(&actor(tick, number)?));
    // Many actors have the same text, so that numbers of the different texts are cheaper to sort by.
    let mut texts: HashMap<&str, u64> = HashMap::new();
    if column.column.side == Side::Left {
        texts.extend(keys().filter_map(|key| match key {
            Some(SortKey::Text(text)) => Some((text, 0)),
            _ => None,
        }));
        let mut sorted: Vec<&str> = texts.keys().copied().collect();
        sorted.sort_unstable();
        sorted.into_iter().zip(0..).for_each(|(text, rank)| _ = texts.insert(text, rank));
    }
    let rank = |key: Option<SortKey<'_>>| match key {
        Some(SortKey::Text(text)) => texts.get(text).copied(),
        Some(SortKey::Number(number)) => Some(number),
        None => None,
    };
    Some(keys().map(rank).map(|rank| (rank.is_none(), rank.map_or(0, turned))).collect())
}

/// The visible rows of a tree, from top to bottom.
fn tree(
    listed: &ActorListing,
    folded: &HashSet<Key>,
    shown: Option<&[bool]>,
    ranks: Option<&[(bool, u64)]>,
) -> Vec<Branch> {
    let (forest, all) = (listed.tree.forest(), listed.tree.actors());
    let is_shown = |number: &u32| shown.is_none_or(|shown| shown[*number as usize]);
    // The rows still to come, the next one last.
    let mut rest: Vec<(u32, u16)> = Vec::new();
    let push = |rest: &mut Vec<(u32, u16)>, below: Option<u32>, level: u16| {
        let start = rest.len();
        rest.extend(forest.below(below).filter(is_shown).map(|number| (number, level)));
        match ranks {
            Some(ranks) => {
                rest[start..].sort_by_key(|(number, _)| Reverse((ranks[*number as usize], *number)))
            }
            None => rest[start..].reverse(),
        }
        rest.len() > start
    };
    let mut rows = Vec::new();
    push(&mut rest, None, 0);
    while let Some((number, level)) = rest.pop() {
        let is_folded =
            !folded.is_empty() && all.get(number).is_some_and(|actor| folded.contains(&actor.key()));
        let fold = if is_folded {
            if forest.below(Some(number)).any(|number| is_shown(&number)) { Fold::Folded } else { Fold::Leaf }
        } else if push(&mut rest, Some(number), level.saturating_add(1)) {
            Fold::Open
        } else {
            Fold::Leaf
        };
        rows.push(Branch { number, level: Some(level), fold });
    }
    rows
}

/// Live actors by class.
fn classes(request: &SheetRequest<'_>, tick: &Tick) -> List {
    let shows_rates = request.shows_rates && !tick.is_last();
    let then = if shows_rates {
        tick.classes_before.as_ref()
    } else {
        request.baseline.map(|baseline| &baseline.classes)
    };
    let then: Option<HashMap<&str, u64>> =
        then.map(|then| then.iter().map(|of| (of.name.as_str(), of.actors)).collect());
    let seconds = tick.before.as_ref().map(|(_, seconds)| *seconds);
    let rows = tick.classes.iter().map(|of| {
        let before = then.as_ref().map(|then| then.get(of.name.as_str()).copied().unwrap_or(0));
        let grown = match (before, shows_rates, seconds) {
            (Some(before), true, Some(seconds)) => {
                Value::Float(((of.actors as f64 - before as f64) / seconds.max(1e-9) * 10.0).round() / 10.0)
            }
            (Some(before), false, _) => Value::Signed(of.actors.wrapping_sub(before) as i64),
            _ => Value::Unknown,
        };
        let p99 = tick.snapshot.instruments.class(&of.name).and_then(ClassStats::p99_ns);
        let age = tick.snapshot.until.zip(of.oldest).and_then(|(until, oldest)| until.since(&oldest));
        vec![
            Value::text(&of.name),
            Value::Number(of.actors),
            grown,
            Value::of(of.waiting, Value::Number),
            Value::of(of.deepest, Value::Number),
            Value::of(p99, Value::Number),
            Value::of(age, |age| Value::Float(human::seconds(age))),
        ]
    });
    let columns = [
        text("class"),
        number("actors", "actors"),
        number("grown", if shows_rates { "/s" } else { "actors" }),
        number("waiting", "msgs"),
        number("deepest", "msgs"),
        number("p99_ns", "nanoseconds"),
        number("oldest_s", "s"),
    ];
    List::new("classes", "CLASS", columns, rows)
}
