//! Decoding a region to owned data. Every value of a region is decoded here and nowhere else.
//!
//! The node itself uses this code for snapshots in its own process, and so does every reader. The code trusts no byte:
//! records that cannot be read are counted and not shown.
//!
//! ```
//! # use atomscope_layout::records::ClockSampleRecord;
//! # use atomscope_layout::region::{HeaderRecord, HeaderWriter};
//! # use atomscope_layout::{Capacities, RegionMap};
//! use atomscope_layout::decode::RegionReader;
//! use atomscope_layout::dto::NodeSnapshot;
//! # use atomscope_layout::view::WriterMemory;
//! # let map = RegionMap::for_capacities(&Capacities::LEAST)?;
//! # let memory = WriterMemory::private(map.region_bytes).ok_or("not enough memory")?;
//! # let header = HeaderWriter::new(memory.words());
//! # header.prepare(&map, HeaderRecord::default(), ClockSampleRecord::default(), ["shop", "", ""]);
//! # header.publish();
//! let region = RegionReader::open(memory.reader())?;
//! let actors = region.actor_list();
//! assert_eq!((actors.len(), actors.unreadable), (0, 0));
//! let unknown = region.metrics().into_iter().filter(|metric| metric.value.is_none());
//! assert!(unknown.count() > 0); // no component is attached yet
//!
//! let now = "2026-11-23T04:05:06.000000007Z".to_owned();
//! let (letters, subsystems) = (region.dead_letters(100), region.subsystems());
//! let snapshot = NodeSnapshot::of(region.identity().node, now, &actors.into_tree(), letters, subsystems);
//! assert_eq!(snapshot.node, "shop");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Bounds
//! Whatever a region holds, each record is read a fixed number of times, and a scan waits for writers no longer than one
//! [`Patience`](crate::seqlock::Patience) allows. Decoded data never needs more than thirty times the memory of the region,
//! because no text is longer than its record or than [`NAME_BYTES`](crate::limits::NAME_BYTES).

mod actors;
mod beat;
mod classes;
mod clock;
mod end;
mod events;
mod failures;
mod identity;
mod instruments;
mod letters;
mod names;
mod node;
mod own_records;
mod reader;
mod scan;
pub mod subsystems;
mod threads;

pub use actors::{Actor, ActorEntry, ActorList, ActorTree, Actors, SpawnedAt, Tally};
pub use beat::Beat;
pub use classes::{Class, ClassCounts};
pub(crate) use clock::with_rfc3339;
pub use clock::{Clock, Moment, rfc3339};
pub use end::{Ending, History, How, crashed_unix_ns, signal_name};
pub use events::EventDecoder;
pub use failures::{Failure, Failures, Panic};
pub use identity::{Birth, Identity, Rank};
pub use instruments::{ActorStats, CellsUsage, ClassStats, InFlight, Instruments, Mode, VariantStats};
pub use letters::DeadLetters;
pub use names::Texts;
pub use own_records::{
    FieldValue, OwnRecords, PublishedRecord, RecordField, RecordJson, RecordKind, ValuesJson,
};
pub use reader::{ActorTotals, Conditions, RegionReader, state};
pub use threads::{RuntimeThread, RuntimeThreads, ThreadState};
