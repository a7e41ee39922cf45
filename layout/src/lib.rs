//! The byte layout of an atomscope region, and the lock-free primitives that write and read it.
//!
//! A *region* is one shared-memory object. The probe in a node writes it, and any number of readers map it read-only.
//! This crate does no I/O and starts no thread: its callers hand it words of memory. [`region`] documents every byte;
//! each other module is one primitive or one kind of record.
//!
//! # From capacities to a decoded region
//! ```
//! use atomscope_layout::decode::RegionReader;
//! use atomscope_layout::lanes::{Lanes, OVERFLOW};
//! use atomscope_layout::metrics::Builtin;
//! use atomscope_layout::records::ClockSampleRecord;
//! use atomscope_layout::region::{HeaderRecord, HeaderWriter};
//! use atomscope_layout::view::WriterMemory;
//! use atomscope_layout::{Capacities, RegionMap};
//!
//! // 1. Capacities give the offset of every section, and so the size of the region.
//! let map = RegionMap::for_capacities(&Capacities::default())?;
//! let memory = WriterMemory::private(map.region_bytes).ok_or("not enough memory")?;
//!
//! // 2. The writer fills the header and publishes the region: from now on readers accept it.
//! let header = HeaderWriter::new(memory.words());
//! let identity = HeaderRecord { pid: 4711, ..HeaderRecord::default() };
//! header.prepare(&map, identity, ClockSampleRecord::default(), ["shop", "/usr/bin/shop", "example 1.0"]);
//! header.publish();
//!
//! // 3. The writer records. This thread holds no lane of its own, so it counts in the shared one.
//! let counters = &memory.words()[map.counters.range()];
//! Lanes::new(counters, map.counters.stride).add(OVERFLOW, Builtin::Spawned as usize, 3);
//!
//! // 4. A reader, usually in another process, decodes. It checks everything and trusts nothing.
//! let region = RegionReader::open(memory.reader())?;
//! assert_eq!(region.identity().node, "shop");
//! assert_eq!(region.actor_totals().live, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Progress guarantees
//! - **Wait-free**: the operation ends after a fixed number of its own steps, whatever other threads do. Every
//!   *writing* operation here is wait-free. When another writer holds the slot, it abandons the record and counts it.
//! - **Bounded**: the operation retries a fixed number of times, then reports *unreadable*. Every *reading* operation
//!   here is bounded. A scan over many records is bounded as a whole, in time and in memory, whatever the bytes are.
//!   No reading operation spins, and none writes.
//!
//! # What this crate does not do
//! It never stores a pointer in a region, never follows an offset that it has not checked, never panics because of the
//! content of a region, and never reads racing bytes other than by relaxed 64-bit atomic loads.
//!
//! # Features and targets
//! The crate has no Cargo features. It compiles on 64-bit little-endian targets.

#[cfg(target_endian = "big")]
compile_error!("an atomscope region is 64-bit little-endian; big-endian targets are not supported");

pub mod attached;
pub mod cells;
pub mod classes;
pub mod clock_samples;
pub mod decode;
pub mod document;
mod domains;
pub mod dto;
pub mod error;
pub mod event;
pub mod failures;
pub mod follow;
pub mod forest;
pub mod histogram;
pub mod instances;
pub mod json;
#[cfg(not(atomscope_loom))]
pub mod lane_memory;
pub mod lanes;
pub mod limits;
pub mod metrics;
#[cfg(all(test, atomscope_loom))]
mod models;
pub mod names;
pub mod own_records;
pub mod packing;
pub mod records;
pub mod region;
pub mod retention;
pub mod ring;
pub mod seqlock;
pub mod sync;
pub mod table;
pub mod threads;
#[cfg(not(atomscope_loom))]
pub mod view;
pub mod words;

pub use error::{LimitError, OpenError};
pub use region::{Capacities, RegionMap};
pub use words::Words;

/// The text of `LAYOUT.md`, which tests hold the code to.
#[doc(hidden)]
pub const PAGE: &str = include_str!("../LAYOUT.md");
