//! The memory of a region's tables: their slots, which are in the region, and their private words, which are not.

use std::sync::atomic::AtomicU64;

use atomscope_layout::RegionMap;
use atomscope_layout::instances::Instances;
use atomscope_layout::region::{Section, header};
use atomscope_layout::table::{Shape, Table};
use atomscope_layout::view::WriterMemory;
use atomscope_layout::words::WORD;

/// Lines of the hot level of the actors' index: room for the newest 3,584 actors. With 128 lines, a node of a thousand young
/// actors moved one with each spawn.
const ACTOR_HOT_LINES: usize = 512;
/// The same of the instances, which come rarely.
const INSTANCE_HOT_LINES: usize = 16;
/// Private words begin at a multiple of so many bytes: the tables keep words of different threads in different lines.
const ALIGNMENT_BYTES: usize = atomscope_layout::limits::SEPARATION_BYTES;

/// The memory of one table.
#[derive(Debug)]
struct TableMemory {
    shape: Shape,
    slots: WriterMemory,
    /// The header's word for the slots that were ever taken.
    used: WriterMemory,
    private: WriterMemory,
}

impl TableMemory {
    #[inline(always)]
    fn table(&self) -> Table<'_> {
        static NONE: AtomicU64 = AtomicU64::new(0);
        let used = self.used.words().first().unwrap_or(&NONE);
        Table::new(self.shape, self.slots.words(), used, self.private.words())
    }
}

/// The tables of a region.
#[derive(Debug)]
pub(crate) struct Tables {
    actors: TableMemory,
    instances: TableMemory,
    /// A word for each slot of an instance.
    pins: WriterMemory,
}

/// The shapes of the tables of actors and of instances.
fn shapes(map: &RegionMap) -> [Shape; 2] {
    let shape = |section: Section, lanes, hot_lines| Shape {
        slots: section.count,
        stride: section.stride,
        lanes,
        hot_lines,
    };
    [
        // Lane 0 is shared, so no thread holds it.
        shape(map.actors, map.counters.count.saturating_sub(1), ACTOR_HOT_LINES),
        shape(map.instances, 0, INSTANCE_HOT_LINES),
    ]
}

/// Bytes of the private memory of a region with this map.
pub(crate) fn private_bytes(map: &RegionMap) -> usize {
    let tables: usize = shapes(map).iter().map(Shape::private_words).sum();
    (tables + map.instances.count) * WORD
}

/// Private memory for a region that is private itself. `None` if the system has none.
pub(crate) fn private_memory(map: &RegionMap) -> Option<WriterMemory> {
    let bytes = private_bytes(map);
    let memory = WriterMemory::private(bytes + ALIGNMENT_BYTES)?;
    let over = memory.words().as_ptr().addr() % ALIGNMENT_BYTES;
    let start = (ALIGNMENT_BYTES - over) / WORD;
    memory.part(start..start + bytes / WORD)
}

impl Tables {
    /// The tables of the region in `memory`; `private` has [`private_bytes`].
    pub(crate) fn new(memory: &WriterMemory, private: &WriterMemory, map: &RegionMap) -> Self {
        let mut next = 0;
        let mut private_part = |words: usize| {
            let start = next;
            next += words;
            private.part(start..next).unwrap_or_else(WriterMemory::none)
        };
        let mut table = |shape: Shape, section: Section, used: usize| TableMemory {
            shape,
            slots: memory.part(section.range()).unwrap_or_else(WriterMemory::none),
            used: memory.part(used..used + 1).unwrap_or_else(WriterMemory::none),
            private: private_part(shape.private_words()),
        };
        let [actors, instances] = shapes(map);
        Self {
            actors: table(actors, map.actors, header::ACTORS_USED),
            instances: table(instances, map.instances, header::INSTANCES_USED),
            pins: private_part(map.instances.count),
        }
    }

    /// The actors.
    #[inline(always)]
    pub(crate) fn actors(&self) -> Table<'_> {
        self.actors.table()
    }

    /// The instances.
    pub(crate) fn instances(&self) -> Instances<'_> {
        Instances::new(self.instances.table(), self.pins.words())
    }
}

#[cfg(test)]
mod tests {
    use atomscope_layout::Capacities;

    use super::*;

    #[test]
    fn private_words_are_aligned_and_as_many_as_the_tables_need() {
        for capacities in [Capacities::LEAST, Capacities::default()] {
            let map = RegionMap::for_capacities(&capacities).unwrap();
            let (memory, private) =
                (WriterMemory::private(map.region_bytes).unwrap(), private_memory(&map).unwrap());
            assert_eq!(private.words().as_ptr().addr() % ALIGNMENT_BYTES, 0);
            assert_eq!(private.words().len() * WORD, private_bytes(&map));
            let tables = Tables::new(&memory, &private, &map);
            for table in [&tables.actors, &tables.instances] {
                assert_eq!(table.private.words().len(), table.shape.private_words());
                assert_eq!(table.private.words().as_ptr().addr() % ALIGNMENT_BYTES, 0);
            }
            assert_eq!(tables.pins.words().len(), map.instances.count);
        }
    }
}
