//! Support code of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod storms;
pub mod support;
pub mod workload;
