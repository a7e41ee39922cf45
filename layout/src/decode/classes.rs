//! The live actors counted by class, without a list of the actors.
//!
//! Nearly every live actor has one record and is counted when the scan reads it. Only the records of a key that may have two
//! are kept to the end. A first scan of the keys alone finds these.

use std::collections::HashMap;

use super::actors::Tally;
use super::clock::Moment;
use super::names::Names;
use super::reader::RegionReader;
use super::scan::{Repeats, Scan, actor_slots, kept_bytes, text_bytes, used_words};
use crate::records::{ACTOR_KEY_WORD, ACTOR_PARENT_WORD, ActorRecord};
use crate::table::Key;

/// Classes with a higher name number are looked up by name, because a hostile region may hold any number.
const MOST_IDS: usize = 1 << 16;

/// The live actors of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The name of the class: the Rust type of its actors.
    pub name: String,
    /// Number of live actors.
    pub actors: u64,
    /// Messages in their mailboxes; `None` if no mailbox depth is known.
    pub waiting: Option<u64>,
    /// Messages in the fullest mailbox.
    pub deepest: Option<u64>,
    /// When the oldest actor was spawned; `None` if unknown.
    pub oldest: Option<Moment>,
}

/// The live actors counted by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// How many actors there are, and how many could not be read.
    pub tally: Tally,
    /// The classes: first those with the most waiting messages, then those with the most actors.
    pub classes: Vec<Class>,
    /// The mark of an [`ActorList`](super::ActorList) of the same actors.
    pub mark: u64,
}

impl RegionReader<'_> {
    /// Counts the live actors by class: one scan of the keys and one of the records. It needs memory for the classes, for a
    /// few actors that may have two records, and two to four bytes for each slot.
    ///
    /// It reads no text of a record but the class. So an actor with a damaged path is counted here, and is unreadable in an
    /// [`ActorList`](super::ActorList). An actor that is replaced during the scan may be counted twice.
    pub fn class_counts(&self) -> ClassCounts {
        let slots = actor_slots(self);
        let keys = (0..slots.len()).filter_map(|slot| slots.held_word(slot, ACTOR_KEY_WORD));
        let repeats = Repeats::of(slots.len(), keys);
        let wanted =
            |record: &ActorRecord| if record.type_id == 0 { used_words(record) } else { ACTOR_PARENT_WORD };
        let mut counting = Counting::default();
        let Scan { unreadable, mut mark } = Scan::over(&slots, ACTOR_PARENT_WORD, wanted, |record| {
            counting.add(record, repeats.may_have(record.key[0]), self)
        });
        let Counting { mut classes, names, .. } = counting.end();
        let clock = self.clock();
        classes.iter_mut().for_each(|(class, oldest)| {
            class.oldest = clock.as_ref().and_then(|clock| clock.moment(*oldest));
        });
        let mut classes: Vec<Class> = classes.into_iter().map(|(class, _)| class).collect();
        classes.sort_by(|a, b| {
            let key = |of: &Class| (of.waiting.unwrap_or(0), of.actors);
            key(b).cmp(&key(a)).then_with(|| a.name.cmp(&b.name))
        });
        let listed = classes.iter().map(|class| class.actors).sum();
        let (unlisted, waiting_stops) = (self.unlisted_actors(), self.waiting_stops());
        [unlisted, waiting_stops].into_iter().for_each(|number| mark.add(number));
        let tally = Tally { listed, unlisted, unreadable, waiting_stops };
        ClassCounts { tally, classes, mark: names.marked(mark) }
    }
}

/// The classes counted so far, each with the stamp of its oldest actor.
#[derive(Debug, Default)]
struct Counting {
    classes: Vec<(Class, u64)>,
    by_name: HashMap<String, usize>,
    /// One more than the index of the class of each name number, so that most actors need no look-up by name.
    by_id: Vec<usize>,
    names: Names,
    /// Actors that are not counted yet, because another one may have the same key.
    kept: Vec<Kept>,
}

/// An actor whose key another one may have.
#[derive(Debug)]
struct Kept {
    key: Key,
    stamp: u64,
    depth: Option<u64>,
    class: usize,
}

impl Counting {
    /// Adds the actor of a record, of which only the words that the scan asked for are present.
    fn add(&mut self, record: &ActorRecord, is_repeated: bool, reader: &RegionReader<'_>) -> Option<()> {
        let [path, type_bytes, rest @ ..] = text_bytes(record).map(usize::from);
        if path + type_bytes + rest.iter().sum::<usize>() > record.text.len() || kept_bytes(record).is_none()
        {
            return None;
        }
        let type_text = match record.type_id {
            0 => core::str::from_utf8(record.text.get(path..)?.get(..type_bytes)?).ok()?,
            _ => "",
        };
        let (key, stamp) = (Key::from(record.key), record.spawned);
        let depth = record.known_depth().map(|depth| depth.messages.into());
        let kept = Kept { key, stamp, depth, class: self.class(record.type_id, type_text, reader) };
        if is_repeated {
            self.kept.push(kept)
        } else {
            self.count(&kept)
        }
        Some(())
    }

    /// Counts the newest of the kept actors of each key.
    fn end(mut self) -> Self {
        let mut kept = core::mem::take(&mut self.kept);
        // Of equal stamps the first one comes last, as in a list of the actors.
        kept.reverse();
        kept.sort_by_key(|actor| (actor.key, actor.stamp));
        for actors in kept.chunk_by(|a, b| a.key == b.key) {
            actors.last().into_iter().for_each(|newest| self.count(newest));
        }
        self.classes.retain(|(class, _)| class.actors > 0);
        self
    }

    /// The index of a class.
    fn class(&mut self, id: u32, text: &str, reader: &RegionReader<'_>) -> usize {
        let few = Some(id as usize).filter(|id| (1..MOST_IDS).contains(id));
        let known = few.and_then(|id| self.by_id.get(id)?.checked_sub(1));
        known.unwrap_or_else(|| {
            let name = if id == 0 { text } else { self.names.look_up(reader, id) };
            let at = self.by_name.get(name).copied().unwrap_or_else(|| {
                let class =
                    Class { name: name.to_owned(), actors: 0, waiting: None, deepest: None, oldest: None };
                self.classes.push((class, u64::MAX));
                self.by_name.insert(name.to_owned(), self.classes.len() - 1);
                self.classes.len() - 1
            });
            if let Some(id) = few {
                self.by_id.resize(self.by_id.len().max(id + 1), 0);
                self.by_id[id] = at + 1;
            }
            at
        })
    }

    fn count(&mut self, actor: &Kept) {
        let (class, oldest) = &mut self.classes[actor.class];
        class.actors += 1;
        *oldest = actor.stamp.min(*oldest);
        if let Some(depth) = actor.depth {
            class.waiting = Some(class.waiting.unwrap_or(0).saturating_add(depth));
            class.deepest = class.deepest.max(Some(depth));
        }
    }
}
