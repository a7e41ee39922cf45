//! Shard regions, their shards and entities, the allocation of shards, and hand-offs.
//!
//! ```text
//!   deliver(message) ─► extractor: shard, entity ─► coordinator: which region? ─┬─► here: handler(entity, message)
//!                       counts `received`                                      └─► elsewhere: forwarder, or dropped
//!                                                                                   counts `forwarded`
//!                     handler counts `messages` and `entities`
//! ```
//! atomr makes one handler per shard: within the delivery of the shard's first message, on the thread that delivers it.
//! The extractor leaves the shard's key in a variable of that thread, where the new handler finds it.
//!
//! ```
//! use atomscope_probe::bus::TelemetryBus;
//! use atomscope_probe::dto::ShardingSnapshot;
//! use atomscope_probe::sharding::ShardingProbe;
//!
//! let sharding = ShardingProbe::new(TelemetryBus::new(64));
//! sharding.set_snapshot(ShardingSnapshot {
//!     regions: Vec::new(),
//!     allocations: vec![("shard-7".into(), "carts".into())],
//! });
//! assert_eq!(sharding.snapshot().allocations.len(), 1);
//! ```

#[cfg(feature = "sharding")]
mod attach;
#[cfg(feature = "sharding")]
mod components;
#[cfg(feature = "sharding")]
mod entities;
#[cfg(feature = "sharding")]
mod hand_offs;
mod probe;
#[cfg(feature = "sharding")]
mod wrappers;

#[cfg(feature = "sharding")]
pub use components::{Coordinator, coordinator_allocations, region_info};
pub use probe::ShardingProbe;
#[cfg(feature = "sharding")]
pub use wrappers::{EntityHandler, Forwarder, HandlerFactory, ProbedExtractor, ProbedStrategy};
