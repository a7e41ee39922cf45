//! The stops of actors as events, what is counted and published when the table pairs a stop with its spawn, and the depth in an
//! actor's slot.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use atomscope_layout::event::{EVENT_HEAD_WORDS, EventHead, EventKind, event_flags};
use atomscope_layout::limits::ACTOR_PATH_BYTES;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::records::{
    ACTOR_DEPTH_WORD, ACTOR_HEAD_WORDS, ACTOR_STAMP_WORD, ActorRecord, Depth, actor_flags,
};
use atomscope_layout::table::{StopOrigin, Witness};
use atomscope_layout::words::{WORD, store, store_parts};

use crate::text::PathText;
use crate::writer::RegionWriter;

/// The number of the class (lower half) and the flags.
const KIND_WORD: usize = offset_of!(ActorRecord, type_id) / WORD;
/// The lengths of the texts, that of the path in the lowest byte.
const LENGTHS_WORD: usize = offset_of!(ActorRecord, path_bytes) / WORD;

const _: () = {
    assert!(offset_of!(ActorRecord, flags) == KIND_WORD * WORD + 4);
    assert!(offset_of!(ActorRecord, path_bytes) % WORD == 0 && ACTOR_PATH_BYTES < 256);
};

/// Counts and publishes the stops of the pairs that a call removes. They may be of other actors than the call's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs<'a> {
    /// The region with the table.
    pub(crate) writer: &'a RegionWriter,
    /// The region with the lanes of events: another one for a registry on a stand-alone bus.
    pub(crate) bus: &'a RegionWriter,
}

impl Pairs<'_> {
    /// Publishes the stop of the actor in this slot, which the calling thread has in hand. `ticks` as for
    /// [`RegionWriter::stamp_at`].
    #[inline(always)]
    pub(crate) fn publish_stop(&self, slot: &[AtomicU64], ticks: u64) {
        let Some((head, path)) = slot.split_first_chunk::<ACTOR_HEAD_WORDS>() else { return };
        let [stamp, kind, lengths] =
            [ACTOR_STAMP_WORD, KIND_WORD, LENGTHS_WORD].map(|at| head[at].load(Ordering::Relaxed));
        let stamp = self.writer.stamp_at(ticks, stamp);
        let is_cut = kind & u64::from(actor_flags::PATH_CUT) << 32 != 0;
        let flags = if is_cut { event_flags::TEXT_CUT } else { 0 };
        let bytes = (lengths as usize & 0xff).min(ACTOR_PATH_BYTES);
        let (kind, text_bytes) = (EventKind::ActorStopped, [bytes as u16, 0, 0, 0, 0]);
        let head = EventHead { kind, stamp, type_id: 0, flags, text_bytes, numbers: [0; 2] }.words();
        self.bus.publish_with(|event| {
            if let Some((first, text)) = event.split_first_chunk::<EVENT_HEAD_WORDS>() {
                store(first, &head);
                copy_text(text, path, bytes);
            }
        });
    }
}

/// Stores the depth of an actor's mailbox into its slot, which the calling thread has in hand; `None` if it is unknown. The greatest
/// depth is that of the time in which it was known.
pub(crate) fn set_depth(slot: &[AtomicU64], depth: Option<u64>) {
    const FLAG: u64 = (actor_flags::DEPTH as u64) << 32;
    if let (Some(to), Some(kind)) = (slot.get(ACTOR_DEPTH_WORD), slot.get(KIND_WORD)) {
        let held = kind.load(Ordering::Relaxed);
        // Without the flag the word is left over from an earlier actor of the slot.
        let before = if held & FLAG != 0 { Depth::of(to.load(Ordering::Relaxed)) } else { Depth::default() };
        to.store(depth.map_or(0, |depth| before.followed_by(depth).word()), Ordering::Relaxed);
        kind.store(held & !FLAG | if depth.is_some() { FLAG } else { 0 }, Ordering::Relaxed);
    }
}

impl RegionWriter {
    /// Publishes an event that consists of a path and perhaps a number.
    #[inline(always)]
    pub(crate) fn publish_path(&self, kind: EventKind, path: &PathText, number: u64, stamp: u64) {
        let flags = if path.cut { event_flags::TEXT_CUT } else { 0 };
        let text_bytes = [path.bytes as u16, 0, 0, 0, 0];
        let head = EventHead { kind, stamp, type_id: 0, flags, text_bytes, numbers: [number, 0] }.words();
        self.publish_with(|slot| store_parts(slot, &head, path.words()));
    }
}

/// Copies a text of so many bytes, in pairs of words. What follows it in its slot may come along: nobody reads beyond the end
/// of an event's texts.
#[inline(always)]
fn copy_text(to: &[AtomicU64], from: &[AtomicU64], bytes: usize) {
    for (to, from) in to.chunks_exact(2).zip(from.chunks_exact(2)).take(bytes.div_ceil(2 * WORD)) {
        if let ([to, next], [from, after]) = (to, from) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            next.store(after.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl Witness for Pairs<'_> {
    #[cold]
    fn paired(&self, record: Option<&[AtomicU64]>) {
        match record {
            Some(slot) => self.publish_stop(slot, self.writer.ticks()),
            None => {
                self.writer.count_end(Builtin::SpilledStopped, 1);
                self.writer.count(Builtin::StopsUnpublished, 1);
            }
        }
        self.writer.count_end(Builtin::EarlyStopsDone, 1);
    }

    /// The stop of an older actor, which has no event: its spawn had none, and the event would look like the stop of the
    /// actor that took its path.
    #[cold]
    fn superseded(&self, origin: StopOrigin) {
        self.writer.count(Builtin::DoubtfulStops, u64::from(origin == StopOrigin::Older));
        self.writer.count(Builtin::Foreign, 1);
        self.writer.count(Builtin::StopsUnpublished, 1);
        self.writer.count_end(Builtin::EarlyStopsDone, 1);
    }

    /// The actor lives on without slot and entry.
    #[cold]
    fn lost(&self, _: &[AtomicU64]) {
        self.writer.count(Builtin::UntrackedSpawns, 1);
    }
}

#[cfg(test)]
mod tests {
    use atomscope_layout::event::{EVENT_WORDS, EventRecord};
    use atomscope_layout::ring::SlotRead;
    use atomscope_layout::seqlock::Patience;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    use super::*;
    use crate::region::Region;

    /// The one event that `publish` writes.
    fn published(writer: &RegionWriter, publish: impl FnOnce()) -> EventRecord {
        let reader = writer.reader().unwrap();
        let heads =
            || (0..reader.event_lanes()).map(|lane| reader.event_lane(lane).head()).collect::<Vec<_>>();
        let before = heads();
        publish();
        let (lane, _) =
            before.iter().zip(heads()).enumerate().find(|(_, (one, other))| *one != other).unwrap();
        let mut words = [0; EVENT_WORDS];
        let read = reader.event_lane(lane).read(before[lane], &mut words, &mut Patience::for_a_scan());
        assert_eq!(read, Ok(SlotRead::Record));
        zerocopy::transmute!(words)
    }

    #[test]
    fn the_stop_of_a_record_has_its_path_and_says_that_it_was_cut() {
        let region = Region::builder("pairs").actors(1).private().build().unwrap();
        let writer = &region.writer;
        let pairs = Pairs { writer, bus: writer };
        let text: Vec<u8> = (0..).map(|at| b'a' + at % 26).take(192).collect();
        for bytes in [0, 1, 7, 8, 9, 16, ACTOR_PATH_BYTES] {
            for (flags, cut) in [(actor_flags::HOST, 0), (actor_flags::PATH_CUT, event_flags::TEXT_CUT)] {
                let spawned = u64::MAX / 2;
                let mut record = ActorRecord { flags, spawned, ..ActorRecord::new_zeroed() };
                (record.path_bytes, record.host_bytes) = (bytes as u8, 5);
                record.text.copy_from_slice(&text);
                let slot: Vec<AtomicU64> = record
                    .as_bytes()
                    .chunks_exact(WORD)
                    .map(|word| AtomicU64::new(u64::from_le_bytes(word.try_into().unwrap())))
                    .collect();
                let event = published(writer, || pairs.publish_stop(&slot, 0));
                assert_eq!((event.kind, event.flags), (EventKind::ActorStopped as u16, cut));
                assert_eq!(event.text_bytes, [bytes as u16, 0, 0, 0, 0]);
                assert_eq!(event.text[..bytes], text[..bytes], "{bytes} bytes");
                assert!(event.stamp > spawned);
            }
        }
    }
}
