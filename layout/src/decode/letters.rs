//! The newest dead letters.

use zerocopy::{FromZeros, IntoBytes};

use super::clock::{Moment, time_text};
use super::names::{Names, Texts};
use super::reader::RegionReader;
use crate::dto::DeadLetterRecord;
use crate::records::{DEAD_LETTER_WORDS, LetterRecord, dead_letter_flags};
use crate::ring::SlotRead;
use crate::seqlock::Patience;

/// The newest dead letters, and the number of those that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// Newest first.
    pub recent: Vec<DeadLetterRecord>,
    /// The time of each of them by the node's clocks.
    pub at: Vec<Option<Moment>>,
    /// All dead letters so far.
    pub total: u64,
    /// Dead letters that newer ones have overwritten.
    pub lapped: u64,
    /// Dead letters of the ring that their writers gave up.
    pub abandoned: u64,
    /// Dead letters of the ring that could not be read: pending or damaged.
    pub unreadable: u64,
}

impl RegionReader<'_> {
    /// The newest dead letters, at most `limit` of them. One scan of the ring; the records beyond the limit are counted but
    /// not copied.
    pub fn dead_letters(&self, limit: usize) -> DeadLetters {
        let ring = self.dead_letter_ring();
        let mut names = Names::default();
        let total = ring.head();
        let kept = total.min(ring.capacity());
        let mut stamps = Vec::new();
        let mut letters = DeadLetters { total, lapped: total - kept, ..DeadLetters::default() };
        let mut words = [0u64; DEAD_LETTER_WORDS];
        let mut patience = Patience::for_a_scan();
        for ticket in (total - kept..total).rev() {
            let is_wanted = letters.recent.len() < limit;
            let out = if is_wanted { words.as_mut_slice() } else { &mut [] };
            match ring.read(ticket, out, &mut patience) {
                Ok(SlotRead::Record) if !is_wanted => {}
                Ok(SlotRead::Record) => match decode_dead_letter(ticket, &words, self, &mut names) {
                    Some((letter, stamp)) => {
                        letters.recent.push(letter);
                        stamps.push(stamp);
                    }
                    None => letters.unreadable += 1,
                },
                Ok(SlotRead::Lapped) => letters.lapped += 1,
                Ok(SlotRead::Abandoned) => letters.abandoned += 1,
                Ok(SlotRead::Pending) | Err(_) => letters.unreadable += 1,
            }
        }
        let clock = self.clock();
        for (letter, stamp) in letters.recent.iter_mut().zip(stamps) {
            letter.timestamp = time_text(clock.as_ref(), stamp);
            letters.at.push(clock.as_ref().and_then(|clock| clock.moment(stamp)));
        }
        letters
    }
}

fn decode_dead_letter(
    ticket: u64,
    words: &[u64; DEAD_LETTER_WORDS],
    reader: &RegionReader<'_>,
    names: &mut Names,
) -> Option<(DeadLetterRecord, u64)> {
    let mut record = LetterRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut texts = Texts(&record.text);
    let recipient = texts.take(record.recipient_bytes)?;
    let sender = texts.take(record.sender_bytes)?;
    let type_text = texts.take(record.type_bytes)?;
    let preview = texts.take(record.preview_bytes)?;
    let message_type = match record.type_id {
        0 => type_text,
        id => names.look_up(reader, id),
    };
    let letter = DeadLetterRecord {
        seq: ticket.wrapping_add(1),
        recipient: recipient.to_owned(),
        sender: (record.flags & dead_letter_flags::SENDER != 0).then(|| sender.to_owned()),
        message_type: message_type.to_owned(),
        message_preview: preview.to_owned(),
        timestamp: String::new(),
    };
    Some((letter, record.stamp))
}
