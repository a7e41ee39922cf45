//! Decoding the records of event lanes.

use super::clock::{Clock, time_text};
use super::names::Names;
use super::own_records::{RecordKind, value};
use super::reader::RegionReader;
use crate::event::{self, EVENT_FIELDS, EVENT_PAYLOAD_BYTES, Values};

/// Decodes the records of events, during one scan of the lanes.
pub struct EventDecoder<'a> {
    reader: RegionReader<'a>,
    names: Names,
    clock: Option<Clock>,
    kinds: Vec<Option<RecordKind>>,
}

impl<'a> RegionReader<'a> {
    /// A decoder for the records of events.
    pub fn event_decoder(&self) -> EventDecoder<'a> {
        EventDecoder { reader: *self, names: Names::default(), clock: self.clock(), kinds: Vec::new() }
    }
}

impl core::fmt::Debug for EventDecoder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("EventDecoder")
    }
}

impl EventDecoder<'_> {
    /// Decodes a record that was copied before; `None` if it holds what no writer stores.
    pub fn decode(&mut self, words: &[u64; event::EVENT_WORDS]) -> Option<event::EventPart> {
        if self.clock.as_ref().is_some_and(|clock| self.reader.has_newer(clock)) {
            self.clock = self.reader.clock().or(self.clock.take());
        }
        event::decode(
            words,
            |id| self.names.look_up(&self.reader, id).to_owned(),
            |stamp| time_text(self.clock.as_ref(), stamp),
            |kind, payload| values(self.reader, &mut self.kinds, kind, payload),
        )
    }
}

/// The values of the record of an event, by its kind. `kinds` are those that are known; a later one is read.
fn values(
    reader: RegionReader<'_>,
    kinds: &mut Vec<Option<RecordKind>>,
    kind: u64,
    payload: &[u8],
) -> Option<(String, Values)> {
    let number = usize::try_from(kind).ok()?;
    // A kind is described before its events. So all are read again only if there are more of them now.
    if number >= kinds.len() && reader.has_kind(kinds.len()) {
        *kinds = reader.record_kinds();
    }
    let kind = kinds.get(number)?.as_ref()?;
    // A larger record is in no event, and a region that says so may not make a reader use much memory.
    let is_small = kind.bytes <= EVENT_PAYLOAD_BYTES && kind.fields.len() <= EVENT_FIELDS;
    let fields = kind.fields.iter().filter(|_| is_small);
    let values = fields.map(|field| (field.name.clone(), value(field, payload)));
    Some((kind.name.clone(), Values(values.collect())))
}
