//! Own records: what was written reads back, and damaged descriptions of kinds are read safely.

#![cfg(not(atomscope_loom))]
#![allow(clippy::unwrap_used, reason = "they are tests")]

mod support;

use atomscope_layout::Capacities;
use atomscope_layout::decode::{FieldValue, OwnRecords, RegionReader};
use atomscope_layout::own_records::{KIND_FIELDS, KIND_WORDS, OwnRecordWriter};
use atomscope_layout::sync::Ordering;
use proptest::prelude::*;
use serde_json::json;
use zerocopy::IntoBytes;

use support::Region;
use support::own_records::{BOOK, fill};

fn filled() -> Region {
    let region = Region::new(&Capacities { kinds: 4, fields: 200, records: 3, ..Capacities::LEAST });
    fill(&region);
    region
}

fn read(region: &Region) -> OwnRecords {
    RegionReader::open(region.memory.reader()).unwrap().own_records()
}

#[test]
fn records_read_back_with_their_kinds() {
    let found = read(&filled());
    let value = serde_json::to_value(&found).unwrap();
    assert_eq!(
        value["list"][0],
        json!({
            "kind": "OrderBook", "name": "EURUSD", "published": 1, "lost": 0, "at": "2001-09-09T01:46:40.000000008Z",
            "values": {
                "best_bid": 1.25, "depth": 7, "open": true, "side": "ask", "changes": [0.1f32, -2.5], "symbol": "EURUSD",
                "drift": -3,
            },
        })
    );
    let never = &value["list"][1];
    assert_eq!(
        (&never["published"], &never["at"], &never["values"]["open"]),
        (&json!(0), &json!(null), &json!(null))
    );
    let fields = value["kinds"][0]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), BOOK.fields.len());
    assert_eq!(
        fields[3],
        json!({
            "name": "side", "unit": "", "help": "", "type": "enum", "offset": 13, "element_bytes": 1, "length": 0,
            "values": ["bid", "ask"],
        })
    );
    assert_eq!((value["kinds"].as_array().unwrap().len(), found.unreadable), (1, 0));
}

/// Changes a word of a section, and reads.
fn with(
    section: impl Fn(&Region) -> atomscope_layout::region::Section,
    word: usize,
    change: impl Fn(u64) -> u64,
) -> OwnRecords {
    let region = filled();
    let word = &region.section(section(&region))[word];
    word.store(change(word.load(Ordering::Relaxed)), Ordering::Relaxed);
    read(&region)
}

fn field(found: &OwnRecords, at: usize) -> &FieldValue {
    &found.list[0].values[at]
}

#[test]
fn a_field_that_overlaps_ends_too_late_or_has_an_unknown_type_is_unknown_and_the_others_are_read() {
    let fields = |region: &Region| region.map.fields;
    let depth = KIND_WORDS;
    let offset = |offset: u64| move |word: u64| word & !0xffff_ffff | offset;
    for (change, what) in [
        (Box::new(offset(4)) as Box<dyn Fn(u64) -> u64>, "it overlaps the field before it"),
        (Box::new(offset(46)), "it ends beyond the record"),
        (Box::new(offset(u64::from(u32::MAX))), "it is far out of the record"),
        (Box::new(|word| word | 0xff << 32), "its type is unknown"),
        (Box::new(|word| word | 0xffff << 40), "its elements are too large"),
        (Box::new(|_| 0), "it is not ready"),
    ] {
        let found = with(fields, depth, change);
        assert_eq!(*field(&found, 1), FieldValue::Unknown, "{what}");
        assert_eq!(*field(&found, 0), FieldValue::Float(1.25), "{what}");
        assert_eq!(*field(&found, 2), FieldValue::Flag(true), "{what}");
        assert!(found.kinds[0].fields[1].of.is_none() && found.unreadable == 0, "{what}");
    }
    // A length beside the type, of a million elements.
    let found = with(fields, depth + 1, |word| word | 1_000_000 << 32);
    assert_eq!(*field(&found, 1), FieldValue::Unknown);
    // Its name is no UTF-8.
    let found = with(fields, depth + 2, |word| word | 0xff);
    assert_eq!((&*found.kinds[0].fields[1].name, field(&found, 1)), ("field_1", &FieldValue::Unknown));
    // A flag that is neither yes nor no.
    let found = with(|region| region.map.records, 3, |word| word | 2 << 32);
    assert_eq!((field(&found, 1), field(&found, 2)), (&FieldValue::Unsigned(7), &FieldValue::Unknown));
}

#[test]
fn a_kind_that_cannot_be_read_is_counted_with_its_records() {
    let kinds = |region: &Region| region.map.kinds;
    for fields in [0, KIND_FIELDS as u64 + 1, 1_000_000, 0x7fff_ffff] {
        let found = with(kinds, 0, |word| word & 1 << 63 | fields << 32 | 48);
        assert_eq!((found.kinds.len(), found.list.len(), found.unreadable), (0, 0, 3), "{fields} fields");
    }
    let too_long = with(kinds, 0, |word| word & !0xffff_ffff | 1025);
    assert_eq!((too_long.kinds.len(), too_long.unreadable), (0, 3));
    let out_of_range = with(kinds, 1, |word| word | 195 << 32);
    assert_eq!((out_of_range.kinds.len(), out_of_range.unreadable), (0, 3));
    // Two kinds with the same fields.
    let region = filled();
    let section = region.section(region.map.kinds);
    for at in 0..KIND_WORDS {
        section[KIND_WORDS + at].store(section[at].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let found = read(&region);
    assert_eq!((found.kinds.len(), found.list.len(), found.unreadable), (1, 2, 1));
}

#[test]
fn a_record_of_which_the_writer_died_or_whose_kind_is_unknown_is_unreadable() {
    let records = |region: &Region| region.map.records;
    let half_written = with(records, 0, |sequence| sequence + 1);
    assert_eq!((half_written.list.len(), half_written.unreadable), (1, 1));
    assert_eq!(half_written.list[0].name, "USDJPY");
    for kind in [2, 5, u64::MAX] {
        let found = with(records, 130, |_| kind);
        assert_eq!((found.list.len(), found.unreadable), (1, 1), "kind {kind}");
    }
    let long_name = with(records, 132, |_| 65);
    assert_eq!((long_name.list.len(), long_name.unreadable), (1, 1));
}

#[test]
fn of_two_fields_of_one_name_json_has_the_first() {
    let region = filled();
    let fields = region.section(region.map.fields);
    for at in 1..KIND_WORDS {
        fields[KIND_WORDS + at].store(fields[at].load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let json = serde_json::to_string(&read(&region)).unwrap();
    assert_eq!(json.matches("\"best_bid\":").count(), 2, "once in each record: {json}");
    assert!(json.contains("\"best_bid\":1.25"), "{json}");
}

proptest! {
    #[test]
    fn what_is_published_is_read_whatever_its_bits(words in prop::collection::vec(any::<u64>(), 6), stamp in any::<u64>()) {
        let region = filled();
        let stride = region.map.records.stride;
        let slot = &region.section(region.map.records)[..stride];
        OwnRecordWriter::new(slot).publish(stamp, |payload| payload.put(0, words.as_bytes()));
        let found = read(&region);
        prop_assert_eq!(found.list[0].published, 2);
        match field(&found, 0) {
            FieldValue::Float(number) => prop_assert_eq!(number.to_bits(), words[0]),
            other => prop_assert!(false, "{:?}", other),
        }
        prop_assert_eq!(field(&found, 1), &FieldValue::Unsigned(words[1] & 0xffff_ffff));
        prop_assert_eq!(field(&found, 6), &FieldValue::Signed((words[5] as i16).into()));
        let text = serde_json::to_string(&found).unwrap();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
