//! Dead letters as storms: those of one message type to the recipients of one class are one row.

use std::collections::{HashMap, HashSet};

use atomscope_layout::decode::{ActorList, DeadLetters, Moment};
use atomscope_layout::dto::DeadLetterRecord;
use atomscope_layout::event::TelemetryEvent;
use atomscope_layout::follow::{Event, Follower};

use super::human::seconds;
use super::list::{Column, List, Value, number, text};
use crate::attach::{AttachError, Region};
use crate::snapshot::Snapshot;

/// The dead letters of a node, and what is known of their recipients.
#[derive(Debug)]
pub struct Letters {
    /// All dead letters that the region keeps.
    pub letters: DeadLetters,
    /// The node, with its actors.
    pub snapshot: Snapshot,
    recipients: Recipients,
}

/// What is known of the recipients of dead letters.
#[derive(Debug, Default)]
pub struct Recipients(HashMap<String, Recipient>);

/// The last that is known of a recipient.
#[derive(Debug, Default)]
struct Recipient {
    class: Option<String>,
    state: Option<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Live,
    Stopped(Option<Moment>),
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stopped(_) => "stopped",
        }
    }
}

/// Dead letters of one type to one class, or to recipients of unknown class.
#[derive(Debug)]
struct Storm<'a> {
    count: u64,
    recipients: HashSet<&'a str>,
    /// The indices of the newest and of the oldest letter.
    newest: usize,
    oldest: usize,
}

impl Letters {
    /// Reads dead letters, events and actors of a region.
    ///
    /// # Errors
    /// The region was cut short or overwritten since it was attached.
    pub fn take(region: &Region) -> Result<Self, AttachError> {
        let reader = region.reader()?;
        let letters = reader.dead_letters(usize::MAX);
        let wanted: HashSet<&str> = letters.recent.iter().map(|letter| letter.recipient.as_str()).collect();
        let mut recipients = Recipients::default();
        // All events that are kept, in an order in which none comes before its cause.
        let events = Follower::from_oldest(&reader).last_batch(&reader).events;
        let clock = reader.clock();
        for Event { stamp, event, .. } in &events {
            match event {
                TelemetryEvent::ActorSpawned(actor) if wanted.contains(actor.path.as_str()) => {
                    let class = Some(actor.actor_type.clone());
                    recipients.0.insert(actor.path.clone(), Recipient { class, state: None });
                }
                TelemetryEvent::ActorStopped { path } if wanted.contains(path.as_str()) => {
                    let at = clock.as_ref().and_then(|clock| clock.moment(*stamp));
                    recipients.0.entry(path.clone()).or_default().state = Some(State::Stopped(at));
                }
                _ => {}
            }
        }
        // Read last: an actor that lives now has not stopped for good.
        let snapshot = Snapshot::take(region)?;
        recipients.add_live(&snapshot.actors, &wanted);
        Ok(Self { letters, snapshot, recipients })
    }

    /// The storms, as [`Recipients::storms`].
    pub fn storms(&self) -> List {
        self.recipients.storms(&self.letters, self.snapshot.until)
    }
}

impl Recipients {
    /// The recipients of these letters that live.
    pub fn live(actors: &ActorList, letters: &DeadLetters) -> Self {
        let wanted: HashSet<&str> = letters.recent.iter().map(|letter| letter.recipient.as_str()).collect();
        let mut recipients = Self::default();
        recipients.add_live(actors, &wanted);
        recipients
    }

    fn add_live(&mut self, actors: &ActorList, wanted: &HashSet<&str>) {
        for actor in actors.iter().filter(|actor| wanted.contains(actor.path())) {
            let class = Some(actor.class().to_owned());
            self.0.insert(actor.path().to_owned(), Recipient { class, state: Some(State::Live) });
        }
    }

    /// The storms of these letters; ages are up to `until`. That with the most letters is first. The recipients of which no class
    /// is known are rows of their own, without a class.
    pub fn storms(&self, letters: &DeadLetters, until: Option<Moment>) -> List {
        let mut storms: HashMap<(Option<&str>, &str), Storm<'_>> = HashMap::new();
        let class_of = |letter: &DeadLetterRecord| {
            self.0.get(&letter.recipient).and_then(|recipient| recipient.class.as_deref())
        };
        for (letter, at) in letters.recent.iter().zip(0..) {
            let storm = storms.entry((class_of(letter), &letter.message_type)).or_insert_with(|| Storm {
                count: 0,
                recipients: HashSet::new(),
                newest: at,
                oldest: at,
            });
            storm.count += 1;
            storm.recipients.insert(&letter.recipient);
            storm.oldest = at;
        }
        let mut list = List {
            rows: storms.iter().filter_map(|(key, storm)| self.row(*key, storm, letters, until)).collect(),
            ..empty()
        };
        for name in ["last_s", "count"] {
            if let Some(at) = list.column(name) {
                list.rows.sort_by(|a, b| a[at].compare(&b[at], name == "last_s"));
            }
        }
        list
    }

    fn row(
        &self,
        (class, message): (Option<&str>, &str),
        storm: &Storm<'_>,
        letters: &DeadLetters,
        until: Option<Moment>,
    ) -> Option<Vec<Value>> {
        let letter = letters.recent.get(storm.newest)?;
        let oldest = letters.recent.get(storm.oldest)?;
        let ago = |at: Option<Moment>| {
            Value::of(at.and_then(|at| until?.since(&at)), |age| Value::Float(seconds(age)))
        };
        let of_letter = |at: usize| ago(letters.at.get(at).copied().flatten());
        let state = self.0.get(&letter.recipient).and_then(|recipient| recipient.state);
        let stopped = match state {
            Some(State::Stopped(at)) => at,
            _ => None,
        };
        Some(vec![
            Value::text(message),
            Value::of(class, Value::text),
            Value::Number(storm.count),
            Value::Number(storm.recipients.len() as u64),
            of_letter(storm.oldest),
            of_letter(storm.newest),
            Value::text(&letter.recipient),
            Value::of(state, |state| Value::text(state.word())),
            ago(stopped),
            Value::of(letter.sender.as_deref(), Value::text),
            Value::text(&oldest.timestamp),
            Value::text(&letter.timestamp),
        ])
    }
}

/// The list without letters.
pub fn empty() -> List {
    List::new("storms", "MESSAGE", COLUMNS, [])
}

const COLUMNS: [Column; 12] = [
    text("message"),
    text("class"),
    number("count", ""),
    number("recipients", ""),
    number("first_s", "s"),
    number("last_s", "s"),
    text("recipient"),
    text("state"),
    number("stopped_s", "s"),
    text("sender"),
    Column { is_shown: false, ..text("first") },
    Column { is_shown: false, ..text("last") },
];
