//! The redaction of a raw dump: a copy of a region in which every text is a pseudonym.

use std::hash::Hasher as _;
use std::ops::Range;

use atomscope_layout::RegionMap;
use atomscope_layout::decode::subsystems::{cluster_rows, sharding_rows};
use atomscope_layout::decode::{RegionReader, Texts};
use atomscope_layout::document;
use atomscope_layout::event::{self, EVENT_WORDS, EventRecord, TelemetryEvent, event_flags};
use atomscope_layout::failures::{self, FAILURE_WORDS, FailureRecord, PANIC_WORDS, PanicRecord, Report};
use atomscope_layout::instances::{INSTANCE_WORDS, InstanceRecord};
use atomscope_layout::limits::{ACTOR_PATH_BYTES, PATH_CUT_MARK};
use atomscope_layout::metrics::{Description, Metric, read_descriptor};
use atomscope_layout::names::{put_text, read_cell, write_cell};
use atomscope_layout::own_records::{
    self, FieldRecord, FieldType, KIND_WORDS, KindRecord, OwnRecord, RECORD_WORDS, read_ready,
};
use atomscope_layout::records::{
    ACTOR_WORDS, ActorRecord, DEAD_LETTER_WORDS, JOURNAL_WRITE_WORDS, JournalWriteRecord, LetterRecord,
    actor_flags,
};
use atomscope_layout::region::{CLUSTER_DOCUMENT, SHARDING_DOCUMENT, Section, header};
use atomscope_layout::ring::SLOT_HEAD_WORDS;
use atomscope_layout::seqlock::Patience;
use atomscope_layout::sync::{AtomicU64, Ordering};
use atomscope_layout::table::{self, Key, SlotReader};
use atomscope_layout::threads::NAME;
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::{self, Words};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::Redactor;
use crate::raw::copy::{self as raw, RingOf, records};

impl Redactor {
    /// A new key for an actor or instance. The node's own keys are hashes of names, by which anybody who knows the node's
    /// hash keys could test guesses.
    fn key(&self, key: [u64; 2]) -> [u64; 2] {
        let [first, second] = key;
        if key == [0; 2] { key } else { [0, 1].map(|half| self.word(&[half, first, second])) }
    }

    fn word(&self, words: &[u64]) -> u64 {
        let mut hasher = self.0;
        words.iter().for_each(|word| hasher.write_u64(*word));
        hasher.finish()
    }

    /// Copies a region with pseudonyms for texts. Apart from them only numbers of records are copied: free slots, bytes behind
    /// texts and between records, and sections of newer versions stay zero. Unreadable records stay unreadable, and empty.
    pub(crate) fn region(&self, from: Words<'_>, map: &RegionMap) -> WriterMemory {
        let memory = WriterMemory::private(map.region_bytes)
            .unwrap_or_else(|| std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>()));
        let to = memory.words();
        let copy = |range: Range<usize>| {
            range.for_each(|at| to[at].store(from.load(at), Ordering::Relaxed));
        };
        let cell = |range: Range<usize>| {
            if let Some(text) = from.slice(range.clone()).and_then(read_cell) {
                write_cell(&to[range], &self.name(&text));
            }
        };
        [header::MAGIC..header::RECORD.end, header::STATE..header::CONDITIONS + 1, header::TIME]
            .into_iter()
            .chain([header::PROCESS_BEAT, header::RUNTIME_BEAT, header::POLL_BEAT, header::WRITER])
            .chain([header::HISTORY, header::END])
            .chain([header::ATTACHED, header::SERIES_ENDED].map(|at| at..at + 1))
            .chain([header::ACTORS_USED, header::INSTANCES_USED].map(|at| at..at + 1))
            .chain([header::DIRECTORY, map.counters.range(), map.histograms.range()])
            .chain(std::iter::once(map.clock_samples.range()))
            .chain(
                [map.cells, map.classes, map.variants, map.handled, map.threads]
                    .map(|section| section.range()),
            )
            .for_each(copy);
        // The name of a thread may be one that the application chose.
        let of_threads = records(map.threads).map(|slot| slot.start + NAME.start..slot.start + NAME.end);
        let names = std::iter::once(header::END_THREAD).chain(of_threads);
        names.flat_map(|name| &to[name]).for_each(|word| word.store(0, Ordering::Relaxed));
        [header::NODE, header::SYSTEM, header::PROGRAM].into_iter().for_each(cell);
        records(map.names).for_each(cell);
        for slot in records(map.metrics) {
            if let Some(mut metric) = from.slice(slot.clone()).and_then(read_descriptor) {
                self.metric(&mut metric);
                let labels: Vec<_> =
                    metric.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let Metric { name, unit, kind, help, .. } = &metric;
                Description { name, labels: &labels, unit, kind: *kind, help }.write(&to[slot], 0);
            }
        }
        slots(from, to, map.actors, header::ACTORS_USED, |words: [u64; ACTOR_WORDS]| {
            zerocopy::transmute!(self.actor(words).unwrap_or(actor_unreadable()))
        });
        slots(from, to, map.instances, header::INSTANCES_USED, |words: [u64; INSTANCE_WORDS]| {
            zerocopy::transmute!(self.instance(words))
        });
        for slot in records(map.failures) {
            let mut record = FailureRecord::new_zeroed();
            let Some(words) = from.slice(slot.clone()) else { continue };
            let record = match failures::read(words, &mut record) {
                failures::SlotRead::Record(_) => self.failure_record(&record),
                // Its key says that it is in use; there is nothing else to tell.
                failures::SlotRead::Pending => FailureRecord { key: 1, ..FailureRecord::new_zeroed() },
                failures::SlotRead::Free => continue,
            };
            let record: [u64; FAILURE_WORDS] = zerocopy::transmute!(record);
            words::store(&to[slot], &record);
        }
        self.own_records(from, to, map);
        for (number, document) in records(map.documents).enumerate() {
            let found = match from.slice(document.clone()).map(document::read) {
                Some(Ok(Some(found))) => found,
                Some(Ok(None)) | None => continue,
                Some(Err(_)) => {
                    // One flip and no words: the document stays unreadable.
                    to[document.start].store(1, Ordering::Relaxed);
                    continue;
                }
            };
            document::write(&to[document], found.stamp, |rows| {
                rows.count_dropped(found.dropped);
                for row in &found.rows {
                    let texts: Vec<String> = (row.texts.iter().enumerate())
                        .map(
                            |(at, text)| {
                                if is_state(number, row.kind, at) { text.clone() } else { self.name(text) }
                            },
                        )
                        .collect();
                    rows.push(row.kind, row.number, texts.iter().map(String::as_str));
                }
            });
        }
        for ring in raw::rings(map) {
            copy(ring.head..ring.head + 1);
            for slot in records(ring.slots) {
                copy(slot.start..slot.start + SLOT_HEAD_WORDS);
                let record = slot.start + SLOT_HEAD_WORDS..slot.end;
                let Some(found) = from.slice(record.clone()) else { continue };
                match ring.of {
                    RingOf::DeadLetters => {
                        let mut words = [0u64; DEAD_LETTER_WORDS];
                        found.copy_to(&mut words);
                        let letter: [u64; DEAD_LETTER_WORDS] = zerocopy::transmute!(self.letter(words));
                        words::store(&to[record], &letter);
                    }
                    RingOf::Events => {
                        let mut words = [0u64; EVENT_WORDS];
                        found.copy_to(&mut words);
                        let event: [u64; EVENT_WORDS] = zerocopy::transmute!(self.event(words));
                        words::store(&to[record], &event);
                    }
                    RingOf::Panics => {
                        let mut words = [0u64; PANIC_WORDS];
                        found.copy_to(&mut words);
                        let panic: [u64; PANIC_WORDS] = zerocopy::transmute!(self.panic(words));
                        words::store(&to[record], &panic);
                    }
                    RingOf::JournalWrites => {
                        let mut words = [0u64; JOURNAL_WRITE_WORDS];
                        found.copy_to(&mut words);
                        let write: [u64; JOURNAL_WRITE_WORDS] =
                            zerocopy::transmute!(self.journal_write(words));
                        words::store(&to[record], &write);
                    }
                }
            }
        }
        memory
    }

    /// Kinds and fields with pseudonyms, without units and helps; records without their texts.
    fn own_records(&self, from: Words<'_>, to: &[AtomicU64], map: &RegionMap) {
        let ready = |slot: &Range<usize>| from.slice(slot.clone()).and_then(read_ready);
        for (slot, words) in records(map.kinds).filter_map(|slot| ready(&slot).map(|words| (slot, words))) {
            let KindRecord { ready, name_bytes, first_field, text, .. } = zerocopy::transmute!(words);
            let mut record = KindRecord { ready, first_field, ..KindRecord::new_zeroed() };
            record.name_bytes = match Texts(&text).take(name_bytes) {
                Some(name) => TextWriter { bytes: &mut record.text, used: 0 }.put(&self.name(name)),
                None => u16::MAX,
            };
            let record: [u64; KIND_WORDS] = zerocopy::transmute!(record);
            words::store(&to[slot], &record);
        }
        for (slot, words) in records(map.fields).filter_map(|slot| ready(&slot).map(|words| (slot, words))) {
            let FieldRecord { ready, name_bytes, length, text, .. } = zerocopy::transmute!(words);
            let mut record = FieldRecord { ready, length, ..FieldRecord::new_zeroed() };
            record.name_bytes = match Texts(&text).take(name_bytes.into()) {
                Some(name) => TextWriter { bytes: &mut record.text, used: 0 }.put(&self.name(name)) as u8,
                None => u8::MAX,
            };
            let record: [u64; KIND_WORDS] = zerocopy::transmute!(record);
            words::store(&to[slot], &record);
        }
        let kinds = RegionReader::open(from).map(|reader| reader.record_kinds()).unwrap_or_default();
        for slot in records(map.records) {
            let Some(Ok(found)) = from.slice(slot.clone()).map(own_records::read) else {
                // Its sequence alone: the record stays unreadable.
                to[slot.start].store(1, Ordering::Relaxed);
                continue;
            };
            let Some(found) = found else { continue };
            let mut record = OwnRecord {
                // No writer stores the greatest numbers, which would be too large here.
                sequence: found.published.wrapping_mul(2).wrapping_add(2),
                stamp: found.stamp,
                kind: found.kind + 1,
                first: 1,
                lost: found.lost,
                ..OwnRecord::new_zeroed()
            };
            record.name_bytes = match &found.name {
                Some(name) => TextWriter { bytes: &mut record.name, used: 0 }.put(&self.name(name)).into(),
                None => u64::MAX,
            };
            let kind = usize::try_from(found.kind).ok().and_then(|number| kinds.get(number)?.as_ref());
            let fields = kind.map_or(&[][..], |kind| &kind.fields).iter();
            for field in fields.filter(|field| field.of.is_some_and(|of| of != FieldType::Text)) {
                let bytes = field.offset..field.offset + field.element_bytes * field.length.max(1);
                record.payload.as_mut_bytes()[bytes.clone()]
                    .copy_from_slice(&found.payload.as_bytes()[bytes]);
            }
            let record: [u64; RECORD_WORDS] = zerocopy::transmute!(record);
            words::store(&to[slot], &record);
        }
    }

    fn instance(&self, words: [u64; INSTANCE_WORDS]) -> InstanceRecord {
        let from: InstanceRecord = zerocopy::transmute!(words);
        let InstanceRecord { since, domain, counted_by, numbers, .. } = from;
        let (key, owner) = (self.key(from.key), self.key(from.owner));
        let empty = InstanceRecord::new_zeroed();
        let mut to = InstanceRecord { key, owner, since, domain, counted_by, numbers, ..empty };
        to.name_bytes = match Texts(&from.name).take(from.name_bytes) {
            Some(name) => TextWriter { bytes: &mut to.name, used: 0 }.put(&self.name(name)),
            None => u16::MAX,
        };
        to
    }

    fn journal_write(&self, words: [u64; JOURNAL_WRITE_WORDS]) -> JournalWriteRecord {
        let from: JournalWriteRecord = zerocopy::transmute!(words);
        let JournalWriteRecord { stamp, sequence_nr, .. } = from;
        let mut to = JournalWriteRecord { stamp, sequence_nr, ..JournalWriteRecord::new_zeroed() };
        let mut texts = Texts(&from.text);
        let (Some(journal), Some(id)) =
            (texts.take(from.journal_bytes), texts.take(from.persistence_id_bytes))
        else {
            to.journal_bytes = u16::MAX;
            return to;
        };
        let mut writer = TextWriter { bytes: &mut to.text, used: 0 };
        to.journal_bytes = writer.put(&self.name(journal));
        to.persistence_id_bytes = writer.put(&self.name(id));
        to
    }

    fn failure_record(&self, from: &FailureRecord) -> FailureRecord {
        let FailureRecord { ready, key, count, last, first, class, .. } = *from;
        let mut texts = Texts(&from.text);
        let mut take = |bytes| texts.take(bytes);
        let to = match (
            take(from.location_bytes),
            take(from.thread_bytes),
            take(from.actor_bytes),
            take(from.target_bytes),
        ) {
            (Some(location), Some(thread), Some(actor), Some(target)) => {
                FailureRecord::of(&Report {
                    message: None,
                    location: &self.name(location),
                    thread: &self.name(thread),
                    actor: &self.kept_path(actor).0,
                    target: &self.name(target),
                    class,
                })
                .0
            }
            _ => FailureRecord { location_bytes: u16::MAX, ..FailureRecord::new_zeroed() },
        };
        // The node's own key is a hash of the message, by which anybody who knows the node's hash keys could test guesses.
        FailureRecord { ready, key: self.word(&[key]).max(1), count, last, first, ..to }
    }

    fn panic(&self, words: [u64; PANIC_WORDS]) -> PanicRecord {
        let from: PanicRecord = zerocopy::transmute!(words);
        let PanicRecord { stamp, failure, tid, class, .. } = from;
        let mut texts = Texts(&from.text);
        let mut take = |bytes| texts.take(bytes);
        let to = match (take(from.location_bytes), take(from.thread_bytes), take(from.actor_bytes)) {
            (Some(location), Some(thread), Some(actor)) => {
                PanicRecord::of(&Report {
                    message: None,
                    location: &self.name(location),
                    thread: &self.name(thread),
                    actor: &self.kept_path(actor).0,
                    target: "",
                    class,
                })
                .0
            }
            _ => PanicRecord { location_bytes: u16::MAX, ..PanicRecord::new_zeroed() },
        };
        PanicRecord { stamp, failure, tid, ..to }
    }

    /// The pseudonym of a path as a record holds it, and whether it was cut: of a longer path the beginning and a hash of all
    /// of it.
    fn kept_path(&self, path: &str) -> (String, bool) {
        let whole = self.path(path);
        if whole.len() <= ACTOR_PATH_BYTES {
            return (whole, false);
        }
        let kept = words::prefix(&whole, ACTOR_PATH_BYTES - PATH_CUT_MARK.len() - 32);
        let key = Key(self.hash(&whole), self.hash(&(whole.clone() + "/")));
        (format!("{kept}{PATH_CUT_MARK}{key}"), true)
    }

    /// The pseudonyms of an actor's path and parent, in the form of a record.
    fn path_parts(&self, flags: u32, path: &str, parent: Option<&str>, parent_bytes: u16) -> PathParts {
        let (text, cut) = self.kept_path(path);
        let mut parts =
            PathParts { flags: if cut { actor_flags::PATH_CUT } else { 0 }, text, ..PathParts::default() };
        if flags & actor_flags::PARENT == 0 {
            return parts;
        }
        parts.flags |= actor_flags::PARENT;
        let was_cut = flags & actor_flags::PATH_CUT != 0;
        let kept = path.len().saturating_sub(if was_cut { PATH_CUT_MARK.len() + 32 } else { 0 });
        let beginning = path.get(..usize::from(parent_bytes)).filter(|_| usize::from(parent_bytes) <= kept);
        let parent = match (flags & actor_flags::PARENT_IS_PREFIX != 0, beginning) {
            (false, _) => parent.unwrap_or_default(),
            (true, Some(beginning)) => beginning,
            // Only the key of the parent is known, which a record can express only with a cut path.
            (true, None) => {
                parts.flags |= actor_flags::PARENT_IS_PREFIX | actor_flags::PATH_CUT;
                parts.prefix_bytes = u16::MAX;
                if !cut {
                    let most = ACTOR_PATH_BYTES - PATH_CUT_MARK.len() - 32;
                    let key = Key(self.hash(&parts.text), self.hash(path));
                    parts.text = format!("{}{PATH_CUT_MARK}{key}", words::prefix(&parts.text, most));
                }
                return parts;
            }
        };
        let parent = self.path(parent);
        if self.path(path).starts_with(&parent) {
            parts.flags |= actor_flags::PARENT_IS_PREFIX;
            parts.prefix_bytes = parent.len().try_into().unwrap_or(u16::MAX);
        } else {
            parts.parent = parent;
        }
        parts
    }

    fn actor(&self, words: [u64; ACTOR_WORDS]) -> Option<ActorRecord> {
        let from: ActorRecord = zerocopy::transmute!(words);
        let is_prefix = from.flags & actor_flags::PARENT_IS_PREFIX != 0;
        let mut texts = Texts(&from.text);
        let path = texts.take(from.path_bytes.into())?;
        let type_text = texts.take(from.type_bytes.into())?;
        texts.take(from.spawned_bytes.into())?;
        let host = texts.take(from.host_bytes.into())?;
        let parent = texts.take(if is_prefix { 0 } else { from.parent_bytes })?;
        let parts = self.path_parts(from.flags, path, Some(parent), from.parent_bytes);
        let kept = actor_flags::HOST | actor_flags::DEPTH;
        let mut to = ActorRecord {
            key: self.key(from.key),
            parent_key: self.key(from.parent_key),
            flags: from.flags & kept | parts.flags,
            // The application may have given any text as a time; the stamp stays.
            spawned_bytes: 0,
            depth: if from.flags & actor_flags::DEPTH != 0 { from.depth } else { 0 },
            spawned: from.spawned,
            type_id: from.type_id,
            cell: from.cell,
            ..ActorRecord::new_zeroed()
        };
        let mut writer = TextWriter { bytes: &mut to.text, used: 0 };
        // No text of a record has more than ACTOR_TEXT_BYTES.
        to.path_bytes = writer.put(&parts.text) as u8;
        to.type_bytes = writer.put(&self.name(type_text)) as u8;
        to.host_bytes = writer.put(&self.name(host)) as u8;
        to.parent_bytes = writer.put(&parts.parent).max(parts.prefix_bytes);
        Some(to)
    }

    fn letter(&self, words: [u64; DEAD_LETTER_WORDS]) -> LetterRecord {
        let from: LetterRecord = zerocopy::transmute!(words);
        let mut to = LetterRecord { stamp: from.stamp, ..LetterRecord::new_zeroed() };
        let mut texts = Texts(&from.text);
        let mut take = |bytes| texts.take(bytes);
        let (Some(recipient), Some(sender), Some(type_text)) =
            (take(from.recipient_bytes), take(from.sender_bytes), take(from.type_bytes))
        else {
            to.recipient_bytes = u16::MAX;
            return to;
        };
        (to.type_id, to.flags) = (from.type_id, from.flags);
        let mut writer = TextWriter { bytes: &mut to.text, used: 0 };
        to.recipient_bytes = writer.put(&self.kept_path(recipient).0);
        to.sender_bytes = writer.put(&self.kept_path(sender).0);
        to.type_bytes = writer.put(&self.name(type_text));
        to
    }

    fn event(&self, words: [u64; EVENT_WORDS]) -> EventRecord {
        let from: EventRecord = zerocopy::transmute!(words);
        let unreadable = EventRecord { stamp: from.stamp, kind: u16::MAX, ..EventRecord::new_zeroed() };
        // The decoder that readers use decides whether the record is readable.
        let Some(part) = event::decode(&words, |_| String::new(), |_| String::new(), |_, _| None) else {
            return unreadable;
        };
        let is_spawn = matches!(part.event, TelemetryEvent::ActorSpawned(_));
        let is_prefix = is_spawn && from.flags & actor_flags::PARENT_IS_PREFIX != 0;
        if let TelemetryEvent::Own(_) = part.event {
            // The topic and the level are left.
            let mut to = EventRecord { text_bytes: [0; 5], text: EventRecord::new_zeroed().text, ..from };
            let topic = Texts(&from.text).take(from.text_bytes[0]).unwrap_or_default();
            to.text_bytes[0] = TextWriter { bytes: &mut to.text, used: 0 }.put(&self.name(topic));
            to.numbers[1] = 0;
            return to;
        }
        let mut rest = Texts(&from.text);
        let mut texts = [""; 5];
        for (at, text) in texts.iter_mut().enumerate() {
            let bytes = if at == 1 && is_prefix { 0 } else { from.text_bytes[at] };
            let Some(found) = rest.take(bytes) else { return unreadable };
            *text = found;
        }
        let mut to = EventRecord { text_bytes: [0; 5], text: EventRecord::new_zeroed().text, ..from };
        let mut writer = TextWriter { bytes: &mut to.text, used: 0 };
        if is_spawn {
            let parts = self.path_parts(from.flags, texts[0], Some(texts[1]), from.text_bytes[1]);
            to.flags = from.flags & actor_flags::HOST | parts.flags;
            to.text_bytes = [
                writer.put(&parts.text),
                writer.put(&parts.parent).max(parts.prefix_bytes),
                writer.put(&self.name(texts[2])),
                0,
                writer.put(&self.name(texts[4])),
            ];
            return to;
        }
        // The application may have given any text as a time.
        to.flags &= !event_flags::TIME_TEXT;
        if matches!(part.event, TelemetryEvent::Panicked(_)) {
            to.flags &= !event_flags::OPTIONAL;
        }
        for (at, text) in texts.into_iter().enumerate() {
            let pseudonym = match (&part.event, at) {
                (TelemetryEvent::DeadLetter(_), 3 | 4)
                | (TelemetryEvent::JournalWrite(_), 2)
                | (TelemetryEvent::Panicked(_), 3) => String::new(),
                (TelemetryEvent::DeadLetter(_), 0 | 1)
                | (TelemetryEvent::Panicked(_), 2)
                | (TelemetryEvent::LongPoll(_), 0)
                | (TelemetryEvent::ActorStopped { .. } | TelemetryEvent::MailboxSampled { .. }, 0) => {
                    self.kept_path(text).0
                }
                (TelemetryEvent::ClusterChanged(_), 2) => {
                    text.split('\n').map(|role| self.name(role)).collect::<Vec<_>>().join("\n")
                }
                _ => self.name(text),
            };
            to.text_bytes[at] = writer.put(&pseudonym);
        }
        to
    }
}

/// Copies the slots of a section: each live record as `redacted` makes it, and of all others only their state. So nothing
/// is left of records that were freed.
fn slots<const WORDS: usize>(
    from: Words<'_>,
    to: &[AtomicU64],
    section: Section,
    used: usize,
    redacted: impl Fn([u64; WORDS]) -> [u64; WORDS],
) {
    let used = from.load(used);
    let words = from.slice(section.range()).unwrap_or(Words::new(&[]));
    let slots = SlotReader::new(words, section.stride, used);
    let mut patience = Patience::for_a_scan();
    let mut record = [0u64; WORDS];
    for (at, slot) in records(raw::taken(section, used)).enumerate() {
        let control = from.load(slot.start);
        let control = match slots.read(at, &mut record, &mut patience) {
            Ok(true) => {
                words::store(&to[slot.clone()], &redacted(record));
                table::unlinked(record[0])
            }
            Ok(false) => table::unlinked(control),
            Err(_) => table::busy(control),
        };
        to[slot.start].store(control, Ordering::Relaxed);
    }
}

/// Whether a text of a row of document `number` is a state and not a name.
fn is_state(number: usize, kind: u16, at: usize) -> bool {
    match number {
        CLUSTER_DOCUMENT => {
            [(cluster_rows::MEMBER, 1), (cluster_rows::REACHABILITY, 2)].contains(&(kind, at))
        }
        SHARDING_DOCUMENT => (kind, at) == (sharding_rows::HAND_OFF, 3),
        _ => false,
    }
}

/// An unreadable record: its path is longer than its text.
fn actor_unreadable() -> ActorRecord {
    ActorRecord { path_bytes: u8::MAX, ..ActorRecord::new_zeroed() }
}

/// A path and its parent as a record holds them.
#[derive(Default)]
struct PathParts {
    flags: u32,
    text: String,
    /// With PARENT_IS_PREFIX: bytes of the path that are the parent's path.
    prefix_bytes: u16,
    /// Without PARENT_IS_PREFIX: the parent's path.
    parent: String,
}

/// Writes texts one after the other into the text of a record, and cuts those that do not fit.
struct TextWriter<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

impl TextWriter<'_> {
    fn put(&mut self, text: &str) -> u16 {
        let free = self.bytes.get_mut(self.used..).unwrap_or_default();
        let most = free.len();
        let (bytes, _) = put_text(free, most, text);
        self.used += bytes;
        bytes as u16
    }
}
