//! Support code of the tests.

pub mod storms;
pub mod support;
pub mod workload;
