//! The sheet of the application's own records: a list of their kinds, and a list for each kind.

use atomscope::report::human::count;
use atomscope::report::records::{
    HOW_TO_PUBLISH, add_rates, counts, kinds, kinds_before, of_kind, of_kind_before,
};
use atomscope::text::clean;

use crate::program::top::sheet::lists::{of_lists, since};
use crate::program::top::sheet::request::SheetRequest;
use crate::program::top::sheet::rows::Sheet;
use crate::program::top::tick::Tick;

/// The visible list, with the rates at which records are published, and those of fields that only grow. Only that list is made:
/// a region may have thousands of kinds.
pub fn records(request: &SheetRequest<'_>, tick: &Tick) -> Sheet {
    let (snapshot, until) = (&tick.snapshot, tick.snapshot.until);
    let records = &snapshot.own_records;
    let shown = request.list.min(records.kinds.len());
    // The first list is that of the kinds.
    let kind = shown.checked_sub(1);
    let is_rate = request.shows_rates && !tick.is_last();
    let then = if is_rate {
        tick.before.as_ref().map(|(before, seconds)| (before, Some(*seconds)))
    } else {
        request.baseline.map(|baseline| (&baseline.snapshot, None))
    };
    let mut list = kind.map_or_else(|| kinds(records, until), |at| of_kind(records, at, until));
    let list_then = then.map(|(then, _)| {
        let before = &then.own_records;
        kind.map_or_else(|| kinds_before(records, before), |at| of_kind_before(records, at, before))
    });
    since(&mut list, list_then.as_ref(), then.and_then(|(_, seconds)| seconds), is_rate);
    if let (Some(at), Some((before, Some(seconds)))) = (kind, then) {
        add_rates(&mut list, at, records, (&before.own_records, seconds), &tick.growth);
    }
    let help = kind.and_then(|at| records.kinds.get(at)).map(|kind| kind.help.clone());
    let unreadable = (records.unreadable > 0).then(|| {
        format!("{} cannot be read", count(records.unreadable, "record or kind", "records or kinds"))
    });
    let lines = help.filter(|help| !help.is_empty()).into_iter().chain(unreadable).collect();
    let node = &snapshot.identity.node;
    let nothing = match kind {
        None => format!("Node {node} publishes no records of its own: {HOW_TO_PUBLISH}."),
        Some(_) => "There is no record of this kind now.".to_owned(),
    };
    let of_kinds = counts(records).into_iter().map(|(name, count)| (clean(name).into_owned().into(), count));
    let lists = [("kinds".into(), records.kinds.len())].into_iter().chain(of_kinds).collect();
    let request = SheetRequest { list: 0, ..*request };
    Sheet { lists, list: shown, ..of_lists(&request, vec![list], lines, &nothing) }
}
