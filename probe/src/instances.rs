//! Instances (associations, journals, shards, …) and the documents, histograms and journal writes of the subsystems.
//!
//! A listed instance is found and changed without a lock. A new one is made under a lock, which is held for some hundred
//! nanoseconds: new instances are rare compared with changes of known ones.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use atomscope_layout::attached::Attachment;
use atomscope_layout::document::{self, Rows};
use atomscope_layout::histogram::{self, HISTOGRAM_WORDS};
use atomscope_layout::instances::{Domain, Instance, InstanceRecord};
use atomscope_layout::limits::{JOURNAL_NAME_BYTES, JOURNAL_WRITE_TEXT_BYTES};
use atomscope_layout::metrics::Builtin;
use atomscope_layout::names::put_text;
use atomscope_layout::records::{JOURNAL_WRITE_HEAD_WORDS, JOURNAL_WRITE_WORDS, JournalWriteRecord};
use atomscope_layout::ring::{Ring, Written};
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::table::Key;
use zerocopy::FromZeros;

use crate::instance_counts::{Changing, share};
use crate::writer::RegionWriter;

impl RegionWriter {
    /// The key of an instance.
    pub(crate) fn instance_key(&self, domain: Domain, owner: Option<Key>, name: &str) -> Key {
        let Key(first, second) = self.hasher.key(name);
        let Key(owner_first, owner_second) = owner.unwrap_or(Key(0, 0));
        // An odd multiplier maps different words to different words.
        let spread = |word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        Key(
            first ^ spread(owner_first ^ domain as u64),
            second ^ spread(owner_second.wrapping_add(domain as u64)),
        )
    }

    /// Passes the fields of an instance to `work`; makes the instance if it is not listed. `None`, and counted, if the
    /// domain is full.
    pub(crate) fn with_instance<T>(
        &self,
        domain: Domain,
        owner: Option<Key>,
        name: &str,
        work: impl FnMut(&[AtomicU64]) -> T,
    ) -> Option<T> {
        self.with_instance_of(domain, self.instance_key(domain, owner, name), owner, name, work)
    }

    /// The same for a caller that has the key. Takes no lock if the domain is full, since unlisted instances may be as busy
    /// as listed ones. An instance that is being removed just then counts as unlisted.
    pub(crate) fn with_instance_of<T>(
        &self,
        domain: Domain,
        key: Key,
        owner: Option<Key>,
        name: &str,
        mut work: impl FnMut(&[AtomicU64]) -> T,
    ) -> Option<T> {
        if let Some(done) = self.instances().with(key, &mut work) {
            return Some(done);
        }
        if self.counts.of(domain).load(Ordering::Relaxed) >= share(domain, self.instance_capacity()) {
            self.count(domain.unlisted(), 1);
            return None;
        }
        let changing = self.counts.change();
        let instance = self.find_or_make(&changing, domain, key, owner, name)?;
        // No thread removes it while this one holds the lock.
        Some(work(self.instances().numbers(instance)))
    }

    /// Notes that `attachment` was made for one instance, which must not be removed meanwhile; as [`Self::attached`].
    #[allow(dead_code, reason = "used by components, which depend on the features")]
    pub(crate) fn attached_to(&self, instance: Option<Instance>, attachment: Attachment) {
        self.attached(attachment);
        if let Some(instance) = instance {
            self.instances().attach(instance, attachment);
        }
    }

    /// Passes the fields of an instance to `work`, if it is listed.
    pub(crate) fn with_known<T>(&self, key: Key, mut work: impl FnMut(&[AtomicU64]) -> T) -> Option<T> {
        if let Some(done) = self.instances().with(key, &mut work) {
            return Some(done);
        }
        let _changing = self.counts.change();
        let instance = self.instances().find(key)?;
        Some(work(self.instances().numbers(instance)))
    }

    /// The keys of all instances of a domain. Allocates.
    #[cfg(any(feature = "ddata", feature = "remote"))]
    pub(crate) fn instance_keys(&self, domain: Domain) -> std::collections::HashSet<Key> {
        let list = self.reader().map(|reader| reader.instances()).unwrap_or_default();
        list.of(domain).map(|instance| instance.key).collect()
    }

    /// How many instances of a domain there are.
    pub(crate) fn instance_count(&self, domain: Domain) -> usize {
        self.counts.of(domain).load(Ordering::Relaxed)
    }

    /// Makes an instance that only the caller removes, with [`Self::remove_instance`].
    pub(crate) fn make_instance(
        &self,
        domain: Domain,
        key: Key,
        owner: Option<Key>,
        name: &str,
    ) -> Option<Instance> {
        self.find_or_make(&self.counts.change(), domain, key, owner, name)
    }

    fn find_or_make(
        &self,
        _changing: &Changing<'_>,
        domain: Domain,
        key: Key,
        owner: Option<Key>,
        name: &str,
    ) -> Option<Instance> {
        if let Some(instance) = self.instances().find(key) {
            return Some(instance);
        }
        let count = self.counts.of(domain);
        let capacity = share(domain, self.instance_capacity());
        let made = (count.load(Ordering::Relaxed) < capacity)
            .then(|| {
                let (record, cut) = InstanceRecord::new(key, owner, self.stamp(0), domain, name);
                self.count(Builtin::TextsCut, u64::from(cut));
                self.instances().make(&record)
            })
            .flatten();
        match made {
            Some(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
            None => self.count(domain.unlisted(), 1),
        }
        made
    }

    /// Removes an instance; `last` receives its fields while no other thread can change them. False if it is not listed, or
    /// if other threads kept it pinned all the time.
    pub(crate) fn remove_instance(
        &self,
        domain: Domain,
        key: Key,
        mut last: impl FnMut(&[AtomicU64]),
    ) -> bool {
        let _changing = self.counts.change();
        let instances = self.instances();
        let removed =
            instances.find(key).is_some_and(|instance| instances.remove(instance, |numbers| last(numbers)));
        if removed {
            self.counts.of(domain).fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    /// Replaces a document. Takes a lock; not for hot paths.
    pub(crate) fn write_document(&self, number: usize, fill: impl FnOnce(&mut Rows<'_>)) {
        let stamp = self.stamp(0);
        let stride = self.map().documents.stride;
        let words = self.section(self.map().documents).get(number * stride..(number + 1) * stride);
        let _writing = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cut = 0;
        let dropped = document::write(words.unwrap_or_default(), stamp, |rows| {
            fill(rows);
            cut = rows.cut;
        });
        self.count(Builtin::TextsCut, cut);
        self.count(Builtin::DocumentRowsDropped, dropped);
    }

    /// Counts `value` in the histogram with the slot number `slot − 1`; 0 stands for no histogram.
    #[cfg_attr(
        not(feature = "persistence"),
        allow(dead_code, reason = "of the subsystems only journals have some")
    )]
    pub(crate) fn record_histogram(&self, slot: u64, value: u64) {
        let (section, stride) = (self.section(self.map().histograms), self.map().histograms.stride);
        let Some(start) =
            usize::try_from(slot).ok().and_then(|slot| slot.checked_sub(1)?.checked_mul(stride))
        else {
            return;
        };
        if let Some(slot) = section.get(start..start + HISTOGRAM_WORDS) {
            histogram::record(slot, value);
        }
    }

    /// Adds a write to the ring of the newest journal writes.
    pub(crate) fn record_journal_write(&self, journal: &str, persistence_id: &str, sequence_nr: u64) {
        let mut record = JournalWriteRecord::new_zeroed();
        record.stamp = self.stamp(0);
        record.sequence_nr = sequence_nr;
        let (journal_bytes, journal_cut) = put_text(&mut record.text, JOURNAL_NAME_BYTES, journal);
        let rest = record.text.get_mut(journal_bytes..).unwrap_or_default();
        let (id_bytes, id_cut) = put_text(rest, JOURNAL_WRITE_TEXT_BYTES, persistence_id);
        (record.journal_bytes, record.persistence_id_bytes) = (journal_bytes as u16, id_bytes as u16);
        self.count(Builtin::TextsCut, u64::from(journal_cut) + u64::from(id_cut));
        let words: &[u64; JOURNAL_WRITE_WORDS] = zerocopy::transmute_ref!(&record);
        let used = JOURNAL_WRITE_HEAD_WORDS + (journal_bytes + id_bytes).div_ceil(8);
        let ring = Ring::new(self.section(self.map().journal_writes), self.map().journal_writes.stride);
        if ring.write(ring.ticket(), words.get(..used).unwrap_or(words)) == Written::Abandoned {
            self.count(Builtin::JournalWritesAbandoned, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::region::Region;

    #[test]
    fn what_finds_no_room_and_what_is_known_take_no_lock() {
        let region = Region::builder("full").actors(1).instances(8).private().build().unwrap();
        let writer = region.writer.clone();
        let note = |writer: &RegionWriter, name: &str| {
            writer.with_instance(Domain::PersistenceId, None, name, |_| {})
        };
        let ids = ["a", "b", "c", "d", "e", "f"];
        let listed = ids.iter().filter(|id| note(&writer, id).is_some()).count();
        assert_eq!(listed, 4, "half of the capacity");
        let _locked = region.writer.counts.change();
        let (answer, answered) = mpsc::channel();
        std::thread::spawn(move || answer.send(ids.map(|id| note(&writer, id).is_some())));
        let found = answered.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(found, [true, true, true, true, false, false]);
        assert_eq!(region.writer.reader().unwrap().builtin(Builtin::PersistenceIdsUnlisted), 4);
    }
}
