//! The stop event of an actor, made from its record.

use atomscope_layout::event::{EventKind, EventRecord, event_flags};
use atomscope_layout::limits::ACTOR_PATH_BYTES;
use atomscope_layout::records::{ActorRecord, actor_flags};

/// The stop event of the actor with this record.
pub(crate) fn stop_event(record: &ActorRecord, stamp: u64) -> EventRecord {
    let mut event = EventRecord { stamp, ..EventRecord::new(EventKind::ActorStopped) };
    let bytes = usize::from(record.path_bytes).min(ACTOR_PATH_BYTES);
    if let (Some(to), Some(from)) = (event.text.get_mut(..bytes), record.text.get(..bytes)) {
        to.copy_from_slice(from);
    }
    event.text_bytes[0] = bytes as u16;
    event.flags = if record.flags & actor_flags::PATH_CUT != 0 { event_flags::TEXT_CUT } else { 0 };
    event
}
