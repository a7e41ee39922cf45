//! Own records in a region, for tests that read one.

use atomscope_layout::own_records::{Elements, FieldShape, FieldType, KindShape, OwnRecordWriter, describe};
use zerocopy::IntoBytes;

use super::Region;

const fn field(
    name: &'static str,
    unit: &'static str,
    offset: usize,
    holds: Elements<'static>,
) -> FieldShape<'static> {
    FieldShape { name, unit, help: "", offset, holds }
}

const fn elements(of: FieldType, bytes: usize, length: usize) -> Elements<'static> {
    Elements { of, bytes, length, values: &[] }
}

/// A kind with a field of most sorts.
pub const BOOK: KindShape<'static> = KindShape {
    name: "OrderBook",
    help: "One order book.",
    bytes: 48,
    fields: &[
        field("best_bid", "USD", 0, elements(FieldType::F64, 8, 0)),
        field("depth", "orders", 8, elements(FieldType::U32, 4, 0)),
        field("open", "", 12, elements(FieldType::Bool, 1, 0)),
        field("side", "", 13, Elements { values: &["bid", "ask"], ..elements(FieldType::Enum, 1, 0) }),
        field("changes", "%", 16, elements(FieldType::F32, 4, 2)),
        field("symbol", "", 24, elements(FieldType::Text, 16, 0)),
        field("drift", "ticks", 40, elements(FieldType::I16, 2, 0)),
    ],
};

/// Stores the kind, and two records of it. The second was never published.
pub fn fill(region: &Region) {
    let [kinds, fields, records] = [region.map.kinds, region.map.fields, region.map.records];
    assert!(describe(region.section(kinds), region.section(fields), fields.stride, 0, &BOOK));
    let slots = region.section(records);
    let writers =
        [0, 1].map(|number| OwnRecordWriter::new(&slots[number * records.stride..][..records.stride]));
    writers.iter().zip(["EURUSD", "USDJPY"]).for_each(|(writer, name)| writer.claim(0, name));
    let symbol = u64::from_le_bytes(*b"EURUSD\0\0");
    let changes = u64::from(0.1f32.to_bits()) | u64::from((-2.5f32).to_bits()) << 32;
    // The depth is 7, the book is open, the side is the ask, the drift is -3.
    let payload = [1.25f64.to_bits(), 7 | 1 << 32 | 1 << 40, changes, symbol, 0, u64::from(-3i16 as u16)];
    writers[0].publish(4, |bytes| bytes.put(0, payload.as_bytes()));
}
