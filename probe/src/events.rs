//! Events of an application's own: a text, or the values of a record, under a topic that the application names.

use std::marker::PhantomData;

pub use atomscope_layout::event::Level;
use atomscope_layout::event::{
    EVENT_FIELDS, EVENT_HEAD_WORDS, EVENT_PAYLOAD_BYTES, EventHead, EventKind, EventRecord, TOPIC_BYTES,
    TelemetryEvent,
};
use atomscope_layout::limits::ACTOR_TEXT_BYTES;
use atomscope_layout::packing::pack;
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::words::{store, store_text};

use crate::records::{Record, RecordError};
use crate::region::Region;

/// Publishes events of one topic. It keeps the region open. Cloning costs two reference counts.
///
/// `atomscope tail --topic orders` shows them, and each subscriber of the bus receives them. How many are kept says
/// [`events`](crate::RegionBuilder::events) of the builder.
///
/// ```
/// use atomscope_probe::{Level, Region};
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let orders = region.events("orders")?;
/// orders.publish(Level::Info, "order 7 was placed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Events {
    topic: Topic,
}

/// Publishes events of one topic whose values are those of a record. It keeps the region open. Cloning costs two reference
/// counts.
///
/// ```
/// use atomscope_probe::{Level, Region};
///
/// atomscope_probe::record! {
///     /// An order was placed.
///     struct Placed { order: u64, price: f64 "USD" }
/// }
///
/// let region = Region::builder("docs").actors(100).private().build()?;
/// let orders = region.events_of::<Placed>("orders")?;
/// orders.publish(Level::Info, &Placed { order: 7, price: 1.25 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A record that is too large for an event does not compile:
///
/// ```compile_fail
/// atomscope_probe::record! {
///     struct Large { bytes: [u64; 20] }
/// }
/// # let region = atomscope_probe::Region::builder("docs").actors(100).private().build()?;
/// region.events_of::<Large>("large")?.publish(atomscope_probe::Level::Info, &Large { bytes: [0; 20] });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RecordEvents<R> {
    topic: Topic,
    /// 1 + the number of the kind.
    kind: u64,
    record: PhantomData<fn(&R)>,
}

impl<R> Clone for RecordEvents<R> {
    fn clone(&self) -> Self {
        Self { topic: self.topic.clone(), kind: self.kind, record: PhantomData }
    }
}

/// Why events of a topic cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The topic is empty, too long, or has control characters.
    #[error("{topic:?} is no topic: a topic has 1 to {TOPIC_BYTES} bytes and no control characters")]
    Topic {
        /// The topic.
        topic: String,
    },
    /// The topic is one of the probe's own, or `own`.
    #[error("the topic {topic} is the probe's own; choose another name")]
    BuiltIn {
        /// The topic.
        topic: String,
    },
    /// The kind of the record could not be registered.
    #[error(transparent)]
    Kind(#[from] RecordError),
}

#[derive(Debug, Clone)]
struct Topic {
    region: Region,
    /// The number of its name; 0 if the names are full. Then each event has the name.
    name: u32,
    /// Empty if its name has a number.
    text: Box<str>,
}

impl Events {
    /// Publishes an event. No lock, no allocation, no system call; it waits for no thread and wakes none. A text longer than a
    /// record holds (192 bytes) is cut visibly and counted.
    #[inline]
    pub fn publish(&self, level: Level, text: &str) {
        let Topic { region, name, .. } = &self.topic;
        let stamp = region.writer.stamp(0);
        if *name == 0 || text.len() > ACTOR_TEXT_BYTES {
            return self.topic.publish_text(stamp, level, text);
        }
        let text_bytes = [0, text.len() as u16, 0, 0, 0];
        let head = EventHead { text_bytes, ..self.topic.head(stamp, level, 0) };
        region.writer.publish_with(|slot| {
            if let Some((to, text_words)) = slot.split_first_chunk::<EVENT_HEAD_WORDS>() {
                store(to, &head.words());
                store_text(text_words, text);
            }
        });
    }
}

impl<R: Record> RecordEvents<R> {
    /// Publishes an event with the values of `record`. The cost is that of [`Events::publish`].
    #[inline]
    pub fn publish(&self, level: Level, record: &R) {
        const {
            assert!(
                R::KIND.bytes <= EVENT_PAYLOAD_BYTES && R::KIND.fields.len() <= EVENT_FIELDS,
                "the record of an event has at most 152 bytes and 32 fields"
            );
        }
        let writer = &self.topic.region.writer;
        let stamp = writer.stamp(0);
        let bytes = R::KIND.bytes as u16;
        if self.topic.name == 0 {
            let payload = [const { AtomicU64::new(0) }; EVENT_PAYLOAD_BYTES / 8];
            pack(&payload, |payload| record.pack(payload));
            let payload = payload.map(AtomicU64::into_inner);
            return self.topic.publish_bytes(stamp, level, self.kind, &payload, bytes);
        }
        let text_bytes = [0, 0, bytes, 0, 0];
        let head = EventHead { text_bytes, ..self.topic.head(stamp, level, self.kind) };
        writer.publish_with(|slot: &[AtomicU64]| {
            if let Some((to, text_words)) = slot.split_first_chunk::<EVENT_HEAD_WORDS>() {
                store(to, &head.words());
                pack(text_words, |payload| record.pack(payload));
            }
        });
    }
}

impl Topic {
    fn of(region: &Region, topic: &str) -> Result<Self, EventsError> {
        let is_topic = (1..=TOPIC_BYTES).contains(&topic.len()) && !topic.contains(char::is_control);
        if !is_topic {
            return Err(EventsError::Topic { topic: topic.to_owned() });
        }
        // The word for the topics of all own events is none of them.
        if TelemetryEvent::ALL_TOPICS.contains(&topic) || topic == EventKind::Own.topic() {
            return Err(EventsError::BuiltIn { topic: topic.to_owned() });
        }
        let name = region.writer.intern(topic);
        let text = if name == 0 { topic.into() } else { Box::default() };
        Ok(Self { region: region.clone(), name, text })
    }

    #[inline]
    fn head(&self, stamp: u64, level: Level, kind: u64) -> EventHead {
        let numbers = [level as u64, kind];
        EventHead { kind: EventKind::Own, stamp, type_id: self.name, flags: 0, text_bytes: [0; 5], numbers }
    }

    /// An event whose text may be too long, or that holds its topic.
    #[cold]
    fn publish_text(&self, stamp: u64, level: Level, text: &str) {
        let numbers = [level as u64, 0];
        let (record, cut) = EventRecord::with_texts(EventKind::Own, stamp, numbers, &[&self.text, text]);
        self.region.writer.publish(&EventRecord { type_id: self.name, ..record });
        if cut {
            self.region.writer.count_cut_text();
        }
    }

    /// An event that holds its topic and a record.
    #[cold]
    fn publish_bytes(&self, stamp: u64, level: Level, kind: u64, payload: &[u64], bytes: u16) {
        let numbers = [level as u64, kind];
        let (mut record, _) = EventRecord::with_texts(EventKind::Own, stamp, numbers, &[&self.text]);
        let [topic, ..] = record.text_bytes.map(usize::from);
        let to = record.text.get_mut(topic..).unwrap_or_default();
        let payload: &[u8] = bytemuck::cast_slice(payload);
        to.iter_mut().zip(payload.iter().take(bytes.into())).for_each(|(to, from)| *to = *from);
        record.text_bytes = [topic as u16, 0, bytes, 0, 0];
        self.region.writer.publish(&record);
    }
}

impl Region {
    /// Events of a topic that the application names. Takes a number among the region's names; not for hot paths.
    ///
    /// # Errors
    /// [`EventsError`] if the topic is not valid, or is one of the probe's own.
    pub fn events(&self, topic: &str) -> Result<Events, EventsError> {
        Ok(Events { topic: Topic::of(self, topic)? })
    }

    /// Events of a topic with the values of a record that [`record!`](crate::record!) declares. Takes a lock and allocates; not
    /// for hot paths.
    ///
    /// # Errors
    /// [`EventsError`] as [`Self::events`], or if the kind of the record cannot be registered.
    pub fn events_of<R: Record>(&self, topic: &str) -> Result<RecordEvents<R>, EventsError> {
        let topic = Topic::of(self, topic)?;
        let kind = self.kind_number(&R::KIND)? as u64 + 1;
        Ok(RecordEvents { topic, kind, record: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use atomscope_layout::decode::FieldValue;
    use atomscope_layout::event::{OwnEvent, Values};
    use atomscope_layout::follow::Follower;

    use super::*;
    use crate::Capacities;

    crate::record! {
        struct Placed { order: u64, price: f64 "USD", side: Text<3>, legs: [i16; 2] }
    }

    fn own(region: &Region) -> Vec<OwnEvent> {
        let reader = region.writer.reader().unwrap();
        let events = Follower::from_oldest(&reader).last_batch(&reader).events;
        let own = events.into_iter().filter_map(|event| match event.event {
            TelemetryEvent::Own(own) => Some(own),
            _ => None,
        });
        own.collect()
    }

    fn publish_both(region: &Region, topic: &str) {
        region.events(topic).unwrap().publish(Level::Warn, "late");
        let orders = region.events_of::<Placed>(topic).unwrap();
        orders.publish(Level::Info, &Placed { order: 7, price: 1.25, side: "ask".into(), legs: [-1, 2] });
    }

    fn expected(topic: &str) -> [OwnEvent; 2] {
        let text = OwnEvent {
            topic: topic.into(),
            level: Level::Warn,
            text: "late".into(),
            record: None,
            values: Values::default(),
        };
        let legs = FieldValue::List([FieldValue::Signed(-1), FieldValue::Signed(2)].into());
        let values = [
            ("order", FieldValue::Unsigned(7)),
            ("price", FieldValue::Float(1.25)),
            ("side", FieldValue::Text("ask".into())),
            ("legs", legs),
        ];
        let values = Values(values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let record = Some("Placed".to_owned());
        [text, OwnEvent { topic: topic.into(), level: Level::Info, text: String::new(), record, values }]
    }

    #[test]
    fn a_text_and_a_record_read_back_with_topic_and_level() {
        let region = Region::builder("events").private().build().unwrap();
        publish_both(&region, "orders");
        assert_eq!(own(&region), expected("orders"));
    }

    #[test]
    fn without_room_for_a_name_each_event_has_its_topic() {
        let region = Region::bare(Capacities {
            lanes: 16,
            events: 64,
            names: 1,
            kinds: 1,
            fields: 4,
            ..Capacities::LEAST
        });
        let topic = "t".repeat(TOPIC_BYTES);
        assert_ne!(region.events("the only name").unwrap().topic.name, 0);
        assert_eq!(region.events(&topic).unwrap().topic.name, 0);
        publish_both(&region, &topic);
        assert_eq!(own(&region), expected(&topic));
    }

    #[test]
    fn a_long_text_is_cut_visibly_and_counted() {
        let region = Region::builder("events").private().build().unwrap();
        region.events("orders").unwrap().publish(Level::Error, &"x".repeat(ACTOR_TEXT_BYTES + 1));
        let [event] = own(&region).try_into().unwrap();
        assert!(event.text.ends_with("x…") && event.text.len() == ACTOR_TEXT_BYTES, "{event:?}");
        let cut = region.writer.reader().unwrap().builtin(atomscope_layout::metrics::Builtin::TextsCut);
        assert_eq!(cut, 1);
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        let region = Region::builder("events").private().build().unwrap();
        for topic in ["", "a\nb", &"x".repeat(TOPIC_BYTES + 1)] {
            assert!(matches!(region.events(topic), Err(EventsError::Topic { .. })), "{topic}");
        }
        assert!(
            matches!(region.events("own"), Err(EventsError::BuiltIn { .. })),
            "readers call all of them that"
        );
        let error = region.events_of::<Placed>("actors").unwrap_err();
        assert_eq!(error.to_string(), "the topic actors is the probe's own; choose another name");
    }
}
