//! Decoding the subsystems of a node: instances, documents and journal writes.
//!
//! ```
//! # use atomscope_layout::records::ClockSampleRecord;
//! # use atomscope_layout::region::{HeaderRecord, HeaderWriter};
//! # use atomscope_layout::view::WriterMemory;
//! # use atomscope_layout::{Capacities, RegionMap};
//! use atomscope_layout::attached::Attachment;
//! use atomscope_layout::decode::RegionReader;
//! use atomscope_layout::instances::{Domain, lease};
//! # let map = RegionMap::for_capacities(&Capacities::LEAST)?;
//! # let memory = WriterMemory::private(map.region_bytes).ok_or("not enough memory")?;
//! # let header = HeaderWriter::new(memory.words());
//! # header.prepare(&map, HeaderRecord::default(), ClockSampleRecord::default(), ["shop", "", ""]);
//! # header.publish();
//! header.attach(Attachment::Lease); // `header` is the writer of a region in `memory`
//!
//! let instances = RegionReader::open(memory.reader())?.instances();
//! assert_eq!(instances.count(Domain::Lease), Some(0)); // known: none yet
//! assert_eq!(instances.count(Domain::Journal), None); // unknown: no journal is attached
//! assert_eq!(instances.sum(Domain::Lease, lease::ACQUIRED), Some(0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use zerocopy::{FromZeros, IntoBytes};

use super::clock::{Moment, rfc3339, time_text};
use super::names::{Names, Texts};
use super::reader::RegionReader;
use crate::attached::Attached;
use crate::document::{self, Document};
use crate::dto::{
    ClusterMemberInfo, ClusterStateInfo, DDataSnapshot, JournalInfo, JournalWriteInfo, PersistenceIdStat,
    PersistenceSnapshot, ReachabilityRecord, RemoteAssociationInfo, RemoteSnapshot, ShardRegionInfo,
    ShardingSnapshot, StreamGraphInfo, StreamsSnapshot,
};
use crate::histogram::Histogram;
use crate::instances::{
    Domain, FieldKind, INSTANCE_WORDS, InstanceRecord, NUMBERS, association, graph, journal, persistence_id,
};
use crate::lanes;
use crate::metrics::Builtin;
use crate::records::{JOURNAL_WRITE_WORDS, JournalWriteRecord};
use crate::region::{CLUSTER_DOCUMENT, SHARDING_DOCUMENT, header};
use crate::ring::{RingReader, SlotRead};
use crate::seqlock::Patience;
use crate::table::Key;

/// Kinds of rows in the document of the cluster.
pub mod cluster_rows {
    /// The address of this node. One text.
    pub const SELF: u16 = 1;
    /// The address of the leader. One text.
    pub const LEADER: u16 = 2;
    /// A member. Texts: address, status, roles. Number: the low half is its up-number, and [`REACHABLE_BIT`].
    pub const MEMBER: u16 = 3;
    /// The address of an unreachable member. One text.
    pub const UNREACHABLE: u16 = 4;
    /// A record of reachability. Texts: observer, subject, status.
    pub const REACHABILITY: u16 = 5;
    /// A node of the version vector of the gossip; the number is its version. One text.
    pub const VERSION: u16 = 6;
    /// The bit in the number of a member that says that it is reachable.
    pub const REACHABLE_BIT: u64 = 1 << 32;
}

/// Kinds of rows in the document of sharding.
pub mod sharding_rows {
    /// A shard region; the number is how many shards it has. One text.
    pub const REGION: u16 = 1;
    /// A shard of the shard region in the row before. One text.
    pub const SHARD: u16 = 2;
    /// An allocation. Texts: shard, shard region.
    pub const ALLOCATION: u16 = 3;
    /// A hand-off. Texts: shard, from, to, state.
    pub const HAND_OFF: u16 = 4;
}

/// An instance that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceEntry {
    /// Its domain.
    pub domain: Domain,
    /// Its key.
    pub key: Key,
    /// Its name.
    pub name: String,
    /// The name of its owner: the instance that it belongs to.
    pub owner: Option<String>,
    /// The key of its owner; zeros if it has none.
    pub owner_key: Key,
    /// When it was made: RFC 3339, UTC.
    pub since: String,
    /// When it was made, by the node's clocks; `None` if unknown.
    pub made: Option<Moment>,
    /// Its numbers, 0 if unknown; see [`Domain::fields`].
    pub numbers: [u64; NUMBERS],
    /// Bits of the unknown numbers.
    unknown: u16,
    /// The write latency of a journal, in nanoseconds.
    pub latency: Option<Histogram>,
    /// The texts of the numbers that are names, with the index of each.
    names: Vec<(usize, String)>,
}

const _: () = assert!(NUMBERS <= u16::BITS as usize);

impl InstanceEntry {
    /// Whether the number with this index is known.
    pub fn is_known(&self, field: usize) -> bool {
        !u16::try_from(field).is_ok_and(|field| self.unknown.checked_shr(field.into()).unwrap_or(0) & 1 != 0)
    }

    /// The number with this index; `None` if unknown.
    pub fn number(&self, field: usize) -> Option<u64> {
        self.numbers.get(field).copied().filter(|_| self.is_known(field))
    }

    /// The text of the number with this index, if its kind is a name; else empty.
    pub fn text(&self, field: usize) -> &str {
        self.names.iter().find(|(at, _)| *at == field).map_or("", |(_, name)| name.as_str())
    }
}

/// A map of name, owner, since, and one entry per number: null if the number is unknown.
impl Serialize for InstanceEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(owner) = &self.owner {
            map.serialize_entry("owner", owner)?;
        }
        map.serialize_entry("since", &self.since)?;
        for (at, field) in self.domain.fields().iter().enumerate() {
            let number = self.numbers[at];
            match field.kind {
                _ if !self.is_known(at) => map.serialize_entry(field.name, &None::<u64>)?,
                FieldKind::Counter | FieldKind::Gauge => map.serialize_entry(field.name, &number)?,
                FieldKind::Name => map.serialize_entry(field.name, self.text(at))?,
                FieldKind::Float => map.serialize_entry(field.name, &f64::from_bits(number))?,
                FieldKind::Flag => map.serialize_entry(field.name, &flag(number))?,
            }
        }
        map.end()
    }
}

/// The value of a flag; `None` if unknown.
pub fn flag(number: u64) -> Option<bool> {
    match number {
        1 => Some(false),
        2 => Some(true),
        _ => None,
    }
}

/// All instances, and the number of those that could not be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceList {
    /// The instances, by domain, owner and name.
    pub entries: Vec<InstanceEntry>,
    /// Records that could not be read.
    pub unreadable: u64,
    /// The attachments that were made.
    pub attached: Attached,
}

impl InstanceList {
    /// The number of instances of a domain; `None` if unknown, as no attachment lists them.
    pub fn count(&self, domain: Domain) -> Option<u64> {
        let count = self.of(domain).count() as u64;
        (count > 0 || self.attached.lists(domain)).then_some(count)
    }

    /// The sum of a number over the instances of a domain for which it is known; `None` if it is unknown for all.
    pub fn sum(&self, domain: Domain, field: usize) -> Option<u64> {
        let known = self.of(domain).filter_map(|entry| entry.number(field));
        known.reduce(u64::saturating_add).or_else(|| {
            let is_empty = self.of(domain).next().is_none();
            (is_empty && self.attached.counts_some(domain, field)).then_some(0)
        })
    }

    /// The instances of a domain.
    pub fn of(&self, domain: Domain) -> impl Iterator<Item = &InstanceEntry> {
        self.entries.iter().filter(move |entry| entry.domain == domain)
    }

    fn sort(&mut self) {
        self.entries.sort_by(|a, b| (a.domain, &a.owner, &a.name).cmp(&(b.domain, &b.owner, &b.name)));
    }
}

/// The newest journal writes, and the number of those that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalWrites {
    /// The writes, oldest first.
    pub recent: Vec<JournalWriteInfo>,
    /// All journal writes so far.
    pub total: u64,
    /// Writes of the ring that were abandoned or could not be read.
    pub unreadable: u64,
}

impl Subsystems {
    /// Replaces each text that may come from the application by `name` of it, and sorts again.
    pub fn rename(&mut self, name: impl Fn(&str) -> String) {
        let rename = |text: &mut String| *text = name(text);
        let ClusterStateInfo {
            self_address,
            leader,
            members,
            unreachable,
            reachability_records,
            gossip_version,
        } = &mut self.cluster;
        self_address.iter_mut().chain(leader).chain(unreachable).for_each(rename);
        for member in members {
            rename(&mut member.address);
            member.roles.iter_mut().for_each(rename);
        }
        for record in reachability_records {
            rename(&mut record.observer);
            rename(&mut record.subject);
        }
        gossip_version.iter_mut().for_each(|(node, _)| rename(node));
        for region in &mut self.sharding.regions {
            rename(&mut region.region_id);
            region.shards.iter_mut().for_each(rename);
        }
        for (shard, region) in &mut self.sharding.allocations {
            rename(shard);
            rename(region);
        }
        self.hand_offs
            .iter_mut()
            .for_each(|[shard, from, to, _]| [shard, from, to].into_iter().for_each(rename));
        for journal in &mut self.persistence.journals {
            rename(&mut journal.name);
            journal.persistence_ids.iter_mut().for_each(|id| rename(&mut id.persistence_id));
        }
        for write in &mut self.persistence.recent_writes {
            rename(&mut write.journal);
            rename(&mut write.persistence_id);
        }
        self.remote.associations.iter_mut().for_each(|association| rename(&mut association.remote_address));
        self.streams.active.iter_mut().for_each(|graph| rename(&mut graph.name));
        self.ddata.keys.iter_mut().for_each(rename);
        for entry in &mut self.instances.entries {
            rename(&mut entry.name);
            entry.owner.iter_mut().for_each(rename);
            let states = [Domain::Association, Domain::Shard].contains(&entry.domain);
            entry.names.iter_mut().filter(|_| !states).for_each(|(_, text)| rename(text));
        }
        // Sort by the new names: the order of the old names would reveal something about them.
        self.instances.sort();
        self.ddata.keys.sort();
        self.remote.associations.sort_by(|a, b| a.remote_address.cmp(&b.remote_address));
        self.persistence.journals.sort_by(|a, b| a.name.cmp(&b.name));
        for journal in &mut self.persistence.journals {
            journal.persistence_ids.sort_by(|a, b| a.persistence_id.cmp(&b.persistence_id));
        }
    }
}

/// The subsystems of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subsystems {
    /// The cluster.
    pub cluster: ClusterStateInfo,
    /// Shard regions and allocations.
    pub sharding: ShardingSnapshot,
    /// Hand-offs of shards: shard, from, to, state.
    pub hand_offs: Vec<[String; 4]>,
    /// Journals.
    pub persistence: PersistenceSnapshot,
    /// Associations.
    pub remote: RemoteSnapshot,
    /// Streams.
    pub streams: StreamsSnapshot,
    /// Distributed data.
    pub ddata: DDataSnapshot,
    /// All instances.
    pub instances: InstanceList,
    /// Rows dropped because a document was full.
    pub rows_dropped: u64,
    /// Documents that could not be read.
    pub documents_unreadable: u64,
}

impl<'a> RegionReader<'a> {
    /// Decodes the subsystems. Costs a scan of the instances, and copies both documents and the journal writes.
    pub fn subsystems(&self) -> Subsystems {
        let instances = self.instances();
        let mut subsystems = Subsystems {
            remote: remote(&instances),
            streams: self.streams(&instances),
            ddata: self.ddata(&instances),
            persistence: self.persistence(&instances),
            ..Subsystems::default()
        };
        let (mut dropped, mut unreadable) = (0, 0);
        let mut document = |number| match self.document(number) {
            Ok(document) => {
                let document = document.unwrap_or_default();
                dropped = document.dropped.saturating_add(dropped);
                document
            }
            Err(_) => {
                unreadable += 1;
                Document::default()
            }
        };
        subsystems.cluster = cluster(&document(CLUSTER_DOCUMENT));
        (subsystems.sharding, subsystems.hand_offs) = sharding(&document(SHARDING_DOCUMENT));
        (subsystems.rows_dropped, subsystems.documents_unreadable) = (dropped, unreadable);
        Subsystems { instances, ..subsystems }
    }

    fn document(&self, number: usize) -> Result<Option<Document>, crate::seqlock::Unreadable> {
        let (section, stride) = (self.section(self.map.documents), self.map.documents.stride);
        match section.slice(number * stride..(number + 1) * stride) {
            Some(words) => document::read(words),
            None => Ok(None),
        }
    }

    /// Decodes all instances: one scan of their slots.
    pub fn instances(&self) -> InstanceList {
        self.instances_with(|_| true)
    }

    /// Decodes the instances of a domain, without their owners: one scan of all slots, which is cheaper than decoding all.
    pub fn instances_of(&self, domain: Domain) -> InstanceList {
        self.instances_with(|record| record.domain == domain as u16)
    }

    fn instances_with(&self, is_wanted: impl Fn(&InstanceRecord) -> bool) -> InstanceList {
        let slots = self.slots(self.map.instances, header::INSTANCES_USED);
        let mut names = Names::default();
        let mut stamps = Vec::new();
        let mut list = InstanceList { attached: self.attached(), ..InstanceList::default() };
        let mut words = [0u64; INSTANCE_WORDS];
        let mut patience = Patience::for_a_scan();
        for slot in 0..slots.len() {
            let read = slots.read(slot, &mut words, &mut patience);
            if let Ok(false) = read {
                continue;
            }
            if read.is_ok() && !is_wanted(zerocopy::transmute_ref!(&words)) {
                continue;
            }
            let decoded = read.ok().and_then(|_| decode_instance(&words, list.attached, self, &mut names));
            match decoded {
                Some((entry, since)) => {
                    list.entries.push(entry);
                    stamps.push(since);
                }
                None => list.unreadable += 1,
            }
        }
        let clock = self.clock();
        for (entry, since) in list.entries.iter_mut().zip(stamps) {
            entry.made = clock.as_ref().and_then(|clock| clock.moment(since));
            entry.since = entry.made.map(|made| rfc3339(made.unix_ns)).unwrap_or_default();
        }
        let by_key: HashMap<Key, String> =
            list.entries.iter().map(|entry| (entry.key, entry.name.clone())).collect();
        for entry in &mut list.entries {
            entry.owner = by_key.get(&entry.owner_key).cloned();
        }
        list.sort();
        list
    }

    /// The newest journal writes, at most `limit` of them.
    pub fn journal_writes(&self, limit: usize) -> JournalWrites {
        let section = self.section(self.map.journal_writes);
        if section.is_empty() {
            return JournalWrites::default();
        }
        let ring = RingReader::new(section, self.map.journal_writes.stride);
        let mut stamps = Vec::new();
        let total = ring.head();
        let kept = total.min(ring.capacity()).min(limit as u64);
        let mut writes = JournalWrites { total, ..JournalWrites::default() };
        let mut words = [0u64; JOURNAL_WRITE_WORDS];
        let mut patience = Patience::for_a_scan();
        for ticket in total - kept..total {
            let write = match ring.read(ticket, &mut words, &mut patience) {
                Ok(SlotRead::Record) => decode_journal_write(&words),
                Ok(SlotRead::Lapped) => continue,
                Ok(SlotRead::Abandoned | SlotRead::Pending) | Err(_) => None,
            };
            match write {
                Some((stamp, write)) => {
                    writes.recent.push(write);
                    stamps.push(stamp);
                }
                None => writes.unreadable += 1,
            }
        }
        let clock = self.clock();
        for (write, stamp) in writes.recent.iter_mut().zip(stamps) {
            write.timestamp = time_text(clock.as_ref(), stamp);
        }
        writes
    }

    /// Journals, persistence ids and the newest writes.
    pub fn persistence(&self, instances: &InstanceList) -> PersistenceSnapshot {
        let mut ids: HashMap<Key, Vec<PersistenceIdStat>> = HashMap::new();
        for id in instances.of(Domain::PersistenceId) {
            ids.entry(id.owner_key).or_default().push(PersistenceIdStat {
                persistence_id: id.name.clone(),
                highest_sequence_nr: id.numbers[persistence_id::HIGHEST],
                event_count: id.numbers[persistence_id::EVENTS],
            });
        }
        // List each id once, even if a damaged region has several journals with the same key.
        let journal = |journal: &InstanceEntry| JournalInfo {
            name: journal.name.clone(),
            persistence_ids: ids.remove(&journal.key).unwrap_or_default(),
        };
        PersistenceSnapshot {
            journals: instances.of(Domain::Journal).map(journal).collect(),
            total_events: self.builtin(Builtin::PersistenceEvents),
            recent_writes: self.journal_writes(usize::MAX).recent,
        }
    }

    /// The totals of streams, and the running ones by id.
    pub fn streams(&self, instances: &InstanceList) -> StreamsSnapshot {
        let active = instances.of(Domain::Graph).map(|graph| StreamGraphInfo {
            id: graph.numbers[graph::ID],
            name: graph.name.clone(),
            started_at: graph.since.clone(),
        });
        let mut active: Vec<_> = active.collect();
        active.sort_by_key(|graph| graph.id);
        // Read the finished ones first, so that the difference is never too low.
        let total_finished = self.builtin(Builtin::StreamsFinished);
        lanes::after_ends();
        let total_started = self.builtin(Builtin::StreamsStarted);
        StreamsSnapshot {
            running_graphs: total_started.saturating_sub(total_finished),
            total_started,
            total_finished,
            active,
        }
    }

    /// The keys of distributed data, and the number of updates.
    pub fn ddata(&self, instances: &InstanceList) -> DDataSnapshot {
        let mut keys: Vec<_> = instances.of(Domain::Key).map(|key| key.name.clone()).collect();
        keys.sort();
        DDataSnapshot { keys, total_updates: self.builtin(Builtin::DDataUpdates) }
    }
}

/// The associations of these instances.
pub fn remote(instances: &InstanceList) -> RemoteSnapshot {
    let info = |at: &InstanceEntry| RemoteAssociationInfo {
        remote_address: at.name.clone(),
        state: at.text(association::STATE).to_owned(),
        inbound_bytes: at.numbers[association::BYTES_IN],
        outbound_bytes: at.numbers[association::BYTES_OUT],
    };
    RemoteSnapshot { associations: instances.of(Domain::Association).map(info).collect() }
}

fn decode_instance(
    words: &[u64; INSTANCE_WORDS],
    attached: Attached,
    reader: &RegionReader<'_>,
    names: &mut Names,
) -> Option<(InstanceEntry, u64)> {
    let mut record = InstanceRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let domain = Domain::from_number(record.domain)?;
    let name = Texts(&record.name).take(record.name_bytes)?.to_owned();
    let fields = domain.fields().iter().enumerate().filter(|(_, field)| field.kind == FieldKind::Name);
    let texts = fields.filter_map(|(at, _)| {
        let id = u32::try_from(record.numbers[at]).ok().filter(|id| *id != 0)?;
        Some((at, names.look_up(reader, id).to_owned()))
    });
    let is_unknown =
        |at: usize| record.numbers[at] == 0 && !attached.counts_of(domain, at, record.counted_by);
    let unknown = (0..domain.fields().len()).filter(|at| is_unknown(*at));
    let entry = InstanceEntry {
        domain,
        key: Key::from(record.key),
        name,
        owner: None,
        owner_key: Key::from(record.owner),
        since: String::new(),
        made: None,
        latency: match domain {
            Domain::Journal => reader.histogram(record.numbers[journal::LATENCY]),
            _ => None,
        },
        numbers: record.numbers,
        unknown: unknown.fold(0, |bits, at| bits | 1 << at),
        names: texts.collect(),
    };
    Some((entry, record.since))
}

fn decode_journal_write(words: &[u64; JOURNAL_WRITE_WORDS]) -> Option<(u64, JournalWriteInfo)> {
    let mut record = JournalWriteRecord::new_zeroed();
    record.as_mut_bytes().copy_from_slice(words.as_bytes());
    let mut texts = Texts(&record.text);
    let write = JournalWriteInfo {
        journal: texts.take(record.journal_bytes)?.to_owned(),
        persistence_id: texts.take(record.persistence_id_bytes)?.to_owned(),
        sequence_nr: record.sequence_nr,
        timestamp: String::new(),
    };
    Some((record.stamp, write))
}

fn cluster(document: &Document) -> ClusterStateInfo {
    let mut state = ClusterStateInfo::default();
    for row in &document.rows {
        let first = || row.text(0).to_owned();
        match row.kind {
            cluster_rows::SELF => state.self_address = Some(first()),
            cluster_rows::LEADER => state.leader = Some(first()),
            cluster_rows::MEMBER => state.members.push(ClusterMemberInfo {
                address: first(),
                status: row.text(1).to_owned(),
                roles: row.texts.iter().skip(2).cloned().collect(),
                reachable: row.number & cluster_rows::REACHABLE_BIT != 0,
                up_number: row.number as u32 as i32,
            }),
            cluster_rows::UNREACHABLE => state.unreachable.push(first()),
            cluster_rows::REACHABILITY => state.reachability_records.push(ReachabilityRecord {
                observer: first(),
                subject: row.text(1).to_owned(),
                status: row.text(2).to_owned(),
            }),
            cluster_rows::VERSION => state.gossip_version.push((first(), row.number)),
            _ => {}
        }
    }
    state
}

fn sharding(document: &Document) -> (ShardingSnapshot, Vec<[String; 4]>) {
    let mut snapshot = ShardingSnapshot::default();
    let mut hand_offs = Vec::new();
    for row in &document.rows {
        let text = |at| row.text(at).to_owned();
        match row.kind {
            sharding_rows::REGION => snapshot.regions.push(ShardRegionInfo {
                region_id: text(0),
                shard_count: usize::try_from(row.number).unwrap_or(usize::MAX),
                shards: Vec::new(),
            }),
            sharding_rows::SHARD => {
                if let Some(region) = snapshot.regions.last_mut() {
                    region.shards.push(text(0));
                }
            }
            sharding_rows::ALLOCATION => snapshot.allocations.push((text(0), text(1))),
            sharding_rows::HAND_OFF => hand_offs.push([0, 1, 2, 3].map(text)),
            _ => {}
        }
    }
    (snapshot, hand_offs)
}
