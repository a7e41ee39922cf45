//! Support code of the tests.

pub mod cluster_workload;
pub mod sharding_workload;
pub mod storms;
pub mod support;
pub mod workload;
