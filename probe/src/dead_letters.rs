//! Dead letters: messages that no actor received.
//!
//! atomr reports a message that is sent to a stopped actor. It does not report messages that wait in a mailbox when their
//! actor stops.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::dead_letters::DeadLetterFeed;
//!
//! let letters = DeadLetterFeed::new(TelemetryBus::new(64), 100);
//! letters.record("akka://shop/user/cart".into(), None, "shop::AddItem".into(), String::new());
//! assert_eq!((letters.total_count(), letters.buffered()), (1, 1));
//! ```

#[cfg(feature = "atomr")]
use atomr_core::actor::{ActorPath, DeadLetterObserver};
use atomscope_layout::Capacities;
use std::sync::Arc;

#[cfg(feature = "atomr")]
use atomscope_layout::event::EventHead;
use atomscope_layout::event::{EventKind, EventRecord, event_flags};
use atomscope_layout::limits::{DEAD_LETTER_PATH_BYTES, DEAD_LETTER_TEXT_BYTES, MAX_DEAD_LETTERS};
use atomscope_layout::metrics::Builtin;
#[cfg(feature = "atomr")]
use atomscope_layout::records::DeadLetterHead;
use atomscope_layout::records::{
    DEAD_LETTER_HEAD_WORDS, DEAD_LETTER_WORDS, LetterRecord as Record, dead_letter_flags,
};
use atomscope_layout::ring::Written;
#[cfg(feature = "atomr")]
use atomscope_layout::words::store_parts;
use zerocopy::FromZeros;

use crate::bus::TelemetryBus;
use crate::dto::DeadLetterRecord;
use crate::region::Region;
#[cfg(feature = "atomr")]
use crate::text::PathText;
use crate::text::{Pieces, Texts};
#[cfg(feature = "atomr")]
use crate::type_names::TypeName;

/// The newest dead letters, and the number of all of them.
#[derive(Debug)]
pub struct DeadLetterFeed {
    region: Region,
    bus: TelemetryBus,
}

impl DeadLetterFeed {
    /// A stand-alone feed in private memory that keeps exactly the newest `capacity` letters (at least 1); the one of a node
    /// is [`crate::TelemetryExtension::dead_letters`]. Allocates.
    pub fn new(bus: TelemetryBus, capacity: usize) -> Self {
        let dead_letters = capacity.clamp(1, MAX_DEAD_LETTERS);
        let capacities = Capacities { lanes: 16, dead_letters, names: 256, ..Capacities::LEAST };
        Self { region: Region::bare(capacities), bus }
    }

    /// The feed of a region, for another runtime than atomr's; that of an atomr node is
    /// [`crate::TelemetryExtension::dead_letters`]. No cost.
    pub fn of(region: Region, bus: TelemetryBus) -> Self {
        Self { region, bus }
    }

    /// Records a dead letter. No lock, no allocation of its own, no system call. Texts that are too long are cut visibly and
    /// counted.
    pub fn record(&self, recipient: String, sender: Option<String>, message_type: String, preview: String) {
        let writer = &self.region.writer;
        let type_id = writer.intern(&message_type);
        let preview = if writer.previews { preview.as_str() } else { "" };
        self.write(recipient.as_str(), sender.as_deref(), type_id, &message_type, preview);
    }

    #[cold]
    fn write<P: Pieces + ?Sized>(
        &self,
        recipient: &P,
        sender: Option<&P>,
        type_id: u32,
        name: &str,
        preview: &str,
    ) {
        let writer = &self.region.writer;
        let mut record = Record::new_zeroed();
        let mut texts = Texts::new(&mut record.text);
        record.recipient_bytes = texts.put_path(recipient, DEAD_LETTER_PATH_BYTES, writer.hasher);
        if let Some(sender) = sender {
            record.flags |= dead_letter_flags::SENDER;
            record.sender_bytes = texts.put_path(sender, DEAD_LETTER_PATH_BYTES, writer.hasher);
        }
        record.type_id = type_id;
        if type_id == 0 {
            record.type_bytes = texts.put(name, DEAD_LETTER_TEXT_BYTES);
        }
        record.preview_bytes = texts.put(preview, DEAD_LETTER_TEXT_BYTES);
        let (cut, used) = (texts.cut, texts.used());
        if cut {
            record.flags |= dead_letter_flags::TEXT_CUT;
            writer.count(Builtin::TextsCut, 1);
        }
        let ring = writer.dead_letters();
        let ticket = ring.ticket();
        record.stamp = writer.stamp(0);
        let words: &[u64; DEAD_LETTER_WORDS] = zerocopy::transmute_ref!(&record);
        let used_bytes = used;
        let used = DEAD_LETTER_HEAD_WORDS + used.div_ceil(8);
        if ring.write(ticket, words.get(..used).unwrap_or(words)) == Written::Abandoned {
            writer.count(Builtin::DeadLettersAbandoned, 1);
        }
        self.publish(ticket, &record, used_bytes, name);
    }

    /// Publishes the letter as an event with the record's texts, in the same order. If they are too long for an event, the
    /// last one, the preview, is cut first.
    fn publish(&self, ticket: u64, record: &Record, used: usize, name: &str) {
        let bus = self.bus.writer();
        let mut event = EventRecord {
            stamp: record.stamp,
            type_id: record.type_id,
            flags: record.flags & dead_letter_flags::SENDER,
            numbers: [ticket.wrapping_add(1), 0],
            ..EventRecord::new(EventKind::DeadLetter)
        };
        if record.type_id != 0 && !Arc::ptr_eq(&self.region.writer, bus) {
            event.type_id = bus.intern(name);
        }
        let event_type = (event.type_id, record.type_id != 0);
        let previews = if bus.previews { record.preview_bytes } else { 0 };
        let used = used - usize::from(record.preview_bytes - previews);
        let texts = [record.recipient_bytes, record.sender_bytes, record.type_bytes, 0, previews];
        if let (Some(to), Some(from)) = (event.text.get_mut(..used), record.text.get(..used)) {
            to.copy_from_slice(from);
            event.text_bytes = texts;
        } else {
            let mut rest = record.text.as_slice();
            let mut copy = Texts::new(&mut event.text);
            for (to, bytes) in event.text_bytes.iter_mut().zip(texts) {
                let (text, after) = rest.split_at_checked(bytes.into()).unwrap_or_default();
                rest = after;
                *to = copy.put(core::str::from_utf8(text).unwrap_or_default(), DEAD_LETTER_TEXT_BYTES);
            }
            event.flags |= event_flags::TEXT_CUT;
        }
        match event_type {
            // A stand-alone bus whose names are full.
            (0, true) => bus.publish(&event.with_type_text(name)),
            _ => bus.publish(&event),
        }
    }

    /// The newest `limit` dead letters that are kept, newest first. Allocates.
    pub fn recent(&self, limit: usize) -> Vec<DeadLetterRecord> {
        self.region.writer.reader().map(|reader| reader.dead_letters(limit).recent).unwrap_or_default()
    }

    /// The number of all dead letters so far. Not for hot paths.
    pub fn total_count(&self) -> u64 {
        self.region.writer.reader().map(|reader| reader.dead_letter_total()).unwrap_or_default()
    }

    /// The number of dead letters that are kept now. Not for hot paths.
    pub fn buffered(&self) -> usize {
        usize::try_from(self.total_count())
            .unwrap_or(usize::MAX)
            .min(self.region.writer.dead_letter_capacity())
    }
}

/// Hot: it runs on the sender's thread.
#[cfg(feature = "atomr")]
impl DeadLetterObserver for DeadLetterFeed {
    fn on_dead_letter(&self, recipient: &ActorPath, sender: Option<&ActorPath>, message_type: &'static str) {
        let writer = &*self.region.writer;
        let ticks = writer.ticks();
        let type_id = writer.intern_static(message_type);
        let mut text = PathText::new();
        writer.hasher.text(recipient, &mut text);
        // atomr never knows the sender.
        let is_usual =
            sender.is_none() && type_id != 0 && !text.cut && core::ptr::eq(writer, &**self.bus.writer());
        if !is_usual {
            return self.write(recipient, sender, type_id, TypeName::of(message_type).as_str(), "");
        }
        let ring = writer.dead_letters();
        let ticket = ring.ticket();
        let (stamp, recipient_bytes) = (writer.stamp_at(ticks, 0), text.bytes as u16);
        let head = DeadLetterHead { stamp, type_id, recipient_bytes }.words();
        if ring.write_with(ticket, |slot| store_parts(slot, &head, text.words())) == Written::Abandoned {
            writer.count(Builtin::DeadLettersAbandoned, 1);
        }
        let (kind, numbers) = (EventKind::DeadLetter, [ticket.wrapping_add(1), 0]);
        let text_bytes = [recipient_bytes, 0, 0, 0, 0];
        let event = EventHead { kind, stamp, type_id, flags: 0, text_bytes, numbers }.words();
        writer.publish_with(|slot| store_parts(slot, &event, text.words()));
    }
}
