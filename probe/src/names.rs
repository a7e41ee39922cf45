//! The interned names of a region, for its writers.

use std::sync::Arc;

use atomscope_layout::RegionMap;
use atomscope_layout::lane_memory::LaneMemory;
use atomscope_layout::metrics::Builtin;
use atomscope_layout::names::{Interned, Interner};
#[cfg(feature = "atomr")]
use atomscope_layout::names::{known_static, write_cell};
use atomscope_layout::sync::AtomicU64;
use atomscope_layout::view::WriterMemory;

use crate::hash::PathHasher;
use crate::lane;
#[cfg(feature = "atomr")]
use crate::type_names::TypeName;

/// The names: their keys, which no reader sees, and their cells.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    keys: Arc<[AtomicU64]>,
    cells: WriterMemory,
    counters: LaneMemory,
    hasher: PathHasher,
}

impl Names {
    /// The names of a new region.
    pub(crate) fn new(
        memory: &WriterMemory,
        map: &RegionMap,
        counters: &LaneMemory,
        hasher: PathHasher,
    ) -> Self {
        let keys = std::iter::repeat_with(|| AtomicU64::new(0)).take(map.names.count).collect();
        let cells = memory.part(map.names.range()).unwrap_or_else(WriterMemory::none);
        Self { keys, cells, counters: counters.clone(), hasher }
    }

    fn interner(&self) -> Interner<'_> {
        Interner { keys: &self.keys, cells: self.cells.words() }
    }

    /// The number of a name that lives as long as the program, or 0 if the names are full. A type's name is kept without
    /// the probe's wrappers.
    #[cfg(feature = "atomr")]
    #[inline]
    pub(crate) fn intern_static(&self, name: &'static str) -> u32 {
        match known_static(&self.keys, name) {
            Some(id) => id,
            None => self.intern_new(name),
        }
    }

    #[cfg(feature = "atomr")]
    #[cold]
    fn intern_new(&self, name: &'static str) -> u32 {
        let write = |cell: &[AtomicU64]| write_cell(cell, TypeName::of(name).as_str());
        self.interned(self.interner().intern_static_as(name, write))
    }

    /// The number of any name, or 0 if the names are full.
    pub(crate) fn intern(&self, name: &str) -> u32 {
        self.interned(self.interner().intern_hashed(self.hasher.hash(name), name))
    }

    fn interned(&self, interned: Interned) -> u32 {
        let count = |metric: Builtin, n| lane::add(&self.counters, metric as usize, n);
        match interned {
            Interned::Known(id) => id,
            Interned::New { id, cut } => {
                count(Builtin::TextsCut, u64::from(cut));
                id
            }
            Interned::Full => {
                count(Builtin::NamesFull, 1);
                0
            }
        }
    }
}
