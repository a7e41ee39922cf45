//! Decoding the records of event lanes.

use super::clock::{Clock, time_text};
use super::names::Names;
use super::reader::RegionReader;
use crate::event;

/// Decodes the records of events, during one scan of the lanes.
pub struct EventDecoder<'a> {
    reader: RegionReader<'a>,
    names: Names,
    clock: Option<Clock>,
}

impl<'a> RegionReader<'a> {
    /// A decoder for the records of events.
    pub fn event_decoder(&self) -> EventDecoder<'a> {
        EventDecoder { reader: *self, names: Names::default(), clock: self.clock() }
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
        )
    }
}
