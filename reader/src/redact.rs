//! Pseudonyms instead of names in snapshots and raw dumps. A name has the same pseudonym everywhere in one, so that trees and
//! references keep their shape.
//!
//! A pseudonym is a keyed hash: without the key nobody can look up a name or test a guess. Texts of the application that are
//! no names (previews of messages, help texts) are removed.

mod region;

use std::fmt;
use std::hash::Hasher as _;

use atomscope_layout::decode::{ActorEntry, Failure, FieldValue, Panic, VariantStats, rfc3339};
use atomscope_layout::metrics::{BUILTIN, Metric};
use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher24Wide};

use crate::snapshot::Snapshot;

const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Replaces names by pseudonyms under one key.
///
/// ```
/// use atomscope::redact::Redactor;
///
/// let redactor = Redactor::with_key(b"secret");
/// let pseudonym = redactor.path("/user/orders");
/// assert_eq!(pseudonym, redactor.path("/user/orders"));
/// assert!(!pseudonym.contains("orders"));
/// ```
#[derive(Clone)]
pub struct Redactor(SipHasher24);

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// A random key: pseudonyms of different redactors cannot be compared.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn fresh() -> std::io::Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self(SipHasher24::new_with_key(&key)))
    }

    /// A key derived from `phrase`: pseudonyms are the same wherever it is used, and as secret as the phrase.
    pub fn with_key(phrase: &[u8]) -> Self {
        let mut hasher = SipHasher24Wide::new();
        hasher.write(phrase);
        Self(SipHasher24::new_with_key(&hasher.finish128().as_bytes()))
    }

    /// The pseudonym of a name: `x` and ten letters or digits. An empty name stays empty.
    pub fn name(&self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let hash = self.hash(name);
        // Only 50 bits, so that most paths still fit their records.
        let letters = (0..10).map(|at| char::from(LETTERS[(hash >> (5 * at)) as usize % LETTERS.len()]));
        std::iter::once('x').chain(letters).collect()
    }

    fn hash(&self, text: &str) -> u64 {
        let mut hasher = self.0;
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    /// The pseudonym of a path, element by element, so that trees keep their shape.
    pub fn path(&self, path: &str) -> String {
        path.split('/').map(|element| self.name(element)).collect::<Vec<_>>().join("/")
    }

    /// Replaces every name in a snapshot that may come from the application.
    pub fn redact(&self, snapshot: &mut Snapshot) {
        let Snapshot {
            identity,
            liveness,
            actors,
            dead_letters,
            failures,
            metrics,
            classes,
            instruments,
            runtime_threads,
            own_records,
            subsystems,
            ..
        } = snapshot;
        subsystems.rename(|name| self.name(name));
        if let Some(end) = &mut liveness.last_words.end {
            end.ending = end.ending.without_name();
        }
        identity.node = self.name(&identity.node);
        identity.system = identity.system.as_deref().map(|system| self.name(system));
        identity.program = self.name(&identity.program);
        // The list is sorted by pseudonyms: the order of the names would reveal something about them.
        let rewritten = |actor: &mut ActorEntry| {
            let status = &mut actor.status;
            status.path = self.path(&status.path);
            status.parent = status.parent.as_deref().map(|parent| self.path(parent));
            status.actor_type = self.name(&status.actor_type);
            status.host = status.host.as_deref().map(|host| self.name(host));
            // The application may have given any text as a time.
            status.spawned_at = actor.spawned_unix_ns.map(rfc3339).unwrap_or_default();
        };
        actors.rewrite(rewritten, |name| self.name(name));
        classes.iter_mut().for_each(|class| class.name = self.name(&class.name));
        for class in &mut instruments.classes {
            class.class = class.class.as_deref().map(|name| self.name(name));
            for VariantStats { variant, .. } in &mut class.variants {
                *variant = variant.as_deref().map(|name| self.name(name));
            }
        }
        for record in &mut own_records.list {
            record.name = self.name(&record.name);
            let fields = own_records.kinds.get(record.kind).map_or(&[][..], |kind| &kind.fields);
            fields
                .iter()
                .zip(&mut record.values)
                .for_each(|(field, value)| without_texts(value, &field.values));
        }
        for kind in &mut own_records.kinds {
            (kind.name, kind.help) = (self.name(&kind.name), String::new());
            for (at, field) in kind.fields.iter_mut().enumerate() {
                // A field that cannot be read has a name of ours.
                if field.name != format!("field_{at}") {
                    field.name = self.name(&field.name);
                }
                (field.unit, field.help) = (String::new(), String::new());
                field.values.clear();
            }
        }
        for thread in &mut runtime_threads.list {
            thread.name = None;
        }
        for letter in &mut dead_letters.recent {
            letter.recipient = self.path(&letter.recipient);
            letter.sender = letter.sender.as_deref().map(|sender| self.path(sender));
            letter.message_type = self.name(&letter.message_type);
            letter.message_preview = String::new();
        }
        for Failure { message, location, target, thread, actor, class, .. } in &mut failures.log {
            *message = None;
            self.failure([location, target, thread, class], actor);
        }
        for Panic { message, location, thread, actor, class, .. } in &mut failures.panics {
            *message = None;
            self.failure([location, thread, class], actor);
        }
        metrics.iter_mut().for_each(|metric| self.metric(metric));
    }

    fn failure<const NAMES: usize>(&self, names: [&mut Option<String>; NAMES], actor: &mut Option<String>) {
        names.into_iter().flatten().for_each(|name| *name = self.name(name));
        *actor = actor.as_deref().map(|path| self.path(path));
    }

    fn metric(&self, metric: &mut Metric) {
        let ours = BUILTIN.iter().any(|(name, unit, _, help)| {
            (metric.name.as_str(), metric.unit.as_str(), metric.help.as_str()) == (*name, *unit, *help)
        });
        if !ours {
            metric.name = self.name(&metric.name);
            for text in metric.labels.iter_mut().flat_map(|(key, value)| [key, value]) {
                *text = self.name(text);
            }
            metric.labels.sort();
            (metric.unit, metric.help) = (String::new(), String::new());
        }
    }
}

/// Replaces the texts in a value of a field: names of an enum's values by their numbers, other texts by nothing.
fn without_texts(value: &mut FieldValue, names: &[String]) {
    match value {
        FieldValue::Text(text) => *text = Box::default(),
        FieldValue::Name(name) => {
            let number = names.iter().position(|known| **known == **name);
            *value = number.map_or(FieldValue::Unknown, |number| FieldValue::Unsigned(number as u64));
        }
        FieldValue::List(list) => list.iter_mut().for_each(|value| without_texts(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gets_the_same_pseudonym_and_another_name_another() {
        let redactor = Redactor::with_key(b"k");
        assert_eq!(redactor.name("orders"), redactor.name("orders"));
        assert_ne!(redactor.name("orders"), redactor.name("order"));
        assert_eq!(redactor.name(""), "");
    }

    #[test]
    fn a_path_keeps_its_shape_and_starts_with_its_parents_path() {
        let redactor = Redactor::with_key(b"k");
        let (parent, child) = (redactor.path("akka://S/user/a"), redactor.path("akka://S/user/a/b"));
        assert_eq!(child.matches('/').count(), 5);
        assert_eq!(child.rsplit_once('/').unwrap().0, parent);
    }

    #[test]
    fn another_key_gives_other_pseudonyms_and_a_fresh_one_is_another() {
        let name = |redactor: Redactor| redactor.name("orders");
        assert_ne!(name(Redactor::with_key(b"a")), name(Redactor::with_key(b"b")));
        assert_ne!(name(Redactor::fresh().unwrap()), name(Redactor::fresh().unwrap()));
        assert_eq!(name(Redactor::with_key(b"a")), name(Redactor::with_key(b"a")));
    }
}
