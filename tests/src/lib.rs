//! Support code of the tests.

pub mod cluster_workload;
pub mod crowd;
pub mod lease_workload;
pub mod persistence_workload;
pub mod service_workload;
pub mod sharding_workload;
pub mod storms;
pub mod support;
pub mod terminal;
pub mod workload;

/// The README's examples, which compile as they are printed.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
