//! Support code of the tests.

pub mod cluster_workload;
pub mod crowd;
pub mod end;
pub mod hang;
pub mod lease_workload;
pub mod persistence_workload;
pub mod service_workload;
pub mod sharding_workload;
pub mod spawns;
pub mod storms;
pub mod structure;
pub mod support;
pub mod terminal;
pub mod workload;

/// The examples of these READMEs compile as they are printed.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    struct Project;
    #[doc = include_str!("../../layout/README.md")]
    struct Layout;
    #[doc = include_str!("../../probe/README.md")]
    struct Probe;
}
