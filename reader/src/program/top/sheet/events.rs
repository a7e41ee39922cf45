//! The sheet of events.

use atomscope::query::{Field, FieldType, FieldValue, Row};
use atomscope::report::human::count;
use atomscope::report::list::text;
use atomscope_layout::decode::rfc3339;

use crate::program::top::sheet::lists::{hidden, parse};
use crate::program::top::sheet::request::{SheetRequest, Source};
use crate::program::top::sheet::rows::{Rows, Sheet};
use crate::program::top::tick::EventRow;

/// An event as a row for queries.
struct QueriedEvent<'a>(&'a EventRow);

impl Row for QueriedEvent<'_> {
    fn field_value(&self, field: usize) -> FieldValue<'_> {
        FieldValue::Text(match field {
            0 => (*self.0.word).into(),
            1 => (*self.0.topic).into(),
            _ => self.0.text.as_str().into(),
        })
    }

    fn any_text(&self, is_wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        is_wanted(&self.0.word) || is_wanted(&self.0.text)
    }
}

/// The events that had happened at the shown time, of the wanted topic and filter.
pub fn events(request: &SheetRequest<'_>, source: Source<'_>) -> Sheet {
    let fields = ["event", "topic", "what"].map(|name| Field::new(name, FieldType::Text));
    let (query, error) = parse(request.filter, &fields);
    let all = source.events.iter().filter(|(_, event)| source.has_happened(event));
    let (mut found, mut rows) = (0, Vec::new());
    for (number, event) in all {
        found += 1;
        // Events that were overwritten may have been of any topic.
        let is_of_topic = request.topic.is_none_or(|topic| *event.topic == *topic || event.lost > 0);
        if is_of_topic && (query.is_anything() || query.matches(&QueriedEvent(event))) {
            rows.push(number);
        }
    }
    let topic = request.topic.unwrap_or("all topics");
    let lost = count(source.events.lost, "event was", "events were");
    let line = format!("{topic}; {lost} overwritten before this screen read them");
    let cut = source.events.cut_at().and_then(|event| event.at).map(|at| rfc3339(at.unix_ns));
    let cut = cut.as_deref().and_then(|time| time.get(11..19));
    let cut = cut.map(|time| format!("; events before {time}Z are not kept")).unwrap_or_default();
    let line = line + &cut;
    let nothing = match (found, request.topic, request.filter) {
        (0, ..) if source.events.is_cut() => "Events of that time are not kept any more.".to_owned(),
        (0, ..) => "Nothing has happened yet.".to_owned(),
        (_, Some(topic), "") => {
            format!("None of {found} events has the topic {topic}; o selects the next topic.")
        }
        _ => hidden(found, request, &[]),
    };
    Sheet {
        lines: vec![line],
        lists: Vec::new(),
        list: 0,
        name: "events",
        columns: vec![text("time"), text("event"), text("what")],
        heading: "TIME(UTC)",
        sort: None,
        own_order: None,
        rows: Rows::Events(rows),
        found,
        error,
        nothing,
    }
}
