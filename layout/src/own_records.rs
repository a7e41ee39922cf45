//! Records of the application's own: kinds that describe their fields, and records that are seqlock cells.
//!
//! ```text
//!   kinds:   │ ready │ first field, lengths │ name, help │           one for each declared struct
//!   fields:  │ ready: type, offset │ length, lengths │ name, unit, names of values, help │
//!   records: │ sequence │ stamp │ payload, 1024 bytes │ kind │ first │ name │ lost │ 0 │
//! ```
//! One seqlock guards a whole record: to claim and to free it is a write, too. A publish writes the first words only, so its
//! cost is that of the payload. Each write adds 2 to the sequence, so `sequence / 2 − first` is how often the record was
//! published since its claim.
//!
//! ```
//! use atomscope_layout::own_records::{self, OwnRecordWriter, RECORD_WORDS};
//! use atomscope_layout::sync::AtomicU64;
//! use atomscope_layout::words::Words;
//! let memory = [const { AtomicU64::new(0) }; RECORD_WORDS];
//! let writer = OwnRecordWriter::new(&memory);
//! writer.claim(3, "EURUSD");
//! writer.publish(10, |payload| payload.put(0, &4711u64.to_le_bytes()));
//! let record = own_records::read(Words::new(&memory))?.ok_or("free")?;
//! assert_eq!((record.kind, record.name.as_deref(), record.published), (3, Some("EURUSD"), 1));
//! assert_eq!((record.stamp, record.payload[0]), (10, 4711));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::mem::offset_of;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout};

use crate::names::put_text;
use crate::packing::{self, Packing};
use crate::seqlock::{self, Unreadable};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::{self, WORD, Words, prefix};

/// Bytes of a record's payload, at most.
pub const PAYLOAD_BYTES: usize = 1024;
/// Fields of a kind, at most.
pub const KIND_FIELDS: usize = 128;
/// Bytes of the name of a kind or a field, at most.
pub const OWN_NAME_BYTES: usize = 40;
/// Bytes of a field's unit that are kept.
pub const UNIT_BYTES: usize = 16;
/// Bytes of the texts of a kind, and of a field.
pub const KIND_TEXT_BYTES: usize = 112;
/// Bytes of a record's name, at most.
pub const RECORD_NAME_BYTES: usize = 64;

const READY: u64 = 1 << 63;

/// A kind of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct KindRecord {
    /// Ready word: `1 << 63 | number of fields << 32 | bytes of the payload`.
    pub ready: u64,
    /// Bytes of the help in the text.
    pub help_bytes: u16,
    /// Bytes of the name in the text.
    pub name_bytes: u16,
    /// The number of its first field; the others follow.
    pub first_field: u32,
    /// Name, then help.
    pub text: [u8; KIND_TEXT_BYTES],
}

/// A field of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FieldRecord {
    /// Ready word: `1 << 63 | bytes of an element << 40 | type << 32 | offset in the payload`.
    pub ready: u64,
    /// Bytes of the unit in the text.
    pub unit_bytes: u8,
    /// Bytes of the names of an enum's values in the text.
    pub values_bytes: u8,
    /// Bytes of the name in the text.
    pub name_bytes: u8,
    /// Bytes of the help in the text.
    pub help_bytes: u8,
    /// The number of elements; 0: it is no array.
    pub length: u32,
    /// Name, unit, names of values (one a line), help.
    pub text: [u8; KIND_TEXT_BYTES],
}

/// An own record: a seqlock cell with the newest state and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OwnRecord {
    /// The sequence of the seqlock, which guards all but `lost`.
    pub sequence: u64,
    /// The stamp of the newest publish, or up to some tens of milliseconds earlier.
    pub stamp: u64,
    /// The fields of its kind.
    pub payload: [u64; PAYLOAD_BYTES / WORD],
    /// 1 + the number of its kind; 0: the record is free.
    pub kind: u64,
    /// Half of the sequence after the claim.
    pub first: u64,
    /// Bytes of the name.
    pub name_bytes: u64,
    /// The name.
    pub name: [u8; RECORD_NAME_BYTES],
    /// Publishes that found another one in progress, and stored nothing.
    pub lost: u64,
    /// Zero.
    pub reserved: [u64; 2],
}

/// Words of a [`KindRecord`], and of a [`FieldRecord`].
pub const KIND_WORDS: usize = size_of::<KindRecord>() / WORD;
/// Words of an [`OwnRecord`].
pub const RECORD_WORDS: usize = size_of::<OwnRecord>() / WORD;
const STAMP: usize = offset_of!(OwnRecord, stamp) / WORD;
const KIND: usize = offset_of!(OwnRecord, kind) / WORD;
const LOST: usize = offset_of!(OwnRecord, lost) / WORD;

const _: () = {
    assert!(size_of::<KindRecord>() == 128 && size_of::<FieldRecord>() == 128);
    assert!(offset_of!(KindRecord, first_field) == 12 && offset_of!(KindRecord, text) == 16);
    assert!(offset_of!(FieldRecord, length) == 12 && offset_of!(FieldRecord, text) == 16);
    assert!(size_of::<OwnRecord>() == 1152);
    assert!(offset_of!(OwnRecord, payload) == 16 && offset_of!(OwnRecord, kind) == 1040);
    assert!(offset_of!(OwnRecord, name) == 1064 && offset_of!(OwnRecord, lost) == 1128);
    // The lengths of a field's texts have eight bits.
    assert!(KIND_TEXT_BYTES <= u8::MAX as usize && OWN_NAME_BYTES + UNIT_BYTES < KIND_TEXT_BYTES);
};

/// The type of a field's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FieldType {
    /// 8 bits without sign.
    U8 = 1,
    /// 16 bits without sign.
    U16 = 2,
    /// 32 bits without sign.
    U32 = 3,
    /// 64 bits without sign.
    U64 = 4,
    /// 8 bits with sign.
    I8 = 5,
    /// 16 bits with sign.
    I16 = 6,
    /// 32 bits with sign.
    I32 = 7,
    /// 64 bits with sign.
    I64 = 8,
    /// Single precision.
    F32 = 9,
    /// Double precision.
    F64 = 10,
    /// 0 or 1.
    Bool = 11,
    /// UTF-8 up to the first zero byte.
    Text = 12,
    /// The number of one of the names in the field's text.
    Enum = 13,
}

impl FieldType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F32,
        Self::F64,
        Self::Bool,
        Self::Text,
        Self::Enum,
    ];

    /// Its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Enum => "enum",
        }
    }

    /// Whether an element may have so many bytes.
    pub fn may_have(self, bytes: usize) -> bool {
        match self {
            Self::U8 | Self::I8 | Self::Bool => bytes == 1,
            Self::U16 | Self::I16 => bytes == 2,
            Self::U32 | Self::I32 | Self::F32 => bytes == 4,
            Self::U64 | Self::I64 | Self::F64 => bytes == 8,
            Self::Text => (1..=PAYLOAD_BYTES).contains(&bytes),
            Self::Enum => [1, 2, 4].contains(&bytes),
        }
    }
}

/// The value of a field.
///
/// JSON has one form for numbers and one for texts: what is read from it is never [`Self::Single`] or [`Self::Name`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// A number without sign, or the number of an enum's value without a name.
    Unsigned(u64),
    /// A number with sign.
    Signed(i64),
    /// A number of single precision.
    Single(f32),
    /// A number of double precision.
    Float(f64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(Box<str>),
    /// The name of an enum's value.
    Name(Box<str>),
    /// The elements of an array.
    List(Box<[FieldValue]>),
    /// It cannot be read, or the record was never published.
    Unknown,
}

/// Writes values as an object. A damaged region may have a field twice, and an object may not: the first one counts.
pub(crate) fn first_of_each_name<'a, S: Serializer>(
    pairs: impl Iterator<Item = (&'a str, &'a FieldValue)> + Clone,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let is_first = |at: usize, name: &str| pairs.clone().take(at).all(|(other, _)| other != name);
    let first = pairs.clone().enumerate().filter(|(at, (name, _))| is_first(*at, name));
    serializer.collect_map(first.map(|(_, pair)| pair))
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Json {
            Unsigned(u64),
            Signed(i64),
            Float(f64),
            Flag(bool),
            Text(Box<str>),
            List(Box<[FieldValue]>),
            Null(()),
        }
        Ok(match Json::deserialize(deserializer)? {
            Json::Unsigned(number) => Self::Unsigned(number),
            Json::Signed(number) => Self::Signed(number),
            Json::Float(number) => Self::Float(number),
            Json::Flag(flag) => Self::Flag(flag),
            Json::Text(text) => Self::Text(text),
            Json::List(list) => Self::List(list),
            Json::Null(()) => Self::Unknown,
        })
    }
}

/// A kind, as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindShape<'a> {
    /// Its name: the struct's.
    pub name: &'a str,
    /// What it is.
    pub help: &'a str,
    /// Bytes of the payload.
    pub bytes: usize,
    /// Its fields, by their offsets.
    pub fields: &'a [FieldShape<'a>],
}

/// A field, as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldShape<'a> {
    /// Its name.
    pub name: &'a str,
    /// The unit of its numbers; may be empty.
    pub unit: &'a str,
    /// What it is; may be empty.
    pub help: &'a str,
    /// Its offset in the payload.
    pub offset: usize,
    /// What it holds.
    pub holds: Elements<'a>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements<'a> {
    /// The type of an element.
    pub of: FieldType,
    /// Bytes of an element.
    pub bytes: usize,
    /// How many elements an array has; 0: it is no array.
    pub length: usize,
    /// The names of an enum's values, from 0.
    pub values: &'a [&'a str],
}

impl KindShape<'_> {
    /// Whether its sizes are within the limits, so that only its help may be cut: names of 40 bytes, units of 16, 128 fields,
    /// 1024 bytes.
    pub const fn is_within_limits(&self) -> bool {
        let mut fits = self.bytes <= PAYLOAD_BYTES && is_a_name(self.name);
        let fields = self.fields;
        fits = fits && !fields.is_empty() && fields.len() <= KIND_FIELDS;
        let mut at = 0;
        while at < fields.len() {
            fits = fits && fields[at].is_within_limits();
            at += 1;
        }
        fits
    }
}

impl FieldShape<'_> {
    const fn is_within_limits(&self) -> bool {
        let values = self.holds.values;
        let mut bytes = self.name.len() + self.unit.len();
        let mut at = 0;
        while at < values.len() {
            bytes += values[at].len() + (at > 0) as usize;
            at += 1;
        }
        is_a_name(self.name) && self.unit.len() <= UNIT_BYTES && bytes <= KIND_TEXT_BYTES
    }
}

const fn is_a_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= OWN_NAME_BYTES
}

/// Describes a kind and its fields; `fields` are the slots of its fields, the first of which has the number `first_field`. False,
/// and nothing is stored, if there are too few slots.
pub fn describe(
    kind: &[AtomicU64],
    fields: &[AtomicU64],
    stride: usize,
    first_field: usize,
    shape: &KindShape<'_>,
) -> bool {
    if kind.len() < KIND_WORDS || fields.len() < shape.fields.len() * stride || stride < KIND_WORDS {
        return false;
    }
    for (slot, field) in fields.chunks(stride).zip(shape.fields) {
        let FieldShape { name, unit, help, offset, holds: Elements { of, bytes, length, values } } = *field;
        let mut record = FieldRecord::new_zeroed();
        let mut used = 0;
        let mut put = |most: usize, text: &str| {
            let (bytes, _) = put_text(record.text.get_mut(used..).unwrap_or_default(), most, text);
            used += bytes;
            bytes as u8
        };
        let name_bytes = put(OWN_NAME_BYTES, name);
        let unit_bytes = put(UNIT_BYTES, unit);
        let values_bytes = put(KIND_TEXT_BYTES, &values.join("\n"));
        let help_bytes = put(KIND_TEXT_BYTES, help.trim());
        record =
            FieldRecord { length: length as u32, name_bytes, unit_bytes, values_bytes, help_bytes, ..record };
        let ready = READY | (bytes as u64 & 0xffff) << 40 | u64::from(of as u8) << 32 | offset as u64;
        store_ready(slot, zerocopy::transmute!(record), ready);
    }
    let mut record = KindRecord::new_zeroed();
    let (name_bytes, _) = put_text(&mut record.text, OWN_NAME_BYTES, shape.name);
    let (help_bytes, _) =
        put_text(record.text.get_mut(name_bytes..).unwrap_or_default(), KIND_TEXT_BYTES, shape.help.trim());
    let (name_bytes, help_bytes) = (name_bytes as u16, help_bytes as u16);
    record = KindRecord { first_field: first_field as u32, name_bytes, help_bytes, ..record };
    let ready = READY | (shape.fields.len() as u64) << 32 | shape.bytes as u64;
    store_ready(kind, zerocopy::transmute!(record), ready);
    true
}

fn store_ready(slot: &[AtomicU64], record: [u64; KIND_WORDS], ready: u64) {
    if let Some((first, rest)) = slot.split_first() {
        words::store(rest, record.get(1..).unwrap_or_default());
        first.store(ready, Ordering::Release);
    }
}

/// Copies the slot of a kind or a field; `None` if it is not ready.
pub fn read_ready(slot: Words<'_>) -> Option<[u64; KIND_WORDS]> {
    let ready = slot.load(0);
    fence(Ordering::Acquire);
    let mut record = [0u64; KIND_WORDS];
    slot.copy_to(&mut record);
    record[0] = ready;
    (ready & READY != 0).then_some(record)
}

impl KindRecord {
    /// The number of its fields.
    pub fn fields(&self) -> usize {
        (self.ready >> 32) as usize & 0x7fff_ffff
    }

    /// Bytes of the payload.
    pub fn bytes(&self) -> usize {
        self.ready as u32 as usize
    }
}

impl FieldRecord {
    /// Its offset in the payload.
    pub fn offset(&self) -> usize {
        self.ready as u32 as usize
    }

    /// The type of an element; `None` if the number is unknown.
    pub fn of(&self) -> Option<FieldType> {
        let number = (self.ready >> 32) as u8;
        FieldType::ALL.into_iter().find(|known| *known as u8 == number)
    }

    /// Bytes of an element.
    pub fn element_bytes(&self) -> usize {
        (self.ready >> 40) as usize & 0xffff
    }
}

/// A record, for its owner. Whoever claims it keeps it to itself until it is free again.
#[derive(Clone, Copy)]
pub struct OwnRecordWriter<'a>(&'a [AtomicU64]);

impl core::fmt::Debug for OwnRecordWriter<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OwnRecordWriter")
    }
}

impl<'a> OwnRecordWriter<'a> {
    /// The record in these words.
    #[inline]
    pub fn new(slot: &'a [AtomicU64]) -> Self {
        Self(slot)
    }

    /// Whether nobody has claimed it. A record whose claim or whose freeing did not end is not free.
    pub fn is_free(&self) -> bool {
        let word = |at: usize| self.0.get(at).map_or(1, |word| word.load(Ordering::Relaxed));
        word(KIND) == 0 && word(0) % 2 == 0
    }

    /// Claims a free record for the kind with this number; one thread at a time. A name that is too long is cut.
    pub fn claim(&self, kind: u32, name: &str) {
        let mut record = OwnRecord::new_zeroed();
        record.name_bytes = put_text(&mut record.name, RECORD_NAME_BYTES, name).0 as u64;
        record.kind = u64::from(kind) + 1;
        let sequence = self.0.first().map_or(0, |word| word.load(Ordering::Relaxed));
        record.first = (sequence & !1).wrapping_add(2) / 2;
        self.replace(record);
    }

    /// Frees the record.
    pub fn free(&self) {
        self.replace(OwnRecord::new_zeroed());
    }

    fn replace(&self, record: OwnRecord) {
        let record: [u64; RECORD_WORDS] = zerocopy::transmute!(record);
        seqlock::write(self.0, record.get(1..).unwrap_or_default());
    }

    /// Publishes at this stamp; `pack` packs the payload. Wait-free.
    #[inline(always)]
    pub fn publish(&self, stamp: u64, pack: impl FnOnce(&mut Packing<'_>)) {
        seqlock::write_with(self.0.get(..KIND).unwrap_or_default(), |words| store(words, stamp, pack));
    }

    /// As [`Self::publish`], for a record that any thread may publish. False, and the loss is counted, while another thread
    /// publishes. Wait-free.
    #[inline(always)]
    pub fn publish_shared(&self, stamp: u64, pack: impl FnOnce(&mut Packing<'_>)) -> bool {
        let record = self.0.get(..KIND).unwrap_or_default();
        let done = seqlock::write_shared_if(record, |_| true, |words| store(words, stamp, pack));
        if let (false, Some(lost)) = (done, self.0.get(LOST)) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

#[inline(always)]
fn store(words: &[AtomicU64], stamp: u64, pack: impl FnOnce(&mut Packing<'_>)) {
    if let Some((first, payload)) = words.split_first() {
        first.store(stamp, Ordering::Relaxed);
        packing::pack(payload, pack);
    }
}

/// A record as a reader finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of its kind.
    pub kind: u64,
    /// Its name; `None` if it is no text.
    pub name: Option<String>,
    /// The sequence's half after its claim: each record that has had the slot has another one.
    pub first: u64,
    /// How often it was published.
    pub published: u64,
    /// Publishes that were lost to another one.
    pub lost: u64,
    /// The stamp of the newest publish; of no meaning before the first one.
    pub stamp: u64,
    /// The payload.
    pub payload: [u64; PAYLOAD_BYTES / WORD],
}

/// Reads a record; `None` if it is free. Bounded: [`seqlock::READ_TRIES`] tries.
///
/// # Errors
/// [`Unreadable::Busy`] if it was being written at each try; perhaps its writer died. [`Unreadable::Corrupt`] if `slot` has too
/// few words.
pub fn read(slot: Words<'_>) -> Result<Option<Found>, Unreadable> {
    if slot.len() < RECORD_WORDS {
        return Err(Unreadable::Corrupt);
    }
    let mut words = [0u64; RECORD_WORDS];
    let sequence = seqlock::read_with_sequence(slot, words.get_mut(1..).unwrap_or_default())?;
    let record: OwnRecord = zerocopy::transmute!(words);
    Ok(found(sequence, &record))
}

fn found(sequence: u64, record: &OwnRecord) -> Option<Found> {
    let name = usize::try_from(record.name_bytes).ok().and_then(|bytes| record.name.get(..bytes));
    Some(Found {
        kind: record.kind.checked_sub(1)?,
        name: name.and_then(|name| core::str::from_utf8(name).ok()).map(str::to_owned),
        first: record.first,
        published: (sequence / 2).saturating_sub(record.first),
        lost: record.lost,
        stamp: record.stamp,
        payload: record.payload,
    })
}

/// Calls `see` with the stamp of each record in use.
pub(crate) fn each_stamp(records: Words<'_>, stride: usize, see: &mut impl FnMut(u64)) {
    let slots = (0..records.len() / stride.max(1)).map(|slot| slot * stride);
    let stamps = slots.filter(|slot| records.load(slot + KIND) != 0).map(|slot| records.load(slot + STAMP));
    // 0: it was never published.
    stamps.filter(|stamp| *stamp != 0).for_each(see);
}

/// The part of a text that a field of `bytes` bytes keeps, without zero bytes, which would end it.
pub fn kept(text: &str, bytes: usize) -> &str {
    prefix(text.split('\0').next().unwrap_or_default(), bytes)
}

#[cfg(all(test, not(atomscope_loom)))]
#[allow(clippy::unwrap_used, reason = "only tests use this")]
mod tests {
    use super::*;

    fn memory() -> Vec<AtomicU64> {
        (0..RECORD_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn words(values: &[u64]) -> impl Fn(&mut Packing<'_>) {
        |payload| payload.put(0, values.as_bytes())
    }

    #[allow(clippy::unwrap_used, reason = "it is a test's")]
    fn record(memory: &[AtomicU64]) -> Option<Found> {
        read(Words::new(memory)).unwrap()
    }

    #[test]
    fn a_record_is_published_from_its_claim_until_it_is_free() {
        let memory = memory();
        let writer = OwnRecordWriter::new(&memory);
        assert!(writer.is_free() && record(&memory).is_none());
        for round in 1..4 {
            writer.claim(round, "EURUSD");
            let claimed = record(&memory).unwrap();
            assert_eq!((claimed.kind, claimed.published, claimed.payload[127]), (u64::from(round), 0, 0));
            assert!(!writer.is_free());
            (1..=3).for_each(|value| writer.publish(value, words(&[value + 1, value + 2])));
            let found = record(&memory).unwrap();
            assert_eq!((found.published, found.stamp, found.lost), (3, 3, 0));
            assert_eq!((found.payload[0], found.payload[1], found.payload[2]), (4, 5, 0));
            assert_eq!(found.name.as_deref(), Some("EURUSD"));
            writer.free();
            assert!(writer.is_free() && record(&memory).is_none());
        }
    }

    #[test]
    fn a_shared_publish_beside_another_one_is_counted_as_lost() {
        let memory = memory();
        let writer = OwnRecordWriter::new(&memory);
        writer.claim(0, "a");
        assert!(writer.publish_shared(1, words(&[2])));
        memory[0].fetch_add(1, Ordering::Relaxed);
        assert!(!writer.publish_shared(3, words(&[4])));
        assert_eq!(read(Words::new(&memory)), Err(Unreadable::Busy));
        assert!(!writer.is_free());
        memory[0].fetch_add(1, Ordering::Relaxed);
        assert_eq!(record(&memory).unwrap().lost, 1);
        assert_eq!(record(&memory).unwrap().payload[0], 2);
    }

    #[test]
    fn a_payload_that_is_too_long_does_not_reach_the_name() {
        let memory = memory();
        let writer = OwnRecordWriter::new(&memory);
        writer.claim(0, &"x".repeat(100));
        writer.publish(1, words(&[u64::MAX; 400]));
        let found = record(&memory).unwrap();
        assert_eq!((found.kind, found.name.unwrap().len()), (0, RECORD_NAME_BYTES));
    }

    #[test]
    fn the_limits_of_a_kind_are_those_of_its_names_fields_and_bytes() {
        let holds = Elements { of: FieldType::U8, bytes: 1, length: 0, values: &[] };
        let field = FieldShape { name: "a", unit: "", help: "", offset: 0, holds };
        let (one, many) = ([field], [field; KIND_FIELDS + 1]);
        let long = "x".repeat(OWN_NAME_BYTES + 1);
        let longest = [FieldShape { name: &long, ..field }];
        let good = KindShape { name: "K", help: "", bytes: PAYLOAD_BYTES, fields: &one };
        assert!(good.is_within_limits());
        for bad in [
            KindShape { bytes: PAYLOAD_BYTES + 1, ..good },
            KindShape { fields: &[], ..good },
            KindShape { fields: &many, ..good },
            KindShape { fields: &longest, ..good },
            KindShape { name: &long, ..good },
            KindShape { name: "", ..good },
        ] {
            assert!(!bad.is_within_limits(), "{bad:?}");
        }
    }

    #[test]
    fn a_zero_byte_ends_a_text_and_no_character_is_split() {
        assert_eq!((kept("a\0b", 8), kept("aé", 2), kept("aé", 3)), ("a", "a", "aé"));
    }
}
