//! What a region knows of its records.

use std::sync::Mutex;

use atomscope_layout::own_records::KindShape;

/// The registered kinds, and the records in use.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    pub(super) kinds: Vec<KindShape<'static>>,
    /// Number of fields of all kinds.
    pub(super) fields: usize,
    /// Of each record that was ever claimed, its kind and name while it is in use.
    pub(super) names: Vec<Option<(usize, Box<str>)>>,
}

/// The records of a region, which one thread at a time claims.
pub(crate) type Records = Mutex<Registered>;
