//! Support code of the tests.

pub mod service_workload;
pub mod lease_workload;
pub mod persistence_workload;
pub mod storms;
pub mod support;
pub mod workload;
