//! Records of an application's own: a struct that is declared once with [`record!`](crate::record!), and whose newest state
//! other processes see while the program runs and after its death.
//!
//! A kind of records describes itself in the region: name, offset, type, unit and help of each field. So readers need no
//! struct. The stored bytes are those of the `#[repr(C)]` struct, with zeros for its padding.

pub(crate) mod registered;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, MutexGuard, PoisonError};

use atomscope_layout::metrics::Builtin;
pub use atomscope_layout::own_records::{Elements, FieldShape, FieldType, KindShape};
use atomscope_layout::own_records::{OwnRecordWriter, RECORD_NAME_BYTES, describe, kept};
pub use atomscope_layout::packing::Packing;
use atomscope_layout::sync::AtomicU64;

use self::registered::Registered;
use crate::region::Region;
use crate::writer::RegionWriter;
use crate::{coarse, process};

/// A kind of records. [`record!`](crate::record!) implements it; do not implement it otherwise.
pub trait Record {
    /// The kind and its fields.
    const KIND: KindShape<'static>;

    /// Packs its fields in the order of their offsets. It runs in the middle of a publish, and so must not panic.
    #[doc(hidden)]
    fn pack(&self, to: &mut Packing<'_>);
}

/// What a field of a record can be: numbers of 8 to 64 bits, `bool`, [`Text`], a [`record_enum!`](crate::record_enum!), and
/// arrays of these. Do not implement it for other types.
pub trait Field: Copy {
    /// What the field holds.
    const HOLDS: Elements<'static>;

    /// Packs elements, the first of which is at this offset, as [`Record::pack`] does.
    #[doc(hidden)]
    fn pack(elements: &[Self], offset: usize, to: &mut Packing<'_>);
}

macro_rules! numbers {
    ($($number:ty: $of:ident;)+) => {$(
        impl Field for $number {
            const HOLDS: Elements<'static> =
                Elements { of: FieldType::$of, bytes: size_of::<Self>(), length: 0, values: &[] };

            #[inline(always)]
            fn pack(elements: &[Self], offset: usize, to: &mut Packing<'_>) {
                to.put(offset, bytemuck::cast_slice(elements));
            }
        }
    )+};
}

numbers! {
    u8: U8;
    u16: U16;
    u32: U32;
    u64: U64;
    i8: I8;
    i16: I16;
    i32: I32;
    i64: I64;
    f32: F32;
    f64: F64;
    bool: Bool;
}

impl<T: Field, const LENGTH: usize> Field for [T; LENGTH] {
    const HOLDS: Elements<'static> = {
        assert!(LENGTH > 0, "an array in a record has at least one element");
        assert!(T::HOLDS.length == 0, "a record has no arrays of arrays");
        Elements { length: LENGTH, ..T::HOLDS }
    };

    #[inline(always)]
    fn pack(elements: &[Self], offset: usize, to: &mut Packing<'_>) {
        for (number, array) in elements.iter().enumerate() {
            T::pack(array, offset + number * size_of::<Self>(), to);
        }
    }
}

/// A text of at most `BYTES` bytes of UTF-8, in a record.
///
/// ```
/// use atomscope_probe::Text;
///
/// assert_eq!(Text::<8>::from("EURUSD").as_str(), "EURUSD");
/// assert_eq!(Text::<8>::from("a long text").as_str(), "a lon…");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Text<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Text<BYTES> {
    /// The text, which ends at its first zero byte. A longer one is cut between two characters, and then ends in `…`. No
    /// allocation.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; BYTES];
        let text = kept(text, text.len());
        let mark = if text.len() > BYTES { kept("…", BYTES) } else { "" };
        let text = kept(text, BYTES - mark.len());
        bytes.iter_mut().zip(text.bytes().chain(mark.bytes())).for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const BYTES: usize> Default for Text<BYTES> {
    fn default() -> Self {
        Self([0; BYTES])
    }
}

impl<const BYTES: usize> From<&str> for Text<BYTES> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const BYTES: usize> fmt::Debug for Text<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const BYTES: usize> fmt::Display for Text<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const BYTES: usize> Field for Text<BYTES> {
    const HOLDS: Elements<'static> = {
        assert!(BYTES > 0, "a text in a record has at least one byte");
        Elements { of: FieldType::Text, bytes: BYTES, length: 0, values: &[] }
    };

    #[inline(always)]
    fn pack(elements: &[Self], offset: usize, to: &mut Packing<'_>) {
        for (number, text) in elements.iter().enumerate() {
            to.put(offset + number * BYTES, &text.0);
        }
    }
}

/// Declares structs whose newest states are published: see [`Region::record`].
///
/// Each field has a type of [`records::Field`](crate::records::Field), and may have a unit behind it. Comments become the help
/// that readers show. The fields are as visible as the struct, which is `Copy`, `Debug` and `PartialEq`. A record that is larger
/// than 1 KiB, has more than 128 fields, or a name longer than 40 bytes does not compile.
///
/// ```
/// use atomscope_probe::{Region, Text};
///
/// atomscope_probe::record! {
///     /// One order book.
///     pub struct OrderBook { best_bid: f64 "USD", best_ask: f64 "USD", depth: u32 "orders", open: bool, symbol: Text<16> }
/// }
///
/// # let region = Region::builder("docs").actors(100).private().build()?;
/// let mut book = region.record::<OrderBook>("EURUSD")?;
/// book.publish(&OrderBook { best_bid: 1.08, best_ask: 1.09, depth: 7, open: true, symbol: "EURUSD".into() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is too large does not compile:
///
/// ```compile_fail
/// atomscope_probe::record! {
///     struct Large { bytes: [u64; 129] }
/// }
/// ```
#[macro_export]
macro_rules! record {
    ($(
        $(#[doc = $help:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_help:literal])*
                $field:ident:
                $([ $($array:tt)* ])?
                $($path:ident $(:: $segment:ident)* $(< $argument:tt >)?)?
                $($unit:literal)?
            ),+ $(,)?
        }
    )+) => {$(
        $(#[doc = $help])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[repr(C)]
        #[allow(missing_docs, reason = "a field has its unit")]
        $vis struct $name {
            $(
                $(#[doc = $field_help])*
                $vis $field: $crate::__record_field!(
                    $([ $($array)* ])? $($path $(:: $segment)* $(< $argument >)?)?
                ),
            )+
        }

        impl $crate::records::Record for $name {
            const KIND: $crate::records::KindShape<'static> = $crate::records::KindShape {
                name: ::core::stringify!($name),
                help: ::core::concat!($($help),*),
                bytes: ::core::mem::size_of::<$name>(),
                fields: &[$($crate::records::FieldShape {
                    name: ::core::stringify!($field),
                    unit: ::core::concat!($($unit)?),
                    help: ::core::concat!($($field_help),*),
                    offset: ::core::mem::offset_of!($name, $field),
                    holds: <$crate::__record_field!(
                        $([ $($array)* ])? $($path $(:: $segment)* $(< $argument >)?)?
                    ) as $crate::records::Field>::HOLDS,
                }),+],
            };

            #[inline(always)]
            fn pack(&self, to: &mut $crate::records::Packing<'_>) {
                $($crate::records::Field::pack(
                    ::core::slice::from_ref(&self.$field), ::core::mem::offset_of!($name, $field), to,
                );)+
            }
        }

        const _: () = ::core::assert!(
            <$name as $crate::records::Record>::KIND.is_within_limits(),
            "a record has at most 1024 bytes, 1 to 128 fields, names of at most 40 bytes, units of at most 16 bytes, and enums \
             whose names fit into what is left of 112 bytes",
        );
    )+};
}

/// The type of a field of [`record!`](crate::record!): [`Text`] needs no import.
#[doc(hidden)]
#[macro_export]
macro_rules! __record_field {
    (Text < $bytes:tt >) => { $crate::Text<$bytes> };
    ([Text < $bytes:tt >; $length:expr]) => { [$crate::Text<$bytes>; $length] };
    ($($other:tt)+) => { $($other)+ };
}

/// Declares enums without fields for a [`record!`](crate::record!). Readers show the names of their values.
///
/// ```
/// atomscope_probe::record_enum! {
///     /// The side of an order.
///     pub enum Side: u8 { Bid, Ask }
/// }
/// atomscope_probe::record! {
///     /// The newest order.
///     pub struct Newest { side: Side, prices: [f64; 3] "USD" }
/// }
/// # let region = atomscope_probe::Region::builder("docs").actors(100).private().build()?;
/// region.record::<Newest>("EURUSD")?.publish(&Newest { side: Side::Ask, prices: [1.0, 1.5, 2.0] });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! record_enum {
    ($(
        $(#[doc = $help:literal])*
        $vis:vis enum $name:ident: $repr:ident { $($(#[doc = $value_help:literal])* $value:ident),+ $(,)? }
    )+) => {$(
        $(#[doc = $help])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr($repr)]
        #[allow(missing_docs, reason = "their names say it")]
        $vis enum $name { $($(#[doc = $value_help])* $value),+ }

        impl $crate::records::Field for $name {
            const HOLDS: $crate::records::Elements<'static> = $crate::records::Elements {
                of: $crate::records::FieldType::Enum,
                bytes: {
                    let bytes = ::core::mem::size_of::<$repr>();
                    ::core::assert!(bytes <= 4, "an enum of a record is u8, u16 or u32");
                    bytes
                },
                length: 0,
                values: &[$(::core::stringify!($value)),+],
            };

            #[inline(always)]
            fn pack(elements: &[Self], offset: usize, to: &mut $crate::records::Packing<'_>) {
                for (number, value) in elements.iter().enumerate() {
                    to.put(offset + number * ::core::mem::size_of::<$repr>(), &(*value as $repr).to_le_bytes());
                }
            }
        }
    )+};
}

/// Why there is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The name is empty, too long, or has control characters.
    #[error(
        "{name:?} cannot name a record: a name has 1 to {RECORD_NAME_BYTES} bytes and no control characters"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Another record of the kind has the name.
    #[error("there is a record {kind}/{name} already; drop it before, or choose another name")]
    Taken {
        /// The kind.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Another struct of the same name is registered, with other fields.
    #[error(
        "another struct {kind} with other fields is registered in this region already; rename one of them"
    )]
    OtherKind {
        /// The kind.
        kind: &'static str,
    },
    /// A section of the region is full.
    #[error(
        "the region is full with {used} {section}, and {kind} needs {needed} more; raise `{section}` in the builder"
    )]
    Full {
        /// The section, which is the setting in the builder, too: `record_kinds`, `record_fields` or `records`.
        section: &'static str,
        /// How many it has.
        used: usize,
        /// How many more are needed.
        needed: usize,
        /// The kind of the record.
        kind: &'static str,
    },
}

/// A record in use.
#[derive(Debug)]
struct Slot {
    region: Region,
    number: usize,
}

impl Slot {
    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.region.writer.own_record(self.number)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // In a forked child the record is its parent's, and another thread of the parent may have held the lock at the fork.
        if !self.region.writer.is_of_this_process() {
            return;
        }
        OwnRecordWriter::new(self.words()).free();
        if let Some(name) = self.region.writer.registered().names.get_mut(self.number) {
            *name = None;
        }
    }
}

/// A record of one owner. Its drop frees the record. It keeps the region open.
#[derive(Debug)]
pub struct RecordHandle<R> {
    slot: Slot,
    kind: PhantomData<fn(&R)>,
}

impl<R: Record> RecordHandle<R> {
    /// Publishes a state. Wait-free: about as fast as a copy of the struct. No lock, no allocation, no system call, whoever
    /// reads. Readers see when it was published, to 25 ms as long as the probe's thread gets a processor.
    #[inline]
    pub fn publish(&mut self, state: &R) {
        let writer = OwnRecordWriter::new(self.slot.words());
        writer.publish(coarse::time(), |payload| state.pack(payload));
    }
}

/// A record that several threads publish. The drop of the last clone frees it. It keeps the region open.
///
/// ```
/// atomscope_probe::record! {
///     struct Progress { rows: u64 "rows" }
/// }
/// # let region = atomscope_probe::Region::builder("docs").actors(100).private().build()?;
/// let progress = region.shared_record::<Progress>("import")?;
/// let other = progress.clone();
/// std::thread::spawn(move || other.publish(&Progress { rows: 7 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedRecord<R> {
    slot: Arc<Slot>,
    kind: PhantomData<fn(&R)>,
}

impl<R> Clone for SharedRecord<R> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone(), kind: PhantomData }
    }
}

impl<R: Record> SharedRecord<R> {
    /// As [`RecordHandle::publish`], and a compare-and-swap. False while another thread publishes: then this state is lost, which
    /// readers are told. Wait-free.
    #[inline]
    pub fn publish(&self, state: &R) -> bool {
        let writer = OwnRecordWriter::new(self.slot.words());
        writer.publish_shared(coarse::time(), |payload| state.pack(payload))
    }
}

impl Region {
    /// A record of a kind that [`record!`](crate::record!) declares. Takes a lock and allocates; not for hot paths.
    ///
    /// # Errors
    /// [`RecordError`] if the name is not valid or in use, if another struct of this name is registered, or if a section is full.
    pub fn record<R: Record>(&self, name: &str) -> Result<RecordHandle<R>, RecordError> {
        Ok(RecordHandle { slot: self.claim(&R::KIND, name)?, kind: PhantomData })
    }

    /// As [`Self::record`], for a record that several threads publish.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn shared_record<R: Record>(&self, name: &str) -> Result<SharedRecord<R>, RecordError> {
        Ok(SharedRecord { slot: Arc::new(self.claim(&R::KIND, name)?), kind: PhantomData })
    }

    /// The number of a kind, which is registered if it is new.
    pub(crate) fn kind_number(&self, kind: &KindShape<'static>) -> Result<usize, RecordError> {
        let number = self.writer.register_kind(&mut self.writer.registered(), kind);
        number.inspect_err(|error| self.count_unlisted(error))
    }

    fn count_unlisted(&self, error: &RecordError) {
        if let RecordError::Full { .. } = error {
            self.writer.count(Builtin::RecordsUnlisted, 1);
        }
    }

    fn claim(&self, kind: &KindShape<'static>, name: &str) -> Result<Slot, RecordError> {
        self.try_claim(kind, name).inspect_err(|error| self.count_unlisted(error))
    }

    fn try_claim(&self, kind: &KindShape<'static>, name: &str) -> Result<Slot, RecordError> {
        let is_name = (1..=RECORD_NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control);
        if !is_name {
            return Err(RecordError::Name { name: name.to_owned() });
        }
        let mut known = self.writer.registered();
        let number = self.writer.register_kind(&mut known, kind)?;
        if known.names.iter().flatten().any(|(of, used)| *of == number && **used == *name) {
            return Err(RecordError::Taken { kind: kind.name, name: name.to_owned() });
        }
        let free = known.names.iter().position(Option::is_none).unwrap_or(known.names.len());
        if free >= self.writer.map().records.count {
            return Err(RecordError::Full { section: "records", used: free, needed: 1, kind: kind.name });
        }
        if free == known.names.len() {
            known.names.push(None);
        }
        if let Some(to) = known.names.get_mut(free) {
            *to = Some((number, name.into()));
        }
        if coarse::start(self.writer.ticks(), 0) {
            process::wake_sampler();
        }
        OwnRecordWriter::new(self.writer.own_record(free)).claim(number as u32, name);
        Ok(Slot { region: self.clone(), number: free })
    }
}

impl RegionWriter {
    fn registered(&self) -> MutexGuard<'_, Registered> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words of a record.
    #[inline]
    fn own_record(&self, number: usize) -> &[AtomicU64] {
        let section = self.map().records;
        let start = number * section.stride;
        self.section(section).get(start..start + section.stride).unwrap_or_default()
    }

    /// The number of a kind, which is registered if it is new.
    fn register_kind(&self, known: &mut Registered, kind: &KindShape<'static>) -> Result<usize, RecordError> {
        if let Some(number) = known.kinds.iter().position(|known| known.name == kind.name) {
            let is_same = known.kinds.get(number).is_some_and(|known| known == kind);
            return if is_same { Ok(number) } else { Err(RecordError::OtherKind { kind: kind.name }) };
        }
        let (kinds, fields) = (self.map().kinds, self.map().fields);
        let (number, first) = (known.kinds.len(), known.fields);
        let full = |section, used, needed| RecordError::Full { section, used, needed, kind: kind.name };
        if number >= kinds.count {
            return Err(full("record_kinds", number, 1));
        }
        let slot = self.section(kinds).get(number * kinds.stride..(number + 1) * kinds.stride);
        let slots = self.section(fields).get(first * fields.stride..).unwrap_or_default();
        if !describe(slot.unwrap_or_default(), slots, fields.stride, first, kind) {
            return Err(full("record_fields", first, kind.fields.len()));
        }
        known.kinds.push(*kind);
        known.fields += kind.fields.len();
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use atomscope_layout::packing::pack;
    use atomscope_layout::sync::Ordering;

    use super::*;
    use crate::Capacities;

    crate::record_enum! { enum Side: u8 { Bid, Ask } }
    crate::record! {
        /// A kind
        /// of two lines.
        struct Mixed { a: u8, b: u64 "By", text: Text<3>, list: [i16; 2], side: Side }
        struct Small { a: u8 }
    }

    fn region() -> Region {
        Region::builder("records").private().record_kinds(2).record_fields(6).records(2).build().unwrap()
    }

    fn state() -> Mixed {
        Mixed { a: 1, b: u64::MAX, text: "abc".into(), list: [-1, 2], side: Side::Ask }
    }

    #[test]
    fn the_bytes_are_those_of_the_struct_with_zeros_for_its_padding() {
        let kind = Mixed::KIND;
        assert_eq!(
            (kind.name, kind.help, kind.bytes),
            ("Mixed", " A kind of two lines.", size_of::<Mixed>())
        );
        let offsets: Vec<_> = kind.fields.iter().map(|field| field.offset).collect();
        assert_eq!(offsets, [0, 8, 16, 20, 24]);
        assert_eq!(kind.fields[3].holds, Elements { of: FieldType::I16, bytes: 2, length: 2, values: &[] });
        let words = |state: Mixed| {
            let memory = [const { AtomicU64::new(u64::MAX) }; 4];
            pack(&memory, |payload| state.pack(payload));
            memory.map(AtomicU64::into_inner)
        };
        let last = u64::from_le_bytes([b'a', b'b', b'c', 0, 0xff, 0xff, 2, 0]);
        assert_eq!(words(state()), [1, u64::MAX, last, 1]);
        assert_eq!(words(Mixed { side: Side::Bid, ..state() })[3], 0);
    }

    #[test]
    fn a_record_lives_as_long_as_its_handle_and_a_shared_one_as_its_last_clone() {
        let region = region();
        let names = || -> Vec<String> {
            let records = region.writer.reader().unwrap().own_records();
            records.list.into_iter().map(|record| record.name).collect()
        };
        let one = region.record::<Small>("one").unwrap();
        let shared = region.shared_record::<Small>("shared").unwrap();
        let clone = shared.clone();
        drop(shared);
        assert!(clone.publish(&Small { a: 7 }));
        assert_eq!(names(), ["one", "shared"]);
        drop(one);
        assert_eq!(names(), ["shared"]);
        drop(clone);
        assert!(names().is_empty());
        let again = region.record::<Small>("one").unwrap();
        assert_eq!(names(), ["one"]);
        drop(again);
    }

    #[test]
    fn a_record_that_is_published_again_gets_younger() {
        let region = region();
        let mut record = region.record::<Small>("one").unwrap();
        let stamp = |record: &RecordHandle<Small>| record.slot.words()[1].load(Ordering::Relaxed);
        record.publish(&Small { a: 1 });
        let first = stamp(&record);
        assert!(first > 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        while stamp(&record) == first {
            assert!(Instant::now() < deadline, "the clock stands still");
            std::thread::sleep(coarse::TICK);
            record.publish(&Small { a: 2 });
        }
        assert!(stamp(&record) > first);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_forked_child_drops_a_handle_without_its_parents_lock_and_the_parent_keeps_the_record() {
        let region = Region::builder("forked").actors(100).build().unwrap();
        let mut records = [1, 2].map(|number| region.record::<Small>(&number.to_string()).ok());
        let lock = region.writer.registered();
        let code = crate::region_file::in_child(|| drop(records[0].take()));
        drop(lock);
        assert_eq!(code, 0);
        assert_eq!(region.writer.reader().unwrap().own_records().list.len(), 2);
        drop(records);
        assert!(region.writer.reader().unwrap().own_records().list.is_empty());
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        mod other {
            crate::record! { pub struct Small { b: u8 } }
        }
        crate::record! {
            struct Third { a: u8 }
            struct Long { a: u8, b: u8, c: u8, d: u8, e: u8, f: u8 }
        }
        let region = region();
        let refused = |record: Result<RecordHandle<Small>, RecordError>| record.unwrap_err().to_string();
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(refused(region.record(name)).contains("1 to 64 bytes"), "{name}");
        }
        let one = region.record::<Small>("one").unwrap();
        assert!(refused(region.record("one")).contains("Small/one already; drop it"));
        let error = region.record::<other::Small>("one").unwrap_err();
        assert_eq!(error, RecordError::OtherKind { kind: "Small" });
        let error = region.record::<Long>("one").unwrap_err();
        assert!(
            error.to_string().contains("1 record_fields, and Long needs 6 more; raise `record_fields`"),
            "{error}"
        );
        let two = region.record::<Mixed>("one").unwrap();
        let error = region.record::<Third>("one").unwrap_err();
        assert!(matches!(error, RecordError::Full { section: "record_kinds", used: 2, .. }), "{error}");
        assert!(matches!(region.record::<Small>("two"), Err(RecordError::Full { section: "records", .. })));
        drop((one, two));
        // Long, Third and the second Small found no room; the rest was refused for another reason.
        assert_eq!(region.writer.reader().unwrap().builtin(Builtin::RecordsUnlisted), 3);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(Text::<8>::new("äöü").as_str(), "äöü");
        assert_eq!(Text::<8>::new("äöüäöü").as_str(), "äö…");
        assert_eq!(Text::<2>::new("abc").as_str(), "ab");
        assert_eq!(Text::<4>::new("a\0bcdefg").as_str(), "a");
        assert_eq!(Text::<4>::default().as_str(), "");
    }

    #[test]
    fn the_default_region_has_room_for_256_records() {
        let Capacities { kinds, fields, records, .. } = Capacities::default();
        assert_eq!((kinds, fields, records), (64, 512, 256));
    }
}
