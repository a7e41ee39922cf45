//! Support code of the tests.

pub mod lease_workload;
pub mod persistence_workload;
pub mod storms;
pub mod support;
pub mod workload;
