//! Support code of the tests.

pub mod service_workload;
pub mod storms;
pub mod support;
pub mod workload;
