//! Records of the application's own.

use serde::Serialize;
use serde::ser::Serializer;
use zerocopy::IntoBytes as _;

use super::clock::{Clock, Moment, rfc3339};
use super::reader::RegionReader;
pub use crate::own_records::FieldValue;
use crate::own_records::{
    self, FieldRecord, FieldType, Found, KIND_FIELDS, KindRecord, PAYLOAD_BYTES, first_of_each_name,
    read_ready,
};
use crate::words::Words;

/// A kind of records, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordKind {
    /// Its name: the struct's.
    pub name: String,
    /// What it is; may be empty.
    pub help: String,
    /// Bytes of a record.
    pub bytes: usize,
    /// Its fields.
    pub fields: Vec<RecordField>,
}

/// A field of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordField {
    /// Its name.
    pub name: String,
    /// The unit of its numbers; may be empty.
    pub unit: String,
    /// What it is; may be empty.
    pub help: String,
    /// The type of an element, as in Rust, or `text` or `enum`; `None`: it cannot be read.
    #[serde(rename = "type", serialize_with = "word")]
    pub of: Option<FieldType>,
    /// Its offset in the record.
    pub offset: usize,
    /// Bytes of an element.
    pub element_bytes: usize,
    /// The number of elements; 0: it is no array.
    pub length: usize,
    /// The names of an enum's values, from 0.
    pub values: Vec<String>,
}

fn word<S: Serializer>(of: &Option<FieldType>, serializer: S) -> Result<S::Ok, S::Error> {
    of.map(FieldType::word).serialize(serializer)
}

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedRecord {
    /// The index of its kind in [`OwnRecords::kinds`].
    pub kind: usize,
    /// Its name.
    pub name: String,
    /// The number of its slot, and which claim of the slot it is. A later record of its name has others.
    pub claim: (usize, u64),
    /// How often it was published.
    pub published: u64,
    /// Publishes that were lost, because another thread published at the same time.
    pub lost: u64,
    /// When it was published last: RFC 3339, UTC; `None`: never, or unknown.
    pub at: Option<String>,
    /// `at` by the node's clocks.
    pub published_at: Option<Moment>,
    /// A value for each field of its kind.
    pub values: Vec<FieldValue>,
}

/// The records of the application's own, and their kinds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnRecords {
    /// The kinds, in the order of their registration.
    pub kinds: Vec<RecordKind>,
    /// The records, in the order of their slots.
    pub list: Vec<PublishedRecord>,
    /// Unreadable records, and kinds.
    pub unreadable: u64,
}

impl OwnRecords {
    /// The kind of a record.
    pub fn kind_of(&self, record: &PublishedRecord) -> Option<&RecordKind> {
        self.kinds.get(record.kind)
    }
}

/// A record as JSON has it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RecordJson<'a> {
    /// The name of its kind.
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How often it was published.
    pub published: u64,
    /// Publishes that were lost.
    pub lost: u64,
    /// When it was published last.
    pub at: Option<&'a str>,
    /// Its values, an object with the names of the fields.
    pub values: ValuesJson<'a>,
}

/// The values of a record, as an object.
#[derive(Debug, Clone, Copy)]
pub struct ValuesJson<'a>(&'a [RecordField], &'a [FieldValue]);

impl Serialize for ValuesJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter().zip(self.1).map(|(field, value)| (field.name.as_str(), value));
        first_of_each_name(pairs, serializer)
    }
}

impl OwnRecords {
    /// The records as JSON has them.
    pub fn json(&self) -> impl Iterator<Item = RecordJson<'_>> {
        self.list.iter().filter_map(|record| {
            let kind = self.kind_of(record)?;
            let PublishedRecord { name, published, lost, at, values, .. } = record;
            let (published, lost, at) = (*published, *lost, at.as_deref());
            let values = ValuesJson(&kind.fields, values);
            Some(RecordJson { kind: &kind.name, name, published, lost, at, values })
        })
    }
}

/// `kinds`, `list` and `unreadable`.
impl Serialize for OwnRecords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct All<'a> {
            kinds: &'a [RecordKind],
            list: Vec<RecordJson<'a>>,
            unreadable: u64,
        }
        let list = self.json().collect();
        All { kinds: &self.kinds, list, unreadable: self.unreadable }.serialize(serializer)
    }
}

impl RegionReader<'_> {
    /// The records of the application's own. A pass over their slots.
    pub fn own_records(&self) -> OwnRecords {
        let (clock, kinds) = (self.clock(), self.record_kinds());
        let mut found = OwnRecords { kinds: Vec::new(), list: Vec::new(), unreadable: 0 };
        // Of each number, where its kind is in the list.
        let mut index = Vec::with_capacity(kinds.len());
        for kind in kinds {
            index.push(kind.is_some().then_some(found.kinds.len()));
            found.unreadable += u64::from(kind.is_none());
            found.kinds.extend(kind);
        }
        let (section, stride) = (self.section(self.map.records), self.map.records.stride);
        for number in 0..self.map.records.count {
            let Some(slot) = section.slice(number * stride..(number + 1) * stride) else { continue };
            let record = own_records::read(slot)
                .map(|record| record.map(|found| (kind_at(&index, found.kind), found)));
            match record {
                Ok(None) => {}
                Ok(Some((Some(kind), record))) if record.name.is_some() => {
                    let fields = found.kinds.get(kind).map_or(&[][..], |kind| &kind.fields);
                    let claim = (number, record.first);
                    found.list.push(published(kind, claim, fields, record, clock.as_ref()));
                }
                Ok(Some(_)) | Err(_) => found.unreadable += 1,
            }
        }
        found
    }

    /// Whether there is a kind with this number.
    pub(super) fn has_kind(&self, number: usize) -> bool {
        let stride = self.map.kinds.stride;
        let slot = || self.section(self.map.kinds).slice(number * stride..(number + 1) * stride);
        number < self.map.kinds.count && slot().and_then(read_ready).is_some()
    }

    /// The kinds by their numbers; `None` for one that cannot be read. Kinds are registered one after the other, so the first slot
    /// that is not ready ends them, and the fields of a kind follow those of the one before. So no byte of the section of fields
    /// is decoded twice.
    pub fn record_kinds(&self) -> Vec<Option<RecordKind>> {
        let (section, stride) = (self.section(self.map.kinds), self.map.kinds.stride);
        let (fields, field_stride) = (self.section(self.map.fields), self.map.fields.stride);
        let slots = (0..self.map.kinds.count)
            .map_while(|number| read_ready(section.slice(number * stride..(number + 1) * stride)?));
        let mut next = 0;
        let kinds = slots.map(|words| {
            let record: KindRecord = zerocopy::transmute!(words);
            let (first, count, bytes) = (record.first_field as usize, record.fields(), record.bytes());
            let range = first * field_stride..first.checked_add(count)?.checked_mul(field_stride)?;
            if first < next || !(1..=KIND_FIELDS).contains(&count) || bytes > PAYLOAD_BYTES {
                return None;
            }
            let slots = fields.slice(range)?;
            next = first + count;
            let [name, help] = texts(&record.text, [record.name_bytes.into(), record.help_bytes.into()])?;
            let mut end = 0;
            let fields = (0..count).map(|at| {
                let slot = slots.slice(at * field_stride..(at + 1) * field_stride).unwrap_or(Words::new(&[]));
                field(slot, at, &mut end, bytes)
            });
            Some(RecordKind { name, help, bytes, fields: fields.collect() })
        });
        kinds.collect()
    }
}

fn kind_at(index: &[Option<usize>], number: u64) -> Option<usize> {
    index.get(usize::try_from(number).ok()?).copied().flatten()
}

/// Reads the field with this index. Fields lie one after the other: one that begins before the end of the field before it is not
/// read, nor is one that ends beyond the record.
fn field(slot: Words<'_>, at: usize, end: &mut usize, record_bytes: usize) -> RecordField {
    let unknown = RecordField {
        name: format!("field_{at}"),
        unit: String::new(),
        help: String::new(),
        of: None,
        offset: 0,
        element_bytes: 0,
        length: 0,
        values: Vec::new(),
    };
    let Some(words) = read_ready(slot) else { return unknown };
    let record: FieldRecord = zerocopy::transmute!(words);
    let lengths = [record.name_bytes, record.unit_bytes, record.values_bytes, record.help_bytes];
    let Some([name, unit, values, help]) = texts(&record.text, lengths.map(usize::from)) else {
        return unknown;
    };
    let (offset, element_bytes, length) = (record.offset(), record.element_bytes(), record.length as usize);
    let bytes = element_bytes.checked_mul(length.max(1));
    let last = bytes.and_then(|bytes| bytes.checked_add(offset)).filter(|last| *last <= record_bytes);
    let of = record.of().filter(|of| of.may_have(element_bytes) && offset >= *end);
    let (of, last) = of.zip(last).map_or((None, *end), |(of, last)| (Some(of), last));
    *end = last;
    let values = match of {
        Some(FieldType::Enum) if !values.is_empty() => values.split('\n').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    RecordField { name, unit, help, of, offset, element_bytes, length, values }
}

/// The texts of these lengths, one after the other; `None` if one is not UTF-8 or ends beyond the field.
fn texts<const COUNT: usize>(text: &[u8], lengths: [usize; COUNT]) -> Option<[String; COUNT]> {
    let mut rest = text;
    let mut found = [const { String::new() }; COUNT];
    for (to, bytes) in found.iter_mut().zip(lengths) {
        let (text, after) = rest.split_at_checked(bytes)?;
        core::str::from_utf8(text).ok()?.clone_into(to);
        rest = after;
    }
    Some(found)
}

fn published(
    kind: usize,
    claim: (usize, u64),
    fields: &[RecordField],
    record: Found,
    clock: Option<&Clock>,
) -> PublishedRecord {
    let clock = clock.filter(|_| record.published > 0);
    let payload = record.payload.as_bytes();
    let of =
        |field: &RecordField| if record.published > 0 { value(field, payload) } else { FieldValue::Unknown };
    PublishedRecord {
        kind,
        name: record.name.clone().unwrap_or_default(),
        claim,
        published: record.published,
        lost: record.lost,
        at: clock.and_then(|clock| clock.unix_ns(record.stamp)).map(rfc3339),
        published_at: clock.and_then(|clock| clock.moment(record.stamp)),
        values: fields.iter().map(of).collect(),
    }
}

pub(super) fn value(field: &RecordField, payload: &[u8]) -> FieldValue {
    let Some(of) = field.of else { return FieldValue::Unknown };
    let element = |at: usize| {
        let start = field.offset + at * field.element_bytes;
        payload
            .get(start..start + field.element_bytes)
            .map_or(FieldValue::Unknown, |bytes| one(of, bytes, &field.values))
    };
    match field.length {
        0 => element(0),
        length => FieldValue::List((0..length).map(element).collect()),
    }
}

fn one(of: FieldType, bytes: &[u8], names: &[String]) -> FieldValue {
    let mut word = [0; 8];
    word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let number = u64::from_le_bytes(word);
    match of {
        FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 => FieldValue::Unsigned(number),
        FieldType::I8 => FieldValue::Signed((number as i8).into()),
        FieldType::I16 => FieldValue::Signed((number as i16).into()),
        FieldType::I32 => FieldValue::Signed((number as i32).into()),
        FieldType::I64 => FieldValue::Signed(number as i64),
        FieldType::F32 => FieldValue::Single(f32::from_bits(number as u32)),
        FieldType::F64 => FieldValue::Float(f64::from_bits(number)),
        FieldType::Bool if number > 1 => FieldValue::Unknown,
        FieldType::Bool => FieldValue::Flag(number == 1),
        FieldType::Text => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            FieldValue::Text(String::from_utf8_lossy(text).into())
        }
        FieldType::Enum => match usize::try_from(number).ok().and_then(|number| names.get(number)) {
            Some(name) => FieldValue::Name(name.as_str().into()),
            None => FieldValue::Unsigned(number),
        },
    }
}
