//! The sheet of a view: its columns, and its rows in the requested order and selection. It is made again when one of these
//! changes; drawing reads only the rows that are visible.

mod actors;
mod events;
mod hot;
mod lists;
mod own;
mod records;
mod request;
mod rows;
mod threads;

use atomscope::report::actors::{ActorValue, COLUMNS};
use atomscope::report::human::{bytes, count, duration};
use atomscope::report::letters::Recipients;
use atomscope::report::list::{List, Value, number, text, unit_of_row};
use atomscope::snapshot::Snapshot;
use atomscope::snapshot::caveats::Caveat;
use atomscope_layout::decode::rfc3339;

use self::actors::actors;
use self::events::events;
use self::hot::hot;
use self::lists::{of_lists, since};
use self::own::own;
use self::records::records;
pub use self::request::{Baseline, Mode, OWN_ORDER, SheetRequest, Sort, Source};
pub use self::rows::{Fold, RowKey, Rows, Sheet};
use self::rows::{actor, event_row};
use self::threads::threads;
use crate::program::top::view::View;

/// Makes a sheet.
pub fn sheet(request: &SheetRequest<'_>, source: Source<'_>) -> Sheet {
    match (request.view, source.tick) {
        (View::Nodes, _) => of_lists(request, vec![nodes(source)], Vec::new(), {
            "No node on this machine is visible to you. Is one running, with the probe, as this user? `atomscope doctor` \
             explains. New nodes appear in this list."
        }),
        (_, None) => {
            Sheet { nothing: "Waiting for the first snapshot of the node.".to_owned(), ..Sheet::default() }
        }
        (View::Overview, Some(_)) => Sheet::default(),
        (View::Actors, Some(tick)) => actors(request, tick),
        (View::DeadLetters, Some(tick)) => {
            let letters = &tick.snapshot.dead_letters;
            let rate = tick.point.rates().map(|rates| format!(", {:.1}/s", rates.dead_letters));
            let rate = rate.unwrap_or_default();
            let line = format!(
                "{} so far{rate}; the newest {} of {} kept ones are listed, {} are unreadable",
                count(letters.total, "dead letter", "dead letters"),
                letters.recent.len(),
                tick.usage.dead_letters.used,
                letters.abandoned.saturating_add(letters.unreadable)
            );
            let nothing = match letters.total {
                0 => "No message was undeliverable.",
                _ => "All dead letters that the region holds are unreadable.",
            };
            let recipients = tick
                .listed
                .as_ref()
                .map_or_else(Recipients::default, |listed| Recipients::live(listed.tree.actors(), letters));
            let storms = recipients.storms(letters, tick.snapshot.until);
            of_lists(request, vec![dead_letters(&tick.snapshot), storms], vec![line], nothing)
        }
        (View::Events, Some(_)) => events(request, source),
        (View::Hot, Some(tick)) => hot(request, tick),
        (View::Records, Some(tick)) => records(request, tick),
        (View::Threads, Some(tick)) => threads(request, tick),
        (View::Own, Some(tick)) => {
            let region = format!(
                "The region is {} ({}), layout {}.{}, written by {}.",
                tick.path.display(),
                bytes(tick.bytes),
                tick.snapshot.layout_version.0,
                tick.snapshot.layout_version.1,
                tick.snapshot.identity.writer
            );
            let (snapshots, span, held) = request.past.unwrap_or_default();
            let past = format!(
                "The past is kept in memory: {} of {}, {}.",
                count(snapshots as u64, "snapshot", "snapshots"),
                duration(span),
                bytes(held as u64)
            );
            let lines =
                [region, past].into_iter().chain(tick.caveats.iter().map(Caveat::to_string)).collect();
            of_lists(request, own(tick), lines, "")
        }
        (View::Subsystem(subsystem), Some(tick)) => {
            let mut lists = subsystem.lists(Some(&tick.snapshot));
            let shown = if request.shows_rates && !tick.is_last() {
                tick.before.as_ref().map(|(before, seconds)| (before, Some(*seconds)))
            } else {
                request.baseline.map(|baseline| (&baseline.snapshot, None))
            };
            let then = shown.map_or(Vec::new(), |(then, _)| subsystem.lists(Some(then)));
            for (at, list) in lists.iter_mut().enumerate() {
                let seconds = shown.and_then(|(_, seconds)| seconds);
                since(list, then.get(at), seconds, request.shows_rates && !tick.is_last());
            }
            let mut lines = Vec::new();
            let is_in_use = request.view.is_in_use(tick);
            if is_in_use && !subsystem.is_one_list {
                lines.push(subsystem.summary(&tick.snapshot).line);
            }
            lines.extend(subsystem.gaps(&tick.snapshot));
            let node = &tick.snapshot.identity.node;
            // Of a subsystem that is in use, an empty list means that there is none.
            let nothing = match lists.get(request.list.min(lists.len().saturating_sub(1))) {
                Some(list) if is_in_use => format!("{}: none.", list.name.replace('_', " ")),
                _ => format!("Node {node} reports nothing about {}.", subsystem.content),
            };
            of_lists(request, lists, lines, &nothing)
        }
    }
}

fn dead_letters(snapshot: &Snapshot) -> List {
    let rows = snapshot.dead_letters.recent.iter().map(|letter| {
        vec![
            Value::Number(letter.seq),
            Value::text(letter.timestamp.get(11..23).unwrap_or(&letter.timestamp)),
            Value::text(&letter.message_type),
            Value::text(&letter.recipient),
            Value::of(letter.sender.as_deref(), Value::text),
            Value::text(&letter.message_preview),
        ]
    });
    let columns = [
        number("number", ""),
        text("time"),
        text("message"),
        text("recipient"),
        text("sender"),
        text("preview"),
    ];
    List::new("dead_letters", "NUMBER", columns, rows)
}

/// The list of the nodes of this machine.
fn nodes(source: Source<'_>) -> List {
    let watched = source.watched_row();
    let rows = source.nodes.iter().map(|row| {
        let is_watched = watched.is_some_and(|watched| std::ptr::eq(watched, row));
        let notes = is_watched.then_some("on this screen").into_iter().chain(row.why.as_deref());
        let note = notes.collect::<Vec<_>>().join("; ");
        vec![
            Value::of(row.node.as_deref(), Value::text),
            Value::of(row.pid, Value::Number),
            Value::of(row.system.as_deref(), Value::text),
            Value::text(row.state),
            Value::of(row.actors, Value::Number),
            Value::of(row.beat_age_s, Value::Float),
            Value::of(row.age_s, Value::Float),
            Value::text(&row.shown_path),
            Value::Text(note),
        ]
    });
    let columns = [
        text("node"),
        number("pid", ""),
        text("system"),
        text("state"),
        number("actors", "actors"),
        number("beat_s", "s"),
        number("age_s", "s"),
        text("file"),
        text("note"),
    ];
    List::new("nodes", "NODE", columns, rows)
}

/// Titles and texts for the pane that shows one row.
pub fn detail(sheet: &Sheet, at: usize, source: Source<'_>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut pair = |title: &str, text: String| pairs.push((title.to_owned(), text));
    match &sheet.rows {
        Rows::Actors(rows) => {
            let Some(row) = rows.get(at).zip(source.tick).and_then(|(b, tick)| actor(tick, b.number)) else {
                return pairs;
            };
            for column in COLUMNS {
                let Some(title) = column.detail else { continue };
                let value = match column.value(&row) {
                    ActorValue::Unknown if column.column.name == "depth" => {
                        "- (atomr does not report it; the application may)".into()
                    }
                    value => value.shown(),
                };
                pair(title, value.into_owned());
            }
            let path = row.actor.path();
            let is_it = |word: &str| word.trim_end_matches(':') == path;
            let about = source.events.iter().rev().filter(|(_, event)| source.has_happened(event));
            let about = about.filter(|(_, event)| event.text.split(' ').any(is_it));
            for (at, (_, event)) in about.take(10).enumerate() {
                let [time, ..] =
                    event_row(event).try_into().unwrap_or([Value::Unknown, Value::Unknown, Value::Unknown]);
                pair(
                    if at == 0 { "newest events" } else { "" },
                    format!("{} {} {}", time.shown(""), event.word, event.text),
                );
            }
        }
        Rows::Events(rows) => {
            let Some(event) = rows.get(at).and_then(|number| source.events.get(*number)) else {
                return pairs;
            };
            pair("at", event.at.map_or("-".to_owned(), |at| rfc3339(at.unix_ns)));
            pair("event", event.word.to_string());
            pair("topic", event.topic.to_string());
            pair("what", event.text.clone());
        }
        Rows::List(rows) => {
            let Some(row) = rows.get(at) else { return pairs };
            let unit = unit_of_row(&sheet.columns, row);
            for (at, (column, value)) in sheet.columns.iter().zip(row).enumerate() {
                let title = if at == 0 { sheet.heading.to_owned() } else { column.title() };
                pair(&title.to_lowercase(), column.shown(value, unit).into_owned());
            }
        }
    }
    pairs
}
