//! The sheet of the threads of a node's process.

use atomscope::report::list::{List, Value, number, text};
use atomscope::snapshot::Snapshot;

use crate::program::threads::why_no_process;
use crate::program::top::sheet::lists::of_lists;
use crate::program::top::sheet::request::SheetRequest;
use crate::program::top::sheet::rows::Sheet;
use crate::program::top::tick::{ThreadListing, Tick};

/// The threads, or why there are none. In a tick that follows no other one their rates are unknown.
pub fn threads(request: &SheetRequest<'_>, tick: &Tick) -> Sheet {
    let (listing, nothing) = match &tick.threads {
        Some(Ok(listing)) => (Some(listing), String::new()),
        Some(Err(why)) => (None, why.clone()),
        None if tick.is_last() => {
            let Snapshot { identity, liveness, dump_info, .. } = &*tick.snapshot;
            (None, why_no_process(identity, liveness, dump_info.is_some(), false))
        }
        None => {
            let why = "In this snapshot threads were not read: that is done only while this view is shown. The next \
                       snapshot has them.";
            (None, why.to_owned())
        }
    };
    let lines = listing.map_or(Vec::new(), |listing| listing.notes.clone());
    of_lists(request, vec![list(listing)], lines, &nothing)
}

fn list(listing: Option<&ThreadListing>) -> List {
    let rows = listing.into_iter().flat_map(|listing| &listing.rows).map(|thread| {
        vec![
            Value::text(&thread.name),
            Value::Number(thread.tid.into()),
            Value::of(thread.role, Value::text),
            Value::text(thread.state),
            Value::of(thread.cpu_percent, Value::Float),
            Value::of(thread.parked_s, Value::Float),
            Value::of(thread.awake_s, Value::Float),
            Value::of(thread.wait_channel.as_deref(), Value::text),
            Value::of(thread.queued_percent, Value::Float),
            Value::of(thread.voluntary_switches_per_s, Value::Float),
            Value::of(thread.involuntary_switches_per_s, Value::Float),
            Value::of(thread.processor, Value::Number),
        ]
    });
    let columns = [
        text("name"),
        number("tid", ""),
        text("role"),
        text("state"),
        number("cpu", "%"),
        number("parked", "s"),
        number("awake", "s"),
        text("waits_in"),
        number("queued", "%"),
        number("voluntary", "/s"),
        number("forced", "/s"),
        number("processor", ""),
    ];
    List::new("threads", "THREAD", columns, rows)
}
