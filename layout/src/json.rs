//! JSON of actor lists and of a node's snapshot, written by hand.
//!
//! A list of 100,000 actors is 30 MB of JSON. Serde writes it key by key and checks every text byte by byte. This writer
//! produces the same bytes as `serde_json` does for the types that implement [`ToJson`], several times faster: keys are
//! constants, the texts of a list are checked in one go and then copied, the class of an actor is quoted once per list, and
//! the date of a time is formatted once per day. If a text of the list needs an escape or is not ASCII, each text is checked
//! while it is copied, eight bytes at a time. The writer holds one piece of [`PIECE_BYTES`], whatever it writes.
//!
//! ```
//! use atomscope_layout::dto::StreamsSnapshot;
//! use atomscope_layout::json::JsonWriter;
//!
//! let mut out = Vec::new();
//! let mut json = JsonWriter::new(&mut out);
//! json.value(&StreamsSnapshot { running_graphs: 2, ..StreamsSnapshot::default() })?;
//! json.finish()?;
//! assert_eq!(out, br#"{"running_graphs":2,"total_started":0,"total_finished":0,"active":[]}"#);
//! # Ok::<(), std::io::Error>(())
//! ```

use core::fmt;
use std::io::{self, Write};

use crate::decode::{Actor, ActorList, ActorTree, SpawnedAt, with_rfc3339};
use crate::dto::{
    ClusterMemberInfo, ClusterStateInfo, DDataSnapshot, DeadLetterRecord, JournalInfo, JournalWriteInfo,
    PersistenceIdStat, PersistenceSnapshot, ReachabilityRecord, RemoteAssociationInfo, RemoteSnapshot,
    ShardRegionInfo, ShardingSnapshot, StreamGraphInfo, StreamsSnapshot,
};
use crate::forest::last_element;

/// Bytes that are collected before they are written.
pub const PIECE_BYTES: usize = 64 << 10;

/// Class numbers whose quoted text is remembered. A hostile record may hold any number.
const REMEMBERED_CLASSES: u32 = 4096;

/// Writes compact JSON in pieces of [`PIECE_BYTES`]. Call [`Self::finish`] at the end, or the last piece is lost.
pub struct JsonWriter<'a> {
    to: &'a mut dyn Write,
    piece: Vec<u8>,
    used: usize,
    also_escaped: fn(char) -> bool,
    time: TimeText,
}

impl fmt::Debug for JsonWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWriter").field("used", &self.used).finish_non_exhaustive()
    }
}

/// A value that a [`JsonWriter`] can write.
pub trait ToJson {
    /// Writes the value.
    ///
    /// # Errors
    /// Those of the writer below `json`.
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()>;
}

/// The fields of a [`NodeSnapshot`](crate::dto::NodeSnapshot), borrowed, so that the lists of actors need not be built.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields of NodeSnapshot document them")]
pub struct NodeFields<'a> {
    pub node: &'a str,
    pub generated_at: &'a str,
    pub actors: &'a ActorTree,
    pub dead_letters: &'a [DeadLetterRecord],
    pub cluster: &'a ClusterStateInfo,
    pub sharding: &'a ShardingSnapshot,
    pub persistence: &'a PersistenceSnapshot,
    pub remote: &'a RemoteSnapshot,
    pub streams: &'a StreamsSnapshot,
    pub ddata: &'a DDataSnapshot,
}

impl<'a> JsonWriter<'a> {
    /// A writer that escapes what `serde_json` escapes: quotes, backslashes and control characters below U+0020.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self::escaping(to, |_| false)
    }

    /// A writer that also escapes the characters for which `also` is true. It never asks for printable ASCII characters.
    pub fn escaping(to: &'a mut dyn Write, also: fn(char) -> bool) -> Self {
        Self { to, piece: vec![0; PIECE_BYTES], used: 0, also_escaped: also, time: TimeText::default() }
    }

    /// Writes a value.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn value(&mut self, value: &(impl ToJson + ?Sized)) -> io::Result<()> {
        value.to_json(self)
    }

    /// Writes a piece of JSON as it is.
    ///
    /// # Errors
    /// Those of the writer below.
    #[inline]
    pub fn raw(&mut self, json: &str) -> io::Result<()> {
        self.put(json.as_bytes())
    }

    /// Writes the fields of a node's snapshot without braces, so that others can follow.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn node_fields(&mut self, fields: &NodeFields<'_>) -> io::Result<()> {
        fields.fields_to_json(self)
    }

    /// Writes one line for each actor: `start`, the fields of the actor, `}` and a line break. `start` opens the object.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn actor_lines(&mut self, actors: &ActorList, start: &str) -> io::Result<()> {
        let mut notes = ListNotes::of(actors);
        actors.iter().try_for_each(|actor| {
            self.raw(start)?;
            self.actor_fields(&actor, &mut notes)?;
            self.raw("}\n")
        })
    }

    /// Writes the last piece.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_piece()
    }

    fn write_piece(&mut self) -> io::Result<()> {
        let used = core::mem::take(&mut self.used);
        self.to.write_all(&self.piece[..used])
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.piece[self.used..].get_mut(..bytes.len()) {
            Some(to) => {
                to.copy_from_slice(bytes);
                self.used += bytes.len();
                Ok(())
            }
            None => self.put_in_pieces(bytes),
        }
    }

    #[cold]
    fn put_in_pieces(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let fitting = bytes.len().min(self.piece.len() - self.used);
            self.piece[self.used..][..fitting].copy_from_slice(&bytes[..fitting]);
            self.used += fitting;
            bytes = &bytes[fitting..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.write_piece()?;
        }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.text_after("", text)
    }

    /// Writes `before`, which is a constant, and a quoted text.
    #[inline]
    fn text_after(&mut self, before: &'static str, text: &str) -> io::Result<()> {
        self.text_with(before, text, is_plain_copied)
    }

    /// A text of a list. If all texts of the list are plain, they need no further check.
    #[inline]
    fn text_of(&mut self, list: &ListNotes, before: &'static str, text: &str) -> io::Result<()> {
        if !list.is_plain {
            return self.text_after(before, text);
        }
        self.text_with(before, text, |to, from| {
            to.copy_from_slice(from);
            true
        })
    }

    #[inline(always)]
    fn text_with(
        &mut self,
        before: &'static str,
        text: &str,
        is_copied: impl Fn(&mut [u8], &[u8]) -> bool,
    ) -> io::Result<()> {
        let (start, end) = (before.len() + 1, before.len() + 1 + text.len());
        let is_done = self.piece[self.used..].get_mut(..=end).is_some_and(|to| {
            let (key, rest) = to.split_at_mut(start);
            let (text_to, quote) = rest.split_at_mut(text.len());
            key[..start - 1].copy_from_slice(before.as_bytes());
            key[start - 1] = b'"';
            quote[0] = b'"';
            is_copied(text_to, text.as_bytes())
        });
        if is_done {
            self.used += end + 1;
            return Ok(());
        }
        self.unusual_text_after(before, text)
    }

    /// A text that has something to escape, is not ASCII, or does not fit into the piece.
    #[cold]
    #[inline(never)]
    fn unusual_text_after(&mut self, before: &'static str, text: &str) -> io::Result<()> {
        self.raw(before)?;
        self.raw("\"")?;
        let also = self.also_escaped;
        escape(text, also, |part| self.put(part))?;
        self.raw("\"")
    }

    #[inline]
    fn number(&mut self, mut number: u64) -> io::Result<()> {
        if number < 10 {
            return self.put(&[b'0' + number as u8]);
        }
        let mut digits = [0; 20];
        let mut from = digits.len();
        while number >= 10 {
            from -= 2;
            put_pair(&mut digits, from, number % 100);
            number /= 100;
        }
        if number > 0 {
            from -= 1;
            digits[from] = b'0' + number as u8;
        }
        self.put(&digits[from..])
    }

    fn list<T: ToJson>(&mut self, values: impl IntoIterator<Item = T>) -> io::Result<()> {
        let mut before = "[";
        for value in values {
            self.raw(before)?;
            value.to_json(self)?;
            before = ",";
        }
        self.raw(if before == "[" { "[]" } else { "]" })
    }

    #[inline]
    fn actor_fields(&mut self, actor: &Actor<'_>, notes: &mut ListNotes) -> io::Result<()> {
        self.text_of(notes, "\"path\":", actor.path())?;
        match actor.parent() {
            Some(parent) => self.text_of(notes, ",\"parent\":", parent)?,
            None => self.raw(",\"parent\":null")?,
        }
        self.class_and_depth(actor, notes)?;
        self.spawn_time(actor.spawned_at())?;
        self.host(actor)
    }

    fn actors(&mut self, actors: &ActorList, notes: &mut ListNotes) -> io::Result<()> {
        let mut before = "[{";
        for actor in actors.iter() {
            self.raw(before)?;
            self.actor_fields(&actor, notes)?;
            before = "},{";
        }
        self.raw(if actors.is_empty() { "[]" } else { "}]" })
    }

    /// The actors below `of`, or all trees. It calls itself once per level; a forest has few levels.
    fn branches(&mut self, tree: &ActorTree, of: Option<u32>, notes: &mut ListNotes) -> io::Result<()> {
        let mut start = "[{";
        for number in tree.forest().below(of) {
            let Some(actor) = tree.actors().get(number) else { continue };
            self.raw(start)?;
            let path = actor.path();
            self.text_of(notes, "\"path\":", path)?;
            self.text_of(notes, ",\"name\":", last_element(path))?;
            self.class_and_depth(&actor, notes)?;
            self.host(&actor)?;
            if tree.forest().below(Some(number)).next().is_none() {
                self.raw(",\"children\":[]")?;
            } else {
                self.raw(",\"children\":")?;
                self.branches(tree, Some(number), notes)?;
            }
            start = "},{";
        }
        self.raw(if start == "[{" { "[]" } else { "}]" })
    }

    #[inline]
    fn class_and_depth(&mut self, actor: &Actor<'_>, notes: &mut ListNotes) -> io::Result<()> {
        match actor.class_id().filter(|id| *id < REMEMBERED_CLASSES) {
            Some(id) => self.put(notes.class(id, actor, self.also_escaped))?,
            None => {
                self.text_after(CLASS, actor.class())?;
                self.raw(DEPTH)?;
            }
        }
        self.number(actor.mailbox_depth().unwrap_or(0))
    }

    #[inline]
    fn spawn_time(&mut self, time: SpawnedAt<'_>) -> io::Result<()> {
        let usual = match time {
            SpawnedAt::At(Some(unix_ns)) => u64::try_from(unix_ns).ok(),
            SpawnedAt::At(None) | SpawnedAt::Text(_) => None,
        };
        match (usual, time) {
            (Some(unix_ns), _) => {
                self.time.set(unix_ns);
                let field = self.time.field;
                self.put(&field)
            }
            (None, SpawnedAt::Text(text)) => self.text_after(SPAWNED, text),
            (None, SpawnedAt::At(None)) => self.text_after(SPAWNED, ""),
            (None, SpawnedAt::At(Some(unix_ns))) => {
                with_rfc3339(unix_ns, |text| self.text_after(SPAWNED, text))
            }
        }
    }

    #[inline]
    fn host(&mut self, actor: &Actor<'_>) -> io::Result<()> {
        match actor.host() {
            Some(host) => self.text_after(",\"host\":", host),
            None => Ok(()),
        }
    }
}

/// For JSON that another serializer writes into the same document.
impl Write for JsonWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_piece()?;
        self.to.flush()
    }
}

const CLASS: &str = ",\"actor_type\":";
const DEPTH: &str = ",\"mailbox_depth\":";
const SPAWNED: &str = ",\"spawned_at\":";

/// What a writer remembers while it writes one list.
struct ListNotes {
    /// Whether no text of the list needs an escape, except those of classes with a number.
    is_plain: bool,
    /// By class number: the fields from `actor_type` with the quoted class up to the value of `mailbox_depth`.
    classes: Vec<Option<Box<[u8]>>>,
}

impl ListNotes {
    fn of(list: &ActorList) -> Self {
        // This fold compiles to a check of many bytes at once.
        let is_plain = list.texts().bytes().fold(true, |is_plain, byte| {
            is_plain & ((b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\'))
        });
        Self { is_plain, classes: Vec::new() }
    }

    #[inline]
    fn class(&mut self, id: u32, actor: &Actor<'_>, also_escaped: fn(char) -> bool) -> &[u8] {
        let at = id as usize;
        if self.classes.get(at).is_none_or(Option::is_none) {
            self.remember(at, actor.class(), also_escaped);
        }
        self.classes[at].as_deref().unwrap_or_default()
    }

    #[cold]
    fn remember(&mut self, at: usize, class: &str, also_escaped: fn(char) -> bool) {
        let mut field = format!("{CLASS}\"").into_bytes();
        let put = |part: &[u8]| {
            field.extend_from_slice(part);
            Ok(())
        };
        // Writing to memory does not fail.
        let _ = escape(class, also_escaped, put);
        field.extend_from_slice(b"\"");
        field.extend_from_slice(DEPTH.as_bytes());
        self.classes.resize_with(self.classes.len().max(at + 1), || None);
        self.classes[at] = Some(field.into());
    }
}

/// The field `spawned_at` with the last time. Most times of a list are of few days, often of the same second.
struct TimeText {
    field: [u8; 46],
    day: u64,
    second: u64,
}

impl Default for TimeText {
    fn default() -> Self {
        Self {
            field: *b",\"spawned_at\":\"0000-00-00T00:00:00.000000000Z\"",
            day: u64::MAX,
            second: u64::MAX,
        }
    }
}

impl TimeText {
    /// Position of the date.
    const DATE: usize = 15;
    /// Position of the hour.
    const TIME: usize = Self::DATE + 11;
    /// Position of the nanoseconds.
    const NS: usize = Self::TIME + 9;

    #[inline]
    fn set(&mut self, unix_ns: u64) {
        let (second, ns) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000);
        if second != self.second {
            self.set_second(second);
        }
        self.field[Self::NS] = b'0' + (ns / 100_000_000) as u8;
        let ns = (ns % 100_000_000) as u32;
        let [high, low] = [ns / 10_000, ns % 10_000];
        for (pair, at) in [high / 100, high % 100, low / 100, low % 100].into_iter().zip([1, 3, 5, 7]) {
            put_pair(&mut self.field, Self::NS + at, pair.into());
        }
    }

    fn set_second(&mut self, second: u64) {
        self.second = second;
        let (day, in_day) = (second / 86_400, second % 86_400);
        if day != self.day {
            self.day = day;
            let date = &mut self.field[Self::DATE..][..10];
            with_rfc3339(i128::from(second) * 1_000_000_000, |text| {
                date.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
            });
        }
        for (pair, at) in [in_day / 3_600, in_day / 60 % 60, in_day % 60].into_iter().zip([0, 3, 6]) {
            put_pair(&mut self.field, Self::TIME + at, pair);
        }
    }
}

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[inline]
fn put_pair(to: &mut [u8], at: usize, number: u64) {
    to[at..at + 2].copy_from_slice(&PAIRS[number as usize % 100]);
}

/// Copies a text to a place of the same length. Returns whether all of it is printable ASCII without quotes and backslashes;
/// if not, the copy is of no use.
#[inline]
fn is_plain_copied(to: &mut [u8], from: &[u8]) -> bool {
    let mut found = 0;
    let Some((last_to, last)) = to.last_chunk_mut().zip(from.last_chunk()) else {
        to.iter_mut().zip(from).for_each(|(to, from)| {
            *to = *from;
            found |= unusual(u64::from(*from) | 0x2020_2020_2020_2000);
        });
        return found == 0;
    };
    // Some of these bytes are copied again below: that is quicker than a loop over the rest.
    found |= copy(last_to, last);
    for (to, from) in to.chunks_exact_mut(8).zip(from.chunks_exact(8)) {
        if let (Some(to), Some(from)) = (to.first_chunk_mut(), from.first_chunk()) {
            found |= copy(to, from);
        }
    }
    found == 0
}

#[inline]
fn copy(to: &mut [u8; 8], from: &[u8; 8]) -> u64 {
    *to = *from;
    unusual(u64::from_le_bytes(*from))
}

/// 0 if all eight bytes are printable ASCII, and no quote or backslash.
#[inline]
const fn unusual(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    // In a word without a high bit, each of these sets the high bit of a byte that is not plain.
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let delete = word.wrapping_add(ONES);
    (word | control | quote | backslash | delete) & (ONES * 0x80)
}

/// Passes the text with escapes to `put`, part by part.
fn escape(
    text: &str,
    also: fn(char) -> bool,
    mut put: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' | '\\' => c as u8,
            '\u{8}' => b'b',
            '\t' => b't',
            '\n' => b'n',
            '\u{c}' => b'f',
            '\r' => b'r',
            '\0'..' ' => b'u',
            ' '..='~' => continue,
            _ if also(c) => b'u',
            _ => continue,
        };
        put(&text.as_bytes()[from..at])?;
        from = at + c.len_utf8();
        if escape != b'u' {
            put(&[b'\\', escape])?;
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let digit = |shift: u32| b"0123456789abcdef"[usize::from(*unit >> shift & 0xf)];
            put(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)])?;
        }
    }
    put(&text.as_bytes()[from..])
}

impl ToJson for str {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.text(self)
    }
}

impl ToJson for String {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.text(self)
    }
}

impl ToJson for u64 {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.number(*self)
    }
}

impl ToJson for usize {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.number(*self as u64)
    }
}

impl ToJson for i32 {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        if *self < 0 {
            json.raw("-")?;
        }
        json.number(self.unsigned_abs().into())
    }
}

impl ToJson for bool {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.raw(if *self { "true" } else { "false" })
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        (**self).to_json(json)
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        match self {
            Some(value) => value.to_json(json),
            None => json.raw("null"),
        }
    }
}

impl<T: ToJson> ToJson for [T] {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.list(self)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.list(self)
    }
}

impl<A: ToJson, B: ToJson> ToJson for (A, B) {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.raw("[")?;
        self.0.to_json(json)?;
        json.raw(",")?;
        self.1.to_json(json)?;
        json.raw("]")
    }
}

impl ToJson for ActorList {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        json.actors(self, &mut ListNotes::of(self))
    }
}

impl ToJson for ActorTree {
    fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
        let mut notes = ListNotes::of(self.actors());
        json.raw("{\"total\":")?;
        json.number(self.total())?;
        json.raw(",\"roots\":")?;
        json.branches(self, None, &mut notes)?;
        json.raw(",\"flat\":")?;
        json.actors(self.actors(), &mut notes)?;
        json.raw("}")
    }
}

/// Implements [`ToJson`] for a structure by its fields. A field that is missing here does not compile.
macro_rules! object {
    ($object:ty { $first:ident $(, $next:ident)* }) => {
        impl $object {
            fn fields_to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
                let Self { $first $(, $next)* } = self;
                json.raw(concat!("\"", stringify!($first), "\":"))?;
                $first.to_json(json)?;
                $(
                    json.raw(concat!(",\"", stringify!($next), "\":"))?;
                    $next.to_json(json)?;
                )*
                Ok(())
            }
        }

        impl ToJson for $object {
            fn to_json(&self, json: &mut JsonWriter<'_>) -> io::Result<()> {
                json.raw("{")?;
                self.fields_to_json(json)?;
                json.raw("}")
            }
        }
    };
}

object!(NodeFields<'_> {
    node, generated_at, actors, dead_letters, cluster, sharding, persistence, remote, streams, ddata
});
object!(DeadLetterRecord { seq, recipient, sender, message_type, message_preview, timestamp });
object!(ClusterMemberInfo { address, status, roles, reachable, up_number });
object!(ClusterStateInfo {
    self_address,
    leader,
    members,
    unreachable,
    reachability_records,
    gossip_version
});
object!(ReachabilityRecord { observer, subject, status });
object!(ShardRegionInfo { region_id, shard_count, shards });
object!(ShardingSnapshot { regions, allocations });
object!(PersistenceSnapshot { journals, total_events, recent_writes });
object!(JournalInfo { name, persistence_ids });
object!(PersistenceIdStat { persistence_id, highest_sequence_nr, event_count });
object!(JournalWriteInfo { journal, persistence_id, sequence_nr, timestamp });
object!(RemoteSnapshot { associations });
object!(RemoteAssociationInfo { remote_address, state, inbound_bytes, outbound_bytes });
object!(StreamsSnapshot { running_graphs, total_started, total_finished, active });
object!(StreamGraphInfo { id, name, started_at });
object!(DDataSnapshot { keys, total_updates });
