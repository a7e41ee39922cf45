//! The live actors of a region, as one block of text and a row of fixed size per actor.
//!
//! A scan copies the texts of all records into one block, and an [`Actor`] borrows from it. Two records have the same key
//! only while an actor is being replaced. A bitmap finds the keys that may have two, and only their rows are sorted. So the
//! usual list takes linear time, and no hostile region makes it slower than n log n.

use core::cmp::Reverse;
use core::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use super::clock::{Clock, Moment, with_rfc3339};
use super::instruments::{ActorStats, Cells};
use super::names::Names;
use super::reader::{ActorTotals, RegionReader};
use super::scan::{Repeats, Scan, actor_slots, kept_bytes, text_bytes, used_words};
use crate::dto::{ActorSnapshot, ActorStatus};
use crate::forest::{Forest, NONE, last_element, tree};
use crate::limits::PATH_CUT_MARK;
use crate::records::{ACTOR_HEAD_WORDS, ActorRecord, Depth, actor_flags};
use crate::table::Key;
use crate::words;

/// Bytes of a text that [`ActorList::rewrite`] keeps: a row counts the bytes of its five texts in 16 bits.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// Bytes of text for which a list reserves memory, for each actor.
const USUAL_TEXT_BYTES: usize = 48;

/// A live actor: its [`ActorStatus`] and the fields that the JSON does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorEntry {
    /// The fields of the JSON.
    pub status: ActorStatus,
    /// Hash of its path.
    pub key: Key,
    /// Hash of its parent's path.
    pub parent_key: Option<Key>,
    /// Whether the mailbox depth is known; if not, it is 0.
    pub depth_known: bool,
    /// UTC nanoseconds of its spawn, by the node's clock.
    pub spawned_unix_ns: Option<i128>,
}

/// All live actors, each with owned texts, and the number of those that could not be listed. [`ActorList`] holds the same
/// in a third of the memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actors {
    /// The listed actors, by path.
    pub entries: Vec<ActorEntry>,
    /// Live actors that cannot be listed, because all slots were taken.
    pub unlisted: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Waiting stops: stops that came before their spawn.
    pub waiting_stops: u64,
}

/// All live actors in two blocks of memory, and the number of those that could not be listed.
#[derive(Debug, Clone, Default)]
pub struct ActorList {
    texts: String,
    rows: Vec<Row>,
    names: Names,
    cells: Cells,
    clock: Option<Clock>,
    /// Live actors that cannot be listed, because all slots were taken.
    pub unlisted: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Waiting stops: stops that came before their spawn.
    pub waiting_stops: u64,
    mark: u64,
}

/// How many live actors the region holds, and how many could not be listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Live actors that can be listed.
    pub listed: u64,
    /// Live actors that cannot be listed, because all slots were taken.
    pub unlisted: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Waiting stops: stops that came before their spawn.
    pub waiting_stops: u64,
}

impl Tally {
    /// Live actors by the counters minus live actors by the list: 0 at rest, meaningless while actors come and go.
    pub fn drift(&self, totals: &ActorTotals) -> i64 {
        let known = self
            .listed
            .saturating_add(self.unlisted)
            .saturating_add(totals.untracked)
            .saturating_sub(self.waiting_stops);
        let drift = i128::from(totals.live) - i128::from(known);
        drift.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// The fields of a record, and the positions of its texts in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    key: Key,
    /// Meaningless without [`actor_flags::PARENT`], as are the two fields that follow.
    parent_key: Key,
    parent_at: usize,
    parent_bytes: u16,
    /// The ends of its texts, counted from `at`: path, class, spawn time, host, parent that is no prefix.
    ends: [u16; 5],
    at: usize,
    stamp: u64,
    /// 0 if it is unknown.
    depth: Depth,
    type_id: u32,
    flags: u32,
    /// The number that [`Cells`] gave it; 0 without a cell.
    cell: u32,
}

const _: () = assert!(size_of::<Row>() == 88);

/// An actor of a list. Its texts are borrowed, so reading them costs no allocation.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    list: &'a ActorList,
    row: &'a Row,
}

/// When an actor was spawned: the text that the application gave, or UTC nanoseconds since 1970. It is formatted only
/// when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnedAt<'a> {
    /// The text that the application gave.
    Text(&'a str),
    /// The time by the node's clock; `None` if unknown, which is written as the empty text.
    At(Option<i128>),
}

/// A list by path, and its trees. It serializes as an [`ActorSnapshot`] without building one.
#[derive(Debug, Clone)]
pub struct ActorTree {
    actors: ActorList,
    forest: Forest,
}

impl RegionReader<'_> {
    /// All live actors: one scan. An actor that is spawned or stopped during the scan may or may not be in the list.
    pub fn actor_list(&self) -> ActorList {
        let mut list = ActorList::default();
        list.refresh(self);
        list
    }

    /// As [`Self::actor_list`], by path, each actor with owned texts.
    pub fn actors(&self) -> Actors {
        let mut list = self.actor_list();
        list.sort_by_path();
        let ActorList { unlisted, unreadable, waiting_stops, .. } = list;
        let entries = list.iter().map(|actor| actor.entry()).collect();
        Actors { entries, unlisted, unreadable, waiting_stops }
    }
}

impl Actors {
    /// The list and the trees.
    pub fn into_snapshot(self) -> ActorSnapshot {
        let flat: Vec<ActorStatus> = self.entries.into_iter().map(|entry| entry.status).collect();
        ActorSnapshot { total: self.unlisted.saturating_add(flat.len() as u64), roots: tree(&flat), flat }
    }
}

impl From<Actors> for ActorSnapshot {
    fn from(actors: Actors) -> Self {
        actors.into_snapshot()
    }
}

impl ActorList {
    /// Reads the list again, in the order of the slots. It reuses its memory.
    pub fn refresh(&mut self, reader: &RegionReader<'_>) {
        let slots = actor_slots(reader);
        self.texts.clear();
        self.rows.clear();
        // At once, for the usual actor: growing step by step would touch twice the memory.
        let live = usize::try_from(reader.actor_totals().live).unwrap_or(slots.len()).min(slots.len());
        self.rows.reserve(live);
        self.texts.reserve(live * USUAL_TEXT_BYTES);
        self.names = Names::default();
        self.cells.clear();
        let Scan { unreadable, mut mark } =
            Scan::over(&slots, ACTOR_HEAD_WORDS, used_words, |record| self.keep(record, reader));
        self.keep_newest();
        self.name_parents();
        (self.unlisted, self.waiting_stops) = (reader.unlisted_actors(), reader.waiting_stops());
        [self.unlisted, self.waiting_stops].into_iter().for_each(|number| mark.add(number));
        (self.unreadable, self.mark) = (unreadable, self.names.marked(mark));
        self.cells.end(reader, &mut self.names);
        // Read after the records: their stamps may need a clock sample that was added during the scan.
        self.clock = reader.clock();
    }

    /// How many actors there are, and how many could not be listed.
    pub fn tally(&self) -> Tally {
        let Self { unlisted, unreadable, waiting_stops, .. } = *self;
        Tally { listed: self.rows.len() as u64, unlisted, unreadable, waiting_stops }
    }

    /// A hash of everything that the scan found. Two lists with the same mark have the same actors with the same fields; only
    /// the clock, which converts stamps to times, may differ.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Adds a record, if it holds what a writer stores.
    fn keep(&mut self, record: &ActorRecord, reader: &RegionReader<'_>) -> Option<()> {
        let mut end = 0usize;
        let ends = text_bytes(record).map(|bytes| {
            end += usize::from(bytes);
            end
        });
        let text = core::str::from_utf8(record.text.get(..end)?).ok()?;
        if !ends.iter().all(|end| text.is_char_boundary(*end)) {
            return None;
        }
        let path = &text[..ends[0]];
        let has = |flag| record.flags & flag != 0;
        let mut named_by_key = None;
        if has(actor_flags::PARENT) && has(actor_flags::PARENT_IS_PREFIX) {
            let kept = kept_bytes(record)?;
            let bytes = usize::from(record.parent_bytes);
            if bytes > kept || !path.is_char_boundary(bytes) {
                named_by_key = Some(path.get(..kept)?);
            }
        }
        let at = self.texts.len();
        self.texts.push_str(text);
        let (mut parent_at, mut parent_bytes) = (at + ends[3], record.parent_bytes);
        if let Some(beginning) = named_by_key {
            parent_at = self.texts.len();
            let _ = write!(self.texts, "{beginning}{PATH_CUT_MARK}{}", Key::from(record.parent_key));
            parent_bytes = (self.texts.len() - parent_at) as u16;
        } else if has(actor_flags::PARENT_IS_PREFIX) {
            parent_at = at;
        }
        self.rows.push(Row {
            key: Key::from(record.key),
            parent_key: Key::from(record.parent_key),
            parent_at,
            parent_bytes,
            ends: ends.map(|end| end as u16),
            at,
            stamp: record.spawned,
            // Without the flag the word is left over from an earlier actor of the slot.
            depth: record.known_depth().unwrap_or_default(),
            type_id: record.type_id,
            flags: record.flags,
            cell: self.cells.join(reader, record.cell),
        });
        if record.type_id != 0 {
            self.names.look_up(reader, record.type_id);
        }
        Some(())
    }

    /// Keeps the newest row of each key. So an actor whose stop has not come yet is not listed in addition to its successor.
    fn keep_newest(&mut self) {
        let first = |row: &Row| row.key.0;
        let repeats = Repeats::of(self.rows.len(), self.rows.iter().map(first));
        let numbered = (0..).zip(&self.rows);
        let mut several: Vec<u32> =
            numbered.filter(|(_, row)| repeats.may_have(first(row))).map(|(number, _)| number).collect();
        several.sort_unstable_by_key(|number| {
            let Row { key, stamp, .. } = self.row(*number);
            (*key, *stamp, Reverse(*number))
        });
        let groups = several.chunk_by(|a, b| self.row(*a).key == self.row(*b).key);
        let older = groups.filter_map(|group| group.split_last().map(|(_, older)| older));
        let mut gone: Vec<u32> = older.flatten().copied().collect();
        if gone.is_empty() {
            return;
        }
        gone.sort_unstable();
        let (mut gone, mut number) = (gone.into_iter().peekable(), 0..);
        self.rows.retain(|_| {
            let number = number.next();
            gone.next_if(|row| Some(*row) == number).is_none()
        });
    }

    /// If the cut path of a child does not hold the whole path of its parent, use the path in the parent's own row.
    fn name_parents(&mut self) {
        let is_named_by_key = |row: &Row| {
            row.flags & actor_flags::PARENT != 0 && row.parent_at >= row.at + usize::from(row.ends[4])
        };
        if !self.rows.iter().any(is_named_by_key) {
            return;
        }
        let mut order: Vec<(Key, u32)> = self.rows.iter().map(|row| row.key).zip(0..).collect();
        order.sort_unstable();
        for at in 0..self.rows.len() {
            let row = self.rows[at];
            if !is_named_by_key(&row) {
                continue;
            }
            if let Ok(found) = order.binary_search_by_key(&row.parent_key, |(key, _)| *key) {
                let Row { at: parent_at, ends: [parent_bytes, ..], .. } = self.rows[order[found].1 as usize];
                self.rows[at] = Row { parent_at, parent_bytes, ..row };
            }
        }
    }

    fn row(&self, number: u32) -> &Row {
        &self.rows[number as usize]
    }

    /// Sorts the list by path. The texts stay where they are.
    pub fn sort_by_path(&mut self) {
        let mut order = self.path_order();
        permute(&mut self.rows, &mut order);
    }

    /// The numbers of all actors, by path.
    fn path_order(&self) -> Vec<u32> {
        let Some(first) = self.rows.first() else { return Vec::new() };
        let path = |row: &Row| self.path(row).as_bytes();
        let shared = |common: usize, row| match path(row).get(..common) {
            Some(start) if *start == path(first)[..common] => common,
            _ => shared_bytes(path(first), path(row)),
        };
        let common = self.rows.iter().fold(path(first).len(), shared);
        // The sixteen bytes after the common prefix distinguish most paths, so most comparisons need no text.
        let head = |row: &Row| {
            let rest = &path(row)[common..];
            let head = rest.first_chunk().copied().unwrap_or_else(|| {
                let mut head = [0u8; 16];
                head[..rest.len()].copy_from_slice(rest);
                head
            });
            u128::from_be_bytes(head)
        };
        let mut order: Vec<(u128, u32)> = self.rows.iter().map(head).zip(0..).collect();
        order.sort_unstable_by_key(|(head, _)| *head);
        for alike in order.chunk_by_mut(|(a, _), (b, _)| a == b).filter(|alike| alike.len() > 1) {
            alike.sort_unstable_by_key(|(_, number)| (path(self.row(*number)), *number));
        }
        order.into_iter().map(|(_, number)| number).collect()
    }

    /// Number of actors.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.texts.capacity() + self.rows.capacity() * size_of::<Row>() + self.cells.bytes()
    }

    /// The instrumented actors that no record names, each with its class (`None`: one of all other classes): those whose props
    /// were instrumented without a path, and some that came or stopped during the scan.
    pub fn unnamed(&self) -> impl Iterator<Item = (Option<&str>, ActorStats<'_>)> {
        self.cells.unnamed(&self.names, self.clock.as_ref())
    }

    /// The actor with this number.
    pub fn get(&self, number: u32) -> Option<Actor<'_>> {
        self.rows.get(number as usize).map(|row| Actor { list: self, row })
    }

    /// All actors in the order of the list.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Actor<'_>> + Clone {
        self.rows.iter().map(|row| Actor { list: self, row })
    }

    /// The list by path, with its trees.
    pub fn into_tree(mut self) -> ActorTree {
        self.sort_by_path();
        let parents = self.parents();
        ActorTree { forest: Forest::new(parents), actors: self }
    }

    /// The parent of each row, for a list by path.
    fn parents(&self) -> Vec<u32> {
        // The rows whose path is a prefix of the current path, each with its length. In this order no other row can be an
        // ancestor. They are prefixes of the path before too, so what the two share tells which of them stay.
        let (mut above, mut before): (Vec<(u32, usize)>, &str) = (Vec::new(), "");
        let parent = |(row, number): (&Row, u32)| {
            let path = self.path(row);
            let shared = shared_bytes(before.as_bytes(), path.as_bytes());
            while above.last().is_some_and(|(_, bytes)| *bytes > shared) {
                above.pop();
            }
            let found = match self.parent(row) {
                None => None,
                Some(parent)
                    if parent.len() < path.len() && (row.parent_at == row.at || path.starts_with(parent)) =>
                {
                    above.iter().rev().find(|(_, bytes)| *bytes == parent.len()).map(|(number, _)| *number)
                }
                Some(parent) => {
                    let end = self.rows.partition_point(|row| self.path(row) <= parent);
                    end.checked_sub(1).filter(|at| self.path(&self.rows[*at]) == parent).map(|at| at as u32)
                }
            };
            above.push((number, path.len()));
            before = path;
            found.unwrap_or(NONE)
        };
        self.rows.iter().zip(0..).map(parent).collect()
    }

    /// Changes each actor by `change` and the other names of the list, those of variants and of classes of unnamed actors, by
    /// `rename`, and sorts the list by the new paths. A text is cut at 8 KiB.
    pub fn rewrite(&mut self, mut change: impl FnMut(&mut ActorEntry), rename: impl Fn(&str) -> String) {
        let mut to = Self { texts: String::with_capacity(self.texts.len()), ..Self::default() };
        to.rows.reserve_exact(self.rows.len());
        for (actor, row) in self.iter().zip(&self.rows) {
            let mut entry = actor.entry();
            change(&mut entry);
            let ActorStatus { path, parent, actor_type, mailbox_depth, spawned_at, host } = &entry.status;
            let at = to.texts.len();
            let texts = [Some(path), Some(actor_type), Some(spawned_at), host.as_ref(), parent.as_ref()];
            let ends = texts.map(|text| {
                to.texts.push_str(words::prefix(text.map_or("", String::as_str), MAX_TEXT_BYTES));
                (to.texts.len() - at) as u16
            });
            let flag = |is_set, flag| if is_set { flag } else { 0 };
            to.rows.push(Row {
                parent_at: at + usize::from(ends[3]),
                parent_bytes: ends[4] - ends[3],
                ends,
                at,
                depth: row.depth.followed_by(*mailbox_depth),
                type_id: 0,
                flags: flag(parent.is_some(), actor_flags::PARENT)
                    | flag(host.is_some(), actor_flags::HOST)
                    | flag(entry.depth_known, actor_flags::DEPTH)
                    | actor_flags::SPAWNED_TEXT,
                ..*row
            });
        }
        (self.texts, self.rows) = (to.texts, to.rows);
        self.names.rename(rename);
        self.sort_by_path();
    }

    /// The block that holds all texts of the actors, except the names of numbered classes.
    pub(crate) fn texts(&self) -> &str {
        &self.texts
    }

    fn text(&self, row: &Row, which: usize) -> &str {
        let start = which.checked_sub(1).map_or(0, |before| row.ends[before]);
        &self.texts[row.at + usize::from(start)..row.at + usize::from(row.ends[which])]
    }

    fn path(&self, row: &Row) -> &str {
        self.text(row, 0)
    }

    fn parent(&self, row: &Row) -> Option<&str> {
        let has_one = row.flags & actor_flags::PARENT != 0;
        has_one.then(|| &self.texts[row.parent_at..row.parent_at + usize::from(row.parent_bytes)])
    }
}

/// Moves `rows[order[at]]` to `at`, for all places at once.
fn permute(rows: &mut [Row], order: &mut [u32]) {
    for start in 0..order.len() {
        let mut at = start;
        loop {
            // A place that has its row points to itself.
            let from = core::mem::replace(&mut order[at], at as u32) as usize;
            if from == start {
                break;
            }
            rows.swap(at, from);
            at = from;
        }
    }
}

/// How many bytes two texts have in common at their beginning.
fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    let mut shared = 0;
    let mut rests = (one, other);
    while let (Some((a, one)), Some((b, other))) = (rests.0.split_first_chunk(), rests.1.split_first_chunk())
    {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return shared + differing.trailing_zeros() as usize / 8;
        }
        (shared, rests) = (shared + 8, (one, other));
    }
    shared + rests.0.iter().zip(rests.1).take_while(|(a, b)| a == b).count()
}

impl<'a> Actor<'a> {
    /// Hash of its path.
    pub fn key(&self) -> Key {
        self.row.key
    }

    /// Its path.
    pub fn path(&self) -> &'a str {
        self.list.path(self.row)
    }

    /// The last element of its path.
    pub fn name(&self) -> &'a str {
        last_element(self.path())
    }

    /// Its parent's path.
    pub fn parent(&self) -> Option<&'a str> {
        self.list.parent(self.row)
    }

    /// Its class: the name of its Rust type.
    pub fn class(&self) -> &'a str {
        match self.row.type_id {
            0 => self.list.text(self.row, 1),
            id => self.list.names.get(id),
        }
    }

    /// The name number of its class, by which actors of one list can be grouped; `None` if the record holds the name
    /// itself.
    pub fn class_id(&self) -> Option<u32> {
        Some(self.row.type_id).filter(|id| *id != 0)
    }

    /// Messages in its mailbox, if known.
    pub fn mailbox_depth(&self) -> Option<u64> {
        self.depth().map(|depth| depth.messages.into())
    }

    /// The greatest number of messages seen in its mailbox, if known.
    pub fn depth_peak(&self) -> Option<u64> {
        self.depth().map(|depth| depth.greatest.into())
    }

    fn depth(&self) -> Option<Depth> {
        (self.row.flags & actor_flags::DEPTH != 0).then_some(self.row.depth)
    }

    /// When it was spawned.
    pub fn spawned_at(&self) -> SpawnedAt<'a> {
        if self.row.flags & actor_flags::SPAWNED_TEXT != 0 {
            return SpawnedAt::Text(self.list.text(self.row, 2));
        }
        SpawnedAt::At(self.spawned_unix_ns())
    }

    /// The stamp of its spawn: ticks of the node's own clock, lower for actors that were spawned earlier.
    pub fn spawn_stamp(&self) -> u64 {
        self.row.stamp
    }

    /// UTC nanoseconds of its spawn, by the node's clock.
    pub fn spawned_unix_ns(&self) -> Option<i128> {
        self.list.clock.as_ref()?.unix_ns(self.row.stamp)
    }

    /// When it was spawned, by the node's clocks.
    pub fn spawned(&self) -> Option<Moment> {
        self.list.clock.as_ref()?.moment(self.row.stamp)
    }

    /// The cluster host that the application gave for it.
    pub fn host(&self) -> Option<&'a str> {
        (self.row.flags & actor_flags::HOST != 0).then(|| self.list.text(self.row, 3))
    }

    /// What it does; `None` if it has no cell: it is not instrumented, or all cells were taken.
    pub fn stats(&self) -> Option<ActorStats<'a>> {
        self.list.cells.stats(self.row.cell, &self.list.names, self.list.clock.as_ref())
    }

    /// The fields of the JSON, with owned texts.
    pub fn status(&self) -> ActorStatus {
        ActorStatus {
            path: self.path().to_owned(),
            parent: self.parent().map(str::to_owned),
            actor_type: self.class().to_owned(),
            mailbox_depth: self.row.depth.messages.into(),
            spawned_at: self.spawned_at().to_string(),
            host: self.host().map(str::to_owned),
        }
    }

    /// The status, and the fields that the JSON does not have.
    pub fn entry(&self) -> ActorEntry {
        ActorEntry {
            status: self.status(),
            key: self.row.key,
            parent_key: (self.row.flags & actor_flags::PARENT != 0).then_some(self.row.parent_key),
            depth_known: self.mailbox_depth().is_some(),
            spawned_unix_ns: self.spawned_unix_ns(),
        }
    }
}

impl ActorTree {
    /// Sorts the roots, and the children of each actor, into this order of actor numbers.
    pub fn order(&mut self, order: &[u32]) {
        self.forest.order(order.iter().rev().copied());
    }

    /// The actors, by path.
    pub fn actors(&self) -> &ActorList {
        &self.actors
    }

    /// Parents and children, by their numbers in the list.
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.actors.bytes() + self.forest.bytes()
    }

    /// Live actors, listed or not.
    pub fn total(&self) -> u64 {
        self.actors.unlisted.saturating_add(self.actors.len() as u64)
    }
}

impl From<&ActorTree> for ActorSnapshot {
    fn from(tree: &ActorTree) -> Self {
        let flat: Vec<ActorStatus> = tree.actors.iter().map(|actor| actor.status()).collect();
        Self { total: tree.total(), roots: tree.forest.branches(&flat), flat }
    }
}

impl fmt::Display for SpawnedAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::At(None) => Ok(()),
            Self::At(Some(unix_ns)) => with_rfc3339(*unix_ns, |text| f.write_str(text)),
        }
    }
}

impl Serialize for SpawnedAt<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::At(None) => serializer.serialize_str(""),
            Self::At(Some(unix_ns)) => with_rfc3339(*unix_ns, |text| serializer.serialize_str(text)),
        }
    }
}

/// [`ActorStatus`], borrowed.
#[derive(Serialize)]
struct ActorStatusRef<'a> {
    path: &'a str,
    parent: Option<&'a str>,
    actor_type: &'a str,
    mailbox_depth: u64,
    spawned_at: SpawnedAt<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

/// [`ActorTreeNode`](crate::dto::ActorTreeNode), borrowed.
#[derive(Serialize)]
struct ActorTreeNodeRef<'a, T> {
    path: &'a str,
    name: &'a str,
    actor_type: &'a str,
    mailbox_depth: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    children: T,
}

/// [`ActorSnapshot`], borrowed.
#[derive(Serialize)]
struct ActorSnapshotRef<'a, T> {
    total: u64,
    roots: T,
    flat: &'a ActorList,
}

impl Serialize for Actor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let status = ActorStatusRef {
            path: self.path(),
            parent: self.parent(),
            actor_type: self.class(),
            mailbox_depth: self.row.depth.messages.into(),
            spawned_at: self.spawned_at(),
            host: self.host(),
        };
        status.serialize(serializer)
    }
}

impl Serialize for ActorList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for ActorTree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let roots = Below { tree: self, of: None };
        ActorSnapshotRef { total: self.total(), roots, flat: &self.actors }.serialize(serializer)
    }
}

/// The trees below an actor, or all trees.
struct Below<'a> {
    tree: &'a ActorTree,
    of: Option<u32>,
}

impl Serialize for Below<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { tree, of } = *self;
        serializer.collect_seq(tree.forest.below(of).map(|number| {
            let actor = Actor { list: &tree.actors, row: tree.actors.row(number) };
            ActorTreeNodeRef {
                path: actor.path(),
                name: actor.name(),
                actor_type: actor.class(),
                mailbox_depth: actor.row.depth.messages.into(),
                host: actor.host(),
                children: Below { tree, of: Some(number) },
            }
        }))
    }
}
